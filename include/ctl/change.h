/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_CHANGE_H
#define SIPALG_CTL_CHANGE_H

#include "ctl/ctl.h"

/* Commands that switch the daemon: struct ctl_command */

int change_mode(const struct ctl *ctl, int argc, char **argv);
int change_reload(const struct ctl *ctl, int argc, char **argv);

#endif
