/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_KERNEL_CONNTRACK_H
#define SIPALG_KERNEL_CONNTRACK_H

#include "kernel/netlink.h"
#include "state/nat.h"

/**
 * struct conntrack - The kernel's connection tracking table
 * @ask:	For requests
 * @events:	Tells of entries that went
 * @object, @answer: Reused for each request
 *
 * The only module that knows libnetfilter_conntrack.
 */
struct conntrack {
	struct netlink ask, events;
	struct nf_conntrack *object, *answer;
};

/** conntrack_open() - 0 or -errno; -EPERM without CAP_NET_ADMIN */
int conntrack_open(struct conntrack *ct);
void conntrack_close(struct conntrack *ct);

/* As in struct nat_ops */
int conntrack_find(struct conntrack *ct, const struct tuple *t,
		   enum nat_side side, struct nat_entry *entry);
int conntrack_create(struct conntrack *ct, const struct nat_entry *entry);
int conntrack_remove(struct conntrack *ct, const struct tuple *lan);
int conntrack_refresh(struct conntrack *ct, const struct tuple *lan,
		      uint32_t timeout_s);
int conntrack_set_mark(struct conntrack *ct, const struct tuple *lan,
		       struct conf_mark mark);
int conntrack_set_liberal(struct conntrack *ct, const struct tuple *lan);

/**
 * conntrack_each() - Look at every UDP and TCP entry
 * @each:	Gets both readings of it: as if its first packet had come from
 *		inside, and the reverse; which one holds, the caller knows
 */
int conntrack_each(struct conntrack *ct,
		   void (*each)(void *arg, const struct nat_entry *entry),
		   void *arg);

/**
 * conntrack_take_events() - UDP entries that went, not by our own doing
 * @gone:	Called with either tuple of each
 *
 * Return: 0; -ENOBUFS if some were missed
 */
int conntrack_take_events(struct conntrack *ct,
			  void (*gone)(void *arg, const struct tuple *t),
			  void *arg);

#endif
