/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The queues of sockets; those with nothing to say are passed over before anything is looked up.
 *
 * TCP's are those that have sent something since we came: lt_socks has them. The kernel's own walk over all of
 * them (iter/tcp) must not be used: it takes references of requests that were just put into the table and
 * have none yet, and so frees connections that others hold. Nothing is locked here, so of two numbers that
 * only grow the smaller one is read first.
 */
#ifndef LOTRACE_QUEUE_BPF_H
#define LOTRACE_QUEUE_BPF_H

#include "base.bpf.h"
#include "flow.bpf.h"
#include "parse.bpf.h"
#include "records.h"
#include "site.bpf.h"
#include "socket.bpf.h"

/* Write down what a socket has, if its packets are counted. */
static __always_inline void lt_write_queue(struct seq_file *seq, struct sock_common *skc,
					   __u8 proto, struct lt_queue *queue)
{
	struct lt_packet p = {};
	__u32 side;
	int index;

	lt_tuple_of(&p, skc, proto, lt_site_of(skc->skc_net.net));
	side = lt_side(&p);
	index = lt_look_up(&p, side);
	if (index < 0)
		return;
	queue->slot = index;
	queue->side = side;
	bpf_seq_write(seq, queue, sizeof(*queue));
}

/* By NUMA node where the kernel keeps them so, which 6.18 began with. */
static __always_inline __u32 lt_socket_drops(struct sock *sk)
{
	struct numa_drop_counters *nodes = NULL;

	if (bpf_core_field_exists(sk->sk_drop_counters))
		nodes = sk->sk_drop_counters;
	if (nodes)
		return nodes->drops0.counter + nodes->drops1.counter;
	return sk->sk_drops.counter;
}

/* SYN and FIN take a sequence number each and are no bytes. */
static __always_inline void lt_tell_tcp_queue(struct seq_file *seq, struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;
	struct lt_queue queue = {};
	__u8 state = sk->__sk_common.skc_state;
	__u32 copied = READ_ONCE(tp->copied_seq), acknowledged = READ_ONCE(tp->snd_una);

	if (state == TCP_LISTEN || state == TCP_CLOSE || state == TCP_SYN_SENT ||
	    state == TCP_SYN_RECV)
		return;
	queue.receive = READ_ONCE(tp->rcv_nxt) - copied;
	if (queue.receive && (sk->__sk_common.skc_flags & (1 << SOCK_DONE)))
		queue.receive--;
	queue.send = READ_ONCE(tp->write_seq) - acknowledged;
	if (queue.send && (state == TCP_FIN_WAIT1 || state == TCP_CLOSING || state == TCP_LAST_ACK))
		queue.send--;
	queue.out_of_order = tp->rcv_ooopack;
	if (queue.receive || queue.send || queue.out_of_order)
		lt_write_queue(seq, &sk->__sk_common, LT_IPPROTO_TCP, &queue);
}

/* An unconnected socket's queue is of many peers, so of no flow. */
static __always_inline void lt_tell_udp_queue(struct seq_file *seq, struct udp_sock *udp)
{
	struct sock *sk = (struct sock *)udp;
	struct lt_queue queue = {};

	if (!sk->__sk_common.skc_dport)
		return;
	/* Bytes already read stay in rmem_alloc for a while, since many are taken out at once. */
	queue.receive = sk->sk_backlog.rmem_alloc.counter - udp->forward_deficit;
	queue.drops = lt_socket_drops(sk);
	if (queue.receive || queue.drops)
		lt_write_queue(seq, &sk->__sk_common, LT_IPPROTO_UDP, &queue);
}

#endif
