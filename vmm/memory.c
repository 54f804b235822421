// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory.c - guest memory: RAM, other slots, copies and pins (memory.h; contracts 5 and 6).
 *
 * RAM is one host mapping, low part first.  It never changes while the guest
 * lives, so look-ups in it take no lock.  Every other slot is looked up under
 * the memory-map lock.
 *
 * Must not hand out a pointer that outlives its pin.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hv/hv.h"
#include "vm.h"

#define HUGE_PAGE	(2ULL << 20)
#define SLOT_IDS	64

static struct memory_ram *ram_find(struct memory *mem, uint64_t gpa)
{
	unsigned int i;

	for (i = 0; i < mem->nr_ram; i++)
		if (gpa - mem->ram[i].gpa < mem->ram[i].size)
			return &mem->ram[i];
	return NULL;
}

static void ram_dirty(struct memory_ram *ram, uint64_t offset, uint64_t len)
{
	uint64_t page, last;

	if (!ram->dirty || !len)
		return;
	last = (offset + len - 1) / GUEST_PAGE;
	for (page = offset / GUEST_PAGE; page <= last; page++)
		__atomic_fetch_or(&ram->dirty[page / 64], 1ULL << (page % 64), __ATOMIC_RELAXED);
}

/* The mapped non-RAM slot that holds @gpa.  Memory-map lock held. */
static struct memory_slot *slot_find(struct memory *mem, uint64_t gpa)
{
	struct memory_slot *slot;

	for (slot = mem->slots; slot; slot = slot->next)
		if (gpa - slot->gpa < slot->size)
			return slot;
	return NULL;
}

enum copy { COPY_READ, COPY_WRITE, COPY_ZERO };

static void copy_bytes(uint8_t *guest, uint8_t *buf, size_t len, enum copy how)
{
	switch (how) {
	case COPY_READ:
		memcpy(buf, guest, len);
		break;
	case COPY_WRITE:
		memcpy(guest, buf, len);
		break;
	case COPY_ZERO:
		memset(guest, 0, len);
		break;
	}
}

static int guest_copy(struct vm *vm, uint64_t gpa, uint8_t *buf, size_t len, enum copy how)
{
	struct memory *mem = &vm->memory;
	struct memory_slot *slot;
	struct memory_ram *ram;
	uint64_t offset;
	size_t n;

	while (len) {
		ram = ram_find(mem, gpa);
		if (ram) {
			offset = gpa - ram->gpa;
			n = len < ram->size - offset ? len : ram->size - offset;
			copy_bytes(ram->hva + offset, buf, n, how);
			if (how != COPY_READ)
				ram_dirty(ram, offset, n);
		} else {
			pthread_rwlock_rdlock(&mem->lock);
			slot = slot_find(mem, gpa);
			if (!slot || (slot->readonly && how != COPY_READ)) {
				pthread_rwlock_unlock(&mem->lock);
				return -EFAULT;
			}
			offset = gpa - slot->gpa;
			n = len < slot->size - offset ? len : slot->size - offset;
			copy_bytes((uint8_t *)slot->hva + offset, buf, n, how);
			pthread_rwlock_unlock(&mem->lock);
		}
		gpa += n;
		len -= n;
		if (how != COPY_ZERO)
			buf += n;
	}
	return 0;
}

int guest_read(struct vm *vm, uint64_t gpa, void *buf, size_t len)
{
	return guest_copy(vm, gpa, buf, len, COPY_READ);
}

int guest_write(struct vm *vm, uint64_t gpa, const void *buf, size_t len)
{
	return guest_copy(vm, gpa, (uint8_t *)buf, len, COPY_WRITE);
}

int guest_zero(struct vm *vm, uint64_t gpa, size_t len)
{
	return guest_copy(vm, gpa, NULL, len, COPY_ZERO);
}

int guest_cmpxchg(struct vm *vm, uint64_t gpa, uint64_t old, uint64_t value, unsigned int size)
{
	struct memory_ram *ram = ram_find(&vm->memory, gpa);
	uint64_t offset;
	bool done;

	if (!ram || gpa % size || (size != 4 && size != 8))
		return -EFAULT;
	offset = gpa - ram->gpa;	/* aligned, and RAM ends at a page: fits */
	if (size == 4) {
		uint32_t expect = (uint32_t)old;

		done = __atomic_compare_exchange_n((uint32_t *)(ram->hva + offset), &expect,
						   (uint32_t)value, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_SEQ_CST);
	} else {
		done = __atomic_compare_exchange_n((uint64_t *)(ram->hva + offset), &old, value,
						   false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	if (!done)
		return -EAGAIN;
	ram_dirty(ram, offset, size);
	return 0;
}

bool guest_is_ram(struct vm *vm, uint64_t gpa, uint64_t len)
{
	struct memory_ram *ram = ram_find(&vm->memory, gpa);

	return ram && len <= ram->size - (gpa - ram->gpa);
}

int guest_pin(struct vm *vm, uint64_t gpa, uint64_t len, int access, struct guest_pin *pin)
{
	struct memory_ram *ram = ram_find(&vm->memory, gpa);

	if (!ram || len > ram->size - (gpa - ram->gpa))
		return -EFAULT;
	*pin = (struct guest_pin){
		.hva = ram->hva + (gpa - ram->gpa), .gpa = gpa, .len = len, .access = access,
	};
	return 0;
}

void guest_pin_dirty(struct vm *vm, const struct guest_pin *pin, uint64_t offset, uint64_t len)
{
	struct memory_ram *ram = ram_find(&vm->memory, pin->gpa);

	if (!ram || offset > pin->len)
		return;
	if (len > pin->len - offset)
		len = pin->len - offset;
	ram_dirty(ram, pin->gpa - ram->gpa + offset, len);
}

void guest_unpin(struct vm *vm, struct guest_pin *pin, uint64_t written)
{
	if (written)
		guest_pin_dirty(vm, pin, 0, written);
	*pin = (struct guest_pin){ 0 };
}

/* ------------------------------------------------------------------ */

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* Would the map be free of overlaps after @changes?  Lock held. */
static int changes_check(struct memory *mem, const struct memory_change *changes,
			 unsigned int count)
{
	unsigned int i, j;

	for (i = 0; i < count; i++) {
		const struct memory_slot *s = changes[i].slot;
		uint64_t gpa = changes[i].gpa;
		struct memory_slot *other;

		for (j = 0; j < i; j++)
			if (changes[j].slot == s)
				return -EINVAL;
		if (!changes[i].mapped)
			continue;
		if (!s->size || s->size % GUEST_PAGE || gpa % GUEST_PAGE ||
		    (uintptr_t)s->hva % GUEST_PAGE || gpa + s->size < gpa)
			return -EINVAL;
		for (j = 0; j < mem->nr_ram; j++)
			if (overlap(gpa, s->size, mem->ram[j].gpa, mem->ram[j].size))
				return -EEXIST;
		for (j = 0; j < count; j++)
			if (j != i && changes[j].mapped &&
			    overlap(gpa, s->size, changes[j].gpa, changes[j].slot->size))
				return -EEXIST;
		for (other = mem->slots; other; other = other->next) {
			for (j = 0; j < count && changes[j].slot != other; j++)
				;
			if (j == count && overlap(gpa, s->size, other->gpa, other->size))
				return -EEXIST;
		}
	}
	return 0;
}

static void slot_unlink(struct memory *mem, struct memory_slot *slot)
{
	struct memory_slot **p = &mem->slots;

	while (*p && *p != slot)
		p = &(*p)->next;
	if (*p)
		*p = slot->next;
	slot->next = NULL;
}

int memory_update(struct vm *vm, const struct memory_change *changes, unsigned int count)
{
	struct memory *mem = &vm->memory;
	uint64_t ids;
	struct hv_slot *list;
	unsigned int i, n = 0;
	uint32_t *new_id;
	int ret;

	if (!count)
		return 0;
	/* A moved slot keeps its id, so that the module sees a move and not two slots. */
	list = calloc(count, sizeof(*list) + sizeof(*new_id));
	if (!list)
		return -ENOMEM;
	new_id = (uint32_t *)(list + count);
	pthread_rwlock_wrlock(&mem->lock);
	ret = changes_check(mem, changes, count);
	if (ret)
		goto out;
	ids = mem->slot_ids;
	for (i = 0; i < count; i++) {
		struct memory_slot *s = changes[i].slot;
		uint32_t id = s->id;

		if (!changes[i].mapped && !s->mapped)
			continue;
		if (!s->mapped) {
			if (ids == ~0ULL) {
				ret = -ENOSPC;
				goto out;
			}
			id = (uint32_t)__builtin_ctzll(~ids);
			ids |= 1ULL << id;
		}
		new_id[i] = id;
		list[n++] = (struct hv_slot){
			.id = id,
			.flags = s->readonly ? HV_SLOT_READONLY : 0,
			.gpa = changes[i].gpa,
			.size = changes[i].mapped ? s->size : 0,
			.hva = (uintptr_t)s->hva,
		};
		if (!changes[i].mapped)
			list[n - 1].gpa = list[n - 1].hva = list[n - 1].flags = 0;
	}
	if (vm->hv && n) {
		ret = hv_set_slots(vm->hv, list, n);
		if (ret)
			goto out;
	}
	for (i = 0; i < count; i++) {
		struct memory_slot *s = changes[i].slot;

		if (s->mapped) {
			slot_unlink(mem, s);
			if (!changes[i].mapped)
				ids &= ~(1ULL << s->id);
		}
		s->mapped = changes[i].mapped;
		if (s->mapped) {
			s->id = new_id[i];
			s->gpa = changes[i].gpa;
			s->next = mem->slots;
			mem->slots = s;
		}
	}
	mem->slot_ids = ids;
out:
	pthread_rwlock_unlock(&mem->lock);
	free(list);
	return ret;
}

/* ------------------------------------------------------------------ */

unsigned int memory_map_get(struct vm *vm, struct memory_range *ranges, unsigned int room)
{
	const struct memory *mem = &vm->memory;
	const uint64_t low = mem->ram[0].size, top = 0x9fc00, meg = 0x100000;
	struct memory_range all[6];
	unsigned int n = 0, i;

	/* Conventional memory, EBDA to 1 MiB with the ACPI tables, the rest. */
	all[n++] = (struct memory_range){ 0, low < top ? low : top, MEMORY_TYPE_RAM };
	all[n++] = (struct memory_range){ top, meg - top, MEMORY_TYPE_RESERVED };
	if (low > meg)
		all[n++] = (struct memory_range){ meg, low - meg, MEMORY_TYPE_RAM };
	all[n++] = (struct memory_range){ MEMORY_ECAM_BASE, MEMORY_ECAM_SIZE,
					  MEMORY_TYPE_RESERVED };
	if (mem->nr_ram > 1)
		all[n++] = (struct memory_range){ mem->ram[1].gpa, mem->ram[1].size,
						  MEMORY_TYPE_RAM };
	for (i = 0; i < n && i < room; i++)
		ranges[i] = all[i];
	return n;
}

/* Maps @size bytes at a 2 MiB boundary, so that huge pages can back the guest. */
static void *map_aligned(uint64_t size, int fd)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	uint8_t *area, *base;

	area = mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	if (area == MAP_FAILED)
		return NULL;
	base = (uint8_t *)(((uintptr_t)area + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	if (mmap(base, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED | MAP_NORESERVE, fd, 0) ==
	    MAP_FAILED) {
		int err = errno;

		munmap(area, size + HUGE_PAGE);
		errno = err;
		return NULL;
	}
	if (base > area)
		munmap(area, (size_t)(base - area));
	if (area + HUGE_PAGE > base)
		munmap(base + size, (size_t)(area + HUGE_PAGE - base));
	return base;
}

static void ram_add(struct memory *mem, uint64_t gpa, uint64_t size, uint64_t offset)
{
	struct memory_ram *ram = &mem->ram[mem->nr_ram];

	ram->gpa = gpa;
	ram->size = size;
	ram->hva = mem->base + offset;
	ram->file_offset = offset;
	ram->slot = (struct memory_slot){
		.name = mem->nr_ram ? "high RAM" : "low RAM",
		.gpa = gpa, .size = size, .hva = ram->hva, .mapped = true, .id = mem->nr_ram,
	};
	mem->slot_ids |= 1ULL << mem->nr_ram++;
}

static int ram_register(struct vm *vm)
{
	struct hv_slot list[2];
	unsigned int i;

	for (i = 0; i < vm->memory.nr_ram; i++) {
		const struct memory_ram *ram = &vm->memory.ram[i];

		list[i] = (struct hv_slot){
			.id = ram->slot.id, .gpa = ram->gpa, .size = ram->size,
			.hva = (uintptr_t)ram->hva,
		};
	}
	return vm->hv ? hv_set_slots(vm->hv, list, i) : 0;
}

int memory_rebind(struct vm *vm)
{
	struct memory *mem = &vm->memory;
	struct hv_slot list[64];		/* slot_ids has as many bits */
	struct memory_slot *s;
	unsigned int n = 0;
	int ret;

	ret = ram_register(vm);
	if (ret)
		return ret;
	pthread_rwlock_rdlock(&mem->lock);
	for (s = mem->slots; s; s = s->next)
		if (s->mapped && s->id >= mem->nr_ram)
			list[n++] = (struct hv_slot){
				.id = s->id, .flags = s->readonly ? HV_SLOT_READONLY : 0,
				.gpa = s->gpa, .size = s->size, .hva = (uintptr_t)s->hva,
			};
	ret = n ? hv_set_slots(vm->hv, list, n) : 0;
	pthread_rwlock_unlock(&mem->lock);
	return ret;
}

int memory_create(struct vm *vm)
{
	struct memory *mem = &vm->memory;
	uint64_t size = config_uint(vm->config, "memory"), low;
	bool memfd = !strcmp(config_string(vm->config, "memory_backend"), "memfd");
	const char *what = "map";
	int ret;

	size = (size + GUEST_PAGE - 1) & ~(GUEST_PAGE - 1);
	low = size < MEMORY_LOW_MAX ? size : MEMORY_LOW_MAX;
	*mem = (struct memory){ .size = size, .fd = -1 };
	pthread_rwlock_init(&mem->lock, NULL);
	if (memfd) {
		what = "allocate";
		mem->fd = memfd_create("hv-guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (mem->fd < 0 || ftruncate(mem->fd, (off_t)size))
			goto fail;
		/* Nobody it is handed to may cut it under the guest. */
		fcntl(mem->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	}
	what = "map";
	mem->base = map_aligned(size, mem->fd);
	if (!mem->base)
		goto fail;
	madvise(mem->base, size, MADV_HUGEPAGE);
	madvise(mem->base, size, MADV_DONTDUMP);
	if (madvise(mem->base, size, MADV_DONTFORK))
		goto fail;
	ram_add(mem, 0, low, 0);
	mem->high_end = MEMORY_HIGH_BASE;
	if (size > low) {
		ram_add(mem, MEMORY_HIGH_BASE, size - low, low);
		mem->high_end += size - low;
	}
	mem->pci64_base = (mem->high_end + MEMORY_PCI64_SIZE - 1) & ~(MEMORY_PCI64_SIZE - 1);
	mem->pci64_end = mem->pci64_base + MEMORY_PCI64_SIZE;
	if (vm->gpa_bits && mem->pci64_end > 1ULL << vm->gpa_bits)
		mem->pci64_base = mem->pci64_end = 0;	/* BARs have the low window */
	if (vm->gpa_bits && mem->high_end > 1ULL << vm->gpa_bits) {
		log_error(vm, "%llu MiB of memory are more than this host's CPU can map for a "
			  "guest (%u address bits); give less with --memory",
			  (unsigned long long)(size >> 20), vm->gpa_bits);
		memory_destroy(vm);
		return -E2BIG;
	}
	what = "register";
	ret = ram_register(vm);
	if (!ret)
		return 0;
	errno = -ret;
fail:
	ret = -errno;
	log_error(vm, "cannot %s %llu MiB of guest memory: %s; give less with --memory", what,
		  (unsigned long long)(size >> 20), strerror(-ret));
	memory_destroy(vm);
	return ret;
}

void memory_destroy(struct vm *vm)
{
	struct memory *mem = &vm->memory;
	unsigned int i;

	if (!mem->size)
		return;
	for (i = 0; i < mem->nr_ram; i++)
		free(mem->ram[i].dirty);
	if (mem->base)
		munmap(mem->base, mem->size);
	if (mem->fd >= 0)
		close(mem->fd);
	pthread_rwlock_destroy(&mem->lock);
	*mem = (struct memory){ .fd = -1 };
}
