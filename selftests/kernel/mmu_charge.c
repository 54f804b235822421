// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/hv_mmu.c: second-stage page tables are charged to the memory cgroup of who makes them
 * (contract 14), and given back.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define SLOTS	64
#define LEN	(64 * MIB)
#define GROUP	"/sys/fs/cgroup/hv_mmu_charge"

static struct testvm t;

static int put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	int bad;

	if (!f)
		return -1;
	bad = fputs(text, f) < 0;
	return fclose(f) || bad ? -1 : 0;
}

static long current(void)
{
	FILE *f = fopen(GROUP "/memory.current", "r");
	long val = -1;

	if (f) {
		if (fscanf(f, "%ld", &val) != 1)
			val = -1;
		fclose(f);
	}
	return val;
}

static long tables(void)
{
	struct hv_stats st = { 0 };

	hv_get_stats(t.vm, HV_STATS_VM, &st);
	return st.counter[HV_STAT_TABLE_PAGES];
}

int main(void)
{
	struct hv_slot s[SLOTS];
	uint32_t i, err = 0;
	uint64_t off;
	long before, full, empty, n;
	char pid[32];
	uint8_t *p;

	testvm_open(&t);
	put_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	snprintf(pid, sizeof(pid), "%d", getpid());
	if ((mkdir(GROUP, 0755) && errno != EEXIST) || put_file(GROUP "/cgroup.procs", pid) ||
	    current() < 0)
		ktap_skip_all("no memory controller");
	ktap_plan(3);
	testvm_create(&t, 2 * MIB, 1);
	/* One range of zero pages, so that nothing but the tables grows: every slot shows it at
	 * another place, and every second MiB of each is looked at. */
	p = mmap(NULL, LEN, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(p, LEN, MADV_NOHUGEPAGE);
	for (off = 0; off < LEN; off += 2 * MIB)
		err |= *(volatile uint8_t *)(p + off);
	for (i = 0; i < SLOTS; i++)
		s[i] = (struct hv_slot){ .id = i + 1, .gpa = (i + 1) * GIB, .size = LEN,
					 .hva = (uintptr_t)p };
	err |= hv_set_slots(t.vm, s, SLOTS);
	before = current();
	for (i = 0; i < SLOTS; i++)
		for (off = 0; off < LEN; off += 2 * MIB)
			err |= hv_prefault(t.vm, s[i].gpa + off, 4096, false);
	full = current();
	n = tables();
	ktap_check(!err && n >= SLOTS * 32, "%ld table pages", n);
	/* The kernel charges ahead in batches, so not to the page. */
	ktap_check(full - before >= n * 4096 * 8 / 10, "charged: %ld KiB of %ld",
		   (full - before) >> 10, n * 4);
	for (i = 0; i < SLOTS; i++)
		s[i].size = 0;
	err |= hv_set_slots(t.vm, s, SLOTS);
	empty = current();
	ktap_check(!err && full - empty >= n * 4096 * 8 / 10, "and given back with the slots: %ld KiB",
		   (full - empty) >> 10);
	testvm_destroy(&t);
	put_file("/sys/fs/cgroup/cgroup.procs", "0");
	rmdir(GROUP);
	return ktap_finish();
}
