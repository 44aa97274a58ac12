/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Symptoms: the list of them, and which messages show which */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "talk.h"

static struct stage *st;
/* What the last registration that ended was told to have ended by */
static char ended_by[32];

static void on_registration_end(void *owner, const struct registration *reg,
				const char *how, uint64_t now_ms)
{
	(void)owner;
	(void)reg;
	(void)now_ms;
	snprintf(ended_by, sizeof(ended_by), "%s", how);
}

static int set_up(void **state)
{
	(void)state;
	st = stage_open();
	st->alg->registrations.ended = on_registration_end;
	ended_by[0] = '\0';
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	st->alg->registrations.ended = NULL;
	stage_close(st);
	return 0;
}

static const struct symptom_event *last(void)
{
	return symptoms_recent(&st->alg->symptoms, 0);
}

static void assert_none(void)
{
	if (last())
		fail_msg("%s: %s", symptom_code(last()->symptom), last()->text);
}

static void assert_last(enum symptom s, const char *text)
{
	assert_non_null(last());
	assert_string_equal(symptom_code(last()->symptom), symptom_code(s));
	assert_string_equal(last()->text, text);
	assert_int_equal(
		stage_count(st, (enum counter)(COUNTER_symptoms + (int)s)), 1);
}

/* ---- the table and the list ---- */

static void test_table(void **state)
{
	(void)state;
	for (int i = 0; i < SYMPTOM_COUNT; i++) {
		enum symptom s = (enum symptom)i;
		char name[64];

		snprintf(name, sizeof(name), "symptom_%s", symptom_code(s));
		assert_string_equal(
			counter_name((enum counter)(COUNTER_symptoms + i)),
			name);
		assert_string_equal(
			counter_help((enum counter)(COUNTER_symptoms + i)),
			symptom_text(s));
		assert_true(strlen(symptom_text(s)) > 10);
		assert_true(strlen(symptom_fix(s)) > 10);
		assert_non_null(symptom_severity(s));
	}
}

static void test_once_each(void **state)
{
	struct symptoms *list = &st->alg->symptoms;
	struct symptom_note *notes = NULL;
	uint32_t mask = 0;
	struct symptom_subject of = { .mask = &mask, .notes = &notes };

	(void)state;
	symptom_raise(list, &of, SYMPTOM_no_audio, 5000, "%d s", 12);
	symptom_raise(list, &of, SYMPTOM_no_audio, 6000, "%d s", 13);
	assert_int_equal(mask, 1u << SYMPTOM_no_audio);
	assert_string_equal(symptom_note_text(notes, SYMPTOM_no_audio), "12 s");
	assert_string_equal(symptom_note_text(notes, SYMPTOM_call_lost),
			    symptom_text(SYMPTOM_call_lost));
	assert_last(SYMPTOM_no_audio, "12 s");
	assert_int_equal(last()->first_ms, 5000);
	assert_int_equal(list->total, 1);
	symptom_notes_free(notes);
}

/* Without a call: one event for each inside host, with the last example */
static void test_repeated(void **state)
{
	struct symptoms *list = &st->alg->symptoms;
	struct addr a = stage_addr("192.168.1.10"),
		    b = stage_addr("192.168.1.11");
	struct symptom_subject of = { .inside = &a }, other = { .inside = &b };

	(void)state;
	symptom_raise(list, &of, SYMPTOM_not_rewritten, 5000, "one");
	symptom_raise(list, &other, SYMPTOM_not_rewritten, 5000, "two");
	symptom_raise(list, &of, SYMPTOM_not_rewritten, 7000, "three");
	assert_int_equal(list->total, 2);
	assert_string_equal(symptoms_recent(list, 0)->text, "two");
	assert_string_equal(symptoms_recent(list, 1)->text, "three");
	assert_int_equal(symptoms_recent(list, 1)->times, 2);
	assert_int_equal(symptoms_recent(list, 1)->first_ms, 5000);
	assert_int_equal(symptoms_recent(list, 1)->last_ms, 7000);
	assert_null(symptoms_recent(list, 2));
	assert_int_equal(
		stage_count(st, COUNTER_symptoms + SYMPTOM_not_rewritten), 3);
}

/* What belongs to a call is not renewed, nor what is long ago */
static void test_not_repeated(void **state)
{
	struct symptoms *list = &st->alg->symptoms;
	struct symptom_note *notes = NULL;
	uint32_t mask = 0;
	struct addr a = stage_addr("192.168.1.10");
	struct symptom_subject call = { &mask, &notes, &a, SPAN("") };
	struct symptom_subject of = { .inside = &a };

	(void)state;
	symptom_raise(list, &call, SYMPTOM_not_rewritten, 5000, "of a call");
	symptom_raise(list, &of, SYMPTOM_not_rewritten, 5000, "one");
	symptom_raise(list, &of, SYMPTOM_not_rewritten, 6000, "two");
	symptom_raise(list, &of, SYMPTOM_not_rewritten, 6000 + 3600 * 1000,
		      "three");
	assert_int_equal(list->total, 3);
	assert_string_equal(symptoms_recent(list, 0)->text, "three");
	assert_string_equal(symptoms_recent(list, 1)->text, "two");
	assert_string_equal(symptoms_recent(list, 2)->text, "of a call");
	symptom_notes_free(notes);
}

static void test_list_is_bounded(void **state)
{
	struct symptoms *list = &st->alg->symptoms;
	char text[16];

	(void)state;
	for (int i = 0; i < 3 * SYMPTOM_EVENTS; i++) {
		struct symptom_note *notes = NULL;
		uint32_t mask = 0;
		struct symptom_subject of = { .mask = &mask, .notes = &notes };

		symptom_raise(list, &of, SYMPTOM_no_audio, 1000, "%d", i);
		symptom_notes_free(notes);
	}
	for (int i = 0; i < SYMPTOM_EVENTS; i++) {
		snprintf(text, sizeof(text), "%d", 3 * SYMPTOM_EVENTS - 1 - i);
		assert_string_equal(
			symptoms_recent(list, (unsigned int)i)->text, text);
	}
	assert_null(symptoms_recent(list, SYMPTOM_EVENTS));
}

static void test_text_is_safe(void **state)
{
	struct symptom_subject of = { 0 };
	char longer[2 * SYMPTOM_TEXT_MAX];

	(void)state;
	symptom_raise(&st->alg->symptoms, &of, SYMPTOM_not_rewritten, 1000,
		      "a\r\nsipalgd: b\x1b[1m\xff");
	assert_string_equal(last()->text, "a\\x0d\\x0asipalgd: b\\x1b[1m\\xff");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	symptom_raise(&st->alg->symptoms, &of, SYMPTOM_not_rewritten, 1000,
		      "%s", longer);
	assert_int_equal(strlen(last()->text), SYMPTOM_TEXT_MAX - 1);
}

/* ---- calls ---- */

static const char *mine(void)
{
	return talk_sdp(PHONE_ADDR, 4000, "");
}

static const char *theirs(void)
{
	return talk_sdp(MEDIA_ADDR, 6000, "");
}

static const struct call *call(void)
{
	return st->alg->calls.list;
}

static void invite(void)
{
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine());
}

static void answer(const char *extra)
{
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(),
	   .extra = extra);
	out(st, .method = "ACK");
}

static void media_for(unsigned int seconds)
{
	while (seconds--) {
		stage_send(st, PHONE_ADDR ":4000", MEDIA_ADDR ":6000", "rtp");
		stage_send(st, MEDIA_ADDR ":6000", PUBLIC_ADDR ":16384", "rtp");
		stage_wait(st, 1);
	}
}

static void test_invite_unheard(void **state)
{
	(void)state;
	invite();
	stage_wait(st, 30);
	assert_none();
	stage_wait(st, 4);
	assert_last(SYMPTOM_invite_unanswered,
		    "no answer from 198.51.100.5 to the INVITE of "
		    "192.168.1.10 for 32 s");
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_invite_unanswered);
	assert_int_equal(call_result(call()), CALL_UNANSWERED);
}

/* The phone is off */
static void test_invite_unheard_inside(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	in(st, .method = "INVITE", .local_tag = "", .sdp = theirs());
	stage_wait(st, 34);
	assert_last(SYMPTOM_invite_unanswered,
		    "no answer from 192.168.1.10 to the INVITE of "
		    "198.51.100.5 for 32 s");
}

static void test_invite_given_up_by_caller(void **state)
{
	(void)state;
	invite();
	stage_wait(st, 7);
	out(st, .method = "CANCEL", .remote_tag = "");
	assert_last(SYMPTOM_invite_unanswered,
		    "no answer from 198.51.100.5 to the INVITE of "
		    "192.168.1.10 for 7 s");
}

static void test_cancelled_at_once(void **state)
{
	(void)state;
	invite();
	stage_wait(st, 2);
	out(st, .method = "CANCEL", .remote_tag = "");
	stage_wait(st, 60);
	assert_none();
}

/* Nobody picks up: that is how calls are */
static void test_cancelled_while_ringing(void **state)
{
	(void)state;
	invite();
	in(st, .method = "INVITE", .status = 180);
	stage_wait(st, 60);
	out(st, .method = "CANCEL", .remote_tag = "");
	in(st, .method = "CANCEL", .status = 200);
	in(st, .method = "INVITE", .status = 487);
	assert_none();
	assert_int_equal(call_result(call()), CALL_CANCELLED);
}

static void test_ringing_for_ever(void **state)
{
	(void)state;
	invite();
	in(st, .method = "INVITE", .status = 180);
	stage_wait(st, 250);
	assert_last(SYMPTOM_invite_unanswered,
		    "no final answer from 198.51.100.5 to the INVITE of "
		    "192.168.1.10 for 240 s");
}

static void test_refused(void **state)
{
	(void)state;
	invite();
	in(st, .method = "INVITE", .status = 486);
	assert_none();
	assert_int_equal(call_result(call()), CALL_FAILED);
	assert_int_equal(call()->status, 486);
}

/* Called again by the same Call-ID: what was wrong then is told, and over */
static void test_called_again(void **state)
{
	(void)state;
	invite();
	stage_wait(st, 33);
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_invite_unanswered);
	in(st, .method = "INVITE", .status = 503);
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(), .cseq = 2,
	    .server = "198.51.100.6:5060");
	assert_int_equal(call()->symptoms, 0);
	stage_wait(st, 33);
	assert_string_equal(last()->text,
			    "no answer from 198.51.100.6 to the INVITE of "
			    "192.168.1.10 for 32 s");
}

/* Credentials are asked for, and given, by the same Call-ID */
static void test_challenged(void **state)
{
	(void)state;
	invite();
	in(st, .method = "INVITE", .status = 401);
	stage_wait(st, 1);
	out(st, .method = "INVITE", .remote_tag = "", .sdp = mine(), .cseq = 2);
	in(st, .method = "INVITE", .status = 200, .sdp = theirs(), .cseq = 2);
	out(st, .method = "ACK", .cseq = 2);
	media_for(20);
	assert_none();
	assert_int_equal(call_result(call()), CALL_ANSWERED);
	assert_string_equal(call()->codecs, "PCMU");
}

static void test_lost_by_silence(void **state)
{
	(void)state;
	invite();
	answer(NULL);
	media_for(20);
	stage_wait(st, 300);
	assert_int_equal(last()->symptom, SYMPTOM_call_lost);
	assert_non_null(strstr(last()->text, "no media for "));
	assert_non_null(strstr(last()->text, " s after the answer"));
}

static void test_lost_by_session_timer(void **state)
{
	(void)state;
	invite();
	answer("Session-Expires: 90\r\n");
	media_for(130);
	assert_last(SYMPTOM_call_lost, "the session timer ran out, and no BYE, "
				       "122 s after the answer");
}

/* That BYE is not answered is no fault of the call */
static void test_bye_unanswered(void **state)
{
	(void)state;
	invite();
	answer(NULL);
	media_for(20);
	out(st, .method = "BYE", .cseq = 3);
	stage_wait(st, 100);
	assert_none();
}

static void test_unknown_to_the_phone(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	/* Overlap: the rest of the number is still to come */
	in(st, .method = "INVITE", .local_tag = "", .call_id = "overlap",
	   .sdp = theirs());
	out(st, .method = "INVITE", .call_id = "overlap", .status = 484);
	assert_none();
	in(st, .method = "INVITE", .local_tag = "", .sdp = theirs());
	out(st, .method = "INVITE", .status = 404);
	assert_last(SYMPTOM_unknown_contact,
		    PHONE " answered 404 to an INVITE for "
			  "sip:phone@example.com");
}

static void test_busy_phone(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	in(st, .method = "INVITE", .local_tag = "", .sdp = theirs());
	out(st, .method = "INVITE", .status = 486);
	assert_none();
}

/* ---- registrations ---- */

static void register_with(int cseq, const char *via, int seconds)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "REGISTER sip:example.com SIP/2.0\r\n"
		 "Via: SIP/2.0/UDP " PHONE "%s;branch=z9hG4bKr%d\r\n"
		 "From: <sip:u@example.com>;tag=1\r\n"
		 "To: <sip:u@example.com>\r\nCall-ID: reg\r\n"
		 "CSeq: %d REGISTER\r\nContact: <sip:u@" PHONE ">\r\n"
		 "Expires: %d\r\nContent-Length: 0\r\n\r\n",
		 via, cseq, cseq, seconds);
	stage_send(st, PHONE, SERVER, text);
}

static void register_out(int cseq, const char *via)
{
	register_with(cseq, via, 600);
}

static void register_for(int cseq, int seconds)
{
	register_with(cseq, "", seconds);
}

static void register_in(int cseq, int status, const char *via,
			const char *contact)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "SIP/2.0 %d X\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKr%d\r\n"
		 "From: <sip:u@example.com>;tag=1\r\n"
		 "To: <sip:u@example.com>;tag=2\r\nCall-ID: reg\r\n"
		 "CSeq: %d REGISTER\r\n%s%s%sContent-Length: 0\r\n\r\n",
		 status, via, cseq, cseq, contact ? "Contact: " : "",
		 contact ? contact : "", contact ? "\r\n" : "");
	stage_send(st, SERVER, PUBLIC, text);
}

#define OURS "<sip:u@" PUBLIC ">;expires=600"

static const struct registration *reg(void)
{
	return st->alg->registrations.list->contacts;
}

static void test_registered(void **state)
{
	(void)state;
	for (int i = 1; i < 20; i += 2) {
		register_out(i, ";rport");
		register_in(i, 401, PUBLIC ";received=203.0.113.1;rport=5060",
			    NULL);
		register_out(i + 1, ";rport");
		register_in(i + 1, 200,
			    PUBLIC ";received=203.0.113.1;rport=5060", OURS);
		stage_wait(st, 300);
	}
	assert_none();
	assert_int_equal(reg()->symptoms, 0);
}

static void test_register_unanswered(void **state)
{
	(void)state;
	register_out(1, "");
	stage_wait(st, 35);
	assert_last(SYMPTOM_register_unanswered,
		    "no answer from 198.51.100.5 for 32 s");
	assert_string_equal(ended_by, "unanswered");
}

static void test_registration_lapsed(void **state)
{
	(void)state;
	register_out(1, "");
	register_in(1, 200, PUBLIC, OURS);
	stage_wait(st, 600);
	assert_none();
	stage_wait(st, 5);
	assert_last(SYMPTOM_registration_lapsed,
		    "not refreshed at 198.51.100.5 within 600 s");
	assert_string_equal(ended_by, "lapsed");
}

static void test_removed(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	stage_wait(st, 10);
	talk_register(st, PHONE, PUBLIC, 0);
	assert_none();
	assert_string_equal(ended_by, "removed");
}

static void test_registration_refused(void **state)
{
	(void)state;
	register_out(1, "");
	register_in(1, 403, PUBLIC, NULL);
	assert_last(SYMPTOM_registration_refused, "198.51.100.5 answered 403");
	assert_int_equal(reg()->symptoms, 1u << SYMPTOM_registration_refused);
	stage_wait(st, 35);
	assert_string_equal(ended_by, "refused");
	assert_int_equal(st->alg->symptoms.total, 1);
}

/* A challenge is no refusal, a longer interval is asked for again */
static void test_challenge(void **state)
{
	(void)state;
	register_out(1, "");
	register_in(1, 401, PUBLIC, NULL);
	register_out(2, "");
	register_in(2, 423, PUBLIC, NULL);
	register_out(3, "");
	register_in(3, 200, PUBLIC, OURS);
	assert_none();
}

static void test_challenge_ignored(void **state)
{
	(void)state;
	register_out(1, "");
	register_in(1, 401, PUBLIC, NULL);
	stage_wait(st, 35);
	assert_last(SYMPTOM_registration_refused,
		    "198.51.100.5 answered 401, and got no credentials it "
		    "takes");
	assert_string_equal(ended_by, "refused");
}

static void test_wrong_password(void **state)
{
	(void)state;
	for (int i = 1; i <= 2; i++) {
		register_out(i, "");
		register_in(i, 401, PUBLIC, NULL);
	}
	assert_none();
	register_out(3, "");
	register_in(3, 401, PUBLIC, NULL);
	assert_last(SYMPTOM_registration_refused,
		    "198.51.100.5 answered 401 several times in a row");
}

/* An answer to a REGISTER that was never sent changes nothing */
static void test_stray_refusal(void **state)
{
	(void)state;
	register_out(1, "");
	register_in(7, 403, PUBLIC, NULL);
	assert_none();
}

/* Taking leave is no lapse, whether or not anybody answers */
static void test_leave_unanswered(void **state)
{
	(void)state;
	register_out(1, "");
	register_in(1, 200, PUBLIC, OURS);
	stage_wait(st, 10);
	register_for(2, 0);
	stage_wait(st, 700);
	assert_none();
	assert_string_equal(ended_by, "removed");
}

/* It is asked for its password on the way out, and gone */
static void test_leave_challenged(void **state)
{
	(void)state;
	register_out(1, "");
	register_in(1, 200, PUBLIC, OURS);
	stage_wait(st, 10);
	register_for(2, 0);
	register_in(2, 401, PUBLIC, NULL);
	stage_wait(st, 700);
	assert_none();
	assert_string_equal(ended_by, "removed");
}

/* Many phones begin by taking leave of what they had before */
static void test_leave_first(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		register_for(1, 0);
		register_in(1, i ? 403 : 401, PUBLIC, NULL);
		stage_wait(st, 40);
		assert_none();
	}
}

/* A phone that starts anew, at another port: the old Contact is not missed */
static void test_restarted_phone(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	stage_wait(st, 60);
	out(st, .phone = PHONE_ADDR ":5070", .method = "REGISTER",
	    .remote_tag = "", .call_id = "anew",
	    .extra = "Contact: <sip:u@" PHONE_ADDR ":5070>\r\n");
	in(st, .public_end = PUBLIC_ADDR ":5070", .method = "REGISTER",
	   .status = 200, .call_id = "anew",
	   .extra = "Contact: <sip:u@" PUBLIC ">;expires=540, "
		    "<sip:u@" PUBLIC_ADDR ":5070>;expires=3600\r\n");
	assert_int_equal(st->alg->registrations.count, 2);
	stage_wait(st, 700);
	assert_none();
	assert_string_equal(ended_by, "replaced");
	assert_int_equal(st->alg->registrations.count, 1);
}

/* Two Contacts of one user and host, each by a REGISTER of its own: what one
 * answer does not list may be under way
 */
static void test_two_at_once(void **state)
{
#define SECOND "sip:u@" PUBLIC_ADDR ":5070"
	static const char *const lists[2] = { "Contact: <sip:u@" PUBLIC
					      ">;expires=600\r\n",
					      "Contact: <" SECOND
					      ">;expires=600\r\n" };

	(void)state;
	for (int last = 0; last < 2; last++) {
		out(st, .method = "REGISTER", .remote_tag = "", .call_id = "0",
		    .extra = "Contact: <sip:u@" PHONE ">\r\n");
		out(st, .phone = PHONE_ADDR ":5070", .method = "REGISTER",
		    .remote_tag = "", .call_id = "1",
		    .extra = "Contact: <sip:u@" PHONE_ADDR ":5070>\r\n");
		for (int i = 0; i < 2; i++) {
			bool second = (i == 0) != (last == 1);

			in(st,
			   .public_end = second ? PUBLIC_ADDR ":5070" : PUBLIC,
			   .method = "REGISTER", .status = 200,
			   .call_id = second ? "1" : "0",
			   .extra = lists[second]);
			if (i == 0)
				assert_int_equal(st->alg->registrations.count,
						 2);
		}
		assert_none();
		tear_down(state);
		set_up(state);
	}
}

/* The refresh is under way when the time is over */
static void test_late_refresh(void **state)
{
	(void)state;
	register_out(1, "");
	register_in(1, 200, PUBLIC, OURS);
	stage_wait(st, 599);
	register_out(2, "");
	stage_wait(st, 4);
	assert_none();
	register_in(2, 200, PUBLIC, OURS);
	assert_none();
	assert_int_equal(reg()->expires_ms, st->now_ms + 600 * 1000);
	/* And one that nobody answers is told at once, not at the end */
	stage_wait(st, 300);
	register_out(3, "");
	stage_wait(st, 34);
	assert_last(SYMPTOM_register_unanswered,
		    "no answer from 198.51.100.5 for 32 s");
	stage_wait(st, 300);
	assert_last(SYMPTOM_registration_lapsed,
		    "not refreshed at 198.51.100.5 within 600 s; the last "
		    "REGISTER was not granted");
}

/* What was mended is forgotten, and told again if it comes again */
static void test_refused_again(void **state)
{
	(void)state;
	register_out(1, "");
	register_in(1, 200, PUBLIC, OURS);
	for (int i = 1; i <= 2; i++) {
		register_out(2 * i, "");
		register_in(2 * i, 503, PUBLIC, NULL);
		assert_int_equal(reg()->symptoms,
				 1u << SYMPTOM_registration_refused);
		assert_int_equal(
			stage_count(st, COUNTER_symptoms +
						SYMPTOM_registration_refused),
			i);
		register_out(2 * i + 1, "");
		register_in(2 * i + 1, 200, PUBLIC, OURS);
		assert_int_equal(reg()->symptoms, 0);
	}
}

/* Who is left alone is not watched: nothing is known of his refreshes */
static void test_left_alone_meanwhile(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		talk_register(st, PHONE, PUBLIC, 60);
		if (how == 0)
			st->conf.gateway.mode = CONF_MODE_BYPASS;
		else
			*(how == 1 ? &st->conf.bypass.phones
				   : &st->conf.bypass.peers) =
				(struct conf_networks){
					.count = 1,
					.net = { stage_network("0.0.0.0/0") }
				};
		alg_configure(st->alg, &st->conf);
		stage_wait(st, 30);
		talk_register(st, PHONE, PUBLIC, 60);
		stage_wait(st, 60);
		assert_none();
		assert_string_equal(ended_by, "bypassed");
		tear_down(state);
		set_up(state);
	}
}

static void test_agent_left_alone_meanwhile(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 60);
	st->conf.bypass.user_agents = (struct conf_names){ 1, { "Clever*" } };
	alg_configure(st->alg, &st->conf);
	stage_wait(st, 30);
	out(st, .method = "REGISTER", .remote_tag = "",
	    .extra = "User-Agent: Clever 1\r\n");
	assert_int_equal(st->d.reason, COUNTER_bypassed);
	stage_wait(st, 60);
	assert_none();
	assert_string_equal(ended_by, "bypassed");
}

/* Nothing is changed: what comes back is as the phone wrote it */
static void test_observed(void **state)
{
	(void)state;
	st->conf.gateway.mode = CONF_MODE_OBSERVE;
	alg_configure(st->alg, &st->conf);
	register_out(1, ";rport");
	register_in(1, 200, PHONE ";received=203.0.113.1;rport=5060",
		    "<sip:u@" PHONE ">;expires=600");
	assert_none();
	invite();
	stage_send(st, SERVER, PUBLIC,
		   "SIP/2.0 180 X\r\n"
		   "Via: SIP/2.0/UDP " PHONE ";branch=z9hG4bKINVITE0\r\n"
		   "From: <sip:phone@example.com>;tag=a\r\n"
		   "To: <sip:far@example.com>;tag=b\r\nCall-ID: call\r\n"
		   "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
	assert_none();
	assert_int_equal(reg()->symptoms, 0);
}

/* ---- somebody else on the path ---- */

static void test_via_changed(void **state)
{
	(void)state;
	register_out(1, ";rport");
	register_in(1, 200, "198.18.0.1:1024;received=198.18.0.1;rport=1024",
		    OURS);
	assert_last(SYMPTOM_upstream_alg,
		    "our Via " PUBLIC " came back as 198.18.0.1:1024 in the "
		    "answer to 1 REGISTER");
	assert_int_equal(reg()->symptoms, 1u << SYMPTOM_upstream_alg);
}

static void test_via_port_changed(void **state)
{
	(void)state;
	register_out(1, ";rport");
	register_in(1, 200, PUBLIC_ADDR ":1024;rport=5060", OURS);
	assert_int_equal(last()->symptom, SYMPTOM_upstream_alg);
}

static void test_nat_upstream(void **state)
{
	(void)state;
	register_out(1, ";rport");
	register_in(1, 200, PUBLIC ";received=198.18.0.1;rport=1024", OURS);
	assert_last(SYMPTOM_upstream_nat,
		    "we send from " PUBLIC ", it is seen as 198.18.0.1:1024");
}

/* A phone that writes a name of its own, or its STUN address, gets that back */
static void test_via_of_the_phone(void **state)
{
	static const char *const vias[] = { "phone.example.com:5060",
					    "198.18.0.7:5060" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		char text[512];

		snprintf(text, sizeof(text),
			 "REGISTER sip:example.com SIP/2.0\r\n"
			 "Via: SIP/2.0/UDP %s;rport;branch=z9hG4bKr%d\r\n"
			 "From: <sip:u@example.com>;tag=1\r\n"
			 "To: <sip:u@example.com>\r\nCall-ID: reg\r\n"
			 "CSeq: %d REGISTER\r\nContact: <sip:u@" PHONE ">\r\n"
			 "Expires: 600\r\nContent-Length: 0\r\n\r\n",
			 vias[i], i + 1, i + 1);
		stage_send(st, PHONE, SERVER, text);
		register_in(i + 1, 200, vias[i], OURS);
	}
	assert_none();
}

static void test_via_of_a_call(void **state)
{
	char text[1024];

	(void)state;
	invite();
	snprintf(text, sizeof(text),
		 "SIP/2.0 180 X\r\n"
		 "Via: SIP/2.0/UDP 198.18.0.1:9;branch=z9hG4bKINVITE0\r\n"
		 "From: <sip:phone@example.com>;tag=a\r\n"
		 "To: <sip:far@example.com>;tag=b\r\nCall-ID: call\r\n"
		 "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
	stage_send(st, SERVER, PUBLIC, text);
	assert_int_equal(call()->symptoms, 1u << SYMPTOM_upstream_alg);
	stage_send(st, SERVER, PUBLIC, text);
	assert_int_equal(st->alg->symptoms.total, 1);
}

static void test_contact_changed(void **state)
{
	(void)state;
	register_out(1, ";rport");
	register_in(1, 200, PUBLIC,
		    "<sip:u@198.18.0.1:1024>;expires=600, "
		    "<sip:u@192.0.2.1>;expires=9");
	assert_last(SYMPTOM_upstream_alg,
		    "the 200 to REGISTER lists sip:u@198.18.0.1:1024, not our "
		    "Contact at " PUBLIC);
	assert_string_equal(ended_by, "changed");
}

/* Other devices of the same user are none of our business */
static void test_other_contacts(void **state)
{
	(void)state;
	register_out(1, ";rport");
	register_in(1, 200, PUBLIC,
		    "<sip:u@192.0.2.1>;expires=9, <sip:u@" PUBLIC
		    ">;expires=600");
	assert_none();
}

static void test_provider_notes_received(void **state)
{
	(void)state;
	register_out(1, ";rport");
	register_in(1, 200, PUBLIC, OURS ";received=\"sip:203.0.113.1:5060\"");
	assert_int_equal(reg()->symptoms, 1u << SYMPTOM_provider_nat);
	assert_string_equal(symptom_severity(SYMPTOM_provider_nat), "info");
}

static void test_provider_forces_rport(void **state)
{
	(void)state;
	register_out(1, "");
	register_in(1, 200, PUBLIC ";received=203.0.113.1;rport=5060", OURS);
	assert_last(SYMPTOM_provider_nat,
		    "it filled in rport, which was not asked for");
}

/* ---- passed as it came ---- */

static void test_malformed(void **state)
{
	struct addr inside = stage_addr(PHONE_ADDR);

	(void)state;
	stage_send(st, PHONE, SERVER,
		   "INVITE sip:x@example.com SIP/2.0\r\nVia: x\r\n"
		   "Content-Length: 99\r\n\r\n");
	assert_int_equal(st->d.reason, COUNTER_bad_length);
	assert_last(SYMPTOM_not_rewritten,
		    "Messages with an unreadable or wrong Content-Length "
		    "(bad_length): \"INVITE sip:x@example.com SIP/2.0\\x0d"
		    "\\x0aVia: x\\x0d\\x0aContent-Length: 99\"");
	assert_true(addr_eq(&last()->inside, &inside));
	/* A flood of them is looked at now and then */
	for (int i = 0; i < 100; i++)
		stage_send(st, PHONE, SERVER,
			   "INVITE sip:x@example.com SIP/2.0\r\n"
			   "Content-Length: 99\r\n\r\n");
	assert_int_equal(last()->times, 1);
	stage_wait(st, 2);
	stage_send(
		st, PHONE, SERVER,
		"BYE sip:x@example.com SIP/2.0\r\nContent-Length: 9\r\n\r\n");
	assert_int_equal(last()->times, 2);
	assert_int_equal(st->alg->symptoms.total, 1);
}

static void test_keepalive(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	stage_send(st, PHONE, SERVER, "\r\n\r\n");
	stage_send(st, SERVER, PUBLIC, "\r\n");
	stage_send(st, PHONE, SERVER, "hello");
	assert_none();
}

/* No port is left for a stream: the call says so */
static void test_no_media_port(void **state)
{
	(void)state;
	st->conf.media.rtp_ports =
		(struct ports){ .count = 1, .range = { { 20000, 20001 } } };
	alg_configure(st->alg, &st->conf);
	invite();
	assert_none();
	out(st, .method = "INVITE", .remote_tag = "", .call_id = "second",
	    .sdp = talk_sdp(PHONE_ADDR, 5000, ""));
	assert_last(SYMPTOM_not_rewritten,
		    "part of INVITE: Media refused: no public port was free "
		    "(media_exhausted)");
	assert_int_equal(st->alg->calls.list->symptoms, 0);
	assert_int_equal(st->alg->calls.list->prev->symptoms,
			 1u << SYMPTOM_not_rewritten);
}

/* ---- nobody there ---- */

static void test_lapsed_phone_is_called(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 60);
	stage_wait(st, 3600);
	stage_send(st, SERVER, PUBLIC, "INVITE sip:u@" PUBLIC " SIP/2.0\r\n");
	assert_true(st->d.reason == COUNTER_not_allowed ||
		    st->d.reason == COUNTER_stranger);
	assert_int_equal(last()->symptom, SYMPTOM_unknown_contact);
	assert_non_null(strstr(last()->text, "198.51.100.5 sends to " PUBLIC));
}

static void test_nobody_has_that_port(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	stage_send(st, SERVER, PUBLIC_ADDR ":5077", "INVITE sip:u@x SIP/2.0");
	assert_int_equal(st->d.reason, COUNTER_stranger);
	assert_last(SYMPTOM_unknown_contact,
		    "198.51.100.5 sends to " PUBLIC_ADDR
		    ":5077, which no phone has");
}

/* The Internet knocks at every port all the time */
static void test_scanner(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	stage_send(st, "192.0.2.66:5060", PUBLIC, "OPTIONS sip:x SIP/2.0");
	stage_wait(st, 2);
	stage_send(st, "192.0.2.66:5060", PUBLIC_ADDR ":5077",
		   "OPTIONS sip:x SIP/2.0");
	assert_none();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_table),
		T(test_once_each),
		T(test_repeated),
		T(test_not_repeated),
		T(test_list_is_bounded),
		T(test_text_is_safe),
		T(test_invite_unheard),
		T(test_invite_unheard_inside),
		T(test_invite_given_up_by_caller),
		T(test_cancelled_at_once),
		T(test_cancelled_while_ringing),
		T(test_ringing_for_ever),
		T(test_refused),
		T(test_called_again),
		T(test_challenged),
		T(test_lost_by_silence),
		T(test_lost_by_session_timer),
		T(test_bye_unanswered),
		T(test_unknown_to_the_phone),
		T(test_busy_phone),
		T(test_registered),
		T(test_register_unanswered),
		T(test_registration_lapsed),
		T(test_removed),
		T(test_registration_refused),
		T(test_challenge),
		T(test_challenge_ignored),
		T(test_wrong_password),
		T(test_stray_refusal),
		T(test_leave_unanswered),
		T(test_leave_challenged),
		T(test_leave_first),
		T(test_restarted_phone),
		T(test_two_at_once),
		T(test_late_refresh),
		T(test_refused_again),
		T(test_left_alone_meanwhile),
		T(test_agent_left_alone_meanwhile),
		T(test_observed),
		T(test_via_changed),
		T(test_via_port_changed),
		T(test_nat_upstream),
		T(test_via_of_the_phone),
		T(test_via_of_a_call),
		T(test_contact_changed),
		T(test_other_contacts),
		T(test_provider_notes_received),
		T(test_provider_forces_rport),
		T(test_malformed),
		T(test_keepalive),
		T(test_no_media_port),
		T(test_lapsed_phone_is_called),
		T(test_nobody_has_that_port),
		T(test_scanner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
