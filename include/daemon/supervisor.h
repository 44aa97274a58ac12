/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_SUPERVISOR_H
#define SIPALG_DAEMON_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Theory of operation
 *
 * Who started this program, systemd as a rule, may keep descriptors while it is
 * not there (sd_notify(3), FDSTORE=1). An NFQUEUE stays bound as long as a
 * descriptor of its socket is open anywhere: packets then wait in the kernel,
 * where they would pass unread otherwise. So each queue's socket is handed to
 * the supervisor, and a successor, be it after a restart or a crash, goes on
 * with it.
 */

/** SUPERVISOR_NAME_MAX - Room for the name of a descriptor */
#define SUPERVISOR_NAME_MAX 32

/** supervisor_keeps() - There is one, which may keep descriptors */
bool supervisor_keeps(void);

/** supervisor_take() - The descriptor of that name that a predecessor left; the
 * caller's from now on. -1 if there is none */
int supervisor_take(const char *name);

/** supervisor_drop_rest() - Close what nobody took, and have it forgotten */
void supervisor_drop_rest(void);

/** supervisor_keep() - Have a descriptor kept */
void supervisor_keep(int fd, const char *name);

/** supervisor_drop() - No longer; what has the name is closed there */
void supervisor_drop(const char *name);

/** supervisor_wait() - Until all that was said has been done */
void supervisor_wait(void);

/** supervisor_watch_ms() - How often it wants to hear "WATCHDOG=1", at least;
 * 0: not at all */
uint64_t supervisor_watch_ms(void);

/** supervisor_say() - A line as sd_notify(3) has it: "READY=1" */
void supervisor_say(const char *line);

#endif
