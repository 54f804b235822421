// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells: which writes of a guest signal which eventfd, and that they can come and go while
 * the guest is ringing them.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/apicvm.h"

#define MMIO	0x80000000UL	/* no slot there */
#define PORT	HV_DOORBELL_PORT
#define MATCH	HV_DOORBELL_MATCH

static struct avm a;
static int fd, fd2;

static uint64_t rung(int f)
{
	uint64_t n = 0;

	return read(f, &n, 8) == 8 ? n : 0;
}

/* mov or out of @size bytes at @rdx, of @rax; then out to port 0x10. */
GUEST_CODE(mov1, "mov %al, (%rdx)\n out %al, $0x10\n");
GUEST_CODE(mov2, "mov %ax, (%rdx)\n out %al, $0x10\n");
GUEST_CODE(mov4, "mov %eax, (%rdx)\n out %al, $0x10\n");
GUEST_CODE(mov8, "mov %rax, (%rdx)\n out %al, $0x10\n");
GUEST_CODE(out1, "out %al, %dx\n out %al, $0x10\n");
GUEST_CODE(out2, "out %ax, %dx\n out %al, $0x10\n");
GUEST_CODE(out4, "out %eax, %dx\n out %al, $0x10\n");
GUEST_CODE(movi, "movl $0x12345678, (%rdx)\n out %al, $0x10\n");
GUEST_CODE(movh, "mov %ah, (%rdx)\n out %al, $0x10\n");
GUEST_CODE(addm, "add %eax, (%rdx)\n out %al, $0x10\n");
GUEST_CODE(read4, "mov (%rdx), %eax\n out %al, $0x10\n");
GUEST_CODE(outs1, "mov %edx, %esi\n outsb\n out %al, $0x10\n");

#define CODE(n) n, n##_end

/* True when the write ended in the module; else it came to userspace and is dropped. */
static bool put(const uint8_t *start, const uint8_t *end, uint64_t where, uint64_t value)
{
	struct hv_vcpu *v = a.t.vcpu[0];
	struct hv_regs *r = hv_vcpu_regs(v);
	uint32_t reason;

	testvm_code(&a.t, 0x29000, start, end);
	avm_set(&a, 0, AVM_OPEN, 0, 0, 0);
	r->rip = 0x29000;
	r->gpr[HV_RDX] = where;
	r->gpr[HV_RAX] = value;
	reason = testvm_run(&a.t, 0);
	return reason == HV_EXIT_IO && v->run->io.port == 0x10 && r->rip > 0x29000;
}

static void memory(void)
{
	struct hv_vm *vm = a.t.vm;

	ktap_check(!put(CODE(mov4), MMIO, 1), "without a doorbell the write is userspace's");
	ktap_check(hv_doorbell_add(vm, 0, MMIO, 4, 0, fd) == 0, "four bytes, any data");
	ktap_check(put(CODE(mov4), MMIO, 1) && rung(fd) == 1, "rings");
	ktap_check(put(CODE(movi), MMIO, 0) && rung(fd) == 1, "an immediate rings");
	ktap_check(!put(CODE(mov1), MMIO, 1) && !put(CODE(mov2), MMIO, 1) && !put(CODE(mov8), MMIO, 1) &&
		   rung(fd) == 0, "other sizes do not");
	ktap_check(!put(CODE(mov4), MMIO + 4, 1) && !put(CODE(mov4), MMIO + 1, 1) && rung(fd) == 0,
		   "nor other addresses");
	ktap_check(!put(CODE(read4), MMIO, 1) && rung(fd) == 0, "nor a read");
	ktap_check(!put(CODE(addm), MMIO, 1) && rung(fd) == 0, "an instruction that is not a mov is userspace's");
	ktap_check(hv_doorbell_add(vm, 0, MMIO, 4, 0, fd2) == -EEXIST, "the same again is -EEXIST");
	ktap_check(hv_doorbell_add(vm, MATCH, MMIO, 4, 7, fd2) == 0, "the same with data is not the same");
	ktap_check(put(CODE(mov4), MMIO, 0xffffffff00000007) && rung(fd) == 1 && rung(fd2) == 1,
		   "a write that both want rings both");
	ktap_check(put(CODE(mov4), MMIO, 8) && rung(fd) == 1 && rung(fd2) == 0, "other data only one");
	ktap_check(hv_doorbell_remove(vm, 0, MMIO, 4, 0, fd2) == -ENOENT, "removed by its own eventfd only");
	ktap_check(hv_doorbell_remove(vm, 0, MMIO, 4, 0, fd) == 0, "remove");
	ktap_check(!put(CODE(mov4), MMIO, 8) && put(CODE(mov4), MMIO, 7) && rung(fd) == 0 && rung(fd2) == 1,
		   "what is left rings");
	hv_doorbell_remove(vm, MATCH, MMIO, 4, 7, fd2);

	hv_doorbell_add(vm, MATCH, MMIO + 8, 8, 0x1122334455667788, fd);
	hv_doorbell_add(vm, MATCH, MMIO + 16, 1, 0x55, fd);
	hv_doorbell_add(vm, MATCH, MMIO + 24, 2, 0xaa55, fd);
	hv_doorbell_add(vm, 0, MMIO + 32, 0, 0, fd);
	ktap_check(put(CODE(mov8), MMIO + 8, 0x1122334455667788) && !put(CODE(mov8), MMIO + 8, 0x55667788) &&
		   rung(fd) == 1, "eight bytes by data");
	ktap_check(put(CODE(mov1), MMIO + 16, 0xff55) && !put(CODE(mov1), MMIO + 16, 0x56) &&
		   put(CODE(movh), MMIO + 16, 0x5500) && rung(fd) == 2, "one byte by data, AH too");
	ktap_check(put(CODE(mov2), MMIO + 24, 0xffaa55) && rung(fd) == 1, "two bytes by data");
	ktap_check(put(CODE(mov1), MMIO + 32, 1) && put(CODE(mov2), MMIO + 32, 1) &&
		   put(CODE(mov4), MMIO + 32, 1) && put(CODE(mov8), MMIO + 32, 1) && rung(fd) == 4, "any size");
	hv_doorbell_remove(vm, MATCH, MMIO + 8, 8, 0x1122334455667788, fd);
	hv_doorbell_remove(vm, MATCH, MMIO + 16, 1, 0x55, fd);
	hv_doorbell_remove(vm, MATCH, MMIO + 24, 2, 0xaa55, fd);
	ktap_check(hv_doorbell_remove(vm, 0, MMIO + 32, 0, 0, fd) == 0 && !put(CODE(mov4), MMIO + 32, 1),
		   "all removed");
}

static void port(void)
{
	struct hv_vm *vm = a.t.vm;

	hv_doorbell_add(vm, PORT, 0x1234, 2, 0, fd);
	hv_doorbell_add(vm, PORT | MATCH, 0x1238, 4, 0xcafe, fd);
	hv_doorbell_add(vm, PORT, 0xffff, 0, 0, fd);
	ktap_check(put(CODE(out2), 0x1234, 1) && !put(CODE(out1), 0x1234, 1) && !put(CODE(out4), 0x1234, 1) &&
		   rung(fd) == 1, "a port by size");
	ktap_check(put(CODE(out4), 0x1238, 0xcafe) && !put(CODE(out4), 0x1238, 0xcaff) && rung(fd) == 1,
		   "a port by data");
	ktap_check(put(CODE(out1), 0xffff, 1) && rung(fd) == 1, "the last port");
	ktap_check(!put(CODE(mov2), 0x81234, 1) || rung(fd) == 0, "memory of that address is another thing");
	ktap_check(!put(CODE(outs1), 0xffff, 0) && rung(fd) == 0, "a string instruction is userspace's");
	hv_doorbell_remove(vm, PORT, 0x1234, 2, 0, fd);
	hv_doorbell_remove(vm, PORT | MATCH, 0x1238, 4, 0xcafe, fd);
	hv_doorbell_remove(vm, PORT, 0xffff, 0, 0, fd);
}

static void arguments(void)
{
	struct hv_vm *vm = a.t.vm;
	unsigned int i, n;

	ktap_check(hv_doorbell_add(vm, 0, MMIO, 3, 0, fd) == -EINVAL &&
		   hv_doorbell_add(vm, 0, MMIO, 16, 0, fd) == -EINVAL &&
		   hv_doorbell_add(vm, MATCH, MMIO, 0, 0, fd) == -EINVAL &&
		   hv_doorbell_add(vm, PORT, 0x10000, 1, 0, fd) == -EINVAL &&
		   hv_doorbell_add(vm, PORT, 0xffff, 2, 0, fd) == -EINVAL &&
		   hv_doorbell_add(vm, PORT, 0x10, 8, 0, fd) == -EINVAL &&
		   hv_doorbell_add(vm, 0, ~0ULL, 4, 0, fd) == -EINVAL &&
		   hv_doorbell_add(vm, MATCH, MMIO, 1, 0x100, fd) == -EINVAL &&
		   hv_doorbell_add(vm, 8, MMIO, 4, 0, fd) == -EINVAL, "what cannot be is -EINVAL");
	ktap_check(hv_doorbell_add(vm, 0, MMIO, 4, 0, -1) == -EBADF &&
		   hv_doorbell_add(vm, 0, MMIO, 4, 0, 0) == -EINVAL, "without an eventfd it is refused");
	ktap_check(hv_doorbell_remove(vm, 0, MMIO, 4, 0, fd) == -ENOENT, "removing what is not there");
	/* In an order that makes every insertion move others. */
	for (n = 0; n < a.t.info.max_doorbells; n++)
		if (hv_doorbell_add(vm, n & 1 ? PORT : 0, (n * 37 % 512) * 8 + (n & 1 ? 0x2000 : MMIO), 4, 0, fd))
			break;
	ktap_check(n == a.t.info.max_doorbells && hv_doorbell_add(vm, 0, MMIO + 0x100000, 4, 0, fd) == -ENOSPC,
		   "as many as the limit says: %u", n);
	for (i = n = 0; i < 512; i++) {
		uint64_t at = (i * 37 % 512) * 8;

		if (put(i & 1 ? out4 : mov4, i & 1 ? out4_end : mov4_end, at + (i & 1 ? 0x2000 : MMIO), 1))
			n++;
	}
	ktap_check(n == 512 && rung(fd) == 512, "and each of them rings: %u", n);
	for (i = n = 0; i < 512; i++)
		n += !hv_doorbell_remove(vm, i & 1 ? PORT : 0, (i * 37 % 512) * 8 + (i & 1 ? 0x2000 : MMIO), 4,
					 0, fd);
	ktap_check(n == 512 && !put(CODE(mov4), MMIO, 1), "and goes");
}

/* Rings 0x1000 and writes 0x1004 for ever. */
GUEST_CODE(ringer, "1: mov $0x1000, %edx\n out %al, %dx\n mov $0x1004, %edx\n out %al, %dx\n jmp 1b\n");

static atomic_bool stop;
static atomic_ulong ioexits;

static void *run(void *arg)
{
	struct hv_vcpu *v = a.t.vcpu[1];

	while (!atomic_load(&stop)) {
		if (hv_vcpu_run(v) && v->run->exit_reason != HV_EXIT_SIGNAL)
			ktap_bail("run failed");
		if (v->run->exit_reason == HV_EXIT_IO) {
			atomic_fetch_add(&ioexits, 1);
			hv_vcpu_retire(v);
		}
	}
	return NULL;
}

static void races(void)
{
	struct hv_vm *vm = a.t.vm;
	unsigned long total = 0;
	pthread_t th;
	int i, f;

	testvm_code(&a.t, 0x2a000, ringer, ringer_end);
	avm_set(&a, 1, AVM_OPEN, 0, 0, 0);
	hv_vcpu_regs(a.t.vcpu[1])->rip = 0x2a000;
	hv_doorbell_add(vm, PORT, 0x1004, 1, 0, fd2);
	pthread_create(&th, NULL, run, NULL);
	for (i = 0; i < 100; i++) {
		f = eventfd(0, EFD_NONBLOCK);
		if (hv_doorbell_add(vm, PORT, 0x1000, 1, 0, f))
			ktap_bail("cannot add");
		usleep(500);
		if (i & 1)
			close(dup(f));
		if (hv_doorbell_remove(vm, PORT, 0x1000, 1, 0, f))
			ktap_bail("cannot remove");
		total += rung(f);
		/* Removed is removed: nothing rings it any more. */
		usleep(200);
		if (rung(f))
			ktap_bail("rung after it was removed");
		close(f);
	}
	atomic_store(&stop, true);
	hv_vcpu_kick(a.t.vcpu[1]);
	pthread_join(th, NULL);
	ktap_check(total > 0 && atomic_load(&ioexits) > 0,
		   "100 times added and removed while rung: %lu rings, %lu exits", total,
		   atomic_load(&ioexits));
	ktap_check(rung(fd2) > 0, "its neighbour rang all the time");
}

static void counted(void)
{
	struct hv_stats s;

	hv_get_stats(a.t.vm, 1, &s);
	ktap_check(s.counter[HV_STAT_DOORBELLS] > 0, "the counter counts: %llu",
		   (unsigned long long)s.counter[HV_STAT_DOORBELLS]);
	/* Doorbell to interrupt without leaving the kernel. */
	avm_write(&a, 0, 0xf0, 0x1ff);
	avm_eoi(&a, AVM_EOI_XAPIC);
	avm_forget(&a);
	hv_irqfd_assign(a.t.vm, fd, 0xfee00000, 0x71, false);
	hv_doorbell_add(a.t.vm, PORT, 0x3000, 1, 0, fd);
	put(CODE(out1), 0x3000, 1);
	avm_op(&a, 0, AVM_OPEN, 0, 0, 0);
	ktap_check(avm_taken(&a, 0, 0x71) == 1, "a doorbell may be an interrupt");
}

int main(void)
{
	avm_create(&a, 2);
	fd = eventfd(0, EFD_NONBLOCK);
	fd2 = eventfd(0, EFD_NONBLOCK);
	ktap_plan(35);
	memory();
	port();
	arguments();
	races();
	counted();
	avm_destroy(&a);
	return ktap_finish();
}
