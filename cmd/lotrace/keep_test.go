package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/tui"
)

// inDir runs the test in an empty directory.
func inDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	return dir
}

func TestKeep(t *testing.T) {
	inDir(t)
	k := keeper{}
	seen := make(map[string]bool)
	for range 3 { // most of them in one second
		for format, want := range map[string]string{"json": `"schema":"lotrace/v1"`, "csv": "netns,family,proto,", "filter": "port:80\n"} {
			where, err := k.write(tui.Export{Format: format, By: "flow", Sort: "sent", Window: &model.Window{}, Filter: "port:80"})
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(where)
			if err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s: %q, error %v", where, text, err)
			}
			info, err := os.Lstat(where)
			if err != nil || info.Mode() != 0o600 || seen[where] || !filepath.IsAbs(where) {
				t.Errorf("%s: mode %v, before: %t, error %v", where, info.Mode(), seen[where], err)
			}
			seen[where] = true
		}
	}
}

func TestKeepSaysWhy(t *testing.T) {
	inDir(t)
	if _, err := (keeper{}).write(tui.Export{Format: "json", By: "nothing", Window: &model.Window{}}); err == nil {
		t.Error("rows by nothing")
	}
	if _, err := (keeper{}).write(tui.Export{Format: "json", By: "flow", Sort: "flows", Window: &model.Window{}}); err == nil {
		t.Error("rows in an order that they do not have")
	}
	if err := os.Remove(mustGetwd(t)); err != nil {
		t.Fatal(err)
	}
	if where, err := (keeper{}).write(tui.Export{Format: "filter", Filter: "tcp"}); err == nil {
		t.Errorf("written to %s, in no directory", where)
	}
}

func mustGetwd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Under sudo files are the user's, in a directory that is the user's alone; by then top has no capability
// left that would help it.
func TestLiveTopWrites(t *testing.T) {
	const uid, gid = 4242, 4343
	ns := newLiveNetns(t, "auto")
	dir := t.TempDir()
	for path := dir; path != "/" && path != os.TempDir(); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o711); err != nil { // the way there
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := onTerminal(t, prepare(t, "top"))
	w.Dir = dir
	w.Env = append(w.Env, "SUDO_UID=4242", "SUDO_GID=4343")
	w.start(ns)
	w.awaitCounting()
	sent := sendDatagrams(t, ns, 31)
	w.await("1 flow")
	w.types(" ") // they stay
	w.await("PAUSED")
	for _, format := range []string{"json", "csv", "filter"} {
		w.types("w" + format[:1])
		w.awaitFile(filepath.Join(dir, "lotrace-*."+format))
	}
	w.types("q")
	if code := w.end(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &w.stderr)
	}
	if rows := parseDoc(t, written(t, dir, ".json", uid, gid)); len(rows.Rows) != 1 || rows.Rows[0].Server.Port != sent.Server.Port() {
		t.Errorf("rows %+v", rows.Rows)
	}
	written(t, dir, ".csv", uid, gid)
	expr := strings.TrimSpace(string(written(t, dir, ".filter", uid, gid)))
	f, err := filter.Parse(expr)
	if err != nil {
		t.Fatal(err)
	}
	flow := model.Flow{Proto: sent.Proto, Server: model.Endpoint{Addr: sent.Server.Addr(), Port: sent.Server.Port()},
		Client: model.Endpoint{Addr: sent.Server.Addr(), Port: 1}}
	if !f.Match(&flow) {
		t.Errorf("%q does not match %+v", expr, flow)
	}
}

// awaitFile waits for a file that ends with a line.
func (w *watched) awaitFile(pattern string) {
	w.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	timeout := time.After(patience)
	for {
		found, _ := filepath.Glob(pattern)
		if len(found) > 0 {
			if text, err := os.ReadFile(found[0]); err == nil && strings.HasSuffix(string(text), "\n") {
				return
			}
		}
		select {
		case <-poll.C:
		case <-timeout:
			w.Fatalf("no %s: %q", pattern, w.text())
		}
	}
}

// written is the one file of that kind, which only its owner can read.
func written(t *testing.T, dir, extension string, uid, gid uint32) []byte {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "lotrace-*"+extension))
	if err != nil || len(found) != 1 {
		t.Fatalf("files %q, error %v", found, err)
	}
	info, err := os.Lstat(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); info.Mode() != 0o600 || stat.Uid != uid || stat.Gid != gid {
		t.Errorf("%s: mode %v, owner %d:%d", found[0], info.Mode(), stat.Uid, stat.Gid)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return text
}
