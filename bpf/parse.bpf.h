/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From bytes to a tuple. The frame's length is the truth; the length fields of IP and UDP are not
 * read: above 64 KiB they are 0 (RFC 2675), and nothing here needs them.
 */
#ifndef LOTRACE_PARSE_BPF_H
#define LOTRACE_PARSE_BPF_H

#include "base.bpf.h"

#define LT_ETH_HLEN 14
#define LT_ETH_P_IP 0x0800
#define LT_ETH_P_IPV6 0x86dd

#define LT_TCP_FIN 0x01
#define LT_TCP_SYN 0x02
#define LT_TCP_RST 0x04
#define LT_TCP_ACK 0x10

enum {
	LT_IPPROTO_HOPOPTS = 0,
	LT_IPPROTO_ICMP = 1,
	LT_IPPROTO_TCP = 6,
	LT_IPPROTO_UDP = 17,
	LT_IPPROTO_ROUTING = 43,
	LT_IPPROTO_FRAGMENT = 44,
	LT_IPPROTO_AH = 51,
	LT_IPPROTO_ICMPV6 = 58,
	LT_IPPROTO_DSTOPTS = 60,
	LT_IPPROTO_SCTP = 132,
	LT_IPPROTO_MH = 135,
	LT_IPPROTO_HIP = 139,
	LT_IPPROTO_SHIM6 = 140,
};

/* No chain of LT_MAX_IP6_HEADERS is longer: 40 + 8 * 2048. For the verifier, which must know a bound. */
#define LT_MAX_HEADER_LEN 16424

union lt_addr {
	__u8 byte[16];
	__be32 word[4];
	__u64 half[2];
};

/* Where the bytes are; under XDP all of them are in [data, end). */
struct lt_frame {
	void *data;
	void *end;
	void *ctx;
	bool is_xdp; /* known at compile time: ctx is struct xdp_md, else struct __sk_buff */
	bool is_memory; /* known at compile time: there is no ctx, data is an address in the kernel */
	__u32 len; /* MAC header included */
};

static __always_inline struct lt_frame lt_skb_frame(struct __sk_buff *skb)
{
	return (struct lt_frame){
		.data = (void *)(long)skb->data,
		.end = (void *)(long)skb->data_end,
		.ctx = skb,
		.len = skb->len,
	};
}

static __always_inline struct lt_frame lt_xdp_frame(struct xdp_md *ctx)
{
	return (struct lt_frame){
		.data = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
		.ctx = ctx,
		.is_xdp = true,
		.len = ctx->data_end - ctx->data,
	};
}

/* The headers' contents. */
struct lt_packet {
	union lt_addr saddr;
	union lt_addr daddr;
	__u16 sport;
	__u16 dport;
	__u8 proto;
	__u8 family; /* 4 or 6 */
	__u8 tcp_flags;
	__u8 jumbo_len; /* of header_len: bytes that segmentation removes */
	__u32 header_len; /* IP and transport headers */
	__u32 payload_len;
	__u32 seq;
	__u32 ack;
	__u32 frag_id;
	__u8 frag_first;
	__u8 frag_later;
	__u16 window; /* as in the header, not scaled */
	__u32 site; /* where it was seen; not read from headers */
};

/*
 * Bytes by copy: for headers at offsets that only the packet knows. A pointer there would have the
 * verifier follow every combination of lengths, 8 headers deep.
 */
static __always_inline long lt_copy(const struct lt_frame *f, __u32 off, void *to, const __u32 len)
{
	if (f->is_memory)
		return f->data + off + len > f->end ||
		       bpf_probe_read_kernel(to, len, f->data + off);
	if (f->is_xdp)
		return bpf_xdp_load_bytes(f->ctx, off, to, len);
	return bpf_skb_load_bytes(f->ctx, off, to, len);
}

/*
 * Headers of what the local stack sends are in the linear area; what an AF_PACKET ring sends may not
 * be. So: a pointer into the packet when it is there, into the caller's buffer when it had to be
 * fetched, NULL when the frame ends first.
 */
static __always_inline const void *lt_bytes(const struct lt_frame *f, __u32 off, void *buf,
					    const __u32 len)
{
	if (f->is_memory)
		return lt_copy(f, off, buf, len) ? NULL : buf;
	if (f->data + off + len <= f->end)
		return f->data + off;
	if (!f->is_xdp && !bpf_skb_load_bytes(f->ctx, off, buf, len))
		return buf;
	return NULL;
}

static __always_inline void lt_map_v4(union lt_addr *to, __be32 v4)
{
	to->half[0] = 0;
	to->word[2] = bpf_htonl(0xffff);
	to->word[3] = v4;
}

static __always_inline enum lt_reason lt_parse_v4(const struct lt_frame *f, struct lt_packet *p,
						  __u32 *off)
{
	struct iphdr buf;
	const struct iphdr *ip = lt_bytes(f, LT_ETH_HLEN, &buf, sizeof(buf));
	__u16 frag;

	if (!ip)
		return LT_TRUNCATED;
	if (ip->version != 4 || ip->ihl < 5)
		return LT_MALFORMED;
	*off = LT_ETH_HLEN + ip->ihl * 4;
	if (*off > f->len)
		return LT_TRUNCATED;
	frag = bpf_ntohs(ip->frag_off);
	p->frag_later = (frag & 0x1fff) != 0;
	p->frag_first = !p->frag_later && (frag & 0x2000);
	p->frag_id = ip->id;
	p->family = 4;
	p->proto = ip->protocol;
	lt_map_v4(&p->saddr, ip->saddr);
	lt_map_v4(&p->daddr, ip->daddr);
	return LT_COUNTED;
}

/* The first bytes every extension header shares; the fragment header is all of them (RFC 8200). */
struct lt_ext {
	__u8 next;
	__u8 len;
	__be16 frag_off;
	__be32 frag_id;
};

static __always_inline bool lt_is_ext(__u8 proto)
{
	switch (proto) {
	case LT_IPPROTO_HOPOPTS:
	case LT_IPPROTO_ROUTING:
	case LT_IPPROTO_FRAGMENT:
	case LT_IPPROTO_AH:
	case LT_IPPROTO_DSTOPTS:
	case LT_IPPROTO_MH:
	case LT_IPPROTO_HIP:
	case LT_IPPROTO_SHIM6:
		return true;
	}
	return false;
}

/* One extension header, p->header_len behind the IP header's start. Returns LT_COUNTED to go on. */
static __always_inline enum lt_reason lt_parse_ext(const struct lt_frame *f, struct lt_packet *p)
{
	struct lt_ext ext;
	__u32 len;

	if (lt_copy(f, LT_ETH_HLEN + p->header_len, &ext, sizeof(ext)))
		return LT_TRUNCATED;
	if (p->proto == LT_IPPROTO_FRAGMENT) {
		len = sizeof(ext);
		p->frag_id = ext.frag_id;
		p->frag_later = (bpf_ntohs(ext.frag_off) & 0xfff8) != 0;
		p->frag_first = !p->frag_later && (bpf_ntohs(ext.frag_off) & 1);
	} else if (p->proto == LT_IPPROTO_AH) {
		len = (ext.len + 2) * 4;
	} else {
		len = (ext.len + 1) * 8;
		/* Jumbo payload, option 0xc2 of 4 bytes (RFC 2675), alone as the stack writes it. */
		if (p->proto == LT_IPPROTO_HOPOPTS && !ext.len && ext.frag_off == bpf_htons(0xc204))
			p->jumbo_len = sizeof(ext);
	}
	p->header_len += len;
	p->proto = ext.next;
	return LT_ETH_HLEN + p->header_len > f->len ? LT_TRUNCATED : LT_COUNTED;
}

static __always_inline enum lt_reason lt_walk(const struct lt_frame *f, struct lt_packet *p)
{
	for (int i = 0; i < LT_MAX_IP6_HEADERS; i++) {
		enum lt_reason reason;

		if (!lt_is_ext(p->proto))
			return LT_COUNTED;
		reason = lt_parse_ext(f, p);
		if (reason != LT_COUNTED || p->frag_later)
			return reason;
	}
	return lt_is_ext(p->proto) ? LT_HEADER_CHAIN : LT_COUNTED;
}

/*
 * Neither inlined nor static: the verifier then checks the walk once, by itself. Inlined, every
 * combination of 8 headers' lengths went on through the rest of the program, 10^6 steps on 6.1.
 */
__noinline int lt_walk_skb(struct __sk_buff *skb, struct lt_packet *p)
{
	struct lt_frame frame = { .ctx = skb, .len = skb->len };

	return p ? lt_walk(&frame, p) : LT_TRUNCATED;
}

__noinline int lt_walk_xdp(struct xdp_md *ctx, struct lt_packet *p)
{
	struct lt_frame frame = {
		.ctx = ctx,
		.is_xdp = true,
		.len = ctx->data_end - ctx->data,
	};

	return p ? lt_walk(&frame, p) : LT_TRUNCATED;
}

/* By value: a frame that is handed on by its address is no longer known at compile time. */
__noinline int lt_walk_memory(__u64 data, __u64 end, __u32 len, struct lt_packet *p)
{
	struct lt_frame frame = {
		.data = (void *)data,
		.end = (void *)end,
		.is_memory = true,
		.len = len,
	};

	return p ? lt_walk(&frame, p) : LT_TRUNCATED;
}

static __always_inline enum lt_reason lt_parse_v6(const struct lt_frame *f, struct lt_packet *p,
						  __u32 *off)
{
	struct ipv6hdr buf;
	const struct ipv6hdr *ip = lt_bytes(f, LT_ETH_HLEN, &buf, sizeof(buf));
	enum lt_reason reason;

	if (!ip)
		return LT_TRUNCATED;
	if (ip->version != 6)
		return LT_MALFORMED;
	p->family = 6;
	p->proto = ip->nexthdr;
	__builtin_memcpy(&p->saddr, &ip->saddr, sizeof(p->saddr));
	__builtin_memcpy(&p->daddr, &ip->daddr, sizeof(p->daddr));
	*off = LT_ETH_HLEN + sizeof(*ip);
	if (!lt_is_ext(p->proto))
		return LT_COUNTED;

	p->header_len = sizeof(*ip);
	if (f->is_memory)
		reason = lt_walk_memory((__u64)f->data, (__u64)f->end, f->len, p);
	else
		reason = f->is_xdp ? lt_walk_xdp(f->ctx, p) : lt_walk_skb(f->ctx, p);
	if (p->header_len > LT_MAX_HEADER_LEN)
		return LT_TRUNCATED;
	*off = LT_ETH_HLEN + p->header_len;
	return reason;
}

static __always_inline enum lt_reason lt_parse_tcp(const struct lt_frame *f, struct lt_packet *p,
						   __u32 *off)
{
	struct tcphdr buf;
	const struct tcphdr *tcp = lt_bytes(f, *off, &buf, sizeof(buf));

	if (!tcp)
		return LT_TRUNCATED;
	if (tcp->doff < 5)
		return LT_MALFORMED;
	p->sport = bpf_ntohs(tcp->source);
	p->dport = bpf_ntohs(tcp->dest);
	p->seq = bpf_ntohl(tcp->seq);
	p->ack = bpf_ntohl(tcp->ack_seq);
	p->window = bpf_ntohs(tcp->window);
	p->tcp_flags = ((const __u8 *)tcp)[13];
	*off += tcp->doff * 4;
	return *off > f->len ? LT_TRUNCATED : LT_COUNTED;
}

/* UDP and SCTP begin alike: two ports. */
static __always_inline enum lt_reason lt_parse_ports(const struct lt_frame *f, struct lt_packet *p,
						     __u32 *off, const __u32 header_len)
{
	struct {
		__be16 source;
		__be16 dest;
	} buf;
	const typeof(buf) *ports = lt_bytes(f, *off, &buf, sizeof(buf));

	if (!ports || *off + header_len > f->len)
		return LT_TRUNCATED;
	p->sport = bpf_ntohs(ports->source);
	p->dport = bpf_ntohs(ports->dest);
	*off += header_len;
	return LT_COUNTED;
}

/* Echo: the identifier stands for the port of the side that pings. */
static __always_inline enum lt_reason lt_parse_icmp(const struct lt_frame *f, struct lt_packet *p,
						    __u32 *off, const __u8 request,
						    const __u8 reply)
{
	struct icmphdr buf;
	const struct icmphdr *icmp = lt_bytes(f, *off, &buf, sizeof(buf));

	if (!icmp)
		return LT_TRUNCATED;
	if (icmp->type == request)
		p->sport = bpf_ntohs(icmp->un.echo.id);
	else if (icmp->type == reply)
		p->dport = bpf_ntohs(icmp->un.echo.id);
	*off += sizeof(*icmp);
	return LT_COUNTED;
}

static __always_inline enum lt_reason lt_parse_transport(const struct lt_frame *f,
							 struct lt_packet *p, __u32 *off)
{
	if (p->proto == LT_IPPROTO_TCP)
		return lt_parse_tcp(f, p, off);
	if (p->proto == LT_IPPROTO_UDP)
		return lt_parse_ports(f, p, off, sizeof(struct udphdr));
	if (p->proto == LT_IPPROTO_SCTP)
		return lt_parse_ports(f, p, off, 12);
	if (p->proto == LT_IPPROTO_ICMP && p->family == 4)
		return lt_parse_icmp(f, p, off, 8, 0);
	if (p->proto == LT_IPPROTO_ICMPV6 && p->family == 6)
		return lt_parse_icmp(f, p, off, 128, 129);
	return LT_COUNTED;
}

/* Parses all that comes behind the MAC header. */
static __always_inline enum lt_reason lt_parse_type(const struct lt_frame *f, struct lt_packet *p,
						    __be16 type)
{
	enum lt_reason reason;
	__u32 off = LT_ETH_HLEN;

	if (type == bpf_htons(LT_ETH_P_IP))
		reason = lt_parse_v4(f, p, &off);
	else if (type == bpf_htons(LT_ETH_P_IPV6))
		reason = lt_parse_v6(f, p, &off);
	else
		return LT_NOT_IP;
	if (reason == LT_COUNTED && !p->frag_later)
		reason = lt_parse_transport(f, p, &off);
	p->header_len = off - LT_ETH_HLEN;
	p->payload_len = f->len - off;
	return reason;
}

static __always_inline enum lt_reason lt_parse(const struct lt_frame *f, struct lt_packet *p)
{
	struct ethhdr buf;
	const struct ethhdr *eth = lt_bytes(f, 0, &buf, sizeof(buf));

	return eth ? lt_parse_type(f, p, eth->h_proto) : LT_TRUNCATED;
}

/* Neither inlined nor static: copies of headers take room on the stack, which is needed for no longer than this. */
__noinline int lt_parse_skb(struct __sk_buff *skb, struct lt_packet *p)
{
	struct lt_frame frame = lt_skb_frame(skb);

	return p ? lt_parse(&frame, p) : LT_TRUNCATED;
}

#endif
