// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * walk.c - the guest's page tables, in every paging mode.
 * Implements APM volume 2, chapter 5: 5.2 (legacy paging), 5.3 (long mode), 5.6 (protection),
 * 8.4.2 (the #PF error code); 5-level paging and protection keys as the same chapter has them.
 *
 * All modes are one loop over a description of the levels.  Must not believe anything it reads:
 * an entry in no memory reads as all ones, as on a bus without a taker, and so faults on its
 * reserved bits (or, 32-bit mode, leads to some address that is then no memory either).
 *
 * Not done: protection keys for supervisor pages (CR4.PKS) and shadow stacks; the module does
 * not offer them.
 */
#include "emu.h"

#define PTE_P		(1ULL << 0)
#define PTE_W		(1ULL << 1)
#define PTE_U		(1ULL << 2)
#define PTE_A		(1ULL << 5)
#define PTE_D		(1ULL << 6)
#define PTE_PS		(1ULL << 7)
#define PTE_NX		(1ULL << 63)
#define PTE_ADDR	0x000ffffffffff000ULL

#define PFERR_P		(1u << 0)
#define PFERR_W		(1u << 1)
#define PFERR_U		(1u << 2)
#define PFERR_RSVD	(1u << 3)
#define PFERR_I		(1u << 4)
#define PFERR_PK	(1u << 5)

#define MAX_LEVELS	5
#define MAX_TRIES	8

enum paging { PAGING_NONE, PAGING_32, PAGING_PAE, PAGING_LONG };

/* What the walk has seen on its way down. */
struct walk_state {
	enum paging paging;
	unsigned int levels;
	unsigned int entry_size;
	unsigned int phys_bits;
	bool nxe;
	uint64_t high_reserved;		/* address bits this CPU does not have */
	/* entries visited, for accessed and dirty bits */
	uint64_t entry_gpa[MAX_LEVELS];
	uint64_t entry[MAX_LEVELS];
	unsigned int visited;
	/* rights along the way */
	bool user, write, nx;
	unsigned int pkey;
};

static uint64_t entry_read(struct hv_x86 *x, uint64_t gpa, unsigned int size)
{
	uint64_t entry = 0;

	if (x->ops->read(x->opaque, gpa, &entry, size))
		return size_mask(size);
	return entry;
}

static void state_init(struct walk_state *s, const struct hv_x86 *x)
{
	const struct hv_control *ctl = x->control;
	unsigned int bits = x->phys_bits;

	memset(s, 0, sizeof(*s));
	if (bits < 32 || bits > 52)
		bits = 52;
	s->phys_bits = bits;
	s->high_reserved = PTE_ADDR & ~((1ULL << bits) - 1);
	s->user = true;
	s->write = true;
	if (!(ctl->cr0 & X86_CR0_PG)) {
		s->paging = PAGING_NONE;
	} else if (ctl->efer & X86_EFER_LMA) {
		s->paging = PAGING_LONG;
		s->levels = ctl->cr4 & X86_CR4_LA57 ? 5 : 4;
		s->entry_size = 8;
	} else if (ctl->cr4 & X86_CR4_PAE) {
		s->paging = PAGING_PAE;
		s->levels = 3;
		s->entry_size = 8;
		/* 62:52 are for the system's use in long mode, but must be zero here. */
		s->high_reserved |= 0x7ff0000000000000ULL;
	} else {
		s->paging = PAGING_32;
		s->levels = 2;
		s->entry_size = 4;
		s->high_reserved = 0;
	}
	s->nxe = s->entry_size == 8 && (ctl->efer & X86_EFER_NXE);
	if (s->entry_size == 8 && !s->nxe)
		s->high_reserved |= PTE_NX;
}

/* Reserved bits of a present entry; @level 1 is the last one. */
static uint64_t reserved_bits(const struct hv_x86 *x, const struct walk_state *s,
			      unsigned int level, bool large)
{
	uint64_t rsvd = s->high_reserved;

	if (s->paging == PAGING_PAE && level == 3)
		return rsvd | PTE_NX | 0x1c6;		/* 8:6, 2:1; 5, as QEMU's CPU sets it */
	if (s->paging == PAGING_32) {
		if (!large)
			return 0;
		/* PSE-36: bits 20:13 are address bits 39:32, as many as there are. */
		if (s->phys_bits < 40)
			rsvd = 0x1fe000ULL & ~((1ULL << (s->phys_bits - 32 + 13)) - 1);
		return rsvd | (1ULL << 21);
	}
	if (level >= 4)
		return rsvd | PTE_PS;
	if (level == 3)
		return rsvd | (large ? 0x3fffe000ULL : 0) |
		       (x->flags & HV_X86_PAGE_1G ? 0 : PTE_PS);
	if (level == 2 && large)
		return rsvd | 0x1fe000ULL;
	return rsvd;
}

/* Follow the entries down to the leaf; 0 or -EFAULT with P and RSVD of the error code. */
static int walk_down(struct hv_x86 *x, struct walk_state *s, uint64_t linear,
		     struct hv_x86_walk *w)
{
	const struct hv_control *ctl = x->control;
	const unsigned int bits = s->entry_size == 8 ? 9 : 10;
	unsigned int level, shift, index;
	uint64_t table, entry, gpa;
	bool large;

	if (s->paging == PAGING_LONG)
		table = ctl->cr3 & PTE_ADDR;
	else if (s->paging == PAGING_PAE)
		table = ctl->cr3 & 0xffffffe0;
	else
		table = ctl->cr3 & 0xfffff000;

	for (level = s->levels; ; level--) {
		shift = 12 + bits * (level - 1);
		index = (linear >> shift) & ((1u << bits) - 1);
		if (s->paging == PAGING_PAE && level == 3)
			index &= 3;
		gpa = table + (uint64_t)index * s->entry_size;
		if (s->paging == PAGING_PAE && level == 3 && (x->flags & HV_X86_PDPTE_CACHED))
			entry = ctl->pdpte[index];
		else
			entry = entry_read(x, gpa, s->entry_size);
		if (!(entry & PTE_P)) {
			w->error_code = 0;
			return -EFAULT;
		}

		large = level > 1 && (entry & PTE_PS);
		if (s->paging == PAGING_32 && !(ctl->cr4 & X86_CR4_PSE))
			large = false;
		if (entry & reserved_bits(x, s, level, large)) {
			w->error_code = PFERR_P | PFERR_RSVD;
			return -EFAULT;
		}

		/* PDPTEs of PAE have neither rights nor accessed bits. */
		if (!(s->paging == PAGING_PAE && level == 3)) {
			s->user &= !!(entry & PTE_U);
			s->write &= !!(entry & PTE_W);
			s->nx |= s->nxe && (entry & PTE_NX);
			s->entry_gpa[s->visited] = gpa;
			s->entry[s->visited++] = entry;
		}
		if (level == 1 || large)
			break;
		table = s->entry_size == 8 ? entry & PTE_ADDR : entry & 0xfffff000;
	}

	w->page_size = 1ULL << shift;
	if (s->entry_size == 8)
		gpa = entry & PTE_ADDR;
	else if (large)
		gpa = (entry & 0xffc00000) | (entry & 0x1fe000) << 19;
	else
		gpa = entry & 0xfffff000;
	w->gpa = (gpa & ~(w->page_size - 1)) | (linear & (w->page_size - 1));
	if (s->paging == PAGING_LONG)
		s->pkey = (entry >> 59) & 0xf;
	return 0;
}

/* 0, or the bits of the error code besides P that say why the rights do not suffice. */
static int check_rights(struct hv_x86 *x, const struct walk_state *s, uint32_t access,
			uint32_t flags, uint32_t *code)
{
	const struct hv_control *ctl = x->control;
	const bool by_user = flags & HV_X86_WALK_USER;
	const bool write = access & HV_ACCESS_WRITE;
	const bool exec = access & HV_ACCESS_EXEC;
	uint32_t pkru = 0;
	int ret;

	*code = PFERR_P;
	if (exec && s->nx)
		return -EFAULT;
	if (by_user) {
		if (!s->user || (write && !s->write))
			return -EFAULT;
	} else {
		if (write && !s->write && (ctl->cr0 & X86_CR0_WP))
			return -EFAULT;
		if (s->user && exec && (ctl->cr4 & X86_CR4_SMEP))
			return -EFAULT;
		if (s->user && !exec && (ctl->cr4 & X86_CR4_SMAP) &&
		    ((flags & HV_X86_WALK_IMPLICIT) || !(x->regs->rflags & X86_AC_FLAG)))
			return -EFAULT;
	}

	if (s->paging == PAGING_LONG && s->user && !exec && (ctl->cr4 & X86_CR4_PKE)) {
		ret = x86_pkru(x, &pkru);
		if (ret)
			return ret;
		pkru >>= 2 * s->pkey;
		if ((pkru & 1) || ((pkru & 2) && write && (by_user || (ctl->cr0 & X86_CR0_WP)))) {
			*code |= PFERR_PK;
			return -EFAULT;
		}
	}
	return 0;
}

/* Set the bits the CPU would set.  -EAGAIN: an entry is no longer what the walk saw. */
static int set_accessed_dirty(struct hv_x86 *x, const struct walk_state *s, bool write)
{
	uint64_t old, new_entry, now;
	unsigned int i;
	int ret;

	for (i = 0; i < s->visited; i++) {
		old = s->entry[i];
		new_entry = old | PTE_A;
		if (write && i == s->visited - 1)
			new_entry |= PTE_D;
		if (new_entry == old)
			continue;
		if (x->ops->cmpxchg) {
			ret = x->ops->cmpxchg(x->opaque, s->entry_gpa[i], old, new_entry,
					      s->entry_size);
			if (ret == -EAGAIN)
				return ret;
			/* Tables in ROM: the CPU's write is lost as well. */
			continue;
		}
		now = entry_read(x, s->entry_gpa[i], s->entry_size);
		if (now != old)
			return -EAGAIN;
		x->ops->write(x->opaque, s->entry_gpa[i], &new_entry, s->entry_size);
	}
	return 0;
}

int hv_x86_walk(struct hv_x86 *x, uint64_t linear, uint32_t access, uint32_t flags,
		struct hv_x86_walk *w)
{
	const struct hv_control *ctl = x->control;
	struct walk_state s;
	unsigned int tries;
	uint32_t code;
	int ret;

	memset(w, 0, sizeof(*w));
	for (tries = 0; tries < MAX_TRIES; tries++) {
		state_init(&s, x);
		if (s.paging != PAGING_LONG)
			linear = (uint32_t)linear;
		if (s.paging == PAGING_NONE) {
			w->gpa = linear;
			w->page_size = 4096;
			return 0;
		}

		ret = walk_down(x, &s, linear, w);
		if (!ret && !(flags & HV_X86_WALK_NO_RIGHTS)) {
			ret = check_rights(x, &s, access, flags, &code);
			if (ret == -EFAULT)
				w->error_code = code;
			else if (ret)
				return ret;
		}
		if (ret) {
			if (access & HV_ACCESS_WRITE)
				w->error_code |= PFERR_W;
			if (flags & HV_X86_WALK_USER)
				w->error_code |= PFERR_U;
			if ((access & HV_ACCESS_EXEC) && (s.nxe || (ctl->cr4 & X86_CR4_SMEP)))
				w->error_code |= PFERR_I;
			return ret;
		}
		if (!(flags & HV_X86_WALK_SET_AD))
			return 0;
		ret = set_accessed_dirty(x, &s, access & HV_ACCESS_WRITE);
		if (ret != -EAGAIN)
			return ret;
	}
	return -EAGAIN;
}
