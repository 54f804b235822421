// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vector.c - plain SSE and AVX moves between memory and a register of the XSAVE group, and
 * PKRU, which lives there too.
 * Implements APM volume 4 for the moves of decode.c's table; volume 2, 11.5.9 for the image's
 * layout.
 *
 * A component whose bit in XSTATE_BV is clear is in its initial state, whatever its bytes say.
 */
#include <cpuid.h>

#include "emu.h"

#define XMM_OFFSET	160
#define XSTATE_BV	512
#define COMPONENT_SSE	1
#define COMPONENT_AVX	2
#define COMPONENT_PKRU	9

/* The component's bytes, brought out of the initial state if @write; NULL: not there. */
static uint8_t *component(struct hv_x86 *x, unsigned int number, bool write)
{
	unsigned int offset, size = 256;
	uint64_t bv;

	switch (number) {
	case COMPONENT_SSE:
		offset = XMM_OFFSET;
		break;
	case COMPONENT_AVX:
		offset = x->avx_offset;
		break;
	default:
		offset = x->pkru_offset;
		size = 4;
	}
	if (!offset || offset + size > x->xsave_size)
		return NULL;
	memcpy(&bv, x->xsave + XSTATE_BV, sizeof(bv));
	if (!(bv & (1ULL << number))) {
		/* Zero is the initial state of all three; now the bytes say so as well. */
		memset(x->xsave + offset, 0, size);
		if (write) {
			bv |= 1ULL << number;
			memcpy(x->xsave + XSTATE_BV, &bv, sizeof(bv));
		}
	}
	return x->xsave + offset;
}

/* The standard format is the same for the host's and the guest's image. */
void x86_xsave_init(struct hv_x86 *x)
{
	unsigned int eax, ebx, ecx, edx;

	if (__get_cpuid_count(0xd, COMPONENT_AVX, &eax, &ebx, &ecx, &edx) && eax)
		x->avx_offset = ebx;
	if (__get_cpuid_count(0xd, COMPONENT_PKRU, &eax, &ebx, &ecx, &edx) && eax)
		x->pkru_offset = ebx;
}

static int need_xsave(struct hv_x86 *x)
{
	if (!x->xsave || x->xsave_size < 576)
		return -ENOTSUP;
	return x->ops->need ? x->ops->need(x->opaque, HV_GROUP(HV_GROUP_XSAVE)) : 0;
}

int x86_pkru(struct hv_x86 *x, uint32_t *pkru)
{
	uint8_t *p;
	int ret;

	*pkru = 0;
	ret = need_xsave(x);
	if (ret)
		return ret == -ENOTSUP ? 0 : ret;
	p = component(x, COMPONENT_PKRU, false);
	if (p)
		memcpy(pkru, p, sizeof(*pkru));
	return 0;
}

static int vector_load(struct x86_ctx *c, unsigned int reg, const struct x86_operand *other,
		       const struct x86_ref *ref)
{
	const struct x86_insn *insn = c->insn;
	struct hv_x86 *x = c->x;
	const unsigned int high = insn->vec & VEC_HIGH ? 8 : 0;
	uint8_t value[32] = { 0 }, loaded[32];
	uint8_t *xmm, *ymm;
	int ret;

	ret = x86_ref_read(c, ref, loaded);
	if (ret)
		return ret;
	xmm = component(x, COMPONENT_SSE, true);
	/* VEX forms have a second source, legacy ones keep the destination. */
	if (insn->vec & VEC_MERGE)
		memcpy(value, xmm + 16 * (other->type == OPD_VEC ? other->reg : reg), 16);
	memcpy(value + high, loaded, insn->opsize);
	memcpy(xmm + 16 * reg, value, 16);
	if (insn->vec & VEC_VEX) {
		ymm = component(x, COMPONENT_AVX, true);
		if (ymm)
			memcpy(ymm + 16 * reg, value + 16, 16);
	}
	x->dirty |= HV_GROUP(HV_GROUP_XSAVE);
	return 0;
}

static int vector_store(struct x86_ctx *c, unsigned int reg, const struct x86_ref *ref)
{
	const struct x86_insn *insn = c->insn;
	const unsigned int high = insn->vec & VEC_HIGH ? 8 : 0;
	uint8_t value[32] = { 0 };
	uint8_t *ymm;

	memcpy(value, component(c->x, COMPONENT_SSE, false) + 16 * reg, 16);
	if (insn->opsize == 32) {
		ymm = component(c->x, COMPONENT_AVX, false);
		if (ymm)
			memcpy(value + 16, ymm + 16 * reg, 16);
	}
	return x86_ref_write(c, ref, value + high);
}

int x86_vector_move(struct x86_ctx *c)
{
	const struct x86_insn *insn = c->insn;
	const struct x86_operand *dst = &insn->opd[0], *src = &insn->opd[1];
	const bool load = dst->type != OPD_MEM;
	const struct x86_operand *reg = load ? dst : src;
	const uint64_t offset = x86_operand_offset(c);
	struct x86_ref ref;
	uint64_t linear;
	int ret;

	if (insn->opsize > 32 || reg->type != OPD_VEC)
		return -ENOTSUP;
	/* The last operand is the memory of a load with three. */
	if (load && insn->opd[2].type == OPD_NONE && src->type != OPD_MEM)
		return -ENOTSUP;
	ret = need_xsave(c->x);
	if (ret)
		return ret;
	if (insn->vec & VEC_ALIGNED) {
		/* Misalignment comes before limits; x86_ref_get() repeats the other checks. */
		x86_linear(c, insn->mem_seg, offset, insn->opsize, HV_ACCESS_READ, &linear);
		if (linear & (insn->opsize - 1))
			return x86_fault(c, X86_GP, 0);
	}
	ret = x86_ref_get(c, insn->mem_seg, offset, insn->opsize,
			  load ? HV_ACCESS_READ : HV_ACCESS_WRITE, &ref);
	if (ret)
		return ret;
	return load ? vector_load(c, reg->reg, src, &ref) : vector_store(c, reg->reg, &ref);
}
