// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers of the local APIC as a guest sees them: xAPIC page and x2APIC MSRs, modes, priority,
 * errors; and state that userspace sets, of which nothing has to make sense.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/apicvm.h"

#define BASE	0x1b
#define EN	0x800ULL
#define EXTD	0x400ULL
#define BSP	0x100ULL

#define LEVEL	0x8000

static struct avm a, *w = &a;
static bool x2;

/* Registers of @w's first vCPU, in the mode that it is in. */
static uint32_t rd(uint32_t offset)
{
	return x2 ? avm_rdmsr(w, 0, 0x800 + (offset >> 4)) : avm_read(w, 0, offset);
}

static void wr(uint32_t offset, uint32_t value)
{
	if (x2)
		avm_wrmsr(w, 0, 0x800 + (offset >> 4), value);
	else
		avm_write(w, 0, offset, value);
}

static void self(uint8_t vector)
{
	wr(x2 ? 0x3f0 : 0x300, x2 ? vector : 0x40000 | vector);
}

static void open_window(void)
{
	avm_op(w, 0, AVM_OPEN, 0, 0, 0);
}

static uint64_t seed = 88172645463325252ULL;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static bool base(uint32_t vcpu, uint64_t flags)
{
	return avm_wrmsr(&a, vcpu, BASE, AVM_APIC | flags);
}

static void reset_values(void)
{
	ktap_check(avm_rdmsr(&a, 0, BASE) == (AVM_APIC | EN | BSP) &&
		   avm_rdmsr(&a, 1, BASE) == (AVM_APIC | EN), "APIC_BASE after reset: first and second");
	ktap_check(avm_read(&a, 0, 0x20) == 0 && avm_read(&a, 1, 0x20) == 1u << 24, "APIC ids");
	ktap_check((avm_read(&a, 0, 0x30) & 0xff00ff) == 0x50014, "version 0x14, six LVTs");
	ktap_check(avm_read(&a, 1, 0xf0) == 0xff && avm_read(&a, 1, 0xe0) == 0xffffffff &&
		   avm_read(&a, 1, 0xd0) == 0 && avm_read(&a, 1, 0x80) == 0,
		   "SVR, DFR, LDR, TPR after reset");
	ktap_check(avm_read(&a, 1, 0x320) == 0x10000 && avm_read(&a, 1, 0x350) == 0x10000 &&
		   avm_read(&a, 1, 0x370) == 0x10000, "LVTs are masked after reset");
	ktap_check(avm_read(&a, 0, 0x350) == 0x700, "but the first vCPU's LINT0 takes the 8259");
	avm_write(&a, 1, 0x20, 0x05000000);
	ktap_check(avm_read(&a, 1, 0x20) == 1u << 24, "the id is read-only");
}

static void software_enable(void)
{
	avm_write(&a, 0, 0x320, 0x40);
	ktap_check(avm_read(&a, 0, 0x320) == 0x10040, "no LVT is unmasked while software-disabled");
	avm_write(&a, 0, 0xf0, 0x1ff);
	avm_write(&a, 0, 0x320, 0x40);
	ktap_check(avm_read(&a, 0, 0x320) == 0x40, "and can be when enabled");
	avm_write(&a, 0, 0xf0, 0xff);
	ktap_check(avm_read(&a, 0, 0x320) == 0x10040 && avm_read(&a, 0, 0x350) == 0x10700,
		   "disabling masks them all");
	avm_write(&a, 0, 0xf0, 0x1ff);
	avm_write(&a, 0, 0x320, 0xffffffff);
	ktap_check(avm_read(&a, 0, 0x320) == 0x100ff, "reserved bits of an LVT read zero: %#x",
		   avm_read(&a, 0, 0x320));
	avm_write(&a, 0, 0x320, 0x10000);
	avm_write(&a, 0, 0x3e0, 0xffffffff);
	ktap_check(avm_read(&a, 0, 0x3e0) == 0xb, "of the divide configuration too");
	avm_write(&a, 0, 0x3e0, 0);
	avm_write(&a, 0, 0xd0, 0xffffffff);
	avm_write(&a, 0, 0xe0, 0);
	ktap_check(avm_read(&a, 0, 0xd0) == 0xff000000 && avm_read(&a, 0, 0xe0) == 0x0fffffff,
		   "LDR and DFR hold what they have");
	avm_write(&a, 0, 0xe0, 0xffffffff);
}

static void priority(void)
{
	avm_eoi(&a, AVM_EOI_NONE);
	avm_forget(&a);
	wr(0x80, 0x50);
	ktap_check(rd(0xa0) == 0x50 && avm_op(&a, 0, AVM_GET_CR8, 0, 0, 0) == 5,
		   "TPR is PPR and CR8");
	avm_op(&a, 0, AVM_SET_CR8, 0, 0, 6);
	ktap_check(rd(0x80) == 0x60, "CR8 is TPR");
	self(0x61);	/* self */
	self(0x71);
	ktap_check(rd(0x230) == (1u << 1 | 1u << 17), "both are in the IRR: %#x",
		   rd(0x230));
	open_window();
	ktap_check(avm_taken(&a, 0, 0x71) == 1 && avm_taken(&a, 0, 0x61) == 0,
		   "only the one above TPR is taken");
	ktap_check(rd(0x130) == 1u << 17 && rd(0xa0) == 0x70,
		   "it is in service and sets PPR");
	avm_op(&a, 0, AVM_SET_CR8, 0, 0, 0);
	open_window();
	ktap_check(avm_taken(&a, 0, 0x61) == 0, "what is in service holds off the lower one");
	wr(0xb0, 0);
	ktap_check(rd(0x130) == 0 && rd(0xa0) == 0, "EOI ends it");
	open_window();
	ktap_check(avm_taken(&a, 0, 0x61) == 1, "then the lower one is taken");
	wr(0xb0, 0);
	wr(0xb0, 0);
	/* CR8 above what is pending, interrupts on: taken only when CR8 falls. */
	avm_op(&a, 0, AVM_SET_CR8, 0, 0, 8);
	self(0x71);
	open_window();
	ktap_check(avm_taken(&a, 0, 0x71) == 1, "CR8 holds it off");
	avm_op(&a, 0, AVM_SET_CR8, 0, 0, 0);
	open_window();
	ktap_check(avm_taken(&a, 0, 0x71) == 2, "and lets it through");
	wr(0xb0, 0);
	/* Held while software-disabled, and still deliverable. */
	self(0x81);
	wr(0xf0, 0xff);
	ktap_check(rd(0x240) == 1u << 1, "software disable keeps the IRR");
	self(0x91);
	ktap_check(rd(0x240) == 1u << 1, "but takes nothing new");
	open_window();
	ktap_check(avm_taken(&a, 0, 0x81) == 1, "what is held is delivered");
	wr(0xf0, 0x1ff);
	wr(0xb0, 0);
}

/* TPR and CR8 are one register, of which CR8 shows the upper half. */
static void task_priority(void)
{
	wr(0x80, 0x25);
	self(0x31);
	open_window();
	ktap_check(rd(0x80) == 0x25 && rd(0xa0) == 0x30, "TPR keeps its lower bits through an interrupt");
	wr(0xb0, 0);
	ktap_check(rd(0xa0) == 0x25, "and PPR has them after the EOI");
	wr(0x80, 0);
}

static void errors(void)
{
	avm_forget(&a);
	wr(0x370, 0xfe);
	wr(0x280, 0);
	wr(0x280, 0);
	ktap_check(rd(0x280) == 0, "no error yet");
	self(5);
	ktap_check(rd(0x280) == 0, "ESR shows an error only after it is written");
	wr(0x280, 0);
	ktap_check(rd(0x280) == 0x20, "an IPI with vector 5 is a send error: %#x",
		   rd(0x280));
	open_window();
	ktap_check(avm_taken(&a, 0, 0xfe) == 1, "and an error interrupt");
	wr(0xb0, 0);
	hv_send_msi(a.t.vm, 0xfee00000, 0x0007);
	wr(0x280, 0);
	ktap_check(rd(0x280) == 0x40, "an MSI with vector 7 is a receive error");
	if (!x2) {
		rd(0x40);
		wr(0x280, 0);
		ktap_check(rd(0x280) == 0x80, "no register at 0x40");
	}
	wr(0x370, 3);
	self(5);
	wr(0x280, 0);
	ktap_check(rd(0x280) == 0x60, "an error interrupt with a bad vector is an error");
	wr(0x370, 0x10000);
	wr(0x280, 0);
	open_window();
	wr(0xb0, 0);
}

/*
 * Two in service, one of them level-triggered, and more that wait for reasons of their own: read
 * there and continued in another VM.
 */
static void in_the_middle(void)
{
	const uint64_t groups = HV_GROUP(HV_GROUP_APIC) | HV_GROUP(HV_GROUP_CONTROL);
	uint32_t *page = hv_vcpu_group(a.t.vcpu[0], HV_GROUP_APIC), saved[1024], i, n = 0;
	uint64_t base_msr = AVM_APIC | EN | BSP | (x2 ? EXTD : 0);
	struct hv_control *c;
	static struct avm b;

	avm_eoi(&a, AVM_EOI_NONE);
	avm_forget(&a);
	wr(0x80, 0x20);
	self(0x41);
	open_window();
	hv_send_msi(a.t.vm, 0xfee00000, LEVEL | 0x61);
	open_window();
	self(0x25);
	self(0x35);
	self(0x66);
	hv_send_msi(a.t.vm, 0xfee00000, LEVEL | 0x91);
	hv_vcpu_get_state(a.t.vcpu[0], groups);
	memcpy(saved, page, sizeof(saved));
	for (i = 0; i < 8; i++)
		n += __builtin_popcount(page[0x100 / 4 + 4 * i]) + __builtin_popcount(page[0x200 / 4 + 4 * i]);
	ktap_check(n == 6 && page[0x120 / 4] == 1u << 1 && page[0x130 / 4] == 1u << 1 &&
		   page[0x210 / 4] == (1u << 5 | 1u << 0x15) &&
		   page[0x230 / 4] == 1u << 6 && page[0x240 / 4] == 1u << 0x11 &&
		   page[0xa0 / 4] == 0x60, "two in service, four requested, PPR %#x", page[0xa0 / 4]);
	ktap_check((page[0x1b0 / 4] & 2) && (page[0x1c0 / 4] & 1u << 0x11) && !(page[0x1b0 / 4] & 1u << 6),
		   "TMR tells the levels");
	/* All of it, before the APIC is used for something else. */
	wr(0x80, 0xf0);

	avm_create(&b, 1);
	avm_eoi(&b, AVM_EOI_NONE);
	w = &b;
	hv_vcpu_get_state(b.t.vcpu[0], groups);
	c = hv_vcpu_group(b.t.vcpu[0], HV_GROUP_CONTROL);
	c->apic_base = base_msr;
	memcpy(hv_vcpu_group(b.t.vcpu[0], HV_GROUP_APIC), saved, sizeof(saved));
	ktap_check(!hv_vcpu_set_state(b.t.vcpu[0], groups), "goes into a new VM");
	ktap_check(rd(0xa0) == 0x60 && rd(0x130) == 1u << 1 && rd(0x240) == 1u << 0x11, "and is there");
	open_window();
	ktap_check(avm_taken(&b, 0, 0x91) == 1 && avm_taken_all(&b, 0) == 1, "the highest comes first");
	wr(0xb0, 0);
	ktap_check(b.eois[0x91] == 1, "its EOI is reported");
	open_window();
	ktap_check(avm_taken_all(&b, 0) == 1, "what is in service holds off its own class");
	wr(0xb0, 0);
	ktap_check(b.eois[0x61] == 1, "the EOI of one that the old VM took, too");
	open_window();
	ktap_check(avm_taken(&b, 0, 0x66) == 1 && avm_taken_all(&b, 0) == 2, "then comes the next");
	wr(0xb0, 0);
	open_window();
	ktap_check(avm_taken_all(&b, 0) == 2 && rd(0xa0) == 0x40, "the first of the old VM's is in service still");
	wr(0xb0, 0);
	open_window();
	ktap_check(avm_taken(&b, 0, 0x35) == 1 && avm_taken_all(&b, 0) == 3, "after its EOI what was below it");
	wr(0xb0, 0);
	ktap_check(rd(0x210) == 1u << 5 && rd(0x110) == 0, "and TPR holds the last");
	wr(0x80, 0);
	open_window();
	ktap_check(avm_taken(&b, 0, 0x25) == 1 && b.eois[0x91] + b.eois[0x61] == 2 &&
		   b.eois[0x66] + b.eois[0x35] == 0, "until it is lowered; edges report no EOI");
	w = &a;
	avm_destroy(&b);
	base(0, 0);
	base(0, EN);
}

/* The same in both modes: in x2APIC mode the CPU may do by itself what the module does in the other. */
static void both_modes(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		ktap_note("%s", i ? "x2APIC" : "xAPIC");
		if (i)
			base(0, EN | EXTD);
		x2 = i;
		wr(0xf0, 0x1ff);
		priority();
		task_priority();
		errors();
		in_the_middle();
	}
	x2 = false;
	wr(0xf0, 0x1ff);
}

static void modes(void)
{
	ktap_check(!base(0, EXTD) && !base(0, EN | 0x1000000000000000ULL) && !base(0, EN | 0x200),
		   "x2APIC without enable, and reserved bits, are #GP");
	avm_rdmsr(&a, 0, 0x802);
	ktap_check(a.faulted && !avm_wrmsr(&a, 0, 0x83f, 0x40), "no x2APIC MSRs in xAPIC mode");
	avm_write(&a, 0, 0xd0, 0x01000000);
	avm_write(&a, 0, 0x310, 0x0f000000);
	ktap_check(base(0, EN | EXTD), "xAPIC to x2APIC");
	ktap_check(avm_rdmsr(&a, 0, BASE) == (AVM_APIC | EN | EXTD | BSP), "the BSP bit stays");
	ktap_check(avm_rdmsr(&a, 0, 0x802) == 0 && avm_rdmsr(&a, 0, 0x80d) == 1, "32-bit id and its LDR");
	ktap_check(avm_rdmsr(&a, 0, 0x80f) == 0x1ff && avm_rdmsr(&a, 0, 0x830) >> 32 == 0,
		   "SVR is kept, ICR's destination is not");
	base(1, EN | EXTD);
	ktap_check(avm_rdmsr(&a, 1, 0x802) == 1 && avm_rdmsr(&a, 1, 0x80d) == 2, "the second vCPU's too");
	ktap_check(!base(0, EN), "x2APIC to xAPIC is #GP");
	ktap_check(base(0, 0), "x2APIC to off");
	avm_rdmsr(&a, 0, 0x802);
	ktap_check(a.faulted && !base(0, EN | EXTD), "off to x2APIC is #GP");
	ktap_check(base(0, EN) && avm_read(&a, 0, 0xf0) == 0xff && avm_read(&a, 0, 0xd0) == 0,
		   "off to xAPIC starts from reset");
	ktap_check(avm_wrmsr(&a, 0, BASE, 0x380000 | EN) &&
		   avm_op(&a, 0, AVM_READ32, 0x380030, 0, 0) == 0x50014 &&
		   avm_op(&a, 0, AVM_READ32, 0x3800f0, 0, 0) == 0xff, "the page can be moved");
	ktap_check(base(0, EN), "and back");
}

static void x2apic_faults(void)
{
	static const uint32_t read_only[] = { 0x802, 0x803, 0x80a, 0x80d, 0x810, 0x81f, 0x820, 0x839 };
	static const uint32_t absent[] = { 0x800, 0x804, 0x80e, 0x831, 0x83d, 0x840, 0x8ff };
	static const uint32_t write_only[] = { 0x80b, 0x83f };
	unsigned int i, bad = 0;

	base(0, EN | EXTD);
	avm_wrmsr(&a, 0, 0x80f, 0x1ff);
	for (i = 0; i < sizeof(read_only) / 4; i++)
		bad += avm_wrmsr(&a, 0, read_only[i], 0);
	ktap_check(!bad, "writing a read-only register is #GP");
	for (i = bad = 0; i < sizeof(absent) / 4; i++) {
		bad += avm_wrmsr(&a, 0, absent[i], 0);
		avm_rdmsr(&a, 0, absent[i]);
		bad += !a.faulted;
	}
	ktap_check(!bad, "registers that are not there are #GP");
	for (i = bad = 0; i < sizeof(write_only) / 4; i++) {
		avm_rdmsr(&a, 0, write_only[i]);
		bad += !a.faulted;
	}
	ktap_check(!bad, "reading EOI or self-IPI is #GP");
	ktap_check(!avm_wrmsr(&a, 0, 0x80b, 1) && !avm_wrmsr(&a, 0, 0x828, 1) &&
		   !avm_wrmsr(&a, 0, 0x808, 0x100) && !avm_wrmsr(&a, 0, 0x80f, 0x1000) &&
		   !avm_wrmsr(&a, 0, 0x832, 1 << 13) && !avm_wrmsr(&a, 0, 0x83e, 4) &&
		   !avm_wrmsr(&a, 0, 0x83f, 0x100) && !avm_wrmsr(&a, 0, 0x830, 1 << 20) &&
		   !avm_wrmsr(&a, 0, 0x838, 1ULL << 32), "reserved bits are #GP");
	ktap_check(avm_wrmsr(&a, 0, 0x80b, 0) && avm_wrmsr(&a, 0, 0x828, 0) &&
		   avm_wrmsr(&a, 0, 0x808, 0x20) && avm_rdmsr(&a, 0, 0x808) == 0x20 &&
		   avm_wrmsr(&a, 0, 0x808, 0), "what is allowed is not");
	avm_wrmsr(&a, 0, 0x830, 0x1234567800000000ULL | 0x4500);	/* INIT to nobody */
	ktap_check(avm_rdmsr(&a, 0, 0x830) == 0x1234567800004500ULL, "ICR reads back in one piece");
	avm_eoi(&a, AVM_EOI_X2APIC);
	avm_forget(&a);
	avm_wrmsr(&a, 0, 0x83f, 0x55);
	avm_op(&a, 0, AVM_OPEN, 0, 0, 0);
	ktap_check(avm_taken(&a, 0, 0x55) == 1 && avm_rdmsr(&a, 0, 0x812) == 0,
		   "self-IPI register, and EOI by MSR");
	base(0, 0);
	base(0, EN);
	avm_eoi(&a, AVM_EOI_NONE);
}

/* The guest writes everything everywhere; only the module's health is judged. */
static void every_value(void)
{
	struct hv_stats s;
	unsigned int i;

	avm_write(&a, 0, 0xf0, 0x1ff);
	for (i = 0; i < 3000; i++) {
		uint32_t offset = i < 1024 ? (i & 0xff) << 4 : rnd() & 0xffc;
		uint32_t value = rnd() >> (rnd() & 31);

		/* No INIT, NMI or start-up: they would stop the test, not the module. */
		if ((offset & ~0xf) == 0x300)
			value = (value & ~0x700u) | 0xc0000;
		/* Masked, or as an NMI it stops the test as well. */
		if (offset >= 0x320 && offset <= 0x370)
			value |= 0x10000;
		avm_write(&a, 0, offset, value);
		avm_read(&a, 0, offset);
	}
	ktap_check(hv_get_stats(a.t.vm, 0, &s) == 0, "3000 random writes to the page");
	base(0, 0);
	base(0, EN);
	base(0, EN | EXTD);
	avm_wrmsr(&a, 0, 0x80f, 0x1ff);
	for (i = 0; i < 3000; i++) {
		uint32_t msr = 0x800 + (i < 1024 ? i & 0xff : rnd() & 0x3f);
		uint64_t value = rnd() >> (rnd() & 63);

		if (msr == 0x830)
			value = (value & ~0x700ULL) | 0xc0000;
		if (msr >= 0x832 && msr <= 0x837)
			value |= 0x10000;
		avm_wrmsr(&a, 0, msr, value);
		avm_rdmsr(&a, 0, msr);
	}
	ktap_check(hv_get_stats(a.t.vm, 0, &s) == 0, "3000 random writes to MSRs");
	base(0, 0);
	base(0, EN);
}

static void state(void)
{
	struct hv_vcpu *v = a.t.vcpu[0];
	uint32_t *page = hv_vcpu_group(v, HV_GROUP_APIC);
	struct hv_apic_timer *timer = hv_vcpu_group(v, HV_GROUP_APIC_TIMER);
	uint64_t groups = HV_GROUP(HV_GROUP_APIC) | HV_GROUP(HV_GROUP_APIC_TIMER);
	uint32_t saved[1024];
	unsigned int i;
	int ret = 0;

	avm_write(&a, 0, 0xf0, 0x1ff);
	avm_write(&a, 0, 0x80, 0x90);
	avm_write(&a, 0, 0x300, 0x40000 | 0x66);
	avm_write(&a, 0, 0x320, 0x1004a);
	avm_write(&a, 0, 0xd0, 0x04000000);
	hv_vcpu_get_state(v, groups);
	memcpy(saved, page, 4096);
	ktap_check(page[0x80 / 4] == 0x90 && page[0x230 / 4] == 1u << 6 && page[0x320 / 4] == 0x1004a &&
		   page[0xf0 / 4] == 0x1ff, "the page is the hardware's");
	base(0, 0);
	base(0, EN);
	memcpy(page, saved, 4096);
	ktap_check(hv_vcpu_set_state(v, groups) == 0, "and can be set");
	ktap_check(avm_read(&a, 0, 0x80) == 0x90 && avm_read(&a, 0, 0x230) == 1u << 6 &&
		   avm_read(&a, 0, 0x320) == 0x1004a && avm_read(&a, 0, 0xd0) == 0x04000000, "it is back");
	avm_forget(&a);
	avm_write(&a, 0, 0x80, 0);
	avm_op(&a, 0, AVM_OPEN, 0, 0, 0);
	ktap_check(avm_taken(&a, 0, 0x66) == 1, "what was pending is delivered");
	avm_write(&a, 0, 0xb0, 0);

	for (i = 0; i < 300; i++) {
		for (unsigned int w = 0; w < 1024; w++)
			page[w] = rnd() >> (rnd() & 31);
		timer->remaining_ns = rnd() >> (rnd() & 63);
		timer->tsc_deadline = rnd() >> (rnd() & 63);
		timer->pending = rnd() & 1;
		memset(timer->reserved, 0, sizeof(timer->reserved));
		/* NMIs from LVTs are not wanted here. */
		page[0x320 / 4] |= 0x10000;
		page[0x350 / 4] |= 0x10000;
		page[0x360 / 4] |= 0x10000;
		page[0x370 / 4] |= 0x10000;
		ret |= hv_vcpu_set_state(v, groups);
		hv_vcpu_get_state(v, groups);
		if (page[0x20 / 4] || page[0x30 / 4] != 0x50014 || (page[0x200 / 4] & 0xffff) ||
		    (page[0x320 / 4] >> 17 & 3) == 3)
			ret |= 1;
		avm_op(&a, 0, AVM_OPEN, 0, 0, 0);
	}
	ktap_check(!ret, "300 random pages: taken, and made possible");
	memcpy(page, saved, 4096);
	memset(timer, 0, sizeof(*timer));
	hv_vcpu_set_state(v, groups);
	ktap_check(avm_read(&a, 0, 0x80) == 0x90, "the APIC still works");
}

static void access_call(void)
{
	struct hv_vcpu *v = a.t.vcpu[0];
	uint32_t val = 0;

	ktap_check(hv_vcpu_apic_access(v, 0x30, false, &val) == 0 && val == 0x50014, "HV_APIC_ACCESS reads");
	val = 0x30;
	ktap_check(hv_vcpu_apic_access(v, 0x80, true, &val) == 0 && avm_read(&a, 0, 0x80) == 0x30,
		   "and writes");
	base(0, 0);
	ktap_check(hv_vcpu_apic_access(v, 0x30, false, &val) == -EINVAL, "but not what is switched off");
	base(0, EN);
}

int main(void)
{
	avm_create(&a, 2);
	ktap_plan(113);
	reset_values();
	software_enable();
	both_modes();
	modes();
	x2apic_faults();
	every_value();
	state();
	access_call();
	avm_destroy(&a);
	return ktap_finish();
}
