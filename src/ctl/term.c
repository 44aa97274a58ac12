/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A width beyond this is a mistake */
#define WIDTH_MAX 10000

bool term_is_screen(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && term && *term &&
	       strcmp(term, "dumb") != 0;
}

static bool has_colours(void)
{
	const char *no_color = getenv("NO_COLOR");

	return term_is_screen() && !(no_color && *no_color);
}

static unsigned int width(void)
{
	const char *columns = getenv("COLUMNS");
	unsigned long n = columns ? strtoul(columns, NULL, 10) : 0;
	struct winsize size;

	if (n > 0 && n < WIDTH_MAX)
		return (unsigned int)n;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		return size.ws_col;
	return 0;
}

void term_init(struct ctl *ctl)
{
	ctl->colour = has_colours();
	ctl->width = width();
}

const char *term_colour(const struct ctl *ctl, enum term_colour colour)
{
	static const char *const sequences[] = {
		[TERM_PLAIN] = "",	  [TERM_GOOD] = "\033[32m",
		[TERM_WARN] = "\033[33m", [TERM_BAD] = "\033[1;31m",
		[TERM_DIM] = "\033[2m",	  [TERM_BOLD] = "\033[1m",
	};

	return ctl->colour ? sequences[colour] : "";
}

const char *term_plain(const struct ctl *ctl)
{
	return ctl->colour ? "\033[0m" : "";
}
