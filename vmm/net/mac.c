// SPDX-License-Identifier: GPL-2.0-only
/*
 * mac.c - MAC addresses: as text, and those that nobody chose.
 */
#include <ctype.h>
#include <stdio.h>

#include "vmm/net/net.h"

bool net_mac_parse(const char *text, uint8_t mac[6])
{
	unsigned int i, b[6];

	for (i = 0; i < 17; i++)
		if (i % 3 == 2 ? text[i] != ':' : !isxdigit((unsigned char)text[i]))
			return false;
	if (text[17] ||
	    sscanf(text, "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return false;
	for (i = 0; i < 6; i++)
		mac[i] = b[i];
	/* Of a host: neither a group address nor none at all. */
	return !(b[0] & 1) && (b[0] | b[1] | b[2] | b[3] | b[4] | b[5]);
}

void net_mac_derive(const char *name, const char *path, uint8_t mac[6])
{
	const char *part[] = { name, "/", path }, *p;
	uint64_t hash = 0xcbf29ce484222325ULL;
	unsigned int i;

	for (i = 0; i < 3; i++)
		for (p = part[i]; *p; p++)
			hash = (hash ^ (uint8_t)*p) * 0x100000001b3ULL;
	hash ^= hash >> 29;
	mac[0] = 0x02;
	for (i = 1; i < 6; i++)
		mac[i] = hash >> (8 * (5 - i));
}
