//go:build real

package real

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"text/tabwriter"
)

// isOneOf reports whether an owner is one of these clients, and named like it.
func (k *clients) isOneOf(e *endpoint, pids []int) bool {
	return e.PID != nil && slices.Contains(pids, *e.PID) && e.named(k.names[*e.PID])
}

// isOneOf reports whether an owner is one of these servers, and named like its service.
func (s *servers) isOneOf(e *endpoint, pids []int) bool {
	return e.PID != nil && slices.Contains(pids, *e.PID) && e.named(s.names[e.Port])
}

// verdict is what all windows together say of one connection.
type verdict struct {
	pair   string // as it should be called
	known  bool   // both owners, in the last window
	missed bool   // an owner was not known, though its end had sent something
	wrong  bool   // an owner, in any window
}

// bothKnown allows for a window that ends before a server has taken up a connection.
func (v verdict) bothKnown() bool { return v.known && !v.missed }

type verdicts map[conn]verdict

// compare judges every connection of which there is a row.
func compare(t *testing.T, windows []window, k *clients, s *servers) verdicts {
	t.Helper()
	found := verdicts{}
	for i, w := range windows {
		for _, r := range w.Rows {
			c := r.conn()
			clients, servers := k.of(c, len(s.accepted[c])), s.of(c)
			if r.Proto != "tcp" || len(clients) == 0 || len(servers) == 0 {
				t.Errorf("window %d: no such connection: %s %v, %v, %v", i, r.Proto, c, &r.Client, &r.Server)
				continue
			}
			v := found[c]
			v.pair = k.names[clients[0]] + " → " + s.names[c.server.Port()]
			v.known = r.Client.known() && r.Server.known()
			v.missed = v.missed || !r.Client.known() && r.ToServer.Payload > 0 || !r.Server.known() && r.ToClient.Payload > 0
			// Before a server has taken up a connection, it is the listener's.
			waits := r.ToClient.Payload == 0 && r.Server.known() && *r.Server.Source == "scan"
			if r.Client.known() && !k.isOneOf(&r.Client, clients) ||
				r.Server.known() && !waits && !s.isOneOf(&r.Server, servers) {
				t.Errorf("window %d: %v: %v, %v, but it was %s, %d, %d", i, c, &r.Client, &r.Server, v.pair, clients, servers)
				v.wrong = true
			}
			found[c] = v
		}
	}
	missing, example := 0, conn{}
	for c := range s.accepted {
		if _, ok := found[c]; !ok {
			missing++
			example = c
		}
	}
	if missing > 0 {
		t.Errorf("%d connections have no row, such as %v", missing, example)
	}
	return found
}

// check holds the verdicts against what lotrace promises; of connections that are older than lotrace
// it has to know every one.
func (found verdicts) check(t *testing.T, older []conn) {
	t.Helper()
	sums := found.sums()
	for pair, least := range wantPairs {
		if got := sums[pair].connections; got < least {
			t.Errorf("%s: %d connections, want at least %d", pair, got, least)
		}
	}
	for _, c := range older {
		if !found[c].bothKnown() {
			t.Errorf("%v (%s) is older than lotrace, and its owners are not known", c, found[c].pair)
		}
	}
	both := 0
	for c, v := range found {
		if v.bothKnown() {
			both++
		} else {
			t.Logf("%v (%s): an owner is not known", c, v.pair)
		}
	}
	if both*1000 < len(found)*999 {
		t.Errorf("both owners are known of %d in %d connections, want 999 in 1000", both, len(found))
	}
}

// sum is all connections of a pair.
type sum struct{ connections, known, wrong int }

func (found verdicts) sums() map[string]sum {
	sums := map[string]sum{}
	for _, v := range found {
		s := sums[v.pair]
		s.connections++
		if v.bothKnown() {
			s.known++
		}
		if v.wrong {
			s.wrong++
		}
		sums[v.pair] = s
	}
	return sums
}

func (found verdicts) print(w io.Writer, windows int) {
	sums := found.sums()
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "connections\tboth known\twrong\t  pair")
	for _, pair := range slices.Sorted(maps.Keys(sums)) {
		s := sums[pair]
		fmt.Fprintf(table, "%d\t%d\t%d\t  %s\n", s.connections, s.known, s.wrong, pair)
	}
	fmt.Fprintf(table, "\nin %d windows\n", windows)
	table.Flush()
}

// comparePairs checks that the view for people has the pairs that they expect, and no others.
func comparePairs(t *testing.T, windows []window, k *clients, s *servers) {
	t.Helper()
	seen := map[string]bool{}
	for i, w := range windows {
		for _, r := range w.Rows {
			if !r.Server.known() && r.ToClient.Payload == 0 {
				continue // goes by its port until the server takes it up
			}
			seen[r.Pair] = true
			var client string
			if r.Client.PID != nil {
				client = k.names[*r.Client.PID]
			}
			server := s.names[r.Server.Port]
			// Several processes of one service have a name in common, but no PID.
			serves := r.Server.PID == nil || s.serves(*r.Server.PID, r.Server.Port)
			if r.Pair != client+" → "+server || !r.Client.named(client) || !r.Server.named(server) || !serves {
				t.Errorf("window %d: pair %q of %v, %v", i, r.Pair, &r.Client, &r.Server)
			}
		}
	}
	for pair := range wantPairs {
		if !seen[pair] {
			t.Errorf("no pair %s", pair)
		}
	}
}
