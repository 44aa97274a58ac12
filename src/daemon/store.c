/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "daemon/encode.h"
#include "state/saved.h"

/* A change of what is written that this program would read wrongly makes it
 * another one
 */
#define VERSION 1
/* Room for the bytes of one object: both directions of a connection */
#define ROOM ((size_t)4 * IMAGE_BYTES_MAX)
/* Memory for one object as JSON */
#define BLOCK ((size_t)1 << 17)
/* What nobody would have written: limits.* at their largest do not come near */
#define FILE_MAX ((off_t)1 << 31)

struct store store_at(const char *directory, uint64_t now_ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (struct store){
		.directory = directory,
		.now_ms = now_ms,
		.offset_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 -
			     (int64_t)now_ms,
	};
}

/* ---- memory ---- */

/*
 * An object is some dozens of small pieces, and there are a hundred thousand of
 * them: malloc() took as long as all the rest. Pieces of one object come from
 * one block, and go all at once. What does not fit comes from malloc() after
 * all.
 */
static struct {
	size_t used;
	max_align_t room[BLOCK / sizeof(max_align_t)];
} block;

static void *block_malloc(size_t size)
{
	size_t units = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t);
	size_t at = block.used;

	if (units > BLOCK / sizeof(max_align_t) - at)
		return malloc(size);
	block.used += units;
	return &block.room[at];
}

static void block_free(void *p)
{
	uintptr_t from = (uintptr_t)block.room, at = (uintptr_t)p;

	if (at < from || at >= from + BLOCK)
		free(p);
}

static void block_begin(void)
{
	block.used = 0;
	json_set_alloc_funcs(block_malloc, block_free);
}

/* All that came from it is gone */
static void block_again(void)
{
	block.used = 0;
}

static void block_end(void)
{
	json_set_alloc_funcs(malloc, free);
}

/* ---- writing ---- */

/**
 * struct writing - A file that is being written
 * @sum:	Of all bytes so far
 * @failed:	Some did not get there
 */
struct writing {
	FILE *out;
	const struct saved_kind *kind;
	union saved *image;
	struct encode encode;
	unsigned long sum, lines;
	bool failed;
};

static int put_bytes(const char *bytes, size_t len, void *arg)
{
	struct writing *w = arg;

	w->sum = crc32(w->sum, (const void *)bytes, (unsigned int)len);
	return fwrite(bytes, 1, len, w->out) == len ? 0 : -1;
}

/* Takes over @json */
static void put_line(struct writing *w, const char *name, json_t *json)
{
	json_t *line = json_object();

	if (!json || !line || json_object_set_new_nocheck(line, name, json) ||
	    json_dump_callback(line, put_bytes, w, JSON_COMPACT) ||
	    put_bytes("\n", 1, w))
		w->failed = true;
	json_decref(line);
	block_again();
	w->lines++;
}

static void put_image(void *arg)
{
	struct writing *w = arg;

	put_line(w, w->kind->name,
		 encode_struct(&w->encode, w->kind->fields, w->image));
}

static void put_all(struct writing *w, const struct alg *alg, bool orderly)
{
	put_line(w, "sipalgd_state",
		 json_pack("{s:i, s:b, s:s}", "version", VERSION, "orderly",
			   orderly, "program", SIPALG_VERSION));
	for (w->kind = saved_kinds; w->kind->name; w->kind++) {
		if (orderly || !w->kind->only_orderly)
			w->kind->each(alg, w->image, put_image, w);
	}
	put_line(w, "end",
		 json_pack("{s:I, s:I}", "lines", (json_int_t)w->lines, "crc32",
			   (json_int_t)w->sum));
}

static int write_file(int fd, const struct store *store, const struct alg *alg,
		      bool orderly)
{
	struct writing w = {
		.out = fdopen(fd, "w"),
		.image = malloc(sizeof(*w.image)),
		.encode.offset_ms = store->offset_ms,
		.sum = crc32(0, NULL, 0),
	};
	int err = 0;

	block_begin();
	if (w.out && w.image)
		put_all(&w, alg, orderly);
	block_end();
	if (!w.out || !w.image)
		err = -ENOMEM;
	else if (w.failed || fflush(w.out) || fsync(fd))
		err = errno ? -errno : -EIO;
	free(w.image);
	if (w.out ? fclose(w.out) : close(fd))
		err = err ? err : -errno;
	return err;
}

int store_write(const struct store *store, const struct alg *alg, bool orderly)
{
	int err, fd, dir = open(store->directory, O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	fd = openat(dir, STORE_FILE ".new",
		    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	errno = fd < 0 ? errno : 0;
	err = fd < 0 ? -errno : write_file(fd, store, alg, orderly);
	if (!err && renameat(dir, STORE_FILE ".new", dir, STORE_FILE))
		err = -errno;
	if (!err)
		fsync(dir);
	close(dir);
	return err;
}

/* ---- reading ---- */

/**
 * struct reading - A file that is being read
 * @orderly:	As its head says
 * @lines:	Objects in it
 */
struct reading {
	FILE *in;
	char *line;
	size_t cap;
	struct encode encode;
	union saved *image;
	bool orderly;
	unsigned long lines;
	const char *why;
};

static int bad(struct reading *r, const char *why)
{
	r->why = why;
	return -EBADMSG;
}

/* The next line as {NAME: VALUE}; NULL if it is anything else */
static json_t *get_line(struct reading *r, const char **name, json_t **value)
{
	ssize_t len = getline(&r->line, &r->cap, r->in);
	json_t *json;
	void *iter;

	if (len <= 0)
		return NULL;
	json = json_loadb(r->line, (size_t)len, JSON_REJECT_DUPLICATES, NULL);
	iter = json_object_iter(json);
	if (iter) {
		*name = json_object_iter_key(iter);
		*value = json_object_iter_value(iter);
		return json;
	}
	json_decref(json);
	return NULL;
}

static int check_head(struct reading *r)
{
	const char *name;
	json_t *value, *json = get_line(r, &name, &value);
	int version = 0, orderly = 0, err;

	err = !json || strcmp(name, "sipalgd_state") ||
	      json_unpack(value, "{s:i, s:b}", "version", &version, "orderly",
			  &orderly);
	json_decref(json);
	if (err)
		return bad(r, "it does not begin as one");
	if (version != VERSION)
		return bad(r, "another version has written it");
	r->orderly = orderly;
	return 0;
}

/* The end is there, and sums up what is before it */
static int check_end(struct reading *r)
{
	unsigned long sum = crc32(0, NULL, 0), before = sum;
	json_int_t lines = 0, said_lines = 0, said = 0;
	ssize_t len, last = 0;
	json_t *json;
	int err;

	while ((len = getline(&r->line, &r->cap, r->in)) > 0) {
		before = sum;
		sum = crc32(sum, (const void *)r->line, (unsigned int)len);
		lines++;
		last = len;
	}
	if (!last || r->line[last - 1] != '\n')
		return bad(r, "it is cut off");
	json = json_loadb(r->line, (size_t)last, 0, NULL);
	err = json_unpack(json, "{s:{s:I, s:I}}", "end", "lines", &said_lines,
			  "crc32", &said);
	json_decref(json);
	if (err || lines < 2)
		return bad(r, "it is cut off");
	if (said_lines != lines - 1 || (unsigned long)said != before)
		return bad(r, "it was altered");
	rewind(r->in);
	r->lines = (unsigned long)lines - 2;
	return 0;
}

static const struct saved_kind *find_kind(const char *name)
{
	const struct saved_kind *kind = saved_kinds;

	while (kind->name && strcmp(kind->name, name))
		kind++;
	return kind->name ? kind : NULL;
}

static bool restore(struct reading *r, struct alg *alg, bool whole,
		    const char *name, const json_t *value, uint64_t now_ms)
{
	const struct saved_kind *kind = find_kind(name);

	if (!kind || (kind->only_orderly && !(whole && r->orderly)))
		return false;
	memset(r->image, 0, sizeof(*r->image));
	r->encode.used = 0;
	return !decode_struct(&r->encode, kind->fields, value, r->image) &&
	       saved_restore(alg, kind, r->image, now_ms);
}

static void restore_all(struct reading *r, struct alg *alg, bool whole,
			uint64_t now_ms, struct store_count *count)
{
	const char *name = NULL;
	json_t *value, *json;

	for (unsigned long i = 0; i < r->lines; i++) {
		json = get_line(r, &name, &value);
		if (json && restore(r, alg, whole, name, value, now_ms))
			count->restored++;
		else
			count->dropped++;
		json_decref(json);
		block_again();
	}
}

static int read_file(struct reading *r, struct alg *alg, bool whole, bool last,
		     uint64_t now_ms, struct store_count *count)
{
	struct stat st;
	int err;

	if (fstat(fileno(r->in), &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		return bad(r, "it is no regular file, or too large");
	err = check_end(r);
	if (!err)
		err = check_head(r);
	r->orderly = r->orderly && !last;
	alg->calls.in_doubt = !r->orderly;
	if (!err)
		restore_all(r, alg, whole, now_ms, count);
	return err;
}

/* @last: it has been read once before */
static int read_from(int dir, const char *file, const struct store *store,
		     struct alg *alg, bool whole, bool last,
		     struct store_count *count, const char **why)
{
	int fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct reading r = {
		.in = fd < 0 ? NULL : fdopen(fd, "r"),
		.encode = { .offset_ms = store->offset_ms, .cap = ROOM },
	};
	int err = fd < 0 ? -errno : -ENOMEM;

	if (!r.in)
		return err;
	r.image = malloc(sizeof(*r.image));
	r.encode.room = malloc(ROOM);
	block_begin();
	if (r.image && r.encode.room)
		err = read_file(&r, alg, whole, last, store->now_ms, count);
	block_end();
	*why = r.why;
	free(r.line);
	free(r.image);
	free(r.encode.room);
	fclose(r.in);
	return err;
}

int store_read(const struct store *store, struct alg *alg, bool whole,
	       struct store_count *count, const char **why)
{
	int err, dir = open(store->directory, O_DIRECTORY | O_CLOEXEC);
	const char *file = STORE_FILE;

	*count = (struct store_count){ 0 };
	*why = NULL;
	if (dir < 0)
		return -errno;
	err = read_from(dir, file, store, alg, whole, false, count, why);
	if (err == -ENOENT) {
		file = STORE_FILE ".old";
		err = read_from(dir, file, store, alg, false, true, count, why);
	}
	if (err == -EBADMSG)
		renameat(dir, file, dir, STORE_FILE ".bad");
	else if (!err)
		renameat(dir, file, dir, STORE_FILE ".old");
	close(dir);
	return err;
}
