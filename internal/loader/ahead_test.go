package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fakeRing is a ring that a test writes, as the kernel does.
type fakeRing struct {
	*ring
	wakes   int    // eventfd
	next    uint64 // number of the next record
	refused int
}

func newFakeRing(t *testing.T, size int) *fakeRing {
	t.Helper()
	page := os.Getpagesize()
	f := &fakeRing{ring: &ring{
		size: uint64(size), consumer: make([]byte, page), producer: make([]byte, page), data: make([]byte, 2*size),
	}}
	f.last.Store(math.MaxUint64)
	var err error
	if f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(f.epoll) })
	if f.wakes, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(f.wakes) })
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}
	if err := unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, f.wakes, &event); err != nil {
		t.Fatal(err)
	}
	return f
}

// write adds a record of so many bytes with a number in it, wakes as the kernel does, and reports whether there was
// room. One that is discarded has no number.
func (f *fakeRing) write(t *testing.T, length int, discarded bool) bool {
	t.Helper()
	head, at, before := uint32(length), f.written(), f.available()
	size := recordSize(head)
	if before+size > f.size {
		f.refused++
		return false
	}
	record := make([]byte, size)
	if discarded {
		head |= ringDiscard
	} else {
		binary.NativeEndian.PutUint64(record[ringHeaderSize:], f.next)
		f.next++
	}
	binary.NativeEndian.PutUint32(record, head)
	for i, b := range record { // where it is mapped a second time, too
		place := (at + uint64(i)) & (f.size - 1)
		f.data[place], f.data[place+f.size] = b, b
	}
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&f.producer[0])), at+size)
	if quarter := f.size / 4; before/quarter != (before+size)/quarter {
		if _, err := unix.Write(f.wakes, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			t.Error(err)
		}
	}
	return true
}

func startAhead(t *testing.T, r *ring, size, record int) *ahead {
	t.Helper()
	a, err := readAhead(r, size, record)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// numbers notes what is read; it must come in order, whole.
type numbers struct{ next uint64 }

func (n *numbers) take(record []byte) error {
	if got := binary.NativeEndian.Uint64(record); got != n.next {
		return fmt.Errorf("record %d, want %d", got, n.next)
	}
	n.next++
	return nil
}

// await looks at something until it is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// While nobody reads, the ring is emptied until all room is used; the ring itself refuses what comes then. What was
// taken is there, in order, and its room is used again.
func TestAheadNeedsNoReader(t *testing.T) {
	const ringSize, room, length = 64 << 10, 256 << 10, 1000
	const chunk = ringSize / 4
	f := newFakeRing(t, ringSize)
	a := startAhead(t, f.ring, room, length+ringHeaderSize)
	filled := func() int {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.queue)
	}
	var n numbers
	for round := range 3 {
		begin := f.next
		for filled() < room/chunk {
			had := filled()
			for f.write(t, length, false) {
			}
			await(t, "nobody empties the ring", func() bool { return filled() > had })
		}
		for f.write(t, length, false) {
		}
		await(t, "chunks have no end", func() bool { return f.available() > ringSize-2*length })
		if minimum := (room + ringSize) * 9 / 10 / length; int(f.next-begin) < minimum {
			t.Errorf("round %d: %d records found room, want %d", round, f.next-begin, minimum)
		}
		if err := a.read(time.Time{}, n.take); err != nil || n.next != f.next {
			t.Errorf("round %d: %d records of %d: %v", round, n.next, f.next, err)
		}
	}
	if a.pool.made != room/chunk {
		t.Errorf("%d chunks of %d", a.pool.made, room/chunk)
	}
}

// Reading ends where its caller says, within a chunk too, and goes on behind that.
func TestAheadGoesOn(t *testing.T) {
	f := newFakeRing(t, 64<<10)
	a := startAhead(t, f.ring, 64<<10, 2000)
	for i := range 30 {
		f.write(t, 100+i, i%3 == 2)
	}
	enough := errors.New("enough")
	var n numbers
	for i := range 20 {
		err := a.read(time.Now().Add(time.Hour*time.Duration(min(i, 1))), func(record []byte) error {
			return errors.Join(n.take(record), enough)
		})
		if !errors.Is(err, enough) || n.next != uint64(i+1) {
			t.Fatalf("round %d: %d records, %v", i, n.next, err)
		}
	}
	if err := a.read(time.Time{}, n.take); err != nil || n.next != f.next {
		t.Errorf("%d records of %d: %v", n.next, f.next, err)
	}
}

// A fast writer, a reader that is slow, fast, and fails now and then: every record comes once, in order, or was refused.
func TestAheadStress(t *testing.T) {
	for _, c := range []struct{ ring, room int }{{64 << 10, 1 << 20}, {64 << 10, 9000}, {256 << 10, 64 << 10}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			const longest = 8000
			f := newFakeRing(t, c.ring)
			a := startAhead(t, f.ring, c.room, int(recordSize(longest)))
			const writes = 20_000
			var end sync.WaitGroup
			var written atomic.Bool
			end.Go(func() {
				for range writes {
					length := 8 + rand.IntN(200)
					if rand.IntN(20) == 0 {
						length = 8 + rand.IntN(longest-8)
					}
					f.write(t, length, rand.IntN(50) == 0)
				}
				written.Store(true)
			})
			var n numbers
			stop := errors.New("stop")
			for more := true; more; {
				more = !written.Load()
				deadline := time.Now().Add(time.Duration(rand.IntN(1000)) * time.Microsecond)
				budget := rand.IntN(500)
				for read := stop; errors.Is(read, stop); deadline = (time.Time{}) {
					read = a.read(deadline, func(record []byte) error {
						if err := n.take(record); err != nil {
							return err
						}
						if budget--; budget < 0 {
							budget = rand.IntN(500)
							return stop
						}
						return nil
					})
					if read != nil && !errors.Is(read, stop) {
						t.Fatal(read)
					}
					if more {
						break
					}
				}
			}
			end.Wait()
			if n.next != f.next || n.next == 0 {
				t.Errorf("%d records of %d", n.next, f.next)
			}
			if a.pool.made > a.pool.most || a.pool.made != len(a.pool.free) {
				t.Errorf("%d chunks made of %d, %d are free", a.pool.made, a.pool.most, len(a.pool.free))
			}
			t.Logf("%d of %d refused", f.refused, writes)
		})
	}
}

// Reading ahead ends whatever it waits for.
func TestAheadEnds(t *testing.T) {
	for _, records := range []int{0, 1, 100, 1000} {
		f := newFakeRing(t, 64<<10)
		a, err := readAhead(f.ring, 16<<10, 2000)
		if err != nil {
			t.Fatal(err)
		}
		for range records {
			f.write(t, 500, false)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Where nothing comes, memory that was needed once goes away.
func TestAheadShrinks(t *testing.T) {
	f := newFakeRing(t, 64<<10)
	a := startAhead(t, f.ring, 128<<10, 2000)
	var n numbers
	for f.write(t, 500, false) {
	}
	if err := a.read(time.Time{}, n.take); err != nil || a.pool.made == 0 {
		t.Fatal(err, a.pool.made)
	}
	for range 10 {
		if err := a.read(time.Now().Add(time.Millisecond), n.take); err != nil {
			t.Fatal(err)
		}
	}
	if a.pool.made != 0 {
		t.Errorf("%d chunks are left", a.pool.made)
	}
}

// However many hands there are, no chunk is in two of them, nor are there more than may be.
func TestChunksChangeHands(t *testing.T) {
	p := chunks{size: 8, most: 5}
	var taken atomic.Int64
	var hands sync.WaitGroup
	for hand := range 8 {
		hands.Go(func() {
			for range 20_000 {
				c := p.take()
				if c == nil {
					p.shrink()
					continue
				}
				if n := taken.Add(1); n > int64(p.most) || len(c.bytes) != 0 || c.read != 0 {
					t.Errorf("chunk %d: %+v", n, c)
				}
				mark := []byte{byte(hand), 1, 2, 3, byte(hand)}
				c.bytes = append(c.bytes, mark...)
				runtime.Gosched()
				if !slices.Equal(c.bytes, mark) {
					t.Errorf("%v in the hands of %d", c.bytes, hand)
				}
				taken.Add(-1)
				p.give(c)
			}
		})
	}
	hands.Wait()
	if p.made != len(p.free) || p.made > p.most {
		t.Errorf("%d chunks made, %d free", p.made, len(p.free))
	}
}
