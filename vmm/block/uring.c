// SPDX-License-Identifier: GPL-2.0-only
/*
 * uring.c - reads, writes and flushes by io_uring.
 *
 * The ring is used by the loop's thread only.  Its size bounds what is in flight
 * here; more goes to the worker threads.  A result that is not complete (short,
 * or "try again") is handed to them too, so there is no retry here.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/block/internal.h"

#define URING_ENTRIES	64
#define URING_IN_FLIGHT	128	/* the completion ring has twice the entries */

struct block_uring {
	struct io_uring ring;
	unsigned int in_flight;
	unsigned int queued;		/* entries filled in and not submitted */
	int event;
	struct loop_fd event_fd;
};

static void event_signal(struct block_uring *u)
{
	uint64_t one = 1;

	while (write(u->event, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void submit_all(struct block_uring *u)
{
	int n;

	while (u->queued) {
		n = io_uring_submit(&u->ring);
		if (n > 0)
			u->queued -= (unsigned int)n < u->queued ? (unsigned int)n : u->queued;
		else if (n != -EINTR)
			break;
	}
	/* Short of memory: again from the loop, so that it serves others meanwhile. */
	if (u->queued)
		event_signal(u);
}

static void uring_event(void *opaque, uint32_t events)
{
	struct block *block = opaque;
	struct block_uring *u = block->uring;
	struct block_request *req;
	struct io_uring_cqe *cqe;
	unsigned int left = URING_IN_FLIGHT;
	uint64_t count;
	int res;

	(void)events;
	while (read(u->event, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	/* Finishing lets a busy guest submit more: others on this loop get their turn. */
	while (left-- && !io_uring_peek_cqe(&u->ring, &cqe)) {
		req = io_uring_cqe_get_data(cqe);
		res = cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		u->in_flight--;
		if (res == -EAGAIN || res == -EINTR || res == -ECANCELED) {
			block_workers_submit(block, req);
		} else if (res < 0) {
			block_complete(req, res);
		} else if (req->op == BLOCK_FLUSH || (uint64_t)res == req->len) {
			block_complete(req, 0);
		} else {
			/* The worker finds out whether it is the end of the file. */
			block_request_advance(req, (uint64_t)res);
			block_workers_submit(block, req);
		}
	}
	if (io_uring_cq_ready(&u->ring))
		event_signal(u);
	block_complete_end(block);
}

bool block_uring_submit(struct block *block, struct block_request *req)
{
	struct block_uring *u = block->uring;
	struct io_uring_sqe *sqe;

	if (u->in_flight >= URING_IN_FLIGHT)
		return false;
	if (req->op != BLOCK_READ && req->op != BLOCK_WRITE && req->op != BLOCK_FLUSH)
		return false;
	/* Results are 32 bits, and the kernel cuts transfers below 2 GiB anyway. */
	if (req->len > INT32_MAX)
		return false;
	sqe = io_uring_get_sqe(&u->ring);
	if (!sqe) {
		submit_all(u);
		sqe = io_uring_get_sqe(&u->ring);
	}
	if (!sqe)
		return false;
	if (req->op == BLOCK_READ) {
		io_uring_prep_readv(sqe, block->fd, req->iov, req->nr_iov, req->offset);
	} else if (req->op == BLOCK_WRITE) {
		io_uring_prep_writev(sqe, block->fd, req->iov, req->nr_iov, req->offset);
		if (req->durable)
			sqe->rw_flags = RWF_DSYNC;
	} else {
		io_uring_prep_fsync(sqe, block->fd, IORING_FSYNC_DATASYNC);
	}
	io_uring_sqe_set_data(sqe, req);
	u->in_flight++;
	u->queued++;
	return true;
}

void block_uring_kick(struct block *block)
{
	if (block->uring->queued)
		submit_all(block->uring);
}

int block_uring_create(struct block *block)
{
	struct block_uring *u = calloc(1, sizeof(*u));
	int err;

	if (!u)
		return -ENOMEM;
	err = io_uring_queue_init(URING_ENTRIES, &u->ring, IORING_SETUP_CLAMP);
	if (err) {
		free(u);
		return err;
	}
	u->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = u->event < 0 ? -errno : io_uring_register_eventfd(&u->ring, u->event);
	if (err)
		goto fail;
	io_uring_ring_dontfork(&u->ring);
	u->event_fd = (struct loop_fd){
		.fd = u->event, .events = EPOLLIN, .fn = uring_event, .opaque = block,
	};
	err = loop_fd_add(block->loop, &u->event_fd);
	if (err)
		goto fail;
	block->uring = u;
	return 0;
fail:
	if (u->event >= 0)
		close(u->event);
	io_uring_queue_exit(&u->ring);
	free(u);
	return err;
}

void block_uring_destroy(struct block *block)
{
	struct block_uring *u = block->uring;

	if (!u)
		return;
	io_uring_queue_exit(&u->ring);
	close(u->event);
	free(u);
	block->uring = NULL;
}
