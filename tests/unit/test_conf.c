/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NEEDED "[gateway]\nlan_interfaces = lan0\nwan_interfaces = wan0\n"
#define REPORT_MAX 16384

static char path[] = "/tmp/sipalg-conf-XXXXXX";
static char report[REPORT_MAX];

static int load_bytes(const void *text, size_t len, struct conf *conf)
{
	FILE *file = fopen(path, "w");
	FILE *out = fmemopen(report, sizeof(report), "w");
	int err;

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	fclose(file);
	memset(report, 0, sizeof(report));
	err = conf_load(path, conf, out);
	fclose(out);
	return err;
}

static int load(const char *text, struct conf *conf)
{
	return load_bytes(text, strlen(text), conf);
}

/* The report has a line "PATH:LINE: @rest..." */
static bool reported(unsigned int line, const char *rest)
{
	char want[512];

	snprintf(want, sizeof(want), "%s:%u: %s", path, line, rest);
	return strstr(report, want);
}

static unsigned int report_lines(void)
{
	unsigned int n = 0;

	for (const char *p = report; (p = strchr(p, '\n')); p++)
		n++;
	return n;
}

static void expect_one_error(const char *text, unsigned int line,
			     const char *rest)
{
	struct conf conf;
	int err = load(text, &conf);

	if (err != -EINVAL || !reported(line, rest) || report_lines() != 1)
		fail_msg("%s\ngave %d and\n%swanted line %u: %s", text, err,
			 report, line, rest);
}

static void expect_clean(const char *text, struct conf *conf)
{
	int err = load(text, conf);

	if (err || report[0])
		fail_msg("%s\ngave %d and\n%s", text, err, report);
}

static void test_defaults(void **state)
{
	struct conf c;

	(void)state;
	unsetenv("STATE_DIRECTORY");
	expect_clean(NEEDED, &c);
	assert_int_equal(c.gateway.lan_interfaces.count, 1);
	assert_string_equal(c.gateway.lan_interfaces.name[0], "lan0");
	assert_string_equal(c.gateway.wan_interfaces.name[0], "wan0");
	assert_int_equal(c.gateway.lan_networks.count, 0);
	assert_false(addr_is_set(&c.gateway.public_address));
	assert_false(addr_is_set(&c.gateway.advertised_address));
	assert_int_equal(c.gateway.mode, CONF_MODE_ACTIVE);
	assert_int_equal(c.queue.number, 5060);
	assert_int_equal(c.queue.count, 1);
	assert_int_equal(c.queue.max_length, 8192);
	assert_int_equal(ports_count(&c.sip.ports), 1);
	assert_int_equal(ports_count(&c.sip.signalling_ports), 940);
	assert_int_equal(c.sip.on_malformed, CONF_ACCEPT);
	assert_int_equal(c.sip.max_message, 65535);
	assert_true(c.sip.map_from_to && c.sip.keep_registrations);
	assert_int_equal(c.sip.inbound_from, CONF_INBOUND_REGISTRAR);
	assert_int_equal(c.sip.dscp, CONF_DSCP_UNSET);
	assert_int_equal(c.media.dscp, CONF_DSCP_UNSET);
	assert_true(c.media.enabled && c.media.keep_local);
	assert_int_equal(ports_count(&c.media.rtp_ports), 16384);
	assert_int_equal(c.media.source, CONF_SOURCE_STRICT);
	assert_int_equal(c.media.timeout_s, 180);
	assert_int_equal(c.media.conntrack_mark.mask, 0);
	assert_true(ports_contain(&c.media.reserved_ports, 3389));
	assert_true(ports_contain(&c.media.reserved_ports, 0));
	assert_false(ports_contain(&c.media.reserved_ports, 4000));
	assert_string_equal(c.control.socket, "/run/sipalgd/control.sock");
	assert_string_equal(c.control.group, "sipalg");
	assert_int_equal(c.metrics.listen.port, 0);
	assert_int_equal(c.log.level, LOG_LEVEL_INFO);
	assert_string_equal(c.state.directory, "/var/lib/sipalgd");
	assert_int_equal(c.limits.flows, 65536);
	assert_int_equal(c.limits.registrations, 100000);
	assert_int_equal(c.limits.calls, 20000);
	assert_int_equal(c.limits.rate_per_phone, 200);
	assert_int_equal(c.limits.on_excess, CONF_ACCEPT);
}

/* Every key at a value that is not its default; also the table of what the
 * printing must bring back */
static const char every_key[] =
	"[gateway]\n"
	"lan_interfaces = lan0, wg+\n"
	"wan_interfaces=wan0,ppp+\n"
	"lan_networks = 192.168.0.0/16, 2001:db8::/32\n"
	"public_address = 198.51.100.7\n"
	"advertised_address = 203.0.113.9\n"
	"mode = observe\n"
	"[queue]\nnumber = 7\ncount = 4\nmax_length = 100\n"
	"[sip]\nports = 5060,5080-5082\nsignalling_ports = 6000-6999\n"
	"on_malformed = drop\nmax_message = 2000\nmap_from_to = no\n"
	"keep_registrations = off\ninbound_from = 203.0.113.0/24, 2001:db8::1\n"
	"dscp = cs3\n"
	"[media]\nenabled = no\nrtp_ports = 20000-29999\nsource = any\n"
	"timeout = 60\nconntrack_mark = 0x10/0xf0\ndscp = 45\n"
	"keep_local = no\nreserved_ports = 22\n"
	"[bypass]\nphones = 192.168.9.0/24\npeers = 203.0.113.77\n"
	"user_agents = \"Grand;stream*, 'Bob'\"\n"
	"[control]\nsocket = /tmp/x y#1.sock\ngroup = root\n"
	"[metrics]\nlisten = [::1]:9060\n"
	"[log]\nlevel = debug\n"
	"[state]\ndirectory = /srv/sip\n"
	"[limits]\nflows = 1\nregistrations = 2\ncalls = 3\n"
	"rate_per_phone = 4\non_excess = drop\n";

static void test_every_key_is_read(void **state)
{
	struct conf c;
	struct addr a;

	(void)state;
	assert_int_equal(load(NEEDED
			      "[bypass]\nuser_agents = \"A;b*,C#?\"\n"
			      "[control]\nsocket = \"/tmp/x #1\"\n"
			      "[media]\ndscp=45\nconntrack_mark = 0x10/0xf0\n"
			      "[sip]\ninbound_from = 203.0.113.0/24, ::1\n"
			      "dscp = CS3\n[metrics]\nlisten=[::1]:9060\n"
			      "[queue]\nnumber=7\ncount=4\n"
			      "[limits]\non_excess = drop\n",
			      &c),
			 0);
	assert_int_equal(c.bypass.user_agents.count, 2);
	assert_string_equal(c.bypass.user_agents.name[0], "A;b*");
	assert_string_equal(c.bypass.user_agents.name[1], "C#?");
	assert_string_equal(c.control.socket, "/tmp/x #1");
	assert_int_equal(c.media.dscp, 45);
	assert_int_equal(c.sip.dscp, 24);
	assert_int_equal(c.media.conntrack_mark.value, 0x10);
	assert_int_equal(c.media.conntrack_mark.mask, 0xf0);
	assert_int_equal(c.sip.inbound_from, CONF_INBOUND_LIST);
	assert_int_equal(c.sip.inbound_networks.count, 2);
	assert_int_equal(addr_parse(SPAN("203.0.113.200"), &a), 0);
	assert_true(conf_networks_contain(&c.sip.inbound_networks, &a));
	assert_int_equal(addr_parse(SPAN("203.0.114.1"), &a), 0);
	assert_false(conf_networks_contain(&c.sip.inbound_networks, &a));
	assert_int_equal(c.metrics.listen.port, 9060);
	assert_int_equal(c.queue.count, 4);
	assert_int_equal(c.limits.on_excess, CONF_DROP);
}

static void expect_round_trip(const struct conf *conf)
{
	char *first = NULL, *second = NULL;
	size_t len;
	FILE *out = open_memstream(&first, &len);
	struct conf again;

	conf_print(conf, out);
	fclose(out);
	if (load(first, &again))
		fail_msg("not read back:\n%s%s", first, report);
	/* Both start zeroed, so that padding is the same too */
	assert_memory_equal(conf, &again, sizeof(again));
	out = open_memstream(&second, &len);
	conf_print(&again, out);
	fclose(out);
	assert_string_equal(first, second);
	for (size_t i = 0; conf_option_at(i); i++) {
		char line[128];

		snprintf(line, sizeof(line), "\n%s = ", conf_option_at(i)->key);
		assert_non_null(strstr(first, line));
	}
	free(first);
	free(second);
}

static void test_print_is_read_back(void **state)
{
	struct conf c;

	(void)state;
	expect_clean(NEEDED, &c);
	expect_round_trip(&c);
	assert_int_equal(load(every_key, &c), 0);
	assert_int_equal(c.bypass.user_agents.count, 2);
	assert_string_equal(c.control.socket, "/tmp/x y");
	expect_round_trip(&c);
}

static void test_needed_keys(void **state)
{
	struct conf c;

	(void)state;
	assert_int_equal(load("# nothing\n", &c), -EINVAL);
	assert_true(reported(1, "gateway.lan_interfaces: missing"));
	assert_true(reported(1, "gateway.wan_interfaces: missing"));
	assert_int_equal(report_lines(), 2);
	expect_one_error("\n[gateway]\nlan_interfaces = a\n", 2,
			 "gateway.wan_interfaces: missing");
	expect_one_error("[gateway]\nlan_interfaces =\nwan_interfaces = a\n", 2,
			 "gateway.lan_interfaces: at least one");
}

static void test_unknown_names_get_a_suggestion(void **state)
{
	struct conf c;

	(void)state;
	expect_one_error(NEEDED "lan_network = auto\n", 4,
			 "gateway.lan_network: unknown key; did you mean "
			 "gateway.lan_networks?");
	expect_one_error(NEEDED "[sip]\nrtp_ports = 20000-20001\n", 5,
			 "sip.rtp_ports: unknown key; did you mean "
			 "media.rtp_ports?");
	expect_one_error(NEEDED "[medai]\n", 4,
			 "medai: unknown section; did you mean [media]?");
	assert_int_equal(load(NEEDED "[queu]\nnumber = 1\n", &c), -EINVAL);
	assert_true(reported(4, "queu: unknown section"));
	assert_true(reported(5, "queu.number: unknown key; did you mean "
				"queue.number?"));
	assert_int_equal(report_lines(), 2);
}

static const struct {
	const char *body;
	unsigned int line; /* 1 is the first of body */
	const char *want;
} bad_values[] = {
	{ "[queue]\nnumber = 65536", 2, "queue.number: must be 0 to 65535" },
	{ "[queue]\nnumber = -1", 2, "queue.number: '-1' is not a number" },
	{ "[queue]\nnumber =", 2, "queue.number: '' is not a number" },
	{ "[queue]\nnumber = 0x10", 2, "queue.number: '0x10' is not a num" },
	{ "[queue]\ncount = 0", 2, "queue.count: must be 1 to 256 queues" },
	{ "[queue]\ncount = 1\nnumber = 65535\n[sip]\nports=0", 5,
	  "sip.ports: port 0 is below 1" },
	{ "[queue]\nnumber = 18446744073709551616", 2, "queue.number: must" },
	{ "[sip]\nports = 5060-", 2, "sip.ports: '5060-' is not a list" },
	{ "[sip]\nports = 5060,", 2, "sip.ports: '5060,' is not a list" },
	{ "[sip]\nports =", 2, "sip.ports: '' is not a list of ports" },
	{ "[sip]\nports = 6000-5000", 2, "sip.ports: a port over 65535, or" },
	{ "[sip]\nports = 65536", 2, "sip.ports: a port over 65535, or" },
	{ "[sip]\nports = 5060,5070,5065-5071", 2,
	  "sip.ports: port 5070 is given twice" },
	{ "[sip]\nports = 20000", 2,
	  "sip.ports: port 20000 is also in media.rtp_ports" },
	{ "[sip]\nsignalling_ports = 5060-20000", 2,
	  "sip.signalling_ports: port 16384 is also in media.rtp_ports" },
	{ "[sip]\nsignalling_ports=8000-8999\n[media]\nrtp_ports=8500-9999", 4,
	  "sip.signalling_ports: port 8500 is also in media.rtp_ports" },
	{ "[media]\nrtp_ports = 20001-20002", 2, "media.rtp_ports: no even" },
	{ "[media]\nrtp_ports = 20000,20001", 2, "media.rtp_ports: no even" },
	{ "[sip]\nmap_from_to = maybe", 2,
	  "sip.map_from_to: 'maybe' is not one of yes, no" },
	{ "[gateway]\nmode = act", 2,
	  "gateway.mode: 'act' is not one of active, observe, bypass" },
	{ "[log]\nlevel = 7", 2, "log.level: '7' is not one of error" },
	{ "[gateway]\nlan_networks = 10.0.0.1/8", 2,
	  "gateway.lan_networks: '10.0.0.1/8' is not a network" },
	{ "[gateway]\nlan_networks = 10.0.0.0/33", 2, "gateway.lan_networks" },
	{ "[gateway]\nlan_networks = auto,10.0.0.0/8", 2,
	  "gateway.lan_networks: 'auto' is not a network" },
	{ "[gateway]\nlan_networks = 0.0.0.0/0", 2,
	  "gateway.lan_networks: a /0" },
	{ "[gateway]\nlan_networks = ::/0", 2, "gateway.lan_networks: a /0" },
	{ "[gateway]\npublic_address = gw.example", 2,
	  "gateway.public_address: 'gw.example' is not an address" },
	{ "[gateway]\npublic_address = 0.0.0.0", 2,
	  "gateway.public_address: '0.0.0.0' is not an address that a host" },
	{ "[gateway]\nadvertised_address = 224.0.0.1", 2,
	  "gateway.advertised_address: '224.0.0.1' is not an address that" },
	{ "[gateway]\nadvertised_address = auto", 2,
	  "gateway.advertised_address: 'auto' is not an address" },
	{ "[sip]\ninbound_from =", 2, "sip.inbound_from: registrar, any or" },
	{ "[sip]\ninbound_from = any,10.0.0.0/8", 2,
	  "sip.inbound_from: 'any' is not a network" },
	{ "[sip]\ndscp = 64", 2, "sip.dscp: '64' is not a DSCP class" },
	{ "[media]\nconntrack_mark = 1/", 2, "media.conntrack_mark: '1/' is" },
	{ "[media]\nconntrack_mark = -1", 2, "media.conntrack_mark: '-1' is" },
	{ "[media]\nconntrack_mark = 0x", 2, "media.conntrack_mark: '0x' is" },
	{ "[media]\nconntrack_mark = 0x100000000", 2, "media.conntrack_mark" },
	{ "[media]\nconntrack_mark = 3/1", 2,
	  "media.conntrack_mark: the value has bits outside the mask" },
	{ "[control]\nsocket = control.sock", 2,
	  "control.socket: 'control.sock' is not an absolute path" },
	{ "[control]\nsocket =", 2, "control.socket: '' is not an absolute" },
	{ "[control]\ngroup = a b", 2, "control.group: 'a b' is not a group" },
	{ "[metrics]\nlisten = :9060", 2,
	  "metrics.listen: ':9060' is not ADD" },
	{ "[metrics]\nlisten = 0", 2, "metrics.listen: '0' is not ADDRESS" },
	{ "[metrics]\nlisten = 65536", 2, "metrics.listen: '65536' is not" },
	{ "[media]\ndscp = ef", 2, "media.dscp: the rules know media by its" },
	{ "[media]\ndscp = ef\nconntrack_mark = 0/0xff", 3,
	  "media.dscp: the rules know media by its mark: set "
	  "media.conntrack_mark too" },
	{ "[metrics]\nlisten = ::1:9060", 2, "metrics.listen: '::1:9060' is" },
	{ "[metrics]\nlisten = 127.0.0.1:0", 2, "metrics.listen: '127.0.0.1:" },
	{ "[bypass]\nuser_agents = a,,b", 2,
	  "bypass.user_agents: '' is not a" },
	{ "[bypass]\nuser_agents = a,a", 2,
	  "bypass.user_agents: 'a' is given" },
	{ "[media]\ntimeout = 1\n", 2,
	  "media.timeout: must be 5 to 86400 sec" },
	{ "[sip]\non_malformed = \"drop", 2,
	  "sip.on_malformed: quotation mark is not closed" },
	{ "[sip]\non_malformed = drop\n[log]\n[sip]\nON_Malformed = drop", 5,
	  "sip.on_malformed: already given in line 5" },
	{ "[sip]\non_malformed = \"drop\" it", 2,
	  "sip.on_malformed: text after the closing quotation mark" },
	{ "[sip\nx = 1", 1, "syntax: not a [section] line" },
	{ "just text", 1, "syntax: not a \"key = value\" line" },
	{ "= 1", 1, "syntax: not a \"key = value\" line" },
	{ "# comment \\\n[log]", 1, "syntax: line ends in '\\'" },
	{ "[log]\nlevel = in\\\nfo = 1", 2, "syntax: line ends in '\\'" },
	{ "[log]\nlevel = \033[1minfo", 2, "syntax: control character" },
	{ "x", 1, "syntax: not a" },
	{ "[control]\nsocket = '/tmp/a\"b'", 2,
	  "control.socket: a quotation mark in the path" },
	{ "[bypass]\nuser_agents = 'a\"b'", 2,
	  "bypass.user_agents: 'a\"b' is" },
	{ "[bypass]\nuser_agents = a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", 2,
	  "bypass.user_agents: more than 16 names" },
	{ "[bypass]\nuser_agents = 3456789012345678901234567890123456789012"
	  "345678901234567890123456",
	  2, "bypass.user_agents: pattern longer than 63 bytes" },
	{ "[media]\nreserved_ports = 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,"
	  "18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33",
	  2, "media.reserved_ports: more than 32 ranges" },
};

static void test_bad_values(void **state)
{
	struct conf c;
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(bad_values) / sizeof(*bad_values); i++) {
		snprintf(text, sizeof(text), NEEDED "%s", bad_values[i].body);
		if (load(text, &c) != -EINVAL ||
		    !reported(bad_values[i].line + 3, bad_values[i].want))
			fail_msg("%s\ngave:\n%swanted %s", bad_values[i].body,
				 report, bad_values[i].want);
	}
}

static void test_interface_lists(void **state)
{
	static const struct {
		const char *lan, *wan;
		bool ok;
	} t[] = {
		{ "lan0", "lan1", true },
		{ "lan0", "lan0", false },
		{ "lan+", "lan7", false },
		{ "lan7", "lan+", false },
		{ "la+", "lan+", false },
		{ "lan+", "la+", false },
		{ "lan", "lan0", true },
		{ "lan+", "lan", false },
		{ "+", "wan0", false },
		{ "wg+", "wan+", true },
		{ "-lan", "wan0", false },
		{ "a b", "wan0", false },
		{ "lan0,", "wan0", false },
		{ "lan0,lan0", "wan0", false },
		{ "l+n", "wan0", false },
		{ "br-lan.100", "wan0", true },
		{ "abcdefghijklmno", "wan0", true },
		{ "abcdefghijklmnop", "wan0", false },
	};
	struct conf c;
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		snprintf(text, sizeof(text),
			 "[gateway]\nlan_interfaces = %s\n"
			 "wan_interfaces = %s\n",
			 t[i].lan, t[i].wan);
		if (!load(text, &c) != t[i].ok)
			fail_msg("%s%s", text, report);
	}
}

static void test_interface_match(void **state)
{
	const struct conf_names list = { 2, { "lan0", "wg+" } };

	(void)state;
	assert_true(conf_interface_matches(&list, "lan0"));
	assert_false(conf_interface_matches(&list, "lan01"));
	assert_false(conf_interface_matches(&list, "lan"));
	assert_true(conf_interface_matches(&list, "wg"));
	assert_true(conf_interface_matches(&list, "wg12"));
	assert_false(conf_interface_matches(&list, "w"));
	assert_false(conf_interface_matches(&list, ""));
}

static void test_every_error_is_reported(void **state)
{
	struct conf c, before;

	(void)state;
	memset(&c, 0x5a, sizeof(c));
	before = c;
	assert_int_equal(load("stray = 1\nnonsense\n[queue]\nnumber = x\n"
			      "count = 0\nnumber = 3\n[nosuch]\nk = 1\n",
			      &c),
			 -EINVAL);
	assert_true(reported(1, "stray: stands before the first [section]"));
	assert_true(reported(2, "syntax: not a \"key = value\" line"));
	assert_true(reported(4, "queue.number: 'x' is not a number"));
	assert_true(reported(5, "queue.count: must be 1 to 256 queues"));
	assert_true(reported(6, "queue.number: already given in line 4"));
	assert_true(reported(7, "nosuch: unknown section"));
	assert_true(reported(8, "nosuch.k: unknown key"));
	assert_int_equal(report_lines(), 9); /* and the two needed keys */
	assert_memory_equal(&c, &before, sizeof(c));
}

static void test_queue_range(void **state)
{
	struct conf c;

	(void)state;
	assert_int_equal(
		load(NEEDED "[queue]\nnumber = 65535\ncount = 2\n", &c),
		-EINVAL);
	assert_true(reported(6, "queue.count: the last queue"));
	assert_int_equal(
		load(NEEDED "[queue]\nnumber = 65534\ncount = 2\n", &c), 0);
}

/* Which keys warn, and that only those do: each set to a value of its own */
static void test_pending_keys_warn(void **state)
{
	static const char *const pending[] = {
		"queue.count",
	};
	size_t count = sizeof(pending) / sizeof(*pending);
	char want[128];
	struct conf c;

	(void)state;
	assert_int_equal(load(every_key, &c), 0);
	for (size_t i = 0; i < count; i++) {
		snprintf(want, sizeof(want), ": %s: warning: ", pending[i]);
		if (!strstr(report, want))
			fail_msg("no%s\n%s", want, report);
	}
	assert_int_equal(report_lines(), count);
	assert_true(reported(10, "queue.count: warning: the queues are"));
	/* Written out, but as they are anyway: no warning */
	expect_clean(NEEDED "[queue]\ncount = 1\n[media]\nsource = strict\n"
			    "keep_local = true\nconntrack_mark = 0x0/0\n",
		     &c);
}

/* For whom the metrics page is there: a port alone is for this host */
static void test_metrics_listen(void **state)
{
	static const char *const open[] = { "0.0.0.0:9060", "[::]:9060" };
	struct endpoint want = { .port = 9060 };
	char text[256];
	struct conf c;

	(void)state;
	assert_int_equal(addr_parse(SPAN("127.0.0.1"), &want.addr), 0);
	expect_clean(NEEDED "[metrics]\nlisten = 9060\n", &c);
	assert_true(endpoint_eq(&c.metrics.listen, &want));
	expect_clean(NEEDED "[metrics]\nlisten = 192.0.2.77:9060\n", &c);
	for (size_t i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), NEEDED "[metrics]\nlisten = %s\n",
			 open[i]);
		assert_int_equal(load(text, &c), 0);
		assert_int_equal(report_lines(), 1);
		assert_true(reported(5, "metrics.listen: warning: the page is "
					"for everybody, also on the outside"));
	}
	/* Every machine has a loopback address: here it is the outside's */
	assert_int_equal(load("[gateway]\nlan_interfaces = lan0\n"
			      "wan_interfaces = lo\n"
			      "[metrics]\nlisten = 9060\n",
			      &c),
			 0);
	assert_int_equal(report_lines(), 1);
	assert_true(reported(5, "metrics.listen: warning: that is an address "
				"of the outside (lo)"));
}

static void test_limits_of_a_line(void **state)
{
	char text[2048];
	struct conf c;
	int n = snprintf(text, sizeof(text), NEEDED "#");

	(void)state;
	memset(text + n, 'x', 1021);
	strcpy(text + n + 1021, "\n[log]\nlevel = debug\n");
	expect_clean(text, &c);
	assert_int_equal(c.log.level, LOG_LEVEL_DEBUG);
	memset(text + n, 'x', 1022);
	strcpy(text + n + 1022, "\n[log]\nlevel = debug\n");
	expect_one_error(text, 4, "syntax: line is longer than 1022 bytes");
	/* The value's end on the limit is kept, not cut */
	n = snprintf(text, sizeof(text), NEEDED "[log]\nlevel =");
	memset(text + n, ' ', 1010);
	strcpy(text + n + 1010, "debug");
	expect_clean(text, &c);
	assert_int_equal(c.log.level, LOG_LEVEL_DEBUG);
}

static void test_bytes_of_all_sorts(void **state)
{
	static const char nul[] = NEEDED "[log]\nlevel = de\0bug\n";
	struct conf c;

	(void)state;
	assert_int_equal(load_bytes(nul, sizeof(nul) - 1, &c), -EINVAL);
	assert_true(reported(5, "syntax: control character"));
	expect_clean("[Gateway]\r\n\tLAN_Interfaces\t= lan0 ; first\r\n"
		     "  wan_interfaces=wan0# last\r\n\r\n ; more\r\n",
		     &c);
	assert_string_equal(c.gateway.lan_interfaces.name[0], "lan0");
	assert_string_equal(c.gateway.wan_interfaces.name[0], "wan0");
	expect_clean(NEEDED "lan_networks =\npublic_address = ; none\n"
			    "[log]\nlevel = 'Notice' # quoted",
		     &c);
	assert_int_equal(c.log.level, LOG_LEVEL_NOTICE);
}

static void test_unreadable_files(void **state)
{
	FILE *out = fmemopen(report, sizeof(report), "w");
	struct conf c;

	(void)state;
	assert_int_equal(conf_load("/nonexistent/x", &c, out), -ENOENT);
	fclose(out);
	assert_string_equal(report, "/nonexistent/x: cannot be read: "
				    "No such file or directory\n");
	assert_int_equal(conf_load("/nonexistent/x", &c, NULL), -ENOENT);
	assert_int_equal(conf_load("/tmp", &c, NULL), -EISDIR);
}

static void test_state_directory(void **state)
{
	struct conf c;

	(void)state;
	setenv("STATE_DIRECTORY", "/srv/one:/srv/two", 1);
	expect_clean(NEEDED, &c);
	assert_string_equal(c.state.directory, "/srv/one");
	setenv("STATE_DIRECTORY", "relative", 1);
	expect_one_error(NEEDED, 1,
			 "state.directory: 'relative' is not an absolute path");
	unsetenv("STATE_DIRECTORY");
}

static void test_path_length(void **state)
{
	char text[512], dir[CONF_PATH_MAX + 1];
	struct conf c;

	(void)state;
	memset(dir, 'a', sizeof(dir));
	dir[0] = '/';
	dir[107] = '\0';
	snprintf(text, sizeof(text), NEEDED "[control]\nsocket=%s\n", dir);
	expect_clean(text, &c);
	assert_string_equal(c.control.socket, dir);
	strcpy(dir + 107, "a");
	snprintf(text, sizeof(text), NEEDED "[control]\nsocket=%s\n", dir);
	expect_one_error(text, 5, "control.socket: path longer than 107 bytes");
}

static void test_lists_have_an_end(void **state)
{
	char text[2048] = NEEDED "[bypass]\nphones = 10.0.0.0";
	struct conf c;
	size_t n;

	(void)state;
	for (int i = 1; i < CONF_MAX_NETWORKS; i++)
		sprintf(text + strlen(text), ",10.0.0.%d", i);
	assert_int_equal(load(text, &c), 0);
	assert_int_equal(c.bypass.phones.count, CONF_MAX_NETWORKS);
	strcat(text, ",10.0.0.99");
	expect_one_error(text, 5, "bypass.phones: more than 64 networks");
	/* 64 of the longest that inet_ntop(3) makes longer than was written */
	strcpy(text, NEEDED "[bypass]\nphones = ");
	n = strlen(text);
	for (int i = 0; i < CONF_MAX_NETWORKS; i++)
		sprintf(text + strlen(text), "%s::eeff:eeff", i ? "," : "");
	assert_true(strlen(text + n) < 1000);
	expect_one_error(text, 5, "bypass.phones: the list is too long");
}

static int setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	unsetenv("STATE_DIRECTORY");
	if (fd < 0)
		return -1;
	return close(fd);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_key_is_read),
		cmocka_unit_test(test_print_is_read_back),
		cmocka_unit_test(test_needed_keys),
		cmocka_unit_test(test_unknown_names_get_a_suggestion),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_interface_lists),
		cmocka_unit_test(test_interface_match),
		cmocka_unit_test(test_every_error_is_reported),
		cmocka_unit_test(test_queue_range),
		cmocka_unit_test(test_pending_keys_warn),
		cmocka_unit_test(test_metrics_listen),
		cmocka_unit_test(test_limits_of_a_line),
		cmocka_unit_test(test_bytes_of_all_sorts),
		cmocka_unit_test(test_unreadable_files),
		cmocka_unit_test(test_state_directory),
		cmocka_unit_test(test_path_length),
		cmocka_unit_test(test_lists_have_an_end),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
