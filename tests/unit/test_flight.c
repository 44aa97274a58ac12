/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/flight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Numbers wrap within the first segments */
#define ISN 0xffffffc0u

static struct flight flight;

static int set_up(void **state)
{
	(void)state;
	memset(&flight, 0, sizeof(flight));
	flight.order = flight.delivered = 0xfffffffe;
	return 0;
}

/* @n segments of ten bytes, the first of them at @from */
static void add(uint32_t from, uint32_t n)
{
	for (uint32_t i = from; i < from + n; i++)
		flight_add(&flight,
			   (struct range){ ISN + 10 * i, ISN + 10 * i + 10 });
}

static bool sack(uint32_t first, uint32_t end)
{
	return flight_sack(&flight, (struct range){ ISN + first, ISN + end });
}

/* The next that is sent again begins there; -1: nothing is */
static int resend(uint32_t most)
{
	struct range r;

	if (!flight_resend(&flight, most, &r))
		return -1;
	assert_true(r.end - r.first <= most && r.end != r.first);
	return (int)(r.first - ISN);
}

static void test_ack(void **state)
{
	(void)state;
	add(0, 5);
	assert_int_equal(flight_pipe(&flight), 50);
	flight_ack(&flight, ISN + 20);
	assert_int_equal(flight.count, 3);
	assert_int_equal(flight_pipe(&flight), 30);
	flight_ack(&flight, ISN + 25); /* half of one */
	assert_int_equal(flight.count, 3);
	assert_int_equal(flight_pipe(&flight), 25);
	flight_ack(&flight, ISN + 25);
	flight_ack(&flight, ISN + 50);
	assert_int_equal(flight.count, 0);
	assert_int_equal(resend(100), -1);
}

static void test_overtaken(void **state)
{
	(void)state;
	add(0, 6);
	assert_true(sack(20, 40));
	assert_false(sack(20, 40));
	assert_true(flight_is_suspect(&flight));
	/* 0 was overtaken by three, 1 by two */
	assert_true(flight_detect(&flight, 3));
	assert_int_equal(resend(100), 0);
	assert_int_equal(resend(100), -1);
	assert_true(sack(40, 50));
	assert_true(flight_detect(&flight, 3));
	assert_int_equal(resend(100), 10);
	assert_false(flight_is_suspect(&flight)); /* 0 and 1 are the youngest */
	assert_int_equal(flight_pipe(&flight), 30);
}

/* A repetition is lost when what was sent after it arrives */
static void test_lost_again(void **state)
{
	(void)state;
	add(0, 4);
	sack(10, 40);
	assert_true(flight_detect(&flight, 3));
	assert_int_equal(resend(100), 0);
	add(4, 3);
	assert_false(flight_detect(&flight, 3));
	sack(40, 60);
	assert_false(flight_detect(&flight, 3));
	sack(60, 70);
	assert_true(flight_detect(&flight, 3));
	assert_int_equal(resend(100), 0);
	assert_false(flight_detect(&flight, 3));
}

static void test_partial_sack(void **state)
{
	(void)state;
	add(0, 4);
	assert_false(sack(12, 18)); /* no whole segment */
	assert_true(sack(5, 25));
	assert_int_equal(flight_pipe(&flight), 30);
	assert_false(sack(100, 200));
}

static void test_lose(void **state)
{
	(void)state;
	flight_lose(&flight, false);
	add(0, 4);
	sack(0, 10);
	flight_lose(&flight, false);
	assert_int_equal(resend(100), 10);
	flight_lose(&flight, true); /* it was sent last */
	assert_int_equal(resend(100), 10);
	flight_lose(&flight, false);
	flight_lose(&flight, true);
	assert_int_equal(flight_pipe(&flight), 10);
	assert_int_equal(resend(100), 10);
	assert_int_equal(resend(100), 30);
}

static void test_lose_all(void **state)
{
	(void)state;
	add(0, 3);
	sack(10, 20);
	flight_lose_all(&flight);
	assert_int_equal(flight_pipe(&flight), 0);
	/* It may be cut anew */
	assert_int_equal(resend(20), 0);
	assert_int_equal(resend(20), 20);
	assert_int_equal(resend(20), -1);
	assert_int_equal(flight_pipe(&flight), 30);
	flight_lose_all(&flight);
	assert_int_equal(resend(100), 0);
	assert_int_equal(flight_pipe(&flight), 30);
}

/* The path may have become narrower */
static void test_cut(void **state)
{
	(void)state;
	add(0, 2);
	sack(10, 20);
	flight_lose(&flight, false);
	assert_int_equal(resend(4), 0);
	assert_int_equal(resend(4), 4);
	assert_int_equal(resend(4), 8);
	assert_int_equal(resend(4), -1);
	assert_int_equal(flight.count, 4);
	flight_ack(&flight, ISN + 8);
	assert_int_equal(flight.count, 2);
	assert_int_equal(flight_pipe(&flight), 2);
}

/* However small the pieces, and whatever gets lost: there is a way on */
static void test_full(void **state)
{
	uint32_t una = 0;
	int at;

	(void)state;
	add(0, FLIGHT_NEW);
	while (una < 10 * FLIGHT_NEW) {
		unsigned int n = 0;

		flight_lose_all(&flight);
		while ((at = resend(1)) >= 0)
			assert_int_equal(at, una + n++);
		assert_true(n > 0 && flight.count <= FLIGHT_MAX);
		/* Every third time all of it arrives, else only the first */
		una += una % 3 ? n : 1;
		flight_ack(&flight, ISN + una);
	}
	assert_int_equal(flight.count, 0);
}

/* Nothing touches; and none can be cut */
static void test_full_of_holes(void **state)
{
	(void)state;
	add(0, FLIGHT_NEW);
	for (uint32_t i = 0; i < 16; i++) {
		flight_lose(&flight, true);
		assert_true(resend(9) >= 0);
		resend(9);
	}
	for (uint32_t i = 0; i < FLIGHT_NEW; i += 2)
		sack(10 * i, 10 * i + 10);
	while (flight_detect(&flight, 0))
		;
	assert_true(resend(9) >= 0 || resend(100) >= 0 ||
		    flight_pipe(&flight) > 0);
}

/* Did anything arrive that was sent only once? */
static void test_at_once(void **state)
{
	(void)state;
	add(0, 3);
	flight_lose(&flight, false);
	assert_int_equal(resend(100), 0);
	flight_ack(&flight, ISN + 10);
	assert_false(flight.at_once);
	flight_ack(&flight, ISN + 20);
	assert_true(flight.at_once);
	flight.at_once = false;
	sack(20, 30);
	assert_true(flight.at_once);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_ack, set_up),
		cmocka_unit_test_setup(test_overtaken, set_up),
		cmocka_unit_test_setup(test_lost_again, set_up),
		cmocka_unit_test_setup(test_partial_sack, set_up),
		cmocka_unit_test_setup(test_lose, set_up),
		cmocka_unit_test_setup(test_lose_all, set_up),
		cmocka_unit_test_setup(test_cut, set_up),
		cmocka_unit_test_setup(test_full, set_up),
		cmocka_unit_test_setup(test_full_of_holes, set_up),
		cmocka_unit_test_setup(test_at_once, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
