// SPDX-License-Identifier: GPL-2.0-only
/*
 * loop.c - the event loop (loop.h).
 *
 * Must not hold loop->lock while a callback runs.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"

#define LOOP_BATCH	16

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static uint64_t clock_now(const struct loop *loop, enum loop_clock clock)
{
	if (clock == LOOP_CLOCK_HOST)
		return now_ns();
	return loop->clock_stopped ? loop->clock_stopped_ns : now_ns() - loop->clock_offset_ns;
}

uint64_t loop_now(struct loop *loop, enum loop_clock clock)
{
	uint64_t now;

	if (clock == LOOP_CLOCK_HOST)
		return now_ns();
	pthread_mutex_lock(&loop->lock);
	now = clock_now(loop, clock);
	pthread_mutex_unlock(&loop->lock);
	return now;
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;

	while (write(loop->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* Sets the timerfd to the earliest timer of both clocks.  Lock held. */
static void timer_program(struct loop *loop)
{
	const struct loop_timer *host = loop->timers[LOOP_CLOCK_HOST];
	const struct loop_timer *guest = loop->timers[LOOP_CLOCK_GUEST];
	uint64_t when = host ? host->when_ns : UINT64_MAX, w;
	struct itimerspec its = { 0 };

	if (guest && !loop->clock_stopped) {
		if (__builtin_add_overflow(guest->when_ns, loop->clock_offset_ns, &w))
			w = UINT64_MAX;
		if (w < when)
			when = w;
	}
	if (when == UINT64_MAX)
		when = 0;
	else if (!when)
		when = 1;	/* 0 would disarm it */
	if (when == loop->timer_set_ns)
		return;
	loop->timer_set_ns = when;
	its.it_value.tv_sec = (time_t)(when / 1000000000ULL);
	its.it_value.tv_nsec = (long)(when % 1000000000ULL);
	timerfd_settime(loop->timer_fd.fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static void timer_unlink(struct loop *loop, struct loop_timer *timer)
{
	struct loop_timer **p = &loop->timers[timer->clock];

	while (*p && *p != timer)
		p = &(*p)->next;
	if (*p)
		*p = timer->next;
	timer->armed = false;
}

void loop_timer_arm(struct loop *loop, struct loop_timer *timer, uint64_t when_ns)
{
	struct loop_timer **p;

	pthread_mutex_lock(&loop->lock);
	if (timer->armed)
		timer_unlink(loop, timer);
	timer->when_ns = when_ns;
	timer->armed = true;
	for (p = &loop->timers[timer->clock]; *p && (*p)->when_ns <= when_ns; p = &(*p)->next)
		;
	timer->next = *p;
	*p = timer;
	timer_program(loop);
	pthread_mutex_unlock(&loop->lock);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	pthread_mutex_lock(&loop->lock);
	if (timer->armed) {
		timer_unlink(loop, timer);
		timer_program(loop);
	}
	pthread_mutex_unlock(&loop->lock);
}

static void timers_run(void *opaque, uint32_t events)
{
	struct loop *loop = opaque;
	struct loop_timer *timer;
	enum loop_clock clock;
	uint64_t count, until[LOOP_CLOCK_COUNT];

	(void)events;
	while (read(loop->timer_fd.fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&loop->lock);
	loop->timer_set_ns = 0;
	/* Up to this instant only: a timer that re-arms itself must not hold the loop. */
	until[LOOP_CLOCK_HOST] = clock_now(loop, LOOP_CLOCK_HOST);
	until[LOOP_CLOCK_GUEST] = clock_now(loop, LOOP_CLOCK_GUEST);
	for (clock = 0; clock < LOOP_CLOCK_COUNT; clock++) {
		for (;;) {
			timer = loop->timers[clock];
			if (!timer || timer->when_ns > until[clock] ||
			    (clock == LOOP_CLOCK_GUEST && loop->clock_stopped))
				break;
			timer_unlink(loop, timer);
			pthread_mutex_unlock(&loop->lock);
			timer->fn(timer->opaque);
			pthread_mutex_lock(&loop->lock);
		}
	}
	timer_program(loop);
	pthread_mutex_unlock(&loop->lock);
}

void loop_clock_stop(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	if (!loop->clock_stopped) {
		loop->clock_stopped_ns = clock_now(loop, LOOP_CLOCK_GUEST);
		loop->clock_stopped = true;
		timer_program(loop);
	}
	pthread_mutex_unlock(&loop->lock);
}

void loop_clock_start(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	if (loop->clock_stopped) {
		loop->clock_offset_ns = now_ns() - loop->clock_stopped_ns;
		loop->clock_stopped = false;
		timer_program(loop);
	}
	pthread_mutex_unlock(&loop->lock);
}

void loop_clock_set(struct loop *loop, uint64_t guest_ns)
{
	pthread_mutex_lock(&loop->lock);
	loop->clock_stopped_ns = guest_ns;
	loop->clock_offset_ns = now_ns() - guest_ns;
	timer_program(loop);
	pthread_mutex_unlock(&loop->lock);
}

void loop_defer(struct loop *loop, struct loop_call *call)
{
	bool first = false;

	pthread_mutex_lock(&loop->lock);
	if (!call->queued) {
		call->queued = true;
		call->next = NULL;
		first = !loop->calls;
		*loop->calls_tail = call;
		loop->calls_tail = &call->next;
	}
	pthread_mutex_unlock(&loop->lock);
	if (first)
		wake(loop);
}

static void calls_run(void *opaque, uint32_t events)
{
	struct loop *loop = opaque;
	struct loop_call *call;
	uint64_t count;

	(void)events;
	while (read(loop->wake, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&loop->lock);
	while ((call = loop->calls)) {
		loop->calls = call->next;
		if (!loop->calls)
			loop->calls_tail = &loop->calls;
		call->queued = false;
		pthread_mutex_unlock(&loop->lock);
		call->fn(call->opaque);		/* may free or queue @call again */
		pthread_mutex_lock(&loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
}

static int fd_ctl(struct loop *loop, int op, struct loop_fd *lfd)
{
	struct epoll_event ev = { .events = lfd->events, .data.ptr = lfd };

	return epoll_ctl(loop->epoll, op, lfd->fd, &ev) ? -errno : 0;
}

int loop_fd_add(struct loop *loop, struct loop_fd *lfd)
{
	int ret = fd_ctl(loop, EPOLL_CTL_ADD, lfd);

	lfd->added = !ret;
	return ret;
}

int loop_fd_events(struct loop *loop, struct loop_fd *lfd, uint32_t events)
{
	if (lfd->events == events)
		return 0;
	lfd->events = events;
	return lfd->added ? fd_ctl(loop, EPOLL_CTL_MOD, lfd) : 0;
}

void loop_fd_remove(struct loop *loop, struct loop_fd *lfd)
{
	int i;

	if (!lfd->added)
		return;
	lfd->added = false;
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, lfd->fd, NULL);
	for (i = 0; i < loop->batch_len; i++)
		if (loop->batch[i] == lfd)
			loop->batch[i] = NULL;
}

int loop_run(struct loop *loop)
{
	struct epoll_event ev[LOOP_BATCH];
	struct loop_fd *batch[LOOP_BATCH];
	int n, i, ret = 0;

	loop->thread = pthread_self();
	__atomic_store_n(&loop->running, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE)) {
		n = epoll_wait(loop->epoll, ev, LOOP_BATCH, -1);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			ret = -errno;
			break;
		}
		for (i = 0; i < n; i++)
			batch[i] = ev[i].data.ptr;
		loop->batch = batch;
		loop->batch_len = n;
		for (i = 0; i < n; i++)
			if (batch[i])
				batch[i]->fn(batch[i]->opaque, ev[i].events);
		loop->batch_len = 0;
	}
	__atomic_store_n(&loop->running, false, __ATOMIC_RELEASE);
	return ret;
}

void loop_stop(struct loop *loop)
{
	__atomic_store_n(&loop->stop, true, __ATOMIC_RELEASE);
	wake(loop);
}

bool loop_is_current(const struct loop *loop)
{
	return __atomic_load_n(&loop->running, __ATOMIC_ACQUIRE) &&
	       pthread_equal(loop->thread, pthread_self());
}

int loop_init(struct loop *loop)
{
	int ret;

	memset(loop, 0, sizeof(*loop));
	pthread_mutex_init(&loop->lock, NULL);
	loop->calls_tail = &loop->calls;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->timer_fd.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->epoll < 0 || loop->wake < 0 || loop->timer_fd.fd < 0) {
		ret = -errno;
		goto fail;
	}
	loop->wake_fd = (struct loop_fd){
		.fd = loop->wake, .events = EPOLLIN, .fn = calls_run, .opaque = loop,
	};
	loop->timer_fd.events = EPOLLIN;
	loop->timer_fd.fn = timers_run;
	loop->timer_fd.opaque = loop;
	ret = loop_fd_add(loop, &loop->wake_fd);
	if (!ret)
		ret = loop_fd_add(loop, &loop->timer_fd);
	if (ret)
		goto fail;
	/* The guest's clock stands at zero until the guest starts. */
	loop->clock_stopped = true;
	return 0;
fail:
	loop_destroy(loop);
	return ret;
}

void loop_destroy(struct loop *loop)
{
	if (loop->epoll >= 0)
		close(loop->epoll);
	if (loop->wake >= 0)
		close(loop->wake);
	if (loop->timer_fd.fd >= 0)
		close(loop->timer_fd.fd);
	loop->epoll = loop->wake = loop->timer_fd.fd = -1;
	pthread_mutex_destroy(&loop->lock);
}
