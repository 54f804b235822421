// SPDX-License-Identifier: GPL-2.0-only
/*
 * acpi.c - ACPI tables: RSDP, RSDT, XSDT, FADT, FACS, MADT, MCFG; the DSDT's header.
 *
 * ACPI 6.4 sections 5.2.5 (RSDP), 5.2.7, 5.2.8 (RSDT, XSDT), 5.2.9 (FADT), 5.2.10
 * (FACS), 5.2.12 (MADT); PCI Firmware 3.0 section 4.1.2 (MCFG).
 *
 * They describe what the devices of this directory do, by the constants of
 * chipset.h; nothing here reads a device.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/platform.h"
#include "vmm/platform/acpi.h"
#include "vmm/platform/chipset.h"

#define ROOM			(PLATFORM_ACPI_END - PLATFORM_ACPI_BASE)
#define HEADER_LEN		36

#define FADT_LEN		276
#define FADT_REVISION		6
#define FADT_MINOR		4
#define FADT_WBINVD		(1U << 0)
#define FADT_C1			(1U << 2)
#define FADT_NO_SLEEP_BUTTON	(1U << 5)
#define FADT_NO_RTC_WAKE	(1U << 6)
#define FADT_RESET_REGISTER	(1U << 10)
#define BOOT_LEGACY_DEVICES	(1U << 0)
#define BOOT_NO_VGA		(1U << 2)
#define BOOT_NO_ASPM		(1U << 4)
#define NO_C2_C3		0x0fff	/* latencies above those that mean "there is one" */

#define FACS_LEN		64
#define RESET_PORT		0xcf9
#define RESET_VALUE		0x06

#define SPACE_IO		1

struct tables {
	uint8_t *buf;		/* ROOM bytes */
	size_t len;
	int err;
};

/* Reserves zeroed space; returns its offset. */
static size_t take(struct tables *t, size_t len, size_t align)
{
	size_t at = (t->len + align - 1) & ~(align - 1);

	if (len > ROOM || at > ROOM - len) {
		t->err = -ENOSPC;
		return 0;
	}
	t->len = at + len;
	return at;
}

static void put8(struct tables *t, size_t at, uint8_t value)
{
	if (!t->err)
		t->buf[at] = value;
}

static void put16(struct tables *t, size_t at, uint16_t value)
{
	put8(t, at, value);
	put8(t, at + 1, value >> 8);
}

static void put32(struct tables *t, size_t at, uint32_t value)
{
	put16(t, at, value);
	put16(t, at + 2, value >> 16);
}

static void put64(struct tables *t, size_t at, uint64_t value)
{
	put32(t, at, value);
	put32(t, at + 4, value >> 32);
}

static void put_text(struct tables *t, size_t at, const char *text, size_t len)
{
	if (!t->err)
		memcpy(t->buf + at, text, len);
}

static void put_checksum(struct tables *t, size_t at, size_t start, size_t len)
{
	uint8_t sum = 0;

	if (t->err)
		return;
	t->buf[at] = 0;
	while (len--)
		sum -= t->buf[start++];
	t->buf[at] = sum;
}

static size_t table_begin(struct tables *t, const char *signature, uint8_t revision, size_t len)
{
	size_t at = take(t, len, 16);

	put_text(t, at, signature, 4);
	put32(t, at + 4, len);
	put8(t, at + 8, revision);
	put_text(t, at + 10, "HV    ", 6);
	put_text(t, at + 16, "HVGUEST ", 8);
	put32(t, at + 24, 1);
	put_text(t, at + 28, "HV  ", 4);
	put32(t, at + 32, 1);
	return at;
}

static void table_end(struct tables *t, size_t at, size_t len)
{
	put_checksum(t, at + 9, at, len);
}

static uint64_t gpa_of(size_t at)
{
	return PLATFORM_ACPI_BASE + at;
}

/* ------------------------------------------------------------------ */
static size_t dsdt_write(struct tables *t, struct vm *vm)
{
	uint8_t *aml;
	size_t len, at;
	int err = acpi_dsdt_build(vm, &aml, &len);

	if (err) {
		t->err = err;
		return 0;
	}
	at = table_begin(t, "DSDT", 2, HEADER_LEN + len);	/* 2: integers have 64 bits */
	put_text(t, at + HEADER_LEN, (const char *)aml, len);
	table_end(t, at, HEADER_LEN + len);
	free(aml);
	return at;
}

static size_t facs_write(struct tables *t)
{
	size_t at = take(t, FACS_LEN, 64);

	put_text(t, at, "FACS", 4);
	put32(t, at + 4, FACS_LEN);
	put8(t, at + 32, 2);
	return at;
}

/* A fixed register block: its old field, and its generic address. */
static void fadt_block(struct tables *t, size_t old, size_t generic, uint16_t port, uint8_t len)
{
	put32(t, old, port);
	put8(t, generic, SPACE_IO);
	put8(t, generic + 1, len * 8);
	put8(t, generic + 3, len == 2 ? 2 : len == 4 ? 3 : 1);	/* widest access */
	put64(t, generic + 4, port);
}

static size_t fadt_write(struct tables *t, size_t facs, size_t dsdt)
{
	size_t f = table_begin(t, "FACP", FADT_REVISION, FADT_LEN);
	uint16_t pm = CHIPSET_PM_BASE;

	put32(t, f + 36, gpa_of(facs));
	put32(t, f + 40, gpa_of(dsdt));
	put16(t, f + 46, CHIPSET_SCI_IRQ);
	/* SMI_CMD and what goes with it stay zero: always in ACPI mode. */
	put8(t, f + 88, 4);
	put8(t, f + 89, 2);
	put8(t, f + 91, 4);
	put8(t, f + 92, CHIPSET_GPE0_LEN);
	put16(t, f + 96, NO_C2_C3);
	put16(t, f + 98, NO_C2_C3);
	put8(t, f + 108, CHIPSET_CENTURY);
	put16(t, f + 109, BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_ASPM);
	put32(t, f + 112, FADT_WBINVD | FADT_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_RTC_WAKE |
	      FADT_RESET_REGISTER);
	put8(t, f + 116, SPACE_IO);
	put8(t, f + 117, 8);
	put8(t, f + 119, 1);
	put64(t, f + 120, RESET_PORT);
	put8(t, f + 128, RESET_VALUE);
	put8(t, f + 131, FADT_MINOR);
	/* X_FIRMWARE_CTRL must be zero where FIRMWARE_CTRL is not. */
	put64(t, f + 140, gpa_of(dsdt));
	fadt_block(t, f + 56, f + 148, pm + CHIPSET_PM1_EVENT, 4);
	fadt_block(t, f + 64, f + 172, pm + CHIPSET_PM1_CONTROL, 2);
	fadt_block(t, f + 76, f + 208, pm + CHIPSET_PM_TIMER, 4);
	fadt_block(t, f + 80, f + 220, pm + CHIPSET_GPE0, CHIPSET_GPE0_LEN);
	put_text(t, f + 268, "HV      ", 8);
	table_end(t, f, FADT_LEN);
	return f;
}

static size_t madt_write(struct tables *t, struct vm *vm)
{
	size_t len = HEADER_LEN + 8 + 8 * vm->nr_vcpus + 12 + 2 * 10 + 6;
	size_t at = table_begin(t, "APIC", 5, len), p = at + HEADER_LEN + 8;
	unsigned int i;

	put32(t, at + 36, CHIPSET_LAPIC_BASE);
	put32(t, at + 40, 1);			/* there are 8259s too */
	for (i = 0; i < vm->nr_vcpus; i++, p += 8) {
		put8(t, p, 0);
		put8(t, p + 1, 8);
		put8(t, p + 2, i);		/* ACPI id: _UID in the DSDT */
		put8(t, p + 3, i);		/* APIC id */
		put32(t, p + 4, 1);		/* enabled */
	}
	put8(t, p, 1);
	put8(t, p + 1, 12);
	put8(t, p + 2, CHIPSET_IOAPIC_ID);
	put32(t, p + 4, CHIPSET_IOAPIC_BASE);
	p += 12;
	/* Overrides: the timer ends at input 2, the SCI is level, active high. */
	put8(t, p, 2);
	put8(t, p + 1, 10);
	put32(t, p + 4, 2);
	p += 10;
	put8(t, p, 2);
	put8(t, p + 1, 10);
	put8(t, p + 3, CHIPSET_SCI_IRQ);
	put32(t, p + 4, CHIPSET_SCI_IRQ);
	put16(t, p + 8, 0x000d);
	p += 10;
	/* NMI at LINT1 of every CPU */
	put8(t, p, 4);
	put8(t, p + 1, 6);
	put8(t, p + 2, 0xff);
	put8(t, p + 5, 1);
	table_end(t, at, len);
	return at;
}

static size_t mcfg_write(struct tables *t)
{
	size_t len = HEADER_LEN + 8 + 16, at = table_begin(t, "MCFG", 1, len);

	put64(t, at + 44, MEMORY_ECAM_BASE);
	put8(t, at + 55, (MEMORY_ECAM_SIZE >> 20) - 1);
	table_end(t, at, len);
	return at;
}

static size_t root_write(struct tables *t, const char *signature, unsigned int width,
			 const size_t *table, unsigned int count)
{
	size_t len = HEADER_LEN + count * width, at = table_begin(t, signature, 1, len);
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (width == 8)
			put64(t, at + HEADER_LEN + 8 * i, gpa_of(table[i]));
		else
			put32(t, at + HEADER_LEN + 4 * i, gpa_of(table[i]));
	}
	table_end(t, at, len);
	return at;
}

int acpi_build(struct vm *vm, uint8_t **image, size_t *len)
{
	struct tables t = { .buf = calloc(1, ROOM) };
	size_t rsdp, dsdt, facs, table[3], rsdt, xsdt;

	if (!t.buf)
		return -ENOMEM;
	rsdp = take(&t, 36, 16);
	facs = facs_write(&t);
	dsdt = dsdt_write(&t, vm);
	table[0] = fadt_write(&t, facs, dsdt);
	table[1] = madt_write(&t, vm);
	table[2] = mcfg_write(&t);
	rsdt = root_write(&t, "RSDT", 4, table, 3);
	xsdt = root_write(&t, "XSDT", 8, table, 3);

	put_text(&t, rsdp, "RSD PTR ", 8);
	put_text(&t, rsdp + 9, "HV    ", 6);
	put8(&t, rsdp + 15, 2);
	put32(&t, rsdp + 16, gpa_of(rsdt));
	put32(&t, rsdp + 20, 36);
	put64(&t, rsdp + 24, gpa_of(xsdt));
	put_checksum(&t, rsdp + 8, rsdp, 20);
	put_checksum(&t, rsdp + 32, rsdp, 36);
	if (t.err) {
		free(t.buf);
		return t.err;
	}
	*image = t.buf;
	*len = t.len;
	return 0;
}
