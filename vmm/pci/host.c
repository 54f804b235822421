// SPDX-License-Identifier: GPL-2.0-only
/*
 * host.c - the host bridge at 00:00.0 and the two ways to configuration space.
 *
 * Intel 82G33/Q35 (8086:29C0) as far as firmware looks: PCIEXBAR (0x60), PAM
 * (0x90-0x96), SMRAM (0x9D).  PCI Local Bus 3.0 section 3.2.2.3.2 (ports 0xCF8
 * and 0xCFC), PCI Express Base 3.0 section 7.2.2 (ECAM).  The reset control
 * register of the ICH9 (0xCF9, section 13.7.5) is here because its port lies
 * inside the address register: a 32-bit access there is PCI's, a byte is not.
 *
 * There is bus 0 only, and each slot has function 0 only.  PAM holds what is
 * written, without effect: the RAM at 0xC0000 is always RAM.
 */
#include <errno.h>
#include <string.h>

#include "vmm/pci/internal.h"
#include "vmm/vm.h"

#define HOST_VENDOR		0x8086
#define HOST_DEVICE		0x29c0
#define PCIEXBAR		0x60
#define  PCIEXBAR_ENABLE	0x1
#define  PCIEXBAR_WRITABLE	0xff0000007ULL	/* base bits 35:28, size, enable */
#define PAM			0x90
#define PAM_COUNT		7
#define SMRAM			0x9d

#define ADDRESS_PORT		0xcf8
#define  ADDRESS_ENABLE		0x80000000U
#define RESET_PORT_OFFSET	1
#define  RESET_SYSTEM		0x02
#define  RESET_CPU		0x04
#define  RESET_FULL		0x08
#define DATA_PORT		0xcfc

struct pci_host {
	struct pci_device pci;		/* 00:00.0 */
	struct pci_device *slot[PCI_SLOTS];	/* fixed while vCPUs run */
	uint32_t address;
	uint8_t reset_control;
	struct bus_region address_region;
	struct bus_region data_region;
	struct bus_region ecam_region;
	bool ecam_on;
};

static const struct device_field pci_host_fields[] = {
	DEVICE_FIELD(1, 1, struct pci_host, address),
	DEVICE_FIELD(2, 1, struct pci_host, reset_control),
	PCI_DEVICE_FIELDS(struct pci_host, pci),
};

/* The host's lock is held by the dispatcher; a function's own is taken here. */
static uint32_t host_read(struct pci_host *host, unsigned int bus, unsigned int devfn,
			  unsigned int offset, unsigned int size)
{
	struct pci_device *pci = bus || (devfn & 7) ? NULL : host->slot[devfn >> 3];

	if (!pci)
		return ~0U;
	if (pci == &host->pci)
		return pci_config_read_locked(pci, offset, size);
	return pci_config_read(pci, offset, size);
}

static void host_write(struct pci_host *host, unsigned int bus, unsigned int devfn,
		       unsigned int offset, unsigned int size, uint32_t value)
{
	struct pci_device *pci = bus || (devfn & 7) ? NULL : host->slot[devfn >> 3];

	if (!pci)
		return;
	if (pci == &host->pci)
		pci_config_write_locked(pci, offset, size, value);
	else
		pci_config_write(pci, offset, size, value);
}

/* ------------------------------------------------------------------ */
/* Ports 0xCF8 to 0xCFF                                                 */
/* ------------------------------------------------------------------ */
static uint64_t address_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_host *host = opaque;

	if (size == 4 && offset == 0)
		return host->address;
	if (size == 1 && offset == RESET_PORT_OFFSET)
		return host->reset_control;
	return ~0ULL;
}

static void address_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci_host *host = opaque;
	bool rising;

	if (size == 4 && offset == 0) {
		host->address = value & 0x80fffffc;
		return;
	}
	if (size != 1 || offset != RESET_PORT_OFFSET)
		return;
	rising = (value & RESET_CPU) && !(host->reset_control & RESET_CPU);
	host->reset_control = value & (RESET_SYSTEM | RESET_CPU | RESET_FULL);
	if (rising)
		vm_request_reset(host->pci.dev.vm, "reset control register 0xcf9");
}

static const struct bus_ops address_ops = { .read = address_read, .write = address_write };

static uint64_t data_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_host *host = opaque;
	uint32_t a = host->address;

	if (!(a & ADDRESS_ENABLE))
		return ~0ULL;
	return host_read(host, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + offset, size);
}

static void data_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci_host *host = opaque;
	uint32_t a = host->address;

	if (a & ADDRESS_ENABLE)
		host_write(host, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + offset, size, value);
}

static const struct bus_ops data_ops = { .read = data_read, .write = data_write };

/* ------------------------------------------------------------------ */
/* ECAM                                                                 */
/* ------------------------------------------------------------------ */
static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_host *host = opaque;
	uint64_t value = 0;
	unsigned int i;

	/* A word that crosses a function's 4 KiB is nothing hardware answers well. */
	if ((offset & 0xfff) + size > 0x1000)
		return ~0ULL;
	for (i = 0; i < size; i += 4) {
		unsigned int part = size - i < 4 ? size - i : 4;

		value |= (uint64_t)host_read(host, offset >> 20, offset >> 12 & 0xff,
					     (offset & 0xfff) + i, part) << (8 * i);
	}
	return value;
}

static void ecam_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci_host *host = opaque;
	unsigned int i;

	if ((offset & 0xfff) + size > 0x1000)
		return;
	for (i = 0; i < size; i += 4)
		host_write(host, offset >> 20, offset >> 12 & 0xff, (offset & 0xfff) + i,
			   size - i < 4 ? size - i : 4, value >> (8 * i));
}

static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

static void ecam_update(struct pci_host *host)
{
	struct bus *bus = &host->pci.dev.vm->mmio;
	uint64_t reg = pci_config_long(&host->pci, PCIEXBAR) |
		       (uint64_t)pci_config_long(&host->pci, PCIEXBAR + 4) << 32;
	uint64_t base = reg & 0xff0000000ULL;
	/* Size codes: 256, 128, 64 MiB; 3 is reserved and read as the smallest. */
	unsigned int code = reg >> 1 & 3;
	uint64_t len = MEMORY_ECAM_SIZE >> (code < 3 ? code : 2);
	bool on = reg & PCIEXBAR_ENABLE;

	if (on && host->ecam_on && host->ecam_region.len == len) {
		if (host->ecam_region.base != base)
			bus_region_move(bus, &host->ecam_region, base);
		return;
	}
	if (host->ecam_on)
		bus_region_remove(bus, &host->ecam_region);
	host->ecam_on = false;
	if (!on)
		return;
	host->ecam_region.base = base;
	host->ecam_region.len = len;
	host->ecam_on = !bus_region_add(bus, &host->ecam_region);
}

static void host_config_written(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	if (offset < PCIEXBAR + 8 && offset + size > PCIEXBAR)
		ecam_update((struct pci_host *)pci);
}

static const struct pci_ops host_ops = { .config_written = host_config_written };

/* ------------------------------------------------------------------ */
/* Slots                                                                */
/* ------------------------------------------------------------------ */
int pci_host_attach(struct device *dev, struct pci_device *pci, int slot)
{
	struct pci_host *host = (struct pci_host *)dev;

	if (slot == PCI_SLOT_ANY) {
		/* 31 is the LPC bridge's, 0 the host's own. */
		for (slot = 1; slot < PCI_SLOTS - 1 && host->slot[slot]; slot++)
			;
		if (slot == PCI_SLOTS - 1)
			return -ENOSPC;
	}
	if (slot < 0 || slot >= PCI_SLOTS)
		return -EINVAL;
	if (host->slot[slot])
		return -EBUSY;
	host->slot[slot] = pci;
	pci->slot = slot;
	return 0;
}

void pci_host_detach(struct device *dev, struct pci_device *pci)
{
	struct pci_host *host = (struct pci_host *)dev;

	if (pci->slot < PCI_SLOTS && host->slot[pci->slot] == pci)
		host->slot[pci->slot] = NULL;
}

struct pci_device *pci_host_function(struct device *dev, unsigned int slot)
{
	struct pci_host *host = (struct pci_host *)dev;

	return slot < PCI_SLOTS ? host->slot[slot] : NULL;
}

/* ------------------------------------------------------------------ */
/* The device                                                           */
/* ------------------------------------------------------------------ */
static int pci_host_create(struct device *dev, const char *path, const void *args)
{
	static const struct pci_ident ident = {
		.vendor = HOST_VENDOR, .device = HOST_DEVICE,
		.subsystem_vendor = 0x1af4, .subsystem = 0x1100,
		.class_code = 0x060000,
	};
	struct pci_host *host = (struct pci_host *)dev;
	struct pci_device *pci = &host->pci;
	struct vm *vm = dev->vm;
	unsigned int i;
	int err;

	vm->pci_host = dev;
	err = pci_device_init(pci, &ident, &host_ops, 0);
	if (err)
		goto fail;
	pci_config_set_long(pci, PCIEXBAR, MEMORY_ECAM_BASE | PCIEXBAR_ENABLE);
	for (i = 0; i < 8; i++)
		pci->writable[PCIEXBAR + i] = PCIEXBAR_WRITABLE >> (8 * i);
	/* Everything reads and writes RAM, as firmware would leave it. */
	pci->config[PAM] = 0x30;
	pci->writable[PAM] = 0x30;
	for (i = 1; i < PAM_COUNT; i++) {
		pci->config[PAM + i] = 0x33;
		pci->writable[PAM + i] = 0x33;
	}
	pci->config[SMRAM] = 0x02;

	host->address_region = (struct bus_region) {
		.name = "pci-address", .base = ADDRESS_PORT, .len = 4, .ops = &address_ops,
		.opaque = host, .dev = dev, .prio = BUS_PRIO_FIXED,
	};
	host->data_region = (struct bus_region) {
		.name = "pci-data", .base = DATA_PORT, .len = 4, .ops = &data_ops,
		.opaque = host, .dev = dev, .prio = BUS_PRIO_FIXED,
	};
	host->ecam_region = (struct bus_region) {
		.name = "pci-ecam", .ops = &ecam_ops, .opaque = host, .dev = dev,
		.prio = BUS_PRIO_FIXED,
	};
	err = bus_region_add(&vm->pio, &host->address_region);
	if (!err)
		err = bus_region_add(&vm->pio, &host->data_region);
	if (!err)
		return 0;
	bus_region_remove(&vm->pio, &host->address_region);
fail:
	vm->pci_host = NULL;
	log_error(vm, "PCI host bridge: %s", strerror(-err));
	return err;
}

static void pci_host_destroy(struct device *dev)
{
	struct pci_host *host = (struct pci_host *)dev;

	if (host->ecam_on)
		bus_region_remove(&dev->vm->mmio, &host->ecam_region);
	bus_region_remove(&dev->vm->pio, &host->data_region);
	bus_region_remove(&dev->vm->pio, &host->address_region);
	pci_device_destroy(&host->pci);
	dev->vm->pci_host = NULL;
}

static void pci_host_reset(struct device *dev)
{
	struct pci_host *host = (struct pci_host *)dev;

	pci_device_reset(&host->pci);
	host->address = 0;
	host->reset_control = 0;
	ecam_update(host);
}

static void pci_host_saving(struct device *dev)
{
	pci_device_saving(&((struct pci_host *)dev)->pci);
}

static int pci_host_loaded(struct device *dev)
{
	struct pci_host *host = (struct pci_host *)dev;
	int err = pci_device_loaded(&host->pci);

	if (err)
		return err;
	host->address &= 0x80fffffc;
	host->reset_control &= RESET_SYSTEM | RESET_CPU | RESET_FULL;
	ecam_update(host);
	return 0;
}

const struct device_type pci_host_type = {
	.name = "pci-host",
	.help = "PCI host bridge (Q35 identity)",
	.size = sizeof(struct pci_host),
	.version = 1,
	.fields = pci_host_fields,
	.nr_fields = sizeof(pci_host_fields) / sizeof(pci_host_fields[0]),
	.create = pci_host_create,
	.destroy = pci_host_destroy,
	.reset = pci_host_reset,
	.saving = pci_host_saving,
	.loaded = pci_host_loaded,
};
