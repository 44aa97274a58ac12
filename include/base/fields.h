/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_BASE_FIELDS_H
#define SIPALG_BASE_FIELDS_H

#include <stddef.h>
#include <stdint.h>

/** enum field_kind - How a member is to be read and written */
enum field_kind {
	FIELD_END,
	FIELD_UINT, /* unsigned, of 1, 2, 4 or 8 bytes; a bool, an enum */
	FIELD_TIME, /* uint64_t: ms of the monotonic clock; 0: never */
	FIELD_TEXT, /* array of char, ended by a zero byte */
	FIELD_BYTES, /* struct span: any bytes */
	FIELD_ADDR, /* struct addr */
	FIELD_ENDPOINT, /* struct endpoint */
	FIELD_TUPLE, /* struct tuple */
	FIELD_LIST, /* array of structs */
	FIELD_STRUCT, /* a struct */
};

/**
 * struct field - A member of a struct, for those who write structs down
 *
 * A list of them ends with an empty one.
 *
 * @name:	Of the member, and in what is written
 * @offset, @size: Of the member; of a FIELD_LIST, size of an element
 * @max:	FIELD_UINT: largest value. FIELD_BYTES: most bytes. FIELD_LIST:
 *		elements there is room for
 * @fields:	Of an element, of the struct
 * @count:	Where the number of elements is, an unsigned int
 */
struct field {
	const char *name;
	enum field_kind kind;
	size_t offset, size;
	uint64_t max;
	const struct field *fields;
	size_t count;
};

#define FIELD(kind_, type_, member_)                                           \
	{                                                                      \
		.name = #member_, .kind = FIELD_##kind_,                       \
		.offset = offsetof(type_, member_),                            \
		.size = sizeof(((type_ *)0)->member_)                          \
	}
#define FIELD_NUMBER(type_, member_, max_)                                     \
	{                                                                      \
		.name = #member_, .kind = FIELD_UINT,                          \
		.offset = offsetof(type_, member_),                            \
		.size = sizeof(((type_ *)0)->member_), .max = (max_)           \
	}
#define FIELD_FLAG(type_, member_) FIELD_NUMBER(type_, member_, 1)
#define FIELD_SPAN(type_, member_, max_)                                       \
	{                                                                      \
		.name = #member_, .kind = FIELD_BYTES,                         \
		.offset = offsetof(type_, member_), .max = (max_)              \
	}
/* @count_ counts what is used of the array @member_ */
#define FIELD_ARRAY(type_, member_, count_, fields_)                           \
	{                                                                      \
		.name = #member_, .kind = FIELD_LIST,                          \
		.offset = offsetof(type_, member_),                            \
		.size = sizeof(((type_ *)0)->member_[0]),                      \
		.max = sizeof(((type_ *)0)->member_) /                         \
		       sizeof(((type_ *)0)->member_[0]),                       \
		.fields = (fields_), .count = offsetof(type_, count_)          \
	}

#endif
