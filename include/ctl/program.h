/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_PROGRAM_H
#define SIPALG_CTL_PROGRAM_H

#include <stdbool.h>

/**
 * struct program - A program to run to its end
 * @argv:	Ends with NULL; found by PATH, and in the directories for
 *		administrators
 * @input:	Its standard input; NULL for none
 * @apart:	In a network namespace of its own that goes when it ends: what
 *		it does there changes nothing. Needs root
 *
 * What it writes to standard error is dropped.
 */
struct program {
	const char *const *argv;
	const char *input;
	bool apart;
};

/** program_exists() - @name is found */
bool program_exists(const char *name);

/**
 * program_run() - Run it and take what it writes
 * @output:	Set on success, never NULL then; the caller frees it
 *
 * Return: 0; its exit status, if that is another; -EINTR if a signal ended it;
 * -ENOENT if it is not there; -EPERM if @apart is not allowed; -errno
 */
int program_run(const struct program *program, char **output);

#endif
