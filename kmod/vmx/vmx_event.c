// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmx_event.c - events into the guest, and back when their delivery did not end.
 *
 * SDM vol. 3 sections 24.8.3 (injection), 24.9.3 (IDT-vectoring information),
 * 24.4.2 (interruptibility), 25.2 (windows).  Order and priority are hv_event.c's.
 * Virtual NMIs are required, so the CPU itself keeps the guest's NMI mask.
 */
#include <linux/kernel.h>
#include <asm/apicdef.h>
#include <asm/processor-flags.h>
#include "vmx_vmcs.h"

#define VEC_NMI		2
/* #DF, #TS, #NP, #SS, #GP, #PF, #AC push an error code, the CPU insists. */
#define VEC_ERROR_CODE	(BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17))

static void inject(struct vmx_vcpu *vx, u32 info)
{
	vx->injected = info | INTR_INFO_VALID_MASK;
	vmcs_write(VM_ENTRY_INTR_INFO_FIELD, vx->injected);
}

static void clear_blocking(u32 bits)
{
	u32 old = vmcs_read(GUEST_INTERRUPTIBILITY_INFO);

	if (unlikely(old & bits))
		vmcs_write(GUEST_INTERRUPTIBILITY_INFO, old & ~bits);
}

void vmx_inject_exception(struct hv_vcpu *v)
{
	const struct hv_events *e = &v->ev;
	u32 info = INTR_TYPE_HARD_EXCEPTION | e->exc_vector;

	/* Real mode has no error codes, whoever raised the exception. */
	if ((BIT(e->exc_vector) & VEC_ERROR_CODE) && (v->cr0 & X86_CR0_PE)) {
		info |= INTR_INFO_DELIVER_CODE_MASK;
		vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, (u16)e->exc_error_code);
	}
	inject(to_vmx(v), info);
}

void vmx_inject_irq(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);
	const struct hv_events *e = &v->ev;

	clear_blocking(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);
	if (!(e->int_flags & HV_INT_SOFT)) {
		inject(vx, INTR_TYPE_EXT_INTR | e->int_vector);
		return;
	}
	/* The handler returns behind the instruction. */
	vx->inject_length = e->int_length;
	vmcs_write(VM_ENTRY_INSTRUCTION_LEN, e->int_length);
	inject(vx, INTR_TYPE_SOFT_INTR | e->int_vector);
}

void vmx_inject_nmi(struct hv_vcpu *v)
{
	/* The entry sets the mask, and refuses one that is set. */
	clear_blocking(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS | GUEST_INTR_STATE_NMI);
	inject(to_vmx(v), INTR_TYPE_NMI_INTR | VEC_NMI);
}

/*
 * After an exit: what was injected is delivered, unless the vectoring information
 * holds an event whose delivery caused the exit.  That event is given back;
 * software interrupts and exceptions of the guest's own are not, because RIP
 * still stands at their instruction, which simply runs again.
 */
void vmx_event_done(struct vmx_vcpu *vx)
{
	struct hv_events *e = &vx->v.ev;
	u32 info = vx->vectoring, ours = vx->injected;
	u8 vector = info & INTR_INFO_VECTOR_MASK;

	vx->injected = 0;
	if (ours) {
		if (e->exc_flags & HV_EXC_INJECTED)
			e->exc_flags = 0;
		e->nmi_injected = 0;
		e->int_flags = 0;
	}
	if (!(info & INTR_INFO_VALID_MASK))
		return;
	switch (info & INTR_INFO_INTR_TYPE_MASK) {
	case INTR_TYPE_EXT_INTR:
		e->int_flags = HV_INT_INJECTED;
		e->int_vector = vector;
		break;
	case INTR_TYPE_NMI_INTR:
		e->nmi_injected = 1;
		break;
	case INTR_TYPE_HARD_EXCEPTION:
		e->exc_flags = HV_EXC_INJECTED;
		e->exc_vector = vector;
		e->exc_error_code = 0;
		if (info & INTR_INFO_DELIVER_CODE_MASK) {
			e->exc_flags |= HV_EXC_ERROR_CODE;
			e->exc_error_code = vmcs_read(IDT_VECTORING_ERROR_CODE);
		}
		break;
	case INTR_TYPE_SOFT_INTR:
		if ((ours & INTR_INFO_INTR_TYPE_MASK) != INTR_TYPE_SOFT_INTR)
			break;
		e->int_flags = HV_INT_INJECTED | HV_INT_SOFT;
		e->int_vector = vector;
		e->int_length = vx->inject_length;
		break;
	}
}

/* ---- windows ---- */

static bool blocked(u32 by)
{
	return vmcs_read(GUEST_INTERRUPTIBILITY_INFO) & by;
}

bool vmx_irq_allowed(struct hv_vcpu *v)
{
	return (v->regs.rflags & X86_EFLAGS_IF) &&
	       !blocked(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);
}

bool vmx_nmi_allowed(struct hv_vcpu *v)
{
	return !blocked(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS | GUEST_INTR_STATE_NMI);
}

void vmx_set_proc(struct vmx_vcpu *vx, u32 bit, bool on)
{
	u32 new = on ? vx->proc | bit : vx->proc & ~bit;

	if (new == vx->proc)
		return;
	vx->proc = new;
	vmcs_write(CPU_BASED_VM_EXEC_CONTROL, new);
}

void vmx_set_irq_window(struct hv_vcpu *v, bool on)
{
	vmx_set_proc(to_vmx(v), CPU_BASED_INTR_WINDOW_EXITING, on);
}

void vmx_set_nmi_window(struct hv_vcpu *v, bool on)
{
	/* An STI shadow need not close the CPU's NMI window, but it closes ours: take
	 * the interrupt window then, which STI has opened one instruction from now. */
	bool sti = on && blocked(GUEST_INTR_STATE_STI) && (v->regs.rflags & X86_EFLAGS_IF);

	vmx_set_proc(to_vmx(v), CPU_BASED_NMI_WINDOW_EXITING, on && !sti);
	if (sti)
		vmx_set_irq_window(v, true);
}

bool vmx_get_nmi_masked(struct hv_vcpu *v)
{
	return blocked(GUEST_INTR_STATE_NMI);
}

void vmx_set_nmi_masked(struct hv_vcpu *v, bool masked)
{
	u32 state = vmcs_read(GUEST_INTERRUPTIBILITY_INFO) & ~GUEST_INTR_STATE_NMI;

	vmcs_write(GUEST_INTERRUPTIBILITY_INFO, state | (masked ? GUEST_INTR_STATE_NMI : 0));
}

/*
 * A TPR below the threshold exits: there an interrupt that waits gets its turn.
 * Without a TPR shadow every access to CR8 exits.
 */
void vmx_update_tpr(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);
	int irr = hv_lapic_max_irr(v);
	u8 tpr = hv_lapic_get_cr8(v);
	u32 threshold = irr < 0 ? 0 : min_t(u32, irr >> 4, tpr);

	if (!vmx.tpr_shadow)
		return;
	vx->tpr = tpr;
	vx->vapic[APIC_TASKPRI] = tpr << 4;
	if (threshold != vx->threshold) {
		vx->threshold = threshold;
		vmcs_write(TPR_THRESHOLD, threshold);
	}
}
