/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's record of a flow's requests and answers. User space reads it where the kernel writes it. */
#ifndef LOTRACE_EXCHANGE_H
#define LOTRACE_EXCHANGE_H

#include "lotrace.h"

/* User space takes the extremes and leaves 0, which is none: what comes next is of another window. */
struct lt_latency {
	__u64 sum_ns;
	__u64 min_ns;
	__u64 range_ns; /* the largest less the smallest */
	__u32 guess1; /* the first of three octaves that most are in, plus one */
	__u32 pad;
};

/*
 * Requests and answers of one flow. The client's socket writes the first line and reads no other; the server's writes
 * all others, and reads the first when an answer may begin. So a line goes from one to the other once a turn, and
 * what processors fetch beside a line is not the other side's.
 *
 * Each turn counts as the response of its answer until that has a second packet: most have none. So responses are kept
 * by their difference to turns, modulo 2^32 and 2^64.
 */
struct lt_exchange {
	__u64 asked_ns; /* CLOCK_MONOTONIC of the newest request's newest payload; 0: none */
	__u32 asked_seq; /* TCP: the sequence number behind that; else how many there were */
	__u32 asked_ack; /* TCP: what that acknowledged */
	__u64 before_ns; /* TCP: of the newest payload that acknowledged another number */
	__u32 before_ack; /* TCP: and which */
	__u32 pad1[25];

	__u64 answered_ns; /* of the newest answer's newest payload */
	__u64 began_ns; /* of its first */
	__u64 of_ns; /* asked_ns of the request that it answers */
	__u32 answered; /* answers so far */
	__u32 begun; /* the same, before all else here is changed for a new one */
	__u32 answered_seq; /* TCP: the sequence number after the newest payload */
	__u32 answered_ack; /* TCP: what that acknowledged */
	__u32 of_seq; /* asked_seq of the request that it answers */
	__u32 crossed; /* requests that left before all of the answer before had come */
	__u32 several; /* the newest answer of several packets */
	__u32 taken; /* the same, after its turn was taken out of the responses */
	__u32 bucket; /* of the newest turn */
	__u32 told; /* the newest answer whose response user space has counted: it goes on no more */
	struct lt_latency turn;
	struct lt_latency response; /* sum_ns is to be added to that of turn */

	__u32 turn_hist[LT_HIST_BUCKETS];
	__u32 response_hist[LT_HIST_BUCKETS]; /* to be added to the other */
};

_Static_assert(__builtin_offsetof(struct lt_exchange, answered_ns) == 128,
	       "lines of its own for each side, and none that are fetched with the other's");
_Static_assert(sizeof(struct lt_exchange) == 2048, "whole cache lines, so that flows share none");

/*
 * Where the time of a flow's turns went, beside the lt_exchange of the same number. The server's
 * socket writes the first line, the client's the second.
 */
struct lt_breakdown {
	__u64 arrived_ns; /* CLOCK_MONOTONIC: the newest payload of a request was at the server's socket */
	__u64 read_ns; /* the server's process last read */
	__u64 answer_ns; /* the first payload of the newest answer left */
	__u64 delivery_ns; /* sum, from a request's last payload to its arrival */
	__u64 wait_ns; /* sum, from there until it was read */
	__u64 think_ns; /* sum, from there to the answer */
	__u32 turns; /* of which these are the sums */
	__u32 delivered; /* of these, turns whose arrival was seen; of the others it is part of wait */
	__u64 pad1;

	__u64 back_ns; /* sum, from an answer's first payload until the client's process read it */
	__u32 backs; /* answers of which this is the sum */
	__u32 read; /* lt_exchange.answered when the client last read */
	__u64 pad2[6];
};

_Static_assert(sizeof(struct lt_breakdown) == 128, "a cache line for each who writes");

#endif
