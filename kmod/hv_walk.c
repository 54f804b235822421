// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_walk.c - read-only walk of the guest's page tables, and the bytes at RIP (contract 4; APM
 * vol. 2, chapter 5; SDM vol. 3, chapter 4).
 *
 * Sets no A or D bit and caches nothing.  The fetch path runs on every exit of a CPU that does not
 * tell the next RIP, so the walk is one pass of loads: no allocation, no table of modes.
 *
 * Only for fetches, to which neither write protection nor protection keys apply.
 */
#include <linux/nospec.h>
#include <asm/trap_pf.h>
#include "hv.h"

#define PT_P		(1ULL << 0)
#define PT_U		(1ULL << 2)
#define PT_PS		(1ULL << 7)
#define PT_NX		(1ULL << 63)
#define PT_ADDR		0x000ffffffffff000ULL

#define WALK_FAULT	1		/* *err holds P and RSVD */

struct walk {
	struct hv_vm *vm;
	u64 gva;
	u64 perm;			/* U that every level grants */
	u64 nx;				/* NX that any level sets */
	u64 gpa;
	u64 rsvd;			/* bits no entry of 8 bytes may have */
	u32 err;
	bool atomic;
};

static int read_entry(const struct walk *w, u64 gpa, u64 *e, size_t size)
{
	if (hv_guest_read_entry(w->vm, gpa, e, size, w->atomic))
		return w->atomic ? -EAGAIN : -ENXIO;
	return 0;
}

/* Tables of 512 entries from @level down to 1; the tail of PAE as well. */
static int walk_levels(struct walk *w, u64 table, int level)
{
	u64 e, offset, rsvd;
	int shift, ret;

	for (;; level--) {
		shift = 12 + 9 * (level - 1);
		ret = read_entry(w, (table & PT_ADDR) + ((w->gva >> shift) & 511) * 8, &e, 8);
		if (unlikely(ret))
			return ret;
		if (unlikely(!(e & PT_P))) {
			w->err = 0;
			return WALK_FAULT;
		}
		w->perm &= e;
		w->nx |= e;
		rsvd = w->rsvd;
		if (level == 1 || (e & PT_PS)) {
			offset = (1ULL << shift) - 1;
			if (unlikely(level > (boot_cpu_has(X86_FEATURE_GBPAGES) ? 3 : 2)))
				rsvd |= PT_PS;
			else if (level > 1)
				rsvd |= offset & PT_ADDR & ~(1ULL << 12);	/* bit 12 is PAT */
			w->gpa = (e & PT_ADDR & ~offset) | (w->gva & offset);
			break;
		}
		if (unlikely(e & rsvd))
			break;
		table = e;
	}
	if (likely(!(e & rsvd)))
		return 0;
	w->err = X86_PF_PROT | X86_PF_RSVD;
	return WALK_FAULT;
}

/*
 * The four PDPTEs come from memory, as on AMD; they hold no permissions.  Their
 * low reserved bits are not checked: QEMU's CPU sets A among them.
 */
static int walk_pae(struct walk *w, u64 cr3)
{
	u64 e, rsvd = w->rsvd | PT_NX;
	int ret;

	ret = read_entry(w, (cr3 & 0xffffffe0) + ((w->gva >> 30) & 3) * 8, &e, 8);
	if (ret)
		return ret;
	w->err = 0;
	if (!(e & PT_P))
		return WALK_FAULT;
	w->err = X86_PF_PROT | X86_PF_RSVD;
	if (e & rsvd)
		return WALK_FAULT;
	/* Bits 62:52 of PAE entries are reserved, those of long mode are not. */
	w->rsvd |= 0x7ff0000000000000ULL;
	return walk_levels(w, e, 2);
}

static int walk_32(struct walk *w, u64 cr3, bool pse, int gpa_bits)
{
	u64 e, high;
	int ret;

	ret = read_entry(w, (cr3 & 0xfffff000) + ((w->gva >> 22) & 1023) * 4, &e, 4);
	if (ret)
		return ret;
	w->err = 0;
	if (!(e & PT_P))
		return WALK_FAULT;
	w->perm &= e;
	if (pse && (e & PT_PS)) {
		/* PSE-36: bits 20:13 are address bits 39:32. */
		high = (e >> 13 & 0xff) << 32;
		w->err = X86_PF_PROT | X86_PF_RSVD;
		if ((e & (1 << 21)) || (gpa_bits < 40 && high >> gpa_bits))
			return WALK_FAULT;
		w->gpa = high | (e & 0xffc00000) | (w->gva & 0x3fffff);
		return 0;
	}
	ret = read_entry(w, (e & 0xfffff000) + ((w->gva >> 12) & 1023) * 4, &e, 4);
	if (ret)
		return ret;
	w->err = 0;
	if (!(e & PT_P))
		return WALK_FAULT;
	w->perm &= e;
	w->gpa = (e & 0xfffff000) | (w->gva & 0xfff);
	return 0;
}

/*
 * Where the code at @gva lies.  0 and *@gpa; -EFAULT with *@pferr, the #PF error code; -EAGAIN:
 * @atomic only, table not readable now; -ENXIO: a table lies outside memory.
 */
static int walk(struct hv_vcpu *v, u64 gva, bool user, u64 *gpa, u32 *pferr, bool atomic)
{
	int gpa_bits = v->vm->gpa_bits, ret;
	struct walk w;

	if (unlikely(!(v->cr0 & X86_CR0_PG))) {
		*gpa = (u32)gva;
		return 0;
	}
	w.vm = v->vm;
	w.gva = gva;
	w.perm = PT_U;
	w.nx = 0;
	w.atomic = atomic;
	w.rsvd = (PT_ADDR >> gpa_bits << gpa_bits) | (v->efer & EFER_NX ? 0 : PT_NX);
	if (likely(v->efer & EFER_LMA))
		ret = walk_levels(&w, v->cr3, v->cr4 & X86_CR4_LA57 ? 5 : 4);
	else if (v->cr4 & X86_CR4_PAE)
		ret = walk_pae(&w, v->cr3);
	else
		ret = walk_32(&w, v->cr3, v->cr4 & X86_CR4_PSE, gpa_bits);
	if (unlikely(ret < 0))
		return ret;
	if (likely(!ret)) {
		if (likely(!((v->efer & EFER_NX) && (w.nx & PT_NX)) &&
			   (user ? w.perm & PT_U : !(w.perm & PT_U) || !(v->cr4 & X86_CR4_SMEP)))) {
			*gpa = w.gpa;
			return 0;
		}
		w.err = X86_PF_PROT;
	}
	*pferr = w.err | (user ? X86_PF_USER : 0);
	if ((v->efer & EFER_NX) || (v->cr4 & X86_CR4_SMEP))
		*pferr |= X86_PF_INSTR;
	return -EFAULT;
}

/* ---- instruction fetch ---- */

enum fetch_end { END_WHOLE, END_LIMIT, END_FAULT, END_MEMORY };

static int fetch_page(struct hv_vcpu *v, u64 lin, bool user, u8 *buf, int n, u32 *err, bool atomic)
{
	u64 gpa;
	int ret;

	ret = walk(v, lin, user, &gpa, err, atomic);
	if (unlikely(ret))
		return ret;
	if (hv_guest_read(v->vm, gpa, buf, n, atomic))
		return atomic ? -EAGAIN : -ENXIO;
	return 0;
}

/*
 * The instruction may end before the page or the segment does, so bytes beyond
 * are only missed when the decoder asks for them.
 */
static int fetch_short(struct hv_vcpu *v, enum fetch_end end, u64 lin, u32 err, bool atomic)
{
	if (v->insn.avail &&
	    hv_decode_length(v->insn.bytes, v->insn.avail, hv_code_mode(v)) != 0)
		return 0;
	v->insn.avail = 0;
	if (atomic)
		return -EAGAIN;
	if (end == END_MEMORY)
		return -ENXIO;
	if (end == END_FAULT)
		hv_queue_pf(v, lin, err);
	else
		hv_queue_exception(v, X86_TRAP_GP);
	return -EFAULT;
}

/*
 * The usual case in one breath: 64-bit code in one page, its tables in the slot
 * last used, nothing unusual in any entry.  False leaves everything to the
 * general walk.  All loads share one open user access, inside which no function
 * may be called; the index mask keeps a mispredicted bound inside the slot.
 */
static __always_inline bool fetch_straight(struct hv_vcpu *v, u64 lin, bool user)
{
	const struct hv_slots *slots = hv_slots(v->vm);
	const struct hv_memslot *s = &slots->slot[READ_ONCE(slots->last)];
	u64 base = s->gfn << PAGE_SHIFT, size = s->npages << PAGE_SHIFT, table = v->cr3;
	u64 rsvd = PT_ADDR >> v->vm->gpa_bits << v->vm->gpa_bits;
	u64 e, off, perm = PT_U, nx = 0, lo, hi;
	int shift;

	if (unlikely(!slots->count || (lin & ~PAGE_MASK) > PAGE_SIZE - 16))
		return false;
	pagefault_disable();
	if (unlikely(!user_access_begin((void __user *)s->hva, size)))
		goto out;
	for (shift = v->cr4 & X86_CR4_LA57 ? 48 : 39;; shift -= 9) {
		off = (table & PT_ADDR) + (lin >> shift & 511) * 8 - base;
		if (unlikely(off >= size))
			goto out_end;
		off = array_index_nospec(off, size);
		unsafe_get_user(e, (u64 __user *)(s->hva + off), out_end);
		perm &= e;
		nx |= e;
		if (unlikely(!(e & PT_P) || (e & rsvd)))
			goto out_end;
		if (shift == 12 || (e & PT_PS))
			break;
		table = e;
	}
	off = (1ULL << shift) - 1;
	if (unlikely(shift > 30 || (e & off & PT_ADDR & ~(1ULL << 12))))
		goto out_end;
	off = ((e & PT_ADDR & ~off) | (lin & off)) - base;
	if (unlikely(off >= size))
		goto out_end;
	off = array_index_nospec(off, size);
	unsafe_get_user(lo, (u64 __user *)(s->hva + off), out_end);
	unsafe_get_user(hi, (u64 __user *)(s->hva + off + 8), out_end);
	user_access_end();
	pagefault_enable();
	if (unlikely((nx & PT_NX) ||
		     (user ? !(perm & PT_U) : (perm & PT_U) && (v->cr4 & X86_CR4_SMEP))))
		return false;
	memcpy(v->insn.bytes, &lo, 8);
	memcpy(v->insn.bytes + 8, &hi, 8);
	v->insn.avail = 15;
	return true;

out_end:
	user_access_end();
out:
	pagefault_enable();
	return false;
}

/*
 * Up to 15 bytes at CS:RIP into v->insn, the rest of its buffer zero or more
 * code.  Fewer only when the instruction ends within what is there.
 * Section when @atomic.
 */
int hv_fetch(struct hv_vcpu *v, bool atomic)
{
	enum fetch_end end = END_WHOLE;
	struct hv_seg cs;
	u64 lin, rip = v->regs.rip;
	int n = 15, first, ret;
	bool wide, user;
	u32 err = 0;

	v->insn.length = 0;
	v->insn.avail = 0;
	hv_ops->get_seg(v, HV_CS, &cs);
	wide = (v->efer & EFER_LMA) && (cs.attr & HV_SEG_L);
	if (likely(wide)) {
		lin = rip;
	} else {
		rip = (u32)rip;
		lin = (u32)(cs.base + rip);
		if (unlikely(rip > cs.limit))
			return fetch_short(v, END_LIMIT, lin, 0, atomic);
		if (unlikely(cs.limit - rip < 14)) {
			n = cs.limit - rip + 1;
			end = END_LIMIT;
		}
	}
	user = hv_ops->get_cpl(v) == 3;
	if (likely(atomic && wide && fetch_straight(v, lin, user)))
		return 0;
	first = min_t(int, n, PAGE_SIZE - (lin & ~PAGE_MASK));

	ret = fetch_page(v, lin, user, v->insn.bytes, first, &err, atomic);
	if (likely(!ret && first == 15)) {
		v->insn.avail = 15;
		return 0;
	}
	if (ret == -EFAULT)
		return fetch_short(v, END_FAULT, lin, err, atomic);
	if (ret)
		return ret;
	v->insn.avail = first;
	memset(v->insn.bytes + first, 0, sizeof(v->insn.bytes) - first);
	if (first < n) {
		lin += first;
		if (!wide)
			lin = (u32)lin;
		if (wide && lin != hv_sign_extend(lin, v->cr4 & X86_CR4_LA57 ? 57 : 48))
			return fetch_short(v, END_LIMIT, lin, 0, atomic);
		ret = fetch_page(v, lin, user, v->insn.bytes + first, n - first, &err, atomic);
		if (ret)
			return fetch_short(v, ret == -EFAULT ? END_FAULT : END_MEMORY, lin, err,
					   atomic);
		v->insn.avail = n;
		if (n == 15)
			return 0;
	}
	return fetch_short(v, end, lin, 0, atomic);
}
