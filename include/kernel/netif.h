/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_KERNEL_NETIF_H
#define SIPALG_KERNEL_NETIF_H

#include "conf/conf.h"
#include "state/nat.h"

/**
 * struct netif - Interfaces by index, kept up to date by the kernel
 * @nlif:	libnfnetlink's table
 */
struct netif {
	struct nlif_handle *nlif;
	const struct conf *conf;
};

/** netif_open() - 0 or -errno */
int netif_open(struct netif *netif, const struct conf *conf);
void netif_close(struct netif *netif);

/** netif_fd() - To poll; when it can be read call netif_take_events() */
int netif_fd(const struct netif *netif);
void netif_take_events(struct netif *netif);

/** netif_side() - Which of the configuration's lists names an interface */
enum nat_side netif_side(const struct netif *netif, uint32_t ifindex);

#endif
