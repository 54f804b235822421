/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x86.h - libhv's page walker and instruction emulator, apart from /dev/hv.
 *
 * The assists of <hv/hv.h> are built on it; debuggers, dump readers, tests and fuzzers may use
 * it directly.  It works on state groups in the caller's memory and on callbacks, and knows
 * nothing else.  Facts are those of AMD's APM volumes 2 and 3 (chapter 5 of volume 2: paging;
 * 4: segmentation; 8: exceptions).
 *
 * One struct hv_x86 is used by one thread at a time.
 */
#ifndef _HV_X86_H
#define _HV_X86_H

#include <hv/hv.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct hv_x86_ops - what lies outside the CPU.  See struct hv_callbacks for the meaning of
 * @io, @mem, @read, @write and @cmpxchg (may be NULL).
 * @need:	make these groups (HV_GROUP() bits) current in the caller's memory; may be NULL
 *		if they always are.  Asked for EVENTS, XSAVE and whatever else an exit lacks.
 */
struct hv_x86_ops {
	int (*io)(void *opaque, uint16_t port, bool in, uint32_t size, void *data);
	int (*mem)(void *opaque, uint64_t gpa, bool write, uint32_t size, void *data);
	int (*read)(void *opaque, uint64_t gpa, void *buf, size_t len);
	int (*write)(void *opaque, uint64_t gpa, const void *buf, size_t len);
	int (*cmpxchg)(void *opaque, uint64_t gpa, uint64_t old, uint64_t new_value,
		       uint32_t size);
	int (*need)(void *opaque, uint64_t groups);
};

/* struct hv_x86.flags: what the CPU does, and what the guest's CPUID says */
#define HV_X86_PAGE_1G		0x1	/* the CPU has 1 GiB pages, whatever the guest is told */
#define HV_X86_NULL_CLEARS_BASE	0x2	/* loading a null selector clears the base */
#define HV_X86_PDPTE_CACHED	0x4	/* PAE: hv_control.pdpte holds the PDPTEs (VMX) */
#define HV_X86_INTEL		0x8	/* REP treats registers and flags as Intel's CPUs do */

struct hv_x86_cache;

/**
 * struct hv_x86 - the state to work on.
 * @regs, @segs, @control, @events: always set.
 * @debug:	NULL: no data breakpoints are checked.
 * @xsave:	standard-format XSAVE image; NULL: no vector instructions, PKRU reads as 0.
 * @xsave_size:	of it, in bytes.
 * @avx_offset, @pkru_offset: where it has these components, 0: not at all.  hv_x86_init() takes
 *		them from this machine's CPUID, which is right for an image of this machine.
 * @phys_bits:	the guest's physical address width.
 * @flags:	HV_X86_*.
 *
 * Results of hv_x86_emulate():
 * @dirty:	groups changed; the caller resets it.
 * @retire, @retire_rip: as in struct hv_run; 0: RIP does not move.
 * @error:	the line for a negative result.
 */
struct hv_x86 {
	const struct hv_x86_ops *ops;
	void *opaque;
	struct hv_regs *regs;
	struct hv_segs *segs;
	struct hv_control *control;
	struct hv_debug *debug;
	struct hv_events *events;
	uint8_t *xsave;
	uint32_t xsave_size;
	uint16_t avx_offset;
	uint16_t pkru_offset;
	uint32_t phys_bits;
	uint32_t flags;

	uint32_t retire;
	uint64_t retire_rip;
	uint64_t dirty;
	char error[160];

	struct hv_x86_cache *cache;	/* of decoded instructions; private */
};

/** hv_x86_init() - clear @x and set its operations; the caller then sets the state pointers. */
int hv_x86_init(struct hv_x86 *x, const struct hv_x86_ops *ops, void *opaque);
void hv_x86_fini(struct hv_x86 *x);

#define HV_X86_WALK_USER	0x1	/* an access by code at CPL 3 */
#define HV_X86_WALK_IMPLICIT	0x2	/* by the CPU itself (descriptor tables): SMAP ignores AC */
#define HV_X86_WALK_SET_AD	0x4	/* set accessed and dirty bits */
#define HV_X86_WALK_NO_RIGHTS	0x8	/* only ask what is mapped */

/**
 * struct hv_x86_walk - the result of a page walk.
 * @gpa:	the translation.
 * @page_size:	of the mapping, in bytes; 4096 with paging off.
 * @error_code:	of the #PF, if there is one.
 */
struct hv_x86_walk {
	uint64_t gpa;
	uint64_t page_size;
	uint32_t error_code;
};

/**
 * hv_x86_walk() - translate a linear address as the CPU would.
 * @access:	one of HV_ACCESS_READ, _WRITE, _EXEC (0 as READ).
 * @flags:	HV_X86_WALK_*.
 *
 * Needs REGS (RFLAGS.AC) and CONTROL; XSAVE with protection keys.  @linear must be canonical;
 * outside 64-bit mode its upper half is ignored.
 * -EFAULT: page fault, see @error_code.  -EAGAIN: the tables kept changing under the walk.
 */
int hv_x86_walk(struct hv_x86 *x, uint64_t linear, uint32_t access, uint32_t flags,
		struct hv_x86_walk *walk);

/**
 * struct hv_x86_hint - what the exit told; all of it may be zero.
 * @insn, @insn_len:	instruction bytes already fetched.
 * @gpa, @access:	the access that exited, if HV_X86_HINT_GPA is in @flags: it saves the
 *			walk for an instruction with one memory operand.
 */
#define HV_X86_HINT_GPA		0x1
struct hv_x86_hint {
	uint64_t gpa;
	uint32_t access;
	uint32_t flags;
	uint32_t insn_len;
	uint8_t insn[16];
};

/**
 * hv_x86_emulate() - carry out the instruction at CS:RIP, or a bounded part of a REP one.
 *
 * 0: done.  Registers are in place, a fault is pending in the EVENTS group, @retire says how
 * to step on; if it is 0 and no event is pending, the instruction is to be entered again.
 * -ENOTSUP: unknown instruction; -EBUSY: a fault while another is pending; else a callback's error.
 * Then nothing of the current (REP: iteration of the) instruction is in the registers.
 *
 * For instructions that the CPU itself had begun: checks the CPU makes before it accesses
 * memory or a port (#NM, I/O permission bitmap) are not repeated.
 */
int hv_x86_emulate(struct hv_x86 *x, const struct hv_x86_hint *hint);

/**
 * hv_x86_raise() - make an exception pending in an events group.  See hv_vcpu_raise().
 * -EBUSY: one is pending already; -EINVAL: vector above 31, or 2.
 */
int hv_x86_raise(struct hv_events *events, uint8_t vector, uint32_t error_code,
		 uint64_t payload);

#ifdef __cplusplus
}
#endif

#endif /* _HV_X86_H */
