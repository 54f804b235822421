// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_timer.c - the local APIC's timer.
 *
 * SDM vol. 3 section 10.5.4 (one-shot, periodic), 10.5.4.1 (TSC deadline). The bus clock is 1 GHz:
 * a count is a nanosecond times the divisor.
 *
 * The state is the moment of the next expiry; the hrtimer only makes somebody look.  Its callback,
 * in hard interrupt context, sets a request and kicks, and never restarts itself: the vCPU does,
 * after it has taken the tick.  So a vCPU that does not run costs the host nothing, late ticks
 * become one (the IRR could not hold more), and no guest can make the host spend its time here.
 * While the LVT is masked there is nothing to tell and no hrtimer at all.
 */
#include "hv_lapic.h"

static int timer_mode(const struct hv_lapic *l)
{
	return LVT_TIMER_MODE(lapic_reg(l, APIC_LVTT));
}

/* log2 of the divisor: bits 0, 1 and 3, where 7 means 1. */
static int divide_shift(u32 tdcr)
{
	return (((tdcr & 3) | (tdcr >> 1 & 4)) + 1) & 7;
}

static u64 full_period(const struct hv_lapic *l)
{
	u64 ns = (u64)lapic_reg(l, APIC_TMICT) << divide_shift(lapic_reg(l, APIC_TDCR));

	if (timer_mode(l) == TIMER_PERIODIC && ns && ns < HV_MIN_TIMER_NS)
		ns = HV_MIN_TIMER_NS;
	return ns;
}

static enum hrtimer_restart timer_callback(struct hrtimer *t)
{
	struct hv_lapic *l = container_of(t, struct hv_lapic, timer);

	hv_request(l->v, HV_REQ_TIMER);
	hv_vcpu_kick(l->v);
	return HRTIMER_NORESTART;
}

/* Nanoseconds until the guest's TSC is @tsc, rounded up; bounded by ten years. */
static u64 tsc_to_ns(u64 ticks)
{
	const u64 most = 10ULL * 365 * 86400 * 1000;	/* ms */

	if (ticks / tsc_khz >= most)
		return most * NSEC_PER_MSEC;
	return mul_u64_u64_div_u64(ticks, NSEC_PER_MSEC, tsc_khz) + 1;
}

/*
 * Stop the hrtimer and turn an expiry that is past into an interrupt.  Every
 * change begins with it, so that the old settings serve the old expiry.
 */
static void timer_settle(struct hv_lapic *l)
{
	bool due = false;
	u64 now;

	hrtimer_cancel(&l->timer);
	if (l->deadline) {
		if (hv_clock_guest_tsc(l->v) >= l->deadline) {
			l->deadline = 0;
			due = true;
		}
	} else if (l->target) {
		now = ktime_get_ns();
		if (now >= l->target) {
			due = true;
			if (timer_mode(l) == TIMER_PERIODIC)
				l->target += l->period * (div64_u64(now - l->target, l->period) + 1);
			else
				l->target = 0;
		}
	}
	if (due) {
		l->v->stat[HV_STAT_TIMER]++;
		lapic_local_deliver(l, APIC_LVTT, l->v);
	}
}

static void timer_arm(struct hv_lapic *l)
{
	u64 ns, tsc;

	if (!l->deadline && !l->target)
		return;
	if (lapic_reg(l, APIC_LVTT) & APIC_LVT_MASKED)
		return;
	if (l->deadline) {
		/* The host's clock is slewed against the TSC: on a long wait the
		 * hrtimer may be early, and is then armed for what is left. */
		tsc = hv_clock_guest_tsc(l->v);
		if (tsc >= l->deadline) {
			timer_settle(l);
			return;
		}
		ns = ktime_get_ns() + tsc_to_ns(l->deadline - tsc);
	} else {
		ns = l->target;
	}
	hrtimer_start(&l->timer, ns_to_ktime(ns), HRTIMER_MODE_ABS_HARD);
}

void hv_timer_expired(struct hv_vcpu *v)
{
	timer_settle(v->lapic);
	timer_arm(v->lapic);
	hv_clock_steal_look(v);
}

void hv_timer_tsc_changed(struct hv_vcpu *v)
{
	if (v->lapic && v->lapic->deadline)
		hv_timer_expired(v);
}

/* ---- the guest's registers ---- */

u64 hv_timer_get_deadline(struct hv_vcpu *v)
{
	struct hv_lapic *l = v->lapic;

	if (l->deadline && hv_clock_guest_tsc(v) >= l->deadline) {
		timer_settle(l);	/* zero by the time it is read */
		timer_arm(l);
	}
	return l->deadline;
}

void hv_timer_set_deadline(struct hv_vcpu *v, u64 tsc)
{
	struct hv_lapic *l = v->lapic;

	if (!l->enabled || timer_mode(l) != TIMER_DEADLINE)
		return;
	timer_settle(l);
	l->deadline = tsc;
	timer_arm(l);
}

void lapic_timer_write_lvt(struct hv_lapic *l, u32 lvt)
{
	bool was = timer_mode(l) == TIMER_DEADLINE, is = LVT_TIMER_MODE(lvt) == TIMER_DEADLINE;

	timer_settle(l);
	lapic_set_reg(l, APIC_LVTT, lvt);
	if (was != is) {
		/* Other changes of mode let the counter run on. */
		l->deadline = 0;
		l->target = 0;
		lapic_set_reg(l, APIC_TMICT, 0);
	}
	l->period = full_period(l);
	timer_arm(l);
}

void lapic_timer_write_count(struct hv_lapic *l, u32 count)
{
	if (timer_mode(l) == TIMER_DEADLINE)
		return;
	timer_settle(l);
	lapic_set_reg(l, APIC_TMICT, count);
	l->period = full_period(l);
	l->target = count ? ktime_get_ns() + l->period : 0;
	timer_arm(l);
}

void lapic_timer_write_divide(struct hv_lapic *l, u32 tdcr)
{
	u64 now, old = l->period;

	timer_settle(l);
	lapic_set_reg(l, APIC_TDCR, tdcr);
	l->period = full_period(l);
	if (l->target && old) {
		/* The count that is left stays and runs at the new speed. */
		now = ktime_get_ns();
		if (l->target > now)
			l->target = now + mul_u64_u64_div_u64(l->target - now, l->period, old);
	}
	timer_arm(l);
}

static u64 remaining_ns(struct hv_lapic *l, u64 now)
{
	if (!l->target)
		return 0;
	if (l->target > now)
		return l->target - now;
	if (timer_mode(l) != TIMER_PERIODIC)
		return 0;
	return l->period - (now - l->target) % l->period;
}

u32 lapic_timer_count(struct hv_lapic *l)
{
	u64 n;

	if (timer_mode(l) == TIMER_DEADLINE)
		return 0;
	n = remaining_ns(l, ktime_get_ns()) >> divide_shift(lapic_reg(l, APIC_TDCR));
	return min_t(u64, n, lapic_reg(l, APIC_TMICT));
}

/* ---- set-up and state ---- */

void lapic_timer_init(struct hv_lapic *l)
{
	hv_hrtimer_setup(&l->timer, timer_callback, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_HARD);
}

void lapic_timer_stop(struct hv_lapic *l)
{
	hrtimer_cancel(&l->timer);
	l->deadline = 0;
	l->target = 0;
	l->period = 0;
}

void lapic_timer_get(struct hv_lapic *l, struct hv_apic_timer *t)
{
	u64 now = ktime_get_ns();

	memset(t, 0, sizeof(*t));
	t->remaining_ns = remaining_ns(l, now);
	if (l->deadline && hv_clock_guest_tsc(l->v) >= l->deadline)
		t->pending = 1;
	else
		t->tsc_deadline = l->deadline;
	if (l->target && l->target <= now)
		t->pending = 1;
	if (lapic_reg(l, APIC_LVTT) & APIC_LVT_MASKED)
		t->pending = 0;
}

void lapic_timer_set(struct hv_lapic *l, const struct hv_apic_timer *t)
{
	lapic_timer_stop(l);
	l->period = full_period(l);
	if (timer_mode(l) == TIMER_DEADLINE)
		l->deadline = t->tsc_deadline;
	else if (t->remaining_ns && l->period)
		l->target = ktime_get_ns() + min(t->remaining_ns, l->period);
	if (t->pending)
		lapic_local_deliver(l, APIC_LVTT, l->v);
	timer_arm(l);
}

/* The registers have been replaced: run on from @current_count. */
void lapic_timer_restore(struct hv_lapic *l, u32 current_count)
{
	struct hv_apic_timer t = {
		.remaining_ns = (u64)current_count << divide_shift(lapic_reg(l, APIC_TDCR)),
	};

	lapic_timer_set(l, &t);
}
