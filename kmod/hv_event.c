// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_event.c - what is delivered at the next entry, and in which order; and the end of an
 * instruction that was completed outside the guest.
 *
 * SDM vol. 3 section 6.9 (priority), table 6-5 (double fault); APM vol. 2 section 8.5, 15.20.  An
 * event whose delivery had begun comes first, because the guest has already been told of it; then
 * exceptions, NMI, the 8259, the local APIC.
 */
#include "hv.h"
#include "hv_trace.h"

/* Those that push an error code; Intel's CPU insists. */
#define ERROR_CODES	(BIT(X86_TRAP_DF) | BIT(X86_TRAP_TS) | BIT(X86_TRAP_NP) |	\
			 BIT(X86_TRAP_SS) | BIT(X86_TRAP_GP) | BIT(X86_TRAP_PF) | BIT(X86_TRAP_AC))
/* Traps, and an abort: RIP is not that of an instruction to be tried again. */
#define NO_RETRY	(BIT(X86_TRAP_DB) | BIT(X86_TRAP_BP) | BIT(X86_TRAP_OF) | BIT(X86_TRAP_DF))

static bool contributory(u8 v)
{
	return v == X86_TRAP_DE || (v >= X86_TRAP_TS && v <= X86_TRAP_GP);
}

static void queue(struct hv_vcpu *v, u8 vector, u32 error, bool has_payload, u64 payload)
{
	struct hv_events *ev = &v->ev;

	if (ev->exc_flags & (HV_EXC_PENDING | HV_EXC_INJECTED)) {
		u8 prev = ev->exc_vector;

		/* A data breakpoint and the single step of one instruction are one trap. */
		if (prev == vector && vector == X86_TRAP_DB && (ev->exc_flags & HV_EXC_PENDING)) {
			if (has_payload)
				ev->exc_payload |= payload;
			return;
		}
		if (prev == X86_TRAP_DF) {
			ev->triple_fault = 1;
			ev->exc_flags = 0;
			return;
		}
		if ((contributory(prev) && contributory(vector)) ||
		    (prev == X86_TRAP_PF && (contributory(vector) || vector == X86_TRAP_PF))) {
			vector = X86_TRAP_DF;
			error = 0;
			has_payload = false;
		}
		/* Otherwise the first is dropped: it was benign, or the
		 * instruction runs again and raises it again. */
	}
	ev->exc_flags = HV_EXC_PENDING | (BIT(vector) & ERROR_CODES ? HV_EXC_ERROR_CODE : 0) |
			(has_payload ? HV_EXC_PAYLOAD : 0);
	ev->exc_vector = vector;
	ev->exc_error_code = error;
	ev->exc_payload = has_payload ? payload : 0;
}

void hv_queue_exception(struct hv_vcpu *v, u8 vector)
{
	queue(v, vector, 0, false, 0);
}

void hv_queue_pf(struct hv_vcpu *v, u64 address, u32 error)
{
	queue(v, X86_TRAP_PF, error, true, address);
}

void hv_queue_db(struct hv_vcpu *v, u64 dr6)
{
	queue(v, X86_TRAP_DB, 0, true, dr6);
}

/* CR2 and DR6 change when the exception is taken, not when it is found. */
static void exception_deliver(struct hv_vcpu *v)
{
	struct hv_events *ev = &v->ev;

	if (ev->exc_flags & HV_EXC_PAYLOAD) {
		if (ev->exc_vector == X86_TRAP_PF) {
			v->cr2 = ev->exc_payload;
		} else if (ev->exc_vector == X86_TRAP_DB) {
			hv_ops->get_debug(v);
			v->debug.dr6 = (v->debug.dr6 & ~0xfULL) | ev->exc_payload | DR6_RESERVED;
			v->debug.dr7 &= ~DR7_GD;
			hv_debug_set(v);
		}
	}
	/* Fault-class exceptions push RF so that the retried instruction does
	 * not hit its own instruction breakpoint; injection does not do it. */
	if (!(BIT(ev->exc_vector) & NO_RETRY))
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

/* What is marked as injected in v->ev; of several states only one is. */
static void inject(struct hv_vcpu *v)
{
	const struct hv_events *ev = &v->ev;
	u32 info = HV_EV_VALID;

	if (ev->exc_flags & HV_EXC_INJECTED) {
		info |= HV_EV_EXCEPTION | ev->exc_vector;
		/* Real mode has no error codes, whoever raised the exception. */
		if ((BIT(ev->exc_vector) & ERROR_CODES) && (v->cr0 & X86_CR0_PE))
			info |= HV_EV_ERROR;
	} else if (ev->nmi_injected) {
		info |= HV_EV_NMI | X86_TRAP_NMI;
	} else {
		info |= (ev->int_flags & HV_INT_SOFT ? HV_EV_SOFT : HV_EV_INTR) | ev->int_vector;
	}
	hv_ops->inject(v, info);
}

/*
 * After an exit: @ours, what was injected, is delivered, unless @info holds an event whose delivery
 * caused the exit.  That event is given back; software interrupts and exceptions of the guest's own
 * are not, because RIP still stands at their instruction, which simply runs again.
 * Returns whether a software interrupt of ours came back.
 */
bool hv_event_done(struct hv_vcpu *v, u32 ours, u32 info, u32 error)
{
	u8 vector = info & HV_EV_VECTOR;
	struct hv_events *ev = &v->ev;

	if (ours) {
		if (ev->exc_flags & HV_EXC_INJECTED)
			ev->exc_flags = 0;
		ev->nmi_injected = 0;
		ev->int_flags = 0;
	}
	if (!(info & HV_EV_VALID))
		return false;
	switch (info & HV_EV_TYPE) {
	case HV_EV_INTR:
		ev->int_flags = HV_INT_INJECTED;
		ev->int_vector = vector;
		break;
	case HV_EV_NMI:
		ev->nmi_injected = 1;
		break;
	case HV_EV_EXCEPTION:
		if ((vector == X86_TRAP_BP || vector == X86_TRAP_OF) &&
		    (ours & HV_EV_TYPE) != HV_EV_EXCEPTION)
			break;
		ev->exc_flags = HV_EXC_INJECTED | (info & HV_EV_ERROR ? HV_EXC_ERROR_CODE : 0);
		ev->exc_vector = vector;
		ev->exc_error_code = info & HV_EV_ERROR ? error : 0;
		break;
	case HV_EV_SOFT:
		if ((ours & HV_EV_TYPE) != HV_EV_SOFT)
			break;
		/* int_length is still what it was. */
		ev->int_flags = HV_INT_INJECTED | HV_INT_SOFT;
		ev->int_vector = vector;
		return true;
	}
	return false;
}

static bool irq_allowed(struct hv_vcpu *v)
{
	return (v->regs.rflags & X86_EFLAGS_IF) && !hv_ops->get_shadow(v);
}

static bool nmi_allowed(struct hv_vcpu *v)
{
	return !hv_ops->get_nmi_masked(v) && !hv_ops->get_shadow(v);
}

static int user_exit(struct hv_vcpu *v, u32 reason)
{
	v->run->exit_reason = reason;
	return HV_USER;
}

static int events_slow(struct hv_vcpu *v)
{
	struct hv_events *ev = &v->ev;
	bool busy, extint, irq_ok, irq_window = false, nmi_window = false;
	int vector;

	if (ev->triple_fault)
		return hv_exit_shutdown(v);
	if (atomic_read(&v->nmi_queued))
		nmi_collect(v);

	busy = (ev->exc_flags & HV_EXC_INJECTED) || ev->nmi_injected || ev->int_flags;
	if (!busy && (ev->exc_flags & HV_EXC_PENDING)) {
		exception_deliver(v);
		trace_hv_inject(v, ev->exc_vector, 0);
		busy = true;
	}
	if (busy)
		inject(v);

	if (ev->nmi_pending) {
		if (!busy && nmi_allowed(v)) {
			ev->nmi_pending--;
			ev->nmi_injected = 1;
			hv_ops->set_nmi_masked(v, true);
			inject(v);
			v->stat[HV_STAT_NMI_INJECTED]++;
			trace_hv_inject(v, 2, 1);
			busy = true;
		}
		if (ev->nmi_pending)
			nmi_window = true;
	}

	irq_ok = !busy && irq_allowed(v);
	extint = READ_ONCE(v->vm->intr_line) && hv_lapic_extint_ok(v);
	if (extint && irq_ok)
		return user_exit(v, HV_EXIT_EXTINT);
	vector = hv_lapic_pending(v);
	if (vector >= 0 && irq_ok) {
		ev->int_vector = hv_lapic_ack(v);
		ev->int_flags = HV_INT_INJECTED;
		inject(v);
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
		if (!busy && nmi_allowed(v))
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
			hv_queue_db(v, DR_STEP);
	}
}
