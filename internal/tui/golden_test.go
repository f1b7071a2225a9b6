package tui

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
)

var update = flag.Bool("update", false, "write the golden screens anew")

// lossy is a second in which all that can go wrong did.
func lossy(n int) *window {
	s := shop(n)
	s.Flows, s.Device = s.Flows[:4], nil
	s.Overflow = model.Count{SKBs: 9, Packets: 12_345, Bytes: 1_234_000}
	s.ByCause = map[string]model.Count{"table_full": {Packets: 12_000, Bytes: 1_200_000}, "not_ip": {Packets: 345, Bytes: 34_000}}
	s = finish(n, *s)
	s.Unmeasured = 3
	all := s.Totals
	all.Add(s.Hidden.Count)
	s.Device = &model.Device{Packets: all.Packets + 1_200, Bytes: all.Bytes - 34, Dropped: 3}
	return s
}

// names are such as nobody expects.
func names() *window {
	flow := func(port uint16, client, server string) model.Flow {
		return model.Flow{
			Proto: model.ProtoTCP, State: "established", RoleSource: model.RoleSYN,
			Client: model.Endpoint{Addr: endpoint("127.0.0.1:1", nil).Addr, Port: port, Owner: process(uint32(port), client, client, "")},
			Server: model.Endpoint{Addr: endpoint("127.0.0.1:1", nil).Addr, Port: 80 + port, Owner: process(uint32(port)+1000, server, server, "")},
			Tally:  model.Tally{ToServer: sent(10, 10_000-uint64(port)), ToClient: sent(10, 10_000)},
		}
	}
	return finish(1, window{Flows: []model.Flow{
		flow(1, "データベース", "データベースサーバー"),
		flow(2, "\x1b[31mred\x1b]0;title\a", "a\nb\tc\r"),
		flow(3, strings.Repeat("long", 75), strings.Repeat("長", 300)),
		flow(4, "e\u0301te\u0301", "\u202eevil"),
		flow(5, "👩‍👩‍👧 family", "🇩🇪 flag"),
		flow(6, "bad \xff\xfe utf8", ""),
	}})
}

func huge() *window {
	s := shop(1)
	s.Flows = s.Flows[:5]
	for i := range s.Flows {
		f := &s.Flows[i]
		f.ToServer = sent(4_000_000_000_000, 5_000_000_000_000_000)
		f.ToClient = sent(9_999, 1<<62)
		f.Turn.Count *= 1e12
		for b := range f.Turn.Histogram {
			f.Turn.Histogram[b] *= 1e12
		}
		f.Health = &model.Health{Refused: 3_000_000_000_000}
	}
	s.Device = nil
	return finish(1, *s)
}

// slow is a second with turns that took long, of which some are known in parts.
func slow(n int) *window {
	s := shop(n)
	s.SlowFrom, s.SlowLost = 20*time.Millisecond, uint64(n-1)
	for i := range 8 {
		f := &s.Flows[3+i%4]
		row := model.SlowTurnRow{
			Time: s.End.Add(-time.Duration(i) * 10 * time.Millisecond), Netns: f.Netns, Proto: f.Proto,
			Client: f.Client, Server: f.Server, Turn: time.Duration(20+i) * time.Millisecond,
		}
		if i%4 == 0 {
			row.Parts = &model.SlowParts{Delivery: 20 * time.Microsecond, Wait: 900 * time.Microsecond, Think: row.Turn - 920*time.Microsecond}
		}
		s.Slow = append(s.Slow, row)
	}
	return s
}

func idle() []*window {
	return []*window{finish(1, window{}), finish(2, window{})}
}

// unmatched is a window on whose flows the filter of the command line matches nothing.
func unmatched(n int) *window {
	s := finish(n, window{})
	s.Device, s.Origin.Filter = nil, "port:1"
	return s
}

type goldenCase struct {
	name           string
	columns, lines int
	options        Options
	frames         []*window
	keys           []string
	then           []tea.Msg
	styled         bool // the file has the styles, too
}

func goldenCases() []goldenCase {
	return []goldenCase{
		{name: "busy-80x24", columns: 80, lines: 24, frames: shops(20)},
		{name: "busy-120x40", columns: 120, lines: 40, frames: shops(40)},
		{name: "busy-200x60", columns: 200, lines: 60, frames: shops(70)},
		{name: "busy-40x10", columns: 40, lines: 10, frames: shops(3)},
		{name: "open-120x40", columns: 120, lines: 40, frames: shops(20), keys: []string{"right", "down", "down", "down", "down"}},
		{name: "ten-seconds-80x24", columns: 80, lines: 24, frames: shops(20), keys: []string{"2"}},
		{name: "minute-of-three-80x24", columns: 80, lines: 24, frames: shops(3), keys: []string{"3"}},
		{name: "detail-80x24", columns: 80, lines: 24, frames: shops(20), keys: []string{"enter"}},
		{name: "detail-120x40", columns: 120, lines: 40, frames: shops(20), keys: []string{"enter"}},
		{name: "detail-200x60", columns: 200, lines: 60, frames: shops(70), keys: []string{"enter"}},
		{name: "detail-flow-120x40", columns: 120, lines: 40, frames: shops(20), keys: []string{"right", "down", "enter"}},
		{name: "detail-service-80x24", columns: 80, lines: 24, frames: shops(20), keys: []string{"down", "down", "down", "down", "enter"}},
		{name: "detail-troubled-80x24", columns: 80, lines: 24, options: Options{Sort: "errors"}, frames: shops(2), keys: []string{"enter"}},
		{name: "flow-80x24", columns: 80, lines: 24, options: Options{By: "flow"}, frames: shops(3)},
		{name: "flow-closed-120x40", columns: 120, lines: 40, options: Options{By: "flow", Sort: "server"}, frames: append(shops(3), idle()[1], finish(6, window{})), keys: []string{"t"}},
		{name: "pair-80x24", columns: 80, lines: 24, options: Options{By: "pair", Sort: "-p99"}, frames: shops(3)},
		{name: "process-120x40", columns: 120, lines: 40, options: Options{By: "process"}, frames: shops(3)},
		{name: "cgroup-80x24", columns: 80, lines: 24, options: Options{By: "cgroup"}, frames: shops(3)},
		{name: "help-80x24", columns: 80, lines: 24, frames: shops(2), keys: []string{"?"}},
		{name: "help-120x40", columns: 120, lines: 40, frames: shops(2), keys: []string{"?", "pgdown"}},
		{name: "filter-80x24", columns: 80, lines: 24, frames: shops(2), keys: []string{"/", "type:port:6379 or server:statsd", "enter"}},
		{name: "filter-wrong-80x24", columns: 80, lines: 24, frames: shops(2), keys: []string{"/", "type:prot:6379"}},
		{name: "filter-nothing-80x24", columns: 80, lines: 24, frames: shops(2), keys: []string{"/", "type:port:1", "enter"}},
		{name: "reset-80x24", columns: 80, lines: 24, frames: shops(2), keys: []string{"x"}},
		{name: "idle-80x24", columns: 80, lines: 24, frames: idle()},
		{name: "no-match-80x24", columns: 80, lines: 24, frames: []*window{unmatched(1), unmatched(2)}},
		{name: "gone-quiet-80x24", columns: 80, lines: 24, frames: append(shops(2), finish(3, window{}))},
		{name: "first-80x24", columns: 80, lines: 24},
		{name: "lossy-80x24", columns: 80, lines: 24, frames: []*window{lossy(1), lossy(2)}, then: []tea.Msg{Warning("roles are guessed")}},
		{name: "late-80x24", columns: 80, lines: 24, frames: shops(2), then: []tea.Msg{Frame{frame(shop(3)).Window, 4}}},
		{name: "paused-80x24", columns: 80, lines: 24, frames: shops(2), keys: []string{"space", "o"}, then: []tea.Msg{frame(shop(9))}},
		{name: "small-39x9", columns: 39, lines: 9, frames: shops(1)},
		{name: "resized-80x24", columns: 200, lines: 60, frames: shops(3), keys: []string{"end"}, then: []tea.Msg{tea.WindowSizeMsg{Width: 80, Height: 10}}},
		{name: "names-80x24", columns: 80, lines: 24, frames: []*window{names()}},
		{name: "names-detail-80x24", columns: 80, lines: 24, frames: []*window{names()}, keys: []string{"down", "enter"}},
		{name: "names-200x60", columns: 200, lines: 60, frames: []*window{names()}},
		{name: "huge-80x24", columns: 80, lines: 24, frames: []*window{huge()}},
		{name: "colour-80x24", columns: 80, lines: 24, options: Options{Color: true}, frames: []*window{lossy(1), lossy(2)}, keys: []string{"down"}, styled: true},
		{name: "no-colour-80x24", columns: 80, lines: 24, frames: []*window{lossy(1), lossy(2)}, keys: []string{"down"}, styled: true},
		{name: "closed-dim-80x24", columns: 80, lines: 24, options: Options{By: "flow", Color: true}, frames: append(shops(3), idle()[1], finish(6, window{})), keys: []string{"t", "end"}, styled: true},
		{name: "crowd-80x24", columns: 80, lines: 24, frames: []*window{crowd(manyFlows, 200, 20)}},
		{name: "crowd-flow-120x40", columns: 120, lines: 40, options: Options{By: "flow"}, frames: []*window{crowd(manyFlows, 200, 20)}, keys: []string{"end"}},
		{name: "detail-slow-120x40", columns: 120, lines: 40, options: Options{By: "pair"}, frames: []*window{slow(1), slow(2)}, keys: []string{"down", "enter", "end"}},
		{name: "write-80x24", columns: 80, lines: 24, frames: shops(2), keys: []string{"w"}},
		{name: "written-80x24", columns: 80, lines: 24, frames: shops(2), then: []tea.Msg{Written{Where: "/srv/lotrace-20260301-120002.json"}}},
		{name: "ended-80x24", columns: 80, lines: 24, frames: shops(2), then: []tea.Msg{Ended{errors.New("network namespace is gone: counting ended")}}},
	}
}

func (c *goldenCase) view(t testing.TB) *Model {
	m := screenOf(t, c.options, c.columns, c.lines, c.frames, c.keys...)
	for _, msg := range c.then {
		m.Update(msg)
	}
	return m
}

func TestScreens(t *testing.T) {
	for _, c := range goldenCases() {
		t.Run(c.name, func(t *testing.T) {
			m := c.view(t)
			got := text(m)
			if c.styled {
				got = styledText(m)
			}
			path := filepath.Join("testdata", c.name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// styledText is text with the styles, their ESC made visible.
func styledText(m *Model) string { return strings.ReplaceAll(m.View().Content, "\x1b", "␛") + "\n" }

// Sixteen colours, as the terminal's owner chose them, and no background: on light as well as on dark ones
// they can be read. White and black cannot.
func TestColoursSuitAnyBackground(t *testing.T) {
	for _, s := range append(attributes[1:], colours[1:]...) {
		for _, code := range strings.Split(strings.TrimSuffix(strings.TrimPrefix(s, "\x1b["), "m"), ";") {
			if !slices.Contains([]string{"", "1", "2", "7", "31", "32", "33", "35", "36"}, code) {
				t.Errorf("style %q", s)
			}
		}
	}
}

// Whatever there is to show, it is as many lines as the screen has, none too long, and nothing in them
// commands the terminal but our own few styles.
func TestScreensFit(t *testing.T) {
	for _, c := range goldenCases() {
		for _, colour := range []bool{false, true} {
			for _, size := range [][2]int{{c.columns, c.lines}, {40, 10}, {61, 17}, {99, 30}, {3, 2}, {1, 1}} {
				c.options.Color = colour
				m := c.view(t)
				m.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
				lines := strings.Split(m.View().Content, "\n")
				if len(lines) != size[1] {
					t.Errorf("%s at %v: %d lines", c.name, size, len(lines))
				}
				for _, l := range lines {
					if n := ansi.StringWidthWc(l); n > size[0] {
						t.Errorf("%s at %v: %d columns: %q", c.name, size, n, l)
					}
					checkStyles(t, c.name, l, colour)
				}
			}
		}
	}
}

func checkStyles(t *testing.T, name, line string, colour bool) {
	t.Helper()
	allowed := attributes[1:]
	if colour {
		allowed = colours[1:]
	}
	rest := strings.ReplaceAll(line, resetStyle, "")
	for _, s := range allowed {
		if s != "" {
			rest = strings.ReplaceAll(rest, s, "")
		}
	}
	for _, r := range rest {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == '\u202e' || r == '\u200d' {
			t.Errorf("%s: %q gets to the terminal: %q", name, r, line)
			return
		}
	}
}

// The row that the cursor is on is told without colour, and an alarm with it.
func TestStyles(t *testing.T) {
	plain := screenOf(t, Options{}, 80, 24, []*window{lossy(1)}).View().Content
	if strings.Count(plain, "\x1b[7m") != 1 || strings.Contains(plain, "\x1b[31m") || strings.Contains(plain, "\x1b[1;31m") {
		t.Errorf("without colour: %q", plain)
	}
	coloured := screenOf(t, Options{Color: true}, 80, 24, []*window{lossy(1)}).View().Content
	if !strings.Contains(coloured, "\x1b[1;31m✗ not exact") {
		t.Errorf("with colour: %q", coloured)
	}
}

// Rates are over what the frames really took.
func TestTrueDurations(t *testing.T) {
	s := shop(1)
	s.Duration = 4 * time.Second
	m := screenOf(t, Options{}, 120, 24, []*window{s})
	all := s.Flows[0].ToServer.Bytes + s.Flows[1].ToServer.Bytes + s.Flows[2].ToServer.Bytes
	if got, want := perSecond(m.rows[0].shown.toServer, m.rows[0].node), float64(all)/4; got != want {
		t.Errorf("%v bytes a second, want %v", got, want)
	}
	if !strings.Contains(text(m), "4.0 s") {
		t.Errorf("the window's length is not shown:\n%s", text(m))
	}
}
