// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/hv_slots.c: what HV_SET_SLOTS refuses, read-only slots, and changes under a running vCPU,
 * among them a move that must not show a hole (contract 6).
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include "ktap.h"
#include "lib/testvm.h"

#define MIB	(1UL << 20)
#define ROM	(64 * MIB)
#define HIGH	(1UL << 31)
#define FAR	(1UL << 33)	/* beyond what the guest's own tables map */

/* Each reads or writes (%rbx) and reports RAX at port 0x10. */
GUEST_CODE(load, "mov (%rbx), %rax\n out %eax, $0x10\n");
GUEST_CODE(store, "mov %rcx, (%rbx)\n out %eax, $0x10\n");
/* Reads (%rbx) for ever; counts at 0x20000; leaves when it sees neither %rcx nor %rdx. */
GUEST_CODE(watch,
	   "1: mov (%rbx), %rax\n cmp %rcx, %rax\n je 2f\n cmp %rdx, %rax\n je 2f\n"
	   " out %eax, $0x11\n"
	   "2: incq 0x20000\n jmp 1b\n");

static struct testvm t;
static uint8_t *a, *b;		/* two regions of 4 MiB that are slots 1 and 2 */
static atomic_int stopped;

static uint32_t run_at(const uint8_t *code, const uint8_t *end, uint64_t rbx, uint64_t rcx,
		       uint64_t rdx)
{
	testvm_code(&t, TVM_CODE, code, end);
	testvm_long(&t, 0, TVM_CODE);
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RBX] = rbx;
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RCX] = rcx;
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RDX] = rdx;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	return testvm_run(&t, 0);
}

static int read_is(uint64_t gpa, uint32_t want)
{
	return run_at(load, load_end, gpa, 0, 0) == HV_EXIT_IO && t.vcpu[0]->run->io.data == want;
}

static int is_mmio(uint32_t reason, uint64_t gpa, uint32_t access)
{
	struct hv_run *run = t.vcpu[0]->run;

	if (reason == HV_EXIT_MMIO && run->mem.gpa == gpa && (run->mem.access & 7) == access &&
	    run->mem.insn_len >= 3)
		return 1;
	ktap_note("exit %u gpa %#llx access %#x bytes %d", reason,
		  (unsigned long long)run->mem.gpa, run->mem.access, run->mem.insn_len);
	return 0;
}

static int set(uint32_t id, uint32_t flags, uint64_t gpa, uint64_t size, void *hva)
{
	struct hv_slot s = { .id = id, .flags = flags, .gpa = gpa, .size = size,
			     .hva = (uintptr_t)hva };

	return hv_set_slots(t.vm, &s, 1);
}

static void refusals(void)
{
	struct hv_slot two[2] = {
		{ .id = 1, .gpa = HIGH, .size = MIB, .hva = (uintptr_t)a },
		{ .id = 1, .gpa = 2 * HIGH, .size = MIB, .hva = (uintptr_t)b },
	};
	uint64_t top = 1ULL << t.info.gpa_bits;

	ktap_check(set(1, 0, HIGH + 1, MIB, a) == -EINVAL, "gpa off a page");
	ktap_check(set(1, 0, HIGH, MIB + 1, a) == -EINVAL, "size off a page");
	ktap_check(set(1, 0, HIGH, MIB, a + 8) == -EINVAL, "hva off a page");
	ktap_check(set(1, 4, HIGH, MIB, a) == -EINVAL, "an unknown flag");
	ktap_check(set(t.info.max_slots, 0, HIGH, MIB, a) == -EINVAL, "an id out of range");
	ktap_check(set(1, 0, top, MIB, a) == -EINVAL && set(1, 0, top - 4096, 8192, a) == -EINVAL &&
		   set(1, 0, -MIB, 2 * MIB, a) == -EINVAL, "beyond the guest-physical space");
	ktap_check(set(1, 0, HIGH, MIB, (void *)0xffff888000000000UL) == -EFAULT &&
		   set(1, 0, HIGH, MIB, (void *)-MIB) == -EFAULT &&
		   set(1, 0, HIGH, 1UL << 30, (void *)(-1UL << 30)) == -EFAULT,
		   "an hva of the kernel's");
	ktap_check(set(1, 0, t.size - 4096, MIB, a) == -EINVAL &&
		   set(1, 0, 0x10000, 4096, a) == -EINVAL, "overlap with a slot");
	ktap_check(set(9, 0, 0, 0, NULL) == -ENOENT, "removing what is not there");
	ktap_check(hv_set_slots(t.vm, two, 2) == -EINVAL, "an id twice");
	two[1].id = 2;
	two[1].gpa = HIGH + MIB - 4096;
	ktap_check(hv_set_slots(t.vm, two, 2) == -EINVAL, "overlap within the list");
	two[1].gpa = HIGH + 1;
	ktap_check(hv_set_slots(t.vm, two, 2) == -EINVAL &&
		   is_mmio(run_at(load, load_end, HIGH, 0, 0), HIGH, HV_ACCESS_READ),
		   "a refused list changes nothing");
}

static void limit(void)
{
	struct hv_slot *s = calloc(t.info.max_slots, sizeof(*s));
	uint32_t i, n = t.info.max_slots;

	for (i = 0; i < n; i++)		/* slot 0 is the VM's memory */
		s[i] = (struct hv_slot){ .id = i, .gpa = HIGH + i * 2 * MIB, .size = 4096,
					 .hva = (uintptr_t)a + 4096 * i };
	s[0].gpa = 0;
	s[0].size = t.size;
	s[0].hva = (uintptr_t)t.mem;
	ktap_check(hv_set_slots(t.vm, s, n) == 0, "all %u slots", n);
	for (i = 1; i < n; i++)
		a[4096 * i] = i;
	for (i = 1; i < n; i++)
		if (!read_is(HIGH + i * 2 * MIB, i))
			break;
	ktap_check(i == n, "each is found (%u of %u)", i, n);
	for (i = 1; i < n; i++)
		s[i].size = 0;
	ktap_check(hv_set_slots(t.vm, s + 1, n - 1) == 0 &&
		   is_mmio(run_at(load, load_end, HIGH + 2 * MIB, 0, 0), HIGH + 2 * MIB,
			   HV_ACCESS_READ), "and removed as one change");
	memset(a, 0, 4096 * n);
	free(s);
}

static void read_only(void)
{
	a[0] = 77;
	ktap_check(set(1, HV_SLOT_READONLY, ROM, 4 * MIB, a) == 0 && read_is(ROM, 77),
		   "a read-only slot reads");
	ktap_check(is_mmio(run_at(store, store_end, ROM, 78, 0), ROM, HV_ACCESS_WRITE) &&
		   a[0] == 77, "a write to it is an MMIO exit");
	ktap_check(is_mmio(run_at(store, store_end, ROM + MIB, 1, 0), ROM + MIB, HV_ACCESS_WRITE) &&
		   a[MIB] == 0, "also to a page that was never read");
	ktap_check(set(1, 0, ROM, 4 * MIB, a) == 0 &&
		   run_at(store, store_end, ROM, 79, 0) == HV_EXIT_IO && a[0] == 79,
		   "made writable, it is written");
	ktap_check(set(1, HV_SLOT_READONLY, ROM, 4 * MIB, a) == 0 &&
		   is_mmio(run_at(store, store_end, ROM, 80, 0), ROM, HV_ACCESS_WRITE) && a[0] == 79,
		   "made read-only again, it is not");
	ktap_check(set(2, 0, HIGH, 4 * MIB, a) == 0 &&
		   run_at(store, store_end, HIGH + 8, 5, 0) == HV_EXIT_IO && read_is(ROM + 8, 5),
		   "the same memory at two addresses");
	ktap_check(set(1, 0, 0, 0, NULL) == 0 &&
		   is_mmio(run_at(load, load_end, ROM, 0, 0), ROM, HV_ACCESS_READ) &&
		   read_is(HIGH + 8, 5), "removing one leaves the other");
	ktap_check(set(2, 0, HIGH + MIB, 4 * MIB, a) == 0 && read_is(HIGH + MIB + 8, 5) &&
		   is_mmio(run_at(load, load_end, HIGH + 8, 0, 0), HIGH + 8, HV_ACCESS_READ),
		   "a moved slot is at its new place only");
	set(2, 0, 0, 0, NULL);
}

static void *watcher(void *arg)
{
	uint32_t reason;

	do {
		reason = hv_vcpu_run(t.vcpu[0]);
	} while (!reason && t.vcpu[0]->run->exit_reason == HV_EXIT_NONE);
	atomic_store(&stopped, 1);
	return NULL;
}

/* Slots 1 and 2 change places: at ROM there is always one of them. */
static void moves(void)
{
	struct hv_slot s[2] = {
		{ .id = 1, .gpa = ROM, .size = 4 * MIB, .hva = (uintptr_t)a },
		{ .id = 2, .gpa = HIGH, .size = 4 * MIB, .hva = (uintptr_t)b },
	};
	volatile uint64_t *count = (void *)(t.mem + 0x20000);
	uint64_t seen, gpa;
	int i, changed = 0, err = 0, stale = 0;
	pthread_t th;

	*(uint64_t *)a = 1111;
	*(uint64_t *)b = 2222;
	hv_set_slots(t.vm, s, 2);
	testvm_code(&t, TVM_CODE, watch, watch_end);
	testvm_long(&t, 0, TVM_CODE);
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RBX] = ROM;
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RCX] = 1111;
	hv_vcpu_regs(t.vcpu[0])->gpr[HV_RDX] = 2222;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	pthread_create(&th, NULL, watcher, NULL);
	for (i = 0; i < 300 && !atomic_load(&stopped); i++) {
		seen = *count;
		while (*count == seen && !atomic_load(&stopped))
			sched_yield();
		gpa = s[0].gpa;
		s[0].gpa = s[1].gpa;
		s[1].gpa = gpa;
		err |= hv_set_slots(t.vm, s, 2);
		changed++;
		/* What is no longer at ROM must not be read there once the call is back. */
		if (i % 10 == 0) {
			*(volatile uint64_t *)(s[0].gpa == ROM ? b : a) = 3333;
			seen = *count;
			while (*count < seen + 3 && !atomic_load(&stopped))
				sched_yield();
			stale |= atomic_load(&stopped);
			*(volatile uint64_t *)(s[0].gpa == ROM ? b : a) =
				s[0].gpa == ROM ? 2222 : 1111;
		}
	}
	ktap_check(!err && changed == 300 && !atomic_load(&stopped),
		   "a running vCPU sees no hole in %d moves", changed);
	if (atomic_load(&stopped))
		ktap_note("exit %u port %#x data %#x", t.vcpu[0]->run->exit_reason,
			  t.vcpu[0]->run->io.port, t.vcpu[0]->run->io.data);
	ktap_check(!stale, "nor the old memory after the call");
	hv_vcpu_kick(t.vcpu[0]);
	pthread_join(th, NULL);
}

/* Tables of addresses that are no longer used do not pile up. */
static void tables(void)
{
	struct hv_stats st = { 0 };
	uint64_t before, after;
	int i;

	set(1, 0, 0, 0, NULL);
	set(2, 0, 0, 0, NULL);
	hv_get_stats(t.vm, HV_STATS_VM, &st);
	before = st.counter[HV_STAT_TABLE_PAGES];
	for (i = 0; i < 50; i++) {
		set(1, 0, FAR * (i + 1), MIB, a);
		hv_prefault(t.vm, FAR * (i + 1), MIB, true);
	}
	hv_get_stats(t.vm, HV_STATS_VM, &st);
	ktap_check(st.counter[HV_STAT_TABLE_PAGES] <= before + 3, "tables of 50 places: %llu, then %llu",
		   (unsigned long long)before,
		   (unsigned long long)st.counter[HV_STAT_TABLE_PAGES]);
	set(1, 0, 0, 0, NULL);
	hv_get_stats(t.vm, HV_STATS_VM, &st);
	after = st.counter[HV_STAT_TABLE_PAGES];
	ktap_check(after == before, "and none when the slot is gone: %llu", (unsigned long long)after);
}

int main(void)
{
	testvm_open(&t);
	ktap_plan(27);
	a = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	b = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	testvm_create(&t, 4 * MIB, 1);
	refusals();
	limit();
	read_only();
	moves();
	tables();
	testvm_destroy(&t);
	return ktap_finish();
}
