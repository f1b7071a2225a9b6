package owner

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// serveEngine answers on a unix socket until the test ends.
func serveEngine(t *testing.T, answer http.HandlerFunc) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(answer)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return socket
}

func inContainer(proc fakeProc, pid uint32, id string) {
	proc.set(pid, fakeProcess{startNS: process(pid).StartNS, comm: "app", exe: "/app", cgroup: "0::/docker/" + id + "\n"})
}

func TestContainerName(t *testing.T) {
	var asked atomic.Int32
	docker := serveEngine(t, func(w http.ResponseWriter, request *http.Request) {
		asked.Add(1)
		if request.URL.String() != "/containers/json?all=1" {
			http.NotFound(w, request)
			return
		}
		_, _ = w.Write([]byte(`[{"Id":"` + id64 + `","Names":["/other/alias","/shop-db-1"],"Image":"x"},{"Id":"y","Names":[]}]`))
	})
	podman := serveEngine(t, func(http.ResponseWriter, *http.Request) { t.Error("asked for what the first engine knew") })
	proc := newFakeProc(t)
	inContainer(proc, 7, id64)
	inContainer(proc, 8, id64)
	r := New(Config{Proc: proc.root, Engines: []string{"/nonexistent", docker, podman}})
	defer r.Close()

	for _, pid := range []uint32{7, 8} {
		if got := settled(t, r, process(pid)); got.Container != id64 || got.ContainerName != "shop-db-1" || got.Exe != "/app" {
			t.Errorf("%+v, want shop-db-1", got)
		}
	}
	if asked.Load() != 1 || r.Denied() != 0 {
		t.Errorf("asked %d times, %d denied", asked.Load(), r.Denied())
	}
}

// An id that no engine knows is not asked for again; one for which none could answer is.
func TestContainerUnknown(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		remembered   bool
	}{
		{"not listed", `[]`, true},
		{"broken answer", `[{"Id":`, false},
		{"not a list", `{"message":"x"}`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var asked atomic.Int32
			socket := serveEngine(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				_, _ = w.Write([]byte(test.answer))
			})
			proc := newFakeProc(t)
			inContainer(proc, 7, id64)
			r := New(Config{Proc: proc.root, Engines: []string{socket, "/nonexistent"}})
			defer r.Close()
			if got := settled(t, r, process(7)); got.Container != id64 || got.ContainerName != "" {
				t.Errorf("%+v, want an id only", got)
			}
			if !test.remembered {
				if _, remembered := r.names[id64]; remembered {
					t.Error("never asked for again")
				}
				return
			}
			inContainer(proc, 8, id64)
			if settled(t, r, process(8)); asked.Load() != 1 {
				t.Errorf("asked %d times, want once", asked.Load())
			}
		})
	}
}

func TestContainerNamesErrors(t *testing.T) {
	teapot := serveEngine(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	if _, err := containerNames(context.Background(), teapot); err == nil || !strings.Contains(err.Error(), "418") {
		t.Errorf("%v, want the status", err)
	}
	if _, err := containerNames(context.Background(), "/nonexistent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want %v", err, fs.ErrNotExist)
	}
}

// An engine that does not answer keeps nobody waiting.
func TestEngineHangs(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	socket := serveEngine(t, func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	})
	defer close(release)
	proc := newFakeProc(t)
	inContainer(proc, 7, id64)
	inContainer(proc, 8, id64)
	r := New(Config{Proc: proc.root, Engines: []string{socket}})
	defer r.Close()
	r.Owner(process(7))
	<-asked
	if got := r.Owner(process(7)); got.Exe != "/app" || got.Container != id64 || got.ContainerName != "" {
		t.Errorf("%+v, want all but the name", got)
	}
	if got := settled(t, r, process(8)); got.Exe != "/app" {
		t.Errorf("another: %+v", got)
	}
}
