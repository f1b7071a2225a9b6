package loader

import (
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// array is the memory of an array map. The kernel gives us all pages of what is mapped at once, used or
// not, so the map is mapped as far as it has come into use: the rest is a range of addresses without memory.
type array[T any] struct {
	at      []T // of which the first reached may be touched
	reached int
	fd      int
	mapped  uintptr // bytes
}

// arrayStep is how many bytes are mapped at once at least, whole pages of any size.
const arrayStep = 1 << 20

func (a *array[T]) size() uintptr { return uintptr(len(a.at)) * unsafe.Sizeof(*new(T)) }

func (a *array[T]) reserve(m *ebpf.Map) error {
	n := uintptr(m.MaxEntries())
	memory, err := unix.MmapPtr(-1, 0, nil, n*unsafe.Sizeof(*new(T)), unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("reserve memory for map %s: %w", m, err)
	}
	a.at, a.fd = unsafe.Slice((*T)(memory), n), m.FD()
	return nil
}

// reach maps the first n, as far as there are so many.
func (a *array[T]) reach(n uint64) error {
	reached := int(min(n, uint64(len(a.at))))
	if reached <= a.reached {
		return nil
	}
	end := uintptr(reached) * unsafe.Sizeof(*new(T))
	if end > a.mapped {
		end = min((end+arrayStep-1)/arrayStep*arrayStep, a.size())
		from := unsafe.Add(unsafe.Pointer(&a.at[0]), a.mapped)
		if _, err := unix.MmapPtr(a.fd, int64(a.mapped), from, end-a.mapped, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
			return err
		}
		a.mapped = end
	}
	a.reached = reached
	return nil
}

func (a *array[T]) Close() error {
	if len(a.at) == 0 {
		return nil
	}
	return unix.MunmapPtr(unsafe.Pointer(&a.at[0]), a.size())
}
