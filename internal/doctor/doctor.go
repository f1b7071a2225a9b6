// Package doctor judges what a machine can and cannot do, and says what would help. Whoever attaches and loads
// says what happened; this says what it means.
package doctor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/advice"
	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/machine"
	"github.com/lotrace/lotrace/internal/rights"
)

// Check is one thing that counting takes, or that is good to know.
type Check struct {
	Name     string // one word
	Status   Status
	Required bool   // nothing can be counted while it fails
	Found    string // what there is
	Fix      string // what to do about it; "" if nothing
}

// Status is how a check ended.
type Status string

// The statuses. Only a check that is required fails; others warn.
const (
	StatusOK   Status = "ok"
	StatusWarn Status = "warn"
	StatusFail Status = "fail"
)

// Probe finds out what can be done in a network namespace, named as in loader.Config, with the rights that
// the process has. Hooks are tried for real, for a moment; nothing is left behind, and nothing that
// was there before is changed.
func Probe(name string) []Check {
	n, err := hook.FindNetns(name)
	checks := slices.Concat(
		[]Check{checkKernel(machine.Release())},
		checkCapabilities(n),
		[]Check{checkTypes(), checkLockdown(machine.Lockdown()), checkJIT(), checkBPFStats(), checkCgroup2()},
	)
	if err != nil {
		return append(checks, failed("netns", err))
	}
	able := !slices.ContainsFunc(checks, func(c Check) bool { return c.Status == StatusFail })
	return append(checks, probeNetns(n, able)...)
}

// Verdict is nil if nothing that is required has failed.
func Verdict(checks []Check) error {
	var failed []string
	for _, c := range checks {
		if c.Required && c.Status == StatusFail {
			failed = append(failed, c.Name)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("nothing can be counted here: %s failed; the report says what helps", strings.Join(failed, ", "))
}

// failed is a required check that ended with an error.
func failed(name string, err error) Check {
	c := Check{Name: name, Status: StatusFail, Required: true}
	c.Found, c.Fix = explain(err)
	return c
}

// explain splits an error into what is wrong and what to do, each on one line.
func explain(err error) (found, fix string) {
	var e *advice.Error
	found = err.Error()
	if errors.As(err, &e) && e.Fix != "" {
		fix = e.Fix
		found = strings.Replace(found, "; "+fix, "", 1)
	}
	return strings.ReplaceAll(found, "\n", "; "), fix
}

// The kernels: below the first, programs do not load; from the second on, tests have been run.
var (
	oldestKernel = [2]int{5, 14}
	testedKernel = [2]int{6, 1}
)

func checkKernel(release string) Check {
	c := Check{Name: "kernel", Status: StatusOK, Required: true, Found: "Linux " + release}
	var is [2]int
	if _, err := fmt.Sscanf(release, "%d.%d", &is[0], &is[1]); err != nil {
		c.Status = StatusWarn
		c.Found += ", of unknown age"
		return c
	}
	older := func(than [2]int) bool { return slices.Compare(is[:], than[:]) < 0 }
	switch {
	case older(oldestKernel):
		c.Status = StatusFail
		c.Found += ", too old"
		c.Fix = "use Linux 6.1 or newer"
	case older(testedKernel):
		c.Status = StatusWarn
		c.Found += ", untested"
		c.Fix = "use Linux 6.1 or newer if anything below fails"
	}
	return c
}

// checkCapabilities has a check for each of those that are needed, and one for what it takes to
// enter the namespace.
func checkCapabilities(n hook.Netns) []Check {
	effective, err := rights.Effective()
	if err != nil {
		return []Check{failed("capabilities", err)}
	}
	missing, err := rights.Missing()
	if err != nil {
		return []Check{failed("capabilities", err)}
	}
	borrowed := inUserNamespace()
	var checks []Check
	for _, name := range []string{"cap_bpf", "cap_net_admin", "cap_perfmon"} {
		c := Check{Name: name, Status: StatusOK, Required: true, Found: "here"}
		switch {
		case slices.Contains(missing, name):
			c.Status, c.Found, c.Fix = StatusFail, "missing", rights.Fix
		case borrowed && name != "cap_net_admin":
			c.Status, c.Found = StatusFail, "counts in a user namespace only, BPF asks for more"
			c.Fix = "run as root outside of the user namespace (rootless container)"
		}
		checks = append(checks, c)
	}
	admin := Check{Name: "cap_sys_admin", Status: StatusOK, Required: !n.IsOwn(), Found: "here"}
	if effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		admin.Found = "missing; only --netns needs it"
		if admin.Required {
			admin.Status, admin.Found, admin.Fix = StatusFail, "missing; --netns needs it", "run as root"
		}
	}
	return append(checks, admin)
}

// inUserNamespace reports whether our capabilities are those of a user namespace below the first.
func inUserNamespace() bool {
	const first = 0xeffffffd // PROC_USER_INIT_INO, include/linux/proc_ns.h
	var st unix.Stat_t
	return unix.Stat("/proc/thread-self/ns/user", &st) == nil && st.Ino != first
}

func checkTypes() Check {
	if err := machine.CheckTypes(); err != nil {
		return failed("btf", err)
	}
	return Check{Name: "btf", Status: StatusOK, Required: true, Found: "/sys/kernel/btf/vmlinux"}
}

// checkLockdown takes what machine.Lockdown returns.
func checkLockdown(mode string) Check {
	c := Check{Name: "lockdown", Status: StatusOK, Required: true, Found: mode}
	switch mode {
	case "":
		c.Found = "none; this kernel has no lockdown, or hides it"
	case "confidentiality":
		c.Status = StatusFail
		c.Found = "confidentiality mode refuses programs that read the kernel's memory"
		c.Fix = "boot with lockdown=integrity or none"
	}
	return c
}

func checkJIT() Check {
	c := Check{Name: "jit", Status: StatusOK}
	switch sysctl("net.core.bpf_jit_enable") {
	case "":
		c.Found = "unknown; other network namespaces than the first do not show it"
	case "0":
		c.Status = StatusWarn
		c.Found = "off: each packet costs several times as much"
		c.Fix = "sudo sysctl -w net.core.bpf_jit_enable=1"
	case "1":
		c.Found = "on"
	default:
		c.Status = StatusWarn
		c.Found = "on, and each program goes into the kernel's log"
		c.Fix = "sudo sysctl -w net.core.bpf_jit_enable=1"
	}
	return c
}

// checkBPFStats is for information: measuring costs something, too.
func checkBPFStats() Check {
	c := Check{Name: "bpf_stats", Status: StatusOK, Found: "on: the cost per packet is shown"}
	if sysctl("kernel.bpf_stats_enabled") != "1" {
		c.Found = "off; with sysctl kernel.bpf_stats_enabled=1 the cost per packet is shown"
	}
	return c
}

// sysctl returns a setting's value, or "" if it cannot be read.
func sysctl(name string) string {
	text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func checkCgroup2() Check {
	c := Check{Name: "cgroup2", Status: StatusOK}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if c.Found = cgroup2Mount(string(mounts)); c.Found == "" {
		c.Status = StatusWarn
		c.Found = "not mounted: owners have no cgroup, unit or container"
		c.Fix = "sudo mount -t cgroup2 none /sys/fs/cgroup"
	}
	if err != nil {
		c.Found, c.Fix = err.Error(), ""
	}
	return c
}

// cgroup2Mount finds where cgroup v2 is mounted in the text of /proc/self/mounts, proc_pid_mounts(5);
// "" if nowhere.
func cgroup2Mount(mounts string) string {
	for line := range strings.Lines(mounts) {
		if field := strings.Fields(line); len(field) > 2 && field[2] == "cgroup2" {
			return field[1]
		}
	}
	return ""
}
