package export

import (
	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// ofOwner prints a field of an owner; "-" where either is unknown.
func ofOwner(o *model.Owner, field func(*model.Owner) string) string {
	if o == nil {
		return "-"
	}
	return human.OrDash(human.Plain(field(o)))
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
