// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_decode.c - length of an x86 instruction, and plain mov to device memory.
 *
 * SDM vol. 2 chapter 2 and appendix A; APM vol. 3 appendix A (XOP, 3DNow!, SSE4A).  Pure functions
 * of the bytes, which may be anything, and of the code segment's default size.
 * hv_decode_length() finds where an instruction ends, not whether the CPU would accept it: a caller
 * has an exit of that instruction in hand.  Where vendors differ (a 66 prefix on near branches in
 * 64-bit mode) Intel's reading is taken; the module never has to step over a branch.
 *
 * Compiled in userspace too (selftests/unit/decode_length.c).
 */
#include "hv_decode.h"

#define INSN_MAX	15

/* How an opcode continues. */
#define M	0x01		/* ModRM */
#define I1	0x02		/* 1-byte immediate */
#define I2	0x04		/* 2-byte immediate */
#define IZ	0x08		/* 2 or 4 by operand size */
#define IV	0x10		/* 2, 4 or 8 by operand size: mov reg, imm */
#define IA	0x20		/* 2, 4 or 8 by address size: moffs */
#define JZ	0x40		/* IZ, but 4 in 64-bit mode */
#define SP	0x80		/* special: see the code */

static const u8 one_byte[256] = {
#define ALU	M, M, M, M, I1, IZ, 0, 0
	/* 00 */ ALU, ALU, ALU, ALU, ALU, ALU, ALU, ALU,
	/* 40 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/* 50 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/* 60 */ 0, 0, M, M, 0, 0, 0, 0, IZ, M | IZ, I1, M | I1, 0, 0, 0, 0,
	/* 70 */ I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1,
	/* 80 */ M | I1, M | IZ, M | I1, M | I1, M, M, M, M, M, M, M, M, M, M, M, M,
	/* 90 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, I2 | IZ, 0, 0, 0, 0, 0,
	/* a0 */ IA, IA, IA, IA, 0, 0, 0, 0, I1, IZ, 0, 0, 0, 0, 0, 0,
	/* b0 */ I1, I1, I1, I1, I1, I1, I1, I1, IV, IV, IV, IV, IV, IV, IV, IV,
	/* c0 */ M | I1, M | I1, I2, 0, M, M, M | I1, M | IZ, I1 | I2, 0, I2, 0, 0, I1, 0, 0,
	/* d0 */ M, M, M, M, I1, I1, 0, 0, M, M, M, M, M, M, M, M,
	/* e0 */ I1, I1, I1, I1, I1, I1, I1, I1, JZ, JZ, I2 | IZ, I1, 0, 0, 0, 0,
	/* f0 */ 0, 0, 0, 0, 0, 0, M | SP, M | SP, 0, 0, 0, 0, 0, 0, M, M,
#undef ALU
};

static const u8 two_byte[256] = {
#define M8	M, M, M, M, M, M, M, M
#define Z8	0, 0, 0, 0, 0, 0, 0, 0
	/* 00 */ M, M, M, M, 0, 0, 0, 0, 0, 0, 0, 0, 0, M, 0, M | I1,
	/* 10 */ M8, M8,
	/* 20 */ M | SP, M | SP, M | SP, M | SP, M | SP, M, M | SP, M, M8,
	/* 30 */ Z8, Z8,		/* 38 and 3a are escapes */
	/* 40 */ M8, M8, M8, M8, M8, M8,
	/* 70 */ M | I1, M | I1, M | I1, M | I1, M, M, M, 0, M | SP, M, M, M, M, M, M, M,
	/* 80 */ JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ,
	/* 90 */ M8, M8,
	/* a0 */ 0, 0, 0, M, M | I1, M, M, M, 0, 0, 0, M, M | I1, M, M, M,
	/* b0 */ M8, M, M, M | I1, M, M, M, M, M,
	/* c0 */ M, M, M | I1, M, M | I1, M | I1, M | I1, M, Z8,
	/* d0 */ M8, M8, M8, M8, M8, M8,
#undef Z8
#undef M8
};

struct insn {
	const u8 *b;
	int avail, pos;
	int mode;
	bool need;			/* ran past @avail */
	bool opsize, addrsize, lock, rep, repne;
	u8 rex;				/* 0: none */
	u8 map;				/* 0 one byte, 1 0F, 2 0F38, 3 0F3A; 8..10 XOP */
	bool vex;			/* VEX, EVEX or XOP */
	u8 opcode;
	bool has_modrm;
	u8 modrm;
	int imm;			/* where immediates begin */
};

static u8 fetch(struct insn *p)
{
	if (p->pos >= p->avail) {
		p->need = true;
		p->pos++;
		return 0;
	}
	return p->b[p->pos++];
}

static bool peek(struct insn *p, u8 *v)
{
	if (p->pos >= p->avail) {
		p->need = true;
		return false;
	}
	*v = p->b[p->pos];
	return true;
}

static void prefixes(struct insn *p)
{
	u8 c;

	/* One more than may be: the caller sees a length it refuses. */
	while (p->pos <= INSN_MAX && peek(p, &c)) {
		switch (c) {
		case 0x66:
			p->opsize = true;
			break;
		case 0x67:
			p->addrsize = true;
			break;
		case 0xf0:
			p->lock = true;
			break;
		case 0xf2:
			p->repne = true;
			break;
		case 0xf3:
			p->rep = true;
			break;
		case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
			break;
		default:
			if (p->mode != 64 || (c & 0xf0) != 0x40)
				return;
			p->pos++;
			/* Only one that stands right before the opcode counts. */
			p->rex = c;
			continue;
		}
		p->rex = 0;
		p->pos++;
	}
}

/* VEX, EVEX and XOP share their first byte with old instructions. */
static bool vector_prefix(struct insn *p, u8 first)
{
	u8 c;

	if (first == 0x8f) {
		if (!peek(p, &c) || (c & 0x1f) < 8)
			return false;
	} else if (first != 0xc4 && first != 0xc5 && first != 0x62) {
		return false;
	} else if (p->mode != 64 && (!peek(p, &c) || (c & 0xc0) != 0xc0)) {
		return false;
	}
	p->vex = true;
	if (first == 0xc5) {
		fetch(p);
		p->map = 1;
	} else if (first == 0x62) {
		p->map = fetch(p) & 7;
		fetch(p);
		fetch(p);
	} else {
		p->map = fetch(p) & 0x1f;
		c = fetch(p);
		if (p->mode == 64 && (c & 0x80))
			p->rex |= 8;
	}
	p->opcode = fetch(p);
	return true;
}

static u8 vector_flags(const struct insn *p)
{
	switch (p->map) {
	case 1:
		/* vzeroupper, vzeroall */
		if (p->opcode == 0x77)
			return 0;
		return (p->opcode & 0xfc) == 0x70 || p->opcode == 0xc2 ||
		       (p->opcode >= 0xc4 && p->opcode <= 0xc6) ? M | I1 : M;
	case 3: case 8:
		return M | I1;
	case 10:
		return M | SP;		/* 4-byte immediate */
	}
	return M;
}

static u8 opcode(struct insn *p)
{
	u8 c = fetch(p);

	if (vector_prefix(p, c))
		return vector_flags(p);
	if (c != 0x0f) {
		p->opcode = c;
		return one_byte[c];
	}
	c = fetch(p);
	if (c == 0x38 || c == 0x3a) {
		p->map = c == 0x38 ? 2 : 3;
		p->opcode = fetch(p);
		return p->map == 2 ? M : M | I1;
	}
	p->map = 1;
	p->opcode = c;
	return two_byte[c];
}

static int operand_bytes(const struct insn *p)
{
	if (p->rex & 8)
		return 8;
	return (p->mode == 16) != p->opsize ? 2 : 4;
}

static int address_bytes(const struct insn *p)
{
	if (p->mode == 64)
		return p->addrsize ? 4 : 8;
	return (p->mode == 16) != p->addrsize ? 2 : 4;
}

static void modrm(struct insn *p)
{
	u8 mod, rm, sib;

	p->has_modrm = true;
	p->modrm = fetch(p);
	mod = p->modrm >> 6;
	rm = p->modrm & 7;
	/* mov to and from control, debug and test registers ignore mod. */
	if (!p->vex && p->map == 1 && (p->opcode & 0xf8) == 0x20 && (two_byte[p->opcode] & SP))
		return;
	if (mod == 3)
		return;
	if (address_bytes(p) == 2) {
		if (mod == 1)
			p->pos += 1;
		else if (mod == 2 || rm == 6)
			p->pos += 2;
		return;
	}
	if (rm == 4) {
		sib = fetch(p);
		if (mod == 0 && (sib & 7) == 5)
			p->pos += 4;
	} else if (mod == 0 && rm == 5) {
		p->pos += 4;
	}
	if (mod == 1)
		p->pos += 1;
	else if (mod == 2)
		p->pos += 4;
}

static int special_bytes(const struct insn *p)
{
	if (p->vex)
		return 4;
	if (p->map == 0)		/* group 3: only TEST has an immediate */
		return p->modrm & 0x30 ? 0 : p->opcode == 0xf6 ? 1 :
		       operand_bytes(p) == 2 ? 2 : 4;
	if (p->opcode == 0x78)		/* extrq, insertq; without a prefix vmread */
		return p->opsize || p->repne ? 2 : 0;
	return 0;
}

/* @p->pos is the length afterwards. */
static int parse(struct insn *p, const u8 *b, int avail, int mode)
{
	u8 f;

	memset(p, 0, sizeof(*p));
	p->b = b;
	p->avail = avail;
	p->mode = mode;
	prefixes(p);
	f = opcode(p);
	if (f & M)
		modrm(p);
	p->imm = p->pos;
	if (f & I1)
		p->pos += 1;
	if (f & I2)
		p->pos += 2;
	if (f & IZ)
		p->pos += operand_bytes(p) == 2 ? 2 : 4;
	if (f & IV)
		p->pos += operand_bytes(p);
	if (f & IA)
		p->pos += address_bytes(p);
	if (f & JZ)
		p->pos += mode != 64 && operand_bytes(p) == 2 ? 2 : 4;
	if (f & SP)
		p->pos += special_bytes(p);
	/* What is missing may be what makes it too long: that it is too long
	 * is only certain without it. */
	if (p->pos > INSN_MAX && !p->need)
		return -EINVAL;
	if (p->need || p->pos > avail)
		return avail >= INSN_MAX ? -EINVAL : 0;
	return p->pos;
}

int hv_decode_length(const u8 *b, int avail, int mode)
{
	struct insn p;

	return parse(&p, b, avail, mode);
}

static u64 immediate(const struct insn *p, int bytes)
{
	u64 v = 0;
	int i;

	for (i = 0; i < bytes; i++)
		v |= (u64)p->b[p->imm + i] << (8 * i);
	return v;
}

static void set_reg(const struct insn *p, struct hv_mov *m, bool byte)
{
	m->reg = (p->modrm >> 3 & 7) | (p->rex & 4 ? 8 : 0);
	if (byte && !p->rex && m->reg >= 4) {
		m->high_byte = true;
		m->reg -= 4;
	}
}

static int mov_0f(const struct insn *p, struct hv_mov *m)
{
	switch (p->opcode) {
	case 0xb6: case 0xb7:
		m->ext = 1;
		break;
	case 0xbe: case 0xbf:
		m->ext = 2;
		break;
	default:
		return -ENOENT;
	}
	m->size = p->opcode & 1 ? 2 : 1;
	m->dst = operand_bytes(p);
	set_reg(p, m, false);
	return 0;
}

int hv_decode_mov(const u8 *b, int avail, int mode, struct hv_mov *m)
{
	struct insn p;
	int len = parse(&p, b, avail, mode), op;

	memset(m, 0, sizeof(*m));
	/* A lock prefix is #UD here: the CPU may tell. */
	if (len <= 0 || p.vex || p.lock || (p.has_modrm && p.modrm >> 6 == 3))
		return -ENOENT;
	m->length = len;
	if (p.map == 1)
		return mov_0f(&p, m);
	if (p.map)
		return -ENOENT;
	op = operand_bytes(&p);
	m->size = p.opcode & 1 ? op : 1;
	switch (p.opcode) {
	case 0x88: case 0x89: case 0x8a: case 0x8b:
		m->write = !(p.opcode & 2);
		set_reg(&p, m, m->size == 1);
		break;
	case 0xa0: case 0xa1: case 0xa2: case 0xa3:
		m->write = p.opcode & 2;
		break;
	case 0xc6: case 0xc7:
		if (p.modrm & 0x38)
			return -ENOENT;
		m->write = true;
		m->imm = true;
		m->value = immediate(&p, m->size == 8 ? 4 : m->size);
		if (m->size == 8)
			m->value = (u64)(s32)m->value;
		break;
	case 0x63:
		/* movsxd; with a 16-bit operand vendors disagree on what is read. */
		if (mode != 64 || op == 2)
			return -ENOENT;
		m->size = 4;
		m->ext = 2;
		set_reg(&p, m, false);
		m->dst = op;
		return 0;
	default:
		return -ENOENT;
	}
	m->dst = m->size;
	return 0;
}

int hv_decode_sysreg(const u8 *b, int avail, int mode, struct hv_sysreg_insn *in)
{
	struct insn p;

	if (parse(&p, b, avail, mode) <= 0 || p.vex || p.map != 1 ||
	    (p.opcode != 0x06 && p.opcode != 0x01 && (p.opcode & 0xfc) != 0x20))
		return -ENOENT;
	in->op = p.opcode;
	in->reg = (p.modrm >> 3 & 7) | (p.rex & 4) << 1;
	in->rm = (p.modrm & 7) | (p.rex & 1) << 3;
	in->memory = p.modrm >> 6 != 3;
	in->opsize = operand_bytes(&p);
	return 0;
}
