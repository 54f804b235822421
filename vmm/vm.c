// SPDX-License-Identifier: GPL-2.0-only
/*
 * vm.c - life and death of the guest: set-up, start, pause, reset, end (vm.h).
 *
 * Everything here runs on the main thread, except vm_request_*() and
 * vm_event().  vm_pause() is the one pause (contract 7).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <json-c/json.h>

#include "boot/boot.h"
#include "console.h"
#include "control/control.h"
#include "device.h"
#include "hv/hv.h"
#include "platform.h"
#include "vcpu.h"
#include "vm.h"

#define STOP_GRACE_NS	(10ULL * 1000000000ULL)	/* SIGTERM to the end by force */

const char *vm_state_name(enum vm_state state)
{
	static const char *const name[] = { "starting", "running", "paused", "stopped" };

	return name[state];
}

const char *vm_cause_name(enum vm_cause cause)
{
	static const char *const name[] = {
		[VM_CAUSE_NONE] = "none",
		[VM_CAUSE_POWER_OFF] = "power-off",
		[VM_CAUSE_REBOOT] = "reboot",
		[VM_CAUSE_STOPPED] = "stopped",
		[VM_CAUSE_DEBUG_EXIT] = "debug-exit",
		[VM_CAUSE_TRIPLE_FAULT] = "triple-fault",
		[VM_CAUSE_PANIC] = "panic",
		[VM_CAUSE_MEMORY_FAULT] = "memory-fault",
		[VM_CAUSE_FAILURE] = "failure",
	};

	return name[cause];
}

/* The table of vmm(1), EXIT STATUS. */
static int cause_status(enum vm_cause cause, int status)
{
	switch (cause) {
	case VM_CAUSE_NONE:
	case VM_CAUSE_POWER_OFF:
		return 0;
	case VM_CAUSE_REBOOT:
		return 10;
	case VM_CAUSE_TRIPLE_FAULT:
		return 12;
	case VM_CAUSE_PANIC:
		return 14;
	case VM_CAUSE_MEMORY_FAULT:
		return 16;
	case VM_CAUSE_STOPPED:
		return status ? status : 18;	/* 128 + signal, or the user's command */
	case VM_CAUSE_FAILURE:
		return 20;
	case VM_CAUSE_DEBUG_EXIT:
		return status & 0xff;
	}
	return 1;
}

/* ---- requests of other threads ---- */

bool vm_request_pending(struct vm *vm)
{
	return __atomic_load_n(&vm->hold, __ATOMIC_ACQUIRE);
}

/* The hold comes first and the kick after it: see vcpu_main(). */
static void request_post(struct vm *vm)
{
	__atomic_store_n(&vm->hold, true, __ATOMIC_RELEASE);
	vcpus_kick(vm);
	loop_defer(&vm->loop, &vm->request_call);
}

void vm_request_stop(struct vm *vm, enum vm_cause cause, int status, const char *text)
{
	pthread_mutex_lock(&vm->lock);
	if (cause == VM_CAUSE_POWER_OFF && vm->restart) {
		vm->want_reset = true;
		snprintf(vm->reset_text, sizeof(vm->reset_text), "power-off to restart");
	} else if (!vm->want_stop) {
		vm->want_stop = true;
		vm->cause = cause;
		vm->exit_status = cause_status(cause, status);
		snprintf(vm->cause_text, sizeof(vm->cause_text), "%s", text);
	}
	pthread_mutex_unlock(&vm->lock);
	request_post(vm);
}

void vm_set_restart(struct vm *vm, bool restart)
{
	pthread_mutex_lock(&vm->lock);
	vm->restart = restart;
	pthread_mutex_unlock(&vm->lock);
}

void vm_request_reset(struct vm *vm, const char *text)
{
	if (!strcmp(config_string(vm->config, "reboot"), "exit")) {
		vm_request_stop(vm, VM_CAUSE_REBOOT, 0, text);
		return;
	}
	pthread_mutex_lock(&vm->lock);
	vm->want_reset = true;
	snprintf(vm->reset_text, sizeof(vm->reset_text), "%s", text);
	pthread_mutex_unlock(&vm->lock);
	request_post(vm);
}

void vm_request_pause(struct vm *vm, const char *reason)
{
	pthread_mutex_lock(&vm->lock);
	vm->want_pause = true;
	vm->pause_reason = reason;
	pthread_mutex_unlock(&vm->lock);
	request_post(vm);
}

/* ---- pause, resume, reset ---- */

static void state_event(struct vm *vm)
{
	struct json_object *data = json_object_new_object();

	json_object_object_add(data, "state", json_object_new_string(vm_state_name(vm->state)));
	json_object_object_add(data, "reason", json_object_new_string(vm->reason));
	vm_event(vm, "state", data);
}

static void state_set(struct vm *vm, enum vm_state state, const char *reason)
{
	pthread_mutex_lock(&vm->lock);
	vm->state = state;
	vm->reason = reason;
	pthread_mutex_unlock(&vm->lock);
}

/* Brings everything of the guest to a stand; nests. */
static void guest_stop(struct vm *vm)
{
	if (vm->pause_count++)
		return;
	__atomic_store_n(&vm->hold, true, __ATOMIC_RELEASE);
	vcpus_park(vm);
	/* Devices drain while I/O threads still complete what is under way. */
	device_pause_all(vm);
	iothread_park_all(vm);
	loop_clock_stop(&vm->loop);
	vm->clock_saved = !hv_get_clock(vm->hv, &vm->clock);
}

/* Unless a request that came meanwhile keeps the vCPUs standing. */
static void hold_clear(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	if (!vm->want_stop && !vm->want_reset && !vm->want_pause)
		__atomic_store_n(&vm->hold, false, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&vm->lock);
}

static void guest_go(struct vm *vm)
{
	if (!vm->pause_count || --vm->pause_count)
		return;
	if (vm->clock_saved) {
		/* The guest's clocks go on where they stood, all of them together. */
		vm->clock.size = sizeof(vm->clock);
		vm->clock.flags = HV_CLOCK_SET_TSC | HV_CLOCK_SET_NS;
		hv_set_clock(vm->hv, &vm->clock);
		vm->clock_saved = false;
	}
	loop_clock_start(&vm->loop);
	iothread_unpark_all(vm);
	device_resume_all(vm);
	hold_clear(vm);
	vcpus_release(vm);
}

void vm_pause(struct vm *vm, const char *reason)
{
	bool first = !vm->pause_count;

	guest_stop(vm);
	if (first) {
		state_set(vm, VM_PAUSED, reason);
		state_event(vm);
	}
}

void vm_resume(struct vm *vm)
{
	if (!vm->pause_count)
		return;
	if (vm->pause_count == 1)
		state_set(vm, VM_RUNNING, "resumed");
	guest_go(vm);
	if (!vm->pause_count)
		state_event(vm);
}

/* Memory and vCPUs to the first instruction.  Devices are in reset state. */
static int guest_load(struct vm *vm)
{
	struct boot_entry entry;
	int ret;

	ret = platform_boot_prepare(vm, &vm->boot->rsdp);
	if (!ret)
		ret = boot_load(vm, &entry);
	if (!ret)
		ret = vcpus_reset(vm, &entry);
	return ret;
}

int vm_reset(struct vm *vm, const char *text)
{
	struct json_object *data;
	int ret;

	guest_stop(vm);
	vm_set_restart(vm, false);
	log_info(vm, "reset: %s", text);
	device_reset_all(vm);
	vm->clock_saved = false;	/* nobody is left who would miss the time */
	ret = guest_load(vm);
	if (ret)
		vm_request_stop(vm, VM_CAUSE_FAILURE, 0, "the guest cannot be started again");
	guest_go(vm);
	data = json_object_new_object();
	json_object_object_add(data, "reason", json_object_new_string(text));
	vm_event(vm, "reset", data);
	return ret;
}

/* Main loop: what vm_request_*() asked for. */
static void request_run(void *opaque)
{
	struct vm *vm = opaque;
	bool stop, reset, pause;
	const char *reason;
	char text[sizeof(vm->reset_text)];

	pthread_mutex_lock(&vm->lock);
	stop = vm->want_stop;
	reset = vm->want_reset;
	pause = vm->want_pause;
	reason = vm->pause_reason;
	memcpy(text, vm->reset_text, sizeof(text));
	vm->want_reset = vm->want_pause = false;
	pthread_mutex_unlock(&vm->lock);
	if (stop) {
		loop_stop(&vm->loop);
		return;
	}
	if (pause && !vm->pause_count)
		vm_pause(vm, reason);
	if (reset)
		vm_reset(vm, text);
	if (vm->pause_count)
		return;
	/* A request that had nothing left to do: let them go on. */
	hold_clear(vm);
	vcpus_release(vm);
}

/* ---- signals ---- */

static void grace_over(void *opaque)
{
	struct vm *vm = opaque;

	vm_request_stop(vm, VM_CAUSE_STOPPED, 128 + vm->signal,
			"it did not power off within 10 seconds of the signal");
}

/*
 * vmm(1), SIGNALS: INT ends the guest at once.  TERM and HUP press its power
 * button; 10 seconds later, or on a second one, it ends.
 */
static void signal_event(void *opaque, uint32_t events)
{
	struct signalfd_siginfo info;
	struct vm *vm = opaque;
	char text[48];

	(void)events;
	if (read(vm->signal_fd.fd, &info, sizeof(info)) != sizeof(info))
		return;
	snprintf(text, sizeof(text), "signal %u (%s)", info.ssi_signo,
		 strsignal((int)info.ssi_signo));
	if (info.ssi_signo == SIGINT || vm->signal || vm->pause_count) {
		vm_request_stop(vm, VM_CAUSE_STOPPED, 128 + (int)info.ssi_signo, text);
		return;
	}
	vm->signal = (int)info.ssi_signo;
	log_info(vm, "%s: pressing the guest's power button; again to end it at once", text);
	platform_power_button(vm);
	vm->grace = (struct loop_timer){ .fn = grace_over, .opaque = vm,
					 .clock = LOOP_CLOCK_HOST };
	loop_timer_arm(&vm->loop, &vm->grace,
		       loop_now(&vm->loop, LOOP_CLOCK_HOST) + STOP_GRACE_NS);
}

static int signals_create(struct vm *vm)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	vm->signal_fd = (struct loop_fd){
		.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
		.events = EPOLLIN, .fn = signal_event, .opaque = vm,
	};
	if (vm->signal_fd.fd < 0)
		return -errno;
	return loop_fd_add(&vm->loop, &vm->signal_fd);
}

/* ---- a new VM object for the same guest ---- */

int vm_rebuild(struct vm *vm)
{
	struct hv_vm *old = vm->hv;
	struct hv_callbacks cb;
	int ret;

	guest_stop(vm);
	vcpu_callbacks(vm, &cb);
	ret = vm->clock_saved ? hv_vm_create(vm->hv_dev, &cb, 0, &vm->hv) : -EIO;
	if (ret) {
		vm->hv = old;
		goto out;
	}
	/* The clock before the state, which holds deadlines on it. */
	vm->clock.size = sizeof(vm->clock);
	vm->clock.flags = HV_CLOCK_SET_TSC | HV_CLOCK_SET_NS;
	ret = hv_set_clock(vm->hv, &vm->clock);
	if (!ret)
		ret = cpuid_set(vm);
	if (!ret)
		ret = memory_rebind(vm);
	if (!ret)
		ret = vcpus_rebuild(vm, old);
	if (ret) {
		hv_vm_destroy(vm->hv);
		vm->hv = old;
		goto out;
	}
	/* The vCPUs live in the new one now: what cannot be bound there is the guest's end. */
	ret = irq_rebind(vm, old);
	if (!ret)
		ret = device_rebind_all(vm);
	hv_vm_destroy(old);
	if (ret)
		vm_request_stop(vm, VM_CAUSE_FAILURE, 0, "its interrupts cannot be bound again");
out:
	guest_go(vm);
	return ret;
}

/* ---- set-up and end ---- */

void vm_event(struct vm *vm, const char *event, struct json_object *data)
{
	if (vm->control)
		control_event(vm, event, data);
	else
		json_object_put(data);
}

static int hv_create(struct vm *vm)
{
	struct hv_callbacks cb;
	struct hv_info info;
	char line[256];
	int ret;

	ret = hv_open(NULL, &vm->hv_dev);
	if (!ret)
		ret = hv_get_info(vm->hv_dev, &info);
	if (!ret) {
		vm->gpa_bits = info.gpa_bits;
		vcpu_callbacks(vm, &cb);
		ret = hv_vm_create(vm->hv_dev, &cb, 0, &vm->hv);
	}
	if (ret)
		log_error(vm, "%s", hv_refusal(vm->hv_dev, ret, line, sizeof(line)));
	return ret;
}

static int buses_create(struct vm *vm)
{
	int ret = bus_init(&vm->pio, 0xffff);

	if (!ret)
		ret = bus_init(&vm->mmio, (1ULL << vm->gpa_bits) - 1);
	if (!ret)
		ret = irq_init(vm);
	if (ret)
		log_error(vm, "out of memory");
	return ret;
}

int vm_create(struct vm *vm)
{
	int ret;

	vm->hold = true;
	vm->state = VM_STARTING;
	vm->reason = "starting";
	vm->request_call = (struct loop_call){ .fn = request_run, .opaque = vm };
	vm->nr_vcpus = (unsigned int)config_uint(vm->config, "cpus");
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->vcpu_lock, NULL);
	pthread_cond_init(&vm->vcpu_cond, NULL);
	vm->signal_fd.fd = -1;
	vm->memory.fd = -1;
	ret = loop_init(&vm->loop);
	if (!ret)
		ret = signals_create(vm);
	if (ret) {
		log_error(vm, "cannot make an event loop: %s", strerror(-ret));
		return ret;
	}
	ret = vm->boot ? 0 : boot_open(vm);
	if (!ret)
		ret = hv_create(vm);
	if (!ret)
		ret = buses_create(vm);
	if (!ret)
		ret = memory_create(vm);
	if (!ret)
		ret = cpuid_set(vm);
	if (!ret)
		ret = vcpus_create(vm);
	if (!ret)
		ret = console_create(vm);
	if (!ret)
		ret = platform_create(vm);
	if (!ret)
		ret = pci_create(vm);
	return ret;
}

int vm_start(struct vm *vm)
{
	int ret;

	ret = vcpus_start(vm);
	if (!ret) {
		device_reset_all(vm);
		ret = guest_load(vm);
	}
	if (!ret)
		ret = console_start(vm);
	if (ret)
		return ret;
	state_set(vm, VM_RUNNING, "started");
	loop_clock_start(&vm->loop);
	__atomic_store_n(&vm->hold, false, __ATOMIC_RELEASE);
	vcpus_release(vm);
	state_event(vm);
	return 0;
}

int vm_run(struct vm *vm)
{
	struct json_object *data;
	int ret;

	ret = loop_run(&vm->loop);
	if (ret) {
		log_error(vm, "event loop: %s", strerror(-ret));
		vm_request_stop(vm, VM_CAUSE_FAILURE, 0, "event loop failed");
	}
	guest_stop(vm);
	console_flush(vm);
	state_set(vm, VM_STOPPED, vm_cause_name(vm->cause));
	data = json_object_new_object();
	json_object_object_add(data, "cause", json_object_new_string(vm_cause_name(vm->cause)));
	json_object_object_add(data, "text", json_object_new_string(vm->cause_text));
	json_object_object_add(data, "status", json_object_new_int(vm->exit_status));
	vm_event(vm, "shutdown", data);
	if (vm->control)
		control_flush(vm);
	return vm->exit_status;
}

void vm_destroy(struct vm *vm)
{
	vcpus_stop(vm);
	/* The last request's kick may still come from an I/O thread: they stand or end
	 * with their devices, before the VM goes. */
	iothread_unpark_all(vm);
	device_destroy_all(vm);
	while (vm->iothreads)
		iothread_destroy(vm->iothreads);
	control_destroy(vm);
	console_destroy(vm);
	boot_close(vm);
	vcpus_destroy(vm);
	if (vm->hv)
		hv_vm_destroy(vm->hv);
	if (vm->hv_dev)
		hv_close(vm->hv_dev);
	vm->hv = NULL;
	vm->hv_dev = NULL;
	memory_destroy(vm);
	if (vm->pio.last) {
		irq_destroy(vm);
		bus_destroy(&vm->pio);
		bus_destroy(&vm->mmio);
	}
	if (vm->signal_fd.fd >= 0)
		close(vm->signal_fd.fd);
	loop_destroy(&vm->loop);
	pthread_cond_destroy(&vm->vcpu_cond);
	pthread_mutex_destroy(&vm->vcpu_lock);
	pthread_mutex_destroy(&vm->lock);
}
