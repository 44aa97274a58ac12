/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * iniparser 4.1 reads the values, but keeps no line numbers, takes the last of
 * two equal keys without a word, joins a line ending in '\' to the next (also
 * where the first is a comment), takes an open quotation mark, and gives up on
 * a whole file for one bad line. So a small strict scan goes first. It notes
 * where each key stands, reports what is wrong, and hands iniparser, through a
 * memory file, only the lines that both read the same way. As the file itself
 * is read once, it cannot change between the two.
 */
#include "conf/inifile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <iniparser.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/span.h"

/* ASCIILINESZ of iniparser.c is 1024, less a newline and a NUL */
#define LINE_MAX_LEN 1022
#define PATH_TEXT_MAX 64

struct scan {
	struct ini_file *file;
	ini_problem_fn *problem;
	void *ctx;
	char section[CONF_NAME_MAX];
	unsigned int line;
};

static void scan_problem(const struct scan *s, const char *key, const char *why)
{
	s->problem(s->ctx, s->line, key, why);
}

static bool name_is_plain(struct span name)
{
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];

		if (c >= 0x80 || (!isalnum(c) && !strchr("_-.", c)))
			return false;
	}
	return name.len > 0;
}

static void name_copy(char *buf, struct span name)
{
	span_copy(buf, CONF_NAME_MAX, name);
	for (; *buf; buf++)
		*buf = (char)tolower((unsigned char)*buf);
}

static int entry_add(struct scan *s, const char *key)
{
	struct ini_file *f = s->file;
	struct ini_entry *entry;

	entry = reallocarray(f->entry, f->count + 1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	f->entry = entry;
	entry += f->count++;
	*entry = (struct ini_entry){ .line = s->line };
	memcpy(entry->section, s->section, sizeof(entry->section));
	span_copy(entry->key, sizeof(entry->key), span_from_str(key));
	return 0;
}

/* What is wrong with the bytes of a line, whatever they say; NULL if nothing */
static const char *line_fault(struct span line)
{
	if (line.len > LINE_MAX_LEN)
		return "line is longer than 1022 bytes";
	if (line.len && line.ptr[line.len - 1] == '\\')
		return "line ends in '\\': lines cannot be continued";
	for (size_t i = 0; i < line.len; i++) {
		unsigned char c = (unsigned char)line.ptr[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return "control character in the line";
	}
	return NULL;
}

/* What is wrong with the quotes of a value; NULL if nothing */
static const char *quote_fault(struct span value)
{
	const char *end;
	struct span rest;

	if (!value.len || !strchr("\"'", value.ptr[0]))
		return NULL;
	end = memchr(value.ptr + 1, value.ptr[0], value.len - 1);
	if (!end)
		return "quotation mark is not closed";
	rest = span_trim(span_between(end + 1, span_end(value)));
	if (rest.len && !strchr(";#", rest.ptr[0]))
		return "text after the closing quotation mark";
	return NULL;
}

/* Return: true if the line goes to iniparser */
static bool scan_section(struct scan *s, struct span line, int *err)
{
	struct span name = { line.ptr + 1, line.len - 1 };

	if (name.len && name.ptr[name.len - 1] == ']')
		name.len--;
	else
		name.len = 0;
	if (!name_is_plain(name)) {
		scan_problem(s, "syntax", "not a [section] line");
		return false;
	}
	name_copy(s->section, name);
	if (!ini_find(s->file, s->section, ""))
		*err = entry_add(s, "");
	return true;
}

/* Return: true if the line goes to iniparser */
static bool scan_assignment(struct scan *s, struct span line, int *err)
{
	const char *equals = span_chr(line, '=');
	const struct ini_entry *first;
	char key[CONF_NAME_MAX], full[2 * CONF_NAME_MAX], why[64];
	struct span name = { 0 };
	const char *fault;

	if (equals)
		name = span_trim(span_between(line.ptr, equals));
	if (!name_is_plain(name)) {
		scan_problem(s, "syntax", "not a \"key = value\" line");
		return false;
	}
	name_copy(key, name);
	snprintf(full, sizeof(full), "%s.%s", s->section, key);
	if (!s->section[0]) {
		scan_problem(s, key, "stands before the first [section]");
		return false;
	}
	fault = quote_fault(
		span_trim(span_between(equals + 1, span_end(line))));
	first = ini_find(s->file, s->section, key);
	if (first) {
		snprintf(why, sizeof(why), "already given in line %u",
			 first->line);
		fault = why;
	}
	if (fault) {
		scan_problem(s, full, fault);
		return false;
	}
	*err = entry_add(s, key);
	return true;
}

static int scan_line(struct scan *s, struct span line, FILE *copy)
{
	const char *fault;
	bool keep = false;
	int err = 0;

	s->line++;
	line = span_trim(line);
	fault = line_fault(line);
	if (fault)
		scan_problem(s, "syntax", fault);
	else if (!line.len || strchr(";#", line.ptr[0]))
		return 0;
	else if (line.ptr[0] == '[')
		keep = scan_section(s, line, &err);
	else
		keep = scan_assignment(s, line, &err);
	if (keep && !err)
		fprintf(copy, "%.*s\n", SPAN_ARG(line));
	return err;
}

static int scan_stream(struct scan *s, FILE *in, FILE *copy)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	int err = 0;

	errno = 0;
	while (!err && (len = getline(&line, &cap, in)) >= 0)
		err = scan_line(s, (struct span){ line, (size_t)len }, copy);
	if (!err && ferror(in))
		err = errno ? -errno : -EIO;
	if (!err && (fflush(copy) || ferror(copy)))
		err = errno ? -errno : -EIO;
	free(line);
	return err;
}

/* iniparser's own words go nowhere: the scan has said it better */
static int quiet(const char *fmt, ...)
{
	(void)fmt;
	return 0;
}

static int values_load(struct ini_file *file, int fd)
{
	char path[PATH_TEXT_MAX], name[2 * CONF_NAME_MAX];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	iniparser_set_error_callback(quiet);
	file->dict = iniparser_load(path);
	if (!file->dict)
		return -EIO;
	for (size_t i = 0; i < file->count; i++) {
		struct ini_entry *e = &file->entry[i];

		if (!e->key[0])
			continue;
		snprintf(name, sizeof(name), "%s:%s", e->section, e->key);
		e->value = iniparser_getstring(file->dict, name, "");
	}
	return 0;
}

int ini_read(const char *path, struct ini_file *file, ini_problem_fn *problem,
	     void *ctx)
{
	struct scan scan = { .file = file, .problem = problem, .ctx = ctx };
	FILE *in = NULL, *copy = NULL;
	int err, fd;

	*file = (struct ini_file){ 0 };
	fd = memfd_create("sipalgd.conf", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	copy = fdopen(fd, "w");
	if (!copy) {
		err = -errno;
		close(fd);
		return err;
	}
	in = fopen(path, "re");
	err = in ? scan_stream(&scan, in, copy) : -errno;
	if (!err)
		err = values_load(file, fd);
	if (err)
		problem(ctx, 0, "cannot be read", strerror(-err));
	if (in)
		fclose(in);
	fclose(copy);
	return err;
}

void ini_free(struct ini_file *file)
{
	if (file->dict)
		iniparser_freedict(file->dict);
	free(file->entry);
	*file = (struct ini_file){ 0 };
}

const struct ini_entry *ini_find(const struct ini_file *file,
				 const char *section, const char *key)
{
	for (size_t i = 0; i < file->count; i++) {
		const struct ini_entry *e = &file->entry[i];

		if (!strcmp(e->section, section) && !strcmp(e->key, key))
			return e;
	}
	return NULL;
}
