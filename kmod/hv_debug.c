// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_debug.c - debug registers: the guest's MOV DR, and the host's own breakpoints around a stay
 * in the guest.
 *
 * SDM vol. 3 chapter 17; APM vol. 2 section 13.1.1, 15.8.2.  Both vendors' entries switch DR7 and
 * leave the addresses alone, and the exit clears DR7. All of it runs in the section.
 */
#include "hv.h"

#define DR6_BD		BIT(13)
#define DR6_WRITABLE	0x0000e00fu
#define DR7_ONES	0x00000400u
#define DR7_ZEROES	0x0000d800u
#define DR7_ENABLES	0xff

static void write_addresses(const u64 *dr)
{
	int i;

	for (i = 0; i < 4; i++)
		native_set_debugreg(i, dr[i]);
}

/*
 * Guest addresses are loaded only while guest breakpoints are armed, and with
 * the host's DR7 off, or the guest would choose where the host traps.
 */
void hv_debug_load_armed(struct hv_vcpu *v, struct hv_host_debug *h)
{
	int i;

	if (!(v->debug.dr7 & DR7_ENABLES))
		return;
	if (h->dr7 & DR7_ENABLES) {
		h->saved = true;
		for (i = 0; i < 4; i++)
			h->dr[i] = native_get_debugreg(i);
	}
	native_set_debugreg(7, DR7_ONES);
	write_addresses(v->debug.dr);
}

void hv_debug_restore_armed(const struct hv_host_debug *h)
{
	if (h->saved)
		write_addresses(h->dr);
	native_set_debugreg(7, h->dr7);
}

void hv_debug_set(struct hv_vcpu *v)
{
	v->debug.dr6 = (v->debug.dr6 & DR6_WRITABLE) | DR6_RESERVED;
	v->debug.dr7 = ((u32)v->debug.dr7 & ~DR7_ZEROES) | DR7_ONES;
	hv_ops->set_debug(v);
}

/* @dr as encoded; @gpr: the other operand's number. */
int hv_exit_mov_dr(struct hv_vcpu *v, int dr, bool write, int gpr, u64 next_rip)
{
	bool wide = hv_in_64bit(v);
	u64 val;

	if (dr == 4 || dr == 5) {
		if (v->cr4 & X86_CR4_DE)
			return hv_exit_ud(v);
		dr += 2;
	}
	/* The CPU should have seen to that, but Bochs lets the exit go first. */
	if (hv_ops->get_cpl(v))
		return hv_exit_gp(v);
	hv_ops->get_debug(v);
	if (v->debug.dr7 & DR7_GD) {
		hv_queue_db(v, DR6_BD);
		return HV_ENTER;
	}
	if (!write) {
		val = dr < 4 ? v->debug.dr[dr] : dr == 6 ? v->debug.dr6 : v->debug.dr7;
		hv_write_gpr(v, gpr, val, wide ? 8 : 4);
	} else {
		val = v->regs.gpr[gpr];
		if (!wide)
			val = (u32)val;
		if (dr >= 6 && val >> 32)
			return hv_exit_gp(v);
		if (dr < 4)
			v->debug.dr[dr] = val;
		else if (dr == 6)
			v->debug.dr6 = val;
		else
			v->debug.dr7 = val;
		hv_debug_set(v);
	}
	hv_retire(v, next_rip);
	return HV_ENTER;
}
