package testkit_test

import (
	"context"
	"net"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

func netnsInode(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return uint32(st.Ino)
}

const threadNetns = "/proc/thread-self/ns/net"

func TestNetnsDo(t *testing.T) {
	testkit.CheckFDs(t)
	ns := testkit.NewNetns(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := netnsInode(t, threadNetns)
	if ns.Inode() == home {
		t.Fatal("the namespace is not a new one")
	}
	ns.Run(t, func() {
		if got := netnsInode(t, threadNetns); got != ns.Inode() {
			t.Errorf("inside: namespace %d, want %d", got, ns.Inode())
		}
		ns.Run(t, func() {})
		if got := netnsInode(t, threadNetns); got != ns.Inode() {
			t.Errorf("after a nested Do: namespace %d, want %d", got, ns.Inode())
		}
	})
	if got := netnsInode(t, threadNetns); got != home {
		t.Errorf("after Do: namespace %d, want %d", got, home)
	}
	if got := netnsInode(t, ns.Path()); got != ns.Inode() {
		t.Errorf("path leads to namespace %d, want %d", got, ns.Inode())
	}
}

// TestNetnsThreads looks for a thread left behind in a foreign namespace, however its goroutine
// ended.
func TestNetnsThreads(t *testing.T) {
	ns := testkit.NewNetns(t)
	home := netnsInode(t, threadNetns)
	endings := map[string]func(){
		"return": func() {},
		"goexit": runtime.Goexit,
		"panic":  func() { panic("on purpose") },
	}
	for name, end := range endings {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			ns.Run(t, end)
		}()
		<-done
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			if got := netnsInode(t, "/proc/self/task/"+thread.Name()+"/ns/net"); got != home {
				t.Errorf("%s: thread %s is in namespace %d, home is %d", name, thread.Name(), got, home)
			}
		}
	}
}

func TestNetnsDevice(t *testing.T) {
	a, b := testkit.NewNetns(t), testkit.NewNetns(t)
	if got := a.Device(); got != (testkit.Counters{}) {
		t.Errorf("a new namespace counted %+v", got)
	}
	a.SetMTU(1500)
	sent, err := testkit.UDPCount(a, 4, 7, 3000)
	if err != nil {
		t.Fatal(err)
	}
	// 3008 bytes in pieces of 1480: three, each with its own IP header.
	want := testkit.Counters{RxPackets: 21, RxBytes: 7 * (3000 + 8 + 3*20)}
	if got := a.Device(); got != want || sent.ToServer.Packets != want.RxPackets {
		t.Errorf("device counted %+v, sender says %+v, want %+v", got, sent, want)
	}
	if got := b.Device(); got != (testkit.Counters{}) {
		t.Errorf("the other namespace counted %+v", got)
	}
}

// TestQuiesceAwaitsAcks leaves an acknowledgement outstanding, which the kernel holds back for 40
// milliseconds at least.
func TestQuiesceAwaitsAcks(t *testing.T) {
	ns := testkit.NewNetns(t)
	var listener net.Listener
	var client net.Conn
	ns.Run(t, func() {
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		var err error
		if listener, err = config.Listen(context.Background(), "tcp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		if client, err = net.Dial("tcp4", listener.Addr().String()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
	})
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	testkit.Quiesce(ns)
	if got := ns.Device().RxPackets; got != 5 {
		t.Errorf("device counted %d packets at rest, want 5: handshake, data and its acknowledgement", got)
	}
}
