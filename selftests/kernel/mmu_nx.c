// SPDX-License-Identifier: GPL-2.0-only
/*
 * Code in memory that the host maps by large pages.  Where the module keeps large leaves from being
 * executable (the iTLB erratum; mitigations=full), the leaf that code is fetched from becomes small
 * ones and stays so while data around it is used, until the host changes the mapping; elsewhere it
 * stays large.  The guest sees none of it.
 */
#include <string.h>
#include <sys/mman.h>
#include "ktap.h"
#include "lib/testvm.h"

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT	26
#endif

#define MIB		(1UL << 20)
#define HUGE_GPA	(16 * MIB)
#define HUGE_SIZE	(4 * MIB)

static struct testvm t;
static uint64_t base_2m, base_4k;

/* A word into every page of the second 2 MiB, then of the first; code there in between. */
GUEST_CODE(touch,
	   "mov $0x1200000, %ebx\n call 3f\n out %al, $0x10\n"
	   "mov $0x1001000, %eax\n call *%rax\n out %eax, $0x10\n"
	   "mov $0x1002000, %ebx\n call 3f\n"
	   "mov $0x1001000, %eax\n call *%rax\n out %eax, $0x10\n"
	   "3: mov $0x1f0, %ecx\n 4: mov %rbx, (%rbx)\n add $4096, %ebx\n loop 4b\n ret\n");
/* Counts its own calls in its own page. */
GUEST_CODE(callee, "incl 1f(%rip)\n mov 1f(%rip), %eax\n ret\n 1: .long 0x1230\n");

static uint64_t stat(int n)
{
	struct hv_stats st = { 0 };

	hv_get_stats(t.vm, HV_STATS_VM, &st);
	return st.counter[n];
}

static void leaves(const char *when, uint64_t want_2m, uint64_t least_4k)
{
	uint64_t large = stat(HV_STAT_MAPPED_2M) - base_2m, small = stat(HV_STAT_MAPPED_4K) - base_4k;

	ktap_check(large == want_2m && small >= least_4k, "%s: %llu large leaves, %llu small ones",
		   when, (unsigned long long)large, (unsigned long long)small);
}

static uint8_t *huge(void *where)
{
	uint8_t *p = mmap(where, HUGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << MAP_HUGE_SHIFT |
				  (where ? MAP_FIXED : 0), -1, 0);

	if (p == MAP_FAILED)
		ktap_bail("the host has no huge pages to give");
	memcpy(p + 0x1000, callee, callee_end - callee);
	return p;
}

int main(void)
{
	struct hv_slot s = { .id = 1, .gpa = HUGE_GPA, .size = HUGE_SIZE };
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "w");
	bool nx, whole = true;
	uint64_t i;
	uint8_t *p;

	if (f) {
		fputs("4", f);
		fclose(f);
	}
	testvm_open(&t);
	nx = t.info.mitigations & HV_MIT_NX_LARGE;
	ktap_plan(8);
	ktap_note("large leaves are %sexecutable", nx ? "not " : "");
	testvm_create(&t, 4 * MIB, 1);
	madvise(t.mem, 4 * MIB, MADV_NOHUGEPAGE);	/* the leaves counted are those of slot 1 */
	testvm_code(&t, TVM_CODE, touch, touch_end);
	testvm_long(&t, 0, TVM_CODE);
	p = huge(NULL);
	s.hva = (uintptr_t)p;
	if (hv_prefault(t.vm, 0, 4 * MIB, true))
		ktap_bail("prefault");
	base_2m = stat(HV_STAT_MAPPED_2M);
	base_4k = stat(HV_STAT_MAPPED_4K);
	if (hv_set_slots(t.vm, &s, 1) || hv_prefault(t.vm, HUGE_GPA, HUGE_SIZE, true))
		ktap_bail("slot");
	leaves("mapped ahead", 2, 0);

	testvm_expect(&t, 0, HV_EXIT_IO);
	leaves("written by the guest", 2, 0);
	testvm_done(&t, 0, 0);
	base_4k = stat(HV_STAT_MAPPED_4K);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(t.vcpu[0]->run->io.data == 0x1231, "code in a large page runs: %#llx",
		   (unsigned long long)t.vcpu[0]->run->io.data);
	leaves("code has run there", nx ? 1 : 2, nx ? 1 : 0);
	testvm_done(&t, 0, 0);
	testvm_expect(&t, 0, HV_EXIT_IO);
	leaves("data around it is written", nx ? 1 : 2, nx ? 0x1f1 : 0);
	ktap_check(t.vcpu[0]->run->io.data == 0x1232, "the code changes its own page");
	for (i = 0; i < 0x1f0; i++)
		whole &= *(uint64_t *)(p + 0x2000 + i * 4096) == HUGE_GPA + 0x2000 + i * 4096;
	ktap_check(whole, "every word arrived");

	huge(p);
	if (hv_prefault(t.vm, HUGE_GPA, HUGE_SIZE, true))
		ktap_bail("prefault");
	leaves("mapped anew by the host", 2, 0);
	testvm_destroy(&t);
	return ktap_finish();
}
