/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_DOCTOR_H
#define SIPALG_CTL_DOCTOR_H

#include "ctl/ctl.h"

/** doctor_run() - Find what is wrong around the daemon: struct ctl_command
 *
 * Return: CTL_OK; CTL_REFUSED if there is an error or a warning
 */
int doctor_run(const struct ctl *ctl, int argc, char **argv);

#endif
