// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_irqfd.c - an eventfd that is an interrupt: a signal becomes an MSI.
 *
 * Contract 1.  The signal arrives in the signaller's context with the eventfd's wait queue lock
 * held and interrupts off, and is delivered right there.  That lock also guards target and mask, so once
 * an update returns nothing is delivered the old way.
 *
 * Lifetime: an entry is on vm->irqfds, or on the list of the dead when its eventfd closed first:
 * where that is noticed, under the wait queue lock, it cannot be freed, and a work item does it.
 * Whoever takes it off its list frees it.
 */
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/workqueue.h>
#include "hv.h"

struct irqfd {
	struct hv_vm *vm;
	struct list_head link;		/* [vm->irqfd_lock] vm->irqfds, [dead_lock] dead */
	struct eventfd_ctx *ctx;
	wait_queue_entry_t wait;
	wait_queue_head_t *wqh;
	poll_table poll;
	bool closed;			/* [vm->irqfd_lock] off vm->irqfds */
	/* [wqh->lock] */
	bool masked, pending;
	u64 address;
	u32 data;
};

static DEFINE_SPINLOCK(dead_lock);
static LIST_HEAD(dead);			/* [dead_lock] */

static void irqfd_free(struct irqfd *e)
{
	u64 count;

	/* After this no callback runs or will. */
	eventfd_ctx_remove_wait_queue(e->ctx, &e->wait, &count);
	eventfd_ctx_put(e->ctx);
	hv_free(e);
}

static void reap(struct work_struct *work)
{
	struct irqfd *e, *next;
	LIST_HEAD(list);

	spin_lock_irq(&dead_lock);
	list_splice_init(&dead, &list);
	spin_unlock_irq(&dead_lock);
	list_for_each_entry_safe(e, next, &list, link)
		irqfd_free(e);
}

static DECLARE_WORK(reap_work, reap);

/* [wqh->lock] */
static void irqfd_signal(struct irqfd *e)
{
	atomic64_inc(&e->vm->stat[HV_STAT_IRQFD]);
	if (e->masked)
		e->pending = true;
	else
		hv_irq_msi(e->vm, e->address, e->data);
}

/* [vm->irqfd_lock] */
static void irqfd_unlink(struct irqfd *e)
{
	e->closed = true;
	list_del(&e->link);
	e->vm->nirqfds--;
}

/* [wqh->lock] What the caller is told. */
static void irqfd_tell(const struct irqfd *e, struct hv_irqfd *args)
{
	args->flags = (e->masked ? HV_IRQFD_MASKED : 0) | (e->pending ? HV_IRQFD_PENDING : 0);
}

/* The eventfd's file has been released by everybody else. */
static void irqfd_closed(struct irqfd *e)
{
	struct hv_vm *vm = e->vm;
	unsigned long flags;

	spin_lock_irqsave(&vm->irqfd_lock, flags);
	if (!e->closed) {
		irqfd_unlink(e);
		/* Under both locks: hv_irqfd_release() finds it on one list or
		 * has it reaped. */
		spin_lock(&dead_lock);
		list_add(&e->link, &dead);
		spin_unlock(&dead_lock);
		schedule_work(&reap_work);
	}
	spin_unlock_irqrestore(&vm->irqfd_lock, flags);
}

static int irqfd_wake(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct irqfd *e = container_of(wait, struct irqfd, wait);
	__poll_t events = key_to_poll(key);
	u64 count;
	int taken = 0;

	if (events & EPOLLIN) {
		eventfd_ctx_do_read(e->ctx, &count);
		irqfd_signal(e);
		taken = 1;
	}
	if (events & EPOLLHUP)
		irqfd_closed(e);
	return taken;
}

static void irqfd_queue(struct file *file, wait_queue_head_t *wqh, poll_table *poll)
{
	struct irqfd *e = container_of(poll, struct irqfd, poll);

	e->wqh = wqh;
	/* First in the queue: a reader in userspace does not get the signal. */
	hv_add_wait_queue_priority(wqh, &e->wait);
}

static struct irqfd *irqfd_find(struct hv_vm *vm, const struct eventfd_ctx *ctx)
{
	struct irqfd *e;

	list_for_each_entry(e, &vm->irqfds, link)
		if (e->ctx == ctx)
			return e;
	return NULL;
}

static int irqfd_assign(struct hv_vm *vm, struct hv_irqfd *args, struct file *file,
			struct eventfd_ctx *ctx)
{
	struct irqfd *e;
	u64 count = 0;
	int ret = 0;

	e = hv_alloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->vm = vm;
	e->ctx = ctx;
	e->masked = args->flags & HV_IRQFD_MASKED;
	e->address = args->address;
	e->data = args->data;
	init_waitqueue_func_entry(&e->wait, irqfd_wake);
	init_poll_funcptr(&e->poll, irqfd_queue);

	spin_lock_irq(&vm->irqfd_lock);
	if (irqfd_find(vm, ctx)) {
		ret = -EEXIST;
	} else if (vm->nirqfds >= HV_MAX_IRQFDS) {
		ret = -ENOSPC;
	} else {
		list_add_tail(&e->link, &vm->irqfds);
		vm->nirqfds++;
	}
	spin_unlock_irq(&vm->irqfd_lock);
	if (ret) {
		hv_free(e);
		return ret;
	}
	/* @file is held, so the eventfd cannot hang up before we are in its queue. */
	vfs_poll(file, &e->poll);
	/* A signal from before; one from now on has been to irqfd_wake(). */
	spin_lock_irq(&e->wqh->lock);
	eventfd_ctx_do_read(ctx, &count);
	if (count)
		irqfd_signal(e);
	irqfd_tell(e, args);
	spin_unlock_irq(&e->wqh->lock);
	return 0;
}

static int irqfd_update(struct hv_vm *vm, struct hv_irqfd *args, struct eventfd_ctx *ctx)
{
	struct irqfd *e;

	/* vm->lock keeps others from freeing it, the caller's file reference the
	 * eventfd from hanging up. */
	spin_lock_irq(&vm->irqfd_lock);
	e = irqfd_find(vm, ctx);
	spin_unlock_irq(&vm->irqfd_lock);
	if (!e)
		return -ENOENT;
	spin_lock_irq(&e->wqh->lock);
	e->address = args->address;
	e->data = args->data;
	e->masked = args->flags & HV_IRQFD_MASKED;
	if (e->pending && !e->masked) {
		e->pending = false;
		hv_irq_msi(vm, e->address, e->data);
	}
	irqfd_tell(e, args);
	spin_unlock_irq(&e->wqh->lock);
	return 0;
}

static int irqfd_deassign(struct hv_vm *vm, struct hv_irqfd *args, struct eventfd_ctx *ctx)
{
	struct irqfd *e;

	spin_lock_irq(&vm->irqfd_lock);
	e = irqfd_find(vm, ctx);
	if (e)
		irqfd_unlink(e);
	spin_unlock_irq(&vm->irqfd_lock);
	if (!e)
		return -ENOENT;
	spin_lock_irq(&e->wqh->lock);
	irqfd_tell(e, args);
	spin_unlock_irq(&e->wqh->lock);
	irqfd_free(e);
	return 0;
}

int hv_irqfd(struct hv_vm *vm, struct hv_irqfd *args)
{
	struct eventfd_ctx *ctx;
	struct file *file;
	int ret;

	file = fget(args->fd);
	if (!file)
		return -EBADF;
	ctx = eventfd_ctx_fileget(file);
	if (IS_ERR(ctx)) {
		fput(file);
		return PTR_ERR(ctx);
	}
	switch (args->op) {
	case HV_IRQFD_ASSIGN:
		ret = irqfd_assign(vm, args, file, ctx);
		break;
	case HV_IRQFD_UPDATE:
		ret = irqfd_update(vm, args, ctx);
		break;
	case HV_IRQFD_DEASSIGN:
		ret = irqfd_deassign(vm, args, ctx);
		break;
	default:
		ret = -EINVAL;
	}
	/* An assigned entry keeps the reference. */
	if (ret || args->op != HV_IRQFD_ASSIGN)
		eventfd_ctx_put(ctx);
	fput(file);
	return ret;
}

/* The VM's fd is closed: nobody adds any more.  May be called again. */
void hv_irqfd_release(struct hv_vm *vm)
{
	struct irqfd *e;

	for (;;) {
		spin_lock_irq(&vm->irqfd_lock);
		e = list_first_entry_or_null(&vm->irqfds, struct irqfd, link);
		if (e)
			irqfd_unlink(e);
		spin_unlock_irq(&vm->irqfd_lock);
		if (!e)
			break;
		irqfd_free(e);
	}
	/* Those whose eventfd was closed before still point at the VM. */
	flush_work(&reap_work);
}
