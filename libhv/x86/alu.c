// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * alu.c - registers, arithmetic and flags.
 * Implements APM volume 3 for the instructions of enum x86_op; volume 1, 3.1.4 for the flags.
 *
 * Flags the manual calls undefined are left as they were.
 */
#include "emu.h"

uint64_t x86_reg_read(const struct x86_ctx *c, const struct x86_operand *o)
{
	uint64_t value = c->r.gpr[o->reg];

	if (o->high)
		value >>= 8;
	return value & size_mask(o->size);
}

void x86_reg_write(struct x86_ctx *c, const struct x86_operand *o, uint64_t value)
{
	__u64 *reg = &c->r.gpr[o->reg];
	const uint64_t mask = size_mask(o->size);

	if (o->high)
		*reg = (*reg & ~0xff00ULL) | (value & 0xff) << 8;
	else if (o->size >= 4)
		*reg = value & mask;	/* 32-bit results clear the upper half */
	else
		*reg = (*reg & ~mask) | (value & mask);
}

static void flag_set(__u64 *flags, uint64_t flag, bool on)
{
	*flags = on ? *flags | flag : *flags & ~flag;
}

/* ZF, SF and PF of a result. */
static void flags_result(__u64 *flags, uint64_t result, unsigned int size)
{
	flag_set(flags, X86_ZF, !(result & size_mask(size)));
	flag_set(flags, X86_SF, (result >> (8 * size - 1)) & 1);
	flag_set(flags, X86_PF_FLAG, !__builtin_parity(result & 0xff));
}

static uint64_t add(__u64 *flags, unsigned int size, uint64_t a, uint64_t b, bool carry)
{
	const uint64_t mask = size_mask(size);
	const uint64_t sum = (a + b + carry) & mask;

	a &= mask;
	b &= mask;
	flag_set(flags, X86_CF, carry ? sum <= a : sum < a);
	flag_set(flags, X86_AF, (a ^ b ^ sum) & 0x10);
	flag_set(flags, X86_OF, ((a ^ sum) & (b ^ sum)) >> (8 * size - 1) & 1);
	flags_result(flags, sum, size);
	return sum;
}

static uint64_t subtract(__u64 *flags, unsigned int size, uint64_t a, uint64_t b, bool borrow)
{
	const uint64_t mask = size_mask(size);
	const uint64_t diff = (a - b - borrow) & mask;

	a &= mask;
	b &= mask;
	flag_set(flags, X86_CF, borrow ? a <= b : a < b);
	flag_set(flags, X86_AF, (a ^ b ^ diff) & 0x10);
	flag_set(flags, X86_OF, ((a ^ b) & (a ^ diff)) >> (8 * size - 1) & 1);
	flags_result(flags, diff, size);
	return diff;
}

static uint64_t logic(__u64 *flags, unsigned int size, uint64_t result)
{
	*flags &= ~(X86_CF | X86_OF);
	flags_result(flags, result, size);
	return result & size_mask(size);
}

static uint64_t shift(__u64 *flags, unsigned int op, unsigned int size, uint64_t a,
		      unsigned int count)
{
	const unsigned int bits = 8 * size;
	const uint64_t mask = size_mask(size);
	uint64_t result = a &= mask;

	count &= size == 8 ? 0x3f : 0x1f;
	if (!count)
		return a;
	switch (op) {
	case OP_SHL:
		result = count < bits ? a << count : 0;
		flag_set(flags, X86_CF, count <= bits && (a >> (bits - count) & 1));
		flag_set(flags, X86_OF, (result >> (bits - 1) ^ *flags) & 1);
		break;
	case OP_SHR:
		result = count < bits ? a >> count : 0;
		flag_set(flags, X86_CF, count <= bits && (a >> (count - 1) & 1));
		flag_set(flags, X86_OF, a >> (bits - 1) & 1);
		break;
	case OP_SAR: {
		const int64_t extended = (int64_t)(a << (64 - bits)) >> (64 - bits);

		result = (uint64_t)(extended >> count);
		flag_set(flags, X86_CF, extended >> (count - 1) & 1);
		flag_set(flags, X86_OF, false);
		break;
	}
	}
	flags_result(flags, result, size);
	return result & mask;
}

/* One bit at a time: rotations of device memory are no hot path. */
static uint64_t rotate(__u64 *flags, unsigned int op, unsigned int size, uint64_t a,
		       unsigned int count)
{
	const unsigned int bits = 8 * size;
	const uint64_t mask = size_mask(size);
	const uint64_t top = 1ULL << (bits - 1);
	bool out;

	a &= mask;
	count &= size == 8 ? 0x3f : 0x1f;
	if (!count)
		return a;
	while (count--) {
		switch (op) {
		case OP_ROL:
			out = a & top;
			a = (a << 1 | out) & mask;
			break;
		case OP_ROR:
			out = a & 1;
			a = a >> 1 | (out ? top : 0);
			break;
		case OP_RCL:
			out = a & top;
			a = (a << 1 | (*flags & X86_CF)) & mask;
			break;
		default:
			out = a & 1;
			a = a >> 1 | (*flags & X86_CF ? top : 0);
		}
		flag_set(flags, X86_CF, out);
	}
	/* Defined for a count of one: left, carry against the top bit; right, the top two bits. */
	if (op == OP_ROL || op == OP_RCL)
		flag_set(flags, X86_OF, !!(a & top) != !!(*flags & X86_CF));
	else
		flag_set(flags, X86_OF, !!(a & top) != !!(a & top >> 1));
	return a;
}

/**
 * x86_alu() - a result and its flags.  @b is ignored by the one-operand instructions; CMP and
 * TEST return something nobody should store.
 */
uint64_t x86_alu(struct x86_ctx *c, unsigned int op, unsigned int size, uint64_t a, uint64_t b)
{
	__u64 *flags = &c->r.rflags;
	const uint64_t carry = *flags & X86_CF;
	uint64_t result;

	switch (op) {
	case OP_ADD: return add(flags, size, a, b, false);
	case OP_ADC: return add(flags, size, a, b, carry);
	case OP_SUB:
	case OP_CMP: return subtract(flags, size, a, b, false);
	case OP_SBB: return subtract(flags, size, a, b, carry);
	case OP_AND:
	case OP_TEST: return logic(flags, size, a & b);
	case OP_OR: return logic(flags, size, a | b);
	case OP_XOR: return logic(flags, size, a ^ b);
	case OP_INC:
	case OP_DEC:
		/* As ADD and SUB of one, but CF stays. */
		result = op == OP_INC ? add(flags, size, a, 1, false)
				      : subtract(flags, size, a, 1, false);
		flag_set(flags, X86_CF, carry);
		return result;
	case OP_NEG: return subtract(flags, size, 0, a, false);
	case OP_NOT: return ~a & size_mask(size);
	case OP_SHL:
	case OP_SHR:
	case OP_SAR: return shift(flags, op, size, a, b);
	case OP_ROL:
	case OP_ROR:
	case OP_RCL:
	case OP_RCR: return rotate(flags, op, size, a, b);
	}
	return a;
}

/* The condition codes of Jcc, SETcc, CMOVcc: bit 0 negates. */
bool x86_condition(uint64_t f, unsigned int cond)
{
	const bool less = !!(f & X86_SF) != !!(f & X86_OF);
	bool yes;

	switch (cond >> 1) {
	case 0: yes = f & X86_OF; break;
	case 1: yes = f & X86_CF; break;
	case 2: yes = f & X86_ZF; break;
	case 3: yes = f & (X86_CF | X86_ZF); break;
	case 4: yes = f & X86_SF; break;
	case 5: yes = f & X86_PF_FLAG; break;
	case 6: yes = less; break;
	default: yes = less || (f & X86_ZF);
	}
	return yes != (cond & 1);
}
