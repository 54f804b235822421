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
#include <linux/smp.h>
#include <asm/smp.h>

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

#endif /* HV_COMPAT_H */
