// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_vm.c - the VM file descriptor.
 *
 * A VM lives until its fd and every vCPU fd are closed.  It belongs to the mm
 * that created it; other processes may hold the fd but get -EIO (contract 7).
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "hv.h"

void hv_vm_get(struct hv_vm *vm)
{
	refcount_inc(&vm->users);
}

static void vm_destroy(struct hv_vm *vm)
{
	int i;

	/* Order: what can call into a vCPU goes before the vCPUs. */
	hv_irqfd_release(vm);
	hv_doorbell_release(vm);
	hv_clock_destroy(vm);
	hv_mmu_destroy(vm);
	for (i = 0; i < HV_MAX_VCPUS; i++)
		if (vm->vcpu[i])
			hv_vcpu_destroy(vm->vcpu[i]);
	hv_irq_map_destroy(vm);
	hv_slots_destroy(vm);
	hv_hw_put();
	if (vm->kvm_file)
		fput(vm->kvm_file);
	cleanup_srcu_struct(&vm->srcu);
	mmdrop(vm->mm);
	hv_free(vm->cpuid);
	hv_free(vm);
	atomic_dec(&hv_count_vms);
}

void hv_vm_put(struct hv_vm *vm)
{
	if (refcount_dec_and_test(&vm->users))
		vm_destroy(vm);
}

void hv_vm_kick_all(struct hv_vm *vm, int req)
{
	struct hv_vcpu *v;
	int i;

	hv_for_each_vcpu(i, v, vm) {
		hv_request(v, req);
		hv_vcpu_kick(v);
	}
}

/* ---- ioctls ---- */

/* Copies an argument struct that begins with its size. */
#define GET_ARGS(args, p)							\
	(copy_from_user(&(args), (p), sizeof(args)) ? -EFAULT :			\
	 (args).size != sizeof(args) ? -EINVAL : 0)

static int vm_set_slots(struct hv_vm *vm, void __user *p)
{
	struct hv_set_slots args;
	struct hv_slot *list;
	int ret = GET_ARGS(args, p);

	if (ret)
		return ret;
	if (!args.count || args.count > 2 * HV_MAX_SLOTS || args.reserved[0] || args.reserved[1])
		return -EINVAL;
	list = hv_alloc(sizeof(*list) * args.count);
	if (!list)
		return -ENOMEM;
	if (copy_from_user(list, u64_to_user_ptr(args.slots), sizeof(*list) * args.count)) {
		ret = -EFAULT;
	} else {
		mutex_lock(&vm->lock);
		ret = hv_slots_set(vm, list, args.count);
		mutex_unlock(&vm->lock);
	}
	hv_free(list);
	return ret;
}

static int vm_set_cpuid(struct hv_vm *vm, void __user *p)
{
	struct hv_cpuid args;
	struct hv_cpuid_entry *e;
	int ret = GET_ARGS(args, p);

	if (ret)
		return ret;
	if (!args.count || args.count > HV_MAX_CPUID || args.reserved[0] || args.reserved[1])
		return -EINVAL;
	e = hv_alloc(sizeof(*e) * args.count);
	if (!e)
		return -ENOMEM;
	if (copy_from_user(e, u64_to_user_ptr(args.entries), sizeof(*e) * args.count)) {
		ret = -EFAULT;
	} else {
		mutex_lock(&vm->lock);
		ret = vm->nvcpus ? -EBUSY : hv_cpuid_set(vm, e, args.count);
		mutex_unlock(&vm->lock);
	}
	hv_free(e);
	return ret;
}

static int vm_kick(struct hv_vm *vm, void __user *p)
{
	struct hv_kick args;
	struct hv_vcpu *v;
	int ret = GET_ARGS(args, p);

	if (ret)
		return ret;
	if (args.vcpu == HV_KICK_ALL) {
		hv_vm_kick_all(vm, HV_REQ_KICK);
		return 0;
	}
	v = hv_vm_vcpu(vm, args.vcpu);
	if (!v)
		return -ENOENT;
	hv_request(v, HV_REQ_KICK);
	hv_vcpu_kick(v);
	return 0;
}

static int vm_get_stats(struct hv_vm *vm, struct hv_stats __user *p)
{
	/* Gauges and events that belong to the VM, not to a vCPU. */
	const u64 vm_only = HV_GROUP(HV_STAT_MAPPED_4K) | HV_GROUP(HV_STAT_MAPPED_2M) |
			    HV_GROUP(HV_STAT_MAPPED_1G) | HV_GROUP(HV_STAT_TABLE_PAGES) |
			    HV_GROUP(HV_STAT_INVALIDATIONS) | HV_GROUP(HV_STAT_IRQFD) |
			    HV_GROUP(HV_STAT_MSI);
	struct hv_stats *s;
	struct hv_vcpu *v;
	u32 size, id;
	int i, n, ret = 0;

	if (get_user(size, &p->size) || get_user(id, &p->vcpu))
		return -EFAULT;
	if (size != sizeof(*s))
		return -EINVAL;
	s = hv_alloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->size = size;
	s->vcpu = id;
	s->valid = HV_GROUP(HV_STAT_COUNT) - 1;
	if (id == HV_STATS_VM) {
		for (n = 0; n < HV_STAT_COUNT; n++)
			s->counter[n] = atomic64_read(&vm->stat[n]);
		hv_for_each_vcpu(i, v, vm)
			for (n = 0; n < HV_STAT_COUNT; n++)
				s->counter[n] += READ_ONCE(v->stat[n]);
		spin_lock(&vm->mmu.lock);
		for (i = 0; i < 3; i++)
			s->counter[HV_STAT_MAPPED_4K + i] = vm->mmu.leaves[i];
		s->counter[HV_STAT_TABLE_PAGES] = vm->mmu.table_pages;
		spin_unlock(&vm->mmu.lock);
	} else {
		v = hv_vm_vcpu(vm, id);
		if (v)
			for (n = 0; n < HV_STAT_COUNT; n++)
				s->counter[n] = READ_ONCE(v->stat[n]);
		else
			ret = -ENOENT;
		s->valid &= ~vm_only;
	}
	if (!ret && copy_to_user(p, s, sizeof(*s)))
		ret = -EFAULT;
	hv_free(s);
	return ret;
}

static int vm_create_vcpu(struct hv_vm *vm, void __user *p)
{
	struct hv_create_vcpu args;
	int ret = GET_ARGS(args, p);

	if (ret)
		return ret;
	if (args.id >= HV_MAX_VCPUS || args.reserved[0] || args.reserved[1])
		return -EINVAL;
	mutex_lock(&vm->lock);
	ret = vm->cpuid ? hv_vcpu_create(vm, args.id) : -ENODATA;
	mutex_unlock(&vm->lock);
	return ret;
}

static int vm_prefault(struct hv_vm *vm, void __user *p)
{
	struct hv_prefault args;
	int ret = GET_ARGS(args, p), idx;

	if (ret)
		return ret;
	if ((args.flags & ~HV_ACCESS_WRITE) || args.reserved)
		return -EINVAL;
	idx = srcu_read_lock(&vm->srcu);
	ret = hv_mmu_prefault(vm, &args);
	srcu_read_unlock(&vm->srcu, idx);
	if (copy_to_user(p, &args, sizeof(args)))
		return -EFAULT;
	return ret;
}

static int vm_get_dirty(struct hv_vm *vm, void __user *p)
{
	struct hv_get_dirty args;
	int ret = GET_ARGS(args, p);

	if (ret)
		return ret;
	if ((args.flags & ~HV_DIRTY_CLEAR) || args.reserved)
		return -EINVAL;
	mutex_lock(&vm->lock);
	ret = hv_slots_get_dirty(vm, &args);
	mutex_unlock(&vm->lock);
	return ret;
}

static int vm_send_msi(struct hv_vm *vm, void __user *p)
{
	struct hv_msi args;
	int ret = GET_ARGS(args, p);

	if (ret)
		return ret;
	if (args.flags || args.reserved)
		return -EINVAL;
	return hv_irq_msi(vm, args.address, args.data);
}

static int vm_set_line(struct hv_vm *vm, void __user *p)
{
	struct hv_line args;
	int ret = GET_ARGS(args, p);

	if (ret)
		return ret;
	if (args.line != HV_LINE_INTR || args.level > 1 || args.reserved)
		return -EINVAL;
	hv_irq_set_line(vm, args.level);
	return 0;
}

static int vm_irqfd(struct hv_vm *vm, void __user *p)
{
	struct hv_irqfd args;
	int ret = GET_ARGS(args, p);

	if (ret)
		return ret;
	if (args.op > HV_IRQFD_DEASSIGN || (args.flags & ~HV_IRQFD_MASKED) || args.reserved)
		return -EINVAL;
	mutex_lock(&vm->lock);
	ret = hv_irqfd(vm, &args);
	mutex_unlock(&vm->lock);
	if (!ret && copy_to_user(p, &args, sizeof(args)))
		ret = -EFAULT;
	return ret;
}

static int vm_doorbell(struct hv_vm *vm, void __user *p)
{
	struct hv_doorbell args;
	int ret = GET_ARGS(args, p);

	if (ret)
		return ret;
	if ((args.flags & ~(HV_DOORBELL_PORT | HV_DOORBELL_MATCH | HV_DOORBELL_REMOVE)) ||
	    args.reserved)
		return -EINVAL;
	mutex_lock(&vm->lock);
	ret = hv_doorbell_set(vm, &args);
	mutex_unlock(&vm->lock);
	return ret;
}

static int vm_clock(struct hv_vm *vm, void __user *p, bool set)
{
	struct hv_vm_clock args;
	int ret = GET_ARGS(args, p);

	if (ret)
		return ret;
	if (args.reserved[0] || args.reserved[1] || args.reserved[2])
		return -EINVAL;
	if (set) {
		if (!args.flags || (args.flags & ~(HV_CLOCK_SET_TSC | HV_CLOCK_SET_NS)))
			return -EINVAL;
		mutex_lock(&vm->lock);
		ret = hv_clock_set(vm, &args);
		mutex_unlock(&vm->lock);
		return ret;
	}
	if (args.flags)
		return -EINVAL;
	hv_clock_get(vm, &args);
	return copy_to_user(p, &args, sizeof(args)) ? -EFAULT : 0;
}

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct hv_vm *vm = file->private_data;
	void __user *p = (void __user *)arg;

	if (current->mm != vm->mm || READ_ONCE(vm->dead))
		return -EIO;

	switch (cmd) {
	case HV_KICK:
		return vm_kick(vm, p);
	case HV_SEND_MSI:
		return vm_send_msi(vm, p);
	case HV_SET_LINE:
		return vm_set_line(vm, p);
	case HV_CREATE_VCPU:
		return vm_create_vcpu(vm, p);
	case HV_SET_CPUID:
		return vm_set_cpuid(vm, p);
	case HV_SET_SLOTS:
		return vm_set_slots(vm, p);
	case HV_PREFAULT:
		return vm_prefault(vm, p);
	case HV_GET_DIRTY:
		return vm_get_dirty(vm, p);
	case HV_SET_IRQFD:
		return vm_irqfd(vm, p);
	case HV_SET_DOORBELL:
		return vm_doorbell(vm, p);
	case HV_GET_STATS:
		return vm_get_stats(vm, p);
	case HV_GET_CLOCK:
		return vm_clock(vm, p, false);
	case HV_SET_CLOCK:
		return vm_clock(vm, p, true);
	}
	return -ENOTTY;
}

static int vm_release(struct inode *inode, struct file *file)
{
	struct hv_vm *vm = file->private_data;

	/* Eventfds could outlive us and call in; vCPU fds may still be open. */
	hv_irqfd_release(vm);
	hv_vm_put(vm);
	return 0;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vm_ioctl,
	.release = vm_release,
	.llseek = noop_llseek,
};

long hv_vm_create(const struct hv_create_vm *args)
{
	struct file *kvm_file = NULL;
	struct hv_vm *vm;
	int ret;

	if (args->features & ~hv_host.features)
		return -EOPNOTSUPP;
	if (args->kvm_fd != -1) {
		/* For borrow mode (contract 8); all there is yet is own mode. */
		return -EINVAL;
	}
	vm = hv_alloc(sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	atomic_inc(&hv_count_vms);
	refcount_set(&vm->users, 1);
	mutex_init(&vm->lock);
	spin_lock_init(&vm->irqfd_lock);
	spin_lock_init(&vm->clock_lock);
	INIT_LIST_HEAD(&vm->irqfds);
	vm->mm = current->mm;
	mmgrab(vm->mm);

	ret = init_srcu_struct(&vm->srcu);
	if (ret)
		goto out_free;
	ret = hv_hw_get(kvm_file);
	if (ret)
		goto out_srcu;
	ret = hv_slots_init(vm);
	if (ret)
		goto out_hw;
	ret = hv_mmu_init(vm);
	if (ret)
		goto out_slots;
	hv_clock_init(vm);

	ret = anon_inode_getfd("hv-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
	if (ret < 0)
		vm_destroy(vm);
	return ret;

out_slots:
	hv_slots_destroy(vm);
out_hw:
	hv_hw_put();
out_srcu:
	cleanup_srcu_struct(&vm->srcu);
out_free:
	mmdrop(vm->mm);
	hv_free(vm);
	atomic_dec(&hv_count_vms);
	return ret;
}
