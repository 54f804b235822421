// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contract 10: x87, SSE, AVX, MXCSR, XCR0 and PKRU belong to the guest inside and to the host
 * outside.  Two guests and this program keep different values at once, across exits of every
 * speed and a rival for the CPU; the XSAVE group shows and takes them; images that would make
 * XRSTOR fault are refused.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cpuid.h>
#include "ktap.h"
#include "lib/testvm.h"

#define PATTERN	0x20000		/* 16 * 32 bytes: YMM0..15, then MXCSR at +512 */
#define COPY	0x21000
#define ROUNDS	0x22000		/* u64: loops still to do; +8: mismatches */

/* Load, then loop: exits, store, compare.  RBX: features of the loop (1: AVX). */
#define LOAD(n)  "vmovdqu 0x20000+32*" #n ", %ymm" #n "\n"
#define STORE(n) "vmovdqu %ymm" #n ", 0x21000+32*" #n "\n"
#define LOADX(n)  "movdqu 0x20000+32*" #n ", %xmm" #n "\n"
#define STOREX(n) "movdqu %xmm" #n ", 0x21000+32*" #n "\n"
#define ALL(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)

#define LOOP(store)							\
	"1: xor %eax, %eax\n cpuid\n"		/* fast exit */		\
	"out %al, $0x20\n"			/* to userspace */	\
	"pause\n"							\
	store "stmxcsr 0x21200\n"					\
	"fldt 0x20400\n fstpt 0x21400\n"				\
	"mov $0x20000, %esi\n mov $0x21000, %edi\n mov $516, %ecx\n"	\
	"cld\n repe cmpsb\n je 2f\n incq 0x22008\n"			\
	"2: decq 0x22000\n jnz 1b\n"					\
	"out %al, $0x10\n hlt\n"

GUEST_CODE(avx_loop,
	"mov %cr4, %rax\n or $0x40000, %eax\n mov %rax, %cr4\n"
	"xor %ecx, %ecx\n mov $7, %eax\n xor %edx, %edx\n xsetbv\n"
	"fninit\n" ALL(LOAD) "ldmxcsr 0x20200\n" LOOP(ALL(STORE)));
/* FNINIT: after a reset the x87 stack is full, and an error where CR0.NE is set is #MF. */
GUEST_CODE(sse_loop, "fninit\n" ALL(LOADX) "ldmxcsr 0x20200\n" LOOP(ALL(STOREX)));
GUEST_CODE(read_all, ALL(STOREX) "stmxcsr 0x21200\n out %al, $0x10\n hlt\n");
GUEST_CODE(pkru_code,
	"mov %cr4, %rax\n or $0x400000, %eax\n mov %rax, %cr4\n"
	"xor %ecx, %ecx\n xor %edx, %edx\n mov $0x55555550, %eax\n .byte 0x0f, 0x01, 0xef\n"
	"out %al, $0x20\n"
	"xor %ecx, %ecx\n .byte 0x0f, 0x01, 0xee\n mov %eax, %ebx\n"
	"out %al, $0x10\n hlt\n");

/* XCR0 from ESI; the two sizes of CPUID to R8 and R10, what XSAVE can do to R9. */
GUEST_CODE(sizes_code,
	"mov %cr4, %rax\n or $0x40000, %eax\n mov %rax, %cr4\n"
	"xor %ecx, %ecx\n mov %esi, %eax\n xor %edx, %edx\n xsetbv\n"
	"mov $0xd, %eax\n xor %ecx, %ecx\n cpuid\n mov %rbx, %r8\n"
	"mov $0xd, %eax\n mov $1, %ecx\n cpuid\n mov %rax, %r9\n mov %rbx, %r10\n"
	"out %al, $0x10\n hlt\n");

static struct testvm a, b;
static bool avx, pku;

static void fill(struct testvm *t, uint8_t tag, uint32_t mxcsr, uint64_t rounds, bool wide)
{
	uint64_t zero = 0;
	int i;

	for (i = 0; i < 512; i++)
		t->mem[PATTERN + i] = tag + i * 7;
	if (!wide)	/* the upper halves are not stored */
		for (i = 0; i < 16; i++) {
			memset(t->mem + PATTERN + 32 * i + 16, 0, 16);
			memset(t->mem + COPY + 32 * i + 16, 0, 16);
		}
	memcpy(t->mem + PATTERN + 512, &mxcsr, 4);
	memcpy(t->mem + ROUNDS, &rounds, 8);
	memcpy(t->mem + ROUNDS + 8, &zero, 8);
}

static uint64_t mismatches(struct testvm *t)
{
	uint64_t n;

	memcpy(&n, t->mem + ROUNDS + 8, 8);
	return n;
}

static uint64_t host_pattern[8];

static void host_load(void)
{
	asm volatile("movdqu (%0), %%xmm6\n\tmovdqu 16(%0), %%xmm15\n\tmovdqu 32(%0), %%xmm0"
		     :: "r" (host_pattern));
}

static bool host_holds(void)
{
	uint64_t now[6];

	asm volatile("movdqu %%xmm6, (%0)\n\tmovdqu %%xmm15, 16(%0)\n\tmovdqu %%xmm0, 32(%0)"
		     :: "r" (now) : "memory");
	return !memcmp(now, host_pattern, sizeof(now));
}

/* The bare call, so that no library code touches a vector register between. */
static __attribute__((noinline)) bool host_survives(struct testvm *t)
{
	long fd = t->vcpu[0]->fd, ret;

	host_load();
	asm volatile("syscall" : "=a" (ret)
		     : "a" (16L), "D" (fd), "S" ((long)HV_RUN), "d" (0L)
		     : "rcx", "r11", "memory");
	return host_holds() && ret == 0;
}

static uint64_t xgetbv0(void)
{
	uint32_t lo, hi;

	asm volatile("xgetbv" : "=a" (lo), "=d" (hi) : "c" (0));
	return (uint64_t)hi << 32 | lo;
}

static uint32_t host_pkru(void)
{
	uint32_t val, d;

	asm volatile(".byte 0x0f, 0x01, 0xee" : "=a" (val), "=d" (d) : "c" (0));
	return val;
}

static pid_t rival(void)
{
	pid_t pid = fork();
	volatile double x = 1.5;

	if (pid)
		return pid;
	for (;;) {
		uint64_t junk[4] = { rand(), rand(), rand(), rand() };

		asm volatile("movdqu (%0), %%xmm0\n\tmovdqu (%0), %%xmm15\n\tmovdqu 16(%0), %%xmm7"
			     :: "r" (junk) : "xmm0", "xmm7", "xmm15");
		x = x * 1.0001 + junk[0];
	}
}

static void two_guests(void)
{
	uint64_t xcr0 = avx ? xgetbv0() : 0;
	unsigned int i, host_lost = 0, turns = 0, ends = 0;
	struct testvm *vm[2] = { &a, &b };
	pid_t pid;

	testvm_create(&a, 2 << 20, 1);
	testvm_create(&b, 2 << 20, 1);
	for (i = 0; i < 2; i++) {
		fill(vm[i], 0x11 + 0x55 * i, i ? 0x1f80 : 0x7f80, 300, avx && i == 0);
		if (avx && i == 0)
			testvm_code(vm[i], TVM_CODE, avx_loop, avx_loop_end);
		else
			testvm_code(vm[i], TVM_CODE, sse_loop, sse_loop_end);
		testvm_long(vm[i], 0, TVM_CODE);
	}
	for (i = 0; i < 8; i++)
		host_pattern[i] = 0x1122334455667788ULL * (i + 1);
	pid = rival();
	for (i = 0; ends < 2; i ^= 1) {
		struct hv_run *run = vm[i]->vcpu[0]->run;

		if (!vm[i]->mem[ROUNDS] && !vm[i]->mem[ROUNDS + 1] && run->exit_reason == HV_EXIT_IO &&
		    run->io.port == 0x10)
			continue;
		do {
			host_lost += !host_survives(vm[i]);
		} while (run->exit_reason == HV_EXIT_NONE || run->exit_reason == HV_EXIT_SIGNAL);
		if (run->exit_reason != HV_EXIT_IO)
			ktap_bail("guest %u: exit %s at %#llx", i, hv_exit_name(run->exit_reason),
				  (unsigned long long)hv_vcpu_regs(vm[i]->vcpu[0])->rip);
		turns++;
		if (run->io.port == 0x10)
			ends++;
		else
			testvm_done(vm[i], 0, 0);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ktap_check(turns == 602, "two guests took turns %u times beside a rival", turns);
	ktap_check(!mismatches(&a) && !mismatches(&b), "their registers were theirs: %llu %llu lost",
		   (unsigned long long)mismatches(&a), (unsigned long long)mismatches(&b));
	ktap_check(!host_lost, "and the host's its own: %u lost", host_lost);
	if (avx)
		ktap_check(xgetbv0() == xcr0, "the host's XCR0 is as before");
	else
		ktap_skip("the host's XCR0 is as before", "no XSAVE");
}

static void state_group(void)
{
	uint8_t *x = hv_vcpu_group(a.vcpu[0], HV_GROUP_XSAVE);
	uint32_t mxcsr;
	unsigned int i, good = 0;

	hv_vcpu_get_state(a.vcpu[0], HV_GROUP(HV_GROUP_XSAVE));
	for (i = 0; i < 16; i++)
		good += !memcmp(x + 160 + 16 * i, a.mem + PATTERN + 32 * i, 16);
	memcpy(&mxcsr, x + 24, 4);
	ktap_check(good == 16 && mxcsr == 0x7f80, "the XSAVE group shows them: %u, MXCSR %#x", good,
		   mxcsr);
	for (i = 0; i < 256; i++)
		x[160 + i] = 0xc0 ^ i;
	x[512] |= 3;
	mxcsr = 0x1f80;
	memcpy(x + 24, &mxcsr, 4);
	ktap_check(!hv_vcpu_set_state(a.vcpu[0], HV_GROUP(HV_GROUP_XSAVE)), "and takes others");
	testvm_code(&a, TVM_CODE, read_all, read_all_end);
	testvm_long(&a, 0, TVM_CODE);
	testvm_expect(&a, 0, HV_EXIT_IO);
	for (i = good = 0; i < 256; i++)
		good += a.mem[COPY + i / 16 * 32 + i % 16] == (0xc0 ^ i);
	ktap_check(good == 256, "which the guest then has: %u of 256", good);
}

static void refused(void)
{
	static const struct { int at; uint8_t val; const char *what; } bad[] = {
		{ 520 + 7, 0x80, "a compacted image" },
		{ 528, 1, "a reserved header byte" },
		{ 575, 1, "the last header byte" },
		{ 519, 0x80, "component 63" },
		{ 514, 0x06, "AMX" },
		{ 513, 0x01, "processor trace" },
		{ 26, 0x01, "a reserved bit of MXCSR" },
		{ 27, 0x80, "MXCSR bit 31" },
	};
	uint8_t *x = hv_vcpu_group(a.vcpu[0], HV_GROUP_XSAVE), old;
	unsigned int i;

	hv_vcpu_get_state(a.vcpu[0], HV_GROUP(HV_GROUP_XSAVE));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		old = x[bad[i].at];
		x[bad[i].at] |= bad[i].val;
		ktap_check(hv_vcpu_set_state(a.vcpu[0], HV_GROUP(HV_GROUP_XSAVE)) == -EINVAL,
			   "refused: %s", bad[i].what);
		x[bad[i].at] = old;
	}
	ktap_check(!hv_vcpu_set_state(a.vcpu[0], HV_GROUP(HV_GROUP_XSAVE)), "the same without is not");
}

static void fresh(void)
{
	unsigned int i, good = 0;

	testvm_destroy(&b);
	host_load();
	testvm_create(&b, 2 << 20, 1);
	memset(b.mem + COPY, 0xff, 0x400);
	testvm_code(&b, TVM_CODE, read_all, read_all_end);
	testvm_long(&b, 0, TVM_CODE);
	testvm_expect(&b, 0, HV_EXIT_IO);
	for (i = 0; i < 256; i++)
		good += b.mem[COPY + i / 16 * 32 + i % 16] == 0;
	ktap_check(good == 256, "a new vCPU's registers are zero: %u of 256", good);
}

static void keys(void)
{
	uint32_t before;

	if (!pku) {
		ktap_skip("PKRU in the guest", "no protection keys");
		ktap_skip("PKRU of the host", "no protection keys");
		return;
	}
	before = host_pkru();
	testvm_code(&a, TVM_CODE, pkru_code, pkru_code_end);
	testvm_long(&a, 0, TVM_CODE);
	testvm_expect(&a, 0, HV_EXIT_IO);
	ktap_check(host_pkru() == before, "PKRU of the host is as before: %#x", host_pkru());
	testvm_done(&a, 0, 0);
	testvm_expect(&a, 0, HV_EXIT_IO);
	ktap_check((uint32_t)hv_vcpu_regs(a.vcpu[0])->gpr[HV_RBX] == 0x55555550,
		   "PKRU of the guest is its own: %#llx",
		   (unsigned long long)hv_vcpu_regs(a.vcpu[0])->gpr[HV_RBX]);
}

/* A kernel compares these to its own sum, and does without XSAVE if they differ. SDM vol. 1 13.4.3. */
static void sizes(void)
{
	struct hv_cpuid_entry table[256];
	uint32_t n = 256, i, size = 576, compacted = 576;
	struct hv_regs *r;

	if (!a.info.xcr0) {
		ktap_skip("the size of the XSAVE area", "no XSAVE");
		ktap_skip("the size of a compacted one", "no XSAVE");
		return;
	}
	if (hv_get_cpuid(a.dev, table, &n))
		ktap_bail("no CPUID");
	for (i = 0; i < n; i++) {	/* sorted: components in order */
		if (table[i].leaf != 0xd || table[i].subleaf < 2)
			continue;
		if (size < table[i].ebx + table[i].eax)
			size = table[i].ebx + table[i].eax;
		if (table[i].ecx & 2)
			compacted = (compacted + 63) & ~63;
		compacted += table[i].eax;
	}
	testvm_code(&a, TVM_CODE, sizes_code, sizes_code_end);
	testvm_long(&a, 0, TVM_CODE);
	hv_vcpu_regs(a.vcpu[0])->gpr[HV_RSI] = a.info.xcr0;
	hv_vcpu_mark_dirty(a.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	testvm_expect(&a, 0, HV_EXIT_IO);
	r = hv_vcpu_regs(a.vcpu[0]);
	ktap_check(r->gpr[HV_R8] == size, "the size of the XSAVE area is %llu: %u",
		   (unsigned long long)r->gpr[HV_R8], size);
	if (!(r->gpr[HV_R9] & 2))
		compacted = 0;
	ktap_check(r->gpr[HV_R10] == compacted, "the size of a compacted one is %llu: %u",
		   (unsigned long long)r->gpr[HV_R10], compacted);
}

int main(void)
{
	uint32_t eax, ebx, ecx = 0, edx;
	cpu_set_t one;

	testvm_open(&a);
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);	/* with the rival */
	__get_cpuid(1, &eax, &ebx, &ecx, &edx);
	avx = (ecx & bit_OSXSAVE) && (ecx & bit_AVX) && (a.info.xcr0 & 4);
	__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
	pku = (ecx & 0x10) && (a.info.xcr0 & 0x200);
	ktap_plan(21);
	ktap_note("AVX %d, protection keys %d, image of %u bytes", avx, pku, a.info.xsave_size);
	two_guests();
	state_group();
	refused();
	fresh();
	keys();
	sizes();
	testvm_destroy(&a);
	testvm_destroy(&b);
	return ktap_finish();
}
