// SPDX-License-Identifier: GPL-2.0-only
/*
 * x86_oracle.c - libhv's emulator against this machine's own CPU.
 *
 * Instructions are generated at random from the table of encodings below, with a memory operand
 * that lies in, across the edge of, or just outside three pages (two writable, one not), of which
 * the emulator has some as RAM and some as device memory.  Each is executed natively and by the
 * emulator; registers, flags, memory, and the exception if there is one, must agree.  64-bit code, and
 * 32- and 16-bit code with segments of all kinds from the LDT.
 *
 * x86_oracle [SEED [COUNT]]: a failure prints the line that repeats it.
 */
#include <cpuid.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "ktap.h"
#include "x86_machine.h"
#include "x86_native.h"

#define CF 0x001
#define PF 0x004
#define AF 0x010
#define ZF 0x040
#define SF 0x080
#define OF 0x800
#define DF 0x400
#define AC 0x40000

/* How a form is encoded and what is special about it. */
#define BYTE	0x1		/* 8-bit operation: no operand size prefix */
#define LOCK	0x2		/* may carry LOCK */
#define IMM8	0x4
#define IMMZ	0x8		/* immediate of operand size, at most 4 */
#define STRING	0x10
#define MOFFS	0x20
#define STACK	0x40
#define BITIDX	0x80		/* register gives a bit number */
#define VECTOR	0x100		/* no operand size prefix, no REX.W unless WBIT */
#define WBIT	0x200		/* with REX.W */
#define PAIR	0x400		/* CMPXCHG8B, CMPXCHG16B */
#define SEGREAD	0x800		/* ModRM.reg is a segment register, read */
#define SHIFTS	0x1000		/* OF only for a count of one; CF while count <= bits */
#define VEXABLE	0x2000		/* has a VEX form with the same opcode */
#define NDS	0x4000		/* whose vvvv is a source */
#define L256	0x8000		/* VEX.L may be 1 */
#define ONLY64	0x10000
#define COMPARE	0x20000		/* string: CMPS, SCAS */
#define NO16	0x40000		/* no 16-bit form */
#define SEGLOAD	0x80000		/* of the segment register digit */

struct form {
	const char *name;
	uint8_t prefix;		/* mandatory: 66, f2, f3 */
	uint8_t map;		/* 0, 1: 0f, 2: 0f38 */
	uint8_t opcode;
	int8_t digit;		/* ModRM.reg, -1: a register */
	uint32_t flags;
	uint32_t undefined;	/* flags nobody shall compare */
};

#define LOGIC AF
static const struct form forms[] = {
	{ "mov", 0, 0, 0x88, -1, BYTE }, { "mov", 0, 0, 0x89, -1 }, { "mov", 0, 0, 0x8a, -1, BYTE },
	{ "mov", 0, 0, 0x8b, -1 }, { "mov", 0, 0, 0xc6, 0, BYTE | IMM8 },
	{ "mov", 0, 0, 0xc7, 0, IMMZ }, { "mov sreg", 0, 0, 0x8c, 0, SEGREAD },
	{ "mov to es", 0, 0, 0x8e, 0, SEGLOAD }, { "mov to ss", 0, 0, 0x8e, 2, SEGLOAD },
	{ "mov to ds", 0, 0, 0x8e, 3, SEGLOAD },
	{ "mov moffs", 0, 0, 0xa0, -1, MOFFS | BYTE }, { "mov moffs", 0, 0, 0xa1, -1, MOFFS },
	{ "mov moffs", 0, 0, 0xa2, -1, MOFFS | BYTE }, { "mov moffs", 0, 0, 0xa3, -1, MOFFS },
	{ "movzx", 0, 1, 0xb6, -1 }, { "movzx", 0, 1, 0xb7, -1 }, { "movsx", 0, 1, 0xbe, -1 },
	{ "movsx", 0, 1, 0xbf, -1 }, { "movsxd", 0, 0, 0x63, -1, ONLY64 },
	{ "movbe", 0, 2, 0xf0, -1 }, { "movbe", 0, 2, 0xf1, -1 },
	{ "movnti", 0, 1, 0xc3, -1, NO16 },
#define ALU(n, op, undef, lock) \
	{ n, 0, 0, (op) * 8, -1, BYTE | (lock), undef }, \
	{ n, 0, 0, (op) * 8 + 1, -1, (lock), undef }, \
	{ n, 0, 0, (op) * 8 + 2, -1, BYTE, undef }, { n, 0, 0, (op) * 8 + 3, -1, 0, undef }, \
	{ n, 0, 0, 0x80, op, BYTE | IMM8 | (lock), undef }, \
	{ n, 0, 0, 0x81, op, IMMZ | (lock), undef }, { n, 0, 0, 0x83, op, IMM8 | (lock), undef }
	ALU("add", 0, 0, LOCK), ALU("or", 1, LOGIC, LOCK), ALU("adc", 2, 0, LOCK),
	ALU("sbb", 3, 0, LOCK), ALU("and", 4, LOGIC, LOCK), ALU("sub", 5, 0, LOCK),
	ALU("xor", 6, LOGIC, LOCK), ALU("cmp", 7, 0, 0),
	{ "test", 0, 0, 0x84, -1, BYTE, LOGIC }, { "test", 0, 0, 0x85, -1, 0, LOGIC },
	{ "test", 0, 0, 0xf6, 0, BYTE | IMM8, LOGIC }, { "test", 0, 0, 0xf7, 0, IMMZ, LOGIC },
	{ "not", 0, 0, 0xf6, 2, BYTE | LOCK }, { "not", 0, 0, 0xf7, 2, LOCK },
	{ "neg", 0, 0, 0xf6, 3, BYTE | LOCK }, { "neg", 0, 0, 0xf7, 3, LOCK },
	{ "inc", 0, 0, 0xfe, 0, BYTE | LOCK }, { "inc", 0, 0, 0xff, 0, LOCK },
	{ "dec", 0, 0, 0xfe, 1, BYTE | LOCK }, { "dec", 0, 0, 0xff, 1, LOCK },
	{ "xchg", 0, 0, 0x86, -1, BYTE | LOCK }, { "xchg", 0, 0, 0x87, -1, LOCK },
	{ "xadd", 0, 1, 0xc0, -1, BYTE | LOCK }, { "xadd", 0, 1, 0xc1, -1, LOCK },
	{ "cmpxchg", 0, 1, 0xb0, -1, BYTE | LOCK }, { "cmpxchg", 0, 1, 0xb1, -1, LOCK },
	{ "cmpxchg8b", 0, 1, 0xc7, 1, PAIR | LOCK },
	{ "cmpxchg16b", 0, 1, 0xc7, 1, PAIR | WBIT | LOCK | ONLY64 },
	{ "bt", 0, 1, 0xa3, -1, BITIDX, OF | SF | AF | PF },
	{ "bts", 0, 1, 0xab, -1, BITIDX | LOCK, OF | SF | AF | PF },
	{ "btr", 0, 1, 0xb3, -1, BITIDX | LOCK, OF | SF | AF | PF },
	{ "btc", 0, 1, 0xbb, -1, BITIDX | LOCK, OF | SF | AF | PF },
	{ "bt", 0, 1, 0xba, 4, IMM8, OF | SF | AF | PF },
	{ "bts", 0, 1, 0xba, 5, IMM8 | LOCK, OF | SF | AF | PF },
	{ "btr", 0, 1, 0xba, 6, IMM8 | LOCK, OF | SF | AF | PF },
	{ "btc", 0, 1, 0xba, 7, IMM8 | LOCK, OF | SF | AF | PF },
#define SHIFT(n, digit, undef) \
	{ n, 0, 0, 0xd0, digit, BYTE, undef }, { n, 0, 0, 0xd1, digit, 0, undef }, \
	{ n, 0, 0, 0xd2, digit, BYTE | SHIFTS, undef }, { n, 0, 0, 0xd3, digit, SHIFTS, undef }, \
	{ n, 0, 0, 0xc0, digit, BYTE | IMM8 | SHIFTS, undef }, \
	{ n, 0, 0, 0xc1, digit, IMM8 | SHIFTS, undef }
	SHIFT("rol", 0, 0), SHIFT("ror", 1, 0), SHIFT("rcl", 2, 0), SHIFT("rcr", 3, 0),
	SHIFT("shl", 4, AF), SHIFT("shr", 5, AF), SHIFT("sar", 7, AF),
#define CC4(n, op, flags) \
	{ n, 0, 1, (op), 0, flags }, { n, 0, 1, (op) + 1, 0, flags }, \
	{ n, 0, 1, (op) + 2, 0, flags }, { n, 0, 1, (op) + 3, 0, flags }
	CC4("setcc", 0x90, BYTE), CC4("setcc", 0x94, BYTE), CC4("setcc", 0x98, BYTE),
	CC4("setcc", 0x9c, BYTE),
#define CMOV4(op) { "cmovcc", 0, 1, (op), -1 }, { "cmovcc", 0, 1, (op) + 1, -1 }, \
	{ "cmovcc", 0, 1, (op) + 2, -1 }, { "cmovcc", 0, 1, (op) + 3, -1 }
	CMOV4(0x40), CMOV4(0x44), CMOV4(0x48), CMOV4(0x4c),
	{ "push", 0, 0, 0xff, 6, STACK }, { "pop", 0, 0, 0x8f, 0, STACK },
#define STR(n, op, extra) { n, 0, 0, op, -1, STRING | BYTE | (extra) }, \
	{ n, 0, 0, (op) + 1, -1, STRING | (extra) }
	STR("movs", 0xa4, 0), STR("cmps", 0xa6, COMPARE), STR("stos", 0xaa, 0),
	STR("lods", 0xac, 0), STR("scas", 0xae, COMPARE),
	STR("movs", 0xa4, 0), STR("cmps", 0xa6, COMPARE), STR("stos", 0xaa, 0),
	{ "movups", 0, 1, 0x10, -1, VECTOR | VEXABLE | L256 },
	{ "movups", 0, 1, 0x11, -1, VECTOR | VEXABLE | L256 },
	{ "movupd", 0x66, 1, 0x10, -1, VECTOR | VEXABLE | L256 },
	{ "movupd", 0x66, 1, 0x11, -1, VECTOR | VEXABLE | L256 },
	{ "movss", 0xf3, 1, 0x10, -1, VECTOR | VEXABLE }, { "movss", 0xf3, 1, 0x11, -1, VECTOR | VEXABLE },
	{ "movsd", 0xf2, 1, 0x10, -1, VECTOR | VEXABLE }, { "movsd", 0xf2, 1, 0x11, -1, VECTOR | VEXABLE },
	{ "movlps", 0, 1, 0x12, -1, VECTOR | VEXABLE | NDS }, { "movlps", 0, 1, 0x13, -1, VECTOR | VEXABLE },
	{ "movlpd", 0x66, 1, 0x12, -1, VECTOR | VEXABLE | NDS },
	{ "movlpd", 0x66, 1, 0x13, -1, VECTOR | VEXABLE },
	{ "movhps", 0, 1, 0x16, -1, VECTOR | VEXABLE | NDS }, { "movhps", 0, 1, 0x17, -1, VECTOR | VEXABLE },
	{ "movhpd", 0x66, 1, 0x16, -1, VECTOR | VEXABLE | NDS },
	{ "movhpd", 0x66, 1, 0x17, -1, VECTOR | VEXABLE },
	{ "movaps", 0, 1, 0x28, -1, VECTOR | VEXABLE | L256 },
	{ "movaps", 0, 1, 0x29, -1, VECTOR | VEXABLE | L256 },
	{ "movapd", 0x66, 1, 0x28, -1, VECTOR | VEXABLE | L256 },
	{ "movapd", 0x66, 1, 0x29, -1, VECTOR | VEXABLE | L256 },
	{ "movntps", 0, 1, 0x2b, -1, VECTOR | VEXABLE | L256 },
	{ "movntpd", 0x66, 1, 0x2b, -1, VECTOR | VEXABLE | L256 },
	{ "movd", 0x66, 1, 0x6e, -1, VECTOR | VEXABLE }, { "movd", 0x66, 1, 0x7e, -1, VECTOR | VEXABLE },
	{ "movq", 0x66, 1, 0x6e, -1, VECTOR | VEXABLE | WBIT | ONLY64 },
	{ "movq", 0x66, 1, 0x7e, -1, VECTOR | VEXABLE | WBIT | ONLY64 },
	{ "movq", 0xf3, 1, 0x7e, -1, VECTOR | VEXABLE }, { "movq", 0x66, 1, 0xd6, -1, VECTOR | VEXABLE },
	{ "movdqa", 0x66, 1, 0x6f, -1, VECTOR | VEXABLE | L256 },
	{ "movdqa", 0x66, 1, 0x7f, -1, VECTOR | VEXABLE | L256 },
	{ "movdqu", 0xf3, 1, 0x6f, -1, VECTOR | VEXABLE | L256 },
	{ "movdqu", 0xf3, 1, 0x7f, -1, VECTOR | VEXABLE | L256 },
	{ "movntdq", 0x66, 1, 0xe7, -1, VECTOR | VEXABLE | L256 },
	{ "movntdqa", 0x66, 2, 0x2a, -1, VECTOR | VEXABLE },
	{ "lddqu", 0xf2, 1, 0xf0, -1, VECTOR | VEXABLE | L256 },
};

#define FORMS (sizeof(forms) / sizeof(forms[0]))

/* One test: the instruction and what it starts from. */
struct trial {
	const struct form *form;
	unsigned int bits, addr_bytes, op_bytes;
	uint8_t bytes[16];
	unsigned int len;
	uint64_t gpr[16];
	uint64_t rflags, gs_base, rip;
	uint32_t at;
	unsigned int seg[6];		/* 32-, 16-bit: index into ldt[] */
	bool rep, has_mem, is_vex;
	uint32_t undefined;
};

/* The data segments of 32- and 16-bit code; the first is flat as the kernel made it. */
static const struct ldt_entry {
	uint16_t selector;
	uint32_t base, limit, contents;
	bool big, read_only;
} ldt[] = {
	{ 0x2b, 0, 0xffffffff, 0, true, false },
	{ 0x0f, NATIVE_DATA, 0x2fff, 0, true, false },
	{ 0x17, NATIVE_DATA - 0x100, 0x50ff, 0, false, false },
	{ 0x1f, NATIVE_DATA, 0x1801, 0, true, false },
	{ 0x27, NATIVE_DATA - 0x800, 0x0ffd, 1, false, false },	/* expand-down, 64 KiB */
	{ 0x2f, NATIVE_DATA - 0x800, 0x17fe, 1, true, false },	/* expand-down, 4 GiB */
	{ 0x37, NATIVE_DATA, 0x2fff, 0, true, true },		/* not for SS */
};
#define LDT_COUNT	7
#define LDT_CODE16	0x3f

static bool have_avx, have_movbe, is_amd;
static unsigned int ran, faults;

static uint64_t mask_of(unsigned int bytes)
{
	return bytes >= 8 ? ~0ULL : (1ULL << (8 * bytes)) - 1;
}

static uint64_t interesting(void)
{
	static const uint64_t some[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
					 0x80000000, 0xffffffff, 0x7fffffffffffffff,
					 0x8000000000000000, 0xffffffffffffffff };

	return below(3) ? rnd() : some[below(sizeof(some) / sizeof(some[0]))];
}

/* Where the operand is to lie: inside, across an edge, or outside. */
static uint64_t pick_target(void)
{
	switch (below(10)) {
	case 0: return NATIVE_DATA + 4096 - 20 + below(24);
	case 1: return NATIVE_DATA + 8192 - 20 + below(24);
	case 2: return NATIVE_DATA + 12288 - 20 + below(24);
	case 3: return NATIVE_DATA - 20 + below(24);
	case 4: return NATIVE_DATA + 8192 + below(4096);
	case 5: return NATIVE_DATA + below(8192) / 32 * 32;	/* aligned for all */
	default: return NATIVE_DATA + 64 + below(8000);
	}
}

static uint64_t seg_base(const struct trial *t, unsigned int seg)
{
	if (t->bits == 64)
		return seg == HV_GS ? t->gs_base : 0;
	if (seg == HV_CS)
		return t->bits == 16 ? NATIVE_CODE : 0;
	return ldt[t->seg[seg]].base;
}

static void put(struct trial *t, uint8_t byte)
{
	t->bytes[t->len++] = byte;
}

static void put_value(struct trial *t, uint64_t value, unsigned int size)
{
	memcpy(t->bytes + t->len, &value, size);
	t->len += size;
}

/* Sets the low bits of a register and leaves garbage above, where the address ignores it. */
static void set_reg(struct trial *t, unsigned int reg, uint64_t value)
{
	const uint64_t mask = mask_of(t->addr_bytes);

	t->gpr[reg] = (t->gpr[reg] & ~mask) | (value & mask);
	if (t->bits != 64)
		t->gpr[reg] &= 0xffffffff;
}

struct address {
	uint8_t modrm, sib;
	bool has_sib;
	unsigned int disp_size;
	int64_t disp;
	uint8_t rex_b, rex_x;
	bool rip_relative;
	unsigned int seg;
};

/* 16-bit addressing has forms of its own. */
static bool address16(struct trial *t, struct address *a, uint64_t target, int over)
{
	static const int8_t base[8] = { 3, 3, 5, 5, 6, 7, 5, 3 };
	static const int8_t index[8] = { 6, 7, 6, 7, -1, -1, -1, -1 };
	unsigned int mod = below(3), rm = below(8);
	uint64_t offset;

	a->seg = over >= 0 ? (unsigned int)over : base[rm] == 5 && !(mod == 0 && rm == 6) ? HV_SS
											  : HV_DS;
	offset = target - seg_base(t, a->seg);
	a->modrm = mod << 6 | rm;
	a->disp_size = mod;
	a->disp = mod ? (int16_t)rnd() : 0;
	if (mod == 1)
		a->disp = (int8_t)a->disp;
	if (mod == 0 && rm == 6) {
		a->disp_size = 2;
		a->disp = (int16_t)offset;
		return true;
	}
	offset -= a->disp;
	if (index[rm] >= 0)
		offset -= t->gpr[index[rm]];
	set_reg(t, base[rm], offset);
	return true;
}

/* A ModRM address of @target; false if the registers drawn cannot make it. */
static bool address(struct trial *t, struct address *a, uint64_t target, int over)
{
	unsigned int mod = below(3), base, index, scale = below(4);
	const unsigned int regs = t->bits == 64 ? 16 : 8;
	bool use_sib = below(3) == 0, no_base = false;
	uint64_t offset;

	memset(a, 0, sizeof(*a));
	if (t->addr_bytes == 2)
		return address16(t, a, target, over);
	base = below(regs);
	index = below(regs);
	if ((base & 7) == 4)
		use_sib = true;
	if (mod == 0 && (base & 7) == 5)
		no_base = true;
	a->seg = over >= 0 ? (unsigned int)over
			   : !no_base && (base == 4 || base == 5) ? HV_SS : HV_DS;
	offset = target - seg_base(t, a->seg);
	a->rex_b = base >> 3;
	a->disp_size = mod == 1 ? 1 : mod == 2 || no_base ? 4 : 0;
	a->disp = (int32_t)rnd();
	if (a->disp_size == 1)
		a->disp = (int8_t)a->disp;
	else if (!a->disp_size)
		a->disp = 0;

	if (!use_sib) {
		a->modrm = mod << 6 | (base & 7);
		if (no_base) {
			a->disp = (int32_t)offset;
			a->rip_relative = t->bits == 64;
			return true;
		}
		if ((t->form->flags & STACK) && base == 4)
			return false;
		set_reg(t, base, offset - a->disp);
		return true;
	}

	a->modrm = mod << 6 | 4;
	a->has_sib = true;
	a->sib = scale << 6 | (index & 7) << 3 | (base & 7);
	a->rex_x = index >> 3;
	if (index == 4) {
		if (no_base)
			a->disp = (int32_t)offset;
		else if ((t->form->flags & STACK) && base == 4)
			/* The stack pointer stands; POP reckons with the one after it. */
			return a->disp_size < 4 && t->bits == 64 && t->addr_bytes == 8 && over < 0;
		else
			set_reg(t, base, offset - a->disp);
		return true;
	}
	if (no_base) {
		if (scale)
			a->disp = (int32_t)(offset - (t->gpr[index] << scale)), scale = 0;
		else
			set_reg(t, index, offset - a->disp);
		/* A displacement of 32 bits cannot make up for a 64-bit index. */
		return t->addr_bytes == 4 ||
		       ((t->gpr[index] << (a->sib >> 6)) + a->disp == offset);
	}
	if (base == index || ((t->form->flags & STACK) && base == 4))
		return false;
	set_reg(t, base, offset - a->disp - (t->gpr[index] << scale));
	return true;
}

static void string_setup(struct trial *t, int over)
{
	const unsigned int src = over >= 0 ? (unsigned int)over : HV_DS;
	uint64_t count = below(4) ? below(12) : 0;

	set_reg(t, HV_RSI, pick_target() - seg_base(t, src));
	set_reg(t, HV_RDI, pick_target() - seg_base(t, HV_ES));
	if (below(3) == 0)
		t->rep = true;
	if (t->rep)
		set_reg(t, HV_RCX, count);
	if (below(2))
		t->rflags |= DF;
}

static const uint8_t override_byte[6] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };

/* Draws one instruction and its registers; false: draw again. */
static bool generate(struct trial *t, unsigned int bits)
{
	const struct form *f = &forms[below(FORMS)];
	const uint32_t flags = f->flags;
	struct address a = { 0 };
	unsigned int reg = below(bits == 64 ? 16 : 8), i, imm;
	bool rexw = false, rex = false, p66 = false, p67 = false, lock = false, vex, l = false;
	uint64_t target, moffs = 0;
	uint8_t vvvv = 0xf;
	int over = -1;

	memset(t, 0, sizeof(*t));
	t->form = f;
	t->bits = bits;
	if ((flags & ONLY64) && bits != 64)
		return false;
	if (f->map == 2 && f->opcode >= 0xf0 && !have_movbe)
		return false;
	for (i = 0; i < 16; i++)
		t->gpr[i] = i < (bits == 64 ? 16 : 8) ? interesting() : 0;
	if (bits != 64)
		for (i = 0; i < 8; i++)
			t->gpr[i] = (uint32_t)t->gpr[i];
	t->rflags = 0x202 | (rnd() & (CF | PF | AF | ZF | SF | OF));
	/* Alignment checks of vector moves are the vendor's choice; the emulator does AMD's. */
	if (below(12) == 0 && is_amd)
		t->rflags |= AC;
	if (bits == 64) {
		t->gs_base = below(2) ? 0 : rnd() >> 20;
	} else {
		for (i = 0; i < 6; i++)
			t->seg[i] = below(i == HV_SS ? LDT_COUNT - 1 : LDT_COUNT);
		t->seg[HV_FS] = 0;
	}

	/* Sizes and prefixes. */
	vex = (flags & VEXABLE) && have_avx && below(2);
	p67 = below(5) == 0;
	t->addr_bytes = bits == 64 ? (p67 ? 4 : 8) : (bits == 32) != p67 ? 4 : 2;
	if (flags & (VECTOR | PAIR)) {
		rexw = flags & WBIT;
	} else if (!(flags & BYTE)) {
		p66 = below(3) == 0 && !(flags & NO16);
		rexw = bits == 64 && below(3) == 0 && !(flags & (SEGREAD | SEGLOAD));
	}
	t->op_bytes = flags & BYTE ? 1 : rexw ? 8 : (bits == 16) != p66 ? 2 : 4;
	if ((flags & NO16) && t->op_bytes == 2)
		return false;
	if ((flags & STACK) && bits == 64)
		t->op_bytes = p66 && !rexw ? 2 : 8;
	/* MOVSXD without REX.W, and IMM16 of a byte prefix: legal, but nobody's. */
	if (below(4) == 0) {
		over = bits == 64 ? HV_GS : (int[]){ HV_ES, HV_CS, HV_SS, HV_DS, HV_GS }[below(5)];
	}
	lock = (flags & LOCK) && below(4) == 0;
	/* LOCK with a register destination cannot happen: there is always memory. */

	target = pick_target();
	if (flags & STRING) {
		string_setup(t, over);
	} else if (flags & MOFFS) {
		moffs = (target - seg_base(t, over >= 0 ? (unsigned int)over : HV_DS)) &
			mask_of(t->addr_bytes);
	} else {
		if (flags & BITIDX)
			t->gpr[reg] = (t->gpr[reg] & ~mask_of(t->op_bytes)) |
				      ((uint64_t)((int64_t)below(65536) - 32768) & mask_of(t->op_bytes));
		if (bits != 64)
			t->gpr[reg] &= 0xffffffff;
		if (flags & STACK) {
			uint64_t sp = pick_target() & ~7ULL;

			t->gpr[HV_RSP] = bits == 64 ? sp : (uint32_t)(sp - seg_base(t, HV_SS));
		}
		if (!address(t, &a, target, over))
			return false;
		if ((flags & BITIDX) && a.rip_relative)
			return false;
		/* The bit number, or the count of a shift, must not be what makes the address. */
		if ((flags & BITIDX) &&
		    (uint64_t)((int64_t)(t->gpr[reg] << (64 - 8 * t->op_bytes)) >>
			       (64 - 8 * t->op_bytes)) + 32768 > 65536)
			return false;
		if ((flags & STACK) && t->gpr[HV_RSP] != 0 && bits == 64 &&
		    (t->gpr[HV_RSP] < NATIVE_DATA - 4096 || t->gpr[HV_RSP] > NATIVE_DATA + 20000))
			return false;
	}
	/* CMPXCHG shall succeed now and then; main fills memory to suit. */

	/* Bytes. */
	if (lock)
		put(t, 0xf0);
	if (p67)
		put(t, 0x67);
	if (over >= 0)
		put(t, override_byte[over]);
	if (t->rep)
		put(t, below(2) ? 0xf3 : 0xf2);
	if (p66)
		put(t, 0x66);
	if (flags & SEGREAD)
		reg = below(6);
	if (f->digit >= 0 && !(flags & SEGREAD))
		reg = f->digit;
	if (vex) {
		if ((flags & NDS))
			vvvv = ~below(bits == 64 ? 16 : 8) & 0xf;
		l = (flags & L256) && below(2);
		put(t, 0xc4);
		put(t, (reg & 8 ? 0 : 0x80) | (a.rex_x ? 0 : 0x40) | (a.rex_b ? 0 : 0x20) | f->map);
		put(t, (rexw ? 0x80 : 0) | vvvv << 3 | (l ? 4 : 0) |
		       (f->prefix == 0x66 ? 1 : f->prefix == 0xf3 ? 2 : f->prefix == 0xf2 ? 3 : 0));
		t->is_vex = true;
	} else {
		if (f->prefix)
			put(t, f->prefix);
		rex = rexw || reg >= 8 || a.rex_x || a.rex_b || (bits == 64 && below(8) == 0);
		if (rex && bits == 64)
			put(t, 0x40 | (rexw ? 8 : 0) | (reg & 8 ? 4 : 0) | a.rex_x << 1 | a.rex_b);
		if (f->map)
			put(t, 0x0f);
		if (f->map == 2)
			put(t, 0x38);
	}
	put(t, f->opcode);
	imm = flags & IMM8 ? 1 : flags & IMMZ ? (t->op_bytes == 8 ? 4 : t->op_bytes) : 0;
	if (flags & MOFFS) {
		put_value(t, moffs, t->addr_bytes);
	} else if (!(flags & STRING)) {
		put(t, a.modrm | (reg & 7) << 3);
		if (a.has_sib)
			put(t, a.sib);
		t->has_mem = true;
	}
	t->at = below(2) ? 0 : below(2000);
	t->rip = bits == 16 ? t->at : NATIVE_CODE + t->at;
	if (a.rip_relative)
		a.disp = (int32_t)(target - seg_base(t, a.seg) -
				   (t->rip + t->len + a.disp_size + imm));
	put_value(t, a.disp, a.disp_size);
	put_value(t, interesting(), imm);
	if (a.rip_relative && seg_base(t, a.seg))
		return false;	/* out of reach */

	/* Flags the manual leaves open. */
	t->undefined = f->undefined;
	if (flags & SHIFTS) {
		unsigned int count = flags & IMM8 ? t->bytes[t->len - 1] : t->gpr[HV_RCX] & 0xff;

		count &= t->op_bytes == 8 ? 0x3f : 0x1f;
		if (count != 1 && count)
			t->undefined |= OF;
		if (f->digit >= 4 && count >= 8 * t->op_bytes)
			t->undefined |= CF;
		if (!count)
			t->undefined = 0;
	}
	return t->len <= 15;
}

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
	uint64_t desc[9] = { 0 };
	unsigned int i;

	memcpy(m->ram + TABLES_PA, host_gdt, sizeof(host_gdt));
	for (i = 1; i < LDT_COUNT; i++)
		desc[ldt[i].selector >> 3] = (ldt[i].limit & 0xffff) |
			(uint64_t)(ldt[i].limit >> 16 & 0xf) << 48 |
			(uint64_t)(ldt[i].base & 0xffffff) << 16 |
			(uint64_t)(ldt[i].base >> 24) << 56 | (uint64_t)ldt[i].big << 54 |
			(0xf1ULL | (ldt[i].contents ? 6 : ldt[i].read_only ? 0 : 2)) << 40;
	desc[LDT_CODE16 >> 3] = 0xffff | (NATIVE_CODE & 0xffffff) << 16 | (NATIVE_CODE >> 24) << 56 |
				0xfbULL << 40;
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
		/* Of two faulting operands a CPU may report either; AMD's is sure but for REP CMPS. */
		if ((t->form->flags & COMPARE) && t->rep && (t->form->opcode & ~1) == 0xa6)
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

		if (m->segs.seg[n].selector != out[n])
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
	if (ldt_ok) {
		run(m, 32, count);
		run(m, 16, count / 2);
	} else {
		ktap_skip("32-bit code", "no LDT on this kernel");
		ktap_skip("16-bit code", "no LDT on this kernel");
	}
	machine_free(m);
	return ktap_finish();
}
