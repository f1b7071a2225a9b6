/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sockets that wait for others, for connections that are older than we are. */
#ifndef LOTRACE_LISTEN_BPF_H
#define LOTRACE_LISTEN_BPF_H

#define LT_AF_INET 2
#define LT_AF_INET6 10

static __always_inline void lt_write_listener(struct seq_file *seq, struct sock_common *skc,
					      __u8 proto)
{
	struct lt_listener listener = {
		.port = skc->skc_num,
		.proto = proto,
	};

	if (skc->skc_family == LT_AF_INET6) {
		listener.family = 6;
		listener.v6only = skc->skc_ipv6only;
		BPF_CORE_READ_INTO(&listener.addr, skc, skc_v6_rcv_saddr.in6_u.u6_addr8);
	} else if (skc->skc_family == LT_AF_INET) {
		listener.family = 4;
		if (skc->skc_rcv_saddr)
			lt_map_v4((union lt_addr *)listener.addr, skc->skc_rcv_saddr);
	} else {
		return;
	}
	bpf_seq_write(seq, &listener, sizeof(listener));
}

#endif
