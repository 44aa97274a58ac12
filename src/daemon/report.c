/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/report.h"

#include "base/table.h"
#include "daemon/daemon.h"

static const char *mode_name(enum conf_mode mode)
{
	static const char *const names[] = {
		[CONF_MODE_ACTIVE] = "active",
		[CONF_MODE_OBSERVE] = "observe",
		[CONF_MODE_BYPASS] = "bypass",
	};

	return names[mode];
}

static json_t *queue_status(const struct queue *queue)
{
	struct queue_counts counts = { 0 };

	queue_read_counts(queue->number, &counts);
	return json_pack("{s:i, s:I, s:I, s:I}", "number", (int)queue->number,
			 "packets", (json_int_t)queue->packets, "dropped",
			 (json_int_t)counts.dropped, "user_dropped",
			 (json_int_t)counts.user_dropped);
}

static json_t *queues(const struct daemon *d)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < d->queue_count; i++)
		json_array_append_new(list, queue_status(&d->queues[i]));
	return list;
}

static json_t *status(void *arg, const json_t *request)
{
	const struct daemon *d = arg;
	const struct alg *alg = d->alg;

	(void)request;
	return json_pack("{s:s, s:s, s:I, s:o, s:i, s:i, s:i, s:i}", "version",
			 SIPALG_VERSION, "mode",
			 mode_name(d->conf->gateway.mode), "uptime_s",
			 (json_int_t)((d->now_ms - d->started_ms) / 1000),
			 "queues", queues(d), "flows",
			 (int)HASH_CNT(by_lan, alg->bindings.by_lan),
			 "registrations", (int)alg->registrations.count,
			 "calls", (int)alg->calls.live, "media_mappings",
			 (int)HASH_CNT(by_public, alg->media.by_public));
}

static json_t *stats(void *arg, const json_t *request)
{
	const struct daemon *d = arg;
	json_t *map = json_object();

	(void)request;
	for (int i = 0; i < COUNTER_COUNT; i++)
		json_object_set_new(
			map, counter_name((enum counter)i),
			json_integer((json_int_t)d->alg->counters.value[i]));
	return map;
}

const struct control_command report_commands[] = {
	{ .name = "status", .answer = status },
	{ .name = "stats", .answer = stats },
	{ .name = NULL },
};
