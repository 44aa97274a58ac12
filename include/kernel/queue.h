/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_KERNEL_QUEUE_H
#define SIPALG_KERNEL_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/netlink.h"

/** QUEUE_BATCH - Packets taken with one system call */
#define QUEUE_BATCH 32

/**
 * struct queue_packet - One packet that waits for its verdict
 * @data, @len:	From its IP header on; borrowed
 * @ifindex:	Interface it came in by
 */
struct queue_packet {
	const uint8_t *data;
	size_t len;
	uint32_t ifindex;
};

/**
 * struct queue_verdict - What becomes of it
 * @drop:	Else it is accepted
 * @data, @len:	Bytes to go on with; NULL: those that came
 */
struct queue_verdict {
	bool drop;
	const uint8_t *data;
	size_t len;
};

/** queue_decide_t - Decides one packet; called once for each */
typedef struct queue_verdict queue_decide_t(void *arg,
					    const struct queue_packet *pkt);

/**
 * struct queue - One NFQUEUE
 * @in:		QUEUE_BATCH buffers for what comes
 * @out, @out_len: Verdicts of the batch in hand
 * @packets:	Taken so far
 * @last_id:	Number of the last one; 0: none yet
 * @missed:	Numbers between those that came: no room in the socket
 * @max_length:	Packets the kernel may hold
 * @inherited:	A predecessor may have taken packets without a verdict
 */
struct queue {
	struct netlink netlink;
	uint16_t number;
	uint32_t max_length;
	uint8_t *in, *out;
	size_t out_len;
	uint64_t packets, missed;
	uint32_t last_id;
	bool inherited;
};

/**
 * queue_open() - Bind to a queue
 * @max_length:	Packets the kernel may hold; when it is full they pass
 *		unqueued (fail-open)
 *
 * Return: 0; -EBUSY if another program has it; -EPERM without CAP_NET_ADMIN;
 * -errno
 * Source: net/netfilter/nfnetlink_queue.c
 */
int queue_open(struct queue *queue, uint16_t number, uint32_t max_length);

/**
 * queue_adopt() - Go on with the socket of a predecessor
 * @fd:		The queue's from now on, or closed
 *
 * Packets have waited in it. Those that the predecessor took and did not decide
 * on pass unread as soon as another one comes.
 *
 * Return: 0; -ESTALE if it does not have the queue, -errno
 */
int queue_adopt(struct queue *queue, int fd, uint16_t number,
		uint32_t max_length);

void queue_close(struct queue *queue);

int queue_fd(const struct queue *queue);

/**
 * queue_set_fail_open() - What becomes of packets where the queue is full
 * @open:	They pass unseen, so that a full queue does not stop telephony;
 *		else they are dropped, and repeated by who sent them
 *
 * Return: 0 or -errno
 */
int queue_set_fail_open(struct queue *queue, bool open);

/** queue_flush() - Send the verdicts that wait; 0 or -errno */
int queue_flush(struct queue *queue);

/**
 * queue_run() - Take what waits, have it decided, send the verdicts
 *
 * At most QUEUE_BATCH packets, so that other work gets its turn. Exactly one
 * verdict a packet, in the order they came.
 *
 * Return: packets taken; -errno if the socket failed
 */
int queue_run(struct queue *queue, queue_decide_t *decide, void *arg);

/**
 * struct queue_counts - What the kernel says of a queue
 * @waiting:	Packets in it now
 * @dropped:	Not taken because it was full
 * @user_dropped: Not delivered to the program
 */
struct queue_counts {
	unsigned int waiting;
	uint64_t dropped, user_dropped;
};

/**
 * queue_read_counts() - From /proc/net/netfilter/nfnetlink_queue
 * @first:	Number of the first queue
 * @count:	How many, one behind the other
 * @counts:	Of each; zeros where it does not exist
 *
 * All in one reading: there may be 256, and packets wait meanwhile.
 *
 * Return: how many of them exist; 0 also where that cannot be read
 */
unsigned int queue_read_counts(unsigned int first, unsigned int count,
			       struct queue_counts *counts);

#endif
