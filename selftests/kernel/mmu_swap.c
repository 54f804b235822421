// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/hv_mmu.c: guest memory is swapped out and in while the guest uses it.  The program puts
 * itself into a memory cgroup smaller than the guest and swaps to a zram device.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#define MIB	(1UL << 20)
#define RAM	(64 * MIB)
#define LEN	(8 * MIB)
#define PAGES	(LEN >> 12)
#define LIMIT	"6M"
#define GROUP	"/sys/fs/cgroup/hv_mmu_swap"

/* Increments the first word of each of RCX pages at RBX, RDI times over; then reports. */
GUEST_CODE(count,
	   "1: xor %edx, %edx\n mov %rbx, %rsi\n"
	   "2: incq (%rsi)\n mov (%rsi), %rax\n cmp %rax, 8(%rsi)\n je 3f\n"
	   "3: add $4096, %rsi\n inc %rdx\n cmp %rcx, %rdx\n jb 2b\n"
	   "dec %rdi\n jnz 1b\n"
	   "out %eax, $0x10\n");

static struct testvm t;
static uint8_t *ram;

static int put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	int bad;

	if (!f)
		return -1;
	bad = fputs(text, f) < 0;
	return fclose(f) || bad ? -1 : 0;
}

static unsigned long swapped_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long val = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmSwap: %lu", &val) == 1)
			break;
	if (f)
		fclose(f);
	return val;
}

static const char *set_up(void)
{
	char pid[32];

	if (system("grep -q zram /proc/swaps || { modprobe zram && "
		   "echo 256M >/sys/block/zram0/disksize && mkswap /dev/zram0 && "
		   "swapon /dev/zram0; } >/dev/null 2>&1"))
		return "no zram to swap to";
	put_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(GROUP, 0755) && errno != EEXIST)
		return "no cgroup can be made";
	if (put_file(GROUP "/memory.max", LIMIT) || put_file(GROUP "/memory.swap.max", "max"))
		return "no memory controller";
	snprintf(pid, sizeof(pid), "%d", getpid());
	if (put_file(GROUP "/cgroup.procs", pid))
		return "cannot enter the cgroup";
	return NULL;
}

static void go(uint64_t laps)
{
	testvm_code(&t, TVM_CODE, count, count_end);
	testvm_long(&t, 0, TVM_CODE);
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RBX] = RAM;
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RCX] = PAGES;
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RDI] = laps;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	testvm_expect(&t, 0, HV_EXIT_IO);
}

static uint64_t wrong(uint64_t want)
{
	uint64_t p, bad = 0;

	for (p = 0; p < PAGES; p++)
		bad += *(uint64_t *)(ram + (p << 12)) != want ||
		       *(uint64_t *)(ram + (p << 12) + 4088) != p * 0x9e3779b97f4a7c15UL;
	return bad;
}

static atomic_int done;

/* Reclaim beside the running guest, all of it again and again. */
static void *reclaimer(void *arg)
{
	while (!atomic_load(&done)) {
		madvise(ram, LEN, MADV_PAGEOUT);
		usleep(20000);
	}
	return NULL;
}

static void *runner(void *arg)
{
	int err;

	do {
		err = hv_vcpu_run(t.vcpu[0]);
	} while (!err && t.vcpu[0]->run->exit_reason == HV_EXIT_NONE);
	return NULL;
}

static unsigned int present(uint64_t first, uint64_t n)
{
	FILE *f = fopen("/proc/self/pagemap", "r");
	unsigned int count = 0;
	uint64_t entry;

	if (!f)
		return 0;
	fseek(f, (((uintptr_t)ram >> 12) + first) * 8, SEEK_SET);
	while (n-- && fread(&entry, 8, 1, f) == 1)
		count += entry >> 63;
	fclose(f);
	return count;
}

/* Give back about 3 MiB; before 5.19 by a limit below what is used. */
static int reclaim(void)
{
	if (!access(GROUP "/memory.reclaim", W_OK))
		return put_file(GROUP "/memory.reclaim", "3M");
	return put_file(GROUP "/memory.high", "5M") || put_file(GROUP "/memory.high", "max");
}

/* The guest has counted in each of the pages it uses since the host last looked. */
static void await_lap(void)
{
	volatile uint64_t *first = (void *)ram, *last = (void *)(ram + ((PAGES / 2 - 1) << 12));
	uint64_t f = *first, l = *last;

	while (*first < f + 2 || *last < l + 2)
		sched_yield();
}

/* Of pages that only the guest uses the host learns by the notifier's ageing callbacks. */
static void ageing(void)
{
	unsigned int used, idle;
	pthread_t th;
	int err;

	put_file(GROUP "/memory.max", "max");
	testvm_code(&t, TVM_CODE, count, count_end);
	testvm_long(&t, 0, TVM_CODE);
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RBX] = RAM;
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RCX] = PAGES / 2;
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RDI] = -1UL;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	wrong(0);			/* all of it back in */
	pthread_create(&th, NULL, runner, NULL);
	await_lap();
	madvise(ram, LEN, MADV_COLD);
	await_lap();
	err = reclaim();
	used = present(0, PAGES / 2);
	idle = present(PAGES / 2, PAGES / 2);
	hv_vcpu_kick(t.vcpu[0]);
	pthread_join(th, NULL);
	if (err && used + idle == PAGES)
		ktap_skip("ageing", "the host cannot be told to reclaim");
	else
		/* Without them those in use would go first, for their addresses are the lower ones. */
		ktap_check((PAGES / 2 - idle) * 2 > (PAGES / 2 - used) * 3,
			   "ageing: of what the guest uses %u pages stay, of the rest %u", used, idle);
}

int main(void)
{
	struct hv_slot s = { .id = 1, .gpa = RAM, .size = LEN };
	const char *why;
	unsigned long out;
	pthread_t th;
	uint64_t p;

	testvm_open(&t);
	why = set_up();
	if (why)
		ktap_skip_all(why);
	ktap_plan(6);
	testvm_create(&t, 2 * MIB, 1);
	ram = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	s.hva = (uintptr_t)ram;
	hv_set_slots(t.vm, &s, 1);
	for (p = 0; p < PAGES; p++)
		*(uint64_t *)(ram + (p << 12) + 4088) = p * 0x9e3779b97f4a7c15UL;
	go(1);
	out = swapped_kib();
	ktap_check(out > 1 << 10, "a guest larger than its cgroup: %lu KiB in swap", out);
	go(2);
	ktap_check(!wrong(3), "three laps over all of it, every word right");
	madvise(ram, LEN, MADV_PAGEOUT);
	out = swapped_kib();
	ktap_check(out > 4 << 10, "paged out at rest: %lu KiB in swap", out);
	go(1);
	ktap_check(!wrong(4), "and all of it came back");
	pthread_create(&th, NULL, reclaimer, NULL);
	go(2);
	atomic_store(&done, 1);
	pthread_join(th, NULL);
	ktap_check(!wrong(6), "reclaimed while it runs, nothing lost");
	ageing();
	testvm_destroy(&t);
	put_file("/sys/fs/cgroup/cgroup.procs", "0");
	rmdir(GROUP);
	if (system("swapoff /dev/zram0 2>/dev/null; echo 1 >/sys/block/zram0/reset"))
		ktap_note("the swap device stays");
	return ktap_finish();
}
