/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmx_vmcs.h - access to the VMCS and the backend's objects.
 *
 * SDM vol. 3 chapters 24 (VMCS), 30 (instructions), appendix B (encodings, which
 * come from the kernel's asm/vmx.h).  A vCPU's VMCS is current on a CPU from
 * vcpu_load to vcpu_put, so everything here needs the vCPU loaded.
 *
 * Not so where KVM is beside us (borrow mode): it takes what it made current for current, and an
 * IPI of its may clear and free that.  So ours is current only while interrupts are off, for the
 * section or for one access, and then KVM's is again.
 *
 * Only vmx/ includes this file.
 */
#ifndef VMX_VMCS_H
#define VMX_VMCS_H

#include "../hv.h"
#include <asm/vmx.h>

/* ---- instructions ---- */

#define VMCS_NONE	(~0ULL)		/* the pointer when there is no current VMCS */

/*
 * Each may fault: at a reboot VMX goes off under its users.  Then nothing
 * happens, as with the CPU's own failures (CF or ZF): no entry will follow.
 */
#define VMX_INSN(insn, ...)							\
	asm volatile("1: " insn "\n2:\n" _ASM_EXTABLE(1b, 2b) : : __VA_ARGS__ : "cc", "memory")

static inline u64 vmx_read(u32 field)
{
	u64 val = 0;

	asm volatile("1: vmread %1, %0\n2:\n" _ASM_EXTABLE(1b, 2b)
		     : "+r" (val) : "r" ((u64)field) : "cc", "memory");
	return val;
}

static inline void vmx_write(u32 field, u64 val)
{
	asm volatile("1: vmwrite %1, %0\n2:\n" _ASM_EXTABLE(1b, 2b)
		     : : "r" ((u64)field), "rm" (val) : "cc");
}

static inline void vmx_clear(u64 pa)
{
	VMX_INSN("vmclear %0", "m" (pa));
}

static inline bool vmx_ptrld(u64 pa)
{
	bool done = false;

	asm volatile("1: vmptrld %1\n\tseta %0\n2:\n" _ASM_EXTABLE(1b, 2b)
		     : "+qm" (done) : "m" (pa) : "cc", "memory");
	return done;
}

static inline u64 vmx_ptrst(void)
{
	u64 pa = VMCS_NONE;

	asm volatile("1: vmptrst %0\n2:\n" _ASM_EXTABLE(1b, 2b) : "+m" (pa) : : "cc", "memory");
	return pa;
}

static inline void vmx_invept(u64 type, u64 eptp)
{
	struct { u64 eptp, zero; } desc = { eptp, 0 };

	VMX_INSN("invept %0, %1", "m" (desc), "r" (type));
}

/* ---- exits beside those of the SDM's appendix C ---- */

#define VMX_EXIT_FAILED		BIT(31)	/* the entry failed: in the CPU's own exit reason */
#define VMX_EXIT_INSN_ERROR	BIT(30)	/* VMLAUNCH or VMRESUME did: | VM-instruction error */
#define VMX_EXIT_NO_VMX		0x1fff0000	/* they faulted, VMX is off on this CPU */

#define VMX_PML_ENTRIES		512

/* ---- the backend's objects ---- */

struct vmx_cpu {
	void *vmxon;			/* the region */
	bool on;			/* VMXON was ours; borrow: it is to be used */
	struct list_head active;	/* [on the CPU, interrupts off] VMCSs cached here */
	/* borrow mode */
	struct vmx_vcpu *loaded;
	bool open;			/* its VMCS is current, interrupts are off */
	u64 theirs;			/* then: what was current before */
};

DECLARE_PER_CPU(struct vmx_cpu, vmx_cpu);

/* vmx.c: outside the section; reads if @val is NULL */
u64 vmcs_access(u32 field, const u64 *val);

/* Is the VMCS of the vCPU that is loaded current? */
static inline bool vmcs_current(void)
{
	return !static_branch_unlikely(&hv_borrowing) || this_cpu_read(vmx_cpu.open);
}

static inline u64 vmcs_read(u32 field)
{
	return vmcs_current() ? vmx_read(field) : vmcs_access(field, NULL);
}

static inline void vmcs_write(u32 field, u64 val)
{
	if (vmcs_current())
		vmx_write(field, val);
	else
		vmcs_access(field, &val);
}

/* Registers that neither entry nor exit switches: SYSCALL's, and TSC_AUX. */
enum { VMX_STAR, VMX_LSTAR, VMX_CSTAR, VMX_SFMASK, VMX_TSC_AUX, VMX_LAZY };

struct vmx_vcpu {
	struct hv_vcpu v;		/* first */
	u32 *vmcs;
	u64 vmcs_pa, eptp;
	struct list_head active;	/* in vmx_cpu.active of @cpu */
	int cpu;			/* where the VMCS may be cached, or -1 */
	bool ready, launched;
	u64 section;			/* v->section that host state was looked at for */

	u8 *vapic;			/* virtual-APIC page: the APIC's own */
	u8 tpr;				/* as last synchronised with the APIC */
	u32 threshold;
	u32 proc, proc2, entry_ctl;	/* as in the VMCS */
	bool direct;			/* hv_lapic_direct(), as in the VMCS */
	u64 eoi_exit[4];		/* as in the VMCS */
	u64 *pml;			/* VMX_PML_ENTRIES addresses, filled from the end */
	u64 rip, rsp, rflags;		/* in the VMCS */
	u32 injected;			/* entry interruption-information of the entry under way */
	u32 vectoring;			/* IDT-vectoring information of the exit */
	u64 qual;			/* its qualification */

	/* the host's, found at load or at the first entry of a section */
	u64 lazy[VMX_LAZY], kernel_gs_base, fs_base;
	u16 ds, es, fs, gs, ldt;
	u64 cr3, cr4, debugctl;
	u64 loaded[VMX_LAZY];		/* in the registers now */
	u64 test_ctrl;			/* the host's, if @split_locks */
	bool split_locks;		/* it has taken the host's trap for them, and does no more */
};

static inline struct vmx_vcpu *to_vmx(struct hv_vcpu *v)
{
	return container_of(v, struct vmx_vcpu, v);
}

#define HV_OP(result, op, args) result vmx_##op args;
#include "../hv_ops.h"

/* vmx.c */
struct vmx_caps {
	u32 pin, proc, proc2, exit, entry;	/* controls in use */
	u64 ept;
	u32 stay;				/* of the preemption timer, if it is in @pin */
	bool vpid, tpr_shadow, apicv, pml, perf, l1d, verw;
	u64 cr4_mce;
	void *msr_bitmap, *msr_bitmap_direct;
};
extern struct vmx_caps vmx;
void vmx_take_log(struct vmx_vcpu *vx);		/* section: what the CPU has logged */
void vmx_load_lazy(struct vmx_vcpu *vx);	/* guest's values into the registers; loaded */
bool vmx_split_lock(struct vmx_vcpu *vx);	/* section: an #AC was the host's trap, now off */

/* vmx_vmcs.c */
void vmx_vmcs_init(struct vmx_vcpu *vx);
void vmx_host_init(void);			/* fields that are the same on all CPUs */

/* vmx_event.c */
/* Together they make the CPU deliver from the APIC's page. */
#define VMX_APICV	(SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE |	\
			 SECONDARY_EXEC_APIC_REGISTER_VIRT | SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY)
void vmx_set_proc(struct vmx_vcpu *vx, u32 bit, bool on);
void vmx_set_proc2(struct vmx_vcpu *vx, u32 bits, bool on);
void vmx_set_direct(struct vmx_vcpu *vx, bool on);
void vmx_event_done(struct vmx_vcpu *vx);

/* enter.S: 0; 1: the CPU refused to enter; 2: VMX is off */
unsigned long vmx_enter_guest(u64 *gpr, bool launched, u64 spec_ctrl);
unsigned long vmx_enter_guest_bare(u64 *gpr, bool launched, u64 spec_ctrl);
void vmx_exit_point(void);
void vmx_exit_point_bare(void);

#endif /* VMX_VMCS_H */
