/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Numbers of the kernel's network stack that its type information does not have. */
#ifndef LOTRACE_NET_BPF_H
#define LOTRACE_NET_BPF_H

#define LT_LOOPBACK_IFINDEX 1 /* in every namespace; include/net/flow.h */

#define LT_AF_INET 2 /* include/linux/socket.h */
#define LT_AF_INET6 10
#define LT_AF_PACKET 17

#define LT_SOCK_STREAM 1 /* include/linux/net.h */

#endif
