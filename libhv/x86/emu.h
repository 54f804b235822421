/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * emu.h - what the files of the emulator share.
 *
 * Functions return 0, a negative errno (the assist fails), or a positive code: X86_FAULT, an
 * exception for the guest was recorded; X86_RETRY, the guest changed something under us and the
 * instruction is to be tried again; X86_PARTIAL, a REP instruction has done its share.
 *
 * The order inside every instruction: compute addresses, translate all of them (all faults),
 * then touch memory and devices, then commit registers.  So a fault leaves nothing half done.
 */
#ifndef _LIBHV_X86_EMU_H
#define _LIBHV_X86_EMU_H

#include <errno.h>
#include <string.h>

#include <hv/x86.h>

enum { X86_FAULT = 1, X86_RETRY, X86_PARTIAL };

enum {
	X86_DB = 1, X86_UD = 6, X86_NP = 11, X86_SS = 12, X86_GP = 13, X86_PF = 14, X86_AC = 17,
};

#define X86_CR0_PE	(1ULL << 0)
#define X86_CR0_WP	(1ULL << 16)
#define X86_CR0_AM	(1ULL << 18)
#define X86_CR0_PG	(1ULL << 31)
#define X86_CR4_PSE	(1ULL << 4)
#define X86_CR4_PAE	(1ULL << 5)
#define X86_CR4_UMIP	(1ULL << 11)
#define X86_CR4_LA57	(1ULL << 12)
#define X86_CR4_SMEP	(1ULL << 20)
#define X86_CR4_SMAP	(1ULL << 21)
#define X86_CR4_PKE	(1ULL << 22)
#define X86_EFER_LMA	(1ULL << 10)
#define X86_EFER_NXE	(1ULL << 11)

#define X86_CF	(1ULL << 0)
#define X86_PF_FLAG (1ULL << 2)
#define X86_AF	(1ULL << 4)
#define X86_ZF	(1ULL << 6)
#define X86_SF	(1ULL << 7)
#define X86_TF	(1ULL << 8)
#define X86_DF	(1ULL << 10)
#define X86_OF	(1ULL << 11)
#define X86_VM	(1ULL << 17)
#define X86_AC_FLAG (1ULL << 18)
#define X86_ARITH (X86_CF | X86_PF_FLAG | X86_AF | X86_ZF | X86_SF | X86_OF)

enum x86_mode { X86_REAL, X86_V86, X86_PROT, X86_LONG };

enum x86_op {
	OP_UNKNOWN,
	OP_MOV, OP_MOVZX, OP_MOVSX, OP_MOVBE, OP_XCHG, OP_XADD, OP_CMPXCHG, OP_CMPXCHG_PAIR,
	OP_ADD, OP_OR, OP_ADC, OP_SBB, OP_AND, OP_SUB, OP_XOR, OP_CMP, OP_TEST,
	OP_INC, OP_DEC, OP_NOT, OP_NEG,
	OP_ROL, OP_ROR, OP_RCL, OP_RCR, OP_SHL, OP_SHR, OP_SAR,
	OP_BT, OP_BTS, OP_BTR, OP_BTC,
	OP_SETCC, OP_CMOVCC, OP_PUSH, OP_POP, OP_LMSW, OP_SMSW,
	OP_MOVS, OP_STOS, OP_LODS, OP_SCAS, OP_CMPS, OP_INS, OP_OUTS,
	OP_VMOV,		/* SSE and AVX moves: struct x86_insn.vec says how */
	OP_NOP, OP_UD, OP_GP, OP_REFUSE,	/* intercepted instructions, by policy */
};

enum x86_operand_type {
	OPD_NONE, OPD_REG, OPD_MEM, OPD_IMM, OPD_SEG, OPD_VEC,
};

struct x86_operand {
	uint8_t type;
	uint8_t reg;		/* GPR, segment or vector register number */
	uint8_t high;		/* AH, CH, DH, BH */
	uint8_t size;		/* bytes */
};

/* OP_VMOV: x86_insn.opsize bytes move between memory and a register; the rest of the register */
#define VEC_ALIGNED	0x1	/* memory must be aligned to opsize, else #GP */
#define VEC_MERGE	0x2	/* loads keep the other bytes of the 16, else they become zero */
#define VEC_HIGH	0x4	/* it is the upper half of the 16 bytes that moves */
#define VEC_VEX		0x8	/* loads clear the register above byte 16 (or 32) */

struct x86_insn {
	uint8_t op;
	uint8_t length;
	uint8_t opsize;		/* bytes */
	uint8_t addrsize;	/* bytes */
	uint8_t lock, rep, repne;
	uint8_t cond;		/* SETcc, CMOVcc: condition number of the opcode */
	uint8_t vec;		/* VEC_* */
	uint8_t single;		/* has exactly one memory operand */
	uint8_t privileged;	/* #GP above CPL 0 before anything else */
	struct x86_operand opd[3];
	uint64_t imm;		/* sign-extended */
	/* the one memory operand that ModRM or moffs gives, or a string source's segment */
	uint8_t mem_seg;
	int8_t mem_base, mem_index;	/* GPR, -1 none, X86_BASE_RIP */
	uint8_t mem_scale;
	int64_t mem_disp;
	const char *name;	/* mnemonic, for messages */
};

#define X86_BASE_RIP	16

struct x86_tlb {
	uint64_t linear;	/* page; all ones: empty */
	uint64_t gpa;
};

/* One instruction under emulation. */
struct x86_ctx {
	struct hv_x86 *x;
	const struct hv_x86_hint *hint;
	const struct x86_insn *insn;
	uint8_t bytes[16];	/* of the instruction, as far as read */
	unsigned int bytes_len;
	struct hv_regs r;	/* working copy; committed when the instruction is through */
	enum x86_mode mode;
	uint8_t cpl;
	uint8_t code_size;	/* 2, 4, 8 */
	uint8_t stack_size;
	bool commit;		/* @r is to be kept even if this ends in a fault or error */
	struct x86_tlb tlb[2];	/* reads, writes: last page of each, for REP */
	uint64_t dr6;		/* data breakpoints met */
	/* the exception, after X86_FAULT */
	uint8_t vector;
	uint32_t error_code;
	uint64_t payload;
};

/* A translated memory operand: up to two pieces, as it may cross one page boundary. */
struct x86_ref {
	uint32_t size;
	uint32_t count;
	struct {
		uint64_t gpa;
		uint32_t len;
	} part[2];
};

static inline uint64_t size_mask(unsigned int bytes)
{
	return bytes >= 8 ? ~0ULL : (1ULL << (8 * bytes)) - 1;
}

static inline int x86_fault(struct x86_ctx *c, uint8_t vector, uint32_t code)
{
	c->vector = vector;
	c->error_code = code;
	c->payload = 0;
	return X86_FAULT;
}

/* decode.c */
int x86_cache_new(struct hv_x86_cache **cache);
void x86_cache_free(struct hv_x86_cache *cache);
int x86_decode(struct x86_ctx *c);
void x86_describe(struct x86_ctx *c, const char *what);

/* mem.c */
int x86_mode_init(struct x86_ctx *c);
uint64_t x86_operand_offset(struct x86_ctx *c);
int x86_translate(struct x86_ctx *c, uint64_t linear, uint32_t access, uint32_t flags,
		  uint64_t *gpa);
int x86_linear(struct x86_ctx *c, unsigned int seg, uint64_t offset, uint32_t size,
	       uint32_t access, uint64_t *linear);
int x86_ref_get(struct x86_ctx *c, unsigned int seg, uint64_t offset, uint32_t size,
		uint32_t access, struct x86_ref *ref);
int x86_ref_read(struct x86_ctx *c, const struct x86_ref *ref, void *buf);
int x86_ref_write(struct x86_ctx *c, const struct x86_ref *ref, const void *buf);
int x86_fetch(struct x86_ctx *c, uint8_t *buf, unsigned int *len);
int x86_system_read(struct x86_ctx *c, uint64_t linear, void *buf, unsigned int len);
int x86_system_write(struct x86_ctx *c, uint64_t linear, const void *buf, unsigned int len);

/* alu.c */
uint64_t x86_reg_read(const struct x86_ctx *c, const struct x86_operand *o);
void x86_reg_write(struct x86_ctx *c, const struct x86_operand *o, uint64_t value);
uint64_t x86_alu(struct x86_ctx *c, unsigned int op, unsigned int size, uint64_t a, uint64_t b);
bool x86_condition(uint64_t rflags, unsigned int cond);

/* string.c, vector.c, segment.c */
int x86_string(struct x86_ctx *c);
int x86_vector_move(struct x86_ctx *c);
int x86_segment_load(struct x86_ctx *c, unsigned int seg, uint16_t selector);
void x86_xsave_init(struct hv_x86 *x);
int x86_pkru(struct hv_x86 *x, uint32_t *pkru);

#endif /* _LIBHV_X86_EMU_H */
