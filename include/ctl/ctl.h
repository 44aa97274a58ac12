/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_CTL_H
#define SIPALG_CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>

/** enum ctl_exit - Exit status, as sipalgctl(8) says */
enum ctl_exit {
	CTL_OK,
	CTL_REFUSED, /* the daemon said no, or doctor found something */
	CTL_USAGE,
	CTL_NO_DAEMON,
};

/**
 * struct ctl - How sipalgctl was called
 * @socket:	Path of the control socket
 * @json:	Print one JSON document, and nothing for people
 * @all:	--all; only where struct ctl_command says that it may
 * @colour:	Colours may be used
 * @width:	Columns of the terminal; 0: no limit
 */
struct ctl {
	const char *socket;
	bool json, all, colour;
	unsigned int width;
};

/**
 * struct ctl_command - One thing sipalgctl does
 * @arguments:	As in the usage: "[CALL-ID]"; "" for none. The completions
 *		offer the words of "[a|b]"
 * @help:	One line
 * @more:	What "COMMAND --help" says beside; NULL for nothing
 * @most:	Arguments it takes at most
 * @all:	It takes --all
 * @run:	Given the arguments behind the command's name. It says on stderr
 *		what went wrong. Return: enum ctl_exit
 */
struct ctl_command {
	const char *name, *arguments, *help, *more;
	int most;
	bool all;
	int (*run)(const struct ctl *ctl, int argc, char **argv);
};

/** ctl_commands - All of them; ends with a row without a name */
extern const struct ctl_command ctl_commands[];

#endif
