// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/hv_slots.c: the dirty log.  What is reported when, and the invariant that migration rests
 * on: a copy kept up by harvests while the guest writes is, after the last one, the memory.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include "ktap.h"
#include "lib/testvm.h"

#define MIB	(1UL << 20)
#define RAM	(64 * MIB)
#define PAGES	1000UL			/* not a multiple of 64 */
#define SIZE	(PAGES << 12)
#define WORDS	((PAGES + 63) / 64)
#define HARVESTS 200

/* Writes RCX to (%rbx), then reads it back. */
GUEST_CODE(store, "mov %rcx, (%rbx)\n out %eax, $0x10\n");
/* For ever: next value to a pseudo-random page of RCX pages at RBX, anywhere in it. */
GUEST_CODE(scribble,
	   "mov $88172645463325252, %r8\n"
	   "1: mov %r8, %rax\n shl $13, %rax\n xor %rax, %r8\n"
	   "mov %r8, %rax\n shr $7, %rax\n xor %rax, %r8\n"
	   "mov %r8, %rax\n shl $17, %rax\n xor %rax, %r8\n"
	   "mov %r8, %rax\n xor %edx, %edx\n div %rcx\n"
	   "shl $12, %rdx\n mov %r8, %rax\n shr $40, %rax\n and $0xff8, %eax\n"
	   "add %rax, %rdx\n add %rbx, %rdx\n"
	   "mov %r8, (%rdx)\n incq 0x20000\n jmp 1b\n");

/* A store to each of RCX pages at RBX, without leaving the guest. */
GUEST_CODE(sweep, "1: incq (%rbx)\n add $0x1000, %rbx\n dec %rcx\n jnz 1b\n out %eax, $0x10\n");

static struct testvm t;
static uint8_t *ram, *copy;
static uint64_t log_bits[WORDS];

static int set(uint32_t flags)
{
	struct hv_slot s = { .id = 1, .flags = flags, .gpa = RAM, .size = SIZE,
			     .hva = (uintptr_t)ram };

	return hv_set_slots(t.vm, &s, 1);
}

static void guest(const uint8_t *start, const uint8_t *end, uint64_t page, uint64_t rcx)
{
	testvm_code(&t, TVM_CODE, start, end);
	testvm_long(&t, 0, TVM_CODE);
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RBX] = RAM + (page << 12);
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RCX] = rcx;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
}

static void guest_write(uint64_t page)
{
	guest(store, store_end, page, page + 1);
	testvm_expect(&t, 0, HV_EXIT_IO);
}

static int harvest(bool clear)
{
	memset(log_bits, 0xff, sizeof(log_bits));
	return hv_get_dirty(t.vm, 1, 0, PAGES, log_bits, clear);
}

static bool reported(uint64_t page)
{
	return log_bits[page / 64] >> (page % 64) & 1;
}

static unsigned int count(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < WORDS; i++)
		n += __builtin_popcountll(log_bits[i]);
	return n;
}

static void reports(void)
{
	uint64_t part[2] = { ~0ULL, ~0ULL };

	ktap_check(set(0) == 0 && harvest(false) == -ENOENT, "no log, no report");
	guest_write(3);
	ktap_check(set(HV_SLOT_LOG_DIRTY) == 0 && harvest(false) == 0 && count() == 0,
		   "a new log is empty");
	guest_write(3);			/* mapped writable before the log began */
	guest_write(70);
	guest_write(PAGES - 1);
	ktap_check(harvest(false) == 0 && count() == 3 && reported(3) && reported(70) &&
		   reported(PAGES - 1), "three pages written, %u reported", count());
	ktap_check(harvest(true) == 0 && count() == 3, "looking did not clear");
	ktap_check(harvest(true) == 0 && count() == 0, "clearing did");
	guest_write(70);
	ktap_check(harvest(false) == 0 && count() == 1 && reported(70), "written again, reported again");

	guest_write(127);
	guest_write(128);
	ktap_check(hv_get_dirty(t.vm, 1, 64, 66, part, true) == 0 && part[0] == (1ULL << 6 | 1ULL << 63) &&
		   part[1] == 1, "a part: %#llx %#llx", (unsigned long long)part[0],
		   (unsigned long long)part[1]);
	guest_write(131);
	ktap_check(hv_get_dirty(t.vm, 1, 64, 66, part, true) == 0 && !part[0] && !part[1] &&
		   harvest(true) == 0 && count() == 1 && reported(131),
		   "bits behind the part stay");
	ktap_check(hv_get_dirty(t.vm, 1, 32, 64, part, false) == -EINVAL &&
		   hv_get_dirty(t.vm, 1, 0, PAGES + 1, log_bits, false) == -EINVAL &&
		   hv_get_dirty(t.vm, 1, 1024, 1, part, false) == -EINVAL &&
		   hv_get_dirty(t.vm, 1, 0, 0, part, false) == -EINVAL &&
		   hv_get_dirty(t.vm, 5, 0, 64, part, false) == -ENOENT, "wrong ranges");
	guest_write(5);
	ktap_check(hv_get_dirty(t.vm, 1, 0, PAGES, (void *)8, true) == -EFAULT &&
		   harvest(true) == 0 && count() == 1 && reported(5),
		   "a failed call forgets nothing");
	guest_write(6);
	ktap_check(set(HV_SLOT_LOG_DIRTY) == 0 && harvest(true) == 0 && count() == 1 && reported(6),
		   "setting the slot again keeps the log");
	ktap_check(set(0) == 0 && set(HV_SLOT_LOG_DIRTY) == 0 && harvest(false) == 0 && !count(),
		   "a log ended and begun is empty");
}

/* More pages between two exits than any log of the CPU's holds. */
static void sweeps(void)
{
	bool pml = t.info.hw_features & HV_HW_PML;
	struct hv_stats before, after;
	int i;

	guest(sweep, sweep_end, 0, PAGES);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(harvest(true) == 0 && count() == PAGES, "every page written: %u reported", count());
	for (i = 0; i < 2; i++) {
		guest(sweep, sweep_end, 0, PAGES - 1);
		hv_get_stats(t.vm, 0, &before);
		testvm_expect(&t, 0, HV_EXIT_IO);
		hv_get_stats(t.vm, 0, &after);
		ktap_check(harvest(true) == 0 && count() == PAGES - 1 && !reported(PAGES - 1),
			   "all but one again: %u", count());
	}
	i = after.counter[HV_STAT_NPF] - before.counter[HV_STAT_NPF];
	ktap_check(pml ? i < 10 : i >= (int)PAGES - 1, "with %d faults, %s", i,
		   pml ? "for the CPU logs them" : "one for each");
}

static void *runner(void *arg)
{
	int err;

	do {
		err = hv_vcpu_run(t.vcpu[0]);
	} while (!err && t.vcpu[0]->run->exit_reason == HV_EXIT_NONE);
	return NULL;
}

static void copy_reported(void)
{
	uint64_t p;

	for (p = 0; p < PAGES; p++)
		if (reported(p))
			memcpy(copy + (p << 12), ram + (p << 12), 4096);
}

static void migrate(const char *what)
{
	volatile uint64_t *n = (void *)(t.mem + 0x20000);
	unsigned long total = 0;
	int i, err = 0;
	uint64_t p, bad = 0, seen;
	pthread_t th;

	set(0);
	set(HV_SLOT_LOG_DIRTY);
	memcpy(copy, ram, SIZE);
	guest(scribble, scribble_end, 0, PAGES);
	pthread_create(&th, NULL, runner, NULL);
	for (i = 0; i < HARVESTS; i++) {
		seen = *n;
		while (*n < seen + 20)
			sched_yield();
		err |= harvest(true);
		total += count();
		copy_reported();
	}
	hv_vcpu_kick(t.vcpu[0]);
	pthread_join(th, NULL);
	err |= harvest(true);
	copy_reported();
	for (p = 0; p < PAGES; p++)
		bad += memcmp(copy + (p << 12), ram + (p << 12), 4096) != 0;
	ktap_check(!err && !bad && total > HARVESTS,
		   "%s: %d harvests of %lu pages beside the guest, %llu pages differ", what, HARVESTS,
		   total, (unsigned long long)bad);
}

int main(void)
{
	testvm_open(&t);
	ktap_plan(18);
	/* Aligned so that the host may use huge pages under the log. */
	ram = mmap(NULL, 6 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ram = (void *)(((uintptr_t)ram + 2 * MIB - 1) & ~(2 * MIB - 1));
	copy = malloc(SIZE);
	testvm_create(&t, 2 * MIB, 1);
	reports();
	sweeps();
	migrate("small pages");
	madvise(ram, 4 * MIB, MADV_DONTNEED);
	madvise(ram, 4 * MIB, MADV_HUGEPAGE);
	memset(ram, 0, SIZE);
	migrate("huge pages");
	testvm_destroy(&t);
	return ktap_finish();
}
