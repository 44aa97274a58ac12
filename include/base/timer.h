/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_BASE_TIMER_H
#define SIPALG_BASE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** TIMER_SLOTS - Slots that a turn of the wheel has */
#define TIMER_SLOTS 1024

/**
 * struct timer - Something to happen later; lives inside its object
 * @due_ms:	When; monotonic
 * @fire:	What; the timer is already stopped and may be started again
 */
struct timer {
	uint64_t due_ms;
	void (*fire)(struct timer *timer, void *owner, uint64_t now_ms);
	struct timer *prev, *next;
	bool running;
};

/**
 * struct timer_wheel - All timers, hashed by the tick they are due in
 * @owner:	Handed to each timer's function
 * @tick_ms:	Resolution; a timer is never early
 * @tick:	All ticks before this one are done
 * @count:	Timers that wait
 *
 * Starting, stopping and each tick cost the same however many timers wait
 * (Varghese and Lauck, hashed wheel).
 */
struct timer_wheel {
	void *owner;
	unsigned int tick_ms, count;
	uint64_t tick;
	struct timer *slot[TIMER_SLOTS];
};

/** TIMER_OBJECT() - The object of @type whose @member is @timer */
#define TIMER_OBJECT(timer, type, member)                                      \
	((type *)(void *)((char *)(timer)-offsetof(type, member)))

/** timer_wheel_init() - An empty wheel that stands at @now_ms */
void timer_wheel_init(struct timer_wheel *wheel, void *owner,
		      unsigned int tick_ms, uint64_t now_ms);

/** timer_start() - Start, or start anew, for @due_ms */
void timer_start(struct timer_wheel *wheel, struct timer *timer,
		 uint64_t due_ms);

/** timer_stop() - Nothing if it is not running */
void timer_stop(struct timer_wheel *wheel, struct timer *timer);

/** timer_wait_ms() - Until timer_run() may have something to do; -1: nothing
 * waits */
int timer_wait_ms(const struct timer_wheel *wheel, uint64_t now_ms);

/** timer_run() - Fire all that is due at @now_ms */
void timer_run(struct timer_wheel *wheel, uint64_t now_ms);

#endif
