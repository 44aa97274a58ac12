/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "guard.h"

#define SDP "v=0\r\ns=-\r\n"

static struct body_part part;

static bool find(const char *type, const char *body)
{
	struct span t = { 0 };

	if (type)
		t = (struct span){ guard_place(1, type, strlen(type)),
				   strlen(type) };
	return body_find_sdp(t, guard_str(body), &part);
}

static void assert_span(struct span got, const char *want)
{
	if (!want)
		assert_null(got.ptr);
	else if (!got.ptr || !span_eq(got, span_from_str(want)))
		fail_msg("'%.*s', not '%s'", SPAN_ARG(got), want);
}

static void test_whole(void **state)
{
	static const char *const types[] = {
		"application/sdp",
		"Application/SDP",
		"application/sdp ; charset=utf-8",
		"application/sdp;x=\"multipart/mixed\"",
		NULL,
	};

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_true(find(types[i], SDP));
		assert_span(part.sdp, SDP);
		assert_null(part.length.ptr);
	}
}

static void test_none(void **state)
{
	static const char *const types[] = {
		"text/plain",
		"application/sdpx",
		"application/sd",
		"",
		"xapplication/sdp",
		"application/isup",
		"multipart/mixed",
		"multipart/mixed;boundary=",
		"multipart/mixed;boundary=\"\"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (find(types[i], SDP))
			fail_msg("'%s'", types[i]);
	}
	assert_false(find("application/sdp", ""));
	assert_false(find(NULL, ""));
	/* Without a type it must look like one */
	assert_false(find(NULL, "hello"));
}

static void test_multipart(void **state)
{
	static const char type[] = "multipart/mixed;boundary=\"b 1\"";

	(void)state;
	assert_true(find(type, "v=0 --b 1 preamble\r\n"
			       "--b 1\r\n"
			       "Content-Type: text/plain\r\n\r\nv=0\r\n"
			       "--b 1\r\n"
			       "Content-ID: 5\r\n"
			       "content-length : 10 \r\n"
			       "CONTENT-TYPE:application/sdp;x=y\r\n"
			       "\r\n" SDP "\r\n"
			       "--b 1--\r\nv=0"));
	assert_span(part.sdp, SDP "\r\n");
	assert_span(part.length, "10");
	assert_true(find("multipart/alternative; boundary=abc",
			 "--abc\nContent-Type: application/sdp\n\nv=0\n"
			 "--abc--"));
	assert_span(part.sdp, "v=0\n");
	assert_null(part.length.ptr);
}

static void test_multipart_without(void **state)
{
	static const char type[] = "multipart/mixed;boundary=bb";
	static const char *const bodies[] = {
		SDP,
		"--bb",
		"--bb\r\n",
		"--bb--",
		"--bb\r\n--bb--",
		/* No end: nobody knows where the part ends */
		"--bb\r\nContent-Type: application/sdp\r\n\r\n" SDP,
		/* No empty line */
		"--bb\r\nContent-Type: application/sdp\r\n--bb--",
		/* No type: text/plain */
		"--bb\r\n\r\n" SDP "--bb--",
		/* A boundary begins a line */
		"x--bb\r\nContent-Type: application/sdp\r\n\r\n" SDP "x--bb--",
		"-bb\r\nContent-Type: application/sdp\r\n\r\n" SDP "-bb--",
		"bb",
		"--bb\r\nContent-Type application/sdp\r\n\r\n" SDP "--bb--",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
		if (find(type, bodies[i]))
			fail_msg("row %zu", i);
	}
}

static void test_boundary_length(void **state)
{
	char type[128] = "multipart/mixed;boundary=", body[512];

	(void)state;
	/* RFC 2046 5.1.1: 70 at most */
	for (size_t n = 70; n <= 71; n++) {
		memset(type + 25, 'b', n);
		type[25 + n] = '\0';
		snprintf(body, sizeof(body),
			 "--%s\r\nContent-Type: application/sdp\r\n\r\n" SDP
			 "--%s--",
			 type + 25, type + 25);
		assert_int_equal(find(type, body), n == 70);
	}
}

static void test_every_truncation(void **state)
{
	static const char body[] =
		"x\r\n--b\r\nContent-Length: 1\r\nContent-Type: "
		"application/sdp\r\n\r\n" SDP "--b--\r\n";
	static const char type[] = "multipart/mixed ; boundary=\"b\";x";

	(void)state;
	for (size_t len = 0; len < sizeof(body); len++) {
		struct span all = guard_span((struct span){ body, len });

		if (body_find_sdp(SPAN(type), all, &part))
			assert_true(span_end(part.sdp) <= span_end(all));
	}
	assert_span(part.sdp, SDP);
	for (size_t len = 0; len < sizeof(type); len++)
		body_find_sdp(guard_span((struct span){ type, len }),
			      SPAN(body), &part);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_multipart),
		cmocka_unit_test(test_multipart_without),
		cmocka_unit_test(test_boundary_length),
		cmocka_unit_test(test_every_truncation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
