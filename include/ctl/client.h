/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_CLIENT_H
#define SIPALG_CTL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "ctl/ctl.h"

/*
 * The client's side of the control socket: one line of JSON asks, and one
 * answers, or many, for what goes on until either side closes.
 */

/**
 * ctl_find_daemon() - Who listens at the socket, be it that he answers or not
 * @pid:	Its process, by the number that it has here; 0 if it has none
 *
 * Return: 0; -errno if nobody does
 */
int ctl_find_daemon(const struct ctl *ctl, pid_t *pid);

/**
 * ctl_ask() - One question, one answer
 * @request:	{"command": ...}; its reference is taken over
 * @answer:	Set on CTL_OK; the caller drops it
 *
 * Whatever goes wrong is said on stderr.
 *
 * Return: enum ctl_exit
 */
int ctl_ask(const struct ctl *ctl, json_t *request, json_t **answer);

/**
 * ctl_follow() - One question, and every answer until the daemon closes or
 * @each says so
 * @request:	As for ctl_ask()
 * @each:	Given each line; false ends it. An answer with "error" never
 *		comes here: it is said on stderr, and ends it
 *
 * Return: enum ctl_exit
 */
int ctl_follow(const struct ctl *ctl, json_t *request,
	       bool (*each)(void *arg, const json_t *answer), void *arg);

#endif
