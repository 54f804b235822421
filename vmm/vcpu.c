// SPDX-License-Identifier: GPL-2.0-only
/*
 * vcpu.c - vCPU threads: run the guest, serve its exits (include/uapi/hv.h,
 * contracts 1 to 3 and 7).
 *
 * A thread leaves the guest when it is kicked and stands ("parked") while
 * vm->hold is set.  Everything a guest does ends in an exit served here; none of
 * it may end the process or wait for the main loop.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/boot.h"
#include "hv/hv.h"
#include "platform.h"
#include "vcpu.h"
#include "vm.h"

#define VCPU_STACK	(128 * 1024)

/* ---- the guest's devices and memory, for libhv's assists ---- */

static int cb_io(void *opaque, uint32_t id, uint16_t port, bool in, uint32_t size, void *data)
{
	struct vm *vm = opaque;
	uint64_t value = 0;

	if (in) {
		bus_read(&vm->pio, &vm->vcpus[id].pio_cache, port, size, &value);
		memcpy(data, &value, size);
	} else {
		memcpy(&value, data, size);
		bus_write(&vm->pio, &vm->vcpus[id].pio_cache, port, size, value);
	}
	return 0;
}

static int cb_mem(void *opaque, uint32_t id, uint64_t gpa, bool write, uint32_t size, void *data)
{
	struct vm *vm = opaque;
	uint8_t *p = data;
	uint64_t value;
	uint32_t n;

	/* Devices have registers of at most 8 bytes; a vector access is several. */
	for (; size; size -= n, p += n, gpa += n) {
		n = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
		value = 0;
		if (write) {
			memcpy(&value, p, n);
			bus_write(&vm->mmio, &vm->vcpus[id].mmio_cache, gpa, n, value);
		} else {
			bus_read(&vm->mmio, &vm->vcpus[id].mmio_cache, gpa, n, &value);
			memcpy(p, &value, n);
		}
	}
	return 0;
}

static int cb_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	return guest_read(opaque, gpa, buf, len);
}

static int cb_write(void *opaque, uint64_t gpa, const void *buf, size_t len)
{
	return guest_write(opaque, gpa, buf, len);
}

static int cb_cmpxchg(void *opaque, uint64_t gpa, uint64_t old, uint64_t value, uint32_t size)
{
	return guest_cmpxchg(opaque, gpa, old, value, size);
}

void vcpu_callbacks(struct vm *vm, struct hv_callbacks *cb)
{
	*cb = (struct hv_callbacks){
		.opaque = vm,
		.io = cb_io,
		.mem = cb_mem,
		.guest_read = cb_read,
		.guest_write = cb_write,
		.guest_cmpxchg = cb_cmpxchg,
	};
}

/* ---- when it cannot go on ---- */

static void dump_segment(struct vcpu *vcpu, const char *name, const struct hv_seg *s)
{
	log_error(vcpu->vm, "  %s %04x base %016llx limit %08x attr %05x", name, s->selector,
		  (unsigned long long)s->base, s->limit, s->attr);
}

/* Does the guest's own paging map @gva, and to what?  Tells a guest that has lost its
 * page tables from a CPU that does not see them. */
static void dump_mapping(struct vcpu *vcpu, const char *name, uint64_t gva)
{
	uint8_t bytes[16] = { 0 };
	char text[3 * sizeof(bytes) + 1] = "";
	unsigned int i;
	uint64_t gpa;

	if (hv_vcpu_translate(vcpu->hv, gva, 0, &gpa)) {
		log_error(vcpu->vm, "  %s %#llx is not mapped", name, (unsigned long long)gva);
		return;
	}
	if (guest_read(vcpu->vm, gpa, bytes, sizeof(bytes))) {
		log_error(vcpu->vm, "  %s %#llx maps to %#llx, which is no memory", name,
			  (unsigned long long)gva, (unsigned long long)gpa);
		return;
	}
	for (i = 0; i < sizeof(bytes); i++)
		snprintf(text + 3 * i, 4, " %02x", bytes[i]);
	log_error(vcpu->vm, "  %s %#llx maps to %#llx:%s", name, (unsigned long long)gva,
		  (unsigned long long)gpa, text);
}

/* @segs: they mean something (not after a shutdown: APM vol. 2 section 15.14.3). */
static void vcpu_dump(struct vcpu *vcpu, bool segs)
{
	static const char *const name[16] = {
		"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15",
	};
	static const char *const seg[HV_SEG_COUNT] = {
		"es  ", "cs  ", "ss  ", "ds  ", "fs  ", "gs  ", "ldtr", "tr  ",
	};
	struct hv_vcpu *hv = vcpu->hv;
	const struct hv_control *c = hv_vcpu_control(hv);
	const struct hv_regs *r = hv_vcpu_regs(hv);
	const struct hv_segs *s = hv_vcpu_segs(hv);
	unsigned int i;

	if (hv_vcpu_need(hv, HV_GROUP(HV_GROUP_REGS) | HV_GROUP(HV_GROUP_SEGS) |
			 HV_GROUP(HV_GROUP_CONTROL)))
		return;
	log_error(vcpu->vm, "vCPU %u: rip %016llx rflags %08llx", vcpu->id,
		  (unsigned long long)r->rip, (unsigned long long)r->rflags);
	for (i = 0; i < 16; i += 4)
		log_error(vcpu->vm, "  %s %016llx %s %016llx %s %016llx %s %016llx",
			  name[i], (unsigned long long)r->gpr[i],
			  name[i + 1], (unsigned long long)r->gpr[i + 1],
			  name[i + 2], (unsigned long long)r->gpr[i + 2],
			  name[i + 3], (unsigned long long)r->gpr[i + 3]);
	for (i = 0; segs && i < HV_SEG_COUNT; i++)
		dump_segment(vcpu, seg[i], &s->seg[i]);
	if (segs)
		log_error(vcpu->vm, "  gdtr %016llx/%04x idtr %016llx/%04x",
			  (unsigned long long)s->gdtr.base, s->gdtr.limit,
			  (unsigned long long)s->idtr.base, s->idtr.limit);
	log_error(vcpu->vm, "  cr0 %llx cr2 %llx cr3 %llx cr4 %llx cr8 %llx efer %llx xcr0 %llx",
		  (unsigned long long)c->cr0, (unsigned long long)c->cr2,
		  (unsigned long long)c->cr3, (unsigned long long)c->cr4,
		  (unsigned long long)c->cr8, (unsigned long long)c->efer,
		  (unsigned long long)c->xcr0);
	dump_mapping(vcpu, "rip", r->rip);
	if (c->cr2)
		dump_mapping(vcpu, "cr2", c->cr2);
}

static void vcpu_fail(struct vcpu *vcpu, const char *text)
{
	log_error(vcpu->vm, "vCPU %u: %s; please report it with the output of `vmm info --host`",
		  vcpu->id, text);
	vcpu_dump(vcpu, true);
	vm_request_stop(vcpu->vm, VM_CAUSE_FAILURE, 0, text);
}

static void exit_fail(struct vcpu *vcpu)
{
	const struct hv_run *run = vcpu->hv->run;
	char text[200];

	snprintf(text, sizeof(text), "exit %s: reason %#llx, %#llx %#llx %#llx, host CPU %u",
		 hv_exit_name(run->exit_reason), (unsigned long long)run->fail.reason,
		 (unsigned long long)run->fail.info[0], (unsigned long long)run->fail.info[1],
		 (unsigned long long)run->fail.info[2], run->fail.cpu);
	vcpu_fail(vcpu, text);
}

static void exit_assist(struct vcpu *vcpu, int ret)
{
	const char *why;
	char text[200];

	if (!ret)
		return;
	why = hv_vcpu_error(vcpu->hv);
	snprintf(text, sizeof(text), "cannot complete exit %s: %s",
		 hv_exit_name(vcpu->hv->run->exit_reason), why && *why ? why : strerror(-ret));
	vcpu_fail(vcpu, text);
}

static void exit_memory_fault(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	const struct hv_exit_fault *f = &vcpu->hv->run->fault;
	const char *how = f->access & HV_ACCESS_WRITE ? "write to" :
			  f->access & HV_ACCESS_EXEC ? "execution of" : "read of";
	char text[128];

	snprintf(text, sizeof(text), "%s guest memory at %#llx: the host cannot provide it (%s)",
		 how, (unsigned long long)f->gpa, strerror((int)f->cause));
	log_error(vm, "vCPU %u: %s", vcpu->id, text);
	if (!strcmp(config_string(vm->config, "memory_fault"), "pause"))
		vm_request_pause(vm, "memory-fault");
	else
		vm_request_stop(vm, VM_CAUSE_MEMORY_FAULT, 0, text);
}

static void exit_msr(struct vcpu *vcpu)
{
	const struct hv_exit_msr *m = &vcpu->hv->run->msr;
	uint64_t value = m->data;

	if (msr_access(vcpu, m->index, m->write, &value))
		exit_assist(vcpu, hv_vcpu_msr_done(vcpu->hv, value));
	else
		exit_assist(vcpu, hv_vcpu_msr_refuse(vcpu->hv));
}

static void exit_shutdown(struct vcpu *vcpu)
{
	char text[96];

	hv_vcpu_need(vcpu->hv, HV_GROUP(HV_GROUP_REGS));
	snprintf(text, sizeof(text), "triple fault of vCPU %u at rip %#llx", vcpu->id,
		 (unsigned long long)hv_vcpu_regs(vcpu->hv)->rip);
	if (!vcpu->vm->quiet)
		vcpu_dump(vcpu, false);
	vm_request_stop(vcpu->vm, VM_CAUSE_TRIPLE_FAULT, 0, text);
}

static void vcpu_exit(struct vcpu *vcpu)
{
	const struct hv_run *run = vcpu->hv->run;
	char text[64];
	int vector;

	switch (run->exit_reason) {
	case HV_EXIT_NONE:
	case HV_EXIT_KICK:
	case HV_EXIT_SIGNAL:
	case HV_EXIT_WINDOW:
		break;
	case HV_EXIT_IO:
		exit_assist(vcpu, hv_assist_io(vcpu->hv));
		break;
	case HV_EXIT_MMIO:
	case HV_EXIT_APIC:
	case HV_EXIT_INSN:
		exit_assist(vcpu, hv_assist_mem(vcpu->hv));
		break;
	case HV_EXIT_MSR:
		exit_msr(vcpu);
		break;
	case HV_EXIT_EOI:
		platform_eoi(vcpu->vm, (uint8_t)run->eoi.vector);
		break;
	case HV_EXIT_EXTINT:
		vector = platform_inta(vcpu->vm);
		if (vector >= 0)
			exit_assist(vcpu, hv_vcpu_inject_extint(vcpu->hv, (uint8_t)vector));
		break;
	case HV_EXIT_MEMORY_FAULT:
		exit_memory_fault(vcpu);
		break;
	case HV_EXIT_SHUTDOWN:
		exit_shutdown(vcpu);
		break;
	case HV_EXIT_FAIL_ENTRY:
	case HV_EXIT_INTERNAL:
		exit_fail(vcpu);
		break;
	default:
		snprintf(text, sizeof(text), "unexpected exit %u", run->exit_reason);
		vcpu_fail(vcpu, text);
		break;
	}
}

/* ---- the thread ---- */

/* Stands until the hold is over; false: end the thread. */
static bool vcpu_stand(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	bool go;

	pthread_mutex_lock(&vm->vcpu_lock);
	vcpu->parked = true;
	pthread_cond_broadcast(&vm->vcpu_cond);
	while (__atomic_load_n(&vm->hold, __ATOMIC_ACQUIRE) && !vm->quit)
		pthread_cond_wait(&vm->vcpu_cond, &vm->vcpu_lock);
	vcpu->parked = false;
	go = !vm->quit;
	pthread_mutex_unlock(&vm->vcpu_lock);
	return go;
}

static void *vcpu_main(void *arg)
{
	struct vcpu *vcpu = arg;
	struct vm *vm = vcpu->vm;
	char text[80];
	int ret;

	snprintf(text, 16, "vcpu%u", vcpu->id);
	pthread_setname_np(pthread_self(), text);
	pthread_mutex_lock(&vm->vcpu_lock);
	vcpu->tid = gettid();
	pthread_mutex_unlock(&vm->vcpu_lock);
	for (;;) {
		/* Whoever sets hold kicks afterwards; the kick is sticky, so an entry
		 * between this look and the kick returns at once. */
		if (__atomic_load_n(&vm->hold, __ATOMIC_ACQUIRE) && !vcpu_stand(vcpu))
			break;
		ret = hv_vcpu_run(vcpu->hv);
		if (ret == -EINTR)
			continue;
		if (ret) {
			snprintf(text, sizeof(text), "cannot run: %s", strerror(-ret));
			vcpu_fail(vcpu, text);
			continue;
		}
		vcpu_exit(vcpu);
	}
	return NULL;
}

void vcpus_kick(struct vm *vm)
{
	if (vm->hv)
		hv_vm_kick(vm->hv);
}

void vcpus_park(struct vm *vm)
{
	unsigned int i;

	vcpus_kick(vm);
	pthread_mutex_lock(&vm->vcpu_lock);
	for (i = 0; i < vm->nr_vcpus; i++)
		while (vm->vcpus[i].started && !vm->vcpus[i].parked)
			pthread_cond_wait(&vm->vcpu_cond, &vm->vcpu_lock);
	pthread_mutex_unlock(&vm->vcpu_lock);
}

void vcpus_release(struct vm *vm)
{
	pthread_mutex_lock(&vm->vcpu_lock);
	pthread_cond_broadcast(&vm->vcpu_cond);
	pthread_mutex_unlock(&vm->vcpu_lock);
}

/* ---- state ---- */

static uint64_t vcpu_groups(const struct hv_vcpu *hv)
{
	uint64_t groups = 0;
	unsigned int i;

	for (i = 0; i < HV_GROUP_COUNT; i++)
		if (hv->group[i])
			groups |= HV_GROUP(i);
	return groups;
}

/* Copies all groups between the run area and vcpu->power_on. */
static void vcpu_image(struct vcpu *vcpu, const struct hv_info *info, bool save)
{
	uint8_t *p = vcpu->power_on;
	unsigned int i;

	for (i = 0; i < HV_GROUP_COUNT; i++) {
		if (!vcpu->hv->group[i])
			continue;
		if (save)
			memcpy(p, vcpu->hv->group[i], info->group[i].size);
		else
			memcpy(vcpu->hv->group[i], p, info->group[i].size);
		p += info->group[i].size;
	}
}

/*
 * Serves what the module still has to say of the last exit (an EOI that is owed), so that
 * the state groups are all there is.
 */
static int vcpu_drain(struct vcpu *vcpu)
{
	int ret, turns;

	for (turns = 0; turns < 64; turns++) {
		ret = hv_vcpu_kick(vcpu->hv);
		if (!ret)
			ret = hv_vcpu_run(vcpu->hv);
		if (ret && ret != -EINTR)
			return ret;
		if (!ret && vcpu->hv->run->exit_reason == HV_EXIT_KICK)
			return 0;
		if (!ret)
			vcpu_exit(vcpu);
	}
	return -EBUSY;
}

static int vcpu_copy(struct vcpu *vcpu, struct hv_vm *to, const struct hv_info *info,
		     struct hv_vcpu **new)
{
	unsigned int i;
	int ret;

	ret = hv_vcpu_get_state(vcpu->hv, vcpu_groups(vcpu->hv));
	if (!ret)
		ret = hv_vcpu_create(to, vcpu->id, new);
	if (ret)
		return ret;
	for (i = 0; i < HV_GROUP_COUNT; i++)
		if ((*new)->group[i])
			memcpy((*new)->group[i], vcpu->hv->group[i], info->group[i].size);
	return hv_vcpu_set_state(*new, vcpu_groups(*new));
}

int vcpus_rebuild(struct vm *vm, struct hv_vm *old)
{
	struct hv_vcpu **new = calloc(vm->nr_vcpus, sizeof(struct hv_vcpu *)), *hv;
	struct hv_vm *to = vm->hv;
	struct hv_info info;
	unsigned int i;
	int ret;

	if (!new)
		return -ENOMEM;
	ret = hv_get_info(vm->hv_dev, &info);
	/*
	 * What an exit still does, it does to the old one, and perhaps to another vCPU there (an EOI
	 * brings the next interrupt of a level-triggered pin): so no copy before the last is served.
	 */
	vm->hv = old;
	for (i = 0; !ret && i < vm->nr_vcpus; i++)
		ret = vcpu_drain(&vm->vcpus[i]);
	for (i = 0; !ret && i < vm->nr_vcpus; i++)
		ret = vcpu_copy(&vm->vcpus[i], to, &info, &new[i]);
	vm->hv = to;
	/* Whichever are not wanted go. */
	for (i = 0; i < vm->nr_vcpus; i++) {
		hv = ret ? new[i] : vm->vcpus[i].hv;
		if (!ret)
			vm->vcpus[i].hv = new[i];
		if (hv)
			hv_vcpu_destroy(hv);
	}
	free(new);
	return ret;
}

static void entry_set(struct hv_vcpu *hv, const struct boot_entry *entry)
{
	const uint32_t data = HV_SEG_P | HV_SEG_S | HV_SEG_DB | HV_SEG_G | 0x3;
	const uint32_t code = HV_SEG_P | HV_SEG_S | HV_SEG_G | 0xb;
	const bool lm = entry->mode == BOOT_LONG;
	struct hv_control *c = hv_vcpu_control(hv);
	struct hv_regs *r = hv_vcpu_regs(hv);
	struct hv_segs *s = hv_vcpu_segs(hv);
	unsigned int i;

	memset(r, 0, sizeof(*r));
	r->rip = entry->rip;
	r->rflags = 2;
	r->gpr[HV_RAX] = entry->rax;
	r->gpr[HV_RBX] = entry->rbx;
	r->gpr[HV_RSI] = entry->rsi;

	for (i = 0; i <= HV_GS; i++) {
		s->seg[i].base = 0;
		s->seg[i].limit = 0xffffffff;
		s->seg[i].selector = i == HV_CS ? 0x10 : 0x18;
		s->seg[i].attr = i != HV_CS ? data : code | (lm ? HV_SEG_L : HV_SEG_DB);
	}
	s->seg[HV_TR] = (struct hv_seg){ .limit = 0x67, .attr = HV_SEG_P | 0xb };
	s->seg[HV_LDTR] = (struct hv_seg){ .attr = HV_SEG_P | 0x2 };
	s->gdtr.base = lm ? BOOT_GDT : 0;
	s->gdtr.limit = lm ? 4 * 8 - 1 : 0;
	s->idtr.base = 0;
	s->idtr.limit = 0;

	c->cr0 = 0x31;				/* PE, ET, NE */
	if (lm) {
		c->cr0 |= 0x80000000;		/* PG */
		c->cr3 = BOOT_PAGE_TABLES;
		c->cr4 = 0x20;			/* PAE */
		c->efer = 0x500;		/* LME, LMA */
	}
}

int vcpus_reset(struct vm *vm, const struct boot_entry *entry)
{
	struct hv_info info;
	struct vcpu *vcpu;
	unsigned int i;
	int ret;

	ret = hv_get_info(vm->hv_dev, &info);
	for (i = 0; !ret && i < vm->nr_vcpus; i++) {
		struct hv_msrs *msrs;

		vcpu = &vm->vcpus[i];
		vcpu_image(vcpu, &info, false);
		/* Firmware would have left memory write-back: MTRRs on, default type 6. */
		msrs = hv_vcpu_group(vcpu->hv, HV_GROUP_MSRS);
		if (msrs)
			msrs->mtrr_def_type = 0x806;
		if (!i)
			entry_set(vcpu->hv, entry);
		/* The exit that asked for the reset is not to be completed. */
		vcpu->hv->run->retire = 0;
		vcpu->hv->run->dirty = 0;
		ret = hv_vcpu_set_state(vcpu->hv, vcpu_groups(vcpu->hv));
	}
	if (ret)
		log_error(vm, "cannot reset the vCPUs: %s", strerror(-ret));
	return ret;
}

/* ---- set-up and end ---- */

static int vcpu_create(struct vm *vm, unsigned int id, const struct hv_info *info)
{
	struct vcpu *vcpu = &vm->vcpus[id];
	size_t size = 0;
	unsigned int i;
	int ret;

	vcpu->vm = vm;
	vcpu->id = id;
	ret = hv_vcpu_create(vm->hv, id, &vcpu->hv);
	if (ret)
		return ret;
	ret = hv_vcpu_get_state(vcpu->hv, vcpu_groups(vcpu->hv));
	if (ret)
		return ret;
	for (i = 0; i < HV_GROUP_COUNT; i++)
		size += vcpu->hv->group[i] ? info->group[i].size : 0;
	vcpu->power_on = malloc(size);
	if (!vcpu->power_on)
		return -ENOMEM;
	vcpu_image(vcpu, info, true);
	return 0;
}

static int vcpu_thread(struct vcpu *vcpu)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, VCPU_STACK);
	/* Signals are for the main loop; kicks do not need any. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&vcpu->thread, &attr, vcpu_main, vcpu);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	vcpu->started = !ret;
	return ret;
}

int vcpus_create(struct vm *vm)
{
	struct hv_info info;
	char line[256];
	unsigned int i;
	int ret;

	ret = hv_get_info(vm->hv_dev, &info);
	if (!ret && vm->nr_vcpus > info.max_vcpus) {
		log_error(vm, "%u vCPUs are more than this hv.ko can run (%u); give less with "
			  "--cpus", vm->nr_vcpus, info.max_vcpus);
		return -EINVAL;
	}
	vm->vcpus = calloc(vm->nr_vcpus, sizeof(*vm->vcpus));
	if (!vm->vcpus)
		ret = -ENOMEM;
	for (i = 0; !ret && i < vm->nr_vcpus; i++)
		ret = vcpu_create(vm, i, &info);
	if (ret) {
		log_error(vm, "cannot create a vCPU: %s",
			  hv_refusal(vm->hv_dev, ret, line, sizeof(line)));
		return ret;
	}
	return 0;
}

int vcpus_start(struct vm *vm)
{
	unsigned int i;
	int ret;

	for (i = 0; i < vm->nr_vcpus; i++) {
		ret = vcpu_thread(&vm->vcpus[i]);
		if (ret) {
			log_error(vm, "cannot start a vCPU thread: %s", strerror(-ret));
			return ret;
		}
	}
	vcpus_park(vm);
	return 0;
}

/* Ends the threads.  The devices are still there; nobody calls them afterwards. */
void vcpus_stop(struct vm *vm)
{
	unsigned int i;

	if (!vm->vcpus)
		return;
	__atomic_store_n(&vm->hold, true, __ATOMIC_RELEASE);
	pthread_mutex_lock(&vm->vcpu_lock);
	vm->quit = true;
	pthread_cond_broadcast(&vm->vcpu_cond);
	pthread_mutex_unlock(&vm->vcpu_lock);
	vcpus_kick(vm);
	for (i = 0; i < vm->nr_vcpus; i++) {
		if (!vm->vcpus[i].started)
			continue;
		pthread_join(vm->vcpus[i].thread, NULL);
		vm->vcpus[i].started = false;
	}
}

void vcpus_destroy(struct vm *vm)
{
	unsigned int i;

	if (!vm->vcpus)
		return;
	vcpus_stop(vm);
	for (i = 0; i < vm->nr_vcpus; i++) {
		hv_vcpu_destroy(vm->vcpus[i].hv);
		free(vm->vcpus[i].power_on);
	}
	free(vm->vcpus);
	vm->vcpus = NULL;
}
