// SPDX-License-Identifier: GPL-2.0-only
/*
 * ring.c - split virtqueues (ring.h; virtio 1.2 section 2.7).
 *
 * The checked iterator is chain_walk(): it bounds the number of descriptors by
 * the room of the caller's storage, the bytes by 4 GiB (2.7.5), and every address by
 * guest_pin().  It must not look at a descriptor twice, nor follow the guest in
 * any loop that is not bounded.
 */
#include <errno.h>
#include <string.h>

#include <linux/virtio_ring.h>

#include "vmm/virtio/ring.h"
#include "vmm/vm.h"

#define CHAIN_BYTES_MAX		UINT32_MAX	/* so that a used length always fits */

/* Layout of the available and used rings: flags, index, entries, event index. */
#define AVAIL_FLAGS		0
#define AVAIL_IDX		2
#define AVAIL_RING		4
#define USED_FLAGS		0
#define USED_IDX		2
#define USED_RING		4

static uint16_t *avail_word(const struct virtq *q, unsigned int offset)
{
	return (uint16_t *)((uint8_t *)q->avail.hva + offset);
}

static uint16_t *used_word(const struct virtq *q, unsigned int offset)
{
	return (uint16_t *)((uint8_t *)q->used.hva + offset);
}

static uint16_t avail_idx(const struct virtq *q)
{
	/* Pairs with the driver's write barrier before it moves the index. */
	return __atomic_load_n(avail_word(q, AVAIL_IDX), __ATOMIC_ACQUIRE);
}

static int broken(struct virtq *q, const char *why)
{
	if (!q->failed) {
		q->failed = true;
		if (q->broken)
			q->broken(q, why);
	}
	return -EINVAL;
}

/* ------------------------------------------------------------------ */

int virtq_start(struct virtq *q, const struct virtq_config *config, bool event_idx, bool indirect,
		uint16_t last_avail, uint16_t used_idx, const char **why)
{
	uint64_t size = config->size;

	if (!size || size > VIRTQ_SIZE_MAX || (size & (size - 1))) {
		*why = "queue size is not a power of two or too large";
		return -EINVAL;
	}
	if (config->desc % 16 || config->avail % 2 || config->used % 4) {
		*why = "a part of the queue is not aligned";
		return -EINVAL;
	}
	if (guest_pin(q->vm, config->desc, 16 * size, GUEST_READ, &q->desc) ||
	    guest_pin(q->vm, config->avail, 6 + 2 * size, GUEST_READ, &q->avail) ||
	    guest_pin(q->vm, config->used, 6 + 8 * size, GUEST_READ | GUEST_WRITE, &q->used)) {
		*why = "the queue does not lie in memory";
		return -EINVAL;
	}
	q->size = config->size;
	q->event_idx = event_idx;
	q->indirect = indirect;
	q->last_avail = last_avail;
	q->used_idx = q->published = q->signalled = used_idx;
	q->signalled_valid = false;
	q->in_flight = 0;
	q->failed = false;
	q->live = true;
	return 0;
}

void virtq_stop(struct virtq *q)
{
	if (!q->live)
		return;
	guest_unpin(q->vm, &q->desc, 0);
	guest_unpin(q->vm, &q->avail, 0);
	guest_unpin(q->vm, &q->used, 0);
	q->live = false;
}

/* ------------------------------------------------------------------ */

static void chain_unpin(struct virtq *q, struct virtq_chain *chain, uint64_t written)
{
	unsigned int i, n = chain->nr_read + chain->nr_write;

	for (i = 0; i < n; i++) {
		uint64_t part = 0;

		if (i >= chain->nr_read) {
			part = written < chain->piece[i].len ? written : chain->piece[i].len;
			written -= part;
		}
		guest_unpin(q->vm, &chain->piece[i], part);
	}
	chain->nr_read = chain->nr_write = 0;
}

/* The single read of a descriptor of the table; the driver may change it any time. */
static struct vring_desc desc_read(const struct virtq *q, unsigned int index)
{
	const uint64_t *word = (const uint64_t *)((uint8_t *)q->desc.hva + 16 * index);
	uint64_t copy[2] = {
		__atomic_load_n(&word[0], __ATOMIC_RELAXED),
		__atomic_load_n(&word[1], __ATOMIC_RELAXED),
	};
	struct vring_desc desc;

	memcpy(&desc, copy, sizeof(desc));
	return desc;
}

static int piece_add(struct virtq *q, struct virtq_chain *chain, const struct vring_desc *desc)
{
	bool write = desc->flags & VRING_DESC_F_WRITE;
	unsigned int n = chain->nr_read + chain->nr_write;
	uint64_t *total = write ? &chain->write_len : &chain->read_len;

	if (!write && chain->nr_write)
		return broken(q, "a readable descriptor follows a writable one");
	if (!desc->len)
		return 0;
	if (n >= chain->room)
		return broken(q, "descriptor chain is too long");
	if (chain->read_len + chain->write_len + desc->len > CHAIN_BYTES_MAX)
		return broken(q, "descriptor chain of 4 GiB or more");
	if (guest_pin(q->vm, desc->addr, desc->len, write ? GUEST_WRITE : GUEST_READ,
		      &chain->piece[n]))
		return broken(q, "descriptor points outside of memory");
	*total += desc->len;
	if (write)
		chain->nr_write++;
	else
		chain->nr_read++;
	return 0;
}

/*
 * Follows the chain from @index.  @table 0: in the descriptor table, else in the
 * indirect table of @entries there.  Each step counts against @left.
 */
static int chain_walk(struct virtq *q, struct virtq_chain *chain, unsigned int index)
{
	unsigned int entries = q->size, left = q->size;
	uint64_t table = 0;
	struct vring_desc desc;
	int ret;

	for (;;) {
		if (index >= entries)
			return broken(q, "descriptor index out of range");
		if (!left--)
			return broken(q, "descriptor chain is a loop");
		if (!table)
			desc = desc_read(q, index);
		else if (guest_read(q->vm, table + 16ULL * index, &desc, sizeof(desc)))
			return broken(q, "indirect table lies outside of memory");
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			if (table || !q->indirect || (desc.flags & VRING_DESC_F_NEXT))
				return broken(q, "indirect descriptor where none may be");
			if (!desc.len || desc.len % 16 || desc.len / 16 > 65536)
				return broken(q, "indirect table has an impossible size");
			/* Wrapping round the address space is no table either. */
			if (!guest_is_ram(q->vm, desc.addr, desc.len))
				return broken(q, "indirect table lies outside of memory");
			table = desc.addr;
			entries = desc.len / 16;
			/* Zero-length descriptors take no room, so they are counted here. */
			left = entries < 2U * VIRTQ_SIZE_MAX ? entries : 2U * VIRTQ_SIZE_MAX;
			index = 0;
			continue;
		}
		ret = piece_add(q, chain, &desc);
		if (ret)
			return ret;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 0;
		index = desc.next;
	}
}

uint16_t virtq_waiting(struct virtq *q)
{
	uint16_t n;

	if (!q->live || q->failed)
		return 0;
	n = avail_idx(q) - q->last_avail;
	return n < q->size ? n : q->size;
}

int virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
	uint16_t waiting;
	int ret;

	chain->nr_read = chain->nr_write = 0;
	chain->read_len = chain->write_len = 0;
	if (!q->live || q->failed)
		return -EINVAL;
	waiting = avail_idx(q) - q->last_avail;
	if (!waiting)
		return 0;
	if (waiting > q->size || waiting + q->in_flight > q->size)
		return broken(q, "more chains available than the queue has entries");
	chain->head = __atomic_load_n(avail_word(q, AVAIL_RING + 2 * (q->last_avail % q->size)),
				      __ATOMIC_RELAXED);
	ret = chain_walk(q, chain, chain->head);
	if (ret) {
		chain_unpin(q, chain, 0);
		return ret;
	}
	q->last_avail++;
	q->in_flight++;
	return 1;
}

void virtq_fill(struct virtq *q, struct virtq_chain *chain, uint32_t written, unsigned int n)
{
	struct vring_used_elem elem = { .id = chain->head, .len = written };
	unsigned int offset = USED_RING + 8 * ((q->used_idx + n) % q->size);

	chain_unpin(q, chain, written);
	memcpy((uint8_t *)q->used.hva + offset, &elem, sizeof(elem));
	guest_pin_dirty(q->vm, &q->used, offset, sizeof(elem));
}

void virtq_advance(struct virtq *q, unsigned int count)
{
	q->used_idx += count;
	q->in_flight -= count;
}

void virtq_rewind(struct virtq *q, unsigned int count)
{
	q->last_avail -= count;
	q->in_flight -= count;
}

void virtq_unpop(struct virtq *q, struct virtq_chain *chain)
{
	chain_unpin(q, chain, 0);
	virtq_rewind(q, 1);
}

void virtq_push(struct virtq *q, struct virtq_chain *chain, uint32_t written)
{
	virtq_fill(q, chain, written, 0);
	virtq_advance(q, 1);
}

bool virtq_publish(struct virtq *q)
{
	uint16_t old = q->signalled, event;
	bool valid = q->signalled_valid;

	if (!q->live || q->published == q->used_idx)
		return false;
	/* Entries before the index: the driver reads them the other way round. */
	__atomic_store_n(used_word(q, USED_IDX), q->used_idx, __ATOMIC_RELEASE);
	guest_pin_dirty(q->vm, &q->used, USED_IDX, 2);
	q->published = q->used_idx;
	/*
	 * The index must be visible before the driver's wish is read: it states
	 * the wish, then looks at the index again (2.7.7.1).
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_idx)
		return !(__atomic_load_n(avail_word(q, AVAIL_FLAGS), __ATOMIC_RELAXED) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	q->signalled = q->published;
	q->signalled_valid = true;
	event = __atomic_load_n(avail_word(q, AVAIL_RING + 2 * q->size), __ATOMIC_RELAXED);
	return !valid || vring_need_event(event, q->published, old);
}

bool virtq_notify_more(struct virtq *q, uint16_t seen)
{
	uint16_t from = q->last_avail + seen;

	if (!q->live || q->failed)
		return false;
	if (q->event_idx) {
		unsigned int offset = USED_RING + 8 * q->size;

		__atomic_store_n(used_word(q, offset), from, __ATOMIC_RELAXED);
		guest_pin_dirty(q->vm, &q->used, offset, 2);
	} else {
		__atomic_store_n(used_word(q, USED_FLAGS), 0, __ATOMIC_RELAXED);
		guest_pin_dirty(q->vm, &q->used, USED_FLAGS, 2);
	}
	/* Pairs with the driver's barrier between its index and its look at ours. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return avail_idx(q) != from;
}

bool virtq_notify_on(struct virtq *q)
{
	return virtq_notify_more(q, 0);
}

void virtq_notify_off(struct virtq *q)
{
	/* With the event index, one that is not moved on spares notifications too. */
	if (!q->live || q->failed || q->event_idx)
		return;
	__atomic_store_n(used_word(q, USED_FLAGS), VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
	guest_pin_dirty(q->vm, &q->used, USED_FLAGS, 2);
}

/* ------------------------------------------------------------------ */

int virtq_chain_iov(const struct virtq_chain *chain, bool writable, uint64_t offset, uint64_t len,
		    struct iovec *iov, unsigned int room)
{
	unsigned int i = writable ? chain->nr_read : 0, n = 0;
	unsigned int end = writable ? i + chain->nr_write : chain->nr_read;

	for (; i < end && len; i++) {
		const struct guest_pin *piece = &chain->piece[i];
		uint64_t part;

		if (offset >= piece->len) {
			offset -= piece->len;
			continue;
		}
		part = piece->len - offset < len ? piece->len - offset : len;
		if (n == room)
			return -ENOSPC;
		iov[n].iov_base = (uint8_t *)piece->hva + offset;
		iov[n++].iov_len = part;
		len -= part;
		offset = 0;
	}
	return n;
}

static size_t chain_copy(const struct virtq_chain *chain, bool writable, uint64_t offset,
			 uint8_t *buf, size_t len)
{
	unsigned int i = writable ? chain->nr_read : 0;
	unsigned int end = writable ? i + chain->nr_write : chain->nr_read;
	size_t done = 0;

	for (; i < end && done < len; i++) {
		const struct guest_pin *piece = &chain->piece[i];
		uint8_t *guest = piece->hva;
		size_t part;

		if (offset >= piece->len) {
			offset -= piece->len;
			continue;
		}
		part = piece->len - offset < len - done ? piece->len - offset : len - done;
		if (writable)
			memcpy(guest + offset, buf + done, part);
		else
			memcpy(buf + done, guest + offset, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t virtq_chain_read(const struct virtq_chain *chain, uint64_t offset, void *buf, size_t len)
{
	return chain_copy(chain, false, offset, buf, len);
}

size_t virtq_chain_write(const struct virtq_chain *chain, uint64_t offset, const void *buf,
			 size_t len)
{
	return chain_copy(chain, true, offset, (uint8_t *)buf, len);
}
