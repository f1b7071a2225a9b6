/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What sockets have in their queues. An iterator shows them all; those with nothing to say are passed
 * over before anything is looked up. TCP's are shown under their lock, so their numbers fit each other.
 */
#ifndef LOTRACE_QUEUE_BPF_H
#define LOTRACE_QUEUE_BPF_H

/*
 * Write down what a socket has, if its packets are counted. By the tuple and not by lt_socks, which knows
 * no socket that has sent nothing yet.
 */
static __always_inline void lt_write_queue(struct seq_file *seq, struct sock_common *skc,
					   __u8 proto, struct lt_queue_record *record)
{
	struct lt_packet p = {};
	__u32 side;
	int index;

	lt_tuple_of(&p, skc, proto);
	side = lt_side(&p);
	index = lt_look_up(&p, side);
	if (index < 0)
		return;
	record->queue.slot = index;
	record->queue.side = side;
	bpf_seq_write(seq, record, sizeof(*record));
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

static __always_inline void lt_write_backlog(struct seq_file *seq, struct sock *sk)
{
	struct sock_common *skc = &sk->__sk_common;
	struct lt_queue_record record = { .listens = 1 };
	struct lt_backlog *backlog = &record.backlog;

	backlog->family = lt_bound_to(skc, (union lt_addr *)backlog->addr);
	backlog->v6only = BPF_CORE_READ_BITFIELD(skc, skc_ipv6only);
	backlog->port = skc->skc_num;
	backlog->length = sk->sk_ack_backlog;
	backlog->limit = sk->sk_max_ack_backlog;
	backlog->drops = lt_socket_drops(sk);
	bpf_seq_write(seq, &record, sizeof(record));
}

/* SYN and FIN take a sequence number each and are no bytes. */
static __always_inline void lt_tell_tcp_queue(struct seq_file *seq, struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;
	struct lt_queue_record record = {};
	struct lt_queue *queue = &record.queue;
	__u8 state = sk->__sk_common.skc_state;

	if (state == TCP_LISTEN) {
		lt_write_backlog(seq, sk);
		return;
	}
	if (state == TCP_SYN_SENT || state == TCP_SYN_RECV)
		return;
	queue->receive = tp->rcv_nxt - tp->copied_seq;
	if (queue->receive && (sk->__sk_common.skc_flags & (1 << SOCK_DONE)))
		queue->receive--;
	queue->send = tp->write_seq - tp->snd_una;
	if (queue->send &&
	    (state == TCP_FIN_WAIT1 || state == TCP_CLOSING || state == TCP_LAST_ACK))
		queue->send--;
	queue->out_of_order = tp->rcv_ooopack;
	if (queue->receive || queue->send || queue->out_of_order)
		lt_write_queue(seq, &sk->__sk_common, LT_IPPROTO_TCP, &record);
}

/* What an unconnected socket has is of many peers, so of no flow. */
static __always_inline void lt_tell_udp_queue(struct seq_file *seq, struct udp_sock *udp)
{
	struct sock *sk = (struct sock *)udp;
	struct lt_queue_record record = {};
	struct lt_queue *queue = &record.queue;

	if (!sk->__sk_common.skc_dport)
		return;
	/* What was read and is still accounted for, because that is done for many at once, is not there. */
	queue->receive = sk->sk_backlog.rmem_alloc.counter - udp->forward_deficit;
	queue->drops = lt_socket_drops(sk);
	if (queue->receive || queue->drops)
		lt_write_queue(seq, &sk->__sk_common, LT_IPPROTO_UDP, &record);
}

#endif
