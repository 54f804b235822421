// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contract 12: a guest reads and writes every MSR of the three ranges of the permission map, and
 * some beside them, and reads every port.  It never gets at one of the host's: the host's own
 * MSRs are the same afterwards, and no port answers but through userspace.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "event_guest.h"

/* RDI: first, RSI: end; RBX 0: read.  Counts at 0x31000: done, refused (by the #GP handler). */
GUEST_CODE(sweep,
	"1: cmp %esi, %edi\n jae 2f\n"
	"mov %edi, %ecx\n"
	"test %ebx, %ebx\n jnz 3f\n"
	"rdmsr\n"
	"jmp 4f\n"
	"3: mov %r8d, %eax\n mov %r9d, %edx\n"
	"wrmsr\n"
	"4: inc %edi\n jmp 1b\n"
	"2: out %al, $0x10\n hlt\n");
/* Both instructions are two bytes; drop the error code and go on. */
GUEST_CODE(gp_handler, "incl 0x31004\n add $8, %rsp\n addq $2, (%rsp)\n iretq\n");
GUEST_CODE(ports,
	"xor %edx, %edx\n"
	"1: in %dx, %al\n inc %edx\n cmp $0x10000, %edx\n jne 1b\n"
	"mov $0xffff, %edx\n in %dx, %eax\n"
	"out %al, $0x10\n hlt\n");
/* What the guest may have is its own. */
GUEST_CODE(own,
	"mov $0xc0000082, %ecx\n mov $0x1234, %eax\n xor %edx, %edx\n wrmsr\n"
	"mov $0xc0000102, %ecx\n mov $0x5678, %eax\n xor %edx, %edx\n wrmsr\n"
	"mov $0xc0000100, %ecx\n mov $0x9abc, %eax\n xor %edx, %edx\n wrmsr\n"
	"mov $0x176, %ecx\n mov $0xdef0, %eax\n xor %edx, %edx\n wrmsr\n"
	"out %al, $0x11\n"
	"mov $0xc0000082, %ecx\n rdmsr\n mov %eax, %r8d\n"
	"mov $0xc0000102, %ecx\n rdmsr\n mov %eax, %r9d\n"
	"mov $0xc0000100, %ecx\n rdmsr\n mov %eax, %r10d\n"
	"mov $0x176, %ecx\n rdmsr\n mov %eax, %r11d\n"
	"out %al, $0x10\n hlt\n");

/* Those that a guest could do most harm with, on the CPU this runs on. */
static const uint32_t host_msrs[] = {
	0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000101, 0xc0000102,
	0xc0000103, 0x174, 0x175, 0x176, 0x1b, 0x277, 0x2ff, 0x1a0, 0x1d9, 0xda0, 0x48,
	0xc0010010, 0xc0010015, 0xc0010114, 0xc0010117, 0xc0000104, 0x17a, 0x179,
};
#define HOST_MSRS (sizeof(host_msrs) / sizeof(host_msrs[0]))

static uint64_t before[HOST_MSRS];
static uint32_t shown;

static bool host_msr(int fd, uint32_t msr, uint64_t *val)
{
	return pread(fd, val, 8, msr) == 8;
}

/* KERNEL_GS_BASE and GS_BASE are this thread's and the CPU's: we are pinned. */
static void host_remember(int fd)
{
	unsigned int i;

	for (i = 0; i < HOST_MSRS; i++)
		if (!host_msr(fd, host_msrs[i], &before[i]))
			before[i] = 0;
}

static bool host_same(int fd)
{
	unsigned int i;
	bool same = true;
	uint64_t val;

	for (i = 0; i < HOST_MSRS; i++) {
		if (!host_msr(fd, host_msrs[i], &val))
			val = 0;
		if (val != before[i]) {
			ktap_note("host MSR %#x was %#llx, is %#llx", host_msrs[i],
				  (unsigned long long)before[i], (unsigned long long)val);
			same = false;
		}
	}
	return same;
}

/* True if the guest got to the end; every MSR shown to userspace is refused. */
static bool sweep_range(uint32_t first, uint32_t end, bool write, uint64_t val)
{
	struct hv_run *run = t.vcpu[0]->run;
	struct hv_regs *r = eg_load(sweep, sweep_end);
	uint32_t reason;

	testvm_code(&t, TVM_CODE + 0x800, gp_handler, gp_handler_end);
	testvm_gate(&t, 13, TVM_CODE + 0x800, 0);
	r->gpr[HV_RDI] = first;
	r->gpr[HV_RSI] = end;
	r->gpr[HV_RBX] = write;
	r->gpr[HV_R8] = (uint32_t)val;
	r->gpr[HV_R9] = val >> 32;
	while ((reason = testvm_run(&t, 0)) == HV_EXIT_MSR || reason == HV_EXIT_EOI) {
		if (reason == HV_EXIT_EOI)
			continue;
		shown++;
		if (run->msr.index < first || run->msr.index >= end || run->msr.write != write)
			ktap_bail("MSR exit for %#x", run->msr.index);
		hv_vcpu_msr_refuse(t.vcpu[0]);
	}
	if (reason == HV_EXIT_IO && run->io.port == 0x10)
		return true;
	ktap_note("exit %s at MSR %#llx, rip %#llx", hv_exit_name(reason),
		  (unsigned long long)hv_vcpu_regs(t.vcpu[0])->gpr[HV_RDI],
		  (unsigned long long)hv_vcpu_regs(t.vcpu[0])->rip);
	return false;
}

static void read_all(int fd)
{
	static const uint32_t range[][2] = {
		{ 0, 0x2000 }, { 0xc0000000, 0xc0002000 }, { 0xc0010000, 0xc0012000 },
		{ 0x40000000, 0x40000100 }, { 0x4b564d00, 0x4b564d20 }, { 0x20000000, 0x20000010 },
		{ 0xfffffff0, 0xffffffff },
	};
	unsigned int i;
	bool good = true;

	for (i = 0; i < sizeof(range) / sizeof(range[0]); i++)
		good &= sweep_range(range[i][0], range[i][1], false, 0);
	ktap_check(good, "every MSR read: a value, #GP or an exit (%u shown to userspace)", shown);
	ktap_check(host_same(fd), "the host's MSRs are as they were");
}

/*
 * Not written: EFER, APIC base and x2APIC registers (the guest would only lose its own mode),
 * the MSRs of kvmclock (they write guest memory, rightly).
 */
static void write_all(int fd, uint64_t val, const char *name)
{
	static const uint32_t range[][2] = {
		{ 0, 0x1b }, { 0x1c, 0x800 }, { 0x900, 0x2000 }, { 0xc0000000, 0xc0000080 },
		{ 0xc0000081, 0xc0002000 }, { 0xc0010000, 0xc0012000 }, { 0x40000000, 0x40000100 },
		{ 0x20000000, 0x20000010 },
	};
	unsigned int i;
	bool good = true;

	for (i = 0; i < sizeof(range) / sizeof(range[0]); i++)
		good &= sweep_range(range[i][0], range[i][1], true, val);
	ktap_check(good, "every MSR written with %s", name);
	ktap_check(host_same(fd), "the host's MSRs are as they were");
}

static void read_ports(void)
{
	struct hv_run *run = t.vcpu[0]->run;
	uint32_t port = 0, reason;

	eg_load(ports, ports_end);
	while ((reason = testvm_run(&t, 0)) == HV_EXIT_IO && run->io.in && run->io.size == 1 &&
	       run->io.port == port) {
		port++;
		testvm_done(&t, 0, 0xff);
	}
	ktap_check(port == 0x10000, "each of 65536 ports exits: %u", port);
	ktap_check(reason == HV_EXIT_IO && run->io.in && run->io.size == 4 &&
		   run->io.port == 0xffff, "four bytes at the last port too");
}

static void own_values(int fd)
{
	struct hv_regs *r = eg_load(own, own_end);
	struct hv_msrs *m = hv_vcpu_group(t.vcpu[0], HV_GROUP_MSRS);

	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(host_same(fd), "passed-through MSRs: the host has its own");
	hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_MSRS) | HV_GROUP(HV_GROUP_SEGS));
	ktap_check(m->lstar == 0x1234 && m->kernel_gs_base == 0x5678 && m->sysenter_eip == 0xdef0 &&
		   hv_vcpu_segs(t.vcpu[0])->seg[HV_FS].base == 0x9abc, "the guest's are in its state");
	testvm_done(&t, 0, 0);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(r->gpr[HV_R8] == 0x1234 && r->gpr[HV_R9] == 0x5678 && r->gpr[HV_R10] == 0x9abc &&
		   r->gpr[HV_R11] == 0xdef0, "and it reads them back");
}

int main(void)
{
	int fd;

	testvm_open(&t);
	if (system("taskset -p -c 0 $PPID >/dev/null; modprobe msr"))
		ktap_note("no msr driver");
	fd = open("/dev/cpu/0/msr", O_RDONLY);
	if (fd < 0)
		ktap_skip_all("no /dev/cpu/0/msr");
	ktap_plan(13);
	eg_create();
	host_remember(fd);
	read_all(fd);
	write_all(fd, 0, "zero");
	write_all(fd, ~0ULL, "ones");
	write_all(fd, 0x8000000000000001ULL, "two bits");
	own_values(fd);
	read_ports();
	testvm_destroy(&t);
	return ktap_finish();
}
