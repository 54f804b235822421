/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * x86_native.h - runs one instruction on this machine's own CPU, in 64-bit, 32-bit or 16-bit code,
 * with all registers and a few pages of memory under the caller's control.
 *
 * Everything lies at fixed addresses below 2 GiB, so that the code that loads and saves the
 * registers needs none itself.  A fault comes back as vector, error code and CR2.
 *
 * 32-bit code runs in the kernel's own compatibility segment, 16-bit code and all odd data segments
 * in the LDT.  FS stays untouched: it is the C library's.
 */
#ifndef HV_UNIT_X86_NATIVE_H
#define HV_UNIT_X86_NATIVE_H

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define NATIVE_STATE	0x30000000
#define NATIVE_STUB	0x30010000
#define NATIVE_CODE	0x10000000UL
#define NATIVE_DATA	0x20000000UL	/* in the middle of unmapped space */
#define NATIVE_GUARD	0x200000UL
#define NATIVE_PAGES	3		/* two writable, then one read-only */

/* Offsets are used by the assembly below. */
struct native_state {
	uint64_t gpr[16];		/* 0x00 */
	uint64_t rip;			/* 0x80 */
	uint64_t rflags;		/* 0x88 */
	uint64_t host_rsp;		/* 0x90 */
	uint64_t resume;		/* 0x98 */
	uint32_t far_offset;		/* 0xa0 */
	uint16_t far_selector;		/* 0xa4 */
	uint16_t legacy;		/* 0xa6 */
	uint16_t ds, es, ss, gs;	/* 0xa8.. */
	uint16_t out_ds, out_es, out_ss, pad0;	/* 0xb0 */
	uint64_t pad[9];		/* 0xb8 */
	uint64_t out_gpr[16];		/* 0x100 */
	uint64_t out_rflags;		/* 0x180 */
	uint8_t pad2[0x400 - 0x188];
	uint8_t xsave[0xc00];		/* 0x400 */
	uint8_t out_xsave[0xc00];	/* 0x1000 */
};

_Static_assert(offsetof(struct native_state, out_xsave) == 0x1000, "layout");

extern void native_enter(void);
extern char native_return[], native_fault[], native_stub_end[], native_resume[];

asm(
".text\n"
".set ST, 0x30000000\n"
"native_enter:\n"
"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
"	mov %rsp, ST+0x90\n"
"	mov $7, %eax; xor %edx, %edx\n"
"	xrstor64 ST+0x400\n"
"	cmpw $0, ST+0xa6\n"
"	je 1f\n"
"	mov ST+0xa8, %ds\n"
"	mov ST+0xaa, %es\n"
"	mov ST+0xae, %gs\n"
"	mov ST+0xac, %ss\n"
"1:	pushq ST+0x88; popfq\n"
"	mov ST+0x00, %rax; mov ST+0x08, %rcx; mov ST+0x10, %rdx; mov ST+0x18, %rbx\n"
"	mov ST+0x28, %rbp; mov ST+0x30, %rsi; mov ST+0x38, %rdi\n"
"	mov ST+0x40, %r8;  mov ST+0x48, %r9;  mov ST+0x50, %r10; mov ST+0x58, %r11\n"
"	mov ST+0x60, %r12; mov ST+0x68, %r13; mov ST+0x70, %r14; mov ST+0x78, %r15\n"
"	mov ST+0x20, %rsp\n"
"	ljmpl *ST+0xa0\n"
"native_return:\n"		/* copied to NATIVE_STUB */
"	mov %rax, ST+0x100; mov %rcx, ST+0x108; mov %rdx, ST+0x110; mov %rbx, ST+0x118\n"
"	mov %rsp, ST+0x120; mov %rbp, ST+0x128; mov %rsi, ST+0x130; mov %rdi, ST+0x138\n"
"	mov %r8, ST+0x140;  mov %r9, ST+0x148;  mov %r10, ST+0x150; mov %r11, ST+0x158\n"
"	mov %r12, ST+0x160; mov %r13, ST+0x168; mov %r14, ST+0x170; mov %r15, ST+0x178\n"
"	mov ST+0x90, %rsp\n"
"	pushfq; popq ST+0x180\n"
"native_fault:\n"
"	mov ST+0x90, %rsp\n"
"	pushq $0x202; popfq\n"
"	mov $7, %eax; xor %edx, %edx\n"
"	xsave64 ST+0x1000\n"
"	mov %ds, ST+0xb0\n"
"	mov %es, ST+0xb2\n"
"	mov %ss, ST+0xb4\n"
"	mov $0x2b, %eax; mov %eax, %ss\n"
"	mov %eax, %ds; mov %eax, %es\n"
"	jmp *ST+0x98\n"
"native_stub_end:\n"
"native_resume:\n"
"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
"	ret\n"
);

static struct native_state *const native = (struct native_state *)NATIVE_STATE;
static uint8_t *native_data;		/* writable alias of all pages at NATIVE_DATA */
static struct {
	bool taken;
	uint64_t gpr[16], rip, rflags, cr2;
	uint32_t vector, error_code;
} native_trap;

static void native_signal(int sig, siginfo_t *info, void *context)
{
	/* ucontext's order of registers, in the order of x86 encoding */
	static const int order[16] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
	};
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	unsigned int i;

	asm volatile("pushfq; andl $~0x40000, (%%rsp); popfq" ::: "memory", "cc");
	(void)sig;
	(void)info;
	native_trap.taken = true;
	for (i = 0; i < 16; i++)
		native_trap.gpr[i] = g[order[i]];
	native_trap.rip = g[REG_RIP];
	native_trap.rflags = g[REG_EFL];
	native_trap.cr2 = g[REG_CR2];
	native_trap.vector = g[REG_TRAPNO];
	native_trap.error_code = g[REG_ERR];
	g[REG_RIP] = NATIVE_STUB + (native_fault - native_return);
	g[REG_RSP] = native->host_rsp;
	g[REG_EFL] = 0x202;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & 0x0000ffffffff0000ULL) | 0x33 | 0x2bULL << 48;
}

static bool native_map(unsigned long at, size_t size, int prot)
{
	return mmap((void *)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		    0) == (void *)at;
}

static bool native_init(void)
{
	static uint8_t stack[65536] __attribute__((aligned(16)));
	const stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE };
	struct sigaction sa = { .sa_sigaction = native_signal,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	unsigned int i;
	int fd;

	if (!native_map(NATIVE_STATE, 0x2000, PROT_READ | PROT_WRITE) ||
	    !native_map(NATIVE_STUB, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    !native_map(NATIVE_CODE, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    !native_map(NATIVE_DATA - NATIVE_GUARD, 2 * NATIVE_GUARD, PROT_NONE))
		return false;
	fd = memfd_create("data", 0);
	if (fd < 0 || ftruncate(fd, NATIVE_PAGES * 4096))
		return false;
	native_data = mmap(NULL, NATIVE_PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (native_data == MAP_FAILED ||
	    mmap((void *)NATIVE_DATA, NATIVE_PAGES * 4096, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mprotect((void *)(NATIVE_DATA + 2 * 4096), 4096, PROT_READ))
		return false;
	/* No page may be missing for reasons of its own. */
	memset(native_data, 1, NATIVE_PAGES * 4096);
	*(volatile uint8_t *)NATIVE_DATA = 1;
	*(volatile uint8_t *)(NATIVE_DATA + 4096) = 1;
	(void)*(volatile uint8_t *)(NATIVE_DATA + 8192);
	close(fd);
	memcpy((void *)NATIVE_STUB, native_return, native_stub_end - native_return);
	native->resume = (uintptr_t)native_resume;
	if (sigaltstack(&alt, NULL))
		return false;
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], &sa, NULL))
			return false;
	return true;
}

/* Whether the CPU finds a descriptor that this program may use. */
static bool native_selector(uint32_t selector)
{
	bool found;

	__asm__ volatile("lar %0, %0" : "+r"(selector), "=@ccz"(found));
	return found;
}

/* False if the kernel refuses, or if the CPU does not find what the kernel took. */
static bool native_ldt(unsigned int entry, uint32_t base, uint32_t limit, unsigned int contents,
		       bool big, bool read_only)
{
	struct user_desc d = {
		.entry_number = entry,
		.base_addr = base,
		.limit = limit,
		.seg_32bit = big,
		.contents = contents,	/* 0 data, 1 expand-down data, 2 code */
		.read_exec_only = read_only,
		.useable = 1,
	};

	return syscall(SYS_modify_ldt, 1, &d, sizeof(d)) == 0 && native_selector(entry << 3 | 7);
}

/*
 * Puts @len bytes at the end of what NATIVE_CODE offers at @at, then the way back, and runs them
 * with the registers of native->*.  @bits: 64, 32 or 16, by native->far_selector.
 */
static void native_run(const uint8_t *insn, unsigned int len, unsigned int bits, uint32_t at)
{
	uint8_t *p = (uint8_t *)NATIVE_CODE + at;
	uint32_t target = NATIVE_STUB;

	memcpy(p, insn, len);
	p += len;
	if (bits == 64) {		/* jmp *abs32, of an aligned pointer: AC may be set */
		uint32_t slot = ((uint32_t)(uintptr_t)p + 7 + 7) & ~7u;
		uint64_t wide = target;

		*p++ = 0xff;
		*p++ = 0x24;
		*p++ = 0x25;
		memcpy(p, &slot, 4);
		memcpy((void *)(uintptr_t)slot, &wide, 8);
	} else {			/* ljmp $0x33, $target */
		if (bits == 16)
			*p++ = 0x66;
		*p++ = 0xea;
		memcpy(p, &target, 4);
		p[4] = 0x33;
		p[5] = 0;
	}
	native->far_offset = bits == 16 ? at : NATIVE_CODE + at;
	native_trap.taken = false;
	native_enter();
}

#endif
