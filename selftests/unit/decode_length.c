// SPDX-License-Identifier: GPL-2.0-only
/*
 * decode_length.c - the module's instruction decoder against Zydis.
 *
 * hv_decode.c is compiled into this program. Every opcode of the four old maps is tried with every
 * ModRM byte and the prefixes that change lengths, VEX, EVEX and XOP and plain noise at random.
 * Wherever Zydis sees an instruction, lengths must agree; a plain mov must be described as Zydis
 * describes it; a shorter buffer must be asked to grow; and no byte past the buffer may be read
 * (it ends at an unmapped page).
 */
#include <Zydis/Zydis.h>
#include <sys/mman.h>
#include <unistd.h>
#include "ktap.h"
#include "kmod/hv_decode.c"

static const int modes[3] = { 16, 32, 64 };
static ZydisDecoder zydis[3];
static uint8_t *page_end;		/* the byte after the last readable one */
static uint64_t seed = 0x9e3779b97f4a7c15ULL;

static struct {
	unsigned long tried, known, movs, wrong;
} count;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void report(const char *what, int mode, const uint8_t *b, int want, int got)
{
	char hex[64], *p = hex;

	if (count.wrong++ >= 20)
		return;
	for (int i = 0; i < 15; i++)
		p += sprintf(p, " %02x", b[i]);
	ktap_note("%s, %d-bit:%s: Zydis %d, hv %d", what, mode, hex, want, got);
}

/* @b right before the unmapped page, @n bytes of it. */
static const uint8_t *place(const uint8_t *b, int n)
{
	return memcpy(page_end - n, b, n);
}

static int reg_number(ZydisRegister r, bool *high)
{
	int id = ZydisRegisterGetId(r);

	*high = r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
	if (*high)
		return r - ZYDIS_REGISTER_AH;
	/* Its byte registers are AL..BL, AH..BH, SPL..R15B. */
	return ZydisRegisterGetClass(r) == ZYDIS_REGCLASS_GPR8 && id >= 8 ? id - 4 : id;
}

/* Is it one of the forms that hv_decode_mov() promises, and what should it say? */
static bool expected_mov(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *op,
			 struct hv_mov *m)
{
	const ZydisDecodedOperand *reg;
	bool high;

	memset(m, 0, sizeof(*m));
	if (in->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
	    (in->attributes & ZYDIS_ATTRIB_HAS_LOCK))
		return false;
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		break;
	case ZYDIS_MNEMONIC_MOVZX:
		m->ext = 1;
		break;
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
		m->ext = 2;
		break;
	default:
		return false;
	}
	if (in->mnemonic == ZYDIS_MNEMONIC_MOVSXD && in->operand_width == 16)
		return false;
	m->length = in->length;
	m->write = op[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
	if (!m->write && op[1].type != ZYDIS_OPERAND_TYPE_MEMORY)
		return false;
	reg = m->write ? &op[1] : &op[0];
	m->size = op[!m->write].size / 8;
	if (reg->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		m->imm = true;
		m->value = reg->imm.value.u;
		if (m->size < 8)
			m->value &= (1ULL << (8 * m->size)) - 1;
	} else if (reg->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		   (ZydisRegisterGetClass(reg->reg.value) >= ZYDIS_REGCLASS_GPR8 &&
		    ZydisRegisterGetClass(reg->reg.value) <= ZYDIS_REGCLASS_GPR64)) {
		m->reg = reg_number(reg->reg.value, &high);
		m->high_byte = high;
	} else {
		return false;		/* segment registers */
	}
	m->dst = m->write ? m->size : reg->size / 8;
	return true;
}

static void check_mov(int i, const uint8_t *b, int len)
{
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;
	struct hv_mov want, got;
	bool is, known;

	known = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis[i], b, len, &in, op));
	is = known && expected_mov(&in, op, &want);
	if (hv_decode_mov(place(b, len), len, modes[i], &got)) {
		if (is)
			report("mov not known", modes[i], b, want.size, 0);
		return;
	}
	/* What Zydis refuses (#UD) the CPU never reports as an access. */
	if (!is && known) {
		report("taken for a mov", modes[i], b, 0, got.size);
		return;
	}
	if (!is)
		return;
	count.movs++;
	if (got.length != want.length)
		report("mov length", modes[i], b, want.length, got.length);
	else if (got.size != want.size)
		report("mov size", modes[i], b, want.size, got.size);
	else if (got.write != want.write || got.imm != want.imm || got.ext != want.ext)
		report("mov kind", modes[i], b, want.ext, got.ext);
	else if (got.reg != want.reg || got.high_byte != want.high_byte)
		report("mov register", modes[i], b, want.reg, got.reg);
	else if (got.dst != want.dst)
		report("mov destination", modes[i], b, want.dst, got.dst);
	else if (got.imm && got.value != want.value)
		report("mov value", modes[i], b, want.value, got.value);
}

static bool maybe_mov(const uint8_t *b, int len)
{
	for (int i = 0; i < len; i++)
		if ((b[i] & 0xf8) == 0x88 || (b[i] & 0xfc) == 0xa0 || (b[i] & 0xfe) == 0xc6 ||
		    b[i] == 0x63 || (b[i] & 0xf6) == 0xb6)
			return true;
	return false;
}

static void try(int i, const uint8_t *b)
{
	ZydisDecodedInstruction in;
	int got = hv_decode_length(place(b, 15), 15, modes[i]), part;

	count.tried++;
	if (got < 1 && got != -EINVAL)
		report("no verdict on 15 bytes", modes[i], b, 0, got);
	if (got > 15)
		report("too long", modes[i], b, 0, got);
	if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&zydis[i], NULL, b, 15, &in)))
		return;
	/* Knights Corner put jumps among the VEX opcodes; no other CPU has them. */
	if (in.meta.isa_ext == ZYDIS_ISA_EXT_KNC || in.meta.isa_ext == ZYDIS_ISA_EXT_KNCE ||
	    in.meta.isa_ext == ZYDIS_ISA_EXT_KNCV)
		return;
	count.known++;
	if (got != in.length) {
		report("length", modes[i], b, in.length, got);
		return;
	}
	part = rnd() % in.length;
	if (hv_decode_length(place(b, part), part, modes[i]) != 0)
		report("part of it is enough", modes[i], b, in.length, part);
	if (hv_decode_length(place(b, in.length), in.length, modes[i]) != in.length)
		report("itself is not enough", modes[i], b, in.length, 0);
	if (maybe_mov(b, in.length))
		check_mov(i, b, in.length);
}

static void noise(uint8_t *b, int from)
{
	uint64_t r[2] = { rnd(), rnd() };

	for (int i = from; i < 15; i++)
		b[i] = ((uint8_t *)r)[i];
}

static const uint8_t prefixes_to_try[][3] = {
	{ 0 }, { 1, 0x66 }, { 1, 0x67 }, { 1, 0xf2 }, { 1, 0xf3 }, { 1, 0x48 }, { 1, 0x44 },
	{ 2, 0x66, 0x48 }, { 2, 0x66, 0x67 }, { 2, 0x67, 0x4f }, { 2, 0x48, 0x66 }, { 2, 0x2e, 0xf0 },
};

static void old_maps(int i)
{
	static const uint8_t escape[4][3] = { { 0 }, { 1, 0x0f }, { 2, 0x0f, 0x38 }, { 2, 0x0f, 0x3a } };
	uint8_t b[16];
	int n;

	for (size_t p = 0; p < sizeof(prefixes_to_try) / 3; p++)
		for (int map = 0; map < 4; map++)
			for (int op = 0; op < 256; op++)
				for (int modrm = 0; modrm < 256; modrm++) {
					n = prefixes_to_try[p][0];
					memcpy(b, prefixes_to_try[p] + 1, n);
					memcpy(b + n, escape[map] + 1, escape[map][0]);
					n += escape[map][0];
					noise(b, n);
					b[n] = op;
					b[n + 1] = modrm;
					try(i, b);
				}
}

static void vector_maps(int i, uint8_t first, int bytes)
{
	uint8_t b[16];

	for (int n = 0; n < 400000; n++) {
		noise(b, 0);
		b[0] = first;
		/* Most maps do not exist: make the ones that do likely. */
		if (bytes > 1 && n % 4)
			b[1] = (b[1] & 0xe0) | (first == 0x8f ? 8 + n % 3 : 1 + n % 3);
		if (first == 0x62 && n % 4) {
			b[1] = (b[1] & 0xf0) | (1 + rnd() % 6);
			b[2] |= 4;
		}
		if (modes[i] != 64 && first != 0x8f)
			b[1] |= 0xc0;
		try(i, b);
	}
}

static void random_bytes(int i)
{
	static const uint8_t some[] = {
		0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x48, 0x41, 0x0f,
	};
	uint8_t b[16];

	for (int n = 0; n < 2000000; n++) {
		noise(b, 0);
		if (n & 1)
			for (int p = rnd() % 16; p > 0; p--)
				b[p - 1] = some[rnd() % sizeof(some)];
		try(i, b);
	}
}

int main(void)
{
	static const ZydisMachineMode machine[3] = {
		ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64,
	};
	static const ZydisStackWidth stack[3] = {
		ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64,
	};
	static const uint8_t all_prefix[16] = {
		0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
		0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90,
	};
	long size = sysconf(_SC_PAGESIZE);
	struct hv_mov m;
	int i;

	page_end = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page_end == MAP_FAILED)
		ktap_bail("mmap: %m");
	page_end += size;
	mprotect(page_end, size, PROT_NONE);

	ktap_plan(9);
	for (i = 0; i < 3; i++) {
		ZydisDecoderInit(&zydis[i], machine[i], stack[i]);
		memset(&count, 0, sizeof(count));
		old_maps(i);
		ktap_check(!count.wrong && count.known > count.tried / 3 && count.movs > 10000,
			   "%d-bit: every opcode and ModRM: %lu byte strings, %lu instructions, "
			   "%lu plain movs, %lu wrong", modes[i], count.tried, count.known, count.movs,
			   count.wrong);
		memset(&count, 0, sizeof(count));
		vector_maps(i, 0xc4, 2);
		vector_maps(i, 0xc5, 1);
		vector_maps(i, 0x62, 3);
		vector_maps(i, 0x8f, 2);
		random_bytes(i);
		ktap_check(!count.wrong && count.known > count.tried / 10,
			   "%d-bit: VEX, EVEX, XOP and noise: %lu byte strings, %lu instructions, "
			   "%lu wrong", modes[i], count.tried, count.known, count.wrong);
	}
	ktap_check(hv_decode_length(place(all_prefix, 15), 15, 64) == -EINVAL &&
		   hv_decode_length(place(all_prefix, 16), 16, 64) == -EINVAL &&
		   hv_decode_length(place(all_prefix + 1, 15), 15, 64) == 15 &&
		   hv_decode_length(place(all_prefix, 14), 14, 64) == 0,
		   "14 prefixes are an instruction, 15 are not");
	ktap_check(hv_decode_length(page_end, 0, 32) == 0, "no bytes ask for more");
	ktap_check(hv_decode_mov(place(all_prefix, 5), 5, 64, &m) == -ENOENT &&
		   hv_decode_mov(place((uint8_t[]){ 0x89, 0x04 }, 2), 2, 64, &m) == -ENOENT,
		   "half a mov is none");
	return ktap_finish();
}
