/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * irq.h - the two interrupt objects a device may hold: a line and an MSI.
 *
 * Lines.  vm->irq has IRQ_PINS pins, numbered like the IOAPIC's inputs (GSI).
 * The platform connects a pin to its sinks (IOAPIC input, 8259 input).  Each
 * source that can drive a pin has its own struct irq_line; the pin is high
 * while any of its lines is.  Sinks see only real changes, in order.
 *
 * MSI.  One object per vector: address, data, mask and pending bit, changed
 * together and atomically with respect to raising.  It starts without an
 * eventfd and is raised by ioctl; irq_msi_fd() binds an irqfd so that an I/O
 * thread, vhost or another process can raise it without coming here.
 *
 * Locks here rank below device locks and above the memory map: a device calls
 * these with its own lock held; a sink never calls back into a device.
 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct hv_vm;
struct vm;

#define IRQ_PINS	24
#define IRQ_SINKS	2

typedef void (*irq_sink_fn)(void *opaque, unsigned int pin, bool level);

struct irq_pin {
	pthread_mutex_t lock;	/* guards high, and orders calls of the sinks */
	unsigned int high;	/* lines that drive it */
	struct {
		irq_sink_fn fn;
		void *opaque;
	} sink[IRQ_SINKS];	/* set before vCPUs run */
};

struct irq_msi;

struct irq {
	struct irq_pin pin[IRQ_PINS];
	struct irq_msi *msis;	/* all of the devices'; fixed while vCPUs run */
	bool intr;		/* the 8259's output; atomic */
};

struct irq_line {
	struct vm *vm;
	unsigned int pin;
	bool level;		/* guarded by the pin's lock */
};

int irq_init(struct vm *vm);
void irq_destroy(struct vm *vm);

/* Platform only, before vCPUs run.  -ENOSPC: the pin has IRQ_SINKS already. */
int irq_sink_add(struct vm *vm, unsigned int pin, irq_sink_fn fn, void *opaque);

/* A line to @pin, low.  -EINVAL: no such pin. */
int irq_line_init(struct irq_line *line, struct vm *vm, unsigned int pin);
void irq_line_set(struct irq_line *line, bool level);
static inline bool irq_line_get(const struct irq_line *line)
{
	return line->level;
}

struct irq_msi {
	struct vm *vm;
	pthread_mutex_t lock;	/* guards all below */
	uint64_t address;
	uint32_t data;
	bool masked;
	bool pending;		/* raised while masked (without eventfd) */
	int fd;			/* eventfd bound as irqfd, or -1 */
	struct irq_msi *next;	/* vm->irq.msis */
};

/* Starts masked, not pending, without eventfd. */
int irq_msi_init(struct irq_msi *msi, struct vm *vm);
void irq_msi_destroy(struct irq_msi *msi);

/*
 * New address, data and mask in one step.  Unmasking delivers what is pending
 * to the new target.  Errors of the module (-EINVAL: no such target form) are
 * returned; the object keeps the new values.
 */
int irq_msi_set(struct irq_msi *msi, uint64_t address, uint32_t data, bool masked);
/* Delivers now, or latches while masked.  Any thread. */
void irq_msi_raise(struct irq_msi *msi);
/* For the pending bit array of MSI-X. */
bool irq_msi_pending(struct irq_msi *msi);
/* Device reset: masked, not pending; an eventfd stays bound. */
void irq_msi_reset(struct irq_msi *msi);
/* Binds an eventfd on first use; returns it (owned by @msi) or -errno. */
int irq_msi_fd(struct irq_msi *msi);
/* For save and load. */
void irq_msi_latch(struct irq_msi *msi);

/* An MSI that no object stands for: the IOAPIC's messages.  @data bit 15 set
 * means level (contract 1).  Returns targets reached, or -errno. */
int irq_msi_send(struct vm *vm, uint64_t address, uint32_t data);
/* vm->hv has taken the place of @old, of the same guest: what was bound there, or waits
 * there, goes over.  Everything is paused.  0 or -errno. */
int irq_rebind(struct vm *vm, struct hv_vm *old);
/* The 8259's INTR output. */
void irq_intr_set(struct vm *vm, bool level);

#endif
