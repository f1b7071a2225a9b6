/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The filter that user space compiled: tests with jumps, forwards only, like classic BPF. */
#ifndef LOTRACE_FILTER_BPF_H
#define LOTRACE_FILTER_BPF_H

#include "base.bpf.h"
#include "config.bpf.h"
#include "parse.bpf.h"

static __always_inline bool lt_in_prefix(const union lt_addr *addr, const union lt_addr *net,
					 __u8 len)
{
	__u64 hi = bpf_be64_to_cpu(addr->half[0] ^ net->half[0]);
	__u64 lo = bpf_be64_to_cpu(addr->half[1] ^ net->half[1]);

	/* A shift by 64 is undefined, so whole halves are told apart from parts. */
	if (len == 0)
		return true;
	if (len <= 64)
		return !(hi >> ((64 - len) & 63));
	return !hi && !(lo >> ((128 - len) & 63));
}

/*
 * By the address, as the key has it: a v4-mapped one is IPv4 whatever header carried it. A header may carry
 * one of each; then both directions are IPv6.
 */
static __always_inline bool lt_is_v4(const union lt_addr *addr)
{
	return !addr->half[0] && addr->word[2] == bpf_htonl(0xffff);
}

static __always_inline bool lt_test(const struct lt_filter_term *term, const struct lt_packet *p)
{
	const union lt_addr *net = (const union lt_addr *)term->addr;

	switch (term->test) {
	case LT_TEST_PROTO:
		return p->proto == term->lo;
	case LT_TEST_FAMILY:
		return (lt_is_v4(&p->saddr) && lt_is_v4(&p->daddr)) == (term->lo == 4);
	case LT_TEST_PORT:
		return (p->sport >= term->lo && p->sport <= term->hi) ||
		       (p->dport >= term->lo && p->dport <= term->hi);
	case LT_TEST_ADDR:
		return lt_in_prefix(&p->saddr, net, term->prefix_len) ||
		       lt_in_prefix(&p->daddr, net, term->prefix_len);
	}
	return false;
}

/* Not inlined, for the verifier's sake: see lt_find_by_tuple. */
__noinline int lt_matches(const struct lt_packet *p)
{
	__u32 pc = 0;

	if (!p)
		return false;
	for (int i = 0; i < LT_MAX_FILTER_TERMS && pc < LT_MAX_FILTER_TERMS; i++) {
		const struct lt_filter_term *term = &filter.term[pc];

		pc = lt_test(term, p) ? term->on_true : term->on_false;
	}
	return pc == LT_FILTER_ACCEPT;
}

static __always_inline bool lt_wanted(const struct lt_packet *p)
{
	return !config.has_filter || lt_matches(p);
}

#endif
