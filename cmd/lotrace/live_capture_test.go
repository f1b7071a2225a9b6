package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

// tshark prints fields of those of a file's packets that match, a line each. It must have nothing to say of
// the file itself.
func tshark(t *testing.T, file, match string, fields ...string) []string {
	t.Helper()
	out, complaint := readWithTshark(t, file, match, fields...)
	if complaint != "" {
		t.Errorf("tshark says of %s: %s", filepath.Base(file), complaint)
	}
	return out
}

func readWithTshark(t *testing.T, file, match string, fields ...string) (lines []string, complaint string) {
	t.Helper()
	testkit.RequireProgram(t, "tshark")
	args := []string{"-n", "-r", file, "-Y", match, "-T", "fields", "-o", "ip.check_checksum:TRUE",
		"-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"}
	for _, field := range fields {
		args = append(args, "-e", field)
	}
	cmd := exec.Command("tshark", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && stderr.Len() == 0 {
		t.Fatalf("tshark: %v", err)
	}
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "Running as user") {
			complaint += line
		}
	}
	for line := range strings.Lines(stdout.String()) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines, complaint
}

// These filters find packets that are wrong, and that would be wrong in a run in which nothing was lost.
const (
	badChecksums = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || " +
		"udp.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0"
	lostPackets = "tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment"
	sentAgain   = "tcp.analysis.out_of_order || tcp.analysis.retransmission"
)

// everyKind sends traffic of all kinds.
func everyKind(t *testing.T, ns *testkit.Netns) {
	t.Helper()
	for _, family := range []uint8{4, 6} {
		mustSend(t, ns, func() (testkit.Sent, error) { return testkit.TCPBulk(ns, family, 8<<20) })
		mustSend(t, ns, func() (testkit.Sent, error) { return testkit.PingPong(ns, family, 50, 100) })
		mustSend(t, ns, func() (testkit.Sent, error) { return testkit.UDPCount(ns, family, 20, 1000) })
		mustSend(t, ns, func() (testkit.Sent, error) { return testkit.UDPSegment(ns, family, 3, 10, 1000) })
		mustSend(t, ns, func() (testkit.Sent, error) { return testkit.ICMPEcho(ns, family, 3, 100) })
		if _, err := testkit.ClosedPort(ns, family, 100); err != nil {
			t.Fatal(err)
		}
	}
}

// Every packet that the device counts is in the file, whole, with both processes beside it.
func TestCaptureIsWhatTheDeviceSaw(t *testing.T) {
	for _, hook := range liveHooks {
		t.Run(hook, func(t *testing.T) {
			ns := newLiveNetns(t, hook)
			file := filepath.Join(t.TempDir(), "x.pcapng")
			l := startCounting(t, ns, "capture", "-w", file, "--hook", hook)
			before := ns.Device()
			everyKind(t, ns)
			l.interrupt()
			device := ns.Device().Sub(before)

			packets := tshark(t, file, "", "frame.len", "frame.cap_len", "ip.proto", "frame.comment")
			var size uint64
			var unnamed []string
			named := regexp.MustCompile(`lotrace\.test\[\d+\][^→←]* [→←] lotrace\.test\[\d+\].*, netns ` + strconv.Itoa(int(ns.Inode())) + `(, sent again)?$`)
			for _, packet := range packets {
				field := strings.Split(packet, "\t")
				length, err := strconv.ParseUint(field[0], 10, 32)
				if err != nil || field[0] != field[1] {
					t.Fatalf("%q: %v", packet, err)
				}
				size += length - 14
				if field[2] == "6" && !named.MatchString(field[3]) && !strings.Contains(field[3], "kernel") {
					unnamed = append(unnamed, field[3])
				}
			}
			if uint64(len(packets)) != device.RxPackets || size != device.RxBytes {
				t.Errorf("%d packets and %d bytes, the device counted %+v: %s", len(packets), size, device, &l.stderr)
			}
			if len(unnamed) > 0 && hook != "xdp" { // which knows no sockets
				t.Errorf("%d TCP packets of others, as %s", len(unnamed), unnamed[0])
			}
			wrong := badChecksums
			if hook != "xdp" { // where TCP does lose packets
				wrong += " || " + lostPackets
				// On a busy machine TCP may take a late acknowledgement for a lost one.
				if ns.Counter("TcpRetransSegs") == 0 {
					wrong += " || " + sentAgain
				}
			}
			if wrong := tshark(t, file, wrong, "frame.number", "_ws.col.Info"); len(wrong) > 0 {
				t.Errorf("%d wrong packets, as %s", len(wrong), wrong[0])
			}
			readable(t, file)
		})
	}
}

// readable holds that Wireshark's other tools take the file.
func readable(t *testing.T, file string) {
	t.Helper()
	for _, args := range [][]string{{"capinfos", file}, {"editcap", file, file + ".copy"}} {
		testkit.RequireProgram(t, args[0])
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", args[0], err, out)
		}
	}
}

// As the stack has them: skbs whole, checksums unfinished.
func TestRawCapture(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	file := filepath.Join(t.TempDir(), "x.pcapng")
	l := startCounting(t, ns, "capture", "-w", file, "--raw-checksums", "--no-segment", "--snaplen", "100", "tcp")
	for _, family := range []uint8{4, 6} {
		mustSend(t, ns, func() (testkit.Sent, error) { return testkit.TCPBulk(ns, family, 20<<20) })
	}
	l.interrupt()
	if large := tshark(t, file, "frame.len > 65550 && frame.cap_len == 100", "frame.number"); len(large) == 0 {
		t.Error("no skb is larger than a packet")
	}
}

// A secret is in no byte of the file, however it was sent.
func TestCaptureMasksSecrets(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	for _, showsAll := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "x.pcapng")
		args := []string{"capture", "-w", file}
		if showsAll {
			args = append(args, "--no-redact")
		}
		l := startCounting(t, ns, args...)
		client, server := connect(t, ns, 80)
		const request = "GET / HTTP/1.1\r\nAuthorization: Bearer opensesame\r\nHost: cave\r\n\r\n"
		at := strings.Index(request, "sesame")
		exchange(t, client, server, []byte(request[:at]), nil)
		exchange(t, client, server, []byte(request[at:]), nil)
		if err := errors.Join(client.Close(), server.Close()); err != nil {
			t.Fatal(err)
		}
		l.interrupt()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte("Host: cave")) || bytes.Contains(text, []byte("sesame")) != showsAll {
			t.Errorf("shows all %v: the secret is there: %v", showsAll, !showsAll)
		}
		if wrong := tshark(t, file, badChecksums+" || "+lostPackets, "frame.number"); len(wrong) > 0 {
			t.Errorf("%d wrong packets", len(wrong))
		}
	}
}

// packetsIn is how many packets a file holds so far.
func packetsIn(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return countPackets(text)
}

func countPackets(text []byte) int {
	r, err := pcapgo.NewNgReader(bytes.NewReader(text), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		return 0
	}
	for n := 0; ; n++ {
		if _, _, err := r.ZeroCopyReadPacketData(); err != nil {
			return n
		}
	}
}

// A kill loses the last packets at most.
func TestKilledCapture(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	file := filepath.Join(t.TempDir(), "x.pcapng")
	l := startCounting(t, ns, "capture", "-w", file)
	sendDatagrams(t, ns, 100)
	for deadline := time.Now().Add(patience); packetsIn(t, file) < 100; {
		if time.Now().After(deadline) {
			t.Fatalf("%d packets in the file", packetsIn(t, file))
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
	kill(l)
	if packets := tshark(t, file, "", "frame.number"); len(packets) != 100 {
		t.Errorf("%d packets", len(packets))
	}
	info, err := os.Stat(file)
	if err == nil {
		err = os.Truncate(file, info.Size()-3) // as if it had been writing
	}
	if err != nil {
		t.Fatal(err)
	}
	if packets, complaint := readWithTshark(t, file, "", "frame.number"); len(packets) != 99 || !strings.Contains(complaint, "cut short") {
		t.Errorf("%d packets: %s", len(packets), complaint)
	}
}

func TestCaptureOnFullDisk(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	dir := t.TempDir()
	if err := unix.Mount("lotrace", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "x.pcapng")
	l := startCounting(t, ns, "capture", "-w", file)
	mustSend(t, ns, func() (testkit.Sent, error) { return testkit.UDPCount(ns, 4, 1000, 1000) })
	if code := l.end(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if want := "x.pcapng: no space left on device; what is in it can be read\n"; !strings.HasSuffix(l.stderr.String(), want) {
		t.Errorf("said %s", &l.stderr)
	}
	if packets := tshark(t, file, "", "frame.number"); len(packets) < 150 {
		t.Errorf("%d packets", len(packets))
	}
}

// Files belong to who uses sudo, in a directory of theirs and after rights were given up.
func TestCaptureUnderSudo(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	l := prepare(t, "capture", "-w", filepath.Join(dir, "x.pcapng"), "--rotate-packets", "10", "--files", "3")
	l.Env = append(l.Environ(), fmt.Sprint("SUDO_UID=", nobody), fmt.Sprint("SUDO_GID=", nobody))
	l.start(ns)
	l.awaitCounting()
	sendDatagrams(t, ns, 95)
	l.interrupt()
	files, err := filepath.Glob(filepath.Join(dir, "x_*.pcapng"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%q, %v: %s", files, err, &l.stderr)
	}
	held := 0
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != nobody || owner.Gid != nobody || info.Mode() != 0o600 {
			t.Errorf("%s: %d:%d %v", file, owner.Uid, owner.Gid, info.Mode())
		}
		held += packetsIn(t, file)
	}
	if held != 25 {
		t.Errorf("the newest files hold %d packets", held)
	}
}

// A pipe gets packets while they come, and statistics in the end; a filter and a count hold.
func TestCaptureToPipe(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	l := startCounting(t, ns, "capture", "-w", "-", "-c", "7", "udp", "and", "net", "127.0.0.0/8", "and", "client:lotrace.test")
	if _, err := testkit.ClosedPort(ns, 4, 10); err != nil {
		t.Fatal(err)
	}
	sendDatagrams(t, ns, 31)
	if code := l.end(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &l.stderr)
	}
	if n := countPackets(l.stdout.Bytes()); n != 7 {
		t.Errorf("%d packets", n)
	}
	var dropped []uint64
	r, err := pcapgo.NewNgReader(&l.stdout, pcapgo.NgReaderOptions{
		StatisticsCallback: func(_ int, s pcapgo.NgInterfaceStatistics) { dropped = append(dropped, s.PacketsDropped) },
	})
	for err == nil {
		_, _, err = r.ReadPacketData()
	}
	if len(dropped) != 1 || dropped[0] != 0 {
		t.Errorf("statistics %v, %v", dropped, err)
	}
}

// A count of the packets that the budget refuses is on stderr and in the file.
func TestCaptureBudget(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	file := filepath.Join(t.TempDir(), "x.pcapng")
	l := startCounting(t, ns, "capture", "-w", file, "--budget", "10/s")
	sendDatagrams(t, ns, 1000)
	l.interrupt()
	counted := regexp.MustCompile(`warning: ([\d,]+) skbs of 1000 not captured: beyond --budget\n`).FindStringSubmatch(l.stderr.String())
	if counted == nil {
		t.Fatalf("said %s", &l.stderr)
	}
	missing, err := strconv.Atoi(strings.ReplaceAll(counted[1], ",", ""))
	if n := packetsIn(t, file); err != nil || n == 0 || n+missing != 1000 {
		t.Errorf("%d packets, %d missing: %v", n, missing, err)
	}
}
