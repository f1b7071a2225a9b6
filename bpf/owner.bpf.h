/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose socket is it? The process that runs here is often somebody else's: the receiver's softirq runs
 * inside the sender's system call. But a process that sends, receives, connects or closes holds the
 * socket's lock (sk_lock.owned), and softirq never transmits for a socket that a process holds. So
 * while it is held, the running process is the one that uses the socket. Other protocols transmit
 * in their sender's system call, lock or not.
 */
#ifndef LOTRACE_OWNER_BPF_H
#define LOTRACE_OWNER_BPF_H

#include "base.bpf.h"
#include "config.bpf.h"
#include "maps.bpf.h"
#include "net.bpf.h"
#include "parse.bpf.h"
#include "health.bpf.h"
#include "visit.bpf.h"

#define LT_PF_KTHREAD 0x00200000 /* include/linux/sched.h */
#define LT_ASK_ALWAYS 64 /* skbs of a sender that are all asked whose they are; after that one in */
#define LT_ASK_EVERY 4 /* these is, a power of two; which one rotates */
#define LT_PIDNS_LEVELS 8 /* nested PID namespaces searched for ours; the kernel allows 32 */

/* Whether a sender's skb, the newest of so many, is one that is not asked. */
static __always_inline bool lt_is_spared(__u64 skbs)
{
	return skbs > LT_ASK_ALWAYS && (skbs ^ skbs / LT_ASK_EVERY) % LT_ASK_EVERY;
}

/* Tells processes apart, those with one PID after the other included; never 0. */
static __always_inline __u32 lt_identity(struct task_struct *task)
{
	return ((__u32)(task->group_leader->start_boottime >> 10) ^ task->tgid * 0x9e3779b1) | 1;
}

/* The process's id in the namespace that user space lives in; 0 where it has none. */
static __always_inline __u32 lt_pid_in_our_namespace(struct task_struct *leader)
{
	struct pid *pid = BPF_CORE_READ(leader, thread_pid);
	void *numbers = (void *)pid + bpf_core_field_offset(struct pid, numbers);
	__u32 level = BPF_CORE_READ(pid, level);

	/* Unrolled: the compiler makes one bound of the two, which 6.1's verifier does not see through. */
#pragma unroll
	for (__u32 i = 0; i < LT_PIDNS_LEVELS; i++) {
		struct upid *upid = numbers + i * bpf_core_type_size(struct upid);

		if (i > level)
			break;
		if (BPF_CORE_READ(upid, ns, ns.inum) == config.pidns)
			return BPF_CORE_READ(upid, nr);
	}
	return 0;
}

/* All of a process but the version. Its main thread stands for it, alive or not. */
static __always_inline void lt_describe(struct lt_owner *owner, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	owner->tgid = BPF_CORE_READ(task, tgid);
	owner->pid = lt_pid_in_our_namespace(leader);
	owner->uid = BPF_CORE_READ(task, cred, uid.val);
	owner->start_ns = BPF_CORE_READ(leader, start_boottime);
	owner->cgroup_id = BPF_CORE_READ(leader, cgroups, dfl_cgrp, kn, id);
	bpf_core_read_str(owner->comm, sizeof(owner->comm), &leader->comm);
}

/* Nobody's process: the kernel's own sockets, and what it answers without any. */
static __always_inline void lt_describe_kernel(struct lt_owner *owner)
{
	owner->tgid = 0;
	owner->pid = 0;
	owner->uid = 0;
	owner->start_ns = 0;
	owner->cgroup_id = 0;
	__builtin_memset(owner->comm, 0, sizeof(owner->comm));
}

enum lt_verdict {
	LT_NOBODY_KNOWS,
	LT_OWNED_BY_KERNEL,
	LT_OWNED_BY_CURRENT,
};

/*
 * Judge by the socket. A user's socket has a file, a kernel's has none, and one that nobody has accepted
 * yet or that was let go has not even the struct socket. What has no socket at all is the kernel's
 * if only the kernel says such things. Nothing is proved by a kernel thread that finishes a user's work
 * (kTLS), by a socket whose packets are of another protocol than its own and so may claim any address,
 * and by one that the kernel sends tunnelled packets through.
 */
static __always_inline enum lt_verdict lt_judge(struct sock *sk, struct task_struct *task,
						__u8 proto)
{
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);
	__u8 type = BPF_CORE_READ(sk, sk_type);

	if (!sk)
		return proto == LT_IPPROTO_UDP ? LT_NOBODY_KNOWS : LT_OWNED_BY_KERNEL;
	/* A SYN-ACK of TCP Fast Open goes out with the listener for its socket. */
	if (!socket || BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN)
		return LT_NOBODY_KNOWS;
	if (!BPF_CORE_READ(socket, file))
		return LT_OWNED_BY_KERNEL;
	if (BPF_CORE_READ(task, flags) & LT_PF_KTHREAD)
		return LT_NOBODY_KNOWS;
	if (BPF_CORE_READ(sk, sk_protocol) != proto)
		return LT_NOBODY_KNOWS;
	if (proto == LT_IPPROTO_TCP && type != LT_SOCK_STREAM)
		return LT_NOBODY_KNOWS;
	if (proto == LT_IPPROTO_UDP && BPF_CORE_READ((struct udp_sock *)sk, encap_type))
		return LT_NOBODY_KNOWS;
	return LT_OWNED_BY_CURRENT;
}

/*
 * Write down who owns the end of a flow. Several CPUs may be at it where several processes share a UDP
 * socket: the version is odd while one writes, the others leave it to their next packet. User space
 * reads the version before and after (knownEnds.read, internal/loader/owner.go).
 *
 * Both changes of the version must be ones that return what was there: those are ordered with all around
 * them on every processor, so that no plain store in between is seen before the odd version or after the
 * even one. An addition whose result nobody wants becomes one that orders nothing (STADD on arm64).
 *
 * Not inlined, for the verifier's sake: see lt_find_by_tuple.
 */
__noinline int lt_learn_owner(struct __sk_buff *ctx, __u32 index, __u32 side, __u32 proto,
			      __u64 now)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct sk_buff *skb = (struct sk_buff *)ctx;
	struct lt_life *life = bpf_map_lookup_elem(&lt_lives, &index);
	struct lt_slot *slot = bpf_map_lookup_elem(&lt_slots, &index);
	enum lt_verdict verdict;
	struct lt_owner *owner;
	__u32 version;

	if (!life || !slot)
		return 0;
	owner = &life->end[side & 1];
	verdict = lt_judge(BPF_CORE_READ(skb, sk), task, proto);
	if (verdict == LT_OWNED_BY_CURRENT)
		lt_note_accepted(slot, life, side, now);
	if (verdict != LT_NOBODY_KNOWS) {
		version = READ_ONCE(owner->version);
		if (version & 1 ||
		    __sync_val_compare_and_swap(&owner->version, version, version + 1) != version)
			return 0;
		if (verdict == LT_OWNED_BY_CURRENT)
			lt_describe(owner, task);
		else
			lt_describe_kernel(owner);
		__sync_lock_test_and_set(&owner->version, version + 2);
	}
	slot->asked[side & 1] = lt_identity(task);
	return 0;
}

/*
 * Ask whose packet this is, if it can tell and there is a reason to: nobody is known, or another
 * process than the one asked last is at work on the socket. Who merely closes it, such as the parent
 * of a worker that has ended, takes nothing over. Sockets change hands when they are new, if at all;
 * later not every packet needs to pay for the question.
 */
static __always_inline void lt_notice_owner(const struct lt_visit *v)
{
	__u64 skbs = v->slot->dir[v->side & 1].skbs;
	const struct lt_packet *p = v->p;
	struct sock *sk = (struct sock *)v->tp;
	struct task_struct *task;
	__u32 asked;

	if (v->frame->is_xdp || lt_is_spared(skbs))
		return;
	asked = v->slot->asked[v->side & 1];
	if (sk) {
		if (!sk->sk_lock.owned)
			return;
		if (asked && (p->tcp_flags & (LT_TCP_FIN | LT_TCP_RST)))
			return;
		if ((p->tcp_flags & LT_TCP_RST) && !sk->sk_shutdown)
			return; /* not closed by its owner, but destroyed by somebody, as ss --kill does */
	} else if (p->proto == LT_IPPROTO_TCP && (asked || !lt_refuses(v))) {
		return; /* for a listener or a TIME_WAIT: no full socket, nobody in particular */
	}
	task = bpf_get_current_task_btf();
	if (asked != lt_identity(task))
		lt_learn_owner(v->frame->ctx, v->index, v->side, p->proto, v->now);
}

#endif
