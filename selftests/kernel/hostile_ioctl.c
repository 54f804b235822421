// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every ioctl of every fd, from several threads at once, in random order with random and nearly valid
 * arguments, while the memory behind the slots is unmapped, mapped and protected, the process
 * forks, CPUs go away and come back, and in the end the process is killed in the middle of it all.
 * Each call must give one of its documented errors or work, nothing may be left of the dead, and
 * the host must have nothing to say, which its log shows.
 *
 * HV_ROUNDS processes are killed one after the other, or as many as fit into HV_SECONDS.
 * HV_SEED repeats the arguments, not how the threads meet.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uapi/hv.h>
#include "ktap.h"
#include "lib/testvm.h"

#define MIB		(1UL << 20)
#define ARENA		(8 * MIB)
#define VCPUS		3
#define EVENTS		4
#define SLOTS		6
#define THREADS		(2 * VCPUS + 3)
#define FORKS_AT_ONCE	4
#define OPS		24
#define LEAST		2000		/* calls before a process is killed */
#define SPREAD		20000

/* What the children tell: how often each call worked and failed, and an error nobody documents. */
struct tally {
	atomic_ulong calls, good[OPS], bad[OPS];
	atomic_int odd_op, odd_errno;
};

enum {
	OP_INFO, OP_CREATE_VM, OP_GET_CPUID, OP_CREATE_VCPU, OP_SET_CPUID, OP_SLOTS, OP_PREFAULT,
	OP_DIRTY, OP_KICK, OP_MSI, OP_LINE, OP_IRQFD, OP_DOORBELL, OP_STATS, OP_GET_CLOCK,
	OP_SET_CLOCK, OP_RUN, OP_GET_STATE, OP_SET_STATE, OP_APIC, OP_UNKNOWN, OP_MMAP,
};

static const char *const op_name[OPS] = {
	"GET_INFO", "CREATE_VM", "GET_CPUID", "CREATE_VCPU", "SET_CPUID", "SET_SLOTS", "PREFAULT",
	"GET_DIRTY", "KICK", "SEND_MSI", "SET_LINE", "SET_IRQFD", "SET_DOORBELL", "GET_STATS",
	"GET_CLOCK", "SET_CLOCK", "RUN", "GET_STATE", "SET_STATE", "APIC_ACCESS", "an unknown one",
	"mmap",
};

/* No x87 instruction (bytes 9B, D8 to DF): QEMU dies of x87 errors reported the old way. */
GUEST_CODE(work,
	   ".code16\n"
	   "1: xor %eax, %eax\n cpuid\n in $0x70, %al\n out %al, $0xe0\n movw %ax, 0x3000\n"
	   "mov $0x1b, %ecx\n rdmsr\n incw 0x5000\n sti\n nop\n cli\n"
	   "mov $0xc0, %al\n out %al, $0x80\n decw 0x30\n jz 2f\n jmp 1b\n"
	   "2: sti\n hlt\n jmp 1b\n");

static struct tally *tally;
static struct hv_info info;
static int dev, vm, vcpu[VCPUS], event[EVENTS];
static uint8_t *arena, *area[VCPUS];
static atomic_int forks;
static uint64_t base;

struct rng {
	uint64_t s;
};

static uint64_t rnd(struct rng *r)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return r->s;
}

static unsigned int below(struct rng *r, unsigned int n)
{
	return (rnd(r) >> 11) % n;
}

static uint64_t number(struct rng *r)
{
	switch (below(r, 7)) {
	case 0:
		return 0;
	case 1:
		return ~0ULL;
	case 2:
		return 1ULL << below(r, 64);
	case 3:
		return below(r, 256);
	case 4:
		return ((uint64_t)1 << below(r, 64)) - 4096;
	case 5:
		return 0xffff800000000000ULL | (rnd(r) & 0xffffffff);
	default:
		return rnd(r);
	}
}

/* One time in four one field of a valid argument is something else. */
static void spoil(struct rng *r, void *p, size_t len)
{
	size_t at;
	uint64_t v;
	uint32_t w;

	if (below(r, 4))
		return;
	v = number(r);
	if (below(r, 2) && len >= 8) {
		at = below(r, len / 8) * 8;
		memcpy((char *)p + at, &v, 8);
	} else {
		at = below(r, len / 4) * 4;
		w = v;
		memcpy((char *)p + at, &w, 4);
	}
}

static int some_fd(struct rng *r)
{
	switch (below(r, 16)) {
	case 0:
		return -1;
	case 1:
		return dev;
	case 2:
		return vm;
	default:
		return event[below(r, EVENTS)];
	}
}

static uint64_t some_page(struct rng *r)
{
	return (uint64_t)below(r, ARENA >> 12) << 12;
}

/* An error that abi.rst gives for some call, and that is no other's. */
static bool documented(int op, int err)
{
	static const int any[] = { EINVAL, EFAULT, ENOMEM, EINTR };
	unsigned int i;

	for (i = 0; i < sizeof(any) / sizeof(any[0]); i++)
		if (err == any[i])
			return true;
	switch (op) {
	case OP_CREATE_VM:
		return err == EOPNOTSUPP || err == EBADF;
	case OP_GET_CPUID:
		return err == E2BIG;
	case OP_SET_CPUID:
		return err == EBUSY;
	case OP_CREATE_VCPU:
		return err == EEXIST || err == ENODATA;
	case OP_SLOTS:
		return err == ENOSPC || err == ENOENT;
	case OP_IRQFD:
	case OP_DOORBELL:
		return err == EEXIST || err == ENOENT || err == EBADF || err == ENOSPC;
	case OP_DIRTY:
	case OP_KICK:
	case OP_STATS:
		return err == ENOENT;
	case OP_RUN:
	case OP_GET_STATE:
	case OP_SET_STATE:
	case OP_APIC:
		return err == EBUSY;
	case OP_UNKNOWN:
		return err == ENOTTY || err == EBUSY;
	}
	return false;
}

static int judge(int op, int ret)
{
	int none = 0;

	atomic_fetch_add(&tally->calls, 1);
	if (ret >= 0) {
		atomic_fetch_add(&tally->good[op], 1);
	} else {
		atomic_fetch_add(&tally->bad[op], 1);
		if (!documented(op, errno) &&
		    atomic_compare_exchange_strong(&tally->odd_errno, &none, errno))
			tally->odd_op = op;
	}
	return ret;
}

static void call(struct rng *r, int op, int fd, unsigned long cmd, void *arg)
{
	/* Now and then a bad pointer, or a good one to what may just go away. */
	switch (below(r, 64)) {
	case 0:
		arg = NULL;
		break;
	case 1:
		arg = (void *)number(r);
		break;
	case 2:
		arg = arena + some_page(r) + 4096 - 8;
		break;
	}
	judge(op, ioctl(fd, cmd, arg));
}

/* ---- one call each ---- */

static void cpuid_op(struct rng *r)
{
	struct hv_cpuid_entry entry[128];
	struct hv_cpuid c = { .size = sizeof(c), .count = 128, .entries = (uintptr_t)entry };

	/* The table of a VM with vCPUs is settled; a VM of its own may take one. */
	if (ioctl(dev, HV_GET_CPUID, &c) == 0 && below(r, 2))
		spoil(r, entry, c.count * sizeof(entry[0]));
	spoil(r, &c, sizeof(c));
	if (below(r, 2))
		call(r, OP_SET_CPUID, vm, HV_SET_CPUID, &c);
	else
		call(r, OP_GET_CPUID, dev, HV_GET_CPUID, &c);
}

static void create_op(struct rng *r)
{
	struct hv_create_vm c = { .size = sizeof(c), .kvm_fd = -1 };
	struct hv_cpuid_entry entry[128];
	struct hv_cpuid t = { .size = sizeof(t), .count = 128, .entries = (uintptr_t)entry };
	struct hv_create_vcpu p = { .size = sizeof(p), .id = below(r, 4) };
	int fd, sub;

	spoil(r, &c, sizeof(c));
	fd = judge(OP_CREATE_VM, ioctl(dev, HV_CREATE_VM, &c));
	if (fd < 0)
		return;
	if (ioctl(dev, HV_GET_CPUID, &t) == 0)
		judge(OP_SET_CPUID, ioctl(fd, HV_SET_CPUID, &t));
	spoil(r, &p, sizeof(p));
	sub = judge(OP_CREATE_VCPU, ioctl(fd, HV_CREATE_VCPU, &p));
	if (below(r, 2)) {
		close(fd);
		fd = -1;
	}
	if (sub >= 0) {
		judge(OP_RUN, ioctl(sub, HV_RUN, 1));
		close(sub);
	}
	if (fd >= 0)
		close(fd);
}

static void slots_op(struct rng *r)
{
	struct hv_slot s[4];
	struct hv_set_slots set = { .size = sizeof(set), .count = 1 + below(r, 4),
				    .slots = (uintptr_t)s };
	unsigned int i;

	memset(s, 0, sizeof(s));
	for (i = 0; i < set.count; i++) {
		s[i].id = below(r, SLOTS);
		s[i].flags = below(r, 4);
		s[i].gpa = s[i].id * ARENA;
		s[i].hva = (uintptr_t)arena + some_page(r);
		s[i].size = below(r, 4) ? some_page(r) : 0;
		/* The one with the code stays most of the time. */
		if (s[i].id == 0 && below(r, 8)) {
			s[i].hva = (uintptr_t)arena;
			s[i].size = ARENA;
			s[i].flags = 0;
		}
	}
	spoil(r, s, set.count * sizeof(s[0]));
	spoil(r, &set, sizeof(set));
	call(r, OP_SLOTS, vm, HV_SET_SLOTS, &set);
}

static void memory_op(struct rng *r)
{
	static uint64_t bits[ARENA / 4096 / 64];
	struct hv_prefault p = { .size = sizeof(p), .flags = below(r, 2) ? HV_ACCESS_WRITE : 0,
				 .gpa = below(r, SLOTS) * ARENA + some_page(r),
				 .len = (uint64_t)(1 + below(r, 64)) << 12 };
	struct hv_get_dirty d = { .size = sizeof(d), .slot = below(r, SLOTS), .flags = below(r, 2),
				  .first = below(r, 4) * 64, .count = below(r, 512),
				  .bitmap = (uintptr_t)bits };

	if (below(r, 2)) {
		spoil(r, &p, sizeof(p));
		call(r, OP_PREFAULT, vm, HV_PREFAULT, &p);
	} else {
		spoil(r, &d, sizeof(d));
		call(r, OP_DIRTY, vm, HV_GET_DIRTY, &d);
	}
}

static void interrupt_op(struct rng *r)
{
	struct hv_msi m = { .size = sizeof(m), .address = 0xfee00000 | below(r, 4) << 12,
			    .data = below(r, 2) ? 0x30 + below(r, 200) : below(r, 0x10000) };
	struct hv_line l = { .size = sizeof(l), .level = below(r, 2) };
	struct hv_irqfd f = { .size = sizeof(f), .op = below(r, 3), .fd = some_fd(r),
			      .flags = below(r, 2), .address = m.address, .data = m.data };
	struct hv_doorbell b = { .size = sizeof(b), .flags = below(r, 8), .fd = some_fd(r),
				 .len = below(r, 2) ? 0 : 1 << below(r, 4), .data = below(r, 2) };
	uint64_t one = 1;

	b.address = b.flags & HV_DOORBELL_PORT ? 0x70 + below(r, 0x80)
					       : (SLOTS + 1) * ARENA + below(r, 64) * 4;
	switch (below(r, 5)) {
	case 0:
		spoil(r, &m, sizeof(m));
		call(r, OP_MSI, vm, HV_SEND_MSI, &m);
		break;
	case 1:
		spoil(r, &l, sizeof(l));
		call(r, OP_LINE, vm, HV_SET_LINE, &l);
		break;
	case 2:
		spoil(r, &f, sizeof(f));
		call(r, OP_IRQFD, vm, HV_SET_IRQFD, &f);
		break;
	case 3:
		spoil(r, &b, sizeof(b));
		call(r, OP_DOORBELL, vm, HV_SET_DOORBELL, &b);
		break;
	default:
		/* Non-blocking: a full one is fine. */
		if (write(event[below(r, EVENTS)], &one, sizeof(one)) < 0)
			sched_yield();
	}
}

static void clock_op(struct rng *r)
{
	struct hv_vm_clock c = { .size = sizeof(c), .flags = below(r, 4),
				 .guest_tsc = number(r), .kvmclock_ns = number(r) };
	struct hv_stats s = { .size = sizeof(s),
			      .vcpu = below(r, 2) ? HV_STATS_VM : below(r, VCPUS + 1) };

	switch (below(r, 3)) {
	case 0:
		spoil(r, &c, sizeof(c));
		call(r, OP_SET_CLOCK, vm, HV_SET_CLOCK, &c);
		break;
	case 1:
		c.flags = 0;
		spoil(r, &c, sizeof(c));
		call(r, OP_GET_CLOCK, vm, HV_GET_CLOCK, &c);
		break;
	default:
		spoil(r, &s, sizeof(s));
		call(r, OP_STATS, vm, HV_GET_STATS, &s);
	}
}

static void device_op(struct rng *r)
{
	struct hv_info i = { .size = sizeof(i) };
	struct hv_create_vcpu p = { .size = sizeof(p), .id = below(r, VCPUS + 2) };
	int fd;

	switch (below(r, 4)) {
	case 0:
		spoil(r, &i, sizeof(i));
		call(r, OP_INFO, dev, HV_GET_INFO, &i);
		break;
	case 1:
		spoil(r, &p, sizeof(p));
		fd = judge(OP_CREATE_VCPU, ioctl(vm, HV_CREATE_VCPU, &p));
		if (fd >= 0)
			close(fd);
		break;
	default:
		/* Also those that belong to another kind of fd. */
		fd = (int []){ dev, vm, vcpu[0] }[below(r, 3)];
		judge(OP_UNKNOWN, ioctl(fd, _IOC(below(r, 4), HV_IOC, 0x80 + below(r, 128),
					       below(r, 64)), arena));
	}
}

/* Something else into the run area, which another thread may be about to use. */
static void scribble(struct rng *r, int n)
{
	struct hv_run *run = (void *)area[n];
	const struct hv_group_info *g = &info.group[below(r, HV_GROUP_COUNT)];
	struct hv_control *c = (void *)(area[n] + info.group[HV_GROUP_CONTROL].offset);
	uint64_t v = number(r);

	switch (below(r, 6)) {
	case 0:
		run->dirty = below(r, 4) ? rnd(r) & HV_GROUPS_ALL : v;
		break;
	case 1:
		run->want = below(r, 4) ? rnd(r) & HV_GROUPS_ALL : v;
		break;
	case 2:
		run->retire = below(r, 18);
		break;
	case 3:
		run->want_windows = v;
		break;
	default:
		memcpy(area[n] + g->offset + below(r, g->size / 8) * 8, &v, 8);
		c->cr0 |= 0x20;		/* NE: see above */
	}
}

static void vcpu_op(struct rng *r, int n)
{
	struct hv_state s = { .size = sizeof(s), .groups = rnd(r) & HV_GROUPS_ALL };
	struct hv_apic_access a = { .size = sizeof(a), .offset = below(r, 256) << 4,
				    .write = below(r, 2), .value = number(r) };
	void *p;

	switch (below(r, 12)) {
	case 0:
		spoil(r, &s, sizeof(s));
		call(r, OP_GET_STATE, vcpu[n], HV_GET_STATE, &s);
		break;
	case 1:
		/* Nothing of it may switch CR0.NE off. */
		s.groups &= ~HV_GROUP(HV_GROUP_CONTROL);
		spoil(r, &s, sizeof(s));
		s.groups &= ~HV_GROUP(HV_GROUP_CONTROL);
		call(r, OP_SET_STATE, vcpu[n], HV_SET_STATE, &s);
		break;
	case 2:
		spoil(r, &a, sizeof(a));
		call(r, OP_APIC, vcpu[n], HV_APIC_ACCESS, &a);
		break;
	case 3:
		p = mmap(NULL, info.run_size + (below(r, 8) ? 0 : 4096),
			 PROT_READ | (below(r, 2) ? PROT_WRITE : 0),
			 below(r, 8) ? MAP_SHARED : MAP_PRIVATE, vcpu[n], below(r, 8) ? 0 : 4096);
		judge(OP_MMAP, p == MAP_FAILED ? -1 : 0);
		if (p != MAP_FAILED)
			munmap(p, info.run_size);
		break;
	case 4:
	case 5:
		scribble(r, n);
		break;
	default:
		judge(OP_RUN, ioctl(vcpu[n], HV_RUN, below(r, 64) ? 0 : 1));
		((struct hv_run *)area[n])->retire = below(r, 2) ? 0 : 2;
	}
}

/* ---- the memory behind the slots, and fork ---- */

static void fork_op(struct rng *r)
{
	int status;
	pid_t pid;

	if (atomic_fetch_add(&forks, 1) < FORKS_AT_ONCE) {
		pid = fork();
		if (pid == 0) {
			/* Not ours: the run area is not there, and every call says EIO. */
			bool eio = ioctl(vcpu[0], HV_RUN, 0) < 0 && errno == EIO;

			arena[some_page(r) % MIB] = 1;	/* the part that stays writable */
			_exit(eio ? 0 : 1);
		}
		if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
		    WEXITSTATUS(status) == 1) {
			tally->odd_op = OP_RUN;
			tally->odd_errno = ECHILD;
		}
	}
	atomic_fetch_sub(&forks, 1);
}

static void arena_op(struct rng *r)
{
	static const int prot[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE };
	uint8_t *p = arena + MIB + some_page(r) % (ARENA - 2 * MIB);
	size_t len = (size_t)(1 + below(r, 256)) << 12;

	switch (below(r, 8)) {
	case 0:
		mprotect(p, len, prot[below(r, 3)]);
		break;
	case 1:
		munmap(p, len);
		break;
	case 2:
	case 3:
		mmap(p, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 4:
		madvise(p, len, MADV_DONTNEED);
		break;
	case 5:
		madvise(p, len, below(r, 2) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		break;
	case 6:
		fork_op(r);
		break;
	default:
		mprotect(arena, ARENA, PROT_READ | PROT_WRITE);
	}
}

static void *kicker(void *arg)
{
	struct hv_kick k = { .size = sizeof(k), .vcpu = HV_KICK_ALL };

	for (;;) {
		judge(OP_KICK, ioctl(vm, HV_KICK, &k));
		usleep(300);
	}
	return arg;
}

static void *thread(void *arg)
{
	unsigned int n = (uintptr_t)arg;
	struct rng r = { .s = base + (n + 1) * 0x9e3779b97f4a7c15ULL };
	struct hv_kick k;

	for (;;) {
		if (n < 2 * VCPUS) {
			vcpu_op(&r, n % VCPUS);
			continue;
		}
		if (n == 2 * VCPUS) {
			arena_op(&r);
			continue;
		}
		switch (below(&r, 8)) {
		case 0:
			k = (struct hv_kick){ .size = sizeof(k), .vcpu = below(&r, VCPUS + 1) };
			spoil(&r, &k, sizeof(k));
			call(&r, OP_KICK, vm, HV_KICK, &k);
			break;
		case 1:
			slots_op(&r);
			break;
		case 2:
			memory_op(&r);
			break;
		case 3:
			clock_op(&r);
			break;
		case 4:
			device_op(&r);
			break;
		case 5:
			if (below(&r, 4))
				cpuid_op(&r);
			else
				create_op(&r);
			break;
		default:
			interrupt_op(&r);
		}
	}
	return NULL;
}

/* A process that goes on until it is killed. */
static void victim(void)
{
	struct hv_create_vm c = { .size = sizeof(c), .kvm_fd = -1 };
	struct hv_create_vcpu p = { .size = sizeof(p) };
	struct hv_slot s = { .size = ARENA };
	struct hv_set_slots set = { .size = sizeof(set), .count = 1, .slots = (uintptr_t)&s };
	struct hv_state state = { .size = sizeof(state), .groups = HV_GROUPS_ALL };
	struct hv_cpuid_entry entry[128];
	struct hv_cpuid table = { .size = sizeof(table), .count = 128, .entries = (uintptr_t)entry };
	struct hv_regs *regs;
	struct hv_segs *segs;
	struct hv_mp *mp;
	pthread_t t;
	uintptr_t i;

	dev = open(HV_DEVICE, O_RDWR | O_CLOEXEC);
	vm = ioctl(dev, HV_CREATE_VM, &c);
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	s.hva = (uintptr_t)arena;
	if (dev < 0 || vm < 0 || arena == MAP_FAILED || ioctl(vm, HV_SET_SLOTS, &set) ||
	    ioctl(dev, HV_GET_CPUID, &table) || ioctl(vm, HV_SET_CPUID, &table))
		_exit(2);
	memcpy(arena + 0x1000, work, work_end - work);
	for (i = 0; i < EVENTS; i++)
		event[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (i = 0; i < VCPUS; i++) {
		p.id = i;
		vcpu[i] = ioctl(vm, HV_CREATE_VCPU, &p);
		area[i] = mmap(NULL, info.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu[i], 0);
		if (vcpu[i] < 0 || area[i] == MAP_FAILED || ioctl(vcpu[i], HV_GET_STATE, &state))
			_exit(3);
		regs = (void *)(area[i] + info.group[HV_GROUP_REGS].offset);
		segs = (void *)(area[i] + info.group[HV_GROUP_SEGS].offset);
		mp = (void *)(area[i] + info.group[HV_GROUP_MP].offset);
		((struct hv_control *)(area[i] + info.group[HV_GROUP_CONTROL].offset))->cr0 |= 0x20;
		segs->seg[HV_CS].base = 0;
		segs->seg[HV_CS].selector = 0;
		regs->rip = 0x1000;
		regs->gpr[HV_RSP] = 0x8000 - i * 0x400;
		mp->state = HV_MP_RUNNABLE;
		if (ioctl(vcpu[i], HV_SET_STATE, &state))
			_exit(4);
	}
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&t, NULL, thread, (void *)i))
			_exit(5);
	kicker(NULL);
}

/* ---- outside ---- */

static void cpu1(bool on)
{
	int fd = open("/sys/devices/system/cpu/cpu1/online", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, on ? "1" : "0", 1) < 0)
		ktap_note("cpu1: %s", strerror(errno));
	close(fd);
}

static bool round_of(struct rng *r, unsigned int n)
{
	unsigned long until = atomic_load(&tally->calls) + LEAST + below(r, SPREAD);
	struct timespec nap = { .tv_nsec = 1000000 };
	bool plug = below(r, 3) == 0;
	int status;
	pid_t pid;

	base = rnd(r);
	pid = fork();
	if (pid < 0)
		ktap_bail("fork: %s", strerror(errno));
	if (pid == 0)
		victim();
	if (plug)
		cpu1(false);
	while (atomic_load(&tally->calls) < until && waitpid(pid, &status, WNOHANG) == 0)
		nanosleep(&nap, NULL);
	if (kill(pid, SIGKILL) == 0)
		waitpid(pid, &status, 0);
	if (plug)
		cpu1(true);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		ktap_note("round %u: the process ended by itself, status %#x", n, status);
		return false;
	}
	return true;
}

/* The process is gone with all its fds; its children, which had copies, end by themselves. */
static bool nothing_left(struct hv_dev *d)
{
	struct timespec nap = { .tv_nsec = 10000000 };
	struct hv_info now;
	int i;

	for (i = 0; i < 3000; i++) {
		if (hv_get_info(d, &now) == 0 && !now.vms && !now.vcpus)
			return true;
		nanosleep(&nap, NULL);
	}
	ktap_note("%u VMs and %u vCPUs are left", now.vms, now.vcpus);
	return false;
}

static unsigned long setting(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

/* It worked and failed; the unknown one has to fail always. */
static bool outcomes(int op)
{
	return tally->bad[op] && !tally->good[op] == (op == OP_UNKNOWN);
}

static bool all_outcomes(void)
{
	int i;

	for (i = 0; i <= OP_MMAP && outcomes(i); i++)
		;
	return i > OP_MMAP;
}

int main(void)
{
	unsigned long rounds = setting("HV_ROUNDS", 8), seconds = setting("HV_SECONDS", 0);
	struct rng r = { .s = setting("HV_SEED", (uint64_t)time(NULL) * 0x9e3779b97f4a7c15ULL) };
	time_t end = time(NULL) + seconds;
	bool good = true, left = true;
	struct testvm t;
	unsigned int n;
	int i;

	testvm_open(&t);
	info = t.info;
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tally == MAP_FAILED)
		ktap_bail("no memory");
	ktap_plan(OP_MMAP + 5);
	ktap_note("HV_SEED=%#llx", (unsigned long long)r.s);
	/* A few rounds more if chance has left out an outcome of one that is called seldom. */
	for (n = 0; good && left && (n < rounds || time(NULL) < end ||
				     (n < 10 * rounds && !all_outcomes())); n++) {
		good = round_of(&r, n);
		left = nothing_left(t.dev);
	}
	ktap_check(good, "%u processes with %lu calls were killed", n, tally->calls);
	ktap_check(left, "nothing is left of any");
	ktap_check(!tally->odd_errno, "each error is a documented one: %s of %s",
		   tally->odd_errno ? strerror(tally->odd_errno) : "none",
		   tally->odd_errno ? op_name[tally->odd_op] : "any");
	for (i = 0; i <= OP_MMAP; i++) {
		if (i == OP_UNKNOWN)
			ktap_check(outcomes(i), "%s never works", op_name[i]);
		else
			ktap_check(outcomes(i), "%s worked and failed: %lu, %lu", op_name[i],
				   tally->good[i], tally->bad[i]);
	}
	testvm_create(&t, MIB, 1);
	testvm_long(&t, 0, TVM_CODE);
	memcpy(t.mem + TVM_CODE, "\xe6\x10\xf4", 3);
	testvm_expect(&t, 0, HV_EXIT_IO);
	ktap_check(1, "a new guest runs");
	testvm_destroy(&t);
	return ktap_finish();
}
