/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "guard.h"

#define MAX 65535

static struct message msg;

static enum frame_kind frame(struct span bytes, size_t max, size_t *len)
{
	struct framer framer = { 0 };
	enum frame_kind kind =
		frame_next(&framer, guard_span(bytes), max, &msg);

	*len = framer.len;
	return kind;
}

static enum frame_kind kind_of(const char *text)
{
	size_t len;

	return frame(span_from_str(text), MAX, &len);
}

#define REQUEST                                                                \
	"MESSAGE sip:bob@example.com SIP/2.0\r\n"                              \
	"Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n"                       \
	"Content-Length: 5\r\n\r\nhello"
#define ANSWER "SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\nl:4\r\n\r\n\r\n\r\n"
#define NO_BODY "OPTIONS sip:a SIP/2.0\r\nCall-ID: x\r\n\r\n"
#define BARE_LF "BYE sip:a SIP/2.0\nContent-Length: 2\n\nab"
#define FOLDED                                                                 \
	"INVITE sip:a SIP/2.0\r\nSubject: one\r\n two\r\nContent-Length:\r\n"  \
	" 3\r\n\r\nabc"

static void test_whole(void **state)
{
	struct {
		const char *text;
		size_t body;
	} cases[] = { { REQUEST, 5 },
		      { ANSWER, 4 },
		      { NO_BODY, 0 },
		      { BARE_LF, 2 },
		      { FOLDED, 3 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct span text = span_from_str(cases[i].text);
		char more[1000];
		size_t len;

		assert_int_equal(frame(text, MAX, &len), FRAME_MESSAGE);
		assert_int_equal(len, text.len);
		assert_true(span_eq(msg.whole, text));
		assert_int_equal(msg.body.len, cases[i].body);
		assert_ptr_equal(span_end(msg.body), span_end(msg.whole));
		/* What follows it changes nothing */
		memcpy(more, text.ptr, text.len);
		memset(more + text.len, 'x', 100);
		assert_int_equal(
			frame((struct span){ more, text.len + 100 }, MAX, &len),
			FRAME_MESSAGE);
		assert_int_equal(len, text.len);
		assert_true(span_eq(msg.whole, text));
		assert_int_equal(msg.body.len, cases[i].body);
	}
}

/* A stream as a daemon reads it, in pieces. @log gets one letter a frame, and
 * its length
 */
static void read_all(struct span stream, const size_t *cut, size_t cuts,
		     size_t max, char *log)
{
	static const char letters[] = "?bmlax";
	struct framer framer = { 0 };
	size_t at = 0, skip = 0, n = 0;

	for (size_t i = 0; i <= cuts; i++) {
		size_t have = i < cuts ? cut[i] : stream.len;

		while (at < have) {
			struct span rest = { stream.ptr + at, have - at };
			enum frame_kind kind;

			if (skip) {
				size_t len = skip < rest.len ? skip : rest.len;

				skip -= len;
				at += len;
				continue;
			}
			rest.ptr = guard_place(0, rest.ptr, rest.len);
			kind = frame_next(&framer, rest, max, &msg);
			if (kind == FRAME_MORE)
				break;
			/* Line ends are told as they come */
			if (kind != FRAME_BLANK)
				n += (size_t)sprintf(log + n, "%c%zu ",
						     letters[kind], framer.len);
			if (kind == FRAME_ALIEN || kind == FRAME_BROKEN) {
				sprintf(log + n, "at %zu", at);
				return;
			}
			if (framer.len > rest.len) {
				skip = framer.len - rest.len;
				at = have;
			} else {
				at += framer.len;
			}
			framer = (struct framer){ 0 };
		}
	}
	sprintf(log + n, "end %zu", at);
}

/* However a stream is cut, it is read the same */
static void check_cuts(const char *text, size_t max)
{
	struct span stream = span_from_str(text);
	char want[1000], log[1000];
	size_t cut[4000] = { 0 };

	read_all(stream, NULL, 0, max, want);
	for (size_t i = 1; i < stream.len; i++) {
		read_all(stream, &i, 1, max, log);
		assert_string_equal(log, want);
	}
	for (size_t i = 1; i < stream.len; i++)
		cut[i - 1] = i;
	read_all(stream, cut, stream.len - 1, max, log);
	assert_string_equal(log, want);
	for (size_t i = 1; i < stream.len; i += 7) {
		for (size_t k = i + 1; k < stream.len; k += 5) {
			cut[0] = i;
			cut[1] = k;
			read_all(stream, cut, 2, max, log);
			assert_string_equal(log, want);
		}
	}
}

static void test_every_cut(void **state)
{
	(void)state;
	check_cuts(REQUEST ANSWER NO_BODY "\r\n\r\n" BARE_LF "\r\n" FOLDED
					  "\n\n" REQUEST,
		   MAX);
	check_cuts(REQUEST "\x16\x03\x01" REQUEST, MAX);
	check_cuts(REQUEST "GET / HTTP/1.1\r\nHost: a\r\n\r\n" REQUEST, MAX);
	check_cuts(NO_BODY "BYE sip:a SIP/2.0\r\nl: x\r\n\r\n" REQUEST, MAX);
	check_cuts(NO_BODY "z>MESSAGE sip:a SIP/2.0\r\nl: 0\r\n\r\n", MAX);
	check_cuts(NO_BODY "MESSAGE sip:a SIP/3.0\r\nl: 0\r\n\r\n", MAX);
	/* Longer than wanted, but its length is known; a header that is not */
	check_cuts(REQUEST NO_BODY REQUEST, 100);
	check_cuts(NO_BODY REQUEST NO_BODY, 50);
}

static void test_start_line(void **state)
{
	static const char *const may[] = {
		"I",
		"INVITE",
		"INVITE ",
		"INVITE s",
		"INVITE sip",
		"INVITE sip:",
		"INVITE sips:x",
		"INVITE tel:+1",
		"INVITE  sip:a",
		"x-new.method!%*_+`'~ urn:service:sos",
		"S",
		"SIP/",
		"SIP/2.0",
		"SIP/2.0 2",
		"SIP/2.0 200 OK\r",
		"sip/2.0 2",
		"G",
		"GET ",
		"GET h",
	};
	static const char *const not [] = {
		" ",
		"\t",
		"(",
		"INVITE\r",
		"INVITE\t",
		"INVITE /",
		"GET /",
		"GET http/",
		"GET 1",
		"GET *",
		"OPTIONS rtsp ",
		"SIP/2.1",
		"SIP/2.0x",
		"HTTP/1.1 200 OK\r\n",
		"\x16\x03\x01",
		"\x80",
		"SSH-2.0-OpenSSH\r\n",
		"OPTIONS rtsp://a RTSP/1.0\r\n",
		"POST sip:a HTTP/1.1\r\n",
		"INVITE sip:a\r\n",
		"SIP/2.0 99 Few\r\n",
		"SIP/2.0 2000 Many\r\n",
		"SIP/2.0 xyz OK\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(may) / sizeof(*may); i++)
		assert_int_equal(kind_of(may[i]), FRAME_MORE);
	for (size_t i = 0; i < sizeof(not ) / sizeof(*not ); i++)
		assert_int_equal(kind_of(not [i]), FRAME_ALIEN);
}

static void test_binary(void **state)
{
	static const char stun[] = "\x00\x01\x00\x00\x21\x12\xa4\x42"
				   "abcdefghijkl";
	size_t len;

	(void)state;
	assert_int_equal(frame(SPAN("\0"), MAX, &len), FRAME_ALIEN);
	for (size_t i = 1; i < sizeof(stun); i++)
		assert_int_equal(frame((struct span){ stun, i }, MAX, &len),
				 FRAME_ALIEN);
	/* A NUL in the header */
	assert_int_equal(
		frame(SPAN("BYE sip:a SIP/2.0\r\nX: \0\r\n\r\n"), MAX, &len),
		FRAME_BROKEN);
}

static void test_endless_line(void **state)
{
	char line[10000];
	size_t len;

	(void)state;
	memset(line, 'a', sizeof(line));
	memcpy(line, "INVITE sip:", 11);
	assert_int_equal(frame((struct span){ line, 8000 }, MAX, &len),
			 FRAME_MORE);
	assert_int_equal(frame((struct span){ line, 9000 }, MAX, &len),
			 FRAME_ALIEN);
	/* The same when its end comes along */
	memcpy(line + 8995, " SIP/2.0\r\n", 10);
	assert_int_equal(frame((struct span){ line, 9005 }, MAX, &len),
			 FRAME_ALIEN);
	memset(line, 'a', 40);
	assert_int_equal(frame((struct span){ line, 32 }, MAX, &len),
			 FRAME_MORE);
	assert_int_equal(frame((struct span){ line, 33 }, MAX, &len),
			 FRAME_ALIEN);
}

static void test_blank(void **state)
{
	size_t len;

	(void)state;
	assert_int_equal(kind_of(""), FRAME_MORE);
	assert_int_equal(frame(SPAN("\r\n\r\n"), MAX, &len), FRAME_BLANK);
	assert_int_equal(len, 4);
	assert_int_equal(frame(SPAN("\r"), MAX, &len), FRAME_BLANK);
	assert_int_equal(frame(SPAN("\n\nINVITE"), MAX, &len), FRAME_BLANK);
	assert_int_equal(len, 2);
}

static enum frame_kind with_header(const char *lines, struct framer *framer)
{
	char text[500];

	snprintf(text, sizeof(text), "BYE sip:a SIP/2.0\r\n%s\r\nbody", lines);
	*framer = (struct framer){ 0 };
	return frame_next(framer, guard_str(text), MAX, &msg);
}

static void test_length(void **state)
{
	static const struct {
		const char *lines;
		enum frame_kind kind;
		enum message_status status;
	} cases[] = {
		{ "", FRAME_MESSAGE, MESSAGE_OK },
		{ "Content-Length: 4\r\n", FRAME_MESSAGE, MESSAGE_OK },
		{ "CONTENT-LENGTH : 0004\r\n", FRAME_MESSAGE, MESSAGE_OK },
		{ "L:4\r\n", FRAME_MESSAGE, MESSAGE_OK },
		{ "l: 5\r\n", FRAME_MORE, MESSAGE_OK },
		{ "l: 70000\r\n", FRAME_LONG, MESSAGE_OK },
		{ "l: 4294967295\r\n", FRAME_LONG, MESSAGE_OK },
		{ "l: 4294967296\r\n", FRAME_BROKEN, MESSAGE_BAD_LENGTH },
		{ "l:\r\n", FRAME_BROKEN, MESSAGE_BAD_LENGTH },
		{ "l: -1\r\n", FRAME_BROKEN, MESSAGE_BAD_LENGTH },
		{ "l: 4 4\r\n", FRAME_BROKEN, MESSAGE_BAD_LENGTH },
		{ "l: 0x4\r\n", FRAME_BROKEN, MESSAGE_BAD_LENGTH },
		{ "l: 4\r\nContent-Length: 4\r\n", FRAME_BROKEN,
		  MESSAGE_BAD_LENGTH },
		{ "l: 99999999999999999999999\r\n", FRAME_BROKEN,
		  MESSAGE_BAD_LENGTH },
	};
	struct framer framer;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(with_header(cases[i].lines, &framer),
				 cases[i].kind);
		assert_int_equal(framer.status, cases[i].status);
	}
}

/* The reader of a stream may wait until so many have come */
static void test_known_length(void **state)
{
	struct framer framer = { 0 };
	struct span part = SPAN("BYE sip:a SIP/2.0\r\nl: 1000\r\n\r\nx");

	(void)state;
	assert_int_equal(frame_next(&framer, part, MAX, &msg), FRAME_MORE);
	assert_int_equal(framer.len, part.len - 1 + 1000);
	assert_int_equal(frame_next(&framer, part, MAX, &msg), FRAME_MORE);
}

static void test_max(void **state)
{
	struct span text = SPAN(REQUEST);
	struct framer framer = { 0 };
	size_t len;

	(void)state;
	assert_int_equal(frame(text, text.len, &len), FRAME_MESSAGE);
	assert_int_equal(frame(text, text.len - 1, &len), FRAME_LONG);
	assert_int_equal(len, text.len);
	/* Its header alone is longer: nobody waits for the end of that */
	assert_int_equal(frame(text, text.len - 6, &len), FRAME_BROKEN);
	text.len -= 6;
	assert_int_equal(frame_next(&framer, text, 50, &msg), FRAME_BROKEN);
	assert_int_equal(framer.status, MESSAGE_BAD_END);
	framer = (struct framer){ 0 };
	text.len = 50;
	assert_int_equal(frame_next(&framer, text, 50, &msg), FRAME_MORE);
}

static void test_too_many_headers(void **state)
{
	static char text[(MESSAGE_HEADERS + 2) * 8];
	struct framer framer = { 0 };
	size_t n = (size_t)sprintf(text, "BYE sip:a SIP/2.0\r\n");

	(void)state;
	for (int i = 0; i <= MESSAGE_HEADERS; i++)
		n += (size_t)sprintf(text + n, "i: x\r\n");
	n += (size_t)sprintf(text + n, "\r\n");
	assert_int_equal(
		frame_next(&framer, (struct span){ text, n }, MAX, &msg),
		FRAME_BROKEN);
	assert_int_equal(framer.status, MESSAGE_TOO_MANY_HEADERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_start_line),
		cmocka_unit_test(test_binary),
		cmocka_unit_test(test_endless_line),
		cmocka_unit_test(test_blank),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_known_length),
		cmocka_unit_test(test_max),
		cmocka_unit_test(test_too_many_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
