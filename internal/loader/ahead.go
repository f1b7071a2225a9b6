package loader

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxChunk is the size of a chunk where there is room for many.
const maxChunk = 1 << 20

// ahead empties a ring into memory of ours, without waiting for whoever reads that. When it finds no room, records
// stay in the ring, and the kernel counts what it refuses. docs/decisions/0022-samples-are-read-ahead.md says why.
type ahead struct {
	pool       chunks
	worthwhile int // bytes in the ring that are copied though nobody asks for them

	filling sync.Mutex // held by who copies from the ring
	ring    *ring

	mu     sync.Mutex
	queue  []*chunk // the oldest first
	failed error    // why nobody reads ahead any more

	filled chan struct{} // has one when chunks were added to queue
	room   chan struct{} // has one when chunks were given back
	end    chan struct{} // closed by Close
	ended  chan struct{} // closed when nobody reads ahead any more
	wake   int           // eventfd that ends a wait for the ring

	// Of the one who reads.
	current *chunk // not read to its end; nil: none
	at      uint64 // how far it was read, as a position in the ring
}

// readAhead has a ring of records of up to record bytes emptied into size bytes of memory.
func readAhead(r *ring, size, record int) (*ahead, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN}
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, wake, &event); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for eventfd: %w", err), unix.Close(wake))
	}
	quarter := int(r.size / 4)
	each := max(min(size/4, quarter, maxChunk), record)
	a := &ahead{
		ring: r, wake: wake, pool: chunks{size: each, most: size / each}, worthwhile: min(each, quarter),
		filled: make(chan struct{}, 1), room: make(chan struct{}, 1), end: make(chan struct{}), ended: make(chan struct{}),
	}
	go a.run()
	return a, nil
}

// Close ends reading ahead. The ring is closed behind it.
func (a *ahead) Close() error {
	close(a.end)
	_, err := unix.Write(a.wake, []byte{0, 0, 0, 0, 0, 0, 0, 1})
	<-a.ended
	return errors.Join(err, unix.Close(a.wake))
}

// run empties the ring as often as the kernel says that it fills. Nothing wakes it where little comes.
func (a *ahead) run() {
	defer close(a.ended)
	for {
		_, err := a.ring.sleep(-1)
		for err == nil && !a.fill(a.worthwhile) {
			select {
			case <-a.room:
			case <-a.end:
				return
			}
		}
		if err != nil {
			a.fail(err)
			return
		}
		select {
		case <-a.end:
			return
		default:
		}
	}
}

func (a *ahead) fail(err error) {
	a.mu.Lock()
	a.failed = err
	a.mu.Unlock()
	tell(a.filled)
}

// tell puts one into a channel that has room for no more.
func tell(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fill copies records from the ring as long as at least so many bytes of them are there, and reports whether there was
// room. What comes meanwhile it leaves there.
func (a *ahead) fill(least int) bool {
	a.filling.Lock()
	defer a.filling.Unlock()
	for end := a.ring.written(); end-a.ring.position() >= uint64(max(least, 1)); {
		c := a.pool.take()
		if c == nil {
			return false
		}
		c.bytes = a.ring.copy(c.bytes, end)
		a.mu.Lock()
		a.queue = append(a.queue, c)
		a.mu.Unlock()
		tell(a.filled)
	}
	return true
}

// pop returns the oldest chunk; nil: there is none.
func (a *ahead) pop() (*chunk, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 {
		return nil, a.failed
	}
	c := a.queue[0]
	a.queue[0] = nil
	a.queue = a.queue[1:]
	return c, nil
}

func (a *ahead) hasQueued() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queue) > 0
}

// next is the chunk to read from, which may be made now of what is in the ring; nil: nothing is there.
func (a *ahead) next() (*chunk, error) {
	if a.current != nil {
		return a.current, nil
	}
	c, err := a.pop()
	if c == nil && err == nil {
		a.fill(0)
		c, err = a.pop()
	}
	a.current = c
	return c, err
}

// wait returns when a chunk was filled or at the deadline, or earlier for no reason. It reports whether it was early.
func (a *ahead) wait(deadline time.Time) bool {
	left := time.Until(deadline)
	if a.current != nil || a.hasQueued() || left <= 0 {
		return true
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-a.filled:
		return true
	case <-timer.C:
		return false
	}
}

// read calls into for each record that is there when chunks are filled or the deadline is reached. What comes meanwhile
// is for the next call. An error of into ends it and is returned; what was not read is there for the next call. It is
// for one goroutine.
func (a *ahead) read(deadline time.Time, into func(record []byte) error) error {
	early := a.wait(deadline)
	begin, end := a.at, a.ring.written()
	for a.at < end {
		c, err := a.next()
		if c == nil {
			return err
		}
		before := c.read
		err = c.each(into)
		a.at += uint64(c.read - before)
		if c.isRead() {
			a.current = nil
			a.pool.give(c)
			tell(a.room)
		}
		if err != nil {
			return err
		}
	}
	if !early && a.at == begin {
		a.pool.shrink()
	}
	return nil
}
