/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/timer.h"

#include <string.h>
#include <utlist.h>

/* The second in which @due_ms has surely passed */
static uint64_t second_of(uint64_t due_ms)
{
	return (due_ms + 999) / 1000;
}

static struct timer **slot_of(struct timer_wheel *wheel, uint64_t second)
{
	return &wheel->slot[second % TIMER_SLOTS];
}

void timer_wheel_init(struct timer_wheel *wheel, void *owner, uint64_t now_ms)
{
	memset(wheel, 0, sizeof(*wheel));
	wheel->owner = owner;
	wheel->second = now_ms / 1000;
}

void timer_start(struct timer_wheel *wheel, struct timer *timer,
		 uint64_t due_ms)
{
	timer_stop(wheel, timer);
	/* The current second is done or under way: the next one, then */
	if (second_of(due_ms) <= wheel->second)
		due_ms = (wheel->second + 1) * 1000;
	timer->due_ms = due_ms;
	timer->running = true;
	DL_APPEND(*slot_of(wheel, second_of(due_ms)), timer);
}

void timer_stop(struct timer_wheel *wheel, struct timer *timer)
{
	if (!timer->running)
		return;
	DL_DELETE(*slot_of(wheel, second_of(timer->due_ms)), timer);
	timer->running = false;
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
		t->fire(t, wheel->owner, now_ms);
	}
}

void timer_run(struct timer_wheel *wheel, uint64_t now_ms)
{
	uint64_t last = now_ms / 1000;

	/* After a long sleep one turn sees every slot */
	if (last > wheel->second + TIMER_SLOTS)
		wheel->second = last - TIMER_SLOTS;
	while (wheel->second < last) {
		wheel->second++;
		run_slot(wheel, slot_of(wheel, wheel->second), now_ms);
	}
}
