// SPDX-License-Identifier: GPL-2.0-only
/*
 * elf.c - ELF images for the PVH and multiboot loaders (System V ABI, "Object Files").
 *
 * Segments go to their physical addresses.  Must not use a field before it is
 * checked: the file is hostile.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "vmm/boot/boot.h"
#include "vmm/vm.h"

#define ELF_MAX_PHDRS		64
#define ELF_MAX_NOTES		(64 * 1024)
#define XEN_ELFNOTE_PHYS32_ENTRY 18

struct elf_segment {		/* both classes */
	uint32_t type;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

static int elf_header(struct boot *boot, struct elf_image *elf, uint64_t *phoff,
		      unsigned int *phnum)
{
	const char *path = boot->kernel.path;
	union {
		unsigned char ident[EI_NIDENT];
		Elf32_Ehdr e32;
		Elf64_Ehdr e64;
	} h;
	unsigned int phentsize, machine, type;

	memset(&h, 0, sizeof(h));
	if (boot->kernel.size < sizeof(h.e32))
		return 0;
	if (image_read(boot, &boot->kernel, 0, &h, sizeof(h.e32)))
		return -EINVAL;
	if (memcmp(h.ident, ELFMAG, SELFMAG))
		return 0;
	if (h.ident[EI_DATA] != ELFDATA2LSB ||
	    (h.ident[EI_CLASS] != ELFCLASS32 && h.ident[EI_CLASS] != ELFCLASS64))
		return boot_fail(boot, "%s: not an x86 ELF image", path);
	elf->is64 = h.ident[EI_CLASS] == ELFCLASS64;
	if (elf->is64) {
		if (image_read(boot, &boot->kernel, 0, &h, sizeof(h.e64)))
			return -EINVAL;
		machine = h.e64.e_machine;
		type = h.e64.e_type;
		elf->entry = h.e64.e_entry;
		*phoff = h.e64.e_phoff;
		*phnum = h.e64.e_phnum;
		phentsize = h.e64.e_phentsize;
	} else {
		machine = h.e32.e_machine;
		type = h.e32.e_type;
		elf->entry = h.e32.e_entry;
		*phoff = h.e32.e_phoff;
		*phnum = h.e32.e_phnum;
		phentsize = h.e32.e_phentsize;
	}
	if (machine != EM_X86_64 && machine != EM_386)
		return boot_fail(boot, "%s: ELF for another processor (machine %u)", path, machine);
	if (type != ET_EXEC && type != ET_DYN)
		return boot_fail(boot, "%s: not an executable ELF image (type %u)", path, type);
	if (!*phnum || *phnum > ELF_MAX_PHDRS ||
	    phentsize != (elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return boot_fail(boot, "%s: corrupt ELF: %u program headers of %u bytes", path,
				 *phnum, phentsize);
	return 1;
}

static int elf_segment_read(struct boot *boot, const struct elf_image *elf, uint64_t phoff,
			    unsigned int i, struct elf_segment *s)
{
	Elf32_Phdr p32;
	Elf64_Phdr p64;
	int ret;

	if (elf->is64) {
		if (phoff > boot->kernel.size)
			phoff = boot->kernel.size;	/* image_read refuses it */
		ret = image_read(boot, &boot->kernel, phoff + i * sizeof(p64), &p64, sizeof(p64));
		if (ret)
			return ret;
		*s = (struct elf_segment){ p64.p_type, p64.p_offset, p64.p_vaddr, p64.p_paddr,
					   p64.p_filesz, p64.p_memsz, p64.p_align };
	} else {
		ret = image_read(boot, &boot->kernel, phoff + i * sizeof(p32), &p32, sizeof(p32));
		if (ret)
			return ret;
		*s = (struct elf_segment){ p32.p_type, p32.p_offset, p32.p_vaddr, p32.p_paddr,
					   p32.p_filesz, p32.p_memsz, p32.p_align };
	}
	return 0;
}

/* Looks for Xen's PVH entry note in one PT_NOTE segment. */
static int elf_notes(struct boot *boot, struct elf_image *elf, const struct elf_segment *s)
{
	uint64_t at = 0, align = s->align == 8 ? 8 : 4, name, desc, next;
	Elf64_Nhdr n;			/* the same in both classes */
	char owner[4];
	uint64_t entry;
	int ret;

	if (s->filesz > ELF_MAX_NOTES)
		return boot_fail(boot, "%s: corrupt ELF: %llu bytes of notes", boot->kernel.path,
				 (unsigned long long)s->filesz);
	if (s->offset > boot->kernel.size || s->filesz > boot->kernel.size - s->offset)
		return boot_fail(boot, "%s: truncated: notes beyond the end; copy it again",
				 boot->kernel.path);
	while (at + sizeof(n) <= s->filesz) {
		ret = image_read(boot, &boot->kernel, s->offset + at, &n, sizeof(n));
		if (ret)
			return ret;
		/* The alignment is that of offsets: the header has 12 bytes (gABI, note section). */
		name = at + sizeof(n);
		desc = (name + n.n_namesz + align - 1) & ~(align - 1);
		next = (desc + n.n_descsz + align - 1) & ~(align - 1);
		if (desc > s->filesz || n.n_descsz > s->filesz - desc)
			return boot_fail(boot, "%s: corrupt ELF note", boot->kernel.path);
		if (n.n_type == XEN_ELFNOTE_PHYS32_ENTRY && n.n_namesz == sizeof(owner) &&
		    (n.n_descsz == 4 || n.n_descsz == 8)) {
			entry = 0;
			ret = image_read(boot, &boot->kernel, s->offset + name, owner,
					 sizeof(owner));
			if (!ret)
				ret = image_read(boot, &boot->kernel, s->offset + desc, &entry,
						 n.n_descsz);
			if (ret)
				return ret;
			if (!memcmp(owner, "Xen", 4)) {
				elf->has_pvh = true;
				elf->pvh_entry = entry;
			}
		}
		at = next;
	}
	return 0;
}

int elf_probe(struct boot *boot, struct elf_image *elf)
{
	struct elf_segment s;
	unsigned int i, phnum;
	uint64_t phoff;
	int ret;

	*elf = (struct elf_image){ 0 };
	ret = elf_header(boot, elf, &phoff, &phnum);
	if (ret <= 0)
		return ret;
	for (i = 0; i < phnum; i++) {
		ret = elf_segment_read(boot, elf, phoff, i, &s);
		if (!ret && s.type == PT_NOTE)
			ret = elf_notes(boot, elf, &s);
		if (!ret && s.type == PT_LOAD && (s.offset > boot->kernel.size ||
						  s.filesz > boot->kernel.size - s.offset))
			ret = boot_fail(boot, "%s: truncated: segment %u goes beyond its %llu "
					"bytes; copy it again", boot->kernel.path, i,
					(unsigned long long)boot->kernel.size);
		if (ret)
			return ret;
	}
	return 1;
}

int elf_load(struct vm *vm, struct boot *boot, struct elf_image *elf)
{
	const char *path = boot->kernel.path;
	unsigned int i, phnum, loaded = 0;
	uint64_t phoff, virt;
	struct elf_segment s;
	int ret;

	ret = elf_header(boot, elf, &phoff, &phnum);
	if (ret <= 0)
		return ret ? ret : boot_fail(boot, "%s: not ELF any more", path);
	virt = elf->entry;
	elf->end = 0;
	for (i = 0; i < phnum; i++) {
		ret = elf_segment_read(boot, elf, phoff, i, &s);
		if (ret)
			return ret;
		if (s.type != PT_LOAD || !s.memsz)
			continue;
		if (s.filesz > s.memsz || s.paddr + s.memsz < s.paddr)
			return boot_fail(boot, "%s: corrupt ELF: segment %u", path, i);
		ret = boot_check_range(vm, boot, "segment", s.paddr, s.memsz);
		if (!ret)
			ret = image_load(vm, boot, &boot->kernel, s.offset, s.paddr, s.filesz);
		if (!ret && guest_zero(vm, s.paddr + s.filesz, s.memsz - s.filesz))
			ret = boot_fail(boot, "%s: no guest memory for segment %u", path, i);
		if (ret)
			return ret;
		/* The entry is virtual; what runs is where it was loaded. */
		if (virt - s.vaddr < s.memsz)
			elf->entry = s.paddr + (virt - s.vaddr);
		if (s.paddr < MEMORY_HIGH_BASE && s.paddr + s.memsz > elf->end)
			elf->end = s.paddr + s.memsz;
		loaded++;
	}
	if (!loaded)
		return boot_fail(boot, "%s: ELF without anything to load", path);
	return 0;
}
