/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs tests/vectors: see the README there */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "stage.h"

#define VECTORS SIPALG_SOURCE_DIR "/tests/vectors/"
#define MARK "\n#> "
#define WORDS 6

/**
 * struct step - One "#> word word ..." line and the bytes that follow it
 * @line:	Number of the step in its file, from 1
 */
struct step {
	struct span word[WORDS], bytes;
	unsigned int words, number;
};

static struct span slurp(const char *path)
{
	FILE *in = fopen(path, "rb");
	char *text = NULL, chunk[4096];
	size_t len = 0, n;

	if (!in)
		fail_msg("%s: %s", path, strerror(errno));
	while ((n = fread(chunk, 1, sizeof(chunk), in))) {
		text = realloc(text, len + n);
		memcpy(text + len, chunk, n);
		len += n;
	}
	fclose(in);
	return (struct span){ text, len };
}

/* The first step begins the file; each other one stands behind MARK */
static bool next_step(struct span *rest, struct step *step)
{
	const char *lf, *end;
	struct span words;

	if (rest->len < 3 || memcmp(rest->ptr, "#> ", 3))
		fail_msg("a step must begin with '#> '");
	lf = span_chr(*rest, '\n');
	assert_non_null(lf);
	words = span_between(rest->ptr + 3, lf);
	*rest = span_between(lf + 1, span_end(*rest));
	step->number++;
	step->words = 0;
	while (words.len && step->words < WORDS) {
		const char *blank = span_chr(words, ' ');
		const char *stop = blank ? blank : span_end(words);

		step->word[step->words++] = span_between(words.ptr, stop);
		words = blank ? span_between(blank + 1, span_end(words))
			      : (struct span){ 0 };
	}
	if (step->words && span_eq(step->word[0], SPAN("end")))
		return false;
	/* A step without bytes: the mark's line end is the step line's own */
	if (rest->len >= 3 && !memcmp(rest->ptr, "#> ", 3)) {
		step->bytes = (struct span){ rest->ptr, 0 };
		return true;
	}
	end = span_find(*rest, SPAN(MARK));
	assert_non_null(end);
	step->bytes = span_between(rest->ptr, end);
	*rest = span_between(end + 1, span_end(*rest));
	return true;
}

static void configure(struct stage *st, struct span text)
{
	static const char path[] = "/tmp/sipalg-vector-XXXXXX";
	char name[sizeof(path)];
	FILE *out;
	int fd;

	memcpy(name, path, sizeof(path));
	fd = mkstemp(name);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	assert_non_null(out);
	fprintf(out,
		"[gateway]\nlan_interfaces = lan0\nwan_interfaces = wan0\n"
		"%.*s\n",
		SPAN_ARG(text));
	fclose(out);
	assert_int_equal(conf_load(name, &st->conf, stderr), 0);
	unlink(name);
	alg_configure(st->alg, &st->conf);
}

static const char *text_of(char *buf, struct span s)
{
	span_copy(buf, ENDPOINT_TEXT_MAX, s);
	return buf;
}

static void send_step(struct stage *st, const struct step *step)
{
	char src[ENDPOINT_TEXT_MAX], dst[ENDPOINT_TEXT_MAX];
	struct tuple t = { .proto = IPPROTO_UDP };
	bool out = span_eq(step->word[0], SPAN("out"));

	assert_int_equal(step->words, 3);
	t.src = stage_end(text_of(src, step->word[1]));
	t.dst = stage_end(text_of(dst, step->word[2]));
	assert_int_equal(stage_side(st, &t), out ? NAT_SIDE_LAN : NAT_SIDE_WAN);
	stage_pass(st, &t, step->bytes);
}

static void show(const char *title, struct span bytes)
{
	fprintf(stderr, "---- %s\n", title);
	fwrite(bytes.ptr, 1, bytes.len, stderr);
	fprintf(stderr, "\n----\n");
}

/* Compare what left with the step of the .want file */
static bool check(const struct stage *st, const struct step *sent,
		  const struct step *want)
{
	char src[ENDPOINT_TEXT_MAX], dst[ENDPOINT_TEXT_MAX];
	const char *reason = counter_name(st->d.reason);
	struct span bytes = want->words == 5 ? sent->bytes : want->bytes;

	if (span_eq(want->word[0], SPAN("drop")))
		return want->words == 2 && st->d.drop &&
		       span_eq(want->word[1], span_from_str(reason));
	assert_in_range(want->words, 4, 5);
	assert_true(span_eq(want->word[0], sent->word[0]));
	if (want->words == 5)
		assert_true(span_eq(want->word[4], SPAN("same")));
	endpoint_format(&st->t.src, src);
	endpoint_format(&st->t.dst, dst);
	if (!span_eq(want->word[1], span_from_str(src)) ||
	    !span_eq(want->word[2], span_from_str(dst)) ||
	    !span_eq(want->word[3], span_from_str(reason))) {
		fprintf(stderr, "left %s -> %s, %s\n", src, dst, reason);
		return false;
	}
	if (span_eq(bytes, st->left))
		return true;
	show("want", bytes);
	show("got", st->left);
	return false;
}

static unsigned int run(const char *name, struct span sip, struct span want)
{
	struct stage *st = stage_open();
	struct step sent = { 0 }, wanted = { 0 };
	unsigned int bad = 0;

	while (next_step(&sip, &sent)) {
		uint64_t seconds;

		if (span_eq(sent.word[0], SPAN("conf"))) {
			configure(st, sent.bytes);
		} else if (span_eq(sent.word[0], SPAN("wait"))) {
			assert_int_equal(
				span_to_uint(sent.word[1], 86400, &seconds), 0);
			stage_wait(st, (unsigned int)seconds);
		} else {
			send_step(st, &sent);
			if (!next_step(&want, &wanted))
				fail_msg("%s: too few wants", name);
			if (check(st, &sent, &wanted))
				continue;
			fprintf(stderr, "%s: message %u\n", name,
				wanted.number);
			bad++;
		}
	}
	if (next_step(&want, &wanted))
		fail_msg("%s: too many wants", name);
	stage_close(st);
	return bad;
}

static int is_vector(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 4 && !strcmp(entry->d_name + len - 4, ".sip");
}

static void test_vectors(void **state)
{
	struct dirent **list;
	int count = scandir(VECTORS, &list, is_vector, alphasort);
	unsigned int bad = 0;

	(void)state;
	assert_in_range(count, 40, 1000);
	for (int i = 0; i < count; i++) {
		char path[512];
		struct span sip, want;
		size_t len;

		len = (size_t)snprintf(path, sizeof(path), VECTORS "%s",
				       list[i]->d_name);
		sip = slurp(path);
		memcpy(path + len - 4, ".want", 6);
		want = slurp(path);
		bad += run(list[i]->d_name, sip, want);
		free((void *)(uintptr_t)sip.ptr);
		free((void *)(uintptr_t)want.ptr);
		free(list[i]);
	}
	free(list);
	if (bad)
		fail_msg("%u messages are wrong", bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
