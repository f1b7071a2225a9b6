/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The path of a packet, from the hook to its slot. */
#ifndef LOTRACE_SEE_BPF_H
#define LOTRACE_SEE_BPF_H

#include "account.bpf.h"
#include "base.bpf.h"
#include "breakdown.bpf.h"
#include "config.bpf.h"
#include "device.bpf.h"
#include "fast.bpf.h"
#include "filter.bpf.h"
#include "flow.bpf.h"
#include "maps.bpf.h"
#include "owner.bpf.h"
#include "parse.bpf.h"
#include "reasons.bpf.h"
#include "sample.bpf.h"
#include "tcp.bpf.h"
#include "visit.bpf.h"

/* The one path: every packet comes in at the top and leaves with exactly one reason. */
static __always_inline void lt_see(const struct lt_frame *frame, struct bpf_sock *sk,
				   struct lt_sock *hint)
{
	struct lt_packet p = { .site = config.site };
	enum lt_reason reason = frame->is_xdp ? lt_parse(frame, &p) : lt_parse_skb(frame->ctx, &p);
	struct lt_wire wire = lt_wire(frame, &p);
	struct lt_news news;
	struct lt_visit v = { .frame = frame, .p = &p, .news = &news, .hint = hint };

	if (config.sample)
		lt_no_news(&news);
	if (reason != LT_COUNTED)
		goto end;
	if (p.frag_first || p.frag_later)
		lt_fragment_ports(&p);
	reason = LT_FILTERED;
	if (!lt_wanted(&p))
		goto end;
	v.tp = lt_tcp_sock(sk, &p);
	v.now = lt_now(v.tp);
	v.side = lt_side(&p);
	reason = lt_find(&v, sk);
	if (v.slot) {
		if (p.proto == LT_IPPROTO_UDP && !frame->is_xdp && config.has_breakdown)
			lt_recall_read(frame->ctx, v.index, v.side);
		lt_account(&v, &wire);
		if (!config.no_owners)
			lt_notice_owner(&v);
		if (v.hint && v.locked)
			lt_remember(v.hint, &v);
	}
end:
	/* A slot counts its packets itself; only XDP waits for its own counter, and needs it beside that. */
	if (reason != LT_COUNTED || frame->is_xdp)
		lt_count_reason(reason, &wire);
	if (config.sample && reason != LT_FILTERED)
		lt_sample(frame, &p, &wire, reason, &news);
}

/* Neither inlined nor static: its stack and its registers are not to burden the short way. */
__noinline int lt_see_skb(struct __sk_buff *skb, struct lt_sock *hint)
{
	struct lt_frame frame = lt_skb_frame(skb);

	lt_see(&frame, skb->sk, hint);
	return 0;
}

/* Packets that arrive, for --stages: counted, and not looked at. */
static __always_inline void lt_count_ingress(struct __sk_buff *skb)
{
	struct lt_wire wire = { .packets = 1, .bytes = skb->len - LT_ETH_HLEN };
	__u32 key = 0;
	struct lt_count *count = bpf_map_lookup_elem(&lt_ingress, &key);

	if (count)
		lt_count_percpu(count, &wire);
}

#endif
