// SPDX-License-Identifier: GPL-2.0-only
/*
 * blk.c - virtio block device.
 *
 * virtio 1.2 section 5.2: features (5.2.3), configuration (5.2.4), requests
 * (5.2.6).  The disk itself is vmm/block.
 *
 * A request is checked here before a byte moves: kind, range, length, room for
 * the status.  What is wrong with it is answered in its status byte; only a
 * request without a header or status is a broken ring.
 *
 * Durability: with a driver that knows FLUSH and a cache in write-back mode, a
 * write is complete when the host's cache has it and durable after a FLUSH.  In any
 * other case every write is durable when it completes (5.2.6.2).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include "vmm/block/block.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vm.h"

#define BLK_CLASS		0x010000	/* SCSI-like mass storage */
#define BLK_QUEUES_MAX		4
#define BLK_QUEUE_SIZE		256
#define BLK_SEG_MAX		126
#define BLK_PIECES		(BLK_SEG_MAX + 2)	/* header and status */
#define BLK_IN_FLIGHT		256		/* requests of one device */
#define BLK_RANGE_MAX		(1U << 22)	/* sectors of one discard: 2 GiB */

struct blk_request {
	struct block_request req;
	struct virtio_blk *blk;
	struct virtio_queue *q;
	struct blk_request *next;	/* free list */
	struct virtq_chain chain;
	struct guest_pin piece[BLK_PIECES];
	struct iovec iov[BLK_PIECES];
};

struct virtio_blk {
	struct virtio_device vdev;
	struct block *block;
	uint64_t sectors;
	bool writeback;			/* atomic; the configuration's wce */
	uint8_t wce;			/* the same, for save and load */
	/* The I/O thread's */
	struct blk_request *free;
	unsigned int nr_requests;
	bool starved;			/* a queue waits for a free request */
	uint32_t finished;		/* queues with requests to publish, a bit each */
};

static const struct device_field blk_fields[] = {
	DEVICE_FIELD(1, 1, struct virtio_blk, wce),
	VIRTIO_DEVICE_FIELDS(struct virtio_blk, vdev),
};

static struct blk_request *request_get(struct virtio_blk *blk)
{
	struct blk_request *r = blk->free;

	if (r) {
		blk->free = r->next;
		return r;
	}
	if (blk->nr_requests == BLK_IN_FLIGHT)
		return NULL;
	r = malloc(sizeof(*r));
	if (!r)
		return NULL;
	blk->nr_requests++;
	r->blk = blk;
	r->chain.piece = r->piece;
	r->chain.room = BLK_PIECES;
	return r;
}

static void request_put(struct blk_request *r)
{
	r->next = r->blk->free;
	r->blk->free = r;
}

static void requests_free(struct virtio_blk *blk)
{
	struct blk_request *r;

	while ((r = blk->free)) {
		blk->free = r->next;
		free(r);
	}
}

/* Gives the chain back with @status as its last byte. */
static void request_finish(struct blk_request *r, uint8_t status)
{
	uint64_t len = r->chain.write_len;

	virtq_chain_write(&r->chain, len - 1, &status, 1);
	virtq_push(&r->q->ring, &r->chain, len);
	request_put(r);
}

static void queue_process(struct virtio_device *vdev, struct virtio_queue *q);

static void report(struct virtio_blk *blk, const struct block_request *req, int err)
{
	static const char *const what[] = { "read", "write", "flush", "discard", "write zeroes" };
	struct device *dev = virtio_dev(&blk->vdev);

	if (err == -ENODATA)
		device_error(dev, "%s: the file has become shorter than the disk",
			     block_path(blk->block));
	else
		device_error(dev, "%s: %s at byte %llu failed: %s", block_path(blk->block),
			     what[req->op], (unsigned long long)req->offset, strerror(-err));
}

/* From the engine, on the I/O thread. */
static void request_done(struct block_request *req, int result)
{
	struct blk_request *r = (struct blk_request *)req;
	struct virtio_blk *blk = r->blk;
	struct virtio_queue *q = r->q;
	uint8_t status = VIRTIO_BLK_S_OK;

	if (result == -EOPNOTSUPP && req->op >= BLOCK_DISCARD) {
		status = VIRTIO_BLK_S_UNSUPP;
	} else if (result) {
		status = VIRTIO_BLK_S_IOERR;
		report(blk, req, result);
	}
	request_finish(r, status);
	blk->finished |= 1U << q->index;
	virtio_put(&blk->vdev);
}

/* The engine has reported all it had: one interrupt decision for a batch. */
static void batch_done(void *opaque)
{
	struct virtio_blk *blk = opaque;
	struct virtio_device *vdev = &blk->vdev;
	uint32_t finished = blk->finished;
	unsigned int i;

	blk->finished = 0;
	for (i = 0; i < vdev->nr_queues; i++)
		if (finished & 1U << i)
			virtio_queue_done(&vdev->queue[i]);
	if (!blk->starved || !virtio_active(vdev))
		return;
	blk->starved = false;
	for (i = 0; i < vdev->nr_queues && virtio_active(vdev); i++)
		if (vdev->queue[i].ring.live)
			queue_process(vdev, &vdev->queue[i]);
}

/* ------------------------------------------------------------------ */

static bool in_range(const struct virtio_blk *blk, uint64_t sector, uint64_t len)
{
	uint64_t sectors = len / BLOCK_SECTOR;

	return !(len % BLOCK_SECTOR) && sector <= blk->sectors && sectors <= blk->sectors - sector;
}

/* Fills in a read or write; a status to answer with at once, or -1. */
static int rw_prepare(struct virtio_blk *blk, struct blk_request *r, bool write, uint64_t sector)
{
	uint64_t len = write ? r->chain.read_len - sizeof(struct virtio_blk_outhdr) :
			       r->chain.write_len - 1;
	uint32_t logical = block_facts(blk->block)->logical;
	int n;

	if (write && block_facts(blk->block)->readonly)
		return VIRTIO_BLK_S_IOERR;
	if (!in_range(blk, sector, len) || len % logical || sector * BLOCK_SECTOR % logical) {
		device_warn(virtio_dev(&blk->vdev), "%s of %llu bytes at sector %llu of %llu",
			    write ? "write" : "read", (unsigned long long)len,
			    (unsigned long long)sector, (unsigned long long)blk->sectors);
		return VIRTIO_BLK_S_IOERR;
	}
	if (!len)
		return VIRTIO_BLK_S_OK;
	n = virtq_chain_iov(&r->chain, !write, write ? sizeof(struct virtio_blk_outhdr) : 0, len,
			    r->iov, BLK_PIECES);
	if (n < 0)
		return VIRTIO_BLK_S_IOERR;
	r->req.op = write ? BLOCK_WRITE : BLOCK_READ;
	r->req.offset = sector * BLOCK_SECTOR;
	r->req.len = len;
	r->req.iov = r->iov;
	r->req.nr_iov = n;
	return -1;
}

/* One range a request (max_discard_seg and max_write_zeroes_seg are 1). */
static int range_prepare(struct virtio_blk *blk, struct blk_request *r, bool zero)
{
	unsigned int feature = zero ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD;
	struct virtio_blk_discard_write_zeroes range;
	uint64_t len;

	if (!virtio_has(&blk->vdev, feature))
		return VIRTIO_BLK_S_UNSUPP;
	if (r->chain.read_len != sizeof(struct virtio_blk_outhdr) + sizeof(range))
		return VIRTIO_BLK_S_IOERR;
	virtq_chain_read(&r->chain, sizeof(struct virtio_blk_outhdr), &range, sizeof(range));
	if (range.flags & ~(zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0U))
		return VIRTIO_BLK_S_UNSUPP;
	len = (uint64_t)range.num_sectors * BLOCK_SECTOR;
	if (range.num_sectors > BLK_RANGE_MAX || !in_range(blk, range.sector, len))
		return VIRTIO_BLK_S_IOERR;
	if (!len)
		return VIRTIO_BLK_S_OK;
	r->req.op = zero ? BLOCK_ZERO : BLOCK_DISCARD;
	r->req.offset = range.sector * BLOCK_SECTOR;
	r->req.len = len;
	r->req.iov = NULL;
	r->req.nr_iov = 0;
	r->req.unmap = range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	return -1;
}

static int id_answer(struct virtio_blk *blk, struct blk_request *r)
{
	char id[VIRTIO_BLK_ID_BYTES] = { 0 };
	uint64_t room = r->chain.write_len - 1;

	memcpy(id, virtio_dev(&blk->vdev)->id,
	       strnlen(virtio_dev(&blk->vdev)->id, sizeof(id)));
	virtq_chain_write(&r->chain, 0, id, room < sizeof(id) ? room : sizeof(id));
	return VIRTIO_BLK_S_OK;
}

/* Starts a request; a status to answer with at once, or -1: the engine has it. */
static int request_start(struct virtio_blk *blk, struct blk_request *r)
{
	bool durable = !virtio_has(&blk->vdev, VIRTIO_BLK_F_FLUSH) ||
		       !__atomic_load_n(&blk->writeback, __ATOMIC_RELAXED);
	struct virtio_blk_outhdr hdr;
	int status;

	virtq_chain_read(&r->chain, 0, &hdr, sizeof(hdr));
	r->req = (struct block_request){ .done = request_done, .durable = durable };
	switch (hdr.type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		status = rw_prepare(blk, r, hdr.type == VIRTIO_BLK_T_OUT, hdr.sector);
		break;
	case VIRTIO_BLK_T_FLUSH:
		r->req.op = BLOCK_FLUSH;
		status = block_facts(blk->block)->readonly ? VIRTIO_BLK_S_OK : -1;
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		status = range_prepare(blk, r, hdr.type == VIRTIO_BLK_T_WRITE_ZEROES);
		break;
	case VIRTIO_BLK_T_GET_ID:
		status = id_answer(blk, r);
		break;
	default:
		status = VIRTIO_BLK_S_UNSUPP;
		break;
	}
	if (status < 0) {
		virtio_get(&blk->vdev);
		block_submit(blk->block, &r->req);
	}
	return status;
}

static void queue_process(struct virtio_device *vdev, struct virtio_queue *q)
{
	struct virtio_blk *blk = (struct virtio_blk *)vdev;
	unsigned int left = q->ring.size;
	struct blk_request *r;
	int status, ret = 0;

	do {
		virtq_notify_off(&q->ring);
		for (;;) {
			/* A guest that refills as fast must not keep this thread. */
			if (!left--) {
				virtio_queue_kick(vdev, q->index);
				goto out;
			}
			r = request_get(blk);
			if (!r) {
				/* The next completion comes back here. */
				blk->starved = true;
				goto out;
			}
			ret = virtq_pop(&q->ring, &r->chain);
			if (ret <= 0) {
				request_put(r);
				break;
			}
			r->q = q;
			if (r->chain.read_len < sizeof(struct virtio_blk_outhdr) ||
			    !r->chain.write_len) {
				virtq_push(&q->ring, &r->chain, 0);
				request_put(r);
				virtio_fail(vdev, "queue %u: request without header or status",
					    q->index);
				goto out;
			}
			status = request_start(blk, r);
			if (status >= 0)
				request_finish(r, status);
		}
	} while (!ret && virtq_notify_on(&q->ring));
out:
	block_kick(blk->block);
	virtio_queue_done(q);
}

/* ------------------------------------------------------------------ */

static void config_write(struct virtio_device *vdev, unsigned int offset, unsigned int size,
			 uint64_t value)
{
	struct virtio_blk *blk = (struct virtio_blk *)vdev;
	struct virtio_blk_config *config = (struct virtio_blk_config *)vdev->config;

	if (offset != offsetof(struct virtio_blk_config, wce) || size != 1 ||
	    !virtio_has(vdev, VIRTIO_BLK_F_CONFIG_WCE))
		return;
	config->wce = blk->wce = value & 1;
	__atomic_store_n(&blk->writeback, config->wce, __ATOMIC_RELAXED);
}

static void blk_class_reset(struct virtio_device *vdev)
{
	struct virtio_blk *blk = (struct virtio_blk *)vdev;
	struct virtio_blk_config *config = (struct virtio_blk_config *)vdev->config;

	config->wce = blk->wce = 1;
	__atomic_store_n(&blk->writeback, true, __ATOMIC_RELAXED);
}

static const struct virtio_ops blk_ops = {
	.id = VIRTIO_ID_BLOCK,
	.class_code = BLK_CLASS,
	.queue = queue_process,
	.reset = blk_class_reset,
	.config_write = config_write,
};

static unsigned int exponent(uint32_t value)
{
	return 31 - __builtin_clz(value ? value : 1);
}

static void features_init(struct virtio_blk *blk, unsigned int queues)
{
	const struct block_facts *facts = block_facts(blk->block);
	struct virtio_device *vdev = &blk->vdev;
	struct virtio_blk_config *config = (struct virtio_blk_config *)vdev->config;

	vdev->config_len = offsetof(struct virtio_blk_config, max_secure_erase_sectors);
	vdev->offered = 1ULL << VIRTIO_BLK_F_SEG_MAX | 1ULL << VIRTIO_BLK_F_BLK_SIZE |
			1ULL << VIRTIO_BLK_F_TOPOLOGY | 1ULL << VIRTIO_BLK_F_FLUSH |
			1ULL << VIRTIO_BLK_F_MQ;
	config->capacity = blk->sectors;
	config->seg_max = BLK_SEG_MAX;
	config->blk_size = facts->logical;
	config->physical_block_exp = exponent(facts->physical / facts->logical);
	config->min_io_size = facts->physical / facts->logical;
	config->opt_io_size = facts->optimal / facts->logical;
	config->num_queues = queues;
	if (facts->readonly)
		vdev->offered |= 1ULL << VIRTIO_BLK_F_RO;
	else
		vdev->offered |= 1ULL << VIRTIO_BLK_F_CONFIG_WCE;
	if (facts->can_discard) {
		vdev->offered |= 1ULL << VIRTIO_BLK_F_DISCARD;
		config->max_discard_sectors = BLK_RANGE_MAX;
		config->max_discard_seg = 1;
		config->discard_sector_alignment = facts->discard_unit / BLOCK_SECTOR;
		if (!config->discard_sector_alignment)
			config->discard_sector_alignment = 1;
	}
	if (facts->can_zero) {
		vdev->offered |= 1ULL << VIRTIO_BLK_F_WRITE_ZEROES;
		config->max_write_zeroes_sectors = BLK_RANGE_MAX;
		config->max_write_zeroes_seg = 1;
		config->write_zeroes_may_unmap = facts->can_discard;
	}
}

struct attach {
	struct virtio_blk *blk;
	int err;
};

static void attach(void *opaque)
{
	struct attach *a = opaque;

	a->err = block_attach(a->blk->block, &a->blk->vdev.io->loop, batch_done, a->blk);
}

static int blk_create(struct device *dev, const char *path, const void *args)
{
	struct virtio_blk *blk = (struct virtio_blk *)dev;
	struct vm *vm = dev->vm;
	const struct block_options options = {
		.path = config_string(vm->config, "%s.path", path),
		.readonly = config_bool(vm->config, "%s.readonly", path),
		.direct = config_bool(vm->config, "%s.direct", path),
	};
	unsigned int queues = vm->nr_vcpus ? vm->nr_vcpus : config_uint(vm->config, "cpus");
	uint16_t sizes[BLK_QUEUES_MAX];
	struct attach a = { .blk = blk };
	struct blk_request *r;
	char text[512];
	unsigned int i;
	int err;

	if (!options.path[0]) {
		log_error(vm, "%s.path is missing: it names the disk's file", path);
		return -EINVAL;
	}
	err = block_open(vm, &options, &blk->block, text, sizeof(text));
	if (err) {
		log_error(vm, "%s", text);
		return err;
	}
	if (!block_facts(blk->block)->locked)
		log_info(vm, "disk %s: its file system has no locks; take care that nobody else "
			 "uses it", options.path);
	blk->sectors = block_facts(blk->block)->size / BLOCK_SECTOR;
	/* One at least, so that a queue can always go on. */
	r = request_get(blk);
	if (!r) {
		block_close(blk->block);
		return -ENOMEM;
	}
	request_put(r);
	queues = queues < 1 ? 1 : queues > BLK_QUEUES_MAX ? BLK_QUEUES_MAX : queues;
	for (i = 0; i < queues; i++)
		sizes[i] = BLK_QUEUE_SIZE;
	features_init(blk, queues);
	err = virtio_device_init(&blk->vdev, &blk_ops, sizes, queues, args);
	if (err)
		goto fail;
	iothread_call(blk->vdev.io, attach, &a);
	if (!a.err)
		return 0;
	err = a.err;
	log_error(vm, "%s: cannot start its engine: %s", dev->id, strerror(-err));
	virtio_device_destroy(&blk->vdev);
fail:
	block_close(blk->block);
	requests_free(blk);
	return err;
}

static void blk_destroy(struct device *dev)
{
	struct virtio_blk *blk = (struct virtio_blk *)dev;

	virtio_device_destroy(&blk->vdev);
	block_close(blk->block);
	requests_free(blk);
}

static int blk_loaded(struct device *dev)
{
	struct virtio_blk *blk = (struct virtio_blk *)dev;
	struct virtio_blk_config *config = (struct virtio_blk_config *)blk->vdev.config;

	if (blk->wce > 1)
		return -EINVAL;
	config->wce = blk->wce;
	__atomic_store_n(&blk->writeback, blk->wce, __ATOMIC_RELAXED);
	return virtio_device_loaded(dev);
}

static void blk_info(struct device *dev, struct json_object *out)
{
	static const char *const names[] = { "reads", "writes", "flushes", "discards", "zeroes" };
	static const char *const bytes[] = { "read_bytes", "write_bytes", NULL, "discard_bytes",
					     "zero_bytes" };
	struct virtio_blk *blk = (struct virtio_blk *)dev;
	const struct block_facts *facts = block_facts(blk->block);
	struct json_object *stats = json_object_new_object();
	struct block_stats now;
	unsigned int i;

	virtio_device_info(&blk->vdev, out);
	json_object_object_add(out, "path", json_object_new_string(block_path(blk->block)));
	json_object_object_add(out, "size", json_object_new_int64(facts->size));
	json_object_object_add(out, "readonly", json_object_new_boolean(facts->readonly));
	json_object_object_add(out, "engine", json_object_new_string(block_engine(blk->block)));
	json_object_object_add(out, "direct", json_object_new_boolean(facts->direct));
	if (facts->direct_why)
		json_object_object_add(out, "direct_why",
				       json_object_new_string(facts->direct_why));
	json_object_object_add(out, "locked", json_object_new_boolean(facts->locked));
	json_object_object_add(out, "discard", json_object_new_boolean(facts->can_discard));
	json_object_object_add(out, "write_zeroes", json_object_new_boolean(facts->can_zero));
	json_object_object_add(out, "writeback", json_object_new_boolean(blk->wce));
	json_object_object_add(out, "queues", json_object_new_int(blk->vdev.nr_queues));
	block_get_stats(blk->block, &now);
	for (i = 0; i <= BLOCK_ZERO; i++) {
		json_object_object_add(stats, names[i], json_object_new_int64(now.ops[i]));
		if (bytes[i])
			json_object_object_add(stats, bytes[i],
					       json_object_new_int64(now.bytes[i]));
	}
	json_object_object_add(stats, "errors", json_object_new_int64(now.errors));
	json_object_object_add(stats, "bounced", json_object_new_int64(now.bounced));
	json_object_object_add(out, "statistics", stats);
}

const struct device_type virtio_blk_type = {
	.name = "virtio-blk",
	.help = "virtio block device (PCI)",
	.size = sizeof(struct virtio_blk),
	.version = 1,
	.fields = blk_fields,
	.nr_fields = sizeof(blk_fields) / sizeof(blk_fields[0]),
	.create = blk_create,
	.destroy = blk_destroy,
	.reset = virtio_device_reset,
	.rebind = virtio_pci_rebind,
	.pause = virtio_device_pause,
	.resume = virtio_device_resume,
	.saving = virtio_device_saving,
	.loaded = blk_loaded,
	.info = blk_info,
};
