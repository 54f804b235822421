/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * x86_generate.h - random instructions for x86_oracle.c: the table of encodings, and the registers
 * that make an encoding's memory operand lie where it is wanted.
 */
#ifndef HV_UNIT_X86_GENERATE_H
#define HV_UNIT_X86_GENERATE_H

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

#define VX	(VECTOR | VEXABLE)

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
	{ "movups", 0, 1, 0x10, -1, VX | L256 },
	{ "movups", 0, 1, 0x11, -1, VX | L256 },
	{ "movupd", 0x66, 1, 0x10, -1, VX | L256 },
	{ "movupd", 0x66, 1, 0x11, -1, VX | L256 },
	{ "movss", 0xf3, 1, 0x10, -1, VX }, { "movss", 0xf3, 1, 0x11, -1, VX },
	{ "movsd", 0xf2, 1, 0x10, -1, VX }, { "movsd", 0xf2, 1, 0x11, -1, VX },
	{ "movlps", 0, 1, 0x12, -1, VX | NDS }, { "movlps", 0, 1, 0x13, -1, VX },
	{ "movlpd", 0x66, 1, 0x12, -1, VX | NDS },
	{ "movlpd", 0x66, 1, 0x13, -1, VX },
	{ "movhps", 0, 1, 0x16, -1, VX | NDS }, { "movhps", 0, 1, 0x17, -1, VX },
	{ "movhpd", 0x66, 1, 0x16, -1, VX | NDS },
	{ "movhpd", 0x66, 1, 0x17, -1, VX },
	{ "movaps", 0, 1, 0x28, -1, VX | L256 },
	{ "movaps", 0, 1, 0x29, -1, VX | L256 },
	{ "movapd", 0x66, 1, 0x28, -1, VX | L256 },
	{ "movapd", 0x66, 1, 0x29, -1, VX | L256 },
	{ "movntps", 0, 1, 0x2b, -1, VX | L256 },
	{ "movntpd", 0x66, 1, 0x2b, -1, VX | L256 },
	{ "movd", 0x66, 1, 0x6e, -1, VX }, { "movd", 0x66, 1, 0x7e, -1, VX },
	{ "movq", 0x66, 1, 0x6e, -1, VX | WBIT | ONLY64 },
	{ "movq", 0x66, 1, 0x7e, -1, VX | WBIT | ONLY64 },
	{ "movq", 0xf3, 1, 0x7e, -1, VX }, { "movq", 0x66, 1, 0xd6, -1, VX },
	{ "movdqa", 0x66, 1, 0x6f, -1, VX | L256 },
	{ "movdqa", 0x66, 1, 0x7f, -1, VX | L256 },
	{ "movdqu", 0xf3, 1, 0x6f, -1, VX | L256 },
	{ "movdqu", 0xf3, 1, 0x7f, -1, VX | L256 },
	{ "movntdq", 0x66, 1, 0xe7, -1, VX | L256 },
	{ "movntdqa", 0x66, 2, 0x2a, -1, VX },
	{ "lddqu", 0xf2, 1, 0xf0, -1, VX | L256 },
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
				      ((below(65536) - 32768ULL) & mask_of(t->op_bytes));
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

#endif
