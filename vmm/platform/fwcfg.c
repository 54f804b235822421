// SPDX-License-Identifier: GPL-2.0-only
/*
 * fwcfg.c - firmware configuration at ports 0x510 (selector) and 0x511 (data).
 *
 * QEMU's docs/specs/fw_cfg.rst: signature, interface id, the numbered items that
 * loaders and test kernels read, and the directory of named files.  Port 0x514, the
 * DMA interface, is not there: bit 1 of the id says so.
 *
 * Items are read-only; the selector resets the read offset, and reads beyond an
 * item's end give zero.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/platform/chipset.h"

#define PORT_SELECT	0x510
#define PORTS		2

#define KEY_SIGNATURE	0x00
#define KEY_ID		0x01
#define KEY_RAM_SIZE	0x03
#define KEY_CPUS	0x05
#define KEY_MAX_CPUS	0x0f
#define KEY_DIRECTORY	0x19
#define KEY_FIRST_FILE	0x20
#define KEY_MASK	0x3fff		/* above: write intent and architecture bits */

#define ID_TRADITIONAL	1

#define ITEMS		16
#define FILES		8

struct item {
	uint16_t key;
	uint32_t len;
	uint8_t *data;
};

struct directory {
	uint32_t count;		/* big-endian, as all here */
	struct {
		uint32_t size;
		uint16_t select;
		uint16_t reserved;
		char name[56];
	} file[FILES];
} __attribute__((packed));

struct fwcfg {
	struct device dev;
	uint16_t select;
	uint32_t offset;
	struct item item[ITEMS];
	unsigned int nr_items;
	struct directory directory;
	struct bus_region region;
};

static const struct device_field fwcfg_fields[] = {
	DEVICE_FIELD(1, 1, struct fwcfg, select),
	DEVICE_FIELD(2, 1, struct fwcfg, offset),
};

static uint8_t data_read(struct fwcfg *fw)
{
	unsigned int i;

	for (i = 0; i < fw->nr_items; i++) {
		const struct item *item = &fw->item[i];

		if (item->key == fw->select && fw->offset < item->len)
			return item->data[fw->offset++];
	}
	return 0;
}

static uint64_t fwcfg_read(void *opaque, uint64_t offset, unsigned int size)
{
	/* The selector cannot be read. */
	return offset == 1 ? data_read(opaque) : 0;
}

static void fwcfg_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct fwcfg *fw = opaque;

	if (offset != 0)
		return;
	fw->select = value & KEY_MASK;
	fw->offset = 0;
}

static const struct bus_ops fwcfg_ops = { .read = fwcfg_read, .write = fwcfg_write };

static int item_add(struct fwcfg *fw, uint16_t key, const void *data, uint32_t len)
{
	struct item *item = &fw->item[fw->nr_items];

	if (fw->nr_items == ITEMS)
		return -ENOSPC;
	item->data = malloc(len ? len : 1);
	if (!item->data)
		return -ENOMEM;
	memcpy(item->data, data, len);
	item->key = key;
	item->len = len;
	fw->nr_items++;
	return 0;
}

static int file_add(struct fwcfg *fw, const char *name, const void *data, uint32_t len)
{
	uint32_t n = be32toh(fw->directory.count);

	if (n == FILES)
		return -ENOSPC;
	fw->directory.file[n].size = htobe32(len);
	fw->directory.file[n].select = htobe16(KEY_FIRST_FILE + n);
	strncpy(fw->directory.file[n].name, name, sizeof(fw->directory.file[n].name) - 1);
	fw->directory.count = htobe32(n + 1);
	return item_add(fw, KEY_FIRST_FILE + n, data, len);
}

static int e820_add(struct fwcfg *fw)
{
	struct {
		uint64_t base;
		uint64_t size;
		uint32_t type;
	} __attribute__((packed)) e820[32];
	struct memory_range range[32];
	unsigned int i, n = memory_map_get(fw->dev.vm, range, 32);

	for (i = 0; i < n; i++) {
		e820[i].base = htole64(range[i].base);
		e820[i].size = htole64(range[i].size);
		e820[i].type = htole32(range[i].type);
	}
	return file_add(fw, "etc/e820", e820, n * sizeof(e820[0]));
}

static void items_free(struct fwcfg *fw)
{
	while (fw->nr_items)
		free(fw->item[--fw->nr_items].data);
}

static int fwcfg_create(struct device *dev, const char *path, const void *args)
{
	struct fwcfg *fw = (struct fwcfg *)dev;
	uint32_t id = htole32(ID_TRADITIONAL);
	uint64_t ram = htole64(dev->vm->memory.size);
	uint16_t cpus = htole16(config_uint(dev->vm->config, "cpus"));
	int err = item_add(fw, KEY_SIGNATURE, "QEMU", 4);

	if (!err)
		err = item_add(fw, KEY_ID, &id, sizeof(id));
	if (!err)
		err = item_add(fw, KEY_RAM_SIZE, &ram, sizeof(ram));
	if (!err)
		err = item_add(fw, KEY_CPUS, &cpus, sizeof(cpus));
	if (!err)
		err = item_add(fw, KEY_MAX_CPUS, &cpus, sizeof(cpus));
	if (!err)
		err = e820_add(fw);
	/* Last: the directory is complete now. */
	if (!err)
		err = item_add(fw, KEY_DIRECTORY, &fw->directory, sizeof(fw->directory));
	if (!err)
		err = chipset_region_add(dev, &dev->vm->pio, &fw->region, PORT_SELECT, PORTS,
					 &fwcfg_ops);
	if (!err)
		return 0;
	items_free(fw);
	log_error(dev->vm, "firmware configuration: %s", strerror(-err));
	return err;
}

static void fwcfg_destroy(struct device *dev)
{
	struct fwcfg *fw = (struct fwcfg *)dev;

	bus_region_remove(&dev->vm->pio, &fw->region);
	items_free(fw);
}

static void fwcfg_reset(struct device *dev)
{
	struct fwcfg *fw = (struct fwcfg *)dev;

	fw->select = 0;
	fw->offset = 0;
}

const struct device_type fwcfg_type = {
	.name = "fwcfg",
	.help = "firmware configuration ports",
	.size = sizeof(struct fwcfg),
	.version = 1,
	CHIPSET_FIELDS(fwcfg_fields),
	.create = fwcfg_create,
	.destroy = fwcfg_destroy,
	.reset = fwcfg_reset,
};
