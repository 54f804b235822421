/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * virthvd_sockets.h - whom virthvd asks about networks, storage and so on.
 */
#ifndef VIRTHVD_SOCKETS_H
#define VIRTHVD_SOCKETS_H

/**
 * virthvd_secondary_uri() - where to open the driver @scheme ("network", "storage", ...).
 * The string lives as long as the process.
 */
const char *virthvd_secondary_uri(const char *scheme);

#endif /* VIRTHVD_SOCKETS_H */
