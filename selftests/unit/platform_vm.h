/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * platform_vm.h - a struct vm without /dev/hv, threads or guest, for tests of devices.
 *
 * The guest clock stands and moves by pv_advance() only, which runs the timers that come due on
 * the way, so that tests of timers are exact. Requests a device makes (stop, reset) are seen in
 * vm->want_stop, want_reset and cause: the functions here take the place of vm.c's. One file a
 * program includes this.
 */
#ifndef HV_UNIT_PLATFORM_VM_H
#define HV_UNIT_PLATFORM_VM_H

#include <stdlib.h>
#include <string.h>

#include "ktap.h"
#include "vmm/config.h"
#include "vmm/console.h"
#include "vmm/device.h"
#include "vmm/platform.h"
#include "vmm/vm.h"

#define PV_START_NS	1000000000000ULL

void __attribute__((weak)) vm_request_stop(struct vm *vm, enum vm_cause cause, int status,
					   const char *text)
{
	vm->want_stop = true;
	vm->cause = cause;
	vm->exit_status = status;
}

void __attribute__((weak)) vm_request_reset(struct vm *vm, const char *text)
{
	vm->want_reset = true;
}

void __attribute__((weak)) vm_event(struct vm *vm, const char *event, struct json_object *data)
{
}

/* The console: takes what `room` lets it, and keeps it. */
static struct {
	struct device *dev;
	const struct console_ops *ops;
	char out[4096];
	size_t len;
	size_t room;
	unsigned int rx_ready;
} pv_console;

int __attribute__((weak)) console_attach(struct console *console, struct device *dev,
					 const struct console_ops *ops)
{
	pv_console.dev = dev;
	pv_console.ops = ops;
	return 0;
}

void __attribute__((weak)) console_detach(struct console *console, struct device *dev)
{
	pv_console.dev = NULL;
}

size_t __attribute__((weak)) console_write(struct console *console, const uint8_t *buf, size_t len)
{
	size_t n = len < pv_console.room ? len : pv_console.room;

	if (pv_console.len + n > sizeof(pv_console.out))
		n = 0;
	memcpy(pv_console.out + pv_console.len, buf, n);
	pv_console.len += n;
	pv_console.room -= n;
	return n;
}

void __attribute__((weak)) console_rx_ready(struct console *console)
{
	pv_console.rx_ready++;
}

/* @settings: "key", "value", ..., NULL. */
static inline struct vm *pv_create(const char *const *settings)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	char err[256];

	if (!vm)
		ktap_bail("no memory");
	strcpy(vm->name, "unit");
	vm->config = config_create();
	for (; settings && settings[0]; settings += 2)
		if (config_set(vm->config, settings[0], settings[1], err, sizeof(err)))
			ktap_bail("%s", err);
	pthread_mutex_init(&vm->lock, NULL);
	vm->nr_vcpus = config_uint(vm->config, "cpus");
	if (bus_init(&vm->pio, 0xffff) || bus_init(&vm->mmio, UINT64_MAX) || irq_init(vm) ||
	    loop_init(&vm->loop) || memory_create(vm))
		ktap_bail("cannot make a VM");
	loop_clock_stop(&vm->loop);
	loop_clock_set(&vm->loop, PV_START_NS);
	return vm;
}

static inline void pv_destroy(struct vm *vm)
{
	device_destroy_all(vm);
	memory_destroy(vm);
	loop_destroy(&vm->loop);
	irq_destroy(vm);
	bus_destroy(&vm->mmio);
	bus_destroy(&vm->pio);
	config_destroy(vm->config);
	free(vm);
}

static inline void pv_advance(struct vm *vm, uint64_t ns)
{
	uint64_t until = vm_clock_ns(vm) + ns;
	struct loop_timer *timer;

	while ((timer = vm->loop.timers[LOOP_CLOCK_GUEST]) && timer->when_ns <= until) {
		if (timer->when_ns > vm_clock_ns(vm))
			loop_clock_set(&vm->loop, timer->when_ns);
		loop_timer_cancel(&vm->loop, timer);
		timer->fn(timer->opaque);
	}
	loop_clock_set(&vm->loop, until);
}

static inline uint64_t pv_in(struct vm *vm, uint16_t port, unsigned int size)
{
	uint64_t value;

	bus_read(&vm->pio, NULL, port, size, &value);
	return value;
}

static inline void pv_out(struct vm *vm, uint16_t port, unsigned int size, uint64_t value)
{
	bus_write(&vm->pio, NULL, port, size, value);
}

static inline uint64_t pv_read(struct vm *vm, uint64_t gpa, unsigned int size)
{
	uint64_t value;

	bus_read(&vm->mmio, NULL, gpa, size, &value);
	return value;
}

static inline void pv_write(struct vm *vm, uint64_t gpa, unsigned int size, uint64_t value)
{
	bus_write(&vm->mmio, NULL, gpa, size, value);
}

/* xorshift: the same every time, so that a failure can be repeated. */
static inline uint64_t pv_random(void)
{
	static uint64_t seed = 0x9e3779b97f4a7c15ULL;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* State of @dev, put through a save, a reset and a load, is the same state? */
static inline bool pv_survives_save(struct device *dev)
{
	uint8_t *before, *after;
	size_t len, len2;
	bool same = false;

	if (device_save(dev, &before, &len))
		return false;
	if (dev->type->reset) {
		device_lock(dev);
		dev->type->reset(dev);
		device_unlock(dev);
	}
	if (!device_load(dev, before, len) && !device_save(dev, &after, &len2)) {
		same = len == len2 && !memcmp(before, after, len);
		free(after);
	}
	free(before);
	return same;
}

#endif
