// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_driver_define.c - methods about what domains there are and what is written
 * about them (hv_driver.h).
 */
#include <config.h>

#include "hv_driver.h"

#include <unistd.h>

#include "datatypes.h"
#include "domain_event.h"
#include "hv_command.h"
#include "hv_domain.h"
#include "hv_process.h"
#include "hv_stats.h"
#include "viraccessapicheck.h"
#include "virerror.h"
#include "virfile.h"

#define VIR_FROM_THIS HV_FROM

/* ---- look-up ---- */

virDomainPtr hvDomainLookupByID(virConnectPtr conn, int id)
{
	struct hv_driver *driver = conn->privateData;
	virDomainObj *vm = virDomainObjListFindByID(driver->domains, id);
	virDomainPtr dom = NULL;

	if (!vm) {
		virReportError(VIR_ERR_NO_DOMAIN, _("no domain with id %d"), id);
		return NULL;
	}
	if (virDomainLookupByIDEnsureACL(conn, vm->def) == 0)
		dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
	virDomainObjEndAPI(&vm);
	return dom;
}

virDomainPtr hvDomainLookupByUUID(virConnectPtr conn, const unsigned char *uuid)
{
	struct hv_driver *driver = conn->privateData;
	virDomainObj *vm = virDomainObjListFindByUUID(driver->domains, uuid);
	char text[VIR_UUID_STRING_BUFLEN];
	virDomainPtr dom = NULL;

	if (!vm) {
		virUUIDFormat(uuid, text);
		virReportError(VIR_ERR_NO_DOMAIN, _("no domain with uuid %s"), text);
		return NULL;
	}
	if (virDomainLookupByUUIDEnsureACL(conn, vm->def) == 0)
		dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
	virDomainObjEndAPI(&vm);
	return dom;
}

virDomainPtr hvDomainLookupByName(virConnectPtr conn, const char *name)
{
	struct hv_driver *driver = conn->privateData;
	virDomainObj *vm = virDomainObjListFindByName(driver->domains, name);
	virDomainPtr dom = NULL;

	if (!vm) {
		virReportError(VIR_ERR_NO_DOMAIN, _("no domain with name '%s'"), name);
		return NULL;
	}
	if (virDomainLookupByNameEnsureACL(conn, vm->def) == 0)
		dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
	virDomainObjEndAPI(&vm);
	return dom;
}

/* ---- define, undefine ---- */

virDomainPtr hvDomainDefineXMLFlags(virConnectPtr conn, const char *xml, unsigned int flags)
{
	struct hv_driver *driver = conn->privateData;
	unsigned int parse = VIR_DOMAIN_DEF_PARSE_INACTIVE;
	g_autoptr(virDomainDef) def = NULL, old = NULL;
	virDomainObj *vm = NULL;
	virDomainPtr dom = NULL;

	virCheckFlags(VIR_DOMAIN_DEFINE_VALIDATE, NULL);
	if (flags & VIR_DOMAIN_DEFINE_VALIDATE)
		parse |= VIR_DOMAIN_DEF_PARSE_VALIDATE_SCHEMA;
	def = hv_domain_parse(driver, xml, parse);
	if (!def || virDomainDefineXMLFlagsEnsureACL(conn, def) < 0)
		return NULL;
	vm = virDomainObjListAdd(driver->domains, &def, driver->xmlopt, 0, &old);
	if (!vm)
		return NULL;
	vm->persistent = 1;
	if (hv_domain_save_config(vm) < 0) {
		/* As it was before. */
		if (old && !virDomainObjIsActive(vm)) {
			virDomainDefFree(vm->def);
			vm->def = g_steal_pointer(&old);
		} else if (!old && !virDomainObjIsActive(vm)) {
			vm->persistent = 0;
			virDomainObjListRemove(driver->domains, vm);
		}
		goto cleanup;
	}
	hv_domain_event_lifecycle(vm, VIR_DOMAIN_EVENT_DEFINED,
				  old ? VIR_DOMAIN_EVENT_DEFINED_UPDATED :
				  VIR_DOMAIN_EVENT_DEFINED_ADDED);
	dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
cleanup:
	virDomainObjEndAPI(&vm);
	return dom;
}

virDomainPtr hvDomainDefineXML(virConnectPtr conn, const char *xml)
{
	return hvDomainDefineXMLFlags(conn, xml, 0);
}

int hvDomainUndefineFlags(virDomainPtr dom, unsigned int flags)
{
	struct hv_driver *driver = dom->conn->privateData;
	virDomainObj *vm;
	int ret = -1;

	/* What these flags are about, no domain of ours has. */
	virCheckFlags(VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
		      VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM |
		      VIR_DOMAIN_UNDEFINE_KEEP_NVRAM, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainUndefineFlagsEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (!vm->persistent) {
		virReportError(VIR_ERR_OPERATION_INVALID, "%s",
			       _("a transient domain is not defined"));
		goto endjob;
	}
	if (virDomainDeleteConfig(driver->config_dir, driver->autostart_dir, vm) < 0)
		goto endjob;
	hv_domain_event_lifecycle(vm, VIR_DOMAIN_EVENT_UNDEFINED,
				  VIR_DOMAIN_EVENT_UNDEFINED_REMOVED);
	vm->persistent = 0;
	vm->autostart = 0;
	if (!virDomainObjIsActive(vm))
		virDomainObjListRemove(driver->domains, vm);
	ret = 0;
endjob:
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainUndefine(virDomainPtr dom)
{
	return hvDomainUndefineFlags(dom, 0);
}

/* ---- rename ---- */

/* With the list of domains locked: nothing here may wait. */
static int rename_callback(virDomainObj *vm, const char *name, unsigned int flags, void *opaque)
{
	struct hv_driver *driver = opaque;
	g_autofree char *old_file = virDomainConfigFile(driver->config_dir, vm->def->name);
	g_autofree char *old_link = virDomainConfigFile(driver->autostart_dir, vm->def->name);
	g_autofree char *file = virDomainConfigFile(driver->config_dir, name);
	g_autofree char *link = virDomainConfigFile(driver->autostart_dir, name);
	char *old = vm->def->name;

	(void)flags;
	if (vm->autostart && symlink(file, link) < 0) {
		virReportSystemError(errno, _("cannot make %s"), link);
		return -1;
	}
	vm->def->name = g_strdup(name);
	if (virDomainDefSave(vm->def, driver->xmlopt, driver->config_dir) < 0) {
		g_free(vm->def->name);
		vm->def->name = old;
		unlink(link);
		return -1;
	}
	unlink(old_link);
	unlink(old_file);
	hv_domain_event(driver, virDomainEventLifecycleNew(vm->def->id, old, vm->def->uuid,
							   VIR_DOMAIN_EVENT_UNDEFINED,
							   VIR_DOMAIN_EVENT_UNDEFINED_RENAMED));
	hv_domain_event_lifecycle(vm, VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_DEFINED_RENAMED);
	g_free(old);
	return 0;
}

int hvDomainRename(virDomainPtr dom, const char *name, unsigned int flags)
{
	struct hv_driver *driver = dom->conn->privateData;
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(0, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainRenameEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (virDomainObjIsActive(vm) || !vm->persistent)
		virReportError(VIR_ERR_OPERATION_INVALID, "%s",
			       _("only a defined domain that is off can be renamed"));
	else if (hv_domain_name_check(name) == 0)
		ret = virDomainObjListRename(driver->domains, vm, name, 0, rename_callback, driver);
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

/* ---- what it is ---- */

char *hvDomainGetXMLDesc(virDomainPtr dom, unsigned int flags)
{
	struct hv_driver *driver = dom->conn->privateData;
	virDomainObj *vm;
	char *xml = NULL;

	virCheckFlags(VIR_DOMAIN_XML_COMMON_FLAGS, NULL);
	vm = hv_domain_get(dom);
	if (!vm)
		return NULL;
	if (virDomainGetXMLDescEnsureACL(dom->conn, vm->def, flags) == 0)
		xml = virDomainDefFormat(
			flags & VIR_DOMAIN_XML_INACTIVE && vm->newDef ? vm->newDef : vm->def,
			driver->xmlopt, virDomainDefFormatConvertXMLFlags(flags));
	virDomainObjEndAPI(&vm);
	return xml;
}

char *hvDomainGetOSType(virDomainPtr dom)
{
	virDomainObj *vm = hv_domain_get(dom);
	char *type = NULL;

	if (!vm)
		return NULL;
	if (virDomainGetOSTypeEnsureACL(dom->conn, vm->def) == 0)
		type = g_strdup(virDomainOSTypeToString(vm->def->os.type));
	virDomainObjEndAPI(&vm);
	return type;
}

int hvDomainGetInfo(virDomainPtr dom, virDomainInfoPtr info)
{
	virDomainObj *vm = hv_domain_get(dom);
	struct hv_cpu_time t = { 0 };
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainGetInfoEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (virDomainObjIsActive(vm) && vm->pid > 0 && hv_stats_cpu(vm, &t) < 0)
		virResetLastError();		/* it is just ending */
	info->state = virDomainObjGetState(vm, NULL);
	info->cpuTime = t.total;
	info->maxMem = virDomainDefGetMemoryTotal(vm->def);
	info->memory = vm->def->mem.cur_balloon;
	info->nrVirtCpu = virDomainDefGetVcpus(vm->def);
	ret = 0;
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainGetState(virDomainPtr dom, int *state, int *reason, unsigned int flags)
{
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(0, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainGetStateEnsureACL(dom->conn, vm->def) == 0) {
		*state = virDomainObjGetState(vm, reason);
		ret = 0;
	}
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainGetControlInfo(virDomainPtr dom, virDomainControlInfoPtr info, unsigned int flags)
{
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(0, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainGetControlInfoEnsureACL(dom->conn, vm->def) < 0 ||
	    virDomainObjCheckActive(vm) < 0)
		goto cleanup;
	memset(info, 0, sizeof(*info));
	info->state = hv_domain(vm)->mon ? VIR_DOMAIN_CONTROL_OK : VIR_DOMAIN_CONTROL_ERROR;
	ret = 0;
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

unsigned long long hvDomainGetMaxMemory(virDomainPtr dom)
{
	virDomainObj *vm = hv_domain_get(dom);
	unsigned long long kib = 0;

	if (!vm)
		return 0;
	if (virDomainGetMaxMemoryEnsureACL(dom->conn, vm->def) == 0)
		kib = virDomainDefGetMemoryTotal(vm->def);
	virDomainObjEndAPI(&vm);
	return kib;
}

int hvDomainIsActive(virDomainPtr dom)
{
	virDomainObj *vm = hv_domain_get(dom);
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainIsActiveEnsureACL(dom->conn, vm->def) == 0)
		ret = virDomainObjIsActive(vm);
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainIsPersistent(virDomainPtr dom)
{
	virDomainObj *vm = hv_domain_get(dom);
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainIsPersistentEnsureACL(dom->conn, vm->def) == 0)
		ret = vm->persistent;
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainIsUpdated(virDomainPtr dom)
{
	virDomainObj *vm = hv_domain_get(dom);
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainIsUpdatedEnsureACL(dom->conn, vm->def) == 0)
		ret = vm->updated;
	virDomainObjEndAPI(&vm);
	return ret;
}

/* There is no managed save, so no image of one; dominfo asks. */
int hvDomainHasManagedSaveImage(virDomainPtr dom, unsigned int flags)
{
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(0, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainHasManagedSaveImageEnsureACL(dom->conn, vm->def) == 0)
		ret = vm->hasManagedSave;
	virDomainObjEndAPI(&vm);
	return ret;
}

static int messages_get(virDomainObj *vm, char ***msgs, unsigned int flags)
{
#if LIBVIR_VERSION_NUMBER >= 10000000
	GPtrArray *list = g_ptr_array_new();
	int n;

	virDomainObjGetMessages(vm, list, flags);
	n = list->len;
	g_ptr_array_add(list, NULL);
	*msgs = (char **)g_ptr_array_free(list, FALSE);
	return n;
#else
	return virDomainObjGetMessages(vm, msgs, flags);
#endif
}

int hvDomainGetMessages(virDomainPtr dom, char ***msgs, unsigned int flags)
{
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(VIR_DOMAIN_MESSAGE_DEPRECATION | VIR_DOMAIN_MESSAGE_TAINTING, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainGetMessagesEnsureACL(dom->conn, vm->def) == 0)
		ret = messages_get(vm, msgs, flags);
	virDomainObjEndAPI(&vm);
	return ret;
}

/* ---- autostart ---- */

int hvDomainGetAutostart(virDomainPtr dom, int *autostart)
{
	virDomainObj *vm = hv_domain_get(dom);
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainGetAutostartEnsureACL(dom->conn, vm->def) == 0) {
		*autostart = vm->autostart;
		ret = 0;
	}
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainSetAutostart(virDomainPtr dom, int autostart)
{
	struct hv_driver *driver = dom->conn->privateData;
	g_autofree char *file = NULL, *link = NULL;
	virDomainObj *vm = hv_domain_get(dom);
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainSetAutostartEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (!vm->persistent) {
		virReportError(VIR_ERR_OPERATION_INVALID, "%s",
			       _("a transient domain cannot be started with the host"));
		goto endjob;
	}
	file = virDomainConfigFile(driver->config_dir, vm->def->name);
	link = virDomainConfigFile(driver->autostart_dir, vm->def->name);
	if (!file || !link)
		goto endjob;
	if ((autostart ? symlink(file, link) : unlink(link)) < 0 &&
	    errno != (autostart ? EEXIST : ENOENT)) {
		virReportSystemError(errno, _("cannot change %s"), link);
		goto endjob;
	}
	vm->autostart = !!autostart;
	ret = 0;
endjob:
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

/* ---- metadata ---- */

char *hvDomainGetMetadata(virDomainPtr dom, int type, const char *uri, unsigned int flags)
{
	virDomainObj *vm = hv_domain_get(dom);
	char *text = NULL;

	if (!vm)
		return NULL;
	if (virDomainGetMetadataEnsureACL(dom->conn, vm->def) == 0)
		text = virDomainObjGetMetadata(vm, type, uri, flags);
	virDomainObjEndAPI(&vm);
	return text;
}

int hvDomainSetMetadata(virDomainPtr dom, int type, const char *metadata, const char *key,
			const char *uri, unsigned int flags)
{
	struct hv_driver *driver = dom->conn->privateData;
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
	if (type == VIR_DOMAIN_METADATA_ELEMENT && (!uri || !*uri)) {
		virReportError(VIR_ERR_INVALID_ARG, "%s", _("metadata needs the URI of a namespace"));
		return -1;
	}
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainSetMetadataEnsureACL(dom->conn, vm->def, flags) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	ret = virDomainObjSetMetadata(vm, type, metadata, key, uri, driver->xmlopt,
				      driver->state_dir, driver->config_dir, flags);
	if (ret == 0)
		hv_domain_event(driver, virDomainEventMetadataChangeNewFromObj(vm, type, uri));
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

/* ---- the vmm's configuration ---- */

char *hvConnectDomainXMLToNative(virConnectPtr conn, const char *format, const char *xml,
				 unsigned int flags)
{
	struct hv_driver *driver = conn->privateData;
	g_autoptr(virDomainDef) def = NULL;

	virCheckFlags(0, NULL);
	if (virConnectDomainXMLToNativeEnsureACL(conn) < 0)
		return NULL;
	if (STRNEQ(format, HV_NATIVE_FORMAT)) {
		virReportError(VIR_ERR_INVALID_ARG, _("format '%s' is not known; hv has '%s'"),
			       format, HV_NATIVE_FORMAT);
		return NULL;
	}
	def = hv_domain_parse(driver, xml, VIR_DOMAIN_DEF_PARSE_INACTIVE);
	return def ? hv_command_text(def) : NULL;
}

char *hvConnectDomainXMLFromNative(virConnectPtr conn, const char *format, const char *config,
				   unsigned int flags)
{
	struct hv_driver *driver = conn->privateData;
	g_autoptr(virDomainDef) def = NULL;
	g_autofree char *xml = NULL;

	virCheckFlags(0, NULL);
	if (virConnectDomainXMLFromNativeEnsureACL(conn) < 0)
		return NULL;
	if (STRNEQ(format, HV_NATIVE_FORMAT)) {
		virReportError(VIR_ERR_INVALID_ARG, _("format '%s' is not known; hv has '%s'"),
			       format, HV_NATIVE_FORMAT);
		return NULL;
	}
	xml = hv_command_xml(config);
	if (!xml)
		return NULL;
	def = hv_domain_parse(driver, xml, VIR_DOMAIN_DEF_PARSE_INACTIVE);
	return def ? virDomainDefFormat(def, driver->xmlopt, VIR_DOMAIN_DEF_FORMAT_INACTIVE) : NULL;
}
