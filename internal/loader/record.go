package loader

import (
	"fmt"
	"unsafe"
)

// recordsIn is what an iterator wrote, read as records of one of the generated types. The records lie in raw, which
// must be aligned as T is: any buffer is that has been allocated for itself.
func recordsIn[T any](raw []byte) ([]T, error) {
	size := int(unsafe.Sizeof(*new(T)))
	if len(raw)%size != 0 {
		return nil, fmt.Errorf("%d bytes are no whole records", len(raw))
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), len(raw)/size), nil
}
