// SPDX-License-Identifier: GPL-2.0-only
/*
 * The smallest guests there are: one character from real mode, 32-bit and 64-bit code, an IN
 * whose value the guest uses, a CPUID, an HLT that an NMI ends, a triple fault.
 */
#include <string.h>
#include "ktap.h"
#include "lib/testvm.h"

GUEST_CODE(real_code, ".code16\n mov $'h', %al\n out %al, $0x10\n hlt\n");
GUEST_CODE(prot_code, ".code32\n mov $'v', %al\n mov $0x1234, %dx\n out %al, %dx\n hlt\n");
GUEST_CODE(long_code,
	"mov $0x123456789abcdef0, %rax\n"
	"in $0x20, %al\n"		/* only AL changes */
	"mov %rax, %rbx\n"
	"in $0x20, %eax\n"		/* clears the upper half */
	"out %eax, $0x21\n"
	"xor %eax, %eax\n cpuid\n"
	"out %eax, $0x22\n"
	"ud2\n");

int main(void)
{
	struct testvm t = {};
	struct hv_run *run;
	struct hv_regs *r;

	testvm_open(&t);
	ktap_plan(12);
	testvm_create(&t, 2 << 20, 1);
	run = t.vcpu[0]->run;
	r = hv_vcpu_regs(t.vcpu[0]);

	testvm_code(&t, TVM_CODE, real_code, real_code_end);
	testvm_real(&t, 0, TVM_CODE >> 4, 0);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(run->io.port == 0x10 && run->io.size == 1 && run->io.data == 'h',
		   "real mode writes 'h': port %#x size %u data %#x", run->io.port, run->io.size,
		   run->io.data);
	ktap_check(r->rip == 2 && run->io.length == 2, "RIP is that of the OUT: %#llx, length %u",
		   (unsigned long long)r->rip, run->io.length);

	testvm_code(&t, TVM_CODE, prot_code, prot_code_end);
	testvm_prot32(&t, 0, TVM_CODE);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(run->io.port == 0x1234 && run->io.data == 'v', "32-bit code writes 'v'");

	testvm_code(&t, TVM_CODE, long_code, long_code_end);
	testvm_long(&t, 0, TVM_CODE);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(run->io.in && run->io.size == 1, "64-bit code reads a byte");
	testvm_done(&t, 0, 0xabcd55);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(r->gpr[HV_RBX] == 0x123456789abcde55ULL, "only AL changed: %#llx",
		   (unsigned long long)r->gpr[HV_RBX]);
	ktap_check(run->io.in && run->io.size == 4, "64-bit code reads four bytes");
	testvm_done(&t, 0, 0xcafebabe);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(run->io.data == 0xcafebabe && r->gpr[HV_RAX] == 0xcafebabe,
		   "the value reached the guest: %#llx", (unsigned long long)r->gpr[HV_RAX]);
	testvm_done(&t, 0, 0);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(run->io.port == 0x22 && r->gpr[HV_RAX] >= 0xb, "CPUID leaf 0: max %#llx",
		   (unsigned long long)r->gpr[HV_RAX]);
	ktap_check(r->gpr[HV_RBX] >> 24 != 0, "and a vendor");
	testvm_done(&t, 0, 0);
	testvm_expect(&t, 0, HV_EXIT_SHUTDOWN);
	ktap_check(1, "a fault without an IDT is a shutdown");
	ktap_check(hv_vcpu_run(t.vcpu[0]) == 0 || run->exit_reason != 0, "the vCPU can be asked again");
	testvm_destroy(&t);
	ktap_check(t.dev == NULL, "all of it was released");
	return ktap_finish();
}
