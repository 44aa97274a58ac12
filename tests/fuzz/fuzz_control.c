/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a request at the control socket: what has a line end is answered
 * by one line of JSON, and by no more. Then what follows that line passes as a
 * datagram, out and in, while one traces and one captures: all that they are
 * told is JSON, and the packets are those that passed. What is known then of
 * calls and registrations is listed, all of it, and fit for a log.
 */
#include <resolv.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "../unit/stage.h"
#include "daemon/daemon.h"
#include "daemon/list.h"
#include "daemon/record.h"

#define SOCKET_PATH "/tmp/sipalg-fuzz-%d"

static struct stage *st;
static struct daemon d;
static char text[1 << 20];
static uint8_t sent[PACKET_MAX], told[PACKET_MAX + 64];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
	if (!ok)
		abort();
}

static json_t *answer(void *arg, const json_t *request)
{
	(void)arg;
	return json_pack("{s:O}", "was", request);
}

static const struct control_command commands[] = {
	{ .name = "ask", .answer = answer },
	{ .name = "change", .answer = answer, .changes = true },
	{ .name = "trace",
	  .subscribe = trace_subscribe,
	  .unsubscribe = trace_unsubscribe },
	{ .name = "capture",
	  .subscribe = trace_capture,
	  .unsubscribe = trace_unsubscribe },
	{ .name = NULL },
};

static void open_world(void)
{
	struct conf *conf;

	st = stage_open();
	conf = &st->conf;
	snprintf(conf->control.socket, sizeof(conf->control.socket),
		 SOCKET_PATH, getpid());
	strcpy(conf->control.group, "root");
	d = (struct daemon){ .alg = st->alg,
			     .conf = &st->conf,
			     .epoll = epoll_create1(0) };
	trace_init(&d.trace, st->alg, &d.control);
	demand(!control_open(&d.control, conf, d.epoll, commands, &d));
}

static void close_world(void)
{
	control_close(&d.control);
	demand(!d.trace.count && !d.trace.ring.data);
	close(d.epoll);
	stage_close(st);
}

static void turn(void)
{
	struct epoll_event event;

	for (int i = 0; i < 1000; i++) {
		bool idle = epoll_wait(d.epoll, &event, 1, 0) <= 0;

		if (idle && !trace_waits(&d.trace))
			return;
		if (!idle)
			control_ready(&d.control, event.data.fd);
		trace_run(&d.trace, idle);
	}
	abort(); /* it does not come to rest */
}

static int dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	span_copy(addr.sun_path, sizeof(addr.sun_path),
		  span_from_str(st->conf.control.socket));
	demand(fd >= 0 &&
	       !connect(fd, (const struct sockaddr *)&addr, sizeof(addr)));
	turn();
	return fd;
}

static void say(int fd, struct span what)
{
	if (what.len)
		send(fd, what.ptr, what.len, MSG_NOSIGNAL);
	turn();
}

/* What it is told, in text; each line is a JSON object. Return: how many */
static unsigned int take(int fd)
{
	unsigned int lines = 0;
	size_t len = 0;
	ssize_t n;
	char *line, *end;

	while ((n = recv(fd, text + len, sizeof(text) - len - 1, 0)) > 0) {
		len += (size_t)n;
		turn();
	}
	text[len] = '\0';
	demand(strlen(text) == len);
	for (line = text; *line; line = end + 1) {
		json_t *object;

		end = strchr(line, '\n');
		demand(end != NULL);
		object = json_loadb(line, (size_t)(end - line), 0, NULL);
		demand(json_is_object(object));
		json_decref(object);
		lines++;
	}
	return lines;
}

static void try_request(struct span request)
{
	size_t half = request.len / 2;
	bool whole = span_chr(request, '\n') || request.len >= CONTROL_REQUEST;
	unsigned int lines;
	int fd = dial();

	say(fd, (struct span){ request.ptr, half });
	say(fd, span_between(request.ptr + half, span_end(request)));
	lines = take(fd);
	demand(lines == whole);
	close(fd);
	turn();
}

/* The first packet in what a capture was told is the one that was sent */
static void check_packet(size_t len)
{
	json_t *object = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
	const char *data = json_string_value(json_object_get(object, "data"));

	demand(data && b64_pton(data, told, sizeof(told)) == (int)len &&
	       !memcmp(told, sent, len));
	json_decref(object);
}

static void pass(int trace, int capture, const char *from, const char *to,
		 struct span payload)
{
	struct tuple t = { .src = stage_end(from),
			   .dst = stage_end(to),
			   .proto = IPPROTO_UDP };
	size_t len = stage_packet(&t, payload, sent);
	struct decision decision;

	trace_begin(&d.trace, sent, len, stage_side(st, &t));
	decision =
		alg_packet(st->alg, sent, len, stage_side(st, &t), st->now_ms);
	trace_end(&d.trace, &decision);
	turn();
	demand(take(trace) <= 1);
	demand(take(capture) == (decision.drop ? 1 : 2));
	check_packet(len);
}

/* The list under @name, whole */
static json_t *list(json_t *begin(void *arg, const json_t *request,
				  void **state),
		    const char *name)
{
	char *piece;
	void *state = NULL;
	size_t len = 0;
	json_t *answer, *rows;

	d.now_ms = st->now_ms;
	demand(!begin(&d, NULL, &state) && state);
	while ((piece = list_piece(&d, state))) {
		demand(*piece && len + strlen(piece) < sizeof(text));
		strcpy(text + len, piece);
		len += strlen(piece);
		free(piece);
	}
	list_end(&d, state);
	answer = json_loadb(text, len, 0, NULL);
	rows = json_incref(json_object_get(answer, name));
	demand(json_is_array(rows));
	json_decref(answer);
	return rows;
}

static void check_record(const struct record *r)
{
	record_format(r, text);
	demand(strlen(text) < RECORD_LINE);
	for (const char *c = text; *c; c++)
		demand(*c >= 0x20 && *c < 0x7f);
}

static unsigned int streams_of(const struct call *call)
{
	unsigned int n = 0;

	for (int i = 0; i < CALL_STREAMS; i++)
		n += call->stream[i] != NULL;
	return n;
}

static void check_calls(void)
{
	json_t *rows = list(list_calls, "calls"), *row;
	const struct call *call;
	struct record r;
	size_t i = json_array_size(rows);

	demand(i == HASH_COUNT(st->alg->calls.table));
	for (call = st->alg->calls.table; call; call = call->hh.next) {
		record_of_call(&r, call, st->now_ms);
		check_record(&r);
		/* The newest is the first */
		row = json_array_get(rows, --i);
		demand(json_array_size(json_object_get(row, "media")) >=
		       streams_of(call));
		demand(json_string_length(json_object_get(row, "call_id")) > 0);
	}
	json_decref(rows);
}

static void check_registrations(void)
{
	json_t *rows = list(list_registrations, "registrations");
	const struct registration_set *set;
	const struct registration *reg;
	struct record r;

	demand(json_array_size(rows) == st->alg->registrations.count);
	for (set = st->alg->registrations.table; set; set = set->hh.next) {
		DL_FOREACH (set->contacts, reg) {
			record_of_registration(&r, reg, "lapsed", st->now_ms);
			check_record(&r);
		}
	}
	json_decref(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span all = { (const char *)data, size }, payload = { "", 0 };
	const char *end = span_chr(all, '\n');
	int trace, capture;

	open_world();
	if (end) {
		payload = span_between(end + 1, span_end(all));
		all.len -= payload.len;
	}
	try_request(all);
	if (payload.len > 20000)
		payload.len = 20000; /* else a capture has no room for it */
	trace = dial();
	say(trace, SPAN("{\"command\":\"trace\"}\n"));
	capture = dial();
	say(capture, SPAN("{\"command\":\"capture\"}\n"));
	demand(take(trace) == 1 && take(capture) == 1);
	pass(trace, capture, "192.168.1.10:5060", "198.51.100.1:5060", payload);
	pass(trace, capture, "198.51.100.1:5060", "203.0.113.1:5060", payload);
	check_calls();
	check_registrations();
	close(trace);
	close(capture);
	turn();
	close_world();
	return 0;
}
