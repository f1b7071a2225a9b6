/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Adding a packet to its slot.
 *
 * A TCP socket transmits under its own lock, held by a process (sk_lock.owned) or by softirq
 * (sk_lock.slock), and one socket is one direction of one flow: so under that lock the direction's
 * line has one writer, and plain adds lose nothing. TCP that leaves without it (SYN-ACKs belong to
 * a request, RSTs and TIME_WAIT ACKs to the kernel's own sockets, and anyone may inject) goes to
 * counters of its own, atomically. No other protocol promises a lock: atomic in the direction's
 * line. XDP, which sees no sockets, counts as if nothing were locked.
 */
#ifndef LOTRACE_ACCOUNT_BPF_H
#define LOTRACE_ACCOUNT_BPF_H

#include "base.bpf.h"
#include "config.bpf.h"
#include "device.bpf.h"
#include "parse.bpf.h"
#include "sample.bpf.h"
#include "tcp.bpf.h"
#include "health.bpf.h"
#include "turn.bpf.h"
#include "visit.bpf.h"

/* One skb, with what of its payload went out before. */
struct lt_amount {
	struct lt_wire wire;
	__u32 payload;
	__u32 retrans_bytes;
	__u32 retransmits;
};

/* A direction's sequence space, as far as it is known; the last 64 bits of struct lt_dir. */
union lt_seq {
	struct {
		__u32 next;
		__u32 gap;
	};
	__u64 word;
};

/*
 * Move seq on over [start, end) and return how much of that went out before. Sockets send in order,
 * so below next means again. XDP runs after the per-CPU backlogs, which may swap segments of a sender
 * that changed CPU: there, what was skipped is remembered and what comes late fills it. Only sizes
 * are kept: which of two equal parts was the late one changes no sum.
 */
static __always_inline __u32 lt_advance(union lt_seq *seq, __u32 start, __u32 end,
					const bool in_order)
{
	__s32 fresh = end - seq->next;
	__u32 again = 0, late;

	if (fresh < (__s32)(end - start))
		again = fresh > 0 ? end - start - fresh : end - start;
	else if (!in_order)
		seq->gap += start - seq->next;
	if (fresh > 0)
		seq->next = end;
	if (!in_order) {
		late = again < seq->gap ? again : seq->gap;
		seq->gap -= late;
		again -= late;
	}
	return again;
}

/* The same where several CPUs may be at it. Giving up after some tries calls the segment new. */
static __always_inline __u32 lt_advance_atomic(__u64 *word, __u32 start, __u32 end)
{
	for (int i = 0; i < 8; i++) {
		union lt_seq old = { .word = READ_ONCE(*word) };
		union lt_seq new = old;
		__u32 again = lt_advance(&new, start, end, false);

		if (__sync_val_compare_and_swap(word, old.word, new.word) == old.word)
			return again;
	}
	return 0;
}

/*
 * Split a TCP segment's payload into new and sent before, by the sequence space seen so far
 * (modulo 2^32, RFC 9293 3.4). SYN and FIN take a number each.
 */
static __always_inline void lt_follow_sequence(const struct lt_visit *v, struct lt_amount *a,
					       const bool in_order)
{
	const struct lt_packet *p = v->p;
	struct lt_dir *dir = v->dir;
	bool syn = p->tcp_flags & LT_TCP_SYN;
	__u32 end = p->seq + p->payload_len + syn + (p->tcp_flags & LT_TCP_FIN);
	union lt_seq seq = { .next = dir->next_seq };
	__u32 again;

	if (!v->slot->tcp_flags[v->side & 1] || (syn && end != seq.next)) {
		dir->next_seq = end;
		if (!in_order)
			dir->gap_bytes = 0;
		return;
	}
	if (end == p->seq)
		return;
	if (in_order) {
		again = lt_advance(&seq, p->seq, end, true);
		dir->next_seq = seq.next;
	} else {
		again = lt_advance_atomic((__u64 *)&dir->next_seq, p->seq, end);
	}
	if (!again)
		return;
	a->retransmits = again == end - p->seq ? a->wire.packets : 1;
	a->retrans_bytes = again < p->payload_len ? again : p->payload_len;
	a->payload -= a->retrans_bytes;
}

static __always_inline void lt_add_locked(struct lt_dir *dir, const struct lt_amount *a)
{
	dir->packets += a->wire.packets;
	dir->bytes += a->wire.bytes;
	dir->skbs++;
	dir->payload_bytes += a->payload;
	if (a->retransmits) {
		dir->retransmits += a->retransmits;
		dir->retrans_bytes += a->retrans_bytes;
	}
}

#define lt_add_atomic(to, a)                                                      \
	({                                                                        \
		__sync_fetch_and_add(&(to)->packets, (a)->wire.packets);          \
		__sync_fetch_and_add(&(to)->bytes, (a)->wire.bytes);              \
		__sync_fetch_and_add(&(to)->skbs, 1);                             \
		if ((a)->payload)                                                 \
			__sync_fetch_and_add(&(to)->payload_bytes, (a)->payload); \
	})

static __always_inline void lt_add_retransmits_atomic(struct lt_dir *dir, const struct lt_amount *a)
{
	if (!a->retransmits)
		return;
	__sync_fetch_and_add(&dir->retransmits, a->retransmits);
	__sync_fetch_and_add(&dir->retrans_bytes, a->retrans_bytes);
}

static __always_inline void lt_note_tcp(const struct lt_visit *v)
{
	__u32 closed = lt_follow_window(v);
	__u8 seen = v->slot->tcp_flags[v->side & 1];
	__u8 flags = v->p->tcp_flags;
	struct lt_dir *dir = v->dir;

	if ((seen | flags) != seen) {
		v->slot->tcp_flags[v->side & 1] = seen | flags;
		lt_follow_flags(v, flags & ~seen);
	}
	if (v->tp) {
		dir->srtt_us8 = v->tp->srtt_us | closed;
		dir->cwnd = v->tp->snd_cwnd;
	} else if ((dir->srtt_us8 & LT_CLOSED) != closed) {
		dir->srtt_us8 = (dir->srtt_us8 & ~LT_CLOSED) | closed;
	}
}

static __always_inline void lt_account(struct lt_visit *v, const struct lt_wire *wire)
{
	struct lt_amount a = { .wire = *wire, .payload = v->p->payload_len };

	v->dir = &v->slot->dir[v->side & 1];
	v->locked = v->tp && lt_is_locked(v->tp);
	if (v->p->proto != LT_IPPROTO_TCP) {
		lt_add_atomic(v->dir, &a);
	} else {
		lt_follow_sequence(v, &a, !v->frame->is_xdp);
		lt_notice_errors(v, a.retransmits);
		if (v->locked) {
			lt_add_locked(v->dir, &a);
		} else {
			lt_add_atomic(&v->slot->unlocked[v->side & 1], &a);
			lt_add_retransmits_atomic(v->dir, &a);
		}
		lt_note_tcp(v);
	}
	v->dir->last_ns = v->now;
	if (config.sample) {
		v->news->now = v->now;
		v->news->slot = v->index;
		v->news->side = v->side;
		v->news->payload = a.payload;
		v->news->retransmit = a.retransmits != 0;
	}
	if (a.payload && config.max_exchanges)
		lt_follow_turns(v);
}

#endif
