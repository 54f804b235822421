/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * internal.h - the objects of libhv's device side, as its own files see them.
 * Not installed; control-socket code has nothing to do with these.
 */
#ifndef _LIBHV_INTERNAL_H
#define _LIBHV_INTERNAL_H

#include <hv/hv.h>
#include <hv/x86.h>

struct hv_dev {
	int fd;
	struct hv_info info;		/* as of hv_open(): the parts that never change */
};

struct hv_vm {
	int fd;
	struct hv_callbacks cb;
	bool has_cb;
	struct hv_info info;
	/* What page walks need to know of the CPU and of the guest's CPUID. */
	uint32_t phys_bits;
	uint32_t x86_flags;
};

/* The public part comes first, so that one pointer serves both. */
struct vcpu {
	struct hv_vcpu pub;
	size_t run_size;
	struct hv_x86 x86;
};

static inline struct vcpu *to_vcpu(const struct hv_vcpu *pub)
{
	return (struct vcpu *)(uintptr_t)pub;
}

int vcpu_x86_init(struct vcpu *v);

#endif /* _LIBHV_INTERNAL_H */
