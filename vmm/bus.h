/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bus.h - dispatch of port and memory accesses to devices.
 *
 * There are two buses, vm->pio (16-bit port space) and vm->mmio (guest-physical
 * space outside every RAM or ROM slot, see memory.h).  A region is
 * {base, len, ops, opaque, dev}.  It can be added, moved and removed at any
 * time, also from inside an access handler, e.g. when the guest writes a BAR.
 *
 * Regions may overlap, because a guest may program any BAR: the higher priority
 * wins, among equals the one added first.  What nobody claims reads all-ones
 * and swallows writes.  An access that crosses the end of a region is split
 * into bytes by the dispatcher, so a handler only ever sees
 * offset + size <= region->len, size 1, 2, 4 or 8.
 *
 * Locking: the dispatcher looks the region up under the bus lock (the memory-
 * map lock of the lock order: device -> interrupt object -> memory map), drops
 * it, takes region->dev->lock if there is a device, and calls the handler.  A
 * region may therefore be called once more just after it was removed by another
 * thread; its memory must live as long as its device, and devices are destroyed
 * only when no vCPU thread exists.
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct device;

struct bus_ops {
	/* @size bytes at @offset into the region, little-endian in the low bits. */
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned int size);
	void (*write)(void *opaque, uint64_t offset, unsigned int size, uint64_t value);
};

#define BUS_PRIO_BACKGROUND	-1	/* below everything, e.g. a catch-all window */
#define BUS_PRIO_BAR		0	/* PCI BARs */
#define BUS_PRIO_FIXED		1	/* chipset registers: a BAR cannot hide them */

/* Caller-owned; fill in, then bus_region_add().  Do not change while added. */
struct bus_region {
	const char *name;
	uint64_t base;
	uint64_t len;
	const struct bus_ops *ops;
	void *opaque;
	struct device *dev;	/* its lock is taken around ops; NULL: none */
	int prio;		/* BUS_PRIO_* */
	/* private to bus.c */
	struct bus_region *next;
	bool added;
};

struct bus_range {		/* flattened: no two overlap, sorted */
	uint64_t base;
	uint64_t last;		/* inclusive */
	uint64_t origin;	/* the region's base at that time */
	struct bus_region *region;	/* NULL: a gap (in look-up results only) */
};

struct bus {
	pthread_rwlock_t lock;		/* guards everything below */
	struct bus_region *regions;	/* highest priority first */
	unsigned int nr_regions;
	struct bus_range *ranges;
	unsigned int nr_ranges;
	struct bus_range *spare;	/* the next version is built here */
	unsigned int room;		/* of ranges and of spare */
	uint32_t generation;		/* changes with every change of ranges; atomic */
	uint64_t last;			/* highest address */
};

/* A caller-owned memory of the last look-ups (one per vCPU and bus). */
#define BUS_CACHE_SIZE	4
struct bus_cache {
	uint32_t generation;
	unsigned int next;
	struct bus_range range[BUS_CACHE_SIZE];
};

int bus_init(struct bus *bus, uint64_t last);
void bus_destroy(struct bus *bus);

/* -EINVAL: base + len leaves the bus or the region is added already; -ENOMEM. */
int bus_region_add(struct bus *bus, struct bus_region *region);
/* Harmless on a region that is not added. */
void bus_region_remove(struct bus *bus, struct bus_region *region);
/* One change: no access sees the region at neither place. */
int bus_region_move(struct bus *bus, struct bus_region *region, uint64_t base);

/* Called by the vCPU loop, by the emulator's callbacks and by devices that
 * forward accesses.  @cache may be NULL.  False: nobody claimed any byte of it. */
bool bus_read(struct bus *bus, struct bus_cache *cache, uint64_t addr, unsigned int size,
	      uint64_t *value);
bool bus_write(struct bus *bus, struct bus_cache *cache, uint64_t addr, unsigned int size,
	       uint64_t value);

#endif
