/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How many packets and bytes the device will make of an egress skb. A GSO skb that the device takes
 * whole is one packet, however many segments it stands for; one that it does not take is cut by
 * software before the device counts it. The questions asked here are those of validate_xmit_skb()
 * (net/core/dev.c: gso_features_check, skb_gso_ok), asked of the device as it is at this moment, so
 * that a changed limit or feature needs nobody to notice.
 */
#ifndef LOTRACE_DEVICE_BPF_H
#define LOTRACE_DEVICE_BPF_H

#include "base.bpf.h"
#include "parse.bpf.h"

#define LT_GSO_BY_FRAGS 0xffff /* SCTP: one segment per fragment (include/linux/skbuff.h) */
#define LT_SKB_GSO_DODGY (1 << 1) /* from an untrusted source; the device still takes it whole */
#define LT_NETIF_F_GSO_SHIFT 16 /* include/linux/netdev_features.h */

/* One skb, as the device counts it. */
struct lt_wire {
	__u32 packets;
	__u32 bytes;
};

/* Questions about an skb and its device. */
struct lt_gso {
	__u64 type;
	__u64 features;
	__u32 max_size;
	__u32 max_segs;
};

/* Where the kernel lets us have its own skb (Linux 6.2), and anything else by its type, these are loads. */
static __always_inline struct lt_gso lt_load_gso(struct __sk_buff *ctx, bool v6)
{
	struct sk_buff *skb = bpf_cast_to_kern_ctx(ctx);
	struct skb_shared_info *shinfo = bpf_rdonly_cast(
		skb->head + skb->end, bpf_core_type_id_kernel(struct skb_shared_info));
	struct net_device *dev = skb->dev;
	struct lt_gso gso = {
		.type = shinfo->gso_type,
		.features = dev->features,
		.max_size = dev->gso_max_size,
		.max_segs = dev->gso_max_segs,
	};

	if (!v6 &&
	    bpf_core_field_exists(dev->gso_ipv4_max_size)) /* one limit served both before 6.3 */
		gso.max_size = dev->gso_ipv4_max_size;
	return gso;
}

static __always_inline struct lt_gso lt_probe_gso(struct __sk_buff *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx;
	struct skb_shared_info *shinfo = (void *)BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end);
	struct net_device *dev = BPF_CORE_READ(skb, dev);

	return (struct lt_gso){
		.type = BPF_CORE_READ(shinfo, gso_type),
		.features = BPF_CORE_READ(dev, features),
		.max_size = BPF_CORE_READ(dev, gso_max_size),
		.max_segs = BPF_CORE_READ(dev, gso_max_segs),
	};
}

static __always_inline bool lt_is_segmented(struct __sk_buff *ctx, __u32 len)
{
	struct lt_gso gso;

	if (bpf_cast_to_kern_ctx && bpf_rdonly_cast)
		gso = lt_load_gso(ctx, ctx->protocol == bpf_htons(LT_ETH_P_IPV6));
	else
		gso = lt_probe_gso(ctx);
	if (len >= gso.max_size || ctx->gso_segs > gso.max_segs)
		return true;
	gso.type = (gso.type & ~LT_SKB_GSO_DODGY) << LT_NETIF_F_GSO_SHIFT;
	return (gso.features & gso.type) != gso.type;
}

static __always_inline struct lt_wire lt_wire(const struct lt_frame *f, const struct lt_packet *p)
{
	struct lt_wire wire = { .packets = 1, .bytes = f->len - LT_ETH_HLEN };
	struct __sk_buff *skb = f->ctx;
	__u32 gso_size;

	if (f->is_xdp)
		return wire;
	gso_size = skb->gso_size;
	if (!gso_size || !lt_is_segmented(skb, f->len))
		return wire;
	if (gso_size == LT_GSO_BY_FRAGS)
		wire.packets = skb->gso_segs;
	else
		wire.packets = (p->payload_len + gso_size - 1) / gso_size;
	wire.bytes = p->payload_len + wire.packets * (p->header_len - p->jumbo_len);
	return wire;
}

#endif
