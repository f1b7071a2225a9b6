/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long an answer takes, with no protocol parsed: what the client sends until the server speaks is a
 * request, what the server sends until the client speaks again is its answer. A turn is from the last
 * payload of a request to the first of its answer, a response to the answer's last. docs/latency.md
 * says what that means for which kind of traffic. What a side says before the other's last words have
 * reached it crosses them on the way: from the server that is no answer yet, from the client it is a
 * request that did not wait (pipelined, multiplexed), and counted as such.
 *
 * Word goes one way: the client's socket leaves when it asked and what it had heard by then, and reads nothing of the
 * server's. The server's finds out all else as its next answer begins. Each line of struct lt_exchange has one writer,
 * its socket; where no lock makes that true (UDP), sums are atomic.
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
 * octaves are looked at without a branch, for a wrongly predicted one takes longer than all of this. The compiler
 * is not to see that the differences are compared with 0, or it makes branches of them.
 */
static __always_inline __u32 lt_bucket_by_guess(struct lt_latency *l, __u64 ns)
{
	__u64 first = l->guess1 - 1;
	__u64 v = ns >> ((first + LT_HIST_SHIFT - 3) & 63);
	__u64 second = 15 - v, third = 31 - v, more;

	if (unlikely(first >= LT_HIST_OCTAVES || v - 8 > 63 - 8))
		return lt_bucket(l, ns);
	barrier_var(second);
	barrier_var(third);
	more = (second >> 63) + (third >> 63);
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

/* Add n latencies to a bucket and ns to their sum. */
static __always_inline void lt_add_latency(struct lt_latency *l, __u32 *bucket, __s32 n, __u64 ns,
					   bool locked)
{
	if (locked) {
		*bucket += n;
		l->sum_ns += ns;
	} else {
		__sync_fetch_and_add(bucket, n);
		__sync_fetch_and_add(&l->sum_ns, ns);
	}
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
		t->asked_seq = !!asked_ns;
	}
	if (!lt_keep_place(&pools.exchanges, &slot->exchange, place)) {
		t->asked_ns = 0;
		t->asked_seq = 0;
		lt_give_place(&lt_exchanges_free, place);
	}
	__sync_fetch_and_or(&slot->state, LT_SLOT_ASKED); /* its sockets look again */
	return 0;
}

/* The new payload of one packet, as far as turns go by it. */
struct lt_said {
	__u64 now;
	__u32 end; /* TCP: the sequence number behind it */
	__u32 ack; /* TCP: what its sender had heard */
	bool is_tcp;
	bool locked;
};

/* Whether the other side had said something by seq that whoever acknowledged ack had not heard. */
static __always_inline bool lt_crosses(__u32 ack, __u32 seq)
{
	return (__s32)(ack - seq) < 0;
}

/* Whether there is a request without an answer. */
static __always_inline bool lt_is_asked(const struct lt_exchange *t, __u32 asked_seq,
					__u64 asked_ns)
{
	return asked_ns && (asked_seq != t->of_seq || !t->answered);
}

/*
 * The client's payload. Of a request in several packets it is enough to know the newest two that had heard unlike
 * much. The number is written last: who sees it asks for the rest.
 */
static __always_inline void lt_ask(struct lt_exchange *t, const struct lt_said *said)
{
	__u32 number = said->end;

	if (!said->is_tcp) {
		number = t->asked_seq + 1;
	} else if (t->asked_ack != said->ack) {
		t->before_ns = t->asked_ns;
		t->before_ack = t->asked_ack;
		t->asked_ack = said->ack;
	}
	WRITE_ONCE(t->asked_ns, said->now);
	WRITE_ONCE(t->asked_seq, number);
}

/*
 * Whether the request that is answered now did not wait for all of the answer before: of its payload some left after
 * that had begun, and before all of it had come.
 */
static __always_inline bool lt_has_crossed(const struct lt_exchange *t)
{
	return lt_crosses(t->asked_ack, t->answered_seq) ||
	       (t->before_ns > t->began_ns && lt_crosses(t->before_ack, t->answered_seq));
}

/*
 * The newest answer has a second packet: its turn is not its response.
 *
 * Not inlined, as what is seldom done is not to take registers from what is done always.
 */
static __noinline void lt_take_turn_back(struct lt_exchange *t, __u32 locked)
{
	__u32 several = t->several, answered = t->answered, bucket = t->bucket;

	if (several == answered || bucket >= LT_HIST_BUCKETS ||
	    __sync_val_compare_and_swap(&t->several, several, answered) != several)
		return;
	lt_add_latency(&t->response, &t->response_hist[bucket], -1, t->of_ns - t->began_ns, locked);
	WRITE_ONCE(t->taken, answered);
}

/* How long the newest answer took; less than no time may be where several CPUs answer. */
static __always_inline __u64 lt_response(const struct lt_exchange *t)
{
	return t->answered_ns > t->of_ns ? t->answered_ns - t->of_ns : 0;
}

/* An answer of several packets is complete. Not inlined: see lt_take_turn_back. */
static __noinline void lt_count_response(struct lt_exchange *t, __u32 locked)
{
	__u64 ns = lt_response(t), bucket = lt_bucket_by_guess(&t->response, ns);

	barrier_var(bucket); /* the check must be on the very register that is added to a pointer */
	if (bucket < LT_HIST_BUCKETS)
		lt_add_latency(&t->response, &t->response_hist[bucket], 1, ns, locked);
}

/* As an answer begins, the one before it is known to its end. */
static __always_inline void lt_end_answer(struct lt_exchange *t, const struct lt_said *said)
{
	__u32 answered = t->answered;

	if (unlikely(!answered))
		return;
	if (unlikely(t->several == answered))
		lt_count_response(t, said->locked);
	if (likely(READ_ONCE(t->told) != t->answered))
		lt_note_extremes(&t->response,
				 said->locked ? t->answered_ns - t->of_ns : lt_response(t));
	if (said->is_tcp && unlikely(lt_has_crossed(t)))
		t->crossed++;
}

/* An answer begins, to what was asked at asked_ns. Its number is written first and last. */
static __always_inline void lt_begin_answer(struct lt_exchange *t, const struct lt_said *said,
					    __u64 asked_ns, __u32 asked_seq)
{
	__u64 took = said->now - asked_ns, bucket;

	WRITE_ONCE(t->begun, t->answered + 1);
	t->of_seq = asked_seq;
	lt_end_answer(t, said);
	bucket = lt_bucket_by_guess(&t->turn, took);
	barrier_var(bucket); /* the check must be on the very register that is added to a pointer */
	t->bucket = bucket;
	if (bucket < LT_HIST_BUCKETS)
		lt_add_latency(&t->turn, &t->turn_hist[bucket], 1, took, said->locked);
	lt_note_extremes(&t->turn, took);
	t->of_ns = asked_ns;
	t->began_ns = said->now;
	WRITE_ONCE(t->answered_ns, said->now);
	WRITE_ONCE(t->answered, READ_ONCE(t->begun));
}

/* More of the newest answer, or its first packet. */
static __always_inline void lt_go_on(struct lt_exchange *t, const struct lt_said *said)
{
	t->answered_seq = said->end;
	if (t->began_ns == said->now || READ_ONCE(t->told) == t->answered)
		return;
	if (t->several != t->answered)
		lt_take_turn_back(t, said->locked);
	WRITE_ONCE(t->answered_ns, said->now);
}

/*
 * Tell of an answer that begins in more than sums, to who asked for that.
 *
 * Not inlined, for the verifier's sake: see lt_find_by_tuple.
 */
__noinline int lt_tell_answer(__u32 slot_index, __u64 asked_ns, __u64 now, __u32 locked)
{
	struct lt_slot *slot = bpf_map_lookup_elem(&lt_slots, &slot_index);

	if (!slot)
		return 0;
	if (config.has_breakdown)
		lt_note_parts(slot->exchange, asked_ns, now, locked);
	if (config.slow_ns && now - asked_ns >= config.slow_ns)
		lt_tell_slow(slot_index, slot->exchange, asked_ns, now);
	return 0;
}

/*
 * The server's payload: no answer as long as it crosses the request on the way. While nothing has come since it
 * last spoke, it goes on with its answer, and need not look at what the client has said. Stamps of the two sides may
 * come in the other order than what they stand for where both speak at once; what would have taken less than no time is
 * none.
 */
static __always_inline void lt_answer(struct lt_exchange *t, const struct lt_visit *v,
				      const struct lt_said *said)
{
	__u64 asked_ns;
	__u32 asked_seq;

	if (said->is_tcp && t->answered && t->answered_ack == said->ack) {
		lt_go_on(t, said);
		return;
	}
	asked_ns = READ_ONCE(t->asked_ns);
	asked_seq = READ_ONCE(t->asked_seq);
	if (lt_is_asked(t, asked_seq, asked_ns)) {
		if (said->now < asked_ns || (said->is_tcp && lt_crosses(said->ack, asked_seq)))
			return;
		if (config.has_breakdown || config.slow_ns)
			lt_tell_answer(v->index, asked_ns, said->now, said->locked);
		if (config.sample & LT_WHY_HEADS)
			lt_note_head(v->news, t->answered + 1, true, asked_ns,
				     said->now - asked_ns);
		lt_begin_answer(t, said, asked_ns, asked_seq);
	}
	t->answered_ack = said->ack;
	lt_go_on(t, said);
}

/* A request begins: its sample has the response before. */
static __always_inline void lt_note_request(const struct lt_exchange *t, const struct lt_visit *v)
{
	__u32 answered = READ_ONCE(t->answered);
	__s64 took = READ_ONCE(t->answered_ns) - READ_ONCE(t->of_ns);

	if (!lt_is_asked(t, t->asked_seq, t->asked_ns))
		lt_note_head(v->news, answered + 1, false, 0, answered && took > 0 ? took : 0);
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
	struct lt_said said = {
		.now = v->now,
		.end = v->p->seq + v->p->payload_len,
		.ack = v->p->ack,
		.is_tcp = v->p->proto == LT_IPPROTO_TCP,
		.locked = v->locked,
	};
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
	if (asks && (config.sample & LT_WHY_HEADS))
		lt_note_request(t, v);
	if (asks)
		lt_ask(t, &said);
	else
		lt_answer(t, v, &said);
}

#endif
