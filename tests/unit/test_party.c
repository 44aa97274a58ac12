/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/party.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "stage.h"

static struct conf conf;
static struct parties parties;

static bool have(const char *host)
{
	struct addr a = stage_addr(host);

	return parties_have(&parties, &conf, &a);
}

static void add(const char *host)
{
	struct addr a = stage_addr(host);

	parties_add(&parties, &a);
}

static int set_up(void **state)
{
	(void)state;
	conf_init(&conf);
	parties = (struct parties){ 0 };
	add("198.51.100.5");
	return 0;
}

static void test_full(void **state)
{
	char host[32];

	(void)state;
	assert_true(have("198.51.100.5"));
	assert_false(have("198.51.100.6"));
	for (int i = 0; i < 2 * PARTIES_MAX; i++) {
		snprintf(host, sizeof(host), "192.0.2.%d", i);
		add(host);
		assert_true(have(host));
		assert_true(have("198.51.100.5"));
	}
	assert_true(have("192.0.2.0"));
	assert_false(have("192.0.2.14"));
}

static void test_listed(void **state)
{
	(void)state;
	conf.sip.inbound_networks.count = 2;
	conf.sip.inbound_networks.net[0] = stage_network("192.0.2.0/24");
	conf.sip.inbound_networks.net[1] = stage_network("198.51.100.0/29");
	assert_false(have("198.51.100.6"));
	conf.sip.inbound_from = CONF_INBOUND_LIST;
	assert_true(have("198.51.100.6"));
	assert_false(have("198.51.100.8"));
	/* Another provider's */
	assert_false(have("192.0.2.1"));
}

static void learn(const char *start)
{
	static struct message msg;
	char text[512];

	snprintf(text, sizeof(text),
		 "%s\r\nVia: SIP/2.0/UDP 198.51.100.5;branch=z9hG4bK1\r\n"
		 "From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:b@192.0.2.2>\r\n"
		 "Call-ID: 1\r\nCSeq: 1 INVITE\r\n"
		 "Record-Route: <sip:192.0.2.3;lr>, <sip:proxy.example;lr>\r\n"
		 "Record-Route: <sip:192.0.2.4:5070;lr>\r\n"
		 "Contact: <sip:a@192.0.2.5>\r\nContent-Length: 0\r\n\r\n",
		 start);
	stage_need(message_parse(span_from_str(text), &msg) == MESSAGE_OK);
	parties_learn(&parties, &msg);
}

static void test_learnt(void **state)
{
	(void)state;
	learn("SIP/2.0 302 Moved");
	assert_false(have("192.0.2.5"));
	learn("INVITE sip:b@example.com SIP/2.0");
	assert_true(have("192.0.2.3"));
	assert_true(have("192.0.2.4"));
	assert_true(have("192.0.2.5"));
	assert_false(have("192.0.2.1"));
	assert_false(have("192.0.2.2"));
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_full),
		TEST(test_listed),
		TEST(test_learnt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
