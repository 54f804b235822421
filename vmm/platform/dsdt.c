// SPDX-License-Identifier: GPL-2.0-only
/*
 * dsdt.c - the DSDT: CPUs, the PCI root with its windows and interrupt routing,
 * what sits on the LPC bus, the S5 state.
 *
 * ACPI 6.4 sections 6.1 (identification), 6.2.13 (_PRT), 5.8.1 (_PIC), 7.4.2 (_Sx);
 * PCI Firmware 3.0 sections 4.1.2 (ECAM is a motherboard resource) and 4.6.
 *
 * Devices add themselves by their acpi hook, inside \_SB.PCI0.ISA.
 */
#include <stdio.h>

#include "vmm/pci/pci.h"
#include "vmm/platform/acpi.h"
#include "vmm/platform/aml.h"
#include "vmm/platform/chipset.h"

static void write_cpus(struct aml *aml, struct vm *vm)
{
	unsigned int i;
	char name[5];

	for (i = 0; i < vm->nr_vcpus; i++) {
		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		aml_device(aml, name);
		aml_name_string(aml, "_HID", "ACPI0007");
		aml_name_integer(aml, "_UID", i);
		aml_end(aml);
	}
}

/* Address, pin, source, index: with source 0 the index is the interrupt itself. */
static void write_routes(struct aml *aml, const char *name, bool apic)
{
	unsigned int slot, pin;

	aml_name(aml, name);
	aml_package(aml, (PCI_SLOTS - 1) * 4);
	for (slot = 1; slot < PCI_SLOTS; slot++) {
		for (pin = 0; pin < 4; pin++) {
			unsigned int gsi = pci_intx_gsi(slot, pin);

			aml_package(aml, 4);
			aml_integer(aml, slot << 16 | 0xffff);
			aml_integer(aml, pin);
			aml_integer(aml, 0);
			aml_integer(aml, apic ? gsi : pci_intx_irq(gsi));
			aml_end(aml);
		}
	}
	aml_end(aml);
}

static void write_pci_root(struct aml *aml, struct vm *vm)
{
	aml_name_eisaid(aml, "_HID", "PNP0A08");
	aml_name_eisaid(aml, "_CID", "PNP0A03");
	aml_name_integer(aml, "_UID", 0);
	aml_name_integer(aml, "_BBN", 0);
	aml_resources(aml, "_CRS");
	aml_resource_bus_window(aml, 0, 255);
	aml_resource_io(aml, 0xcf8, 0xcf8, 1, 8);
	aml_resource_io_window(aml, 0, 0xcf7);
	aml_resource_io_window(aml, 0xd00, 0xffff);
	aml_resource_memory_window(aml, MEMORY_PCI_BASE, MEMORY_PCI_END - 1);
	aml_resource_memory_window(aml, vm->memory.pci64_base, vm->memory.pci64_end - 1);
	aml_resources_end(aml);

	write_routes(aml, "PRTP", false);
	write_routes(aml, "PRTA", true);
	aml_method(aml, "_PRT", 0);
	aml_if_name(aml, "PICF");
	aml_return(aml);
	aml_path(aml, "PRTA");
	aml_end(aml);
	aml_else(aml);
	aml_return(aml);
	aml_path(aml, "PRTP");
	aml_end(aml);
	aml_end(aml);
}

/* What no driver may be given: a system takes it for the board's own. */
static void write_board(struct aml *aml)
{
	aml_device(aml, "MBRD");
	aml_name_eisaid(aml, "_HID", "PNP0C02");
	aml_resources(aml, "_CRS");
	aml_resource_memory32(aml, MEMORY_ECAM_BASE, MEMORY_ECAM_SIZE, true);
	aml_resource_io(aml, CHIPSET_PM_BASE, CHIPSET_PM_BASE, 1, CHIPSET_PM_LEN);
	aml_resource_io(aml, 0x4d0, 0x4d0, 1, 2);
	aml_resources_end(aml);
	aml_end(aml);
}

static void write_lpc(struct aml *aml, struct vm *vm)
{
	struct device *dev;

	aml_device(aml, "ISA");
	aml_name_integer(aml, "_ADR", (PCI_SLOTS - 1) << 16);
	for (dev = vm->devices; dev; dev = dev->next)
		if (dev->type->acpi)
			dev->type->acpi(dev, aml);
	aml_end(aml);
}

int acpi_dsdt_build(struct vm *vm, uint8_t **buf, size_t *len)
{
	struct aml aml;
	unsigned int i;

	aml_init(&aml);
	/* The interrupt model the system has chosen: 0 the 8259s, 1 the I/O APIC. */
	aml_name_integer(&aml, "PICF", 0);
	aml_method(&aml, "_PIC", 1);
	aml_store(&aml);
	aml_arg(&aml, 0);
	aml_path(&aml, "PICF");
	aml_end(&aml);

	aml_scope(&aml, "\\_SB");
	write_cpus(&aml, vm);
	aml_device(&aml, "PCI0");
	write_pci_root(&aml, vm);
	write_lpc(&aml, vm);
	aml_end(&aml);
	write_board(&aml);
	aml_end(&aml);

	aml_name(&aml, "_S5");
	aml_package(&aml, 4);
	for (i = 0; i < 4; i++)
		aml_integer(&aml, 0);	/* sleep type 0: lpc.c */
	aml_end(&aml);
	return aml_finish(&aml, buf, len);
}
