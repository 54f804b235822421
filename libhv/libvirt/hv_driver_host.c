// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_driver_host.c - methods about the host (hv_driver.h).  libvirt has them all;
 * here is only whose right it is to ask.
 */
#include <config.h>

#include "hv_driver.h"

#include "datatypes.h"
#include "hv_domain.h"
#include "viraccessapicheck.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virhostcpu.h"
#include "virhostmem.h"
#include "virsysinfo.h"

#define VIR_FROM_THIS HV_FROM

int hvNodeGetInfo(virConnectPtr conn, virNodeInfoPtr info)
{
	if (virNodeGetInfoEnsureACL(conn) < 0)
		return -1;
	return virCapabilitiesGetNodeInfo(info);
}

int hvNodeGetCPUMap(virConnectPtr conn, unsigned char **map, unsigned int *online,
			   unsigned int flags)
{
	if (virNodeGetCPUMapEnsureACL(conn) < 0)
		return -1;
	return virHostCPUGetMap(map, online, flags);
}

int hvNodeGetCPUStats(virConnectPtr conn, int cpu, virNodeCPUStatsPtr params, int *nparams,
			     unsigned int flags)
{
	if (virNodeGetCPUStatsEnsureACL(conn) < 0)
		return -1;
	return virHostCPUGetStats(cpu, params, nparams, flags);
}

int hvNodeGetMemoryStats(virConnectPtr conn, int cell, virNodeMemoryStatsPtr params,
				int *nparams, unsigned int flags)
{
	if (virNodeGetMemoryStatsEnsureACL(conn) < 0)
		return -1;
	return virHostMemGetStats(cell, params, nparams, flags);
}

unsigned long long hvNodeGetFreeMemory(virConnectPtr conn)
{
	unsigned long long free;

	if (virNodeGetFreeMemoryEnsureACL(conn) < 0 || virHostMemGetInfo(NULL, &free) < 0)
		return 0;
	return free;
}

int hvNodeGetCellsFreeMemory(virConnectPtr conn, unsigned long long *free, int first,
				    int max)
{
	if (virNodeGetCellsFreeMemoryEnsureACL(conn) < 0)
		return -1;
	return virHostMemGetCellsFree(free, first, max);
}

int hvNodeGetMemoryParameters(virConnectPtr conn, virTypedParameterPtr params, int *nparams,
				     unsigned int flags)
{
	if (virNodeGetMemoryParametersEnsureACL(conn) < 0)
		return -1;
	return virHostMemGetParameters(params, nparams, flags);
}

int hvNodeSetMemoryParameters(virConnectPtr conn, virTypedParameterPtr params, int nparams,
			      unsigned int flags)
{
	if (virNodeSetMemoryParametersEnsureACL(conn) < 0)
		return -1;
	return virHostMemSetParameters(params, nparams, flags);
}

int hvNodeGetFreePages(virConnectPtr conn, unsigned int npages, unsigned int *sizes, int first,
		       unsigned int cells, unsigned long long *counts, unsigned int flags)
{
	struct hv_driver *driver = conn->privateData;

	virCheckFlags(0, -1);
	if (virNodeGetFreePagesEnsureACL(conn) < 0)
		return -1;
	return virHostMemGetFreePages(npages, sizes, first, cells,
				      virCapabilitiesHostNUMAGetMaxNode(driver->caps->host.numa),
				      counts);
}

int hvNodeAllocPages(virConnectPtr conn, unsigned int npages, unsigned int *sizes,
		     unsigned long long *counts, int first, unsigned int cells, unsigned int flags)
{
	struct hv_driver *driver = conn->privateData;

	virCheckFlags(VIR_NODE_ALLOC_PAGES_SET, -1);
	if (virNodeAllocPagesEnsureACL(conn) < 0)
		return -1;
	return virHostMemAllocPages(npages, sizes, counts, first, cells,
				    virCapabilitiesHostNUMAGetMaxNode(driver->caps->host.numa),
				    !(flags & VIR_NODE_ALLOC_PAGES_SET));
}

int hvNodeGetSecurityModel(virConnectPtr conn, virSecurityModelPtr model)
{
	if (virNodeGetSecurityModelEnsureACL(conn) < 0)
		return -1;
	memset(model, 0, sizeof(*model));	/* none */
	return 0;
}

/* What the host's firmware says of it, as dmidecode(8) reads it. */
char *hvConnectGetSysinfo(virConnectPtr conn, unsigned int flags)
{
	g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
	g_autoptr(virSysinfoDef) info = NULL;

	virCheckFlags(0, NULL);
	if (virConnectGetSysinfoEnsureACL(conn) < 0)
		return NULL;
	info = virSysinfoRead();
	if (!info) {
		virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
			       _("this host has no SMBIOS information, or no dmidecode"));
		return NULL;
	}
	if (virSysinfoFormat(&buf, info) < 0)
		return NULL;
	return virBufferContentAndReset(&buf);
}

/*
 * No guest has a label.  They are here because a client of a daemon without the second
 * one is told of an error without a word.
 */
int hvDomainGetSecurityLabel(virDomainPtr dom, virSecurityLabelPtr label)
{
	virDomainObj *vm = hv_domain_get(dom);
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainGetSecurityLabelEnsureACL(dom->conn, vm->def) == 0) {
		memset(label, 0, sizeof(*label));
		ret = 0;
	}
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainGetSecurityLabelList(virDomainPtr dom, virSecurityLabelPtr *labels)
{
	virDomainObj *vm = hv_domain_get(dom);
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainGetSecurityLabelListEnsureACL(dom->conn, vm->def) == 0) {
		*labels = NULL;
		ret = 0;
	}
	virDomainObjEndAPI(&vm);
	return ret;
}
