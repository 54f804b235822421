// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_event.c - what is delivered at the next entry, and in which order; and
 * the end of an instruction that was completed outside the guest.
 *
 * SDM vol. 3 section 6.9 (priority), table 6-5 (double fault); APM vol. 2
 * section 8.5, 15.20.  An event whose delivery had begun comes first, because
 * the guest has already been told of it; then exceptions, NMI, the 8259,
 * the local APIC.
 */
#include <linux/kernel.h>
#include <asm/processor-flags.h>
#include "hv.h"
#include "hv_trace.h"

/* SDM vol. 3 17.2.3 and 17.2.4 */
#define DR6_FIXED	0xffff0ff0ULL	/* read as one */
#define DR6_BS		BIT_ULL(14)
#define DR7_GD		BIT_ULL(13)

#define VEC_DE	0
#define VEC_DB	1
#define VEC_BP	3
#define VEC_OF	4
#define VEC_DF	8
#define VEC_TS	10
#define VEC_NP	11
#define VEC_SS	12
#define VEC_GP	13
#define VEC_PF	14

static bool contributory(u8 v)
{
	return v == VEC_DE || (v >= VEC_TS && v <= VEC_GP);
}

static void queue(struct hv_vcpu *v, u8 vector, bool has_error, u32 error,
		  bool has_payload, u64 payload)
{
	struct hv_events *ev = &v->ev;

	if (ev->exc_flags & (HV_EXC_PENDING | HV_EXC_INJECTED)) {
		u8 prev = ev->exc_vector;

		/* A data breakpoint and the single step of one instruction are one trap. */
		if (prev == VEC_DB && vector == VEC_DB && (ev->exc_flags & HV_EXC_PENDING)) {
			if (has_payload)
				ev->exc_payload |= payload;
			return;
		}
		if (prev == VEC_DF) {
			ev->triple_fault = 1;
			ev->exc_flags = 0;
			return;
		}
		if ((contributory(prev) && contributory(vector)) ||
		    (prev == VEC_PF && (contributory(vector) || vector == VEC_PF))) {
			vector = VEC_DF;
			has_error = true;
			error = 0;
			has_payload = false;
		}
		/* Otherwise the first is dropped: it was benign, or the
		 * instruction runs again and raises it again. */
	}
	ev->exc_flags = HV_EXC_PENDING | (has_error ? HV_EXC_ERROR_CODE : 0) |
			(has_payload ? HV_EXC_PAYLOAD : 0);
	ev->exc_vector = vector;
	ev->exc_error_code = has_error ? error : 0;
	ev->exc_payload = has_payload ? payload : 0;
}

void hv_queue_exception(struct hv_vcpu *v, u8 vector)
{
	queue(v, vector, false, 0, false, 0);
}

void hv_queue_exception_error(struct hv_vcpu *v, u8 vector, u32 error)
{
	queue(v, vector, true, error, false, 0);
}

void hv_queue_pf(struct hv_vcpu *v, u64 address, u32 error)
{
	queue(v, VEC_PF, true, error, true, address);
}

void hv_queue_db(struct hv_vcpu *v, u64 dr6)
{
	queue(v, VEC_DB, false, 0, true, dr6);
}

/* CR2 and DR6 change when the exception is taken, not when it is found. */
static void exception_deliver(struct hv_vcpu *v)
{
	struct hv_events *ev = &v->ev;

	if (ev->exc_flags & HV_EXC_PAYLOAD) {
		if (ev->exc_vector == VEC_PF) {
			v->cr2 = ev->exc_payload;
		} else if (ev->exc_vector == VEC_DB) {
			hv_ops->get_debug(v);
			v->dr6 = (v->dr6 & ~0xfULL) | ev->exc_payload | DR6_FIXED;
			v->dr7 &= ~DR7_GD;
			hv_ops->set_debug(v);
		}
	}
	/* Fault-class exceptions push RF so that the retried instruction does
	 * not hit its own instruction breakpoint; injection does not do it. */
	if (ev->exc_vector != VEC_DB && ev->exc_vector != VEC_BP && ev->exc_vector != VEC_OF &&
	    ev->exc_vector != VEC_DF)
		v->regs.rflags |= X86_EFLAGS_RF;
	ev->exc_flags = (ev->exc_flags & ~(HV_EXC_PENDING | HV_EXC_PAYLOAD)) | HV_EXC_INJECTED;
	v->stat[HV_STAT_EXC_INJECTED]++;
}

static void nmi_collect(struct hv_vcpu *v)
{
	int n = atomic_xchg(&v->nmi_queued, 0);

	/* The CPU latches one while NMIs are masked, and one more if none is. */
	v->ev.nmi_pending = min_t(int, v->ev.nmi_pending + n, hv_ops->get_nmi_masked(v) ? 1 : 2);
}

static int user_exit(struct hv_vcpu *v, u32 reason)
{
	v->run->exit_reason = reason;
	return HV_USER;
}

static int events_slow(struct hv_vcpu *v)
{
	struct hv_events *ev = &v->ev;
	bool busy = true, extint, irq_ok, irq_window = false, nmi_window = false;
	int vector;

	if (ev->triple_fault)
		return hv_exit_shutdown(v);
	if (atomic_read(&v->nmi_queued))
		nmi_collect(v);

	if (ev->exc_flags & HV_EXC_INJECTED) {
		hv_ops->inject_exception(v);
	} else if (ev->nmi_injected) {
		hv_ops->inject_nmi(v);
	} else if (ev->int_flags & HV_INT_INJECTED) {
		hv_ops->inject_irq(v);
	} else if (ev->exc_flags & HV_EXC_PENDING) {
		exception_deliver(v);
		hv_ops->inject_exception(v);
		trace_hv_inject(v, ev->exc_vector, 0);
	} else {
		busy = false;
	}

	if (ev->nmi_pending) {
		if (!busy && hv_ops->nmi_allowed(v)) {
			ev->nmi_pending--;
			ev->nmi_injected = 1;
			hv_ops->set_nmi_masked(v, true);
			hv_ops->inject_nmi(v);
			v->stat[HV_STAT_NMI_INJECTED]++;
			trace_hv_inject(v, 2, 1);
			busy = true;
		}
		if (ev->nmi_pending)
			nmi_window = true;
	}

	irq_ok = !busy && hv_ops->irq_allowed(v);
	extint = READ_ONCE(v->vm->intr_line) && hv_lapic_extint_ok(v);
	if (extint && irq_ok)
		return user_exit(v, HV_EXIT_EXTINT);
	vector = hv_lapic_pending(v);
	if (vector >= 0 && irq_ok) {
		ev->int_vector = hv_lapic_ack(v);
		ev->int_flags = HV_INT_INJECTED;
		hv_ops->inject_irq(v);
		v->stat[HV_STAT_IRQ_INJECTED]++;
		trace_hv_inject(v, ev->int_vector, 2);
		irq_ok = false;
		busy = true;
		vector = hv_lapic_pending(v);
	}
	irq_window = vector >= 0 || extint;

	if (v->want_windows) {
		u32 open = 0;

		if (irq_ok)
			open |= HV_WINDOW_INTR;
		if (!busy && hv_ops->nmi_allowed(v))
			open |= HV_WINDOW_NMI;
		if (open & v->want_windows) {
			v->windows = open;
			return user_exit(v, HV_EXIT_WINDOW);
		}
		irq_window |= !!(v->want_windows & HV_WINDOW_INTR);
		nmi_window |= !!(v->want_windows & HV_WINDOW_NMI);
	}
	hv_ops->set_irq_window(v, irq_window);
	hv_ops->set_nmi_window(v, nmi_window);
	hv_ops->update_tpr(v);
	v->windows_armed = irq_window || nmi_window;
	return HV_ENTER;
}

int hv_events_enter(struct hv_vcpu *v)
{
	struct hv_events *ev = &v->ev;

	/* Nearly every entry: nothing to deliver and no window to close. */
	if (likely(!(ev->exc_flags | ev->nmi_injected | ev->int_flags | ev->nmi_pending |
		     ev->triple_fault | v->windows_armed | v->want_windows |
		     READ_ONCE(v->vm->intr_line) | atomic_read(&v->nmi_queued)) &&
		   hv_lapic_idle(v)))
		return HV_ENTER;
	return events_slow(v);
}

/*
 * The instruction at RIP was completed by the module or by userspace.
 * SDM vol. 3 17.3.1.4 (TF), 6.8.3 (shadow), 17.3.1.1 (RF).
 */
void hv_retire(struct hv_vcpu *v, u64 next_rip)
{
	if (unlikely((next_rip ^ v->regs.rip) >> 32) && !hv_in_64bit(v))
		next_rip = (u32)next_rip;
	v->regs.rip = next_rip;
	hv_ops->set_shadow(v, 0);
	if (unlikely(v->regs.rflags & (X86_EFLAGS_TF | X86_EFLAGS_RF))) {
		v->regs.rflags &= ~(u64)X86_EFLAGS_RF;
		if (v->regs.rflags & X86_EFLAGS_TF)
			hv_queue_db(v, DR6_BS);
	}
}
