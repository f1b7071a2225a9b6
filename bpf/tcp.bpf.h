/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet's TCP socket, and what it tells for free: who holds its lock, and the time. */
#ifndef LOTRACE_TCP_BPF_H
#define LOTRACE_TCP_BPF_H

#include "base.bpf.h"
#include "net.bpf.h"
#include "parse.bpf.h"

/*
 * The socket as TCP, or NULL. On some kernels the helper goes by the protocol number alone, and the
 * kernel's control socket for RSTs is a raw one of that protocol: the type decides.
 */
static __always_inline struct tcp_sock *lt_tcp_sock(struct bpf_sock *sk, const struct lt_packet *p)
{
	struct tcp_sock *tp;

	if (!sk || p->proto != LT_IPPROTO_TCP)
		return NULL;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || tp->inet_conn.icsk_inet.sk.sk_type != LT_SOCK_STREAM)
		return NULL;
	return tp;
}

static __always_inline bool lt_is_locked(struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;

	return sk->sk_lock.owned || sk->sk_lock.slock.rlock.raw_lock.val.counter;
}

/*
 * The clock: TCP read it a moment ago for its own use and kept it (tcp_mstamp_refresh), which makes
 * it free here. Its skb->tstamp is no substitute: with pacing that lies ahead of now.
 */
static __always_inline __u64 lt_now(struct tcp_sock *tp)
{
	__u64 now = tp ? tp->tcp_clock_cache : 0;

	return now ? now : bpf_ktime_get_ns();
}

#endif
