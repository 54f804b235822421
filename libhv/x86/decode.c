// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * decode.c - from instruction bytes to struct x86_insn, by way of Zydis.
 *
 * Zydis knows the encodings; this file knows which instructions the emulator has, and boils its
 * 1.5 KiB answer down to what they need.  Answers are cached by bytes and CPU mode, never by
 * RIP (contract 4): so no guest action can make an entry stale.
 */
#include <stdio.h>
#include <stdlib.h>

#include <Zydis/Zydis.h>

#include "emu.h"

#define CACHE_ENTRIES	128	/* power of two */
#define INSN_MAX	15

struct cache_entry {
	uint64_t key[2];	/* 15 bytes, zero-padded, and the mode */
	struct x86_insn insn;
};

struct hv_x86_cache {
	struct cache_entry entry[CACHE_ENTRIES];
};

int x86_cache_new(struct hv_x86_cache **cache)
{
	*cache = calloc(1, sizeof(**cache));
	return *cache ? 0 : -ENOMEM;
}

void x86_cache_free(struct hv_x86_cache *cache)
{
	free(cache);
}

struct op_entry {
	uint16_t mnemonic;
	uint8_t op;
	uint8_t opsize;		/* bytes; 0: as decoded */
	uint8_t flags;		/* VEC_* of moves; PRIVILEGED of others */
};

#define PRIVILEGED 1
#define M(name) ZYDIS_MNEMONIC_##name

static const struct op_entry ops[] = {
	{ M(MOV), OP_MOV }, { M(MOVNTI), OP_MOV }, { M(MOVDIRI), OP_MOV },
	{ M(MOVZX), OP_MOVZX }, { M(MOVSX), OP_MOVSX }, { M(MOVSXD), OP_MOVSX },
	{ M(MOVBE), OP_MOVBE }, { M(XCHG), OP_XCHG }, { M(XADD), OP_XADD },
	{ M(CMPXCHG), OP_CMPXCHG }, { M(CMPXCHG8B), OP_CMPXCHG_PAIR, 8 },
	{ M(CMPXCHG16B), OP_CMPXCHG_PAIR, 16 },
	{ M(ADD), OP_ADD }, { M(OR), OP_OR }, { M(ADC), OP_ADC }, { M(SBB), OP_SBB },
	{ M(AND), OP_AND }, { M(SUB), OP_SUB }, { M(XOR), OP_XOR }, { M(CMP), OP_CMP },
	{ M(TEST), OP_TEST }, { M(INC), OP_INC }, { M(DEC), OP_DEC }, { M(NOT), OP_NOT },
	{ M(NEG), OP_NEG }, { M(ROL), OP_ROL }, { M(ROR), OP_ROR }, { M(RCL), OP_RCL },
	{ M(RCR), OP_RCR }, { M(SHL), OP_SHL }, { M(SHR), OP_SHR }, { M(SAR), OP_SAR },
	{ M(BT), OP_BT }, { M(BTS), OP_BTS }, { M(BTR), OP_BTR }, { M(BTC), OP_BTC },
	{ M(PUSH), OP_PUSH }, { M(POP), OP_POP },
	/* Intercepted as CR0 accesses; with a memory operand the module leaves them to us. */
	{ M(LMSW), OP_LMSW }, { M(SMSW), OP_SMSW },

	{ M(SETO), OP_SETCC }, { M(SETNO), OP_SETCC }, { M(SETB), OP_SETCC },
	{ M(SETNB), OP_SETCC }, { M(SETZ), OP_SETCC }, { M(SETNZ), OP_SETCC },
	{ M(SETBE), OP_SETCC }, { M(SETNBE), OP_SETCC }, { M(SETS), OP_SETCC },
	{ M(SETNS), OP_SETCC }, { M(SETP), OP_SETCC }, { M(SETNP), OP_SETCC },
	{ M(SETL), OP_SETCC }, { M(SETNL), OP_SETCC }, { M(SETLE), OP_SETCC },
	{ M(SETNLE), OP_SETCC },
	{ M(CMOVO), OP_CMOVCC }, { M(CMOVNO), OP_CMOVCC }, { M(CMOVB), OP_CMOVCC },
	{ M(CMOVNB), OP_CMOVCC }, { M(CMOVZ), OP_CMOVCC }, { M(CMOVNZ), OP_CMOVCC },
	{ M(CMOVBE), OP_CMOVCC }, { M(CMOVNBE), OP_CMOVCC }, { M(CMOVS), OP_CMOVCC },
	{ M(CMOVNS), OP_CMOVCC }, { M(CMOVP), OP_CMOVCC }, { M(CMOVNP), OP_CMOVCC },
	{ M(CMOVL), OP_CMOVCC }, { M(CMOVNL), OP_CMOVCC }, { M(CMOVLE), OP_CMOVCC },
	{ M(CMOVNLE), OP_CMOVCC },

	/* These touch no memory as far as a device could see. */
	{ M(NOP), OP_NOP }, { M(PAUSE), OP_NOP }, { M(PREFETCH), OP_NOP },
	{ M(PREFETCHW), OP_NOP }, { M(PREFETCHNTA), OP_NOP }, { M(PREFETCHT0), OP_NOP },
	{ M(PREFETCHT1), OP_NOP }, { M(PREFETCHT2), OP_NOP }, { M(CLFLUSH), OP_NOP },
	{ M(CLFLUSHOPT), OP_NOP }, { M(CLWB), OP_NOP },
};

/*
 * Intercepted instructions the module leaves to us (HV_EXIT_INSN).  The guest has no cache to
 * lose, no performance counters, no virtualization of its own, and may not stop in MWAIT.
 */
static const struct op_entry intercepted[] = {
	{ M(INVD), OP_NOP, 0, PRIVILEGED }, { M(WBINVD), OP_NOP, 0, PRIVILEGED },
	{ M(RDPMC), OP_GP },
	{ M(MONITOR), OP_UD }, { M(MWAIT), OP_UD }, { M(MONITORX), OP_UD }, { M(MWAITX), OP_UD },
	{ M(RSM), OP_UD }, { M(RDPRU), OP_UD }, { M(RDPID), OP_UD }, { M(INVPCID), OP_UD },
	{ M(VMRUN), OP_UD }, { M(VMLOAD), OP_UD }, { M(VMSAVE), OP_UD }, { M(VMMCALL), OP_UD },
	{ M(STGI), OP_UD }, { M(CLGI), OP_UD }, { M(SKINIT), OP_UD }, { M(INVLPGA), OP_UD },
	{ M(VMCALL), OP_UD }, { M(VMLAUNCH), OP_UD }, { M(VMRESUME), OP_UD },
	{ M(VMXOFF), OP_UD }, { M(VMXON), OP_UD }, { M(VMCLEAR), OP_UD }, { M(VMPTRLD), OP_UD },
	{ M(VMPTRST), OP_UD }, { M(VMREAD), OP_UD }, { M(VMWRITE), OP_UD }, { M(VMFUNC), OP_UD },
	{ M(INVEPT), OP_UD }, { M(INVVPID), OP_UD },
	/* What can switch tasks: nobody's 32-bit guest needs it, and half of it is worse. */
	{ M(IRET), OP_REFUSE }, { M(IRETD), OP_REFUSE }, { M(CALL), OP_REFUSE },
	{ M(JMP), OP_REFUSE }, { M(INT), OP_REFUSE },
};

static const struct op_entry vector_moves[] = {
	{ M(MOVUPS), OP_VMOV, 0, 0 }, { M(MOVUPD), OP_VMOV, 0, 0 },
	{ M(MOVDQU), OP_VMOV, 0, 0 }, { M(LDDQU), OP_VMOV, 0, 0 },
	{ M(MOVAPS), OP_VMOV, 0, VEC_ALIGNED }, { M(MOVAPD), OP_VMOV, 0, VEC_ALIGNED },
	{ M(MOVDQA), OP_VMOV, 0, VEC_ALIGNED }, { M(MOVNTDQ), OP_VMOV, 0, VEC_ALIGNED },
	{ M(MOVNTDQA), OP_VMOV, 0, VEC_ALIGNED }, { M(MOVNTPS), OP_VMOV, 0, VEC_ALIGNED },
	{ M(MOVNTPD), OP_VMOV, 0, VEC_ALIGNED },
	{ M(MOVD), OP_VMOV, 4, 0 }, { M(MOVQ), OP_VMOV, 8, 0 },
	{ M(MOVSS), OP_VMOV, 4, 0 }, { M(MOVSD), OP_VMOV, 8, 0 },
	{ M(MOVLPS), OP_VMOV, 8, VEC_MERGE }, { M(MOVLPD), OP_VMOV, 8, VEC_MERGE },
	{ M(MOVHPS), OP_VMOV, 8, VEC_MERGE | VEC_HIGH },
	{ M(MOVHPD), OP_VMOV, 8, VEC_MERGE | VEC_HIGH },

	{ M(VMOVUPS), OP_VMOV, 0, VEC_VEX }, { M(VMOVUPD), OP_VMOV, 0, VEC_VEX },
	{ M(VMOVDQU), OP_VMOV, 0, VEC_VEX }, { M(VLDDQU), OP_VMOV, 0, VEC_VEX },
	{ M(VMOVAPS), OP_VMOV, 0, VEC_VEX | VEC_ALIGNED },
	{ M(VMOVAPD), OP_VMOV, 0, VEC_VEX | VEC_ALIGNED },
	{ M(VMOVDQA), OP_VMOV, 0, VEC_VEX | VEC_ALIGNED },
	{ M(VMOVNTDQ), OP_VMOV, 0, VEC_VEX | VEC_ALIGNED },
	{ M(VMOVNTDQA), OP_VMOV, 0, VEC_VEX | VEC_ALIGNED },
	{ M(VMOVNTPS), OP_VMOV, 0, VEC_VEX | VEC_ALIGNED },
	{ M(VMOVNTPD), OP_VMOV, 0, VEC_VEX | VEC_ALIGNED },
	{ M(VMOVD), OP_VMOV, 4, VEC_VEX }, { M(VMOVQ), OP_VMOV, 8, VEC_VEX },
	{ M(VMOVSS), OP_VMOV, 4, VEC_VEX }, { M(VMOVSD), OP_VMOV, 8, VEC_VEX },
	{ M(VMOVLPS), OP_VMOV, 8, VEC_VEX | VEC_MERGE },
	{ M(VMOVLPD), OP_VMOV, 8, VEC_VEX | VEC_MERGE },
	{ M(VMOVHPS), OP_VMOV, 8, VEC_VEX | VEC_MERGE | VEC_HIGH },
	{ M(VMOVHPD), OP_VMOV, 8, VEC_VEX | VEC_MERGE | VEC_HIGH },
};

/* Only within the string categories: MOVSD and CMPSD are SSE instructions too. */
static const struct op_entry strings[] = {
	{ M(MOVSB), OP_MOVS, 1 }, { M(MOVSW), OP_MOVS, 2 }, { M(MOVSD), OP_MOVS, 4 },
	{ M(MOVSQ), OP_MOVS, 8 }, { M(STOSB), OP_STOS, 1 }, { M(STOSW), OP_STOS, 2 },
	{ M(STOSD), OP_STOS, 4 }, { M(STOSQ), OP_STOS, 8 }, { M(LODSB), OP_LODS, 1 },
	{ M(LODSW), OP_LODS, 2 }, { M(LODSD), OP_LODS, 4 }, { M(LODSQ), OP_LODS, 8 },
	{ M(SCASB), OP_SCAS, 1 }, { M(SCASW), OP_SCAS, 2 }, { M(SCASD), OP_SCAS, 4 },
	{ M(SCASQ), OP_SCAS, 8 }, { M(CMPSB), OP_CMPS, 1 }, { M(CMPSW), OP_CMPS, 2 },
	{ M(CMPSD), OP_CMPS, 4 }, { M(CMPSQ), OP_CMPS, 8 }, { M(INSB), OP_INS, 1 },
	{ M(INSW), OP_INS, 2 }, { M(INSD), OP_INS, 4 }, { M(OUTSB), OP_OUTS, 1 },
	{ M(OUTSW), OP_OUTS, 2 }, { M(OUTSD), OP_OUTS, 4 },
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct op_entry *find(const struct op_entry *table, size_t count,
				   ZydisMnemonic mnemonic)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (table[i].mnemonic == mnemonic)
			return &table[i];
	return NULL;
}

static const struct op_entry *find_op(const ZydisDecodedInstruction *z)
{
	const struct op_entry *e;

	/* EVEX and the like: opmasks and broadcasts, which no driver uses on a device. */
	if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	    z->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
		return NULL;
	if (z->meta.category == ZYDIS_CATEGORY_STRINGOP ||
	    z->meta.category == ZYDIS_CATEGORY_IOSTRINGOP)
		return find(strings, COUNT(strings), z->mnemonic);
	e = find(ops, COUNT(ops), z->mnemonic);
	if (!e)
		e = find(vector_moves, COUNT(vector_moves), z->mnemonic);
	if (!e)
		e = find(intercepted, COUNT(intercepted), z->mnemonic);
	return e;
}

/* Number of a general register in the order of gpr[]; -1 for anything else. */
static int gpr_number(ZydisRegister reg, uint8_t *high)
{
	if (high)
		*high = 0;
	if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL)
		return reg - ZYDIS_REGISTER_AL;
	if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
		if (high)
			*high = 1;
		return reg - ZYDIS_REGISTER_AH;
	}
	if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B)
		return reg - ZYDIS_REGISTER_SPL + 4;
	if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W)
		return reg - ZYDIS_REGISTER_AX;
	if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
		return reg - ZYDIS_REGISTER_EAX;
	if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
		return reg - ZYDIS_REGISTER_RAX;
	return -1;
}

static void memory_operand(struct x86_insn *insn, const ZydisDecodedInstruction *z,
			   const ZydisDecodedOperandMem *mem)
{
	if (mem->segment >= ZYDIS_REGISTER_ES && mem->segment <= ZYDIS_REGISTER_GS)
		insn->mem_seg = mem->segment - ZYDIS_REGISTER_ES;
	else
		insn->mem_seg = HV_DS;
	if (mem->base == ZYDIS_REGISTER_RIP || mem->base == ZYDIS_REGISTER_EIP)
		insn->mem_base = X86_BASE_RIP;
	else
		insn->mem_base = gpr_number(mem->base, NULL);
	insn->mem_index = gpr_number(mem->index, NULL);
	insn->mem_scale = mem->scale;
	insn->mem_disp = mem->disp.has_displacement ? mem->disp.value : 0;
	/*
	 * Base 5 with mod 0 is "no base, disp32" whatever REX.B says.  Zydis 4.0 takes it for
	 * R13D if the address size is 32 bits (its issue 592).
	 */
	if (z->raw.modrm.offset && z->raw.modrm.mod == 0 && z->raw.modrm.rm == 4 &&
	    z->address_width != 16 && z->raw.sib.base == 5) {
		insn->mem_base = -1;
		insn->mem_disp = z->raw.disp.value;
	}
}

/* False: an operand the emulator does not have. */
static bool operand(struct x86_insn *insn, struct x86_operand *o,
		    const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *z)
{
	int reg;

	o->size = z->size / 8;
	switch (z->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		reg = gpr_number(z->reg.value, &o->high);
		if (reg >= 0) {
			o->type = OPD_REG;
		} else if (z->reg.value >= ZYDIS_REGISTER_ES &&
			   z->reg.value <= ZYDIS_REGISTER_GS) {
			reg = z->reg.value - ZYDIS_REGISTER_ES;
			o->type = OPD_SEG;
		} else if (z->reg.value >= ZYDIS_REGISTER_XMM0 &&
			   z->reg.value <= ZYDIS_REGISTER_XMM15) {
			reg = z->reg.value - ZYDIS_REGISTER_XMM0;
			o->type = OPD_VEC;
		} else if (z->reg.value >= ZYDIS_REGISTER_YMM0 &&
			   z->reg.value <= ZYDIS_REGISTER_YMM15) {
			reg = z->reg.value - ZYDIS_REGISTER_YMM0;
			o->type = OPD_VEC;
		} else {
			return false;
		}
		o->reg = reg;
		return true;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (z->mem.type != ZYDIS_MEMOP_TYPE_MEM)
			return z->mem.type == ZYDIS_MEMOP_TYPE_AGEN;
		o->type = OPD_MEM;
		memory_operand(insn, zi, &z->mem);
		return true;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		o->type = OPD_IMM;
		insn->imm = z->imm.value.u;
		return true;
	default:
		return false;
	}
}

/* The last of several repeat prefixes counts; a mandatory one never gets here as string op. */
static void repeat_prefix(struct x86_insn *insn, const ZydisDecodedInstruction *z)
{
	unsigned int i;

	for (i = 0; i < z->raw.prefix_count; i++) {
		if (z->raw.prefixes[i].value == 0xf3) {
			insn->rep = 1;
			insn->repne = 0;
		} else if (z->raw.prefixes[i].value == 0xf2) {
			insn->rep = 0;
			insn->repne = 1;
		}
	}
}

static void string_operands(struct x86_insn *insn, const ZydisDecodedInstruction *z,
			    const ZydisDecodedOperand *zo)
{
	unsigned int i;

	insn->mem_seg = HV_DS;
	for (i = 0; i < z->operand_count; i++)
		if (zo[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    gpr_number(zo[i].mem.base, NULL) == HV_RSI)
			memory_operand(insn, z, &zo[i].mem);
	insn->single = insn->op != OP_MOVS && insn->op != OP_CMPS;
}

static void translate(struct x86_insn *insn, const ZydisDecodedInstruction *z,
		      const ZydisDecodedOperand *zo)
{
	const struct op_entry *e = find_op(z);
	unsigned int i, memory = 0;

	memset(insn, 0, sizeof(*insn));
	insn->length = z->length;
	insn->name = ZydisMnemonicGetString(z->mnemonic);
	insn->opsize = z->operand_width / 8;
	insn->addrsize = z->address_width / 8;
	insn->lock = !!(z->attributes & ZYDIS_ATTRIB_HAS_LOCK);
	insn->cond = z->opcode & 0xf;
	if (!e)
		return;
	insn->op = e->op;
	if (e->opsize)
		insn->opsize = e->opsize;
	switch (insn->op) {
	case OP_NOP: case OP_UD: case OP_GP: case OP_REFUSE:
		insn->privileged = e->flags & PRIVILEGED;
		return;
	case OP_MOVS: case OP_STOS: case OP_LODS: case OP_SCAS: case OP_CMPS:
	case OP_INS: case OP_OUTS:
		repeat_prefix(insn, z);
		string_operands(insn, z, zo);
		return;
	}

	for (i = 0; i < z->operand_count_visible; i++) {
		if (i >= COUNT(insn->opd) || !operand(insn, &insn->opd[i], z, &zo[i])) {
			insn->op = OP_UNKNOWN;
			return;
		}
		memory += insn->opd[i].type == OPD_MEM;
	}
	insn->single = memory == 1 && insn->op != OP_PUSH && insn->op != OP_POP;
	if (insn->op == OP_VMOV) {
		insn->vec = e->flags;
		/* Whole-register moves: as many bytes as the memory operand has. */
		for (i = 0; i < z->operand_count_visible && !e->opsize; i++)
			if (insn->opd[i].type == OPD_MEM)
				insn->opsize = insn->opd[i].size;
		/* MOVQ's encoding 66 REX.W 0F 6E is MOVD with 8 bytes; both names say opsize. */
		if (memory != 1)
			insn->op = OP_UNKNOWN;
	}
}

static ZyanStatus zydis_decode(const struct x86_ctx *c, const uint8_t *bytes, unsigned int len,
			       struct x86_insn *insn)
{
	const bool lma = c->x->control->efer & X86_EFER_LMA;
	ZydisDecodedOperand zo[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction z;
	ZydisStackWidth stack;
	ZydisMachineMode mode;
	ZydisDecoder decoder;
	ZyanStatus status;

	switch (c->code_size) {
	case 8:
		mode = ZYDIS_MACHINE_MODE_LONG_64;
		stack = ZYDIS_STACK_WIDTH_64;
		break;
	case 4:
		mode = lma ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 : ZYDIS_MACHINE_MODE_LEGACY_32;
		stack = ZYDIS_STACK_WIDTH_32;
		break;
	default:
		if (c->mode == X86_REAL || c->mode == X86_V86)
			mode = ZYDIS_MACHINE_MODE_REAL_16;
		else
			mode = lma ? ZYDIS_MACHINE_MODE_LONG_COMPAT_16
				   : ZYDIS_MACHINE_MODE_LEGACY_16;
		stack = ZYDIS_STACK_WIDTH_16;
	}
	ZydisDecoderInit(&decoder, mode, stack);
	/* Instructions the guest does not have must keep their old meaning (REP BSF, NOPs). */
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
	status = ZydisDecoderDecodeFull(&decoder, bytes, len, &z, zo);
	if (ZYAN_SUCCESS(status))
		translate(insn, &z, zo);
	return status;
}

/* The line for hv_vcpu_error(): what failed, the bytes, where and in which mode. */
void x86_describe(struct x86_ctx *c, const char *what)
{
	const unsigned int len = c->insn ? c->insn->length : c->bytes_len;
	struct hv_x86 *x = c->x;
	size_t pos;
	unsigned int i;

	pos = snprintf(x->error, sizeof(x->error), "%s:", what);
	for (i = 0; i < len && pos < sizeof(x->error); i++)
		pos += snprintf(x->error + pos, sizeof(x->error) - pos, " %02x", c->bytes[i]);
	if (pos < sizeof(x->error))
		snprintf(x->error + pos, sizeof(x->error) - pos,
			 " at %04x:%llx, %u-bit %s mode, CPL %u",
			 x->segs->seg[HV_CS].selector, (unsigned long long)x->regs->rip,
			 c->code_size * 8,
			 c->mode == X86_REAL ? "real" : c->mode == X86_V86 ? "virtual-8086" :
			 c->mode == X86_LONG ? "long" : "protected", c->cpl);
}

static void cache_key(const struct x86_ctx *c, const uint8_t *bytes, uint64_t key[2])
{
	/* Real and protected mode decode differently (VEX), compatibility mode too. */
	uint64_t mode = c->code_size | c->mode << 4 |
			(c->x->control->efer & X86_EFER_LMA ? 0x80 : 0);

	memcpy(key, bytes, 16);
	key[1] = (key[1] & ~(0xffULL << 56)) | mode << 56;
}

static unsigned int cache_slot(const uint64_t key[2])
{
	uint64_t h = (key[0] ^ key[1] * 0x9e3779b97f4a7c15ULL) * 0xff51afd7ed558ccdULL;

	return (h >> 40) & (CACHE_ENTRIES - 1);
}

int x86_decode(struct x86_ctx *c)
{
	const struct hv_x86_hint *hint = c->hint;
	struct cache_entry *e;
	ZyanStatus status;
	uint64_t key[2];
	char what[64];
	int ret;

	c->bytes_len = hint->insn_len < INSN_MAX ? hint->insn_len : INSN_MAX;
	memcpy(c->bytes, hint->insn, c->bytes_len);
	if (!c->bytes_len) {
		ret = x86_fetch(c, c->bytes, &c->bytes_len);
		if (ret)
			return ret;
	}

	for (;;) {
		cache_key(c, c->bytes, key);
		e = &c->x->cache->entry[cache_slot(key)];
		/* Bytes we do not have are zeroes of our own: do not take them for the guest's. */
		if (e->key[0] == key[0] && e->key[1] == key[1] && e->insn.length &&
		    e->insn.length <= c->bytes_len)
			break;
		e->insn.length = 0;
		status = zydis_decode(c, c->bytes, c->bytes_len, &e->insn);
		if (ZYAN_SUCCESS(status)) {
			e->key[0] = key[0];
			e->key[1] = key[1];
			break;
		}
		e->insn.length = 0;
		if (status == ZYDIS_STATUS_NO_MORE_DATA && c->bytes_len < INSN_MAX) {
			ret = x86_fetch(c, c->bytes, &c->bytes_len);
			if (ret)
				return ret;
			continue;
		}
		if (status == ZYDIS_STATUS_NO_MORE_DATA ||
		    status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
			return x86_fault(c, X86_GP, 0);
		/* All ones is what code in no memory reads as; LOCK where none may be is #UD. */
		if (status == ZYDIS_STATUS_ILLEGAL_LOCK ||
		    (c->bytes[0] == 0xff && c->bytes[1] == 0xff))
			return x86_fault(c, X86_UD, 0);
		x86_describe(c, "cannot decode instruction");
		return -ENOTSUP;
	}

	c->insn = &e->insn;
	if (e->insn.op == OP_UNKNOWN || e->insn.op == OP_REFUSE) {
		snprintf(what, sizeof(what), "cannot emulate %s", e->insn.name);
		x86_describe(c, what);
		return -ENOTSUP;
	}
	return 0;
}
