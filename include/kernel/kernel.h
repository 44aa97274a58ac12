/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_KERNEL_KERNEL_H
#define SIPALG_KERNEL_KERNEL_H

#include "kernel/conntrack.h"
#include "kernel/netif.h"
#include "kernel/overhear.h"
#include "kernel/rawsend.h"
#include "kernel/route.h"
#include "state/nat.h"

/**
 * struct kernel - All of the kernel that the state layer asks, behind nat_ops
 * @udp_idle_s:	nf_conntrack_udp_timeout, and _stream
 * @tcp_idle_s:	nf_conntrack_tcp_timeout_syn_sent, and _established
 * @counts:	nf_conntrack_acct
 * @before_send: Given each packet of our own before it is sent; may be NULL
 */
struct kernel {
	const struct conf *conf;
	struct conntrack conntrack;
	struct netif netif;
	struct route route;
	struct rawsend rawsend;
	struct overhear overhear;
	uint32_t udp_idle_s[2], tcp_idle_s[2];
	bool counts;
	void (*before_send)(void *arg, const void *packet, size_t len);
	void *before_send_arg;
};

/** kernel_ops - Their context is a struct kernel */
extern const struct nat_ops kernel_ops;

/**
 * struct kernel_given - Sockets that a supervisor has handed over, which it
 * takes CAP_NET_RAW to open; -1: none, open it
 */
struct kernel_given {
	int raw_v4, raw_v6, packet;
};

/**
 * kernel_open() - Open everything
 * @given:	The caller's no more
 * @what:	On failure: what could not be opened, and the remedy
 *
 * Return: 0 or -errno
 */
int kernel_open(struct kernel *kernel, const struct conf *conf,
		const struct kernel_given *given, const char **what);
/** kernel_close() - Also of one that is all zero */
void kernel_close(struct kernel *kernel);

/** kernel_configure() - Go on with another configuration */
void kernel_configure(struct kernel *kernel, const struct conf *conf);

/** kernel_conntrack_usage() - How full conntrack's table is; 0 where that
 * cannot be read */
void kernel_conntrack_usage(uint32_t *entries, uint32_t *max);

/** kernel_tick() - Read again what may change; about every second */
void kernel_tick(struct kernel *kernel);

#endif
