/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A socket remembers this of its flow and of its packets. User space never sees it. */
#ifndef LOTRACE_HINT_BPF_H
#define LOTRACE_HINT_BPF_H

#include "base.bpf.h"

/* Bits of lt_sock.how, about a socket's packets. */
enum {
	LT_HOW_ASKS = 1 << 0, /* it is the client's */
	LT_HOW_SPEAKS = 1 << 1, /* it has sent payload before, and has its exchange if it asks */
	LT_HOW_OWNED = 1 << 2, /* owners are learnt */
	LT_HOW_TOLD = 1 << 3, /* answers are told one by one, or in parts */
	LT_HOW_SECOND =
		1 << 6, /* it sends in the second direction, which lies so far behind the first */
};

/*
 * Kept with a socket: where its flow is, and what its packets look like. The number of the slot may be any: its key
 * decides, or for a TCP socket, which alone writes the rest and under its lock, that life is the slot's and the packet's
 * header the same. A new one has no ports, which no packet has.
 */
struct lt_sock {
	__u32 slot;
	__u32 life; /* lt_slot.state */
	__u32 ports; /* from here on as in the packet */
	__u32 how; /* LT_HOW_* */
	__u64 addrs[4]; /* IPv4: both in the first */
	__u32 rare; /* which flags are no usual ones, where the header has them */
	__u32 exchange; /* lt_slot.exchange */
	__u32 reads; /* UDP, not connected, with has_breakdown: how often its process has read */
	__u32 pad;
	__u64 read_ns[2]; /* CLOCK_MONOTONIC of the newest two, written in turn */
};

#endif
