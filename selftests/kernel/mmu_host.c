// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/hv_mmu.c: guest memory is ordinary process memory.  What the host does to it under a
 * running vCPU the guest sees at once, and an access without backing is an exit (contract 6).
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define MIB	(1UL << 20)
#define RAM	(64 * MIB)
#define LEN	(4 * MIB)
#define LAPS	0x20000

/* Increments the first word of each of RCX pages at RBX, round and round; laps at LAPS. */
GUEST_CODE(count,
	   "1: xor %edx, %edx\n mov %rbx, %rsi\n"
	   "2: incq (%rsi)\n add $4096, %rsi\n inc %rdx\n cmp %rcx, %rdx\n jb 2b\n"
	   "incq 0x20000\n jmp 1b\n");
GUEST_CODE(look, "1: mov (%rbx), %rax\n incq 0x20000\n jmp 1b\n");
GUEST_CODE(load, "mov (%rbx), %rax\n out %eax, $0x10\n");

static struct testvm t;
static uint8_t *ram;		/* LEN bytes, 2 MiB aligned, slot 1 */
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

static uint64_t laps(void)
{
	return *(volatile uint64_t *)(t.mem + LAPS);
}

/* Waits for n more laps; false if the run ended. */
static bool progress(unsigned int n)
{
	uint64_t from = laps();

	while (laps() < from + n) {
		if (atomic_load(&ended))
			return false;
		sched_yield();
	}
	return true;
}

static void start(const uint8_t *code, const uint8_t *end, uint64_t pages)
{
	testvm_code(&t, TVM_CODE, code, end);
	testvm_long(&t, 0, TVM_CODE);
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RBX] = RAM;
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RCX] = pages;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	atomic_store(&ended, 0);
	pthread_create(&thread, NULL, runner, NULL);
}

static void resume(void)
{
	atomic_store(&ended, 0);
	pthread_create(&thread, NULL, runner, NULL);
}

/* Ends a run that goes on, and says whether it did. */
static bool stop(void)
{
	bool was = !atomic_load(&ended);

	if (was)
		hv_vcpu_kick(t.vcpu[0]);
	pthread_join(thread, NULL);
	if (!was)
		ktap_note("exit %u (%s)", t.vcpu[0]->run->exit_reason,
			  hv_exit_name(t.vcpu[0]->run->exit_reason));
	return was;
}

/* An increment: some CPUs report its read, some its write. */
#define ANY	(HV_ACCESS_READ | HV_ACCESS_WRITE)

/* Waits for the run to end by itself, by a memory fault of this kind. */
static bool faulted(uint64_t gpa, uint32_t access, uint32_t cause)
{
	struct hv_run *run = t.vcpu[0]->run;
	int i;

	for (i = 0; i < 5000 && !atomic_load(&ended); i++)
		usleep(1000);
	if (!atomic_load(&ended)) {
		ktap_note("no exit, %llu laps", (unsigned long long)laps());
		stop();
		return false;
	}
	pthread_join(thread, NULL);
	if (run->exit_reason == HV_EXIT_MEMORY_FAULT && (run->fault.gpa & ~0xfffUL) == gpa &&
	    (run->fault.access & access) && run->fault.cause == cause)
		return true;
	ktap_note("exit %u gpa %#llx access %#x cause %u", run->exit_reason,
		  (unsigned long long)run->fault.gpa, run->fault.access, run->fault.cause);
	return false;
}

static volatile uint64_t *word(unsigned long page)
{
	return (uint64_t *)(ram + (page << 12));
}

static void slot(void)
{
	struct hv_slot s = { .id = 1, .gpa = RAM, .size = LEN, .hva = (uintptr_t)ram };
	int err = hv_set_slots(t.vm, &s, 1);

	if (err)
		ktap_bail("slot: %s", strerror(-err));
}

static void fresh(int madvice)
{
	void *p = mmap(ram, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		       0);

	if (p != ram)
		ktap_bail("mmap: %s", strerror(errno));
	madvise(ram, LEN, madvice);
}

static void dontneed(void)
{
	uint64_t lap, count_now, bad = 0;
	int i;

	fresh(MADV_NOHUGEPAGE);
	start(count, count_end, 1);
	for (i = 0; i < 20; i++) {
		while (*word(0) < 500000 && progress(1000))
			;
		lap = laps();
		madvise(ram, 4096, MADV_DONTNEED);
		/* The page is new: it cannot have counted more laps than there were since. */
		count_now = *word(0);
		bad += count_now > laps() - lap + 1;
		bad += !progress(3) || !*word(0);
	}
	ktap_check(stop() && !bad, "MADV_DONTNEED: the guest goes on in a new page (%llu wrong)",
		   (unsigned long long)bad);
}

static void forked(void)
{
	uint64_t before, after;
	int status = -1;
	pid_t pid;

	fresh(MADV_NOHUGEPAGE);
	start(count, count_end, 16);
	progress(10);
	pid = fork();
	if (!pid) {
		before = *word(3);
		usleep(300000);
		_exit(*word(3) != before);
	}
	before = *word(3);
	progress(10);
	after = *word(3);
	waitpid(pid, &status, 0);
	ktap_check(after > before && !status, "fork: the child's copy stands still, ours goes on");
	ktap_check(stop(), "and the guest did not notice");
}

static void protect(void)
{
	uint64_t v;

	fresh(MADV_NOHUGEPAGE);
	start(count, count_end, 2);
	progress(10);
	mprotect(ram + 4096, 4096, PROT_NONE);
	ktap_check(faulted(RAM + 4096, ANY, EFAULT), "PROT_NONE: memory fault");
	resume();
	ktap_check(faulted(RAM + 4096, ANY, EFAULT), "again when run again");
	mprotect(ram + 4096, 4096, PROT_READ);
	resume();
	ktap_check(faulted(RAM + 4096, HV_ACCESS_WRITE, EFAULT), "PROT_READ: a write faults");
	v = *word(1);
	mprotect(ram + 4096, 4096, PROT_READ | PROT_WRITE);
	resume();
	ktap_check(progress(10) && *word(1) > v && stop(), "writable again, the guest goes on");

	start(look, look_end, 0);
	progress(10);
	mprotect(ram, 4096, PROT_READ);
	ktap_check(progress(10) && stop(), "PROT_READ: reads go on");
	mprotect(ram, 4096, PROT_READ | PROT_WRITE);
}

static void unmap(void)
{
	void *away;
	uint64_t v;

	fresh(MADV_NOHUGEPAGE);
	start(count, count_end, 1);
	progress(10);
	munmap(ram, LEN);
	ktap_check(faulted(RAM, ANY, EFAULT), "munmap: memory fault");
	fresh(MADV_NOHUGEPAGE);
	resume();
	ktap_check(progress(3) && *word(0) && stop(), "mapped anew, it goes on in the new memory");

	resume();
	progress(10);
	away = mmap(NULL, LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	away = mremap(ram, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, away);
	v = *(volatile uint64_t *)away;
	while (!atomic_load(&ended))
		usleep(1000);
	pthread_join(thread, NULL);
	ktap_check(away != MAP_FAILED && t.vcpu[0]->run->exit_reason == HV_EXIT_MEMORY_FAULT &&
		   *(volatile uint64_t *)away == v, "mremap: the pages are out of its reach");
	munmap(away, LEN);
}

static void truncated(void)
{
	int fd = memfd_create("mmu_host", 0);

	if (fd < 0 || ftruncate(fd, LEN) ||
	    mmap(ram, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != ram)
		ktap_bail("memfd: %s", strerror(errno));
	start(count, count_end, 3);
	progress(10);
	ktap_check(!ftruncate(fd, 8192) && faulted(RAM + 8192, ANY, EFAULT),
		   "ftruncate: memory fault beyond the end");
	ktap_check(*word(0) > 0 && !ftruncate(fd, LEN), "what is before it is still there");
	resume();
	ktap_check(progress(3) && stop() && *word(2) < *word(0), "grown again, it goes on with zeroes");

	/* A shared file page is mapped read-only first, and dirty when written. */
	start(look, look_end, 0);
	ktap_check(progress(3) && stop(), "reads of a shared mapping");
	close(fd);
	fresh(MADV_NOHUGEPAGE);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

static long read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	long val = -1;

	if (f) {
		if (fscanf(f, "%ld", &val) != 1)
			val = -1;
		fclose(f);
	}
	return val;
}

static void merged(void)
{
	unsigned int i;

	if (read_file("/sys/kernel/mm/ksm/run") < 0) {
		ktap_skip("KSM", "the host's kernel has none");
		return;
	}
	fresh(MADV_NOHUGEPAGE);
	for (i = 0; i < 512; i++)
		memset(ram + 4096 * i, 0x5a, 4096);
	madvise(ram, 2 * MIB, MADV_MERGEABLE);
	hv_prefault(t.vm, RAM, 2 * MIB, true);
	write_file("/sys/kernel/mm/ksm/pages_to_scan", "5000");
	write_file("/sys/kernel/mm/ksm/sleep_millisecs", "10");
	write_file("/sys/kernel/mm/ksm/run", "1");
	for (i = 0; i < 100 && read_file("/sys/kernel/mm/ksm/pages_sharing") < 400; i++)
		usleep(100000);
	start(look, look_end, 0);
	progress(10);
	stop();
	start(count, count_end, 100);
	ktap_check(progress(3) && stop() && *word(0) > 0x5a5a5a5a5a5a5a5aUL && i < 100 &&
		   *word(100) == 0x5a5a5a5a5a5a5a5aUL && *word(511) == 0x5a5a5a5a5a5a5a5aUL,
		   "KSM: written pages part, the others stay shared");
	write_file("/sys/kernel/mm/ksm/run", "2");
	write_file("/sys/kernel/mm/ksm/run", "0");
	madvise(ram, 2 * MIB, MADV_UNMERGEABLE);
}

static uint64_t leaves(int stat)
{
	struct hv_stats st = { 0 };

	hv_get_stats(t.vm, HV_STATS_VM, &st);
	return st.counter[stat];
}

static void huge(void)
{
	int i, collapsed = 0;
	uint64_t p, bad = 0, n;

	fresh(MADV_NOHUGEPAGE);
	*(volatile uint64_t *)(t.mem + LAPS) = 0;
	start(count, count_end, 1024);
	progress(2);
	ktap_check(leaves(HV_STAT_MAPPED_4K) >= 1024, "1024 pages touched: %llu 4K leaves",
		   (unsigned long long)leaves(HV_STAT_MAPPED_4K));
	madvise(ram, LEN, MADV_HUGEPAGE);
	if (madvise(ram, LEN, MADV_COLLAPSE)) {
		ktap_skip("collapse", "MADV_COLLAPSE fails here");
	} else {
		progress(2);
		n = leaves(HV_STAT_MAPPED_2M);
		ktap_check(n >= 2, "collapsed: %llu 2M leaves", (unsigned long long)n);
		for (; collapsed < 50 && progress(1); collapsed++) {
			/* A change of one page's access splits the huge page around it. */
			mprotect(ram + 5 * 4096, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
			mprotect(ram + 5 * 4096, 4096, PROT_READ | PROT_WRITE);
			progress(1);
			madvise(ram, LEN, MADV_COLLAPSE);
		}
	}
	stop();
	n = laps();
	for (p = 0; p < 1024; p++)
		bad += *word(p) != n && *word(p) != n + 1;
	ktap_check(!bad && n > 0, "%d splits and collapses under the guest, no count lost (%llu off)",
		   collapsed, (unsigned long long)bad);

	fresh(MADV_HUGEPAGE);
	memset(ram, 1, LEN);
	testvm_code(&t, TVM_CODE, load, load_end);
	testvm_long(&t, 0, TVM_CODE);
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RBX] = RAM;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	testvm_expect(&t, 0, HV_EXIT_IO);
	n = leaves(HV_STAT_MAPPED_2M);
	i = madvise(ram, 4096, MADV_DONTNEED);
	testvm_long(&t, 0, TVM_CODE);
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RBX] = RAM;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(!i && t.vcpu[0]->run->io.data == 0 && leaves(HV_STAT_MAPPED_2M) < n &&
		   ram[4096] == 1, "one page of a huge one dropped: reads zero, %llu then %llu 2M leaves",
		   (unsigned long long)n, (unsigned long long)leaves(HV_STAT_MAPPED_2M));
	ktap_check(hv_prefault(t.vm, RAM, LEN, true) == 0 && leaves(HV_STAT_MAPPED_2M) >= 1,
		   "prefault");
	ktap_check(hv_prefault(t.vm, RAM, LEN + 4096, false) == -EFAULT &&
		   hv_prefault(t.vm, RAM + 1, 4096, false) == -EINVAL, "prefault of what is not there");
	mprotect(ram, 4096, PROT_READ);
	ktap_check(hv_prefault(t.vm, RAM, 4096, true) == -EFAULT &&
		   hv_prefault(t.vm, RAM, 4096, false) == 0, "prefault for writing of what is read-only");
}

int main(void)
{
	uint8_t *p;

	testvm_open(&t);
	ktap_plan(23);
	testvm_create(&t, 2 * MIB, 1);
	p = mmap(NULL, LEN + 4 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ram = (uint8_t *)(((uintptr_t)p + 2 * MIB) & ~(2 * MIB - 1));
	slot();
	dontneed();
	forked();
	protect();
	unmap();
	truncated();
	merged();
	huge();
	testvm_destroy(&t);
	return ktap_finish();
}
