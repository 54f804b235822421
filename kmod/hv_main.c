// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_main.c - /dev/hv, loading and unloading, and what the module counts.
 *
 * Loading succeeds on any CPU that could run guests; whether it may do so now
 * is answered when a VM is created (contract 8).
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <asm/cpu_device_id.h>
#include "hv.h"

#define CREATE_TRACE_POINTS
#include "hv_trace.h"

const struct hv_ops *hv_ops;
struct hv_info hv_host;
atomic_t hv_count_vms, hv_count_vcpus, hv_count_tables, hv_count_allocs;

u64 hv_spec_ctrl_mask;
const u16 hv_verw_sel = __KERNEL_DS;
bool hv_nx_large __ro_after_init;
int hv_mitigate __ro_after_init = HV_MITIGATE_AUTO;
static char *mitigations = "auto";
module_param(mitigations, charp, 0400);
MODULE_PARM_DESC(mitigations, "of speculative execution, between guests and host: auto (as the kernel judges this CPU), off, full (also where it sees no need)");
bool hv_debug_flush;
module_param_named(debug_flush, hv_debug_flush, bool, 0644);
MODULE_PARM_DESC(debug_flush, "check at every release of a page table that no vCPU can still use it");

void *hv_alloc(size_t size)
{
	void *p = kvzalloc(size, GFP_KERNEL_ACCOUNT);

	if (p)
		atomic_inc(&hv_count_allocs);
	return p;
}

void hv_free(void *p)
{
	if (p)
		atomic_dec(&hv_count_allocs);
	kvfree(p);
}

void *hv_alloc_page(int cpu, unsigned int order)
{
	struct page *p = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL | __GFP_ZERO, order);

	if (!p)
		return NULL;
	atomic_inc(&hv_count_allocs);
	return page_address(p);
}

void hv_free_page(void *p, unsigned int order)
{
	if (!p)
		return;
	free_pages((unsigned long)p, order);
	atomic_dec(&hv_count_allocs);
}

static int dev_get_info(struct hv_info __user *arg)
{
	struct hv_info info = hv_host;
	u32 size;

	if (get_user(size, &arg->size))
		return -EFAULT;
	if (size != sizeof(info))
		return -EINVAL;
	info.size = sizeof(info);
	info.status = hv_hw_status();
	info.mode = hv_hw_mode(&info.mode_why);
	info.vms = atomic_read(&hv_count_vms);
	info.vcpus = atomic_read(&hv_count_vcpus);
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static int dev_get_cpuid(struct hv_cpuid __user *arg)
{
	struct hv_cpuid args;
	struct hv_cpuid_table *t;
	int ret = 0;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	if (args.size != sizeof(args) || !hv_zero(args.reserved, sizeof(args.reserved)))
		return -EINVAL;
	t = hv_alloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	hv_cpuid_supported(t);
	if (put_user(t->count, &arg->count))
		ret = -EFAULT;
	else if (t->count > args.count)
		ret = -E2BIG;
	else if (copy_to_user(u64_to_user_ptr(args.entries), t->e, sizeof(t->e[0]) * t->count))
		ret = -EFAULT;
	hv_free(t);
	return ret;
}

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *p = (void __user *)arg;

	switch (cmd) {
	case HV_GET_INFO:
		return dev_get_info(p);
	case HV_GET_CPUID:
		return dev_get_cpuid(p);
	case HV_CREATE_VM: {
		struct hv_create_vm args;

		if (copy_from_user(&args, p, sizeof(args)))
			return -EFAULT;
		if (args.size != sizeof(args) || args.flags ||
		    !hv_zero(args.reserved, sizeof(args.reserved)))
			return -EINVAL;
		return hv_vm_create(&args);
	}
	}
	return -ENOTTY;
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = dev_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice hv_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hv",
	.fops = &dev_fops,
	.mode = 0660,
};

/* What both backends' enter.S does on this CPU; they add their own. */
static u64 mitigations_done(void)
{
	u64 m = hv_nx_large ? HV_MIT_NX_LARGE : 0;

	if (!hv_mitigate)
		return m | (boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL) ? HV_MIT_SPEC_CTRL : 0);
	m |= HV_MIT_CLEAR_GPR;
	if (boot_cpu_has(X86_FEATURE_RSB_VMEXIT))
		m |= HV_MIT_RSB_FILL;
#ifdef X86_FEATURE_RSB_VMEXIT_LITE
	if (boot_cpu_has(X86_FEATURE_RSB_VMEXIT_LITE))
		m |= HV_MIT_RSB_FILL;
#endif
	if (boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL))
		m |= HV_MIT_SPEC_CTRL;
	if (boot_cpu_has(X86_FEATURE_USE_IBPB))
		m |= HV_MIT_IBPB;
#ifdef X86_FEATURE_CLEAR_CPU_BUF_VM
	if (boot_cpu_has(X86_FEATURE_CLEAR_CPU_BUF_VM))
		m |= HV_MIT_VERW;
#endif
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	if (boot_cpu_has(X86_FEATURE_IBPB_EXIT_TO_USER))
		m |= HV_MIT_VMSCAPE;
#endif
	return m;
}

/* The entry code writes it where a fault would be fatal: never a bit more. */
static u64 spec_ctrl_mask(void)
{
	bool ssbd = boot_cpu_has(X86_FEATURE_AMD_SSBD) || boot_cpu_has(X86_FEATURE_SPEC_CTRL_SSBD);

	return (boot_cpu_has(X86_FEATURE_IBRS) ? SPEC_CTRL_IBRS : 0) |
	       (boot_cpu_has(X86_FEATURE_STIBP) ? SPEC_CTRL_STIBP : 0) |
	       (ssbd ? SPEC_CTRL_SSBD : 0);
}

static void host_describe(void)
{
	u32 sizes[] = {
		[HV_GROUP_REGS] = sizeof(struct hv_regs),
		[HV_GROUP_SEGS] = sizeof(struct hv_segs),
		[HV_GROUP_CONTROL] = sizeof(struct hv_control),
		[HV_GROUP_DEBUG] = sizeof(struct hv_debug),
		[HV_GROUP_MSRS] = sizeof(struct hv_msrs),
		[HV_GROUP_EVENTS] = sizeof(struct hv_events),
		[HV_GROUP_MP] = sizeof(struct hv_mp),
		[HV_GROUP_CLOCK] = sizeof(struct hv_clock),
		[HV_GROUP_APIC_TIMER] = sizeof(struct hv_apic_timer),
		[HV_GROUP_APIC] = PAGE_SIZE,
		[HV_GROUP_XSAVE] = hv_host.xsave_size,
	};
	u32 off = PAGE_SIZE / 2, i;

	BUILD_BUG_ON(sizeof(struct hv_run) > PAGE_SIZE / 2);

	hv_host.vendor = hv_ops->vendor;
	hv_host.features = HV_FEATURE_DIRTY_LOG | HV_FEATURE_READONLY | HV_FEATURE_IRQFD |
			   HV_FEATURE_DOORBELL | HV_FEATURE_KVMCLOCK | HV_FEATURE_X2APIC |
			   HV_FEATURE_TSC_DEADLINE | HV_FEATURE_PREFAULT;
	hv_host.max_vcpus = HV_MAX_VCPUS;
	hv_host.max_slots = HV_MAX_SLOTS;
	hv_host.max_irqfds = HV_MAX_IRQFDS;
	hv_host.max_doorbells = HV_MAX_DOORBELLS;
	hv_host.max_cpuid = HV_MAX_CPUID;
	hv_host.gpa_bits = boot_cpu_data.x86_phys_bits;
	hv_host.tsc_khz = tsc_khz;
	hv_host.min_timer_ns = HV_MIN_TIMER_NS;
	hv_host.mitigations = mitigations_done();
	hv_spec_ctrl_mask = spec_ctrl_mask();
	hv_ops->info(&hv_host);

	/* Small groups share the first pages, none straddles one. */
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		if ((off & ~PAGE_MASK) + sizes[i] > PAGE_SIZE)
			off = ALIGN(off, PAGE_SIZE);
		hv_host.group[i].offset = off;
		hv_host.group[i].size = sizes[i];
		off = ALIGN(off + sizes[i], 64);
	}
	hv_host.run_size = PAGE_ALIGN(off);
}

static int __init hv_init(void)
{
	static const char *const modes[] = { "off", "auto", "full" };
	u32 status;
	int ret;

	ret = match_string(modes, ARRAY_SIZE(modes), mitigations);
	if (ret < 0) {
		pr_err("hv: mitigations=%s: it is auto, off or full\n", mitigations);
		return -EINVAL;
	}
	hv_mitigate = ret;
	hv_nx_large = hv_mitigation(boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT));
	if (hv_svm_ops.check(&status) == 0)
		hv_ops = &hv_svm_ops;
	else if (hv_vmx_ops.check(&status) == 0)
		hv_ops = &hv_vmx_ops;
	if (!hv_ops) {
		pr_err("hv: this CPU has neither AMD SVM with nested paging nor Intel VMX that can be used\n");
		return -ENODEV;
	}
	ret = hv_fpu_setup();
	if (ret)
		return ret;
	ret = hv_ops->setup();
	if (ret)
		return ret;
	host_describe();
	ret = hv_hw_init();
	if (ret)
		goto out_backend;
	ret = hv_clock_module_init();
	if (ret)
		goto out_hw;
	/* Once, not for each VM: it patches the scheduler's code on all CPUs. */
	preempt_notifier_inc();
	ret = misc_register(&hv_misc);
	if (ret)
		goto out_clock;
	return 0;

out_clock:
	preempt_notifier_dec();
	hv_clock_module_exit();
out_hw:
	hv_hw_exit();
out_backend:
	hv_ops->cleanup();
	return ret;
}

static void __exit hv_exit(void)
{
	misc_deregister(&hv_misc);
	preempt_notifier_dec();
	hv_clock_module_exit();
	hv_hw_exit();
	hv_ops->cleanup();
	/* Tables and VMs released over SRCU or RCU callbacks. */
	rcu_barrier();
	if (atomic_read(&hv_count_vms) || atomic_read(&hv_count_vcpus) ||
	    atomic_read(&hv_count_tables) || atomic_read(&hv_count_allocs))
		pr_warn("hv: leaked at unload: %d VMs, %d vCPUs, %d tables, %d allocations\n",
			atomic_read(&hv_count_vms), atomic_read(&hv_count_vcpus),
			atomic_read(&hv_count_tables), atomic_read(&hv_count_allocs));
}

module_init(hv_init);
module_exit(hv_exit);

/* udev loads the module where the CPU can run guests. That switches nothing on (contract 8). */
static const struct x86_cpu_id hv_cpus[] __maybe_unused = {
	X86_MATCH_FEATURE(X86_FEATURE_SVM, NULL),
	X86_MATCH_FEATURE(X86_FEATURE_VMX, NULL),
	{}
};
MODULE_DEVICE_TABLE(x86cpu, hv_cpus);
#ifdef HV_SOFTDEP
MODULE_SOFTDEP(HV_SOFTDEP);
#endif

MODULE_DESCRIPTION("hv: a small hypervisor");
MODULE_AUTHOR("The hv authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");	/* that of the Makefile */
