/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define INVITE                                                                 \
	"INVITE sip:+4930123:pw@192.0.2.1;x=y SIP/2.0\r\n"                     \
	"Via: SIP/2.0/UDP 192.168.1.9;branch=z9hG4bK1\r\n"                     \
	"From: \"A\" <sip:alice@example.org>;tag=1\r\n"                        \
	"To: <tel:+49301;phone-context=x>\r\n"                                 \
	"Call-ID: a[1]b@192.168.1.9\r\n"                                       \
	"CSeq: 1 INVITE\r\n\r\n"
#define RINGING                                                                \
	"SIP/2.0 180 Ringing\r\n"                                              \
	"f: sip:alice@example.org\r\n"                                         \
	"t: <sip:bob@example.org>;tag=2\r\n"                                   \
	"i: a[1]b@192.168.1.9\r\n"                                             \
	"CSeq: 1\t INVITE \r\n\r\n"

static bool shows(const char *terms, const char *text, const char *phone,
		  const char *peer)
{
	struct filter filter = { 0 };
	struct filter_subject subject = { 0 };
	static struct message msg;
	char why[FILTER_WHY_MAX], copy[256], *term;

	snprintf(copy, sizeof(copy), "%s", terms);
	for (term = strtok(copy, " "); term; term = strtok(NULL, " "))
		assert_int_equal(filter_add(&filter, span_from_str(term), why),
				 0);
	if (phone)
		assert_int_equal(
			addr_parse(span_from_str(phone), &subject.phone), 0);
	if (peer)
		assert_int_equal(addr_parse(span_from_str(peer), &subject.peer),
				 0);
	if (text) {
		assert_int_equal(message_parse(span_from_str(text), &msg),
				 MESSAGE_OK);
		subject.msg = &msg;
	}
	return filter_matches(&filter, &subject);
}

static void test_matches(void **state)
{
	static const struct {
		const char *terms;
		bool invite, ringing;
	} rows[] = {
		{ "", true, true },
		{ "phone=192.168.1.9", true, true },
		{ "phone=192.168.0.0/16", true, true },
		{ "phone=192.168.1.8", false, false },
		{ "phone=192.168.1.8 phone=192.168.1.9", true, true },
		{ "phone=192.168.1.9 peer=198.51.100.1", false, false },
		{ "peer=203.0.113.10", true, true },
		{ "number=alice", true, true },
		{ "number=Alice", false, false },
		{ "number=bob", false, true },
		{ "number=+4930123", true, false },
		{ "number=+4930123:pw", false, false },
		{ "number=+49301", true, false },
		{ "number=+49*", true, false },
		{ "number=?ob", false, true },
		{ "number=example.org", false, false },
		{ "call-id=a[1]b@192.168.1.9", true, true },
		{ "Call-ID=a*", true, true },
		{ "call-id=b*", false, false },
		{ "method=invite", true, true },
		{ "method=ACK method=INVITE", true, true },
		{ "method=ACK number=alice", false, false },
		{ "method=INVITE number=bob phone=192.168.1.9", false, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (shows(rows[i].terms, INVITE, "192.168.1.9",
			  "203.0.113.10") != rows[i].invite ||
		    shows(rows[i].terms, RINGING, "192.168.1.9",
			  "203.0.113.10") != rows[i].ringing)
			fail_msg("%s", rows[i].terms);
	}
}

/* A number in a SIP URI may have the parameters of tel: (RFC 3261 19.1.6) */
#define WITH_PARAMETERS                                                        \
	"MESSAGE sip:+4930;phone-context=+49;x:pw@[2001:db8::1];user=phone "   \
	"SIP/2.0\r\n"                                                          \
	"From: <TEL:+1;isub=2>;tag=1\r\nTo: \"+7\" <sip:[2001:db8::2]>\r\n"    \
	"Call-ID: \xff\r\nCSeq: 1 MESSAGE\r\n\r\n"

static void test_numbers(void **state)
{
	static const struct {
		const char *terms;
		bool want;
	} rows[] = {
		{ "number=+4930", true },
		{ "number=+4930;phone-context=+49;x", true },
		{ "number=+493", false },
		{ "number=+49301", false },
		{ "number=+1", true },
		{ "number=+7", false },
		{ "number=?1", true },
		{ "phone=fd00:1::9", true },
		{ "phone=fd00:1::/64", true },
		{ "phone=fd00:1::", false },
		{ "phone=fd00:1::90", false },
		{ "peer=2001:db8::1", true },
		{ "peer=0.0.0.0/0", false },
		{ "call-id=\xff", true },
		{ "call-id=*", true },
		{ "method=MESSAGE", true },
		{ "method=MESS", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (shows(rows[i].terms, WITH_PARAMETERS, "fd00:1::9",
			  "2001:db8::1") != rows[i].want)
			fail_msg("%s", rows[i].terms);
	}
}

/* Packets that are no message, and those of which nothing is known */
static void test_unknown(void **state)
{
	(void)state;
	assert_true(shows("", NULL, NULL, NULL));
	assert_true(shows("phone=::1/128", NULL, "::1", NULL));
	assert_false(shows("method=*", NULL, "192.168.1.9", NULL));
	assert_false(shows("phone=0.0.0.0/0", NULL, NULL, "192.0.2.1"));
	assert_false(shows("phone=::/0", NULL, NULL, "192.0.2.1"));
	assert_true(shows("phone=::/0", NULL, "192.0.2.1", NULL));
}

static void test_refused(void **state)
{
	static const char *const terms[] = {
		"",
		"phone",
		"phone=",
		"phone=alice",
		"phone=192.168.1.9/24",
		"number=",
		"numbers=1",
		"=",
		"call-id=0123456789012345678901234567890123456789"
		"012345678901234567890123",
		"\x1b[31m=\x1b[31m",
	};
	struct filter filter = { 0 };
	char why[FILTER_WHY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) {
		why[0] = '\0';
		assert_int_equal(
			filter_add(&filter, span_from_str(terms[i]), why),
			-EINVAL);
		assert_memory_equal(why, "filter: ", 8);
		assert_null(strchr(why, '\x1b'));
	}
	for (int i = 0; i < CONF_MAX_NAMES; i++)
		assert_int_equal(filter_add(&filter, SPAN("number=1"), why), 0);
	assert_int_equal(filter_add(&filter, SPAN("number=1"), why), -EINVAL);
	for (int i = 0; i < CONF_MAX_NETWORKS; i++)
		assert_int_equal(filter_add(&filter, SPAN("peer=::1"), why), 0);
	assert_int_equal(filter_add(&filter, SPAN("peer=::1"), why), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
