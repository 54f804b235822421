// SPDX-License-Identifier: GPL-2.0-only
/*
 * pit.c - 8254 interval timer and the system control port 0x61.
 *
 * Intel 8254 data sheet (modes 0 to 5, counter latch, read-back, BCD); ICH9 data
 * sheet sections 13.3 (ports 0x40-0x43) and 13.7.1 (NMI status and control, 0x61).
 *
 * Nothing ticks: a counter is a count and the time at which it was loaded, and is
 * computed from the guest clock when somebody looks.  Only channel 0, whose output
 * is IRQ 0, has a timer.  Edges that come while the host is late are merged, and a
 * very short period is served no faster than MIN_INTERVAL_NS.
 */
#include <errno.h>
#include <string.h>

#include "vmm/platform/aml.h"
#include "vmm/platform/chipset.h"

#define HZ		1193182ULL
#define NS		1000000000ULL
#define MIN_INTERVAL_NS	50000ULL
#define REFRESH_NS	15085ULL	/* half period of port 0x61 bit 4 */

#define CHANNELS	3
#define PORT_CONTROL	3
#define PORT_SYSTEM	0x61

#define SYSTEM_GATE2	0x01
#define SYSTEM_SPEAKER	0x02
#define SYSTEM_STORED	0x0f
#define SYSTEM_REFRESH	0x10
#define SYSTEM_OUT2	0x20

#define STATUS_OUT	0x80
#define STATUS_NULL	0x40

enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

struct pit_channel {
	uint8_t mode;		/* 0..5 */
	uint8_t access;
	bool bcd;
	bool gate;
	bool loaded;		/* has a count since the control word */
	bool counting;		/* start_ns counts; else the counter stands at `elapsed` */
	bool write_high;	/* the second of two bytes is due */
	bool read_high;
	bool null_count;
	bool status_latched;
	uint8_t status;
	uint8_t latched;	/* bytes of `latch` not yet read */
	uint8_t low_byte;
	uint16_t latch;
	uint32_t count;		/* 1..65536, or 1..10000 in BCD */
	uint32_t next_count;	/* modes 2, 3: from the end of this period on; 0: none */
	uint64_t start_ns;	/* guest clock */
	uint64_t elapsed;	/* ticks, while not counting */
};

struct pit {
	struct device dev;
	struct pit_channel channel[CHANNELS];
	uint8_t system;
	struct irq_line line;
	struct device_timer timer;
	struct bus_region region;
	struct bus_region system_region;
};

#define CHANNEL_FIELDS(id_, n_)							\
	DEVICE_FIELD((id_) + 0, 1, struct pit, channel[n_].mode),		\
	DEVICE_FIELD((id_) + 1, 1, struct pit, channel[n_].access),		\
	DEVICE_FIELD((id_) + 2, 1, struct pit, channel[n_].bcd),		\
	DEVICE_FIELD((id_) + 3, 1, struct pit, channel[n_].gate),		\
	DEVICE_FIELD((id_) + 4, 1, struct pit, channel[n_].loaded),		\
	DEVICE_FIELD((id_) + 5, 1, struct pit, channel[n_].counting),		\
	DEVICE_FIELD((id_) + 6, 1, struct pit, channel[n_].write_high),		\
	DEVICE_FIELD((id_) + 7, 1, struct pit, channel[n_].read_high),		\
	DEVICE_FIELD((id_) + 8, 1, struct pit, channel[n_].null_count),		\
	DEVICE_FIELD((id_) + 9, 1, struct pit, channel[n_].status_latched),	\
	DEVICE_FIELD((id_) + 10, 1, struct pit, channel[n_].status),		\
	DEVICE_FIELD((id_) + 11, 1, struct pit, channel[n_].latched),		\
	DEVICE_FIELD((id_) + 12, 1, struct pit, channel[n_].low_byte),		\
	DEVICE_FIELD((id_) + 13, 1, struct pit, channel[n_].latch),		\
	DEVICE_FIELD((id_) + 14, 1, struct pit, channel[n_].count),		\
	DEVICE_FIELD((id_) + 15, 1, struct pit, channel[n_].next_count),	\
	DEVICE_FIELD((id_) + 16, 1, struct pit, channel[n_].start_ns),		\
	DEVICE_FIELD((id_) + 17, 1, struct pit, channel[n_].elapsed)

static const struct device_field pit_fields[] = {
	CHANNEL_FIELDS(1, 0),
	CHANNEL_FIELDS(33, 1),
	CHANNEL_FIELDS(65, 2),
	DEVICE_FIELD(97, 1, struct pit, system),
};

static uint64_t ns_to_ticks(uint64_t ns)
{
	return (unsigned __int128)ns * HZ / NS;
}

/* The first nanosecond at which that many ticks are over. */
static uint64_t ticks_to_ns(uint64_t ticks)
{
	return ((unsigned __int128)ticks * NS + HZ - 1) / HZ;
}

/* ------------------------------------------------------------------ */
/* A counter                                                            */
/* ------------------------------------------------------------------ */
static bool periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

/* A rising gate starts these; in the others it lets the counter go on. */
static bool triggered(const struct pit_channel *c)
{
	return c->mode == 1 || c->mode == 5;
}

static uint64_t ticks_now(const struct pit_channel *c, uint64_t now)
{
	if (!c->counting)
		return c->elapsed;
	return now > c->start_ns ? ns_to_ticks(now - c->start_ns) : 0;
}

/* Takes over the count that waits for the end of a period. */
static void channel_sync(struct pit_channel *c, uint64_t now)
{
	uint64_t period;

	if (!c->next_count || !c->counting)
		return;
	/* Written at start_ns + elapsed ticks: the period it was written in ends first. */
	period = (c->elapsed / c->count + 1) * c->count;
	if (ticks_now(c, now) < period)
		return;
	c->start_ns += ticks_to_ns(period);
	c->count = c->next_count;
	c->next_count = 0;
	c->elapsed = 0;
	c->null_count = false;
}

static bool channel_out(const struct pit_channel *c, uint64_t now)
{
	uint64_t ticks = ticks_now(c, now);

	if (!c->loaded)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
		return ticks >= c->count;
	case 1:
		return !c->counting || ticks >= c->count;
	case 2:
		return !c->gate || ticks % c->count != c->count - 1;
	case 3:
		return !c->gate || ticks % c->count < (c->count + 1) / 2;
	default:
		return !c->counting || ticks != c->count;
	}
}

static uint16_t to_bcd(uint32_t n)
{
	return n % 10 | (n / 10 % 10) << 4 | (n / 100 % 10) << 8 | (n / 1000 % 10) << 12;
}

/* Nibbles above 9 are no BCD; the chip does something, and so does this. */
static uint32_t from_bcd(uint16_t n)
{
	return (n & 15) + (n >> 4 & 15) * 10 + (n >> 8 & 15) * 100 + (n >> 12) * 1000;
}

static uint16_t channel_counter(const struct pit_channel *c, uint64_t now)
{
	uint32_t modulus = c->bcd ? 10000 : 65536;
	uint64_t ticks = ticks_now(c, now);
	uint32_t value;

	switch (c->mode) {
	case 2:
		value = c->count - ticks % c->count;
		break;
	case 3:		/* by two, so each half of the period counts all the way */
		value = (c->count - 2 * ticks % c->count) & ~1U;
		break;
	default:
		value = (c->count + modulus - ticks % modulus) % modulus;
		break;
	}
	value %= modulus;
	return c->bcd ? to_bcd(value) : value;
}

static void channel_start(struct pit_channel *c, uint64_t now)
{
	c->counting = true;
	c->start_ns = now;
	c->elapsed = 0;
	c->next_count = 0;
	c->null_count = false;
}

static void channel_load(struct pit_channel *c, uint16_t value, uint64_t now)
{
	uint32_t count = c->bcd ? from_bcd(value) : value;

	if (!count)
		count = c->bcd ? 10000 : 65536;
	/* A period of one is not allowed in modes 2 and 3; it would be all rising edge. */
	if (periodic(c) && count < 2)
		count = 2;
	if (periodic(c) && c->loaded && c->counting) {
		c->elapsed = ticks_now(c, now);
		c->next_count = count;
		c->null_count = true;
		return;
	}
	c->count = count;
	c->loaded = true;
	if (triggered(c))
		return;		/* waits for the gate */
	channel_start(c, now);
	if (!c->gate)
		c->counting = false;
}

static void channel_set_gate(struct pit_channel *c, bool gate, uint64_t now)
{
	bool rising = gate && !c->gate;
	uint64_t ticks = ticks_now(c, now);

	if (c->gate == gate)
		return;
	c->gate = gate;
	if (!c->loaded)
		return;
	if (rising && (triggered(c) || periodic(c))) {
		if (c->next_count)
			c->count = c->next_count;
		channel_start(c, now);
	} else if (!triggered(c) && !rising) {
		c->elapsed = ticks;
		c->counting = false;
	} else if (!triggered(c)) {
		c->counting = true;
		c->start_ns = now - ticks_to_ns(c->elapsed);
	}
}

/* ------------------------------------------------------------------ */
/* Channel 0's interrupt                                                */
/* ------------------------------------------------------------------ */

/* When the output next rises, or 0 if it will not. */
static uint64_t next_rise(const struct pit_channel *c, uint64_t now)
{
	uint64_t ticks = ticks_now(c, now);
	uint64_t edge;

	if (!c->loaded || !c->counting)
		return 0;
	if (periodic(c))
		edge = (ticks / c->count + 1) * c->count;
	else
		edge = c->count + (c->mode == 4 || c->mode == 5);
	return edge > ticks ? c->start_ns + ticks_to_ns(edge) : 0;
}

static void timer_update(struct pit *pit, uint64_t now)
{
	uint64_t when = next_rise(&pit->channel[0], now);

	if (!when)
		device_timer_cancel(&pit->timer);
	else
		device_timer_arm(&pit->timer,
				 when < now + MIN_INTERVAL_NS ? now + MIN_INTERVAL_NS : when);
}

static void pit_timer(struct device *dev, struct device_timer *timer)
{
	struct pit *pit = (struct pit *)dev;
	uint64_t now = vm_clock_ns(dev->vm);

	channel_sync(&pit->channel[0], now);
	/* The low part of the period lies behind: one edge for all that were due. */
	irq_line_set(&pit->line, false);
	irq_line_set(&pit->line, true);
	timer_update(pit, now);
}

/* After a write: the output may have fallen, and the next rise has moved. */
static void channel0_changed(struct pit *pit, uint64_t now)
{
	irq_line_set(&pit->line, channel_out(&pit->channel[0], now));
	timer_update(pit, now);
}

/* ------------------------------------------------------------------ */
/* Ports                                                                */
/* ------------------------------------------------------------------ */
static void latch_count(struct pit_channel *c, uint64_t now)
{
	if (c->latched)
		return;
	c->latch = channel_counter(c, now);
	c->latched = c->access == ACCESS_BOTH ? 2 : 1;
}

static void latch_status(struct pit_channel *c, uint64_t now)
{
	if (c->status_latched)
		return;
	c->status = (channel_out(c, now) ? STATUS_OUT : 0) | (c->null_count ? STATUS_NULL : 0) |
		    c->access << 4 | c->mode << 1 | c->bcd;
	c->status_latched = true;
}

static void control_write(struct pit *pit, uint8_t value, uint64_t now)
{
	unsigned int n = value >> 6;
	struct pit_channel *c;

	if (n == 3) {	/* read-back; its bits 5 and 4 are active low */
		for (n = 0; n < CHANNELS; n++) {
			if (!(value & 2 << n))
				continue;
			channel_sync(&pit->channel[n], now);
			if (!(value & 0x20))
				latch_count(&pit->channel[n], now);
			if (!(value & 0x10))
				latch_status(&pit->channel[n], now);
		}
		return;
	}
	c = &pit->channel[n];
	if ((value >> 4 & 3) == ACCESS_LATCH) {
		channel_sync(c, now);
		latch_count(c, now);
		return;
	}
	c->access = value >> 4 & 3;
	c->mode = value >> 1 & 7;
	if (c->mode > 5)
		c->mode -= 4;	/* bit 2 of modes 2 and 3 is "don't care" */
	c->bcd = value & 1;
	c->loaded = false;
	c->counting = false;
	c->elapsed = 0;
	c->next_count = 0;
	c->write_high = false;
	c->read_high = false;
	c->latched = 0;
	c->status_latched = false;
	c->null_count = true;
	if (n == 0)
		channel0_changed(pit, now);
}

static void counter_write(struct pit *pit, unsigned int n, uint8_t value, uint64_t now)
{
	struct pit_channel *c = &pit->channel[n];

	channel_sync(c, now);
	if (c->access == ACCESS_BOTH && !c->write_high) {
		c->low_byte = value;
		c->write_high = true;
		/* In mode 0 the first byte stops the counter. */
		if (c->mode == 0) {
			c->loaded = false;
			c->counting = false;
			if (n == 0)
				channel0_changed(pit, now);
		}
		return;
	}
	c->write_high = false;
	if (c->access == ACCESS_BOTH)
		channel_load(c, c->low_byte | value << 8, now);
	else
		channel_load(c, c->access == ACCESS_HIGH ? value << 8 : value, now);
	if (n == 0)
		channel0_changed(pit, now);
}

static uint8_t counter_read(struct pit_channel *c, uint64_t now)
{
	uint16_t value;
	bool high;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	channel_sync(c, now);
	value = c->latched ? c->latch : channel_counter(c, now);
	high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_high);
	if (c->access == ACCESS_BOTH)
		c->read_high = !c->read_high;
	if (c->latched)
		c->latched--;
	return high ? value >> 8 : value;
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pit *pit = opaque;
	uint64_t now = vm_clock_ns(pit->dev.vm), value = 0;
	unsigned int i;

	for (i = 0; i < size; i++) {
		unsigned int n = (offset + i) & 3;
		uint8_t byte = n < CHANNELS ? counter_read(&pit->channel[n], now) : 0;

		value |= (uint64_t)byte << (8 * i);
	}
	return value;
}

static void pit_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pit *pit = opaque;
	uint64_t now = vm_clock_ns(pit->dev.vm);
	unsigned int i;

	for (i = 0; i < size; i++) {
		unsigned int n = (offset + i) & 3;

		if (n == PORT_CONTROL)
			control_write(pit, value >> (8 * i), now);
		else
			counter_write(pit, n, value >> (8 * i), now);
	}
}

static const struct bus_ops pit_ops = { .read = pit_read, .write = pit_write };

static uint64_t system_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pit *pit = opaque;
	uint64_t now = vm_clock_ns(pit->dev.vm);
	uint8_t value = pit->system & SYSTEM_STORED;

	channel_sync(&pit->channel[2], now);
	if (now / REFRESH_NS & 1)
		value |= SYSTEM_REFRESH;
	if (channel_out(&pit->channel[2], now))
		value |= SYSTEM_OUT2;
	return value;
}

static void system_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pit *pit = opaque;
	uint64_t now = vm_clock_ns(pit->dev.vm);

	pit->system = value & SYSTEM_STORED;
	channel_sync(&pit->channel[2], now);
	channel_set_gate(&pit->channel[2], value & SYSTEM_GATE2, now);
}

static const struct bus_ops system_ops = { .read = system_read, .write = system_write };

/* ------------------------------------------------------------------ */
/* The device                                                           */
/* ------------------------------------------------------------------ */
static int pit_create(struct device *dev, const char *path, const void *args)
{
	struct pit *pit = (struct pit *)dev;
	int err = irq_line_init(&pit->line, dev->vm, 0);

	device_timer_init(&pit->timer, dev, pit_timer);
	if (!err)
		err = chipset_region_add(dev, &dev->vm->pio, &pit->region, CHIPSET_PIT_PORT, 4,
					 &pit_ops);
	if (!err)
		err = chipset_region_add(dev, &dev->vm->pio, &pit->system_region, PORT_SYSTEM, 1,
					 &system_ops);
	if (!err)
		return 0;
	bus_region_remove(&dev->vm->pio, &pit->region);
	log_error(dev->vm, "interval timer: %s", strerror(-err));
	return err;
}

static void pit_destroy(struct device *dev)
{
	struct pit *pit = (struct pit *)dev;

	device_timer_cancel(&pit->timer);
	bus_region_remove(&dev->vm->pio, &pit->region);
	bus_region_remove(&dev->vm->pio, &pit->system_region);
	irq_line_set(&pit->line, false);
}

static void pit_reset(struct device *dev)
{
	struct pit *pit = (struct pit *)dev;
	unsigned int n;

	memset(pit->channel, 0, sizeof(pit->channel));
	for (n = 0; n < CHANNELS; n++) {
		pit->channel[n].mode = 3;
		pit->channel[n].access = ACCESS_BOTH;
		pit->channel[n].count = 65536;
		pit->channel[n].gate = n != 2;
		pit->channel[n].null_count = true;
	}
	pit->system = 0;
	device_timer_cancel(&pit->timer);
	irq_line_set(&pit->line, false);
}

static int pit_loaded(struct device *dev)
{
	struct pit *pit = (struct pit *)dev;
	uint64_t now = vm_clock_ns(dev->vm);
	unsigned int n;

	for (n = 0; n < CHANNELS; n++) {
		struct pit_channel *c = &pit->channel[n];

		chipset_fix_bool(&c->bcd);
		chipset_fix_bool(&c->gate);
		chipset_fix_bool(&c->loaded);
		chipset_fix_bool(&c->counting);
		chipset_fix_bool(&c->write_high);
		chipset_fix_bool(&c->read_high);
		chipset_fix_bool(&c->null_count);
		chipset_fix_bool(&c->status_latched);
		/* start_ns may lie in the past only, and elapsed times must not overflow. */
		if (c->mode > 5 || c->access > ACCESS_BOTH || c->access == ACCESS_LATCH ||
		    c->latched > 2 || !c->count || c->count > 65536 || c->next_count > 65536 ||
		    (int64_t)(now - c->start_ns) < 0 || c->elapsed >> 62)
			return -EINVAL;
	}
	pit->system &= SYSTEM_STORED;
	channel_sync(&pit->channel[0], now);
	irq_line_set(&pit->line, pit->channel[0].loaded && channel_out(&pit->channel[0], now));
	timer_update(pit, now);
	return 0;
}

static void pit_acpi(struct device *dev, struct aml *aml)
{
	aml_device(aml, "TIMR");
	aml_name_eisaid(aml, "_HID", "PNP0100");
	aml_resources(aml, "_CRS");
	aml_resource_io(aml, CHIPSET_PIT_PORT, CHIPSET_PIT_PORT, 1, 4);
	aml_resource_irq(aml, 0);
	aml_resources_end(aml);
	aml_end(aml);
}

const struct device_type pit_type = {
	.name = "pit",
	.help = "8254 interval timer",
	.size = sizeof(struct pit),
	.version = 1,
	CHIPSET_FIELDS(pit_fields),
	.create = pit_create,
	.destroy = pit_destroy,
	.reset = pit_reset,
	.loaded = pit_loaded,
	.acpi = pit_acpi,
};
