package filter

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

var (
	api = &model.Owner{
		ProcessID: model.ProcessID{TGID: 70311, StartNS: 1}, PID: 311,
		Comm: "api", Exe: "/opt/api/bin/api-server", UID: 1000, Cgroup: "/kubepods/pod7/4f1c0ffee",
		Container: "4f1c0ffee", ContainerName: "shop-api-1", Source: model.OwnerScan,
	}
	web = &model.Owner{
		ProcessID: model.ProcessID{TGID: 412, StartNS: 2}, PID: 412,
		Comm: "web worker,(1)", Exe: "/usr/sbin/web", Cgroup: "/system.slice/web.service", Unit: "web.service",
		Source: model.OwnerKernel,
	}
	kernel  = &model.Owner{Comm: model.KernelComm, Source: model.OwnerKernel}
	several = &model.Owner{Comm: "kworker/0:1", Source: model.OwnerScan}
)

func owned(client, server *model.Owner) *model.Flow {
	f := postgres()
	f.Client.Owner, f.Server.Owner = client, server
	return f
}

// ownerTerms are filters of owners, how they are written back, and whether they match the flow of api to web.
var ownerTerms = []struct {
	expr  string
	canon string // "": expr
	match bool   // api to web
}{
	{"pid:311", "", true},
	{"pid:70311", "", true},
	{"pid:0412", "pid:412", true},
	{"pid:1,412", "", true},
	{"pid:31", "", false},

	{"comm:api", "", true},
	{"comm:ap", "", false},
	{"comm:pi", "", false},
	{"comm:API", "", false},
	{"comm:a*", "", true},
	{"comm:*i", "", true},
	{"comm:a?i", "", true},
	{"comm:ap?", "", true},
	{"comm:api?", "", false},
	{"comm:[a-c]pi", "", true},
	{"comm:[!a-c]pi", "", false},
	{"comm:[^b]pi", "", true},
	{"comm:[]a]pi", "", true},
	{"comm:[!]]pi", "", true},
	{"comm:[!]pi", "", false},
	{"comm:[]pi", "", false},
	{`comm:[\^!]pi`, "", false},
	{`comm:\api`, "", true},
	{`comm:\*`, "", false},
	{"comm:a.i", "", false},
	{"comm:a|api", "", false},
	{"comm:x,api", "", true},
	{`comm:"api"`, "comm:api", true},
	{`comm:"web worker,(1)"`, "", true},
	{`comm:x,"web*,(?)"`, "", true},
	{`comm:web*`, "", true},
	{`comm:web`, "", false},
	{"comm:kernel", "", false},

	{"exe:/usr/sbin/web", "", true},
	{"exe:/usr/*", "", true},
	{"exe:/usr", "", false},
	{"exe:*/bin/*", "", true},
	{"exe:sbin/web", "", false},
	{"exe:web", "", true},
	{"exe:api", "", false},
	{"exe:api-*", "", true},
	{"exe:usr*", "", false},

	{"client:api", "", true},
	{"server:api", "", false},
	{"server:web*", "", true},
	{"client:web*", "", false},
	{"client:311", "", true},
	{"client:0070311", "client:70311", true},
	{"server:311", "", false},
	{"server:nginx,412", "", true},

	{"cgroup:web*", "", true},
	{"cgroup:web.service", "", true},
	{"cgroup:web", "", false},
	{"cgroup:*.service", "", true},
	{"cgroup:slice", "", false},
	{"cgroup:system.slice", "", true},
	{"cgroup:system.slice/", "", true},
	{"cgroup:/system.slice", "", true},
	{"cgroup:system.slice/web.service", "", true},
	{"cgroup:system.slice/web", "", false},
	{"cgroup:pod7", "", true},
	{"cgroup:/pod7", "", false},
	{"cgroup:/kubepods/pod?/4f*", "", true},
	{"cgroup:/", "", true},
	{"cgroup:/user.slice", "", false},

	{"unit:web.service", "", true},
	{"unit:web", "", true},
	{"unit:we", "", false},
	{"unit:*.socket", "", false},
	{"unit:*", "", true},

	{"container:shop-*", "", true},
	{"container:shop", "", false},
	{"container:4", "", true},
	{"container:4f1c0ffee", "", true},
	{"container:f1c0", "", false},
	{"container:4F1C", "", false},
	{"container:4f*", "", true},

	{"uid:1000", "", true},
	{"uid:0", "", true},
	{"uid:root", "uid:0", true},
	{"uid:100", "", false},

	{"owner:scan", "", true},
	{"owner:KERNEL", "owner:kernel", true},
	{"owner:unknown", "", false},
}

func TestOwnerTerms(t *testing.T) {
	for _, tt := range ownerTerms {
		f, err := Parse(tt.expr)
		if err != nil {
			t.Errorf("%q: %v", tt.expr, err)
			continue
		}
		if tt.canon == "" {
			tt.canon = tt.expr
		}
		if got := f.String(); got != tt.canon {
			t.Errorf("%q: canonical %q, want %q", tt.expr, got, tt.canon)
		}
		if got := f.Match(owned(api, web)); got != tt.match {
			t.Errorf("%q: match %v", tt.expr, got)
		}
		again, err := Parse(f.String())
		if err != nil || !reflect.DeepEqual(again, f) {
			t.Errorf("%q: canonical %q reads as %v, %v", tt.expr, f, again, err)
		}
	}
}

// An unknown is matched by no term, and so by the negation of every one.
func TestOwnerUnknowns(t *testing.T) {
	for _, tt := range []struct {
		expr           string
		client, server *model.Owner
		want           bool
	}{
		{"comm:*", nil, nil, false},
		{"!comm:*", nil, nil, true},
		{"client:*", nil, web, false},
		{"server:*", nil, web, true},
		{"!client:api", nil, web, true},
		{"exe:*", kernel, several, false},
		{"cgroup:/,*", kernel, several, false},
		{"unit:*", kernel, api, false},
		{"container:*", kernel, web, false},
		{"comm:kernel", api, kernel, true},
		{"server:kernel", api, kernel, true},
		{"comm:kw*", several, nil, true}, // a slash is nothing special
		{"uid:0", kernel, several, false},
		{"uid:0", kernel, web, true},
		{"uid:0", nil, nil, false},
		{"owner:unknown", api, nil, true},
		{"owner:unknown", kernel, several, false},
		{"owner:kernel", several, nil, false},
		{"owner:scan,kernel", nil, nil, false},
	} {
		f, err := Parse(tt.expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(owned(tt.client, tt.server)); got != tt.want {
			t.Errorf("%q: match %v of %+v and %+v", tt.expr, got, tt.client, tt.server)
		}
	}
}

// The kernel learns an owner after the first packets, so it must let them pass whoever they are of.
func TestOwnerTermsAreNotTheKernels(t *testing.T) {
	port, err := Parse("port:80")
	if err != nil {
		t.Fatal(err)
	}
	portOnly, _ := port.Kernel()
	for _, name := range []string{"pid", "comm", "exe", "client", "server", "cgroup", "unit", "container", "uid", "owner"} {
		for _, tt := range []struct {
			format string
			want   reading.KernelFilter
		}{
			{"%s", nil},
			{"!%s", nil},
			{"%s port:80", portOnly},
			{"port:80 !%s", portOnly},
			{"%s or port:80", nil},
			{"!(%s port:80)", nil},
		} {
			f, err := Parse(fmt.Sprintf(tt.format, lookup(name).Example))
			if err != nil {
				t.Fatal(err)
			}
			prog, exact := f.Kernel()
			if !reflect.DeepEqual(prog, tt.want) || exact {
				t.Errorf("%q: %v, exact %v", f, prog, exact)
			}
		}
	}
}
