/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every header here builds on this: the kernel's types, libbpf's helpers, and memory that others write. */
#ifndef LOTRACE_BASE_BPF_H
#define LOTRACE_BASE_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "lotrace.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/*
 * The kernel's own skb behind a context, and any address as a type of the kernel's (Linux 6.2): their fields are loads,
 * and no calls. Where the kernel has none these are NULL, and what is behind that question is not there for the verifier.
 */
extern void *bpf_cast_to_kern_ctx(void *) __ksym __weak;
extern void *bpf_rdonly_cast(const void *, __u32)
__ksym __weak;

/* Loads and stores that the compiler may neither repeat nor merge: user space writes there too. */
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

#endif
