// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvpanic.c - the port by which a guest kernel says that it has panicked.
 *
 * The ISA pvpanic device as Linux's pvpanic driver knows it (ACPI id QEMU0001): one
 * byte at 0x505, reads give the events that are understood, a write is an event.
 */
#include <string.h>

#include "vmm/platform/aml.h"
#include "vmm/platform/chipset.h"

#define EVENT_PANICKED		0x01
#define EVENT_CRASH_LOADED	0x02	/* panicked, but its own crash kernel takes over */

struct pvpanic {
	struct device dev;
	struct bus_region region;
};

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned int size)
{
	return EVENT_PANICKED | EVENT_CRASH_LOADED;
}

static void pvpanic_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pvpanic *pvpanic = opaque;

	if (value & EVENT_PANICKED)
		vm_request_stop(pvpanic->dev.vm, VM_CAUSE_PANIC, 0, "guest kernel panic");
	else if (value & EVENT_CRASH_LOADED)
		device_warn(&pvpanic->dev, "kernel panic, its crash kernel takes over");
}

static const struct bus_ops pvpanic_ops = { .read = pvpanic_read, .write = pvpanic_write };

static int pvpanic_create(struct device *dev, const char *path, const void *args)
{
	struct pvpanic *pvpanic = (struct pvpanic *)dev;
	int err = chipset_region_add(dev, &dev->vm->pio, &pvpanic->region, CHIPSET_PVPANIC_PORT, 1,
				     &pvpanic_ops);

	if (err)
		log_error(dev->vm, "panic port: %s", strerror(-err));
	return err;
}

static void pvpanic_destroy(struct device *dev)
{
	bus_region_remove(&dev->vm->pio, &((struct pvpanic *)dev)->region);
}

static void pvpanic_acpi(struct device *dev, struct aml *aml)
{
	aml_device(aml, "PEVT");
	aml_name_string(aml, "_HID", "QEMU0001");
	aml_name_integer(aml, "_STA", 0x0f);
	aml_resources(aml, "_CRS");
	aml_resource_io(aml, CHIPSET_PVPANIC_PORT, CHIPSET_PVPANIC_PORT, 1, 1);
	aml_resources_end(aml);
	aml_end(aml);
}

const struct device_type pvpanic_type = {
	.name = "pvpanic",
	.help = "port by which a guest reports its panic",
	.size = sizeof(struct pvpanic),
	.version = 1,
	.create = pvpanic_create,
	.destroy = pvpanic_destroy,
	.acpi = pvpanic_acpi,
};
