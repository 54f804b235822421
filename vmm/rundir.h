/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rundir.h - the runtime directory: one lock and one socket per guest name.
 *
 * NAME.lock is held by flock(2) while the guest lives, so that a killed vmm
 * frees its name at once; its text is the holder's pid.  NAME.sock is the
 * control socket.
 */
#ifndef VMM_RUNDIR_H
#define VMM_RUNDIR_H

struct rundir {
	char dir[160];
	char socket[256];
	char lock[256];
	char log[256];		/* a detached guest's messages */
	int fd;			/* of the lock; -1: not held */
};

/* Paths for @name; creates nothing.  Prints one line on error. */
int rundir_paths(struct rundir *run, const char *name);
/* Takes the name; a name in use is refused with its holder's pid. */
int rundir_take(struct rundir *run, const char *name);
/* Removes socket and lock. */
void rundir_release(struct rundir *run);
/* After a kill -9: removes what a dead guest left.  1: it was dead. */
int rundir_clean(const char *name);

#endif
