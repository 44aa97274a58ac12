/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_KERNEL_OVERHEAR_H
#define SIPALG_KERNEL_OVERHEAR_H

#include "state/nat.h"

/**
 * struct overhear - A packet socket that is open while a call is silent
 * @fd:		-1: it is not
 * @ticks:	It may still be open so long
 */
struct overhear {
	int fd;
	unsigned int ticks;
	struct nat_line line;
};

/** overhear_begin() - As in struct nat_ops. -EPERM without CAP_NET_RAW */
int overhear_begin(struct overhear *o, const struct nat_line *line);

/** overhear_end() - As in struct nat_ops; closes the socket */
void overhear_end(struct overhear *o, struct nat_overheard *heard);

/** overhear_tick() - Called about every second: it ends by itself */
void overhear_tick(struct overhear *o);

/** overhear_close() - Also of one that is not open */
void overhear_close(struct overhear *o);

#endif
