/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int saved_fd, pipe_fd[2];
static char shown[4096];

static int capture_begin(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_LEVEL_INFO);
	saved_fd = dup(STDERR_FILENO);
	if (pipe(pipe_fd))
		return -1;
	return dup2(pipe_fd[1], STDERR_FILENO) < 0;
}

/* What was logged so far; the log's write end stays open */
static const char *captured(void)
{
	ssize_t n;

	/* So that there is something to read */
	assert_int_equal(write(pipe_fd[1], "$", 1), 1);
	n = read(pipe_fd[0], shown, sizeof(shown) - 1);
	assert_true(n > 0);
	shown[n - 1] = '\0';
	return shown;
}

static int capture_end(void **state)
{
	(void)state;
	dup2(saved_fd, STDERR_FILENO);
	close(saved_fd);
	close(pipe_fd[0]);
	return close(pipe_fd[1]);
}

static void test_levels(void **state)
{
	(void)state;
	log_error("e%d", 1);
	log_warning("w");
	log_notice("n");
	log_info("i");
	log_debug("d");
	assert_string_equal(captured(), "sipalgd: error: e1\n"
					"sipalgd: warning: w\n"
					"sipalgd: n\nsipalgd: i\n");
	log_set_level(LOG_LEVEL_ERROR);
	log_warning("w");
	log_error("e");
	assert_string_equal(captured(), "sipalgd: error: e\n");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("d");
	assert_string_equal(captured(), "sipalgd: debug: d\n");
}

/* Whoever should read hangs: lines are lost, and counted, but nobody waits */
static void test_nobody_reads(void **state)
{
	static char got[1 << 20];
	size_t len = 0, lines = 0;
	ssize_t n;

	(void)state;
	for (int i = 0; i < 10000; i++)
		log_info("%04d a line of the usual length, or so", i);
	log_text(LOG_LEVEL_ERROR, "and some text\nof two lines\n");
	for (int i = 0; i < 2; i++) {
		n = read(pipe_fd[0], got + len, sizeof(got) - 1 - len);
		assert_true(n > 0);
		len += (size_t)n;
		log_info("there is room again");
	}
	got[len] = '\0';
	for (const char *c = got; (c = strchr(c, '\n')); c++)
		lines++;
	snprintf(shown, sizeof(shown),
		 "\nsipalgd: warning: %zu lines were lost: whoever reads them "
		 "did not\n"
		 "sipalgd: there is room again\n",
		 10000 + 2 - (lines - 2));
	assert_non_null(strstr(got, shown));
	assert_null(strstr(got, "some text"));
	log_text(LOG_LEVEL_ERROR, "and some text\nof two lines\n");
	assert_string_equal(captured(), "sipalgd: there is room again\n"
					"and some text\nof two lines\n");
}

static void test_journal_priority(void **state)
{
	char stream[64];
	struct stat st;

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_ino);
	(void)state;
	setenv("JOURNAL_STREAM", stream, 1);
	log_warning("w");
	log_text(LOG_LEVEL_ERROR, "f:1: x\nf:2: y\n");
	/* Only standard output is the journal's, or that of who started us */
	setenv("JOURNAL_STREAM", "8:1", 1);
	log_warning("w");
	unsetenv("JOURNAL_STREAM");
	assert_string_equal(captured(), "<4>w\n<3>f:1: x\n<3>f:2: y\n"
					"sipalgd: warning: w\n");
}

static void test_long_line_is_cut(void **state)
{
	char text[3000];
	const char *line;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_error("%s", text);
	line = captured();
	assert_int_equal(strlen(line), 1023);
	assert_ptr_equal(strchr(line, '\n'), line + 1022);
}

static void test_allow(void **state)
{
	static struct log_limit limit;
	unsigned int allowed = 0;

	(void)state;
	for (int i = 0; i < 25; i++)
		allowed += log_allow(&limit, 5000);
	assert_int_equal(allowed, 10);
	assert_false(log_allow(&limit, 5999));
	assert_string_equal(captured(), "");
	assert_true(log_allow(&limit, 6000));
	assert_string_equal(captured(),
			    "sipalgd: 16 similar lines were not shown\n");
	assert_true(log_allow(&limit, 7000));
	assert_string_equal(captured(), "");
}

static void test_escape(void **state)
{
	char buf[16];

	(void)state;
	assert_string_equal(log_escape(buf, sizeof(buf), SPAN("a b~")), "a b~");
	assert_string_equal(log_escape(buf, sizeof(buf), SPAN("\r\n\033")),
			    "\\x0d\\x0a\\x1b");
	assert_string_equal(log_escape(buf, sizeof(buf), SPAN("\\\0\xff")),
			    "\\x5c\\x00\\xff");
	/* An escape is whole or not there */
	assert_string_equal(log_escape(buf, 8, SPAN("abcd\n")), "abcd");
	assert_string_equal(log_escape(buf, 9, SPAN("abcd\n")), "abcd\\x0a");
	assert_string_equal(log_escape(buf, 3, SPAN("abcd")), "ab");
	assert_string_equal(log_escape(buf, 1, SPAN("abcd")), "");
	assert_string_equal(log_escape(buf, 5, (struct span){ 0 }), "");
}

#define CAPTURED(test)                                                         \
	cmocka_unit_test_setup_teardown(test, capture_begin, capture_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CAPTURED(test_levels),
		CAPTURED(test_nobody_reads),
		CAPTURED(test_journal_priority),
		CAPTURED(test_long_line_is_cut),
		CAPTURED(test_allow),
		cmocka_unit_test(test_escape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
