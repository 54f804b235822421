// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU modes through the backend: a guest goes from real to 64-bit mode by itself, runs in
 * virtual-8086 and user mode, loads null and system segments; what it reads of CR0, CR4 and its
 * descriptors is its own; the state groups show each mode as it is and take it back.
 */
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

/* At 0x10000, CS 0x1000.  The stages are told apart by port. */
GUEST_CODE(climb,
	".code16\n"
	"out %al, $0x20\n"
	"cli\n xor %ax, %ax\n mov %ax, %ds\n"
	"lgdtl 0x700\n"
	"mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n"
	"ljmpl $0x18, $0x10000 + (climb32 - climb)\n"
	".code32\n climb32:\n"
	"mov $0x10, %ax\n mov %ax, %ds\n mov %ax, %es\n mov %ax, %ss\n mov $0x8000, %esp\n"
	"out %al, $0x21\n"
	"mov %cr4, %eax\n or $0x20, %eax\n mov %eax, %cr4\n"
	"mov $0x2000, %eax\n mov %eax, %cr3\n"
	"mov $0xc0000080, %ecx\n rdmsr\n or $0x100, %eax\n wrmsr\n"
	"mov %cr0, %eax\n or $0x80000000, %eax\n mov %eax, %cr0\n"
	"out %al, $0x22\n"		/* compatibility mode */
	"ljmp $0x08, $0x10000 + (climb64 - climb)\n"
	".code64\n climb64:\n"
	"mov $0x20, %ax\n ltr %ax\n"
	"xor %eax, %eax\n mov %ax, %ds\n mov %ax, %es\n mov %ax, %fs\n"
	"mov $0xc0000080, %ecx\n rdmsr\n"
	"out %eax, $0x23\n"
	"ljmp *0x708\n"			/* back to compatibility mode */
	".code32\n climb32again:\n"
	"mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
	"mov $0xc0000080, %ecx\n rdmsr\n"
	"out %eax, $0x24\n hlt\n"
	"climb_stages:\n .long climb32again - climb\n");
extern const uint8_t climb_stages[];

GUEST_CODE(cache_off,
	"mov %cr0, %rax\n or $0x60000000, %rax\n mov %rax, %cr0\n"
	"mov %cr0, %rbx\n smsw %rcx\n"
	"mov %cr4, %rdx\n"
	"out %al, $0x20\n"
	"and $~0x60000000, %rax\n mov %rax, %cr0\n"
	"or $8, %rax\n mov %rax, %cr0\n mov %cr0, %rbx\n"	/* TS */
	"clts\n mov %cr0, %rcx\n"
	"out %al, $0x21\n"
	"mov $0x33, %eax\n lmsw %ax\n mov %cr0, %rbx\n"		/* PE MP NE */
	"xor %eax, %eax\n lmsw %ax\n mov %cr0, %rcx\n"		/* PE stays */
	"out %al, $0x22\n hlt\n");
GUEST_CODE(v86, ".code16\n mov $0x1234, %ax\n cpuid\n 1: jmp 1b\n");
GUEST_CODE(user, "cpuid\n out %al, $0x20\n hlt\n");
GUEST_CODE(tss, ".code32\n ljmp $0x28, $0\n");
GUEST_CODE(edge, "cpuid\n out %al, $0x20\n hlt\n");

static struct testvm t;

static struct hv_seg *seg(int n)
{
	return &hv_vcpu_segs(t.vcpu[0])->seg[n];
}

static void get(uint64_t groups)
{
	int err = hv_vcpu_get_state(t.vcpu[0], groups);

	if (err)
		ktap_bail("get_state: %s", strerror(-err));
}

static void stage(uint16_t port)
{
	testvm_expect(&t, 0, HV_EXIT_IO);
	if (t.vcpu[0]->run->io.port != port)
		ktap_bail("port %#x at %#llx, expected %#x", t.vcpu[0]->run->io.port,
			  (unsigned long long)hv_vcpu_regs(t.vcpu[0])->rip, port);
	get(HV_GROUP(HV_GROUP_SEGS) | HV_GROUP(HV_GROUP_CONTROL));
}

/* Take the whole state out and put it back: the guest must not notice. */
static void done_and_rebuild(void)
{
	const uint64_t groups = HV_GROUP(HV_GROUP_REGS) | HV_GROUP(HV_GROUP_SEGS) |
		HV_GROUP(HV_GROUP_CONTROL) | HV_GROUP(HV_GROUP_DEBUG) | HV_GROUP(HV_GROUP_MSRS) |
		HV_GROUP(HV_GROUP_EVENTS);
	static uint8_t first[8][2048];
	int i, err;

	testvm_done(&t, 0, 0);
	hv_vcpu_sync(t.vcpu[0]);
	get(groups);
	for (i = 0; i < HV_GROUP_MP; i++)
		memcpy(first[i], t.vcpu[0]->group[i], t.info.group[i].size);
	err = hv_vcpu_set_state(t.vcpu[0], groups);
	if (err)
		ktap_bail("the state is not taken back: %s", strerror(-err));
	get(groups);
	for (i = 0; i < HV_GROUP_MP; i++)
		if (memcmp(first[i], t.vcpu[0]->group[i], t.info.group[i].size))
			ktap_bail("group %d changed by going out and in", i);
}

static void climbing(void)
{
	struct hv_control *c;
	static const struct { uint16_t limit; uint32_t base; } __attribute__((packed))
		gdtr = { 0x2f, 0x500 };
	struct { uint32_t offset; uint16_t sel; } far = { TVM_CODE, TVM_SEL_CODE32 };
	uint32_t off;

	testvm_create(&t, 2 << 20, 2);
	c = hv_vcpu_control(t.vcpu[0]);
	testvm_long(&t, 1, 0);		/* the other vCPU, for the tables in memory */
	memcpy(t.mem + 0x700, &gdtr, sizeof(gdtr));
	memcpy(&off, climb_stages, 4);
	far.offset += off;
	memcpy(t.mem + 0x708, &far, 6);
	testvm_code(&t, TVM_CODE, climb, climb_end);
	testvm_real(&t, 0, TVM_CODE >> 4, 0);

	stage(0x20);
	ktap_check(!(c->cr0 & 1) && c->efer == 0 && seg(HV_CS)->base == TVM_CODE &&
		   seg(HV_CS)->selector == TVM_CODE >> 4 && seg(HV_CS)->limit == 0xffff,
		   "real mode");
	ktap_check((c->cr0 & 0x60000000) == 0x60000000, "CD and NW as after reset: %#llx",
		   (unsigned long long)c->cr0);
	done_and_rebuild();
	stage(0x21);
	ktap_check((c->cr0 & 0x80000001) == 1 && seg(HV_CS)->selector == 0x18 &&
		   (seg(HV_CS)->attr & (HV_SEG_DB | HV_SEG_L | HV_SEG_G)) == (HV_SEG_DB | HV_SEG_G) &&
		   seg(HV_CS)->limit == 0xffffffff, "32-bit protected mode: CS attr %#x limit %#x",
		   seg(HV_CS)->attr, seg(HV_CS)->limit);
	done_and_rebuild();
	stage(0x22);
	ktap_check((c->efer & 0x500) == 0x500 && (c->cr0 & 0x80000001) == 0x80000001 &&
		   !(seg(HV_CS)->attr & HV_SEG_L), "compatibility mode: EFER %#llx",
		   (unsigned long long)c->efer);
	done_and_rebuild();
	stage(0x23);
	ktap_check((seg(HV_CS)->attr & (HV_SEG_DB | HV_SEG_L)) == HV_SEG_L, "64-bit mode");
	ktap_check((t.vcpu[0]->run->io.data & 0x1500) == 0x500, "the guest sees LMA, LME, no SVME: %#x",
		   t.vcpu[0]->run->io.data);
	ktap_check((seg(HV_DS)->attr & HV_SEG_UNUSABLE) && !(seg(HV_CS)->attr & HV_SEG_UNUSABLE),
		   "a null DS is unusable: %#x", seg(HV_DS)->attr);
	ktap_check(seg(HV_TR)->selector == 0x20 && (seg(HV_TR)->attr & 0xf) == 0xb, "TR is busy: %#x",
		   seg(HV_TR)->attr);
	done_and_rebuild();
	stage(0x24);
	ktap_check((t.vcpu[0]->run->io.data & 0x500) == 0x100 && (c->efer & 0x500) == 0x100,
		   "paging off: LME stays, LMA goes: %#x", t.vcpu[0]->run->io.data);
	done_and_rebuild();
}

static void registers(void)
{
	__u64 *g = hv_vcpu_regs(t.vcpu[0])->gpr;
	struct hv_control *c = hv_vcpu_control(t.vcpu[0]);

	testvm_code(&t, TVM_CODE, cache_off, cache_off_end);
	testvm_long(&t, 0, TVM_CODE);
	stage(0x20);
	ktap_check((g[HV_RBX] & 0x60000000) == 0x60000000 && g[HV_RCX] == g[HV_RBX] &&
		   c->cr0 == g[HV_RBX], "CD and NW read as written: %#llx, SMSW %#llx",
		   (unsigned long long)g[HV_RBX], (unsigned long long)g[HV_RCX]);
	ktap_check(g[HV_RDX] == 0x620, "CR4 has nothing of the host's: %#llx",
		   (unsigned long long)g[HV_RDX]);
	testvm_done(&t, 0, 0);
	stage(0x21);
	ktap_check((g[HV_RBX] & 8) && !(g[HV_RCX] & 8), "TS and CLTS");
	testvm_done(&t, 0, 0);
	stage(0x22);
	ktap_check((g[HV_RBX] & 0xf) == 3 && (g[HV_RCX] & 0xf) == 1, "LMSW: %#llx, %#llx",
		   (unsigned long long)g[HV_RBX], (unsigned long long)g[HV_RCX]);
	testvm_done(&t, 0, 0);
}

static void on_alarm(int sig)
{
}

static void levels(void)
{
	static const struct itimerval every = { { .tv_usec = 500000 }, { .tv_usec = 500000 } }, none;
	struct hv_segs *s = hv_vcpu_segs(t.vcpu[0]);
	int i;

	testvm_code(&t, TVM_CODE, user, user_end);
	testvm_long(&t, 0, TVM_CODE);
	get(HV_GROUP(HV_GROUP_SEGS) | HV_GROUP(HV_GROUP_REGS));
	s->seg[HV_CS].selector = 0x2b;
	s->seg[HV_CS].attr |= HV_SEG_DPL;
	s->seg[HV_SS].selector = 0x33;
	s->seg[HV_SS].attr |= HV_SEG_DPL;
	hv_vcpu_regs(t.vcpu[0])->rflags = 0x3002;	/* IOPL 3 */
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_SEGS) | HV_GROUP(HV_GROUP_REGS));
	stage(0x20);
	ktap_check((seg(HV_SS)->attr & HV_SEG_DPL) == HV_SEG_DPL, "user mode: CPL is SS's DPL");
	testvm_done(&t, 0, 0);

	testvm_destroy(&t);
	testvm_create(&t, 2 << 20, 1);
	s = hv_vcpu_segs(t.vcpu[0]);
	testvm_code(&t, TVM_CODE, v86, v86_end);
	testvm_prot32(&t, 0, 0);
	get(HV_GROUP(HV_GROUP_SEGS) | HV_GROUP(HV_GROUP_REGS));
	for (i = HV_ES; i <= HV_GS; i++) {
		s->seg[i].selector = i == HV_CS ? TVM_CODE >> 4 : 0;
		s->seg[i].base = s->seg[i].selector << 4;
		s->seg[i].limit = 0xffff;
		s->seg[i].attr = HV_SEG_P | HV_SEG_S | HV_SEG_DPL | 3;
	}
	hv_vcpu_regs(t.vcpu[0])->rip = 0;
	hv_vcpu_regs(t.vcpu[0])->rflags = 0x23202;	/* VM, IOPL 3, IF: see testvm_long() */
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_SEGS) | HV_GROUP(HV_GROUP_REGS));
	/* Until a signal: QEMU's I/O permission check wants a TSS that is not busy.  One that comes
	 * between two runs ends neither. */
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &every, NULL);
	for (i = 0; i < 40 && hv_vcpu_regs(t.vcpu[0])->rip != 5; i++) {
		while (!hv_vcpu_run(t.vcpu[0]) && t.vcpu[0]->run->exit_reason == HV_EXIT_NONE)
			;
	}
	setitimer(ITIMER_REAL, &none, NULL);
	get(HV_GROUP(HV_GROUP_SEGS));
	ktap_check(t.vcpu[0]->run->exit_reason == HV_EXIT_SIGNAL &&
		   hv_vcpu_regs(t.vcpu[0])->rip == 5 && (seg(HV_SS)->attr & HV_SEG_DPL) == HV_SEG_DPL,
		   "virtual-8086 mode: RIP %#llx", (unsigned long long)hv_vcpu_regs(t.vcpu[0])->rip);
}

static void task_switch(void)
{
	static const uint64_t desc = 0x0000890006000067ULL;
	const uint32_t code = t.info.vendor == HV_VENDOR_VMX ? 9 : 0x7d;

	testvm_destroy(&t);
	testvm_create(&t, 2 << 20, 1);
	testvm_code(&t, TVM_CODE, tss, tss_end);
	testvm_prot32(&t, 0, TVM_CODE);
	memcpy(t.mem + 0x528, &desc, 8);
	if (testvm_run(&t, 0) == HV_EXIT_SHUTDOWN)
		ktap_skip("a task switch is userspace's", "this CPU has no such intercept (QEMU 7.2)");
	else
		ktap_check(t.vcpu[0]->run->exit_reason == HV_EXIT_INSN &&
			   t.vcpu[0]->run->mem.code == code && t.vcpu[0]->run->mem.insn[0] == 0xea &&
			   hv_vcpu_regs(t.vcpu[0])->rip == TVM_CODE,
			   "a task switch is userspace's, with its bytes");
}

/* An instruction that crosses into a page no byte of which was read before. */
static void crossing(void)
{
	testvm_destroy(&t);
	testvm_create(&t, 2 << 20, 1);
	testvm_code(&t, TVM_CODE + 0xfff, edge, edge_end);
	testvm_long(&t, 0, TVM_CODE + 0xfff);
	stage(0x20);
	ktap_check(hv_vcpu_regs(t.vcpu[0])->rip == TVM_CODE + 0x1001, "CPUID across a page boundary");
	ktap_check(t.vcpu[0]->run->io.length == 2, "and the length of what follows");
}

int main(void)
{
	testvm_open(&t);
	ktap_plan(18);
	climbing();
	registers();
	levels();
	task_switch();
	crossing();
	testvm_destroy(&t);
	return ktap_finish();
}
