/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_REGISTRATION_H
#define SIPALG_STATE_REGISTRATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/table.h"
#include "base/timer.h"
#include "sip/message.h"
#include "state/binding.h"
#include "state/symptom.h"

/*
 * Theory of operation
 *
 * A REGISTER that leaves is only noted. Its 2xx counts: it lists the bindings
 * that the registrar holds, with the time each will last (RFC 3261 10.3). A
 * binding of ours in it is confirmed for that time; one of ours that is
 * missing from it is gone. While one is confirmed its registrar may send to
 * the phone, and the kernel's entry towards it gets that lifetime.
 */

/**
 * struct registration - One Contact of an address of record
 * @set:	The others of the same address of record
 * @lan:	The flow its REGISTER took
 * @map:	The mapping that the Contact names; with @user and @transport
 *		(empty: none is named) it identifies the Contact. Registrars
 *		change other parameters. RFC 3261 19.1.4
 * @hold:	Kernel entries it needs: its flow's, and that of its Contact's
 *		own port where that is another
 * @peer:	The registrar, allowed in while confirmed; else NULL
 * @expires_ms:	Confirmed until; 0: not confirmed yet
 * @wished_s, @granted_s: What the last REGISTER asked for, and got
 * @asked:	That REGISTER was not granted yet
 * @request:	Hash of its Call-ID and CSeq
 * @began_ms:	When it was first asked for
 * @named_ms:	When it was last asked for
 * @waits_ms:	When the first REGISTER was sent that got no answer at all yet;
 *		0: none
 * @status:	Of the last final answer; 0: none came
 * @ping:	Keeps NAT beyond the gateway open (gateway.advertised_address)
 * @contact_inside, @user_agent: For people
 * @symptoms, @notes: What was seen to be wrong with it, and what was said then
 */
struct registration {
	struct registration_set *set;
	struct tuple lan;
	struct mapping *map;
	struct registration_hold *hold[2];
	struct peer *peer;
	struct host *host;
	uint64_t began_ms, named_ms, waits_ms, expires_ms;
	uint32_t wished_s, granted_s;
	uint32_t request;
	uint16_t status;
	bool asked, listed;
	char *user, *transport, *contact_inside, *user_agent;
	uint32_t symptoms;
	struct symptom_note *notes;
	struct timer timer, ping;
	struct registration *prev, *next;
};

/** struct registration_hold - A kernel entry, and how many need it */
struct registration_hold {
	struct tuple lan;
	unsigned int count;
	UT_hash_handle hh;
};

/**
 * struct registration_set - What one inside host has at one registrar for one
 * address of record
 * @request:	The same of the last REGISTER, whichever Contacts it had: only
 *		answers to this one, or to the last of a Contact, count, and
 *		only the first
 * @asked_at:	Where it was sent; its port is 0 once it was answered
 * @challenges:	Times in a row that credentials were asked for
 * @asks_rport:	The last REGISTER had rport in its Via
 * @count:	Contacts in it
 * @key:	Both addresses, then the address of record
 */
struct registration_set {
	struct registration *contacts;
	UT_hash_handle hh;
	struct registration_set *prev, *next;
	struct endpoint asked_at;
	uint32_t request;
	unsigned int count, challenges;
	bool asks_rport;
	size_t key_len;
	char key[];
};

/**
 * struct registrations - All of them
 * @list, @sure: The sets, those that a registrar has confirmed last; see
 *		TABLE_QUEUE_ADD()
 * @ended:	Told of each that ends, with how ("removed"), while it is still
 *		there; may be NULL
 * @count:	Contacts
 * @walks:	Walks through @table
 */
struct registrations {
	const struct conf *conf;
	struct bindings *bindings;
	struct counters *counters;
	struct symptoms *symptoms;
	struct timer_wheel *wheel;
	struct registration_set *table, *list, *sure;
	struct registration_hold *holds;
	void (*ended)(void *owner, const struct registration *reg,
		      const char *how, uint64_t now_ms);
	void *owner;
	unsigned int count;
	struct table_walk *walks;
};

/** registration_inside() - The inside host whose it is */
struct addr registration_inside(const struct registration_set *set);

/** registration_registrar() - The host it is at */
struct addr registration_registrar(const struct registration_set *set);

/** registration_aor() - The address of record */
struct span registration_aor(const struct registration_set *set);

void registrations_free(struct registrations *regs);

/** registration_request() - A REGISTER leaves, its Contacts already mapped */
void registration_request(struct registrations *regs, const struct flow *flow,
			  const struct message *msg, uint64_t now_ms);

/** registration_answer() - A REGISTER's final answer comes in, not yet
 * changed */
void registration_answer(struct registrations *regs, const struct flow *flow,
			 const struct message *msg, const struct addr *shown,
			 uint64_t now_ms);

/** registrations_move() - Addresses or routes have changed: those by which
 * nobody is reached any more end */
void registrations_move(struct registrations *regs, uint64_t now_ms);

struct saved_registration;

/** registration_save() - Write it down */
void registration_save(const struct registration *reg,
		       struct saved_registration *out);

/**
 * registration_restore() - One that was written down
 *
 * Its mapping must be there already.
 *
 * Return: false if it is over, or the way in cannot be kept open as it was
 */
bool registration_restore(struct registrations *regs,
			  const struct saved_registration *in, uint64_t now_ms);

#endif
