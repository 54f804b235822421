/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_monitor.h - the connection to a running guest's vmm, by libhv's control
 * client: commands from whoever has a job on the domain, events in a thread of the
 * domain's own.
 *
 * The domain's lock is let go while a command is under way, so a vmm that does not
 * answer holds up nobody but its own job.  The event thread takes the domain's
 * lock for each event; it outlives the connection by no more than one of them.
 */
#ifndef HV_MONITOR_H
#define HV_MONITOR_H

#include "domain_conf.h"

struct json_object;
struct hv_monitor;

/* What the event thread tells, with the domain locked. */
struct hv_monitor_callbacks {
	/* One event of Documentation/control.rst. */
	void (*event)(virDomainObj *vm, const char *name, struct json_object *data);
	/* The vmm's process has ended, and this connection was still the domain's. */
	void (*ended)(virDomainObj *vm);
};

/**
 * hv_monitor_open() - connect to the vmm of a domain.
 * @vm:		locked; its pid is that of the vmm.
 * @timeout_ms:	for the vmm to start listening, as long as its process lives.
 *
 * Afterwards hv_domain(vm)->mon is set.  -1 with an error set.  -2: the process has
 * ended, or it is not the vmm that listens; no error is set.  The lock is let go
 * while waiting.
 */
int hv_monitor_open(virDomainObj *vm, const struct hv_monitor_callbacks *callbacks,
		    int timeout_ms);

/** hv_monitor_close() - forget the connection; the vmm goes on.  @vm is locked. */
void hv_monitor_close(virDomainObj *vm);

/** hv_monitor_drain() - wait until no event thread is left, before the driver goes. */
void hv_monitor_drain(void);

/**
 * hv_monitor_call() - one command.  @vm is locked, and unlocked meanwhile: look again
 * whether it is still active.
 * @args:	taken, also on failure; may be NULL.
 * @result:	the caller's to put; may be NULL.
 * @fd:		a descriptor that came along, or -1; may be NULL.
 *
 * -1 with an error set.
 */
int hv_monitor_call(virDomainObj *vm, const char *command, struct json_object *args,
		    struct json_object **result, int *fd);

/**
 * hv_monitor_kill() - a signal to the vmm's process, never to another that has got
 * its number.  -1 with an error set.
 */
int hv_monitor_kill(virDomainObj *vm, int signal);

#endif /* HV_MONITOR_H */
