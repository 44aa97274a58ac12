/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Give the service the sockets that it takes CAP_NET_RAW to open: systemd keeps
 * them, and hands them to the daemon, which has no such right.
 *
 * Not for people: the unit starts it, outside of the sandbox, before the
 * daemon.
 */
#include <string.h>

#include "base/log.h"
#include "daemon/supervisor.h"
#include "kernel/overhear.h"
#include "kernel/rawsend.h"

static void hand_over(int fd, const char *name)
{
	supervisor_drop(name);
	if (fd >= 0)
		supervisor_keep(fd, name);
}

int main(void)
{
	struct overhear overhear;
	struct rawsend raw;
	int err = rawsend_open(&raw);

	if (err)
		log_error("raw sockets: %s", strerror(-err));
	overhear_open(&overhear);
	hand_over(raw.v4, RAWSEND_V4_NAME);
	hand_over(raw.v6, RAWSEND_V6_NAME);
	hand_over(overhear.fd, OVERHEAR_NAME);
	supervisor_wait();
	return err ? 1 : 0;
}
