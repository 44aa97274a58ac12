/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/field.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "guard.h"

static void assert_span(struct span got, const char *want)
{
	if (!want) {
		assert_null(got.ptr);
		return;
	}
	if (!got.ptr || !span_eq(got, span_from_str(want)))
		fail_msg("'%.*s', not '%s'", SPAN_ARG(got), want);
}

static void test_next_value(void **state)
{
	static const struct {
		const char *field, *want[4];
	} t[] = {
		{ "a", { "a" } },
		{ " a , b,c ", { "a", "b", "c" } },
		{ "\"x, y\" <sip:a>, b", { "\"x, y\" <sip:a>", "b" } },
		{ "\"x\\\", y\" <sip:a>, b", { "\"x\\\", y\" <sip:a>", "b" } },
		{ "<sip:a,b>;p=\"q,r\", c", { "<sip:a,b>;p=\"q,r\"", "c" } },
		{ "<sip:a\",b>,c", { "<sip:a\",b>", "c" } },
		{ "a\r\n ,\r\n b", { "a", "b" } },
		{ ",a,,b", { "", "a", "", "b" } },
		{ "\"open, b", { "\"open, b" } },
		{ "<open, b", { "<open, b" } },
		{ "\"end\\", { "\"end\\" } },
		{ "a,", { "a" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct span rest = guard_str(t[i].field), value;

		for (int k = 0; k < 4 && t[i].want[k]; k++) {
			if (!field_next_value(&rest, &value))
				fail_msg("'%s' ends at %d", t[i].field, k);
			assert_span(value, t[i].want[k]);
		}
		assert_false(field_next_value(&rest, &value));
	}
}

static void test_uri(void **state)
{
	static const struct {
		const char *value, *uri, *params;
	} t[] = {
		{ "<sip:a@b>", "sip:a@b", "" },
		{ "<sip:a@b>;tag=1", "sip:a@b", ";tag=1" },
		{ "<sip:a@b;lr>;x", "sip:a@b;lr", ";x" },
		{ "Bob <sip:a@b> ; x", "sip:a@b", "; x" },
		{ "\"<sip:x>; \\\"\" < sip:a@b >;y", "sip:a@b", ";y" },
		{ "sip:a@b;tag=1", "sip:a@b", ";tag=1" },
		{ "sip:a@b ;tag=1", "sip:a@b", ";tag=1" },
		{ "sip:a@b", "sip:a@b", "" },
		{ "*", "*", "" },
		{ "<sip:a@b", NULL, "" },
		{ "<>", "", "" },
		{ "\"<sip:a@b>", "\"<sip:a@b>", "" },
		{ "", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct span value = guard_str(t[i].value);

		assert_span(field_uri(value), t[i].uri);
		assert_span(field_params(value), t[i].params);
	}
	assert_int_equal(field_uri((struct span){ 0 }).len, 0);
	assert_int_equal(field_params((struct span){ 0 }).len, 0);
}

static void test_param(void **state)
{
	static const struct {
		const char *params, *name, *want;
	} t[] = {
		{ ";a=1;b=2", "b", "2" },
		{ ";a=1;b=2", "A", "1" },
		{ ";a=1;b=2", "c", NULL },
		{ ";a", "a", "" },
		{ ";a=", "a", "" },
		{ "; a = 1 ; b", "a", "1" },
		{ ";\r\n a\r\n =\r\n 1", "a", "1" },
		{ ";x=\"b=2;b=3\";b=4", "b", "4" },
		{ ";x=\"\\\";b=3\";b=4", "b", "4" },
		{ ";ab=1", "a", NULL },
		{ ";;a=1", "a", "1" },
		{ ";a=1;a=2", "a", "1" },
		{ ";a=b=c", "a", "b=c" },
		{ "", "a", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
		assert_span(field_param(guard_str(t[i].params),
					span_from_str(t[i].name)),
			    t[i].want);
}

static const struct {
	const char *uri, *text, *host;
	uint16_t port;
	const char *addr;
} uris[] = {
	{ "sip:192.0.2.1", "192.0.2.1", "192.0.2.1", 0, "192.0.2.1" },
	{ "SIP:192.0.2.1", "192.0.2.1", "192.0.2.1", 0, "192.0.2.1" },
	{ "sips:a@192.0.2.1:5061", "192.0.2.1:5061", "192.0.2.1", 5061,
	  "192.0.2.1" },
	{ "sip:a:pw@192.0.2.1;lr", "192.0.2.1", "192.0.2.1", 0, "192.0.2.1" },
	{ "sip:a;x=1?y@192.0.2.1:1?h=v", "192.0.2.1:1", "192.0.2.1", 1,
	  "192.0.2.1" },
	{ "sip:a@[2001:db8::1]", "[2001:db8::1]", "[2001:db8::1]", 0,
	  "2001:db8::1" },
	{ "sip:[2001:DB8:0::1]:65535;x", "[2001:DB8:0::1]:65535",
	  "[2001:DB8:0::1]", 65535, "2001:db8::1" },
	{ "sip:a@192.0.2.1 : 05060", "192.0.2.1 : 05060", "192.0.2.1", 5060,
	  "192.0.2.1" },
	{ "sip:a@Example.com:5060", "Example.com:5060", "Example.com", 5060,
	  NULL },
	{ "sip:a%40b@x.org", "x.org", "x.org", 0, NULL },
	{ "sip:@192.0.2.1", "192.0.2.1", "192.0.2.1", 0, "192.0.2.1" },
	/* Read, but no address */
	{ "sip:a@192.0.2.01", "192.0.2.01", "192.0.2.01", 0, NULL },
	{ "sip:a@192.0.2.256", "192.0.2.256", "192.0.2.256", 0, NULL },
	{ "sip:a@192.0.2", "192.0.2", "192.0.2", 0, NULL },
	{ "sip:a@[192.0.2.1]", "[192.0.2.1]", "[192.0.2.1]", 0, NULL },
	{ "sip:a@[::1%25eth0]", "[::1%25eth0]", "[::1%25eth0]", 0, NULL },
};

static void test_hostport(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(uris) / sizeof(*uris); i++) {
		struct hostport hp;
		struct addr a = { 0 };

		if (!uri_hostport(guard_str(uris[i].uri), &hp))
			fail_msg("'%s' is not read", uris[i].uri);
		assert_span(hp.text, uris[i].text);
		assert_span(hp.host, uris[i].host);
		assert_int_equal(hp.port, uris[i].port);
		if (uris[i].addr)
			addr_parse(span_from_str(uris[i].addr), &a);
		assert_true(addr_eq(&hp.addr, &a));
	}
}

static void test_no_hostport(void **state)
{
	static const char *const t[] = {
		"",
		"sip:",
		"sip:a@",
		"tel:192.0.2.1",
		"http://192.0.2.1",
		"192.0.2.1",
		"sip192.0.2.1",
		"*",
		"sip:a@b@192.0.2.1",
		"sip:192.0.2.1:",
		"sip:192.0.2.1:0",
		"sip:192.0.2.1:65536",
		"sip:192.0.2.1:99999999999999999999",
		"sip:192.0.2.1:x",
		"sip:192.0.2.1:5060x",
		"sip:192.0.2.1:-1",
		"sip:192.0.2.1 x",
		"sip:192.0.2.1>",
		"sip:[2001:db8::1",
		"sip:[2001:db8::1]x",
		"sip:192.0.2.1,192.0.2.2",
		"sip::5060",
		"sip:;lr",
		"sip: 192.0.2.1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct hostport hp;

		if (uri_hostport(guard_str(t[i]), &hp) && addr_is_set(&hp.addr))
			fail_msg("'%s' is read", t[i]);
	}
}

static void test_user(void **state)
{
	(void)state;
	assert_span(uri_user(guard_str("sip:bob:x@h")), "bob:x");
	assert_span(uri_user(guard_str("SIPS:b;c@h")), "b;c");
	assert_span(uri_user(guard_str("sip:@h")), "");
	assert_span(uri_user(guard_str("sip:h;x=a")), NULL);
	assert_span(uri_user(guard_str("tel:a@h")), NULL);
}

static void test_uri_param(void **state)
{
	static const struct {
		const char *uri, *value;
	} t[] = {
		{ "sip:u@h;transport=tcp", "tcp" },
		{ "sip:u;transport=x@h:5060;lr;Transport=TCP?a=b", "TCP" },
		{ "sip:h;transport", "" },
		{ "sip:h;transport=udp?transport=tcp", "udp" },
		{ "sip:u;transport=x@h", NULL },
		{ "sip:h?a;transport=tcp", NULL },
		{ "sip:h", NULL },
		{ "tel:1;transport=tcp", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
		assert_span(uri_param(guard_str(t[i].uri), SPAN("transport")),
			    t[i].value);
}

static void test_via(void **state)
{
	static const struct {
		const char *value, *text, *received, *rport, *branch;
	} t[] = {
		{ "SIP/2.0/UDP 192.0.2.1", "192.0.2.1", NULL, NULL, NULL },
		{ "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport",
		  "192.0.2.1:5060", NULL, "", "z9hG4bK1" },
		{ "SIP/2.0/UDP h;received=192.0.2.9;rport=9;branch=b", "h",
		  "192.0.2.9", "9", "b" },
		{ "SIP / 2.0\r\n / UDP\t[2001:db8::1]:5060 ; branch = b ; "
		  "received=[2001:db8::2]",
		  "[2001:db8::1]:5060", "[2001:db8::2]", NULL, "b" },
		{ "SIP/2.0/TLS-SCTP 192.0.2.1 : 5060 ;x", "192.0.2.1 : 5060",
		  NULL, NULL, NULL },
		{ "SIP/2.0/UDP 192.0.2.1;x=\"received=1;branch=2\";branch=3",
		  "192.0.2.1", NULL, NULL, "3" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct via via;

		if (!via_parse(guard_str(t[i].value), &via))
			fail_msg("'%s' is not read", t[i].value);
		assert_span(via.sent_by.text, t[i].text);
		assert_span(via.received, t[i].received);
		assert_span(via.rport, t[i].rport);
		assert_span(via.branch, t[i].branch);
	}
}

static void test_no_via(void **state)
{
	static const char *const t[] = {
		"",
		"SIP/2.0/UDP",
		"SIP/2.0/UDP ",
		"SIP/2.0 192.0.2.1",
		"SIP/2.0/ 192.0.2.1",
		"/2.0/UDP 192.0.2.1",
		"192.0.2.1",
		"SIP/2.0/UDP192.0.2.1",
		"SIP/2.0/UDP ;branch=1",
		"SIP/2.0/UDP 192.0.2.1 x;branch=1",
		"SIP/2.0/UDP 192.0.2.1:0",
		"SIP/2.0/UDP 192.0.2.1:70000",
		"SIP/2.0/UDP [::1;branch=1",
		";;,;,,",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct via via;

		if (via_parse(guard_str(t[i]), &via))
			fail_msg("'%s' is read", t[i]);
	}
}

/* Every start of every value: nothing is read behind it */
static void test_truncations(void **state)
{
	static const char value[] =
		"\"Q \\\" <x>, \" "
		"<sip:a:p@[2001:db8::1]:5060;lr?h=v>;t=\"a\";e";
	static const char via_text[] =
		"SIP / 2.0 / UDP [2001:db8::1] : 5060 ;received=1;rport=\"\\";

	(void)state;
	for (size_t len = 0; len < sizeof(value); len++) {
		struct span rest = guard_span((struct span){ value, len });
		struct span whole = rest, one;
		struct hostport hp;

		uri_hostport(field_uri(whole), &hp);
		uri_hostport(whole, &hp);
		uri_user(field_uri(whole));
		field_param(field_params(whole), SPAN("e"));
		while (field_next_value(&rest, &one))
			assert_true(one.len <= len);
	}
	for (size_t len = 0; len < sizeof(via_text); len++) {
		struct via via;

		via_parse(guard_span((struct span){ via_text, len }), &via);
	}
	for (size_t i = 0; i < sizeof(uris) / sizeof(*uris); i++) {
		for (size_t len = 0; len < strlen(uris[i].uri); len++) {
			struct hostport hp;

			uri_hostport(
				guard_span((struct span){ uris[i].uri, len }),
				&hp);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next_value),
		cmocka_unit_test(test_uri),
		cmocka_unit_test(test_param),
		cmocka_unit_test(test_hostport),
		cmocka_unit_test(test_no_hostport),
		cmocka_unit_test(test_user),
		cmocka_unit_test(test_uri_param),
		cmocka_unit_test(test_via),
		cmocka_unit_test(test_no_via),
		cmocka_unit_test(test_truncations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
