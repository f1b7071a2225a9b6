/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where the time of a turn went: until the request was at the server's socket, until its process read
 * it, until it answered. receive.bpf.h leaves the stamps; here, as an answer begins, they are held
 * against the turn. Stamps that do not lie within it are another's: then its parts are unknown, and it
 * is in none of the sums.
 */
#ifndef LOTRACE_BREAKDOWN_BPF_H
#define LOTRACE_BREAKDOWN_BPF_H

#include "base.bpf.h"
#include "config.bpf.h"
#include "maps.bpf.h"
#include "records.h"

/* The parts of one turn, which is their sum. */
struct lt_parts {
	__u64 delivery_ns;
	__u64 wait_ns;
	__u64 think_ns;
	bool delivered; /* the arrival was seen; if not, it is part of wait */
};

static __always_inline bool lt_split(const struct lt_breakdown *b, __u64 asked_ns, __u64 now,
				     struct lt_parts *parts)
{
	__u64 arrived_ns = READ_ONCE(b->arrived_ns);
	__u64 read_ns = READ_ONCE(b->read_ns);

	if (read_ns < asked_ns || read_ns > now)
		return false;
	parts->delivered = arrived_ns >= asked_ns && arrived_ns <= read_ns;
	if (!parts->delivered)
		arrived_ns = asked_ns;
	parts->delivery_ns = arrived_ns - asked_ns;
	parts->wait_ns = read_ns - arrived_ns;
	parts->think_ns = now - read_ns;
	return true;
}

/*
 * An answer begins, to what was asked at asked_ns.
 *
 * Not inlined, for the verifier's sake: see lt_find_by_tuple.
 */
__noinline int lt_note_parts(__u32 place, __u64 asked_ns, __u64 now, __u32 locked)
{
	struct lt_breakdown *b = bpf_map_lookup_elem(&lt_breakdowns, &place);
	struct lt_parts parts;

	if (!b)
		return 0;
	WRITE_ONCE(b->answer_ns, now);
	if (!lt_split(b, asked_ns, now, &parts))
		return 0;
	if (locked) {
		b->delivery_ns += parts.delivery_ns;
		b->wait_ns += parts.wait_ns;
		b->think_ns += parts.think_ns;
		b->turns++;
		b->delivered += parts.delivered;
	} else {
		__sync_fetch_and_add(&b->delivery_ns, parts.delivery_ns);
		__sync_fetch_and_add(&b->wait_ns, parts.wait_ns);
		__sync_fetch_and_add(&b->think_ns, parts.think_ns);
		__sync_fetch_and_add(&b->turns, 1);
		__sync_fetch_and_add(&b->delivered, parts.delivered);
	}
	return 0;
}

/* Tell of one turn. Nobody is woken: user space looks whenever it takes a reading. */
__noinline int lt_tell_slow(__u32 slot_index, __u32 place, __u64 asked_ns, __u64 now)
{
	struct lt_breakdown *b = NULL;
	struct lt_slot *slot = bpf_map_lookup_elem(&lt_slots, &slot_index);
	struct lt_parts parts = {};
	struct lt_slow *slow;

	if (config.has_breakdown)
		b = bpf_map_lookup_elem(&lt_breakdowns, &place);
	if (!slot)
		return 0;
	slow = bpf_ringbuf_reserve(&lt_slow_turns, sizeof(*slow), 0);
	if (!slow) {
		__sync_fetch_and_add(&pools.slow_lost, 1);
		return 0;
	}
	__builtin_memset(slow, 0, sizeof(*slow));
	slow->key = slot->key;
	slow->slot = slot_index;
	slow->client = slot->client;
	slow->has_breakdown = b && lt_split(b, asked_ns, now, &parts);
	slow->asked_ns = asked_ns;
	slow->turn_ns = now - asked_ns;
	slow->delivery_ns = parts.delivery_ns;
	slow->wait_ns = parts.wait_ns;
	slow->think_ns = parts.think_ns;
	bpf_ringbuf_submit(slow, BPF_RB_NO_WAKEUP);
	return 0;
}

/*
 * A UDP server that hears many clients through one socket: what it read is not known by flow, only when.
 * If it has read once since this client asked, that was the request. If it has read more often, any of
 * it may have been.
 */
__noinline int lt_recall_read(struct __sk_buff *ctx, __u32 slot_index, __u32 side)
{
	struct lt_slot *slot = bpf_map_lookup_elem(&lt_slots, &slot_index);
	__u32 place = slot ? slot->exchange : LT_NO_PLACE;
	struct lt_exchange *t = bpf_map_lookup_elem(&lt_exchanges, &place);
	struct lt_breakdown *b = bpf_map_lookup_elem(&lt_breakdowns, &place);
	struct bpf_sock *sk = ctx->sk;
	bool first, second;
	struct lt_sock *at;
	__u64 asked_ns;

	if (!slot || !t || !b || !sk || side == slot->client ||
	    (t->answered && t->asked_seq == t->of_seq))
		return 0;
	at = bpf_sk_storage_get(&lt_socks, sk, NULL, 0);
	if (!at)
		return 0;
	asked_ns = READ_ONCE(t->asked_ns);
	first = READ_ONCE(at->read_ns[0]) >= asked_ns;
	second = READ_ONCE(at->read_ns[1]) >= asked_ns;
	if (first != second)
		WRITE_ONCE(b->read_ns, first ? at->read_ns[0] : at->read_ns[1]);
	return 0;
}

#endif
