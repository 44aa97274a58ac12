/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_STORE_H
#define SIPALG_DAEMON_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "state/alg.h"

/*
 * Theory of operation
 *
 * The state file is lines of JSON: a head, an object of state/saved a line, and
 * an end that counts and sums up what is before it. It is written beside its
 * place and moved there, so that it is whole or not there, whatever happens.
 * One that is not whole is set aside, and the kernel's table must do.
 */

/** STORE_FILE - Its name in state.directory */
#define STORE_FILE "state"

/**
 * struct store - Where, and when it is
 * @directory:	state.directory
 * @now_ms:	Monotonic
 * @offset_ms:	What the clock on the wall is ahead of that
 */
struct store {
	const char *directory;
	uint64_t now_ms;
	int64_t offset_ms;
};

/** struct store_count - What came of reading */
struct store_count {
	unsigned int restored, dropped;
};

/** store_at() - There, and now by the clock on the wall */
struct store store_at(const char *directory, uint64_t now_ms);

/**
 * store_write() - Write the state file
 * @orderly:	Nothing happens after it: the program ends
 *
 * Return: 0 or -errno; the file is as it was then
 */
int store_write(const struct store *store, const struct alg *alg, bool orderly);

/**
 * store_read() - Restore what the state file says, and move it to "state.old"
 * @whole:	No packet has passed since it was written: connections too can
 *		go on, if it was written in order
 * @why:	Set to what is wrong with it, for -EBADMSG
 *
 * Where there is none, "state.old" is read instead: then this program's
 * predecessor was killed before it wrote its own.
 *
 * Return: 0; -ENOENT; -EBADMSG if it was set aside ("state.bad"); -errno
 */
int store_read(const struct store *store, struct alg *alg, bool whole,
	       struct store_count *count, const char **why);

#endif
