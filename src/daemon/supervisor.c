/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/supervisor.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

bool supervisor_keeps(void)
{
	return getenv("NOTIFY_SOCKET") != NULL;
}

/* As many as queue.count can be */
#define MOST 256
/* A supervisor that does not answer shall not keep us */
#define BARRIER_US 1000000

/* sd_listen_fds(3): from SD_LISTEN_FDS_START on */
static bool taken[MOST];

int supervisor_take(const char *name)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(0, &names), fd = -1;

	for (int i = 0; i < n; i++) {
		if (fd < 0 && i < MOST && !taken[i] &&
		    !strcmp(names[i], name)) {
			fd = SD_LISTEN_FDS_START + i;
			taken[i] = true;
			fcntl(fd, F_SETFD, FD_CLOEXEC);
		}
		free(names[i]);
	}
	free(names);
	return fd;
}

void supervisor_drop(const char *name)
{
	sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

void supervisor_wait(void)
{
	sd_notify_barrier(0, BARRIER_US);
}

void supervisor_drop_rest(void)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(0, &names);

	for (int i = 0; i < n; i++) {
		if (i >= MOST || !taken[i]) {
			close(SD_LISTEN_FDS_START + i);
			supervisor_drop(names[i]);
		}
		free(names[i]);
	}
	free(names);
}

void supervisor_keep(int fd, const char *name)
{
	char line[128];

	/* Not to be thrown away for an error on it: that is ours to handle */
	snprintf(line, sizeof(line), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	sd_pid_notify_with_fds(0, 0, line, &fd, 1);
}

uint64_t supervisor_watch_ms(void)
{
	uint64_t usec;

	/* It waits for so long, and then kills */
	return sd_watchdog_enabled(0, &usec) > 0 ? usec / 2000 : 0;
}

void supervisor_say(const char *line)
{
	sd_notify(0, line);
}
