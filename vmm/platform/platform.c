// SPDX-License-Identifier: GPL-2.0-only
/*
 * platform.c - puts the chipset together (platform.h).
 *
 * A Q35-like PC: which devices there are, and which interrupt pin ends where.  GSI 0
 * to 15 are the ISA interrupts, at the 8259s and at the I/O APIC inputs of the same
 * number, but for the timer, which is at input 2; GSI 16 to 23 are the PCI interrupts,
 * at the I/O APIC and through the LPC bridge's PIRQ routes at the 8259s.
 * No HPET: guests of today have the APIC timer and a paravirtual clock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/pci/pci.h"
#include "vmm/platform.h"
#include "vmm/platform/acpi.h"
#include "vmm/platform/chipset.h"

#define TIMER_PIN	0
#define TIMER_INPUT	2	/* of the I/O APIC */
#define CASCADE_PIN	2
#define ELCR_PORT	0x4d0

/* The root: keeps what platform.h's calls need.  It has no state of its own. */
struct platform {
	struct device dev;
	struct device *pic;
	struct device *ioapic;
	struct device *lpc;
};

static int platform_root_create(struct device *dev, const char *path, const void *args)
{
	return 0;
}

const struct device_type platform_type = {
	.name = "platform",
	.help = "Q35-like PC",
	.size = sizeof(struct platform),
	.version = 1,
	.create = platform_root_create,
};

static void timer_input(void *ioapic, unsigned int pin, bool level)
{
	ioapic_input(ioapic, TIMER_INPUT, level);
}

static int connect_pins(struct vm *vm, struct platform *p)
{
	unsigned int pin;
	int err = 0;

	for (pin = 0; pin < IRQ_PINS && !err; pin++) {
		err = irq_sink_add(vm, pin, pin == TIMER_PIN ? timer_input : ioapic_input,
				   p->ioapic);
		if (err || pin == CASCADE_PIN)
			continue;
		if (pin < 16)
			err = irq_sink_add(vm, pin, pic_input, p->pic);
		else
			err = irq_sink_add(vm, pin, lpc_pirq_input, p->lpc);
	}
	if (err)
		log_error(vm, "interrupt pins: %s", strerror(-err));
	return err;
}

static int create_uarts(struct vm *vm)
{
	static const struct uart_args com[] = {
		{ .port = 0x3f8, .irq = 4, .console = true },
		{ .port = 0x2f8, .irq = 3 },
	};
	struct device *dev;
	unsigned int i;
	int err = 0;

	for (i = 0; i < sizeof(com) / sizeof(com[0]) && !err; i++)
		err = device_create(vm, "uart", NULL, "", &com[i], &dev);
	return err;
}

/* Those without arguments; an option is the key that asks for the device. */
static int create_simple(struct vm *vm)
{
	static const struct {
		const char *type;
		const char *option;
	} simple[] = {
		{ "pit", NULL }, { "rtc", NULL }, { "kbd", NULL }, { "pvpanic", NULL },
		{ "fwcfg", NULL },
		{ "debugcon", "debug.port402" }, { "debugexit", "debug.exit" },
		{ "testdev", "debug.testdev" },
	};
	struct device *dev;
	unsigned int i;
	int err = 0;

	for (i = 0; i < sizeof(simple) / sizeof(simple[0]) && !err; i++)
		if (!simple[i].option || config_bool(vm->config, "%s", simple[i].option))
			err = device_create(vm, simple[i].type, simple[i].type, "", NULL, &dev);
	return err;
}

int platform_create(struct vm *vm)
{
	struct lpc_args lpc = { .pirq = pic_input_pirq };
	struct platform *p;
	struct device *dev;
	int err = device_create(vm, "platform", "platform", "", NULL, &vm->platform);

	if (err)
		return err;
	p = (struct platform *)vm->platform;
	/* Interrupt controllers first: they are also loaded first, and lines driven by
	 * devices loaded later then find their inputs as they were. */
	err = device_create(vm, "pic", "pic", "", NULL, &p->pic);
	if (!err)
		err = device_create(vm, "ioapic", "ioapic", "", NULL, &p->ioapic);
	if (!err)
		err = device_create(vm, "pci-host", "pci", "", NULL, &dev);
	if (!err) {
		lpc.opaque = p->pic;
		err = device_create(vm, "lpc", "lpc", "", &lpc, &p->lpc);
	}
	if (!err)
		err = connect_pins(vm, p);
	if (!err)
		err = create_simple(vm);
	if (!err)
		err = create_uarts(vm);
	return err;
}

/* What firmware would do, and leave behind for the system it starts. */
int platform_boot_prepare(struct vm *vm, uint64_t *rsdp)
{
	struct platform *p = (struct platform *)vm->platform;
	uint16_t level = 1U << CHIPSET_SCI_IRQ | 1U << pci_intx_irq(16) | 1U << pci_intx_irq(17);
	uint8_t *image;
	size_t len;
	int err;

	err = pci_assign(vm);
	if (err)
		return err;
	lpc_boot_prepare(p->lpc);
	bus_write(&vm->pio, NULL, ELCR_PORT, 2, level);

	err = acpi_build(vm, &image, &len);
	if (!err) {
		err = guest_write(vm, PLATFORM_ACPI_BASE, image, len);
		free(image);
	}
	if (err) {
		log_error(vm, "ACPI tables: %s", strerror(-err));
		return err;
	}
	*rsdp = PLATFORM_ACPI_BASE;
	return 0;
}

void platform_eoi(struct vm *vm, uint8_t vector)
{
	ioapic_eoi(((struct platform *)vm->platform)->ioapic, vector);
}

int platform_inta(struct vm *vm)
{
	return pic_acknowledge(((struct platform *)vm->platform)->pic);
}

void platform_power_button(struct vm *vm)
{
	lpc_power_button(((struct platform *)vm->platform)->lpc);
}
