// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * text.c - names of exits and counters, and refusals in words.
 *
 * A refusal is one line: what is wrong and what to do about it, by name (contract 8).  Nothing
 * here does what it advises.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static const char *const exit_names[HV_EXIT_COUNT] = {
	[HV_EXIT_NONE] = "none",
	[HV_EXIT_KICK] = "kick",
	[HV_EXIT_SIGNAL] = "signal",
	[HV_EXIT_IO] = "I/O",
	[HV_EXIT_MMIO] = "MMIO",
	[HV_EXIT_MEMORY_FAULT] = "memory fault",
	[HV_EXIT_MSR] = "MSR",
	[HV_EXIT_EOI] = "EOI",
	[HV_EXIT_EXTINT] = "EXTINT",
	[HV_EXIT_WINDOW] = "window",
	[HV_EXIT_APIC] = "APIC",
	[HV_EXIT_INSN] = "instruction",
	[HV_EXIT_SHUTDOWN] = "shutdown",
	[HV_EXIT_FAIL_ENTRY] = "failed entry",
	[HV_EXIT_DEBUG] = "debug",
	[HV_EXIT_INTERNAL] = "internal",
};

static const char *const stat_names[HV_STAT_COUNT] = {
	[HV_STAT_EXITS] = "exits",
	[HV_STAT_USER_EXITS] = "user_exits",
	[HV_STAT_IO] = "io",
	[HV_STAT_MMIO] = "mmio",
	[HV_STAT_CPUID] = "cpuid",
	[HV_STAT_MSR] = "msr",
	[HV_STAT_HLT] = "hlt",
	[HV_STAT_NPF] = "npf",
	[HV_STAT_INTR] = "intr",
	[HV_STAT_IRQ_INJECTED] = "irq_injected",
	[HV_STAT_NMI_INJECTED] = "nmi_injected",
	[HV_STAT_EXC_INJECTED] = "exc_injected",
	[HV_STAT_WINDOWS] = "windows",
	[HV_STAT_DOORBELLS] = "doorbells",
	[HV_STAT_APIC] = "apic",
	[HV_STAT_HALT_NS] = "halt_ns",
	[HV_STAT_KICKS] = "kicks",
	[HV_STAT_TLB_FLUSHES] = "tlb_flushes",
	[HV_STAT_FAST_EXITS] = "fast_exits",
	[HV_STAT_IPIS] = "ipis",
	[HV_STAT_TIMER] = "timer",
	[HV_STAT_MAPPED_4K] = "mapped_4k",
	[HV_STAT_MAPPED_2M] = "mapped_2m",
	[HV_STAT_MAPPED_1G] = "mapped_1g",
	[HV_STAT_TABLE_PAGES] = "table_pages",
	[HV_STAT_INVALIDATIONS] = "invalidations",
	[HV_STAT_IRQFD] = "irqfd",
	[HV_STAT_MSI] = "msi",
};

const char *hv_exit_name(uint32_t reason)
{
	return reason < HV_EXIT_COUNT ? exit_names[reason] : NULL;
}

const char *hv_stat_name(uint32_t counter)
{
	return counter < HV_STAT_COUNT ? stat_names[counter] : NULL;
}

static const char *status_text(const struct hv_info *info)
{
	const bool vmx = info->vendor == HV_VENDOR_VMX;

	switch (info->status) {
	case HV_STATUS_OK:
		return NULL;
	case HV_STATUS_NO_CPU:
		return vmx ? "this CPU has no VMX with EPT: hv cannot run guests on this machine"
			   : "this CPU has no SVM with nested paging: hv cannot run guests on "
			     "this machine";
	case HV_STATUS_FIRMWARE:
		return vmx ? "VMX is switched off in firmware: enable Intel VT-x in the BIOS setup"
			   : "SVM is switched off in firmware: enable SVM (AMD-V) in the BIOS "
			     "setup";
	case HV_STATUS_IN_USE:
		return vmx ? "VMX is in use by KVM: stop its guests and modprobe -r kvm_intel, or "
			     "boot with kvm.enable_virt_at_load=0"
			   : "SVM is in use by KVM: stop its guests and modprobe -r kvm_amd, or "
			     "boot with kvm.enable_virt_at_load=0";
	default:
		return "the module refuses for a reason this libhv does not know: use the libhv "
		       "that came with it";
	}
}

/* Does Linux see SVM or VMX?  True also where it cannot be told. */
static bool cpu_can(void)
{
	static const char *const flag[] = { " svm ", " vmx ", " svm\n", " vmx\n" };
	FILE *f = fopen("/proc/cpuinfo", "re");
	bool found = !f, told = false;
	char *line = NULL;
	size_t room = 0;
	unsigned int i;

	while (f && !told && getline(&line, &room, f) > 0) {
		told = !strncmp(line, "flags", 5);
		for (i = 0; told && i < sizeof(flag) / sizeof(flag[0]); i++)
			found |= strstr(line, flag[i]) != NULL;
	}
	free(line);
	if (f)
		fclose(f);
	return found || !told;
}

static const char *open_text(int err)
{
	switch (err) {
	case -ENOENT:
	case -ENXIO:
	case -ENODEV:
		if (!cpu_can())
			return "no " HV_DEVICE ", and this CPU or virtual machine shows neither SVM "
			       "nor VMX: hv cannot run guests here";
		return "no " HV_DEVICE ": load the module, with modprobe hv or insmod DIR/hv.ko "
		       "(if that fails, dmesg says why)";
	case -EACCES:
	case -EPERM:
		return "no permission for " HV_DEVICE ": run as root, or give this user or group "
		       "access to it (ls -l " HV_DEVICE ")";
	case -EPROTO:
		return HV_DEVICE " speaks another version of the interface: install hv.ko and "
		       "libhv of one version and reload the module";
	default:
		return NULL;
	}
}

/* Of what a VM needs of KVM in borrow mode. */
static const char *borrow_text(int err)
{
	switch (err) {
	case -ENOENT:
		return "hv borrows VMX from KVM here, and there is no /dev/kvm: modprobe kvm_intel";
	case -EACCES:
	case -EPERM:
		return "hv borrows VMX from KVM here, and there is no permission for /dev/kvm: run as "
		       "root, or give this user or group access to it (ls -l /dev/kvm)";
	case -EBUSY:
		return "hv borrows VMX from KVM here, and KVM cannot have it: stop the other "
		       "hypervisor that has it on, then modprobe kvm_intel";
	default:
		return NULL;
	}
}

const char *hv_refusal(struct hv_dev *dev, int err, char *buf, size_t len)
{
	struct hv_info info;
	const char *text = NULL;

	if (!dev) {
		text = open_text(err);
		if (!text) {
			snprintf(buf, len, "cannot open " HV_DEVICE ": %s", strerror(-err));
			return buf;
		}
	} else {
		/* Ask now: whoever held the CPU may have come or gone since hv_open(). */
		if (hv_get_info(dev, &info))
			info = dev->info;
		if (!err || err == -EBUSY || err == -ENODEV || err == -EOPNOTSUPP)
			text = status_text(&info);
		if (!text && info.mode == HV_MODE_BORROW)
			text = borrow_text(err || !access("/dev/kvm", R_OK | W_OK) ? err : -errno);
		if (!text && err == -EBUSY) {
			info.status = HV_STATUS_IN_USE;
			text = status_text(&info);
		}
	}

	if (text)
		snprintf(buf, len, "%s", text);
	else if (!err)
		snprintf(buf, len, "%s", "");
	else if (err == -EIO)
		snprintf(buf, len, "a VM can be used only by the process that created it");
	else if (err == -ENOMEM)
		snprintf(buf, len, "the host has no memory left for this guest (or its memory "
			 "cgroup allows no more)");
	else if (err == -ENODATA)
		snprintf(buf, len, "the guest has no CPUID table: hv_vm_set_cpuid() comes before "
			 "the first vCPU");
	else if (err == -EINVAL)
		snprintf(buf, len, "the module refuses what was asked: libhv and hv.ko may be of "
			 "different versions, or this host lacks a feature");
	else
		snprintf(buf, len, "the hypervisor refuses: %s", strerror(-err));
	return buf;
}
