/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the kernel programs and user space: limits, enums, configuration, keys and
 * slots. User space's types are generated from this file; tests hold the bytes of each struct that
 * user space reads, and compare every enum with its Go names.
 */
#ifndef LOTRACE_H
#define LOTRACE_H

#include "vmlinux.h"

/* Limits. */
enum {
	LT_MAX_IP6_HEADERS = 8, /* extension headers walked before a packet is called absurd */
	LT_MAX_FRAG_IDS = 4096, /* fragmented datagrams whose ports are remembered at once */
	LT_MAX_FILTER_TERMS = 32,
};

/*
 * Latency histograms: eight buckets an octave, from 512 ns (2^9) to 137 s (2^37). The middle of a bucket
 * is within 6 % of all that is in it.
 */
enum {
	LT_HIST_SHIFT = 9,
	LT_HIST_OCTAVES = 28,
	LT_HIST_BUCKETS = 224, /* 8 * LT_HIST_OCTAVES */
};

/* In lt_slot.exchange and lt_life.health: all places were taken when the flow first needed one. */
#define LT_NO_PLACE 0xffffffff

/* Kernel drop reasons kept apart per flow; more are counted together. */
enum { LT_DROP_REASONS = 4 };

/* Samples. */
enum {
	LT_MAX_SNAPLEN = 262400, /* 256 KiB of payload and its headers */
	LT_DROP_SNAPLEN = 128, /* of what the kernel dropped: its headers */
};

/* In lt_sample.slot: the packet is in no flow. */
#define LT_NO_SLOT 0xffffffff

/*
 * Why the handling of one packet ended. Every packet ends with exactly one reason, so the sum over
 * reasons is the number of packets at the hook. All but LT_COUNTED and LT_FILTERED are overflow:
 * part of the totals, part of no flow.
 */
enum lt_reason {
	LT_COUNTED, /* in a flow's slot */
	LT_FILTERED, /* the filter did not ask for it */
	LT_TABLE_FULL, /* no free slot */
	LT_INDEX_FULL, /* a free slot, but the tuple index took no new key */
	LT_INDEX_RACE, /* the slot the index named changed hands twice under us */
	LT_NOT_IP, /* neither IPv4 nor IPv6 by its Ethernet type */
	LT_TRUNCATED, /* ends before its own headers do */
	LT_MALFORMED, /* header fields that contradict themselves */
	LT_HEADER_CHAIN, /* more IPv6 extension headers than LT_MAX_IP6_HEADERS */
	LT_REASON_COUNT,
};

/* How the client of a flow is known. Kernel writes NONE, SYN or FIRST; user space TOLD. */
enum lt_role {
	LT_ROLE_NONE, /* first seen in mid-life */
	LT_ROLE_SYN, /* a SYN or SYN-ACK was seen */
	LT_ROLE_FIRST, /* no handshake in this protocol: who sent first */
	LT_ROLE_TOLD, /* was NONE or FIRST; user space found out */
};

/*
 * Life of a slot. FREE -> LIVE by the kernel; LIVE -> ORPHAN by the kernel, when a new connection
 * takes the tuple of an ended one over; LIVE or ORPHAN -> RETIRING -> FREE by user space alone. Who takes a
 * slot out of LIVE does so by compare-and-swap, and then sees to its key in the index.
 *
 * A state is the two lowest bits of lt_slot.state. The bits above say that user space has told who is the client, and
 * that the flow has its place in lt_exchanges; the others number the slot's lives. A socket trusts a slot whose whole
 * word is the one that it remembers.
 */
enum lt_slot_state {
	LT_SLOT_FREE,
	LT_SLOT_LIVE,
	LT_SLOT_ORPHAN, /* holds final counts; the index no longer leads here */
	LT_SLOT_RETIRING, /* user space is about to read it for the last time */
};

#define LT_SLOT_STATES 3
#define LT_SLOT_TOLD 4
#define LT_SLOT_ASKED 8
#define LT_SLOT_LIFE 16 /* each life's word is so much more than that of the one before */

/* Why packets are copied to user space. Any of them is reason enough. */
enum lt_why {
	LT_WHY_ALL = 1 << 0, /* every packet */
	LT_WHY_RANDOM = 1 << 1, /* one in sample_one_in packets, by chance */
	LT_WHY_FLOWS = 1 << 2, /* every packet of one in sample_one_in flows, by their keys */
	LT_WHY_FIRST = 1 << 3, /* the first sample_first packets of each flow */
	LT_WHY_HEADS = 1 << 4, /* the first packet of each request and of each answer */
	LT_WHY_ERRORS = 1 << 5, /* resets, retransmissions, and what the kernel dropped */
	LT_WHY_CONNS = 1 << 6, /* SYN, FIN or RST */
};

/* The fate of a packet that was to be copied: exactly one of these. */
enum lt_sample_result {
	LT_SAMPLE_TAKEN,
	LT_SAMPLE_BUDGET, /* the budget was used up */
	LT_SAMPLE_FULL, /* the ring buffer had no room */
	LT_SAMPLE_FAILED, /* its bytes could not be read */
	LT_SAMPLE_RESULTS,
};

/* One filter instruction tests one of these. User space compiles, the kernel runs. */
enum lt_test {
	LT_TEST_PROTO, /* IP protocol number == lo */
	LT_TEST_FAMILY, /* address family (4 or 6; v4-mapped is 4) == lo */
	LT_TEST_PORT, /* lo <= either port <= hi */
	LT_TEST_ADDR, /* either address within addr/prefix_len */
	LT_TEST_COUNT,
};

/* Jump targets of a filter instruction that end the run. */
enum {
	LT_FILTER_REJECT = 254,
	LT_FILTER_ACCEPT = 255,
};

/* Set before load, constant afterwards. Written by user space, read by every program. */
struct lt_config {
	__u32 netns; /* inode number of the watched network namespace */
	__u32 site; /* its number, part of every key; not 0 */
	__u32 max_flows; /* slots in the table */
	__u32 has_filter; /* 0: the filter code is pruned by the verifier */
	__u32 pidns; /* inode number of user space's PID namespace */
	__u32 no_owners; /* 1: nobody asks whose packets they are */
	__u32 max_exchanges; /* flows whose turns are followed at once; 0: none, and the code is pruned */
	__u32 max_health; /* flows whose health is counted at once; 0: none, and the code is pruned */
	__u32 has_breakdown; /* 1: where the time of turns goes is measured */
	__u64 slow_ns; /* turns that take as long are told one by one; 0: none */
	__u32 sample; /* enum lt_why: which packets are copied; 0: none, and the code is pruned */
	__u32 sample_one_in;
	__u32 sample_first;
	__u32 sample_seed; /* chooses other flows in each run */
	__u32 sample_snaplen; /* bytes of a packet at most, 1 to LT_MAX_SNAPLEN */
	__u32 sample_ring; /* bytes of the ring buffer, a power of two */
	__u64 sample_ns; /* what the budget of samples allows for each; 0: no such budget */
	__u64 sample_bytes; /* budget, a second; 0: none */
};

/* One instruction: test, then go on at on_true or on_false (an index, or a LT_FILTER_* end). */
struct lt_filter_term {
	__u8 test; /* enum lt_test */
	__u8 on_true;
	__u8 on_false;
	__u8 prefix_len; /* LT_TEST_ADDR: 0..128, v4 mapped */
	__u16 lo;
	__u16 hi;
	__u8 addr[16];
};

/* Written by user space. A connection that was let through once takes the short way, and is not asked about again. */
struct lt_filter {
	struct lt_filter_term term[LT_MAX_FILTER_TERMS];
};

/*
 * A flow's name in canonical form: IPv4 as v4-mapped IPv6, the smaller (address, port) first. Ports
 * are in host byte order. ICMP and ICMPv6 echo carry the echo identifier as the pinging side's port
 * and 0 as the other's; protocols without ports, and later fragments whose first fragment was not
 * seen, have 0 on both sides.
 */
struct lt_key {
	__u8 addr[2][16];
	__u16 port[2];
	__u32 site; /* the watched namespace that it is of; other ones may have equal tuples */
	__u8 proto;
	__u8 pad[3];
};

_Static_assert(sizeof(struct lt_key) == 44,
	       "lt_key is hashed as it lies in memory: no hidden padding");

/*
 * All that one sender sent, in device terms. Cumulative from the slot's creation; 64 bits wide.
 * The first line of a direction has one writer at a time (see account.bpf.h), or atomic ones.
 */
struct lt_dir {
	__u64 packets; /* device packets */
	__u64 bytes; /* device bytes: from the IP header on */
	__u64 skbs; /* what the stack handed down */
	__u64 payload_bytes; /* above the transport header, retransmissions not included */
	__u64 last_ns; /* CLOCK_MONOTONIC of the newest packet */
	__u64 retrans_bytes; /* TCP payload sent before */
	__u32 retransmits; /* TCP segments sent before */
	__u32 srtt_us8; /* TCP: smoothed round trip, in eighths of a microsecond; 0 unknown; LT_CLOSED */
	__u32 next_seq; /* TCP: the sequence number after the last one sent */
	union {
		__u32 cwnd; /* TCP: congestion window in segments; 0 unknown */
		__u32 gap_bytes; /* XDP, which knows no window: skipped in sequence, may still come */
	};
};

/* The highest bit of srtt_us8: the sender's own receive window is closed. */
#define LT_CLOSED 0x80000000

_Static_assert(sizeof(struct lt_dir) == 64, "one cache line a direction");
_Static_assert(__builtin_offsetof(struct lt_dir, next_seq) % 8 == 0 &&
		       __builtin_offsetof(struct lt_dir, gap_bytes) ==
			       __builtin_offsetof(struct lt_dir, next_seq) + 4,
	       "next_seq and gap_bytes change together, as one 64-bit word");

/* Packets sent without their socket's lock (SYN-ACK, kernel RST, TIME_WAIT ACK, injected): atomic. */
struct lt_unlocked {
	__u64 packets;
	__u64 bytes;
	__u64 skbs;
	__u64 payload_bytes;
};

/*
 * One flow, both directions; dir[i] is what key.addr[i], key.port[i] sent. Mapped into user space.
 * The first line is written at creation and when a flag is new, so that it stays shared in caches.
 */
struct lt_slot {
	struct lt_key key;
	__u32 state; /* enum lt_slot_state, and which life it is */
	__u32 asked[2]; /* per sender: identity of who was last asked for the owner; 0 nobody */
	__u8 tcp_flags[2]; /* all flags seen, per sender */
	__u8 client; /* index of the client endpoint; meaningful unless role is LT_ROLE_NONE, which follows it */
	__u8 role; /* enum lt_role */
	__u32 exchange; /* place in lt_exchanges, from 1; 0: needs none yet; LT_NO_PLACE */
	struct lt_dir dir[2];
	struct lt_unlocked unlocked[2];
};

_Static_assert(sizeof(struct lt_slot) == 256, "four cache lines a flow");
_Static_assert(__builtin_offsetof(struct lt_slot, tcp_flags) % 4 == 0 &&
		       __builtin_offsetof(struct lt_slot, client) ==
			       __builtin_offsetof(struct lt_slot, tcp_flags) + 2 &&
		       __builtin_offsetof(struct lt_slot, role) ==
			       __builtin_offsetof(struct lt_slot, client) + 1,
	       "client and role change together, within one word");

/* The process behind one end. Mapped into user space. */
struct lt_owner {
	__u32 version; /* 0 unknown; odd while being written; another even number after every change */
	__u32 tgid; /* PID in the first PID namespace; 0 the kernel itself */
	__u32 pid; /* in user space's PID namespace; 0 not visible there */
	__u32 uid;
	__u64 start_ns; /* CLOCK_BOOTTIME */
	__u64 cgroup_id; /* cgroup v2: the directory's inode number */
	char comm[16];
};

_Static_assert(sizeof(struct lt_owner) == 48, "no hidden padding");

/* The part of a flow that is seldom written and seldom read; end[i] is that of key.addr[i], key.port[i]. */
struct lt_life {
	__u64 created_ns; /* CLOCK_MONOTONIC of the first packet, as are the three that follow; 0 not yet */
	__u64 connected_ns; /* TCP whose SYN was seen: the client's acknowledgement of the SYN-ACK */
	__u64 accepted_ns; /* the first sign of a process at the server's socket */
	__u64 first_byte_ns; /* the server's first payload */
	struct lt_owner end[2];
	__u32 health; /* place in lt_healths, from 1; 0: has had none; LT_NO_PLACE */
	__u32 sampled; /* packets that LT_WHY_FIRST asked for */
};

/* Skbs that the kernel dropped for one reason. */
struct lt_drop {
	__u32 reason; /* enum skb_drop_reason of the running kernel; 0: this one is free */
	__u32 skbs;
};

/*
 * All that went wrong on a flow, for the few with such a story. Cumulative; by end, [i] is what
 * key.addr[i], key.port[i] did. Added to atomically: no lock covers all who write.
 */
struct lt_health {
	__u32 refused; /* SYNs that a RST answered */
	__u32 syn_retries; /* SYNs sent again */
	__u32 synack_retries; /* SYN-ACKs sent again */
	__u32 other_drops; /* for reasons beyond those in drops */
	__u32 resets[2]; /* RSTs of established connections, by who sent them */
	__u32 timeouts[2]; /* retransmissions that the timer asked for (RTO, RFC 6298) */
	__u32 zero_windows[2]; /* how often this end closed its receive window */
	__u32 stalls
		[2]; /* how often this end's data waited for a delayed acknowledgement (Nagle) */
	__u64 closed_since_ns[2]; /* CLOCK_MONOTONIC; 0: this end's window is open */
	__u64 closed_ns[2]; /* how long it was closed, in all */
	__u64 stalled_ns[2]; /* how long its data waited, in all */
	struct lt_drop drops[LT_DROP_REASONS];
};

_Static_assert(sizeof(struct lt_health) == 128, "two cache lines");

/* When what was sampled so far is paid for, by either budget: CLOCK_MONOTONIC. */
struct lt_budget {
	__u64 samples_ns;
	__u64 bytes_ns;
};

/* Kept per CPU. */
struct lt_sample_counts {
	__u64 by[LT_SAMPLE_RESULTS];
};

/* Kept per CPU: one per reason, read all at once; and one per stage. */
struct lt_count {
	__u64 skbs;
	__u64 packets;
	__u64 bytes;
};

struct lt_counts {
	struct lt_count by[LT_REASON_COUNT];
};

/* Names one fragmented datagram until its later fragments have passed. */
struct lt_frag_key {
	__u8 saddr[16];
	__u8 daddr[16];
	__u32 site;
	__u32 id;
	__u8 proto;
	__u8 pad[3];
};

struct lt_frag_ports {
	__u16 sport;
	__u16 dport;
};

/* Places handed out so far, in order; those given back come through a queue of their own. */
struct lt_pool {
	__u64 fresh; /* the first so many, as far as there are, have been used at least once */
	__u64 full; /* flows that found none; of slots the reasons tell */
};

struct lt_pools {
	struct lt_pool slots;
	struct lt_pool exchanges;
	struct lt_pool healths;
	__u64 slow_lost; /* slow turns that the ring buffer had no room for */
	__u64 lives; /* of all slots so far */
};

#endif
