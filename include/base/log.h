/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_BASE_LOG_H
#define SIPALG_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

/**
 * enum log_level - Severities, with the numbers of syslog(3)
 *
 * Under systemd each line goes out with "<N>" in front (sd-daemon(3)), so that
 * journald files it under its priority.
 */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/** log_set_level() - Show lines of @level and graver; default: info */
void log_set_level(enum log_level level);

/** log_is_shown() - Lines of @level are */
bool log_is_shown(enum log_level level);

/** log_is_journal() - Standard error goes to the journal: systemd.exec(5),
 * JOURNAL_STREAM, which may also be of another stream, or inherited */
bool log_is_journal(void);

/**
 * log_at() - One line to stderr; no newline in @fmt
 *
 * Never waits: a line that has no room is lost, and counted in a later one.
 */
void log_at(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** log_text() - Some lines as they are, all of @level; the same applies */
void log_text(enum log_level level, const char *text);

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_at(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

/**
 * struct log_limit - How often one place in the code may speak
 * @second:	The second that is being counted
 * @lines:	Lines in it so far
 * @hidden:	Lines kept back since the last one shown
 */
struct log_limit {
	uint64_t second;
	unsigned int lines, hidden;
};

/**
 * log_allow() - Take one of ten lines a second for what strangers can cause
 * @limit:	Static, one a place
 * @now_ms:	Monotonic time
 *
 * Return: true if the caller may log now
 */
bool log_allow(struct log_limit *limit, uint64_t now_ms);

/**
 * log_escape() - Text from the network, safe for a log line
 * @buf:	Result, NUL-terminated; bytes outside printable ASCII and '\'
 *		become \xHH, and what does not fit is cut
 *
 * Return: @buf
 */
const char *log_escape(char *buf, size_t cap, struct span text);

#endif
