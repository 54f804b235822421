// SPDX-License-Identifier: GPL-2.0-only
/*
 * irq.c - interrupt lines and MSIs (irq.h, contract 1).
 *
 * Must not call into a device: callers hold device locks.  Without vm->hv (unit
 * tests) messages go nowhere.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hv/hv.h"
#include "vm.h"

/* A line: the pin's lock is held over the sinks, so that they see changes in order. */
void irq_line_set(struct irq_line *line, bool level)
{
	struct irq_pin *pin = &line->vm->irq.pin[line->pin];
	unsigned int i, before;

	pthread_mutex_lock(&pin->lock);
	if (line->level != level) {
		line->level = level;
		before = pin->high;
		pin->high += level ? 1 : -1;
		if (!before != !pin->high)
			for (i = 0; i < IRQ_SINKS; i++)
				if (pin->sink[i].fn)
					pin->sink[i].fn(pin->sink[i].opaque, line->pin, level);
	}
	pthread_mutex_unlock(&pin->lock);
}

int irq_line_init(struct irq_line *line, struct vm *vm, unsigned int pin)
{
	if (pin >= IRQ_PINS)
		return -EINVAL;
	*line = (struct irq_line){ .vm = vm, .pin = pin };
	return 0;
}

int irq_sink_add(struct vm *vm, unsigned int pin, irq_sink_fn fn, void *opaque)
{
	unsigned int i;

	if (pin >= IRQ_PINS)
		return -EINVAL;
	for (i = 0; i < IRQ_SINKS; i++) {
		if (vm->irq.pin[pin].sink[i].fn)
			continue;
		vm->irq.pin[pin].sink[i].fn = fn;
		vm->irq.pin[pin].sink[i].opaque = opaque;
		return 0;
	}
	return -ENOSPC;
}

int irq_msi_send(struct vm *vm, uint64_t address, uint32_t data)
{
	return vm->hv ? hv_send_msi(vm->hv, address, data) : 0;
}

void irq_intr_set(struct vm *vm, bool level)
{
	__atomic_store_n(&vm->irq.intr, level, __ATOMIC_RELAXED);
	if (vm->hv)
		hv_set_line(vm->hv, HV_LINE_INTR, level);
}

static void eventfd_signal(int fd)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is full, so it is signalled already. */
	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void irq_msi_raise(struct irq_msi *msi)
{
	pthread_mutex_lock(&msi->lock);
	if (msi->fd >= 0)
		eventfd_signal(msi->fd);
	else if (msi->masked)
		msi->pending = true;
	else
		irq_msi_send(msi->vm, msi->address, msi->data);
	pthread_mutex_unlock(&msi->lock);
}

int irq_msi_set(struct irq_msi *msi, uint64_t address, uint32_t data, bool masked)
{
	int ret = 0;

	pthread_mutex_lock(&msi->lock);
	msi->address = address;
	msi->data = data;
	msi->masked = masked;
	if (msi->fd >= 0) {
		ret = hv_irqfd_update(msi->vm->hv, msi->fd, address, data, masked, NULL);
	} else if (!masked && msi->pending) {
		msi->pending = false;
		irq_msi_send(msi->vm, address, data);
	}
	pthread_mutex_unlock(&msi->lock);
	return ret < 0 ? ret : 0;
}

bool irq_msi_pending(struct irq_msi *msi)
{
	bool pending;

	pthread_mutex_lock(&msi->lock);
	pending = msi->pending;
	if (msi->fd >= 0 &&
	    hv_irqfd_update(msi->vm->hv, msi->fd, msi->address, msi->data, msi->masked,
			    &pending) < 0)
		pending = false;
	pthread_mutex_unlock(&msi->lock);
	return pending;
}

void irq_msi_latch(struct irq_msi *msi)
{
	pthread_mutex_lock(&msi->lock);
	if (msi->fd >= 0)
		eventfd_signal(msi->fd);
	else
		msi->pending = true;
	pthread_mutex_unlock(&msi->lock);
}

void irq_msi_reset(struct irq_msi *msi)
{
	uint64_t count;

	pthread_mutex_lock(&msi->lock);
	msi->address = 0;
	msi->data = 0;
	msi->masked = true;
	msi->pending = false;
	if (msi->fd >= 0) {
		/* What the module has latched goes with the assignment. */
		hv_irqfd_deassign(msi->vm->hv, msi->fd);
		while (read(msi->fd, &count, sizeof(count)) < 0 && errno == EINTR)
			;
		if (hv_irqfd_assign(msi->vm->hv, msi->fd, 0, 0, true) < 0) {
			close(msi->fd);
			msi->fd = -1;
		}
	}
	pthread_mutex_unlock(&msi->lock);
}

int irq_msi_fd(struct irq_msi *msi)
{
	int fd, ret;

	pthread_mutex_lock(&msi->lock);
	fd = msi->fd;
	if (fd >= 0)
		goto out;
	if (!msi->vm->hv) {
		fd = -ENODEV;
		goto out;
	}
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		fd = -errno;
		goto out;
	}
	ret = hv_irqfd_assign(msi->vm->hv, fd, msi->address, msi->data, msi->masked);
	if (ret < 0) {
		close(fd);
		fd = ret;
		goto out;
	}
	msi->fd = fd;
	if (msi->pending)
		eventfd_signal(fd);
	msi->pending = false;
out:
	pthread_mutex_unlock(&msi->lock);
	return fd;
}

int irq_msi_init(struct irq_msi *msi, struct vm *vm)
{
	int ret;

	*msi = (struct irq_msi){ .vm = vm, .masked = true, .fd = -1 };
	ret = -pthread_mutex_init(&msi->lock, NULL);
	if (!ret) {
		msi->next = vm->irq.msis;
		vm->irq.msis = msi;
	}
	return ret;
}

void irq_msi_destroy(struct irq_msi *msi)
{
	struct irq_msi **p = &msi->vm->irq.msis;

	while (*p && *p != msi)
		p = &(*p)->next;
	if (*p)
		*p = msi->next;
	if (msi->fd >= 0) {
		hv_irqfd_deassign(msi->vm->hv, msi->fd);
		close(msi->fd);
	}
	pthread_mutex_destroy(&msi->lock);
	msi->fd = -1;
}

int irq_rebind(struct vm *vm, struct hv_vm *old)
{
	struct irq_msi *msi;
	bool pending;
	int ret;

	for (msi = vm->irq.msis; msi; msi = msi->next) {
		if (msi->fd < 0)
			continue;
		pending = false;
		hv_irqfd_update(old, msi->fd, msi->address, msi->data, msi->masked, &pending);
		ret = hv_irqfd_assign(vm->hv, msi->fd, msi->address, msi->data, msi->masked);
		if (ret < 0)
			return ret;
		if (pending)
			eventfd_signal(msi->fd);
	}
	return hv_set_line(vm->hv, HV_LINE_INTR,
			   __atomic_load_n(&vm->irq.intr, __ATOMIC_RELAXED));
}

int irq_init(struct vm *vm)
{
	unsigned int i;

	memset(&vm->irq, 0, sizeof(vm->irq));
	for (i = 0; i < IRQ_PINS; i++)
		pthread_mutex_init(&vm->irq.pin[i].lock, NULL);
	return 0;
}

void irq_destroy(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < IRQ_PINS; i++)
		pthread_mutex_destroy(&vm->irq.pin[i].lock);
}
