/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * When payload reaches a socket and when its process reads it, for breakdown.bpf.h. Tracepoints tell of
 * every socket of the machine: what is not of our device is to leave early.
 */
#ifndef LOTRACE_RECEIVE_BPF_H
#define LOTRACE_RECEIVE_BPF_H

#include "base.bpf.h"
#include "flow.bpf.h"
#include "maps.bpf.h"
#include "net.bpf.h"
#include "parse.bpf.h"
#include "site.bpf.h"
#include "socket.bpf.h"

#define LT_MSG_PEEK 2

/*
 * The flow of a connected socket, and which side of it the socket is; NULL where there is none. Without a
 * hint, as most of the machine's sockets are, only one that hears our device is worth a look into the index.
 */
static __always_inline struct lt_slot *lt_flow_of(struct sock *sk, __u8 proto, __u32 site,
						  bool hears_us, __u32 *side)
{
	struct lt_sock *hint = bpf_sk_storage_get(&lt_socks, sk, NULL, 0);
	struct lt_packet p = {};
	struct lt_slot *slot;

	if (!hint && !hears_us)
		return NULL;
	lt_tuple_of(&p, &sk->__sk_common, proto, site);
	*side = lt_side(&p);
	slot = hint ? lt_slot_at(hint->slot) : NULL;
	if (lt_is_live_flow_of(slot, &p, *side))
		return slot;
	if (sk->__sk_common.skc_state == TCP_CLOSE)
		return NULL; /* another may have its tuple by now */
	return lt_slot_at(lt_look_up(&p, *side));
}

static __always_inline struct lt_breakdown *lt_breakdown_of(const struct lt_slot *slot)
{
	__u32 place = READ_ONCE(slot->exchange);

	return place ? bpf_map_lookup_elem(&lt_breakdowns, &place) : NULL;
}

static __always_inline __u32 lt_site_of_socket(struct sock *sk)
{
	return lt_site_of(sk->__sk_common.skc_net.net);
}

/* An established TCP socket has received a segment. What has no payload, or none that is new, is no news. */
static __always_inline void lt_arrive(struct sock *sk, struct sk_buff *skb)
{
	struct tcp_skb_cb *cb = (struct tcp_skb_cb *)skb->cb;
	__u32 end = cb->end_seq;
	struct lt_breakdown *b;
	struct lt_slot *slot;
	struct tcp_sock *tp;
	__u32 site, side;

	if (end == cb->seq + !!(cb->tcp_flags & LT_TCP_FIN))
		return;
	if (skb->skb_iif != LT_LOOPBACK_IFINDEX)
		return;
	site = lt_site_of_socket(sk);
	if (!site)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || (__s32)(end - tp->rcv_nxt) <= 0)
		return;
	slot = lt_flow_of(sk, LT_IPPROTO_TCP, site, true, &side);
	if (!slot || side == slot->client)
		return;
	b = lt_breakdown_of(slot);
	if (b)
		WRITE_ONCE(b->arrived_ns, bpf_ktime_get_ns());
}

/*
 * The client has an answer: of its parts, the first read ends the way back. The clock is read behind the
 * stamp that it is compared with, which another CPU may be renewing.
 */
static __always_inline void lt_return(struct lt_breakdown *b, __u32 place)
{
	struct lt_exchange *t = bpf_map_lookup_elem(&lt_exchanges, &place);
	__u32 answered = t ? READ_ONCE(t->answered) : 0;
	__u32 read = READ_ONCE(b->read);
	__u64 answer_ns;

	if (read == answered || __sync_val_compare_and_swap(&b->read, read, answered) != read)
		return;
	answer_ns = READ_ONCE(b->answer_ns);
	__sync_fetch_and_add(&b->back_ns, bpf_ktime_get_ns() - answer_ns);
	__sync_fetch_and_add(&b->backs, 1);
}

/* The process of a connected socket has read from it. */
static __always_inline void lt_read(struct sock *sk, __u8 proto, bool hears_us)
{
	struct lt_breakdown *b;
	__u32 site = lt_site_of_socket(sk), side;
	struct lt_slot *slot;

	if (!site)
		return;
	slot = lt_flow_of(sk, proto, site, hears_us, &side);
	if (!slot)
		return;
	b = lt_breakdown_of(slot);
	if (!b)
		return;
	if (side == slot->client)
		lt_return(b, slot->exchange);
	else
		WRITE_ONCE(b->read_ns, bpf_ktime_get_ns());
}

static __always_inline void lt_read_stream(struct sock *sk)
{
	lt_read(sk, LT_IPPROTO_TCP, sk->sk_rx_dst_ifindex == LT_LOOPBACK_IFINDEX);
}

/*
 * No tracepoint has the datagram that is read, for small ones are copied without any: this one has the socket
 * (Linux 6.3). One that is not connected hears anybody: all that is kept is when, see lt_recall_read.
 */
static __always_inline void lt_read_datagram(struct sock *sk, int result, int flags)
{
	struct sock_common *skc = &sk->__sk_common;
	struct lt_sock *at;
	__u32 n;

	if (sk->sk_protocol != LT_IPPROTO_UDP || result < 0 || flags & LT_MSG_PEEK)
		return;
	if (skc->skc_family != LT_AF_INET && skc->skc_family != LT_AF_INET6)
		return;
	if (skc->skc_dport) {
		lt_read(sk, LT_IPPROTO_UDP, true);
		return;
	}
	if (!lt_site_of_socket(sk))
		return;
	at = bpf_sk_storage_get(&lt_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!at)
		return;
	/* Readers on several CPUs write in turn to one of the two, so that neither hides the other. */
	n = __sync_fetch_and_add(&at->reads, 1);
	WRITE_ONCE(at->read_ns[n & 1], bpf_ktime_get_ns());
}

#endif
