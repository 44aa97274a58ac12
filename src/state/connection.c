/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/connection.h"

#include <errno.h>
#include <netinet/ip.h>
#include <stdlib.h>
#include <utlist.h>

#include "state/saved.h"

/* A SYN that nobody answers: what systems try, and then some */
#define OPENING_MS 130000
/* Late packets of one that is over: RFC 9293 3.4.2, as systems have it */
#define LINGER_MS 60000
/* nf_conntrack_tcp_timeout_established, the kernel's default */
#define IDLE_MS 432000000ull
/* How often each is looked after. Conntrack does not see what we change being
 * acknowledged and would drop it after nf_conntrack_tcp_timeout_unacknowledged:
 * 300 s by default
 */
#define LOOK_MS 20000
/* What all may hold, and from when on those that have waited longest are
 * relieved
 */
#define MEMORY_MAX ((size_t)64 << 20)
#define MEMORY_HIGH (MEMORY_MAX / 4 * 3)
/* IANA "IP Parameters", IP time to live */
#define TTL 64
/* How exact the order of last use is */
#define PLACE_MS 1000
/* Connections relieved in one go */
#define TRIES 64

/**
 * struct turn - One packet, or one time-out, of a connection
 * @reason:	Of the last message
 * @messages:	How many there were
 */
struct turn {
	struct connections *all;
	struct connection *c;
	uint64_t now_ms;
	enum counter reason;
	unsigned int messages;
};

/* ---- what streams ask for ---- */

static void turn_reason(struct turn *turn, enum counter reason)
{
	if (turn->messages++)
		counter_add(turn->all->counters, turn->reason);
	turn->reason = reason;
}

static struct span on_message(void *ctx, int from, const struct message *msg)
{
	struct turn *turn = ctx;
	enum counter reason = COUNTER_nothing_ours;
	struct span bytes = turn->all->message(turn->all->owner, turn->c, from,
					       turn->now_ms, &reason);

	(void)msg; /* all->msg */
	turn_reason(turn, reason);
	return bytes;
}

static void on_note(void *ctx, int from, enum stream_note note,
		    enum message_status status)
{
	static const enum counter counters[] = {
		[STREAM_BLANK] = COUNTER_keepalive,
		[STREAM_LONG] = COUNTER_too_long,
		[STREAM_ALIEN] = COUNTER_not_sip,
		[STREAM_UNSEEN] = COUNTER_tcp_unseen,
		[STREAM_NO_MEMORY] = COUNTER_tcp_no_memory,
		[STREAM_CHANGED] = COUNTER_tcp_changed,
		[STREAM_RESET] = COUNTER_tcp_resets,
		[STREAM_GIVEN_UP] = COUNTER_tcp_given_up,
	};
	struct turn *turn = ctx;
	const struct nat *nat = turn->all->nat;

	(void)from;
	if (note == STREAM_BROKEN)
		turn_reason(turn, counter_of_message(status));
	else if (note < STREAM_UNSEEN)
		turn_reason(turn, counters[note]);
	else
		counter_add(turn->all->counters, counters[note]);
	if (note == STREAM_ALIEN || note == STREAM_BROKEN)
		turn->c->alien = true;
	/* Not by nat_...(): what was changed once is carried to its end, also
	 * where gateway.mode says observe meanwhile
	 */
	if (note == STREAM_CHANGED &&
	    nat->ops->set_liberal(nat->ctx, &turn->c->lan))
		counter_add(turn->all->counters, COUNTER_conntrack_errors);
	if (note == STREAM_RESET)
		nat->ops->remove(nat->ctx, &turn->c->lan);
}

static void on_send(void *ctx, int from, const struct segment *seg)
{
	uint8_t packet[SEGMENT_HEADER + PACKET_MAX];
	struct turn *turn = ctx;
	struct connection *c = turn->c;
	const struct nat *nat = turn->all->nat;
	struct segment_path path = c->path[from];
	int dscp = turn->all->conf->sip.dscp;
	size_t len;
	int err;

	/* As it leaves, NAT done: the way back of what end 0 or 1 sends */
	path.tuple = tuple_reverse(from ? &c->lan : &c->wan);
	if (!path.ttl)
		path.ttl = TTL; /* nothing was heard of it */
	if (dscp != CONF_DSCP_UNSET)
		path.tos = (uint8_t)(dscp << 2);
	len = segment_build(&path, seg, packet);
	counter_add(turn->all->counters, COUNTER_tcp_own_packets);
	err = nat->ops->send(nat->ctx, packet, len);
	if (err)
		counter_add(turn->all->counters, COUNTER_tcp_send_errors);
	if (err == -EMSGSIZE)
		stream_narrow(&c->stream, from);
}

static struct stream_env env_of(struct turn *turn)
{
	static const struct stream_ops ops = { on_message, on_note, on_send };
	struct connections *all = turn->all;

	return (struct stream_env){
		.ops = &ops,
		.ctx = turn,
		.memory = &all->memory,
		.msg = all->msg,
		.max_message = all->conf->sip.max_message,
		.dry = all->nat->dry,
		.offline = all->offline,
		.now_ms = turn->now_ms,
	};
}

/* ---- beginning and end ---- */

static void connection_free(struct connections *all, struct connection *c)
{
	all->ended(all->owner, c);
	timer_stop(&all->repeats, &c->repeat);
	timer_stop(&all->lives, &c->life);
	stream_free(&c->stream, &all->memory);
	if (c->holds)
		DL_DELETE2(all->holding, c, holds_prev, holds_next);
	if (TABLE_HAS(c, by_lan))
		HASH_DELETE(by_lan, all->by_lan, c);
	if (TABLE_HAS(c, by_wan))
		HASH_DELETE(by_wan, all->by_wan, c);
	DL_DELETE(all->list[c->kind], c);
	free(c);
}

void connections_free(struct connections *all)
{
	for (int kind = 0; kind < CONNECTION_KINDS; kind++) {
		while (all->list[kind])
			connection_free(all, all->list[kind]);
	}
}

unsigned int connections_abort(struct connections *all, uint64_t now_ms)
{
	struct connection *c;
	unsigned int n = 0;

	DL_FOREACH (all->list[CONNECTION_CHANGED], c) {
		struct turn turn = { .all = all, .c = c, .now_ms = now_ms };
		struct stream_env env = env_of(&turn);

		stream_abort(&c->stream, &env);
		n++;
	}
	return n;
}

static void on_repeat(struct timer *timer, void *owner, uint64_t now_ms);
static void on_life(struct timer *timer, void *owner, uint64_t now_ms);

void connections_init(struct connections *all, uint64_t now_ms)
{
	all->memory.limit = MEMORY_MAX;
	timer_wheel_init(&all->repeats, all, CONNECTION_TICK_MS, now_ms);
	timer_wheel_init(&all->lives, all, 1000, now_ms);
}

/* The oldest that can go without harm */
static bool make_room(struct connections *all)
{
	struct connection *c = NULL;

	for (int kind = 0; !c && kind < CONNECTION_CHANGED; kind++)
		c = all->list[kind];
	if (!c)
		return false;
	counter_add(all->counters, COUNTER_tcp_evicted);
	connection_free(all, c);
	return true;
}

static enum connection_kind kind_of(const struct connection *c)
{
	if (!c->answered)
		return CONNECTION_OPENING;
	if (c->stream.changed && !stream_is_over(&c->stream))
		return CONNECTION_CHANGED;
	return stream_is_read(&c->stream) ? CONNECTION_READ : CONNECTION_PLAIN;
}

bool connections_need_all(const struct connections *all)
{
	return all->list[CONNECTION_CHANGED] ||
	       (all->list[CONNECTION_READ] && !all->nat->dry);
}

/* It was used: to the end of its list, but not with every packet, as each move
 * touches two others
 */
static void place(struct connections *all, struct connection *c)
{
	enum connection_kind kind = kind_of(c);

	if (kind == c->kind && c->used_ms < c->placed_ms + PLACE_MS)
		return;
	DL_DELETE(all->list[c->kind], c);
	c->kind = kind;
	c->placed_ms = c->used_ms;
	DL_APPEND(all->list[c->kind], c);
}

struct connection *connection_open(struct connections *all,
				   const struct tuple *lan, uint64_t now_ms)
{
	struct connection *c;

	if (HASH_CNT(by_lan, all->by_lan) >= all->conf->limits.flows &&
	    !make_room(all))
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->lan = *lan;
	c->used_ms = c->placed_ms = now_ms;
	c->path[0].ttl = c->path[1].ttl = IPDEFTTL;
	c->repeat.fire = on_repeat;
	c->life.fire = on_life;
	DL_APPEND(all->list[c->kind], c);
	HASH_ADD(by_lan, all->by_lan, lan, sizeof(c->lan), c);
	if (!TABLE_HAS(c, by_lan)) {
		connection_free(all, c);
		return NULL;
	}
	timer_start(&all->lives, &c->life, now_ms + LOOK_MS);
	counter_add(all->counters, COUNTER_tcp_connections);
	return c;
}

bool connection_attach(struct connections *all, struct connection *c,
		       const struct tuple *wan)
{
	struct connection *old;

	if (TABLE_HAS(c, by_wan)) {
		if (tuple_eq(&c->wan, wan))
			return true;
		HASH_DELETE(by_wan, all->by_wan, c);
		c->by_wan.tbl = NULL;
	}
	/* The kernel gave its place to this one */
	HASH_FIND(by_wan, all->by_wan, wan, sizeof(*wan), old);
	if (old)
		connection_free(all, old);
	c->wan = *wan;
	HASH_ADD(by_wan, all->by_wan, wan, sizeof(c->wan), c);
	return TABLE_HAS(c, by_wan);
}

/* The kernel has no entry for it any more, or one that has ended: it was reset,
 * or never answered. One that we have changed is seen to end here.
 */
static bool is_gone(const struct connections *all, const struct connection *c)
{
	struct nat_entry entry;
	int err;

	if (c->stream.changed)
		return false;
	err = nat_find(all->nat, &c->lan, NAT_SIDE_LAN, &entry);
	return err == -ENOENT || (!err && entry.tcp_over);
}

bool connection_renew(struct connections *all, struct connection *c)
{
	if (!stream_is_over(&c->stream) && !is_gone(all, c))
		return false;
	connection_free(all, c);
	return true;
}

void connection_adopt(struct connections *all, const struct nat_entry *entry,
		      uint64_t now_ms)
{
	struct connection *c;

	/* Whoever had it read from here on could have put a start line there
	 * before: docs/decisions/009
	 */
	if (!all->offline && !entry->tcp_liberal)
		return;
	c = connection_open(all, &entry->lan, now_ms);
	if (!c)
		return;
	c->answered = true;
	c->refused = !all->offline;
	if (c->refused)
		stream_refuse(&c->stream);
	else
		stream_adopt(&c->stream, entry->tcp_wscale);
	place(all, c);
	if (!connection_attach(all, c, &entry->wan))
		connection_free(all, c);
}

/* ---- packets ---- */

struct connection *connection_find(const struct connections *all,
				   const struct tuple *t, enum nat_side side,
				   int *from)
{
	struct connection *c = NULL;

	*from = 0;
	if (side == NAT_SIDE_LAN)
		HASH_FIND(by_lan, all->by_lan, t, sizeof(*t), c);
	if (c)
		return c;
	*from = 1;
	HASH_FIND(by_wan, all->by_wan, t, sizeof(*t), c);
	/* Both ends of a hairpin are inside; else nobody there is end 1 */
	if (c && side == NAT_SIDE_LAN &&
	    !all->nat->ops->is_inside(all->nat->ctx, &t->src.addr))
		return NULL;
	return c;
}

bool connection_leave(struct connections *all, const struct tuple *t,
		      enum nat_side side)
{
	int from;
	struct connection *c = connection_find(all, t, side, &from);

	if (c && c->stream.changed && !stream_is_over(&c->stream))
		return false;
	if (c)
		connection_free(all, c);
	return true;
}

static void schedule(struct connections *all, struct connection *c)
{
	uint64_t due_ms = stream_due_ms(&c->stream);

	/* One that ends early is only started again */
	if (due_ms && (!c->repeat.running || due_ms < c->repeat.due_ms))
		timer_start(&all->repeats, &c->repeat, due_ms);
}

static void note_holding(struct connections *all, struct connection *c)
{
	bool holds = stream_holds(&c->stream);

	if (holds && !c->holds)
		DL_APPEND2(all->holding, c, holds_prev, holds_next);
	else if (!holds && c->holds)
		DL_DELETE2(all->holding, c, holds_prev, holds_next);
	c->holds = holds;
}

/* After whatever has happened to it */
static void settle(struct connections *all, struct connection *c)
{
	/* Else its buffers wait for the next message */
	if (all->memory.used >= MEMORY_MAX / 2)
		stream_rest(&c->stream, &all->memory);
	place(all, c);
	schedule(all, c);
	note_holding(all, c);
}

/* Half messages by the thousand must not take the memory from whole ones: those
 * that have waited longest go on unread
 */
static void relieve(struct connections *all, uint64_t now_ms)
{
	for (int i = 0; i < TRIES && all->holding; i++) {
		struct turn turn = { .all = all,
				     .c = all->holding,
				     .now_ms = now_ms };
		struct stream_env env = env_of(&turn);

		if (all->memory.used < MEMORY_HIGH)
			return;
		counter_add(all->counters, COUNTER_tcp_no_memory);
		stream_plain(&turn.c->stream, &env);
		stream_timeout(&turn.c->stream, &env); /* what can go, goes */
		settle(all, turn.c);
	}
}

enum stream_verdict connection_packet(struct connections *all,
				      struct connection *c, int from,
				      const struct packet *pkt, uint64_t now_ms,
				      uint8_t *out, size_t *len,
				      enum counter *reason)
{
	struct turn turn = { .all = all,
			     .c = c,
			     .now_ms = now_ms,
			     .reason = COUNTER_tcp_segments };
	struct stream_env env = env_of(&turn);
	struct segment in, changed;
	enum stream_verdict verdict;
	long n = 0;

	*reason = COUNTER_bad_packet;
	/* Its numbers would be wrong */
	if (segment_parse(pkt, &in))
		return c->stream.changed ? STREAM_DROP : STREAM_PASS;
	segment_path_read(pkt, &c->path[from]);
	c->answered = c->answered || from;
	c->used_ms = now_ms;
	verdict = stream_segment(&c->stream, &env, from, &in, &changed);
	if (verdict == STREAM_REPLACE) {
		n = segment_rewrite(pkt, &changed, out);
		if (n < 0)
			verdict = STREAM_DROP; /* it will be repeated */
	}
	*len = (size_t)n;
	*reason = turn.reason;
	settle(all, c);
	relieve(all, now_ms);
	return verdict;
}

/* ---- time ---- */

/* The kernel has dropped its entry, or made another: the address has changed,
 * or somebody wanted it to end
 */
static bool is_moved(const struct connections *all, const struct connection *c)
{
	struct nat_entry entry;
	int err = nat_find(all->nat, &c->lan, NAT_SIDE_LAN, &entry);

	return err == -ENOENT || (!err && !tuple_eq(&entry.wan, &c->wan));
}

static void on_repeat(struct timer *timer, void *owner, uint64_t now_ms)
{
	struct connections *all = owner;
	struct turn turn = {
		.all = all,
		.c = TIMER_OBJECT(timer, struct connection, repeat),
		.now_ms = now_ms,
	};
	struct stream_env env = env_of(&turn);

	/* What would be repeated is not what the kernel would translate */
	if (stream_due_ms(&turn.c->stream) <= now_ms && is_moved(all, turn.c))
		stream_abort(&turn.c->stream, &env);
	else
		stream_timeout(&turn.c->stream, &env);
	settle(all, turn.c);
}

/* Have the kernel keep its entry as it keeps others */
static void refresh(struct connections *all, struct connection *c,
		    uint64_t now_ms)
{
	const struct nat *nat = all->nat;
	struct turn turn = { .all = all, .c = c, .now_ms = now_ms };
	struct stream_env env = env_of(&turn);
	uint32_t idle_s = nat->ops->idle_s(nat->ctx, IPPROTO_TCP, true);

	if (nat->ops->refresh(nat->ctx, &c->lan, idle_s) != -ENOENT)
		return;
	stream_abort(&c->stream, &env);
	settle(all, c);
}

static void on_life(struct timer *timer, void *owner, uint64_t now_ms)
{
	struct connection *c = TIMER_OBJECT(timer, struct connection, life);
	struct connections *all = owner;
	bool opening = !TABLE_HAS(c, by_wan);
	bool over = stream_is_over(&c->stream) && !c->refused;
	uint64_t idle_ms = opening ? OPENING_MS : over ? LINGER_MS : IDLE_MS;

	if (c->used_ms + idle_ms <= now_ms ||
	    (c->used_ms + LINGER_MS <= now_ms && is_gone(all, c))) {
		connection_free(all, c);
		return;
	}
	stream_rest(&c->stream, &all->memory);
	if (c->kind == CONNECTION_CHANGED)
		refresh(all, c, now_ms);
	timer_start(&all->lives, timer, now_ms + LOOK_MS);
}

void connections_run(struct connections *all, uint64_t now_ms)
{
	timer_run(&all->repeats, now_ms);
	timer_run(&all->lives, now_ms);
}

int connections_wait_ms(const struct connections *all, uint64_t now_ms)
{
	return timer_wait_ms(&all->repeats, now_ms);
}

/* ---- the line changes ---- */

static bool has_moved(const struct connections *all, const struct connection *c)
{
	/* Of a hairpin both ends are inside */
	return TABLE_HAS(c, by_wan) && endpoint_eq(&c->lan.dst, &c->wan.src) &&
	       nat_has_moved(all->nat, &c->lan.src, &c->lan.dst,
			     &c->wan.dst.addr, false);
}

static void move(struct connections *all, struct connection *c, uint64_t now_ms)
{
	struct turn turn = { .all = all, .c = c, .now_ms = now_ms };
	struct stream_env env = env_of(&turn);

	stream_abort(&c->stream, &env);
	nat_remove(all->nat, &c->lan);
	if (c->stream.changed)
		settle(all, c); /* who still sends is told */
	else
		connection_free(all, c);
}

unsigned int connections_move(struct connections *all, uint64_t now_ms)
{
	struct connection *c, *next;
	unsigned int count = 0;

	for (int kind = 0; kind < CONNECTION_KINDS; kind++) {
		DL_FOREACH_SAFE (all->list[kind], c, next) {
			if (stream_is_over(&c->stream) || !has_moved(all, c))
				continue;
			move(all, c, now_ms);
			count++;
		}
	}
	return count;
}

/* ---- over a restart ---- */

bool connection_save(const struct connection *c, struct saved_connection *out)
{
	if (c->refused || c->stream.closed || c->kind == CONNECTION_PLAIN)
		return false;
	*out = (struct saved_connection){
		.lan = c->lan,
		.answered = c->answered,
		.alien = c->alien,
		.ttl = { c->path[0].ttl, c->path[1].ttl },
		.tos = { c->path[0].tos, c->path[1].tos },
	};
	if (TABLE_HAS(c, by_wan))
		out->wan = c->wan;
	stream_image_take(&c->stream, &out->stream);
	return true;
}

/* The kernel still translates it as it did. It has no entry yet for a SYN that
 * waits in the queue
 */
static bool is_there(const struct connections *all,
		     const struct saved_connection *in)
{
	struct nat_entry entry;
	int err = nat_find(all->nat, &in->lan, NAT_SIDE_LAN, &entry);

	if (!in->wan.proto)
		return !in->answered && (!err || err == -ENOENT);
	return !err && !entry.tcp_over && tuple_eq(&entry.wan, &in->wan);
}

/* The adoption of a former self's connection was right without this */
static void forget_refused(struct connections *all,
			   const struct saved_connection *in)
{
	struct connection *c;

	HASH_FIND(by_lan, all->by_lan, &in->lan, sizeof(in->lan), c);
	if (c && c->refused)
		connection_free(all, c);
}

bool connection_restore(struct connections *all,
			const struct saved_connection *in, uint64_t now_ms)
{
	struct connection *c, *there;
	struct stream stream;

	if (in->lan.proto != IPPROTO_TCP || !is_there(all, in) ||
	    stream_image_restore(&stream, &in->stream, &all->memory, now_ms))
		return false;
	forget_refused(all, in);
	HASH_FIND(by_lan, all->by_lan, &in->lan, sizeof(in->lan), there);
	c = there ? NULL : connection_open(all, &in->lan, now_ms);
	if (!c) {
		stream_free(&stream, &all->memory);
		return false;
	}
	c->stream = stream;
	c->answered = in->answered;
	c->alien = in->alien;
	for (int i = 0; i < 2; i++) {
		c->path[i].ttl = in->ttl[i];
		c->path[i].tos = in->tos[i];
	}
	if (in->wan.proto && !connection_attach(all, c, &in->wan)) {
		connection_free(all, c);
		return false;
	}
	settle(all, c);
	return true;
}
