// SPDX-License-Identifier: GPL-2.0-only
/*
 * x86_walk.c - libhv's page walker against a table of cases in every paging mode.
 *
 * Each case builds one path of tables whose index differs at every level, so that a wrong shift or
 * width leads nowhere, and says what must come out: the address, or the error code of the #PF.
 */
#include <stdio.h>

#include "ktap.h"
#include "x86_machine.h"

#define P	0x1ULL
#define W	0x2ULL
#define U	0x4ULL
#define A	0x20ULL
#define D	0x40ULL
#define PS	0x80ULL
#define NX	(1ULL << 63)
#define KEY(n)	((uint64_t)(n) << 59)
#define PWU	(P | W | U)

#define RD	HV_ACCESS_READ
#define WR	HV_ACCESS_WRITE
#define EX	HV_ACCESS_EXEC
#define USER	HV_X86_WALK_USER
#define IMPL	HV_X86_WALK_IMPLICIT
#define NORIGHTS HV_X86_WALK_NO_RIGHTS

#define WP	(1ULL << 16)
#define PSE	(1ULL << 4)
#define SMEP	(1ULL << 20)
#define SMAP	(1ULL << 21)
#define PKE	(1ULL << 22)
#define NXE	(1ULL << 11)

/* #PF error codes */
#define EP	1
#define EW	2
#define EU	4
#define ER	8
#define EI	16
#define EK	32
#define OK	(-1)

enum mode { NONE, BITS32, PAE, LONG4, LONG5, MODES };

struct walk_case {
	const char *name;
	enum mode mode;
	uint64_t entry[5];	/* flags from the top level down; the address is added */
	uint64_t cr0, cr4, efer;
	uint32_t access, flags;
	int expect;		/* OK or an error code */
	bool ac;
	uint32_t pkru;
	unsigned int phys_bits;	/* 0: 48 */
	bool no_1g;
};

/* The same checks hold in both long modes: the table is run for LONG4 and LONG5 alike. */
static const struct walk_case cases[] = {
	{ "no paging", NONE, { 0 }, 0, 0, 0, WR, USER, OK },

	{ "32: read", BITS32, { PWU, PWU }, 0, 0, 0, RD, 0, OK },
	{ "32: no PDE", BITS32, { W | U, PWU }, 0, 0, 0, RD, 0, 0 },
	{ "32: no PTE", BITS32, { PWU, W | U }, 0, 0, 0, WR, USER, EW | EU },
	{ "32: user on supervisor PDE", BITS32, { P | W, PWU }, 0, 0, 0, RD, USER, EP | EU },
	{ "32: user on supervisor PTE", BITS32, { PWU, P | W }, 0, 0, 0, RD, USER, EP | EU },
	{ "32: user write, read-only PTE", BITS32, { PWU, P | U }, 0, 0, 0, WR, USER, EP | EU | EW },
	{ "32: user write, read-only PDE", BITS32, { P | U, PWU }, 0, 0, 0, WR, USER, EP | EU | EW },
	{ "32: supervisor write, WP=0", BITS32, { PWU, P }, 0, 0, 0, WR, 0, OK },
	{ "32: supervisor write, WP=1", BITS32, { PWU, P }, WP, 0, 0, WR, 0, EP | EW },
	{ "32: PS without PSE is nothing", BITS32, { PWU | PS, PWU }, 0, 0, 0, RD, 0, OK },
	{ "32: 4M page", BITS32, { PWU | PS }, 0, PSE, 0, WR, USER, OK },
	{ "32: 4M page, PSE-36", BITS32, { PWU | PS | 0xa2000 }, 0, PSE, 0, RD, 0, OK },
	{ "32: 4M page, bit 21", BITS32, { PWU | PS | 1 << 21 }, 0, PSE, 0, RD, 0, EP | ER },
	{ "32: PSE-36 beyond 36 bits", BITS32, { PWU | PS | 1 << 17 }, 0, PSE, 0, RD, 0, EP | ER,
	  .phys_bits = 36 },
	{ "32: PSE-36 within 36 bits", BITS32, { PWU | PS | 1 << 16 }, 0, PSE, 0, RD, 0, OK,
	  .phys_bits = 36 },
	{ "32: fetch, NXE means nothing", BITS32, { PWU, P | W }, 0, 0, NXE, EX, USER, EP | EU },
	{ "32: SMEP", BITS32, { PWU, PWU }, 0, SMEP, 0, EX, 0, EP | EI },
	{ "32: SMEP, fetch not present", BITS32, { PWU, 0 }, 0, SMEP, 0, EX, 0, EI },
	{ "32: SMAP", BITS32, { PWU, PWU }, 0, SMAP, 0, RD, 0, EP },
	{ "32: SMAP, one level is supervisor", BITS32, { PWU, P | W }, 0, SMAP, 0, RD, 0, OK },

	{ "PAE: read", PAE, { P, PWU, PWU }, 0, 0, 0, RD, USER, OK },
	{ "PAE: no PDPTE", PAE, { 0, PWU, PWU }, 0, 0, 0, RD, 0, 0 },
	{ "PAE: PDPTE bit 1", PAE, { P | W, PWU, PWU }, 0, 0, 0, RD, 0, EP | ER },
	{ "PAE: PDPTE bit 5, of QEMU's", PAE, { P | A, PWU, PWU }, 0, 0, 0, RD, 0, OK },
	{ "PAE: PDPTE bit 6", PAE, { P | 1 << 6, PWU, PWU }, 0, 0, 0, RD, 0, EP | ER },
	{ "PAE: PDPTE bit 63", PAE, { P | NX, PWU, PWU }, 0, 0, NXE, RD, 0, EP | ER },
	{ "PAE: bit 62 of a PTE", PAE, { P, PWU, PWU | 1ULL << 62 }, 0, 0, 0, RD, 0, EP | ER },
	{ "PAE: bit 52 of a PDE", PAE, { P, PWU | 1ULL << 52, PWU }, 0, 0, 0, WR, 0, EP | ER | EW },
	{ "PAE: NX", PAE, { P, PWU, PWU | NX }, 0, 0, NXE, EX, USER, EP | EU | EI },
	{ "PAE: NX reads", PAE, { P, PWU | NX, PWU }, 0, 0, NXE, WR, USER, OK },
	{ "PAE: NX without NXE", PAE, { P, PWU, PWU | NX }, 0, 0, 0, RD, 0, EP | ER },
	{ "PAE: 2M page", PAE, { P, PWU | PS }, 0, 0, 0, WR, 0, OK },
	{ "PAE: 2M page, bit 13", PAE, { P, PWU | PS | 1 << 13 }, 0, 0, 0, RD, 0, EP | ER },
	{ "PAE: 2M page, PAT bit", PAE, { P, PWU | PS | 1 << 12 }, 0, 0, 0, RD, 0, OK },
	{ "PAE: address beyond the CPU's", PAE, { P, PWU, PWU | 1ULL << 40 }, 0, 0, 0, RD, 0,
	  EP | ER, .phys_bits = 40 },

#define LONG_CASES(M, T) \
	{ T "read", M, { PWU, PWU, PWU, PWU, PWU }, 0, 0, NXE, RD, USER, OK }, \
	{ T "top not present", M, { W, PWU, PWU, PWU, PWU }, 0, 0, NXE, RD, USER, EU }, \
	{ T "second not present", M, { PWU, W, PWU, PWU, PWU }, 0, 0, NXE, WR, 0, EW }, \
	{ T "last not present, fetch", M, { PWU, PWU, PWU, M == LONG4 ? 0 : PWU, 0 }, \
	  0, 0, NXE, EX, USER, EU | EI }, \
	{ T "same, no NXE", M, { PWU, PWU, PWU, M == LONG4 ? 0 : PWU, 0 }, \
	  0, 0, 0, EX, USER, EU }, \
	{ T "NX on top", M, { PWU | NX, PWU, PWU, PWU, PWU }, 0, 0, NXE, EX, 0, EP | EI }, \
	{ T "NX on top, no NXE", M, { PWU | NX, PWU, PWU, PWU, PWU }, 0, 0, 0, RD, 0, EP | ER }, \
	{ T "PS on top", M, { PWU | PS, PWU, PWU, PWU, PWU }, 0, 0, NXE, RD, 0, EP | ER }, \
	{ T "read-only on top, user", M, { P | U, PWU, PWU, PWU, PWU }, 0, 0, NXE, WR, USER, \
	  EP | EU | EW }, \
	{ T "supervisor on top, user", M, { P | W, PWU, PWU, PWU, PWU }, 0, 0, NXE, EX, USER, \
	  EP | EU | EI }, \
	{ T "supervisor write, WP=0", M, { P, P, P, P, P }, 0, 0, NXE, WR, 0, OK }, \
	{ T "supervisor write, WP=1", M, { PWU, P | U, PWU, PWU, PWU }, WP, 0, NXE, WR, 0, \
	  EP | EW }, \
	{ T "bits 62:52 are free", M, { PWU | 0x7ffULL << 52, PWU, PWU, PWU, PWU }, 0, 0, NXE, \
	  RD, USER, OK }, \
	{ T "address beyond the CPU's", M, { PWU | 1ULL << 45, PWU, PWU, PWU, PWU }, 0, 0, NXE, \
	  RD, USER, EP | EU | ER, .phys_bits = 45 }, \
	{ T "SMEP", M, { PWU, PWU, PWU, PWU, PWU }, 0, SMEP, NXE, EX, 0, EP | EI }, \
	{ T "SMEP, user fetches", M, { PWU, PWU, PWU, PWU, PWU }, 0, SMEP, NXE, EX, USER, OK }, \
	{ T "SMEP, supervisor page", M, { P, PWU, PWU, PWU, PWU }, 0, SMEP, NXE, EX, 0, OK }, \
	{ T "SMAP read", M, { PWU, PWU, PWU, PWU, PWU }, 0, SMAP, NXE, RD, 0, EP }, \
	{ T "SMAP write", M, { PWU, PWU, PWU, PWU, PWU }, WP, SMAP, NXE, WR, 0, EP | EW }, \
	{ T "SMAP with AC", M, { PWU, PWU, PWU, PWU, PWU }, WP, SMAP, NXE, WR, 0, OK, .ac = true }, \
	{ T "SMAP, AC, implicit", M, { PWU, PWU, PWU, PWU, PWU }, 0, SMAP, NXE, RD, IMPL, EP, \
	  .ac = true }, \
	{ T "SMAP, fetch", M, { PWU, PWU, PWU, PWU, PWU }, 0, SMAP, NXE, EX, 0, OK }, \
	{ T "SMAP, rights not asked", M, { PWU, PWU, PWU, PWU, PWU }, 0, SMAP, NXE, RD, NORIGHTS, OK }, \
	{ T "key, access disabled", M, { PWU, PWU, PWU, PWU | KEY(3), PWU | KEY(3) }, 0, PKE, NXE, \
	  RD, USER, EP | EU | EK, .pkru = 1u << 6 }, \
	{ T "key, supervisor too", M, { PWU, PWU, PWU, PWU | KEY(3), PWU | KEY(3) }, 0, PKE, NXE, \
	  RD, 0, EP | EK, .pkru = 1u << 6 }, \
	{ T "key of another page", M, { PWU, PWU, PWU, PWU | KEY(3), PWU | KEY(3) }, 0, PKE, NXE, \
	  RD, USER, OK, .pkru = ~(3u << 6) }, \
	{ T "key, write disabled, read", M, { PWU, PWU, PWU, PWU | KEY(15), PWU | KEY(15) }, 0, PKE, \
	  NXE, RD, USER, OK, .pkru = 2u << 30 }, \
	{ T "key, write disabled, write", M, { PWU, PWU, PWU, PWU | KEY(15), PWU | KEY(15) }, 0, \
	  PKE, NXE, WR, USER, EP | EU | EW | EK, .pkru = 2u << 30 }, \
	{ T "key, write disabled, WP=0", M, { PWU, PWU, PWU, PWU | KEY(15), PWU | KEY(15) }, 0, PKE, \
	  NXE, WR, 0, OK, .pkru = 2u << 30 }, \
	{ T "key, write disabled, WP=1", M, { PWU, PWU, PWU, PWU | KEY(15), PWU | KEY(15) }, WP, \
	  PKE, NXE, WR, 0, EP | EW | EK, .pkru = 2u << 30 }, \
	{ T "key, fetch", M, { PWU, PWU, PWU, PWU | KEY(1), PWU | KEY(1) }, 0, PKE, NXE, EX, USER, \
	  OK, .pkru = ~0u }, \
	{ T "key, supervisor page", M, { P | W, PWU, PWU, PWU | KEY(1), PWU | KEY(1) }, 0, PKE, NXE, \
	  RD, 0, OK, .pkru = ~0u }, \
	{ T "key, no PKE", M, { PWU, PWU, PWU, PWU | KEY(1), PWU | KEY(1) }, 0, 0, NXE, RD, USER, \
	  OK, .pkru = ~0u }

	LONG_CASES(LONG4, "4-level: "),
	LONG_CASES(LONG5, "5-level: "),
	{ "4-level: 2M page", LONG4, { PWU, PWU, PWU | PS }, 0, 0, NXE, WR, USER, OK },
	{ "4-level: 2M page, bit 20", LONG4, { PWU, PWU, PWU | PS | 1 << 20 }, 0, 0, NXE, WR, USER,
	  EP | EU | EW | ER },
	{ "4-level: 1G page", LONG4, { PWU, PWU | PS }, 0, 0, NXE, WR, USER, OK },
	{ "4-level: 1G page, bit 29", LONG4, { PWU, PWU | PS | 1 << 29 }, 0, 0, NXE, RD, 0, EP | ER },
	{ "4-level: 1G page, CPU has none", LONG4, { PWU, PWU | PS }, 0, 0, NXE, RD, 0, EP | ER,
	  .no_1g = true },
	{ "5-level: 2M page", LONG5, { PWU, PWU, PWU, PWU | PS }, 0, 0, NXE, EX, USER, OK },
	{ "5-level: 1G page", LONG5, { PWU, PWU, PWU | PS }, 0, 0, NXE, EX, USER, OK },
	{ "5-level: PS on PML4E", LONG5, { PWU, PWU | PS, PWU, PWU, PWU }, 0, 0, NXE, RD, 0, EP | ER },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static const unsigned int level_count[MODES] = { 0, 2, 3, 4, 5 };
/* An index for each level, top first; offset within the last page 0x678. */
static const unsigned int indices[MODES][5] = {
	{ 0 }, { 0x2a5, 0x35a }, { 0x2, 0x155, 0x0aa }, { 0x1a5, 0x0c3, 0x155, 0x0aa },
	{ 0x111, 0x1a5, 0x0c3, 0x155, 0x0aa },
};

#define TABLE(level)	(0x1000ULL * (1 + (level)))
#define LEAF_4K		0x9a000ULL

static unsigned int entry_shift(enum mode mode, unsigned int level)
{
	const unsigned int bits = mode == BITS32 ? 10 : 9;

	return 12 + bits * (level_count[mode] - 1 - level);
}

static uint64_t entry_at(const struct machine *m, const struct walk_case *c, unsigned int level)
{
	const unsigned int size = c->mode == BITS32 ? 4 : 8;
	uint64_t entry = 0;

	memcpy(&entry, m->ram + TABLE(level) + indices[c->mode][level] * size, size);
	return entry;
}

static bool is_large(const struct walk_case *c, unsigned int level)
{
	return level + 1 < level_count[c->mode] && (c->entry[level] & PS) &&
	       !(c->mode == BITS32 && !(c->cr4 & PSE)) && entry_shift(c->mode, level) <= 30;
}

/* Builds the tables; returns the linear address, and through @gpa where it must lead. */
static uint64_t build(struct machine *m, const struct walk_case *c, uint64_t *gpa, uint64_t *size)
{
	const unsigned int entry_size = c->mode == BITS32 ? 4 : 8;
	uint64_t linear = 0x678, entry;
	unsigned int level, shift;

	memset(m->ram, 0, 0x10000);
	*gpa = LEAF_4K | 0x678;
	*size = 4096;
	for (level = 0; level < level_count[c->mode]; level++)
		linear |= (uint64_t)indices[c->mode][level] << entry_shift(c->mode, level);
	if (c->mode == NONE) {
		*gpa = linear = 0xfedcb678;
		return linear;
	}
	for (level = 0; level < level_count[c->mode]; level++) {
		shift = entry_shift(c->mode, level);
		entry = c->entry[level];
		if (is_large(c, level)) {
			uint64_t base = 0x40000000ULL;

			*size = 1ULL << shift;
			entry |= base;
			/* PSE-36: the address bits that come with the flags. */
			if (c->mode == BITS32)
				base |= (entry & 0x1fe000) << 19;
			*gpa = base | (linear & (*size - 1));
		} else if (level + 1 == level_count[c->mode]) {
			entry |= LEAF_4K;
		} else {
			entry |= TABLE(level + 1);
		}
		memcpy(m->ram + TABLE(level) + indices[c->mode][level] * entry_size, &entry,
		       entry_size);
		if (is_large(c, level))
			break;
	}
	if (c->mode == LONG4)
		linear |= 0xffffULL << 48;
	if (c->mode == LONG5)
		linear |= 0x7fULL << 57;
	/* Legacy modes: what is above 32 bits must not matter. */
	if (c->mode == BITS32 || c->mode == PAE)
		linear |= 0xdead00000000ULL;
	return linear;
}

static void set_pkru(struct machine *m, uint32_t value)
{
	uint64_t bv = 1 << 9;

	memset(m->xsave, 0, sizeof(m->xsave));
	m->x.pkru_offset = 0xa80;
	memcpy(m->xsave + 0xa80, &value, 4);
	memcpy(m->xsave + 512, &bv, 8);
}

static void set_mode(struct machine *m, const struct walk_case *c)
{
	m->control = (struct hv_control){ .cr0 = 0x11 | c->cr0, .cr3 = TABLE(0) | 0x18,
					  .cr4 = c->cr4, .efer = c->efer };
	if (c->mode != NONE)
		m->control.cr0 |= 1ULL << 31;
	if (c->mode == PAE || c->mode >= LONG4)
		m->control.cr4 |= 1 << 5;
	if (c->mode == PAE)
		m->control.cr3 = TABLE(0);
	if (c->mode >= LONG4)
		m->control.efer |= 0x500;
	if (c->mode == LONG5)
		m->control.cr4 |= 1 << 12;
	m->regs.rflags = 2 | (c->ac ? 1 << 18 : 0);
	m->x.phys_bits = c->phys_bits ? c->phys_bits : 48;
	m->x.flags = c->no_1g ? 0 : HV_X86_PAGE_1G;
	set_pkru(m, c->pkru);
}

static bool accessed_dirty_right(struct machine *m, const struct walk_case *c)
{
	unsigned int level;
	bool leaf;
	uint64_t e;

	for (level = 0; level < level_count[c->mode]; level++) {
		leaf = level + 1 == level_count[c->mode] || is_large(c, level);
		e = entry_at(m, c, level);
		if (c->mode == PAE && level == 0) {
			if ((e ^ c->entry[0]) & (A | D))
				return false;
		} else if (!(e & A) || !!(e & D) != (leaf && c->access == WR)) {
			return false;
		}
		if (leaf)
			break;
	}
	return true;
}

static bool run_case(struct machine *m, const struct walk_case *c, char *why, size_t len)
{
	static uint8_t before[0x10000];
	uint64_t linear, gpa, size;
	struct hv_x86_walk w;
	int ret;

	set_mode(m, c);
	linear = build(m, c, &gpa, &size);
	memcpy(before, m->ram, sizeof(before));
	ret = hv_x86_walk(&m->x, linear, c->access, c->flags, &w);
	if (c->expect != OK) {
		snprintf(why, len, "%d, error code %#x, expected %#x", ret, w.error_code,
			 (unsigned int)c->expect);
		if (ret != -EFAULT || w.error_code != (uint32_t)c->expect)
			return false;
		/* A fault must not leave accessed bits behind either. */
		hv_x86_walk(&m->x, linear, c->access, c->flags | HV_X86_WALK_SET_AD, &w);
		return !memcmp(before, m->ram, sizeof(before));
	}
	snprintf(why, len, "%d, gpa %#llx size %#llx error %#x, expected %#llx size %#llx", ret,
		 (unsigned long long)w.gpa, (unsigned long long)w.page_size, w.error_code,
		 (unsigned long long)gpa, (unsigned long long)size);
	if (ret || w.gpa != gpa || w.page_size != size)
		return false;
	snprintf(why, len, "the tables changed without HV_X86_WALK_SET_AD");
	if (memcmp(before, m->ram, sizeof(before)))
		return false;
	ret = hv_x86_walk(&m->x, linear, c->access, c->flags | HV_X86_WALK_SET_AD, &w);
	snprintf(why, len, "accessed and dirty bits are not as the CPU sets them");
	return !ret && w.gpa == gpa && accessed_dirty_right(m, c);
}

static void run_table(struct machine *m, enum mode mode, const char *title)
{
	unsigned int i, n = 0, bad = 0;
	char why[160];

	for (i = 0; i < CASES; i++) {
		if (cases[i].mode != mode)
			continue;
		n++;
		if (!run_case(m, &cases[i], why, sizeof(why))) {
			bad++;
			ktap_note("%s: %s", cases[i].name, why);
		}
	}
	ktap_check(n && !bad, "%s: %u cases, %u wrong", title, n, bad);
}

/* Without the cmpxchg callback entries are read, compared, written: the outcome is the same. */
static void test_without_cmpxchg(struct machine *m)
{
	struct hv_x86_ops ops = machine_ops;

	ops.cmpxchg = NULL;
	m->x.ops = &ops;
	run_table(m, LONG4, "4-level, no cmpxchg callback");
	m->x.ops = &machine_ops;
}

static void test_races(struct machine *m)
{
	const struct walk_case c = { "race", LONG4, { PWU, PWU, PWU, PWU }, 0, 0, NXE, WR, USER, OK };
	uint64_t linear, gpa, size;
	struct hv_x86_walk w;
	int ret;

	set_mode(m, &c);
	linear = build(m, &c, &gpa, &size);
	m->cmpxchg_fail = 3;
	ret = hv_x86_walk(&m->x, linear, WR, USER | HV_X86_WALK_SET_AD, &w);
	ktap_check(!ret && w.gpa == gpa && accessed_dirty_right(m, &c),
		   "an entry that changes under the walk is walked again");
	linear = build(m, &c, &gpa, &size);
	m->cmpxchg_fail = ~0u;
	ret = hv_x86_walk(&m->x, linear, WR, USER | HV_X86_WALK_SET_AD, &w);
	m->cmpxchg_fail = 0;
	ktap_check(ret == -EAGAIN, "entries that never hold still end the walk: %d", ret);
}

/* Tables in no memory read as all ones; the walk must end, and not by luck. */
static void test_no_memory(struct machine *m)
{
	static const enum mode modes[] = { PAE, LONG4, LONG5 };
	struct walk_case c = { "no memory", LONG4, { PWU, PWU, PWU, PWU, PWU }, 0, 0, NXE, RD, 0, OK };
	struct hv_x86_walk w;
	unsigned int i;
	bool good = true;

	for (i = 0; i < 3; i++) {
		c.mode = modes[i];
		set_mode(m, &c);
		m->control.cr3 = 0x7f000000;
		good &= hv_x86_walk(&m->x, 0x1234000, RD, 0, &w) == -EFAULT &&
			w.error_code == (EP | ER);
	}
	ktap_check(good, "page tables outside RAM fault on reserved bits");
	c.mode = BITS32;
	set_mode(m, &c);
	m->control.cr3 = 0x7f000000;
	ktap_check(!hv_x86_walk(&m->x, 0x1234567, RD, 0, &w) && w.gpa == 0xfffff567,
		   "32-bit entries outside RAM are all ones");
}

static void test_cached_pdpte(struct machine *m)
{
	struct walk_case c = { "VMX", PAE, { P, PWU, PWU }, 0, 0, 0, RD, USER, OK };
	uint64_t linear, gpa, size;
	struct hv_x86_walk w;

	set_mode(m, &c);
	linear = build(m, &c, &gpa, &size);
	m->control.pdpte[2] = TABLE(1) | P;
	m->control.cr3 = 0;
	m->x.flags |= HV_X86_PDPTE_CACHED;
	ktap_check(!hv_x86_walk(&m->x, linear, RD, USER, &w) && w.gpa == gpa,
		   "PDPTEs come from the CPU where it keeps them");
}

int main(void)
{
	struct machine *m = machine_new();

	ktap_plan(11);
	run_table(m, NONE, "no paging");
	run_table(m, BITS32, "32-bit");
	run_table(m, PAE, "PAE");
	run_table(m, LONG4, "4-level");
	run_table(m, LONG5, "5-level");
	test_without_cmpxchg(m);
	test_races(m);
	test_no_memory(m);
	test_cached_pdpte(m);
	machine_free(m);
	return ktap_finish();
}
