/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counting, and why each packet's handling ended. A function's name says who may race with it. */
#ifndef LOTRACE_REASONS_BPF_H
#define LOTRACE_REASONS_BPF_H

#include "base.bpf.h"
#include "device.bpf.h"
#include "maps.bpf.h"

/* For per-CPU memory: every hook runs with bottom halves off, so nothing else runs on this CPU's. */
static __always_inline void lt_count_percpu(struct lt_count *count, const struct lt_wire *wire)
{
	count->skbs++;
	count->packets += wire->packets;
	count->bytes += wire->bytes;
}

static __always_inline void lt_count_reason(enum lt_reason reason, const struct lt_wire *wire)
{
	__u32 key = 0;
	struct lt_counts *reasons = bpf_map_lookup_elem(&lt_reasons, &key);

	if (reasons && reason < LT_REASON_COUNT)
		lt_count_percpu(&reasons->by[reason], wire);
}

#endif
