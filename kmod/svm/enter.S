/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * enter.S - into the guest and back.
 *
 * APM vol. 2 sections 15.5 (VMRUN, VMLOAD, VMSAVE), 15.17 (GIF).  Between CLGI
 * and STGI nothing can interrupt: NMI and machine checks wait.  That is what
 * makes the guest's GS base safe: from VMLOAD of the guest to VMLOAD of the
 * host per-CPU data must not be touched, and no C code runs.
 *
 * Order after the guest, because each step protects the next: the host's FS,
 * GS and TR; guest registers saved, then cleared, so that no value of the
 * guest's is there to be speculated with; return stack filled; SPEC_CTRL;
 * return predictor; and only then the first RET.
 *
 * SPEC_CTRL is not passed through to guests, so the guest's value is what was
 * loaded here.  Mitigations follow the host's own feature bits, by alternatives.
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
#include "../hv_compat.h"

/* In the order of HV_RAX.. of the uapi; RAX and RSP live in the VMCB.  7.x has RCX.. for pt_regs. */
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

/* On the stack while in the guest. */
#define GUEST_SPEC_CTRL	0(%rsp)
#define HOST_SAVE	8(%rsp)
#define GPR		16(%rsp)

	.section .noinstr.text, "ax"

/*
 * unsigned long svm_enter_guest(u64 *gpr, u64 vmcb_pa, u64 host_save_pa, u64 spec_ctrl)
 *				 %rdi	   %rsi		%rdx		  %rcx
 * Called with interrupts off.
 */
SYM_FUNC_START(svm_enter_guest)
	push	%rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rdi
	push	%rdx
	push	%rcx

	/* Faults when SVM was taken from us, e.g. for a reboot: nothing is lost yet. */
1:	clgi
	/* Host interrupts end the guest's stay only with the host's IF set. */
	sti

	/* Every time: another thread may have changed the process's LDT. */
	mov	%rdx, %rax
	vmsave	%rax

	ALTERNATIVE_2 "jmp .Lspec_in_done", "", X86_FEATURE_MSR_SPEC_CTRL, \
		      "jmp .Lspec_in_done", X86_FEATURE_V_SPEC_CTRL
	cmp	PER_CPU_VAR(x86_spec_ctrl_current), %rcx
	je	.Lspec_in_done
	mov	%rcx, %rax
	mov	%rcx, %rdx
	shr	$32, %rdx
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	wrmsr
.Lspec_in_done:

	mov	%rsi, %rax
	vmload	%rax
	/* The guest's GS base is loaded: no per-CPU data from here. */

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

#ifdef VM_CLEAR_CPU_BUFFERS
	VM_CLEAR_CPU_BUFFERS
#endif
	vmrun	%rax

	/* RAX, RSP and RFLAGS are the host's again, RAX the VMCB. */
	cli
	vmsave	%rax
	mov	HOST_SAVE, %rax
	vmload	%rax
	/* Per-CPU data is the host's again. */

	mov	GPR, %rax
	mov	%rcx, GPR_RCX(%rax)
	mov	%rdx, GPR_RDX(%rax)
	mov	%rbx, GPR_RBX(%rax)
	mov	%rbp, GPR_RBP(%rax)
	mov	%rsi, GPR_RSI(%rax)
	mov	%rdi, GPR_RDI(%rax)
	mov	%r8, GPR_R8(%rax)
	mov	%r9, GPR_R9(%rax)
	mov	%r10, GPR_R10(%rax)
	mov	%r11, GPR_R11(%rax)
	mov	%r12, GPR_R12(%rax)
	mov	%r13, GPR_R13(%rax)
	mov	%r14, GPR_R14(%rax)
	mov	%r15, GPR_R15(%rax)

	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%ebx, %ebx
	xor	%ebp, %ebp
	xor	%esi, %esi
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

	ALTERNATIVE_2 "jmp .Lspec_out_done", "", X86_FEATURE_MSR_SPEC_CTRL, \
		      "jmp .Lspec_out_done", X86_FEATURE_V_SPEC_CTRL
	mov	PER_CPU_VAR(x86_spec_ctrl_current), %rax
	cmp	GUEST_SPEC_CTRL, %rax
	je	.Lspec_same
	mov	%rax, %rdx
	shr	$32, %rdx
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	wrmsr
.Lspec_same:
	/* The comparison above must not be guessed. */
	lfence
.Lspec_out_done:

#if defined(CONFIG_CPU_UNRET_ENTRY) || defined(CONFIG_CPU_SRSO) || \
	defined(CONFIG_MITIGATION_UNRET_ENTRY) || defined(CONFIG_MITIGATION_SRSO)
	CALL_UNTRAIN_RET
#endif
#ifdef X86_FEATURE_IBPB_ON_VMEXIT
	ALTERNATIVE_2 "jmp .Libpb_done", "", X86_FEATURE_ENTRY_IBPB, "", X86_FEATURE_IBPB_ON_VMEXIT
#else
	jmp	.Libpb_done
#endif
	mov	$PRED_CMD_IBPB, %eax
	xor	%edx, %edx
	mov	$MSR_IA32_PRED_CMD, %ecx
	wrmsr
.Libpb_done:

	xor	%eax, %eax
	/* A waiting NMI is taken here, with the host's state complete. */
	stgi

.Lreturn:
	add	$(3 * 8), %rsp
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET

.Lno_svm:
	mov	$1, %eax
	jmp	.Lreturn

	_ASM_EXTABLE(1b, .Lno_svm)
SYM_FUNC_END(svm_enter_guest)
