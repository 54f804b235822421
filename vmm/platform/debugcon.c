// SPDX-License-Identifier: GPL-2.0-only
/*
 * debugcon.c - debug console at port 0x402: what firmware writes goes to the log.
 *
 * The Bochs and QEMU convention: a read gives 0xE9 where the port exists.  Opt-in
 * (debug.port402), because a guest can fill the log with it.
 */
#include <errno.h>
#include <string.h>

#include "vmm/platform/chipset.h"

#define PORT		0x402
#define PRESENT		0xe9
#define LINE		160

struct debugcon {
	struct device dev;
	char line[LINE + 1];
	uint8_t len;
	struct bus_region region;
};

static const struct device_field debugcon_fields[] = {
	DEVICE_FIELD_ARRAY(1, 1, struct debugcon, line),
	DEVICE_FIELD(2, 1, struct debugcon, len),
};

static void line_flush(struct debugcon *con)
{
	con->line[con->len] = 0;
	if (con->len)
		log_info(con->dev.vm, "debug port: %s", con->line);
	con->len = 0;
}

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned int size)
{
	return PRESENT;
}

static void debugcon_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct debugcon *con = opaque;
	uint8_t c = value;

	if (c == '\n') {
		line_flush(con);
		return;
	}
	if (c == '\r')
		return;
	/* The log is somebody's terminal. */
	con->line[con->len++] = c >= ' ' && c < 0x7f ? c : '?';
	if (con->len == LINE)
		line_flush(con);
}

static const struct bus_ops debugcon_ops = { .read = debugcon_read, .write = debugcon_write };

static int debugcon_create(struct device *dev, const char *path, const void *args)
{
	struct debugcon *con = (struct debugcon *)dev;
	int err = chipset_region_add(dev, &dev->vm->pio, &con->region, PORT, 1, &debugcon_ops);

	if (err)
		log_error(dev->vm, "debug port: %s", strerror(-err));
	return err;
}

static void debugcon_destroy(struct device *dev)
{
	bus_region_remove(&dev->vm->pio, &((struct debugcon *)dev)->region);
}

static void debugcon_reset(struct device *dev)
{
	line_flush((struct debugcon *)dev);
}

static int debugcon_loaded(struct device *dev)
{
	struct debugcon *con = (struct debugcon *)dev;
	unsigned int i;

	if (con->len >= LINE) {
		con->len = 0;
		return -EINVAL;
	}
	for (i = 0; i < con->len; i++)
		if (con->line[i] < ' ' || con->line[i] == 0x7f)
			con->line[i] = '?';
	return 0;
}

const struct device_type debugcon_type = {
	.name = "debugcon",
	.help = "debug console at port 0x402",
	.size = sizeof(struct debugcon),
	.version = 1,
	CHIPSET_FIELDS(debugcon_fields),
	.create = debugcon_create,
	.destroy = debugcon_destroy,
	.reset = debugcon_reset,
	.loaded = debugcon_loaded,
};
