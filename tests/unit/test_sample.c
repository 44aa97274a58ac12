/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sample, used as it is, means the defaults */
#include "conf/conf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SAMPLE SIPALG_SOURCE_DIR "/conf/sipalgd.conf"

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
		cmocka_unit_test(test_sample_is_the_defaults),
	};

	unsetenv("STATE_DIRECTORY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
