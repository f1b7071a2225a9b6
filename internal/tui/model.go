package tui

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/view"
)

// Options say how the view begins. The zero value is by service, sorted by bytes.
type Options struct {
	By    string // one of Groups
	Sort  string // one of SortFields, reversed behind a "-"
	Color bool   // the terminal's colours; without them only bold, dim and reverse

	// Write puts what is on the screen into a file and says where; it may take its time. nil: there is none.
	Write func(Export) (where string, err error)
}

// Frame is the next window, which must stay as it is until the next Frame was taken.
type Frame struct {
	*model.Window
	Folded int // later windows that are in it, as they came before it was shown
}

// Warning is something that makes the numbers worth less, or the view poorer.
type Warning string

// Ended says that no frame comes any more, and why.
type Ended struct{ Err error }

// mode is what the keys are for.
type mode uint8

const (
	modeRows mode = 1 << iota
	modeDetail
	modeHelp
	modeAsk
	modeFilter
	modeWrite
)

// Model is the view. It is for one goroutine.
type Model struct {
	options       Options
	width, height int
	mode          mode

	group    group
	sort     *column
	reversed bool
	window   time.Duration // one of windows
	filter   *filter.Filter
	input    input

	frozen     bool // the order
	paused     bool // the values
	missed     int  // frames since
	showClosed bool
	warnings   []string
	said       string // in the last line, until the next key
	ended      error

	newest    Frame        // without a window: there is none yet
	flows     *model.Flows // its flows; a copy while paused
	clock     clock
	nodes     map[view.Key]*node
	counts    [kindCgroup + 1]int
	rolls     [kindCgroup + 1]*view.Roll
	begun     [kindCgroup + 1]moment // since which nodes of a kind are kept up
	collected [kindCgroup + 1]uint64 // frame in which they were last
	pass      uint64

	slow []model.SlowTurnRow // newest first

	rows   []row
	cursor *node // nil: the first row, whichever it is
	scroll int   // the first row on the screen
	page   int   // the first line of a detail or help on the screen

	trust     []view.Note // of the newest frame
	named     int         // tenths of a per cent of its flows, those with both owners known
	unmatched int         // flows that the filter left out
	unlisted  int         // flows that there is no row for

	pairs, services []*node // of the newest collection
	all, top        []int32
	ranked          []*node
	scratch         model.Latency
}

// windows are what the keys 1, 2 and 3 choose.
var windows = []time.Duration{time.Second, 10 * time.Second, time.Minute}

// New returns a view without a frame. It fails if o names what there is not.
func New(o Options) (*Model, error) {
	m := &Model{options: o, mode: modeRows, window: windows[0], sort: columns[0]}
	if o.By != "" {
		at := slices.Index(groupNames, o.By)
		if at < 0 {
			return nil, fmt.Errorf("unknown view %q: need one of %s", o.By, strings.Join(groupNames, ", "))
		}
		m.group = group(at)
	}
	if o.Sort != "" {
		if err := m.setSort(o.Sort); err != nil {
			return nil, err
		}
	}
	m.restart()
	return m, nil
}

// Init does nothing: frames come by themselves.
func (m *Model) Init() tea.Cmd { return nil }

// Update takes a message. The commands it returns are Quit, Suspend, SetClipboard and one that calls
// Options.Write.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case Frame:
		m.take(msg)
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.clamp()
	case tea.KeyPressMsg:
		m.said = ""
		return m, m.press(msg)
	case tea.MouseClickMsg:
		m.click(msg.X, msg.Y)
	case tea.MouseWheelMsg:
		m.wheel(msg.Button)
	case tea.PasteMsg:
		if m.mode == modeFilter {
			m.input.insert(msg.Content)
		}
	case Written:
		m.written(msg)
	case Warning:
		m.warnings = append(m.warnings, string(msg))
	case Ended:
		m.ended = msg.Err
		if m.ended == nil {
			m.ended = errors.New("counting ended")
		}
		m.warnings = slices.DeleteFunc(m.warnings, func(w string) bool { return w == m.ended.Error() })
	}
	return m, nil
}

// take shows the next window, unless values are paused.
func (m *Model) take(f Frame) {
	if m.paused {
		m.missed += 1 + f.Folded
		return
	}
	m.newest, m.flows = f, f.Flows
	m.trust, m.named = view.Trust(f.Window), view.Named(f.Flows)
	m.clock.take(f.Window)
	m.rememberSlow(f.Window)
	m.collect()
	m.forget()
	m.arrange(false)
}

// restart forgets what rows did before the newest frame.
func (m *Model) restart() {
	m.clock = clock{}
	m.nodes = make(map[view.Key]*node)
	m.slow = nil
	clear(m.counts[:])
	clear(m.begun[:])
	clear(m.collected[:])
	m.cursor, m.scroll, m.rows = nil, 0, m.rows[:0]
	if m.newest.Window != nil {
		m.clock.take(m.newest.Window)
		m.collect()
		m.arrange(true)
	}
}

// pause keeps the values. The frame is borrowed, so they are copied.
func (m *Model) pause() {
	m.paused, m.missed = !m.paused, 0
	if m.paused && m.newest.Window != nil {
		kept := *m.newest.Window
		kept.Flows = m.flows.Clone()
		m.newest.Window, m.flows = &kept, kept.Flows
	}
}

// setFilter shows what matches from now on: what rows did before was of other flows.
func (m *Model) setFilter(f *filter.Filter) {
	if f.String() == "" {
		f = nil
	}
	m.filter = f
	m.restart()
}

func (m *Model) setGroup(g group) {
	m.group = g
	if !g.sorts(m.sort) {
		m.sort, m.reversed = columns[0], false
	}
	m.cursor, m.scroll = nil, 0
	m.collect()
	m.arrange(true)
}

func (m *Model) sortBy(c *column, reversed bool) {
	m.sort, m.reversed = c, reversed
	m.arrange(true)
}
