// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_msr.c - model-specific registers that the module answers.
 *
 * What is not here goes to userspace, whose table decides between a value and
 * #GP.  Registers that the CPU switches by itself are the backend's and never
 * exit; they are answered here too, for the sake of whoever intercepts them.
 * SDM vol. 4; APM vol. 2 appendix A; Documentation/virt/kvm/x86/msr.rst.
 */
#include <uapi/linux/kvm_para.h>
#include "hv.h"

#define MTRR_CAP	(HV_MTRR_VAR | BIT(8) | BIT(10))	/* fixed ranges, WC */
#define MTRR_VAR_FIRST	0x200	/* PHYSBASE0, PHYSMASK0, PHYSBASE1, ... */
#define MCG_CAP		HV_MC_BANKS
#define HWCR_KEPT	(BIT_ULL(24))				/* TscFreqSel reads one */

#ifndef MSR_AMD64_DE_CFG
#define MSR_AMD64_DE_CFG	0xc0011029
#endif

/* Index into mtrr_fixed[] of a fixed-range MTRR, or -1. */
static int mtrr_fixed_index(u32 msr)
{
	switch (msr) {
	case MSR_MTRRfix64K_00000:
		return 0;
	case MSR_MTRRfix16K_80000:
	case MSR_MTRRfix16K_A0000:
		return 1 + msr - MSR_MTRRfix16K_80000;
	case MSR_MTRRfix4K_C0000 ... MSR_MTRRfix4K_F8000:
		return 3 + msr - MSR_MTRRfix4K_C0000;
	}
	return -1;
}

static bool mtrr_type_valid(u8 t)
{
	return t == 0 || t == 1 || t == 4 || t == 5 || t == 6;
}

static bool mtrr_types_valid(u64 data)
{
	int i;

	for (i = 0; i < 64; i += 8)
		if (!mtrr_type_valid(data >> i))
			return false;
	return true;
}

bool hv_msr_pat_valid(u64 data)
{
	int i;

	for (i = 0; i < 64; i += 8)
		if (!mtrr_type_valid(data >> i) && (u8)(data >> i) != 7)
			return false;
	return true;
}

static u64 phys_mask(struct hv_vcpu *v)
{
	return (1ULL << v->vm->gpa_bits) - 1;
}

static bool has(struct hv_vcpu *v, u32 leaf, u32 subleaf, int reg, int bit)
{
	const struct hv_cpuid_entry *e = hv_cpuid_find(v->vm->cpuid, leaf, subleaf);

	return e && ((&e->eax)[reg] >> bit) & 1;
}

/* AMD's bits, then Intel's. */
#define HAS_IBPB(v)	(has(v, 0x80000008, 0, 1, 12) || has(v, 7, 0, 3, 26))
#define HAS_SPEC(v)	(has(v, 0x80000008, 0, 1, 14) || has(v, 0x80000008, 0, 1, 15) || \
			 has(v, 0x80000008, 0, 1, 24) || has(v, 7, 0, 3, 26) ||	\
			 has(v, 7, 0, 3, 27) || has(v, 7, 0, 3, 31))

int hv_msr_read(struct hv_vcpu *v, u32 msr, u64 *data, bool atomic)
{
	struct hv_msrs *m = &v->msrs;
	int i;

	switch (msr) {
	case 0x800 ... 0x8ff:
		return hv_lapic_msr_read(v, msr, data) < 0 ? HV_MSR_GP : 0;
	case MSR_IA32_TSC:
		*data = hv_clock_guest_tsc(v);
		return 0;
	case MSR_IA32_TSC_DEADLINE:
		if (!v->vm->guest_tsc_deadline)
			return HV_MSR_GP;
		*data = hv_timer_get_deadline(v);
		return 0;
	case MSR_IA32_TSC_ADJUST:
		if (!v->vm->guest_tsc_adjust)
			return HV_MSR_GP;
		*data = v->clock.tsc_adjust;
		return 0;
	case MSR_IA32_APICBASE:
		*data = v->apic_base;
		return 0;
	case MSR_EFER:
		*data = v->efer;
		return 0;
	case MSR_IA32_CR_PAT:
		if (atomic)
			return HV_MSR_SLOW;
		hv_ops->get_msrs(v);
		*data = m->pat;
		return 0;
	case MSR_TSC_AUX:
		if (!v->vm->guest_rdtscp)
			return HV_MSR_GP;
		*data = m->tsc_aux;
		return 0;
	case MSR_STAR:
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_SYSCALL_MASK:
	case MSR_KERNEL_GS_BASE:
	case MSR_IA32_SYSENTER_CS:
	case MSR_IA32_SYSENTER_ESP:
	case MSR_IA32_SYSENTER_EIP:
		if (atomic)
			return HV_MSR_SLOW;
		hv_ops->get_msrs(v);
		*data = msr == MSR_STAR ? m->star : msr == MSR_LSTAR ? m->lstar :
			msr == MSR_CSTAR ? m->cstar : msr == MSR_SYSCALL_MASK ? m->sfmask :
			msr == MSR_KERNEL_GS_BASE ? m->kernel_gs_base :
			msr == MSR_IA32_SYSENTER_CS ? m->sysenter_cs :
			msr == MSR_IA32_SYSENTER_ESP ? m->sysenter_esp : m->sysenter_eip;
		return 0;
	case MSR_FS_BASE:
	case MSR_GS_BASE: {
		struct hv_seg s;

		hv_ops->get_seg(v, msr == MSR_FS_BASE ? HV_FS : HV_GS, &s);
		*data = s.base;
		return 0;
	}
	case MSR_IA32_SPEC_CTRL:
		if (!HAS_SPEC(v))
			return HV_MSR_GP;
		*data = m->spec_ctrl;
		return 0;
	case MSR_IA32_MISC_ENABLE:
		*data = m->misc_enable;
		return 0;
	case MSR_IA32_UCODE_REV:
		*data = m->ucode_rev;
		return 0;
	case MSR_IA32_DEBUGCTLMSR:
		*data = v->debugctl;
		return 0;
	case MSR_MTRRcap:
		*data = MTRR_CAP;
		return 0;
	case MSR_MTRRdefType:
		*data = m->mtrr_def_type;
		return 0;
	case MTRR_VAR_FIRST ... MTRR_VAR_FIRST + 2 * HV_MTRR_VAR - 1:
		*data = m->mtrr_var[(msr - MTRR_VAR_FIRST) / 2][msr & 1];
		return 0;
	case MSR_IA32_MCG_CAP:
		*data = MCG_CAP;
		return 0;
	case MSR_IA32_MCG_STATUS:
		*data = m->mcg_status;
		return 0;
	case MSR_IA32_MC0_CTL ... MSR_IA32_MC0_CTL + 4 * HV_MC_BANKS - 1:
		*data = m->mc[(msr - MSR_IA32_MC0_CTL) / 4][(msr - MSR_IA32_MC0_CTL) % 4];
		return 0;
	case MSR_K7_HWCR:
		*data = m->hwcr | HWCR_KEPT;
		return 0;
	case MSR_AMD64_SYSCFG:
		*data = m->syscfg;
		return 0;
	case MSR_AMD64_DE_CFG:
		*data = BIT_ULL(1);	/* LFENCE serializes */
		return 0;
	case MSR_VM_CR:
		*data = BIT_ULL(4) | BIT_ULL(3);	/* SVM disabled and locked */
		return 0;
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		*data = v->clock.kvm_wall_clock;
		return 0;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		*data = v->clock.kvm_system_time;
		return 0;
	case MSR_KVM_STEAL_TIME:
		*data = v->clock.kvm_steal_time;
		return 0;
	}
	i = mtrr_fixed_index(msr);
	if (i >= 0) {
		*data = m->mtrr_fixed[i];
		return 0;
	}
	return HV_MSR_USER;
}

static int lapic_result(struct hv_vcpu *v, int ret)
{
	if (ret < 0)
		return HV_MSR_GP;
	if (ret == HV_USER)
		v->eoi_pending = true;
	return 0;
}

int hv_msr_write(struct hv_vcpu *v, u32 msr, u64 data, bool atomic)
{
	struct hv_msrs *m = &v->msrs;
	int i;

	switch (msr) {
	case 0x800 ... 0x8ff:
		return lapic_result(v, hv_lapic_msr_write(v, msr, data));
	case MSR_IA32_TSC_DEADLINE:
		if (!v->vm->guest_tsc_deadline)
			return HV_MSR_GP;
		hv_timer_set_deadline(v, data);
		return 0;
	case MSR_EFER:
		return hv_set_efer(v, data) ? HV_MSR_GP : 0;
	case MSR_IA32_SPEC_CTRL:
		if (!HAS_SPEC(v) || (data & ~(u64)(SPEC_CTRL_IBRS | SPEC_CTRL_STIBP | SPEC_CTRL_SSBD)))
			return HV_MSR_GP;
		m->spec_ctrl = data;
		return 0;
	case MSR_IA32_PRED_CMD:
		if (!HAS_IBPB(v) || (data & ~(u64)PRED_CMD_IBPB))
			return HV_MSR_GP;
		if (data)
			wrmsrl(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
		return 0;
	}
	/* The rest is set-up: it may touch guest memory, take locks, move maps. */
	if (atomic)
		return HV_MSR_SLOW;

	switch (msr) {
	case MSR_IA32_TSC:
		hv_clock_write_tsc(v, data);
		return 0;
	case MSR_IA32_TSC_ADJUST:
		if (!v->vm->guest_tsc_adjust)
			return HV_MSR_GP;
		hv_clock_write_adjust(v, data);
		return 0;
	case MSR_IA32_APICBASE:
		return hv_lapic_set_base(v, data, false) ? HV_MSR_GP : 0;
	case MSR_TSC_AUX:
		if (!v->vm->guest_rdtscp || data >> 32)
			return HV_MSR_GP;
		hv_ops->get_msrs(v);
		m->tsc_aux = data;
		hv_ops->set_msrs(v);
		return 0;
	case MSR_IA32_CR_PAT:
		if (!hv_msr_pat_valid(data))
			return HV_MSR_GP;
		hv_ops->get_msrs(v);
		m->pat = data;
		hv_ops->set_msrs(v);
		v->flushed_gen = 0;
		return 0;
	case MSR_LSTAR:
	case MSR_CSTAR:
		if (!hv_canonical(v, data))
			return HV_MSR_GP;
		fallthrough;
	case MSR_STAR:
	case MSR_SYSCALL_MASK:
		hv_ops->get_msrs(v);
		*(msr == MSR_STAR ? &m->star : msr == MSR_LSTAR ? &m->lstar :
		  msr == MSR_CSTAR ? &m->cstar : &m->sfmask) = data;
		hv_ops->set_msrs(v);
		return 0;
	case MSR_IA32_MISC_ENABLE:
		m->misc_enable = data;
		return 0;
	case MSR_IA32_UCODE_REV:
	case MSR_AMD64_PATCH_LOADER:
		return 0;		/* no microcode is loaded into a guest's CPU */
	case MSR_IA32_DEBUGCTLMSR:
		return data ? HV_MSR_USER : 0;
	case MSR_MTRRcap:
		return HV_MSR_GP;
	case MSR_MTRRdefType:
		if ((data & ~0xcffULL) || !mtrr_type_valid(data))
			return HV_MSR_GP;
		m->mtrr_def_type = data;
		return 0;
	case MTRR_VAR_FIRST ... MTRR_VAR_FIRST + 2 * HV_MTRR_VAR - 1:
		if (data & ~phys_mask(v))
			return HV_MSR_GP;
		if (msr & 1 ? data & 0x7ff : (data & 0xf00) || !mtrr_type_valid(data))
			return HV_MSR_GP;
		m->mtrr_var[(msr - MTRR_VAR_FIRST) / 2][msr & 1] = data;
		return 0;
	case MSR_IA32_MCG_CAP:
		return HV_MSR_GP;
	case MSR_IA32_MCG_STATUS:
		m->mcg_status = data & 7;
		return 0;
	case MSR_IA32_MC0_CTL ... MSR_IA32_MC0_CTL + 4 * HV_MC_BANKS - 1:
		i = (msr - MSR_IA32_MC0_CTL) % 4;
		/* STATUS takes zero only, unless HWCR.McStatusWrEn (which is not kept). */
		if (i == 1 && data)
			return HV_MSR_GP;
		m->mc[(msr - MSR_IA32_MC0_CTL) / 4][i] = data;
		return 0;
	case MSR_K7_HWCR:
		/* FFDIS, CacheMissFlush and friends: accepted, without effect. */
		if (data & ~(BIT_ULL(3) | BIT_ULL(6) | BIT_ULL(8) | HWCR_KEPT))
			return HV_MSR_GP;
		m->hwcr = data;
		return 0;
	case MSR_AMD64_SYSCFG:
		m->syscfg = data;
		return 0;
	case MSR_AMD64_DE_CFG:
		return data & ~BIT_ULL(1) ? HV_MSR_GP : 0;
	case MSR_VM_CR:
	case MSR_VM_HSAVE_PA:
		return HV_MSR_GP;
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
	case MSR_KVM_STEAL_TIME:
		return hv_clock_msr_write(v, msr, data);
	}
	i = mtrr_fixed_index(msr);
	if (i >= 0) {
		if (!mtrr_types_valid(data))
			return HV_MSR_GP;
		m->mtrr_fixed[i] = data;
		return 0;
	}
	return HV_MSR_USER;
}
