// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vcpu.c - the vCPU calls of <hv/hv.h>: run area, state groups, events.
 * Implements Documentation/abi.rst, section "The vCPU", and contracts 2 and 3 of the design.
 *
 * What the run area holds is the truth if its bit is in hv_run.valid (the module filled it with
 * the last exit) or in hv_run.dirty (we changed it since).  A group that is dirty must not be
 * asked for again before it was given to the module: hv_vcpu_need() sees to that.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

int hv_vcpu_create(struct hv_vm *vm, uint32_t id, struct hv_vcpu **result)
{
	struct hv_create_vcpu arg = { .size = sizeof(arg), .id = id };
	const struct hv_group_info *group;
	struct vcpu *v;
	unsigned int i;
	void *map;
	int ret;

	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->pub.vm = vm;
	v->pub.id = id;
	v->run_size = vm->info.run_size;
	v->pub.fd = ioctl(vm->fd, HV_CREATE_VCPU, &arg);
	if (v->pub.fd < 0) {
		ret = -errno;
		goto fail_free;
	}
	map = mmap(NULL, v->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->pub.fd, 0);
	if (map == MAP_FAILED) {
		ret = -errno;
		goto fail_close;
	}
	v->pub.run = map;
	for (i = 0; i < HV_GROUP_COUNT; i++) {
		group = &vm->info.group[i];
		if (!group->size)
			continue;
		if (group->offset > v->run_size || group->size > v->run_size - group->offset) {
			ret = -EPROTO;
			goto fail_unmap;
		}
		v->pub.group[i] = (char *)map + group->offset;
	}
	ret = vcpu_x86_init(v);
	if (ret)
		goto fail_unmap;
	*result = &v->pub;
	return 0;

fail_unmap:
	munmap(map, v->run_size);
fail_close:
	close(v->pub.fd);
fail_free:
	free(v);
	return ret;
}

void hv_vcpu_destroy(struct hv_vcpu *vcpu)
{
	struct vcpu *v;

	if (!vcpu)
		return;
	v = to_vcpu(vcpu);
	hv_x86_fini(&v->x86);
	munmap(vcpu->run, v->run_size);
	close(vcpu->fd);
	free(v);
}

int hv_vcpu_run(struct hv_vcpu *vcpu)
{
	return ioctl(vcpu->fd, HV_RUN, 0UL) < 0 ? -errno : 0;
}

int hv_vcpu_get_state(struct hv_vcpu *vcpu, uint64_t groups)
{
	struct hv_state arg = { .size = sizeof(arg), .groups = groups };

	if (ioctl(vcpu->fd, HV_GET_STATE, &arg) < 0)
		return -errno;
	vcpu->run->valid |= groups;
	return 0;
}

int hv_vcpu_set_state(struct hv_vcpu *vcpu, uint64_t groups)
{
	struct hv_state arg = { .size = sizeof(arg), .groups = groups };

	if (ioctl(vcpu->fd, HV_SET_STATE, &arg) < 0)
		return -errno;
	vcpu->run->dirty &= ~groups;
	return 0;
}

int hv_vcpu_need(struct hv_vcpu *vcpu, uint64_t groups)
{
	groups &= ~(vcpu->run->valid | vcpu->run->dirty);
	return groups ? hv_vcpu_get_state(vcpu, groups) : 0;
}

int hv_vcpu_sync(struct hv_vcpu *vcpu)
{
	/* Also with nothing dirty: HV_SET_STATE is what carries out the retirement. */
	if (!vcpu->run->dirty && !vcpu->run->retire)
		return 0;
	return hv_vcpu_set_state(vcpu, vcpu->run->dirty);
}

int hv_vcpu_retire(struct hv_vcpu *vcpu)
{
	const struct hv_run *run = vcpu->run;
	uint32_t length;

	switch (run->exit_reason) {
	case HV_EXIT_IO:
		length = run->io.length;
		break;
	case HV_EXIT_MSR:
		length = run->msr.length;
		break;
	case HV_EXIT_MMIO:
	case HV_EXIT_APIC:
	case HV_EXIT_INSN:
		length = run->mem.length;
		break;
	default:
		length = 0;
	}
	if (!length || length > 15)
		return -EINVAL;
	vcpu->run->retire = length;
	return 0;
}

int hv_vcpu_raise(struct hv_vcpu *vcpu, uint8_t vector, uint32_t error_code, uint64_t payload)
{
	int ret = hv_vcpu_need(vcpu, HV_GROUP(HV_GROUP_EVENTS));

	if (ret)
		return ret;
	ret = hv_x86_raise(hv_vcpu_events(vcpu), vector, error_code, payload);
	if (!ret)
		hv_vcpu_mark_dirty(vcpu, HV_GROUP(HV_GROUP_EVENTS));
	return ret;
}

int hv_vcpu_inject_extint(struct hv_vcpu *vcpu, uint8_t vector)
{
	struct hv_events *events = hv_vcpu_events(vcpu);
	int ret = hv_vcpu_need(vcpu, HV_GROUP(HV_GROUP_EVENTS));

	if (ret)
		return ret;
	if (events->int_flags)
		return -EBUSY;
	events->int_flags = HV_INT_INJECTED;
	events->int_vector = vector;
	events->int_length = 0;
	hv_vcpu_mark_dirty(vcpu, HV_GROUP(HV_GROUP_EVENTS));
	return 0;
}

int hv_vcpu_msr_done(struct hv_vcpu *vcpu, uint64_t value)
{
	struct hv_run *run = vcpu->run;
	struct hv_regs *regs = hv_vcpu_regs(vcpu);

	if (run->exit_reason != HV_EXIT_MSR)
		return -EINVAL;
	if (!run->msr.write) {
		regs->gpr[HV_RAX] = (uint32_t)value;
		regs->gpr[HV_RDX] = value >> 32;
		hv_vcpu_mark_dirty(vcpu, HV_GROUP(HV_GROUP_REGS));
	}
	return hv_vcpu_retire(vcpu);
}

int hv_vcpu_msr_refuse(struct hv_vcpu *vcpu)
{
	return hv_vcpu_raise(vcpu, 13, 0, 0);
}

int hv_vcpu_apic_access(struct hv_vcpu *vcpu, uint32_t offset, bool write, uint32_t *value)
{
	struct hv_apic_access arg = {
		.size = sizeof(arg),
		.offset = offset,
		.write = write,
		.value = write ? *value : 0,
	};

	if (ioctl(vcpu->fd, HV_APIC_ACCESS, &arg) < 0)
		return -errno;
	if (!write)
		*value = arg.value;
	return 0;
}
