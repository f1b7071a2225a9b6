package loader

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// errNoScan is what Holders returns where the kernel refused the iterator at Open, or nobody asked for it.
var errNoScan = errors.New("walk open files: the kernel refused the iterator")

// scan walks everybody's open files. It stays open, for it needs rights that are given up later.
type scan struct {
	program *ebpf.Program
	iter    *link.Iter
}

// openScan is allowed to fail: then the ends of connections that are older than we are have no owner
// until they speak.
func (l *Loader) openScan() {
	s, err := l.newScan()
	if err != nil {
		l.warn("%v: owners of silent sockets stay unknown", err)
		return
	}
	l.scan = s
	l.onClose(func() error { return errors.Join(s.iter.Close(), s.program.Close()) })
}

func (l *Loader) newScan() (*scan, error) {
	program, err := l.loadBeside("lotrace_iter_files")
	if err != nil {
		return nil, err
	}
	s := &scan{program: program}
	if s.iter, err = link.AttachIter(link.IterOptions{Program: s.program}); err != nil {
		return nil, errors.Join(fmt.Errorf("walk open files: %w", err), s.program.Close())
	}
	return s, nil
}

// Holders lists who holds which socket of the watched namespace open, at this moment: as far as our
// PID namespace shows their processes. Unlike the other methods it may run beside any of them but
// Close.
func (l *Loader) Holders() ([]reading.Holder, error) {
	if l.scan == nil {
		return nil, errNoScan
	}
	reader, err := l.scan.iter.Open()
	if err != nil {
		return nil, fmt.Errorf("walk open files: %w", err)
	}
	defer reader.Close()
	raw, err := io.ReadAll(reader)
	if err != nil {
		return nil, fmt.Errorf("walk open files: %w", err)
	}
	return parseHolders(raw)
}

func parseHolders(raw []byte) ([]reading.Holder, error) {
	records, err := recordsIn[lotraceLtHolder](raw)
	if err != nil {
		return nil, fmt.Errorf("walk open files: %w", err)
	}
	out := make([]reading.Holder, 0, len(records))
	processes := make(map[model.ProcessID]*reading.Process)
	for i := range records {
		out = append(out, decodeHolder(&records[i], processes))
	}
	return out, nil
}

// decodeHolder takes its process from known, so that one of many sockets is one.
func decodeHolder(from *lotraceLtHolder, known map[model.ProcessID]*reading.Process) reading.Holder {
	id := model.ProcessID{TGID: from.Owner.Tgid, StartNS: from.Owner.StartNs}
	if known[id] == nil {
		known[id] = decodeOwner(&from.Owner)
	}
	h := reading.Holder{
		Process:   known[id],
		Site:      from.Site,
		Proto:     model.Proto(from.Proto),
		Socket:    from.Socket,
		Local:     netip.AddrPortFrom(socketAddr(from.Local, from.Family), from.LocalPort),
		Listening: from.Listening != 0,
		V6Only:    from.V6only != 0,
	}
	if from.RemotePort != 0 {
		h.Remote = netip.AddrPortFrom(socketAddr(from.Remote, from.Family), from.RemotePort)
	}
	return h
}

// socketAddr is an address as sockets have it: v4-mapped, and all zero for any of its family (4 or 6).
func socketAddr(addr [16]byte, family uint8) netip.Addr {
	a := netip.AddrFrom16(addr).Unmap()
	if family == 4 && a.IsUnspecified() {
		return netip.IPv4Unspecified()
	}
	return a
}
