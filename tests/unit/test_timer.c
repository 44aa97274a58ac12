/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT 8

static struct timer_wheel wheel;
static struct timer timers[COUNT];
static unsigned int fired[COUNT];
static uint64_t fired_ms[COUNT], again_ms;
static int stop_index;

static void note(struct timer *timer, void *owner, uint64_t now_ms)
{
	ptrdiff_t i = timer - timers;

	assert_ptr_equal(owner, &wheel);
	assert_false(timer->running);
	assert_true(now_ms >= timer->due_ms);
	fired[i]++;
	fired_ms[i] = now_ms;
	if (again_ms)
		timer_start(&wheel, timer, now_ms + again_ms);
	if (stop_index >= 0)
		timer_stop(&wheel, &timers[stop_index]);
}

static int set_up(void **state)
{
	(void)state;
	timer_wheel_init(&wheel, &wheel, 1000, 5000500);
	memset(timers, 0, sizeof(timers));
	memset(fired, 0, sizeof(fired));
	for (int i = 0; i < COUNT; i++)
		timers[i].fire = note;
	again_ms = 0;
	stop_index = -1;
	return 0;
}

/* Never early, and at most the resolution of a second late */
static void test_when(void **state)
{
	(void)state;
	timer_start(&wheel, &timers[0], 5001500);
	timer_start(&wheel, &timers[1], 5002000);
	timer_start(&wheel, &timers[2], 5002001);
	for (uint64_t now = 5000500; now < 5005000; now += 100)
		timer_run(&wheel, now);
	assert_int_equal(fired_ms[0], 5002000);
	assert_int_equal(fired_ms[1], 5002000);
	assert_int_equal(fired_ms[2], 5003000);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(fired[i], 1);
		assert_false(timers[i].running);
	}
}

static void test_past(void **state)
{
	(void)state;
	timer_start(&wheel, &timers[0], 0);
	timer_start(&wheel, &timers[1], 5000499);
	timer_run(&wheel, 5000999);
	assert_int_equal(fired[0] + fired[1], 0);
	timer_run(&wheel, 5001000);
	assert_int_equal(fired[0], 1);
	assert_int_equal(fired[1], 1);
}

static void test_stop_and_restart(void **state)
{
	(void)state;
	timer_start(&wheel, &timers[0], 5003000);
	timer_start(&wheel, &timers[1], 5003000);
	timer_stop(&wheel, &timers[0]);
	timer_stop(&wheel, &timers[0]); /* twice is nothing */
	timer_start(&wheel, &timers[1], 5006000);
	timer_run(&wheel, 5005000);
	assert_int_equal(fired[0] + fired[1], 0);
	timer_run(&wheel, 5006000);
	assert_int_equal(fired[0], 0);
	assert_int_equal(fired[1], 1);
}

/* More than a turn of the wheel away */
static void test_far(void **state)
{
	const uint64_t far = 5000000 + 3ull * TIMER_SLOTS * 1000 + 7000;

	(void)state;
	timer_start(&wheel, &timers[0], far);
	timer_start(&wheel, &timers[1], 5007000); /* the same slot */
	for (uint64_t now = 5001000; now < far; now += 1000) {
		timer_run(&wheel, now);
		assert_int_equal(fired[0], 0);
		assert_int_equal(fired[1], now >= 5007000);
	}
	timer_run(&wheel, far);
	assert_int_equal(fired[0], 1);
}

/* The machine slept: all that is due fires, once, and nothing else */
static void test_long_sleep(void **state)
{
	const uint64_t later = 5000000 + 10ull * TIMER_SLOTS * 1000;

	(void)state;
	timer_start(&wheel, &timers[0], 5002000);
	timer_start(&wheel, &timers[1], later - 1);
	timer_start(&wheel, &timers[2], later);
	timer_start(&wheel, &timers[3], later + 1000);
	timer_run(&wheel, later);
	assert_int_equal(fired[0], 1);
	assert_int_equal(fired[1], 1);
	assert_int_equal(fired[2], 1);
	assert_int_equal(fired[3], 0);
	timer_run(&wheel, later + 1000);
	assert_int_equal(fired[3], 1);
	assert_int_equal(fired[0], 1);
}

static void test_restart_while_firing(void **state)
{
	(void)state;
	again_ms = 1;
	timer_start(&wheel, &timers[0], 5001000);
	for (uint64_t now = 5001000; now <= 5010000; now += 1000)
		timer_run(&wheel, now);
	assert_int_equal(fired[0], 10);
	/* A turn of the wheel later: the same slot, not the same time */
	again_ms = TIMER_SLOTS * 1000;
	timer_run(&wheel, 5011000);
	assert_int_equal(fired[0], 11);
	timer_run(&wheel, 5012000);
	assert_int_equal(fired[0], 11);
	assert_true(timers[0].running);
}

/* One that fires may stop the others of its slot, due or not */
static void test_stop_while_firing(void **state)
{
	(void)state;
	for (int i = 0; i < COUNT; i++)
		timer_start(&wheel, &timers[i],
			    i % 2 ? 5001000 : 5001000 + TIMER_SLOTS * 1000);
	stop_index = 3;
	timer_run(&wheel, 5001000);
	/* Either it fired before it was stopped, or not at all */
	assert_true(fired[3] <= 1);
	assert_false(timers[3].running);
	assert_int_equal(fired[1] + fired[5] + fired[7], 3);
	stop_index = 0;
	timer_start(&wheel, &timers[1], 5002000);
	timer_run(&wheel, 5002000);
	timer_run(&wheel, 5001000 + TIMER_SLOTS * 1000);
	assert_int_equal(fired[0], 0);
	assert_int_equal(fired[2] + fired[4] + fired[6], 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_when, set_up),
		cmocka_unit_test_setup(test_past, set_up),
		cmocka_unit_test_setup(test_stop_and_restart, set_up),
		cmocka_unit_test_setup(test_far, set_up),
		cmocka_unit_test_setup(test_long_sleep, set_up),
		cmocka_unit_test_setup(test_restart_while_firing, set_up),
		cmocka_unit_test_setup(test_stop_while_firing, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
