// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module goes only when nobody has anything of it open, whatever is tried meanwhile; what it
 * leaves is the machine as it was, which KVM can use.
 *
 *	hw_unload HV_KO [ROUNDS]	4 of loading and unloading while others open it
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#define OPENERS	2

GUEST_CODE(spin, "1: incq 0x20000\n pause\n jmp 1b\n");

static const char *ko;
static unsigned int rounds = 4;
static struct testvm t;
static atomic_int stop;
static atomic_uint made;

static int load(void)
{
	int fd = open(ko, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		ktap_bail("%s: %s", ko, strerror(errno));
	ret = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;
	close(fd);
	return ret;
}

static int unload(void)
{
	return syscall(SYS_delete_module, "hv", O_NONBLOCK) ? -errno : 0;
}

/* What of a CPU hv has to do with. */
static void look(uint64_t *val)
{
	static const uint32_t msrs[] = {
		0xc0000080, 0xc0010114, 0xc0010117,		/* EFER, VM_CR, VM_HSAVE_PA */
		0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,	/* of SYSCALL */
		0xc0000103, 0x277, 0x174, 0x175, 0x176,		/* TSC_AUX, PAT, SYSENTER's */
	};
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), cpu;
	char path[48];
	unsigned int i;
	int fd;

	for (cpu = 0; cpu < cpus && cpu < 4; cpu++) {
		snprintf(path, sizeof(path), "/dev/cpu/%ld/msr", cpu);
		fd = open(path, O_RDONLY);
		for (i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
			if (pread(fd, &val[cpu * 16 + i], 8, msrs[i]) != 8)
				val[cpu * 16 + i] = 0;
		close(fd);
	}
}

static void *runner(void *arg)
{
	while (!hv_vcpu_run(arg) && t.vcpu[0]->run->exit_reason == HV_EXIT_NONE)
		;
	return NULL;
}

static bool progress(void)
{
	volatile uint64_t *n = (uint64_t *)(t.mem + 0x20000);
	uint64_t old = *n;
	int i;

	for (i = 0; i < 5000 && *n == old; i++)
		usleep(1000);
	return *n != old;
}

static void held(void)
{
	uint64_t one = 1;
	pthread_t thread;
	int ev;

	testvm_create(&t, 2 << 20, 1);
	testvm_code(&t, TVM_CODE, spin, spin_end);
	testvm_long(&t, 0, TVM_CODE);
	ev = eventfd(0, 0);
	if (hv_irqfd_assign(t.vm, ev, 0xfee00000, 0x41, false))
		ktap_bail("cannot assign an irqfd");
	pthread_create(&thread, NULL, runner, t.vcpu[0]);
	ktap_check(progress() && unload() == -EAGAIN && progress(),
		   "while a vCPU runs it stays, and the guest goes on");
	/* The VM fd and the device closed, the vCPU alone holds it. */
	close(hv_vm_fd(t.vm));
	close(hv_dev_fd(t.dev));
	ktap_check(unload() == -EAGAIN && progress(), "its vCPU alone holds it");
	/* Its VM's fd is gone, so no kick: a signal would do, the end of the mapping does. */
	munmap(t.mem + 0x10000, 0x1000);
	pthread_join(thread, NULL);
	ktap_check(unload() == -EAGAIN, "and does so when it no longer runs");
	close(t.vcpu[0]->fd);
	munmap(t.vcpu[0]->run, t.info.run_size);
	ktap_check(unload() == 0, "once that is closed it goes");
	if (write(ev, &one, 8) != 8)
		ktap_note("eventfd: %s", strerror(errno));
	close(ev);
}

/* Opens and creates for as long as the device comes and goes. */
static void *opener(void *arg)
{
	unsigned int seed = (uintptr_t)arg;
	struct hv_dev *dev;
	struct hv_vm *vm;

	while (!atomic_load(&stop)) {
		/* Else nobody would find a moment to unload it. */
		usleep(rand_r(&seed) % 50000);
		if (hv_open(NULL, &dev))
			continue;
		if (!hv_vm_create(dev, NULL, 0, &vm)) {
			atomic_fetch_add(&made, 1);
			hv_vm_destroy(vm);
		}
		hv_close(dev);
	}
	return NULL;
}

static void race(void)
{
	unsigned int i, turn, gone = 0, refused = 0;
	pthread_t thread[OPENERS];
	int err = 0;

	for (i = 0; i < OPENERS; i++)
		pthread_create(&thread[i], NULL, opener, (void *)(uintptr_t)(i + 1));
	for (i = 0; i < rounds && !err; i++) {
		err = load();
		unsigned int before = atomic_load(&made);

		for (turn = 0; turn < 2000 && atomic_load(&made) == before; turn++)
			usleep(1000);
		while (!err && (err = unload()) == -EAGAIN) {
			refused++;
			err = 0;
			usleep(100);
		}
		gone += !err;
	}
	atomic_store(&stop, 1);
	for (i = 0; i < OPENERS; i++)
		pthread_join(thread[i], NULL);
	ktap_check(gone == rounds, "loaded and unloaded %u times under %u opens with VMs, %u refusals: %d",
		   gone, atomic_load(&made), refused, err);
}

/* A guest of KVM that halts. */
static int kvm_guest(void)
{
	struct kvm_userspace_memory_region slot = { .memory_size = 4096, .guest_phys_addr = 0x1000 };
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_run *run;
	struct kvm_sregs s;
	int kvm, vm, cpu, reason = -1, len;
	uint8_t *mem;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	vm = ioctl(kvm, KVM_CREATE_VM, 0L);
	cpu = ioctl(vm, KVM_CREATE_VCPU, 0L);
	if (cpu < 0)
		return -errno;
	mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	len = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0L);
	run = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	mem[0] = 0xf4;		/* HLT */
	slot.userspace_addr = (uintptr_t)mem;
	ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot);
	ioctl(cpu, KVM_GET_SREGS, &s);
	s.cs.base = s.cs.selector = 0;
	ioctl(cpu, KVM_SET_SREGS, &s);
	ioctl(cpu, KVM_SET_REGS, &regs);
	if (!ioctl(cpu, KVM_RUN, 0L))
		reason = run->exit_reason;
	munmap(run, len);
	close(cpu);
	close(vm);
	close(kvm);
	return reason;
}

int main(int argc, char **argv)
{
	uint64_t before[64] = {}, after[64] = {};
	struct hv_dev *dev;
	int reason;

	if (argc < 2)
		ktap_skip_all("hw_unload.test runs it");
	ko = argv[1];
	if (argc > 2)
		rounds = atoi(argv[2]);
	if (system("modprobe msr"))
		ktap_note("no msr driver");
	if (!hv_open(NULL, &dev)) {
		hv_close(dev);
		if (unload())
			ktap_bail("cannot unload the module");
	}
	ktap_plan(9);
	look(before);
	if (load())
		ktap_bail("cannot load %s", ko);
	held();
	race();
	look(after);
	ktap_check(!memcmp(before, after, sizeof(before)), "the CPUs are as they were");
	if (system("modprobe kvm_amd")) {
		ktap_skip("KVM runs a guest", "no KVM");
	} else {
		reason = kvm_guest();
		ktap_check(reason == KVM_EXIT_HLT, "KVM runs a guest: %d", reason);
		if (system("modprobe -r kvm_amd kvm"))
			ktap_note("kvm_amd does not go");
	}
	ktap_check(load() == 0, "hv loads again");
	memset(&t, 0, sizeof(t));
	testvm_create(&t, 2 << 20, 1);
	testvm_code(&t, TVM_CODE, spin, spin_end);
	testvm_long(&t, 0, TVM_CODE);
	{
		pthread_t thread;

		pthread_create(&thread, NULL, runner, t.vcpu[0]);
		ktap_check(progress(), "and runs a guest");
		hv_vcpu_kick(t.vcpu[0]);
		pthread_join(thread, NULL);
	}
	testvm_destroy(&t);
	return ktap_finish();
}
