// SPDX-License-Identifier: GPL-2.0-only
/*
 * svm.c - the AMD backend: what the CPU can do, switching it on, vCPUs on and
 * off a CPU, address space tags, and the C half of an entry.
 *
 * APM vol. 2 chapter 15.  Never sees an ioctl argument; guest memory is reached
 * through the vendor-free files only.
 */
#include "svm_vmcb.h"

#define VM_CR_SVMDIS		BIT(4)
#define TSC_RATIO_ONE		BIT_ULL(32)

#define SVM_IOPM_ORDER		2	/* 12 KiB used */
#define SVM_MSRPM_ORDER		1

DEFINE_PER_CPU(struct svm_cpu, svm_cpu);

bool svm_nrips, svm_decode, svm_flush_by_asid, svm_clean, svm_v_spec_ctrl;
u64 svm_iopm_pa, svm_msrpm_pa, svm_host_cr4_mce;

static void *svm_iopm, *svm_msrpm;
static bool svm_tcg, svm_div0;
static u32 svm_asids;

/* ---- what this CPU can do ---- */

int svm_check(u32 *status)
{
	u64 vm_cr;

	*status = HV_STATUS_NO_CPU;
	if (boot_cpu_data.x86_vendor != X86_VENDOR_AMD &&
	    boot_cpu_data.x86_vendor != X86_VENDOR_HYGON)
		return -ENODEV;
	/* The CPU itself is asked: newer kernels hide SVM when firmware disabled it. */
	if (cpuid_eax(0x80000000) < 0x8000000a || !(cpuid_ecx(0x80000001) & BIT(2)) ||
	    !(cpuid_edx(0x8000000a) & BIT(0)))
		return -ENODEV;
	*status = HV_STATUS_OK;
	if (!rdmsrl_safe(MSR_VM_CR, &vm_cr) && (vm_cr & VM_CR_SVMDIS))
		*status = HV_STATUS_FIRMWARE;
	return 0;
}

/*
 * What a guest may touch without an exit (contract 12); everything else exits.
 * Each of these is part of what VMLOAD and VMSAVE switch, so the host's value is
 * never at stake, and the CPU itself refuses a non-canonical address.
 */
static const u32 svm_msrs_allowed[] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK,
	MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
};

/* APM 15.11: two bits an MSR, three ranges of 8192. */
static void msrpm_allow(u8 *map, u32 msr)
{
	u32 byte = msr >= 0xc0000000 ? 0x800 + (msr - 0xc0000000) / 4 : msr / 4;

	map[byte] &= ~(3 << (msr % 4 * 2));
}

/* CPUID 40000000h of QEMU's software emulation. */
static bool host_is_tcg(void)
{
	u32 eax, sig[3];

	if (!boot_cpu_has(X86_FEATURE_HYPERVISOR))
		return false;
	cpuid(0x40000000, &eax, &sig[0], &sig[1], &sig[2]);
	return !memcmp(sig, "TCGTCGTCGTCG", sizeof(sig));
}

void svm_cleanup(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *c = per_cpu_ptr(&svm_cpu, cpu);

		hv_free_page(c->hsave, 0);
		hv_free_page(c->host_save, 0);
		c->hsave = c->host_save = NULL;
	}
	hv_free_page(svm_iopm, SVM_IOPM_ORDER);
	hv_free_page(svm_msrpm, SVM_MSRPM_ORDER);
	svm_iopm = svm_msrpm = NULL;
}

int svm_setup(void)
{
	u32 edx = cpuid_edx(0x8000000a);
	unsigned int i;
	int cpu;

	svm_nrips = edx & BIT(3);
	svm_clean = edx & BIT(5);
	svm_flush_by_asid = edx & BIT(6);
	svm_decode = edx & BIT(7);
	svm_v_spec_ctrl = boot_cpu_has(X86_FEATURE_V_SPEC_CTRL);
	svm_asids = cpuid_ebx(0x8000000a);
	if (svm_asids < 2)
		return -ENODEV;
	svm_host_cr4_mce = native_read_cr4() & X86_CR4_MCE;
	svm_tcg = host_is_tcg();
	svm_div0 = hv_mitigation(boot_cpu_has_bug(X86_BUG_DIV0));

	/* The encryption bit is part of an entry, not of the address (contract 11). */
	hv_svm_ops.pte_addr_mask = GENMASK_ULL(51, PAGE_SHIFT) & ~sme_me_mask;
	hv_svm_ops.max_leaf = boot_cpu_has(X86_FEATURE_GBPAGES) ? 3 : 2;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *c = per_cpu_ptr(&svm_cpu, cpu);

		c->hsave = hv_alloc_page(cpu, 0);
		c->host_save = hv_alloc_page(cpu, 0);
		if (!c->hsave || !c->host_save)
			goto out;
		c->host_save_pa = __sme_pa(c->host_save);
		c->max_asid = svm_asids - 1;
	}
	svm_iopm = hv_alloc_page(raw_smp_processor_id(), SVM_IOPM_ORDER);
	svm_msrpm = hv_alloc_page(raw_smp_processor_id(), SVM_MSRPM_ORDER);
	if (!svm_iopm || !svm_msrpm)
		goto out;
	memset(svm_iopm, 0xff, PAGE_SIZE << SVM_IOPM_ORDER);
	memset(svm_msrpm, 0xff, PAGE_SIZE << SVM_MSRPM_ORDER);
	for (i = 0; i < ARRAY_SIZE(svm_msrs_allowed); i++)
		msrpm_allow(svm_msrpm, svm_msrs_allowed[i]);
	svm_iopm_pa = __sme_pa(svm_iopm);
	svm_msrpm_pa = __sme_pa(svm_msrpm);
	return 0;
out:
	svm_cleanup();
	return -ENOMEM;
}

/* SRSO where the kernel leaves it to whoever runs guests: Zen 5, from 6.12 on. */
static bool svm_reduces_bp(void)
{
#ifdef X86_FEATURE_SRSO_BP_SPEC_REDUCE
	return hv_mitigate && boot_cpu_has(X86_FEATURE_SRSO_BP_SPEC_REDUCE);
#else
	return false;
#endif
}

void svm_info(struct hv_info *info)
{
	info->npt_levels = native_read_cr4() & X86_CR4_LA57 ? 5 : 4;
	info->hw_features = (svm_nrips ? HV_HW_NRIPS : 0) |
			    (svm_decode ? HV_HW_DECODE_ASSIST : 0) |
			    (svm_flush_by_asid ? HV_HW_FLUSH_BY_ASID : 0) |
			    (svm_clean ? HV_HW_CLEAN_BITS : 0) |
			    (info->npt_levels == 5 ? HV_HW_LA57 : 0) |
			    (hv_svm_ops.max_leaf == 3 ? HV_HW_PAGE_1G : 0);

	if (!hv_mitigate)
		return;
	if (boot_cpu_has(X86_FEATURE_UNRET))
		info->mitigations |= HV_MIT_UNTRAIN_RET;
#ifdef X86_FEATURE_SRSO_ALIAS
	if (boot_cpu_has(X86_FEATURE_SRSO_ALIAS))
		info->mitigations |= HV_MIT_UNTRAIN_RET;
#endif
	if (svm_reduces_bp())
		info->mitigations |= HV_MIT_BP_REDUCE;
	if (svm_div0)
		info->mitigations |= HV_MIT_DIV0;
}

/* ---- on and off; on the CPU, interrupts off ---- */

#define BP_SPEC_REDUCE	BIT_ULL(4)

static void svm_reduce_bp(bool on)
{
	u64 cfg;

	if (!svm_reduces_bp())
		return;
	rdmsrl(MSR_ZEN4_BP_CFG, cfg);
	wrmsrl(MSR_ZEN4_BP_CFG, on ? cfg | BP_SPEC_REDUCE : cfg & ~BP_SPEC_REDUCE);
}

int svm_cpu_enable(void)
{
	struct svm_cpu *c = this_cpu_ptr(&svm_cpu);
	u64 efer, vm_cr;

	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME)
		return c->on ? 0 : -EBUSY;
	if (!rdmsrl_safe(MSR_VM_CR, &vm_cr) && (vm_cr & VM_CR_SVMDIS))
		return -EPERM;
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	/* With SVME just set by us, whatever address stands there is nobody's. */
	wrmsrl(MSR_VM_HSAVE_PA, __sme_pa(c->hsave));
	/* The guest's TSC ticks as ours; whoever was here before may have scaled it. */
	if (boot_cpu_has(X86_FEATURE_TSCRATEMSR))
		wrmsrl(MSR_AMD64_TSC_RATIO, TSC_RATIO_ONE);
	/* Tags used before, by us or by KVM, may be live in the TLB: start a new
	 * generation, which begins with a full flush. */
	c->asid_gen++;
	c->next_asid = c->max_asid + 1;
	svm_reduce_bp(true);
	c->on = true;
	return 0;
}

void svm_cpu_disable(void)
{
	struct svm_cpu *c = this_cpu_ptr(&svm_cpu);
	u64 efer;

	if (!c->on)
		return;
	c->on = false;
	/* A clear GIF would be left behind for ever; ours is always set here. */
	wrmsrl(MSR_VM_HSAVE_PA, 0);
	rdmsrl(MSR_EFER, efer);
	wrmsrl(MSR_EFER, efer & ~EFER_SVME);
	svm_reduce_bp(false);
}

bool svm_cpu_in_use(void)
{
	bool in_use;
	u64 efer;

	preempt_disable();
	rdmsrl(MSR_EFER, efer);
	in_use = (efer & EFER_SVME) && !this_cpu_read(svm_cpu.on);
	preempt_enable();
	return in_use;
}

/* ---- vCPUs ---- */

int svm_vcpu_create(struct hv_vcpu *v)
{
	struct svm_vcpu *sv = to_svm(v);

	BUILD_BUG_ON(offsetof(struct svm_vcpu, v));
	sv->vmcb = hv_alloc(sizeof(*sv->vmcb));
	if (!sv->vmcb)
		return -ENOMEM;
	if (WARN_ON_ONCE(!PAGE_ALIGNED(sv->vmcb) || is_vmalloc_addr(sv->vmcb)))
		return -ENOMEM;
	sv->vmcb_pa = __sme_pa(sv->vmcb);
	sv->last_cpu = -1;
	svm_vmcb_init(sv);
	return 0;
}

void svm_vcpu_destroy(struct hv_vcpu *v)
{
	hv_free(to_svm(v)->vmcb);
}

/* On the CPU the vCPU is loaded on. */
void svm_load_tsc_aux(struct svm_vcpu *sv, u64 val)
{
	if (sv->tsc_aux == val)
		return;
	sv->tsc_aux = val;
	wrmsrl(MSR_TSC_AUX, val);
}

void svm_vcpu_load(struct hv_vcpu *v, int cpu)
{
	struct svm_vcpu *sv = to_svm(v);
	struct svm_cpu *c = per_cpu_ptr(&svm_cpu, cpu);
	u64 ctl;

	sv->cpu = c;
	if (sv->last_cpu != cpu) {
		sv->last_cpu = cpu;
		sv->asid_gen = 0;	/* its old tag here, if any, missed flushes */
		sv->vmcb->clean = 0;
	}
	/* RDTSCP and RDPID read it; the kernel itself does not between here and put. */
	if (boot_cpu_has(X86_FEATURE_RDTSCP)) {
		rdmsrl(MSR_TSC_AUX, sv->host_tsc_aux);
		sv->tsc_aux = sv->host_tsc_aux;
		svm_load_tsc_aux(sv, v->msrs.tsc_aux);
	}
	/* DEBUGCTL is the host's in the guest as well: from Zen 5 on it has user space's bus locks
	 * trap, which the guest has no idea of.  The kernel itself never does. */
	sv->bus_lock_trap = 0;
	if (boot_cpu_has(X86_FEATURE_BUS_LOCK_DETECT)) {
		rdmsrl(MSR_IA32_DEBUGCTLMSR, ctl);
		sv->bus_lock_trap = ctl & DEBUGCTLMSR_BUS_LOCK_DETECT;
		if (sv->bus_lock_trap)
			wrmsrl(MSR_IA32_DEBUGCTLMSR, ctl & ~DEBUGCTLMSR_BUS_LOCK_DETECT);
	}
}

void svm_vcpu_put(struct hv_vcpu *v)
{
	struct svm_vcpu *sv = to_svm(v);
	u64 ctl;

	if (boot_cpu_has(X86_FEATURE_RDTSCP))
		svm_load_tsc_aux(sv, sv->host_tsc_aux);
	if (unlikely(sv->bus_lock_trap)) {	/* perf may have changed the rest meanwhile */
		rdmsrl(MSR_IA32_DEBUGCTLMSR, ctl);
		wrmsrl(MSR_IA32_DEBUGCTLMSR, ctl | sv->bus_lock_trap);
	}
	/* DR6 is the one debug register that the exit leaves to us. */
	if (unlikely(v->debug.dr6 != DR6_RESERVED))
		asm volatile("mov %0, %%db6" :: "r" ((unsigned long)DR6_RESERVED));
}

/* ---- entry ---- */

/*
 * Translations older than @gen must not be used, or this CPU has no tag for the
 * vCPU yet.  A fresh tag is as good as a flush; when the tags of a generation
 * are used up, the first of the next one flushes everything.
 */
static void svm_flush(struct svm_vcpu *sv, u64 gen)
{
	struct svm_vmcb *vmcb = sv->vmcb;
	struct svm_cpu *c = sv->cpu;

	if (sv->asid_gen == c->asid_gen && svm_flush_by_asid) {
		vmcb->tlb_control = SVM_TLB_FLUSH_ASID;
	} else {
		if (c->next_asid > c->max_asid) {
			c->asid_gen++;
			c->next_asid = 1;
			vmcb->tlb_control = SVM_TLB_FLUSH_ALL;
		}
		vmcb->asid = c->next_asid++;
		sv->asid_gen = c->asid_gen;
		svm_dirty(vmcb, SVM_CLEAN_ASID);
	}
	sv->v.stat[HV_STAT_TLB_FLUSHES]++;
	/* From here whoever removes translations need not wait for us unless it
	 * raises the generation again (hv_vm_flush_wait). */
	WRITE_ONCE(sv->v.flushed_gen, gen);
}

/*
 * QEMU's emulated VMRUN can lose a host interrupt (Documentation/testing.rst, "What QEMU 7.2 does
 * wrong").  A write of CR8 makes the emulated APIC look at its IRR again.
 */
static void svm_tcg_recall_irqs(void)
{
	unsigned long cr8;

	asm volatile("mov %%cr8, %0\n\tmov %0, %%cr8" : "=r" (cr8));
}

/* A division by zero in the guest could speculate with the quotient of ours: Zen 1. */
static void svm_clear_divider(void)
{
	u32 quotient = 0, remainder = 0;

	asm volatile("div %2" : "+a" (quotient), "+d" (remainder) : "r" (1u) : "cc");
}

void svm_enter(struct hv_vcpu *v)
{
	struct svm_vcpu *sv = to_svm(v);
	struct svm_vmcb *vmcb = sv->vmcb;
	u64 gen = atomic64_read(&v->vm->mmu.flush_gen);
	u64 spec_ctrl = v->msrs.spec_ctrl & hv_spec_ctrl_mask;
	u8 tpr = hv_lapic_get_cr8(v);
	struct hv_host_debug debug;
	unsigned long ret;

	if (unlikely(v->flushed_gen != gen || sv->asid_gen != sv->cpu->asid_gen))
		svm_flush(sv, gen);

	vmcb->rax = v->regs.gpr[HV_RAX];
	vmcb->rsp = v->regs.gpr[HV_RSP];
	vmcb->rip = v->regs.rip;
	vmcb->rflags = v->regs.rflags | X86_EFLAGS_FIXED;
	vmcb->cr2 = v->cr2;
	if (unlikely(tpr != sv->tpr)) {
		sv->tpr = tpr;
		vmcb->int_ctl = (vmcb->int_ctl & ~SVM_V_TPR) | tpr;
	}
	if (unlikely(svm_v_spec_ctrl))
		vmcb->spec_ctrl = spec_ctrl;
	if (unlikely(sv->nmi_step)) {
		if (!sv->injected) {
			vmcb->rflags |= X86_EFLAGS_TF | X86_EFLAGS_RF;
		} else {
			/* Delivery would push our flags.  Deliver, exit at once, step then. */
			sv->nmi_step = false;
			hv_send_reschedule(smp_processor_id());
		}
	}

	if (unlikely(svm_div0))
		svm_clear_divider();

	/* DR6 and DR7 are in the VMCB. */
	hv_debug_load(v, &debug);
	if (likely(hv_mitigate))
		ret = svm_enter_guest(v->regs.gpr, sv->vmcb_pa, sv->cpu->host_save_pa, spec_ctrl);
	else
		ret = svm_enter_guest_bare(v->regs.gpr, sv->vmcb_pa, sv->cpu->host_save_pa, spec_ctrl);
	hv_debug_restore(&debug);

	if (unlikely(svm_tcg) && (vmcb->int_ctl & SVM_V_IRQ))
		svm_tcg_recall_irqs();
	if (unlikely(ret)) {
		vmcb->exit_code = SVM_EXIT_NO_SVM;
		vmcb->exit_int_info = 0;
	}
	if (unlikely((u32)vmcb->exit_code >= SVM_EXIT_NO_SVM)) {
		/* Nothing ran: events and flushes stay owed, a full one too. */
		vmcb->event_inj = 0;
		sv->injected = 0;
		sv->asid_gen = 0;
		sv->cpu->next_asid = sv->cpu->max_asid + 1;
		vmcb->clean = 0;
		svm_soft_undo(sv);
		return;
	}
	v->regs.gpr[HV_RAX] = vmcb->rax;
	v->regs.gpr[HV_RSP] = vmcb->rsp;
	v->regs.rip = vmcb->rip;
	v->regs.rflags = vmcb->rflags;
	v->cr2 = vmcb->cr2;
	v->cr3 = vmcb->cr3;
	vmcb->tlb_control = SVM_TLB_KEEP;
	if (svm_clean)
		vmcb->clean = SVM_CLEAN_ALL;
	if (unlikely(sv->injected | (vmcb->exit_int_info & HV_EV_VALID)))
		svm_event_done(sv);
	if (unlikely(sv->iret_seen | sv->nmi_step))
		svm_iret_check(sv);
	if (unlikely((vmcb->int_ctl & SVM_V_TPR) != sv->tpr)) {
		sv->tpr = vmcb->int_ctl & SVM_V_TPR;
		hv_lapic_set_cr8(v, sv->tpr);
	}
}

/* ---- second-stage entries: APM 15.25.5; every table walk is a user access ---- */

#define NPT_P	BIT_ULL(0)
#define NPT_NX	BIT_ULL(63)
#define NPT_W	BIT_ULL(1)
#define NPT_U	BIT_ULL(2)
#define NPT_A	BIT_ULL(5)
#define NPT_D	BIT_ULL(6)
#define NPT_PS	BIT_ULL(7)

u64 svm_pte_table(u64 pa)
{
	return __sme_set(pa) | NPT_P | NPT_W | NPT_U | NPT_A;
}

u64 svm_pte_leaf(u64 pa, bool write, int level)
{
	return __sme_set(pa) | NPT_P | NPT_U | (write ? NPT_W : 0) | (level > 1 ? NPT_PS : 0) |
	       (level > 1 && hv_nx_large ? NPT_NX : 0);
}

struct hv_ops hv_svm_ops __ro_after_init = {
	.name = "SVM",
	.kvm = "kvm_amd",
	.vendor = HV_VENDOR_SVM,
	.vcpu_size = sizeof(struct svm_vcpu),
#define HV_OP(result, op, args) .op = svm_##op,
#include "../hv_ops.h"
	.pte_present = NPT_P,
	.pte_large = NPT_PS,
	.pte_write = NPT_W,
	.pte_accessed = NPT_A,
	.pte_dirty = NPT_D,
	.max_leaf = 2,
};
