/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Copying packets to user space, those that a policy asks for, as long as there is budget and room. A
 * packet is copied once, whoever asked for it. What the filter rejects never gets here, and where
 * there is no policy nothing does.
 */
#ifndef LOTRACE_SAMPLE_BPF_H
#define LOTRACE_SAMPLE_BPF_H

#include "base.bpf.h"
#include "config.bpf.h"
#include "device.bpf.h"
#include "flow.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "records.h"

/* At once there may be what the budget allows in this time; so any second keeps it within 4 %. */
#define LT_BURST_NS (1000000000 / 32)
#define LT_SECOND_NS 1000000000ULL

#define LT_RINGBUF_HLEN 8 /* BPF_RINGBUF_HDR_SZ */

/* All that becomes known of a packet while it is counted, for its sample. Filled with config.sample only. */
struct lt_news {
	__u64 now; /* 0: nobody has asked for the time yet */
	__u64 asked_ns;
	__u64 took_ns;
	__u32 slot;
	__u32 why;
	__u32 drop; /* enum skb_drop_reason, where the kernel has dropped it */
	__u32 packets; /* on the device */
	__u32 payload; /* that was not sent before */
	__u32 number; /* of the message that begins; 0: none */
	__u8 answer;
	__u8 side; /* of a packet that is in a flow */
	__u8 reason;
	__u8 retransmit;
};

static __always_inline void lt_no_news(struct lt_news *news)
{
	__builtin_memset(news, 0, sizeof(*news));
	news->slot = LT_NO_SLOT;
}

/* A request or an answer begins with this packet. */
static __always_inline void lt_note_head(struct lt_news *news, __u32 number, bool answer,
					 __u64 asked_ns, __u64 took_ns)
{
	news->why = LT_WHY_HEADS;
	news->number = number;
	news->answer = answer;
	news->asked_ns = asked_ns;
	news->took_ns = took_ns;
}

static __always_inline bool lt_has_key(const struct lt_news *news)
{
	return news->reason <= LT_INDEX_RACE;
}

/* True for one in so many of the numbers below 2^32. */
static __always_inline bool lt_is_one_in(__u32 number)
{
	return !((__u64)number * config.sample_one_in >> 32);
}

/*
 * By the key alone, so that all packets of a flow fare alike, in every slot that it has in its life.
 *
 * Not inlined, for the verifier's sake: see lt_find_by_tuple.
 */
__noinline int lt_is_chosen_flow(const struct lt_packet *p)
{
	__u32 hash = config.sample_seed;
	struct lt_key key;

	if (!p)
		return false;
	lt_make_key(&key, p, lt_side(p));
	for (int i = 0; i < sizeof(key) / sizeof(__u32); i++) {
		hash = (hash ^ ((const __u32 *)&key)[i]) * 0x85ebca6b;
		hash = (hash ^ (hash >> 15)) * 0xc2b2ae35;
		hash ^= hash >> 13;
	}
	return lt_is_one_in(hash);
}

/* Not inlined, for the verifier's sake: see lt_find_by_tuple. */
__noinline int lt_is_early(__u32 slot_index)
{
	struct lt_life *life = bpf_map_lookup_elem(&lt_lives, &slot_index);

	return life && READ_ONCE(life->sampled) < config.sample_first &&
	       __sync_fetch_and_add(&life->sampled, 1) < config.sample_first;
}

/* Policies that ask for the packet. Where flags are 0 there is no TCP. */
static __always_inline __u32 lt_why(const struct lt_packet *p, const struct lt_news *news)
{
	const __u8 conns = LT_TCP_SYN | LT_TCP_FIN | LT_TCP_RST;
	__u32 why = news->why | (config.sample & LT_WHY_ALL);

	if ((config.sample & LT_WHY_RANDOM) && lt_is_one_in(bpf_get_prandom_u32()))
		why |= LT_WHY_RANDOM;
	if ((config.sample & LT_WHY_FLOWS) && lt_has_key(news) && lt_is_chosen_flow(p))
		why |= LT_WHY_FLOWS;
	if ((config.sample & LT_WHY_FIRST) && lt_is_early(news->slot))
		why |= LT_WHY_FIRST;
	if ((config.sample & LT_WHY_ERRORS) && (news->retransmit || (p->tcp_flags & LT_TCP_RST)))
		why |= LT_WHY_ERRORS;
	if ((config.sample & LT_WHY_CONNS) && (p->tcp_flags & conns))
		why |= LT_WHY_CONNS;
	return why;
}

/* For per-CPU memory. Atomic because tracepoints may come in between. */
static __always_inline void lt_count_sample(enum lt_sample_result end)
{
	__u32 key = 0;
	struct lt_sample_counts *counts = bpf_map_lookup_elem(&lt_sampled, &key);

	if (counts && end < LT_SAMPLE_RESULTS)
		__sync_fetch_and_add(&counts->by[end], 1);
}

/*
 * Take cost out of a bucket. Instead of what is in it, the time is kept at which all that was taken is
 * paid for: one word, that nobody needs to fill. Large things may go beyond it, and are paid for later.
 */
static __always_inline bool lt_spend(__u64 *paid_ns, __u64 now, __u64 cost)
{
	for (int i = 0; i < 8; i++) {
		__u64 paid = READ_ONCE(*paid_ns);
		__s64 debt = paid - now;

		if (debt > LT_BURST_NS)
			return false;
		if (__sync_val_compare_and_swap(paid_ns, paid, (debt > 0 ? paid : now) + cost) ==
		    paid)
			return true;
	}
	/* Others were faster each time: there is a budget to spend. */
	__sync_fetch_and_add(paid_ns, cost);
	return true;
}

static __always_inline bool lt_can_afford(__u64 now, __u32 len)
{
	if (config.sample_ns && !lt_spend(&budget.samples_ns, now, config.sample_ns))
		return false;
	return !config.sample_bytes ||
	       lt_spend(&budget.bytes_ns, now, len * LT_SECOND_NS / config.sample_bytes);
}

/*
 * Whom to wake for a record of size, or -1 if there is no room for it. User space looks now and then: it is
 * woken only as the ring buffer gets a quarter fuller, and not by each record from then on.
 */
static __always_inline long lt_wake(__u64 size)
{
	__u64 before = bpf_ringbuf_query(&lt_samples, BPF_RB_AVAIL_DATA);
	__u64 after = before + size;
	__u32 quarter = config.sample_ring / 4;

	if (after > config.sample_ring)
		return -1;
	return before / quarter != after / quarter ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* Of the payload there is so far, this packet's has been counted already. */
static __always_inline void lt_describe_message(struct lt_sample *to, const struct lt_slot *slot,
						const struct lt_news *news)
{
	to->number = news->number;
	to->answer = news->answer;
	to->asked_ns = news->asked_ns;
	to->took_ns = news->took_ns;
	for (int i = 0; i < 2; i++)
		to->sent[i] = READ_ONCE(slot->dir[i].payload_bytes) +
			      READ_ONCE(slot->unlocked[i].payload_bytes);
	to->sent[news->side & 1] -= news->payload;
}

static __always_inline void lt_describe_sample(struct lt_sample *to, const struct lt_packet *p,
					       const struct lt_news *news)
{
	struct lt_slot *slot = lt_slot_at(news->slot);

	__builtin_memset(to, 0, sizeof(*to));
	to->header_len = LT_ETH_HLEN;
	to->from = news->side;
	if (slot) {
		to->key = slot->key;
		to->client = slot->client;
		to->header_len += p->header_len;
		if (news->number)
			lt_describe_message(to, slot, news);
	} else if (lt_has_key(news)) {
		to->from = lt_side(p);
		lt_make_key(&to->key, p, to->from);
		to->header_len += p->header_len;
	}
	to->slot = news->slot;
	to->mono_ns = news->now;
	to->why = news->why;
	to->drop = news->drop;
	to->reason = news->reason;
	to->retransmit = news->retransmit;
	to->one_in = news->why & ~(LT_WHY_RANDOM | LT_WHY_FLOWS) ? 1 : config.sample_one_in;
}

/* SCTP is cut where its chunks end, which is not said here. */
static __always_inline __u32 lt_segment_size(const struct __sk_buff *skb,
					     const struct lt_news *news)
{
	return news->packets > 1 && skb->gso_size != LT_GSO_BY_FRAGS ? skb->gso_size : 0;
}

/*
 * How much of len bytes is captured. Old verifiers need to be shown that it is not nothing, and the check must
 * be on the very register that is handed on.
 */
static __always_inline __u32 lt_captured(__u32 len)
{
	__u32 last = len - 1;

	barrier_var(last);
	if (last >= config.sample_snaplen)
		last = config.sample_snaplen - 1;
	return last + 1;
}

/*
 * One packet at the hook, made in the memory of this CPU, where nothing else is at it: hooks run with bottom
 * halves off.
 */
static __always_inline enum lt_sample_result
lt_take(const struct lt_frame *f, const struct lt_packet *p, const struct lt_news *news)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct lt_sample *to = bpf_map_lookup_elem(&lt_scratch, &cpu);
	__u32 len = lt_captured(f->len);
	long wake, err;

	if (!lt_can_afford(news->now, len))
		return LT_SAMPLE_BUDGET;
	wake = lt_wake(LT_RINGBUF_HLEN + sizeof(*to) + len);
	if (wake < 0)
		return LT_SAMPLE_FULL;
	if (!to)
		return LT_SAMPLE_FAILED;
	lt_describe_sample(to, p, news);
	to->len = f->len;
	to->captured = len;
	if (!f->is_xdp)
		to->segment_size = lt_segment_size(f->ctx, news);
	err = f->is_xdp ? bpf_probe_read_kernel(to + 1, len, f->data)
			: bpf_skb_load_bytes(f->ctx, 0, to + 1, len);
	if (err)
		return LT_SAMPLE_FAILED;
	err = bpf_ringbuf_output(&lt_samples, to, sizeof(*to) + len, wake);
	return err ? LT_SAMPLE_FULL : LT_SAMPLE_TAKEN;
}

/*
 * Neither inlined nor static, for the verifier's sake: see lt_walk_skb. Old ones check what nobody calls, too, and
 * must see that without policies nothing is done.
 */
__noinline int lt_take_skb(struct __sk_buff *skb, const struct lt_packet *p,
			   const struct lt_news *news)
{
	struct lt_frame frame = { .ctx = skb, .len = skb->len };

	if (config.sample && p && news)
		lt_count_sample(lt_take(&frame, p, news));
	return 0;
}

__noinline int lt_take_xdp(struct xdp_md *ctx, const struct lt_packet *p,
			   const struct lt_news *news)
{
	struct lt_frame frame = {
		.data = (void *)(long)ctx->data,
		.ctx = ctx,
		.is_xdp = true,
		.len = ctx->data_end - ctx->data,
	};

	if (config.sample && p && news)
		lt_count_sample(lt_take(&frame, p, news));
	return 0;
}

/* One packet, after it has been counted. */
static __always_inline void lt_sample(const struct lt_frame *f, const struct lt_packet *p,
				      const struct lt_wire *wire, enum lt_reason reason,
				      struct lt_news *news)
{
	news->reason = reason;
	news->why = lt_why(p, news);
	if (!news->why)
		return;
	news->packets = wire->packets;
	if (!news->now)
		news->now = bpf_ktime_get_ns();
	if (f->is_xdp)
		lt_take_xdp(f->ctx, p, news);
	else
		lt_take_skb(f->ctx, p, news);
}

#endif
