/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <resolv.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/pcapng.h"
#include "ctl/show.h"
#include "ctl/trace.h"

enum { BEFORE, AFTER, INTERFACES };

/**
 * struct capture - Being written
 * @path:	As it was named
 * @whole:	Bytes of the file up to the end of the last block
 * @begun:	The daemon has begun to tell
 * @missing:	Lost since the last packet written
 * @failed:	The file cannot be written
 */
struct capture {
	const char *path;
	FILE *out;
	off_t whole;
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

static bool is_stdout(const struct capture *c)
{
	return !strcmp(c->path, "-");
}

/* What was asked for cannot be; nothing is touched yet */
static bool is_possible(const struct ctl *ctl, const struct capture *c)
{
	const char *why = NULL;

	if (is_stdout(c) && ctl->json)
		why = "packets and the document of --json cannot both be on "
		      "standard output; name a file";
	else if (is_stdout(c) && isatty(STDOUT_FILENO))
		why = "packets are not for a terminal; name a file, or pipe "
		      "it to a program";
	if (why)
		fprintf(stderr, "sipalgctl: capture: %s\n", why);
	return !why;
}

/* Only when the daemon has agreed: a file that is there is emptied */
static bool open_file(struct capture *c)
{
	int fd = is_stdout(c)
			 ? dup(STDOUT_FILENO)
			 : open(c->path,
				O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	c->out = fd < 0 ? NULL : fdopen(fd, "wb");
	if (c->out)
		return true;
	fail(c, strerror(errno));
	if (fd >= 0)
		close(fd);
	return false;
}

/* Block by block, so that what is in the file can be read at any time */
static bool written(struct capture *c, int err)
{
	if (err || fflush(c->out))
		return fail(c, strerror(errno));
	c->whole = ftello(c->out);
	return true;
}

static bool begin(struct capture *c)
{
	c->begun = true;
	c->begun_us = now_us();
	if (!open_file(c) ||
	    !written(c, pcapng_begin(c->out, "sipalgctl " SIPALG_VERSION) ||
				pcapng_interface(c->out, "before",
						 "as it came to the gateway") ||
				pcapng_interface(c->out, "after",
						 "as sipalgd let it go on")))
		return false;
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
	if (!written(c, pcapng_packet(c->out, interface, (uint64_t)time_us,
				      c->data, (size_t)len, c->comment)))
		return false;
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
static void put_counts(struct capture *c)
{
	int err = 0;

	for (uint32_t i = 0; i < INTERFACES; i++) {
		struct pcapng_counts counts = {
			.begun_us = c->begun_us,
			.ended_us = now_us(),
			.received = c->packets[i],
			.dropped = i ? 0 : c->lost,
		};

		err |= pcapng_counts(c->out, i, &counts);
	}
	written(c, err);
}

static void say_counts(const struct ctl *ctl, const struct capture *c)
{
	json_t *document;

	fprintf(stderr, "%llu packets before, %llu after, %llu lost\n",
		(unsigned long long)c->packets[BEFORE],
		(unsigned long long)c->packets[AFTER],
		(unsigned long long)c->lost);
	if (!ctl->json)
		return;
	document = json_pack("{s:s, s:I, s:I, s:I}", "file", c->path, "before",
			     (json_int_t)c->packets[BEFORE], "after",
			     (json_int_t)c->packets[AFTER], "lost",
			     (json_int_t)c->lost);
	show_document(document);
	json_decref(document);
}

/* A block of which only a part had room would make the file a damaged one */
static void close_file(struct capture *c)
{
	if (!c->failed)
		put_counts(c);
	if (c->failed) {
		__fpurge(c->out);
		if (c->whole > 0 && ftruncate(fileno(c->out), c->whole))
			c->whole = 0; /* of a pipe what is out is out */
	}
	if (fclose(c->out) && !c->failed)
		fail(c, strerror(errno));
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
	if (!is_possible(ctl, &c))
		return CTL_USAGE;
	catch_signals();
	status = ctl_follow(ctl, trace_request("capture", argc - 1, argv + 1),
			    on_line, &c);
	alarm(0);
	if (c.out)
		close_file(&c);
	if (c.begun)
		say_counts(ctl, &c);
	if (status != CTL_OK || c.failed)
		return c.failed ? CTL_REFUSED : status;
	if (stopped)
		return CTL_OK;
	fprintf(stderr, "sipalgctl: sipalgd has ended; the file is complete "
			"up to then\n");
	return CTL_NO_DAEMON;
}
