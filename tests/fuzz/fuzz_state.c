/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any objects in a state file that is whole. Whatever they say, the gateway
 * goes on with it: messages, time, a connection; and what it then writes down
 * is a state file again.
 */
#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "../unit/talk.h"

#define HEAD "{\"sipalgd_state\":{\"version\":1,\"orderly\":true}}\n"

static char directory[64], path[80];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void clean_up(void)
{
	static const char *const files[] = { "", ".old", ".bad", ".new" };
	char file[96];

	for (int i = 0; i < 4; i++) {
		snprintf(file, sizeof(file), "%s%s", path, files[i]);
		unlink(file);
	}
	rmdir(directory);
}

static void make_directory(void)
{
	if (path[0])
		return;
	snprintf(directory, sizeof(directory), "/dev/shm/sipalg-fuzz-%d",
		 (int)getpid());
	snprintf(path, sizeof(path), "%s/" STORE_FILE, directory);
	stage_need(!mkdir(directory, 0700));
	atexit(clean_up);
}

/* Head, @data and a right end; each line of @data counts as an object */
static void put_file(const uint8_t *data, size_t size)
{
	FILE *out = fopen(path, "w");
	unsigned long sum = crc32(0, (const void *)HEAD, sizeof(HEAD) - 1);
	unsigned int lines = 1;

	stage_need(out != NULL);
	while (size && data[size - 1] == '\n')
		size--;
	fputs(HEAD, out);
	fwrite(data, 1, size, out);
	sum = crc32(sum, data, (unsigned int)size);
	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	if (size) {
		fputc('\n', out);
		sum = crc32(sum, (const void *)"\n", 1);
		lines++;
	}
	fprintf(out, "{\"end\":{\"lines\":%u,\"crc32\":%lu}}\n", lines, sum);
	fclose(out);
}

/* A kernel in which some of what may be said is true */
static void set_stage(struct stage *st)
{
	struct nat_entry entry = { .lan = { .src = stage_end(
						    "192.168.1.10:40000"),
					    .dst = stage_end(SERVER),
					    .proto = IPPROTO_TCP },
				   .timeout_s = 1000,
				   .answered = true };

	entry.wan = tuple_reverse(&entry.lan);
	entry.wan.dst = stage_end("203.0.113.1:40000");
	simnat_ops.create(&st->sim, &entry);
}

static void go_on(struct stage *st)
{
	talk_register(st, PHONE, PUBLIC, 60);
	in(st, .method = "INVITE", .incoming = true,
	   .sdp = talk_sdp(MEDIA_ADDR, 8000, ""));
	out(st, .method = "INVITE", .incoming = true, .status = 200,
	    .sdp = talk_sdp(PHONE_ADDR, 4000, ""));
	stage_wait(st, 5);
	out(st, .method = "INVITE", .cseq = 2,
	    .sdp = talk_sdp(PHONE_ADDR, 4002, ""));
	in(st, .method = "INVITE", .cseq = 2, .status = 200,
	   .sdp = talk_sdp(MEDIA_ADDR, 8002, ""));
	in(st, .method = "BYE", .cseq = 3);
	out(st, .method = "BYE", .cseq = 3, .status = 200);
	stage_wait(st, 5);
}

/* The corpus was written then */
static struct store here(const struct stage *st)
{
	return (struct store){ .directory = directory,
			       .now_ms = st->now_ms,
			       .offset_ms = 1795295000000 };
}

static void read_again(struct stage *st)
{
	struct store store = here(st);
	struct store_count count;
	const char *why;

	stage_need(!store_write(&store, st->alg, true));
	alg_free(st->alg);
	st->alg = alg_new(&st->conf, &simnat_ops, &st->sim, st->now_ms);
	stage_need(st->alg && !store_read(&store, st->alg, true, &count, &why));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stage *st = stage_open();
	struct store store;
	struct store_count count;
	const char *why;

	make_directory();
	store = here(st);
	put_file(data, size);
	set_stage(st);
	stage_need(!store_read(&store, st->alg, true, &count, &why));
	read_again(st);
	go_on(st);
	read_again(st);
	stage_wait(st, 100);
	stage_close(st);
	return 0;
}
