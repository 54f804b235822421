// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_vcpu.c - the vCPU file descriptor and the run loop.
 *
 * Two layers.  Outside: HV_RUN holds the vCPU's mutex, a preempt notifier keeps the backend's
 * lazily loaded state right across context switches, and each turn of the loop holds vm->srcu.
 * Inside: the entry section runs with interrupts off and the guest's FPU state loaded, and goes
 * back into the guest after exits that can be finished there (contract 10).
 */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include <asm/fpu/api.h>
#include "hv.h"
#include "hv_trace.h"

/* ---- kick and flush ---- */

/*
 * The other half of each protocol is vcpu_section(): mode = HV_IN_SECTION, full
 * barrier, look at requests and flush_gen, enter.  Whoever sets a request (or
 * bumps flush_gen) and then sees HV_OUTSIDE knows the vCPU will look; if it
 * sees HV_IN_SECTION the interrupt ends the stay in the guest.
 */
void hv_vcpu_kick(struct hv_vcpu *v)
{
	int me, cpu;

	rcuwait_wake_up(&v->wait);
	me = get_cpu();
	if (READ_ONCE(v->mode) == HV_IN_SECTION) {
		cpu = READ_ONCE(v->cpu);
		/* On its own CPU we interrupted the code around the section. */
		if (cpu != me && cpu >= 0 && cpu_online(cpu))
			hv_send_reschedule(cpu);
	}
	put_cpu();
}

static void flush_ack(void *unused)
{
}

void hv_vm_leave_wait(struct hv_vm *vm, u64 gen)
{
	struct hv_vcpu *v;
	int i, cpu;

	smp_mb();	/* flush_gen before mode; pairs with vcpu_section() */
	hv_for_each_vcpu(i, v, vm) {
		if (READ_ONCE(v->mode) != HV_IN_SECTION || READ_ONCE(v->flushed_gen) >= gen)
			continue;
		cpu = READ_ONCE(v->cpu);
		/* The call is served with interrupts on, so outside the section;
		 * whoever enters after it sees the new generation. */
		if (cpu >= 0)
			smp_call_function_single(cpu, flush_ack, NULL, 1);
	}
}

void hv_vm_flush_wait(struct hv_vm *vm)
{
	u64 gen = atomic64_read(&vm->mmu.flush_gen);

	hv_vm_leave_wait(vm, gen);
	hv_mmu_check_flushed(vm, gen);
}

/* ---- load and put ---- */

static DEFINE_PER_CPU(u64, last_vcpu);	/* hv_vcpu.unique of the last to run there */

/* @waited: the thread was off the CPU, which is what steal time counts. */
static void vcpu_loaded(struct hv_vcpu *v, bool waited)
{
	int cpu = smp_processor_id();

	hv_ops->vcpu_load(v, cpu);
	if (waited || v->cpu != cpu)
		hv_clock_loaded(v, cpu);
	WRITE_ONCE(v->cpu, cpu);
	if (this_cpu_read(last_vcpu) != v->unique) {
		this_cpu_write(last_vcpu, v->unique);
		if (hv_mitigate)
			hv_ibpb();
	}
}

static void vcpu_sched_in(struct preempt_notifier *n, int cpu)
{
	vcpu_loaded(container_of(n, struct hv_vcpu, notifier), true);
}

static void vcpu_sched_out(struct preempt_notifier *n, struct task_struct *next)
{
	hv_ops->vcpu_put(container_of(n, struct hv_vcpu, notifier));
}

static struct preempt_ops vcpu_preempt_ops = {
	.sched_in = vcpu_sched_in,
	.sched_out = vcpu_sched_out,
};

static void vcpu_load(struct hv_vcpu *v)
{
	preempt_disable();
	preempt_notifier_register(&v->notifier);
	vcpu_loaded(v, false);
	v->loaded = true;
	preempt_enable();
}

static void vcpu_put(struct hv_vcpu *v)
{
	preempt_disable();
	v->loaded = false;
	hv_ops->vcpu_put(v);
	preempt_notifier_unregister(&v->notifier);
	preempt_enable();
}

/* ---- the entry section ---- */

static bool section_must_leave(struct hv_vcpu *v)
{
	unsigned long req = READ_ONCE(v->requests);

	if (unlikely(req)) {
		/* An interrupt only needs another look, which comes right after this. */
		if (req != BIT(HV_REQ_EVENT))
			return true;
		clear_bit(HV_REQ_EVENT, &v->requests);
		smp_mb__after_atomic();
	}
	return need_resched() || signal_pending(current);
}

static int vcpu_section(struct hv_vcpu *v)
{
	int ret, fast = 0;

	kernel_fpu_begin();
	local_irq_disable();
	/* Pairs with hv_request() + hv_vcpu_kick(), and with hv_vm_flush_wait(). */
	smp_store_mb(v->mode, HV_IN_SECTION);
	hv_fpu_enter(v);
	if (static_branch_unlikely(&hv_borrowing))
		hv_ops->window(v, true);
	v->section++;
	for (;;) {
		if (section_must_leave(v)) {
			ret = HV_LOOP;
			break;
		}
		ret = hv_events_enter(v);
		if (ret != HV_ENTER)
			break;
		trace_hv_entry(v);
		v->insn.avail = 0;
		v->next_rip = 0;
		hv_ops->enter(v);
		hv_guest_ran();
		v->stat[HV_STAT_EXITS]++;
		ret = hv_ops->fast_exit(v);
		if (ret != HV_ENTER)
			break;
		v->stat[HV_STAT_FAST_EXITS]++;
		if (++fast >= HV_FAST_BOUND) {
			ret = HV_LOOP;
			break;
		}
	}
	if (static_branch_unlikely(&hv_borrowing))
		hv_ops->window(v, false);
	hv_fpu_leave(v);
	smp_store_release(&v->mode, HV_OUTSIDE);
	local_irq_enable();
	kernel_fpu_end();
	return ret;
}

/* ---- requests and blocking ---- */

static int vcpu_take_requests(struct hv_vcpu *v)
{
	if (likely(!READ_ONCE(v->requests)))
		return HV_ENTER;
	if (test_bit(HV_REQ_DEAD, &v->requests))
		return -EIO;
	hv_take_request(v, HV_REQ_LEAVE);
	hv_take_request(v, HV_REQ_EVENT);
	hv_take_request(v, HV_REQ_NMI);
	if (hv_take_request(v, HV_REQ_TSC))
		hv_clock_apply(v);
	if (hv_take_request(v, HV_REQ_INITSIPI))
		hv_lapic_initsipi(v);
	if (hv_take_request(v, HV_REQ_PDPTE))
		hv_pdptes_load(v);
	if (hv_take_request(v, HV_REQ_TIMER))
		hv_timer_expired(v);
	if (hv_take_request(v, HV_REQ_CLOCK))
		hv_clock_update(v);
	if (hv_take_request(v, HV_REQ_STEAL))
		hv_clock_steal(v);
	/* Last, so that nothing above is lost when userspace takes its time. */
	if (hv_take_request(v, HV_REQ_KICK)) {
		v->stat[HV_STAT_KICKS]++;
		v->run->exit_reason = HV_EXIT_KICK;
		return HV_USER;
	}
	return HV_ENTER;
}

/*
 * For HLT: an event that the guest, as it stands, would take.  Changes nothing:
 * it is asked once to end the wait and again to leave the halt.
 */
bool hv_vcpu_runnable(struct hv_vcpu *v)
{
	if (v->mp.state == HV_MP_RUNNABLE)
		return true;
	if (v->mp.state == HV_MP_WAIT_SIPI)
		return false;
	if (v->ev.exc_flags || v->ev.nmi_injected || v->ev.int_flags || v->ev.triple_fault)
		return true;
	if (READ_ONCE(v->pv_unhalt))
		return true;
	if ((v->ev.nmi_pending || atomic_read(&v->nmi_queued)) && !hv_ops->get_nmi_masked(v))
		return true;
	if (!(v->regs.rflags & X86_EFLAGS_IF))
		return false;
	return hv_lapic_wakes(v) ||
	       (READ_ONCE(v->vm->intr_line) && hv_lapic_extint_ok(v));
}

static void vcpu_block(struct hv_vcpu *v)
{
	u64 start = ktime_get_ns();

	rcuwait_wait_event(&v->wait, READ_ONCE(v->requests) || hv_vcpu_runnable(v) ||
			   signal_pending(current), TASK_INTERRUPTIBLE);
	v->stat[HV_STAT_HALT_NS] += ktime_get_ns() - start;
}

static int vcpu_loop(struct hv_vcpu *v)
{
	struct hv_vm *vm = v->vm;
	int ret;

	for (;;) {
		if (READ_ONCE(vm->dead))
			return -EIO;
		v->srcu_idx = srcu_read_lock(&vm->srcu);
		ret = vcpu_take_requests(v);
		if (ret == HV_ENTER && signal_pending(current)) {
			v->run->exit_reason = HV_EXIT_SIGNAL;
			ret = -EINTR;
		}
		if (ret == HV_ENTER && test_thread_flag(TIF_NOTIFY_RESUME)) {
			/* Task work, memcg throttling, rseq: done on the way to
			 * userspace, which simply runs us again. */
			v->run->exit_reason = HV_EXIT_NONE;
			ret = HV_USER;
		}
		if (ret == HV_ENTER && v->mp.state != HV_MP_RUNNABLE) {
			if (hv_vcpu_runnable(v)) {
				hv_vcpu_unhalt(v);
			} else {
				srcu_read_unlock(&vm->srcu, v->srcu_idx);
				vcpu_block(v);
				continue;
			}
		}
		if (ret == HV_ENTER) {
			ret = vcpu_section(v);
			if (ret == HV_SLOW)
				ret = hv_ops->slow_exit(v);
		}
		srcu_read_unlock(&vm->srcu, v->srcu_idx);
		if (ret < 0 || ret == HV_USER)
			return ret;
		cond_resched();
	}
}

/* ---- HV_RUN ---- */

static void vcpu_retire(struct hv_vcpu *v, u32 retire)
{
	hv_retire(v, retire == HV_RETIRE_RIP ? READ_ONCE(v->run->retire_rip)
					     : v->regs.rip + retire);
	v->run->retire = 0;
}

static int vcpu_run(struct hv_vcpu *v)
{
	struct hv_run *run = v->run;
	u64 dirty = READ_ONCE(run->dirty), want = READ_ONCE(run->want), valid;
	u32 retire = READ_ONCE(run->retire);
	int ret;

	if (unlikely((dirty | want) & ~HV_GROUPS_ALL) ||
	    unlikely(retire > 15 && retire != HV_RETIRE_RIP))
		return -EINVAL;
	v->want_windows = READ_ONCE(run->want_windows) & (HV_WINDOW_INTR | HV_WINDOW_NMI);
	vcpu_load(v);
	if (dirty) {
		ret = hv_state_set(v, dirty);
		if (ret) {
			vcpu_put(v);
			return ret;
		}
		run->dirty = 0;
	}
	if (retire)
		vcpu_retire(v, retire);
	v->exit_groups = 0;
	if (unlikely(v->eoi_owed)) {
		v->eoi_owed = false;
		run->eoi.vector = v->eoi_vector;
		run->exit_reason = HV_EXIT_EOI;
		ret = HV_USER;
	} else {
		ret = vcpu_loop(v);
	}
	v->stat[HV_STAT_USER_EXITS]++;

	valid = HV_GROUP(HV_GROUP_REGS) | v->exit_groups | want;
	hv_state_get(v, valid);
	run->windows = v->windows;
	vcpu_put(v);
	run->valid = valid;
	return ret < 0 ? ret : 0;
}

static int vcpu_state(struct hv_vcpu *v, void __user *p, bool set)
{
	struct hv_state args;
	struct hv_run *run = v->run;
	u32 retire;
	int ret;

	if (copy_from_user(&args, p, sizeof(args)))
		return -EFAULT;
	if (args.size != sizeof(args) || args.reserved || (args.groups & ~HV_GROUPS_ALL))
		return -EINVAL;
	vcpu_load(v);
	if (!set) {
		hv_state_get(v, args.groups);
		WRITE_ONCE(run->valid, READ_ONCE(run->valid) | args.groups);
		ret = 0;
	} else {
		ret = hv_state_set(v, args.groups);
		retire = READ_ONCE(run->retire);
		if (!ret && retire > 15 && retire != HV_RETIRE_RIP)
			ret = -EINVAL;
		if (!ret && retire)
			vcpu_retire(v, retire);
		if (!ret)
			WRITE_ONCE(run->dirty, READ_ONCE(run->dirty) & ~args.groups);
	}
	vcpu_put(v);
	return ret;
}

static int vcpu_apic_access(struct hv_vcpu *v, void __user *p)
{
	struct hv_apic_access args;
	int ret;

	if (copy_from_user(&args, p, sizeof(args)))
		return -EFAULT;
	if (args.size != sizeof(args) || args.write > 1 || args.reserved ||
	    (args.offset & 0xf) || args.offset >= PAGE_SIZE)
		return -EINVAL;
	vcpu_load(v);
	preempt_disable();
	/* An EOI owed to userspace is reported by the next HV_RUN. */
	ret = args.write ? hv_lapic_write(v, args.offset, args.value)
			 : hv_lapic_read(v, args.offset, &args.value);
	preempt_enable();
	if (ret == HV_USER)
		v->eoi_owed = true;
	vcpu_put(v);
	if (ret < 0)
		return ret;
	return copy_to_user(p, &args, sizeof(args)) ? -EFAULT : 0;
}

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct hv_vcpu *v = file->private_data;
	void __user *p = (void __user *)arg;
	long ret;

	if (unlikely(current->mm != v->vm->mm || READ_ONCE(v->vm->dead)))
		return -EIO;
	/* A busy vCPU is not waited for: its run may last for ever. */
	if (!mutex_trylock(&v->mutex))
		return -EBUSY;
	switch (cmd) {
	case HV_RUN:
		ret = arg ? -EINVAL : vcpu_run(v);
		break;
	case HV_GET_STATE:
		ret = vcpu_state(v, p, false);
		break;
	case HV_SET_STATE:
		ret = vcpu_state(v, p, true);
		break;
	case HV_APIC_ACCESS:
		ret = vcpu_apic_access(v, p);
		break;
	default:
		ret = -ENOTTY;
	}
	mutex_unlock(&v->mutex);
	return ret;
}

/* ---- the run area, creation, release ---- */

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct hv_vcpu *v = file->private_data;
	unsigned long n = vma_pages(vma), i;
	int ret;

	if (vma->vm_pgoff || n != hv_host.run_size >> PAGE_SHIFT)
		return -EINVAL;
	if ((vma->vm_flags & VM_EXEC) || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (current->mm != v->vm->mm)
		return -EIO;
	/* Contract 7: a child of the vmm must not see it. */
	hv_vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	for (i = 0; i < n; i++) {
		ret = vm_insert_page(vma, vma->vm_start + i * PAGE_SIZE,
				     vmalloc_to_page((void *)v->run + i * PAGE_SIZE));
		if (ret)
			return ret;
	}
	return 0;
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct hv_vcpu *v = file->private_data;

	hv_vm_put(v->vm);
	return 0;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vcpu_ioctl,
	.mmap = vcpu_mmap,
	.release = vcpu_release,
	.llseek = noop_llseek,
};

/* Of one that was never finished, too. */
void hv_vcpu_destroy(struct hv_vcpu *v)
{
	hv_lapic_destroy(v);
	hv_ops->vcpu_destroy(v);
	vfree(v->run);
	hv_free(v->xsave);
	hv_free(v->scratch);
	hv_free(v);
	atomic_dec(&hv_count_vcpus);
}

int hv_vcpu_create(struct hv_vm *vm, u32 id)
{
	static atomic64_t unique;
	struct hv_vcpu *v;
	int ret;

	if (vm->vcpu[id])
		return -EEXIST;
	v = hv_alloc(hv_ops->vcpu_size);
	if (!v)
		return -ENOMEM;
	atomic_inc(&hv_count_vcpus);
	v->vm = vm;
	v->id = id;
	v->unique = atomic64_inc_return(&unique);
	v->cpu = -1;
	v->eoi_vector = -1;
	mutex_init(&v->mutex);
	rcuwait_init(&v->wait);
	preempt_notifier_init(&v->notifier, &vcpu_preempt_ops);

	v->run = __vmalloc(hv_host.run_size, HV_GFP_MAPPED | __GFP_ZERO);
	v->scratch = hv_alloc(hv_host.run_size);
	/* kmalloc aligns powers of two to their size; XSAVE wants 64 bytes. */
	v->xsave = hv_alloc(roundup_pow_of_two(hv_host.xsave_size));
	ret = v->run && v->scratch && v->xsave ? 0 : -ENOMEM;
	if (!ret)
		ret = hv_ops->vcpu_create(v);
	if (!ret)
		ret = hv_lapic_create(v);
	if (ret) {
		hv_vcpu_destroy(v);
		return ret;
	}
	vcpu_load(v);
	hv_vcpu_reset(v, false);
	vcpu_put(v);

	refcount_inc(&vm->users);
	/* Delivery wants to see it: its APIC is in the map since the reset. */
	smp_store_release(&vm->vcpu[id], v);
	smp_store_release(&vm->nvcpus, vm->nvcpus + 1);
	ret = anon_inode_getfd("hv-vcpu", &vcpu_fops, v, O_RDWR | O_CLOEXEC);
	/* Somebody may have looked it up: it stays, without an fd, until the VM goes. */
	if (ret < 0)
		hv_vm_put(vm);
	return ret;
}
