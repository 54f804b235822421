/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * apicvm.h - a testvm whose guest does one thing at a time, as the test says, and counts the
 * interrupts it gets; for tests of the local APIC, interrupts and clocks.
 *
 * Places in the guest, beside testvm.h's (r15 of each vCPU holds its number):
 *
 *	0x20000	code			0x28000	a dword: how handlers end, AVM_EOI_*
 *	0x28100 pages of the test's own, to 0x2f000
 *	0x30000 + 0x800 * vCPU + 8 * vector: interrupts taken
 *	0x60000 stacks of 4 KiB, vCPU n: ends at 0x61000 + n * 0x1000
 */
#ifndef HV_SELFTESTS_APICVM_H
#define HV_SELFTESTS_APICVM_H

#include "testvm.h"

#define AVM_APIC	0xfee00000UL
#define AVM_DONE	0x10		/* port: the operation is finished */
#define AVM_FAULT	0x30		/* port: it raised #GP */

enum { AVM_EOI_NONE, AVM_EOI_XAPIC, AVM_EOI_X2APIC };

enum avm_op {
	AVM_RDMSR,		/* rcx; result of avm_op() */
	AVM_WRMSR,		/* rcx, value */
	AVM_READ32,		/* address rbx */
	AVM_WRITE32,
	AVM_OPEN,		/* a moment with interrupts on */
	AVM_HALT,		/* sti; hlt; cli */
	AVM_IDLE,		/* sti; hlt for ever */
	AVM_SPIN,		/* interrupts on, count at 0x28080 + 8 * vCPU, for ever */
	AVM_WAIT,		/* interrupts on until the dword at rbx is not zero */
	AVM_SET_CR8,
	AVM_GET_CR8,
	AVM_RDTSC,
	AVM_OUT,		/* out %eax, port rbx; */
	AVM_OPS
};

struct avm {
	struct testvm t;
	unsigned int eois[256];		/* HV_EXIT_EOI taken, by vector */
	unsigned int extints;
	bool faulted;			/* the last operation raised #GP */
};

void avm_create(struct avm *a, uint32_t nvcpus);
void avm_destroy(struct avm *a);
/* Ready @vcpu in long mode, interrupts off; avm_create() has done it for all. */
void avm_reset(struct avm *a, uint32_t vcpu);
/* Point @vcpu at an operation without running it. */
void avm_set(struct avm *a, uint32_t vcpu, enum avm_op op, uint64_t rbx, uint64_t rcx,
	     uint64_t value);
/* Run to the end of the operation; returns edx:eax of it. EOI exits are counted. */
uint64_t avm_go(struct avm *a, uint32_t vcpu);
uint64_t avm_op(struct avm *a, uint32_t vcpu, enum avm_op op, uint64_t rbx, uint64_t rcx,
		uint64_t value);

static inline uint64_t avm_rdmsr(struct avm *a, uint32_t vcpu, uint32_t msr)
{
	return avm_op(a, vcpu, AVM_RDMSR, 0, msr, 0);
}

static inline bool avm_wrmsr(struct avm *a, uint32_t vcpu, uint32_t msr, uint64_t value)
{
	avm_op(a, vcpu, AVM_WRMSR, 0, msr, value);
	return !a->faulted;
}

static inline uint32_t avm_read(struct avm *a, uint32_t vcpu, uint32_t offset)
{
	return avm_op(a, vcpu, AVM_READ32, AVM_APIC + offset, 0, 0);
}

static inline void avm_write(struct avm *a, uint32_t vcpu, uint32_t offset, uint32_t value)
{
	avm_op(a, vcpu, AVM_WRITE32, AVM_APIC + offset, 0, value);
}

/* Interrupts that @vcpu has taken. */
uint64_t avm_taken(struct avm *a, uint32_t vcpu, uint8_t vector);
uint64_t avm_taken_all(struct avm *a, uint32_t vcpu);
void avm_forget(struct avm *a);
void avm_eoi(struct avm *a, int how);

/* Run @vcpu in a thread of its own until avm_stop(); it counts EOI exits, nothing else may come. */
void avm_start(struct avm *a, uint32_t vcpu);
void avm_stop(struct avm *a, uint32_t vcpu);

/* Poll until @cond or two seconds (of a slow host) have passed. */
#define AVM_SOON(cond) ({						\
	int tries_ = 0;							\
	while (!(cond) && tries_++ < 4000)				\
		usleep(500);						\
	(cond);								\
})

#endif
