// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_driver.c - the driver as libvirt sees it: its start and end, its connections,
 * lists of domains, and the table of its methods (hv_driver.h).
 */
#include <config.h>

#include "hv_driver.h"

#include "datatypes.h"
#include "domain_event.h"
#include "hv_capabilities.h"
#include "hv_conf.h"
#include "hv_domain.h"
#include "hv_monitor.h"
#include "hv_process.h"
#include "hv_stats.h"
#include "viraccessapicheck.h"
#include "virclosecallbacks.h"
#include "virerror.h"
#include "virlog.h"
#include "virutil.h"

#include <json-c/json.h>

#define VIR_FROM_THIS HV_FROM

VIR_LOG_INIT("hv.hv_driver");

/* ---- the driver's life ---- */

static int hvStateCleanup(void)
{
	if (!hv_driver)
		return -1;
	/* The guests go on. */
	virDomainObjListForEach(hv_driver->domains, false, hv_process_forget, NULL);
	hv_monitor_drain();
	g_clear_pointer(&hv_driver, hv_conf_free);
	return 0;
}

static int autostart_one(virDomainObj *vm, void *opaque)
{
	(void)opaque;
	virObjectRef(vm);
	virObjectLock(vm);
	if (vm->autostart && !virDomainObjIsActive(vm) &&
	    virDomainObjBeginJob(vm, VIR_JOB_MODIFY) == 0) {
		if (hv_process_start(vm, NULL) < 0)
			VIR_ERROR(_("cannot autostart '%s': %s"), vm->def->name,
				  virGetLastErrorMessage());
		virDomainObjEndJob(vm);
	}
	virDomainObjEndAPI(&vm);
	return 0;
}

/* Once a boot of the host, whatever happens to the daemon. */
static void autostart_all(struct hv_driver *driver)
{
	bool now = true;

	if (!driver->root && virDriverShouldAutostart(driver->state_dir, &now) < 0)
		return;
	if (now)
		virDomainObjListForEach(driver->domains, false, autostart_one, NULL);
}

static virDrvStateInitResult hvStateInitialize(bool privileged, const char *root, bool monolithic,
					       virStateInhibitCallback callback, void *opaque)
{
	struct hv_driver *driver;

	(void)monolithic;
	if (hv_driver) {
		virReportError(VIR_ERR_INVALID_ARG, "%s", _("there is one hv driver in a process"));
		return VIR_DRV_STATE_INIT_ERROR;
	}
	driver = hv_conf_new(privileged, root);
	if (!driver)
		return VIR_DRV_STATE_INIT_ERROR;
	driver->inhibit = callback;
	driver->inhibit_opaque = opaque;
	hv_driver = driver;
	driver->caps = hv_capabilities_new(driver);
	driver->xmlopt = hv_domain_xmlopt_new(driver);
	if (!driver->caps || !driver->xmlopt)
		goto error;
	if (virDomainObjListLoadAllConfigs(driver->domains, driver->state_dir, NULL, true,
					   driver->xmlopt, NULL, NULL) < 0 ||
	    virDomainObjListLoadAllConfigs(driver->domains, driver->config_dir,
					   driver->autostart_dir, false, driver->xmlopt, NULL,
					   NULL) < 0)
		goto error;
	/* Not before it is known which are persistent: one whose guest has ended stays then. */
	if (virDomainObjListForEach(driver->domains, false, hv_process_reconnect, driver) < 0)
		goto error;
	autostart_all(driver);
	return VIR_DRV_STATE_INIT_COMPLETE;
error:
	hvStateCleanup();
	return VIR_DRV_STATE_INIT_ERROR;
}

/* SIGHUP: configurations that were put there by hand. */
static int hvStateReload(void)
{
	if (!hv_driver)
		return 0;
	return virDomainObjListLoadAllConfigs(hv_driver->domains, hv_driver->config_dir,
					      hv_driver->autostart_dir, false, hv_driver->xmlopt,
					      NULL, NULL);
}

/* ---- connections ---- */

static int hvConnectURIProbe(char **uri)
{
	if (!hv_driver)
		return 0;
	*uri = g_strdup(hv_driver->privileged ? "hv:///system" : "hv:///session");
	return 1;
}

static virDrvOpenStatus hvConnectOpen(virConnectPtr conn, virConnectAuthPtr auth, virConf *conf,
				      unsigned int flags)
{
	const char *root;

	virCheckFlags(VIR_CONNECT_RO, VIR_DRV_OPEN_ERROR);
	(void)auth;
	(void)conf;
	if (!hv_driver) {
		virReportError(VIR_ERR_INTERNAL_ERROR, "%s", _("the hv driver is not active"));
		return VIR_DRV_OPEN_ERROR;
	}
	if (hv_driver->root) {
		root = virURIGetParam(conn->uri, "root");
		if (STRNEQ(conn->uri->path, "/embed") || !root || STRNEQ(root, hv_driver->root)) {
			virReportError(VIR_ERR_INVALID_ARG,
				       _("this process has hv:///embed?root=%s"), hv_driver->root);
			return VIR_DRV_OPEN_ERROR;
		}
	} else if (!virConnectValidateURIPath(conn->uri->path, HV_DRIVER_NAME,
					      hv_driver->privileged)) {
		return VIR_DRV_OPEN_ERROR;
	}
	if (virConnectOpenEnsureACL(conn) < 0)
		return VIR_DRV_OPEN_ERROR;
	conn->privateData = hv_driver;
	return VIR_DRV_OPEN_SUCCESS;
}

static int hvConnectClose(virConnectPtr conn)
{
	struct hv_driver *driver = conn->privateData;

	virCloseCallbacksDomainRunForConn(driver->domains, conn);
	conn->privateData = NULL;
	return 0;
}

static int hvConnectSupportsFeature(virConnectPtr conn, int feature)
{
	int supported;

	if (virConnectSupportsFeatureEnsureACL(conn) < 0)
		return -1;
	/* None of the features that drivers differ in: all are about migration. */
	return virDriverFeatureIsGlobal(feature, &supported) ? supported : 0;
}

static const char *hvConnectGetType(virConnectPtr conn)
{
	if (virConnectGetTypeEnsureACL(conn) < 0)
		return NULL;
	return "HV";
}

static int hvConnectGetVersion(virConnectPtr conn, unsigned long *version)
{
	if (virConnectGetVersionEnsureACL(conn) < 0)
		return -1;
	return hv_conf_vmm_version(conn->privateData, version);
}

static char *hvConnectGetHostname(virConnectPtr conn)
{
	if (virConnectGetHostnameEnsureACL(conn) < 0)
		return NULL;
	return virGetHostname();
}

static int hvConnectGetMaxVcpus(virConnectPtr conn, const char *type)
{
	if (virConnectGetMaxVcpusEnsureACL(conn) < 0)
		return -1;
	if (type && STRCASENEQ(type, "kvm") && STRCASENEQ(type, "hv")) {
		virReportError(VIR_ERR_INVALID_ARG, _("unknown type '%s'"), type);
		return -1;
	}
	return HV_VCPUS_MAX;
}

static int hvConnectIsEncrypted(virConnectPtr conn)
{
	(void)conn;
	return 0;
}

static int hvConnectIsSecure(virConnectPtr conn)
{
	(void)conn;
	return 1;	/* within the process; the daemon answers for its transport */
}

static int hvConnectIsAlive(virConnectPtr conn)
{
	(void)conn;
	return 1;
}

static char *hvConnectGetCapabilities(virConnectPtr conn)
{
	struct hv_driver *driver = conn->privateData;

	if (virConnectGetCapabilitiesEnsureACL(conn) < 0)
		return NULL;
	return virCapabilitiesFormatXML(driver->caps);
}

static char *hvConnectGetDomainCapabilities(virConnectPtr conn, const char *emulator,
					    const char *arch, const char *machine,
					    const char *virttype, unsigned int flags)
{
	virCheckFlags(0, NULL);
	if (virConnectGetDomainCapabilitiesEnsureACL(conn) < 0)
		return NULL;
	return hv_capabilities_domain(conn->privateData, emulator, arch, machine, virttype);
}

/* ---- events ---- */

static int hvConnectDomainEventRegister(virConnectPtr conn, virConnectDomainEventCallback callback,
					void *opaque, virFreeCallback freecb)
{
	struct hv_driver *driver = conn->privateData;

	if (virConnectDomainEventRegisterEnsureACL(conn) < 0)
		return -1;
	return virDomainEventStateRegister(conn, driver->events, callback, opaque, freecb) < 0 ?
	       -1 : 0;
}

static int hvConnectDomainEventDeregister(virConnectPtr conn,
					  virConnectDomainEventCallback callback)
{
	struct hv_driver *driver = conn->privateData;

	if (virConnectDomainEventDeregisterEnsureACL(conn) < 0)
		return -1;
	return virDomainEventStateDeregister(conn, driver->events, callback) < 0 ? -1 : 0;
}

static int hvConnectDomainEventRegisterAny(virConnectPtr conn, virDomainPtr dom, int id,
					   virConnectDomainEventGenericCallback callback,
					   void *opaque, virFreeCallback freecb)
{
	struct hv_driver *driver = conn->privateData;
	int ret;

	if (virConnectDomainEventRegisterAnyEnsureACL(conn) < 0)
		return -1;
	if (virDomainEventStateRegisterID(conn, driver->events, dom, id, callback, opaque, freecb,
					  &ret) < 0)
		return -1;
	return ret;
}

static int hvConnectDomainEventDeregisterAny(virConnectPtr conn, int callback_id)
{
	struct hv_driver *driver = conn->privateData;

	if (virConnectDomainEventDeregisterAnyEnsureACL(conn) < 0)
		return -1;
	return virObjectEventStateDeregisterID(conn, driver->events, callback_id, true) < 0 ? -1 :
											      0;
}

/* ---- lists of domains ---- */

static int hvConnectNumOfDomains(virConnectPtr conn)
{
	struct hv_driver *driver = conn->privateData;

	if (virConnectNumOfDomainsEnsureACL(conn) < 0)
		return -1;
	return virDomainObjListNumOfDomains(driver->domains, true, virConnectNumOfDomainsCheckACL,
					    conn);
}

static int hvConnectListDomains(virConnectPtr conn, int *ids, int max)
{
	struct hv_driver *driver = conn->privateData;

	if (virConnectListDomainsEnsureACL(conn) < 0)
		return -1;
	return virDomainObjListGetActiveIDs(driver->domains, ids, max,
					    virConnectListDomainsCheckACL, conn);
}

static int hvConnectNumOfDefinedDomains(virConnectPtr conn)
{
	struct hv_driver *driver = conn->privateData;

	if (virConnectNumOfDefinedDomainsEnsureACL(conn) < 0)
		return -1;
	return virDomainObjListNumOfDomains(driver->domains, false,
					    virConnectNumOfDefinedDomainsCheckACL, conn);
}

static int hvConnectListDefinedDomains(virConnectPtr conn, char **const names, int max)
{
	struct hv_driver *driver = conn->privateData;

	if (virConnectListDefinedDomainsEnsureACL(conn) < 0)
		return -1;
	memset(names, 0, sizeof(*names) * max);
	return virDomainObjListGetInactiveNames(driver->domains, names, max,
						virConnectListDefinedDomainsCheckACL, conn);
}

static int hvConnectListAllDomains(virConnectPtr conn, virDomainPtr **domains, unsigned int flags)
{
	struct hv_driver *driver = conn->privateData;

	virCheckFlags(VIR_CONNECT_LIST_DOMAINS_FILTERS_ALL, -1);
	if (virConnectListAllDomainsEnsureACL(conn) < 0)
		return -1;
	return virDomainObjListExport(driver->domains, conn, domains,
				      virConnectListAllDomainsCheckACL, flags);
}

/* One domain's record; NULL with an error set. */
static virDomainStatsRecordPtr stats_record_get(virConnectPtr conn, virDomainObj *vm,
						unsigned int wanted, bool nowait)
{
	virDomainStatsRecordPtr record = g_new0(virDomainStatsRecord, 1);
	struct json_object *stats = NULL;
	bool job = false;

	virObjectLock(vm);
	if (virDomainObjIsActive(vm) &&
	    wanted & (VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK))
		job = (nowait ? virDomainObjBeginJobNowait(vm, VIR_JOB_QUERY) :
		       virDomainObjBeginJob(vm, VIR_JOB_QUERY)) == 0;
	if (job)
		stats = hv_stats_get(vm);
	/* A vmm that is busy or just ends spoils nobody's list: it has less to tell. */
	virResetLastError();
	record->dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
	if (!record->dom ||
	    hv_stats_record(vm, stats, wanted, &record->params, &record->nparams) < 0) {
		virTypedParamsFree(record->params, record->nparams);
		virObjectUnref(record->dom);
		g_clear_pointer(&record, g_free);
	}
	json_object_put(stats);
	if (job)
		virDomainObjEndJob(vm);
	virObjectUnlock(vm);
	return record;
}

static int hvConnectGetAllDomainStats(virConnectPtr conn, virDomainPtr *doms, unsigned int ndoms,
				      unsigned int wanted, virDomainStatsRecordPtr **records,
				      unsigned int flags)
{
	struct hv_driver *driver = conn->privateData;
	const unsigned int filters = flags & VIR_CONNECT_LIST_DOMAINS_FILTERS_ALL;
	virDomainStatsRecordPtr *list;
	virDomainObj **vms = NULL;
	size_t nvms, i;
	int n = 0;

	virCheckFlags(VIR_CONNECT_LIST_DOMAINS_FILTERS_ALL |
		      VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS |
		      VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING |
		      VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT, -1);
	if (virConnectGetAllDomainStatsEnsureACL(conn) < 0)
		return -1;
	if (!wanted)
		wanted = HV_STATS_ALL;
	if (flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS && wanted & ~HV_STATS_ALL) {
		virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED,
			       _("statistics 0x%x are not supported by hv"),
			       wanted & ~HV_STATS_ALL);
		return -1;
	}
	if (ndoms) {
		if (virDomainObjListConvert(driver->domains, conn, doms, ndoms, &vms, &nvms,
					    virConnectGetAllDomainStatsCheckACL, filters, true) < 0)
			return -1;
	} else {
		virDomainObjListCollect(driver->domains, conn, &vms, &nvms,
					virConnectGetAllDomainStatsCheckACL, filters);
	}
	list = g_new0(virDomainStatsRecordPtr, nvms + 1);
	for (i = 0; i < nvms; i++) {
		list[n] = stats_record_get(conn, vms[i], wanted,
					   flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
		if (!list[n])
			break;
		n++;
	}
	if (i < nvms) {
		virDomainStatsRecordListFree(list);
		n = -1;
	} else {
		*records = list;
	}
	virObjectListFreeCount(vms, nvms);
	return n;
}

/* ---- the tables ---- */

static virHypervisorDriver hvHypervisorDriver = {
	.name = "HV",
	.connectURIProbe = hvConnectURIProbe,
	.connectOpen = hvConnectOpen,
	.connectClose = hvConnectClose,
	.connectSupportsFeature = hvConnectSupportsFeature,
	.connectGetType = hvConnectGetType,
	.connectGetVersion = hvConnectGetVersion,
	.connectGetHostname = hvConnectGetHostname,
	.connectGetMaxVcpus = hvConnectGetMaxVcpus,
	.connectGetCapabilities = hvConnectGetCapabilities,
	.connectGetDomainCapabilities = hvConnectGetDomainCapabilities,
	.connectIsEncrypted = hvConnectIsEncrypted,
	.connectIsSecure = hvConnectIsSecure,
	.connectIsAlive = hvConnectIsAlive,
	.connectDomainXMLToNative = hvConnectDomainXMLToNative,
	.connectDomainXMLFromNative = hvConnectDomainXMLFromNative,
	.connectDomainEventRegister = hvConnectDomainEventRegister,
	.connectDomainEventDeregister = hvConnectDomainEventDeregister,
	.connectDomainEventRegisterAny = hvConnectDomainEventRegisterAny,
	.connectDomainEventDeregisterAny = hvConnectDomainEventDeregisterAny,
	.connectListDomains = hvConnectListDomains,
	.connectNumOfDomains = hvConnectNumOfDomains,
	.connectListAllDomains = hvConnectListAllDomains,
	.connectListDefinedDomains = hvConnectListDefinedDomains,
	.connectNumOfDefinedDomains = hvConnectNumOfDefinedDomains,
	.connectGetAllDomainStats = hvConnectGetAllDomainStats,
	.nodeGetInfo = hvNodeGetInfo,
	.nodeGetCPUMap = hvNodeGetCPUMap,
	.nodeGetCPUStats = hvNodeGetCPUStats,
	.nodeGetMemoryStats = hvNodeGetMemoryStats,
	.nodeGetFreeMemory = hvNodeGetFreeMemory,
	.nodeGetCellsFreeMemory = hvNodeGetCellsFreeMemory,
	.nodeGetMemoryParameters = hvNodeGetMemoryParameters,
	.nodeSetMemoryParameters = hvNodeSetMemoryParameters,
	.nodeGetFreePages = hvNodeGetFreePages,
	.nodeAllocPages = hvNodeAllocPages,
	.nodeGetSecurityModel = hvNodeGetSecurityModel,
	.connectGetSysinfo = hvConnectGetSysinfo,
	.domainLookupByID = hvDomainLookupByID,
	.domainLookupByUUID = hvDomainLookupByUUID,
	.domainLookupByName = hvDomainLookupByName,
	.domainDefineXML = hvDomainDefineXML,
	.domainDefineXMLFlags = hvDomainDefineXMLFlags,
	.domainRename = hvDomainRename,
	.domainUndefine = hvDomainUndefine,
	.domainUndefineFlags = hvDomainUndefineFlags,
	.domainGetXMLDesc = hvDomainGetXMLDesc,
	.domainGetOSType = hvDomainGetOSType,
	.domainGetInfo = hvDomainGetInfo,
	.domainGetState = hvDomainGetState,
	.domainGetControlInfo = hvDomainGetControlInfo,
	.domainGetMaxMemory = hvDomainGetMaxMemory,
	.domainIsActive = hvDomainIsActive,
	.domainIsPersistent = hvDomainIsPersistent,
	.domainIsUpdated = hvDomainIsUpdated,
	.domainHasManagedSaveImage = hvDomainHasManagedSaveImage,
	.domainGetMessages = hvDomainGetMessages,
	.domainGetAutostart = hvDomainGetAutostart,
	.domainSetAutostart = hvDomainSetAutostart,
	.domainGetMetadata = hvDomainGetMetadata,
	.domainSetMetadata = hvDomainSetMetadata,
	.domainCreateXML = hvDomainCreateXML,
	.domainCreate = hvDomainCreate,
	.domainCreateWithFlags = hvDomainCreateWithFlags,
	.domainSuspend = hvDomainSuspend,
	.domainResume = hvDomainResume,
	.domainShutdown = hvDomainShutdown,
	.domainShutdownFlags = hvDomainShutdownFlags,
	.domainReboot = hvDomainReboot,
	.domainReset = hvDomainReset,
	.domainDestroy = hvDomainDestroy,
	.domainDestroyFlags = hvDomainDestroyFlags,
	.domainOpenConsole = hvDomainOpenConsole,
	.domainGetVcpus = hvDomainGetVcpus,
	.domainGetVcpusFlags = hvDomainGetVcpusFlags,
	.domainGetMaxVcpus = hvDomainGetMaxVcpus,
	.domainPinVcpu = hvDomainPinVcpu,
	.domainPinVcpuFlags = hvDomainPinVcpuFlags,
	.domainGetVcpuPinInfo = hvDomainGetVcpuPinInfo,
	.domainPinEmulator = hvDomainPinEmulator,
	.domainGetEmulatorPinInfo = hvDomainGetEmulatorPinInfo,
	.domainGetSchedulerType = hvDomainGetSchedulerType,
	.domainGetSchedulerParameters = hvDomainGetSchedulerParameters,
	.domainGetSchedulerParametersFlags = hvDomainGetSchedulerParametersFlags,
	.domainSetSchedulerParameters = hvDomainSetSchedulerParameters,
	.domainSetSchedulerParametersFlags = hvDomainSetSchedulerParametersFlags,
	.domainGetMemoryParameters = hvDomainGetMemoryParameters,
	.domainSetMemoryParameters = hvDomainSetMemoryParameters,
	.domainBlockStats = hvDomainBlockStats,
	.domainBlockStatsFlags = hvDomainBlockStatsFlags,
	.domainInterfaceStats = hvDomainInterfaceStats,
	.domainMemoryStats = hvDomainMemoryStats,
	.domainGetBlockInfo = hvDomainGetBlockInfo,
	.domainGetCPUStats = hvDomainGetCPUStats,
	.domainInterfaceAddresses = hvDomainInterfaceAddresses,
	.domainGetHostname = hvDomainGetHostname,
	.domainGetSecurityLabel = hvDomainGetSecurityLabel,
	.domainGetSecurityLabelList = hvDomainGetSecurityLabelList,
};

static virConnectDriver hvConnectDriver = {
	.localOnly = true,
	.uriSchemes = (const char *[]){ HV_DRIVER_NAME, NULL },
	.embeddable = true,
	.hypervisorDriver = &hvHypervisorDriver,
};

static virStateDriver hvStateDriver = {
	.name = "HV",
	.stateInitialize = hvStateInitialize,
	.stateCleanup = hvStateCleanup,
	.stateReload = hvStateReload,
};

int hvRegister(void)
{
	if (virRegisterConnectDriver(&hvConnectDriver, false) < 0)
		return -1;
	return virRegisterStateDriver(&hvStateDriver);
}
