// SPDX-License-Identifier: GPL-2.0-only
/*
 * x86_emulate.c - what libhv's emulator owes beyond the instruction's result: what a device sees,
 * faults and what they leave, REP in pieces, real mode, segment loads, intercepted instructions,
 * messages.  What the CPU itself can tell is in x86_oracle.c.
 */
#include <stdio.h>

#include "ktap.h"
#include "x86_machine.h"

#define TF	0x100ULL
#define CODE	0x10000ULL		/* linear and physical */
#define DATA	0x20000ULL		/* RAM, identity */
#define DEVICE	0x40000000ULL		/* linear, of MACHINE_DEV */
#define GONE	0x60000000ULL		/* not mapped */
#define STACK	0x30000ULL

static struct machine *m;
static struct hv_x86_hint hint;

static void put_entry(uint64_t table, unsigned int index, uint64_t value)
{
	memcpy(m->ram + table + 8 * index, &value, 8);
}

/* 64-bit code at CPL @cpl, RAM identity-mapped, the device at DEVICE. */
static void long_mode(unsigned int cpl)
{
	unsigned int i;

	memset(m->ram, 0, MACHINE_RAM);
	memset(m->dev, 0, MACHINE_DEV_SIZE);
	memset(&m->regs, 0, sizeof(m->regs));
	memset(&m->events, 0, sizeof(m->events));
	memset(&m->debug, 0, sizeof(m->debug));
	m->x.debug = NULL;
	m->x.ops = &machine_ops;
	m->x.dirty = 0;
	m->dev_reads = m->dev_writes = m->port_ins = m->port_outs = m->port_logged = 0;
	m->mem_error = 0;
	m->cmpxchg_fail = 0;
	m->control = (struct hv_control){ .cr0 = 0x80010033, .cr3 = 0x1000, .cr4 = 0x20,
					  .efer = 0xd01 };
	put_entry(0x1000, 0, 0x2000 | 7);
	put_entry(0x2000, 0, 0x3000 | 7);		/* 0 to 1 GiB */
	put_entry(0x2000, 1, 0x5000 | 7);		/* 1 to 2 GiB */
	put_entry(0x3000, 0, 0x4000 | 7);
	for (i = 0; i < 256; i++)
		put_entry(0x4000, i, (i * 4096ULL) | 7);
	put_entry(0x5000, 0, 0x6000 | 7);
	for (i = 0; i < 16; i++)
		put_entry(0x6000, i, (MACHINE_DEV + i * 4096ULL) | 7);
	machine_flat(m, cpl, ATTR_CODE64);
	m->regs.rip = CODE;
	m->regs.rflags = 2;
	m->regs.gpr[HV_RSP] = STACK;
	memset(&hint, 0, sizeof(hint));
}

/* Place code at CS:RIP's linear address and emulate it, fetched by the emulator itself. */
static int step(const void *code, size_t len)
{
	uint64_t at = m->regs.rip;

	if (!(m->control.efer & 0x400) || !(m->segs.seg[HV_CS].attr & HV_SEG_L))
		at += m->segs.seg[HV_CS].base;
	if (at + len <= MACHINE_RAM)
		memcpy(m->ram + at, code, len);
	return hv_x86_emulate(&m->x, &hint);
}

#define STEP(...) step((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static bool faulted(unsigned int vector, uint32_t code)
{
	const struct hv_events *e = &m->events;

	return e->exc_vector == vector && (e->exc_flags & HV_EXC_PENDING) && !m->x.retire &&
	       (!(e->exc_flags & HV_EXC_ERROR_CODE) || e->exc_error_code == code) &&
	       (m->x.dirty & HV_GROUP(HV_GROUP_EVENTS));
}

static bool page_faulted(uint64_t address, uint32_t code)
{
	return faulted(14, code) && m->events.exc_payload == address &&
	       m->events.exc_flags == (HV_EXC_PENDING | HV_EXC_ERROR_CODE | HV_EXC_PAYLOAD);
}

static uint32_t dev32(unsigned int offset)
{
	uint32_t v;

	memcpy(&v, m->dev + offset, 4);
	return v;
}

/* A device sees exactly the accesses of the instruction. */
static void test_device_accesses(void)
{
	long_mode(0);
	m->regs.gpr[HV_RBX] = DEVICE + 0x10;
	m->regs.gpr[HV_RAX] = 0x1122334455667788;
	ktap_check(!STEP(0x89, 0x03) && m->x.retire == 2 && m->dev_writes == 1 && !m->dev_reads &&
		   m->last_size == 4 && m->last_gpa == MACHINE_DEV + 0x10 &&
		   dev32(0x10) == 0x55667788 && dev32(0x14) == 0, "mov [dev], eax is one write of 4");
	ktap_check(!STEP(0x0f, 0xb6, 0x0b) && m->dev_reads == 1 && m->last_size == 1 &&
		   m->regs.gpr[HV_RCX] == 0x88, "movzx ecx, byte [dev] is one read of 1");
	m->dev_reads = m->dev_writes = 0;
	ktap_check(!STEP(0x80, 0x0b, 0x70) && m->dev_reads == 1 && m->dev_writes == 1 &&
		   m->dev[0x10] == 0xf8, "or byte [dev], 0x70 is a read and a write");
	m->dev_reads = m->dev_writes = 0;
	ktap_check(!STEP(0x84, 0x03) && m->dev_reads == 1 && !m->dev_writes,
		   "test [dev], al does not write");
	m->dev_reads = m->dev_writes = 0;
	m->regs.gpr[HV_RAX] = 0;
	ktap_check(!STEP(0xf0, 0x0f, 0xb1, 0x0b) && m->dev_reads == 1 && m->dev_writes == 1,
		   "a failing cmpxchg writes the old value back, as the CPU does");

	/* Across a page boundary: part RAM, part device. */
	put_entry(0x6000, 0, DATA | 7);
	m->dev_reads = m->dev_writes = 0;
	m->regs.gpr[HV_RBX] = DEVICE + 0xffd;
	m->regs.gpr[HV_RAX] = 0x0807060504030201;
	ktap_check(!STEP(0x48, 0x89, 0x03) && m->dev_writes == 1 && m->last_size == 5 &&
		   m->last_gpa == MACHINE_DEV + 0x1000 && m->ram[DATA + 0xffd] == 1 &&
		   m->ram[DATA + 0xfff] == 3 && m->dev[0x1000] == 4 && m->dev[0x1004] == 8,
		   "mov across RAM and device is split at the page");
	m->regs.gpr[HV_RCX] = 0;
	ktap_check(!STEP(0x48, 0x8b, 0x0b) && m->regs.gpr[HV_RCX] == 0x0807060504030201,
		   "and read back whole");
}

/* A fault leaves nothing done; a failing callback leaves the exit as it was. */
static void test_faults(void)
{
	struct hv_regs before;

	long_mode(0);
	m->regs.gpr[HV_RSI] = DEVICE;
	m->regs.gpr[HV_RDI] = GONE;
	before = m->regs;
	ktap_check(!STEP(0xa4) && page_faulted(GONE, 2) && !m->dev_reads &&
		   !memcmp(&before, &m->regs, sizeof(before)),
		   "movs to a missing page reads nothing from the device");
	ktap_check(STEP(0xa4) == -EBUSY, "a second exception on top of a pending one is refused");

	long_mode(3);
	m->regs.gpr[HV_RBX] = DEVICE + 0xffe;
	put_entry(0x6000, 1, (MACHINE_DEV + 0x1000) | 5);
	ktap_check(!STEP(0x01, 0x03) && page_faulted(DEVICE + 0x1000, 7) && !m->dev_reads &&
		   !m->dev_writes, "add across into a read-only page touches nothing");

	long_mode(0);
	m->regs.gpr[HV_RBX] = 0x8000000000000000;
	ktap_check(!STEP(0x8b, 0x03) && faulted(13, 0), "a non-canonical address is #GP");
	long_mode(0);
	m->regs.gpr[HV_RBP] = 0x7ffffffffffd;
	ktap_check(!STEP(0x8b, 0x45, 0x00) && faulted(12, 0), "by rBP, half in the hole, #SS");
	long_mode(0);
	m->control.cr4 |= 1 << 12;
	put_entry(0x7000, 0x40, 0x1000 | 7);	/* PML5 whose entry 0x40 has the low tables */
	put_entry(0x7000, 0, 0x1000 | 7);
	m->control.cr3 = 0x7000;
	m->regs.gpr[HV_RBX] = (0x40ULL << 48) + DEVICE;
	ktap_check(!STEP(0x89, 0x03) && m->x.retire == 2 && m->dev_writes == 1,
		   "with five levels 57 bits are canonical");

	long_mode(0);
	m->mem_error = -ENOSPC;
	m->regs.gpr[HV_RBX] = DEVICE;
	before = m->regs;
	ktap_check(STEP(0x0f, 0xc1, 0x03) == -ENOSPC && !memcmp(&before, &m->regs, sizeof(before)) &&
		   !m->x.retire && !m->events.exc_flags && m->x.error[0],
		   "a failing device callback ends the assist and changes no register");

	long_mode(0);
	m->cmpxchg_fail = ~0u;
	m->regs.gpr[HV_RBX] = DEVICE;
	before = m->regs;
	ktap_check(!STEP(0x89, 0x03) && !m->x.retire && !m->events.exc_flags && !m->dev_writes &&
		   !memcmp(&before, &m->regs, sizeof(before)),
		   "page tables that never hold still: the guest tries again");
}

static void test_rep(void)
{
	unsigned int calls = 0;

	long_mode(0);
	m->regs.gpr[HV_RDI] = DEVICE;
	m->regs.gpr[HV_RCX] = 5000;
	m->regs.gpr[HV_RAX] = 0x5a;
	do {
		if (STEP(0xf3, 0xaa))
			break;
		calls++;
		if (!m->x.retire && (m->regs.rip != CODE ||
				     m->regs.gpr[HV_RCX] + m->regs.gpr[HV_RDI] != DEVICE + 5000))
			break;
	} while (!m->x.retire && calls < 100);
	ktap_check(m->x.retire == 2 && m->regs.gpr[HV_RCX] == 0 && calls > 1 && calls < 10 &&
		   m->dev_writes == 5000 && m->dev[4999] == 0x5a && m->dev[5000] == 0,
		   "rep stos of 5000 bytes comes in %u bounded pieces", calls);

	long_mode(0);
	m->regs.gpr[HV_RSI] = DATA;
	m->regs.gpr[HV_RDI] = DEVICE + 16 * 4096 - 10 * 4;
	m->regs.gpr[HV_RCX] = 20;
	ktap_check(!STEP(0xf3, 0xa5) && page_faulted(DEVICE + 16 * 4096, 2) &&
		   m->regs.gpr[HV_RCX] == 10 && m->regs.gpr[HV_RSI] == DATA + 40 &&
		   m->dev_writes == 10 && m->regs.rip == CODE,
		   "a fault in the middle of rep movs keeps what is done");

	long_mode(0);
	m->regs.rflags |= TF;
	m->regs.gpr[HV_RDI] = DEVICE;
	m->regs.gpr[HV_RCX] = 3;
	ktap_check(!STEP(0xf3, 0xab) && m->x.retire == HV_RETIRE_RIP && m->x.retire_rip == CODE &&
		   m->regs.gpr[HV_RCX] == 2 && !STEP(0xf3, 0xab) && m->x.retire == HV_RETIRE_RIP &&
		   !STEP(0xf3, 0xab) && m->x.retire == 2 && m->regs.gpr[HV_RCX] == 0,
		   "with TF each iteration is a step");

	long_mode(0);
	m->regs.gpr[HV_RDI] = GONE;
	ktap_check(!STEP(0xf3, 0xab) && m->x.retire == 2 && !m->events.exc_flags,
		   "rep with a count of zero touches nothing");

	long_mode(0);
	memcpy(m->dev, "aaaab", 5);
	m->regs.gpr[HV_RDI] = DEVICE;
	m->regs.gpr[HV_RCX] = 100;
	m->regs.gpr[HV_RAX] = 'a';
	ktap_check(!STEP(0xf3, 0xae) && m->x.retire == 2 && m->regs.gpr[HV_RCX] == 95 &&
		   m->regs.gpr[HV_RDI] == DEVICE + 5, "repe scas stops at the difference");
}

static void test_ports(void)
{
	long_mode(0);
	m->regs.gpr[HV_RDX] = 0xabcd0510;
	m->regs.gpr[HV_RDI] = DATA + 0xffe;
	m->regs.gpr[HV_RCX] = 4;
	m->port_value = 0x01;
	ktap_check(!STEP(0xf3, 0x6c) && m->x.retire == 2 && m->port_ins == 4 && m->port == 0x510 &&
		   !memcmp(m->ram + DATA + 0xffe, "\x01\x12\x23\x34", 4) &&
		   m->regs.gpr[HV_RDI] == DATA + 0x1002, "rep insb");
	m->regs.gpr[HV_RSI] = DATA + 0xffe;
	m->regs.gpr[HV_RCX] = 1;
	ktap_check(!STEP(0xf3, 0x6f) && m->port_outs == 1 && m->port_logged == 4 &&
		   !memcmp(m->port_log, "\x01\x12\x23\x34", 4), "rep outsd");
	m->regs.rflags |= 0x400;
	ktap_check(!STEP(0x66, 0x6f) && m->port_logged == 6 && m->regs.gpr[HV_RSI] == DATA + 0x1000,
		   "outsw with DF goes down");
	m->regs.rflags = 2;
	m->regs.gpr[HV_RDI] = GONE;
	m->port_ins = 0;
	ktap_check(!STEP(0x6d) && page_faulted(GONE, 2) && !m->port_ins,
		   "ins to a missing page does not read the port");
}

static void test_real_mode(void)
{
	long_mode(0);
	machine_real(m);
	m->segs.seg[HV_DS].base = DATA;
	m->segs.seg[HV_DS].selector = DATA >> 4;
	m->segs.seg[HV_CS].base = CODE;
	m->regs.rip = 0x100;
	m->regs.gpr[HV_RBX] = 0xdead0ffe;
	m->regs.gpr[HV_RSI] = 0x1002;
	m->regs.gpr[HV_RAX] = 0x1234;
	ktap_check(!STEP(0x89, 0x00) && m->x.retire == 2 && m->ram[DATA + 0x2000] == 0x34,
		   "real mode: mov [bx+si], ax");
	m->regs.gpr[HV_RBX] = 0xfffe;
	m->regs.gpr[HV_RSI] = 4;
	ktap_check(!STEP(0x89, 0x00) && m->ram[DATA + 2] == 0x34, "the offset wraps at 64 KiB");
	m->regs.gpr[HV_RSI] = 1;
	ktap_check(!STEP(0x89, 0x00) && faulted(13, 0), "a word at 0xffff is #GP");
	memset(&m->events, 0, sizeof(m->events));
	m->segs.seg[HV_SS].base = DATA;
	m->regs.gpr[HV_RBP] = 0xffff;
	ktap_check(!STEP(0x89, 0x46, 0x00) && faulted(12, 0), "by bp, #SS");
	memset(&m->events, 0, sizeof(m->events));

	/* 32-bit addressing beyond 64 KiB, with and without the limit of "unreal" mode. */
	m->regs.gpr[HV_RBX] = MACHINE_DEV - DATA;
	ktap_check(!STEP(0x67, 0x88, 0x03) && faulted(13, 0), "64 KiB are the limit");
	memset(&m->events, 0, sizeof(m->events));
	m->segs.seg[HV_DS].limit = 0xffffffff;
	ktap_check(!STEP(0x67, 0x88, 0x03) && m->dev_writes == 1 && m->dev[0] == 0x34,
		   "unless the limit was raised");
	memcpy(m->ram + DATA + 0x50, "\x00\x70", 2);
	m->segs.seg[HV_DS].limit = 0xffff;
	m->x.dirty = 0;
	ktap_check(!STEP(0x8e, 0x06, 0x50, 0x00) && m->segs.seg[HV_ES].selector == 0x7000 &&
		   m->segs.seg[HV_ES].base == 0x70000 && m->segs.seg[HV_ES].limit == 0xffff &&
		   (m->x.dirty & HV_GROUP(HV_GROUP_SEGS)), "mov es, [mem]");
	m->regs.gpr[HV_RDI] = 0xfffe;
	m->regs.gpr[HV_RCX] = 0xabc00004;
	m->segs.seg[HV_ES].base = DATA;
	ktap_check(!STEP(0xf3, 0xaa) && (uint16_t)m->regs.gpr[HV_RDI] == 2 &&
		   m->regs.gpr[HV_RCX] == 0xabc00000 && m->ram[DATA + 1] == 0x34,
		   "rep stosb wraps di and counts in cx alone");
}

static void descriptor(unsigned int index, uint64_t value)
{
	memcpy(m->ram + 0x8000 + 8 * index, &value, 8);
}

static int load_ds(uint16_t selector)
{
	memset(&m->events, 0, sizeof(m->events));
	memcpy(m->ram + DATA, &selector, 2);
	m->regs.gpr[HV_RBX] = DATA;
	return STEP(0x8e, 0x1b);
}

static int load_ss(uint16_t selector)
{
	memset(&m->events, 0, sizeof(m->events));
	memcpy(m->ram + DATA, &selector, 2);
	m->regs.gpr[HV_RBX] = DATA;
	return STEP(0x8e, 0x13);
}

static void test_segment_loads(void)
{
	long_mode(0);
	machine_flat(m, 0, ATTR_CODE32);
	m->segs.gdtr.base = 0x8000;
	m->segs.gdtr.limit = 10 * 8 - 1;
	descriptor(1, 0x40cf92123456789aULL & ~(1ULL << 40));	/* data, base 40123456, 4K units */
	descriptor(2, 0x00cf12000000ffffULL);	/* not present */
	descriptor(3, 0x00cf98000000ffffULL);	/* execute-only code */
	descriptor(4, 0x00cf9a000000ffffULL);	/* readable code */
	descriptor(5, 0x00cff2000000ffffULL);	/* data, DPL 3 */
	descriptor(6, 0x0000890000000067ULL);	/* a TSS */
	descriptor(7, 0x00cf90000000ffffULL);	/* read-only data */
	descriptor(8, 0x00409e000000ffffULL);	/* conforming code */

	ktap_check(!load_ds(0x08) && m->x.retire == 2 &&
		   m->segs.seg[HV_DS].base == 0x40123456 && m->segs.seg[HV_DS].limit == 0xf789afff &&
		   m->segs.seg[HV_DS].attr == (0x3 | HV_SEG_S | HV_SEG_P | HV_SEG_DB | HV_SEG_G) &&
		   m->ram[0x8000 + 8 + 5] == 0x93, "a data descriptor, its accessed bit set");
	machine_flat(m, 0, ATTR_CODE32);
	m->segs.gdtr.base = 0x8000;
	m->segs.gdtr.limit = 10 * 8 - 1;
	ktap_check(!load_ds(0x10) && faulted(11, 0x10), "not present is #NP");
	ktap_check(!load_ds(0x18) && faulted(13, 0x18), "execute-only code is #GP");
	ktap_check(!load_ds(0x30) && faulted(13, 0x30), "a system segment is #GP");
	ktap_check(!load_ds(0x50) && faulted(13, 0x50), "beyond the limit is #GP");
	ktap_check(!load_ds(0x0c) && faulted(13, 0x0c), "no LDT is #GP");
	ktap_check(!load_ss(0x38) && faulted(13, 0x38), "a read-only stack is #GP");
	ktap_check(!load_ss(0x10) && faulted(12, 0x10), "a stack not present is #SS");
	ktap_check(!load_ss(0x28) && faulted(13, 0x28), "a stack of another privilege is #GP");
	ktap_check(!load_ss(0) && faulted(13, 0), "a null stack is #GP in 32-bit code");
	ktap_check(!load_ds(0x20) && m->x.retire == 2 && !load_ds(0x43) && m->x.retire == 2,
		   "readable and conforming code will do");
	machine_flat(m, 0, ATTR_CODE32);
	m->segs.gdtr.base = 0x8000;
	m->segs.gdtr.limit = 10 * 8 - 1;
	ktap_check(!load_ds(0x0b) && faulted(13, 0x08), "RPL 3 on DPL 0 is #GP");
	ktap_check(!load_ds(3) && m->x.retire == 2 && (m->segs.seg[HV_DS].attr & HV_SEG_UNUSABLE) &&
		   m->segs.seg[HV_DS].selector == 3, "a null selector is loaded");
	ktap_check(!STEP(0x8b, 0x03) && faulted(13, 0), "and cannot be used");
}

/* Instructions the module hands over; the table in decode.c. */
static void test_intercepted(void)
{
	long_mode(0);
	ktap_check(!STEP(0x0f, 0x09) && m->x.retire == 2 && !m->events.exc_flags &&
		   !STEP(0x0f, 0x08) && m->x.retire == 2, "wbinvd and invd do nothing");
	long_mode(3);
	ktap_check(!STEP(0x0f, 0x09) && faulted(13, 0), "but #GP above CPL 0");
	long_mode(0);
	ktap_check(!STEP(0x0f, 0x01, 0xc8) && faulted(6, 0), "monitor is #UD");
	long_mode(0);
	ktap_check(!STEP(0x0f, 0x01, 0xc9) && faulted(6, 0), "mwait is #UD");
	long_mode(0);
	ktap_check(!STEP(0x0f, 0x33) && faulted(13, 0), "rdpmc is #GP");
	long_mode(0);
	ktap_check(!STEP(0x0f, 0x01, 0xd8) && faulted(6, 0), "vmrun is #UD");
	long_mode(0);
	m->regs.gpr[HV_RBX] = DEVICE;
	m->dev[0] = 0x0a;
	ktap_check(!STEP(0x0f, 0x01, 0x33) && m->x.retire == 3 && m->control.cr0 == 0x8001003b &&
		   (m->x.dirty & HV_GROUP(HV_GROUP_CONTROL)), "lmsw [mem] sets TS, MP, not PE");
	ktap_check(!STEP(0x0f, 0x01, 0x23) && m->last_size == 2 && dev32(0) == 0x003b,
		   "smsw [mem] writes two bytes");
	long_mode(3);
	ktap_check(!STEP(0x0f, 0x01, 0x33) && faulted(13, 0), "lmsw is #GP above CPL 0");
	long_mode(0);
	ktap_check(STEP(0xcf) == -ENOTSUP && strstr(m->x.error, "iret") && strstr(m->x.error, ": cf "),
		   "what could switch tasks is refused: %s", m->x.error);
}

static void test_unknown(void)
{
	struct hv_regs before;

	long_mode(0);
	m->regs.gpr[HV_RBX] = DEVICE;
	before = m->regs;
	ktap_check(STEP(0x0f, 0xae, 0x03) == -ENOTSUP && strstr(m->x.error, "0f ae 03") &&
		   strstr(m->x.error, "10000") && !m->x.retire && !m->x.dirty &&
		   !memcmp(&before, &m->regs, sizeof(before)), "fxsave: %s", m->x.error);
	ktap_check(STEP(0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x03) == -ENOTSUP, "EVEX: %s", m->x.error);
	ktap_check(STEP(0x06) == -ENOTSUP && strstr(m->x.error, "06"), "undecodable: %s",
		   m->x.error);
	ktap_check(!STEP(0xf0, 0x89, 0x03) && faulted(6, 0), "lock mov is #UD");
	m->x.xsave = NULL;
	memset(&m->events, 0, sizeof(m->events));
	ktap_check(STEP(0x0f, 0x10, 0x03) == -ENOTSUP, "movups without an XSAVE group: %s",
		   m->x.error);
	m->x.xsave = m->xsave;
}

static void test_fetch(void)
{
	static const uint8_t mov[] = { 0x48, 0xc7, 0x83, 0, 1, 0, 0, 0x78, 0x56, 0x34, 0x12 };
	static const uint8_t prefixes[15] = { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
					      0x66, 0x66, 0x66, 0x66, 0x66 };
	unsigned int i;
	bool good = true;

	/* Over a page boundary at every byte, and with any part of it known from the exit. */
	for (i = 0; i < sizeof(mov); i++) {
		long_mode(0);
		m->regs.gpr[HV_RBX] = DEVICE;
		m->regs.rip = CODE + 4096 - i;
		memcpy(hint.insn, mov, i);
		hint.insn_len = i;
		good &= !step(mov, sizeof(mov)) && m->x.retire == sizeof(mov) &&
			dev32(0x100) == 0x12345678;
	}
	ktap_check(good, "instructions across a page boundary");

	long_mode(0);
	m->regs.gpr[HV_RBX] = DEVICE;
	m->regs.rip = CODE + 4096 - 3;
	put_entry(0x4000, (CODE >> 12) + 1, 0);
	ktap_check(!step(mov, 3) && page_faulted(CODE + 4096, 16),
		   "the second page is missing: #PF with the fetch bit");
	long_mode(0);
	ktap_check(!step(prefixes, 15) && faulted(13, 0), "more than 15 bytes are #GP");
	long_mode(0);
	m->regs.rip = DEVICE;
	put_entry(0x6000, 0, 0x7f000000 | 7);
	ktap_check(!hv_x86_emulate(&m->x, &hint) && faulted(6, 0), "code in no memory is #UD");

	long_mode(0);
	machine_flat(m, 0, ATTR_CODE16);
	m->segs.seg[HV_CS].limit = 0x1fff;
	m->regs.rip = 0x1ffe;
	m->ram[0x1ffe] = 0xc7;
	ktap_check(!hv_x86_emulate(&m->x, &hint) && faulted(13, 0), "code past the limit of CS is #GP");

	/* The same bytes: inc eax; mov [rbx], al in 32-bit code, one instruction in 64-bit. */
	long_mode(0);
	m->regs.gpr[HV_RBX] = DEVICE;
	good = !STEP(0x40, 0x88, 0x03) && m->x.retire == 3;
	machine_flat(m, 0, ATTR_CODE32);
	good &= !STEP(0x40, 0x88, 0x03) && m->x.retire == 1 && m->regs.gpr[HV_RAX] == 1;
	machine_flat(m, 0, ATTR_CODE64);
	good &= !STEP(0x40, 0x88, 0x03) && m->x.retire == 3 && m->dev[0] == 1;
	ktap_check(good, "the decode cache keeps modes apart");
}

static unsigned int walks;

static int counting_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	walks += len == 8 && gpa < 0x8000;
	return machine_read(opaque, gpa, buf, len);
}

static int emulate_at(const uint8_t *code, size_t len, uint64_t gpa, uint32_t access)
{
	memcpy(hint.insn, code, len);
	hint.insn_len = len;
	hint.gpa = gpa;
	hint.access = access;
	hint.flags = HV_X86_HINT_GPA;
	walks = 0;
	return hv_x86_emulate(&m->x, &hint);
}

static void test_hint(void)
{
	static const uint8_t store[] = { 0x89, 0x03 }, add[] = { 0x01, 0x03 }, movs[] = { 0xa5 };
	struct hv_x86_ops ops = machine_ops;

	long_mode(0);
	ops.read = counting_read;
	m->x.ops = &ops;
	m->regs.gpr[HV_RBX] = DEVICE + 8;
	ktap_check(!emulate_at(store, 2, MACHINE_DEV + 8, HV_ACCESS_WRITE) && !walks &&
		   m->dev_writes == 1, "the exit's address saves the walk");
	ktap_check(!emulate_at(store, 2, MACHINE_DEV + 0x1009, HV_ACCESS_WRITE) && walks == 4 &&
		   m->last_gpa == MACHINE_DEV + 8, "an address that cannot be the operand's is not believed");
	put_entry(0x6000, 0, MACHINE_DEV | 5);
	m->segs.seg[HV_SS].attr |= HV_SEG_DPL;
	ktap_check(!emulate_at(add, 2, MACHINE_DEV + 8, HV_ACCESS_READ) && walks == 4 &&
		   page_faulted(DEVICE + 8, 7), "a read that exited gives no right to write");
	long_mode(0);
	m->x.ops = &ops;
	m->regs.gpr[HV_RSI] = DEVICE + 0x1000;
	m->regs.gpr[HV_RDI] = DEVICE;
	ktap_check(!emulate_at(movs, 1, MACHINE_DEV, HV_ACCESS_WRITE) && walks == 8,
		   "with two operands nothing is assumed");
}

static void test_breakpoints(void)
{
	long_mode(0);
	m->x.debug = &m->debug;
	m->debug.dr[1] = DEVICE + 0x10;
	m->debug.dr7 = 1 << 2 | 1ULL << 20 | 3ULL << 22;	/* L1, write, 4 bytes */
	m->regs.gpr[HV_RBX] = DEVICE + 0x12;
	ktap_check(!STEP(0x8a, 0x03) && !m->events.exc_flags && m->x.retire == 2,
		   "a write breakpoint does not see reads");
	ktap_check(!STEP(0x88, 0x03) && m->x.retire == 2 && m->events.exc_vector == 1 &&
		   m->events.exc_payload == 2 && m->dev_writes == 1,
		   "a data breakpoint traps after the instruction");
	long_mode(0);
	m->x.debug = &m->debug;
	m->debug.dr[0] = DEVICE + 8;
	m->debug.dr7 = 2 | 3ULL << 16;
	m->regs.gpr[HV_RDI] = DEVICE;
	m->regs.gpr[HV_RCX] = 100;
	ktap_check(!STEP(0xf3, 0xaa) && m->regs.gpr[HV_RCX] == 91 && !m->x.retire &&
		   m->events.exc_payload == 1, "and between the iterations of rep stos");
}

static void test_stack(void)
{
	uint64_t v;

	long_mode(0);
	m->regs.gpr[HV_RBX] = DEVICE;
	memcpy(m->dev, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
	ktap_check(!STEP(0xff, 0x33) && m->regs.gpr[HV_RSP] == STACK - 8 &&
		   (memcpy(&v, m->ram + STACK - 8, 8), v == 0x8877665544332211),
		   "push qword [dev]");
	m->regs.gpr[HV_RBX] = DEVICE + 0x100;
	ktap_check(!STEP(0x8f, 0x03) && m->regs.gpr[HV_RSP] == STACK && dev32(0x104) == 0x88776655,
		   "pop qword [dev]");
	m->regs.gpr[HV_RSP] = DEVICE + 0x100;
	ktap_check(!STEP(0x58) && m->regs.gpr[HV_RAX] == 0x8877665544332211 &&
		   m->regs.gpr[HV_RSP] == DEVICE + 0x108, "pop rax from a stack in the device");
	ktap_check(!STEP(0x68, 0xff, 0xff, 0xff, 0xff) && dev32(0x104) == 0xffffffff &&
		   dev32(0x100) == 0xffffffff, "push of a sign-extended immediate");
	m->regs.gpr[HV_RSP] = GONE + 8;
	m->dev_reads = 0;
	ktap_check(!STEP(0xff, 0x33) && page_faulted(GONE, 2) && !m->dev_reads &&
		   m->regs.gpr[HV_RSP] == GONE + 8, "push to a missing stack reads nothing");
}

int main(void)
{
	m = machine_new();
	ktap_plan(79);
	test_device_accesses();
	test_faults();
	test_rep();
	test_ports();
	test_real_mode();
	test_segment_loads();
	test_intercepted();
	test_unknown();
	test_fetch();
	test_hint();
	test_breakpoints();
	test_stack();
	machine_free(m);
	return ktap_finish();
}
