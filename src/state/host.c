/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/host.h"

#include <stdlib.h>
#include <utlist.h>

/* What a message costs */
#define COST 1000u
/* Credit comes back for so long, so there is no more than one second's */
#define FILL_MS 1000
/* How exact the order of last use is */
#define TOUCH_MS 1000
/* One that holds nothing is forgotten after so long */
#define FORGET_MS 600000
/* Hosts looked at in one go */
#define AGE_STEP 512

static struct host *find(const struct hosts *hosts, const struct addr *addr)
{
	struct host *host;

	HASH_FIND(hh, hosts->table, addr, sizeof(*addr), host);
	return host;
}

static bool holds_nothing(const struct host *host)
{
	for (int i = 0; i < SHARE_COUNT; i++) {
		if (host->held[i])
			return false;
	}
	return true;
}

static void host_free(struct hosts *hosts, struct host *host)
{
	HASH_DELETE(hh, hosts->table, host);
	DL_DELETE(hosts->list, host);
	free(host);
}

static void to_end(struct hosts *hosts, struct host *host)
{
	DL_DELETE(hosts->list, host);
	DL_APPEND(hosts->list, host);
}

/* Those that hold something are few enough by what they hold */
static void trim(struct hosts *hosts)
{
	if (HASH_COUNT(hosts->table) < hosts->conf->limits.flows)
		return;
	for (int i = 0; i < AGE_STEP && hosts->list; i++) {
		if (holds_nothing(hosts->list)) {
			host_free(hosts, hosts->list);
			return;
		}
		to_end(hosts, hosts->list);
	}
}

static uint32_t credit_max(const struct hosts *hosts)
{
	return hosts->conf->limits.rate_per_phone * COST;
}

static struct host *add(struct hosts *hosts, const struct addr *addr)
{
	struct host *host;

	trim(hosts);
	host = calloc(1, sizeof(*host));
	if (!host)
		return NULL;
	host->addr = *addr;
	host->credit = credit_max(hosts);
	host->filled_ms = host->used_ms = hosts->now_ms;
	HASH_ADD(hh, hosts->table, addr, sizeof(host->addr), host);
	if (!TABLE_HAS(host, hh)) {
		free(host);
		return NULL;
	}
	DL_APPEND(hosts->list, host);
	return host;
}

static struct host *get(struct hosts *hosts, const struct addr *addr)
{
	struct host *host = find(hosts, addr);

	if (!host)
		return add(hosts, addr);
	if (hosts->now_ms >= host->used_ms + TOUCH_MS) {
		host->used_ms = hosts->now_ms;
		to_end(hosts, host);
	}
	return host;
}

static void fill(const struct hosts *hosts, struct host *host)
{
	uint64_t passed_ms = hosts->now_ms - host->filled_ms;
	uint32_t most = credit_max(hosts);

	if (passed_ms >= FILL_MS)
		host->credit = most;
	else
		host->credit += (uint32_t)passed_ms *
				hosts->conf->limits.rate_per_phone;
	if (host->credit > most)
		host->credit = most;
	host->filled_ms = hosts->now_ms;
}

bool host_may_send(struct hosts *hosts, const struct addr *addr)
{
	struct host *host = get(hosts, addr);

	if (!host || hosts->now_ms < hosts->patient_until_ms)
		return true;
	fill(hosts, host);
	if (host->credit < COST) {
		host->excess++;
		return false;
	}
	host->credit -= COST;
	return true;
}

bool host_may_take(const struct hosts *hosts, const struct addr *addr,
		   enum share share, unsigned int count, unsigned int taken,
		   unsigned int total)
{
	const struct host *host = find(hosts, addr);
	uint64_t held = host ? host->held[share] : 0;
	uint64_t free = taken < total ? total - taken : 0;

	return held + count <= SHARE_LEAST || held < SHARE_FACTOR * free;
}

struct host *host_take(struct hosts *hosts, const struct addr *addr,
		       enum share share, unsigned int count)
{
	struct host *host = get(hosts, addr);

	if (host)
		host->held[share] += count;
	return host;
}

void host_give(struct host *host, enum share share, unsigned int count)
{
	if (host)
		host->held[share] -= count;
}

const struct host *hosts_busiest(const struct hosts *hosts)
{
	const struct host *host, *busiest = NULL;

	DL_FOREACH (hosts->list, host) {
		if (host->excess > (busiest ? busiest->excess : 0))
			busiest = host;
	}
	return busiest;
}

void hosts_age(struct hosts *hosts)
{
	for (int i = 0; i < AGE_STEP && hosts->list; i++) {
		struct host *host = hosts->list;

		if (hosts->now_ms < host->used_ms + FORGET_MS)
			return;
		if (holds_nothing(host)) {
			host_free(hosts, host);
			continue;
		}
		host->used_ms = hosts->now_ms;
		to_end(hosts, host);
	}
}

void hosts_free(struct hosts *hosts)
{
	while (hosts->list)
		host_free(hosts, hosts->list);
}
