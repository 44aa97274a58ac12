/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Single packets through tcp/stream; test_stream_model.c has whole connections.
 * Numbers count from the first byte of each end, which is 0.
 */
#include "tcp/stream.h"

#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PRIVATE "10.1.1.7"
#define PUBLIC "203.0.113.4"
/* What it grows by */
#define MORE (sizeof(PUBLIC) - sizeof(PRIVATE))
#define WINDOW 8000
#define MSS 1460

/* The private address becomes another text; NULL: the message is dropped */
static const char *instead;
static const uint32_t isn[2] = { 0xffffff00u, 0x40000000u };

static struct stream s;
static struct tcp_memory memory;
static struct message msg;
static struct stream_env env;
static struct segment out;
static unsigned int noted[16], messages;
static char result[80000];

/* Packets of our own, in order */
static struct own {
	int from;
	struct segment seg;
	char data[MSS];
} own[300];
static unsigned int owns, taken;

static struct span on_message(void *ctx, int from, const struct message *m)
{
	const char *at = span_find(m->whole, SPAN(PRIVATE));
	int n;

	(void)ctx;
	(void)from;
	messages++;
	if (!instead)
		return (struct span){ 0 };
	if (!at)
		return m->whole;
	n = snprintf(result, sizeof(result), "%.*s%s%.*s",
		     (int)(at - m->whole.ptr), m->whole.ptr, instead,
		     (int)(span_end(m->whole) - at) - (int)strlen(PRIVATE),
		     at + strlen(PRIVATE));
	return (struct span){ result, (size_t)n };
}

static void on_note(void *ctx, int from, enum stream_note note,
		    enum message_status status)
{
	(void)ctx;
	(void)from;
	noted[note]++;
	if (note == STREAM_BROKEN)
		assert_int_not_equal(status, MESSAGE_OK);
}

static void on_send(void *ctx, int from, const struct segment *seg)
{
	struct own *o = &own[owns++];

	(void)ctx;
	assert_true(owns < sizeof(own) / sizeof(*own));
	assert_true(seg->data.len <= MSS);
	o->from = from;
	o->seg = *seg;
	if (seg->data.len)
		memcpy(o->data, seg->data.ptr, seg->data.len);
	o->seg.data.ptr = o->data;
}

static const struct stream_ops ops = { on_message, on_note, on_send };

/* ---- packets ---- */

static enum stream_verdict give(int from, struct segment in)
{
	enum stream_verdict verdict;

	memset(&out, 0xaa, sizeof(out));
	verdict = stream_segment(&s, &env, from, &in, &out);
	assert_true(memory.used <= memory.limit);
	return verdict;
}

/* From end @from: @text from @seq on; it has @ack bytes of the other one */
static struct segment say(int from, size_t seq, size_t ack, const char *text)
{
	return (struct segment){
		.seq = isn[from] + 1 + (uint32_t)seq,
		.ack = isn[!from] + 1 + (uint32_t)ack,
		.flags = TH_ACK | (*text ? TH_PUSH : 0),
		.window = WINDOW,
		.data = span_from_str(text),
	};
}

static void check_segment(const struct segment *seg, int from, size_t seq,
			  size_t ack, const char *text)
{
	assert_int_equal(seg->seq - isn[from] - 1, (uint32_t)seq);
	assert_int_equal(seg->ack - isn[!from] - 1, (uint32_t)ack);
	assert_int_equal(seg->data.len, strlen(text));
	if (*text)
		assert_memory_equal(seg->data.ptr, text, strlen(text));
}

/* The next packet of our own */
static void expect_own(int from, size_t seq, size_t ack, const char *text)
{
	assert_true(taken < owns);
	assert_int_equal(own[taken].from, from);
	check_segment(&own[taken].seg, from, seq, ack, text);
	taken++;
}

static void expect_no_own(void)
{
	assert_int_equal(taken, owns);
}

/* A packet comes and leaves like that */
#define REPLACED(from, in, seq, ack, text)                                     \
	do {                                                                   \
		assert_int_equal(give(from, in), STREAM_REPLACE);              \
		check_segment(&out, from, seq, ack, text);                     \
	} while (0)

#define PASSED(from, in) assert_int_equal(give(from, in), STREAM_PASS)
#define DROPPED(from, in) assert_int_equal(give(from, in), STREAM_DROP)

static struct segment syn(int from, bool answer)
{
	struct segment in = { .seq = isn[from],
			      .flags = TH_SYN,
			      .window = WINDOW,
			      .mss = MSS,
			      .sack_ok = true };

	if (answer) {
		in.flags |= TH_ACK;
		in.ack = isn[!from] + 1;
	}
	return in;
}

/* A connection: end 0 has begun it */
static void open_connection(void)
{
	assert_int_equal(give(0, syn(0, false)), STREAM_REPLACE);
	assert_int_equal(out.mss, MSS - STREAM_CLAMP);
	assert_int_equal(give(1, syn(1, true)), STREAM_REPLACE);
	PASSED(0, say(0, 0, 0, ""));
}

static int set_up_closed(void **state)
{
	(void)state;
	memset(noted, 0, sizeof(noted));
	owns = taken = messages = 0;
	instead = PUBLIC;
	memory = (struct tcp_memory){ .limit = 1 << 20 };
	env = (struct stream_env){ .ops = &ops,
				   .memory = &memory,
				   .msg = &msg,
				   .max_message = 65535,
				   .now_ms = 10000 };
	stream_init(&s);
	return 0;
}

static int set_up(void **state)
{
	set_up_closed(state);
	open_connection();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	expect_no_own();
	stream_free(&s, &memory);
	assert_int_equal(memory.used, 0);
	return 0;
}

static void wait(void)
{
	uint64_t due = stream_due_ms(&s);

	assert_true(due >= env.now_ms);
	env.now_ms = due;
	stream_timeout(&s, &env);
}

/* ---- messages ---- */

#define REQUEST(address)                                                       \
	"MESSAGE sip:a SIP/2.0\r\nVia: SIP/2.0/TCP " address                   \
	"\r\nContent-Length: 2\r\n\r\nhi"
#define PLAIN "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"
#define LEN(text) (sizeof(text) - 1)

static char big[70000];

/* A request of that many bytes in all, in @big */
static const char *request_of(size_t len)
{
	int n = sprintf(big,
			"MESSAGE sip:a SIP/2.0\r\nVia: SIP/2.0/TCP " PRIVATE
			"\r\nl: %05zu\r\n\r\n",
			(size_t)0);

	sprintf(big,
		"MESSAGE sip:a SIP/2.0\r\nVia: SIP/2.0/TCP " PRIVATE
		"\r\nl: %05zu\r\n\r\n",
		len - (size_t)n);
	for (size_t i = (size_t)n; i < len; i++)
		big[i] = (char)('a' + i % 26);
	big[len] = 0;
	return big;
}

/* ---- the common case ---- */

static void test_nothing_to_change(void **state)
{
	(void)state;
	PASSED(0, say(0, 0, 0, PLAIN));
	PASSED(1, say(1, 0, LEN(PLAIN), PLAIN PLAIN));
	PASSED(0, say(0, LEN(PLAIN), 2 * LEN(PLAIN), ""));
	assert_false(s.changed);
	assert_int_equal(messages, 3);
	assert_int_equal(stream_due_ms(&s), 0);
}

static void test_whole_message(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE)), more = n + MORE;

	(void)state;
	REPLACED(0, say(0, 0, 0, REQUEST(PRIVATE)), 0, 0, REQUEST(PUBLIC));
	assert_true(out.flags & TH_PUSH);
	assert_int_equal(noted[STREAM_CHANGED], 1);
	assert_true(stream_due_ms(&s) > env.now_ms);
	/* The acknowledgement is the other end's; so is the answer */
	REPLACED(1, say(1, 0, more, ""), 0, n, "");
	assert_int_equal(out.window, WINDOW);
	assert_int_equal(stream_due_ms(&s), 0);
	REPLACED(1, say(1, 0, more, PLAIN), 0, n, PLAIN);
	REPLACED(0, say(0, n, LEN(PLAIN), ""), more, LEN(PLAIN), "");
	/* And on, with what has been added so far */
	REPLACED(0, say(0, n, LEN(PLAIN), REQUEST(PRIVATE)), more, LEN(PLAIN),
		 REQUEST(PUBLIC));
}

static void test_twenty_in_one(void **state)
{
	char in[3000] = "", want[3000] = "";

	(void)state;
	s.half[0].out.mss = 3000;
	for (int i = 0; i < 20; i++) {
		strcat(in, REQUEST(PRIVATE));
		strcat(want, REQUEST(PUBLIC));
	}
	REPLACED(0, say(0, 0, 0, in), 0, 0, want);
	assert_int_equal(messages, 20);
}

static void test_shrinking(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE));

	(void)state;
	instead = "a.b";
	REPLACED(0, say(0, 0, 0, REQUEST(PRIVATE)), 0, 0, REQUEST("a.b"));
	REPLACED(1, say(1, 0, LEN(REQUEST("a.b")), ""), 0, n, "");
	REPLACED(0, say(0, n, 0, PLAIN), LEN(REQUEST("a.b")), 0, PLAIN);
}

/* The receiver has nothing to acknowledge: we do */
static void test_dropped(void **state)
{
	(void)state;
	instead = NULL;
	DROPPED(0, say(0, 0, 0, PLAIN));
	expect_own(1, 0, LEN(PLAIN), "");
	instead = PUBLIC;
	REPLACED(0, say(0, LEN(PLAIN), 0, PLAIN), 0, 0, PLAIN);
}

/* What it grew by does not fit into the segment */
static void test_spill_over(void **state)
{
	const char *in = request_of(MSS);
	struct segment first = say(0, 0, 0, in);

	(void)state;
	assert_int_equal(give(0, first), STREAM_REPLACE);
	assert_int_equal(out.data.len, MORE);
	assert_int_equal(out.seq - isn[0] - 1, MSS);
	assert_int_equal(owns, 1);
	assert_int_equal(own[0].seg.data.len, MSS);
	assert_int_equal(own[0].seg.seq - isn[0] - 1, 0);
	assert_false(own[0].seg.flags & TH_PUSH);
	assert_true(out.flags & TH_PUSH);
	taken = 1;
	REPLACED(1, say(1, 0, MSS + MORE, ""), 0, MSS, "");
}

/* ---- messages that are cut ---- */

static void test_cut(void **state)
{
	const char *text = REQUEST(PRIVATE);
	size_t n = LEN(REQUEST(PRIVATE));
	struct segment in = say(0, 0, 0, text);

	(void)state;
	in.data.len = 30;
	DROPPED(0, in);
	/* Its sender may wait for that (Nagle) */
	expect_own(1, 0, 30, "");
	assert_true(stream_holds(&s));
	DROPPED(0, in); /* repeated: told once more */
	expect_own(1, 0, 30, "");
	/* Whatever the other end says acknowledges it */
	REPLACED(1, say(1, 0, 0, PLAIN), 0, 30, PLAIN);
	REPLACED(0, say(0, 30, LEN(PLAIN), text + 30), 0, LEN(PLAIN),
		 REQUEST(PUBLIC));
	assert_false(stream_holds(&s));
	REPLACED(1, say(1, LEN(PLAIN), n + MORE, ""), LEN(PLAIN), n, "");
}

static void test_out_of_order(void **state)
{
	const char *text = REQUEST(PRIVATE);
	struct segment in = say(0, 0, 0, text);

	(void)state;
	in.data.len = 40;
	DROPPED(0, say(0, 40, 0, text + 40));
	expect_own(1, 0, 0, "");
	assert_int_equal(own[0].seg.sacks, 1);
	assert_int_equal(own[0].seg.sack[0].first, isn[0] + 41);
	assert_int_equal(own[0].seg.sack[0].end,
			 isn[0] + 1 + LEN(REQUEST(PRIVATE)));
	REPLACED(0, in, 0, 0, REQUEST(PUBLIC));
}

/* Nobody has agreed to SACK */
static void test_no_sack(void **state)
{
	struct segment in = syn(0, false);

	(void)state;
	in.sack_ok = false;
	give(0, in);
	give(1, syn(1, true));
	DROPPED(0, say(0, 40, 0, "x"));
	expect_own(1, 0, 0, "");
	assert_int_equal(own[0].seg.sacks, 0);
}

static void test_long_cut_message(void **state)
{
	size_t at = 0, len = 20000;
	const char *in = request_of(len);
	char want[21000];

	(void)state;
	strcpy(want, in);
	sprintf(want, "%.*s" PUBLIC "%s", (int)(strstr(in, PRIVATE) - in), in,
		strstr(in, PRIVATE) + strlen(PRIVATE));
	s.half[0].out.edge = s.half[0].out.una + 60000;
	for (; at < len; at += 1396) {
		struct segment seg = say(0, at, 0, in + at);

		if (seg.data.len > 1396)
			seg.data.len = 1396;
		give(0, seg);
	}
	/* All but the last piece were acknowledged as they came */
	for (taken = 0; taken < 14; taken++)
		assert_int_equal(own[taken].seg.data.len, 0);
	at = 0;
	/* The first flight: ten segments (RFC 6928), the last in the packet */
	for (; taken < owns && own[taken].from == 0; taken++) {
		assert_memory_equal(own[taken].seg.data.ptr, want + at,
				    own[taken].seg.data.len);
		at += own[taken].seg.data.len;
	}
	assert_int_equal(at, 9 * MSS);
	assert_memory_equal(out.data.ptr, want + at, out.data.len);
	at += out.data.len;
	/* The rest is late, so its sender is told */
	expect_own(1, 0, len, "");
	/* An acknowledgement of all lets the rest go */
	give(1, say(1, 0, at, ""));
	for (; taken < owns; taken++) {
		assert_memory_equal(own[taken].seg.data.ptr, want + at,
				    own[taken].seg.data.len);
		at += own[taken].seg.data.len;
	}
	assert_int_equal(at, len + MORE);
}

static void test_keep_alives_between(void **state)
{
	(void)state;
	PASSED(0, say(0, 0, 0, "\r\n\r\n"));
	PASSED(1, say(1, 0, 4, "\r\n"));
	assert_int_equal(noted[STREAM_BLANK], 2);
	REPLACED(0, say(0, 4, 2, "\r\n" REQUEST(PRIVATE)), 4, 2,
		 "\r\n" REQUEST(PUBLIC));
	REPLACED(0, say(0, 6 + LEN(REQUEST(PRIVATE)), 2, "\r\n\r\n"),
		 6 + LEN(REQUEST(PUBLIC)), 2, "\r\n\r\n");
}

/* Longer than wanted: as it is, and the next one is read */
static void test_too_long(void **state)
{
	const char *in = request_of(3000);
	struct segment seg = say(0, 0, 0, in);

	(void)state;
	env.max_message = 1000;
	seg.data.len = 1000;
	PASSED(0, seg);
	assert_int_equal(noted[STREAM_LONG], 1);
	seg = say(0, 1000, 0, in + 1000);
	seg.data.len = 1000;
	PASSED(0, seg);
	strcpy(big + 3000, REQUEST(PRIVATE));
	assert_int_equal(give(0, say(0, 2000, 0, big + 2000)), STREAM_REPLACE);
	assert_int_equal(messages, 1);
	assert_int_equal(out.data.len, 1000 + LEN(REQUEST(PUBLIC)));
	assert_memory_equal(out.data.ptr + 1000, REQUEST(PUBLIC),
			    LEN(REQUEST(PUBLIC)));
}

/* ---- other data ---- */

static void test_alien_at_once(void **state)
{
	(void)state;
	PASSED(0, say(0, 0, 0, "\x16\x03\x01 hello"));
	assert_int_equal(noted[STREAM_ALIEN], 1);
	/* For good, and for both */
	PASSED(0, say(0, 9, 0, REQUEST(PRIVATE)));
	PASSED(1, say(1, 0, 9, REQUEST(PRIVATE)));
	PASSED(0, say(0, 500, 0, "INV"));
	assert_int_equal(messages, 0);
	assert_false(s.changed);
	assert_int_equal(memory.used, 0);
}

/* It looks like a start line at first, so it was held and acknowledged */
static void test_alien_cut(void **state)
{
	(void)state;
	DROPPED(0, say(0, 0, 0, "GET "));
	expect_own(1, 0, 4, "");
	REPLACED(0, say(0, 4, 0, "/index"), 0, 0, "GET /index");
	assert_int_equal(noted[STREAM_ALIEN], 1);
	/* Until it has arrived, it is ours to deliver */
	wait();
	expect_own(0, 0, 0, "GET /index");
	REPLACED(1, say(1, 0, 10, ""), 0, 10, "");
	REPLACED(1, say(1, 0, 10, REQUEST(PRIVATE)), 0, 10, REQUEST(PRIVATE));
	REPLACED(0, say(0, 10, LEN(REQUEST(PRIVATE)), " HTTP"), 10,
		 LEN(REQUEST(PRIVATE)), " HTTP");
	assert_int_equal(stream_due_ms(&s), 0);
	assert_int_equal(messages, 0);
}

/* The numbers stay shifted by what was put in before */
static void test_alien_later(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE)), more = n + MORE;
	struct segment in;

	(void)state;
	REPLACED(0, say(0, 0, 0, REQUEST(PRIVATE)), 0, 0, REQUEST(PUBLIC));
	REPLACED(0, say(0, n, 0, "\x01\x02"), more, 0, "\x01\x02");
	REPLACED(1, say(1, 0, more + 2, PLAIN), 0, n + 2, PLAIN);
	REPLACED(0, say(0, n + 2, LEN(PLAIN), "abc"), more + 2, LEN(PLAIN),
		 "abc");
	REPLACED(1, say(1, LEN(PLAIN), more + 5, ""), LEN(PLAIN), n + 5, "");
	/* Selective acknowledgements, too */
	in = say(1, LEN(PLAIN), more + 5, "");
	in.sacks = 1;
	in.sack[0] = (struct range){ isn[0] + 1 + (uint32_t)more + 10,
				     isn[0] + 1 + (uint32_t)more + 20 };
	REPLACED(1, in, LEN(PLAIN), n + 5, "");
	assert_int_equal(out.sacks, 1);
	assert_int_equal(out.sack[0].first - isn[0] - 1, n + 10);
	assert_int_equal(out.sack[0].end - isn[0] - 1, n + 20);
	/* A keep-alive goes to the one whom it asks */
	REPLACED(0, say(0, n + 4, LEN(PLAIN), ""), more + 4, LEN(PLAIN), "");
	/* What is repeated from before is cut */
	in = say(0, n, LEN(PLAIN), "12345fgh");
	REPLACED(0, in, more + 5, LEN(PLAIN), "fgh");
	expect_no_own();
	assert_int_equal(stream_due_ms(&s), 0);
}

static void test_broken(void **state)
{
	(void)state;
	PASSED(0, say(0, 0, 0, "BYE sip:a SIP/2.0\r\nl: 1x\r\n\r\n"));
	assert_int_equal(noted[STREAM_BROKEN], 1);
	PASSED(0, say(0, 28, 0, REQUEST(PRIVATE)));
	assert_int_equal(messages, 0);
}

/* What waited in the other direction goes on, too */
static void test_alien_while_other_waits(void **state)
{
	(void)state;
	DROPPED(1, say(1, 0, 0, "SIP/2.0 20"));
	expect_own(0, 0, 10, "");
	REPLACED(0, say(0, 0, 0, "\x80"), 0, 10, "\x80");
	expect_own(1, 0, 1, "SIP/2.0 20");
}

/* ---- the end ---- */

static struct segment fin(int from, size_t seq, size_t ack, const char *text)
{
	struct segment in = say(from, seq, ack, text);

	in.flags |= TH_FIN;
	return in;
}

static void test_fin(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE)), more = n + MORE;

	(void)state;
	REPLACED(0, fin(0, 0, 0, REQUEST(PRIVATE)), 0, 0, REQUEST(PUBLIC));
	assert_true(out.flags & TH_FIN);
	REPLACED(1, say(1, 0, more + 1, PLAIN), 0, n + 1, PLAIN);
	/* Half closed, one side goes on */
	REPLACED(0, say(0, n + 1, LEN(PLAIN), ""), more + 1, LEN(PLAIN), "");
	assert_false(stream_is_over(&s));
	REPLACED(1, fin(1, LEN(PLAIN), more + 1, ""), LEN(PLAIN), n + 1, "");
	assert_true(out.flags & TH_FIN);
	assert_false(stream_is_over(&s));
	REPLACED(0, say(0, n + 1, LEN(PLAIN) + 1, ""), more + 1, LEN(PLAIN) + 1,
		 "");
	assert_true(stream_is_over(&s));
	assert_int_equal(stream_due_ms(&s), 0);
}

static void test_fin_unchanged(void **state)
{
	(void)state;
	PASSED(0, fin(0, 0, 0, PLAIN));
	PASSED(1, fin(1, 0, LEN(PLAIN) + 1, ""));
	assert_false(stream_is_over(&s));
	PASSED(0, say(0, LEN(PLAIN) + 1, 1, ""));
	assert_true(stream_is_over(&s));
}

/* Half a message will never be whole */
static void test_fin_in_message(void **state)
{
	(void)state;
	DROPPED(0, say(0, 0, 0, "BYE sip:a SI"));
	expect_own(1, 0, 12, "");
	REPLACED(0, fin(0, 12, 0, "P/2"), 0, 0, "BYE sip:a SIP/2");
	assert_true(out.flags & TH_FIN);
	wait();
	expect_own(0, 0, 0, "BYE sip:a SIP/2");
	assert_true(own[taken - 1].seg.flags & TH_FIN);
	REPLACED(1, say(1, 0, 16, ""), 0, 16, "");
	assert_int_equal(stream_due_ms(&s), 0);
}

static struct segment rst(int from, size_t seq)
{
	struct segment in = say(from, seq, 0, "");

	in.flags = TH_RST;
	in.ack = 0;
	return in;
}

static void test_reset_unchanged(void **state)
{
	(void)state;
	PASSED(0, rst(0, 0));
}

static void test_reset(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE)), more = n + MORE;

	(void)state;
	give(0, say(0, 0, 0, REQUEST(PRIVATE)));
	/* Not exact: its receiver shall ask (RFC 5961) */
	assert_int_equal(give(0, rst(0, n + 3)), STREAM_REPLACE);
	assert_int_equal(out.seq - isn[0] - 1, more + 3);
	assert_int_equal(out.flags, TH_RST);
	assert_false(s.closed);
	/* It is */
	DROPPED(0, rst(0, n));
	assert_int_equal(noted[STREAM_RESET], 1);
	assert_int_equal(owns, 1);
	assert_int_equal(own[0].from, 0);
	assert_true(own[0].seg.flags & TH_RST);
	assert_int_equal(own[0].seg.seq - isn[0] - 1, more);
	taken = 1;
	assert_true(stream_is_over(&s));
	assert_int_equal(memory.used, 0);
	/* Who has not heard of it is told */
	DROPPED(1, say(1, 0, more, PLAIN));
	assert_int_equal(own[1].from, 0);
	assert_true(own[1].seg.flags & TH_RST);
	assert_int_equal(own[1].seg.seq - isn[0] - 1, more);
	taken = 2;
	/* The kernel has seen it end */
	DROPPED(1, rst(1, 0));
	DROPPED(0, rst(0, n));
	/* But end 1 may never have heard that it began: it answers its SYN */
	PASSED(0, rst(0, 0));
}

/* Its ports again, and this time nobody is there: who asks is told */
static void test_refused_in_its_place(void **state)
{
	struct segment in = syn(0, false), no = { .flags = TH_RST | TH_ACK };

	(void)state;
	give(0, say(0, 0, 0, REQUEST(PRIVATE)));
	DROPPED(0, rst(0, LEN(REQUEST(PRIVATE))));
	taken = owns;
	in.seq += 100000;
	assert_int_equal(give(0, in), STREAM_REPLACE);
	no.ack = in.seq;
	DROPPED(1, no);
	no.ack = in.seq + 1;
	PASSED(1, no);
}

static void test_abort(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE)), more = n + MORE;

	(void)state;
	stream_abort(&s, &env); /* as it is, it can do without us */
	assert_int_equal(owns, 0);
	give(0, say(0, 0, 0, REQUEST(PRIVATE)));
	stream_abort(&s, &env);
	assert_int_equal(owns, 2);
	for (taken = 0; taken < 2; taken++) {
		const struct segment *seg = &own[taken].seg;
		int from = own[taken].from;

		assert_true(seg->flags & TH_RST);
		assert_int_equal(seg->seq - isn[from] - 1, from ? 0 : more);
	}
	assert_int_not_equal(own[0].from, own[1].from);
	assert_int_equal(noted[STREAM_RESET], 1);
	assert_int_equal(memory.used, 0);
	stream_abort(&s, &env);
}

/* ---- losses ---- */

static void test_repeat(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE)), more = n + MORE;

	(void)state;
	REPLACED(0, say(0, 0, 0, REQUEST(PRIVATE)), 0, 0, REQUEST(PUBLIC));
	/* By its sender, who has heard nothing */
	REPLACED(0, say(0, 0, 0, REQUEST(PRIVATE)), 0, 0, REQUEST(PUBLIC));
	/* By us, if he does not */
	wait();
	expect_own(0, 0, 0, REQUEST(PUBLIC));
	give(1, say(1, 0, more, ""));
	/* The acknowledgement was lost: one of ours is enough */
	DROPPED(0, say(0, 0, 0, REQUEST(PRIVATE)));
	expect_own(1, 0, n, "");
	assert_int_equal(messages, 1);
}

static void test_giving_up(void **state)
{
	int n = 0;

	(void)state;
	give(0, say(0, 0, 0, REQUEST(PRIVATE)));
	while (!noted[STREAM_GIVEN_UP]) {
		assert_true(n++ < 100);
		wait();
	}
	assert_true(owns > 10);
	assert_true(own[owns - 1].seg.flags & own[owns - 2].seg.flags & TH_RST);
	taken = owns;
	assert_true(stream_is_over(&s));
}

/* Duplicates of an acknowledgement are about our packets, not its */
static void test_duplicates_stay_here(void **state)
{
	char text[4 * LEN(REQUEST(PRIVATE)) + 1] = "";
	size_t n = LEN(REQUEST(PRIVATE));

	(void)state;
	for (int i = 0; i < 4; i++) {
		strcpy(text, REQUEST(PRIVATE));
		give(0, say(0, n * (size_t)i, 0, text));
	}
	for (int i = 0; i < 2; i++)
		give(1, say(1, 0, 0, ""));
	DROPPED(1, say(1, 0, 0, ""));
	expect_own(0, 0, 0, REQUEST(PUBLIC));
}

/* ---- windows ---- */

static void test_closed_window(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE)), more = n + MORE;
	struct segment closed = say(1, 0, 0, "");

	(void)state;
	give(0, say(0, 0, 0, REQUEST(PRIVATE)));
	closed = say(1, 0, more, "");
	closed.window = 0;
	give(1, closed);
	/* Its sender has been offered more, so it may send */
	DROPPED(0, say(0, n, 0, REQUEST(PRIVATE)));
	expect_own(1, 0, 2 * n, "");
	/* It is told no less than before, but no more */
	assert_true(own[0].seg.window + 2 * n <= WINDOW + MORE + n);
	/* A probe of ours: one byte (RFC 9293 3.8.6.1) */
	wait();
	expect_own(0, more, 0, "M");
	/* It opens */
	closed = say(1, 0, more, "");
	closed.seq++;
	closed.seq--;
	closed.window = 5000;
	give(1, closed);
	expect_own(0, more, 0, "M");
	expect_own(0, more + 1, 0, &REQUEST(PUBLIC)[1]);
	give(1, say(1, 0, 2 * more, ""));
}

/* No more is kept than so much, whatever the receiver offers */
static void test_window_clamp(void **state)
{
	struct segment in = syn(0, false);
	size_t at = 0;

	(void)state;
	in.scaled = true;
	in.wscale = 10;
	give(0, in);
	in = syn(1, true);
	in.scaled = true;
	in.wscale = 10;
	give(1, in);
	request_of(65000);
	for (; at < 64000; at += 1000) {
		in = say(0, at, 0, big + at);
		in.data.len = 1000;
		in.window = 60000;
		give(0, in);
	}
	in = say(1, 0, 0, PLAIN);
	in.window = 60000;
	assert_int_equal(give(1, in), STREAM_REPLACE);
	assert_int_equal(out.ack - isn[0] - 1, 64000);
	assert_true(((size_t)out.window << 10) + 64000 <= RECEIVER_CAP + 1024);
	assert_true(memory.used <= 2 * RECEIVER_CAP);
	taken = owns;
}

/* One that does not keep to its window gets nowhere */
static void test_greedy(void **state)
{
	struct segment closed;
	size_t n = LEN(REQUEST(PRIVATE)), at = n;

	(void)state;
	memory.limit = 64 << 20;
	give(0, say(0, 0, 0, REQUEST(PRIVATE)));
	closed = say(1, 0, n + MORE, "");
	closed.window = 0;
	give(1, closed);
	request_of(1300);
	for (int i = 0; i < 5000; i++) {
		owns = taken = 0;
		give(0, say(0, at, 0, big));
		at = s.half[0].in.next - isn[0] - 1;
	}
	assert_true(sender_waiting(&s.half[0].out) < 3 * RECEIVER_CAP);
	assert_true(memory.used < 8 * RECEIVER_CAP);
	owns = taken = 0;
}

/* ---- probes ---- */

static void test_keep_alive_probe(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE)), more = n + MORE;

	(void)state;
	PASSED(0, say(0, -1ul, 0, ""));
	give(0, say(0, 0, 0, REQUEST(PRIVATE)));
	/* Under way: we answer */
	REPLACED(0, say(0, n - 1, 0, ""), more, 0, "");
	expect_own(1, 0, n, "");
	give(1, say(1, 0, more, ""));
	/* Nothing is: it asks the other end */
	REPLACED(0, say(0, n - 1, 0, ""), more - 1, 0, "");
	REPLACED(1, say(1, 0, more, ""), 0, n, "");
	REPLACED(0, say(0, n - 1, 0, "x"), more - 1, 0, "x");
	REPLACED(1, say(1, 0, more, ""), 0, n, "");
	assert_int_equal(messages, 1);
}

/* ---- SYNs ---- */

static void test_clamp(void **state)
{
	struct segment in = syn(0, false);

	(void)state;
	assert_int_equal(give(0, in), STREAM_REPLACE);
	assert_int_equal(out.mss, MSS - STREAM_CLAMP);
	assert_int_equal(out.seq, in.seq);
	assert_int_equal(out.flags, TH_SYN);
	in.mss = 0; /* no option */
	PASSED(0, in);
	in.mss = 540; /* not much is left */
	PASSED(0, in);
	env.dry = true;
	PASSED(0, syn(0, false));
}

static void test_syn_again(void **state)
{
	(void)state;
	give(0, syn(0, false));
	give(0, syn(0, false));
	give(1, syn(1, true));
	give(1, syn(1, true));
	REPLACED(0, say(0, 0, 0, REQUEST(PRIVATE)), 0, 0, REQUEST(PUBLIC));
	/* Late: it begins nothing */
	give(1, syn(1, true));
	REPLACED(1, say(1, 0, LEN(REQUEST(PUBLIC)), ""), 0,
		 LEN(REQUEST(PRIVATE)), "");
}

static void test_ports_again(void **state)
{
	struct segment in;

	(void)state;
	PASSED(0, say(0, 0, 0, PLAIN));
	DROPPED(0, say(0, LEN(PLAIN), 0, "INV"));
	taken = owns;
	/* Both are gone without a word, and one begins anew */
	for (int i = 0; i < 2; i++) {
		in = syn(i, i);
		in.seq += 1000000;
		in.ack += 1000000;
		assert_int_equal(give(i, in), STREAM_REPLACE);
	}
	/* Until both have said so it may be forged */
	assert_true(stream_holds(&s));
	in = say(0, 1000000, 1000000, "");
	PASSED(0, in);
	assert_false(s.changed);
	in = say(0, 1000000, 1000000, REQUEST(PRIVATE));
	REPLACED(0, in, 1000000, 1000000, REQUEST(PUBLIC));
}

/* Neither is touched that lives */
static void test_forged_syns(void **state)
{
	struct segment in;

	(void)state;
	DROPPED(0, say(0, 0, 0, "INV"));
	taken = owns;
	for (int i = 0; i < 2; i++) {
		in = syn(i, i);
		in.seq += 1000000;
		in.ack += 1000000;
		give(i, in);
	}
	give(0, say(0, 3, 0, "ITE sip:a SIP/2.0\r\n\r\n"));
	check_segment(&out, 0, 0, 0, "INVITE sip:a SIP/2.0\r\n\r\n");
}

/* Data that was taken before both had agreed is out of our hands: RFC 7413 */
static void test_fast_open(void **state)
{
	struct segment in = syn(0, false);

	(void)state;
	in.data = SPAN("INVITE");
	assert_int_equal(give(0, in), STREAM_REPLACE);
	in = syn(1, true);
	in.ack += 6;
	give(1, in);
	PASSED(0, say(0, 6, 0, " sip:a SIP/2.0\r\n\r\n"));
	assert_int_equal(messages, 0);
	/* Not taken: it comes again */
	stream_init(&s);
	in = syn(0, false);
	in.data = SPAN("INVITE");
	give(0, in);
	give(1, syn(1, true));
	PASSED(0, say(0, 0, 0, "INVITE sip:a SIP/2.0\r\n\r\n"));
	assert_int_equal(messages, 1);
}

static void test_sealed(void **state)
{
	struct segment in = syn(0, false);

	(void)state;
	in.sealed = true;
	PASSED(0, in);
	give(1, syn(1, true));
	PASSED(0, say(0, 0, 0, REQUEST(PRIVATE)));
	assert_int_equal(messages, 0);
	/* The next connection with these ports is not */
	give(0, syn(0, false));
	in = syn(1, true);
	in.seq += 5;
	give(1, in);
	in = say(0, 0, 5, REQUEST(PRIVATE));
	assert_int_equal(give(0, in), STREAM_REPLACE);
	taken = owns;
}

static void test_sealed_later(void **state)
{
	struct segment in = say(0, LEN(PLAIN), 0, REQUEST(PRIVATE));

	(void)state;
	PASSED(0, say(0, 0, 0, PLAIN));
	in.sealed = true;
	PASSED(0, in);
	assert_int_equal(messages, 1);
	assert_int_equal(memory.used, 0);
}

/* ---- what no end can mean ---- */

static void test_forged(void **state)
{
	struct segment in;

	(void)state;
	DROPPED(0, say(0, 0, 0, "INV"));
	taken = owns;
	in = say(0, 3, 0, "EST");
	in.flags = TH_PUSH; /* RFC 9293 3.10.7.4, fifth */
	DROPPED(0, in);
	DROPPED(0, say(0, 4, 70000, "ST")); /* not sent yet */
	DROPPED(0, say(0, 3, -90000000ul, "EST")); /* RFC 5961 5 */
	DROPPED(0, say(0, 90000000, 0, "EST"));
	give(0, say(0, 3, 0, "ITE sip:a SIP/2.0\r\n\r\n"));
	check_segment(&out, 0, 0, 0, "INVITE sip:a SIP/2.0\r\n\r\n");
	taken = owns;
}

/* Bytes that never came by have been acknowledged */
static void test_unseen(void **state)
{
	(void)state;
	PASSED(0, say(0, 0, 0, PLAIN));
	PASSED(1, say(1, 0, 500, ""));
	assert_int_equal(noted[STREAM_UNSEEN], 1);
	PASSED(0, say(0, 500, 0, REQUEST(PRIVATE)));
	assert_int_equal(messages, 1);
	assert_int_equal(memory.used, 0);
}

/* The same, seen first by what follows: that was held for a loss */
static void test_unseen_behind_a_hole(void **state)
{
	(void)state;
	PASSED(0, say(0, 0, 0, PLAIN));
	PASSED(1, say(1, 0, LEN(PLAIN), ""));
	DROPPED(0, say(0, 500, 0, REQUEST(PRIVATE)));
	expect_own(1, 0, LEN(PLAIN), "");
	assert_true(s.changed);
	DROPPED(1, say(1, 7, 500, "")); /* anybody could have made it */
	REPLACED(1, say(1, 0, 500, ""), 0, 500, "");
	assert_int_equal(noted[STREAM_UNSEEN], 1);
	/* It comes again, and passes */
	REPLACED(0, say(0, 500, 0, REQUEST(PRIVATE)), 500, 0, REQUEST(PRIVATE));
	REPLACED(1, say(1, 0, 500 + LEN(REQUEST(PRIVATE)), ""), 0,
		 500 + LEN(REQUEST(PRIVATE)), "");
	assert_int_equal(messages, 1);
	assert_int_equal(stream_due_ms(&s), 0);
}

/* ---- nothing is to be changed ---- */

static void test_dry(void **state)
{
	(void)state;
	env.dry = true;
	PASSED(0, say(0, 0, 0, "MESSAGE si"));
	PASSED(0, say(0, 10, 0, &REQUEST(PRIVATE)[10]));
	assert_int_equal(messages, 1);
	PASSED(0, say(0, 500, 0, REQUEST(PRIVATE))); /* behind a hole */
	PASSED(1, say(1, 0, 0, REQUEST(PRIVATE)));
	assert_int_equal(messages, 2);
	assert_false(s.changed);
	assert_int_equal(stream_due_ms(&s), 0);
}

static void test_dry_no_more(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE));

	(void)state;
	env.dry = true;
	PASSED(0, say(0, 0, 0, "MESSAGE si"));
	env.dry = false;
	/* Part of it has passed: so does the rest */
	PASSED(0, say(0, 10, 0, &REQUEST(PRIVATE)[10]));
	assert_int_equal(messages, 1);
	REPLACED(0, say(0, n, 0, REQUEST(PRIVATE)), n, 0, REQUEST(PUBLIC));
	/* And back: what is changed is carried on */
	env.dry = true;
	REPLACED(0, say(0, 2 * n, 0, REQUEST(PRIVATE)), 2 * n + MORE, 0,
		 REQUEST(PUBLIC));
}

/* ---- connections that are older ---- */

static void test_picked_up(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE));

	(void)state;
	stream_adopt(&s, (uint8_t[]){ 0, 0 });
	/* It may have passed before; whether anything has is not known */
	PASSED(0, say(0, 0, 0, REQUEST(PRIVATE)));
	PASSED(1, say(1, 0, n, ""));
	PASSED(0, say(0, n, 0, ""));
	REPLACED(0, say(0, n, 0, REQUEST(PRIVATE)), n, 0, REQUEST(PUBLIC));
	REPLACED(1, say(1, 0, 2 * n + MORE, REQUEST(PRIVATE)), 0, 2 * n,
		 REQUEST(PUBLIC));
	assert_int_equal(messages, 2);
}

static void test_not_picked_up(void **state)
{
	(void)state;
	stream_adopt(&s, (uint8_t[]){ 0, 0 });
	PASSED(1, say(1, 0, 0, ""));
	PASSED(0, say(0, 0, 0, ""));
	/* Perhaps how a message goes on */
	PASSED(0, say(0, 0, 0, "SAGE sip:a SIP/2.0\r\nl: 0\r\n\r\n"));
	assert_int_equal(messages, 0);
	PASSED(1, say(1, 0, 28, ""));
	PASSED(0, say(0, 28, 0, ""));
	PASSED(0, say(0, 28, 0, "no message at all"));
	PASSED(1, say(1, 0, 45, ""));
	PASSED(0, say(0, 45, 0, ""));
	PASSED(0, say(0, 45, 0, REQUEST(PRIVATE)));
	assert_int_equal(messages, 0);
}

/* Older bytes are under way when the first change is made */
static void test_elder(void **state)
{
	size_t p = LEN(PLAIN), n = LEN(REQUEST(PRIVATE));

	(void)state;
	PASSED(0, say(0, 0, 0, PLAIN));
	REPLACED(0, say(0, p, 0, REQUEST(PRIVATE)), p, 0, REQUEST(PUBLIC));
	/* They are their sender's to repeat, not acknowledged for it */
	REPLACED(1, say(1, 0, 0, ""), 0, 0, "");
	give(0, say(0, 0, 0, PLAIN));
	expect_own(0, 0, 0, PLAIN);
	REPLACED(1, say(1, 0, p, ""), 0, p + n, "");
	REPLACED(1, say(1, 0, p + n + MORE, PLAIN), 0, p + n, PLAIN);
}

/* ---- timestamps ---- */

static void test_timestamps(void **state)
{
	struct segment in = syn(0, false);

	(void)state;
	in.stamped = true;
	in.ts_val = 0xfffffff0;
	give(0, in);
	in = syn(1, true);
	in.stamped = true;
	in.ts_val = 500;
	in.ts_ecr = 0xfffffff0;
	give(1, in);
	in = say(0, 0, 0, "INV");
	in.stamped = true;
	in.ts_val = 5;
	in.ts_ecr = 500;
	DROPPED(0, in);
	assert_true(own[0].seg.stamped);
	assert_int_equal(own[0].seg.ts_val, 500);
	assert_int_equal(own[0].seg.ts_ecr, 5);
	taken = owns;
	/* One that was overtaken may not say less than was said in its name */
	in = say(0, 3, 0, "ITE sip:a SIP/2.0\r\n\r\n");
	in.stamped = true;
	in.ts_val = 0xfffffff8;
	in.ts_ecr = 500;
	assert_int_equal(give(0, in), STREAM_REPLACE);
	assert_true(out.data.len > 0);
	assert_int_equal(out.ts_val, 5);
	assert_int_equal(out.ts_ecr, 500);
	/* Segments of our own have room for them */
	for (unsigned int i = 0; i < owns; i++)
		assert_true(own[i].seg.data.len <= MSS - 12);
}

/* ---- memory ---- */

static void test_no_memory(void **state)
{
	(void)state;
	memory.limit = 0;
	/* Nothing was changed or acknowledged: all passes from now on */
	PASSED(0, say(0, 0, 0, PLAIN));
	assert_int_equal(noted[STREAM_NO_MEMORY], 1);
	memory.limit = 1 << 20;
	PASSED(0, say(0, LEN(PLAIN), 0, REQUEST(PRIVATE)));
	assert_int_equal(memory.used, 0);
}

static void test_no_memory_to_hold(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE));

	(void)state;
	REPLACED(0, say(0, 0, 0, REQUEST(PRIVATE)), 0, 0, REQUEST(PUBLIC));
	memory.limit = memory.used;
	/* It comes again, when nothing of ours is under way */
	DROPPED(0, say(0, n, 0, "INV"));
	expect_own(1, 0, n, "");
	assert_int_equal(noted[STREAM_NO_MEMORY], 1);
	give(1, say(1, 0, n + MORE, ""));
	REPLACED(0, say(0, n, 0, "INV"), n + MORE, 0, "INV");
	REPLACED(1, say(1, 0, n + MORE + 3, ""), 0, n + 3, "");
}

/* What was acknowledged cannot be delivered */
static void test_no_memory_to_deliver(void **state)
{
	(void)state;
	DROPPED(0, say(0, 0, 0, "INV"));
	expect_own(1, 0, 3, "");
	memory.limit = memory.used;
	DROPPED(0, say(0, 3, 0, "al/"));
	assert_true(s.closed);
	assert_int_equal(noted[STREAM_NO_MEMORY], 1);
	assert_int_equal(noted[STREAM_RESET], 1);
	assert_int_equal(owns, 3);
	assert_true(own[1].seg.flags & own[2].seg.flags & TH_RST);
	taken = owns;
}

static void test_plain_by_order(void **state)
{
	(void)state;
	DROPPED(0, say(0, 0, 0, "INV"));
	expect_own(1, 0, 3, "");
	stream_plain(&s, &env);
	expect_own(0, 0, 0, "INV");
	REPLACED(0, say(0, 3, 0, "ITE"), 3, 0, "ITE");
	REPLACED(1, say(1, 0, 6, ""), 0, 6, "");
}

static void test_rest(void **state)
{
	size_t n = LEN(REQUEST(PRIVATE)), more = n + MORE;

	(void)state;
	give(0, say(0, 0, 0, REQUEST(PRIVATE)));
	stream_rest(&s, &memory);
	assert_true(memory.used > 0);
	give(1, say(1, 0, more, ""));
	stream_rest(&s, &memory);
	assert_int_equal(memory.used, 0);
	REPLACED(0, say(0, n, 0, REQUEST(PRIVATE)), more, 0, REQUEST(PUBLIC));
}

/* ---- numbers that wrap ---- */

/* More than four gigabytes, read and then plain */
static void test_gigabytes(void **state)
{
	const size_t len = 65000;
	size_t in = 0, to = 0;

	(void)state;
	env.max_message = len;
	s.half[0].out.mss = 65535;
	s.half[0].out.cwnd = 1 << 20;
	request_of(len);
	for (int i = 0; i < 70000; i++) {
		struct segment seg = say(0, in, 0, "");

		seg.data = (struct span){ big, len };
		s.half[0].out.edge = s.half[0].out.una + 70000;
		owns = taken = 0;
		if (give(0, seg) != STREAM_REPLACE ||
		    out.data.len + (owns ? own[0].seg.data.len : 0) !=
			    len + MORE)
			fail();
		in += len;
		to += len + MORE;
		if (give(1, say(1, 0, to, "")) != STREAM_REPLACE ||
		    out.ack != isn[0] + 1 + (uint32_t)in)
			fail();
	}
	owns = taken = 0;
	assert_int_equal(messages, 70000);
	REPLACED(0, say(0, in, 0, "\x01"), to, 0, "\x01");
	give(1, say(1, 0, to + 1, ""));
	in++;
	to++;
	for (int i = 0; i < 100; i++) {
		REPLACED(0, say(0, in, 0, "next"), to, 0, "next");
		/* The rest took another way, fast */
		in += 100 << 20;
		to += 100 << 20;
		REPLACED(0, say(0, in, 0, ""), to, 0, "");
		REPLACED(1, say(1, 0, to, ""), 0, in, "");
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_CLOSED(name)                                                      \
	cmocka_unit_test_setup_teardown(name, set_up_closed, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_to_change),
		TEST(test_whole_message),
		TEST(test_twenty_in_one),
		TEST(test_shrinking),
		TEST(test_dropped),
		TEST(test_spill_over),
		TEST(test_cut),
		TEST(test_out_of_order),
		TEST_CLOSED(test_no_sack),
		TEST(test_long_cut_message),
		TEST(test_keep_alives_between),
		TEST(test_too_long),
		TEST(test_alien_at_once),
		TEST(test_alien_cut),
		TEST(test_alien_later),
		TEST(test_broken),
		TEST(test_alien_while_other_waits),
		TEST(test_fin),
		TEST(test_fin_unchanged),
		TEST(test_fin_in_message),
		TEST(test_reset_unchanged),
		TEST(test_reset),
		TEST(test_refused_in_its_place),
		TEST(test_abort),
		TEST(test_repeat),
		TEST(test_giving_up),
		TEST(test_duplicates_stay_here),
		TEST(test_closed_window),
		TEST_CLOSED(test_window_clamp),
		TEST(test_greedy),
		TEST(test_keep_alive_probe),
		TEST_CLOSED(test_clamp),
		TEST_CLOSED(test_syn_again),
		TEST(test_ports_again),
		TEST(test_forged_syns),
		TEST_CLOSED(test_fast_open),
		TEST_CLOSED(test_sealed),
		TEST(test_sealed_later),
		TEST(test_forged),
		TEST(test_unseen),
		TEST(test_unseen_behind_a_hole),
		TEST(test_dry),
		TEST(test_dry_no_more),
		TEST_CLOSED(test_picked_up),
		TEST_CLOSED(test_not_picked_up),
		TEST(test_elder),
		TEST_CLOSED(test_timestamps),
		TEST(test_no_memory),
		TEST(test_no_memory_to_hold),
		TEST(test_no_memory_to_deliver),
		TEST(test_plain_by_order),
		TEST(test_rest),
		TEST(test_gigabytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
