/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/keeper.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/store.h"

/* How old it gets at least, and what part of the time may go into it */
#define EVERY_MS 10000
#define SHARE 20
/* A child that needs longer hangs in a file system that does not answer */
#define HANGS_MS 120000

/* Changes whenever something that is written down does */
static uint64_t happened(const struct daemon *d)
{
	static const enum counter what[] = {
		COUNTER_mappings_created,      COUNTER_registrations_confirmed,
		COUNTER_registrations_ended,   COUNTER_calls_started,
		COUNTER_calls_ended,	       COUNTER_media_entries,
		COUNTER_registrations_evicted, COUNTER_calls_evicted,
		COUNTER_subscriptions_evicted,
	};
	uint64_t sum = 1;

	for (size_t i = 0; i < sizeof(what) / sizeof(*what); i++)
		sum += d->alg->counters.value[what[i]];
	return sum;
}

static void say_how(struct daemon *d, int err, const char *why)
{
	if (err && !d->keeper.failed)
		log_warning("state.directory: %s: state not written: %s; after "
			    "a crash the kernel's table must do",
			    d->conf->state.directory, why);
	d->keeper.failed = err;
}

static void say_failed(struct daemon *d, int err)
{
	say_how(d, err, strerror(err));
}

/* ---- the child ---- */

static void write_in_child(struct daemon *d)
{
	struct store store = store_at(d->conf->state.directory, d->now_ms);
	int err;

	/* Or a queue would outlive the program that serves it */
	for (unsigned int i = 0; i < d->queue_count; i++)
		close(queue_fd(&d->queues[i]));
	err = store_write(&store, d->alg, false);
	_exit(err ? -err & 0x7f : 0);
}

static void begin(struct daemon *d)
{
	pid_t child = fork();

	if (!child)
		write_in_child(d);
	d->keeper.child = child > 0 ? child : 0;
	d->keeper.began_ms = d->now_ms;
	d->keeper.next_ms = d->now_ms + EVERY_MS;
	if (child < 0)
		say_failed(d, errno);
}

static void end_child(struct daemon *d)
{
	if (!d->keeper.child)
		return;
	kill(d->keeper.child, SIGKILL);
	waitpid(d->keeper.child, NULL, 0);
	d->keeper.child = 0;
}

static void look_after(struct daemon *d)
{
	struct keeper *k = &d->keeper;
	uint64_t took_ms = d->now_ms - k->began_ms;
	int status;

	if (waitpid(k->child, &status, WNOHANG) == k->child) {
		k->child = 0;
		if (took_ms * SHARE > EVERY_MS)
			k->next_ms = d->now_ms + took_ms * SHARE;
		if (WIFSIGNALED(status))
			say_how(d, EIO, strsignal(WTERMSIG(status)));
		else
			say_failed(d, WEXITSTATUS(status));
	} else if (took_ms > HANGS_MS) {
		end_child(d);
		say_failed(d, ETIMEDOUT);
	}
}

void keeper_tick(struct daemon *d)
{
	struct keeper *k = &d->keeper;
	uint64_t now = happened(d);

	if (k->child) {
		look_after(d);
	} else if (d->now_ms >= k->next_ms && now != k->seen) {
		k->seen = now;
		begin(d);
	}
}

/* ---- beginning and end ---- */

void keeper_restore(struct daemon *d, bool whole)
{
	const char *directory = d->conf->state.directory, *why;
	struct store store = store_at(directory, d->now_ms);
	struct store_count count;
	int err = store_read(&store, d->alg, whole, &count, &why);

	if (!err && (count.restored || count.dropped))
		log_notice("state: %u objects taken up, %u of no use any more",
			   count.restored, count.dropped);
	else if (err == -EBADMSG)
		log_warning("%s/" STORE_FILE ": %s; set aside as " STORE_FILE
			    ".bad, the kernel's table must do",
			    directory, why);
	else if (err && err != -ENOENT)
		log_warning("state.directory: %s: not read: %s", directory,
			    strerror(-err));
	d->keeper.seen = happened(d);
	d->keeper.next_ms = d->now_ms + EVERY_MS;
}

int keeper_finish(struct daemon *d)
{
	struct store store = store_at(d->conf->state.directory, d->now_ms);
	int err;

	end_child(d);
	err = store_write(&store, d->alg, true);
	say_failed(d, -err);
	return err;
}
