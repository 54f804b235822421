/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * enter.S - into the guest and back.
 *
 * APM vol. 2 sections 15.5 (VMRUN, VMLOAD, VMSAVE), 15.17 (GIF).  Between CLGI
 * and STGI nothing can interrupt: NMI and machine checks wait.  That is what
 * makes the guest's GS base safe: from VMLOAD of the guest to VMLOAD of the
 * host per-CPU data must not be touched, and no C code runs.
 *
 * The host's FS, GS and TR come back first of all; the order of the rest is in
 * hv_enter.h.  RAX and RSP live in the VMCB.
 */
#include "../hv_enter.h"

/* On the stack while in the guest. */
#define GUEST_SPEC_CTRL	0(%rsp)
#define HOST_SAVE	8(%rsp)
#define GPR		16(%rsp)

	.section .noinstr.text, "ax"

/*
 * unsigned long svm_enter_guest(u64 *gpr, u64 vmcb_pa, u64 host_save_pa, u64 spec_ctrl)
 *				 %rdi	   %rsi		%rdx		  %rcx
 * Called with interrupts off.  @bare: for mitigations=off.  SPEC_CTRL is
 * switched all the same: it is the guest's state too.
 */
.macro SVM_ENTER name:req bare=0
SYM_FUNC_START(\name)
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

	SPEC_CTRL_TO_GUEST

	mov	%rsi, %rax
	vmload	%rax
	/* The guest's GS base is loaded: no per-CPU data from here. */

	LOAD_GUEST_GPRS
#ifdef X86_FEATURE_CLEAR_CPU_BUF_VM
	.if !\bare
	CLEAR_BUFFERS X86_FEATURE_CLEAR_CPU_BUF_VM
	.endif
#endif
	vmrun	%rax

	/* RAX, RSP and RFLAGS are the host's again, RAX the VMCB. */
	cli
	vmsave	%rax
	mov	HOST_SAVE, %rax
	vmload	%rax
	/* Per-CPU data is the host's again. */

	mov	GPR, %rax
	SAVE_GUEST_GPRS %rax
	mov	%rdi, GPR_RDI(%rax)
	.if !\bare
	xor	%esi, %esi
	CLEAR_GPRS_AND_RSB
	.endif
	SPEC_CTRL_TO_HOST GUEST_SPEC_CTRL
	.if !\bare

#if defined(CONFIG_CPU_UNRET_ENTRY) || defined(CONFIG_CPU_SRSO) || \
	defined(CONFIG_MITIGATION_UNRET_ENTRY) || defined(CONFIG_MITIGATION_SRSO)
	CALL_UNTRAIN_RET
#endif
#ifdef X86_FEATURE_IBPB_ON_VMEXIT
	ALTERNATIVE_2 "jmp .Libpb_done\@", "", X86_FEATURE_ENTRY_IBPB, "", X86_FEATURE_IBPB_ON_VMEXIT
#else
	jmp	.Libpb_done\@
#endif
	mov	$PRED_CMD_IBPB, %eax
	xor	%edx, %edx
	mov	$MSR_IA32_PRED_CMD, %ecx
	wrmsr
.Libpb_done\@:
	.endif

	xor	%eax, %eax
	/* A waiting NMI is taken here, with the host's state complete. */
	stgi

.Lreturn\@:
	add	$(3 * 8), %rsp
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET

.Lno_svm\@:
	mov	$1, %eax
	jmp	.Lreturn\@

	_ASM_EXTABLE(1b, .Lno_svm\@)
SYM_FUNC_END(\name)
.endm

SVM_ENTER svm_enter_guest
SVM_ENTER svm_enter_guest_bare bare=1
