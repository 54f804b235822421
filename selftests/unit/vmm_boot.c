// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmm_boot.c - tests of vmm/boot: good images land where they should, and no
 * malformed one is accepted or harms the loader.
 *
 * Every byte of a good image's headers is also changed in turn, and every image
 * cut at many lengths: the loader must refuse or load, never fault.
 */
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "vmm/boot/boot.h"
#include "vmm/vm.h"

#define MEM	(64ULL << 20)

static struct vm vm;
static int devnull, saved_err;

static void put32(uint8_t *p, size_t at, uint32_t v)
{
	memcpy(p + at, &v, 4);
}

static uint32_t get32(uint64_t gpa)
{
	uint32_t v = 0xdeadbeef;

	guest_read(&vm, gpa, &v, 4);
	return v;
}

static uint64_t get64(uint64_t gpa)
{
	uint64_t v = 0xdeadbeef;

	guest_read(&vm, gpa, &v, 8);
	return v;
}

static void vm_init(uint64_t memory)
{
	char text[24];

	memset(&vm, 0, sizeof(vm));
	vm.config = config_create();
	snprintf(text, sizeof(text), "%llu", (unsigned long long)memory);
	config_set(vm.config, "memory", text, text, sizeof(text));
	pthread_mutex_init(&vm.lock, NULL);
	if (memory_create(&vm))
		ktap_bail("no memory for a test guest");
}

static void vm_fini(void)
{
	memory_destroy(&vm);
	config_destroy(vm.config);
}

/* Opens and loads @image; 0, or the loader's error. */
static int load(const void *image, size_t len, const void *initrd, size_t initrd_len,
		const char *cmdline, struct boot_entry *entry)
{
	char kpath[] = "/tmp/vmm_boot.XXXXXX", ipath[] = "/tmp/vmm_boot.XXXXXX", err[320];
	int k = mkstemp(kpath), i = mkstemp(ipath), ret;

	if (write(k, image, len) != (ssize_t)len ||
	    write(i, initrd, initrd_len) != (ssize_t)initrd_len)
		ktap_bail("cannot write to /tmp");
	config_set(vm.config, "kernel", kpath, err, sizeof(err));
	config_set(vm.config, "initrd", initrd_len ? ipath : "", err, sizeof(err));
	config_set(vm.config, "cmdline", cmdline, err, sizeof(err));
	dup2(devnull, STDERR_FILENO);
	ret = boot_open(&vm);
	if (!ret) {
		vm.boot->rsdp = 0xe0000;
		ret = boot_load(&vm, entry);
	}
	dup2(saved_err, STDERR_FILENO);
	boot_close(&vm);
	unlink(kpath);
	unlink(ipath);
	close(k);
	close(i);
	return ret;
}

static int load1(const void *image, size_t len)
{
	struct boot_entry entry;

	return load(image, len, NULL, 0, "", &entry);
}

/* Changes each of the first @head bytes and cuts at each length; counts loads. */
static unsigned int torture(const uint8_t *image, size_t len, size_t head)
{
	static const uint8_t values[] = { 0x00, 0x7f, 0x80, 0xff };
	uint8_t *copy = malloc(len);
	unsigned int v, n = 0;
	size_t i;

	for (i = 0; i < head; i++)
		for (v = 0; v < sizeof(values); v++) {
			memcpy(copy, image, len);
			copy[i] = values[v];
			n += !load1(copy, len);
		}
	for (i = 0; i < len; i += i < head ? 7 : len / 8 + 1)
		n += !load1(image, i);
	free(copy);
	return n;
}

/* ---- Linux ---- */

static size_t bzimage(uint8_t *p, size_t room)
{
	const size_t setup = 5 * 512, size = 0x2000;

	memset(p, 0, room);
	p[0x1f1] = 4;
	put32(p, 0x1f4, size / 16);
	p[0x1fe] = 0x55;
	p[0x1ff] = 0xaa;
	p[0x200] = 0xeb;
	p[0x201] = 0x6a;
	memcpy(p + 0x202, "HdrS", 4);
	p[0x206] = 0x0f;
	p[0x207] = 0x02;
	p[0x211] = 1;
	put32(p, 0x22c, 0x7fffffff);
	put32(p, 0x230, 0x200000);
	p[0x234] = 1;
	p[0x236] = 0x3f;
	put32(p, 0x238, 2047);
	put32(p, 0x258, 0x1000000);
	put32(p, 0x260, 0x400000);
	memset(p + setup, 0x90, size);
	return setup + size;
}

static void linux_good(const uint8_t *image, size_t len)
{
	struct boot_entry e;
	uint64_t initrd;
	char text[8];

	ktap_check(!load(image, len, "INITRD", 6, "quiet", &e), "a bzImage loads");
	ktap_check(e.mode == BOOT_LONG && e.rip == 0x1000200 && e.rsi == BOOT_INFO,
		   "entry at the preferred address");
	ktap_check(get32(0x1000000) == 0x90909090 && get32(BOOT_INFO + 0x202) == 0x53726448 &&
		   get32(BOOT_INFO + 0x228) == BOOT_CMDLINE && get64(BOOT_INFO + 0x70) == 0xe0000,
		   "kernel, header, command line pointer and RSDP are in place");
	initrd = get32(BOOT_INFO + 0x218);
	memset(text, 0, sizeof(text));
	guest_read(&vm, initrd, text, 6);
	ktap_check(initrd >= 0x1400000 && initrd + 6 <= MEM && !(initrd & 0xfff) &&
		   get32(BOOT_INFO + 0x21c) == 6 && !strcmp(text, "INITRD"),
		   "the initrd lies above the kernel's working space");
	guest_read(&vm, BOOT_CMDLINE, text, 6);
	ktap_check(!strcmp(text, "quiet"), "the command line is there with its end");
	ktap_check(get64(BOOT_INFO + 0x2d0) == 0 && get32(BOOT_INFO + 0x2d0 + 16) == 1 &&
		   get64(BOOT_INFO + 0x2d0 + 40) == 0x100000 &&
		   get64(BOOT_INFO + 0x2d0 + 48) == MEM - 0x100000, "the e820 map");
	ktap_check(get64(BOOT_PAGE_TABLES) == (BOOT_PAGE_TABLES + 0x1000) + 3 &&
		   get64(BOOT_PAGE_TABLES + 0x2000 + 8 * 8) == (0x1000000 | 0x83) &&
		   get64(BOOT_PAGE_TABLES + 0x5000 + 511 * 8) == (0xffe00000 | 0x83),
		   "page tables map 4 GiB to themselves");
}

static void linux_bad(const uint8_t *image, size_t len)
{
	uint8_t *p = malloc(len);
	struct boot_entry e;
	char big[4096];

#define CHANGED(code) ({ memcpy(p, image, len); code; load1(p, len); })
	ktap_check(CHANGED(p[0x206] = 0x0b), "protocol 2.11 is refused");
	ktap_check(CHANGED(p[0x236] = 0), "a 32-bit kernel is refused");
	ktap_check(CHANGED(p[0x211] = 0), "a zImage is refused");
	ktap_check(CHANGED(put32(p, 0x230, 3)) && CHANGED(put32(p, 0x230, 0)),
		   "a corrupt alignment is refused");
	ktap_check(CHANGED(put32(p, 0x260, 0xfffffff0)), "an init size beyond memory is refused");
	ktap_check(CHANGED(put32(p, 0x1f4, 0)) && CHANGED(put32(p, 0x1f4, 0xffffffff)),
		   "a corrupt size is refused");
	ktap_check(CHANGED((p[0x234] = 0, put32(p, 0x258, 0xfffff000))),
		   "an address outside memory is refused");
	ktap_check(CHANGED((p[0x234] = 0, put32(p, 0x258, 0x8000))),
		   "an address over boot data is refused");
	ktap_check(!CHANGED((p[0x1f1] = 0)), "no setup sectors means four");
	ktap_check(load1(image, len - 0x1000) && load1(image, 0x300) && load1(image, 0x100) &&
		   load1(image, 0), "truncated images are refused");
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = 0;
	ktap_check(load(image, len, NULL, 0, big, &e), "a command line too long is refused");
	ktap_check(load(image, len, big, 1, "", &e) == 0 &&
		   CHANGED(put32(p, 0x22c, 0x100)) == 0, "initrd limits without an initrd");
	memcpy(p, image, len);
	put32(p, 0x22c, 0x1000000);
	ktap_check(load(p, len, "INITRD", 6, "", &e), "an initrd with no place is refused");
	free(p);
}

/* ---- ELF ---- */

struct elf32 {
	Elf32_Ehdr e;
	Elf32_Phdr ph[2];
	uint32_t mb[3];
	struct {
		Elf32_Nhdr n;
		char owner[4];
		uint32_t entry;
	} note;
	uint8_t code[256];
};

static void elf_make(struct elf32 *x, int multiboot, int pvh)
{
	memset(x, 0, sizeof(*x));
	memcpy(x->e.e_ident, ELFMAG, SELFMAG);
	x->e.e_ident[EI_CLASS] = ELFCLASS32;
	x->e.e_ident[EI_DATA] = ELFDATA2LSB;
	x->e.e_type = ET_EXEC;
	x->e.e_machine = EM_386;
	x->e.e_entry = 0xc0100010;
	x->e.e_phoff = offsetof(struct elf32, ph);
	x->e.e_phnum = 2;
	x->e.e_phentsize = sizeof(Elf32_Phdr);
	x->ph[0] = (Elf32_Phdr){ .p_type = PT_LOAD, .p_offset = offsetof(struct elf32, code),
				 .p_vaddr = 0xc0100000, .p_paddr = 0x100000,
				 .p_filesz = sizeof(x->code), .p_memsz = 0x2000 };
	if (multiboot) {
		x->mb[0] = 0x1badb002;
		x->mb[1] = 3;
		x->mb[2] = -(0x1badb002U + 3);
	}
	if (pvh) {
		x->ph[1] = (Elf32_Phdr){ .p_type = PT_NOTE,
					 .p_offset = offsetof(struct elf32, note),
					 .p_filesz = sizeof(x->note) };
		x->note.n = (Elf32_Nhdr){ 4, 4, 18 };
		memcpy(x->note.owner, "Xen", 4);
		x->note.entry = 0x100020;
	}
	memset(x->code, 0xcc, sizeof(x->code));
}

static void multiboot(void)
{
	struct elf32 x;
	struct boot_entry e;
	uint64_t mod, map;
	char text[64] = "";

	elf_make(&x, 1, 0);
	guest_write(&vm, 0x101ffc, "old!", 4);
	ktap_check(!load(&x, sizeof(x), "MODULE", 6, "a=b", &e), "a multiboot ELF image loads");
	ktap_check(e.mode == BOOT_PROTECTED && e.rip == 0x100010 && e.rax == 0x2badb002 &&
		   e.rbx == BOOT_INFO, "entry is physical");
	ktap_check(get32(0x100000) == 0xcccccccc && get32(0x101ffc) == 0, "code, and bss is zero");
	ktap_check((get32(BOOT_INFO) & 0x4d) == 0x4d && get32(BOOT_INFO + 4) == 639 &&
		   get32(BOOT_INFO + 8) == (MEM >> 10) - 1024, "memory sizes");
	guest_read(&vm, get32(BOOT_INFO + 16), text, sizeof(text) - 1);
	ktap_check(strstr(text, " a=b") && text[0] == '/', "command line after the image's name");
	mod = get32(BOOT_INFO + 24);
	ktap_check(get32(BOOT_INFO + 20) == 1 && get32(mod + 4) - get32(mod) == 6 &&
		   get32(get32(mod)) == 0x55444f4d, "a module");
	map = get32(BOOT_INFO + 48);
	ktap_check(get32(map) == 20 && get64(map + 4) == 0 && get32(map + 20) == 1 &&
		   get32(BOOT_INFO + 44) % 24 == 0, "the memory map");
	x.mb[1] = 3 | 8;
	x.mb[2] = -(0x1badb002U + (3 | 8));
	ktap_check(load1(&x, sizeof(x)), "a mandatory feature we do not know is refused");
	elf_make(&x, 1, 0);
	x.e.e_entry = 0xfffffff0;
	ktap_check(load1(&x, sizeof(x)), "an entry outside memory is refused");
	elf_make(&x, 1, 0);
	x.ph[0].p_paddr = 0x2000;
	ktap_check(load1(&x, sizeof(x)), "a segment over boot data is refused");
	x.ph[0].p_paddr = 0xfff00000;
	x.ph[0].p_memsz = 0xffffffff;
	ktap_check(load1(&x, sizeof(x)), "a segment that wraps is refused");
	elf_make(&x, 1, 0);
	ktap_check(torture((uint8_t *)&x, sizeof(x), sizeof(x) - sizeof(x.code)) > 0,
		   "every header byte changed, every length cut");
}

static void multiboot_flat(void)
{
	struct {
		uint32_t pad[4], magic, flags, sum, header, load, load_end, bss_end, entry;
		uint8_t code[64];
	} x = { .magic = 0x1badb002, .flags = 1 << 16 };
	struct boot_entry e;

	x.sum = -(x.magic + x.flags);
	x.header = 0x200010;
	x.load = 0x200000;
	x.bss_end = 0x201000;
	x.entry = 0x200030;
	memset(x.code, 0xf4, sizeof(x.code));
	ktap_check(!load(&x, sizeof(x), NULL, 0, "", &e) && e.rip == 0x200030 &&
		   get32(0x200010) == 0x1badb002 && get32(0x200030) == 0xf4f4f4f4,
		   "an image that carries its addresses loads");
	x.load_end = x.load + 0x10000;
	ktap_check(load1(&x, sizeof(x)), "more than the file has is refused");
	x.load_end = 0x1000;
	ktap_check(load1(&x, sizeof(x)), "an end before the begin is refused");
	x.load_end = 0;
	x.header = 0x100000;
	ktap_check(load1(&x, sizeof(x)), "a header before the image is refused");
	x.header = 0x200010;
	x.load = 0xffffff00;
	ktap_check(load1(&x, sizeof(x)), "an address outside memory is refused");
	x.load = 0x200000;
	x.bss_end = 0xffffffff;
	ktap_check(load1(&x, sizeof(x)), "a bss beyond memory is refused");
}

static void pvh(void)
{
	struct elf32 x;
	struct boot_entry e;

	elf_make(&x, 0, 1);
	ktap_check(!load(&x, sizeof(x), "MODULE", 6, "quiet", &e) && e.mode == BOOT_PROTECTED &&
		   e.rip == 0x100020 && e.rbx == BOOT_INFO, "an ELF image with a PVH note loads");
	ktap_check(get32(BOOT_INFO) == 0x336ec578 && get32(BOOT_INFO + 4) == 1 &&
		   get32(BOOT_INFO + 12) == 1 && get64(get64(BOOT_INFO + 16) + 8) == 6 &&
		   get64(BOOT_INFO + 24) == BOOT_CMDLINE && get64(BOOT_INFO + 32) == 0xe0000 &&
		   get32(BOOT_INFO + 48) >= 4, "start_info");
	x.note.entry = 0xf0000000;
	ktap_check(load1(&x, sizeof(x)), "an entry outside memory is refused");
	elf_make(&x, 0, 1);
	x.note.n.n_descsz = 0xfffffff0;
	ktap_check(load1(&x, sizeof(x)), "a note beyond its segment is refused");
	elf_make(&x, 0, 1);
	x.ph[1].p_filesz = 0x7fffffff;
	ktap_check(load1(&x, sizeof(x)), "notes beyond the file are refused");
	elf_make(&x, 0, 1);
	x.e.e_phnum = 0xffff;
	ktap_check(load1(&x, sizeof(x)), "too many program headers are refused");
	elf_make(&x, 0, 1);
	x.e.e_machine = EM_AARCH64;
	ktap_check(load1(&x, sizeof(x)), "another processor's image is refused");
	elf_make(&x, 0, 0);
	ktap_check(load1(&x, sizeof(x)), "ELF without note or header is refused");
	elf_make(&x, 0, 1);
	ktap_check(torture((uint8_t *)&x, sizeof(x), sizeof(x) - sizeof(x.code)) > 0,
		   "every header byte changed, every length cut");
}

int main(void)
{
	static uint8_t image[0x4000];
	size_t len;

	devnull = open("/dev/null", O_WRONLY | O_CLOEXEC);
	saved_err = dup(STDERR_FILENO);
	vm_init(MEM);
	ktap_plan(51);
	len = bzimage(image, sizeof(image));
	linux_good(image, len);
	linux_bad(image, len);
	ktap_check(torture(image + 0, len, 0x270) > 0,
		   "Linux: every header byte changed, every length cut");
	multiboot();
	multiboot_flat();
	pvh();
	ktap_check(load1("#!/bin/sh\n", 10) && load1("", 0), "what is no kernel is refused");
	vm_fini();

	/* The smallest guest has no room for a preferred address of 16 MiB. */
	vm_init(8ULL << 20);
	bzimage(image, sizeof(image));
	ktap_check(!load1(image, len) && get32(0x200000) == 0x90909090,
		   "a small guest gets the kernel at the lowest aligned address");
	vm_fini();
	vm_init(1ULL << 20);
	ktap_check(load1(image, len), "1 MiB is too small for Linux, and refused");
	vm_fini();
	return ktap_finish();
}
