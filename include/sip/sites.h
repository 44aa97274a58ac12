/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_SITES_H
#define SIPALG_SIP_SITES_H

#include "sip/message.h"

/** enum site_flow - Which way a message goes, and which kind it is */
enum site_flow {
	SITE_REQUEST_OUT,
	SITE_ANSWER_OUT,
	SITE_REQUEST_IN,
	SITE_ANSWER_IN,
	SITE_FLOWS,
};

/**
 * enum site_rule - What becomes of an address at a site
 *
 * MAP writes the public address where the inside one stands, RESTORE the
 * other way round. All else is left.
 */
enum site_rule {
	SITE_LEAVE,
	SITE_MAP,
	SITE_RESTORE,
	SITE_RESTORE_REGISTER, /* only in answers to REGISTER */
};

/**
 * enum site_group - Sites whose remembered texts are one
 *
 * What a phone wrote into a Contact comes back in a Request-URI; what stood in
 * a Via comes back only in a Via.
 */
enum site_group {
	SITE_GROUP_VIA,
	SITE_GROUP_CONTACT,
	SITE_GROUP_ROUTE,
	SITE_GROUP_IDENTITY,
	SITE_GROUP_REMOTE, /* From or To of the other side; in no row */
	SITE_GROUPS,
};

/**
 * struct site - One place of a message that may hold an address of ours
 * @header:	Header field; SIP_OTHER stands for the Request-URI
 * @name:	For reports
 * @group:	See enum site_group
 * @rule:	What to do, by enum site_flow
 * @top_only:	Only the first value of the first field
 * @any_host:	It may name any inside host that has a mapping, not only the one
 *		that the message is from or to
 */
struct site {
	enum sip_header header;
	const char *name;
	enum site_group group;
	enum site_rule rule[SITE_FLOWS];
	bool top_only, any_host;
};

/** site_table - Every site; ends with a row without a name */
extern const struct site site_table[];

/** site_flow() - Row index for a message */
static inline enum site_flow site_flow(bool outbound, bool request)
{
	if (outbound)
		return request ? SITE_REQUEST_OUT : SITE_ANSWER_OUT;
	return request ? SITE_REQUEST_IN : SITE_ANSWER_IN;
}

#endif
