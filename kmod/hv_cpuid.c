// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_cpuid.c - the CPUID table.
 *
 * Userspace sets a table per VM; the module never lets it promise more than the host has and the
 * module keeps: every feature word is masked by what hv_cpuid_supported() reports, and what
 * follows from it (CR4, EFER, XCR0 bits a guest may set) is derived here and nowhere else. SDM
 * vol. 2 CPUID; APM vol. 3 appendix E; KVM's leaves 0x40000000..1
 * (Documentation/virt/kvm/x86/cpuid.rst).
 */
#include <linux/sort.h>
#include <uapi/linux/kvm_para.h>
#include "hv.h"

#define F(reg_bit) (1u << (reg_bit))
#define ANY	~0u

enum { EAX, EBX, ECX, EDX };

/* The bits of each register that the module can keep; all others are hidden.  ANY: not judged. */
static const struct rule {
	u32 leaf, subleaf;
	u32 allow[4];
} rules[] = {
	{ 0x1, 0, { ANY, ANY,
		/* SSE3 PCLMUL SSSE3 FMA CX16 PCID SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C
		 * RDRAND */
		F(0) | F(1) | F(9) | F(12) | F(13) | F(17) | F(19) | F(20) | F(22) | F(23) | F(25) |
		F(26) | F(28) | F(29) | F(30),
		/* FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFLUSH
		 * MMX FXSR SSE SSE2 HTT */
		(0x07ffffffu & ~(F(10) | F(18) | F(20) | F(21) | F(22))) | F(28) } },
	{ 0x6, 0, { 0, 0, 0, 0 } },
	{ 0x7, 0, { ANY,
		/* FSGSBASE BMI1 AVX2 SMEP BMI2 ERMS INVPCID AVX512F DQ RDSEED ADX SMAP IFMA
		 * CLFLUSHOPT CLWB CD SHA BW VL */
		F(0) | F(3) | F(5) | F(7) | F(8) | F(9) | F(10) | F(16) | F(17) | F(18) | F(19) |
		F(20) | F(21) | F(23) | F(24) | F(28) | F(29) | F(30) | F(31),
		/* AVX512_VBMI UMIP PKU VBMI2 GFNI VAES VPCLMUL VNNI BITALG VPOPCNTDQ LA57 RDPID
		 * MOVDIRI MOVDIR64B */
		F(1) | F(2) | F(3) | F(6) | F(8) | F(9) | F(10) | F(11) | F(12) | F(14) | F(16) |
		F(22) | F(27) | F(28),
		/* FSRM AVX512_VP2INTERSECT SERIALIZE; Intel's IBRS with IBPB, STIBP, SSBD */
		F(4) | F(8) | F(14) | F(26) | F(27) | F(31) } },
	/* AVX_VNNI AVX512_BF16 FZRM FSRS FSRC */
	{ 0x7, 1, { F(4) | F(5) | F(10) | F(11) | F(12), 0, 0, 0 } },
	/* XSAVEOPT XSAVEC XGETBV1; no XSAVES: XSS stays 0 */
	{ 0xd, 1, { F(0) | F(1) | F(2), 0, 0, 0 } },
	{ 0x80000001, 0, { ANY, ANY,
		/* LAHF_LM CMP_LEGACY CR8_LEGACY ABM SSE4A MISALIGNSSE 3DNOWPREFETCH XOP FMA4 TBM */
		F(0) | F(1) | F(4) | F(5) | F(6) | F(7) | F(8) | F(11) | F(16) | F(21),
		/* as 1.EDX where shared, SYSCALL NX MMXEXT FXSR_OPT GBPAGES RDTSCP LM 3DNOWEXT
		 * 3DNOW */
		0x0183f3ffu | F(11) | F(20) | F(22) | F(25) | F(26) | F(27) | F(29) | F(30) |
		F(31) } },
	/* invariant TSC */
	{ 0x80000007, 0, { 0, 0, 0, F(8) } },
	/* CLZERO XSAVEERPTR; IBPB IBRS STIBP IBRS_ALWAYS SSBD (no WBNOINVD) */
	{ 0x80000008, 0, { ANY,
		F(0) | F(2) | F(12) | F(14) | F(15) | F(24) | F(26) | F(28), ANY, 0 } },
	/* no nested SVM */
	{ 0x8000000a, 0, { 0, 0, 0, 0 } },
	/* NoNestedDataBp LfenceAlwaysSerializing NullSelectorClearsBase */
	{ 0x80000021, 0, { F(0) | F(2) | F(6) | F(9), 0, 0, 0 } },
};

/* Features whose registers are components of XCR0. */
#define AVX	BIT(2)
#define AVX512	BIT(5)
#define PKRU	BIT(9)
static const struct {
	u32 leaf, subleaf, reg, bits;
	u64 xcr0;
} needs_xcr0[] = {
	{ 0x1, 0, ECX, F(12) | F(28) | F(29), AVX },
	{ 0x7, 0, EBX, F(5), AVX },
	{ 0x7, 0, EBX, F(16) | F(17) | F(21) | F(28) | F(30) | F(31), AVX512 },
	{ 0x7, 0, ECX, F(3), PKRU },
	{ 0x7, 0, ECX, F(9) | F(10), AVX },
	{ 0x7, 0, ECX, F(1) | F(6) | F(11) | F(12) | F(14), AVX512 },
	{ 0x7, 0, EDX, F(8), AVX512 },
	{ 0x7, 1, EAX, F(4), AVX },
	{ 0x7, 1, EAX, F(5), AVX512 },
	{ 0x80000001, 0, ECX, F(11) | F(16), AVX },
};

#define KVM_FEATURES	(F(KVM_FEATURE_CLOCKSOURCE) | F(KVM_FEATURE_NOP_IO_DELAY) | \
			 F(KVM_FEATURE_CLOCKSOURCE2) | F(KVM_FEATURE_STEAL_TIME) | \
			 F(KVM_FEATURE_PV_UNHALT) | F(KVM_FEATURE_PV_SEND_IPI) | \
			 F(KVM_FEATURE_PV_SCHED_YIELD) | F(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT))

static u32 *regs(struct hv_cpuid_entry *e)
{
	return &e->eax;
}

static const struct rule *rule_find(const struct hv_cpuid_entry *e)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rules); i++)
		if (rules[i].leaf == e->leaf && rules[i].subleaf == e->subleaf)
			return &rules[i];
	return NULL;
}

/* From what the CPU says to what a guest may have. */
static void filter(struct hv_cpuid_entry *e)
{
	const struct rule *rule = rule_find(e);
	u64 xcr0 = hv_host.xcr0;
	u32 i;

	for (i = 0; rule && i < 4; i++)
		regs(e)[i] &= rule->allow[i];
	for (i = 0; i < ARRAY_SIZE(needs_xcr0); i++)
		if (needs_xcr0[i].leaf == e->leaf && needs_xcr0[i].subleaf == e->subleaf &&
		    !(xcr0 & needs_xcr0[i].xcr0))
			regs(e)[needs_xcr0[i].reg] &= ~needs_xcr0[i].bits;
	switch (e->leaf) {
	case 0x1:
		/* Kept by the module whatever the CPU has: x2APIC, TSC-deadline; a hypervisor. */
		e->ecx |= F(21) | F(24) | F(31);
		break;
	case 0x6:
		e->eax = F(2);		/* ARAT: the local APIC timer never stops */
		break;
	case 0x7:
		if (e->subleaf)
			break;
		e->eax = min(e->eax, 1u);
		e->ebx |= F(1);		/* TSC_ADJUST */
		/* A guest's SPEC_CTRL is switched only where the host itself uses the MSR. */
		if (!boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL))
			e->edx &= ~(F(26) | F(27) | F(31));
		if (!(hv_host.hw_features & HV_HW_LA57))
			e->ecx &= ~F(16);
		break;
	case 0xd:
		if (e->subleaf == 0) {
			e->eax = xcr0;
			e->edx = xcr0 >> 32;
			e->ecx = hv_host.xsave_size;
		} else if (e->subleaf > 1) {
			e->ecx &= F(1);		/* a user state component; alignment only */
			e->edx = 0;
		}
		break;
	case 0x80000001:
		if (!(hv_host.hw_features & HV_HW_PAGE_1G))
			e->edx &= ~F(26);
		break;
	case 0x80000008:
		e->eax = (e->eax & 0xff00) | hv_host.gpa_bits;
		if (!boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL))
			e->ebx &= F(0) | F(2) | F(12);
		break;
	}
}

static struct hv_cpuid_entry *add(struct hv_cpuid_table *t, u32 leaf, u32 subleaf, u32 flags)
{
	struct hv_cpuid_entry *e = &t->e[t->count++];

	memset(e, 0, sizeof(*e));
	e->leaf = leaf;
	e->subleaf = subleaf;
	e->flags = flags;
	return e;
}

static struct hv_cpuid_entry *add_host(struct hv_cpuid_table *t, u32 leaf, u32 subleaf, u32 flags)
{
	struct hv_cpuid_entry *e = add(t, leaf, subleaf, flags);

	cpuid_count(leaf, subleaf, &e->eax, &e->ebx, &e->ecx, &e->edx);
	filter(e);
	return e;
}

/* Some forty entries: @t has room. */
void hv_cpuid_supported(struct hv_cpuid_table *t)
{
	u32 max = cpuid_eax(0), ext = clamp(cpuid_eax(0x80000000), 0x80000008u, 0x80000021u), i;
	struct hv_cpuid_entry *e;

	t->count = 0;
	add_host(t, 0, 0, 0)->eax = clamp(max, 0xbu, 0xdu);
	add_host(t, 1, 0, 0);
	if (boot_cpu_data.x86_vendor == X86_VENDOR_INTEL) {
		add_host(t, 2, 0, 0);
		for (i = 0; i < 4; i++)
			add_host(t, 4, i, HV_CPUID_SUBLEAF);
	}
	add(t, 5, 0, 0);
	add_host(t, 6, 0, 0);
	if (max >= 7 && add_host(t, 7, 0, HV_CPUID_SUBLEAF)->eax >= 1)
		add_host(t, 7, 1, HV_CPUID_SUBLEAF);
	/* x2APIC topology: the vmm fills it in, the module its EDX. */
	for (i = 0; i < 2; i++) {
		e = add(t, 0xb, i, HV_CPUID_SUBLEAF);
		e->ebx = 1;
		e->ecx = i | (i + 1) << 8;
	}
	for (i = 0; i < 10 && max >= 0xd; i++)
		if (i < 2 || (hv_host.xcr0 & BIT_ULL(i)))
			add_host(t, 0xd, i, HV_CPUID_SUBLEAF);

	e = add(t, KVM_CPUID_SIGNATURE, 0, 0);
	e->eax = KVM_CPUID_FEATURES;
	e->ebx = 0x4b4d564b;		/* "KVMKVMKVM" */
	e->ecx = 0x564b4d56;
	e->edx = 0x4d;
	add(t, KVM_CPUID_FEATURES, 0, 0)->eax = KVM_FEATURES;

	add_host(t, 0x80000000, 0, 0)->eax = ext;
	for (i = 0x80000001; i <= 0x80000008; i++)
		add_host(t, i, 0, 0);
	if (ext >= 0x80000019)
		add_host(t, 0x80000019, 0, 0);
	if (ext >= 0x80000021)
		add_host(t, 0x80000021, 0, 0);
}

/* ---- a VM's table ---- */

static int compare(const void *a, const void *b)
{
	const struct hv_cpuid_entry *x = a, *y = b;

	if (x->leaf != y->leaf)
		return x->leaf < y->leaf ? -1 : 1;
	return x->subleaf < y->subleaf ? -1 : x->subleaf > y->subleaf;
}

const struct hv_cpuid_entry *hv_cpuid_find(const struct hv_cpuid_table *t, u32 leaf, u32 subleaf)
{
	u32 lo = 0, hi = t->count;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;
		const struct hv_cpuid_entry *e = &t->e[mid];

		if (e->leaf == leaf) {
			if (!(e->flags & HV_CPUID_SUBLEAF) || e->subleaf == subleaf)
				return e;
			if (e->subleaf < subleaf)
				lo = mid + 1;
			else
				hi = mid;
		} else if (e->leaf < leaf) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return NULL;
}

/* Never more than the host and the module can keep. */
static void restrict_entry(struct hv_cpuid_entry *e, const struct hv_cpuid_table *host)
{
	const struct hv_cpuid_entry *h = hv_cpuid_find(host, e->leaf, e->subleaf), none = {};
	const struct rule *rule = rule_find(e);
	u32 i;

	if (!h)
		h = &none;
	for (i = 0; rule && i < 4; i++)
		if (rule->allow[i] != ANY)
			regs(e)[i] &= (&h->eax)[i];
	switch (e->leaf) {
	case 0x7:
		e->eax &= h->eax;
		if (e->subleaf > 1)
			e->ebx = e->ecx = e->edx = 0;
		break;
	case 0xd:
		if (e->subleaf == 0) {
			e->eax &= h->eax;
			e->edx &= h->edx;
		} else if (h == &none) {
			e->eax = 0;
		}
		break;
	case KVM_CPUID_FEATURES:
		/* Only where the signature says these are KVM's. */
		if (h != &none)
			e->eax &= h->eax;
		break;
	case 0x80000008:
		if ((e->eax & 0xff) > hv_host.gpa_bits)
			e->eax = (e->eax & ~0xffu) | hv_host.gpa_bits;
		break;
	}
}

/* What a feature lets a guest set in CR4, by word of word[] below and bit. */
static const struct {
	u8 word, bit;
	u64 cr4;
} cr4_bits[] = {
	{ 0, 1, X86_CR4_VME | X86_CR4_PVI },
	{ 0, 2, X86_CR4_DE },
	{ 0, 3, X86_CR4_PSE },
	{ 0, 6, X86_CR4_PAE },
	{ 0, 7, X86_CR4_MCE },
	{ 0, 13, X86_CR4_PGE },
	{ 0, 24, X86_CR4_OSFXSR },
	{ 0, 25, X86_CR4_OSXMMEXCPT },
	{ 1, 17, X86_CR4_PCIDE },
	{ 1, 26, X86_CR4_OSXSAVE },
	{ 2, 0, X86_CR4_FSGSBASE },
	{ 2, 7, X86_CR4_SMEP },
	{ 2, 20, X86_CR4_SMAP },
	{ 3, 2, X86_CR4_UMIP },
	{ 3, 3, X86_CR4_PKE },
	{ 3, 16, X86_CR4_LA57 },
};

static u32 reg(const struct hv_cpuid_table *t, u32 leaf, u32 subleaf, int n)
{
	const struct hv_cpuid_entry *e = hv_cpuid_find(t, leaf, subleaf);

	return e ? (&e->eax)[n] : 0;
}

static void derive(struct hv_vm *vm)
{
	const struct hv_cpuid_table *t = vm->cpuid;
	u32 c1 = reg(t, 1, 0, ECX), b7 = reg(t, 7, 0, EBX), d81 = reg(t, 0x80000001, 0, EDX), i;
	u32 b88 = reg(t, 0x80000008, 0, EBX), d7 = reg(t, 7, 0, EDX);
	u32 word[] = { reg(t, 1, 0, EDX), c1, b7, reg(t, 7, 0, ECX) };

	/* RDPMC is intercepted whatever PCE says. */
	vm->cr4_allowed = X86_CR4_TSD | X86_CR4_PCE;
	for (i = 0; i < ARRAY_SIZE(cr4_bits); i++)
		if (word[cr4_bits[i].word] & F(cr4_bits[i].bit))
			vm->cr4_allowed |= cr4_bits[i].cr4;

	vm->efer_allowed = (d81 & F(11) ? EFER_SCE : 0) | (d81 & F(20) ? EFER_NX : 0) |
			   (d81 & F(25) ? EFER_FFXSR : 0) | (d81 & F(29) ? EFER_LME | EFER_LMA : 0);

	vm->guest_xcr0 = 1;
	if (c1 & F(26))
		vm->guest_xcr0 |= (reg(t, 0xd, 0, EAX) | (u64)reg(t, 0xd, 0, EDX) << 32) &
				  hv_host.xcr0;
	vm->gpa_bits = reg(t, 0x80000008, 0, EAX) & 0xff;
	if (vm->gpa_bits < 36 || vm->gpa_bits > hv_host.gpa_bits)
		vm->gpa_bits = vm->gpa_bits ? hv_host.gpa_bits : 36;
	vm->guest_tsc_deadline = c1 & F(24);
	vm->guest_x2apic = c1 & F(21);
	vm->guest_tsc_adjust = b7 & F(1);
	vm->guest_rdtscp = d81 & F(27);
	/* AMD's bits, then Intel's. */
	vm->guest_ibpb = (b88 & F(12)) || (d7 & F(26));
	vm->guest_spec_ctrl = (b88 & (F(14) | F(15) | F(24))) || (d7 & (F(26) | F(27) | F(31)));
}

int hv_cpuid_set(struct hv_vm *vm, const struct hv_cpuid_entry *e, u32 count)
{
	struct hv_cpuid_table *t, *host;
	u32 i;
	int ret;

	t = hv_alloc(sizeof(*t));
	host = hv_alloc(sizeof(*host));
	ret = -ENOMEM;
	if (!t || !host)
		goto out;
	hv_cpuid_supported(host);
	sort(host->e, host->count, sizeof(host->e[0]), compare, NULL);
	memcpy(t->e, e, count * sizeof(*e));
	t->count = count;
	sort(t->e, count, sizeof(t->e[0]), compare, NULL);
	ret = -EINVAL;
	for (i = 0; i < count; i++) {
		if (t->e[i].reserved || (t->e[i].flags & ~HV_CPUID_SUBLEAF))
			goto out;
		if (!(t->e[i].flags & HV_CPUID_SUBLEAF) && t->e[i].subleaf)
			goto out;
		/* Twice the same, or a leaf both with and without subleaves. */
		if (i && t->e[i].leaf == t->e[i - 1].leaf &&
		    (t->e[i].subleaf == t->e[i - 1].subleaf ||
		     !(t->e[i - 1].flags & HV_CPUID_SUBLEAF)))
			goto out;
		restrict_entry(&t->e[i], host);
	}
	hv_free(vm->cpuid);
	vm->cpuid = t;
	t = NULL;
	derive(vm);
	ret = 0;
out:
	hv_free(t);
	hv_free(host);
	return ret;
}

u32 hv_cpuid_signature(struct hv_vm *vm)
{
	return reg(vm->cpuid, 1, 0, EAX);
}

/* Size of the XSAVE area for the components in @xcr0 (SDM vol. 1 13.2, 13.4.3). */
static u32 xsave_size(const struct hv_cpuid_table *t, u64 xcr0, bool compacted)
{
	u32 size = 576, i;

	for (i = 2; i < 63 && xcr0 >> i; i++) {
		const struct hv_cpuid_entry *e;

		if (!(xcr0 & BIT_ULL(i)))
			continue;
		e = hv_cpuid_find(t, 0xd, i);
		if (e && compacted)
			size = (e->ecx & F(1) ? ALIGN(size, 64) : size) + e->eax;
		else if (e)
			size = max(size, e->ebx + e->eax);
	}
	return size;
}

void hv_cpuid(struct hv_vcpu *v, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	const struct hv_cpuid_table *t = v->vm->cpuid;
	u32 leaf = *eax, subleaf = *ecx;
	const struct hv_cpuid_entry *e = hv_cpuid_find(t, leaf, subleaf);

	if (unlikely(!e)) {
		*eax = *ebx = *ecx = *edx = 0;
		if (leaf == 0xb || leaf == 0x1f) {	/* past the last level: ids stay valid */
			*ecx = subleaf & 0xff;
			*edx = hv_cpuid_find(t, leaf, 0) ? v->id : 0;
		}
		return;
	}
	*eax = e->eax;
	*ebx = e->ebx;
	*ecx = e->ecx;
	*edx = e->edx;
	switch (leaf) {
	case 0x1:
		*ebx = (*ebx & 0x00ffffff) | v->id << 24;
		*ecx &= ~F(27);
		if (v->cr4 & X86_CR4_OSXSAVE)
			*ecx |= F(27);
		if (!(v->apic_base & MSR_IA32_APICBASE_ENABLE))
			*edx &= ~F(9);
		break;
	case 0x7:
		if (!subleaf && (v->cr4 & X86_CR4_PKE))
			*ecx |= F(4);
		break;
	case 0xb:
	case 0x1f:
		*edx = v->id;
		break;
	case 0xd:
		hv_fpu_sync_xcr0(v);
		if (subleaf == 0)
			*ebx = xsave_size(t, v->xcr0, false);
		else if (subleaf == 1)	/* with XSAVEC */
			*ebx = *eax & F(1) ? xsave_size(t, v->xcr0, true) : 0;
		break;
	case 0x80000001:
		if (!(v->apic_base & MSR_IA32_APICBASE_ENABLE))
			*edx &= ~F(9);
		break;
	case 0x8000001e:
		*eax = v->id;
		break;
	}
}
