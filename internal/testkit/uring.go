package testkit

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// UringMode says which thread does what is asked of io_uring.
type UringMode int

// The modes.
const (
	UringInline UringMode = iota // the one that asks
	UringWorker                  // one of the process's kernel-made workers
	UringPolled                  // the one that polls the queue (IORING_SETUP_SQPOLL)
)

// include/uapi/linux/io_uring.h
const (
	uringOffSQEs        = 0x10000000
	uringSetupSQPoll    = 1 << 1
	uringFeatSingleMmap = 1 << 0
	uringEnterGetEvents = 1 << 0
	uringEnterSQWakeup  = 1 << 1
	uringSQEAsync       = 1 << 4
	uringOpSend         = 26
)

type uringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

type uringSQE struct {
	opcode, flags uint8
	_             uint16
	fd            int32
	_             uint64
	addr          uint64
	len           uint32
	_             [9]uint32
}

type uringCQE struct {
	_      uint64
	result int32
	_      uint32
}

// RequireUring skips the test where io_uring is not to be had.
func RequireUring(tb testing.TB) {
	tb.Helper()
	var params uringParams
	fd, err := uringSetup(&params)
	if err == nil {
		unix.Close(fd)
		enter(tb, "run", "io_uring")
		return
	}
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		tb.Fatal(err)
	}
	enter(tb, "skip", "io_uring")
	tb.Skipf("needs io_uring: %v", err)
}

func uringSetup(params *uringParams) (fd int, err error) {
	got, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(params)), 0)
	if errno != 0 {
		return -1, fmt.Errorf("set up io_uring: %w", errno)
	}
	if params.features&uringFeatSingleMmap == 0 {
		unix.Close(int(got))
		return -1, errors.New("set up io_uring: needs Linux 5.4")
	}
	return int(got), nil
}

// sendUring sends b through a ring of its own, which has room for one request.
func sendUring(socket int, b []byte, mode UringMode) error {
	var params uringParams
	if mode == UringPolled {
		params.flags = uringSetupSQPoll
	}
	ring, err := uringSetup(&params)
	if err != nil {
		return err
	}
	defer unix.Close(ring)
	size := int(max(params.sq.array+4*params.sqEntries, params.cq.cqes+16*params.cqEntries))
	rings, err := unix.Mmap(ring, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(rings)
	requests, err := unix.Mmap(ring, uringOffSQEs, 64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(requests)

	request := (*uringSQE)(unsafe.Pointer(&requests[0]))
	request.opcode, request.fd = uringOpSend, int32(socket)
	request.addr, request.len = uint64(uintptr(unsafe.Pointer(&b[0]))), uint32(len(b))
	if mode == UringWorker {
		request.flags = uringSQEAsync
	}
	word := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&rings[offset])) }
	*word(params.sq.array) = 0
	atomic.AddUint32(word(params.sq.tail), 1)
	for toSubmit := uintptr(1); atomic.LoadUint32(word(params.cq.tail)) == 0; toSubmit = 0 {
		_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(ring), toSubmit, 1,
			uringEnterGetEvents|uringEnterSQWakeup, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return fmt.Errorf("enter io_uring: %w", errno)
		}
	}
	runtime.KeepAlive(b)
	done := (*uringCQE)(unsafe.Pointer(&rings[params.cq.cqes]))
	if int(done.result) != len(b) {
		return fmt.Errorf("send through io_uring: result %d of %d", done.result, len(b))
	}
	return nil
}
