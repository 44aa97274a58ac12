/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_SYSCALLS_H
#define SIPALG_DAEMON_SYSCALLS_H

#include <stdint.h>

/**
 * syscalls_restrict() - From now on, for this process and its children, make
 * only those system calls that running takes
 * @otherwise:	What becomes of another, as in seccomp_init(3)
 *
 * Nobody can take that back. Sets no_new_privs, too.
 *
 * Return: 0; -EOPNOTSUPP where the table is not for this architecture; -errno
 * where the kernel has no such filters: all is as it was
 */
int syscalls_restrict(uint32_t otherwise);

#endif
