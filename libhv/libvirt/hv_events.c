// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_events.c - what the vmm's events mean to libvirt (hv_events.h).
 *
 * On the domain's event thread, in the order in which they happened.  This is the
 * one place that changes the state of a running domain, so two clients and the
 * guest itself cannot leave it wrong.
 */
#include <config.h>

#include "hv_events.h"

#include <json-c/json.h>

#include "domain_event.h"
#include "hv_domain.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS HV_FROM

VIR_LOG_INIT("hv.hv_events");

static const char *text_of(struct json_object *obj, const char *key)
{
	struct json_object *v = json_object_object_get(obj, key);

	return v ? json_object_get_string(v) : "";
}

void hv_events_state(virDomainObj *vm, struct json_object *status, bool silent)
{
	const char *name = text_of(status, "state"), *why = text_of(status, "reason");
	const int old = virDomainObjGetState(vm, NULL);
	int state, reason, event, detail;

	if (STREQ(name, "paused")) {
		state = VIR_DOMAIN_PAUSED;
		event = VIR_DOMAIN_EVENT_SUSPENDED;
		/* libvirt has no reason for memory that the host does not give. */
		reason = STREQ(why, "memory-fault") ? VIR_DOMAIN_PAUSED_IOERROR :
			 VIR_DOMAIN_PAUSED_USER;
		detail = STREQ(why, "memory-fault") ? VIR_DOMAIN_EVENT_SUSPENDED_IOERROR :
			 VIR_DOMAIN_EVENT_SUSPENDED_PAUSED;
	} else if (STREQ(name, "running")) {
		state = VIR_DOMAIN_RUNNING;
		event = VIR_DOMAIN_EVENT_RESUMED;
		detail = VIR_DOMAIN_EVENT_RESUMED_UNPAUSED;
		reason = STREQ(why, "started") ? VIR_DOMAIN_RUNNING_BOOTED :
			 VIR_DOMAIN_RUNNING_UNPAUSED;
	} else {
		return;
	}
	if (old == state || (old == VIR_DOMAIN_SHUTOFF && !silent))
		return;		/* the start tells of the first state itself */
	virDomainObjSetState(vm, state, reason);
	if (!silent) {
		if (hv_domain_save_status(vm) < 0)
			VIR_WARN("cannot save the status of %s", vm->def->name);
		hv_domain_event_lifecycle(vm, event, detail);
	}
	virDomainObjBroadcast(vm);
}

static void shutdown_handle(virDomainObj *vm, struct json_object *data)
{
	struct hv_domain *domain = hv_domain(vm);
	const char *cause = text_of(data, "cause");
	int action = VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY;
	int reason = VIR_DOMAIN_SHUTOFF_CRASHED;

	if (STREQ(cause, "power-off")) {
		reason = VIR_DOMAIN_SHUTOFF_SHUTDOWN;
		action = vm->def->onPoweroff;
		hv_domain_event_lifecycle(vm, VIR_DOMAIN_EVENT_SHUTDOWN,
					  VIR_DOMAIN_EVENT_SHUTDOWN_GUEST);
	} else if (STREQ(cause, "reboot") || STREQ(cause, "debug-exit")) {
		reason = VIR_DOMAIN_SHUTOFF_SHUTDOWN;
	} else if (STREQ(cause, "stopped")) {
		reason = VIR_DOMAIN_SHUTOFF_DESTROYED;
	} else if (STREQ(cause, "triple-fault") || STREQ(cause, "panic")) {
		action = vm->def->onCrash;
		if (STREQ(cause, "panic"))
			hv_domain_event_lifecycle(vm, VIR_DOMAIN_EVENT_CRASHED,
						  VIR_DOMAIN_EVENT_CRASHED_PANICKED);
	}
	/* Whoever destroys it has said so already. */
	if (domain->end_reason == VIR_DOMAIN_SHUTOFF_DESTROYED)
		return;
	domain->end_reason = reason;
	domain->restart = action == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART;
}

/* Disks of the vmm are "disk0", "disk1", ... in the order of its configuration, which is ours. */
static void device_error_handle(virDomainObj *vm, struct json_object *data)
{
	struct hv_driver *driver = hv_domain(vm)->driver;
	unsigned int n;

	if (sscanf(text_of(data, "device"), "disk%u", &n) != 1 || n >= vm->def->ndisks)
		return;
	hv_domain_event(driver, virDomainEventIOErrorNewFromObj(vm, vm->def->disks[n]->src->path,
			vm->def->disks[n]->dst, VIR_DOMAIN_EVENT_IO_ERROR_REPORT));
	hv_domain_event(driver, virDomainEventIOErrorReasonNewFromObj(vm,
			vm->def->disks[n]->src->path, vm->def->disks[n]->dst,
			VIR_DOMAIN_EVENT_IO_ERROR_REPORT, text_of(data, "message")));
}

void hv_events_handle(virDomainObj *vm, const char *name, struct json_object *data)
{
	if (STREQ_NULLABLE(name, "state"))
		hv_events_state(vm, data, false);
	else if (STREQ_NULLABLE(name, "reset"))
		hv_domain_event(hv_domain(vm)->driver, virDomainEventRebootNewFromObj(vm));
	else if (STREQ_NULLABLE(name, "shutdown"))
		shutdown_handle(vm, data);
	else if (STREQ_NULLABLE(name, "device-error"))
		device_error_handle(vm, data);
}
