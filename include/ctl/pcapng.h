/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_PCAPNG_H
#define SIPALG_CTL_PCAPNG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * A capture file with several interfaces and comments. libpcap writes neither.
 *
 * Source: draft-ietf-opsawg-pcapng (PCAP Next Generation), version 1.0
 */

/** pcapng_begin() - @program: who writes it. Return: 0; -EIO */
int pcapng_begin(FILE *out, const char *program);

/**
 * pcapng_interface() - Packets begin with their IP header (LINKTYPE_RAW)
 *
 * The first one is 0, and so on; all of them before any packet.
 *
 * Return: 0; -EIO
 */
int pcapng_interface(FILE *out, const char *name, const char *description);

/**
 * pcapng_packet() - Write a packet
 * @interface:	Which one
 * @time_us:	Since 1970
 * @comment:	UTF-8; NULL: none; cut at 65535 bytes
 *
 * Return: 0; -EIO
 */
int pcapng_packet(FILE *out, uint32_t interface, uint64_t time_us,
		  const void *data, size_t len, const char *comment);

/**
 * struct pcapng_counts - What became of an interface's packets
 * @dropped:	Not in the file
 */
struct pcapng_counts {
	uint64_t begun_us, ended_us, received, dropped;
};

/** pcapng_counts() - At the end. Return: 0; -EIO */
int pcapng_counts(FILE *out, uint32_t interface,
		  const struct pcapng_counts *counts);

#endif
