// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * string.c - MOVS, STOS, LODS, SCAS, CMPS, INS and OUTS, with REP.
 * Implements APM volume 3, 1.2.6 (repeat prefixes) and the instructions' pages.
 *
 * Each iteration is an instruction of its own: what it has done stands, in registers, whatever
 * the next one meets.  The number of iterations a call does is bounded so that a kick waits for
 * no guest; the guest then enters the rest.
 */
#include "emu.h"

#define MAX_ITERATIONS 1024

/* Once more than ops->io: the element of INS and OUTS. */
static int port(struct x86_ctx *c, bool in, void *data)
{
	const struct hv_x86_ops *ops = c->x->ops;

	if (!ops->io)
		return -ENOTSUP;
	return ops->io(c->x->opaque, c->r.gpr[HV_RDX], in, c->insn->opsize, data);
}

static int iteration(struct x86_ctx *c)
{
	const struct x86_insn *insn = c->insn;
	const unsigned int size = insn->opsize;
	const struct x86_operand acc = { .reg = HV_RAX, .size = size };
	const struct x86_operand si = { .reg = HV_RSI, .size = insn->addrsize };
	const struct x86_operand di = { .reg = HV_RDI, .size = insn->addrsize };
	const uint64_t step = c->r.rflags & X86_DF ? -(uint64_t)size : size;
	bool uses_si = true, uses_di = true;
	uint64_t a = 0, b = 0;
	struct x86_ref src, dst;
	int ret = 0;

	/*
	 * Which pointers are used, and both translations, before anything is touched.  Of two
	 * faults an AMD CPU reports the destination's for CMPS, the source's for MOVS.
	 */
	switch (insn->op) {
	case OP_LODS: case OP_OUTS:
		uses_di = false;
		break;
	case OP_STOS: case OP_SCAS: case OP_INS:
		uses_si = false;
		break;
	}
	if (insn->op == OP_SCAS || insn->op == OP_CMPS)
		ret = x86_ref_get(c, HV_ES, x86_reg_read(c, &di), size, HV_ACCESS_READ, &dst);
	if (!ret && uses_si)
		ret = x86_ref_get(c, insn->mem_seg, x86_reg_read(c, &si), size, HV_ACCESS_READ,
				  &src);
	if (!ret && uses_di && insn->op != OP_SCAS && insn->op != OP_CMPS)
		ret = x86_ref_get(c, HV_ES, x86_reg_read(c, &di), size, HV_ACCESS_WRITE, &dst);
	if (!ret && uses_si)
		ret = x86_ref_read(c, &src, &a);
	if (ret)
		return ret;

	switch (insn->op) {
	case OP_MOVS:
		ret = x86_ref_write(c, &dst, &a);
		break;
	case OP_STOS:
		a = x86_reg_read(c, &acc);
		ret = x86_ref_write(c, &dst, &a);
		break;
	case OP_LODS:
		x86_reg_write(c, &acc, a);
		break;
	case OP_SCAS:
	case OP_CMPS:
		ret = x86_ref_read(c, &dst, &b);
		if (!ret)
			x86_alu(c, OP_CMP, size, insn->op == OP_SCAS ? x86_reg_read(c, &acc) : a,
				b);
		break;
	case OP_INS:
		ret = port(c, true, &a);
		if (!ret)
			ret = x86_ref_write(c, &dst, &a);
		break;
	case OP_OUTS:
		ret = port(c, false, &a);
		break;
	}
	if (ret)
		return ret;
	if (uses_si)
		x86_reg_write(c, &si, x86_reg_read(c, &si) + step);
	if (uses_di)
		x86_reg_write(c, &di, x86_reg_read(c, &di) + step);
	return 0;
}

/*
 * What Intel's CPUs do when REP begins with 32-bit addresses, even if no iteration follows: the count
 * loses its upper half, and so do the pointers of MOVS and STOS.
 */
static void rep_begins(struct x86_ctx *c)
{
	c->r.gpr[HV_RCX] = (uint32_t)c->r.gpr[HV_RCX];
	if (c->insn->op == OP_MOVS)
		c->r.gpr[HV_RSI] = (uint32_t)c->r.gpr[HV_RSI];
	if (c->insn->op == OP_MOVS || c->insn->op == OP_STOS)
		c->r.gpr[HV_RDI] = (uint32_t)c->r.gpr[HV_RDI];
	c->commit = true;
}

int x86_string(struct x86_ctx *c)
{
	const struct x86_insn *insn = c->insn;
	const struct x86_operand count = { .reg = HV_RCX, .size = insn->addrsize };
	const bool compares = insn->op == OP_SCAS || insn->op == OP_CMPS;
	const bool intel = c->x->flags & HV_X86_INTEL;
	const uint64_t flags = c->r.rflags;
	unsigned int n;
	int ret;

	if (!insn->rep && !insn->repne)
		return iteration(c);
	if (intel && c->mode == X86_LONG && c->code_size == 8 && insn->addrsize == 4)
		rep_begins(c);

	for (n = 0; x86_reg_read(c, &count); n++) {
		/* Breakpoints and single steps come between iterations. */
		if (n == MAX_ITERATIONS || (n && (c->dr6 || (c->r.rflags & X86_TF))))
			return X86_PARTIAL;
		ret = iteration(c);
		/* SDM vol. 2, REP: a fault leaves the flags as they were before the instruction. */
		if (ret == X86_FAULT && intel)
			c->r.rflags = flags;
		if (ret)
			return ret;
		x86_reg_write(c, &count, x86_reg_read(c, &count) - 1);
		c->commit = true;
		if (compares && !!(c->r.rflags & X86_ZF) != insn->rep)
			break;
	}
	return 0;
}
