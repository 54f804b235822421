// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_slots.c - the guest-physical address space: slots, dirty logs, and the module's own reads and
 * writes of guest memory (contracts 5, 6, 14).
 *
 * A slot list is immutable once published.  A change builds a new list, checks all of it,
 * publishes it and only then touches the second-stage tables, so a moved slot is always at its old
 * place or at its new one.  Readers hold vm->srcu.  Must not keep a host pointer into guest memory
 * across calls, and must not write guest memory without marking the slot's log.
 */
#include <linux/bitmap.h>
#include <linux/overflow.h>
#include <linux/sort.h>
#include "hv.h"

#define SLOT_FLAGS	(HV_SLOT_READONLY | HV_SLOT_LOG_DIRTY)
/* The bitmap of a slot must fit what kvzalloc() takes: 8 TiB of guest memory. */
#define SLOT_MAX_PAGES	(1ULL << 31)

/* ---- lookup ---- */

static inline bool slot_has(const struct hv_memslot *s, u64 gfn)
{
	return gfn - s->gfn < s->npages;
}

const struct hv_memslot *hv_slot_find(const struct hv_slots *s, u64 gfn)
{
	u32 lo = READ_ONCE(s->last), hi, mid;

	if (likely(lo < s->count && slot_has(&s->slot[lo], gfn)))
		return &s->slot[lo];
	lo = 0;
	hi = s->count;
	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (gfn < s->slot[mid].gfn) {
			hi = mid;
		} else if (slot_has(&s->slot[mid], gfn)) {
			/* The list is immutable but for this hint. */
			WRITE_ONCE(((struct hv_slots *)s)->last, mid);
			return &s->slot[mid];
		} else {
			lo = mid + 1;
		}
	}
	return NULL;
}

static inline void __user *slot_ptr(const struct hv_memslot *s, u64 gpa)
{
	return (void __user *)(s->hva + (gpa - (s->gfn << PAGE_SHIFT)));
}

void hv_slot_mark_dirty(const struct hv_memslot *slot, u64 gfn)
{
	u64 bit = gfn - slot->gfn;

	if (slot->dirty && bit < slot->npages && !test_bit(bit, slot->dirty))
		set_bit(bit, slot->dirty);
}

/*
 * From a CPU that reports what it makes dirty, when the vCPU leaves the guest.  While the list is
 * being replaced the write may have been by either.
 */
void hv_slots_log(struct hv_vm *vm, u64 gfn)
{
	const struct hv_slots *list[] = { hv_slots(vm), READ_ONCE(vm->mmu.old_slots) };
	const struct hv_memslot *s;
	int i;

	for (i = 0; i < ARRAY_SIZE(list); i++) {
		s = list[i] ? hv_slot_find(list[i], gfn) : NULL;
		if (s)
			hv_slot_mark_dirty(s, gfn);
	}
}

/* ---- guest memory ---- */

/* The piece of [gpa, gpa + len) that lies in one slot; its length, or 0. */
static size_t guest_piece(struct hv_vm *vm, u64 gpa, size_t len, const struct hv_memslot **slot,
			  void __user **p)
{
	const struct hv_memslot *s = hv_slot_find(hv_slots(vm), gpa >> PAGE_SHIFT);

	if (!s)
		return 0;
	*slot = s;
	*p = slot_ptr(s, gpa);
	return min_t(u64, len, ((s->gfn + s->npages) << PAGE_SHIFT) - gpa);
}

/*
 * Guest-physical memory.  Not @atomic they wait in the host's fault handler like any system call's
 * access to user memory: only a fatal signal ends that, unlike the wait in hv_mmu_fault().
 */
int hv_guest_read(struct hv_vm *vm, u64 gpa, void *buf, size_t len, bool atomic)
{
	const struct hv_memslot *s;
	void __user *p;
	size_t n;

	for (; len; len -= n, gpa += n, buf += n) {
		n = guest_piece(vm, gpa, len, &s, &p);
		if (!n)
			return -EFAULT;
		if (atomic ? copy_from_user_nofault(buf, p, n) : copy_from_user(buf, p, n))
			return -EFAULT;
	}
	return 0;
}

/* A page-table entry of 4 or 8 bytes: another vCPU may be changing it, so by one load. */
int hv_guest_read_entry(struct hv_vm *vm, u64 gpa, u64 *e, size_t size, bool atomic)
{
	const struct hv_memslot *s;
	void __user *p;
	u32 low;
	int ret;

	if (guest_piece(vm, gpa, size, &s, &p) < size)
		return -EFAULT;
	if (atomic)
		pagefault_disable();
	if (size == 8) {
		ret = get_user(*e, (u64 __user *)p);
	} else {
		ret = get_user(low, (u32 __user *)p);
		*e = low;
	}
	if (atomic)
		pagefault_enable();
	return ret;
}

int hv_guest_write(struct hv_vm *vm, u64 gpa, const void *buf, size_t len)
{
	const struct hv_memslot *s;
	void __user *p;
	u64 gfn, last;
	size_t n, ret;

	for (; len; len -= n, gpa += n, buf += n) {
		n = guest_piece(vm, gpa, len, &s, &p);
		if (!n || (s->flags & HV_SLOT_READONLY))
			return -EFAULT;
		ret = copy_to_user(p, buf, n);
		/* After the write, or a harvest in between would lose it; and even
		 * when it failed, for it may have written a part. */
		last = (gpa + n - 1) >> PAGE_SHIFT;
		for (gfn = gpa >> PAGE_SHIFT; gfn <= last; gfn++)
			hv_slot_mark_dirty(s, gfn);
		if (ret)
			return -EFAULT;
	}
	return 0;
}

/* ---- HV_SET_SLOTS ---- */

static struct hv_slots *slots_locked(struct hv_vm *vm)
{
	return rcu_dereference_protected(vm->slots, lockdep_is_held(&vm->lock));
}

static const struct hv_memslot *slot_by_id(const struct hv_slots *s, u32 id)
{
	u32 i;

	for (i = 0; i < s->count; i++)
		if (s->slot[i].id == id)
			return &s->slot[i];
	return NULL;
}

static int slot_check(struct hv_vm *vm, const struct hv_slot *a)
{
	int bits = min_t(int, hv_host.gpa_bits, vm->mmu.levels * 9 + PAGE_SHIFT);

	if (a->id >= HV_MAX_SLOTS || a->reserved || (a->flags & ~SLOT_FLAGS))
		return -EINVAL;
	if (!a->size)
		return 0;
	if (!PAGE_ALIGNED(a->gpa) || !PAGE_ALIGNED(a->size) || !PAGE_ALIGNED(a->hva))
		return -EINVAL;
	if (a->size > SLOT_MAX_PAGES << PAGE_SHIFT || a->gpa >> bits ||
	    a->size > (1ULL << bits) - a->gpa)
		return -EINVAL;
	if (a->hva + a->size < a->hva || !access_ok((void __user *)a->hva, a->size))
		return -EFAULT;
	return 0;
}

static bool slot_same_memory(const struct hv_memslot *a, const struct hv_memslot *b)
{
	return a->hva == b->hva && a->npages == b->npages;
}

static int slot_fill(struct hv_memslot *s, const struct hv_slot *a, const struct hv_memslot *prev)
{
	s->id = a->id;
	s->flags = a->flags;
	s->gfn = a->gpa >> PAGE_SHIFT;
	s->npages = a->size >> PAGE_SHIFT;
	s->hva = a->hva;
	if (!(a->flags & HV_SLOT_LOG_DIRTY))
		return 0;
	/* A slot that only moves keeps what nobody has harvested yet. */
	if (prev && prev->dirty && slot_same_memory(prev, s)) {
		s->dirty = prev->dirty;
		return 0;
	}
	s->dirty = hv_alloc(BITS_TO_LONGS(s->npages) * sizeof(long));
	return s->dirty ? 0 : -ENOMEM;
}

static int slot_order(const void *a, const void *b)
{
	const struct hv_memslot *x = a, *y = b;

	return x->gfn < y->gfn ? -1 : x->gfn > y->gfn;
}

/* Free @s and every log in it that @keep does not share. */
static void slots_free(struct hv_slots *s, const struct hv_slots *keep)
{
	const struct hv_memslot *k;
	u32 i;

	for (i = 0; i < s->count; i++) {
		k = keep ? slot_by_id(keep, s->slot[i].id) : NULL;
		if (!k || k->dirty != s->slot[i].dirty)
			hv_free(s->slot[i].dirty);
	}
	hv_free(s);
}

static struct hv_slots *slots_build(struct hv_vm *vm, const struct hv_slots *old,
				    const struct hv_slot *list, u32 count)
{
	const struct hv_memslot *prev;
	struct hv_slots *new;
	u32 i, j;
	int ret;

	for (i = 0; i < count; i++) {
		ret = slot_check(vm, &list[i]);
		if (ret)
			return ERR_PTR(ret);
		for (j = 0; j < i; j++)
			if (list[j].id == list[i].id)
				return ERR_PTR(-EINVAL);
		if (!list[i].size && !slot_by_id(old, list[i].id))
			return ERR_PTR(-ENOENT);
	}
	new = hv_alloc(struct_size(new, slot, old->count + count));
	if (!new)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < old->count; i++) {
		for (j = 0; j < count && list[j].id != old->slot[i].id; j++)
			;
		if (j == count)
			new->slot[new->count++] = old->slot[i];
	}
	for (i = 0; i < count; i++) {
		if (!list[i].size)
			continue;
		prev = slot_by_id(old, list[i].id);
		ret = slot_fill(&new->slot[new->count++], &list[i], prev);
		if (ret)
			goto out_free;
	}
	ret = -ENOSPC;
	if (new->count > HV_MAX_SLOTS)
		goto out_free;
	sort(new->slot, new->count, sizeof(new->slot[0]), slot_order, NULL);
	ret = -EINVAL;
	for (i = 1; i < new->count; i++)
		if (new->slot[i].gfn - new->slot[i - 1].gfn < new->slot[i - 1].npages)
			goto out_free;
	return new;

out_free:
	slots_free(new, old);
	return ERR_PTR(ret);
}

/* Bring the second-stage tables from @old to @new, which is published. */
static void slots_apply(struct hv_vm *vm, const struct hv_slots *old, const struct hv_slots *new)
{
	const struct hv_memslot *o, *n;
	u32 i;

	for (i = 0; i < old->count; i++) {
		o = &old->slot[i];
		n = slot_by_id(new, o->id);
		if (n && n->gfn == o->gfn && slot_same_memory(n, o) &&
		    !((n->flags ^ o->flags) & HV_SLOT_READONLY)) {
			if (!!n->dirty == !!o->dirty)
				continue;
			/* A log that begins wants every leaf to fault on its first
			 * write; after one that ended, small leaves may become large. */
			if (n->dirty) {
				hv_mmu_watch_writes(vm, n, 0, NULL, n->npages);
				continue;
			}
		}
		hv_mmu_zap_range(vm, o->gfn, o->npages);
	}
	hv_mmu_flush(vm);
}

/*
 * Apply @list as one change: all of it or nothing.  When this returns no vCPU
 * uses a translation or a slot of the old list.
 *
 * -EINVAL a malformed entry, an id twice, overlap; -EFAULT hva outside user
 * space; -ENOENT removal of what is not there; -ENOSPC too many; -ENOMEM.
 */
int hv_slots_set(struct hv_vm *vm, const struct hv_slot *list, u32 count)
{
	struct hv_slots *old = slots_locked(vm), *new;
	bool logs = false;
	u32 i;

	new = slots_build(vm, old, list, count);
	if (IS_ERR(new))
		return PTR_ERR(new);
	for (i = 0; i < new->count; i++)
		logs |= !!new->slot[i].dirty;
	if (logs)
		WRITE_ONCE(vm->logs, true);	/* before anything is watched */

	/*
	 * Faults compare the list under mmu.lock, so from here on none maps by
	 * the old one.  What it had mapped is still there: until that is zapped
	 * the notifiers must look at the old list too, or a page could be freed
	 * under a translation that only the old list finds.
	 */
	spin_lock(&vm->mmu.lock);
	vm->mmu.old_slots = old;
	rcu_assign_pointer(vm->slots, new);
	spin_unlock(&vm->mmu.lock);

	slots_apply(vm, old, new);

	spin_lock(&vm->mmu.lock);
	vm->mmu.old_slots = NULL;
	spin_unlock(&vm->mmu.lock);
	WRITE_ONCE(vm->logs, logs);

	hv_vm_kick_all(vm, HV_REQ_LEAVE);
	synchronize_srcu_expedited(&vm->srcu);
	slots_free(old, new);
	return 0;
}

/* ---- HV_GET_DIRTY ---- */

#define HARVEST_PAGES	4096		/* between two looks at signals and the scheduler */

static void dirty_restore(const struct hv_memslot *s, u64 first, const unsigned long *bits, u64 n)
{
	u64 i;

	for_each_set_bit(i, bits, n)
		set_bit(first + i, s->dirty);
}

/* Move @n bits from the log to @bits and watch their pages again. */
static void dirty_harvest(struct hv_vm *vm, const struct hv_memslot *s, u64 first,
			  unsigned long *bits, u64 n)
{
	unsigned long *log = s->dirty + first / BITS_PER_LONG, mask;
	u64 i, words = BITS_TO_LONGS(n);
	bool any = false;

	for (i = 0; i < words; i++) {
		if (!READ_ONCE(log[i]))
			continue;
		mask = i == words - 1 ? BITMAP_LAST_WORD_MASK(n) : ~0UL;
		if (mask == ~0UL) {
			bits[i] = xchg(&log[i], 0);
		} else {
			bits[i] = READ_ONCE(log[i]) & mask;
			atomic_long_andnot(bits[i], (atomic_long_t *)&log[i]);
		}
		any |= bits[i];
	}
	/* First the bits, then the watch: a write in between is reported
	 * now, and read by userspace after the flush. */
	if (any)
		hv_mmu_watch_writes(vm, s, first, bits, n);
}

/*
 * Report the log of one slot; with HV_DIRTY_CLEAR also forget it.  Nothing is
 * forgotten when the call fails: -EINVAL range; -ENOENT no such slot or no log;
 * -EFAULT bitmap; -EINTR signal; -ENOMEM.
 */
int hv_slots_get_dirty(struct hv_vm *vm, const struct hv_get_dirty *args)
{
	const struct hv_memslot *s = slot_by_id(slots_locked(vm), args->slot);
	bool clear = args->flags & HV_DIRTY_CLEAR;
	u64 done = 0, n, words;
	unsigned long *bits;
	int ret = 0;

	if (!s || !s->dirty)
		return -ENOENT;
	if (args->first % BITS_PER_LONG || !args->count || args->first >= s->npages ||
	    args->count > s->npages - args->first)
		return -EINVAL;
	words = BITS_TO_LONGS(args->count);
	bits = hv_alloc(words * sizeof(long));
	if (!bits)
		return -ENOMEM;
	/* What has been written up to here is in the log once the vCPUs have left the guest. */
	if (hv_ops->reports_dirty)
		hv_vm_leave_wait(vm, ~0ULL);
	if (!clear) {
		memcpy(bits, s->dirty + args->first / BITS_PER_LONG, words * sizeof(long));
		bits[words - 1] &= BITMAP_LAST_WORD_MASK(args->count);
		done = args->count;
	}
	while (done < args->count) {
		if (signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		n = min_t(u64, args->count - done, HARVEST_PAGES);
		dirty_harvest(vm, s, args->first + done, bits + done / BITS_PER_LONG, n);
		done += n;
		cond_resched();
	}
	if (clear)
		hv_mmu_flush(vm);
	if (!ret && copy_to_user(u64_to_user_ptr(args->bitmap), bits, words * sizeof(long)))
		ret = -EFAULT;
	if (ret && clear)
		dirty_restore(s, args->first, bits, done);
	hv_free(bits);
	return ret;
}

/* ---- set-up and tear-down ---- */

int hv_slots_init(struct hv_vm *vm)
{
	struct hv_slots *s;

	/* With room for one, so that @last always names a slot, if an empty one. */
	s = hv_alloc(struct_size(s, slot, 1));
	if (!s)
		return -ENOMEM;
	RCU_INIT_POINTER(vm->slots, s);
	return 0;
}

/* Nobody can look at the list any more. */
void hv_slots_destroy(struct hv_vm *vm)
{
	struct hv_slots *s = rcu_dereference_protected(vm->slots, true);

	RCU_INIT_POINTER(vm->slots, NULL);
	slots_free(s, NULL);
}
