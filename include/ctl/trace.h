/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_TRACE_H
#define SIPALG_CTL_TRACE_H

#include "ctl/ctl.h"

/** TRACE_FILTER_HELP - What trace and capture take */
#define TRACE_FILTER_HELP                                                      \
	"A FILTER is any of these; those of one kind are alternatives, of\n"   \
	"different kinds all must hold:\n"                                     \
	"  phone=ADDRESS     the inside host, or a network: 192.168.1.0/24\n"  \
	"  peer=ADDRESS      the host outside, or a network\n"                 \
	"  number=USER       user part of From, To or Request-URI: +4930*\n"   \
	"  call-id=ID        Call-ID\n"                                        \
	"  method=NAME       INVITE; of answers, that of the request\n"        \
	"USER, ID and NAME may hold * (anything) and ? (one character)."
/** TRACE_TERMS - How many of them */
#define TRACE_TERMS 64

/** trace_run() - As struct ctl_command: every message, until Ctrl-C */
int trace_run(const struct ctl *ctl, int argc, char **argv);

/** trace_request() - {"command": @command, "filter": @argv} */
json_t *trace_request(const char *command, int argc, char **argv);

#endif
