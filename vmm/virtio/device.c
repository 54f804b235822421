// SPDX-License-Identifier: GPL-2.0-only
/*
 * device.c - life of a virtio device (virtio.h).
 *
 * virtio 1.2 section 2.1 (device status), 2.2 (feature bits), 3.1 (how a driver
 * starts a device), 4.1.4.3 and 4.1.5 (the same over PCI), 2.4 (reset).
 *
 * Must not hold dev->lock while it calls a class's I/O hooks: they interrupt the
 * driver, which may take it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "vmm/virtio/virtio.h"
#include "vmm/vm.h"

/* How long a driver's write of status 0 waits for what is in flight; after that
 * it sees a status that is not 0 yet, as 4.1.4.3.2 has it. */
#define RESET_WAIT_MS		500

#define ISR_QUEUE		0x1
#define ISR_CONFIG		0x2

const uint64_t virtio_common_features = 1ULL << VIRTIO_F_VERSION_1 |
					1ULL << VIRTIO_RING_F_INDIRECT_DESC |
					1ULL << VIRTIO_RING_F_EVENT_IDX;

/* ------------------------------------------------------------------ */
/* Interrupts (4.1.5.1.3, 4.1.5.4)                                      */
/* ------------------------------------------------------------------ */

/* Lock held. */
static void interrupt_locked(struct virtio_device *vdev, uint16_t vector, uint8_t isr)
{
	if (pci_msix_enabled(&vdev->pci)) {
		if (vector != VIRTIO_MSI_NO_VECTOR)
			pci_msix_raise(&vdev->pci, vector);
		return;
	}
	vdev->isr |= isr;
	pci_intx_set(&vdev->pci, true);
}

uint8_t virtio_isr_read(struct virtio_device *vdev)
{
	uint8_t isr = vdev->isr;

	vdev->isr = 0;
	pci_intx_set(&vdev->pci, false);
	return isr;
}

void virtio_queue_done(struct virtio_queue *q)
{
	struct virtio_device *vdev = q->vdev;

	if (!virtq_publish(&q->ring))
		return;
	if (pci_msix_enabled(&vdev->pci)) {
		uint16_t vector = __atomic_load_n(&q->vector, __ATOMIC_RELAXED);

		if (vector != VIRTIO_MSI_NO_VECTOR)
			pci_msix_raise(&vdev->pci, vector);
		return;
	}
	device_lock(virtio_dev(vdev));
	interrupt_locked(vdev, q->vector, ISR_QUEUE);
	device_unlock(virtio_dev(vdev));
}

void virtio_config_changed(struct virtio_device *vdev)
{
	vdev->generation++;
	if (vdev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt_locked(vdev, vdev->config_vector, ISR_CONFIG);
}

/* ------------------------------------------------------------------ */
/* Run and stop                                                         */
/* ------------------------------------------------------------------ */

/* Lock held. */
static bool should_run(const struct virtio_device *vdev)
{
	return (vdev->status & VIRTIO_CONFIG_S_DRIVER_OK) &&
	       !(vdev->status & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)) &&
	       !vdev->resetting && !vdev->pause_count && pci_is_bus_master(&vdev->pci);
}

/* Lock held, rings not live: section 2.4, everything as at power-on. */
static void reset_finish(struct virtio_device *vdev)
{
	unsigned int i;

	for (i = 0; i < vdev->nr_queues; i++) {
		struct virtio_queue *q = &vdev->queue[i];

		q->enabled = false;
		q->config = (struct virtq_config){ .size = q->size_max };
		q->last_avail = q->used_idx = 0;
		__atomic_store_n(&q->vector, VIRTIO_MSI_NO_VECTOR, __ATOMIC_RELAXED);
	}
	vdev->accepted = 0;
	vdev->offered_select = vdev->accepted_select = 0;
	vdev->queue_select = 0;
	vdev->config_vector = VIRTIO_MSI_NO_VECTOR;
	vdev->status = 0;
	virtio_isr_read(vdev);
	if (vdev->ops->reset)
		vdev->ops->reset(vdev);
	vdev->resetting = false;
	pthread_cond_broadcast(&vdev->changed);
}

/* Lock held. */
static void needs_reset(struct virtio_device *vdev)
{
	if (vdev->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	vdev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	virtio_config_changed(vdev);
	virtio_sync_request(vdev);
}

void virtio_fail(struct virtio_device *vdev, const char *fmt, ...)
{
	struct device *dev = virtio_dev(vdev);
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	device_warn(dev, "%s; the device waits for its driver to reset it", text);
	device_lock(dev);
	needs_reset(vdev);
	device_unlock(dev);
}

static void ring_broken(struct virtq *ring, const char *why)
{
	struct virtio_queue *q = ring->opaque;

	virtio_fail(q->vdev, "queue %u: %s", q->index, why);
}

/* Lock held, I/O thread.  Makes every enabled queue live. */
static void rings_start(struct virtio_device *vdev)
{
	const char *why;
	unsigned int i;

	for (i = 0; i < vdev->nr_queues; i++) {
		struct virtio_queue *q = &vdev->queue[i];

		if (!q->enabled || q->ring.live)
			continue;
		why = "queue size is larger than offered";
		if (q->config.size <= q->size_max &&
		    !virtq_start(&q->ring, &q->config, virtio_has(vdev, VIRTIO_RING_F_EVENT_IDX),
				 virtio_has(vdev, VIRTIO_RING_F_INDIRECT_DESC), q->last_avail,
				 q->used_idx, &why))
			continue;
		device_warn(virtio_dev(vdev),
			    "queue %u: %s; the device waits for its driver to reset it", i, why);
		needs_reset(vdev);
		return;
	}
}

/* I/O thread.  The last thing in flight is done: gives up the rings. */
static void stop_finish(struct virtio_device *vdev)
{
	struct device *dev = virtio_dev(vdev);
	unsigned int i;

	device_lock(dev);
	for (i = 0; i < vdev->nr_queues; i++) {
		struct virtio_queue *q = &vdev->queue[i];

		if (!q->ring.live)
			continue;
		virtq_stop(&q->ring);
		q->last_avail = q->ring.last_avail;
		q->used_idx = q->ring.used_idx;
	}
	vdev->running = false;
	vdev->stopping = false;
	if (vdev->resetting)
		reset_finish(vdev);
	pthread_cond_broadcast(&vdev->changed);
	if (should_run(vdev))
		virtio_sync_request(vdev);
	device_unlock(dev);
}

void virtio_put(struct virtio_device *vdev)
{
	vdev->in_flight--;
	/* From a deferred call: the caller may still be at work on a ring. */
	if (vdev->stopping && !vdev->in_flight)
		virtio_sync_request(vdev);
}

/* I/O thread: brings the device to where status, pause and reset want it. */
static void virtio_sync(void *opaque)
{
	struct virtio_device *vdev = opaque;
	struct device *dev = virtio_dev(vdev);
	bool started = false, stop = false;
	unsigned int i;

	device_lock(dev);
	if (!vdev->stopping) {
		if (should_run(vdev)) {
			started = !vdev->running;
			vdev->running = true;
			rings_start(vdev);
		}
		/* Also what rings_start() found broken. */
		stop = vdev->running && !should_run(vdev);
		vdev->stopping = stop;
	}
	if (vdev->resetting && !vdev->running)
		reset_finish(vdev);
	device_unlock(dev);

	if (started && !stop && vdev->ops->start)
		vdev->ops->start(vdev);
	if (stop && !started && vdev->ops->stop)
		vdev->ops->stop(vdev);
	if (virtio_active(vdev))
		for (i = 0; i < vdev->nr_queues && virtio_active(vdev); i++)
			if (vdev->queue[i].ring.live)
				vdev->ops->queue(vdev, &vdev->queue[i]);
	if (vdev->stopping && !vdev->in_flight)
		stop_finish(vdev);
}

void virtio_sync_request(struct virtio_device *vdev)
{
	loop_defer(&vdev->io->loop, &vdev->sync_call);
}

static void queue_event(void *opaque, uint32_t events)
{
	struct virtio_queue *q = opaque;
	struct virtio_device *vdev = q->vdev;
	uint64_t count;

	(void)events;
	while (read(q->event, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	if (virtio_active(vdev) && q->ring.live)
		vdev->ops->queue(vdev, q);
}

void virtio_queue_kick(struct virtio_device *vdev, unsigned int index)
{
	uint64_t one = 1;

	if (index < vdev->nr_queues)
		while (write(vdev->queue[index].event, &one, sizeof(one)) < 0 && errno == EINTR)
			;
}

/* ------------------------------------------------------------------ */
/* Status register                                                      */
/* ------------------------------------------------------------------ */

/* Lock held; dropped while it waits. */
static void reset_by_driver(struct virtio_device *vdev)
{
	struct timespec until;

	if (!vdev->running && !vdev->resetting) {
		reset_finish(vdev);
		return;
	}
	vdev->resetting = true;
	virtio_sync_request(vdev);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += RESET_WAIT_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	/* Firmware writes 0 and goes on without a look at the status. */
	while (vdev->resetting)
		if (pthread_cond_clockwait(&vdev->changed, &virtio_dev(vdev)->lock,
					   CLOCK_MONOTONIC, &until))
			break;
}

static bool features_valid(struct virtio_device *vdev)
{
	if (vdev->accepted & ~vdev->offered)
		return false;
	/* There is no legacy interface (6.1). */
	if (!virtio_has(vdev, VIRTIO_F_VERSION_1))
		return false;
	return !vdev->ops->features_ok || vdev->ops->features_ok(vdev, vdev->accepted);
}

void virtio_status_write(struct virtio_device *vdev, uint8_t value)
{
	struct device *dev = virtio_dev(vdev);
	uint8_t old = vdev->status, set;

	if (!value) {
		reset_by_driver(vdev);
		return;
	}
	if (vdev->resetting)
		return;
	if (old & ~value & ~VIRTIO_CONFIG_S_NEEDS_RESET)
		device_warn(dev, "driver clears status bits %#x, which only a reset does",
			    old & ~value & ~VIRTIO_CONFIG_S_NEEDS_RESET);
	set = value & ~old & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			      VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
			      VIRTIO_CONFIG_S_FAILED);
	if ((set & VIRTIO_CONFIG_S_FEATURES_OK) && !features_valid(vdev)) {
		device_warn(dev, "driver asks for features %#llx, offered are %#llx",
			    (unsigned long long)vdev->accepted, (unsigned long long)vdev->offered);
		set &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	}
	if ((set & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    !((old | set) & VIRTIO_CONFIG_S_FEATURES_OK)) {
		device_warn(dev, "driver sets DRIVER_OK without agreed features");
		set &= ~VIRTIO_CONFIG_S_DRIVER_OK;
	}
	vdev->status |= set;
	if (set & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED))
		virtio_sync_request(vdev);
}

/* ------------------------------------------------------------------ */
/* Hooks of the device type                                             */
/* ------------------------------------------------------------------ */

/* vCPUs are parked and the device is paused (or has never run). */
void virtio_device_reset(struct device *dev)
{
	struct virtio_device *vdev = (struct virtio_device *)dev;

	reset_finish(vdev);
	vdev->generation = 0;
	pci_device_reset(&vdev->pci);
}

void virtio_device_pause(struct device *dev)
{
	struct virtio_device *vdev = (struct virtio_device *)dev;

	device_lock(dev);
	vdev->pause_count++;
	if (vdev->running)
		virtio_sync_request(vdev);
	while (vdev->running)
		pthread_cond_wait(&vdev->changed, &dev->lock);
	device_unlock(dev);
}

void virtio_device_resume(struct device *dev)
{
	struct virtio_device *vdev = (struct virtio_device *)dev;

	device_lock(dev);
	vdev->pause_count--;
	virtio_sync_request(vdev);
	device_unlock(dev);
}

void virtio_device_saving(struct device *dev)
{
	struct virtio_device *vdev = (struct virtio_device *)dev;
	struct virtio_saved *s = &vdev->saved;
	unsigned int i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < vdev->nr_queues; i++) {
		const struct virtio_queue *q = &vdev->queue[i];

		s->desc[i] = q->config.desc;
		s->avail[i] = q->config.avail;
		s->used[i] = q->config.used;
		s->size[i] = q->config.size;
		s->vector[i] = q->vector;
		s->last_avail[i] = q->last_avail;
		s->used_idx[i] = q->used_idx;
		s->enabled[i] = q->enabled;
	}
	pci_device_saving(&vdev->pci);
}

int virtio_device_loaded(struct device *dev)
{
	struct virtio_device *vdev = (struct virtio_device *)dev;
	const struct virtio_saved *s = &vdev->saved;
	unsigned int i;

	if ((vdev->accepted & ~vdev->offered) &&
	    (vdev->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return -EINVAL;
	if ((vdev->status & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    !((vdev->status & VIRTIO_CONFIG_S_FEATURES_OK) && features_valid(vdev)))
		return -EINVAL;
	for (i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		struct virtio_queue *q = &vdev->queue[i];

		if (i >= vdev->nr_queues) {
			if (s->enabled[i])
				return -EINVAL;
			continue;
		}
		/* Addresses and sizes are the guest's words: virtq_start() checks them. */
		q->config.desc = s->desc[i];
		q->config.avail = s->avail[i];
		q->config.used = s->used[i];
		q->config.size = s->size[i];
		q->vector = s->vector[i];
		q->last_avail = s->last_avail[i];
		q->used_idx = s->used_idx[i];
		q->enabled = s->enabled[i];
		if (q->config.size > q->size_max)
			return -EINVAL;
	}
	virtio_sync_request(vdev);
	return pci_device_loaded(&vdev->pci);
}

void virtio_device_info(struct virtio_device *vdev, struct json_object *out)
{
	const char *state = vdev->status & VIRTIO_CONFIG_S_NEEDS_RESET ? "needs-reset" :
			    vdev->status & VIRTIO_CONFIG_S_FAILED ? "failed" :
			    vdev->running ? "running" :
			    vdev->status & VIRTIO_CONFIG_S_DRIVER_OK ? "stopped" : "no-driver";

	json_object_object_add(out, "slot", json_object_new_int(vdev->pci.slot));
	json_object_object_add(out, "state", json_object_new_string(state));
	json_object_object_add(out, "features", json_object_new_int64(vdev->accepted));
	json_object_object_add(out, "thread", json_object_new_int(vdev->io->tid));
}

/* ------------------------------------------------------------------ */

struct watch {
	struct virtio_device *vdev;
	int err;
};

static void kicks_add(void *opaque)
{
	struct watch *w = opaque;
	unsigned int i;

	for (i = 0; i < w->vdev->nr_queues && !w->err; i++)
		w->err = loop_fd_add(&w->vdev->io->loop, &w->vdev->queue[i].kick);
}

static void queues_close(struct virtio_device *vdev)
{
	unsigned int i;

	for (i = 0; i < vdev->nr_queues; i++)
		if (vdev->queue[i].event >= 0)
			close(vdev->queue[i].event);
}

int virtio_device_init(struct virtio_device *vdev, const struct virtio_ops *ops,
		       const uint16_t *sizes, unsigned int nr_queues, const void *args)
{
	struct device *dev = virtio_dev(vdev);
	struct watch w = { .vdev = vdev };
	unsigned int i;
	int err;

	vdev->ops = ops;
	vdev->nr_queues = nr_queues;
	vdev->offered |= virtio_common_features;
	vdev->config_vector = VIRTIO_MSI_NO_VECTOR;
	vdev->sync_call = (struct loop_call){ .fn = virtio_sync, .opaque = vdev };
	for (i = 0; i < nr_queues; i++) {
		struct virtio_queue *q = &vdev->queue[i];

		q->vdev = vdev;
		q->index = i;
		q->size_max = q->config.size = sizes[i];
		q->vector = VIRTIO_MSI_NO_VECTOR;
		q->ring = (struct virtq){ .vm = dev->vm, .broken = ring_broken, .opaque = q };
		q->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		q->kick = (struct loop_fd){
			.fd = q->event, .events = EPOLLIN, .fn = queue_event, .opaque = q,
		};
	}
	for (i = 0; i < nr_queues; i++) {
		if (vdev->queue[i].event < 0) {
			err = -EMFILE;
			log_error(dev->vm, "%s: cannot create an event descriptor; "
				  "raise `ulimit -n`", dev->id);
			goto fail_queues;
		}
	}
	pthread_cond_init(&vdev->changed, NULL);
	err = iothread_create(dev->vm, dev->id, &vdev->io);
	if (err) {
		log_error(dev->vm, "%s: cannot create its I/O thread: %s", dev->id, strerror(-err));
		goto fail_cond;
	}
	iothread_call(vdev->io, kicks_add, &w);
	err = w.err;
	if (err) {
		log_error(dev->vm, "%s: cannot watch its queues: %s", dev->id, strerror(-err));
		goto fail_thread;
	}
	err = virtio_pci_init(vdev, args);
	if (!err)
		return 0;
	log_error(dev->vm, "%s: no place on the PCI bus: %s", dev->id, strerror(-err));
fail_thread:
	iothread_destroy(vdev->io);
fail_cond:
	pthread_cond_destroy(&vdev->changed);
fail_queues:
	queues_close(vdev);
	return err;
}

void virtio_device_destroy(struct virtio_device *vdev)
{
	virtio_device_pause(virtio_dev(vdev));
	virtio_pci_destroy(vdev);
	iothread_destroy(vdev->io);
	pthread_cond_destroy(&vdev->changed);
	queues_close(vdev);
}
