/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_REPORT_H
#define SIPALG_DAEMON_REPORT_H

#include "daemon/control.h"

/** report_commands - What the control socket answers; their argument is a
 * struct daemon */
extern const struct control_command report_commands[];

#endif
