/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * internal.h - between the files of vmm/pci only.
 */
#ifndef VMM_PCI_INTERNAL_H
#define VMM_PCI_INTERNAL_H

#include "vmm/pci/pci.h"

/* As pci_config_read() and _write(), with the function's lock held. */
uint32_t pci_config_read_locked(struct pci_device *pci, unsigned int offset, unsigned int size);
void pci_config_write_locked(struct pci_device *pci, unsigned int offset, unsigned int size,
			     uint32_t value);

/* Brings every vector's interrupt object in line with table, capability and command. */
void pci_msix_update(struct pci_device *pci);
void pci_msix_reset(struct pci_device *pci);
void pci_msix_destroy(struct pci_device *pci);
void pci_msix_saving(struct pci_device *pci);
int pci_msix_loaded(struct pci_device *pci);

/* The function in @slot of @host, or NULL. */
struct pci_device *pci_host_function(struct device *host, unsigned int slot);

static inline void pci_mask_set_long(uint8_t *mask, unsigned int offset, uint32_t value)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		mask[offset + i] = value >> (8 * i);
}

#endif
