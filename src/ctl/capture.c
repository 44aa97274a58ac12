/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <resolv.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/pcapng.h"
#include "ctl/trace.h"

enum { BEFORE, AFTER, INTERFACES };

/**
 * struct capture - Being written
 * @path:	As it was named
 * @begun:	The daemon has begun to tell
 * @missing:	Lost since the last packet written
 * @failed:	The file cannot be written
 */
struct capture {
	const char *path;
	int fd;
	FILE *out;
	bool begun, failed;
	uint64_t begun_us, missing, lost, packets[INTERFACES];
	uint8_t data[65536];
	char comment[65536];
};

static volatile sig_atomic_t stopped;

/* It interrupts the wait for the next packet. Where it comes just before that
 * wait begins it does not: so it comes again
 */
static void on_signal(int number)
{
	(void)number;
	stopped = 1;
	alarm(1);
}

static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGALRM };
	struct sigaction action = { .sa_handler = on_signal };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static bool fail(struct capture *c, const char *why)
{
	fprintf(stderr, "sipalgctl: %s: %s\n", c->path, why);
	c->failed = true;
	return false;
}

static int open_file(struct capture *c)
{
	if (strcmp(c->path, "-") != 0) {
		/* Emptied only when the daemon has agreed */
		c->fd = open(c->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	} else if (isatty(STDOUT_FILENO)) {
		fail(c, "packets are not for a terminal; name a file, or pipe "
			"it to a program");
		return -EINVAL;
	} else {
		c->fd = STDOUT_FILENO;
	}
	c->out = c->fd < 0 ? NULL : fdopen(c->fd, "wb");
	if (c->out)
		return 0;
	fail(c, strerror(errno));
	return -errno;
}

static bool begin(struct capture *c)
{
	c->begun = true;
	c->begun_us = now_us();
	/* What is no file has nothing to empty */
	if (c->fd != STDOUT_FILENO && ftruncate(c->fd, 0) && errno != EINVAL)
		return fail(c, strerror(errno));
	if (pcapng_begin(c->out, "sipalgctl " SIPALG_VERSION) ||
	    pcapng_interface(c->out, "before", "as it came to the gateway") ||
	    pcapng_interface(c->out, "after", "as sipalgd let it go on") ||
	    fflush(c->out))
		return fail(c, strerror(errno));
	fprintf(stderr, "capturing to %s; Ctrl-C ends it\n", c->path);
	return true;
}

static bool write_packet(struct capture *c, const json_t *packet)
{
	const json_t *data = json_object_get(packet, "data");
	const char *name =
		json_string_value(json_object_get(packet, "interface"));
	const char *comment =
		json_string_value(json_object_get(packet, "comment"));
	json_int_t time_us =
		json_integer_value(json_object_get(packet, "time_us"));
	uint32_t interface = name && !strcmp(name, "before") ? BEFORE : AFTER;
	char missing[64] = "";
	int len;

	if (!json_is_string(data) || !name || !comment)
		return true; /* of a newer daemon: not for us */
	len = b64_pton(json_string_value(data), c->data, sizeof(c->data));
	if (len < 0)
		return true;
	if (c->missing)
		snprintf(missing, sizeof(missing),
			 "before this one %llu packets are missing\n",
			 (unsigned long long)c->missing);
	snprintf(c->comment, sizeof(c->comment), "%s%s", missing, comment);
	if (pcapng_packet(c->out, interface, (uint64_t)time_us, c->data,
			  (size_t)len, c->comment) ||
	    fflush(c->out))
		return fail(c, strerror(errno));
	c->missing = 0;
	c->packets[interface]++;
	return true;
}

static bool on_line(void *arg, const json_t *line)
{
	struct capture *c = arg;
	json_int_t lost = json_integer_value(json_object_get(line, "lost"));

	if (!c->begun && !begin(c))
		return false;
	if (lost > 0) {
		c->missing += (uint64_t)lost;
		c->lost += (uint64_t)lost;
	} else if (!write_packet(c, line)) {
		return false;
	}
	return !stopped;
}

/* What is lost is known of both together: it stands with the first */
static void finish(struct capture *c)
{
	for (uint32_t i = 0; i < INTERFACES; i++) {
		struct pcapng_counts counts = {
			.begun_us = c->begun_us,
			.ended_us = now_us(),
			.received = c->packets[i],
			.dropped = i ? 0 : c->lost,
		};

		if (pcapng_counts(c->out, i, &counts)) {
			fail(c, strerror(errno));
			return;
		}
	}
	fprintf(stderr, "%llu packets before, %llu after, %llu lost\n",
		(unsigned long long)c->packets[BEFORE],
		(unsigned long long)c->packets[AFTER],
		(unsigned long long)c->lost);
}

int capture_run(const struct ctl *ctl, int argc, char **argv)
{
	static struct capture c;
	int status;

	if (argc < 1) {
		fprintf(stderr, "sipalgctl: capture: which file? \"-\" is "
				"standard output\n");
		return CTL_USAGE;
	}
	c.path = argv[0];
	if (open_file(&c))
		return CTL_USAGE;
	catch_signals();
	status = ctl_follow(ctl, trace_request("capture", argc - 1, argv + 1),
			    on_line, &c);
	alarm(0);
	if (status == CTL_OK && c.begun && !c.failed)
		finish(&c);
	if (fclose(c.out) && !c.failed)
		fail(&c, strerror(errno));
	if (status != CTL_OK || c.failed)
		return c.failed ? CTL_REFUSED : status;
	if (stopped)
		return CTL_OK;
	fprintf(stderr, "sipalgctl: sipalgd has ended; the file is complete "
			"up to then\n");
	return CTL_NO_DAEMON;
}
