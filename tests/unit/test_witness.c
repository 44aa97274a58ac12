/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/witness.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "guard.h"

static struct desc desc;

/* The scan as it is, and one that reads something else */
static bool sees_uri(const char *text, const char *other_host, int other_port)
{
	struct span uri = guard_str(text);
	struct hostport hp;

	assert_true(uri_hostport(uri, &hp));
	if (other_host)
		hp.host = span_from_str(other_host);
	if (other_port >= 0)
		hp.port = (uint16_t)other_port;
	return witness_uri(uri, &hp);
}

static void test_uri(void **state)
{
	static const char *const good[] = {
		"sip:192.0.2.1",
		"sip:192.0.2.1:5060",
		"sip:alice:pw@192.0.2.1:5061;transport=udp;lr?a=b",
		"sip:a;x=y@192.0.2.1",
		"sip:al%69ce@EXAMPLE.com",
		"sip:a@[2001:db8::1]:5060;lr",
		"sip:a@192.0.2.1:05060",
		"sips:a@192.0.2.1",
		"sip:a@192.0.2.1\r\n :5060",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		if (!sees_uri(good[i], NULL, -1))
			fail_msg("'%s'", good[i]);
	}
	assert_false(sees_uri("sip:a@192.0.2.1", "192.0.2.2", -1));
	assert_false(sees_uri("sip:a@192.0.2.1:5060", NULL, 5061));
	assert_false(sees_uri("sip:a@192.0.2.1:5060", NULL, 0));
	assert_false(sees_uri("sip:a@192.0.2.1", NULL, 5060));
	assert_false(sees_uri("sip:a@[2001:db8::1]", "[2001:db8::2]", -1));
}

static void test_via(void **state)
{
	static const char *const good[] = {
		"SIP/2.0/UDP 192.0.2.1",
		"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport",
		"SIP/2.0/UDP [2001:db8::1]:5060;received=2001:db8::2",
		"SIP/2.0/UDP 192.0.2.1\r\n\t;branch=1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct span value = guard_str(good[i]);
		struct via via, other;

		assert_true(via_parse(value, &via));
		other = via;
		other.sent_by.port ^= 1;
		assert_false(witness_via(value, &other));
		other = via;
		other.sent_by.host = SPAN("192.0.2.9");
		assert_false(witness_via(value, &other));
		/* Agreed on once, it is not read again */
		for (int again = 0; again < 2; again++) {
			if (!witness_via(value, &via))
				fail_msg("'%s'", good[i]);
		}
	}
}

/* Of a Via that was agreed on, nothing but the branch may differ */
static void test_via_again(void **state)
{
	static const char *const t[] = {
		"SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1;rport",
		"SIP/2.0/UDP 192.0.2.8:5060;branch=z9hG4bK2;rport",
		"SIP/2.0/UDP 192.0.2.7:5061;branch=z9hG4bK2;rport",
		"SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK2",
		"SIP/2.0/UDP 192.0.2.7:5060;branch=\"z9\";rport",
		"SIP/2.0/UDP 192.0.2.7:5060;rport;branch=z9hG4bK2",
	};
	struct via via, other;

	(void)state;
	assert_true(via_parse(guard_str(t[0]), &via));
	assert_true(witness_via(guard_str(t[0]), &via));
	for (size_t i = 1; i < sizeof(t) / sizeof(*t); i++) {
		assert_true(via_parse(guard_str(t[i]), &other));
		other.sent_by.host = SPAN("192.0.2.9");
		if (witness_via(guard_str(t[i]), &other))
			fail_msg("'%s' was not read", t[i]);
	}
}

static const char session[] =
	"v=0\r\no=a 1 2 IN IP4 192.0.2.1\r\ns=x\r\nc=IN IP4 192.0.2.2\r\n"
	"t=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4001\r\n"
	"m=video 5000 RTP/AVP 31\r\nc=IN IP4 192.0.2.3\r\n";

static void test_desc(void **state)
{
	(void)state;
	assert_int_equal(desc_parse(guard_str(session), &desc), DESC_OK);
	assert_true(witness_desc(&desc));
	desc.origin.text = SPAN("192.0.2.9");
	assert_false(witness_desc(&desc));
	desc_parse(guard_str(session), &desc);
	desc.conn.text.ptr = NULL;
	assert_false(witness_desc(&desc));
	desc_parse(guard_str(session), &desc);
	desc.media[0].port.text = SPAN("4002");
	assert_false(witness_desc(&desc));
	desc_parse(guard_str(session), &desc);
	desc.media[1].conn.text = SPAN("192.0.2.9");
	assert_false(witness_desc(&desc));
	desc_parse(guard_str(session), &desc);
	desc.media_count = 1;
	assert_false(witness_desc(&desc));
	desc_parse(guard_str(session), &desc);
	desc.media[2] = desc.media[1];
	desc.media_count = 3;
	assert_false(witness_desc(&desc));
}

/* What the witness cannot be shown, or refuses, is no disagreement */
static void test_silent(void **state)
{
	static char text[2 * WITNESS_TEXT];
	struct hostport hp;
	struct span uri = { text, sizeof(text) };

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "sip:", 4);
	memcpy(text + sizeof(text) - 10, "@192.0.2.1", 10);
	assert_true(uri_hostport(guard_span(uri), &hp));
	assert_true(witness_uri(guard_span(uri), &hp));
	desc_parse(guard_str("v=0\nnonsense\n"), &desc);
	assert_true(witness_desc(&desc));
}

static void test_truncations(void **state)
{
	static const char uri[] = "sip:a:b@[2001:db8::1]:5060;x=\"y?z=%";
	static const char value[] = "SIP/2.0/UDP [2001:db8::1]:5060;a=\"b\\";

	(void)state;
	for (size_t len = 0; len < sizeof(uri); len++) {
		struct span s = guard_span((struct span){ uri, len });
		struct hostport hp;

		if (uri_hostport(s, &hp))
			witness_uri(s, &hp);
	}
	for (size_t len = 0; len < sizeof(value); len++) {
		struct span s = guard_span((struct span){ value, len });
		struct via via;

		if (via_parse(s, &via))
			witness_via(s, &via);
	}
	for (size_t len = 0; len < sizeof(session); len++) {
		struct span s = guard_span((struct span){ session, len });

		if (desc_parse(s, &desc) == DESC_OK)
			witness_desc(&desc);
	}
}

static int start(void **state)
{
	(void)state;
	return witness_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uri),
		cmocka_unit_test(test_via),
		cmocka_unit_test(test_via_again),
		cmocka_unit_test(test_desc),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_truncations),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
