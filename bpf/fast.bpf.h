/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The short way, for what most packets are: sent by a TCP socket under its lock, on a flow that it has sent on before, the
 * next in sequence, and with nothing about it that is new or wrong. Such a packet is held against what the socket
 * remembers of the one before (struct lt_sock), byte for byte; so nothing is parsed, and no key is made. What is
 * done then is what the long way does (lt_see), less what cannot be. All that may fail comes before the first write:
 * what is not certain goes the long way, which means the same, and has the socket remember anew.
 *
 * The cost is in how much code there is, and on how many cache lines: between two packets the stack runs so much of
 * its own that ours is never near. So nothing here reads config, and what is seldom needed is a call.
 */
#ifndef LOTRACE_FAST_BPF_H
#define LOTRACE_FAST_BPF_H

#include "base.bpf.h"
#include "config.bpf.h"
#include "device.bpf.h"
#include "flow.bpf.h"
#include "health.bpf.h"
#include "maps.bpf.h"
#include "net.bpf.h"
#include "owner.bpf.h"
#include "parse.bpf.h"
#include "tcp.bpf.h"
#include "turn.bpf.h"
#include "visit.bpf.h"

#define LT_IP4_HLEN 20
#define LT_IP6_HLEN 40
#define LT_TCP_HLEN 20

/* Fields of headers by where they are. Several next to each other are compared as one word, in network order. */
#define lt_load(type, p, off) (*(const type *)((const void *)(p) + (off)))

/*
 * A packet went the long way under its socket's lock: the next one may look like it. While the sender's window is closed
 * every packet is rare. The slot's word is read first: if user space tells who is the client while this is written
 * down, it is another by then.
 */
static __always_inline void lt_remember(struct lt_sock *at, const struct lt_visit *v)
{
	const __u8 always = LT_TCP_SYN | LT_TCP_FIN | LT_TCP_RST;
	const struct lt_slot *slot = v->slot;
	const struct lt_packet *p = v->p;
	__u32 word = READ_ONCE(slot->state), how = v->side & 1 ? LT_HOW_SECOND : 0;
	bool asks = v->side == slot->client;

	if (asks)
		how |= LT_HOW_ASKS;
	if (v->dir->payload_bytes &&
	    (!config.max_exchanges || slot->role == LT_ROLE_NONE || !asks || slot->exchange))
		how |= LT_HOW_SPEAKS;
	if (!config.no_owners)
		how |= LT_HOW_OWNED;
	if (config.has_breakdown || config.slow_ns)
		how |= LT_HOW_TOLD;
	at->slot = v->index;
	at->exchange = slot->exchange;
	at->how = how;
	at->rare = (__u8)(always | ~slot->tcp_flags[v->side & 1]) << 8;
	if (v->dir->srtt_us8 & LT_CLOSED)
		at->rare = ~0;
	at->ports = bpf_htons(p->sport) | (__u32)bpf_htons(p->dport) << 16;
	if (p->family == 4) {
		at->addrs[0] = p->saddr.word[3] | (__u64)p->daddr.word[3] << 32;
	} else {
		at->addrs[0] = p->saddr.half[0];
		at->addrs[1] = p->saddr.half[1];
		at->addrs[2] = p->daddr.half[0];
		at->addrs[3] = p->daddr.half[1];
	}
	at->life = word;
}

/*
 * Where TCP's header begins behind an IP header that is the one remembered; 0: it is another. IPv4 has 20 bytes (0x45)
 * and is no fragment.
 */
static __always_inline __u32 lt_usual_ip(const void *data, const void *end,
					 const struct lt_sock *at)
{
	__u32 first;

	if (data + LT_ETH_HLEN + LT_IP4_HLEN + LT_TCP_HLEN > end)
		return 0;
	first = lt_load(__u32, data, 12);
	if ((first & 0x00ffffff) == 0x00450008)
		return (lt_load(__u32, data, 20) & 0xff00ff3f) == LT_IPPROTO_TCP << 24 &&
				       lt_load(__u64, data, 26) == at->addrs[0]
			       ? LT_ETH_HLEN + LT_IP4_HLEN
			       : 0;
	if ((first & 0x00f0ffff) != 0x0060dd86 ||
	    data + LT_ETH_HLEN + LT_IP6_HLEN + LT_TCP_HLEN > end)
		return 0;
	return lt_load(__u8, data, 20) == LT_IPPROTO_TCP &&
			       lt_load(__u64, data, 22) == at->addrs[0] &&
			       lt_load(__u64, data, 30) == at->addrs[1] &&
			       lt_load(__u64, data, 38) == at->addrs[2] &&
			       lt_load(__u64, data, 46) == at->addrs[3]
		       ? LT_ETH_HLEN + LT_IP6_HLEN
		       : 0;
}

/* Not inlined: what lives across a call that is seldom made would have to be kept for it each time. */
__noinline int lt_is_cut(struct __sk_buff *skb)
{
	return lt_is_segmented(skb, skb->len);
}

/* TCP's clock, where the skb does not have it. Not inlined: see lt_is_cut. */
__noinline __u64 lt_clock_of(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	return tp ? tp->tcp_clock_cache : 0;
}

/*
 * The time. False if the packet is not certain: sent without the lock, in another order than time's, or after a silence
 * in which nobody sent it (a stall leaves from softirq). A socket that does not pace puts the time into its packets; one
 * that does puts there when they may leave.
 */
static __always_inline bool lt_usual_time(struct __sk_buff *skb, const struct lt_dir *dir,
					  __u64 *now)
{
	struct sk_buff *kernel_skb;
	struct bpf_sock *common;
	struct tcp_sock *tp;
	struct sock *sk;

	if (bpf_cast_to_kern_ctx) {
		kernel_skb = bpf_cast_to_kern_ctx(skb);
		sk = kernel_skb->sk;
		if (!sk ||
		    (unlikely(!sk->sk_lock.owned) && !sk->sk_lock.slock.rlock.raw_lock.val.counter))
			return false;
		*now = kernel_skb->tstamp;
		if (unlikely(sk->sk_pacing_status))
			*now = lt_clock_of(skb);
		return likely(*now - dir->last_ns <= LT_STALL_MIN_NS) ||
		       (*now > dir->last_ns && sk->sk_lock.owned);
	}
	common = skb->sk;
	tp = common ? bpf_skc_to_tcp_sock(common) : NULL;
	if (!tp || !lt_is_locked(tp))
		return false;
	*now = tp->tcp_clock_cache;
	return *now - dir->last_ns <= LT_STALL_MIN_NS;
}

/* One packet in LT_ASK_EVERY is asked what need not be asked of each. Not inlined: see lt_is_cut. */
__noinline int lt_look_after(struct __sk_buff *skb, __u32 index, __u32 how)
{
	struct lt_slot *slot = lt_slot_at(index);
	struct bpf_sock *sk = skb->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
	__u32 side = !!(how & LT_HOW_SECOND);
	struct lt_dir *dir;

	if (!tp || !slot)
		return 0;
	dir = &slot->dir[side & 1];
	dir->srtt_us8 = tp->srtt_us;
	dir->cwnd = tp->snd_cwnd;
	if ((how & LT_HOW_OWNED) && ((struct sock *)tp)->sk_lock.owned &&
	    slot->asked[side & 1] != lt_identity(bpf_get_current_task_btf()))
		lt_learn_owner(skb, index, side, LT_IPPROTO_TCP, dir->last_ns);
	return 0;
}

/* The server speaks, and has heard something since it last did. where: lt_sock.how and .slot. */
static __always_inline void lt_answer_soon(struct lt_exchange *t, const struct lt_said *said,
					   __u64 asked_ns, __u64 where)
{
	__u32 asked_seq = READ_ONCE(t->asked_seq);

	if (likely(lt_is_asked(t, asked_seq, asked_ns))) {
		if (said->now < asked_ns || lt_crosses(said->ack, asked_seq))
			return;
		if (unlikely(where >> 32 & LT_HOW_TOLD))
			lt_tell_answer(where, asked_ns, said->now, true);
		lt_begin_answer(t, said, asked_ns, asked_seq);
	}
	t->answered_ack = said->ack;
	lt_go_on(t, said);
}

/* The new payload of a packet that was counted, for turns. */
static __always_inline void lt_say(const struct lt_sock *at, const struct lt_dir *dir,
				   const void *tcp)
{
	struct lt_exchange *t;
	struct lt_said said;
	__u64 asked_ns = 0;
	__u32 how;

	if (!at->exchange)
		return;
	t = bpf_map_lookup_elem(&lt_exchanges, &at->exchange);
	if (!t)
		return;
	/* Memory is read again: to keep what it holds takes longer. */
	how = READ_ONCE(at->how);
	said.ack = bpf_ntohl(READ_ONCE(*(const __u32 *)(tcp + 8)));
	/*
	 * The word of the client's CPU takes as long to come as all that follows takes: it is asked for as soon as
	 * it is known to be needed. Its number is read later: what was heard was written before.
	 */
	if (!(how & LT_HOW_ASKS) && (t->answered_ack != said.ack || !t->answered))
		asked_ns = READ_ONCE(t->asked_ns);
	said.now = READ_ONCE(dir->last_ns);
	said.end = READ_ONCE(dir->next_seq);
	said.is_tcp = true;
	said.locked = true;
	if (how & LT_HOW_ASKS)
		lt_ask(t, &said);
	else if (asked_ns)
		lt_answer_soon(t, &said, asked_ns, (__u64)how << 32 | at->slot);
	else
		lt_go_on(t, &said);
}

/* Count a packet and return true, or leave all as it was. hint: what its socket remembers, if there is anything. */
static __always_inline bool lt_see_usual(struct __sk_buff *skb, struct lt_sock **hint)
{
	__u32 words, len, payload, off;
	const void *data, *end, *tcp;
	struct lt_slot *slot;
	struct bpf_sock *sk;
	struct lt_sock *at;
	struct lt_dir *dir;
	__u64 skbs, now;

	*hint = NULL;
	if (unlikely(skb->gso_size) && lt_is_cut(skb))
		return false;
	sk = skb->sk;
	at = sk ? bpf_sk_storage_get(&lt_socks, sk, NULL, 0) : NULL;
	*hint = at;
	slot = at ? bpf_map_lookup_elem(&lt_slots, &at->slot) : NULL;
	if (!slot || READ_ONCE(slot->state) != at->life)
		return false;
	dir = (void *)slot + __builtin_offsetof(struct lt_slot, dir) +
	      (READ_ONCE(at->how) & LT_HOW_SECOND);
	if (!lt_usual_time(skb, dir, &now))
		return false;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	off = lt_usual_ip(data, end, at);
	if (!off)
		return false;
	tcp = data + off;
	if (lt_load(__u32, tcp, 0) != at->ports)
		return false;
	words = lt_load(__u32, tcp, 12); /* header length, flags and, highest, the window */
	if ((words & at->rare) || words < 0x10000 || (words & 0xf0) < 0x50)
		return false;
	len = skb->len;
	payload = len - off - ((words & 0xf0) >> 2);
	if ((__s32)payload < 0)
		return false;
	if (payload && (bpf_ntohl(lt_load(__u32, tcp, 4)) != dir->next_seq ||
			!(READ_ONCE(at->how) & LT_HOW_SPEAKS)))
		return false;

	/* It is counted, packets first: see decodeCount. */
	dir->packets++;
	WRITE_ONCE(dir->last_ns, now);
	barrier();
	dir->bytes += len - LT_ETH_HLEN;
	dir->skbs++;
	if (payload) {
		dir->next_seq += payload;
		dir->payload_bytes += payload;
		lt_say(at, dir, tcp);
	}
	skbs = READ_ONCE(dir->skbs);
	if (unlikely(!lt_is_spared(skbs)))
		lt_look_after(skb, at->slot, READ_ONCE(at->how));
	return true;
}

#endif
