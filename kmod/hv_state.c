// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_state.c - vCPU state: groups between the run area and the vCPU, reset,
 * and the control registers that a guest or userspace may write.
 *
 * The run area is shared memory: a group is copied out of it once, and the
 * copy is validated and used.  A set is all or nothing.  Where the CPU would have flushed
 * the TLB by itself, on a change of paging mode, v->flushed_gen = 0 owes it that.
 * SDM vol. 3 table 10-1 (reset and INIT state), 2.5 (control registers), 5.x (EFER).
 */
#include "hv.h"

static void *area(struct hv_vcpu *v, int group)
{
	return (void *)v->run + hv_host.group[group].offset;
}

/* ---- control registers ---- */

static bool cr0_valid(u64 cr0)
{
	if (cr0 >> 32)
		return false;
	if ((cr0 & X86_CR0_PG) && !(cr0 & X86_CR0_PE))
		return false;
	return !(cr0 & X86_CR0_NW) || (cr0 & X86_CR0_CD);
}

#define CR0_DEFINED (X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | X86_CR0_NE | \
		     X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)

int hv_set_cr0(struct hv_vcpu *v, u64 cr0)
{
	u64 old = v->cr0, efer = v->efer;
	struct hv_seg cs;

	if (!cr0_valid(cr0))
		return -EINVAL;
	cr0 = (cr0 & CR0_DEFINED) | X86_CR0_ET;
	if ((cr0 ^ old) & X86_CR0_PG) {
		if (!(cr0 & X86_CR0_PG)) {
			if ((v->cr4 & X86_CR4_PCIDE) || hv_in_64bit(v))
				return -EINVAL;
			efer &= ~(u64)EFER_LMA;
		} else if (efer & EFER_LME) {
			hv_ops->get_seg(v, HV_CS, &cs);
			if (!(v->cr4 & X86_CR4_PAE) || (cs.attr & HV_SEG_L))
				return -EINVAL;
			efer |= EFER_LMA;
		}
	}
	v->cr0 = cr0;
	v->efer = efer;
	hv_ops->set_control(v);
	if ((cr0 ^ old) & (X86_CR0_PG | X86_CR0_WP | X86_CR0_PE))
		v->flushed_gen = 0;
	if (hv_ops->keeps_pdptes && hv_pae_paging(v) &&
	    ((cr0 ^ old) & (X86_CR0_PG | X86_CR0_CD | X86_CR0_NW)))
		hv_request(v, HV_REQ_PDPTE);
	return 0;
}

int hv_set_cr4(struct hv_vcpu *v, u64 cr4)
{
	u64 old = v->cr4;

	if (cr4 & ~v->vm->cr4_allowed)
		return -EINVAL;
	if ((v->efer & EFER_LMA) && (!(cr4 & X86_CR4_PAE) || ((cr4 ^ old) & X86_CR4_LA57)))
		return -EINVAL;
	if ((cr4 & X86_CR4_PCIDE) && !(old & X86_CR4_PCIDE) &&
	    (!(v->efer & EFER_LMA) || (v->cr3 & 0xfff)))
		return -EINVAL;
	v->cr4 = cr4;
	hv_ops->set_control(v);
	if ((cr4 ^ old) & (X86_CR4_PGE | X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PCIDE | X86_CR4_SMEP |
			   X86_CR4_SMAP | X86_CR4_PKE | X86_CR4_LA57))
		v->flushed_gen = 0;
	if (hv_ops->keeps_pdptes && hv_pae_paging(v) &&
	    ((cr4 ^ old) & (X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP)))
		hv_request(v, HV_REQ_PDPTE);
	return 0;
}

int hv_set_efer(struct hv_vcpu *v, u64 efer)
{
	u64 old = v->efer;

	if (efer & ~v->vm->efer_allowed)
		return -EINVAL;
	if (((efer ^ old) & EFER_LME) && (v->cr0 & X86_CR0_PG))
		return -EINVAL;
	v->efer = (efer & ~(u64)EFER_LMA) | (old & EFER_LMA);
	hv_ops->set_control(v);
	if ((efer ^ old) & EFER_NX)
		v->flushed_gen = 0;
	return 0;
}

bool hv_canonical(const struct hv_vcpu *v, u64 a)
{
	return hv_sign_extend(a, v->vm->cr4_allowed & X86_CR4_LA57 ? 57 : 48) == a;
}

static u64 pdpte_clean(const struct hv_vcpu *v, u64 e)
{
	return e & 1 ? e & (GENMASK_ULL(v->vm->gpa_bits - 1, 9) | 0x19) : 0;
}

/*
 * MOV CR3 in the guest loads them by itself.  MOV to CR0 or CR4 was completed by
 * us, and a reserved bit that would be #GP then is dropped here.
 */
void hv_pdptes_load(struct hv_vcpu *v)
{
	int i;

	if (!hv_pae_paging(v))
		return;
	if (hv_guest_read(v->vm, v->cr3 & 0xffffffe0, v->pdpte, sizeof(v->pdpte), false))
		memset(v->pdpte, 0, sizeof(v->pdpte));
	for (i = 0; i < 4; i++)
		v->pdpte[i] = pdpte_clean(v, v->pdpte[i]);
	hv_ops->set_control(v);
}

static bool xcr0_valid(struct hv_vcpu *v, u64 xcr0)
{
	const u64 avx512 = BIT(5) | BIT(6) | BIT(7);

	if (!(xcr0 & BIT(0)) || (xcr0 & ~v->vm->guest_xcr0))
		return false;
	if ((xcr0 & BIT(2)) && !(xcr0 & BIT(1)))
		return false;
	return !(xcr0 & avx512) || ((xcr0 & avx512) == avx512 && (xcr0 & BIT(2)));
}

int hv_set_xcr0(struct hv_vcpu *v, u64 xcr0)
{
	if (!xcr0_valid(v, xcr0))
		return -EINVAL;
	v->xcr0 = xcr0;
	return 0;
}

/* ---- reset ---- */

void hv_segs_reset(struct hv_vcpu *v)
{
	struct hv_segs segs = {};
	int i;

	for (i = 0; i < HV_SEG_COUNT; i++) {
		segs.seg[i].limit = 0xffff;
		segs.seg[i].attr = HV_SEG_P | HV_SEG_S | 3;
	}
	segs.seg[HV_CS].selector = 0xf000;
	segs.seg[HV_CS].base = 0xffff0000;
	segs.seg[HV_CS].attr = HV_SEG_P | HV_SEG_S | 0xb;
	segs.seg[HV_LDTR].attr = HV_SEG_P | 2;
	segs.seg[HV_TR].attr = HV_SEG_P | 0xb;
	segs.gdtr.limit = 0xffff;
	segs.idtr.limit = 0xffff;
	hv_ops->set_segs(v, &segs);
}

void hv_vcpu_reset(struct hv_vcpu *v, bool init)
{
	u64 cd_nw = v->cr0 & (X86_CR0_CD | X86_CR0_NW);

	memset(&v->regs, 0, sizeof(v->regs));
	v->regs.rip = 0xfff0;
	v->regs.rflags = X86_EFLAGS_FIXED;
	v->regs.gpr[HV_RDX] = hv_cpuid_signature(v->vm);
	v->cr0 = X86_CR0_ET | (init ? cd_nw : X86_CR0_CD | X86_CR0_NW);
	v->cr2 = 0;
	v->cr3 = 0;
	v->cr4 = 0;
	v->efer = 0;
	v->debug = (struct hv_debug){ .dr6 = 0xffff0ff0, .dr7 = 0x400 };
	memset(&v->ev, 0, sizeof(v->ev));
	atomic_set(&v->nmi_queued, 0);
	v->pv_unhalt = false;
	v->eoi_vector = -1;
	v->eoi_owed = v->eoi_pending = false;
	if (!init) {
		v->xcr0 = 1;
		memset(&v->msrs, 0, sizeof(v->msrs));
		v->msrs.pat = 0x0007040600070406ULL;
		v->msrs.misc_enable = 1;	/* fast strings */
		v->msrs.ucode_rev = 0x01000065;
		memset(&v->clock, 0, sizeof(v->clock));
		memset(&v->mp, 0, sizeof(v->mp));
		v->mp.state = v->id ? HV_MP_WAIT_SIPI : HV_MP_RUNNABLE;
	}
	hv_segs_reset(v);
	hv_ops->set_control(v);
	hv_debug_set(v);
	hv_ops->set_shadow(v, 0);
	hv_ops->set_nmi_masked(v, false);
	if (!init) {
		hv_ops->set_msrs(v);
		hv_clock_apply(v);
	}
	hv_fpu_reset(v, init);
	hv_lapic_reset(v, init);
	v->flushed_gen = 0;
}

void hv_vcpu_sipi(struct hv_vcpu *v, u8 vector)
{
	struct hv_segs segs;

	hv_ops->get_segs(v, &segs);
	segs.seg[HV_CS].selector = vector << 8;
	segs.seg[HV_CS].base = vector << 12;
	hv_ops->set_segs(v, &segs);
	v->regs.rip = 0;
	v->mp.state = HV_MP_RUNNABLE;
}

/* ---- out ---- */

void hv_state_get(struct hv_vcpu *v, u64 groups)
{
	/* Only if asked: userspace may hold results there that it has not given us yet. */
	if (groups & HV_GROUP(HV_GROUP_REGS))
		memcpy(area(v, HV_GROUP_REGS), &v->regs, sizeof(v->regs));
	if (likely(groups == HV_GROUP(HV_GROUP_REGS)))
		return;
	if (groups & HV_GROUP(HV_GROUP_SEGS))
		hv_ops->get_segs(v, area(v, HV_GROUP_SEGS));
	if (groups & HV_GROUP(HV_GROUP_CONTROL)) {
		struct hv_control *c = area(v, HV_GROUP_CONTROL);

		memset(c, 0, sizeof(*c));
		c->cr0 = v->cr0;
		c->cr2 = v->cr2;
		c->cr3 = v->cr3;
		c->cr4 = v->cr4;
		c->cr8 = hv_lapic_get_cr8(v);
		c->efer = v->efer;
		c->xcr0 = v->xcr0;
		c->apic_base = v->apic_base;
		if (hv_ops->keeps_pdptes && hv_pae_paging(v))
			memcpy(c->pdpte, v->pdpte, sizeof(c->pdpte));
	}
	if (groups & HV_GROUP(HV_GROUP_DEBUG)) {
		hv_ops->get_debug(v);
		memcpy(area(v, HV_GROUP_DEBUG), &v->debug, sizeof(v->debug));
	}
	if (groups & HV_GROUP(HV_GROUP_MSRS)) {
		hv_ops->get_msrs(v);
		memcpy(area(v, HV_GROUP_MSRS), &v->msrs, sizeof(v->msrs));
	}
	if (groups & HV_GROUP(HV_GROUP_EVENTS)) {
		int n = atomic_xchg(&v->nmi_queued, 0);

		v->ev.nmi_pending = min(v->ev.nmi_pending + n, 2);
		v->ev.nmi_masked = hv_ops->get_nmi_masked(v);
		v->ev.shadow = hv_ops->get_shadow(v);
		memcpy(area(v, HV_GROUP_EVENTS), &v->ev, sizeof(v->ev));
	}
	if (groups & HV_GROUP(HV_GROUP_MP)) {
		hv_lapic_initsipi_sync(v);
		v->mp.pv_unhalt = READ_ONCE(v->pv_unhalt);
		memcpy(area(v, HV_GROUP_MP), &v->mp, sizeof(v->mp));
	}
	if (groups & HV_GROUP(HV_GROUP_CLOCK))
		memcpy(area(v, HV_GROUP_CLOCK), &v->clock, sizeof(v->clock));
	if (groups & (HV_GROUP(HV_GROUP_APIC) | HV_GROUP(HV_GROUP_APIC_TIMER)))
		hv_lapic_get(v, groups & HV_GROUP(HV_GROUP_APIC) ? area(v, HV_GROUP_APIC) : NULL,
			     groups & HV_GROUP(HV_GROUP_APIC_TIMER) ?
			     area(v, HV_GROUP_APIC_TIMER) : NULL);
	if (groups & HV_GROUP(HV_GROUP_XSAVE))
		hv_fpu_get(v, area(v, HV_GROUP_XSAVE));
}

/* ---- in ---- */

static bool segs_valid(const struct hv_segs *s)
{
	const u32 attrs = HV_SEG_TYPE | HV_SEG_S | HV_SEG_DPL | HV_SEG_P | HV_SEG_AVL | HV_SEG_L |
			  HV_SEG_DB | HV_SEG_G | HV_SEG_UNUSABLE;
	int i;

	for (i = 0; i < HV_SEG_COUNT; i++)
		if ((s->seg[i].attr & ~attrs) ||
		    !hv_zero(s->seg[i].reserved, sizeof(s->seg[i].reserved)))
			return false;
	return hv_zero(s->gdtr.reserved, 6) && hv_zero(s->idtr.reserved, 6);
}

static bool control_valid(struct hv_vcpu *v, const struct hv_control *c)
{
	struct hv_vm *vm = v->vm;
	bool lma = c->efer & EFER_LMA;

	if (!cr0_valid(c->cr0) || (c->cr0 & ~(u64)CR0_DEFINED))
		return false;
	if ((c->cr4 & ~vm->cr4_allowed) || (c->efer & ~(vm->efer_allowed | EFER_LMA)))
		return false;
	if (lma != ((c->efer & EFER_LME) && (c->cr0 & X86_CR0_PG)))
		return false;
	if (lma && !(c->cr4 & X86_CR4_PAE))
		return false;
	if ((c->cr4 & X86_CR4_PCIDE) && !lma)
		return false;
	if (c->cr8 > 15 || !xcr0_valid(v, c->xcr0))
		return false;
	/* Bit 63 of CR3 is never kept; above MAXPHYADDR must be zero. */
	if (lma ? c->cr3 >> vm->gpa_bits : c->cr3 >> 32)
		return false;
	return hv_zero(c->reserved, sizeof(c->reserved));
}

static bool msrs_valid(struct hv_vcpu *v, const struct hv_msrs *m)
{
	if (!hv_canonical(v, m->lstar) || !hv_canonical(v, m->cstar) ||
	    !hv_canonical(v, m->kernel_gs_base) || !hv_canonical(v, m->sysenter_esp) ||
	    !hv_canonical(v, m->sysenter_eip))
		return false;
	if (!hv_msr_types_valid(m->pat, HV_PAT_TYPES) || m->xss || (m->tsc_aux >> 32) ||
	    (m->sfmask >> 32) || (m->spec_ctrl & ~HV_SPEC_CTRL))
		return false;
	return hv_zero(m->reserved, sizeof(m->reserved));
}

static bool events_valid(const struct hv_events *e)
{
	if (e->exc_flags & ~(HV_EXC_PENDING | HV_EXC_INJECTED | HV_EXC_ERROR_CODE | HV_EXC_PAYLOAD))
		return false;
	if ((e->exc_flags & HV_EXC_PENDING) && (e->exc_flags & HV_EXC_INJECTED))
		return false;
	if (e->exc_flags && (e->exc_vector > 31 || e->exc_vector == 2 ||
			     !(e->exc_flags & (HV_EXC_PENDING | HV_EXC_INJECTED))))
		return false;
	if ((e->int_flags & ~(HV_INT_INJECTED | HV_INT_SOFT)) || e->int_flags == HV_INT_SOFT ||
	    e->int_length > 15)
		return false;
	/* The CPU takes one event at an entry. */
	if (!!(e->exc_flags & HV_EXC_INJECTED) + !!(e->int_flags) + !!e->nmi_injected > 1)
		return false;
	if (e->nmi_injected > 1 || e->nmi_pending > 2 || e->nmi_masked > 1 ||
	    e->triple_fault > 1 || (e->shadow & ~(HV_SHADOW_STI | HV_SHADOW_MOV_SS)))
		return false;
	return hv_zero(e->reserved, sizeof(e->reserved));
}

static bool group_valid(struct hv_vcpu *v, int group, const void *p)
{
	const struct hv_apic_timer *t = p;
	const struct hv_clock *c = p;
	const struct hv_debug *d = p;
	const struct hv_mp *m = p;

	switch (group) {
	case HV_GROUP_SEGS:
		return segs_valid(p);
	case HV_GROUP_CONTROL:
		return control_valid(v, p);
	case HV_GROUP_DEBUG:
		return !(d->dr6 >> 32) && !(d->dr7 >> 32) && !d->debugctl && !d->reserved;
	case HV_GROUP_MSRS:
		return msrs_valid(v, p);
	case HV_GROUP_EVENTS:
		return events_valid(p);
	case HV_GROUP_MP:
		return m->state <= HV_MP_WAIT_SIPI && m->init_latched <= 1 &&
		       m->sipi_latched <= 1 && m->pv_unhalt <= 1 &&
		       hv_zero(m->reserved, sizeof(m->reserved));
	case HV_GROUP_CLOCK:
		return hv_zero(c->reserved, sizeof(c->reserved));
	case HV_GROUP_APIC_TIMER:
		return hv_zero(t->reserved, sizeof(t->reserved));
	}
	return true;	/* registers are masked, an APIC page too; hv_fpu_set() looks itself */
}

static void set_regs(struct hv_vcpu *v, const void *src)
{
	memcpy(&v->regs, src, sizeof(v->regs));
	v->regs.rflags = (v->regs.rflags & HV_RFLAGS_ALLOWED) | X86_EFLAGS_FIXED;
}

static void copy(struct hv_vcpu *v, u64 groups)
{
	int i;

	for (i = 0; i < HV_GROUP_COUNT; i++)
		if (groups & HV_GROUP(i))
			memcpy(v->scratch + hv_host.group[i].offset, area(v, i),
			       hv_host.group[i].size);
	barrier();	/* the copy is what is looked at from here on */
}

int hv_state_set(struct hv_vcpu *v, u64 groups)
{
	const struct hv_control *c;
	int ret = 0, i;

#define COPY(g) (v->scratch + hv_host.group[g].offset)
#define HAS(g) (groups & HV_GROUP(g))
	if (groups == HV_GROUP(HV_GROUP_REGS)) {
		set_regs(v, area(v, HV_GROUP_REGS));
		return 0;
	}
	if (groups & ~HV_GROUPS_ALL)
		return -EINVAL;
	copy(v, groups);
	c = COPY(HV_GROUP_CONTROL);

	for (i = 0; i < HV_GROUP_COUNT; i++)
		if (HAS(i) && !group_valid(v, i, COPY(i)))
			return -EINVAL;
	/* These two can refuse, and do so before anything else has changed. */
	if (HAS(HV_GROUP_XSAVE))
		ret = hv_fpu_set(v, COPY(HV_GROUP_XSAVE));
	if (!ret && HAS(HV_GROUP_CONTROL))
		ret = hv_lapic_set_base(v, c->apic_base, true);
	if (ret)
		return ret;

	if (HAS(HV_GROUP_REGS))
		set_regs(v, COPY(HV_GROUP_REGS));
	if (HAS(HV_GROUP_SEGS))
		hv_ops->set_segs(v, COPY(HV_GROUP_SEGS));
	if (HAS(HV_GROUP_CONTROL)) {
		v->cr0 = c->cr0 | X86_CR0_ET;
		v->cr2 = c->cr2;
		v->cr3 = c->cr3;
		v->cr4 = c->cr4;
		v->efer = c->efer;
		v->xcr0 = c->xcr0;
		for (i = 0; i < 4; i++)
			v->pdpte[i] = pdpte_clean(v, c->pdpte[i]);
		/* Made without them: as if CR3 had just been loaded. */
		if (hv_ops->keeps_pdptes && hv_zero(c->pdpte, sizeof(c->pdpte)))
			hv_request(v, HV_REQ_PDPTE);
		hv_ops->set_control(v);
		v->flushed_gen = 0;
	}
	if (HAS(HV_GROUP_DEBUG)) {
		memcpy(&v->debug, COPY(HV_GROUP_DEBUG), sizeof(v->debug));
		hv_debug_set(v);
	}
	if (HAS(HV_GROUP_MSRS)) {
		memcpy(&v->msrs, COPY(HV_GROUP_MSRS), sizeof(v->msrs));
		hv_ops->set_msrs(v);
	}
	if (HAS(HV_GROUP_EVENTS)) {
		/* NMIs that arrived since the group was read stay queued. */
		memcpy(&v->ev, COPY(HV_GROUP_EVENTS), sizeof(v->ev));
		hv_ops->set_nmi_masked(v, v->ev.nmi_masked);
		hv_ops->set_shadow(v, v->ev.shadow);
	}
	if (HAS(HV_GROUP_MP)) {
		memcpy(&v->mp, COPY(HV_GROUP_MP), sizeof(v->mp));
		/* A kick that arrived since the group was read stays, as NMIs do. */
		if (v->mp.pv_unhalt)
			WRITE_ONCE(v->pv_unhalt, true);
		hv_request(v, HV_REQ_INITSIPI);	/* for what is latched in it */
	}
	if (HAS(HV_GROUP_CLOCK)) {
		memcpy(&v->clock, COPY(HV_GROUP_CLOCK), sizeof(v->clock));
		hv_clock_apply(v);
		hv_clock_restored(v);
	}
	if (HAS(HV_GROUP_APIC) || HAS(HV_GROUP_APIC_TIMER))
		hv_lapic_set(v, HAS(HV_GROUP_APIC) ? COPY(HV_GROUP_APIC) : NULL,
			     HAS(HV_GROUP_APIC_TIMER) ? COPY(HV_GROUP_APIC_TIMER) : NULL);
	/* CR8 is the APIC's TPR seen through another window: a whole page wins. */
	if (HAS(HV_GROUP_CONTROL) && !HAS(HV_GROUP_APIC))
		hv_lapic_set_cr8(v, c->cr8);
	hv_request(v, HV_REQ_EVENT);
	return 0;
#undef COPY
#undef HAS
}
