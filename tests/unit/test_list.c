/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of calls and registrations, made of what strangers wrote */
#include "daemon/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "daemon/daemon.h"
#include "talk.h"

typedef json_t *begin_t(void *arg, const json_t *request, void **state);

static struct stage *st;
static struct daemon d;

static int set_up(void **state)
{
	(void)state;
	st = stage_open();
	d = (struct daemon){ .alg = st->alg, .conf = &st->conf };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	assert_null(st->alg->calls.walks);
	assert_null(st->alg->registrations.walks);
	stage_close(st);
	return 0;
}

/* The whole list; each piece is asked for as the loop does */
static json_t *ask(begin_t *begin, const char *name, const char *request)
{
	json_t *asked = json_loads(request, 0, NULL), *answer, *rows;
	char text[16384] = "", *piece;
	void *state = NULL;

	d.now_ms = st->now_ms;
	assert_non_null(asked);
	assert_null(begin(&d, asked, &state));
	json_decref(asked);
	while ((piece = list_piece(&d, state))) {
		assert_true(*piece &&
			    strlen(text) + strlen(piece) < sizeof(text));
		strcat(text, piece);
		free(piece);
	}
	list_end(&d, state);
	answer = json_loads(text, 0, NULL);
	if (!answer)
		fail_msg("no JSON: %s", text);
	rows = json_incref(json_object_get(answer, name));
	json_decref(answer);
	assert_true(json_is_array(rows));
	return rows;
}

static const char *text(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

/* What is no UTF-8, in every place of a call that is shown: the call is there,
 * with all it has
 */
static void test_call_of_any_bytes(void **state)
{
	static const char sdp[] = "v=0\r\no=- 1 1 IN IP4 192.168.1.10\r\n"
				  "s=-\r\nc=IN IP4 192.168.1.10\r\nt=0 0\r\n"
				  "m=\xff\x80 4000 RTP/AVP 0\r\n"
				  "m=abcdefghij\xc3\xa4 4002 RTP/AVP 0\r\n";
	json_t *rows, *row, *media;

	(void)state;
	out(st, .method = "INVITE", .call_id = "\xc0\xaf\x01",
	    .local_tag = "\xed\xa0\x80", .remote_tag = "", .sdp = sdp);
	rows = ask(list_calls, "calls", "{}");
	assert_int_equal(json_array_size(rows), 1);
	row = json_array_get(rows, 0);
	assert_string_equal(text(row, "call_id"), "\\xc0\\xaf\\x01");
	assert_string_equal(text(row, "phone"), PHONE_ADDR);
	media = json_object_get(row, "media");
	assert_int_equal(json_array_size(media), 2);
	assert_string_equal(text(json_array_get(media, 0), "type"),
			    "\\xff\\x80");
	assert_string_equal(text(json_array_get(media, 0), "inside"),
			    PHONE_ADDR ":4000");
	assert_string_equal(text(json_array_get(media, 1), "inside"),
			    PHONE_ADDR ":4002");
	json_decref(rows);
}

static void test_registration_of_any_bytes(void **state)
{
	json_t *rows, *row;

	(void)state;
	out(st, .method = "REGISTER", .remote_tag = "",
	    .extra = "Contact: <sip:\xff@" PHONE ">\r\nExpires: 600\r\n"
		     "User-Agent: F\xf6n\x7f/1\r\n");
	in(st, .method = "REGISTER", .status = 200,
	   .extra = "Contact: <sip:\xff@" PUBLIC ">;expires=600\r\n");
	rows = ask(list_registrations, "registrations", "{}");
	assert_int_equal(json_array_size(rows), 1);
	row = json_array_get(rows, 0);
	assert_string_equal(text(row, "contact_inside"), "sip:\\xff@" PHONE);
	assert_string_equal(text(row, "contact_public"), "sip:\\xff@" PUBLIC);
	assert_string_equal(text(row, "user_agent"), "F\\xf6n\\x7f/1");
	json_decref(rows);
}

static void call(const char *id)
{
	out(st, .method = "INVITE", .call_id = id, .remote_tag = "",
	    .sdp = talk_sdp(PHONE_ADDR, 4000, ""));
}

static void test_what_was_asked_for(void **state)
{
	static const struct {
		const char *request;
		size_t rows;
	} t[] = {
		{ "{}", 3 },
		{ "{\"limit\": 2}", 2 },
		{ "{\"limit\": 9}", 3 },
		{ "{\"call_id\": \"\"}", 3 },
		{ "{\"call_id\": \"ab\"}", 2 },
		{ "{\"call_id\": \"abc\"}", 1 },
		{ "{\"call_id\": \"abcd\"}", 0 },
		{ "{\"call_id\": \"ab\", \"limit\": 1}", 1 },
	};
	static const char *const refused[] = {
		"{\"limit\": 0}",     "{\"limit\": -1}",
		"{\"limit\": \"1\"}", "{\"limit\": 4294967296}",
		"{\"call_id\": 1}",
	};

	(void)state;
	call("abc");
	call("x");
	call("ab");
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		json_t *rows = ask(list_calls, "calls", t[i].request);

		if (json_array_size(rows) != t[i].rows)
			fail_msg("%s", t[i].request);
		json_decref(rows);
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		json_t *asked = json_loads(refused[i], 0, NULL), *answer;
		void *list = NULL;

		answer = list_calls(&d, asked, &list);
		assert_null(list);
		assert_non_null(text(answer, "error"));
		json_decref(answer);
		json_decref(asked);
	}
}

/* The client goes, or what is listed, while the list is under way */
static void test_ends_between_pieces(void **state)
{
	json_t *asked = json_object();
	void *one = NULL, *two = NULL;
	char *piece;

	(void)state;
	call("a");
	call("b");
	assert_null(list_calls(&d, asked, &one));
	assert_null(list_calls(&d, asked, &two));
	list_end(&d, one);
	in(st, .method = "INVITE", .call_id = "a", .status = 486);
	in(st, .method = "INVITE", .call_id = "b", .status = 486);
	stage_wait(st, 120);
	assert_null(st->alg->calls.table);
	piece = list_piece(&d, two);
	assert_string_equal(piece, "{\"calls\":[],\"accounting\":false}\n");
	free(piece);
	assert_null(list_piece(&d, two));
	list_end(&d, two);
	json_decref(asked);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_call_of_any_bytes),
		TEST(test_registration_of_any_bytes),
		TEST(test_what_was_asked_for),
		TEST(test_ends_between_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
