// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts from outside the vCPUs: MSI, level-triggered ones and their EOI exit, the 8259's
 * line, eventfds as interrupts with masks, closing and removing, and signals at full speed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/apicvm.h"

#define V	0x70
#define LEVEL	0x8000
#define TO(id)	(0xfee00000UL | (uint64_t)(id) << 12)

static struct avm a;

static void ring(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, 8) != 8)
		ktap_bail("write to an eventfd: %s", strerror(errno));
}

static uint64_t count(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, 8) == 8 ? n : 0;
}

/* Interrupts @vcpu takes now. */
static uint64_t taken(uint32_t vcpu)
{
	uint64_t n = avm_taken(&a, vcpu, V);

	avm_op(&a, vcpu, AVM_OPEN, 0, 0, 0);
	return avm_taken(&a, vcpu, V) - n;
}

static void msi(void)
{
	struct hv_vm *vm = a.t.vm;

	ktap_check(hv_send_msi(vm, TO(1), V) == 1 && taken(1) == 1 && taken(0) == 0, "an MSI to one");
	ktap_check(hv_send_msi(vm, TO(0xff), V) == 3 && taken(0) == 1 && taken(1) == 1 && taken(2) == 1,
		   "to all");
	ktap_check(hv_send_msi(vm, TO(9), V) == 0, "to nobody");
	ktap_check(hv_send_msi(vm, 0x12345000, V) == 0 && hv_send_msi(vm, TO(0) | 1ULL << 32, V) == 0,
		   "to an address that is not the APICs'");
	avm_write(&a, 0, 0xd0, 1 << 24);
	avm_write(&a, 1, 0xd0, 2 << 24);
	avm_write(&a, 2, 0xd0, 4 << 24);
	ktap_check(hv_send_msi(vm, TO(6) | 4, V) == 2 && taken(1) == 1 && taken(2) == 1 && taken(0) == 0,
		   "logical");
	ktap_check(hv_send_msi(vm, TO(7) | 0xc, V) == 1 && taken(0) + taken(1) + taken(2) == 1,
		   "logical with the redirection hint: one of them");
	ktap_check(hv_send_msi(vm, TO(7) | 4, 0x100 | V) == 1 && taken(0) + taken(1) + taken(2) == 1,
		   "lowest priority: one of them");
	avm_write(&a, 1, 0xf0, 0xff);
	ktap_check(hv_send_msi(vm, TO(1), V) == 0 && hv_send_msi(vm, TO(7) | 0xc, V) == 1,
		   "a software-disabled APIC is not reached");
	avm_write(&a, 1, 0xf0, 0x1ff);
	taken(0);
	taken(2);
}

static void level(void)
{
	struct hv_vm *vm = a.t.vm;
	struct hv_vcpu *v = a.t.vcpu[0];
	struct hv_regs *r = hv_vcpu_regs(v);
	uint32_t zero = 0;
	uint64_t rip;

	avm_forget(&a);
	hv_send_msi(vm, TO(0), LEVEL | V);
	ktap_check(taken(0) == 1 && a.eois[V] == 1, "EOI of a level interrupt is an exit");
	hv_send_msi(vm, TO(0), V);
	ktap_check(taken(0) == 1 && a.eois[V] == 1, "that of an edge is not, of the same vector");
	avm_eoi(&a, AVM_EOI_NONE);
	hv_send_msi(vm, TO(0), LEVEL | V);
	taken(0);
	ktap_check((avm_read(&a, 0, 0x1b0) >> (V & 31) & 1) == 1, "TMR shows the level");
	avm_set(&a, 0, AVM_WRITE32, AVM_APIC + 0xb0, 0, 0);
	rip = r->rip;
	ktap_check(testvm_run(&a.t, 0) == HV_EXIT_EOI && v->run->eoi.vector == V && r->rip == rip + 2,
		   "the exit is after the instruction");
	avm_go(&a, 0);
	hv_send_msi(vm, TO(0), LEVEL | V);
	taken(0);
	ktap_check(hv_vcpu_apic_access(v, 0xb0, true, &zero) == 0, "EOI by HV_APIC_ACCESS");
	avm_set(&a, 0, AVM_OPEN, 0, 0, 0);
	ktap_check(testvm_run(&a.t, 0) == HV_EXIT_EOI && v->run->eoi.vector == V,
		   "is reported by the next run");
	avm_go(&a, 0);
	avm_eoi(&a, AVM_EOI_X2APIC);
	avm_wrmsr(&a, 0, 0x1b, AVM_APIC | 0xd00);
	avm_forget(&a);
	hv_send_msi(vm, TO(0), LEVEL | V);
	ktap_check(taken(0) == 1 && a.eois[V] == 1, "EOI by the x2APIC's MSR exits too");
	avm_wrmsr(&a, 0, 0x1b, AVM_APIC);
	avm_wrmsr(&a, 0, 0x1b, AVM_APIC | 0x800);
	avm_write(&a, 0, 0xf0, 0x1ff);
	avm_eoi(&a, AVM_EOI_XAPIC);
}

static void line(void)
{
	struct hv_vm *vm = a.t.vm;
	struct hv_vcpu *v = a.t.vcpu[0];

	avm_forget(&a);
	avm_write(&a, 0, 0x350, 0x10700);
	hv_set_line(vm, HV_LINE_INTR, true);
	avm_op(&a, 0, AVM_OPEN, 0, 0, 0);
	ktap_check(avm_taken_all(&a, 0) == 0, "a masked LINT0 does not take the 8259's line");
	avm_write(&a, 0, 0x350, 0x700);
	avm_op(&a, 0, AVM_READ32, AVM_APIC + 0x350, 0, 0);
	ktap_check(1, "with interrupts off it waits");
	avm_set(&a, 0, AVM_OPEN, 0, 0, 0);
	ktap_check(testvm_run(&a.t, 0) == HV_EXIT_EXTINT, "with interrupts on it is an EXTINT exit");
	hv_set_line(vm, HV_LINE_INTR, false);
	ktap_check(hv_vcpu_inject_extint(v, V) == 0, "the vector that the 8259 gives");
	avm_eoi(&a, AVM_EOI_NONE);
	avm_go(&a, 0);
	ktap_check(avm_taken(&a, 0, V) == 1 && avm_read(&a, 0, 0x1b0 - 0x80) == 0, "is taken, past the APIC");
	hv_set_line(vm, HV_LINE_INTR, true);
	avm_set(&a, 0, AVM_OPEN, 0, 0, 0);
	ktap_check(testvm_run(&a.t, 0) == HV_EXIT_EXTINT, "it comes again");
	hv_set_line(vm, HV_LINE_INTR, false);
	avm_go(&a, 0);
	ktap_check(avm_taken(&a, 0, V) == 1, "and can be withdrawn");
	avm_write(&a, 0, 0x350, 0x10000);
	avm_wrmsr(&a, 0, 0x1b, AVM_APIC);
	hv_set_line(vm, HV_LINE_INTR, true);
	avm_set(&a, 0, AVM_OPEN, 0, 0, 0);
	ktap_check(testvm_run(&a.t, 0) == HV_EXIT_EXTINT, "an APIC that is off lets it through");
	hv_set_line(vm, HV_LINE_INTR, false);
	avm_go(&a, 0);
	avm_wrmsr(&a, 0, 0x1b, AVM_APIC | 0x800);
	avm_write(&a, 0, 0xf0, 0x1ff);
	avm_write(&a, 0, 0x350, V);
	hv_set_line(vm, HV_LINE_INTR, true);
	hv_set_line(vm, HV_LINE_INTR, true);
	avm_eoi(&a, AVM_EOI_XAPIC);
	ktap_check(taken(0) == 1 && taken(0) == 0, "a fixed LINT0 takes its edge");
	hv_set_line(vm, HV_LINE_INTR, false);
	avm_write(&a, 0, 0x350, 0x10000);
}

static void *wait_extint(void *arg)
{
	return (void *)(uintptr_t)testvm_run(&a.t, 0);
}

static void line_wakes(void)
{
	pthread_t th;
	void *reason;

	avm_write(&a, 0, 0x350, 0x700);
	avm_set(&a, 0, AVM_HALT, 0, 0, 0);
	pthread_create(&th, NULL, wait_extint, NULL);
	usleep(50000);
	hv_set_line(a.t.vm, HV_LINE_INTR, true);
	pthread_join(th, &reason);
	ktap_check((uintptr_t)reason == HV_EXIT_EXTINT, "the line wakes HLT");
	hv_set_line(a.t.vm, HV_LINE_INTR, false);
	hv_vcpu_inject_extint(a.t.vcpu[0], V);
	avm_go(&a, 0);
	avm_write(&a, 0, 0x350, 0x10000);
}

static int raw(struct hv_irqfd *args)
{
	args->size = sizeof(*args);
	return ioctl(hv_vm_fd(a.t.vm), HV_SET_IRQFD, args) < 0 ? -errno : 0;
}

static void irqfd(void)
{
	struct hv_vm *vm = a.t.vm;
	int fd = eventfd(0, EFD_NONBLOCK), other, pipes[2], i, n, ret = 0, *many;
	struct hv_irqfd raw_args = { .op = 3, .fd = fd };
	struct rlimit files = { 4096, 4096 };
	bool pending;

	setrlimit(RLIMIT_NOFILE, &files);
	many = calloc(a.t.info.max_irqfds + 1, sizeof(*many));
	avm_forget(&a);
	ktap_check(hv_irqfd_assign(vm, -1, TO(0), V, false) == -EBADF, "no fd");
	ktap_check(pipe(pipes) == 0 && hv_irqfd_assign(vm, pipes[0], TO(0), V, false) == -EINVAL,
		   "not an eventfd");
	close(pipes[0]);
	close(pipes[1]);
	ktap_check(raw(&raw_args) == -EINVAL, "no such operation");
	raw_args.op = HV_IRQFD_ASSIGN;
	raw_args.flags = HV_IRQFD_PENDING;
	ktap_check(raw(&raw_args) == -EINVAL, "PENDING is not for the caller to say");
	ktap_check(hv_irqfd_update(vm, fd, TO(0), V, false, NULL) == -ENOENT &&
		   hv_irqfd_deassign(vm, fd) == -ENOENT, "not assigned");
	ktap_check(hv_irqfd_assign(vm, fd, TO(0), V, false) == 0, "assign");
	ktap_check(hv_irqfd_assign(vm, fd, TO(1), V, false) == -EEXIST, "twice is -EEXIST");
	ring(fd);
	ktap_check(taken(0) == 1 && count(fd) == 0, "a signal is an interrupt, and used up");
	ktap_check(hv_irqfd_update(vm, fd, TO(1), V, false, NULL) == 0, "another target");
	ring(fd);
	ktap_check(taken(0) == 0 && taken(1) == 1, "gets the next");
	hv_irqfd_update(vm, fd, TO(1), V, true, &pending);
	ktap_check(!pending, "masked: nothing is pending");
	ring(fd);
	ring(fd);
	hv_irqfd_update(vm, fd, TO(2), V, true, &pending);
	ktap_check(taken(1) == 0 && taken(2) == 0 && pending, "signals are latched");
	hv_irqfd_update(vm, fd, TO(2), V, false, &pending);
	ktap_check(!pending && taken(2) == 1 && taken(1) == 0, "and delivered by unmasking, once, to the new target");
	hv_irqfd_update(vm, fd, TO(2), V, true, NULL);
	ring(fd);
	raw_args = (struct hv_irqfd){ .op = HV_IRQFD_DEASSIGN, .fd = fd };
	ktap_check(raw(&raw_args) == 0 && (raw_args.flags & HV_IRQFD_PENDING), "deassigning tells of a latched one");
	ring(fd);
	ktap_check(taken(2) == 0 && count(fd) == 1, "then the eventfd is its owner's again");
	ring(fd);
	hv_irqfd_assign(vm, fd, TO(0), V, false);
	ktap_check(taken(0) == 1, "a signal from before counts");
	other = eventfd(0, EFD_NONBLOCK);
	hv_irqfd_assign(vm, other, TO(1), V, true);
	close(other);
	usleep(20000);
	other = eventfd(0, EFD_NONBLOCK);
	ktap_check(hv_irqfd_assign(vm, other, TO(1), LEVEL | V, false) == 0, "a closed eventfd is forgotten");
	ring(other);
	avm_forget(&a);
	ktap_check(taken(1) == 1 && a.eois[V] == 1, "a level-triggered one");
	hv_irqfd_deassign(vm, other);
	close(other);

	for (n = 1; n <= (int)a.t.info.max_irqfds; n++) {
		many[n] = eventfd(0, 0);
		ret = hv_irqfd_assign(vm, many[n], TO(0), V, false);
		if (ret)
			break;
	}
	ktap_check(n == (int)a.t.info.max_irqfds && ret == -ENOSPC, "as many as the limit says: %d", n);
	for (i = 1; i <= n; i++)
		close(many[i]);
	for (i = 1; i <= n; i++)
		many[i] = eventfd(0, 0);
	ktap_check(hv_irqfd_assign(vm, many[1], TO(0), V, false) == 0, "closing makes room");
	for (i = 1; i <= n; i++)
		close(many[i]);
	free(many);
	hv_irqfd_deassign(vm, fd);
	close(fd);
}

/* ---- everything at once ---- */

static atomic_bool stop;
static int shared_fd;

static void *signaller(void *arg)
{
	while (!atomic_load(&stop))
		ring(shared_fd);
	return NULL;
}

static void races(bool last)
{
	struct hv_vm *vm = a.t.vm;
	uint64_t sent = 0, got, tries = 0;
	pthread_t th[2];
	int i, fd;

	avm_forget(&a);
	atomic_store(&stop, false);
	shared_fd = eventfd(0, EFD_NONBLOCK);
	avm_set(&a, 1, AVM_IDLE, 0, 0, 0);
	avm_start(&a, 1);
	pthread_create(&th[0], NULL, signaller, NULL);
	pthread_create(&th[1], NULL, signaller, NULL);
	/* On one CPU it may take a while until the others get their turn. */
	for (i = 0; i < 300 || (i < 30000 && !avm_taken(&a, 1, V)); i++) {
		if (hv_irqfd_assign(vm, shared_fd, TO(1), V, i & 1))
			ktap_bail("assign while signalled");
		hv_irqfd_update(vm, shared_fd, TO(1), V + (i & 3), i & 2, NULL);
		hv_irqfd_update(vm, shared_fd, TO(1), V, false, NULL);
		if (hv_irqfd_deassign(vm, shared_fd))
			ktap_bail("deassign while signalled");
		/* One that is closed while it is assigned and signalled. */
		fd = eventfd(0, EFD_NONBLOCK);
		hv_irqfd_assign(vm, fd, TO(1), V, false);
		ring(fd);
		close(fd);
	}
	atomic_store(&stop, true);
	pthread_join(th[0], NULL);
	pthread_join(th[1], NULL);
	ktap_check(avm_taken(&a, 1, V) > 0, "assign, update, deassign and close under fire");

	/* Each signal, if waited for, is one interrupt. */
	while (avm_taken(&a, 1, V) != sent) {
		sent = avm_taken(&a, 1, V);
		usleep(50000);
	}
	count(shared_fd);
	hv_irqfd_assign(vm, shared_fd, TO(1), V, false);
	for (i = 0; i < 300; i++) {
		ring(shared_fd);
		sent++;
		if (!AVM_SOON((got = avm_taken(&a, 1, V)) == sent))
			break;
		tries++;
	}
	ktap_check(tries == 300, "300 signals to a halted vCPU, none lost (%llu)", (unsigned long long)tries);
	avm_stop(&a, 1);
	/* The last is left assigned: the VM goes first, then the eventfd. */
	if (last)
		return;
	hv_irqfd_deassign(vm, shared_fd);
	close(shared_fd);
}

int main(void)
{
	uint32_t i;

	avm_create(&a, 3);
	ktap_plan(50);
	for (i = 0; i < 3; i++)
		avm_write(&a, i, 0xf0, 0x1ff);
	avm_eoi(&a, AVM_EOI_XAPIC);
	msi();
	level();
	line();
	line_wakes();
	irqfd();
	races(false);
	avm_eoi(&a, AVM_EOI_X2APIC);
	avm_wrmsr(&a, 1, 0x1b, AVM_APIC | 0xc00);
	races(true);
	avm_destroy(&a);
	ring(shared_fd);
	close(shared_fd);
	ktap_check(1, "an eventfd outlives its VM");
	return ktap_finish();
}
