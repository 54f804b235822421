// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmx_event.c - events into the guest, and back when their delivery did not end.
 *
 * SDM vol. 3 sections 24.8.3 (injection), 24.9.3 (IDT-vectoring information),
 * 24.4.2 (interruptibility), 25.2 (windows).  Order and priority are hv_event.c's.
 * Virtual NMIs are required, so the CPU itself keeps the guest's NMI mask.
 */
#include <asm/apicdef.h>
#include "vmx_vmcs.h"

static void clear_blocking(u32 bits)
{
	u32 old = vmcs_read(GUEST_INTERRUPTIBILITY_INFO);

	if (unlikely(old & bits))
		vmcs_write(GUEST_INTERRUPTIBILITY_INFO, old & ~bits);
}

void vmx_inject(struct hv_vcpu *v, u32 info)
{
	u32 type = info & HV_EV_TYPE;

	/* The entry sets the mask of an NMI, and refuses one that is set. */
	if (type != HV_EV_EXCEPTION)
		clear_blocking(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS |
			       (type == HV_EV_NMI ? GUEST_INTR_STATE_NMI : 0));
	if (info & HV_EV_ERROR)
		vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, (u16)v->ev.exc_error_code);
	/* The handler returns behind the instruction. */
	if (type == HV_EV_SOFT)
		vmcs_write(VM_ENTRY_INSTRUCTION_LEN, v->ev.int_length);
	to_vmx(v)->injected = info;
	vmcs_write(VM_ENTRY_INTR_INFO_FIELD, info);
}

void vmx_event_done(struct vmx_vcpu *vx)
{
	u32 ours = vx->injected;

	vx->injected = 0;
	hv_event_done(&vx->v, ours, vx->vectoring,
		      vx->vectoring & HV_EV_ERROR ? vmcs_read(IDT_VECTORING_ERROR_CODE) : 0);
}

/* ---- windows ---- */

static bool blocked(u32 by)
{
	return vmcs_read(GUEST_INTERRUPTIBILITY_INFO) & by;
}

void vmx_set_proc(struct vmx_vcpu *vx, u32 bit, bool on)
{
	u32 new = on ? vx->proc | bit : vx->proc & ~bit;

	if (new == vx->proc)
		return;
	vx->proc = new;
	vmcs_write(CPU_BASED_VM_EXEC_CONTROL, new);
}

void vmx_set_proc2(struct vmx_vcpu *vx, u32 bits, bool on)
{
	u32 new = on ? vx->proc2 | bits : vx->proc2 & ~bits;

	if (new == vx->proc2)
		return;
	vx->proc2 = new;
	vmcs_write(SECONDARY_VM_EXEC_CONTROL, new);
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

/* ---- priority ---- */

void vmx_set_direct(struct vmx_vcpu *vx, bool on)
{
	vx->direct = on;
	vmx_set_proc2(vx, VMX_APICV, on);
	vmcs_write(MSR_BITMAP, __pa(on ? vmx.msr_bitmap_direct : vmx.msr_bitmap));
}

/*
 * SDM 29.1, 29.2: RVI and SVI, the highest vectors of IRR and ISR, are in the VMCS, where the CPU
 * keeps them up to date; an EOI exits if its vector has a bit set, which is what the TMR is for.
 */
static void take_requests(struct vmx_vcpu *vx)
{
	const u32 *tmr = (u32 *)(vx->vapic + APIC_TMR);
	u64 map;
	int i;

	vmcs_write(GUEST_INTR_STATUS, hv_lapic_take(&vx->v));
	for (i = 0; i < ARRAY_SIZE(vx->eoi_exit); i++, tmr += 8) {
		map = (u64)READ_ONCE(tmr[4]) << 32 | READ_ONCE(tmr[0]);
		if (map == vx->eoi_exit[i])
			continue;
		vx->eoi_exit[i] = map;
		vmcs_write(EOI_EXIT_BITMAP0 + 2 * i, map);
	}
}

/*
 * A TPR below the threshold exits: there an interrupt that waits gets its turn.
 * Without a TPR shadow every access to CR8 exits.
 */
void vmx_update_tpr(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);
	u32 threshold;
	int irr;

	if (hv_lapic_direct(v)) {
		take_requests(vx);
		return;
	}
	if (!vmx.tpr_shadow)
		return;
	irr = hv_lapic_max_irr(v);
	vx->tpr = hv_lapic_get_cr8(v);
	threshold = irr < 0 ? 0 : min_t(u32, irr >> 4, vx->tpr);
	if (threshold != vx->threshold) {
		vx->threshold = threshold;
		vmcs_write(TPR_THRESHOLD, threshold);
	}
}
