// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_tune.c - where and how much the threads of a vmm run (hv_tune.h).
 */
#include <config.h>

#include "hv_tune.h"

#include "domain_cgroup.h"
#include "domain_driver.h"
#include "virerror.h"
#include "virlog.h"
#include "virprocess.h"

#define VIR_FROM_THIS HV_FROM

VIR_LOG_INIT("hv.hv_tune");

/* All controllers that the host has. */
#define ALL_CONTROLLERS	(-1)

static int controller_missing(void)
{
	virReportError(
		VIR_ERR_CONFIG_UNSUPPORTED, "%s",
		_("limits of CPU time need the cgroup controller 'cpu', which this host does "
		  "not give"));
	return -1;
}

static bool has_cpu(struct hv_domain *domain)
{
	return domain->cgroup && virCgroupHasController(domain->cgroup, VIR_CGROUP_CONTROLLER_CPU);
}

static int bandwidth_set(virDomainObj *vm, virCgroupThreadName name, int id,
			 unsigned long long period, long long quota)
{
	struct hv_domain *domain = hv_domain(vm);
	g_autoptr(virCgroup) cgroup = NULL;

	if (!period && !quota)
		return 0;
	if (!has_cpu(domain))
		return controller_missing();
	if (virCgroupNewThread(domain->cgroup, name, id, false, &cgroup) < 0)
		return -1;
	return virDomainCgroupSetupVcpuBW(cgroup, period, quota);
}

/* A thread into a cgroup of its own. */
static int thread_place(virDomainObj *vm, pid_t tid, virCgroupThreadName name, int id)
{
	struct hv_domain *domain = hv_domain(vm);
	g_autoptr(virCgroup) cgroup = NULL;

	if (!has_cpu(domain) &&
	    !(domain->cgroup &&
	      virCgroupHasController(domain->cgroup, VIR_CGROUP_CONTROLLER_CPUSET)))
		return 0;
	if (virCgroupNewThread(domain->cgroup, name, id, true, &cgroup) < 0)
		return -1;
	return virCgroupAddThread(cgroup, tid);
}

static int thread_pin(virDomainObj *vm, pid_t tid, virCgroupThreadName name, int id,
		      virBitmap *cpus)
{
	struct hv_domain *domain = hv_domain(vm);
	g_autoptr(virCgroup) cgroup = NULL;

	if (domain->cgroup &&
	    virCgroupHasController(domain->cgroup, VIR_CGROUP_CONTROLLER_CPUSET)) {
		if (virCgroupNewThread(domain->cgroup, name, id, false, &cgroup) < 0 ||
		    virDomainCgroupSetupCpusetCpus(cgroup, cpus) < 0)
			return -1;
	}
	return virProcessSetAffinity(tid, cpus, false);
}

int hv_tune_start(virDomainObj *vm)
{
	struct hv_domain *domain = hv_domain(vm);
	const virDomainDef *def = vm->def;
	virBitmap *cpus = def->cputune.emulatorpin ? def->cputune.emulatorpin : def->cpumask;

	g_free(domain->machine_name);
	domain->machine_name = virDomainDriverGenerateMachineName(HV_DRIVER_NAME,
								  domain->driver->root, def->id,
								  def->name,
								  domain->driver->privileged);
	if (virDomainCgroupSetupCgroup(HV_DRIVER_NAME, vm, 0, NULL, &domain->cgroup,
				       ALL_CONTROLLERS, 0, domain->driver->privileged,
				       domain->machine_name) < 0)
		return -1;
	if (def->cputune.shares && def->cputune.sharesSpecified && !has_cpu(domain))
		return controller_missing();
	if (thread_place(vm, vm->pid, VIR_CGROUP_THREAD_EMULATOR, 0) < 0)
		return -1;
	if (cpus && thread_pin(vm, vm->pid, VIR_CGROUP_THREAD_EMULATOR, 0, cpus) < 0)
		return -1;
	if (hv_tune_emulator_bandwidth(vm, def->cputune.emulator_period,
				       def->cputune.emulator_quota) < 0)
		return -1;
	return hv_tune_global_bandwidth(vm, def->cputune.global_period, def->cputune.global_quota);
}

int hv_tune_vcpus(virDomainObj *vm)
{
	struct hv_domain *domain = hv_domain(vm);
	g_autoptr(virBitmap) all = NULL;
	virBitmap *cpus;
	size_t i;

	for (i = 0; i < domain->nr_vcpu_tid; i++) {
		if (thread_place(vm, domain->vcpu_tid[i], VIR_CGROUP_THREAD_VCPU, i) < 0)
			return -1;
		cpus = virDomainDefGetVcpu(vm->def, i)->cpumask;
		if (!cpus)
			cpus = vm->def->cpumask;
		/* The affinity is inherited from the process, which may have its own. */
		if (!cpus && vm->def->cputune.emulatorpin) {
			if (!all && !(all = virHostCPUGetOnlineBitmap()))
				return -1;
			cpus = all;
		}
		if (cpus &&
		    thread_pin(vm, domain->vcpu_tid[i], VIR_CGROUP_THREAD_VCPU, i, cpus) < 0)
			return -1;
	}
	return hv_tune_vcpu_bandwidth(vm, vm->def->cputune.period, vm->def->cputune.quota);
}

int hv_tune_reconnect(virDomainObj *vm)
{
	struct hv_domain *domain = hv_domain(vm);

	domain->machine_name = virDomainDriverGenerateMachineName(HV_DRIVER_NAME,
								  domain->driver->root, vm->def->id,
								  vm->def->name,
								  domain->driver->privileged);
	return virDomainCgroupConnectCgroup(HV_DRIVER_NAME, vm, &domain->cgroup, ALL_CONTROLLERS,
					    domain->driver->privileged, domain->machine_name);
}

void hv_tune_stop(virDomainObj *vm)
{
	struct hv_domain *domain = hv_domain(vm);
	virErrorPtr error;

	if (!domain->cgroup)
		return;
	virErrorPreserveLast(&error);
	/* passt ends with the vmm, but a moment later. */
	virCgroupKillPainfully(domain->cgroup);
	if (virDomainCgroupRemoveCgroup(vm, domain->cgroup, domain->machine_name) < 0)
		VIR_WARN("cannot remove the cgroup of %s", vm->def->name);
	g_clear_pointer(&domain->cgroup, virCgroupFree);
	g_clear_pointer(&domain->machine_name, g_free);
	virErrorRestore(&error);
}

int hv_tune_pin_vcpu(virDomainObj *vm, unsigned int vcpu, virBitmap *cpus)
{
	struct hv_domain *domain = hv_domain(vm);

	if (vcpu >= domain->nr_vcpu_tid) {
		virReportError(VIR_ERR_INVALID_ARG, _("there is no vCPU %u"), vcpu);
		return -1;
	}
	return thread_pin(vm, domain->vcpu_tid[vcpu], VIR_CGROUP_THREAD_VCPU, vcpu, cpus);
}

/* All threads but those of vCPUs. */
int hv_tune_pin_emulator(virDomainObj *vm, virBitmap *cpus)
{
	struct hv_domain *domain = hv_domain(vm);
	g_autofree pid_t *tids = NULL;
	size_t nr, i, j;

	if (thread_pin(vm, vm->pid, VIR_CGROUP_THREAD_EMULATOR, 0, cpus) < 0 ||
	    virProcessGetPids(vm->pid, &nr, &tids) < 0)
		return -1;
	for (i = 0; i < nr; i++) {
		for (j = 0; j < domain->nr_vcpu_tid; j++)
			if (domain->vcpu_tid[j] == tids[i])
				break;
		/* A thread that has ended meanwhile needs no CPU. */
		if (j == domain->nr_vcpu_tid && virProcessSetAffinity(tids[i], cpus, true) < 0)
			virResetLastError();
	}
	return 0;
}

int hv_tune_vcpu_bandwidth(virDomainObj *vm, unsigned long long period, long long quota)
{
	size_t i;

	for (i = 0; i < hv_domain(vm)->nr_vcpu_tid; i++)
		if (bandwidth_set(vm, VIR_CGROUP_THREAD_VCPU, i, period, quota) < 0)
			return -1;
	return 0;
}

int hv_tune_emulator_bandwidth(virDomainObj *vm, unsigned long long period, long long quota)
{
	return bandwidth_set(vm, VIR_CGROUP_THREAD_EMULATOR, 0, period, quota);
}

int hv_tune_global_bandwidth(virDomainObj *vm, unsigned long long period, long long quota)
{
	struct hv_domain *domain = hv_domain(vm);

	if (!period && !quota)
		return 0;
	if (!has_cpu(domain))
		return controller_missing();
	return virDomainCgroupSetupVcpuBW(domain->cgroup, period, quota);
}
