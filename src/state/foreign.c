/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/foreign.h"

#include <stdlib.h>
#include <utlist.h>

#include "state/binding.h"

static struct foreign *find(const struct bindings *b, const struct addr *inside,
			    uint32_t call)
{
	struct foreign_key key = { *inside, call };
	struct foreign *f;

	HASH_FIND(hh, b->foreign, &key, sizeof(key), f);
	return f;
}

static void forget(struct bindings *b, struct foreign *f)
{
	HASH_DELETE(hh, b->foreign, f);
	DL_DELETE(b->foreign_list, f);
	free(f);
}

void foreign_set(struct bindings *b, const struct addr *inside, uint32_t call,
		 uint8_t what)
{
	struct foreign *f = find(b, inside, call);

	if (!f && !what)
		return;
	if (!f) {
		if (HASH_COUNT(b->foreign) >= b->conf->limits.calls)
			forget(b, b->foreign_list);
		f = calloc(1, sizeof(*f));
		if (!f)
			return;
		f->key = (struct foreign_key){ *inside, call };
		HASH_ADD(hh, b->foreign, key, sizeof(f->key), f);
		if (!TABLE_HAS(f, hh)) {
			free(f);
			return;
		}
		DL_APPEND(b->foreign_list, f);
	}
	f->what = what;
}

uint8_t foreign_get(const struct bindings *b, const struct addr *inside,
		    uint32_t call)
{
	const struct foreign *f = b->foreign ? find(b, inside, call) : NULL;

	return f ? f->what : 0;
}

void foreign_free(struct bindings *b)
{
	while (b->foreign_list)
		forget(b, b->foreign_list);
}
