package loader

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
)

// queues walks the sockets of the watched namespace. A walk sees the namespace of the thread that begins
// it, so one thread stays there.
type queues struct {
	inside  *inside
	walks   []walk
	records []queueRecord // one read of a walk
}

type walk struct {
	program *ebpf.Program
	iter    *link.Iter
}

// queueRecord is struct lt_queue_record: the body is a flowQueue or a backlog.
type queueRecord struct {
	listens uint32
	body    [8]uint32
}

// flowQueue is struct lt_queue.
type flowQueue struct {
	slot                             uint32
	side                             uint8
	_                                [3]uint8
	receive, send, outOfOrder, drops uint32
}

// backlog is struct lt_backlog.
type backlog struct {
	addr                 [16]byte
	port                 uint16
	family, v6Only       uint8
	length, limit, drops uint32
}

// openQueues is allowed to fail.
func (l *Loader) openQueues() {
	q := &queues{records: make([]queueRecord, 1024)}
	if err := q.open(l); err != nil {
		l.warn("%v: what waits in sockets stays unknown", errors.Join(err, q.Close()))
		return
	}
	l.queues = q
	l.onClose(q.Close)
}

func (q *queues) open(l *Loader) (err error) {
	if q.inside, err = l.netns.stay(); err != nil {
		return err
	}
	for _, name := range []string{"lotrace_iter_queues_tcp", "lotrace_iter_queues_udp"} {
		program, err := l.loadBeside(name)
		if err != nil {
			return err
		}
		iter, err := link.AttachIter(link.IterOptions{Program: program})
		if err != nil {
			return errors.Join(fmt.Errorf("attach %s: %w", name, err), program.Close())
		}
		q.walks = append(q.walks, walk{program, iter})
	}
	return nil
}

func (q *queues) Close() error {
	var errs []error
	for _, w := range q.walks {
		errs = append(errs, w.iter.Close(), w.program.Close())
	}
	q.inside.leave()
	return errors.Join(errs...)
}

// ReadQueues fills in what sockets have in their queues now, Queues and Backlogs. Every socket is looked
// at, but a system call is made only for as many as fill a buffer.
func (l *Loader) ReadQueues(r *model.Reading) error {
	r.Queues, r.Backlogs = r.Queues[:0], r.Backlogs[:0]
	if l.queues == nil {
		return nil
	}
	for i := range l.queues.walks {
		if err := l.queues.walk(&l.queues.walks[i], r); err != nil {
			return fmt.Errorf("read queues: %w", err)
		}
	}
	return nil
}

func (q *queues) walk(w *walk, r *model.Reading) error {
	var reader io.ReadCloser
	err := q.inside.do(func() (err error) {
		reader, err = w.iter.Open()
		return err
	})
	if err != nil {
		return err
	}
	defer reader.Close()
	const size = int(unsafe.Sizeof(queueRecord{}))
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
			decodeQueue(r, &q.records[i])
		}
	}
}

func decodeQueue(r *model.Reading, record *queueRecord) {
	if record.listens != 0 {
		from := (*backlog)(unsafe.Pointer(&record.body))
		r.Backlogs = append(r.Backlogs, model.Backlog{
			Addr:   socketAddr(from.addr, from.family),
			Port:   from.port,
			V6Only: from.v6Only != 0,
			Length: from.length,
			Limit:  from.limit,
			Drops:  uint64(from.drops),
		})
		return
	}
	from := (*flowQueue)(unsafe.Pointer(&record.body))
	r.Queues = append(r.Queues, model.Queue{
		Slot:       from.slot,
		End:        from.side,
		Receive:    from.receive,
		Send:       from.send,
		OutOfOrder: from.outOfOrder,
		Drops:      from.drops,
	})
}
