/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/syscalls.h"

/* Verdicts, ctnetlink, transparent sockets. It is among the first 32 */
#define WANTED (1u << CAP_NET_ADMIN)

/* Those that a program started by us could have; it takes CAP_SETPCAP, so this
 * comes first, and who lacks that has none to give
 */
static void empty_bounding_set(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (cap != CAP_NET_ADMIN)
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

int sandbox_drop_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
	bool more = false;

	empty_bounding_set();
	if (syscall(SYS_capget, &header, sets))
		return -errno;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		uint32_t wanted = i == 0 ? WANTED : 0;

		more |= (sets[i].permitted | sets[i].inheritable) & ~wanted;
		sets[i].permitted &= wanted;
		sets[i].effective &= wanted;
		sets[i].inheritable &= wanted;
	}
	/* The unit's own filter forbids this call, and leaves nothing to do */
	return more && syscall(SYS_capset, &header, sets) ? -errno : 0;
}

/* What becomes of a system call that is not in the table */
static uint32_t choose_action(void)
{
	const char *how = getenv("SIPALGD_SECCOMP");

	if (!how)
		return SCMP_ACT_KILL_PROCESS;
	if (!strcmp(how, "log") || !strcmp(how, "off")) {
		log_warning("SIPALGD_SECCOMP=%s: system calls are not "
			    "restricted",
			    how);
		return !strcmp(how, "log") ? SCMP_ACT_LOG : SCMP_ACT_ALLOW;
	}
	log_warning("SIPALGD_SECCOMP: \"log\" or \"off\"; system calls are "
		    "restricted");
	return SCMP_ACT_KILL_PROCESS;
}

void sandbox_enter(void)
{
	int err = sandbox_drop_capabilities();
	uint32_t otherwise;

	if (err)
		log_warning("more capabilities than CAP_NET_ADMIN are kept: %s",
			    strerror(-err));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		log_warning("no_new_privs: %s", strerror(errno));
	otherwise = choose_action();
	err = otherwise == SCMP_ACT_ALLOW ? 0 : syscalls_restrict(otherwise);
	if (err)
		log_warning("system calls are not restricted: seccomp: %s",
			    err == -EOPNOTSUPP ? "not for this architecture"
					       : strerror(-err));
}
