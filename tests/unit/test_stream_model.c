/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random connections through the model of tcpmodel.h.
 *
 *	SIPALG_MODEL_STEPS=N	packets in all (default 4000000)
 *	SIPALG_MODEL_SEED=N	this run only
 *	SIPALG_MODEL_FIRST=N	runs from this one on
 *	SIPALG_MODEL_LAST=N	up to this one
 *	SIPALG_MODEL_TRACE=1	every packet on stderr
 */
#include "tcpmodel.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct model model;

static uint64_t setting(const char *name, uint64_t other)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : other;
}

static uint32_t one_of(struct choice *c, const uint32_t *values, uint32_t n)
{
	return values[choose(c, n)];
}

#define ONE_OF(c, ...)                                                         \
	one_of(c, (const uint32_t[]){ __VA_ARGS__ },                           \
	       sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

static void random_end(struct choice *c, struct end *e)
{
	e->isn = choose(c, 2) ? choose(c, UINT32_MAX)
			      : 0u - choose(c, choose(c, 2) ? 100 : 50000);
	e->mss = (uint16_t)ONE_OF(c, 1460, 1460, 1400, 8960, 1220, 600, 599,
				  536, 0, 200);
	e->wscale = (uint8_t)choose(c, 15);
	e->scaled = choose(c, 3);
	e->room = ONE_OF(c, 65535, 65535, 65535, 30000, 4000, 1000, 100);
	if (e->scaled)
		e->room = (e->room >> e->wscale ? e->room >> e->wscale : 1)
			  << e->wscale;
	if (e->scaled && choose(c, 3) == 0)
		e->room = 100000 + choose(c, 65535u << e->wscale);
	if (e->scaled && e->room > 65535u << e->wscale)
		e->room = 65535u << e->wscale;
	e->sack = choose(c, 2);
	e->stamps = choose(c, 2);
	e->nagle = choose(c, 2);
	e->strict = choose(c, 2);
	e->every = 1 + choose(c, 2);
	e->ack_us = ONE_OF(c, 40000, 40000, 1000, 20000);
	e->lag_us = choose(c, 3) ? 0 : 1 + choose(c, 30000);
	e->pause_us = choose(c, 2) ? 0 : 1 + choose(c, 60000);
	e->flight = ONE_OF(c, 14600, 14600, 3000, 100000);
	e->cut = (enum end_cut)choose(c, 4);
	if (e->cut == CUT_TINY && e->flight > 3000)
		e->flight = 3000;
	e->rto_us = 250000 + choose(c, 400000);
	e->alive = choose(c, 4) == 0;
	e->garbage_probe = choose(c, 2);
	e->ts_offset = choose(c, 2) ? choose(c, UINT32_MAX) : 0u - 100;
}

static void random_plan(struct model *m)
{
	struct choice *c = &m->choice;
	struct plan *p = &m->plan;

	p->name = "random";
	p->delay_us = ONE_OF(c, 0, 200, 500, 5000);
	if (choose(c, 3)) {
		p->loss_pm = ONE_OF(c, 0, 0, 10, 100, 300);
		p->twice_pm = ONE_OF(c, 0, 0, 10, 200);
		p->late_pm = ONE_OF(c, 0, 0, 10, 200);
	}
	p->max_message = ONE_OF(c, 65535, 65535, 4000, 500);
}

static void fill(struct model *m)
{
	struct choice *c = &m->choice;
	uint32_t garbage = ONE_OF(c, 0, 0, 0, 20, 200);

	/* One by one, or it would be another run with another compiler */
	for (int i = 0; i < 2; i++) {
		uint32_t most = ONE_OF(c, 3, 20, 60), count = choose(c, most);
		uint32_t size = ONE_OF(c, 60, 500, 3000, 20000, 59000);

		model_fill(m, i, count, size, garbage);
	}
}

static void play(struct model *m, uint64_t seed,
		 void (*arrange)(struct model *m))
{
	struct choice choice = { .state = seed * 0x9e3779b97f4a7c15ull + 1,
				 .random = true };

	for (int i = 0; i < 4; i++)
		choose(&choice, 2);
	model_init(m, &choice);
	m->seed = seed;
	arrange(m);
	model_begin(m);
	model_run(m);
	model_free(m);
}

/* ---- kinds of connections ---- */

static void arrange_random(struct model *m)
{
	random_plan(m);
	random_end(&m->choice, &m->end[0]);
	random_end(&m->choice, &m->end[1]);
	fill(m);
}

/* Each message in a segment of its own, and no loss: no packet is added */
static void arrange_whole(struct model *m)
{
	m->plan.name = "whole";
	m->plan.whole = true;
	m->plan.same = choose(&m->choice, 4) == 0;
	for (int i = 0; i < 2; i++) {
		struct end *e = &m->end[i];

		random_end(&m->choice, e);
		e->cut = CUT_WRITES;
		e->mss = 1460;
		e->room = 65535;
		e->wscale = 0;
		e->lag_us = 0;
		e->alive = e->alive && m->plan.same;
		e->flight = 9000;
	}
	for (int i = 0; i < 2; i++)
		model_fill(m, i, choose(&m->choice, 60), 1000, 0);
}

/* The gateway does not touch anything, for a time or for ever */
static void arrange_dry(struct model *m)
{
	struct choice *c = &m->choice;

	arrange_random(m);
	m->plan.name = "dry";
	m->plan.dry_at = choose(c, 2) ? 0 : choose(c, 100);
	m->plan.wet_at =
		choose(c, 2) ? UINT32_MAX : m->plan.dry_at + choose(c, 100);
}

/* The gateway comes to a connection that is there */
static void arrange_adopt(struct model *m)
{
	arrange_random(m);
	m->plan.name = "adopt";
	m->plan.adopt_at = 4 + choose(&m->choice, 200);
	/* What its SYNs said is not known; nobody uses less */
	for (int i = 0; i < 2; i++) {
		if (m->end[i].mss < 536)
			m->end[i].mss = 536;
	}
}

/* Reading ends by order; our own packets are too long */
static void arrange_plain(struct model *m)
{
	arrange_random(m);
	m->plan.name = "plain";
	m->plan.plain_at = 1 + choose(&m->choice, 300);
	m->plan.narrow = choose(&m->choice, 2);
}

/* Somebody ends it */
static void arrange_killed(struct model *m)
{
	arrange_random(m);
	m->plan.name = "killed";
	m->plan.abort_at = 4 + choose(&m->choice, 300);
	m->plan.dying = (int)choose(&m->choice, 3) - 1;
	m->most_steps = 200000;
}

/* Too little memory: nothing is promised but that nothing breaks */
static void arrange_poor(struct model *m)
{
	arrange_random(m);
	m->plan.name = "poor";
	m->plan.limit = choose(&m->choice, 100000);
}

/* Programs come and go */
static void arrange_moved(struct model *m)
{
	arrange_random(m);
	m->plan.name = "moved";
	m->plan.move_pm = ONE_OF(&m->choice, 2, 20, 200, 1000);
}

static void arrange_wild(struct model *m)
{
	arrange_random(m);
	m->plan.name = "wild";
	m->plan.wild_pm = ONE_OF(&m->choice, 2, 20, 200);
	m->most_steps = 3000;
}

static void arrange(struct model *m)
{
	switch (m->seed % 16) {
	case 0:
	case 1:
		arrange_whole(m);
		break;
	case 2:
	case 3:
		arrange_dry(m);
		break;
	case 4:
	case 5:
		arrange_adopt(m);
		break;
	case 6:
		arrange_poor(m);
		break;
	case 7:
		arrange_wild(m);
		break;
	case 8:
		arrange_plain(m);
		break;
	case 9:
		arrange_killed(m);
		break;
	case 10:
	case 11:
		arrange_moved(m);
		break;
	default:
		arrange_random(m);
	}
}

static void test_random(void **state)
{
	uint64_t steps = setting("SIPALG_MODEL_STEPS", 4000000), done = 0;
	uint64_t seed = setting("SIPALG_MODEL_SEED", 0), own = 0;
	uint64_t last = setting("SIPALG_MODEL_LAST", UINT64_MAX);

	(void)state;
	if (seed) {
		play(&model, seed, arrange);
		return;
	}
	for (seed = setting("SIPALG_MODEL_FIRST", 1);
	     done < steps && seed <= last; seed++) {
		play(&model, seed, arrange);
		done += model.steps;
		own += model.own;
	}
	printf("%llu packets, %llu of our own, seeds up to %llu\n",
	       (unsigned long long)done, (unsigned long long)own,
	       (unsigned long long)seed - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
