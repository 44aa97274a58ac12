/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_RULES_H
#define SIPALG_CTL_RULES_H

#include "ctl/ctl.h"

/** rules_command() - sipalgctl rules [print|apply|remove]: struct ctl_command
 *
 * What there is to print the daemon says. To put rules in place, or take them
 * out, needs none: it is done by the script that the service runs.
 */
int rules_command(const struct ctl *ctl, int argc, char **argv);

#endif
