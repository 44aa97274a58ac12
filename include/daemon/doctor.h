/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_DOCTOR_H
#define SIPALG_DAEMON_DOCTOR_H

#include <jansson.h>

struct daemon;

/**
 * doctor_answer() - The command "doctor": what only the daemon knows, for
 * sipalgctl, which looks at the system around
 * @arg:	struct daemon
 *
 * {"doctor": [{code, severity, text, ...}], "pid", "config_file": its path,
 * "config": the configuration in force, as an ini file}
 *
 * How a finding is mended is said in terms that need no knowledge of the
 * system: "set": {section.key: value} and "restart" or not, "command": of
 * sipalgctl, with "advice" in words or "fix", for a shell as it is, before it.
 *
 * Return: a new reference; NULL if memory ran out
 */
json_t *doctor_answer(void *arg, const json_t *request);

/** doctor_reset() - Forget what has happened so far: a new configuration may
 * have mended it */
void doctor_reset(struct daemon *d);

#endif
