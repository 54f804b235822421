// SPDX-License-Identifier: GPL-2.0-only
/*
 * workers.c - requests carried out by blocking calls on a few threads.
 *
 * The fallback for io_uring, and the only place for what takes more than one
 * call: bounce buffers for unaligned direct I/O, short transfers, discard and
 * zeroes.  Threads start when there is work and no idle one, and then stay.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/block/internal.h"

#define BOUNCE_SIZE	(256U << 10)
#define BOUNCE_ALIGN	4096
#define WORKER_STACK	(64 * 1024)

/* ------------------------------------------------------------------ */
/* The calls.  All on a worker.                                         */
/* ------------------------------------------------------------------ */

static int rw_plain(struct block *block, struct block_request *req)
{
	int flags = req->op == BLOCK_WRITE && req->durable ? RWF_DSYNC : 0;
	ssize_t n;

	while (req->len) {
		/* After a short transfer the rest may have lost its alignment. */
		if (!block_request_aligned(block, req))
			return -EAGAIN;
		n = req->op == BLOCK_READ ?
			    preadv(block->fd, req->iov, req->nr_iov, (off_t)req->offset) :
			    pwritev2(block->fd, req->iov, req->nr_iov, (off_t)req->offset, flags);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		/* The size was checked when the disk was opened: somebody cut the file. */
		if (!n)
			return req->op == BLOCK_READ ? -ENODATA : -EIO;
		block_request_advance(req, (uint64_t)n);
	}
	return 0;
}

/* Moves @len bytes between @buf and the front of the request's vector. */
static void bounce_copy(const struct block_request *req, uint8_t *buf, size_t len, bool to_request)
{
	unsigned int i;
	size_t part;

	for (i = 0; i < req->nr_iov && len; i++) {
		part = req->iov[i].iov_len < len ? req->iov[i].iov_len : len;
		if (to_request)
			memcpy(req->iov[i].iov_base, buf, part);
		else
			memcpy(buf, req->iov[i].iov_base, part);
		buf += part;
		len -= part;
	}
}

static int rw_bounced(struct block *block, struct block_request *req)
{
	int flags = req->durable ? RWF_DSYNC : 0, err = 0;
	struct iovec iov;
	void *buf;
	ssize_t n;

	if (posix_memalign(&buf, BOUNCE_ALIGN, BOUNCE_SIZE))
		return -ENOMEM;
	while (req->len && !err) {
		size_t part = req->len < BOUNCE_SIZE ? req->len : BOUNCE_SIZE;

		if (req->op == BLOCK_WRITE) {
			bounce_copy(req, buf, part, false);
			iov = (struct iovec){ buf, part };
			n = pwritev2(block->fd, &iov, 1, (off_t)req->offset, flags);
		} else {
			n = pread(block->fd, buf, part, (off_t)req->offset);
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err = -errno;
			break;
		}
		/* Direct I/O goes on at a sector only. */
		n -= n % BLOCK_SECTOR;
		if (!n)
			err = req->op == BLOCK_READ ? -ENODATA : -EIO;
		if (req->op == BLOCK_READ)
			bounce_copy(req, buf, (size_t)n, true);
		block_request_advance(req, (uint64_t)n);
	}
	free(buf);
	return err;
}

static int write_zeroes(struct block *block, uint64_t offset, uint64_t len)
{
	static const uint8_t zeroes[64 << 10] __attribute__((aligned(BOUNCE_ALIGN)));
	ssize_t n;

	while (len) {
		n = pwrite(block->fd, zeroes, len < sizeof(zeroes) ? len : sizeof(zeroes),
			   (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -EIO;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int zero(struct block *block, const struct block_request *req)
{
	uint64_t range[2] = { req->offset, req->len };
	off_t offset = (off_t)req->offset, len = (off_t)req->len;
	int err = 0;

	if (block->facts.device) {
		/* The kernel writes zeroes where the device cannot make them. */
		if (!ioctl(block->fd, BLKZEROOUT, range))
			return 0;
		if (errno != EOPNOTSUPP && errno != ENOTTY)
			return -errno;
		return write_zeroes(block, req->offset, req->len);
	}
	if (req->unmap && block->facts.can_discard &&
	    !fallocate(block->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len))
		return 0;
	if (!__atomic_load_n(&block->zero_range_fails, __ATOMIC_RELAXED)) {
		if (!fallocate(block->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, len))
			return 0;
		err = -errno;
		if (err == -EOPNOTSUPP)
			__atomic_store_n(&block->zero_range_fails, true, __ATOMIC_RELAXED);
		else if (err != -EINVAL)
			return err;
	}
	return write_zeroes(block, req->offset, req->len);
}

static int discard(struct block *block, const struct block_request *req)
{
	uint64_t range[2] = { req->offset, req->len };

	if (block->facts.device)
		return ioctl(block->fd, BLKDISCARD, range) ? -errno : 0;
	return fallocate(block->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)req->offset, (off_t)req->len) ? -errno : 0;
}

static int request_run(struct block *block, struct block_request *req)
{
	int err;

	switch (req->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		err = block_request_aligned(block, req) ? rw_plain(block, req) : -EAGAIN;
		return err == -EAGAIN ? rw_bounced(block, req) : err;
	case BLOCK_FLUSH:
		return fdatasync(block->fd) ? -errno : 0;
	case BLOCK_DISCARD:
		return discard(block, req);
	case BLOCK_ZERO:
		err = zero(block, req);
		if (!err && req->durable && fdatasync(block->fd))
			err = -errno;
		return err;
	}
	return -EINVAL;
}

/* ------------------------------------------------------------------ */

static void *worker_main(void *arg)
{
	struct block *block = arg;
	struct block_workers *w = &block->workers;
	struct block_request *req;
	uint64_t one = 1;

	pthread_setname_np(pthread_self(), "block");
	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (!w->queue && !w->stop) {
			w->idle++;
			pthread_cond_wait(&w->wake, &w->lock);
			w->idle--;
		}
		req = w->queue;
		if (!req)
			break;
		w->queue = req->next;
		if (!w->queue)
			w->tail = &w->queue;
		pthread_mutex_unlock(&w->lock);
		req->result = request_run(block, req);
		pthread_mutex_lock(&w->lock);
		req->next = w->finished;
		w->finished = req;
		while (write(w->event, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Lock held. */
static int worker_start(struct block *block)
{
	struct block_workers *w = &block->workers;
	pthread_attr_t attr;
	sigset_t all, old;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	/* SIGXFSZ too: a file size limit is an I/O error, not the end of the guest. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&w->thread[w->nr], &attr, worker_main, block);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (!err)
		w->nr++;
	return err;
}

void block_workers_submit(struct block *block, struct block_request *req)
{
	struct block_workers *w = &block->workers;
	uint64_t one = 1;
	int err = 0;

	req->next = NULL;
	pthread_mutex_lock(&w->lock);
	if (!w->idle && w->nr < BLOCK_WORKERS)
		err = worker_start(block);
	if (!w->nr) {
		/* Not even one thread: the request fails, by the ordinary way. */
		req->result = err;
		req->next = w->finished;
		w->finished = req;
		while (write(w->event, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	} else {
		*w->tail = req;
		w->tail = &req->next;
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
}

static void workers_event(void *opaque, uint32_t events)
{
	struct block *block = opaque;
	struct block_workers *w = &block->workers;
	struct block_request *list, *req;
	uint64_t count;

	(void)events;
	while (read(w->event, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&w->lock);
	list = w->finished;
	w->finished = NULL;
	pthread_mutex_unlock(&w->lock);
	while ((req = list)) {
		list = req->next;
		block_complete(req, req->result);
	}
	block_complete_end(block);
}

int block_workers_init(struct block *block)
{
	struct block_workers *w = &block->workers;

	w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->event < 0)
		return -errno;
	w->event_fd = (struct loop_fd){
		.fd = w->event, .events = EPOLLIN, .fn = workers_event, .opaque = block,
	};
	w->tail = &w->queue;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	return 0;
}

void block_workers_destroy(struct block *block)
{
	struct block_workers *w = &block->workers;
	unsigned int i;

	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	for (i = 0; i < w->nr; i++)
		pthread_join(w->thread[i], NULL);
	close(w->event);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
}
