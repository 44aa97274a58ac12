/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_SHOW_H
#define SIPALG_CTL_SHOW_H

#include "ctl/ctl.h"
#include "ctl/table.h"
#include "ctl/term.h"

/* Commands that show what the daemon holds: struct ctl_command */

int show_status(const struct ctl *ctl, int argc, char **argv);
int show_stats(const struct ctl *ctl, int argc, char **argv);
int show_registrations(const struct ctl *ctl, int argc, char **argv);
int show_calls(const struct ctl *ctl, int argc, char **argv);

/** show_document() - The JSON document of --json */
void show_document(const json_t *document);

/** show_string(), show_number() - A value of an answer; "" or 0 if it has none
 */
const char *show_string(const json_t *object, const char *key);
json_int_t show_number(const json_t *object, const char *key);

/** show_packets() - Of all streams of a call: "packets_out" or "packets_in" */
json_int_t show_packets(const json_t *call, const char *key);

/** show_add_call() - Cells of what every list of calls begins with: state, age,
 * from, to */
void show_add_call(struct table *table, const json_t *call);
/** show_mode_colour() */
enum term_colour show_mode_colour(const char *mode);

#endif
