// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contract 8: the machine sleeps, restarts, goes down by kexec or dies while a guest runs.
 *
 *	hw_power suspend	all of suspend but the firmware's part (pm_test "core"), then the
 *				guest must go on, and its clocks forward; the verdict goes to the
 *				kernel log, because the emulated host's own devices do not survive
 *	hw_power reboot		never returns
 *	hw_power kexec KERNEL	into that bzImage, without a root; never returns
 *	hw_power panic		never returns
 *	hw_power panic KERNEL INITRD	with that as the crash kernel
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

/*
 * [0x20000] turns; of kvmclock [0x20010] the last, [0x20018] how often it went back; the same of the
 * TSC at 0x20020.  Its kvmclock page is at 0x22000.
 */
GUEST_CODE(spin,
	"mov $0x4b564d01, %ecx\n mov $0x22001, %eax\n xor %edx, %edx\n wrmsr\n"
	"2: mov 0x22000, %r8d\n test $1, %r8d\n jnz 2b\n"
	"lfence\n rdtsc\n shl $32, %rdx\n or %rdx, %rax\n mov %rax, %r9\n"
	"sub 0x22008, %rax\n"
	"movsbl 0x2201c, %ecx\n test %ecx, %ecx\n js 3f\n shl %cl, %rax\n jmp 4f\n"
	"3: neg %ecx\n shr %cl, %rax\n"
	"4: mov 0x22018, %edx\n mul %rdx\n shrd $32, %rdx, %rax\n add 0x22010, %rax\n"
	"lfence\n cmp 0x22000, %r8d\n jne 2b\n"
	"cmp 0x20010, %rax\n jae 5f\n incq 0x20018\n 5: mov %rax, 0x20010\n"
	"cmp 0x20020, %r9\n jae 6f\n incq 0x20028\n 6: mov %r9, 0x20020\n"
	"incq 0x20000\n pause\n jmp 2b\n");

static struct testvm t;

static uint64_t spins(void)
{
	return *(volatile uint64_t *)(t.mem + 0x20000);
}

/* Of its two clocks: both have gone, and neither back. */
static bool clocks_good(uint64_t kvmclock, uint64_t tsc)
{
	volatile uint64_t *w = (uint64_t *)(t.mem + 0x20000);

	return w[2] > kvmclock && w[4] > tsc && !w[3] && !w[5];
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
	static const char cmdline[] = "console=ttyS0 panic=-1 nr_cpus=1 hw_power=second";
	int log, msr, err, kernel, initrd;
	uint64_t kvmclock, tsc;
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
		initrd = argc > 3 ? open(argv[3], O_RDONLY) : -1;
		if (kernel < 0 || syscall(SYS_kexec_file_load, kernel, initrd, sizeof(cmdline), cmdline,
					  argc > 3 ? KEXEC_FILE_ON_CRASH : KEXEC_FILE_NO_INITRAMFS))
			ktap_bail("%s: %s", argv[2], strerror(errno));
	}
	/* The disk may not come back: have all of us here. */
	mlockall(MCL_CURRENT | MCL_FUTURE);
	say(log, "begin");
	kvmclock = *(volatile uint64_t *)(t.mem + 0x20010);
	tsc = *(volatile uint64_t *)(t.mem + 0x20020);
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
		say(log, clocks_good(kvmclock, tsc) ? "its clocks went forward alone"
						    : "a clock of the guest went back or stood still");
		put("/proc/sysrq-trigger", "b");
	} else if (!strcmp(argv[1], "kexec")) {
		syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
			LINUX_REBOOT_CMD_KEXEC, NULL);
		say(log, "kexec failed");
	} else if (!strcmp(argv[1], "panic")) {
		put("/proc/sysrq-trigger", "c");
		say(log, "panic failed");
	} else {
		reboot(RB_AUTOBOOT);
		say(log, "reboot failed");
	}
	_exit(1);
}
