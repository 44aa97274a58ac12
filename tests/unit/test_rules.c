/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/rules.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VECTORS SIPALG_SOURCE_DIR "/tests/vectors/rules/"

static char *slurp(const char *path)
{
	FILE *in = fopen(path, "r");
	char *text = NULL;
	size_t len = 0;

	if (!in)
		fail_msg("%s: %s", path, strerror(errno));
	/* No golden file has a NUL: all of it */
	if (getdelim(&text, &len, '\0', in) < 0)
		fail_msg("%s: empty", path);
	fclose(in);
	return text;
}

static char *print(const char *conf_name, enum rules_what what)
{
	char path[512], *text = NULL;
	struct conf conf;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	snprintf(path, sizeof(path), VECTORS "%s", conf_name);
	assert_int_equal(conf_load(path, &conf, NULL), 0);
	assert_int_equal(rules_print(&conf, what, out), 0);
	fclose(out);
	return text;
}

static void test_golden_files(void **state)
{
	static const struct {
		const char *conf, *golden;
		enum rules_what what;
	} t[] = {
		{ "plain.conf", VECTORS "plain.ip4", RULES_IP4 },
		{ "plain.conf", VECTORS "plain.ip6", RULES_IP6 },
		{ "plain.conf", VECTORS "remove", RULES_REMOVE },
		{ "full.conf", VECTORS "full.ip4", RULES_IP4 },
		{ "full.conf", VECTORS "full.ip6", RULES_IP6 },
		{ "media.conf", VECTORS "media.ip4", RULES_IP4 },
		{ "media.conf", VECTORS "media.remove", RULES_REMOVE },
		{ "voice.conf", VECTORS "voice.ip4", RULES_IP4 },
		{ "voice.conf", VECTORS "voice.ip6", RULES_IP6 },
		{ "voice.conf", VECTORS "media.remove", RULES_REMOVE },
		/* What takes rules out must not depend on what put them in */
		{ "full.conf", VECTORS "remove", RULES_REMOVE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		char *want = slurp(t[i].golden);
		char *got = print(t[i].conf, t[i].what);

		assert_string_equal(got, want);
		free(want);
		free(got);
	}
}

/* sipalgd.8 prints the exact rules: every line, in order */
static void test_manual_shows_the_rules(void **state)
{
	char *manual = slurp(SIPALG_SOURCE_DIR "/docs/man/sipalgd.8");
	char *rules = print("plain.conf", RULES_IP4);
	char *at = manual, *save = NULL;

	(void)state;
	for (char *line = strtok_r(rules, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char want[512];

		if (line[0] == '#')
			continue;
		snprintf(want, sizeof(want), "\n%s\n", line);
		at = strstr(at, want);
		if (!at)
			fail_msg("sipalgd.8 lacks %s", line);
		at += strlen(line);
	}
	free(manual);
	free(rules);
}

/* Ports of one rule, a range twice, as xt_multiport counts them */
static unsigned int places(const char *list)
{
	unsigned int n = 1;

	for (; *list && *list != ' '; list++)
		n += *list == ',' || *list == ':';
	return n;
}

static void test_multiport_limit(void **state)
{
	char *text = print("full.conf", RULES_IP4);
	unsigned int rules = 0, ports = 0;

	(void)state;
	for (const char *p = text; (p = strstr(p, " --dports ")); p++) {
		unsigned int n = places(p + strlen(" --dports "));

		assert_in_range(n, 1, 15);
		rules++;
		ports += n;
	}
	assert_int_equal(rules, 4); /* two of UDP and two of TCP */
	assert_int_equal(ports, 34);
	free(text);
}

/* A range must not be torn apart where the first rule has one place left */
static void test_range_at_the_limit(void **state)
{
	static const char want[] =
		" --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14 ";
	struct conf conf;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	conf_init(&conf);
	assert_int_equal(ports_parse(SPAN("1,2,3,4,5,6,7,8,9,10,11,12,13,14,"
					  "20-30"),
				     &conf.sip.ports),
			 0);
	assert_int_equal(rules_print(&conf, RULES_IP4, out), 0);
	fclose(out);
	assert_non_null(strstr(text, want));
	assert_non_null(strstr(text, " --dports 20:30 "));
	free(text);
}

/* A mark is for media only, and a class without a mark is refused: no rule may
 * match packets that bear none
 */
static void test_class_needs_media(void **state)
{
	struct conf conf;
	char path[] = VECTORS "voice.conf", *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_int_equal(conf_load(path, &conf, NULL), 0);
	conf.media.enabled = false;
	assert_int_equal(rules_print(&conf, RULES_IP4, out), 0);
	fclose(out);
	assert_null(strstr(text, "mangle"));
	assert_null(strstr(text, "conntrack mark"));
	free(text);
}

static void test_full_disk_is_an_error(void **state)
{
	FILE *full = fopen("/dev/full", "w");
	struct conf conf;

	(void)state;
	assert_non_null(full);
	conf_init(&conf);
	assert_int_equal(rules_print(&conf, RULES_IP4, full), -EIO);
	fclose(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_files),
		cmocka_unit_test(test_manual_shows_the_rules),
		cmocka_unit_test(test_multiport_limit),
		cmocka_unit_test(test_range_at_the_limit),
		cmocka_unit_test(test_class_needs_media),
		cmocka_unit_test(test_full_disk_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
