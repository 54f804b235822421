/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hv_compat.h - everything that differs between host kernels, in one place.
 *
 * No other file of the module tests LINUX_VERSION_CODE.  Presence is judged by
 * what the headers of Debian's 5.10, 6.1, 6.12 and 7.3 declare.
 */
#ifndef HV_COMPAT_H
#define HV_COMPAT_H

#include <linux/version.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>

/* Names of bits that 5.10 lacks or calls otherwise, and one that is gone in 6.15. */
#ifndef MSR_AMD64_SYSCFG
#define MSR_AMD64_SYSCFG	MSR_K8_SYSCFG
#endif
#ifndef X86_FEATURE_V_SPEC_CTRL
#define X86_FEATURE_V_SPEC_CTRL	(15 * 32 + 20)	/* CPUID 8000000A EDX, a word it has */
#endif
#ifndef X86_FEATURE_BUS_LOCK_DETECT
#define X86_FEATURE_BUS_LOCK_DETECT	(16 * 32 + 24)	/* CPUID 7 ECX, the same */
#define DEBUGCTLMSR_BUS_LOCK_DETECT	BIT_ULL(2)
#endif
#ifndef X86_FEATURE_USE_IBPB
#define X86_FEATURE_USE_IBPB	X86_FEATURE_IBPB
#endif

#ifdef __ASSEMBLER__
#include <linux/linkage.h>
#ifndef ENDBR	/* 5.18 */
#define ENDBR
#endif
#else
#include <linux/irq_work.h>
#include <linux/smp.h>
#include <linux/swap.h>
#include <linux/wait.h>
#include <linux/sched/signal.h>
#include <asm/mmu_context.h>
#include <asm/nospec-branch.h>
#include <asm/smp.h>
#include <asm/tlbflush.h>
#if __has_include(<asm/cpuid/api.h>)	/* 6.16; not in processor.h from 7.0 */
#include <asm/cpuid/api.h>
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
#define rdmsrl		rdmsrq
#define rdmsrl_safe	rdmsrq_safe
#define wrmsrl		wrmsrq
#endif

/*
 * Between two guests on one CPU.  From 6.15 the kernel's own is a call to a function for KVM alone,
 * as is the switch that spectre_v2_user= sets, so there it is done wherever the CPU has it.
 */
static inline void hv_ibpb(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	if (boot_cpu_has(X86_FEATURE_IBPB))
		wrmsrl(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
#else
	indirect_branch_prediction_barrier();
#endif
}

/* VMSCAPE: the way to user space is to issue an IBPB. */
static inline void hv_guest_ran(void)
{
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
}

/* Make @cpu take an interrupt soon; smp_send_reschedule() grew a tracepoint
 * that is not exported, the op itself always was. */
static inline void hv_send_reschedule(int cpu)
{
	(smp_ops.smp_send_reschedule)(cpu);	/* parentheses: also a macro since 6.4 */
}

static inline void hv_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

static inline void hv_hrtimer_setup(struct hrtimer *t, enum hrtimer_restart (*fn)(struct hrtimer *),
				    clockid_t clock, enum hrtimer_mode mode)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	hrtimer_setup(t, fn, clock, mode);
#else
	hrtimer_init(t, clock, mode);
	t->function = fn;
#endif
}

/*
 * For pages that userspace maps.  Before 5.11 the mark of a charged page lies where a mapped one
 * has its count, and vm_insert_page() refuses it; these few of each vCPU are not charged there.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 11, 0)
#define HV_GFP_MAPPED	GFP_KERNEL_ACCOUNT
#else
#define HV_GFP_MAPPED	GFP_KERNEL
#endif

static inline void hv_vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

/*
 * Waiting in a host page fault should end with a signal.  get_user_pages() learned
 * that in 6.2; before, hv_fault_in() goes ahead of it and brings the page in the
 * way a fault from user mode would.  Errors are left to the get_user_pages() that
 * follows.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define HV_FOLL_INTERRUPTIBLE	FOLL_INTERRUPTIBLE
static inline void hv_fault_in(unsigned long hva, bool write)
{
}
#else
#define HV_FOLL_INTERRUPTIBLE	0
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 0, 0)
#define VM_FAULT_COMPLETED	0
#endif
static inline void hv_fault_in(unsigned long hva, bool write)
{
	unsigned int flags = FAULT_FLAG_DEFAULT | (write ? FAULT_FLAG_WRITE : 0);
	struct vm_area_struct *vma;
	vm_fault_t ret;

	do {
		if (mmap_read_lock_killable(current->mm))
			return;
		vma = find_vma(current->mm, hva);
		ret = 0;
		if (vma && hva >= vma->vm_start && !(vma->vm_flags & (VM_IO | VM_PFNMAP)) &&
		    (vma->vm_flags & (write ? VM_WRITE : VM_READ)) &&
		    arch_vma_access_permitted(vma, write, false, false))
			ret = handle_mm_fault(vma, hva, flags, NULL);
		/* With either of these the lock is gone. */
		if (!(ret & (VM_FAULT_RETRY | VM_FAULT_COMPLETED)))
			mmap_read_unlock(current->mm);
		flags |= FAULT_FLAG_TRIED;
	} while ((ret & VM_FAULT_RETRY) && !signal_pending(current));
}
#endif

#ifndef IRQ_WORK_INIT_HARD		/* before 5.11; also before threaded irq_work */
#define IRQ_WORK_INIT_HARD(fn)	{ .flags = ATOMIC_INIT(IRQ_WORK_HARD_IRQ), .func = (fn) }
#endif

/*
 * Be asked first whether a wakeup is for us.  Before 5.11 who comes later stands in front and
 * wakes up too, to find the count gone: irqfd_wake() takes it under the queue's lock.
 */
static inline void hv_add_wait_queue_priority(wait_queue_head_t *wqh, wait_queue_entry_t *wait)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 11, 0)
	add_wait_queue_priority(wqh, wait);
#else
	unsigned long flags;

	spin_lock_irqsave(&wqh->lock, flags);
	wait->flags |= WQ_FLAG_EXCLUSIVE;
	__add_wait_queue(wqh, wait);
	spin_unlock_irqrestore(&wqh->lock, flags);
#endif
}

static inline bool hv_task_interruptible(struct task_struct *t)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
	return READ_ONCE(t->__state) & TASK_INTERRUPTIBLE;
#else
	return READ_ONCE(t->state) & TASK_INTERRUPTIBLE;
#endif
}

/* What the ageing callbacks return: int, from 7.1 bool. */
typedef typeof(((struct mmu_notifier_ops *)0)->test_young(NULL, NULL, 0)) hv_young_t;

/*
 * CR4.VMXE, in the kernel's own copy of CR4 too: it writes that back; and Processor Trace, which
 * some CPUs want stopped.  From 6.19 only KVM may do this, which leaves borrowing (contract 8).
 * On the CPU, interrupts off.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 19, 0)
#include <linux/perf_event.h>
#define HV_MUST_BORROW	false
static inline void hv_vmx_prepare(bool on)
{
	if (on)
		cr4_set_bits_irqsoff(X86_CR4_VMXE);
	intel_pt_handle_vmx(on);
	if (!on)
		cr4_clear_bits_irqsoff(X86_CR4_VMXE);
}
#else
#define HV_MUST_BORROW	true
#define HV_SOFTDEP	"pre: kvm_intel"	/* nothing to borrow without it */
static inline void hv_vmx_prepare(bool on)
{
}
#endif

/* Neither sleeps; the first only sets the flag, as for memory without a file. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
#define hv_page_set_dirty(page)		folio_set_dirty(page_folio(page))
#define hv_page_mark_accessed(page)	folio_mark_accessed(page_folio(page))
#else
#define hv_page_set_dirty(page)		SetPageDirty(page)
#define hv_page_mark_accessed(page)	mark_page_accessed(page)
#endif

/*
 * Suspend and resume on the last CPU.  The callbacks grew an argument, in stable
 * releases too, so that no version number tells: Kbuild looks at the header.
 */
#include <linux/syscore_ops.h>
#ifdef HV_HAVE_REGISTER_SYSCORE
#define HV_DEFINE_SYSCORE(name, suspend_fn, resume_fn)					\
static int name##_suspend(void *unused) { return suspend_fn(); }			\
static void name##_resume(void *unused) { resume_fn(); }				\
static const struct syscore_ops name##_ops = {						\
	.suspend = name##_suspend, .resume = name##_resume,				\
};											\
static struct syscore name = { .ops = &name##_ops }
#define hv_register_syscore	register_syscore
#define hv_unregister_syscore	unregister_syscore
#else
#define HV_DEFINE_SYSCORE(name, suspend_fn, resume_fn)					\
static struct syscore_ops name = { .suspend = suspend_fn, .resume = resume_fn }
#define hv_register_syscore	register_syscore_ops
#define hv_unregister_syscore	unregister_syscore_ops
#endif

#endif /* __ASSEMBLER__ */
#endif /* HV_COMPAT_H */
