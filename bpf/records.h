/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records that the kernel tells user space one by one, through ring buffers and iterators. User space's
 * types are generated from these, and a test has the bytes of each.
 */
#ifndef LOTRACE_RECORDS_H
#define LOTRACE_RECORDS_H

#include "lotrace.h"

/* One slow turn, told as it ends. Read from a ring buffer. */
struct lt_slow {
	struct lt_key key;
	__u32 slot;
	__u8 client; /* index of the client endpoint */
	__u8 has_breakdown; /* the three below are known */
	__u8 pad[6];
	__u64 asked_ns; /* CLOCK_MONOTONIC */
	__u64 turn_ns;
	__u64 delivery_ns;
	__u64 wait_ns;
	__u64 think_ns;
};

_Static_assert(sizeof(struct lt_slow) == 96, "no hidden padding");

/* A packet, or its head. The captured bytes follow, from the MAC header on. Read from a ring buffer. */
struct lt_sample {
	struct lt_key key; /* all zero unless the tuple was read */
	__u32 slot; /* or LT_NO_SLOT */
	__u64 mono_ns; /* CLOCK_MONOTONIC */
	__u32 why; /* enum lt_why: all that asked for it */
	__u32 drop; /* enum skb_drop_reason of the running kernel; 0: it is at the hook */
	__u8 from; /* index of the sender's endpoint */
	__u8 client; /* index of the client endpoint */
	__u8 reason; /* enum lt_reason */
	__u8 retransmit;
	__u32 one_in; /* how many packets it stands for on average */
	__u32 len; /* of the skb, MAC header included */
	__u32 header_len; /* MAC, IP and transport headers */
	__u32 segment_size; /* payload in each packet that the device makes of it; 0: it is one */
	__u32 captured; /* bytes that follow */
	__u32 number; /* of the request that begins or is answered; 0: neither */
	__u8 answer;
	__u8 pad[3];
	__u64 asked_ns; /* answer: CLOCK_MONOTONIC of the request's newest payload */
	__u64 took_ns; /* answer: its turn; request: the response before, 0 unknown */
	__u64 sent[2]; /* where a message begins: payload before it, by endpoint */
};

_Static_assert(sizeof(struct lt_sample) == 128, "no hidden padding");

/* A socket iterator writes one per unconnected socket. */
struct lt_listener {
	__u8 addr[16]; /* bound address, v4 mapped; all zero: any */
	__u16 port;
	__u8 proto;
	__u8 family; /* 4 or 6 */
	__u8 v6only;
	__u8 pad[3];
	__u32 site;
};

_Static_assert(sizeof(struct lt_listener) == 28, "read as an array");

/* The queues of one socket of a flow. The queue iterators write one for each that has anything to say. */
struct lt_queue {
	__u32 slot;
	__u8 side; /* index of the socket's endpoint */
	__u8 pad[3];
	__u32 receive; /* bytes that its process has not read; UDP: the memory that they take */
	__u32 send; /* TCP: bytes that the other side has not acknowledged */
	__u32 out_of_order; /* TCP: segments received out of order, cumulative (modulo 2^32) */
	__u32 drops; /* UDP: datagrams that found no room in the receive buffer, cumulative */
};

_Static_assert(sizeof(struct lt_queue) == 24, "read as an array");

/* The file iterator writes one per process and socket of a site. */
struct lt_holder {
	__u8 local[16]; /* v4 mapped; all zero: any */
	__u8 remote[16]; /* all zero: not connected */
	__u16 local_port;
	__u16 remote_port;
	__u8 proto;
	__u8 family; /* 4 or 6 */
	__u8 v6only;
	__u8 listening;
	__u32 site;
	__u32 pad;
	__u64 socket; /* tells the sockets of one run apart */
	struct lt_owner owner;
};

_Static_assert(sizeof(struct lt_holder) == 104, "read as an array");

#endif
