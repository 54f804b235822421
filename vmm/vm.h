/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vm.h - struct vm: the guest that this process runs.  Everything hangs off it;
 * there is no file-scope mutable state in the vmm.
 *
 * Threads: the main loop (vm->loop) owns life and death of the guest; one
 * thread per vCPU; I/O threads.  A thread other than the main one asks for a
 * change of state with vm_request_*() and goes on; the vCPU loop does not enter
 * the guest again while a request waits.
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <uapi/hv.h>

#include "bus.h"
#include "config.h"
#include "irq.h"
#include "log.h"
#include "loop.h"
#include "memory.h"

struct boot;
struct console;
struct control;
struct device;
struct hv_vcpu;
struct hv_vm;
struct json_object;
struct vcpu;

enum vm_state {
	VM_STARTING,
	VM_RUNNING,
	VM_PAUSED,
	VM_STOPPED,		/* the guest ended; the process is about to */
};

/* Why the guest ended.  The exit statuses are those of vmm(1). */
enum vm_cause {
	VM_CAUSE_NONE,
	VM_CAUSE_POWER_OFF,	/* by the guest */
	VM_CAUSE_REBOOT,	/* by the guest, with reboot=exit */
	VM_CAUSE_STOPPED,	/* by the user: stop --force, signal, console escape */
	VM_CAUSE_DEBUG_EXIT,	/* the exit port; status from the guest */
	VM_CAUSE_TRIPLE_FAULT,
	VM_CAUSE_PANIC,		/* the guest said so (pvpanic) */
	VM_CAUSE_MEMORY_FAULT,
	VM_CAUSE_FAILURE,	/* of the vmm or the module */
};

struct vm {
	char name[64];
	struct config *config;
	struct loop loop;		/* main */
	struct hv_vm *hv;
	struct memory memory;
	struct bus pio;
	struct bus mmio;
	struct irq irq;
	struct console *console;
	struct control *control;
	struct boot *boot;
	struct device *devices;		/* in order of creation; fixed while vCPUs run */
	struct device *platform;	/* the platform's own root device, if it wants one */
	struct device *pci_host;	/* set by platform_create() */
	struct iothread *iothreads;	/* main loop only */
	struct hv_dev *hv_dev;
	unsigned int gpa_bits;		/* guest-physical address width */
	struct vcpu *vcpus;		/* vcpu.h */
	unsigned int nr_vcpus;
	pthread_mutex_t vcpu_lock;	/* guards vcpu->parked and quit; leaf lock */
	pthread_cond_t vcpu_cond;
	bool hold;			/* atomic: no vCPU may enter the guest */
	bool quit;			/* vCPU threads must end */

	pthread_mutex_t lock;		/* guards what follows; leaf lock */
	enum vm_state state;
	const char *reason;		/* of the state: "user", "memory-fault"... */
	unsigned int pause_count;
	enum vm_cause cause;
	int exit_status;
	char cause_text[160];
	/* requests of other threads, served by the main loop */
	bool want_reset;
	bool want_stop;
	bool want_pause;
	bool restart;			/* the next power-off becomes a reset */
	const char *pause_reason;
	char reset_text[80];
	struct loop_call request_call;
	/* main loop only */
	struct hv_vm_clock clock;	/* as the guest stood still */
	bool clock_saved;
	struct loop_fd signal_fd;
	struct loop_timer grace;
	int signal;			/* that asked the guest to power off; 0: none */
	bool quiet;			/* no remarks, errors only */
	bool raw_terminal;		/* stderr's terminal needs CR before LF */
};

/* Guest clock in ns: CLOCK_MONOTONIC less the time the guest stood still.  The
 * base of every device timer and counter. */
static inline uint64_t vm_clock_ns(struct vm *vm)
{
	return loop_now(&vm->loop, LOOP_CLOCK_GUEST);
}

/*
 * Requests, from any thread, e.g. a device's register handler; they return at
 * once.  The first stop wins; a stop beats a reset.  @status is used with
 * VM_CAUSE_DEBUG_EXIT only.  The text is for people: "ACPI S5".
 */
void vm_request_stop(struct vm *vm, enum vm_cause cause, int status, const char *text);
void vm_request_reset(struct vm *vm, const char *text);
void vm_request_pause(struct vm *vm, const char *reason);
/* Whether the guest's next power-off is to be a reset instead of its end. */
void vm_set_restart(struct vm *vm, bool restart);
/* True while a request waits: the vCPU loop must not enter the guest. */
bool vm_request_pending(struct vm *vm);

/*
 * The one pause (contract 7): kicks every vCPU out of the guest and parks its
 * thread, lets every device drain, parks I/O threads, stops the guest clock.
 * When it returns nothing of the guest moves.  Nests by count.  Main loop only.
 */
void vm_pause(struct vm *vm, const char *reason);
void vm_resume(struct vm *vm);

/* -- set-up and end, main thread (vm.c) -- */

/* Everything up to a guest that could run; @vm->config and @vm->name are set.  On
 * error one line has been printed and everything is undone by vm_destroy(). */
int vm_create(struct vm *vm);
/* Loads the boot image and lets the guest run. */
int vm_start(struct vm *vm);
/* The main loop until the guest has ended; returns the exit status of vmm(1). */
int vm_run(struct vm *vm);
void vm_destroy(struct vm *vm);
/*
 * Moves the running guest into a new VM object of the module, with all of its state: nothing
 * that the guest could notice but the time.  0, or -errno, and the guest goes on in the old
 * one.  What a snapshot, a clone or a new vmm rests on: that the state groups are complete.
 * Main loop only.
 */
int vm_rebuild(struct vm *vm);
/* Reset now; main loop only. */
int vm_reset(struct vm *vm, const char *text);
/* A listening unix socket at @path, mode 0600; a stale one is replaced, a busy one
 * refused.  Prints one line on error, naming it @what. */
int unix_listen(struct vm *vm, const char *what, const char *path);
const char *vm_state_name(enum vm_state state);
const char *vm_cause_name(enum vm_cause cause);

/* An unsolicited event for clients of the control socket (Documentation/
 * control.rst lists them).  Takes ownership of @data, which may be NULL. */
void vm_event(struct vm *vm, const char *event, struct json_object *data);

#endif
