/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/pcapng.h"

#include <errno.h>
#include <string.h>

#define LINKTYPE_RAW 101
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define COMMENT_MAX 65535u

/* All numbers are in this machine's order; the magic says which that is */
enum block {
	BLOCK_INTERFACE = 1,
	BLOCK_STATISTICS = 5,
	BLOCK_PACKET = 6,
	BLOCK_SECTION = 0x0a0d0d0a,
};

enum option {
	OPTION_END = 0,
	OPTION_COMMENT = 1,
	OPTION_INTERFACE_NAME = 2,
	OPTION_INTERFACE_DESCRIPTION = 3,
	OPTION_SECTION_PROGRAM = 4,
	OPTION_STATISTICS_BEGUN = 2,
	OPTION_STATISTICS_ENDED = 3,
	OPTION_STATISTICS_RECEIVED = 4,
	OPTION_STATISTICS_DROPPED = 5,
};

/** struct option_value - To be written; @len 0: none */
struct option_value {
	uint16_t code;
	const void *value;
	size_t len;
};

static size_t padding(size_t len)
{
	return (4 - len % 4) % 4;
}

static size_t options_len(const struct option_value *options, size_t count)
{
	size_t len = 0;

	for (size_t i = 0; i < count; i++) {
		if (options[i].len)
			len += 4 + options[i].len + padding(options[i].len);
	}
	return len ? len + 4 : 0;
}

static void put(FILE *out, const void *data, size_t len)
{
	static const uint8_t zero[4];

	fwrite(data, 1, len, out);
	fwrite(zero, 1, padding(len), out);
}

static void put_options(FILE *out, const struct option_value *options,
			size_t count)
{
	uint16_t head[2] = { OPTION_END, 0 };

	if (!options_len(options, count))
		return;
	for (size_t i = 0; i < count; i++) {
		if (!options[i].len)
			continue;
		head[0] = options[i].code;
		head[1] = (uint16_t)options[i].len;
		put(out, head, sizeof(head));
		put(out, options[i].value, options[i].len);
	}
	head[0] = OPTION_END;
	head[1] = 0;
	put(out, head, sizeof(head));
}

/*
 *	| type | length | @fixed ... | @data, padded | options ... | length |
 */
static int put_block(FILE *out, enum block type, const void *fixed,
		     size_t fixed_len, const void *data, size_t len,
		     const struct option_value *options, size_t count)
{
	size_t all = 12 + fixed_len + len + padding(len) +
		     options_len(options, count);
	uint32_t head[2] = { (uint32_t)type, (uint32_t)all };

	put(out, head, sizeof(head));
	put(out, fixed, fixed_len);
	put(out, data, len);
	put_options(out, options, count);
	put(out, &head[1], sizeof(head[1]));
	return ferror(out) ? -EIO : 0;
}

static struct option_value text_option(enum option code, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	return (struct option_value){ (uint16_t)code, text,
				      len < COMMENT_MAX ? len : COMMENT_MAX };
}

int pcapng_begin(FILE *out, const char *program)
{
	struct option_value option =
		text_option(OPTION_SECTION_PROGRAM, program);
	struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t len[2]; /* not known: all ones */
	} fixed = { BYTE_ORDER_MAGIC, 1, 0, { UINT32_MAX, UINT32_MAX } };

	return put_block(out, BLOCK_SECTION, &fixed, sizeof(fixed), "", 0,
			 &option, 1);
}

int pcapng_interface(FILE *out, const char *name, const char *description)
{
	struct option_value options[] = {
		text_option(OPTION_INTERFACE_NAME, name),
		text_option(OPTION_INTERFACE_DESCRIPTION, description),
	};
	struct {
		uint16_t linktype, reserved;
		uint32_t snaplen; /* 0: whole packets */
	} fixed = { .linktype = LINKTYPE_RAW };

	return put_block(out, BLOCK_INTERFACE, &fixed, sizeof(fixed), "", 0,
			 options, 2);
}

int pcapng_packet(FILE *out, uint32_t interface, uint64_t time_us,
		  const void *data, size_t len, const char *comment)
{
	struct option_value option = text_option(OPTION_COMMENT, comment);
	uint32_t fixed[5] = { interface, (uint32_t)(time_us >> 32),
			      (uint32_t)time_us, (uint32_t)len, (uint32_t)len };

	return put_block(out, BLOCK_PACKET, fixed, sizeof(fixed), data, len,
			 &option, 1);
}

int pcapng_counts(FILE *out, uint32_t interface,
		  const struct pcapng_counts *counts)
{
	/* Times are two numbers, the high one first */
	uint32_t begun[2] = { (uint32_t)(counts->begun_us >> 32),
			      (uint32_t)counts->begun_us };
	uint32_t ended[2] = { (uint32_t)(counts->ended_us >> 32),
			      (uint32_t)counts->ended_us };
	uint32_t fixed[3] = { interface, ended[0], ended[1] };
	struct option_value options[] = {
		{ OPTION_STATISTICS_BEGUN, begun, sizeof(begun) },
		{ OPTION_STATISTICS_ENDED, ended, sizeof(ended) },
		{ OPTION_STATISTICS_RECEIVED, &counts->received,
		  sizeof(counts->received) },
		{ OPTION_STATISTICS_DROPPED, &counts->dropped,
		  sizeof(counts->dropped) },
	};

	return put_block(out, BLOCK_STATISTICS, fixed, sizeof(fixed), "", 0,
			 options, sizeof(options) / sizeof(options[0]));
}
