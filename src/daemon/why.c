/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/why.h"

#include <stdio.h>
#include <time.h>

#include "sip/field.h"

#define DAY_S 86400

/* ---- finding ---- */

/* "host" or "host:port", as edits write it. Return: false for anything else */
static bool read_hostport(struct span text, struct endpoint *end)
{
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	uint64_t port;

	*end = (struct endpoint){ 0 };
	if (!addr_parse(text, &end->addr))
		return true;
	if (!colon ||
	    span_to_uint(span_between(colon + 1, span_end(text)), UINT16_MAX,
			 &port) ||
	    addr_parse(span_between(text.ptr, colon), &end->addr))
		return false;
	end->port = (uint16_t)port;
	return true;
}

/* The mapping of @inside whose public end is written as @shown. A name may
 * stand without a port, and 5060 be another host's
 */
static const struct mapping *mapping_of(const struct alg *alg,
					const struct flow *flow,
					const struct endpoint *shown,
					const struct addr *inside)
{
	struct endpoint end = { flow->wan.dst.addr,
				shown->port ? shown->port : SIP_PORT };
	const struct mapping *map = NULL;

	if (end.port != flow->wan.dst.port)
		map = mapping_find_public(&alg->bindings, &end);
	return map && addr_eq(&map->in.inside.addr, inside) ? map : flow->map;
}

static bool is_inside(const struct alg *alg, const struct addr *a)
{
	return alg->nat.ops->is_inside(alg->nat.ctx, a);
}

/* A place in the header: the public address stands on one side of the edit */
static void find_mapping(const struct alg *alg, const struct flow *flow,
			 const struct edit *edit, struct why *why)
{
	const struct addr *advertised = &alg->conf->gateway.advertised_address;
	struct endpoint old, new;
	const struct mapping *map;
	bool restored;

	if (!read_hostport(edit->text, &new) || !read_hostport(edit->old, &old))
		return;
	restored = is_inside(alg, &new.addr);
	why->kind = restored ? WHY_RESTORED : WHY_MAPPING;
	map = mapping_of(alg, flow, restored ? &old : &new,
			 restored ? &new.addr : &old.addr);
	why->inside = map->in.inside;
	why->other = !addr_eq(&why->inside.addr, &flow->lan.src.addr);
	why->age_ms = alg->bindings.now_ms - map->made_ms;
	why->advertised =
		addr_is_set(advertised) && addr_eq(&new.addr, advertised);
}

/* A port or an address in SDP; ports tell whose they are */
static void find_media(const struct alg *alg, const struct flow *flow,
		       enum nat_side side, const struct edit *edit,
		       struct why *why)
{
	struct endpoint end = { .addr = flow->wan.dst.addr };
	uint64_t port;

	why->kind = WHY_MEDIA_ADDRESS;
	if (side == NAT_SIDE_WAN) {
		why->kind = WHY_MEDIA_INSIDE;
	} else if (!span_to_uint(edit->text, UINT16_MAX, &port)) {
		why->kind = WHY_MEDIA_PORT;
		end.port = (uint16_t)port;
		media_stream_of(&alg->media, &end, &why->inside);
	}
}

static void find_growth(const struct edit *edit, struct why *why)
{
	uint64_t old, new;

	why->kind = WHY_LENGTH;
	if (!span_to_uint(edit->old, PACKET_MAX, &old) &&
	    !span_to_uint(edit->text, PACKET_MAX, &new))
		why->growth = (long)new - (long)old;
}

/* What lies in the header, but for this: src/sip/sites.c */
static enum why_kind kind_of(const char *site)
{
	static const struct {
		const char *site;
		enum why_kind kind;
	} kinds[] = {
		{ "Content-Length", WHY_LENGTH },
		{ "part Content-Length", WHY_LENGTH },
		{ "Via received", WHY_SOURCE },
		{ "Via rport", WHY_SOURCE },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(kinds[i].site, site))
			return kinds[i].kind;
	}
	/* SDP has "c=", "a=rtcp" */
	return site[0] && site[1] == '=' ? WHY_MEDIA_ADDRESS : WHY_MAPPING;
}

struct why why_find(const struct alg *alg, const struct flow *flow,
		    enum nat_side side, const struct edit *edit)
{
	struct why why = { .kind = kind_of(edit->site) };

	if (why.kind == WHY_MAPPING)
		find_mapping(alg, flow, edit, &why);
	else if (why.kind == WHY_MEDIA_ADDRESS)
		find_media(alg, flow, side, edit, &why);
	else if (why.kind == WHY_LENGTH)
		find_growth(edit, &why);
	return why;
}

/* ---- telling ---- */

/* " since 17:02:11", with the day if that was long ago */
static void put_since(uint64_t age_ms, uint64_t time_us, char *buf, size_t cap)
{
	time_t then = (time_t)((time_us - age_ms * 1000) / 1000000);
	struct tm tm;

	if (!age_ms)
		snprintf(buf, cap, " made for this message");
	else if (localtime_r(&then, &tm))
		strftime(buf, cap,
			 age_ms / 1000 < DAY_S ? " since %H:%M:%S"
					       : " since %F %H:%M:%S",
			 &tm);
}

static void put_mapping(const struct why *why, uint64_t time_us, char *buf)
{
	char since[48] = "", host[ADDR_TEXT_MAX] = "this phone";

	if (why->other)
		addr_format(&why->inside.addr, host);
	put_since(why->age_ms, time_us, since, sizeof(since));
	snprintf(buf, WHY_MAX, "%smapping of %s%s%s",
		 why->kind == WHY_RESTORED ? "what it wrote itself; " : "",
		 host, since,
		 why->advertised ? ", by gateway.advertised_address" : "");
}

static void put_media_port(const struct why *why, char *buf)
{
	char inside[ENDPOINT_TEXT_MAX] = "this phone";

	if (why->inside.port)
		endpoint_format(&why->inside, inside);
	snprintf(buf, WHY_MAX, "public media port of %s", inside);
}

static void put_growth(const struct why *why, char *buf)
{
	snprintf(buf, WHY_MAX, "the body is %ld byte%s %s",
		 why->growth < 0 ? -why->growth : why->growth,
		 why->growth == 1 || why->growth == -1 ? "" : "s",
		 why->growth < 0 ? "shorter" : "longer");
}

const char *why_format(const struct why *why, uint64_t time_us, char *buf)
{
	static const char *const texts[WHY_KINDS] = {
		[WHY_SOURCE] = "where the phone itself sent from",
		[WHY_MEDIA_ADDRESS] = "public address of this phone's media",
		[WHY_MEDIA_INSIDE] = "both ends are inside: media stays there",
	};

	if (why->kind == WHY_LENGTH)
		put_growth(why, buf);
	else if (why->kind == WHY_MEDIA_PORT)
		put_media_port(why, buf);
	else if (texts[why->kind])
		snprintf(buf, WHY_MAX, "%s", texts[why->kind]);
	else
		put_mapping(why, time_us, buf);
	return buf;
}
