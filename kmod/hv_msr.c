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

bool hv_msr_types_valid(u64 data, u32 types)
{
	int i;

	for (i = 0; i < 64; i += 8)
		if ((u8)(data >> i) > 7 || !(types & BIT(data >> i & 7)))
			return false;
	return true;
}

/* Of the lowest byte alone. */
static bool mtrr_type_valid(u8 type)
{
	return hv_msr_types_valid(type, HV_MTRR_TYPES);
}

static u64 phys_mask(struct hv_vcpu *v)
{
	return (1ULL << v->vm->gpa_bits) - 1;
}

/* Registers that are a word of the vCPU and nothing else when read. */
static const struct {
	u32 msr;
	bool backend;			/* current after ops->get_msrs */
	u16 offset;
} words[] = {
#define WORD(msr, backend, field) { msr, backend, offsetof(struct hv_vcpu, field) }
	WORD(MSR_STAR, true, msrs.star),
	WORD(MSR_LSTAR, true, msrs.lstar),
	WORD(MSR_CSTAR, true, msrs.cstar),
	WORD(MSR_SYSCALL_MASK, true, msrs.sfmask),
	WORD(MSR_KERNEL_GS_BASE, true, msrs.kernel_gs_base),
	WORD(MSR_IA32_SYSENTER_CS, true, msrs.sysenter_cs),
	WORD(MSR_IA32_SYSENTER_ESP, true, msrs.sysenter_esp),
	WORD(MSR_IA32_SYSENTER_EIP, true, msrs.sysenter_eip),
	WORD(MSR_IA32_CR_PAT, true, msrs.pat),
	WORD(MSR_TSC_AUX, false, msrs.tsc_aux),
	WORD(MSR_IA32_SPEC_CTRL, false, msrs.spec_ctrl),
	WORD(MSR_IA32_MISC_ENABLE, false, msrs.misc_enable),
	WORD(MSR_IA32_UCODE_REV, false, msrs.ucode_rev),
	WORD(MSR_MTRRdefType, false, msrs.mtrr_def_type),
	WORD(MSR_IA32_MCG_STATUS, false, msrs.mcg_status),
	WORD(MSR_AMD64_SYSCFG, false, msrs.syscfg),
	WORD(MSR_IA32_APICBASE, false, apic_base),
	WORD(MSR_EFER, false, efer),
	WORD(MSR_IA32_DEBUGCTLMSR, false, debug.debugctl),
	WORD(MSR_IA32_TSC_ADJUST, false, clock.tsc_adjust),
	WORD(MSR_KVM_WALL_CLOCK, false, clock.kvm_wall_clock),
	WORD(MSR_KVM_WALL_CLOCK_NEW, false, clock.kvm_wall_clock),
	WORD(MSR_KVM_SYSTEM_TIME, false, clock.kvm_system_time),
	WORD(MSR_KVM_SYSTEM_TIME_NEW, false, clock.kvm_system_time),
	WORD(MSR_KVM_STEAL_TIME, false, clock.kvm_steal_time),
};

/* Where @msr is kept, or NULL. */
static u64 *word_of(struct hv_vcpu *v, u32 msr, bool *backend)
{
	struct hv_msrs *m = &v->msrs;
	int i;

	*backend = false;
	switch (msr) {
	case MSR_MTRRfix64K_00000:
		return &m->mtrr_fixed[0];
	case MSR_MTRRfix16K_80000:
	case MSR_MTRRfix16K_A0000:
		return &m->mtrr_fixed[1 + msr - MSR_MTRRfix16K_80000];
	case MSR_MTRRfix4K_C0000 ... MSR_MTRRfix4K_F8000:
		return &m->mtrr_fixed[3 + msr - MSR_MTRRfix4K_C0000];
	case MTRR_VAR_FIRST ... MTRR_VAR_FIRST + 2 * HV_MTRR_VAR - 1:
		return &m->mtrr_var[(msr - MTRR_VAR_FIRST) / 2][msr & 1];
	case MSR_IA32_MC0_CTL ... MSR_IA32_MC0_CTL + 4 * HV_MC_BANKS - 1:
		return &m->mc[(msr - MSR_IA32_MC0_CTL) / 4][(msr - MSR_IA32_MC0_CTL) % 4];
	}
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		if (words[i].msr != msr)
			continue;
		*backend = words[i].backend;
		return (void *)v + words[i].offset;
	}
	return NULL;
}

/* Is it there according to the guest's CPUID? */
static bool msr_exists(struct hv_vcpu *v, u32 msr)
{
	switch (msr) {
	case MSR_IA32_TSC_ADJUST:
		return v->vm->guest_tsc_adjust;
	case MSR_TSC_AUX:
		return v->vm->guest_rdtscp;
	case MSR_IA32_SPEC_CTRL:
		return v->vm->guest_spec_ctrl;
	}
	return true;
}

int hv_msr_read(struct hv_vcpu *v, u32 msr, u64 *data, bool atomic)
{
	struct hv_seg s;
	bool backend;
	u64 *word;

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
	case MSR_FS_BASE:
	case MSR_GS_BASE:
		hv_ops->get_seg(v, msr == MSR_FS_BASE ? HV_FS : HV_GS, &s);
		*data = s.base;
		return 0;
	case MSR_MTRRcap:
		*data = MTRR_CAP;
		return 0;
	case MSR_IA32_MCG_CAP:
		*data = MCG_CAP;
		return 0;
	case MSR_K7_HWCR:
		*data = v->msrs.hwcr | HWCR_KEPT;
		return 0;
	case MSR_AMD64_DE_CFG:
		*data = BIT_ULL(1);	/* LFENCE serializes */
		return 0;
	case MSR_VM_CR:
		*data = BIT_ULL(4) | BIT_ULL(3);	/* SVM disabled and locked */
		return 0;
	}
	if (!msr_exists(v, msr))
		return HV_MSR_GP;
	word = word_of(v, msr, &backend);
	if (!word)
		return HV_MSR_USER;
	if (backend) {
		if (atomic)
			return HV_MSR_SLOW;
		hv_ops->get_msrs(v);
	}
	*data = *word;
	return 0;
}

/* Values that do more than stand there, or are refused; set-up, so it may sleep. */
static int write_slow(struct hv_vcpu *v, u32 msr, u64 data)
{
	bool backend, valid = true;
	u64 *word;

	switch (msr) {
	case MSR_IA32_TSC:
		hv_clock_write_tsc(v, data);
		return 0;
	case MSR_IA32_TSC_ADJUST:
		hv_clock_write_adjust(v, data);
		return 0;
	case MSR_IA32_APICBASE:
		return hv_lapic_set_base(v, data, false) ? HV_MSR_GP : 0;
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
	case MSR_KVM_STEAL_TIME:
		return hv_clock_msr_write(v, msr, data);
	case MSR_IA32_UCODE_REV:
	case MSR_AMD64_PATCH_LOADER:
		return 0;		/* no microcode is loaded into a guest's CPU */
	case MSR_IA32_DEBUGCTLMSR:
		return data ? HV_MSR_USER : 0;
	case MSR_MTRRcap:
	case MSR_IA32_MCG_CAP:
	case MSR_VM_CR:
	case MSR_VM_HSAVE_PA:
		return HV_MSR_GP;
	case MSR_AMD64_DE_CFG:
		return data & ~BIT_ULL(1) ? HV_MSR_GP : 0;
	case MSR_K7_HWCR:
		/* FFDIS, CacheMissFlush and friends: accepted, without effect. */
		if (data & ~(BIT_ULL(3) | BIT_ULL(6) | BIT_ULL(8) | HWCR_KEPT))
			return HV_MSR_GP;
		v->msrs.hwcr = data;
		return 0;
	case MSR_KERNEL_GS_BASE:
	case MSR_IA32_SYSENTER_CS:
	case MSR_IA32_SYSENTER_ESP:
	case MSR_IA32_SYSENTER_EIP:
		return HV_MSR_USER;	/* they do not exit */
	case MSR_TSC_AUX:
		valid = !(data >> 32);
		break;
	case MSR_IA32_CR_PAT:
		valid = hv_msr_types_valid(data, HV_PAT_TYPES);
		break;
	case MSR_LSTAR:
	case MSR_CSTAR:
		valid = hv_canonical(v, data);
		break;
	case MSR_MTRRdefType:
		valid = !(data & ~0xcffULL) && mtrr_type_valid(data);
		break;
	case MTRR_VAR_FIRST ... MTRR_VAR_FIRST + 2 * HV_MTRR_VAR - 1:
		valid = !(data & ~phys_mask(v)) && !(msr & 1 ? data & 0x7ff : data & 0xf00) &&
			((msr & 1) || mtrr_type_valid(data));
		break;
	case MSR_MTRRfix64K_00000:
	case MSR_MTRRfix16K_80000:
	case MSR_MTRRfix16K_A0000:
	case MSR_MTRRfix4K_C0000 ... MSR_MTRRfix4K_F8000:
		valid = hv_msr_types_valid(data, HV_MTRR_TYPES);
		break;
	case MSR_IA32_MCG_STATUS:
		data &= 7;
		break;
	case MSR_IA32_MC0_CTL ... MSR_IA32_MC0_CTL + 4 * HV_MC_BANKS - 1:
		/* STATUS takes zero only, unless HWCR.McStatusWrEn (which is not kept). */
		valid = (msr - MSR_IA32_MC0_CTL) % 4 != 1 || !data;
		break;
	}
	if (!valid)
		return HV_MSR_GP;
	word = word_of(v, msr, &backend);
	if (!word)
		return HV_MSR_USER;
	backend |= msr == MSR_TSC_AUX;	/* it is loaded in the CPU */
	if (backend)
		hv_ops->get_msrs(v);
	*word = data;
	if (backend)
		hv_ops->set_msrs(v);
	if (msr == MSR_IA32_CR_PAT)
		v->flushed_gen = 0;
	return 0;
}

int hv_msr_write(struct hv_vcpu *v, u32 msr, u64 data, bool atomic)
{
	int ret;

	switch (msr) {
	case 0x800 ... 0x8ff:
		ret = hv_lapic_msr_write(v, msr, data);
		if (ret < 0)
			return HV_MSR_GP;
		if (ret == HV_USER)
			v->eoi_pending = true;
		return 0;
	case MSR_IA32_TSC_DEADLINE:
		if (!v->vm->guest_tsc_deadline)
			return HV_MSR_GP;
		hv_timer_set_deadline(v, data);
		return 0;
	case MSR_EFER:
		return hv_set_efer(v, data) ? HV_MSR_GP : 0;
	case MSR_IA32_SPEC_CTRL:
		if (!v->vm->guest_spec_ctrl || (data & ~HV_SPEC_CTRL))
			return HV_MSR_GP;
		v->msrs.spec_ctrl = data;
		return 0;
	case MSR_IA32_PRED_CMD:
		if (!v->vm->guest_ibpb || (data & ~(u64)PRED_CMD_IBPB))
			return HV_MSR_GP;
		if (data)
			wrmsrl(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
		return 0;
	}
	if (!msr_exists(v, msr))
		return HV_MSR_GP;
	/* The rest is set-up: it may touch guest memory, take locks, move maps. */
	return atomic ? HV_MSR_SLOW : write_slow(v, msr, data);
}
