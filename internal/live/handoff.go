package live

import (
	"sync"

	"github.com/lotrace/lotrace/internal/model"
)

// Handoff hands the windows of a run over to what may be slow, on a goroutine of its own. It has one slot: the run puts
// a window there and goes on, and a window that comes while another one waits is folded with it, so that nothing is
// lost. Rows are copied only then: otherwise the lists that hold them change hands.
type Handoff struct {
	flows int // of a folded window
	ready chan struct{}

	mu      sync.Mutex
	waiting *model.Window // one that came alone; nil: there is none
	folder  *model.Folder // of windows that wait; nil: there are not several
	folded  int           // beside the first of them
	taken   *model.Flows  // the list of the window that was taken last; nil: it has none of ours
	spare   *model.Flows  // a list that nobody reads any more; nil: there is none
}

// NewHandoff returns a Handoff without a window. Those that were folded keep at least so many flows, if there are that
// many, and twice as many at most; model.Folder.Bound says what becomes of the rest.
func NewHandoff(flows int) *Handoff {
	return &Handoff{flows: flows, ready: make(chan struct{}, 1)}
}

// Sinks are those of a run whose windows are handed over. They never wait for whoever takes them.
func (h *Handoff) Sinks() Sinks { return Sinks{Window: h.put, Rows: h.list} }

// Ready has a value when a window may wait that was not taken yet.
func (h *Handoff) Ready() <-chan struct{} { return h.ready }

// Take returns the window that waits, and how many were folded into it beside the first; nil: none waits. The window
// is the caller's until Take returns the next one. It is for one goroutine.
func (h *Handoff) Take() (w *model.Window, folded int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting == nil && h.folder == nil {
		return nil, 0
	}
	h.giveBack(h.taken)
	w, folded, h.taken = h.waiting, h.folded, nil
	if h.folder != nil {
		w = h.folder.Window()
	} else {
		h.taken = w.Flows
	}
	h.waiting, h.folder, h.folded = nil, nil, 0
	return w, folded
}

// list returns one for the rows of the next window.
func (h *Handoff) list() *model.Flows {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.spare
	h.spare = nil
	if list == nil {
		list = new(model.Flows)
	}
	return list
}

// put takes over the list of a window's rows, which came from list.
func (h *Handoff) put(w *model.Window) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting == nil && h.folder == nil {
		own := *w
		h.waiting = &own
	} else {
		h.fold(w)
	}
	select {
	case h.ready <- struct{}{}:
	default: // it was said, and nobody has heard it yet
	}
	return nil
}

// fold adds a window to what waits.
func (h *Handoff) fold(w *model.Window) {
	if h.folder == nil {
		h.folder = new(model.Folder)
		h.folder.Add(h.waiting)
		h.giveBack(h.waiting.Flows)
		h.waiting = nil
	}
	h.folder.Add(w)
	h.folder.Bound(h.flows)
	h.giveBack(w.Flows)
	h.folded++
}

// giveBack keeps a list that nobody reads any more for a window to come; nil is none.
func (h *Handoff) giveBack(list *model.Flows) {
	if list == nil {
		return
	}
	if Poison {
		list.Spoil()
	}
	h.spare = list
}
