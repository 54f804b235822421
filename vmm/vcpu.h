/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vcpu.h - vCPU threads.
 *
 * A vCPU belongs to its thread while it runs; while it is parked (vm_pause()),
 * to the main loop.
 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "log.h"

struct boot_entry;
struct hv_callbacks;
struct hv_vcpu;
struct hv_vm;
struct vm;

struct vcpu {
	struct vm *vm;
	unsigned int id;
	struct hv_vcpu *hv;
	pthread_t thread;
	bool started;			/* the thread exists */
	int tid;
	bool parked;			/* guarded by vm->vcpu_lock */
	struct bus_cache pio_cache;
	struct bus_cache mmio_cache;
	struct log_limit msr_warn;
	uint8_t *power_on;		/* all state groups as after creation */
};

/* What the assists of libhv call: the buses and guest memory. */
void vcpu_callbacks(struct vm *vm, struct hv_callbacks *cb);

int vcpus_create(struct vm *vm);	/* without threads */
int vcpus_start(struct vm *vm);		/* their threads, parked; vm->hold is set */
void vcpus_stop(struct vm *vm);		/* the threads end */
void vcpus_destroy(struct vm *vm);
/* All state to power-on; the first vCPU to @entry.  All parked. */
int vcpus_reset(struct vm *vm, const struct boot_entry *entry);
void vcpus_kick(struct vm *vm);
/* Waits until every thread stands; vm->hold must be set. */
void vcpus_park(struct vm *vm);
/*
 * vm->hv has taken the place of @old: a vCPU in it for each, with the state of the one in
 * @old.  All parked.  On error the vCPUs are those of @old, as they were.
 */
int vcpus_rebuild(struct vm *vm, struct hv_vm *old);
/* Lets them go on; vm->hold must be clear. */
void vcpus_release(struct vm *vm);

/* cpuid.c: the guest's table, before the first vCPU. */
int cpuid_set(struct vm *vm);
/* msr.c: policy for what the module leaves to userspace.  False: #GP. */
bool msr_access(struct vcpu *vcpu, uint32_t index, bool write, uint64_t *value);

#endif
