package human

import (
	"strconv"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/stats"
)

// Process prints an owner: its name, its PID.
func Process(o *model.Owner) string {
	name := Plain(stats.ProcessName(o))
	if o.PID == 0 || o.Comm == "" {
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
