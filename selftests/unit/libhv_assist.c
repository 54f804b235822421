// SPDX-License-Identifier: GPL-2.0-only
/*
 * libhv_assist.c - hv_assist_io(), hv_assist_mem() and the completion helpers on a run area of our
 * own: what they read of an exit, and what they leave for the next HV_RUN.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ktap.h"
#include "libhv/internal.h"

#define RAM 0x10000

static uint8_t ram[RAM];
static struct {
	uint16_t port;
	bool in, write;
	uint32_t size, vcpu;
	uint64_t gpa, data;
	unsigned int ios, mems;
	int error;
} seen;

static int do_io(void *opaque, uint32_t vcpu, uint16_t port, bool in, uint32_t size, void *data)
{
	(void)opaque;
	seen.vcpu = vcpu;
	seen.port = port;
	seen.in = in;
	seen.size = size;
	seen.ios++;
	if (seen.error)
		return seen.error;
	if (in)
		memcpy(data, &seen.data, size);
	else
		memcpy(&seen.data, data, size);
	return 0;
}

static int do_mem(void *opaque, uint32_t vcpu, uint64_t gpa, bool write, uint32_t size, void *data)
{
	(void)opaque;
	seen.vcpu = vcpu;
	seen.gpa = gpa;
	seen.write = write;
	seen.size = size;
	seen.mems++;
	if (write) {
		seen.data = 0;
		memcpy(&seen.data, data, size < 8 ? size : 8);
	} else {
		memset(data, 0x77, size);
	}
	return seen.error;
}

static int do_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	(void)opaque;
	if (gpa >= RAM || len > RAM - gpa)
		return -EFAULT;
	memcpy(buf, ram + gpa, len);
	return 0;
}

static int do_write(void *opaque, uint64_t gpa, const void *buf, size_t len)
{
	(void)opaque;
	if (gpa >= RAM || len > RAM - gpa)
		return -EFAULT;
	memcpy(ram + gpa, buf, len);
	return 0;
}

static struct hv_vm vm = {
	.fd = -1,
	.has_cb = true,
	.phys_bits = 48,
	.cb = { .io = do_io, .mem = do_mem, .guest_read = do_read, .guest_write = do_write },
};
static struct hv_run run_area;
static struct hv_regs regs;
static struct hv_segs segs;
static struct hv_control control;
static struct hv_events events;
static struct vcpu v;

static struct hv_vcpu *vcpu_reset(void)
{
	unsigned int i;

	hv_x86_fini(&v.x86);
	memset(&v, 0, sizeof(v));
	memset(&run_area, 0, sizeof(run_area));
	memset(&regs, 0, sizeof(regs));
	memset(&segs, 0, sizeof(segs));
	memset(&control, 0, sizeof(control));
	memset(&events, 0, sizeof(events));
	memset(&seen, 0, sizeof(seen));
	v.pub.run = &run_area;
	v.pub.vm = &vm;
	v.pub.id = 5;
	v.pub.fd = -1;		/* so that an ioctl shows as -EBADF */
	v.pub.group[HV_GROUP_REGS] = &regs;
	v.pub.group[HV_GROUP_SEGS] = &segs;
	v.pub.group[HV_GROUP_CONTROL] = &control;
	v.pub.group[HV_GROUP_EVENTS] = &events;
	run_area.valid = HV_GROUP(HV_GROUP_REGS) | HV_GROUP(HV_GROUP_SEGS) |
			 HV_GROUP(HV_GROUP_CONTROL);
	/* 32-bit code, no paging. */
	control.cr0 = 1;
	for (i = 0; i < 6; i++)
		segs.seg[i] = (struct hv_seg){ .limit = 0xffffffff,
			.attr = (i == HV_CS ? 0xb : 3) | HV_SEG_S | HV_SEG_P | HV_SEG_DB | HV_SEG_G };
	regs.rflags = 2;
	regs.rip = 0x1000;
	if (vcpu_x86_init(&v))
		ktap_bail("no memory");
	return &v.pub;
}

static struct hv_vcpu *io_exit(bool in, unsigned int size, bool string)
{
	struct hv_vcpu *vcpu = vcpu_reset();

	run_area.exit_reason = HV_EXIT_IO;
	run_area.io = (struct hv_exit_io){ .port = 0x3f8, .size = size, .in = in, .string = string,
					   .length = 2, .data = 0xa1b2c3d4 };
	regs.gpr[HV_RAX] = 0x1111222233334444;
	seen.data = 0xeeeeeeeeddccbbaa;
	return vcpu;
}

static void test_io(void)
{
	struct hv_vcpu *vcpu;

	vcpu = io_exit(true, 1, false);
	ktap_check(!hv_assist_io(vcpu) && regs.gpr[HV_RAX] == 0x11112222333344aa && seen.in &&
		   seen.port == 0x3f8 && seen.vcpu == 5 && run_area.retire == 2 &&
		   run_area.dirty == HV_GROUP(HV_GROUP_REGS), "in al, dx");
	vcpu = io_exit(true, 2, false);
	ktap_check(!hv_assist_io(vcpu) && regs.gpr[HV_RAX] == 0x111122223333bbaa, "in ax, dx");
	vcpu = io_exit(true, 4, false);
	ktap_check(!hv_assist_io(vcpu) && regs.gpr[HV_RAX] == 0xddccbbaa,
		   "in eax, dx clears the upper half");
	vcpu = io_exit(false, 2, false);
	seen.data = 0;
	ktap_check(!hv_assist_io(vcpu) && seen.data == 0xc3d4 && !seen.in && !run_area.dirty &&
		   run_area.retire == 2, "out dx, ax leaves the registers alone");
	vcpu = io_exit(true, 4, false);
	seen.error = -EIO;
	ktap_check(hv_assist_io(vcpu) == -EIO && !run_area.retire && !run_area.dirty &&
		   regs.gpr[HV_RAX] == 0x1111222233334444, "a failing device leaves the exit as it was");

	vcpu = io_exit(true, 1, true);
	memcpy(ram + 0x1000, "\xf3\x6c", 2);		/* rep insb */
	regs.gpr[HV_RDX] = 0x3f8;
	regs.gpr[HV_RDI] = 0x2000;
	regs.gpr[HV_RCX] = 3;
	ktap_check(!hv_assist_io(vcpu) && seen.ios == 3 && run_area.retire == 2 &&
		   regs.gpr[HV_RCX] == 0 && ram[0x2002] == 0xaa && regs.rip == 0x1000,
		   "rep insb from the registers");
	vcpu = vcpu_reset();
	run_area.exit_reason = HV_EXIT_MMIO;
	ktap_check(hv_assist_io(vcpu) == -EINVAL, "another exit is not an I/O exit");
}

static struct hv_vcpu *mem_exit(uint32_t reason, uint64_t gpa, uint32_t access, const char *insn,
				unsigned int len)
{
	struct hv_vcpu *vcpu = vcpu_reset();

	run_area.exit_reason = reason;
	run_area.mem.gpa = gpa;
	run_area.mem.access = access;
	run_area.mem.insn_len = len;
	memcpy(run_area.mem.insn, insn, len);
	return vcpu;
}

static void test_mem(void)
{
	struct hv_vcpu *vcpu;

	vcpu = mem_exit(HV_EXIT_MMIO, 0xfeb00010, HV_ACCESS_WRITE, "\x89\x03", 2);
	regs.gpr[HV_RBX] = 0xfeb00010;
	regs.gpr[HV_RAX] = 0x12345678;
	ktap_check(!hv_assist_mem(vcpu) && seen.gpa == 0xfeb00010 && seen.write && seen.size == 4 &&
		   seen.data == 0x12345678 && run_area.retire == 2 && seen.vcpu == 5 &&
		   !hv_vcpu_error(vcpu)[0], "mov to a device");
	vcpu = mem_exit(HV_EXIT_MMIO, 0xfeb00010, HV_ACCESS_READ, "\x0f\xae\x03", 3);
	ktap_check(hv_assist_mem(vcpu) == -ENOTSUP && !run_area.retire && !run_area.dirty &&
		   strstr(hv_vcpu_error(vcpu), "0f ae 03"), "unknown: %s", hv_vcpu_error(vcpu));
	vcpu = mem_exit(HV_EXIT_INSN, 0, 0, "\x0f\x09", 2);
	ktap_check(!hv_assist_mem(vcpu) && run_area.retire == 2, "wbinvd");

	vcpu = mem_exit(HV_EXIT_INSN, 0, 0, "\x89\x03", 2);
	run_area.mem.code = 0x7d;
	ktap_check(hv_assist_mem(vcpu) == -ENOTSUP && !seen.mems && !run_area.retire,
		   "task switch: %s", hv_vcpu_error(vcpu));

	/* A fault needs the EVENTS group: not there, so it is asked for (and -1 is no vCPU). */
	vcpu = mem_exit(HV_EXIT_INSN, 0, 0, "\x0f\x33", 2);
	ktap_check(hv_assist_mem(vcpu) == -EBADF, "a group that is missing is fetched");
	run_area.valid |= HV_GROUP(HV_GROUP_EVENTS);
	ktap_check(!hv_assist_mem(vcpu) && run_area.dirty & HV_GROUP(HV_GROUP_EVENTS) &&
		   events.exc_vector == 13 && !run_area.retire, "a fault goes to the EVENTS group");

	/* The APIC page is the module's, wherever IA32_APIC_BASE has put it. */
	vcpu = mem_exit(HV_EXIT_APIC, 0xfee00080, HV_ACCESS_READ, "\x0b\x03", 2);
	regs.gpr[HV_RBX] = 0xfee00080;
	control.apic_base = 0xfee00900;
	ktap_check(hv_assist_mem(vcpu) == -EBADF && !seen.mems, "the APIC page goes to the module");
	control.apic_base = 0x8900;
	regs.gpr[HV_RBX] = 0x8080;
	run_area.mem.gpa = 0x8080;
	ktap_check(hv_assist_mem(vcpu) == -EBADF && !seen.mems, "also where it covers RAM");
	control.apic_base = 0xfee00d00;
	regs.gpr[HV_RBX] = 0xfee00080;
	run_area.mem.gpa = 0xfee00080;
	ktap_check(!hv_assist_mem(vcpu) && seen.mems == 1 && run_area.retire == 2,
		   "with x2APIC the page is a hole like others");
}

static void test_helpers(void)
{
	struct hv_vcpu *vcpu = vcpu_reset();
	uint64_t gpa;

	run_area.valid = ~0ULL;
	run_area.exit_reason = HV_EXIT_MSR;
	run_area.msr = (struct hv_exit_msr){ .index = 0x1234, .length = 2 };
	ktap_check(!hv_vcpu_msr_done(vcpu, 0x1122334455667788) && run_area.retire == 2 &&
		   regs.gpr[HV_RAX] == 0x55667788 && regs.gpr[HV_RDX] == 0x11223344, "rdmsr");
	vcpu = vcpu_reset();
	run_area.valid = ~0ULL;
	run_area.exit_reason = HV_EXIT_MSR;
	ktap_check(!hv_vcpu_msr_refuse(vcpu) && events.exc_vector == 13 && !run_area.retire &&
		   events.exc_flags == (HV_EXC_PENDING | HV_EXC_ERROR_CODE), "rdmsr refused");
	ktap_check(hv_vcpu_raise(vcpu, 14, 2, 0x1000) == -EBUSY, "one exception at a time");
	ktap_check(hv_vcpu_raise(vcpu, 2, 0, 0) == -EINVAL && hv_vcpu_raise(vcpu, 32, 0, 0) == -EINVAL,
		   "NMI and interrupts are not exceptions");

	vcpu = vcpu_reset();
	run_area.valid = ~0ULL;
	ktap_check(!hv_vcpu_inject_extint(vcpu, 0x30) && events.int_flags == HV_INT_INJECTED &&
		   events.int_vector == 0x30 && (run_area.dirty & HV_GROUP(HV_GROUP_EVENTS)) &&
		   hv_vcpu_inject_extint(vcpu, 0x31) == -EBUSY, "an 8259's vector");
	ktap_check(hv_vcpu_retire(vcpu) == -EINVAL, "nothing to retire");
	ktap_check(!hv_vcpu_translate(vcpu, 0x4321, HV_ACCESS_READ, &gpa) && gpa == 0x4321,
		   "translation without paging");
	control.cr0 |= 1ULL << 31;
	control.cr3 = 0x3000;
	memset(ram + 0x3000, 0, 4096);
	ktap_check(hv_vcpu_translate(vcpu, 0x4321, 0, &gpa) == -EFAULT, "and of what is not mapped");

	/* What is dirty is ours: asking the module again would undo it. */
	vcpu = vcpu_reset();
	hv_vcpu_mark_dirty(vcpu, HV_GROUP(HV_GROUP_EVENTS));
	ktap_check(!hv_vcpu_need(vcpu, HV_GROUP(HV_GROUP_EVENTS)) &&
		   hv_vcpu_need(vcpu, HV_GROUP(HV_GROUP_XSAVE)) == -EBADF,
		   "need asks only for what is not there");
	run_area.dirty = 0;
	ktap_check(!hv_vcpu_sync(vcpu), "nothing to sync is no call");
	run_area.retire = 2;
	ktap_check(hv_vcpu_sync(vcpu) == -EBADF, "a retirement alone is");
}

static void test_text(void)
{
	struct hv_dev dev = { .fd = -1, .info = { .vendor = HV_VENDOR_SVM } };
	char line[256];
	unsigned int i;
	bool good = true;

	/* Where the CPU cannot, loading the module would not help. */
	ktap_check(strstr(hv_refusal(NULL, -ENOENT, line, sizeof(line)),
			  system("grep -qwE 'svm|vmx' /proc/cpuinfo") ? "neither SVM nor VMX" :
			  "modprobe hv") != NULL, "no device: %s", line);
	ktap_check(strstr(hv_refusal(NULL, -EACCES, line, sizeof(line)), "permission") != NULL,
		   "no permission: %s", line);
	ktap_check(strstr(hv_refusal(NULL, -EMFILE, line, sizeof(line)), "Too many") != NULL,
		   "anything else: %s", line);
	ktap_check(strstr(hv_refusal(&dev, -EBUSY, line, sizeof(line)), "modprobe -r kvm_amd") &&
		   strstr(line, "kvm.enable_virt_at_load=0"), "SVM in use: %s", line);
	dev.info.vendor = HV_VENDOR_VMX;
	ktap_check(strstr(hv_refusal(&dev, -EBUSY, line, sizeof(line)), "kvm_intel") != NULL,
		   "VMX in use: %s", line);
	dev.info.status = HV_STATUS_FIRMWARE;
	ktap_check(strstr(hv_refusal(&dev, -ENODEV, line, sizeof(line)), "VT-x") != NULL,
		   "firmware: %s", line);
	dev.info.status = HV_STATUS_OK;
	ktap_check(!hv_refusal(&dev, 0, line, sizeof(line))[0], "no refusal, no line");
	dev.info.mode = HV_MODE_BORROW;
	ktap_check(strstr(hv_refusal(&dev, -ENOENT, line, sizeof(line)), "modprobe kvm_intel") != NULL,
		   "nothing to borrow: %s", line);
	ktap_check(strstr(hv_refusal(&dev, -EACCES, line, sizeof(line)), "permission for /dev/kvm") &&
		   strlen(line) < sizeof(line) - 1, "nor may it: %s", line);
	ktap_check(strstr(hv_refusal(&dev, -EBUSY, line, sizeof(line)), "KVM cannot have it") != NULL,
		   "nor can KVM: %s", line);
	for (i = 0; i < HV_EXIT_COUNT; i++)
		good &= hv_exit_name(i) != NULL;
	for (i = 0; i < HV_STAT_COUNT; i++)
		good &= hv_stat_name(i) != NULL;
	ktap_check(good && !hv_exit_name(HV_EXIT_COUNT) && !hv_stat_name(HV_STAT_COUNT),
		   "every exit and counter has a name");
}

int main(void)
{
	ktap_plan(38);
	test_io();
	test_mem();
	test_helpers();
	test_text();
	return ktap_finish();
}
