package loader

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// queues walks the sockets of the watched namespace. A walk sees the namespace of the thread that begins
// it, as sock_diag does, so one thread stays there.
type queues struct {
	inside  *hook.Inside
	walks   []walk
	records []lotraceLtQueue // one read of a walk
	diag    bool             // there is sock_diag: it tells of TCP sockets that listen
	asks    bool             // and of those that are connected: XDP sees none, so there is no walk over them
}

type walk struct {
	program *ebpf.Program
	iter    *link.Iter
}

// openQueues is allowed to fail.
func (l *Loader) openQueues(kind hook.Kind) {
	q := &queues{records: make([]lotraceLtQueue, 1024)}
	if err := q.open(l, kind); err != nil {
		l.warn("%v: what waits in sockets stays unknown", errors.Join(err, q.Close()))
		return
	}
	l.queues = q
	l.onClose(q.Close)
	err := q.listening(new(reading.Reading))
	switch q.diag = err == nil; {
	case q.diag:
	case q.asks:
		l.warn("%v: what waits in TCP sockets stays unknown", err)
	default:
		l.warn("%v: accept queues stay unknown", err)
	}
}

func (q *queues) open(l *Loader, kind hook.Kind) (err error) {
	if q.inside, err = l.netns.Stay(); err != nil {
		return err
	}
	q.asks = kind == hook.XDP
	if !q.asks {
		if err := q.attach(l, "lotrace_iter_queues_tcp", l.coll.Maps["lt_socks"]); err != nil {
			return err
		}
	}
	return q.attach(l, "lotrace_iter_queues_udp", nil)
}

// attach readies a walk over the sockets that a map knows, or over all.
func (q *queues) attach(l *Loader, name string, over *ebpf.Map) error {
	program, err := l.loadBeside(name)
	if err != nil {
		return err
	}
	iter, err := link.AttachIter(link.IterOptions{Program: program, Map: over})
	if err != nil {
		return errors.Join(fmt.Errorf("attach %s: %w", name, err), program.Close())
	}
	q.walks = append(q.walks, walk{program, iter})
	return nil
}

func (q *queues) Close() error {
	var errs []error
	for _, w := range q.walks {
		errs = append(errs, w.iter.Close(), w.program.Close())
	}
	q.inside.Leave()
	return errors.Join(errs...)
}

// ReadQueues fills in what sockets have in their queues now, Queues and Backlogs. Of TCP it looks at the sockets
// that have sent something while a TC hook saw it, with XDP at all, and at those that listen; of UDP at all.
// A system call is made only for as many as fill a buffer.
func (l *Loader) ReadQueues(r *reading.Reading) error {
	r.Queues, r.Backlogs = r.Queues[:0], r.Backlogs[:0]
	if l.queues == nil {
		return nil
	}
	for i := range l.queues.walks {
		if err := l.queues.walk(&l.queues.walks[i], r); err != nil {
			return fmt.Errorf("read queues: %w", err)
		}
	}
	if !l.queues.diag {
		return nil
	}
	if l.queues.asks {
		if err := l.askConnected(r); err != nil {
			return fmt.Errorf("read queues: %w", err)
		}
	}
	return l.queues.listening(r)
}

func (l *Loader) askConnected(r *reading.Reading) error {
	return l.queues.inside.Do(func() error {
		return diagQueues(func(local, remote netip.AddrPort, q reading.Queue) error {
			index, end, err := l.table.find(local, remote, Site, model.ProtoTCP)
			if err == nil {
				q.Slot, q.End = index, end
				r.Queues = append(r.Queues, q)
			} else if errors.Is(err, ebpf.ErrKeyNotExist) {
				err = nil // none of our packets, or not among those that were asked for
			}
			return err
		})
	})
}

func (q *queues) listening(r *reading.Reading) error {
	return q.inside.Do(func() (err error) {
		r.Backlogs, err = diagListening(Site, r.Backlogs)
		return err
	})
}

func (q *queues) walk(w *walk, r *reading.Reading) error {
	var reader io.ReadCloser
	err := q.inside.Do(func() (err error) {
		reader, err = w.iter.Open()
		return err
	})
	if err != nil {
		return err
	}
	defer reader.Close()
	const size = int(unsafe.Sizeof(lotraceLtQueue{}))
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&q.records[0])), len(q.records)*size)
	for {
		n, err := reader.Read(buf)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, unix.EAGAIN): // a million sockets with nothing to say: it goes on from there
			continue
		case err != nil:
			return err
		case n%size != 0: // the kernel's buffer has whole ones, and ours is a multiple
			return fmt.Errorf("%d bytes are no whole records", n)
		}
		for i := range q.records[:n/size] {
			r.Queues = append(r.Queues, decodeQueue(&q.records[i]))
		}
	}
}

func decodeQueue(from *lotraceLtQueue) reading.Queue {
	return reading.Queue{
		Slot:       from.Slot,
		End:        from.Side,
		Receive:    from.Receive,
		Send:       from.Send,
		OutOfOrder: from.OutOfOrder,
		Drops:      from.Drops,
	}
}
