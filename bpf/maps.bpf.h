/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every map: who writes, who reads, and what happens when it is full. Sizes are set at load. */
#ifndef LOTRACE_MAPS_BPF_H
#define LOTRACE_MAPS_BPF_H

#include "base.bpf.h"
#include "exchange.h"
#include "hint.bpf.h"

/*
 * The flow table. Kernel writes counters, user space reads them as memory; see lt_slot_state for who
 * moves a slot through its life. Full: LT_TABLE_FULL.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lt_slot);
} lt_slots SEC(".maps");

/* Beside each slot: when it was made and who is behind its ends. Kernel writes, user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lt_life);
} lt_lives SEC(".maps");

/*
 * Requests and answers, for flows that have any; the first is nobody's. Kernel writes, user space reads; full:
 * pools.exchanges.full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lt_exchange);
} lt_exchanges SEC(".maps");

/* Places in lt_exchanges given back, as lt_free for slots. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, __u32);
} lt_exchanges_free SEC(".maps");

/*
 * Health of flows on which something went wrong; the first is nobody's. Kernel writes, user space reads; full:
 * pools.healths.full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lt_health);
} lt_healths SEC(".maps");

/* Places in lt_healths given back, as lt_free for slots. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, __u32);
} lt_healths_free SEC(".maps");

/* Beside each place in lt_exchanges; one entry unless parts are measured. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lt_breakdown);
} lt_breakdowns SEC(".maps");

/* struct lt_slow by struct lt_slow. Kernel writes, user space reads; full: pools.slow_lost. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} lt_slow_turns SEC(".maps");

/* struct lt_sample with its bytes behind it. Kernel writes, user space reads; full: LT_SAMPLE_FULL. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} lt_samples SEC(".maps");

/* By CPU: where the hook makes a sample, a struct lt_sample and as many bytes as one may have. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u64));
} lt_scratch SEC(".maps");

/* A counter per enum lt_sample_result. Kernel writes, user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lt_sample_counts);
} lt_sampled SEC(".maps");

/* Tuple to slot. Kernel inserts, user space deletes when it retires a slot. Full: LT_INDEX_FULL. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct lt_key);
	__type(value, __u32);
} lt_index SEC(".maps");

/* Slots given back. User space pushes (the kernel only what it just took), the kernel pops. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, __u32);
} lt_free SEC(".maps");

/* Where a socket's flow is: a cache that may be stale, see struct lt_sock. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct lt_sock);
} lt_socks SEC(".maps");

/*
 * Ports of datagrams whose first fragment was seen. An LRU is right here and nowhere else: an early
 * eviction moves later fragments to a row without ports and loses no count.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LT_MAX_FRAG_IDS);
	__type(key, struct lt_frag_key);
	__type(value, struct lt_frag_ports);
} lt_frags SEC(".maps");

/* A counter per enum lt_reason. Kernel writes, user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lt_counts);
} lt_reasons SEC(".maps");

/* All that arrived at TC ingress; written only with --stages. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lt_count);
} lt_ingress SEC(".maps");

/* Written by the kernel, read by user space. */
struct lt_pools pools SEC(".data.pools");

/* How much may still be sampled. Written by the kernel alone. */
struct lt_budget budget SEC(".data.budget");

#endif
