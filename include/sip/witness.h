/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_WITNESS_H
#define SIPALG_SIP_WITNESS_H

#include <stdbool.h>

#include "sip/desc.h"
#include "sip/field.h"

/*
 * Theory of operation
 *
 * Every value that is about to be changed is read twice: by our scan, which
 * knows where each byte stands, and by libosip2, which has read SIP for twenty
 * years. Only where both see the same host and port is the value changed. Two
 * readers that differ on a value mean that a phone or a proxy may differ from
 * us too; such a value is left as it is, and counted.
 *
 * libosip2 refuses some input that is plain enough (docs/decisions/003): what
 * it refuses is no disagreement, the scan then decides alone.
 *
 * It is fed bounded, NUL-terminated, unfolded copies, and never writes
 * anything that leaves the machine.
 */

/** WITNESS_TEXT - Longest value that is shown to libosip2, bytes */
#define WITNESS_TEXT 2048

/** witness_init() - Once, before any other function here */
int witness_init(void);

/** witness_uri() - False if libosip2 reads another host or port in @uri */
bool witness_uri(struct span uri, const struct hostport *hp);

/** witness_via() - False if libosip2 reads another sent-by in @value */
bool witness_via(struct span value, const struct via *via);

/** witness_desc() - False if libosip2 reads other addresses or ports */
bool witness_desc(const struct desc *desc);

#endif
