/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/connection.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <utlist.h>

#include "dial.h"
#include "talk.h"

#define DIALS 8
#define OTHER "192.168.1.11:5060"
#define CALLING "192.168.1.10:40000"
#define CALLING_OUT "203.0.113.1:40000"

static struct stage *st;
static struct connections *all;
static struct dial dials[DIALS], *d = &dials[0];
static unsigned int fail_at, allocations;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__wrap_realloc(void *ptr, size_t size);

/* Linked in their place (CMakeLists.txt): call number @fail_at gets no memory
 */
void *__wrap_calloc(size_t count, size_t size)
{
	if (++allocations == fail_at)
		return NULL;
	return __real_calloc(count, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
	if (++allocations == fail_at)
		return NULL;
	return __real_realloc(ptr, size);
}

static void start(void)
{
	st = stage_open();
	all = &st->alg->connections;
}

static int set_up(void **state)
{
	(void)state;
	start();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stage_close(st);
	return 0;
}

/* A request that names @end in Via and Contact; in one of four buffers */
static struct span request(const char *method, const char *end)
{
	static char text[4][1024];
	static unsigned int next;
	char *buf = text[next++ % 4];
	int n = snprintf(buf, sizeof(text[0]),
			 "%s sip:x@example.com SIP/2.0\r\n"
			 "Via: SIP/2.0/TCP %s;branch=z9hG4bK1;alias\r\n"
			 "From: <sip:u@example.com>;tag=1\r\n"
			 "To: <sip:x@example.com>\r\n"
			 "Call-ID: a\r\nCSeq: 1 %s\r\n"
			 "Contact: <sip:u@%s;transport=tcp;ob>\r\n"
			 "Content-Length: 4\r\n\r\nbody",
			 method, end, method, end);

	return (struct span){ buf, (size_t)n };
}

static struct span answer(const char *end)
{
	static char text[2][512];
	static unsigned int next;
	char *buf = text[next++ % 2];
	int n = snprintf(buf, sizeof(text[0]),
			 "SIP/2.0 200 OK\r\n"
			 "Via: SIP/2.0/TCP %s;branch=z9hG4bK1;alias\r\n"
			 "From: <sip:u@example.com>;tag=1\r\n"
			 "To: <sip:x@example.com>;tag=2\r\n"
			 "Call-ID: a\r\nCSeq: 1 OPTIONS\r\n"
			 "Content-Length: 0\r\n\r\n",
			 end);

	return (struct span){ buf, (size_t)n };
}

static struct span first_half(struct span s)
{
	return (struct span){ s.ptr, s.len / 2 };
}

static struct span second_half(struct span s)
{
	return (struct span){ s.ptr + s.len / 2, s.len - s.len / 2 };
}

/* A message goes out in one segment and is answered */
static void talk(struct dial *dial)
{
	dial_say(dial, 0, request("OPTIONS", CALLING));
	dial_say(dial, 1, answer(CALLING_OUT));
	dial_ack(dial, 0);
}

static unsigned int connections(void)
{
	return HASH_CNT(by_lan, all->by_lan);
}

/* Those that cannot go on without us */
static unsigned int changed(void)
{
	struct connection *c;
	unsigned int n;

	DL_COUNT(all->list[CONNECTION_CHANGED], c, n);
	return n;
}

static bool find_entry(const struct dial *dial, struct nat_entry *entry)
{
	return !simnat_ops.find(&st->sim, &dial->end[0].t, NAT_SIDE_LAN, entry);
}

/* ---- packets ---- */

static void test_messages(void **state)
{
	struct nat_entry entry;

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	/* RFC 6691: what messages grow by must fit */
	assert_int_equal(d->end[0].mss, DIAL_MSS - STREAM_CLAMP);
	assert_int_equal(d->end[1].mss, DIAL_MSS - STREAM_CLAMP);
	assert_int_equal(changed(), 0);
	dial_say(d, 0, request("OPTIONS", CALLING));
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	assert_true(span_eq(dial_got(d, 1), request("OPTIONS", CALLING_OUT)));
	assert_int_equal(changed(), 1);
	dial_say(d, 1, answer(CALLING_OUT));
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	assert_true(span_eq(dial_got(d, 0), answer(CALLING)));
	/* Each end is acknowledged what it has sent, not what arrived */
	assert_int_equal(d->end[0].told, d->end[0].seq);
	dial_ack(d, 0);
	assert_int_equal(st->d.reason, COUNTER_tcp_segments);
	assert_int_equal(d->end[1].told, d->end[1].seq);
	assert_int_equal(d->end[0].own + d->end[1].own, 0);
	assert_true(find_entry(d, &entry) && entry.tcp_liberal);
	assert_int_equal(stage_count(st, COUNTER_tcp_connections), 1);
	assert_int_equal(stage_count(st, COUNTER_tcp_changed), 1);
}

/* Several in a segment count one by one; the last is the packet's reason */
static void test_many_in_one(void **state)
{
	static char text[8192];
	size_t len = 0;

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	for (int i = 0; i < 3; i++) {
		struct span m = i == 2 ? answer("192.0.2.1:5060")
				       : request("OPTIONS", CALLING);

		memcpy(text + len, m.ptr, m.len);
		len += m.len;
	}
	memcpy(text + len, "\r\n\r\n", 4);
	dial_say(d, 0, (struct span){ text, len + 4 });
	assert_int_equal(st->d.reason, COUNTER_keepalive);
	assert_int_equal(stage_count(st, COUNTER_rewritten), 2);
	assert_int_equal(stage_count(st, COUNTER_nothing_ours), 1);
	assert_true(dial_has(d, 1, "\r\n\r\n\r\n\r\n"));
}

static const struct {
	const char *phone, *server, *public_end;
} families[] = {
	{ CALLING, SERVER, CALLING_OUT },
	{ "[fd00:1::10]:40000", "[2001:db8::5]:5060", "[2001:db8:1::1]:40000" },
};

/* Half a message waits here, acknowledged in the other end's name */
static void test_held(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct span m = request("OPTIONS", families[i].phone);
		uint64_t own = stage_count(st, COUNTER_tcp_own_packets);

		d = &dials[i];
		dial_open(d, st, families[i].phone, families[i].server);
		dial_say(d, 0, first_half(m));
		assert_int_equal(st->d.reason, COUNTER_tcp_segments);
		assert_int_equal(d->end[1].len, 0);
		/* dial_sent() has seen its addresses and sums */
		assert_int_equal(d->end[0].own, 1);
		assert_int_equal(d->end[0].told, d->end[0].seq);
		assert_int_equal(d->end[0].ttl, 63);
		assert_int_equal(stage_count(st, COUNTER_tcp_own_packets),
				 own + 1);
		dial_say(d, 0, second_half(m));
		assert_int_equal(st->d.reason, COUNTER_rewritten);
		assert_true(
			span_eq(dial_got(d, 1),
				request("OPTIONS", families[i].public_end)));
		assert_int_equal(d->end[1].own, 0);
	}
	d = &dials[0];
}

/* What does not fit any more goes by a packet of our own, as NAT would have
 * made it; what is not acknowledged is sent again
 */
static void test_own_packets(void **state)
{
	static char text[2048], want[2048];
	size_t at, wanted;

	(void)state;
	st->conf.gateway.advertised_address = stage_addr("198.151.100.200");
	dial_open(d, st, "192.168.1.9:40000", SERVER);
	at = (size_t)sprintf(text, "OPTIONS sip:x SIP/2.0\r\nContact: ");
	wanted = (size_t)sprintf(want, "%s", text);
	for (int i = 0; i < 60; i++) {
		const char *comma = i ? "," : "";

		at += (size_t)sprintf(text + at, "%s<sip:192.168.1.9:40000>",
				      comma);
		wanted += (size_t)sprintf(
			want + wanted, "%s<sip:198.151.100.200:40000>", comma);
	}
	strcpy(text + at, "\r\nl: 0\r\n\r\n");
	strcpy(want + wanted, "\r\nl: 0\r\n\r\n");
	dial_say(d, 0, (struct span){ text, 1000 });
	dial_say(d, 0, span_from_str(text + 1000));
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	assert_true(span_eq(dial_got(d, 1), span_from_str(want)));
	assert_int_equal(d->end[1].own, 1);
	assert_true(strlen(want) > DIAL_MSS);
	stage_wait(st, 1);
	assert_in_range(d->end[1].own, 2, 4);
	dial_ack(d, 1);
	at = d->end[1].own;
	stage_wait(st, 60);
	assert_int_equal(d->end[1].own, at);
	assert_int_equal(connections_wait_ms(all, st->now_ms), -1);
}

/* sip.dscp: from the SYN on, packets of our own too; where there is no SIP the
 * class is none of our business
 */
static void test_class(void **state)
{
	struct span m = request("OPTIONS", CALLING);

	(void)state;
	st->conf.sip.dscp = 24;
	dial_open(d, st, CALLING, SERVER);
	assert_int_equal(d->end[0].dscp, 24);
	assert_int_equal(d->end[1].dscp, 24);
	dial_say(d, 0, first_half(m)); /* held, and acknowledged by us */
	stage_wait(st, 1);
	dial_say(d, 0, first_half(second_half(m)));
	stage_wait(st, 1);
	dial_say(d, 0, second_half(second_half(m)));
	assert_int_equal(d->end[1].dscp, 24);
	stage_wait(st, 5); /* nobody acknowledges: it is repeated */
	assert_true(d->end[1].own > 0);
	assert_int_equal(d->end[1].dscp, 24);
	d = &dials[1];
	dial_open(d, st, PHONE, SERVER);
	dial_say(d, 0, SPAN("\x16\x03\x01 is how TLS begins, a client hello"));
	assert_int_equal(st->d.reason, COUNTER_not_sip);
	assert_int_equal(d->end[1].dscp, 0);
	dial_ack(d, 1);
	assert_int_equal(d->end[0].dscp, 0);
	d = &dials[0];
}

/* Its end passes, and what remains of it is forgotten in a minute */
static void test_end(void **state)
{
	struct bindings *b = &st->alg->bindings;

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	talk(d);
	assert_non_null(flow_find(b, &d->end[0].t, NAT_SIDE_LAN));
	assert_int_equal(HASH_CNT(by_inside, b->by_inside), 1);
	dial_close(d);
	assert_true(d->end[0].ended && d->end[1].ended);
	assert_int_equal(connections(), 1);
	assert_int_equal(changed(), 0);
	stage_wait(st, 200);
	assert_int_equal(connections(), 0);
	assert_null(flow_find(b, &d->end[0].t, NAT_SIDE_LAN));
	/* Nobody else knows the port that it had */
	assert_int_equal(HASH_CNT(by_inside, b->by_inside), 0);
	assert_int_equal(all->memory.used, 0);
}

/* A message that is not finished goes with the end of the stream */
static void test_end_within(void **state)
{
	struct span m = request("OPTIONS", CALLING);

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	dial_say(d, 0, first_half(m));
	dial_finish(d, 0);
	assert_true(d->end[1].ended);
	assert_true(span_eq(dial_got(d, 1), first_half(m)));
}

/* Conntrack would not take a reset with other numbers: we send it, and end the
 * entry
 */
static void test_reset(void **state)
{
	struct nat_entry entry;

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	dial_reset(d, 0);
	assert_null(st->d.data);
	assert_true(d->end[1].reset && !d->end[1].own);
	d = &dials[1];
	dial_open(d, st, "192.168.1.10:40001", SERVER);
	dial_say(d, 0, request("OPTIONS", "192.168.1.10:40001"));
	dial_ack(d, 1);
	dial_reset(d, 1);
	assert_true(st->d.drop);
	assert_true(d->end[0].reset && d->end[0].own == 1);
	assert_false(find_entry(d, &entry));
	assert_int_equal(stage_count(st, COUNTER_tcp_resets), 1);
	/* Who still sends learns of it */
	dial_ack(d, 0);
	assert_true(st->d.drop && d->end[0].own == 2);
	d = &dials[0];
}

/* An end that answers no more: both are reset at last */
static void test_given_up(void **state)
{
	struct nat_entry entry;

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	dial_say(d, 0, request("OPTIONS", CALLING));
	stage_wait(st, 600);
	assert_true(d->end[0].reset && d->end[1].reset);
	assert_false(find_entry(d, &entry));
	assert_int_equal(stage_count(st, COUNTER_tcp_given_up), 1);
	assert_int_equal(connections(), 0);
}

/* Options that cannot be read: in a connection with shifted numbers the packet
 * must not pass as it is
 */
static void test_bad_options(void **state)
{
	const struct span bad = SPAN("\x05\x01\x01\x01");

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	dial_send(d, 0, TH_ACK, d->end[0].seq, bad, SPAN("x"));
	assert_int_equal(st->d.reason, COUNTER_bad_packet);
	assert_false(st->d.drop);
	assert_true(dial_has(d, 1, "x"));
	d->end[0].seq++;
	d = &dials[1];
	dial_open(d, st, "192.168.1.10:40001", SERVER);
	dial_say(d, 0, request("OPTIONS", "192.168.1.10:40001"));
	dial_send(d, 0, TH_ACK, d->end[0].seq, bad, SPAN("x"));
	assert_int_equal(st->d.reason, COUNTER_bad_packet);
	assert_true(st->d.drop);
	d = &dials[0];
}

/* Where its pointer would lie is not known once lengths have changed; the bytes
 * are there. SIP has none.
 */
static void test_urgent(void **state)
{
	struct span m = request("OPTIONS", CALLING);

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	dial_send(d, 0, TH_URG | TH_ACK, d->end[0].seq, (struct span){ 0 }, m);
	d->end[0].seq += (uint32_t)m.len;
	assert_true(span_eq(dial_got(d, 1), request("OPTIONS", CALLING_OUT)));
	assert_int_equal(d->end[1].flags & TH_URG, 0);
	/* In a connection that was not changed all stays */
	dial_open(&dials[1], st, "192.168.1.10:40001", SERVER);
	dial_send(&dials[1], 0, TH_URG | TH_ACK, dials[1].end[0].seq,
		  (struct span){ 0 }, SPAN("?"));
	assert_int_equal(dials[1].end[1].flags, TH_URG | TH_ACK);
}

/* Both ends dial: RFC 9293 3.5, figure 7; RFC 5382 REQ-2 */
static void test_simultaneous(void **state)
{
	(void)state;
	dial_init(d, st, PHONE, SERVER);
	dial_syn(d);
	dial_send(d, 1, TH_SYN, d->end[1].seq, DIAL_OPTIONS,
		  (struct span){ 0 });
	for (int i = 0; i < 2; i++)
		dial_send(d, i, TH_SYN | TH_ACK, d->end[i].seq++, DIAL_OPTIONS,
			  (struct span){ 0 });
	dial_say(d, 0, request("OPTIONS", PHONE));
	assert_true(span_eq(dial_got(d, 1), request("OPTIONS", PUBLIC)));
	dial_say(d, 1, answer(PUBLIC));
	assert_true(span_eq(dial_got(d, 0), answer(PHONE)));
	assert_int_equal(connections(), 1);
}

/* ---- the same ports again ---- */

static void test_same_ports_again(void **state)
{
	(void)state;
	dial_open(d, st, CALLING, SERVER);
	talk(d);
	dial_close(d);
	d = &dials[1];
	dial_init(d, st, CALLING, SERVER);
	d->end[0].seq = 77;
	d->end[1].seq = 1234567;
	dial_syn(d);
	dial_answer(d);
	talk(d);
	assert_int_equal(st->d.reason, COUNTER_tcp_segments);
	assert_true(span_eq(dial_got(d, 1), request("OPTIONS", CALLING_OUT)));
	assert_true(span_eq(dial_got(d, 0), answer(CALLING)));
	assert_int_equal(connections(), 1);
	assert_int_equal(stage_count(st, COUNTER_tcp_connections), 2);
	assert_int_equal(changed(), 1);
	d = &dials[0];
}

/* A SYN that is repeated, and an answer that is */
static void test_repeated_handshake(void **state)
{
	(void)state;
	dial_init(d, st, CALLING, SERVER);
	dial_syn(d);
	dial_syn(d);
	dial_answer(d);
	dial_send(d, 1, TH_SYN | TH_ACK, d->end[1].seq - 1, DIAL_OPTIONS,
		  (struct span){ 0 });
	assert_int_equal(connections(), 1);
	talk(d);
	assert_true(span_eq(dial_got(d, 1), request("OPTIONS", CALLING_OUT)));
	assert_int_equal(stage_count(st, COUNTER_tcp_connections), 1);
}

/* What NAT made of a SYN may be another thing for the next one, and a place
 * that an older connection had
 */
static void test_attach(void **state)
{
	struct tuple wan[2], lan[2];
	struct connection *c[2];
	int from;

	(void)state;
	dial_init(d, st, CALLING, SERVER);
	for (int i = 0; i < 2; i++) {
		lan[i] = d->end[0].t;
		lan[i].src.port = (uint16_t)(40000 + i);
		wan[i] = tuple_reverse(&d->end[0].t);
		wan[i].dst = stage_end(i ? "203.0.113.1:41111" : CALLING_OUT);
		c[i] = connection_open(all, &lan[i], st->now_ms);
		assert_non_null(c[i]);
	}
	assert_null(connection_find(all, &wan[0], NAT_SIDE_WAN, &from));
	assert_true(connection_attach(all, c[0], &wan[0]));
	assert_true(connection_attach(all, c[0], &wan[0]));
	assert_ptr_equal(connection_find(all, &wan[0], NAT_SIDE_WAN, &from),
			 c[0]);
	assert_int_equal(from, 1);
	assert_ptr_equal(connection_find(all, &lan[0], NAT_SIDE_LAN, &from),
			 c[0]);
	assert_int_equal(from, 0);
	/* Only on its own wire */
	assert_null(connection_find(all, &lan[0], NAT_SIDE_WAN, &from));
	assert_true(connection_attach(all, c[0], &wan[1]));
	assert_null(connection_find(all, &wan[0], NAT_SIDE_WAN, &from));
	assert_true(connection_attach(all, c[1], &wan[1]));
	assert_int_equal(connections(), 1);
	assert_ptr_equal(connection_find(all, &wan[1], NAT_SIDE_WAN, &from),
			 c[1]);
	assert_null(connection_find(all, &lan[0], NAT_SIDE_LAN, &from));
}

/* ---- hairpins ---- */

/* From one inside host to the public endpoint of another: RFC 5382 REQ-8 */
static void test_hairpin(void **state)
{
	struct bindings *b = &st->alg->bindings;
	struct addr public_addr = stage_addr(PUBLIC_ADDR);
	struct endpoint other = stage_end(OTHER);
	unsigned int flows;
	char text[64];

	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	talk_register(st, OTHER, "203.0.113.1:5061", 600);
	flows = HASH_CNT(by_lan, b->by_lan);
	dial_open(d, st, CALLING, "203.0.113.1:5061");
	assert_true(endpoint_eq(&d->end[1].t.src, &other));
	assert_true(addr_eq(&d->end[1].t.dst.addr, &public_addr));
	snprintf(text, sizeof(text), "203.0.113.1:%u", d->end[1].t.dst.port);
	dial_say(d, 0, request("OPTIONS", CALLING));
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	assert_true(span_eq(dial_got(d, 1), request("OPTIONS", text)));
	dial_say(d, 1, first_half(answer(text)));
	/* Held: acknowledged in the name of the caller's public end */
	assert_int_equal(d->end[1].own, 1);
	assert_int_equal(d->end[0].len, 0);
	dial_say(d, 1, second_half(answer(text)));
	assert_true(span_eq(dial_got(d, 0), answer(CALLING)));
	dial_ack(d, 0);
	assert_int_equal(HASH_CNT(by_lan, b->by_lan), flows + 2);
	dial_close(d);
	stage_wait(st, 200);
	assert_int_equal(connections(), 0);
	assert_int_equal(HASH_CNT(by_lan, b->by_lan), flows);
}

/* ---- too many, too much, too long ---- */

static void test_eviction(void **state)
{
	char phone[32];

	(void)state;
	st->conf.limits.flows = 4;
	for (int i = 0; i < 5; i++) {
		snprintf(phone, sizeof(phone), "192.168.1.10:%d", 40000 + i);
		dial_open(&dials[i], st, phone, SERVER);
		if (i < 2)
			dial_say(&dials[i], 0, request("OPTIONS", phone));
	}
	/* The third: those before it cannot go on without us */
	assert_int_equal(connections(), 4);
	assert_int_equal(stage_count(st, COUNTER_tcp_evicted), 1);
	dial_say(&dials[2], 0, request("OPTIONS", "192.168.1.10:40002"));
	assert_int_equal(st->d.reason, COUNTER_not_for_us);
	assert_true(span_eq(dial_got(&dials[2], 1),
			    request("OPTIONS", "192.168.1.10:40002")));
	for (int i = 0; i < 5; i++) {
		if (i == 2)
			continue;
		snprintf(phone, sizeof(phone), "192.168.1.10:%d", 40000 + i);
		dial_say(&dials[i], 0, request("OPTIONS", phone));
		assert_int_equal(st->d.reason, COUNTER_rewritten);
	}
	/* No room at all: it passes as it is */
	dial_open(&dials[5], st, "192.168.1.10:40005", SERVER);
	assert_int_equal(dials[5].end[1].mss, DIAL_MSS);
	assert_int_equal(connections(), 4);
	assert_int_equal(stage_count(st, COUNTER_tcp_evicted), 1);
	/* One that is over can go */
	dial_ack(&dials[0], 1);
	dial_close(&dials[0]);
	dial_open(&dials[6], st, "192.168.1.10:40006", SERVER);
	assert_int_equal(dials[6].end[1].mss, DIAL_MSS - STREAM_CLAMP);
	assert_int_equal(stage_count(st, COUNTER_tcp_evicted), 2);
}

/* SYNs that nobody answers displace each other, not those that are in use */
static void test_flood(void **state)
{
	char phone[32];

	(void)state;
	st->conf.limits.flows = 4;
	dial_open(d, st, CALLING, SERVER);
	for (int i = 0; i < 20; i++) {
		snprintf(phone, sizeof(phone), "192.168.1.66:%d", 40000 + i);
		dial_init(&dials[1], st, phone, SERVER);
		dial_syn(&dials[1]);
	}
	assert_int_equal(connections(), 4);
	dial_say(d, 0, request("OPTIONS", CALLING));
	assert_int_equal(st->d.reason, COUNTER_rewritten);
}

/* Half messages must not take the memory from whole ones */
static void test_relief(void **state)
{
	struct span m = request("OPTIONS", CALLING);

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	dial_say(d, 0, first_half(m));
	assert_int_equal(d->end[1].len, 0);
	all->memory.used += (size_t)48 << 20;
	dial_open(&dials[1], st, "192.168.1.10:40001", SERVER);
	assert_int_equal(stage_count(st, COUNTER_tcp_no_memory), 1);
	dial_say(d, 0, second_half(m));
	assert_true(span_eq(dial_got(d, 1), m));
	/* That is for ever; the other one is read */
	dial_say(d, 0, m);
	assert_int_equal(d->end[1].len, 2 * m.len);
	assert_int_equal(st->d.reason, COUNTER_tcp_segments);
	dial_say(&dials[1], 0, request("OPTIONS", "192.168.1.10:40001"));
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	all->memory.used -= (size_t)48 << 20;
}

/* A SYN that nobody answers is forgotten as conntrack does, from whichever port
 */
static void test_unanswered(void **state)
{
	(void)state;
	dial_init(d, st, CALLING, SERVER);
	dial_syn(d);
	dial_init(&dials[1], st, PHONE, SERVER);
	dial_syn(&dials[1]);
	assert_int_equal(connections(), 2);
	stage_wait(st, 100);
	assert_int_equal(connections(), 2);
	stage_wait(st, 63);
	assert_int_equal(connections(), 0);
}

/* ... and a connection on which nothing is said */
static void test_idle(void **state)
{
	(void)state;
	dial_open(d, st, CALLING, SERVER);
	dial_open(&dials[1], st, PHONE, SERVER);
	stage_wait(st, 431990);
	assert_int_equal(connections(), 2);
	stage_wait(st, 80);
	assert_int_equal(connections(), 0);
}

/* Conntrack does not see changed data acknowledged, and would drop its entry
 * soon: nf_conntrack_tcp_timeout_unacknowledged
 */
static void test_kept_in_the_kernel(void **state)
{
	struct nat_entry entry;

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	stage_wait(st, 100);
	assert_int_equal(st->sim.calls[SIMNAT_REFRESH], 0);
	talk(d);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(
			simnat_ops.refresh(&st->sim, &d->end[0].t, 300), 0);
		stage_wait(st, 100);
	}
	assert_true(find_entry(d, &entry));
	assert_in_range(entry.timeout_s, 431000, 432000);
	talk(d);
	assert_true(dial_has(d, 1, request("OPTIONS", CALLING_OUT).ptr));
}

/* Where the kernel has dropped its entry, or has another now, a changed
 * connection cannot go on
 */
static void test_entry_gone(void **state)
{
	static const char *const phones[] = { CALLING, "192.168.1.10:40001",
					      "192.168.1.10:40002" };
	struct nat_entry entry;

	(void)state;
	for (int i = 0; i < 3; i++) {
		d = &dials[i];
		dial_open(d, st, phones[i], SERVER);
		dial_say(d, 0, request("OPTIONS", CALLING));
		if (i == 0)
			dial_ack(d, 1);
		assert_true(find_entry(d, &entry));
		assert_int_equal(simnat_ops.remove(&st->sim, &entry.lan), 0);
		entry.wan.dst.port = 41234;
		if (i == 2)
			assert_int_equal(simnat_ops.create(&st->sim, &entry),
					 0);
		/* At once where something is to be repeated */
		stage_wait(st, i ? 2 : 30);
		assert_true(d->end[0].reset && d->end[1].reset);
	}
	d = &dials[0];
}

/* What a connection does not need between messages is given back */
static void test_rest(void **state)
{
	struct span m = request("OPTIONS", CALLING);

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	dial_say(d, 0, first_half(m));
	assert_true(all->memory.used > 0);
	dial_say(d, 0, second_half(m));
	assert_true(all->memory.used > 0);
	dial_ack(d, 1);
	stage_wait(st, 30);
	assert_int_equal(all->memory.used, 0);
	dial_say(d, 0, m);
	assert_int_equal(st->d.reason, COUNTER_rewritten);
}

/* ---- modes ---- */

static void set_mode(enum conf_mode mode)
{
	st->conf.gateway.mode = mode;
	alg_configure(st->alg, &st->conf);
}

static void test_bypass(void **state)
{
	struct span m = request("OPTIONS", CALLING);

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	dial_open(&dials[1], st, "192.168.1.10:40001", SERVER);
	dial_say(d, 0, m);
	set_mode(CONF_MODE_BYPASS);
	/* This one was not changed: it goes on without us, also later */
	dial_say(&dials[1], 0, m);
	assert_int_equal(st->d.reason, COUNTER_bypassed);
	assert_null(st->d.data);
	assert_int_equal(connections(), 1);
	/* That one cannot; but its messages pass */
	dial_say(d, 0, m);
	assert_int_equal(st->d.reason, COUNTER_bypassed);
	assert_int_equal(d->end[1].len,
			 request("OPTIONS", CALLING_OUT).len + m.len);
	assert_true(dial_has(d, 1, m.ptr));
	dial_open(&dials[2], st, "192.168.1.10:40002", SERVER);
	assert_int_equal(dials[2].end[1].mss, DIAL_MSS);
	set_mode(CONF_MODE_ACTIVE);
	dial_say(&dials[1], 0, m);
	assert_int_equal(st->d.reason, COUNTER_not_for_us);
	dial_say(d, 0, m);
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	assert_true(dial_has(d, 1, request("OPTIONS", CALLING_OUT).ptr));
}

/* gateway.mode = observe: what would be done is told, and no packet changes */
static void test_observe(void **state)
{
	struct span m = request("OPTIONS", CALLING);
	struct nat_entry entry;

	(void)state;
	set_mode(CONF_MODE_OBSERVE);
	dial_open(d, st, CALLING, SERVER);
	assert_int_equal(d->end[0].mss, DIAL_MSS);
	assert_int_equal(d->end[1].mss, DIAL_MSS);
	dial_say(d, 0, m);
	assert_int_equal(st->d.reason, COUNTER_observed);
	assert_null(st->d.data);
	dial_say(d, 1, answer(CALLING_OUT));
	assert_int_equal(st->d.reason, COUNTER_observed);
	assert_null(st->d.data);
	dial_say(d, 0, first_half(m));
	assert_int_equal(d->end[1].len, m.len + m.len / 2);
	dial_say(d, 0, second_half(m));
	assert_int_equal(st->d.reason, COUNTER_observed);
	assert_int_equal(d->end[1].len, 2 * m.len);
	dial_open(&dials[1], st, PHONE, SERVER);
	dial_close(d);
	assert_int_equal(d->end[0].own + d->end[1].own, 0);
	assert_true(find_entry(d, &entry) && !entry.tcp_liberal);
	for (int i = SIMNAT_CREATE; i <= SIMNAT_SEND; i++)
		assert_int_equal(st->sim.calls[i], 0);
	assert_int_equal(stage_count(st, COUNTER_tcp_changed), 0);
	stage_wait(st, 200);
	assert_int_equal(connections(), 1);
}

/* From one mode to the other, in the middle of a message too */
static void test_observe_then_active(void **state)
{
	struct span m = request("OPTIONS", CALLING);

	(void)state;
	set_mode(CONF_MODE_OBSERVE);
	dial_open(d, st, CALLING, SERVER);
	dial_say(d, 0, first_half(m));
	set_mode(CONF_MODE_ACTIVE);
	dial_say(d, 0, second_half(m));
	assert_true(span_eq(dial_got(d, 1), m));
	dial_say(d, 0, m);
	assert_true(dial_has(d, 1, request("OPTIONS", CALLING_OUT).ptr));
	/* What was changed is carried to its end */
	set_mode(CONF_MODE_OBSERVE);
	dial_say(d, 0, m);
	assert_int_equal(st->d.reason, COUNTER_observed);
	assert_true(dial_has(d, 1, m.ptr));
	dial_ack(d, 1);
	assert_int_equal(d->end[0].told, d->end[0].seq);
	dial_reset(d, 0);
	assert_true(d->end[1].reset && d->end[1].own);
}

static void test_stop(void **state)
{
	struct nat_entry entry;

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	talk(d);
	dial_open(&dials[1], st, "192.168.1.10:40001", SERVER);
	dial_say(&dials[1], 0, answer("192.0.2.1:5060"));
	dial_open(&dials[2], st, "192.168.1.10:40002", SERVER);
	dial_say(&dials[2], 0, first_half(answer("192.0.2.1:5060")));
	alg_stop(st->alg, st->now_ms);
	for (int i = 0; i < 2; i++) {
		assert_true(d->end[i].reset && d->end[i].own == 1);
		/* Nothing was changed in this one */
		assert_false(dials[1].end[i].reset);
		assert_int_equal(dials[1].end[i].own, 0);
		/* What was acknowledged in the second can only come here */
		assert_true(dials[2].end[i].reset);
	}
	assert_false(find_entry(d, &entry));
	assert_true(find_entry(&dials[1], &entry));
}

/* ---- older than the program ---- */

static void adopt(const char *phone, const char *public_end, bool liberal)
{
	struct nat_entry entry = { .timeout_s = 432000,
				   .answered = true,
				   .tcp_liberal = liberal };

	entry.lan = (struct tuple){ .src = stage_end(phone),
				    .dst = stage_end(SERVER),
				    .proto = IPPROTO_TCP };
	entry.wan = tuple_reverse(&entry.lan);
	entry.wan.dst = stage_end(public_end);
	entry.tcp_wscale[0] = entry.tcp_wscale[1] = 2;
	assert_int_equal(simnat_ops.create(&st->sim, &entry), 0);
	alg_adopt(st->alg, &entry, st->now_ms);
}

static void resume(struct dial *dial, const char *phone, const char *public_end)
{
	dial_init(dial, st, phone, SERVER);
	all->offline = true; /* else it would be left alone */
	adopt(phone, public_end, false);
	all->offline = false;
	dial->end[1].t = tuple_reverse(&dial->end[0].t);
	dial->end[1].t.dst = stage_end(public_end);
	for (int i = 0; i < 2; i++)
		dial->end[i].ack = dial->end[!i].seq;
	/* Both are heard, and have said nothing that would be missing */
	dial_ack(dial, 1);
	dial_ack(dial, 0);
	assert_int_equal(st->d.reason, COUNTER_tcp_segments);
}

static void test_adopted(void **state)
{
	struct span m = request("OPTIONS", CALLING);

	(void)state;
	resume(d, CALLING, "203.0.113.1:40123");
	dial_say(d, 0, m);
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	assert_true(span_eq(dial_got(d, 1),
			    request("OPTIONS", "203.0.113.1:40123")));
	dial_ack(d, 1);
	dial_say(d, 1, answer("203.0.113.1:40123"));
	assert_true(span_eq(dial_got(d, 0), answer(CALLING)));
	dial_ack(d, 0);
	dial_close(d);
	stage_wait(st, 200);
	assert_int_equal(connections(), 0);
	assert_int_equal(stage_count(st, COUNTER_tcp_connections), 1);
}

/* In the middle of something: where the next message begins is not known */
static void test_adopted_within(void **state)
{
	struct span m = request("OPTIONS", CALLING);

	(void)state;
	resume(d, CALLING, CALLING_OUT);
	dial_say(d, 0, second_half(m));
	assert_int_equal(st->d.reason, COUNTER_not_sip);
	dial_ack(d, 1);
	dial_say(d, 0, m);
	assert_int_equal(st->d.reason, COUNTER_tcp_segments);
	assert_null(st->d.data);
	assert_true(dial_has(d, 1, m.ptr));
	assert_int_equal(changed(), 0);
}

static void test_left_alone(void **state)
{
	(void)state;
	dial_init(d, st, CALLING, SERVER);
	adopt(CALLING, CALLING_OUT, false);
	assert_int_equal(connections(), 0);
	dial_say(d, 0, request("OPTIONS", CALLING));
	assert_int_equal(st->d.reason, COUNTER_not_for_us);
	assert_null(st->d.data);
	assert_false(st->d.drop);
}

/* A former self has changed it, and knew by how much */
static void test_left_behind(void **state)
{
	(void)state;
	dial_init(d, st, CALLING, SERVER);
	adopt(CALLING, CALLING_OUT, true);
	d->end[1].t = tuple_reverse(&d->end[0].t);
	d->end[1].t.dst = stage_end(CALLING_OUT);
	/* However long it takes: who sends nothing cannot know */
	for (int i = 0; i < 2; i++) {
		stage_wait(st, 4000);
		d->end[i].ack = d->end[!i].seq;
		dial_say(d, i, SPAN("more"));
		assert_true(st->d.drop);
		assert_true(d->end[i].reset);
		assert_true(d->end[i].ttl > 32);
	}
	/* Until the kernel has forgotten it, too */
	simnat_ops.remove(&st->sim, &d->end[0].t);
	stage_wait(st, 200);
	assert_int_equal(connections(), 0);
}

/* ---- failures ---- */

static void test_refusals(void **state)
{
	(void)state;
	dial_open(d, st, CALLING, SERVER);
	simnat_fail(&st->sim, SIMNAT_SET_LIBERAL, 0, 1, -EPERM);
	simnat_fail(&st->sim, SIMNAT_SEND, 0, 1, -EPERM);
	dial_say(d, 0, first_half(request("OPTIONS", CALLING)));
	assert_int_equal(stage_count(st, COUNTER_conntrack_errors), 1);
	assert_int_equal(stage_count(st, COUNTER_tcp_send_errors), 1);
	assert_int_equal(d->end[0].own, 0);
	/* It is repeated, and acknowledged then */
	dial_again(d, 0, first_half(request("OPTIONS", CALLING)));
	assert_int_equal(d->end[0].own, 1);
	dial_say(d, 0, second_half(request("OPTIONS", CALLING)));
	assert_true(span_eq(dial_got(d, 1), request("OPTIONS", CALLING_OUT)));
}

/* In two segments, and once more if it was not acknowledged */
static void say(struct dial *dial, int from, struct span m)
{
	dial_say(dial, from, first_half(m));
	dial_say(dial, from, second_half(m));
	dial_ack(dial, !from);
	if (dial->end[from].told == dial->end[from].seq)
		return;
	dial_again(dial, from, m);
	dial_ack(dial, !from);
}

static void scenario(void)
{
	dial_open(d, st, CALLING, SERVER);
	say(d, 0, request("REGISTER", CALLING));
	say(d, 1, answer(CALLING_OUT));
	dial_open(&dials[1], st, PHONE, SERVER);
	dial_say(&dials[1], 0, request("OPTIONS", PHONE));
	dial_ack(&dials[1], 1);
	dial_close(d);
	dial_close(&dials[1]);
	stage_wait(st, 600);
}

/* Every allocation fails once: nothing breaks, nothing leaks, nothing stays */
static void test_no_memory(void **state)
{
	unsigned int count;

	(void)state;
	allocations = 0;
	scenario();
	count = allocations;
	assert_in_range(count, 10, 100);
	for (unsigned int n = 1; n <= count; n++) {
		stage_close(st);
		start();
		allocations = 0;
		fail_at = n;
		scenario();
		fail_at = 0;
		assert_int_equal(all->memory.used, 0);
		/* One that nobody knew of does not end */
		if (connections())
			fail_msg("allocation %u: %u left", n, connections());
		assert_int_equal(changed(), 0);
		/* and it works again */
		dial_open(&dials[2], st, "192.168.1.10:40002", SERVER);
		dial_say(&dials[2], 0, request("OPTIONS", CALLING));
		assert_int_equal(st->d.reason, COUNTER_rewritten);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_messages),
		TEST(test_many_in_one),
		TEST(test_held),
		TEST(test_own_packets),
		TEST(test_class),
		TEST(test_end),
		TEST(test_end_within),
		TEST(test_reset),
		TEST(test_given_up),
		TEST(test_bad_options),
		TEST(test_urgent),
		TEST(test_simultaneous),
		TEST(test_same_ports_again),
		TEST(test_repeated_handshake),
		TEST(test_attach),
		TEST(test_hairpin),
		TEST(test_eviction),
		TEST(test_flood),
		TEST(test_relief),
		TEST(test_unanswered),
		TEST(test_idle),
		TEST(test_kept_in_the_kernel),
		TEST(test_entry_gone),
		TEST(test_rest),
		TEST(test_bypass),
		TEST(test_observe),
		TEST(test_observe_then_active),
		TEST(test_stop),
		TEST(test_adopted),
		TEST(test_adopted_within),
		TEST(test_left_alone),
		TEST(test_left_behind),
		TEST(test_refusals),
		TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
