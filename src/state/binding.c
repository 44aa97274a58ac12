/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/binding.h"

void bindings_free(struct bindings *b)
{
	flows_free(b);
	mappings_free(b);
	peers_free(b);
	foreign_free(b);
}
