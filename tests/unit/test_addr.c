/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct addr addr(const char *text)
{
	struct addr a;

	if (addr_parse(span_from_str(text), &a))
		fail_msg("'%s' is no address", text);
	return a;
}

static struct network network(const char *text)
{
	struct network n;

	if (network_parse(span_from_str(text), &n))
		fail_msg("'%s' is no network", text);
	return n;
}

static void test_parse_and_format(void **state)
{
	static const struct {
		const char *text, *plain, *host;
		int family;
	} t[] = {
		{ "192.0.2.1", "192.0.2.1", "192.0.2.1", AF_INET },
		{ "0.0.0.0", "0.0.0.0", "0.0.0.0", AF_INET },
		{ "2001:DB8::0:1", "2001:db8::1", "[2001:db8::1]", AF_INET6 },
		{ "[2001:db8::1]", "2001:db8::1", "[2001:db8::1]", AF_INET6 },
		{ "::", "::", "[::]", AF_INET6 },
		/* The mapped form is the IPv4 address, not another one */
		{ "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1", AF_INET },
		{ "1111:2222:3333:4444:5555:6666:7777:8888",
		  "1111:2222:3333:4444:5555:6666:7777:8888",
		  "[1111:2222:3333:4444:5555:6666:7777:8888]", AF_INET6 },
	};
	char buf[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct addr a = addr(t[i].text);

		assert_int_equal(addr_family(&a), t[i].family);
		assert_int_equal(addr_is_v4(&a), t[i].family == AF_INET);
		assert_int_equal(addr_format(&a, buf), strlen(t[i].plain));
		assert_string_equal(buf, t[i].plain);
		assert_int_equal(addr_format_host(&a, buf), strlen(t[i].host));
		assert_string_equal(buf, t[i].host);
	}
}

static void test_parse_refuses(void **state)
{
	static const char *const t[] = {
		"",	     "1.2.3",	   "1.2.3.4.5",	 "256.1.1.1",
		"1.2.3.4 ",  " 1.2.3.4",   "01.2.3.4",	 "1.2.3.4/24",
		"host",	     "[1.2.3.4]",  "[::1",	 "::1]",
		"[]",	     "[",	   ":::",	 "fe80::1%eth0",
		"1.2.3.4:5", "[::1]:5060", "0x7f.0.0.1",
	};
	struct addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		if (addr_parse(span_from_str(t[i]), &a) != -EINVAL)
			fail_msg("'%s' was taken", t[i]);
	}
	/* The span ends where it says, and a NUL inside is no end */
	assert_int_equal(addr_parse((struct span){ "1.2.3.45", 7 }, &a), 0);
	assert_int_equal(addr_bytes(&a, &(size_t){ 0 })[3], 4);
	assert_int_equal(addr_parse((struct span){ "1.2.3.4\0x", 9 }, &a),
			 -EINVAL);
	assert_int_equal(addr_parse((struct span){ 0 }, &a), -EINVAL);
}

/* Quads are read by our own code: it takes what inet_pton() takes */
static void test_parse_as_inet_pton(void **state)
{
	static const char letters[] = "0012259.....9:a ";
	unsigned int taken = 0, seed = 1;

	(void)state;
	for (int i = 0; i < 2000000; i++) {
		char text[16];
		uint8_t bytes[4];
		struct addr a;
		size_t len;
		bool is_v4;

		seed = seed * 1103515245u + 12345u;
		len = 5 + (seed >> 16) % 10;
		for (size_t j = 0; j < len; j++) {
			seed = seed * 1103515245u + 12345u;
			text[j] = letters[(seed >> 16) % 16];
		}
		text[len] = '\0';
		is_v4 = inet_pton(AF_INET, text, bytes) == 1;
		if (is_v4 !=
		    (!addr_parse(span_from_str(text), &a) && addr_is_v4(&a)))
			fail_msg("'%s'", text);
		if (is_v4)
			assert_memory_equal(addr_bytes(&a, &len), bytes, 4);
		taken += is_v4;
	}
	assert_in_range(taken, 1000, 1000000);
}

static void test_unset_is_not_zero_v4(void **state)
{
	struct addr none = { 0 }, any = addr("0.0.0.0");

	(void)state;
	assert_false(addr_is_set(&none));
	assert_true(addr_is_set(&any));
	assert_false(addr_eq(&none, &any));
}

static void test_unicast(void **state)
{
	static const struct {
		const char *text;
		bool unicast;
	} t[] = {
		{ "0.0.0.0", false },
		{ "0.1.2.3", false },
		{ "127.0.0.1", false },
		{ "127.255.255.255", false },
		{ "126.255.255.255", true },
		{ "128.0.0.1", true },
		{ "223.255.255.255", true },
		{ "224.0.0.1", false },
		{ "255.255.255.255", false },
		{ "192.168.1.1", true },
		{ "::", false },
		{ "::1", false },
		{ "::2", true },
		{ "ff02::1", false },
		{ "fe80::1", true },
		{ "2001:db8::1", true },
		{ "::ffff:127.0.0.1", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct addr a = addr(t[i].text);

		if (addr_is_unicast(&a) != t[i].unicast)
			fail_msg("%s", t[i].text);
	}
}

static void test_wire_form(void **state)
{
	static const uint8_t v4[] = { 192, 0, 2, 1 };
	static const uint8_t v6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 };
	struct addr a = addr_from_v4(v4), b = addr("192.0.2.1");
	size_t len;

	(void)state;
	assert_true(addr_eq(&a, &b));
	assert_memory_equal(addr_bytes(&a, &len), v4, 4);
	assert_int_equal(len, 4);
	a = addr_from_v6(v6);
	b = addr("2001:db8::1");
	assert_true(addr_eq(&a, &b));
	assert_memory_equal(addr_bytes(&a, &len), v6, 16);
	assert_int_equal(len, 16);
}

static void test_networks(void **state)
{
	static const struct {
		const char *net, *addr;
		bool inside;
	} t[] = {
		{ "192.0.2.0/24", "192.0.2.255", true },
		{ "192.0.2.0/24", "192.0.3.0", false },
		{ "192.0.2.128/25", "192.0.2.127", false },
		{ "10.0.0.0/7", "11.255.255.255", true },
		{ "10.0.0.0/7", "12.0.0.0", false },
		{ "192.0.2.7", "192.0.2.7", true },
		{ "192.0.2.7", "192.0.2.6", false },
		{ "0.0.0.0/0", "255.1.2.3", true },
		/* All of IPv4 is not all of IPv6 */
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "2001:db8::1", true },
		{ "2001:db8::/33", "2001:db8:7fff::1", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
		{ "2001:db8::1/128", "2001:db8::1", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct network n = network(t[i].net);
		struct addr a = addr(t[i].addr);

		if (network_contains(&n, &a) != t[i].inside)
			fail_msg("%s in %s", t[i].addr, t[i].net);
	}
}

static void test_network_last(void **state)
{
	static const struct {
		const char *net, *addr;
		bool last;
	} t[] = {
		{ "192.0.2.0/24", "192.0.2.255", true },
		{ "192.0.2.0/24", "192.0.2.127", false },
		{ "192.0.2.0/25", "192.0.2.127", true },
		{ "10.0.0.0/8", "10.255.255.255", true },
		{ "10.0.0.0/8", "10.255.254.255", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct network n = network(t[i].net);
		struct addr a = addr(t[i].addr);

		if (network_is_last(&n, &a) != t[i].last)
			fail_msg("%s in %s", t[i].addr, t[i].net);
	}
}

static void test_networks_refused(void **state)
{
	static const char *const t[] = {
		"192.0.2.1/24",	 "192.0.2.0/",	   "192.0.2.0/33",
		"/24",		 "192.0.2.0/-1",   "192.0.2/24",
		"::/129",	 "2001:db8::1/64", "128.0.0.0/0",
		"192.0.2.0/24 ", "192.0.2.0/2 4",  "",
	};
	struct network n;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		if (network_parse(span_from_str(t[i]), &n) != -EINVAL)
			fail_msg("'%s' was taken", t[i]);
	}
}

static void test_network_format(void **state)
{
	static const char *const t[] = { "0.0.0.0/0",	  "10.0.0.0/8",
					 "192.0.2.1/32",  "::/0",
					 "2001:db8::/32", "::1/128" };
	char buf[ENDPOINT_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct network n = network(t[i]);

		assert_int_equal(network_format(&n, buf), strlen(t[i]));
		assert_string_equal(buf, t[i]);
	}
}

static void test_endpoints(void **state)
{
	struct endpoint a = { addr("192.0.2.1"), 5060 }, b = a;
	struct endpoint longest = {
		addr("1111:2222:3333:4444:5555:6666:7777:8888"), 65535
	};
	static const char want[] =
		"[1111:2222:3333:4444:5555:6666:7777:8888]:65535";
	char buf[ENDPOINT_TEXT_MAX];

	(void)state;
	assert_true(endpoint_eq(&a, &b));
	b.port++;
	assert_false(endpoint_eq(&a, &b));
	b = (struct endpoint){ addr("192.0.2.2"), 5060 };
	assert_false(endpoint_eq(&a, &b));
	assert_int_equal(endpoint_format(&a, buf), strlen("192.0.2.1:5060"));
	assert_string_equal(buf, "192.0.2.1:5060");
	assert_int_equal(endpoint_format(&longest, buf), strlen(want));
	assert_string_equal(buf, want);
}

static void test_tuple_reverse(void **state)
{
	struct tuple t = { .src = { addr("192.0.2.1"), 1 },
			   .dst = { addr("198.51.100.1"), 2 },
			   .proto = IPPROTO_UDP };
	struct tuple r = tuple_reverse(&t);

	(void)state;
	assert_true(endpoint_eq(&r.src, &t.dst));
	assert_true(endpoint_eq(&r.dst, &t.src));
	assert_int_equal(r.proto, IPPROTO_UDP);
}

static void test_sockaddr(void **state)
{
	static const char *const texts[] = { "192.0.2.1", "2001:db8::1",
					     "0.0.0.0", "::" };
	struct sockaddr_storage ss;
	const struct sockaddr *sa = (const struct sockaddr *)&ss;
	struct addr back;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct endpoint e = { .port = 5060 };
		bool v4 = !strchr(texts[i], ':');

		assert_int_equal(addr_parse(span_from_str(texts[i]), &e.addr),
				 0);
		assert_int_equal(endpoint_to_sockaddr(&e, &ss),
				 v4 ? sizeof(struct sockaddr_in)
				    : sizeof(struct sockaddr_in6));
		assert_int_equal(ss.ss_family, v4 ? AF_INET : AF_INET6);
		/* The port is in the same place in both */
		assert_int_equal(((struct sockaddr_in *)&ss)->sin_port,
				 htons(5060));
		assert_true(addr_from_sockaddr(sa, &back));
		assert_true(addr_eq(&back, &e.addr));
	}
	ss.ss_family = AF_UNIX;
	assert_false(addr_from_sockaddr(sa, &back));
	assert_false(addr_from_sockaddr(NULL, &back));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_format),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_parse_as_inet_pton),
		cmocka_unit_test(test_unset_is_not_zero_v4),
		cmocka_unit_test(test_unicast),
		cmocka_unit_test(test_wire_form),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_network_last),
		cmocka_unit_test(test_networks_refused),
		cmocka_unit_test(test_network_format),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_tuple_reverse),
		cmocka_unit_test(test_sockaddr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
