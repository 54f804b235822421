// SPDX-License-Identifier: GPL-2.0-only
/*
 * host_info.c - `vmm info --host`: what a bug report needs to know of this host.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli.h"
#include "hv/hv.h"

struct bit_name {
	uint64_t bit;
	const char *name;
};

static const struct bit_name features[] = {
	{ HV_FEATURE_DIRTY_LOG, "dirty-log" }, { HV_FEATURE_READONLY, "readonly" },
	{ HV_FEATURE_IRQFD, "irqfd" }, { HV_FEATURE_DOORBELL, "doorbell" },
	{ HV_FEATURE_KVMCLOCK, "kvmclock" }, { HV_FEATURE_X2APIC, "x2apic" },
	{ HV_FEATURE_TSC_DEADLINE, "tsc-deadline" }, { HV_FEATURE_PREFAULT, "prefault" },
	{ 0, NULL },
};

static const struct bit_name mitigations[] = {
	{ HV_MIT_RSB_FILL, "rsb-fill" }, { HV_MIT_SPEC_CTRL, "spec-ctrl" },
	{ HV_MIT_IBPB, "ibpb" }, { HV_MIT_VERW, "verw" },
	{ HV_MIT_UNTRAIN_RET, "untrain-ret" }, { HV_MIT_CLEAR_GPR, "clear-gpr" },
	{ HV_MIT_L1D_FLUSH, "l1d-flush" }, { HV_MIT_BHB, "bhb" }, { HV_MIT_VMSCAPE, "vmscape" },
	{ HV_MIT_NX_LARGE, "nx-large" }, { HV_MIT_BP_REDUCE, "bp-spec-reduce" },
	{ HV_MIT_DIV0, "div0" },
	{ 0, NULL },
};

static const struct bit_name hardware[] = {
	{ HV_HW_NRIPS, "nrips" }, { HV_HW_DECODE_ASSIST, "decode-assist" },
	{ HV_HW_FLUSH_BY_ASID, "flush-by-asid" }, { HV_HW_CLEAN_BITS, "clean-bits" },
	{ HV_HW_VGIF, "vgif" }, { HV_HW_LA57, "la57" }, { HV_HW_PAGE_1G, "1g-pages" },
	{ HV_HW_APICV, "apicv" }, { HV_HW_PML, "pml" },
	{ 0, NULL },
};

static void print_bits(const char *what, uint64_t value, const struct bit_name *names)
{
	printf("%s:", what);
	for (; names->name; names++) {
		if (value & names->bit)
			printf(" %s", names->name);
		value &= ~names->bit;
	}
	if (value)
		printf(" %#llx", (unsigned long long)value);
	putchar('\n');
}

/* The first line of @path that begins with @prefix, without it and ": \t". */
static void print_line(const char *what, const char *path, const char *prefix)
{
	char line[512], *p = NULL;
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, prefix, strlen(prefix)))
			continue;
		p = line + strlen(prefix);
		p += strspn(p, " \t:");
		p[strcspn(p, "\n")] = 0;
		break;
	}
	if (f)
		fclose(f);
	printf("%s: %s\n", what, p ? p : "unknown");
}

static const char *mode_why(const struct hv_info *info)
{
	switch (info->mode_why) {
	case HV_WHY_FREE:
		return info->vendor == HV_VENDOR_VMX ? "own: hv switches VMX on itself"
						     : "own: hv switches SVM on itself";
	case HV_WHY_KERNEL:
		return "borrow: VMX is KVM's alone from Linux 6.19";
	case HV_WHY_FORCED:
		return "borrow: forced by the module's parameter vmx_borrow";
	case HV_WHY_KVM:
		return "borrow: KVM has VMX on";
	default:
		return info->mode == HV_MODE_OWN ? "own" : "borrow";
	}
}

int host_info(void)
{
	struct utsname uts;
	struct hv_info info;
	struct hv_dev *dev = NULL;
	char line[256];
	int ret;

	printf("vmm: %s\n", HV_VERSION);
	if (!uname(&uts))
		printf("kernel: %s %s %s\n", uts.sysname, uts.release, uts.version);
	print_line("os", "/etc/os-release", "PRETTY_NAME=");
	print_line("cpu", "/proc/cpuinfo", "model name");
	print_line("microcode", "/proc/cpuinfo", "microcode");
	printf("cpus: %ld\n", sysconf(_SC_NPROCESSORS_ONLN));
	print_line("memory", "/proc/meminfo", "MemTotal");
	printf("kvm: %s%s%s\n", access("/sys/module/kvm", F_OK) ? "not loaded" : "loaded",
	       access("/sys/module/kvm_amd", F_OK) ? "" : ", kvm_amd",
	       access("/sys/module/kvm_intel", F_OK) ? "" : ", kvm_intel");
	if (access("/sys/module/hv", F_OK))
		puts("hv.ko: not loaded");
	else
		print_line("hv.ko", "/sys/module/hv/version", "");

	ret = hv_open(NULL, &dev);
	if (!ret)
		ret = hv_get_info(dev, &info);
	if (ret) {
		printf("hv: not usable: %s\n", hv_refusal(dev, ret, line, sizeof(line)));
		if (dev)
			hv_close(dev);
		return EXIT_FAIL;
	}
	hv_refusal(dev, 0, line, sizeof(line));
	printf("hv: %s%s\n", *line ? "not usable: " : "ready", line);
	printf("vendor: %s\n", info.vendor == HV_VENDOR_SVM ? "AMD SVM" :
	       info.vendor == HV_VENDOR_VMX ? "Intel VMX" : "none");
	printf("mode: %s\n", mode_why(&info));
	print_bits("features", info.features, features);
	print_bits("hardware", info.hw_features, hardware);
	print_bits("mitigations", info.mitigations, mitigations);
	printf("limits: %u vCPUs, %u slots, %u irqfds, %u doorbells, %u-bit guest addresses\n",
	       info.max_vcpus, info.max_slots, info.max_irqfds, info.max_doorbells, info.gpa_bits);
	printf("paging: %u levels\n", info.npt_levels);
	printf("tsc: %u kHz\n", info.tsc_khz);
	printf("xcr0: %#llx\n", (unsigned long long)info.xcr0);
	printf("in use: %u VMs, %u vCPUs\n", info.vms, info.vcpus);
	hv_close(dev);
	return *line ? EXIT_FAIL : 0;
}
