/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hv_lapic.h - what hv_lapic.c, hv_timer.c and hv_irq.c share.
 *
 * Registers live in one page in the hardware's xAPIC layout, so that saving
 * is copying.  Who may write what:
 *   TMR, @posted, @irr_summary, @esr_pending, @events: any context, atomic bit
 *   operations.  Everything else: the vCPU's mutex, and readers elsewhere
 *   (delivery looks at SVR, LVT0, LVTERR, PPR) read one word.
 *
 * In direct mode (@direct) the page is the CPU's own while the guest runs: it delivers what is in
 * the IRR, keeps ISR and PPR, and serves the guest's TPR, EOI and self-IPI.  It need not do so by
 * atomic operations, which is why requests are posted beside the page and the vCPU's thread takes
 * them over.
 */
#ifndef HV_LAPIC_H
#define HV_LAPIC_H

#include <asm/apicdef.h>
#include "hv.h"

#define LAPIC_LVT_COUNT		6	/* timer, thermal, PMC, LINT0, LINT1, error */
#define LAPIC_EVENT_INIT	0
#define LAPIC_EVENT_SIPI	1

#define LVT_MODE(lvt)		((lvt) >> 8 & 7)
#define LVT_TIMER_MODE(lvt)	((lvt) >> 17 & 3)	/* 3 is never stored */
#define TIMER_PERIODIC		1
#define TIMER_DEADLINE		2

/* Delivery modes, as in an LVT, ICR or MSI. */
#define DM_FIXED	0
#define DM_LOWEST	1
#define DM_NMI		4
#define DM_INIT		5
#define DM_SIPI		6
#define DM_EXTINT	7

struct hv_lapic {
	struct hv_vcpu *v;
	u8 *page;

	/* Any context. */
	DECLARE_BITMAP(posted, 256);	/* requests that are not in the IRR yet */
	/* Bit n: word n of @posted or of the IRR may be non-zero; direct: the CPU has not been told. */
	unsigned long irr_summary;
	unsigned long events;		/* LAPIC_EVENT_*, not yet in v->mp */
	u32 sipi_vector;
	unsigned long esr_pending;	/* errors since ESR was last written */

	/* [vcpu->mutex] */
	bool enabled;			/* IA32_APIC_BASE.EN */
	bool x2;			/* IA32_APIC_BASE.EXTD */
	bool direct;			/* the CPU delivers from the page */
	u8 isr_summary;			/* bit n: ISR word n is non-zero; void if direct */

	/* hv_timer.c */
	struct hrtimer timer;
	u64 target;			/* CLOCK_MONOTONIC ns of the next expiry, 0: counter stopped */
	u64 period;			/* ns of a full count */
	u64 deadline;			/* guest TSC, 0: not armed */
};

static inline u32 lapic_reg(const struct hv_lapic *l, u32 offset)
{
	return READ_ONCE(*(u32 *)(l->page + offset));
}

static inline void lapic_set_reg(struct hv_lapic *l, u32 offset, u32 val)
{
	WRITE_ONCE(*(u32 *)(l->page + offset), val);
}

/* Words of the three bitmaps are 16 bytes apart, so the 8 bytes that the bit
 * operations touch are always theirs. */
static inline unsigned long *lapic_word(const struct hv_lapic *l, u32 base, u8 vector)
{
	return (unsigned long *)(l->page + base + (vector >> 5) * 0x10);
}

/* hv_lapic.c.  True when the APIC took the message; any context.  @from is the
 * vCPU whose thread this is, or NULL: it needs no kick. */
bool lapic_accept(struct hv_vcpu *v, struct hv_vcpu *from, const struct hv_irq_msg *m);
void lapic_local_deliver(struct hv_lapic *l, u32 lvt_offset, struct hv_vcpu *from);

/* hv_irq.c */
void hv_irq_map_vcpu(struct hv_vcpu *v);		/* its mode or logical id changed; any context */

/* hv_timer.c, all [vcpu->mutex]; those of the counter ignore deadline mode. */
void lapic_timer_init(struct hv_lapic *l);
void lapic_timer_stop(struct hv_lapic *l);		/* disarmed, and no callback runs */
void lapic_timer_write_lvt(struct hv_lapic *l, u32 lvt);
void lapic_timer_write_count(struct hv_lapic *l, u32 count);
void lapic_timer_write_divide(struct hv_lapic *l, u32 tdcr);
u32 lapic_timer_count(struct hv_lapic *l);
void lapic_timer_get(struct hv_lapic *l, struct hv_apic_timer *t);
void lapic_timer_set(struct hv_lapic *l, const struct hv_apic_timer *t);
void lapic_timer_restore(struct hv_lapic *l, u32 current_count);

#endif /* HV_LAPIC_H */
