// SPDX-License-Identifier: GPL-2.0-only
/*
 * iothread.c - threads that run an event loop of their own (loop.h).
 *
 * Creation, destruction and parking are the main loop's (or set-up's) business;
 * iothread_call() may come from any thread that is not an I/O thread.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "privileges.h"
#include "vm.h"

#define IOTHREAD_STACK	(128 * 1024)

struct iothread_work {
	struct loop_call call;
	struct iothread *thread;
	void (*fn)(void *opaque);
	void *opaque;
	bool done;
};

static void *iothread_main(void *arg)
{
	struct iothread *t = arg;

	privileges_drop_thread();
	pthread_setname_np(pthread_self(), t->name);
	pthread_mutex_lock(&t->lock);
	t->tid = gettid();
	pthread_cond_broadcast(&t->cond);
	pthread_mutex_unlock(&t->lock);
	loop_run(&t->loop);
	return NULL;
}

/* Runs on the I/O thread: stands here until unparked. */
static void iothread_park(void *opaque)
{
	struct iothread *t = opaque;

	pthread_mutex_lock(&t->lock);
	t->parked = true;
	pthread_cond_broadcast(&t->cond);
	while (t->park)
		pthread_cond_wait(&t->cond, &t->lock);
	t->parked = false;
	pthread_mutex_unlock(&t->lock);
}

void iothread_park_all(struct vm *vm)
{
	struct iothread *t;

	for (t = vm->iothreads; t; t = t->next) {
		pthread_mutex_lock(&t->lock);
		t->park = true;
		pthread_mutex_unlock(&t->lock);
		loop_defer(&t->loop, &t->park_call);
	}
	for (t = vm->iothreads; t; t = t->next) {
		pthread_mutex_lock(&t->lock);
		while (!t->parked)
			pthread_cond_wait(&t->cond, &t->lock);
		pthread_mutex_unlock(&t->lock);
	}
}

void iothread_unpark_all(struct vm *vm)
{
	struct iothread *t;

	for (t = vm->iothreads; t; t = t->next) {
		pthread_mutex_lock(&t->lock);
		t->park = false;
		pthread_cond_broadcast(&t->cond);
		pthread_mutex_unlock(&t->lock);
	}
}

static void iothread_work_run(void *opaque)
{
	struct iothread_work *work = opaque;
	struct iothread *t = work->thread;

	work->fn(work->opaque);
	pthread_mutex_lock(&t->lock);
	work->done = true;
	pthread_cond_broadcast(&t->cond);
	pthread_mutex_unlock(&t->lock);
}

void iothread_call(struct iothread *t, void (*fn)(void *opaque), void *opaque)
{
	struct iothread_work work = {
		.call = { .fn = iothread_work_run, .opaque = &work },
		.thread = t, .fn = fn, .opaque = opaque,
	};
	bool direct;

	/* A parked thread touches nothing, and only the main loop unparks it. */
	pthread_mutex_lock(&t->lock);
	direct = t->parked && t->park;
	pthread_mutex_unlock(&t->lock);
	if (direct || loop_is_current(&t->loop)) {
		fn(opaque);
		return;
	}
	loop_defer(&t->loop, &work.call);
	pthread_mutex_lock(&t->lock);
	while (!work.done)
		pthread_cond_wait(&t->cond, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

int iothread_create(struct vm *vm, const char *name, struct iothread **out)
{
	pthread_attr_t attr;
	struct iothread *t;
	sigset_t all, old;
	int ret;

	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->vm = vm;
	snprintf(t->name, sizeof(t->name), "%s", name);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->cond, NULL);
	t->park_call.fn = iothread_park;
	t->park_call.opaque = t;
	ret = loop_init(&t->loop);
	if (ret)
		goto fail;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, IOTHREAD_STACK);
	/* Signals are for the main loop's signalfd. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&t->thread, &attr, iothread_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (ret) {
		loop_destroy(&t->loop);
		goto fail;
	}
	pthread_mutex_lock(&t->lock);
	while (!t->tid)
		pthread_cond_wait(&t->cond, &t->lock);
	pthread_mutex_unlock(&t->lock);
	t->next = vm->iothreads;
	vm->iothreads = t;
	*out = t;
	return 0;
fail:
	pthread_cond_destroy(&t->cond);
	pthread_mutex_destroy(&t->lock);
	free(t);
	return ret;
}

void iothread_destroy(struct iothread *t)
{
	struct iothread **p = &t->vm->iothreads;

	while (*p && *p != t)
		p = &(*p)->next;
	if (*p)
		*p = t->next;
	pthread_mutex_lock(&t->lock);
	t->park = false;
	pthread_cond_broadcast(&t->cond);
	pthread_mutex_unlock(&t->lock);
	loop_stop(&t->loop);
	pthread_join(t->thread, NULL);
	loop_destroy(&t->loop);
	pthread_cond_destroy(&t->cond);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
