package model

import (
	"cmp"
	"slices"
	"time"
)

// SlowTurnRow is one turn that took longer than was asked for.
type SlowTurnRow struct {
	Time   time.Time // when its request had left; the window's end if that is unknown
	Site   uint32    // as in Flow
	Netns  uint32
	Proto  Proto
	Client Endpoint
	Server Endpoint
	Turn   time.Duration
	Parts  *SlowParts // nil: unknown
}

// SlowKept is how many slow turns of a window are kept: so many of the newest and, beside them, so many of
// the longest.
const SlowKept = 256

// KeepSlow returns the turns that are kept of these, the newest last, and how many are not. Turn says how long one
// of them took. What is kept lies in the memory of turns, its newest at the end as before.
func KeepSlow[T any](turns []T, turn func(*T) time.Duration) (kept []T, lost uint64) {
	older := len(turns) - SlowKept
	if older <= SlowKept {
		return turns, 0
	}
	slices.SortStableFunc(turns[:older], func(a, b T) int { return cmp.Compare(turn(&b), turn(&a)) })
	return slices.Delete(turns, SlowKept, older), uint64(older - SlowKept)
}

// SortSlow puts the newest turns first.
func SortSlow(turns []SlowTurnRow) {
	slices.SortStableFunc(turns, func(a, b SlowTurnRow) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.Turn, a.Turn))
	})
}
