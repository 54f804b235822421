// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_fpu.c - the guest's x87, SSE and extended state.
 *
 * APM vol. 2 section 11.5, SDM vol. 1 chapter 13 (XSAVE); contract 10.  The run loop holds
 * kernel_fpu_begin(), so in the section the registers are the guest's.  The image is the standard
 * format, in kernel memory, so XRSTOR cannot fault on it: what userspace hands in is checked.
 *
 * A guest may have what HV_XCR0 below lists.  Supervisor components (XSS) stay off in the guest:
 * its XSAVES could otherwise reach the host's shadow-stack state.
 */
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#include <asm/fpu/xcr.h>
#include "hv.h"

#define XF_FP		BIT_ULL(0)
#define XF_SSE		BIT_ULL(1)
#define XF_AVX		BIT_ULL(2)
#define XF_AVX512	(BIT_ULL(5) | BIT_ULL(6) | BIT_ULL(7))
#define XF_PKRU		BIT_ULL(9)
#define HV_XCR0		(XF_FP | XF_SSE | XF_AVX | XF_AVX512 | XF_PKRU)

#define XSAVE_LEGACY	512
#define XSAVE_MIN	(XSAVE_LEGACY + 64)

/* The part of the image that the module looks at. */
struct xsave_image {
	u16 fcw, fsw;
	u8 ftw, r5;
	u16 fop;
	u64 fip, fdp;
	u32 mxcsr, mxcsr_mask;
	u8 regs[XSAVE_LEGACY - 32];
	u64 xstate_bv, xcomp_bv;
	u64 reserved[6];
};

static u64 host_xcr0, host_xss;
static u32 mxcsr_mask;
static bool has_xsave, has_pku;

int hv_fpu_setup(void)
{
	u32 size, offset, c, d, i;
	struct xsave_image *probe;

	BUILD_BUG_ON(offsetof(struct xsave_image, xstate_bv) != XSAVE_LEGACY);
	has_xsave = boot_cpu_has(X86_FEATURE_OSXSAVE);
	has_pku = boot_cpu_has(X86_FEATURE_OSPKE);
	hv_host.xcr0 = XF_FP | XF_SSE;
	hv_host.xsave_size = XSAVE_MIN;
	if (has_xsave) {
		host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
		hv_host.xcr0 = host_xcr0 & HV_XCR0;
		if (!has_pku)
			hv_host.xcr0 &= ~XF_PKRU;
		if ((hv_host.xcr0 & XF_AVX512) != XF_AVX512)
			hv_host.xcr0 &= ~XF_AVX512;
		for (i = 2; i < 64; i++) {
			if (!(hv_host.xcr0 & BIT_ULL(i)))
				continue;
			cpuid_count(0xd, i, &size, &offset, &c, &d);
			if (offset > PAGE_SIZE || size > PAGE_SIZE - offset)
				return -ENODEV;
			hv_host.xsave_size = max(hv_host.xsave_size, offset + size);
		}
		if (boot_cpu_has(X86_FEATURE_XSAVES))
			rdmsrl(MSR_IA32_XSS, host_xss);
	}

	/* MXCSR bits this CPU refuses; FXSAVE tells, zero means the default. */
	probe = hv_alloc(PAGE_SIZE);
	if (!probe)
		return -ENOMEM;
	kernel_fpu_begin();
	asm volatile("fxsave64 %0" : "=m" (*(u8 (*)[XSAVE_LEGACY])probe));
	kernel_fpu_end();
	mxcsr_mask = probe->mxcsr_mask ?: 0xffbf;
	hv_free(probe);
	return 0;
}

/* SDM vol. 3 table 10-1: INIT leaves all of it alone. */
void hv_fpu_reset(struct hv_vcpu *v, bool init)
{
	struct xsave_image *x = v->xsave;

	if (init)
		return;
	memset(x, 0, hv_host.xsave_size);
	x->fcw = 0x40;
	x->ftw = 0xff;		/* FXSAVE's abridged form of 5555h: all valid, all zero */
	x->mxcsr = 0x1f80;
	x->mxcsr_mask = mxcsr_mask;
	x->xstate_bv = XF_FP;
	v->xcr0 = XF_FP;
}

/* ---- section ---- */

static void set_xcr0(struct hv_vcpu *v, u64 val)
{
	if (v->guest_xcr0_loaded == val)
		return;
	v->guest_xcr0_loaded = val;
	xsetbv(XCR_XFEATURE_ENABLED_MASK, val);
}

/*
 * XSETBV is intercepted, but not every CPU listens: QEMU's has no such intercept
 * before 8.0.  What such a guest has set is taken over if it is allowed.
 */
void hv_fpu_sync_xcr0(struct hv_vcpu *v)
{
	u64 xcr0;

	if (!v->guest_xcr0_loaded || !(v->cr4 & X86_CR4_OSXSAVE))
		return;
	xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	if (likely(xcr0 == v->guest_xcr0_loaded))
		return;
	v->guest_xcr0_loaded = xcr0;
	hv_set_xcr0(v, xcr0);
}

void hv_fpu_set_xcr0(struct hv_vcpu *v)
{
	/* 0: not inside the section, hv_fpu_enter() will do it. */
	if (v->guest_xcr0_loaded)
		set_xcr0(v, v->xcr0);
}

void hv_fpu_enter(struct hv_vcpu *v)
{
	struct xsave_image *x = v->xsave;
	u64 mask = hv_host.xcr0;

	if (static_cpu_has_bug(X86_BUG_FXSAVE_LEAK)) {
		/* Old AMD parts restore FOP, FIP and FDP only with an exception
		 * pending: load something that is nobody's. */
		asm volatile("fnclex\n\temms\n\tfildl %0" : : "m" (mxcsr_mask));
	}
	if (unlikely(!has_xsave)) {
		asm volatile("fxrstor64 %0" : : "m" (*(u8 (*)[XSAVE_LEGACY])x));
		return;
	}
	if (has_pku)
		v->host_pkru = rdpkru();
	asm volatile("xrstor64 (%0)" : : "r" (x), "a" ((u32)mask), "d" ((u32)(mask >> 32))
		     : "memory");
	if (unlikely(host_xss))
		wrmsrl(MSR_IA32_XSS, 0);
	v->guest_xcr0_loaded = host_xcr0;
	set_xcr0(v, v->xcr0);
}

void hv_fpu_leave(struct hv_vcpu *v)
{
	struct xsave_image *x = v->xsave;
	u64 mask = hv_host.xcr0;

	if (unlikely(!has_xsave)) {
		asm volatile("fxsave64 %0" : "=m" (*(u8 (*)[XSAVE_LEGACY])x));
		return;
	}
	hv_fpu_sync_xcr0(v);
	set_xcr0(v, host_xcr0);
	v->guest_xcr0_loaded = 0;
	if (unlikely(host_xss))
		wrmsrl(MSR_IA32_XSS, host_xss);
	asm volatile("xsave64 (%0)" : : "r" (x), "a" ((u32)mask), "d" ((u32)(mask >> 32))
		     : "memory");
	/* The kernel keeps PKRU in the register, not in what it saved. */
	if (has_pku)
		wrpkru(v->host_pkru);
}

/* ---- state group ---- */

void hv_fpu_get(struct hv_vcpu *v, void *dst)
{
	struct xsave_image *x = dst;

	memcpy(dst, v->xsave, hv_host.xsave_size);
	x->mxcsr_mask = mxcsr_mask;
	if (!has_xsave)
		x->xstate_bv = XF_FP | XF_SSE;
}

/*
 * @src is a private copy.  Every condition under which XRSTOR faults is refused
 * here (SDM vol. 1 13.8): components the host lacks, a compacted image,
 * reserved header bytes, MXCSR bits the CPU does not know.
 */
int hv_fpu_set(struct hv_vcpu *v, const void *src)
{
	const struct xsave_image *x = src;

	if ((x->xstate_bv & ~hv_host.xcr0) || x->xcomp_bv ||
	    memchr_inv(x->reserved, 0, sizeof(x->reserved)) || (x->mxcsr & ~mxcsr_mask))
		return -EINVAL;
	memcpy(v->xsave, src, hv_host.xsave_size);
	return 0;
}
