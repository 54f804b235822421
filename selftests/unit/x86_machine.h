/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * x86_machine.h - a CPU's state, a megabyte of RAM and a device, for tests of libhv's emulator.
 *
 * RAM lies at guest-physical 0, the device at MACHINE_DEV; both are plain bytes, and every access
 * to the device is counted.  Anything else is neither, and reads as all ones.
 */
#ifndef HV_UNIT_X86_MACHINE_H
#define HV_UNIT_X86_MACHINE_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <hv/x86.h>

#define MACHINE_RAM	(1u << 20)
#define MACHINE_DEV	0xd0000000ULL
#define MACHINE_DEV_SIZE (16 * 4096u)

struct machine {
	uint8_t *ram;
	uint8_t *dev;
	unsigned int dev_reads, dev_writes;
	uint64_t last_gpa;
	uint32_t last_size;
	int mem_error;			/* what the device answers, if not 0 */
	uint16_t port;
	unsigned int port_ins, port_outs;
	uint32_t port_value;		/* next IN; each adds 0x11 */
	uint8_t port_log[64];
	unsigned int port_logged;
	unsigned int cmpxchg_fail;	/* this many cmpxchg calls find another value */

	struct hv_regs regs;
	struct hv_segs segs;
	struct hv_control control;
	struct hv_debug debug;
	struct hv_events events;
	uint8_t xsave[4096] __attribute__((aligned(64)));
	struct hv_x86 x;
};

static inline int machine_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	struct machine *m = opaque;

	if (gpa >= MACHINE_RAM || len > MACHINE_RAM - gpa)
		return -EFAULT;
	memcpy(buf, m->ram + gpa, len);
	return 0;
}

static inline int machine_write(void *opaque, uint64_t gpa, const void *buf, size_t len)
{
	struct machine *m = opaque;

	if (gpa >= MACHINE_RAM || len > MACHINE_RAM - gpa)
		return -EFAULT;
	memcpy(m->ram + gpa, buf, len);
	return 0;
}

static inline int machine_cmpxchg(void *opaque, uint64_t gpa, uint64_t old, uint64_t new_value,
				  uint32_t size)
{
	struct machine *m = opaque;
	uint64_t now = 0;

	if (gpa >= MACHINE_RAM || size > MACHINE_RAM - gpa)
		return -EFAULT;
	memcpy(&now, m->ram + gpa, size);
	if (m->cmpxchg_fail) {
		m->cmpxchg_fail--;
		return -EAGAIN;
	}
	if (now != old)
		return -EAGAIN;
	memcpy(m->ram + gpa, &new_value, size);
	return 0;
}

static inline int machine_mem(void *opaque, uint64_t gpa, bool write, uint32_t size, void *data)
{
	struct machine *m = opaque;
	const uint64_t offset = gpa - MACHINE_DEV;

	if (m->mem_error)
		return m->mem_error;
	/* libhv promises never to cross a page in one access. */
	if (!size || size > 64 || (gpa & 4095) + size > 4096)
		abort();
	m->last_gpa = gpa;
	m->last_size = size;
	if (write)
		m->dev_writes++;
	else
		m->dev_reads++;
	if (offset >= MACHINE_DEV_SIZE) {
		if (!write)
			memset(data, 0xff, size);
		return 0;
	}
	if (write)
		memcpy(m->dev + offset, data, size);
	else
		memcpy(data, m->dev + offset, size);
	return 0;
}

static inline int machine_io(void *opaque, uint16_t port, bool in, uint32_t size, void *data)
{
	struct machine *m = opaque;

	m->port = port;
	if (in) {
		m->port_ins++;
		memcpy(data, &m->port_value, size);
		m->port_value += 0x11;
	} else {
		m->port_outs++;
		if (m->port_logged + size <= sizeof(m->port_log)) {
			memcpy(m->port_log + m->port_logged, data, size);
			m->port_logged += size;
		}
	}
	return 0;
}

static const struct hv_x86_ops machine_ops = {
	.io = machine_io,
	.mem = machine_mem,
	.read = machine_read,
	.write = machine_write,
	.cmpxchg = machine_cmpxchg,
};

static inline struct machine *machine_new(void)
{
	struct machine *m = aligned_alloc(64, (sizeof(*m) + 63) & ~63ul);

	if (!m)
		abort();
	memset(m, 0, sizeof(*m));
	m->ram = calloc(1, MACHINE_RAM);
	m->dev = calloc(1, MACHINE_DEV_SIZE);
	if (!m->ram || !m->dev || hv_x86_init(&m->x, &machine_ops, m))
		abort();
	m->x.regs = &m->regs;
	m->x.segs = &m->segs;
	m->x.control = &m->control;
	m->x.events = &m->events;
	m->x.xsave = m->xsave;
	m->x.xsave_size = sizeof(m->xsave);
	m->x.phys_bits = 48;
	m->x.flags = HV_X86_PAGE_1G;
	return m;
}

static inline void machine_free(struct machine *m)
{
	hv_x86_fini(&m->x);
	free(m->ram);
	free(m->dev);
	free(m);
}

static inline struct hv_seg machine_seg(uint16_t selector, uint64_t base, uint32_t limit,
					uint32_t attr)
{
	return (struct hv_seg){ .selector = selector, .base = base, .limit = limit, .attr = attr };
}

/* attr: type 3 data RW, 11 code; S; P; the DPL is added. */
#define ATTR_DATA	(0x3 | HV_SEG_S | HV_SEG_P | HV_SEG_DB | HV_SEG_G)
#define ATTR_CODE32	(0xb | HV_SEG_S | HV_SEG_P | HV_SEG_DB | HV_SEG_G)
#define ATTR_CODE64	(0xb | HV_SEG_S | HV_SEG_P | HV_SEG_L | HV_SEG_G)
#define ATTR_CODE16	(0xb | HV_SEG_S | HV_SEG_P)
#define ATTR_DATA16	(0x3 | HV_SEG_S | HV_SEG_P)

/* Flat segments of privilege level @cpl; @code is one of ATTR_CODE*. */
static inline void machine_flat(struct machine *m, unsigned int cpl, uint32_t code)
{
	const uint32_t dpl = cpl << HV_SEG_DPL_SHIFT;
	unsigned int i;

	memset(&m->segs, 0, sizeof(m->segs));
	for (i = 0; i < 6; i++)
		m->segs.seg[i] = machine_seg(0x28 | cpl, 0, 0xffffffff, ATTR_DATA | dpl);
	m->segs.seg[HV_CS] = machine_seg(0x30 | cpl, 0, 0xffffffff, code | dpl);
	m->segs.seg[HV_LDTR].attr = HV_SEG_UNUSABLE;
}

static inline void machine_real(struct machine *m)
{
	unsigned int i;

	memset(&m->segs, 0, sizeof(m->segs));
	memset(&m->control, 0, sizeof(m->control));
	for (i = 0; i < 6; i++)
		m->segs.seg[i] = machine_seg(0, 0, 0xffff, ATTR_DATA16);
	m->segs.seg[HV_CS].attr = ATTR_CODE16;
	m->regs.rflags = 2;
}

/* xorshift64*: the seed printed is all that is needed to see a failure again. */
static uint64_t machine_seed = 1;

static inline uint64_t rnd(void)
{
	machine_seed ^= machine_seed >> 12;
	machine_seed ^= machine_seed << 25;
	machine_seed ^= machine_seed >> 27;
	return machine_seed * 0x2545f4914f6cdd1dULL;
}

static inline unsigned int below(unsigned int n)
{
	return (rnd() >> 33) % n;
}

#endif
