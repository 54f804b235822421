// SPDX-License-Identifier: GPL-2.0-only
/*
 * linux.c - Linux bzImage at its 64-bit entry.
 *
 * Implements Documentation/arch/x86/boot.rst of Linux, "The Real-Mode Kernel
 * Header" and "64-bit Boot Protocol": protocol 2.12 or later with
 * XLF_KERNEL_64.  The real-mode part of the image is not run.
 *
 * Must not believe the header: sizes and addresses come from a file.
 */
#include <errno.h>
#include <string.h>

#include "vmm/boot/boot.h"
#include "vmm/vm.h"

/* Offsets in the image, which are those in the zero page too. */
#define HDR			0x1f1
#define HDR_SETUP_SECTS		0x1f1	/* u8 */
#define HDR_SYSSIZE		0x1f4	/* u32, 16-byte units */
#define HDR_BOOT_FLAG		0x1fe	/* u16, 0xaa55 */
#define HDR_JUMP		0x201	/* u8: end of the header, from 0x202 */
#define HDR_MAGIC		0x202	/* "HdrS" */
#define HDR_VERSION		0x206	/* u16 */
#define HDR_TYPE_OF_LOADER	0x210	/* u8 */
#define HDR_LOADFLAGS		0x211	/* u8 */
#define HDR_RAMDISK_IMAGE	0x218	/* u32 */
#define HDR_RAMDISK_SIZE	0x21c	/* u32 */
#define HDR_CMD_LINE_PTR	0x228	/* u32 */
#define HDR_INITRD_ADDR_MAX	0x22c	/* u32, highest byte */
#define HDR_ALIGNMENT		0x230	/* u32 */
#define HDR_RELOCATABLE		0x234	/* u8 */
#define HDR_XLOADFLAGS		0x236	/* u16 */
#define HDR_CMDLINE_SIZE	0x238	/* u32 */
#define HDR_PREF_ADDRESS	0x258	/* u64 */
#define HDR_INIT_SIZE		0x260	/* u32 */
#define HDR_MAX_END		0x290

#define LOADED_HIGH		0x01
#define XLF_KERNEL_64		0x01
#define LOADER_UNDEFINED	0xff

/* The zero page */
#define ZP_ACPI_RSDP		0x070	/* u64 */
#define ZP_E820_ENTRIES		0x1e8	/* u8 */
#define ZP_E820			0x2d0
#define E820_ENTRY		20
#define E820_MAX		128

#define ENTRY_64		0x200

static uint16_t get16(const uint8_t *p, unsigned int at)
{
	uint16_t v;

	memcpy(&v, p + at, sizeof(v));
	return v;
}

static uint32_t get32(const uint8_t *p, unsigned int at)
{
	uint32_t v;

	memcpy(&v, p + at, sizeof(v));
	return v;
}

static uint64_t get64(const uint8_t *p, unsigned int at)
{
	uint64_t v;

	memcpy(&v, p + at, sizeof(v));
	return v;
}

static void put32(uint8_t *p, unsigned int at, uint32_t v)
{
	memcpy(p + at, &v, sizeof(v));
}

static void put64(uint8_t *p, unsigned int at, uint64_t v)
{
	memcpy(p + at, &v, sizeof(v));
}

/* Bytes of the real-mode part, and of the kernel behind it, which must be there. */
static int linux_sizes(struct boot *boot, const uint8_t *h, uint64_t *setup, uint64_t *size)
{
	const char *path = boot->kernel.path;

	*setup = ((h[HDR_SETUP_SECTS] ? h[HDR_SETUP_SECTS] : 4) + 1) * 512ULL;
	*size = get32(h, HDR_SYSSIZE) * 16ULL;
	if (*setup >= boot->kernel.size || !*size)
		return boot_fail(boot, "%s: truncated: no kernel after the setup code; copy it "
				 "again", path);
	/* The size is rounded up to 16 bytes. */
	if (boot->kernel.size - *setup + 15 < *size)
		return boot_fail(boot, "%s: truncated: %llu of %llu bytes; copy it again", path,
				 (unsigned long long)boot->kernel.size,
				 (unsigned long long)(*setup + *size));
	return 0;
}

static int linux_probe(struct boot *boot)
{
	const char *path = boot->kernel.path;
	uint8_t h[HDR_MAX_END];
	uint64_t setup, size;
	uint16_t version;

	if (boot->kernel.size < sizeof(h))
		return 0;
	if (image_read(boot, &boot->kernel, 0, h, sizeof(h)))
		return -EINVAL;
	if (memcmp(h + HDR_MAGIC, "HdrS", 4) || get16(h, HDR_BOOT_FLAG) != 0xaa55)
		return 0;
	version = get16(h, HDR_VERSION);
	if (version < 0x20c)
		return boot_fail(boot, "%s: boot protocol %u.%u is too old, 2.12 (Linux 3.8) is "
				 "needed", path, version >> 8, version & 0xff);
	if (!(get16(h, HDR_XLOADFLAGS) & XLF_KERNEL_64))
		return boot_fail(boot, "%s: a 32-bit kernel; use one built for x86-64", path);
	if (!(h[HDR_LOADFLAGS] & LOADED_HIGH))
		return boot_fail(boot, "%s: a zImage; use a bzImage", path);
	if (linux_sizes(boot, h, &setup, &size))
		return -EINVAL;
	return 1;
}

/* Where the kernel goes: its preferred address, or the lowest that is aligned. */
static int linux_place(struct vm *vm, struct boot *boot, const uint8_t *h, uint64_t size,
		       uint64_t *where)
{
	uint64_t align = get32(h, HDR_ALIGNMENT), pref = get64(h, HDR_PREF_ADDRESS);
	uint64_t init_size = get32(h, HDR_INIT_SIZE), need = size > init_size ? size : init_size;

	if (!align || (align & (align - 1)))
		return boot_fail(boot, "%s: corrupt header: alignment %#llx", boot->kernel.path,
				 (unsigned long long)align);
	/* Low memory only: the page tables of the hand-over end at 4 GiB. */
	if (pref < MEMORY_HIGH_BASE && guest_is_ram(vm, pref, need) && pref >= 0x100000) {
		*where = pref;
	} else if (h[HDR_RELOCATABLE]) {
		*where = (0x100000 + align - 1) & ~(align - 1);
	} else {
		*where = pref;
	}
	return boot_check_range(vm, boot, "kernel", *where, need);
}

static int linux_e820(struct vm *vm, uint8_t *zp)
{
	struct memory_range r[E820_MAX];
	unsigned int i, n = memory_map_get(vm, r, E820_MAX);
	uint8_t *p = zp + ZP_E820;

	for (i = 0; i < n && i < E820_MAX; i++, p += E820_ENTRY) {
		put64(p, 0, r[i].base);
		put64(p, 8, r[i].size);
		put32(p, 16, r[i].type);
	}
	zp[ZP_E820_ENTRIES] = (uint8_t)i;
	return 0;
}

static int linux_load(struct vm *vm, struct boot *boot, struct boot_entry *entry)
{
	uint8_t h[HDR_MAX_END], zp[GUEST_PAGE];
	uint64_t setup, size, file_size, where = 0, need, limit;
	unsigned int end;
	int ret;

	ret = image_read(boot, &boot->kernel, 0, h, sizeof(h));
	if (ret)
		return ret;
	/* One checked copy; the file is not read again for any of it. */
	ret = linux_sizes(boot, h, &setup, &size);
	if (ret)
		return ret;
	file_size = boot->kernel.size - setup;
	if (file_size > size)
		file_size = size;	/* what follows is a signature */
	ret = linux_place(vm, boot, h, size, &where);
	if (ret)
		return ret;
	ret = image_load(vm, boot, &boot->kernel, setup, where, file_size);
	if (ret)
		return ret;

	need = get32(h, HDR_INIT_SIZE) > size ? get32(h, HDR_INIT_SIZE) : size;
	limit = get32(h, HDR_INITRD_ADDR_MAX) + 1ULL;
	if (limit > vm->memory.ram[0].size)
		limit = vm->memory.ram[0].size;
	ret = boot_put_modules(vm, boot, where + need, limit);
	if (!ret)
		ret = boot_put_cmdline(vm, boot, boot->cmdline, get32(h, HDR_CMDLINE_SIZE));
	if (!ret)
		ret = boot_put_long_mode(vm, boot);
	if (ret)
		return ret;

	memset(zp, 0, sizeof(zp));
	end = 0x202U + h[HDR_JUMP];
	if (end > HDR_MAX_END)
		end = HDR_MAX_END;
	if (end > HDR)
		memcpy(zp + HDR, h + HDR, end - HDR);
	zp[HDR_TYPE_OF_LOADER] = LOADER_UNDEFINED;
	put32(zp, HDR_CMD_LINE_PTR, BOOT_CMDLINE);
	put32(zp, HDR_RAMDISK_IMAGE, boot->nr_modules ? (uint32_t)boot->module[0].gpa : 0);
	put32(zp, HDR_RAMDISK_SIZE,
	      boot->nr_modules ? (uint32_t)boot->module[0].image.size : 0);
	put64(zp, ZP_ACPI_RSDP, boot->rsdp);
	linux_e820(vm, zp);
	if (guest_write(vm, BOOT_INFO, zp, sizeof(zp)))
		return boot_fail(boot, "no guest memory for the zero page");

	entry->mode = BOOT_LONG;
	entry->rip = where + ENTRY_64;
	entry->rsi = BOOT_INFO;
	return 0;
}

const struct boot_loader boot_linux = {
	.name = "linux",
	.what = "Linux bzImage, 64-bit entry",
	.linux_cmdline = true,
	.probe = linux_probe,
	.load = linux_load,
};
