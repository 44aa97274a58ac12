/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_TERM_H
#define SIPALG_CTL_TERM_H

#include <stdbool.h>

#include "ctl/ctl.h"

/** enum term_colour - What a colour means, not how it looks */
enum term_colour {
	TERM_PLAIN,
	TERM_GOOD,
	TERM_WARN,
	TERM_BAD,
	TERM_DIM,
	TERM_BOLD,
};

/**
 * term_init() - Find out what standard output can do
 *
 * Colours only on a terminal that has them: not with TERM=dumb, nor where
 * NO_COLOR is set (https://no-color.org). Its width is COLUMNS, or what the
 * terminal says; where it is none, 0.
 */
void term_init(struct ctl *ctl);

/** term_is_screen() - Standard output is a terminal that obeys escape
 * sequences */
bool term_is_screen(void);

/** term_colour() - The escape sequence that begins a colour; "" without colours
 */
const char *term_colour(const struct ctl *ctl, enum term_colour colour);
/** term_plain() - The one that ends it */
const char *term_plain(const struct ctl *ctl);

#endif
