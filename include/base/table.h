/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_BASE_TABLE_H
#define SIPALG_BASE_TABLE_H

/*
 * uthash, which would end the program where memory runs out: it does not here.
 * After HASH_ADD() an object is in the table only if TABLE_HAS() says so.
 */
#define HASH_NONFATAL_OOM 1
#include <stddef.h>
#include <uthash.h>

/** TABLE_HAS() - HASH_ADD() of @object under @handle had the memory it needs */
#define TABLE_HAS(object, handle) ((object)->handle.tbl != NULL)

/**
 * struct table_walk - A place in a table that changes meanwhile
 * @next:	The object to look at next; NULL at the end
 * @link:	Other walks through the same table
 *
 * From the newest object to the oldest: one that comes meanwhile is not seen.
 * Each table has a list of its walks; who removes an object calls
 * table_walks_leave() first.
 */
struct table_walk {
	void *next;
	struct table_walk *link;
};

/**
 * TABLE_WALK_BEGIN() - Begin a walk with the newest object
 * @walks:	The table's list of walks
 * @head:	First object under @handle; NULL: the table is empty
 */
#define TABLE_WALK_BEGIN(walks, walk, head, handle)                            \
	table_walk_begin((walks), (walk),                                      \
			 (head) ? ELMT_FROM_HH((head)->handle.tbl,             \
					       (head)->handle.tbl->tail)       \
				: NULL)

static inline void table_walk_begin(struct table_walk **walks,
				    struct table_walk *walk, void *newest)
{
	walk->next = newest;
	walk->link = *walks;
	*walks = walk;
}

/** table_walk_end() - The walk is over, or given up */
static inline void table_walk_end(struct table_walk **walks,
				  struct table_walk *walk)
{
	while (*walks && *walks != walk)
		walks = &(*walks)->link;
	if (*walks)
		*walks = walk->link;
}

/** table_walks_leave() - @object goes; @older is its neighbour (hh.prev) */
static inline void table_walks_leave(struct table_walk *walks,
				     const void *object, void *older)
{
	for (; walks; walks = walks->link) {
		if (walks->next == object)
			walks->next = older;
	}
}

/*
 * Who goes first where a table is full: a list of utlist.h with a second
 * pointer into it. Objects that nobody has confirmed yet stand before those
 * that somebody has, so that a flood displaces itself; in both parts the one
 * longest unused comes first. @sure is the first confirmed one, or NULL.
 */

/** TABLE_QUEUE_ADD() - Put an object in that is not confirmed yet */
#define TABLE_QUEUE_ADD(list, sure, object) DL_PREPEND_ELEM(list, sure, object)

/** TABLE_QUEUE_LEAVE() - Take it out */
#define TABLE_QUEUE_LEAVE(list, sure, object)                                  \
	do {                                                                   \
		if ((sure) == (object))                                        \
			(sure) = (object)->next;                               \
		DL_DELETE(list, object);                                       \
	} while (0)

/** TABLE_QUEUE_SURE() - It is confirmed now: to the end */
#define TABLE_QUEUE_SURE(list, sure, object)                                   \
	do {                                                                   \
		TABLE_QUEUE_LEAVE(list, sure, object);                         \
		DL_APPEND(list, object);                                       \
		if (!(sure))                                                   \
			(sure) = (object);                                     \
	} while (0)

/** TABLE_QUEUE_USED() - It was used again; @is_sure: it is confirmed */
#define TABLE_QUEUE_USED(list, sure, object, is_sure)                          \
	do {                                                                   \
		if (is_sure) {                                                 \
			TABLE_QUEUE_SURE(list, sure, object);                  \
			break;                                                 \
		}                                                              \
		TABLE_QUEUE_LEAVE(list, sure, object);                         \
		TABLE_QUEUE_ADD(list, sure, object);                           \
	} while (0)

#endif
