//go:build real

// Package real has lotrace watch services that people run, driven by their own clients. The services
// log which of their processes served which connection, and the clients say how long they waited; that is
// what lotrace is held against.
// `make test-real` runs it, in namespaces of its own.
package real

import (
	"maps"
	"os"
	"slices"
	"testing"
)

// rounds is how often each of the clients that ask once asks.
const rounds = 15

// wantPairs are the names that people expect, and how many connections of each there are at least;
// a few have the ports of an earlier one.
var wantPairs = map[string]int{
	"redis-benchmark → redis-server": 990,
	"redis-cli → redis-server":       rounds,
	"visits → redis-server":          100,
	"wrk → nginx":                    16,
	"ab → nginx":                     990,
	"curl → nginx":                   2*rounds - 2,
	"ab → visits":                    490,
	"curl → visits":                  rounds - 2,
	"pgbench → postgres":             80,
	"psql → postgres":                rounds,
}

func needNamespaces(t *testing.T) {
	t.Helper()
	if os.Getpid() != 1 {
		t.Fatal("needs namespaces of its own: run test/real/run")
	}
}

func TestServices(t *testing.T) {
	needNamespaces(t)
	redis := startRedis(t, 6379)
	shared := startNginx(t, 8080, "")
	own := startNginx(t, 8081, "reuseport")
	postgres := startPostgres(t, 5432)
	visits := startVisits(t, 8000, redis)

	k := newClients()
	cli := k.openRedis(t, redis, loopbacks[0])
	sql, backend := k.openPostgres(t, postgres, loopbacks[0])
	older := append(slices.Collect(maps.Keys(dialedBy(t, visits, redis))), cli.conn, sql.conn)

	flows, pairs := startLotrace(t, "flow", "--watch", "1s"), startLotrace(t, "pair", "--watch", "1s")
	loads := startLoads(t, k, redis, shared, own, postgres, visits)
	for i := range rounds {
		addr := loopbacks[i%len(loopbacks)]
		for _, web := range []*service{shared, own, visits} {
			k.curl(t, web.at(addr))
		}
		k.openRedis(t, redis, addr).end(t)
		s, _ := k.openPostgres(t, postgres, addr)
		s.end(t)
		cli.ask(t)
		sql.ask(t)
	}
	for _, load := range loads {
		load.end(t)
	}
	cli.end(t)
	sql.end(t)
	flowWindows, pairWindows := flows.windows(t), pairs.windows(t)

	k.claimAll(t, visits, redis)
	s := stopAll(t, visits, shared, own, redis, postgres)
	if !slices.Contains(s.accepted[sql.conn], backend) {
		t.Fatalf("PostgreSQL logs %d for %v, and says %d", s.accepted[sql.conn], sql.conn, backend)
	}
	found := compare(t, flowWindows, k, s)
	found.check(t, older)
	comparePairs(t, pairWindows, k, s)
	found.print(os.Stdout, len(flowWindows))
}
