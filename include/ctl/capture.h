/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_CAPTURE_H
#define SIPALG_CTL_CAPTURE_H

#include "ctl/ctl.h"

/** capture_run() - As struct ctl_command: packets before and after, to a file,
 * until Ctrl-C */
int capture_run(const struct ctl *ctl, int argc, char **argv);

#endif
