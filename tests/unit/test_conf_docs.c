/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sample and the manual say what the option table says */
#include "conf/conf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define OPTIONS_MAX 256
#define SAMPLE SIPALG_SOURCE_DIR "/conf/sipalgd.conf"
#define MANUAL SIPALG_SOURCE_DIR "/docs/man/sipalgd.conf.5"

/* A text that lists options: how its sections and its keys begin */
struct listing {
	const char *path, *section, *key;
	char in_section[64];
	unsigned int seen[OPTIONS_MAX];
};

/* "KEY = DEFAULT" in the current section of @l */
static void check_key(struct listing *l, char *line)
{
	char *equals = strchr(line, '=');
	const struct conf_option *o;
	struct span key, value;

	if (!equals)
		return;
	key = span_trim(span_between(line, equals));
	value = span_trim(span_from_str(equals + 1));
	if (!key.len || strspn(line, "abcdefghijklmnopqrstuvwxyz_") < key.len)
		return; /* prose */
	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		if (strcmp(o->section, l->in_section) ||
		    !span_eq(key, span_from_str(o->key)))
			continue;
		if (o->initial && !span_eq(value, span_from_str(o->initial)))
			fail_msg("%s: %s.%s: '%.*s' is not the default '%s'",
				 l->path, o->section, o->key, SPAN_ARG(value),
				 o->initial);
		l->seen[i]++;
		return;
	}
	fail_msg("%s: [%s] %s: there is no such option", l->path, l->in_section,
		 line);
}

static void check_listing(struct listing *l)
{
	FILE *in = fopen(l->path, "r");
	char *line = NULL;
	size_t cap = 0;

	assert_non_null(in);
	while (getline(&line, &cap, in) >= 0) {
		if (!strncmp(line, l->section, strlen(l->section)))
			sscanf(line + strlen(l->section), "%63[a-z]",
			       l->in_section);
		else if (!strncmp(line, l->key, strlen(l->key)))
			check_key(l, line + strlen(l->key));
	}
	free(line);
	fclose(in);
	for (size_t i = 0; conf_option_at(i); i++) {
		if (l->seen[i] != 1)
			fail_msg("%s: %s.%s is there %u times", l->path,
				 conf_option_at(i)->section,
				 conf_option_at(i)->key, l->seen[i]);
	}
}

static void test_sample_lists_every_option(void **state)
{
	struct listing sample = { SAMPLE, "[", "#", "", { 0 } };

	(void)state;
	check_listing(&sample);
}

static void test_manual_lists_every_option(void **state)
{
	struct listing manual = { MANUAL, ".Ss [", ".It Ic ", "", { 0 } };

	(void)state;
	check_listing(&manual);
}

/* The manual says "not active" of just the keys that --check warns about */
static void test_manual_tells_what_is_pending(void **state)
{
	FILE *in = fopen(MANUAL, "r");
	char text[65536] = "", item[128], section[64];
	const struct conf_option *o;

	(void)state;
	assert_non_null(in);
	assert_true(fread(text, 1, sizeof(text) - 1, in) > 0);
	fclose(in);
	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		const char *from, *end, *says;

		snprintf(section, sizeof(section), "\n.Ss [%s]", o->section);
		snprintf(item, sizeof(item), "\n.It Ic %s =", o->key);
		from = strstr(strstr(text, section), item);
		assert_non_null(from);
		end = strstr(from + 1, "\n.It ");
		says = strcasestr(from, ".Em not active");
		if ((says && (!end || says < end)) != (o->pending != NULL))
			fail_msg("%s.%s", o->section, o->key);
	}
}

/* With every "#key" uncommented the sample loads, and means the defaults */
static void test_sample_is_the_defaults(void **state)
{
	char path[] = "/tmp/sipalg-sample-XXXXXX", *line = NULL;
	int fd = mkstemp(path);
	FILE *in = fopen(SAMPLE, "r"), *out = fdopen(fd, "w");
	struct conf loaded, defaults;
	size_t cap = 0;

	(void)state;
	assert_non_null(in);
	assert_non_null(out);
	while (getline(&line, &cap, in) >= 0)
		fputs(line + (line[0] == '#' && line[1] != ' ' &&
			      line[1] != '\n'),
		      out);
	free(line);
	fclose(in);
	fclose(out);
	assert_int_equal(conf_load(path, &loaded, stderr), 0);
	unlink(path);
	conf_init(&defaults);
	defaults.gateway.lan_interfaces = loaded.gateway.lan_interfaces;
	defaults.gateway.wan_interfaces = loaded.gateway.wan_interfaces;
	assert_int_equal(loaded.gateway.lan_interfaces.count, 1);
	assert_memory_equal(&loaded, &defaults, sizeof(loaded));
	/* As it is delivered it is a file that wants to be filled in */
	assert_int_equal(conf_load(SAMPLE, &loaded, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sample_lists_every_option),
		cmocka_unit_test(test_manual_lists_every_option),
		cmocka_unit_test(test_manual_tells_what_is_pending),
		cmocka_unit_test(test_sample_is_the_defaults),
	};

	unsetenv("STATE_DIRECTORY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
