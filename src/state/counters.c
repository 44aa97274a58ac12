/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/counters.h"

static const struct {
	const char *name, *metric, *help;
} table[] = {
#define METRIC(name) "sipalgd_" name "_total"
#define X(name, help) { #name, METRIC(#name), help },
	COUNTERS(X)
#undef X
#define X(code, level, text, fix)                                              \
	{ "symptom_" #code, METRIC("symptom_" #code), text },
		SYMPTOMS(X)
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

const char *counter_metric(enum counter c)
{
	return table[c].metric;
}

enum counter counter_of_message(enum message_status status)
{
	static const enum counter reasons[] = {
		[MESSAGE_KEEPALIVE] = COUNTER_keepalive,
		[MESSAGE_STUN] = COUNTER_stun,
		[MESSAGE_NOT_SIP] = COUNTER_not_sip,
		[MESSAGE_BAD_HEADER] = COUNTER_bad_header,
		[MESSAGE_BAD_END] = COUNTER_bad_end,
		[MESSAGE_BAD_LENGTH] = COUNTER_bad_length,
		[MESSAGE_TOO_MANY_HEADERS] = COUNTER_too_many_headers,
	};

	return reasons[status];
}
