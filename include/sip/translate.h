/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_TRANSLATE_H
#define SIPALG_SIP_TRANSLATE_H

#include <stdint.h>

#include "sip/packet.h"

/**
 * translate() - Write other addresses and ports into a packet, as NAT does
 * @pkt:	The packet, as packet_parse() read it from @data
 * @data:	Its bytes, changed in place
 * @to:		What source and destination shall be; of the same family
 *
 * Checksums of IP, UDP and TCP are made anew; a UDP checksum of zero stays
 * zero (RFC 768).
 */
void translate(const struct packet *pkt, uint8_t *data, const struct tuple *to);

#endif
