/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CONF_CONF_H
#define SIPALG_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/log.h"
#include "base/ports.h"

#define CONF_MAX_NAMES 16
#define CONF_MAX_NETWORKS 64
#define CONF_MAX_QUEUES 256
#define CONF_NAME_MAX 64
#define CONF_PATH_MAX 108

/** struct conf_names - A comma list of names or globs */
struct conf_names {
	unsigned int count;
	char name[CONF_MAX_NAMES][CONF_NAME_MAX];
};

/** struct conf_networks - A comma list of networks; count 0 is "auto"/none */
struct conf_networks {
	unsigned int count;
	struct network net[CONF_MAX_NETWORKS];
};

/** struct conf_mark - "value/mask" of a conntrack mark */
struct conf_mark {
	uint32_t value, mask;
};

enum conf_mode { CONF_MODE_ACTIVE, CONF_MODE_OBSERVE, CONF_MODE_BYPASS };
enum conf_action { CONF_ACCEPT, CONF_DROP };
enum conf_inbound {
	CONF_INBOUND_REGISTRAR,
	CONF_INBOUND_ANY,
	CONF_INBOUND_LIST
};
enum conf_source {
	CONF_SOURCE_STRICT,
	CONF_SOURCE_SIGNALLING,
	CONF_SOURCE_ANY
};

#define CONF_DSCP_UNSET (-1)

/**
 * struct conf - Everything the ini file says, one member a section.key
 *
 * Names are those of the file. Read-only once loaded; a reload makes a new
 * one. An address that is "auto" is not set (addr_is_set()).
 */
struct conf {
	struct {
		struct conf_names lan_interfaces, wan_interfaces;
		struct conf_networks lan_networks;
		struct addr public_address, advertised_address;
		enum conf_mode mode;
	} gateway;
	struct {
		uint32_t number, count, max_length;
	} queue;
	struct {
		struct ports ports, signalling_ports;
		enum conf_action on_malformed;
		uint32_t max_message;
		bool map_from_to, keep_registrations;
		enum conf_inbound inbound_from;
		struct conf_networks inbound_networks;
		int dscp;
	} sip;
	struct {
		bool enabled;
		struct ports rtp_ports;
		enum conf_source source;
		uint32_t timeout_s;
		struct conf_mark conntrack_mark;
		int dscp;
		bool keep_local;
		struct ports reserved_ports;
	} media;
	struct {
		struct conf_networks phones, peers;
		struct conf_names user_agents;
	} bypass;
	struct {
		char socket[CONF_PATH_MAX];
		char group[CONF_NAME_MAX];
	} control;
	struct {
		struct endpoint listen; /* port 0: off */
	} metrics;
	struct {
		enum log_level level;
	} log;
	struct {
		char directory[CONF_PATH_MAX];
	} state;
	struct {
		uint32_t flows, registrations, calls, rate_per_phone;
		enum conf_action on_excess;
	} limits;
};

/** conf_init() - Every default; the interface lists, which have none, empty */
void conf_init(struct conf *conf);

/**
 * conf_load() - Read and check a configuration file
 * @path:	ini file
 * @conf:	Filled on success, else left as it was; defaults stand where
 *		the file says nothing
 * @report:	Gets one line a problem, "FILE:LINE: key: why" (errors), or
 *		"FILE:LINE: key: warning: why"; NULL to keep quiet
 *
 * Every problem is reported, not only the first.
 *
 * Return: 0; -EINVAL if there was any error; -errno if the file cannot be read
 */
int conf_load(const char *path, struct conf *conf, FILE *report);

/** conf_print() - The whole configuration as an ini file, defaults included */
void conf_print(const struct conf *conf, FILE *out);

/** conf_mode_name() - "active" */
const char *conf_mode_name(enum conf_mode mode);
/** conf_mode_parse() - The reverse; -EINVAL for another word */
int conf_mode_parse(const char *word, enum conf_mode *mode);

/**
 * conf_interface_matches() - A name matches an entry of an interface list
 *
 * "wg+" matches every name that begins with "wg" (iptables(8), -i).
 */
bool conf_interface_matches(const struct conf_names *list, const char *name);

/** conf_glob_matches() - @text matches one of the globs, as glob(7) says */
bool conf_glob_matches(const struct conf_names *globs, struct span text);

/** conf_networks_contain() - @a lies in one of the networks */
bool conf_networks_contain(const struct conf_networks *list,
			   const struct addr *a);

/**
 * struct conf_option - One row of the option table
 * @section, @key:	As in the file
 * @initial:		Default, as one would write it; NULL: must be given
 * @help:		What it is, for manual and sample; no full stop
 * @pending:		NULL, or what does not work yet (then --check warns if
 *			the value is not the default)
 * @example:		A value, where there is no default
 */
struct conf_option {
	const char *section, *key, *initial, *help, *pending, *example;
};

/** conf_option_at() - Row @i of the table; NULL past its end */
const struct conf_option *conf_option_at(size_t i);

/** conf_option_describe() - Its help, and the range of a number, as text */
void conf_option_describe(const struct conf_option *option, char *buf,
			  size_t cap);

#endif
