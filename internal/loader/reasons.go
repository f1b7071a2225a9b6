package loader

import (
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/cilium/ebpf/btf"
)

const dropReasonPrefix = "SKB_DROP_REASON_"

// DropReasons returns the running kernel's names of the reasons in model.Drop, in lower case and without
// what they all begin with: "no_socket", "socket_rcvbuff". It fails where the kernel's type information
// cannot be read.
func DropReasons() (map[uint32]string, error) {
	reasons, err := readDropReasons()
	return maps.Clone(reasons), err
}

var readDropReasons = sync.OnceValues(func() (map[uint32]string, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("read drop reasons: %w", err)
	}
	var enum *btf.Enum
	if err := spec.TypeByName("skb_drop_reason", &enum); err != nil {
		return nil, fmt.Errorf("read drop reasons: %w", err)
	}
	reasons := make(map[uint32]string)
	for _, v := range enum.Values {
		name, ok := strings.CutPrefix(v.Name, dropReasonPrefix)
		if ok && name != "MAX" && name != "SUBSYS_MASK" { // limits, not reasons
			reasons[uint32(v.Value)] = strings.ToLower(name)
		}
	}
	return reasons, nil
})

// DropReason is the running kernel's name of a reason in model.Drop, or "reason_N" where it has none.
func DropReason(reason uint32) string {
	reasons, _ := readDropReasons()
	if name, ok := reasons[reason]; ok {
		return name
	}
	return fmt.Sprintf("reason_%d", reason)
}
