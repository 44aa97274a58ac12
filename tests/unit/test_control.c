/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/control.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define BIG (4 << 20)

/** struct world - A control socket with its loop, in a directory of its own */
struct world {
	struct control control;
	struct conf conf;
	int epoll;
	struct control_client *subscriber[CONTROL_CLIENTS];
	unsigned int subscribers, left;
	char dir[32];
};

static json_t *answer_ping(void *arg, const json_t *request)
{
	(void)arg;
	return json_pack("{s:O}", "asked", json_object_get(request, "command"));
}

static json_t *answer_big(void *arg, const json_t *request)
{
	char *text = malloc(BIG);
	json_t *answer;

	(void)arg;
	(void)request;
	memset(text, 'x', BIG);
	answer = json_pack("{s:s#}", "text", text, BIG);
	free(text);
	return answer;
}

static json_t *subscribe(void *arg, const json_t *request,
			 struct control_client *client)
{
	struct world *w = arg;

	if (json_object_get(request, "refuse"))
		return json_pack("{s:s}", "error", "no");
	w->subscriber[w->subscribers++] = client;
	return NULL;
}

static void unsubscribe(void *arg, struct control_client *client)
{
	struct world *w = arg;

	(void)client;
	w->left++;
}

static const struct control_command commands[] = {
	{ .name = "ping", .answer = answer_ping },
	{ .name = "big", .answer = answer_big },
	{ .name = "follow",
	  .subscribe = subscribe,
	  .unsubscribe = unsubscribe },
	{ .name = NULL },
};

/* Until it listens nobody can connect: by then it is for its group alone */
int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);

int __wrap_listen(int fd, int backlog)
{
	struct sockaddr_un addr;
	socklen_t len = sizeof(addr);
	struct stat st;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	assert_int_equal(stat(addr.sun_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	return __real_listen(fd, backlog);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->dir, "/tmp/sipalg-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->conf.control.socket, sizeof(w->conf.control.socket), "%s/s",
		 w->dir);
	strcpy(w->conf.control.group, "root");
	w->epoll = epoll_create1(0);
	assert_int_equal(
		control_open(&w->control, &w->conf, w->epoll, commands, w), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	control_close(&w->control);
	assert_int_equal(rmdir(w->dir), 0);
	close(w->epoll);
	free(w);
	return 0;
}

/* Let the loop turn until nothing is to be done */
static void turn(struct world *w)
{
	struct epoll_event event;

	for (int i = 0; i < 10000 && epoll_wait(w->epoll, &event, 1, 0) > 0;
	     i++)
		assert_true(control_ready(&w->control, event.data.fd));
}

static int dial(const struct world *w)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, w->conf.control.socket);
	assert_int_equal(
		connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* What has come, as a string; -1: the other end has closed, and nothing came */
static long take(int fd, char *buf, size_t cap)
{
	size_t len = 0;
	ssize_t n = 0;

	while (len + 1 < cap && (n = recv(fd, buf + len, cap - len - 1, 0)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	return len || (n < 0 && errno == EAGAIN) ? (long)len : -1;
}

static void says(struct world *w, const void *request, size_t len,
		 const char *want)
{
	char got[8192];
	int fd = dial(w);

	turn(w);
	assert_int_equal(send(fd, request, len, MSG_NOSIGNAL), len);
	turn(w);
	take(fd, got, sizeof(got));
	if (!strstr(got, want) || !strchr(got, '\n'))
		fail_msg("%.60s: %s", (const char *)request, got);
	/* And that was all of it */
	assert_int_equal(take(fd, got, sizeof(got)), -1);
	close(fd);
	turn(w);
}

#define SAYS(w, request, want) says(w, request, sizeof(request) - 1, want)

static void test_answers(void **state)
{
	struct world *w = *state;

	SAYS(w, "{\"command\":\"ping\"}\n", "{\"asked\":\"ping\"}\n");
	SAYS(w, " {\"command\" : \"ping\", \"x\": [1, {}]} \r\n", "\"ping\"");
}

static void test_malformed(void **state)
{
	static char deep[CONTROL_REQUEST - 1], longest[CONTROL_REQUEST];
	struct world *w = *state;

	SAYS(w, "\n", "error");
	SAYS(w, "ping\n", "\"error\":\"not JSON");
	SAYS(w, "{}\n", "no \\\"command\\\"");
	SAYS(w, "[]\n", "no \\\"command\\\"");
	SAYS(w, "[\"command\"]\n", "no \\\"command\\\"");
	SAYS(w, "{\"command\":1}\n", "not a string");
	SAYS(w, "{\"command\":null}\n", "not a string");
	SAYS(w, "{\"command\":\"\"}\n", "unknown command");
	SAYS(w, "{\"command\":\"Ping\"}\n", "unknown command");
	SAYS(w, "{\"command\":\"ping\",\"command\":\"x\"}\n", "not JSON");
	SAYS(w, "{\"command\":\"ping\"}{}\n", "not JSON");
	SAYS(w, "{\"command\":\"pi\0ng\"}\n", "not JSON");
	SAYS(w, "{\"command\":\"pi\\u0000ng\"}\n", "not JSON");
	SAYS(w, "\0\0\0\0\n", "not JSON");
	SAYS(w, "\xff\xfe\x80{\xc3\n", "not JSON");
	SAYS(w, "{\"command\":\"\xff\xc0\"}\n", "not JSON");
	SAYS(w, "{\"command\":\"ping\"}\n{\"command\":\"ping\"}\n",
	     "one request a connection");
	SAYS(w, "{\"command\":\"follow\",\"refuse\":1}\n", "\"no\"");
	memset(deep, '[', sizeof(deep));
	deep[sizeof(deep) - 1] = '\n';
	says(w, deep, sizeof(deep), "not JSON");
	memset(longest, ' ', sizeof(longest));
	says(w, longest, sizeof(longest), "request too long");
	memcpy(longest, "{\"command\":\"ping\"}", 18);
	longest[sizeof(longest) - 1] = '\n';
	says(w, longest, sizeof(longest), "\"asked\":\"ping\"");
	assert_int_equal(w->subscribers, 0);
}

static void test_byte_by_byte(void **state)
{
	static const char request[] = "{\"command\":\"ping\"}\n";
	struct world *w = *state;
	char got[256];
	int fd = dial(w);

	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		assert_int_equal(take(fd, got, sizeof(got)), 0);
		assert_int_equal(send(fd, &request[i], 1, 0), 1);
		turn(w);
	}
	take(fd, got, sizeof(got));
	assert_string_equal(got, "{\"asked\":\"ping\"}\n");
	close(fd);
}

/* It says no more, but wants to hear what was wrong */
static void test_half_a_line(void **state)
{
	struct world *w = *state;
	char got[256];
	int fd = dial(w), nothing = dial(w);

	turn(w);
	assert_int_equal(send(fd, "{\"command\":\"ping\"}", 18, 0), 18);
	shutdown(fd, SHUT_WR);
	shutdown(nothing, SHUT_WR);
	turn(w);
	take(fd, got, sizeof(got));
	assert_non_null(strstr(got, "{\"error\":\"no line end"));
	assert_int_equal(take(fd, got, sizeof(got)), -1);
	assert_int_equal(take(nothing, got, sizeof(got)), -1);
	close(fd);
	close(nothing);
}

/* A client that is slow does not hold up others, and has its time */
static void test_silence(void **state)
{
	struct world *w = *state;
	char got[256];
	int half = dial(w), nothing = dial(w);

	turn(w);
	assert_int_equal(send(half, "{\"comm", 6, 0), 6);
	for (int i = 0; i < 10; i++) {
		turn(w);
		control_tick(&w->control);
		SAYS(w, "{\"command\":\"ping\"}\n", "ping");
		assert_int_equal(take(half, got, sizeof(got)), 0);
		assert_int_equal(take(nothing, got, sizeof(got)), 0);
	}
	control_tick(&w->control);
	turn(w);
	assert_int_equal(take(half, got, sizeof(got)), -1);
	assert_int_equal(take(nothing, got, sizeof(got)), -1);
	close(half);
	close(nothing);
}

static void test_big_answer_goes_piecewise(void **state)
{
	struct world *w = *state;
	char *got = malloc(BIG + 4096);
	int fd = dial(w);
	size_t len = 0;
	long n;

	turn(w);
	assert_int_equal(send(fd, "{\"command\":\"big\"}\n", 18, 0), 18);
	turn(w);
	/* It is not taken: others are served all the same */
	SAYS(w, "{\"command\":\"ping\"}\n", "ping");
	while ((n = take(fd, got + len, BIG + 4096 - len)) > 0) {
		len += (size_t)n;
		turn(w);
	}
	assert_int_equal(n, -1);
	assert_int_equal(len, BIG + strlen("{\"text\":\"\"}\n"));
	assert_int_equal(got[len - 1], '\n');
	close(fd);
	free(got);
}

static void test_big_answer_that_nobody_takes(void **state)
{
	struct world *w = *state;
	int fd = dial(w);

	turn(w);
	assert_int_equal(send(fd, "{\"command\":\"big\"}\n", 18, 0), 18);
	turn(w);
	for (int i = 0; i < 61; i++) {
		assert_true(w->control.client[0].fd >= 0);
		control_tick(&w->control);
	}
	assert_int_equal(w->control.client[0].fd, -1);
	assert_null(w->control.client[0].out);
	close(fd);
	turn(w);
}

static void test_too_many(void **state)
{
	struct world *w = *state;
	int fd[CONTROL_CLIENTS];
	char got[256];
	int one;

	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		fd[i] = dial(w);
		turn(w);
	}
	one = dial(w);
	turn(w);
	take(one, got, sizeof(got));
	assert_non_null(strstr(got, "\"error\":\"too many"));
	close(one);
	close(fd[3]);
	turn(w);
	SAYS(w, "{\"command\":\"ping\"}\n", "ping");
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		close(fd[i]);
	turn(w);
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		assert_int_equal(w->control.client[i].fd, -1);
}

/* No descriptor is left: who cannot be let in waits, and so does the loop */
static void test_no_descriptors(void **state)
{
	struct world *w = *state;
	struct rlimit limit, none;
	struct epoll_event event;
	char got[256];
	int fd = dial(w), turns = 0;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ (rlim_t)fd + 1, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (int second = 0; second < 3; second++) {
		while (turns < 100 && epoll_wait(w->epoll, &event, 1, 0) > 0) {
			control_ready(&w->control, event.data.fd);
			turns++;
		}
		control_tick(&w->control);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_in_range(turns, 1, 10);
	/* valgrind accepts who has no number, and closes */
	if (take(fd, got, sizeof(got)) < 0) {
		close(fd);
		skip();
	}
	control_tick(&w->control);
	turn(w);
	assert_int_equal(send(fd, "{\"command\":\"ping\"}\n", 19, 0), 19);
	turn(w);
	take(fd, got, sizeof(got));
	assert_string_equal(got, "{\"asked\":\"ping\"}\n");
	close(fd);
	SAYS(w, "{\"command\":\"ping\"}\n", "ping");
}

/* ---- subscribers ---- */

static int follow(struct world *w)
{
	int fd = dial(w);

	turn(w);
	assert_int_equal(send(fd, "{\"command\":\"follow\"}\n", 21, 0), 21);
	turn(w);
	return fd;
}

static void test_subscriber_gets_lines(void **state)
{
	struct world *w = *state;
	int fd = follow(w);
	char got[256];

	assert_int_equal(w->subscribers, 1);
	assert_true(control_tell(&w->control, w->subscriber[0], "one\n", 4));
	assert_true(control_tell(&w->control, w->subscriber[0], "two\n", 4));
	turn(w);
	take(fd, got, sizeof(got));
	assert_string_equal(got, "one\ntwo\n");
	/* It stays, whatever time passes, while it takes what it is told; what
	 * it says is not heard
	 */
	assert_int_equal(send(fd, "{}\n{}\n", 6, 0), 6);
	for (int i = 0; i < 10000; i++)
		control_tick(&w->control);
	turn(w);
	assert_true(control_tell(&w->control, w->subscriber[0], "x\n", 2));
	take(fd, got, sizeof(got));
	assert_string_equal(got, "x\n");
	/* Nor is it gone when it has said all it had to say */
	shutdown(fd, SHUT_WR);
	turn(w);
	assert_int_equal(w->left, 0);
	close(fd);
	turn(w);
	assert_int_equal(w->left, 1);
	assert_int_equal(w->control.client[0].fd, -1);
}

/* It loses lines, whole ones, but neither order nor our memory */
static void test_slow_subscriber(void **state)
{
	static char got[1 << 16];
	struct world *w = *state;
	int fd = follow(w);
	unsigned int told = 0, next = 0, lost = 0;
	char line[32];
	size_t len = 0;
	long n;

	for (unsigned int i = 0; i < 100000; i++) {
		int size = snprintf(line, sizeof(line), "%08u\n", i);

		if (control_tell(&w->control, w->subscriber[0], line,
				 (size_t)size))
			told++;
		else
			lost++;
		turn(w);
	}
	assert_true(lost > 1000 && told > 1000);
	assert_true(told * 9 >= CONTROL_BACKLOG);
	/* As it reads, there is room again */
	while ((n = take(fd, got + len, sizeof(got) - len)) > 0) {
		char *at = got;

		len += (size_t)n;
		for (; len >= 9; at += 9, len -= 9) {
			assert_int_equal(strtoul(at, NULL, 10), next);
			next++;
		}
		memmove(got, at, len);
		turn(w);
	}
	assert_int_equal(next, told);
	assert_true(control_tell(&w->control, w->subscriber[0], "again\n", 6));
	take(fd, got, sizeof(got));
	assert_string_equal(got, "again\n");
	assert_false(control_tell(&w->control, w->subscriber[0], got,
				  CONTROL_BACKLOG + 1));
	close(fd);
	turn(w);
	assert_int_equal(w->left, 1);
}

/* One that reads nothing for an hour */
static void test_subscriber_is_put_out(void **state)
{
	struct world *w = *state;
	int fd = follow(w);

	while (control_tell(&w->control, w->subscriber[0], "line\n", 5))
		;
	for (int i = 0; i < 3600; i++) {
		assert_int_equal(w->left, 0);
		control_tick(&w->control);
	}
	control_tick(&w->control);
	assert_int_equal(w->left, 1);
	close(fd);
	turn(w);
}

/* Some places are kept for who asks and switches */
static void test_too_many_subscribers(void **state)
{
	struct world *w = *state;
	int fd[CONTROL_SUBSCRIBERS];

	for (int i = 0; i < CONTROL_SUBSCRIBERS; i++)
		fd[i] = follow(w);
	assert_int_equal(w->subscribers, CONTROL_SUBSCRIBERS);
	SAYS(w, "{\"command\":\"follow\"}\n", "\"error\":\"too many");
	SAYS(w, "{\"command\":\"ping\"}\n", "ping");
	assert_int_equal(w->subscribers, CONTROL_SUBSCRIBERS);
	for (int i = 0; i < CONTROL_SUBSCRIBERS; i++)
		close(fd[i]);
	turn(w);
	assert_int_equal(w->left, CONTROL_SUBSCRIBERS);
	close(follow(w));
	turn(w);
	assert_int_equal(w->left, CONTROL_SUBSCRIBERS + 1);
}

/* The socket goes while somebody listens */
static void test_close_tells_commands(void **state)
{
	struct world *w = *state;
	int fd = follow(w);

	control_close(&w->control);
	assert_int_equal(w->left, 1);
	close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_answers),
		TEST(test_malformed),
		TEST(test_byte_by_byte),
		TEST(test_half_a_line),
		TEST(test_silence),
		TEST(test_big_answer_goes_piecewise),
		TEST(test_big_answer_that_nobody_takes),
		TEST(test_too_many),
		TEST(test_no_descriptors),
		TEST(test_subscriber_gets_lines),
		TEST(test_slow_subscriber),
		TEST(test_subscriber_is_put_out),
		TEST(test_too_many_subscribers),
		TEST(test_close_tells_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
