/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim/simnat.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "stage.h"

static struct simnat sim;

static int set_up(void **state)
{
	(void)state;
	stage_surround(&sim);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	simnat_free(&sim);
	return 0;
}

static struct tuple tuple(const char *src, const char *dst)
{
	return (struct tuple){ .src = stage_end(src),
			       .dst = stage_end(dst),
			       .proto = IPPROTO_UDP };
}

static struct nat_entry entry(const char *inside, const char *remote,
			      const char *pub)
{
	return (struct nat_entry){ .lan = tuple(inside, remote),
				   .wan = tuple(remote, pub),
				   .timeout_s = 100 };
}

static bool has(const char *src, const char *dst, enum nat_side side,
		struct nat_entry *e)
{
	struct tuple t = tuple(src, dst);
	int err = simnat_ops.find(&sim, &t, side, e);

	assert_true(!err || err == -ENOENT);
	return !err;
}

#define A "192.168.1.10:5060"
#define B "192.168.1.11:5060"
#define R "198.51.100.5:5060"
#define P "203.0.113.1:5060"

/* As nf_conntrack: each tuple once, in whatever direction */
static void test_unique(void **state)
{
	struct nat_entry e = entry(A, R, P), got;

	(void)state;
	assert_int_equal(simnat_ops.create(&sim, &e), 0);
	assert_int_equal(simnat_ops.create(&sim, &e), -EEXIST);
	e = entry(A, R, "203.0.113.1:5061"); /* the same LAN tuple */
	assert_int_equal(simnat_ops.create(&sim, &e), -EEXIST);
	e = entry(B, R, P); /* the same WAN tuple */
	assert_int_equal(simnat_ops.create(&sim, &e), -EEXIST);
	e = entry(R, P, "192.0.2.1:1"); /* a WAN tuple as LAN tuple */
	assert_int_equal(simnat_ops.create(&sim, &e), -EEXIST);
	assert_int_equal(sim.count, 1);
	e = entry(B, R, "203.0.113.1:5061");
	assert_int_equal(simnat_ops.create(&sim, &e), 0);
	assert_true(has(A, R, NAT_SIDE_LAN, &got));
	assert_true(has(R, P, NAT_SIDE_WAN, &got));
	assert_int_equal(got.lan.src.addr.byte[15], 10);
	assert_false(has(R, A, NAT_SIDE_WAN, &got));
	e = entry(A, R, P);
	assert_int_equal(simnat_ops.remove(&sim, &e.lan), 0);
	assert_int_equal(simnat_ops.remove(&sim, &e.lan), -ENOENT);
	assert_false(has(R, P, NAT_SIDE_WAN, &got));
}

static void test_time(void **state)
{
	struct nat_entry e = entry(A, R, P), got;

	(void)state;
	assert_int_equal(simnat_ops.create(&sim, &e), 0);
	simnat_set_now(&sim, STAGE_START_MS + 40000);
	assert_true(has(A, R, NAT_SIDE_LAN, &got));
	assert_int_equal(got.timeout_s, 60);
	assert_int_equal(simnat_ops.refresh(&sim, &e.lan, 90), 0);
	simnat_set_now(&sim, STAGE_START_MS); /* never back */
	simnat_set_now(&sim, STAGE_START_MS + 129999);
	assert_true(has(A, R, NAT_SIDE_LAN, &got));
	simnat_set_now(&sim, STAGE_START_MS + 130000);
	assert_false(has(A, R, NAT_SIDE_LAN, &got));
	assert_int_equal(simnat_ops.refresh(&sim, &e.lan, 90), -ENOENT);
	assert_int_equal(simnat_ops.create(&sim, &e), 0);
}

/* IPS_FIXED_TIMEOUT */
static void test_fixed(void **state)
{
	struct nat_entry e = entry(A, R, P), got;
	struct tuple to;

	(void)state;
	e.fixed = true;
	assert_int_equal(simnat_ops.create(&sim, &e), 0);
	assert_int_equal(simnat_ops.refresh(&sim, &e.lan, 500), -EPERM);
	simnat_set_now(&sim, STAGE_START_MS + 90000);
	assert_int_equal(simnat_pass(&sim, NAT_SIDE_LAN, &e.lan, &to), 0);
	simnat_set_now(&sim, STAGE_START_MS + 100000);
	assert_false(has(A, R, NAT_SIDE_LAN, &got));
}

/* nf_conntrack_udp_timeout and _stream */
static void test_packets_prolong(void **state)
{
	struct tuple lan = tuple(A, R), wan = tuple(R, P), to;
	struct nat_entry got;

	(void)state;
	assert_int_equal(simnat_pass(&sim, NAT_SIDE_LAN, &lan, &to), 0);
	assert_true(has(A, R, NAT_SIDE_LAN, &got));
	assert_int_equal(got.timeout_s, SIMNAT_IDLE_S);
	assert_false(got.answered);
	assert_int_equal(simnat_pass(&sim, NAT_SIDE_WAN, &wan, &to), 0);
	assert_true(tuple_eq(
		&to, &(struct tuple){ wan.src, lan.src, IPPROTO_UDP, 0 }));
	assert_true(has(A, R, NAT_SIDE_LAN, &got));
	assert_int_equal(got.timeout_s, SIMNAT_IDLE_ANSWERED_S);
	assert_true(got.answered);
	assert_int_equal(got.packets_out, 1);
	assert_int_equal(got.packets_in, 1);
	/* nf_conntrack_acct decides when an entry begins */
	assert_true(got.counted);
	sim.counting = false;
	simnat_pass(&sim, NAT_SIDE_WAN, &wan, &to);
	assert_true(has(R, P, NAT_SIDE_WAN, &got));
	assert_int_equal(got.packets_in, 2);
	lan = tuple(B, R);
	simnat_pass(&sim, NAT_SIDE_LAN, &lan, &to);
	sim.counting = true;
	simnat_pass(&sim, NAT_SIDE_LAN, &lan, &to);
	assert_true(has(B, R, NAT_SIDE_LAN, &got));
	assert_false(got.counted);
	assert_int_equal(got.packets_out, 0);
}

struct sent {
	unsigned int packets;
	uint8_t first;
	size_t len;
};

static void on_sent(void *arg, const void *packet, size_t len)
{
	struct sent *sent = arg;

	sent->packets++;
	sent->first = *(const uint8_t *)packet;
	sent->len = len;
}

static void test_send(void **state)
{
	struct sent sent = { 0 };

	(void)state;
	assert_int_equal(simnat_ops.send(&sim, "E", 1), 0); /* nobody listens */
	sim.sent = on_sent;
	sim.sent_arg = &sent;
	assert_int_equal(simnat_ops.send(&sim, "EF", 2), 0);
	simnat_fail(&sim, SIMNAT_SEND, 0, 1, -EAGAIN);
	assert_int_equal(simnat_ops.send(&sim, "E", 1), -EAGAIN);
	assert_int_equal(sent.packets, 1);
	assert_int_equal(sent.first, 'E');
	assert_int_equal(sent.len, 2);
	assert_int_equal(sim.calls[SIMNAT_SEND], 3);
}

/* nf_conntrack_tcp_timeout_syn_sent and _established */
static void test_tcp(void **state)
{
	struct nat nat = { .ops = &simnat_ops, .ctx = &sim };
	struct tuple lan = tuple(A, R), wan = tuple(R, P), to;
	struct nat_entry got;

	(void)state;
	simnat_pass(&sim, NAT_SIDE_LAN, &lan, &to); /* UDP is another flow */
	lan.proto = wan.proto = IPPROTO_TCP;
	assert_int_equal(nat.ops->set_liberal(&sim, &lan), -ENOENT);
	simnat_pass(&sim, NAT_SIDE_LAN, &lan, &to);
	assert_int_equal(to.src.port, 5060);
	assert_int_equal(nat_find(&nat, &lan, NAT_SIDE_LAN, &got), 0);
	assert_int_equal(got.timeout_s, SIMNAT_TCP_IDLE_S);
	simnat_pass(&sim, NAT_SIDE_WAN, &wan, &to);
	assert_int_equal(nat_find(&nat, &wan, NAT_SIDE_WAN, &got), 0);
	assert_int_equal(got.timeout_s, SIMNAT_TCP_IDLE_ANSWERED_S);
	assert_int_equal(sim.count, 2);
	assert_int_equal(simnat_ops.set_liberal(&sim, &lan), 0);
	assert_int_equal(sim.calls[SIMNAT_SET_LIBERAL], 2);
	assert_int_equal(nat_find(&nat, &lan, NAT_SIDE_LAN, &got), 0);
	assert_true(got.tcp_liberal);
}

/* A connection from outside: its first packet is the remote's */
static void test_from_wan(void **state)
{
	struct nat_entry e = entry(A, R, P), got;
	struct tuple to;

	(void)state;
	e.lan.proto = e.wan.proto = IPPROTO_TCP;
	e.from_wan = true;
	e.tcp_wscale[1] = 7;
	assert_int_equal(simnat_ops.create(&sim, &e), 0);
	simnat_pass(&sim, NAT_SIDE_WAN, &e.wan, &to);
	assert_true(endpoint_eq(&to.dst, &e.lan.src));
	simnat_ops.find(&sim, &e.wan, NAT_SIDE_WAN, &got);
	assert_false(got.answered);
	simnat_pass(&sim, NAT_SIDE_LAN, &e.lan, &to);
	assert_true(endpoint_eq(&to.src, &e.wan.dst));
	simnat_ops.find(&sim, &e.wan, NAT_SIDE_WAN, &got);
	assert_true(got.answered);
	assert_true(got.from_wan);
	assert_int_equal(got.tcp_wscale[1], 7);
	/* As its other end would see it, were it inside, too */
	simnat_ops.find(&sim, &e.wan, NAT_SIDE_LAN, &got);
	assert_true(tuple_eq(&got.lan, &e.wan));
	assert_false(got.from_wan);
	assert_int_equal(got.tcp_wscale[0], 7);
	assert_int_equal(got.tcp_wscale[1], 0);
}

static void test_masquerade(void **state)
{
	struct tuple a = tuple(A, R), b = tuple(B, R), to;
	struct tuple c = tuple(B, "198.51.100.6:5060");

	(void)state;
	simnat_pass(&sim, NAT_SIDE_LAN, &a, &to);
	assert_int_equal(to.src.port, 5060);
	simnat_pass(&sim, NAT_SIDE_LAN, &b, &to);
	assert_int_equal(to.src.port, 5061);
	/* A port is taken towards one remote only */
	simnat_pass(&sim, NAT_SIDE_LAN, &c, &to);
	assert_int_equal(to.src.port, 5060);
	/* Inside, to the gateway, from nowhere: no translation */
	a = tuple(A, B);
	simnat_pass(&sim, NAT_SIDE_LAN, &a, &to);
	assert_true(tuple_eq(&a, &to));
	a = tuple(A, P);
	simnat_pass(&sim, NAT_SIDE_LAN, &a, &to);
	assert_true(tuple_eq(&a, &to));
	a = tuple("198.51.100.66:1", P);
	simnat_pass(&sim, NAT_SIDE_WAN, &a, &to);
	assert_true(tuple_eq(&a, &to));
	assert_int_equal(sim.count, 3);
}

/* Both ends are inside, both are translated */
static void test_hairpin(void **state)
{
	struct nat_entry e = { .lan = tuple(A, "203.0.113.1:5061"),
			       .wan = tuple(B, P),
			       .timeout_s = 100 };
	struct tuple t = tuple(A, "203.0.113.1:5061"), to;
	struct nat_entry got;

	(void)state;
	assert_int_equal(simnat_ops.create(&sim, &e), 0);
	simnat_pass(&sim, NAT_SIDE_LAN, &t, &to);
	assert_true(
		endpoint_eq(&to.src, &(struct endpoint){ t.dst.addr, 5060 }));
	assert_true(endpoint_eq(&to.dst, &e.wan.src));
	t = tuple(B, P);
	simnat_pass(&sim, NAT_SIDE_LAN, &t, &to);
	assert_true(endpoint_eq(&to.src, &e.lan.dst));
	assert_true(endpoint_eq(&to.dst, &e.lan.src));
	/* From either end as that end sees it */
	assert_true(has(B, P, NAT_SIDE_LAN, &got));
	assert_true(tuple_eq(&got.lan, &e.wan));
	assert_true(tuple_eq(&got.wan, &e.lan));
	assert_int_equal(got.packets_out, 1);
}

static void test_full(void **state)
{
	struct nat_entry e = entry(A, R, P);
	struct tuple t = tuple(B, R), to;

	(void)state;
	sim.limit = 1;
	assert_int_equal(simnat_ops.create(&sim, &e), 0);
	e = entry(B, R, "203.0.113.1:5061");
	assert_int_equal(simnat_ops.create(&sim, &e), -ENOMEM);
	assert_int_equal(simnat_pass(&sim, NAT_SIDE_LAN, &t, &to), -ENOSPC);
	sim.now_ms += 200000; /* not swept yet */
	assert_int_equal(simnat_ops.create(&sim, &e), 0);
}

static void test_faults(void **state)
{
	struct nat_entry e = entry(A, R, P);

	(void)state;
	simnat_fail(&sim, SIMNAT_CREATE, 1, 2, -EPERM);
	assert_int_equal(simnat_ops.create(&sim, &e), 0);
	assert_int_equal(simnat_ops.create(&sim, &e), -EPERM);
	assert_int_equal(simnat_ops.create(&sim, &e), -EPERM);
	assert_int_equal(simnat_ops.create(&sim, &e), -EEXIST);
	assert_int_equal(sim.calls[SIMNAT_CREATE], 4);
}

static void test_routes(void **state)
{
	struct network net = stage_network("198.51.100.0/24");
	struct addr near = stage_addr("203.0.113.2"), got;
	struct addr in = stage_addr("192.168.1.10");
	struct addr far = stage_addr("198.51.100.5");

	(void)state;
	assert_int_equal(simnat_add_route(&sim, &net, &near), 0);
	assert_int_equal(simnat_ops.route(&sim, &in, &far, &got), 0);
	assert_true(addr_eq(&got, &near));
	assert_true(simnat_ops.is_own(&sim, &near));
	far = stage_addr("2001:db8::5");
	assert_int_equal(simnat_ops.route(&sim, &in, &far, &got), 0);
	assert_false(addr_is_v4(&got));
	sim.route_count = 1; /* IPv4 only */
	assert_int_equal(simnat_ops.route(&sim, &in, &far, &got), -ENETUNREACH);
	while (!simnat_add_route(&sim, &net, &near))
		;
	assert_int_equal(sim.route_count, SIMNAT_NETWORKS);
	while (!simnat_add_inside(&sim, &net))
		;
	assert_int_equal(sim.inside_count, SIMNAT_NETWORKS);
}

/* The rules of tests/vectors/rules/plain.ip4 */
static void test_queued(void **state)
{
	static const struct {
		enum nat_side side;
		const char *src, *dst;
		bool queued;
	} t[] = {
		{ NAT_SIDE_LAN, "192.168.1.10:40000", "198.51.100.5:5060", 1 },
		{ NAT_SIDE_LAN, "192.168.1.10:5060", "198.51.100.5:7", 1 },
		{ NAT_SIDE_LAN, "192.168.1.10:5061", "198.51.100.5:5061", 1 },
		{ NAT_SIDE_LAN, "192.168.1.10:6000", "198.51.100.5:5061", 0 },
		{ NAT_SIDE_LAN, "192.168.1.10:7", "203.0.113.1:5061", 1 },
		{ NAT_SIDE_LAN, "192.168.1.10:7", "203.0.113.1:6000", 0 },
		{ NAT_SIDE_WAN, "198.51.100.5:7", "203.0.113.1:5999", 1 },
		{ NAT_SIDE_WAN, "198.51.100.5:5060", "203.0.113.1:1024", 1 },
		{ NAT_SIDE_WAN, "198.51.100.5:7", "203.0.113.1:16384", 0 },
		{ NAT_SIDE_OTHER, "198.51.100.5:5060", "192.0.2.1:5060", 0 },
	};
	struct nat_entry media = entry("192.168.1.10:4000", "198.51.100.9:6000",
				       "203.0.113.1:16384");
	struct conf conf;

	(void)state;
	conf_init(&conf);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct tuple tu = tuple(t[i].src, t[i].dst);

		if (simnat_is_queued(&sim, &conf, t[i].side, &tu) !=
		    t[i].queued)
			fail_msg("row %zu", i);
		tu.proto = IPPROTO_TCP;
		if (simnat_is_queued(&sim, &conf, t[i].side, &tu) !=
		    t[i].queued)
			fail_msg("row %zu, TCP", i);
		tu.proto = IPPROTO_ICMP;
		assert_false(simnat_is_queued(&sim, &conf, t[i].side, &tu));
	}
	/* The rules of media.source: only what is new */
	conf.media.source = CONF_SOURCE_ANY;
	assert_true(simnat_is_queued(&sim, &conf, NAT_SIDE_WAN, &media.wan));
	media.wan.proto = IPPROTO_TCP;
	assert_false(simnat_is_queued(&sim, &conf, NAT_SIDE_WAN, &media.wan));
	media.wan.proto = IPPROTO_UDP;
	assert_int_equal(simnat_ops.create(&sim, &media), 0);
	assert_false(simnat_is_queued(&sim, &conf, NAT_SIDE_WAN, &media.wan));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_unique),     TEST(test_time),
		TEST(test_fixed),      TEST(test_packets_prolong),
		TEST(test_masquerade), TEST(test_hairpin),
		TEST(test_full),       TEST(test_faults),
		TEST(test_routes),     TEST(test_queued),
		TEST(test_send),       TEST(test_tcp),
		TEST(test_from_wan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
