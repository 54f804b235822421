// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/hv_mmu.c: leaves of 4 KiB, 2 MiB and 1 GiB follow the host's own mapping, as far as slot
 * and log allow.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT	26
#endif

#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define GPA	(4 * GIB)

static struct testvm t;

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

static uint64_t stat(int n)
{
	struct hv_stats st = { 0 };

	hv_get_stats(t.vm, HV_STATS_VM, &st);
	return st.counter[n];
}

/* Leaves by size after prefaulting all of a slot, "4K 2M 1G". */
static const char *leaves(uint32_t flags, uint64_t gpa, uint64_t size, void *hva)
{
	struct hv_slot s = { .id = 1, .flags = flags, .gpa = gpa, .size = size,
			     .hva = (uintptr_t)hva };
	static char buf[80];
	int err;

	err = hv_set_slots(t.vm, &s, 1);
	if (!err)
		err = hv_prefault(t.vm, gpa, size, !(flags & HV_SLOT_READONLY));
	if (err)
		snprintf(buf, sizeof(buf), "%s", strerror(-err));
	else
		snprintf(buf, sizeof(buf), "%llu %llu %llu",
			 (unsigned long long)stat(HV_STAT_MAPPED_4K),
			 (unsigned long long)stat(HV_STAT_MAPPED_2M),
			 (unsigned long long)stat(HV_STAT_MAPPED_1G));
	s.size = 0;
	hv_set_slots(t.vm, &s, 1);
	return buf;
}

static void sizes(void)
{
	const char *got;
	uint8_t *p;

	p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(p, 4 * MIB, MADV_NOHUGEPAGE);
	got = leaves(0, GPA, 4 * MIB, p);
	ktap_check(!strcmp(got, "1024 0 0"), "small pages: %s", got);
	munmap(p, 4 * MIB);

	put_file("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "4");
	p = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << MAP_HUGE_SHIFT, -1, 0);
	if (p == MAP_FAILED) {
		ktap_skip("2 MiB pages", "the host has none to give");
		ktap_skip("off by a page", "the host has none to give");
		ktap_skip("only what the slot holds whole", "the host has none to give");
		ktap_skip("logged", "the host has none to give");
		ktap_skip("read-only", "the host has none to give");
	} else {
		got = leaves(0, GPA, 8 * MIB, p);
		ktap_check(!strcmp(got, "0 4 0"), "2 MiB pages: %s", got);
		got = leaves(0, GPA + 4096, 8 * MIB, p);
		ktap_check(!strcmp(got, "2048 0 0"), "off by a page: %s", got);
		got = leaves(0, GPA + 4096, 6 * MIB, p + 4096);
		ktap_check(!strcmp(got, "512 2 0"), "only what the slot holds whole: %s", got);
		got = leaves(HV_SLOT_LOG_DIRTY, GPA, 8 * MIB, p);
		ktap_check(!strcmp(got, "2048 0 0"), "logged: %s", got);
		got = leaves(HV_SLOT_READONLY, GPA, 8 * MIB, p);
		ktap_check(!strcmp(got, "0 4 0"), "read-only: %s", got);
		munmap(p, 8 * MIB);
	}
	put_file("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0");

	p = mmap(NULL, GIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 30 << MAP_HUGE_SHIFT, -1, 0);
	if (p == MAP_FAILED) {
		ktap_skip("a 1 GiB page", "the host has none to give");
		ktap_skip("a part of it", "the host has none to give");
	} else {
		got = leaves(0, GPA, GIB, p);
		ktap_check(!strcmp(got, t.info.hw_features & HV_HW_PAGE_1G ? "0 0 1" : "0 512 0"),
			   "a 1 GiB page: %s", got);
		got = leaves(0, GPA, 512 * MIB, p);
		ktap_check(!strcmp(got, "0 256 0"), "a part of it: %s", got);
		munmap(p, GIB);
	}
}

int main(void)
{
	testvm_open(&t);
	ktap_plan(8);
	testvm_create(&t, 4 * MIB, 1);
	sizes();
	testvm_destroy(&t);
	return ktap_finish();
}
