/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ring.h - split virtqueues: the only way from a device to what a driver queued.
 *
 * virtio 1.2 section 2.7 (split virtqueues), 2.7.7 and 2.7.10 (suppression of
 * interrupts and notifications, event index), 2.7.5.3 (indirect descriptors).
 *
 * A ring belongs to one thread, the I/O thread of its device, from virtq_start()
 * to virtq_stop().  Everything in guest memory is hostile: a descriptor is read
 * once, checked, and never looked at again.  What breaks the rules is reported
 * through virtq->broken() and virtq_pop() returns -EINVAL from then on.
 */
#ifndef VMM_VIRTIO_RING_H
#define VMM_VIRTIO_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/memory.h"

struct vm;

#define VIRTQ_SIZE_MAX		256	/* entries of a ring */

/* What the driver sets up before it enables the queue. */
struct virtq_config {
	uint16_t size;
	uint64_t desc;
	uint64_t avail;
	uint64_t used;
};

struct virtq {
	struct vm *vm;
	/* Called once, by the ring's thread.  May be NULL. */
	void (*broken)(struct virtq *q, const char *why);
	void *opaque;

	/* The ring's thread only; nothing here is valid unless live. */
	bool live;
	bool failed;
	bool event_idx;
	bool indirect;
	bool signalled_valid;
	uint16_t size;
	uint16_t last_avail;	/* next entry of the available ring to take */
	uint16_t used_idx;	/* next entry of the used ring to fill */
	uint16_t published;	/* used index as the driver sees it */
	uint16_t signalled;	/* published, when last asked whether to interrupt */
	uint16_t in_flight;	/* taken and not yet given back */
	struct guest_pin desc;
	struct guest_pin avail;
	struct guest_pin used;
};

/*
 * One chain.  The pieces are caller's storage of @room entries; zero-length
 * descriptors leave no piece.  Readable ones (by the device) come first.
 */
struct virtq_chain {
	uint16_t head;
	uint16_t nr_read;
	uint16_t nr_write;
	uint16_t room;
	uint64_t read_len;
	uint64_t write_len;
	struct guest_pin *piece;
};

/*
 * Checks and pins a ring; 0 or -EINVAL with the reason in *@why.  Starts at
 * @last_avail and @used_idx: zero, or what virtq_stop() left.
 */
int virtq_start(struct virtq *q, const struct virtq_config *config, bool event_idx, bool indirect,
		uint16_t last_avail, uint16_t used_idx, const char **why);
/* The indices stay readable.  Nothing may be in flight. */
void virtq_stop(struct virtq *q);

/*
 * Takes the next chain.  1: got one; 0: there is none; -EINVAL: the ring is
 * broken.  The chain's memory is pinned until virtq_push() or virtq_unpop().
 */
int virtq_pop(struct virtq *q, struct virtq_chain *chain);
/* Puts the chain popped last back. */
void virtq_unpop(struct virtq *q, struct virtq_chain *chain);
/* Chains that wait in the ring, at most q->size. */
uint16_t virtq_waiting(struct virtq *q);

/*
 * Gives a chain back: the first @written bytes of its writable part were (or may
 * have been) written.  The driver sees it after virtq_publish().
 */
void virtq_push(struct virtq *q, struct virtq_chain *chain, uint32_t written);
/*
 * The same for several chains that the driver must see together: fill() puts one
 * at place @n, in any order, advance() gives back the first @count of them, or
 * rewind() puts the last @count chains popped back into the ring.
 */
void virtq_fill(struct virtq *q, struct virtq_chain *chain, uint32_t written, unsigned int n);
void virtq_advance(struct virtq *q, unsigned int count);
void virtq_rewind(struct virtq *q, unsigned int count);
/* Makes what was pushed visible.  True: the driver wants an interrupt. */
bool virtq_publish(struct virtq *q);

/* Asks the driver for notifications, or to spare them.  True: chains are waiting
 * already, so look again. */
bool virtq_notify_on(struct virtq *q);
/* The same when the @seen chains that wait are not enough: asks for more of them. */
bool virtq_notify_more(struct virtq *q, uint16_t seen);
void virtq_notify_off(struct virtq *q);

/* Copies from the readable or to the writable part; return bytes copied. */
size_t virtq_chain_read(const struct virtq_chain *chain, uint64_t offset, void *buf, size_t len);
size_t virtq_chain_write(const struct virtq_chain *chain, uint64_t offset, const void *buf,
			 size_t len);
/*
 * Host addresses of [offset, offset + len) of the readable (or writable) part.
 * Returns the number of entries, or -ENOSPC when @room is too small.
 */
int virtq_chain_iov(const struct virtq_chain *chain, bool writable, uint64_t offset, uint64_t len,
		    struct iovec *iov, unsigned int room);

#endif
