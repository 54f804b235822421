/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * enter.S - into the guest and back.
 *
 * SDM vol. 3 chapters 26 (entry) and 27 (exit).  The exit loads the host's
 * segments, stack and control registers itself; general registers are ours.
 *
 * Order after the guest, because each step protects the next: guest registers
 * saved, then cleared, so that no value of the guest's is there to be speculated
 * with; return stack filled; SPEC_CTRL; branch history; and only then the first
 * RET.  SPEC_CTRL is not passed through to guests, so the guest's value is what
 * was loaded here.  Mitigations follow the host's own feature bits, by alternatives.
 */
#include <linux/linkage.h>
#include <linux/stringify.h>
#include <asm/alternative.h>
#include <asm/asm.h>
#include <asm/bitsperlong.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/percpu.h>
#include <asm/unwind_hints.h>

/* In the order of HV_RAX.. of the uapi; RSP lives in the VMCS. */
#define RAX	(0 * 8)
#define RCX	(1 * 8)
#define RDX	(2 * 8)
#define RBX	(3 * 8)
#define RBP	(5 * 8)
#define RSI	(6 * 8)
#define RDI	(7 * 8)
#define R8	(8 * 8)
#define R9	(9 * 8)
#define R10	(10 * 8)
#define R11	(11 * 8)
#define R12	(12 * 8)
#define R13	(13 * 8)
#define R14	(14 * 8)
#define R15	(15 * 8)

#define HOST_RSP_FIELD	0x6c14

/* On the stack while in the guest. */
#define GUEST_SPEC_CTRL	0(%rsp)
#define GPR		8(%rsp)

	.section .noinstr.text, "ax"

/*
 * unsigned long vmx_enter_guest(u64 *gpr, bool launched, u64 spec_ctrl)
 *				 %rdi	   %esi		  %rdx
 * Called with interrupts off.
 */
SYM_FUNC_START(vmx_enter_guest)
	push	%rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rdi
	push	%rdx

	mov	$HOST_RSP_FIELD, %eax
	/* Faults when VMX was taken from us, e.g. for a reboot: nothing is lost yet. */
1:	vmwrite	%rsp, %rax

	ALTERNATIVE "jmp .Lvmx_spec_in_done", "", X86_FEATURE_MSR_SPEC_CTRL
	cmp	PER_CPU_VAR(x86_spec_ctrl_current), %rdx
	je	.Lvmx_spec_in_done
	mov	%rdx, %rax
	shr	$32, %rdx
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	wrmsr
.Lvmx_spec_in_done:

	/* CF: launched.  What follows changes ZF alone. */
	bt	$0, %esi

	mov	RAX(%rdi), %rax
	mov	RCX(%rdi), %rcx
	mov	RDX(%rdi), %rdx
	mov	RBX(%rdi), %rbx
	mov	RBP(%rdi), %rbp
	mov	RSI(%rdi), %rsi
	mov	R8(%rdi), %r8
	mov	R9(%rdi), %r9
	mov	R10(%rdi), %r10
	mov	R11(%rdi), %r11
	mov	R12(%rdi), %r12
	mov	R13(%rdi), %r13
	mov	R14(%rdi), %r14
	mov	R15(%rdi), %r15
	mov	RDI(%rdi), %rdi

#ifdef X86_FEATURE_CLEAR_CPU_BUF
	CLEAR_CPU_BUFFERS
#endif
#ifdef VM_CLEAR_CPU_BUFFERS
	VM_CLEAR_CPU_BUFFERS
#endif
	UNWIND_HINT_SAVE
	jnc	.Lvmx_launch
2:	vmresume
	jmp	.Lvmx_refused
.Lvmx_launch:
3:	vmlaunch
.Lvmx_refused:
	mov	$1, %esi
	jmp	.Lvmx_clear

/* The CPU jumps here, with RSP as it was written above. */
SYM_INNER_LABEL(vmx_exit_point, SYM_L_GLOBAL)
	UNWIND_HINT_RESTORE
	ENDBR
	push	%rdi
	mov	8 + GPR, %rdi
	mov	%rax, RAX(%rdi)
	mov	%rcx, RCX(%rdi)
	mov	%rdx, RDX(%rdi)
	mov	%rbx, RBX(%rdi)
	mov	%rbp, RBP(%rdi)
	mov	%rsi, RSI(%rdi)
	pop	RDI(%rdi)
	mov	%r8, R8(%rdi)
	mov	%r9, R9(%rdi)
	mov	%r10, R10(%rdi)
	mov	%r11, R11(%rdi)
	mov	%r12, R12(%rdi)
	mov	%r13, R13(%rdi)
	mov	%r14, R14(%rdi)
	mov	%r15, R15(%rdi)
	xor	%esi, %esi		/* the result from here on */

.Lvmx_clear:
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%ebx, %ebx
	xor	%ebp, %ebp
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d

	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, \
			   X86_FEATURE_RSB_VMEXIT_LITE

	ALTERNATIVE "jmp .Lvmx_spec_out_done", "", X86_FEATURE_MSR_SPEC_CTRL
	mov	PER_CPU_VAR(x86_spec_ctrl_current), %rax
	/* IBRS that is not the enhanced kind must be written anew in the host. */
	ALTERNATIVE "", "jmp .Lvmx_spec_write", X86_FEATURE_KERNEL_IBRS
	cmp	GUEST_SPEC_CTRL, %rax
	je	.Lvmx_spec_same
.Lvmx_spec_write:
	mov	%rax, %rdx
	shr	$32, %rdx
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	wrmsr
.Lvmx_spec_same:
	/* The comparison above must not be guessed. */
	lfence
.Lvmx_spec_out_done:

#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
	CLEAR_BRANCH_HISTORY_VMEXIT
#endif
#ifdef X86_FEATURE_CLEAR_BHB_VMEXIT
	CLEAR_BRANCH_HISTORY_VMEXIT
#endif
	mov	%esi, %eax

.Lvmx_return:
	add	$(2 * 8), %rsp
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET

.Lvmx_off:
	mov	$2, %eax
	jmp	.Lvmx_return
.Lvmx_off_late:
	mov	$2, %esi
	jmp	.Lvmx_clear

	_ASM_EXTABLE(1b, .Lvmx_off)
	_ASM_EXTABLE(2b, .Lvmx_off_late)
	_ASM_EXTABLE(3b, .Lvmx_off_late)
SYM_FUNC_END(vmx_enter_guest)
