// SPDX-License-Identifier: GPL-2.0-only
/*
 * svm_event.c - events into the guest, and back when their delivery did not end.
 *
 * APM vol. 2 sections 15.20 (EVENTINJ), 15.7.2 (EXITINTINFO), 15.21 (virtual
 * interrupts), 15.21.9 (shadow).  Order and priority are hv_event.c's.
 *
 * Interrupts go in by EVENTINJ only.  V_IRQ serves as the window: the CPU exits
 * with VINTR as soon as the guest could take an interrupt.
 *
 * NMIs without virtual NMI: after injection IRET is intercepted.  The intercept
 * comes before IRET runs, so the mask ends when RIP has left it; if another NMI
 * is waiting, one single step finds that moment.
 */
#include <linux/kernel.h>
#include <uapi/asm/debugreg.h>
#include <asm/processor-flags.h>
#include "svm_vmcb.h"

#define VEC_NMI	2
#define VEC_BP	3
#define VEC_OF	4

static void inject(struct svm_vcpu *sv, u32 ev, u32 error)
{
	sv->vmcb->event_inj = ev | SVM_EV_VALID;
	sv->vmcb->event_inj_error = error;
	sv->injected = ev | SVM_EV_VALID;
}

void svm_inject_exception(struct hv_vcpu *v)
{
	struct svm_vcpu *sv = to_svm(v);
	const struct hv_events *e = &v->ev;
	u32 ev = SVM_EV_EXCEPTION | e->exc_vector;

	/* Real mode has no error codes, whoever raised the exception. */
	if ((e->exc_flags & HV_EXC_ERROR_CODE) && (v->cr0 & X86_CR0_PE))
		ev |= SVM_EV_ERROR;
	if (svm_nrips && (e->exc_vector == VEC_BP || e->exc_vector == VEC_OF))
		sv->vmcb->next_rip = v->regs.rip;
	inject(sv, ev, e->exc_error_code);
}

void svm_inject_irq(struct hv_vcpu *v)
{
	struct svm_vcpu *sv = to_svm(v);
	const struct hv_events *e = &v->ev;

	if (!(e->int_flags & HV_INT_SOFT)) {
		inject(sv, SVM_EV_INTR | e->int_vector, 0);
		return;
	}
	/* The handler returns behind the instruction, which only next_rip, or RIP
	 * itself where the CPU has none, can say. */
	sv->soft_length = e->int_length;
	sv->vmcb->next_rip = v->regs.rip + e->int_length;
	if (!svm_nrips)
		v->regs.rip += e->int_length;
	inject(sv, SVM_EV_SOFT | e->int_vector, 0);
}

void svm_soft_undo(struct svm_vcpu *sv)
{
	if (likely(!sv->soft_length))
		return;
	if (!svm_nrips)
		sv->v.regs.rip -= sv->soft_length;
	sv->soft_length = 0;
}

void svm_inject_nmi(struct hv_vcpu *v)
{
	inject(to_svm(v), SVM_EV_NMI | VEC_NMI, 0);
}

/*
 * After an exit: what was injected is delivered, unless EXITINTINFO holds an
 * event whose delivery caused the exit.  That event is given back; software
 * interrupts and exceptions of the guest's own are not, because RIP still
 * stands at their instruction, which simply runs again.
 */
void svm_event_done(struct svm_vcpu *sv)
{
	struct hv_events *e = &sv->v.ev;
	u32 info = sv->vmcb->exit_int_info, ours = sv->injected;
	u8 vector = info & SVM_EV_VECTOR, length = sv->soft_length;

	sv->vmcb->event_inj = 0;
	sv->injected = 0;
	if (ours) {
		if (e->exc_flags & HV_EXC_INJECTED)
			e->exc_flags = 0;
		e->nmi_injected = 0;
		e->int_flags = 0;
	}
	sv->soft_length = 0;
	if (!(info & SVM_EV_VALID))
		return;

	switch (info & SVM_EV_TYPE) {
	case SVM_EV_INTR:
		e->int_flags = HV_INT_INJECTED;
		e->int_vector = vector;
		break;
	case SVM_EV_NMI:
		e->nmi_injected = 1;
		break;
	case SVM_EV_EXCEPTION:
		if ((vector == VEC_BP || vector == VEC_OF) && (ours & SVM_EV_TYPE) != SVM_EV_EXCEPTION)
			break;
		e->exc_flags = HV_EXC_INJECTED;
		e->exc_vector = vector;
		e->exc_error_code = 0;
		if (info & SVM_EV_ERROR) {
			e->exc_flags |= HV_EXC_ERROR_CODE;
			e->exc_error_code = sv->vmcb->exit_int_error;
		}
		break;
	case SVM_EV_SOFT:
		if ((ours & SVM_EV_TYPE) != SVM_EV_SOFT || !length)
			break;
		e->int_flags = HV_INT_INJECTED | HV_INT_SOFT;
		e->int_vector = vector;
		e->int_length = length;
		sv->soft_length = length;
		svm_soft_undo(sv);
		break;
	}
}

/* ---- windows ---- */

bool svm_irq_allowed(struct hv_vcpu *v)
{
	return (v->regs.rflags & X86_EFLAGS_IF) && !(to_svm(v)->vmcb->int_state & SVM_SHADOW);
}

bool svm_nmi_allowed(struct hv_vcpu *v)
{
	struct svm_vcpu *sv = to_svm(v);

	return !sv->nmi_masked && !(sv->vmcb->int_state & SVM_SHADOW);
}

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
	set_misc1(c, SVM_I1_VINTR, on);
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
	set_misc1(sv->vmcb, SVM_I1_IRET, masked);
}

/* VMEXIT_IRET: let it run, and watch for its end. */
void svm_iret_intercepted(struct svm_vcpu *sv)
{
	set_misc1(sv->vmcb, SVM_I1_IRET, false);
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
	c->dr6 = (c->dr6 & ~(u64)DR_STEP) | (sv->v.dr6 & DR_STEP);
	svm_dirty(c, SVM_CLEAN_DRX);
	return !(c->dr6 & ~sv->v.dr6 & 0xf);
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
	if (irr >= 0 || (c->intercept[SVM_IC_MISC1] & SVM_I1_VINTR))
		ic |= SVM_CR_WRITE(8);
	if (ic != c->intercept[SVM_IC_CR]) {
		c->intercept[SVM_IC_CR] = ic;
		svm_dirty(c, SVM_CLEAN_INTERCEPTS);
	}
}
