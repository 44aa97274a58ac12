/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/binding.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "stage.h"
#include "state/saved.h"

#define UDP IPPROTO_UDP

static struct stage *st;
static struct bindings *b;
static enum counter why;

static int set_up(void **state)
{
	(void)state;
	st = stage_open();
	b = &st->alg->bindings;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stage_close(st);
	return 0;
}

static struct tuple tuple(const char *src, const char *dst)
{
	return (struct tuple){ .src = stage_end(src),
			       .dst = stage_end(dst),
			       .proto = UDP };
}

static struct flow *outbound(const char *src, const char *dst)
{
	struct tuple t = tuple(src, dst);

	return flow_outbound(b, &t, st->now_ms, &why);
}

static struct flow *inbound(const char *src, const char *dst)
{
	struct tuple t = tuple(src, dst);

	return flow_inbound(b, &t, st->now_ms, &why);
}

static struct mapping *get(const char *inside)
{
	struct endpoint end = stage_end(inside);
	struct addr addr = stage_addr("203.0.113.1");

	return mapping_get(b, &end, &addr);
}

static unsigned int port(const struct mapping *map)
{
	return map ? map->public_end.port : 0;
}

static void kernel_has(const char *src, const char *dst, unsigned int nat_port)
{
	struct nat_entry entry = { .lan = tuple(src, dst), .timeout_s = 3600 };

	entry.wan = tuple_reverse(&entry.lan);
	entry.wan.dst.addr = stage_addr("203.0.113.1");
	entry.wan.dst.port = (uint16_t)nat_port;
	assert_int_equal(simnat_ops.create(&st->sim, &entry), 0);
}

/* RFC 4787 REQ-1: one inside endpoint, one public endpoint, to every peer */
static void test_sticky(void **state)
{
	struct flow *flow;

	(void)state;
	flow = outbound("192.168.1.10:5060", "198.51.100.5:5060");
	assert_int_equal(flow->wan.dst.port, 5060);
	flow = outbound("192.168.1.10:5060", "198.51.100.6:5060");
	assert_int_equal(flow->wan.dst.port, 5060);
	flow = outbound("192.168.1.10:5060", "198.51.100.6:5070");
	assert_int_equal(flow->wan.dst.port, 5060);
	assert_int_equal(flow->map->flows, 3);
	stage_wait(st, 3600);
	/* Hours later, the kernel's entry long gone */
	flow = outbound("192.168.1.10:5060", "198.51.100.5:5060");
	assert_int_equal(flow->wan.dst.port, 5060);
	assert_int_equal(stage_count(st, COUNTER_mappings_created), 1);
}

static void test_two_phones_on_5060(void **state)
{
	struct flow *flow;

	(void)state;
	flow = outbound("192.168.1.10:5060", "198.51.100.5:5060");
	assert_int_equal(flow->wan.dst.port, 5060);
	flow = outbound("192.168.1.11:5060", "198.51.100.5:5060");
	assert_int_equal(flow->wan.dst.port, 5061);
	flow = outbound("192.168.1.12:5060", "198.51.100.6:5060");
	assert_int_equal(flow->wan.dst.port, 5062);
	/* Both ways */
	flow = inbound("198.51.100.5:5060", "203.0.113.1:5061");
	assert_int_equal(flow->lan.src.addr.byte[15], 11);
	flow = inbound("198.51.100.5:5060", "203.0.113.1:5060");
	assert_int_equal(flow->lan.src.addr.byte[15], 10);
}

static void test_ports(void **state)
{
	(void)state;
	assert_int_equal(port(get("192.168.1.10:5999")), 5999);
	assert_int_equal(port(get("192.168.1.11:5999")), 5060);
	assert_int_equal(port(get("192.168.1.12:40000")), 5061);
	assert_int_equal(port(get("192.168.1.13:5070")), 5070);
	assert_int_equal(port(get("192.168.1.10:5999")), 5999);
}

static void test_exhausted(void **state)
{
	(void)state;
	st->conf.sip.signalling_ports =
		(struct ports){ 2, { { 5060, 5061 }, { 5070, 5070 } } };
	assert_non_null(outbound("192.168.1.10:5060", "198.51.100.5:5060"));
	assert_int_equal(port(get("192.168.1.10:5060")), 5060);
	assert_non_null(outbound("192.168.1.11:5060", "198.51.100.5:5060"));
	assert_int_equal(port(get("192.168.1.11:5060")), 5061);
	assert_non_null(outbound("192.168.1.12:5060", "198.51.100.5:5060"));
	assert_int_equal(port(get("192.168.1.12:5060")), 5070);
	assert_null(get("192.168.1.13:5060"));
	assert_int_equal(stage_count(st, COUNTER_ports_exhausted), 1);
	assert_null(outbound("192.168.1.13:5060", "198.51.100.5:5060"));
	assert_int_equal(why, COUNTER_no_mapping);
	/* Those that have one keep it */
	assert_int_equal(port(get("192.168.1.11:5060")), 5061);
	/* until the kernel has long forgotten their flows: then the one that
	 * has been silent longest makes room
	 */
	stage_wait(st, 120);
	assert_non_null(outbound("192.168.1.11:5060", "198.51.100.5:5060"));
	stage_wait(st, 300);
	assert_non_null(outbound("192.168.1.13:5060", "198.51.100.5:5060"));
	assert_int_equal(port(get("192.168.1.13:5060")), 5060);
	assert_int_equal(port(get("192.168.1.11:5060")), 5061);
}

/* One whose port is none of ours to give has none for others */
static void test_reclaim(void **state)
{
	(void)state;
	st->conf.sip.signalling_ports = (struct ports){ 1, { { 5060, 5060 } } };
	kernel_has("192.168.1.10:5070", "198.51.100.5:5060", 1024);
	outbound("192.168.1.10:5070", "198.51.100.5:5060");
	assert_int_equal(port(get("192.168.1.10:5070")), 1024);
	assert_int_equal(port(get("192.168.1.11:5060")), 5060);
	stage_wait(st, 4000);
	assert_int_equal(port(get("192.168.1.12:5060")), 5060);
	assert_int_equal(stage_count(st, COUNTER_ports_exhausted), 0);
}

/* What the kernel has is the truth: a flow older than the daemon */
static void test_adopt(void **state)
{
	struct flow *flow;

	(void)state;
	kernel_has("192.168.1.10:5060", "198.51.100.5:5060", 1024);
	flow = outbound("192.168.1.10:5060", "198.51.100.5:5060");
	assert_int_equal(flow->wan.dst.port, 1024);
	assert_int_equal(flow->map->public_end.port, 1024);
	assert_int_equal(st->sim.calls[SIMNAT_CREATE], 1);
	/* ... and so towards others */
	flow = outbound("192.168.1.10:5060", "198.51.100.6:5060");
	assert_int_equal(flow->wan.dst.port, 1024);
}

static void test_adopt_from_outside(void **state)
{
	struct flow *flow;
	struct nat_entry entry;
	struct tuple t = tuple("192.168.1.10:5060", "198.51.100.5:5060");

	(void)state;
	kernel_has("192.168.1.10:5060", "198.51.100.5:5060", 5060);
	assert_int_equal(simnat_ops.find(&st->sim, &t, NAT_SIDE_LAN, &entry),
			 0);
	alg_adopt(st->alg, &entry, st->now_ms);
	flow = inbound("198.51.100.5:5060", "203.0.113.1:5060");
	assert_non_null(flow);
	assert_true(tuple_eq(&flow->lan, &t));
	/* Not what does not cross, nor what is not translated */
	entry.wan.dst = entry.lan.src;
	entry.lan.dst.port = entry.wan.src.port = 5070;
	alg_adopt(st->alg, &entry, st->now_ms);
	assert_null(flow_find(b, &entry.lan, NAT_SIDE_LAN));
}

/* While nobody was here the kernel has given one port to two, towards different
 * remotes: it stays with whose it was
 */
static void test_restore_takes_back(void **state)
{
	struct endpoint alice = stage_end("192.168.1.10:5060");
	struct endpoint public_end = stage_end("203.0.113.1:5060");
	struct saved_mapping saved = { .inside = alice,
				       .public_end = public_end };
	struct tuple other = { .src = stage_end("192.168.1.66:5060"),
			       .dst = stage_end("198.51.100.6:5060"),
			       .proto = IPPROTO_UDP };
	struct tuple own = { .src = alice,
			     .dst = stage_end("198.51.100.5:5060"),
			     .proto = IPPROTO_UDP };
	struct nat_entry entry = { .lan = other, .wan = tuple_reverse(&other) };
	struct mapping *map;

	(void)state;
	entry.wan.dst = public_end;
	alg_adopt(st->alg, &entry, st->now_ms);
	assert_true(endpoint_eq(&mapping_find_public(b, &public_end)->in.inside,
				&other.src));
	/* Not if the kernel has given it to nobody else */
	assert_false(mapping_restore(b, &saved));
	entry = (struct nat_entry){ .lan = own, .wan = tuple_reverse(&own) };
	entry.wan.dst = public_end;
	alg_adopt(st->alg, &entry, st->now_ms);
	assert_true(mapping_restore(b, &saved));
	map = mapping_find_public(b, &public_end);
	assert_true(endpoint_eq(&map->in.inside, &alice));
	map = mapping_find_inside(b, &other.src, &public_end.addr);
	assert_int_not_equal(map->public_end.port, 5060);
	/* Packets of its flow are its own all the same */
	assert_ptr_equal(inbound("198.51.100.6:5060", "203.0.113.1:5060")->map,
			 map);
}

/* One host's old flow must not take away the port that it has announced to
 * others
 */
static void test_adopt_beside(void **state)
{
	struct addr registrar = stage_addr("198.51.100.5");
	struct flow *flow;

	(void)state;
	flow = outbound("192.168.1.10:5060", "198.51.100.5:5060");
	flow->map->holds++;
	flow->map->open = true;
	kernel_has("192.168.1.10:5060", "198.51.100.6:5060", 1024);
	flow = outbound("192.168.1.10:5060", "198.51.100.6:5060");
	assert_int_equal(flow->wan.dst.port, 1024);
	/* A registrar may call from any port */
	peer_allow(b, &flow->lan.src.addr, &registrar, st->now_ms + 1000);
	assert_non_null(inbound("198.51.100.5:5070", "203.0.113.1:5060"));
	get("192.168.1.10:5060")->holds--;
}

/* The port is taken towards that remote by a flow that is none of ours */
static void test_clash(void **state)
{
	struct flow *flow;

	(void)state;
	kernel_has("192.168.1.99:7", "198.51.100.5:5060", 5060);
	flow = outbound("192.168.1.10:5060", "198.51.100.5:5060");
	assert_int_equal(flow->wan.dst.port, 5061);
	assert_int_equal(port(flow->map), 5061);
	assert_int_equal(stage_count(st, COUNTER_mapping_clashes), 1);
	for (unsigned int p = 5061; p < 5080; p++) {
		char src[32];

		snprintf(src, sizeof(src), "192.168.1.99:%u", p);
		kernel_has(src, "198.51.100.6:5060", p);
	}
	/* It gives up after some tries, without a flow */
	assert_null(outbound("192.168.1.10:5060", "198.51.100.6:5060"));
	assert_int_equal(why, COUNTER_no_mapping);
}

/* A packet from outside cannot move a mapping by a clash */
static void test_clash_from_outside(void **state)
{
	struct flow *flow;
	struct mapping *map;

	(void)state;
	flow = outbound("192.168.1.10:5060", "198.51.100.5:5060");
	map = flow->map;
	peer_allow(b, &flow->lan.src.addr, &flow->lan.dst.addr,
		   st->now_ms + 1000);
	/* The phone's way to that remote has another translation already */
	kernel_has("192.168.1.10:5060", "198.51.100.5:5070", 1024);
	inbound("198.51.100.5:5070", "203.0.113.1:5060");
	assert_int_equal(port(map), 5060);
}

static void test_route(void **state)
{
	struct network net = stage_network("198.51.100.0/24");
	struct addr other = stage_addr("203.0.113.2");
	struct flow *flow;

	(void)state;
	assert_int_equal(simnat_add_route(&st->sim, &net, &other), 0);
	flow = outbound("192.168.1.10:5060", "198.51.100.5:5060");
	assert_true(addr_eq(&flow->wan.dst.addr, &other));
	flow = outbound("192.168.1.10:5060", "192.0.2.1:5060");
	other = stage_addr("203.0.113.1");
	assert_true(addr_eq(&flow->wan.dst.addr, &other));
	simnat_fail(&st->sim, SIMNAT_ROUTE, 0, 1, -ENETUNREACH);
	assert_null(outbound("192.168.1.10:5060", "192.0.2.2:5060"));
	assert_int_equal(why, COUNTER_not_for_us);
}

static void test_faults(void **state)
{
	(void)state;
	simnat_fail(&st->sim, SIMNAT_CREATE, 0, 1, -EPERM);
	assert_null(outbound("192.168.1.10:5060", "198.51.100.5:5060"));
	assert_int_equal(why, COUNTER_no_mapping);
	assert_int_equal(stage_count(st, COUNTER_conntrack_errors), 1);
	assert_int_equal(
		port(outbound("192.168.1.10:5060", "198.51.100.5:5060")->map),
		5060);
}

/* A cached flow is believed only as long as the kernel must have it */
static void test_expiry(void **state)
{
	struct tuple t = tuple("192.168.1.10:5060", "198.51.100.5:5060");
	unsigned int finds;

	(void)state;
	outbound("192.168.1.10:5060", "198.51.100.5:5060");
	finds = st->sim.calls[SIMNAT_FIND];
	st->now_ms += 29000;
	simnat_set_now(&st->sim, st->now_ms);
	outbound("192.168.1.10:5060", "198.51.100.5:5060");
	assert_int_equal(st->sim.calls[SIMNAT_FIND], finds);
	stage_wait(st, 31);
	outbound("192.168.1.10:5060", "198.51.100.5:5060");
	assert_int_equal(st->sim.calls[SIMNAT_FIND], finds + 1);
	assert_int_equal(st->sim.calls[SIMNAT_CREATE], 2);
	/* The kernel says that it is gone: asked, and made again */
	simnat_ops.remove(&st->sim, &t);
	flow_gone(b, &t);
	outbound("192.168.1.10:5060", "198.51.100.5:5060");
	assert_int_equal(st->sim.calls[SIMNAT_CREATE], 3);
	flows_doubt(b);
	finds = st->sim.calls[SIMNAT_FIND];
	outbound("192.168.1.10:5060", "198.51.100.5:5060");
	assert_int_equal(st->sim.calls[SIMNAT_FIND], finds + 1);
}

static void test_strangers(void **state)
{
	struct addr phone = stage_addr("192.168.1.10");
	struct addr far = stage_addr("198.51.100.66");
	struct peer *peer;

	(void)state;
	assert_null(inbound("198.51.100.66:5060", "203.0.113.1:5060"));
	assert_int_equal(why, COUNTER_stranger);
	outbound("192.168.1.10:5060", "198.51.100.5:5060");
	assert_null(inbound("198.51.100.66:5060", "203.0.113.1:5060"));
	assert_int_equal(why, COUNTER_not_allowed);
	peer = peer_allow(b, &phone, &far, st->now_ms + 5000);
	get("192.168.1.10:5060")->open = true;
	assert_non_null(inbound("198.51.100.66:5060", "203.0.113.1:5060"));
	/* another port of that host too, but no other host's mapping */
	assert_non_null(inbound("198.51.100.66:7", "203.0.113.1:5060"));
	outbound("192.168.1.11:5060", "198.51.100.5:5060")->map->open = true;
	assert_null(inbound("198.51.100.66:5060", "203.0.113.1:5061"));
	st->now_ms += 5001;
	assert_false(peer_is_allowed(b, &phone, &far, st->now_ms));
	peer->holds++;
	assert_true(peer_is_allowed(b, &phone, &far, st->now_ms));
	peer->holds--;
}

/* A mapping opens step by step: to its flows, to hosts that its host has to do
 * with, to those whom sip.inbound_from admits
 */
static void test_opening(void **state)
{
	struct addr phone = stage_addr("192.168.1.10");
	struct addr known = stage_addr("198.51.100.5");
	struct mapping *map;

	(void)state;
	st->conf.sip.inbound_from = CONF_INBOUND_ANY;
	map = outbound("192.168.1.10:5060", "198.51.100.5:5060")->map;
	peer_allow(b, &phone, &known, st->now_ms + 5000);
	assert_non_null(inbound("198.51.100.5:5060", "203.0.113.1:5060"));
	assert_null(inbound("198.51.100.5:5061", "203.0.113.1:5060"));
	assert_null(inbound("198.51.100.6:5060", "203.0.113.1:5060"));
	map->answers = true;
	assert_non_null(inbound("198.51.100.5:5062", "203.0.113.1:5060"));
	assert_null(inbound("198.51.100.6:5060", "203.0.113.1:5060"));
	map->open = true;
	assert_non_null(inbound("198.51.100.6:5060", "203.0.113.1:5060"));
}

/* Outside nobody has these addresses, whoever may call */
static void test_impossible_sources(void **state)
{
	static const char *const from[] = {
		"192.168.1.11:5060", "203.0.113.1:5060", "127.0.0.1:5060",
		"0.0.0.0:5060",	     "224.0.0.1:5060",	 "255.255.255.255:5060"
	};

	(void)state;
	st->conf.sip.inbound_from = CONF_INBOUND_ANY;
	outbound("192.168.1.10:5070", "198.51.100.5:5060")->map->open = true;
	for (size_t i = 0; i < sizeof(from) / sizeof(*from); i++) {
		assert_null(inbound(from[i], "203.0.113.1:5070"));
		assert_int_equal(why, COUNTER_not_allowed);
	}
	assert_non_null(inbound("198.51.100.6:5060", "203.0.113.1:5070"));
}

static void test_inbound_from(void **state)
{
	struct addr phone = stage_addr("192.168.1.10");
	struct addr far = stage_addr("198.51.100.66");

	(void)state;
	st->conf.sip.inbound_from = CONF_INBOUND_ANY;
	assert_true(peer_is_allowed(b, &phone, &far, st->now_ms));
	st->conf.sip.inbound_from = CONF_INBOUND_LIST;
	assert_false(peer_is_allowed(b, &phone, &far, st->now_ms));
	st->conf.sip.inbound_networks.count = 1;
	st->conf.sip.inbound_networks.net[0] =
		stage_network("198.51.100.64/29");
	assert_true(peer_is_allowed(b, &phone, &far, st->now_ms));
	far = stage_addr("198.51.100.72");
	assert_false(peer_is_allowed(b, &phone, &far, st->now_ms));
}

/* limits.flows: the oldest idle goes; the mapping stays */
static void test_limits(void **state)
{
	char dst[32];

	(void)state;
	st->conf.limits.flows = 4;
	for (int i = 0; i < 20; i++) {
		snprintf(dst, sizeof(dst), "198.51.100.%d:5060", i + 1);
		assert_non_null(outbound("192.168.1.10:5060", dst));
		assert_true(HASH_CNT(by_lan, b->by_lan) <= 4);
		assert_int_equal(HASH_CNT(by_lan, b->by_lan),
				 HASH_CNT(by_wan, b->by_wan));
	}
	assert_int_equal(stage_count(st, COUNTER_flows_evicted), 16);
	assert_int_equal(port(get("192.168.1.10:5060")), 5060);
	for (int i = 0; i < 20; i++) {
		snprintf(dst, sizeof(dst), "192.168.1.%d:5060", i + 20);
		assert_non_null(get(dst));
	}
	/* In use, so never dropped */
	assert_int_equal(port(get("192.168.1.10:5060")), 5060);
	assert_true(HASH_CNT(by_inside, b->by_inside) <= 5);
}

/* What conntrack could not tell: asked for again before it is used, but what
 * is known of it is not lost at once
 */
static void test_doubt(void **state)
{
	struct tuple t = tuple("192.168.1.10:5060", "198.51.100.5:5060");
	unsigned int finds;

	(void)state;
	b->now_ms = st->now_ms;
	assert_non_null(outbound("192.168.1.10:5060", "198.51.100.5:5060"));
	finds = st->sim.calls[SIMNAT_FIND];
	assert_non_null(outbound("192.168.1.10:5060", "198.51.100.5:5060"));
	assert_int_equal(st->sim.calls[SIMNAT_FIND], finds);
	flows_doubt(b);
	stage_wait(st, 5);
	assert_non_null(flow_find(b, &t, NAT_SIDE_LAN));
	assert_non_null(outbound("192.168.1.10:5060", "198.51.100.5:5060"));
	assert_int_equal(st->sim.calls[SIMNAT_FIND], finds + 1);
	/* Of one that is known to have gone nothing is left */
	flow_gone(b, &t);
	stage_wait(st, 1);
	assert_null(flow_find(b, &t, NAT_SIDE_LAN));
}

static void test_hold(void **state)
{
	struct tuple t = tuple("192.168.1.10:5060", "198.51.100.5:5060");
	struct flow *flow = outbound("192.168.1.10:5060", "198.51.100.5:5060");
	struct nat_entry entry;

	(void)state;
	flow_hold(b, &t, flow->map, 3600, st->now_ms);
	assert_int_equal(simnat_ops.find(&st->sim, &t, NAT_SIDE_LAN, &entry),
			 0);
	assert_true(entry.fixed && entry.answered);
	assert_int_equal(entry.timeout_s, 3600);
	stage_wait(st, 3599);
	assert_non_null(inbound("198.51.100.5:5060", "203.0.113.1:5060"));
	assert_int_equal(st->sim.calls[SIMNAT_CREATE], 2);
	flow_hold(b, &t, flow->map, 0, st->now_ms);
	assert_int_equal(simnat_ops.find(&st->sim, &t, NAT_SIDE_LAN, &entry),
			 0);
	assert_false(entry.fixed);
	assert_int_equal(entry.timeout_s, SIMNAT_IDLE_ANSWERED_S);
	/* It cannot be made again: the next packet makes it */
	simnat_fail(&st->sim, SIMNAT_CREATE, 0, 1, -ENOMEM);
	flow_hold(b, &t, flow->map, 60, st->now_ms);
	assert_non_null(outbound("192.168.1.10:5060", "198.51.100.5:5060"));
	assert_int_equal(simnat_ops.find(&st->sim, &t, NAT_SIDE_LAN, &entry),
			 0);
}

/* RFC 1918 has the same numbers for everybody */
static void test_foreign(void **state)
{
	struct addr phone = stage_addr("192.168.1.10");
	struct addr other = stage_addr("192.168.1.11");

	(void)state;
	assert_int_equal(foreign_get(b, &phone, 1), 0);
	foreign_set(b, &phone, 1, 0);
	assert_null(b->foreign);
	st->conf.limits.calls = 100;
	for (uint32_t call = 1; call <= 100; call++)
		foreign_set(b, &phone, call, FOREIGN_REMOTE | FOREIGN_ROUTE);
	for (uint32_t call = 1; call <= 100; call++)
		assert_int_equal(foreign_get(b, &phone, call),
				 FOREIGN_REMOTE | FOREIGN_ROUTE);
	assert_int_equal(foreign_get(b, &other, 1), 0);
	/* A later request of the call tells otherwise */
	foreign_set(b, &phone, 2, 0);
	assert_int_equal(foreign_get(b, &phone, 2), 0);
	/* One more than there is room for: the oldest goes */
	foreign_set(b, &phone, 101, FOREIGN_LOCAL);
	assert_int_equal(foreign_get(b, &phone, 1), 0);
	assert_int_equal(foreign_get(b, &phone, 101), FOREIGN_LOCAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_foreign),
		TEST(test_sticky),
		TEST(test_two_phones_on_5060),
		TEST(test_ports),
		TEST(test_exhausted),
		TEST(test_reclaim),
		TEST(test_adopt),
		TEST(test_adopt_from_outside),
		TEST(test_restore_takes_back),
		TEST(test_adopt_beside),
		TEST(test_clash),
		TEST(test_clash_from_outside),
		TEST(test_route),
		TEST(test_faults),
		TEST(test_expiry),
		TEST(test_strangers),
		TEST(test_opening),
		TEST(test_impossible_sources),
		TEST(test_inbound_from),
		TEST(test_limits),
		TEST(test_doubt),
		TEST(test_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
