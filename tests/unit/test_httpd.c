/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/httpd.h"

#include <errno.h>
#include <microhttpd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE_LEN 300000

static struct httpd *httpd;
static struct endpoint end;
static unsigned int pages;
static bool no_memory;
static int epoll = -1;

/* As long as a page never is: it does not go in one piece */
static char *text(void *arg, const char *accept, const char **type, size_t *len)
{
	char *page = no_memory ? NULL : malloc(PAGE_LEN);

	assert_ptr_equal(arg, &pages);
	pages++;
	if (!page)
		return NULL;
	memset(page, 'x', PAGE_LEN);
	*type = accept ? accept : "text/none";
	*len = PAGE_LEN;
	return page;
}

static int set_up(void **state)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	(void)state;
	pages = 0;
	no_memory = false;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	end = (struct endpoint){ 0 };
	assert_int_equal(addr_parse(SPAN("127.0.0.1"), &end.addr), 0);
	assert_int_equal(httpd_open(&httpd, &end, epoll, "/page", text, &pages),
			 0);
	assert_int_equal(
		getsockname(MHD_get_daemon_info(httpd->mhd,
						MHD_DAEMON_INFO_LISTEN_FD)
				    ->listen_fd,
			    (struct sockaddr *)&addr, &len),
		0);
	end.port = ntohs(addr.sin_port);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	httpd_close(httpd);
	close(epoll);
	return 0;
}

static int dial(void)
{
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(&end, &ss);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	return fd;
}

/* The caller's loop, until nothing happens for @idle_ms */
static void loop(int idle_ms)
{
	struct epoll_event event;

	while (epoll_wait(epoll, &event, 1, httpd_waits(httpd) ? 0 : idle_ms) ||
	       httpd_waits(httpd)) {
		if (!httpd_ready(httpd, event.data.fd))
			httpd_run(httpd);
	}
}

/* What comes back on @fd until it ends or falls silent; NUL-terminated */
static const char *take(int fd)
{
	static char got[2 * PAGE_LEN];
	size_t len = 0;

	for (;;) {
		ssize_t n;

		loop(50);
		n = recv(fd, got + len, sizeof(got) - 1 - len, MSG_DONTWAIT);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	got[len] = '\0';
	return got;
}

static const char *ask(const char *request)
{
	int fd = dial();
	const char *got;

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL),
			 strlen(request));
	got = take(fd);
	close(fd);
	return got;
}

static void test_page(void **state)
{
	const char *got = ask("GET /page HTTP/1.1\r\nHost: x\r\n"
			      "Accept: text/some\r\n\r\n");

	(void)state;
	assert_memory_equal(got, "HTTP/1.1 200 OK\r\n", 17);
	assert_non_null(strstr(got, "\r\nContent-Type: text/some\r\n"));
	assert_non_null(strstr(got, "\r\nVary: Accept\r\n"));
	assert_non_null(strstr(got, "\r\n\r\n"));
	assert_int_equal(strlen(strstr(got, "\r\n\r\n")), 4 + PAGE_LEN);
	got = ask("HEAD /page HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_memory_equal(got, "HTTP/1.1 200 OK\r\n", 17);
	assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\n");
	got = ask("GET /page HTTP/1.0\r\n\r\n");
	assert_non_null(strstr(got, " 200 OK\r\n"));
	assert_non_null(strstr(got, "\r\nContent-Type: text/none\r\n"));
	assert_int_equal(pages, 3);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *request, *status;
	} t[] = {
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found" },
		{ "GET /pages HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found" },
		{ "POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
		  "a=b",
		  "405 Method Not Allowed" },
		{ "DELETE /page HTTP/1.1\r\nHost: x\r\n\r\n",
		  "405 Method Not Allowed" },
		{ "GET /page\r\n\r\n\r\n", "400 Bad Request" },
		{ "REGISTER sip:example.com SIP/2.0\r\n\r\n", "" },
		{ "\x16\x03\x01\x02", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		const char *got = ask(t[i].request);

		if (!strstr(got, t[i].status))
			fail_msg("row %zu: %s", i, got);
		assert_null(strstr(got, "200 OK"));
	}
	assert_int_equal(pages, 0);
	assert_non_null(strstr(ask("PUT /page HTTP/1.1\r\nHost: x\r\n\r\n"),
			       "\r\nAllow: GET, HEAD\r\n"));
	no_memory = true;
	assert_non_null(strstr(ask("GET /page HTTP/1.1\r\nHost: x\r\n\r\n"),
			       " 503 Service Unavailable\r\n"));
}

/* More than one may have are turned away, and what they leave serves others */
static void test_limits(void **state)
{
	int fd[3 * HTTPD_CLIENTS];
	size_t count = sizeof(fd) / sizeof(*fd), closed = 0;
	char byte;

	(void)state;
	for (size_t i = 0; i < count; i++) {
		fd[i] = dial();
		loop(0);
	}
	loop(50);
	for (size_t i = 0; i < count; i++)
		closed += recv(fd[i], &byte, 1, MSG_DONTWAIT) == 0;
	assert_int_equal(closed, count - HTTPD_CLIENTS_PER_HOST);
	for (size_t i = 0; i < count; i++)
		close(fd[i]);
	loop(50);
	assert_non_null(strstr(ask("GET /page HTTP/1.1\r\nHost: x\r\n\r\n"),
			       " 200 OK\r\n"));
	/* No end of a header: no end of memory */
	fd[0] = dial();
	for (int i = 0; i < 2000; i++) {
		if (send(fd[0], "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 33,
			 MSG_NOSIGNAL) < 0)
			break;
		loop(0);
	}
	assert_null(strstr(take(fd[0]), "200 OK"));
	close(fd[0]);
}

/* No descriptor is left: who cannot be let in waits, and so does the loop */
static void test_no_descriptors(void **state)
{
	static const char request[] = "GET /page HTTP/1.1\r\nHost: x\r\n\r\n";
	struct rlimit limit, none;
	struct epoll_event event;
	int fd = dial(), turns = 0;
	char byte;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ (rlim_t)fd + 1, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (int second = 0; second < 3; second++) {
		while (turns < 100 && (epoll_wait(epoll, &event, 1, 0) > 0 ||
				       httpd_waits(httpd))) {
			httpd_run(httpd);
			turns++;
		}
		httpd_run(httpd);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_in_range(turns, 1, 10);
	/* valgrind accepts who has no number, and closes */
	if (!recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)) {
		close(fd);
		skip();
	}
	httpd_run(httpd);
	assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL),
			 sizeof(request) - 1);
	assert_non_null(strstr(take(fd), " 200 OK\r\n"));
	close(fd);
}

static void test_address(void **state)
{
	struct endpoint other = end;
	struct httpd *second = NULL;

	(void)state;
	assert_int_equal(
		httpd_open(&second, &end, epoll, "/page", text, &pages),
		-EADDRINUSE);
	assert_int_equal(addr_parse(SPAN("192.0.2.77"), &other.addr), 0);
	assert_int_equal(
		httpd_open(&second, &other, epoll, "/page", text, &pages),
		-EADDRNOTAVAIL);
	assert_null(second);
	httpd_close(NULL);
	httpd_run(NULL);
	assert_false(httpd_ready(NULL, 0) || httpd_waits(NULL));
	/* The same at once again, as at a reload */
	ask("GET /page HTTP/1.1\r\nHost: x\r\n\r\n");
	httpd_close(httpd);
	assert_int_equal(httpd_open(&httpd, &end, epoll, "/page", text, &pages),
			 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_page),    TEST(test_refusals),
		TEST(test_limits),  TEST(test_no_descriptors),
		TEST(test_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
