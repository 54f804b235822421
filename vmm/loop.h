/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * loop.h - event loops: the main loop, and I/O threads that each run one.
 *
 * A loop has file descriptors (epoll, level-triggered unless EPOLLET is given),
 * timers (one timerfd), and calls handed over by other threads (one eventfd).
 * Everything runs on the loop's own thread.  No call here allocates except
 * loop_init(); objects are embedded by their owners.
 *
 * fds are added, changed and removed on the loop's thread, or before it runs.
 * Timers and deferred calls may be used from any thread.
 */
#ifndef VMM_LOOP_H
#define VMM_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;

struct loop_fd {
	int fd;
	uint32_t events;	/* EPOLLIN... */
	void (*fn)(void *opaque, uint32_t events);
	void *opaque;
	bool added;		/* private */
};

/* LOOP_CLOCK_GUEST stands still while the loop's clock is stopped.  It runs on
 * the main loop only. */
enum loop_clock { LOOP_CLOCK_HOST, LOOP_CLOCK_GUEST, LOOP_CLOCK_COUNT };

struct loop_timer {
	void (*fn)(void *opaque);
	void *opaque;
	enum loop_clock clock;
	/* private */
	uint64_t when_ns;
	bool armed;
	struct loop_timer *next;
};

struct loop_call {
	void (*fn)(void *opaque);
	void *opaque;
	/* private */
	bool queued;
	struct loop_call *next;
};

struct loop {
	int epoll;
	int wake;			/* eventfd */
	struct loop_fd wake_fd;
	struct loop_fd timer_fd;
	bool stop, running;		/* atomic */
	pthread_t thread;		/* the one in loop_run() */
	pthread_mutex_t lock;		/* guards the lists and clock below; leaf lock */
	struct loop_call *calls, **calls_tail;
	struct loop_timer *timers[LOOP_CLOCK_COUNT];	/* sorted */
	bool clock_stopped;
	uint64_t clock_offset_ns;	/* host = guest + offset while it runs */
	uint64_t clock_stopped_ns;	/* guest time while it stands */
	uint64_t timer_set_ns;		/* what the timerfd is set to; 0: disarmed */
	/* fds removed while a batch of events is being handled */
	struct loop_fd **batch;
	int batch_len;
};

int loop_init(struct loop *loop);
void loop_destroy(struct loop *loop);
/* Until loop_stop(); returns 0 or -errno of epoll itself. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

int loop_fd_add(struct loop *loop, struct loop_fd *lfd);
int loop_fd_events(struct loop *loop, struct loop_fd *lfd, uint32_t events);
/* Its fn is not called again, even for an event already fetched. */
void loop_fd_remove(struct loop *loop, struct loop_fd *lfd);

/* Nanoseconds of CLOCK_MONOTONIC, or of the guest's clock. */
uint64_t loop_now(struct loop *loop, enum loop_clock clock);
void loop_timer_arm(struct loop *loop, struct loop_timer *timer, uint64_t when_ns);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);
/* Stops and restarts LOOP_CLOCK_GUEST; set is for a load. */
void loop_clock_stop(struct loop *loop);
void loop_clock_start(struct loop *loop);
void loop_clock_set(struct loop *loop, uint64_t guest_ns);

/* Runs call->fn once on the loop's thread, soon.  A call already queued stays
 * queued once.  Any thread. */
void loop_defer(struct loop *loop, struct loop_call *call);
/* True on the loop's own thread. */
bool loop_is_current(const struct loop *loop);

/*
 * An I/O thread: a thread that runs a loop.  A virtqueue belongs to one.
 * Parked I/O threads run nothing; vm_pause() parks them all after the devices
 * have drained.
 */
struct iothread {
	struct vm *vm;
	char name[16];
	struct loop loop;
	pthread_t thread;
	int tid;
	struct loop_call park_call;
	pthread_mutex_t lock;		/* guards park and parked */
	pthread_cond_t cond;
	bool park;
	bool parked;
	struct iothread *next;		/* vm->iothreads */
};

/* -errno; the thread runs at once.  @name is what `ps -L` and vmm info show. */
int iothread_create(struct vm *vm, const char *name, struct iothread **out);
void iothread_destroy(struct iothread *thread);
void iothread_park_all(struct vm *vm);
void iothread_unpark_all(struct vm *vm);
/* Runs fn(opaque) on the thread and waits for it, e.g. to add an fd. */
void iothread_call(struct iothread *thread, void (*fn)(void *opaque), void *opaque);

#endif
