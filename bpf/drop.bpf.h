/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why packets are dropped: the kernel gives a reason (enum skb_drop_reason) with every one that it throws
 * away, of all devices and namespaces. Counted are those that passed our device, on the flow that
 * they were counted in before. Whose packet it is must be certain, a drop on the wrong flow being worse
 * than one untold, and something must be lost by it.
 */
#ifndef LOTRACE_DROP_BPF_H
#define LOTRACE_DROP_BPF_H

#include "base.bpf.h"
#include "config.bpf.h"
#include "flow.bpf.h"
#include "maps.bpf.h"
#include "net.bpf.h"
#include "parse.bpf.h"
#include "sample.bpf.h"
#include "site.bpf.h"
#include "socket.bpf.h"
#include "health.bpf.h"

#define LT_IFF_LOOPBACK (1 << 3) /* include/uapi/linux/if.h */

/* By the running kernel's number, if it has one. */
#define lt_is_reason(reason, name)                                 \
	(bpf_core_enum_value_exists(enum skb_drop_reason, name) && \
	 (reason) == bpf_core_enum_value(enum skb_drop_reason, name))

/* The socket that was to have it, as the tracepoint (6.11) or the skb tells; NULL where neither does. */
static __always_inline struct sock *lt_receiver(const __u64 *ctx, struct sk_buff *skb)
{
	struct sock *sk = NULL;

	if (bpf_core_field_exists(struct trace_event_raw_kfree_skb, rx_sk))
		bpf_probe_read_kernel(&sk, sizeof(sk), &ctx[3]);
	return sk ? sk : BPF_CORE_READ(skb, sk);
}

/*
 * The site by whose device it came in, or 0. What never got that far, because a queue or a filter on the way out
 * dropped it, has no skb_iif yet; neither has what found the device's backlog full. The namespace is
 * the receiving socket's, or else the device's. In skb->dev there may be other things by then: nothing
 * (TCP), the sizes that UDP keeps there, whose highest bytes are flags, or a pointer of another kind.
 * The first two fail to be read, and none looks like a loopback device of a site.
 */
static __always_inline __u32 lt_passed(struct sk_buff *skb, struct sock *sk, __u32 reason)
{
	struct net_device *dev = BPF_CORE_READ(skb, dev);

	if (BPF_CORE_READ(skb, skb_iif) != LT_LOOPBACK_IFINDEX &&
	    !lt_is_reason(reason, SKB_DROP_REASON_CPU_BACKLOG))
		return 0;
	if (sk)
		return lt_read_site(BPF_CORE_READ(sk, __sk_common.skc_net.net));
	if (!(BPF_CORE_READ(dev, flags) & LT_IFF_LOOPBACK))
		return 0;
	return lt_read_site(BPF_CORE_READ(dev, nd_net.net));
}

static __always_inline struct lt_frame lt_dropped_frame(struct sk_buff *skb)
{
	void *head = BPF_CORE_READ(skb, head);
	void *network = head + BPF_CORE_READ(skb, network_header);

	return (struct lt_frame){
		.data = network - LT_ETH_HLEN,
		.end = head + BPF_CORE_READ(skb, tail),
		.is_memory = true,
		.len = (void *)BPF_CORE_READ(skb, data) - network + BPF_CORE_READ(skb, len) +
		       LT_ETH_HLEN,
	};
}

/*
 * Later fragments are not read: they have no ports, and when a whole datagram is dropped they are freed
 * one by one behind the first, for the same reason.
 */
static __always_inline bool lt_read_dropped(struct sk_buff *skb, struct lt_packet *p)
{
	struct lt_frame frame = lt_dropped_frame(skb);

	return lt_parse_type(&frame, p, BPF_CORE_READ(skb, protocol)) == LT_COUNTED &&
	       !p->frag_later;
}

/*
 * Raw and packet sockets are dealt copies of what others send each other, and may be too slow for them.
 * A raw socket has its protocol's number where others have their port, which one that has just been
 * reset has given back. Where no socket is told, and the reason is one that raw ones have in common
 * with UDP: UDP has pulled its header by then, they have not.
 */
static __always_inline bool lt_is_copy(struct sk_buff *skb, struct sock *sk,
				       const struct lt_packet *p, __u32 reason)
{
	__u32 data = (void *)BPF_CORE_READ(skb, data) - (void *)BPF_CORE_READ(skb, head);
	__u16 port = BPF_CORE_READ(sk, __sk_common.skc_num);

	if (sk)
		return (port && port != p->dport) ||
		       BPF_CORE_READ(sk, __sk_common.skc_family) == LT_AF_PACKET;
	return lt_is_reason(reason, SKB_DROP_REASON_SOCKET_RCVBUFF) &&
	       data <= BPF_CORE_READ(skb, transport_header);
}

/* Nobody is there to take it, and nothing is in it that somebody would miss. */
static __always_inline bool lt_is_empty(const struct lt_packet *p)
{
	if (p->proto == LT_IPPROTO_TCP)
		return !p->payload_len && !(p->tcp_flags & LT_TCP_SYN);
	/* This only says that no ping socket asked for it. Raw sockets did, and had theirs. */
	return p->proto == LT_IPPROTO_ICMP || p->proto == LT_IPPROTO_ICMPV6;
}

/*
 * The kernel calls this a drop, and nothing is lost:
 * - what is freed without a reason. TCP does so with acknowledgements that it has made use of, in
 *   CLOSE_WAIT and TIME_WAIT;
 * - what a process left unread in a socket that it closed;
 * - what was received before: keep-alive and window probes, retransmissions that were not needed, and
 *   acknowledgements that a newer one overtook;
 * - the last segments, without payload, to a socket that is gone: the second of two RSTs, or an
 *   acknowledgement that another CPU's overtook. A listener on its port refuses both by their flags, and
 *   some kernels say of one that was overtaken that its time stamp is old.
 */
static __always_inline bool lt_is_loss(const struct lt_packet *p, __u32 reason)
{
	if (lt_is_reason(reason, SKB_NOT_DROPPED_YET) || lt_is_reason(reason, SKB_CONSUMED) ||
	    lt_is_reason(reason, SKB_DROP_REASON_NOT_SPECIFIED) ||
	    lt_is_reason(reason, SKB_DROP_REASON_QUEUE_PURGE))
		return false;
	if (lt_is_reason(reason, SKB_DROP_REASON_TCP_OLD_DATA) ||
	    lt_is_reason(reason, SKB_DROP_REASON_TCP_OFOMERGE) ||
	    lt_is_reason(reason, SKB_DROP_REASON_TCP_OLD_SEQUENCE) ||
	    lt_is_reason(reason, SKB_DROP_REASON_TCP_OLD_ACK) ||
	    lt_is_reason(reason, SKB_DROP_REASON_TCP_RFC7323_PAWS_ACK))
		return false;
	if (lt_is_reason(reason, SKB_DROP_REASON_NO_SOCKET) ||
	    lt_is_reason(reason, SKB_DROP_REASON_TCP_CLOSE) ||
	    lt_is_reason(reason, SKB_DROP_REASON_TCP_FLAGS) ||
	    lt_is_reason(reason, SKB_DROP_REASON_TCP_RFC7323_PAWS) ||
	    lt_is_reason(reason, SKB_DROP_REASON_TCP_RESET))
		return !lt_is_empty(p);
	return true;
}

static __always_inline void lt_add_drop(struct lt_health *health, __u32 reason)
{
	for (int i = 0; i < LT_DROP_REASONS; i++) {
		struct lt_drop *drop = &health->drops[i];
		__u32 taken = READ_ONCE(drop->reason);

		if (!taken)
			taken = __sync_val_compare_and_swap(&drop->reason, 0, reason);
		if (!taken || taken == reason) {
			__sync_fetch_and_add(&drop->skbs, 1);
			return;
		}
	}
	__sync_fetch_and_add(&health->other_drops, 1);
}

static __always_inline enum lt_sample_result lt_tell_dropped(__u64 data, __u32 captured, __u32 len,
							     const struct lt_packet *p,
							     const struct lt_news *news)
{
	const __u32 size = sizeof(struct lt_sample) + LT_DROP_SNAPLEN;
	struct lt_sample *to;
	long wake;

	if (!lt_can_afford(news->now, captured))
		return LT_SAMPLE_BUDGET;
	wake = lt_wake(LT_RINGBUF_HLEN + size);
	if (wake < 0)
		return LT_SAMPLE_FULL;
	to = bpf_ringbuf_reserve(&lt_samples, size, 0);
	if (!to)
		return LT_SAMPLE_FULL;
	lt_describe_sample(to, p, news);
	to->len = len;
	to->captured = captured;
	if (bpf_probe_read_kernel(to + 1, captured, (void *)data)) {
		bpf_ringbuf_discard(to, wake);
		return LT_SAMPLE_FAILED;
	}
	bpf_ringbuf_submit(to, wake);
	return LT_SAMPLE_TAKEN;
}

/*
 * A packet that was dropped, a while after it was counted. Memory of the CPU would not do for it: another may
 * be dropped in between. Not inlined, for the verifier's sake: see lt_find_by_tuple.
 */
__noinline int lt_take_dropped(__u64 data, __u64 end, __u32 len, const struct lt_packet *p,
			       const struct lt_news *news)
{
	__u32 captured = lt_captured(end - data);

	if (!config.sample || !p || !news)
		return 0;
	if (captured > LT_DROP_SNAPLEN)
		captured = LT_DROP_SNAPLEN;
	lt_count_sample(lt_tell_dropped(data, captured, len, p, news));
	return 0;
}

static __always_inline void lt_sample_dropped(struct sk_buff *skb, const struct lt_packet *p,
					      __u32 slot_index, __u32 reason)
{
	struct lt_frame f = lt_dropped_frame(skb);
	struct lt_news news = {
		.now = bpf_ktime_get_ns(),
		.slot = slot_index,
		.why = LT_WHY_ERRORS,
		.drop = reason,
		.side = lt_side(p),
		.reason = LT_COUNTED,
	};

	lt_take_dropped((__u64)f.data, (__u64)f.end, f.len, p, &news);
}

static __always_inline void lt_see_drop(const __u64 *ctx, struct sk_buff *skb, __u32 reason)
{
	struct sock *sk = lt_receiver(ctx, skb);
	struct lt_packet p = {};
	struct lt_health *health;
	int index;

	p.site = lt_passed(skb, sk, reason);
	if (!p.site || !lt_read_dropped(skb, &p) || lt_is_copy(skb, sk, &p, reason) ||
	    !lt_is_loss(&p, reason))
		return;
	index = lt_look_up(&p, lt_side(&p));
	if (index < 0)
		return;
	if (config.sample & LT_WHY_ERRORS)
		lt_sample_dropped(skb, &p, index, reason);
	health = lt_health_of(index);
	if (health)
		lt_add_drop(health, reason);
}

#endif
