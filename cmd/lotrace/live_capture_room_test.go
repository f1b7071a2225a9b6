package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/testkit"
)

// 40 MB as fast as TCP takes them are in the file, whole, whatever is written meanwhile.
func TestCaptureKeepsUp(t *testing.T) {
	for _, args := range []string{"", "--snaplen 65549", "--snaplen 65549 --no-redact -B 128MiB"} {
		t.Run(args, func(t *testing.T) {
			ns := newLiveNetns(t, "auto")
			file := filepath.Join(t.TempDir(), "x.pcapng")
			l := startCounting(t, ns, append([]string{"capture", "-w", file}, strings.Fields(args)...)...)
			before := ns.Device()
			mustSend(t, ns, func() (testkit.Sent, error) { return testkit.TCPBulk(ns, 4, 40e6) })
			l.interrupt()
			device := ns.Device().Sub(before)
			said := "lotrace: " + human.Counted(device.RxPackets, "packet") + " written to " + file + "\n"
			if n := packetsIn(t, file); uint64(n) != device.RxPackets || !strings.HasSuffix(l.stderr.String(), said) {
				t.Errorf("%d packets, the device counted %d: %s", n, device.RxPackets, &l.stderr)
			}
		})
	}
}

// skbsLost is how many were not captured for want of room, as is said in the end.
func skbsLost(t *testing.T, said string) int {
	t.Helper()
	lost := regexp.MustCompile(`warning: ([\d,]+) skbs? of \d+ not captured: the buffer was full`).FindStringSubmatch(said)
	if lost == nil {
		return 0
	}
	n, err := strconv.Atoi(strings.ReplaceAll(lost[1], ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// While nobody reads the pipe, as much waits as there is room for, and what finds none is counted, to the one. What
// was taken before ^C is written, though the pipe is read only then.
func TestCaptureToStalledPipe(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const room = 8 << 20
	l := prepare(t, "capture", "-w", "-", "-B", strconv.Itoa(room>>10), "udp")
	l.Stdout = w
	l.start(ns)
	l.awaitCounting()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const each = 60_000
	before := ns.Device()
	mustSend(t, ns, func() (testkit.Sent, error) { return testkit.UDPLarge(ns, 4, 1500, each) })
	device := int(ns.Device().Sub(before).RxPackets)
	if err := l.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if _, err := io.Copy(&text, r); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if code := l.end(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &l.stderr)
	}
	n, lost := countPackets(text.Bytes()), skbsLost(t, l.stderr.String())
	if n+lost != device || lost == 0 {
		t.Errorf("%d packets, %d lost, the device counted %d: %s", n, lost, device, &l.stderr)
	}
	if least := room / each * 8 / 10; n < least {
		t.Errorf("%d packets found room, want %d", n, least)
	}
}
