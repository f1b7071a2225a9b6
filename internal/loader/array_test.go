package loader

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

// odd is as large as no page can be divided into.
type odd [17]uint64

func TestArrayReach(t *testing.T) {
	testkit.RequireRoot(t)
	const entries = 3*arrayStep/136 + 1
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "odd", Type: ebpf.Array, KeySize: 4, ValueSize: 136, MaxEntries: entries, Flags: unix.BPF_F_MMAPABLE,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var a array[odd]
	if err := a.reserve(m); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, n := range []uint64{1, 2, arrayStep/136 + 1, arrayStep / 136, entries - 1, entries, 2 * entries} {
		if err := a.reach(n); err != nil {
			t.Fatalf("reach %d: %v", n, err)
		}
		last := uint32(a.reached - 1)
		if want := min(n, entries); uint64(a.reached) < want {
			t.Errorf("%d reached, want %d", a.reached, want)
		}
		a.at[last][16] = n
		var in odd
		if err := m.Lookup(last, &in); err != nil {
			t.Fatal(err)
		}
		if in[16] != n {
			t.Errorf("%d in the map behind entry %d, want %d", in[16], last, n)
		}
	}
}

// A table takes memory of ours as it fills, however large it may become.
func TestEmptyTableTakesNoMemory(t *testing.T) {
	testkit.RequireRoot(t)
	before := mappedFromKernel(t)
	l, err := Open(Config{Netns: testkit.NewNetns(t).Path(), MaxFlows: MaxFlows})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if took := mappedFromKernel(t) - before; took > 1<<20 {
		t.Errorf("%d bytes are resident of maps for %d flows", took, MaxFlows)
	}
}

// mappedFromKernel is how much of BPF maps is resident.
func mappedFromKernel(t *testing.T) (bytes int) {
	t.Helper()
	file, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	ours := false
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case strings.Contains(fields[0], "-"):
			ours = strings.HasSuffix(lines.Text(), "anon_inode:bpf-map")
		case ours && fields[0] == "Rss:":
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			bytes += kib << 10
		}
	}
	return bytes
}
