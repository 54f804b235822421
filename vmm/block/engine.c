// SPDX-License-Identifier: GPL-2.0-only
/*
 * engine.c - requests to a disk's backing file (block.h): who carries out which.
 *
 * io_uring takes aligned reads and writes, and flushes.  Whatever may block for
 * long or needs several calls (unaligned buffers, discard, zeroes, the rest of a
 * short transfer) goes to worker threads, and everything does where io_uring is
 * not allowed.
 *
 * Must not decide anything about the guest: a result is 0 or -errno.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/block/internal.h"

static void stat_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

void block_complete(struct block_request *req, int result)
{
	struct block_stats *stats = &req->block->stats;

	if (result)
		stat_add(&stats->errors, 1);
	req->done(req, result);
}

void block_complete_end(struct block *block)
{
	if (block->batch_done)
		block->batch_done(block->opaque);
	block_kick(block);
}

void block_get_stats(const struct block *block, struct block_stats *stats)
{
	const uint64_t *from = (const uint64_t *)&block->stats;
	uint64_t *to = (uint64_t *)stats;
	size_t i;

	for (i = 0; i < sizeof(*stats) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void block_request_advance(struct block_request *req, uint64_t n)
{
	req->offset += n;
	req->len -= n;
	while (n && req->nr_iov) {
		if (n < req->iov->iov_len) {
			req->iov->iov_base = (uint8_t *)req->iov->iov_base + n;
			req->iov->iov_len -= n;
			return;
		}
		n -= req->iov->iov_len;
		req->iov++;
		req->nr_iov--;
	}
}

bool block_request_aligned(const struct block *block, const struct block_request *req)
{
	uintptr_t mask = block->facts.align - 1;
	unsigned int i;

	if (!block->facts.direct || (req->op != BLOCK_READ && req->op != BLOCK_WRITE))
		return true;
	for (i = 0; i < req->nr_iov; i++)
		if (((uintptr_t)req->iov[i].iov_base | req->iov[i].iov_len) & mask)
			return false;
	return true;
}

void block_submit(struct block *block, struct block_request *req)
{
	req->block = block;
	req->next = NULL;
	stat_add(&block->stats.ops[req->op], 1);
	stat_add(&block->stats.bytes[req->op], req->len);
	if (!block_request_aligned(block, req))
		stat_add(&block->stats.bounced, 1);
	else if (block->uring && block_uring_submit(block, req))
		return;
	block_workers_submit(block, req);
}

void block_kick(struct block *block)
{
	if (block->uring)
		block_uring_kick(block);
}

int block_attach(struct block *block, struct loop *loop, void (*batch_done)(void *opaque),
		 void *opaque)
{
	int err;

	block->batch_done = batch_done;
	block->opaque = opaque;
	block->loop = loop;
	err = loop_fd_add(loop, &block->workers.event_fd);
	if (err)
		return err;
	/* Without it, or where it is forbidden, the threads do all of it. */
	if (block->want_uring)
		block_uring_create(block);
	return 0;
}

const struct block_facts *block_facts(const struct block *block)
{
	return &block->facts;
}

const char *block_path(const struct block *block)
{
	return block->path;
}

const char *block_engine(const struct block *block)
{
	return block->uring ? "io_uring" : "threads";
}

int block_open(struct vm *vm, const struct block_options *options, struct block **out, char *err,
	       size_t err_len)
{
	struct block *block = calloc(1, sizeof(*block));
	int ret = -ENOMEM;

	if (!block)
		goto no_memory;
	block->vm = vm;
	block->fd = -1;
	block->want_uring = !options->no_uring;
	block->path = strdup(options->path);
	if (!block->path)
		goto no_memory;
	ret = block_workers_init(block);
	if (ret)
		goto no_memory;
	ret = block_file_open(block, options, err, err_len);
	if (ret) {
		block_close(block);
		return ret;
	}
	*out = block;
	return 0;
no_memory:
	snprintf(err, err_len, "%s: %s", options->path, strerror(-ret));
	if (block)
		free(block->path);
	free(block);
	return ret;
}

void block_close(struct block *block)
{
	if (!block)
		return;
	block_uring_destroy(block);
	block_workers_destroy(block);
	if (block->fd >= 0)
		close(block->fd);
	free(block->path);
	free(block);
}
