// SPDX-License-Identifier: GPL-2.0-only
/*
 * lpc.c - the LPC bridge at 00:1f.0 with ACPI power management and PIRQ routing.
 *
 * Intel ICH9 data sheet sections 13.1 (configuration: PMBASE 0x40, ACPI_CNTL 0x44,
 * PIRQ routes 0x60-0x63 and 0x68-0x6B) and 13.8.3 (PM1, PM timer, GPE0); ACPI 6.4
 * section 4.8 (fixed hardware).
 *
 * There is no SMM: SCI_EN always reads as one, SMI_EN and SMI_STS as zero.  The
 * sleep types are those firmware for emulated Q35 machines expects: 0 is S5.  S3
 * and S4 are not offered.  The PM timer has 24 bits.
 */
#include <errno.h>
#include <string.h>

#include "vmm/pci/pci.h"
#include "vmm/platform/chipset.h"

#define PMBASE		0x40
#define ACPI_CNTL	0x44
#define  ACPI_ENABLE	0x80
#define PIRQ_AD		0x60
#define PIRQ_EH		0x68
#define  PIRQ_OFF	0x80

#define PM1_STATUS	0x00
#define PM1_ENABLE	0x02
#define PM1_CONTROL	0x04
#define PM_TIMER	0x08
#define GPE0_STATUS	0x20
#define GPE0_ENABLE	0x28
#define PM_REGS		0x30	/* SMI and what follows reads zero */

#define PM1_TIMER	0x0001
#define PM1_GLOBAL	0x0020
#define PM1_POWER	0x0100
#define PM1_SLEEP	0x0200
#define PM1_RTC		0x0400
#define PM1_WAKE	0x8000
#define PM1_STATUS_BITS	(PM1_TIMER | PM1_GLOBAL | PM1_POWER | PM1_SLEEP | PM1_RTC | PM1_WAKE)
#define PM1_ENABLE_BITS	(PM1_TIMER | PM1_GLOBAL | PM1_POWER | PM1_SLEEP | PM1_RTC)

#define CNT_SCI_EN	0x0001
#define CNT_STORED	0x1c02	/* bus master reload, sleep type */
#define CNT_SLEEP_TYPE	10
#define CNT_SLEEP	0x2000
#define SLEEP_S5	0	/* what the DSDT's _S5 says */
#define SLEEP_S5_ICH9	7

#define PM_HZ		3579545ULL
#define PM_NS		1000000000ULL
#define PM_OVERFLOW	0x800000ULL	/* half the 24-bit range: the top bit changes */

struct lpc {
	struct pci_device pci;
	uint16_t status;
	uint16_t enable;
	uint32_t control;
	uint64_t overflow_at;		/* in PM timer ticks of the guest clock */
	struct irq_line sci;
	struct device_timer timer;
	struct bus_region pm_region;
	bool pm_mapped;

	pthread_mutex_t irq_lock;	/* guards what follows */
	uint8_t route[8];		/* copy of the PIRQ registers */
	uint8_t pirq_level;		/* of GSI 16..23 */
	void (*pirq)(void *opaque, uint16_t irqs);
	void *pirq_opaque;
};

static const struct device_field lpc_fields[] = {
	DEVICE_FIELD(1, 1, struct lpc, status),
	DEVICE_FIELD(2, 1, struct lpc, enable),
	DEVICE_FIELD(3, 1, struct lpc, control),
	DEVICE_FIELD(4, 1, struct lpc, overflow_at),
	PCI_DEVICE_FIELDS(struct lpc, pci),
};

/* ------------------------------------------------------------------ */
/* PCI interrupts while the guest uses the 8259s                        */
/* ------------------------------------------------------------------ */
static void pirq_update(struct lpc *lpc)
{
	uint16_t irqs = 0;
	unsigned int i;

	for (i = 0; i < 8; i++)
		if ((lpc->pirq_level & 1 << i) && !(lpc->route[i] & PIRQ_OFF))
			irqs |= 1U << (lpc->route[i] & 15);
	lpc->pirq(lpc->pirq_opaque, irqs);
}

void lpc_pirq_input(void *opaque, unsigned int gsi, bool level)
{
	struct lpc *lpc = opaque;
	uint8_t bit;

	if (gsi < 16 || gsi > 23)
		return;
	bit = 1 << (gsi - 16);
	pthread_mutex_lock(&lpc->irq_lock);
	lpc->pirq_level = level ? lpc->pirq_level | bit : lpc->pirq_level & ~bit;
	pirq_update(lpc);
	pthread_mutex_unlock(&lpc->irq_lock);
}

static void routes_update(struct lpc *lpc)
{
	unsigned int i;

	pthread_mutex_lock(&lpc->irq_lock);
	for (i = 0; i < 8; i++)
		lpc->route[i] = lpc->pci.config[i < 4 ? PIRQ_AD + i : PIRQ_EH + i - 4];
	pirq_update(lpc);
	pthread_mutex_unlock(&lpc->irq_lock);
}

/* ------------------------------------------------------------------ */
/* Power management                                                     */
/* ------------------------------------------------------------------ */
static uint64_t pm_ticks(struct lpc *lpc)
{
	return (unsigned __int128)vm_clock_ns(lpc->pci.dev.vm) * PM_HZ / PM_NS;
}

static void sci_update(struct lpc *lpc)
{
	irq_line_set(&lpc->sci, lpc->status & lpc->enable & PM1_ENABLE_BITS);
}

/* The top bit of the timer changed since it was last looked at? */
static void overflow_check(struct lpc *lpc)
{
	uint64_t ticks = pm_ticks(lpc);

	if (ticks < lpc->overflow_at)
		return;
	lpc->status |= PM1_TIMER;
	lpc->overflow_at = (ticks / PM_OVERFLOW + 1) * PM_OVERFLOW;
}

static void overflow_arm(struct lpc *lpc)
{
	if ((lpc->enable & PM1_TIMER) && !(lpc->status & PM1_TIMER))
		device_timer_arm(&lpc->timer,
				 ((unsigned __int128)lpc->overflow_at * PM_NS + PM_HZ - 1) / PM_HZ);
	else
		device_timer_cancel(&lpc->timer);
}

static void lpc_timer(struct device *dev, struct device_timer *timer)
{
	struct lpc *lpc = (struct lpc *)dev;

	overflow_check(lpc);
	sci_update(lpc);
	overflow_arm(lpc);
}

void lpc_power_button(struct device *dev)
{
	struct lpc *lpc = (struct lpc *)dev;

	device_lock(dev);
	lpc->status |= PM1_POWER;
	sci_update(lpc);
	device_unlock(dev);
}

static void sleep_enter(struct lpc *lpc)
{
	unsigned int type = lpc->control >> CNT_SLEEP_TYPE & 7;

	if (type == SLEEP_S5 || type == SLEEP_S5_ICH9)
		vm_request_stop(lpc->pci.dev.vm, VM_CAUSE_POWER_OFF, 0, "ACPI S5");
	else
		device_warn(&lpc->pci.dev, "sleep type %u is not offered", type);
}

/* The registers as bytes, so that accesses of any size and place work. */
static uint8_t pm_byte_read(struct lpc *lpc, unsigned int reg)
{
	switch (reg & ~1U) {
	case PM1_STATUS:
		return lpc->status >> (8 * (reg & 1));
	case PM1_ENABLE:
		return lpc->enable >> (8 * (reg & 1));
	case PM1_CONTROL:
		return (lpc->control | CNT_SCI_EN) >> (8 * (reg & 1));
	default:
		return 0;
	}
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct lpc *lpc = opaque;
	uint64_t value = 0;
	unsigned int i;

	if (offset >= PM_TIMER && offset < PM_TIMER + 4)
		return (pm_ticks(lpc) & 0xffffff) >> (8 * (offset - PM_TIMER));
	overflow_check(lpc);
	for (i = 0; i < size; i++)
		value |= (uint64_t)pm_byte_read(lpc, offset + i) << (8 * i);
	return value;
}

static void pm_byte_write(struct lpc *lpc, unsigned int reg, uint8_t byte)
{
	unsigned int shift = 8 * (reg & 1);
	uint16_t value = byte << shift, mask = 0xff << shift;

	switch (reg & ~1U) {
	case PM1_STATUS:
		lpc->status &= ~value;
		break;
	case PM1_ENABLE:
		lpc->enable = ((lpc->enable & ~mask) | value) & PM1_ENABLE_BITS;
		break;
	case PM1_CONTROL:
		lpc->control = ((lpc->control & ~mask) | value) & CNT_STORED;
		if (value & CNT_SLEEP)
			sleep_enter(lpc);
		break;
	default:	/* no general-purpose event is wired; the timer is read-only */
		break;
	}
}

static void pm_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct lpc *lpc = opaque;
	unsigned int i;

	overflow_check(lpc);
	for (i = 0; i < size; i++)
		pm_byte_write(lpc, offset + i, value >> (8 * i));
	sci_update(lpc);
	overflow_arm(lpc);
}

static const struct bus_ops pm_ops = { .read = pm_read, .write = pm_write };

static void pm_update(struct lpc *lpc)
{
	struct bus *bus = &lpc->pci.dev.vm->pio;
	uint64_t base = pci_config_word(&lpc->pci, PMBASE) & 0xff80;
	bool on = (lpc->pci.config[ACPI_CNTL] & ACPI_ENABLE) && base;

	if (lpc->pm_mapped && on) {
		if (lpc->pm_region.base != base)
			bus_region_move(bus, &lpc->pm_region, base);
		return;
	}
	if (lpc->pm_mapped)
		bus_region_remove(bus, &lpc->pm_region);
	lpc->pm_region.base = base;
	lpc->pm_mapped = on && !bus_region_add(bus, &lpc->pm_region);
}

static void lpc_config_written(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	struct lpc *lpc = (struct lpc *)pci;

	pm_update(lpc);
	routes_update(lpc);
}

static const struct pci_ops lpc_ops = { .config_written = lpc_config_written };

/* ------------------------------------------------------------------ */
/* The device                                                           */
/* ------------------------------------------------------------------ */
static int lpc_create(struct device *dev, const char *path, const void *opaque)
{
	static const struct pci_ident ident = {
		.vendor = 0x8086, .device = 0x2918, .revision = 2,
		.subsystem_vendor = 0x1af4, .subsystem = 0x1100,
		.class_code = 0x060100,
	};
	struct lpc *lpc = (struct lpc *)dev;
	struct pci_device *pci = &lpc->pci;
	const struct lpc_args *args = opaque;
	unsigned int i;
	int err;

	lpc->pirq = args->pirq;
	lpc->pirq_opaque = args->opaque;
	pthread_mutex_init(&lpc->irq_lock, NULL);
	device_timer_init(&lpc->timer, dev, lpc_timer);
	err = irq_line_init(&lpc->sci, dev->vm, CHIPSET_SCI_IRQ);
	if (!err)
		err = pci_device_init(pci, &ident, &lpc_ops, PCI_SLOTS - 1);
	if (err) {
		log_error(dev->vm, "LPC bridge: %s", strerror(-err));
		pthread_mutex_destroy(&lpc->irq_lock);
		return err;
	}
	pci_config_set_long(pci, PMBASE, 1);
	pci->writable[PMBASE] = 0x80;
	pci->writable[PMBASE + 1] = 0xff;
	pci->writable[ACPI_CNTL] = ACPI_ENABLE;
	for (i = 0; i < 4; i++) {
		pci->config[PIRQ_AD + i] = PIRQ_OFF;
		pci->config[PIRQ_EH + i] = PIRQ_OFF;
		pci->writable[PIRQ_AD + i] = 0x8f;
		pci->writable[PIRQ_EH + i] = 0x8f;
	}
	lpc->pm_region = (struct bus_region) {
		.name = "acpi-pm", .len = CHIPSET_PM_LEN, .ops = &pm_ops, .opaque = lpc,
		.dev = dev, .prio = BUS_PRIO_FIXED,
	};
	return 0;
}

static void lpc_destroy(struct device *dev)
{
	struct lpc *lpc = (struct lpc *)dev;

	device_timer_cancel(&lpc->timer);
	if (lpc->pm_mapped)
		bus_region_remove(&dev->vm->pio, &lpc->pm_region);
	irq_line_set(&lpc->sci, false);
	pci_device_destroy(&lpc->pci);
	pthread_mutex_destroy(&lpc->irq_lock);
}

static void lpc_reset(struct device *dev)
{
	struct lpc *lpc = (struct lpc *)dev;

	pci_device_reset(&lpc->pci);
	lpc->status = 0;
	lpc->enable = 0;
	lpc->control = 0;
	lpc->overflow_at = (pm_ticks(lpc) / PM_OVERFLOW + 1) * PM_OVERFLOW;
	device_timer_cancel(&lpc->timer);
	sci_update(lpc);
	pm_update(lpc);
	routes_update(lpc);
}

void lpc_boot_prepare(struct device *dev)
{
	struct lpc *lpc = (struct lpc *)dev;
	unsigned int i;

	pci_config_write(&lpc->pci, PMBASE, 2, CHIPSET_PM_BASE);
	pci_config_write(&lpc->pci, ACPI_CNTL, 1, ACPI_ENABLE);
	for (i = 0; i < 8; i++)
		pci_config_write(&lpc->pci, i < 4 ? PIRQ_AD + i : PIRQ_EH + i - 4, 1,
				 pci_intx_irq(16 + i));
}

static void lpc_saving(struct device *dev)
{
	pci_device_saving(&((struct lpc *)dev)->pci);
}

static int lpc_loaded(struct device *dev)
{
	struct lpc *lpc = (struct lpc *)dev;
	int err = pci_device_loaded(&lpc->pci);

	if (err)
		return err;
	lpc->status &= PM1_STATUS_BITS;
	lpc->enable &= PM1_ENABLE_BITS;
	lpc->control &= CNT_STORED;
	/* At most one period ahead of the clock. */
	if (lpc->overflow_at > pm_ticks(lpc) + 2 * PM_OVERFLOW)
		return -EINVAL;
	pm_update(lpc);
	routes_update(lpc);
	sci_update(lpc);
	overflow_arm(lpc);
	return 0;
}

const struct device_type lpc_type = {
	.name = "lpc",
	.help = "LPC bridge with ACPI power management (ICH9 identity)",
	.size = sizeof(struct lpc),
	.version = 1,
	CHIPSET_FIELDS(lpc_fields),
	.create = lpc_create,
	.destroy = lpc_destroy,
	.reset = lpc_reset,
	.saving = lpc_saving,
	.loaded = lpc_loaded,
};
