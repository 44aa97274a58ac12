/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "daemon/daemon.h"
#include "daemon/doctor.h"
#include "daemon/list.h"
#include "daemon/rules.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Reasons that a message, read as one, may be counted under */
static const enum counter message_reasons[] = {
	COUNTER_rewritten,  COUNTER_nothing_ours,
	COUNTER_observed,   COUNTER_bad_header,
	COUNTER_bad_end,    COUNTER_bad_length,
	COUNTER_too_long,   COUNTER_too_many_headers,
	COUNTER_too_big,    COUNTER_too_many_edits,
	COUNTER_no_mapping, COUNTER_dropped_malformed,
};

static json_int_t messages(const struct counters *counters)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < COUNT(message_reasons); i++)
		sum += counters->value[message_reasons[i]];
	return (json_int_t)sum;
}

static json_t *queue_status(const struct queue *queue,
			    const struct queue_counts *counts)
{
	return json_pack("{s:i, s:I, s:I, s:I, s:I, s:I}", "number",
			 (int)queue->number, "packets",
			 (json_int_t)queue->packets, "dropped",
			 (json_int_t)counts->dropped, "user_dropped",
			 (json_int_t)counts->user_dropped, "waiting",
			 (json_int_t)counts->waiting, "max_length",
			 (json_int_t)queue->max_length);
}

static json_t *queues(const struct daemon *d)
{
	struct queue_counts counts[CONF_MAX_QUEUES];
	json_t *list = json_array();

	daemon_read_queues(d, counts);
	for (unsigned int i = 0; i < d->queue_count; i++)
		json_array_append_new(list,
				      queue_status(&d->queues[i], &counts[i]));
	return list;
}

static json_t *status(void *arg, const json_t *request)
{
	const struct daemon *d = arg;
	const struct alg *alg = d->alg;

	(void)request;
	return json_pack("{s:s, s:s, s:I, s:o, s:i, s:i, s:i, s:i, s:I}",
			 "version", SIPALG_VERSION, "mode",
			 conf_mode_name(d->conf->gateway.mode), "uptime_s",
			 (json_int_t)((d->now_ms - d->started_ms) / 1000),
			 "queues", queues(d), "flows",
			 (int)HASH_CNT(by_lan, alg->bindings.by_lan),
			 "registrations", (int)alg->registrations.count,
			 "calls", (int)alg->calls.live, "media_mappings",
			 (int)HASH_CNT(by_public, alg->media.by_public),
			 "messages", messages(&alg->counters));
}

static json_t *stats(void *arg, const json_t *request)
{
	const struct daemon *d = arg;
	json_t *map = json_object();

	(void)request;
	for (int i = 0; i < COUNTER_COUNT; i++)
		json_object_set_new(
			map, counter_metric((enum counter)i),
			json_integer((json_int_t)d->alg->counters.value[i]));
	return map;
}

/* The same counters with what each counts, for people */
static json_t *counters(void *arg, const json_t *request)
{
	const struct daemon *d = arg;
	json_t *list = json_array();

	(void)request;
	for (int i = 0; i < COUNTER_COUNT; i++) {
		enum counter c = (enum counter)i;

		json_array_append_new(
			list, json_pack("{s:s, s:I, s:s}", "name",
					counter_name(c), "value",
					(json_int_t)d->alg->counters.value[i],
					"help", counter_help(c)));
	}
	return json_pack("{s:o}", "counters", list);
}

/* ---- to switch it ---- */

static json_t *mode(void *arg, const json_t *request)
{
	const struct daemon *d = arg;

	(void)request;
	return json_pack("{s:s, s:s}", "mode",
			 conf_mode_name(d->conf->gateway.mode), "file",
			 conf_mode_name(d->file_mode));
}

static json_t *set_mode(void *arg, const json_t *request)
{
	const char *word = json_string_value(json_object_get(request, "mode"));
	enum conf_mode wanted;

	if (!word || conf_mode_parse(word, &wanted))
		return json_pack("{s:s}", "error",
				 "the mode is one of active, observe, bypass");
	if (daemon_set_mode(arg, wanted))
		return NULL;
	return mode(arg, request);
}

/* Lines, the last one without its end. The file may hold any bytes, and so may
 * what is said of it
 */
static json_t *said_text(const char *said)
{
	size_t len = said ? strlen(said) : 0;
	json_t *text;

	while (len && said[len - 1] == '\n')
		len--;
	text = json_stringn(said ? said : "", len);
	return text ? text : json_string("(not UTF-8; see the log)");
}

static json_t *reload_refused(const struct daemon *d, int err, json_t *said)
{
	json_t *answer = json_pack(
		"{s:o}", "error",
		json_sprintf("%s: not loaded (%s); the old configuration "
			     "stays in force\n%s",
			     d->conf_path,
			     err == -EINVAL ? "it has errors" : strerror(-err),
			     json_string_value(said)));

	json_decref(said);
	return answer;
}

static json_t *reload(void *arg, const json_t *request)
{
	struct daemon *d = arg;
	char *said = NULL;
	int err = daemon_reload(d, &said);
	json_t *text = said_text(said);

	(void)request;
	free(said);
	if (err)
		return reload_refused(d, err, text);
	return json_pack("{s:s, s:s, s:o}", "file", d->conf_path, "mode",
			 conf_mode_name(d->conf->gateway.mode), "warnings",
			 text);
}

/* ---- rules ---- */

static json_t *rules_text(const struct conf *conf, enum rules_what what)
{
	json_t *json = NULL;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	rules_print(conf, what, out);
	if (!fclose(out))
		json = json_string(text);
	free(text);
	return json;
}

static json_t *rules(void *arg, const json_t *request)
{
	const struct daemon *d = arg;

	(void)request;
	return json_pack("{s:o, s:o, s:o}", "ip4",
			 rules_text(d->conf, RULES_IP4), "ip6",
			 rules_text(d->conf, RULES_IP6), "remove",
			 rules_text(d->conf, RULES_REMOVE));
}

const struct control_command report_commands[] = {
	{ .name = "status", .answer = status },
	{ .name = "stats", .answer = stats },
	{ .name = "counters", .answer = counters },
	{ .name = "calls",
	  .begin = list_calls,
	  .piece = list_piece,
	  .end = list_end },
	{ .name = "registrations",
	  .begin = list_registrations,
	  .piece = list_piece,
	  .end = list_end },
	{ .name = "mode", .answer = mode },
	{ .name = "set_mode", .answer = set_mode, .changes = true },
	{ .name = "reload", .answer = reload, .changes = true },
	{ .name = "rules", .answer = rules },
	{ .name = "trace",
	  .subscribe = trace_subscribe,
	  .unsubscribe = trace_unsubscribe },
	{ .name = "capture",
	  .subscribe = trace_capture,
	  .unsubscribe = trace_unsubscribe },
	{ .name = "doctor", .answer = doctor_answer },
	{ .name = NULL },
};
