/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * boot.h - direct boot: putting a kernel image into guest memory.
 *
 * One loader a file.  A loader only writes guest memory and says in which CPU
 * state the first vCPU must begin; it knows nothing of /dev/hv.  Images are
 * hostile: every offset, size and count in them is checked before use, and the
 * file may change or shrink at any time, so what has been checked is a copy.
 *
 * The files stay open, because a reset loads them again when the process has
 * no right to open anything any more.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;

/*
 * Guest-physical places of what a loader leaves for the kernel.  Everything is
 * in BOOT_AREA, which no image may claim for itself.
 */
#define BOOT_AREA		0x1000ULL
#define BOOT_GDT		0x1000ULL
#define BOOT_PAGE_TABLES	0x2000ULL	/* PML4, PDPT, 4 page directories */
#define BOOT_INFO		0x8000ULL	/* zero page, start_info, multiboot info */
#define BOOT_TABLES		0x9000ULL	/* memory map, module list */
#define BOOT_STRINGS		0xc000ULL	/* module strings */
#define BOOT_CMDLINE		0x10000ULL
#define BOOT_AREA_END		0x20000ULL	/* exclusive */
#define BOOT_CMDLINE_ROOM	(BOOT_AREA_END - BOOT_CMDLINE)

#define BOOT_MODULES		16

struct image {
	int fd;			/* -1: none */
	char *path;
	const char *what;	/* "kernel", "initrd", "module" */
	uint64_t size;		/* when it was opened or last looked at */
};

struct boot_module {
	struct image image;
	char *string;		/* multiboot: "FILE arguments" */
	uint64_t gpa;		/* where it was put */
};

struct boot_loader;

struct boot {
	const struct boot_loader *loader;
	struct image kernel;
	struct boot_module module[BOOT_MODULES];	/* [0] is the initrd */
	unsigned int nr_modules;
	char *cmdline;
	uint64_t rsdp;			/* from the platform */
	char error[320];		/* one line, after a failure */
};

enum boot_mode { BOOT_PROTECTED, BOOT_LONG };

/* State of the first vCPU.  Flat segments; long mode pages by BOOT_PAGE_TABLES. */
struct boot_entry {
	enum boot_mode mode;
	uint64_t rip;
	uint64_t rax, rbx, rsi;
};

struct boot_loader {
	const char *name;
	const char *what;		/* for people: "Linux bzImage" */
	bool linux_cmdline;		/* root= and console= mean something to it */
	/* 1: mine; 0: not mine; -errno with boot->error: mine, and broken. */
	int (*probe)(struct boot *boot);
	int (*load)(struct vm *vm, struct boot *boot, struct boot_entry *entry);
};

extern const struct boot_loader boot_linux, boot_pvh, boot_multiboot;

/* Opens and probes what the configuration names; prints one line on error. */
int boot_open(struct vm *vm);
/* Puts everything into memory; at the start and after every reset. */
int boot_load(struct vm *vm, struct boot_entry *entry);
void boot_close(struct vm *vm);

/* -- for loaders -- */

/* Sets boot->error; returns -EINVAL. */
int boot_fail(struct boot *boot, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Reads exactly @len bytes at @offset; an image that is too short is an error. */
int image_read(struct boot *boot, struct image *image, uint64_t offset, void *buf, size_t len);
/* Copies @len bytes of the file to guest memory, which must be RAM. */
int image_load(struct vm *vm, struct boot *boot, struct image *image, uint64_t offset,
	       uint64_t gpa, uint64_t len);
/* boot->cmdline with its NUL to BOOT_CMDLINE; @max bytes without the NUL. */
int boot_put_cmdline(struct vm *vm, struct boot *boot, const char *text, uint64_t max);
/* GDT and identity page tables of the first 4 GiB. */
int boot_put_long_mode(struct vm *vm, struct boot *boot);
/* Puts the modules between @floor and @ceiling (exclusive), top down, at page
 * boundaries. */
int boot_put_modules(struct vm *vm, struct boot *boot, uint64_t floor, uint64_t ceiling);
/* May an image be put at [gpa, gpa + len)?  RAM, outside BOOT_AREA and the tables
 * below 1 MiB. */
int boot_check_range(struct vm *vm, struct boot *boot, const char *what, uint64_t gpa,
		     uint64_t len);

/* elf.c */
struct elf_image {
	bool is64;
	uint64_t entry;		/* physical */
	uint64_t end;		/* after loading: end of what lies below 4 GiB */
	bool has_pvh;
	uint64_t pvh_entry;
};
/* 1: an ELF image for x86, headers read; 0: not ELF; -errno. */
int elf_probe(struct boot *boot, struct elf_image *elf);
int elf_load(struct vm *vm, struct boot *boot, struct elf_image *elf);

#endif
