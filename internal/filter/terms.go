package filter

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/lotrace/lotrace/internal/model"
)

// Term describes one kind of term, for help texts and the manual.
type Term struct {
	Name     string
	Value    string // what follows the name; ">" stands for any of > >= < <= =
	Example  string // parses
	Help     string
	InKernel bool // tested on every packet; otherwise in user space, on whole flows
}

// Terms returns what an expression can be made of, in the order to show it.
func Terms() []Term {
	docs := make([]Term, len(terms))
	for i, t := range terms {
		docs[i] = t.Term
	}
	return docs
}

// term is a Term and what it does. Of match and amount it has one.
type term struct {
	Term
	twoWords bool // "port 80", as tcpdump has it
	parse    func(string) ([]value, *Error)
	match    func(*model.Flow, value) bool            // one alternative
	amount   func(*model.Flow) (n uint64, known bool) // compared; unknown never matches
	kernel   func([]value) *cond                      // the same test on a key alone; nil: none
}

var terms = append([]*term{
	{
		Term: Term{"proto", ":NAME|NUMBER", "proto:tcp",
			"protocol: tcp, udp, icmp, icmpv6, sctp or its number; bare: tcp udp icmp icmp6 sctp", true},
		twoWords: true,
		parse:    parseProto,
		match:    func(f *model.Flow, v value) bool { return uint64(f.Proto) == v.lo },
		kernel:   kernelProto,
	},
	{
		Term:     Term{"port", ":N|N-M", "port:80", "port of either end; also portrange", true},
		twoWords: true,
		parse:    parsePort,
		match: func(f *model.Flow, v value) bool {
			return portWithin(f, f.Client, v) || portWithin(f, f.Server, v)
		},
		kernel: kernelPort,
	},
	{
		Term:  Term{"cport", ":N|N-M", "cport:40000-50000", "port of the client", false},
		parse: parsePort,
		match: func(f *model.Flow, v value) bool { return portWithin(f, f.Client, v) },
	},
	{
		Term:  Term{"sport", ":N|N-M", "sport:5432", "port of the server", false},
		parse: parsePort,
		match: func(f *model.Flow, v value) bool { return portWithin(f, f.Server, v) },
	},
	{
		Term: Term{"addr", ":ADDR|CIDR|localhost", "addr:127.0.0.2",
			"address of either end; also host and net", true},
		twoWords: true,
		parse:    parseAddr,
		match: func(f *model.Flow, v value) bool {
			return addrWithin(f.Client, v) || addrWithin(f.Server, v)
		},
		kernel: kernelAddr,
	},
	{
		Term:  Term{"caddr", ":ADDR|CIDR|localhost", "caddr:10.0.0.0/8", "address of the client", false},
		parse: parseAddr,
		match: func(f *model.Flow, v value) bool { return addrWithin(f.Client, v) },
	},
	{
		Term:  Term{"saddr", ":ADDR|CIDR|localhost", "saddr:::1", "address of the server", false},
		parse: parseAddr,
		match: func(f *model.Flow, v value) bool { return addrWithin(f.Server, v) },
	},
	{
		Term:   Term{"family", ":ipv4|ipv6", "family:ipv6", "address family; bare: ip ip6", true},
		parse:  oneOf("family", []string{"ipv4", "ipv6"}, nil),
		match:  func(f *model.Flow, v value) bool { return isIPv6(f.Client.Addr, f.Server.Addr) == (v.text == "ipv6") },
		kernel: kernelFamily,
	},
	{
		Term: Term{"state", ":STATE", "state:established",
			"TCP state: " + strings.Join(model.TCPStates(), ", ") + "; estab is short for established", false},
		parse: oneOf("state", model.TCPStates(), map[string]string{"estab": model.StateEstablished}),
		match: func(f *model.Flow, v value) bool { return f.State == v.text },
	},
	{
		Term:  Term{"closed", ":yes|no", "closed:yes", "whether the flow has ended", false},
		parse: oneOf("answer", []string{"yes", "no"}, nil),
		match: func(f *model.Flow, v value) bool { return f.Closed == (v.text == "yes") },
	},
	{
		Term: Term{"role", ":SOURCE", "role:syn",
			"how the client is known: syn, listener, first or port", false},
		parse: oneOf("role source", []string{string(model.RoleSYN), string(model.RoleListener),
			string(model.RoleFirst), string(model.RolePort)}, nil),
		match: func(f *model.Flow, v value) bool { return string(f.RoleSource) == v.text },
	},
	{
		Term:  Term{"pid", ":N", "pid:311", "process of either end, by its PID here or in the first namespace", false},
		parse: parsePID,
		match: eitherOwner(hasPID),
	},
	{
		Term:  Term{"comm", ":GLOB", "comm:nginx", "process name of either end; kernel is the kernel itself", false},
		parse: parseComm,
		match: eitherOwner(hasComm),
	},
	{
		Term: Term{"exe", ":GLOB", "exe:/opt/*",
			"executable of either end; without a slash, its base name", false},
		parse: parseGlob,
		match: eitherOwner(hasExe),
	},
	{
		Term:  Term{"client", ":GLOB|PID", "client:api", "process name or PID of the client", false},
		parse: parseProcess,
		match: func(f *model.Flow, v value) bool { return isProcess(f.Client.Owner, v) },
	},
	{
		Term:  Term{"server", ":GLOB|PID", "server:redis*", "process name or PID of the server", false},
		parse: parseProcess,
		match: func(f *model.Flow, v value) bool { return isProcess(f.Server.Owner, v) },
	},
	{
		Term: Term{"cgroup", ":GLOB", "cgroup:web*",
			"cgroup of either end, or one above it; with a leading slash, from the root", false},
		parse: parseCgroup,
		match: eitherOwner(func(o *model.Owner, v value) bool { return v.names(o.Cgroup) }),
	},
	{
		Term:  Term{"unit", ":GLOB", "unit:nginx", "systemd unit of either end; .service may be left out", false},
		parse: parseGlob,
		match: eitherOwner(hasUnit),
	},
	{
		Term:  Term{"container", ":GLOB|ID", "container:4f1c", "container name of either end, or how its id begins", false},
		parse: parseGlob,
		match: eitherOwner(hasContainer),
	},
	{
		Term:  Term{"uid", ":N|NAME", "uid:1000", "user of either end", false},
		parse: parseUID,
		match: eitherOwner(hasUID),
	},
	{
		Term: Term{"owner", ":SOURCE", "owner:unknown",
			"how the process of either end is known: kernel, scan or unknown", false},
		parse: oneOf("owner source", []string{string(model.OwnerKernel), string(model.OwnerScan), ownerUnknown}, nil),
		match: func(f *model.Flow, v value) bool {
			return ownerSource(f.Client.Owner) == v.text || ownerSource(f.Server.Owner) == v.text
		},
	},
}, amountTerms()...)

// amountTerms compare what model.Amounts has; the round trip, which no tally adds up, is among them.
func amountTerms() []*term {
	parsers := map[string]func(string) ([]value, *Error){"SIZE": parseSize, "N": parseCount, "DURATION": parseDuration}
	var amounts []*term
	for _, a := range model.Amounts {
		amounts = append(amounts, &term{
			Term:   Term{a.Name, ">" + a.Value, a.Example, a.Help, false},
			parse:  parsers[a.Value],
			amount: func(f *model.Flow) (uint64, bool) { return a.Of(&f.Tally) },
		})
		if a.Name == "retransmits" {
			amounts = append(amounts, srttTerm)
		}
	}
	return amounts
}

var srttTerm = &term{
	Term: Term{"srtt", ">DURATION", "srtt>5ms",
		"smoothed round trip of TCP, the larger of both ends; unknown never matches", false},
	parse: parseDuration,
	amount: func(f *model.Flow) (uint64, bool) {
		rtt := max(f.ClientSRTT, f.ServerSRTT)
		return uint64(rtt), rtt > 0
	},
}

// portWithin is false for protocols without ports: the echo identifier that ICMP keeps in the
// port's place is no port to who asks for one.
func portWithin(f *model.Flow, e model.Endpoint, v value) bool {
	return f.Proto.HasPorts() && v.lo <= uint64(e.Port) && uint64(e.Port) <= v.hi
}

func addrWithin(e model.Endpoint, v value) bool { return v.prefix.Contains(e.Addr.Unmap()) }

// isIPv6 is the family of a flow. An IPv6 header may carry one v4-mapped address beside one that is none.
func isIPv6(a, b netip.Addr) bool { return a.Unmap().Is6() || b.Unmap().Is6() }

// aliases are other names of terms.
var aliases = map[string]string{"host": "addr", "net": "addr", "portrange": "port"}

// shortForms are the bare words tcpdump users type.
var shortForms = map[string]shortForm{
	"tcp":   {"proto", "tcp"},
	"udp":   {"proto", "udp"},
	"icmp":  {"proto", "icmp"},
	"icmp6": {"proto", "icmpv6"},
	"sctp":  {"proto", "sctp"},
	"ip":    {"family", "ipv4"},
	"ip6":   {"family", "ipv6"},
}

type shortForm struct{ name, value string }

func (s shortForm) node() *node {
	t := lookup(s.name)
	vals, _ := t.parse(s.value)
	return &node{kind: kindTerm, term: t, op: ":", vals: vals}
}

// lookup returns the term of that name, nil when there is none.
func lookup(name string) *term {
	name = strings.ToLower(name)
	if full, ok := aliases[name]; ok {
		name = full
	}
	for _, t := range terms {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// names returns every word that could stand where a term begins: those that take a value and, with
// bare, those that stand alone too.
func names(bare bool) []string {
	var all []string
	for _, t := range terms {
		all = append(all, t.Name)
	}
	all = append(all, slices.Sorted(maps.Keys(aliases))...)
	if bare {
		all = append(all, slices.Sorted(maps.Keys(shortForms))...)
		all = append(all, "and", "or", "not")
	}
	return all
}
