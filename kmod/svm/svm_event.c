// SPDX-License-Identifier: GPL-2.0-only
/*
 * svm_event.c - events into the guest, and back when their delivery did not end.
 *
 * APM vol. 2 sections 15.20 (EVENTINJ), 15.7.2 (EXITINTINFO), 15.21 (virtual
 * interrupts), 15.21.9 (shadow).  Order and priority are hv_event.c's.
 *
 * Interrupts go in by EVENTINJ only.  V_IRQ serves as the window: the CPU exits with VINTR as soon
 * as the guest could take an interrupt.
 *
 * NMIs without virtual NMI: after injection IRET is intercepted.  The intercept comes before IRET
 * runs, so the mask ends when RIP has left it; if another NMI waits, one single step finds that.
 */
#include "svm_vmcb.h"

void svm_inject(struct hv_vcpu *v, u32 info)
{
	struct svm_vcpu *sv = to_svm(v);

	/* The handler of a software event returns behind the instruction, which only next_rip,
	 * or RIP itself where the CPU has none, can say. */
	sv->vmcb->next_rip = v->regs.rip;
	if ((info & HV_EV_TYPE) == HV_EV_SOFT) {
		sv->soft_length = v->ev.int_length;
		sv->vmcb->next_rip += sv->soft_length;
		if (!svm_nrips)
			v->regs.rip += sv->soft_length;
	}
	sv->vmcb->event_inj = info;
	sv->vmcb->event_inj_error = v->ev.exc_error_code;
	sv->injected = info;
}

/* It was not delivered after all. */
void svm_soft_undo(struct svm_vcpu *sv)
{
	if (!svm_nrips)
		sv->v.regs.rip -= sv->soft_length;
	sv->soft_length = 0;
}

void svm_event_done(struct svm_vcpu *sv)
{
	u32 ours = sv->injected;

	sv->vmcb->event_inj = 0;
	sv->injected = 0;
	if (hv_event_done(&sv->v, ours, sv->vmcb->exit_int_info, sv->vmcb->exit_int_error))
		svm_soft_undo(sv);
	sv->soft_length = 0;
}

/* ---- windows ---- */

static void set_misc1(struct svm_vmcb *c, u32 bit, bool on)
{
	u32 old = c->intercept[SVM_IC_MISC1], new = on ? old | bit : old & ~bit;

	if (old == new)
		return;
	c->intercept[SVM_IC_MISC1] = new;
	svm_dirty(c, SVM_CLEAN_INTERCEPTS);
}

void svm_set_irq_window(struct hv_vcpu *v, bool on)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;

	/* Top priority and TPR ignored: the APIC has judged that already. */
	if (on)
		c->int_ctl |= SVM_V_IRQ | SVM_V_INTR_PRIO | SVM_V_IGN_TPR;
	else
		c->int_ctl &= ~(SVM_V_IRQ | SVM_V_INTR_PRIO | SVM_V_IGN_TPR);
	c->int_vector = 0;
	set_misc1(c, SVM_IC(VINTR), on);
}

static void step_start(struct svm_vcpu *sv)
{
	if (sv->nmi_step)
		return;
	sv->nmi_step = true;
	sv->nmi_step_iret = sv->iret_seen;
	sv->nmi_step_tf = sv->v.regs.rflags & X86_EFLAGS_TF;
	sv->nmi_step_rf = sv->v.regs.rflags & X86_EFLAGS_RF;
}

void svm_set_nmi_window(struct hv_vcpu *v, bool on)
{
	struct svm_vcpu *sv = to_svm(v);

	if (!on)
		return;
	if (sv->nmi_masked && !sv->iret_seen)
		return;		/* the IRET intercept will tell */
	/* At IRET itself, or in a shadow: one instruction from now. */
	step_start(sv);
}

bool svm_get_nmi_masked(struct hv_vcpu *v)
{
	return to_svm(v)->nmi_masked;
}

void svm_set_nmi_masked(struct hv_vcpu *v, bool masked)
{
	struct svm_vcpu *sv = to_svm(v);

	sv->nmi_masked = masked;
	sv->iret_seen = false;
	set_misc1(sv->vmcb, SVM_IC(IRET), masked);
}

/* VMEXIT_IRET: let it run, and watch for its end. */
void svm_iret_intercepted(struct svm_vcpu *sv)
{
	set_misc1(sv->vmcb, SVM_IC(IRET), false);
	sv->iret_seen = true;
	sv->iret_rip = sv->v.regs.rip;
}

/* After every exit while something is watched. */
void svm_iret_check(struct svm_vcpu *sv)
{
	u64 *flags = &sv->v.regs.rflags;

	/* Our TF and RF are in the flags, unless IRET has loaded the guest's own. */
	if (sv->nmi_step && !(sv->nmi_step_iret && sv->v.regs.rip != sv->iret_rip)) {
		if (!sv->nmi_step_tf)
			*flags &= ~(u64)X86_EFLAGS_TF;
		if (!sv->nmi_step_rf)
			*flags &= ~(u64)X86_EFLAGS_RF;
	}
	if (sv->iret_seen && (u32)sv->vmcb->exit_code != SVM_EXIT_IRET &&
	    sv->v.regs.rip != sv->iret_rip) {
		sv->iret_seen = false;
		sv->nmi_masked = false;
	}
}

/*
 * #DB: was it the end of our step?  Then the guest gets it only if it was
 * stepping as well, or hit a breakpoint of its own.
 */
bool svm_nmi_step_done(struct svm_vcpu *sv)
{
	struct svm_vmcb *c = sv->vmcb;

	if (!sv->nmi_step)
		return false;
	sv->nmi_step = false;
	if (!(c->dr6 & DR_STEP) || sv->nmi_step_tf)
		return false;
	c->dr6 = (c->dr6 & ~(u64)DR_STEP) | (sv->v.debug.dr6 & DR_STEP);
	svm_dirty(c, SVM_CLEAN_DRX);
	return !(c->dr6 & ~sv->v.debug.dr6 & 0xf);
}

void svm_update_tpr(struct hv_vcpu *v)
{
	struct svm_vcpu *sv = to_svm(v);
	struct svm_vmcb *c = sv->vmcb;
	u32 ic = c->intercept[SVM_IC_CR] & ~SVM_CR_WRITE(8);
	int irr = hv_lapic_max_irr(v);
	u8 tpr = hv_lapic_get_cr8(v) & SVM_V_TPR;

	sv->tpr = tpr;
	c->int_ctl = (c->int_ctl & ~SVM_V_TPR) | tpr;
	/* A lower TPR would let an interrupt through, a higher one makes the window
	 * pointless: be there when it is set.  (TCG 7.2 moreover dies of a CR8 write
	 * while V_IRQ is set.) */
	if (irr >= 0 || (c->intercept[SVM_IC_MISC1] & SVM_IC(VINTR)))
		ic |= SVM_CR_WRITE(8);
	if (ic != c->intercept[SVM_IC_CR]) {
		c->intercept[SVM_IC_CR] = ic;
		svm_dirty(c, SVM_CLEAN_INTERCEPTS);
	}
}
