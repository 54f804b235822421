// SPDX-License-Identifier: GPL-2.0-only
/*
 * x86_fuzz.c - random bytes, random state, random page tables: libhv's emulator must end every
 * time, with a documented result, and without having changed registers where it says it has not.
 *
 * x86_fuzz [SEED [COUNT]].  Built with -fsanitize=address,undefined it finds more.
 */
#include <stdio.h>

#include "ktap.h"
#include "x86_machine.h"

static uint64_t dirty_value(void)
{
	switch (below(6)) {
	case 0: return below(MACHINE_RAM);
	case 1: return MACHINE_DEV + below(MACHINE_DEV_SIZE);
	case 2: return -(uint64_t)below(64);
	case 3: return 0x7fffffffffff - below(16);
	case 4: return below(256);
	default: return rnd();
	}
}

static void random_state(struct machine *m)
{
	static const uint32_t codes[] = { ATTR_CODE64, ATTR_CODE32, ATTR_CODE16 };
	unsigned int i;

	for (i = 0; i < 16; i++)
		m->regs.gpr[i] = dirty_value();
	m->regs.rip = below(4) ? below(MACHINE_RAM) : dirty_value();
	m->regs.rflags = 2 | (rnd() & 0x7ffffd);
	memset(&m->events, 0, sizeof(m->events));
	machine_flat(m, below(2) * 3, codes[below(3)]);
	m->control = (struct hv_control){
		.cr0 = (rnd() & 0x10050031) | (below(4) ? 1 : 0) | (below(2) ? 1ULL << 31 : 0),
		.cr3 = below(4) ? below(MACHINE_RAM) : rnd(),
		.cr4 = rnd() & 0x7710b0,
		.efer = (below(2) ? 0x500 : 0) | (below(2) ? 0x800 : 0),
	};
	if (below(4) == 0)
		for (i = 0; i < 8; i++) {
			m->segs.seg[i].base = dirty_value();
			m->segs.seg[i].limit = rnd();
			m->segs.seg[i].attr = rnd() & 0x1ffff;
		}
	m->segs.gdtr.base = dirty_value();
	m->segs.gdtr.limit = rnd();
	m->x.phys_bits = below(65);
	m->x.flags = rnd() & 7;
	m->x.debug = below(2) ? &m->debug : NULL;
	m->debug.dr7 = rnd();
	m->debug.dr[0] = dirty_value();
	m->x.avx_offset = below(8) ? 576 : rnd();
	m->x.xsave_size = below(8) ? sizeof(m->xsave) : below(1024);
	m->x.dirty = 0;
	m->mem_error = below(32) ? 0 : -EIO;
	m->cmpxchg_fail = below(16) ? 0 : below(20);
}

/* Tables that lead somewhere, so that not everything ends in the first #PF. */
static void random_memory(struct machine *m)
{
	unsigned int i;
	uint64_t entry;

	for (i = 0; i < MACHINE_RAM; i += 8) {
		entry = (below(8) ? below(MACHINE_RAM) & ~0xfffu : rnd()) | (rnd() & 0xff);
		if (below(4))
			entry |= 7;
		if (below(8))
			entry &= ~0x80ULL;
		memcpy(m->ram + i, &entry, 8);
	}
}

/* Opcodes the emulator has, more often than chance would bring them. */
static void random_bytes(uint8_t *p)
{
	static const uint8_t likely[] = { 0x88, 0x89, 0x8a, 0x8b, 0xc6, 0xc7, 0xa4, 0xa5, 0xaa, 0xab,
		0xac, 0xad, 0xae, 0xaf, 0xa6, 0xa7, 0x6c, 0x6d, 0x6e, 0x6f, 0x80, 0x81, 0x83, 0xf6,
		0xf7, 0xfe, 0xff, 0x8f, 0x8e, 0x8c, 0xd0, 0xd3, 0xc0, 0xc1, 0xa0, 0xa3, 0x0f };
	static const uint8_t prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x64, 0x65, 0x48,
		0x4f, 0xc4, 0xc5, 0x62 };
	unsigned int i, n = 0;

	for (i = 0; i < 16; i++)
		p[i] = rnd();
	while (below(2) && n < 4)
		p[n++] = prefixes[below(sizeof(prefixes))];
	if (below(4))
		p[n] = likely[below(sizeof(likely))];
}

static bool one(struct machine *m)
{
	const uint64_t seed = machine_seed;
	struct hv_x86_hint hint = { 0 };
	struct hv_regs before;
	int ret;

	random_state(m);
	random_bytes(hint.insn);
	hint.insn_len = below(4) ? 15 : below(18);
	hint.flags = below(2);
	hint.gpa = dirty_value();
	hint.access = below(4);
	if (!hint.insn_len && m->regs.rip < MACHINE_RAM - 16)
		memcpy(m->ram + m->regs.rip, hint.insn, 16);
	before = m->regs;
	ret = hv_x86_emulate(&m->x, &hint);

	if (ret && ret != -ENOTSUP && ret != -EIO) {
		ktap_note("seed %#llx: result %d", (unsigned long long)seed, ret);
		return false;
	}
	if (ret && !m->x.error[0]) {
		ktap_note("seed %#llx: result %d without a message", (unsigned long long)seed, ret);
		return false;
	}
	if (!(m->x.dirty & HV_GROUP(HV_GROUP_REGS)) && memcmp(&before, &m->regs, sizeof(before))) {
		ktap_note("seed %#llx: registers changed but not marked", (unsigned long long)seed);
		return false;
	}
	if (ret && m->x.retire) {
		ktap_note("seed %#llx: failed and retired", (unsigned long long)seed);
		return false;
	}
	if (m->x.retire > 15 && m->x.retire != HV_RETIRE_RIP) {
		ktap_note("seed %#llx: retire %u", (unsigned long long)seed, m->x.retire);
		return false;
	}
	if (m->regs.rip != before.rip) {
		ktap_note("seed %#llx: RIP moved", (unsigned long long)seed);
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	const unsigned int count = argc > 2 ? strtoul(argv[2], NULL, 0) : 300000;
	struct machine *m = machine_new();
	unsigned int i, bad = 0, done = 0, fault = 0;

	machine_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 0x123456789;
	ktap_plan(2);
	ktap_note("seed %#llx", (unsigned long long)machine_seed);
	for (i = 0; i < count && bad < 20; i++) {
		if (i % 10000 == 0)
			random_memory(m);
		bad += !one(m);
		done += m->x.retire != 0;
		fault += m->events.exc_flags != 0;
	}
	ktap_check(!bad, "%u random instructions: %u carried out, %u faults, %u wrong", i, done, fault,
		   bad);
	/* Otherwise the numbers above prove nothing. */
	ktap_check(done > count / 50 && fault > count / 50, "enough of them meant something");
	machine_free(m);
	return ktap_finish();
}
