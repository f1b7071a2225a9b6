package services

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// Server is a server that is ready to be started.
type Server struct {
	Cmd     *exec.Cmd
	Dir     string         // what it leaves
	Ready   *regexp.Regexp // what it prints when it serves,
	Readies int            // and how often
}

// Start runs the server and returns when it serves.
func (s *Server) Start() (*Proc, error) {
	p, err := Start(s.Cmd)
	if err != nil {
		return nil, err
	}
	if _, err := p.Await(s.Ready, s.Readies); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// Home makes a folder of a service's own, and says how to run as its owner, who alone may enter.
func Home(name, owner string) (string, *syscall.SysProcAttr, error) {
	u, err := user.Lookup(owner)
	if err != nil {
		return "", nil, err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	dir, err3 := os.MkdirTemp("", name)
	if err := cmp.Or(err1, err2, err3, os.Chown(dir, uid, gid)); err != nil {
		return "", nil, err
	}
	return dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// Redis keeps nothing on disk, and logs connections.
func Redis(port uint16) (*Server, error) {
	dir, attr, err := Home("redis", "redis")
	if err != nil {
		return nil, fmt.Errorf("prepare redis: %w", err)
	}
	cmd := exec.Command("redis-server", "--port", fmt.Sprint(port), "--bind", "127.0.0.1 ::1",
		"--dir", dir, "--save", "", "--loglevel", "verbose")
	cmd.SysProcAttr = attr
	return &Server{Cmd: cmd, Dir: dir, Ready: regexp.MustCompile(`Ready to accept connections`), Readies: 1}, nil
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

// NginxWorker is what nginx prints for each worker: its PID.
var NginxWorker = regexp.MustCompile(`start worker process (\d+)`)

// Nginx runs workers that all accept from one socket, or each from its own if listen is "reuseport". It
// answers / with a line, and /page with some 30 kB that it compresses. Its requests.log gets a line for
// each request.
func Nginx(port uint16, listen string, workers int) (*Server, error) {
	dir, _, err := Home("nginx", "www-data")
	if err != nil {
		return nil, fmt.Errorf("prepare nginx: %w", err)
	}
	config := fmt.Sprintf(nginxConfig, workers, port, listen)
	path := filepath.Join(dir, "nginx.conf")
	page := bytes.Repeat([]byte("page\n"), 6000)
	if err := cmp.Or(os.WriteFile(path, []byte(config), 0o600),
		os.WriteFile(filepath.Join(dir, "page"), page, 0o644)); err != nil {
		return nil, fmt.Errorf("prepare nginx: %w", err)
	}
	cmd := exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", path)
	return &Server{Cmd: cmd, Dir: dir, Ready: NginxWorker, Readies: workers}, nil
}

// Sockperf serves at a port of 127.0.0.1; flags are "--tcp" or none.
func Sockperf(port uint16, flags ...string) *Server {
	args := append([]string{"server", "-i", "127.0.0.1", "-p", fmt.Sprint(port)}, flags...)
	return &Server{
		Cmd: exec.Command("sockperf", args...), Ready: regexp.MustCompile(`to block on socket`), Readies: 1,
	}
}

// SockperfPingPong has a client measure round trips to such a server, one at a time, for whole seconds. Of
// these it leaves out the first 400 ms and the last 50.
func SockperfPingPong(port uint16, length time.Duration, flags ...string) *exec.Cmd {
	args := []string{"ping-pong", "--full-rtt", "-t", fmt.Sprint(int(length.Seconds())),
		"-i", "127.0.0.1", "-p", fmt.Sprint(port)}
	return exec.Command("sockperf", append(args, flags...)...)
}
