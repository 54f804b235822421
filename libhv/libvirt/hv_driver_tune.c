// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_driver_tune.c - methods about CPUs and limits (hv_driver.h).
 *
 * What changes the running domain is tried there first, and written down when it
 * has worked.
 */
#include <config.h>

#include "hv_driver.h"

#include "datatypes.h"
#include "domain_cgroup.h"
#include "domain_event.h"
#include "hv_domain.h"
#include "hv_stats.h"
#include "hv_tune.h"
#include "viraccessapicheck.h"
#include "vircgroup.h"
#include "virerror.h"
#include "virhostcpu.h"
#include "virtypedparam.h"
#include "virutil.h"

#define VIR_FROM_THIS HV_FROM

/* After a change: to disk, whichever of the two it was. */
static int defs_save(virDomainObj *vm, virDomainDef *live, virDomainDef *config)
{
	struct hv_driver *driver = hv_domain(vm)->driver;

	if (live && hv_domain_save_status(vm) < 0)
		return -1;
	if (config && virDomainDefSave(config, driver->xmlopt, driver->config_dir) < 0)
		return -1;
	return 0;
}

/* ---- vCPUs ---- */

int hvDomainGetVcpusFlags(virDomainPtr dom, unsigned int flags)
{
	virDomainObj *vm;
	virDomainDef *def;
	int ret = -1;

	virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_DOMAIN_VCPU_MAXIMUM,
		      -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainGetVcpusFlagsEnsureACL(dom->conn, vm->def, flags) < 0)
		goto cleanup;
	def = virDomainObjGetOneDef(vm, flags);
	if (def)
		ret = flags & VIR_DOMAIN_VCPU_MAXIMUM ? virDomainDefGetVcpusMax(def) :
		      virDomainDefGetVcpus(def);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainGetMaxVcpus(virDomainPtr dom)
{
	return hvDomainGetVcpusFlags(dom, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_VCPU_MAXIMUM);
}

int hvDomainGetVcpus(virDomainPtr dom, virVcpuInfoPtr info, int max, unsigned char *maps,
		     int maplen)
{
	virDomainObj *vm = hv_domain_get(dom);
	int ret = -1;

	if (!vm)
		return -1;
	if (virDomainGetVcpusEnsureACL(dom->conn, vm->def) < 0 || virDomainObjCheckActive(vm) < 0)
		goto cleanup;
	ret = hv_stats_vcpus(vm, info, NULL, max, maps, maplen);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

static virBitmap *cpus_of(const unsigned char *map, int maplen)
{
	virBitmap *cpus = virBitmapNewData(map, maplen);

	if (virBitmapIsAllClear(cpus)) {
		virReportError(VIR_ERR_INVALID_ARG, "%s", _("the set of CPUs is empty"));
		g_clear_pointer(&cpus, virBitmapFree);
	}
	return cpus;
}

int hvDomainPinVcpuFlags(virDomainPtr dom, unsigned int vcpu, unsigned char *map, int maplen,
			 unsigned int flags)
{
	g_autoptr(virBitmap) cpus = NULL;
	virDomainDef *live, *config, *defs[2];
	virDomainVcpuDef *v;
	virDomainObj *vm;
	int ret = -1;
	size_t i;

	virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainPinVcpuFlagsEnsureACL(dom->conn, vm->def, flags) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (virDomainObjGetDefs(vm, flags, &live, &config) < 0)
		goto endjob;
	defs[0] = live;
	defs[1] = config;
	for (i = 0; i < 2; i++) {
		if (defs[i] && !virDomainDefGetVcpu(defs[i], vcpu)) {
			virReportError(VIR_ERR_INVALID_ARG, _("there is no vCPU %u"), vcpu);
			goto endjob;
		}
	}
	cpus = cpus_of(map, maplen);
	if (!cpus || (live && hv_tune_pin_vcpu(vm, vcpu, cpus) < 0))
		goto endjob;
	for (i = 0; i < 2; i++) {
		if (!defs[i])
			continue;
		v = virDomainDefGetVcpu(defs[i], vcpu);
		virBitmapFree(v->cpumask);
		v->cpumask = virBitmapNewCopy(cpus);
	}
	ret = defs_save(vm, live, config);
endjob:
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainPinVcpu(virDomainPtr dom, unsigned int vcpu, unsigned char *map, int maplen)
{
	return hvDomainPinVcpuFlags(dom, vcpu, map, maplen, VIR_DOMAIN_AFFECT_LIVE);
}

int hvDomainGetVcpuPinInfo(virDomainPtr dom, int nmaps, unsigned char *maps, int maplen,
			   unsigned int flags)
{
	g_autoptr(virBitmap) online = NULL;
	virDomainObj *vm;
	virDomainDef *def;
	int ret = -1;

	virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainGetVcpuPinInfoEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	def = virDomainObjGetOneDef(vm, flags);
	if (!def)
		goto cleanup;
	online = virHostCPUGetAvailableCPUsBitmap();
	if (online)
		ret = virDomainDefGetVcpuPinInfoHelper(def, maplen, nmaps, maps, online, NULL);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainPinEmulator(virDomainPtr dom, unsigned char *map, int maplen, unsigned int flags)
{
	g_autoptr(virBitmap) cpus = NULL;
	virDomainDef *live, *config, *defs[2];
	virDomainObj *vm;
	int ret = -1;
	size_t i;

	virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainPinEmulatorEnsureACL(dom->conn, vm->def, flags) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (virDomainObjGetDefs(vm, flags, &live, &config) < 0)
		goto endjob;
	cpus = cpus_of(map, maplen);
	if (!cpus || (live && hv_tune_pin_emulator(vm, cpus) < 0))
		goto endjob;
	defs[0] = live;
	defs[1] = config;
	for (i = 0; i < 2; i++) {
		if (!defs[i])
			continue;
		virBitmapFree(defs[i]->cputune.emulatorpin);
		defs[i]->cputune.emulatorpin = virBitmapNewCopy(cpus);
	}
	ret = defs_save(vm, live, config);
endjob:
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainGetEmulatorPinInfo(virDomainPtr dom, unsigned char *map, int maplen,
			       unsigned int flags)
{
	g_autoptr(virBitmap) online = NULL;
	virBitmap *cpus;
	virDomainObj *vm;
	virDomainDef *def;
	int ret = -1;

	virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainGetEmulatorPinInfoEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	def = virDomainObjGetOneDef(vm, flags);
	if (!def)
		goto cleanup;
	cpus = def->cputune.emulatorpin ? def->cputune.emulatorpin : def->cpumask;
	if (!cpus)
		cpus = online = virHostCPUGetAvailableCPUsBitmap();
	if (cpus) {
		virBitmapToDataBuf(cpus, map, maplen);
		ret = 1;
	}
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

/* ---- CPU time ---- */

static char *scheduler_type(int *nparams)
{
	if (nparams)
		*nparams = 7;
	return g_strdup("posix");
}

char *hvDomainGetSchedulerType(virDomainPtr dom, int *nparams)
{
	virDomainObj *vm = hv_domain_get(dom);
	char *type = NULL;

	if (!vm)
		return NULL;
	if (virDomainGetSchedulerTypeEnsureACL(dom->conn, vm->def) == 0)
		type = scheduler_type(nparams);
	virDomainObjEndAPI(&vm);
	return type;
}

int hvDomainGetSchedulerParametersFlags(virDomainPtr dom, virTypedParameterPtr params,
					int *nparams, unsigned int flags)
{
	virDomainObj *vm;
	virDomainDef *def;
	int ret = -1, n = 0;

	virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG |
		      VIR_TYPED_PARAM_STRING_OKAY, -1);
	flags &= ~VIR_TYPED_PARAM_STRING_OKAY;
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainGetSchedulerParametersFlagsEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	def = virDomainObjGetOneDef(vm, flags);
	if (!def)
		goto cleanup;
#define PARAM(name, type, value) \
	if (n < *nparams && virTypedParameterAssign(&params[n++], name, \
						    VIR_TYPED_PARAM_##type, value) < 0) \
		goto cleanup
	PARAM(VIR_DOMAIN_SCHEDULER_CPU_SHARES, ULLONG,
	      def->cputune.sharesSpecified ? def->cputune.shares : 1024ULL);
	PARAM(VIR_DOMAIN_SCHEDULER_VCPU_PERIOD, ULLONG, def->cputune.period);
	PARAM(VIR_DOMAIN_SCHEDULER_VCPU_QUOTA, LLONG, def->cputune.quota);
	PARAM(VIR_DOMAIN_SCHEDULER_EMULATOR_PERIOD, ULLONG, def->cputune.emulator_period);
	PARAM(VIR_DOMAIN_SCHEDULER_EMULATOR_QUOTA, LLONG, def->cputune.emulator_quota);
	PARAM(VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD, ULLONG, def->cputune.global_period);
	PARAM(VIR_DOMAIN_SCHEDULER_GLOBAL_QUOTA, LLONG, def->cputune.global_quota);
#undef PARAM
	*nparams = n;
	ret = 0;
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainGetSchedulerParameters(virDomainPtr dom, virTypedParameterPtr params, int *nparams)
{
	return hvDomainGetSchedulerParametersFlags(dom, params, nparams, 0);
}

/* What the XML may not say either. */
static int scheduler_param_check(const virTypedParameter *p)
{
	const char *what = strrchr(p->field, '_');
	unsigned long long value = p->value.ul, low, high;

	if (STREQ(what, "_shares")) {
		low = VIR_CGROUP_CPU_SHARES_MIN;
		high = VIR_CGROUP_CPU_SHARES_MAX;
	} else if (!value || (STREQ(what, "_quota") && p->value.l < 0)) {
		return 0;	/* the default; no limit */
	} else if (STREQ(what, "_quota")) {
		low = VIR_CGROUP_CPU_QUOTA_MIN;
		high = VIR_CGROUP_CPU_QUOTA_MAX;
	} else {
		low = VIR_CGROUP_CPU_PERIOD_MIN;
		high = VIR_CGROUP_CPU_PERIOD_MAX;
	}
	if (value >= low && value <= high)
		return 0;
	virReportError(VIR_ERR_INVALID_ARG, _("%s must be in range [%llu, %llu]"), p->field, low,
		       high);
	return -1;
}

/* One parameter into a definition. */
static void scheduler_param_set(virDomainDef *def, const virTypedParameter *p)
{
	if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_CPU_SHARES)) {
		def->cputune.shares = p->value.ul;
		def->cputune.sharesSpecified = true;
	} else if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_VCPU_PERIOD)) {
		def->cputune.period = p->value.ul;
	} else if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_VCPU_QUOTA)) {
		def->cputune.quota = p->value.l;
	} else if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_EMULATOR_PERIOD)) {
		def->cputune.emulator_period = p->value.ul;
	} else if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_EMULATOR_QUOTA)) {
		def->cputune.emulator_quota = p->value.l;
	} else if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD)) {
		def->cputune.global_period = p->value.ul;
	} else if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_GLOBAL_QUOTA)) {
		def->cputune.global_quota = p->value.l;
	}
}

/* And into the running domain. */
static int scheduler_param_apply(virDomainObj *vm, const virTypedParameter *p)
{
	struct hv_domain *domain = hv_domain(vm);

	if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_CPU_SHARES)) {
		if (!domain->cgroup ||
		    !virCgroupHasController(domain->cgroup, VIR_CGROUP_CONTROLLER_CPU)) {
			virReportError(VIR_ERR_OPERATION_INVALID, "%s",
				       _("this host gives no cgroup controller 'cpu'"));
			return -1;
		}
		return virCgroupSetCpuShares(domain->cgroup, p->value.ul);
	}
	if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_VCPU_PERIOD))
		return hv_tune_vcpu_bandwidth(vm, p->value.ul, 0);
	if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_VCPU_QUOTA))
		return hv_tune_vcpu_bandwidth(vm, 0, p->value.l);
	if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_EMULATOR_PERIOD))
		return hv_tune_emulator_bandwidth(vm, p->value.ul, 0);
	if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_EMULATOR_QUOTA))
		return hv_tune_emulator_bandwidth(vm, 0, p->value.l);
	if (STREQ(p->field, VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD))
		return hv_tune_global_bandwidth(vm, p->value.ul, 0);
	return hv_tune_global_bandwidth(vm, 0, p->value.l);
}

int hvDomainSetSchedulerParametersFlags(virDomainPtr dom, virTypedParameterPtr params, int nparams,
					unsigned int flags)
{
	virDomainDef *live, *config;
	virDomainObj *vm;
	int ret = -1, i;

	virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
	if (virTypedParamsValidate(params, nparams,
				   VIR_DOMAIN_SCHEDULER_CPU_SHARES, VIR_TYPED_PARAM_ULLONG,
				   VIR_DOMAIN_SCHEDULER_VCPU_PERIOD, VIR_TYPED_PARAM_ULLONG,
				   VIR_DOMAIN_SCHEDULER_VCPU_QUOTA, VIR_TYPED_PARAM_LLONG,
				   VIR_DOMAIN_SCHEDULER_EMULATOR_PERIOD, VIR_TYPED_PARAM_ULLONG,
				   VIR_DOMAIN_SCHEDULER_EMULATOR_QUOTA, VIR_TYPED_PARAM_LLONG,
				   VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD, VIR_TYPED_PARAM_ULLONG,
				   VIR_DOMAIN_SCHEDULER_GLOBAL_QUOTA, VIR_TYPED_PARAM_LLONG,
				   NULL) < 0)
		return -1;
	for (i = 0; i < nparams; i++)
		if (scheduler_param_check(&params[i]) < 0)
			return -1;
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainSetSchedulerParametersFlagsEnsureACL(dom->conn, vm->def, flags) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (virDomainObjGetDefs(vm, flags, &live, &config) < 0)
		goto endjob;
	for (i = 0; i < nparams; i++) {
		if (live) {
			if (scheduler_param_apply(vm, &params[i]) < 0)
				goto endjob;
			scheduler_param_set(live, &params[i]);
		}
		if (config)
			scheduler_param_set(config, &params[i]);
	}
	ret = defs_save(vm, live, config);
endjob:
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainSetSchedulerParameters(virDomainPtr dom, virTypedParameterPtr params, int nparams)
{
	return hvDomainSetSchedulerParametersFlags(dom, params, nparams, VIR_DOMAIN_AFFECT_CURRENT);
}

/* ---- memory ---- */

int hvDomainGetMemoryParameters(virDomainPtr dom, virTypedParameterPtr params, int *nparams,
				unsigned int flags)
{
	virDomainObj *vm;
	virDomainDef *def;
	int ret = -1, n = 0;

	virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG |
		      VIR_TYPED_PARAM_STRING_OKAY, -1);
	flags &= ~VIR_TYPED_PARAM_STRING_OKAY;
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainGetMemoryParametersEnsureACL(dom->conn, vm->def) < 0)
		goto cleanup;
	if (!*nparams) {
		*nparams = 3;
		ret = 0;
		goto cleanup;
	}
	def = virDomainObjGetOneDef(vm, flags);
	if (!def)
		goto cleanup;
#define LIMIT(name, member) \
	if (n < *nparams && virTypedParameterAssign(&params[n++], name, VIR_TYPED_PARAM_ULLONG, \
						    virMemoryLimitTruncate(def->mem.member)) < 0) \
		goto cleanup
	LIMIT(VIR_DOMAIN_MEMORY_HARD_LIMIT, hard_limit);
	LIMIT(VIR_DOMAIN_MEMORY_SOFT_LIMIT, soft_limit);
	LIMIT(VIR_DOMAIN_MEMORY_SWAP_HARD_LIMIT, swap_hard_limit);
#undef LIMIT
	*nparams = n;
	ret = 0;
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}

int hvDomainSetMemoryParameters(virDomainPtr dom, virTypedParameterPtr params, int nparams,
				unsigned int flags)
{
	virDomainDef *live, *config;
	virDomainObj *vm;
	int ret = -1;

	virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
	if (virTypedParamsValidate(params, nparams,
				   VIR_DOMAIN_MEMORY_HARD_LIMIT, VIR_TYPED_PARAM_ULLONG,
				   VIR_DOMAIN_MEMORY_SOFT_LIMIT, VIR_TYPED_PARAM_ULLONG,
				   VIR_DOMAIN_MEMORY_SWAP_HARD_LIMIT, VIR_TYPED_PARAM_ULLONG,
				   NULL) < 0)
		return -1;
	vm = hv_domain_get(dom);
	if (!vm)
		return -1;
	if (virDomainSetMemoryParametersEnsureACL(dom->conn, vm->def, flags) < 0)
		goto cleanup;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		goto cleanup;
	if (virDomainObjGetDefs(vm, flags, &live, &config) < 0)
		goto endjob;
	if (live && (!hv_domain(vm)->cgroup ||
		     !virCgroupHasController(hv_domain(vm)->cgroup,
					     VIR_CGROUP_CONTROLLER_MEMORY))) {
		virReportError(VIR_ERR_OPERATION_INVALID, "%s",
			       _("this host gives no cgroup controller 'memory'"));
		goto endjob;
	}
	if (virDomainCgroupSetMemoryLimitParameters(hv_domain(vm)->cgroup, vm, live, config, params,
						    nparams) < 0)
		goto endjob;
	ret = defs_save(vm, live, config);
endjob:
	virDomainObjEndJob(vm);
cleanup:
	virDomainObjEndAPI(&vm);
	return ret;
}
