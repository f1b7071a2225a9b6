package trace

import (
	"errors"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// showSome tells of turns of 1 ms, 2 ms and so on, and of as many refused connections, which come in between.
func showSome(t *testing.T, s *Selector, n int) {
	t.Helper()
	for i := range n {
		turn := &model.Turn{Took: time.Duration(i+1) * time.Millisecond, Retransmits: uint64(i % 2)}
		if err := s.Show(&model.Traced{Flow: &model.Flow{}, Turn: turn}); err != nil {
			t.Fatal(err)
		}
		conn := &model.ConnEvent{Change: []model.ConnChange{model.ConnRefused, model.ConnOpen}[i%2]}
		if err := s.Show(&model.Traced{Flow: &model.Flow{}, Conn: conn}); err != nil {
			t.Fatal(err)
		}
	}
}

// count makes a selector that only counts, and its gaps.
func count(s Selection) (*Selector, *[]model.TraceGap) {
	var gaps []model.TraceGap
	return NewSelector(s, func(*model.Traced) error { return nil },
		func(g *model.TraceGap) error { gaps = append(gaps, *g); return nil }), &gaps
}

func TestSelection(t *testing.T) {
	tests := []struct {
		name         string
		s            Selection
		turns, conns uint64
	}{
		{"all", Selection{}, 10, 0},
		{"connections too", Selection{Conns: true}, 10, 10},
		{"slow", Selection{Slow: 8 * time.Millisecond}, 3, 0},
		{"errors", Selection{Errors: true}, 5, 5},
		{"slow or wrong", Selection{Slow: 8 * time.Millisecond, Errors: true}, 6, 5},
	}
	for _, test := range tests {
		s, _ := count(test.s)
		showSome(t, s, 10)
		if c := s.Counts; c.ShownTurns != test.turns || c.ShownConns != test.conns || c.Turns != c.ShownTurns || c.Conns != c.ShownConns {
			t.Errorf("%s: %+v, want %d turns, %d conns", test.name, c, test.turns, test.conns)
		}
	}
}

// So many lines a second, and of the rest how much it was: nothing is lost on the way.
func TestLimitPerSecond(t *testing.T) {
	s, gaps := count(Selection{Conns: true, Limit: 5, PerSecond: true})
	now := time.Now()
	for range 3 {
		if err := s.Tick(now); err != nil {
			t.Fatal(err)
		}
		showSome(t, s, 10)
		now = now.Add(time.Second)
	}
	if err := s.Tick(now.Add(-time.Millisecond)); err != nil || len(*gaps) != 2 {
		t.Errorf("%d gaps told within the third second, error %v", len(*gaps), err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	want := model.TraceCounts{Turns: 30, Conns: 30, ShownTurns: 9, ShownConns: 6, LimitedTurns: 21, LimitedConns: 24}
	if s.Counts != want {
		t.Errorf("counts %+v, want %+v", s.Counts, want)
	}
	for i, g := range *gaps {
		if g != (model.TraceGap{Turns: 7, Conns: 8, Longest: 10 * time.Millisecond}) {
			t.Errorf("gap %d: %+v", i, g)
		}
	}
	if len(*gaps) != 3 {
		t.Errorf("%d gaps", len(*gaps))
	}
}

func TestLimitInAll(t *testing.T) {
	s, _ := count(Selection{Limit: 2})
	e := &model.Traced{Flow: &model.Flow{}, Turn: &model.Turn{}}
	if err := s.Show(e); err != nil {
		t.Fatal(err)
	}
	if err := s.Show(e); !errors.Is(err, model.ErrEnough) {
		t.Errorf("after the second: %v", err)
	}
}
