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
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include "hv.h"

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
	hv_slots_destroy(vm);
	hv_hw_put();
	if (vm->kvm)
		fput(vm->kvm);
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

/* ---- ioctls: each struct begins with its size, which vm_ioctl() has checked ---- */

union vm_args {
	u32 size;
	struct hv_create_vcpu vcpu;
	struct hv_cpuid cpuid;
	struct hv_set_slots slots;
	struct hv_prefault prefault;
	struct hv_get_dirty dirty;
	struct hv_kick kick;
	struct hv_msi msi;
	struct hv_line line;
	struct hv_irqfd irqfd;
	struct hv_doorbell doorbell;
	struct hv_stats stats;
	struct hv_vm_clock clock;
};

static int vm_set_slots(struct hv_vm *vm, union vm_args *a)
{
	struct hv_set_slots *args = &a->slots;
	struct hv_slot *list;
	int ret = -EFAULT;

	if (!args->count || args->count > 2 * HV_MAX_SLOTS ||
	    !hv_zero(args->reserved, sizeof(args->reserved)))
		return -EINVAL;
	list = hv_alloc(sizeof(*list) * args->count);
	if (!list)
		return -ENOMEM;
	if (!copy_from_user(list, u64_to_user_ptr(args->slots), sizeof(*list) * args->count))
		ret = hv_slots_set(vm, list, args->count);
	hv_free(list);
	return ret;
}

static int vm_set_cpuid(struct hv_vm *vm, union vm_args *a)
{
	struct hv_cpuid *args = &a->cpuid;
	struct hv_cpuid_entry *e;
	int ret = -EFAULT;

	if (!args->count || args->count > HV_MAX_CPUID || args->reserved[0] || args->reserved[1])
		return -EINVAL;
	e = hv_alloc(sizeof(*e) * args->count);
	if (!e)
		return -ENOMEM;
	if (!copy_from_user(e, u64_to_user_ptr(args->entries), sizeof(*e) * args->count))
		ret = vm->nvcpus ? -EBUSY : hv_cpuid_set(vm, e, args->count);
	hv_free(e);
	return ret;
}

static int vm_kick(struct hv_vm *vm, union vm_args *a)
{
	struct hv_vcpu *v;

	if (a->kick.vcpu == HV_KICK_ALL) {
		hv_vm_kick_all(vm, HV_REQ_KICK);
		return 0;
	}
	v = hv_vm_vcpu(vm, a->kick.vcpu);
	if (!v)
		return -ENOENT;
	hv_request(v, HV_REQ_KICK);
	hv_vcpu_kick(v);
	return 0;
}

static int vm_get_stats(struct hv_vm *vm, union vm_args *a)
{
	/* Gauges and events that belong to the VM, not to a vCPU. */
	const u64 vm_only = HV_GROUP(HV_STAT_MAPPED_4K) | HV_GROUP(HV_STAT_MAPPED_2M) |
			    HV_GROUP(HV_STAT_MAPPED_1G) | HV_GROUP(HV_STAT_TABLE_PAGES) |
			    HV_GROUP(HV_STAT_INVALIDATIONS) | HV_GROUP(HV_STAT_IRQFD) |
			    HV_GROUP(HV_STAT_MSI);
	struct hv_stats *s = &a->stats;
	struct hv_vcpu *v;
	int i, n;

	memset(s->counter, 0, sizeof(s->counter));
	s->valid = HV_GROUP(HV_STAT_COUNT) - 1;
	if (s->vcpu != HV_STATS_VM) {
		v = hv_vm_vcpu(vm, s->vcpu);
		if (!v)
			return -ENOENT;
		for (n = 0; n < HV_STAT_COUNT; n++)
			s->counter[n] = READ_ONCE(v->stat[n]);
		s->valid &= ~vm_only;
		return 0;
	}
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
	return 0;
}

static int vm_create_vcpu(struct hv_vm *vm, union vm_args *a)
{
	if (a->vcpu.id >= HV_MAX_VCPUS || a->vcpu.reserved[0] || a->vcpu.reserved[1])
		return -EINVAL;
	return vm->cpuid ? hv_vcpu_create(vm, a->vcpu.id) : -ENODATA;
}

static int vm_prefault(struct hv_vm *vm, union vm_args *a)
{
	int ret, idx;

	if ((a->prefault.flags & ~HV_ACCESS_WRITE) || a->prefault.reserved)
		return -EINVAL;
	idx = srcu_read_lock(&vm->srcu);
	ret = hv_mmu_prefault(vm, &a->prefault);
	srcu_read_unlock(&vm->srcu, idx);
	return ret;
}

static int vm_get_dirty(struct hv_vm *vm, union vm_args *a)
{
	if ((a->dirty.flags & ~HV_DIRTY_CLEAR) || a->dirty.reserved)
		return -EINVAL;
	return hv_slots_get_dirty(vm, &a->dirty);
}

static int vm_send_msi(struct hv_vm *vm, union vm_args *a)
{
	if (a->msi.flags || a->msi.reserved)
		return -EINVAL;
	return hv_irq_msi(vm, a->msi.address, a->msi.data);
}

static int vm_set_line(struct hv_vm *vm, union vm_args *a)
{
	if (a->line.line != HV_LINE_INTR || a->line.level > 1 || a->line.reserved)
		return -EINVAL;
	hv_irq_set_line(vm, a->line.level);
	return 0;
}

static int vm_irqfd(struct hv_vm *vm, union vm_args *a)
{
	if (a->irqfd.op > HV_IRQFD_DEASSIGN || (a->irqfd.flags & ~HV_IRQFD_MASKED) ||
	    a->irqfd.reserved)
		return -EINVAL;
	return hv_irqfd(vm, &a->irqfd);
}

static int vm_doorbell(struct hv_vm *vm, union vm_args *a)
{
	const u32 flags = HV_DOORBELL_PORT | HV_DOORBELL_MATCH | HV_DOORBELL_REMOVE;

	if ((a->doorbell.flags & ~flags) || a->doorbell.reserved)
		return -EINVAL;
	return hv_doorbell_set(vm, &a->doorbell);
}

static int vm_get_clock(struct hv_vm *vm, union vm_args *a)
{
	struct hv_vm_clock *c = &a->clock;

	if (c->flags || !hv_zero(c->reserved, sizeof(c->reserved)))
		return -EINVAL;
	hv_clock_get(vm, c);
	return 0;
}

static int vm_set_clock(struct hv_vm *vm, union vm_args *a)
{
	struct hv_vm_clock *c = &a->clock;

	if (!c->flags || (c->flags & ~(HV_CLOCK_SET_TSC | HV_CLOCK_SET_NS)) ||
	    !hv_zero(c->reserved, sizeof(c->reserved)))
		return -EINVAL;
	return hv_clock_set(vm, c);
}

static const struct {
	unsigned int cmd;
	bool lock;			/* under vm->lock */
	int (*call)(struct hv_vm *vm, union vm_args *a);
} vm_calls[] = {
#define VM_CALL(cmd, lock, call) [_IOC_NR(cmd) - 0x20] = { cmd, lock, call }
	VM_CALL(HV_CREATE_VCPU, true, vm_create_vcpu),
	VM_CALL(HV_SET_CPUID, true, vm_set_cpuid),
	VM_CALL(HV_SET_SLOTS, true, vm_set_slots),
	VM_CALL(HV_PREFAULT, false, vm_prefault),
	VM_CALL(HV_GET_DIRTY, true, vm_get_dirty),
	VM_CALL(HV_KICK, false, vm_kick),
	VM_CALL(HV_SEND_MSI, false, vm_send_msi),
	VM_CALL(HV_SET_LINE, false, vm_set_line),
	VM_CALL(HV_SET_IRQFD, true, vm_irqfd),
	VM_CALL(HV_SET_DOORBELL, true, vm_doorbell),
	VM_CALL(HV_GET_STATS, false, vm_get_stats),
	VM_CALL(HV_GET_CLOCK, false, vm_get_clock),
	VM_CALL(HV_SET_CLOCK, true, vm_set_clock),
};

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct hv_vm *vm = file->private_data;
	u32 size = _IOC_SIZE(cmd), nr = _IOC_NR(cmd) - 0x20;
	union vm_args args;
	long ret;

	if (current->mm != vm->mm || READ_ONCE(vm->dead))
		return -EIO;
	if (nr >= ARRAY_SIZE(vm_calls))
		return -ENOTTY;
	nr = array_index_nospec(nr, ARRAY_SIZE(vm_calls));
	if (vm_calls[nr].cmd != cmd)
		return -ENOTTY;
	if (copy_from_user(&args, (void __user *)arg, size))
		return -EFAULT;
	if (args.size != size)
		return -EINVAL;
	if (vm_calls[nr].lock)
		mutex_lock(&vm->lock);
	ret = vm_calls[nr].call(vm, &args);
	if (vm_calls[nr].lock)
		mutex_unlock(&vm->lock);
	/* With an error too: HV_PREFAULT says how far it came. */
	if ((_IOC_DIR(cmd) & _IOC_READ) && copy_to_user((void __user *)arg, &args, size))
		ret = -EFAULT;
	return ret;
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

/*
 * While a VM of KVM's is open, KVM has VMX on.  Its file is an anonymous inode with a name that
 * nobody else gives, and newer kernels say whose it is.
 */
static struct file *kvm_vm_get(int fd)
{
	struct file *f = fget(fd);

	if (!f)
		return ERR_PTR(-EBADF);
	if (file_inode(f)->i_sb->s_magic == ANON_INODE_FS_MAGIC &&
	    !strcmp(f->f_path.dentry->d_name.name, "kvm-vm") &&
	    (!f->f_op->owner || !strcmp(f->f_op->owner->name, hv_ops->kvm)))
		return f;
	fput(f);
	return ERR_PTR(-EINVAL);
}

long hv_vm_create(const struct hv_create_vm *args)
{
	struct file *kvm = NULL;
	struct hv_vm *vm;
	int ret;

	if (args->features & ~hv_host.features)
		return -EOPNOTSUPP;
	if (args->kvm_fd != -1) {
		if (!hv_ops->can_borrow)
			return -EINVAL;
		kvm = kvm_vm_get(args->kvm_fd);
		if (IS_ERR(kvm))
			return PTR_ERR(kvm);
	}
	vm = hv_alloc(sizeof(*vm));
	if (!vm) {
		ret = -ENOMEM;
		goto out_kvm;
	}
	atomic_inc(&hv_count_vms);
	refcount_set(&vm->users, 1);
	mutex_init(&vm->lock);
	spin_lock_init(&vm->irqfd_lock);
	spin_lock_init(&vm->clock_lock);
	INIT_LIST_HEAD(&vm->irqfds);
	vm->mm = current->mm;
	mmgrab(vm->mm);
	vm->kvm = kvm;

	ret = init_srcu_struct(&vm->srcu);
	if (ret)
		goto out_free;
	ret = hv_hw_get(kvm != NULL);
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
out_kvm:
	if (kvm)
		fput(kvm);
	return ret;
}
