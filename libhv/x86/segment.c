// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * segment.c - loading a segment register from a memory operand.
 * Implements APM volume 2, 4.5 to 4.8 (selectors, descriptors) and 4.11 (checks on loading).
 *
 * CS is never loaded here: MOV cannot.  A MOV to SS does not hold interrupts off for one
 * instruction, as it would on the CPU; nobody keeps selectors in device memory.
 */
#include "emu.h"

#define DESC_ACCESSED	0x1ULL
#define ATTR_CODE	0x8
#define ATTR_CONFORMING	0x4
#define ATTR_RW		0x2

static void load_null(struct x86_ctx *c, unsigned int seg, uint16_t selector)
{
	struct hv_seg *s = &c->x->segs->seg[seg];

	s->selector = selector;
	s->attr = HV_SEG_UNUSABLE;
	/* A null SS is of use in 64-bit mode only, and keeps the privilege level. */
	if (seg == HV_SS)
		s->attr |= (uint32_t)c->cpl << HV_SEG_DPL_SHIFT;
	if (c->x->flags & HV_X86_NULL_CLEARS_BASE) {
		s->base = 0;
		s->limit = 0;
	}
}

static bool type_allowed(const struct x86_ctx *c, unsigned int seg, uint16_t selector,
			 uint32_t attr)
{
	const unsigned int rpl = selector & 3;
	const unsigned int dpl = (attr & HV_SEG_DPL) >> HV_SEG_DPL_SHIFT;

	if (!(attr & HV_SEG_S))
		return false;
	if (seg == HV_SS)
		return !(attr & ATTR_CODE) && (attr & ATTR_RW) && rpl == c->cpl && dpl == c->cpl;
	if ((attr & ATTR_CODE) && !(attr & ATTR_RW))
		return false;
	if ((attr & ATTR_CODE) && (attr & ATTR_CONFORMING))
		return true;
	return dpl >= c->cpl && dpl >= rpl;
}

int x86_segment_load(struct x86_ctx *c, unsigned int seg, uint16_t selector)
{
	const struct hv_segs *segs = c->x->segs;
	const struct hv_seg *ldt = &segs->seg[HV_LDTR];
	const uint16_t code = selector & ~3;
	uint64_t table, limit, desc, linear;
	struct hv_seg *s = &c->x->segs->seg[seg];
	uint32_t attr;
	int ret;

	if (seg == HV_CS)
		return x86_fault(c, X86_UD, 0);
	if (c->mode == X86_REAL || c->mode == X86_V86) {
		s->selector = selector;
		s->base = (uint32_t)selector << 4;
		c->x->dirty |= HV_GROUP(HV_GROUP_SEGS);
		return 0;
	}
	if (!code) {
		if (seg == HV_SS && (c->mode != X86_LONG || c->cpl == 3 || selector != c->cpl))
			return x86_fault(c, X86_GP, 0);
		load_null(c, seg, selector);
		c->x->dirty |= HV_GROUP(HV_GROUP_SEGS);
		return 0;
	}

	if (selector & 4) {
		if ((ldt->attr & HV_SEG_UNUSABLE) || !(ldt->attr & HV_SEG_P))
			return x86_fault(c, X86_GP, code);
		table = ldt->base;
		limit = ldt->limit;
	} else {
		table = segs->gdtr.base;
		limit = segs->gdtr.limit;
	}
	if ((selector | 7u) > limit)
		return x86_fault(c, X86_GP, code);
	linear = table + (selector & ~7u);
	ret = x86_system_read(c, linear, &desc, sizeof(desc));
	if (ret)
		return ret;

	attr = (desc >> 40) & 0xf0ff;
	if (!type_allowed(c, seg, selector, attr))
		return x86_fault(c, X86_GP, code);
	if (!(attr & HV_SEG_P))
		return x86_fault(c, seg == HV_SS ? X86_SS : X86_NP, code);
	if (!(attr & DESC_ACCESSED)) {
		desc |= DESC_ACCESSED << 40;
		ret = x86_system_write(c, linear, &desc, sizeof(desc));
		if (ret)
			return ret;
		attr |= DESC_ACCESSED;
	}

	limit = (desc & 0xffff) | (desc >> 32 & 0xf0000);
	if (attr & HV_SEG_G)
		limit = limit << 12 | 0xfff;
	s->selector = selector;
	s->base = (desc >> 16 & 0xffffff) | (desc >> 32 & 0xff000000);
	s->limit = limit;
	s->attr = attr;
	c->x->dirty |= HV_GROUP(HV_GROUP_SEGS);
	return 0;
}
