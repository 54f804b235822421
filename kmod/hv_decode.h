/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hv_decode.h - the instruction decoder's interface, alone so that the host
 * unit test can compile hv_decode.c without a kernel.
 */
#ifndef HV_DECODE_H
#define HV_DECODE_H

#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
#endif

/* A plain mov between a register or immediate and memory, nothing else. */
struct hv_mov {
	u8 length;
	u8 size;			/* 1, 2, 4, 8 */
	bool write;
	bool imm;			/* write: value is @value, else gpr @reg */
	bool high_byte;			/* AH..BH: gpr @reg bits 15:8 */
	u8 reg;				/* 0..15 */
	u8 ext;				/* reads: 0 mov, 1 movzx, 2 movsx; size of destination in @dst */
	u8 dst;
	u64 value;
};

/* The operands of the instructions that reach control and debug registers. */
struct hv_sysreg_insn {
	u8 op;				/* second opcode byte */
	u8 reg, rm;			/* ModRM, with REX */
	bool memory;
	u8 opsize;
};

/* Pure functions of the bytes; @mode is 16, 32 or 64: the code segment's. */
int hv_decode_length(const u8 *b, int avail, int mode);	/* 1..15; 0 need more; -EINVAL */
int hv_decode_mov(const u8 *b, int avail, int mode, struct hv_mov *m);	/* 0, -ENOENT: not one */
/* 0F 20-23 (MOV CR, DR), 0F 06 (CLTS), 0F 01 (LMSW, SMSW). */
int hv_decode_sysreg(const u8 *b, int avail, int mode, struct hv_sysreg_insn *in);

#endif /* HV_DECODE_H */
