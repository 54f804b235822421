// SPDX-License-Identifier: GPL-2.0-only
/*
 * svm_vmcb.c - guest state in and out of the VMCB, and what is intercepted.
 *
 * APM vol. 2 sections 15.5 (VMRUN, its consistency checks), 15.7 to 15.15
 * (intercepts), appendix B.  Whatever is written here may come from a hostile
 * owner of the guest: the worst it may lead to is VMEXIT_INVALID.
 */
#include "svm_vmcb.h"

/*
 * CR accesses.  Allowed: reads of CR0 and CR4 while the CPU's value is the
 * guest's own, CR2, CR3 (second-level paging), reads of CR8 (V_TPR), writes of
 * CR8 while they cannot unmask an interrupt.
 */
#define IC_CR	(SVM_CR_WRITE(0) | SVM_CR_WRITE(4))
/* DR accesses.  Allowed: reads of DR6 and DR7 (and their aliases), which VMRUN switches. */
#define IC_DR	(0x00ff0000u | 0x0000000fu)
/* Exceptions.  Allowed: all but these three.  #AC and #DB can loop in the CPU
 * without ever reaching an instruction boundary; #MC is the host's. */
#define IC_EXC	(BIT(1) | BIT(17) | BIT(18))
/* Allowed: descriptor-table register loads and stores, RDTSC, PUSHF, POPF, IRET,
 * INT n, INVLPG, PAUSE (without a filter), CR0 writes covered above. */
#define IC_MISC1 (SVM_IC(INTR) | SVM_IC(NMI) | SVM_IC(SMI) | SVM_IC(INIT) | SVM_IC(RDPMC) |	\
		  SVM_IC(CPUID) | SVM_IC(RSM) | SVM_IC(INVD) | SVM_IC(HLT) | SVM_IC(INVLPGA) |	\
		  SVM_IC(IOIO) | SVM_IC(MSR) | SVM_IC(TASK_SWITCH) | SVM_IC(FERR_FREEZE) |	\
		  SVM_IC(SHUTDOWN))
/* Allowed: RDTSCP for guests that have it, ICEBP (its #DB is intercepted). */
#define IC_MISC2 (SVM_IC(VMRUN) | SVM_IC(VMMCALL) | SVM_IC(VMLOAD) | SVM_IC(VMSAVE) |	\
		  SVM_IC(STGI) | SVM_IC(CLGI) | SVM_IC(SKINIT) | SVM_IC(WBINVD) |	\
		  SVM_IC(MONITOR) | SVM_IC(MWAIT) | SVM_IC(MWAIT_COND) | SVM_IC(XSETBV) |	\
		  SVM_IC(RDPRU))
/* Allowed: INVPCID, which reaches the guest's own translations only. */
#define IC_MISC3 (SVM_IC(INVLPGB) | SVM_IC(INVLPGB_ILLEGAL) | SVM_IC(MCOMMIT) | SVM_IC(TLBSYNC))

#define PAUSE_COUNT	3000
#define PAUSE_THRESHOLD	128

/* The caller then sets the guest's state. */
void svm_vmcb_init(struct svm_vcpu *sv)
{
	struct svm_vmcb *c = sv->vmcb;

	memset(c, 0, sizeof(*c));
	c->intercept[SVM_IC_CR] = IC_CR;
	c->intercept[SVM_IC_DR] = IC_DR;
	c->intercept[SVM_IC_EXC] = IC_EXC;
	c->intercept[SVM_IC_MISC1] = IC_MISC1;
	c->intercept[SVM_IC_MISC2] = IC_MISC2;
	c->intercept[SVM_IC_MISC3] = IC_MISC3;
	if (!sv->v.vm->guest_rdtscp)
		c->intercept[SVM_IC_MISC2] |= SVM_IC(RDTSCP);
	if (boot_cpu_has(X86_FEATURE_PAUSEFILTER)) {
		c->intercept[SVM_IC_MISC1] |= SVM_IC(PAUSE);
		c->pause_count = PAUSE_COUNT;
		c->pause_threshold = PAUSE_THRESHOLD;
	}
	c->iopm_pa = svm_iopm_pa;
	c->msrpm_pa = svm_msrpm_pa;
	c->int_ctl = SVM_V_INTR_MASKING;
	c->np_ctl = SVM_NP_ENABLE;
	c->ncr3 = __sme_set(hv_mmu_root_pa(sv->v.vm));
	c->tsc_offset = sv->v.tsc_offset_hw;

	c->rflags = X86_EFLAGS_FIXED;

	sv->asid_gen = 0;
	sv->injected = 0;
	sv->soft_length = 0;
	sv->tpr = 0;
	sv->nmi_masked = sv->iret_seen = sv->nmi_step = false;
}

/* ---- segments ---- */

static struct svm_seg *seg_ptr(struct svm_vmcb *c, int n)
{
	switch (n) {
	case HV_ES:
		return &c->es;
	case HV_CS:
		return &c->cs;
	case HV_SS:
		return &c->ss;
	case HV_DS:
		return &c->ds;
	case HV_FS:
		return &c->fs;
	case HV_GS:
		return &c->gs;
	case HV_LDTR:
		return &c->ldtr;
	default:
		return &c->tr;
	}
}

void svm_get_seg(struct hv_vcpu *v, int n, struct hv_seg *s)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;
	const struct svm_seg *h = seg_ptr(c, n);
	u32 attr = (h->attr & 0xff) | (h->attr & 0xf00) << 4;

	switch (n) {
	case HV_CS:
		/* The CPU does not keep G in step with a limit it has expanded. */
		attr = (attr & ~HV_SEG_G) | (h->limit > 0xfffff ? HV_SEG_G : 0);
		break;
	case HV_SS:
		/* The CPL is kept apart; after SYSRET the DPL here may lie. */
		attr = (attr & ~HV_SEG_DPL) | c->cpl << HV_SEG_DPL_SHIFT;
		break;
	case HV_TR:
		attr |= 2;	/* busy; some CPUs leave it out */
		break;
	case HV_LDTR:
		break;
	default:
		if (attr & HV_SEG_P)
			attr |= 1;	/* a loaded segment has been accessed */
	}
	if (!(attr & HV_SEG_P))
		attr = (attr & ~HV_SEG_DB) | HV_SEG_UNUSABLE;
	s->base = h->base;
	s->limit = h->limit;
	s->attr = attr;
	s->selector = h->selector;
	memset(s->reserved, 0, sizeof(s->reserved));
}

void svm_get_segs(struct hv_vcpu *v, struct hv_segs *s)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;
	int n;

	memset(s, 0, sizeof(*s));
	for (n = 0; n < HV_SEG_COUNT; n++)
		svm_get_seg(v, n, &s->seg[n]);
	s->gdtr.base = c->gdtr.base;
	s->gdtr.limit = c->gdtr.limit;
	s->idtr.base = c->idtr.base;
	s->idtr.limit = c->idtr.limit;
}

void svm_set_segs(struct hv_vcpu *v, const struct hv_segs *s)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;
	int n;

	for (n = 0; n < HV_SEG_COUNT; n++) {
		struct svm_seg *h = seg_ptr(c, n);
		u32 attr = s->seg[n].attr;

		/* VMLOAD's segments must be canonical; FS and GS hold user values. */
		h->base = n >= HV_FS ? hv_host_canonical(s->seg[n].base) : s->seg[n].base;
		h->limit = s->seg[n].limit;
		h->selector = s->seg[n].selector;
		if (attr & HV_SEG_UNUSABLE)
			attr &= ~HV_SEG_P;
		h->attr = (attr & 0xff) | (attr >> 4 & 0xf00);
	}
	c->cpl = (s->seg[HV_SS].attr & HV_SEG_DPL) >> HV_SEG_DPL_SHIFT;
	c->gdtr.base = hv_host_canonical(s->gdtr.base);
	c->gdtr.limit = s->gdtr.limit;
	c->idtr.base = hv_host_canonical(s->idtr.base);
	c->idtr.limit = s->idtr.limit;
	svm_dirty(c, SVM_CLEAN_SEG | SVM_CLEAN_DT);
}

int svm_get_cpl(struct hv_vcpu *v)
{
	return to_svm(v)->vmcb->cpl;
}

/* ---- control registers ---- */

/*
 * The CPU's CR0 has no CD and NW: the module keeps guest memory write-back, and
 * firmware that never clears CD would crawl.  The CPU's CR4 has the host's MCE,
 * or a machine check in the guest would shut the host down.  While either
 * differs from what the guest believes, its reads are intercepted.
 */
void svm_set_control(struct hv_vcpu *v)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;
	u32 ic = c->intercept[SVM_IC_CR] & ~(SVM_CR_READ(0) | SVM_CR_READ(4));

	c->cr0 = v->cr0 & ~(u64)(X86_CR0_CD | X86_CR0_NW);
	c->cr3 = v->cr3;
	c->cr4 = v->cr4 | svm_host_cr4_mce;
	/* LME without paging has no effect, and EFER is read through us.  (With it
	 * but without PAE, TCG 7.2 would not restore the host's CR0 at the exit.) */
	c->efer = (v->efer & ~(u64)(EFER_LMA | EFER_LME)) | EFER_SVME;
	if ((v->efer & EFER_LME) && (v->cr0 & X86_CR0_PG))
		c->efer |= EFER_LMA | EFER_LME;
	if (c->cr0 != v->cr0)
		ic |= SVM_CR_READ(0);
	if (c->cr4 != v->cr4)
		ic |= SVM_CR_READ(4);
	c->intercept[SVM_IC_CR] = ic;
	svm_dirty(c, SVM_CLEAN_CRX | SVM_CLEAN_INTERCEPTS);
}

/* ---- debug registers: DR0-3 live in the vCPU, DR6 and DR7 in the VMCB ---- */

void svm_get_debug(struct hv_vcpu *v)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;

	v->debug.dr6 = c->dr6;
	v->debug.dr7 = c->dr7;
	/* A step of our own is not the guest's business. */
	if (to_svm(v)->nmi_step)
		v->debug.dr6 &= ~(u64)DR_STEP;
}

void svm_set_debug(struct hv_vcpu *v)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;

	c->dr6 = v->debug.dr6;
	c->dr7 = v->debug.dr7;
	svm_dirty(c, SVM_CLEAN_DRX);
}

/* ---- MSRs ---- */

void svm_get_msrs(struct hv_vcpu *v)
{
	const struct svm_vmcb *c = to_svm(v)->vmcb;
	struct hv_msrs *m = &v->msrs;

	m->star = c->star;
	m->lstar = c->lstar;
	m->cstar = c->cstar;
	m->sfmask = c->sfmask;
	m->kernel_gs_base = c->kernel_gs_base;
	m->sysenter_cs = c->sysenter_cs;
	m->sysenter_esp = c->sysenter_esp;
	m->sysenter_eip = c->sysenter_eip;
	m->pat = c->g_pat;
}

void svm_set_msrs(struct hv_vcpu *v)
{
	struct svm_vcpu *sv = to_svm(v);
	struct svm_vmcb *c = sv->vmcb;
	const struct hv_msrs *m = &v->msrs;

	c->star = m->star;
	c->lstar = hv_host_canonical(m->lstar);
	c->cstar = hv_host_canonical(m->cstar);
	c->sfmask = (u32)m->sfmask;
	c->kernel_gs_base = hv_host_canonical(m->kernel_gs_base);
	c->sysenter_cs = m->sysenter_cs;
	c->sysenter_esp = hv_host_canonical(m->sysenter_esp);
	c->sysenter_eip = hv_host_canonical(m->sysenter_eip);
	c->g_pat = m->pat;
	/* Both live in the CPU while loaded; otherwise vcpu_load will do it. */
	preempt_disable();
	if (v->loaded && boot_cpu_has(X86_FEATURE_RDTSCP))
		svm_load_tsc_aux(sv, m->tsc_aux);
	preempt_enable();
	c->clean = 0;
}

void svm_set_tsc_offset(struct hv_vcpu *v, u64 offset)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;

	v->tsc_offset_hw = offset;
	c->tsc_offset = offset;
	svm_dirty(c, SVM_CLEAN_INTERCEPTS);
}

/* ---- interrupt shadow: the CPU does not say whether STI or MOV SS made it ---- */

u32 svm_get_shadow(struct hv_vcpu *v)
{
	return to_svm(v)->vmcb->int_state & SVM_SHADOW ? HV_SHADOW_STI | HV_SHADOW_MOV_SS : 0;
}

void svm_set_shadow(struct hv_vcpu *v, u32 shadow)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;

	if (shadow)
		c->int_state |= SVM_SHADOW;
	else
		c->int_state &= ~(u64)SVM_SHADOW;
}
