/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_FIELD_H
#define SIPALG_SIP_FIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"

/**
 * struct hostport - "host" or "host:port", where it stands
 * @text:	All of it, as written
 * @host:	Brackets of an IPv6 reference included
 * @port:	0 where none is written
 * @addr:	The host as an address; not set for a name
 */
struct hostport {
	struct span text, host;
	uint16_t port;
	struct addr addr;
};

/** SIP_PORT - What a URI or sent-by without a port means (RFC 3261 19.1.2) */
#define SIP_PORT 5060

/** hostport_port() - The port that is meant, written or not */
static inline uint16_t hostport_port(const struct hostport *hp)
{
	return hp->port ? hp->port : SIP_PORT;
}

/**
 * struct via - One value of a Via field (RFC 3261 20.42)
 * @sent_by:	Where answers go
 * @received, @rport, @branch: Values of these parameters; an rport without a
 *		value is there and empty (RFC 3581 3)
 */
struct via {
	struct hostport sent_by;
	struct span received, rport, branch;
};

/**
 * field_next_value() - Take the next of a comma-separated list
 * @rest:	What is left of the field; moves on
 * @value:	Without blanks around it
 *
 * Commas in quoted strings and in <...> do not part values.
 *
 * Return: false at the end
 * Source: RFC 3261 7.3.1
 */
bool field_next_value(struct span *rest, struct span *value);

/**
 * field_uri() - The URI of a name-addr or addr-spec
 * @value:	One value: "Bob" <sip:bob@192.0.2.4>;tag=1, sip:bob@192.0.2.4
 *
 * Return: the URI without <>; .ptr NULL if there is none
 * Source: RFC 3261 20 (without <> all after ';' belongs to the field)
 */
struct span field_uri(struct span value);

/**
 * field_params() - What follows the URI: ";tag=1;expires=30"
 */
struct span field_params(struct span value);

/**
 * field_param() - Value of a parameter
 * @params:	From the first ';' on
 *
 * Return: the value (empty if it has none); .ptr NULL if it is not there
 */
struct span field_param(struct span params, struct span name);

/**
 * uri_hostport() - Where host and port of a sip: or sips: URI stand
 *
 * Return: false for other schemes and for what cannot be read with certainty
 * Source: RFC 3261 19.1.1, 25.1
 */
bool uri_hostport(struct span uri, struct hostport *hp);

/** uri_user() - The user part, password included; .ptr NULL if none */
struct span uri_user(struct span uri);

/**
 * uri_param() - A parameter of a SIP URI
 *
 * Return: as field_param()
 */
struct span uri_param(struct span uri, struct span name);

/** via_parse() - Read one Via value; false if it cannot be read */
bool via_parse(struct span value, struct via *via);

#endif
