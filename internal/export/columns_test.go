package export

import (
	"strings"
	"testing"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

func TestEndpointNames(t *testing.T) {
	curl, invisible, bare := named(311, "curl", ""), named(0, "api", ""), named(7, "", "")
	tests := []struct {
		owner       *model.Owner
		addr        string
		short, full string
	}{
		{nil, "127.0.0.1:80", "127.0.0.1:80", "127.0.0.1:80"},
		{curl, "127.0.0.1:80", "curl(311):80", "127.0.0.1:80 curl(311)"},
		{curl, "[::1]:80", "curl(311):80", "[::1]:80 curl(311)"},
		{curl, "127.0.0.1:0", "curl(311)", "127.0.0.1 curl(311)"},
		{curl, "127.0.0.2:80", "curl(311) 127.0.0.2:80", "127.0.0.2:80 curl(311)"},
		{invisible, "127.0.0.1:80", "api:80", "127.0.0.1:80 api"},
		{bare, "127.0.0.1:80", "pid 7:80", "127.0.0.1:80 pid 7"},
		{&model.Owner{Unit: "mixed.service"}, "127.0.0.1:80", "127.0.0.1:80", "127.0.0.1:80"},
	}
	for _, tt := range tests {
		e := endpointAt(tt.addr, tt.owner)
		if short, full := human.End(&e), fullEndpoint(&e); short != tt.short || full != tt.full {
			t.Errorf("%+v: got %q and %q, want %q and %q", e, short, full, tt.short, tt.full)
		}
	}
}

func TestContainer(t *testing.T) {
	tests := map[string]model.Owner{
		"-":            {},
		"web":          {Container: "0123456789abcdef", ContainerName: "web"},
		"0123456789ab": {Container: "0123456789abcdef"},
		"0123":         {Container: "0123"},
		`\x1b[2J`:      {ContainerName: "\x1b[2J"},
	}
	for want, o := range tests {
		if got := ofOwner(&o, human.Container); got != want {
			t.Errorf("%+v: got %q, want %q", o, got, want)
		}
	}
}

// A user that several processes do not share is nobody's, and certainly not 4294967295.
func TestSeveralUsers(t *testing.T) {
	s := crowd()
	s.Flows = s.Flows[:1]
	s.Flows[0].Client.Owner.UID = model.NoUID
	if out := encode(t, "wide", Options{By: "process"}, s); strings.Contains(out, "4294967295") {
		t.Errorf("got a user id in\n%s", out)
	}
}

func TestTitleSaysWhose(t *testing.T) {
	flows := func(both, one int) []model.Flow {
		flows := many(both + one) // with a client
		for i := range both {
			flows[i].Server.Owner = flows[i].Client.Owner
		}
		return flows
	}
	hidden := model.Hidden{Flows: 1, Count: model.Count{Packets: 3, Bytes: 1_500}}
	tests := []struct {
		s    window
		want string // behind the first line
	}{
		{window{}, ""},
		{window{Flows: flows(7, 0)}, ""},
		{window{Flows: flows(5, 3)}, "owners: 62.5 % both\n"},
		{window{Flows: flows(9_999, 1)}, "owners: 99.9 % both\n"},
		{window{Flows: flows(0, 2)}, "owners: 0.0 % both\n"},
		{window{Flows: flows(1, 0), Window: model.Window{Hidden: hidden}}, "hidden: 1 flow, 1.5 kB (lotrace itself)\n"},
		{window{Flows: flows(1, 1), Window: model.Window{Hidden: hidden}}, "owners: 50.0 % both · hidden: 1 flow, 1.5 kB (lotrace itself)\n"},
	}
	for _, tt := range tests {
		title, _, _ := strings.Cut(encode(t, "table", Options{}, finish(tt.s)), "\n\n")
		_, got, _ := strings.Cut(title+"\n", "\n")
		if got != tt.want {
			t.Errorf("%d flows: got %q, want %q", len(tt.s.Flows), got, tt.want)
		}
	}
}

// Hidden packets are no disagreement with the device: only the rest is.
func TestHiddenIsNoDisagreement(t *testing.T) {
	s := crowd()
	s.Device.Agrees = false
	s.Device.Packets += 2
	s.Device.Bytes -= 34
	if out := encode(t, "table", Options{}, s); !strings.Contains(out, "not exact: device +2 packets, -34 bytes\n") {
		t.Errorf("got\n%s", out)
	}
}
