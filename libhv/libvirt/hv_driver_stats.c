// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_driver_stats.c - methods that give figures of one domain (hv_driver.h).
 */
#include <config.h>

#include "hv_driver.h"

#include <json-c/json.h>

#include "datatypes.h"
#include "hv_domain.h"
#include "hv_interface.h"
#include "hv_stats.h"
#include "viraccessapicheck.h"
#include "vircgroup.h"
#include "virerror.h"
#include "virmacaddr.h"
#include "virtypedparam.h"

#define VIR_FROM_THIS HV_FROM

/* ---- disks ---- */

/* Of one disk, or of all together if @path is empty. */
static int block_stats_get(virDomainObj *vm, const char *path, struct hv_block_stats *sum)
{
	struct json_object *stats;
	struct hv_block_stats one;
	int disk = -1;
	size_t i;

	if (*path) {
		disk = hv_stats_disk_index(vm->def, path);
		if (disk < 0)
			return -1;
	}
	stats = hv_stats_get(vm);
	if (!stats)
		return -1;
	memset(sum, 0, sizeof(*sum));
	for (i = 0; i < vm->def->ndisks; i++) {
		if (disk >= 0 && i != (size_t)disk)
			continue;
		hv_stats_block(stats, i, &one);
		sum->reads += one.reads;
		sum->read_bytes += one.read_bytes;
		sum->writes += one.writes;
		sum->write_bytes += one.write_bytes;
		sum->flushes += one.flushes;
		sum->errors += one.errors;
	}
	json_object_put(stats);
	return 0;
}

int hvDomainBlockStats(virDomainPtr dom, const char *path, virDomainBlockStatsPtr out)
{
	virDomainObj *vm = hv_domain_get(dom);
	struct hv_block_stats s;
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainBlockStatsEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_QUERY) < 0)
		goto cleanup;
	if (virDomainObjCheckActive(vm) == 0 && block_stats_get(vm, path, &s) == 0) {
		out->rd_req = s.reads;
		out->rd_bytes = s.read_bytes;
		out->wr_req = s.writes;
		out->wr_bytes = s.write_bytes;
		out->errs = s.errors;
		ret = 0;
	}
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainBlockStatsFlags(virDomainPtr dom, const char *path, virTypedParameterPtr params,
			    int *nparams, unsigned int flags)
{
	virDomainObj *vm;
	struct hv_block_stats s;
	int ret = -1, n = 0;

	virCheckFlags(VIR_TYPED_PARAM_STRING_OKAY, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainBlockStatsFlagsEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (!*nparams) {
		*nparams = 6;
		ret = 0;
		goto cleanup;
	}
	if (virDomainObjBeginJob(vm, VIR_JOB_QUERY) < 0)
		goto cleanup;
	if (virDomainObjCheckActive(vm) < 0 || block_stats_get(vm, path, &s) < 0)
		goto endjob;
#define PARAM(name, value) \
	if (n < *nparams && virTypedParameterAssign(&params[n++], name, VIR_TYPED_PARAM_LLONG, \
						    (long long)(value)) < 0) \
		goto endjob
	PARAM(VIR_DOMAIN_BLOCK_STATS_READ_REQ, s.reads);
	PARAM(VIR_DOMAIN_BLOCK_STATS_READ_BYTES, s.read_bytes);
	PARAM(VIR_DOMAIN_BLOCK_STATS_WRITE_REQ, s.writes);
	PARAM(VIR_DOMAIN_BLOCK_STATS_WRITE_BYTES, s.write_bytes);
	PARAM(VIR_DOMAIN_BLOCK_STATS_FLUSH_REQ, s.flushes);
	PARAM(VIR_DOMAIN_BLOCK_STATS_ERRS, s.errors);
#undef PARAM
	*nparams = n;
	ret = 0;
endjob:
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainGetBlockInfo(virDomainPtr dom, const char *path, virDomainBlockInfoPtr info,
			 unsigned int flags)
{
	virDomainObj *vm;
	int disk, ret = -1;

	virCheckFlags(0, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainGetBlockInfoEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	disk = hv_stats_disk_index(vm->def, path);
	if (disk >= 0)
		ret = hv_stats_block_info(vm->def->disks[disk], info);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

/* ---- interfaces ---- */

int hvDomainInterfaceStats(virDomainPtr dom, const char *device, virDomainInterfaceStatsPtr out)
{
	virDomainObj *vm = hv_domain_get(dom);
	struct json_object *stats = NULL;
	int net, ret = -1;

	if (!vm)
		return -1;
	if (virDomainInterfaceStatsEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_QUERY) < 0)
		goto cleanup;
	if (virDomainObjCheckActive(vm) < 0)
		goto endjob;
	/* By name of the tap device, or by MAC address: user networking has no name. */
	net = hv_stats_interface_index(vm->def, device);
	if (net < 0)
		goto endjob;
	stats = hv_stats_get(vm);
	if (stats)
		ret = hv_stats_interface(vm, stats, net, out);
	json_object_put(stats);
endjob:
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

/* As hv_interface_network(), for functions of libvirt's that take the connection themselves. */
static int leases_get(virDomainDef *def, virDomainInterfacePtr **interfaces)
{
	virConnectPtr conn = hv_interface_network();
	int ret;

	if (!conn)
		return -1;
	virSetConnectNetwork(conn);
	ret = virDomainNetDHCPInterfaces(def, interfaces);
	virSetConnectNetwork(NULL);
	hv_interface_network_close(conn);
	return ret;
}

int hvDomainInterfaceAddresses(virDomainPtr dom, virDomainInterfacePtr **interfaces,
			       unsigned int source, unsigned int flags)
{
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(0, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainInterfaceAddressesEnsureACL(dom->conn, vm->def, source) < 0 ||
	    virDomainObjCheckActive(vm) < 0)
		goto cleanup;
	switch (source) {
	case VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE:
		ret = leases_get(vm->def, interfaces);
		break;
	case VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP:
		ret = virDomainNetARPInterfaces(vm->def, interfaces);
		break;
	default:
		virReportError(
			VIR_ERR_ARGUMENT_UNSUPPORTED, "%s",
			_("hv has addresses from 'lease' and 'arp'; there is no guest agent"));
	}
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

/* The name that the guest gave when it asked for an address of that interface. */
static char *lease_hostname(virConnectPtr conn, const virDomainNetDef *net)
{
	char mac[VIR_MAC_STRING_BUFLEN];
	virNetworkDHCPLeasePtr *leases = NULL;
	g_autoptr(virNetwork) network = NULL;
	char *name = NULL;
	int i, n;

	network = virNetworkLookupByName(conn, net->data.network.name);
	if (!network)
		return NULL;
	n = virNetworkGetDHCPLeases(network, virMacAddrFormat(&net->mac, mac), &leases, 0);
	for (i = 0; i < n; i++) {
		if (leases[i]->hostname && !name)
			name = g_strdup(leases[i]->hostname);
		virNetworkDHCPLeaseFree(leases[i]);
	}
	g_free(leases);
	return name;
}

char *hvDomainGetHostname(virDomainPtr dom, unsigned int flags)
{
	g_autoptr(virConnect) conn = NULL;
	virDomainObj *vm;
	char *name = NULL;
	size_t i;

	virCheckFlags(VIR_DOMAIN_GET_HOSTNAME_LEASE | VIR_DOMAIN_GET_HOSTNAME_AGENT, NULL);
	vm = hv_domain_get(dom);
	if (!vm)
		return NULL;
	if (virDomainGetHostnameEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (flags != VIR_DOMAIN_GET_HOSTNAME_LEASE) {
		virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED, "%s",
			       _("hv has a guest's name from 'lease'; there is no guest agent"));
		goto cleanup;
	}
	if (virDomainObjCheckActive(vm) < 0)
		goto cleanup;
	conn = hv_interface_network();
	for (i = 0; conn && !name && i < vm->def->nnets; i++)
		if (vm->def->nets[i]->type == VIR_DOMAIN_NET_TYPE_NETWORK)
			name = lease_hostname(conn, vm->def->nets[i]);
	if (!name && conn)
		virReportError(VIR_ERR_NO_HOSTNAME,
			       _("no network has a lease with a name for '%s'"), vm->def->name);
cleanup:
	virDomainObjEndAPI(&vm);
	return name;
}

/* ---- memory, CPU time ---- */

int hvDomainMemoryStats(virDomainPtr dom, virDomainMemoryStatPtr stats, unsigned int nr,
			unsigned int flags)
{
	unsigned long long rss;
	virDomainObj *vm;
	unsigned int n = 0;
	int ret = -1;

	virCheckFlags(0, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainMemoryStatsEnsureACL(dom->conn, vm->def) < 0 ||
	    virDomainObjCheckActive(vm) < 0)
		goto cleanup;
	if (n < nr) {
		stats[n].tag = VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON;
		stats[n++].val = vm->def->mem.cur_balloon;
	}
	if (n < nr && hv_stats_memory_rss(vm, &rss) == 0) {
		stats[n].tag = VIR_DOMAIN_MEMORY_STAT_RSS;
		stats[n++].val = rss;
	}
	ret = n;
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

/* Of the whole guest; what there is by CPU of the host only cgroup v1 knows. */
static int cpu_total(virDomainObj *vm, virTypedParameterPtr params, unsigned int nparams)
{
	struct hv_cpu_time t;
	unsigned int n = 0;

	if (!nparams)
		return 3;
	if (hv_stats_cpu(vm, &t) < 0)
		return -1;
#define PARAM(name, value) \
	if (n < nparams && virTypedParameterAssign(&params[n++], name, VIR_TYPED_PARAM_ULLONG, \
						   value) < 0) \
		return -1
	PARAM(VIR_DOMAIN_CPU_STATS_CPUTIME, t.total);
	PARAM(VIR_DOMAIN_CPU_STATS_USERTIME, t.user);
	PARAM(VIR_DOMAIN_CPU_STATS_SYSTEMTIME, t.system);
#undef PARAM
	return n;
}

int hvDomainGetCPUStats(virDomainPtr dom, virTypedParameterPtr params, unsigned int nparams,
			int start_cpu, unsigned int ncpus, unsigned int flags)
{
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(VIR_TYPED_PARAM_STRING_OKAY, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainGetCPUStatsEnsureACL(dom->conn, vm->def) < 0 ||
	    virDomainObjCheckActive(vm) < 0)
		goto cleanup;
	if (start_cpu == -1)
		ret = cpu_total(vm, params, nparams);
	else if (hv_domain(vm)->cgroup &&
		 virCgroupHasController(hv_domain(vm)->cgroup, VIR_CGROUP_CONTROLLER_CPUACCT))
		ret = virCgroupGetPercpuStats(hv_domain(vm)->cgroup, params, nparams, start_cpu,
					      ncpus, NULL);
	else
		virReportError(VIR_ERR_OPERATION_UNSUPPORTED, "%s",
			       _("this host does not count CPU time by CPU (cgroup v1 does)"));
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}
