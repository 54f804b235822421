/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * event_guest.h - a guest that writes down every event it takes.
 *
 * 256 stubs lead to one handler, which logs {vector, error, RIP, RFLAGS, RSP, CR2, DR6, CS} and
 * returns.  skip[vector] is added to the RIP it returns to; at @stop it ends single-stepping.
 * A program ends with OUT to port 0x10.  Memory is of 4 KiB pages, so that eg_forget() brings
 * a fault of the second stage at the next touch.
 */
#ifndef HV_SELFTESTS_EVENT_GUEST_H
#define HV_SELFTESTS_EVENT_GUEST_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include "ktap.h"
#include "lib/testvm.h"

#define EG_SIZE		(4UL << 20)
#define EG_STUBS	0x20000UL
#define EG_HANDLER	0x22000UL
#define EG_LOG		0x30000UL	/* count, stop RIP; entries from +64 */
#define EG_SKIP		0x38000UL	/* u64[256] */
#define EG_STACK	0x100000UL	/* fresh stacks for IST: page n ends at EG_STACK + n * 0x1000 */
#define EG_TSS		0x600UL

struct eg_event {
	uint64_t vector, error, rip, rflags, rsp, cr2, dr6, cs;
};

GUEST_CODE(eg_handler,
	"push %rax\n push %rbx\n"
	"mov 0x30000, %eax\n shl $6, %rax\n lea 0x30040(%rax), %rbx\n"
	"mov 16(%rsp), %rax\n mov %rax, (%rbx)\n"
	"mov 24(%rsp), %rax\n mov %rax, 8(%rbx)\n"
	"mov 32(%rsp), %rax\n mov %rax, 16(%rbx)\n"
	"cmp 0x30008, %rax\n jne 1f\n andq $~0x100, 48(%rsp)\n 1:\n"
	"mov 48(%rsp), %rax\n mov %rax, 24(%rbx)\n"
	"mov 56(%rsp), %rax\n mov %rax, 32(%rbx)\n"
	"mov %cr2, %rax\n mov %rax, 40(%rbx)\n"
	"mov %dr6, %rax\n mov %rax, 48(%rbx)\n"
	"mov 40(%rsp), %rax\n mov %rax, 56(%rbx)\n"
	"incl 0x30000\n"
	"mov 16(%rsp), %rax\n mov 0x38000(,%rax,8), %rax\n add %rax, 32(%rsp)\n"
	"pop %rbx\n pop %rax\n add $16, %rsp\n iretq\n");

static struct testvm t;

static inline bool eg_has_error(int n)
{
	return n == 8 || (n >= 10 && n <= 14) || n == 17;
}

static inline uint64_t eg_handler_of(int vector)
{
	return EG_STUBS + vector * 16;
}

static inline void eg_gates(void)
{
	int n;

	for (n = 0; n < 256; n++) {
		uint8_t *p = t.mem + eg_handler_of(n);
		int32_t rel;

		/* push $0 (or two NOPs), push $vector, jmp handler */
		memcpy(p, eg_has_error(n) ? "\x66\x90" : "\x6a\x00", 2);
		p[2] = 0x68;
		memcpy(p + 3, &n, 4);
		p[7] = 0xe9;
		rel = EG_HANDLER - (eg_handler_of(n) + 12);
		memcpy(p + 8, &rel, 4);
		testvm_gate(&t, n, eg_handler_of(n), 0);
	}
}

static inline void eg_create(void)
{
	void *mem = mmap(NULL, EG_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED || (madvise(mem, EG_SIZE, MADV_NOHUGEPAGE) && errno != EINVAL))
		ktap_bail("no memory for a guest");
	testvm_create_on(&t, mem, EG_SIZE, 1);
	testvm_code(&t, EG_HANDLER, eg_handler, eg_handler_end);
}

static inline uint32_t eg_count(void)
{
	return *(volatile uint32_t *)(t.mem + EG_LOG);
}

static inline const struct eg_event *eg_log(int n)
{
	return (struct eg_event *)(t.mem + EG_LOG + 64) + n;
}

static inline void eg_stop(uint64_t rip)
{
	memcpy(t.mem + EG_LOG + 8, &rip, 8);
}

static inline void eg_skip(int vector, uint64_t length)
{
	memcpy(t.mem + EG_SKIP + 8 * vector, &length, 8);
}

/* The page's next use by the guest faults in the second stage. */
static inline void eg_forget(uint64_t gpa)
{
	if (madvise(t.mem + gpa, 4096, MADV_DONTNEED))
		ktap_bail("MADV_DONTNEED: %s", strerror(errno));
}

/* Long mode at the code, gates fresh, log empty; the caller may then change registers. */
static inline struct hv_regs *eg_load(const uint8_t *start, const uint8_t *end)
{
	struct hv_vcpu *v = t.vcpu[0];
	struct hv_events *e;

	testvm_code(&t, TVM_CODE, start, end);
	testvm_long(&t, 0, TVM_CODE);
	eg_gates();
	memset(t.mem + EG_LOG, 0, 4096);
	memset(t.mem + EG_SKIP, 0, 2048);
	if (hv_vcpu_get_state(v, HV_GROUP(HV_GROUP_EVENTS)))
		ktap_bail("cannot get events");
	e = hv_vcpu_events(v);
	memset(e, 0, sizeof(*e));
	if (hv_vcpu_set_state(v, HV_GROUP(HV_GROUP_EVENTS)))
		ktap_bail("cannot set events");
	hv_vcpu_regs(v)->rflags = 2;
	hv_vcpu_mark_dirty(v, HV_GROUP(HV_GROUP_REGS));
	return hv_vcpu_regs(v);
}

/* The same with interrupts on. */
static inline void eg_load_open(const uint8_t *start, const uint8_t *end)
{
	eg_load(start, end)->rflags = 0x202;
	hv_vcpu_sync(t.vcpu[0]);
}

/* Gate @vector on a stack of its own whose page is not there yet. */
static inline void eg_fresh_stack(int vector, int ist)
{
	uint64_t top = EG_STACK + ist * 0x1000;

	memcpy(t.mem + EG_TSS + 0x1c + 8 * ist, &top, 8);
	testvm_gate(&t, vector, eg_handler_of(vector), ist);
	eg_forget(top - 0x1000);
}

/* Run to the end; false if something else happened, which is told. */
static inline bool eg_run(void)
{
	uint32_t reason = testvm_run(&t, 0);
	struct hv_run *run = t.vcpu[0]->run;
	uint32_t n;

	if (reason == HV_EXIT_IO && run->io.port == 0x10) {
		testvm_done(&t, 0, 0);
		return true;
	}
	ktap_note("exit %s at %#llx after %u events", hv_exit_name(reason),
		  (unsigned long long)hv_vcpu_regs(t.vcpu[0])->rip, eg_count());
	if (reason == HV_EXIT_FAIL_ENTRY || reason == HV_EXIT_INTERNAL)
		ktap_note("code %#llx info %#llx %#llx %#llx",
			  (unsigned long long)run->fail.reason,
			  (unsigned long long)run->fail.info[0],
			  (unsigned long long)run->fail.info[1],
			  (unsigned long long)run->fail.info[2]);
	for (n = 0; n < eg_count() && n < 8; n++)
		ktap_note("event %u: vector %llu error %#llx rip %#llx", n,
			  (unsigned long long)eg_log(n)->vector,
			  (unsigned long long)eg_log(n)->error,
			  (unsigned long long)eg_log(n)->rip);
	return false;
}

/* Vector and RIP (offset into the code) of logged event @n. */
static inline bool eg_is(uint32_t n, uint64_t vector, uint64_t offset)
{
	const struct eg_event *e = eg_log(n);

	if (n < eg_count() && e->vector == vector && e->rip == TVM_CODE + offset)
		return true;
	ktap_note("event %u of %u: vector %llu at +%#llx, wanted %llu at +%#llx", n, eg_count(),
		  (unsigned long long)e->vector, (unsigned long long)(e->rip - TVM_CODE),
		  (unsigned long long)vector, (unsigned long long)offset);
	return false;
}

/* An event from outside: pending exception, with what comes with it. */
static inline void eg_pend_exception(int vector, uint8_t flags, uint32_t error, uint64_t payload)
{
	struct hv_events *e = hv_vcpu_events(t.vcpu[0]);

	if (hv_vcpu_get_state(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS)))
		ktap_bail("cannot get events");
	e->exc_flags = flags;
	e->exc_vector = vector;
	e->exc_error_code = error;
	e->exc_payload = payload;
	hv_vcpu_mark_dirty(t.vcpu[0], HV_GROUP(HV_GROUP_EVENTS));
}

static inline void eg_msi(uint8_t delivery, uint8_t vector)
{
	if (hv_send_msi(t.vm, 0xfee00000, delivery << 8 | vector) < 0)
		ktap_bail("cannot send an MSI");
}

static inline void eg_apic(uint32_t offset, uint32_t value)
{
	if (hv_vcpu_apic_access(t.vcpu[0], offset, true, &value))
		ktap_bail("cannot write APIC register %#x", offset);
}

#endif
