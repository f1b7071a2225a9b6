package stats

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Windows add up: of the same traffic, many windows folded are the one long window, field by field.
func TestWindowsFold(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 400)
		for i := range script {
			script[i] = byte(rnd.Uint32())
		}
		checkFold(t, script)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzWindowsFold(f *testing.F) {
	f.Add([]byte("a few flows, a few windows"))
	f.Fuzz(func(t *testing.T, script []byte) { checkFold(t, script[:min(len(script), 2000)]) })
}

// checkFold plays the script twice: to an engine whose windows end where the script says so, and to one that
// makes a single window of it all.
func checkFold(t *testing.T, script []byte) {
	t.Helper()
	short, long := newPlay(t), newPlay(t)
	for steps := (&reader{script}); len(steps.rest) > 0; {
		step := steps.byte() % 24
		args := steps.take(4)
		if step == 0 {
			short.endWindow(t)
			continue
		}
		short.do(t, step, &reader{args})
		long.do(t, step, &reader{args})
	}
	short.endWindow(t)
	long.endWindow(t)
	if !slices.Equal(short.source.retired, long.source.retired) {
		t.Fatalf("the windows have changed what is freed: %v, and %v", short.source.retired, long.source.retired)
	}
	checkSame(t, short.folder.Window(), long.folder.Window(), short.newest)
}

// reader takes bytes of a script; past its end they are 0.
type reader struct{ rest []byte }

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) take(n int) []byte {
	taken := make([]byte, n)
	r.rest = r.rest[copy(taken, r.rest):]
	return taken
}

// play is a source, an engine on it, and what its windows add up to.
type play struct {
	source *fakeSource
	engine *Engine
	rows   model.Flows // of the newest window
	folder model.Folder
	newest map[model.FlowID]bool // flows with a row in the newest window
	places uint32                // of exchanges and health, given out so far
	owners []*reading.Process
}

func newPlay(t *testing.T) *play {
	p := &play{source: newFakeSource(), owners: []*reading.Process{nil, {PID: 1}, {PID: 2}}}
	p.source.now.Ingress = new(model.Count)
	p.engine = start(t, p.source, Config{
		Slow:   time.Millisecond,
		Owners: namesAll{},
		Hide:   func(f *model.Flow) bool { return f.Client.Port == 40007 || f.Server.Port == 40007 },
		Origin: model.Origin{Sites: []model.Site{{Number: 1, Netns: 7, Device: "lo"}}},
	})
	return p
}

// namesAll knows each process by its PID and finds no holder.
type namesAll struct{}

func (namesAll) Process(p *reading.Process) (*model.Owner, bool) {
	return &model.Owner{PID: p.PID, Comm: "x"}, false
}
func (namesAll) Holder(*reading.SlotKey, int, uint64, bool) *model.Owner {
	return nil
}
func (namesAll) Version() uint64      { return 0 }
func (namesAll) Settle(time.Duration) {}

func (p *play) endWindow(t *testing.T) {
	t.Helper()
	w, err := p.engine.Window(&p.rows)
	if err != nil {
		t.Fatal(err)
	}
	p.newest = make(map[model.FlowID]bool)
	for f := range w.Flows.All() {
		p.newest[f.ID()] = true
	}
	p.folder.Add(w)
}

// do plays one step.
func (p *play) do(t *testing.T, step byte, r *reader) {
	t.Helper()
	s := p.source
	slot := p.slot(r.byte())
	switch n := uint64(r.byte()); step {
	case 1, 2, 3:
		s.pass(time.Duration(n*n) * 100 * time.Microsecond)
	case 4:
		s.pass(time.Duration(n) * time.Second)
	case 5, 6, 7:
		if err := p.engine.Sweep(); err != nil {
			t.Fatal(err)
		}
	case 8, 9:
		p.open(byte(n), r.byte())
	case 10:
		s.reason(reading.Reason(2 + n%uint64(reading.ReasonCount-2)))
		s.now.Unmeasured += n % 3
		s.now.Uncounted += n % 2
	case 11:
		s.now.Samples.Seen, s.now.Samples.Taken = s.now.Samples.Seen+n, s.now.Samples.Taken+n/2
		s.now.Ingress.Add(model.Count{SKBs: n, Packets: n, Bytes: 9 * n})
	case 12:
		p.listen(n, r.byte())
	default:
		if slot != nil {
			p.use(slot, step, n, r)
		}
	}
}

// slot picks one that is there; nil if there is none.
func (p *play) slot(n byte) *reading.Slot {
	if len(p.source.slots) == 0 {
		return nil
	}
	for i := uint32(n); ; i++ {
		if slot := p.source.slots[i%16]; slot != nil {
			return slot
		}
	}
}

// open begins a flow on one of a few ports, so that keys come again.
func (p *play) open(n, kind byte) {
	index := uint32(0)
	for ; p.source.slots[index] != nil; index++ {
		if index == 15 {
			return
		}
	}
	port := 40000 + uint16(n%8)
	if kind&16 != 0 {
		port = 72 + uint16(n%8) // a guess by ports takes the other end for the client
	}
	for _, slot := range p.source.slots {
		if slot.Key.Port[1] == port && slot.State == reading.SlotLive {
			slot.State = reading.SlotOrphan
		}
	}
	proto, role := model.ProtoTCP, reading.SlotRole(kind%2)
	if kind%4 == 3 {
		proto, role = model.ProtoUDP, reading.SlotRoleFirst
	}
	p.source.pass(1) // no two flows of one key begin in the same nanosecond
	slot := p.source.open(index, port, proto, role)
	if role != reading.SlotRoleNone {
		slot.Client = 1
	}
	p.source.packet(slot, 1, model.FlagSYN)
}

// use lets something happen on a flow.
func (p *play) use(slot *reading.Slot, step byte, n uint64, r *reader) {
	s := p.source
	s.pass(1) // no two packets come in the same nanosecond
	side := int(n & 1)
	if slot.State == reading.SlotOrphan {
		return // its counts are final
	}
	if isOver(slot) && p.isClosed(slot) {
		return // until when its window counts as closed moves with each packet, a window's length at most
	}
	switch step {
	case 13, 14, 15:
		flags := []uint8{model.FlagACK, model.FlagACK, model.FlagSYN | model.FlagACK, model.FlagFIN, model.FlagRST}
		s.packet(slot, side, flags[r.byte()%5])
		slot.SRTT[side], slot.Cwnd[side] = time.Duration(n)*time.Microsecond, uint32(n)
		if owner := p.owners[r.byte()%3]; owner != nil { // a known owner does not become unknown
			slot.Owner[side] = owner
		}
	case 16, 17, 18:
		s.packet(slot, side, model.FlagACK)
		s.answer(p.exchange(slot), time.Duration(n*n)*time.Microsecond, time.Duration(n*n+uint64(r.byte()))*time.Microsecond)
	case 19:
		health := p.health(slot)
		health.Refused += uint32(n % 3)
		health.SYNRetries += uint32(n % 2)
		health.End[side].Timeouts++
		health.End[side].StalledNS += n
		health.Drops[n%2] = reading.Drop{Reason: uint32(5 + n%2), SKBs: health.Drops[n%2].SKBs + 1}
	case 20:
		end := &p.health(slot).End[side]
		if end.ClosedSinceNS == 0 {
			end.ClosedSinceNS = s.now.MonoNS
			end.ZeroWindows++
			break
		}
		end.ClosedNS += s.now.MonoNS - end.ClosedSinceNS
		end.ClosedSinceNS = 0
	case 21:
		if slot.Key.Proto == model.ProtoTCP && slot.ConnectedNS == 0 {
			slot.ConnectedNS, slot.AcceptedNS = s.now.MonoNS, s.now.MonoNS
			s.packet(slot, 1, model.FlagACK)
		}
	case 22:
		s.packet(slot, side, model.FlagACK) // the answer
		s.slow(slot, time.Duration(n+10)*time.Millisecond)
	case 23:
		s.packet(slot, side, 0)
		p.queue(slot, side, uint32(n))
	}
}

func (p *play) exchange(slot *reading.Slot) *reading.Exchange {
	if slot.Exchange == 0 {
		p.places++
		return p.source.exchange(slot, p.places)
	}
	return p.source.exchanges[slot.Exchange]
}

func (p *play) health(slot *reading.Slot) *reading.Health {
	if slot.Health == 0 {
		p.places++
		return p.source.health(slot, p.places)
	}
	return p.source.healths[slot.Health]
}

func (p *play) isClosed(slot *reading.Slot) bool {
	health := p.source.healths[slot.Health]
	return health != nil && health.End[0].ClosedSinceNS+health.End[1].ClosedSinceNS > 0
}

func (p *play) queue(slot *reading.Slot, side int, bytes uint32) {
	queues := &p.source.now.Queues
	i := slices.IndexFunc(*queues, func(q reading.Queue) bool { return q.Slot == slot.Index && int(q.End) == side })
	if i < 0 {
		*queues = append(*queues, reading.Queue{Slot: slot.Index, End: uint8(side)})
		i = len(*queues) - 1
	}
	(*queues)[i].Receive = bytes
}

func (p *play) listen(n uint64, dropped byte) {
	if len(p.source.now.Backlogs) == 0 {
		p.source.now.Backlogs = []reading.Backlog{{Addr: netip.MustParseAddr("127.0.0.1"), Port: 80, Limit: 9}}
	}
	backlog := &p.source.now.Backlogs[0]
	backlog.Length, backlog.Drops = uint32(n), backlog.Drops+uint64(dropped)
}

// checkSame holds the folded window against the long one. Of flows without a row in the newest window the
// queues are what an earlier window said. Where a key had several connections, a part that nobody saw begin may be
// with another of them, as one of them was freed in time or not: their rows are held together.
func checkSame(t *testing.T, folded, long *model.Window, newest map[model.FlowID]bool) {
	t.Helper()
	flows, want := merged(folded.Flows), merged(long.Flows)
	for i := range min(len(flows), len(want)) {
		if newest[flows[i].ID()] {
			continue
		}
		for _, f := range []*model.Flow{&flows[i], &want[i]} {
			forgetQueues(f)
		}
	}
	options := []gocmp.Option{
		cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty(),
		gocmp.Comparer(sameLatency),
		cmpopts.IgnoreFields(model.Window{}, "Flows", "Hidden.Flows"),
		// The owners of a slow turn are who was known when its window ended.
		cmpopts.IgnoreFields(model.SlowTurnRow{}, "Client.Owner", "Server.Owner"),
	}
	if diff := gocmp.Diff(want, flows, options...); diff != "" {
		t.Errorf("rows (-long +folded):\n%s", diff)
	}
	if diff := gocmp.Diff(long, folded, options...); diff != "" {
		t.Errorf("windows (-long +folded):\n%s", diff)
	}
	sum := folded.Overflow
	for f := range folded.Flows.All() {
		sum.Add(model.Count{SKBs: f.ToServer.SKBs + f.ToClient.SKBs, Packets: f.ToServer.Packets + f.ToClient.Packets,
			Bytes: f.ToServer.Bytes + f.ToClient.Bytes})
	}
	if sum != folded.Totals || !folded.Device.Agrees {
		t.Errorf("rows and overflow are %+v, totals %+v, device %+v", sum, folded.Totals, *folded.Device)
	}
}

func sorted(flows *model.Flows) []model.Flow {
	rows := flows.Slice()
	slices.SortFunc(rows, func(a, b model.Flow) int {
		return cmp.Or(bytes.Compare(keyBytes(&a), keyBytes(&b)), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.BeganNS, b.BeganNS))
	})
	return rows
}

// merged are the flows, those of one key in one row that has no more than what adds up.
func merged(flows *model.Flows) []model.Flow {
	var rows []model.Flow
	for _, f := range sorted(flows) {
		last := len(rows) - 1
		if last < 0 || rows[last].Key() != f.Key() {
			rows = append(rows, f)
			continue
		}
		sum := model.Flow{Site: f.Site, Proto: f.Proto, Tally: rows[last].Tally}
		sum.Client, sum.Server = rows[last].Client, rows[last].Server
		sum.Client.Owner, sum.Server.Owner = nil, nil
		if f.Client.AddrPort() != sum.Client.AddrPort() {
			f.ToServer, f.ToClient = f.ToClient, f.ToServer
		}
		sum.Add(&f.Tally)
		rows[last] = sum
	}
	return rows
}

// keyBytes orders flows by their ports.
func keyBytes(f *model.Flow) []byte {
	key := f.Key()
	return []byte{byte(key.Port[0] >> 8), byte(key.Port[0]), byte(key.Port[1] >> 8), byte(key.Port[1])}
}

func forgetQueues(f *model.Flow) {
	if f.Health == nil {
		return
	}
	f.Health.Client.ReceiveQueue, f.Health.Server.ReceiveQueue = 0, 0
	if f.Health.IsZero() {
		f.Health = nil
	}
}

// sameLatency is about counts, sums and histograms, and about extremes as far as their bucket.
func sameLatency(a, b model.Latency) bool {
	if a.Count != b.Count || a.Sum != b.Sum {
		return false
	}
	return a.Count == 0 || slices.Equal(a.Histogram, b.Histogram) &&
		model.Bucket(a.Min) == model.Bucket(b.Min) && model.Bucket(a.Max) == model.Bucket(b.Max)
}
