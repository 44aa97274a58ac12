/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/table.h"
#include "daemon/daemon.h"
#include "daemon/httpd.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * What is in use: name, what it means, its value of the daemon @d. No name may
 * be that of a counter without its "_total": they would be one family.
 */
#define GAUGES(X)                                                              \
	X(active_flows, "Signalling flows known",                              \
	  HASH_CNT(by_lan, d->alg->bindings.by_lan))                           \
	X(active_mappings,                                                     \
	  "Inside addresses and ports that have a public one",                 \
	  HASH_CNT(by_inside, d->alg->bindings.by_inside))                     \
	X(active_registrations, "Registrations that a registrar confirmed",    \
	  d->alg->registrations.count)                                         \
	X(active_calls, "Calls that have not ended", d->alg->calls.live)       \
	X(active_media_mappings, "Media port pairs in use",                    \
	  HASH_CNT(by_public, d->alg->media.by_public))                        \
	X(active_media_entries, "Media flows that are open in conntrack",      \
	  d->alg->media.pinholes)                                              \
	X(active_tcp_connections, "TCP connections known",                     \
	  HASH_CNT(by_lan, d->alg->connections.by_lan))                        \
	X(tcp_memory_bytes,                                                    \
	  "Held of messages that are not complete or not "                     \
	  "acknowledged",                                                      \
	  d->alg->connections.memory.used)                                     \
	X(tcp_memory_max_bytes, "The most that may be held of these",          \
	  d->alg->connections.memory.limit)                                    \
	X(max_flows, "limits.flows", d->conf->limits.flows)                    \
	X(max_registrations, "limits.registrations",                           \
	  d->conf->limits.registrations)                                       \
	X(max_calls, "limits.calls", d->conf->limits.calls)                    \
	X(queue_max_length, "queue.max_length", d->queues->max_length)         \
	X(uptime_seconds, "Since the start", (d->now_ms - d->started_ms) / 1000)

/** struct page - A page that is being written */
struct page {
	const struct daemon *d;
	enum metrics_format format;
	FILE *out;
};

/* The two lines above the values of @name. In OpenMetrics the family of a
 * counter has not the "_total" of its value
 */
static void print_family(const struct page *page, const char *name,
			 const char *type, const char *help)
{
	size_t len = strlen(name);

	if (page->format == METRICS_OPENMETRICS && !strcmp(type, "counter"))
		len -= strlen("_total");
	fprintf(page->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)len, name,
		help, (int)len, name, type);
}

static void print_value(const struct page *page, const char *name,
			const char *type, const char *help, uint64_t value)
{
	print_family(page, name, type, help);
	fprintf(page->out, "%s %" PRIu64 "\n", name, value);
}

static void print_counters(const struct page *page)
{
	for (int i = 0; i < COUNTER_COUNT; i++) {
		enum counter c = (enum counter)i;

		print_value(page, counter_metric(c), "counter", counter_help(c),
			    page->d->alg->counters.value[i]);
	}
}

static void print_gauges(const struct page *page)
{
	const struct daemon *d = page->d;

#define X(name, help, value)                                                   \
	print_value(page, "sipalgd_" #name, "gauge", help, (uint64_t)(value));
	GAUGES(X)
#undef X
}

static void print_modes(const struct page *page)
{
	static const char name[] = "sipalgd_mode";

	print_family(page, name, "gauge",
		     "gateway.mode: 1 for the one in force");
	for (int i = CONF_MODE_ACTIVE; i <= CONF_MODE_BYPASS; i++)
		fprintf(page->out, "%s{mode=\"%s\"} %d\n", name,
			conf_mode_name((enum conf_mode)i),
			page->d->conf->gateway.mode == (enum conf_mode)i);
}

/**
 * struct queue_state - A queue, as we and the kernel count it
 * @kernel:	What the kernel says
 */
struct queue_state {
	uint64_t packets;
	struct queue_counts kernel;
};

static uint64_t queue_packets(const struct queue_state *q)
{
	return q->packets;
}

static uint64_t queue_waiting(const struct queue_state *q)
{
	return q->kernel.waiting;
}

static uint64_t queue_dropped(const struct queue_state *q)
{
	return q->kernel.dropped;
}

static uint64_t queue_user_dropped(const struct queue_state *q)
{
	return q->kernel.user_dropped;
}

static const struct {
	const char *name, *type, *help;
	uint64_t (*value)(const struct queue_state *q);
} queue_families[] = {
	{ "sipalgd_queue_packets_total", "counter",
	  "Packets taken from the queue", queue_packets },
	{ "sipalgd_queue_length", "gauge", "Packets that wait in the queue",
	  queue_waiting },
	{ "sipalgd_queue_dropped_total", "counter",
	  "Packets dropped because the queue was full", queue_dropped },
	{ "sipalgd_queue_user_dropped_total", "counter",
	  "Packets that the kernel could not hand over", queue_user_dropped },
};

static void print_queues(const struct page *page)
{
	const struct daemon *d = page->d;
	struct queue_counts counts[CONF_MAX_QUEUES];
	struct queue_state q[CONF_MAX_QUEUES];

	daemon_read_queues(d, counts);
	for (unsigned int k = 0; k < d->queue_count; k++)
		q[k] = (struct queue_state){ d->queues[k].packets, counts[k] };
	for (size_t i = 0; i < COUNT(queue_families); i++) {
		print_family(page, queue_families[i].name,
			     queue_families[i].type, queue_families[i].help);
		for (unsigned int k = 0; k < d->queue_count; k++)
			fprintf(page->out, "%s{queue=\"%u\"} %" PRIu64 "\n",
				queue_families[i].name, d->queues[k].number,
				queue_families[i].value(&q[k]));
	}
}

/* Left out where the kernel does not tell */
static void print_conntrack(const struct page *page)
{
	uint32_t entries, max;

	kernel_conntrack_usage(&entries, &max);
	if (!max)
		return;
	print_value(page, "sipalgd_conntrack_entries", "gauge",
		    "Entries in the kernel's conntrack table, of everybody",
		    entries);
	print_value(page, "sipalgd_conntrack_max_entries", "gauge",
		    "nf_conntrack_max", max);
}

static uint64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	uint64_t pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%*u %" SCNu64, &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* By the names that Prometheus' own libraries have for them */
static void print_process(const struct page *page)
{
	static const char cpu[] = "process_cpu_seconds_total";
	struct rusage usage = { 0 };

	getrusage(RUSAGE_SELF, &usage);
	print_family(page, cpu, "counter", "CPU time, user and system");
	fprintf(page->out, "%s %.6f\n", cpu,
		(double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
			(double)(usage.ru_utime.tv_usec +
				 usage.ru_stime.tv_usec) /
				1e6);
	print_value(page, "process_resident_memory_bytes", "gauge",
		    "Memory that is not swapped out", resident_bytes());
	print_value(page, "process_start_time_seconds", "gauge",
		    "Start, in Unix time", (uint64_t)page->d->started_at_s);
}

void metrics_print(const struct daemon *d, enum metrics_format format,
		   FILE *out)
{
	const struct page page = { d, format, out };

	print_counters(&page);
	print_gauges(&page);
	print_modes(&page);
	print_queues(&page);
	print_conntrack(&page);
	print_family(&page, "sipalgd_build_info", "gauge",
		     "Always 1, with the version");
	fprintf(out, "sipalgd_build_info{version=\"%s\"} 1\n", SIPALG_VERSION);
	print_process(&page);
	if (format == METRICS_OPENMETRICS)
		fputs("# EOF\n", out);
}

/* ---- the server ---- */

static char *page_text(void *arg, const char *accept, const char **type,
		       size_t *len)
{
	enum metrics_format format = METRICS_PROMETHEUS;
	char *text = NULL;
	FILE *out = open_memstream(&text, len);

	if (!out)
		return NULL;
	*type = "text/plain; version=0.0.4; charset=utf-8";
	if (accept && strcasestr(accept, "application/openmetrics-text")) {
		format = METRICS_OPENMETRICS;
		*type = "application/openmetrics-text; version=1.0.0; "
			"charset=utf-8";
	}
	metrics_print(arg, format, out);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

static const char *remedy(int err)
{
	switch (err) {
	case -EADDRINUSE:
		return "another program listens there; choose another port";
	case -EADDRNOTAVAIL:
		return "this host has no such address";
	case -EACCES:
		return "not permitted; choose a port over 1023";
	default:
		return strerror(-err);
	}
}

static int open_page(struct daemon *d, const struct endpoint *end)
{
	char text[ENDPOINT_TEXT_MAX];
	int err = httpd_open(&d->metrics, end, d->epoll, "/metrics", page_text,
			     d);

	endpoint_format(end, text);
	if (err)
		log_error("metrics.listen: %s: %s", text, remedy(err));
	else
		log_notice("metrics: http://%s/metrics", text);
	return err;
}

void metrics_listen(struct daemon *d, const struct conf *conf)
{
	const struct endpoint *end = &conf->metrics.listen;
	struct endpoint old = { 0 };

	if (d->metrics)
		old = d->metrics->end;
	if (endpoint_eq(&old, end))
		return;
	/* First this: the new address may include the old one */
	httpd_close(d->metrics);
	d->metrics = NULL;
	if (end->port && open_page(d, end) && old.port)
		open_page(d, &old);
}
