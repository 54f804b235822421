/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_process.h - a guest's life: its vmm is started, found again by the next
 * virthvd, and its end is noticed.
 *
 * All functions but those that say so take the domain locked.
 */
#ifndef HV_PROCESS_H
#define HV_PROCESS_H

#include "hv_domain.h"

/**
 * hv_process_start() - start the vmm of an inactive domain and wait until its guest
 * runs.  Needs a job.  @conn: whose end is to be the guest's (autodestroy), or NULL.  -1 with an
 * error set that has the vmm's own words.
 */
int hv_process_start(virDomainObj *vm, virConnectPtr conn);

/**
 * hv_process_destroy() - end the guest as if its power had failed, and wait for it.
 * @graceful: leave a vmm that does not end alone, and fail.
 * Needs no job; others who have one find the domain inactive.
 */
int hv_process_destroy(virDomainObj *vm, bool graceful);

/** hv_process_autodestroy_remove() - the client has taken the guest's end in hand. */
void hv_process_autodestroy_remove(virDomainObj *vm);

/**
 * hv_process_reconnect() - take up a domain of the status XML that an earlier virthvd
 * has left, in a thread: whether its guest runs, or had ended meanwhile.  Takes the lock
 * itself.
 */
int hv_process_reconnect(virDomainObj *vm, void *opaque);

/** hv_process_forget() - the driver goes, the guest does not.  Takes the lock itself. */
int hv_process_forget(virDomainObj *vm, void *opaque);

/** hv_process_wait_state() - until the vmm has told of @state.  -1 with an error set. */
int hv_process_wait_state(virDomainObj *vm, virDomainState state);

#endif /* HV_PROCESS_H */
