// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_mmu.c - second-stage page tables over ordinary process memory
 * (contracts 6, 11, 13, 14; table format: APM vol. 2, 15.25, through hv_ops).
 *
 * Nothing is pinned: a fault looks the page up, installs a translation under mmu.lock and drops the
 * reference; the mmu notifier removes the translation before the host takes the page away.
 *
 * A removed translation may live on in a vCPU's TLB, and a removed table page in its walk caches.
 * So every removal, still under mmu.lock, grows flush_gen; who removed something, or finds
 * flush_done behind flush_gen, calls hv_mmu_flush() before it lets the page go.  Table pages wait
 * on free_list until flush_done has reached their generation.
 *
 * mmu.lock spins, for the ageing callbacks come under page-table locks.  Under it: no allocation,
 * no sleep, no flush.
 */
#include <linux/pgtable.h>
#include "hv.h"

#define ENTRIES		512
#define GFNS(level)	(1ULL << (9 * ((level) - 1)))	/* frames one entry of @level maps */

/* ---- entries and table pages ---- */

static unsigned int entry_index(u64 gfn, int level)
{
	return (gfn >> (9 * (level - 1))) & (ENTRIES - 1);
}

static bool is_present(u64 e)
{
	return e & hv_ops->pte_present;
}

static bool is_leaf(u64 e, int level)
{
	return level == 1 || (e & hv_ops->pte_large);
}

static u64 *entry_table(u64 e)
{
	return __va(e & hv_ops->pte_addr_mask);
}

/* First frame that the entry of @level for @gfn does not map. */
static u64 entry_end(u64 gfn, int level)
{
	return (gfn | (GFNS(level) - 1)) + 1;
}

static u64 frames(struct hv_mmu *mmu)
{
	return GFNS(mmu->levels + 1);
}

static struct page *table_alloc(void)
{
	struct page *page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);

	if (page)
		atomic_inc(&hv_count_tables);
	return page;
}

static void table_free(struct page *page)
{
	set_page_private(page, 0);
	__free_page(page);
	atomic_dec(&hv_count_tables);
}

/* Enough pages for one install; another fault may take them before the lock. */
static int cache_fill(struct hv_mmu *mmu)
{
	struct page *page;

	while (READ_ONCE(mmu->cached) < mmu->levels - 1) {
		page = table_alloc();
		if (!page)
			return -ENOMEM;
		spin_lock(&mmu->lock);
		list_add(&page->lru, &mmu->cache);
		mmu->cached++;
		spin_unlock(&mmu->lock);
	}
	return 0;
}

static u64 *cache_take(struct hv_mmu *mmu)
{
	struct page *page = list_first_entry(&mmu->cache, struct page, lru);

	list_del(&page->lru);
	mmu->cached--;
	mmu->table_pages++;
	return page_address(page);
}

/* The generation is the one that the caller's mmu_unlock() begins. */
static void table_unlink(struct hv_mmu *mmu, u64 *table)
{
	struct page *page = virt_to_page(table);

	set_page_private(page, atomic64_read(&mmu->flush_gen) + 1);
	list_add_tail(&page->lru, &mmu->free_list);
}

/* Returns whether somebody must flush before a page may be let go. */
static bool mmu_unlock(struct hv_mmu *mmu, bool removed)
	__releases(mmu->lock)
{
	bool behind;

	if (removed)
		atomic64_inc(&mmu->flush_gen);
	behind = atomic64_read(&mmu->flush_gen) != mmu->flush_done;
	spin_unlock(&mmu->lock);
	return behind;
}

/* ---- flush (contract 13) ---- */

/*
 * Has @v been in the guest with a TLB older than @gen?  A vCPU that is in the
 * section but not yet in the guest looks the same at one instant; what tells
 * them apart is an exit (STAT_EXITS grows after each) with flushed_gen still
 * old.  A violator sits in the guest until the host's next tick, so wait for that.
 */
static bool vcpu_missed_flush(struct hv_vcpu *v, u64 gen)
{
	u64 exits = READ_ONCE(v->stat[HV_STAT_EXITS]), until = 0, now;
	bool left;

	for (;;) {
		left = smp_load_acquire(&v->mode) == HV_OUTSIDE ||
		       READ_ONCE(v->stat[HV_STAT_EXITS]) != exits;
		smp_rmb();	/* stat before flushed_gen; the vCPU stores them the other way round */
		if (READ_ONCE(v->flushed_gen) >= gen)
			return false;
		if (left)
			return READ_ONCE(v->stat[HV_STAT_EXITS]) != exits;
		now = ktime_get_mono_fast_ns();
		if (!until)
			until = now + 100 * NSEC_PER_MSEC;
		else if (now > until)
			return false;	/* cannot tell */
		cpu_relax();
	}
}

/*
 * Contract 13's invariant, after a wait for @gen: no vCPU uses what is older.
 * Returns whether one did.
 */
bool hv_mmu_check_flushed(struct hv_vm *vm, u64 gen)
{
	struct hv_vcpu *v;
	bool bad = false;
	int i;

	if (likely(!hv_debug_flush))
		return false;
	hv_for_each_vcpu(i, v, vm) {
		if (smp_load_acquire(&v->mode) == HV_OUTSIDE || READ_ONCE(v->flushed_gen) >= gen)
			continue;
		bad |= vcpu_missed_flush(v, gen);
		WARN_ONCE(bad, "hv: vCPU %u ran with translations older than generation %llu\n",
			  v->id, gen);
	}
	return bad;
}

/*
 * A build with HV_TEST_SKIP_FLUSH leaves flushes out until the checker has caught
 * one, which proves the checker; selftests/tests/mmu_flush.test.
 */
static bool flush_skipped(struct hv_vm *vm, u64 gen)
{
#ifdef HV_TEST_SKIP_FLUSH
	static bool caught;

	if (!hv_debug_flush || READ_ONCE(caught))
		return false;
	WRITE_ONCE(caught, hv_mmu_check_flushed(vm, gen));
	return !caught;
#else
	return false;
#endif
}

void hv_mmu_flush(struct hv_vm *vm)
{
	struct hv_mmu *mmu = &vm->mmu;
	u64 gen = atomic64_read(&mmu->flush_gen);
	struct page *page, *next;
	LIST_HEAD(dead);

	if (!flush_skipped(vm, gen))
		hv_vm_flush_wait(vm);	/* for a generation not older than @gen */

	spin_lock(&mmu->lock);
	if (gen > mmu->flush_done)
		mmu->flush_done = gen;
	list_for_each_entry_safe(page, next, &mmu->free_list, lru) {
		if (page_private(page) > mmu->flush_done)
			break;
		list_move_tail(&page->lru, &dead);
		mmu->table_pages--;
	}
	spin_unlock(&mmu->lock);
	list_for_each_entry_safe(page, next, &dead, lru)
		table_free(page);
}

/* ---- removing ---- */

static void leaf_clear(struct hv_mmu *mmu, u64 *e, int level)
{
	WRITE_ONCE(*e, 0);
	mmu->leaves[level - 1]--;
}

/*
 * Unlink the table under @e, an entry of @level, with all below it.  The pages
 * keep their contents, for a walk that began before may still read them.
 */
static void table_drop(struct hv_mmu *mmu, u64 *e, int level)
{
	u64 *table = entry_table(*e);
	int i;

	WRITE_ONCE(*e, 0);
	for (i = 0; i < ENTRIES; i++) {
		if (!is_present(table[i]))
			continue;
		if (is_leaf(table[i], level - 1))
			mmu->leaves[level - 2]--;
		else
			table_drop(mmu, &table[i], level - 1);
	}
	table_unlink(mmu, table);
}

/* Remove one thing at @gfn; returns the frame to go on with. */
static u64 zap_step(struct hv_mmu *mmu, u64 gfn, u64 end, bool prune, bool *removed)
{
	u64 *table = mmu->root, *e, next;
	int level;

	for (level = mmu->levels; ; level--) {
		e = &table[entry_index(gfn, level)];
		next = entry_end(gfn, level);
		if (!is_present(*e))
			return next;
		if (is_leaf(*e, level)) {
			leaf_clear(mmu, e, level);
			*removed = true;
			return next;
		}
		table = entry_table(*e);
		if ((level == 2 && !(gfn & (GFNS(2) - 1)) && next <= end) ||
		    (prune && !memchr_inv(table, 0, PAGE_SIZE))) {
			table_drop(mmu, e, level);
			*removed = true;
			return next;
		}
	}
}

/*
 * Remove the translations of [@gfn, @end), large leaves that reach in included.
 * mmu.lock held; with @yield it is dropped now and then, *@removed included.
 */
static void zap_gfns(struct hv_mmu *mmu, u64 gfn, u64 end, bool prune, bool yield, bool *removed)
	__must_hold(mmu->lock)
{
	while (gfn < end) {
		gfn = zap_step(mmu, gfn, end, prune, removed);
		if (yield && (need_resched() || spin_needbreak(&mmu->lock))) {
			mmu_unlock(mmu, *removed);
			*removed = false;
			cond_resched();
			spin_lock(&mmu->lock);
		}
	}
}

/* The caller flushes. */
void hv_mmu_zap_range(struct hv_vm *vm, u64 gfn, u64 npages)
{
	struct hv_mmu *mmu = &vm->mmu;
	bool removed = false;
	int pass;

	/* Each pass empties one more level of tables for the next to prune, or a
	 * guest could move a BAR about until its owner is out of memory. */
	spin_lock(&mmu->lock);
	for (pass = 0; pass < mmu->levels; pass++)
		zap_gfns(mmu, gfn, gfn + npages, true, true, &removed);
	mmu_unlock(mmu, removed);
}

/* The leaf that maps @gfn, or NULL; *@next: the first frame beyond it or the hole. */
static u64 *leaf_find(struct hv_mmu *mmu, u64 gfn, u64 *next)
{
	u64 *table = mmu->root, *e;
	int level;

	for (level = mmu->levels; ; level--) {
		e = &table[entry_index(gfn, level)];
		*next = entry_end(gfn, level);
		if (!is_present(*e))
			return NULL;
		if (is_leaf(*e, level))
			return e;
		table = entry_table(*e);
	}
}

/*
 * Let the next write to each page be noticed: by a fault, or by the CPU's own report, for which a
 * leaf has to be clean.  A large leaf always loses write access, and as a whole; the next write
 * replaces it by small ones.  The caller flushes.
 */
void hv_mmu_watch_writes(struct hv_vm *vm, const struct hv_memslot *slot,
			 u64 first, const unsigned long *mask, u64 npages)
{
	struct hv_mmu *mmu = &vm->mmu;
	u64 base = slot->gfn + first, i = 0, next, *e, bit;
	bool removed = false;

	spin_lock(&mmu->lock);
	while (i < npages) {
		if (mask) {
			i = find_next_bit(mask, npages, i);
			if (i >= npages)
				break;
		}
		e = leaf_find(mmu, base + i, &next);
		bit = hv_ops->reports_dirty && e && !(*e & hv_ops->pte_large) ? hv_ops->pte_dirty
									      : hv_ops->pte_write;
		if (e && (READ_ONCE(*e) & bit)) {
			/* The CPU may be setting A or D in the same word. */
			clear_bit(__ffs64(bit), (unsigned long *)e);
			removed = true;
		}
		i = next - base;
		if (need_resched() || spin_needbreak(&mmu->lock)) {
			mmu_unlock(mmu, removed);
			removed = false;
			cond_resched();
			spin_lock(&mmu->lock);
		}
	}
	mmu_unlock(mmu, removed);
}

/* ---- installing ---- */

/*
 * Level of the host's own leaf that maps @pfn at @hva.  Page tables are not
 * freed under us: that takes an interrupt to, or a grace period of, every CPU.
 * The answer holds while mmu.lock is held and no invalidation is under way.
 */
static int host_level(struct mm_struct *mm, unsigned long hva, unsigned long pfn, bool write)
{
	unsigned long flags;
	int level = 1;
	pgd_t pgd;
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;

	local_irq_save(flags);
	pgd = READ_ONCE(*pgd_offset(mm, hva));
	if (pgd_none(pgd))
		goto out;
	p4d = READ_ONCE(*p4d_offset_lockless(pgd_offset(mm, hva), pgd, hva));
	if (p4d_none(p4d) || !p4d_present(p4d))
		goto out;
	pud = READ_ONCE(*pud_offset_lockless(NULL, p4d, hva));
	if (!(pud_flags(pud) & _PAGE_PRESENT))
		goto out;
	if (pud_leaf(pud)) {
		if (pud_pfn(pud) + ((hva & ~PUD_MASK) >> PAGE_SHIFT) == pfn &&
		    (!write || (pud_flags(pud) & _PAGE_RW)))
			level = 3;
		goto out;
	}
	pmd = READ_ONCE(*pmd_offset_lockless(NULL, pud, hva));
	if ((pmd_flags(pmd) & _PAGE_PRESENT) && pmd_leaf(pmd) &&
	    pmd_pfn(pmd) + ((hva & ~PMD_MASK) >> PAGE_SHIFT) == pfn &&
	    (!write || (pmd_flags(pmd) & _PAGE_RW)))
		level = 2;
out:
	local_irq_restore(flags);
	return level;
}

static bool under_invalidation(struct hv_mmu *mmu, unsigned long hva, unsigned long len)
{
	return mmu->inval_count && hva < mmu->inval_end && hva + len > mmu->inval_start;
}

static bool has_table(struct hv_mmu *mmu, u64 gfn, int level)
{
	u64 *table = mmu->root, e;
	int l;

	for (l = mmu->levels; ; l--) {
		e = table[entry_index(gfn, l)];
		if (!is_present(e) || is_leaf(e, l))
			return false;
		if (l == level)
			return true;
		table = entry_table(e);
	}
}

/* Largest leaf that host, slot and backend allow around @gfn. */
static int map_level(struct hv_vm *vm, const struct hv_memslot *s, u64 gfn, unsigned long hva,
		     unsigned long pfn, u32 access, bool write)
{
	int level;
	u64 n, base;

	if (s->dirty)
		return 1;	/* the log is per page */
	/* The iTLB erratum: where code was run in small leaves, they stay until the host's change. */
	if (hv_nx_large && (access & HV_ACCESS_EXEC))
		return 1;
	level = min(host_level(vm->mm, hva, pfn, write), hv_ops->max_leaf);
	for (; level > 1; level--) {
		n = GFNS(level);
		base = gfn & ~(n - 1);
		if (((gfn ^ (hva >> PAGE_SHIFT)) & (n - 1)) || base < s->gfn ||
		    base + n > s->gfn + s->npages || (hv_nx_large && has_table(&vm->mmu, gfn, level)))
			continue;
		/* Of our page it is known that nobody invalidates it; of its neighbours not. */
		if (!under_invalidation(&vm->mmu, hva & ~((n << PAGE_SHIFT) - 1), n << PAGE_SHIFT))
			break;
	}
	return level;
}

/* A fault that another vCPU has served: same frame, enough access. */
static bool leaf_serves(u64 e, int level, u64 gfn, unsigned long pfn, u32 access, bool write)
{
	u64 base = (e & hv_ops->pte_addr_mask) >> PAGE_SHIFT;

	return (base & ~(GFNS(level) - 1)) + (gfn & (GFNS(level) - 1)) == pfn &&
	       (!write || (e & hv_ops->pte_write)) &&
	       !(hv_nx_large && level > 1 && (access & HV_ACCESS_EXEC));
}

/* Returns whether translations were removed; those that only gain access are not. */
static bool leaf_install(struct hv_mmu *mmu, u64 gfn, unsigned long pfn, int level, u32 access,
			 bool write)
{
	u64 *table = mmu->root, *e, new;
	bool removed = false, same;
	int l;

	for (l = mmu->levels; ; l--) {
		e = &table[entry_index(gfn, l)];
		if (is_present(*e) && is_leaf(*e, l)) {
			if (leaf_serves(*e, l, gfn, pfn, access, write))
				return removed;
			if (l == level)
				break;
			leaf_clear(mmu, e, l);
			removed = true;
		}
		if (l == level)
			break;
		if (!is_present(*e))
			WRITE_ONCE(*e, hv_ops->pte_table(__pa(cache_take(mmu))));
		table = entry_table(*e);
	}
	if (is_present(*e) && !is_leaf(*e, l)) {
		table_drop(mmu, e, l);
		removed = true;
	}
	new = hv_ops->pte_leaf((u64)(pfn & ~(GFNS(l) - 1)) << PAGE_SHIFT, write, l) |
	      hv_ops->pte_accessed | (write ? hv_ops->pte_dirty : 0);
	if (is_present(*e)) {
		same = !((*e ^ new) & hv_ops->pte_addr_mask);
		removed |= !same;
	} else {
		mmu->leaves[l - 1]++;
	}
	WRITE_ONCE(*e, new);
	return removed;
}

/* ---- faults ---- */

static int fault_errno(int ret)
{
	if (ret == -EHWPOISON)
		return ret;
	if (signal_pending(current))
		return -EINTR;
	/* Frame numbers without pages (VM_PFNMAP, VM_IO) come out here as well. */
	return ret < 0 ? ret : -EFAULT;
}

/*
 * A wait in the host's fault handler ends with a signal, but a kick is none.  So
 * while a vCPU is there a timer looks for requests that want it out, and then
 * does what the freezer does: TIF_SIGPENDING without a signal.  The flag first,
 * then the look at the task's state: whoever goes to sleep later sees the flag.
 */
#define FAULT_POLL_NS	(10 * NSEC_PER_MSEC)
#define FAULT_ENDS	(BIT(HV_REQ_KICK) | BIT(HV_REQ_LEAVE) | BIT(HV_REQ_DEAD))

static enum hrtimer_restart fault_poll(struct hrtimer *timer)
{
	struct hv_vcpu *v = container_of(timer, struct hv_vcpu, fault_timer);

	if (READ_ONCE(v->requests) & FAULT_ENDS) {
		set_tsk_thread_flag(v->fault_task, TIF_SIGPENDING);
		smp_mb__after_atomic();
		if (hv_task_interruptible(v->fault_task))
			wake_up_process(v->fault_task);
	}
	hrtimer_forward_now(timer, ns_to_ktime(FAULT_POLL_NS));
	return HRTIMER_RESTART;
}

/* @v: who is kicked to end the wait; NULL for HV_PREFAULT. */
static int page_get_slow(struct hv_vcpu *v, unsigned long hva, bool write, struct page **page)
{
	unsigned int flags = FOLL_HWPOISON | HV_FOLL_INTERRUPTIBLE | (write ? FOLL_WRITE : 0);
	int ret = 0;

	if (v) {
		v->fault_task = current;
		hv_hrtimer_setup(&v->fault_timer, fault_poll, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
		hrtimer_start(&v->fault_timer, ns_to_ktime(FAULT_POLL_NS), HRTIMER_MODE_REL);
	}
	hv_fault_in(hva, write);
	if (HV_FOLL_INTERRUPTIBLE || !signal_pending(current))
		ret = get_user_pages_unlocked(hva, 1, page, flags);
	if (v)
		hrtimer_cancel(&v->fault_timer);
	return ret == 1 ? 0 : fault_errno(ret);
}

/*
 * A reference to the page at @hva.  *@write: in, the slot allows writing; out,
 * the host's own mapping allows it now.  @need: it must.
 */
static int page_get(struct hv_vcpu *v, unsigned long hva, bool need, bool *write,
		    struct page **page)
{
	bool may = *write, again = false;
	int ret;

	for (;;) {
		*write = may;
		if (may && get_user_pages_fast_only(hva, 1, FOLL_WRITE, page) == 1)
			return 0;
		*write = need;
		if (!need && get_user_pages_fast_only(hva, 1, 0, page) == 1)
			return 0;
		ret = page_get_slow(v, hva, need, page);
		if (ret || need || !may || again)
			return ret;
		/* A read may have made a shared mapping writable: look once more. */
		put_page(*page);
		again = true;
	}
}

/* Under mmu.lock: may what was looked up before @seq and @slots be installed? */
static bool map_stale(struct hv_vm *vm, const struct hv_slots *slots, unsigned long seq,
		      unsigned long hva)
{
	struct hv_mmu *mmu = &vm->mmu;

	return rcu_access_pointer(vm->slots) != slots || mmu->inval_seq != seq ||
	       under_invalidation(mmu, hva, PAGE_SIZE) || mmu->cached < mmu->levels - 1;
}

/*
 * Map @gfn.  0, and *@next is the frame after the leaf; -EAGAIN: raced, try
 * again; -EINTR; other errors are the host's verdict on the address.
 */
static int map_gfn(struct hv_vm *vm, struct hv_vcpu *v, const struct hv_slots *slots,
		   const struct hv_memslot *s, u64 gfn, u32 access, u64 *next)
{
	bool need_write = access & HV_ACCESS_WRITE;
	unsigned long hva = s->hva + ((gfn - s->gfn) << PAGE_SHIFT), seq, pfn;
	bool write = !(s->flags & HV_SLOT_READONLY) && (need_write || !s->dirty);
	struct hv_mmu *mmu = &vm->mmu;
	bool removed = false, behind;
	struct page *page;
	int ret, level;

	ret = cache_fill(mmu);
	if (ret)
		return ret;
	seq = READ_ONCE(mmu->inval_seq);
	smp_rmb();	/* seq before the page; pairs with the lock in notify_end() */
	ret = page_get(v, hva, need_write, &write, &page);
	if (ret)
		return ret;
	pfn = page_to_pfn(page);

	spin_lock(&mmu->lock);
	if (map_stale(vm, slots, seq, hva)) {
		ret = -EAGAIN;
	} else {
		level = map_level(vm, s, gfn, hva, pfn, access, write);
		removed = leaf_install(mmu, gfn, pfn, level, access, write);
		*next = entry_end(gfn, level);
		/*
		 * The guest may write from now on, and no dirty bit of the host's
		 * page table will tell.  Under the lock: once it is dropped the
		 * page can be unmapped, and reclaimed as clean.
		 */
		if (write && !PageReserved(page))
			hv_page_set_dirty(page);
		if (need_write)
			hv_slot_mark_dirty(s, gfn);
	}
	behind = mmu_unlock(mmu, removed);
	if (!ret && !PageReserved(page))
		hv_page_mark_accessed(page);
	put_page(page);
	/* Free what was replaced; a mere @behind is its owner's business. */
	if (removed && behind)
		hv_mmu_flush(vm);
	return ret;
}

/* vm->srcu held; may sleep.  The vCPU enters again for 0, mapped or not. */
int hv_mmu_fault(struct hv_vcpu *v, u64 gpa, u32 access)
{
	const struct hv_slots *slots = hv_slots(v->vm);
	const struct hv_memslot *s = hv_slot_find(slots, gpa >> PAGE_SHIFT);
	bool write = access & HV_ACCESS_WRITE;
	u64 next;
	int ret;

	if (!s || (write && (s->flags & HV_SLOT_READONLY)))
		return HV_FAULT_MMIO;
	ret = map_gfn(v->vm, v, slots, s, gpa >> PAGE_SHIFT, access, &next);
	return ret == -EAGAIN ? HV_FAULT_RETRY : ret;
}

#define PREFAULT_LEAVES	512	/* at most in one call; the caller holds srcu */

/*
 * Map ahead of time.  p->gpa and p->len tell what is left, also on errors, and
 * with 0 too: a call does a bounded part, for a change of slots waits for it.
 * -EINVAL not whole pages; -EFAULT no slot, or a read-only one for writing;
 * -EINTR signal; -ENOMEM; else the host's verdict (-EFAULT, -EHWPOISON).
 */
int hv_mmu_prefault(struct hv_vm *vm, struct hv_prefault *p)
{
	bool write = p->flags & HV_ACCESS_WRITE;
	const struct hv_memslot *s;
	const struct hv_slots *slots;
	int ret, leaves = 0;
	u64 gfn, next;

	if (!PAGE_ALIGNED(p->gpa) || !PAGE_ALIGNED(p->len) || p->gpa + p->len < p->gpa)
		return -EINVAL;
	while (p->len && leaves < PREFAULT_LEAVES) {
		if (signal_pending(current))
			return -EINTR;
		cond_resched();
		gfn = p->gpa >> PAGE_SHIFT;
		slots = hv_slots(vm);
		s = hv_slot_find(slots, gfn);
		if (!s || (write && (s->flags & HV_SLOT_READONLY)))
			return -EFAULT;
		ret = map_gfn(vm, NULL, slots, s, gfn, p->flags, &next);
		if (ret == -EAGAIN)
			continue;
		if (ret)
			return ret;
		next = min(next << PAGE_SHIFT, p->gpa + p->len);
		p->len -= next - p->gpa;
		p->gpa = next;
		leaves++;
	}
	return 0;
}

/* ---- mmu notifier ---- */

/* Slot frames whose host addresses meet [@start, @end). */
static bool slot_overlap(const struct hv_memslot *s, unsigned long start, unsigned long end,
			 u64 *gfn, u64 *gfn_end)
{
	unsigned long first = max(start, s->hva);
	unsigned long last = min(end - 1, s->hva + (s->npages << PAGE_SHIFT) - 1);

	if (first > last)
		return false;
	*gfn = s->gfn + ((first - s->hva) >> PAGE_SHIFT);
	*gfn_end = s->gfn + ((last - s->hva) >> PAGE_SHIFT) + 1;
	return true;
}

static void zap_hva(struct hv_mmu *mmu, const struct hv_slots *slots, unsigned long start,
		    unsigned long end, bool yield, bool *removed)
{
	u64 gfn, gfn_end;
	u32 i;

	for (i = 0; slots && i < slots->count; i++)
		if (slot_overlap(&slots->slot[i], start, end, &gfn, &gfn_end))
			zap_gfns(mmu, gfn, gfn_end, false, yield, removed);
}

/*
 * No change_pte callback: the host calls it only between start and end, which
 * have removed the translation already.
 */
static int notify_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct hv_vm *vm = container_of(mn, struct hv_vm, mn);
	bool yield = mmu_notifier_range_blockable(range), removed = false, behind;
	struct hv_mmu *mmu = &vm->mmu;
	int idx;

	atomic64_inc(&vm->stat[HV_STAT_INVALIDATIONS]);
	idx = srcu_read_lock(&vm->srcu);
	spin_lock(&mmu->lock);
	if (!mmu->inval_count++) {
		mmu->inval_start = range->start;
		mmu->inval_end = range->end;
	} else {
		mmu->inval_start = min(mmu->inval_start, range->start);
		mmu->inval_end = max(mmu->inval_end, range->end);
	}
	/* The slots after the lock: one that is published later cannot be mapped
	 * here before notify_end(), one published earlier is seen. */
	zap_hva(mmu, hv_slots(vm), range->start, range->end, yield, &removed);
	zap_hva(mmu, mmu->old_slots, range->start, range->end, yield, &removed);
	behind = mmu_unlock(mmu, removed);
	srcu_read_unlock(&vm->srcu, idx);
	/* Also when somebody else removed the translation and is yet to flush. */
	if (behind)
		hv_mmu_flush(vm);
	return 0;
}

static void notify_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct hv_mmu *mmu = &container_of(mn, struct hv_vm, mn)->mmu;

	spin_lock(&mmu->lock);
	WRITE_ONCE(mmu->inval_seq, mmu->inval_seq + 1);
	mmu->inval_count--;
	spin_unlock(&mmu->lock);
}

/*
 * Was any page of the range used, and forget it if @clear.  The TLB is not
 * flushed, as the host does not for its own on x86: a page in heavy use will be
 * seen again.  Without A bits whatever is mapped counts as used.
 */
static bool age(struct hv_vm *vm, unsigned long start, unsigned long end, bool clear)
{
	struct hv_mmu *mmu = &vm->mmu;
	const struct hv_slots *slots;
	u64 gfn, gfn_end, *e, a = hv_ops->pte_accessed;
	bool young = false;
	int idx;
	u32 i;

	idx = srcu_read_lock(&vm->srcu);
	spin_lock(&mmu->lock);
	slots = hv_slots(vm);
	for (i = 0; i < slots->count; i++) {
		if (!slot_overlap(&slots->slot[i], start, end, &gfn, &gfn_end))
			continue;
		while (gfn < gfn_end) {
			e = leaf_find(mmu, gfn, &gfn);
			if (!e || (a && !(READ_ONCE(*e) & a)))
				continue;
			young = true;
			if (clear && a)
				clear_bit(__ffs64(a), (unsigned long *)e);
		}
	}
	spin_unlock(&mmu->lock);
	srcu_read_unlock(&vm->srcu, idx);
	return young;
}

static hv_young_t notify_clear_young(struct mmu_notifier *mn, struct mm_struct *mm,
				     unsigned long start, unsigned long end)
{
	return age(container_of(mn, struct hv_vm, mn), start, end, true);
}

static hv_young_t notify_test_young(struct mmu_notifier *mn, struct mm_struct *mm,
				    unsigned long address)
{
	return age(container_of(mn, struct hv_vm, mn), address, address + 1, false);
}

/*
 * The mm goes, by its last thread's exit or by our unregistering.  The VM may
 * be kept open by another process, which gets -EIO; no fault comes any more.
 */
static void notify_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct hv_vm *vm = container_of(mn, struct hv_vm, mn);
	struct hv_mmu *mmu = &vm->mmu;
	bool removed = false;

	spin_lock(&mmu->lock);
	zap_gfns(mmu, 0, frames(mmu), false, true, &removed);
	mmu_unlock(mmu, removed);
	hv_mmu_flush(vm);
}

static const struct mmu_notifier_ops notifier_ops = {
	.release = notify_release,
	.clear_flush_young = notify_clear_young,
	.clear_young = notify_clear_young,
	.test_young = notify_test_young,
	.invalidate_range_start = notify_start,
	.invalidate_range_end = notify_end,
};

/* ---- set-up and tear-down ---- */

static void tree_free(u64 *table, int level)
{
	int i;

	for (i = 0; level > 1 && i < ENTRIES; i++)
		if (is_present(table[i]) && !is_leaf(table[i], level))
			tree_free(entry_table(table[i]), level - 1);
	table_free(virt_to_page(table));
	cond_resched();
}

int hv_mmu_init(struct hv_vm *vm)
{
	struct hv_mmu *mmu = &vm->mmu;
	struct page *root;
	int ret;

	spin_lock_init(&mmu->lock);
	INIT_LIST_HEAD(&mmu->cache);
	INIT_LIST_HEAD(&mmu->free_list);
	mmu->levels = hv_host.npt_levels;
	/* So that a vCPU's flushed_gen of 0 always means that it owes a flush. */
	atomic64_set(&mmu->flush_gen, 1);
	mmu->flush_done = 1;
	root = table_alloc();
	if (!root)
		return -ENOMEM;
	mmu->root = page_address(root);
	mmu->table_pages = 1;
	vm->mn.ops = &notifier_ops;
	ret = mmu_notifier_register(&vm->mn, vm->mm);
	if (ret) {
		table_free(root);
		mmu->root = NULL;
	}
	return ret;
}

/*
 * All fds are closed: no vCPU runs.  The caller may be any process; the
 * notifier holds the mm struct.
 */
void hv_mmu_destroy(struct hv_vm *vm)
{
	struct hv_mmu *mmu = &vm->mmu;
	struct page *page, *next;

	mmu_notifier_unregister(&vm->mn, vm->mm);
	hv_mmu_flush(vm);
	WARN_ON_ONCE(!list_empty(&mmu->free_list));
	list_for_each_entry_safe(page, next, &mmu->cache, lru)
		table_free(page);
	tree_free(mmu->root, mmu->levels);
	mmu->root = NULL;
}
