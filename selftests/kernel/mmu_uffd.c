// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/hv_mmu.c: a vCPU waits in a host page fault that nobody answers (a userfaultfd without a
 * handler).  A signal ends HV_RUN, and so does a kick (contract 6); answered late, the guest
 * goes on.  A change of slots does not wait for it either.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#define MIB	(1UL << 20)
#define RAM	(64 * MIB)
#define LEN	(2 * MIB)

GUEST_CODE(load, "mov (%rbx), %rax\n out %eax, $0x10\n");
GUEST_CODE(store, "mov %rcx, (%rbx)\n out %eax, $0x10\n");

static struct testvm t;
static uint8_t *ram;
static int uffd;
static pthread_t thread;
static atomic_int ended, result;

static void on_usr1(int sig)
{
}

static void *runner(void *arg)
{
	do {
		atomic_store(&result, hv_vcpu_run(t.vcpu[0]));
	} while (!result && t.vcpu[0]->run->exit_reason == HV_EXIT_NONE);
	atomic_store(&ended, 1);
	return NULL;
}

static void start(const uint8_t *code, const uint8_t *end, uint64_t page)
{
	if (code) {
		testvm_code(&t, TVM_CODE, code, end);
		testvm_long(&t, 0, TVM_CODE);
		hv_vcpu_regs(t.vcpu[0])->gpr[HV_RBX] = RAM + (page << 12);
		hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_REGS));
	}
	atomic_store(&ended, 0);
	pthread_create(&thread, NULL, runner, NULL);
}

/* The fault has reached the userfaultfd; nobody will answer it. */
static bool asked(void)
{
	struct uffd_msg msg;
	int i;

	for (i = 0; i < 3000; i++) {
		if (read(uffd, &msg, sizeof(msg)) == sizeof(msg) &&
		    msg.event == UFFD_EVENT_PAGEFAULT)
			return true;
		usleep(1000);
	}
	return false;
}

static bool ends(int ms)
{
	while (ms-- > 0 && !atomic_load(&ended))
		usleep(1000);
	return atomic_load(&ended);
}

/* Whatever the outcome, the thread must come back. */
static void join(void)
{
	while (!ends(100))
		pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
}

static void one(const char *what, const uint8_t *code, const uint8_t *end, uint64_t page)
{
	struct uffdio_zeropage zero = { .range = { (uintptr_t)ram + (page << 12), 4096 } };
	struct hv_slot other = { .id = 2, .gpa = 2 * RAM, .size = 4096, .hva = (uintptr_t)t.mem };
	int err;
	bool in_time;

	start(code, end, page);
	if (!asked())
		ktap_bail("%s: no fault arrived", what);
	usleep(20000);
	pthread_kill(thread, SIGUSR1);
	in_time = ends(2000);
	join();
	ktap_check(in_time && result == -EINTR && t.vcpu[0]->run->exit_reason == HV_EXIT_SIGNAL,
		   "%s: a signal ends the wait (%d, exit %u)", what, result,
		   t.vcpu[0]->run->exit_reason);

	start(NULL, NULL, 0);
	if (!asked())
		ktap_bail("%s: no fault arrived", what);
	usleep(20000);
	hv_vcpu_kick(t.vcpu[0]);
	in_time = ends(2000);
	join();
	ktap_check(in_time && result == 0 && t.vcpu[0]->run->exit_reason == HV_EXIT_KICK,
		   "%s: a kick ends the wait (%d, exit %u)", what, result,
		   t.vcpu[0]->run->exit_reason);

	start(NULL, NULL, 0);
	if (!asked())
		ktap_bail("%s: no fault arrived", what);
	err = hv_set_slots(t.vm, &other, 1);
	other.size = 0;
	err |= hv_set_slots(t.vm, &other, 1);
	in_time = ends(2000);
	/* It was asked to leave, not to end: it may have gone on waiting. */
	if (in_time) {
		pthread_join(thread, NULL);
		start(NULL, NULL, 0);
	}
	err |= ioctl(uffd, UFFDIO_ZEROPAGE, &zero);
	in_time = ends(2000);
	join();
	ktap_check(!err && in_time && result == 0 && t.vcpu[0]->run->exit_reason == HV_EXIT_IO,
		   "%s: slots change meanwhile; answered, it goes on (%d, exit %u)", what, result,
		   t.vcpu[0]->run->exit_reason);
}

int main(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct hv_slot s = { .id = 1, .gpa = RAM, .size = LEN };
	struct sigaction sa = { .sa_handler = on_usr1 };

	testvm_open(&t);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		ktap_skip_all("no userfaultfd here");
	sigaction(SIGUSR1, &sa, NULL);
	ram = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.range.start = (uintptr_t)ram;
	reg.range.len = LEN;
	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		ktap_skip_all("userfaultfd cannot be registered");
	ktap_plan(6);
	testvm_create(&t, 2 * MIB, 1);
	s.hva = (uintptr_t)ram;
	hv_set_slots(t.vm, &s, 1);
	one("read", load, load_end, 3);
	one("write", store, store_end, 7);
	testvm_destroy(&t);
	close(uffd);
	return ktap_finish();
}
