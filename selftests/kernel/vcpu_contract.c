// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contract 7 and the rules of <uapi/hv.h>: who may use a vCPU when, what a kick does before,
 * during and after a run, what a child process and a signal see, and what a wrong argument gets.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

GUEST_CODE(spin, "1: incq 0x20000\n pause\n jmp 1b\n");
GUEST_CODE(halt_off, "cli\n hlt\n out %al, $0x10\n");

static struct testvm t;
static atomic_int running, result, reason;

static void *runner(void *arg)
{
	atomic_store(&running, 1);
	do {
		atomic_store(&result, hv_vcpu_run(t.vcpu[0]));
	} while (!result && t.vcpu[0]->run->exit_reason == HV_EXIT_NONE);
	atomic_store(&reason, t.vcpu[0]->run->exit_reason);
	atomic_store(&running, 2);
	return NULL;
}

static uint64_t spins(void)
{
	return *(volatile uint64_t *)(t.mem + 0x20000);
}

/* Returns when the guest is known to be executing. */
static void wait_progress(void)
{
	uint64_t n = spins();

	while (spins() == n)
		sched_yield();
}

static int raw(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

static void on_usr1(int sig)
{
}

static void arguments(void)
{
	int dev = hv_dev_fd(t.dev), vm = hv_vm_fd(t.vm), cpu = t.vcpu[0]->fd;
	struct hv_info info = { .size = sizeof(info) - 8 };
	struct hv_create_vm cv = { .size = sizeof(cv), .kvm_fd = -1, .features = 1ULL << 63 };
	struct hv_kick kick = { .size = sizeof(kick), .vcpu = 63 };
	struct hv_state st = { .size = sizeof(st), .groups = 1ULL << 40 };
	struct hv_create_vcpu cc = { .size = sizeof(cc), .id = 0 };
	struct hv_line line = { .size = sizeof(line), .line = 7 };

	ktap_check(raw(dev, HV_GET_INFO, &info) == -EINVAL, "a wrong struct size is -EINVAL");
	ktap_check(raw(dev, HV_CREATE_VM, &cv) == -EOPNOTSUPP, "an unknown feature is refused");
	cv.features = 0;
	cv.reserved[1] = 1;
	ktap_check(raw(dev, HV_CREATE_VM, &cv) == -EINVAL, "reserved words must be zero");
	ktap_check(raw(dev, HV_GET_INFO, NULL) == -EFAULT, "a bad pointer is -EFAULT");
	ktap_check(raw(dev, HV_RUN, NULL) == -ENOTTY && raw(vm, HV_RUN, NULL) == -ENOTTY &&
		   raw(cpu, HV_GET_INFO, NULL) == -ENOTTY, "a call on the wrong fd is -ENOTTY");
	ktap_check(raw(vm, HV_KICK, &kick) == -ENOENT, "kicking a vCPU that is not there is -ENOENT");
	ktap_check(raw(cpu, HV_GET_STATE, &st) == -EINVAL, "an unknown state group is -EINVAL");
	ktap_check(raw(vm, HV_CREATE_VCPU, &cc) == -EEXIST, "a vCPU id twice is -EEXIST");
	cc.id = t.info.max_vcpus;
	ktap_check(raw(vm, HV_CREATE_VCPU, &cc) == -EINVAL, "a vCPU id too large is -EINVAL");
	ktap_check(raw(vm, HV_SET_LINE, &line) == -EINVAL, "an unknown line is -EINVAL");
	ktap_check(raw(cpu, HV_RUN, (void *)1) == -EINVAL, "HV_RUN takes no argument");
	ktap_check(mmap(NULL, t.info.run_size, PROT_READ, MAP_PRIVATE, cpu, 0) == MAP_FAILED &&
		   mmap(NULL, 2 * t.info.run_size, PROT_READ, MAP_SHARED, cpu, 0) == MAP_FAILED,
		   "the run area maps shared and whole only");
	ktap_check((fcntl(vm, F_GETFD) & FD_CLOEXEC) && (fcntl(cpu, F_GETFD) & FD_CLOEXEC),
		   "VM and vCPU fds are close-on-exec");
}

static void busy(void)
{
	struct hv_state st = { .size = sizeof(st), .groups = HV_GROUP(HV_GROUP_REGS) };
	pthread_t th;

	testvm_long(&t, 0, TVM_CODE);
	pthread_create(&th, NULL, runner, NULL);
	wait_progress();
	ktap_check(raw(t.vcpu[0]->fd, HV_GET_STATE, &st) == -EBUSY, "state while it runs is -EBUSY");
	ktap_check(raw(t.vcpu[0]->fd, HV_RUN, NULL) == -EBUSY, "a second run is -EBUSY");
	hv_vcpu_kick(t.vcpu[0]);
	pthread_join(th, NULL);
	ktap_check(result == 0 && reason == HV_EXIT_KICK, "a kick ends the run: %d, exit %d", result,
		   reason);
	ktap_check(raw(t.vcpu[0]->fd, HV_GET_STATE, &st) == 0, "and the state can be had");
}

static void kicks(void)
{
	uint64_t n;
	int err;
	pthread_t th;

	hv_vcpu_kick(t.vcpu[0]);
	n = spins();
	err = hv_vcpu_run(t.vcpu[0]);
	ktap_check(!err && t.vcpu[0]->run->exit_reason == HV_EXIT_KICK && spins() == n,
		   "a kick before the run returns before entering");
	/* A halted vCPU with interrupts off only leaves by a kick. */
	testvm_code(&t, TVM_CODE + 0x1000, halt_off, halt_off_end);
	testvm_long(&t, 0, TVM_CODE + 0x1000);
	atomic_store(&running, 0);
	pthread_create(&th, NULL, runner, NULL);
	while (!atomic_load(&running))
		sched_yield();
	hv_vm_kick(t.vm);
	pthread_join(th, NULL);
	ktap_check(result == 0 && reason == HV_EXIT_KICK, "a kick ends a halt");
	ktap_check(hv_vcpu_regs(t.vcpu[0])->rip >= TVM_CODE + 0x1000 &&
		   hv_vcpu_regs(t.vcpu[0])->rip <= TVM_CODE + 0x1002, "not the guest's own doing");
}

static void signals(void)
{
	struct sigaction sa = { .sa_handler = on_usr1 };
	pthread_t th;
	int i, bad = 0;

	sigaction(SIGUSR1, &sa, NULL);
	for (i = 0; i < 50; i++) {
		testvm_long(&t, 0, TVM_CODE);
		pthread_create(&th, NULL, runner, NULL);
		wait_progress();
		pthread_kill(th, SIGUSR1);
		pthread_join(th, NULL);
		if (result != -EINTR || reason != HV_EXIT_SIGNAL)
			bad++;
	}
	ktap_check(!bad, "50 signals, 50 times -EINTR (%d not)", bad);
	ktap_check(hv_vcpu_regs(t.vcpu[0])->rip >= TVM_CODE &&
		   hv_vcpu_regs(t.vcpu[0])->rip < TVM_CODE + 0x20, "registers are the guest's");
}

/* Maps nothing: 1 if the address is not there. */
static int unmapped(void *p)
{
	unsigned char vec;

	return mincore(p, 1, &vec) < 0 && errno == ENOMEM;
}

static void forked(void)
{
	struct hv_state st = { .size = sizeof(st), .groups = HV_GROUP(HV_GROUP_REGS) };
	struct hv_kick kick = { .size = sizeof(kick), .vcpu = 0 };
	int status = -1;
	pid_t pid;

	pid = fork();
	if (!pid) {
		int bad = 0;

		bad |= raw(t.vcpu[0]->fd, HV_RUN, NULL) != -EIO;
		bad |= (raw(t.vcpu[0]->fd, HV_GET_STATE, &st) != -EIO) << 1;
		bad |= (raw(hv_vm_fd(t.vm), HV_KICK, &kick) != -EIO) << 2;
		bad |= !unmapped(t.vcpu[0]->run) << 3;
		_exit(bad);
	}
	waitpid(pid, &status, 0);
	ktap_check(WIFEXITED(status) && !(WEXITSTATUS(status) & 7),
		   "a child's calls on VM and vCPU are -EIO (%#x)", status);
	ktap_check(WIFEXITED(status) && !(WEXITSTATUS(status) & 8), "a child has no run area");
	testvm_long(&t, 0, TVM_CODE);
	hv_vcpu_kick(t.vcpu[0]);
	ktap_check(hv_vcpu_run(t.vcpu[0]) == 0, "the parent goes on");
}

static void *storm(void *arg)
{
	pthread_t th = *(pthread_t *)arg;
	int i;

	for (i = 0; i < 2000; i++) {
		pthread_kill(th, SIGUSR1);
		if (i % 3 == 0)
			hv_vcpu_kick(t.vcpu[0]);
	}
	atomic_store(&running, 9);
	/* The run may have begun between the last one and that. */
	hv_vcpu_kick(t.vcpu[0]);
	return NULL;
}

static void signal_storm(void)
{
	pthread_t me = pthread_self(), th;
	uint64_t n = spins();
	int err, odd = 0;

	testvm_long(&t, 0, TVM_CODE);
	atomic_store(&running, 0);
	pthread_create(&th, NULL, storm, &me);
	while (atomic_load(&running) != 9) {
		err = hv_vcpu_run(t.vcpu[0]);
		if (err && err != -EINTR)
			odd++;
		if (hv_vcpu_regs(t.vcpu[0])->rip - TVM_CODE >= 0x20)
			odd++;
	}
	pthread_join(th, NULL);
	ktap_check(!odd, "2000 signals and 667 kicks at a running vCPU: %d odd returns", odd);
	ktap_check(spins() >= n, "the guest's own memory is sane");
}

int main(int argc, char **argv)
{
	/*
	 * With restartable sequences, which libc registers for every thread, each preemption makes
	 * HV_RUN return for a moment (HV_EXIT_NONE), and what is said of a busy vCPU here would not
	 * hold in it.
	 */
	if (!getenv("GLIBC_TUNABLES")) {
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
		execv("/proc/self/exe", argv);
	}
	testvm_open(&t);
	ktap_plan(27);
	testvm_create(&t, 2 << 20, 1);
	testvm_code(&t, TVM_CODE, spin, spin_end);
	arguments();
	busy();
	kicks();
	signals();
	forked();
	signal_storm();
	testvm_destroy(&t);
	return ktap_finish();
}
