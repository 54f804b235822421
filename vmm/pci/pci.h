/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pci.h - PCI functions on bus 0: what a device that sits behind PCI builds on.
 *
 * PCI Local Bus 3.0 section 6 (configuration space, BARs, MSI-X), PCI Express
 * Base 3.0 section 7.8 (capability of a root complex integrated endpoint).
 *
 * A PCI device embeds struct pci_device as its first member, so that a pointer
 * to it is also one to struct pci_device and to struct device:
 *
 *	struct virtio_pci {
 *		struct pci_device pci;
 *		...
 *	};
 *
 * In its type's create() it calls pci_device_init(), then pci_bar_add(),
 * pci_capability_add() and pci_msix_init() as needed; in destroy()
 * pci_device_destroy(); in reset() pci_device_reset(); in saving()
 * pci_device_saving(); in loaded() pci_device_loaded().  Its field table
 * carries PCI_DEVICE_FIELDS(its struct, pci), which uses the ids from 0xff00.
 *
 * Locking: the function's dev->lock guards its configuration space.  A guest's
 * configuration access takes the host's lock and then the function's; an access
 * to a BAR takes the function's alone.  So every hook below is called with
 * dev->lock held, and every function below wants it held (or no vCPU running)
 * unless it says "any thread".
 */
#ifndef VMM_PCI_PCI_H
#define VMM_PCI_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/irq.h"

#define PCI_SLOTS		32
#define PCI_SLOT_ANY		-1
#define PCI_BARS		6
#define PCI_CONFIG_SIZE		256	/* PCIe extended space reads as zero */
#define PCI_MSIX_MAX		64
#define PCI_UNMAPPED		UINT64_MAX

/* Registers of the type 0 header, and the bits of them that are used here. */
#define PCI_VENDOR		0x00
#define PCI_DEVICE		0x02
#define PCI_COMMAND		0x04
#define  PCI_COMMAND_IO		0x0001
#define  PCI_COMMAND_MEMORY	0x0002
#define  PCI_COMMAND_MASTER	0x0004
#define  PCI_COMMAND_PARITY	0x0040
#define  PCI_COMMAND_SERR	0x0100
#define  PCI_COMMAND_INTX_OFF	0x0400
#define PCI_STATUS		0x06
#define  PCI_STATUS_INTX	0x0008
#define  PCI_STATUS_CAPS	0x0010
#define PCI_REVISION		0x08
#define PCI_CLASS		0x09	/* three bytes: interface, subclass, class */
#define PCI_HEADER_TYPE		0x0e
#define PCI_BAR0		0x10
#define PCI_SUBSYSTEM_VENDOR	0x2c
#define PCI_SUBSYSTEM		0x2e
#define PCI_CAP_POINTER		0x34
#define PCI_INTERRUPT_LINE	0x3c
#define PCI_INTERRUPT_PIN	0x3d

#define PCI_CAP_VENDOR		0x09
#define PCI_CAP_EXPRESS		0x10
#define PCI_CAP_MSIX		0x11

struct pci_device;

struct pci_ident {
	uint16_t vendor;
	uint16_t device;
	uint16_t subsystem_vendor;
	uint16_t subsystem;
	uint32_t class_code;	/* 0xCCSSII */
	uint8_t revision;
	bool intx;		/* has interrupt pin A */
	bool express;		/* gets a PCIe capability (integrated endpoint) */
};

/* All may be NULL. */
struct pci_ops {
	/* The guest is about to read [offset, offset + size) of the configuration
	 * space: bring pci->config there up to date. */
	void (*config_reading)(struct pci_device *pci, unsigned int offset, unsigned int size);
	/* The guest wrote there; writable bits of pci->config have the new value
	 * and BARs, INTx and MSI-X already follow it. */
	void (*config_written)(struct pci_device *pci, unsigned int offset, unsigned int size);
	/* BAR @bar is now decoded at pci->bar[bar].addr, or PCI_UNMAPPED: for
	 * doorbells, which are bound to an address. */
	void (*bar_changed)(struct pci_device *pci, unsigned int bar);
	/* MSI-X was enabled, disabled, or a vector's mask, address or data changed. */
	void (*msix_changed)(struct pci_device *pci);
};

enum pci_bar_kind {
	PCI_BAR_NONE,
	PCI_BAR_IO,
	PCI_BAR_MEM32,
	PCI_BAR_MEM64,		/* takes the next BAR register too; prefetchable */
};

struct pci_bar {
	enum pci_bar_kind kind;
	uint64_t size;		/* a power of two; I/O: 4..256, memory: 4096.. */
	uint64_t addr;		/* where it is decoded now, or PCI_UNMAPPED */
	struct bus_region region;
};

struct pci_msix {
	unsigned int cap;	/* offset in the configuration space; 0: none */
	unsigned int bar;
	unsigned int count;	/* vectors */
	bool live;		/* enabled when last looked at */
	uint32_t table[PCI_MSIX_MAX][4];	/* address low, high, data, control */
	uint64_t pending;	/* for save and load only */
	struct irq_msi msi[PCI_MSIX_MAX];
};

struct pci_device {
	struct device dev;
	const struct pci_ops *ops;
	unsigned int slot;
	bool intx;			/* level the device wants on its pin */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];	/* bits the guest can write */
	uint8_t clear[PCI_CONFIG_SIZE];		/* bits a written 1 clears */
	uint8_t initial[PCI_CONFIG_SIZE];	/* config after reset */
	bool initial_taken;
	unsigned int next_cap;		/* free space for capabilities */
	unsigned int last_cap;
	struct irq_line line;
	struct pci_bar bar[PCI_BARS];
	struct pci_msix msix;
};

/* Of every PCI device's field table. */
#define PCI_DEVICE_FIELDS(type_, pci_)						\
	DEVICE_FIELD_ARRAY(0xff00, 1, type_, pci_.config),			\
	DEVICE_FIELD(0xff01, 1, type_, pci_.intx),				\
	DEVICE_FIELD(0xff02, 1, type_, pci_.msix.pending),			\
	{ .id = 0xff03, .since = 1, .offset = offsetof(type_, pci_.msix.table),	\
	  .size = 4, .count = PCI_MSIX_MAX * 4 }

/* The @args of a PCI type's create(); NULL means any slot. */
struct pci_create_args {
	int slot;		/* 1..30, or PCI_SLOT_ANY: the lowest free one */
};

/*
 * Fills in the header and puts the function into @slot of vm->pci_host.
 * -EBUSY: the slot is taken; -ENOSPC: all are; printed by the caller.
 */
int pci_device_init(struct pci_device *pci, const struct pci_ident *ident,
		    const struct pci_ops *ops, int slot);
void pci_device_destroy(struct pci_device *pci);
/* Configuration space as it was after create(); BARs unmapped, INTx low, MSI-X off. */
void pci_device_reset(struct pci_device *pci);
void pci_device_saving(struct pci_device *pci);
/* -EINVAL: the stream holds what no guest could have brought about. */
int pci_device_loaded(struct pci_device *pci);

/*
 * Only in create().  @ops get offsets into the BAR, @opaque is the device's.
 * Accesses run with dev->lock held.  -EINVAL: @bar in use or @size no power of two.
 */
int pci_bar_add(struct pci_device *pci, unsigned int bar, enum pci_bar_kind kind, uint64_t size,
		const struct bus_ops *ops, void *opaque);

/*
 * Only in create().  Makes room for a capability of @len bytes with its id and
 * link set, the rest zero and read-only: fill in pci->config[] and, for what the
 * guest may write, pci->writable[].  Returns its offset, or -ENOSPC.
 */
int pci_capability_add(struct pci_device *pci, uint8_t id, unsigned int len);

/*
 * Only in create().  MSI-X with @count vectors; table and pending bits get BAR
 * @bar (32-bit memory, 4 KiB) to themselves.
 */
int pci_msix_init(struct pci_device *pci, unsigned int bar, unsigned int count);
bool pci_msix_enabled(const struct pci_device *pci);
/* Delivers or latches; any thread.  A vector out of range or MSI-X off: nothing. */
void pci_msix_raise(struct pci_device *pci, unsigned int vector);
/* The irqfd of a vector, bound on first use (irq_msi_fd()); -EINVAL: no such vector. */
int pci_msix_fd(struct pci_device *pci, unsigned int vector);

/* The level of the interrupt pin; the command register's disable bit is honoured here. */
void pci_intx_set(struct pci_device *pci, bool level);

static inline uint16_t pci_config_word(const struct pci_device *pci, unsigned int offset)
{
	return pci->config[offset] | pci->config[offset + 1] << 8;
}

static inline uint32_t pci_config_long(const struct pci_device *pci, unsigned int offset)
{
	return pci_config_word(pci, offset) |
	       (uint32_t)pci_config_word(pci, offset + 2) << 16;
}

static inline void pci_config_set_word(struct pci_device *pci, unsigned int offset, uint16_t value)
{
	pci->config[offset] = value;
	pci->config[offset + 1] = value >> 8;
}

static inline void pci_config_set_long(struct pci_device *pci, unsigned int offset, uint32_t value)
{
	pci_config_set_word(pci, offset, value);
	pci_config_set_word(pci, offset + 2, value >> 16);
}

/* A device must not touch guest memory while this is false. */
static inline bool pci_is_bus_master(const struct pci_device *pci)
{
	return pci->config[PCI_COMMAND] & PCI_COMMAND_MASTER;
}

/* ------------------------------------------------------------------ */
/* Between the host bridge, the functions and the platform              */
/* ------------------------------------------------------------------ */
struct pci_host;

int pci_host_attach(struct device *host, struct pci_device *pci, int slot);
void pci_host_detach(struct device *host, struct pci_device *pci);
/* One configuration access to a function; takes its lock. */
uint32_t pci_config_read(struct pci_device *pci, unsigned int offset, unsigned int size);
void pci_config_write(struct pci_device *pci, unsigned int offset, unsigned int size,
		      uint32_t value);
/* Gives every BAR an address and switches decoding on, as firmware would.
 * @vm in reset state, no vCPU running.  -ENOSPC: a window is full. */
int pci_assign(struct vm *vm);
/* Where the pin of @slot (0: A .. 3: D) ends: 16..23.  The DSDT's _PRT says the same. */
static inline unsigned int pci_intx_gsi(unsigned int slot, unsigned int pin)
{
	return 16 + ((slot + pin) & 7);
}

/* The ISA interrupt it shares with others while the guest uses the 8259s: what the
 * interrupt line register and the PIRQ registers of the LPC bridge say. */
static inline unsigned int pci_intx_irq(unsigned int gsi)
{
	return gsi & 1 ? 11 : 10;
}

/* I/O ports that pci_assign() hands out; exclusive end. */
#define PCI_IO_BASE		0xc000U
#define PCI_IO_END		0x10000U

#endif
