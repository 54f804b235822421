// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * virthvd_sockets.c - whom virthvd asks about networks, storage and so on.
 *
 * Upstream's per-driver daemons ask virtnetworkd, virtstoraged and their like.
 * Debian 12 has none of them: there libvirtd has all these drivers in it.  So the
 * modular daemon is asked if its socket is there, else libvirtd.
 */
#include <config.h>

#include <glib.h>
#include <unistd.h>

#include "virthvd_sockets.h"

#define SOCKETS	"/run/libvirt/"

const char *virthvd_secondary_uri(const char *scheme)
{
	g_autofree char *modular = g_strdup_printf(SOCKETS "virt%sd-sock", scheme);
	g_autofree char *uri = NULL;

	if (access(modular, F_OK) == 0 || access(SOCKETS "libvirt-sock", F_OK) != 0)
		uri = g_strdup_printf("%s:///system", scheme);
	else
		uri = g_strdup_printf("%s:///system?socket=" SOCKETS "libvirt-sock", scheme);
	return g_intern_string(uri);
}
