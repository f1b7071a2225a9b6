/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One packet on its way: what becomes known of it, handed from one to the next. */
#ifndef LOTRACE_VISIT_BPF_H
#define LOTRACE_VISIT_BPF_H

#include "base.bpf.h"
#include "parse.bpf.h"

struct lt_news;

/*
 * Never handed to a function that is not inlined, and holding by pointer what is: so it is taken apart into
 * registers, and costs nothing.
 */
struct lt_visit {
	const struct lt_frame *frame;
	const struct lt_packet *p;
	struct tcp_sock *tp; /* NULL: no TCP socket */
	__u64 now; /* CLOCK_MONOTONIC */
	__u32 side; /* index of the sender's endpoint */
	__u32 index; /* of slot */
	struct lt_slot *slot;
	struct lt_dir *dir; /* the sender's, of slot */
	bool locked; /* under the lock of tp */
	struct lt_sock *hint; /* of the socket that sends; NULL: none */
	struct lt_news *news; /* filled with config.sample only */
};

#endif
