/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_CHECKSUM_H
#define SIPALG_SIP_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/**
 * checksum_add() - Go on with an Internet checksum
 * @sum:	Running sum, 0 to begin
 * @data:	Bytes; an odd @len pads with zero and so must be the last call
 *
 * Return: running sum, not folded
 * Source: RFC 1071
 */
uint64_t checksum_add(uint64_t sum, const void *data, size_t len);

/** checksum_finish() - Fold and complement; the value to store, wire order */
uint16_t checksum_finish(uint64_t sum);

#endif
