// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_lapic.c - the local APIC: registers, acceptance of messages, priority.
 *
 * SDM vol. 3 chapter 10 (xAPIC, 10.12 x2APIC); APM vol. 2 chapter 16. Integrated APIC version 0x14
 * with six LVTs; no directed EOI, no extended space, no remote read, no focus processor; a
 * redirectable IPI is ordinary. The APIC id is the vCPU's number and read-only.
 *
 * lapic_accept() runs in any context, hard interrupts included, and takes no lock.  The rest
 * belongs to the vCPU's thread, and most of it runs in the entry section: nothing here sleeps,
 * except hv_lapic_initsipi().
 */
#include "hv_lapic.h"

#define LAPIC_VERSION	(0x14 | (LAPIC_LVT_COUNT - 1) << 16)

#define ESR_SEND_VECTOR		5
#define ESR_RECEIVE_VECTOR	6
#define ESR_REGISTER		7

#define LVT_STATUS	(APIC_SEND_PENDING | APIC_LVT_REMOTE_IRR)	/* read-only bits */
#define SPIV_MASK	0x3ff
#define TDCR_MASK	0xb
#define ICR_RO		APIC_SEND_PENDING
#define ICR_MASK	0x000ccfffu	/* with delivery status, without bit 13 and 16, 17 */

static bool software_enabled(const struct hv_lapic *l)
{
	return lapic_reg(l, APIC_SPIV) & APIC_SPIV_APIC_ENABLED;
}

/* ---- IRR and ISR ---- */

static bool irr_set(struct hv_lapic *l, u8 vector)
{
	/* Who set the bit first also sets the summary and kicks. */
	if (test_and_set_bit(vector, l->posted))
		return false;
	/* Pairs with irr_highest() and hv_lapic_take(): bit before summary. */
	smp_mb__before_atomic();
	set_bit(vector >> 5, &l->irr_summary);
	return true;
}

/* A word of the IRR, with what was posted for it. */
static u32 irr_word(struct hv_lapic *l, int n)
{
	u32 *posted = (u32 *)l->posted + n, offset = APIC_IRR + n * 0x10;
	u32 bits = lapic_reg(l, offset);

	if (READ_ONCE(*posted)) {
		bits |= xchg(posted, 0);
		lapic_set_reg(l, offset, bits);
	}
	return bits;
}

/* One reader at a time: the vCPU's thread.  Not in direct mode. */
static int irr_highest(struct hv_lapic *l)
{
	unsigned long summary;
	u32 bits;
	int n;

	while ((summary = READ_ONCE(l->irr_summary)) != 0) {
		n = __fls(summary);
		bits = irr_word(l, n);
		if (bits)
			return n * 32 + __fls(bits);
		clear_bit(n, &l->irr_summary);
		/* Pairs with irr_set(): a bit set before this is seen here, one
		 * set after it sets the summary again. */
		smp_mb__after_atomic();
		if (irr_word(l, n))
			set_bit(n, &l->irr_summary);
	}
	return -1;
}

/* The same without a summary: the CPU changes words. */
static int irr_scan(struct hv_lapic *l)
{
	int n, highest = -1;
	u32 bits;

	for (n = 0; n < 8; n++) {
		bits = irr_word(l, n);
		if (bits)
			highest = n * 32 + __fls(bits);
	}
	return highest;
}

static int isr_highest(const struct hv_lapic *l)
{
	u32 summary = l->direct ? 0xff : l->isr_summary, bits;
	int n;

	for (; summary; summary &= ~BIT(n)) {
		n = __fls(summary);
		bits = lapic_reg(l, APIC_ISR + n * 0x10);
		if (bits)
			return n * 32 + __fls(bits);
	}
	return -1;
}

static void isr_set(struct hv_lapic *l, u8 vector)
{
	u32 offset = APIC_ISR + (vector >> 5) * 0x10;

	lapic_set_reg(l, offset, lapic_reg(l, offset) | BIT(vector & 31));
	l->isr_summary |= BIT(vector >> 5);
}

static void isr_clear(struct hv_lapic *l, u8 vector)
{
	u32 offset = APIC_ISR + (vector >> 5) * 0x10, bits = lapic_reg(l, offset);

	bits &= ~(u32)BIT(vector & 31);
	lapic_set_reg(l, offset, bits);
	if (!bits)
		l->isr_summary &= ~BIT(vector >> 5);
}

/* The mode or all registers are new: who delivers, what is in service, and all to be looked at. */
static void changed(struct hv_lapic *l)
{
	int n;

	/* Software-disabled it takes no IPI, not even its own, which the CPU would let through. */
	l->direct = hv_ops->direct_apic && l->x2 && software_enabled(l);
	l->isr_summary = 0;
	for (n = 0; n < 8; n++)
		if (lapic_reg(l, APIC_ISR + n * 0x10))
			l->isr_summary |= BIT(n);
	smp_mb();
	xchg(&l->irr_summary, 0xff);
}

static void set_ppr(struct hv_lapic *l)
{
	u32 tpr = lapic_reg(l, APIC_TASKPRI);
	int isr = isr_highest(l);

	isr = isr < 0 ? 0 : isr & 0xf0;
	lapic_set_reg(l, APIC_PROCPRI, (tpr & 0xf0) >= isr ? tpr : isr);
}

/* ---- what the entry path asks ---- */

bool hv_lapic_idle(struct hv_vcpu *v)
{
	return !READ_ONCE(v->lapic->irr_summary);
}

static bool above_ppr(const struct hv_lapic *l, int vector)
{
	return vector >= 0 && (vector & 0xf0) > (lapic_reg(l, APIC_PROCPRI) & 0xf0) && l->enabled;
}

int hv_lapic_pending(struct hv_vcpu *v)
{
	struct hv_lapic *l = v->lapic;
	int vector;

	if (likely(!READ_ONCE(l->irr_summary)) || l->direct)
		return -1;
	vector = irr_highest(l);
	return above_ppr(l, vector) ? vector : -1;
}

bool hv_lapic_wakes(struct hv_vcpu *v)
{
	struct hv_lapic *l = v->lapic;

	return l->direct ? above_ppr(l, irr_scan(l)) : hv_lapic_pending(v) >= 0;
}

int hv_lapic_ack(struct hv_vcpu *v)
{
	struct hv_lapic *l = v->lapic;
	int vector = hv_lapic_pending(v);
	u32 offset = APIC_IRR + (vector >> 5) * 0x10;

	/* Only this thread takes bits away, so what was pending still is. */
	if (WARN_ON_ONCE(vector < 0))
		return lapic_reg(l, APIC_SPIV) & APIC_VECTOR_MASK;
	lapic_set_reg(l, offset, lapic_reg(l, offset) & ~(u32)BIT(vector & 31));
	isr_set(l, vector);
	set_ppr(l);
	return vector;
}

u32 hv_lapic_take(struct hv_vcpu *v)
{
	struct hv_lapic *l = v->lapic;
	int irr, isr = isr_highest(l);

	/* Before the bits are looked at: whoever posts later sets it again. */
	xchg(&l->irr_summary, 0);
	irr = irr_scan(l);
	return (isr < 0 ? 0 : isr << 8) | (irr < 0 ? 0 : irr);
}

bool hv_lapic_direct(struct hv_vcpu *v)
{
	return v->lapic->direct;
}

void *hv_lapic_page(struct hv_vcpu *v)
{
	return v->lapic->page;
}

int hv_lapic_max_irr(struct hv_vcpu *v)
{
	return irr_highest(v->lapic);
}

bool hv_lapic_extint_ok(struct hv_vcpu *v)
{
	const struct hv_lapic *l = v->lapic;
	u32 lvt = lapic_reg(l, APIC_LVT0);

	/* Switched off, the APIC's LINT0 pin is the CPU's INTR pin. */
	if (!READ_ONCE(l->enabled))
		return true;
	return !(lvt & APIC_LVT_MASKED) && LVT_MODE(lvt) == DM_EXTINT;
}

u64 hv_lapic_get_cr8(struct hv_vcpu *v)
{
	return lapic_reg(v->lapic, APIC_TASKPRI) >> 4 & 0xf;
}

void hv_lapic_set_cr8(struct hv_vcpu *v, u64 cr8)
{
	lapic_set_reg(v->lapic, APIC_TASKPRI, (cr8 & 0xf) << 4);
	set_ppr(v->lapic);
}

u64 hv_lapic_gpa(struct hv_vcpu *v)
{
	const struct hv_lapic *l = v->lapic;

	return l->enabled && !l->x2 ? v->apic_base & PAGE_MASK : ~0ULL;
}

/* ---- acceptance: any context ---- */

static void notify(struct hv_vcpu *v, struct hv_vcpu *from, int req)
{
	/* Its own thread looks at the IRR before it enters, without being told. */
	if (v == from && req == HV_REQ_EVENT)
		return;
	hv_request(v, req);
	if (v != from)
		hv_vcpu_kick(v);
}

static void lapic_error(struct hv_lapic *l, int bit, struct hv_vcpu *from)
{
	u32 lvt = lapic_reg(l, APIC_LVTERR);

	set_bit(bit, &l->esr_pending);
	if ((lvt & APIC_LVT_MASKED) || !software_enabled(l))
		return;
	/* Not through lapic_accept(): an illegal vector there would come back. */
	if ((lvt & APIC_VECTOR_MASK) < 16) {
		set_bit(ESR_RECEIVE_VECTOR, &l->esr_pending);
		return;
	}
	if (irr_set(l, lvt & APIC_VECTOR_MASK))
		notify(l->v, from, HV_REQ_EVENT);
}

bool lapic_accept(struct hv_vcpu *v, struct hv_vcpu *from, const struct hv_irq_msg *m)
{
	struct hv_lapic *l = v->lapic;
	unsigned long *tmr;

	switch (m->delivery) {
	case DM_FIXED:
	case DM_LOWEST:
		if (!software_enabled(l))
			return false;
		if (m->vector < 16) {
			lapic_error(l, ESR_RECEIVE_VECTOR, from);
			return false;
		}
		/* Before the IRR bit: EOI looks at what the last message said. */
		tmr = lapic_word(l, APIC_TMR, m->vector);
		if (m->level)
			set_bit(m->vector & 31, tmr);
		else if (test_bit(m->vector & 31, tmr))
			clear_bit(m->vector & 31, tmr);
		if (irr_set(l, m->vector))
			notify(v, from, HV_REQ_EVENT);
		return true;
	case DM_NMI:
		atomic_inc(&v->nmi_queued);
		notify(v, from, HV_REQ_NMI);
		return true;
	case DM_INIT:
		/* Level de-assert only ever synchronised arbitration ids. */
		if (m->level && !m->assert)
			return false;
		/* A start-up that came before it is void. */
		xchg(&l->events, BIT(LAPIC_EVENT_INIT));
		notify(v, from, HV_REQ_INITSIPI);
		return true;
	case DM_SIPI:
		WRITE_ONCE(l->sipi_vector, m->vector);
		/* Pairs with take_events(): the vector before the event. */
		smp_mb__before_atomic();
		set_bit(LAPIC_EVENT_SIPI, &l->events);
		notify(v, from, HV_REQ_INITSIPI);
		return true;
	}
	/* SMI: no system management mode here.  ExtINT: the 8259 has its own
	 * line (contract 1).  3: reserved. */
	return false;
}

void lapic_local_deliver(struct hv_lapic *l, u32 lvt_offset, struct hv_vcpu *from)
{
	u32 lvt = lapic_reg(l, lvt_offset);
	struct hv_irq_msg m = { .vector = lvt, .delivery = LVT_MODE(lvt), .assert = true };

	if (lvt & APIC_LVT_MASKED)
		return;
	if (lvt_offset == APIC_LVT0 || lvt_offset == APIC_LVT1)
		m.level = m.delivery == DM_FIXED && (lvt & APIC_LVT_LEVEL_TRIGGER);
	else if (lvt_offset == APIC_LVTT || lvt_offset == APIC_LVTERR)
		m.delivery = DM_FIXED;
	lapic_accept(l->v, from, &m);
}

/* ---- INIT and SIPI ---- */

/* Move what has arrived into v->mp, where it is state to be saved. */
static void take_events(struct hv_vcpu *v)
{
	unsigned long ev = xchg(&v->lapic->events, 0);

	if (ev & BIT(LAPIC_EVENT_INIT)) {
		v->mp.init_latched = 1;
		v->mp.sipi_latched = 0;
	}
	if (ev & BIT(LAPIC_EVENT_SIPI)) {
		v->mp.sipi_latched = 1;
		v->mp.sipi_vector = READ_ONCE(v->lapic->sipi_vector);
	}
}

void hv_lapic_initsipi_sync(struct hv_vcpu *v)
{
	take_events(v);
	if (v->mp.init_latched || v->mp.sipi_latched)
		hv_request(v, HV_REQ_INITSIPI);
}

void hv_lapic_initsipi(struct hv_vcpu *v)
{
	take_events(v);
	if (v->mp.init_latched) {
		v->mp.init_latched = 0;
		hv_vcpu_reset(v, true);
		/* The bootstrap processor starts over, the others wait to be started. */
		v->mp.state = v->apic_base & MSR_IA32_APICBASE_BSP ? HV_MP_RUNNABLE
								   : HV_MP_WAIT_SIPI;
	}
	if (v->mp.sipi_latched) {
		v->mp.sipi_latched = 0;
		if (v->mp.state == HV_MP_WAIT_SIPI)
			hv_vcpu_sipi(v, v->mp.sipi_vector);
	}
}

/* ---- ICR ---- */

static void icr_send(struct hv_lapic *l, u32 icr, u32 dest)
{
	struct hv_vcpu *v = l->v;
	struct hv_irq_msg m = {
		.dest = dest,
		.vector = icr & APIC_VECTOR_MASK,
		.delivery = icr >> 8 & 7,
		.shorthand = icr >> 18 & 3,
		.logical = icr & APIC_DEST_LOGICAL,
		.assert = icr & APIC_INT_ASSERT,
		.x2 = l->x2,
		.broadcast_ff = !l->x2,
	};

	v->stat[HV_STAT_IPIS]++;
	/* The trigger mode counts for INIT de-assert only; an IPI is an edge. */
	m.level = m.delivery == DM_INIT && (icr & APIC_INT_LEVELTRIG);
	if (m.delivery <= DM_LOWEST && m.vector < 16) {
		lapic_error(l, ESR_SEND_VECTOR, v);
		return;
	}
	if (m.shorthand == 1 || (!m.shorthand && !m.logical && dest == v->id))
		lapic_accept(v, v, &m);
	else
		hv_irq_deliver(v->vm, v, &m);
}

/* ---- registers ---- */

static bool is_lvt(u32 offset)
{
	return offset >= APIC_LVTT && offset <= APIC_LVTERR;
}

static u32 lvt_mask(const struct hv_lapic *l, u32 offset)
{
	const u32 all = APIC_VECTOR_MASK | APIC_SEND_PENDING | APIC_LVT_MASKED;

	switch (offset) {
	case APIC_LVTT:
		return all | APIC_LVT_TIMER_PERIODIC |
		       (l->v->vm->guest_tsc_deadline ? APIC_LVT_TIMER_TSCDEADLINE : 0);
	case APIC_LVTERR:
		return all;
	case APIC_LVT0: case APIC_LVT1:
		return all | APIC_MODE_MASK | APIC_INPUT_POLARITY | APIC_LVT_REMOTE_IRR |
		       APIC_LVT_LEVEL_TRIGGER;
	}
	return all | APIC_MODE_MASK;
}

static void write_lvt(struct hv_lapic *l, u32 offset, u32 val)
{
	val &= lvt_mask(l, offset) & ~LVT_STATUS;
	if (!software_enabled(l))
		val |= APIC_LVT_MASKED;
	if (offset == APIC_LVTT) {
		if (LVT_TIMER_MODE(val) == 3)
			val &= ~(APIC_LVT_TIMER_PERIODIC | APIC_LVT_TIMER_TSCDEADLINE);
		lapic_timer_write_lvt(l, val);
		return;
	}
	lapic_set_reg(l, offset, val);
}

static void write_spiv(struct hv_lapic *l, u32 val)
{
	u32 offset;

	lapic_set_reg(l, APIC_SPIV, val & SPIV_MASK);
	/* Software disable masks every LVT and keeps them so; IRR and ISR stay. */
	if (!(val & APIC_SPIV_APIC_ENABLED))
		for (offset = APIC_LVTT; offset <= APIC_LVTERR; offset += 0x10)
			write_lvt(l, offset, lapic_reg(l, offset));
	changed(l);
}

int hv_lapic_eoi_done(struct hv_vcpu *v, u8 vector)
{
	if (likely(!test_bit(vector & 31, lapic_word(v->lapic, APIC_TMR, vector))))
		return HV_ENTER;
	/* Level: userspace's I/O APIC has to know (contract 1). */
	v->eoi_vector = vector;
	v->run->eoi.vector = vector;
	v->run->eoi.reserved = 0;
	v->run->exit_reason = HV_EXIT_EOI;
	return HV_USER;
}

static int write_eoi(struct hv_lapic *l)
{
	int vector = isr_highest(l);

	if (vector < 0)
		return HV_ENTER;
	isr_clear(l, vector);
	set_ppr(l);
	return hv_lapic_eoi_done(l->v, vector);
}

static u32 reg_read(struct hv_lapic *l, u32 offset)
{
	switch (offset) {
	case APIC_TMCCT:
		return lapic_timer_count(l);
	case APIC_ARBPRI: case APIC_EOI: case APIC_SELF_IPI:
		return 0;
	case APIC_IRR ... APIC_IRR + 0x7f:
		return irr_word(l, (offset - APIC_IRR) >> 4);
	}
	return lapic_reg(l, offset);
}

/* Both modes; reserved bits have been dealt with.  -ENXIO: not a register. */
static int reg_write(struct hv_lapic *l, u32 offset, u32 val)
{
	switch (offset) {
	case APIC_TASKPRI:
		lapic_set_reg(l, APIC_TASKPRI, val & 0xff);
		set_ppr(l);
		return HV_ENTER;
	case APIC_EOI:
		return write_eoi(l);
	case APIC_SPIV:
		write_spiv(l, val);
		return HV_ENTER;
	case APIC_ESR:
		/* What has piled up since the last write can be read now. */
		lapic_set_reg(l, APIC_ESR, xchg(&l->esr_pending, 0));
		return HV_ENTER;
	case APIC_TMICT:
		lapic_timer_write_count(l, val);
		return HV_ENTER;
	case APIC_TDCR:
		lapic_timer_write_divide(l, val & TDCR_MASK);
		return HV_ENTER;
	}
	if (!is_lvt(offset))
		return -ENXIO;
	write_lvt(l, offset, val);
	return HV_ENTER;
}

#define REG(offset)	(1ULL << ((offset) >> 4))
#define REGS8(offset)	(0xffULL << ((offset) >> 4))
#define READABLE_X2	(REG(APIC_ID) | REG(APIC_LVR) | REG(APIC_TASKPRI) | REG(APIC_PROCPRI) | \
			 REG(APIC_LDR) | REG(APIC_SPIV) | REGS8(APIC_ISR) | REGS8(APIC_TMR) |	\
			 REGS8(APIC_IRR) | REG(APIC_ESR) | REG(APIC_ICR) | REG(APIC_LVTT) |	\
			 REG(APIC_LVTTHMR) | REG(APIC_LVTPC) | REG(APIC_LVT0) |			\
			 REG(APIC_LVT1) | REG(APIC_LVTERR) | REG(APIC_TMICT) |			\
			 REG(APIC_TMCCT) | REG(APIC_TDCR))
/* A load from the page is all that reading them is. */
const u64 hv_lapic_plain = READABLE_X2 & ~(REG(APIC_ICR) | REG(APIC_TMCCT));
#define READABLE_XAPIC	(READABLE_X2 | REG(APIC_ARBPRI) | REG(APIC_EOI) | REG(APIC_DFR) |	\
			 REG(APIC_ICR2))

int hv_lapic_read(struct hv_vcpu *v, u32 offset, u32 *val)
{
	struct hv_lapic *l = v->lapic;

	*val = 0;
	if (!l->enabled || l->x2)
		return -EINVAL;
	if ((offset & 0xf) || offset >= 0x400 || !(READABLE_XAPIC & REG(offset))) {
		lapic_error(l, ESR_REGISTER, v);
		return HV_ENTER;
	}
	*val = reg_read(l, offset);
	return HV_ENTER;
}

int hv_lapic_write(struct hv_vcpu *v, u32 offset, u32 val)
{
	struct hv_lapic *l = v->lapic;
	int ret;

	if (!l->enabled || l->x2)
		return -EINVAL;
	if ((offset & 0xf) || offset >= 0x400) {
		lapic_error(l, ESR_REGISTER, v);
		return HV_ENTER;
	}
	switch (offset) {
	case APIC_LDR:
		lapic_set_reg(l, APIC_LDR, val & 0xff000000);
		hv_irq_map_vcpu(v);
		return HV_ENTER;
	case APIC_DFR:
		lapic_set_reg(l, APIC_DFR, val | 0x0fffffff);
		hv_irq_map_vcpu(v);
		return HV_ENTER;
	case APIC_ICR:
		lapic_set_reg(l, APIC_ICR, val & ICR_MASK & ~ICR_RO);
		icr_send(l, val, lapic_reg(l, APIC_ICR2) >> 24);
		return HV_ENTER;
	case APIC_ICR2:
		lapic_set_reg(l, APIC_ICR2, val & 0xff000000);
		return HV_ENTER;
	}
	ret = reg_write(l, offset, val);
	if (ret == -ENXIO) {
		/* Read-only registers take a write without a word. */
		if (!(READABLE_XAPIC & REG(offset)))
			lapic_error(l, ESR_REGISTER, v);
		return HV_ENTER;
	}
	return ret;
}

int hv_lapic_msr_read(struct hv_vcpu *v, u32 msr, u64 *data)
{
	struct hv_lapic *l = v->lapic;
	u32 offset = (msr - APIC_BASE_MSR) << 4;

	if (!l->enabled || !l->x2 || offset >= 0x400 || !(READABLE_X2 & REG(offset)))
		return -EINVAL;
	*data = reg_read(l, offset);
	if (offset == APIC_ICR)
		*data |= (u64)lapic_reg(l, APIC_ICR2) << 32;
	return HV_ENTER;
}

/* Bits that may be set in a write, in x2APIC mode; the others are #GP. */
static u32 x2_writable(const struct hv_lapic *l, u32 offset)
{
	switch (offset) {
	case APIC_TASKPRI:
		return 0xff;
	case APIC_SPIV:
		return SPIV_MASK;
	case APIC_TMICT:
		return ~0u;
	case APIC_TDCR:
		return TDCR_MASK;
	}
	return is_lvt(offset) ? lvt_mask(l, offset) : 0;
}

int hv_lapic_msr_write(struct hv_vcpu *v, u32 msr, u64 data)
{
	struct hv_lapic *l = v->lapic;
	u32 offset = (msr - APIC_BASE_MSR) << 4, val = data;
	int ret;

	if (!l->enabled || !l->x2 || offset >= 0x400)
		return -EINVAL;
	if (offset == APIC_ICR) {
		if (val & ~ICR_MASK)
			return -EINVAL;
		lapic_set_reg(l, APIC_ICR, val & ~ICR_RO);
		lapic_set_reg(l, APIC_ICR2, data >> 32);
		icr_send(l, val, data >> 32);
		return HV_ENTER;
	}
	if (data >> 32)
		return -EINVAL;
	if (offset == APIC_SELF_IPI) {
		if (val & ~APIC_VECTOR_MASK)
			return -EINVAL;
		icr_send(l, val | APIC_DEST_SELF, 0);
		return HV_ENTER;
	}
	if (val & ~x2_writable(l, offset))
		return -EINVAL;
	if (offset == APIC_LVTT && LVT_TIMER_MODE(val) == 3)
		return -EINVAL;
	ret = reg_write(l, offset, val);
	return ret == -ENXIO ? -EINVAL : ret;
}

/* ---- modes, reset ---- */

static u32 x2_ldr(u32 id)
{
	return (id >> 4) << 16 | 1u << (id & 0xf);
}

/* Registers that the mode decides. */
static void set_ids(struct hv_lapic *l)
{
	u32 id = l->v->id;

	lapic_set_reg(l, APIC_ID, l->x2 ? id : id << 24);
	if (l->x2) {
		lapic_set_reg(l, APIC_LDR, x2_ldr(id));
		lapic_set_reg(l, APIC_DFR, 0xffffffff);
		lapic_set_reg(l, APIC_ICR2, 0);
	}
}

static void drop_posted(struct hv_lapic *l)
{
	int n;

	for (n = 0; n < BITS_TO_LONGS(256); n++)
		xchg(&l->posted[n], 0);
}

static void clear_registers(struct hv_lapic *l)
{
	u32 offset;

	lapic_timer_stop(l);
	drop_posted(l);
	for (offset = 0; offset < 0x400; offset += 0x10)
		lapic_set_reg(l, offset, offset == APIC_DFR ? 0xffffffff :
					 offset == APIC_LVR ? LAPIC_VERSION :
					 offset == APIC_SPIV ? 0xff :
					 is_lvt(offset) ? APIC_LVT_MASKED : 0);
	changed(l);
	l->esr_pending = 0;
	set_ids(l);
	set_ppr(l);
}

static void set_mode(struct hv_lapic *l, u64 base)
{
	l->v->apic_base = base;
	WRITE_ONCE(l->enabled, base & MSR_IA32_APICBASE_ENABLE);
	l->x2 = base & X2APIC_ENABLE;
	changed(l);
}

void hv_lapic_reset(struct hv_vcpu *v, bool init)
{
	struct hv_lapic *l = v->lapic;

	/* INIT leaves IA32_APIC_BASE, and so the mode, as it is. */
	if (!init) {
		set_mode(l, APIC_DEFAULT_PHYS_BASE | MSR_IA32_APICBASE_ENABLE |
			    (v->id ? 0 : MSR_IA32_APICBASE_BSP));
		xchg(&l->events, 0);
	}
	clear_registers(l);
	/* Virtual wire, as firmware leaves it to what is loaded without firmware. */
	if (!init && !v->id)
		lapic_set_reg(l, APIC_LVT0, DM_EXTINT << 8);
	hv_irq_map_vcpu(v);
}

/*
 * SDM vol. 3 10.12.5: off to xAPIC to x2APIC to off.  The host may set any
 * state that exists.
 */
int hv_lapic_set_base(struct hv_vcpu *v, u64 base, bool host)
{
	const u64 flags = MSR_IA32_APICBASE_BSP | MSR_IA32_APICBASE_ENABLE | X2APIC_ENABLE;
	struct hv_lapic *l = v->lapic;
	bool on = base & MSR_IA32_APICBASE_ENABLE, x2 = base & X2APIC_ENABLE;
	bool was_x2 = l->x2;

	if ((base >> v->vm->gpa_bits) || (base & ~PAGE_MASK & ~flags))
		return -EINVAL;
	if (x2 && (!on || !v->vm->guest_x2apic))
		return -EINVAL;
	if (!host) {
		if ((x2 && !l->enabled) || (l->x2 && on && !x2))
			return -EINVAL;
		/* Which processor booted is not the guest's to say. */
		base = (base & ~(u64)MSR_IA32_APICBASE_BSP) | (v->apic_base & MSR_IA32_APICBASE_BSP);
	}
	if (base == v->apic_base)
		return 0;
	if (l->enabled && !on) {
		/* Off means reset: nothing survives, no message is taken. */
		set_mode(l, base);
		hv_irq_map_vcpu(v);
		clear_registers(l);
		return 0;
	}
	/* A message on its way while the APIC went off may have left a bit. */
	if (!l->enabled)
		clear_registers(l);
	set_mode(l, base);
	if (x2 != was_x2) {
		if (!x2)
			lapic_set_reg(l, APIC_LDR, 0);
		set_ids(l);
	}
	hv_irq_map_vcpu(v);
	return 0;
}

/* ---- state in and out ---- */

void hv_lapic_get(struct hv_vcpu *v, void *page, struct hv_apic_timer *t)
{
	struct hv_lapic *l = v->lapic;
	u32 offset;

	if (page) {
		memset(page, 0, PAGE_SIZE);
		for (offset = 0; offset < 0x400; offset += 0x10)
			*(u32 *)(page + offset) = reg_read(l, offset);
	}
	if (t)
		lapic_timer_get(l, t);
}

static u32 page_mask(const struct hv_lapic *l, u32 offset)
{
	switch (offset) {
	case APIC_LDR:
		return 0xff000000;
	case APIC_DFR:
		return ~0u;
	case APIC_ESR:
		return 0xf0;
	case APIC_ICR:
		return ICR_MASK & ~ICR_RO;
	case APIC_ICR2:
		return l->x2 ? ~0u : 0xff000000;
	case APIC_ISR: case APIC_TMR: case APIC_IRR:
		return 0xffff0000;	/* vectors 0 to 15 do not exist */
	}
	if ((REGS8(APIC_ISR) | REGS8(APIC_TMR) | REGS8(APIC_IRR)) & REG(offset))
		return ~0u;
	return is_lvt(offset) ? lvt_mask(l, offset) & ~LVT_STATUS : x2_writable(l, offset);
}

static void set_page(struct hv_lapic *l, const void *page)
{
	u32 offset, val, icr2 = *(u32 *)(page + APIC_ICR2);

	lapic_timer_stop(l);
	drop_posted(l);
	for (offset = 0; offset < 0x400; offset += 0x10) {
		if (offset == APIC_ID || offset == APIC_LVR)
			continue;
		val = *(u32 *)(page + offset) & page_mask(l, offset);
		if (offset == APIC_DFR)
			val |= 0x0fffffff;
		if (offset == APIC_LVTT && LVT_TIMER_MODE(val) == 3)
			val &= ~(APIC_LVT_TIMER_PERIODIC | APIC_LVT_TIMER_TSCDEADLINE);
		lapic_set_reg(l, offset, val);
	}
	set_ids(l);
	lapic_set_reg(l, APIC_ICR2, icr2 & page_mask(l, APIC_ICR2));
	changed(l);
	l->esr_pending = 0;
	set_ppr(l);
	hv_irq_map_vcpu(l->v);
	lapic_timer_restore(l, *(u32 *)(page + APIC_TMCCT));
}

void hv_lapic_set(struct hv_vcpu *v, const void *page, const struct hv_apic_timer *t)
{
	struct hv_lapic *l = v->lapic;

	if (page && l->enabled)
		set_page(l, page);
	if (t)
		lapic_timer_set(l, t);
}

/* ---- creation ---- */

int hv_lapic_create(struct hv_vcpu *v)
{
	struct hv_lapic *l = hv_alloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	v->lapic = l;
	l->v = v;
	lapic_timer_init(l);
	/* A whole page, so page-aligned: the bit operations rely on it. */
	l->page = hv_alloc(PAGE_SIZE);
	return l->page ? 0 : -ENOMEM;
}

/* No delivery can be under way: the VM's last fd is closed. */
void hv_lapic_destroy(struct hv_vcpu *v)
{
	struct hv_lapic *l = v->lapic;

	if (!l)
		return;
	hrtimer_cancel(&l->timer);
	hv_free(l->page);
	hv_free(l);
}
