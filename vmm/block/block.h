/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * block.h - a disk's backing file: open, lock, read, write, flush, discard, zero.
 *
 * file.c opens and locks and finds out what the file can do; engine.c takes
 * requests; uring.c and workers.c carry them out.  Nothing here knows virtio.
 *
 * A block belongs to one loop: requests are submitted and completed on its
 * thread.  A completed BLOCK_FLUSH means that everything completed before it was
 * submitted survives a crash of the host.
 */
#ifndef VMM_BLOCK_BLOCK_H
#define VMM_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct block;
struct loop;
struct vm;

#define BLOCK_SECTOR		512U
#define BLOCK_IOV_MAX		256

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_ZERO };

struct block_request {
	enum block_op op;
	uint64_t offset;	/* bytes; a multiple of BLOCK_SECTOR, as len */
	uint64_t len;
	struct iovec *iov;	/* READ, WRITE: exactly len bytes; the engine may change it */
	unsigned int nr_iov;
	bool durable;		/* WRITE: not complete before it would survive a crash */
	bool unmap;		/* ZERO: may deallocate */
	/* On the loop's thread, never from within block_submit(); 0 or -errno. */
	void (*done)(struct block_request *req, int result);
	/* private to the engine */
	struct block *block;
	struct block_request *next;
	int result;
};

struct block_options {
	const char *path;
	bool readonly;
	bool direct;		/* O_DIRECT where it is possible */
	bool no_uring;		/* worker threads only */
};

/* What the file is and can do; fixed once it is open. */
struct block_facts {
	uint64_t size;		/* bytes */
	uint32_t logical;	/* smallest unit a guest may address, bytes */
	uint32_t physical;	/* unit without read-modify-write, bytes */
	uint32_t optimal;	/* good size of a request, bytes; 0: unknown */
	uint32_t discard_unit;	/* bytes */
	bool device;		/* a block device, else a file */
	bool readonly;
	bool direct;
	bool can_discard;
	bool can_zero;		/* faster than writing zeroes */
	bool locked;		/* false: the file system has no locks */
	uint32_t align;		/* of buffers for direct I/O, bytes */
	const char *direct_why;	/* why not direct; NULL: not asked for, or it is */
};

struct block_stats {
	uint64_t ops[BLOCK_ZERO + 1];
	uint64_t bytes[BLOCK_ZERO + 1];
	uint64_t errors;
	uint64_t bounced;	/* requests that went through a bounce buffer */
};

/*
 * Opens, locks and probes.  On error one line is in @err: the file, what is
 * wrong, what to do.  The file's contents are not touched.
 */
int block_open(struct vm *vm, const struct block_options *options, struct block **out, char *err,
	       size_t err_len);
/* Nothing may be in flight. */
void block_close(struct block *block);

const struct block_facts *block_facts(const struct block *block);
const char *block_path(const struct block *block);
/* "io_uring" or "threads". */
const char *block_engine(const struct block *block);
/* A snapshot; any thread. */
void block_get_stats(const struct block *block, struct block_stats *stats);

/* Ties the block to the loop of the calling thread.  @batch_done is called after
 * the done() of all requests that were found complete at once. */
int block_attach(struct block *block, struct loop *loop, void (*batch_done)(void *opaque),
		 void *opaque);

/* Takes a request; its memory stays until done().  Handed to the kernel by
 * block_kick() at the latest, so that several go in one call. */
void block_submit(struct block *block, struct block_request *req);
void block_kick(struct block *block);

#endif
