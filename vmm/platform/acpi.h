/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * acpi.h - the ACPI tables of a directly booted guest.
 */
#ifndef VMM_PLATFORM_ACPI_H
#define VMM_PLATFORM_ACPI_H

#include <stddef.h>
#include <stdint.h>

struct vm;

/* dsdt.c: the definition block without its table header; malloc'ed. */
int acpi_dsdt_build(struct vm *vm, uint8_t **aml, size_t *len);

/*
 * Builds all tables as they will lie at PLATFORM_ACPI_BASE, RSDP first; *image is
 * malloc'ed.  -ENOSPC: they do not fit below PLATFORM_ACPI_END.
 */
int acpi_build(struct vm *vm, uint8_t **image, size_t *len);

#endif
