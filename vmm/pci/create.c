// SPDX-License-Identifier: GPL-2.0-only
/*
 * create.c - the PCI functions that the configuration asks for.
 *
 * Slots are handed out in the order here, so that the same configuration gives
 * the guest the same addresses: disks first, then networks, then the rest.
 */
#include <stdio.h>
#include <string.h>

#include "vmm/pci/pci.h"
#include "vmm/platform.h"
#include "vmm/vm.h"

static int create_one(struct vm *vm, const char *type, const char *id, const char *path)
{
	static const struct pci_create_args args = { .slot = PCI_SLOT_ANY };
	struct device *dev;

	return device_create(vm, type, id, path, &args, &dev);
}

static int create_list(struct vm *vm, const char *list, const char *type)
{
	unsigned int i, count = config_count(vm->config, "%s", list);
	char id[16], path[16];
	int err;

	for (i = 0; i < count; i++) {
		/* A network without a back end is no device. */
		if (!strcmp(list, "net") &&
		    !strcmp(config_string(vm->config, "net.%u.type", i), "none"))
			continue;
		snprintf(id, sizeof(id), "%s%u", list, i);
		snprintf(path, sizeof(path), "%s.%u", list, i);
		err = create_one(vm, type, id, path);
		if (err)
			return err;
	}
	return 0;
}

int pci_create(struct vm *vm)
{
	int err = create_list(vm, "disk", "virtio-blk");

	if (!err)
		err = create_list(vm, "net", "virtio-net");
	if (!err && config_bool(vm->config, "rng"))
		err = create_one(vm, "virtio-rng", "rng", "rng");
	if (!err && config_bool(vm->config, "virtio_console"))
		err = create_one(vm, "virtio-console", "console", "virtio_console");
	return err;
}
