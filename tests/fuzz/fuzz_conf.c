/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a configuration file. What is taken must be printed such that
 * it is read back the same, and must not be able to break out of a line of
 * rules; what is refused must be refused with a reason.
 */
#include "conf/conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char path[64];
static int fd = -1;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
	if (!ok)
		abort();
}

static void file_put(const void *data, size_t size)
{
	if (fd < 0) {
		fd = memfd_create("fuzz", 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		unsetenv("STATE_DIRECTORY");
	}
	demand(!ftruncate(fd, 0));
	demand(pwrite(fd, data, size, 0) == (ssize_t)size);
}

static void check_names(const struct conf_names *list)
{
	for (unsigned int i = 0; i < list->count; i++)
		demand(list->name[i][0] && list->name[i][0] != '-' &&
		       !strpbrk(list->name[i], " \t\n\"'\\;#!"));
}

static void check_round_trip(const struct conf *conf)
{
	struct conf again;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	demand(out);
	conf_print(conf, out);
	fclose(out);
	file_put(text, len);
	demand(!conf_load(path, &again, NULL));
	demand(!memcmp(conf, &again, sizeof(again)));
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf conf;
	char *report = NULL;
	size_t len;
	FILE *out = open_memstream(&report, &len);
	int err;

	demand(out);
	file_put(data, size);
	err = conf_load(path, &conf, out);
	fclose(out);
	demand(!err || (err == -EINVAL && len));
	/* Nothing of the file reaches a terminal as a control character */
	for (size_t i = 0; i < len; i++)
		demand(report[i] == '\n' ||
		       (report[i] >= 0x20 && report[i] < 0x7f));
	free(report);
	if (err)
		return 0;
	check_names(&conf.gateway.lan_interfaces);
	check_names(&conf.gateway.wan_interfaces);
	check_round_trip(&conf);
	return 0;
}
