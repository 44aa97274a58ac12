/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/counters.h"

static const struct {
	const char *name, *help;
} table[] = {
#define X(name, help) { #name, help },
	COUNTERS(X)
#undef X
};

const char *counter_name(enum counter c)
{
	return table[c].name;
}

const char *counter_help(enum counter c)
{
	return table[c].help;
}
