/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/timer.h"

#include <string.h>
#include <utlist.h>

/* The tick in which @due_ms has surely passed */
static uint64_t tick_of(const struct timer_wheel *wheel, uint64_t due_ms)
{
	return (due_ms + wheel->tick_ms - 1) / wheel->tick_ms;
}

static struct timer **slot_of(struct timer_wheel *wheel, uint64_t tick)
{
	return &wheel->slot[tick % TIMER_SLOTS];
}

void timer_wheel_init(struct timer_wheel *wheel, void *owner,
		      unsigned int tick_ms, uint64_t now_ms)
{
	memset(wheel, 0, sizeof(*wheel));
	wheel->owner = owner;
	wheel->tick_ms = tick_ms;
	wheel->tick = now_ms / tick_ms;
}

void timer_start(struct timer_wheel *wheel, struct timer *timer,
		 uint64_t due_ms)
{
	timer_stop(wheel, timer);
	/* The current tick is done or under way: the next one, then */
	if (tick_of(wheel, due_ms) <= wheel->tick)
		due_ms = (wheel->tick + 1) * wheel->tick_ms;
	timer->due_ms = due_ms;
	timer->running = true;
	wheel->count++;
	DL_APPEND(*slot_of(wheel, tick_of(wheel, due_ms)), timer);
}

void timer_stop(struct timer_wheel *wheel, struct timer *timer)
{
	if (!timer->running)
		return;
	DL_DELETE(*slot_of(wheel, tick_of(wheel, timer->due_ms)), timer);
	timer->running = false;
	wheel->count--;
}

/* Fire what is due in one slot. What fires may start and stop any timer, so
 * the due ones are moved to a list of their own, and taken from its head.
 */
static void run_slot(struct timer_wheel *wheel, struct timer **slot,
		     uint64_t now_ms)
{
	struct timer *t, *next;
	unsigned int due = 0;

	/* Due timers go to the head, so that each is met once */
	DL_FOREACH_SAFE (*slot, t, next) {
		if (t->due_ms > now_ms)
			continue;
		DL_DELETE(*slot, t);
		DL_PREPEND(*slot, t);
		due++;
	}
	while (due-- && *slot && (*slot)->due_ms <= now_ms) {
		t = *slot;
		DL_DELETE(*slot, t);
		t->running = false;
		wheel->count--;
		t->fire(t, wheel->owner, now_ms);
	}
}

int timer_wait_ms(const struct timer_wheel *wheel, uint64_t now_ms)
{
	uint64_t tick = wheel->tick + 1, due_ms;

	if (!wheel->count)
		return -1;
	/* What stands there may be of a later turn: then it is asked again */
	while (!wheel->slot[tick % TIMER_SLOTS])
		tick++;
	due_ms = tick * wheel->tick_ms;
	return due_ms > now_ms ? (int)(due_ms - now_ms) : 0;
}

void timer_run(struct timer_wheel *wheel, uint64_t now_ms)
{
	uint64_t last = now_ms / wheel->tick_ms;

	/* After a long sleep one turn sees every slot */
	if (last > wheel->tick + TIMER_SLOTS)
		wheel->tick = last - TIMER_SLOTS;
	while (wheel->tick < last) {
		wheel->tick++;
		run_slot(wheel, slot_of(wheel, wheel->tick), now_ms);
	}
}
