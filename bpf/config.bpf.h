/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* User space tells the programs this: constants before load, the filter while running. */
#ifndef LOTRACE_CONFIG_BPF_H
#define LOTRACE_CONFIG_BPF_H

#include "base.bpf.h"

const volatile struct lt_config config = {};

/* A section of its own, so that user space can write it without touching anything else. */
struct lt_filter filter SEC(".data.filter");

#endif
