package testkit

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
)

func init() { RegisterRole("actor", act) }

// Actor is a process that does with its sockets what the test tells it, one thing after the other,
// so that the test knows who did what. Its descriptors have the numbers that they have there. Each
// method returns when the thing is done, and fails TB where it cannot be done.
type Actor struct {
	TB  testing.TB // may be changed, such as to that of a subtest
	PID int        // as the process says itself

	proc *Proc
	to   string // put before each line: the way from proc to a process that it forked
}

// Actor starts one with files as its descriptors from 3 on.
func (n *Netns) Actor(tb testing.TB, files ...*os.File) *Actor {
	tb.Helper()
	a := &Actor{TB: tb, proc: n.StartChild(tb, Child{Role: "actor", Files: files})}
	a.ready()
	return a
}

func (a *Actor) ready() {
	a.TB.Helper()
	a.PID = a.number(a.proc.Expect(a.TB, "ready "))
}

// Tell has something done that Hear returns the result of: for what waits for another actor.
func (a *Actor) Tell(words ...any) {
	a.TB.Helper()
	a.proc.Send(a.TB, a.to+strings.TrimSuffix(fmt.Sprintln(words...), "\n"))
}

// Hear waits until what the actor was told is done, and returns the words of the result.
func (a *Actor) Hear() []string {
	a.TB.Helper()
	return strings.Fields(a.proc.Expect(a.TB, "ok"))
}

func (a *Actor) do(words ...any) []string {
	a.TB.Helper()
	a.Tell(words...)
	return a.Hear()
}

// Open opens a socket of "tcp", "mptcp" or "udp" and binds it to an address; TCP listens there.
// Options are "reuseport" and "v6only".
func (a *Actor) Open(network, at string, options ...string) (fd int, bound netip.AddrPort) {
	a.TB.Helper()
	return a.socket(a.do("open", network, at, strings.Join(options, " ")))
}

// Dial connects a new socket of one of Open's networks.
func (a *Actor) Dial(network string, to netip.AddrPort) (fd int, from netip.AddrPort) {
	a.TB.Helper()
	return a.socket(a.do("dial", network, to))
}

// Knock connects to a TCP port, and is refused.
func (a *Actor) Knock(to netip.AddrPort) (from netip.AddrPort) {
	a.TB.Helper()
	return a.address(a.do("knock", to)[0])
}

// Accept takes the next connection from a listening socket.
func (a *Actor) Accept(listener int) (fd int, from netip.AddrPort) {
	a.TB.Helper()
	return a.socket(a.do("accept", listener))
}

// Send writes n bytes to a connected socket.
func (a *Actor) Send(fd, n int) { a.TB.Helper(); a.do("send", fd, n) }

// Recv reads n bytes.
func (a *Actor) Recv(fd, n int) { a.TB.Helper(); a.do("recv", fd, n) }

// SendTo sends a datagram of n bytes.
func (a *Actor) SendTo(fd int, to netip.AddrPort, n int) { a.TB.Helper(); a.do("sendto", fd, to, n) }

// RecvFrom takes the next datagram.
func (a *Actor) RecvFrom(fd int) (from netip.AddrPort) {
	a.TB.Helper()
	return a.address(a.do("recvfrom", fd)[0])
}

// Sendfile is Send from a file, without the bytes passing through the process.
func (a *Actor) Sendfile(fd, n int) { a.TB.Helper(); a.do("sendfile", fd, n) }

// Splice is Send from a pipe. n is at most a page.
func (a *Actor) Splice(fd, n int) { a.TB.Helper(); a.do("splice", fd, n) }

// SendUring is Send through io_uring.
func (a *Actor) SendUring(fd, n int, mode UringMode) { a.TB.Helper(); a.do("uring", fd, n, int(mode)) }

// Acked waits until the other end's kernel has acknowledged all that was sent.
func (a *Actor) Acked(fd int) { a.TB.Helper(); a.do("acked", fd) }

// Close closes a descriptor.
func (a *Actor) Close(fd int) { a.TB.Helper(); a.do("close", fd) }

// Pass sends a descriptor over a Unix socket, and keeps its own.
func (a *Actor) Pass(via, fd int) { a.TB.Helper(); a.do("pass", via, fd) }

// Take receives a descriptor that was passed.
func (a *Actor) Take(via int) (fd int) { a.TB.Helper(); return a.number(a.do("take", via)[0]) }

// Exec replaces the process's program by the one at path, which is a copy of this one. It keeps one
// descriptor.
func (a *Actor) Exec(path string, keep int, args ...string) {
	a.TB.Helper()
	a.Tell("exec", path, keep, strings.Join(args, " "))
	a.ready()
}

// Fork starts a child process with these descriptors, which are its 3, 4, and so on. The parent
// carries what is said between child and test, and so must live and not be busy.
func (a *Actor) Fork(fds ...int) *Actor {
	a.TB.Helper()
	words := []any{"fork"}
	for _, fd := range fds {
		words = append(words, fd)
	}
	said := a.do(words...)
	return &Actor{TB: a.TB, PID: a.number(said[1]), proc: a.proc, to: a.to + "in " + said[0] + " "}
}

// End ends a child that was forked, and has its parent wait for it.
func (a *Actor) End() { a.TB.Helper(); a.endAs("end") }

// Die is End, but the parent has yet to wait: what is left is a zombie.
func (a *Actor) Die() { a.TB.Helper(); a.endAs("die") }

func (a *Actor) endAs(verb string) {
	a.TB.Helper()
	words := strings.Fields(a.to)
	parent := *a
	parent.to = strings.Join(words[:len(words)-2], " ") + " "
	parent.do(verb, words[len(words)-1])
}

func (a *Actor) number(word string) int {
	a.TB.Helper()
	n, err := strconv.Atoi(word)
	if err != nil {
		a.TB.Fatal(err)
	}
	return n
}

func (a *Actor) address(word string) netip.AddrPort {
	a.TB.Helper()
	at, err := netip.ParseAddrPort(word)
	if err != nil {
		a.TB.Fatal(err)
	}
	return at
}

func (a *Actor) socket(words []string) (fd int, at netip.AddrPort) {
	a.TB.Helper()
	return a.number(words[0]), a.address(words[1])
}
