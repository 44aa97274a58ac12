/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model of tests/unit/tcpmodel.h, led by the input: what two ends send, how
 * they cut it, what their windows are, what gets lost, and segments that nobody
 * has sent. Where these are none, every byte must arrive as it should, in time;
 * else nothing may break.
 */
#include "../unit/tcpmodel.h"

static struct model model;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ONE_OF(c, ...)                                                         \
	((const uint32_t[]){ __VA_ARGS__ })[choose(                            \
		c,                                                             \
		sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))]

static void lead_end(struct choice *c, struct end *e)
{
	uint32_t flags = choose(c, 256);

	e->scaled = !(flags & 1);
	e->sack = !(flags & 2);
	e->stamps = !(flags & 4);
	e->nagle = !(flags & 8);
	e->strict = !(flags & 16);
	e->alive = flags & 32;
	e->garbage_probe = flags & 64;
	e->every = flags & 128 ? 1 : 2;
	e->isn = 0u - choose(c, 65536);
	e->mss = (uint16_t)ONE_OF(c, 1460, 600, 536, 0, 100, 8960);
	e->wscale = (uint8_t)choose(c, 15);
	e->room = ONE_OF(c, 65535, 4000, 1000, 100, 20);
	if (e->scaled)
		e->room = (e->room >> e->wscale ? e->room >> e->wscale : 1)
			  << e->wscale;
	e->lag_us = ONE_OF(c, 0, 0, 5000, 30000);
	e->pause_us = ONE_OF(c, 0, 0, 5000, 60000);
	e->flight = ONE_OF(c, 14600, 3000, 100000);
	e->cut = (enum end_cut)choose(c, 4);
	if (e->cut == CUT_TINY)
		e->flight = 3000;
}

static void lead_plan(struct model *m)
{
	struct choice *c = &m->choice;
	struct plan *p = &m->plan;

	p->delay_us = ONE_OF(c, 500, 0, 5000);
	p->loss_pm = ONE_OF(c, 0, 100, 300);
	p->twice_pm = ONE_OF(c, 0, 100);
	p->late_pm = ONE_OF(c, 0, 100);
	p->wild_pm = ONE_OF(c, 0, 0, 0, 30, 300);
	p->max_message = ONE_OF(c, 65535, 500, 2000);
	switch (choose(c, 8)) {
	case 1:
		p->dry_at = 0;
		p->wet_at = choose(c, 64);
		break;
	case 2:
		p->adopt_at = 4 + choose(c, 32);
		break;
	case 3:
		p->limit = 256 * choose(c, 256);
		break;
	case 4:
		p->raw = true;
		break;
	default:
		break;
	}
}

static void lead(struct model *m)
{
	struct choice *c = &m->choice;
	uint32_t garbage = ONE_OF(c, 0, 0, 200);

	lead_plan(m);
	for (int i = 0; i < 2; i++) {
		lead_end(c, &m->end[i]);
		if (m->plan.adopt_at && m->end[i].mss < 536)
			m->end[i].mss = 536;
	}
	for (int i = 0; i < 2; i++) {
		uint32_t count = choose(c, 8), size = ONE_OF(c, 300, 1500, 20);

		model_fill(m, i, count, size, garbage);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choice choice = { .bytes = data, .len = size };

	model_init(&model, &choice);
	model.plan.name = "fuzz";
	lead(&model);
	/* Lines that have been bad for long are good then: it shall end */
	model.plan.losses = 2000;
	if (model.plan.wild_pm || model.plan.raw)
		model.most_steps = 1000;
	model_begin(&model);
	model_run(&model);
	model_free(&model);
	return 0;
}
