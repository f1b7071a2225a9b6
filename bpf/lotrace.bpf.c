// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Entry points, one per hook. Every path returns the verdict that lets the packet pass. */
#include "base.bpf.h"
#include "drop.bpf.h"
#include "fast.bpf.h"
#include "holder.bpf.h"
#include "listen.bpf.h"
#include "queue.bpf.h"
#include "receive.bpf.h"
#include "see.bpf.h"

#define LT_TC_PASS (-1) /* TCX_NEXT, TC_ACT_UNSPEC: whoever comes after us decides */

SEC("tc")
int lotrace_egress(struct __sk_buff *skb)
{
	struct lt_sock *hint;

	if (!lt_see_usual(skb, &hint))
		lt_see_skb(skb, hint);
	return LT_TC_PASS;
}

/* The same without the short way, which has no samples. */
SEC("tc")
int lotrace_egress_long(struct __sk_buff *skb)
{
	lt_see_skb(skb, NULL);
	return LT_TC_PASS;
}

SEC("xdp")
int lotrace_xdp(struct xdp_md *ctx)
{
	struct lt_frame frame = lt_xdp_frame(ctx);

	lt_see(&frame, NULL, NULL);
	return XDP_PASS;
}

SEC("tc")
int lotrace_ingress(struct __sk_buff *skb)
{
	lt_count_ingress(skb);
	return LT_TC_PASS;
}

SEC("tp_btf/tcp_probe")
int BPF_PROG(lotrace_arrive, struct sock *sk, struct sk_buff *skb)
{
	lt_arrive(sk, skb);
	return 0;
}

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(lotrace_read_tcp, struct sock *sk)
{
	lt_read_stream(sk);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(lotrace_read_udp, struct sock *sk, int result, int flags)
{
	lt_read_datagram(sk, result, flags);
	return 0;
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(lotrace_drop, struct sk_buff *skb, void *location, enum skb_drop_reason reason)
{
	lt_see_drop(ctx, skb, reason);
	return 0;
}

SEC("iter/udp")
int lotrace_iter_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *udp = ctx->udp_sk;

	if (udp && !udp->inet.sk.__sk_common.skc_dport)
		lt_write_listener(ctx->meta->seq, &udp->inet.sk.__sk_common, LT_IPPROTO_UDP);
	return 0;
}

SEC("iter/task_file")
int lotrace_iter_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;

	if (task && file)
		lt_write_holder(ctx->meta->seq, task, file);
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int lotrace_iter_queues_tcp(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	if (tp)
		lt_tell_tcp_queue(ctx->meta->seq, tp);
	return 0;
}

SEC("iter/udp")
int lotrace_iter_queues_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *udp = ctx->udp_sk;

	if (udp)
		lt_tell_udp_queue(ctx->meta->seq, udp);
	return 0;
}

/*
 * User space's types are generated from what the compiler keeps, and it keeps no type that only the
 * stack or a ring buffer has. These variables keep the records. Nothing reads them, and no such
 * section is loaded.
 */
struct lt_slow *lt_slow_type SEC("types");
struct lt_sample *lt_sample_type SEC("types");
struct lt_listener *lt_listener_type SEC("types");
struct lt_queue *lt_queue_type SEC("types");
struct lt_holder *lt_holder_type SEC("types");

char LICENSE[] SEC("license") = "Dual BSD/GPL";
