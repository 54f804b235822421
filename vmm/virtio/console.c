// SPDX-License-Identifier: GPL-2.0-only
/*
 * console.c - virtio console with one port (virtio 1.2 section 5.3): hvc0.
 *
 * The other side is vm->console (vmm/console.h), which may take less than it is
 * given: the rest of a chain then waits in the ring.  Where another device (a
 * UART) has the console's input, this one is for output only.
 */
#include <errno.h>
#include <string.h>

#include <json-c/json.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>

#include "vmm/console.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vm.h"

#define CONSOLE_CLASS		0x078000	/* communication controller, other */
#define CONSOLE_QUEUE_SIZE	64
#define CONSOLE_PIECES		64
#define CONSOLE_CHUNK		512
#define CONSOLE_BUDGET		(64U << 10)	/* bytes before others get their turn */
#define CONSOLE_INPUT		256
#define CONSOLE_RETRY_NS	20000000ULL

enum { CONSOLE_RX, CONSOLE_TX, CONSOLE_QUEUES };

struct virtio_con {
	struct virtio_device vdev;
	bool attached;			/* input and tx_ready come to us */
	struct device_timer retry;	/* where tx_ready does not */
	struct loop_call tx_call, rx_call;	/* on the I/O thread */

	/* Guarded by dev->lock */
	uint8_t input[CONSOLE_INPUT];
	uint16_t input_len;
	bool input_full;		/* the console waits for room */

	/* The I/O thread's */
	bool tx_blocked;
	uint32_t tx_offset;		/* of the first chain in the ring: written already */
	uint64_t tx_bytes, rx_bytes;	/* read by any thread */
	struct guest_pin piece[CONSOLE_PIECES];
};

static const struct device_field con_fields[] = {
	DEVICE_FIELD(1, 1, struct virtio_con, tx_offset),
	DEVICE_FIELD_ARRAY(2, 1, struct virtio_con, input),
	DEVICE_FIELD(3, 1, struct virtio_con, input_len),
	VIRTIO_DEVICE_FIELDS(struct virtio_con, vdev),
};

/* Bytes of @chain from tx_offset that the console takes, at most @max. */
static uint32_t tx_write(struct virtio_con *con, const struct virtq_chain *chain, uint32_t max)
{
	struct device *dev = virtio_dev(&con->vdev);
	uint8_t buf[CONSOLE_CHUNK];
	uint32_t done = 0;
	size_t n, took;

	while (done < max) {
		n = max - done < sizeof(buf) ? max - done : sizeof(buf);
		n = virtq_chain_read(chain, con->tx_offset, buf, n);
		if (!n)
			break;
		device_lock(dev);
		took = dev->vm->console ? console_write(dev->vm->console, buf, n) : n;
		if (took < n && !con->attached)
			device_timer_arm(&con->retry, vm_clock_ns(dev->vm) + CONSOLE_RETRY_NS);
		device_unlock(dev);
		con->tx_offset += took;
		done += took;
		if (took < n) {
			con->tx_blocked = true;
			break;
		}
	}
	__atomic_store_n(&con->tx_bytes, con->tx_bytes + done, __ATOMIC_RELAXED);
	return done;
}

static void tx_process(struct virtio_con *con)
{
	struct virtio_queue *q = &con->vdev.queue[CONSOLE_TX];
	struct virtq_chain chain = { .piece = con->piece, .room = CONSOLE_PIECES };
	uint32_t budget = CONSOLE_BUDGET, left = q->ring.size;
	int ret;

	if (!q->ring.live || con->tx_blocked)
		return;
	do {
		while ((ret = virtq_pop(&q->ring, &chain)) > 0) {
			budget -= tx_write(con, &chain, budget);
			if (con->tx_offset < chain.read_len) {
				virtq_unpop(&q->ring, &chain);
				if (!con->tx_blocked)
					virtio_queue_kick(&con->vdev, CONSOLE_TX);
				ret = -1;
				break;
			}
			con->tx_offset = 0;
			virtq_push(&q->ring, &chain, 0);
			if (!--left) {
				virtio_queue_kick(&con->vdev, CONSOLE_TX);
				ret = -1;
				break;
			}
		}
	} while (!ret && virtq_notify_on(&q->ring));
	virtio_queue_done(q);
}

static void rx_process(struct virtio_con *con)
{
	struct virtio_queue *q = &con->vdev.queue[CONSOLE_RX];
	struct virtq_chain chain = { .piece = con->piece, .room = CONSOLE_PIECES };
	struct device *dev = virtio_dev(&con->vdev);
	unsigned int left = q->ring.size;
	bool room = false;
	size_t n;
	int ret;

	if (!q->ring.live)
		return;
	device_lock(dev);
	while (con->input_len) {
		/* Buffers without room take no input: no more than a ring's worth of them. */
		if (!left--) {
			virtio_queue_kick(&con->vdev, CONSOLE_RX);
			break;
		}
		device_unlock(dev);
		ret = virtq_pop(&q->ring, &chain);
		device_lock(dev);
		if (ret < 0)
			break;
		if (!ret) {
			if (virtq_notify_on(&q->ring))
				continue;
			break;
		}
		n = virtq_chain_write(&chain, 0, con->input, con->input_len);
		con->input_len -= n;
		memmove(con->input, con->input + n, con->input_len);
		virtq_push(&q->ring, &chain, n);
		__atomic_store_n(&con->rx_bytes, con->rx_bytes + n, __ATOMIC_RELAXED);
	}
	if (con->input_full && con->input_len < CONSOLE_INPUT) {
		con->input_full = false;
		room = true;
	}
	device_unlock(dev);
	virtio_queue_done(q);
	if (room)
		console_rx_ready(dev->vm->console);
}

static void con_queue(struct virtio_device *vdev, struct virtio_queue *q)
{
	struct virtio_con *con = (struct virtio_con *)vdev;

	if (q->index == CONSOLE_RX)
		rx_process(con);
	else
		tx_process(con);
}

static void rx_call(void *opaque)
{
	struct virtio_con *con = opaque;

	if (virtio_active(&con->vdev))
		rx_process(con);
}

static void tx_call(void *opaque)
{
	struct virtio_con *con = opaque;

	con->tx_blocked = false;
	if (virtio_active(&con->vdev))
		tx_process(con);
}

/* ------------------------------------------------------------------ */
/* From the console, on the main loop with dev->lock held               */
/* ------------------------------------------------------------------ */

static size_t con_input(struct device *dev, const uint8_t *buf, size_t len)
{
	struct virtio_con *con = (struct virtio_con *)dev;
	size_t room = CONSOLE_INPUT - con->input_len;

	if (len > room) {
		len = room;
		con->input_full = true;
	}
	memcpy(con->input + con->input_len, buf, len);
	con->input_len += len;
	loop_defer(&con->vdev.io->loop, &con->rx_call);
	return len;
}

static void con_tx_ready(struct device *dev)
{
	struct virtio_con *con = (struct virtio_con *)dev;

	loop_defer(&con->vdev.io->loop, &con->tx_call);
}

static void con_retry(struct device *dev, struct device_timer *timer)
{
	(void)timer;
	con_tx_ready(dev);
}

static const struct console_ops con_console_ops = { .rx = con_input, .tx_ready = con_tx_ready };

/* ------------------------------------------------------------------ */

/* 5.3.4: a character for a driver that has no queues yet, or no more. */
static void con_config_write(struct virtio_device *vdev, unsigned int offset, unsigned int size,
			     uint64_t value)
{
	struct vm *vm = virtio_dev(vdev)->vm;
	uint8_t byte = value;

	(void)size;
	if (offset == offsetof(struct virtio_console_config, emerg_wr) && vm->console)
		console_write(vm->console, &byte, 1);
}

static void con_start(struct virtio_device *vdev)
{
	((struct virtio_con *)vdev)->tx_blocked = false;
}

static void con_class_reset(struct virtio_device *vdev)
{
	struct virtio_con *con = (struct virtio_con *)vdev;

	con->tx_offset = 0;
	con->input_len = 0;
	device_timer_cancel(&con->retry);
	if (con->input_full) {
		con->input_full = false;
		console_rx_ready(virtio_dev(vdev)->vm->console);
	}
}

static const struct virtio_ops con_ops = {
	.id = VIRTIO_ID_CONSOLE,
	.class_code = CONSOLE_CLASS,
	.start = con_start,
	.queue = con_queue,
	.reset = con_class_reset,
	.config_write = con_config_write,
};

static int con_create(struct device *dev, const char *path, const void *args)
{
	static const uint16_t sizes[] = { CONSOLE_QUEUE_SIZE, CONSOLE_QUEUE_SIZE };
	struct virtio_con *con = (struct virtio_con *)dev;
	int err;

	(void)path;
	con->rx_call = (struct loop_call){ .fn = rx_call, .opaque = con };
	con->tx_call = (struct loop_call){ .fn = tx_call, .opaque = con };
	device_timer_init(&con->retry, dev, con_retry);
	con->vdev.offered = 1ULL << VIRTIO_CONSOLE_F_EMERG_WRITE;
	con->vdev.config_len = sizeof(struct virtio_console_config);
	err = virtio_device_init(&con->vdev, &con_ops, sizes, CONSOLE_QUEUES, args);
	if (err)
		return err;
	con->attached = dev->vm->console &&
			!console_attach(dev->vm->console, dev, &con_console_ops);
	return 0;
}

static void con_destroy(struct device *dev)
{
	struct virtio_con *con = (struct virtio_con *)dev;

	if (con->attached)
		console_detach(dev->vm->console, dev);
	device_lock(dev);
	device_timer_cancel(&con->retry);
	device_unlock(dev);
	virtio_device_destroy(&con->vdev);
}

static int con_loaded(struct device *dev)
{
	struct virtio_con *con = (struct virtio_con *)dev;

	if (con->input_len > CONSOLE_INPUT)
		return -EINVAL;
	loop_defer(&con->vdev.io->loop, &con->rx_call);
	return virtio_device_loaded(dev);
}

static void con_info(struct device *dev, struct json_object *out)
{
	struct virtio_con *con = (struct virtio_con *)dev;

	virtio_device_info(&con->vdev, out);
	json_object_object_add(out, "input", json_object_new_boolean(con->attached));
	json_object_object_add(out, "tx_bytes", json_object_new_int64(
		__atomic_load_n(&con->tx_bytes, __ATOMIC_RELAXED)));
	json_object_object_add(out, "rx_bytes", json_object_new_int64(
		__atomic_load_n(&con->rx_bytes, __ATOMIC_RELAXED)));
}

const struct device_type virtio_con_type = {
	.name = "virtio-console",
	.help = "virtio console, hvc0 (PCI)",
	.size = sizeof(struct virtio_con),
	.version = 1,
	.fields = con_fields,
	.nr_fields = sizeof(con_fields) / sizeof(con_fields[0]),
	.create = con_create,
	.destroy = con_destroy,
	.reset = virtio_device_reset,
	.rebind = virtio_pci_rebind,
	.pause = virtio_device_pause,
	.resume = virtio_device_resume,
	.saving = virtio_device_saving,
	.loaded = con_loaded,
	.info = con_info,
};
