/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_METRICS_H
#define SIPALG_DAEMON_METRICS_H

#include <stdio.h>

#include "conf/conf.h"

struct daemon;

/** enum metrics_format - Version 0.0.4 of the text that Prometheus reads, or
 * version 1.0.0 of OpenMetrics */
enum metrics_format { METRICS_PROMETHEUS, METRICS_OPENMETRICS };

/**
 * metrics_print() - The page: every counter, what is in use, and the process
 *
 * Source: prometheus.io "Exposition formats"; OpenMetrics 1.0.0
 */
void metrics_print(const struct daemon *d, enum metrics_format format,
		   FILE *out);

/**
 * metrics_listen() - Have the page where @conf says (metrics.listen), or none
 *
 * Where that cannot be, the log says why, and all stays as it was: telephony
 * does not wait for who looks at it.
 */
void metrics_listen(struct daemon *d, const struct conf *conf);

#endif
