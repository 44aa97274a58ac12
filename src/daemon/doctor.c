/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/doctor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/table.h"
#include "daemon/daemon.h"
#include "kernel/mark.h"

#define TEXT_MAX 512
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Symptoms older than an hour are for the log */
#define RECENT_MS (3600 * 1000)
/* What the option table takes for limits.* */
#define LIMIT_MAX (1u << 24)
/* What limits.rate_per_phone may be */
#define RATE_MAX 1000000u
/* A table is near its limit at nine tenths: the next flood fills it */
#define NEARLY(limit) ((limit) - (limit) / 10)

/* What a check is given, and where its findings go */
struct look {
	const struct daemon *d;
	json_t *findings;
};

struct check {
	const char *code, *severity;
	void (*run)(struct look *look, const struct check *check);
};

/* ---- findings ---- */

/* The finding, to which the caller adds how it is mended; borrowed */
static json_t *add_finding(struct look *look, const struct check *check,
			   const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static json_t *add_finding(struct look *look, const struct check *check,
			   const char *fmt, ...)
{
	char text[TEXT_MAX];
	json_t *finding;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	finding = json_pack("{s:s, s:s, s:s}", "code", check->code, "severity",
			    check->severity, "text", text);
	json_array_append_new(look->findings, finding);
	return finding;
}

static void mend_by_setting(json_t *finding, const char *key, const char *value)
{
	json_object_set_new(finding, "set", json_pack("{s:s}", key, value));
}

/* Where no command helps */
static void mend_by_advice(json_t *finding, const char *advice)
{
	json_object_set_new(finding, "advice", json_string(advice));
	json_object_set_new(finding, "command", json_string("status"));
}

static void mend_by_number(json_t *finding, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	mend_by_setting(finding, key, text);
}

/* Of a counter, since the start or the last reload */
static uint64_t counted(const struct look *look, enum counter c)
{
	return look->d->alg->counters.value[c] - look->d->doctor_base.value[c];
}

/* ---- checks ---- */

static void check_mode(struct look *look, const struct check *check)
{
	static const char *const texts[] = {
		[CONF_MODE_OBSERVE] = "mode is observe: messages are read, but "
				      "none is changed",
		[CONF_MODE_BYPASS] = "mode is bypass: every packet passes "
				     "untouched",
	};
	enum conf_mode mode = look->d->conf->gateway.mode;

	if (mode != CONF_MODE_ACTIVE)
		json_object_set_new(add_finding(look, check, "%s", texts[mode]),
				    "command", json_string("mode active"));
}

static void check_queue(struct look *look, const struct check *check)
{
	struct queue_counts of[CONF_MAX_QUEUES];

	daemon_read_queues(look->d, of);
	for (unsigned int i = 0; i < look->d->queue_count; i++) {
		unsigned int number = look->d->queues[i].number;
		struct queue_counts counts = of[i];
		uint32_t length = look->d->queues[i].max_length;
		uint64_t full = counted(look, COUNTER_queue_full);
		json_t *finding;

		if (!(counts.dropped + counts.user_dropped + full))
			continue;
		finding = add_finding(look, check,
				      "queue %u overflowed: %" PRIu64
				      " packets were dropped, %" PRIu64
				      " could not be handed over; seen full "
				      "%" PRIu64 " times, when packets pass "
				      "unread",
				      number, counts.dropped,
				      counts.user_dropped, full);
		mend_by_number(finding, "queue.max_length",
			       length < 1u << 19 ? 2 * length : 1u << 20);
		json_object_set_new(finding, "restart", json_true());
	}
}

static void check_tables(struct look *look, const struct check *check)
{
	const struct alg *alg = look->d->alg;
	const struct conf *conf = look->d->conf;
	const struct {
		const char *name;
		size_t count;
		uint32_t limit;
		enum counter evicted, refused;
	} tables[] = {
		{ "flows", HASH_CNT(by_lan, alg->bindings.by_lan),
		  conf->limits.flows, COUNTER_flows_evicted, COUNTER_COUNT },
		{ "flows", HASH_CNT(by_lan, alg->connections.by_lan),
		  conf->limits.flows, COUNTER_tcp_evicted, COUNTER_COUNT },
		{ "registrations", alg->registrations.count,
		  conf->limits.registrations, COUNTER_registrations_evicted,
		  COUNTER_COUNT },
		{ "calls", alg->calls.live, conf->limits.calls,
		  COUNTER_calls_evicted, COUNTER_calls_refused },
	};
	json_t *finding;
	char key[32];

	for (size_t i = 0; i < COUNT(tables); i++) {
		uint64_t lost = counted(look, tables[i].evicted);
		uint64_t wish = 2 * (uint64_t)tables[i].limit;
		enum counter refused = tables[i].refused;

		if (refused != COUNTER_COUNT)
			lost += counted(look, refused);
		if (tables[i].count < NEARLY(tables[i].limit) && !lost)
			continue;
		snprintf(key, sizeof(key), "limits.%s", tables[i].name);
		finding = add_finding(look, check,
				      "%s is %u: %zu are in use, %" PRIu64
				      " were dropped to make room (%s)%s",
				      key, tables[i].limit, tables[i].count,
				      lost, counter_name(tables[i].evicted),
				      refused != COUNTER_COUNT
					      ? " or not taken (calls_refused)"
					      : "");
		if (tables[i].limit < LIMIT_MAX)
			mend_by_number(finding, key,
				       wish < LIMIT_MAX ? wish : LIMIT_MAX);
		else
			mend_by_advice(finding,
				       "that is the most there is: share the "
				       "phones among more gateways");
	}
}

/* The list with its last range made longer, up to the next port that it or
 * @other has; false if there is nothing to be had
 */
static bool widen(const struct ports *ports, const struct ports *const *other,
		  char *text, size_t cap)
{
	unsigned int last = ports->range[ports->count - 1].last;
	unsigned int wish = last + ports_count(ports);
	unsigned int end = last;
	size_t len = 0;

	while (end < wish && end < 65535 &&
	       !ports_contain(ports, (uint16_t)(end + 1)) &&
	       !ports_contain(other[0], (uint16_t)(end + 1)) &&
	       !ports_contain(other[1], (uint16_t)(end + 1)))
		end++;
	for (unsigned int i = 0; i < ports->count && len < cap; i++) {
		unsigned int to =
			i + 1 < ports->count ? ports->range[i].last : end;

		len += (size_t)snprintf(text + len, cap - len, "%s%u-%u",
					i ? "," : "", ports->range[i].first,
					to);
	}
	return end > last && len < cap;
}

/* What stands behind the last port is another key's, or nothing */
static void mend_by_hand(json_t *finding, const char *key)
{
	json_object_set_new(finding, "advice",
			    json_sprintf("give %s another range in the file, "
					 "with more ports; then",
					 key));
	json_object_set_new(finding, "command", json_string("reload"));
}

static void check_ports(struct look *look, const struct check *check)
{
	const struct conf *conf = look->d->conf;
	const struct {
		const char *key;
		const struct ports *ports, *other[2];
		enum counter counter;
	} sets[] = {
		{ "sip.signalling_ports",
		  &conf->sip.signalling_ports,
		  { &conf->media.rtp_ports, &conf->media.rtp_ports },
		  COUNTER_ports_exhausted },
		{ "media.rtp_ports",
		  &conf->media.rtp_ports,
		  { &conf->sip.signalling_ports, &conf->sip.ports },
		  COUNTER_media_exhausted },
	};
	char text[TEXT_MAX];
	json_t *finding;

	for (size_t i = 0; i < COUNT(sets); i++) {
		uint64_t times = counted(look, sets[i].counter);

		if (!times)
			continue;
		finding = add_finding(look, check,
				      "no port of %s (%u ports) was free, "
				      "%" PRIu64 " times",
				      sets[i].key, ports_count(sets[i].ports),
				      times);
		if (widen(sets[i].ports, sets[i].other, text, sizeof(text)))
			mend_by_setting(finding, sets[i].key, text);
		else
			mend_by_hand(finding, sets[i].key);
	}
}

/* The firewall drops what we send ourselves: the kernel tells only by EPERM */
static void check_own_packets(struct look *look, const struct check *check)
{
	unsigned long refused =
		look->d->kernel.rawsend.refused - look->d->refused_base;
	json_t *finding;
	char fix[256];

	if (!refused)
		return;
	snprintf(fix, sizeof(fix),
		 "for t in iptables ip6tables; do "
		 "$t -I OUTPUT -m mark --mark 0x%x/0x%x -j ACCEPT; done",
		 MARK_OWN, MARK_OWN_MASK);
	finding = add_finding(look, check,
			      "a rule in OUTPUT drops TCP segments of the "
			      "daemon's own, %lu so far: changed TCP "
			      "connections stall",
			      refused);
	json_object_set_new(finding, "fix", json_string(fix));
	json_object_set_new(finding, "command", json_string("reload"));
}

static void check_seen_as(struct look *look, const struct check *check)
{
	const struct bindings *b = &look->d->alg->bindings;
	char shown[ADDR_TEXT_MAX], seen[ADDR_TEXT_MAX];

	if (!addr_is_set(&b->seen_as))
		return;
	addr_format(&b->shown_as, shown);
	addr_format(&b->seen_as, seen);
	mend_by_setting(add_finding(look, check,
				    "the provider sees us at %s (received= in "
				    "its answers), but %s is written into SIP: "
				    "another NAT is on the way",
				    seen, shown),
			"gateway.advertised_address", seen);
}

static void add_symptom(struct look *look, const struct symptom_event *e,
			uint64_t times)
{
	const struct check as = { .code = symptom_code(e->symptom),
				  .severity = symptom_severity(e->symptom) };
	char inside[ADDR_TEXT_MAX] = "the gateway";
	json_t *finding;

	if (addr_is_set(&e->inside))
		addr_format(&e->inside, inside);
	finding = add_finding(
		look, &as,
		"%s; %" PRIu64 " times, last %" PRIu64 " s ago, %s: %s",
		symptom_text(e->symptom), times,
		(look->d->now_ms - e->last_ms) / 1000, inside, e->text);
	json_object_set_new(finding, "advice",
			    json_string(symptom_fix(e->symptom)));
	json_object_set_new(finding, "command", json_string("calls"));
}

/* limits.rate_per_phone */
static void check_rate(struct look *look, const struct check *check)
{
	const struct host *host = hosts_busiest(&look->d->alg->hosts);
	uint64_t times = counted(look, COUNTER_over_rate) +
			 counted(look, COUNTER_dropped_over_rate);
	uint32_t rate = look->d->conf->limits.rate_per_phone;
	char who[ADDR_TEXT_MAX] = "a phone";
	json_t *finding;

	if (!times)
		return;
	if (host)
		addr_format(&host->addr, who);
	finding = add_finding(look, check,
			      "%s, most of all, sends more than %u messages a "
			      "second (limits.rate_per_phone): %" PRIu64
			      " were not read",
			      who, rate, times);
	mend_by_number(finding, "limits.rate_per_phone",
		       rate < RATE_MAX / 2 ? 2 * rate : RATE_MAX);
}

/* Shares of state/host.h */
static void check_share(struct look *look, const struct check *check)
{
	uint64_t times = counted(look, COUNTER_over_share);
	json_t *finding;

	if (!times)
		return;
	finding = add_finding(
		look, check,
		"one inside host has taken three quarters of what "
		"is there for all, and was refused more %" PRIu64 " times",
		times);
	mend_by_advice(finding, "find out which one it is; if it is meant to, "
				"raise the limits.* and the ranges of ports");
	json_object_set_new(finding, "command", json_string("calls"));
}

/* check_seen_as() has said the same, and knows the address */
static bool is_told(const struct look *look, enum symptom s)
{
	return s == SYMPTOM_upstream_nat &&
	       addr_is_set(&look->d->alg->bindings.seen_as);
}

/* What was seen lately to be wrong with calls and registrations, each kind once
 */
static void check_symptoms(struct look *look, const struct check *check)
{
	const struct daemon *d = look->d;
	const struct symptom_event *last[SYMPTOM_COUNT] = { 0 }, *e;
	uint64_t times[SYMPTOM_COUNT] = { 0 };

	(void)check;
	for (unsigned int i = 0; (e = symptoms_recent(&d->alg->symptoms, i));
	     i++) {
		if (e->last_ms < d->doctor_base_ms ||
		    d->now_ms - e->last_ms > RECENT_MS ||
		    symptom_level(e->symptom) == LOG_LEVEL_INFO)
			continue;
		if (!last[e->symptom] || e->last_ms > last[e->symptom]->last_ms)
			last[e->symptom] = e;
		times[e->symptom] += e->times;
	}
	for (unsigned int s = 0; s < SYMPTOM_COUNT; s++) {
		if (last[s] && !is_told(look, (enum symptom)s))
			add_symptom(look, last[s], times[s]);
	}
}

static const struct check checks[] = {
	{ "mode_not_active", "warning", check_mode },
	{ "queue_overflow", "error", check_queue },
	{ "table_full", "warning", check_tables },
	{ "ports_exhausted", "error", check_ports },
	{ "over_rate", "warning", check_rate },
	{ "over_share", "warning", check_share },
	{ "own_packets_refused", "error", check_own_packets },
	{ "advertised_address", "error", check_seen_as },
	{ NULL, NULL, check_symptoms }, /* whose codes are the symptoms' */
};

/* ---- the answer ---- */

static json_t *config_text(const struct daemon *d)
{
	char *text = NULL;
	json_t *string;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	conf_print(d->conf, out);
	string = fclose(out) ? NULL : json_string(text);
	free(text);
	return string;
}

json_t *doctor_answer(void *arg, const json_t *request)
{
	const struct daemon *d = arg;
	struct look look = { .d = d, .findings = json_array() };

	(void)request;
	for (size_t i = 0; i < COUNT(checks); i++)
		checks[i].run(&look, &checks[i]);
	return json_pack("{s:o, s:o?, s:o?}", "doctor", look.findings,
			 "config_file", json_string(d->conf_path), "config",
			 config_text(d));
}

void doctor_reset(struct daemon *d)
{
	d->doctor_base = d->alg->counters;
	d->doctor_base_ms = d->now_ms;
	d->refused_base = d->kernel.rawsend.refused;
	d->alg->bindings.seen_as = (struct addr){ 0 };
}
