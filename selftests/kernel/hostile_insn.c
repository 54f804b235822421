// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contract 12: a guest tries every instruction that is kept from it, at both privilege levels,
 * and every illegal value of the control and debug registers.  It gets the fault that a CPU
 * without the feature raises, at that instruction, and goes on.
 */
#include <stdio.h>
#include "event_guest.h"

#define OK	(-1)		/* no exception */
#define BLOCKS	(-2)		/* not tried */

struct attempt {
	const char *name;
	const char *code;
	uint8_t len;
	int kernel, user;	/* vector at CPL 0 and 3 */
	uint64_t rax, rcx, rdx;
	int lax;		/* what an emulated CPU may do instead (QEMU 7.2 does) */
	int vmx[2];		/* what Intel does, if it is something else */
	int bochs;		/* what Bochs' AMD CPU does, wrongly */
};

/*
 * EFER.SVME is set under every guest, whatever the guest sees, so that unprivileged code meets
 * the #GP of the privilege check before the intercept that would make it #UD.
 */
#define LAX_GP	.lax = 13
#define LAX_OK	.lax = OK

#define I(name, bytes, k, u, ...) { name, bytes, sizeof(bytes) - 1, k, u, ##__VA_ARGS__ }

static const struct attempt attempts[] = {
	I("VMRUN", "\x0f\x01\xd8", 6, 6, LAX_GP),
	I("VMMCALL", "\x0f\x01\xd9", OK, OK, .vmx = { 6, 6 }),
	I("VMLOAD", "\x0f\x01\xda", 6, 6, LAX_GP),
	I("VMSAVE", "\x0f\x01\xdb", 6, 6, LAX_GP),
	I("STGI", "\x0f\x01\xdc", 6, 6, LAX_GP),
	I("CLGI", "\x0f\x01\xdd", 6, 6, LAX_GP),
	I("SKINIT", "\x0f\x01\xde", 6, 6, LAX_GP),
	I("INVLPGA", "\x0f\x01\xdf", 6, 6, LAX_GP),
	I("VMCALL", "\x0f\x01\xc1", 6, 6, .vmx = { OK, OK }),
	I("VMXOFF", "\x0f\x01\xc4", 6, 6),
	I("VMPTRLD", "\x0f\xc7\x30", 6, 6, .rax = 0x31000),
	I("RSM", "\x0f\xaa", 6, 6),
	I("RDPMC", "\x0f\x33", 13, 13),
	I("RDPMC, large index", "\x0f\x33", 13, 13, .rcx = 0xffffffff),
	I("MONITOR", "\x0f\x01\xc8", 6, 6, .rax = 0x31000),
	I("MWAIT", "\x0f\x01\xc9", 6, 6),
	I("MWAIT, extensions", "\x0f\x01\xc9", 6, 6, .rcx = 1, LAX_GP),
	I("RDPRU", "\x0f\x01\xfd", 6, 6),
	I("INVLPGB", "\x0f\x01\xfe", 6, 6),
	I("TLBSYNC", "\x0f\x01\xff", 6, 6),
	I("MCOMMIT", "\xf3\x0f\x01\xfa", 6, 6),
	I("INVD", "\x0f\x08", OK, 13),
	I("WBINVD", "\x0f\x09", OK, 13),
	I("XSETBV without OSXSAVE", "\x0f\x01\xd1", 6, 6, .rax = 1, LAX_GP),
	I("HLT", "\xf4", BLOCKS, 13),
	I("RDMSR", "\x0f\x32", OK, 13, .rcx = 0xc0000080),
	I("WRMSR", "\x0f\x30", 13, 13, .rcx = 0xc0000080, .rax = 0xffffffff, .rdx = 0xffffffff),
	I("MOV from CR1", "\x0f\x20\xc8", 6, 6, LAX_GP),
	I("MOV to CR5", "\x0f\x22\xe8", 6, 6, LAX_GP),
	I("MOV from CR0", "\x0f\x20\xc0", OK, 13),
	I("CR0 bit 32", "\x0f\x22\xc0", 13, 13, .rax = 0x180010031),
	I("CR0 NW without CD", "\x0f\x22\xc0", 13, 13, .rax = 0xa0010031),
	I("CR0 PG without PE", "\x0f\x22\xc0", 13, 13, .rax = 0x80010030),
	I("CR0 PG off in 64-bit mode", "\x0f\x22\xc0", 13, 13, .rax = 0x00010031),
	I("CR0 undefined bits are dropped", "\x0f\x22\xc0", OK, 13, .rax = 0x8001ffff),
	I("CR4 bit 63", "\x0f\x22\xe0", 13, 13, .rax = 0x8000000000000620),
	I("CR4 VMXE", "\x0f\x22\xe0", 13, 13, .rax = 0x2620),
	I("CR4 SMXE", "\x0f\x22\xe0", 13, 13, .rax = 0x4620),
	I("CR4 CET", "\x0f\x22\xe0", 13, 13, .rax = 0x800620),
	I("CR4 PAE off in long mode", "\x0f\x22\xe0", 13, 13, .rax = 0x600),
	I("CR4 LA57 in long mode", "\x0f\x22\xe0", 13, 13, .rax = 0x1620),
	I("CR8 of 16", "\x44\x0f\x22\xc0", 13, 13, .rax = 16, LAX_OK),
	I("CR8 of 15", "\x44\x0f\x22\xc0", OK, 13, .rax = 15),
	I("CR8 of 0", "\x44\x0f\x22\xc0", OK, 13, .rax = 0),
	I("CLTS", "\x0f\x06", OK, 13),
	I("SMSW", "\x0f\x01\xe1", OK, OK),
	I("LMSW", "\x0f\x01\xf0", OK, 13, .rax = 0x31),
	I("DR7 bit 32", "\x0f\x23\xf8", 13, 13, .rax = 0x100000400),
	I("DR6 bit 32", "\x0f\x23\xf0", 13, 13, .rax = 0x1ffff0ff0),
	I("DR4 is DR6", "\x0f\x23\xe0", OK, 13, .rax = 0xffff0ff0),
	I("DR7", "\x0f\x23\xf8", OK, 13, .rax = 0x400),
	I("MOV from DR3", "\x0f\x21\xd8", OK, 13),
	I("LGDT", "\x0f\x01\x10", OK, 13, .rax = 0x38800),
	I("INVLPG", "\x0f\x01\x38", OK, 13, .rax = 0x40000000),
	I("CLI", "\xfa", OK, 13),
	I("STI", "\xfb\xfa", OK, 13),
	I("SYSENTER in 64-bit mode", "\x0f\x34", 6, 6, .vmx = { 13, 13 }, .bochs = 13),
	I("prefixed CPUID", "\x66\x2e\x0f\xa2", OK, OK),
	I("CPUID with 15 bytes", "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x0f\xa2", OK, OK),
	I("CPUID with 16 bytes",
	  "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x0f\xa2", 13, 13),
	I("LOCK CPUID", "\xf0\x0f\xa2", 6, 6, LAX_OK),
};

#define COUNT ((int)(sizeof(attempts) / sizeof(attempts[0])))

static void user_mode(void)
{
	struct hv_segs *s = hv_vcpu_segs(t.vcpu[0]);

	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_SEGS));
	s->seg[HV_CS].selector = 0x2b;
	s->seg[HV_CS].attr |= HV_SEG_DPL;
	s->seg[HV_SS].selector = 0x33;
	s->seg[HV_SS].attr |= HV_SEG_DPL;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_SEGS));
}

/* What is logged is @vector at the instruction, or for OK the UD2 behind it. */
static bool outcome(int vector, const struct attempt *a)
{
	const struct eg_event *e = eg_log(0);

	if (vector == OK)
		return e->vector == 6 && e->rip == TVM_CODE + a->len;
	return e->vector == (uint64_t)vector && e->rip == TVM_CODE;
}

/* One instruction, then UD2: which exception came first, and where. */
static void try(const struct attempt *a, bool user)
{
	uint8_t code[32];
	struct hv_regs *r;
	struct hv_run *run = t.vcpu[0]->run;
	bool vmx = t.info.vendor == HV_VENDOR_VMX && a->vmx[0];
	int want = vmx ? a->vmx[user] : user ? a->user : a->kernel;
	const struct eg_event *e = eg_log(0);
	uint32_t reason;
	bool good;

	memcpy(code, a->code, a->len);
	memcpy(code + a->len, "\x0f\x0b", 2);
	eg_load(code, code + a->len + 2);
	memcpy(t.mem + 0x38800, "\x2f\0\0\x05\0\0\0\0\0\0", 10);	/* the GDT there is */
	if (user)
		user_mode();
	r = hv_vcpu_regs(t.vcpu[0]);
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	r->gpr[HV_RAX] = a->rax;
	r->gpr[HV_RCX] = a->rcx;
	r->gpr[HV_RDX] = a->rdx;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	/* The handler ends the program instead of returning to it. */
	memcpy(t.mem + EG_HANDLER + (eg_handler_end - eg_handler) - 2, "\xe6\x10", 2);
	reason = testvm_run(&t, 0);
	memcpy(t.mem + EG_HANDLER, eg_handler, eg_handler_end - eg_handler);

	good = reason == HV_EXIT_IO && run->io.port == 0x10 && eg_count() == 1 &&
	       (outcome(want, a) || (a->lax && outcome(a->lax, a)));
	if (!good && t.bochs_svm && a->bochs && outcome(a->bochs, a)) {
		ktap_skip(a->name, "Bochs' AMD CPU does as Intel's");
		return;
	}
	if (!good)
		ktap_note("exit %s, %u events, vector %llu error %#llx at +%#llx",
			  hv_exit_name(reason), eg_count(), (unsigned long long)e->vector,
			  (unsigned long long)e->error, (unsigned long long)(e->rip - TVM_CODE));
	ktap_check(good, "%s at CPL %d", a->name, user ? 3 : 0);
}

int main(void)
{
	int i, n = 0;

	testvm_open(&t);
	for (i = 0; i < COUNT; i++)
		n += 1 + (attempts[i].kernel != BLOCKS);
	ktap_plan(n);
	eg_create();
	for (i = 0; i < COUNT; i++) {
		if (attempts[i].kernel != BLOCKS)
			try(&attempts[i], false);
		try(&attempts[i], true);
	}
	testvm_destroy(&t);
	return ktap_finish();
}
