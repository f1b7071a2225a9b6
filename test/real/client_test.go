//go:build real

package real

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// conn is one TCP connection.
type conn struct{ client, server netip.AddrPort }

func (c conn) String() string { return c.client.String() + " → " + c.server.String() }

// parseConn is the connection of a client to a port of the same address, as all of them are here.
func parseConn(t *testing.T, addr, clientPort string, serverPort uint16) conn {
	t.Helper()
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(clientPort, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return conn{netip.AddrPortFrom(ip, uint16(port)), netip.AddrPortFrom(ip, serverPort)}
}

func parsePID(t *testing.T, text string) int {
	t.Helper()
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// connections are those to a port of which a text says: PID, the client's address and port.
func connections(t *testing.T, text string, line *regexp.Regexp, port uint16) map[conn][]int {
	t.Helper()
	found := map[conn][]int{}
	for _, match := range line.FindAllStringSubmatch(text, -1) {
		c := parseConn(t, match[2], match[3], port)
		found[c] = append(found[c], parsePID(t, match[1]))
	}
	return found
}

// clients are the processes that opened connections.
type clients struct {
	names  map[int]string         // by PID
	opened map[conn][]int         // by those that say which: several where a port was used again
	loads  map[netip.AddrPort]int // by address: the one process that opened all other connections to it
}

func newClients() *clients {
	return &clients{map[int]string{}, map[conn][]int{}, map[netip.AddrPort]int{}}
}

// of returns the PIDs of who may have opened a connection: one, unless its ports were used again.
// That it was accepted more often than somebody said to have opened it was the load's doing.
func (k *clients) of(c conn, accepted int) []int {
	pids := slices.Clone(k.opened[c])
	if load, ok := k.loads[c.server]; ok && (len(pids) == 0 || len(pids) < accepted) {
		pids = append(pids, load)
	}
	return pids
}

func (k *clients) claim(c conn, pid int) { k.opened[c] = append(k.opened[c], pid) }

func (k *clients) start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := start(t, exec.Command(name, args...))
	k.names[p.Process.Pid] = name
	return p
}

// load starts what keeps a service busy at one of its addresses.
func (k *clients) load(t *testing.T, at netip.AddrPort, name string, args ...string) *process {
	t.Helper()
	p := k.start(t, name, args...)
	k.loads[at] = p.Process.Pid
	return p
}

// startLoads starts a load at every address. Some keep their connections, others open one for each
// request.
func startLoads(t *testing.T, k *clients, redis, shared, own, postgres, visits *service) []*process {
	t.Helper()
	query := filepath.Join(os.TempDir(), "query.sql")
	if err := os.WriteFile(query, []byte("SELECT count(*) FROM pg_class;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := func(s *service) string { return fmt.Sprint(s.port) }
	url := func(at netip.AddrPort) string { return "http://" + at.String() + "/" }
	return []*process{
		k.load(t, redis.v4(), "redis-benchmark", "-p", port(redis), "-q", "-c", "8", "-n", "40000", "-t", "get,set"),
		k.load(t, redis.v6(), "redis-benchmark", "-h", "::1", "-p", port(redis), "-q", "-c", "4", "-n", "1000",
			"-k", "0", "-t", "ping_mbulk"),
		k.load(t, shared.v4(), "wrk", "-t", "2", "-c", "8", "-d", "4s", url(shared.v4())),
		k.load(t, own.v4(), "wrk", "-t", "2", "-c", "8", "-d", "4s", url(own.v4())),
		k.load(t, shared.v6(), "ab", "-q", "-c", "4", "-n", "500", url(shared.v6())),
		k.load(t, own.v6(), "ab", "-q", "-c", "4", "-n", "500", url(own.v6())),
		k.load(t, visits.v4(), "ab", "-q", "-c", "4", "-n", "500", url(visits.v4())),
		k.load(t, visits.v6(), "ab", "-q", "-k", "-c", "4", "-n", "500", url(visits.v6())),
		k.load(t, postgres.v4(), "pgbench", "-n", "-f", query, "-h", "127.0.0.1", "-p", port(postgres),
			"-U", "postgres", "-c", "4", "-T", "4", "postgres"),
		k.load(t, postgres.v6(), "pgbench", "-n", "-f", query, "-h", "::1", "-p", port(postgres),
			"-U", "postgres", "-c", "2", "-t", "40", "-C", "postgres"),
	}
}

// curl asks once and goes.
func (k *clients) curl(t *testing.T, at netip.AddrPort) {
	t.Helper()
	p := k.start(t, "curl", "-sS", "--fail", "-o", os.DevNull, "-w", "%{local_ip} %{local_port}", "http://"+at.String()+"/")
	var addr, port string
	if _, err := fmt.Sscan(p.end(t), &addr, &port); err != nil {
		t.Fatal(err)
	}
	k.claim(parseConn(t, addr, port, at.Port()), p.Process.Pid)
}

// session is a client of a database that answers one question after the other.
type session struct {
	*process
	conn
	question string // who are you, and who am I
	answer   *regexp.Regexp
	asked    int
}

// ask asks, and returns the submatches of the answer.
func (s *session) ask(t *testing.T) []string {
	t.Helper()
	s.asked++
	return s.process.ask(t, s.question, s.answer, s.asked)
}

// openRedis begins a session, and checks that Redis is the process that was started.
func (k *clients) openRedis(t *testing.T, redis *service, addr netip.Addr) *session {
	t.Helper()
	p := k.start(t, "redis-cli", "-h", addr.String(), "-p", fmt.Sprint(redis.port))
	p.ask(t, "INFO server", regexp.MustCompile(fmt.Sprintf(`process_id:%d\s`, redis.Process.Pid)), 1)
	s := &session{
		process: p, question: "CLIENT INFO",
		answer: regexp.MustCompile(`\baddr=\[?([0-9a-f.:]+?)\]?:(\d+) `),
	}
	is := s.ask(t)
	s.conn = parseConn(t, is[1], is[2], redis.port)
	k.claim(s.conn, p.Process.Pid)
	return s
}

// openPostgres begins a session, and returns the PID of the process that serves it as well.
func (k *clients) openPostgres(t *testing.T, postgres *service, addr netip.Addr) (s *session, backend int) {
	t.Helper()
	p := k.start(t, "psql", "-XqtA", "-F", " ", "-h", addr.String(), "-p", fmt.Sprint(postgres.port),
		"-U", "postgres", "postgres")
	s = &session{
		process:  p,
		question: "SELECT pg_backend_pid(), host(inet_client_addr()), inet_client_port();",
		answer:   regexp.MustCompile(`(?m)^(\d+) (\S+) (\d+)$`),
	}
	is := s.ask(t)
	s.conn = parseConn(t, is[2], is[3], postgres.port)
	k.claim(s.conn, p.Process.Pid)
	return s, parsePID(t, is[1])
}

var dialed = regexp.MustCompile(`(?m)^dialed (\d+) (\S+) (\d+)$`)

// dialed are the connections to Redis that visits says it has opened so far.
func dialedBy(t *testing.T, visits, redis *service) map[conn][]int {
	t.Helper()
	return connections(t, visits.Output(), dialed, redis.port)
}

// claimAll notes the connections that visits opened in its life.
func (k *clients) claimAll(t *testing.T, visits, redis *service) {
	t.Helper()
	k.names[visits.Process.Pid] = visits.name
	for c, pids := range dialedBy(t, visits, redis) {
		k.opened[c] = append(k.opened[c], pids...)
	}
}
