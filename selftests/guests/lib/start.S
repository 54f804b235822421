/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * start.S - from a multiboot 1 loader (flat 32-bit, no paging) to main() in
 * 64-bit mode with the first 4 GiB identity-mapped.  Multiboot 0.6.96 section 3.
 */
	.section .multiboot, "a"
	.balign 4
	.long	0x1badb002, 0x2, -(0x1badb002 + 0x2)

	.section .text.start, "ax"
	.code32
	.globl	_start
_start:
	cli
	mov	$stack_end, %esp
	mov	%ebx, %esi			/* multiboot information */

	mov	$pml4, %edi
	lea	0x1000 + 3(%edi), %eax
	mov	%eax, (%edi)
	add	$0x1000, %edi			/* four entries of the PDPT */
	mov	$4, %ecx
	lea	0x1000 + 3(%edi), %eax
1:	mov	%eax, (%edi)
	add	$8, %edi
	add	$0x1000, %eax
	loop	1b
	mov	$pml4 + 0x2000, %edi		/* 2048 pages of 2 MiB */
	mov	$2048, %ecx
	mov	$0x83, %eax
2:	mov	%eax, (%edi)
	add	$8, %edi
	add	$0x200000, %eax
	loop	2b

	mov	%cr4, %eax
	or	$0x20, %eax			/* PAE */
	mov	%eax, %cr4
	mov	$pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx		/* EFER.LME */
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	lgdt	gdtr
	ljmp	$8, $3f

	.code64
3:	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$stack_end, %rsp
	mov	%esi, %edi
	call	main
	mov	%eax, %edi
	call	guest_exit

	.data
	.balign	8
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdtr:	.word	. - gdt - 1
	.long	gdt
	.long	0

	.bss
	.balign	4096
pml4:	.skip	6 * 4096
	.skip	16384
stack_end:
