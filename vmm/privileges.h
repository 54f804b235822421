/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * privileges.h - giving up what set-up needed.
 *
 * Capabilities belong to threads: each thread made before the end of set-up
 * (I/O threads) drops its own, those made later inherit nothing.
 */
#ifndef VMM_PRIVILEGES_H
#define VMM_PRIVILEGES_H

/* No capability left, no new privileges by exec; -errno.  The main thread's. */
int privileges_drop(void);
/* The same, first thing in every thread that is made during set-up. */
int privileges_drop_thread(void);

#endif
