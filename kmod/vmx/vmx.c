// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmx.c - the Intel backend: what the CPU can do, switching it on, vCPUs on and
 * off a CPU, and the C half of an entry.
 *
 * SDM vol. 3 chapters 23 to 28, appendix A (capabilities).  Never sees an ioctl
 * argument; guest memory is reached through the vendor-free files only.
 *
 * Where the module owns VMX (contract 8) no VMCS but ours is ever current on a CPU; where it
 * borrows KVM's VMXON, ours is current in windows only (vmx_vmcs.h).
 *
 * "Acknowledge interrupt on exit" stays off: the host's interrupt is pending when the section ends
 * and is taken as any other.  An NMI is not pending; it is raised again by INT 2, through the IDT,
 * so a host that uses FRED is refused.
 */
#include <linux/moduleparam.h>
#include <asm/apicdef.h>
#include <asm/cpu_entry_area.h>
#include <asm/desc.h>
#include <asm/perf_event.h>
#include "vmx_vmcs.h"

#define FEAT_CTL_NEEDED	(FEAT_CTL_LOCKED | FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX)

DEFINE_PER_CPU(struct vmx_cpu, vmx_cpu);

struct vmx_caps vmx;

static u64 vmx_basic;
static u32 vmx_mask;
module_param_named(vmx_mask, vmx_mask, uint, 0400);
MODULE_PARM_DESC(vmx_mask, "VMX features not to use: 1 VPID, 2 TPR shadow, 4 EPT A/D bits, 8 large pages, 16 APIC virtualization, 32 PML");
static u32 vmx_stay_us;
module_param_named(vmx_stay_us, vmx_stay_us, uint, 0400);
MODULE_PARM_DESC(vmx_stay_us, "longest stay in a guest, for emulators that lose interrupts there (0: no limit)");
enum { MASK_VPID = 1, MASK_TPR = 2, MASK_AD = 4, MASK_LARGE = 8, MASK_APICV = 16, MASK_PML = 32, MASK_ALL = 63 };

/* ---- what this CPU can do ---- */

/*
 * Allowed settings of a control MSR: low word must be one, high word may be one.
 * Returns what is needed and what of the rest there is, or 0.
 */
static u32 controls(u32 msr, u32 need, u32 want)
{
	u64 caps;
	u32 ctl;

	if (rdmsrl_safe(msr, &caps))
		return 0;
	ctl = ((need | want) & (u32)(caps >> 32)) | (u32)caps;
	return (ctl & need) == need ? ctl : 0;
}

#define PIN_NEED	(PIN_BASED_EXT_INTR_MASK | PIN_BASED_NMI_EXITING | PIN_BASED_VIRTUAL_NMIS)
/* Not among them, so allowed: INVLPG, RDTSC, CR3 accesses, PAUSE outside a loop. */
#define PROC_NEED	(CPU_BASED_HLT_EXITING | CPU_BASED_MWAIT_EXITING |		\
			 CPU_BASED_MONITOR_EXITING | CPU_BASED_RDPMC_EXITING |		\
			 CPU_BASED_MOV_DR_EXITING | CPU_BASED_UNCOND_IO_EXITING |	\
			 CPU_BASED_USE_MSR_BITMAPS | CPU_BASED_USE_TSC_OFFSETTING |	\
			 CPU_BASED_ACTIVATE_SECONDARY_CONTROLS)
#define PROC_CR8	(CPU_BASED_CR8_LOAD_EXITING | CPU_BASED_CR8_STORE_EXITING)
#define PROC_NEVER	(CPU_BASED_CR3_LOAD_EXITING | CPU_BASED_CR3_STORE_EXITING)
/* What is not enabled here is #UD in the guest.  INVPCID reaches its own translations only. */
#define PROC2_NEED	(SECONDARY_EXEC_ENABLE_EPT | SECONDARY_EXEC_UNRESTRICTED_GUEST |	\
			 SECONDARY_EXEC_WBINVD_EXITING)
#define PROC2_WANT	(SECONDARY_EXEC_ENABLE_VPID | SECONDARY_EXEC_ENABLE_RDTSCP |		\
			 SECONDARY_EXEC_ENABLE_INVPCID | SECONDARY_EXEC_PAUSE_LOOP_EXITING |	\
			 SECONDARY_EXEC_ENABLE_PML)
#define EXIT_NEED	(VM_EXIT_HOST_ADDR_SPACE_SIZE | VM_EXIT_SAVE_DEBUG_CONTROLS |		\
			 VM_EXIT_LOAD_IA32_EFER | VM_EXIT_LOAD_IA32_PAT)
#define ENTRY_NEED	(VM_ENTRY_LOAD_DEBUG_CONTROLS | VM_ENTRY_LOAD_IA32_EFER |		\
			 VM_ENTRY_LOAD_IA32_PAT)
#define EPT_NEED	(VMX_EPT_PAGE_WALK_4_BIT | VMX_EPTP_WB_BIT | VMX_EPT_INVEPT_BIT |	\
			 VMX_EPT_EXTENT_CONTEXT_BIT)

/* Fills @vmx; false: something is missing that guests cannot do without. */
static bool find_capabilities(void)
{
	u64 cap, misc, exit, entry;

	rdmsrl(MSR_IA32_VMX_BASIC, vmx_basic);
	/* Without the "true" capabilities CR3 accesses cannot be let through. */
	if (!(vmx_basic & VMX_BASIC_TRUE_CTLS) || vmx_basic_vmcs_size(vmx_basic) > PAGE_SIZE)
		return false;
	vmx.pin = controls(MSR_IA32_VMX_TRUE_PINBASED_CTLS, PIN_NEED,
			   vmx_stay_us ? PIN_BASED_VMX_PREEMPTION_TIMER : 0);
	rdmsrl(MSR_IA32_VMX_MISC, misc);
	vmx.stay = div_u64((u64)tsc_khz * vmx_stay_us, 1000) >> vmx_misc_preemption_timer_rate(misc);
	vmx.proc = controls(MSR_IA32_VMX_TRUE_PROCBASED_CTLS, PROC_NEED, CPU_BASED_TPR_SHADOW);
	if (vmx_mask & MASK_TPR)
		vmx.proc &= ~(u32)CPU_BASED_TPR_SHADOW;
	if (!(vmx.proc & CPU_BASED_TPR_SHADOW))
		vmx.proc = controls(MSR_IA32_VMX_TRUE_PROCBASED_CTLS, PROC_NEED | PROC_CR8, 0);
	if (!vmx.pin || !vmx.proc || (vmx.proc & PROC_NEVER))
		return false;
	vmx.proc2 = controls(MSR_IA32_VMX_PROCBASED_CTLS2, PROC2_NEED, PROC2_WANT | VMX_APICV);
	vmx.exit = controls(MSR_IA32_VMX_TRUE_EXIT_CTLS, EXIT_NEED,
			    VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL);
	vmx.entry = controls(MSR_IA32_VMX_TRUE_ENTRY_CTLS, ENTRY_NEED,
			     VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL);
	if (!vmx.proc2 || !vmx.exit || !vmx.entry ||
	    rdmsrl_safe(MSR_IA32_VMX_EPT_VPID_CAP, &cap) || (cap & EPT_NEED) != EPT_NEED)
		return false;
	if (vmx_mask & MASK_VPID)
		vmx.proc2 &= ~(u32)SECONDARY_EXEC_ENABLE_VPID;
	if (vmx_mask & MASK_AD)
		cap &= ~VMX_EPT_AD_BIT;
	if (vmx_mask & MASK_LARGE)
		cap &= ~(VMX_EPT_2MB_PAGE_BIT | VMX_EPT_1GB_PAGE_BIT);
	vmx.ept = cap;
	vmx.pml = (vmx.proc2 & SECONDARY_EXEC_ENABLE_PML) && (cap & VMX_EPT_AD_BIT) &&
		  !(vmx_mask & MASK_PML);
	if (!vmx.pml)
		vmx.proc2 &= ~(u32)SECONDARY_EXEC_ENABLE_PML;
	vmx.vpid = vmx.proc2 & SECONDARY_EXEC_ENABLE_VPID;
	vmx.tpr_shadow = vmx.proc & CPU_BASED_TPR_SHADOW;
	/* A vCPU's own controls get it when its APIC is so that it can be used. */
	vmx.apicv = vmx.tpr_shadow && (vmx.proc2 & VMX_APICV) == VMX_APICV &&
		    !(vmx_mask & MASK_APICV);
	vmx.proc2 &= ~(u32)VMX_APICV;
	/* The host's counters stand still in the guest, or PEBS would write there. */
	exit = vmx.exit & VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL;
	entry = vmx.entry & VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL;
	vmx.perf = exit && entry && !rdmsrl_safe(MSR_CORE_PERF_GLOBAL_CTRL, &cap);
	if (!vmx.perf) {
		vmx.exit &= ~(u32)VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL;
		vmx.entry &= ~(u32)VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL;
	}
	return true;
}

int vmx_check(u32 *status)
{
	u64 ctl;

	*status = HV_STATUS_NO_CPU;
	/* The CPU itself is asked: newer kernels hide VMX when firmware disabled it. */
	if (boot_cpu_data.x86_vendor != X86_VENDOR_INTEL || !(cpuid_ecx(1) & BIT(5)))
		return -ENODEV;
	*status = HV_STATUS_OK;
	if (rdmsrl_safe(MSR_IA32_FEAT_CTL, &ctl) || (ctl & FEAT_CTL_NEEDED) != FEAT_CTL_NEEDED)
		*status = HV_STATUS_FIRMWARE;
	return 0;
}

/*
 * What a guest may touch without an exit (contract 12); everything else exits.
 * The VMCS has all but KERNEL_GS_BASE, which load and put switch, and the CPU
 * itself refuses a non-canonical address.
 */
static const u32 msrs_allowed[] = {
	MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
};

/* SDM 24.6.9: reads of the low and high range, then writes; a kilobyte each. */
static void msr_allow(unsigned long *map, u32 msr)
{
	u32 bit = msr >= 0xc0000000 ? 0x400 * 8 + msr - 0xc0000000 : msr;

	clear_bit(bit, map);
	clear_bit(bit + 0x800 * 8, map);
}

/*
 * SDM 29.5: with the APIC virtualized the CPU serves three writes from the page, and any read,
 * whatever the page has there.
 */
static void msr_allow_direct(unsigned long *map)
{
	int n;

	for (n = 0; n < 64; n++)
		if (hv_lapic_plain & BIT_ULL(n))
			clear_bit(APIC_BASE_MSR + n, map);
	map += 0x800 / sizeof(*map);
	clear_bit(APIC_BASE_MSR + (APIC_TASKPRI >> 4), map);
	clear_bit(APIC_BASE_MSR + (APIC_EOI >> 4), map);
	clear_bit(APIC_BASE_MSR + (APIC_SELF_IPI >> 4), map);
}

void vmx_cleanup(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		hv_free_page(per_cpu(vmx_cpu, cpu).vmxon, 0);
		per_cpu(vmx_cpu, cpu).vmxon = NULL;
	}
	hv_free_page(vmx.msr_bitmap, 0);
	hv_free_page(vmx.msr_bitmap_direct, 0);
	vmx.msr_bitmap = vmx.msr_bitmap_direct = NULL;
}

int vmx_setup(void)
{
	unsigned int i;
	int cpu;

#ifdef X86_FEATURE_FRED
	if (boot_cpu_has(X86_FEATURE_FRED)) {
		pr_err("hv: this kernel takes its interrupts by FRED; boot with fred=off\n");
		return -ENODEV;
	}
#endif
	if (vmx_mask & ~MASK_ALL) {
		pr_err("hv: vmx_mask=%u: it is a sum of bits up to %d\n", vmx_mask, MASK_PML);
		return -EINVAL;
	}
	if (!find_capabilities()) {
		pr_err("hv: this CPU's VMX lacks EPT, unrestricted guest or virtual NMIs\n");
		return -ENODEV;
	}
	vmx.l1d = hv_mitigation(boot_cpu_has_bug(X86_BUG_L1TF)) && boot_cpu_has(X86_FEATURE_FLUSH_L1D);
	/* Where the kernel itself has no need of VERW, which enter.S follows, guests may. */
	vmx.verw = hv_mitigation(boot_cpu_has_bug(X86_BUG_MMIO_STALE_DATA));
#ifdef X86_FEATURE_CLEAR_CPU_BUF
	vmx.verw &= !boot_cpu_has(X86_FEATURE_CLEAR_CPU_BUF);
#endif
	vmx.cr4_mce = native_read_cr4() & X86_CR4_MCE;

	hv_vmx_ops.max_leaf = vmx.ept & VMX_EPT_2MB_PAGE_BIT ?
			      vmx.ept & VMX_EPT_1GB_PAGE_BIT ? 3 : 2 : 1;
	if (!(vmx.ept & VMX_EPT_AD_BIT))
		hv_vmx_ops.pte_accessed = hv_vmx_ops.pte_dirty = 0;
	hv_vmx_ops.reports_dirty = vmx.pml;
	hv_vmx_ops.direct_apic = vmx.apicv;

	for_each_possible_cpu(cpu) {
		struct vmx_cpu *c = per_cpu_ptr(&vmx_cpu, cpu);

		INIT_LIST_HEAD(&c->active);
		c->vmxon = hv_alloc_page(cpu, 0);
		if (!c->vmxon)
			goto out;
		*(u32 *)c->vmxon = vmx_basic_vmcs_revision_id(vmx_basic);
	}
	vmx.msr_bitmap = hv_alloc_page(raw_smp_processor_id(), 0);
	vmx.msr_bitmap_direct = hv_alloc_page(raw_smp_processor_id(), 0);
	if (!vmx.msr_bitmap || !vmx.msr_bitmap_direct)
		goto out;
	memset(vmx.msr_bitmap, 0xff, PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(msrs_allowed); i++)
		msr_allow(vmx.msr_bitmap, msrs_allowed[i]);
	copy_page(vmx.msr_bitmap_direct, vmx.msr_bitmap);
	msr_allow_direct(vmx.msr_bitmap_direct);
	return 0;
out:
	vmx_cleanup();
	return -ENOMEM;
}

void vmx_info(struct hv_info *info)
{
	/* Four levels reach 48 bits, which is as much as a guest is told. */
	info->npt_levels = 4;
	info->gpa_bits = min(info->gpa_bits, 48u);
	info->hw_features = HV_HW_NRIPS | (vmx.vpid ? HV_HW_FLUSH_BY_ASID : 0) |
			    (boot_cpu_has(X86_FEATURE_LA57) ? HV_HW_LA57 : 0) |
			    (hv_vmx_ops.max_leaf == 3 ? HV_HW_PAGE_1G : 0) |
			    (vmx.apicv ? HV_HW_APICV : 0) | (vmx.pml ? HV_HW_PML : 0);
	if (!hv_mitigate)
		return;
	if (vmx.l1d)
		info->mitigations |= HV_MIT_L1D_FLUSH;
#ifdef X86_FEATURE_CLEAR_CPU_BUF
	if (boot_cpu_has(X86_FEATURE_CLEAR_CPU_BUF))
		info->mitigations |= HV_MIT_VERW;
#endif
	if (vmx.verw)
		info->mitigations |= HV_MIT_VERW;
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
	if (boot_cpu_has(X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT))
		info->mitigations |= HV_MIT_BHB;
#endif
#ifdef X86_FEATURE_CLEAR_BHB_VMEXIT
	if (boot_cpu_has(X86_FEATURE_CLEAR_BHB_VMEXIT))
		info->mitigations |= HV_MIT_BHB;
#endif
}

/* ---- on and off; on the CPU, interrupts off ---- */

int vmx_cpu_enable(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	u64 ctl, pa = __pa(c->vmxon);

	if (static_branch_unlikely(&hv_borrowing)) {
		if (!(native_read_cr4() & X86_CR4_VMXE))
			return -ENODEV;
		goto on;
	}
	if (native_read_cr4() & X86_CR4_VMXE)
		return c->on ? 0 : -EBUSY;
	if (rdmsrl_safe(MSR_IA32_FEAT_CTL, &ctl) || (ctl & FEAT_CTL_NEEDED) != FEAT_CTL_NEEDED)
		return -EPERM;
	hv_vmx_prepare(true);
	asm goto("1: vmxon %0\n\tjbe %l[failed]\n" _ASM_EXTABLE(1b, %l[failed])
		 : : "m" (pa) : "cc", "memory" : failed);
on:
	c->on = true;
	/* What is tagged like ours in the TLB may be of whoever was here before. */
	vmx_invept(vmx.ept & VMX_EPT_EXTENT_GLOBAL_BIT ? VMX_EPT_EXTENT_GLOBAL
						       : VMX_EPT_EXTENT_CONTEXT, 0);
	return 0;
failed:
	hv_vmx_prepare(false);
	return -EBUSY;
}

/* On the CPU where the VMCS may be cached: write it back and forget it. */
static void vmcs_release(void *arg)
{
	struct vmx_vcpu *vx = arg;

	if (vx->cpu != smp_processor_id())
		return;		/* the CPU went off meanwhile and did it */
	vmx_clear(vx->vmcs_pa);
	list_del(&vx->active);
	vx->launched = false;
	vx->cpu = -1;
}

void vmx_cpu_disable(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	struct vmx_vcpu *vx, *next;

	if (!c->on)
		return;
	list_for_each_entry_safe(vx, next, &c->active, active)
		vmcs_release(vx);
	c->on = false;
	if (static_branch_unlikely(&hv_borrowing))
		return;
	asm volatile("1: vmxoff\n2:\n" _ASM_EXTABLE(1b, 2b) : : : "cc", "memory");
	hv_vmx_prepare(false);
}

bool vmx_cpu_in_use(void)
{
	bool in_use;

	preempt_disable();
	in_use = (native_read_cr4() & X86_CR4_VMXE) && !this_cpu_read(vmx_cpu.on);
	preempt_enable();
	return in_use;
}

/* ---- borrow mode: windows in which our VMCS is current ---- */

/*
 * Interrupts off.  Does not open on a CPU that is on its way off, nor before a reboot.  Where
 * nothing was current ours stays so: KVM does not mind, and vmcs_release() ends it.
 */
static void vmx_window(struct hv_vcpu *v, bool open)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	struct vmx_vcpu *vx = to_vmx(v);
	u64 ours = vx->vmcs_pa;

	if (open && vx->cpu == smp_processor_id()) {
		c->theirs = vmx_ptrst();
		c->open = c->theirs == ours || vmx_ptrld(ours);
	} else if (!open && c->open) {
		c->open = false;
		if (c->theirs != ours && c->theirs != VMCS_NONE)
			vmx_ptrld(c->theirs);
	}
}

u64 vmcs_access(u32 field, const u64 *val)
{
	unsigned long flags;
	struct vmx_cpu *c;
	u64 ret = 0;

	local_irq_save(flags);
	c = this_cpu_ptr(&vmx_cpu);
	if (!WARN_ON_ONCE(!c->loaded)) {
		vmx_window(&c->loaded->v, true);
		if (c->open && val)
			vmx_write(field, *val);
		else if (c->open)
			ret = vmx_read(field);
		vmx_window(&c->loaded->v, false);
	}
	local_irq_restore(flags);
	return ret;
}

/* ---- vCPUs ---- */

int vmx_vcpu_create(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);

	BUILD_BUG_ON(offsetof(struct vmx_vcpu, v));
	vx->cpu = -1;
	vx->vmcs = hv_alloc(PAGE_SIZE);
	if (vmx.pml)
		vx->pml = hv_alloc(VMX_PML_ENTRIES * sizeof(*vx->pml));
	if (!vx->vmcs || (vmx.pml && !vx->pml))
		return -ENOMEM;
	*vx->vmcs = vmx_basic_vmcs_revision_id(vmx_basic);
	vx->vmcs_pa = __pa(vx->vmcs);
	vx->eptp = hv_mmu_root_pa(v->vm) | VMX_EPTP_MT_WB | VMX_EPTP_PWL_4 |
		   (vmx.ept & VMX_EPT_AD_BIT ? VMX_EPTP_AD_ENABLE_BIT : 0);
	return 0;
}

void vmx_vcpu_destroy(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);
	int cpu = READ_ONCE(vx->cpu);

	if (vx->vmcs_pa && cpu >= 0)
		smp_call_function_single(cpu, vmcs_release, vx, 1);
	hv_free(vx->vmcs);
	hv_free(vx->pml);
}

static const u32 lazy_msrs[VMX_LAZY] = {
	[VMX_STAR] = MSR_STAR, [VMX_LSTAR] = MSR_LSTAR, [VMX_CSTAR] = MSR_CSTAR,
	[VMX_SFMASK] = MSR_SYSCALL_MASK, [VMX_TSC_AUX] = MSR_TSC_AUX,
};

static void write_lazy(struct vmx_vcpu *vx, int i, u64 val)
{
	if (vx->loaded[i] == val)
		return;
	vx->loaded[i] = val;
	wrmsrl(lazy_msrs[i], val);
}

static int lazy_count(void)
{
	return boot_cpu_has(X86_FEATURE_RDTSCP) ? VMX_LAZY : VMX_TSC_AUX;
}

void vmx_load_lazy(struct vmx_vcpu *vx)
{
	const struct hv_msrs *m = &vx->v.msrs;

	write_lazy(vx, VMX_STAR, m->star);
	write_lazy(vx, VMX_LSTAR, m->lstar);
	write_lazy(vx, VMX_CSTAR, m->cstar);
	write_lazy(vx, VMX_SFMASK, (u32)m->sfmask);
	if (lazy_count() == VMX_LAZY)
		write_lazy(vx, VMX_TSC_AUX, (u32)m->tsc_aux);
}

/*
 * Where the host has the CPU trap locked accesses that cross cache lines, guests get its #AC too,
 * with no idea of it.  TEST_CTRL has one bit for host and guest: it is off while a vCPU is loaded
 * that has met it once.
 */
static void pass_split_locks(struct vmx_vcpu *vx)
{
	rdmsrl(MSR_TEST_CTRL, vx->test_ctrl);
	wrmsrl(MSR_TEST_CTRL, vx->test_ctrl & ~(u64)MSR_TEST_CTRL_SPLIT_LOCK_DETECT);
}

bool vmx_split_lock(struct vmx_vcpu *vx)
{
	struct hv_vcpu *v = &vx->v;

	if (vx->split_locks || !boot_cpu_has(X86_FEATURE_SPLIT_LOCK_DETECT))
		return false;
	/* The guest's own alignment check? */
	if ((v->cr0 & X86_CR0_AM) && (v->regs.rflags & X86_EFLAGS_AC) && vmx_get_cpl(v) == 3)
		return false;
	vx->split_locks = true;
	pass_split_locks(vx);
	return true;
}

/*
 * The kernel does not use what is replaced here before the put, which comes ahead
 * of its own saving at a context switch and of the way to user space.
 */
void vmx_vcpu_load(struct hv_vcpu *v, int cpu)
{
	struct vmx_vcpu *vx = to_vmx(v);
	struct vmx_cpu *c = per_cpu_ptr(&vmx_cpu, cpu);
	int old = READ_ONCE(vx->cpu), i;
	unsigned long flags;
	bool fresh;
	u64 msr;

	if (old != cpu && old >= 0)
		smp_call_function_single(old, vmcs_release, vx, 1);
	local_irq_save(flags);
	fresh = vx->cpu != cpu;
	if (fresh) {
		vmx_clear(vx->vmcs_pa);
		/* On a CPU that is on its way off nothing is cached, and nothing will release. */
		if (c->on) {
			vx->cpu = cpu;
			list_add(&vx->active, &c->active);
		}
		v->flushed_gen = 0;	/* translations of an earlier stay here missed flushes */
	}
	if (static_branch_unlikely(&hv_borrowing))
		c->loaded = vx;
	else
		vmx_ptrld(vx->vmcs_pa);
	local_irq_restore(flags);
	if (unlikely(!vx->ready))
		vmx_vmcs_init(vx);
	if (fresh) {
		/* Where the exit finds this CPU's own things. */
		vmcs_write(HOST_GDTR_BASE, (u64)get_cpu_gdt_ro(cpu));
		vmcs_write(HOST_TR_BASE, (u64)&get_cpu_entry_area(cpu)->tss.x86_tss);
		rdmsrl(MSR_GS_BASE, msr);
		vmcs_write(HOST_GS_BASE, msr);
		rdmsrl(MSR_IA32_SYSENTER_ESP, msr);
		vmcs_write(HOST_IA32_SYSENTER_ESP, msr);
	}
	vx->section = 0;

	savesegment(ds, vx->ds);
	savesegment(es, vx->es);
	savesegment(fs, vx->fs);
	savesegment(gs, vx->gs);
	rdmsrl(MSR_FS_BASE, vx->fs_base);
	rdmsrl(MSR_KERNEL_GS_BASE, vx->kernel_gs_base);
	wrmsrl(MSR_KERNEL_GS_BASE, v->msrs.kernel_gs_base);
	for (i = 0; i < lazy_count(); i++) {
		rdmsrl(lazy_msrs[i], vx->lazy[i]);
		vx->loaded[i] = vx->lazy[i];
	}
	vmx_load_lazy(vx);
	if (unlikely(vx->split_locks))
		pass_split_locks(vx);
}

void vmx_vcpu_put(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);
	int i;

	for (i = 0; i < lazy_count(); i++)
		write_lazy(vx, i, vx->lazy[i]);
	if (unlikely(vx->split_locks))
		wrmsrl(MSR_TEST_CTRL, vx->test_ctrl);
	rdmsrl(MSR_KERNEL_GS_BASE, v->msrs.kernel_gs_base);
	if (vx->section) {
		/* The exit has left null selectors, and limits of its own. */
		if (unlikely(vx->ds | vx->es)) {
			loadsegment(ds, vx->ds);
			loadsegment(es, vx->es);
		}
		if (unlikely(vx->fs))
			loadsegment(fs, vx->fs);
		if (unlikely(vx->gs))
			load_gs_index(vx->gs);
		wrmsrl(MSR_FS_BASE, vx->fs_base);
		invalidate_tss_limit();
		load_fixmap_gdt(smp_processor_id());
	}
	wrmsrl(MSR_KERNEL_GS_BASE, vx->kernel_gs_base);
	this_cpu_write(vmx_cpu.loaded, NULL);
}

/* ---- entry ---- */

/* What the host may change between two sections, but not inside one. */
static void look_at_host(struct vmx_vcpu *vx)
{
	u64 cr3 = __read_cr3(), cr4 = native_read_cr4(), val;

	if (cr3 != vx->cr3) {
		vx->cr3 = cr3;
		vmcs_write(HOST_CR3, cr3);
	}
	if (cr4 != vx->cr4) {
		vx->cr4 = cr4;
		vmcs_write(HOST_CR4, cr4);
	}
	rdmsrl(MSR_IA32_DEBUGCTLMSR, vx->debugctl);
	if (vmx.perf) {
		rdmsrl(MSR_CORE_PERF_GLOBAL_CTRL, val);
		vmcs_write(HOST_IA32_PERF_GLOBAL_CTRL, val);
	}
	store_ldt(vx->ldt);
	/* The host has been at work: its secrets may be in the L1. */
	if (vmx.l1d)
		wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
	vx->section = vx->v.section;
}

static void vmcs_update(u32 field, u64 *cached, u64 val)
{
	if (*cached == val)
		return;
	*cached = val;
	vmcs_write(field, val);
}

/* An NMI or machine check that ended the guest's stay is the host's: raise it here. */
static void take_host_event(void)
{
	u32 info = vmcs_read(VM_EXIT_INTR_INFO);

	if ((info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR)
		asm volatile("int $2");
	else if ((info & INTR_INFO_VECTOR_MASK) == X86_TRAP_MC)
		hv_machine_check();
}

/*
 * Page-modification logging, SDM 28.3.6: whoever makes a leaf dirty writes its address to the next
 * place down and is in the guest no more when there is none.  Leaves are clean only where a slot
 * has a log; elsewhere the CPU finds nothing to write, and so it is always on.
 */
void vmx_take_log(struct vmx_vcpu *vx)
{
	u16 i;

	if (!vmx.pml)
		return;
	/* The next place; below the lowest the index is -1. */
	i = vmcs_read(GUEST_PML_INDEX) + 1;
	if (i >= VMX_PML_ENTRIES)
		return;
	for (; i < VMX_PML_ENTRIES; i++)
		hv_slots_log(vx->v.vm, vx->pml[i] >> PAGE_SHIFT);
	vmcs_write(GUEST_PML_INDEX, VMX_PML_ENTRIES - 1);
}

/*
 * Bochs, which is who needs vmx_stay_us, tells of the event before when the delivery of a virtual
 * interrupt faults (Documentation/testing.rst).  It was one if SVI is new and IF still set.
 */
static u32 bochs_vectoring(const struct hv_vcpu *v, u32 info, u8 old_svi)
{
	u8 svi = vmcs_read(GUEST_INTR_STATUS) >> 8;

	if (!(info & HV_EV_VALID) || svi == old_svi || !(v->regs.rflags & X86_EFLAGS_IF))
		return info;
	return HV_EV_VALID | HV_EV_INTR | svi;
}

void vmx_enter(struct hv_vcpu *v)
{
	struct vmx_vcpu *vx = to_vmx(v);
	u64 gen = atomic64_read(&v->vm->mmu.flush_gen);
	u64 spec_ctrl = v->msrs.spec_ctrl & hv_spec_ctrl_mask;
	bool direct = hv_lapic_direct(v);
	struct hv_host_debug debug;
	unsigned long ret;
	u8 svi = 0;
	u32 code;
	int i;

	if (unlikely(vx->section != v->section))
		look_at_host(vx);
	if (unlikely(v->flushed_gen != gen)) {
		vmx_invept(VMX_EPT_EXTENT_CONTEXT, vx->eptp);
		v->stat[HV_STAT_TLB_FLUSHES]++;
		/* From here whoever removes translations need not wait for us unless it
		 * raises the generation again (hv_vm_flush_wait). */
		WRITE_ONCE(v->flushed_gen, gen);
	}
	vmcs_update(GUEST_RIP, &vx->rip, v->regs.rip);
	vmcs_update(GUEST_RSP, &vx->rsp, v->regs.gpr[HV_RSP]);
	vmcs_update(GUEST_RFLAGS, &vx->rflags, v->regs.rflags | X86_EFLAGS_FIXED);
	if (unlikely(direct != vx->direct))
		vmx_set_direct(vx, direct);
	if (unlikely(vmx.stay) && direct)
		svi = vmcs_read(GUEST_INTR_STATUS) >> 8;
	if (vmx.tpr_shadow && !direct && unlikely(vx->vapic[APIC_TASKPRI] >> 4 != vx->tpr))
		vmx_update_tpr(v);
	if (native_read_cr2() != v->cr2)
		native_write_cr2(v->cr2);
	if (unlikely(vmx.verw))
		asm volatile("verw %0" : : "m" (hv_verw_sel) : "cc");

	hv_debug_load(v, &debug);
	if (unlikely(!vmcs_current()))
		ret = 2;
	else if (likely(hv_mitigate))
		ret = vmx_enter_guest(v->regs.gpr, vx->launched, spec_ctrl);
	else
		ret = vmx_enter_guest_bare(v->regs.gpr, vx->launched, spec_ctrl);
	if (unlikely(vx->debugctl))
		wrmsrl(MSR_IA32_DEBUGCTLMSR, vx->debugctl);
	if (unlikely(vx->ldt))
		asm volatile("lldt %0" : : "rm" (vx->ldt));
	hv_debug_restore(&debug);

	if (unlikely(ret)) {
		code = ret == 2 ? VMX_EXIT_NO_VMX
				: VMX_EXIT_INSN_ERROR | (u32)vmcs_read(VM_INSTRUCTION_ERROR);
	} else {
		code = vmcs_read(VM_EXIT_REASON);
		vx->launched = true;
	}
	v->exit_code = code;
	vx->qual = vmcs_read(EXIT_QUALIFICATION);
	if (unlikely(code & (VMX_EXIT_FAILED | VMX_EXIT_INSN_ERROR) || ret)) {
		/* Nothing ran: events and flushes stay owed. */
		vx->injected = 0;
		vx->vectoring = 0;
		vmcs_write(VM_ENTRY_INTR_INFO_FIELD, 0);
		v->flushed_gen = 0;
		if ((u16)code == EXIT_REASON_MCE_DURING_VMENTRY && !ret)
			hv_machine_check();
		return;
	}
	v->cr2 = native_read_cr2();
	if (code == EXIT_REASON_EXCEPTION_NMI)
		take_host_event();
	if (unlikely(READ_ONCE(v->vm->logs)))
		vmx_take_log(vx);
	v->regs.gpr[HV_RSP] = vx->rsp = vmcs_read(GUEST_RSP);
	v->regs.rip = vx->rip = vmcs_read(GUEST_RIP);
	v->regs.rflags = vx->rflags = vmcs_read(GUEST_RFLAGS);
	v->cr3 = vmcs_read(GUEST_CR3);
	if (unlikely(hv_pae_paging(v)))
		for (i = 0; i < 4; i++)
			v->pdpte[i] = vmcs_read(GUEST_PDPTR0 + 2 * i);
	vx->vectoring = vmcs_read(IDT_VECTORING_INFO_FIELD);
	if (unlikely(vmx.stay) && direct)
		vx->vectoring = bochs_vectoring(v, vx->vectoring, svi);
	if (unlikely(vx->injected | (vx->vectoring & HV_EV_VALID)))
		vmx_event_done(vx);
	if (vmx.tpr_shadow && !direct && unlikely(vx->vapic[APIC_TASKPRI] >> 4 != vx->tpr)) {
		vx->tpr = vx->vapic[APIC_TASKPRI] >> 4;
		hv_lapic_set_cr8(v, vx->tpr);
	}
}

/* ---- second-stage entries: SDM 28.3.2 ---- */

u64 vmx_pte_table(u64 pa)
{
	return pa | VMX_EPT_RWX_MASK;
}

/* Write-back whatever the guest's PAT says: there are no devices behind its memory. */
u64 vmx_pte_leaf(u64 pa, bool write, int level)
{
	return pa | VMX_EPT_READABLE_MASK | VMX_EPT_IPAT_BIT |
	       (level > 1 && hv_nx_large ? 0 : VMX_EPT_EXECUTABLE_MASK) |
	       VMX_EPTP_MT_WB << VMX_EPT_MT_EPTE_SHIFT | (write ? VMX_EPT_WRITABLE_MASK : 0) |
	       (level > 1 ? BIT_ULL(7) : 0);
}

struct hv_ops hv_vmx_ops __ro_after_init = {
	.name = "VMX",
	.kvm = "kvm_intel",
	.vendor = HV_VENDOR_VMX,
	.keeps_pdptes = true,
	.can_borrow = true,
	.must_borrow = HV_MUST_BORROW,
	.window = vmx_window,
	.vcpu_size = sizeof(struct vmx_vcpu),
#define HV_OP(result, op, args) .op = vmx_##op,
#include "../hv_ops.h"
	.pte_present = VMX_EPT_READABLE_MASK,
	.pte_large = BIT_ULL(7),
	.pte_write = VMX_EPT_WRITABLE_MASK,
	.pte_accessed = VMX_EPT_ACCESS_BIT,
	.pte_dirty = VMX_EPT_DIRTY_BIT,
	.pte_addr_mask = GENMASK_ULL(51, PAGE_SHIFT),
	.max_leaf = 2,
};
