//go:build real

package real

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/lotrace/lotrace/internal/services"
)

// Every service listens on both.
var loopbacks = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}

const nginxWorkers = 4

// service is a server under test.
type service struct {
	name     string // its processes'
	port     uint16
	accepted *regexp.Regexp // what it prints for each connection: the PID of who serves it, the client's address and port
	worker   *regexp.Regexp // what it prints for each process that serves, if it does not print all connections
	stop     syscall.Signal // that makes it end in good order

	services.Server
	*process
}

// at is where the service listens.
func (s *service) at(addr netip.Addr) netip.AddrPort { return netip.AddrPortFrom(addr, s.port) }

func (s *service) v4() netip.AddrPort { return s.at(loopbacks[0]) }
func (s *service) v6() netip.AddrPort { return s.at(loopbacks[1]) }

func (s *service) start(t *testing.T) *service {
	t.Helper()
	s.process = start(t, s.Server.Cmd)
	s.await(t, s.Ready, s.Readies)
	return s
}

// servers are the processes that served connections.
type servers struct {
	names    map[uint16]string // by port
	accepted map[conn][]int    // by those that say which: several where a port was used again
	workers  map[uint16][]int  // by port: one of them served what nobody says
}

// stopAll stops the services and returns what they say.
func stopAll(t *testing.T, services ...*service) *servers {
	t.Helper()
	all := &servers{map[uint16]string{}, map[conn][]int{}, map[uint16][]int{}}
	for _, s := range services {
		s.process.stop(t, s.stop)
		all.names[s.port] = s.name
		maps.Copy(all.accepted, connections(t, s.Output(), s.accepted, s.port))
		if s.worker == nil {
			continue
		}
		for _, match := range s.worker.FindAllStringSubmatch(s.Output(), -1) {
			all.workers[s.port] = append(all.workers[s.port], parsePID(t, match[1]))
		}
	}
	return all
}

// of returns the PIDs of who may have served a connection: one, unless its ports were used again or
// nobody says.
func (s *servers) of(c conn) []int {
	if pids := s.accepted[c]; len(pids) > 0 {
		return pids
	}
	return s.workers[c.server.Port()]
}

// serves reports whether a process serves a port.
func (s *servers) serves(pid int, port uint16) bool {
	for c, pids := range s.accepted {
		if c.server.Port() == port && slices.Contains(pids, pid) {
			return true
		}
	}
	return slices.Contains(s.workers[port], pid)
}

// home is a folder of a service's own, which only its owner may enter.
func home(t *testing.T, name, owner string) (string, *syscall.SysProcAttr) {
	t.Helper()
	dir, attr, err := services.Home(name, owner)
	if err != nil {
		t.Fatal(err)
	}
	return dir, attr
}

func startRedis(t *testing.T, port uint16) *service {
	t.Helper()
	redis, err := services.Redis(port)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{
		name: "redis-server", port: port, Server: *redis, stop: syscall.SIGTERM,
		accepted: regexp.MustCompile(`(?m)^(\d+):M .* - Accepted (\S+):(\d+)$`),
	}
	return s.start(t)
}

// startNginx runs workers that all accept from one socket, or each from its own if listen is
// "reuseport". Its requests.log gets a line for each request.
func startNginx(t *testing.T, port uint16, listen string) *service {
	t.Helper()
	nginx, err := services.Nginx(port, listen, nginxWorkers)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{
		name: "nginx", port: port, Server: *nginx, stop: syscall.SIGTERM,
		accepted: regexp.MustCompile(`(?m)^accepted (\d+) (\S+) (\d+)$`),
		worker:   services.NginxWorker, // a connection without a request is not logged
	}
	return s.start(t)
}

func startPostgres(t *testing.T, port uint16) *service {
	t.Helper()
	dir, attr := home(t, "postgres", "postgres")
	bin := postgresBin(t)
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", dir, "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale", "C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if text, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, text)
	}
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", dir, "-p", fmt.Sprint(port),
		"-c", "listen_addresses=127.0.0.1,::1", "-c", "unix_socket_directories=", "-c", "fsync=off",
		"-c", "log_connections=on", "-c", "log_line_prefix=%p ")
	cmd.SysProcAttr, cmd.Dir = attr, dir
	s := &service{
		name: "postgres", port: port, stop: syscall.SIGINT,
		Server:   services.Server{Cmd: cmd, Dir: dir, Ready: regexp.MustCompile(`ready to accept connections`), Readies: 1},
		accepted: regexp.MustCompile(`(?m)^(\d+) LOG:  connection received: host=(\S+) port=(\d+)$`),
	}
	return s.start(t)
}

// postgresBin is where Debian keeps the server's programs, those of the newest version if there are
// several.
func postgresBin(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		t.Fatalf("no postgres below /usr/lib/postgresql, error %v", err)
	}
	newest := slices.MaxFunc(found, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	return filepath.Dir(newest)
}

func startVisits(t *testing.T, port uint16, redis *service) *service {
	t.Helper()
	s := &service{
		name: "visits", port: port, stop: syscall.SIGTERM,
		Server: services.Server{
			Cmd:   exec.Command("visits", fmt.Sprintf(":%d", port), redis.v4().String()),
			Ready: regexp.MustCompile(`(?m)^serving$`), Readies: 1,
		},
		accepted: regexp.MustCompile(`(?m)^accepted (\d+) (\S+) (\d+)$`),
	}
	return s.start(t)
}
