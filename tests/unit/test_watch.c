/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Audio that is not heard, and silence that is no fault */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <errno.h>

#include <cmocka.h>

#include "talk.h"

#define RTP PHONE_ADDR ":4000"
#define RTCP PHONE_ADDR ":4001"
#define FAR_RTP MEDIA_ADDR ":6000"
#define FAR_RTCP MEDIA_ADDR ":6001"

/* Who sends, in each tenth of a second */
enum speaks { PHONE_RTP = 1, FAR_END = 2, PHONE_RTCP = 4, FAR_END_RTCP = 8 };

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

static const char *mine(const char *lines)
{
	return talk_sdp(PHONE_ADDR, 4000, lines);
}

static const char *theirs(const char *lines)
{
	return talk_sdp(MEDIA_ADDR, 6000, lines);
}

static void call_out(void)
{
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(""));
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(""));
	out(st, .method = "ACK");
}

static void bye_out(void)
{
	out(st, .method = "BYE", .cseq = 9);
	in(st, .method = "BYE", .status = 200, .cseq = 9);
}

static void media_for(unsigned int seconds, unsigned int who)
{
	for (unsigned int i = 0; i < seconds; i++) {
		for (int n = 0; n < 10; n++) {
			if (who & PHONE_RTP)
				stage_send(st, RTP, FAR_RTP, "rtp");
			if (who & FAR_END)
				stage_send(st, FAR_RTP, PUBLIC_ADDR ":16384",
					   "rtp");
		}
		if (who & PHONE_RTCP)
			stage_send(st, RTCP, FAR_RTCP, "rtcp");
		if (who & FAR_END_RTCP)
			stage_send(st, FAR_RTCP, PUBLIC_ADDR ":16385", "rtcp");
		stage_wait(st, 1);
	}
}

static const struct call *call(void)
{
	return st->alg->calls.list;
}

static void assert_healthy(void)
{
	assert_int_equal(call()->symptoms, 0);
	assert_int_equal(st->alg->symptoms.total, 0);
}

static void assert_says(enum symptom s, const char *text)
{
	assert_int_equal(call()->symptoms, 1u << s);
	assert_string_equal(symptom_note_text(call()->notes, s), text);
	assert_string_equal(symptoms_recent(&st->alg->symptoms, 0)->text, text);
	assert_int_equal(symptoms_recent(&st->alg->symptoms, 0)->symptom, s);
	assert_int_equal(
		stage_count(st, (enum counter)(COUNTER_symptoms + (int)s)), 1);
}

static void test_both_ways(void **state)
{
	(void)state;
	call_out();
	media_for(100, PHONE_RTP | FAR_END);
	assert_healthy();
	bye_out();
	assert_healthy();
	assert_int_equal(call()->traffic.out, 1000);
	assert_int_equal(call()->traffic.in, 1000);
}

static void test_nothing_from_outside(void **state)
{
	(void)state;
	call_out();
	media_for(11, PHONE_RTP);
	assert_healthy(); /* it has just begun */
	media_for(3, PHONE_RTP);
	assert_says(SYMPTOM_one_way_audio, "no packet from " FAR_RTP
					   " for 12 s, 120 sent to it by " RTP);
	media_for(100, PHONE_RTP);
	assert_int_equal(st->alg->symptoms.total, 1);
}

static void test_nothing_from_inside(void **state)
{
	(void)state;
	call_out();
	media_for(14, FAR_END | FAR_END_RTCP);
	assert_says(SYMPTOM_one_way_audio,
		    "no packet from " RTP " for 12 s, 120 came from " FAR_RTP);
}

static void test_nothing_at_all(void **state)
{
	(void)state;
	call_out();
	stage_wait(st, 14);
	assert_says(SYMPTOM_no_audio,
		    "no packet between " RTP " and " FAR_RTP " for 12 s");
}

/* A few packets only open NAT: who sends them does not speak either */
static void test_few_packets(void **state)
{
	(void)state;
	call_out();
	stage_wait(st, 1);
	media_for(2, PHONE_RTP);
	stage_wait(st, 12);
	assert_healthy();
}

/* Who hears nothing hangs up */
static void test_short_call(void **state)
{
	(void)state;
	call_out();
	media_for(9, PHONE_RTP);
	bye_out();
	assert_says(SYMPTOM_one_way_audio, "no packet from " FAR_RTP
					   " for 8 s, 80 sent to it by " RTP);
	assert_int_equal(call()->traffic.out, 90);
	assert_int_equal(call()->traffic.in, 0);
}

static void test_very_short_call(void **state)
{
	(void)state;
	call_out();
	media_for(5, PHONE_RTP);
	bye_out();
	assert_healthy();
}

/* Muted, with silence suppression: the path is proven by RTCP */
static void test_rtcp_only(void **state)
{
	(void)state;
	call_out();
	media_for(60, PHONE_RTP | FAR_END_RTCP);
	assert_healthy();
	media_for(60, PHONE_RTCP | FAR_END_RTCP);
	assert_healthy();
}

/* Muted later: that RTP is missing says nothing where no RTCP ever was */
static void test_muted_later(void **state)
{
	(void)state;
	call_out();
	media_for(20, PHONE_RTP | FAR_END);
	media_for(120, PHONE_RTP);
	assert_healthy();
}

/* RTCP that has stopped too says that the other end is gone */
static void test_lost_later(void **state)
{
	(void)state;
	call_out();
	media_for(20, PHONE_RTP | FAR_END | FAR_END_RTCP);
	media_for(120, PHONE_RTP);
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_one_way_audio);
}

static void reinvite(const char *direction, const char *answer)
{
	static int cseq = 20;

	cseq++;
	out(st, .method = "INVITE", .sdp = mine(direction), .cseq = cseq);
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(answer),
	   .cseq = cseq);
	out(st, .method = "ACK", .cseq = cseq);
}

/* On hold nobody needs to send; nor one of both where that was agreed */
static void test_hold(void **state)
{
	(void)state;
	call_out();
	media_for(5, PHONE_RTP | FAR_END);
	reinvite("a=sendonly\r\n", "a=recvonly\r\n");
	media_for(100, PHONE_RTP);
	assert_healthy();
	reinvite("a=inactive\r\n", "a=inactive\r\n");
	media_for(100, 0);
	assert_healthy();
	/* and when it is taken up again, it counts anew */
	reinvite("", "");
	media_for(14, PHONE_RTP);
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_one_way_audio);
}

/* Many do not say in their answer that they have understood the hold */
static void test_hold_answered_plainly(void **state)
{
	(void)state;
	call_out();
	media_for(5, PHONE_RTP | FAR_END);
	reinvite("a=sendonly\r\n", "");
	assert_int_equal(call()->state, CALL_HELD);
	media_for(100, PHONE_RTP);
	assert_healthy();
	reinvite("a=inactive\r\n", "");
	media_for(300, 0);
	assert_healthy();
	reinvite("", "");
	assert_int_equal(call()->state, CALL_ACTIVE);
	media_for(14, PHONE_RTP);
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_one_way_audio);
}

/* Hold as RFC 2543 had it: c= is 0.0.0.0, and the answer is a plain one */
static void test_hold_by_zero(void **state)
{
	(void)state;
	call_out();
	media_for(5, PHONE_RTP | FAR_END);
	out(st, .method = "INVITE", .sdp = talk_sdp("0.0.0.0", 4000, ""),
	    .cseq = 50);
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(""),
	   .cseq = 50);
	out(st, .method = "ACK", .cseq = 50);
	assert_int_equal(call()->state, CALL_HELD);
	media_for(300, 0);
	assert_healthy();
}

/* A hold that is refused is none */
static void test_refused_hold(void **state)
{
	(void)state;
	call_out();
	out(st, .method = "INVITE", .sdp = mine("a=inactive\r\n"), .cseq = 50);
	in(st, .method = "INVITE", .status = 488, .cseq = 50);
	out(st, .method = "ACK", .cseq = 50);
	assert_int_equal(call()->state, CALL_ACTIVE);
	media_for(14, PHONE_RTP);
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_one_way_audio);
}

/* Two forks have answered, and the caller takes leave of one of them */
static void test_bye_to_the_other_fork(void **state)
{
	(void)state;
	call_out();
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(""),
	   .remote_tag = "c");
	out(st, .method = "ACK", .remote_tag = "c");
	out(st, .method = "BYE", .remote_tag = "c", .cseq = 2);
	in(st, .method = "BYE", .status = 200, .remote_tag = "c", .cseq = 2);
	media_for(14, PHONE_RTP);
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_one_way_audio);
	stage_wait(st, 250);
	assert_true(symptom_has(call()->symptoms, SYMPTOM_call_lost));
}

/* A line that stands for days: a door, a lift, a studio */
static void test_day_and_night(void **state)
{
	(void)state;
	call_out();
	media_for(20, PHONE_RTP | FAR_END);
	for (int i = 0; i < 26 * 60; i++) {
		media_for(1, PHONE_RTP | FAR_END);
		stage_wait(st, 59);
	}
	assert_healthy();
	assert_int_equal(st->alg->calls.live, 1);
}

/* Session refresh: nothing has changed, and no new window begins */
static void test_refresh_while_muted(void **state)
{
	(void)state;
	call_out();
	media_for(20, PHONE_RTP | FAR_END);
	reinvite("", "");
	media_for(60, PHONE_RTP);
	assert_healthy();
}

/* A ringing tone from the network is one way by nature */
static void test_early_media(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(""));
	in(st, .method = "INVITE", .status = 183, .sdp = theirs(""));
	media_for(60, FAR_END);
	assert_healthy();
	/* and it does not stand for what comes after the answer */
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(""));
	out(st, .method = "ACK");
	media_for(14, PHONE_RTP);
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_one_way_audio);
}

/* Several are rung, each with a tone of its own; one answers, another is slow
 * to notice
 */
static void test_forks(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(""));
	in(st, .method = "INVITE", .status = 183, .remote_tag = "x",
	   .sdp = talk_sdp("198.51.100.31", 7000, ""));
	in(st, .method = "INVITE", .status = 183, .remote_tag = "y",
	   .sdp = talk_sdp("198.51.100.32", 7000, ""));
	in(st, .method = "INVITE", .status = 180, .remote_tag = "z");
	for (int i = 0; i < 10; i++) {
		stage_send(st, "198.51.100.31:7000", PUBLIC_ADDR ":16384", "r");
		stage_send(st, "198.51.100.32:7000", PUBLIC_ADDR ":16384", "r");
		stage_wait(st, 1);
	}
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(""));
	out(st, .method = "ACK");
	stage_send(st, "198.51.100.31:7000", PUBLIC_ADDR ":16384", "r");
	media_for(100, PHONE_RTP | FAR_END);
	assert_healthy();
	bye_out();
	assert_healthy();
}

/* The offer comes with the 2xx, or in an 18x that PRACK answers */
static void test_late_offers(void **state)
{
	(void)state;
	for (int reliable = 0; reliable < 2; reliable++) {
		int status = reliable ? 183 : 200;

		out(st, .method = "INVITE", .remote_tag = "");
		in(st, .method = "INVITE", .status = status, .sdp = theirs(""));
		out(st, .method = reliable ? "PRACK" : "ACK", .sdp = mine(""));
		if (reliable) {
			in(st, .method = "PRACK", .status = 200);
			media_for(20, FAR_END);
			assert_healthy();
			in(st, .method = "INVITE", .status = 200);
			out(st, .method = "ACK");
		}
		assert_int_equal(call()->state, CALL_ACTIVE);
		media_for(14, FAR_END);
		assert_says(SYMPTOM_one_way_audio,
			    "no packet from " RTP
			    " for 12 s, 120 came from " FAR_RTP);
		tear_down(state);
		set_up(state);
	}
}

/* Refreshes by UPDATE, and a transfer: REFER, NOTIFY, BYE */
static void test_refreshed_and_transferred(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(""));
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(""),
	   .extra = "Session-Expires: 90;refresher=uac\r\n");
	out(st, .method = "ACK");
	for (int i = 0; i < 5; i++) {
		media_for(45, PHONE_RTP | FAR_END);
		out(st, .method = "UPDATE", .cseq = 10 + i);
		in(st, .method = "UPDATE", .status = 200, .cseq = 10 + i,
		   .extra = "Session-Expires: 90;refresher=uac\r\n");
	}
	out(st, .method = "REFER", .cseq = 20,
	    .extra = "Refer-To: <sip:new@example.com>\r\n");
	in(st, .method = "REFER", .status = 202, .cseq = 20);
	in(st, .method = "NOTIFY", .cseq = 3);
	out(st, .method = "NOTIFY", .status = 200, .cseq = 3);
	media_for(20, PHONE_RTP);
	in(st, .method = "BYE", .cseq = 4);
	out(st, .method = "BYE", .status = 200, .cseq = 4);
	assert_healthy();
}

/* A picture that is not wanted, beside voice that is */
static void test_refused_video(void **state)
{
	char offer[512], answer[512];

	(void)state;
	snprintf(offer, sizeof(offer), "%sm=video 4100 RTP/AVP 96\r\n",
		 mine(""));
	snprintf(answer, sizeof(answer), "%sm=video 0 RTP/AVP 96\r\n",
		 theirs(""));
	out(st, .method = "INVITE", .remote_tag = "", .sdp = offer);
	in(st, .method = "INVITE", .status = 200, .sdp = answer);
	out(st, .method = "ACK");
	media_for(60, PHONE_RTP | FAR_END);
	assert_healthy();
}

/* RTCP on the port of RTP, or on one of its own choice */
static void test_rtcp_elsewhere(void **state)
{
	static const char *const lines[] = { "a=rtcp-mux\r\n",
					     "a=rtcp:4444\r\n" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		out(st, .method = "INVITE", .remote_tag = "",
		    .sdp = mine(lines[i]));
		in(st, .method = "INVITE", .status = 200,
		   .sdp = theirs(i ? "" : lines[i]));
		out(st, .method = "ACK");
		media_for(20, PHONE_RTP | FAR_END);
		assert_healthy();
		/* RTCP alone shows that the muted end is there */
		for (int n = 0; i && n < 20; n++) {
			stage_send(st, PHONE_ADDR ":4444", FAR_RTCP, "rtcp");
			media_for(1, FAR_END);
		}
		assert_healthy();
		tear_down(state);
		set_up(state);
	}
}

/* Fax is one way at a time, and no audio */
static void test_fax(void **state)
{
	char fax[256], far[256];

	(void)state;
	snprintf(fax, sizeof(fax),
		 "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\n"
		 "t=0 0\r\nm=image 4000 udptl t38\r\n",
		 PHONE_ADDR, PHONE_ADDR);
	snprintf(far, sizeof(far),
		 "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\n"
		 "t=0 0\r\nm=image 6000 udptl t38\r\n",
		 MEDIA_ADDR, MEDIA_ADDR);
	out(st, .method = "INVITE", .remote_tag = "", .sdp = fax);
	in(st, .method = "INVITE", .status = 200, .sdp = far);
	out(st, .method = "ACK");
	media_for(60, PHONE_RTP);
	assert_healthy();
	assert_string_equal(call()->codecs, "t38");
}

static const char *fax_sdp(const char *addr, int port)
{
	static char text[2][256];
	static unsigned int next;
	char *buf = text[next++ % 2];

	snprintf(buf, sizeof(text[0]),
		 "v=0\r\no=- 1 2 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\n"
		 "t=0 0\r\nm=image %d udptl t38\r\n",
		 addr, addr, port);
	return buf;
}

/* A call that turns into fax, on the same ports: a page goes one way */
static void test_fax_on_the_port_of_voice(void **state)
{
	(void)state;
	call_out();
	media_for(5, PHONE_RTP | FAR_END);
	in(st, .method = "INVITE", .sdp = fax_sdp(MEDIA_ADDR, 6000), .cseq = 7);
	out(st, .method = "INVITE", .status = 200, .cseq = 7,
	    .sdp = fax_sdp(PHONE_ADDR, 4000));
	in(st, .method = "ACK", .cseq = 7);
	media_for(60, PHONE_RTP);
	assert_healthy();
	assert_string_equal(call()->stream[0]->type, "image");
}

/* With ICE media may go by a candidate that we did not map */
static void test_ice(void **state)
{
	(void)state;
	out(st, .method = "INVITE", .remote_tag = "",
	    .sdp = mine("a=candidate:1 1 UDP 1 " PHONE_ADDR
			" 4000 typ host\r\n"));
	in(st, .method = "INVITE", .status = 200,
	   .sdp = theirs("a=candidate:1 1 UDP 1 " MEDIA_ADDR
			 " 6000 typ host\r\n"));
	out(st, .method = "ACK");
	media_for(60, 0);
	assert_healthy();
	/* It is not lost either, if media has left the pinholes */
	media_for(300, 0);
	assert_healthy();
	assert_int_equal(st->alg->calls.live, 1);
}

/* Nothing counts, or nothing is done: nothing can be said */
static void test_no_accounting(void **state)
{
	(void)state;
	st->sim.counting = false;
	call_out();
	media_for(60, PHONE_RTP);
	assert_healthy();
}

static void test_observe(void **state)
{
	(void)state;
	st->conf.gateway.mode = CONF_MODE_OBSERVE;
	alg_configure(st->alg, &st->conf);
	call_out();
	/* Nor that it is lost, whose media goes by NAT's own entry */
	media_for(300, PHONE_RTP);
	assert_healthy();
	assert_int_equal(st->alg->calls.live, 1);
}

/* What is switched on in a running call begins to count with the next entry:
 * one that does not count says nothing, neither of silence nor of loss
 */
static void test_accounting_begins_meanwhile(void **state)
{
	(void)state;
	st->sim.counting = false;
	call_out();
	st->sim.counting = true;
	media_for(300, PHONE_RTP | FAR_END);
	assert_healthy();
	assert_int_equal(st->alg->calls.live, 1);
}

/*
 * Two inside hosts, called by way of a provider: each is told the inside
 * endpoint of the other, and their media does not pass.
 */
static void test_inside_to_inside(void **state)
{
#define OTHER "192.168.1.11:5060"
	char sdp[2][512];
	unsigned int other;

	(void)state;
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(""));
	snprintf(sdp[0], sizeof(sdp[0]), "%s",
		 talk_sdp(PUBLIC_ADDR, 16384, ""));
	/* The other phone's flow, then the INVITE comes back in for it */
	talk_register(st, OTHER, "203.0.113.1:5061", 600);
	in(st, .phone = OTHER, .public_end = "203.0.113.1:5061",
	   .method = "INVITE", .local_tag = "", .call_id = "leg2",
	   .sdp = sdp[0]);
	out(st, .phone = OTHER, .method = "INVITE", .status = 200,
	    .call_id = "leg2", .sdp = talk_sdp("192.168.1.11", 4000, ""));
	other = st->alg->calls.list->prev->stream[0]->public_rtp.port;
	in(st, .phone = OTHER, .public_end = "203.0.113.1:5061",
	   .method = "ACK", .call_id = "leg2");
	snprintf(sdp[1], sizeof(sdp[1]), "%s",
		 talk_sdp(PUBLIC_ADDR, (int)other, ""));
	in(st, .method = "INVITE", .status = 200, .sdp = sdp[1]);
	assert_true(talk_has(st, "c=IN IP4 192.168.1.11\r\n"));
	out(st, .method = "ACK");
	stage_wait(st, 60);
	assert_int_equal(st->alg->symptoms.total, 0);
}

/* The provider sends from another address than it announced */
static void test_media_elsewhere(void **state)
{
	(void)state;
	st->conf.media.source = CONF_SOURCE_ANY;
	alg_configure(st->alg, &st->conf);
	call_out();
	media_for(2, PHONE_RTP);
	for (int i = 0; i < 13; i++) {
		for (int n = 0; n < 10; n++)
			stage_send(st, "198.51.100.77:7000",
				   PUBLIC_ADDR ":16384", "rtp");
		media_for(1, PHONE_RTP);
	}
	assert_says(SYMPTOM_media_elsewhere,
		    "media comes from 198.51.100.77:7000 to " PUBLIC_ADDR
		    ":16384, announced was " FAR_RTP
		    "; let in by media.source");
}

static void test_media_elsewhere_refused(void **state)
{
	(void)state;
	st->conf.media.source = CONF_SOURCE_SIGNALLING;
	alg_configure(st->alg, &st->conf);
	call_out();
	for (int i = 0; i < 14; i++) {
		stage_send(st, "198.51.100.77:7000", PUBLIC_ADDR ":16384",
			   "rtp");
		media_for(1, PHONE_RTP | FAR_END);
	}
	assert_says(SYMPTOM_media_elsewhere,
		    "media comes from 198.51.100.77:7000 to " PUBLIC_ADDR
		    ":16384, announced was " FAR_RTP
		    "; not let in (media.source)");
}

static void source(enum conf_source from)
{
	st->conf.media.source = from;
	alg_configure(st->alg, &st->conf);
}

/* No rule brings such packets to us where media.source is strict */
static void test_media_from_elsewhere_unseen(void **state)
{
	(void)state;
	call_out();
	for (int i = 0; i < 15; i++) {
		for (int n = 0; n < 10; n++)
			stage_send(st, "198.51.100.77:7000",
				   PUBLIC_ADDR ":16384", "rtp");
		media_for(1, PHONE_RTP);
	}
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_media_elsewhere |
						   1u << SYMPTOM_one_way_audio);
	assert_string_equal(
		symptom_note_text(call()->notes, SYMPTOM_media_elsewhere),
		"media comes from 198.51.100.77:7000 to " PUBLIC_ADDR
		":16384, announced was " FAR_RTP "; not let in (media.source)");
	/* and nobody listens any more */
	assert_int_equal(st->alg->calls.listening_ms, 0);
	assert_int_equal(st->sim.line.inside.port, 0);
}

/* The phone sends to where the signalling is, whatever it was told */
static void test_media_to_elsewhere(void **state)
{
	(void)state;
	call_out();
	for (int i = 0; i < 15; i++) {
		for (int n = 0; n < 10; n++)
			stage_send(st, RTP, "198.51.100.5:6000", "rtp");
		media_for(1, FAR_END);
	}
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_media_elsewhere |
						   1u << SYMPTOM_one_way_audio);
	assert_string_equal(
		symptom_note_text(call()->notes, SYMPTOM_media_elsewhere),
		"media of " RTP
		" goes to 198.51.100.5:6000, announced was " FAR_RTP);
}

/* A phone that sends by another port than it listens at */
static void test_media_by_another_port(void **state)
{
	(void)state;
	call_out();
	for (int i = 0; i < 15; i++) {
		for (int n = 0; n < 10; n++)
			stage_send(st, PHONE_ADDR ":4002", FAR_RTP, "rtp");
		media_for(1, FAR_END);
	}
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_media_elsewhere |
						   1u << SYMPTOM_one_way_audio);
	assert_string_equal(
		symptom_note_text(call()->notes, SYMPTOM_media_elsewhere),
		"media leaves from " PHONE_ADDR
		":4002, the phone announced " RTP);
}

/* Only a call that is silent is listened to, one at a time */
static void test_when_it_listens(void **state)
{
	(void)state;
	call_out();
	media_for(30, PHONE_RTP | FAR_END);
	assert_int_equal(st->sim.calls[SIMNAT_LISTEN], 0);
	bye_out();
	for (int i = 0; i < 3; i++) {
		char id[8];

		snprintf(id, sizeof(id), "%d", i);
		out(st, .method = "INVITE", .remote_tag = "", .call_id = id,
		    .sdp = talk_sdp(PHONE_ADDR, 5000 + 10 * i, ""));
		in(st, .method = "INVITE", .status = 200, .call_id = id,
		   .sdp = theirs(""));
		out(st, .method = "ACK", .call_id = id);
	}
	stage_wait(st, 60);
	assert_int_equal(st->sim.calls[SIMNAT_LISTEN], 1);
	assert_int_equal(st->sim.line.inside.port, 0);
}

/* It may not, or a firewall's packet socket is not to be had */
static void test_cannot_listen(void **state)
{
	(void)state;
	simnat_fail(&st->sim, SIMNAT_LISTEN, 0, 9, -EPERM);
	call_out();
	media_for(14, PHONE_RTP);
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_one_way_audio);
}

/* Only he who was not announced sends, and the phone is muted: a call */
static void test_guest_alone(void **state)
{
	(void)state;
	source(CONF_SOURCE_ANY);
	call_out();
	for (int i = 0; i < 300; i++) {
		stage_send(st, "198.51.100.77:7000", PUBLIC_ADDR ":16384",
			   "rtp");
		stage_wait(st, 1);
	}
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_media_elsewhere);
	assert_int_equal(st->alg->calls.live, 1);
	bye_out();
	assert_int_equal(call()->traffic.in, 299);
}

/* The Internet knocks at every port */
static void test_scanned(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		source(i ? CONF_SOURCE_ANY : CONF_SOURCE_SIGNALLING);
		call_out();
		media_for(5, PHONE_RTP | FAR_END);
		stage_send(st, "192.0.2.66:4444", PUBLIC_ADDR ":16384", "?");
		stage_send(st, "192.0.2.66:4444", PUBLIC_ADDR ":16384", "?");
		media_for(30, PHONE_RTP | FAR_END);
		assert_healthy();
		tear_down(state);
		set_up(state);
	}
}

/* Whoever sent before still does for a moment */
static void test_remote_moves(void **state)
{
	(void)state;
	source(CONF_SOURCE_SIGNALLING);
	call_out();
	media_for(20, PHONE_RTP | FAR_END);
	in(st, .method = "INVITE", .sdp = talk_sdp(MEDIA_ADDR, 6200, ""),
	   .cseq = 7);
	out(st, .method = "INVITE", .status = 200, .sdp = mine(""), .cseq = 7);
	in(st, .method = "ACK", .cseq = 7);
	for (int i = 0; i < 30; i++)
		stage_send(st, FAR_RTP, PUBLIC_ADDR ":16384", "rtp");
	for (int i = 0; i < 30; i++) {
		stage_send(st, RTP, MEDIA_ADDR ":6200", "rtp");
		stage_send(st, MEDIA_ADDR ":6200", PUBLIC_ADDR ":16384", "rtp");
		stage_wait(st, 1);
	}
	assert_healthy();
}

/* ICE tries every pair of addresses, and takes one */
static void test_ice_elsewhere(void **state)
{
	(void)state;
	source(CONF_SOURCE_ANY);
	out(st, .method = "INVITE", .remote_tag = "",
	    .sdp = mine("a=candidate:1 1 UDP 1 " PHONE_ADDR
			" 4000 typ host\r\n"));
	in(st, .method = "INVITE", .status = 200,
	   .sdp = theirs("a=candidate:1 1 UDP 1 " MEDIA_ADDR
			 " 6000 typ host\r\n"));
	out(st, .method = "ACK");
	for (int i = 0; i < 60; i++) {
		stage_send(st, "198.51.100.77:7000", PUBLIC_ADDR ":16384",
			   "rtp");
		stage_wait(st, 1);
	}
	assert_healthy();
}

/* Media that overtakes the answer is announced soon enough */
static void test_media_before_the_answer(void **state)
{
	(void)state;
	st->conf.media.source = CONF_SOURCE_ANY;
	alg_configure(st->alg, &st->conf);
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(""));
	stage_send(st, FAR_RTP, PUBLIC_ADDR ":16384", "rtp");
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(""));
	out(st, .method = "ACK");
	media_for(60, PHONE_RTP | FAR_END);
	assert_healthy();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_both_ways),
		T(test_nothing_from_outside),
		T(test_nothing_from_inside),
		T(test_nothing_at_all),
		T(test_few_packets),
		T(test_short_call),
		T(test_very_short_call),
		T(test_rtcp_only),
		T(test_muted_later),
		T(test_lost_later),
		T(test_hold),
		T(test_hold_answered_plainly),
		T(test_hold_by_zero),
		T(test_refused_hold),
		T(test_bye_to_the_other_fork),
		T(test_day_and_night),
		T(test_refresh_while_muted),
		T(test_early_media),
		T(test_forks),
		T(test_late_offers),
		T(test_refreshed_and_transferred),
		T(test_refused_video),
		T(test_rtcp_elsewhere),
		T(test_fax),
		T(test_fax_on_the_port_of_voice),
		T(test_ice),
		T(test_no_accounting),
		T(test_observe),
		T(test_accounting_begins_meanwhile),
		T(test_inside_to_inside),
		T(test_media_elsewhere),
		T(test_media_elsewhere_refused),
		T(test_media_from_elsewhere_unseen),
		T(test_media_to_elsewhere),
		T(test_media_by_another_port),
		T(test_when_it_listens),
		T(test_cannot_listen),
		T(test_guest_alone),
		T(test_scanned),
		T(test_remote_moves),
		T(test_ice_elsewhere),
		T(test_media_before_the_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
