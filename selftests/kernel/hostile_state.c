// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contract 12, the other side: an owner of a guest hands the module random state and random code.
 * Each set is refused or taken; each run ends, by an exit or by a kick; the host never notices,
 * which its log shows.  HV_SEED repeats a run; HV_FIRST and HV_ROUNDS say
 * which rounds of it.  With HV_SECONDS it goes on for as long.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "event_guest.h"

static uint64_t seed;
static atomic_bool stop;
static uint32_t exits[HV_EXIT_COUNT], refused, taken;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static bool one_in(unsigned int n)
{
	return rnd() % n == 0;
}

/* A number with few bits, many, or at an edge. */
static uint64_t number(void)
{
	switch (rnd() % 8) {
	case 0:
		return 0;
	case 1:
		return ~0ULL;
	case 2:
		return 1ULL << rnd() % 64;
	case 3:
		return rnd() & 0xffff;
	case 4:
		return rnd() & 0xffffffff;
	case 5:
		return 0xffff800000000000ULL | (rnd() & 0xffffffff);
	case 6:
		return 0x800000000000ULL + rnd() % 3 - 1;
	default:
		return rnd();
	}
}

static void *kicker(void *arg)
{
	while (!atomic_load(&stop)) {
		usleep(2000);
		hv_vcpu_kick(t.vcpu[0]);
	}
	return NULL;
}

static void damage(void *p, size_t len, unsigned int times)
{
	while (times--) {
		uint64_t val = number();
		size_t at = rnd() % (len / 8) * 8;

		memcpy((char *)p + at, &val, 8);
	}
}

static void *pristine[HV_GROUP_COUNT];

static void remember(void)
{
	int i;

	hv_vcpu_get_state(t.vcpu[0], HV_GROUPS_ALL);
	for (i = 0; i < HV_GROUP_COUNT; i++) {
		pristine[i] = malloc(t.info.group[i].size);
		memcpy(pristine[i], t.vcpu[0]->group[i], t.info.group[i].size);
	}
}

static void recall(void)
{
	int i, err;

	for (i = 0; i < HV_GROUP_COUNT; i++)
		memcpy(t.vcpu[0]->group[i], pristine[i], t.info.group[i].size);
	t.vcpu[0]->run->retire = 0;	/* a bad one stays where it was refused */
	err = hv_vcpu_set_state(t.vcpu[0], HV_GROUPS_ALL);
	if (err)
		ktap_bail("the state after reset is refused: %s", strerror(-err));
}

/* Known-good state first, then some of it spoilt; sane values are likely in what is checked. */
static uint64_t spoil(void)
{
	struct hv_vcpu *v = t.vcpu[0];
	struct hv_segs *s = hv_vcpu_segs(v);
	struct hv_control *c = hv_vcpu_control(v);
	struct hv_debug *d = hv_vcpu_group(v, HV_GROUP_DEBUG);
	struct hv_events *e = hv_vcpu_events(v);
	uint64_t groups = rnd() & HV_GROUPS_ALL;
	unsigned int i, n;

	recall();
	switch (rnd() % 3) {
	case 0:
		testvm_real(&t, 0, TVM_CODE >> 4, 0);
		break;
	case 1:
		testvm_prot32(&t, 0, TVM_CODE);
		break;
	default:
		testvm_long(&t, 0, TVM_CODE);
	}
	hv_vcpu_get_state(v, HV_GROUPS_ALL);
	groups &= ~(HV_GROUP(HV_GROUP_MP) | HV_GROUP(HV_GROUP_CLOCK));
	for (i = 0; i < HV_SEG_COUNT; i++) {
		n = rnd() % 6;
		if (n == 0)
			s->seg[i].attr = rnd() & 0x1f0ff;
		else if (n == 1)
			s->seg[i].base = number();
		else if (n == 2)
			s->seg[i].limit = number();
		else if (n == 3)
			s->seg[i].selector = rnd();
	}
	/* Bochs dies of a push where real mode loads SS over one that was unusable and not for writing. */
	if (t.bochs_vmx && (s->seg[HV_SS].attr & HV_SEG_UNUSABLE || !(s->seg[HV_SS].attr & HV_SEG_P)))
		s->seg[HV_SS].attr |= 2;
	if (one_in(4))
		s->gdtr.base = number();
	if (one_in(4))
		s->idtr.limit = number();
	if (one_in(3))
		c->cr0 ^= 1ULL << rnd() % 32;
	if (one_in(3))
		c->cr4 ^= 1ULL << rnd() % 23;
	if (one_in(4))
		c->cr3 = number();
	if (one_in(4))
		c->efer ^= 1ULL << rnd() % 16;
	if (one_in(8))
		c->xcr0 = number();
	/* QEMU dies of x87 errors reported the old way (testing.rst). */
	c->cr0 |= 0x20;
	d->dr6 = one_in(2) ? (uint32_t)number() : d->dr6;
	d->dr7 = one_in(2) ? (uint32_t)number() : d->dr7;
	if (one_in(2))
		damage(d->dr, sizeof(d->dr), 2);
	if (one_in(3))
		damage(hv_vcpu_group(v, HV_GROUP_MSRS), offsetof(struct hv_msrs, mtrr_def_type), 2);
	if (one_in(8))
		damage(hv_vcpu_group(v, HV_GROUP_XSAVE), 576, 2);
	if (one_in(8))
		damage(hv_vcpu_group(v, HV_GROUP_APIC), 4096, 8);
	if (one_in(2)) {
		e->exc_flags = rnd() & 0xf;
		e->exc_vector = one_in(4) ? rnd() : rnd() & 0x1f;
		e->exc_error_code = rnd();
		e->exc_payload = number();
	}
	if (one_in(3)) {
		e->int_flags = rnd() & 3;
		e->int_vector = rnd();
		e->int_length = rnd() & 0xf;
	}
	if (one_in(4))
		e->nmi_injected = rnd() & 1;
	if (one_in(4)) {
		e->nmi_pending = rnd() & 3;
		e->nmi_masked = rnd() & 1;
		e->shadow = rnd() & 3;
	}
	if (one_in(3))
		damage(hv_vcpu_regs(v), sizeof(struct hv_regs), 4);
	if (t.bochs_svm)	/* a step kills that host, a loop without interrupts stops it */
		hv_vcpu_regs(v)->rflags = (hv_vcpu_regs(v)->rflags & ~0x100ULL) | 0x200;
	return groups;
}

static void random_code(void)
{
	/* Often the instructions that exit, between random bytes. */
	static const char *const some[] = {
		"\x0f\xa2", "\x0f\x30", "\x0f\x32", "\x0f\x01\xd8", "\x0f\x20\xc0", "\x0f\x22\xc0",
		"\x0f\x22\xe0", "\x0f\x23\xf8", "\x0f\x21\xc0", "\xee", "\xec", "\x6e", "\xf3\x6c",
		"\xcc", "\xcd\x80", "\x9d", "\xcf", "\xfb\xf4", "\x0f\x01\xd9", "\x0f\x01\xd1",
		"\x0f\x00\xd8", "\xea\x00\x00\x08\x00", "\x0f\x09", "\x0f\x06", "\x8e\xd0\xfb",
	};
	uint8_t *p = t.mem + TVM_CODE;
	unsigned int i, n;

	if (t.bochs_svm) {	/* it could do either as well; the state is what this host is for */
		for (i = 0; i < 512; i += 2)
			memcpy(p + i, "\xe6\x10", 2);
		return;
	}
	for (i = 0; i < 512; i++) {
		p[i] = rnd();
		if (t.bochs_vmx && p[i] == 0x62)	/* EVEX: some ends Bochs */
			p[i] = 0x60;
	}
	for (i = 0; i < 500; i += 1 + rnd() % 16) {
		const char *in = some[rnd() % (sizeof(some) / sizeof(some[0]))];

		n = strlen(in) ? strlen(in) : 1;
		memcpy(p + i, in, n);
		i += n;
	}
}

static bool round_of(unsigned int n)
{
	struct hv_vcpu *v = t.vcpu[0];
	uint64_t groups = spoil();
	int err, turns;

	random_code();
	err = hv_vcpu_set_state(v, groups);
	if (err) {
		refused++;
		if (err != -EINVAL) {
			ktap_note("round %u: set of %#llx: %s", n, (unsigned long long)groups,
				  strerror(-err));
			return false;
		}
	} else {
		taken++;
	}
	for (turns = 0; turns < 6; turns++) {
		v->run->dirty = 0;
		v->run->want = 0;
		v->run->retire = rnd() % 17;
		v->run->want_windows = rnd() & 3;
		err = hv_vcpu_run(v);
		if (err && err != -EINVAL && err != -EINTR) {
			ktap_note("round %u: run: %s", n, strerror(-err));
			return false;
		}
		if (err)
			continue;
		if (v->run->exit_reason >= HV_EXIT_COUNT) {
			ktap_note("round %u: exit reason %u", n, v->run->exit_reason);
			return false;
		}
		exits[v->run->exit_reason]++;
		if (v->run->exit_reason == HV_EXIT_KICK || v->run->exit_reason == HV_EXIT_SHUTDOWN)
			break;
	}
	return true;
}

int main(void)
{
	const char *env = getenv("HV_ROUNDS");
	unsigned int rounds = env ? atoi(env) : 1500, first, i;
	time_t end = time(NULL);
	uint64_t base;
	pthread_t thread;
	bool good = true;

	testvm_open(&t);
	env = getenv("HV_SEED");
	base = env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL) * 0x9e3779b97f4a7c15ULL;
	env = getenv("HV_FIRST");
	first = env ? atoi(env) : 0;
	env = getenv("HV_SECONDS");
	end += env ? atoi(env) : 0;
	ktap_plan(4);
	ktap_note("HV_SEED=%#llx HV_FIRST=%u HV_ROUNDS=%u", (unsigned long long)base, first,
		  rounds);
	eg_create();
	if (t.bochs_svm)		/* instead of zeros, which real mode would run for ever */
		memset(t.mem, 0xf4, EG_SIZE);	/* HLT */
	remember();
	if (pthread_create(&thread, NULL, kicker, NULL))
		ktap_bail("no thread");
	for (i = first; good && (i < first + rounds || time(NULL) < end); i++) {
		if (rounds < 100 || i % (i < 1000 ? 100 : 10000) == 0)
			ktap_note("round %u", i);
		/* Each round of its own: kicks come when they come. */
		seed = base + i * 0x9e3779b97f4a7c15ULL;
		rnd();
		rnd();
		good = round_of(i);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	ktap_check(good, "%u rounds of random state and code", i);
	for (i = 0; i < HV_EXIT_COUNT; i++)
		if (exits[i])
			ktap_note("%s: %u", hv_exit_name(i), exits[i]);
	ktap_check(taken > refused / 8, "enough of it was taken: %u, refused %u", taken, refused);
	/* VMX looks at every segment before it enters. */
	if (t.info.vendor == HV_VENDOR_VMX)
		taken *= 3;
	ktap_check(exits[HV_EXIT_FAIL_ENTRY] < taken, "the CPU refused some of it: %u",
		   exits[HV_EXIT_FAIL_ENTRY]);
	testvm_destroy(&t);

	eg_create();
	testvm_long(&t, 0, TVM_CODE);
	memcpy(t.mem + TVM_CODE, "\xe6\x10\xf4", 3);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(1, "a new guest runs");
	testvm_destroy(&t);
	return ktap_finish();
}
