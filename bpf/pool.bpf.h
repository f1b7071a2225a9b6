/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Numbered places, which flows take as they need them: slots, exchanges and health. Those given back are taken first,
 * so that a table stays low, and user space reads no further than it must.
 */
#ifndef LOTRACE_POOL_BPF_H
#define LOTRACE_POOL_BPF_H

#include "base.bpf.h"

/* A place, from 1, of a pool of so many; 0: all are taken. free is the pool's queue of places given back. */
static __always_inline __u32 lt_take_place(struct lt_pool *pool, void *free, __u32 places)
{
	__u64 fresh;
	__u32 index;

	if (!bpf_map_pop_elem(free, &index))
		return index + 1;
	/* Looked at before it is added to, so that a full pool does not count on for ever. */
	if (READ_ONCE(pool->fresh) >= places)
		return 0;
	fresh = __sync_fetch_and_add(&pool->fresh, 1);
	return fresh < places ? fresh + 1 : 0;
}

/* Give back a place that was just taken, and is as it was. */
static __always_inline void lt_give_place(void *free, __u32 place)
{
	__u32 index = place - 1;

	bpf_map_push_elem(free, &index, 0);
}

/*
 * Write down that a flow has its place. 0: there was none for it, and it never asks again. Two CPUs may be at it at
 * once: false, the other was first, and this place is to be given back.
 */
static __always_inline bool lt_keep_place(struct lt_pool *pool, __u32 *kept, __u32 place)
{
	if (place)
		return __sync_val_compare_and_swap(kept, 0, place) == 0;
	WRITE_ONCE(*kept, LT_NO_PLACE);
	__sync_fetch_and_add(&pool->full, 1);
	return true;
}

#endif
