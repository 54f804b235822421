// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contract 8 and 9, borrow mode: guests of hv run on VMX that KVM has switched on, beside guests of
 * KVM's on the same CPU, and neither side's VMCS or MSRs get into the other's way.
 *
 *	hw_borrow forced	hv.ko was loaded with vmx_borrow=1
 *	hw_borrow		it was not: it borrows where it has to, or where KVM has VMX on
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>
#include "ktap.h"
#include "lib/testvm.h"

#define TURNS	3000
#define SIZE	(2UL << 20)
#define MAGIC	0x30000UL	/* + 0x1000 * guest: where KERNEL_GS_BASE points */
#define CF_DF	0x401

/*
 * Uses the MSRs that it was given as the CPU does: TSC_AUX by RDTSCP, KERNEL_GS_BASE by SWAPGS and
 * a load, STAR, LSTAR and FMASK by SYSCALL, which lands on a place and code segment of this guest's
 * own and clears one flag of two.  Port 0x10: all as RBX and R12 to R15 say; port 0x11: not.
 */
GUEST_CODE(beside,
	"1: rdtscp\n cmp %r12d, %ecx\n jne 9f\n"
	"swapgs\n mov %gs:0, %rax\n swapgs\n cmp %r13, %rax\n jne 9f\n"
	"std\n stc\n syscall\n"
	"9: cld\n out %al, $0x11\n jmp 9b\n"
	".org beside + 64\n mov $0, %edx\n jmp 2f\n"
	".org beside + 96\n mov $1, %edx\n jmp 2f\n"
	".org beside + 128\n mov $2, %edx\n"
	"2: pushfq\n pop %rax\n cld\n and $0x401, %eax\n cmp %ebx, %eax\n jne 9b\n"
	"mov %cs, %eax\n cmp %r14d, %eax\n jne 9b\n"
	"cmp %r15d, %edx\n jne 9b\n"
	"out %al, $0x10\n jmp 1b\n");

/* What guest @n has, distinct in each. */
static uint64_t star(int n)	{ return 0x48ULL + 0x10 * n; }
static uint64_t lstar(int n)	{ return TVM_CODE + 64 + 32 * n; }
static uint64_t fmask(int n)	{ return n % 2 ? 0x1 : 0x400; }
static uint64_t tsc_aux(int n)	{ return 0x7a5 + n; }
static uint64_t magic_at(int n)	{ return MAGIC + 0x1000 * n; }
static uint64_t magic(int n)	{ return 0x1122334455667700ULL + n; }

/* As the guest's code wants them. */
static const int preset[] = { HV_RBX, HV_RBP, HV_R8, HV_R12, HV_R13, HV_R14, HV_R15 };

static uint64_t gpr(int n, int reg)
{
	switch (reg) {
	case HV_RBX: return CF_DF & ~fmask(n);
	case HV_R12: return tsc_aux(n);
	case HV_R13: return magic(n);
	case HV_R14: return star(n);
	case HV_R15: return n;
	default: return 0xabcdef0000ULL + 0x100 * n + reg;
	}
}

static int run(const char *cmd)
{
	return system(cmd);
}

/* ---- a guest of hv ---- */

static void guest_memory(uint8_t *mem)
{
	uint64_t val;
	int n;

	for (n = 0; n < 3; n++) {
		val = magic(n);
		memcpy(mem + magic_at(n), &val, sizeof(val));
	}
	memcpy(mem + TVM_CODE, beside, beside_end - beside);
}

static void hv_guest(struct testvm *t, int n)
{
	struct hv_msrs *m;
	unsigned int i;

	testvm_create(t, SIZE, 1);
	guest_memory(t->mem);
	testvm_long(t, 0, TVM_CODE);
	if (hv_vcpu_get_state(t->vcpu[0], HV_GROUP(HV_GROUP_MSRS)))
		ktap_bail("cannot read the guest's MSRs");
	m = t->vcpu[0]->group[HV_GROUP_MSRS];
	m->star = star(n) << 32;
	m->lstar = lstar(n);
	m->sfmask = fmask(n);
	m->kernel_gs_base = magic_at(n);
	m->tsc_aux = tsc_aux(n);
	for (i = 0; i < sizeof(preset) / sizeof(preset[0]); i++)
		hv_vcpu_regs(t->vcpu[0])->gpr[preset[i]] = gpr(n, preset[i]);
	hv_vcpu_mark_dirty(t->vcpu[0], HV_GROUP(HV_GROUP_REGS) | HV_GROUP(HV_GROUP_MSRS));
}

/* One turn: 0, or 1 if it found something wrong. */
static int hv_turn(struct testvm *t, int n)
{
	const struct hv_regs *r = hv_vcpu_regs(t->vcpu[0]);
	unsigned int i;

	testvm_expect(t, 0, HV_EXIT_IO);
	for (i = 0; i < sizeof(preset) / sizeof(preset[0]); i++)
		if (r->gpr[preset[i]] != gpr(n, preset[i]))
			return 1;
	if (t->vcpu[0]->run->io.port != 0x10) {
		ktap_note("guest %d: rax %#llx rcx %#llx rdx %#llx", n,
			  (unsigned long long)r->gpr[HV_RAX], (unsigned long long)r->gpr[HV_RCX],
			  (unsigned long long)r->gpr[HV_RDX]);
		return 1;
	}
	testvm_done(t, 0, 0);
	return 0;
}

/* ---- a guest of KVM's ---- */

struct kvm_guest {
	int vm, vcpu, run_size;
	struct kvm_run *run;
};

static int kvm_open(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		ktap_bail("/dev/kvm: %s", strerror(errno));
	return kvm;
}

static int kvm_vm(void)
{
	int kvm = kvm_open(), fd = ioctl(kvm, KVM_CREATE_VM, 0L);

	if (fd < 0)
		fd = -errno;
	close(kvm);
	return fd;
}

static void kvm_do(int fd, unsigned long cmd, void *arg, const char *what)
{
	if (ioctl(fd, cmd, arg) < 0)
		ktap_bail("%s: %s", what, strerror(errno));
}

static struct kvm_segment flat(int selector, int type, int is_long)
{
	struct kvm_segment s = {
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .s = 1,
		.g = 1, .l = is_long, .db = !is_long,
	};

	return s;
}

/* With the memory of @like, whose page tables it uses. */
static void kvm_guest(struct kvm_guest *k, const struct testvm *like, int n)
{
	static struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entry[256]; } cpuid;
	struct { struct kvm_msrs head; struct kvm_msr_entry entry[5]; } msrs = { .head.nmsrs = 5 };
	struct kvm_userspace_memory_region mem = { .memory_size = SIZE };
	const int kvm = kvm_open();
	struct kvm_sregs s;
	struct kvm_regs r = { .rip = TVM_CODE, .rflags = 2, .rsp = 0x8000 };
	void *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		ktap_bail("no memory");
	memcpy(p, like->mem, SIZE);
	guest_memory(p);
	mem.userspace_addr = (uintptr_t)p;
	k->vm = ioctl(kvm, KVM_CREATE_VM, 0L);
	if (k->vm < 0)
		ktap_bail("KVM_CREATE_VM: %s", strerror(errno));
	kvm_do(k->vm, KVM_SET_TSS_ADDR, (void *)0xfffbd000UL, "KVM_SET_TSS_ADDR");
	kvm_do(k->vm, KVM_SET_USER_MEMORY_REGION, &mem, "KVM_SET_USER_MEMORY_REGION");
	k->vcpu = ioctl(k->vm, KVM_CREATE_VCPU, 0L);
	if (k->vcpu < 0)
		ktap_bail("KVM_CREATE_VCPU: %s", strerror(errno));
	k->run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0L);
	k->run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->vcpu, 0);
	if (k->run == MAP_FAILED)
		ktap_bail("no run area: %s", strerror(errno));
	cpuid.head.nent = 256;
	kvm_do(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid, "KVM_GET_SUPPORTED_CPUID");
	kvm_do(k->vcpu, KVM_SET_CPUID2, &cpuid, "KVM_SET_CPUID2");

	kvm_do(k->vcpu, KVM_GET_SREGS, &s, "KVM_GET_SREGS");
	s.cs = flat(TVM_SEL_CODE64, 0xb, 1);
	s.ds = s.es = s.fs = s.gs = s.ss = flat(TVM_SEL_DATA, 3, 0);
	s.tr = (struct kvm_segment){ .base = 0x600, .limit = 0x67, .selector = TVM_SEL_TSS,
				     .type = 0xb, .present = 1 };
	s.cr0 = 0x80010031;
	s.cr3 = 0x2000;
	s.cr4 = 0x620;
	s.efer = 0xd01;
	kvm_do(k->vcpu, KVM_SET_SREGS, &s, "KVM_SET_SREGS");
	msrs.entry[0] = (struct kvm_msr_entry){ .index = 0xc0000081, .data = star(n) << 32 };
	msrs.entry[1] = (struct kvm_msr_entry){ .index = 0xc0000082, .data = lstar(n) };
	msrs.entry[2] = (struct kvm_msr_entry){ .index = 0xc0000084, .data = fmask(n) };
	msrs.entry[3] = (struct kvm_msr_entry){ .index = 0xc0000102, .data = magic_at(n) };
	msrs.entry[4] = (struct kvm_msr_entry){ .index = 0xc0000103, .data = tsc_aux(n) };
	if (ioctl(k->vcpu, KVM_SET_MSRS, &msrs) != 5)
		ktap_bail("KVM_SET_MSRS: %s", strerror(errno));
	r.rbx = gpr(n, HV_RBX);
	r.rbp = gpr(n, HV_RBP);
	r.r8 = gpr(n, HV_R8);
	r.r12 = gpr(n, HV_R12);
	r.r13 = gpr(n, HV_R13);
	r.r14 = gpr(n, HV_R14);
	r.r15 = gpr(n, HV_R15);
	kvm_do(k->vcpu, KVM_SET_REGS, &r, "KVM_SET_REGS");
	close(kvm);
}

/* The same as hv_turn().  RSP, RIP and the control registers are in KVM's VMCS. */
static int kvm_turn(struct kvm_guest *k, int n)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	do {
		if (ioctl(k->vcpu, KVM_RUN, 0L) && errno != EINTR) {
			ktap_note("KVM_RUN: %s", strerror(errno));
			return 1;
		}
	} while (k->run->exit_reason == KVM_EXIT_INTR);
	kvm_do(k->vcpu, KVM_GET_REGS, &r, "KVM_GET_REGS");
	kvm_do(k->vcpu, KVM_GET_SREGS, &s, "KVM_GET_SREGS");
	if (k->run->exit_reason != KVM_EXIT_IO || k->run->io.port != 0x10) {
		ktap_note("KVM's guest: exit %u, rip %#llx rax %#llx rcx %#llx rdx %#llx",
			  k->run->exit_reason, (unsigned long long)r.rip, (unsigned long long)r.rax,
			  (unsigned long long)r.rcx, (unsigned long long)r.rdx);
		return 1;
	}
	return r.rbx != gpr(n, HV_RBX) || r.rbp != gpr(n, HV_RBP) || r.r8 != gpr(n, HV_R8) ||
	       r.r12 != gpr(n, HV_R12) || r.r13 != gpr(n, HV_R13) || r.rsp != 0x8000 ||
	       s.cr3 != 0x2000 || s.efer != 0xd01 || s.cs.selector != star(n) || !s.cs.l;
}

/* ---- who may be lent from ---- */

static int create(const struct testvm *t, int kvm_fd)
{
	struct hv_create_vm c = { .size = sizeof(c), .kvm_fd = kvm_fd };
	int fd = ioctl(hv_dev_fd(t->dev), HV_CREATE_VM, &c);

	return fd < 0 ? -errno : fd;
}

static void refused(const struct testvm *t, int fd, int want, const char *what)
{
	int got = create(t, fd);

	ktap_check(got == want, "%s is refused: %d", what, got);
	if (fd >= 0)
		close(fd);
}

static void wrong_fds(const struct testvm *t)
{
	int p[2], kvm = kvm_vm(), vm, fd;

	if (pipe(p) || kvm < 0)
		ktap_bail("no pipe, or no VM of KVM's: %d", kvm);
	close(p[1]);
	refused(t, p[0], -EINVAL, "a pipe");
	refused(t, eventfd(0, 0), -EINVAL, "an eventfd");
	refused(t, kvm_open(), -EINVAL, "/dev/kvm");
	refused(t, ioctl(kvm, KVM_CREATE_VCPU, 0L), -EINVAL, "a vCPU of KVM's");
	fd = open("/tmp/kvm-vm", O_RDWR | O_CREAT, 0600);
	unlink("/tmp/kvm-vm");
	refused(t, fd, -EINVAL, "a file of that name");
	fd = dup(kvm);
	close(fd);
	ktap_check(create(t, fd) == -EBADF, "a closed one is refused");
	ktap_check(create(t, -2) == -EBADF, "one that cannot be is refused");
	vm = create(t, kvm);
	ktap_check(vm >= 0, "a VM of KVM's is taken: %d", vm);
	refused(t, vm, -EINVAL, "a VM of hv's");
	close(kvm);
}

/* ---- */

static struct hv_info info_now(const struct testvm *t)
{
	struct hv_info info;

	if (hv_get_info(t->dev, &info))
		ktap_bail("HV_GET_INFO fails");
	return info;
}

static int msr_fd;

static uint64_t host_msr(uint32_t msr)
{
	uint64_t val = ~0ULL;

	if (pread(msr_fd, &val, 8, msr) != 8)
		ktap_bail("cannot read MSR %#x", msr);
	return val;
}

static struct testvm other;
static atomic_bool stop;

static void *run_other(void *turns)
{
	unsigned long *n = turns;

	for (*n = 0; !atomic_load(&stop); ++*n)
		if (hv_turn(&other, 2))
			return NULL;
	return turns;
}

static void alternate(struct testvm *t)
{
	static const uint32_t own[] = { 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084 };
	uint64_t before[4];
	unsigned int i, turn, wrong[2] = {}, changed = 0, lost = 0;
	unsigned long turns = 0;
	uint32_t lo, hi, aux, now;
	struct kvm_guest k;
	int kvm;
	pthread_t thread;
	void *good;

	for (i = 0; i < 4; i++)
		before[i] = host_msr(own[i]);
	asm volatile("rdtscp" : "=a" (lo), "=d" (hi), "=c" (aux));
	/* Who comes first decides, where nothing else does. */
	kvm = kvm_vm();
	hv_guest(t, 0);
	hv_guest(&other, 2);
	kvm_guest(&k, t, 1);
	close(kvm);
	for (turn = 0; turn < TURNS && !wrong[0] && !wrong[1]; turn++) {
		/* From the middle on a third guest takes the CPU away at any time. */
		if (turn == TURNS / 2 && pthread_create(&thread, NULL, run_other, &turns))
			ktap_bail("no thread");
		wrong[0] += hv_turn(t, 0);
		asm volatile("rdtscp" : "=a" (lo), "=d" (hi), "=c" (now));
		changed += now != aux;
		wrong[1] += kvm_turn(&k, 1);
		asm volatile("rdtscp" : "=a" (lo), "=d" (hi), "=c" (now));
		changed += now != aux;
		for (i = 0; i < 4 && turn % 100 == 0; i++)
			lost += host_msr(own[i]) != before[i];
	}
	atomic_store(&stop, true);
	good = NULL;
	if (turn > TURNS / 2)
		pthread_join(thread, &good);
	ktap_check(turn == TURNS && !wrong[0], "hv's guest found its own %u times", turn);
	ktap_check(turn == TURNS && !wrong[1], "KVM's guest found its own as often");
	ktap_check(good && turns, "so did a second one of hv's in another thread: %lu times", turns);
	ktap_check(!changed, "user space its TSC_AUX: %u times not", changed);
	ktap_check(!lost, "and the host its STAR, LSTAR, CSTAR and FMASK: %u times not", lost);
	munmap(k.run, k.run_size);
	close(k.vcpu);
	close(k.vm);
	testvm_destroy(&other);
}

/* Descriptors of KVM's that this process has. */
static int kvm_fds(void)
{
	char path[32], target[64];
	int fd, n = 0;
	ssize_t len;

	for (fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, target, sizeof(target) - 1);
		if (len > 0) {
			target[len] = 0;
			n += strstr(target, "kvm") != NULL;
		}
	}
	return n;
}

int main(int argc, char **argv)
{
	const bool forced = argc > 1;
	struct testvm t = {};
	struct hv_info info;
	struct hv_vm *vm;
	char why[256];
	cpu_set_t set;
	int err, fd, kvm;
	bool must;

	testvm_open(&t);
	if (t.info.vendor != HV_VENDOR_VMX)
		ktap_skip_all("this CPU has no VMX to borrow");
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		ktap_bail("cannot stay on CPU 0");
	if (run("modprobe msr"))
		ktap_bail("no msr driver");
	msr_fd = open("/dev/cpu/0/msr", O_RDONLY);
	run("modprobe -r kvm_intel");
	ktap_plan(25);

	info = info_now(&t);
	must = info.mode_why == HV_WHY_KERNEL;
	if (forced || must) {
		ktap_check(info.mode == HV_MODE_BORROW && (must || info.mode_why == HV_WHY_FORCED),
			   "the mode is borrow: %u, %u", info.mode, info.mode_why);
		err = hv_vm_create(t.dev, NULL, 0, &vm);
		hv_refusal(t.dev, err, why, sizeof(why));
		ktap_check(err == -ENOENT && strstr(why, "modprobe kvm_intel"),
			   "without KVM a VM is refused: %d, %s", err, why);
		hv_refusal(t.dev, 0, why, sizeof(why));
		ktap_check(strstr(why, "modprobe kvm_intel") != NULL, "and that is known before: %s", why);
	} else {
		ktap_check(info.mode == HV_MODE_OWN && info.mode_why == HV_WHY_FREE,
			   "without KVM the mode is own: %u, %u", info.mode, info.mode_why);
		err = hv_vm_create(t.dev, NULL, 0, &vm);
		ktap_check(!err, "and a VM needs nobody: %d", err);
		/* That is so for as long as it is there. */
		run("modprobe -q kvm_intel");
		info = info_now(&t);
		ktap_check(info.mode == HV_MODE_OWN, "and the next will neither: %u", info.mode);
		hv_vm_destroy(vm);
		run("modprobe -r kvm_intel");
	}

	if (run("modprobe kvm_intel"))
		ktap_bail("no KVM");
	kvm = kvm_vm();
	info = info_now(&t);
	ktap_check(info.mode == HV_MODE_BORROW && info.status == HV_STATUS_OK &&
		   info.mode_why == (must ? HV_WHY_KERNEL : forced ? HV_WHY_FORCED : HV_WHY_KVM),
		   "beside KVM's guest a VM borrows: mode %u, why %u", info.mode, info.mode_why);
	err = create(&t, -1);
	ktap_check(err == (must ? -EOPNOTSUPP : -EBUSY), "one that does not is refused: %d", err);
	wrong_fds(&t);

	/* A guest outlives what it was given. */
	fd = create(&t, kvm);
	close(kvm);
	ktap_check(fd >= 0 && kvm_fds() == 0, "a VM borrows, and KVM's is closed: %d", fd);
	err = create(&t, -1);
	ktap_check(err == (must ? -EOPNOTSUPP : -EBUSY), "beside it one that does not is refused: %d",
		   err);
	ktap_check(run("rmmod kvm_intel 2>&-") != 0, "kvm_intel cannot go");
	testvm_create(&t, SIZE, 1);
	ktap_check(kvm_fds() == 0, "nor is anything of KVM's left open for a guest of libhv's");
	memcpy(t.mem + TVM_CODE, "\xe6\x10\xe6\x10", 4);
	testvm_long(&t, 0, TVM_CODE);
	close(fd);
	testvm_expect(&t, 0, HV_EXIT_IO);
	testvm_done(&t, 0, 0);
	ktap_check(testvm_run(&t, 0) == HV_EXIT_IO, "and that guest runs");
	testvm_destroy(&t);

	testvm_open(&t);
	alternate(&t);
	testvm_destroy(&t);
	ktap_check(!run("rmmod kvm_intel"), "after the last one kvm_intel goes");
	return ktap_finish();
}
