package hook

import (
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

func TestFilterMark(t *testing.T) {
	own, err := ownFilterMark()
	if err != nil {
		t.Fatal(err)
	}
	own.ownQdisc = true
	if got, ok := parseFilterMark(own.String()); !ok || got != own {
		t.Errorf("%q is %+v, %v", own, got, ok)
	}
	for _, name := range []string{"", "lotrace", "lotrace/x/1/2/own", "other/1/2/3/own", "lotrace/1/2/3/own/4"} {
		if mark, ok := parseFilterMark(name); ok {
			t.Errorf("%q is ours: %+v", name, mark)
		}
	}
	if own.dead() {
		t.Error("we are dead")
	}
	reused := own
	reused.start += "0"
	if !reused.dead() {
		t.Error("whoever had our process id before us is alive")
	}
	stranger := reused
	stranger.view += "0"
	if stranger.dead() {
		t.Error("a process of another namespace was judged")
	}
}

// FuzzFilterMark: others may give their filters any name. Only what we would write ourselves is ours.
func FuzzFilterMark(f *testing.F) {
	f.Add(filterMark{pid: 1, start: "2", view: "3", ownQdisc: true}.String())
	f.Add("lotrace/0x1/2/3/shared")
	f.Fuzz(func(t *testing.T, name string) {
		mark, ours := parseFilterMark(name)
		if again, same := parseFilterMark(mark.String()); ours && (!same || again != mark) {
			t.Errorf("%q reads as %+v, which reads as %+v, %v", name, mark, again, same)
		}
	})
}

// A process has ended although nobody has waited for it.
func TestZombieIsDead(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	mark, err := ownFilterMark()
	if err == nil {
		mark.pid = cmd.Process.Pid
		mark.start, err = processStart(mark.pid)
	}
	if err != nil {
		t.Fatal(err)
	}
	if mark.dead() {
		t.Error("dead while it sleeps")
	}
	var info unix.Siginfo
	err = errors.Join(cmd.Process.Kill(), unix.Waitid(unix.P_PID, mark.pid, &info, unix.WEXITED|unix.WNOWAIT, nil))
	if err != nil {
		t.Fatal(err)
	}
	if !mark.dead() {
		t.Error("alive after SIGKILL")
	}
	_ = cmd.Wait()
}

// The guardian knows of our qdisc before there is one, and of somebody else's that it is not ours.
func TestQdiscIsAnnounced(t *testing.T) {
	testkit.RequireRoot(t)
	ns := testkit.NewNetns(t)
	err := ns.Do(func() error {
		for _, ours := range []bool{true, false} {
			c, err := newClsact(1)
			if err != nil {
				return err
			}
			defer c.Close()
			announced := 0
			c.charge = func() {
				announced++
				if there, err := c.hasQdisc(); err != nil || there == ours || c.mark.ownQdisc != ours {
					t.Errorf("announced as %+v, there is one: %v, %v", c.mark, there, err)
				}
			}
			if err := c.addQdisc(); err != nil {
				return err
			}
			if announced != 1 {
				t.Errorf("announced %d times", announced)
			}
			c.mark.ownQdisc = false // it stays for the second
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Many that come and go at once never take the qdisc from under one another.
func TestQdiscIsSharedInTurns(t *testing.T) {
	testkit.RequireRoot(t)
	ns := testkit.NewNetns(t)
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	turns := 300
	if testing.Short() {
		turns = 20 // an emulated processor would outlast the lock's patience
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range turns {
				if err := ns.Do(func() error { return comeAndGo(program.FD()) }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if left := ns.Attached(); len(left.Qdiscs) != 1 {
		t.Errorf("left behind: %+v", left)
	}
}

// comeAndGo attaches a program as attachClsact does, and says if it is not there at once or has gone
// before we take it away.
func comeAndGo(fd int) error {
	c, err := newClsact(1)
	if err != nil {
		return err
	}
	err = c.locked(func() (err error) {
		if c.mark, err = ownFilterMark(); err != nil {
			return err
		}
		if err = c.addQdisc(); err != nil {
			return err
		}
		return c.addFilter(netlink.HANDLE_MIN_EGRESS, fd)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("come: %w", err), c.Close())
	}
	found := false
	_, err = c.eachFilter(func(f *netlink.BpfFilter) error {
		found = found || f.Handle == c.filters[0].Handle
		return nil
	})
	if err == nil && !found {
		err = errors.New("our filter is gone")
	}
	return errors.Join(err, c.Close())
}
