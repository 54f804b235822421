// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contract 8: the machine sleeps, restarts or goes down by kexec while a guest runs.
 *
 *	hw_power suspend	all of suspend but the firmware's part (pm_test "core"), then the
 *				guest must go on; the verdict goes to the kernel log, because the
 *				emulated host's own devices do not survive
 *	hw_power reboot		never returns
 *	hw_power kexec KERNEL	into that bzImage, without a root; never returns
 *
 * Without an argument there is nothing to do here; hw_power.test runs it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

GUEST_CODE(spin, "1: incq 0x20000\n pause\n jmp 1b\n");

static struct testvm t;

static uint64_t spins(void)
{
	return *(volatile uint64_t *)(t.mem + 0x20000);
}

static bool progress(void)
{
	uint64_t n = spins();
	int i;

	for (i = 0; i < 5000 && spins() == n; i++)
		usleep(1000);
	return spins() != n;
}

/* A signal is the freezer's; anything else ends the guest. */
static void *runner(void *arg)
{
	struct hv_vcpu *v = arg;
	int err;

	do {
		err = hv_vcpu_run(v);
	} while (err == -EINTR || (!err && v->run->exit_reason == HV_EXIT_NONE));
	return NULL;
}

static void say(int fd, const char *text)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "<4>hw_power: %s\n", text);

	if (write(fd, line, n) != n)
		perror("kmsg");
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static uint64_t efer(int fd)
{
	uint64_t val = 0;

	if (pread(fd, &val, 8, 0xc0000080) != 8)
		return 0;
	return val;
}

int main(int argc, char **argv)
{
	static const char cmdline[] = "console=ttyS0 panic=-1 hw_power=second";
	int log, msr, err, kernel;
	pthread_t thread;

	if (argc < 2)
		ktap_skip_all("hw_power.test runs it");
	testvm_open(&t);
	log = open("/dev/kmsg", O_WRONLY);
	msr = open("/dev/cpu/1/msr", O_RDONLY);
	if (log < 0)
		ktap_bail("/dev/kmsg: %s", strerror(errno));
	testvm_create(&t, 2 << 20, 1);
	testvm_code(&t, TVM_CODE, spin, spin_end);
	testvm_long(&t, 0, TVM_CODE);
	pthread_create(&thread, NULL, runner, t.vcpu[0]);
	if (!progress())
		ktap_bail("the guest does not run");
	if (argc > 2) {
		kernel = open(argv[2], O_RDONLY);
		if (kernel < 0 || syscall(SYS_kexec_file_load, kernel, -1, sizeof(cmdline), cmdline,
					  KEXEC_FILE_NO_INITRAMFS))
			ktap_bail("%s: %s", argv[2], strerror(errno));
	}
	/* The disk may not come back: have all of us here. */
	mlockall(MCL_CURRENT | MCL_FUTURE);
	say(log, "begin");
	if (!strcmp(argv[1], "suspend")) {
		err = put("/sys/power/pm_test", "core");
		if (!err)
			err = put("/sys/power/state", "mem");
		if (err)
			say(log, "suspend failed");
		else if (!progress())
			say(log, "the guest does not go on");
		else if (msr >= 0 && !(efer(msr) & 0x1000))
			say(log, "CPU 1 came back without SVM");
		else
			say(log, "the guest goes on");
		put("/proc/sysrq-trigger", "b");
	} else if (!strcmp(argv[1], "kexec")) {
		syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
			LINUX_REBOOT_CMD_KEXEC, NULL);
		say(log, "kexec failed");
	} else {
		reboot(RB_AUTOBOOT);
		say(log, "reboot failed");
	}
	_exit(1);
}
