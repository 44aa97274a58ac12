/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/buffer.h"

#include <errno.h>
#include <stdlib.h>

/* Most messages fit */
#define FIRST_CAP 4096

int buffer_reserve(struct buffer *b, size_t need, struct tcp_memory *memory)
{
	size_t cap = b->cap ? b->cap : FIRST_CAP;
	char *ptr;

	if (need <= b->cap)
		return 0;
	while (cap < need)
		cap *= 2;
	if (memory->used + (cap - b->cap) > memory->limit)
		return -ENOMEM;
	ptr = realloc(b->ptr, cap);
	if (!ptr)
		return -ENOMEM;
	memory->used += cap - b->cap;
	*b = (struct buffer){ ptr, cap };
	return 0;
}

void buffer_free(struct buffer *b, struct tcp_memory *memory)
{
	memory->used -= b->cap;
	free(b->ptr);
	*b = (struct buffer){ 0 };
}
