package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"github.com/lotrace/lotrace/internal/testkit"
)

// hostile is a process that would like to write the report itself. It has a name and arguments that command
// a terminal, a megabyte of them, and talks to itself in the same vein: a line is a connection.
const hostile = `
open(my $comm, '>', '/proc/self/comm') or die "comm: $!"; print $comm "=\e[2J\x{9b}1m\n|<b>"; close $comm;
my ($ear, $mouth, $server);
my $any = pack('S n a4 x8', 2, 0, "\x7f\0\0\1");
socket($ear, 2, 1, 0) && bind($ear, $any) && listen($ear, 1) or die "listen: $!";
print "ready\n";
while (<STDIN>) {
	socket($mouth, 2, 1, 0) && connect($mouth, getsockname($ear)) && accept($server, $ear) or die "connect: $!";
	for my $pair ([$mouth, $server], [$server, $mouth]) {
		syswrite($pair->[0], "\e]0;payload\a\r\n" x 100); sysread($pair->[1], my $got, 1 << 16);
	}
	print "said\n";
}
`

const titleSetting = "\x1b]0;owned\a"

// startHostile also gives the process a cgroup with a name of the kind, where there may be such.
func startHostile(t *testing.T, ns *testkit.Netns) *testkit.Proc {
	t.Helper()
	argument := strings.Repeat(titleSetting+"\u202e\n", 6_000)
	p := ns.StartChild(t, testkit.Child{Perl: hostile, Args: slices.Repeat([]string{argument}, 11)})
	p.Expect(t, "ready")
	intoCgroup(t, p.PID)
	return p
}

func intoCgroup(t *testing.T, pid int) {
	t.Helper()
	for _, top := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(top + "/cgroup.controllers"); err != nil {
			continue
		}
		group := filepath.Join(top, "lotrace-"+strconv.Itoa(pid)+titleSetting+"\u202e.service")
		if err := os.Mkdir(group, 0o755); err != nil {
			t.Logf("no cgroup: %v", err)
			return
		}
		t.Cleanup(func() { os.WriteFile(top+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); os.Remove(group) })
		if err := os.WriteFile(group+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
			t.Logf("no cgroup: %v", err)
		}
		return
	}
	t.Log("no cgroup: none mounted")
}

// A process's own name for itself is shown, escaped and within bounds, in every output.
func TestHostileProcess(t *testing.T) {
	const most = 256 << 10 // bytes: what a megabyte of arguments must not become
	ns := newLiveNetns(t, "auto")
	p := startHostile(t, ns)
	commands := [][]string{{"lat", "-d", "60", "--slow", "1ns"}}
	for _, format := range outputFormats {
		for _, by := range []string{"flow", "cgroup"} {
			commands = append(commands, []string{"flows", "-d", "60", "--slow", "1ns", "-o", format, "--by", by})
		}
	}
	for _, args := range commands {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			l := startCounting(t, ns, args...)
			p.Send(t, "more")
			p.Expect(t, "said")
			testkit.Quiesce(ns)
			l.interrupt()
			shown := l.stdout.String()
			if !strings.Contains(shown, `x1b[2J`) && !strings.Contains(shown, `u001b[2J`) && !strings.Contains(shown, `owned`) &&
				!strings.Contains(shown, `x1b\[2J`) {
				t.Errorf("the process is not shown: %q", shown)
			}
			checkShown(t, shown, most)
			checkShown(t, l.stderr.String(), most)
		})
	}
	t.Run("top", func(t *testing.T) {
		w := watchTop(t, ns, "--by", "process")
		for range 2 {
			p.Send(t, "more")
			p.Expect(t, "said")
			w.await(`\x1b[2J`)
			w.types("\r")
			w.await(`\x1b]0;owned`)
		}
		w.types("\x03")
		w.end()
		if got := w.text(); strings.Contains(got, "]0;owned\a") || strings.Contains(got, "\u009b") || strings.Contains(got, "\u202e") {
			t.Errorf("the terminal got %q", got)
		}
		checkShown(t, strings.NewReplacer("\r", "", "\t", "").Replace(ansi.Strip(w.text())), most)
	})
}

func checkShown(t *testing.T, text string, most int) {
	t.Helper()
	if len(text) > most {
		t.Errorf("%d bytes, want at most %d", len(text), most)
	}
	if at := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); at >= 0 {
		t.Errorf("%q gets out: %q", text[at:][:1], fmt.Sprintf("%.200s", text[at:]))
	}
}

// All output goes where the caller's shell has put it: no path of ours could be bent by a link.
func TestWritesNoFile(t *testing.T) {
	for _, hook := range liveHooks {
		t.Run(hook, func(t *testing.T) {
			ns := newLiveNetns(t, hook)
			l := startCounting(t, ns, "flows", "-d", "60", "--hook", hook)
			dir := fmt.Sprintf("/proc/%d/", l.Process.Pid)
			fds, err := os.ReadDir(dir + "fd")
			if err != nil {
				t.Fatal(err)
			}
			for _, fd := range fds {
				path, err := os.Readlink(dir + "fd/" + fd.Name())
				if err != nil || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/dev/") {
					continue // closed, or a pipe, a socket, a BPF object, a device
				}
				info, err := os.ReadFile(dir + "fdinfo/" + fd.Name())
				var pos, flags int
				if _, scan := fmt.Sscanf(string(info), "pos:\t%d\nflags:\t%o", &pos, &flags); err != nil || scan != nil {
					t.Fatalf("%v %v: %s", err, scan, info)
				}
				if flags&os.O_WRONLY != 0 || flags&os.O_RDWR != 0 {
					t.Errorf("%s is open for writing", path)
				}
			}
			l.interrupt()
		})
	}
}
