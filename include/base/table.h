/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_BASE_TABLE_H
#define SIPALG_BASE_TABLE_H

/*
 * uthash, which would end the program where memory runs out: it does not here.
 * After HASH_ADD() an object is in the table only if TABLE_HAS() says so.
 */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/** TABLE_HAS() - HASH_ADD() of @object under @handle had the memory it needs */
#define TABLE_HAS(object, handle) ((object)->handle.tbl != NULL)

#endif
