/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls as they go, seen by the entries that the kernel has */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "talk.h"

#define RTP PHONE_ADDR ":4000"
#define RTCP PHONE_ADDR ":4001"
#define FAR_RTP MEDIA_ADDR ":6000"
#define FAR_RTCP MEDIA_ADDR ":6001"
/* Where RTP of port 4000 gets out, the first time */
#define PORT 16384

static struct stage *st;

static int set_up(void **state)
{
	(void)state;
	st = stage_open();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stage_close(st);
	return 0;
}

static const char *mine(int port)
{
	return talk_sdp(PHONE_ADDR, port, "");
}

static const char *theirs(int port)
{
	return talk_sdp(MEDIA_ADDR, port, "");
}

/* RTP both ways, as long as the kernel lets it through */
static void media(void)
{
	stage_send(st, RTP, FAR_RTP, "rtp");
	stage_send(st, FAR_RTP, PUBLIC_ADDR ":16384", "rtp");
}

static void talk_for(unsigned int seconds)
{
	while (seconds--) {
		media();
		stage_wait(st, 1);
	}
}

static void assert_open(void)
{
	assert_int_equal(talk_port(st, RTP, FAR_RTP), PORT);
	assert_int_equal(talk_port(st, RTCP, FAR_RTCP), PORT + 1);
}

static void assert_closed(void)
{
	assert_int_equal(talk_port(st, RTP, FAR_RTP), 0);
	assert_int_equal(talk_port(st, RTCP, FAR_RTCP), 0);
	assert_int_equal(st->alg->media.pinholes, 0);
}

static void call_out(void)
{
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(6000));
	out(st, .method = "ACK");
}

static void bye_out(void)
{
	out(st, .method = "BYE", .cseq = 9);
	in(st, .method = "BYE", .status = 200, .cseq = 9);
}

static void test_outgoing(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	assert_true(talk_has(st, "m=audio 16384 "));
	assert_closed();
	in(st, .method = "INVITE", .status = 100, .remote_tag = "");
	in(st, .method = "INVITE", .status = 180);
	assert_closed();
	in(st, .method = "INVITE", .status = 183, .sdp = theirs(6000));
	assert_open();
	assert_int_equal(st->alg->calls.list->state, CALL_EARLY);
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(6000));
	assert_int_equal(st->alg->calls.list->state, CALL_ACTIVE);
	out(st, .method = "ACK");
	assert_open();
	assert_int_equal(st->alg->media.pinholes, 2);
	talk_for(20);
	bye_out();
	assert_closed();
	assert_int_equal(stage_count(st, COUNTER_calls_started), 1);
	assert_int_equal(stage_count(st, COUNTER_calls_ended), 1);
	assert_int_equal(stage_count(st, COUNTER_calls_lost), 0);
	stage_wait(st, 60);
	assert_null(st->alg->calls.list);
	assert_null(st->alg->media.by_inside);
}

/* Either side may speak first: the entry counts as answered from the start */
static void test_first_packet_from_outside(void **state)
{
	(void)state;
	call_out();
	stage_send(st, FAR_RTP, PUBLIC_ADDR ":16384", "rtp");
	assert_true(endpoint_eq(
		&st->t.dst, &(struct endpoint){ stage_end(RTP).addr, 4000 }));
	/* and from nowhere else */
	stage_send(st, MEDIA_ADDR ":6002", PUBLIC_ADDR ":16384", "rtp");
	assert_int_equal(st->t.dst.port, 16384);
	stage_send(st, "198.51.100.66:6000", PUBLIC_ADDR ":16384", "rtp");
	assert_int_equal(st->t.dst.port, 16384);
}

static void test_incoming(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	in(st, .method = "INVITE", .local_tag = "", .sdp = theirs(6000));
	assert_closed();
	out(st, .method = "INVITE", .status = 180);
	assert_closed();
	/* Open before the answer leaves */
	out(st, .method = "INVITE", .status = 200, .sdp = mine(4000));
	assert_true(talk_has(st, "m=audio 16384 "));
	assert_open();
	in(st, .method = "ACK");
	talk_for(10);
	in(st, .method = "BYE", .cseq = 2);
	assert_open();
	out(st, .method = "BYE", .status = 200, .cseq = 2);
	assert_closed();
}

/* RFC 3261 14, 3264 8.4: hold for an hour without a packet, then on */
static void hold_and_resume(const char *method, const char *sdp)
{
	call_out();
	out(st, .method = method, .cseq = 2, .sdp = sdp);
	in(st, .method = method, .status = 200, .cseq = 2,
	   .sdp = talk_sdp(MEDIA_ADDR, 6000, "a=inactive\r\n"));
	out(st, .method = "ACK", .cseq = 2);
	assert_int_equal(st->alg->calls.list->state, CALL_HELD);
	stage_wait(st, 3600);
	assert_open();
	out(st, .method = "INVITE", .cseq = 3, .sdp = mine(4000));
	assert_true(talk_has(st, "m=audio 16384 "));
	in(st, .method = "INVITE", .status = 200, .cseq = 3,
	   .sdp = theirs(6000));
	assert_int_equal(st->alg->calls.list->state, CALL_ACTIVE);
	assert_open();
	bye_out();
	assert_closed();
}

static void test_hold(void **state)
{
	(void)state;
	hold_and_resume("INVITE", talk_sdp(PHONE_ADDR, 4000, "a=sendonly\r\n"));
}

static void test_hold_by_update(void **state)
{
	(void)state;
	hold_and_resume("UPDATE", talk_sdp(PHONE_ADDR, 4000, "a=inactive\r\n"));
}

static void test_hold_of_the_session(void **state)
{
	(void)state;
	hold_and_resume("INVITE",
			"v=0\r\no=- 1 2 IN IP4 192.168.1.10\r\ns=-\r\n"
			"c=IN IP4 192.168.1.10\r\nt=0 0\r\n"
			"a=inactive\r\nm=audio 4000 RTP/AVP 0\r\n");
}

static void test_hold_by_zero(void **state)
{
	(void)state;
	hold_and_resume("INVITE",
			"v=0\r\no=- 1 2 IN IP4 192.168.1.10\r\ns=-\r\n"
			"c=IN IP4 0.0.0.0\r\nt=0 0\r\n"
			"m=audio 4000 RTP/AVP 0\r\n");
}

/* Each early dialog has its remote; the one that is answered stays */
static void test_forked(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	in(st, .method = "INVITE", .status = 183, .remote_tag = "x",
	   .sdp = theirs(6000));
	in(st, .method = "INVITE", .status = 183, .remote_tag = "y",
	   .sdp = theirs(7000));
	assert_open();
	assert_int_equal(talk_port(st, RTP, MEDIA_ADDR ":7000"), PORT);
	in(st, .method = "INVITE", .status = 200, .remote_tag = "y",
	   .sdp = theirs(7000));
	out(st, .method = "ACK", .remote_tag = "y");
	for (int i = 0; i < 120; i++) {
		stage_send(st, RTP, MEDIA_ADDR ":7000", "rtp");
		stage_wait(st, 1);
	}
	assert_int_equal(talk_port(st, RTP, FAR_RTP), 0);
	assert_int_equal(talk_port(st, RTP, MEDIA_ADDR ":7000"), PORT);
	out(st, .method = "BYE", .cseq = 9, .remote_tag = "y");
	in(st, .method = "BYE", .status = 200, .cseq = 9, .remote_tag = "y");
	assert_closed();
}

/* Two forks are answered; the end of one is not the end of the other */
static void test_two_answers(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	in(st, .method = "INVITE", .status = 200, .remote_tag = "x",
	   .sdp = theirs(6000));
	in(st, .method = "INVITE", .status = 200, .remote_tag = "y",
	   .sdp = theirs(7000));
	out(st, .method = "BYE", .cseq = 2, .remote_tag = "y");
	in(st, .method = "BYE", .status = 200, .cseq = 2, .remote_tag = "y");
	assert_open();
	assert_int_equal(talk_port(st, RTP, MEDIA_ADDR ":7000"), 0);
}

static void test_delayed_offer(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "");
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(6000));
	assert_closed();
	out(st, .method = "ACK", .sdp = mine(4000));
	assert_true(talk_has(st, "m=audio 16384 "));
	assert_open();
	talk_for(300);
	assert_open();
}

/* RFC 3262, 3311: an offer in PRACK, another in UPDATE, before any 2xx */
static void test_prack_and_update(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "");
	in(st, .method = "INVITE", .status = 183, .sdp = theirs(6000));
	out(st, .method = "PRACK", .cseq = 2, .sdp = mine(4000));
	assert_open();
	in(st, .method = "PRACK", .status = 200, .cseq = 2);
	in(st, .method = "UPDATE", .cseq = 1, .sdp = theirs(7000));
	out(st, .method = "UPDATE", .status = 200, .cseq = 1,
	    .sdp = mine(4000));
	assert_true(talk_has(st, "m=audio 16384 "));
	assert_int_equal(talk_port(st, RTP, MEDIA_ADDR ":7000"), PORT);
	assert_int_equal(talk_port(st, RTP, FAR_RTP), 0);
	in(st, .method = "INVITE", .status = 200);
	assert_int_equal(talk_port(st, RTP, MEDIA_ADDR ":7000"), PORT);
}

/* RFC 3261 14.1: until it is answered media goes by the old; and for good, if
 * it fails
 */
static void test_failed_reinvite(void **state)
{
	(void)state;
	call_out();
	out(st, .method = "INVITE", .cseq = 2, .sdp = mine(4100));
	assert_open();
	assert_int_not_equal(talk_port(st, PHONE_ADDR ":4100", FAR_RTP), 0);
	in(st, .method = "INVITE", .status = 488, .cseq = 2);
	out(st, .method = "ACK", .cseq = 2);
	assert_open();
	assert_int_equal(talk_port(st, PHONE_ADDR ":4100", FAR_RTP), 0);
	/* theirs, that we refuse */
	in(st, .method = "INVITE", .cseq = 5, .sdp = theirs(7000));
	assert_open();
	assert_int_equal(talk_port(st, RTP, MEDIA_ADDR ":7000"), PORT);
	out(st, .method = "INVITE", .status = 491, .cseq = 5);
	assert_open();
	assert_int_equal(talk_port(st, RTP, MEDIA_ADDR ":7000"), 0);
	talk_for(10);
	bye_out();
	assert_closed();
}

static void test_reinvite_moves(void **state)
{
	(void)state;
	call_out();
	in(st, .method = "INVITE", .cseq = 5, .sdp = theirs(7000));
	out(st, .method = "INVITE", .status = 200, .cseq = 5,
	    .sdp = mine(4000));
	in(st, .method = "ACK", .cseq = 5);
	/* RFC 3264 8: o= and port unchanged, so the public ones are too */
	assert_int_equal(talk_port(st, RTP, MEDIA_ADDR ":7000"), PORT);
	assert_int_equal(talk_port(st, RTP, FAR_RTP), 0);
}

static void test_bye_with_401(void **state)
{
	(void)state;
	call_out();
	out(st, .method = "BYE", .cseq = 2);
	in(st, .method = "BYE", .status = 401, .cseq = 2);
	assert_open();
	talk_for(100);
	assert_open();
	out(st, .method = "BYE", .cseq = 3);
	in(st, .method = "BYE", .status = 200, .cseq = 3);
	assert_closed();
}

static void test_bye_without_answer(void **state)
{
	(void)state;
	call_out();
	out(st, .method = "BYE", .cseq = 2);
	stage_wait(st, 40);
	assert_closed();
}

/* One with tags of no dialog ends nothing: RFC 3261 15.1.2 */
static void test_bye_of_a_stranger(void **state)
{
	(void)state;
	call_out();
	in(st, .method = "BYE", .remote_tag = "evil", .cseq = 2);
	out(st, .method = "BYE", .status = 481, .remote_tag = "evil",
	    .cseq = 2);
	talk_for(60);
	assert_open();
}

/* Not by what others say, in however right a dialog */
static void test_others_have_no_part(void **state)
{
	static const struct {
		const char *method, *sdp;
		int status;
	} said[] = {
		{ "BYE", NULL, 0 },   { "BYE", NULL, 200 },
		{ "BYE", NULL, 481 }, { "CANCEL", NULL, 0 },
		{ "INVITE", "m", 0 }, { "INVITE", "m", 200 },
		{ "UPDATE", "m", 0 }, { "UPDATE", "m", 200 },
		{ "ACK", "m", 0 },
	};
	struct addr phone = stage_addr(PHONE_ADDR);
	struct addr other = stage_addr("198.51.100.66");

	(void)state;
	call_out();
	peer_allow(&st->alg->bindings, &phone, &other, UINT64_MAX);
	for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++) {
		in(st, .server = "198.51.100.66:5060", .method = said[i].method,
		   .status = said[i].status,
		   .sdp = said[i].sdp ? theirs(7000) : NULL,
		   .cseq = 20 + (int)i);
		assert_false(st->lost);
	}
	talk_for(60);
	assert_open();
	assert_int_equal(st->alg->media.pinholes, 2);
	assert_int_equal(talk_port(st, RTP, MEDIA_ADDR ":7000"), 0);
	/* Nor by what the inside host refuses */
	in(st, .server = "198.51.100.66:5060", .method = "BYE", .cseq = 38,
	   .remote_tag = "x");
	out(st, .server = "198.51.100.66:5060", .method = "BYE", .status = 481,
	    .cseq = 38, .remote_tag = "x");
	in(st, .server = "198.51.100.66:5060", .method = "BYE", .cseq = 1);
	out(st, .server = "198.51.100.66:5060", .method = "BYE", .status = 500,
	    .cseq = 1);
	in(st, .server = "198.51.100.66:5060", .method = "BYE", .cseq = 39);
	in(st, .server = "198.51.100.66:5060", .method = "BYE", .status = 200,
	   .cseq = 39);
	talk_for(40);
	assert_open();
	/* Unless it takes it from there */
	in(st, .server = "198.51.100.66:5060", .method = "BYE", .cseq = 40);
	out(st, .server = "198.51.100.66:5060", .method = "BYE", .status = 200,
	    .cseq = 40);
	stage_wait(st, 40);
	assert_closed();
}

/* A refusal that is repeated when the next try is under way */
static void test_refused_again(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	in(st, .method = "INVITE", .status = 407);
	out(st, .method = "INVITE", .remote_tag = "", .cseq = 2,
	    .sdp = mine(4000));
	in(st, .method = "INVITE", .status = 407);
	in(st, .method = "INVITE", .status = 200, .cseq = 2,
	   .sdp = theirs(6000));
	assert_int_equal(talk_port(st, RTP, FAR_RTP), PORT + 2);
}

/* It comes by two proxies, and the phone refuses the second */
static void test_invite_comes_twice(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	in(st, .method = "INVITE", .local_tag = "", .sdp = theirs(6000));
	out(st, .method = "INVITE", .status = 180);
	in(st, .method = "INVITE", .local_tag = "", .sdp = theirs(6000),
	   .branch = "other");
	out(st, .method = "INVITE", .status = 482, .branch = "other");
	out(st, .method = "INVITE", .status = 200, .sdp = mine(4000));
	assert_open();
}

/* Nobody has said BYE */
static void test_answer_to_no_bye(void **state)
{
	(void)state;
	call_out();
	in(st, .method = "BYE", .status = 200, .cseq = 9);
	talk_for(40);
	assert_open();
	bye_out();
	assert_closed();
}

static void test_cancel(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	in(st, .method = "INVITE", .status = 183, .sdp = theirs(6000));
	assert_open();
	out(st, .method = "CANCEL", .remote_tag = "");
	in(st, .method = "CANCEL", .status = 200);
	in(st, .method = "INVITE", .status = 487);
	out(st, .method = "ACK");
	assert_closed();
	assert_int_equal(st->alg->calls.live, 0);
}

/* CANCEL and 200 cross on the way: the call stands (RFC 3261 9.1) */
static void test_cancel_too_late(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	out(st, .method = "CANCEL", .remote_tag = "");
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(6000));
	in(st, .method = "CANCEL", .status = 200);
	out(st, .method = "ACK");
	talk_for(100);
	assert_open();
}

static void test_failed_invite(void **state)
{
	static const int statuses[] = { 302, 404, 486, 503, 603 };

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000),
		    .cseq = (int)i + 1);
		in(st, .method = "INVITE", .status = 183, .cseq = (int)i + 1,
		   .sdp = theirs(6000));
		in(st, .method = "INVITE", .status = statuses[i],
		   .cseq = (int)i + 1);
		assert_closed();
	}
}

static void test_invite_with_credentials(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	in(st, .method = "INVITE", .status = 407);
	out(st, .method = "ACK");
	out(st, .method = "INVITE", .remote_tag = "", .cseq = 2,
	    .sdp = mine(16400));
	assert_true(talk_has(st, "m=audio 16400 "));
	in(st, .method = "INVITE", .status = 200, .cseq = 2,
	   .sdp = theirs(6000));
	assert_int_equal(talk_port(st, PHONE_ADDR ":16400", FAR_RTP), 16400);
	stage_wait(st, 100);
	/* The end of the first try is not that of the second */
	assert_int_equal(talk_port(st, PHONE_ADDR ":16400", FAR_RTP), 16400);
}

static void test_repeats(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		out(st, .method = "INVITE", .remote_tag = "",
		    .sdp = mine(4000));
		assert_true(talk_has(st, "m=audio 16384 "));
	}
	for (int i = 0; i < 3; i++)
		in(st, .method = "INVITE", .status = 200, .sdp = theirs(6000));
	assert_open();
	assert_int_equal(st->alg->media.pinholes, 2);
	assert_int_equal(stage_count(st, COUNTER_media_mappings), 1);
	assert_int_equal(stage_count(st, COUNTER_calls_started), 1);
	bye_out();
	/* The last 200 of the INVITE comes late: nothing opens again */
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(6000));
	stage_wait(st, 40);
	assert_closed();
}

/* Neither packets nor a BYE */
static void test_lost(void **state)
{
	(void)state;
	call_out();
	talk_for(300);
	assert_open();
	stage_wait(st, st->conf.media.timeout_s - 20);
	assert_open();
	stage_wait(st, 100);
	assert_closed();
	assert_int_equal(stage_count(st, COUNTER_calls_lost), 1);
}

/* Where nothing counts packets a silent call is no lost one */
static void test_not_counted(void **state)
{
	(void)state;
	st->sim.counting = false;
	call_out();
	stage_wait(st, 3600);
	assert_open();
}

/* RFC 4028 10: nobody refreshed it */
static void test_session_timer(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(6000),
	   .extra = "x: 90 ;refresher=uac\r\n");
	talk_for(80);
	out(st, .method = "UPDATE", .cseq = 2);
	in(st, .method = "UPDATE", .status = 200, .cseq = 2,
	   .extra = "Session-Expires: 90\r\n");
	talk_for(85);
	assert_open();
	for (int i = 0; i < 60 && st->alg->media.pinholes; i++)
		talk_for(1);
	assert_int_equal(st->alg->media.pinholes, 0);
	assert_int_equal(stage_count(st, COUNTER_calls_lost), 1);
}

static void test_never_answered(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	stage_wait(st, 600);
	assert_null(st->alg->calls.list);
	assert_null(st->alg->media.by_inside);
}

/* The kernel lost what we had made, conntrack -F, say: it is made again */
static void test_entry_gone(void **state)
{
	(void)state;
	call_out();
	talk_for(5);
	while (st->sim.list) {
		struct tuple lan = st->sim.list->data.lan;

		simnat_ops.remove(&st->sim, &lan);
	}
	assert_int_equal(talk_port(st, RTP, FAR_RTP), 0);
	stage_wait(st, 61);
	assert_open();
}

/* The phone has sent there before, and MASQUERADE gave it another port */
static void test_rival_entry(void **state)
{
	(void)state;
	stage_send(st, RTP, FAR_RTP, "early");
	assert_int_equal(st->t.src.port, 4000);
	call_out();
	assert_open();
	stage_send(st, RTP, FAR_RTP, "rtp");
	assert_int_equal(st->t.src.port, PORT);
}

/* Another host's flow holds the public port towards that remote */
static void test_rival_host(void **state)
{
	struct nat_entry rival = {
		.lan = { stage_end("192.168.1.11:9"), stage_end(FAR_RTP),
			 IPPROTO_UDP, 0 },
		.wan = { stage_end(FAR_RTP), stage_end(PUBLIC_ADDR ":16384"),
			 IPPROTO_UDP, 0 },
		.timeout_s = 600,
	};

	(void)state;
	assert_int_equal(simnat_ops.create(&st->sim, &rival), 0);
	call_out();
	/* Nothing of the other host's is taken away */
	assert_int_equal(talk_port(st, "192.168.1.11:9", FAR_RTP), 16384);
	assert_int_equal(stage_count(st, COUNTER_media_clashes), 1);
	assert_int_equal(talk_port(st, RTCP, FAR_RTCP), PORT + 1);
}

static void test_create_fails(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	simnat_fail(&st->sim, SIMNAT_CREATE, 0, 1, -ENOMEM);
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(6000));
	assert_false(st->d.drop);
	assert_int_equal(stage_count(st, COUNTER_media_clashes), 1);
	assert_int_equal(talk_port(st, RTP, FAR_RTP), 0);
	assert_int_equal(talk_port(st, RTCP, FAR_RTCP), PORT + 1);
	/* tried again */
	stage_wait(st, 61);
	assert_open();
	bye_out();
	assert_closed();
}

/* Every single call to the kernel fails once: nothing breaks, and what is
 * open at the end is closed
 */
static void test_each_fault(void **state)
{
	(void)state;
	for (int call = 0; call < SIMNAT_CALLS; call++) {
		for (unsigned int n = 0; n < 12; n++) {
			stage_close(st);
			st = stage_open();
			simnat_fail(&st->sim, (enum simnat_call)call, n, 1,
				    call == SIMNAT_FIND ? -ENOENT : -EPERM);
			talk_register(st, PHONE, PUBLIC, 60);
			call_out();
			talk_for(3);
			bye_out();
			stage_wait(st, 500);
			assert_int_equal(st->alg->media.pinholes, 0);
			assert_null(st->alg->calls.list);
			assert_null(st->alg->media.by_inside);
		}
	}
}

/* Two calls of one phone with the same two endpoints (Replaces, a B2BUA that
 * keeps its port): the end of one leaves the other open
 */
static void test_shared_endpoints(void **state)
{
	(void)state;
	call_out();
	out(st, .call_id = "two", .method = "INVITE", .remote_tag = "",
	    .sdp = mine(4000));
	assert_true(talk_has(st, "m=audio 16384 "));
	in(st, .call_id = "two", .method = "INVITE", .status = 200,
	   .sdp = theirs(6000));
	assert_open();
	bye_out();
	assert_open();
	out(st, .call_id = "two", .method = "BYE", .cseq = 2);
	in(st, .call_id = "two", .method = "BYE", .status = 200, .cseq = 2);
	assert_closed();
}

static void test_two_phones(void **state)
{
	(void)state;
	call_out();
	out(st, .phone = "192.168.1.11:5060", .method = "INVITE",
	    .remote_tag = "", .sdp = talk_sdp("192.168.1.11", 4000, ""));
	/* The same Call-ID: a proxy rang both. Each has its own */
	assert_true(talk_has(st, "m=audio 16386 "));
	in(st, .public_end = PUBLIC_ADDR ":5061", .method = "INVITE",
	   .status = 200, .sdp = theirs(6000));
	assert_open();
	assert_int_equal(talk_port(st, "192.168.1.11:4000", FAR_RTP), 16386);
	bye_out();
	assert_int_equal(talk_port(st, RTP, FAR_RTP), 0);
	assert_int_equal(talk_port(st, "192.168.1.11:4000", FAR_RTP), 16386);
}

static void test_rtcp_mux(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "",
	    .sdp = talk_sdp(PHONE_ADDR, 4000, "a=rtcp-mux\r\n"));
	/* Until it is answered with mux, RTCP may come on its own port */
	in(st, .method = "INVITE", .status = 183, .sdp = theirs(6000));
	assert_open();
	in(st, .method = "INVITE", .status = 200,
	   .sdp = talk_sdp(MEDIA_ADDR, 6000, "a=rtcp-mux\r\n"));
	out(st, .method = "ACK");
	assert_int_equal(talk_port(st, RTP, FAR_RTP), PORT);
	assert_int_equal(talk_port(st, RTCP, FAR_RTCP), 0);
}

/* Rule 6: no message opens anything of another host, nor towards inside */
static void test_slipstreaming(void **state)
{
	static const char *const remotes[] = { "192.168.1.99", PUBLIC_ADDR,
					       "127.0.0.1", "224.1.1.1",
					       "255.255.255.255" };

	(void)state;
	out(st, .method = "INVITE", .remote_tag = "",
	    .sdp = talk_sdp("192.168.1.99", 4000, ""));
	assert_true(talk_has(st, "c=IN IP4 192.168.1.99"));
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(6000));
	assert_closed();
	assert_int_equal(talk_port(st, "192.168.1.99:4000", FAR_RTP), 0);
	/* RTCP at another inside host */
	out(st, .call_id = "2", .method = "INVITE", .remote_tag = "",
	    .sdp = talk_sdp(PHONE_ADDR, 4000,
			    "a=rtcp:4001 IN IP4 192.168.1.99\r\n"));
	in(st, .call_id = "2", .method = "INVITE", .status = 200,
	   .sdp = theirs(6000));
	assert_int_equal(talk_port(st, "192.168.1.99:4001", FAR_RTCP), 0);
	for (size_t i = 0; i < 5; i++) {
		stage_close(st);
		st = stage_open();
		out(st, .method = "INVITE", .remote_tag = "",
		    .sdp = mine(4000));
		in(st, .method = "INVITE", .status = 200,
		   .sdp = talk_sdp(remotes[i], 6000, ""));
		assert_int_equal(st->alg->media.pinholes, 0);
	}
}

static void test_exhaustion(void **state)
{
	(void)state;
	st->conf.media.rtp_ports = (struct ports){ 1, { { 16384, 16385 } } };
	call_out();
	assert_open();
	out(st, .call_id = "2", .method = "INVITE", .remote_tag = "",
	    .sdp = mine(4100));
	assert_int_equal(stage_count(st, COUNTER_media_exhausted), 1);
	assert_true(talk_has(st, "m=audio 4100 "));
	assert_true(talk_has(st, "c=IN IP4 192.168.1.10"));
	bye_out();
	stage_wait(st, 40);
	out(st, .call_id = "3", .method = "INVITE", .remote_tag = "",
	    .sdp = mine(4100));
	assert_true(talk_has(st, "m=audio 16384 "));
}

/* Forks without end open no more than calls could have */
static void test_limit_of_pinholes(void **state)
{
	char tag[8];

	(void)state;
	st->conf.limits.calls = 2;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000));
	for (int i = 0; i < 12; i++) {
		snprintf(tag, sizeof(tag), "t%d", i);
		in(st, .method = "INVITE", .status = 183, .remote_tag = tag,
		   .sdp = theirs(6000 + 2 * i));
	}
	assert_int_equal(st->alg->media.pinholes, 16);
	assert_int_equal(stage_count(st, COUNTER_media_clashes), 2 + 4 + 6 + 8);
	in(st, .method = "INVITE", .status = 486);
	assert_int_equal(st->alg->media.pinholes, 0);
}

/* Audio and video, and ports for one of them */
static void test_half_exhausted(void **state)
{
	const char *video = "m=video 4200 RTP/AVP 96\r\n";

	(void)state;
	st->conf.media.rtp_ports = (struct ports){ 1, { { 16384, 16385 } } };
	out(st, .method = "INVITE", .remote_tag = "",
	    .sdp = talk_sdp(PHONE_ADDR, 4000, video));
	assert_int_equal(stage_count(st, COUNTER_media_exhausted), 1);
	assert_true(talk_has(st, "m=audio 4000 "));
	assert_true(talk_has(st, "m=video 4200 "));
	assert_true(talk_has(st, "c=IN IP4 192.168.1.10"));
	assert_int_equal(HASH_CNT(by_inside, st->alg->media.by_inside), 0);
	in(st, .method = "INVITE", .status = 486);
	out(st, .method = "ACK");
	/* The port was given back; and a running call keeps what it has */
	call_out();
	assert_open();
	out(st, .method = "INVITE", .cseq = 2,
	    .sdp = talk_sdp(PHONE_ADDR, 4000, video));
	assert_true(talk_has(st, "m=audio 16384 "));
	assert_true(talk_has(st, "m=video 4200 "));
	in(st, .method = "INVITE", .cseq = 2, .status = 200,
	   .sdp = theirs(6000));
	assert_open();
	assert_int_equal(stage_count(st, COUNTER_media_exhausted), 2);
	bye_out();
	assert_closed();
	st->conf.media.rtp_ports.range[0].last = 16387;
	out(st, .call_id = "3", .method = "INVITE", .remote_tag = "",
	    .sdp = talk_sdp(PHONE_ADDR, 4000, video));
	assert_true(talk_has(st, "m=audio 16384 ") ||
		    talk_has(st, "m=audio 16386 "));
	assert_false(talk_has(st, "m=video 4200 "));
}

static void invite_number(int i)
{
	char id[16];

	snprintf(id, sizeof(id), "%d", i);
	out(st, .call_id = id, .method = "INVITE", .remote_tag = "",
	    .sdp = mine(4000 + 2 * i));
}

static void answer_number(int i)
{
	char id[16];

	snprintf(id, sizeof(id), "%d", i);
	in(st, .call_id = id, .method = "INVITE", .status = 200,
	   .sdp = theirs(6000));
}

static void rtp_of_number(int i, char *inside, size_t cap)
{
	snprintf(inside, cap, PHONE_ADDR ":%d", 4000 + 2 * i);
}

static bool is_open_number(int i)
{
	char inside[32];

	rtp_of_number(i, inside, sizeof(inside));
	return talk_port(st, inside, FAR_RTP) != 0;
}

/* What nobody has answered makes room for what is new, the oldest first; calls
 * in which people talk do not
 */
static void test_limit(void **state)
{
	(void)state;
	st->conf.limits.calls = 3;
	invite_number(0);
	answer_number(0);
	for (int i = 1; i < 6; i++)
		invite_number(i);
	answer_number(4);
	assert_int_equal(HASH_COUNT(st->alg->calls.table), 3);
	assert_int_equal(stage_count(st, COUNTER_calls_evicted), 3);
	assert_true(is_open_number(0) && is_open_number(4));
	assert_int_equal(st->alg->media.pinholes, 4);
	/* Also when they are older than all that nobody answers */
	for (int i = 6; i < 20; i++)
		invite_number(i);
	assert_true(is_open_number(0) && is_open_number(4));
	assert_int_equal(stage_count(st, COUNTER_calls_refused), 0);
}

/* All are answered: the one in which nobody talks any more goes, and if there
 * is none, the new one is not taken
 */
static void test_limit_of_answered(void **state)
{
	char inside[32];

	(void)state;
	st->conf.limits.calls = 2;
	for (int i = 0; i < 2; i++) {
		invite_number(i);
		answer_number(i);
	}
	invite_number(2);
	assert_true(is_open_number(0) && is_open_number(1));
	assert_int_equal(stage_count(st, COUNTER_calls_evicted), 0);
	assert_int_equal(stage_count(st, COUNTER_calls_refused), 1);
	/* Its description went as it came, and it was told why */
	assert_true(talk_has(st, "c=IN IP4 " PHONE_ADDR));
	assert_non_null(strstr(symptoms_recent(&st->alg->symptoms, 0)->text,
			       "calls_refused"));
	for (int i = 0; i < 13; i++) {
		stage_wait(st, 10);
		rtp_of_number(1, inside, sizeof(inside));
		stage_send(st, inside, FAR_RTP, "rtp");
	}
	invite_number(3);
	answer_number(3);
	assert_true(is_open_number(1) && is_open_number(3));
	assert_false(is_open_number(0));
	assert_int_equal(stage_count(st, COUNTER_calls_evicted), 1);
}

/* In the middle of a call that is older than this program */
static void test_older_call(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .cseq = 5, .sdp = mine(4000));
	assert_true(talk_has(st, "m=audio 16384 "));
	in(st, .method = "INVITE", .status = 200, .cseq = 5,
	   .sdp = theirs(6000));
	assert_open();
	bye_out();
	assert_closed();
}

static void test_observe(void **state)
{
	(void)state;
	st->conf.gateway.mode = CONF_MODE_OBSERVE;
	alg_configure(st->alg, &st->conf);
	call_out();
	assert_int_equal(st->sim.calls[SIMNAT_CREATE], 0);
	assert_int_equal(st->sim.calls[SIMNAT_REMOVE], 0);
	assert_int_equal(st->sim.calls[SIMNAT_REFRESH], 0);
	assert_true(talk_port(st, RTP, FAR_RTP) == 0);
}

/* Ways to switch it off for all, for this phone, for its provider and for its
 * kind
 */
#define WAYS_OFF 5
#define AGENT "User-Agent: Clever 1\r\n"

static void switch_off(unsigned int how)
{
	struct conf_networks *lists[] = { &st->conf.bypass.phones,
					  &st->conf.bypass.peers };

	if (how == 4)
		st->conf.bypass.user_agents =
			(struct conf_names){ 1, { "Clever*" } };
	else if (how < 2)
		st->conf.gateway.mode =
			how ? CONF_MODE_BYPASS : CONF_MODE_OBSERVE;
	else
		assert_int_equal(network_parse(SPAN("0.0.0.0/0"),
					       &lists[how - 2]->net[0]),
				 0);
	if (how == 2 || how == 3)
		lists[how - 2]->count = 1;
	alg_configure(st->alg, &st->conf);
}

/* A call that began while we worked is carried to its end: media goes on, and
 * what is said in it is rewritten
 */
static void test_switched_off_meanwhile(void **state)
{
	(void)state;
	for (unsigned int how = 0; how < WAYS_OFF; how++) {
		call_out();
		switch_off(how);
		talk_for(400);
		assert_open();
		out(st, .method = "INVITE", .cseq = 2, .sdp = mine(4000));
		assert_true(talk_has(st, "m=audio 16384 "));
		assert_true(talk_has(st, "Via: SIP/2.0/UDP " PUBLIC));
		in(st, .method = "INVITE", .cseq = 2, .status = 200,
		   .sdp = theirs(6000));
		out(st, .method = "ACK", .cseq = 2);
		/* Another call is not ours */
		out(st, .method = "INVITE", .remote_tag = "", .call_id = "new",
		    .sdp = mine(5000), .extra = AGENT);
		assert_true(talk_has(st, "m=audio 5000 "));
		assert_true(talk_has(st, "Via: SIP/2.0/UDP " PHONE));
		in(st, .method = "BYE", .cseq = 9);
		out(st, .method = "BYE", .cseq = 9, .status = 200);
		assert_closed();
		stage_wait(st, 40);
		/* As nothing is carried any more, nothing is read */
		out(st, .method = "INVITE", .cseq = 11, .sdp = mine(4000));
		assert_true(talk_has(st, "Via: SIP/2.0/UDP " PHONE));
		tear_down(state);
		set_up(state);
	}
}

/* Also one that is not answered yet, and the end of an INVITE that is not to be
 */
static void test_switched_off_early(void **state)
{
	(void)state;
	for (unsigned int how = 0; how < WAYS_OFF; how++) {
		out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000),
		    .extra = AGENT);
		in(st, .method = "INVITE", .status = 180);
		switch_off(how);
		stage_wait(st, 5);
		in(st, .method = "INVITE", .status = 200, .sdp = theirs(6000));
		assert_true(talk_has(st, "Via: SIP/2.0/UDP " PHONE));
		out(st, .method = "ACK");
		assert_true(talk_has(st, "Via: SIP/2.0/UDP " PUBLIC));
		assert_open();
		bye_out();
		assert_closed();
		tear_down(state);
		set_up(state);
		out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(4000),
		    .extra = AGENT);
		in(st, .method = "INVITE", .status = 407);
		switch_off(how);
		in(st, .method = "INVITE", .status = 407);
		assert_true(talk_has(st, "Via: SIP/2.0/UDP " PHONE));
		out(st, .method = "ACK");
		assert_true(talk_has(st, "Via: SIP/2.0/UDP " PUBLIC));
		tear_down(state);
		set_up(state);
	}
}

/* media.source goes on for it, too */
static void test_switched_off_lets_guests_in(void **state)
{
	(void)state;
	for (unsigned int how = 0; how < WAYS_OFF; how++) {
		st->conf.media.source = CONF_SOURCE_ANY;
		alg_configure(st->alg, &st->conf);
		call_out();
		switch_off(how);
		stage_send(st, "198.51.100.77:7000", PUBLIC_ADDR ":16384",
			   "rtp");
		assert_int_equal(st->d.reason, COUNTER_media_admitted);
		assert_int_equal(talk_port(st, RTP, "198.51.100.77:7000"),
				 PORT);
		tear_down(state);
		set_up(state);
	}
	/* but not for what is none of ours */
	for (unsigned int how = 0; how < 2; how++) {
		st->conf.media.source = CONF_SOURCE_ANY;
		st->conf.gateway.mode = CONF_MODE_OBSERVE;
		alg_configure(st->alg, &st->conf);
		call_out();
		switch_off(how);
		stage_send(st, "198.51.100.77:7000", PUBLIC_ADDR ":16384",
			   "rtp");
		assert_false(st->d.drop);
		assert_int_equal(talk_port(st, RTP, "198.51.100.77:7000"), 0);
		tear_down(state);
		set_up(state);
	}
}

/* One that began while we only looked is no call of ours until then */
static void test_switched_on_meanwhile(void **state)
{
	(void)state;
	st->conf.gateway.mode = CONF_MODE_OBSERVE;
	alg_configure(st->alg, &st->conf);
	call_out();
	st->conf.gateway.mode = CONF_MODE_ACTIVE;
	alg_configure(st->alg, &st->conf);
	out(st, .method = "INVITE", .cseq = 2, .sdp = mine(4000));
	assert_true(talk_has(st, "m=audio 16384 "));
	in(st, .method = "INVITE", .cseq = 2, .status = 200,
	   .sdp = theirs(6000));
	assert_open();
	st->conf.gateway.mode = CONF_MODE_OBSERVE;
	alg_configure(st->alg, &st->conf);
	bye_out();
	assert_closed();
}

/* What was said while we only looked was never announced: NAT's own entries
 * carry that call, and stay as they are
 */
static void test_switched_on_leaves_media_alone(void **state)
{
	(void)state;
	st->conf.gateway.mode = CONF_MODE_OBSERVE;
	alg_configure(st->alg, &st->conf);
	call_out();
	stage_send(st, RTP, FAR_RTP, "rtp");
	assert_int_equal(talk_port(st, RTP, FAR_RTP), 4000);
	st->conf.gateway.mode = CONF_MODE_ACTIVE;
	alg_configure(st->alg, &st->conf);
	talk_for(400);
	assert_int_equal(talk_port(st, RTP, FAR_RTP), 4000);
	out(st, .method = "INFO", .cseq = 3);
	in(st, .method = "UPDATE", .cseq = 9);
	out(st, .method = "UPDATE", .cseq = 9, .status = 200);
	talk_for(10);
	assert_int_equal(talk_port(st, RTP, FAR_RTP), 4000);
	bye_out();
	assert_int_equal(talk_port(st, RTP, FAR_RTP), 4000);
}

/* The daemon stops: running calls go on (design, SIGTERM) */
static void test_stop(void **state)
{
	(void)state;
	call_out();
	alg_free(st->alg);
	st->alg = NULL;
	assert_open();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_outgoing),
		TEST(test_first_packet_from_outside),
		TEST(test_incoming),
		TEST(test_hold),
		TEST(test_hold_by_update),
		TEST(test_hold_of_the_session),
		TEST(test_hold_by_zero),
		TEST(test_forked),
		TEST(test_two_answers),
		TEST(test_delayed_offer),
		TEST(test_prack_and_update),
		TEST(test_failed_reinvite),
		TEST(test_reinvite_moves),
		TEST(test_bye_with_401),
		TEST(test_bye_without_answer),
		TEST(test_bye_of_a_stranger),
		TEST(test_others_have_no_part),
		TEST(test_refused_again),
		TEST(test_invite_comes_twice),
		TEST(test_answer_to_no_bye),
		TEST(test_cancel),
		TEST(test_cancel_too_late),
		TEST(test_failed_invite),
		TEST(test_invite_with_credentials),
		TEST(test_repeats),
		TEST(test_lost),
		TEST(test_not_counted),
		TEST(test_session_timer),
		TEST(test_never_answered),
		TEST(test_entry_gone),
		TEST(test_rival_entry),
		TEST(test_rival_host),
		TEST(test_create_fails),
		TEST(test_each_fault),
		TEST(test_shared_endpoints),
		TEST(test_two_phones),
		TEST(test_rtcp_mux),
		TEST(test_slipstreaming),
		TEST(test_exhaustion),
		TEST(test_limit_of_pinholes),
		TEST(test_half_exhausted),
		TEST(test_limit),
		TEST(test_limit_of_answered),
		TEST(test_older_call),
		TEST(test_observe),
		TEST(test_switched_off_meanwhile),
		TEST(test_switched_off_early),
		TEST(test_switched_off_lets_guests_in),
		TEST(test_switched_on_meanwhile),
		TEST(test_switched_on_leaves_media_alone),
		TEST(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
