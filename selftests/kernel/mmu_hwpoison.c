// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/hv_mmu.c: a page of guest memory goes bad under a running vCPU.  The access exits with the
 * cause, again and again, until the page is replaced.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#define MIB	(1UL << 20)
#define RAM	(64 * MIB)

GUEST_CODE(count, "1: incq (%rbx)\n incq 0x20000\n jmp 1b\n");
GUEST_CODE(load, "1: mov (%rbx), %rax\n incq 0x20000\n jmp 1b\n");

static struct testvm t;
static uint8_t *ram;
static pthread_t thread;
static atomic_int ended;

static void *runner(void *arg)
{
	int err;

	do {
		err = hv_vcpu_run(t.vcpu[0]);
	} while ((!err || err == -EINTR) && (t.vcpu[0]->run->exit_reason == HV_EXIT_NONE ||
					      t.vcpu[0]->run->exit_reason == HV_EXIT_SIGNAL));
	atomic_store(&ended, 1);
	return NULL;
}

static void begin(const uint8_t *code, const uint8_t *end)
{
	if (code) {
		testvm_code(&t, TVM_CODE, code, end);
		testvm_long(&t, 0, TVM_CODE);
		hv_vcpu_regs(t.vcpu[0])->gpr[HV_RBX] = RAM;
		hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	}
	atomic_store(&ended, 0);
	pthread_create(&thread, NULL, runner, NULL);
}

static void progress(void)
{
	volatile uint64_t *laps = (void *)(t.mem + 0x20000);
	uint64_t from = *laps;

	while (*laps < from + 100 && !atomic_load(&ended))
		sched_yield();
}

static bool poisoned(void)
{
	struct hv_run *run = t.vcpu[0]->run;
	int i;

	for (i = 0; i < 5000 && !atomic_load(&ended); i++)
		usleep(1000);
	if (!atomic_load(&ended))
		hv_vcpu_kick(t.vcpu[0]);
	pthread_join(thread, NULL);
	if (run->exit_reason == HV_EXIT_MEMORY_FAULT && (run->fault.gpa & ~0xfffUL) == RAM &&
	    run->fault.cause == EHWPOISON)
		return true;
	ktap_note("exit %u gpa %#llx cause %u", run->exit_reason,
		  (unsigned long long)run->fault.gpa, run->fault.cause);
	return false;
}

static void on_bus(int sig)
{
}

int main(void)
{
	struct hv_slot s = { .id = 1, .gpa = RAM, .size = 4 * MIB };
	struct sigaction sa = { .sa_handler = on_bus };

	testvm_open(&t);
	sigaction(SIGBUS, &sa, NULL);
	ram = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(ram, 4 * MIB, MADV_NOHUGEPAGE);
	ram[4 * MIB - 1] = 1;
	if (madvise(ram + 4 * MIB - 4096, 4096, MADV_HWPOISON))
		ktap_skip_all("the host cannot poison pages");
	ktap_plan(4);
	testvm_create(&t, 2 * MIB, 1);
	s.hva = (uintptr_t)ram;
	hv_set_slots(t.vm, &s, 1);
	begin(count, count_end);
	progress();
	ktap_check(!madvise(ram, 4096, MADV_HWPOISON) && poisoned(), "a page written to goes bad");
	begin(NULL, NULL);
	ktap_check(poisoned(), "and stays so when run again");
	begin(load, load_end);
	ktap_check(poisoned(), "also for reads");
	mmap(ram, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	begin(NULL, NULL);
	progress();
	ktap_check(!atomic_load(&ended), "replaced, the guest goes on");
	hv_vcpu_kick(t.vcpu[0]);
	pthread_join(thread, NULL);
	testvm_destroy(&t);
	return ktap_finish();
}
