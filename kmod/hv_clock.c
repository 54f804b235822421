// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_clock.c - guest TSC, kvmclock, steal time.
 *
 * SDM vol. 3 section 17.17 (TSC, TSC_ADJUST); Linux's
 * Documentation/virt/kvm/x86/{msr,timekeeping}.rst and cpuid.rst for the
 * paravirtual MSRs.
 *
 * TSC: guest TSC = host TSC + VM's base + vCPU's offset, at the host's rate.  Offsets start as 0:
 * vCPUs' TSCs agree exactly.  A write by the guest is taken literally (TSC_ADJUST moves by the same
 * amount): guessing that two were meant to be equal is needed only where TSCs start out different.
 *
 * kvmclock is one of two things.
 *   Linear, while the host itself keeps time by the TSC: one line over the host TSC for the whole
 *   VM.  Every vCPU's page describes it, so no order of updates and no migration can show a step
 *   back.  Like CLOCK_MONOTONIC_RAW it does not follow the host's NTP.  The stable bit says that
 *   any vCPU's page serves all, which is so while their TSC offsets are equal.
 *   Sampled, when the host has found its TSC wanting: each page is a sample of host boot time,
 *   renewed when the vCPU comes to another CPU and every quarter second; if the TSC ran ahead of
 *   it, the page's slope is lowered for a while.  A VM that became sampled stays so.
 * Time that the host was suspended is added to both: a step forward.
 */
#include <linux/clocksource.h>
#include <linux/pvclock_gtod.h>
#include <linux/timekeeper_internal.h>
#include <asm/pvclock-abi.h>
#include <uapi/linux/kvm_para.h>
#include "hv.h"

#define SAMPLE_NS	(NSEC_PER_SEC / 4)
#define STEAL_RESERVED	0x3eULL

static bool host_uses_tsc;
static u64 host_tsc_last;		/* at the last tick; written by timekeeping alone */
static u64 host_tsc_lost;		/* how far the TSC went back in suspends not yet handled */

static DEFINE_RAW_SPINLOCK(vms_lock);
static LIST_HEAD(vms);			/* [vms_lock] */

/* ---- arithmetic ---- */

static u64 scale(u64 ticks, u32 mul, s8 shift)
{
	ticks = shift < 0 ? ticks >> -shift : ticks << shift;
	return mul_u64_u32_shr(ticks, mul, 32);
}

/* ns = (ticks << shift) * mul >> 32, with as many bits in mul as fit. */
static void set_rate(struct hv_vm *vm)
{
	u64 hz = (u64)tsc_khz * 1000, num = NSEC_PER_SEC;
	s8 shift = 0;

	while (hz > 2 * num) {		/* each tick less than half a nanosecond */
		num *= 2;
		shift--;
	}
	while (hz <= num) {
		hz *= 2;
		shift++;
	}
	vm->clock_mul = mul_u64_u64_div_u64(num, 1ULL << 32, hz);
	vm->clock_shift = shift;
}

/*
 * Host TSC and boot time of one instant.  Where the host is a guest itself, or
 * reads a slow timer, anything may happen between the two: the tightest of a few.
 */
static u64 sample(u64 *boot_ns)
{
	u64 before, after, ns, best = U64_MAX, tsc = 0;
	int i;

	for (i = 0; i < 5 && best > tsc_khz / 50; i++) {	/* 20 us will do */
		before = rdtsc_ordered();
		ns = ktime_get_boottime_ns();
		after = rdtsc_ordered();
		if (after - before < best) {
			best = after - before;
			tsc = before + best / 2;
			*boot_ns = ns;
		}
	}
	return tsc;
}

static s64 host_slept(void)
{
	return ktime_get_boottime_ns() - ktime_get_ns();
}

/* [clock_lock] */
static u64 line_at(const struct hv_vm *vm, u64 host_tsc)
{
	return vm->clock_ns + scale(host_tsc - vm->clock_tsc, vm->clock_mul, vm->clock_shift);
}

static u64 kvmclock_at(const struct hv_vm *vm, u64 host_tsc, u64 boot_ns)
{
	return vm->clock_linear ? line_at(vm, host_tsc) : boot_ns + vm->kvmclock_offset;
}

/* ---- TSC ---- */

u64 hv_clock_guest_tsc(struct hv_vcpu *v)
{
	return rdtsc() + v->tsc_offset_hw;
}

static void uniform_look(struct hv_vcpu *v)
{
	struct hv_vm *vm = v->vm;
	bool uniform = true, changed;
	struct hv_vcpu *o;
	unsigned long flags;
	int i;

	/* Under the lock, so that of two vCPUs the later one sees both offsets. */
	spin_lock_irqsave(&vm->clock_lock, flags);
	hv_for_each_vcpu(i, o, vm)
		if (READ_ONCE(o->clock.tsc_offset) != v->clock.tsc_offset)
			uniform = false;
	changed = vm->clock_uniform != uniform;
	WRITE_ONCE(vm->clock_uniform, uniform);
	spin_unlock_irqrestore(&vm->clock_lock, flags);
	if (changed)
		hv_vm_kick_all(vm, HV_REQ_CLOCK);
}

void hv_clock_apply(struct hv_vcpu *v)
{
	v->tsc_offset_hw = READ_ONCE(v->vm->tsc_base) + v->clock.tsc_offset;
	hv_ops->set_tsc_offset(v, v->tsc_offset_hw);
	v->clock_cpu = 0;
	uniform_look(v);
	hv_request(v, HV_REQ_CLOCK);
	hv_timer_tsc_changed(v);
}

static void move_tsc(struct hv_vcpu *v, u64 delta)
{
	WRITE_ONCE(v->clock.tsc_offset, v->clock.tsc_offset + delta);
	v->clock.tsc_adjust += delta;
	hv_clock_apply(v);
}

void hv_clock_write_tsc(struct hv_vcpu *v, u64 tsc)
{
	move_tsc(v, tsc - hv_clock_guest_tsc(v));
}

void hv_clock_write_adjust(struct hv_vcpu *v, u64 adjust)
{
	move_tsc(v, adjust - v->clock.tsc_adjust);
}

/* ---- kvmclock ---- */

/*
 * [clock_lock], interrupts off.  What this vCPU last said for now, by its own
 * page, is the least that it may say next.
 */
static void sample_page(struct hv_vcpu *v, struct pvclock_vcpu_time_info *p)
{
	struct hv_vm *vm = v->vm;
	u64 ns, said, tsc = sample(&ns) + v->tsc_offset_hw, ahead;
	int cpu = smp_processor_id() + 1;
	u32 mul = vm->clock_mul;

	ns += vm->kvmclock_offset;
	if (v->clock_cpu) {
		said = v->clock_cpu != cpu ? v->clock_ns :
		       v->clock_ns + scale(tsc - v->clock_tsc, v->clock_mul, vm->clock_shift);
		ahead = said - ns;
		if ((s64)ahead > 0 && ahead < NSEC_PER_SEC) {
			ns = said;
			mul -= mul_u64_u64_div_u64(mul, min_t(u64, ahead, NSEC_PER_SEC / 2),
						   NSEC_PER_SEC);
		}
	}
	v->clock_cpu = cpu;
	v->clock_tsc = tsc;
	v->clock_ns = ns;
	v->clock_mul = mul;
	p->tsc_timestamp = tsc;
	p->system_time = ns;
	p->tsc_to_system_mul = mul;
	if (!hrtimer_is_queued(&vm->clock_timer))
		hrtimer_start(&vm->clock_timer, ns_to_ktime(SAMPLE_NS), HRTIMER_MODE_REL_HARD);
}

/*
 * Write @page, whose version is at @version in it and so far what the guest has.  It is odd while
 * the rest changes: other vCPUs may be reading.
 */
static void write_page(struct hv_vm *vm, u64 gpa, void *page, size_t len, u32 *version)
{
	u64 version_gpa = gpa + ((void *)version - page);

	*version = (*version + 1) | 1;
	if (hv_guest_write(vm, version_gpa, version, sizeof(*version)))
		return;
	smp_wmb();	/* both pair with the guest's reads: version, page, version */
	hv_guest_write(vm, gpa, page, len);
	smp_wmb();
	++*version;
	hv_guest_write(vm, version_gpa, version, sizeof(*version));
}

void hv_clock_update(struct hv_vcpu *v)
{
	u64 gpa = v->clock.kvm_system_time & ~(u64)KVM_MSR_ENABLED;
	struct pvclock_vcpu_time_info p = {}, old;
	struct hv_vm *vm = v->vm;
	unsigned long flags;

	if (!(v->clock.kvm_system_time & KVM_MSR_ENABLED))
		return;
	if (hv_guest_read(vm, gpa, &old, sizeof(old), false))
		return;

	spin_lock_irqsave(&vm->clock_lock, flags);
	p.tsc_shift = vm->clock_shift;
	if (vm->clock_linear) {
		p.tsc_timestamp = vm->clock_tsc + v->tsc_offset_hw;
		p.system_time = vm->clock_ns;
		p.tsc_to_system_mul = vm->clock_mul;
		if (READ_ONCE(vm->clock_uniform))
			p.flags = PVCLOCK_TSC_STABLE_BIT;
	} else {
		sample_page(v, &p);
	}
	spin_unlock_irqrestore(&vm->clock_lock, flags);
	/* The guest takes this bit away when it has seen it. */
	p.flags |= old.flags & PVCLOCK_GUEST_STOPPED;
	if (xchg(&v->clock_stopped, false))
		p.flags |= PVCLOCK_GUEST_STOPPED;

	p.version = old.version;
	write_page(vm, gpa, &p, sizeof(p), &p.version);
}

static void write_wall_clock(struct hv_vcpu *v, u64 gpa)
{
	struct pvclock_wall_clock w = {};
	struct hv_vm *vm = v->vm;
	u64 wall, boot, tsc;
	unsigned long flags;

	if (hv_guest_read(vm, gpa, &w.version, sizeof(w.version), false))
		return;
	spin_lock_irqsave(&vm->clock_lock, flags);
	tsc = sample(&boot);
	wall = ktime_get_real_ns() - kvmclock_at(vm, tsc, boot);
	spin_unlock_irqrestore(&vm->clock_lock, flags);

	w.sec = div_u64_rem(wall, NSEC_PER_SEC, &w.nsec);
	write_page(vm, gpa, &w, sizeof(w), &w.version);
}

static enum hrtimer_restart resample(struct hrtimer *t)
{
	struct hv_vm *vm = container_of(t, struct hv_vm, clock_timer);
	bool running = false;
	struct hv_vcpu *v;
	int i;

	hv_for_each_vcpu(i, v, vm) {
		hv_request(v, HV_REQ_CLOCK);
		/* One that sleeps looks when it wakes; no need to wake it. */
		if (READ_ONCE(v->mode) == HV_IN_SECTION) {
			hv_vcpu_kick(v);
			running = true;
		}
	}
	if (!running)
		return HRTIMER_NORESTART;	/* the next update starts it */
	hrtimer_forward_now(t, ns_to_ktime(SAMPLE_NS));
	return HRTIMER_RESTART;
}

/* ---- steal time ---- */

static u64 run_delay(void)
{
	return current->sched_info.run_delay;
}

void hv_clock_steal_look(struct hv_vcpu *v)
{
	if ((v->clock.kvm_steal_time & KVM_MSR_ENABLED) &&
	    (v->run_delay_task != current || run_delay() != v->run_delay_last))
		hv_request(v, HV_REQ_STEAL);
}

void hv_clock_steal(struct hv_vcpu *v)
{
	u64 gpa = v->clock.kvm_steal_time & ~(STEAL_RESERVED | KVM_MSR_ENABLED), now = run_delay();
	struct kvm_steal_time st;
	struct hv_vm *vm = v->vm;

	if (!(v->clock.kvm_steal_time & KVM_MSR_ENABLED))
		return;
	/* Another thread brings another history. */
	if (v->run_delay_task == current && now > v->run_delay_last)
		v->clock.steal_ns += now - v->run_delay_last;
	v->run_delay_task = current;
	v->run_delay_last = now;

	if (hv_guest_read(vm, gpa, &st, sizeof(st), false))
		return;
	st.steal = v->clock.steal_ns;
	/* Only these two words are ours. */
	BUILD_BUG_ON(offsetof(struct kvm_steal_time, version) != sizeof(st.steal));
	write_page(vm, gpa, &st, sizeof(st.steal) + sizeof(st.version), &st.version);
}

/* ---- MSRs, restored state, load ---- */

int hv_clock_msr_write(struct hv_vcpu *v, u32 msr, u64 data)
{
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		v->clock.kvm_wall_clock = data;
		write_wall_clock(v, data);
		return 0;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		v->clock.kvm_system_time = data;
		v->clock_cpu = 0;
		hv_request(v, HV_REQ_CLOCK);
		return 0;
	case MSR_KVM_STEAL_TIME:
		if (data & STEAL_RESERVED)
			return 1;
		v->clock.kvm_steal_time = data;
		v->run_delay_task = NULL;
		hv_request(v, HV_REQ_STEAL);
		return 0;
	}
	return 1;
}

void hv_clock_restored(struct hv_vcpu *v)
{
	v->clock_cpu = 0;
	v->run_delay_task = NULL;
	/* Keeps the guest's lockup detectors quiet about the pause. */
	WRITE_ONCE(v->clock_stopped, true);
	hv_request(v, HV_REQ_CLOCK);
	hv_request(v, HV_REQ_STEAL);
}

void hv_clock_loaded(struct hv_vcpu *v, int cpu)
{
	if (!READ_ONCE(v->vm->clock_linear) && v->clock_cpu != cpu + 1)
		hv_request(v, HV_REQ_CLOCK);
	hv_clock_steal_look(v);
}

/* ---- the VM's clock, for userspace ---- */

void hv_clock_get(struct hv_vm *vm, struct hv_vm_clock *c)
{
	unsigned long flags;
	u64 boot, tsc;

	memset(c, 0, sizeof(*c));
	c->size = sizeof(*c);
	spin_lock_irqsave(&vm->clock_lock, flags);
	tsc = sample(&boot);
	c->realtime_ns = ktime_get_real_ns();
	c->host_tsc = tsc;
	c->guest_tsc = tsc + vm->tsc_base;
	c->kvmclock_ns = kvmclock_at(vm, tsc, boot);
	if (vm->clock_linear && READ_ONCE(vm->clock_uniform))
		c->flags = HV_CLOCK_STABLE;
	c->tsc_khz = tsc_khz;
	spin_unlock_irqrestore(&vm->clock_lock, flags);
}

/* A new point for the line and the samples.  [clock_lock] */
static void set_point(struct hv_vm *vm, u64 host_tsc, u64 boot_ns, u64 ns)
{
	vm->clock_tsc = host_tsc;
	vm->clock_ns = ns;
	vm->kvmclock_offset = ns - boot_ns;
	vm->clock_slept = host_slept();
}

static void stopped(struct hv_vm *vm)
{
	struct hv_vcpu *v;
	int i;

	hv_for_each_vcpu(i, v, vm)
		WRITE_ONCE(v->clock_stopped, true);
}

int hv_clock_set(struct hv_vm *vm, const struct hv_vm_clock *c)
{
	unsigned long flags;
	u64 boot, tsc;

	if ((c->flags & HV_CLOCK_SET_NS) && c->kvmclock_ns > S64_MAX)
		return -EINVAL;
	spin_lock_irqsave(&vm->clock_lock, flags);
	tsc = sample(&boot);
	/* Also for the TSC alone: pages should not carry a time stamp that is
	 * ahead of the guest's TSC. */
	set_point(vm, tsc, boot, c->flags & HV_CLOCK_SET_NS ? c->kvmclock_ns :
				 kvmclock_at(vm, tsc, boot) + 1);
	if (c->flags & HV_CLOCK_SET_TSC)
		WRITE_ONCE(vm->tsc_base, c->guest_tsc - tsc);
	if (c->flags & HV_CLOCK_SET_NS)
		stopped(vm);
	spin_unlock_irqrestore(&vm->clock_lock, flags);
	if (c->flags & HV_CLOCK_SET_TSC)
		hv_vm_kick_all(vm, HV_REQ_TSC);
	hv_vm_kick_all(vm, HV_REQ_CLOCK);
	return 0;
}

/* ---- the host's time changes ---- */

/* Hard interrupt context. */
static void vm_host_changed(struct hv_vm *vm, u64 lost)
{
	bool changed = lost;
	unsigned long flags;
	u64 boot, tsc, now;
	s64 lag;

	spin_lock_irqsave(&vm->clock_lock, flags);
	/* The TSC began anew in a suspend: for guests it goes on. */
	if (lost) {
		WRITE_ONCE(vm->tsc_base, vm->tsc_base + lost);
		vm->clock_tsc -= lost;
	}
	tsc = sample(&boot);
	now = kvmclock_at(vm, tsc, boot);
	if (vm->clock_linear && abs(host_slept() - vm->clock_slept) > NSEC_PER_MSEC) {
		lag = boot + vm->kvmclock_offset - now;
		set_point(vm, tsc, boot, lag > 0 ? now + lag : now);
		stopped(vm);
		changed = true;
	}
	if (vm->clock_linear && !READ_ONCE(host_uses_tsc)) {
		set_point(vm, tsc, boot, line_at(vm, tsc));
		vm->clock_linear = false;
		changed = true;
	}
	spin_unlock_irqrestore(&vm->clock_lock, flags);
	if (lost)
		hv_vm_kick_all(vm, HV_REQ_TSC);
	if (changed)
		hv_vm_kick_all(vm, HV_REQ_CLOCK);
}

static void host_changed(struct irq_work *work)
{
	u64 lost = xchg(&host_tsc_lost, 0);
	struct hv_vm *vm;
	unsigned long flags;

	raw_spin_lock_irqsave(&vms_lock, flags);
	list_for_each_entry(vm, &vms, clock_link)
		vm_host_changed(vm, lost);
	raw_spin_unlock_irqrestore(&vms_lock, flags);
}

static struct irq_work host_changed_work = IRQ_WORK_INIT_HARD(host_changed);

/*
 * Every tick, with timekeeping's own lock held: no clock may be read here, and
 * waking anybody would.  @set: the clock was set, or the host resumed.
 */
static int timekeeping_changed(struct notifier_block *nb, unsigned long set, void *priv)
{
	const struct timekeeper *tk = priv;
	bool tsc = tk->tkr_mono.clock->vdso_clock_mode == VDSO_CLOCKMODE_TSC;
	u64 now = rdtsc();

	/* Unsynchronized CPUs differ by less; and only a resume starts it anew. */
	if (set && now + (u64)tsc_khz * 1000 < host_tsc_last)
		host_tsc_lost += host_tsc_last - now;
	host_tsc_last = now;
	if (set || tsc != host_uses_tsc) {
		WRITE_ONCE(host_uses_tsc, tsc);
		irq_work_queue(&host_changed_work);
	}
	return 0;
}

static struct notifier_block timekeeping_notifier = {
	.notifier_call = timekeeping_changed,
};

int hv_clock_module_init(void)
{
	return pvclock_gtod_register_notifier(&timekeeping_notifier);
}

void hv_clock_module_exit(void)
{
	pvclock_gtod_unregister_notifier(&timekeeping_notifier);
	irq_work_sync(&host_changed_work);
}

void hv_clock_init(struct hv_vm *vm)
{
	unsigned long flags;
	u64 boot, tsc;

	set_rate(vm);
	hv_hrtimer_setup(&vm->clock_timer, resample, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	vm->clock_uniform = true;
	raw_spin_lock_irqsave(&vms_lock, flags);
	vm->clock_linear = host_uses_tsc;
	tsc = sample(&boot);
	set_point(vm, tsc, boot, 0);
	vm->tsc_base = -tsc;
	list_add(&vm->clock_link, &vms);
	raw_spin_unlock_irqrestore(&vms_lock, flags);
}

void hv_clock_destroy(struct hv_vm *vm)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&vms_lock, flags);
	list_del(&vm->clock_link);
	raw_spin_unlock_irqrestore(&vms_lock, flags);
	hrtimer_cancel(&vm->clock_timer);
}
