// SPDX-License-Identifier: GPL-2.0-only
/*
 * x86_oracle.c - libhv's emulator against this machine's own CPU.
 *
 * Instructions are generated at random (x86_generate.h), with a memory operand that lies in,
 * across the edge of, or just outside three pages (two writable, one not), of which the emulator
 * has some as RAM and some as device memory.  Each is executed natively and by the
 * emulator; registers, flags, memory, and the exception if there is one, must agree.  64-bit
 * code, and 32- and 16-bit code with segments of all kinds from the LDT.
 *
 * x86_oracle [SEED [COUNT]]: a failure prints the line that repeats it.
 */
#include <cpuid.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "ktap.h"
#include "x86_machine.h"
#include "x86_native.h"
#include "x86_generate.h"

static unsigned int ran, faults;

/* Page tables for the same linear addresses, the pages scattered over RAM and device. */
#define PT_ROOT		0x1000
#define PT_CODE_PA	0x10000
#define PT_RAM_PA	0x20000

static uint64_t page_gpa[NATIVE_PAGES];

static uint8_t *page_bytes(struct machine *m, unsigned int page)
{
	return page_gpa[page] >= MACHINE_DEV ? m->dev + (page_gpa[page] - MACHINE_DEV)
					     : m->ram + page_gpa[page];
}

static void set_pte(struct machine *m, uint64_t table, unsigned int index, uint64_t value)
{
	memcpy(m->ram + table + 8 * index, &value, 8);
}

static void build_tables(struct machine *m)
{
	unsigned int i;

	/* PML4 1000, PDPT 2000, PD 3000; page tables: code 4000, data 5000. */
	set_pte(m, 0x1000, 0, 0x2000 | 7);
	set_pte(m, 0x2000, 0, 0x3000 | 7);
	set_pte(m, 0x3000, NATIVE_CODE >> 21, 0x4000 | 7);
	set_pte(m, 0x3000, NATIVE_DATA >> 21, 0x5000 | 7);
	for (i = 0; i < 2; i++)
		set_pte(m, 0x4000, i, (PT_CODE_PA + 0x1000 * i) | 7);
	for (i = 0; i < NATIVE_PAGES; i++) {
		/* Never neighbours, so that a page crossing gone straight on is seen. */
		page_gpa[i] = below(2) ? MACHINE_DEV + 0x2000 * (NATIVE_PAGES - i)
				       : PT_RAM_PA + 0x2000 * (NATIVE_PAGES - i);
		set_pte(m, 0x5000, i, page_gpa[i] | (i < 2 ? 7 : 5) | 1ULL << 63);
	}
}

/* The host's descriptors, as far as user code can tell them apart. */
#define TABLES_LINEAR	(NATIVE_DATA + 0x10000)
#define TABLES_PA	0x30000
#define GDT_ENTRIES	16

static const uint64_t host_gdt[GDT_ENTRIES] = {
	[1] = 0x00cf9b000000ffff, [2] = 0x00af9b000000ffff, [3] = 0x00cf93000000ffff,
	[4] = 0x00cffb000000ffff, [5] = 0x00cff3000000ffff, [6] = 0x00affb000000ffff,
	[8] = 0x00008b0000000067, [10] = 0x000082000000003f, [15] = 0x0040f50000000001,
};

static const uint16_t selectors[] = { 0, 1, 2, 3, 0x08, 0x10, 0x1b, 0x23, 0x2b, 0x28, 0x2a, 0x33, 0x43,
	0x53, 0x63, 0x7b, 0x78, 0x83, 0x0f, 0x0c, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x3c, 0x47, 0x07 };

static void build_descriptors(struct machine *m)
{
	uint64_t gdt[GDT_ENTRIES], desc[9] = { 0 };
	unsigned int i;

	/* Not every machine has all of those that are for users, nor an LDT that works. */
	for (i = 0; i < GDT_ENTRIES; i++)
		gdt[i] = (host_gdt[i] >> 45 & 3) != 3 || native_selector(i << 3 | 3) ? host_gdt[i] : 0;
	memcpy(m->ram + TABLES_PA, gdt, sizeof(gdt));
	for (i = 1; i < LDT_COUNT; i++)
		desc[ldt[i].selector >> 3] = (ldt[i].limit & 0xffff) |
			(uint64_t)(ldt[i].limit >> 16 & 0xf) << 48 |
			(uint64_t)(ldt[i].base & 0xffffff) << 16 |
			(uint64_t)(ldt[i].base >> 24) << 56 | (uint64_t)ldt[i].big << 54 |
			(0xf1ULL | (ldt[i].contents ? 6 : ldt[i].read_only ? 0 : 2)) << 40;
	desc[LDT_CODE16 >> 3] = 0xffff | (NATIVE_CODE & 0xffffff) << 16 | (NATIVE_CODE >> 24) << 56 |
				0xfbULL << 40;
	for (i = 1; i < 8; i++)
		if (!native_selector(i << 3 | 7))
			desc[i] = 0;
	memcpy(m->ram + TABLES_PA + 0x100, desc, sizeof(desc));
	set_pte(m, 0x5000, 16, TABLES_PA | 3);
	m->segs.gdtr.base = TABLES_LINEAR;
	m->segs.gdtr.limit = sizeof(host_gdt) - 1;
	m->segs.seg[HV_LDTR] = machine_seg(0x50, TABLES_LINEAR + 0x100, 8 * 8 - 1, 0x82);
}

static void emulator_setup(struct machine *m, const struct trial *t)
{
	unsigned int i;

	memcpy(m->regs.gpr, t->gpr, sizeof(t->gpr));
	m->regs.rip = t->rip;
	m->regs.rflags = t->rflags;
	m->x.flags = HV_X86_PAGE_1G | (is_amd ? 0 : HV_X86_INTEL);
	m->control = (struct hv_control){ .cr0 = 0x80050033, .cr3 = PT_ROOT, .cr4 = 0x20,
					  .efer = 0xd01, .xcr0 = 7 };
	memset(&m->events, 0, sizeof(m->events));
	machine_flat(m, 3, t->bits == 64 ? ATTR_CODE64 : t->bits == 32 ? ATTR_CODE32 : ATTR_CODE16);
	m->segs.seg[HV_CS].selector = t->bits == 64 ? 0x33 : t->bits == 32 ? 0x23 : LDT_CODE16;
	m->segs.seg[HV_SS].selector = 0x2b;
	m->segs.seg[HV_DS].selector = m->segs.seg[HV_ES].selector = 0x2b;
	m->segs.seg[HV_FS].selector = m->segs.seg[HV_GS].selector = 0;
	m->segs.seg[HV_GS].base = t->gs_base;
	if (t->bits == 16) {
		m->segs.seg[HV_CS].base = NATIVE_CODE;
		m->segs.seg[HV_CS].limit = 0xffff;
	}
	for (i = 0; i < 6 && t->bits != 64; i++) {
		const struct ldt_entry *e = &ldt[t->seg[i]];

		if (i == HV_CS || i == HV_FS)
			continue;
		m->segs.seg[i] = machine_seg(e->selector, e->base, e->limit,
			(e->contents ? 7 : e->read_only ? 1 : 3) | HV_SEG_S | HV_SEG_P | HV_SEG_DPL |
			(e->big ? HV_SEG_DB : 0));
	}
}

static const char *hex(const uint8_t *p, unsigned int n)
{
	static char s[64];
	unsigned int i;

	for (i = 0; i < n; i++)
		sprintf(s + 3 * i, "%02x ", p[i]);
	return s;
}

/* The component's bytes as XSTATE_BV says they are. */
static void vector_regs(const uint8_t *image, uint8_t out[512])
{
	uint64_t bv;

	memcpy(&bv, image + 512, 8);
	memset(out, 0, 512);
	if (bv & 2)
		memcpy(out, image + 160, 256);
	if (bv & 4)
		memcpy(out + 256, image + 576, 256);
}

static unsigned int complaints;

static bool complain(const struct trial *t, uint64_t seed, const char *what, uint64_t is,
		     uint64_t should)
{
	if (complaints++ < 60)
		ktap_note("%u-bit %s: %s: %s is %llx, the CPU has %llx; x86_oracle %#llx 1",
			  t->bits, t->form->name, hex(t->bytes, t->len), what,
			  (unsigned long long)is, (unsigned long long)should,
			  (unsigned long long)seed);
	return false;
}

static const char *const reg_names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };

static bool is_zen5;			/* or newer */

static bool compare(struct machine *m, const struct trial *t, uint64_t seed)
{
	const uint64_t reg_mask = t->bits == 64 ? ~0ULL : 0xffffffff;
	const bool fault = m->events.exc_flags;
	uint64_t flags_mask = (CF | PF | AF | ZF | SF | OF | DF | AC) & ~(uint64_t)t->undefined;
	uint64_t flags, rip;
	const uint64_t *gpr;
	uint8_t is[512], should[512];
	unsigned int i;

	if (fault != native_trap.taken)
		return complain(t, seed, "exception", fault ? m->events.exc_vector + 1000 : 0,
				native_trap.taken ? native_trap.vector + 1000 : 0);
	if (fault) {
		faults++;
		gpr = native_trap.gpr;
		flags = native_trap.rflags;
		rip = native_trap.rip;
		/* Of two faulting operands a CPU may report either. AMD's is sure but for REP CMPS,
		 * and from Zen 5 on for any CMPS. */
		if ((t->form->flags & COMPARE) && (t->rep || is_zen5) && (t->form->opcode & ~1) == 0xa6)
			goto registers;
		if (!is_amd && (t->form->flags & (STRING | STACK)))
			goto registers;
		if (m->events.exc_vector != native_trap.vector)
			return complain(t, seed, "vector", m->events.exc_vector, native_trap.vector);
		if ((m->events.exc_flags & HV_EXC_ERROR_CODE) &&
		    m->events.exc_error_code != native_trap.error_code)
			return complain(t, seed, "error code", m->events.exc_error_code,
					native_trap.error_code);
		if (m->events.exc_vector == 14 && m->events.exc_payload != native_trap.cr2)
			return complain(t, seed, "cr2", m->events.exc_payload, native_trap.cr2);
registers:
		if (m->x.retire)
			return complain(t, seed, "retire", m->x.retire, 0);
	} else {
		gpr = native->out_gpr;
		flags = native->out_rflags;
		rip = t->rip + t->len;
		if (m->x.retire != t->len)
			return complain(t, seed, "retire", m->x.retire, t->len);
		m->regs.rip += m->x.retire;
	}
	if (m->regs.rip != rip)
		return complain(t, seed, "rip", m->regs.rip, rip);
	for (i = 0; i < (t->bits == 64 ? 16 : 8); i++)
		if ((m->regs.gpr[i] ^ gpr[i]) & reg_mask)
			return complain(t, seed, reg_names[i], m->regs.gpr[i] & reg_mask,
					gpr[i] & reg_mask);
	if ((m->regs.rflags ^ flags) & flags_mask)
		return complain(t, seed, "rflags", m->regs.rflags & flags_mask, flags & flags_mask);
	for (i = 0; i < NATIVE_PAGES * 4096; i++)
		if (page_bytes(m, i / 4096)[i % 4096] != native_data[i])
			return complain(t, seed, "memory", i << 8 | page_bytes(m, i / 4096)[i % 4096],
					i << 8 | native_data[i]);
	if ((t->form->flags & SEGLOAD) && !fault) {
		const uint16_t out[4] = { native->out_es, 0, native->out_ss, native->out_ds };
		const unsigned int n = t->form->digit;

		/* An interrupt's IRET may have made a null selector 0. */
		if (m->segs.seg[n].selector != out[n] && (m->segs.seg[n].selector | out[n]) > 3)
			return complain(t, seed, "selector", m->segs.seg[n].selector, out[n]);
	}
	vector_regs(m->xsave, is);
	vector_regs(native->out_xsave, should);
	for (i = 0; i < 512; i++)
		if (is[i] != should[i])
			return complain(t, seed, "vector register byte", i << 8 | is[i],
					i << 8 | should[i]);
	return true;
}

static void fill_memory(const struct trial *t)
{
	unsigned int i;
	uint64_t word;

	if (t->form->flags & SEGLOAD) {
		word = selectors[below(sizeof(selectors) / 2)] * 0x0001000100010001ULL;
		for (i = 0; i < NATIVE_PAGES * 4096; i += 8)
			memcpy(native_data + i, &word, 8);
		return;
	}

	for (i = 0; i < NATIVE_PAGES * 4096; i += 8) {
		word = rnd();
		memcpy(native_data + i, &word, 8);
	}
	/* Comparisons that hold: a page of the accumulator, and equal strings. */
	if (below(2) && !(t->form->flags & PAIR)) {
		word = t->gpr[HV_RAX];
		if (below(2))
			word = (uint8_t)word * 0x0101010101010101ULL;
		for (i = 0; i < 8192; i += t->op_bytes)
			memcpy(native_data + i, &word, t->op_bytes);
	} else if (t->form->flags & PAIR) {
		const unsigned int half = t->form->flags & WBIT ? 8 : 4;

		for (i = 0; i < 8192 && below(2); i += 2 * half) {
			memcpy(native_data + i, &t->gpr[HV_RAX], half);
			memcpy(native_data + i + half, &t->gpr[HV_RDX], half);
		}
	}
}

static bool one(struct machine *m, unsigned int bits)
{
	const uint64_t seed = machine_seed;
	struct hv_x86_hint hint = { 0 };
	unsigned int i;
	uint64_t bv;
	struct trial t;
	int ret;

	while (!generate(&t, bits))
		;
	fill_memory(&t);
	build_tables(m);
	for (i = 0; i < NATIVE_PAGES; i++)
		memcpy(page_bytes(m, i), native_data + i * 4096, 4096);
	for (i = 0; i < 832; i += 8)
		if (i >= 160 && i < 416)
			*(uint64_t *)(native->xsave + i) = rnd();
		else if (i >= 576)
			*(uint64_t *)(native->xsave + i) = rnd();
	bv = below(4) ? 7 : below(8);
	memcpy(native->xsave + 512, &bv, 8);
	memcpy(m->xsave, native->xsave, sizeof(native->xsave));
	emulator_setup(m, &t);
	build_descriptors(m);
	memcpy(native->gpr, t.gpr, sizeof(t.gpr));
	native->rflags = t.rflags;
	native->legacy = bits != 64;
	native->far_selector = m->segs.seg[HV_CS].selector;
	native->ds = m->segs.seg[HV_DS].selector;
	native->es = m->segs.seg[HV_ES].selector;
	native->ss = m->segs.seg[HV_SS].selector;
	native->gs = m->segs.seg[HV_GS].selector;
	if (bits == 64) {
		native->legacy = 0;
		m->segs.seg[HV_DS].selector = m->segs.seg[HV_ES].selector = 0x2b;
		syscall(SYS_arch_prctl, ARCH_SET_GS, t.gs_base);
	}
	native_run(t.bytes, t.len, bits, t.at);
	ran++;
	memcpy(m->ram + PT_CODE_PA, (void *)NATIVE_CODE, 8192);

	/* The exit may bring all, some, or none of the bytes. */
	hint.insn_len = below(3) ? t.len : below(t.len + 1);
	memcpy(hint.insn, t.bytes, hint.insn_len);
	ret = hv_x86_emulate(&m->x, &hint);
	if (ret) {
		if (complaints++ < 60)
			ktap_note("%u-bit %s: %s: %d, %s; x86_oracle %#llx 1", bits, t.form->name,
				  hex(t.bytes, t.len), ret, m->x.error, (unsigned long long)seed);
		return false;
	}
	return compare(m, &t, seed);
}

static void run(struct machine *m, unsigned int bits, unsigned int count)
{
	unsigned int i, bad = 0;

	ran = faults = 0;
	for (i = 0; i < count; i++)
		bad += !one(m, bits);
	ktap_check(!bad, "%u-bit code: %u instructions as on the CPU, %u of them faulting, %u wrong",
		   bits, ran, faults, bad);
}

int main(int argc, char **argv)
{
	unsigned int count = argc > 2 ? strtoul(argv[2], NULL, 0) : 20000;
	struct machine *m = machine_new();
	unsigned int eax, ebx, ecx, edx, i;
	bool ldt_ok = true;

	__cpuid(0, eax, ebx, ecx, edx);
	is_amd = ecx == 0x444d4163 || ecx == 0x656e6975;	/* ..cAMD, Hygon's ..uine */
	machine_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 0x9e3779b97f4a7c15;
	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & (1u << 27)))
		ktap_skip_all("this CPU has no XSAVE");
	is_zen5 = is_amd && (eax >> 8 & 0xf) + (eax >> 20 & 0xff) >= 0x1a;
	have_avx = ecx & (1u << 28);
	have_movbe = ecx & (1u << 22);
	if (!native_init())
		ktap_skip_all("the fixed addresses are not free");
	for (i = 1; i < LDT_COUNT; i++)
		ldt_ok &= native_ldt(ldt[i].selector >> 3, ldt[i].base, ldt[i].limit,
				     ldt[i].contents, ldt[i].big, ldt[i].read_only);
	ldt_ok &= native_ldt(LDT_CODE16 >> 3, NATIVE_CODE, 0xffff, 2, false, false);
	/* MXCSR as after reset; the rest of the legacy area may be zero. */
	*(uint32_t *)(native->xsave + 24) = 0x1f80;
	*(uint16_t *)native->xsave = 0x37f;

	ktap_plan(3);
	ktap_note("seed %#llx", (unsigned long long)machine_seed);
	run(m, 64, count);
	if (ldt_ok && native_selector(0x23)) {
		run(m, 32, count);
		run(m, 16, count / 2);
	} else {
		ktap_skip("32-bit code", "this machine has no LDT or no 32-bit code segment");
		ktap_skip("16-bit code", "this machine has no LDT or no 32-bit code segment");
	}
	machine_free(m);
	return ktap_finish();
}
