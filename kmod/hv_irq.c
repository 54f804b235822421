// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_irq.c - from an interrupt message to the APICs it addresses.
 *
 * SDM vol. 3 section 10.6.2 (destinations), 10.11 (MSI address and data),
 * 10.12.10 (x2APIC logical ids).  Delivery runs in any context, hard interrupts
 * included: no lock, no allocation, no sleeping.
 *
 * The map of ids is masks of vCPU numbers (there are at most 64).  A vCPU that
 * changes mode or logical id sets and clears its own bit in each mask, so a
 * message never finds the others' bits disturbed; a message that meets the
 * change itself may find the old id, the new one or none, as on a bus.
 */
#include "hv_lapic.h"

struct hv_apic_map {
	raw_spinlock_t lock;		/* writers */
	atomic_t turn;			/* lowest priority: who was last */
	/* Masks of vCPUs, read without a lock. */
	unsigned long on;		/* APIC enabled */
	unsigned long x2;		/* and in x2APIC mode */
	unsigned long flat[8];		/* xAPIC, flat model: by bit of the id */
	unsigned long cluster[15][4];	/* xAPIC, cluster model: by cluster and bit */
};

static void put_bit(int id, unsigned long *mask, bool on)
{
	if (on)
		set_bit(id, mask);
	else if (test_bit(id, mask))
		clear_bit(id, mask);
}

void hv_irq_map_vcpu(struct hv_vcpu *v)
{
	struct hv_apic_map *map = v->vm->apic_map;
	const struct hv_lapic *l = v->lapic;
	u32 ldr, dfr, bits;
	unsigned long flags;
	bool xapic;
	int c, b;

	BUILD_BUG_ON(HV_MAX_VCPUS > BITS_PER_LONG);
	raw_spin_lock_irqsave(&map->lock, flags);
	ldr = lapic_reg(l, APIC_LDR) >> 24;
	dfr = lapic_reg(l, APIC_DFR) >> 28;
	xapic = l->enabled && !l->x2;
	put_bit(v->id, &map->x2, l->enabled && l->x2);
	for (b = 0; b < 8; b++)
		put_bit(v->id, &map->flat[b], xapic && dfr == 0xf && (ldr >> b & 1));
	for (c = 0; c < 15; c++) {
		bits = xapic && dfr == 0 && ldr >> 4 == c ? ldr & 0xf : 0;
		for (b = 0; b < 4; b++)
			put_bit(v->id, &map->cluster[c][b], bits >> b & 1);
	}
	put_bit(v->id, &map->on, l->enabled);
	raw_spin_unlock_irqrestore(&map->lock, flags);
}

int hv_irq_map_create(struct hv_vm *vm)
{
	struct hv_apic_map *map;

	if (vm->apic_map)
		return 0;
	map = hv_alloc(sizeof(*map));
	if (!map)
		return -ENOMEM;
	raw_spin_lock_init(&map->lock);
	smp_store_release(&vm->apic_map, map);
	return 0;
}

void hv_irq_map_destroy(struct hv_vm *vm)
{
	hv_free(vm->apic_map);
	vm->apic_map = NULL;
}

/* ---- who is meant ---- */

static unsigned long logical_targets(const struct hv_apic_map *map, u32 dest)
{
	unsigned long targets = 0;
	u32 cluster = dest >> 16, b;

	/* x2APIC ids: cluster of 16 and a bit each, fixed by the APIC id. */
	if (cluster < HV_MAX_VCPUS / 16)
		targets = (unsigned long)(dest & 0xffff) << (16 * cluster) & READ_ONCE(map->x2);
	if (dest > 0xff)
		return targets;
	for (b = 0; b < 8; b++)
		if (dest >> b & 1)
			targets |= READ_ONCE(map->flat[b]);
	if (dest >> 4 < 15)
		for (b = 0; b < 4; b++)
			if (dest >> b & 1)
				targets |= READ_ONCE(map->cluster[dest >> 4][b]);
	return targets;
}

static unsigned long message_targets(const struct hv_apic_map *map, const struct hv_vcpu *from,
				     const struct hv_irq_msg *m)
{
	unsigned long on = READ_ONCE(map->on);

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
		return logical_targets(map, m->dest) & on;
	return m->dest < HV_MAX_VCPUS ? BIT(m->dest) & on : 0;
}

/* Lowest processor priority wins; among equals it goes round. */
static unsigned long lowest(struct hv_vm *vm, unsigned long targets)
{
	int n, start, id, best = -1;
	struct hv_vcpu *v;
	u32 ppr, best_ppr = ~0u;

	start = atomic_read(&vm->apic_map->turn) + 1;
	for (n = 0; n < HV_MAX_VCPUS; n++) {
		id = (start + n) % HV_MAX_VCPUS;
		if (!(targets & BIT(id)))
			continue;
		v = hv_vm_vcpu(vm, id);
		if (!v || !(lapic_reg(v->lapic, APIC_SPIV) & APIC_SPIV_APIC_ENABLED))
			continue;
		ppr = READ_ONCE(v->lapic->ppr) & 0xf0;
		if (ppr < best_ppr) {
			best_ppr = ppr;
			best = id;
		}
	}
	if (best < 0)
		return 0;
	atomic_set(&vm->apic_map->turn, best);
	return BIT(best);
}

/* ---- delivery ---- */

int hv_irq_deliver(struct hv_vm *vm, struct hv_vcpu *from, const struct hv_irq_msg *m)
{
	const struct hv_apic_map *map = smp_load_acquire(&vm->apic_map);
	unsigned long targets;
	struct hv_vcpu *v;
	int reached = 0;

	if (!map)
		return 0;
	targets = message_targets(map, from, m);
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
