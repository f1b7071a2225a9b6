package loader

import (
	"strings"
	"testing"
)

func TestDropReasons(t *testing.T) {
	reasons, err := DropReasons()
	if err != nil {
		t.Fatal(err)
	}
	numbers := make(map[string]uint32)
	for number, name := range reasons {
		if name == "" || name != strings.ToLower(name) || strings.Contains(name, "drop_reason") {
			t.Errorf("%d is called %q", number, name)
		}
		if got := DropReason(number); got != name {
			t.Errorf("%d: got %q, want %q", number, got, name)
		}
		numbers[name] = number
	}
	// The first three of every kernel that has any: NOT_DROPPED_YET and CONSUMED are none.
	if a, b := numbers["not_specified"], numbers["no_socket"]; a == 0 || b != a+1 || numbers["socket_rcvbuff"] == 0 {
		t.Errorf("not_specified %d, no_socket %d, socket_rcvbuff %d", a, b, numbers["socket_rcvbuff"])
	}
	for _, name := range []string{"max", "subsys_mask"} {
		if number, ok := numbers[name]; ok {
			t.Errorf("%s (%d) is no reason", name, number)
		}
	}
	if got := DropReason(1 << 30); got != "reason_1073741824" {
		t.Errorf("a number without a name: got %q", got)
	}
}
