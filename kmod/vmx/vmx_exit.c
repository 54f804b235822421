// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmx_exit.c - which exit it was.
 *
 * SDM vol. 3 appendix C (exit reasons), section 27.2 (what the CPU tells about
 * each).  What an exit means is hv_exit.c's business.
 */
#include <asm/apicdef.h>
#include "vmx_vmcs.h"
#include "../hv_trace.h"

#define QUAL_NMI_UNBLOCKED	BIT(12)	/* of an EPT violation, a full log: IRET had ended the mask */
#define QUAL_LINEAR		BIT(7)	/* of an EPT violation: there is a linear address... */
#define QUAL_FINAL		BIT(8)	/* ...and this is the access to it, not the walk */
#define DB_QUAL			(0xf | BIT(13) | BIT(14))

/* Those that the kernel's header lacks. */
#define EXIT_REASON_RSM		17
#ifndef EXIT_REASON_UMWAIT
#define EXIT_REASON_UMWAIT	67
#define EXIT_REASON_TPAUSE	68
#endif

int vmx_unexpected(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);

	return hv_exit_fail(v, HV_EXIT_INTERNAL, v->exit_code, vx->qual,
			    vmcs_read(GUEST_PHYSICAL_ADDRESS), vx->vectoring);
}

/* MOV to and from CR0, CR4, CR8; CLTS; LMSW.  SDM vol. 3 table 27-3. */
static int exit_cr(struct hv_vcpu *v)
{
	u64 qual = to_vmx(v)->qual, *gpr = &v->regs.gpr[qual >> 8 & 0xf], val;
	int cr = qual & 0xf;

	switch (qual >> 4 & 3) {
	case 0:
		val = hv_in_64bit(v) ? *gpr : (u32)*gpr;
		break;
	case 1:		/* only CR8 exits */
		*gpr = hv_lapic_get_cr8(v);
		hv_retire(v, v->next_rip);
		return HV_ENTER;
	case 2:
		cr = 0;
		val = v->cr0 & ~(u64)X86_CR0_TS;
		break;
	default:
		cr = HV_CR0_LMSW;
		val = qual >> LMSW_SOURCE_DATA_SHIFT;
	}
	return hv_exit_write_cr(v, cr, val, v->next_rip);
}

static int exit_exception(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);
	u32 info = vmcs_read(VM_EXIT_INTR_INFO);

	if ((info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR)
		return HV_LOOP;		/* the host's, and taken already */
	if ((info & INTR_INFO_UNBLOCK_NMI) && !(vx->vectoring & HV_EV_VALID))
		vmx_set_nmi_masked(v, true);
	switch (info & INTR_INFO_VECTOR_MASK) {
	case X86_TRAP_DB:
		/* ICEBP is a trap, but this exit comes before it. */
		if ((info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_PRIV_SW_EXCEPTION)
			v->regs.rip += vmcs_read(VM_EXIT_INSTRUCTION_LEN);
		hv_queue_db(v, vx->qual & DB_QUAL);
		return HV_ENTER;
	case X86_TRAP_AC:
		if (!vmx_split_lock(vx))
			hv_queue_exception(v, X86_TRAP_AC);
		return HV_ENTER;
	case X86_TRAP_MC:
		return HV_LOOP;		/* the same */
	}
	return vmx_unexpected(v);
}

/* ---- page faults of the second stage ---- */

static u32 ept_access(u64 qual)
{
	u32 access = (qual & (QUAL_LINEAR | QUAL_FINAL)) == QUAL_LINEAR ? HV_ACCESS_PT : 0;

	if (qual & BIT(2))
		return access | HV_ACCESS_EXEC;
	return access | (qual & BIT(1) ? HV_ACCESS_WRITE : HV_ACCESS_READ);
}

static int ept_fast(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);

	if (unlikely(vx->vectoring & HV_EV_VALID))
		return HV_SLOW;		/* under the delivery of an event: no instruction's */
	if (unlikely(vx->qual & QUAL_NMI_UNBLOCKED))
		vmx_set_nmi_masked(v, true);
	return hv_exit_npf_fast(v, vmcs_read(GUEST_PHYSICAL_ADDRESS), ept_access(vx->qual));
}

/* ---- the switch ---- */

/* SDM vol. 3 table 27-5. */
static int exit_io(struct hv_vcpu *v)
{
	u64 qual = to_vmx(v)->qual;

	return hv_exit_io(v, qual >> 16, (qual & 7) + 1, qual & BIT(3), qual & BIT(4),
			  qual & BIT(5), v->next_rip);
}

static int entry_failed(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);

	return hv_exit_fail(v, HV_EXIT_FAIL_ENTRY, v->exit_code, vx->qual,
			    v->cr0 << 32 | (u32)v->cr4, v->efer);
}

int vmx_fast_exit(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);
	u32 code = v->exit_code;

	trace_hv_exit(v, code, vx->qual, vx->vectoring);
	if (unlikely(code == VMX_EXIT_NO_VMX))
		return hv_exit_off(v);
	if (unlikely(code & (VMX_EXIT_FAILED | VMX_EXIT_INSN_ERROR)))
		return entry_failed(v);

	switch (code) {
	case EXIT_REASON_EPT_VIOLATION:
		return ept_fast(v);
	case EXIT_REASON_EXTERNAL_INTERRUPT:
		/* Not acknowledged: it is taken when the section has ended. */
		v->stat[HV_STAT_INTR]++;
		return HV_LOOP;
	case EXIT_REASON_EXCEPTION_NMI:
		return exit_exception(v);
	case EXIT_REASON_INTERRUPT_WINDOW:
		/* The window is open; hv_events_enter() finds out for what. */
		v->stat[HV_STAT_WINDOWS]++;
		vmx_set_irq_window(v, false);
		return HV_ENTER;
	case EXIT_REASON_NMI_WINDOW:
		vmx_set_nmi_window(v, false);
		return HV_ENTER;
	case EXIT_REASON_TPR_BELOW_THRESHOLD:
		return HV_ENTER;
	case EXIT_REASON_TRIPLE_FAULT:
		return hv_exit_shutdown(v);
	case EXIT_REASON_TASK_SWITCH:
		return HV_SLOW;
	case EXIT_REASON_PML_FULL:
		if (unlikely(vx->qual & QUAL_NMI_UNBLOCKED) && !(vx->vectoring & HV_EV_VALID))
			vmx_set_nmi_masked(v, true);
		vmx_take_log(vx);
		return HV_ENTER;
	case EXIT_REASON_EOI_INDUCED:
		return hv_lapic_eoi_done(v, vx->qual);
	case EXIT_REASON_APIC_WRITE:	/* a self-IPI with a vector that there is not */
		hv_lapic_msr_write(v, APIC_BASE_MSR + (APIC_SELF_IPI >> 4),
				   vx->vapic[APIC_SELF_IPI]);
		return HV_ENTER;
	case EXIT_REASON_PREEMPTION_TIMER:	/* vmx_stay_us */
	case EXIT_REASON_INIT_SIGNAL:
	case EXIT_REASON_MCE_DURING_VMENTRY:
		return HV_LOOP;
	case EXIT_REASON_GDTR_IDTR:	/* neither is asked for */
	case EXIT_REASON_LDTR_TR:
	case EXIT_REASON_EPT_MISCONFIG:
		return vmx_unexpected(v);
	}

	/* The rest are instructions, whose length the CPU tells. */
	v->next_rip = v->regs.rip + vmcs_read(VM_EXIT_INSTRUCTION_LEN);
	switch (code) {
	case EXIT_REASON_CPUID:
		return hv_exit_cpuid(v);
	case EXIT_REASON_IO_INSTRUCTION:
		return exit_io(v);
	case EXIT_REASON_MSR_READ:
		return hv_exit_rdmsr(v);
	case EXIT_REASON_MSR_WRITE:
		return hv_exit_wrmsr(v);
	case EXIT_REASON_HLT:
		return hv_exit_hlt(v);
	case EXIT_REASON_CR_ACCESS:
		return exit_cr(v);
	case EXIT_REASON_DR_ACCESS:
		return hv_exit_mov_dr(v, vx->qual & DEBUG_REG_ACCESS_NUM,
				      !(vx->qual & TYPE_MOV_FROM_DR),
				      DEBUG_REG_ACCESS_REG(vx->qual), v->next_rip);
	case EXIT_REASON_VMCALL:
		return hv_exit_hypercall(v);
	case EXIT_REASON_XSETBV:
		return hv_exit_xsetbv(v);
	case EXIT_REASON_WBINVD:
	case EXIT_REASON_INVD:	/* guest memory is coherent, and INVD would not be kind */
		return hv_exit_skip(v);
	case EXIT_REASON_PAUSE_INSTRUCTION:
		return HV_SLOW;
	case EXIT_REASON_RDPMC:	/* no counters: every index is out of range */
		return hv_exit_gp(v);
	case EXIT_REASON_RSM:	/* never in SMM; none of the others is in the guest's CPUID */
	case EXIT_REASON_MONITOR_INSTRUCTION:
	case EXIT_REASON_MWAIT_INSTRUCTION:
	case EXIT_REASON_VMCLEAR ... EXIT_REASON_VMON:
	case EXIT_REASON_INVEPT:
	case EXIT_REASON_INVVPID:
	case EXIT_REASON_VMFUNC:
	case EXIT_REASON_XSAVES:
	case EXIT_REASON_XRSTORS:
	case EXIT_REASON_UMWAIT:
	case EXIT_REASON_TPAUSE:
		return hv_exit_ud(v);
	}
	return vmx_unexpected(v);
}

/* Only what vmx_fast_exit() called HV_SLOW comes here. */
int vmx_slow_exit(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);

	switch ((u32)v->exit_code) {
	case EXIT_REASON_EPT_VIOLATION:
		return hv_exit_npf(v, vmcs_read(GUEST_PHYSICAL_ADDRESS), ept_access(vx->qual),
				   vx->vectoring & HV_EV_VALID);
	case EXIT_REASON_MSR_READ:
	case EXIT_REASON_MSR_WRITE:
		return hv_exit_msr_slow(v, v->exit_code == EXIT_REASON_MSR_WRITE);
	case EXIT_REASON_PAUSE_INSTRUCTION:
		return hv_exit_pause(v, v->next_rip);
	}
	return hv_exit_insn(v);
}
