// SPDX-License-Identifier: GPL-2.0-only
/*
 * testdev.c - the test device that bare test guests (kvm-unit-tests) use.
 *
 * Behaviour of pc-testdev: 0xE0-0xE3 and 0xE8-0xEB are one latch of four bytes;
 * writing an address to 0xE4 takes that page of RAM away from the guest and gives it
 * back, so that its translation must be made anew; 0x2000-0x2017 drive interrupt
 * lines; 64 KiB at 0xFF000000 behave like memory, but every access is a device's.
 * Opt-in (debug.testdev).
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/platform/chipset.h"

#define PORT_LATCH	0xe0
#define PORT_PAGE	0xe4
#define PORT_LATCH_BYTE	0xe8
#define PORT_IRQ	0x2000
#define MEMORY_BASE	0xff000000ULL
#define MEMORY_LEN	0x10000

struct testdev {
	struct device dev;
	uint8_t latch[4];
	uint8_t irq[IRQ_PINS];
	uint8_t memory[MEMORY_LEN];
	struct irq_line line[IRQ_PINS];
	struct bus_region latch_region;
	struct bus_region page_region;
	struct bus_region latch_byte_region;
	struct bus_region irq_region;
	struct bus_region memory_region;
};

static const struct device_field testdev_fields[] = {
	DEVICE_FIELD_ARRAY(1, 1, struct testdev, latch),
	DEVICE_FIELD_ARRAY(2, 1, struct testdev, irq),
	DEVICE_FIELD_ARRAY(3, 1, struct testdev, memory),
};

static uint64_t latch_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct testdev *test = opaque;
	uint64_t value = 0;

	memcpy(&value, &test->latch[offset], size);
	return value;
}

static void latch_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct testdev *test = opaque;

	memcpy(&test->latch[offset], &value, size);
}

static const struct bus_ops latch_ops = { .read = latch_read, .write = latch_write };

static uint64_t page_read(void *opaque, uint64_t offset, unsigned int size)
{
	return 0;
}

static void page_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct testdev *test = opaque;
	struct guest_pin pin;

	if (guest_pin(test->dev.vm, value & ~(GUEST_PAGE - 1), GUEST_PAGE, GUEST_READ, &pin)) {
		device_warn(&test->dev, "no RAM to take away at %#llx", (unsigned long long)value);
		return;
	}
	/* Another vCPU that touches it between the two gets a memory fault; that is
	 * the test's own doing. */
	if (mprotect(pin.hva, GUEST_PAGE, PROT_NONE) ||
	    mprotect(pin.hva, GUEST_PAGE, PROT_READ | PROT_WRITE))
		device_error(&test->dev, "mprotect: %s", strerror(errno));
	guest_unpin(test->dev.vm, &pin, 0);
}

static const struct bus_ops page_ops = { .read = page_read, .write = page_write };

static uint64_t irq_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct testdev *test = opaque;

	return test->irq[offset];
}

static void irq_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct testdev *test = opaque;

	test->irq[offset] = value != 0;
	irq_line_set(&test->line[offset], value != 0);
}

static const struct bus_ops irq_ops = { .read = irq_read, .write = irq_write };

static uint64_t memory_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct testdev *test = opaque;
	uint64_t value = 0;

	memcpy(&value, &test->memory[offset], size);
	return value;
}

static void memory_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct testdev *test = opaque;

	memcpy(&test->memory[offset], &value, size);
}

static const struct bus_ops memory_ops = { .read = memory_read, .write = memory_write };

static void regions_remove(struct testdev *test)
{
	struct vm *vm = test->dev.vm;

	bus_region_remove(&vm->pio, &test->latch_region);
	bus_region_remove(&vm->pio, &test->page_region);
	bus_region_remove(&vm->pio, &test->latch_byte_region);
	bus_region_remove(&vm->pio, &test->irq_region);
	bus_region_remove(&vm->mmio, &test->memory_region);
}

static int testdev_create(struct device *dev, const char *path, const void *args)
{
	struct testdev *test = (struct testdev *)dev;
	struct bus *pio = &dev->vm->pio;
	unsigned int i;
	int err = 0;

	for (i = 0; i < IRQ_PINS && !err; i++)
		err = irq_line_init(&test->line[i], dev->vm, i);
	if (!err)
		err = chipset_region_add(dev, pio, &test->latch_region, PORT_LATCH, 4, &latch_ops);
	if (!err)
		err = chipset_region_add(dev, pio, &test->page_region, PORT_PAGE, 4, &page_ops);
	if (!err)
		err = chipset_region_add(dev, pio, &test->latch_byte_region, PORT_LATCH_BYTE, 4,
					 &latch_ops);
	if (!err)
		err = chipset_region_add(dev, pio, &test->irq_region, PORT_IRQ, IRQ_PINS,
					 &irq_ops);
	if (!err)
		err = chipset_region_add(dev, &dev->vm->mmio, &test->memory_region, MEMORY_BASE,
					 MEMORY_LEN, &memory_ops);
	if (err) {
		regions_remove(test);
		log_error(dev->vm, "test device: %s", strerror(-err));
	}
	return err;
}

static void testdev_destroy(struct device *dev)
{
	struct testdev *test = (struct testdev *)dev;
	unsigned int i;

	regions_remove(test);
	for (i = 0; i < IRQ_PINS; i++)
		irq_line_set(&test->line[i], false);
}

static void testdev_reset(struct device *dev)
{
	struct testdev *test = (struct testdev *)dev;
	unsigned int i;

	memset(test->latch, 0, sizeof(test->latch));
	memset(test->irq, 0, sizeof(test->irq));
	memset(test->memory, 0, sizeof(test->memory));
	for (i = 0; i < IRQ_PINS; i++)
		irq_line_set(&test->line[i], false);
}

static int testdev_loaded(struct device *dev)
{
	struct testdev *test = (struct testdev *)dev;
	unsigned int i;

	for (i = 0; i < IRQ_PINS; i++)
		irq_line_set(&test->line[i], test->irq[i]);
	return 0;
}

const struct device_type testdev_type = {
	.name = "testdev",
	.help = "test device for bare test guests",
	.size = sizeof(struct testdev),
	.version = 1,
	CHIPSET_FIELDS(testdev_fields),
	.create = testdev_create,
	.destroy = testdev_destroy,
	.reset = testdev_reset,
	.loaded = testdev_loaded,
};
