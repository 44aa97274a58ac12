/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_FOREIGN_H
#define SIPALG_STATE_FOREIGN_H

#include <stdint.h>

#include "base/addr.h"
#include "base/table.h"

struct bindings;

/*
 * Somebody outside writes the private address of the very inside host that he
 * talks to: by chance, his network has the same numbers as ours. It is not ours
 * to change, in what he writes or where it is repeated to him.
 */

/** enum foreign_what - What of a call was so */
enum foreign_what {
	FOREIGN_REMOTE = 1, /* his identity */
	FOREIGN_LOCAL = 2, /* that of the inside host */
	FOREIGN_ROUTE = 4, /* Record-Route */
};

struct foreign_key {
	struct addr inside;
	uint32_t call;
};

/**
 * struct foreign - One call in which something was foreign
 * @key:	Inside host, and the hash of the Call-ID
 * @what:	enum foreign_what bits
 */
struct foreign {
	struct foreign_key key;
	uint8_t what;
	UT_hash_handle hh;
	struct foreign *prev, *next;
};

/** foreign_set() - Remember the bits of a call; at most limits.calls of them,
 * the oldest goes */
void foreign_set(struct bindings *b, const struct addr *inside, uint32_t call,
		 uint8_t what);

/** foreign_get() - The bits remembered for a call */
uint8_t foreign_get(const struct bindings *b, const struct addr *inside,
		    uint32_t call);

void foreign_free(struct bindings *b);

#endif
