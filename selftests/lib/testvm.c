// SPDX-License-Identifier: GPL-2.0-only
/*
 * testvm.c - see testvm.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "../ktap.h"
#include "testvm.h"

#define GDT	0x500
#define TSS	0x600
#define IDT	0x1000
#define PML4	0x2000

#define TRY(call) do {							\
	int err_ = (call);						\
	if (err_ < 0)							\
		ktap_bail("%s: %s", #call, strerror(-err_));		\
} while (0)

/* The firmware's name is all that tells Bochs from the CPU it models. */
static int on_bochs(void)
{
	char vendor[32] = "";
	FILE *f = fopen("/sys/class/dmi/id/bios_vendor", "r");

	if (!f)
		return 0;
	if (!fgets(vendor, sizeof(vendor), f))
		vendor[0] = 0;
	fclose(f);
	return !strncmp(vendor, "The Bochs Project", 17);
}

void testvm_open(struct testvm *t)
{
	char why[256];
	int err = hv_open(NULL, &t->dev);

	if (err) {
		hv_refusal(NULL, err, why, sizeof(why));
		ktap_skip_all(why);
	}
	TRY(hv_get_info(t->dev, &t->info));
	t->bochs_svm = t->info.vendor == HV_VENDOR_SVM && on_bochs();
	t->bochs_vmx = t->info.vendor == HV_VENDOR_VMX && on_bochs();
}

void testvm_create_on(struct testvm *t, void *mem, uint64_t size, uint32_t nvcpus)
{
	struct hv_cpuid_entry table[256];
	struct hv_slot slot = { .size = size, .hva = (uintptr_t)mem };
	uint32_t n = 256, i;

	if (!t->dev)
		testvm_open(t);
	TRY(hv_vm_create(t->dev, t->cb, 0, &t->vm));
	TRY(hv_get_cpuid(t->dev, table, &n));
	for (i = 0; i < n; i++)
		if (t->no_gib_pages && table[i].leaf == 0x80000001)
			table[i].edx &= ~(1u << 26);
	TRY(hv_vm_set_cpuid(t->vm, table, n));
	t->mem = mem;
	t->size = size;
	TRY(hv_set_slots(t->vm, &slot, 1));
	t->nvcpus = nvcpus;
	for (i = 0; i < nvcpus; i++)
		TRY(hv_vcpu_create(t->vm, i, &t->vcpu[i]));
}

void testvm_create(struct testvm *t, uint64_t size, uint32_t nvcpus)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		ktap_bail("mmap of %llu bytes: %s", (unsigned long long)size, strerror(errno));
	testvm_create_on(t, mem, size, nvcpus);
}

void testvm_destroy(struct testvm *t)
{
	uint32_t i;

	for (i = 0; i < t->nvcpus; i++)
		hv_vcpu_destroy(t->vcpu[i]);
	hv_vm_destroy(t->vm);
	hv_close(t->dev);
	munmap(t->mem, t->size);
	memset(t, 0, sizeof(*t));
}

void testvm_code(struct testvm *t, uint64_t gpa, const void *start, const void *end)
{
	memcpy(t->mem + gpa, start, (const char *)end - (const char *)start);
}

static void put64(struct testvm *t, uint64_t gpa, uint64_t val)
{
	memcpy(t->mem + gpa, &val, 8);
}

static void segment(struct hv_seg *s, uint16_t sel, uint64_t base, uint32_t limit, uint32_t attr)
{
	memset(s, 0, sizeof(*s));
	s->selector = sel;
	s->base = base;
	s->limit = limit;
	s->attr = attr;
}

static void tables(struct testvm *t)
{
	uint64_t i, j;

	put64(t, GDT, 0);
	put64(t, GDT + TVM_SEL_CODE64, 0x00af9b000000ffffULL);
	put64(t, GDT + TVM_SEL_DATA, 0x00cf93000000ffffULL);
	put64(t, GDT + TVM_SEL_CODE32, 0x00cf9b000000ffffULL);
	put64(t, GDT + TVM_SEL_TSS, 0x0000890000000067ULL | (uint64_t)TSS << 16);
	put64(t, GDT + TVM_SEL_TSS + 8, 0);
	memset(t->mem + TSS, 0, 0x68);
	/* RSP0 and every IST share one stack; tests that nest set their own. */
	put64(t, TSS + 4, 0x7e00);
	for (i = 1; i <= 7; i++)
		put64(t, TSS + 0x1c + 8 * i, 0x7c00);
	put64(t, PML4, (PML4 + 0x1000) | 7);
	for (i = 0; i < 4; i++) {
		put64(t, PML4 + 0x1000 + 8 * i, (PML4 + 0x2000 + 0x1000 * i) | 7);
		for (j = 0; j < 512; j++)
			put64(t, PML4 + 0x2000 + 0x1000 * i + 8 * j, (i << 30 | j << 21) | 0x87);
	}
}

static void enter_mode(struct testvm *t, uint32_t id, uint64_t rip, bool is_long)
{
	struct hv_vcpu *v = t->vcpu[id];
	struct hv_segs *s;
	struct hv_control *c;
	struct hv_regs *r;
	struct hv_mp *mp;
	int i;

	v->run->retire = 0;		/* of an exit that nobody will complete */
	v->run->dirty = 0;
	tables(t);
	TRY(hv_vcpu_get_state(v, HV_GROUP(HV_GROUP_REGS) | HV_GROUP(HV_GROUP_SEGS) |
			      HV_GROUP(HV_GROUP_CONTROL) | HV_GROUP(HV_GROUP_MP)));
	s = hv_vcpu_segs(v);
	c = hv_vcpu_control(v);
	r = hv_vcpu_regs(v);
	mp = hv_vcpu_group(v, HV_GROUP_MP);
	segment(&s->seg[HV_CS], is_long ? TVM_SEL_CODE64 : TVM_SEL_CODE32, 0, 0xffffffff,
		HV_SEG_P | HV_SEG_S | 0xb | HV_SEG_G | (is_long ? HV_SEG_L : HV_SEG_DB));
	for (i = HV_ES; i <= HV_GS; i++)
		if (i != HV_CS)
			segment(&s->seg[i], TVM_SEL_DATA, 0, 0xffffffff,
				HV_SEG_P | HV_SEG_S | 3 | HV_SEG_G | HV_SEG_DB);
	segment(&s->seg[HV_LDTR], 0, 0, 0xffff, HV_SEG_P | 2);
	segment(&s->seg[HV_TR], TVM_SEL_TSS, TSS, 0x67, HV_SEG_P | 0xb);
	s->gdtr.base = GDT;
	s->gdtr.limit = 0x2f;
	s->idtr.base = IDT;
	s->idtr.limit = 0xfff;
	c->cr0 = 0x31;				/* PE ET NE */
	c->cr4 = 0x600;				/* OSFXSR OSXMMEXCPT */
	if (is_long) {
		c->cr0 |= 0x80010000;		/* PG WP */
		c->cr4 |= 0x20;			/* PAE */
		c->cr3 = PML4;
		c->efer = 0xd01;		/* LMA LME NXE SCE */
	}
	memset(r, 0, sizeof(*r));
	r->rip = rip;
	r->rflags = t->bochs_svm ? 0x202 : 2;
	r->gpr[HV_RSP] = 0x8000 - 0x100 * id;
	mp->state = HV_MP_RUNNABLE;
	TRY(hv_vcpu_set_state(v, HV_GROUP(HV_GROUP_REGS) | HV_GROUP(HV_GROUP_SEGS) |
			      HV_GROUP(HV_GROUP_CONTROL) | HV_GROUP(HV_GROUP_MP)));
}

void testvm_long(struct testvm *t, uint32_t vcpu, uint64_t rip)
{
	enter_mode(t, vcpu, rip, true);
}

void testvm_prot32(struct testvm *t, uint32_t vcpu, uint32_t eip)
{
	enter_mode(t, vcpu, eip, false);
}

void testvm_real(struct testvm *t, uint32_t id, uint16_t cs, uint16_t ip)
{
	struct hv_vcpu *v = t->vcpu[id];
	struct hv_segs *s;
	struct hv_regs *r;
	struct hv_mp *mp;

	v->run->retire = 0;
	v->run->dirty = 0;
	TRY(hv_vcpu_get_state(v, HV_GROUP(HV_GROUP_REGS) | HV_GROUP(HV_GROUP_SEGS) |
			      HV_GROUP(HV_GROUP_MP)));
	s = hv_vcpu_segs(v);
	r = hv_vcpu_regs(v);
	mp = hv_vcpu_group(v, HV_GROUP_MP);
	s->seg[HV_CS].selector = cs;
	s->seg[HV_CS].base = cs << 4;
	r->rip = ip;
	r->rflags = t->bochs_svm ? 0x202 : 2;
	r->gpr[HV_RSP] = 0x8000 - 0x100 * id;
	mp->state = HV_MP_RUNNABLE;
	TRY(hv_vcpu_set_state(v, HV_GROUP(HV_GROUP_REGS) | HV_GROUP(HV_GROUP_SEGS) |
			      HV_GROUP(HV_GROUP_MP)));
}

void testvm_gate(struct testvm *t, uint8_t vector, uint64_t handler, int ist)
{
	put64(t, IDT + 16 * vector, (handler & 0xffff) | (uint64_t)TVM_SEL_CODE64 << 16 |
	      (uint64_t)ist << 32 | 0x8eULL << 40 | ((handler >> 16) & 0xffff) << 48);
	put64(t, IDT + 16 * vector + 8, handler >> 32);
}

uint32_t testvm_run(struct testvm *t, uint32_t id)
{
	struct hv_vcpu *v = t->vcpu[id];
	int err;

	for (;;) {
		err = hv_vcpu_run(v);
		if (err && err != -EINTR)
			ktap_bail("hv_vcpu_run: %s", strerror(-err));
		switch (v->run->exit_reason) {
		case HV_EXIT_NONE:
		case HV_EXIT_KICK:
		case HV_EXIT_SIGNAL:
			continue;
		case HV_EXIT_IO:
			if (v->run->io.port == 0xe9 && !v->run->io.in && !v->run->io.string) {
				putchar(v->run->io.data & 0xff);
				testvm_done(t, id, 0);
				continue;
			}
		}
		return v->run->exit_reason;
	}
}

void testvm_expect(struct testvm *t, uint32_t id, uint32_t want)
{
	uint32_t got = testvm_run(t, id);
	struct hv_vcpu *v = t->vcpu[id];
	int i;

	if (got == want)
		return;
	printf("# rip %#llx rflags %#llx", (unsigned long long)hv_vcpu_regs(v)->rip,
	       (unsigned long long)hv_vcpu_regs(v)->rflags);
	for (i = 0; i < 16; i++)
		printf(" r%d=%llx", i, (unsigned long long)hv_vcpu_regs(v)->gpr[i]);
	printf("\n");
	if (got == HV_EXIT_IO)
		ktap_note("port %#x in %d data %#x", v->run->io.port, v->run->io.in, v->run->io.data);
	if (got == HV_EXIT_MMIO || got == HV_EXIT_INSN || got == HV_EXIT_APIC)
		ktap_note("gpa %#llx access %#x", (unsigned long long)v->run->mem.gpa,
			  v->run->mem.access);
	if (got == HV_EXIT_FAIL_ENTRY || got == HV_EXIT_INTERNAL)
		ktap_note("code %#llx info %#llx %#llx %#llx", (unsigned long long)v->run->fail.reason,
			  (unsigned long long)v->run->fail.info[0],
			  (unsigned long long)v->run->fail.info[1],
			  (unsigned long long)v->run->fail.info[2]);
	ktap_bail("vCPU %u: exit %u (%s), expected %u (%s)", id, got, hv_exit_name(got), want,
		  hv_exit_name(want));
}

void testvm_done(struct testvm *t, uint32_t id, uint64_t value)
{
	struct hv_vcpu *v = t->vcpu[id];
	struct hv_run *run = v->run;
	__u64 *rax = &hv_vcpu_regs(v)->gpr[HV_RAX], mask;

	if (run->exit_reason == HV_EXIT_MSR) {
		TRY(hv_vcpu_msr_done(v, value));
		return;
	}
	if (run->exit_reason == HV_EXIT_IO && run->io.in) {
		mask = run->io.size == 4 ? 0xffffffff : (1ULL << (8 * run->io.size)) - 1;
		*rax = run->io.size == 4 ? value & mask : (*rax & ~mask) | (value & mask);
		hv_vcpu_mark_dirty(v, HV_GROUP(HV_GROUP_REGS));
	}
	TRY(hv_vcpu_retire(v));
}
