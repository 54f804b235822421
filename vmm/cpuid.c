// SPDX-License-Identifier: GPL-2.0-only
/*
 * cpuid.c - the guest's CPUID table: what the module can keep, with this
 * guest's topology (SDM vol. 2 CPUID leaves 1, 4, 0BH; APM vol. 3 appendix E
 * functions 80000001h, 80000008h).
 *
 * N vCPUs are N cores of one package with one thread each.  What differs from
 * vCPU to vCPU (initial APIC id) the module fills in.  The module filters the
 * table once more: nothing here can promise too much.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hv/hv.h"
#include "vcpu.h"
#include "vm.h"

/* Bits of an APIC id that number @n cores. */
static unsigned int id_bits(unsigned int n)
{
	unsigned int bits = 0;

	while ((1U << bits) < n)
		bits++;
	return bits;
}

static void topology_set(struct hv_cpuid_entry *e, unsigned int n)
{
	const unsigned int bits = id_bits(n);

	switch (e->leaf) {
	case 0x1:
		/* Logical processors in the package, in addressable ids. */
		e->ebx = (e->ebx & 0xff00) | (1U << bits) << 16;
		e->edx = n > 1 ? e->edx | 1U << 28 : e->edx & ~(1U << 28);
		break;
	case 0x4:
		if (!(e->eax & 0x1f))
			break;
		e->eax = (e->eax & 0x3fff) | ((1U << bits) - 1) << 26;
		if (((e->eax >> 5) & 7) >= 3)		/* level 3 is everybody's */
			e->eax |= ((1U << bits) - 1) << 14;
		break;
	case 0xb:
		if (e->subleaf == 0) {			/* threads of a core */
			e->eax = 0;
			e->ebx = 1;
			e->ecx = 0 | 1 << 8;
		} else if (e->subleaf == 1) {		/* cores of the package */
			e->eax = bits;
			e->ebx = n;
			e->ecx = 1 | 2 << 8;
		} else {
			e->eax = e->ebx = 0;
			e->ecx = e->subleaf;
		}
		break;
	case 0x80000001:
		/* CMP_LEGACY: leaf 1 counts cores. */
		e->ecx = n > 1 ? e->ecx | 2 : e->ecx & ~2U;
		break;
	case 0x80000008:
		e->ecx = (n - 1) | bits << 12;
		break;
	}
}

int cpuid_set(struct vm *vm)
{
	struct hv_cpuid_entry *entries;
	struct hv_info info;
	uint32_t count, i;
	int ret;

	ret = hv_get_info(vm->hv_dev, &info);
	if (ret)
		goto fail;
	count = info.max_cpuid;
	entries = calloc(count, sizeof(*entries));
	if (!entries) {
		ret = -ENOMEM;
		goto fail;
	}
	ret = hv_get_cpuid(vm->hv_dev, entries, &count);
	for (i = 0; !ret && i < count; i++)
		topology_set(&entries[i], vm->nr_vcpus);
	if (!ret)
		ret = hv_vm_set_cpuid(vm->hv, entries, count);
	free(entries);
	if (!ret)
		return 0;
fail:
	log_error(vm, "cannot set the guest's CPUID table: %s", strerror(-ret));
	return ret;
}
