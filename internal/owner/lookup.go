package owner

import (
	"errors"
	"time"

	"github.com/lotrace/lotrace/internal/reading"
)

// facts is what is known of a process beyond the kernel's record; "" is unknown.
type facts struct {
	comm          string
	exe           string
	cmdline       string
	cgroup        string
	unit          string
	container     string
	containerName string
	uid           uint32 // as hasUID says: 0 is root's
	hasUID        bool
}

// place sets the cgroup and what follows from it.
func (f *facts) place(cgroup string) {
	if cgroup == f.cgroup {
		return
	}
	f.cgroup = cgroup
	f.unit = unitOf(cgroup)
	f.container, f.containerName = containerOf(cgroup)
}

// lookUp is the goroutine that reads /proc. Processes it has never looked at go first: they may be
// gone in a moment.
func (r *Resolver) lookUp() {
	proc := newProcfs(r.config.Proc)
	proc.ahead = uint64(r.config.BoottimeAhead)
	cgroups := newCgroups(r.config.Proc)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-r.stopped:
			return
		case e := <-r.first:
			r.lookUpOne(e, proc, cgroups)
			continue
		default:
		}
		select {
		case <-r.stopped:
			return
		case e := <-r.first:
			r.lookUpOne(e, proc, cgroups)
		case e := <-r.again:
			r.lookUpOne(e, proc, cgroups)
		case <-ticker.C:
			r.mu.Lock()
			r.now++
			r.mu.Unlock()
		}
	}
}

func (r *Resolver) lookUpOne(e *entry, proc *procfs, cgroups *cgroups) {
	r.mu.Lock()
	known := e.known
	r.mu.Unlock()

	known, gone, final, denied := learn(e.process, known, proc, cgroups)

	r.mu.Lock()
	defer r.mu.Unlock()
	r.name(&known)
	e.known = known
	r.update(e)
	if gone != e.gone {
		r.version++
	}
	e.gone, e.final = gone, final
	e.due = r.now + refreshTick
	if denied && !e.denied {
		e.denied = true
		r.denied++
	}
	e.pending = false
	r.pending--
	r.wake()
}

// learn adds to what is known of the process. gone: it has ended; final: nothing more is to be had.
func learn(p *reading.Process, known facts, proc *procfs, cgroups *cgroups) (_ facts, gone, final, denied bool) {
	if p.PID != 0 {
		var err error
		known, denied, err = proc.read(p, known)
		if !errors.Is(err, errGone) {
			return known, false, false, denied
		}
		gone = true
	}
	if known.cgroup != "" {
		return known, gone, true, denied
	}
	path, final := cgroups.path(p.CgroupID)
	known.place(path)
	return known, gone, final, denied
}
