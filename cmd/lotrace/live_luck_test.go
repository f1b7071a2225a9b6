package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/testkit"
)

// bindNetns gives the namespace a name in the file system, as ip-netns(8) does. The result takes the
// name away again.
func bindNetns(t *testing.T, ns *testkit.Netns, path string) (remove func()) {
	t.Helper()
	if err := os.Mkdir(filepath.Dir(path), 0o755); err == nil {
		t.Cleanup(func() { os.Remove(filepath.Dir(path)) })
	}
	err := os.WriteFile(path, nil, 0o644)
	if err == nil {
		err = unix.Mount(ns.Path(), path, "", unix.MS_BIND, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	remove = func() {
		if err := errors.Join(unix.Unmount(path, unix.MNT_DETACH), os.Remove(path)); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		if _, err := os.Stat(path); err == nil {
			remove()
		}
	})
	return remove
}

// sleeper is a process in the namespace.
func sleeper(t *testing.T, ns *testkit.Netns) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := ns.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// namespaceNames are the ways to name a namespace, and to make the name lead nowhere.
var namespaceNames = []struct {
	kind string
	give func(*testing.T, *testkit.Netns) (name string, remove func())
}{
	{"name", func(t *testing.T, ns *testkit.Netns) (string, func()) {
		name := fmt.Sprintf("lotrace-test-%d", os.Getpid())
		return name, bindNetns(t, ns, "/run/netns/"+name)
	}},
	{"path", func(t *testing.T, ns *testkit.Netns) (string, func()) {
		path := filepath.Join(t.TempDir(), "netns")
		return path, bindNetns(t, ns, path)
	}},
	{"pid", func(t *testing.T, ns *testkit.Netns) (string, func()) {
		cmd := sleeper(t, ns)
		return fmt.Sprint(cmd.Process.Pid), func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}},
}

// A namespace whose name goes away ends the run, with everything counted until then.
func TestNamespaceGoes(t *testing.T) {
	for _, hook := range liveHooks {
		for _, by := range namespaceNames {
			t.Run(hook+"/"+by.kind, func(t *testing.T) {
				ns := newLiveNetns(t, hook)
				clean := ns.Attached()
				name, remove := by.give(t, ns)
				elsewhere := testkit.NewNetns(t)
				l := startCounting(t, elsewhere, "flows", "--watch", "300ms", "-o", "json", "--hook", hook, "--netns", name)
				traces := tracesOf(l, ns, clean)
				before := ns.Device()
				sendSome(t, ns)
				remove()
				if code := l.end(); code != exitOK {
					t.Errorf("exit code %d", code)
				}
				said := "lotrace: " + name + ": the network namespace is gone: counting ended\n"
				if !strings.HasSuffix(l.stderr.String(), said) {
					t.Errorf("said %q", &l.stderr)
				}
				checkTotal(t, l, ns.Device().Sub(before))
				traces.checkGone(t)
			})
		}
	}
}

// checkTotal adds up the windows of a run.
func checkTotal(t *testing.T, l *program, device testkit.Counters) {
	t.Helper()
	var sum testkit.Counters
	for line := range strings.Lines(l.stdout.String()) {
		doc := parseDoc(t, []byte(line))
		sum.RxPackets += doc.Totals.Packets
		sum.RxBytes += doc.Totals.Bytes
	}
	if sum != device || sum.RxPackets == 0 {
		t.Errorf("windows make %+v, device %+v", sum, device)
	}
}

// A process in a namespace stands for it as long as it lives, also when we may not look into it any
// more because we have dropped our privileges.
func TestNamespaceOfProcess(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	pid := fmt.Sprint(sleeper(t, ns).Process.Pid)
	l := prepare(t, "flows", "-d", "0.6", "-o", "json", "--netns", pid) // more than two looks at the name
	l.start(testkit.NewNetns(t))
	l.awaitCounting()
	before := ns.Device()
	sendSome(t, ns)
	if code := l.end(); code != exitOK || strings.Contains(l.stderr.String(), "gone") {
		t.Errorf("exit code %d: %s", code, &l.stderr)
	}
	doc := parseDoc(t, l.stdout.Bytes())
	doc.checkExact(t, ns.Device().Sub(before))
	if doc.Source.Netns != ns.Inode() {
		t.Errorf("watched %d, not %d", doc.Source.Netns, ns.Inode())
	}
}

func setLo(t *testing.T, ns *testkit.Netns, change func(lo netlink.Link) error) {
	t.Helper()
	if err := ns.Do(func() error { return change(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}) }); err != nil {
		t.Fatal(err)
	}
}

func TestLoopbackDown(t *testing.T) {
	for _, hook := range []string{"tcx", "clsact"} { // the self-test of xdp needs it up
		t.Run(hook, func(t *testing.T) {
			ns := newLiveNetns(t, hook)
			setLo(t, ns, netlink.LinkSetDown)
			l := startCounting(t, ns, "flows", "-d", "60", "-o", "json", "--hook", hook)
			if !strings.Contains(l.stderr.String(), "lotrace: warning: lo is down") {
				t.Errorf("said %q", &l.stderr)
			}
			setLo(t, ns, netlink.LinkSetUp)
			before := ns.Device()
			sendSome(t, ns)
			setLo(t, ns, netlink.LinkSetDown)
			setLo(t, ns, netlink.LinkSetUp)
			sendSome(t, ns)
			l.interrupt()
			parseDoc(t, l.stdout.Bytes()).checkExact(t, ns.Device().Sub(before))
		})
	}
}

func rename(t *testing.T, ns *testkit.Netns, name string) {
	t.Helper()
	setLo(t, ns, netlink.LinkSetDown)
	setLo(t, ns, func(lo netlink.Link) error { return netlink.LinkSetName(lo, name) })
	setLo(t, ns, netlink.LinkSetUp)
}

// The loopback device is what the kernel says is one, whatever its name.
func TestRenamedLoopback(t *testing.T) {
	for _, hook := range liveHooks {
		t.Run(hook, func(t *testing.T) {
			ns := newLiveNetns(t, hook)
			rename(t, ns, "looper")
			l := startCounting(t, ns, "flows", "-d", "60", "-o", "json", "--hook", hook)
			before := ns.Device()
			sendSome(t, ns)
			rename(t, ns, "again")
			sendSome(t, ns)
			l.interrupt()
			doc := parseDoc(t, l.stdout.Bytes())
			doc.checkExact(t, ns.Device().Sub(before))
			if doc.Source.Device != "looper" {
				t.Errorf("device %q", doc.Source.Device)
			}
		})
	}
}

// openFlows is sendFlows, until traffic rests.
func openFlows(t *testing.T, ns *testkit.Netns, n int) {
	t.Helper()
	sendFlows(t, ns, n)
	testkit.Quiesce(ns)
}

// sendFlows sends one datagram each from so many ports to one server.
func sendFlows(t *testing.T, ns *testkit.Netns, n int) {
	t.Helper()
	ns.Run(t, func() {
		server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		for i := range n {
			from := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 10_000 + i} // below what others are given
			client, err := net.DialUDP("udp4", from, server.LocalAddr().(*net.UDPAddr))
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Write([]byte("one"))
			if err := errors.Join(err, client.Close()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Packets that find no room in the table are part of the totals, and every format says how many they are.
func TestFullTableIsDeclared(t *testing.T) {
	const more = 97
	for format, declared := range map[string]string{
		"table":    fmt.Sprintf("table_full %d", more),
		"wide":     fmt.Sprintf("table_full %d", more),
		"markdown": fmt.Sprintf(`table\_full %d`, more),
		"json":     fmt.Sprintf(`"by_cause":{"table_full":{"packets":%d,`, more),
		"jsonl":    fmt.Sprintf(`"by_cause":{"table_full":{"packets":%d,`, more),
		"csv":      fmt.Sprintf("table_full %d", more), // rows have no place for it: on stderr
	} {
		t.Run(format, func(t *testing.T) {
			if format != "json" {
				testkit.OneKernel(t)
			}
			ns := newLiveNetns(t, "auto")
			l := startCounting(t, ns, "flows", "-d", "60", "-o", format, "--max-flows", fmt.Sprint(loader.MinFlows))
			before := ns.Device()
			openFlows(t, ns, loader.MinFlows+more)
			l.interrupt()
			if format == "json" {
				parseDoc(t, l.stdout.Bytes()).checkExact(t, ns.Device().Sub(before))
			}
			out := l.stdout.String()
			if format == "csv" {
				out = l.stderr.String()
			}
			if !strings.Contains(out, declared) {
				t.Errorf("no %q in %.500q", declared, out)
			}
		})
	}
}

func TestFlowsRefuse(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
		says []string
	}{
		{"--max-flows 5", exitUsage, []string{"invalid --max-flows", "1024 to 1048576"}},
		{"--max-flows many", exitUsage, []string{"invalid --max-flows", "1024 to 1048576"}},
		{"--hook kprobe", exitUsage, []string{"want auto, tcx, clsact or xdp"}},
		{"-f port:many", exitUsage, []string{"port"}},
		{"--stages --hook xdp", exitFailed, []string{"count stages: needs a tc hook"}},
		{"--netns nosuch", exitFailed, []string{"open network namespace nosuch", "a name from `ip netns`, a path, a process id or self"}},
		{"--netns ./nosuch", exitFailed, []string{"open network namespace ./nosuch"}},
		{"--netns 4194305", exitFailed, []string{"open network namespace 4194305"}}, // above any pid
	} {
		code, stdout, stderr := lotrace(t, nil, append([]string{"flows"}, strings.Fields(tt.args)...)...)
		if code != tt.code || stdout != "" {
			t.Errorf("%s: exit code %d, stdout %q", tt.args, code, stdout)
		}
		for _, text := range tt.says {
			if !strings.Contains(stderr, text) {
				t.Errorf("%s: said %q, not %q", tt.args, stderr, text)
			}
		}
	}
}
