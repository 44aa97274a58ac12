/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/doctor.h"
#include "daemon/metrics.h"
#include "daemon/record.h"
#include "daemon/report.h"
#include "daemon/sandbox.h"
#include "daemon/supervisor.h"
#include "sip/witness.h"

#define MAX_EVENTS 32
/* There is something to do each second: later it was not we who waited */
#define HELD_UP_MS 1500
/* How often at most it is looked what a change of address or route means */
#define LINE_MS 1000
/* How often at most it is said that there was too much */
#define SAY_MS (3600 * 1000)
/* How often at most it is looked whether a queue is full */
#define FULL_MS 100

static uint64_t monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- packets ---- */

static struct queue_verdict on_packet(void *arg, const struct queue_packet *pkt)
{
	struct daemon *d = arg;
	enum nat_side side = netif_side(&d->kernel.netif, pkt->ifindex);
	struct decision decision;

	if (trace_is_on(&d->trace))
		trace_begin(&d->trace, pkt->data, pkt->len, side);
	decision = alg_packet(d->alg, pkt->data, pkt->len, side, d->now_ms);
	if (trace_is_on(&d->trace))
		trace_end(&d->trace, &decision);
	log_debug("packet of %zu bytes: %s", pkt->len,
		  counter_name(decision.reason));
	return (struct queue_verdict){ .drop = decision.drop,
				       .data = decision.data,
				       .len = decision.len };
}

/* Many at a time: there may be more than the queue has room for. The kernel
 * does not count what passes then
 */
static void look_for_overflow(struct daemon *d, const struct queue *queue,
			      unsigned int taken)
{
	uint32_t length = queue->max_length;
	struct queue_counts counts;

	if (taken < (length < QUEUE_BATCH ? length : QUEUE_BATCH) ||
	    d->now_ms < d->full_ms ||
	    !queue_read_counts(queue->number, 1, &counts))
		return;
	d->full_ms = d->now_ms + FULL_MS;
	if (counts.waiting + taken < length)
		return;
	counter_add(&d->alg->counters, COUNTER_queue_full);
	if (d->full_said_ms && d->now_ms - d->full_said_ms < SAY_MS)
		return;
	d->full_said_ms = d->now_ms;
	log_warning("queue %u was full: packets %s; see queue.max_length",
		    queue->number,
		    d->drop_overflow ? "were dropped" : "passed unread");
}

static int on_queue(struct daemon *d, struct queue *queue)
{
	int n = queue_run(queue, on_packet, d);

	if (n < 0)
		log_error("queue %u: %s", queue->number, strerror(-n));
	else
		look_for_overflow(d, queue, (unsigned int)n);
	return n;
}

/* A packet of our own overtakes none whose verdict is still to be sent */
static void on_send(void *arg, const void *packet, size_t len)
{
	struct daemon *d = arg;

	if (trace_is_on(&d->trace))
		trace_own(&d->trace, packet, len);
	for (unsigned int i = 0; i < d->queue_count; i++)
		queue_flush(&d->queues[i]);
}

/* The queue that @fd is of; NULL if none */
static struct queue *find_queue(const struct daemon *d, int fd)
{
	for (unsigned int i = 0; i < d->queue_count; i++) {
		if (queue_fd(&d->queues[i]) == fd)
			return &d->queues[i];
	}
	return NULL;
}

/* ---- the line ---- */

/* Changes come in bursts; a second later the last one is in */
static void on_line(struct daemon *d)
{
	unsigned int count;

	if (d->now_ms < d->line_ms || !route_has_changed(&d->kernel.route))
		return;
	d->line_ms = d->now_ms + LINE_MS;
	count = alg_line_changed(d->alg, d->now_ms);
	if (count)
		log_notice("addresses or routes changed: %u flows taken out; "
			   "phones are reached again when they say something",
			   count);
}

/* ---- conntrack ---- */

static void on_gone(void *arg, const struct tuple *t)
{
	struct daemon *d = arg;

	alg_gone(d->alg, t);
}

static void on_overrun(struct daemon *d)
{
	counter_add(&d->alg->counters, COUNTER_conntrack_overruns);
	alg_doubt(d->alg, d->now_ms);
	if (d->overrun_ms && d->now_ms - d->overrun_ms < SAY_MS)
		return;
	d->overrun_ms = d->now_ms;
	log_warning("conntrack: more entries ended at once than could be told; "
		    "all flows and calls are looked up anew");
}

static void on_conntrack(struct daemon *d)
{
	if (conntrack_take_events(&d->kernel.conntrack, on_gone, d))
		on_overrun(d);
}

/* A signalling flow, or media, that is older than this process */
static void on_old_entry(void *arg, const struct nat_entry *entry)
{
	struct daemon *d = arg;
	const struct conf *conf = d->conf;

	if (!ports_contain(&conf->sip.ports, entry->lan.dst.port) &&
	    !ports_contain(&conf->sip.ports, entry->lan.src.port) &&
	    !ports_contain(&conf->sip.signalling_ports, entry->wan.dst.port) &&
	    !ports_contain(&conf->media.rtp_ports, entry->wan.dst.port))
		return;
	/* The address has changed while nobody was here to see it */
	if (entry->fixed &&
	    !route_is_own(&d->kernel.route, &entry->wan.dst.addr))
		d->kernel.route.changed = true;
	alg_adopt(d->alg, entry, d->now_ms);
}

/* ---- configuration ---- */

static void warn_restart(const struct conf *old, const struct conf *new)
{
	if (old->queue.number != new->queue.number ||
	    old->queue.count != new->queue.count ||
	    old->queue.max_length != new->queue.max_length)
		log_warning("queue.*: changed; takes effect at a restart");
	if (strcmp(old->control.socket, new->control.socket) ||
	    strcmp(old->control.group, new->control.group))
		log_warning("control.*: changed; takes effect at a restart");
}

/* Go on with another one; the old one may go */
static void take_conf(struct daemon *d, struct conf *conf)
{
	alg_configure(d->alg, conf);
	kernel_configure(&d->kernel, conf);
	free(d->conf);
	d->conf = conf;
}

/* What conf_load() reports is wanted by the log and by who asked */
static int load_conf(const struct daemon *d, struct conf *conf, char **said)
{
	size_t len;
	FILE *report = open_memstream(said, &len);
	int err = report ? conf_load(d->conf_path, conf, report) : -ENOMEM;

	if (report)
		fclose(report);
	if (*said)
		log_text(err ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, *said);
	return err;
}

int daemon_reload(struct daemon *d, char **said)
{
	struct conf *conf = malloc(sizeof(*conf));
	int err;

	*said = NULL;
	err = conf ? load_conf(d, conf, said) : -ENOMEM;
	if (err) {
		log_error("%s: not loaded (%s); the old configuration stays "
			  "in force",
			  d->conf_path,
			  err == -EINVAL ? "errors above" : strerror(-err));
		free(conf);
		return err;
	}
	warn_restart(d->conf, conf);
	take_conf(d, conf);
	d->file_mode = conf->gateway.mode;
	log_set_level(conf->log.level);
	doctor_reset(d);
	metrics_listen(d, conf);
	log_notice("%s: loaded", d->conf_path);
	return 0;
}

int daemon_set_mode(struct daemon *d, enum conf_mode mode)
{
	struct conf *conf = malloc(sizeof(*conf));

	if (!conf)
		return -ENOMEM;
	*conf = *d->conf;
	conf->gateway.mode = mode;
	take_conf(d, conf);
	log_notice("mode %s by command; the file says %s", conf_mode_name(mode),
		   conf_mode_name(d->file_mode));
	return 0;
}

/* ---- the loop ---- */

static void on_signal(struct daemon *d)
{
	struct signalfd_siginfo info;
	char *said = NULL;

	if (read(d->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP)
		daemon_reload(d, &said);
	else
		d->stop = true;
	d->hand_over = info.ssi_signo == SIGUSR2 && supervisor_keeps();
	free(said);
}

static uint64_t taken(const struct daemon *d)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < d->queue_count; i++)
		sum += d->queues[i].packets;
	return sum;
}

/* Packets wait, and none has been taken since the last time. What a predecessor
 * has left undecided waits for the next one: queue_adopt()
 */
static bool is_stuck(const struct daemon *d)
{
	struct queue_counts counts[CONF_MAX_QUEUES];
	unsigned int waiting = 0;

	daemon_read_queues(d, counts);
	for (unsigned int i = 0; i < d->queue_count; i++)
		waiting += d->queues[i].inherited ? 0 : counts[i].waiting;
	return waiting && taken(d) == d->taken;
}

/* That the loop turns is not all: it is there for the queues */
static void tell_alive(struct daemon *d)
{
	if (!d->watch_ms || d->now_ms < d->alive_ms + d->watch_ms ||
	    is_stuck(d))
		return;
	d->alive_ms = d->now_ms;
	d->taken = taken(d);
	supervisor_say("WATCHDOG=1");
}

static void on_tick(struct daemon *d)
{
	uint64_t ticks;

	if (read(d->ticks, &ticks, sizeof(ticks)) != sizeof(ticks))
		return;
	control_tick(&d->control);
	httpd_run(d->metrics);
	trace_tick(&d->trace);
	kernel_tick(&d->kernel);
	keeper_tick(d);
	tell_alive(d);
	alg_tick(d->alg, d->now_ms);
}

/* All but the queue; false if @fd is none of ours */
static bool dispatch(struct daemon *d, int fd)
{
	if (fd == d->signals)
		on_signal(d);
	else if (fd == d->ticks)
		on_tick(d);
	else if (fd == netlink_fd(&d->kernel.conntrack.events))
		on_conntrack(d);
	else if (fd == netlink_fd(&d->kernel.route.events))
		route_take_events(&d->kernel.route);
	else if (fd == netif_fd(&d->kernel.netif))
		netif_take_events(&d->kernel.netif);
	else
		return httpd_ready(d->metrics, fd) ||
		       control_ready(&d->control, fd);
	return true;
}

/* A full queue lets packets pass unread, but not into TCP connections whose
 * numbers have been shifted, or may be: docs/decisions/009
 */
static void choose_overflow(struct daemon *d)
{
	bool drop = connections_need_all(&d->alg->connections);

	if (drop == d->drop_overflow)
		return;
	d->drop_overflow = drop;
	for (unsigned int i = 0; i < d->queue_count; i++)
		queue_set_fail_open(&d->queues[i], !drop);
}

/* So long nothing is due */
static int wait_ms(const struct daemon *d)
{
	if (trace_waits(&d->trace) || httpd_waits(d->metrics))
		return 0;
	return alg_wait_ms(d->alg, d->now_ms);
}

static void read_clock(struct daemon *d)
{
	uint64_t before_ms = d->now_ms;

	d->now_ms = monotonic_ms();
	if (d->now_ms - before_ms >= HELD_UP_MS)
		alg_catch_up(d->alg, d->now_ms);
}

static void loop(struct daemon *d)
{
	struct epoll_event events[MAX_EVENTS];

	while (!d->stop) {
		int n = epoll_wait(d->epoll, events, MAX_EVENTS, wait_ms(d));

		read_clock(d);
		/* What has changed first, then the packets it matters to */
		for (int i = 0; i < n; i++) {
			if (!find_queue(d, events[i].data.fd))
				dispatch(d, events[i].data.fd);
		}
		for (int i = 0; i < n; i++) {
			struct queue *queue = find_queue(d, events[i].data.fd);

			if (queue)
				on_queue(d, queue);
		}
		on_line(d);
		alg_run(d->alg, d->now_ms);
		trace_run(&d->trace, !n);
		if (httpd_waits(d->metrics))
			httpd_run(d->metrics);
		choose_overflow(d);
	}
}

/* ---- beginning and end ---- */

static void queue_name(const struct queue *queue, char *name)
{
	snprintf(name, SUPERVISOR_NAME_MAX, "queue-%u", queue->number);
}

/* Nobody goes on with the queues: packets are to pass by, from now on */
static void give_up_queues(const struct daemon *d)
{
	char name[SUPERVISOR_NAME_MAX];

	for (unsigned int i = 0; i < d->queue_count; i++) {
		queue_name(&d->queues[i], name);
		supervisor_drop(name);
	}
	supervisor_wait();
}

static void stop(struct daemon *d)
{
	unsigned int reset;

	/* Without what it needs to know a successor would break connections */
	if (d->hand_over && !keeper_finish(d)) {
		log_notice("stopped for a successor; what comes waits for it");
		return;
	}
	d->hand_over = false;
	reset = alg_stop(d->alg, d->now_ms);
	keeper_finish(d);
	give_up_queues(d);
	if (reset)
		log_notice("stopped; calls and registrations go on, %u TCP "
			   "connections had to be reset",
			   reset);
	else
		log_notice("stopped; calls and registrations go on");
}

static int watch(const struct daemon *d, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (fd < 0)
		return -errno;
	return epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_loop(struct daemon *d)
{
	static const struct itimerspec second = { { 1, 0 }, { 1, 0 } };
	sigset_t set;
	int err;

	/* Whoever reads the log may go: no reason to end */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (d->epoll < 0)
		return -errno;
	d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	err = watch(d, d->signals);
	if (err)
		return err;
	d->ticks = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	err = watch(d, d->ticks);
	if (!err && timerfd_settime(d->ticks, 0, &second, NULL))
		err = -errno;
	return err;
}

static int open_kernel(struct daemon *d)
{
	const struct kernel_given given = {
		.raw_v4 = supervisor_take(RAWSEND_V4_NAME),
		.raw_v6 = supervisor_take(RAWSEND_V6_NAME),
		.packet = supervisor_take(OVERHEAR_NAME),
	};
	const char *what;
	int err = kernel_open(&d->kernel, d->conf, &given, &what);

	if (err) {
		log_error("%s: %s", what, strerror(-err));
		return err;
	}
	err = watch(d, netlink_fd(&d->kernel.conntrack.events));
	if (!err)
		err = watch(d, netlink_fd(&d->kernel.route.events));
	if (!err)
		err = watch(d, netif_fd(&d->kernel.netif));
	return err;
}

/* A predecessor's, with what has come since. Return: false if there is none */
static bool inherit_queue(const struct daemon *d, struct queue *queue,
			  uint16_t number)
{
	const struct queue numbered = { .number = number };
	char name[SUPERVISOR_NAME_MAX];
	int fd, err;

	queue_name(&numbered, name);
	fd = supervisor_take(name);
	if (fd < 0)
		return false;
	err = queue_adopt(queue, fd, number, d->conf->queue.max_length);
	if (err) {
		log_warning("queue %u of a predecessor: %s; opened anew",
			    number, strerror(-err));
		supervisor_drop(name);
		supervisor_wait();
	} else {
		alg_catch_up(d->alg, d->now_ms);
	}
	return !err;
}

static int open_queue(struct daemon *d, struct queue *queue, uint16_t number)
{
	struct queue_counts counts;
	char name[SUPERVISOR_NAME_MAX];
	int err;

	if (inherit_queue(d, queue, number))
		return watch(d, queue_fd(queue));
	err = queue_open(queue, number, d->conf->queue.max_length);
	queue_name(queue, name);
	if (!err)
		supervisor_keep(queue_fd(queue), name);

	if (err && queue_read_counts(number, 1, &counts))
		log_error("queue.number: NFQUEUE %u is taken by another "
			  "program: end that, or choose another number",
			  number);
	else if (err)
		log_error("queue.number: NFQUEUE %u: %s; is nfnetlink_queue "
			  "in the kernel?",
			  number, strerror(-err));
	return err ? err : watch(d, queue_fd(queue));
}

void daemon_read_queues(const struct daemon *d, struct queue_counts *counts)
{
	if (!d->queue_count)
		return;
	queue_read_counts(d->queues[0].number, d->queue_count, counts);
	for (unsigned int i = 0; i < d->queue_count; i++) {
		if (counts[i].user_dropped < d->queues[i].missed)
			counts[i].user_dropped = d->queues[i].missed;
	}
}

static void warn_blind(const struct daemon *d)
{
	struct queue_counts counts;

	if (!queue_read_counts(d->queues[0].number, 1, &counts))
		log_warning("/proc/net/netfilter/nfnetlink_queue: not for us "
			    "to read: what the queue drops is not seen (the "
			    "service's unit gives it to the group sipalg)");
}

static int open_queues(struct daemon *d)
{
	int err = 0;

	d->queues = calloc(d->conf->queue.count, sizeof(*d->queues));
	if (!d->queues)
		return -ENOMEM;
	for (unsigned int i = 0; !err && i < d->conf->queue.count; i++) {
		err = open_queue(d, &d->queues[i],
				 (uint16_t)(d->conf->queue.number + i));
		d->queue_count++;
	}
	return err;
}

/* No packet has passed unread since the predecessor stopped */
static bool all_inherited(const struct daemon *d)
{
	for (unsigned int i = 0; i < d->queue_count; i++) {
		if (!d->queues[i].inherited)
			return false;
	}
	return true;
}

static int open_control(struct daemon *d)
{
	int err = control_open(&d->control, d->conf, d->epoll, report_commands,
			       d);

	if (err == -EADDRINUSE)
		log_error("control.socket: %s: another sipalgd listens there",
			  d->conf->control.socket);
	else if (err)
		log_error("control.socket: %s: %s; does its directory exist, "
			  "and may the daemon write there?",
			  d->conf->control.socket, strerror(-err));
	return err;
}

static int daemon_open(struct daemon *d)
{
	int err = open_loop(d);

	if (!err)
		err = open_kernel(d);
	if (err)
		return err;
	if (!d->kernel.counts)
		log_warning("net.netfilter.nf_conntrack_acct is 0: calls that "
			    "end without BYE are not noticed");
	d->kernel.before_send = on_send;
	d->kernel.before_send_arg = d;
	d->alg = alg_new(d->conf, &kernel_ops, &d->kernel, d->now_ms);
	if (!d->alg)
		return -ENOMEM;
	record_open(d->alg);
	trace_init(&d->trace, d->alg, &d->control);
	err = conntrack_each(&d->kernel.conntrack, on_old_entry, d);
	if (err)
		log_warning("conntrack: old flows not read: %s",
			    strerror(-err));
	err = open_queues(d);
	supervisor_drop_rest();
	if (!err)
		warn_blind(d);
	if (!err)
		keeper_restore(d, all_inherited(d));
	if (!err)
		err = open_control(d);
	/* Without its page it goes on */
	if (!err)
		metrics_listen(d, d->conf);
	return err;
}

/* The kernel drops what waits in a queue that goes. More than may wait there is
 * not taken: a flood shall not keep us
 */
static void drain(struct daemon *d, struct queue *queue)
{
	int64_t left = queue->max_length;
	int n = 1;

	while (left > 0 && n > 0) {
		n = on_queue(d, queue);
		left -= n;
	}
}

static void daemon_close(struct daemon *d)
{
	for (unsigned int i = 0; i < d->queue_count; i++) {
		if (d->queues[i].netlink.nl && !d->hand_over)
			drain(d, &d->queues[i]);
		queue_close(&d->queues[i]);
	}
	free(d->queues);
	if (d->control.epoll)
		control_close(&d->control);
	httpd_close(d->metrics);
	alg_free(d->alg);
	kernel_close(&d->kernel);
	close(d->ticks);
	close(d->signals);
	close(d->epoll);
	free(d->conf);
}

int daemon_run(const char *conf_path, struct conf *conf)
{
	struct daemon d = {
		.conf_path = conf_path,
		.conf = conf,
		.epoll = -1,
		.signals = -1,
		.ticks = -1,
		.now_ms = monotonic_ms(),
	};
	int err;

	d.started_ms = d.now_ms;
	d.started_at_s = time(NULL);
	d.file_mode = conf->gateway.mode;
	log_set_level(conf->log.level);
	err = witness_init() ? -ENOMEM : daemon_open(&d);
	if (!err) {
		sandbox_enter();
		log_notice("version %s: queue %u", SIPALG_VERSION,
			   d.queues[0].number);
		d.watch_ms = supervisor_watch_ms();
		supervisor_say("READY=1");
		loop(&d);
		supervisor_say("STOPPING=1");
		stop(&d);
	}
	daemon_close(&d);
	if (err)
		return 1;
	return d.hand_over ? DAEMON_HANDED_OVER : 0;
}
