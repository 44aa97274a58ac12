/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_KEEPER_H
#define SIPALG_DAEMON_KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct daemon;

/*
 * Theory of operation
 *
 * Should the program be killed, the kernel's table has what packets need; who
 * is registered and what calls there are is in the state file, which is
 * written anew while it runs. A child process does that: it has all state as it
 * was in the moment of fork(2), and no packet waits for it.
 */

/**
 * struct keeper - Keeps the state file fresh
 * @child:	Writes it; 0: nobody does
 * @began_ms:	When it began
 * @next_ms:	Not before
 * @seen:	What had happened when it was written last
 * @failed:	It could not be written, and that was said
 */
struct keeper {
	pid_t child;
	uint64_t began_ms, next_ms, seen;
	bool failed;
};

/** keeper_tick() - About once a second */
void keeper_tick(struct daemon *d);

/** keeper_restore() - At the start; @whole as in store_read() */
void keeper_restore(struct daemon *d, bool whole);

/** keeper_finish() - The program ends. Return: 0, or -errno where the state was
 * not written */
int keeper_finish(struct daemon *d);

#endif
