/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_TOP_H
#define SIPALG_CTL_TOP_H

#include "ctl/ctl.h"

/** top_command() - sipalgctl top: struct ctl_command
 *
 * On a terminal a screen that is renewed every second, until q or Ctrl-C. Else
 * one frame, of one second.
 */
int top_command(const struct ctl *ctl, int argc, char **argv);

#endif
