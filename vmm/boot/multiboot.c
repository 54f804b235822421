// SPDX-License-Identifier: GPL-2.0-only
/*
 * multiboot.c - Multiboot Specification 0.6.96: ELF32 images and images that carry
 * their load addresses in the header (section 3.1.3, flag 16).
 *
 * The kernel begins in 32-bit protected mode (3.2), EAX 0x2badb002, EBX at the
 * information structure (3.3) with memory sizes, command line, modules, map.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/boot/boot.h"
#include "vmm/vm.h"

#define MB_SEARCH	8192
#define MB_MAGIC	0x1badb002
#define MB_EAX		0x2badb002
#define MB_ADDRESSES	(1U << 16)
#define MB_MANDATORY	0xffffU
#define MB_KNOWN	0x7U		/* page-aligned modules, memory, video table */

#define MBI_MEMORY	(1U << 0)
#define MBI_CMDLINE	(1U << 2)
#define MBI_MODULES	(1U << 3)
#define MBI_MMAP	(1U << 6)
#define MBI_NAME	(1U << 9)

struct mb_header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct mb_info {
	uint32_t flags;
	uint32_t mem_lower, mem_upper;		/* KiB */
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr;
	uint32_t drives_length, drives_addr;
	uint32_t config_table;
	uint32_t boot_loader_name;
	uint32_t apm_table;
	uint32_t vbe[4];
};

struct mb_module {
	uint32_t start, end, string, reserved;
};

struct mb_mmap {
	uint32_t size;		/* of what follows */
	uint64_t base;
	uint64_t length;
	uint32_t type;
} __attribute__((packed));

#define MB_MMAP_MAX	32
#define MB_MODULES	(BOOT_TABLES + MB_MMAP_MAX * sizeof(struct mb_mmap))

/* 1: *at is the header's place in the file. */
static int mb_find(struct boot *boot, struct mb_header *h, uint64_t *at)
{
	uint8_t buf[MB_SEARCH];
	size_t n = boot->kernel.size < sizeof(buf) ? boot->kernel.size : sizeof(buf);
	size_t i;

	if (image_read(boot, &boot->kernel, 0, buf, n))
		return -EINVAL;
	for (i = 0; i + 12 <= n; i += 4) {
		memset(h, 0, sizeof(*h));
		memcpy(h, buf + i, n - i < sizeof(*h) ? n - i : sizeof(*h));
		if (h->magic != MB_MAGIC || (uint32_t)(h->magic + h->flags + h->checksum))
			continue;
		if ((h->flags & MB_ADDRESSES) && i + sizeof(*h) > n)
			return boot_fail(boot, "%s: multiboot header is cut off",
					 boot->kernel.path);
		*at = i;
		return 1;
	}
	return 0;
}

static int mb_probe(struct boot *boot)
{
	struct elf_image elf;
	struct mb_header h;
	uint64_t at;
	int ret = mb_find(boot, &h, &at);

	if (ret <= 0)
		return ret;
	if (h.flags & MB_MANDATORY & ~MB_KNOWN)
		return boot_fail(boot, "%s: multiboot header asks for unknown features (flags %#x)",
				 boot->kernel.path, h.flags);
	/* An ELF image is looked at now: what is wrong with it is better said early. */
	if (!(h.flags & MB_ADDRESSES) && elf_probe(boot, &elf) < 0)
		return -EINVAL;
	return 1;
}

/* An image that says itself where it goes. */
static int mb_load_flat(struct vm *vm, struct boot *boot, const struct mb_header *h, uint64_t at,
			uint64_t *entry, uint64_t *end)
{
	const char *path = boot->kernel.path;
	uint64_t offset, len, bss;
	int ret;

	if (h->header_addr < h->load_addr || h->header_addr - h->load_addr > at)
		return boot_fail(boot, "%s: multiboot load address %#x does not fit the header's "
				 "place", path, h->load_addr);
	offset = at - (h->header_addr - h->load_addr);
	len = boot->kernel.size - offset;
	if (h->load_end_addr) {
		if (h->load_end_addr <= h->load_addr)
			return boot_fail(boot, "%s: multiboot load end %#x is before its begin",
					 path, h->load_end_addr);
		if (h->load_end_addr - h->load_addr > len)
			return boot_fail(boot, "%s: truncated: %llu bytes, %llu needed; copy it "
					 "again", path, (unsigned long long)boot->kernel.size,
					 (unsigned long long)offset + h->load_end_addr -
					 h->load_addr);
		len = h->load_end_addr - h->load_addr;
	}
	bss = h->bss_end_addr > h->load_addr + len ? h->bss_end_addr - h->load_addr - len : 0;
	ret = boot_check_range(vm, boot, "image", h->load_addr, len + bss);
	if (!ret)
		ret = image_load(vm, boot, &boot->kernel, offset, h->load_addr, len);
	if (!ret && bss && guest_zero(vm, h->load_addr + len, bss))
		ret = boot_fail(boot, "%s: no guest memory for its bss", path);
	*entry = h->entry_addr;
	*end = h->load_addr + len + bss;
	return ret;
}

static int mb_load_elf(struct vm *vm, struct boot *boot, uint64_t *entry, uint64_t *end)
{
	struct elf_image elf;
	int ret;

	ret = elf_probe(boot, &elf);
	if (ret < 0)
		return ret;
	if (!ret)
		return boot_fail(boot, "%s: multiboot image is neither ELF nor carries addresses",
				 boot->kernel.path);
	if (elf.is64)
		return boot_fail(boot, "%s: multiboot needs a 32-bit ELF image; convert it with "
				 "objcopy -O elf32-i386", boot->kernel.path);
	ret = elf_load(vm, boot, &elf);
	*entry = elf.entry;
	*end = elf.end;
	return ret;
}

/* Module list and strings. */
static int mb_put_modules(struct vm *vm, struct boot *boot)
{
	struct mb_module mod[BOOT_MODULES];
	uint64_t at = BOOT_STRINGS;
	unsigned int i;
	size_t len;

	for (i = 0; i < boot->nr_modules; i++) {
		const struct boot_module *m = &boot->module[i];

		len = strlen(m->string) + 1;
		if (len > BOOT_CMDLINE - at)
			return boot_fail(boot, "the modules' arguments are too long together");
		if (guest_write(vm, at, m->string, len))
			return boot_fail(boot, "no guest memory for module strings");
		mod[i] = (struct mb_module){
			.start = (uint32_t)m->gpa, .end = (uint32_t)(m->gpa + m->image.size),
			.string = (uint32_t)at,
		};
		at += len;
	}
	if (guest_write(vm, MB_MODULES, mod, boot->nr_modules * sizeof(mod[0])))
		return boot_fail(boot, "no guest memory for the module list");
	return 0;
}

static int mb_load(struct vm *vm, struct boot *boot, struct boot_entry *entry)
{
	static const char name[] = "hv vmm";
	const uint64_t name_gpa = BOOT_INFO + sizeof(struct mb_info);
	struct mb_info info = { 0 };
	struct memory_range r[MB_MMAP_MAX];
	struct mb_mmap map[MB_MMAP_MAX];
	uint64_t at, start = 0, end = 0, low = vm->memory.ram[0].size;
	struct mb_header h;
	unsigned int i, n;
	char *cmdline;
	size_t len;
	int ret;

	ret = mb_find(boot, &h, &at);
	if (ret <= 0)
		return ret ? ret : boot_fail(boot, "%s: no multiboot header", boot->kernel.path);
	if (h.flags & MB_ADDRESSES)
		ret = mb_load_flat(vm, boot, &h, at, &start, &end);
	else
		ret = mb_load_elf(vm, boot, &start, &end);
	if (ret)
		return ret;
	if (start >= MEMORY_HIGH_BASE || !guest_is_ram(vm, start, 1))
		return boot_fail(boot, "%s: entry %#llx is not in guest memory", boot->kernel.path,
				 (unsigned long long)start);
	ret = boot_put_modules(vm, boot, end, low);
	if (!ret)
		ret = mb_put_modules(vm, boot);
	if (ret)
		return ret;

	/* By custom the first word is the image's own name. */
	len = strlen(boot->kernel.path) + strlen(boot->cmdline) + 2;
	cmdline = malloc(len);
	if (!cmdline)
		return boot_fail(boot, "out of memory");
	snprintf(cmdline, len, "%s%s%s", boot->kernel.path, *boot->cmdline ? " " : "",
		 boot->cmdline);
	ret = boot_put_cmdline(vm, boot, cmdline, BOOT_CMDLINE_ROOM - 1);
	free(cmdline);
	if (ret)
		return ret;

	n = memory_map_get(vm, r, MB_MMAP_MAX);
	if (n > MB_MMAP_MAX)
		n = MB_MMAP_MAX;
	for (i = 0; i < n; i++)
		map[i] = (struct mb_mmap){ sizeof(map[0]) - 4, r[i].base, r[i].size, r[i].type };
	info.flags = MBI_MEMORY | MBI_CMDLINE | MBI_MMAP | MBI_NAME;
	if (boot->nr_modules) {
		info.flags |= MBI_MODULES;
		info.mods_count = boot->nr_modules;
		info.mods_addr = MB_MODULES;
	}
	info.mem_lower = 639;
	info.mem_upper = low > 0x100000 ? (uint32_t)((low - 0x100000) >> 10) : 0;
	info.cmdline = BOOT_CMDLINE;
	info.mmap_length = (uint32_t)(n * sizeof(map[0]));
	info.mmap_addr = BOOT_TABLES;
	info.boot_loader_name = (uint32_t)name_gpa;
	ret = guest_write(vm, BOOT_TABLES, map, info.mmap_length);
	ret |= guest_write(vm, name_gpa, name, sizeof(name));
	ret |= guest_write(vm, BOOT_INFO, &info, sizeof(info));
	if (ret)
		return boot_fail(boot, "no guest memory for the multiboot information");
	entry->mode = BOOT_PROTECTED;
	entry->rip = start;
	entry->rax = MB_EAX;
	entry->rbx = BOOT_INFO;
	return 0;
}

const struct boot_loader boot_multiboot = {
	.name = "multiboot",
	.what = "multiboot 1",
	.probe = mb_probe,
	.load = mb_load,
};
