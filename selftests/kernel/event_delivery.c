// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events reach the guest precisely: exceptions from outside and reflected ones, interrupts,
 * NMIs, software interrupts; with the right return address, error code, CR2 and DR6; in the right
 * order; through windows and shadows; and once, even when their delivery itself faults in the
 * second stage.
 */
#include "event_guest.h"

GUEST_CODE(nops, "nop\n nop\n nop\n nop\n out %al, $0x10\n hlt\n");
GUEST_CODE(sti_nop, "cli\n sti\n nop\n nop\n out %al, $0x10\n hlt\n");
GUEST_CODE(sti_cpuid, "xor %eax, %eax\n sti\n cpuid\n nop\n out %al, $0x10\n hlt\n");
GUEST_CODE(sti_hlt, "sti\n hlt\n nop\n out %al, $0x10\n hlt\n");
GUEST_CODE(ud, "ud2\n out %al, $0x10\n hlt\n");
GUEST_CODE(intn, "int $0x55\n int3\n out %al, $0x10\n hlt\n");
GUEST_CODE(icebp, ".byte 0xf1\n out %al, $0x10\n hlt\n");
GUEST_CODE(stepping,
	"pushfq\n orl $0x100, (%rsp)\n popfq\n"	/* traps from the next one on */
	"nop\n"					/* 9 */
	"xor %eax, %eax\n"			/* 10 */
	"cpuid\n"				/* 12: emulated */
	"nop\n"					/* 14 */
	"in $0x40, %al\n"			/* 15: completed in userspace */
	"nop\n"					/* 17 */
	"out %al, $0x10\n hlt\n");		/* 18 */
GUEST_CODE(breakpoints,
	"mov $0x10000 + (1f - breakpoints), %rax\n mov %rax, %dr0\n"
	"mov $0x31000, %eax\n mov %rax, %dr1\n"
	"mov $0x00d0050a, %eax\n mov %rax, %dr7\n"
	"nop\n"
	"1: nop\n"				/* BREAK_AT: DR0, execution */
	"movl $1, 0x31000\n"			/* DR1, write of 4 bytes */
	"nop\n"					/* WATCH_AT */
	"xor %eax, %eax\n mov %rax, %dr7\n"
	"out %al, $0x10\n hlt\n");
#define BREAK_AT	0x1b
#define WATCH_AT	0x27
GUEST_CODE(nmi_twice,
	/* The handler is ours: stay in it until told, so that more NMIs arrive. */
	"in $0x41, %al\n nop\n nop\n out %al, $0x10\n hlt\n");
GUEST_CODE(nmi_handler,
	"incl 0x31000\n"
	"cmpl $1, 0x31000\n jne 1f\n"
	"out %al, $0x42\n"
	"1: iretq\n");
GUEST_CODE(tpr,
	"mov $5, %eax\n mov %rax, %cr8\n"	/* 0: classes 0..5 wait */
	"sti\n nop\n nop\n"			/* 9 */
	"mov %cr8, %rbx\n"			/* 12 */
	"mov $3, %eax\n mov %rax, %cr8\n"	/* 16, 21 */
	"nop\n"					/* 25 */
	"out %al, $0x10\n hlt\n");
GUEST_CODE(spin, "sti\n 1: pause\n cmpl $0, 0x30000\n je 1b\n out %al, $0x10\n hlt\n");
GUEST_CODE(bad_stack, "mov $0x8000000000000000, %rsp\n ud2\n");

/* Bochs' AMD CPU has faults of its own (Documentation/testing.rst); what they spoil is skipped. */
static void check_or(bool good, const char *what, const char *fault)
{
	if (!good && t.bochs_svm)
		ktap_skip(what, fault);
	else
		ktap_check(good, "%s", what);
}

#define NO_CR2		"Bochs does not load CR2 at VMRUN"
#define NO_NEXT_RIP	"Bochs injects software interrupts without the next RIP"
#define STALE_INFO	"Bochs does not tell of INT n in EXITINTINFO"
#define OPEN_WINDOW	"Bochs does not look at V_IRQ when a guest is entered with IF set"
#define NO_DR6		"Bochs does not set DR6 when #DB exits"
#define STRAY_TRAP	"Bochs gives the host the trap of an instruction that exits"

static void from_outside(void)
{
	struct hv_control *c = hv_vcpu_control(t.vcpu[0]);
	const struct eg_event *e;

	eg_load(nops, nops_end);
	eg_pend_exception(13, HV_EXC_PENDING | HV_EXC_ERROR_CODE, 0x1234, 0);
	ktap_check(eg_run() && eg_count() == 1 && eg_is(0, 13, 0) && eg_log(0)->error == 0x1234,
		   "#GP with its error code, at the instruction");

	eg_load(nops, nops_end);
	eg_pend_exception(14, HV_EXC_PENDING | HV_EXC_ERROR_CODE | HV_EXC_PAYLOAD, 6, 0xabc123);
	check_or(eg_run() && eg_count() == 1 && eg_is(0, 14, 0) && eg_log(0)->error == 6 &&
		 eg_log(0)->cr2 == 0xabc123, "#PF with CR2", NO_CR2);
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_CONTROL));
	check_or(c->cr2 == 0xabc123, "CR2 is in the control group", NO_CR2);
	c->cr2 = 0xabc123;
	hv_vcpu_set_state(t.vcpu[0], HV_GROUP(HV_GROUP_CONTROL));

	/* Not yet delivered: CR2 is unchanged, and the event is in the state. */
	eg_load(nops, nops_end);
	eg_pend_exception(14, HV_EXC_PENDING | HV_EXC_ERROR_CODE | HV_EXC_PAYLOAD, 2, 0xdef000);
	hv_vcpu_sync(t.vcpu[0]);
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_CONTROL) | HV_GROUP(HV_GROUP_EVENTS));
	ktap_check(c->cr2 == 0xabc123 && hv_vcpu_events(t.vcpu[0])->exc_flags ==
		   (HV_EXC_PENDING | HV_EXC_ERROR_CODE | HV_EXC_PAYLOAD) &&
		   hv_vcpu_events(t.vcpu[0])->exc_payload == 0xdef000,
		   "a pending #PF has not touched CR2 yet");
	check_or(eg_run() && eg_log(0)->cr2 == 0xdef000, "and does when it is taken", NO_CR2);

	eg_load(nops, nops_end);
	eg_pend_exception(1, HV_EXC_PENDING | HV_EXC_PAYLOAD, 0, 0x4000);
	eg_run();
	e = eg_log(0);
	ktap_check(eg_is(0, 1, 0) && (e->dr6 & 0xe00f) == 0x4000, "#DB with DR6: %#llx",
		   (unsigned long long)e->dr6);

	eg_load(ud, ud_end);
	eg_skip(6, 2);
	ktap_check(eg_run() && eg_count() == 1 && eg_is(0, 6, 0), "the guest's own #UD");
}

static void soft(void)
{
	struct hv_events *e = hv_vcpu_events(t.vcpu[0]);

	eg_load(intn, intn_end);
	ktap_check(eg_run() && eg_count() == 2 && eg_is(0, 0x55, 2) && eg_is(1, 3, 3),
		   "INT n and INT3 return behind themselves");

	eg_load(icebp, icebp_end);
	eg_skip(6, 1);
	eg_run();
	if (eg_log(0)->vector == 6)
		ktap_skip("ICEBP returns behind itself", "this CPU has no ICEBP");
	else
		ktap_check(eg_count() == 1 && eg_is(0, 1, 1), "ICEBP returns behind itself");

	eg_load(nops, nops_end);
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS));
	e->int_flags = HV_INT_INJECTED | HV_INT_SOFT;
	e->int_vector = 0x66;
	e->int_length = 2;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS));
	check_or(eg_run() && eg_count() == 1 && eg_is(0, 0x66, 2),
		 "a software interrupt from outside returns behind its instruction", NO_NEXT_RIP);

	eg_load(nops, nops_end);
	eg_fresh_stack(0x66, 1);
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS));
	e->int_flags = HV_INT_INJECTED | HV_INT_SOFT;
	e->int_vector = 0x66;
	e->int_length = 2;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS));
	check_or(eg_run() && eg_count() == 1 && eg_is(0, 0x66, 2),
		 "the same when its stack faults in the second stage", NO_NEXT_RIP);
}

/* Each kind of event onto a stack that is not there. */
static void delivery_faults(void)
{
	eg_load(ud, ud_end);
	eg_skip(6, 2);
	eg_fresh_stack(6, 1);
	ktap_check(eg_run() && eg_count() == 1 && eg_is(0, 6, 0), "#UD onto a missing stack, once");

	eg_load(intn, intn_end);
	eg_fresh_stack(0x55, 1);
	eg_fresh_stack(3, 2);
	check_or(eg_run() && eg_count() == 2 && eg_is(0, 0x55, 2) && eg_is(1, 3, 3),
		 "INT n and INT3 onto missing stacks, once each", STALE_INFO);

	eg_load(nops, nops_end);
	eg_fresh_stack(14, 1);
	eg_pend_exception(14, HV_EXC_PENDING | HV_EXC_ERROR_CODE | HV_EXC_PAYLOAD, 7, 0x777000);
	check_or(eg_run() && eg_count() == 1 && eg_is(0, 14, 0) && eg_log(0)->error == 7 &&
		 eg_log(0)->cr2 == 0x777000, "#PF onto a missing stack keeps error code and CR2", NO_CR2);

	eg_load(sti_nop, sti_nop_end);
	eg_fresh_stack(0x44, 1);
	eg_msi(0, 0x44);
	ktap_check(eg_run() && eg_count() == 1 && eg_is(0, 0x44, 3),
		   "an interrupt onto a missing stack, once");
	eg_apic(0xb0, 0);

	eg_load(nops, nops_end);
	eg_fresh_stack(2, 1);
	eg_msi(4, 0);
	ktap_check(eg_run() && eg_count() == 1 && eg_is(0, 2, 0), "an NMI onto a missing stack, once");

	/* The descriptor tables themselves, and the handler's page. */
	eg_load(ud, ud_end);
	eg_skip(6, 2);
	eg_run();
	eg_load(nops, nops_end);
	eg_msi(4, 0);
	testvm_gate(&t, 2, EG_STACK + 0x9000, 0);
	eg_forget(EG_STACK + 0x9000);
	memcpy(t.mem + EG_STACK + 0x9000, t.mem + eg_handler_of(2), 16);
	t.mem[EG_STACK + 0x9007] = 0xcc;	/* jmp becomes INT3: taken in the fresh page */
	eg_skip(3, 0);
	testvm_run(&t, 0);
	ktap_check(eg_count() >= 1 && eg_log(0)->vector == 3 &&
		   eg_log(0)->rip == EG_STACK + 0x9008, "a handler in a page that is not there");
}

static void double_faults(void)
{
	struct hv_segs *s = hv_vcpu_segs(t.vcpu[0]);

	/* #UD cannot push: #DF on its own stack. */
	eg_load(bad_stack, bad_stack_end);
	testvm_gate(&t, 8, TVM_CODE + 0x800, 1);
	memcpy(t.mem + TVM_CODE + 0x800, "\xe6\x10\xf4", 3);	/* out %al, $0x10; hlt */
	ktap_check(eg_run(), "an exception without a stack is a #DF");

	/* The same through a second-stage fault on the #DF stack. */
	eg_load(bad_stack, bad_stack_end);
	eg_fresh_stack(8, 1);
	testvm_gate(&t, 8, TVM_CODE + 0x800, 1);
	memcpy(t.mem + TVM_CODE + 0x800, "\xe6\x10\xf4", 3);
	ktap_check(eg_run(), "also when the #DF's stack is not there");

	eg_load(bad_stack, bad_stack_end);
	testvm_gate(&t, 8, 0x8000000000000000ULL, 0);
	ktap_check(testvm_run(&t, 0) == HV_EXIT_SHUTDOWN, "a #DF that cannot be delivered: SHUTDOWN");

	/* Merging is the module's when the second exception is its own. */
	eg_load(nops, nops_end);
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_SEGS));
	s->idtr.limit = 0;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_SEGS));
	eg_pend_exception(13, HV_EXC_PENDING | HV_EXC_ERROR_CODE, 0, 0);
	ktap_check(testvm_run(&t, 0) == HV_EXIT_SHUTDOWN, "no IDT: SHUTDOWN");
	eg_load(nops, nops_end);
	ktap_check(eg_run() && eg_count() == 0, "the vCPU runs again after it");
}

static void interrupts(void)
{
	struct hv_run *run = t.vcpu[0]->run;

	eg_load(sti_nop, sti_nop_end);
	eg_msi(0, 0x44);
	ktap_check(eg_run() && eg_count() == 1 && eg_is(0, 0x44, 3),
		   "STI's shadow covers one instruction");
	eg_apic(0xb0, 0);

	eg_load(sti_cpuid, sti_cpuid_end);
	eg_msi(0, 0x44);
	ktap_check(eg_run() && eg_count() == 1 && eg_is(0, 0x44, 5),
		   "an emulated instruction ends the shadow");
	eg_apic(0xb0, 0);

	eg_load(sti_hlt, sti_hlt_end);
	eg_msi(0, 0x44);
	ktap_check(eg_run() && eg_count() == 1 && eg_is(0, 0x44, 2), "STI; HLT is woken behind HLT");
	eg_apic(0xb0, 0);

	/* Shadow given from outside. */
	eg_load_open(nops, nops_end);
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS));
	hv_vcpu_events(t.vcpu[0])->shadow = HV_SHADOW_STI;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS));
	eg_msi(0, 0x44);
	eg_run();
	if (eg_count() == 1 && eg_log(0)->rip == TVM_CODE)
		ktap_skip("a shadow set from outside holds", "this CPU ignores the VMCB's shadow");
	else
		check_or(eg_is(0, 0x44, 1), "a shadow set from outside holds", OPEN_WINDOW);
	eg_apic(0xb0, 0);

	/* Class 4 interrupt, CR8 5: waits for CR8 3. */
	eg_load(tpr, tpr_end);
	eg_msi(0, 0x44);
	ktap_check(eg_run() && eg_count() == 1 && eg_is(0, 0x44, 25) &&
		   hv_vcpu_regs(t.vcpu[0])->gpr[HV_RBX] == 5, "CR8 holds back, and lets go at once");
	eg_apic(0xb0, 0);
	eg_apic(0x80, 0);

	/* NMI first, then the interrupt, before the NMI's handler has run. */
	eg_load_open(nops, nops_end);
	eg_msi(0, 0x44);
	eg_msi(4, 0);
	ktap_check(eg_run() && eg_count() == 2 && eg_is(0, 2, 0) && eg_is(1, 0x44, 0),
		   "an NMI before an interrupt");
	eg_apic(0xb0, 0);

	/* An exception in flight goes before both. */
	eg_load_open(nops, nops_end);
	eg_pend_exception(13, HV_EXC_PENDING | HV_EXC_ERROR_CODE, 0, 0);
	hv_vcpu_sync(t.vcpu[0]);
	eg_msi(0, 0x44);
	eg_msi(4, 0);
	/* The handler of an exception is entered; the NMI strikes before its first
	 * instruction, and so writes its entry first. */
	ktap_check(eg_run() && eg_count() == 3 && eg_log(0)->vector == 2 &&
		   eg_log(0)->rip == eg_handler_of(13) && eg_is(1, 13, 0) && eg_is(2, 0x44, 0),
		   "an exception, then an NMI, then an interrupt");
	eg_apic(0xb0, 0);

	/* The 8259's line. */
	eg_load_open(nops, nops_end);
	eg_apic(0x350, 0x700);		/* LVT0: ExtINT */
	hv_set_line(t.vm, HV_LINE_INTR, true);
	ktap_check(testvm_run(&t, 0) == HV_EXIT_EXTINT, "the INTR line asks for an acknowledge");
	hv_set_line(t.vm, HV_LINE_INTR, false);
	hv_vcpu_inject_extint(t.vcpu[0], 0x77);
	ktap_check(eg_run() && eg_count() == 1 && eg_is(0, 0x77, 0), "and its vector is delivered");

	/* Line up, interrupts off: the exit comes when they go on. */
	eg_load(sti_nop, sti_nop_end);
	hv_set_line(t.vm, HV_LINE_INTR, true);
	ktap_check(testvm_run(&t, 0) == HV_EXIT_EXTINT &&
		   hv_vcpu_regs(t.vcpu[0])->rip == TVM_CODE + 3, "with interrupts off it waits");
	hv_set_line(t.vm, HV_LINE_INTR, false);

	eg_load(sti_nop, sti_nop_end);
	run->want_windows = HV_WINDOW_INTR;
	ktap_check(testvm_run(&t, 0) == HV_EXIT_WINDOW && (run->windows & HV_WINDOW_INTR) &&
		   hv_vcpu_regs(t.vcpu[0])->rip == TVM_CODE + 3, "an interrupt window is told");
	run->want_windows = 0;
	ktap_check(eg_run(), "and the guest goes on");
	eg_apic(0x350, 0x10000);
}

static void nmis(void)
{
	struct hv_events *e = hv_vcpu_events(t.vcpu[0]);
	struct hv_run *run = t.vcpu[0]->run;
	uint32_t *count = (uint32_t *)(t.mem + 0x31000);

	/* Three more while the first is handled: one is latched. */
	eg_load(nmi_twice, nmi_twice_end);
	testvm_code(&t, TVM_CODE + 0x800, nmi_handler, nmi_handler_end);
	testvm_gate(&t, 2, TVM_CODE + 0x800, 0);
	*count = 0;
	testvm_expect(&t, 0, HV_EXIT_IO);
	testvm_done(&t, 0, 0);
	eg_msi(4, 0);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(run->io.port == 0x42 && *count == 1, "an NMI is handled");
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS));
	ktap_check(e->nmi_masked == 1 && !e->nmi_pending, "NMIs are masked in its handler");
	eg_msi(4, 0);
	eg_msi(4, 0);
	eg_msi(4, 0);
	testvm_done(&t, 0, 0);
	ktap_check(eg_run(), "the handlers return");
	ktap_check(*count == 2, "of three NMIs during it one is latched: %u in all", *count);
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS));
	ktap_check(e->nmi_masked == 0, "and the mask is gone");

	/* The mask survives a save and restore in the handler, so does a latched NMI. */
	eg_load(nmi_twice, nmi_twice_end);
	testvm_gate(&t, 2, TVM_CODE + 0x800, 0);
	*count = 0;
	testvm_expect(&t, 0, HV_EXIT_IO);
	testvm_done(&t, 0, 0);
	eg_msi(4, 0);
	testvm_expect(&t, 0, HV_EXIT_IO);
	testvm_done(&t, 0, 0);
	eg_msi(4, 0);
	hv_vcpu_sync(t.vcpu[0]);
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS));
	ktap_check(e->nmi_masked && e->nmi_pending == 1, "mask and latched NMI are in the state");
	hv_vcpu_set_state(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS));
	ktap_check(eg_run() && *count == 2, "and work after a restore");

	eg_load(nmi_twice, nmi_twice_end);
	testvm_gate(&t, 2, TVM_CODE + 0x800, 0);
	*count = 0;
	testvm_expect(&t, 0, HV_EXIT_IO);
	testvm_done(&t, 0, 0);
	eg_msi(4, 0);
	testvm_expect(&t, 0, HV_EXIT_IO);
	testvm_done(&t, 0, 0);
	run->want_windows = HV_WINDOW_NMI;
	ktap_check(testvm_run(&t, 0) == HV_EXIT_WINDOW && (run->windows & HV_WINDOW_NMI) &&
		   hv_vcpu_regs(t.vcpu[0])->rip == TVM_CODE + 2, "an NMI window opens at the IRET");
	run->want_windows = 0;
	ktap_check(eg_run(), "and the guest goes on");
}

static void stepping_through(void)
{
	static const uint8_t rips[] = { 10, 12, 14, 15, 17, 18 };
	struct hv_run *run = t.vcpu[0]->run;
	unsigned int i, good = 0;

	if (t.bochs_svm) {
		/* The trap would kill the host: it comes before its TR and GS are back. */
		ktap_skip("stepping reaches the IN", STRAY_TRAP);
		ktap_skip("#DB with BS after each instruction, emulated ones too", STRAY_TRAP);
		return;
	}
	eg_load(stepping, stepping_end);
	eg_stop(TVM_CODE + 18);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(run->io.in && run->io.port == 0x40, "stepping reaches the IN");
	testvm_done(&t, 0, 0x5a);
	eg_run();
	for (i = 0; i < sizeof(rips); i++)
		good += eg_is(i, 1, rips[i]) && (eg_log(i)->dr6 & 0x4000);
	ktap_check(good == sizeof(rips) && eg_count() == good,
		   "#DB with BS after each instruction, emulated ones too: %u of %u", good, eg_count());
}

static void debugging(void)
{
	stepping_through();

	eg_load(breakpoints, breakpoints_end);
	/* The handler skips the NOP at the first one, or it would be taken again. */
	eg_skip(1, 1);
	eg_run();
	if (!eg_count())
		ktap_skip("hardware breakpoints trap", "this CPU does not arm them on VMRUN");
	else
		check_or(eg_count() == 2 && eg_is(0, 1, BREAK_AT) && eg_log(0)->dr6 & 1 &&
			 eg_is(1, 1, WATCH_AT) && eg_log(1)->dr6 & 2, "hardware breakpoints trap", NO_DR6);
}

static void from_other_thread(void)
{
	struct hv_stats st = { .size = sizeof(st) };

	/* Interrupt for a guest that is running: the kick makes it look. */
	eg_load(spin, spin_end);
	eg_msi(0, 0x44);
	ktap_check(eg_run() && eg_count() == 1, "a spinning guest gets its interrupt");
	eg_apic(0xb0, 0);
	ktap_check(!hv_get_stats(t.vm, 0, &st) && st.counter[HV_STAT_IRQ_INJECTED] &&
		   st.counter[HV_STAT_NMI_INJECTED] && st.counter[HV_STAT_EXC_INJECTED],
		   "and it was counted");
}

int main(void)
{
	testvm_open(&t);
	ktap_plan(48);
	eg_create();
	testvm_long(&t, 0, TVM_CODE);
	eg_apic(0xf0, 0x1ff);		/* software enable */
	from_outside();
	soft();
	delivery_faults();
	double_faults();
	interrupts();
	nmis();
	debugging();
	from_other_thread();
	testvm_destroy(&t);
	return ktap_finish();
}
