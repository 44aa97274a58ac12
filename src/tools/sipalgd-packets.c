/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Give the service a packet socket (kernel/overhear.h): systemd keeps it, and
 * hands it to the daemon, which itself may open none.
 *
 * Not for people: the unit starts it, outside of the sandbox, before the
 * daemon.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "daemon/supervisor.h"
#include "kernel/overhear.h"

int main(void)
{
	int fd =
		socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0) {
		log_warning("no packet socket: %s; media that comes from "
			    "elsewhere is not found where it is dropped",
			    strerror(errno));
		return 0;
	}
	supervisor_drop(OVERHEAR_NAME);
	supervisor_keep(fd, OVERHEAR_NAME);
	supervisor_wait();
	return 0;
}
