/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "daemon/daemon.h"
#include "stage.h"

#define MANUAL SIPALG_SOURCE_DIR "/docs/metrics.md"
#define LINE_MAX_LEN 1024

static struct stage *st;
static struct queue queues[2];
static struct daemon d;

static int set_up(void **state)
{
	(void)state;
	st = stage_open();
	queues[0].number = 60000;
	queues[1].number = 60001;
	d = (struct daemon){ .conf = &st->conf,
			     .alg = st->alg,
			     .queues = queues,
			     .queue_count = 2 };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stage_close(st);
	return 0;
}

static char *page(enum metrics_format format)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	metrics_print(&d, format, out);
	fclose(out);
	return text;
}

static void wants(const char *text, const char *line)
{
	char with_ends[LINE_MAX_LEN];

	snprintf(with_ends, sizeof(with_ends), "\n%s\n", line);
	if (!strstr(text, with_ends))
		fail_msg("no line \"%s\" in\n%s", line, text);
}

/* Every counter by the name that stats has for it, with its value */
static void test_counters(void **state)
{
	char line[LINE_MAX_LEN], *text;

	(void)state;
	for (int i = 0; i < COUNTER_COUNT; i++)
		st->alg->counters.value[i] = 1000 + (uint64_t)i;
	st->alg->counters.value[COUNTER_stun] = UINT64_MAX;
	text = page(METRICS_PROMETHEUS);
	for (int i = 0; i < COUNTER_COUNT; i++) {
		enum counter c = (enum counter)i;

		snprintf(line, sizeof(line), "sipalgd_%s_total",
			 counter_name(c));
		assert_string_equal(counter_metric(c), line);
		snprintf(line, sizeof(line), "# TYPE %s counter\n%s %llu",
			 counter_metric(c), counter_metric(c),
			 (unsigned long long)st->alg->counters.value[i]);
		wants(text, line);
	}
	free(text);
}

static void test_formats(void **state)
{
	char *text = page(METRICS_PROMETHEUS);
	char *open = page(METRICS_OPENMETRICS);

	(void)state;
	wants(text, "# HELP sipalgd_stun_total STUN messages passed\n"
		    "# TYPE sipalgd_stun_total counter\nsipalgd_stun_total 0");
	wants(open, "# HELP sipalgd_stun STUN messages passed\n"
		    "# TYPE sipalgd_stun counter\nsipalgd_stun_total 0");
	wants(text, "sipalgd_queue_packets_total{queue=\"60001\"} 0");
	wants(text, "sipalgd_mode{mode=\"observe\"} 0");
	assert_null(strstr(text, "# EOF"));
	assert_string_equal(open + strlen(open) - 6, "# EOF\n");
	free(text);
	free(open);
}

/* A gauge of a counter's name would make both unreadable in OpenMetrics; so
 * would a quotation mark in a text
 */
static void test_names_and_texts(void **state)
{
	char *text = page(METRICS_OPENMETRICS), *line, *save = NULL;
	char *seen = calloc(1, strlen(text) + 2), name[128], mark[130];

	(void)state;
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "# HELP ", 7) != 0)
			continue;
		assert_null(strpbrk(line, "\"\\"));
		assert_int_equal(sscanf(line + 7, "%127s", name), 1);
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz"
					      "0123456789_"),
				 strlen(name));
		snprintf(mark, sizeof(mark), " %s ", name);
		if (strstr(seen, mark))
			fail_msg("%s is there twice", name);
		strcat(seen, mark + (seen[0] ? 1 : 0));
	}
	free(seen);
	free(text);
}

/* docs/metrics.md has the page's families, in order, and no others */
static void test_manual(void **state)
{
	char *text = page(METRICS_PROMETHEUS), *line, *save = NULL;
	char name[128], type[16], help[LINE_MAX_LEN], row[2 * LINE_MAX_LEN];
	char got[2 * LINE_MAX_LEN];
	FILE *in = fopen(MANUAL, "r");

	(void)state;
	assert_non_null(in);
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "# HELP %127s %1023[^\n]", name, help) == 2)
			continue;
		if (sscanf(line, "# TYPE %127s %15s", name, type) != 2)
			continue;
		snprintf(row, sizeof(row), "| `%s` | %s | %s |\n", name, type,
			 help);
		do {
			if (!fgets(got, sizeof(got), in))
				fail_msg("%s: add this row:\n%s", MANUAL, row);
		} while (strncmp(got, "| `", 3) != 0);
		if (strcmp(got, row) != 0)
			fail_msg("%s: not\n%sbut\n%s", MANUAL, got, row);
	}
	while (fgets(got, sizeof(got), in)) {
		if (!strncmp(got, "| `", 3))
			fail_msg("%s: no such metric: %s", MANUAL, got);
	}
	fclose(in);
	free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_counters),
		TEST(test_formats),
		TEST(test_names_and_texts),
		TEST(test_manual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
