// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvh.c - ELF by the PVH entry: Xen's "HVM direct boot ABI" (docs/misc/pvh.pandoc
 * and start_info version 1), used by Linux vmlinux, FreeBSD, NetBSD, unikernels.
 *
 * The entry runs in 32-bit protected mode without paging, EBX at start_info.
 */
#include <errno.h>
#include <string.h>

#include "vmm/boot/boot.h"
#include "vmm/vm.h"

#define PVH_MAGIC	0x336ec578

struct pvh_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist;
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memmap;
	uint32_t nr_memmap;
	uint32_t reserved;
};

struct pvh_module {
	uint64_t gpa;
	uint64_t size;
	uint64_t cmdline;
	uint64_t reserved;
};

struct pvh_memmap {
	uint64_t base;
	uint64_t size;
	uint32_t type;		/* as in E820 */
	uint32_t reserved;
};

#define PVH_MEMMAP_MAX	32
#define PVH_MODULES	(BOOT_TABLES + PVH_MEMMAP_MAX * sizeof(struct pvh_memmap))

static int pvh_probe(struct boot *boot)
{
	struct elf_image elf;
	int ret = elf_probe(boot, &elf);

	if (ret <= 0)
		return ret;
	return elf.has_pvh;
}

static int pvh_load(struct vm *vm, struct boot *boot, struct boot_entry *entry)
{
	struct pvh_start_info info = { .magic = PVH_MAGIC, .version = 1 };
	struct memory_range r[PVH_MEMMAP_MAX];
	struct pvh_memmap map[PVH_MEMMAP_MAX];
	struct pvh_module mod[BOOT_MODULES];
	struct elf_image elf;
	unsigned int i, n;
	int ret;

	ret = elf_probe(boot, &elf);
	if (ret <= 0 || !elf.has_pvh)
		return ret < 0 ? ret : boot_fail(boot, "%s: no PVH note", boot->kernel.path);
	ret = elf_load(vm, boot, &elf);
	if (ret)
		return ret;
	if (!guest_is_ram(vm, elf.pvh_entry, 1) || elf.pvh_entry >= MEMORY_HIGH_BASE)
		return boot_fail(boot, "%s: PVH entry %#llx is not in guest memory",
				 boot->kernel.path, (unsigned long long)elf.pvh_entry);
	ret = boot_put_modules(vm, boot, elf.end, vm->memory.ram[0].size);
	if (!ret)
		ret = boot_put_cmdline(vm, boot, boot->cmdline, BOOT_CMDLINE_ROOM - 1);
	if (ret)
		return ret;

	n = memory_map_get(vm, r, PVH_MEMMAP_MAX);
	if (n > PVH_MEMMAP_MAX)
		n = PVH_MEMMAP_MAX;
	for (i = 0; i < n; i++)
		map[i] = (struct pvh_memmap){ r[i].base, r[i].size, r[i].type, 0 };
	for (i = 0; i < boot->nr_modules; i++)
		mod[i] = (struct pvh_module){ .gpa = boot->module[i].gpa,
					      .size = boot->module[i].image.size };
	info.nr_modules = boot->nr_modules;
	info.modlist = boot->nr_modules ? PVH_MODULES : 0;
	info.cmdline = BOOT_CMDLINE;
	info.rsdp = boot->rsdp;
	info.memmap = BOOT_TABLES;
	info.nr_memmap = n;
	ret = guest_write(vm, BOOT_TABLES, map, n * sizeof(map[0]));
	ret |= guest_write(vm, PVH_MODULES, mod, boot->nr_modules * sizeof(mod[0]));
	ret |= guest_write(vm, BOOT_INFO, &info, sizeof(info));
	if (ret)
		return boot_fail(boot, "no guest memory for start_info");
	entry->mode = BOOT_PROTECTED;
	entry->rip = elf.pvh_entry;
	entry->rbx = BOOT_INFO;
	return 0;
}

const struct boot_loader boot_pvh = {
	.name = "pvh",
	.what = "ELF, PVH entry",
	.linux_cmdline = true,
	.probe = pvh_probe,
	.load = pvh_load,
};
