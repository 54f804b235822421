/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hv_compat.h - everything that differs between host kernels, in one place.
 *
 * No other file of the module tests LINUX_VERSION_CODE.  Presence is judged by
 * what Debian's 5.10, 6.1 and 6.12 headers declare.
 */
#ifndef HV_COMPAT_H
#define HV_COMPAT_H

#include <linux/version.h>
#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/smp.h>
#include <linux/swap.h>
#include <linux/sched/signal.h>
#include <asm/mmu_context.h>
#include <asm/smp.h>
#include <asm/tlbflush.h>

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

static inline void hv_hrtimer_setup_on_stack(struct hrtimer *t,
					     enum hrtimer_restart (*fn)(struct hrtimer *))
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup_on_stack(t, fn, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init_on_stack(t, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	t->function = fn;
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
 * CR4.VMXE, in the kernel's own copy of CR4 too: it writes that back.  From 6.19 only
 * KVM may do this, which leaves borrow mode.  On the CPU, interrupts off.
 */
static inline bool hv_cr4_vmxe(bool on)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 19, 0)
	if (on)
		cr4_set_bits_irqsoff(X86_CR4_VMXE);
	else
		cr4_clear_bits_irqsoff(X86_CR4_VMXE);
	return true;
#else
	return false;
#endif
}

/* Neither sleeps; the first only sets the flag, as for memory without a file. */
static inline void hv_page_set_dirty(struct page *page)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
	folio_set_dirty(page_folio(page));
#else
	SetPageDirty(page);
#endif
}

static inline void hv_page_mark_accessed(struct page *page)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
	folio_mark_accessed(page_folio(page));
#else
	mark_page_accessed(page);
#endif
}

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

#endif /* HV_COMPAT_H */
