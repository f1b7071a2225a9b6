package owner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	engineTimeout = 500 * time.Millisecond
	enginePause   = 5 * time.Second
	maxAnswer     = 16 << 20 // bytes; a container takes one or two thousand
	maxNames      = 1 << 16
)

// usualEngines returns the sockets of the system's engines and of our own user's. Those of other
// users are left alone: anyone could give any container any name there.
func usualEngines() []string {
	sockets := []string{"/run/docker.sock", "/run/podman/podman.sock"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		sockets = append(sockets, filepath.Join(dir, "docker.sock"), filepath.Join(dir, "podman", "podman.sock"))
	}
	return sockets
}

// name sets the container's name, or has the engines asked for it.
func (r *Resolver) name(known *facts) {
	if known.container == "" || known.containerName != "" {
		return
	}
	name, asked := r.names[known.container]
	known.containerName = name
	if !asked && !r.naming && len(r.config.Engines) > 0 {
		r.naming = true
		r.wantNames <- struct{}{} // never full: naming is false only once it has been emptied
	}
}

// askEngines is the goroutine that asks for names of containers.
func (r *Resolver) askEngines(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wantNames:
		}
		nameless, answered := r.nameless(), true
		for _, socket := range r.config.Engines {
			names, err := containerNames(ctx, socket)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
				answered = false
			}
			r.rename(names)
			nameless = slices.DeleteFunc(nameless, func(id string) bool { return names[id] != "" })
			if len(nameless) == 0 {
				break // asking Podman may start it: not for what Docker knew already
			}
		}
		if !answered {
			nameless = nil
		}
		r.endNaming(nameless)
		select {
		case <-ctx.Done():
			return
		case <-time.After(enginePause):
		}
	}
}

// nameless returns the containers whose name is unknown.
func (r *Resolver) nameless() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make(map[string]bool)
	for element := r.recent.Front(); element != nil; element = element.Next() {
		if known := &element.Value.(*entry).known; known.container != "" && known.containerName == "" {
			ids[known.container] = true
		}
	}
	return slices.Collect(maps.Keys(ids))
}

// rename gives containers their names.
func (r *Resolver) rename(names map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.names) > maxNames {
		clear(r.names)
	}
	maps.Copy(r.names, names)
	for element := r.recent.Front(); element != nil; element = element.Next() {
		e := element.Value.(*entry)
		if e.known.container != "" && e.known.containerName == "" {
			e.known.containerName = r.names[e.known.container]
			r.update(e)
		}
	}
}

// endNaming remembers which containers no engine knows, so that nobody asks for them again.
func (r *Resolver) endNaming(unknown []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range unknown {
		r.names[id] = ""
	}
	r.naming = false
	r.wake()
}

// containerNames asks one engine, by Docker's API, for the names of its containers by id.
func containerNames(ctx context.Context, socket string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	// Stopped ones too: their processes may still have rows.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/containers/json?all=1", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask for containers: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for containers: %s", response.Status)
	}
	return parseContainers(io.LimitReader(response.Body, maxAnswer))
}

// parseContainers reads the answer to /containers/json. Of several names a container's own is the one
// without a slash inside; the others are links from other containers.
func parseContainers(r io.Reader) (map[string]string, error) {
	var containers []struct {
		ID    string `json:"Id"`
		Names []string
	}
	if err := json.NewDecoder(r).Decode(&containers); err != nil {
		return nil, fmt.Errorf("read list of containers: %w", err)
	}
	names := make(map[string]string, len(containers))
	for _, c := range containers {
		for _, name := range c.Names {
			if name = strings.TrimPrefix(name, "/"); name != "" && !strings.Contains(name, "/") {
				names[c.ID] = name
				break
			}
		}
	}
	return names, nil
}
