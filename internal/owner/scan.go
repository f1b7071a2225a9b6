package owner

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Between two scans lies half a second, or more where they take long: a busy machine may want one all
// the time, and should not spend more than one part in scanShare on them.
const (
	scanPause       = 500 * time.Millisecond
	scanFailedPause = 10 * time.Second
	scanShare       = 50
)

var errClosed = errors.New("scan open files: resolver is closed")

// sockets is one scan, indexed. It never changes.
type sockets struct {
	beganNS   uint64 // CLOCK_MONOTONIC
	tick      uint64
	connected map[connection]holders
	bound     map[place]holders // listening TCP, unconnected others
}

// connection is one end of a connected socket, seen from there. IPv4 is v4-mapped, as in flow keys.
type connection struct {
	site                  uint32
	local, remote         [16]byte
	localPort, remotePort uint16
	proto                 model.Proto
}

// place is where a socket waits. The unspecified address of each family is a place of its own.
type place struct {
	site  uint32
	addr  [16]byte
	port  uint16
	proto model.Proto
}

// holders is the one process that holds a socket, or the knowledge that several do.
type holders struct {
	process *reading.Process
	several bool
}

func (h holders) and(p *reading.Process) holders {
	if h.process == nil {
		return holders{process: p}
	}
	h.several = h.several || h.process.ProcessID != p.ProcessID
	return h
}

var (
	any4 = netip.IPv4Unspecified().As16()
	any6 = netip.IPv6Unspecified().As16()
)

func index(held []reading.Holder) *sockets {
	s := &sockets{
		connected: make(map[connection]holders, len(held)),
		bound:     make(map[place]holders),
	}
	for i := range held {
		h := &held[i]
		if h.Process == nil || h.Process.IsKernel() || !h.Proto.HasPorts() || !h.Local.IsValid() {
			continue
		}
		local := place{h.Site, h.Local.Addr().As16(), h.Local.Port(), h.Proto}
		switch {
		case h.Remote.IsValid():
			c := connection{h.Site, local.addr, h.Remote.Addr().As16(), local.port, h.Remote.Port(), h.Proto}
			s.connected[c] = s.connected[c].and(h.Process)
		case h.Listening || h.Proto != model.ProtoTCP:
			s.bound[local] = s.bound[local].and(h.Process)
			if local.addr == any6 && !h.V6Only {
				local.addr = any4
				s.bound[local] = s.bound[local].and(h.Process)
			}
		}
	}
	return s
}

// holder returns the one process that may own this end of the flow, nil if it is not one. Where the
// end may be waiting, a socket that waits at its address stands for it. That may have been opened long
// after the flow; then its process, if that is younger too (startNS is CLOCK_BOOTTIME), is not the
// owner.
func (s *sockets) holder(key *reading.SlotKey, end int, startNS uint64, waiting bool) *reading.Process {
	other := 1 - end
	c := connection{key.Site, key.Addr[end], key.Addr[other], key.Port[end], key.Port[other], key.Proto}
	if found, ok := s.connected[c]; ok {
		return found.only()
	}
	if !waiting {
		return nil
	}
	at := place{key.Site, key.Addr[end], key.Port[end], key.Proto}
	found, ok := s.bound[at]
	if !ok {
		at.addr = anyOf(at.addr)
		found = s.bound[at]
	}
	if p := found.only(); p != nil && p.StartNS <= startNS {
		return p
	}
	return nil
}

func (h holders) only() *reading.Process {
	if h.several {
		return nil
	}
	return h.process
}

// anyOf returns the unspecified address of the same family.
func anyOf(addr [16]byte) [16]byte {
	if [12]byte(addr[:12]) == [12]byte(any4[:12]) {
		return any4
	}
	return any6
}

// Holder returns who holds the socket at one end (0 or 1) of a flow, by the newest scan of open
// files; nil if that is nobody, several processes, or not known. It never waits. createdNS is the
// CLOCK_MONOTONIC of the flow's first packet: a scan that began earlier says nothing about the flow,
// so a new one is asked for, as it is when the newest is some seconds old. The flow must not be over:
// its addresses may be another's by now. waiting: the end's socket may be one that waits for anybody,
// unconnected, or one in the queue of a listener. Of a connection once accepted the listener says
// nothing, not even when nobody holds it any more.
func (r *Resolver) Holder(key *reading.SlotKey, end int, createdNS uint64, waiting bool) *model.Owner {
	if !key.Proto.HasPorts() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sockets
	tooOld := s == nil || createdNS > s.beganNS
	if tooOld || r.now >= s.tick+staleTick {
		r.askScan()
	}
	if tooOld {
		return nil
	}
	p := s.holder(key, end, createdNS+r.suspended, waiting)
	if p == nil {
		return nil
	}
	return r.owner(p, scanned)
}

func (r *Resolver) askScan() {
	if r.config.Scan == nil {
		return
	}
	r.wanted = true
	select {
	case r.wantScan <- struct{}{}:
	default: // somebody has asked
	}
}

// ScanNow scans open files and waits for the end of that. With no Scan in its Config it does nothing.
func (r *Resolver) ScanNow() error {
	if r.config.Scan == nil {
		return nil
	}
	answer := make(chan error, 1)
	select {
	case r.scanNow <- answer:
		return <-answer
	case <-r.stopped:
		return errClosed
	}
}

// Err returns why the newest scan failed, nil if it did not.
func (r *Resolver) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.scanErr
}

// scan is the goroutine that scans when asked, but not too often.
func (r *Resolver) scan() {
	if r.config.Scan == nil {
		return
	}
	var rested <-chan time.Time // nil: it may scan
	for {
		want := r.wantScan
		if rested != nil {
			want = nil
		}
		var answer chan error
		select {
		case <-r.stopped:
			return
		case <-rested:
			rested = nil
			r.rest(false)
			continue
		case <-want:
		case answer = <-r.scanNow:
		}
		began := time.Now()
		err := r.scanOnce()
		pause := max(scanPause, scanShare*time.Since(began))
		if err != nil {
			pause = scanFailedPause
		}
		if answer == nil || err != nil { // the one at the start is not to keep the first demand waiting
			r.rest(true)
			rested = time.After(pause)
		}
		if answer != nil {
			answer <- err
		}
	}
}

// rest says whether a scan that is wanted would have to wait.
func (r *Resolver) rest(resting bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resting = resting
	r.wake()
}

func (r *Resolver) scanOnce() error {
	began := r.monotonic()
	held, err := r.config.Scan()
	var s *sockets
	if err == nil {
		s = index(held)
		s.beganNS = began
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	// A caller that asked meanwhile will see whether this scan is enough, and ask again if not.
	select {
	case <-r.wantScan:
	default:
	}
	r.wanted = false
	if err != nil {
		r.scanErr = fmt.Errorf("scan open files: %w", err)
		return r.scanErr
	}
	r.scanErr = nil
	s.tick = r.now
	r.sockets = s
	r.version++
	return nil
}
