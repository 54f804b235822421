// SPDX-License-Identifier: GPL-2.0-only
/*
 * msix.c - MSI-X for PCI functions.
 *
 * PCI Local Bus 3.0 section 6.8.2 (capability, table, pending bit array).
 *
 * The guest's table is what is saved; each vector's struct irq_msi follows it.
 * A vector is held back while its mask bit, the function mask or a missing bus
 * master bit says so, and what is raised then shows in the pending bits.
 */
#include <errno.h>
#include <string.h>

#include "vmm/pci/internal.h"
#include "vmm/vm.h"

#define MSIX_LEN		12
#define MSIX_CONTROL		0x02
#define  MSIX_ENABLE		0x8000
#define  MSIX_FUNCTION_MASK	0x4000
#define MSIX_TABLE		0x04
#define MSIX_PBA		0x08

#define MSIX_BAR_SIZE		0x1000
#define MSIX_PBA_OFFSET		0x800

#define VECTOR_MASKED		1U

enum { ENTRY_LOW, ENTRY_HIGH, ENTRY_DATA, ENTRY_CONTROL };

static uint16_t msix_control(const struct pci_device *pci)
{
	return pci_config_word(pci, pci->msix.cap + MSIX_CONTROL);
}

bool pci_msix_enabled(const struct pci_device *pci)
{
	return __atomic_load_n(&pci->msix.live, __ATOMIC_ACQUIRE);
}

static void vector_update(struct pci_device *pci, unsigned int vector)
{
	struct pci_msix *msix = &pci->msix;
	const uint32_t *entry = msix->table[vector];
	bool masked = !msix->live || (msix_control(pci) & MSIX_FUNCTION_MASK) ||
		      (entry[ENTRY_CONTROL] & VECTOR_MASKED) || !pci_is_bus_master(pci);
	/* Bit 15 would mean level-triggered to the module; no PCI function is. */
	int err = irq_msi_set(&msix->msi[vector],
			      (uint64_t)entry[ENTRY_HIGH] << 32 | entry[ENTRY_LOW],
			      entry[ENTRY_DATA] & ~0x8000U, masked);

	if (err < 0 && !masked)
		device_warn(&pci->dev, "MSI-X vector %u: address %#x%08x, data %#x is no interrupt",
			    vector, entry[ENTRY_HIGH], entry[ENTRY_LOW], entry[ENTRY_DATA]);
}

void pci_msix_update(struct pci_device *pci)
{
	struct pci_msix *msix = &pci->msix;
	bool enabled;
	unsigned int i;

	if (!msix->cap)
		return;
	enabled = msix_control(pci) & MSIX_ENABLE;
	/* What happened while MSI-X was off went to the interrupt pin. */
	if (enabled && !msix->live)
		for (i = 0; i < msix->count; i++)
			irq_msi_reset(&msix->msi[i]);
	__atomic_store_n(&msix->live, enabled, __ATOMIC_RELEASE);
	for (i = 0; i < msix->count; i++)
		vector_update(pci, i);
	if (pci->ops && pci->ops->msix_changed)
		pci->ops->msix_changed(pci);
}

void pci_msix_raise(struct pci_device *pci, unsigned int vector)
{
	if (vector < pci->msix.count && pci_msix_enabled(pci))
		irq_msi_raise(&pci->msix.msi[vector]);
}

int pci_msix_fd(struct pci_device *pci, unsigned int vector)
{
	return vector < pci->msix.count ? irq_msi_fd(&pci->msix.msi[vector]) : -EINVAL;
}

static uint64_t pending_bits(struct pci_device *pci)
{
	uint64_t bits = 0;
	unsigned int i;

	for (i = 0; i < pci->msix.count; i++)
		if (irq_msi_pending(&pci->msix.msi[i]))
			bits |= 1ULL << i;
	return bits;
}

static uint64_t msix_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_device *pci = opaque;
	struct pci_msix *msix = &pci->msix;
	uint64_t pending = 0, value = 0;
	unsigned int i;

	if (offset < MSIX_PBA_OFFSET + 8 && offset + size > MSIX_PBA_OFFSET)
		pending = pending_bits(pci);
	for (i = 0; i < size; i++) {
		uint64_t at = offset + i;
		uint8_t byte = 0;

		if (at < msix->count * 16ULL)
			byte = msix->table[at / 16][at / 4 % 4] >> (at % 4 * 8);
		else if (at >= MSIX_PBA_OFFSET && at < MSIX_PBA_OFFSET + 8)
			byte = pending >> ((at - MSIX_PBA_OFFSET) * 8);
		value |= (uint64_t)byte << (8 * i);
	}
	return value;
}

static void msix_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci_device *pci = opaque;
	struct pci_msix *msix = &pci->msix;
	unsigned int i;

	if (offset >= msix->count * 16ULL)
		return;
	for (i = 0; i < size && offset + i < msix->count * 16ULL; i++) {
		uint64_t at = offset + i;
		unsigned int shift = at % 4 * 8;
		uint32_t *reg = &msix->table[at / 16][at / 4 % 4];

		*reg = (*reg & ~(0xffU << shift)) | (uint32_t)(value >> (8 * i) & 0xff) << shift;
	}
	msix->table[offset / 16][ENTRY_CONTROL] &= VECTOR_MASKED;
	vector_update(pci, offset / 16);
	/* Only an access that is not naturally aligned reaches into the next entry. */
	if ((offset + size - 1) / 16 != offset / 16 && offset / 16 + 1 < msix->count) {
		msix->table[offset / 16 + 1][ENTRY_CONTROL] &= VECTOR_MASKED;
		vector_update(pci, offset / 16 + 1);
	}
	if (pci->ops && pci->ops->msix_changed)
		pci->ops->msix_changed(pci);
}

static const struct bus_ops msix_ops = { .read = msix_read, .write = msix_write };

int pci_msix_init(struct pci_device *pci, unsigned int bar, unsigned int count)
{
	struct pci_msix *msix = &pci->msix;
	unsigned int i;
	int cap, err;

	if (!count || count > PCI_MSIX_MAX || msix->cap)
		return -EINVAL;
	err = pci_bar_add(pci, bar, PCI_BAR_MEM32, MSIX_BAR_SIZE, &msix_ops, pci);
	if (err)
		return err;
	cap = pci_capability_add(pci, PCI_CAP_MSIX, MSIX_LEN);
	if (cap < 0)
		return cap;
	for (i = 0; i < count; i++) {
		err = irq_msi_init(&msix->msi[i], pci->dev.vm);
		if (err) {
			while (i--)
				irq_msi_destroy(&msix->msi[i]);
			return err;
		}
		msix->table[i][ENTRY_CONTROL] = VECTOR_MASKED;
	}
	msix->cap = cap;
	msix->bar = bar;
	msix->count = count;
	pci_config_set_word(pci, cap + MSIX_CONTROL, count - 1);
	pci->writable[cap + MSIX_CONTROL + 1] = (MSIX_ENABLE | MSIX_FUNCTION_MASK) >> 8;
	pci_config_set_long(pci, cap + MSIX_TABLE, bar);
	pci_config_set_long(pci, cap + MSIX_PBA, MSIX_PBA_OFFSET | bar);
	return 0;
}

void pci_msix_destroy(struct pci_device *pci)
{
	while (pci->msix.count)
		irq_msi_destroy(&pci->msix.msi[--pci->msix.count]);
}

void pci_msix_reset(struct pci_device *pci)
{
	struct pci_msix *msix = &pci->msix;
	unsigned int i;

	if (!msix->cap)
		return;
	memset(msix->table, 0, sizeof(msix->table));
	for (i = 0; i < msix->count; i++) {
		msix->table[i][ENTRY_CONTROL] = VECTOR_MASKED;
		irq_msi_reset(&msix->msi[i]);
	}
	pci_msix_update(pci);
}

void pci_msix_saving(struct pci_device *pci)
{
	pci->msix.pending = pending_bits(pci);
}

int pci_msix_loaded(struct pci_device *pci)
{
	struct pci_msix *msix = &pci->msix;
	unsigned int i;

	if (!msix->cap)
		return msix->pending ? -EINVAL : 0;
	if (msix->count < 64 && msix->pending >> msix->count)
		return -EINVAL;
	for (i = 0; i < msix->count; i++)
		msix->table[i][ENTRY_CONTROL] &= VECTOR_MASKED;
	pci_msix_update(pci);
	for (i = 0; i < msix->count; i++)
		if (msix->pending & 1ULL << i)
			irq_msi_latch(&msix->msi[i]);
	return 0;
}
