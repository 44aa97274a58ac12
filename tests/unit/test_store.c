/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a successor knows */
#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>
#include <zlib.h>

#include <cmocka.h>

#include "talk.h"

static char directory[] = "/tmp/sipalg-store-XXXXXX";
static char path[64];
static const char *why;
static struct store_count count;

/* The wall's clock is ahead of the stage's by some years */
static struct store here(const struct stage *st)
{
	return (struct store){ .directory = directory,
			       .now_ms = st->now_ms,
			       .offset_ms = 1700000000000 };
}

static int set_up(void **state)
{
	memcpy(directory + sizeof(directory) - 7, "XXXXXX", 6);
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/state", directory);
	*state = stage_open();
	return 0;
}

static int tear_down(void **state)
{
	static const char *const files[] = { "", ".old", ".bad", ".new" };
	char file[80];

	for (int i = 0; i < 4; i++) {
		snprintf(file, sizeof(file), "%s%s", path, files[i]);
		unlink(file);
	}
	rmdir(directory);
	stage_close(*state);
	return 0;
}

/* Another program in its place: the kernel's table is there */
static void succeed(struct stage *st)
{
	struct simnat_entry *entry, *next;
	struct nat_entry now;

	alg_free(st->alg);
	st->alg = alg_new(&st->conf, &simnat_ops, &st->sim, st->now_ms);
	assert_non_null(st->alg);
	DL_FOREACH_SAFE (st->sim.list, entry, next) {
		if (!simnat_ops.find(&st->sim, &entry->data.lan, NAT_SIDE_LAN,
				     &now))
			alg_adopt(st->alg, &now, st->now_ms);
	}
}

static int write_state(const struct stage *st, bool orderly)
{
	struct store store = here(st);

	return store_write(&store, st->alg, orderly);
}

static int read_state(struct stage *st, bool whole)
{
	struct store store = here(st);

	return store_read(&store, st->alg, whole, &count, &why);
}

static void hand_over(struct stage *st)
{
	assert_int_equal(write_state(st, true), 0);
	succeed(st);
	assert_int_equal(read_state(st, true), 0);
	assert_int_equal(count.dropped, 0);
}

static void call_out(struct stage *st)
{
	out(st, .method = "INVITE", .remote_tag = "",
	    .sdp = talk_sdp(PHONE_ADDR, 4000, ""));
	in(st, .method = "INVITE", .status = 200,
	   .sdp = talk_sdp(MEDIA_ADDR, 8000, ""));
	out(st, .method = "ACK");
}

static void busy(struct stage *st)
{
	talk_register(st, PHONE, PUBLIC, 3600);
	call_out(st);
	out(st, .method = "SUBSCRIBE", .call_id = "sub", .remote_tag = "",
	    .extra = "Expires: 600\r\n");
	in(st, .method = "SUBSCRIBE", .call_id = "sub", .status = 200,
	   .extra = "Expires: 600\r\n");
}

static const struct call *the_call(const struct stage *st)
{
	return st->alg->calls.list;
}

static void test_everything_goes_on(void **state)
{
	struct stage *st = *state;
	const struct registration *reg;
	unsigned int entries;

	busy(st);
	stage_wait(st, 100);
	entries = st->sim.count;
	hand_over(st);
	assert_int_equal(st->sim.count, entries);
	assert_int_equal(count.restored, 4);
	reg = st->alg->registrations.list->contacts;
	assert_string_equal(reg->contact_inside, "sip:u@" PHONE);
	assert_int_equal(reg->granted_s, 3600);
	assert_int_equal(reg->expires_ms, STAGE_START_MS + 3600000);
	assert_int_equal(the_call(st)->state, CALL_ACTIVE);
	assert_int_equal(the_call(st)->started_ms, STAGE_START_MS);
	assert_int_equal(HASH_COUNT(st->alg->subscriptions.table), 1);
	/* And on */
	hand_over(st);
	assert_int_equal(count.restored, 4);
	out(st, .method = "INVITE", .cseq = 2,
	    .sdp = talk_sdp(PHONE_ADDR, 4000, "a=sendonly\r\n"));
	assert_true(talk_has(st, "m=audio 16384 ") ||
		    talk_has(st, "m=audio 4000 ") ||
		    talk_port(st, PHONE_ADDR ":4000", MEDIA_ADDR ":8000"));
	in(st, .method = "BYE", .cseq = 3);
	out(st, .method = "BYE", .cseq = 3, .status = 200);
	assert_int_equal(the_call(st)->state, CALL_ENDED);
	assert_int_equal(talk_port(st, PHONE_ADDR ":4000", MEDIA_ADDR ":8000"),
			 0);
}

/* media.source goes on for a running call */
static void test_guests_are_let_in(void **state)
{
	struct stage *st = *state;

	st->conf.media.source = CONF_SOURCE_ANY;
	busy(st);
	hand_over(st);
	stage_send(st, "198.51.100.77:7000", PUBLIC_ADDR ":16384", "rtp");
	assert_int_equal(st->d.reason, COUNTER_media_admitted);
	assert_int_equal(
		talk_port(st, PHONE_ADDR ":4000", "198.51.100.77:7000"), 16384);
}

/* Entries that are as they should be are not made anew */
static void test_nothing_is_made_again(void **state)
{
	struct stage *st = *state;
	unsigned int before;

	talk_register(st, PHONE, PUBLIC, 3600);
	stage_wait(st, 10);
	assert_int_equal(write_state(st, true), 0);
	succeed(st);
	before = st->sim.calls[SIMNAT_REMOVE];
	assert_int_equal(read_state(st, true), 0);
	assert_int_equal(st->sim.calls[SIMNAT_REMOVE], before);
	/* But the registration still holds it: it ends with that */
	in(st, .method = "OPTIONS", .call_id = "o");
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	stage_wait(st, 4000);
	assert_null(st->alg->registrations.list);
	assert_int_equal(talk_port(st, PHONE, SERVER), 0);
}

/* The kernel has forgotten all: after a reboot */
static void test_an_empty_kernel(void **state)
{
	struct stage *st = *state;

	busy(st);
	assert_int_equal(write_state(st, true), 0);
	alg_free(st->alg);
	simnat_free(&st->sim);
	stage_surround(&st->sim);
	st->now_ms += 60000;
	simnat_set_now(&st->sim, st->now_ms);
	st->alg = alg_new(&st->conf, &simnat_ops, &st->sim, st->now_ms);
	assert_int_equal(read_state(st, false), 0);
	assert_int_equal(count.dropped, 0);
	assert_int_equal(talk_port(st, PHONE, SERVER), 5060);
	assert_true(talk_port(st, PHONE_ADDR ":4000", MEDIA_ADDR ":8000"));
	in(st, .method = "INVITE", .call_id = "new", .incoming = true);
	assert_int_equal(st->d.reason, COUNTER_rewritten);
}

/* It was written, and then went on for a while before it was killed */
static void test_the_kernel_knows_better(void **state)
{
	struct stage *st = *state;

	talk_register(st, PHONE, PUBLIC, 60);
	assert_int_equal(write_state(st, false), 0);
	stage_wait(st, 600);
	/* Its public port is somebody else's now */
	st->conf.sip.signalling_ports =
		(struct ports){ .count = 1, .range = { { 5060, 5060 } } };
	succeed(st);
	out(st, .phone = "192.168.1.11:5060", .method = "OPTIONS");
	assert_int_equal(read_state(st, true), 0);
	assert_int_equal(count.restored, 0);
	assert_null(st->alg->registrations.list);
	assert_non_null(mapping_find_public(
		&st->alg->bindings,
		&(struct endpoint){ stage_addr(PUBLIC_ADDR), 5060 }));
}

/* The same, and a call has ended meanwhile: its entries are gone */
static void test_a_call_that_has_ended_meanwhile(void **state)
{
	struct stage *st = *state;

	busy(st);
	assert_int_equal(st->alg->calls.live, 1);
	assert_int_equal(write_state(st, false), 0);
	succeed(st);
	assert_int_equal(read_state(st, true), 0);
	assert_int_equal(st->alg->calls.live, 1);
	assert_int_equal(write_state(st, false), 0);
	out(st, .method = "BYE", .cseq = 2);
	in(st, .method = "BYE", .cseq = 2, .status = 200);
	assert_int_equal(st->alg->calls.live, 0);
	succeed(st);
	assert_int_equal(read_state(st, true), 0);
	assert_int_equal(st->alg->calls.live, 0);
	assert_int_equal(st->alg->media.pinholes, 0);
}

static void put(const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

static size_t get(char *text, size_t cap)
{
	int fd = open(path, O_RDONLY);
	ssize_t len = read(fd, text, cap);

	assert_true(len > 0 && (size_t)len < cap);
	close(fd);
	return (size_t)len;
}

static bool is_there(const char *suffix)
{
	char file[80];

	snprintf(file, sizeof(file), "%s%s", path, suffix);
	return !access(file, F_OK);
}

/* Cut anywhere, altered anywhere: it is set aside, and nothing is restored */
static void test_damage(void **state)
{
	static char text[65536], damaged[65536];
	struct stage *st = *state;
	size_t len;

	busy(st);
	assert_int_equal(write_state(st, true), 0);
	len = get(text, sizeof(text));
	succeed(st);
	for (size_t i = 0; i < len; i++) {
		put(text, i);
		assert_int_equal(read_state(st, true), -EBADMSG);
		assert_non_null(why);
		assert_false(is_there(""));
		assert_true(is_there(".bad"));
		memcpy(damaged, text, len);
		damaged[i] = (char)(damaged[i] ^ 1);
		put(damaged, len);
		assert_int_equal(read_state(st, true), -EBADMSG);
		assert_int_equal(count.restored, 0);
	}
	put(text, len);
	assert_int_equal(read_state(st, true), 0);
	assert_int_equal(count.restored, 4);
}

/* Whole, and of a program that writes otherwise: the kernel's table must do */
static void test_another_version(void **state)
{
	static const char head[] =
		"{\"sipalgd_state\":{\"version\":2,\"orderly\":true}}\n";
	struct stage *st = *state;
	unsigned long sum = crc32(0, (const void *)head, sizeof(head) - 1);
	char text[256];

	snprintf(text, sizeof(text),
		 "%s{\"end\":{\"lines\":1,\"crc32\":%lu}}\n", head, sum);
	put(text, strlen(text));
	assert_int_equal(read_state(st, true), -EBADMSG);
	assert_string_equal(why, "another version has written it");
	assert_true(is_there(".bad"));
}

/* What a newer one of the same version says besides is passed over */
static void test_more_is_said(void **state)
{
	static const char lines[] =
		"{\"sipalgd_state\":{\"version\":1,\"orderly\":true,"
		"\"mood\":\"fine\"}}\n"
		"{\"novelty\":{\"x\":1}}\n"
		"{\"mapping\":{\"inside\":{\"addr\":\"192.168.1.10\","
		"\"port\":5060},\"public_end\":{\"addr\":\"203.0.113.1\","
		"\"port\":5077},\"flavour\":[]}}\n";
	struct endpoint end = stage_end(PUBLIC_ADDR ":5077");
	struct stage *st = *state;
	unsigned long sum = crc32(0, (const void *)lines, sizeof(lines) - 1);
	char text[1024];

	snprintf(text, sizeof(text),
		 "%s{\"end\":{\"lines\":3,\"crc32\":%lu}}\n", lines, sum);
	put(text, strlen(text));
	assert_int_equal(read_state(st, true), 0);
	assert_int_equal(count.restored, 1);
	assert_int_equal(count.dropped, 1);
	assert_non_null(mapping_find_public(&st->alg->bindings, &end));
}

/* Read once, it is of yesterday: what needs more than that is not in it */
static void test_read_twice(void **state)
{
	struct stage *st = *state;

	busy(st);
	hand_over(st);
	assert_false(is_there(""));
	assert_true(is_there(".old"));
	succeed(st);
	assert_int_equal(read_state(st, true), 0);
	assert_int_equal(count.restored, 4);
	/* A newer one counts more */
	assert_int_equal(write_state(st, false), 0);
	succeed(st);
	assert_int_equal(read_state(st, true), 0);
	assert_int_equal(count.restored, 4);
}

static void test_none(void **state)
{
	struct stage *st = *state;
	struct store nowhere = { .directory = "/nonexistent/sipalg" };

	assert_int_equal(read_state(st, true), -ENOENT);
	assert_int_equal(store_read(&nowhere, st->alg, true, &count, &why),
			 -ENOENT);
	assert_int_equal(store_write(&nowhere, st->alg, true), -ENOENT);
}

/* Neither read nor written through a link that somebody has put there */
static void test_links(void **state)
{
	struct stage *st = *state;
	char other[80], new[80];

	snprintf(other, sizeof(other), "%s/other", directory);
	snprintf(new, sizeof(new), "%s.new", path);
	assert_int_equal(write_state(st, true), 0);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(read_state(st, true), -ELOOP);
	assert_int_equal(symlink(other, new), 0);
	assert_int_equal(write_state(st, true), -ELOOP);
	unlink(other);
}

/* Limits count here too */
static void test_limits(void **state)
{
	struct stage *st = *state;

	talk_register(st, PHONE, PUBLIC, 3600);
	talk_register(st, "192.168.1.11:5070", PUBLIC_ADDR ":5070", 3600);
	call_out(st);
	assert_int_equal(write_state(st, true), 0);
	st->conf.limits.registrations = 1;
	st->conf.limits.calls = 1;
	succeed(st);
	assert_int_equal(read_state(st, true), 0);
	assert_int_equal(st->alg->registrations.count, 1);
	assert_int_equal(HASH_COUNT(st->alg->calls.table), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_everything_goes_on),
		TEST(test_guests_are_let_in),
		TEST(test_nothing_is_made_again),
		TEST(test_an_empty_kernel),
		TEST(test_the_kernel_knows_better),
		TEST(test_a_call_that_has_ended_meanwhile),
		TEST(test_damage),
		TEST(test_another_version),
		TEST(test_more_is_said),
		TEST(test_read_twice),
		TEST(test_none),
		TEST(test_links),
		TEST(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
