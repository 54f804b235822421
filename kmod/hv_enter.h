/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hv_enter.h - what the backends' enter.S share: general registers, and the sequence against
 * speculation, which follows the host's own feature bits by alternatives.  Assembly only.
 *
 * Order after the guest, because each step protects the next: guest registers saved, then cleared,
 * so that no value of the guest's is there to be speculated with; return stack filled; SPEC_CTRL;
 * the vendor's own; and only then the first RET.  SPEC_CTRL is not passed through to guests, so
 * the guest's value is what was loaded here.
 */
#ifndef HV_ENTER_H
#define HV_ENTER_H

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
#include "hv_compat.h"

/* In the order of HV_RAX.. of the uapi.  7.x has RCX.. for pt_regs. */
#define GPR_RAX	(0 * 8)
#define GPR_RCX	(1 * 8)
#define GPR_RDX	(2 * 8)
#define GPR_RBX	(3 * 8)
#define GPR_RBP	(5 * 8)
#define GPR_RSI	(6 * 8)
#define GPR_RDI	(7 * 8)
#define GPR_R8	(8 * 8)
#define GPR_R9	(9 * 8)
#define GPR_R10	(10 * 8)
#define GPR_R11	(11 * 8)
#define GPR_R12	(12 * 8)
#define GPR_R13	(13 * 8)
#define GPR_R14	(14 * 8)
#define GPR_R15	(15 * 8)

/* All but RAX and RSP, from the array at RDI. */
.macro LOAD_GUEST_GPRS
	mov	GPR_RCX(%rdi), %rcx
	mov	GPR_RDX(%rdi), %rdx
	mov	GPR_RBX(%rdi), %rbx
	mov	GPR_RBP(%rdi), %rbp
	mov	GPR_RSI(%rdi), %rsi
	mov	GPR_R8(%rdi), %r8
	mov	GPR_R9(%rdi), %r9
	mov	GPR_R10(%rdi), %r10
	mov	GPR_R11(%rdi), %r11
	mov	GPR_R12(%rdi), %r12
	mov	GPR_R13(%rdi), %r13
	mov	GPR_R14(%rdi), %r14
	mov	GPR_R15(%rdi), %r15
	mov	GPR_RDI(%rdi), %rdi
.endm

/* All but RAX, RDI and RSP, to the array at @base, which is one of the first two. */
.macro SAVE_GUEST_GPRS base:req
	mov	%rcx, GPR_RCX(\base)
	mov	%rdx, GPR_RDX(\base)
	mov	%rbx, GPR_RBX(\base)
	mov	%rbp, GPR_RBP(\base)
	mov	%rsi, GPR_RSI(\base)
	mov	%r8, GPR_R8(\base)
	mov	%r9, GPR_R9(\base)
	mov	%r10, GPR_R10(\base)
	mov	%r11, GPR_R11(\base)
	mov	%r12, GPR_R12(\base)
	mov	%r13, GPR_R13(\base)
	mov	%r14, GPR_R14(\base)
	mov	%r15, GPR_R15(\base)
.endm

/* All but RSP and RSI, which holds our result; then the return stack. */
.macro CLEAR_GPRS_AND_RSB
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
.endm

/* VERW, where @feature asks for it.  The operand is ours: from 6.19 the kernel's is KVM's alone. */
.macro CLEAR_BUFFERS feature:req
	ALTERNATIVE "jmp .Lverw_done_\@", "", \feature
	verw	hv_verw_sel(%rip)
.Lverw_done_\@:
.endm

/* The guest's value is in RCX.  Uses RAX, RCX, RDX. */
.macro SPEC_CTRL_TO_GUEST
	ALTERNATIVE_2 "jmp 811f", "", X86_FEATURE_MSR_SPEC_CTRL, \
		      "jmp 811f", X86_FEATURE_V_SPEC_CTRL
	cmp	PER_CPU_VAR(x86_spec_ctrl_current), %rcx
	je	811f
	mov	%rcx, %rax
	mov	%rcx, %rdx
	shr	$32, %rdx
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	wrmsr
811:
.endm

/* @guest: where that value was kept. */
.macro SPEC_CTRL_TO_HOST guest:vararg
	ALTERNATIVE_2 "jmp 823f", "", X86_FEATURE_MSR_SPEC_CTRL, \
		      "jmp 823f", X86_FEATURE_V_SPEC_CTRL
	mov	PER_CPU_VAR(x86_spec_ctrl_current), %rax
	/* IBRS that is not the enhanced kind must be written anew in the host. */
	ALTERNATIVE "", "jmp 821f", X86_FEATURE_KERNEL_IBRS
	cmp	\guest, %rax
	je	822f
821:
	mov	%rax, %rdx
	shr	$32, %rdx
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	wrmsr
822:
	/* The comparison above must not be guessed. */
	lfence
823:
.endm

#endif /* HV_ENTER_H */
