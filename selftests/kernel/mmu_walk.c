// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/hv_walk.c: on a CPU without next-RIP every exit fetches its instruction by a walk of the
 * guest's page tables.  CPUID in every paging mode, at every place of a page, from pages the host
 * has taken away.  And libhv's walk of the same tables, libhv/x86/walk.c, must find the same place.
 */
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#define MIB	(1UL << 20)
#define PT	0x100000		/* this test's own page tables */
#define CODE	0x40000			/* physical place of code that is mapped elsewhere */

GUEST_CODE(one, "xor %eax, %eax\n cpuid\n out %eax, $0x10\n");
GUEST_CODE(one32, ".code32\n xor %eax, %eax\n cpuid\n out %eax, $0x10\n");
/* CPUID with all the prefixes that fit: 15 bytes. */
GUEST_CODE(longest, "xor %eax, %eax\n .fill 13, 1, 0x66\n cpuid\n out %eax, $0x10\n");

static struct testvm t;

static void put(uint64_t gpa, uint64_t val)
{
	memcpy(t.mem + gpa, &val, 8);
}

static void put32(uint64_t gpa, uint32_t val)
{
	memcpy(t.mem + gpa, &val, 4);
}

static void control(uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
	struct hv_control *c = hv_vcpu_control(t.vcpu[0]);

	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_CONTROL));
	c->cr0 = cr0;
	c->cr3 = cr3;
	c->cr4 = cr4;
	c->efer = efer;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_CONTROL));
}

static int guest_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	(void)opaque;
	if (gpa > t.size || len > t.size - gpa)
		return -EFAULT;
	memcpy(buf, t.mem + gpa, len);
	return 0;
}

/* A walk that sets no accessed bits needs no more. */
static const struct hv_callbacks callbacks = { .guest_read = guest_read };

/* The CPUID was stepped over by the right length, and answered. */
static bool answered(uint64_t rip_of_out)
{
	uint32_t reason = testvm_run(&t, 0);
	struct hv_regs *r = hv_vcpu_regs(t.vcpu[0]);

	if (reason == HV_EXIT_IO && t.vcpu[0]->run->io.port == 0x10 && r->rip == rip_of_out &&
	    r->gpr[HV_RBX] && (uint32_t)r->gpr[HV_RAX] >= 1)
		return true;
	ktap_note("exit %u (%s) rip %#llx rax %#llx", reason, hv_exit_name(reason),
		  (unsigned long long)r->rip, (unsigned long long)r->gpr[HV_RAX]);
	return false;
}

/* CPUID 8000_0001h EDX bit 26: newer than Sandy Bridge. */
static bool gib_pages(void)
{
	unsigned int a, b, c, d = 0;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (d & 1 << 26);
}

/* CPUID at @la, which is mapped to CODE, or to the same offset of a large page at 0. */
static bool mapped(uint64_t la)
{
	uint64_t gpa = 0;
	int ret;

	if (!answered(la + 4))
		return false;
	ret = hv_vcpu_translate(t.vcpu[0], la, HV_ACCESS_EXEC, &gpa);
	if (!ret && gpa == CODE)
		return true;
	ktap_note("libhv's walk: %d, %#llx", ret, (unsigned long long)gpa);
	return false;
}

/* A page of 1 GiB, where the CPU has none: PS is reserved, and #PF finds no handler. */
static bool refused(uint64_t la)
{
	uint64_t gpa;
	uint32_t reason = testvm_run(&t, 0);
	int ret = hv_vcpu_translate(t.vcpu[0], la, HV_ACCESS_EXEC, &gpa);

	if (reason == HV_EXIT_SHUTDOWN && ret == -EFAULT)
		return true;
	ktap_note("exit %u (%s), libhv's walk: %d", reason, hv_exit_name(reason), ret);
	return false;
}

static void modes(void)
{
	uint64_t i, la = 0x12345000;		/* maps to CODE in the modes with paging */

	testvm_code(&t, TVM_CODE, one32, one32_end);
	testvm_real(&t, 0, TVM_CODE >> 4, 0);
	ktap_check(answered(4), "real mode");
	testvm_prot32(&t, 0, TVM_CODE);
	ktap_check(answered(TVM_CODE + 4), "protected mode, no paging");

	testvm_code(&t, CODE, one32, one32_end);
	memset(t.mem + PT, 0, 0x10000);
	put32(PT + (la >> 22) * 4, (PT + 0x1000) | 7);
	put32(PT + 0x1000 + (la >> 12 & 1023) * 4, CODE | 7);
	testvm_prot32(&t, 0, la);
	control(0x80000031, PT, 0, 0);
	ktap_check(mapped(la), "32-bit paging, 4 KiB");
	put32(PT + (la >> 22) * 4, 0x87);	/* a 4 MiB page at 0 */
	la = (la & ~0x3fffffUL) | CODE;
	testvm_prot32(&t, 0, la);
	control(0x80000031, PT, 0x10, 0);
	ktap_check(mapped(la), "32-bit paging, 4 MiB");

	la = 0x92345000;
	memset(t.mem + PT, 0, 0x10000);
	put(PT + 0x20 + (la >> 30) * 8, (PT + 0x1000) | 1);
	put(PT + 0x1000 + (la >> 21 & 511) * 8, (PT + 0x2000) | 7);
	put(PT + 0x2000 + (la >> 12 & 511) * 8, CODE | 7);
	testvm_prot32(&t, 0, la);
	control(0x80000031, PT + 0x20, 0x20, 0);
	ktap_check(mapped(la), "PAE, 4 KiB");
	put(PT + 0x1000 + (la >> 21 & 511) * 8, 0x87);
	la = (la & ~(2 * MIB - 1)) | CODE;
	testvm_prot32(&t, 0, la);
	control(0x80000031, PT + 0x20, 0x20, 0);
	ktap_check(mapped(la), "PAE, 2 MiB");

	testvm_code(&t, CODE, one, one_end);
	for (i = 0; i < 2; i++) {
		int levels = 4 + i;
		uint64_t table = PT;

		if (i && !(t.info.hw_features & HV_HW_LA57)) {
			ktap_skip("5 levels, 4 KiB", "the host has no LA57");
			ktap_skip("5 levels, 2 MiB", "the host has no LA57");
			ktap_skip("5 levels, 1 GiB", "the host has no LA57");
			break;
		}
		la = i ? 0xff12345678765000UL : 0xffff812345665000UL;
		memset(t.mem + PT, 0, 0x10000);
		for (int l = levels; l > 1; l--, table += 0x1000)
			put(table + (la >> (12 + 9 * (l - 1)) & 511) * 8, (table + 0x1000) | 7);
		put(table + (la >> 12 & 511) * 8, CODE | 7);
		testvm_long(&t, 0, la);
		control(0x80010031, PT, 0x620 | i << 12, 0xd01);
		ktap_check(mapped(la), "%d levels, 4 KiB", levels);
		table -= 0x1000;
		put(table + (la >> 21 & 511) * 8, 0x87);
		testvm_long(&t, 0, (la & ~(2 * MIB - 1)) | CODE);
		control(0x80010031, PT, 0x620 | i << 12, 0xd01);
		ktap_check(mapped((la & ~(2 * MIB - 1)) | CODE), "%d levels, 2 MiB", levels);
		table -= 0x1000;
		put(table + (la >> 30 & 511) * 8, 0x87);
		la = (la & ~((1UL << 30) - 1)) | CODE;
		testvm_long(&t, 0, la);
		control(0x80010031, PT, 0x620 | i << 12, 0xd01);
		ktap_check(gib_pages() ? mapped(la) : refused(la), "%d levels, 1 GiB", levels);
	}
}

/* The tables are walked by the CPU itself, which does not know what the guest's CPUID tells. */
static void hidden(void)
{
	const uint64_t la = CODE;

	testvm_code(&t, CODE, one, one_end);
	memset(t.mem + PT, 0, 0x2000);
	put(PT, (PT + 0x1000) | 7);
	put(PT + 0x1000, 0x87);
	testvm_long(&t, 0, la);
	control(0x80010031, PT, 0x620, 0xd01);
	ktap_check(gib_pages() ? mapped(la) : refused(la), "1 GiB, of which the guest is not told");
}

/* CPUID at every offset around a page's end; the second page is elsewhere in memory. */
static void crossing(void)
{
	static const struct { const uint8_t *code, *end; int length; const char *name; } what[] = {
		{ one, one_end, 4, "2 bytes" }, { longest, longest_end, 17, "15 bytes" },
	};
	uint64_t la = 0x7f0000001000, off;
	unsigned int i, j, n;
	uint8_t buf[8192];
	int bad;

	memset(t.mem + PT, 0, 0x10000);
	put(PT + (la >> 39 & 511) * 8, (PT + 0x1000) | 7);
	put(PT + 0x1000 + (la >> 30 & 511) * 8, (PT + 0x2000) | 7);
	put(PT + 0x2000 + (la >> 21 & 511) * 8, (PT + 0x3000) | 7);
	put(PT + 0x3000 + (la >> 12 & 511) * 8, CODE | 7);
	put(PT + 0x3000 + ((la >> 12 & 511) + 1) * 8, (CODE - 0x5000) | 7);
	for (i = 0; i < 2; i++) {
		n = what[i].end - what[i].code;
		for (bad = 0, off = 4096 - 24; off <= 4096; off++) {
			memset(buf, 0xf4, sizeof(buf));
			for (j = 0; j < n; j++)
				buf[off + j] = what[i].code[j];
			memcpy(t.mem + CODE, buf, 4096);
			memcpy(t.mem + CODE - 0x5000, buf + 4096, 4096);
			testvm_long(&t, 0, la + off);
			control(0x80010031, PT, 0x620, 0xd01);
			bad += !answered(la + off + what[i].length);
		}
		ktap_check(!bad, "CPUID of %s across a page's end, %d of 25 wrong", what[i].name, bad);
	}
	/* It ends with the page, and what follows is not mapped: not its business. */
	put(PT + 0x3000 + ((la >> 12 & 511) + 1) * 8, 0);
	testvm_code(&t, CODE + 4096 - (one_end - one), one, one_end);
	testvm_long(&t, 0, la + 4096 - (one_end - one));
	control(0x80010031, PT, 0x620, 0xd01);
	ktap_check(answered(la + 4096 - (one_end - one) + 4), "the last instruction before a hole");
}

/* Code and page tables that the host has to bring back first. */
static void taken_away(void)
{
	unsigned int i, bad = 0;
	int fd = memfd_create("mmu_walk", 0);
	struct hv_slot s = { .id = 1, .gpa = 16 * MIB, .size = 2 * MIB };
	uint8_t *p;

	if (fd < 0 || ftruncate(fd, 2 * MIB))
		ktap_bail("memfd");
	p = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	s.hva = (uintptr_t)p;
	hv_set_slots(t.vm, &s, 1);
	memcpy(p + 0x3000, one, one_end - one);
	/* The same linear addresses, through tables in the slot that goes away. */
	for (i = 0; i < 50; i++) {
		testvm_long(&t, 0, 16 * MIB + 0x3000);
		memcpy(p, t.mem + 0x2000, 4096);
		memcpy(p + 0x1000, t.mem + 0x3000, 4096);
		memcpy(p + 0x2000, t.mem + 0x4000, 4096);
		*(uint64_t *)p = (16 * MIB + 0x1000) | 7;
		*(uint64_t *)(p + 0x1000) = (16 * MIB + 0x2000) | 7;
		control(0x80010031, 16 * MIB, 0x620, 0xd01);
		/* Out of our tables, though not out of memory: the walk in the section fails. */
		madvise(p, 2 * MIB, MADV_DONTNEED);
		bad += !answered(16 * MIB + 0x3000 + 4);
		madvise(p + 0x3000, 4096, MADV_DONTNEED);
	}
	ktap_check(!bad, "code and tables taken away before the exit, %u of 50 wrong", bad);
}

int main(void)
{
	testvm_open(&t);
	ktap_plan(17);
	t.cb = &callbacks;
	testvm_create(&t, 4 * MIB, 1);
	modes();
	crossing();
	taken_away();
	testvm_destroy(&t);

	t.cb = &callbacks;
	t.no_gib_pages = 1;
	testvm_create(&t, 4 * MIB, 1);
	hidden();
	testvm_destroy(&t);
	return ktap_finish();
}
