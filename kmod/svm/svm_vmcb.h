/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * svm_vmcb.h - the virtual machine control block and the backend's objects.
 *
 * APM vol. 2 chapter 15 and appendices B (layout) and C (exit codes, which come
 * from the kernel's uapi/asm/svm.h).  Its asm/svm.h is not used: it drags in
 * Hyper-V's HV_* names, and its field names move between releases.
 *
 * Only svm/ includes this file.
 */
#ifndef SVM_VMCB_H
#define SVM_VMCB_H

#include <uapi/asm/svm.h>
#include "../hv.h"

/* ---- control area, offset 0x000 ---- */

enum { SVM_IC_CR, SVM_IC_DR, SVM_IC_EXC, SVM_IC_MISC1, SVM_IC_MISC2, SVM_IC_MISC3, SVM_IC_WORDS };

/* word SVM_IC_CR: reads 0..15, writes 16..31; SVM_IC_DR the same */
#define SVM_CR_READ(n)		BIT(n)
#define SVM_CR_WRITE(n)		BIT(16 + (n))
/* The words SVM_IC_MISC* have a bit for each exit code, from 0x60 on. */
#define SVM_IC(exit)		BIT(SVM_EXIT_##exit & 31)

#define SVM_TLB_KEEP		0
#define SVM_TLB_FLUSH_ALL	1
#define SVM_TLB_FLUSH_ASID	3

/* int_ctl */
#define SVM_V_TPR		0xfu
#define SVM_V_IRQ		BIT(8)
#define SVM_V_INTR_PRIO		(0xfu << 16)
#define SVM_V_IGN_TPR		BIT(20)
#define SVM_V_INTR_MASKING	BIT(24)

/* int_state */
#define SVM_SHADOW		BIT(0)

#define SVM_NP_ENABLE		BIT(0)

/* clean bits: the state group in the VMCB is unchanged since the last VMRUN */
#define SVM_CLEAN_INTERCEPTS	BIT(0)	/* intercepts, TSC offset, pause filter */
#define SVM_CLEAN_ASID		BIT(2)
#define SVM_CLEAN_TPR		BIT(3)	/* int_ctl, int_vector */
#define SVM_CLEAN_CRX		BIT(5)	/* CR0, CR3, CR4, EFER */
#define SVM_CLEAN_DRX		BIT(6)
#define SVM_CLEAN_DT		BIT(7)	/* GDTR, IDTR */
#define SVM_CLEAN_SEG		BIT(8)	/* CS, DS, SS, ES, CPL */
#define SVM_CLEAN_CR2		BIT(9)
/* int_ctl and CR2 are written on nearly every entry: never claimed clean. */
#define SVM_CLEAN_ALL		(0xfff & ~(SVM_CLEAN_TPR | SVM_CLEAN_CR2))

struct svm_seg {
	u16 selector;
	u16 attr;		/* descriptor bits 40-47 and 52-55, packed */
	u32 limit;
	u64 base;
} __packed;

struct svm_vmcb {
	/* control area */
	u32 intercept[SVM_IC_WORDS];
	u8 r018[0x03c - 0x018];
	u16 pause_threshold;
	u16 pause_count;
	u64 iopm_pa;
	u64 msrpm_pa;
	u64 tsc_offset;
	u32 asid;
	u8 tlb_control;
	u8 r05d[3];
	u32 int_ctl;
	u32 int_vector;
	u64 int_state;
	u64 exit_code;
	u64 exit_info1;
	u64 exit_info2;
	u32 exit_int_info;
	u32 exit_int_error;
	u64 np_ctl;
	u64 avic_bar;
	u64 ghcb_pa;
	u32 event_inj;
	u32 event_inj_error;
	u64 ncr3;
	u64 virt_ext;
	u32 clean;
	u32 r0c4;
	u64 next_rip;
	u8 insn_len;
	u8 insn_bytes[15];
	u8 r0e0[0x400 - 0x0e0];
	/* state save area */
	struct svm_seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8 r4a0[0x4cb - 0x4a0];
	u8 cpl;
	u32 r4cc;
	u64 efer;
	u8 r4d8[0x548 - 0x4d8];
	u64 cr4;
	u64 cr3;
	u64 cr0;
	u64 dr7;
	u64 dr6;
	u64 rflags;
	u64 rip;
	u8 r580[0x5d8 - 0x580];
	u64 rsp;
	u64 s_cet, ssp, isst;
	u64 rax;
	u64 star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 cr2;
	u8 r648[0x668 - 0x648];
	u64 g_pat;
	u64 debugctl;
	u64 lbr[4];
	u8 r698[0x6e0 - 0x698];
	u64 spec_ctrl;
	u8 r6e8[0x1000 - 0x6e8];
} __packed;

static_assert(offsetof(struct svm_vmcb, exit_code) == 0x070);
static_assert(offsetof(struct svm_vmcb, next_rip) == 0x0c8);
static_assert(offsetof(struct svm_vmcb, es) == 0x400);
static_assert(offsetof(struct svm_vmcb, cpl) == 0x4cb);
static_assert(offsetof(struct svm_vmcb, rsp) == 0x5d8);
static_assert(offsetof(struct svm_vmcb, cr2) == 0x640);
static_assert(offsetof(struct svm_vmcb, g_pat) == 0x668);
static_assert(offsetof(struct svm_vmcb, spec_ctrl) == 0x6e0);
static_assert(sizeof(struct svm_vmcb) == 0x1000);

/* ---- exit codes beside those of the kernel's header ---- */

#define SVM_EXIT_INVLPGB	0x0a0
#define SVM_EXIT_INVLPGB_ILLEGAL 0x0a1
#define SVM_EXIT_MCOMMIT	0x0a3
#define SVM_EXIT_TLBSYNC	0x0a4
#define SVM_EXIT_INVALID	0xffffffff	/* low half of -1; TCG 7.2 writes no more */
#define SVM_EXIT_NO_SVM		0xfffffff0	/* ours: CLGI faulted, SVM is off on this CPU */

#define SVM_NPF_WRITE		BIT(1)
#define SVM_NPF_FETCH		BIT(4)
#define SVM_NPF_GUEST_WALK	BIT_ULL(33)

/* ---- the backend's objects ---- */

struct svm_cpu {
	void *hsave;			/* the CPU's own, VM_HSAVE_PA */
	void *host_save;		/* VMSAVE of the host's state */
	u64 host_save_pa;
	bool on;			/* we set EFER.SVME */
	u32 max_asid, next_asid;
	u64 asid_gen;			/* never 0 */
};

DECLARE_PER_CPU(struct svm_cpu, svm_cpu);

struct svm_vcpu {
	struct hv_vcpu v;		/* first */
	struct svm_vmcb *vmcb;
	u64 vmcb_pa;
	struct svm_cpu *cpu;		/* valid while loaded */
	int last_cpu;
	u64 asid_gen;

	u64 host_tsc_aux, tsc_aux;	/* found at load; in the register now */
	u64 bus_lock_trap;		/* DEBUGCTL's bit, if the host has it set */
	u32 injected;			/* event_inj of the entry under way */
	u8 soft_length;			/* RIP was moved over a soft interrupt by this */
	u8 tpr;				/* V_TPR as last synchronised with the APIC */

	bool nmi_masked;
	bool iret_seen;			/* IRET intercepted, not known to be complete */
	u64 iret_rip;
	bool nmi_step;			/* TF is ours */
	bool nmi_step_iret;		/* over an IRET, which loads new flags */
	bool nmi_step_tf, nmi_step_rf;	/* the guest's own under it */
};

static inline struct svm_vcpu *to_svm(struct hv_vcpu *v)
{
	return container_of(v, struct svm_vcpu, v);
}

static inline void svm_dirty(struct svm_vmcb *c, u32 group)
{
	c->clean &= ~group;
}

#define HV_OP(result, op, args) result svm_##op args;
#include "../hv_ops.h"

/* svm.c */
extern bool svm_nrips, svm_decode, svm_flush_by_asid, svm_clean, svm_v_spec_ctrl;
extern u64 svm_iopm_pa, svm_msrpm_pa, svm_host_cr4_mce;

void svm_load_tsc_aux(struct svm_vcpu *sv, u64 val);

/* svm_vmcb.c */
void svm_vmcb_init(struct svm_vcpu *sv);

/* svm_event.c */
void svm_event_done(struct svm_vcpu *sv);
void svm_soft_undo(struct svm_vcpu *sv);
void svm_iret_intercepted(struct svm_vcpu *sv);
void svm_iret_check(struct svm_vcpu *sv);
bool svm_nmi_step_done(struct svm_vcpu *sv);

/* enter.S: 0, or 1 when CLGI faulted and nothing happened */
unsigned long svm_enter_guest(u64 *gpr, u64 vmcb_pa, u64 host_save_pa, u64 spec_ctrl);
unsigned long svm_enter_guest_bare(u64 *gpr, u64 vmcb_pa, u64 host_save_pa, u64 spec_ctrl);

#endif /* SVM_VMCB_H */
