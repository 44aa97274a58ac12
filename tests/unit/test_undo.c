/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/undo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct undo_memory memory;

static int set_up(void **state)
{
	(void)state;
	memory = (struct undo_memory){ 0 };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	undo_free(&memory);
	return 0;
}

static struct undo_message msg(uint32_t branch, uint32_t call)
{
	return (struct undo_message){ branch, call };
}

static bool remember(enum site_group group, uint16_t port, struct span text,
		     uint32_t branch, uint32_t call)
{
	struct undo_message m = msg(branch, call);

	return undo_remember(&memory, group, port, text, &m);
}

/* The text that comes back; .ptr NULL if nothing is known */
static struct span recall(enum site_group group, uint16_t port, uint32_t branch,
			  uint32_t call)
{
	struct undo_message m = msg(branch, call);
	const struct undo *u = undo_recall(&memory, group, port, &m);

	return u ? (struct span){ u->text, u->len } : (struct span){ 0 };
}

static const struct span inside = { "192.168.1.10:5060", 17 };
static const struct span itself = { "", 0 };

#define assert_inside(s) assert_true(span_eq(s, inside))
#define assert_itself(s) assert_true((s).ptr && !(s).len)

static void test_places(void **state)
{
	char text[UNDO_TEXT + 1];

	(void)state;
	assert_null(recall(SITE_GROUP_VIA, 5060, 1, 1).ptr);
	assert_true(remember(SITE_GROUP_VIA, 5060, inside, 1, 1));
	assert_inside(recall(SITE_GROUP_VIA, 5060, 99, 99));
	/* By group and by port */
	assert_null(recall(SITE_GROUP_CONTACT, 5060, 1, 1).ptr);
	assert_null(recall(SITE_GROUP_VIA, 0, 1, 1).ptr);
	memset(text, 'x', sizeof(text));
	assert_false(remember(SITE_GROUP_VIA, 1,
			      (struct span){ text, sizeof(text) }, 1, 1));
	assert_true(remember(SITE_GROUP_VIA, 1,
			     (struct span){ text, UNDO_TEXT }, 1, 1));
}

/* A phone that writes its private address here and its public one there */
static void test_transactions(void **state)
{
	(void)state;
	remember(SITE_GROUP_VIA, 5060, inside, 1, 1);
	remember(SITE_GROUP_CONTACT, 5060, inside, 1, 1);
	remember(SITE_GROUP_VIA, 5060, itself, 2, 2);
	remember(SITE_GROUP_CONTACT, 5060, itself, 2, 2);
	/* Also the one that was under way before there was a second text */
	assert_inside(recall(SITE_GROUP_VIA, 5060, 1, 1));
	assert_inside(recall(SITE_GROUP_CONTACT, 5060, 1, 1));
	assert_itself(recall(SITE_GROUP_VIA, 5060, 2, 2));
	assert_itself(recall(SITE_GROUP_CONTACT, 5060, 2, 2));
	/* and where the transaction is not known, what was written last */
	assert_itself(recall(SITE_GROUP_VIA, 5060, 77, 77));
	remember(SITE_GROUP_VIA, 5060, inside, 3, 3);
	assert_inside(recall(SITE_GROUP_VIA, 5060, 77, 77));
}

/* A request from outside has a branch of its own: the Call-ID tells */
static void test_dialogs(void **state)
{
	(void)state;
	remember(SITE_GROUP_CONTACT, 5060, inside, 1, 10);
	remember(SITE_GROUP_CONTACT, 5060, itself, 2, 20);
	assert_inside(recall(SITE_GROUP_CONTACT, 5060, 88, 10));
	assert_itself(recall(SITE_GROUP_CONTACT, 5060, 89, 20));
	/* A target refresh counts from then on: RFC 3261 12.2 */
	remember(SITE_GROUP_CONTACT, 5060, itself, 3, 10);
	assert_itself(recall(SITE_GROUP_CONTACT, 5060, 90, 10));
}

/* New requests go to what was registered, whatever calls have named since */
static void test_registered(void **state)
{
	struct undo_message m = msg(1, 10);

	(void)state;
	remember(SITE_GROUP_CONTACT, 5060, inside, 1, 10);
	undo_register(&memory, &m);
	remember(SITE_GROUP_CONTACT, 5060, itself, 2, 20);
	assert_inside(recall(SITE_GROUP_CONTACT, 5060, 88, 99));
	assert_itself(recall(SITE_GROUP_CONTACT, 5060, 88, 20));
	m = msg(3, 10);
	remember(SITE_GROUP_CONTACT, 5060, itself, 3, 10);
	undo_register(&memory, &m);
	assert_itself(recall(SITE_GROUP_CONTACT, 5060, 88, 99));
}

static void test_crowds(void **state)
{
	(void)state;
	remember(SITE_GROUP_VIA, 5060, inside, 1, 1);
	for (uint32_t i = 0; i < 1000; i++)
		remember(SITE_GROUP_CONTACT, 5060, i % 2 ? inside : itself,
			 2 + i, 2 + i);
	assert_inside(recall(SITE_GROUP_VIA, 5060, 0, 0));
	assert_inside(recall(SITE_GROUP_CONTACT, 5060, 0, 0));
	/* The last UNDO_NOTES_MORE messages are told apart */
	for (uint32_t i = 1000 - UNDO_NOTES_MORE; i < 1000; i++)
		assert_true(span_eq(recall(SITE_GROUP_CONTACT, 5060, 2 + i, 0),
				    i % 2 ? inside : itself));
	/* More texts than are kept: the oldest goes */
	for (uint16_t port = 1; port <= UNDO_COUNT; port++)
		remember(SITE_GROUP_ROUTE, port, inside, 0, 0);
	assert_null(recall(SITE_GROUP_VIA, 5060, 0, 0).ptr);
	assert_inside(recall(SITE_GROUP_ROUTE, 1, 0, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_places),  TEST(test_transactions),
		TEST(test_dialogs), TEST(test_registered),
		TEST(test_crowds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
