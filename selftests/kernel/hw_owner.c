// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contract 8: one owner of the CPU's virtualization at a time, whoever comes first; the refusal
 * comes from VM creation, with one log line that names the remedy, and nothing is switched off
 * under its owner.  On Intel a VM of hv's can live beside KVM by borrowing; that is hw_borrow's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/kvm.h>
#include "ktap.h"
#include "lib/testvm.h"

#define EFER		0xc0000080
#define EFER_SVME	0x1000

static int kmsg;
static bool at_load;	/* this KVM switches SVM on when it is loaded */
static bool vmx;
static const char *kvm_module = "kvm_amd";

/* A %s is the name of KVM's module. */
static int run(const char *fmt)
{
	char cmd[128];
	int status;

	snprintf(cmd, sizeof(cmd), fmt, kvm_module);
	status = system(cmd);
	if (status)
		ktap_note("%s: status %d", cmd, status);
	return status;
}

/*
 * Is SVM on: on all CPUs 1, on none 0, else -1.  VMX is in CR4, which nobody shows: what is
 * expected is taken for true there, and the refusals tell.
 */
static int svm_on(int expected)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), i, on = 0;
	uint64_t efer;
	char path[48];
	int fd;

	if (vmx)
		return expected;
	for (i = 0; i < cpus; i++) {
		snprintf(path, sizeof(path), "/dev/cpu/%ld/msr", i);
		fd = open(path, O_RDONLY);
		if (fd < 0 || pread(fd, &efer, 8, EFER) != 8)
			ktap_bail("cannot read EFER of CPU %ld", i);
		on += !!(efer & EFER_SVME);
		close(fd);
	}
	return on == cpus ? 1 : on ? -1 : 0;
}

/* Lines of ours since the last seek that name both remedies; -1: another line of ours. */
static int log_lines(void)
{
	char buf[1024];
	ssize_t n;
	int lines = 0;

	while ((n = read(kmsg, buf, sizeof(buf) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		if (n < 0)
			continue;
		buf[n] = 0;
		if (!strstr(buf, ";hv: "))
			continue;
		if (!strstr(buf, vmx ? "modprobe -r kvm_intel" : "modprobe -r kvm_amd") ||
		    !strstr(buf, "kvm.enable_virt_at_load=0"))
			return -1;
		lines++;
	}
	return lines;
}

/* One that does not borrow. */
static int try_own(struct hv_dev *dev)
{
	struct hv_create_vm c = { .size = sizeof(c), .kvm_fd = -1 };
	int fd = ioctl(hv_dev_fd(dev), HV_CREATE_VM, &c);

	return fd < 0 ? -errno : close(fd);
}

static int try_create(struct hv_dev *dev)
{
	struct hv_vm *vm;
	int err = hv_vm_create(dev, NULL, 0, &vm);

	if (!err)
		hv_vm_destroy(vm);
	return err;
}

/* HV_GET_INFO says that KVM has it: where that can be borrowed, that it will be. */
static bool in_use(struct hv_dev *dev)
{
	struct hv_info info;

	if (hv_get_info(dev, &info))
		return false;
	return vmx ? info.status == HV_STATUS_OK && info.mode_why == HV_WHY_KVM
		   : info.status == HV_STATUS_IN_USE;
}

static int kvm_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR), fd;

	if (kvm < 0)
		return -errno;
	fd = ioctl(kvm, KVM_CREATE_VM, 0L);
	if (fd < 0)
		fd = -errno;
	close(kvm);
	return fd;
}

/* KVM holds it: hv is refused, says so once, and changes nothing. */
static void refused(struct hv_dev *dev, const char *when)
{
	char why[256];
	int err, lines;

	lseek(kmsg, 0, SEEK_END);
	ktap_check(in_use(dev), "%s: the status says in use", when);
	err = try_own(dev);
	ktap_check(err == -EBUSY, "%s: creating a VM is -EBUSY: %d", when, err);
	lines = log_lines();
	ktap_check(lines == 1, "%s: one line in the log names both remedies: %d", when, lines);
	err = try_create(dev);
	if (vmx) {
		ktap_check(!err, "%s: but one that borrows is created: %d", when, err);
	} else {
		hv_refusal(dev, err, why, sizeof(why));
		ktap_check(strstr(why, kvm_module) && strstr(why, "enable_virt_at_load") &&
			   !system("$HV_BUILD/vmm/vmm info --host | grep -q '^hv: not usable: '") &&
			   system("$HV_BUILD/vmm/vmm info --host >/dev/null"),
			   "%s: and one for the user, with which info --host fails: %s", when, why);
	}
	ktap_check(svm_on(1) == 1, "%s: SVM is still on for its owner", when);
}

static void accepted(struct hv_dev *dev, const char *when)
{
	struct hv_vm *vm;
	int err = hv_vm_create(dev, NULL, 0, &vm);

	ktap_check(!err && svm_on(1) == 1, "%s: a VM switches SVM on everywhere: %d", when, err);
	if (!err)
		hv_vm_destroy(vm);
	ktap_check(svm_on(0) == 0, "%s: and the last one off", when);
}

int main(void)
{
	struct testvm t = {};
	struct hv_vm *one, *two;
	struct hv_dev *dev;
	int fd;

	testvm_open(&t);
	dev = t.dev;
	vmx = t.info.vendor == HV_VENDOR_VMX;
	if (vmx)
		kvm_module = "kvm_intel";
	if (run("modprobe msr && modprobe kvm"))
		ktap_skip_all("no modules");
	at_load = !access("/sys/module/kvm/parameters/enable_virt_at_load", F_OK);
	run("modprobe -r kvm");
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (kmsg < 0)
		ktap_bail("/dev/kmsg: %s", strerror(errno));
	ktap_plan(22);
	ktap_note("KVM switches SVM on %s", at_load ? "at load" : "with its first VM");

	ktap_check(svm_on(0) == 0, "no VM: SVM is off");
	accepted(dev, "without KVM");
	if (hv_vm_create(dev, NULL, 0, &one) || hv_vm_create(dev, NULL, 0, &two))
		ktap_bail("cannot create two VMs");
	hv_vm_destroy(one);
	ktap_check(svm_on(1) == 1, "one of two VMs gone: SVM stays on");
	hv_vm_destroy(two);

	/* KVM loaded and idle. */
	if (at_load) {
		run("modprobe %s");
		refused(dev, "kvm_amd idle");
		run("modprobe -r %s kvm");
		ktap_check(svm_on(0) == 0, "the first remedy frees it");
		run("modprobe kvm enable_virt_at_load=0 && modprobe %s");
	} else {
		int i;

		for (i = 0; i < 6; i++)
			ktap_skip("kvm_amd idle", "this KVM takes SVM with its first VM only");
		run("modprobe %s");
	}
	accepted(dev, "KVM loaded, SVM off");

	/* We have it: KVM finds out. */
	if (hv_vm_create(dev, NULL, 0, &one))
		ktap_bail("cannot create a VM");
	fd = kvm_vm();
	ktap_check(fd == -EBUSY || fd == -EIO, "with a VM of ours KVM is refused: %d", fd);
	ktap_check(svm_on(1) == 1, "and we keep it");
	hv_vm_destroy(one);

	fd = kvm_vm();
	ktap_check(fd >= 0 && svm_on(1) == 1, "after ours KVM has it: %d", fd);
	refused(dev, "a KVM guest");
	close(fd);
	ktap_check(svm_on(0) == 0, "KVM has given it back");
	run("modprobe -r %s kvm");
	testvm_create(&t, 2 << 20, 1);
	memcpy(t.mem + TVM_CODE, "\xe6\x10\xf4", 3);
	testvm_long(&t, 0, TVM_CODE);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(svm_on(1) == 1, "and a guest of ours runs");
	testvm_destroy(&t);
	return ktap_finish();
}
