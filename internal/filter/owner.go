package filter

import (
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/suggest"
)

// eitherOwner is a match by the process of either end. Nothing is true of an unknown one.
func eitherOwner(test func(*model.Owner, value) bool) func(*model.Flow, value) bool {
	return func(f *model.Flow, v value) bool {
		client, server := f.Client.Owner, f.Server.Owner
		return client != nil && test(client, v) || server != nil && test(server, v)
	}
}

// parsePID takes no 0, which in an Owner says that there is no one process.
func parsePID(s string) ([]value, *Error) {
	pid, err := strconv.ParseUint(s, 10, 32)
	if err != nil || pid == 0 {
		return nil, bad("a PID is a number from 1, not")
	}
	return number(pid), nil
}

func hasPID(o *model.Owner, v value) bool {
	return v.lo == uint64(o.PID) || v.lo == uint64(o.TGID)
}

const maxComm = 15 // bytes; the kernel's TASK_COMM_LEN, less the end mark

func parseComm(s string) ([]value, *Error) {
	if len(s) > maxComm && !strings.ContainsAny(s, `*?[\`) {
		return nil, &Error{Msg: "the kernel cuts process names to 15 bytes, so none is", Suggest: s[:maxComm]}
	}
	return parseGlob(s)
}

func hasComm(o *model.Owner, v value) bool { return v.names(o.Comm) }

// parseProcess takes a PID, or a pattern for a process name.
func parseProcess(s string) ([]value, *Error) {
	if strings.Trim(s, "0123456789") == "" {
		return parsePID(s)
	}
	return parseComm(s)
}

func isProcess(o *model.Owner, v value) bool {
	switch {
	case o == nil:
		return false
	case v.glob == nil:
		return hasPID(o, v)
	}
	return hasComm(o, v)
}

func hasExe(o *model.Owner, v value) bool {
	if o.Exe == "" || strings.Contains(v.text, "/") {
		return v.names(o.Exe)
	}
	return v.names(path.Base(o.Exe))
}

func hasUnit(o *model.Owner, v value) bool {
	return v.names(o.Unit) || v.names(strings.TrimSuffix(o.Unit, ".service"))
}

// hasContainer takes the beginning of an id as container engines do, however short.
func hasContainer(o *model.Owner, v value) bool {
	isHex := strings.Trim(v.text, "0123456789abcdef") == ""
	return v.names(o.ContainerName) || v.names(o.Container) || isHex && strings.HasPrefix(o.Container, v.text)
}

// parseUID takes a number, or the name of a user that this machine knows.
func parseUID(s string) ([]value, *Error) {
	text := s
	if strings.Trim(s, "0123456789") != "" {
		u, err := user.Lookup(s)
		if err != nil {
			return nil, &Error{Msg: "unknown user", Suggest: suggest.Nearest(s, userNames())}
		}
		text = u.Uid
	}
	uid, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil, bad("a user is a name or a number, not")
	}
	return number(uid), nil
}

// userNames lists what may have been meant by an unknown one; nothing where it cannot be read.
func userNames() []string {
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil
	}
	var names []string
	for line := range strings.Lines(string(passwd)) {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	return names
}

// hasUID knows that 0 is root for one process only: the kernel is no user, and several processes
// need not have one in common.
func hasUID(o *model.Owner, v value) bool {
	oneProcess := o.PID != 0 || o.TGID != 0
	return v.lo == uint64(o.UID) && (v.lo != 0 || oneProcess)
}

const ownerUnknown = "unknown"

func ownerSource(o *model.Owner) string {
	if o == nil {
		return ownerUnknown
	}
	return string(o.Source)
}
