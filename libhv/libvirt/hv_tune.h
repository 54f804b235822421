/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_tune.h - where and how much the threads of a vmm run: affinity and cgroups.
 *
 * The machine's cgroup has the limits of the whole guest; below it each vCPU has
 * one, and what else the process does is in "emulator".
 */
#ifndef HV_TUNE_H
#define HV_TUNE_H

#include "hv_domain.h"

/** hv_tune_start() - before the vmm runs: its process into the domain's cgroup. */
int hv_tune_start(virDomainObj *vm);

/** hv_tune_vcpus() - once the threads of the vCPUs are known. */
int hv_tune_vcpus(virDomainObj *vm);

/** hv_tune_reconnect() - find the cgroup of a running domain again. */
int hv_tune_reconnect(virDomainObj *vm);

/** hv_tune_stop() - end what may be left in the cgroup, and remove it. */
void hv_tune_stop(virDomainObj *vm);

/** hv_tune_pin_vcpu(), hv_tune_pin_emulator() - of a running domain, at once. */
int hv_tune_pin_vcpu(virDomainObj *vm, unsigned int vcpu, virBitmap *cpus);
int hv_tune_pin_emulator(virDomainObj *vm, virBitmap *cpus);

/** hv_tune_vcpu_bandwidth(), ... - period and quota in microseconds; 0: leave it. */
int hv_tune_vcpu_bandwidth(virDomainObj *vm, unsigned long long period, long long quota);
int hv_tune_emulator_bandwidth(virDomainObj *vm, unsigned long long period, long long quota);
int hv_tune_global_bandwidth(virDomainObj *vm, unsigned long long period, long long quota);

#endif /* HV_TUNE_H */
