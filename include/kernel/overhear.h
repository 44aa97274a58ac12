/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_KERNEL_OVERHEAR_H
#define SIPALG_KERNEL_OVERHEAR_H

#include "state/nat.h"

/**
 * struct overhear - A packet socket that listens while a call is silent
 * @fd:		-1: there is none
 * @listens:	It does so now
 * @ticks:	It may still do so long
 */
struct overhear {
	int fd;
	bool listens;
	unsigned int ticks;
	struct nat_line line;
};

/** OVERHEAR_NAME - A supervisor's name for such a socket */
#define OVERHEAR_NAME "packets"

/** overhear_open() - Open the socket, for which it takes CAP_NET_RAW. Where
 * that fails it says so in the log, and nothing is ever heard */
void overhear_open(struct overhear *o);

/** overhear_adopt() - Use a socket that overhear_open() has opened in another
 * process, the caller's no more; -1: there is none, open one */
void overhear_adopt(struct overhear *o, int fd);

/** overhear_begin() - As in struct nat_ops. -EBADF without a socket */
int overhear_begin(struct overhear *o, const struct nat_line *line);

/** overhear_end() - As in struct nat_ops */
void overhear_end(struct overhear *o, struct nat_overheard *heard);

/** overhear_tick() - Called about every second: it ends by itself */
void overhear_tick(struct overhear *o);

/** overhear_close() - Also where there is none */
void overhear_close(struct overhear *o);

#endif
