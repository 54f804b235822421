/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * testvm.h - a bare VM for tests of the module: memory, vCPUs in a known mode, and code to run.
 *
 * Guest-physical memory starts at 0 and is filled by the test.  In the modes with paging it is
 * identity-mapped (the first 4 GiB by 2 MiB pages, user-accessible).  Fixed places:
 *
 *	0x0500  GDT (null, code64, data, code32, TSS...)	0x0600  TSS
 *	0x1000  IDT, 256 gates of 16 bytes; all absent until testvm_gate()
 *	0x2000.. page tables, to 0x8000
 *	0x8000  end of the first vCPU's stack; vCPU n: 0x8000 - n * 0x100 (small!), or set RSP
 *	0x10000 code, where testvm_code() puts it unless told otherwise
 *
 * Every function bails out of the test on an error: what it does is not what is tested.
 */
#ifndef HV_SELFTESTS_TESTVM_H
#define HV_SELFTESTS_TESTVM_H

#include <stdint.h>
#include <hv/hv.h>

#define TVM_CODE	0x10000UL
#define TVM_SEL_CODE64	0x08
#define TVM_SEL_DATA	0x10
#define TVM_SEL_CODE32	0x18
#define TVM_SEL_TSS	0x20

struct testvm {
	struct hv_dev *dev;
	struct hv_vm *vm;
	struct hv_info info;
	const struct hv_callbacks *cb;	/* of the test, before testvm_create(); none if NULL */
	int no_gib_pages;		/* the same: the guest's CPUID does not tell of any */
	int bochs_svm, bochs_vmx;	/* faults of their own: Documentation/testing.rst */
	uint8_t *mem;			/* [0, size) of the guest */
	uint64_t size;
	uint32_t nvcpus;
	struct hv_vcpu *vcpu[64];
};

/* Opens /dev/hv; skips the whole test with the reason if it cannot be used. */
void testvm_open(struct testvm *t);
/* A VM with @size bytes at 0 (slot 0) and @nvcpus vCPUs in the reset state. */
void testvm_create(struct testvm *t, uint64_t size, uint32_t nvcpus);
/* The same with memory of the test's own (page-aligned). */
void testvm_create_on(struct testvm *t, void *mem, uint64_t size, uint32_t nvcpus);
void testvm_destroy(struct testvm *t);		/* also closes the device and frees memory it made */

/* Copy code to guest memory; GUEST_CODE() below makes symbols for it. */
void testvm_code(struct testvm *t, uint64_t gpa, const void *start, const void *end);

/*
 * Put a vCPU into a mode, ready to run at @rip; runnable even if it is an AP.  Interrupts are off,
 * except where @bochs_svm: a guest that spins so would have the host for itself.
 */
void testvm_real(struct testvm *t, uint32_t vcpu, uint16_t cs, uint16_t ip);
void testvm_prot32(struct testvm *t, uint32_t vcpu, uint32_t eip);	/* flat, no paging */
void testvm_long(struct testvm *t, uint32_t vcpu, uint64_t rip);	/* CPL 0 */

/* 64-bit interrupt gate; @ist 0..7. */
void testvm_gate(struct testvm *t, uint8_t vector, uint64_t handler, int ist);

/*
 * Run until an exit other than KICK, SIGNAL and NONE; returns its reason.
 * IO exits to port 0xe9 print a character, and go on.
 */
uint32_t testvm_run(struct testvm *t, uint32_t vcpu);
/* The same, and bail out unless the reason is @want. */
void testvm_expect(struct testvm *t, uint32_t vcpu, uint32_t want);
/* Step over the IO or MSR exit just taken; IN and RDMSR give @value. */
void testvm_done(struct testvm *t, uint32_t vcpu, uint64_t value);

/*
 * Code for a guest, assembled into the test program:
 *	GUEST_CODE(name, "mov $1, %eax\n" "out %al, $0x10\n")
 * declares name and name_end.  .code16 or .code32 inside is fine; 64 is the default.
 */
#define GUEST_CODE(name, text)						\
	extern const uint8_t name[], name##_end[];			\
	asm(".pushsection .rodata\n" #name ":\n" ".code64\n" text	\
	    "\n.code64\n" #name "_end:\n" ".popsection\n")

#endif
