// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/hv_mmu.c, hv_slots.c: several vCPUs count in memory while threads of the host do to it
 * whatever keeps its contents: page it out, collapse and split it, move it away and back, fork,
 * change its protection, change the slots.  Not one increment may be lost, and with the flush
 * checker on (contract 13) none of it may leave a stale translation behind.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define MIB	(1UL << 20)
#define RAM	(64 * MIB)
#define LEN	(4 * MIB)
#define VCPUS	3
#define STRIDE	VCPUS		/* vCPU n counts in pages n, n + 3, n + 6, ... */
#define PAGES	(LEN >> 12)
#define SECONDS	20		/* at least */
#define LIMIT	90		/* until every vCPU has done some laps */

/* Increments word RDI of every third page from RBX up to RCX; laps at RDX. */
GUEST_CODE(count,
	   "1: mov %rbx, %rsi\n"
	   "2: incq (%rsi)\n add $12288, %rsi\n cmp %rcx, %rsi\n jb 2b\n"
	   "incq (%rdx)\n jmp 1b\n");

static struct testvm t;
static uint8_t *ram, *away;
static atomic_int stopping;
static atomic_long odd, events[8], faults;
static pthread_mutex_t maps = PTHREAD_MUTEX_INITIALIZER;

static void *runner(void *arg)
{
	struct hv_vcpu *v = arg;
	int err;

	while (!atomic_load(&stopping)) {
		err = hv_vcpu_run(v);
		switch (v->run->exit_reason) {
		case HV_EXIT_MEMORY_FAULT:	/* moved away or protected just now */
		case HV_EXIT_MMIO:		/* read-only just now */
			atomic_fetch_add(&faults, 1);
			usleep(100);
			/* fall through */
		case HV_EXIT_NONE:
		case HV_EXIT_KICK:
		case HV_EXIT_SIGNAL:
			if (!err || err == -EINTR)
				continue;
		}
		ktap_note("vCPU %u: %d, exit %u", v->id, err, v->run->exit_reason);
		atomic_fetch_add(&odd, 1);
		break;
	}
	return NULL;
}

static bool all_lapped(void)
{
	int i;

	for (i = 0; i < VCPUS; i++)
		if (*(volatile uint64_t *)(t.mem + 0x20000 + 64 * i) < 3)
			return false;
	return true;
}

static unsigned int below(unsigned int *seed, unsigned int n)
{
	return rand_r(seed) % n;
}

static void set_slot(uint32_t flags)
{
	struct hv_slot s = { .id = 1, .flags = flags, .gpa = RAM, .size = LEN,
			     .hva = (uintptr_t)ram };

	if (hv_set_slots(t.vm, &s, 1))
		atomic_fetch_add(&odd, 1);
}

/* The slots, and the log of them. */
static void *slots_thread(void *arg)
{
	static uint64_t bits[PAGES / 64];
	unsigned int seed = 1;

	while (!atomic_load(&stopping)) {
		switch (below(&seed, 4)) {
		case 0:
			set_slot(HV_SLOT_READONLY);
			break;
		case 1:
			set_slot(HV_SLOT_LOG_DIRTY);
			hv_get_dirty(t.vm, 1, 0, PAGES, bits, true);
			usleep(1000);
			hv_get_dirty(t.vm, 1, 0, PAGES, bits, true);
			break;
		case 2:
			hv_prefault(t.vm, RAM + below(&seed, PAGES) * 4096UL, 4096, true);
			break;
		}
		set_slot(0);
		atomic_fetch_add(&events[0], 1);
		usleep(below(&seed, 60000));
	}
	return NULL;
}

static void forked(void)
{
	pid_t pid = fork();

	if (!pid) {
		volatile uint8_t *p = ram;
		unsigned long i;

		for (i = 0; i < LEN; i += 65536)
			p[i + 2000] = 1;
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void *host_thread(void *arg)
{
	unsigned int seed = (uintptr_t)arg, what;
	unsigned long first, len;

	while (!atomic_load(&stopping)) {
		what = below(&seed, 7);
		first = below(&seed, PAGES);
		len = 1 + below(&seed, PAGES - first);
		first <<= 12;
		len <<= 12;
		switch (what) {
		case 0:
			madvise(ram + first, len, MADV_PAGEOUT);
			break;
		case 1:
			pthread_mutex_lock(&maps);
			madvise(ram, LEN, MADV_HUGEPAGE);
			pthread_mutex_unlock(&maps);
			madvise(ram, LEN, MADV_COLLAPSE);
			break;
		case 2:
			madvise(ram + first, len, MADV_COLD);
			break;
		case 3:
			pthread_mutex_lock(&maps);
			mprotect(ram + first, len, below(&seed, 2) ? PROT_READ : PROT_NONE);
			mprotect(ram, LEN, PROT_READ | PROT_WRITE);
			pthread_mutex_unlock(&maps);
			break;
		case 4:
			pthread_mutex_lock(&maps);
			/* Refused while advice about a part makes it several mappings. */
			madvise(ram, LEN, MADV_HUGEPAGE);
			if (mremap(ram, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, away) != away)
				what = 0;
			else if (mremap(away, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, ram) != ram)
				ktap_bail("mremap: %s", strerror(errno));
			pthread_mutex_unlock(&maps);
			break;
		case 5:
			pthread_mutex_lock(&maps);
			forked();
			pthread_mutex_unlock(&maps);
			break;
		case 6:
			pthread_mutex_lock(&maps);
			madvise(ram + first, len, MADV_NOHUGEPAGE);
			pthread_mutex_unlock(&maps);
			break;
		}
		atomic_fetch_add(&events[what + 1], 1);
		usleep(below(&seed, 60000));
	}
	return NULL;
}

int main(void)
{
	pthread_t th[VCPUS + 3];
	uint64_t lap, bad = 0, p, n;
	FILE *f;
	int i;

	testvm_open(&t);
	ktap_plan(2);
	f = fopen("/sys/module/hv/parameters/debug_flush", "w");
	if (f) {
		fputs("1", f);
		fclose(f);
	}
	testvm_create(&t, 2 * MIB, VCPUS);
	ram = mmap(NULL, 4 * LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ram = (void *)(((uintptr_t)ram + 2 * MIB - 1) & ~(2 * MIB - 1));
	away = ram + 2 * LEN;
	mmap(ram, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	set_slot(0);
	testvm_code(&t, TVM_CODE, count, count_end);
	for (i = 0; i < VCPUS; i++) {
		testvm_long(&t, i, TVM_CODE);
		hv_vcpu_regs(t.vcpu[i])->gpr[HV_RBX] = RAM + 4096 * i;
		hv_vcpu_regs(t.vcpu[i])->gpr[HV_RCX] = RAM + LEN;
		hv_vcpu_regs(t.vcpu[i])->gpr[HV_RDX] = 0x20000 + 64 * i;
		hv_vcpu_mark_dirty(t.vcpu[i], HV_GROUP(HV_GROUP_REGS));
		pthread_create(&th[i], NULL, runner, t.vcpu[i]);
	}
	pthread_create(&th[i++], NULL, slots_thread, NULL);
	pthread_create(&th[i++], NULL, host_thread, (void *)7);
	pthread_create(&th[i++], NULL, host_thread, (void *)11);
	for (n = 0; n < LIMIT && (n < SECONDS || !all_lapped()); n++)
		sleep(1);
	atomic_store(&stopping, 1);
	hv_vm_kick(t.vm);
	while (i--)
		pthread_join(th[i], NULL);

	for (i = 0; i < VCPUS; i++) {
		lap = *(uint64_t *)(t.mem + 0x20000 + 64 * i);
		for (p = i; p < PAGES; p += STRIDE) {
			n = *(uint64_t *)(ram + (p << 12));
			bad += n != lap && n != lap + 1;
		}
		ktap_note("vCPU %d: %llu laps", i, (unsigned long long)lap);
		bad += !lap;
	}
	ktap_note("slots %ld pageout %ld collapse %ld cold %ld mprotect %ld mremap %ld fork %ld split %ld, exits %ld",
		  events[0], events[1], events[2], events[3], events[4], events[5], events[6],
		  events[7], faults);
	ktap_check(!odd, "no exit but those of the changes (%ld)", odd);
	ktap_check(!bad, "no increment lost (%llu pages off)", (unsigned long long)bad);
	testvm_destroy(&t);
	return ktap_finish();
}
