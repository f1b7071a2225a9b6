package export

import (
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/stats"
)

// process prints an owner: its name, its PID.
func process(o *model.Owner) string {
	name := plain(stats.ProcessName(o))
	if o.PID == 0 || o.Comm == "" {
		return name
	}
	return name + "(" + decimal(o.PID) + ")"
}

// nameless reports whether process has nothing to say about an owner: it is unknown, or stands for
// several processes of different names.
func nameless(o *model.Owner) bool { return o == nil || o.Comm == "" && o.PID == 0 }

// ofOwner prints a field of an owner; "-" where either is unknown.
func ofOwner(o *model.Owner, field func(*model.Owner) string) string {
	if o == nil {
		return "-"
	}
	return orDash(plain(field(o)))
}

func pid(o *model.Owner) string     { return unlessZero(o.PID, decimal) }
func exe(o *model.Owner) string     { return o.Exe }
func cmdline(o *model.Owner) string { return o.Cmdline }
func cgroup(o *model.Owner) string  { return o.Cgroup }
func unit(o *model.Owner) string    { return o.Unit }

func uid(o *model.Owner) string {
	if o.UID == model.NoUID {
		return ""
	}
	return decimal(o.UID)
}

// container is the container's name, or as much of its id as its engine's own lists show.
func container(o *model.Owner) string {
	if o.ContainerName != "" {
		return o.ContainerName
	}
	return o.Container[:min(12, len(o.Container))]
}
