/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hv.h - objects of the module and the calls between its files.
 *
 * hv_main.c   /dev/hv, module init and exit, global counters
 * hv_hw.c     switching SVM/VMX on and off, CPU hotplug, who owns the CPU
 * hv_vm.c     the VM fd: create, destroy, ioctls
 * hv_vcpu.c   the vCPU fd: run loop, kick, blocking, run area
 * hv_state.c  state groups in and out of the run area, reset
 * hv_event.c  order of exceptions, NMIs and interrupts at entry; retire
 * hv_exit.c   vendor-free bodies of exits
 * hv_cpuid.c, hv_msr.c   policy tables
 * hv_fpu.c    guest XSAVE state inside the entry section
 * hv_slots.c  guest-physical address space, dirty logs, guest memory access
 * hv_mmu.c    second-stage tables, mmu notifier, flush generations
 * hv_walk.c   read-only walk of the guest's page tables, instruction fetch
 * hv_decode.c instruction length; plain mov to device memory
 * hv_lapic.c, hv_timer.c  local APIC and its timer
 * hv_irq.c    MSI delivery, APIC id map, 8259 line;  hv_irqfd.c  eventfds in
 * hv_doorbell.c  eventfds out
 * hv_clock.c  guest TSC, kvmclock, steal time
 * hv_debug.c  debug registers, the guest's and the host's
 * svm/, vmx/  AMD and Intel backends, behind what hv_ops.h lists.  A backend sees no ioctl
 *             argument and no other backend.
 *
 * Locks, outermost first:
 *   hv_hw.c: hw_lock
 *   vcpu->mutex      run and state of one vCPU (trylock from ioctls: EBUSY)
 *   vm->lock         slots writer side, vCPU creation, cpuid, irqfds, doorbells, clock
 *   vm->srcu         readers of slots and doorbells; held for one turn of the run
 *                    loop, so writers kick all vCPUs before synchronize_srcu()
 *   mm->mmap_lock    (inside fault handling, never with mmu.lock)
 *   vm->mmu.lock     second-stage tables; a spinning lock, because the ageing
 *                    notifiers come under page-table locks
 *   leaf spinlocks   (irqfd, timer, clock)
 * Without a lock: vm->apic_on, apic_x2 and what is posted to an APIC, in any context.
 *
 * The entry section (vcpu_enter_section in hv_vcpu.c) runs with interrupts off
 * inside kernel_fpu_begin/end.  Code called there is marked "section": it must
 * not sleep, take mmu.lock, or touch user memory except by *_atomic access.
 */
#ifndef HV_H
#define HV_H

#include <linux/cpu.h>
#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/mem_encrypt.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rcuwait.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/special_insns.h>
#include <asm/trapnr.h>
#include <asm/tsc.h>
#include "uapi/hv.h"
#include "hv_compat.h"
#include "hv_decode.h"	/* struct hv_mov, hv_decode_*() */

#define HV_MAX_VCPUS		64
#define HV_MAX_SLOTS		128
#define HV_MAX_IRQFDS		1024
#define HV_MAX_DOORBELLS	512
#define HV_MAX_CPUID		128
#define HV_MIN_TIMER_NS		200000		/* floor of a periodic APIC timer */
#define HV_FAST_BOUND		64		/* fast exits before the section is left */

struct hv_vm;
struct hv_vcpu;

/* ---- what an exit handler asks the run loop to do next ---- */
#define HV_ENTER	0	/* section only: go straight back into the guest */
#define HV_LOOP		1	/* done; leave the section, take another turn */
#define HV_SLOW		2	/* section only: call ops->slow_exit with interrupts on */
#define HV_USER		3	/* run->exit_reason is set; return to userspace */
/* negative: errno for HV_RUN */

/* ---- requests: set by anyone, then hv_vcpu_kick(); taken by the vCPU ---- */
#define HV_REQ_KICK	0	/* HV_KICK: sticky, ends HV_RUN */
#define HV_REQ_EVENT	1	/* look at interrupts again */
#define HV_REQ_TIMER	2	/* APIC timer expired: hv_timer_expired() */
#define HV_REQ_CLOCK	3	/* rewrite this vCPU's kvmclock page */
#define HV_REQ_STEAL	4	/* rewrite steal time */
#define HV_REQ_LEAVE	5	/* leave the section once (slots changed, flush) */
#define HV_REQ_INITSIPI	6	/* INIT or SIPI arrived: hv_lapic_initsipi() */
#define HV_REQ_NMI	7	/* vcpu->nmi_queued grew */
#define HV_REQ_TSC	8	/* TSC offset changed: ops->set_tsc_offset */
#define HV_REQ_DEAD	9	/* VM is broken: HV_RUN returns -EIO */
#define HV_REQ_PDPTE	10	/* PAE: the CPU is to load the four top entries again */

/* ---- memory: hv_slots.c, hv_mmu.c ---- */
struct hv_memslot {
	u32 id, flags;
	u64 gfn, npages;		/* guest frames */
	unsigned long hva;
	unsigned long *dirty;		/* npages bits, or NULL; set_bit from any context */
};

struct hv_slots {
	u32 count;
	u32 last;			/* where hv_slot_find() last hit; a racy hint */
	struct hv_memslot slot[];	/* sorted by gfn */
};

struct hv_mmu {
	spinlock_t lock;
	u64 *root;			/* top table; the same page all the VM's life */
	int levels;			/* 4 or 5: the depth of the host's CR4 (contract 11) */
	struct list_head cache;		/* [lock] zeroed table pages, filled before the lock */
	int cached;			/* [lock] pages in @cache */
	unsigned long inval_seq;	/* [lock] ends of notifier invalidations */
	int inval_count;		/* [lock] invalidations under way */
	unsigned long inval_start, inval_end;	/* [lock] their hva hull */
	const struct hv_slots *old_slots;	/* [lock] list being replaced, until it is zapped */
	atomic64_t flush_gen;		/* grows, under lock, whenever a translation was removed */
	u64 flush_done;			/* [lock] newest generation that every vCPU honours */
	u64 leaves[3];			/* [lock] 4K, 2M, 1G leaves mapped now */
	u64 table_pages;		/* [lock] in the tree or on free_list */
	struct list_head free_list;	/* [lock] table pages waiting for their generation */
};

/* Outcome of a guest-physical access that faulted. */
#define HV_FAULT_RETRY		0	/* mapped, or raced: enter again */
#define HV_FAULT_MMIO		1	/* no slot, or write to a read-only slot */
/* negative errno: MEMORY_FAULT with that cause; -EINTR: signal or kick while waiting */

/* ---- instruction at RIP ---- */
struct hv_insn {
	u8 bytes[16];
	u8 avail;			/* bytes valid */
	u8 length;			/* 0: not known */
};

/* ---- local APIC ---- */
struct hv_lapic;			/* private to hv_lapic.c, hv_timer.c, hv_irq.c */

struct hv_irq_msg {			/* one interrupt message, as on the bus */
	u32 dest;
	u8 vector;
	u8 delivery;			/* APIC delivery mode 0..7 */
	u8 shorthand;			/* 0 none, 1 self, 2 all, 3 all but self */
	bool logical;
	bool level;			/* sets TMR */
	bool assert;			/* level of INIT de-assert */
	bool x2;			/* 32-bit destination */
	bool broadcast_ff;		/* 8-bit destination 0xff means all */
};

/* ---- one vCPU ---- */
enum hv_vcpu_mode { HV_OUTSIDE, HV_IN_SECTION };

struct hv_vcpu {
	struct hv_vm *vm;
	u32 id;
	u64 unique;			/* among all vCPUs since the module was loaded */
	struct mutex mutex;		/* run, state */

	/* Any context. */
	unsigned long requests;
	int mode;			/* enum hv_vcpu_mode; smp_store/load with requests */
	int cpu;			/* last CPU, valid while loaded */
	struct rcuwait wait;		/* blocked in HLT or for SIPI */
	atomic_t nmi_queued;		/* NMIs sent, not yet in ev.nmi_pending */
	u64 flushed_gen;		/* mmu.flush_gen the CPU's tagged TLB is known to honour */

	/* [mutex] everything below */
	struct preempt_notifier notifier;
	bool loaded;
	u64 section;			/* entry sections begun */
	int srcu_idx;
	struct hv_run *run;		/* the shared pages; read every field once */
	void *scratch;			/* run_size bytes: groups are copied here, then validated */
	u32 want_windows, windows;	/* HV_WINDOW_* */
	u64 exit_groups;		/* groups the exit under way makes valid */
	bool eoi_owed;			/* HV_APIC_ACCESS wrote EOI: exit before entering */
	bool eoi_pending;		/* an MSR write did: HV_EXIT_EOI is set up */
	bool windows_armed;		/* a window intercept may be on */
	bool pv_unhalt;			/* KVM_HC_KICK_CPU arrived; ends HLT */

	struct hv_regs regs;		/* always current outside the guest */
	u64 cr0, cr2, cr3, cr4, efer;	/* the guest's view, always current outside the guest */
	u64 xcr0;
	u64 pdpte[4];			/* PAE, where the CPU keeps them (ops->keeps_pdptes) */
	struct hv_debug debug;		/* current outside the section, after ops->get_debug */
	struct hv_msrs msrs;		/* those the backend keeps: after ops->get_msrs */
	struct hv_events ev;
	struct hv_mp mp;
	struct hv_clock clock;
	u64 apic_base;
	struct hv_lapic *lapic;

	void *xsave;			/* 64-byte aligned, standard format */
	u64 guest_xcr0_loaded;		/* section; 0 outside */
	u32 host_pkru;			/* section */

	struct hrtimer fault_timer;	/* while @fault_task waits in a fault: hv_mmu.c */
	struct task_struct *fault_task;

	int eoi_vector;			/* level vector whose EOI is owed to userspace, or -1 */
	u64 next_rip;			/* of the exit being handled, 0: not known */
	struct hv_insn insn;		/* of the exit being handled; avail 0: not fetched */
	u64 exit_code;			/* vendor's */

	/* kvmclock and steal time: hv_clock.c */
	u64 run_delay_last;
	struct task_struct *run_delay_task;	/* whose; only compared */
	u64 clock_tsc, clock_ns;	/* what the guest's page says, when sampled */
	u32 clock_mul;
	int clock_cpu;			/* 1 + where it was sampled, 0: never */
	bool clock_stopped;		/* tell the guest that it was paused */
	s64 tsc_offset_hw;		/* what the hardware was given */

	u64 stat[HV_STAT_COUNT];
};

/* ---- one VM ---- */
struct hv_doorbells;			/* hv_doorbell.c */

struct hv_cpuid_table {
	u32 count;
	struct hv_cpuid_entry e[HV_MAX_CPUID];
};

struct hv_vm {
	refcount_t users;		/* VM fd, each vCPU fd */
	struct mm_struct *mm;		/* the creator's; mmgrab'd */
	struct file *kvm;		/* borrow mode: a VM of KVM's, which keeps VMX on */
	struct mutex lock;
	struct srcu_struct srcu;
	bool dead;

	struct hv_slots __rcu *slots;	/* srcu */
	bool logs;			/* some slot of them, or of the list before, has a log */
	struct hv_mmu mmu;
	struct mmu_notifier mn;

	struct hv_vcpu *vcpu[HV_MAX_VCPUS];	/* [lock] to write; smp_load_acquire to read */
	u32 nvcpus;			/* created, smp_store_release */
	struct hv_cpuid_table *cpuid;	/* [lock], fixed once a vCPU exists */
	/* guest features drawn from the table when it is set */
	u64 guest_xcr0;			/* XCR0 bits allowed */
	u64 cr4_allowed;		/* CR4 bits allowed */
	u64 efer_allowed;
	int gpa_bits;			/* guest's MAXPHYADDR */
	bool guest_tsc_deadline, guest_x2apic, guest_tsc_adjust, guest_rdtscp;
	bool guest_ibpb, guest_spec_ctrl;

	unsigned long apic_on, apic_x2;	/* masks of vCPUs; atomic bit operations */
	atomic_t apic_turn;		/* lowest priority: who was last */
	bool intr_line;			/* 8259 INTR; READ_ONCE/WRITE_ONCE */

	spinlock_t irqfd_lock;
	struct list_head irqfds;	/* [irqfd_lock] */
	u32 nirqfds;

	struct hv_doorbells __rcu *doorbells;	/* srcu */

	/* clock [clock_lock] */
	spinlock_t clock_lock;
	s64 tsc_base;			/* guest TSC = host TSC + tsc_base + vCPU offset */
	s64 kvmclock_offset;		/* kvmclock ns = host boottime ns + this, when sampled */
	bool clock_linear;		/* kvmclock is a line over the host TSC (see hv_clock.c) */
	u64 clock_tsc, clock_ns;	/* a point of that line */
	u32 clock_mul;			/* and its slope, pvclock's way */
	s8 clock_shift;
	s64 clock_slept;		/* host's suspended time that is in it, ns */
	bool clock_uniform;		/* all vCPUs have the same TSC offset */
	struct hrtimer clock_timer;	/* refreshes sampled pages */
	struct list_head clock_link;	/* hv_clock.c: all VMs */

	atomic64_t stat[HV_STAT_COUNT];	/* VM-wide ones only */
};

/* ---- the backend ---- */
struct hv_ops {
	const char *name, *kvm;		/* "SVM", and KVM's module for it */
	u32 vendor;
	bool keeps_pdptes;		/* PAE: v->pdpte is the CPU's, not what memory holds */
	size_t vcpu_size;		/* struct that begins with struct hv_vcpu */
	bool can_borrow, must_borrow;	/* what KVM has switched on */
	/* Where guests borrow: begins and ends the section, after interrupts off and before on. */
	void (*window)(struct hv_vcpu *v, bool open);

#define HV_OP(result, op, args) result (*op) args;
#include "hv_ops.h"

	u64 pte_present, pte_large, pte_write, pte_accessed, pte_dirty, pte_addr_mask;
	int max_leaf;			/* 2: 2M, 3: 1G */
	bool reports_dirty;		/* small leaves that become dirty come to hv_slots_log() */
	bool direct_apic;		/* in x2APIC mode the CPU can deliver from hv_lapic_page() */
};

extern const struct hv_ops *hv_ops;
extern struct hv_ops hv_svm_ops, hv_vmx_ops;	/* completed by setup(), then read-only */

/* hv_main.c */
extern struct hv_info hv_host;		/* filled at insmod */
extern atomic_t hv_count_vms, hv_count_vcpus, hv_count_tables, hv_count_allocs;
extern u64 hv_spec_ctrl_mask;		/* what of a guest's SPEC_CTRL the CPU takes */
extern const u16 hv_verw_sel;		/* operand of VERW: a data segment */
extern bool hv_debug_flush;		/* module parameter: check contract 13 */
/* Module parameter mitigations: off, by the kernel's own judgement, all that there are. */
enum { HV_MITIGATE_OFF, HV_MITIGATE_AUTO, HV_MITIGATE_FULL };
extern int hv_mitigate;
extern bool hv_nx_large;		/* large leaves are not executable */
/* Of those that the module decides itself: is one for @bug to be done here? */
static inline bool hv_mitigation(bool bug)
{
	return hv_mitigate == HV_MITIGATE_FULL ||
	       (hv_mitigate && bug && !cpu_mitigations_off());
}
void *hv_alloc(size_t size);		/* zeroed, charged to the caller's cgroup, counted */
void hv_free(void *p);			/* NULL is fine */
void *hv_alloc_page(int cpu, unsigned int order);	/* for the module itself: counted, not charged */
void hv_free_page(void *p, unsigned int order);

/* hv_hw.c */
int hv_hw_init(void);
void hv_hw_exit(void);
DECLARE_STATIC_KEY_FALSE(hv_borrowing);	/* the VMs that there are borrow */
int hv_hw_get(bool borrow);	/* first VM: switch on everywhere; -EBUSY */
void hv_hw_put(void);
u32 hv_hw_mode(u32 *why);		/* HV_MODE_* of the next VM, HV_WHY_* */
u32 hv_hw_status(void);			/* HV_STATUS_* now */
bool hv_hw_lost(void);			/* switched off for reboot: nothing can run again */

/* hv_vm.c */
long hv_vm_create(const struct hv_create_vm *args);	/* fd or -errno */
void hv_vm_put(struct hv_vm *vm);
void hv_vm_kick_all(struct hv_vm *vm, int req);
static inline struct hv_vcpu *hv_vm_vcpu(struct hv_vm *vm, u32 id)
{
	return id < HV_MAX_VCPUS ? smp_load_acquire(&vm->vcpu[id]) : NULL;
}
#define hv_for_each_vcpu(i, v, vm) \
	for ((i) = 0; (i) < HV_MAX_VCPUS; (i)++) \
		if (((v) = hv_vm_vcpu((vm), (i))) == NULL) continue; else

/* hv_vcpu.c */
int hv_vcpu_create(struct hv_vm *vm, u32 id);		/* fd; vm->lock held */
void hv_vcpu_destroy(struct hv_vcpu *v);
void hv_vcpu_kick(struct hv_vcpu *v);			/* any context: wake, or make it leave the guest */
static inline void hv_request(struct hv_vcpu *v, int req)
{
	set_bit(req, &v->requests);	/* pairs with the barrier after mode = HV_IN_SECTION */
	smp_mb__after_atomic();
}
static inline bool hv_take_request(struct hv_vcpu *v, int req)
{
	return test_bit(req, &v->requests) && test_and_clear_bit(req, &v->requests);
}
/* Wait until no vCPU of @vm can be using translations older than now. */
void hv_vm_flush_wait(struct hv_vm *vm);
void hv_vm_leave_wait(struct hv_vm *vm, u64 gen);	/* the same for @gen; ~0: has left the guest */
bool hv_vcpu_runnable(struct hv_vcpu *v);		/* would not block now */
static inline void hv_vcpu_unhalt(struct hv_vcpu *v)
{
	v->mp.state = HV_MP_RUNNABLE;
	WRITE_ONCE(v->pv_unhalt, false);
}

/* hv_state.c */
void hv_state_get(struct hv_vcpu *v, u64 groups);	/* into the run area */
int hv_state_set(struct hv_vcpu *v, u64 groups);	/* from it; validates everything first */
void hv_vcpu_reset(struct hv_vcpu *v, bool init);	/* power-on, or INIT */
void hv_segs_reset(struct hv_vcpu *v);
void hv_vcpu_sipi(struct hv_vcpu *v, u8 vector);
/* What a guest's RFLAGS may hold; bit 1 is always set. */
#define HV_RFLAGS_ALLOWED	0x3f7fd5ULL
int hv_set_cr0(struct hv_vcpu *v, u64 cr0);		/* section: 0 or -EINVAL (#GP) */
int hv_set_cr4(struct hv_vcpu *v, u64 cr4);
int hv_set_efer(struct hv_vcpu *v, u64 efer);
int hv_set_xcr0(struct hv_vcpu *v, u64 xcr0);
/* What of SPEC_CTRL a guest may set. */
#define HV_SPEC_CTRL	((u64)(SPEC_CTRL_IBRS | SPEC_CTRL_STIBP | SPEC_CTRL_SSBD))
static inline bool hv_zero(const void *p, size_t n)
{
	return !memchr_inv(p, 0, n);
}
static inline u64 hv_sign_extend(u64 a, int bits)
{
	return (u64)((s64)(a << (64 - bits)) >> (64 - bits));
}
/* What the host's CPU takes; the nearest for an address that it would not. */
static inline u64 hv_host_canonical(u64 a)
{
	return hv_sign_extend(a, boot_cpu_data.x86_virt_bits);
}
bool hv_canonical(const struct hv_vcpu *v, u64 a);	/* for this guest's address width */
void hv_pdptes_load(struct hv_vcpu *v);			/* HV_REQ_PDPTE, slow */
static inline bool hv_pae_paging(const struct hv_vcpu *v)
{
	return (v->cr0 & X86_CR0_PG) && (v->cr4 & X86_CR4_PAE) && !(v->efer & EFER_LMA);
}

/*
 * One event as both vendors write it: APM 15.20 (EVENTINJ, EXITINTINFO), SDM vol. 3 24.8.3, 24.9.3
 * (entry's interruption information, IDT-vectoring information).
 */
#define HV_EV_VECTOR		0xffu
#define HV_EV_TYPE		(7u << 8)
#define HV_EV_INTR		(0u << 8)
#define HV_EV_NMI		(2u << 8)
#define HV_EV_EXCEPTION		(3u << 8)
#define HV_EV_SOFT		(4u << 8)
#define HV_EV_ERROR		BIT(11)
#define HV_EV_VALID		BIT(31)

/* hv_event.c, section */
bool hv_event_done(struct hv_vcpu *v, u32 ours, u32 info, u32 error);
int hv_events_enter(struct hv_vcpu *v);		/* HV_ENTER: inject done; HV_USER: EXTINT, WINDOW */
void hv_queue_exception(struct hv_vcpu *v, u8 vector);	/* error code, if any, 0 */
void hv_queue_pf(struct hv_vcpu *v, u64 address, u32 error);
void hv_queue_db(struct hv_vcpu *v, u64 dr6);
void hv_retire(struct hv_vcpu *v, u64 next_rip);	/* RIP, shadow, RF, TF */

/* hv_exit.c: bodies of exits, called by backends */
int hv_exit_cpuid(struct hv_vcpu *v);			/* section */
int hv_exit_rdmsr(struct hv_vcpu *v);			/* section: HV_ENTER or HV_SLOW */
int hv_exit_wrmsr(struct hv_vcpu *v);
int hv_exit_msr_slow(struct hv_vcpu *v, bool write);
int hv_exit_hlt(struct hv_vcpu *v);			/* section */
int hv_exit_hypercall(struct hv_vcpu *v);		/* section */
int hv_exit_xsetbv(struct hv_vcpu *v);			/* section */
/* section: @next_rip is the RIP after the instruction (both vendors know it) */
int hv_exit_io(struct hv_vcpu *v, u16 port, u8 size, bool in, bool string, bool rep, u64 next_rip);
/* slow: second-stage fault; @access HV_ACCESS_*; bytes may be in v->insn; @delivering: under the
 * delivery of an event, so not an instruction's */
int hv_exit_npf(struct hv_vcpu *v, u64 gpa, u32 access, bool delivering);
int hv_exit_npf_fast(struct hv_vcpu *v, u64 gpa, u32 access);	/* section: doorbell, xAPIC page; else HV_SLOW */
int hv_exit_insn(struct hv_vcpu *v);			/* slow: HV_EXIT_INSN with bytes */
int hv_exit_skip(struct hv_vcpu *v);		/* section: an instruction without effect */
int hv_exit_off(struct hv_vcpu *v);		/* section: SVM or VMX is off on this CPU */
int hv_exit_ud(struct hv_vcpu *v);			/* section */
int hv_exit_gp(struct hv_vcpu *v);			/* section */
int hv_exit_pause(struct hv_vcpu *v, u64 next_rip);	/* slow: a guest that spins */
#define HV_CR0_LMSW	(-1)
int hv_exit_write_cr(struct hv_vcpu *v, int cr, u64 val, u64 next_rip);	/* section: 0, 4, 8 */
int hv_exit_mov_dr(struct hv_vcpu *v, int dr, bool write, int gpr, u64 next_rip);	/* section */
void hv_write_gpr(struct hv_vcpu *v, int n, u64 val, int size);	/* as MOV of 2, 4, 8 bytes */
void hv_machine_check(void);				/* section: one struck in the guest */
int hv_exit_shutdown(struct hv_vcpu *v);
int hv_exit_fail(struct hv_vcpu *v, u32 reason, u64 code, u64 i0, u64 i1, u64 i2);
/* section or slow: length of the instruction at RIP; 0: bytes not readable now,
 * in the section the caller then says HV_SLOW; outside it #PF or #GP is queued */
int hv_insn_length(struct hv_vcpu *v, bool atomic);
int hv_code_mode(struct hv_vcpu *v);		/* section: 16, 32, 64 */
static inline bool hv_in_64bit(struct hv_vcpu *v)
{
	return (v->efer & EFER_LMA) && hv_code_mode(v) == 64;
}

/* hv_debug.c, section: around an entry, if either side has breakpoints armed */
struct hv_host_debug {
	u64 dr[4], dr7;
	bool saved;			/* dr[] */
};
#define DR7_GD	BIT_ULL(13)
void hv_debug_load_armed(struct hv_vcpu *v, struct hv_host_debug *h);
void hv_debug_restore_armed(const struct hv_host_debug *h);
void hv_debug_set(struct hv_vcpu *v);		/* v->debug.dr6 and dr7 have changed */
static inline void hv_debug_load(struct hv_vcpu *v, struct hv_host_debug *h)
{
	h->saved = false;
	h->dr7 = this_cpu_read(cpu_dr7);
	if (unlikely((v->debug.dr7 | h->dr7) & 0xff))
		hv_debug_load_armed(v, h);
}
static inline void hv_debug_restore(const struct hv_host_debug *h)
{
	if (unlikely(h->dr7 & 0xff))
		hv_debug_restore_armed(h);
}

/* hv_cpuid.c */
void hv_cpuid_supported(struct hv_cpuid_table *t);
int hv_cpuid_set(struct hv_vm *vm, const struct hv_cpuid_entry *e, u32 count);
void hv_cpuid(struct hv_vcpu *v, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx);	/* section */
u32 hv_cpuid_signature(struct hv_vm *vm);	/* leaf 1 EAX: RDX after reset */
const struct hv_cpuid_entry *hv_cpuid_find(const struct hv_cpuid_table *t, u32 leaf, u32 subleaf);

/* hv_msr.c: 0, 1 (#GP), HV_MSR_SLOW (needs to sleep), HV_MSR_USER (not ours) */
#define HV_MSR_GP	1
#define HV_MSR_SLOW	2
#define HV_MSR_USER	3
bool hv_msr_types_valid(u64 data, u32 types);	/* every byte is one of this mask of memory types */
#define HV_MTRR_TYPES	0x73u
#define HV_PAT_TYPES	0xf3u
int hv_msr_read(struct hv_vcpu *v, u32 msr, u64 *data, bool atomic);
int hv_msr_write(struct hv_vcpu *v, u32 msr, u64 data, bool atomic);

/* hv_fpu.c */
int hv_fpu_setup(void);				/* xsave size, xcr0 mask into hv_host */
void hv_fpu_reset(struct hv_vcpu *v, bool init);
void hv_fpu_enter(struct hv_vcpu *v);		/* section: guest XSAVE, XCR0, PKRU in */
void hv_fpu_leave(struct hv_vcpu *v);		/* section: out, host's back */
void hv_fpu_sync_xcr0(struct hv_vcpu *v);	/* section: the guest's XCR0 into v->xcr0 */
void hv_fpu_set_xcr0(struct hv_vcpu *v);	/* section: v->xcr0 changed while loaded */
void hv_fpu_get(struct hv_vcpu *v, void *dst);	/* XSAVE group */
int hv_fpu_set(struct hv_vcpu *v, const void *src);	/* validates header and MXCSR */

/* hv_slots.c */
int hv_slots_init(struct hv_vm *vm);
void hv_slots_destroy(struct hv_vm *vm);
int hv_slots_set(struct hv_vm *vm, const struct hv_slot *list, u32 count);	/* vm->lock held */
int hv_slots_get_dirty(struct hv_vm *vm, const struct hv_get_dirty *args);	/* vm->lock held */
const struct hv_memslot *hv_slot_find(const struct hv_slots *s, u64 gfn);
static inline const struct hv_slots *hv_slots(struct hv_vm *vm)
{
	return srcu_dereference(vm->slots, &vm->srcu);
}
void hv_slot_mark_dirty(const struct hv_memslot *slot, u64 gfn);
void hv_slots_log(struct hv_vm *vm, u64 gfn);	/* section: the guest wrote there */
/* Guest-physical memory from the vCPU's process, vm->srcu held; @atomic: section.  0 or -EFAULT.
 * The only way the module reads or writes guest memory; writes mark the log. */
int hv_guest_read(struct hv_vm *vm, u64 gpa, void *buf, size_t len, bool atomic);
int hv_guest_read_entry(struct hv_vm *vm, u64 gpa, u64 *e, size_t size, bool atomic);
int hv_guest_write(struct hv_vm *vm, u64 gpa, const void *buf, size_t len);	/* may sleep */

/* hv_mmu.c */
int hv_mmu_init(struct hv_vm *vm);		/* registers the notifier on current->mm */
void hv_mmu_destroy(struct hv_vm *vm);
int hv_mmu_fault(struct hv_vcpu *v, u64 gpa, u32 access);	/* HV_FAULT_* or -errno */
int hv_mmu_prefault(struct hv_vm *vm, struct hv_prefault *p);
void hv_mmu_zap_range(struct hv_vm *vm, u64 gfn, u64 npages);	/* without flush */
/* Pages of @slot from @first whose bit in @mask (NULL: all) is set; without flush. */
void hv_mmu_watch_writes(struct hv_vm *vm, const struct hv_memslot *slot,
			 u64 first, const unsigned long *mask, u64 npages);
void hv_mmu_flush(struct hv_vm *vm);	/* wait for all vCPUs, release table pages */
static inline u64 hv_mmu_root_pa(struct hv_vm *vm)
{
	return __pa(vm->mmu.root);
}
bool hv_mmu_check_flushed(struct hv_vm *vm, u64 gen);	/* contract 13, debug: violated */

/* hv_walk.c */
/* Fill v->insn from CS:RIP: 0; -EAGAIN: atomic only, ask again when sleeping is
 * allowed; -EFAULT: a #PF or #GP is queued; -ENXIO: code outside memory, nothing queued. */
int hv_fetch(struct hv_vcpu *v, bool atomic);

/* hv_lapic.c, hv_timer.c */
int hv_lapic_create(struct hv_vcpu *v);
void hv_lapic_destroy(struct hv_vcpu *v);
void hv_lapic_reset(struct hv_vcpu *v, bool init);
bool hv_lapic_idle(struct hv_vcpu *v);		/* section: IRR is surely empty; as cheap as can be */
int hv_lapic_pending(struct hv_vcpu *v);	/* section: vector above PPR to be injected, or -1 */
bool hv_lapic_wakes(struct hv_vcpu *v);		/* is there a vector above PPR */
int hv_lapic_ack(struct hv_vcpu *v);		/* section: IRR -> ISR, the vector */
bool hv_lapic_extint_ok(struct hv_vcpu *v);	/* LVT0 (or APIC off) takes the 8259 line */
u64 hv_lapic_get_cr8(struct hv_vcpu *v);
void hv_lapic_set_cr8(struct hv_vcpu *v, u64 cr8);	/* section */
int hv_lapic_max_irr(struct hv_vcpu *v);	/* section: for the CR8 intercept; -1 none */
bool hv_lapic_direct(struct hv_vcpu *v);	/* the CPU itself delivers from the APIC's page */
/* Then: what has been posted goes into the IRR; its highest vector, with that of the ISR << 8.
 * hv_lapic_idle() means that nothing is to be taken. */
u32 hv_lapic_take(struct hv_vcpu *v);		/* section */
void *hv_lapic_page(struct hv_vcpu *v);		/* in the hardware's layout */
extern const u64 hv_lapic_plain;		/* bit n: 0x10 * n is read by loading it, in x2APIC mode */
int hv_lapic_eoi_done(struct hv_vcpu *v, u8 vector);	/* it has left the ISR: HV_ENTER or HV_USER */
u64 hv_lapic_gpa(struct hv_vcpu *v);		/* page of the xAPIC, or ~0 when x2APIC or off */
/* Registers.  HV_ENTER; HV_LOOP: something to look at; HV_USER: EOI exit is set up.
 * Illegal offsets set ESR or read zero (xAPIC), -EINVAL is #GP (x2APIC). */
int hv_lapic_read(struct hv_vcpu *v, u32 offset, u32 *val);	/* section */
int hv_lapic_write(struct hv_vcpu *v, u32 offset, u32 val);	/* section */
int hv_lapic_msr_read(struct hv_vcpu *v, u32 msr, u64 *data);	/* 0x800..0x8ff; section */
int hv_lapic_msr_write(struct hv_vcpu *v, u32 msr, u64 data);
int hv_lapic_set_base(struct hv_vcpu *v, u64 base, bool host);	/* IA32_APIC_BASE; 0 or -EINVAL */
u64 hv_timer_get_deadline(struct hv_vcpu *v);
void hv_timer_set_deadline(struct hv_vcpu *v, u64 tsc);		/* section */
void hv_timer_expired(struct hv_vcpu *v);		/* HV_REQ_TIMER */
void hv_timer_tsc_changed(struct hv_vcpu *v);		/* offset moved under a deadline */
void hv_lapic_initsipi(struct hv_vcpu *v);		/* HV_REQ_INITSIPI, slow */
void hv_lapic_initsipi_sync(struct hv_vcpu *v);		/* move latched INIT/SIPI into v->mp, for saving */
void hv_lapic_get(struct hv_vcpu *v, void *page, struct hv_apic_timer *t);	/* either NULL */
void hv_lapic_set(struct hv_vcpu *v, const void *page, const struct hv_apic_timer *t);

/* hv_irq.c */
int hv_irq_deliver(struct hv_vm *vm, struct hv_vcpu *from, const struct hv_irq_msg *m);	/* any context */
int hv_irq_msi(struct hv_vm *vm, u64 address, u32 data);	/* any context: targets reached */
void hv_irq_set_line(struct hv_vm *vm, bool level);
int hv_irqfd(struct hv_vm *vm, struct hv_irqfd *args);		/* vm->lock held */
void hv_irqfd_release(struct hv_vm *vm);

/* hv_doorbell.c */
int hv_doorbell_set(struct hv_vm *vm, const struct hv_doorbell *args);	/* vm->lock held */
void hv_doorbell_release(struct hv_vm *vm);
bool hv_doorbell_ring(struct hv_vm *vm, bool port, u64 address, u8 len, u64 data);	/* section */
bool hv_doorbell_near(struct hv_vm *vm, u64 gpa);	/* section: is any memory doorbell on this page */

/* hv_clock.c */
void hv_clock_init(struct hv_vm *vm);
void hv_clock_destroy(struct hv_vm *vm);
int hv_clock_module_init(void);			/* timekeeping notifier */
void hv_clock_module_exit(void);
u64 hv_clock_guest_tsc(struct hv_vcpu *v);		/* section */
void hv_clock_write_tsc(struct hv_vcpu *v, u64 tsc);	/* IA32_TSC written */
void hv_clock_write_adjust(struct hv_vcpu *v, u64 adjust);
void hv_clock_apply(struct hv_vcpu *v);			/* offset -> ops->set_tsc_offset, timer */
int hv_clock_msr_write(struct hv_vcpu *v, u32 msr, u64 data);	/* KVM's MSRs; slow; 0 or 1 (#GP) */
void hv_clock_restored(struct hv_vcpu *v);		/* v->clock was set: request page updates */
void hv_clock_update(struct hv_vcpu *v);		/* HV_REQ_CLOCK, slow */
void hv_clock_steal(struct hv_vcpu *v);			/* HV_REQ_STEAL, slow */
void hv_clock_steal_look(struct hv_vcpu *v);		/* section: request it if there is news */
void hv_clock_loaded(struct hv_vcpu *v, int cpu);	/* vCPU came to a CPU: request what is stale */
void hv_clock_get(struct hv_vm *vm, struct hv_vm_clock *c);
int hv_clock_set(struct hv_vm *vm, const struct hv_vm_clock *c);

#endif /* HV_H */
