/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * console.h - the guest's character console: what a UART or virtio-console
 * talks to, and where it goes (terminal, socket, `vmm console`, nowhere).
 *
 * Device side: console_write() from any thread, never blocks.  A back end that
 * must not lose output (stdio) accepts less when its buffer is full; the device
 * then holds its transmitter busy until tx_ready is called.  Other back ends
 * drop their own oldest output, never the guest's time.
 */
#ifndef VMM_CONSOLE_H
#define VMM_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct console;
struct device;
struct vm;

/* Callbacks run on the main loop with dev->lock held. */
struct console_ops {
	/* Input from the user; returns how many bytes were taken.  For the rest
	 * the device calls console_rx_ready() when it has room. */
	size_t (*rx)(struct device *dev, const uint8_t *buf, size_t len);
	/* After console_write() took less than it was given.  May be NULL. */
	void (*tx_ready)(struct device *dev);
};

/* The one console of the VM: vm->console, created before the devices.  The first
 * device to attach gets its input.  -EBUSY: another has it. */
int console_attach(struct console *console, struct device *dev, const struct console_ops *ops);
void console_detach(struct console *console, struct device *dev);
/* Returns bytes taken.  Call with dev->lock held. */
size_t console_write(struct console *console, const uint8_t *buf, size_t len);
void console_rx_ready(struct console *console);

/* -- for vm.c and the control socket; main loop only -- */

/* By the key "console": stdio, none, socket=PATH. */
int console_create(struct vm *vm);
/* Is what the configuration says of it possible?  @thorough: now, on this host.  As check_config(). */
int console_check(struct vm *vm, bool thorough);
void console_destroy(struct vm *vm);
/* Input begins to flow (and a terminal becomes raw) when the guest starts. */
int console_start(struct vm *vm);
/* One more user of the console on socket @fd, which it owns from now on. */
int console_add(struct vm *vm, int fd);
/* Writes out what it can within a short time; before the process ends. */
void console_flush(struct vm *vm);

#endif
