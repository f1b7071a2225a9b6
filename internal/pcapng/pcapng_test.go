package pcapng

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/lotrace/lotrace/internal/model"
)

var started = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// testConfig is that of a capture of which each count is one larger than what the last one said.
func testConfig() Config {
	var counts model.SampleCounts
	return Config{
		Origin:  model.Origin{Host: "pine", Kernel: "6.18.5", Filter: "port:80", Sites: []model.Site{{Number: 1, Netns: 4026531840, Device: "lo", Hook: "tcx"}}},
		Version: "v9",
		Snaplen: 2000,
		Started: started,
		Counts: func() (model.SampleCounts, error) {
			counts.Seen += 100
			counts.Taken += 97
			return counts, nil
		},
	}
}

// readBack is what a reader finds in a file.
type readBack struct {
	packets    []packet
	interfaces []pcapgo.NgInterface
	section    pcapgo.NgSectionInfo
	stats      []pcapgo.NgInterfaceStatistics
	end        error // other than the file's end
}

func read(t *testing.T, file []byte) readBack {
	t.Helper()
	var back readBack
	r, err := pcapgo.NewNgReader(bytes.NewReader(file), pcapgo.NgReaderOptions{
		StatisticsCallback: func(_ int, s pcapgo.NgInterfaceStatistics) { back.stats = append(back.stats, s) },
	})
	if err != nil {
		t.Fatalf("%d bytes: %v", len(file), err)
	}
	for {
		var ci gopacket.CaptureInfo
		data, ci, options, err := r.ReadPacketDataWithOptions()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				back.end = err
			}
			break
		}
		p := packet{Time: ci.Timestamp, Data: data, Length: ci.Length}
		if len(options.Comments) > 0 {
			p.Comment = options.Comments[0]
		}
		p.ToServer = options.Flags.Direction == pcapgo.NgEpbFlagDirectionInbound
		back.packets = append(back.packets, p)
	}
	for i := range r.NInterfaces() {
		one, err := r.Interface(i)
		if err != nil {
			t.Fatal(err)
		}
		back.interfaces = append(back.interfaces, one)
	}
	back.section = r.SectionInfo()
	return back
}

func write(t *testing.T, w *Writer, packets ...packet) {
	t.Helper()
	for i := range packets {
		if err := w.add(&packets[i]); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadersFindWhatWasWritten(t *testing.T) {
	packets := []packet{
		{Time: started.Add(time.Nanosecond), Data: []byte("one"), Length: 3, ToServer: true, Comment: "a → b"},
		{Time: started.Add(time.Second), Data: []byte("four"), Length: 70000},
		{Time: started.Add(time.Second), Data: bytes.Repeat([]byte{7}, 70001), Length: 70001, Comment: strings.Repeat("é", 2000)},
	}
	var file bytes.Buffer
	w, err := NewWriter(&file, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, packets...)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Size() != int64(file.Len()) || w.Packets() != 3 {
		t.Errorf("%d bytes, %d packets told, %d bytes written", w.Size(), w.Packets(), file.Len())
	}
	back := read(t, file.Bytes())
	if diff := cmp.Diff(packets, back.packets); diff != "" || back.end != nil {
		t.Error(diff, back.end)
	}
	if len(back.interfaces) != 1 {
		t.Fatalf("%d interfaces", len(back.interfaces))
	}
	lo := back.interfaces[0]
	if lo.Name != "lo" || lo.SnapLength != 2000 || lo.Filter != "port:80" || lo.TimestampResolution != 9 ||
		lo.Description != "loopback of network namespace 4026531840, seen at tcx" {
		t.Errorf("interface %+v", lo)
	}
	if s := back.section; s.OS != "Linux 6.18.5" || s.Application != "lotrace v9" || s.Comment != "captured on pine" {
		t.Errorf("section %+v", s)
	}
	if len(back.stats) != 1 || back.stats[0].PacketsReceived != 100 || back.stats[0].PacketsDropped != 3 {
		t.Errorf("statistics %+v", back.stats)
	}
}

// Processors that sampled at once are not quite in order.
func TestTimeNeverRunsBackwards(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []time.Duration{-5, 10, 9, 11} {
		write(t, w, packet{Time: started.Add(ns)})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	var got []time.Duration
	for _, p := range read(t, file.Bytes()).packets {
		got = append(got, p.Time.Sub(started))
	}
	if diff := cmp.Diff([]time.Duration{-5, 10, 10, 11}, got); diff != "" {
		t.Error(diff)
	}
}

// Packets that are older than the file keep their times, and the file says that it began with them.
func TestPacketsBeforeTheStart(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	times := []time.Duration{-40 * time.Millisecond, -39 * time.Millisecond, -1, 0, 1}
	for _, at := range times {
		write(t, w, packet{Time: started.Add(at)})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	back := read(t, file.Bytes())
	var got []time.Duration
	for _, p := range back.packets {
		got = append(got, p.Time.Sub(started))
	}
	if diff := cmp.Diff(times, got); diff != "" {
		t.Error(diff)
	}
	if first := started.Add(times[0]); len(back.stats) != 1 || !back.stats[0].StartTime.Equal(first) {
		t.Errorf("statistics %+v, want them from %v on", back.stats, first)
	}
}

// A packet so large that Wireshark takes the file for a broken one is cut.
func TestHugePacket(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, packet{Time: started, Data: make([]byte, maxCaptured+1), Length: maxCaptured + 1})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if p := read(t, file.Bytes()).packets[0]; len(p.Data) != maxCaptured || p.Length != maxCaptured+1 {
		t.Errorf("%d of %d bytes", len(p.Data), p.Length)
	}
}

var errDiskFull = errors.New("disk full")

// disk is a file on a disk with so much room.
type disk struct {
	file []byte
	room int
}

func (d *disk) Write(p []byte) (int, error) {
	n := min(len(p), d.room-len(d.file))
	d.file = append(d.file, p[:n]...)
	if n < len(p) {
		return n, errDiskFull
	}
	return n, nil
}

func (d *disk) Truncate(size int64) error           { d.file = d.file[:size]; return nil }
func (d *disk) Seek(at int64, _ int) (int64, error) { return at, nil }

// Wherever the disk is full, the file ends with a whole block, and the error is told once.
func TestFullDisk(t *testing.T) {
	packets := []packet{
		{Time: started, Data: make([]byte, 1000), Length: 1000, Comment: "first"},
		{Time: started, Data: make([]byte, 999), Length: 999, Comment: "second"},
	}
	var whole bytes.Buffer
	w, err := NewWriter(&whole, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	begin := int(w.Size())
	write(t, w, packets...)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for room := begin; room < whole.Len(); room += 3 {
		d := &disk{room: room}
		w, err := NewWriter(d, testConfig())
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, packets...)
		if err := w.Close(); !errors.Is(err, errDiskFull) {
			t.Fatalf("room for %d: %v", room, err)
		}
		if err := w.Close(); err != nil {
			t.Fatalf("room for %d, told again: %v", room, err)
		}
		back := read(t, d.file)
		if back.end != nil || int64(len(d.file)) != w.Size() || len(back.packets) > len(packets) {
			t.Fatalf("room for %d: %d bytes, %d packets: %v", room, len(d.file), len(back.packets), back.end)
		}
		if diff := cmp.Diff(packets[:len(back.packets)], back.packets, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		if unused := room - len(d.file); unused > 1000+overhead {
			t.Errorf("room for %d: %d bytes unused", room, unused)
		}
	}
}

func TestComments(t *testing.T) {
	curl := &model.Owner{Comm: "curl", PID: 311, Cgroup: "/user.slice"}
	nginx := &model.Owner{Comm: "ng\x1binx", PID: 99, Cgroup: "/system.slice/nginx.service"}
	kernel := &model.Owner{Comm: model.KernelComm}
	var c comments
	for _, test := range []struct {
		client, server *model.Owner
		toServer       bool
		oneIn          uint32
		want           string
	}{
		{curl, nginx, true, 1, `curl[311] /user.slice → ng\x1binx[99] /system.slice/nginx.service, netns 7`},
		{curl, nginx, false, 1, `curl[311] /user.slice ← ng\x1binx[99] /system.slice/nginx.service, netns 7`},
		{curl, nil, true, 100, `curl[311] /user.slice → unknown, netns 7, one in 100`},
		{nil, kernel, false, 1, `unknown ← kernel, netns 7`},
	} {
		f := &model.Flow{Netns: 7, Client: model.Endpoint{Owner: test.client}, Server: model.Endpoint{Owner: test.server}}
		for range 2 {
			if got := c.of(f, test.toServer, test.oneIn); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		}
	}
	again := &model.Packet{Flow: &model.Flow{}, Retransmit: true, Drop: "NO_SOCKET"}
	if got, want := c.describe(again).Comment, "unknown ← unknown, netns 0, sent again, dropped: NO_SOCKET"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for range 3 * maxComments {
		c.of(&model.Flow{Client: model.Endpoint{Owner: &model.Owner{}}}, true, 1)
	}
	if len(c.kept) > maxComments {
		t.Errorf("%d comments kept", len(c.kept))
	}
}

// Whatever is written, a reader finds it.
func FuzzWriter(f *testing.F) {
	f.Add([]byte("data"), "comment", uint16(10), int64(5), true)
	f.Add([]byte{}, "", uint16(0), int64(-5), false)
	f.Fuzz(func(t *testing.T, data []byte, comment string, more uint16, ns int64, toServer bool) {
		p := packet{Time: started.Add(time.Duration(ns)), Data: data, Length: len(data) + int(more), ToServer: toServer, Comment: comment}
		var file bytes.Buffer
		w, err := NewWriter(&file, testConfig())
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, p, p)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		back := read(t, file.Bytes())
		if back.end != nil || len(back.packets) != 2 || len(back.stats) != 1 {
			t.Fatalf("%d packets, %d statistics: %v", len(back.packets), len(back.stats), back.end)
		}
		got := back.packets[1]
		if !bytes.Equal(got.Data, data) || got.Length != p.Length || got.ToServer != toServer {
			t.Errorf("got %+v, want %+v", got, p)
		}
		if len(comment) <= maxComment && got.Comment != comment || !strings.HasPrefix(comment, got.Comment) {
			t.Errorf("comment %q of %q", got.Comment, comment)
		}
	})
}
