/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_SANDBOX_H
#define SIPALG_DAEMON_SANDBOX_H

/**
 * sandbox_enter() - Give up for good what running does not take: all
 * capabilities but CAP_NET_ADMIN, ways to new privileges, and most system calls
 *
 * To be called when all is open, before the first packet. What cannot be given
 * up is said in the log, and the daemon goes on: it forwards people's calls.
 * SIPALGD_SECCOMP in the environment is for who looks for a call that is
 * missing: "log" has the kernel report instead of ending us, "off" filters
 * nothing.
 */
void sandbox_enter(void);

/**
 * sandbox_drop_capabilities() - Its first part
 *
 * Return: 0; -EPERM where a sandbox around us does not let us: -errno
 */
int sandbox_drop_capabilities(void);

#endif
