/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_BASE_PORTS_H
#define SIPALG_BASE_PORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

#define PORTS_MAX_RANGES 32

/**
 * struct ports - A set of ports as a short list of ranges
 * @count:	Ranges in use
 * @range:	Both ends included, host order, in the order written
 */
struct ports {
	unsigned int count;
	struct {
		uint16_t first, last;
	} range[PORTS_MAX_RANGES];
};

/**
 * ports_parse() - Read "5060" or "0-1023,1433,3306"
 *
 * Return: 0; -EINVAL for anything but numbers, '-' and ','; -ERANGE for a port
 * over 65535 or a range that runs backwards; -ENOSPC for too many ranges
 */
int ports_parse(struct span text, struct ports *out);
bool ports_contain(const struct ports *p, uint16_t port);
/** ports_count() - How many ports the set holds */
unsigned int ports_count(const struct ports *p);
/** ports_at() - Port @i of the set, counted in the order written */
uint16_t ports_at(const struct ports *p, unsigned int i);
/** ports_index() - The @i for which ports_at() gives @port; 0 if none */
unsigned int ports_index(const struct ports *p, uint16_t port);

#endif
