/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_events.h - what the vmm's events mean to libvirt.
 */
#ifndef HV_EVENTS_H
#define HV_EVENTS_H

#include "domain_conf.h"

struct json_object;

/** hv_events_handle() - one event of Documentation/control.rst; @vm is locked. */
void hv_events_handle(virDomainObj *vm, const char *name, struct json_object *data);

/**
 * hv_events_state() - the guest's state as the event and the command `status` tell it.
 * @silent: nobody has missed the change, so no event is sent.
 */
void hv_events_state(virDomainObj *vm, struct json_object *status, bool silent);

#endif /* HV_EVENTS_H */
