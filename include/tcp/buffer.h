/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TCP_BUFFER_H
#define SIPALG_TCP_BUFFER_H

#include <stddef.h>

/**
 * struct tcp_memory - What all connections together may hold
 * @used, @limit: Bytes
 */
struct tcp_memory {
	size_t used, limit;
};

/**
 * struct buffer - Bytes of one direction of a connection
 * @ptr:	NULL while there are none
 * @cap:	Bytes there is room for; counted in tcp_memory.used
 */
struct buffer {
	char *ptr;
	size_t cap;
};

/**
 * buffer_reserve() - Make room for @need bytes in all; what is there stays
 *
 * Return: 0; -ENOMEM beyond the limit, or if there is none
 */
int buffer_reserve(struct buffer *b, size_t need, struct tcp_memory *memory);

/** buffer_free() - Give the room back; @b is then empty */
void buffer_free(struct buffer *b, struct tcp_memory *memory);

#endif
