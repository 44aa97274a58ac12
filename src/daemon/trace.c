/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/daemon.h"

/* A burst of two thousand messages with their packets, or more without */
#define RING_CAP (4u << 20)
/* While packets keep coming, what waits has its turn as often */
#define BUSY_TURNS 8
/* A packet's comment */
#define COMMENT_MAX 16384

/* ---- who listens ---- */

static uint64_t wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void trace_init(struct trace *t, struct alg *alg, struct control *control)
{
	*t = (struct trace){ .alg = alg, .control = control };
}

static void on_message(void *arg, enum counter reason, const struct flow *flow,
		       enum nat_side side);

static json_t *refuse(const char *why)
{
	return json_pack("{s:s}", "error", why);
}

/* NULL, or what is wrong */
static json_t *read_filter(const json_t *request, struct filter *filter)
{
	const json_t *terms = json_object_get(request, "filter");
	char why[FILTER_WHY_MAX];
	json_t *term;
	size_t i;

	*filter = (struct filter){ 0 };
	if (terms && !json_is_array(terms))
		return refuse("\"filter\" is not an array");
	json_array_foreach(terms, i, term)
	{
		struct span text = { json_string_value(term),
				     json_string_length(term) };

		if (!text.ptr)
			return refuse("\"filter\" holds what is no string");
		if (filter_add(filter, text, why))
			return refuse(why);
	}
	return NULL;
}

static struct trace_subscriber *free_place(struct trace *t)
{
	for (unsigned int i = 0; i < CONTROL_SUBSCRIBERS; i++) {
		if (!t->sub[i].client)
			return &t->sub[i];
	}
	return NULL;
}

static json_t *add(struct trace *t, const json_t *request,
		   struct control_client *client, bool packets)
{
	static const char begun[] = "{\"begun\":true}\n";
	struct trace_subscriber *sub = free_place(t);
	struct filter filter;
	json_t *wrong = read_filter(request, &filter);

	if (wrong)
		return wrong;
	if (!sub)
		return refuse("too many who trace or capture");
	if (!t->count && ring_open(&t->ring, RING_CAP))
		return refuse("out of memory");
	*sub = (struct trace_subscriber){ .client = client,
					  .packets = packets,
					  .since = t->ring.end,
					  .filter = filter };
	t->count++;
	t->captures += packets;
	t->alg->listener = (struct alg_listener){ on_message, t };
	control_tell(t->control, client, begun, sizeof(begun) - 1);
	return NULL;
}

json_t *trace_subscribe(void *arg, const json_t *request,
			struct control_client *client)
{
	struct daemon *d = arg;

	return add(&d->trace, request, client, false);
}

json_t *trace_capture(void *arg, const json_t *request,
		      struct control_client *client)
{
	struct daemon *d = arg;

	return add(&d->trace, request, client, true);
}

static void forget(struct trace *t, struct trace_subscriber *sub)
{
	t->captures -= sub->packets;
	t->count--;
	*sub = (struct trace_subscriber){ 0 };
	if (t->count)
		return;
	ring_close(&t->ring);
	t->alg->listener = (struct alg_listener){ 0 };
}

void trace_unsubscribe(void *arg, struct control_client *client)
{
	struct daemon *d = arg;
	struct trace *t = &d->trace;

	for (unsigned int i = 0; i < CONTROL_SUBSCRIBERS; i++) {
		if (t->sub[i].client == client)
			forget(t, &t->sub[i]);
	}
}

/* ---- packets ---- */

/* Who wants to see it */
static uint8_t wanted_by(const struct trace *t,
			 const struct filter_subject *subject)
{
	unsigned int wanted = 0;

	for (unsigned int i = 0; i < CONTROL_SUBSCRIBERS; i++) {
		const struct trace_subscriber *sub = &t->sub[i];

		if (sub->client && filter_matches(&sub->filter, subject))
			wanted |= 1u << i;
	}
	return (uint8_t)wanted;
}

static uint8_t captures(const struct trace *t)
{
	unsigned int mask = 0;

	for (unsigned int i = 0; i < CONTROL_SUBSCRIBERS; i++) {
		if (t->sub[i].client && t->sub[i].packets)
			mask |= 1u << i;
	}
	return (uint8_t)mask;
}

/* So much of the group in hand is told to each, or lost to it */
static void count_pending(struct trace *t, uint8_t who)
{
	for (unsigned int i = 0; i < CONTROL_SUBSCRIBERS; i++)
		t->sub[i].pending += who >> i & 1;
}

/* It learns it with the next line it has room for, operators by the counter */
static void lose(struct trace *t, struct trace_subscriber *sub,
		 unsigned int count)
{
	sub->lost += count;
	t->alg->counters.value[COUNTER_trace_lost] += count;
}

static void begin_group(struct trace *t)
{
	t->time_us = wall_us();
	t->wanted = 0;
	t->group = ring_put(&t->ring, sizeof(*t->group));
}

static void end_group(struct trace *t, enum counter reason, bool drop)
{
	bool kept = true;

	if (t->group)
		*t->group = (struct seen_group){ .time_us = t->time_us,
						 .wanted = t->wanted,
						 .reason = reason,
						 .drop = drop };
	if (t->wanted)
		kept = ring_commit(&t->ring);
	else
		ring_cancel(&t->ring);
	for (unsigned int i = 0; i < CONTROL_SUBSCRIBERS; i++) {
		if (!kept && t->wanted >> i & 1)
			lose(t, &t->sub[i], t->sub[i].pending);
		t->sub[i].pending = 0;
	}
	t->group = NULL;
}

/* Whose message or packet it is, as far as the flow tells, and what becomes of
 * its addresses
 */
static void set_ends(struct trace *t, struct seen *seen,
		     const struct flow *flow)
{
	t->to = tuple_reverse(seen->side == NAT_SIDE_LAN ? &flow->wan
							 : &flow->lan);
	seen->phone = flow->lan.src;
	seen->peer = flow->lan.dst;
	seen->public_end = flow->wan.dst;
	seen->proto = flow->lan.proto;
	if (!endpoint_eq(&flow->lan.dst, &flow->wan.src))
		seen->other = flow->wan.src.addr;
}

static void put_message(struct trace *t, struct seen *seen)
{
	struct filter_subject subject = { seen->phone.addr, seen->peer.addr,
					  seen->other, seen->msg };

	seen->wanted = wanted_by(t, &subject);
	seen->time_us = t->time_us;
	t->last = NULL;
	if (!seen->wanted)
		return;
	t->wanted |= seen->wanted;
	count_pending(t, seen->wanted & (uint8_t)~captures(t));
	t->last = seen_put_message(&t->ring, seen, t->alg);
}

/* Called for each message that was read: struct alg_listener. Of a TCP
 * connection it may be one that waited, and not in a packet
 */
static void on_message(void *arg, enum counter reason, const struct flow *flow,
		       enum nat_side side)
{
	struct trace *t = arg;
	struct seen seen = { .side = side,
			     .reason = reason,
			     .flow = flow,
			     .msg = &t->alg->msg };
	bool alone = !t->in_hand;

	if (alone)
		begin_group(t);
	t->read = true;
	set_ends(t, &seen, flow);
	put_message(t, &seen);
	if (alone)
		end_group(t, reason, false);
}

/* The flow of a packet, either as it came or as one of our own leaves */
static const struct flow *flow_of(struct trace *t, const struct tuple *tuple,
				  enum nat_side side)
{
	return side == NAT_SIDE_OTHER
		       ? NULL
		       : flow_find(&t->alg->bindings, tuple, side);
}

/* What is known of a packet that no flow was found for */
static void guess_ends(struct trace *t, const struct packet *pkt,
		       struct seen *seen)
{
	const struct tuple *tuple = &pkt->tuple;
	const struct flow *flow = flow_of(t, tuple, seen->side);
	const struct mapping *map;

	seen->proto = tuple->proto;
	if (flow) {
		set_ends(t, seen, flow);
	} else if (seen->side != NAT_SIDE_WAN) {
		seen->phone = tuple->src;
		seen->peer = tuple->dst;
	} else {
		map = mapping_find_public(&t->alg->bindings, &tuple->dst);
		if (map)
			seen->phone = map->in.inside;
		seen->public_end = tuple->dst;
		seen->peer = tuple->src;
	}
}

/* One that alg did not read, or could not: SIP all the same? */
static bool is_sip(struct trace *t, const struct packet *pkt,
		   enum counter reason)
{
	enum message_status status = message_parse(pkt->payload, &t->msg);

	t->msg.whole = pkt->payload;
	if (status == MESSAGE_OK)
		return reason != COUNTER_tcp_segments;
	return status >= MESSAGE_BAD_HEADER && pkt->tuple.proto == IPPROTO_UDP;
}

/* A packet of which alg told nothing */
static void put_unread(struct trace *t, const struct decision *decision)
{
	struct seen seen = { .side = t->side, .reason = decision->reason };
	struct filter_subject subject = { 0 };
	struct packet pkt;

	if (packet_parse(t->data, t->len, &pkt) != PACKET_OK)
		return;
	guess_ends(t, &pkt, &seen);
	if (is_sip(t, &pkt, decision->reason)) {
		seen.msg = &t->msg;
		put_message(t, &seen);
		return;
	}
	/* Captures show what comes between messages, too */
	subject.phone = seen.phone.addr;
	subject.peer = seen.peer.addr;
	subject.other = seen.other;
	t->wanted |= wanted_by(t, &subject) & captures(t);
}

void trace_begin(struct trace *t, const void *data, size_t len,
		 enum nat_side side)
{
	t->in_hand = true;
	t->read = false;
	t->side = side;
	t->to = (struct tuple){ 0 };
	t->data = data;
	t->len = len;
	begin_group(t);
	if (t->captures)
		seen_put_packet(&t->ring, SEEN_BEFORE, data, len, NULL);
	count_pending(t, captures(t));
}

void trace_end(struct trace *t, const struct decision *decision)
{
	if (!t->read)
		put_unread(t, decision);
	else if (t->last && (decision->reason == COUNTER_too_many_edits ||
			     decision->reason == COUNTER_too_big))
		seen_set_reason(t->last, decision->reason);
	if (t->captures && !decision->drop) {
		bool changed = decision->data != NULL;

		seen_put_packet(&t->ring,
				changed ? SEEN_AFTER : SEEN_AS_IT_CAME,
				changed ? decision->data : t->data,
				changed ? decision->len : t->len,
				t->to.proto ? &t->to : NULL);
		count_pending(t, captures(t));
	}
	end_group(t, decision->reason, decision->drop);
	t->in_hand = false;
}

/* The flow of a packet that leaves: its way back is that of one that came */
static const struct flow *flow_of_own(struct trace *t, const void *data,
				      size_t len)
{
	const struct flow *flow;
	struct packet pkt;
	struct tuple back;

	if (packet_parse(data, len, &pkt) != PACKET_OK)
		return NULL;
	back = tuple_reverse(&pkt.tuple);
	flow = flow_of(t, &back, NAT_SIDE_WAN);
	return flow ? flow : flow_of(t, &back, NAT_SIDE_LAN);
}

void trace_own(struct trace *t, const void *data, size_t len)
{
	struct filter_subject subject = { 0 };
	const struct flow *flow;

	if (!t->captures)
		return;
	if (t->in_hand) {
		seen_put_packet(&t->ring, SEEN_OWN, data, len, NULL);
		count_pending(t, captures(t));
		return;
	}
	flow = flow_of_own(t, data, len);
	if (flow) {
		subject.phone = flow->lan.src.addr;
		subject.peer = flow->lan.dst.addr;
	}
	begin_group(t);
	t->wanted = wanted_by(t, &subject) & captures(t);
	seen_put_packet(&t->ring, SEEN_OWN, data, len, NULL);
	count_pending(t, t->wanted);
	end_group(t, COUNTER_tcp_own_packets, false);
}

/* ---- telling ---- */

/* A line of its own; NULL if memory ran out. The object is dropped */
static char *line_of(json_t *object, size_t *len)
{
	char *line = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	if (!line)
		return NULL;
	/* The NUL gives its place to the line end */
	*len = strlen(line);
	line[(*len)++] = '\n';
	return line;
}

static void tell_lost(struct trace *t, struct trace_subscriber *sub)
{
	size_t len;
	char *line;

	if (!sub->lost)
		return;
	line = line_of(json_pack("{s:I}", "lost", (json_int_t)sub->lost), &len);
	if (line && control_tell(t->control, sub->client, line, len))
		sub->lost = 0;
	free(line);
}

/* To all of @who */
static void tell_all(struct trace *t, uint8_t who, json_t *object)
{
	size_t len;
	char *line = line_of(object, &len);

	for (unsigned int i = 0; i < CONTROL_SUBSCRIBERS; i++) {
		struct trace_subscriber *sub = &t->sub[i];

		if (!sub->client || !(who >> i & 1))
			continue;
		/* In order: what is lost stands before what comes next */
		tell_lost(t, sub);
		if (sub->lost || !line ||
		    !control_tell(t->control, sub->client, line, len))
			lose(t, sub, 1);
	}
	free(line);
}

/* Messages to @traces; what is said of them, to @captured */
static void tell_messages(struct trace *t, struct ring_group group,
			  uint8_t traces, uint8_t captured, char *comment)
{
	const void *record;
	size_t len;

	while ((record = ring_next(&t->ring, &group, &len))) {
		uint8_t who;

		if (seen_kind_of(record) != SEEN_MESSAGE)
			continue;
		who = seen_wanted(record);
		if (who & traces)
			tell_all(t, who & traces, seen_message_json(record));
		if (who & captured)
			seen_comment(record, comment, COMMENT_MAX);
	}
}

/* What is known of a packet now, to @who */
static void tell_packets(struct trace *t, struct ring_group group,
			 const struct seen_group *head, uint8_t who,
			 const char *comment)
{
	void *record;
	size_t len;

	while ((record = ring_next(&t->ring, &group, &len))) {
		if (seen_kind_of(record) == SEEN_PACKET)
			tell_all(t, who,
				 seen_packet_json(record, head, comment));
	}
}

/* Those who were there when the oldest group was made */
static uint8_t listeners(const struct trace *t)
{
	unsigned int mask = 0;

	for (unsigned int i = 0; i < CONTROL_SUBSCRIBERS; i++) {
		if (t->sub[i].client && t->sub[i].since <= t->ring.begin)
			mask |= 1u << i;
	}
	return (uint8_t)mask;
}

void trace_run(struct trace *t, bool idle)
{
	struct ring_group group;
	const struct seen_group *head;
	static char comment[COMMENT_MAX];
	uint8_t present, captured;
	size_t len;

	if (!trace_waits(t) || (!idle && ++t->turns < BUSY_TURNS))
		return;
	t->turns = 0;
	present = listeners(t);
	captured = present & captures(t);
	group = ring_first(&t->ring);
	head = ring_next(&t->ring, &group, &len);
	comment[0] = '\0';
	tell_messages(t, group, present & (uint8_t)~captured, captured,
		      comment);
	captured &= head->wanted;
	if (captured)
		tell_packets(t, group, head, captured, comment);
	ring_drop(&t->ring);
}

void trace_tick(struct trace *t)
{
	for (unsigned int i = 0; i < CONTROL_SUBSCRIBERS; i++) {
		if (t->sub[i].client)
			tell_lost(t, &t->sub[i]);
	}
}
