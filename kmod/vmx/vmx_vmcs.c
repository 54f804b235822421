// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmx_vmcs.c - guest state in and out of the VMCS, and what exits.
 *
 * SDM vol. 3 chapters 24 (fields), 25 (what exits), 26 (checks at an entry). Whatever is written
 * here may come from a hostile owner of the guest: the worst it may lead to is a failed entry.
 */
#include <asm/desc.h>
#include <asm/segment.h>
#include "vmx_vmcs.h"

/* Exceptions that exit: #DB, #AC, #MC; the first two can loop in the CPU without
 * ever reaching an instruction boundary, the last is the host's. */
#define EXCEPTIONS	(BIT(1) | BIT(17) | BIT(18))

#define PLE_GAP_CYCLES		128
#define PLE_WINDOW_CYCLES	4096

#define PENDING_BS	BIT(14)

/* The VMCS is current and clear; the front end then sets the guest's state. */
void vmx_vmcs_init(struct vmx_vcpu *vx)
{
	/* Among them selectors and a base for which the host has user values: vmx_vcpu_load(). */
	static const u16 zero[] = {
		PAGE_FAULT_ERROR_CODE_MASK, PAGE_FAULT_ERROR_CODE_MATCH, CR3_TARGET_COUNT,
		VM_EXIT_MSR_STORE_COUNT, VM_EXIT_MSR_LOAD_COUNT, VM_ENTRY_MSR_LOAD_COUNT,
		VM_ENTRY_INTR_INFO_FIELD, GUEST_IA32_DEBUGCTL, GUEST_INTERRUPTIBILITY_INFO,
		GUEST_PENDING_DBG_EXCEPTIONS, GUEST_RIP, GUEST_RSP, HOST_DS_SELECTOR,
		HOST_ES_SELECTOR, HOST_FS_SELECTOR, HOST_GS_SELECTOR, HOST_FS_BASE,
	};
	u32 i;

	vx->proc = vmx.proc;
	vx->proc2 = vmx.proc2;
	if (!vx->v.vm->guest_rdtscp)
		vx->proc2 &= ~(u32)SECONDARY_EXEC_ENABLE_RDTSCP;
	vx->direct = false;
	vx->entry_ctl = vmx.entry;
	vmcs_write(PIN_BASED_VM_EXEC_CONTROL, vmx.pin);
	vmcs_write(CPU_BASED_VM_EXEC_CONTROL, vx->proc);
	vmcs_write(SECONDARY_VM_EXEC_CONTROL, vx->proc2);
	vmcs_write(VM_EXIT_CONTROLS, vmx.exit);
	vmcs_write(VM_ENTRY_CONTROLS, vx->entry_ctl);
	vmcs_write(EXCEPTION_BITMAP, EXCEPTIONS);
	vmcs_write(MSR_BITMAP, __pa(vmx.msr_bitmap));
	vmcs_write(EPT_POINTER, vx->eptp);
	/* Mappings are tagged by EPTP and VPID: a VM's own numbers are enough. */
	if (vmx.vpid)
		vmcs_write(VIRTUAL_PROCESSOR_ID, vx->v.id + 1);
	vx->vapic = hv_lapic_page(&vx->v);
	vx->threshold = 0;
	if (vmx.tpr_shadow) {
		vmcs_write(VIRTUAL_APIC_PAGE_ADDR, __pa(vx->vapic));
		vmcs_write(TPR_THRESHOLD, 0);
	}
	memset(vx->eoi_exit, 0, sizeof(vx->eoi_exit));
	for (i = 0; vmx.apicv && i < ARRAY_SIZE(vx->eoi_exit); i++)
		vmcs_write(EOI_EXIT_BITMAP0 + 2 * i, 0);
	if (vmx.pml) {
		vmcs_write(PML_ADDRESS, __pa(vx->pml));
		vmcs_write(GUEST_PML_INDEX, VMX_PML_ENTRIES - 1);
	}
	if (vx->proc2 & SECONDARY_EXEC_PAUSE_LOOP_EXITING) {
		vmcs_write(PLE_GAP, PLE_GAP_CYCLES);
		vmcs_write(PLE_WINDOW, PLE_WINDOW_CYCLES);
	}
	vmcs_write(TSC_OFFSET, vx->v.tsc_offset_hw);
	vmcs_write(VMCS_LINK_POINTER, ~0ULL);
	vmcs_write(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	if (vmx.pin & PIN_BASED_VMX_PREEMPTION_TIMER)
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, vmx.stay);
	if (vmx.perf)
		vmcs_write(GUEST_IA32_PERF_GLOBAL_CTRL, 0);
	/* All bits of both are the host's: every change exits. */
	vmcs_write(CR0_GUEST_HOST_MASK, ~0ULL);
	vmcs_write(CR4_GUEST_HOST_MASK, ~0ULL);
	vx->rip = vx->rsp = 0;
	for (i = 0; i < ARRAY_SIZE(zero); i++)
		vmcs_write(zero[i], 0);
	vmx_host_init();
	vx->ready = true;
}

void vmx_host_init(void)
{
	struct desc_ptr idt;
	u64 msr;

	store_idt(&idt);
	vmcs_write(HOST_IDTR_BASE, idt.address);
	vmcs_write(HOST_CS_SELECTOR, __KERNEL_CS);
	vmcs_write(HOST_SS_SELECTOR, __KERNEL_DS);
	vmcs_write(HOST_TR_SELECTOR, GDT_ENTRY_TSS * 8);
	vmcs_write(HOST_CR0, read_cr0() & ~X86_CR0_TS);
	rdmsrl(MSR_IA32_SYSENTER_CS, msr);
	vmcs_write(HOST_IA32_SYSENTER_CS, (u32)msr);
	rdmsrl(MSR_IA32_SYSENTER_EIP, msr);
	vmcs_write(HOST_IA32_SYSENTER_EIP, msr);
	rdmsrl(MSR_IA32_CR_PAT, msr);
	vmcs_write(HOST_IA32_PAT, msr);
	rdmsrl(MSR_EFER, msr);
	vmcs_write(HOST_IA32_EFER, msr);
	vmcs_write(HOST_RIP, hv_mitigate ? (u64)vmx_exit_point : (u64)vmx_exit_point_bare);
}

/* ---- segments ---- */

/* ES, CS, SS, DS, FS, GS, LDTR, TR: in the encodings as in HV_ES.. */
#define SEG_SELECTOR(n)	(GUEST_ES_SELECTOR + 2 * (n))
#define SEG_BASE(n)	(GUEST_ES_BASE + 2 * (n))
#define SEG_LIMIT(n)	(GUEST_ES_LIMIT + 2 * (n))
#define SEG_AR(n)	(GUEST_ES_AR_BYTES + 2 * (n))

void vmx_get_seg(struct hv_vcpu *v, int n, struct hv_seg *s)
{
	memset(s, 0, sizeof(*s));
	s->selector = vmcs_read(SEG_SELECTOR(n));
	s->base = vmcs_read(SEG_BASE(n));
	s->limit = vmcs_read(SEG_LIMIT(n));
	s->attr = vmcs_read(SEG_AR(n)) & (HV_SEG_UNUSABLE | 0xf0ff);
	if (s->attr & HV_SEG_UNUSABLE)
		s->attr &= ~(HV_SEG_P | HV_SEG_DB);
}

void vmx_get_segs(struct hv_vcpu *v, struct hv_segs *s)
{
	int n;

	memset(s, 0, sizeof(*s));
	for (n = 0; n < HV_SEG_COUNT; n++)
		vmx_get_seg(v, n, &s->seg[n]);
	s->gdtr.base = vmcs_read(GUEST_GDTR_BASE);
	s->gdtr.limit = vmcs_read(GUEST_GDTR_LIMIT);
	s->idtr.base = vmcs_read(GUEST_IDTR_BASE);
	s->idtr.limit = vmcs_read(GUEST_IDTR_LIMIT);
}

void vmx_set_segs(struct hv_vcpu *v, const struct hv_segs *s)
{
	int n;

	for (n = 0; n < HV_SEG_COUNT; n++) {
		const struct hv_seg *seg = &s->seg[n];
		u32 attr = seg->attr;

		if (n == HV_TR)
			attr = (attr & ~HV_SEG_UNUSABLE) | HV_SEG_P | 2;	/* it cannot be null */
		else if (!(attr & HV_SEG_P))
			attr |= HV_SEG_UNUSABLE;
		/* As a load from a descriptor leaves it: accessed; G by the limit. */
		if (!(attr & HV_SEG_UNUSABLE)) {
			attr |= n < HV_LDTR ? 1 : 0;
			attr = (attr & ~HV_SEG_G) | (seg->limit > 0xfffff ? HV_SEG_G : 0);
		}
		vmcs_write(SEG_SELECTOR(n), seg->selector);
		vmcs_write(SEG_BASE(n), n >= HV_FS ? hv_host_canonical(seg->base) : seg->base);
		vmcs_write(SEG_LIMIT(n), seg->limit);
		vmcs_write(SEG_AR(n), attr);
	}
	vmcs_write(GUEST_GDTR_BASE, hv_host_canonical(s->gdtr.base));
	vmcs_write(GUEST_GDTR_LIMIT, s->gdtr.limit);
	vmcs_write(GUEST_IDTR_BASE, hv_host_canonical(s->idtr.base));
	vmcs_write(GUEST_IDTR_LIMIT, s->idtr.limit);
}

int vmx_get_cpl(struct hv_vcpu *v)
{
	return (vmcs_read(GUEST_SS_AR_BYTES) & HV_SEG_DPL) >> HV_SEG_DPL_SHIFT;
}

/* ---- control registers ---- */

/*
 * The CPU's CR0 has no CD and NW: the module keeps guest memory write-back.  It
 * has NE and CR4 has VMXE, because VMX operation insists, and CR4 the host's
 * MCE.  The guest reads the shadows.
 */
void vmx_set_control(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);
	bool lma = v->efer & EFER_LMA;
	u32 entry = lma ? vmx.entry | VM_ENTRY_IA32E_MODE : vmx.entry;
	int i;

	vmcs_write(GUEST_CR0, (v->cr0 & ~(u64)(X86_CR0_CD | X86_CR0_NW)) | X86_CR0_NE);
	vmcs_write(CR0_READ_SHADOW, v->cr0);
	vmcs_write(GUEST_CR3, v->cr3);
	vmcs_write(GUEST_CR4, v->cr4 | X86_CR4_VMXE | vmx.cr4_mce);
	vmcs_write(CR4_READ_SHADOW, v->cr4);
	vmcs_write(GUEST_IA32_EFER, v->efer);
	if (entry != vx->entry_ctl) {
		vx->entry_ctl = entry;
		vmcs_write(VM_ENTRY_CONTROLS, entry);
	}
	if (hv_pae_paging(v))
		for (i = 0; i < 4; i++)
			vmcs_write(GUEST_PDPTR0 + 2 * i, v->pdpte[i]);
}

/* ---- debug registers: DR0-3 and DR6 live in the vCPU, DR7 in the VMCS ---- */

void vmx_get_debug(struct hv_vcpu *v)
{
	v->debug.dr7 = vmcs_read(GUEST_DR7);
}

void vmx_set_debug(struct hv_vcpu *v)
{
	vmcs_write(GUEST_DR7, v->debug.dr7);
}

/* ---- MSRs ---- */

void vmx_get_msrs(struct hv_vcpu *v)
{
	struct hv_msrs *m = &v->msrs;

	m->sysenter_cs = vmcs_read(GUEST_SYSENTER_CS);
	m->sysenter_esp = vmcs_read(GUEST_SYSENTER_ESP);
	m->sysenter_eip = vmcs_read(GUEST_SYSENTER_EIP);
	m->pat = vmcs_read(GUEST_IA32_PAT);
	/* The guest writes it, and SWAPGS does; the others of SYSCALL's exit. */
	rdmsrl(MSR_KERNEL_GS_BASE, m->kernel_gs_base);
}

void vmx_set_msrs(struct hv_vcpu *v)
{
	struct hv_msrs *m = &v->msrs;

	m->lstar = hv_host_canonical(m->lstar);
	m->cstar = hv_host_canonical(m->cstar);
	m->kernel_gs_base = hv_host_canonical(m->kernel_gs_base);
	vmcs_write(GUEST_SYSENTER_CS, (u32)m->sysenter_cs);
	vmcs_write(GUEST_SYSENTER_ESP, hv_host_canonical(m->sysenter_esp));
	vmcs_write(GUEST_SYSENTER_EIP, hv_host_canonical(m->sysenter_eip));
	vmcs_write(GUEST_IA32_PAT, m->pat);
	preempt_disable();
	wrmsrl(MSR_KERNEL_GS_BASE, m->kernel_gs_base);
	vmx_load_lazy(to_vmx(v));
	preempt_enable();
}

void vmx_set_tsc_offset(struct hv_vcpu *v, u64 offset)
{
	v->tsc_offset_hw = offset;
	vmcs_write(TSC_OFFSET, offset);
}

/* ---- interrupt shadow ---- */

u32 vmx_get_shadow(struct hv_vcpu *v)
{
	u32 state = vmcs_read(GUEST_INTERRUPTIBILITY_INFO);

	return (state & GUEST_INTR_STATE_STI ? HV_SHADOW_STI : 0) |
	       (state & GUEST_INTR_STATE_MOV_SS ? HV_SHADOW_MOV_SS : 0);
}

void vmx_set_shadow(struct hv_vcpu *v, u32 shadow)
{
	u32 old = vmcs_read(GUEST_INTERRUPTIBILITY_INFO);
	u32 new = old & ~(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);

	/* Never both; an STI shadow does not outlive IF. */
	if (shadow & HV_SHADOW_MOV_SS)
		new |= GUEST_INTR_STATE_MOV_SS;
	else if ((shadow & HV_SHADOW_STI) && (v->regs.rflags & X86_EFLAGS_IF))
		new |= GUEST_INTR_STATE_STI;
	if (new != old)
		vmcs_write(GUEST_INTERRUPTIBILITY_INFO, new);
	/* The entry checks that a single step under a shadow is a pending one. */
	vmcs_write(GUEST_PENDING_DBG_EXCEPTIONS,
		   shadow && (v->regs.rflags & X86_EFLAGS_TF) ? PENDING_BS : 0);
}
