/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/daemon.h"
#include "stage.h"

#define ALICE "192.168.1.10:5060"
#define PROXY "198.51.100.1:5060"
#define PUBLIC "203.0.113.1:5060"

#define REGISTER                                                               \
	"REGISTER sip:example.com SIP/2.0\r\n"                                 \
	"Via: SIP/2.0/UDP 192.168.1.10;branch=z9hG4bK1\r\n"                    \
	"From: <sip:a@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\n"       \
	"Call-ID: 1\r\nCSeq: 1 REGISTER\r\n"                                   \
	"Contact: <sip:a@192.168.1.10>,\r\n <sip:b@192.168.1.10:5060>\r\n"     \
	"Content-Length: 0\r\n\r\n"

/** struct world - A gateway that is traced, without its loop */
struct world {
	struct daemon d;
	struct stage *st;
	char dir[32];
};

static const struct control_command commands[] = {
	{ .name = "trace",
	  .subscribe = trace_subscribe,
	  .unsubscribe = trace_unsubscribe },
	{ .name = "capture",
	  .subscribe = trace_capture,
	  .unsubscribe = trace_unsubscribe },
	{ .name = NULL },
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct conf *conf;

	w->st = stage_open();
	conf = &w->st->conf;
	strcpy(w->dir, "/tmp/sipalg-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(conf->control.socket, sizeof(conf->control.socket), "%s/s",
		 w->dir);
	strcpy(conf->control.group, "root");
	w->d.epoll = epoll_create1(0);
	w->d.alg = w->st->alg;
	trace_init(&w->d.trace, w->d.alg, &w->d.control);
	assert_int_equal(
		control_open(&w->d.control, conf, w->d.epoll, commands, &w->d),
		0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	control_close(&w->d.control);
	assert_false(trace_is_on(&w->d.trace));
	assert_null(w->d.trace.ring.data);
	assert_null(w->d.alg->listener.message);
	close(w->d.epoll);
	stage_close(w->st);
	assert_int_equal(rmdir(w->dir), 0);
	free(w);
	return 0;
}

static void turn(struct world *w)
{
	struct epoll_event event;

	while (epoll_wait(w->d.epoll, &event, 1, 0) > 0)
		control_ready(&w->d.control, event.data.fd);
}

/* Tell all that waits */
static void tell(struct world *w)
{
	while (trace_waits(&w->d.trace)) {
		trace_run(&w->d.trace, true);
		turn(w);
	}
}

static int follow(struct world *w, const char *request)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	span_copy(addr.sun_path, sizeof(addr.sun_path),
		  span_from_str(w->st->conf.control.socket));
	assert_int_equal(
		connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	turn(w);
	assert_true(send(fd, request, strlen(request), 0) > 0);
	turn(w);
	return fd;
}

static int trace(struct world *w)
{
	return follow(w, "{\"command\":\"trace\"}\n");
}

static void pass(struct world *w, const char *from, const char *to,
		 struct span payload)
{
	struct tuple t = { .src = stage_end(from),
			   .dst = stage_end(to),
			   .proto = IPPROTO_UDP };
	size_t len = stage_packet(&t, payload, w->st->packet);
	enum nat_side side = stage_side(w->st, &t);
	struct decision d;

	/* As daemon.c does */
	if (trace_is_on(&w->d.trace))
		trace_begin(&w->d.trace, w->st->packet, len, side);
	d = alg_packet(w->d.alg, w->st->packet, len, side, w->st->now_ms);
	if (trace_is_on(&w->d.trace))
		trace_end(&w->d.trace, &d);
}

/* The next line that it was told; NULL if there is none. The caller drops it */
static json_t *next(int fd)
{
	static char line[1 << 17];
	size_t len = 0;

	while (len < sizeof(line) && recv(fd, line + len, 1, 0) == 1) {
		if (line[len++] == '\n')
			return json_loadb(line, len, 0, NULL);
	}
	assert_int_equal(len, 0);
	return NULL;
}

static void begun(int fd)
{
	json_t *line = next(fd);

	assert_true(json_is_true(json_object_get(line, "begun")));
	json_decref(line);
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void test_message(void **state)
{
	struct world *w = *state;
	int fd = trace(w);
	json_t *told, *item;

	begun(fd);
	pass(w, ALICE, PROXY, SPAN(REGISTER));
	assert_null(next(fd)); /* not before its turn */
	tell(w);
	told = next(fd);
	assert_string_equal(text(told, "method"), "REGISTER");
	assert_string_equal(text(told, "start"),
			    "REGISTER sip:example.com SIP/2.0");
	assert_string_equal(text(told, "reason"), "rewritten");
	assert_string_equal(text(told, "phone"), ALICE);
	assert_string_equal(text(told, "public"), PUBLIC);
	assert_string_equal(text(told, "peer"), PROXY);
	assert_int_equal(json_array_size(json_object_get(told, "edits")), 3);
	/* A folded field is two lines */
	assert_int_equal(json_array_size(json_object_get(told, "lines")), 3);
	item = json_array_get(json_object_get(told, "lines"), 2);
	assert_string_equal(text(item, "old"), " <sip:b@192.168.1.10:5060>");
	assert_string_equal(text(item, "new"), " <sip:b@203.0.113.1:5060>");
	item = json_array_get(json_object_get(told, "edits"), 1);
	assert_string_equal(text(item, "site"), "Contact");
	assert_string_equal(text(item, "why"),
			    "mapping of this phone made for this message");
	json_decref(told);
	assert_null(next(fd));
	close(fd);
	turn(w);
}

/* Two changes in one line are one line; a mapping of long ago has its day */
static void test_lines_and_ages(void **state)
{
	struct world *w = *state;
	int fd = trace(w);
	json_t *told, *item;

	begun(fd);
	pass(w, ALICE, PROXY, SPAN(REGISTER));
	stage_wait(w->st, 3 * 3600);
	pass(w, ALICE, PROXY,
	     SPAN("OPTIONS sip:b@example.com SIP/2.0\r\n"
		  "Via: SIP/2.0/UDP 192.168.1.10;branch=z9hG4bK2\r\n"
		  "Contact: <sip:a@192.168.1.10>, <sip:c@192.168.1.10>\r\n"
		  "CSeq: 2 OPTIONS\r\n\r\n"));
	tell(w);
	json_decref(next(fd));
	told = next(fd);
	assert_int_equal(json_array_size(json_object_get(told, "edits")), 3);
	assert_int_equal(json_array_size(json_object_get(told, "lines")), 2);
	item = json_array_get(json_object_get(told, "lines"), 1);
	assert_string_equal(text(item, "new"), "Contact: <sip:a@203.0.113.1>, "
					       "<sip:c@203.0.113.1>");
	item = json_array_get(json_object_get(told, "edits"), 0);
	assert_memory_equal(text(item, "why"), "mapping of this phone since ",
			    28);
	json_decref(told);
	close(fd);
	turn(w);
}

/* What the ring has no room for is counted, to the last one */
static void test_full_ring(void **state)
{
	struct world *w = *state;
	int fd = follow(w, "{\"command\":\"capture\"}\n");
	unsigned int sent = 20000, told = 0;
	json_int_t lost = 0;
	json_t *line;

	begun(fd);
	for (unsigned int i = 0; i < sent; i++)
		pass(w, ALICE, PROXY, SPAN(REGISTER));
	while (trace_waits(&w->d.trace)) {
		trace_run(&w->d.trace, true);
		turn(w);
		while ((line = next(fd))) {
			lost += json_integer_value(
				json_object_get(line, "lost"));
			told += json_object_get(line, "data") != NULL;
			json_decref(line);
		}
	}
	trace_tick(&w->d.trace);
	while ((line = next(fd))) {
		lost += json_integer_value(json_object_get(line, "lost"));
		json_decref(line);
	}
	assert_true(told > 1000 && lost > 1000);
	assert_int_equal(told + (unsigned int)lost, 2 * sent);
	assert_int_equal(stage_count(w->st, COUNTER_trace_lost), lost);
	close(fd);
	turn(w);
}

/* One that reads nothing: what its socket has no room for is counted as well */
static void test_deaf(void **state)
{
	struct world *w = *state;
	int fd = follow(w, "{\"command\":\"capture\"}\n");
	json_int_t lost = 0;
	unsigned int told = 0;
	json_t *line;

	begun(fd);
	for (unsigned int i = 0; i < 1000; i++) {
		pass(w, ALICE, PROXY, SPAN(REGISTER));
		tell(w);
	}
	assert_true(stage_count(w->st, COUNTER_trace_lost) > 100);
	for (int i = 0; i < 10; i++) {
		while ((line = next(fd))) {
			lost += json_integer_value(
				json_object_get(line, "lost"));
			told += json_object_get(line, "data") != NULL;
			json_decref(line);
			turn(w);
		}
		trace_tick(&w->d.trace);
	}
	assert_int_equal(told + (unsigned int)lost, 2000);
	assert_int_equal(stage_count(w->st, COUNTER_trace_lost), lost);
	close(fd);
	turn(w);
}

/* Whoever gets the place of another is not told what was for that one */
static void test_another_in_its_place(void **state)
{
	struct world *w = *state;
	int stays = trace(w), goes = trace(w), comes;

	begun(stays);
	begun(goes);
	pass(w, ALICE, PROXY, SPAN(REGISTER));
	close(goes);
	turn(w);
	comes = trace(w);
	begun(comes);
	tell(w);
	json_decref(next(stays));
	assert_null(next(comes));
	pass(w, ALICE, PROXY, SPAN(REGISTER));
	tell(w);
	for (int i = 0; i < 2; i++) {
		json_t *line = next(i ? comes : stays);

		assert_non_null(line);
		json_decref(line);
	}
	close(stays);
	close(comes);
	turn(w);
}

/* While packets keep coming, what waits is told now and then only */
static void test_packets_first(void **state)
{
	struct world *w = *state;
	int fd = trace(w);
	unsigned int turns = 0;

	begun(fd);
	pass(w, ALICE, PROXY, SPAN(REGISTER));
	while (trace_waits(&w->d.trace)) {
		trace_run(&w->d.trace, false);
		turns++;
	}
	assert_true(turns > 1 && turns < 100);
	close(fd);
	turn(w);
}

/* Nothing that is no message is shown, but captured */
static void test_no_message(void **state)
{
	struct world *w = *state;
	int traces = trace(w);
	int captures = follow(w, "{\"command\":\"capture\"}\n");
	int filters = follow(w, "{\"command\":\"capture\",\"filter\":"
				"[\"method=*\"]}\n");

	begun(traces);
	begun(captures);
	begun(filters);
	pass(w, ALICE, PROXY, SPAN("\r\n\r\n"));
	pass(w, ALICE, PROXY, SPAN("hello"));
	tell(w);
	assert_null(next(traces));
	assert_null(next(filters));
	for (int i = 0; i < 4; i++) {
		json_t *line = next(captures);

		assert_string_equal(text(line, "interface"),
				    i % 2 ? "after" : "before");
		json_decref(line);
	}
	assert_null(next(captures));
	close(traces);
	close(captures);
	close(filters);
	turn(w);
}

/* In a hairpin either of the two phones finds it */
static void test_hairpin(void **state)
{
	struct world *w = *state;
	int callee = follow(w, "{\"command\":\"trace\",\"filter\":"
			       "[\"phone=192.168.1.11\"]}\n");
	int third = follow(w, "{\"command\":\"trace\",\"filter\":"
			      "[\"phone=192.168.1.12\"]}\n");
	json_t *told;

	begun(callee);
	begun(third);
	pass(w, "192.168.1.11:5060", PROXY, SPAN(REGISTER));
	tell(w);
	json_decref(next(callee));
	pass(w, ALICE, PUBLIC,
	     SPAN("OPTIONS sip:a@203.0.113.1 SIP/2.0\r\n"
		  "Via: SIP/2.0/UDP 192.168.1.10;branch=z9hG4bK2\r\n"
		  "CSeq: 2 OPTIONS\r\n\r\n"));
	tell(w);
	told = next(callee);
	assert_string_equal(text(told, "phone"), ALICE);
	assert_string_equal(text(told, "method"), "OPTIONS");
	json_decref(told);
	assert_null(next(third));
	close(callee);
	close(third);
	turn(w);
}

static const char *why(const json_t *told, const char *site)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(told, "edits"), i, item)
	{
		if (!strcmp(text(item, "site"), site))
			return text(item, "why");
	}
	fail_msg("%s is no edit", site);
	return NULL;
}

/* A name without a port is not of whoever has the public port 5060 */
static void test_second_phone(void **state)
{
	struct world *w = *state;
	int fd;
	json_t *told;

	pass(w, ALICE, PROXY, SPAN(REGISTER));
	stage_wait(w->st, 10);
	fd = trace(w);
	begun(fd);
	pass(w, "192.168.1.11:5060", PROXY,
	     SPAN("OPTIONS sip:b@example.com SIP/2.0\r\n"
		  "Via: SIP/2.0/UDP 192.168.1.11;branch=z9hG4bK2\r\n"
		  "From: <sip:c@192.168.1.11>;tag=1\r\n"
		  "To: <sip:b@example.com>\r\nCall-ID: 2\r\n"
		  "Contact: <sip:c@192.168.1.11>\r\n"
		  "Referred-By: <sip:a@192.168.1.10>\r\n"
		  "CSeq: 2 OPTIONS\r\n\r\n"));
	pass(w, PROXY, "203.0.113.1:5061",
	     SPAN("SIP/2.0 200 OK\r\n"
		  "Via: SIP/2.0/UDP 203.0.113.1:5061;branch=z9hG4bK2\r\n"
		  "From: <sip:c@203.0.113.1>;tag=1\r\n"
		  "To: <sip:b@example.com>;tag=2\r\nCall-ID: 2\r\n"
		  "CSeq: 2 OPTIONS\r\n\r\n"));
	tell(w);
	told = next(fd);
	assert_string_equal(text(told, "public"), "203.0.113.1:5061");
	assert_string_equal(why(told, "Contact"),
			    "mapping of this phone made for this message");
	assert_string_equal(why(told, "From"),
			    "mapping of this phone made for this message");
	assert_memory_equal(why(told, "Referred-By"),
			    "mapping of 192.168.1.10 since ", 30);
	json_decref(told);
	told = next(fd);
	assert_string_equal(why(told, "From"),
			    "what it wrote itself; mapping of this phone made "
			    "for this message");
	json_decref(told);
	close(fd);
	turn(w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_message),
		TEST(test_lines_and_ages),
		TEST(test_full_ring),
		TEST(test_deaf),
		TEST(test_another_in_its_place),
		TEST(test_packets_first),
		TEST(test_no_message),
		TEST(test_hairpin),
		TEST(test_second_phone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
