/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The call log: its fields, its line, and the journal's form of it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "daemon/record.h"
#include "talk.h"

static struct stage *st;
/* What was sent to the journal, a field a line, and how often */
static char journal[4096];
static unsigned int sent;
static int answer_of_journal;

int __wrap_sd_journal_sendv(const struct iovec *iov, int n);

int __wrap_sd_journal_sendv(const struct iovec *iov, int n)
{
	size_t len = 0;

	for (int i = 0; i < n; i++) {
		assert_true(len + iov[i].iov_len + 2 < sizeof(journal));
		memcpy(journal + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
		journal[len++] = '\n';
	}
	journal[len] = '\0';
	sent++;
	return answer_of_journal;
}

static int set_up(void **state)
{
	(void)state;
	st = stage_open();
	sent = 0;
	answer_of_journal = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	stage_close(st);
	return 0;
}

/* What is written to stderr while @end runs; in a static buffer */
static const char *written_by(void (*end)(void))
{
	static char text[4096];
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t n;

	assert_non_null(file);
	log_set_level(LOG_LEVEL_INFO);
	dup2(fileno(file), STDERR_FILENO);
	end();
	dup2(saved, STDERR_FILENO);
	close(saved);
	log_set_level(LOG_LEVEL_ERROR);
	rewind(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	fclose(file);
	return text;
}

static void call_for(unsigned int seconds)
{
	out(st, .method = "INVITE", .remote_tag = "",
	    .sdp = talk_sdp(PHONE_ADDR, 4000, ""));
	in(st, .method = "INVITE", .status = 200,
	   .sdp = talk_sdp(MEDIA_ADDR, 6000, "a=rtpmap:0 PCMU/8000\r\n"));
	out(st, .method = "ACK");
	while (seconds--) {
		stage_send(st, PHONE_ADDR ":4000", MEDIA_ADDR ":6000", "rtp");
		stage_send(st, PHONE_ADDR ":4000", MEDIA_ADDR ":6000", "rtp");
		stage_send(st, MEDIA_ADDR ":6000", PUBLIC_ADDR ":16384", "rtp");
		stage_wait(st, 1);
	}
}

static void hang_up(void)
{
	out(st, .method = "BYE", .cseq = 9);
	in(st, .method = "BYE", .status = 200, .cseq = 9);
}

static void test_call(void **state)
{
	(void)state;
	record_open(st->alg);
	call_for(20);
	assert_string_equal(
		written_by(hang_up),
		"sipalgd: event=call result=answered status=200 duration_s=20 "
		"direction=outgoing inside=192.168.1.10 remote=198.51.100.5 "
		"codecs=PCMU packets_out=40 packets_in=20 symptoms=\"\" "
		"call_id=call from=\"<sip:phone@example.com>;tag=a\" "
		"to=\"<sip:far@example.com>\"\n");
	/* once: what comes late is not another end */
	assert_string_equal(written_by(hang_up), "");
}

static void end_refused(void)
{
	out(st, .method = "INVITE", .remote_tag = "");
	in(st, .method = "INVITE", .status = 486);
}

static void test_refused(void **state)
{
	const char *line;

	(void)state;
	record_open(st->alg);
	line = written_by(end_refused);
	assert_non_null(strstr(line, "result=failed status=486 duration_s=0 "));
}

/* The first INVITE is refused only until there are credentials */
static void end_challenged(void)
{
	out(st, .method = "INVITE", .remote_tag = "");
	in(st, .method = "INVITE", .status = 407);
	stage_wait(st, 2);
	out(st, .method = "INVITE", .remote_tag = "", .cseq = 2);
	in(st, .method = "INVITE", .status = 200, .cseq = 2);
	stage_wait(st, 3);
	out(st, .method = "BYE", .cseq = 9);
	in(st, .method = "BYE", .status = 200, .cseq = 9);
}

static void test_challenged(void **state)
{
	const char *line;

	(void)state;
	record_open(st->alg);
	line = written_by(end_challenged);
	assert_int_equal(strncmp(line,
				 "sipalgd: event=call result=answered "
				 "status=200 duration_s=3 ",
				 60),
			 0);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

/* No credentials come: then it was refused */
static void end_unauthorized(void)
{
	out(st, .method = "INVITE", .remote_tag = "");
	in(st, .method = "INVITE", .status = 407);
	stage_wait(st, 60);
}

static void test_unauthorized(void **state)
{
	(void)state;
	record_open(st->alg);
	assert_non_null(strstr(written_by(end_unauthorized),
			       "result=failed status=407"));
}

static void end_silent(void)
{
	call_for(0);
	for (int i = 0; i < 20; i++) {
		for (int n = 0; n < 10; n++)
			stage_send(st, PHONE_ADDR ":4000", MEDIA_ADDR ":6000",
				   "rtp");
		stage_wait(st, 1);
	}
	hang_up();
}

/* Nothing counts: nothing is said */
static void test_no_accounting(void **state)
{
	(void)state;
	record_open(st->alg);
	st->sim.counting = false;
	call_for(20);
	assert_non_null(strstr(written_by(hang_up),
			       "packets_out=\"\" packets_in=\"\" "
			       "symptoms=\"\" "));
}

static void test_symptoms(void **state)
{
	const char *line;

	(void)state;
	record_open(st->alg);
	line = written_by(end_silent);
	/* when it was seen, and at the end */
	assert_non_null(strstr(line,
			       "warning: 192.168.1.10: call: "
			       "one_way_audio: Audio in one direction "
			       "only: no packet from 198.51.100.9:6000 "));
	assert_non_null(strstr(line, "packets_in=0 symptoms=one_way_audio "));
}

/* Nobody writes lines of his own into the log */
static void end_forged(void)
{
	char text[2048], name[600];

	memset(name, '"', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	snprintf(text, sizeof(text),
		 "INVITE sip:x@example.com SIP/2.0\r\n"
		 "Via: SIP/2.0/UDP " PHONE ";branch=z9hG4bK1\r\n"
		 "From: \"a\x01\x1b[2J\r\n sipalgd: b\" <sip:a@b>;tag=1\r\n"
		 "To: %s\r\nCall-ID: x\" result=\"forged\r\n"
		 "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
		 name);
	stage_send(st, PHONE, SERVER, text);
	snprintf(text, sizeof(text),
		 "SIP/2.0 486 X\r\n"
		 "Via: SIP/2.0/UDP " PUBLIC ";branch=z9hG4bK1\r\n"
		 "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n"
		 "Call-ID: x\" result=\"forged\r\n"
		 "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
	stage_send(st, SERVER, PUBLIC, text);
}

static void test_forged(void **state)
{
	const char *line;
	size_t quotes = 0;

	(void)state;
	record_open(st->alg);
	line = written_by(end_forged);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	assert_non_null(strstr(line, "call_id=\"x\\x22 result=\\x22forged\" "));
	assert_non_null(
		strstr(line, "\\x01\\x1b[2J\\x0d\\x0a sipalgd: b\\x22"));
	for (const char *c = line; *c; c++) {
		assert_true(*c == '\n' || (*c >= 0x20 && *c < 0x7f));
		quotes += *c == '"';
	}
	/* codecs, symptoms, call_id, from, to: each opens and closes */
	assert_int_equal(quotes, 10);
	assert_int_equal(line[strlen(line) - 2], '"');
}

static void end_registration(void)
{
	talk_register(st, PHONE, PUBLIC, 600);
	stage_wait(st, 100);
	talk_register(st, PHONE, PUBLIC, 0);
}

static void test_registration(void **state)
{
	(void)state;
	record_open(st->alg);
	assert_string_equal(
		written_by(end_registration),
		"sipalgd: event=registration result=removed status=200 "
		"duration_s=100 inside=192.168.1.10 registrar=198.51.100.5 "
		"symptoms=\"\" aor=sip:far@example.com "
		"contact=sip:u@192.168.1.10:5060 user_agent=\"\"\n");
}

/* ---- the journal ---- */

/* As systemd does it: JOURNAL_STREAM names what stderr is */
static void end_in_journal(void)
{
	char stream[64];
	struct stat s;

	assert_int_equal(fstat(STDERR_FILENO, &s), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)s.st_dev,
		 (uintmax_t)s.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	call_for(3);
	hang_up();
}

static void test_journal(void **state)
{
	(void)state;
	record_open(st->alg);
	assert_string_equal(written_by(end_in_journal), "");
	assert_int_equal(sent, 1);
	assert_non_null(strstr(journal, "MESSAGE=event=call result=answered "));
	assert_non_null(strstr(journal, "\nPRIORITY=6\n"));
	assert_non_null(strstr(journal, "\nSYSLOG_IDENTIFIER=sipalgd\n"));
	assert_non_null(strstr(journal, "\nSIPALG_CALL_ID=call\n"));
	assert_non_null(strstr(journal, "\nSIPALG_DURATION_S=3\n"));
	assert_non_null(strstr(journal, "\nSIPALG_PACKETS_OUT=6\n"));
	assert_non_null(strstr(journal, "\nSIPALG_SYMPTOMS=\n"));
	assert_non_null(
		strstr(journal, "\nSIPALG_FROM=<sip:phone@example.com>;tag=a"));
}

/* The journal does not take it: the line goes where all others go */
static void test_journal_fails(void **state)
{
	(void)state;
	answer_of_journal = -1;
	record_open(st->alg);
	assert_non_null(strstr(written_by(end_in_journal), "event=call"));
	assert_int_equal(sent, 1);
}

static void end_elsewhere(void)
{
	setenv("JOURNAL_STREAM", "1:1", 1);
	call_for(3);
	hang_up();
}

/* stderr was sent into a file by a shell that the service runs */
static void test_not_the_journal(void **state)
{
	(void)state;
	record_open(st->alg);
	assert_non_null(strstr(written_by(end_elsewhere), "event=call"));
	assert_int_equal(sent, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_call),
		T(test_refused),
		T(test_challenged),
		T(test_unauthorized),
		T(test_no_accounting),
		T(test_symptoms),
		T(test_forged),
		T(test_registration),
		T(test_journal),
		T(test_journal_fails),
		T(test_not_the_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
