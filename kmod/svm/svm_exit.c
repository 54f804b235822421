// SPDX-License-Identifier: GPL-2.0-only
/*
 * svm_exit.c - which exit it was.
 *
 * APM vol. 2 appendix C (exit codes) and the section of each intercept.  What
 * an exit means is hv_exit.c's business; here it is only told what the CPU
 * said, and where the CPU said too little, the instruction is looked at.
 */
#include "svm_vmcb.h"
#include "../hv_trace.h"

int svm_unexpected(struct hv_vcpu *v)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;

	return hv_exit_fail(v, HV_EXIT_INTERNAL, v->exit_code, c->exit_info1, c->exit_info2,
			    c->exit_int_info);
}

/* Section: v->next_rip is made known, or sleeping is needed for it. */
static bool know_next_rip(struct hv_vcpu *v)
{
	int len;

	if (v->next_rip)
		return true;
	len = hv_insn_length(v, true);
	if (!len)
		return false;
	v->next_rip = v->regs.rip + len;
	return true;
}

/* ---- control and debug registers ---- */

/* HV_ENTER and the instruction in @in, or what else to do. */
static int look_at_insn(struct hv_vcpu *v, struct hv_sysreg_insn *in)
{
	if ((!v->insn.avail && hv_fetch(v, true)) || !know_next_rip(v))
		return HV_SLOW;
	/* Else the code changed meanwhile. */
	if (hv_decode_sysreg(v->insn.bytes, v->insn.avail, hv_code_mode(v), in)) {
		hv_exit_ud(v);
		return HV_LOOP;
	}
	return HV_ENTER;
}

/* MOV to and from CR0, CR4, CR8; CLTS; LMSW; SMSW.  APM 15.8. */
static int exit_cr(struct hv_vcpu *v, int cr, bool write)
{
	u64 info = to_svm(v)->vmcb->exit_info1, val;
	bool wide = hv_in_64bit(v);
	struct hv_sysreg_insn in;
	int ret;

	if (svm_decode && (info >> 63) && v->next_rip) {
		in = (struct hv_sysreg_insn){ .op = write ? 0x22 : 0x20, .rm = info & 0xf };
	} else {
		ret = look_at_insn(v, &in);
		if (ret != HV_ENTER)
			return ret;
	}
	switch (in.op) {
	case 0x20:
		val = cr == 0 ? v->cr0 : cr == 4 ? v->cr4 : hv_lapic_get_cr8(v);
		hv_write_gpr(v, in.rm, val, wide ? 8 : 4);
		break;
	case 0x22:
		val = v->regs.gpr[in.rm];
		return hv_exit_write_cr(v, cr, wide ? val : (u32)val, v->next_rip);
	case 0x06:
		return hv_exit_write_cr(v, 0, v->cr0 & ~(u64)X86_CR0_TS, v->next_rip);
	case 0x01:
		/* A memory operand needs the emulator; nobody has used one since 1990. */
		if (in.memory || ((in.reg & 7) != 4 && (in.reg & 7) != 6))
			return HV_SLOW;
		if ((in.reg & 7) == 6)
			return hv_exit_write_cr(v, HV_CR0_LMSW, v->regs.gpr[in.rm], v->next_rip);
		hv_write_gpr(v, in.rm, v->cr0, in.opsize);
		break;
	default:
		return hv_exit_ud(v);
	}
	hv_retire(v, v->next_rip);
	return HV_ENTER;
}

/* MOV to and from DR.  APM 15.8.2, 13.1.1. */
static int exit_dr(struct hv_vcpu *v, int dr, bool write)
{
	struct hv_sysreg_insn in;
	int ret;

	if (svm_decode && v->next_rip) {
		in.rm = to_svm(v)->vmcb->exit_info1 & 0xf;
	} else {
		ret = look_at_insn(v, &in);
		if (ret != HV_ENTER)
			return ret;
		if (in.op != 0x21 && in.op != 0x23)
			return hv_exit_ud(v);
	}
	return hv_exit_mov_dr(v, dr, write, in.rm, v->next_rip);
}

/* ---- exceptions ---- */

static int exit_exception(struct hv_vcpu *v, u8 vector)
{
	switch (vector) {
	case X86_TRAP_DB:
		if (svm_nmi_step_done(to_svm(v)))
			return HV_ENTER;
		/* APM 15.12.2: DR6 and DR7 already show what the handler is to see. */
		svm_get_debug(v);
		hv_queue_exception(v, X86_TRAP_DB);
		return HV_ENTER;
	case X86_TRAP_AC:
		hv_queue_exception(v, X86_TRAP_AC);
		return HV_ENTER;
	case X86_TRAP_MC:
		hv_machine_check();
		return HV_LOOP;
	}
	return svm_unexpected(v);
}

/* ---- page faults of the second stage ---- */

static u32 npf_access(const struct svm_vmcb *c)
{
	u64 info = c->exit_info1;
	u32 access = info & SVM_NPF_GUEST_WALK ? HV_ACCESS_PT : 0;

	if (info & SVM_NPF_FETCH)
		return access | HV_ACCESS_EXEC;
	return access | (info & SVM_NPF_WRITE ? HV_ACCESS_WRITE : HV_ACCESS_READ);
}

static int npf_fast(struct hv_vcpu *v)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;
	u32 access = npf_access(c);

	if (svm_decode && !(access & (HV_ACCESS_EXEC | HV_ACCESS_PT)) && (c->insn_len & 0xf)) {
		v->insn.avail = c->insn_len & 0xf;
		memcpy(v->insn.bytes, c->insn_bytes, sizeof(c->insn_bytes));
	}
	/* A fault under the delivery of an event is not an instruction's. */
	if (unlikely(c->exit_int_info & HV_EV_VALID))
		return HV_SLOW;
	return hv_exit_npf_fast(v, c->exit_info2, access);
}

/* ---- the switch ---- */

/* APM 15.10.2: EXITINFO1 describes the access, EXITINFO2 is the next RIP. */
static int exit_io(struct hv_vcpu *v)
{
	u64 info = to_svm(v)->vmcb->exit_info1;

	return hv_exit_io(v, info >> 16, info >> 4 & 7, info & 1, info >> 2 & 1, info >> 3 & 1,
			  to_svm(v)->vmcb->exit_info2);
}

static int exit_invalid(struct hv_vcpu *v)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;

	return hv_exit_fail(v, HV_EXIT_FAIL_ENTRY, SVM_EXIT_INVALID,
			    (u64)c->cs.attr << 32 | c->asid, c->cr0 << 32 | (u32)c->cr4, c->efer);
}

static int exit_shutdown(struct hv_vcpu *v)
{
	/* APM 15.14.3: the VMCB's state is undefined now. */
	svm_vmcb_init(to_svm(v));
	hv_segs_reset(v);
	svm_set_control(v);
	svm_set_msrs(v);
	svm_set_debug(v);
	return hv_exit_shutdown(v);
}

/* Inlined where it is used: one more call would be one on every exit. */
static __always_inline int dispatch(struct hv_vcpu *v, u32 code)
{
	struct svm_vcpu *sv = to_svm(v);
	struct svm_vmcb *c = sv->vmcb;

	switch (code) {
	case SVM_EXIT_CPUID:
		return hv_exit_cpuid(v);
	case SVM_EXIT_NPF:
		return npf_fast(v);
	case SVM_EXIT_IOIO:
		return exit_io(v);
	case SVM_EXIT_MSR:
		return c->exit_info1 & 1 ? hv_exit_wrmsr(v) : hv_exit_rdmsr(v);
	case SVM_EXIT_HLT:
		return hv_exit_hlt(v);
	case SVM_EXIT_INTR:
		v->stat[HV_STAT_INTR]++;
		return HV_LOOP;
	case SVM_EXIT_NMI:	/* taken at STGI */
	case SVM_EXIT_SMI:
	case SVM_EXIT_INIT:
	case SVM_EXIT_FERR_FREEZE:
		return HV_LOOP;
	case SVM_EXIT_VINTR:
		/* The window is open; hv_events_enter() finds out for what. */
		v->stat[HV_STAT_WINDOWS]++;
		svm_set_irq_window(v, false);
		return HV_ENTER;
	case SVM_EXIT_IRET:
		svm_iret_intercepted(sv);
		return HV_ENTER;
	case SVM_EXIT_VMMCALL:
		/* It acts before it retires: have the length first. */
		return know_next_rip(v) ? hv_exit_hypercall(v) : HV_SLOW;
	case SVM_EXIT_XSETBV:
		return hv_exit_xsetbv(v);
	case SVM_EXIT_PAUSE:
		return HV_SLOW;
	case SVM_EXIT_READ_CR0 ... SVM_EXIT_READ_CR0 + 15:
		return exit_cr(v, code & 0xf, false);
	case SVM_EXIT_WRITE_CR0 ... SVM_EXIT_WRITE_CR0 + 15:
		return exit_cr(v, code & 0xf, true);
	case SVM_EXIT_READ_DR0 ... SVM_EXIT_READ_DR0 + 7:
		return exit_dr(v, code & 7, false);
	case SVM_EXIT_WRITE_DR0 ... SVM_EXIT_WRITE_DR0 + 7:
		return exit_dr(v, code & 7, true);
	case SVM_EXIT_EXCP_BASE ... SVM_EXIT_LAST_EXCP:
		return exit_exception(v, code & 0x1f);
	case SVM_EXIT_WBINVD:
	case SVM_EXIT_INVD:	/* guest memory is coherent, and INVD would not be kind */
		return hv_exit_skip(v);
	case SVM_EXIT_RDPMC:	/* no counters: every index is out of range */
		return hv_exit_gp(v);
	case SVM_EXIT_RSM:	/* never in SMM */
	case SVM_EXIT_RDTSCP:	/* intercepted for guests without it */
	case SVM_EXIT_RDPRU:
	case SVM_EXIT_MONITOR:	/* none of these is in the guest's CPUID */
	case SVM_EXIT_MWAIT:
	case SVM_EXIT_MWAIT_COND:
	case SVM_EXIT_INVLPGA:
	case SVM_EXIT_VMRUN:
	case SVM_EXIT_VMLOAD:
	case SVM_EXIT_VMSAVE:
	case SVM_EXIT_STGI:
	case SVM_EXIT_CLGI:
	case SVM_EXIT_SKINIT:
	case SVM_EXIT_INVLPGB:
	case SVM_EXIT_INVLPGB_ILLEGAL:
	case SVM_EXIT_MCOMMIT:
	case SVM_EXIT_TLBSYNC:
		return hv_exit_ud(v);
	case SVM_EXIT_TASK_SWITCH:
		return HV_SLOW;
	case SVM_EXIT_SHUTDOWN:
		return exit_shutdown(v);
	case SVM_EXIT_INVALID:
		return exit_invalid(v);
	case SVM_EXIT_NO_SVM:
		return hv_exit_off(v);
	}
	return svm_unexpected(v);
}

int svm_fast_exit(struct hv_vcpu *v)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;
	u32 code = c->exit_code;

	v->exit_code = code;
	trace_hv_exit(v, code, c->exit_info1, c->exit_info2);
	if (svm_nrips && code >= SVM_EXIT_RDPMC && code < SVM_EXIT_NPF)
		v->next_rip = c->next_rip;
	return dispatch(v, code);
}

/*
 * Only what svm_fast_exit() called HV_SLOW comes here.  Most of it wanted the
 * instruction's bytes: with them the fast way is taken again.
 */
int svm_slow_exit(struct hv_vcpu *v)
{
	struct svm_vmcb *c = to_svm(v)->vmcb;
	u32 code = v->exit_code;
	int len, ret;

	switch (code) {
	case SVM_EXIT_NPF:
		return hv_exit_npf(v, c->exit_info2, npf_access(c), c->exit_int_info & HV_EV_VALID);
	case SVM_EXIT_MSR:
		return hv_exit_msr_slow(v, c->exit_info1 & 1);
	case SVM_EXIT_TASK_SWITCH:
		return hv_exit_insn(v);
	}
	if (hv_fetch(v, false))
		return HV_LOOP;
	len = hv_insn_length(v, false);
	if (!len)
		return HV_LOOP;
	v->next_rip = v->regs.rip + len;
	if (code == SVM_EXIT_PAUSE)
		return hv_exit_pause(v, v->next_rip);
	ret = dispatch(v, code);
	if (ret == HV_SLOW)	/* LMSW or SMSW with a memory operand */
		return hv_exit_insn(v);
	return ret == HV_ENTER ? HV_LOOP : ret;
}
