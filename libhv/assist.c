// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * assist.c - completing exits: the emulator of x86/ tied to a vCPU's run area, and the short way
 * for plain IN and OUT.
 * Implements contracts 3 and 4 of the design; the exits are those of Documentation/abi.rst.
 *
 * Must leave the run area untouched when it fails, so that the exit can still be reported,
 * saved, or tried again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define SVM_EXIT_TASK_SWITCH	0x7d
#define VMX_EXIT_TASK_SWITCH	9
#define APIC_ENABLED	(1u << 11)
#define APIC_X2APIC	(1u << 10)

/* ------------------------------------------------------------------ */
/* The emulator's view of the world                                     */
/* ------------------------------------------------------------------ */

static bool is_apic_page(const struct vcpu *v, uint64_t gpa)
{
	const uint64_t base = v->x86.control->apic_base;

	return (base & (APIC_ENABLED | APIC_X2APIC)) == APIC_ENABLED &&
	       (gpa ^ base) >> 12 == 0;
}

static int op_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	const struct vcpu *v = opaque;
	const struct hv_callbacks *cb = &v->pub.vm->cb;

	/* The APIC page lies over whatever the memory map has there. */
	if (is_apic_page(v, gpa))
		return -EFAULT;
	return cb->guest_read(cb->opaque, gpa, buf, len);
}

static int op_write(void *opaque, uint64_t gpa, const void *buf, size_t len)
{
	const struct vcpu *v = opaque;
	const struct hv_callbacks *cb = &v->pub.vm->cb;

	if (is_apic_page(v, gpa))
		return -EFAULT;
	return cb->guest_write(cb->opaque, gpa, buf, len);
}

static int op_cmpxchg(void *opaque, uint64_t gpa, uint64_t old, uint64_t new_value, uint32_t size)
{
	const struct vcpu *v = opaque;
	const struct hv_callbacks *cb = &v->pub.vm->cb;

	if (is_apic_page(v, gpa))
		return -EFAULT;
	return cb->guest_cmpxchg(cb->opaque, gpa, old, new_value, size);
}

/*
 * Registers are 32 bits wide at multiples of 16.  Narrower reads get their part of one, wider
 * ones zeroes above; what is beside a register reads as zero, and only writes of whole
 * registers count.
 */
static int apic_access(struct vcpu *v, uint32_t offset, bool write, uint32_t size, void *data)
{
	const uint32_t skip = offset & 15;
	uint8_t bytes[4 + 64] = { 0 };
	uint32_t value = 0;
	int ret;

	if (write) {
		if (skip || size < 4)
			return 0;
		memcpy(&value, data, 4);
		return hv_vcpu_apic_access(&v->pub, offset, true, &value);
	}
	if (skip < 4) {
		ret = hv_vcpu_apic_access(&v->pub, offset - skip, false, &value);
		if (ret)
			return ret;
		memcpy(bytes, &value, 4);
		memcpy(data, bytes + skip, size);
	} else {
		memset(data, 0, size);
	}
	return 0;
}

static int op_mem(void *opaque, uint64_t gpa, bool write, uint32_t size, void *data)
{
	struct vcpu *v = opaque;
	const struct hv_callbacks *cb = &v->pub.vm->cb;

	if (is_apic_page(v, gpa))
		return apic_access(v, gpa & 0xfff, write, size, data);
	return cb->mem(cb->opaque, v->pub.id, gpa, write, size, data);
}

static int op_io(void *opaque, uint16_t port, bool in, uint32_t size, void *data)
{
	const struct vcpu *v = opaque;
	const struct hv_callbacks *cb = &v->pub.vm->cb;

	return cb->io(cb->opaque, v->pub.id, port, in, size, data);
}

static int op_need(void *opaque, uint64_t groups)
{
	struct vcpu *v = opaque;

	return hv_vcpu_need(&v->pub, groups);
}

static const struct hv_x86_ops ops_plain = {
	.io = op_io,
	.mem = op_mem,
	.read = op_read,
	.write = op_write,
	.need = op_need,
};

static const struct hv_x86_ops ops_cmpxchg = {
	.io = op_io,
	.mem = op_mem,
	.read = op_read,
	.write = op_write,
	.cmpxchg = op_cmpxchg,
	.need = op_need,
};

int vcpu_x86_init(struct vcpu *v)
{
	struct hv_vcpu *pub = &v->pub;
	const struct hv_vm *vm = pub->vm;
	struct hv_x86 *x = &v->x86;
	int ret;

	ret = hv_x86_init(x, vm->cb.guest_cmpxchg ? &ops_cmpxchg : &ops_plain, v);
	if (ret)
		return ret;
	x->regs = hv_vcpu_regs(pub);
	x->segs = hv_vcpu_segs(pub);
	x->control = hv_vcpu_control(pub);
	x->events = hv_vcpu_events(pub);
	x->xsave = pub->group[HV_GROUP_XSAVE];
	x->xsave_size = vm->info.group[HV_GROUP_XSAVE].size;
	x->phys_bits = vm->phys_bits;
	x->flags = vm->x86_flags;
	if (vm->info.vendor == HV_VENDOR_VMX)
		x->flags |= HV_X86_PDPTE_CACHED | HV_X86_INTEL;
	if (!x->regs || !x->segs || !x->control || !x->events) {
		hv_x86_fini(x);
		return -EPROTO;
	}
	return 0;
}

/* Emulate the instruction at RIP and hand what changed to the run area. */
static int assist(struct vcpu *v, const struct hv_x86_hint *hint)
{
	struct hv_vcpu *pub = &v->pub;
	struct hv_run *run = pub->run;
	struct hv_x86 *x = &v->x86;
	int ret;

	if (!pub->vm->has_cb)
		return -EINVAL;
	ret = hv_vcpu_need(pub, HV_GROUP(HV_GROUP_REGS) | HV_GROUP(HV_GROUP_SEGS) |
				HV_GROUP(HV_GROUP_CONTROL));
	if (ret)
		return ret;
	/* Data breakpoints cost a group more at each exit: only for who wants DEBUG anyway. */
	x->debug = run->valid & HV_GROUP(HV_GROUP_DEBUG) ? pub->group[HV_GROUP_DEBUG] : NULL;
	x->dirty = 0;
	ret = hv_x86_emulate(x, hint);
	run->dirty |= x->dirty;
	if (!ret) {
		run->retire = x->retire;
		run->retire_rip = x->retire_rip;
	}
	return ret;
}

/* ------------------------------------------------------------------ */
/* The calls                                                            */
/* ------------------------------------------------------------------ */

int hv_assist_io(struct hv_vcpu *vcpu)
{
	static const struct hv_x86_hint nothing;
	struct vcpu *v = to_vcpu(vcpu);
	struct hv_run *run = vcpu->run;
	const struct hv_exit_io *io = &run->io;
	const struct hv_callbacks *cb = &vcpu->vm->cb;
	struct hv_regs *regs;
	uint32_t data;
	int ret;

	v->x86.error[0] = '\0';
	if (run->exit_reason != HV_EXIT_IO || !cb->io)
		return -EINVAL;
	if (io->string)
		return assist(v, &nothing);

	/* The hot path: no decoding, no state beyond RAX. */
	data = io->in ? 0 : io->data;
	ret = cb->io(cb->opaque, vcpu->id, io->port, io->in, io->size, &data);
	if (ret)
		return ret;
	if (io->in) {
		regs = hv_vcpu_regs(vcpu);
		switch (io->size) {
		case 1:
			regs->gpr[HV_RAX] = (regs->gpr[HV_RAX] & ~0xffULL) | (data & 0xff);
			break;
		case 2:
			regs->gpr[HV_RAX] = (regs->gpr[HV_RAX] & ~0xffffULL) | (data & 0xffff);
			break;
		default:
			regs->gpr[HV_RAX] = data;
		}
		run->dirty |= HV_GROUP(HV_GROUP_REGS);
	}
	run->retire = io->length;
	return 0;
}

int hv_assist_mem(struct hv_vcpu *vcpu)
{
	struct vcpu *v = to_vcpu(vcpu);
	const struct hv_run *run = vcpu->run;
	const struct hv_exit_mem *mem = &run->mem;
	struct hv_x86_hint hint = { 0 };

	v->x86.error[0] = '\0';
	switch (run->exit_reason) {
	case HV_EXIT_MMIO:
	case HV_EXIT_APIC:
		/* A page walk's own access says nothing of where the operand lies. */
		if (!(mem->access & (HV_ACCESS_PT | HV_ACCESS_EXEC))) {
			hint.flags = HV_X86_HINT_GPA;
			hint.gpa = mem->gpa;
			hint.access = mem->access;
		}
		break;
	case HV_EXIT_INSN:
		/* By a task gate an event can do it too: then RIP's instruction is innocent. */
		if (mem->code == (vcpu->vm->info.vendor == HV_VENDOR_VMX ? VMX_EXIT_TASK_SWITCH
									 : SVM_EXIT_TASK_SWITCH)) {
			snprintf(v->x86.error, sizeof(v->x86.error),
				 "cannot emulate a hardware task switch at %04x:%llx",
				 v->x86.segs->seg[HV_CS].selector,
				 (unsigned long long)v->x86.regs->rip);
			return -ENOTSUP;
		}
		break;
	default:
		return -EINVAL;
	}
	hint.insn_len = mem->insn_len <= 15 ? mem->insn_len : 15;
	memcpy(hint.insn, mem->insn, hint.insn_len);
	return assist(v, &hint);
}

const char *hv_vcpu_error(const struct hv_vcpu *vcpu)
{
	return to_vcpu(vcpu)->x86.error;
}

int hv_vcpu_translate(struct hv_vcpu *vcpu, uint64_t gva, uint32_t access, uint64_t *gpa)
{
	struct vcpu *v = to_vcpu(vcpu);
	const struct hv_control *ctl = v->x86.control;
	const unsigned int shift = ctl->cr4 & (1u << 12) ? 7 : 16;
	struct hv_x86_walk walk;
	uint32_t flags = 0;
	int ret;

	if (!vcpu->vm->has_cb)
		return -EINVAL;
	ret = hv_vcpu_need(vcpu, HV_GROUP(HV_GROUP_REGS) | HV_GROUP(HV_GROUP_SEGS) |
				 HV_GROUP(HV_GROUP_CONTROL));
	if (ret)
		return ret;
	if ((ctl->efer & (1u << 10)) &&
	    (uint64_t)((int64_t)(gva << shift) >> shift) != gva)
		return -EFAULT;
	if (!access)
		flags |= HV_X86_WALK_NO_RIGHTS;
	else if ((v->x86.segs->seg[HV_SS].attr & HV_SEG_DPL) == HV_SEG_DPL)
		flags |= HV_X86_WALK_USER;
	ret = hv_x86_walk(&v->x86, gva, access, flags, &walk);
	if (!ret)
		*gpa = walk.gpa;
	return ret;
}
