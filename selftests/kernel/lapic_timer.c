// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC's timer: one-shot, periodic, TSC deadline; what can be read of it, saved of it,
 * and that a guest which sets it to one count cannot keep the host busy.
 *
 * Times are judged from below exactly and from above generously: the host may be an emulated one.
 */
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/apicvm.h"

#define LVTT		0x320
#define TMICT		0x380
#define TMCCT		0x390
#define TDCR		0x3e0
#define PERIODIC	0x20000
#define DEADLINE	0x40000
#define MASKED		0x10000
#define TSC_DEADLINE	0x6e0
#define MS		1000000ULL
#define VECTOR		0x50

static struct avm a;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Run until @vector has been taken @n times in all; returns the time it took. */
static uint64_t until(uint64_t n)
{
	uint64_t start = now();

	while (avm_taken(&a, 0, VECTOR) < n && now() - start < 20000 * MS)
		avm_op(&a, 0, AVM_HALT, 0, 0, 0);
	return now() - start;
}

/* Does anything come in @ms? The guest halts; a kick ends it. */
static bool quiet(unsigned int ms)
{
	uint64_t before = avm_taken(&a, 0, VECTOR);

	avm_set(&a, 0, AVM_IDLE, 0, 0, 0);
	avm_start(&a, 0);
	usleep(ms * 1000);
	avm_stop(&a, 0);
	return avm_taken(&a, 0, VECTOR) == before;
}

static void one_shot(void)
{
	uint64_t start, took;

	avm_write(&a, 0, LVTT, VECTOR);
	avm_write(&a, 0, TDCR, 0xb);
	ktap_check(avm_read(&a, 0, TMCCT) == 0, "the counter stands at zero");
	start = now();
	avm_write(&a, 0, TMICT, 50 * MS);
	ktap_check(avm_read(&a, 0, TMICT) == 50 * MS, "the initial count reads back");
	until(1);
	took = now() - start;
	ktap_check(took >= 50 * MS && took < 2000 * MS, "one-shot, 50 ms: %llu us",
		   (unsigned long long)took / 1000);
	ktap_check(avm_read(&a, 0, TMCCT) == 0 && quiet(120) && avm_taken(&a, 0, VECTOR) == 1, "once");

	avm_write(&a, 0, TDCR, 1);		/* divide by 4 */
	start = now();
	avm_write(&a, 0, TMICT, 20 * MS);
	until(2);
	took = now() - start;
	ktap_check(took >= 80 * MS && took < 2000 * MS, "divided by 4, 80 ms: %llu us",
		   (unsigned long long)took / 1000);
	avm_write(&a, 0, TMICT, 4000 * MS);
	usleep(100000);
	took = 4000 * MS - avm_read(&a, 0, TMCCT);
	ktap_check(took >= 25 * MS && took < 1000 * MS, "the current count runs at the divided rate: %llu",
		   (unsigned long long)took);
	avm_write(&a, 0, TMICT, 0);
	ktap_check(avm_read(&a, 0, TMCCT) == 0, "a count of zero stops it");
	avm_write(&a, 0, TDCR, 0xb);
	avm_write(&a, 0, TMICT, 30 * MS);
	avm_write(&a, 0, LVTT, VECTOR | MASKED);
	ktap_check(quiet(100) && avm_read(&a, 0, TMCCT) == 0, "masked, it runs out unheard");
	avm_write(&a, 0, LVTT, VECTOR);
	ktap_check(quiet(50), "and is not made up for");
	avm_write(&a, 0, TMICT, 1);
	until(3);
	ktap_check(avm_taken(&a, 0, VECTOR) == 3, "a count of one");
	avm_write(&a, 0, TMICT, 20 * MS);
	avm_write(&a, 0, 0xf0, 0xff);
	ktap_check(quiet(80), "software disable silences it");
	avm_write(&a, 0, 0xf0, 0x1ff);
}

static void periodic(void)
{
	uint64_t start, took, n, left;

	avm_forget(&a);
	avm_write(&a, 0, LVTT, VECTOR | PERIODIC);
	start = now();
	avm_write(&a, 0, TMICT, 20 * MS);
	until(10);
	took = now() - start;
	n = avm_taken(&a, 0, VECTOR);
	ktap_check(n >= 10 && took >= 200 * MS && took < 4000 * MS, "periodic, 20 ms: %llu ticks in %llu ms",
		   (unsigned long long)n, (unsigned long long)(took / MS));
	/* Nobody takes ticks for a while: they become one. */
	usleep(300000);
	n = avm_taken(&a, 0, VECTOR);
	avm_op(&a, 0, AVM_OPEN, 0, 0, 0);
	avm_op(&a, 0, AVM_OPEN, 0, 0, 0);
	took = avm_taken(&a, 0, VECTOR) - n;
	ktap_check(took >= 1 && took <= 3, "ticks that nobody took are one: %llu", (unsigned long long)took);
	left = avm_read(&a, 0, TMCCT);
	ktap_check(left > 0 && left <= 20 * MS, "the current count stays within the period");
	avm_write(&a, 0, TMICT, 400 * MS);
	avm_write(&a, 0, LVTT, VECTOR);
	left = avm_read(&a, 0, TMCCT);
	ktap_check(left > 0 && left < 400 * MS, "a change to one-shot lets the counter run");
	n = avm_taken(&a, 0, VECTOR);
	until(n + 1);
	ktap_check(quiet(100), "and it stops then");
	avm_write(&a, 0, LVTT, VECTOR | MASKED);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void floor_of_period(void)
{
	struct hv_stats s0, s1;
	uint64_t ticks, cpu;

	avm_forget(&a);
	avm_write(&a, 0, LVTT, VECTOR | PERIODIC);
	avm_write(&a, 0, TDCR, 0xb);
	hv_get_stats(a.t.vm, 0, &s0);
	avm_write(&a, 0, TMICT, 1);
	avm_set(&a, 0, AVM_IDLE, 0, 0, 0);
	avm_start(&a, 0);
	usleep(1000000);
	avm_stop(&a, 0);
	hv_get_stats(a.t.vm, 0, &s1);
	ticks = s1.counter[HV_STAT_TIMER] - s0.counter[HV_STAT_TIMER];
	ktap_check(ticks > 20 && ticks <= 1500 * MS / a.t.info.min_timer_ns,
		   "a count of one, periodic, for a second: %llu ticks, floor %llu us",
		   (unsigned long long)ticks, (unsigned long long)a.t.info.min_timer_ns / 1000);
	/* The vCPU does not run: then it is nobody's business any more. */
	hv_get_stats(a.t.vm, 0, &s0);
	cpu = cpu_ns();
	usleep(1000000);
	cpu = cpu_ns() - cpu;
	hv_get_stats(a.t.vm, 0, &s1);
	ktap_check(s1.counter[HV_STAT_TIMER] == s0.counter[HV_STAT_TIMER] && cpu < 500 * MS,
		   "no ticks while the vCPU is not run");
	avm_write(&a, 0, LVTT, VECTOR | MASKED);
	avm_write(&a, 0, TMICT, 0);
	avm_op(&a, 0, AVM_OPEN, 0, 0, 0);	/* a last tick */
}

static uint64_t guest_tsc(void)
{
	return avm_op(&a, 0, AVM_RDTSC, 0, 0, 0);
}

static void deadline(void)
{
	uint64_t start, took, tsc, ms = a.t.info.tsc_khz;

	avm_forget(&a);
	avm_write(&a, 0, LVTT, VECTOR);
	avm_wrmsr(&a, 0, TSC_DEADLINE, 1);
	ktap_check(!a.faulted && avm_rdmsr(&a, 0, TSC_DEADLINE) == 0,
		   "in another mode the deadline is written to nobody and reads zero");
	avm_write(&a, 0, TMICT, 3000 * MS);
	avm_write(&a, 0, LVTT, VECTOR | DEADLINE);
	ktap_check(avm_read(&a, 0, TMCCT) == 0 && avm_read(&a, 0, TMICT) == 0, "the change disarms the counter");
	avm_write(&a, 0, TMICT, 1000);
	ktap_check(avm_read(&a, 0, TMICT) == 0, "which cannot be written now");
	start = now();
	tsc = guest_tsc() + 50 * ms;
	avm_wrmsr(&a, 0, TSC_DEADLINE, tsc);
	ktap_check(avm_rdmsr(&a, 0, TSC_DEADLINE) == tsc, "the deadline reads back");
	until(1);
	took = now() - start;
	ktap_check(guest_tsc() >= tsc, "it is never early");
	ktap_check(took >= 45 * MS && took < 2000 * MS, "50 ms: %llu us", (unsigned long long)took / 1000);
	ktap_check(avm_rdmsr(&a, 0, TSC_DEADLINE) == 0, "then it is zero");
	avm_wrmsr(&a, 0, TSC_DEADLINE, 1);
	until(2);
	ktap_check(avm_taken(&a, 0, VECTOR) == 2 && avm_rdmsr(&a, 0, TSC_DEADLINE) == 0,
		   "one that is past comes at once");
	avm_wrmsr(&a, 0, TSC_DEADLINE, guest_tsc() + 600 * ms);
	avm_wrmsr(&a, 0, TSC_DEADLINE, 0);
	ktap_check(quiet(700), "zero disarms");
	avm_wrmsr(&a, 0, TSC_DEADLINE, ~0ULL);
	ktap_check(quiet(30) && avm_rdmsr(&a, 0, TSC_DEADLINE) == ~0ULL, "the end of time does not come");
	/* The TSC is moved over it. */
	tsc = guest_tsc();
	avm_wrmsr(&a, 0, TSC_DEADLINE, tsc + 3600000 * ms);
	avm_wrmsr(&a, 0, 0x10, tsc + 3600001 * ms);
	until(3);
	ktap_check(avm_taken(&a, 0, VECTOR) == 3, "a TSC written past the deadline fires it");
	avm_wrmsr(&a, 0, 0x3b, 0);
	avm_wrmsr(&a, 0, TSC_DEADLINE, guest_tsc() + 600 * ms);
	avm_write(&a, 0, LVTT, VECTOR);
	ktap_check(quiet(700) && avm_rdmsr(&a, 0, TSC_DEADLINE) == 0, "leaving the mode disarms");
}

static void saved(void)
{
	struct hv_vcpu *v = a.t.vcpu[0];
	struct hv_apic_timer *t = hv_vcpu_group(v, HV_GROUP_APIC_TIMER);
	uint64_t groups = HV_GROUP(HV_GROUP_APIC) | HV_GROUP(HV_GROUP_APIC_TIMER), start, took, tsc;

	avm_forget(&a);
	avm_write(&a, 0, LVTT, VECTOR);
	avm_write(&a, 0, TMICT, 2000 * MS);
	hv_vcpu_get_state(v, groups);
	ktap_check(t->remaining_ns > 0 && t->remaining_ns <= 2000 * MS && !t->tsc_deadline && !t->pending,
		   "what is left of a one-shot: %llu us", (unsigned long long)t->remaining_ns / 1000);
	t->remaining_ns = 60 * MS;
	start = now();
	hv_vcpu_set_state(v, groups);
	until(1);
	took = now() - start;
	ktap_check(took >= 60 * MS && took < 1500 * MS, "it goes on with what is set: %llu us",
		   (unsigned long long)took / 1000);
	avm_write(&a, 0, LVTT, VECTOR | PERIODIC);
	avm_write(&a, 0, TMICT, 30 * MS);
	usleep(100000);
	hv_vcpu_get_state(v, groups);
	ktap_check(t->pending == 1 && t->remaining_ns <= 30 * MS, "a tick not yet taken is pending");
	avm_write(&a, 0, LVTT, MASKED);
	avm_op(&a, 0, AVM_OPEN, 0, 0, 0);
	avm_forget(&a);
	((uint32_t *)hv_vcpu_group(v, HV_GROUP_APIC))[LVTT / 4] = VECTOR;
	t->remaining_ns = 0;
	hv_vcpu_set_state(v, groups);
	avm_op(&a, 0, AVM_OPEN, 0, 0, 0);
	ktap_check(avm_taken(&a, 0, VECTOR) == 1 && quiet(60), "and is delivered after it is set");
	avm_write(&a, 0, LVTT, VECTOR | DEADLINE);
	tsc = guest_tsc() + 2000ULL * a.t.info.tsc_khz;
	avm_wrmsr(&a, 0, TSC_DEADLINE, tsc);
	hv_vcpu_get_state(v, groups);
	ktap_check(t->tsc_deadline == tsc && !t->remaining_ns, "the deadline is saved");
	avm_wrmsr(&a, 0, TSC_DEADLINE, 0);
	t->tsc_deadline = tsc - 1950ULL * a.t.info.tsc_khz;
	hv_vcpu_set_state(v, groups);
	until(2);
	ktap_check(avm_taken(&a, 0, VECTOR) == 2 && guest_tsc() >= t->tsc_deadline, "and set");
}

int main(void)
{
	avm_create(&a, 1);
	ktap_plan(36);
	avm_write(&a, 0, 0xf0, 0x1ff);
	avm_eoi(&a, AVM_EOI_XAPIC);
	one_shot();
	periodic();
	floor_of_period();
	deadline();
	saved();
	avm_destroy(&a);
	return ktap_finish();
}
