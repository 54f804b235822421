// SPDX-License-Identifier: GPL-2.0-only
/*
 * apicvm.c - see apicvm.h.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../ktap.h"
#include "apicvm.h"

#define CODE	0x20000UL
#define EOI	0x28000UL
#define COUNT	0x30000UL

/* A stub of 10 bytes for each vector, then what they share; r15 is the vCPU's number. */
GUEST_CODE(avm_vectors,
	".set n, 0\n"
	".rept 256\n"
	".byte 0x68\n .long n\n .byte 0xe9\n .long avm_common - . - 4\n"
	".set n, n + 1\n"
	".endr\n"
	"avm_common:\n"
	"push %rax\n push %rbx\n push %rcx\n push %rdx\n"
	"mov 32(%rsp), %rbx\n"
	"mov %r15, %rax\n shl $11, %rax\n"
	"lock incq 0x30000(%rax,%rbx,8)\n"
	"mov 0x28000, %eax\n"
	"cmp $1, %eax\n je 1f\n"
	"cmp $2, %eax\n jne 2f\n"
	"mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n jmp 2f\n"
	"1: mov $0xfee000b0, %eax\n movl $0, (%rax)\n"
	"2: pop %rdx\n pop %rcx\n pop %rbx\n pop %rax\n add $8, %rsp\n iretq\n");

GUEST_CODE(avm_gp, "add $8, %rsp\n out %al, $0x30\n hlt\n");
GUEST_CODE(avm_rdmsr_code, "rdmsr\n out %al, $0x10\n");
GUEST_CODE(avm_wrmsr_code, "wrmsr\n out %al, $0x10\n");
GUEST_CODE(avm_read_code, "mov (%rbx), %eax\n xor %edx, %edx\n out %al, $0x10\n");
GUEST_CODE(avm_write_code, "mov %eax, (%rbx)\n out %al, $0x10\n");
GUEST_CODE(avm_open_code, "sti\n nop\n nop\n nop\n cli\n out %al, $0x10\n");
GUEST_CODE(avm_halt_code, "sti\n hlt\n cli\n out %al, $0x10\n");
GUEST_CODE(avm_idle_code, "1: sti\n hlt\n jmp 1b\n");
GUEST_CODE(avm_spin_code, "sti\n 1: incq 0x28080(,%r15,8)\n pause\n jmp 1b\n");
GUEST_CODE(avm_wait_code, "sti\n 1: pause\n cmpl $0, (%rbx)\n je 1b\n cli\n out %al, $0x10\n");
GUEST_CODE(avm_set_cr8_code, "mov %rax, %cr8\n out %al, $0x10\n");
GUEST_CODE(avm_get_cr8_code, "mov %cr8, %rax\n xor %edx, %edx\n out %al, $0x10\n");
GUEST_CODE(avm_rdtsc_code, "rdtsc\n out %al, $0x10\n");
GUEST_CODE(avm_out_code, "mov %ebx, %edx\n out %eax, %dx\n out %al, $0x10\n");

static const struct {
	const uint8_t *start, *end;
} code[AVM_OPS] = {
#define OP(name) { avm_##name##_code, avm_##name##_code_end }
	[AVM_RDMSR] = OP(rdmsr), [AVM_WRMSR] = OP(wrmsr), [AVM_READ32] = OP(read),
	[AVM_WRITE32] = OP(write), [AVM_OPEN] = OP(open), [AVM_HALT] = OP(halt),
	[AVM_IDLE] = OP(idle), [AVM_SPIN] = OP(spin), [AVM_WAIT] = OP(wait),
	[AVM_SET_CR8] = OP(set_cr8), [AVM_GET_CR8] = OP(get_cr8), [AVM_RDTSC] = OP(rdtsc),
	[AVM_OUT] = OP(out),
};

static uint64_t op_address(enum avm_op op)
{
	return CODE + 0x2000 + 0x40 * op;
}

void avm_reset(struct avm *a, uint32_t vcpu)
{
	testvm_long(&a->t, vcpu, op_address(AVM_OPEN));
}

void avm_create(struct avm *a, uint32_t nvcpus)
{
	uint32_t i;

	memset(a, 0, sizeof(*a));
	testvm_create(&a->t, 4 << 20, nvcpus);
	for (i = 0; i < nvcpus; i++)
		avm_reset(a, i);
	testvm_code(&a->t, CODE, avm_vectors, avm_vectors_end);
	testvm_code(&a->t, CODE + 0x1800, avm_gp, avm_gp_end);
	for (i = 0; i < AVM_OPS; i++)
		testvm_code(&a->t, op_address(i), code[i].start, code[i].end);
	for (i = 2; i < 256; i++)
		if (i == 2 || i >= 32)
			testvm_gate(&a->t, i, CODE + 10 * i, 0);
	testvm_gate(&a->t, 13, CODE + 0x1800, 0);
}

void avm_destroy(struct avm *a)
{
	testvm_destroy(&a->t);
}

void avm_set(struct avm *a, uint32_t vcpu, enum avm_op op, uint64_t rbx, uint64_t rcx,
	     uint64_t value)
{
	struct hv_vcpu *v = a->t.vcpu[vcpu];
	struct hv_regs *r = hv_vcpu_regs(v);

	memset(r, 0, sizeof(*r));
	r->rip = op_address(op);
	r->rflags = 2;
	r->gpr[HV_RSP] = 0x61000 + 0x1000 * vcpu;
	r->gpr[HV_R15] = vcpu;
	r->gpr[HV_RBX] = rbx;
	r->gpr[HV_RCX] = rcx;
	r->gpr[HV_RAX] = op == AVM_SET_CR8 ? value : (uint32_t)value;
	r->gpr[HV_RDX] = value >> 32;
	v->run->retire = 0;
	hv_vcpu_mark_dirty(v, HV_GROUP(HV_GROUP_REGS));
}

uint64_t avm_go(struct avm *a, uint32_t vcpu)
{
	struct hv_vcpu *v = a->t.vcpu[vcpu];
	struct hv_regs *r = hv_vcpu_regs(v);
	uint32_t reason;

	for (;;) {
		reason = testvm_run(&a->t, vcpu);
		if (reason == HV_EXIT_EOI) {
			a->eois[v->run->eoi.vector & 0xff]++;
			continue;
		}
		if (reason != HV_EXIT_IO || (v->run->io.port != AVM_DONE && v->run->io.port != AVM_FAULT))
			testvm_expect(&a->t, vcpu, 0xffff);	/* says what it was, and ends */
		a->faulted = v->run->io.port == AVM_FAULT;
		return r->gpr[HV_RDX] << 32 | (uint32_t)r->gpr[HV_RAX];
	}
}

uint64_t avm_op(struct avm *a, uint32_t vcpu, enum avm_op op, uint64_t rbx, uint64_t rcx,
		uint64_t value)
{
	avm_set(a, vcpu, op, rbx, rcx, value);
	return avm_go(a, vcpu);
}

uint64_t avm_taken(struct avm *a, uint32_t vcpu, uint8_t vector)
{
	return __atomic_load_n((uint64_t *)(a->t.mem + COUNT + 0x800 * vcpu + 8 * vector),
			       __ATOMIC_ACQUIRE);
}

uint64_t avm_taken_all(struct avm *a, uint32_t vcpu)
{
	uint64_t n = 0;

	for (int i = 0; i < 256; i++)
		n += avm_taken(a, vcpu, i);
	return n;
}

void avm_forget(struct avm *a)
{
	memset(a->t.mem + COUNT, 0, 0x800 * 64);
	memset(a->eois, 0, sizeof(a->eois));
}

void avm_eoi(struct avm *a, int how)
{
	__atomic_store_n((uint32_t *)(a->t.mem + EOI), how, __ATOMIC_RELEASE);
}

/* ---- vCPUs in the background ---- */

static struct runner {
	struct avm *a;
	uint32_t vcpu;
	pthread_t thread;
	atomic_bool stop;
} runners[64];

/* Between taking an interrupt and the end of its handler: whoever set another RIP now would
 * leave it in service for ever. */
static bool in_handler(struct hv_vcpu *v)
{
	uint64_t rip = hv_vcpu_regs(v)->rip;

	return rip >= CODE && rip < CODE + 0x1800;
}

static void *runner(void *arg)
{
	struct runner *r = arg;
	struct hv_vcpu *v = r->a->t.vcpu[r->vcpu];
	int err;

	while (!atomic_load(&r->stop) || in_handler(v)) {
		err = hv_vcpu_run(v);
		if (err && err != -EINTR)
			ktap_bail("vCPU %u: %s", r->vcpu, strerror(-err));
		switch (v->run->exit_reason) {
		case HV_EXIT_EOI:
			__atomic_add_fetch(&r->a->eois[v->run->eoi.vector & 0xff], 1, __ATOMIC_RELAXED);
			break;
		case HV_EXIT_NONE:
		case HV_EXIT_KICK:
		case HV_EXIT_SIGNAL:
			break;
		default:
			ktap_bail("vCPU %u in the background: exit %u (%s), rip %#llx", r->vcpu,
				  v->run->exit_reason, hv_exit_name(v->run->exit_reason),
				  (unsigned long long)hv_vcpu_regs(v)->rip);
		}
	}
	return NULL;
}

void avm_start(struct avm *a, uint32_t vcpu)
{
	struct runner *r = &runners[vcpu];

	r->a = a;
	r->vcpu = vcpu;
	atomic_store(&r->stop, false);
	if (pthread_create(&r->thread, NULL, runner, r))
		ktap_bail("pthread_create failed");
}

void avm_stop(struct avm *a, uint32_t vcpu)
{
	struct hv_vcpu *v = a->t.vcpu[vcpu];
	struct hv_mp *mp = hv_vcpu_group(v, HV_GROUP_MP);
	struct runner *r = &runners[vcpu];
	int err;

	atomic_store(&r->stop, true);
	do {
		struct timespec soon;

		hv_vcpu_kick(v);
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_sec += soon.tv_nsec >= 990000000;
		soon.tv_nsec = (soon.tv_nsec + 10000000) % 1000000000;
		err = pthread_timedjoin_np(r->thread, NULL, &soon);
	} while (err == ETIMEDOUT);
	/* A new RIP does not wake what is in HLT. */
	if (hv_vcpu_get_state(v, HV_GROUP(HV_GROUP_MP)) == 0 && mp->state == HV_MP_HALTED) {
		mp->state = HV_MP_RUNNABLE;
		hv_vcpu_set_state(v, HV_GROUP(HV_GROUP_MP));
	}
}
