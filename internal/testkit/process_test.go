package testkit_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

// longEnough is more than any wait in these tests takes.
const longEnough = 30 * time.Second

func TestMain(m *testing.M) {
	testkit.RegisterRole("echo", echo)
	testkit.RegisterRole("parent", parent)
	testkit.RegisterRole("idle", func([]string) error { return unix.Pause() })
	testkit.RegisterRole("fail", func([]string) error { return errors.New("on purpose") })
	testkit.RunRole()
	os.Exit(m.Run())
}

// echo says who and where it is, then repeats what it hears.
func echo(args []string) error {
	var st unix.Stat_t
	if err := unix.Stat(threadNetns, &st); err != nil {
		return err
	}
	fmt.Printf("ready %d %d %q\n", os.Getpid(), st.Ino, args)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Println("echo", in.Text())
	}
	return in.Err()
}

// parent leaves a child behind that nothing tells to exit. Both hold descriptor 3 open.
func parent([]string) error {
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), "LOTRACE_TESTKIT_ROLE=idle")
	child.ExtraFiles = []*os.File{os.NewFile(3, "held")}
	if err := child.Start(); err != nil {
		return err
	}
	fmt.Println("forked")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func TestStart(t *testing.T) {
	testkit.CheckFDs(t)
	ns := testkit.NewNetns(t)
	p := ns.Start(t, "echo", "-x", "a b")
	if got, want := p.Expect(t, "ready "), fmt.Sprintf("%d %d %q", p.PID, ns.Inode(), []string{"-x", "a b"}); got != want {
		t.Errorf("said %q, want %q", got, want)
	}
	for _, line := range []string{"one", "", "three"} {
		p.Send(t, line)
		if got := p.Expect(t, "echo "); got != line {
			t.Errorf("sent %q, heard %q", line, got)
		}
	}
	p.Wait(t)
	if err := unix.Kill(p.PID, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("after Wait: %v", err)
	}
	p.Kill()
}

func TestStartReports(t *testing.T) {
	ns := testkit.NewNetns(t)
	for _, tt := range []struct {
		name string
		use  func(testing.TB)
		want string
	}{
		{"another line", func(tb testing.TB) { ns.Start(tb, "echo").Expect(tb, "hello") }, "echo (PID "},
		{"no line", func(tb testing.TB) {
			p := ns.Start(tb, "echo")
			p.Expect(tb, "ready")
			unix.Kill(p.PID, unix.SIGKILL)
			p.Expect(tb, "x")
		}, `wait for "x": EOF`},
		{"a role that fails", func(tb testing.TB) { ns.Start(tb, "fail").Wait(tb) }, "exit status 1"},
		{"no such role", func(tb testing.TB) { ns.Start(tb, "hamlet").Wait(tb) }, "exit status 2"},
		{"killed", func(tb testing.TB) {
			p := ns.Start(tb, "echo")
			p.Kill()
			p.Wait(tb)
		}, "signal: killed"},
	} {
		got := run(tt.use)
		if !strings.HasPrefix(got, "fatal: ") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: reported as %q", tt.name, got)
		}
	}
}

// checkAllEnd starts a parent and its child, lets the test of both end with last, and waits until
// neither holds the pipe that they were given.
func checkAllEnd(t *testing.T, ns *testkit.Netns, last func(testing.TB, *testkit.Proc)) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	said := run(func(tb testing.TB) {
		p := ns.StartChild(tb, testkit.Child{Role: "parent", Files: []*os.File{w}})
		p.Expect(tb, "forked")
		last(tb, p)
	})
	w.Close()
	if said != "" {
		t.Error(said)
	}
	if err := r.SetReadDeadline(time.Now().Add(longEnough)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a process lives on: %v", err)
	}
}

func TestProcessesEnd(t *testing.T) {
	ns := testkit.NewNetns(t)
	t.Run("with the test", func(t *testing.T) { checkAllEnd(t, ns, func(testing.TB, *testkit.Proc) {}) })
	t.Run("with their parent", func(t *testing.T) {
		checkAllEnd(t, ns, func(tb testing.TB, p *testkit.Proc) { p.Wait(tb) })
	})
}

func TestStartChildInPIDNamespace(t *testing.T) {
	ns := testkit.NewNetns(t)
	p := ns.StartChild(t, testkit.Child{Role: "echo", Attr: syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}})
	if got := p.Expect(t, "ready "); !strings.HasPrefix(got, fmt.Sprintf("1 %d ", ns.Inode())) {
		t.Errorf("said %q", got)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nNSpid:\t%d\t1\n", p.PID)) {
		t.Errorf("status, error %v:\n%s", err, status)
	}
	p.Wait(t)
}

func TestStartWithPID(t *testing.T) {
	ns := testkit.NewNetns(t)
	pid := 0
	for range 3 {
		var p *testkit.Proc
		if pid == 0 {
			p = ns.Start(t, "echo")
			pid = p.PID
		} else {
			p = ns.StartWithPID(t, pid, "echo", "again")
		}
		if got := p.Expect(t, "ready "); p.PID != pid || !strings.HasPrefix(got, strconv.Itoa(pid)+" ") {
			t.Fatalf("PID %d, said %q, want PID %d", p.PID, got, pid)
		}
		p.Wait(t)
	}
	got := run(func(tb testing.TB) { ns.StartWithPID(tb, os.Getpid(), "echo") })
	if want := fmt.Sprintf("fatal: start process: PID %d was taken 100 times", os.Getpid()); got != want {
		t.Errorf("a PID in use: got %q, want %q", got, want)
	}
}

func TestPerlClient(t *testing.T) {
	testkit.RequirePerl(t)
	testkit.CheckFDs(t)
	ns := testkit.NewNetns(t)
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		var listener net.Listener
		ns.Run(t, func() {
			var err error
			if listener, err = net.Listen("tcp", addr); err != nil {
				t.Fatal(err)
			}
		})
		defer listener.Close()
		if err := listener.(*net.TCPListener).SetDeadline(time.Now().Add(longEnough)); err != nil {
			t.Fatal(err)
		}
		p := ns.Perl(t, testkit.PerlClient, testkit.PerlAddr(listener.Addr().(*net.TCPAddr).AddrPort()), "-hello")
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "-hello\n" {
			t.Errorf("heard %q, %v", line, err)
		}
		if _, err := io.WriteString(conn, "bye\n"); err != nil {
			t.Fatal(err)
		}
		client := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		if got, want := p.Expect(t, ""), fmt.Sprintf("%d %d", p.PID, client.Port()); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
		p.Wait(t)
	}
}

// TestPerlAddr holds it against what the kernel says of an address that Perl has bound.
func TestPerlAddr(t *testing.T) {
	ns := testkit.NewNetns(t)
	const script = `
		my $want = pack('H*', $ARGV[0]);
		socket(my $s, unpack('S', $want), 2, 0) or die $!;
		bind($s, $want) or die $!;
		print unpack('H*', getsockname($s)), "\n"`
	for _, addr := range []string{"127.0.0.2:1", "127.250.3.4:65535", "[::1]:4711"} {
		want := testkit.PerlAddr(netip.MustParseAddrPort(addr))
		p := ns.Perl(t, script, want)
		if got := p.Expect(t, ""); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
		p.Wait(t)
	}
}

func TestRequirePerl(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "ledger")
	t.Setenv("LOTRACE_TEST_LEDGER", ledger)
	t.Setenv("LOTRACE_REQUIRE_KERNEL", "1") // a test machine has no Perl
	t.Setenv("PATH", "")
	if got := run(testkit.RequirePerl); !strings.HasPrefix(got, "skip: needs perl: ") {
		t.Errorf("without: %q", got)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "perl"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	if got := run(testkit.RequirePerl); got != "" {
		t.Errorf("with: %q", got)
	}
	text, err := os.ReadFile(ledger)
	if err != nil {
		t.Fatal(err)
	}
	verbs := []string{}
	for line := range strings.Lines(string(text)) {
		verbs = append(verbs, strings.Join(strings.Fields(line)[:3], " "))
	}
	if want := []string{"skip TestProbe perl", "run TestProbe perl"}; !slices.Equal(verbs, want) {
		t.Errorf("ledger has %q, want %q", verbs, want)
	}
}
