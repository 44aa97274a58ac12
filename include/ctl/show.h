/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_SHOW_H
#define SIPALG_CTL_SHOW_H

#include "ctl/ctl.h"

/* Commands that show what the daemon holds: struct ctl_command */

int show_status(const struct ctl *ctl, int argc, char **argv);
int show_stats(const struct ctl *ctl, int argc, char **argv);

#endif
