// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv.c - the device and VM calls of <hv/hv.h>, one thin wrapper each.
 * Implements Documentation/abi.rst, sections "The device" and "The VM".
 *
 * Must not keep state the module keeps: what is cached here (hv_info) never changes while the
 * module is loaded, except the counters, status and mode, and those are asked for anew.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/kvm.h>

#include "internal.h"

static int hv_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

int hv_open(const char *path, struct hv_dev **result)
{
	struct hv_dev *dev;
	int ret;

	dev = calloc(1, sizeof(*dev));
	if (!dev)
		return -ENOMEM;
	dev->fd = open(path ? path : HV_DEVICE, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0) {
		ret = -errno;
		goto fail;
	}
	ret = hv_get_info(dev, &dev->info);
	if (ret) {
		/* Some other device, or a module that speaks another version of the ABI. */
		if (ret == -ENOTTY || ret == -EINVAL)
			ret = -EPROTO;
		goto fail;
	}
	*result = dev;
	return 0;
fail:
	hv_close(dev);
	return ret;
}

void hv_close(struct hv_dev *dev)
{
	if (!dev)
		return;
	if (dev->fd >= 0)
		close(dev->fd);
	free(dev);
}

int hv_dev_fd(const struct hv_dev *dev)
{
	return dev->fd;
}

int hv_get_info(struct hv_dev *dev, struct hv_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	return hv_ioctl(dev->fd, HV_GET_INFO, info);
}

int hv_get_cpuid(struct hv_dev *dev, struct hv_cpuid_entry *entries, uint32_t *count)
{
	struct hv_cpuid arg = {
		.size = sizeof(arg),
		.count = *count,
		.entries = (uintptr_t)entries,
	};
	int ret = hv_ioctl(dev->fd, HV_GET_CPUID, &arg);

	if (!ret || ret == -E2BIG)
		*count = arg.count;
	return ret;
}

/*
 * Borrow mode (contract 8): where the host kernel owns VMX, a KVM VM keeps it switched on.
 * The module takes its own reference, so the descriptor is closed again after the call.
 * The errors of opening it are no others' here; that KVM cannot have VMX is -EBUSY.
 */
static int kvm_vm_open(void)
{
	int kvm, fd;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		return errno == ENXIO || errno == ENODEV ? -ENOENT : -errno;
	fd = ioctl(kvm, KVM_CREATE_VM, 0UL);
	if (fd < 0)
		fd = errno == EIO ? -EBUSY : -errno;
	close(kvm);
	return fd;
}

/* What no CPUID table hides: the CPU itself walks the guest's page tables. */
static uint32_t cpu_flags(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (d & 1u << 26) ? HV_X86_PAGE_1G : 0;
}

int hv_vm_create(struct hv_dev *dev, const struct hv_callbacks *cb, uint64_t features,
		 struct hv_vm **result)
{
	struct hv_create_vm arg = {
		.size = sizeof(arg),
		.features = features,
		.kvm_fd = -1,
	};
	struct hv_info info;
	struct hv_vm *vm;
	int fd;

	/* Asked now: KVM comes and goes. */
	fd = hv_get_info(dev, &info);
	if (fd)
		return fd;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	if (info.mode == HV_MODE_BORROW) {
		arg.kvm_fd = kvm_vm_open();
		if (arg.kvm_fd < 0) {
			fd = arg.kvm_fd;
			goto fail;
		}
	}
	fd = hv_ioctl(dev->fd, HV_CREATE_VM, &arg);
	if (arg.kvm_fd >= 0)
		close(arg.kvm_fd);
	if (fd < 0)
		goto fail;
	vm->fd = fd;
	vm->info = dev->info;
	vm->phys_bits = dev->info.gpa_bits;
	vm->x86_flags = cpu_flags();
	if (cb) {
		vm->cb = *cb;
		vm->has_cb = true;
	}
	*result = vm;
	return 0;
fail:
	free(vm);
	return fd;
}

void hv_vm_destroy(struct hv_vm *vm)
{
	if (!vm)
		return;
	close(vm->fd);
	free(vm);
}

int hv_vm_fd(const struct hv_vm *vm)
{
	return vm->fd;
}

int hv_vm_set_cpuid(struct hv_vm *vm, const struct hv_cpuid_entry *entries, uint32_t count)
{
	struct hv_cpuid arg = {
		.size = sizeof(arg),
		.count = count,
		.entries = (uintptr_t)entries,
	};
	int ret = hv_ioctl(vm->fd, HV_SET_CPUID, &arg);
	uint32_t i;

	if (ret)
		return ret;

	/* The walker must see the same reserved bits as the guest's own CPU does. */
	vm->x86_flags &= ~HV_X86_NULL_CLEARS_BASE;
	for (i = 0; i < count; i++) {
		if (entries[i].leaf == 0x80000008 && (entries[i].eax & 0xff) >= 32)
			vm->phys_bits = entries[i].eax & 0xff;
		if (entries[i].leaf == 0x80000021 && (entries[i].eax & (1u << 6)))
			vm->x86_flags |= HV_X86_NULL_CLEARS_BASE;
	}
	return 0;
}

int hv_set_slots(struct hv_vm *vm, const struct hv_slot *slots, uint32_t count)
{
	struct hv_set_slots arg = {
		.size = sizeof(arg),
		.count = count,
		.slots = (uintptr_t)slots,
	};

	return hv_ioctl(vm->fd, HV_SET_SLOTS, &arg);
}

int hv_prefault(struct hv_vm *vm, uint64_t gpa, uint64_t len, bool write)
{
	struct hv_prefault arg = {
		.size = sizeof(arg),
		.flags = write ? HV_ACCESS_WRITE : 0,
		.gpa = gpa,
		.len = len,
	};
	uint64_t left;
	int ret;

	/* The module may stop early to be fair to others; it tells what is left. */
	while (arg.len) {
		left = arg.len;
		ret = hv_ioctl(vm->fd, HV_PREFAULT, &arg);
		if (ret)
			return ret;
		if (arg.len >= left)
			return -EFAULT;
	}
	return 0;
}

int hv_get_dirty(struct hv_vm *vm, uint32_t slot, uint64_t first, uint64_t count,
		 uint64_t *bitmap, bool clear)
{
	struct hv_get_dirty arg = {
		.size = sizeof(arg),
		.slot = slot,
		.flags = clear ? HV_DIRTY_CLEAR : 0,
		.first = first,
		.count = count,
		.bitmap = (uintptr_t)bitmap,
	};

	return hv_ioctl(vm->fd, HV_GET_DIRTY, &arg);
}

int hv_send_msi(struct hv_vm *vm, uint64_t address, uint32_t data)
{
	struct hv_msi arg = {
		.size = sizeof(arg),
		.address = address,
		.data = data,
	};

	return hv_ioctl(vm->fd, HV_SEND_MSI, &arg);
}

int hv_set_line(struct hv_vm *vm, uint32_t line, bool level)
{
	struct hv_line arg = {
		.size = sizeof(arg),
		.line = line,
		.level = level,
	};

	return hv_ioctl(vm->fd, HV_SET_LINE, &arg);
}

static int irqfd_set(struct hv_vm *vm, uint32_t op, int fd, uint64_t address, uint32_t data,
		     bool masked, bool *pending)
{
	struct hv_irqfd arg = {
		.size = sizeof(arg),
		.op = op,
		.fd = fd,
		.flags = masked ? HV_IRQFD_MASKED : 0,
		.address = address,
		.data = data,
	};
	int ret = hv_ioctl(vm->fd, HV_SET_IRQFD, &arg);

	if (!ret && pending)
		*pending = arg.flags & HV_IRQFD_PENDING;
	return ret;
}

int hv_irqfd_assign(struct hv_vm *vm, int eventfd, uint64_t address, uint32_t data, bool masked)
{
	return irqfd_set(vm, HV_IRQFD_ASSIGN, eventfd, address, data, masked, NULL);
}

int hv_irqfd_update(struct hv_vm *vm, int eventfd, uint64_t address, uint32_t data, bool masked,
		    bool *pending)
{
	return irqfd_set(vm, HV_IRQFD_UPDATE, eventfd, address, data, masked, pending);
}

int hv_irqfd_deassign(struct hv_vm *vm, int eventfd)
{
	return irqfd_set(vm, HV_IRQFD_DEASSIGN, eventfd, 0, 0, false, NULL);
}

static int doorbell_set(struct hv_vm *vm, uint32_t flags, uint64_t address, uint32_t len,
			uint64_t data, int fd)
{
	struct hv_doorbell arg = {
		.size = sizeof(arg),
		.flags = flags,
		.address = address,
		.data = data,
		.fd = fd,
		.len = len,
	};

	return hv_ioctl(vm->fd, HV_SET_DOORBELL, &arg);
}

int hv_doorbell_add(struct hv_vm *vm, uint32_t flags, uint64_t address, uint32_t len,
		    uint64_t data, int eventfd)
{
	if (flags & HV_DOORBELL_REMOVE)
		return -EINVAL;
	return doorbell_set(vm, flags, address, len, data, eventfd);
}

int hv_doorbell_remove(struct hv_vm *vm, uint32_t flags, uint64_t address, uint32_t len,
		       uint64_t data, int eventfd)
{
	return doorbell_set(vm, flags | HV_DOORBELL_REMOVE, address, len, data, eventfd);
}

int hv_get_stats(struct hv_vm *vm, uint32_t vcpu, struct hv_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->size = sizeof(*stats);
	stats->vcpu = vcpu;
	return hv_ioctl(vm->fd, HV_GET_STATS, stats);
}

int hv_get_clock(struct hv_vm *vm, struct hv_vm_clock *clock)
{
	memset(clock, 0, sizeof(*clock));
	clock->size = sizeof(*clock);
	return hv_ioctl(vm->fd, HV_GET_CLOCK, clock);
}

int hv_set_clock(struct hv_vm *vm, const struct hv_vm_clock *clock)
{
	/* Only what is input: the result of hv_get_clock() may be handed in unchanged. */
	struct hv_vm_clock arg = {
		.size = sizeof(arg),
		.flags = clock->flags & (HV_CLOCK_SET_TSC | HV_CLOCK_SET_NS),
		.guest_tsc = clock->guest_tsc,
		.kvmclock_ns = clock->kvmclock_ns,
	};

	return hv_ioctl(vm->fd, HV_SET_CLOCK, &arg);
}

static int vm_kick(struct hv_vm *vm, uint32_t vcpu)
{
	struct hv_kick arg = { .size = sizeof(arg), .vcpu = vcpu };

	return hv_ioctl(vm->fd, HV_KICK, &arg);
}

int hv_vcpu_kick(struct hv_vcpu *vcpu)
{
	return vm_kick(vcpu->vm, vcpu->id);
}

int hv_vm_kick(struct hv_vm *vm)
{
	return vm_kick(vm, HV_KICK_ALL);
}
