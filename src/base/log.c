/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_LEN 1024
#define LINES_PER_SECOND 10

static enum log_level shown = LOG_LEVEL_INFO;
/* Lines that stderr had no room for */
static unsigned long lost;

void log_set_level(enum log_level level)
{
	shown = level;
}

bool log_is_shown(enum log_level level)
{
	return level <= shown;
}

bool log_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%ju:%ju", &dev, &ino) == 2 &&
	       !fstat(STDERR_FILENO, &st) && st.st_dev == dev &&
	       st.st_ino == ino;
}

/* Packets do not wait for whoever reads the log, or does not. Where there is
 * room at all, there is some for more than a line: a page in pipe(7), three
 * quarters of the buffer in unix(7)
 */
static bool has_room(void)
{
	struct pollfd pollfd = { .fd = STDERR_FILENO, .events = POLLOUT };

	return poll(&pollfd, 1, 0) != 0;
}

/* One write a line: lines of several processes do not mix */
static void put(const char *text, size_t len)
{
	if (!has_room() || write(STDERR_FILENO, text, len) < 0)
		lost++;
}

static void tell_lost(void)
{
	unsigned long lines = lost;

	if (!lines || !has_room())
		return;
	lost = 0;
	log_at(LOG_LEVEL_WARNING,
	       "%lu lines were lost: whoever reads them did not", lines);
}

void log_text(enum log_level level, const char *text)
{
	char line[LINE_MAX_LEN], mark[8] = "";

	tell_lost();
	if (log_is_journal())
		snprintf(mark, sizeof(mark), "<%d>", (int)level);
	while (*text) {
		size_t len = strcspn(text, "\n");
		int n = snprintf(line, sizeof(line) - 1, "%s%.*s", mark,
				 (int)len, text);

		if (n >= (int)sizeof(line) - 1)
			n = (int)sizeof(line) - 2;
		line[n] = '\n';
		put(line, (size_t)n + 1);
		text += len + (text[len] == '\n');
	}
}

void log_at(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = {
		[LOG_LEVEL_ERROR] = "error: ",
		[LOG_LEVEL_WARNING] = "warning: ",
		[LOG_LEVEL_NOTICE] = "",
		[LOG_LEVEL_INFO] = "",
		[LOG_LEVEL_DEBUG] = "debug: ",
	};
	char line[LINE_MAX_LEN];
	size_t n;
	va_list ap;

	if (!log_is_shown(level))
		return;
	tell_lost();
	if (log_is_journal())
		n = (size_t)snprintf(line, sizeof(line), "<%d>", (int)level);
	else
		n = (size_t)snprintf(line, sizeof(line), "sipalgd: %s",
				     names[level]);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	n = strlen(line);
	line[n++] = '\n';
	put(line, n);
}

bool log_allow(struct log_limit *limit, uint64_t now_ms)
{
	uint64_t second = now_ms / 1000;

	if (limit->second != second) {
		if (limit->hidden)
			log_notice("%u similar lines were not shown",
				   limit->hidden);
		*limit = (struct log_limit){ .second = second };
	}
	if (limit->lines >= LINES_PER_SECOND) {
		limit->hidden++;
		return false;
	}
	limit->lines++;
	return true;
}

const char *log_escape(char *buf, size_t cap, struct span text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		bool plain = c >= 0x20 && c < 0x7f && c != '\\';

		if (n + (plain ? 1 : 4) >= cap)
			break;
		if (plain)
			buf[n++] = (char)c;
		else
			n += (size_t)snprintf(buf + n, cap - n, "\\x%02x", c);
	}
	buf[n] = '\0';
	return buf;
}
