// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU's state is complete (contract 2): at 100 random moments the guest is stopped, read out,
 * and rebuilt in a new VM, and goes on.  Inside runs a job over general registers, SSE and memory,
 * interrupted by a periodic APIC timer in x2APIC mode and halting now and then; its result must be
 * the one the host computes.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "ktap.h"
#include "lib/testvm.h"

#define REBUILDS 100

/* [0x20000] ticks, [0x20008] turns done, [0x20010] stop, [0x20018] sum, [0x20020] xmm0; buffer 0x40000 */
GUEST_CODE(job,
	"mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n"		/* x2APIC */
	"mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"	/* SVR */
	"mov $0x83e, %ecx\n mov $0xb, %eax\n wrmsr\n"			/* divide by 1 */
	"mov $0x832, %ecx\n mov $0x20040, %eax\n wrmsr\n"		/* periodic, vector 0x40 */
	"mov $0x838, %ecx\n mov $2000000, %eax\n wrmsr\n"
	"mov $0xcbf29ce484222325, %rbx\n"
	"mov $0x100000001b3, %r8\n"
	"pxor %xmm0, %xmm0\n"
	"xor %r9d, %r9d\n"
	"sti\n"
	"1: xor %r9, %rbx\n"
	"imul %r8, %rbx\n"
	"mov %r9, %r10\n and $0x3fff, %r10d\n"
	"add %rbx, 0x40000(,%r10,8)\n"
	"movq %rbx, %xmm1\n punpcklqdq %xmm1, %xmm1\n paddq %xmm1, %xmm0\n"
	"inc %r9\n"
	"mov %r9, 0x20008\n"
	"test $0x3ffff, %r9d\n jnz 2f\n hlt\n"				/* until the next tick */
	"2: cmpq $0, 0x20010\n je 1b\n"
	"cli\n"
	"mov %rbx, 0x20018\n movdqu %xmm0, 0x20020\n"
	"out %al, $0x21\n hlt\n");

GUEST_CODE(tick,
	"push %rax\n push %rcx\n push %rdx\n"
	"incq 0x20000\n"
	"mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"	/* EOI */
	"pop %rdx\n pop %rcx\n pop %rax\n iretq\n");

/* KVM_HC_KICK_CPU of APIC id 0, the way of each vendor; and who waits for that with interrupts off. */
GUEST_CODE(kick_svm, "mov $5, %eax\n xor %ebx, %ebx\n xor %ecx, %ecx\n vmmcall\n out %al, $0x22\n");
GUEST_CODE(kick_vmx, "mov $5, %eax\n xor %ebx, %ebx\n xor %ecx, %ecx\n vmcall\n out %al, $0x22\n");
GUEST_CODE(waiter, "cli\n hlt\n out %al, $0x23\n");

static struct testvm t;
static atomic_int stop;

static void *kicker(void *arg)
{
	while (!atomic_load(&stop)) {
		struct timespec ts = { .tv_nsec = 500000 + rand() % 8000000 };

		nanosleep(&ts, NULL);
		if (!atomic_load(&stop))
			hv_vcpu_kick(arg);
	}
	return NULL;
}

/* Runs until a kick or the guest's own exit; kicked from another thread at a random moment. */
static uint32_t run_a_while(void)
{
	pthread_t th;
	int err;
	uint32_t reason;

	atomic_store(&stop, 0);
	pthread_create(&th, NULL, kicker, t.vcpu[0]);
	do {
		err = hv_vcpu_run(t.vcpu[0]);
		if (err)
			ktap_bail("hv_vcpu_run: %s", strerror(-err));
		reason = t.vcpu[0]->run->exit_reason;
	} while (reason == HV_EXIT_NONE);
	atomic_store(&stop, 1);
	pthread_join(th, NULL);
	return reason;
}

static void rebuild(void)
{
	const uint64_t all = HV_GROUPS_ALL;
	struct testvm n = {};
	struct hv_vm_clock clock = { .flags = 0 };
	int err, g;

	err = hv_vcpu_get_state(t.vcpu[0], all);
	if (err)
		ktap_bail("reading all state: %s", strerror(-err));
	err = hv_get_clock(t.vm, &clock);
	if (err)
		ktap_bail("reading the clock: %s", strerror(-err));
	testvm_create_on(&n, t.mem, t.size, 1);
	for (g = 0; g < HV_GROUP_COUNT; g++)
		memcpy(n.vcpu[0]->group[g], t.vcpu[0]->group[g], t.info.group[g].size);
	clock.flags = HV_CLOCK_SET_TSC | HV_CLOCK_SET_NS;
	err = hv_set_clock(n.vm, &clock);
	if (err)
		ktap_bail("setting the clock: %s", strerror(-err));
	err = hv_vcpu_set_state(n.vcpu[0], all);
	if (err)
		ktap_bail("writing all state: %s", strerror(-err));
	hv_vcpu_destroy(t.vcpu[0]);
	hv_vm_destroy(t.vm);
	hv_close(t.dev);
	t = n;
}

/* A vCPU in HLT, or on its way there, is kicked and moves, and need not wait there. */
static void kicked(bool halted)
{
	const char *where = halted ? "in HLT" : "ahead of HLT";
	struct hv_mp *mp;
	bool there;

	testvm_create(&t, 4 << 20, 2);
	if (t.info.vendor == HV_VENDOR_SVM)
		testvm_code(&t, TVM_CODE, kick_svm, kick_svm_end);
	else
		testvm_code(&t, TVM_CODE, kick_vmx, kick_vmx_end);
	testvm_code(&t, TVM_CODE + 0x1000, waiter, waiter_end);
	testvm_long(&t, 0, TVM_CODE + 0x1000);
	testvm_long(&t, 1, TVM_CODE);
	mp = hv_vcpu_group(t.vcpu[0], HV_GROUP_MP);
	while (halted && mp->state != HV_MP_HALTED) {
		if (run_a_while() != HV_EXIT_KICK ||
		    hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_MP)))
			ktap_bail("no HLT");
	}
	testvm_expect(&t, 1, HV_EXIT_IO);
	hv_vcpu_destroy(t.vcpu[1]);
	t.nvcpus = 1;
	rebuild();
	mp = hv_vcpu_group(t.vcpu[0], HV_GROUP_MP);
	there = !hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_MP)) && mp->pv_unhalt == 1 &&
		mp->state == (halted ? HV_MP_HALTED : HV_MP_RUNNABLE);
	ktap_check(there, "a kick that has come %s moves along", where);
	mp->pv_unhalt = 0;
	there &= !hv_vcpu_set_state(t.vcpu[0], HV_GROUP(HV_GROUP_MP));
	/* Without the kick it would stand there for ever. */
	ktap_check(there && testvm_run(&t, 0) == HV_EXIT_IO && t.vcpu[0]->run->io.port == 0x23,
		   "and ends HLT with interrupts off, %s", where);
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_MP));
	there = !mp->pv_unhalt;
	mp->pv_unhalt = 2;
	ktap_check(there && hv_vcpu_set_state(t.vcpu[0], HV_GROUP(HV_GROUP_MP)) == -EINVAL,
		   "once; and it is 0 or 1, %s", where);
	testvm_destroy(&t);
}

int main(void)
{
	volatile uint64_t *w;
	uint64_t turns, sum = 0xcbf29ce484222325ULL, lane = 0, i, bad = 0, ticks = 0, stuck = 0;
	static uint64_t buf[0x4000];
	uint32_t reason;
	int n;

	testvm_open(&t);
	srand(time(NULL));
	ktap_plan(11);
	testvm_create(&t, 4 << 20, 1);
	testvm_code(&t, TVM_CODE, job, job_end);
	testvm_code(&t, TVM_CODE + 0x1000, tick, tick_end);
	testvm_long(&t, 0, TVM_CODE);
	testvm_gate(&t, 0x40, TVM_CODE + 0x1000, 0);
	w = (volatile uint64_t *)(t.mem + 0x20000);
	for (n = 0; n < REBUILDS; n++) {
		uint64_t before = w[1], t0 = w[0];

		reason = run_a_while();
		if (reason != HV_EXIT_KICK)
			ktap_bail("exit %u (%s) in turn %d", reason, hv_exit_name(reason), n);
		if (w[1] == before && w[0] == t0)
			stuck++;
		if (w[0] != t0)
			ticks++;
		rebuild();
	}
	w = (volatile uint64_t *)(t.mem + 0x20000);
	w[2] = 1;
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(t.vcpu[0]->run->io.port == 0x21, "the job ended after %d rebuilds", REBUILDS);
	turns = w[1];
	for (i = 0; i < turns; i++) {
		sum = (sum ^ i) * 0x100000001b3ULL;
		buf[i & 0x3fff] += sum;
		lane += sum;
	}
	for (i = 0; i < 0x4000; i++)
		bad += buf[i] != ((uint64_t *)(t.mem + 0x40000))[i];
	ktap_check(w[3] == sum, "general registers: %#llx after %llu turns",
		   (unsigned long long)w[3], (unsigned long long)turns);
	ktap_check(w[4] == lane && w[5] == lane, "SSE registers");
	ktap_check(!bad, "memory: %llu words differ", (unsigned long long)bad);
	ktap_note("%llu turns, %llu ticks, %llu of %d stretches without progress",
		  (unsigned long long)turns, (unsigned long long)w[0], (unsigned long long)stuck,
		  REBUILDS);
	ktap_check(ticks > REBUILDS / 10, "the timer went on ticking: %llu stretches with ticks",
		   (unsigned long long)ticks);
	testvm_destroy(&t);
	kicked(false);
	kicked(true);
	return ktap_finish();
}
