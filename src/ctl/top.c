/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * All rates are differences of two samples, each the daemon's status and its
 * newest calls: as many as have room, so that a gateway with 20,000 calls is
 * not asked for the packets of each every second.
 */
#include "ctl/top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/show.h"
#include "ctl/table.h"
#include "ctl/text.h"

#define INTERVAL_MS 1000
/* Lines that are neither queues nor calls */
#define HEAD_LINES 8
/* Calls where there is no screen to fill */
#define PLAIN_CALLS 50
/* The bar that shows how full a queue is */
#define BAR 20

/** struct sample - What the daemon said at one time */
struct sample {
	json_t *status, *calls;
	uint64_t at_ms;
};

/**
 * struct screen - The terminal
 * @before:	As it was
 * @waiting:	The signals that are let in while nothing is asked: a new size
 *		is no reason to break off an answer
 */
struct screen {
	struct termios before;
	sigset_t waiting;
	bool active, keys;
};

static volatile sig_atomic_t ended, resized;

static void on_end(int number)
{
	(void)number;
	ended = 1;
}

static void on_resize(int number)
{
	(void)number;
	resized = 1;
}

/* ---- samples ---- */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void sample_free(struct sample *s)
{
	json_decref(s->status);
	json_decref(s->calls);
	*s = (struct sample){ 0 };
}

static int sample_take(const struct ctl *ctl, unsigned int calls,
		       struct sample *s)
{
	int status;

	*s = (struct sample){ .at_ms = now_ms() };
	status = ctl_ask(ctl, json_pack("{s:s}", "command", "status"),
			 &s->status);
	if (status == CTL_OK)
		status = ctl_ask(ctl,
				 json_pack("{s:s, s:i}", "command", "calls",
					   "limit", (int)calls),
				 &s->calls);
	if (status != CTL_OK)
		sample_free(s);
	return status;
}

static json_int_t per_second(json_int_t before, json_int_t now,
			     const struct sample *a, const struct sample *b)
{
	json_int_t ms = (json_int_t)(b->at_ms - a->at_ms);

	/* The daemon, or an entry, may be a new one */
	if (ms <= 0 || now < before)
		return 0;
	return ((now - before) * 1000 + ms / 2) / ms;
}

/* The same call in another sample; NULL if it was not there */
static const json_t *find_call(const struct sample *s, const json_t *call)
{
	json_t *other;
	size_t i;

	json_array_foreach(json_object_get(s->calls, "calls"), i, other)
	{
		if (!strcmp(show_string(other, "call_id"),
			    show_string(call, "call_id")) &&
		    !strcmp(show_string(other, "phone"),
			    show_string(call, "phone")))
			return other;
	}
	return NULL;
}

static json_int_t call_rate(const struct sample *a, const struct sample *b,
			    const json_t *call, const char *key)
{
	const json_t *before = find_call(a, call);

	if (!before)
		return 0;
	return per_second(show_packets(before, key), show_packets(call, key), a,
			  b);
}

/* ---- one frame ---- */

static void print_head(const struct ctl *ctl, const struct sample *a,
		       const struct sample *b, FILE *out)
{
	const char *mode = show_string(b->status, "mode");
	char up[TEXT_DURATION_MAX];

	text_duration(up, (uint64_t)show_number(b->status, "uptime_s"));
	fprintf(out, "sipalgd %s  %s%s%s  up %s\n",
		show_string(b->status, "version"),
		term_colour(ctl, show_mode_colour(mode)), mode, term_plain(ctl),
		up);
	fprintf(out, "%" JSON_INTEGER_FORMAT " messages/s\n",
		per_second(show_number(a->status, "messages"),
			   show_number(b->status, "messages"), a, b));
	fprintf(out,
		"%" JSON_INTEGER_FORMAT " registrations, %" JSON_INTEGER_FORMAT
		" calls\n",
		show_number(b->status, "registrations"),
		show_number(b->status, "calls"));
}

/* How full a queue is */
static void add_load(struct table *t, json_int_t waiting, json_int_t most)
{
	json_int_t full = most ? waiting * BAR / most : 0;
	enum term_colour colour = TERM_GOOD;
	char bar[BAR + 3] = "[";

	if (full > BAR / 2)
		colour = full > BAR * 4 / 5 ? TERM_BAD : TERM_WARN;
	for (json_int_t i = 0; i < BAR; i++)
		bar[i + 1] = i < full || (!i && waiting) ? '#' : ' ';
	bar[BAR + 1] = ']';
	table_add(t, colour, "%s", bar);
}

static void add_queue(struct table *t, const struct sample *a,
		      const struct sample *b, size_t i)
{
	const json_t *now =
		json_array_get(json_object_get(b->status, "queues"), i);
	const json_t *before =
		json_array_get(json_object_get(a->status, "queues"), i);
	json_int_t waiting = show_number(now, "waiting");
	json_int_t most = show_number(now, "max_length");
	json_int_t lost =
		show_number(now, "dropped") + show_number(now, "user_dropped");

	table_add_number(t, TERM_PLAIN, show_number(now, "number"));
	add_load(t, waiting, most);
	table_add_number(t, TERM_PLAIN, waiting);
	table_add_number(t, TERM_PLAIN, most);
	table_add_number(t, TERM_PLAIN,
			 per_second(show_number(before, "packets"),
				    show_number(now, "packets"), a, b));
	table_add_number(t, lost ? TERM_BAD : TERM_PLAIN, lost);
}

static size_t queue_count(const struct sample *s)
{
	return json_array_size(json_object_get(s->status, "queues"));
}

static void print_queues(const struct ctl *ctl, const struct sample *a,
			 const struct sample *b, FILE *out)
{
	static const struct table_column columns[] = {
		{ "QUEUE", 0, 0, true },
		{ "LOAD", 0, 2, false },
		{ "WAITING", 0, 0, true },
		{ "OF", 0, 3, true },
		{ "PACKETS/s", 0, 0, true },
		{ "DROPPED", 0, 1, true },
		{ 0 },
	};
	struct table *t = table_new(columns);

	for (size_t i = 0; i < queue_count(b); i++)
		add_queue(t, a, b, i);
	fputc('\n', out);
	table_print(t, ctl, out);
}

static void add_call(struct table *t, const struct sample *a,
		     const struct sample *b, const json_t *call)
{
	const json_t *symptom =
		json_array_get(json_object_get(call, "symptoms"), 0);

	show_add_call(t, call);
	table_add_number(t, TERM_PLAIN, call_rate(a, b, call, "packets_out"));
	table_add_number(t, TERM_PLAIN, call_rate(a, b, call, "packets_in"));
	table_add(t, TERM_BAD, "%s", show_string(symptom, "code"));
}

static void print_calls(const struct ctl *ctl, const struct sample *a,
			const struct sample *b, FILE *out)
{
	static const struct table_column columns[] = {
		{ "STATE", 0, 0, false },   { "AGE", 0, 3, true },
		{ "FROM", 8, 0, false },    { "TO", 8, 1, false },
		{ "OUT/s", 0, 0, true },    { "IN/s", 0, 0, true },
		{ "SYMPTOM", 8, 2, false }, { 0 },
	};
	const json_t *list = json_object_get(b->calls, "calls");
	struct table *t;
	json_t *call;
	size_t i;

	fputc('\n', out);
	if (!json_array_size(list)) {
		fputs("No calls.\n", out);
		return;
	}
	t = table_new(columns);
	json_array_foreach(list, i, call)
	{
		add_call(t, a, b, call);
	}
	table_print(t, ctl, out);
}

static void print_frame(const struct ctl *ctl, const struct sample *a,
			const struct sample *b, FILE *out)
{
	print_head(ctl, a, b, out);
	print_queues(ctl, a, b, out);
	print_calls(ctl, a, b, out);
}

/* The samples, with what the frame would say as rates */
static void print_document(const struct sample *a, const struct sample *b)
{
	json_t *calls = json_object_get(b->calls, "calls");
	json_t *queues = json_object_get(b->status, "queues"), *item;
	json_t *document;
	size_t i;

	json_array_foreach(calls, i, item)
	{
		json_object_set_new(
			item, "packets_out_per_s",
			json_integer(call_rate(a, b, item, "packets_out")));
		json_object_set_new(
			item, "packets_in_per_s",
			json_integer(call_rate(a, b, item, "packets_in")));
	}
	json_array_foreach(queues, i, item)
	{
		const json_t *before =
			json_array_get(json_object_get(a->status, "queues"), i);

		json_object_set_new(
			item, "packets_per_s",
			json_integer(per_second(show_number(before, "packets"),
						show_number(item, "packets"), a,
						b)));
	}
	document =
		json_pack("{s:I, s:O, s:O}", "messages_per_s",
			  per_second(show_number(a->status, "messages"),
				     show_number(b->status, "messages"), a, b),
			  "status", b->status, "calls", calls);
	show_document(document);
	json_decref(document);
}

/* ---- the screen ---- */

static void screen_open(struct screen *screen)
{
	struct sigaction end = { .sa_handler = on_end };
	struct sigaction resize = { .sa_handler = on_resize };
	struct termios keys;
	sigset_t later;

	sigemptyset(&later);
	sigaddset(&later, SIGWINCH);
	sigprocmask(SIG_BLOCK, &later, &screen->waiting);
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGHUP, &end, NULL);
	sigaction(SIGWINCH, &resize, NULL);
	screen->keys = !tcgetattr(STDIN_FILENO, &screen->before);
	if (screen->keys) {
		keys = screen->before;
		keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		/* A stopped program would leave its screen behind */
		keys.c_cc[VSUSP] = _POSIX_VDISABLE;
		tcsetattr(STDIN_FILENO, TCSANOW, &keys);
	}
	/* Its own, without cursor; what is too long ends at the edge */
	fputs("\033[?1049h\033[?25l\033[?7l", stdout);
	screen->active = true;
}

static void screen_close(struct screen *screen)
{
	if (!screen->active)
		return;
	fputs("\033[?7h\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	if (screen->keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
	screen->active = false;
}

/* 0: not known */
static unsigned int screen_rows(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) ? 0 : size.ws_row;
}

/* As many as have room below @queues */
static unsigned int screen_calls(size_t queues)
{
	size_t other = HEAD_LINES + queues;
	unsigned int rows = screen_rows();

	if (!rows)
		return PLAIN_CALLS;
	return rows > other ? (unsigned int)(rows - other) : 1;
}

/* No more lines than there are rows, or the first ones would go */
static void draw(const struct ctl *ctl, const struct sample *a,
		 const struct sample *b)
{
	unsigned int rows = screen_rows(), row = 0;
	char *frame = NULL, *rest, *line;
	size_t len;
	FILE *out = text_memory(open_memstream(&frame, &len));

	print_frame(ctl, a, b, out);
	if (fclose(out))
		text_memory(NULL);
	fputs("\033[H\033[J", stdout);
	rest = frame;
	while ((line = strsep(&rest, "\n")) && (!rows || row < rows))
		printf("%s%s", row++ ? "\r\n" : "", line);
	fflush(stdout);
	free(frame);
}

/* Wait for the next frame, a key or a signal */
static void wait_frame(const struct screen *screen, uint64_t until_ms)
{
	struct pollfd keys = { .fd = screen->keys ? STDIN_FILENO : -1,
			       .events = POLLIN };
	uint64_t now;
	char key;

	while (!ended && !resized && (now = now_ms()) < until_ms) {
		struct timespec left = {
			.tv_sec = (time_t)((until_ms - now) / 1000),
			.tv_nsec = (long)((until_ms - now) % 1000) * 1000000,
		};
		int n = ppoll(&keys, 1, &left,
			      screen->active ? &screen->waiting : NULL);

		if (n <= 0)
			continue;
		n = (int)read(STDIN_FILENO, &key, 1);
		if (n <= 0)
			keys.fd = -1;
		else if (key == 'q' || key == 'Q')
			ended = 1;
	}
}

/* A new size: the same frame at once; new rates take their time */
static void adopt_size(struct ctl *ctl, const struct sample *a,
		       const struct sample *b)
{
	term_init(ctl);
	resized = 0;
	if (b->status)
		draw(ctl, a, b);
}

/* @a is the older one of two samples, once there are two */
static int next_frame(const struct ctl *ctl, struct sample *a, struct sample *b)
{
	struct sample next;
	int status = sample_take(ctl, screen_calls(queue_count(a)), &next);

	if (status != CTL_OK)
		return status;
	if (b->status) {
		sample_free(a);
		*a = *b;
	}
	*b = next;
	draw(ctl, a, b);
	return CTL_OK;
}

static int follow(struct ctl *ctl, struct sample *a)
{
	struct screen screen = { 0 };
	struct sample b = { 0 };
	int status = CTL_OK;

	screen_open(&screen);
	while (!ended && status == CTL_OK) {
		wait_frame(&screen,
			   (b.status ? b.at_ms : a->at_ms) + INTERVAL_MS);
		if (ended)
			break;
		if (resized)
			adopt_size(ctl, a, &b);
		else
			status = next_frame(ctl, a, &b);
	}
	screen_close(&screen);
	sample_free(&b);
	if (ended)
		return CTL_OK; /* an answer may have been broken off by that */
	/* What was said of it went with the screen */
	if (status != CTL_OK && sample_take(ctl, 1, &b) == CTL_OK)
		sample_free(&b);
	return status;
}

static int one_frame(const struct ctl *ctl, const struct sample *a)
{
	static const struct screen none;
	struct sample b;
	int status;

	wait_frame(&none, a->at_ms + INTERVAL_MS);
	status = sample_take(ctl, PLAIN_CALLS, &b);
	if (status != CTL_OK)
		return status;
	if (ctl->json)
		print_document(a, &b);
	else
		print_frame(ctl, a, &b, stdout);
	sample_free(&b);
	return CTL_OK;
}

int top_command(const struct ctl *ctl, int argc, char **argv)
{
	struct ctl own = *ctl;
	struct sample a;
	int status = sample_take(ctl, PLAIN_CALLS, &a);

	(void)argc;
	(void)argv;
	if (status != CTL_OK)
		return status;
	status = ctl->json || !term_is_screen() ? one_frame(ctl, &a)
						: follow(&own, &a);
	sample_free(&a);
	return status;
}
