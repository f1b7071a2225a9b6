/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which site is this namespace? A site is one whose traffic is counted, and has a number in every key. */
#ifndef LOTRACE_SITE_BPF_H
#define LOTRACE_SITE_BPF_H

#include "base.bpf.h"
#include "config.bpf.h"

/* By the namespace's inode number; 0: it is none. There is one site. */
static __always_inline __u32 lt_site_by_inode(__u32 netns)
{
	return netns == config.netns ? config.site : 0;
}

/* By a pointer that the verifier knows. */
static __always_inline __u32 lt_site_of(struct net *net)
{
	return lt_site_by_inode(net->ns.inum);
}

/* By any pointer; what cannot be read is none. */
static __always_inline __u32 lt_read_site(struct net *net)
{
	return lt_site_by_inode(BPF_CORE_READ(net, ns.inum));
}

#endif
