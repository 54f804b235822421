// SPDX-License-Identifier: GPL-2.0-only
/*
 * The code around guest entry as it lies in the running kernel, patched for this CPU and command line,
 * does against speculation what the kernel itself says that this CPU needs, in the stated order
 * (kmod/hv_enter.h), and nothing that it does not need; and the module reports what is there.
 *
 * The kernel's own word is /sys/devices/system/cpu/vulnerabilities and /proc/cpuinfo; the code is
 * read through /proc/kcore and walked as a CPU would run it, from the entry function's first
 * instruction to its return.
 */
#include <Zydis/Zydis.h>
#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#define LONGEST	2000		/* instructions */
#define ROOM	64

enum what { SPEC, VMLOAD, VERW, ENTER, VMSAVE, CLEAR, RSB, LFENCE, UNTRAIN, BHB, IBPB, STGI, RET, THUNK };

static const char *const what_name[] = {
	"SPEC_CTRL", "VMLOAD", "VERW", "entry", "VMSAVE", "registers cleared", "return stack filled",
	"LFENCE", "untrain", "BHB cleared", "IBPB", "STGI", "RET", "return thunk",
};

static struct {
	enum what what;
	unsigned int count;
} step[ROOM];
static int steps;

static int kcore;
static Elf64_Phdr segment[128];
static int segments;

static void note(enum what what, unsigned int count)
{
	if (steps == ROOM)
		ktap_bail("more steps than there can be");
	step[steps].what = what;
	step[steps++].count = count;
}

static void kcore_open(void)
{
	Elf64_Ehdr head;

	kcore = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	if (kcore < 0 || pread(kcore, &head, sizeof(head), 0) != sizeof(head) || head.e_phnum > 128 ||
	    pread(kcore, segment, head.e_phnum * sizeof(segment[0]), head.e_phoff) !=
		    (ssize_t)(head.e_phnum * sizeof(segment[0])))
		ktap_bail("/proc/kcore cannot be read");
	segments = head.e_phnum;
}

static size_t kernel_read(uint64_t at, void *p, size_t len)
{
	int i;

	for (i = 0; i < segments; i++)
		if (segment[i].p_type == PT_LOAD && at >= segment[i].p_vaddr &&
		    at + len <= segment[i].p_vaddr + segment[i].p_memsz &&
		    pread(kcore, p, len, segment[i].p_offset + (at - segment[i].p_vaddr)) ==
			    (ssize_t)len)
			return len;
	return 0;
}

/* By name, or the last symbol at or before an address; 0 or false if there is none. */
static uint64_t symbol(const char *name)
{
	unsigned long long at;
	uint64_t found = 0;
	char line[512], word[256], type;
	FILE *f = fopen("/proc/kallsyms", "re");

	while (f && !found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx %c %255s", &at, &type, word) == 3 && !strcmp(word, name))
			found = at;
	if (f)
		fclose(f);
	return found;
}

static bool symbol_at(uint64_t address, char name[256])
{
	unsigned long long at;
	char line[512], word[256], type;
	bool found = false;
	FILE *f = fopen("/proc/kallsyms", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %c %255s", &at, &type, word) != 3 || at != address)
			continue;
		/* Several names may have one address: the telling one counts. */
		if (!found || strstr(word, "untrain") || strstr(word, "thunk"))
			strcpy(name, word);
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

/* ---- the walk ---- */

/*
 * Jumps are followed, conditional ones are not taken: that way lie the writes that a comparison
 * may save.  A loop's turns are counted by the constant that its register was set to.
 */
static void walk(uint64_t at)
{
	const ZydisDecodedOperand *op;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;
	ZydisDecoder decoder;
	unsigned int cleared = 0, calls = 0, turns = 1;
	uint64_t rcx = 0, target, start = at;
	bool entered = false;
	uint8_t code[15];
	char name[256];
	int n;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (n = 0; n < LONGEST; n++) {
		if (!kernel_read(at, code, sizeof(code)) ||
		    !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, sizeof(code), &in, ops)))
			ktap_bail("no instruction at entry + %#llx", (unsigned long long)(at - start));
		op = ops;
		target = 0;
		if (in.operand_count && op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
		    op[0].imm.is_relative)
			ZydisCalcAbsoluteAddress(&in, op, at, &target);
		at += in.length;
		switch (in.mnemonic) {
		case ZYDIS_MNEMONIC_MOV:
			if (op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
				turns = op[1].imm.value.u;
				if (op[0].reg.value == ZYDIS_REGISTER_ECX)
					rcx = op[1].imm.value.u;
			}
			break;
		case ZYDIS_MNEMONIC_WRMSR:
			if (rcx == 0x48)
				note(SPEC, 1);
			else if (rcx == 0x49)
				note(IBPB, 1);
			else
				ktap_bail("a write to MSR %#llx", (unsigned long long)rcx);
			break;
		case ZYDIS_MNEMONIC_VMLOAD:
			note(VMLOAD, 1);
			break;
		case ZYDIS_MNEMONIC_VMSAVE:
			note(VMSAVE, 1);
			break;
		case ZYDIS_MNEMONIC_VERW:
			note(VERW, 1);
			break;
		case ZYDIS_MNEMONIC_VMRESUME:
			/* The CPU comes back elsewhere. */
			at = symbol(start == symbol("vmx_enter_guest") ? "vmx_exit_point"
								       : "vmx_exit_point_bare");
			if (!at)
				ktap_bail("no vmx_exit_point");
			/* fall through */
		case ZYDIS_MNEMONIC_VMRUN:
			note(ENTER, 1);
			entered = true;
			break;
		case ZYDIS_MNEMONIC_XOR:
			if (op[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
			    op[0].reg.value == op[1].reg.value && entered)
				cleared |= 1U << ZydisRegisterGetId(op[0].reg.value);
			/* All but RSP. */
			if (cleared == 0xffef) {
				note(CLEAR, 1);
				cleared = 0;
			}
			break;
		case ZYDIS_MNEMONIC_LFENCE:
			if (entered)
				note(LFENCE, 1);
			break;
		case ZYDIS_MNEMONIC_STGI:
			note(STGI, 1);
			break;
		case ZYDIS_MNEMONIC_CALL:
			if (target == at + 1) {		/* over an INT3: a return address to guess */
				calls++;
				at = target;
			} else if (!symbol_at(target, name)) {
				ktap_bail("a call to nowhere");
			} else if (strstr(name, "untrain")) {
				note(UNTRAIN, 1);
			} else if (strstr(name, "clear_bhb")) {
				note(BHB, 1);
			} else if (!strstr(name, "nop")) {
				ktap_bail("a call of %s", name);
			}
			break;
		case ZYDIS_MNEMONIC_JNZ:
			if (target < at && calls) {
				note(RSB, calls * turns);
				calls = 0;
			}
			break;
		case ZYDIS_MNEMONIC_JMP:
			if (!target)
				ktap_bail("an indirect jump");
			if (target >= start && target < start + 4096) {
				at = target;
				break;
			}
			if (!symbol_at(target, name) || !strstr(name, "return_thunk"))
				ktap_bail("a jump away, to %s", name);
			note(THUNK, 1);
			return;
		case ZYDIS_MNEMONIC_RET:
			note(RET, 1);
			return;
		default:
			break;
		}
	}
	ktap_bail("no return after %d instructions", LONGEST);
}

/* ---- what the kernel says ---- */

static bool first_line_has(const char *path, const char *text)
{
	char line[4096] = "";
	FILE *f = fopen(path, "re");

	if (f) {
		if (!fgets(line, sizeof(line), f))
			line[0] = '\0';
		fclose(f);
	}
	return strstr(line, text);
}

static bool says(const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/vulnerabilities/%s", file);
	return first_line_has(path, text);
}

/* In a line of /proc/cpuinfo. */
static bool cpu_word(const char *key, const char *want)
{
	static char line[8192];
	char *word, *rest;
	bool found = false;
	FILE *f = fopen("/proc/cpuinfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			break;
	if (f)
		fclose(f);
	for (word = strtok_r(line, " \t\n:", &rest); word; word = strtok_r(NULL, " \t\n:", &rest))
		found |= !strcmp(word, want);
	return found;
}

static bool cpu_flag(const char *flag)
{
	return cpu_word("flags", flag);
}

static int find(enum what what, int from)
{
	while (from < steps && step[from].what != what)
		from++;
	return from < steps ? from : -1;
}

static int total(enum what what)
{
	int i, n = 0;

	for (i = 0; i < steps; i++)
		n += step[i].what == what;
	return n;
}

static void compare(const char *name, bool wanted, bool there, bool told)
{
	ktap_check(wanted == there, "%s: %s and %s", name, wanted ? "needed" : "not needed",
		   there ? "there" : "not there");
	ktap_check(told == there, "%s: the module says so", name);
}

/* With mitigations=off there is another entry function; SPEC_CTRL is switched there too. */
static int switched_off(const struct testvm *t)
{
	static const enum what none[] = { VERW, CLEAR, RSB, UNTRAIN, BHB, IBPB };
	unsigned int i;

	ktap_plan(3 + sizeof(none) / sizeof(none[0]));
	walk(symbol(t->info.vendor == HV_VENDOR_SVM ? "svm_enter_guest_bare" : "vmx_enter_guest_bare"));
	ktap_check(total(ENTER) == 1, "one entry");
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ktap_check(!total(none[i]), "no step for it: %s", what_name[none[i]]);
	ktap_check(total(STGI) == (t->info.vendor == HV_VENDOR_SVM), "interrupts come back");
	ktap_check(!(t->info.mitigations & ~(uint64_t)HV_MIT_SPEC_CTRL), "the module claims none: %#llx",
		   (unsigned long long)t->info.mitigations);
	return ktap_finish();
}

int main(int argc, char **argv)
{
	bool spec, untrain, rsb, buffers, div0, told;
	struct testvm t;
	uint64_t entry;
	int in, i, last, at;
	static const enum what order[] = { CLEAR, RSB, SPEC, LFENCE, UNTRAIN, BHB, IBPB, STGI, RET };

	testvm_open(&t);
	kcore_open();
	if (argc > 1 && !strcmp(argv[1], "off"))
		return switched_off(&t);
	ktap_plan(15);
	entry = symbol(t.info.vendor == HV_VENDOR_SVM ? "svm_enter_guest" : "vmx_enter_guest");
	if (!entry)
		ktap_bail("no entry function in /proc/kallsyms");
	walk(entry);
	for (i = 0; i < steps; i++)
		ktap_note("%s", what_name[step[i].what]);
	in = find(ENTER, 0);
	ktap_check(in >= 0 && total(ENTER) == 1, "one entry");
	ktap_check(find(CLEAR, in) > in, "the guest's registers are cleared after it");
	ktap_check(t.info.mitigations & HV_MIT_CLEAR_GPR, "and the module says so");

	rsb = says("spectre_v2", "RSB filling");
	at = find(RSB, in);
	compare("return stack", rsb, at > in, t.info.mitigations & HV_MIT_RSB_FILL);
	ktap_check(at < 0 || step[at].count == 32, "32 entries of it: %u", at < 0 ? 0 : step[at].count);

	spec = cpu_flag("ibrs") || cpu_flag("stibp") || cpu_flag("ibrs_enhanced");
	compare("SPEC_CTRL", spec, total(SPEC) == 2 && find(SPEC, in) > in,
		t.info.mitigations & HV_MIT_SPEC_CTRL);
	if (spec)
		ktap_check(find(LFENCE, find(SPEC, in)) > in, "and a fence after it");
	else
		ktap_check(!total(SPEC), "no write of it at all");

	untrain = t.info.vendor == HV_VENDOR_SVM && (says("retbleed", "untrained return thunk") ||
						     says("spec_rstack_overflow", "afe RET"));
	compare("untrained returns", untrain, total(UNTRAIN) > 0,
		t.info.mitigations & HV_MIT_UNTRAIN_RET);
	ktap_check(!untrain || total(THUNK) == 1, "which end in the thunk: %s",
		   total(THUNK) ? "the thunk" : "RET");

	buffers = t.info.vendor == HV_VENDOR_SVM ? says("tsa", "Clear CPU buffers")
						  : says("mds", "Clear CPU buffers") ||
						    says("mmio_stale_data", "Clear CPU buffers") ||
						    says("reg_file_data_sampling", "Clear");
	at = find(VERW, 0);
	told = t.info.mitigations & HV_MIT_VERW;
	ktap_check(buffers == told && (at < 0 || at + 1 == in),
		   "CPU buffers: %s; no other step between them and the entry",
		   buffers ? "cleared" : "left");

	/* In C ahead of all this, so no step of the walk. */
	told = t.info.mitigations & HV_MIT_DIV0;
	div0 = t.info.vendor == HV_VENDOR_SVM && cpu_word("bugs", "div0") &&
	       !first_line_has("/proc/cmdline", "mitigations=off");
	ktap_check(div0 == told, "the divider: %s", div0 ? "cleared" : "left");

	for (i = 0, last = in; i < (int)(sizeof(order) / sizeof(order[0])); i++) {
		at = find(order[i], in);
		if (at < 0)
			continue;
		if (at < last)
			break;
		last = at;
	}
	ktap_check(i == sizeof(order) / sizeof(order[0]), "all in the stated order");
	return ktap_finish();
}
