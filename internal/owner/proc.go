package owner

import (
	"bytes"
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lotrace/lotrace/internal/reading"
	"golang.org/x/sys/unix"
)

const (
	maxCmdline = 4 << 10
	maxFile    = 32 << 10 // a cgroup file: a line for each of up to 14 hierarchies

	nsPerClockTick = 1e9 / 100 // USER_HZ, in which /proc counts
	deletedSuffix  = " (deleted)"
)

// errGone: the process has ended, or another one has its PID.
var errGone = errors.New("process is gone")

// procfs reads /proc/PID. It is for one goroutine.
type procfs struct {
	root   string
	ahead  uint64 // nanoseconds: start times that it shows of the kernel's own
	buffer []byte
}

func newProcfs(root string) *procfs {
	return &procfs{root: root, buffer: make([]byte, maxFile)}
}

// read adds to known what /proc says of the process now; what it no longer says of a dying process
// is kept. The error is errGone when nothing more can come after that, denied when something was
// withheld.
//
// The open directory belongs to one process: once that has ended, nothing in it can be opened, even
// if its PID is another's by then. So one look at the start time covers all that is read here.
func (f *procfs) read(p *reading.Process, known facts) (_ facts, denied bool, _ error) {
	path := filepath.Join(f.root, strconv.FormatUint(uint64(p.PID), 10))
	dir, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) && f.hides(p.PID) {
		return known, true, nil
	}
	if err != nil {
		return known, isDenied(err), asGone(err)
	}
	defer unix.Close(dir)

	stat, err := f.file(dir, "stat", maxFile)
	if err != nil {
		return known, isDenied(err), asGone(err)
	}
	comm, started, ok := parseStat(stat)
	if !ok || started != (p.StartNS+f.ahead)/nsPerClockTick {
		return known, false, errGone
	}
	known.comm = comm
	ended := hasEnded(stat)

	exe, err := f.link(dir, "exe")
	switch {
	case err == nil:
		known.exe = strings.TrimSuffix(exe, deletedSuffix)
	case isDenied(err):
		known.exe = "" // the old one may be from before an exec
		denied = true
	}
	cmdline, err := f.file(dir, "cmdline", maxCmdline)
	if line := parseCmdline(cmdline); line != "" {
		known.cmdline = line
	}
	denied = denied || isDenied(err)
	status, err := f.file(dir, "status", maxFile)
	if uid, ok := parseUID(status); ok {
		known.uid, known.hasUID = uid, true
	}
	denied = denied || isDenied(err)
	cgroup, err := f.file(dir, "cgroup", maxFile)
	if path := parseCgroup(cgroup); path != "" {
		known.place(path)
	}
	if ended {
		return known, denied || isDenied(err), errGone
	}
	return known, denied || isDenied(err), nil
}

// file reads at most limit bytes, which are valid until the next call.
func (f *procfs) file(dir int, name string, limit int) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	got := 0
	for got < limit {
		n, err := unix.Read(fd, f.buffer[got:limit])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		got += n
	}
	return f.buffer[:got], nil
}

func (f *procfs) link(dir int, name string) (string, error) {
	n, err := unix.Readlinkat(dir, name, f.buffer)
	if err != nil {
		return "", err
	}
	return string(f.buffer[:n]), nil
}

// hides reports whether the process lives although procfs does not show it: mounted with hidepid, it
// keeps other users' processes to itself.
func (f *procfs) hides(pid uint32) bool {
	return f.root == defaultProc && !errors.Is(unix.Kill(int(pid), 0), unix.ESRCH)
}

func isDenied(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}

func asGone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return errGone
	}
	return err
}

// parseStat returns the second and the twenty-second field of /proc/PID/stat, proc_pid_stat(5). The
// name may hold anything, brackets and blanks too; no other field does.
func parseStat(stat []byte) (comm string, startTicks uint64, ok bool) {
	from, to := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if from < 0 || to < from {
		return "", 0, false
	}
	rest := bytes.TrimPrefix(stat[to+1:], []byte(" "))
	for range 22 - 3 {
		if _, rest, ok = bytes.Cut(rest, []byte(" ")); !ok {
			return "", 0, false
		}
	}
	field, _, _ := bytes.Cut(rest, []byte(" "))
	startTicks, err := strconv.ParseUint(string(field), 10, 64)
	if err != nil {
		return "", 0, false
	}
	return unescapeComm.Replace(string(stat[from+1 : to])), startTicks, true
}

// hasEnded reports whether only the record of the process is left, for its parent to read (a zombie).
// A main thread that has ended before others looks the same, but for their number.
func hasEnded(stat []byte) bool {
	rest := bytes.TrimPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	if !bytes.HasPrefix(rest, []byte("Z")) && !bytes.HasPrefix(rest, []byte("X")) {
		return false
	}
	fields := bytes.Fields(rest)
	const threads = 20 - 3
	return len(fields) > threads && len(fields[threads]) == 1 && fields[threads][0] <= '1'
}

// unescapeComm undoes what the kernel escapes in stat, so that one process is one line.
var unescapeComm = strings.NewReplacer(`\n`, "\n", `\\`, `\`)

// parseCmdline joins the arguments of /proc/PID/cmdline by spaces.
func parseCmdline(cmdline []byte) string {
	cmdline = bytes.TrimRight(cmdline, "\x00 ")
	return string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}))
}

// parseUID returns the real user id in /proc/PID/status, proc_pid_status(5).
func parseUID(status []byte) (uid uint32, ok bool) {
	_, rest, ok := bytes.Cut(status, []byte("\nUid:\t"))
	field, _, _ := bytes.Cut(rest, []byte("\t"))
	n, err := strconv.ParseUint(string(field), 10, 32)
	return uint32(n), ok && err == nil
}
