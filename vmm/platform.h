/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * platform.h - what the core asks of the chipset (vmm/platform) and of PCI (vmm/pci).
 *
 * Implemented there, called by vm.c, vcpu.c and boot/.  All return 0 or -errno
 * after printing one line.
 */
#ifndef VMM_PLATFORM_H
#define VMM_PLATFORM_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

/* Creates the chipset's devices and connects the interrupt pins.  vm->memory,
 * vm->irq, vm->console exist; vCPUs exist but do not run. */
int platform_create(struct vm *vm);
/* Creates PCI functions from the configuration (disk.#, net.#, rng...); after
 * platform_create(), which has made the PCI host. */
int pci_create(struct vm *vm);

/*
 * Writes ACPI tables (and PCI resources, when no firmware will assign them) for
 * a directly booted kernel; at the first start and after every reset, devices
 * are in reset state.  *rsdp is set to the RSDP's guest-physical address, inside
 * PLATFORM_ACPI_BASE .. PLATFORM_ACPI_END, which every loader reports reserved.
 */
#define PLATFORM_ACPI_BASE	0xe0000ULL
#define PLATFORM_ACPI_END	0x100000ULL
int platform_boot_prepare(struct vm *vm, uint64_t *rsdp);

/* EOI of level-triggered @vector came from a vCPU (exit EOI). */
void platform_eoi(struct vm *vm, uint8_t vector);
/* Interrupt acknowledge cycle of the 8259 pair: vector, or -1 if INTR has
 * dropped meanwhile (no vector is injected then). */
int platform_inta(struct vm *vm);
/* ACPI power button: asks the guest to power off. */
void platform_power_button(struct vm *vm);

#endif
