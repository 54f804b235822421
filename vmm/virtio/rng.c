// SPDX-License-Identifier: GPL-2.0-only
/*
 * rng.c - virtio entropy device (virtio 1.2 section 5.4).
 *
 * A buffer gets at most RNG_MAX bytes, whatever its size: the guest asks again,
 * and nobody else on this thread waits long.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <json-c/json.h>
#include <linux/virtio_ids.h>

#include "vmm/virtio/virtio.h"
#include "vmm/vm.h"

#define RNG_CLASS	0x00ff00	/* no class of its own */
#define RNG_QUEUE_SIZE	64
#define RNG_PIECES	64
#define RNG_MAX		1024

struct virtio_rng {
	struct virtio_device vdev;
	uint64_t bytes;			/* read by any thread */
	struct guest_pin piece[RNG_PIECES];
};

static const struct device_field rng_fields[] = {
	VIRTIO_DEVICE_FIELDS(struct virtio_rng, vdev),
};

static uint32_t rng_fill(struct virtio_rng *rng, const struct virtq_chain *chain)
{
	uint8_t buf[RNG_MAX];
	size_t want = chain->write_len < sizeof(buf) ? chain->write_len : sizeof(buf);
	ssize_t n;

	do {
		n = getrandom(buf, want, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		device_error(virtio_dev(&rng->vdev), "the host gives no random numbers: %s",
			     strerror(errno));
		return 0;
	}
	virtq_chain_write(chain, 0, buf, n);
	explicit_bzero(buf, sizeof(buf));
	__atomic_store_n(&rng->bytes, rng->bytes + n, __ATOMIC_RELAXED);
	return n;
}

static void rng_queue(struct virtio_device *vdev, struct virtio_queue *q)
{
	struct virtio_rng *rng = (struct virtio_rng *)vdev;
	struct virtq_chain chain = { .piece = rng->piece, .room = RNG_PIECES };
	unsigned int left = q->ring.size;
	int ret;

	do {
		while ((ret = virtq_pop(&q->ring, &chain)) > 0) {
			virtq_push(&q->ring, &chain, rng_fill(rng, &chain));
			if (!--left) {
				virtio_queue_kick(vdev, q->index);
				ret = -1;
				break;
			}
		}
	} while (!ret && virtq_notify_on(&q->ring));
	virtio_queue_done(q);
}

static const struct virtio_ops rng_ops = {
	.id = VIRTIO_ID_RNG,
	.class_code = RNG_CLASS,
	.queue = rng_queue,
};

static int rng_create(struct device *dev, const char *path, const void *args)
{
	static const uint16_t sizes[] = { RNG_QUEUE_SIZE };

	(void)path;
	return virtio_device_init((struct virtio_device *)dev, &rng_ops, sizes, 1, args);
}

static void rng_destroy(struct device *dev)
{
	virtio_device_destroy((struct virtio_device *)dev);
}

static void rng_info(struct device *dev, struct json_object *out)
{
	struct virtio_rng *rng = (struct virtio_rng *)dev;

	virtio_device_info(&rng->vdev, out);
	json_object_object_add(out, "bytes", json_object_new_int64(
		__atomic_load_n(&rng->bytes, __ATOMIC_RELAXED)));
}

const struct device_type virtio_rng_type = {
	.name = "virtio-rng",
	.help = "virtio entropy device (PCI)",
	.size = sizeof(struct virtio_rng),
	.version = 1,
	.fields = rng_fields,
	.nr_fields = sizeof(rng_fields) / sizeof(rng_fields[0]),
	.create = rng_create,
	.destroy = rng_destroy,
	.reset = virtio_device_reset,
	.rebind = virtio_pci_rebind,
	.pause = virtio_device_pause,
	.resume = virtio_device_resume,
	.saving = virtio_device_saving,
	.loaded = virtio_device_loaded,
	.info = rng_info,
};
