// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contracts 8, 9, 11: CPUs come and go under a running guest, vCPUs move, and what the host keeps
 * in its CPUs is there afterwards: TSC_AUX, debug registers of a breakpoint, the LDT, FS and GS.
 * The depth of the second-stage tables is the host's.
 */
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

GUEST_CODE(spin, "1: incq 0x20000\n pause\n jmp 1b\n");
GUEST_CODE(move_base,	/* leaves the guest's own FS, GS, TSC_AUX, debug registers behind */
	"mov $0xc0000100, %ecx\n mov $0xdead0000, %eax\n xor %edx, %edx\n wrmsr\n"
	"mov $0xc0000101, %ecx\n wrmsr\n"
	"mov $0xc0000102, %ecx\n wrmsr\n"
	"mov $0xc0000103, %ecx\n mov $0x777, %eax\n wrmsr\n"
	"mov $0x21000, %eax\n mov %rax, %dr0\n mov %rax, %dr3\n"
	"mov $0x402, %eax\n mov %rax, %dr7\n"
	"mov $0xffff4fff, %eax\n mov %rax, %dr6\n"
	"rdtscp\n"
	"out %al, $0x10\n"
	"jmp .-2\n");

static struct testvm t;
static atomic_int running;

static uint64_t spins(void)
{
	return *(volatile uint64_t *)(t.mem + 0x20000);
}

/* The guest is executing now. */
static bool progress(void)
{
	uint64_t n = spins();
	int i;

	for (i = 0; i < 2000 && spins() == n; i++)
		usleep(1000);
	return spins() != n;
}

static void *runner(void *arg)
{
	int err;

	do {
		err = hv_vcpu_run(t.vcpu[0]);
	} while (!err && t.vcpu[0]->run->exit_reason == HV_EXIT_NONE);
	atomic_store(&running, 0);
	return (void *)(long)err;
}

static void pin(pthread_t thread, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (pthread_setaffinity_np(thread, sizeof(set), &set))
		ktap_note("cannot pin to CPU %d", cpu);
}

static int cpu_online(int cpu, int on)
{
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	ret = write(fd, on ? "1" : "0", 1) == 1 ? 0 : -errno;
	close(fd);
	return ret;
}

static uint64_t host_msr(int cpu, uint32_t msr)
{
	uint64_t val = 0;
	char path[48];
	int fd;

	snprintf(path, sizeof(path), "/dev/cpu/%d/msr", cpu);
	fd = open(path, O_RDONLY);
	if (fd < 0 || pread(fd, &val, 8, msr) != 8)
		ktap_note("cannot read MSR %#x of CPU %d", msr, cpu);
	close(fd);
	return val;
}

static void hotplug(void)
{
	unsigned int i, moved = 0, good = 0;
	pthread_t thread;
	void *res;

	testvm_create(&t, 2 << 20, 1);
	testvm_code(&t, TVM_CODE, spin, spin_end);
	testvm_long(&t, 0, TVM_CODE);
	atomic_store(&running, 1);
	pthread_create(&thread, NULL, runner, NULL);
	for (i = 0; i < 20; i++) {
		pin(thread, i & 1);
		moved += progress();
	}
	ktap_check(moved == 20, "a vCPU goes on after each of 20 moves: %u", moved);

	pin(thread, 1);
	ktap_check(progress(), "it runs on CPU 1");
	for (i = 0; i < 5; i++) {
		if (cpu_online(1, 0) || !progress() || cpu_online(1, 1))
			break;
		good += (host_msr(1, 0xc0000080) & 0x1000) != 0;
		pin(thread, 1);
		good += progress();
	}
	ktap_check(good == 10, "CPU 1 went and came five times under it, and has SVM each time: %u",
		   good);
	hv_vcpu_kick(t.vcpu[0]);
	pthread_join(thread, &res);
	ktap_check(res == NULL, "the run ended by its kick");

	/* A CPU that was away while the last VM went must not have it on. */
	cpu_online(1, 0);
	testvm_destroy(&t);
	cpu_online(1, 1);
	ktap_check(!(host_msr(1, 0xc0000080) & 0x1000), "a CPU that comes back to no VM has SVM off");
	ktap_check(!(host_msr(0, 0xc0000080) & 0x1000) && !host_msr(0, 0xc0010117),
		   "and so has the one that stayed");
}

/* Registers that the exit must give back, seen from user space of the same thread. */
static void host_registers(void)
{
	struct user_desc ldt = {
		.entry_number = 3, .base_addr = 0x10000, .limit = 0xfffff, .seg_32bit = 1,
		.limit_in_pages = 1, .useable = 1,
	};
	uint64_t fs = 0, gs = 0, gs2 = 0, fs2 = 0;
	uint32_t aux_before, aux_after, lo, hi;
	uint16_t es = 0;
	unsigned int limit = 0;

	pin(pthread_self(), 1);
	syscall(SYS_arch_prctl, ARCH_SET_GS, 0x1234560000UL);
	syscall(SYS_arch_prctl, ARCH_GET_FS, &fs);
	syscall(SYS_arch_prctl, ARCH_GET_GS, &gs);
	syscall(SYS_modify_ldt, 1, &ldt, sizeof(ldt));
	asm volatile("rdtscp" : "=a" (lo), "=d" (hi), "=c" (aux_before));

	testvm_create(&t, 2 << 20, 1);
	testvm_code(&t, TVM_CODE, move_base, move_base_end);
	testvm_long(&t, 0, TVM_CODE);
	testvm_expect(&t, 0, HV_EXIT_IO);

	asm volatile("rdtscp" : "=a" (lo), "=d" (hi), "=c" (aux_after));
	ktap_check(aux_before == aux_after && aux_before != 0x777, "TSC_AUX: %#x, %#x", aux_before,
		   aux_after);
	ktap_check((uint32_t)hv_vcpu_regs(t.vcpu[0])->gpr[HV_RCX] == 0x777, "the guest's is its own: %#llx",
		   (unsigned long long)hv_vcpu_regs(t.vcpu[0])->gpr[HV_RCX]);
	syscall(SYS_arch_prctl, ARCH_GET_FS, &fs2);
	syscall(SYS_arch_prctl, ARCH_GET_GS, &gs2);
	ktap_check(fs == fs2 && gs == gs2, "FS and GS bases");
	/* The LDT's entry can still be loaded, which takes the LDTR. */
	asm volatile("mov %%es, %0\n\tmov %2, %%es\n\tlsl %2, %1\n\tmov %w0, %%es"
		     : "=&r" (es), "=r" (limit) : "r" (3 << 3 | 4 | 3));
	ktap_check(limit == 0xffffffff, "the LDT: limit %#x", limit);
}

/* A child stopped at each write of a variable, while it runs a guest in between. */
static volatile long watched;

static void watchpoint(void)
{
	int status, hits = 0, i;
	pid_t pid = fork();

	if (!pid) {
		struct testvm c = {};

		testvm_create(&c, 2 << 20, 1);
		testvm_code(&c, TVM_CODE, move_base, move_base_end);
		testvm_long(&c, 0, TVM_CODE);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		for (i = 0; i < 5; i++) {
			testvm_expect(&c, 0, HV_EXIT_IO);
			testvm_done(&c, 0, 0);
			watched = i;
		}
		testvm_destroy(&c);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
		ktap_check(0, "the child stops");
		return;
	}
	if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), &watched) ||
	    ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 0x90001L)) {
		ktap_skip("a watchpoint of the host", "no debug registers");
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return;
	}
	for (;;) {
		ptrace(PTRACE_CONT, pid, NULL, NULL);
		if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			break;
		if (WSTOPSIG(status) == SIGTRAP)
			hits++;
	}
	ktap_check(hits == 5 && WIFEXITED(status) && !WEXITSTATUS(status),
		   "a watchpoint of the host strikes 5 times between runs of a guest with its own: %d",
		   hits);
}

static void depth(void)
{
	bool la57 = system("grep -qw la57 /proc/cpuinfo") == 0;

	/* The kernel may leave LA57 off; where it is on, user space sees 57 bits. */
	ktap_check(t.info.npt_levels == (la57 ? 5u : 4u) &&
		   !!(t.info.hw_features & HV_HW_LA57) == la57,
		   "tables of %u levels on a host with la57 %s", t.info.npt_levels, la57 ? "on" : "off");
}

int main(void)
{
	testvm_open(&t);
	if (system("modprobe msr"))
		ktap_note("no msr driver");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		ktap_skip_all("one CPU");
	ktap_plan(12);
	depth();
	hotplug();
	host_registers();
	testvm_destroy(&t);
	watchpoint();
	return ktap_finish();
}
