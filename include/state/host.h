/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_HOST_H
#define SIPALG_STATE_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/table.h"
#include "conf/conf.h"

/*
 * Theory of operation
 *
 * What one inside host may do, so that it cannot take the others' service away,
 * be it broken or somebody else's by now.
 *
 * *Messages*: limits.rate_per_phone of them a second. Each spends a credit;
 * those come back with time, up to what one second gives (a token bucket).
 *
 * *Shares*: of what all hosts take from (public ports, places in tables) a host
 * gets more as long as it holds less than SHARE_FACTOR times what is free
 * (dynamic thresholds: Choudhury, Hahne: IEEE/ACM Trans. Networking 6(2), 1998;
 * switches share their buffers so). Alone it may take three quarters of all; a
 * few greedy ones together never take the rest. There is nothing to configure,
 * and nothing is set apart for hosts that are not there.
 */

/** SHARE_FACTOR - How much more than what is free a host may hold */
#define SHARE_FACTOR 3
/** SHARE_LEAST - What every host may hold, whatever is free: a phone's need */
#define SHARE_LEAST 8

/** enum share - What hosts share */
enum share {
	SHARE_SIGNALLING_PORTS, /* of one public address */
	SHARE_MEDIA_PORTS, /* likewise */
	SHARE_CALLS, /* limits.calls */
	SHARE_REGISTRATIONS, /* limits.registrations */
	SHARE_COUNT,
};

/**
 * struct host - An inside host
 * @credit:	Thousandths of messages that it may send at once
 * @filled_ms:	When credit last came back
 * @used_ms:	When it was last moved up in the list
 * @excess:	Messages it sent over the rate
 * @held:	What it holds of each share
 */
struct host {
	struct addr addr;
	uint32_t credit;
	uint64_t filled_ms, used_ms, excess;
	unsigned int held[SHARE_COUNT];
	UT_hash_handle hh;
	struct host *prev, *next;
};

/**
 * struct hosts - All of them
 * @now_ms:	Set before every packet and tick
 * @patient_until_ms: Until then messages are not counted: what waited comes at
 *		once
 * @list:	The one longest unused first
 *
 * Besides those that hold something there are at most limits.flows.
 */
struct hosts {
	const struct conf *conf;
	uint64_t now_ms, patient_until_ms;
	struct host *table, *list;
};

/**
 * host_may_send() - Count one message of a host
 *
 * Return: false if it is one too many (limits.rate_per_phone)
 */
bool host_may_send(struct hosts *hosts, const struct addr *addr);

/**
 * host_may_take() - May it have @count more?
 * @taken, @total: Of what there is for all; @taken may be more, after a reload
 */
bool host_may_take(const struct hosts *hosts, const struct addr *addr,
		   enum share share, unsigned int count, unsigned int taken,
		   unsigned int total);

/** host_take() - It has @count more. Return: to give them back; NULL without
 * memory, and then they are nobody's */
struct host *host_take(struct hosts *hosts, const struct addr *addr,
		       enum share share, unsigned int count);

/** host_give() - What host_take() gave is free again; @host may be NULL */
void host_give(struct host *host, enum share share, unsigned int count);

/** hosts_busiest() - The one that was most often over the rate; NULL if none
 * was */
const struct host *hosts_busiest(const struct hosts *hosts);

/** hosts_age() - Forget some that hold nothing and were not heard of lately;
 * about every second */
void hosts_age(struct hosts *hosts);

/** hosts_free() - All of them, when nothing is held any more */
void hosts_free(struct hosts *hosts);

#endif
