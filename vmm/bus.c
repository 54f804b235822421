// SPDX-License-Identifier: GPL-2.0-only
/*
 * bus.c - port and memory dispatch (bus.h).
 *
 * Regions may overlap; what a vCPU looks up is a flattened, sorted array, rebuilt
 * on each change.  Both arrays always have room for the worst case of the present
 * regions, so removing and moving cannot fail.
 *
 * Must not hold the bus lock while a handler runs: handlers change the map.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "device.h"

static uint64_t ones(unsigned int size)
{
	return size >= 8 ? ~0ULL : (1ULL << (size * 8)) - 1;
}

/* The range that holds @addr, a gap included.  Bus lock held. */
static struct bus_range bus_find(const struct bus *bus, uint64_t addr)
{
	struct bus_range gap = { .base = 0, .last = bus->last };
	unsigned int lo = 0, hi = bus->nr_ranges;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;
		const struct bus_range *r = &bus->ranges[mid];

		if (addr < r->base) {
			gap.last = r->base - 1;
			hi = mid;
		} else if (addr > r->last) {
			gap.base = r->last + 1;
			lo = mid + 1;
		} else {
			return *r;
		}
	}
	return gap;
}

static struct bus_range bus_lookup(struct bus *bus, struct bus_cache *cache, uint64_t addr)
{
	struct bus_range range;
	unsigned int i;

	/*
	 * A stale hit is possible while another thread changes the map: as if this
	 * access had come a moment earlier.  Pairs with the release in bus_publish().
	 */
	if (cache && cache->generation == __atomic_load_n(&bus->generation, __ATOMIC_ACQUIRE)) {
		for (i = 0; i < BUS_CACHE_SIZE; i++) {
			const struct bus_range *r = &cache->range[i];

			if (addr >= r->base && addr <= r->last)
				return *r;
		}
	}
	pthread_rwlock_rdlock(&bus->lock);
	range = bus_find(bus, addr);
	if (cache) {
		if (cache->generation != bus->generation) {
			/* base above last: matches nothing */
			for (i = 0; i < BUS_CACHE_SIZE; i++)
				cache->range[i] = (struct bus_range){ .base = 1, .last = 0 };
			cache->generation = bus->generation;
		}
		cache->range[cache->next++ % BUS_CACHE_SIZE] = range;
	}
	pthread_rwlock_unlock(&bus->lock);
	return range;
}

static bool bus_access(struct bus *bus, struct bus_cache *cache, uint64_t addr,
		       unsigned int size, uint64_t *value, bool write)
{
	struct bus_range range;
	struct bus_region *region;
	bool claimed = false;
	unsigned int i;

	if (addr > bus->last) {
		if (!write)
			*value = ones(size);
		return false;
	}
	range = bus_lookup(bus, cache, addr);
	if (range.last - addr >= size - 1) {
		region = range.region;
		if (!region) {
			if (!write)
				*value = ones(size);
			return false;
		}
		if (region->dev)
			device_lock(region->dev);
		if (write)
			region->ops->write(region->opaque, addr - range.origin, size,
					   *value & ones(size));
		else
			*value = region->ops->read(region->opaque, addr - range.origin, size) &
				 ones(size);
		if (region->dev)
			device_unlock(region->dev);
		return true;
	}
	/* Over an edge: byte by byte; beyond the end of the bus nothing answers. */
	if (!write)
		*value = 0;
	for (i = 0; i < size; i++) {
		uint64_t byte = 0xff;

		if (addr + i < addr || addr + i > bus->last) {
			if (!write)
				*value |= byte << (i * 8);
			continue;
		}
		if (write)
			byte = (*value >> (i * 8)) & 0xff;
		claimed |= bus_access(bus, cache, addr + i, 1, &byte, write);
		if (!write)
			*value |= (byte & 0xff) << (i * 8);
	}
	return claimed;
}

bool bus_read(struct bus *bus, struct bus_cache *cache, uint64_t addr, unsigned int size,
	      uint64_t *value)
{
	return bus_access(bus, cache, addr, size, value, false);
}

bool bus_write(struct bus *bus, struct bus_cache *cache, uint64_t addr, unsigned int size,
	       uint64_t value)
{
	return bus_access(bus, cache, addr, size, &value, true);
}

/* Inserts what is still free of [base, last] into the sorted array @out of @n. */
static unsigned int range_insert(struct bus_range *out, unsigned int n, struct bus_region *region)
{
	uint64_t at = region->base, last = region->base + region->len - 1;
	unsigned int i = 0;

	for (;;) {
		uint64_t end;

		while (i < n && out[i].last < at)
			i++;
		if (i < n && out[i].base <= at) {	/* taken: skip it */
			if (out[i].last >= last)
				return n;
			at = out[i].last + 1;
			continue;
		}
		end = i < n && out[i].base <= last ? out[i].base - 1 : last;
		memmove(&out[i + 1], &out[i], (n - i) * sizeof(*out));
		out[i] = (struct bus_range){
			.base = at, .last = end, .origin = region->base, .region = region,
		};
		n++;
		if (end == last)
			return n;
		at = end + 1;
	}
}

/* Rebuilds the ranges from the regions.  Bus lock held for writing. */
static void bus_publish(struct bus *bus)
{
	struct bus_range *old = bus->ranges;
	struct bus_region *region;
	unsigned int n = 0;

	for (region = bus->regions; region; region = region->next)
		n = range_insert(bus->spare, n, region);
	bus->ranges = bus->spare;
	bus->spare = old;
	bus->nr_ranges = n;
	__atomic_store_n(&bus->generation, bus->generation + 1, __ATOMIC_RELEASE);
}

static void region_link(struct bus *bus, struct bus_region *region)
{
	struct bus_region **p = &bus->regions;

	while (*p && (*p)->prio >= region->prio)
		p = &(*p)->next;
	region->next = *p;
	*p = region;
}

int bus_region_add(struct bus *bus, struct bus_region *region)
{
	struct bus_range *a, *b;
	unsigned int room;

	if (!region->len || region->base > bus->last || region->len - 1 > bus->last - region->base)
		return -EINVAL;
	pthread_rwlock_wrlock(&bus->lock);
	if (region->added) {
		pthread_rwlock_unlock(&bus->lock);
		return -EINVAL;
	}
	/* Each region adds itself and may split one that was there: 2n + 1. */
	room = 2 * (bus->nr_regions + 1) + 1;
	if (room > bus->room) {
		room += 16;
		a = realloc(bus->ranges, room * sizeof(*a));
		if (a)
			bus->ranges = a;
		b = realloc(bus->spare, room * sizeof(*b));
		if (b)
			bus->spare = b;
		if (!a || !b) {
			pthread_rwlock_unlock(&bus->lock);
			return -ENOMEM;
		}
		bus->room = room;
	}
	region_link(bus, region);
	region->added = true;
	bus->nr_regions++;
	bus_publish(bus);
	pthread_rwlock_unlock(&bus->lock);
	return 0;
}

void bus_region_remove(struct bus *bus, struct bus_region *region)
{
	struct bus_region **p;

	pthread_rwlock_wrlock(&bus->lock);
	for (p = &bus->regions; *p; p = &(*p)->next) {
		if (*p != region)
			continue;
		*p = region->next;
		region->next = NULL;
		region->added = false;
		bus->nr_regions--;
		bus_publish(bus);
		break;
	}
	pthread_rwlock_unlock(&bus->lock);
}

int bus_region_move(struct bus *bus, struct bus_region *region, uint64_t base)
{
	int ret = 0;

	pthread_rwlock_wrlock(&bus->lock);
	if (!region->added || base > bus->last || region->len - 1 > bus->last - base) {
		ret = -EINVAL;
	} else {
		region->base = base;
		bus_publish(bus);
	}
	pthread_rwlock_unlock(&bus->lock);
	return ret;
}

int bus_init(struct bus *bus, uint64_t last)
{
	memset(bus, 0, sizeof(*bus));
	bus->last = last;
	bus->generation = 1;	/* a zeroed cache matches nothing */
	return -pthread_rwlock_init(&bus->lock, NULL);
}

void bus_destroy(struct bus *bus)
{
	free(bus->ranges);
	free(bus->spare);
	pthread_rwlock_destroy(&bus->lock);
	memset(bus, 0, sizeof(*bus));
}
