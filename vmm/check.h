/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * check.h - what is wrong with a configuration, before anything is made.
 */
#ifndef VMM_CHECK_H
#define VMM_CHECK_H

#include <stdbool.h>

struct vm;

/*
 * Prints one line about the first thing that is wrong.  With @thorough also what a start finds out
 * by itself a moment later: disks are opened and locked for a moment, sockets and interfaces looked
 * for.  0; -EINVAL: what was asked makes no sense; another errno: this host cannot do it now.
 */
int check_config(struct vm *vm, bool thorough);

#endif
