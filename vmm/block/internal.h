/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * internal.h - between the files of vmm/block only.
 */
#ifndef VMM_BLOCK_INTERNAL_H
#define VMM_BLOCK_INTERNAL_H

#include <pthread.h>

#include "vmm/block/block.h"
#include "vmm/loop.h"

#define BLOCK_WORKERS	4

struct block_uring;

/* Threads that carry out what blocks; started at the first request for them. */
struct block_workers {
	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t wake;
	struct block_request *queue, **tail;
	struct block_request *finished;
	unsigned int nr, idle;
	bool stop;
	pthread_t thread[BLOCK_WORKERS];
	int event;			/* eventfd: finished is not empty */
	struct loop_fd event_fd;
};

struct block {
	struct vm *vm;
	char *path;
	int fd;
	struct block_facts facts;
	struct block_stats stats;	/* written by the loop's thread, read by any */
	bool zero_range_fails;		/* atomic: the file system has no ZERO_RANGE */
	bool want_uring;
	struct loop *loop;
	void (*batch_done)(void *opaque);
	void *opaque;
	struct block_uring *uring;	/* NULL: worker threads only */
	struct block_workers workers;
};

/* file.c */
int block_file_open(struct block *block, const struct block_options *options, char *err,
		    size_t err_len);

/* holder.c: "guest NAME (pid N)" or what else is known of who has the file open. */
void block_holder(int fd, const char *path, char *buf, size_t len);

/* engine.c: accounts the result and calls done(). */
void block_complete(struct block_request *req, int result);
/* After the last of those found complete at once. */
void block_complete_end(struct block *block);
/* Drops the first @n bytes of the request: they are done. */
void block_request_advance(struct block_request *req, uint64_t n);
/* Can it go to the kernel as it is? */
bool block_request_aligned(const struct block *block, const struct block_request *req);

/* workers.c */
int block_workers_init(struct block *block);
void block_workers_attach(struct block *block);
void block_workers_destroy(struct block *block);
void block_workers_submit(struct block *block, struct block_request *req);

/* uring.c.  False: not now, or not for this request. */
int block_uring_create(struct block *block);
void block_uring_destroy(struct block *block);
bool block_uring_submit(struct block *block, struct block_request *req);
void block_uring_kick(struct block *block);

#endif
