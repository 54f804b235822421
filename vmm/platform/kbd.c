// SPDX-License-Identifier: GPL-2.0-only
/*
 * kbd.c - keyboard controller without a keyboard, and system control port A (0x92).
 *
 * Intel 8042 as IBM's PC/AT Technical Reference describes it (status, commands by
 * port 0x64, output port); ICH9 data sheet section 13.7.2 (port 0x92).
 *
 * It is here for what old code expects of it besides keys: the reset pulse, the A20
 * gate, a self test that ends.  The FADT says that there is none.  A20 is always
 * open; the bit is only remembered.
 */
#include <errno.h>
#include <string.h>

#include "vmm/platform/chipset.h"

#define PORT_DATA		0x60
#define PORT_COMMAND		0x64
#define PORT_A			0x92

#define STATUS_OUTPUT		0x01
#define STATUS_SYSTEM		0x04
#define STATUS_COMMAND		0x08
#define STATUS_UNLOCKED		0x10

#define CMD_READ_CONFIG		0x20
#define CMD_WRITE_CONFIG	0x60
#define CMD_AUX_OFF		0xa7
#define CMD_AUX_ON		0xa8
#define CMD_AUX_TEST		0xa9
#define CMD_SELF_TEST		0xaa
#define CMD_KBD_TEST		0xab
#define CMD_KBD_OFF		0xad
#define CMD_KBD_ON		0xae
#define CMD_READ_INPUT		0xc0
#define CMD_READ_OUTPUT		0xd0
#define CMD_WRITE_OUTPUT	0xd1
#define CMD_PULSE		0xf0	/* low nibble: lines not pulsed; bit 0 is reset */

#define OUTPUT_NO_RESET		0x01
#define OUTPUT_A20		0x02

#define CONFIG_SYSTEM		0x04
#define CONFIG_KBD_OFF		0x10
#define CONFIG_AUX_OFF		0x20

#define A_FAST_RESET		0x01
#define A_A20			0x02

struct kbd {
	struct device dev;
	uint8_t status;
	uint8_t config;
	uint8_t output_port;
	uint8_t data;
	uint8_t command;	/* waits for its byte at the data port; 0: none */
	uint8_t port_a;
	struct bus_region data_region;
	struct bus_region command_region;
	struct bus_region port_a_region;
};

static const struct device_field kbd_fields[] = {
	DEVICE_FIELD(1, 1, struct kbd, status),
	DEVICE_FIELD(2, 1, struct kbd, config),
	DEVICE_FIELD(3, 1, struct kbd, output_port),
	DEVICE_FIELD(4, 1, struct kbd, data),
	DEVICE_FIELD(5, 1, struct kbd, command),
	DEVICE_FIELD(6, 1, struct kbd, port_a),
};

static void answer(struct kbd *kbd, uint8_t value)
{
	kbd->data = value;
	kbd->status |= STATUS_OUTPUT;
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct kbd *kbd = opaque;

	kbd->status &= ~STATUS_OUTPUT;
	return kbd->data;
}

static void data_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct kbd *kbd = opaque;
	uint8_t command = kbd->command;

	kbd->command = 0;
	kbd->status &= ~STATUS_COMMAND;
	if (command == CMD_WRITE_CONFIG) {
		kbd->config = value;
	} else if (command == CMD_WRITE_OUTPUT) {
		kbd->output_port = value;
		if (!(value & OUTPUT_NO_RESET))
			vm_request_reset(kbd->dev.vm, "keyboard controller output port");
	}
	/* Anything else is for a keyboard, and there is nobody to answer. */
}

static const struct bus_ops data_ops = { .read = data_read, .write = data_write };

static uint64_t command_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct kbd *kbd = opaque;

	return kbd->status;
}

static void command_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct kbd *kbd = opaque;
	uint8_t command = value;

	kbd->command = 0;
	kbd->status |= STATUS_COMMAND;
	switch (command) {
	case CMD_READ_CONFIG:
		answer(kbd, kbd->config);
		break;
	case CMD_WRITE_CONFIG:
	case CMD_WRITE_OUTPUT:
		kbd->command = command;
		break;
	case CMD_AUX_OFF:
		kbd->config |= CONFIG_AUX_OFF;
		break;
	case CMD_AUX_ON:
		kbd->config &= ~CONFIG_AUX_OFF;
		break;
	case CMD_AUX_TEST:
		answer(kbd, 0x02);	/* no device: data line stuck */
		break;
	case CMD_SELF_TEST:
		kbd->status |= STATUS_SYSTEM;
		answer(kbd, 0x55);
		break;
	case CMD_KBD_TEST:
		answer(kbd, 0x00);
		break;
	case CMD_KBD_OFF:
		kbd->config |= CONFIG_KBD_OFF;
		break;
	case CMD_KBD_ON:
		kbd->config &= ~CONFIG_KBD_OFF;
		break;
	case CMD_READ_INPUT:
		answer(kbd, 0x80);	/* keyboard not inhibited */
		break;
	case CMD_READ_OUTPUT:
		answer(kbd, kbd->output_port);
		break;
	default:
		if (command >= CMD_PULSE && !(command & 1))
			vm_request_reset(kbd->dev.vm, "keyboard controller");
		break;
	}
}

static const struct bus_ops command_ops = { .read = command_read, .write = command_write };

static uint64_t port_a_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct kbd *kbd = opaque;

	return kbd->port_a;
}

static void port_a_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct kbd *kbd = opaque;
	bool rising = (value & A_FAST_RESET) && !(kbd->port_a & A_FAST_RESET);

	kbd->port_a = value & (A_A20 | A_FAST_RESET);
	if (rising)
		vm_request_reset(kbd->dev.vm, "port 0x92");
}

static const struct bus_ops port_a_ops = { .read = port_a_read, .write = port_a_write };

static int kbd_create(struct device *dev, const char *path, const void *args)
{
	struct kbd *kbd = (struct kbd *)dev;
	struct bus *bus = &dev->vm->pio;
	int err = chipset_region_add(dev, bus, &kbd->data_region, PORT_DATA, 1, &data_ops);

	if (!err)
		err = chipset_region_add(dev, bus, &kbd->command_region, PORT_COMMAND, 1,
					 &command_ops);
	if (!err)
		err = chipset_region_add(dev, bus, &kbd->port_a_region, PORT_A, 1, &port_a_ops);
	if (!err)
		return 0;
	bus_region_remove(bus, &kbd->data_region);
	bus_region_remove(bus, &kbd->command_region);
	log_error(dev->vm, "keyboard controller: %s", strerror(-err));
	return err;
}

static void kbd_destroy(struct device *dev)
{
	struct kbd *kbd = (struct kbd *)dev;

	bus_region_remove(&dev->vm->pio, &kbd->data_region);
	bus_region_remove(&dev->vm->pio, &kbd->command_region);
	bus_region_remove(&dev->vm->pio, &kbd->port_a_region);
}

static void kbd_reset(struct device *dev)
{
	struct kbd *kbd = (struct kbd *)dev;

	kbd->status = STATUS_SYSTEM | STATUS_UNLOCKED;
	kbd->config = CONFIG_SYSTEM | CONFIG_KBD_OFF | CONFIG_AUX_OFF;
	kbd->output_port = OUTPUT_NO_RESET | OUTPUT_A20;
	kbd->data = 0;
	kbd->command = 0;
	kbd->port_a = A_A20;
}

const struct device_type kbd_type = {
	.name = "kbd",
	.help = "keyboard controller without keyboard: reset and A20",
	.size = sizeof(struct kbd),
	.version = 1,
	CHIPSET_FIELDS(kbd_fields),
	.create = kbd_create,
	.destroy = kbd_destroy,
	.reset = kbd_reset,
};
