/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * chipset.h - between platform.c and the chipset's devices, in vmm/platform only.
 *
 * platform.c creates the devices and joins them: a device here drives irq_lines
 * or calls the functions it was given, and knows no other.
 *
 * Interrupt controllers are interrupt objects of the lock order: their inputs
 * (pic_input(), ioapic_input()...) are called under a pin's lock and take their
 * own irq_lock only, never dev->lock.
 */
#ifndef VMM_PLATFORM_CHIPSET_H
#define VMM_PLATFORM_CHIPSET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

/* Addresses that the ACPI tables and the devices must agree upon. */
#define CHIPSET_IOAPIC_BASE	0xfec00000U
#define CHIPSET_LAPIC_BASE	0xfee00000U
#define CHIPSET_IOAPIC_ID	0
#define CHIPSET_PM_BASE		0x600	/* after reset; the guest may move it */
#define CHIPSET_PM_LEN		0x80
#define CHIPSET_PM1_EVENT	0x00
#define CHIPSET_PM1_CONTROL	0x04
#define CHIPSET_PM_TIMER	0x08
#define CHIPSET_GPE0		0x20
#define CHIPSET_GPE0_LEN	16
#define CHIPSET_SCI_IRQ		9
#define CHIPSET_RTC_PORT	0x70
#define CHIPSET_RTC_IRQ		8
#define CHIPSET_PIT_PORT	0x40
#define CHIPSET_CENTURY		0x32
#define CHIPSET_PVPANIC_PORT	0x505

/* A region of fixed registers. */
static inline int chipset_region_add(struct device *dev, struct bus *bus,
				     struct bus_region *region, uint64_t base, uint64_t len,
				     const struct bus_ops *ops)
{
	*region = (struct bus_region) {
		.name = dev->id, .base = base, .len = len, .ops = ops, .opaque = dev, .dev = dev,
		.prio = BUS_PRIO_FIXED,
	};
	return bus_region_add(bus, region);
}

/* After a load: any byte may have come, and a bool that is neither 0 nor 1 is undefined. */
static inline void chipset_fix_bool(bool *b)
{
	uint8_t byte;

	memcpy(&byte, b, 1);
	*b = byte != 0;
}

#define CHIPSET_FIELDS(array_) .fields = array_, .nr_fields = sizeof(array_) / sizeof(array_[0])

/* pic.c */
struct pic_args {
	/* The pair's INTR output; under the pair's irq_lock.  NULL: irq_intr_set(). */
	void (*intr)(struct vm *vm, bool level);
};
/* Sink of ISA interrupt @irq (0..15). */
void pic_input(void *pic, unsigned int irq, bool level);
/* What the PCI interrupt router drives, a bit each; ORed with the ISA inputs. */
void pic_input_pirq(void *pic, uint16_t irqs);
/* INTA cycles: a vector, or -1 when nothing is asked for any more. */
int pic_acknowledge(struct device *pic);

/* ioapic.c */
struct ioapic_args {
	/* NULL: irq_msi_send(). */
	int (*send)(struct vm *vm, uint64_t address, uint32_t data);
};
void ioapic_input(void *ioapic, unsigned int pin, bool level);
void ioapic_eoi(struct device *ioapic, uint8_t vector);

/* uart.c */
struct uart_args {
	uint16_t port;
	unsigned int irq;
	bool console;		/* vm->console is its other end; else nothing is */
};

/* lpc.c */
struct lpc_args {
	/* Level of the 8259 inputs that PCI interrupts are routed to. */
	void (*pirq)(void *opaque, uint16_t irqs);
	void *opaque;
};
void lpc_pirq_input(void *lpc, unsigned int gsi, bool level);
void lpc_power_button(struct device *lpc);
/* What firmware would do before it starts a system: PIRQ routes, ELCR is the PIC's. */
void lpc_boot_prepare(struct device *lpc);

#endif
