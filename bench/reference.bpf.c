//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The programs that lotrace is measured against. The empty programs are the price of any program in that place, the
 * counter that of the least there is to watch, the dialogue that of two ends that tell each other the time.
 * The reference does lotrace's whole job on the same parser, device arithmetic and TCP sequence
 * tracking, and finds its flows as traffic tools usually do: one hash entry per tuple, both
 * directions in it, shared between CPUs and so added to atomically, and bpf_ktime_get_ns() for the
 * time.
 */
#include "account.bpf.h"
#include "base.bpf.h"
#include "config.bpf.h"
#include "flow.bpf.h"
#include "parse.bpf.h"
#include "reasons.bpf.h"
#include "visit.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct lt_key);
	__type(value, struct lt_slot);
} flows SEC(".maps");

/* A flow begins as this: too large for the stack. */
static const struct lt_slot unused = {};

static __always_inline struct lt_slot *find(const struct lt_packet *p, __u32 side)
{
	struct lt_slot *slot;
	struct lt_key key;

	lt_make_key(&key, p, side);
	slot = bpf_map_lookup_elem(&flows, &key);
	if (slot)
		return slot;
	/* Another CPU may have been first: then its entry is the one found. */
	bpf_map_update_elem(&flows, &key, &unused, BPF_NOEXIST);
	slot = bpf_map_lookup_elem(&flows, &key);
	if (slot && !slot->state) {
		slot->state = LT_SLOT_LIVE;
		lt_init_role(slot, p, side);
	}
	return slot;
}

static __always_inline void account(struct lt_visit *v, const struct lt_wire *wire)
{
	struct lt_amount a = { .wire = *wire, .payload = v->p->payload_len };

	v->dir = &v->slot->dir[v->side & 1];
	if (v->p->proto == LT_IPPROTO_TCP) {
		lt_follow_sequence(v, &a, true);
		lt_add_retransmits_atomic(v->dir, &a);
		lt_note_tcp(v);
	}
	lt_add_atomic(v->dir, &a);
	v->dir->last_ns = v->now;
}

SEC("tc")
int reference(struct __sk_buff *skb)
{
	struct lt_frame frame = lt_skb_frame(skb);
	struct lt_packet p = { .site = config.site };
	enum lt_reason reason = lt_parse(&frame, &p);
	struct lt_wire wire = lt_wire(&frame, &p);
	struct lt_visit v = { .frame = &frame, .p = &p };

	if (reason != LT_COUNTED)
		goto end;
	if (p.frag_first || p.frag_later)
		lt_fragment_ports(&p);
	v.now = bpf_ktime_get_ns();
	v.side = lt_side(&p);
	v.slot = find(&p, v.side);
	v.tp = lt_tcp_sock(skb->sk, &p);
	if (v.slot)
		account(&v, &wire);
	else
		reason = LT_TABLE_FULL;
end:
	lt_count_reason(reason, &wire);
	return TCX_NEXT;
}

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

SEC("tc")
int counter(struct __sk_buff *skb)
{
	__u32 key = 0;
	__u64 *count = bpf_map_lookup_elem(&seen, &key);

	if (count)
		(*count)++;
	return TCX_NEXT;
}

/* A cache line for each of two CPUs. */
struct {
	__u64 said;
	__u64 pad[7];
} __attribute__((aligned(64))) ends[2] SEC(".data.ends");

SEC("tc")
int dialogue(struct __sk_buff *skb)
{
	__u32 me = bpf_get_smp_processor_id() & 1;

	WRITE_ONCE(ends[me].said, READ_ONCE(ends[me ^ 1].said) + 1);
	return TCX_NEXT;
}

SEC("tc")
int empty(struct __sk_buff *skb)
{
	return TCX_NEXT;
}

SEC("xdp")
int empty_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
