// Package suggest finds the word somebody probably meant.
package suggest

import "strings"

// Nearest returns the known word nearest to word, or "" when none is near enough to be worth
// saying: about one slip of the finger in three letters, or an unfinished word. Case does not
// count. Of equally near words the first one wins.
func Nearest(word string, known []string) string {
	best, bestDist := "", 0
	for _, k := range known {
		d, ok := near(strings.ToLower(word), strings.ToLower(k))
		if ok && (best == "" || d < bestDist) {
			best, bestDist = k, d
		}
	}
	return best
}

func near(word, known string) (dist int, ok bool) {
	a, b := []rune(word), []rune(known)
	limit := (max(len(a), len(b)) + 1) / 3
	unfinished := len(a) >= 2 && strings.HasPrefix(known, word)
	if !unfinished && max(len(a)-len(b), len(b)-len(a)) > limit {
		return 0, false
	}
	dist = distance(a, b)
	return dist, unfinished || dist <= limit
}

// distance counts the letters to insert, drop or replace, and the neighbours to swap, between a
// and b (optimal string alignment). Plain Levenshtein calls a swap two slips, which puts "tpc" as
// far from "tcp" as from "icmp".
func distance(a, b []rune) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range cur {
		cur[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, cur = prev, cur, before
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
	}
	return cur[len(b)]
}
