/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hv_ops.h - what a backend does for the vendor-free files: HV_OP(result, name, arguments).
 *
 * Included with HV_OP defined as what is wanted of each: hv.h makes it the pointers of struct
 * hv_ops, a backend the declarations of its functions, PREFIX_name, and then its table.
 */

/* hv_hw.c; cpu_* run on the CPU with interrupts off. */
HV_OP(int, check, (u32 *status))	/* can this CPU do it: 0 and *status, or -ENODEV */
HV_OP(int, setup, (void))		/* once at insmod: permission maps, capabilities */
HV_OP(void, cleanup, (void))
HV_OP(int, cpu_enable, (void))		/* -EBUSY: somebody else has it on */
HV_OP(void, cpu_disable, (void))	/* only what cpu_enable switched on */
HV_OP(bool, cpu_in_use, (void))		/* any context: on, and not by us */
HV_OP(void, info, (struct hv_info *info))	/* hw_features, mitigations, npt_levels */

HV_OP(int, vcpu_create, (struct hv_vcpu *v))
HV_OP(void, vcpu_destroy, (struct hv_vcpu *v))
HV_OP(void, vcpu_load, (struct hv_vcpu *v, int cpu))	/* preemption off */
HV_OP(void, vcpu_put, (struct hv_vcpu *v))

/*
 * Section: enter the guest once and return after its exit, GPRs, rip, rflags, cr2, cr3 stored in
 * @v; host interrupts still off.  Flushes the tagged TLB first when v->flushed_gen is behind, and
 * sets it.
 */
HV_OP(void, enter, (struct hv_vcpu *v))
/* Section: classify the exit; may finish it (HV_ENTER) without sleeping. */
HV_OP(int, fast_exit, (struct hv_vcpu *v))
/* Interrupts on, may sleep; for an exit that fast_exit called HV_SLOW. */
HV_OP(int, slow_exit, (struct hv_vcpu *v))

/* Section or not: an exit, or what it did, that was not foreseen; HV_EXIT_INTERNAL. */
HV_OP(int, unexpected, (struct hv_vcpu *v))

/* State; with the vCPU loaded, outside the section unless said otherwise. */
HV_OP(void, get_segs, (struct hv_vcpu *v, struct hv_segs *s))
HV_OP(void, set_segs, (struct hv_vcpu *v, const struct hv_segs *s))
HV_OP(void, get_seg, (struct hv_vcpu *v, int n, struct hv_seg *s))	/* section too */
HV_OP(int, get_cpl, (struct hv_vcpu *v))				/* section too */
HV_OP(void, set_control, (struct hv_vcpu *v))	/* push cr0..cr4, efer; section too */
HV_OP(void, get_debug, (struct hv_vcpu *v))	/* refresh v->dr6, dr7 */
HV_OP(void, set_debug, (struct hv_vcpu *v))	/* after hv_debug_fix() */
HV_OP(void, get_msrs, (struct hv_vcpu *v))	/* refresh v->msrs */
HV_OP(void, set_msrs, (struct hv_vcpu *v))
HV_OP(void, set_tsc_offset, (struct hv_vcpu *v, u64 offset))	/* section too */
HV_OP(u32, get_shadow, (struct hv_vcpu *v))	/* HV_SHADOW_*; section too */
HV_OP(void, set_shadow, (struct hv_vcpu *v, u32 shadow))	/* section too */

/* Events; section. */
HV_OP(void, inject, (struct hv_vcpu *v, u32 info))	/* HV_EV_*, of what is in v->ev */
HV_OP(void, set_irq_window, (struct hv_vcpu *v, bool on))
HV_OP(void, set_nmi_window, (struct hv_vcpu *v, bool on))
HV_OP(bool, get_nmi_masked, (struct hv_vcpu *v))
HV_OP(void, set_nmi_masked, (struct hv_vcpu *v, bool masked))
HV_OP(void, update_tpr, (struct hv_vcpu *v))	/* CR8 intercept from TPR and IRR */

/* Second-stage entry format (contract 11: host's encryption mask applied). */
HV_OP(u64, pte_table, (u64 pa))
HV_OP(u64, pte_leaf, (u64 pa, bool write, int level))	/* level 1..3; hv_nx_large */

#undef HV_OP
