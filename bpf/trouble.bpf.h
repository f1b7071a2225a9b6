/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What goes wrong on a flow, counted where it happens. Nothing here runs on a packet without trouble. */
#ifndef LOTRACE_TROUBLE_BPF_H
#define LOTRACE_TROUBLE_BPF_H

/* Give a flow a place for its troubles, or LT_NO_PLACE where all are taken. */
__noinline int lt_take_trouble(__u32 slot_index)
{
	struct lt_ends *ends = bpf_map_lookup_elem(&lt_owners, &slot_index);
	__u32 max = config.max_troubles, index;
	__u64 fresh;

	if (!ends)
		return 0;
	if (bpf_map_pop_elem(&lt_troubles_free, &index)) {
		if (READ_ONCE(pool.fresh_troubles) >= max)
			goto full;
		fresh = __sync_fetch_and_add(&pool.fresh_troubles, 1);
		if (fresh >= max)
			goto full;
		index = fresh;
	}
	if (__sync_val_compare_and_swap(&ends->trouble1, 0, index + 1) != 0)
		bpf_map_push_elem(&lt_troubles_free, &index, 0);
	return 0;
full:
	ends->trouble1 = LT_NO_PLACE;
	__sync_fetch_and_add(&pool.troubles_full, 1);
	return 0;
}

/* The flow's troubles; NULL where there is no place for them. */
static __always_inline struct lt_trouble *lt_trouble_of(__u32 slot_index)
{
	struct lt_ends *ends = bpf_map_lookup_elem(&lt_owners, &slot_index);
	__u32 index;

	if (!ends || !config.max_troubles)
		return NULL;
	if (!ends->trouble1)
		lt_take_trouble(slot_index);
	index = READ_ONCE(ends->trouble1) - 1;
	return bpf_map_lookup_elem(&lt_troubles, &index);
}

#endif
