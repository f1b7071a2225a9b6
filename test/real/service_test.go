//go:build real

package real

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Every service listens on both.
var loopbacks = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}

const nginxWorkers = 4

// service is a server under test.
type service struct {
	name     string // its processes'
	port     uint16
	cmd      *exec.Cmd
	ready    *regexp.Regexp // what it prints when it listens,
	readies  int            // and how often
	accepted *regexp.Regexp // what it prints for each connection: the PID of who serves it, the client's address and port
	worker   *regexp.Regexp // what it prints for each process that serves, if it does not print all connections
	stop     syscall.Signal // that makes it end in good order
	dir      string         // what it leaves

	*process
}

// at is where the service listens.
func (s *service) at(addr netip.Addr) netip.AddrPort { return netip.AddrPortFrom(addr, s.port) }

func (s *service) v4() netip.AddrPort { return s.at(loopbacks[0]) }
func (s *service) v6() netip.AddrPort { return s.at(loopbacks[1]) }

func (s *service) start(t *testing.T) *service {
	t.Helper()
	s.process = start(t, s.cmd)
	s.await(t, s.ready, s.readies)
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
		maps.Copy(all.accepted, connections(t, s.out.String(), s.accepted, s.port))
		if s.worker == nil {
			continue
		}
		for _, match := range s.worker.FindAllStringSubmatch(s.out.String(), -1) {
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

// home is a folder of a service's own, which only user may enter.
func home(t *testing.T, name, owner string) (string, *syscall.SysProcAttr) {
	t.Helper()
	u, err := user.Lookup(owner)
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	dir, err3 := os.MkdirTemp("", name)
	if err := cmp.Or(err1, err2, err3, os.Chown(dir, uid, gid)); err != nil {
		t.Fatal(err)
	}
	return dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func startRedis(t *testing.T, port uint16) *service {
	t.Helper()
	dir, attr := home(t, "redis", "redis")
	cmd := exec.Command("redis-server", "--port", fmt.Sprint(port), "--bind", "127.0.0.1 ::1",
		"--dir", dir, "--save", "", "--loglevel", "verbose")
	cmd.SysProcAttr = attr
	s := &service{
		name: "redis-server", port: port, cmd: cmd, stop: syscall.SIGTERM,
		ready: regexp.MustCompile(`Ready to accept connections`), readies: 1,
		accepted: regexp.MustCompile(`(?m)^(\d+):M .* - Accepted (\S+):(\d+)$`),
	}
	return s.start(t)
}

const nginxConfig = `
daemon off;
user www-data;
worker_processes %[1]d;
pid nginx.pid;
error_log stderr notice;
events { worker_connections 64; }
http {
	log_format accepted 'accepted $pid $remote_addr $remote_port';
	map $connection_requests $first { default 0; 1 1; }
	access_log /dev/stdout accepted if=$first;
	log_format request '';
	access_log requests.log request;
	keepalive_requests 10000000;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server {
		listen 127.0.0.1:%[2]d %[3]s;
		listen [::1]:%[2]d %[3]s;
		location / { return 200 "hello\n"; }
		location = /page { root .; gzip on; gzip_types *; gzip_comp_level 9; }
	}
}
`

// startNginx runs workers that all accept from one socket, or each from its own if listen is
// "reuseport". Its requests.log gets a line for each request.
func startNginx(t *testing.T, port uint16, listen string) *service {
	t.Helper()
	dir, _ := home(t, "nginx", "www-data")
	config := fmt.Sprintf(nginxConfig, nginxWorkers, port, listen)
	path := filepath.Join(dir, "nginx.conf")
	page := bytes.Repeat([]byte("page\n"), 6000)
	err := cmp.Or(os.WriteFile(path, []byte(config), 0o600), os.WriteFile(filepath.Join(dir, "page"), page, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	worker := regexp.MustCompile(`start worker process (\d+)`)
	s := &service{
		name: "nginx", port: port, stop: syscall.SIGTERM, dir: dir,
		cmd:   exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", path),
		ready: worker, readies: nginxWorkers,
		accepted: regexp.MustCompile(`(?m)^accepted (\d+) (\S+) (\d+)$`),
		worker:   worker, // a connection without a request is not logged
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
		name: "postgres", port: port, cmd: cmd, stop: syscall.SIGINT,
		ready: regexp.MustCompile(`ready to accept connections`), readies: 1,
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
		cmd:   exec.Command("visits", fmt.Sprintf(":%d", port), redis.v4().String()),
		ready: regexp.MustCompile(`(?m)^serving$`), readies: 1,
		accepted: regexp.MustCompile(`(?m)^accepted (\d+) (\S+) (\d+)$`),
	}
	return s.start(t)
}
