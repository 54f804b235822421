/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * memory.h - the guest's memory: layout, slots, and the only two ways to reach it.
 *
 * Contract 5: guest memory is reached by guest_read()/guest_write() copies, or
 * by guest_pin() ... guest_unpin(written).  No pointer into guest memory is
 * kept beyond guest_unpin().  Both mark the vmm's dirty log.
 *
 * Layout (addresses are guest-physical):
 *	0 .. low_size		RAM, low_size = min(size, MEMORY_LOW_MAX)
 *	MEMORY_PCI_BASE ..	32-bit PCI window up to MEMORY_PCI_END
 *	MEMORY_ECAM_BASE ..	256 MiB of PCI configuration space
 *	0xfec00000 ..		IOAPIC, HPET, local APIC, firmware
 *	4 GiB .. high_end	the rest of RAM
 *	high_end rounded up ..	64-bit PCI window, MEMORY_PCI64_SIZE
 *
 * RAM does not change after memory_create(), so look-ups in it take no lock.
 * Other slots (ROM, frame buffers, test memory) come and go under the
 * memory-map lock.
 */
#ifndef VMM_MEMORY_H
#define VMM_MEMORY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct vm;

#define GUEST_PAGE		4096ULL

#define MEMORY_LOW_MAX		0x80000000ULL	/* RAM below 4 GiB ends here at most */
#define MEMORY_HIGH_BASE	0x100000000ULL
#define MEMORY_ECAM_BASE	0xb0000000ULL
#define MEMORY_ECAM_SIZE	0x10000000ULL	/* 256 buses */
#define MEMORY_PCI_BASE		0xc0000000ULL	/* 32-bit memory BARs */
#define MEMORY_PCI_END		0xfe000000ULL	/* exclusive */
#define MEMORY_PCI64_SIZE	0x800000000ULL	/* 32 GiB */
#define MEMORY_MIN		(1ULL << 20)

/* A piece of guest-physical space backed by host memory.  Caller-owned. */
struct memory_slot {
	const char *name;
	uint64_t gpa;
	uint64_t size;		/* multiple of 4096 */
	void *hva;		/* the vmm's mapping, page-aligned */
	bool readonly;		/* guest writes come to vm->mmio instead */
	/* private to memory.c */
	bool mapped;
	uint32_t id;
	struct memory_slot *next;
};

/* One step of an atomic change: @slot is mapped at @gpa, or not mapped. */
struct memory_change {
	struct memory_slot *slot;
	bool mapped;
	uint64_t gpa;
};

struct memory_ram {		/* at most two: low and high */
	uint64_t gpa;
	uint64_t size;
	uint8_t *hva;
	uint64_t file_offset;	/* within memory.fd */
	uint64_t *dirty;	/* the vmm's own dirty log, one bit a page; NULL: off */
	struct memory_slot slot;
};

struct memory {
	uint64_t size;		/* all RAM */
	int fd;			/* memfd, -1 when anonymous */
	uint8_t *base;		/* one mapping of all RAM */
	struct memory_ram ram[2];
	unsigned int nr_ram;
	uint64_t high_end;	/* end of RAM above 4 GiB; MEMORY_HIGH_BASE if none */
	uint64_t pci64_base;	/* 0: no 64-bit window */
	uint64_t pci64_end;	/* exclusive */

	pthread_rwlock_t lock;	/* memory-map lock: guards what follows */
	struct memory_slot *slots;	/* all mapped ones but RAM */
	uint64_t slot_ids;	/* bitmap of ids in use */
};

/* Allocates and maps RAM for vm->config's "memory"; with vm->hv set the slots
 * are given to the module too. */
int memory_create(struct vm *vm);
/* Gives all of it to vm->hv, a VM object that has none yet.  0 or -errno. */
int memory_rebind(struct vm *vm);
void memory_destroy(struct vm *vm);

/*
 * Applies all @count changes as one: no vCPU sees a state in between.  A slot
 * that overlaps another mapped slot or RAM is -EEXIST, a bad size or alignment
 * -EINVAL, too many slots -ENOSPC; on error nothing has changed.  Takes the
 * memory-map lock; call it with a device lock held or none.
 */
int memory_update(struct vm *vm, const struct memory_change *changes, unsigned int count);

/*
 * Copies.  @gpa .. @gpa + @len may cross slots; any byte without RAM or slot is
 * -EFAULT and then nothing is promised about the rest.  guest_write() to a
 * read-only slot is -EFAULT.
 */
int guest_read(struct vm *vm, uint64_t gpa, void *buf, size_t len);
int guest_write(struct vm *vm, uint64_t gpa, const void *buf, size_t len);
int guest_zero(struct vm *vm, uint64_t gpa, size_t len);
/* Atomically: if the naturally aligned word of RAM at @gpa (@size 4 or 8) is @old,
 * make it @value.  -EAGAIN: it was not; -EFAULT: not RAM. */
int guest_cmpxchg(struct vm *vm, uint64_t gpa, uint64_t old, uint64_t value, unsigned int size);

/* True when every byte of the range is RAM (not another slot). */
bool guest_is_ram(struct vm *vm, uint64_t gpa, uint64_t len);

/*
 * Pins RAM for direct access, e.g. for io_uring or a virtio ring.  @access is
 * GUEST_READ, GUEST_WRITE or both: what the caller will do to it.  Only RAM can
 * be pinned; a range that touches anything else is -EFAULT.  Low and high RAM
 * are not adjacent, so a pinned range is always one piece of host memory.
 */
#define GUEST_READ	0x1
#define GUEST_WRITE	0x2

struct guest_pin {
	void *hva;
	uint64_t gpa;
	uint64_t len;
	int access;
};

int guest_pin(struct vm *vm, uint64_t gpa, uint64_t len, int access, struct guest_pin *pin);
/* The first @written bytes of the range were (or may have been) written. */
void guest_unpin(struct vm *vm, struct guest_pin *pin, uint64_t written);
/* For a long-lived pin: marks [offset, offset + len) dirty and keeps the pin. */
void guest_pin_dirty(struct vm *vm, const struct guest_pin *pin, uint64_t offset, uint64_t len);

/* The e820-like view for loaders, ACPI and fw_cfg: fills up to @room entries,
 * returns how many there are. */
#define MEMORY_TYPE_RAM		1
#define MEMORY_TYPE_RESERVED	2

struct memory_range {
	uint64_t base;
	uint64_t size;
	uint32_t type;
};
unsigned int memory_map_get(struct vm *vm, struct memory_range *ranges, unsigned int room);

#endif
