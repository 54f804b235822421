// SPDX-License-Identifier: GPL-2.0-only
/*
 * function.c - a PCI function: configuration space, BARs, capabilities, INTx.
 *
 * PCI Local Bus 3.0 section 6.1 (header), 6.2.5 (base addresses), 6.7
 * (capability list), 2.2.6 (interrupt pins); PCI Express Base 3.0 section 7.8.
 *
 * Every value is legal to write to every register: a BAR that points outside its
 * bus is not decoded, one that points at RAM or at the chipset loses against it.
 * Nothing here knows what the function does.
 */
#include <errno.h>
#include <string.h>

#include "vmm/pci/internal.h"
#include "vmm/vm.h"

#define PCI_CAPS_START		0x40

/* PCI Express capability, version 2 of its structure. */
#define EXP_LEN			0x3c
#define EXP_FLAGS		0x02
#define  EXP_VERSION		2
#define  EXP_ROOT_INTEGRATED	(9 << 4)
#define EXP_DEVICE_CAPS		0x04
#define  EXP_ROLE_BASED_ERRORS	0x8000
#define EXP_DEVICE_CONTROL	0x08
#define  EXP_CONTROL_WRITABLE	0x78ff	/* error enables, orderings, payload and request size */

/* ------------------------------------------------------------------ */
/* BARs                                                                 */
/* ------------------------------------------------------------------ */
static uint64_t bar_wanted(const struct pci_device *pci, unsigned int n)
{
	const struct pci_bar *bar = &pci->bar[n];
	uint16_t command = pci_config_word(pci, PCI_COMMAND);
	uint32_t low = pci_config_long(pci, PCI_BAR0 + 4 * n);
	uint64_t addr;

	if (bar->kind == PCI_BAR_IO) {
		addr = low & ~3U;
		if (!(command & PCI_COMMAND_IO) || addr > 0xffff)
			return PCI_UNMAPPED;
	} else {
		addr = low & ~15U;
		if (bar->kind == PCI_BAR_MEM64)
			addr |= (uint64_t)pci_config_long(pci, PCI_BAR0 + 4 * n + 4) << 32;
		if (!(command & PCI_COMMAND_MEMORY))
			return PCI_UNMAPPED;
	}
	/* Zero is what an unassigned BAR holds; it is never a place of its own. */
	return addr ? addr : PCI_UNMAPPED;
}

static void bar_place(struct pci_device *pci, unsigned int n, uint64_t addr)
{
	struct pci_bar *bar = &pci->bar[n];
	struct vm *vm = pci->dev.vm;
	struct bus *bus = bar->kind == PCI_BAR_IO ? &vm->pio : &vm->mmio;
	int err = 0;

	if (addr == bar->addr)
		return;
	if (addr == PCI_UNMAPPED) {
		bus_region_remove(bus, &bar->region);
	} else if (bar->addr == PCI_UNMAPPED) {
		bar->region.base = addr;
		err = bus_region_add(bus, &bar->region);
	} else {
		err = bus_region_move(bus, &bar->region, addr);
		if (err)
			bus_region_remove(bus, &bar->region);
	}
	/* Sizing a BAR while it is decoded puts it at the very end of the address
	 * space for a moment, outside the bus: no fault of the guest. */
	bar->addr = err ? PCI_UNMAPPED : addr;
	if (pci->ops && pci->ops->bar_changed)
		pci->ops->bar_changed(pci, n);
}

static void bars_update(struct pci_device *pci)
{
	unsigned int n;

	for (n = 0; n < PCI_BARS; n++)
		if (pci->bar[n].kind != PCI_BAR_NONE)
			bar_place(pci, n, bar_wanted(pci, n));
}

int pci_bar_add(struct pci_device *pci, unsigned int n, enum pci_bar_kind kind, uint64_t size,
		const struct bus_ops *ops, void *opaque)
{
	unsigned int reg = PCI_BAR0 + 4 * n;
	uint64_t smallest = kind == PCI_BAR_IO ? 4 : 4096;
	uint64_t largest = kind == PCI_BAR_IO ? 256 :
			   kind == PCI_BAR_MEM32 ? 1ULL << 31 : 1ULL << 40;
	uint64_t mask = ~(size - 1);
	struct pci_bar *bar;

	if (n >= PCI_BARS || kind == PCI_BAR_NONE || (kind == PCI_BAR_MEM64 && n + 1 >= PCI_BARS))
		return -EINVAL;
	if (size < smallest || size > largest || (size & (size - 1)))
		return -EINVAL;
	/* The register may also be the upper half of the BAR before. */
	if (pci_config_long(pci, reg) || pci->writable[reg + 3])
		return -EINVAL;
	if (kind == PCI_BAR_MEM64 && pci->bar[n + 1].kind != PCI_BAR_NONE)
		return -EINVAL;

	bar = &pci->bar[n];
	bar->kind = kind;
	bar->size = size;
	bar->addr = PCI_UNMAPPED;
	bar->region = (struct bus_region) {
		.name = pci->dev.id, .len = size, .ops = ops, .opaque = opaque,
		.dev = &pci->dev, .prio = BUS_PRIO_BAR,
	};
	pci->config[reg] = kind == PCI_BAR_IO ? 0x01 : kind == PCI_BAR_MEM64 ? 0x0c : 0x00;
	pci_mask_set_long(pci->writable, reg, mask);
	if (kind == PCI_BAR_MEM64)
		pci_mask_set_long(pci->writable, reg + 4, mask >> 32);
	return 0;
}

/* ------------------------------------------------------------------ */
/* INTx                                                                 */
/* ------------------------------------------------------------------ */
static void intx_update(struct pci_device *pci)
{
	uint16_t status = pci_config_word(pci, PCI_STATUS) & ~PCI_STATUS_INTX;

	if (!pci->config[PCI_INTERRUPT_PIN])
		return;
	/* The status bit shows the wish even when the pin is disabled (6.2.3). */
	pci_config_set_word(pci, PCI_STATUS, status | (pci->intx ? PCI_STATUS_INTX : 0));
	irq_line_set(&pci->line, pci->intx &&
		     !(pci_config_word(pci, PCI_COMMAND) & PCI_COMMAND_INTX_OFF));
}

void pci_intx_set(struct pci_device *pci, bool level)
{
	if (pci->intx == level)
		return;
	pci->intx = level;
	intx_update(pci);
}

/* ------------------------------------------------------------------ */
/* Configuration space                                                  */
/* ------------------------------------------------------------------ */
static bool overlaps(unsigned int offset, unsigned int size, unsigned int reg, unsigned int len)
{
	return offset < reg + len && reg < offset + size;
}

uint32_t pci_config_read_locked(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	uint32_t value = 0;
	unsigned int i;

	if (pci->ops && pci->ops->config_reading && offset < PCI_CONFIG_SIZE)
		pci->ops->config_reading(pci, offset, size);
	for (i = 0; i < size && i < 4; i++)
		if (offset + i < PCI_CONFIG_SIZE)
			value |= (uint32_t)pci->config[offset + i] << (8 * i);
	return value;
}

void pci_config_write_locked(struct pci_device *pci, unsigned int offset, unsigned int size,
			     uint32_t value)
{
	unsigned int i, reg;

	if (offset >= PCI_CONFIG_SIZE)
		return;
	for (i = 0; i < size && i < 4; i++) {
		uint8_t byte = value >> (8 * i);

		reg = offset + i;
		if (reg >= PCI_CONFIG_SIZE)
			break;
		pci->config[reg] &= ~(byte & pci->clear[reg]);
		pci->config[reg] &= ~pci->writable[reg];
		pci->config[reg] |= byte & pci->writable[reg];
	}
	if (overlaps(offset, size, PCI_COMMAND, 2) || overlaps(offset, size, PCI_BAR0, 4 * PCI_BARS))
		bars_update(pci);
	if (overlaps(offset, size, PCI_COMMAND, 2)) {
		intx_update(pci);
		pci_msix_update(pci);
	}
	if (pci->msix.cap && overlaps(offset, size, pci->msix.cap, 4))
		pci_msix_update(pci);
	if (pci->ops && pci->ops->config_written)
		pci->ops->config_written(pci, offset, size);
}

uint32_t pci_config_read(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	uint32_t value;

	device_lock(&pci->dev);
	value = pci_config_read_locked(pci, offset, size);
	device_unlock(&pci->dev);
	return value;
}

void pci_config_write(struct pci_device *pci, unsigned int offset, unsigned int size,
		      uint32_t value)
{
	device_lock(&pci->dev);
	pci_config_write_locked(pci, offset, size, value);
	device_unlock(&pci->dev);
}

/* ------------------------------------------------------------------ */
/* Set-up, reset, save and load                                         */
/* ------------------------------------------------------------------ */
int pci_capability_add(struct pci_device *pci, uint8_t id, unsigned int len)
{
	unsigned int offset = pci->next_cap;

	if (len < 2 || len > PCI_CONFIG_SIZE || offset + len > PCI_CONFIG_SIZE)
		return -ENOSPC;
	pci->next_cap = (offset + len + 3) & ~3U;
	memset(&pci->config[offset], 0, len);
	pci->config[offset] = id;
	pci->config[pci->last_cap ? pci->last_cap + 1 : PCI_CAP_POINTER] = offset;
	pci->last_cap = offset;
	pci_config_set_word(pci, PCI_STATUS,
			    pci_config_word(pci, PCI_STATUS) | PCI_STATUS_CAPS);
	return offset;
}

static int express_init(struct pci_device *pci)
{
	int cap = pci_capability_add(pci, PCI_CAP_EXPRESS, EXP_LEN);

	if (cap < 0)
		return cap;
	pci_config_set_word(pci, cap + EXP_FLAGS, EXP_VERSION | EXP_ROOT_INTEGRATED);
	pci_config_set_long(pci, cap + EXP_DEVICE_CAPS, EXP_ROLE_BASED_ERRORS);
	pci->writable[cap + EXP_DEVICE_CONTROL] = EXP_CONTROL_WRITABLE & 0xff;
	pci->writable[cap + EXP_DEVICE_CONTROL + 1] = EXP_CONTROL_WRITABLE >> 8;
	return 0;
}

int pci_device_init(struct pci_device *pci, const struct pci_ident *ident,
		    const struct pci_ops *ops, int slot)
{
	uint16_t command = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
			   PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_OFF;
	unsigned int n;
	int err;

	pci->ops = ops;
	pci->next_cap = PCI_CAPS_START;
	pci->last_cap = 0;
	for (n = 0; n < PCI_BARS; n++)
		pci->bar[n].addr = PCI_UNMAPPED;
	pci_config_set_word(pci, PCI_VENDOR, ident->vendor);
	pci_config_set_word(pci, PCI_DEVICE, ident->device);
	pci->config[PCI_REVISION] = ident->revision;
	pci->config[PCI_CLASS] = ident->class_code;
	pci->config[PCI_CLASS + 1] = ident->class_code >> 8;
	pci->config[PCI_CLASS + 2] = ident->class_code >> 16;
	pci_config_set_word(pci, PCI_SUBSYSTEM_VENDOR, ident->subsystem_vendor);
	pci_config_set_word(pci, PCI_SUBSYSTEM, ident->subsystem);
	pci->writable[PCI_COMMAND] = command & 0xff;
	pci->writable[PCI_COMMAND + 1] = command >> 8;
	pci->writable[0x0c] = 0xff;	/* cache line size */
	if (ident->express) {
		err = express_init(pci);
		if (err)
			return err;
	}

	err = pci_host_attach(pci->dev.vm->pci_host, pci, slot);
	if (err)
		return err;
	if (ident->intx) {
		pci->config[PCI_INTERRUPT_PIN] = 1;
		pci->writable[PCI_INTERRUPT_LINE] = 0xff;
		err = irq_line_init(&pci->line, pci->dev.vm, pci_intx_gsi(pci->slot, 0));
		if (err)
			pci_host_detach(pci->dev.vm->pci_host, pci);
	}
	return err;
}

void pci_device_destroy(struct pci_device *pci)
{
	unsigned int n;

	for (n = 0; n < PCI_BARS; n++)
		if (pci->bar[n].kind != PCI_BAR_NONE && pci->bar[n].addr != PCI_UNMAPPED)
			bar_place(pci, n, PCI_UNMAPPED);
	if (pci->config[PCI_INTERRUPT_PIN])
		irq_line_set(&pci->line, false);
	pci_msix_destroy(pci);
	pci_host_detach(pci->dev.vm->pci_host, pci);
}

void pci_device_reset(struct pci_device *pci)
{
	/* The first reset comes after create() and before the guest. */
	if (!pci->initial_taken) {
		memcpy(pci->initial, pci->config, sizeof(pci->initial));
		pci->initial_taken = true;
	}
	memcpy(pci->config, pci->initial, sizeof(pci->config));
	pci->intx = false;
	bars_update(pci);
	intx_update(pci);
	pci_msix_reset(pci);
}

void pci_device_saving(struct pci_device *pci)
{
	pci_msix_saving(pci);
}

int pci_device_loaded(struct pci_device *pci)
{
	unsigned int i;
	uint8_t byte;

	/* A bool that is neither 0 nor 1 is undefined, and any byte may have come. */
	memcpy(&byte, &pci->intx, 1);
	pci->intx = byte != 0;
	/* Where neither guest nor status can change a bit, it is this function's own. */
	for (i = 0; i < PCI_CONFIG_SIZE; i++) {
		uint8_t fixed = ~(pci->writable[i] | pci->clear[i]);

		if (i == PCI_STATUS)
			fixed &= ~PCI_STATUS_INTX;
		if ((pci->config[i] ^ pci->initial[i]) & fixed)
			return -EINVAL;
	}
	bars_update(pci);
	intx_update(pci);
	return pci_msix_loaded(pci);
}
