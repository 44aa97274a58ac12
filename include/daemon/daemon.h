/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_DAEMON_H
#define SIPALG_DAEMON_DAEMON_H

#include <signal.h>

#include "conf/conf.h"
#include "daemon/control.h"
#include "kernel/kernel.h"
#include "kernel/queue.h"
#include "state/alg.h"

/**
 * struct daemon - sipalgd at work
 * @conf_path:	Read again on SIGHUP
 * @conf:	In force
 * @queues:	All that the rules may choose from; one thread serves them
 * @now_ms:	Monotonic time; read once a wake-up
 * @started_ms:	When it began
 * @drop_overflow: Queues that are full drop; else packets pass unread
 */
struct daemon {
	const char *conf_path;
	struct conf *conf;
	struct kernel kernel;
	struct alg *alg;
	struct queue *queues;
	unsigned int queue_count;
	struct control control;
	int epoll, signals, ticks;
	uint64_t now_ms, started_ms;
	bool stop, drop_overflow;
};

/**
 * daemon_run() - Be the daemon until a signal ends it
 * @conf_path:	Configuration file
 * @conf:	Loaded from it; handed over
 *
 * Return: exit status
 */
int daemon_run(const char *conf_path, struct conf *conf);

#endif
