/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/sites.h"

/*
 * The whole of what is rewritten in a header; everything that is not in this
 * table is never touched. docs/sites.md says why for each row.
 */

/* clang-format off */
#define LEAVE SITE_LEAVE
#define MAP SITE_MAP
#define BACK SITE_RESTORE
#define BACK_REG SITE_RESTORE_REGISTER

const struct site site_table[] = {
/*  header, name, group,                     request out, answer out, request in, answer in */
{ SIP_OTHER, "Request-URI", SITE_GROUP_CONTACT,        { LEAVE, LEAVE, BACK,  LEAVE    }, .top_only = true },
{ SIP_VIA, "Via", SITE_GROUP_VIA,                      { MAP,   LEAVE, LEAVE, BACK     }, .top_only = true },
{ SIP_CONTACT, "Contact", SITE_GROUP_CONTACT,          { MAP,   MAP,   LEAVE, BACK_REG }, .top_only = false },
{ SIP_ROUTE, "Route", SITE_GROUP_ROUTE,                { LEAVE, LEAVE, BACK,  LEAVE    }, .top_only = false },
{ SIP_RECORD_ROUTE, "Record-Route", SITE_GROUP_ROUTE,  { MAP,   MAP,   LEAVE, BACK     }, .top_only = false },
{ SIP_PATH, "Path", SITE_GROUP_ROUTE,                  { MAP,   MAP,   LEAVE, BACK     }, .top_only = false },
{ SIP_FROM, "From", SITE_GROUP_IDENTITY,               { MAP,   MAP,   BACK,  BACK     }, .top_only = true },
{ SIP_TO, "To", SITE_GROUP_IDENTITY,                   { MAP,   MAP,   BACK,  BACK     }, .top_only = true },
{ SIP_REFER_TO, "Refer-To", SITE_GROUP_CONTACT,        { MAP,   MAP,   BACK,  BACK     }, .any_host = true },
{ SIP_REFERRED_BY, "Referred-By", SITE_GROUP_CONTACT,  { MAP,   MAP,   BACK,  BACK     }, .any_host = true },
{ SIP_REPLY_TO, "Reply-To", SITE_GROUP_CONTACT,        { MAP,   MAP,   BACK,  BACK     }, .any_host = true },
{ SIP_P_ASSERTED_IDENTITY, "P-Asserted-Identity", SITE_GROUP_IDENTITY,
                                                       { MAP,   MAP,   BACK,  BACK     }, .any_host = true },
{ SIP_P_PREFERRED_IDENTITY, "P-Preferred-Identity", SITE_GROUP_IDENTITY,
                                                       { MAP,   MAP,   BACK,  BACK     }, .any_host = true },
{ SIP_REMOTE_PARTY_ID, "Remote-Party-ID", SITE_GROUP_IDENTITY,
                                                       { MAP,   MAP,   BACK,  BACK     }, .any_host = true },
{ SIP_DIVERSION, "Diversion", SITE_GROUP_IDENTITY,     { MAP,   MAP,   BACK,  BACK     }, .any_host = true },
{ SIP_HISTORY_INFO, "History-Info", SITE_GROUP_IDENTITY, { MAP, MAP,   BACK,  BACK     }, .any_host = true },
{ .name = 0 },
};
