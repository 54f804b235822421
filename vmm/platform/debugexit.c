// SPDX-License-Identifier: GPL-2.0-only
/*
 * debugexit.c - port 0xF4: the guest ends, with a status of its choice.
 *
 * The isa-debug-exit convention: writing v ends the vmm with status (v << 1) | 1, so
 * that it is never 0.  Opt-in (debug.exit), for test guests.
 */
#include <string.h>

#include "vmm/platform/chipset.h"

#define PORT	0xf4

struct debugexit {
	struct device dev;
	struct bus_region region;
};

static uint64_t debugexit_read(void *opaque, uint64_t offset, unsigned int size)
{
	return 0;
}

static void debugexit_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct debugexit *debugexit = opaque;

	vm_request_stop(debugexit->dev.vm, VM_CAUSE_DEBUG_EXIT, (value << 1 | 1) & 0xff,
			"exit port 0xf4");
}

static const struct bus_ops debugexit_ops = { .read = debugexit_read, .write = debugexit_write };

static int debugexit_create(struct device *dev, const char *path, const void *args)
{
	struct debugexit *debugexit = (struct debugexit *)dev;
	int err = chipset_region_add(dev, &dev->vm->pio, &debugexit->region, PORT, 4,
				     &debugexit_ops);

	if (err)
		log_error(dev->vm, "exit port: %s", strerror(-err));
	return err;
}

static void debugexit_destroy(struct device *dev)
{
	bus_region_remove(&dev->vm->pio, &((struct debugexit *)dev)->region);
}

const struct device_type debugexit_type = {
	.name = "debugexit",
	.help = "exit port 0xf4",
	.size = sizeof(struct debugexit),
	.version = 1,
	.create = debugexit_create,
	.destroy = debugexit_destroy,
};
