// SPDX-License-Identifier: GPL-2.0-only
/*
 * msr.c - model-specific registers that hv.ko leaves to userspace (exit MSR).
 *
 * A table lists what is known to be harmless: it reads as its value and forgets
 * writes.  Everything else is #GP, as on a CPU that has no such register.
 * Linux, BSD and Windows probe these without a handler for #GP; sources are the
 * processors' manuals (APM vol. 2 appendix A, BKDG/PPR; SDM vol. 4).
 *
 * Must not give the guest anything of the host's.
 */
#include "hv/hv.h"
#include "vcpu.h"
#include "vm.h"

struct msr_rule {
	uint32_t first, last;
	uint64_t value;
};

static const struct msr_rule rules[] = {
	{ 0x00000017, 0x00000017, 0 },		/* PLATFORM_ID */
	{ 0x0000002a, 0x0000002a, 0 },		/* EBL_CR_POWERON */
	{ 0x00000034, 0x00000034, 0 },		/* SMI_COUNT */
	{ 0x00000079, 0x00000079, 0 },		/* BIOS_UPDT_TRIG: no microcode update */
	{ 0x000000c1, 0x000000c4, 0 },		/* PMC0-3 */
	{ 0x000000cd, 0x000000cd, 3 },		/* FSB_FREQ */
	{ 0x000000ce, 0x000000ce, 0 },		/* PLATFORM_INFO */
	{ 0x0000011e, 0x0000011e, 0 },		/* BBL_CR_CTL3 */
	{ 0x00000140, 0x00000140, 0 },		/* MISC_FEATURES_ENABLES */
	{ 0x00000186, 0x00000189, 0 },		/* PERFEVTSEL0-3 */
	{ 0x00000198, 0x00000199, 0 },		/* PERF_STATUS, PERF_CTL */
	{ 0x0000019a, 0x0000019d, 0 },		/* clock modulation, thermal */
	{ 0x000001d9, 0x000001d9, 0 },		/* DEBUGCTL, where not virtualized */
	{ 0x000001db, 0x000001de, 0 },		/* last branch and exception records */
	{ 0x000003f1, 0x000003f1, 0 },		/* PEBS_ENABLE */
	{ 0x00000606, 0x00000606, 0 },		/* RAPL_POWER_UNIT */
	{ 0x00000611, 0x00000611, 0 },		/* PKG_ENERGY_STATUS */
	{ 0xc0000103, 0xc0000103, 0 },		/* TSC_AUX, where the CPU has none */
	{ 0xc0000104, 0xc0000104, 1ULL << 32 },	/* TSC_RATIO: 1.0 */
	{ 0xc0010000, 0xc0010007, 0 },		/* K7 performance counters */
	{ 0xc0010010, 0xc0010010, 0 },		/* SYSCFG */
	{ 0xc0010016, 0xc001001a, 0 },		/* IORR, TOP_MEM */
	{ 0xc001001d, 0xc001001d, 0 },		/* TOP_MEM2 */
	{ 0xc001001f, 0xc001001f, 0 },		/* NB_CFG */
	{ 0xc0010022, 0xc0010022, 0 },		/* MC exception redirection */
	{ 0xc0010030, 0xc0010035, 0 },		/* processor name string */
	{ 0xc0010044, 0xc0010048, 0 },		/* MC control masks */
	{ 0xc0010055, 0xc0010055, 0 },		/* interrupt pending */
	{ 0xc0010058, 0xc0010058, 0 },		/* MMIO configuration base */
	{ 0xc0010061, 0xc0010071, 0 },		/* P-states, COFVID */
	{ 0xc0010111, 0xc0010113, 0 },		/* SMM base, address, mask */
	{ 0xc0010114, 0xc0010114, 0x10 },	/* VM_CR: SVM disabled */
	{ 0xc0010140, 0xc0010141, 0 },		/* OSVW */
	{ 0xc0010200, 0xc001020b, 0 },		/* extended performance counters */
	{ 0xc0010290, 0xc0010299, 0 },		/* power and temperature */
	{ 0xc0011004, 0xc0011005, 0 },		/* CPUID feature overrides */
	{ 0xc0011019, 0xc001101b, 0 },		/* address masks of breakpoints */
	{ 0xc0011020, 0xc001102f, 0 },		/* LS_CFG, IC_CFG, DC_CFG, BU_CFG, DE_CFG... */
	{ 0xc0011030, 0xc001103a, 0 },		/* instruction based sampling */
};

bool msr_access(struct vcpu *vcpu, uint32_t index, bool write, uint64_t *value)
{
	unsigned int i;

	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (index < rules[i].first || index > rules[i].last)
			continue;
		if (!write)
			*value = rules[i].value;
		return true;
	}
	if (write)
		log_guest(vcpu->vm, &vcpu->msr_warn, "vCPU %u: write of %#llx to MSR %#x refused",
			  vcpu->id, (unsigned long long)*value, index);
	else
		log_guest(vcpu->vm, &vcpu->msr_warn, "vCPU %u: read of MSR %#x refused", vcpu->id,
			  index);
	return false;
}
