// SPDX-License-Identifier: GPL-2.0-only
/*
 * assign.c - gives the functions on bus 0 their addresses, as firmware does.
 *
 * A directly booted kernel finds BARs assigned and decoded (PCI Firmware 3.0
 * section 3.5), as some do not assign any themselves.  Largest first, so that
 * natural alignment leaves no holes.  Only 64-bit BARs that are large go above
 * 4 GiB: a 32-bit guest can then use all ordinary devices.
 */
#include <errno.h>

#include "vmm/pci/internal.h"
#include "vmm/vm.h"

#define LARGE_BAR		(16ULL << 20)

struct window {
	uint64_t next;
	uint64_t end;		/* exclusive */
};

static int window_take(struct window *w, uint64_t size, uint64_t *addr)
{
	uint64_t at = (w->next + size - 1) & ~(size - 1);

	if (at < w->next || at >= w->end || size > w->end - at)
		return -ENOSPC;
	*addr = at;
	w->next = at + size;
	return 0;
}

static int assign_bar(struct pci_device *pci, unsigned int n, struct window *io,
		      struct window *low, struct window *high)
{
	struct pci_bar *bar = &pci->bar[n];
	struct window *w = bar->kind == PCI_BAR_IO ? io :
			   bar->kind == PCI_BAR_MEM64 && bar->size >= LARGE_BAR ? high : low;
	uint64_t addr;
	int err = window_take(w, bar->size, &addr);

	if (err) {
		log_error(pci->dev.vm, "%s: no room for a BAR of %llu bytes: use fewer devices",
			  pci->dev.id, (unsigned long long)bar->size);
		return err;
	}
	pci_config_write_locked(pci, PCI_BAR0 + 4 * n, 4, addr);
	if (bar->kind == PCI_BAR_MEM64)
		pci_config_write_locked(pci, PCI_BAR0 + 4 * n + 4, 4, addr >> 32);
	return 0;
}

int pci_assign(struct vm *vm)
{
	struct window io = { PCI_IO_BASE, PCI_IO_END };
	struct window low = { MEMORY_PCI_BASE, MEMORY_PCI_END };
	struct window high = { vm->memory.pci64_base, vm->memory.pci64_end };
	struct pci_device *pci;
	unsigned int slot, n;
	uint64_t size;
	int err = 0;

	for (size = 1ULL << 40; size; size >>= 1) {
		for (slot = 0; slot < PCI_SLOTS; slot++) {
			pci = pci_host_function(vm->pci_host, slot);
			if (!pci)
				continue;
			device_lock(&pci->dev);
			for (n = 0; n < PCI_BARS && !err; n++)
				if (pci->bar[n].kind != PCI_BAR_NONE && pci->bar[n].size == size)
					err = assign_bar(pci, n, &io, &low, &high);
			device_unlock(&pci->dev);
			if (err)
				return err;
		}
	}
	for (slot = 0; slot < PCI_SLOTS; slot++) {
		unsigned int pin;

		pci = pci_host_function(vm->pci_host, slot);
		if (!pci)
			continue;
		device_lock(&pci->dev);
		pin = pci->config[PCI_INTERRUPT_PIN];
		if (pin)
			pci_config_write_locked(pci, PCI_INTERRUPT_LINE, 1,
						pci_intx_irq(pci_intx_gsi(slot, pin - 1)));
		pci_config_write_locked(pci, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
		device_unlock(&pci->dev);
	}
	return 0;
}
