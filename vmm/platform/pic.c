// SPDX-License-Identifier: GPL-2.0-only
/*
 * pic.c - the pair of 8259A interrupt controllers, with the ELCR of PCI chipsets.
 *
 * Intel 8259A data sheet: initialisation (ICW1-4), operation (OCW1-3), priority
 * rotation, special mask, special fully nested mode, poll.  ICH9 data sheet
 * section 13.4 (ports 0x20, 0xA0, edge/level control at 0x4D0 and 0x4D1, which
 * replaces the LTIM bit of ICW1).
 *
 * An edge is latched until it is acknowledged.  The slave sits on the master's
 * input 2 whatever ICW3 says.  INTA cycles come from vCPU threads by
 * pic_acknowledge(), inputs from any thread under a pin's lock.
 */
#include <string.h>

#include "vmm/platform/chipset.h"

#define CASCADE		2
#define ELCR_MASTER	0xf8	/* inputs 0 to 2 are always edges */
#define ELCR_SLAVE	0xde	/* so are 8 and 13 */

#define ICW1		0x10
#define ICW1_SINGLE	0x02
#define ICW1_NEED_ICW4	0x01
#define ICW4_NESTED	0x10
#define ICW4_AUTO_EOI	0x02
#define OCW3		0x08
#define OCW3_READ	0x02
#define OCW3_READ_ISR	0x01
#define OCW3_POLL	0x04
#define OCW3_SMM_SET	0x40
#define OCW3_SMM	0x20

enum pic_state { PIC_READY, PIC_ICW2, PIC_ICW3, PIC_ICW4, PIC_STATES };

struct pic_chip {
	uint8_t lines;		/* level of the inputs */
	uint8_t irr;
	uint8_t imr;
	uint8_t isr;
	uint8_t elcr;
	uint8_t base;		/* bits 7:3 of the vectors */
	uint8_t lowest;		/* input of lowest priority */
	uint8_t state;		/* enum pic_state: which ICW comes next */
	uint8_t icw1;
	bool auto_eoi;
	bool rotate_auto_eoi;
	bool nested;		/* special fully nested mode */
	bool special_mask;
	bool read_isr;
	bool poll;
};

struct pic {
	struct device dev;
	pthread_mutex_t irq_lock;	/* guards all below */
	struct pic_chip chip[2];	/* master, slave */
	uint16_t isa;			/* what ISA lines drive */
	uint16_t pirq;			/* what routed PCI interrupts drive */
	bool intr;
	void (*set_intr)(struct vm *vm, bool level);
	struct bus_region region[2];
	struct bus_region elcr_region;
};

#define CHIP_FIELDS(id_, n_)						\
	DEVICE_FIELD((id_) + 0, 1, struct pic, chip[n_].lines),		\
	DEVICE_FIELD((id_) + 1, 1, struct pic, chip[n_].irr),		\
	DEVICE_FIELD((id_) + 2, 1, struct pic, chip[n_].imr),		\
	DEVICE_FIELD((id_) + 3, 1, struct pic, chip[n_].isr),		\
	DEVICE_FIELD((id_) + 4, 1, struct pic, chip[n_].elcr),		\
	DEVICE_FIELD((id_) + 5, 1, struct pic, chip[n_].base),		\
	DEVICE_FIELD((id_) + 6, 1, struct pic, chip[n_].lowest),	\
	DEVICE_FIELD((id_) + 7, 1, struct pic, chip[n_].state),		\
	DEVICE_FIELD((id_) + 8, 1, struct pic, chip[n_].icw1),		\
	DEVICE_FIELD((id_) + 9, 1, struct pic, chip[n_].auto_eoi),	\
	DEVICE_FIELD((id_) + 10, 1, struct pic, chip[n_].rotate_auto_eoi), \
	DEVICE_FIELD((id_) + 11, 1, struct pic, chip[n_].nested),	\
	DEVICE_FIELD((id_) + 12, 1, struct pic, chip[n_].special_mask),	\
	DEVICE_FIELD((id_) + 13, 1, struct pic, chip[n_].read_isr),	\
	DEVICE_FIELD((id_) + 14, 1, struct pic, chip[n_].poll)

static const struct device_field pic_fields[] = {
	CHIP_FIELDS(1, 0),
	CHIP_FIELDS(17, 1),
	DEVICE_FIELD(33, 1, struct pic, isa),
	DEVICE_FIELD(34, 1, struct pic, pirq),
};

/* ------------------------------------------------------------------ */
/* One chip                                                             */
/* ------------------------------------------------------------------ */

/* Priority of the most urgent input in @inputs: 0 the highest, 8 if there is none. */
static unsigned int chip_priority(const struct pic_chip *chip, uint8_t inputs)
{
	unsigned int p;

	for (p = 0; p < 8; p++)
		if (inputs & 1 << ((chip->lowest + 1 + p) & 7))
			break;
	return p;
}

static unsigned int chip_input_of(const struct pic_chip *chip, unsigned int priority)
{
	return (chip->lowest + 1 + priority) & 7;
}

/* The input that asks for service now, or -1. */
static int chip_request(const struct pic_chip *chip, bool master)
{
	uint8_t serving = chip->isr;
	unsigned int wanted = chip_priority(chip, chip->irr & ~chip->imr);

	if (wanted == 8 || chip->state != PIC_READY)
		return -1;
	if (chip->special_mask)
		serving &= ~chip->imr;
	/* The slave may interrupt its own service routine. */
	if (chip->nested && master)
		serving &= ~(1 << CASCADE);
	return wanted < chip_priority(chip, serving) ? (int)chip_input_of(chip, wanted) : -1;
}

static void chip_lines(struct pic_chip *chip, uint8_t lines, uint8_t level_mask)
{
	uint8_t rising = lines & ~chip->lines;

	chip->irr = ((chip->irr | rising) & ~level_mask) | (lines & level_mask);
	chip->lines = lines;
}

static void chip_eoi(struct pic_chip *chip, unsigned int input, bool rotate)
{
	chip->isr &= ~(1 << input);
	if (rotate)
		chip->lowest = input;
}

static void chip_acknowledge(struct pic_chip *chip, unsigned int input, uint8_t level_mask)
{
	chip->isr |= 1 << input;
	if (!(level_mask & 1 << input))
		chip->irr &= ~(1 << input);
	if (chip->auto_eoi)
		chip_eoi(chip, input, chip->rotate_auto_eoi);
}

static uint8_t master_level_mask(const struct pic *pic)
{
	return pic->chip[0].elcr | 1 << CASCADE;
}

/* Carries inputs and the slave's output forward to INTR.  irq_lock held. */
static void pic_update(struct pic *pic)
{
	uint16_t lines = pic->isa | pic->pirq;
	uint8_t master;
	bool intr;

	chip_lines(&pic->chip[1], lines >> 8, pic->chip[1].elcr);
	master = lines & ~(1 << CASCADE) & 0xff;
	if (chip_request(&pic->chip[1], false) >= 0)
		master |= 1 << CASCADE;
	chip_lines(&pic->chip[0], master, master_level_mask(pic));
	intr = chip_request(&pic->chip[0], true) >= 0;
	if (intr != pic->intr) {
		pic->intr = intr;
		pic->set_intr(pic->dev.vm, intr);
	}
}

/* ------------------------------------------------------------------ */
/* Inputs and INTA                                                      */
/* ------------------------------------------------------------------ */
void pic_input(void *opaque, unsigned int irq, bool level)
{
	struct pic *pic = opaque;

	if (irq >= 16)
		return;
	pthread_mutex_lock(&pic->irq_lock);
	pic->isa = (pic->isa & ~(1U << irq)) | (unsigned int)level << irq;
	pic_update(pic);
	pthread_mutex_unlock(&pic->irq_lock);
}

void pic_input_pirq(void *opaque, uint16_t irqs)
{
	struct pic *pic = opaque;

	pthread_mutex_lock(&pic->irq_lock);
	pic->pirq = irqs;
	pic_update(pic);
	pthread_mutex_unlock(&pic->irq_lock);
}

int pic_acknowledge(struct device *dev)
{
	struct pic *pic = (struct pic *)dev;
	int input, vector = -1;

	pthread_mutex_lock(&pic->irq_lock);
	input = chip_request(&pic->chip[0], true);
	if (input >= 0) {
		chip_acknowledge(&pic->chip[0], input, master_level_mask(pic));
		vector = pic->chip[0].base | input;
	}
	if (input == CASCADE) {
		input = chip_request(&pic->chip[1], false);
		/* Its input 2 follows the slave's output under one lock, so there is one. */
		if (input >= 0)
			chip_acknowledge(&pic->chip[1], input, pic->chip[1].elcr);
		vector = pic->chip[1].base | (input >= 0 ? input : 7);
	}
	pic_update(pic);
	pthread_mutex_unlock(&pic->irq_lock);
	return vector;
}

/* ------------------------------------------------------------------ */
/* Registers                                                            */
/* ------------------------------------------------------------------ */
static void chip_icw1(struct pic_chip *chip, uint8_t value)
{
	chip->icw1 = value;
	chip->state = PIC_ICW2;
	/* Edges seen before are forgotten; a level still there comes back at once. */
	chip->irr = 0;
	chip->imr = 0;
	chip->isr = 0;
	chip->lowest = 7;
	chip->auto_eoi = false;
	chip->rotate_auto_eoi = false;
	chip->nested = false;
	chip->special_mask = false;
	chip->read_isr = false;
	chip->poll = false;
}

static void chip_ocw2(struct pic_chip *chip, uint8_t value)
{
	uint8_t serving = chip->isr;
	bool rotate = value & 0x80;
	unsigned int p;

	switch (value >> 5) {
	case 0:		/* rotate in automatic EOI: off, on */
	case 4:
		chip->rotate_auto_eoi = rotate;
		break;
	case 1:		/* non-specific EOI */
	case 5:
		/* In special mask mode it does not see what is masked. */
		if (chip->special_mask)
			serving &= ~chip->imr;
		p = chip_priority(chip, serving);
		if (p < 8)
			chip_eoi(chip, chip_input_of(chip, p), rotate);
		break;
	case 3:		/* specific EOI */
	case 7:
		chip_eoi(chip, value & 7, rotate);
		break;
	case 6:		/* set priority */
		chip->lowest = value & 7;
		break;
	default:	/* no operation */
		break;
	}
}

static void chip_write(struct pic_chip *chip, unsigned int reg, uint8_t value)
{
	if (reg == 0) {
		if (value & ICW1) {
			chip_icw1(chip, value);
		} else if (value & OCW3) {
			chip->poll = value & OCW3_POLL;
			if (value & OCW3_READ)
				chip->read_isr = value & OCW3_READ_ISR;
			if (value & OCW3_SMM_SET)
				chip->special_mask = value & OCW3_SMM;
		} else {
			chip_ocw2(chip, value);
		}
		return;
	}
	switch (chip->state) {
	case PIC_ICW2:
		chip->base = value & 0xf8;
		if (!(chip->icw1 & ICW1_SINGLE))
			chip->state = PIC_ICW3;
		else
			chip->state = chip->icw1 & ICW1_NEED_ICW4 ? PIC_ICW4 : PIC_READY;
		break;
	case PIC_ICW3:
		chip->state = chip->icw1 & ICW1_NEED_ICW4 ? PIC_ICW4 : PIC_READY;
		break;
	case PIC_ICW4:
		chip->nested = value & ICW4_NESTED;
		chip->auto_eoi = value & ICW4_AUTO_EOI;
		chip->state = PIC_READY;
		break;
	default:
		chip->imr = value;
		break;
	}
}

/* A read after the poll command is the acknowledge cycle (data sheet, "The Poll Command"). */
static uint8_t chip_poll(struct pic *pic, unsigned int n)
{
	struct pic_chip *chip = &pic->chip[n];
	int input = chip_request(chip, n == 0);

	chip->poll = false;
	if (input < 0)
		return 0;
	chip_acknowledge(chip, input, n ? chip->elcr : master_level_mask(pic));
	return 0x80 | input;
}

static uint64_t pic_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct bus_region *region = opaque;
	struct pic *pic = (struct pic *)region->dev;
	unsigned int i, n = region - pic->region;
	struct pic_chip *chip = &pic->chip[n];
	uint64_t value = 0;
	uint8_t byte;

	pthread_mutex_lock(&pic->irq_lock);
	for (i = 0; i < size; i++) {
		if (chip->poll)
			byte = chip_poll(pic, n);
		else if ((offset + i) & 1)
			byte = chip->imr;
		else
			byte = chip->read_isr ? chip->isr : chip->irr;
		value |= (uint64_t)byte << (8 * i);
	}
	pic_update(pic);
	pthread_mutex_unlock(&pic->irq_lock);
	return value;
}

static void pic_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct bus_region *region = opaque;
	struct pic *pic = (struct pic *)region->dev;
	unsigned int i, n = region - pic->region;

	pthread_mutex_lock(&pic->irq_lock);
	for (i = 0; i < size; i++)
		chip_write(&pic->chip[n], (offset + i) & 1, value >> (8 * i));
	pic_update(pic);
	pthread_mutex_unlock(&pic->irq_lock);
}

static const struct bus_ops pic_ops = { .read = pic_read, .write = pic_write };

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pic *pic = opaque;
	uint64_t value = 0;
	unsigned int i;

	for (i = 0; i < size; i++)
		value |= (uint64_t)pic->chip[(offset + i) & 1].elcr << (8 * i);
	return value;
}

static void elcr_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pic *pic = opaque;
	unsigned int i;

	pthread_mutex_lock(&pic->irq_lock);
	for (i = 0; i < size; i++) {
		unsigned int n = (offset + i) & 1;

		pic->chip[n].elcr = (value >> (8 * i)) & (n ? ELCR_SLAVE : ELCR_MASTER);
	}
	pic_update(pic);
	pthread_mutex_unlock(&pic->irq_lock);
}

static const struct bus_ops elcr_ops = { .read = elcr_read, .write = elcr_write };

/* ------------------------------------------------------------------ */
/* The device                                                           */
/* ------------------------------------------------------------------ */
static int pic_create(struct device *dev, const char *path, const void *opaque)
{
	static const uint16_t port[2] = { 0x20, 0xa0 };
	struct pic *pic = (struct pic *)dev;
	const struct pic_args *args = opaque;
	struct bus *bus = &dev->vm->pio;
	unsigned int n;
	int err;

	pic->set_intr = args && args->intr ? args->intr : irq_intr_set;
	pthread_mutex_init(&pic->irq_lock, NULL);
	err = chipset_region_add(dev, bus, &pic->elcr_region, 0x4d0, 2, &elcr_ops);
	for (n = 0; n < 2 && !err; n++) {
		pic->region[n] = (struct bus_region) {
			.name = dev->id, .base = port[n], .len = 2, .ops = &pic_ops,
			.opaque = &pic->region[n], .dev = dev, .prio = BUS_PRIO_FIXED,
		};
		err = bus_region_add(bus, &pic->region[n]);
	}
	if (!err)
		return 0;
	log_error(dev->vm, "interrupt controller: %s", strerror(-err));
	for (n = 0; n < 2; n++)
		bus_region_remove(bus, &pic->region[n]);
	bus_region_remove(bus, &pic->elcr_region);
	pthread_mutex_destroy(&pic->irq_lock);
	return err;
}

static void pic_destroy(struct device *dev)
{
	struct pic *pic = (struct pic *)dev;

	bus_region_remove(&dev->vm->pio, &pic->region[0]);
	bus_region_remove(&dev->vm->pio, &pic->region[1]);
	bus_region_remove(&dev->vm->pio, &pic->elcr_region);
	pthread_mutex_destroy(&pic->irq_lock);
}

/* Inputs keep the level their devices drive; those reset themselves. */
static void pic_reset(struct device *dev)
{
	struct pic *pic = (struct pic *)dev;
	unsigned int n;

	pthread_mutex_lock(&pic->irq_lock);
	for (n = 0; n < 2; n++) {
		uint8_t lines = pic->chip[n].lines;

		memset(&pic->chip[n], 0, sizeof(pic->chip[n]));
		pic->chip[n].lines = lines;
		pic->chip[n].lowest = 7;
		pic->chip[n].imr = 0xff;
	}
	pic_update(pic);
	pthread_mutex_unlock(&pic->irq_lock);
}

static int pic_loaded(struct device *dev)
{
	struct pic *pic = (struct pic *)dev;
	unsigned int n;

	pthread_mutex_lock(&pic->irq_lock);
	for (n = 0; n < 2; n++) {
		struct pic_chip *chip = &pic->chip[n];

		chip->elcr &= n ? ELCR_SLAVE : ELCR_MASTER;
		chip->base &= 0xf8;
		chip->lowest &= 7;
		chip->state %= PIC_STATES;
		chipset_fix_bool(&chip->auto_eoi);
		chipset_fix_bool(&chip->rotate_auto_eoi);
		chipset_fix_bool(&chip->nested);
		chipset_fix_bool(&chip->special_mask);
		chipset_fix_bool(&chip->read_isr);
		chipset_fix_bool(&chip->poll);
	}
	/* The module's line is not part of this stream: say it again. */
	pic->intr = !(chip_request(&pic->chip[0], true) >= 0);
	pic_update(pic);
	pthread_mutex_unlock(&pic->irq_lock);
	return 0;
}

const struct device_type pic_type = {
	.name = "pic",
	.help = "pair of 8259A interrupt controllers",
	.size = sizeof(struct pic),
	.version = 1,
	CHIPSET_FIELDS(pic_fields),
	.create = pic_create,
	.destroy = pic_destroy,
	.reset = pic_reset,
	.loaded = pic_loaded,
};
