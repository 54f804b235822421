// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process with a guest is killed at random moments, of its making and of its running: nothing of
 * it is left.
 *
 *	hw_kill [TIMES [COMMAND...]]	40 times; COMMAND runs a guest, else the test does
 *
 * Ends by unloading the module, whose own counts tell in the kernel log what it has lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

/* Timer on, then touch page after page. */
GUEST_CODE(busy,
	"mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n"
	"mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"
	"mov $0x832, %ecx\n mov $0x20040, %eax\n wrmsr\n"
	"mov $0x838, %ecx\n mov $1000000, %eax\n wrmsr\n"
	"1: mov $0x20000, %edi\n"
	"2: incq (%rdi)\n add $0x1000, %edi\n cmp $0x200000, %edi\n jb 2b\n jmp 1b\n");

static struct testvm t;

static void *runner(void *arg)
{
	struct hv_vcpu *v = arg;

	while (!hv_vcpu_run(v))
		;
	return NULL;
}

/* Until it is killed: everything that the module keeps of a process is made, used and changed. */
static void __attribute__((noreturn)) victim(void)
{
	struct hv_slot slot = { .id = 1, .gpa = 1 << 30, .size = 1 << 20, .flags = HV_SLOT_LOG_DIRTY };
	pthread_t thread;
	uint64_t one = 1;
	uint32_t i;
	int in, out;

	memset(&t, 0, sizeof(t));
	testvm_create(&t, 2 << 20, 2);
	testvm_code(&t, TVM_CODE, busy, busy_end);
	for (i = 0; i < 2; i++) {
		testvm_long(&t, i, TVM_CODE);
		pthread_create(&thread, NULL, runner, t.vcpu[i]);
	}
	in = eventfd(0, 0);
	out = eventfd(0, 0);
	hv_irqfd_assign(t.vm, in, 0xfee00000, 0x41, false);
	slot.hva = (uintptr_t)t.mem + (1 << 20);
	for (;;) {
		hv_doorbell_add(t.vm, 0, 0x80000000, 4, 0, out);
		hv_set_slots(t.vm, &slot, 1);
		if (write(in, &one, 8) != 8)
			_exit(1);
		madvise(t.mem + (1 << 20), 1 << 20, MADV_DONTNEED);
		hv_vm_kick(t.vm);
		hv_doorbell_remove(t.vm, 0, 0x80000000, 4, 0, out);
		slot.size = slot.size ? 0 : 1 << 20;
	}
}

static pid_t start(char **command)
{
	pid_t pid;
	int null;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		ktap_bail("fork: %s", strerror(errno));
	if (pid)
		return pid;
	if (!*command)
		victim();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, 0);
	dup2(null, 1);
	execv(*command, command);
	_exit(127);
}

static bool killed(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		ktap_bail("waitpid: %s", strerror(errno));
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static struct hv_info look(struct hv_dev *dev)
{
	struct hv_info info;
	int err = hv_get_info(dev, &info);

	if (err)
		ktap_bail("cannot look at the module: %s", strerror(-err));
	return info;
}

static unsigned int us_since(const struct timespec *from)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - from->tv_sec) * 1000000 + (now.tv_nsec - from->tv_nsec) / 1000;
}

int main(int argc, char **argv)
{
	unsigned int times = argc > 1 ? atoi(argv[1]) : 40, i, seed = time(NULL), n = 0, guests = 0, span;
	char **command = argv + (argc > 2 ? 2 : argc);
	const struct sched_param first = { .sched_priority = 1 };
	struct timespec from;
	struct hv_info info;
	struct hv_dev *dev;
	pid_t pid;
	int err;

	testvm_open(&t);
	hv_close(t.dev);
	err = hv_open(NULL, &dev);
	if (err)
		ktap_bail("hv_open: %s", strerror(-err));
	ktap_plan(5);

	/* On one CPU too it is killed when it should be, not when it next waits for something. */
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first))
		ktap_bail("sched_setscheduler: %s", strerror(errno));

	/* How long it takes to have a guest; the first time it is read in. */
	for (i = 0; i < 2; i++) {
		clock_gettime(CLOCK_MONOTONIC, &from);
		pid = start(command);
		while (!look(dev).vcpus) {
			if (waitpid(pid, NULL, WNOHANG))
				ktap_bail("it ended before it had a guest");
			usleep(100);
		}
		span = us_since(&from) * 3 + 1000;
		killed(pid);
	}

	ktap_note("seed %u, within %u us", seed, span);
	srand(seed);
	for (i = 0; i < times; i++) {
		pid = start(command);
		/* Half of them while it is still being made. */
		usleep(rand() % (i & 1 ? span : span / 3));
		guests += look(dev).vcpus > 0;
		n += killed(pid);
	}
	ktap_check(n == times, "%u processes were killed", n);
	ktap_check(guests && guests < times, "some had a vCPU, some not yet: %u", guests);
	info = look(dev);
	ktap_check(!info.vms && !info.vcpus, "no VM and no vCPU of theirs is left: %u, %u", info.vms,
		   info.vcpus);
	hv_close(dev);

	ktap_check(system("rmmod hv") == 0, "nothing holds the module");
	ktap_check(system("dmesg | grep 'hv: leaked'"), "and it has lost nothing");
	return ktap_finish();
}
