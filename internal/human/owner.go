package human

import (
	"net/netip"
	"strconv"

	"github.com/lotrace/lotrace/internal/model"
)

// UnknownName stands for a name nobody knows.
const UnknownName = "?"

// ProcessName is the process's display name, without its PID unless that is all there is.
func ProcessName(o *model.Owner) string {
	switch {
	case o == nil || o.Comm == "" && o.PID == 0:
		return UnknownName
	case o.Comm == "":
		return "pid " + strconv.FormatUint(uint64(o.PID), 10)
	}
	return o.Comm
}

// Process prints an owner: its name, its PID.
func Process(o *model.Owner) string {
	name := Plain(ProcessName(o))
	if o == nil || o.PID == 0 || o.Comm == "" {
		return name
	}
	return name + "(" + strconv.FormatUint(uint64(o.PID), 10) + ")"
}

// Nameless reports whether process has nothing to say about an owner: it is unknown, or stands for
// several processes of different names.
func Nameless(o *model.Owner) bool { return o == nil || o.Comm == "" && o.PID == 0 }

// Address prints an endpoint without its owner.
func Address(e *model.Endpoint) string {
	if e.Port == 0 {
		return e.Addr.String()
	}
	return e.AddrPort().String()
}

// Container is the container's name, or as much of its id as its engine's own lists show.
func Container(o *model.Owner) string {
	if o.ContainerName != "" {
		return o.ContainerName
	}
	return o.Container[:min(12, len(o.Container))]
}

var localhost4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// End names an endpoint by its process; the address is left out if it is what
// everybody's is, 127.0.0.1 or ::1.
func End(e *model.Endpoint) string {
	switch {
	case Nameless(e.Owner):
		return Address(e)
	case e.Addr != localhost4 && e.Addr != netip.IPv6Loopback():
		return Process(e.Owner) + " " + Address(e)
	case e.Port == 0:
		return Process(e.Owner)
	}
	return Process(e.Owner) + ":" + strconv.Itoa(int(e.Port))
}

// ShortAddress is Address, but leaves 127.0.0.1 out. A service may wait at [::1] as well, on the same port.
func ShortAddress(e *model.Endpoint) string {
	if e.Port == 0 || e.Addr != localhost4 {
		return Address(e)
	}
	return ":" + strconv.Itoa(int(e.Port))
}
