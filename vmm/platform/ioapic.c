// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioapic.c - I/O APIC with 24 inputs.
 *
 * Intel 82093AA data sheet (registers, redirection table); ICH9 data sheet
 * section 13.5 (version 0x20 with its EOI register).  Contract 1: a level-
 * triggered message carries data bit 15, and its EOI comes back as the vector.
 *
 * An edge seen while the entry is masked is latched and sent when the mask goes:
 * the timer check of Linux and the kexec of a guest depend on it.  A level is
 * sent once, then remote IRR holds it back until the EOI.
 */
#include <errno.h>
#include <string.h>

#include "vmm/platform/chipset.h"

#define PINS		24

#define WINDOW_SELECT	0x00
#define WINDOW_DATA	0x10
#define WINDOW_EOI	0x40
#define WINDOW_LEN	0x1000

#define REG_ID		0x00
#define REG_VERSION	0x01
#define REG_ARBITRATION	0x02
#define REG_ENTRY	0x10

#define VERSION		(0x20 | (PINS - 1) << 16)

#define RTE_VECTOR	0xffULL
#define RTE_MODE_SHIFT	8
#define RTE_LOGICAL	(1ULL << 11)
#define RTE_POLARITY	(1ULL << 13)
#define RTE_REMOTE_IRR	(1ULL << 14)
#define RTE_LEVEL	(1ULL << 15)
#define RTE_MASKED	(1ULL << 16)
#define RTE_DEST_SHIFT	56
/* Delivery status (bit 12) is never seen set, remote IRR is the chip's. */
#define RTE_WRITABLE	(0xff00000000000000ULL | RTE_MASKED | RTE_LEVEL | RTE_POLARITY | 0xfff)

struct ioapic {
	struct device dev;
	pthread_mutex_t irq_lock;	/* guards all below */
	uint8_t select;
	uint8_t id;
	uint64_t entry[PINS];
	uint32_t level;			/* of the inputs */
	uint32_t latch;			/* edges not yet sent */
	int (*send)(struct vm *vm, uint64_t address, uint32_t data);
	struct bus_region region;
};

static const struct device_field ioapic_fields[] = {
	DEVICE_FIELD(1, 1, struct ioapic, select),
	DEVICE_FIELD(2, 1, struct ioapic, id),
	DEVICE_FIELD_ARRAY(3, 1, struct ioapic, entry),
	DEVICE_FIELD(4, 1, struct ioapic, level),
	DEVICE_FIELD(5, 1, struct ioapic, latch),
};

/* Sends what an input has to say, if its entry lets it.  irq_lock held. */
static void pin_service(struct ioapic *ioapic, unsigned int pin)
{
	uint64_t entry = ioapic->entry[pin];
	bool level = entry & RTE_LEVEL;
	uint64_t address;
	uint32_t data;
	int sent;

	if (entry & RTE_MASKED)
		return;
	if (level ? (entry & RTE_REMOTE_IRR) || !(ioapic->level & 1U << pin)
		  : !(ioapic->latch & 1U << pin))
		return;

	address = CHIPSET_LAPIC_BASE | (entry >> RTE_DEST_SHIFT) << 12;
	if (entry & RTE_LOGICAL)
		address |= 1 << 2;
	data = entry & (RTE_VECTOR | 7 << RTE_MODE_SHIFT);
	if (level)
		data |= 1 << 15 | 1 << 14;
	ioapic->latch &= ~(1U << pin);
	sent = ioapic->send(ioapic->dev.vm, address, data);
	/* Nobody took it: then no EOI will come, and the next event tries again. */
	if (level && sent > 0)
		ioapic->entry[pin] |= RTE_REMOTE_IRR;
}

void ioapic_input(void *opaque, unsigned int pin, bool level)
{
	struct ioapic *ioapic = opaque;
	uint32_t bit;

	if (pin >= PINS)
		return;
	bit = 1U << pin;
	pthread_mutex_lock(&ioapic->irq_lock);
	if (level && !(ioapic->level & bit) && !(ioapic->entry[pin] & RTE_LEVEL))
		ioapic->latch |= bit;
	ioapic->level = level ? ioapic->level | bit : ioapic->level & ~bit;
	pin_service(ioapic, pin);
	pthread_mutex_unlock(&ioapic->irq_lock);
}

static void vector_eoi(struct ioapic *ioapic, uint8_t vector)
{
	unsigned int pin;

	for (pin = 0; pin < PINS; pin++) {
		uint64_t entry = ioapic->entry[pin];

		if ((entry & RTE_VECTOR) != vector || !(entry & RTE_LEVEL) ||
		    !(entry & RTE_REMOTE_IRR))
			continue;
		ioapic->entry[pin] &= ~RTE_REMOTE_IRR;
		pin_service(ioapic, pin);
	}
}

void ioapic_eoi(struct device *dev, uint8_t vector)
{
	struct ioapic *ioapic = (struct ioapic *)dev;

	pthread_mutex_lock(&ioapic->irq_lock);
	vector_eoi(ioapic, vector);
	pthread_mutex_unlock(&ioapic->irq_lock);
}

/* ------------------------------------------------------------------ */
/* Registers                                                            */
/* ------------------------------------------------------------------ */
static uint32_t reg_read(const struct ioapic *ioapic)
{
	unsigned int n = ioapic->select - REG_ENTRY;

	switch (ioapic->select) {
	case REG_ID:
	case REG_ARBITRATION:
		return (uint32_t)ioapic->id << 24;
	case REG_VERSION:
		return VERSION;
	default:
		if (ioapic->select < REG_ENTRY || n / 2 >= PINS)
			return 0;
		return ioapic->entry[n / 2] >> (n & 1 ? 32 : 0);
	}
}

static void reg_write(struct ioapic *ioapic, uint32_t value)
{
	unsigned int n = ioapic->select - REG_ENTRY, pin = n / 2;
	uint64_t entry, mask;

	if (ioapic->select == REG_ID) {
		ioapic->id = value >> 24 & 0x0f;
		return;
	}
	if (ioapic->select < REG_ENTRY || pin >= PINS)
		return;
	mask = RTE_WRITABLE & (n & 1 ? 0xffffffff00000000ULL : 0xffffffffULL);
	entry = (ioapic->entry[pin] & ~mask) | ((uint64_t)value << (n & 1 ? 32 : 0) & mask);
	/* An edge entry has no remote IRR: guests switch to edge and back to clear it. */
	if (!(entry & RTE_LEVEL))
		entry &= ~RTE_REMOTE_IRR;
	ioapic->entry[pin] = entry;
	if (entry & RTE_LEVEL)
		ioapic->latch &= ~(1U << pin);
	pin_service(ioapic, pin);
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct ioapic *ioapic = opaque;
	uint32_t value = 0;

	/* Registers are 32 bits wide and 16 bytes apart; a narrow read gets its part. */
	pthread_mutex_lock(&ioapic->irq_lock);
	if ((offset & ~3ULL) == WINDOW_SELECT)
		value = ioapic->select;
	else if ((offset & ~3ULL) == WINDOW_DATA)
		value = reg_read(ioapic);
	pthread_mutex_unlock(&ioapic->irq_lock);
	return value >> (8 * (offset & 3));
}

static void ioapic_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct ioapic *ioapic = opaque;

	pthread_mutex_lock(&ioapic->irq_lock);
	if (offset == WINDOW_SELECT)
		ioapic->select = value;
	else if (offset == WINDOW_DATA && size >= 4)
		reg_write(ioapic, value);
	else if (offset == WINDOW_EOI)
		vector_eoi(ioapic, value);
	pthread_mutex_unlock(&ioapic->irq_lock);
}

static const struct bus_ops ioapic_ops = { .read = ioapic_read, .write = ioapic_write };

/* ------------------------------------------------------------------ */
/* The device                                                           */
/* ------------------------------------------------------------------ */
static int ioapic_create(struct device *dev, const char *path, const void *opaque)
{
	struct ioapic *ioapic = (struct ioapic *)dev;
	const struct ioapic_args *args = opaque;
	int err;

	ioapic->send = args && args->send ? args->send : irq_msi_send;
	pthread_mutex_init(&ioapic->irq_lock, NULL);
	err = chipset_region_add(dev, &dev->vm->mmio, &ioapic->region, CHIPSET_IOAPIC_BASE,
				 WINDOW_LEN, &ioapic_ops);
	if (!err)
		return 0;
	log_error(dev->vm, "I/O APIC: %s", strerror(-err));
	pthread_mutex_destroy(&ioapic->irq_lock);
	return err;
}

static void ioapic_destroy(struct device *dev)
{
	struct ioapic *ioapic = (struct ioapic *)dev;

	bus_region_remove(&dev->vm->mmio, &ioapic->region);
	pthread_mutex_destroy(&ioapic->irq_lock);
}

static void ioapic_reset(struct device *dev)
{
	struct ioapic *ioapic = (struct ioapic *)dev;
	unsigned int pin;

	pthread_mutex_lock(&ioapic->irq_lock);
	ioapic->select = 0;
	ioapic->id = CHIPSET_IOAPIC_ID;
	ioapic->latch = 0;
	for (pin = 0; pin < PINS; pin++)
		ioapic->entry[pin] = RTE_MASKED;
	pthread_mutex_unlock(&ioapic->irq_lock);
}

static int ioapic_loaded(struct device *dev)
{
	struct ioapic *ioapic = (struct ioapic *)dev;
	unsigned int pin;

	pthread_mutex_lock(&ioapic->irq_lock);
	ioapic->id &= 0x0f;
	ioapic->level &= (1U << PINS) - 1;
	ioapic->latch &= (1U << PINS) - 1;
	for (pin = 0; pin < PINS; pin++)
		ioapic->entry[pin] &= RTE_WRITABLE | RTE_REMOTE_IRR;
	pthread_mutex_unlock(&ioapic->irq_lock);
	return 0;
}

const struct device_type ioapic_type = {
	.name = "ioapic",
	.help = "I/O APIC, 24 inputs",
	.size = sizeof(struct ioapic),
	.version = 1,
	CHIPSET_FIELDS(ioapic_fields),
	.create = ioapic_create,
	.destroy = ioapic_destroy,
	.reset = ioapic_reset,
	.loaded = ioapic_loaded,
};
