/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_DAEMON_H
#define SIPALG_DAEMON_DAEMON_H

#include <signal.h>

#include "conf/conf.h"
#include "daemon/control.h"
#include "daemon/httpd.h"
#include "daemon/keeper.h"
#include "daemon/trace.h"
#include "kernel/kernel.h"
#include "kernel/queue.h"
#include "state/alg.h"

/**
 * struct daemon - sipalgd at work
 * @conf_path:	Read again on SIGHUP; from the root on, for who asks where it is
 *		may be in another directory
 * @conf:	In force
 * @queues:	All that the rules may choose from; one thread serves them
 * @now_ms:	Monotonic time; read once a wake-up
 * @started_ms, @started_at_s: When it began; the second in Unix time
 * @metrics:	The page; NULL: none
 * @file_mode:	gateway.mode as the file has it; @conf's may be another by
 *		command
 * @doctor_base, @doctor_base_ms, @refused_base: Before what doctor looks at:
 *		the start, or the last reload
 * @drop_overflow: Queues that are full drop; else packets pass unread
 * @line_ms:	When next to look what changes of addresses and routes mean
 * @full_said_ms: When it was last said that one was
 * @overrun_ms:	When it was last said that conntrack told too much at once
 * @full_ms:	When next to look whether a queue is full
 * @watch_ms:	How often the supervisor wants to hear that we live; 0: never
 * @alive_ms:	When it last did
 * @taken:	Packets taken until then
 * @hand_over:	It stops for a successor, which goes on with the queues
 */
struct daemon {
	const char *conf_path;
	struct conf *conf;
	struct kernel kernel;
	struct alg *alg;
	struct queue *queues;
	unsigned int queue_count;
	struct control control;
	struct trace trace;
	int epoll, signals, ticks;
	uint64_t now_ms, started_ms;
	struct counters doctor_base;
	uint64_t doctor_base_ms;
	unsigned long refused_base;
	int64_t started_at_s;
	uint64_t line_ms, full_ms, full_said_ms, overrun_ms, watch_ms, alive_ms,
		taken;
	struct httpd *metrics;
	enum conf_mode file_mode;
	struct keeper keeper;
	bool stop, drop_overflow, hand_over;
};

/** DAEMON_HANDED_OVER - Exit status: a successor is expected */
#define DAEMON_HANDED_OVER 3

/**
 * daemon_run() - Be the daemon until a signal ends it
 * @conf_path:	Configuration file
 * @conf:	Loaded from it; handed over
 *
 * Return: exit status: 0, 1 or DAEMON_HANDED_OVER
 */
int daemon_run(const char *conf_path, struct conf *conf);

/**
 * daemon_reload() - Read the configuration file again
 * @said:	Set to what there is to say of the file, a line each, also where
 *		it was taken (warnings); the caller frees it. NULL: nothing
 *
 * Return: 0; -EINVAL or -errno if it was not taken: the old one stays in force
 */
int daemon_reload(struct daemon *d, char **said);

/**
 * daemon_read_queues() - What the kernel says of each of d->queues
 * @counts:	CONF_MAX_QUEUES of them
 */
void daemon_read_queues(const struct daemon *d, struct queue_counts *counts);

/**
 * daemon_set_mode() - Go on in another mode until a reload or the end
 *
 * Return: 0 or -ENOMEM
 */
int daemon_set_mode(struct daemon *d, enum conf_mode mode);

#endif
