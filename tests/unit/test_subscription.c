/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/subscription.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "talk.h"

#define OTHER "198.51.100.66:5060"
#define TERMINATED "Subscription-State: terminated\r\n"

static struct stage *st;

static int set_up(void **state)
{
	struct addr phone = stage_addr(PHONE_ADDR);
	struct addr other = stage_addr("198.51.100.66");

	(void)state;
	st = stage_open();
	/* Another registrar's host, say */
	peer_allow(&st->alg->bindings, &phone, &other, UINT64_MAX);
	out(st, .method = "SUBSCRIBE", .remote_tag = "");
	in(st, .method = "SUBSCRIBE", .status = 200,
	   .extra = "Expires: 600\r\n");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stage_close(st);
	return 0;
}

static bool stands(void)
{
	return st->alg->subscriptions.list != NULL;
}

static void test_time(void **state)
{
	(void)state;
	stage_wait(st, 599);
	assert_true(stands());
	stage_wait(st, 2);
	assert_false(stands());
}

static void test_ended(void **state)
{
	(void)state;
	in(st, .method = "NOTIFY", .cseq = 2,
	   .extra = "Subscription-State: active;expires=500\r\n");
	assert_true(stands());
	in(st, .method = "NOTIFY", .cseq = 3, .extra = TERMINATED);
	assert_false(stands());
}

/* Who may call the phone does not speak for its server */
static void test_others_have_no_part(void **state)
{
	(void)state;
	in(st, .server = OTHER, .method = "NOTIFY", .extra = TERMINATED);
	assert_false(st->lost);
	assert_true(stands());
	in(st, .server = OTHER, .method = "SUBSCRIBE", .status = 481);
	assert_true(stands());
	in(st, .server = OTHER, .method = "SUBSCRIBE", .status = 200,
	   .extra = "Expires: 604800\r\n");
	stage_wait(st, 601);
	assert_false(stands());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_time),
		TEST(test_ended),
		TEST(test_others_have_no_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
