/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long an answer takes, with no protocol parsed: what the client sends until the server speaks is a
 * request, what the server sends until the client speaks again is its answer. A turn is from the last
 * payload of a request to the first of its answer, a response to the answer's last. docs/latency.md
 * says what that means for which kind of traffic. What a side says before the other's last words have
 * reached it crosses them on the way: from the server that is no answer yet, from the client it is a
 * request that did not wait (pipelined, multiplexed), and counted as such.
 *
 * The client's half of struct lt_exchange has one writer, its socket, and so has the server's half: each
 * reads the other's and writes its own. Where no lock makes that true (UDP), sums are atomic.
 */
#ifndef LOTRACE_TURN_BPF_H
#define LOTRACE_TURN_BPF_H

#include "base.bpf.h"
#include "breakdown.bpf.h"
#include "config.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "pool.bpf.h"
#include "sample.bpf.h"
#include "visit.bpf.h"

/* floor(log2(ns)), from LT_HIST_SHIFT on. */
static __always_inline __u32 lt_octave(__u64 ns)
{
	__u64 v = ns >> LT_HIST_SHIFT;
	__u32 octave = 0;

	if (v >> LT_HIST_OCTAVES)
		return LT_HIST_OCTAVES - 1;
	if (v >> 16) {
		octave += 16;
		v >>= 16;
	}
	if (v >> 8) {
		octave += 8;
		v >>= 8;
	}
	if (v >> 4) {
		octave += 4;
		v >>= 4;
	}
	if (v >> 2) {
		octave += 2;
		v >>= 2;
	}
	return octave + (v >> 1);
}

/* A time below or above the range goes to its ends. Guess anew: this octave and one on either side. */
__noinline __u32 lt_bucket(struct lt_latency *l, __u64 ns)
{
	__u32 octave = lt_octave(ns);
	__u32 first = octave ? octave - 1 : 0;

	if (l)
		l->guess1 = 1 + (first < LT_HIST_OCTAVES - 3 ? first : LT_HIST_OCTAVES - 3);
	if (!(ns >> LT_HIST_SHIFT))
		return 0;
	if (ns >> (LT_HIST_SHIFT + LT_HIST_OCTAVES))
		return LT_HIST_BUCKETS - 1;
	return octave * 8 + ((ns >> (octave + LT_HIST_SHIFT - 3)) & 7);
}

/*
 * The octave and the three bits behind it. Most turns of a flow take about as long as those before: three
 * octaves are looked at without a branch, for a wrongly predicted one takes longer than all of this.
 */
static __always_inline __u32 lt_bucket_by_guess(struct lt_latency *l, __u64 ns)
{
	__u64 first = l->guess1 - 1;
	__u64 v = ns >> ((first + LT_HIST_SHIFT - 3) & 63);
	__u64 more;

	if (first >= LT_HIST_OCTAVES || v < 8 || v > 63)
		return lt_bucket(l, ns);
	more = ((15 - v) >> 63) + ((31 - v) >> 63);
	return (first + more) * 8 + ((v >> more) & 7);
}

/* User space takes the smallest last, and with it the rest. */
static __always_inline void lt_note_extremes(struct lt_latency *l, __u64 ns)
{
	__u64 min = READ_ONCE(l->min_ns), range = READ_ONCE(l->range_ns);

	if (ns - min <= range)
		return;
	if (!min) {
		min = ns;
		range = 0;
	} else if (ns < min) {
		range += min - ns;
		min = ns;
	} else {
		range = ns - min;
	}
	WRITE_ONCE(l->range_ns, range);
	WRITE_ONCE(l->min_ns, min);
}

static __always_inline void lt_note_latency(struct lt_latency *l, __u32 *hist, __u64 ns,
					    bool locked)
{
	__u64 bucket = lt_bucket_by_guess(l, ns);
	__u32 *count;

	barrier_var(bucket); /* the check must be on the very register that is added to a pointer */
	if (bucket >= LT_HIST_BUCKETS)
		return;
	count = &hist[bucket];
	if (locked) {
		(*count)++;
		l->sum_ns += ns;
	} else {
		__sync_fetch_and_add(count, 1);
		__sync_fetch_and_add(&l->sum_ns, ns);
	}
	lt_note_extremes(l, ns);
}

/*
 * Give a flow a place for its turns, or LT_NO_PLACE where all are taken. asked_ns: of a first request that
 * went before; 0 if it is being sent.
 */
__noinline int lt_take_exchange(__u32 slot_index, __u64 asked_ns)
{
	struct lt_slot *slot = bpf_map_lookup_elem(&lt_slots, &slot_index);
	struct lt_exchange *t;
	__u32 place;

	if (!slot)
		return 0;
	place = lt_take_place(&pools.exchanges, &lt_exchanges_free, config.max_exchanges);
	t = bpf_map_lookup_elem(&lt_exchanges, &place);
	if (!t)
		return 0;
	if (place) {
		t->asked_ns = asked_ns;
		t->asked = !!asked_ns;
	}
	if (!lt_keep_place(&pools.exchanges, &slot->exchange, place)) {
		t->asked_ns = 0;
		t->asked = 0;
		lt_give_place(&lt_exchanges_free, place);
	}
	return 0;
}

/* Whether a packet left before the other side's payload up to seq had reached its sender; TCP tells. */
static __always_inline bool lt_crosses(const struct lt_packet *p, __u32 seq)
{
	return p->proto == LT_IPPROTO_TCP && (__s32)(p->ack - seq) < 0;
}

/*
 * The client's payload. Stamps of the two sides may come in the other order than their numbers where both
 * speak at once; what would have taken less than no time is none. The number is written last: who sees it
 * asks for the rest.
 */
static __always_inline void lt_ask(struct lt_exchange *t, const struct lt_visit *v)
{
	const struct lt_packet *p = v->p;
	__u32 asked = t->asked;
	bool begins = READ_ONCE(t->answered) == asked;
	__s64 took = READ_ONCE(t->answered_ns) - t->asked_ns;

	if (begins && asked) {
		if (took >= 0)
			lt_note_latency(&t->response, t->response_hist, took, v->locked);
		if (lt_crosses(p, t->answered_seq))
			t->crossed++;
	}
	if (begins && (config.sample & LT_WHY_HEADS))
		lt_note_head(v->news, asked + 1, false, 0, asked && took > 0 ? took : 0);
	WRITE_ONCE(t->asked_ns, v->now);
	WRITE_ONCE(t->asked_seq, p->seq + p->payload_len);
	if (begins)
		WRITE_ONCE(t->asked, asked + 1);
}

/* The server's payload: no answer as long as it crosses the request on the way. */
static __always_inline void lt_answer(struct lt_exchange *t, __u32 place, const struct lt_visit *v)
{
	const struct lt_packet *p = v->p;
	__u32 asked = READ_ONCE(t->asked);
	bool begins = t->answered != asked;
	__u64 asked_ns = READ_ONCE(t->asked_ns);
	__s64 took = v->now - asked_ns;

	if (begins) {
		if (took < 0 || lt_crosses(p, READ_ONCE(t->asked_seq)))
			return;
		lt_note_latency(&t->turn, t->turn_hist, took, v->locked);
		if (config.has_breakdown)
			lt_note_parts(place, asked_ns, v->now, v->locked);
		if (config.slow_ns && took >= config.slow_ns)
			lt_tell_slow(v->index, place, asked_ns, v->now);
		if (config.sample & LT_WHY_HEADS)
			lt_note_head(v->news, asked, true, asked_ns, took);
	}
	WRITE_ONCE(t->answered_ns, v->now);
	WRITE_ONCE(t->answered_seq, p->seq + p->payload_len);
	if (begins)
		WRITE_ONCE(t->answered, asked);
}

/*
 * Whether a flow takes its place with its first answer rather than with its first request: most datagrams
 * have none, and would take the places of those that do. When the request left is in the client's line
 * still; a TCP client's has its acknowledgements too. Parts of a turn must be written down before it ends, and
 * a sample of the request is taken when it is sent.
 */
static __always_inline bool lt_takes_late(const struct lt_packet *p)
{
	return p->proto != LT_IPPROTO_TCP && !config.has_breakdown &&
	       !(config.sample & LT_WHY_HEADS);
}

/* One packet with new payload. */
static __always_inline void lt_follow_turns(const struct lt_visit *v)
{
	struct lt_slot *slot = v->slot;
	/* Both at once, as user space changes them: who takes the other end for the client counts amiss. */
	__u16 told = READ_ONCE(*(const __u16 *)&slot->client);
	__u8 client_side = told, role = told >> 8;
	struct lt_dir *client = &slot->dir[client_side & 1];
	bool asks = (v->side & 1) == client_side, late = lt_takes_late(v->p);
	struct lt_exchange *t;

	if (role == LT_ROLE_NONE)
		return;
	if (!slot->exchange) {
		if (asks == late || (late && !client->payload_bytes))
			return; /* not yet, or the server speaks first: a greeting answers nothing */
		lt_take_exchange(v->index, late ? client->last_ns : 0);
	}
	t = bpf_map_lookup_elem(&lt_exchanges, &slot->exchange);
	if (!t)
		return;
	if (asks)
		lt_ask(t, v);
	else
		lt_answer(t, slot->exchange, v);
}

#endif
