/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * All that goes wrong on a flow, counted where it happens. A packet with which nothing is wrong pays for comparisons of
 * what is at hand anyway, and for no look-up.
 */
#ifndef LOTRACE_HEALTH_BPF_H
#define LOTRACE_HEALTH_BPF_H

#include "base.bpf.h"
#include "config.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "pool.bpf.h"
#include "visit.bpf.h"

#define LT_CA_LOSS 4 /* TCP_CA_Loss, include/uapi/linux/tcp.h */
#define LT_NAGLE_OFF 1 /* TCP_NODELAY and TCP_CORK, include/net/tcp.h */
#define LT_NAGLE_CORK 2

/* An acknowledgement is delayed by 40 to 200 ms (TCP_DELACK_MIN, TCP_DELACK_MAX), and timers are coarse. */
#define LT_STALL_MIN_NS 20000000ULL
#define LT_STALL_MAX_NS 500000000ULL
#define LT_JUST_NOW_US 2000 /* one softirq: the acknowledgement comes in, data goes out */

/* Give a flow a place for its health, or LT_NO_PLACE where all are taken. */
__noinline int lt_take_health(__u32 slot_index)
{
	struct lt_life *life = bpf_map_lookup_elem(&lt_lives, &slot_index);
	__u32 place;

	if (!life)
		return 0;
	place = lt_take_place(&pools.healths, &lt_healths_free, config.max_health);
	if (!lt_keep_place(&pools.healths, &life->health, place))
		lt_give_place(&lt_healths_free, place);
	return 0;
}

/* The flow's health; NULL where there is no place for it. */
static __always_inline struct lt_health *lt_health_of(__u32 slot_index)
{
	struct lt_life *life = bpf_map_lookup_elem(&lt_lives, &slot_index);

	if (!life || !config.max_health)
		return NULL;
	if (!life->health)
		lt_take_health(slot_index);
	return bpf_map_lookup_elem(&lt_healths, &life->health);
}

enum lt_error {
	LT_REFUSED,
	LT_RESET,
	LT_SYN_RETRY,
	LT_SYNACK_RETRY,
	LT_TIMEOUT,
	LT_WINDOW_CLOSED,
	LT_WINDOW_OPEN,
	LT_STALL,
};

/* ns is when, of a stall how long. Not inlined, for the verifier's sake: see lt_find_by_tuple. */
__noinline int lt_note_error(__u32 slot_index, __u32 side, __u32 error, __u64 ns)
{
	struct lt_health *health = lt_health_of(slot_index);
	__u64 since;

	side &= 1;
	if (!health)
		return 0;
	switch (error) {
	case LT_REFUSED:
		__sync_fetch_and_add(&health->refused, 1);
		break;
	case LT_RESET:
		__sync_fetch_and_add(&health->resets[side], 1);
		break;
	case LT_SYN_RETRY:
		__sync_fetch_and_add(&health->syn_retries, 1);
		break;
	case LT_SYNACK_RETRY:
		__sync_fetch_and_add(&health->synack_retries, 1);
		break;
	case LT_TIMEOUT:
		__sync_fetch_and_add(&health->timeouts[side], 1);
		break;
	case LT_WINDOW_CLOSED:
		__sync_fetch_and_add(&health->zero_windows[side], 1);
		WRITE_ONCE(health->closed_since_ns[side], ns);
		break;
	case LT_WINDOW_OPEN:
		/* Either side may end it: the one that takes the stamp away adds the time. */
		since = __sync_lock_test_and_set(&health->closed_since_ns[side], 0);
		if (since && ns > since)
			__sync_fetch_and_add(&health->closed_ns[side], ns - since);
		break;
	case LT_STALL:
		__sync_fetch_and_add(&health->stalls[side], 1);
		__sync_fetch_and_add(&health->stalled_ns[side], ns);
		break;
	}
	return 0;
}

/* Nobody listens: the kernel answers a SYN with a RST by itself. */
static __always_inline bool lt_refuses(const struct lt_visit *v)
{
	const struct lt_slot *slot = v->slot;

	return (v->p->tcp_flags & LT_TCP_RST) && slot->role == LT_ROLE_SYN &&
	       slot->client != v->side && !(slot->tcp_flags[v->side & 1] & LT_TCP_SYN);
}

/* The client never acknowledged the SYN-ACK, as one who looks for open ports: there was no connection yet. */
static __always_inline bool lt_takes_back(const struct lt_visit *v)
{
	const struct lt_slot *slot = v->slot;

	return slot->role == LT_ROLE_SYN && slot->client == v->side &&
	       !(slot->tcp_flags[v->side & 1] & LT_TCP_ACK);
}

/*
 * Sent again because the timer ran out, and not because an acknowledgement or the probe of a lost tail
 * said so: then the timer is still set. What goes against a closed window is a probe of that, and no
 * timeout to the kernel either (tcp_retransmit_timer, net/ipv4/tcp_timer.c).
 */
static __always_inline bool lt_is_timeout(struct tcp_sock *tp, const struct lt_packet *p)
{
	struct inet_connection_sock *icsk = &tp->inet_conn;

	return BPF_CORE_READ_BITFIELD(icsk, icsk_ca_state) == LT_CA_LOSS && !icsk->icsk_pending &&
	       p->seq == tp->snd_una && tp->snd_wnd;
}

static __always_inline void lt_note_retransmit(const struct lt_visit *v)
{
	const struct lt_packet *p = v->p;

	if (p->tcp_flags & LT_TCP_SYN)
		lt_note_error(v->index, v->side,
			      p->tcp_flags & LT_TCP_ACK ? LT_SYNACK_RETRY : LT_SYN_RETRY, v->now);
	else if (v->tp && lt_is_timeout(v->tp, p))
		lt_note_error(v->index, v->side, LT_TIMEOUT, v->now);
}

/*
 * Whether data leaves only now because Nagle's algorithm held it back until an acknowledgement, which the
 * receiver delayed in the hope of an answer to go with it. So it leaves from softirq, a small segment, on
 * an acknowledgement that came just now, of something, and without data.
 */
static __always_inline bool lt_has_stalled(struct tcp_sock *tp, const struct lt_packet *p)
{
	struct inet_connection_sock *icsk = &tp->inet_conn;

	return !icsk->icsk_inet.sk.sk_lock.owned && p->payload_len < tp->mss_cache &&
	       !(BPF_CORE_READ_BITFIELD(tp, nonagle) & (LT_NAGLE_OFF | LT_NAGLE_CORK)) &&
	       tp->tcp_mstamp - tp->delivered_mstamp < LT_JUST_NOW_US &&
	       tp->rcv_tstamp != icsk->icsk_ack.lrcvtime;
}

/* Stamps are not inlined, for the verifier's sake: see lt_find_by_tuple. */
__noinline int lt_note_connected(__u32 slot_index, __u64 now)
{
	struct lt_life *life = bpf_map_lookup_elem(&lt_lives, &slot_index);

	if (life)
		WRITE_ONCE(life->connected_ns, now);
	return 0;
}

__noinline int lt_note_first_byte(__u32 slot_index, __u64 now)
{
	struct lt_life *life = bpf_map_lookup_elem(&lt_lives, &slot_index);

	if (life)
		WRITE_ONCE(life->first_byte_ns, now);
	return 0;
}

/* A process is at work on the socket of one end. */
static __always_inline void lt_note_accepted(const struct lt_slot *slot, struct lt_life *life,
					     __u32 side, __u64 now)
{
	if (config.max_health && slot->role == LT_ROLE_SYN && (side & 1) != slot->client &&
	    !life->accepted_ns)
		WRITE_ONCE(life->accepted_ns, now);
}

static __always_inline bool lt_is_first_byte(const struct lt_visit *v)
{
	const struct lt_slot *slot = v->slot;

	return !v->dir->payload_bytes && slot->role == LT_ROLE_SYN && v->side != slot->client &&
	       !slot->unlocked[v->side & 1].payload_bytes;
}

/* One TCP packet, before it is counted. */
static __always_inline void lt_notice_errors(const struct lt_visit *v, __u32 retransmits)
{
	__u64 silent = v->now - v->dir->last_ns;
	const struct lt_packet *p = v->p;

	if (!config.max_health)
		return;
	if ((p->tcp_flags & LT_TCP_RST) && !lt_takes_back(v))
		lt_note_error(v->index, v->side, lt_refuses(v) ? LT_REFUSED : LT_RESET, v->now);
	if (retransmits) {
		lt_note_retransmit(v);
		return;
	}
	if (!p->payload_len)
		return;
	if (lt_is_first_byte(v))
		lt_note_first_byte(v->index, v->now);
	if (silent > LT_STALL_MIN_NS && silent < LT_STALL_MAX_NS && v->tp &&
	    lt_has_stalled(v->tp, p))
		lt_note_error(v->index, v->side, LT_STALL, silent);
}

/*
 * Whether the sender's receive window is closed: LT_CLOSED or 0. A window that closes behind the other
 * side's last words holds nothing up.
 */
static __always_inline __u32 lt_follow_window(const struct lt_visit *v)
{
	__u8 kind = v->p->tcp_flags & (LT_TCP_SYN | LT_TCP_RST | LT_TCP_ACK);
	__u32 closed = !v->p->window && kind == LT_TCP_ACK ? LT_CLOSED : 0;

	if (!config.max_health)
		return 0;
	if (closed == (v->dir->srtt_us8 & LT_CLOSED))
		return closed;
	if (closed && (v->slot->tcp_flags[~v->side & 1] & (LT_TCP_FIN | LT_TCP_RST)))
		return 0;
	lt_note_error(v->index, v->side, closed ? LT_WINDOW_CLOSED : LT_WINDOW_OPEN, v->now);
	return closed;
}

/* A packet with flags that are new for its side: a few in a connection's life. */
static __always_inline void lt_follow_flags(const struct lt_visit *v, __u8 fresh)
{
	const __u8 over = LT_TCP_FIN | LT_TCP_RST;
	const struct lt_slot *slot = v->slot;
	__u32 other = ~v->side & 1;

	if (!config.max_health)
		return;
	if ((fresh & LT_TCP_ACK) && slot->role == LT_ROLE_SYN && v->side == slot->client &&
	    !(v->p->tcp_flags & (LT_TCP_SYN | LT_TCP_RST)) && (slot->tcp_flags[other] & LT_TCP_SYN))
		lt_note_connected(v->index, v->now);
	/* An end that is over waits for no window. The other's mark stays: its next packet clears it. */
	if ((fresh & over) && (slot->dir[other].srtt_us8 & LT_CLOSED))
		lt_note_error(v->index, other, LT_WINDOW_OPEN, v->now);
}

#endif
