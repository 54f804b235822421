// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * mem.c - from segment and offset to bytes: segmentation, translation, the access itself.
 * Implements APM volume 2, chapter 4 (4.12 limits, 4.5.3 long mode) and 13.1 (data
 * breakpoints) as far as data accesses go.
 *
 * Guest memory is what the read and write callbacks serve; everything else is a device's.  An
 * access is split at page boundaries and nowhere else.
 */
#include "emu.h"

#define PAGE		4096u

int x86_mode_init(struct x86_ctx *c)
{
	const struct hv_control *ctl = c->x->control;
	const struct hv_seg *cs = &c->x->segs->seg[HV_CS];
	const struct hv_seg *ss = &c->x->segs->seg[HV_SS];

	if (!(ctl->cr0 & X86_CR0_PE))
		c->mode = X86_REAL;
	else if (c->r.rflags & X86_VM && !(ctl->efer & X86_EFER_LMA))
		c->mode = X86_V86;
	else if ((ctl->efer & X86_EFER_LMA) && (cs->attr & HV_SEG_L))
		c->mode = X86_LONG;
	else
		c->mode = X86_PROT;

	switch (c->mode) {
	case X86_REAL:
		c->cpl = 0;
		break;
	case X86_V86:
		c->cpl = 3;
		break;
	default:
		c->cpl = (ss->attr & HV_SEG_DPL) >> HV_SEG_DPL_SHIFT;
	}
	if (c->mode == X86_LONG) {
		c->code_size = 8;
		c->stack_size = 8;
	} else {
		c->code_size = cs->attr & HV_SEG_DB ? 4 : 2;
		c->stack_size = ss->attr & HV_SEG_DB ? 4 : 2;
	}
	return 0;
}

/* The offset the ModRM (or moffs) operand names, within the address size. */
uint64_t x86_operand_offset(struct x86_ctx *c)
{
	const struct x86_insn *insn = c->insn;
	uint64_t offset = insn->mem_disp;

	if (insn->mem_base == X86_BASE_RIP)
		offset += c->r.rip + insn->length;
	else if (insn->mem_base >= 0)
		offset += c->r.gpr[insn->mem_base];
	if (insn->mem_index >= 0)
		offset += c->r.gpr[insn->mem_index] * insn->mem_scale;
	return offset & size_mask(insn->addrsize);
}

static bool is_canonical(const struct x86_ctx *c, uint64_t linear)
{
	const unsigned int shift = c->x->control->cr4 & X86_CR4_LA57 ? 7 : 16;

	return (uint64_t)((int64_t)(linear << shift) >> shift) == linear;
}

/* Type, limit: legacy and compatibility modes.  False: the access is not allowed. */
static bool segment_allows(const struct x86_ctx *c, const struct hv_seg *s, uint64_t offset,
			   uint32_t size, uint32_t access)
{
	const bool code = s->attr & 0x8;
	const uint64_t last = offset + size - 1;

	if (c->mode == X86_PROT) {
		if ((s->attr & HV_SEG_UNUSABLE) || !(s->attr & HV_SEG_S))
			return false;
		if (!(access & HV_ACCESS_EXEC)) {
			if ((access & HV_ACCESS_WRITE) && (code || !(s->attr & 0x2)))
				return false;
			if ((access & HV_ACCESS_READ) && code && !(s->attr & 0x2))
				return false;
		}
	}
	if ((s->attr & HV_SEG_S) && !code && (s->attr & 0x4)) {
		/* Expand-down: above the limit, below 64 KiB or 4 GiB. */
		return offset > s->limit && last <= (s->attr & HV_SEG_DB ? 0xffffffff : 0xffff);
	}
	return last <= s->limit;
}

int x86_linear(struct x86_ctx *c, unsigned int seg, uint64_t offset, uint32_t size,
	       uint32_t access, uint64_t *linear)
{
	const struct hv_seg *s = &c->x->segs->seg[seg];

	if (c->mode == X86_LONG) {
		*linear = offset + (seg == HV_FS || seg == HV_GS ? s->base : 0);
		if (is_canonical(c, *linear) && is_canonical(c, *linear + size - 1))
			return 0;
	} else {
		*linear = (uint32_t)(s->base + offset);
		if (segment_allows(c, s, offset, size, access))
			return 0;
	}
	return x86_fault(c, seg == HV_SS ? X86_SS : X86_GP, 0);
}

int x86_translate(struct x86_ctx *c, uint64_t linear, uint32_t access, uint32_t flags,
		  uint64_t *gpa)
{
	struct x86_tlb *tlb = &c->tlb[!!(access & HV_ACCESS_WRITE)];
	const bool cached = !flags && !(access & HV_ACCESS_EXEC);
	struct hv_x86_walk w;
	int ret;

	if (cached && tlb->linear == (linear & ~(uint64_t)(PAGE - 1))) {
		*gpa = tlb->gpa | (linear & (PAGE - 1));
		return 0;
	}
	if (c->cpl == 3 && !(flags & HV_X86_WALK_IMPLICIT))
		flags |= HV_X86_WALK_USER;
	ret = hv_x86_walk(c->x, linear, access, flags | HV_X86_WALK_SET_AD, &w);
	if (ret == -EFAULT) {
		x86_fault(c, X86_PF, w.error_code);
		c->payload = linear;
		return X86_FAULT;
	}
	if (ret == -EAGAIN)
		return X86_RETRY;
	if (ret)
		return ret;
	if (cached) {
		tlb->linear = linear & ~(uint64_t)(PAGE - 1);
		tlb->gpa = w.gpa & ~(uint64_t)(PAGE - 1);
	}
	*gpa = w.gpa;
	return 0;
}

/*
 * The exit told where the access went: believe the CPU rather than walk again, if it can only
 * be this operand, and if it got as far as the right that is needed now.
 */
static void use_hint(struct x86_ctx *c, uint64_t linear, uint32_t access)
{
	const struct hv_x86_hint *hint = c->hint;
	const uint32_t wanted = access & HV_ACCESS_WRITE ? HV_ACCESS_WRITE : HV_ACCESS_READ;
	struct x86_tlb *tlb = &c->tlb[!!(access & HV_ACCESS_WRITE)];

	if (!(hint->flags & HV_X86_HINT_GPA) || !c->insn->single || !(hint->access & wanted) ||
	    ((hint->gpa ^ linear) & (PAGE - 1)))
		return;
	tlb->linear = linear & ~(uint64_t)(PAGE - 1);
	tlb->gpa = hint->gpa & ~(uint64_t)(PAGE - 1);
}

/* DR7 against [linear, linear + size): the trap comes when the instruction is through. */
static void check_breakpoints(struct x86_ctx *c, uint64_t linear, uint32_t size, uint32_t access)
{
	static const uint8_t lengths[4] = { 1, 2, 8, 4 };
	const struct hv_debug *d = c->x->debug;
	unsigned int i, type;
	uint64_t start, len;

	if (!d || !(d->dr7 & 0xff))
		return;
	for (i = 0; i < 4; i++) {
		if (!(d->dr7 & (3ULL << (2 * i))))
			continue;
		type = (d->dr7 >> (16 + 4 * i)) & 3;
		if (type != 3 && !(type == 1 && (access & HV_ACCESS_WRITE)))
			continue;
		len = lengths[(d->dr7 >> (18 + 4 * i)) & 3];
		start = d->dr[i] & ~(len - 1);
		if (linear < start + len && start < linear + size)
			c->dr6 |= 1ULL << i;
	}
}

/**
 * x86_ref_get() - check and translate a memory operand, changing nothing but A and D bits.
 * @access:	HV_ACCESS_READ, _WRITE or both.
 */
int x86_ref_get(struct x86_ctx *c, unsigned int seg, uint64_t offset, uint32_t size,
		uint32_t access, struct x86_ref *ref)
{
	const struct hv_control *ctl = c->x->control;
	uint64_t linear, gpa;
	uint32_t len, done = 0;
	int ret;

	ret = x86_linear(c, seg, offset, size, access, &linear);
	if (ret)
		return ret;
	if (c->cpl == 3 && (ctl->cr0 & X86_CR0_AM) && (c->r.rflags & X86_AC_FLAG) &&
	    (linear & ((size < 16 ? size : 16) - 1)))
		return x86_fault(c, X86_AC, 0);

	ref->size = size;
	ref->count = 0;
	use_hint(c, linear, access);
	while (done < size) {
		uint64_t at = linear + done;

		if (c->mode != X86_LONG)
			at = (uint32_t)at;
		len = PAGE - (at & (PAGE - 1));
		if (len > size - done)
			len = size - done;
		ret = x86_translate(c, at, access, 0, &gpa);
		if (ret)
			return ret;
		ref->part[ref->count].gpa = gpa;
		ref->part[ref->count++].len = len;
		done += len;
	}
	check_breakpoints(c, linear, size, access);
	return 0;
}

int x86_ref_read(struct x86_ctx *c, const struct x86_ref *ref, void *buf)
{
	const struct hv_x86_ops *ops = c->x->ops;
	uint8_t *p = buf;
	unsigned int i;
	int ret;

	for (i = 0; i < ref->count; i++) {
		if (ops->read(c->x->opaque, ref->part[i].gpa, p, ref->part[i].len)) {
			memset(p, 0xff, ref->part[i].len);
			ret = ops->mem(c->x->opaque, ref->part[i].gpa, false, ref->part[i].len, p);
			if (ret)
				return ret;
		}
		p += ref->part[i].len;
	}
	return 0;
}

int x86_ref_write(struct x86_ctx *c, const struct x86_ref *ref, const void *buf)
{
	const struct hv_x86_ops *ops = c->x->ops;
	const uint8_t *p = buf;
	uint8_t copy[64];
	unsigned int i;
	int ret;

	for (i = 0; i < ref->count; i++) {
		if (ops->write(c->x->opaque, ref->part[i].gpa, p, ref->part[i].len)) {
			/* Devices get a buffer of their own: the callback's is not const. */
			memcpy(copy, p, ref->part[i].len);
			ret = ops->mem(c->x->opaque, ref->part[i].gpa, true, ref->part[i].len, copy);
			if (ret)
				return ret;
		}
		p += ref->part[i].len;
	}
	return 0;
}

/**
 * x86_fetch() - more instruction bytes: those after the *@len we hold, up to the page's end.
 * Code in no memory reads as all ones.
 */
int x86_fetch(struct x86_ctx *c, uint8_t *buf, unsigned int *len)
{
	const unsigned int have = *len;
	const struct hv_seg *cs = &c->x->segs->seg[HV_CS];
	uint64_t offset = c->r.rip + have, linear, gpa;
	unsigned int n;
	int ret;

	if (c->mode != X86_LONG)
		offset = (uint32_t)offset;
	ret = x86_linear(c, HV_CS, offset, 1, HV_ACCESS_EXEC, &linear);
	if (ret)
		return ret;
	n = PAGE - (linear & (PAGE - 1));
	if (n > 15 - have)
		n = 15 - have;
	if (c->mode != X86_LONG && n > cs->limit - offset + 1)
		n = cs->limit - offset + 1;
	ret = x86_translate(c, linear, HV_ACCESS_EXEC, 0, &gpa);
	if (ret)
		return ret;
	if (c->x->ops->read(c->x->opaque, gpa, buf + have, n))
		memset(buf + have, 0xff, n);
	*len = have + n;
	return 0;
}

/* Descriptor tables: accesses by the CPU on its own account, at most 16 bytes. */
static int system_ref(struct x86_ctx *c, uint64_t linear, unsigned int len, uint32_t access,
		      struct x86_ref *ref)
{
	unsigned int done = 0, n;
	uint64_t gpa;
	int ret;

	ref->size = len;
	ref->count = 0;
	while (done < len) {
		n = PAGE - ((linear + done) & (PAGE - 1));
		if (n > len - done)
			n = len - done;
		ret = x86_translate(c, linear + done, access, HV_X86_WALK_IMPLICIT, &gpa);
		if (ret)
			return ret;
		ref->part[ref->count].gpa = gpa;
		ref->part[ref->count++].len = n;
		done += n;
	}
	return 0;
}

int x86_system_read(struct x86_ctx *c, uint64_t linear, void *buf, unsigned int len)
{
	struct x86_ref ref;
	int ret = system_ref(c, linear, len, HV_ACCESS_READ, &ref);

	return ret ? ret : x86_ref_read(c, &ref, buf);
}

int x86_system_write(struct x86_ctx *c, uint64_t linear, const void *buf, unsigned int len)
{
	struct x86_ref ref;
	int ret = system_ref(c, linear, len, HV_ACCESS_WRITE, &ref);

	return ret ? ret : x86_ref_write(c, &ref, buf);
}
