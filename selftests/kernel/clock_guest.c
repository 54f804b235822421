// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest time: the TSC and TSC_ADJUST, the VM's clock calls, kvmclock pages with the host's TSC
 * trusted and not, wall clock, steal time.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/apicvm.h"

#define TSC		0x10
#define TSC_ADJUST	0x3b
#define SYSTEM_TIME	0x4b564d01
#define WALL_CLOCK	0x4b564d00
#define STEAL_TIME	0x4b564d03
#define PAGE(vcpu)	(0x2b000UL + 0x40 * (vcpu))
#define WALL		0x2c000UL
#define STEAL		0x2c100UL

struct pvclock {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
};

#define STABLE	1
#define STOPPED	2

struct steal {
	uint64_t steal;
	uint32_t version, flags, pad[12];
};

static struct avm a;

static uint64_t tsc(uint32_t vcpu)
{
	return avm_op(&a, vcpu, AVM_RDTSC, 0, 0, 0);
}

static struct hv_vm_clock clk(void)
{
	struct hv_vm_clock c;

	if (hv_get_clock(a.t.vm, &c))
		ktap_bail("HV_GET_CLOCK failed");
	return c;
}

static void set(uint32_t flags, uint64_t guest_tsc, uint64_t ns)
{
	struct hv_vm_clock c = { .flags = flags, .guest_tsc = guest_tsc, .kvmclock_ns = ns };

	if (hv_set_clock(a.t.vm, &c))
		ktap_bail("HV_SET_CLOCK failed");
}

static uint64_t to_ns(uint64_t ticks)
{
	return (uint64_t)((unsigned __int128)ticks * 1000000 / a.t.info.tsc_khz);
}

static struct pvclock *page(uint32_t vcpu)
{
	return (struct pvclock *)(a.t.mem + PAGE(vcpu));
}

/* What a guest would compute. */
static uint64_t page_time(const struct pvclock *p, uint64_t guest_tsc)
{
	uint64_t d = guest_tsc - p->tsc;

	d = p->shift < 0 ? d >> -p->shift : d << p->shift;
	return p->ns + (uint64_t)((unsigned __int128)d * p->mul >> 32);
}

static uint64_t guest_time(uint32_t vcpu)
{
	uint64_t t = tsc(vcpu);

	return page_time(page(vcpu), t);
}

static bool between(uint64_t low, uint64_t x, uint64_t high)
{
	if (low <= x && x <= high)
		return true;
	ktap_note("%llu is not in %llu .. %llu", (unsigned long long)x, (unsigned long long)low,
		  (unsigned long long)high);
	return false;
}

static void guest_tsc(void)
{
	struct hv_clock *state = hv_vcpu_group(a.t.vcpu[0], HV_GROUP_CLOCK);
	struct hv_vm_clock c0, c1;
	uint64_t t0, t1, back = 0, last = 0;
	unsigned int i;

	c0 = clk();
	t0 = tsc(0);
	t1 = tsc(1);
	c1 = clk();
	ktap_check(c0.tsc_khz == a.t.info.tsc_khz && c0.guest_tsc < t0 && t0 < t1 && t1 < c1.guest_tsc,
		   "one TSC for all vCPUs, and HV_GET_CLOCK knows it");
	for (i = 0; i < 500; i++) {
		t0 = tsc(i & 1);
		back += t0 <= last;
		last = t0;
	}
	ktap_check(!back, "it never goes back from one vCPU to the other");
	ktap_check(between(t0, avm_rdmsr(&a, 0, TSC), t0 + c0.tsc_khz * 1000ULL), "RDMSR reads it as well");
	t0 = tsc(0);
	avm_wrmsr(&a, 0, TSC, t0 + 1000000000000);
	t1 = tsc(0);
	ktap_check(t1 > t0 + 1000000000000 && to_ns(t1 - t0 - 1000000000000) < 1000000000, "a write moves it");
	ktap_check(tsc(1) < t0 + 1000000000000, "and no other vCPU's");
	t0 = avm_rdmsr(&a, 0, TSC_ADJUST);
	hv_vcpu_get_state(a.t.vcpu[0], HV_GROUP(HV_GROUP_CLOCK));
	ktap_check((uint64_t)state->tsc_offset == t0 && t0 > 900000000000 && t0 <= 1000000000000,
		   "TSC_ADJUST moves by the same amount");
	t0 = tsc(0);
	avm_wrmsr(&a, 0, TSC_ADJUST, avm_rdmsr(&a, 0, TSC_ADJUST) + 5000000000000);
	t1 = tsc(0);
	ktap_check(t1 > t0 + 5000000000000 && to_ns(t1 - t0 - 5000000000000) < 1000000000,
		   "a write of TSC_ADJUST moves the TSC");
	avm_wrmsr(&a, 0, TSC_ADJUST, 0);
	c0 = clk();
	t0 = tsc(0);
	t1 = tsc(1);
	c1 = clk();
	ktap_check(c0.guest_tsc < t0 && t0 < t1 && t1 < c1.guest_tsc, "zero puts it back exactly");
	avm_wrmsr(&a, 1, TSC, 0);
	ktap_check(to_ns(tsc(1)) < 1000000000, "a write of zero begins at zero");
	avm_wrmsr(&a, 1, TSC_ADJUST, 0);

	set(HV_CLOCK_SET_TSC, 1ULL << 50, 0);
	t0 = tsc(0);
	t1 = tsc(1);
	ktap_check(t0 > 1ULL << 50 && t0 < t1 && to_ns(t1 - (1ULL << 50)) < 2000000000,
		   "HV_SET_CLOCK sets it for all");
	set(HV_CLOCK_SET_TSC, 0, 0);
}

static void calls(void)
{
	struct hv_vm_clock c0 = clk(), c1, bad = { .flags = HV_CLOCK_SET_NS, .kvmclock_ns = ~0ULL };
	struct timespec r, b0, b1;
	int64_t off;

	clock_gettime(CLOCK_REALTIME, &r);
	off = (int64_t)(r.tv_sec * 1000000000LL + r.tv_nsec - c0.realtime_ns);
	ktap_check(off >= 0 && off < 1000000000, "real time is the host's");
	clock_gettime(CLOCK_BOOTTIME, &b0);
	c0 = clk();
	usleep(2000000);
	clock_gettime(CLOCK_BOOTTIME, &b1);
	c1 = clk();
	off = (b1.tv_sec - b0.tv_sec) * 1000000000LL + b1.tv_nsec - b0.tv_nsec -
	      (int64_t)(c1.kvmclock_ns - c0.kvmclock_ns);
	ktap_check(off > -2000000 - 1000000 && off < 2000000 + 1000000, "kvmclock keeps the host's pace: %lld ns in 2 s",
		   (long long)off);
	set(HV_CLOCK_SET_NS, 0, 5000000000000);
	c1 = clk();
	ktap_check(c1.kvmclock_ns >= 5000000000000 && c1.kvmclock_ns < 5001000000000 &&
		   c1.guest_tsc > c0.guest_tsc, "kvmclock can be set, without the TSC");
	ktap_check(hv_set_clock(a.t.vm, &bad) == -EINVAL, "but not to nonsense");
	bad.flags = 0;
	ktap_check(hv_set_clock(a.t.vm, &bad) == -EINVAL, "setting nothing is an error");
}

static bool page_right(uint32_t vcpu)
{
	struct hv_vm_clock c0 = clk(), c1;
	uint64_t t = guest_time(vcpu);

	c1 = clk();
	/* A sample may be off by what taking it takes. */
	return !(page(vcpu)->version & 1) && page(vcpu)->version &&
	       between(c0.kvmclock_ns - (c0.flags & HV_CLOCK_STABLE ? 0 : 20000000), t,
		       c1.kvmclock_ns + (c0.flags & HV_CLOCK_STABLE ? 0 : 20000000));
}

/* No vCPU may see less than another has seen. */
static unsigned int backward(unsigned int n)
{
	uint64_t last = 0, t;
	unsigned int i, back = 0;
	cpu_set_t set;

	for (i = 0; i < n; i++) {
		if (i % 16 == 0) {
			CPU_ZERO(&set);
			CPU_SET(i / 16 & 1, &set);
			sched_setaffinity(0, sizeof(set), &set);
		}
		t = guest_time(i & 1);
		if (t < last && back++ < 5)
			ktap_note("back by %llu ns", (unsigned long long)(last - t));
		last = t;
	}
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	CPU_SET(1, &set);
	sched_setaffinity(0, sizeof(set), &set);
	return back;
}

static void kvmclock(void)
{
	bool stable = clk().flags & HV_CLOCK_STABLE;
	struct pvclock old;
	uint64_t bits[2];
	struct hv_slot slot = { .size = a.t.size, .hva = (uintptr_t)a.t.mem, .flags = HV_SLOT_LOG_DIRTY };

	ktap_check(avm_wrmsr(&a, 0, SYSTEM_TIME, PAGE(0) | 1) && avm_wrmsr(&a, 1, SYSTEM_TIME, PAGE(1) | 1),
		   "kvmclock on");
	ktap_check(page_right(0) && page_right(1), "both pages tell the time");
	ktap_check((page(0)->flags & STABLE) == stable && (page(1)->flags & STABLE) == stable,
		   "stable bit: %d", stable);
	if (stable) {
		ktap_check(page(0)->tsc == page(1)->tsc && page(0)->ns == page(1)->ns &&
			   page(0)->mul == page(1)->mul, "and say the same");
		ktap_check(backward(600) == 0, "no step back between vCPUs and CPUs");
	} else {
		ktap_skip("and say the same", "the host does not trust its TSC");
		ktap_skip("no step back between vCPUs and CPUs", "nor need a guest, without the stable bit");
	}
	avm_wrmsr(&a, 1, TSC_ADJUST, 1000000000);
	ktap_check(page_right(1) && page_right(0), "right after one TSC was moved");
	ktap_check(!((page(0)->flags | page(1)->flags) & STABLE), "but one page does not serve all now");
	avm_wrmsr(&a, 1, TSC_ADJUST, 0);
	ktap_check(page_right(1) && page_right(0) && (page(0)->flags & STABLE) == stable, "until it is moved back");
	avm_wrmsr(&a, 1, TSC, 12345);
	ktap_check(page_right(1), "right after the TSC was written");
	avm_wrmsr(&a, 1, TSC_ADJUST, 0);

	hv_set_slots(a.t.vm, &slot, 1);
	tsc(0);
	hv_get_dirty(a.t.vm, 0, 0, 128, bits, true);
	old = *page(0);
	set(HV_CLOCK_SET_NS, 0, 77000000000);
	ktap_check(page_right(0) && page_right(1) && (uint32_t)(page(0)->version - old.version) >= 2,
		   "HV_SET_CLOCK renews the pages");
	ktap_check((page(0)->flags & STOPPED) && (page(1)->flags & STOPPED), "and tells of the pause");
	hv_get_dirty(a.t.vm, 0, 0, 128, bits, true);
	ktap_check(bits[0] >> (PAGE(0) >> 12) & 1, "the dirty log has it");
	slot.flags = 0;
	hv_set_slots(a.t.vm, &slot, 1);
	page(0)->flags &= ~STOPPED;
	avm_wrmsr(&a, 0, 0x12, PAGE(0) | 1);
	ktap_check(page_right(0) && !(page(0)->flags & STOPPED) && (page(1)->flags & STOPPED),
		   "the guest takes that bit away itself; the old MSR number");
	old = *page(0);
	avm_wrmsr(&a, 0, SYSTEM_TIME, PAGE(0));
	set(HV_CLOCK_SET_NS, 0, 1000);
	tsc(0);
	ktap_check(memcmp(&old, page(0), sizeof(old)) == 0, "off means off");
	ktap_check(avm_wrmsr(&a, 0, SYSTEM_TIME, 0x7fffffff000 | 1) && tsc(0), "a page that is not there hurts nobody");
	avm_wrmsr(&a, 0, SYSTEM_TIME, PAGE(0) | 1);
}

static void wall_clock(void)
{
	struct { uint32_t version, sec, nsec; } *w = (void *)(a.t.mem + WALL);
	struct timespec r;
	int64_t guest, host;

	avm_wrmsr(&a, 0, WALL_CLOCK, WALL);
	clock_gettime(CLOCK_REALTIME, &r);
	guest = w->sec * 1000000000LL + w->nsec + clk().kvmclock_ns;
	host = r.tv_sec * 1000000000LL + r.tv_nsec;
	ktap_check(!(w->version & 1) && guest - host > -1000000000 && guest - host < 1000000000,
		   "wall clock and kvmclock are the host's real time: %lld us off", (long long)(guest - host) / 1000);
}

static atomic_bool stop;

static void *burn(void *arg)
{
	while (!atomic_load(&stop))
		;
	return NULL;
}

static void steal(void)
{
	struct hv_clock *state = hv_vcpu_group(a.t.vcpu[0], HV_GROUP_CLOCK);
	struct steal *st = (struct steal *)(a.t.mem + STEAL);
	pthread_t th[4];
	uint64_t first;
	int i;

	ktap_check(!avm_wrmsr(&a, 0, STEAL_TIME, STEAL | 3), "reserved bits of the steal time MSR are #GP");
	/* A periodic timer is what makes a real guest look. */
	avm_eoi(&a, AVM_EOI_XAPIC);
	avm_write(&a, 0, 0xf0, 0x1ff);
	avm_write(&a, 0, 0x320, 0x20040);
	avm_write(&a, 0, 0x3e0, 0xb);
	avm_write(&a, 0, 0x380, 10000000);
	ktap_check(avm_wrmsr(&a, 0, STEAL_TIME, STEAL | 1) && tsc(0) && st->version && !(st->version & 1),
		   "steal time on");
	first = st->steal;
	for (i = 0; i < 4; i++)
		pthread_create(&th[i], NULL, burn, NULL);
	avm_set(&a, 0, AVM_SPIN, 0, 0, 0);
	avm_start(&a, 0);
	ktap_check(AVM_SOON(__atomic_load_n(&st->steal, __ATOMIC_RELAXED) > first + 1000000),
		   "with the CPUs crowded it grows");
	atomic_store(&stop, true);
	for (i = 0; i < 4; i++)
		pthread_join(th[i], NULL);
	avm_stop(&a, 0);
	hv_vcpu_get_state(a.t.vcpu[0], HV_GROUP(HV_GROUP_CLOCK));
	ktap_check(state->steal_ns == st->steal && state->kvm_steal_time == (STEAL | 1), "and is in the state");
	avm_write(&a, 0, 0x320, 0x10000);
	avm_wrmsr(&a, 0, STEAL_TIME, 0);
}

static bool set_clocksource(const char *name, char *old)
{
	static const char path[] = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
	int fd = open(path, O_RDWR);
	ssize_t n;

	if (fd < 0)
		return false;
	n = old ? read(fd, old, 31) : 0;
	if (old)
		old[n > 0 ? n - 1 : 0] = 0;
	n = write(fd, name, strlen(name));
	close(fd);
	return n > 0;
}

static void untrusted(void)
{
	struct hv_vm_clock before = clk(), after;
	uint64_t last, t, back = 0, i;
	char old[32] = "";

	if (!set_clocksource("hpet", old) && !set_clocksource("acpi_pm", old)) {
		for (i = 0; i < 6; i++)
			ktap_skip("the host changes its clock source", "it has no other one");
		return;
	}
	usleep(100000);
	after = clk();
	ktap_check(!(after.flags & HV_CLOCK_STABLE) && after.kvmclock_ns >= before.kvmclock_ns &&
		   after.kvmclock_ns - before.kvmclock_ns < 5000000000,
		   "the host stops trusting its TSC: kvmclock goes on, unstable");
	ktap_check(page_right(0) && page_right(1) && !((page(0)->flags | page(1)->flags) & STABLE),
		   "the pages too");
	/* One vCPU on one CPU: no guest helps itself there. */
	last = guest_time(0);
	for (i = 0; i < 300; i++) {
		t = guest_time(0);
		back += t < last;
		last = t;
		if (i % 32 == 0)
			usleep(50000);
	}
	ktap_check(!back, "no step back on one vCPU: %llu", (unsigned long long)back);
	avm_set(&a, 0, AVM_SPIN, 0, 0, 0);
	avm_start(&a, 0);
	i = page(0)->version;
	ktap_check(AVM_SOON(((volatile struct pvclock *)page(0))->version - (uint32_t)i >= 8),
		   "the page of a vCPU that never stops is renewed");
	avm_stop(&a, 0);
	ktap_check(page_right(0), "and right");
	set_clocksource(old, NULL);
	usleep(100000);
	ktap_check(page_right(0) && page_right(1), "right too when the TSC is trusted again");
}

int main(void)
{
	avm_create(&a, 2);
	ktap_plan(41);
	guest_tsc();
	calls();
	kvmclock();
	wall_clock();
	steal();
	untrusted();
	avm_destroy(&a);
	return ktap_finish();
}
