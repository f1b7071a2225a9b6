package loader

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ring reads a BPF ring buffer where it lies: records of a quarter of a megabyte are not copied, and nobody is
// woken for each of them. docs/decisions/0016-samples-in-one-ring.md says why that is not the library's reader.
type ring struct {
	epoll    int
	consumer []byte // a page: how far we have read
	producer []byte // a page: how far the kernel has written; then the data, twice, so that no record wraps
	data     []byte
	size     uint64
	last     atomic.Uint64 // where reading ends for good
}

// The head of a record (BPF_RINGBUF_HDR_SZ, BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT).
const (
	ringHeaderSize = 8
	ringBusy       = 1 << 31
	ringDiscard    = 1 << 30
	ringFlags      = ringBusy | ringDiscard
)

func openRing(m *ebpf.Map) (_ *ring, err error) {
	r := &ring{epoll: -1, size: uint64(m.MaxEntries())}
	r.last.Store(math.MaxUint64)
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	page := os.Getpagesize()
	r.consumer, err = unix.Mmap(m.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map consumer page: %w", err)
	}
	r.producer, err = unix.Mmap(m.FD(), int64(page), page+2*int(r.size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map ring buffer: %w", err)
	}
	r.data = r.producer[page:]
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	// By edge: only the kernel's wake-ups count, not that there is something to read.
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}
	if err = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, m.FD(), &event); err != nil {
		return nil, fmt.Errorf("wait for ring buffer: %w", err)
	}
	return r, nil
}

func (r *ring) Close() error {
	var errs []error
	if r.epoll >= 0 {
		errs = append(errs, unix.Close(r.epoll))
	}
	for _, memory := range [][]byte{r.consumer, r.producer} {
		if memory != nil {
			errs = append(errs, unix.Munmap(memory))
		}
	}
	return errors.Join(errs...)
}

func (r *ring) consumed() *uint64 { return (*uint64)(unsafe.Pointer(&r.consumer[0])) }
func (r *ring) position() uint64  { return atomic.LoadUint64(r.consumed()) }
func (r *ring) available() uint64 { return r.written() - r.position() }

// written is how far there is something to read.
func (r *ring) written() uint64 {
	return min(atomic.LoadUint64((*uint64)(unsafe.Pointer(&r.producer[0]))), r.last.Load())
}

// end has reading end with what is there by now, and keeps its room from then on.
func (r *ring) end() { r.last.Store(r.written()) }

// wait returns when a quarter of the ring is full, or at the deadline, or earlier for no reason.
func (r *ring) wait(deadline time.Time) error {
	for r.available() < r.size/4 {
		left := time.Until(deadline)
		if left <= 0 {
			return nil
		}
		if woken, err := r.sleep(int((left + time.Millisecond - 1) / time.Millisecond)); woken || err != nil {
			return err
		}
	}
	return nil
}

// sleep reports whether the kernel woke us within so many milliseconds, or at all if they are negative. Signals end it, too.
func (r *ring) sleep(milliseconds int) (woken bool, err error) {
	var events [1]unix.EpollEvent
	n, err := unix.EpollWait(r.epoll, events[:], milliseconds)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, fmt.Errorf("wait for records: %w", err)
	}
	return n > 0, nil
}

// recordSize is how many bytes of the ring a record takes, by its head.
func recordSize(head uint32) uint64 { return (ringHeaderSize + uint64(head&^ringFlags) + 7) &^ 7 }

// headAt is the head of the record at a position.
func (r *ring) headAt(at uint64) uint32 {
	for {
		head := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[at&(r.size-1)])))
		if head&ringBusy == 0 {
			return head
		}
		// Another CPU is writing it, and is not interrupted.
	}
}

// read calls into for each record there is. What comes meanwhile is for the next call, so that it ends however fast
// the kernel writes. The room of a record is given back behind its call.
func (r *ring) read(into func(record []byte) error) error {
	end, at := r.written(), r.position()
	for at < end {
		head := r.headAt(at)
		begin := at&(r.size-1) + ringHeaderSize
		length := uint64(head &^ ringFlags)
		at += recordSize(head)
		var err error
		if head&ringDiscard == 0 {
			err = into(r.data[begin : begin+length : begin+length])
		}
		atomic.StoreUint64(r.consumed(), at)
		if err != nil {
			return err
		}
	}
	return nil
}

// copy appends whole records to an empty slice, as they lie, up to a position or as many as its capacity has room for.
// Their room is given back behind the last one.
func (r *ring) copy(to []byte, end uint64) []byte {
	begin := r.position()
	at := begin
	for at < end {
		next := at + recordSize(r.headAt(at))
		if next-begin > uint64(cap(to)) {
			break
		}
		at = next
	}
	start := begin & (r.size - 1)
	to = append(to, r.data[start:start+at-begin]...)
	atomic.StoreUint64(r.consumed(), at)
	return to
}
