// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_hw.c - when the CPUs' virtualization is on, and whose it is (contract 8).
 *
 * Own mode: the first VM switches it on everywhere, the last one off.  Another
 * owner (KVM) is found by the CPU's own enable bit, which both sides test, so
 * the exclusion works whoever comes first.  hv never takes it from another.
 *
 * Borrow mode (VMX): each VM holds a VM of KVM's, for which KVM has it on and
 * cares for it.  "On" and "off" below are then about our VMCSs in the CPUs'
 * caches: they leave before KVM switches off and come after it has switched
 * on.  All VMs are of one mode; the first decides.
 *
 * While it is on: CPUs that come online get it before they are used, CPUs that
 * leave lose it; suspend and resume take it off and put it back on the last
 * CPU (the others are hot-unplugged); reboot, kexec and a crash find it off.
 *
 * Locks: hw_lock guards the count; cpus_read_lock() is taken inside it, so the
 * hotplug callbacks, which run under the writer side, must not take hw_lock.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/reboot.h>
#include <linux/syscore_ops.h>
#include <asm/reboot.h>
#include "hv.h"

static DEFINE_MUTEX(hw_lock);
static int hw_users;		/* [hw_lock] VMs */
static bool hw_on;		/* [hw_lock, cpus lock] CPUs online are to have it on */
static bool hw_lost;		/* the machine is going down */
static int hw_cpuhp;
static bool vmx_borrow;
module_param(vmx_borrow, bool, 0400);
MODULE_PARM_DESC(vmx_borrow, "borrow VMX from KVM where hv could switch it on itself");

DEFINE_STATIC_KEY_FALSE(hv_borrowing);	/* [hw_lock] changes while there is no VM */

bool hv_hw_lost(void)
{
	return READ_ONCE(hw_lost);
}

/* ---- suspend: one CPU left, interrupts off, every process frozen ---- */

static int hw_suspend(void)
{
	if (hw_on)
		hv_ops->cpu_disable();
	return 0;
}

static void hw_resume(void)
{
	if (hw_on && hv_ops->cpu_enable())
		pr_err("hv: virtualization did not come back after suspend\n");
}

HV_DEFINE_SYSCORE(hw_syscore, hw_suspend, hw_resume);

/* ---- all CPUs ---- */

static void cpu_on(void *arg)
{
	atomic_t *error = arg;
	int ret = hv_ops->cpu_enable();

	if (ret)
		atomic_cmpxchg(error, 0, ret);
}

static void cpu_off(void *unused)
{
	hv_ops->cpu_disable();
}

/* No VM is there; how the next ones will be. */
static void set_borrowing(bool borrow)
{
	if (!borrow) {
		static_branch_disable(&hv_borrowing);
		return;
	}
	static_branch_enable(&hv_borrowing);
	/* Some KVMs register theirs late.  Suspend goes backwards: ours has to be behind it. */
	hv_unregister_syscore(&hw_syscore);
	hv_register_syscore(&hw_syscore);
}

int hv_hw_get(bool borrow)
{
	atomic_t error = ATOMIC_INIT(0);
	bool other = false;
	int ret = 0;

	mutex_lock(&hw_lock);
	if (hw_lost) {
		ret = -ESHUTDOWN;
	} else if (!borrow && hv_ops->must_borrow) {
		ret = -EOPNOTSUPP;
	} else if (hw_users) {
		other = borrow != static_key_enabled(&hv_borrowing);
		if (other)
			ret = -EBUSY;
		else
			hw_users++;
	} else {
		if (borrow)
			set_borrowing(true);
		cpus_read_lock();
		on_each_cpu(cpu_on, &error, 1);
		ret = atomic_read(&error);
		/* hw_reboot() may have been here before us. */
		if (!ret && READ_ONCE(hw_lost))
			ret = -ESHUTDOWN;
		if (ret)
			on_each_cpu(cpu_off, NULL, 1);	/* only where it was us */
		else
			hw_on = true;
		cpus_read_unlock();
		if (!ret)
			hw_users = 1;
		else if (borrow)
			set_borrowing(false);
	}
	mutex_unlock(&hw_lock);

	if (other)
		pr_warn_ratelimited("hv: all guests borrow VMX from KVM, or none; end those that there are\n");
	else if (ret == -EBUSY)
		pr_warn_ratelimited("hv: another hypervisor owns %s; end its guests, then: modprobe -r %s, or boot with kvm.enable_virt_at_load=0\n",
				    hv_ops->name, hv_ops->kvm);
	else if (ret == -EPERM)
		pr_warn_ratelimited("hv: %s is switched off in this machine's firmware setup\n",
				    hv_ops->name);
	return ret;
}

void hv_hw_put(void)
{
	mutex_lock(&hw_lock);
	if (!--hw_users) {
		cpus_read_lock();
		hw_on = false;
		on_each_cpu(cpu_off, NULL, 1);
		cpus_read_unlock();
		if (static_key_enabled(&hv_borrowing))
			set_borrowing(false);
	}
	mutex_unlock(&hw_lock);
}

u32 hv_hw_status(void)
{
	u32 status;

	if (hv_ops->check(&status))
		return HV_STATUS_NO_CPU;
	if (status == HV_STATUS_OK && !hv_ops->can_borrow && hv_ops->cpu_in_use())
		status = HV_STATUS_IN_USE;
	return status;
}

u32 hv_hw_mode(u32 *why)
{
	bool borrowing = static_key_enabled(&hv_borrowing);

	if (!hv_ops->can_borrow || (READ_ONCE(hw_users) && !borrowing))
		*why = HV_WHY_FREE;
	else if (hv_ops->must_borrow)
		*why = HV_WHY_KERNEL;
	else if (vmx_borrow)
		*why = HV_WHY_FORCED;
	else
		*why = borrowing || hv_ops->cpu_in_use() ? HV_WHY_KVM : HV_WHY_FREE;
	return *why == HV_WHY_FREE ? HV_MODE_OWN : HV_MODE_BORROW;
}

/* ---- one CPU comes or goes; under the writer side of the CPU lock ---- */

static int hw_cpu_online(unsigned int cpu)
{
	unsigned long flags;
	int ret = 0;

	local_irq_save(flags);
	if (hw_on)
		ret = hv_ops->cpu_enable();
	local_irq_restore(flags);
	if (ret)
		pr_err("hv: CPU %u stays offline, it cannot run the guests there are: %d\n", cpu, ret);
	return ret;
}

static int hw_cpu_offline(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	if (hw_on)
		hv_ops->cpu_disable();
	local_irq_restore(flags);
	return 0;
}

/* ---- reboot and kexec: the next kernel must find the CPUs as it expects them ---- */

static int hw_reboot(struct notifier_block *nb, unsigned long code, void *unused)
{
	/* No lock: a VM being created meanwhile fails at its first entry. */
	WRITE_ONCE(hw_lost, true);
	on_each_cpu(cpu_off, NULL, 1);
	return NOTIFY_DONE;
}

static struct notifier_block hw_reboot_nb = { .notifier_call = hw_reboot };

/* ---- panic ---- */

#ifdef HV_HAVE_EMERGENCY
/*
 * In a crash the kernel has one callback switch virtualization off on each CPU: 6.1 VMX, for it
 * looks at SVM itself, 6.12 both.  KVM takes it without asking whether it is free, so it is ours
 * only while KVM is not loaded.
 */
static DEFINE_MUTEX(emergency_lock);
static bool emergency_ours;	/* [emergency_lock] */

static void hw_emergency(void)
{
	hv_ops->cpu_disable();
}

static void emergency_set(bool on)
{
	if (on && !emergency_ours)
		cpu_emergency_register_virt_callback(hw_emergency);
	else if (!on && emergency_ours)
		cpu_emergency_unregister_virt_callback(hw_emergency);
	emergency_ours = on;
}

static int module_changed(struct notifier_block *nb, unsigned long state, void *module)
{
	if (strcmp(((struct module *)module)->name, "kvm"))
		return NOTIFY_DONE;
	mutex_lock(&emergency_lock);
	if (state == MODULE_STATE_COMING || state == MODULE_STATE_GOING)
		emergency_set(state == MODULE_STATE_GOING);
	mutex_unlock(&emergency_lock);
	return NOTIFY_DONE;
}

static struct notifier_block module_nb = { .notifier_call = module_changed };

static void emergency_init(void)
{
	register_module_notifier(&module_nb);
	mutex_lock(&emergency_lock);
	if (__symbol_get("kvm_vcpu_kick"))
		__symbol_put("kvm_vcpu_kick");
	else
		emergency_set(true);
	mutex_unlock(&emergency_lock);
}

static void emergency_exit(void)
{
	unregister_module_notifier(&module_nb);
	emergency_set(false);
}
#else
static void emergency_init(void) {}
static void emergency_exit(void) {}
#endif

/* ---- load and unload ---- */

int hv_hw_init(void)
{
	u32 status;
	int ret;

	ret = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "hv:online", hw_cpu_online,
					hw_cpu_offline);
	if (ret < 0)
		return ret;
	hw_cpuhp = ret;
	hv_register_syscore(&hw_syscore);
	register_reboot_notifier(&hw_reboot_nb);
	emergency_init();

	if (!hv_ops->check(&status) && status == HV_STATUS_FIRMWARE)
		pr_warn("hv: %s is switched off in this machine's firmware setup, no guest can run\n",
			hv_ops->name);
	return 0;
}

void hv_hw_exit(void)
{
	emergency_exit();
	unregister_reboot_notifier(&hw_reboot_nb);
	hv_unregister_syscore(&hw_syscore);
	cpuhp_remove_state_nocalls(hw_cpuhp);
}
