/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From what is not at the hook, sockets and packets on their way in, to the flow. Nothing here makes one. */
#ifndef LOTRACE_SOCKET_BPF_H
#define LOTRACE_SOCKET_BPF_H

#include "base.bpf.h"
#include "flow.bpf.h"
#include "maps.bpf.h"
#include "net.bpf.h"
#include "parse.bpf.h"

static __always_inline void lt_copy_addr(union lt_addr *to, const struct in6_addr *from)
{
	to->word[0] = from->in6_u.u6_addr32[0];
	to->word[1] = from->in6_u.u6_addr32[1];
	to->word[2] = from->in6_u.u6_addr32[2];
	to->word[3] = from->in6_u.u6_addr32[3];
}

/*
 * The key of what a connected socket of a site sends, as far as flows are told apart by it. One that was closed from
 * the other side has given its own port back, and may still be read.
 */
static __always_inline void lt_tuple_of(struct lt_packet *p, struct sock_common *skc, __u8 proto,
					__u32 site)
{
	p->site = site;
	p->proto = proto;
	p->family = 6; /* whole addresses are compared */
	p->sport = skc->skc_num;
	if (!p->sport)
		p->sport = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)skc, inet_sport));
	p->dport = bpf_ntohs(skc->skc_dport);
	if (skc->skc_family == LT_AF_INET6) {
		lt_copy_addr(&p->saddr, &skc->skc_v6_rcv_saddr);
		lt_copy_addr(&p->daddr, &skc->skc_v6_daddr);
	} else {
		lt_map_v4(&p->saddr, skc->skc_rcv_saddr);
		lt_map_v4(&p->daddr, skc->skc_daddr);
	}
}

static __always_inline bool lt_is_live_flow_of(const struct lt_slot *slot,
					       const struct lt_packet *p, __u32 side)
{
	return slot && lt_is_live(slot) && lt_is_flow_of(slot, p, side);
}

/*
 * The flow's slot, or -1. Sockets get their hint in lt_socks as they send; until then only the index knows.
 *
 * Not inlined, for the verifier's sake: see lt_find_by_tuple.
 */
__noinline int lt_look_up(const struct lt_packet *p, __u32 side)
{
	struct lt_key key;
	__u32 *found;
	__u32 index;

	if (!p)
		return -1;
	lt_make_key(&key, p, side);
	found = bpf_map_lookup_elem(&lt_index, &key);
	if (!found)
		return -1;
	index = READ_ONCE(*found);
	return lt_is_live_flow_of(lt_slot_at(index), p, side) ? (int)index : -1;
}

#endif
