// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * emulate.c - one instruction from beginning to end: decode, execute, commit or fault.
 * Implements APM volume 3 for the instructions of enum x86_op; string, vector and segment
 * register instructions are in files of their own.
 *
 * Must not touch the caller's registers before the instruction is through (contract 3: every
 * exit is precise, and a fault or a failing callback leaves it so).
 */
#include "emu.h"

/* An operand's value; a memory operand is mapped into @ref for @access first. */
static int operand_read(struct x86_ctx *c, const struct x86_operand *o, uint32_t access,
			struct x86_ref *ref, uint64_t *value)
{
	int ret;

	*value = 0;
	switch (o->type) {
	case OPD_REG:
		*value = x86_reg_read(c, o);
		return 0;
	case OPD_IMM:
		*value = c->insn->imm;
		return 0;
	case OPD_SEG:
		*value = c->x->segs->seg[o->reg].selector;
		return 0;
	case OPD_MEM:
		if (o->size > sizeof(*value))
			break;
		ret = x86_ref_get(c, c->insn->mem_seg, x86_operand_offset(c), o->size, access, ref);
		if (ret)
			return ret;
		return access & HV_ACCESS_READ ? x86_ref_read(c, ref, value) : 0;
	}
	return -ENOTSUP;
}

static int operand_write(struct x86_ctx *c, const struct x86_operand *o,
			 const struct x86_ref *ref, uint64_t value)
{
	if (o->type == OPD_MEM)
		return x86_ref_write(c, ref, &value);
	x86_reg_write(c, o, value);
	return 0;
}

static int do_mov(struct x86_ctx *c)
{
	const struct x86_operand *dst = &c->insn->opd[0], *src = &c->insn->opd[1];
	struct x86_operand half = *src;
	struct x86_ref ref;
	uint64_t value, unused;
	int ret;

	/* MOVSXD to 16 bits reads as many on Intel's CPUs, twice as many on AMD's. */
	if (c->insn->op == OP_MOVSX && dst->size < src->size && (c->x->flags & HV_X86_INTEL)) {
		half.size = dst->size;
		src = &half;
	}
	ret = operand_read(c, src, HV_ACCESS_READ, &ref, &value);
	if (ret)
		return ret;
	if (dst->type == OPD_SEG)
		return x86_segment_load(c, dst->reg, value);

	switch (c->insn->op) {
	case OP_MOVSX:
		value = (int64_t)(value << (64 - 8 * src->size)) >> (64 - 8 * src->size);
		break;
	case OP_MOVBE:
		value = __builtin_bswap64(value) >> (64 - 8 * src->size);
		break;
	}
	if (dst->type == OPD_MEM) {
		ret = operand_read(c, dst, HV_ACCESS_WRITE, &ref, &unused);
		if (ret)
			return ret;
	}
	return operand_write(c, dst, &ref, value);
}

/* op dst, src and op dst: all that read the destination, and write it but for CMP and TEST. */
static int do_alu(struct x86_ctx *c)
{
	const struct x86_insn *insn = c->insn;
	const struct x86_operand *dst = &insn->opd[0], *src = &insn->opd[1];
	const bool writes = insn->op != OP_CMP && insn->op != OP_TEST;
	struct x86_ref dst_ref, src_ref;
	uint64_t a, b = 0;
	int ret;

	if (src->type != OPD_NONE) {
		ret = operand_read(c, src, HV_ACCESS_READ, &src_ref, &b);
		if (ret)
			return ret;
	}
	ret = operand_read(c, dst, HV_ACCESS_READ | (writes ? HV_ACCESS_WRITE : 0), &dst_ref, &a);
	if (ret)
		return ret;
	a = x86_alu(c, insn->op, dst->size, a, b);
	return writes ? operand_write(c, dst, &dst_ref, a) : 0;
}

static int do_exchange(struct x86_ctx *c)
{
	const struct x86_insn *insn = c->insn;
	const struct x86_operand *a = &insn->opd[0], *b = &insn->opd[1];
	struct x86_ref ref_a, ref_b;
	uint64_t va, vb;
	int ret;

	ret = operand_read(c, a, HV_ACCESS_READ | HV_ACCESS_WRITE, &ref_a, &va);
	if (!ret)
		ret = operand_read(c, b, HV_ACCESS_READ | HV_ACCESS_WRITE, &ref_b, &vb);
	if (ret)
		return ret;
	/* XADD with one register twice ends with the sum, so the first operand comes last. */
	ret = operand_write(c, b, &ref_b, va);
	if (ret)
		return ret;
	if (insn->op == OP_XADD)
		vb = x86_alu(c, OP_ADD, a->size, va, vb);
	return operand_write(c, a, &ref_a, vb);
}

static int do_cmpxchg(struct x86_ctx *c)
{
	const struct x86_operand *dst = &c->insn->opd[0], *src = &c->insn->opd[1];
	const struct x86_operand acc = { .type = OPD_REG, .reg = HV_RAX, .size = dst->size };
	struct x86_ref ref;
	uint64_t old, value;
	int ret;

	ret = operand_read(c, src, HV_ACCESS_READ, NULL, &value);
	if (!ret)
		ret = operand_read(c, dst, HV_ACCESS_READ | HV_ACCESS_WRITE, &ref, &old);
	if (ret)
		return ret;
	x86_alu(c, OP_CMP, dst->size, x86_reg_read(c, &acc), old);
	if (c->r.rflags & X86_ZF)
		return operand_write(c, dst, &ref, value);
	x86_reg_write(c, &acc, old);
	/* The CPU writes the old value back; a device shall see the same. */
	return dst->type == OPD_MEM ? operand_write(c, dst, &ref, old) : 0;
}

/* CMPXCHG8B, CMPXCHG16B: RDX:RAX against memory, RCX:RBX into it. */
static int do_cmpxchg_pair(struct x86_ctx *c)
{
	const unsigned int half = c->insn->opsize / 2;
	const struct x86_operand low = { .reg = HV_RAX, .size = half };
	const struct x86_operand high = { .reg = HV_RDX, .size = half };
	const uint64_t offset = x86_operand_offset(c);
	uint64_t old[2] = { 0 }, linear;
	uint8_t buf[16];
	struct x86_ref ref;
	int ret;

	if (half == 8) {
		ret = x86_linear(c, c->insn->mem_seg, offset, 16, HV_ACCESS_READ, &linear);
		if (ret)
			return ret;
		if (linear & 15)
			return x86_fault(c, X86_GP, 0);
	}
	ret = x86_ref_get(c, c->insn->mem_seg, offset, 2 * half,
			  HV_ACCESS_READ | HV_ACCESS_WRITE, &ref);
	if (!ret)
		ret = x86_ref_read(c, &ref, buf);
	if (ret)
		return ret;
	memcpy(&old[0], buf, half);
	memcpy(&old[1], buf + half, half);
	if (old[0] == x86_reg_read(c, &low) && old[1] == x86_reg_read(c, &high)) {
		c->r.rflags |= X86_ZF;
		memcpy(buf, &c->r.gpr[HV_RBX], half);
		memcpy(buf + half, &c->r.gpr[HV_RCX], half);
	} else {
		c->r.rflags &= ~X86_ZF;
		x86_reg_write(c, &low, old[0]);
		x86_reg_write(c, &high, old[1]);
	}
	return x86_ref_write(c, &ref, buf);
}

/* BT, BTS, BTR, BTC: with a register index the bit may lie far from the operand. */
static int do_bit(struct x86_ctx *c)
{
	const struct x86_insn *insn = c->insn;
	const struct x86_operand *dst = &insn->opd[0], *src = &insn->opd[1];
	const unsigned int bits = 8 * dst->size;
	const uint32_t access = HV_ACCESS_READ | (insn->op == OP_BT ? 0 : HV_ACCESS_WRITE);
	uint64_t index, offset, value, bit;
	struct x86_ref ref;
	int64_t distance;
	int ret;

	ret = operand_read(c, src, HV_ACCESS_READ, NULL, &index);
	if (ret)
		return ret;
	if (dst->type == OPD_MEM) {
		offset = x86_operand_offset(c);
		if (src->type == OPD_REG) {
			distance = (int64_t)(index << (64 - bits)) >> (64 - bits);
			/* Division rounds to zero, but the bits run on below the operand. */
			distance = distance >= 0 ? distance / bits : ~(~distance / bits);
			offset = (offset + distance * dst->size) & size_mask(insn->addrsize);
		}
		value = 0;
		ret = x86_ref_get(c, insn->mem_seg, offset, dst->size, access, &ref);
		if (!ret)
			ret = x86_ref_read(c, &ref, &value);
	} else {
		ret = operand_read(c, dst, access, NULL, &value);
	}
	if (ret)
		return ret;

	bit = 1ULL << (index & (bits - 1));
	c->r.rflags = value & bit ? c->r.rflags | X86_CF : c->r.rflags & ~X86_CF;
	switch (insn->op) {
	case OP_BTS:
		value |= bit;
		break;
	case OP_BTR:
		value &= ~bit;
		break;
	case OP_BTC:
		value ^= bit;
		break;
	default:
		return 0;
	}
	return operand_write(c, dst, &ref, value);
}

static int do_push(struct x86_ctx *c)
{
	const struct x86_insn *insn = c->insn;
	const struct x86_operand sp = { .reg = HV_RSP, .size = c->stack_size };
	struct x86_ref src, dst;
	uint64_t value, top;
	int ret;

	if (insn->opd[0].type == OPD_SEG)
		return -ENOTSUP;
	top = (x86_reg_read(c, &sp) - insn->opsize) & size_mask(c->stack_size);
	/* Translate both before the source is read: reading a device cannot be undone. */
	if (insn->opd[0].type == OPD_MEM)
		ret = x86_ref_get(c, insn->mem_seg, x86_operand_offset(c), insn->opsize,
				  HV_ACCESS_READ, &src);
	else
		ret = operand_read(c, &insn->opd[0], 0, NULL, &value);
	if (!ret)
		ret = x86_ref_get(c, HV_SS, top, insn->opsize, HV_ACCESS_WRITE, &dst);
	if (!ret && insn->opd[0].type == OPD_MEM)
		ret = x86_ref_read(c, &src, &value);
	if (!ret)
		ret = x86_ref_write(c, &dst, &value);
	if (!ret)
		x86_reg_write(c, &sp, top);
	return ret;
}

static int do_pop(struct x86_ctx *c)
{
	const struct x86_insn *insn = c->insn;
	const struct x86_operand sp = { .reg = HV_RSP, .size = c->stack_size };
	const uint64_t top = x86_reg_read(c, &sp);
	uint64_t value = 0, unused;
	struct x86_ref src, dst;
	int ret;

	if (insn->opd[0].type == OPD_SEG)
		return -ENOTSUP;
	ret = x86_ref_get(c, HV_SS, top, insn->opsize, HV_ACCESS_READ, &src);
	if (ret)
		return ret;
	/* The destination's address is computed with the new stack pointer. */
	x86_reg_write(c, &sp, top + insn->opsize);
	ret = operand_read(c, &insn->opd[0], HV_ACCESS_WRITE, &dst, &unused);
	if (!ret)
		ret = x86_ref_read(c, &src, &value);
	return ret ? ret : operand_write(c, &insn->opd[0], &dst, value);
}

/* The low half of CR0 to and from memory; LMSW can set PE but not clear it. */
static int do_msw(struct x86_ctx *c)
{
	const struct x86_operand *o = &c->insn->opd[0];
	const bool store = c->insn->op == OP_SMSW;
	struct hv_control *ctl = c->x->control;
	struct x86_ref ref;
	uint64_t value;
	int ret;

	if (c->cpl && (!store || (ctl->cr4 & X86_CR4_UMIP)))
		return x86_fault(c, X86_GP, 0);
	ret = operand_read(c, o, store ? HV_ACCESS_WRITE : HV_ACCESS_READ, &ref, &value);
	if (ret)
		return ret;
	if (store)
		return operand_write(c, o, &ref, ctl->cr0);
	ctl->cr0 = (ctl->cr0 & ~0xeULL) | (value & 0xf);
	c->x->dirty |= HV_GROUP(HV_GROUP_CONTROL);
	return 0;
}

static int do_conditional(struct x86_ctx *c)
{
	const struct x86_insn *insn = c->insn;
	const bool yes = x86_condition(c->r.rflags, insn->cond);
	struct x86_ref ref;
	uint64_t value, old;
	int ret;

	if (insn->op == OP_SETCC) {
		ret = operand_read(c, &insn->opd[0], HV_ACCESS_WRITE, &ref, &old);
		return ret ? ret : operand_write(c, &insn->opd[0], &ref, yes);
	}
	/* CMOVcc reads its source always, and clears the upper half of a 32-bit register. */
	ret = operand_read(c, &insn->opd[1], HV_ACCESS_READ, &ref, &value);
	if (ret)
		return ret;
	if (!yes)
		value = x86_reg_read(c, &insn->opd[0]);
	x86_reg_write(c, &insn->opd[0], value);
	return 0;
}

static int execute(struct x86_ctx *c)
{
	const struct x86_insn *insn = c->insn;

	if (insn->privileged && c->cpl)
		return x86_fault(c, X86_GP, 0);
	switch (insn->op) {
	case OP_MOV: case OP_MOVZX: case OP_MOVSX: case OP_MOVBE:
		return do_mov(c);
	case OP_XCHG: case OP_XADD:
		return do_exchange(c);
	case OP_CMPXCHG:
		return do_cmpxchg(c);
	case OP_CMPXCHG_PAIR:
		return do_cmpxchg_pair(c);
	case OP_BT: case OP_BTS: case OP_BTR: case OP_BTC:
		return do_bit(c);
	case OP_PUSH:
		return do_push(c);
	case OP_POP:
		return do_pop(c);
	case OP_SETCC: case OP_CMOVCC:
		return do_conditional(c);
	case OP_LMSW: case OP_SMSW:
		return do_msw(c);
	case OP_MOVS: case OP_STOS: case OP_LODS: case OP_SCAS: case OP_CMPS:
	case OP_INS: case OP_OUTS:
		return x86_string(c);
	case OP_VMOV:
		return x86_vector_move(c);
	case OP_NOP:
		return 0;
	case OP_UD:
		return x86_fault(c, X86_UD, 0);
	case OP_GP:
		return x86_fault(c, X86_GP, 0);
	default:
		return do_alu(c);
	}
}

static bool has_error_code(uint8_t vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 ||
	       vector == 29 || vector == 30;
}

int hv_x86_raise(struct hv_events *e, uint8_t vector, uint32_t error_code, uint64_t payload)
{
	if (vector > 31 || vector == 2)
		return -EINVAL;
	if (e->exc_flags)
		return -EBUSY;
	e->exc_flags = HV_EXC_PENDING;
	e->exc_vector = vector;
	e->exc_error_code = 0;
	e->exc_payload = 0;
	if (has_error_code(vector)) {
		e->exc_flags |= HV_EXC_ERROR_CODE;
		e->exc_error_code = error_code;
	}
	if (vector == X86_PF || vector == X86_DB) {
		e->exc_flags |= HV_EXC_PAYLOAD;
		e->exc_payload = payload;
	}
	return 0;
}

static int raise(struct x86_ctx *c, uint8_t vector, uint32_t code, uint64_t payload)
{
	struct hv_x86 *x = c->x;
	int ret = 0;

	if (x->ops->need)
		ret = x->ops->need(x->opaque, HV_GROUP(HV_GROUP_EVENTS));
	if (!ret)
		ret = hv_x86_raise(x->events, vector, code, payload);
	if (!ret)
		x->dirty |= HV_GROUP(HV_GROUP_EVENTS);
	return ret;
}

static void commit(struct x86_ctx *c)
{
	*c->x->regs = c->r;
	c->x->dirty |= HV_GROUP(HV_GROUP_REGS);
}

int hv_x86_emulate(struct hv_x86 *x, const struct hv_x86_hint *hint)
{
	struct x86_ctx c;
	int ret;

	memset(&c, 0, sizeof(c));
	c.x = x;
	c.hint = hint;
	c.r = *x->regs;
	c.tlb[0].linear = c.tlb[1].linear = ~0ULL;
	x->retire = 0;
	x->retire_rip = 0;
	x->error[0] = '\0';

	x86_mode_init(&c);
	ret = x86_decode(&c);
	if (!ret)
		ret = execute(&c);

	if (!ret || c.commit)
		commit(&c);
	switch (ret) {
	case 0:
		x->retire = c.insn->length;
		break;
	case X86_PARTIAL:
		/* With TF every iteration is a step: retire it in place, the module traps. */
		if (c.r.rflags & X86_TF) {
			x->retire = HV_RETIRE_RIP;
			x->retire_rip = c.r.rip;
		}
		ret = 0;
		break;
	case X86_RETRY:
		return 0;
	case X86_FAULT:
		return raise(&c, c.vector, c.error_code, c.payload);
	default:
		if (!x->error[0])
			x86_describe(&c, "cannot complete instruction");
		return ret;
	}
	if (c.dr6)
		ret = raise(&c, X86_DB, 0, c.dr6);
	return ret;
}

int hv_x86_init(struct hv_x86 *x, const struct hv_x86_ops *ops, void *opaque)
{
	memset(x, 0, sizeof(*x));
	x->ops = ops;
	x->opaque = opaque;
	x->phys_bits = 48;
	x86_xsave_init(x);
	return x86_cache_new(&x->cache);
}

void hv_x86_fini(struct hv_x86 *x)
{
	x86_cache_free(x->cache);
	x->cache = NULL;
}
