// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contract 9: MSRs that neither entry nor exit of some CPU switches, of two guests that take turns
 * on one CPU and of the host between them: each sees its own, whoever ran before.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#define TURNS	200

/*
 * RDI: a table of pairs (MSR, value), ended by 0.  RBX: what each value is to be changed by after
 * it was found as it should be.  Port 0x10: all were; port 0x11: the one in ECX was not, EAX and
 * EDX say what was there.
 */
GUEST_CODE(turn,
	"1: mov %rdi, %rsi\n"
	"2: mov (%rsi), %ecx\n test %ecx, %ecx\n jz 3f\n"
	"rdmsr\n"
	"cmp 8(%rsi), %eax\n jne 4f\n"
	"cmp 12(%rsi), %edx\n jne 4f\n"
	"add %ebx, %eax\n mov %eax, 8(%rsi)\n"
	"wrmsr\n"
	"add $16, %rsi\n jmp 2b\n"
	"3: mov $0xc0000103, %ecx\n rdmsr\n mov %eax, %r8d\n"
	"rdtscp\n cmp %r8d, %ecx\n jne 4f\n"
	"out %al, $0x10\n jmp 1b\n"
	"4: out %al, $0x11\n jmp 4b\n");

static const struct {
	uint32_t msr;
	const char *name;
} msrs[] = {
	{ 0xc0000081, "STAR" }, { 0xc0000082, "LSTAR" }, { 0xc0000083, "CSTAR" },
	{ 0xc0000084, "FMASK" }, { 0xc0000102, "KERNEL_GS_BASE" }, { 0xc0000103, "TSC_AUX" },
	{ 0x174, "SYSENTER_CS" }, { 0x175, "SYSENTER_ESP" }, { 0x176, "SYSENTER_EIP" },
};

#define COUNT	(sizeof(msrs) / sizeof(msrs[0]))
#define TABLE	0x20000

static int msr_fd;

static uint64_t host_msr(uint32_t msr)
{
	uint64_t val = ~0ULL;

	if (pread(msr_fd, &val, 8, msr) != 8)
		ktap_note("cannot read MSR %#x", msr);
	return val;
}

static void guest(struct testvm *t, uint64_t first, uint32_t step)
{
	struct hv_msrs *m;
	uint64_t *table;
	unsigned int i;

	testvm_create(t, 2 << 20, 1);
	testvm_code(t, TVM_CODE, turn, turn_end);
	testvm_long(t, 0, TVM_CODE);
	if (hv_vcpu_get_state(t->vcpu[0], HV_GROUP(HV_GROUP_MSRS)))
		ktap_bail("cannot read the guest's MSRs");
	m = t->vcpu[0]->group[HV_GROUP_MSRS];
	m->star = m->lstar = m->cstar = m->sfmask = m->kernel_gs_base = m->tsc_aux = first;
	m->sysenter_cs = m->sysenter_esp = m->sysenter_eip = first;
	if (hv_vcpu_set_state(t->vcpu[0], HV_GROUP(HV_GROUP_MSRS)))
		ktap_bail("cannot set the guest's MSRs");
	table = (uint64_t *)(t->mem + TABLE);
	for (i = 0; i < COUNT; i++) {
		table[2 * i] = msrs[i].msr;
		table[2 * i + 1] = first;
	}
	hv_vcpu_regs(t->vcpu[0])->gpr[HV_RDI] = TABLE;
	hv_vcpu_regs(t->vcpu[0])->gpr[HV_RBX] = step;
	hv_vcpu_mark_dirty(t->vcpu[0], HV_GROUP(HV_GROUP_REGS));
}

/* One turn; says what was wrong. */
static int run(struct testvm *t, int who)
{
	struct hv_vcpu *v = t->vcpu[0];
	const struct hv_regs *r = hv_vcpu_regs(v);

	testvm_expect(t, 0, HV_EXIT_IO);
	if (v->run->io.port != 0x10) {
		ktap_note("guest %d, MSR %#llx: %#llx %#llx", who,
			  (unsigned long long)r->gpr[HV_RCX], (unsigned long long)r->gpr[HV_RDX],
			  (unsigned long long)r->gpr[HV_RAX]);
		return 1;
	}
	testvm_done(t, 0, 0);
	return 0;
}

int main(void)
{
	static struct testvm a, b;
	uint64_t before[COUNT], after[COUNT];
	unsigned int i, turn_no, wrong = 0, changed = 0;
	uint32_t lo, hi, aux, aux_now;
	cpu_set_t set;

	testvm_open(&a);
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		ktap_bail("cannot stay on CPU 0");
	msr_fd = open("/dev/cpu/0/msr", O_RDONLY);
	if (msr_fd < 0 && !system("modprobe -q msr"))
		msr_fd = open("/dev/cpu/0/msr", O_RDONLY);
	ktap_plan(4);
	/* SYSENTER_CS has 16 bits. */
	guest(&a, 0x1100, 3);
	guest(&b, 0x7f00, 5);
	for (i = 0; i < COUNT && msr_fd >= 0; i++)
		before[i] = host_msr(msrs[i].msr);
	asm volatile("rdtscp" : "=a" (lo), "=d" (hi), "=c" (aux));

	for (turn_no = 0; turn_no < TURNS && !wrong; turn_no++) {
		wrong += run(&a, 0);
		/* A system call by SYSCALL, and user space's own TSC_AUX. */
		if (getppid() < 0)
			break;
		wrong += run(&b, 1);
		asm volatile("rdtscp" : "=a" (lo), "=d" (hi), "=c" (aux_now));
		changed += aux_now != aux;
		/* Off the CPU and on again between some of them. */
		if (turn_no % 16 == 15)
			usleep(1000);
	}
	ktap_check(turn_no == TURNS && !wrong, "two guests found their own %u times each", turn_no);
	ktap_check(!changed, "and user space its TSC_AUX: %u times not", changed);
	if (msr_fd < 0) {
		ktap_skip("the host's", "no msr driver");
	} else {
		for (i = 0, changed = 0; i < COUNT; i++) {
			after[i] = host_msr(msrs[i].msr);
			/* The kernel changes this one itself with every thread. */
			if (after[i] == before[i] || msrs[i].msr == 0xc0000102)
				continue;
			ktap_note("%s: %#llx, now %#llx", msrs[i].name,
				  (unsigned long long)before[i], (unsigned long long)after[i]);
			changed++;
		}
		ktap_check(!changed, "and the host all of its own");
	}
	/* What the group says is what the guest has. */
	hv_vcpu_get_state(a.vcpu[0], HV_GROUP(HV_GROUP_MSRS));
	{
		const struct hv_msrs *m = a.vcpu[0]->group[HV_GROUP_MSRS];
		uint64_t want = 0x1100 + 3 * TURNS;

		ktap_check(m->star == want && m->lstar == want && m->sfmask == want &&
			   m->tsc_aux == want && m->kernel_gs_base == want,
			   "and so does its state group: %#llx", (unsigned long long)m->lstar);
	}
	return ktap_finish();
}
