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

/* Loads and stores that the compiler may neither repeat nor merge: user space writes there too. */
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

#endif
