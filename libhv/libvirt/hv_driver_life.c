// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_driver_life.c - methods that start, stop and reach a guest (hv_driver.h).
 */
#include <config.h>

#include "hv_driver.h"

#include <json-c/json.h>

#include "datatypes.h"
#include "hv_console.h"
#include "hv_domain.h"
#include "hv_monitor.h"
#include "hv_process.h"
#include "viraccessapicheck.h"
#include "virerror.h"
#include "virfile.h"

#define VIR_FROM_THIS HV_FROM

/* ---- start ---- */

virDomainPtr hvDomainCreateXML(virConnectPtr conn, const char *xml, unsigned int flags)
{
	struct hv_driver *driver = conn->privateData;
	unsigned int parse = VIR_DOMAIN_DEF_PARSE_INACTIVE;
	g_autoptr(virDomainDef) def = NULL;
	virDomainPtr dom = NULL;
	virDomainObj *vm;

	virCheckFlags(VIR_DOMAIN_START_AUTODESTROY | VIR_DOMAIN_START_VALIDATE, NULL);
	if (flags & VIR_DOMAIN_START_VALIDATE)
		parse |= VIR_DOMAIN_DEF_PARSE_VALIDATE_SCHEMA;
	def = hv_domain_parse(driver, xml, parse);
	if (!def || virDomainCreateXMLEnsureACL(conn, def) < 0)
		return NULL;
	vm = virDomainObjListAdd(driver->domains, &def, driver->xmlopt,
				 VIR_DOMAIN_OBJ_LIST_ADD_LIVE | VIR_DOMAIN_OBJ_LIST_ADD_CHECK_LIVE,
				 NULL);
	if (!vm)
		return NULL;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto remove;
	if (hv_process_start(vm, flags & VIR_DOMAIN_START_AUTODESTROY ? conn : NULL) == 0)
		dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
	virDomainObjEndJob(vm);
remove:
	if (!dom && !vm->persistent && !virDomainObjIsActive(vm))
		virDomainObjListRemove(driver->domains, vm);
	virDomainObjEndAPI(&vm);
	return dom;
}

int hvDomainCreateWithFlags(virDomainPtr dom, unsigned int flags)
{
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(VIR_DOMAIN_START_AUTODESTROY, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainCreateWithFlagsEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (virDomainObjIsActive(vm)) {
		virReportError(VIR_ERR_OPERATION_INVALID, "%s", _("domain is already running"));
	} else {
		ret = hv_process_start(vm, flags & VIR_DOMAIN_START_AUTODESTROY ? dom->conn : NULL);
		if (ret == 0)
			dom->id = vm->def->id;
	}
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainCreate(virDomainPtr dom)
{
	return hvDomainCreateWithFlags(dom, 0);
}

/* ---- pause ---- */

int hvDomainSuspend(virDomainPtr dom)
{
	virDomainObj *vm = hv_domain_get(dom);
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainSuspendEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_SUSPEND) < 0)
		goto cleanup;
	if (virDomainObjCheckActive(vm) == 0) {
		/* Done already is done. */
		if (virDomainObjGetState(vm, NULL) == VIR_DOMAIN_PAUSED ||
		    (hv_monitor_call(vm, "pause", NULL, NULL, NULL) == 0 &&
		     hv_process_wait_state(vm, VIR_DOMAIN_PAUSED) == 0))
			ret = 0;
	}
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainResume(virDomainPtr dom)
{
	virDomainObj *vm = hv_domain_get(dom);
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainResumeEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (virDomainObjCheckActive(vm) == 0) {
		if (virDomainObjGetState(vm, NULL) == VIR_DOMAIN_RUNNING ||
		    (hv_monitor_call(vm, "resume", NULL, NULL, NULL) == 0 &&
		     hv_process_wait_state(vm, VIR_DOMAIN_RUNNING) == 0))
			ret = 0;
	}
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

/* ---- stop ---- */

int hvDomainShutdownFlags(virDomainPtr dom, unsigned int flags)
{
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainShutdownFlagsEnsureACL(dom->conn, vm->def, flags) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (virDomainObjCheckActive(vm) == 0)
		ret = hv_monitor_call(vm, "stop", NULL, NULL, NULL);
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainShutdown(virDomainPtr dom)
{
	return hvDomainShutdownFlags(dom, 0);
}

/* The power button, and a reset when the guest has powered itself off. */
int hvDomainReboot(virDomainPtr dom, unsigned int flags)
{
	struct json_object *args;
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(VIR_DOMAIN_REBOOT_ACPI_POWER_BTN, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainRebootEnsureACL(dom->conn, vm->def, flags) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (virDomainObjCheckActive(vm) == 0) {
		args = json_object_new_object();
		json_object_object_add(args, "restart", json_object_new_boolean(true));
		ret = hv_monitor_call(vm, "stop", args, NULL, NULL);
	}
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainReset(virDomainPtr dom, unsigned int flags)
{
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(0, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainResetEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (virDomainObjCheckActive(vm) == 0)
		ret = hv_monitor_call(vm, "reset", NULL, NULL, NULL);
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainDestroyFlags(virDomainPtr dom, unsigned int flags)
{
	virDomainObj *vm;
	bool job;
	int ret = -1;

	virCheckFlags(VIR_DOMAIN_DESTROY_GRACEFUL, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainDestroyFlagsEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	/*
	 * A vmm that does not answer holds up whoever has asked it, and that one has the
	 * job.  Ending the vmm is what helps, so it needs no job; only a start is waited for.
	 */
	job = virDomainObjIsActive(vm) && !hv_domain(vm)->mon;
	if (job && virDomainObjBeginJob(vm, VIR_JOB_DESTROY) < 0)
		goto cleanup;
	if (virDomainObjCheckActive(vm) == 0)
		ret = hv_process_destroy(vm, flags & VIR_DOMAIN_DESTROY_GRACEFUL);
	if (job)
		virDomainObjEndJob(vm);
	if (ret == 0)
		dom->id = -1;
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainDestroy(virDomainPtr dom)
{
	return hvDomainDestroyFlags(dom, 0);
}

/* ---- console ---- */

/* Is there a console, or serial line, of this alias; NULL: any? */
static bool console_known(const virDomainDef *def, const char *alias)
{
	size_t i;

	if (!alias)
		return def->nconsoles || def->nserials;
	for (i = 0; i < def->nconsoles; i++)
		if (STREQ_NULLABLE(def->consoles[i]->info.alias, alias))
			return true;
	for (i = 0; i < def->nserials; i++)
		if (STREQ_NULLABLE(def->serials[i]->info.alias, alias))
			return true;
	return false;
}

int hvDomainOpenConsole(virDomainPtr dom, const char *alias, virStreamPtr stream,
			unsigned int flags)
{
	virDomainObj *vm;
	int fd = -1, ret = -1;

	virCheckFlags(VIR_DOMAIN_CONSOLE_SAFE | VIR_DOMAIN_CONSOLE_FORCE, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainOpenConsoleEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_QUERY) < 0)
		goto cleanup;
	if (virDomainObjCheckActive(vm) < 0)
		goto endjob;
	if (!console_known(vm->def, alias)) {
		virReportError(VIR_ERR_INVALID_ARG, _("the domain has no console '%s'"),
			       NULLSTR(alias));
		goto endjob;
	}
	if (hv_monitor_call(vm, "console", NULL, NULL, &fd) < 0)
		goto endjob;
	if (fd < 0) {
		virReportError(VIR_ERR_OPERATION_FAILED, "%s", _("the vmm has given no console"));
		goto endjob;
	}
	ret = hv_console_attach(hv_domain(vm)->console, stream, fd,
				flags & VIR_DOMAIN_CONSOLE_FORCE);
endjob:
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}
