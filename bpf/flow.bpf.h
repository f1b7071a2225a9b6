/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a tuple to its slot: through the socket when there is one, through the index otherwise, with
 * a new slot when there is none yet.
 */
#ifndef LOTRACE_FLOW_BPF_H
#define LOTRACE_FLOW_BPF_H

#include "base.bpf.h"
#include "config.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "pool.bpf.h"
#include "visit.bpf.h"

#define LT_EEXIST 17

/*
 * Later fragments have no ports of their own: remember the first fragment's, or ask for them. Not inlined: see
 * lt_parse_skb.
 */
__noinline int lt_fragment_ports(struct lt_packet *p)
{
	struct lt_frag_ports *first, ports = {};
	struct lt_frag_key key = {};

	if (!p)
		return 0;
	key.site = p->site;
	key.id = p->frag_id;
	key.proto = p->proto;
	ports.sport = p->sport;
	ports.dport = p->dport;
	__builtin_memcpy(key.saddr, &p->saddr, sizeof(key.saddr));
	__builtin_memcpy(key.daddr, &p->daddr, sizeof(key.daddr));
	if (p->frag_first) {
		bpf_map_update_elem(&lt_frags, &key, &ports, BPF_ANY);
		return 0;
	}
	first = bpf_map_lookup_elem(&lt_frags, &key);
	if (first) {
		p->sport = first->sport;
		p->dport = first->dport;
	}
	return 0;
}

/* Which endpoint of the canonical key sent this: 0 the smaller (address, port), 1 the other. */
static __always_inline __u32 lt_side(const struct lt_packet *p)
{
	for (int i = p->family == 4 ? 3 : 0; i < 4; i++) {
		if (p->saddr.word[i] != p->daddr.word[i])
			return bpf_ntohl(p->saddr.word[i]) > bpf_ntohl(p->daddr.word[i]);
	}
	return p->sport > p->dport;
}

static __always_inline void lt_make_key(struct lt_key *key, const struct lt_packet *p, __u32 side)
{
	const union lt_addr *low = side ? &p->daddr : &p->saddr;
	const union lt_addr *high = side ? &p->saddr : &p->daddr;

	__builtin_memset(key, 0, sizeof(*key));
	__builtin_memcpy(key->addr[0], low, sizeof(*low));
	__builtin_memcpy(key->addr[1], high, sizeof(*high));
	key->port[0] = side ? p->dport : p->sport;
	key->port[1] = side ? p->sport : p->dport;
	key->site = p->site;
	key->proto = p->proto;
}

static __always_inline bool lt_is_flow_of(const struct lt_slot *slot, const struct lt_packet *p,
					  __u32 side)
{
	const union lt_addr *from = (const union lt_addr *)slot->key.addr[side & 1];
	const union lt_addr *to = (const union lt_addr *)slot->key.addr[~side & 1];

	return from->half[1] == p->saddr.half[1] && to->half[1] == p->daddr.half[1] &&
	       slot->key.port[side & 1] == p->sport && slot->key.port[~side & 1] == p->dport &&
	       slot->key.proto == p->proto && from->half[0] == p->saddr.half[0] &&
	       to->half[0] == p->daddr.half[0] && slot->key.site == p->site;
}

static __always_inline bool lt_is_live(const struct lt_slot *slot)
{
	return (READ_ONCE(slot->state) & LT_SLOT_STATES) == LT_SLOT_LIVE;
}

/*
 * Take the key of a slot over: false, another CPU is at it. That of a RETIRING one is ours to take: user space looks
 * at what it deletes. The word may get bits in between, each once.
 */
static __always_inline bool lt_take_key(struct lt_slot *old)
{
	__u32 word = 0;

	for (int i = 0; i < 4; i++) {
		word = READ_ONCE(old->state);
		if ((word & LT_SLOT_STATES) != LT_SLOT_LIVE)
			break;
		if (__sync_val_compare_and_swap(&old->state, word,
						word ^ LT_SLOT_LIVE ^ LT_SLOT_ORPHAN) == word)
			return true;
	}
	return (word & LT_SLOT_STATES) != LT_SLOT_ORPHAN;
}

static __always_inline __u32 lt_next_life(void)
{
	__u32 life = __sync_fetch_and_add(&pools.lives, 1) + 1;

	return life * LT_SLOT_LIFE | LT_SLOT_LIVE;
}

static __always_inline struct lt_slot *lt_slot_at(__u32 index)
{
	return bpf_map_lookup_elem(&lt_slots, &index);
}

/* Sets which side is the client, as far as the first packet tells. */
static __always_inline void lt_init_role(struct lt_slot *slot, const struct lt_packet *p,
					 __u32 side)
{
	slot->client = side;
	slot->role = LT_ROLE_FIRST;
	if (p->proto != LT_IPPROTO_TCP)
		return;
	slot->role = p->tcp_flags & LT_TCP_SYN ? LT_ROLE_SYN : LT_ROLE_NONE;
	if ((p->tcp_flags & (LT_TCP_SYN | LT_TCP_ACK)) == (LT_TCP_SYN | LT_TCP_ACK))
		slot->client = !side;
}

/*
 * Make a slot for a key that the index did not have (old NULL), or take the key over from an ended
 * connection; return its number, or -reason. The slot turns LIVE only after the index took it: a socket
 * that remembers this number from an earlier life must not count here while we may still give it back.
 * The exchange orders what was written of the slot before its state, for user space that reads both.
 */
static __always_inline int lt_new_slot(const struct lt_visit *v, const struct lt_key *key,
				       struct lt_slot *old, __u32 old_index)
{
	__u32 taken = lt_take_place(&pools.slots, &lt_free, config.max_flows);
	__u32 index = taken - 1;
	struct lt_life *life;
	struct lt_slot *slot;
	long err;

	if (!taken)
		return -LT_TABLE_FULL;
	slot = lt_slot_at(index);
	life = bpf_map_lookup_elem(&lt_lives, &index);
	if (!slot || !life)
		return -LT_TABLE_FULL;
	if (old && !lt_take_key(old)) { /* this one packet still goes to the old slot */
		lt_give_place(&lt_free, taken);
		return old_index;
	}
	slot->key = *key;
	life->created_ns = v->now;
	lt_init_role(slot, v->p, v->side);
	err = bpf_map_update_elem(&lt_index, key, &index, old ? BPF_ANY : BPF_NOEXIST);
	if (err) {
		if (old)
			bpf_map_delete_elem(&lt_index, key); /* it must not lead to an orphan */
		lt_give_place(&lt_free, taken);
		return err == -LT_EEXIST ? -LT_INDEX_RACE : -LT_INDEX_FULL;
	}
	__sync_lock_test_and_set(&slot->state, lt_next_life());
	return index;
}

/* Both sides said goodbye, or one of them slammed the door. */
static __always_inline bool lt_ended(const struct lt_slot *slot)
{
	__u8 any = slot->tcp_flags[0] | slot->tcp_flags[1];
	__u8 both = slot->tcp_flags[0] & slot->tcp_flags[1];

	return (any & LT_TCP_RST) || (both & LT_TCP_FIN);
}

static __always_inline bool lt_opens(const struct lt_packet *p)
{
	return p->proto == LT_IPPROTO_TCP &&
	       (p->tcp_flags & (LT_TCP_SYN | LT_TCP_ACK)) == LT_TCP_SYN;
}

/*
 * Through the index, to a slot's number, or to -reason. Its values are reused memory: a number read
 * here may already belong to another key, so the slot's own key decides. A slot not yet LIVE is being
 * made by another CPU and is ours.
 *
 * Not inlined and not static: the verifier then checks it once by itself, not once per path that
 * leads here, which on 6.1 is more than it has patience for.
 */
__noinline int lt_find_by_tuple(const struct lt_packet *p, __u32 side, __u64 now)
{
	struct lt_visit v = { .p = p, .side = side, .now = now };
	struct lt_key key;
	int made = -LT_INDEX_RACE;

	if (!p)
		return made;
	lt_make_key(&key, p, side);
	for (int i = 0; i < 2; i++) {
		__u32 *found = bpf_map_lookup_elem(&lt_index, &key);
		__u32 index = found ? READ_ONCE(*found) : 0;
		struct lt_slot *old = found ? lt_slot_at(index) : NULL;

		if (old && !lt_is_flow_of(old, p, side))
			old = NULL;
		if (old && (!lt_opens(p) || !lt_ended(old)))
			return index;
		/* A new connection on the ports of an ended one gets a row of its own. */
		made = lt_new_slot(&v, &key, old, index);
		if (made != -LT_INDEX_RACE)
			break;
	}
	return made;
}

/* Find the packet's slot: LT_COUNTED, or the reason why there is none. */
static __always_inline enum lt_reason lt_find(struct lt_visit *v, struct bpf_sock *sk)
{
	struct lt_slot *slot;
	int index;

	if (sk && !v->hint)
		v->hint = bpf_sk_storage_get(&lt_socks, sk, NULL, 0);
	if (v->hint) {
		v->index = v->hint->slot;
		slot = lt_slot_at(v->index);
		if (slot && lt_is_live(slot) && lt_is_flow_of(slot, v->p, v->side) &&
		    !lt_opens(v->p)) {
			v->slot = slot;
			return LT_COUNTED;
		}
	}
	index = lt_find_by_tuple(v->p, v->side, v->now);
	if (index < 0)
		return -index;
	if (sk && !v->hint)
		v->hint = bpf_sk_storage_get(&lt_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (v->hint)
		v->hint->slot = index;
	v->index = index;
	v->slot = lt_slot_at(index);
	return LT_COUNTED;
}

#endif
