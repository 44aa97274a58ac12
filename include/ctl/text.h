/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_TEXT_H
#define SIPALG_CTL_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Text for people. What the daemon hands on was written by phones, or by
 * whoever sent a SIP message: it is made safe before a terminal sees it.
 */

/** TEXT_DURATION_MAX - Room for text_duration() */
#define TEXT_DURATION_MAX 24

/**
 * text_duration() - "7s", "3m20s", "1h02m", "2d03h"
 * @buf:	TEXT_DURATION_MAX bytes
 *
 * Return: @buf
 */
const char *text_duration(char *buf, uint64_t seconds);

/**
 * text_safe() - A copy in which only printable characters of the locale stand
 *
 * Everything else becomes \xHH, byte by byte; so do characters that cannot be
 * seen but change how others are shown.
 *
 * Return: the caller frees it
 */
char *text_safe(const char *text);

/** text_columns() - Columns that safe text takes */
size_t text_columns(const char *text);
/** text_columns_of() - The same of its first @len bytes */
size_t text_columns_of(const char *text, size_t len);

/** text_fit() - Bytes of safe text that fit into @columns */
size_t text_fit(const char *text, size_t columns);

/**
 * text_field() - "Name      value", the value safe and wrapped at words
 * @indent:	Column in which the value begins
 * @width:	Of the terminal; 0: no limit
 */
void text_field(FILE *out, const char *name, const char *value, size_t indent,
		size_t width);

/** text_bare_uri() - A URI without "sip:" */
const char *text_bare_uri(const char *uri);

/** text_memory() - What malloc() gave; ends the program if that is nothing */
void *text_memory(void *memory);

#endif
