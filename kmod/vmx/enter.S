/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * enter.S - into the guest and back.
 *
 * SDM vol. 3 chapters 26 (entry) and 27 (exit).  The exit loads the host's
 * segments, stack and control registers itself; general registers are ours.
 *
 * The order of what follows the guest is in hv_enter.h.  RSP lives in the VMCS.
 */
#include "../hv_enter.h"

#define HOST_RSP_FIELD	0x6c14

/* On the stack while in the guest. */
#define GUEST_SPEC_CTRL	0(%rsp)
#define GPR		8(%rsp)

	.section .noinstr.text, "ax"

#ifdef X86_FEATURE_CLEAR_BHB_VMEXIT
/*
 * Intel, Branch History Injection, software sequence: five times five taken branches with as many
 * calls leave nothing of the guest's in the branch history.  The kernels that have this name of
 * the feature keep theirs for KVM.  Uses EAX and ECX.
 */
SYM_FUNC_START_LOCAL(hv_clear_bhb)
	mov	$5, %ecx
	jmp	hv_clear_bhb_outer
SYM_FUNC_END(hv_clear_bhb)

SYM_FUNC_START_LOCAL(hv_clear_bhb_outer)
	call	hv_clear_bhb_inner
	RET
SYM_FUNC_END(hv_clear_bhb_outer)

SYM_FUNC_START_LOCAL(hv_clear_bhb_inner)
	mov	$5, %eax
4:	jmp	5f
	nop
5:	dec	%eax
	jnz	4b
	dec	%ecx
	jnz	hv_clear_bhb_outer
	RET
SYM_FUNC_END(hv_clear_bhb_inner)
#endif

/*
 * unsigned long vmx_enter_guest(u64 *gpr, bool launched, u64 spec_ctrl)
 *				 %rdi	   %esi		  %rdx
 * Called with interrupts off.  @bare: for mitigations=off.  SPEC_CTRL is switched all the same: it is
 * the guest's state too.
 */
.macro VMX_ENTER name:req exit:req bare=0
SYM_FUNC_START(\name)
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

	mov	%rdx, %rcx
	SPEC_CTRL_TO_GUEST

	/* CF: launched.  What follows changes ZF alone. */
	bt	$0, %esi

	mov	GPR_RAX(%rdi), %rax
	LOAD_GUEST_GPRS

	.if !\bare
#ifdef X86_FEATURE_CLEAR_CPU_BUF
	CLEAR_BUFFERS X86_FEATURE_CLEAR_CPU_BUF
#endif
#ifdef X86_FEATURE_CLEAR_CPU_BUF_VM
	CLEAR_BUFFERS X86_FEATURE_CLEAR_CPU_BUF_VM
#endif
	.endif
	UNWIND_HINT_SAVE
	jnc	.Lvmx_launch\@
2:	vmresume
	jmp	.Lvmx_refused\@
.Lvmx_launch\@:
3:	vmlaunch
.Lvmx_refused\@:
	mov	$1, %esi
	jmp	.Lvmx_clear\@

/* The CPU jumps here, with RSP as it was written above. */
SYM_INNER_LABEL(\exit, SYM_L_GLOBAL)
	UNWIND_HINT_RESTORE
	ENDBR
	push	%rdi
	mov	8 + GPR, %rdi
	mov	%rax, GPR_RAX(%rdi)
	SAVE_GUEST_GPRS %rdi
	pop	GPR_RDI(%rdi)
	xor	%esi, %esi		/* the result from here on */

.Lvmx_clear\@:
	.if !\bare
	CLEAR_GPRS_AND_RSB
	.endif
	SPEC_CTRL_TO_HOST GUEST_SPEC_CTRL

	.if !\bare
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
	CLEAR_BRANCH_HISTORY_VMEXIT
#endif
#ifdef X86_FEATURE_CLEAR_BHB_VMEXIT
	ALTERNATIVE "", "call hv_clear_bhb", X86_FEATURE_CLEAR_BHB_VMEXIT
#endif
	.endif
	mov	%esi, %eax

.Lvmx_return\@:
	add	$(2 * 8), %rsp
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET

.Lvmx_off\@:
	mov	$2, %eax
	jmp	.Lvmx_return\@
.Lvmx_off_late\@:
	mov	$2, %esi
	jmp	.Lvmx_clear\@

	_ASM_EXTABLE(1b, .Lvmx_off\@)
	_ASM_EXTABLE(2b, .Lvmx_off_late\@)
	_ASM_EXTABLE(3b, .Lvmx_off_late\@)
SYM_FUNC_END(\name)
.endm

VMX_ENTER vmx_enter_guest vmx_exit_point
VMX_ENTER vmx_enter_guest_bare vmx_exit_point_bare bare=1
