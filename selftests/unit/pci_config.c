// SPDX-License-Identifier: GPL-2.0-only
/*
 * pci_config.c - the PCI core of vmm/pci with a function of the test's own behind it: enumeration
 * and BAR sizing as Linux does them, moving, decoding, INTx, MSI-X, reset, save and load, and a
 * guest that writes anything anywhere.
 */
#include "platform_vm.h"
#include "vmm/pci/pci.h"

#define ECAM	0xb0000000ULL

struct card {
	struct pci_device pci;
	uint64_t wrote[PCI_BARS];
	unsigned int changed[PCI_BARS];
	unsigned int written, msix_changed;
};

static struct vm *vm;
static struct card card, second;
static bool gsi[IRQ_PINS];

static void sink(void *opaque, unsigned int pin, bool up)
{
	gsi[pin] = up;
}

static uint64_t card_read(void *opaque, uint64_t offset, unsigned int size)
{
	return 0xc0de0000 + offset;
}

static void card_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	*(uint64_t *)opaque = value << 16 | offset;
}

static const struct bus_ops card_ops = { .read = card_read, .write = card_write };

static void bar_changed(struct pci_device *pci, unsigned int bar)
{
	((struct card *)pci)->changed[bar]++;
}

static void config_written(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	((struct card *)pci)->written++;
}

static void msix_changed(struct pci_device *pci)
{
	((struct card *)pci)->msix_changed++;
}

static const struct pci_ops pci_ops = {
	.bar_changed = bar_changed, .config_written = config_written,
	.msix_changed = msix_changed,
};

static const struct device_field card_fields[] = { PCI_DEVICE_FIELDS(struct card, pci) };

static void card_reset(struct device *dev)
{
	pci_device_reset((struct pci_device *)dev);
}

static void card_saving(struct device *dev)
{
	pci_device_saving((struct pci_device *)dev);
}

static int card_loaded(struct device *dev)
{
	return pci_device_loaded((struct pci_device *)dev);
}

static const struct device_type card_type = {
	.name = "card", .size = sizeof(struct card), .version = 1, .fields = card_fields,
	.nr_fields = sizeof(card_fields) / sizeof(card_fields[0]),
	.reset = card_reset, .saving = card_saving, .loaded = card_loaded,
};

static void card_create(struct card *c, const char *id, int slot)
{
	static const struct pci_ident ident = {
		.vendor = 0x1af4, .device = 0x1041, .subsystem_vendor = 0x1af4,
		.subsystem = 0x40, .class_code = 0x020000, .revision = 1, .intx = true,
		.express = true,
	};

	c->pci.dev.type = &card_type;
	c->pci.dev.vm = vm;
	strcpy(c->pci.dev.id, id);
	pthread_mutex_init(&c->pci.dev.lock, NULL);
	if (pci_device_init(&c->pci, &ident, &pci_ops, slot) ||
	    pci_bar_add(&c->pci, 0, PCI_BAR_IO, 64, &card_ops, &c->wrote[0]) ||
	    pci_bar_add(&c->pci, 1, PCI_BAR_MEM32, 0x4000, &card_ops, &c->wrote[1]) ||
	    pci_msix_init(&c->pci, 2, 5) ||
	    pci_bar_add(&c->pci, 4, PCI_BAR_MEM64, 64 << 20, &card_ops, &c->wrote[4]))
		ktap_bail("cannot make a card");
	pci_device_reset(&c->pci);
}

static uint64_t addr(unsigned int slot, unsigned int reg)
{
	return ECAM + (slot << 15) + reg;
}

static uint32_t cf8_read(unsigned int slot, unsigned int reg, unsigned int size)
{
	pv_out(vm, 0xcf8, 4, 0x80000000 | slot << 11 | (reg & ~3U));
	return pv_in(vm, 0xcfc + (reg & 3), size);
}

static void cf8_write(unsigned int slot, unsigned int reg, unsigned int size, uint32_t value)
{
	pv_out(vm, 0xcf8, 4, 0x80000000 | slot << 11 | (reg & ~3U));
	pv_out(vm, 0xcfc + (reg & 3), size, value);
}

static void check_access(void)
{
	unsigned int slot, found = 0;

	ktap_check(cf8_read(0, 0, 4) == 0x29c08086 && cf8_read(0, 0x2c, 4) == 0x11001af4 &&
		   pv_read(vm, addr(0, 0), 4) == 0x29c08086, "host bridge, both ways");
	ktap_check(pv_read(vm, addr(31, 0), 4) == 0x29188086 && cf8_read(31, 0xa, 2) == 0x0601,
		   "LPC bridge");
	for (slot = 0; slot < 32; slot++)
		found += cf8_read(slot, 0, 2) != 0xffff;
	ktap_check(found == 4, "four functions on the bus");
	ktap_check(pv_read(vm, addr(1, 0) + 0x1000, 4) == 0xffffffff &&
		   pv_read(vm, ECAM + (1 << 20), 4) == 0xffffffff &&
		   pv_read(vm, ECAM + 0xffffffc, 4) == 0xffffffff,
		   "no other function, no other bus");
	ktap_check(pv_read(vm, addr(1, 0x100), 4) == 0, "extended space is empty, not absent");
	pv_out(vm, 0xcf8, 4, 0x00000800);
	ktap_check(pv_in(vm, 0xcfc, 4) == 0xffffffff && pv_in(vm, 0xcf8, 4) == 0x800,
		   "without the enable bit nothing answers");
	ktap_check(cf8_read(1, 1, 1) == 0x1a && cf8_read(1, 2, 2) == 0x1041 &&
		   pv_read(vm, addr(1, 0), 8) == (((uint64_t)(cf8_read(1, 4, 4))) << 32 | 0x10411af4),
		   "bytes, words and a quadword");
	cf8_write(1, 0, 4, 0x12345678);
	cf8_write(1, 8, 4, 0xffffffff);
	cf8_write(1, 0x2c, 4, 0);
	ktap_check(cf8_read(1, 0, 4) == 0x10411af4 && cf8_read(1, 8, 4) == 0x02000001 &&
		   cf8_read(1, 0x2c, 4) == 0x00401af4, "identity cannot be written");
	pv_write(vm, addr(0, 0x60), 4, 0xe0000001);
	ktap_check(pv_read(vm, 0xe0008000, 2) == 0x1af4 && pv_read(vm, addr(1, 0), 2) == 0xffff,
		   "PCIEXBAR moves ECAM");
	cf8_write(0, 0x60, 4, ECAM);
	ktap_check(pv_read(vm, addr(1, 0), 2) == 0xffff, "and switches it off");
	cf8_write(0, 0x60, 4, ECAM | 1);
	ktap_check(pv_read(vm, addr(1, 0), 2) == 0x1af4, "and on");
}

static unsigned int find_cap(uint8_t id)
{
	unsigned int at = cf8_read(1, 0x34, 1), n = 0;

	while (at && n++ < 48 && cf8_read(1, at, 1) != id)
		at = cf8_read(1, at + 1, 1);
	return at;
}

static void check_bars(void)
{
	uint32_t io, mem;
	uint64_t high;

	ktap_check(!(cf8_read(1, 4, 2) & 3) && cf8_read(1, 0x10, 4) == 1, "after reset: not decoded");
	cf8_write(1, 0x10, 4, 0xffffffff);
	cf8_write(1, 0x14, 4, 0xffffffff);
	cf8_write(1, 0x18, 4, 0xffffffff);
	cf8_write(1, 0x20, 4, 0xffffffff);
	cf8_write(1, 0x24, 4, 0xffffffff);
	ktap_check(cf8_read(1, 0x10, 4) == 0xffffffc1 && cf8_read(1, 0x14, 4) == 0xffffc000 &&
		   cf8_read(1, 0x18, 4) == 0xfffff000 && cf8_read(1, 0x1c, 4) == 0 &&
		   cf8_read(1, 0x20, 4) == 0xfc00000c && cf8_read(1, 0x24, 4) == 0xffffffff,
		   "sizes and kinds");
	device_reset_all(vm);
	pci_device_reset(&card.pci);
	pci_device_reset(&second.pci);
	ktap_check(!pci_assign(vm), "addresses are assigned");
	io = cf8_read(1, 0x10, 4) & ~3U;
	mem = cf8_read(1, 0x14, 4);
	high = cf8_read(1, 0x20, 4) & ~15U;
	high |= (uint64_t)cf8_read(1, 0x24, 4) << 32;
	ktap_check(io >= PCI_IO_BASE && io < PCI_IO_END && mem >= MEMORY_PCI_BASE &&
		   mem < MEMORY_PCI_END && !(mem & 0x3fff) && high >= vm->memory.pci64_base &&
		   high < vm->memory.pci64_end && !(high & ((64 << 20) - 1)),
		   "in their windows and aligned: %#x %#x %#llx", io, mem, (unsigned long long)high);
	ktap_check(cf8_read(1, 0x14, 4) != cf8_read(2, 0x14, 4) &&
		   cf8_read(1, 0x10, 4) != cf8_read(2, 0x10, 4) &&
		   cf8_read(1, 0x24, 4) == cf8_read(2, 0x24, 4), "two cards, different places");
	ktap_check(pv_in(vm, io + 4, 4) == 0xc0de0004 && pv_read(vm, mem + 0x3ff8, 8) == 0xc0de3ff8 &&
		   pv_read(vm, high + 0x123, 1) == 0x23, "all decode");
	pv_out(vm, io + 8, 2, 0xbeef);
	pv_write(vm, mem + 16, 4, 0x55);
	ktap_check(card.wrote[0] == 0xbeef0008 && card.wrote[1] == 0x550010, "writes arrive");

	card.changed[1] = 0;
	cf8_write(1, 0x14, 4, 0xd0000000);
	ktap_check(pv_read(vm, 0xd0000000, 4) == 0xc0de0000 && pv_read(vm, mem, 4) == 0xffffffff &&
		   card.changed[1] == 1, "a BAR moves, and its function hears of it");
	cf8_write(1, 4, 2, PCI_COMMAND_IO);
	ktap_check(pv_read(vm, 0xd0000000, 4) == 0xffffffff && pv_in(vm, io, 4) == 0xc0de0000,
		   "memory decode off, I/O on");
	cf8_write(1, 4, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	cf8_write(1, 0x10, 4, 0x3f8);
	ktap_check((pv_in(vm, 0x3fd, 1) & 0x60) == 0x60, "a BAR over the serial port does not hide it");
	cf8_write(1, 0x10, 4, 0x70000001);
	cf8_write(1, 0x14, 4, 0xffffc000);
	cf8_write(1, 0x20, 4, 0xffffffff);
	cf8_write(1, 0x24, 4, 0xffffffff);
	ktap_check(pv_read(vm, 0xffffc010, 4) == 0xc0de0010 && card.pci.bar[0].addr == PCI_UNMAPPED,
		   "places at and beyond the end of a bus are legal to write");
	cf8_write(1, 0x20, 4, 0);
	cf8_write(1, 0x24, 4, 0);
	ktap_check(card.pci.bar[4].addr == PCI_UNMAPPED, "zero is nowhere");
}

static void check_intx(void)
{
	unsigned int line = pci_intx_gsi(1, 0);

	ktap_check(cf8_read(1, 0x3d, 1) == 1 && cf8_read(1, 0x3c, 1) == pci_intx_irq(line),
		   "pin A, and the interrupt line firmware leaves");
	device_lock(&card.pci.dev);
	pci_intx_set(&card.pci, true);
	device_unlock(&card.pci.dev);
	ktap_check(gsi[line] && (cf8_read(1, 6, 2) & PCI_STATUS_INTX), "raised: pin and status");
	cf8_write(1, 4, 2, PCI_COMMAND_INTX_OFF);
	ktap_check(!gsi[line] && (cf8_read(1, 6, 2) & PCI_STATUS_INTX), "disabled: status only");
	cf8_write(1, 4, 2, 0);
	ktap_check(gsi[line], "enabled again");
	device_lock(&card.pci.dev);
	pci_device_reset(&card.pci);
	device_unlock(&card.pci.dev);
	ktap_check(!gsi[line] && !(cf8_read(1, 6, 2) & PCI_STATUS_INTX), "reset lowers it");
}

static void check_msix(void)
{
	unsigned int cap = find_cap(PCI_CAP_MSIX), express = find_cap(PCI_CAP_EXPRESS);
	uint64_t table = 0xd1000000;

	ktap_check(cap && cf8_read(1, cap + 2, 2) == 4 && cf8_read(1, cap + 4, 4) == 2 &&
		   cf8_read(1, cap + 8, 4) == 0x802, "MSI-X capability: 5 vectors in BAR 2");
	ktap_check(express && (cf8_read(1, express + 2, 2) & 0xff) == 0x92,
		   "PCIe capability: root complex integrated endpoint");
	cf8_write(1, 0x18, 4, table);
	cf8_write(1, 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ktap_check(pv_read(vm, table + 12, 4) == 1 && pv_read(vm, table + 4 * 16 + 12, 4) == 1 &&
		   pv_read(vm, table + 5 * 16 + 12, 4) == 0, "vectors start masked");
	pv_write(vm, table, 4, 0xfee01000);
	pv_write(vm, table + 8, 8, 0x0000000000000041);
	ktap_check(pv_read(vm, table, 8) == 0xfee01000 && pv_read(vm, table + 8, 4) == 0x41 &&
		   pv_read(vm, table + 12, 4) == 0, "table takes 4 and 8 bytes");
	pv_write(vm, table + 12, 4, 0xffffffff);
	ktap_check(pv_read(vm, table + 12, 4) == 1, "only the mask bit of a vector is there");
	ktap_check(!pci_msix_enabled(&card.pci), "not enabled yet");
	pci_msix_raise(&card.pci, 0);
	cf8_write(1, cap + 2, 2, 0x8000);
	ktap_check(pci_msix_enabled(&card.pci) && card.msix_changed && !pv_read(vm, table + 0x800, 8),
		   "enabled; what was raised before is not pending");
	pci_msix_raise(&card.pci, 0);
	pci_msix_raise(&card.pci, 63);
	ktap_check(pv_read(vm, table + 0x800, 8) == 1, "raised while masked: pending");
	ktap_check(pv_survives_save(&card.pci.dev) && pv_read(vm, table + 0x800, 8) == 1 &&
		   pci_msix_enabled(&card.pci), "save and load keep table and pending bit");
	pv_write(vm, table + 12, 4, 0);
	ktap_check(!pv_read(vm, table + 0x800, 4), "unmasking delivers it");
	cf8_write(1, cap + 2, 2, 0xc000);
	pci_msix_raise(&card.pci, 0);
	ktap_check(pv_read(vm, table + 0x800, 4) == 1, "function mask holds all back");
	cf8_write(1, cap + 2, 2, 0x8000);
	cf8_write(1, 4, 2, PCI_COMMAND_MEMORY);
	pci_msix_raise(&card.pci, 0);
	ktap_check(pv_read(vm, table + 0x800, 4) == 1, "so does a missing bus master bit");
	pv_write(vm, table + 0x800, 4, 0xffffffff);
	ktap_check(pv_read(vm, table + 0x800, 8) == 1, "pending bits are read-only");
}

static void check_streams(void)
{
	uint8_t *state;
	size_t len;

	if (device_save(&card.pci.dev, &state, &len))
		ktap_bail("no memory");
	state[8 + 12 + PCI_DEVICE] ^= 1;	/* config[] is the first field */
	ktap_check(device_load(&card.pci.dev, state, len) == -22, "another device's id is refused");
	free(state);
	device_lock(&card.pci.dev);
	pci_device_reset(&card.pci);
	device_unlock(&card.pci.dev);
}

/* Sanitizers and the identity afterwards say whether it went well. */
static void check_hostile(void)
{
	static const unsigned int slots[] = { 0, 1, 2, 31 };
	unsigned int i;

	for (i = 0; i < 200000; i++) {
		uint64_t r = pv_random();
		unsigned int slot = slots[r & 3], reg = r >> 2 & 0xff, size = 1 << (r >> 10 & 3);

		if (r >> 12 & 1)
			cf8_write(slot, reg & ~(size - 1) & 0xff, size > 4 ? 4 : size, pv_random());
		else
			pv_write(vm, addr(slot, reg), size, pv_random());
		if (!(i & 15)) {
			pv_write(vm, 0xd1000000 + (r >> 16 & 0xfff), size, pv_random());
			pv_read(vm, r >> 20 & 0xffffffff, size);
			pv_in(vm, r >> 30, size > 4 ? 4 : size);
		}
		pv_read(vm, addr(slot, reg), size);
	}
	vm->want_stop = false;
	ktap_check(cf8_read(0, 0, 4) == 0x29c08086 && cf8_read(1, 0, 4) == 0x10411af4 &&
		   cf8_read(31, 0, 4) == 0x29188086, "200000 random writes later all are who they were");
	device_reset_all(vm);
	pci_device_reset(&card.pci);
	pci_device_reset(&second.pci);
	ktap_check(!pci_assign(vm) && cf8_read(1, 0x14, 4) >= MEMORY_PCI_BASE &&
		   pv_read(vm, cf8_read(1, 0x14, 4), 4) == 0xc0de0000, "and a reset makes all well");
}

int main(void)
{
	struct card third = { 0 };
	int err;

	ktap_plan(46);
	vm = pv_create(NULL);
	if (platform_create(vm))
		ktap_bail("platform_create failed");
	vm->irq.pin[pci_intx_gsi(1, 0)].sink[1].fn = sink;
	device_reset_all(vm);
	card_create(&card, "card0", PCI_SLOT_ANY);
	card_create(&second, "card1", PCI_SLOT_ANY);
	third.pci.dev.vm = vm;
	err = pci_host_attach(vm->pci_host, &third.pci, 1);
	ktap_check(card.pci.slot == 1 && second.pci.slot == 2 && err == -16,
		   "slots are given in order and once");
	ktap_check(pci_bar_add(&card.pci, 5, PCI_BAR_MEM32, 4096, &card_ops, NULL) == -22 &&
		   pci_bar_add(&card.pci, 3, PCI_BAR_MEM32, 5000, &card_ops, NULL) == -22 &&
		   pci_bar_add(&card.pci, 3, PCI_BAR_MEM64, 4096, &card_ops, NULL) == -22,
		   "a BAR inside another, or of an odd size, is refused");
	check_access();
	check_bars();
	check_intx();
	check_msix();
	check_streams();
	check_hostile();
	pci_device_destroy(&card.pci);
	pci_device_destroy(&second.pci);
	pv_destroy(vm);
	return ktap_finish();
}
