package house

// layer is a floor of the house.
type layer struct {
	name string
	may  string // the layers that its rooms may reach, through whatever chain of imports
	why  string

	through string // of these, those that its rooms reach through others only, and never import themselves
}

// The layers, from the top.
var layers = []layer{
	{"commands", "faces players makers view words doctor boundary engine process contract leaves", "what runs is not made of tests", ""},
	{"faces", "view words engine process contract leaves", "a face shows what it is given: it knows neither another face nor the kernel", "contract"},
	{"players", "makers boundary engine process contract leaves", "a run knows what counts, and nobody who looks on", ""},
	{"makers", "engine contract leaves", "what makes packets or turns of samples fills a sink, whichever it is", ""},
	{"view", "words leaves", "rows are made of windows, whoever counted them and whoever shows them", ""},
	{"words", "leaves", "words serve faces and know none", ""},
	{"doctor", "boundary process contract leaves", "it judges the machine, not traffic", ""},
	{"boundary", "boundary process contract leaves", "the boundary reads the kernel and judges nothing", ""},
	{"engine", "engine contract leaves", "the engine knows the model, not its users", ""},
	{"process", "process leaves", "what the process may do, and where it runs, is the same for all", ""},
	{"contract", "leaves", "what was read, raw: between the boundary and the engine, and nobody's to show", ""},
	{"leaves", "", "everybody may use a leaf, so it uses nobody", ""},
	{"workshop", "workshop contract leaves", "tools and what tests are made of are not made of what they test", ""},
}

// room is a package of this module, without the module's name and without internal/.
type room struct {
	name    string
	layer   string
	imports string // the rooms that it imports, without those of its tests; of a room of tests alone, theirs
	modules string // and the modules of others
}

// The rooms. Whoever adds one, or an arrow from one to another, says so here.
var rooms = []room{
	{"cmd/lotrace", "commands",
		"demo doctor export filter hook human live loader machine model outfile pcapng reading suggest tap trace tui",
		"charm.land/bubbletea/v2 github.com/charmbracelet/colorprofile github.com/spf13/pflag golang.org/x/sys"},
	{"bench", "commands", "export hook live loader machine model reading services tui",
		"charm.land/bubbletea/v2 github.com/charmbracelet/colorprofile github.com/cilium/ebpf github.com/vishvananda/netlink " +
			"golang.org/x/sys"},

	{"export", "faces", "frame human model view", "github.com/olekukonko/tablewriter"},
	{"tui", "faces", "filter human model view", "charm.land/bubbletea/v2 github.com/charmbracelet/x/ansi"},
	{"pcapng", "faces", "human model outfile", "github.com/gopacket/gopacket"},

	{"live", "players", "filter loader machine model owner reading stats tap trace", "golang.org/x/sys"},

	{"tap", "makers", "frame model reading redact", ""},
	{"trace", "makers", "frame model reading redact", ""},

	{"view", "view", "human model", ""},

	{"human", "words", "model", ""},

	{"doctor", "doctor", "advice hook loader machine model reading rights", "golang.org/x/sys"},

	{"loader", "boundary", "advice hook machine model reading rights",
		"github.com/cilium/ebpf github.com/vishvananda/netlink golang.org/x/sys"},
	{"hook", "boundary", "advice machine model rights",
		"github.com/cilium/ebpf github.com/vishvananda/netlink golang.org/x/sys"},

	{"stats", "engine", "model reading", ""},
	{"owner", "engine", "model reading", "golang.org/x/sys"},
	{"filter", "engine", "model reading suggest", ""},
	{"frame", "engine", "model", ""},
	{"redact", "engine", "", ""},

	{"machine", "process", "advice", "golang.org/x/sys"},
	{"rights", "process", "advice", "golang.org/x/sys kernel.org/pub/linux/libs/security/libcap/psx"},
	{"outfile", "process", "", "golang.org/x/sys"},

	{"reading", "contract", "model", ""},

	{"model", "leaves", "", ""},
	{"advice", "leaves", "", ""},
	{"suggest", "leaves", "", ""},
	{"demo", "leaves", "", ""},
	{"services", "leaves", "", "golang.org/x/sys"},

	{"testkit/foreign", "workshop", "testkit", "github.com/cilium/ebpf github.com/vishvananda/netlink golang.org/x/sys"},
	{"testkit", "workshop", "model reading services", "github.com/vishvananda/netlink golang.org/x/sys"},
	{"refparse", "workshop", "model", ""},
	{"house", "workshop", "", ""},
	{"test/real", "workshop", "services", ""},
	{"test/real/visits", "workshop", "", ""},
	{"test/soak", "workshop", "testkit", "github.com/google/go-cmp"},
	{"tools/dependencies", "workshop", "", ""},
	{"tools/vmlinux", "workshop", "", "github.com/cilium/ebpf"},
}
