// SPDX-License-Identifier: GPL-2.0-only
/*
 * boot.c - finds the loader of an image, and what loaders share (boot.h).
 *
 * Must not keep anything of an image that a reset could not read again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/boot/boot.h"
#include "vmm/platform.h"
#include "vmm/vm.h"

static const struct boot_loader *const loaders[] = { &boot_linux, &boot_pvh, &boot_multiboot };

int boot_fail(struct boot *boot, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(boot->error, sizeof(boot->error), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int image_read(struct boot *boot, struct image *image, uint64_t offset, void *buf, size_t len)
{
	uint8_t *p = buf;
	ssize_t n;

	if (offset > image->size || len > image->size - offset)
		return boot_fail(boot, "%s: truncated: %llu bytes, %llu needed; copy it again",
				 image->path, (unsigned long long)image->size,
				 (unsigned long long)offset + len);
	while (len) {
		n = pread(image->fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return boot_fail(boot, "cannot read %s: %s", image->path, strerror(errno));
		if (!n)
			return boot_fail(boot, "%s: it has become shorter while being read",
					 image->path);
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int image_load(struct vm *vm, struct boot *boot, struct image *image, uint64_t offset,
	       uint64_t gpa, uint64_t len)
{
	struct guest_pin pin;
	int ret;

	if (!len)
		return 0;
	if (guest_pin(vm, gpa, len, GUEST_WRITE, &pin))
		return boot_fail(boot, "%s: no guest memory at %#llx for %llu bytes; give more "
				 "with --memory", image->path, (unsigned long long)gpa,
				 (unsigned long long)len);
	ret = image_read(boot, image, offset, pin.hva, len);
	guest_unpin(vm, &pin, len);
	return ret;
}

int boot_check_range(struct vm *vm, struct boot *boot, const char *what, uint64_t gpa,
		     uint64_t len)
{
	const char *path = boot->kernel.path;

	if (!guest_is_ram(vm, gpa, len))
		return boot_fail(boot, "%s: %s at %#llx, %llu KiB, does not fit into the guest's "
				 "%llu MiB; give more with --memory", path, what,
				 (unsigned long long)gpa, (unsigned long long)(len >> 10),
				 (unsigned long long)(vm->memory.size >> 20));
	if ((gpa < BOOT_AREA_END && gpa + len > BOOT_AREA) ||
	    (gpa < PLATFORM_ACPI_END && gpa + len > PLATFORM_ACPI_BASE))
		return boot_fail(boot, "%s: %s at %#llx lies where boot data must go; link it at "
				 "1 MiB or above", path, what, (unsigned long long)gpa);
	return 0;
}

int boot_put_cmdline(struct vm *vm, struct boot *boot, const char *text, uint64_t max)
{
	size_t len = strlen(text);

	if (max > BOOT_CMDLINE_ROOM - 1)
		max = BOOT_CMDLINE_ROOM - 1;
	if (len > max)
		return boot_fail(boot, "the command line has %zu characters, this kernel takes "
				 "%llu; shorten it", len, (unsigned long long)max);
	if (guest_write(vm, BOOT_CMDLINE, text, len + 1))
		return boot_fail(boot, "no guest memory for the command line");
	return 0;
}

/*
 * GDT as the Linux boot protocol wants it (code at 0x10, data at 0x18) and
 * 2 MiB pages that map the first 4 GiB to themselves.
 */
int boot_put_long_mode(struct vm *vm, struct boot *boot)
{
	static const uint64_t gdt[] = {
		0, 0,
		0x00af9b000000ffffULL,	/* 64-bit code, accessed */
		0x00cf93000000ffffULL,	/* data, accessed */
	};
	const uint64_t pml4 = BOOT_PAGE_TABLES, pdpt = pml4 + GUEST_PAGE;
	uint64_t table[512], i, j;
	int ret;

	ret = guest_write(vm, BOOT_GDT, gdt, sizeof(gdt));
	memset(table, 0, sizeof(table));
	table[0] = pdpt | 3;			/* present, writable */
	ret |= guest_write(vm, pml4, table, sizeof(table));
	for (i = 0; i < 4; i++)
		table[i] = (pdpt + (i + 1) * GUEST_PAGE) | 3;
	ret |= guest_write(vm, pdpt, table, sizeof(table));
	for (i = 0; i < 4; i++) {
		for (j = 0; j < 512; j++)
			table[j] = (i << 30) | (j << 21) | 0x83;	/* large page */
		ret |= guest_write(vm, pdpt + (i + 1) * GUEST_PAGE, table, sizeof(table));
	}
	return ret ? boot_fail(boot, "no guest memory for page tables") : 0;
}

int boot_put_modules(struct vm *vm, struct boot *boot, uint64_t floor, uint64_t ceiling)
{
	unsigned int i;
	uint64_t size;
	int ret;

	floor = (floor + GUEST_PAGE - 1) & ~(GUEST_PAGE - 1);
	if (floor < 0x100000)
		floor = 0x100000;
	ceiling &= ~(GUEST_PAGE - 1);
	for (i = 0; i < boot->nr_modules; i++) {
		struct boot_module *m = &boot->module[i];

		size = (m->image.size + GUEST_PAGE - 1) & ~(GUEST_PAGE - 1);
		if (ceiling < floor || size > ceiling - floor)
			return boot_fail(boot, "%s: %llu KiB do not fit beside the kernel into "
					 "the guest's %llu MiB; give more with --memory",
					 m->image.path, (unsigned long long)(size >> 10),
					 (unsigned long long)(vm->memory.size >> 20));
		ceiling -= size;
		m->gpa = ceiling;
		ret = image_load(vm, boot, &m->image, 0, m->gpa, m->image.size);
		if (ret)
			return ret;
	}
	return 0;
}

/* ------------------------------------------------------------------ */

static int image_stat(struct boot *boot, struct image *image)
{
	struct stat st;

	if (fstat(image->fd, &st))
		return boot_fail(boot, "cannot read %s: %s", image->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return boot_fail(boot, "%s %s is %s; give a file", image->what, image->path,
				 S_ISDIR(st.st_mode) ? "a directory" : "not a regular file");
	image->size = (uint64_t)st.st_size;
	return 0;
}

static int image_open(struct boot *boot, struct image *image, const char *what, const char *path)
{
	image->what = what;
	image->path = strdup(path);
	if (!image->path)
		return boot_fail(boot, "out of memory");
	image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (image->fd < 0)
		return boot_fail(boot, "cannot open %s %s: %s", what, *path ? path : "''",
				 strerror(errno));
	return image_stat(boot, image);
}

static int module_open(struct boot *boot, const char *what, const char *string)
{
	struct boot_module *m = &boot->module[boot->nr_modules];
	char *path;
	int ret;

	if (boot->nr_modules == BOOT_MODULES)
		return boot_fail(boot, "more than %d modules", BOOT_MODULES);
	m->image.fd = -1;
	m->string = strdup(string);
	path = strndup(string, strcspn(string, " "));
	boot->nr_modules++;
	if (!m->string || !path)
		ret = boot_fail(boot, "out of memory");
	else
		ret = image_open(boot, &m->image, what, path);
	if (!ret && !m->image.size)
		ret = boot_fail(boot, "%s %s is empty", what, path);
	free(path);
	return ret;
}

static int boot_probe(struct boot *boot)
{
	unsigned int i;
	int ret;

	for (i = 0; i < sizeof(loaders) / sizeof(loaders[0]); i++) {
		ret = loaders[i]->probe(boot);
		if (ret < 0)
			return ret;
		if (ret) {
			boot->loader = loaders[i];
			return 0;
		}
	}
	return boot_fail(boot, "%s: not a kernel that can be booted here: neither a 64-bit bzImage "
			 "nor ELF with a PVH note nor multiboot 1", boot->kernel.path);
}

int boot_open(struct vm *vm)
{
	const struct config *c = vm->config;
	struct boot *boot;
	unsigned int i;
	int ret;

	if (!*config_string(c, "kernel")) {
		log_error(NULL, "nothing to boot: give a kernel with --kernel FILE");
		return -EINVAL;
	}
	boot = calloc(1, sizeof(*boot));
	if (!boot) {
		log_error(vm, "out of memory");
		return -ENOMEM;
	}
	vm->boot = boot;
	boot->kernel.fd = -1;
	ret = image_open(boot, &boot->kernel, "kernel", config_string(c, "kernel"));
	if (!ret)
		ret = boot_probe(boot);
	if (!ret && *config_string(c, "initrd")) {
		/* An initrd's name may hold blanks; only multiboot knows arguments. */
		ret = module_open(boot, "initrd", config_string(c, "initrd"));
	}
	for (i = 0; !ret && i < config_count(c, "module"); i++)
		ret = module_open(boot, "module", config_string(c, "module.%u", i));
	if (!ret && boot->nr_modules > 1 && boot->loader == &boot_linux)
		ret = boot_fail(boot, "a Linux kernel takes one initrd; module.# is for multiboot "
				"and PVH");
	if (ret) {
		log_error(vm, "%s", boot->error);
		boot_close(vm);
	}
	return ret;
}

int boot_load(struct vm *vm, struct boot_entry *entry)
{
	struct boot *boot = vm->boot;
	unsigned int i;
	int ret;

	free(boot->cmdline);
	boot->cmdline = strdup(config_string(vm->config, "cmdline"));
	if (!boot->cmdline) {
		log_error(vm, "out of memory");
		return -ENOMEM;
	}
	/* The files may have been replaced in place since they were opened. */
	ret = image_stat(boot, &boot->kernel);
	for (i = 0; !ret && i < boot->nr_modules; i++)
		ret = image_stat(boot, &boot->module[i].image);
	*entry = (struct boot_entry){ 0 };
	if (!ret) {
		ret = boot->loader->probe(boot);
		if (!ret)
			ret = boot_fail(boot, "%s: it has been replaced by another kind of image",
					boot->kernel.path);
		else if (ret > 0)
			ret = boot->loader->load(vm, boot, entry);
	}
	if (ret)
		log_error(vm, "%s", boot->error);
	return ret;
}

static void image_close(struct image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	free(image->path);
}

void boot_close(struct vm *vm)
{
	struct boot *boot = vm->boot;
	unsigned int i;

	if (!boot)
		return;
	image_close(&boot->kernel);
	for (i = 0; i < boot->nr_modules; i++) {
		image_close(&boot->module[i].image);
		free(boot->module[i].string);
	}
	free(boot->cmdline);
	free(boot);
	vm->boot = NULL;
}
