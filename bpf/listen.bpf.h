/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sockets that wait for others, as iterators find them. */
#ifndef LOTRACE_LISTEN_BPF_H
#define LOTRACE_LISTEN_BPF_H

#include "base.bpf.h"
#include "net.bpf.h"
#include "parse.bpf.h"
#include "records.h"
#include "site.bpf.h"

/* The family of a socket, 4 or 6 or 0 for another, and the address that it is bound to. */
static __always_inline __u8 lt_bound_to(struct sock_common *skc, union lt_addr *addr)
{
	if (skc->skc_family == LT_AF_INET6) {
		BPF_CORE_READ_INTO(addr, skc, skc_v6_rcv_saddr.in6_u.u6_addr8);
		return 6;
	}
	if (skc->skc_family != LT_AF_INET)
		return 0;
	if (skc->skc_rcv_saddr)
		lt_map_v4(addr, skc->skc_rcv_saddr);
	return 4;
}

static __always_inline void lt_write_listener(struct seq_file *seq, struct sock_common *skc,
					      __u8 proto)
{
	struct lt_listener listener = {
		.port = skc->skc_num,
		.proto = proto,
		.v6only = BPF_CORE_READ_BITFIELD(skc, skc_ipv6only),
		.site = lt_site_of(skc->skc_net.net),
	};

	listener.family = lt_bound_to(skc, (union lt_addr *)listener.addr);
	if (listener.family)
		bpf_seq_write(seq, &listener, sizeof(listener));
}

#endif
