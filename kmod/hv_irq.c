// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_irq.c - from an interrupt message to the APICs it addresses.
 *
 * SDM vol. 3 section 10.6.2 (destinations), 10.11 (MSI address and data), 10.12.10 (x2APIC logical
 * ids).  Delivery runs in any context, hard interrupts included: no lock, no allocation, no
 * sleeping.
 *
 * Which APICs are on, and which in x2APIC mode, are masks of vCPU numbers (there are at most 64),
 * in which a vCPU sets and clears its own bit; logical ids are read where they are.  A message
 * that meets a change may find the old id, the new one or none, as on a bus.
 */
#include "hv_lapic.h"

void hv_irq_map_vcpu(struct hv_vcpu *v)
{
	const struct hv_lapic *l = v->lapic;

	BUILD_BUG_ON(HV_MAX_VCPUS > BITS_PER_LONG);
	assign_bit(v->id, &v->vm->apic_x2, l->enabled && l->x2);
	assign_bit(v->id, &v->vm->apic_on, l->enabled);
}

/* ---- who is meant ---- */

/* xAPIC: flat, or clusters of four; cluster 15 is nobody's. */
static bool logical_match(const struct hv_lapic *l, u32 dest)
{
	u32 ldr = lapic_reg(l, APIC_LDR) >> 24, dfr = lapic_reg(l, APIC_DFR) >> 28;

	if (dfr == 0xf)
		return ldr & dest;
	return dfr == 0 && dest >> 4 < 15 && ldr >> 4 == dest >> 4 && (ldr & dest & 0xf);
}

static unsigned long logical_targets(struct hv_vm *vm, u32 dest)
{
	unsigned long x2 = READ_ONCE(vm->apic_x2), xapic, targets = 0;
	u32 cluster = dest >> 16;
	struct hv_vcpu *v;

	/* x2APIC ids: cluster of 16 and a bit each, fixed by the APIC id. */
	if (cluster < HV_MAX_VCPUS / 16)
		targets = (unsigned long)(dest & 0xffff) << (16 * cluster) & x2;
	if (dest > 0xff)
		return targets;
	for (xapic = READ_ONCE(vm->apic_on) & ~x2; xapic; xapic &= xapic - 1) {
		v = hv_vm_vcpu(vm, __ffs(xapic));
		if (v && logical_match(v->lapic, dest))
			targets |= BIT(v->id);
	}
	return targets;
}

static unsigned long message_targets(struct hv_vm *vm, const struct hv_vcpu *from,
				     const struct hv_irq_msg *m)
{
	unsigned long on = READ_ONCE(vm->apic_on);

	switch (m->shorthand) {
	case 1:
		return from ? BIT(from->id) : 0;
	case 2:
		return on;
	case 3:
		return from ? on & ~BIT(from->id) : on;
	}
	if ((m->broadcast_ff && m->dest == 0xff) || (m->x2 && m->dest == 0xffffffff))
		return on;
	if (m->logical)
		return logical_targets(vm, m->dest) & on;
	return m->dest < HV_MAX_VCPUS ? BIT(m->dest) & on : 0;
}

/* Lowest processor priority wins; among equals it goes round. */
static unsigned long lowest(struct hv_vm *vm, unsigned long targets)
{
	int n, start, id, best = -1;
	struct hv_vcpu *v;
	u32 ppr, best_ppr = ~0u;

	start = atomic_read(&vm->apic_turn) + 1;
	for (n = 0; n < HV_MAX_VCPUS; n++) {
		id = (start + n) % HV_MAX_VCPUS;
		if (!(targets & BIT(id)))
			continue;
		v = hv_vm_vcpu(vm, id);
		if (!v || !(lapic_reg(v->lapic, APIC_SPIV) & APIC_SPIV_APIC_ENABLED))
			continue;
		ppr = lapic_reg(v->lapic, APIC_PROCPRI) & 0xf0;
		if (ppr < best_ppr) {
			best_ppr = ppr;
			best = id;
		}
	}
	if (best < 0)
		return 0;
	atomic_set(&vm->apic_turn, best);
	return BIT(best);
}

/* ---- delivery ---- */

int hv_irq_deliver(struct hv_vm *vm, struct hv_vcpu *from, const struct hv_irq_msg *m)
{
	unsigned long targets = message_targets(vm, from, m);
	struct hv_vcpu *v;
	int reached = 0;

	if (m->delivery == DM_LOWEST && (targets & (targets - 1)))
		targets = lowest(vm, targets);
	for (; targets; targets &= targets - 1) {
		v = hv_vm_vcpu(vm, __ffs(targets));
		if (v && lapic_accept(v, from, m))
			reached++;
	}
	return reached;
}

/*
 * Address 0xfeeNNxxx: NN is the destination, bit 3 the redirection hint, bit 2
 * the logical mode.  Ids are 8 bits: with 64 vCPUs nobody needs more.
 */
int hv_irq_msi(struct hv_vm *vm, u64 address, u32 data)
{
	struct hv_irq_msg m = {
		.dest = address >> 12 & 0xff,
		.vector = data & 0xff,
		.delivery = data >> 8 & 7,
		.logical = address & 4,
		.level = data & 0x8000,
		.assert = true,
		.x2 = true,
		.broadcast_ff = true,
	};

	if (address >> 20 != 0xfee)
		return 0;
	/* A hint with a logical destination asks for one target of several. */
	if ((address & 8) && m.logical && m.delivery == DM_FIXED)
		m.delivery = DM_LOWEST;
	atomic64_inc(&vm->stat[HV_STAT_MSI]);
	return hv_irq_deliver(vm, NULL, &m);
}

void hv_irq_set_line(struct hv_vm *vm, bool level)
{
	bool was = xchg(&vm->intr_line, level);
	struct hv_vcpu *v;
	int i;

	if (!level)
		return;
	hv_for_each_vcpu(i, v, vm) {
		if (hv_lapic_extint_ok(v)) {
			hv_request(v, HV_REQ_EVENT);
			hv_vcpu_kick(v);
		} else if (!was) {
			/* LINT0 programmed as something else than ExtINT. */
			lapic_local_deliver(v->lapic, APIC_LVT0, NULL);
		}
	}
}
