/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Holders of open sockets, as the walk over everybody's open files finds it. */
#ifndef LOTRACE_HOLDER_BPF_H
#define LOTRACE_HOLDER_BPF_H

#include "base.bpf.h"
#include "net.bpf.h"
#include "owner.bpf.h"
#include "parse.bpf.h"
#include "records.h"
#include "site.bpf.h"

static __always_inline void lt_write_holder(struct seq_file *seq, struct task_struct *task,
					    struct file *file)
{
	struct socket *socket = bpf_sock_from_file(file);
	struct sock *sk = socket ? socket->sk : NULL;
	struct sock_common *skc = (struct sock_common *)sk;
	struct lt_holder holder = {};

	if (!sk)
		return;
	holder.site = lt_read_site(BPF_CORE_READ(skc, skc_net.net));
	if (!holder.site)
		return;
	if (skc->skc_family == LT_AF_INET6) {
		holder.family = 6;
		holder.v6only = BPF_CORE_READ_BITFIELD(skc, skc_ipv6only);
		BPF_CORE_READ_INTO(&holder.local, skc, skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&holder.remote, skc, skc_v6_daddr.in6_u.u6_addr8);
	} else if (skc->skc_family == LT_AF_INET) {
		holder.family = 4;
		if (skc->skc_rcv_saddr)
			lt_map_v4((union lt_addr *)holder.local, skc->skc_rcv_saddr);
		if (skc->skc_daddr)
			lt_map_v4((union lt_addr *)holder.remote, skc->skc_daddr);
	} else {
		return;
	}
	holder.proto = sk->sk_protocol;
	holder.local_port = skc->skc_num;
	holder.remote_port = bpf_ntohs(skc->skc_dport);
	holder.listening = skc->skc_state == TCP_LISTEN;
	holder.socket = (__u64)sk;
	lt_describe(&holder.owner, task);
	bpf_seq_write(seq, &holder, sizeof(holder));
}

#endif
