package trace

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// Selection says what of all that happens is shown. The zero value shows all turns.
type Selection struct {
	Slow   time.Duration // turns of so much and more
	Errors bool          // what went wrong; with Slow, that as well
	Conns  bool          // what happens to connections as well

	Limit     int  // 0: none
	PerSecond bool // Limit is that of a second, otherwise of all
}

// Selector applies a Selection. It is for one goroutine.
type Selector struct {
	Selection
	Counts model.TraceCounts
	show   func(*model.Traced) error
	rest   func(*model.TraceGap) error

	second time.Time // the beginning of the one that is under way
	shown  int       // in it, or in all
	left   model.TraceGap
}

// NewSelector returns one that hands what is to be seen on to show, and to rest, once a second, what was
// left out.
func NewSelector(s Selection, show func(*model.Traced) error, rest func(*model.TraceGap) error) *Selector {
	return &Selector{Selection: s, show: show, rest: rest}
}

// Show takes what happened. It returns model.ErrEnough when that was the last to be shown.
func (s *Selector) Show(e *model.Traced) error {
	if !s.wants(e) {
		return nil
	}
	all, shown, limited := &s.Counts.Turns, &s.Counts.ShownTurns, &s.Counts.LimitedTurns
	if e.Conn != nil {
		all, shown, limited = &s.Counts.Conns, &s.Counts.ShownConns, &s.Counts.LimitedConns
	}
	*all++
	if s.Limit > 0 && s.shown >= s.Limit {
		*limited++
		s.leave(e)
		return nil
	}
	*shown++
	s.shown++
	if err := s.show(e); err != nil {
		return err
	}
	if s.Limit > 0 && !s.PerSecond && s.shown == s.Limit {
		return model.ErrEnough
	}
	return nil
}

func (s *Selector) leave(e *model.Traced) {
	if e.Conn != nil {
		s.left.Conns++
		return
	}
	s.left.Turns++
	s.left.Longest = max(s.left.Longest, e.Turn.Took)
}

// Tick tells the time, at which another second may begin.
func (s *Selector) Tick(now time.Time) error {
	if now.Sub(s.second) < time.Second {
		return nil
	}
	s.second = now
	if s.PerSecond {
		s.shown = 0
	}
	return s.Flush()
}

// Flush shows what was left out and not shown yet.
func (s *Selector) Flush() error {
	left := s.left
	s.left = model.TraceGap{}
	if left.Turns+left.Conns == 0 {
		return nil
	}
	return s.rest(&left)
}

func (s *Selector) wants(e *model.Traced) bool {
	if c := e.Conn; c != nil {
		return s.Conns || s.Errors && (c.Change == model.ConnRefused || c.Change == model.ConnReset)
	}
	t := e.Turn
	if s.Slow == 0 && !s.Errors {
		return true
	}
	return s.Slow > 0 && t.Took >= s.Slow || s.Errors && t.Retransmits+t.Drops > 0
}
