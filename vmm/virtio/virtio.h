/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio.h - what a virtio device builds on: life cycle, features, queues, interrupts.
 *
 * virtio 1.2 section 2.1 (status), 2.2 (features), 2.5 (configuration space),
 * 3.1 (initialization), 4.1 (PCI).  device.c has the life cycle, pci.c the
 * registers, ring.h the queues.
 *
 * A class embeds struct virtio_device first:
 *
 *	struct virtio_rng {
 *		struct virtio_device vdev;
 *		...
 *	};
 *
 * In its type it uses virtio_device_init/destroy in create/destroy, and the
 * virtio_device_* hooks below as they are.
 *
 * Threads.  Every device has an I/O thread; its rings belong to that thread while
 * the device runs.  Registers are written by vCPU threads under dev->lock; what
 * they decide (run, stop, reset) is carried out by virtio_sync() on the I/O
 * thread.  A device stops when its driver resets it, on pause, on a broken ring
 * and when bus mastering is switched off: it takes nothing new, finishes what is
 * in flight (counted by virtio_get() and virtio_put()) and gives up its rings.
 */
#ifndef VMM_VIRTIO_VIRTIO_H
#define VMM_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/loop.h"
#include "vmm/pci/pci.h"
#include "vmm/virtio/ring.h"

#define VIRTIO_QUEUES_MAX	8
#define VIRTIO_CONFIG_MAX	64	/* bytes of device configuration */

struct virtio_device;

struct virtio_queue {
	struct virtq ring;		/* the I/O thread's */
	struct virtio_device *vdev;
	unsigned int index;
	uint16_t size_max;
	uint16_t vector;		/* atomic */
	/* The driver's, guarded by dev->lock */
	bool enabled;
	struct virtq_config config;
	/* Where the ring stands while it is not live. */
	uint16_t last_avail;
	uint16_t used_idx;
	int event;			/* eventfd: the driver notified us */
	struct loop_fd kick;
};

struct virtio_ops {
	uint16_t id;			/* section 5 */
	uint32_t class_code;
	/* On the I/O thread. */
	void (*start)(struct virtio_device *vdev);	/* rings are live; may be NULL */
	void (*queue)(struct virtio_device *vdev, struct virtio_queue *q);	/* look into it */
	void (*stop)(struct virtio_device *vdev);	/* take nothing new; may be NULL */
	/* Under dev->lock, rings are not live.  May be NULL. */
	void (*reset)(struct virtio_device *vdev);
	/* Under dev->lock: the driver wrote the device configuration.  May be NULL. */
	void (*config_write)(struct virtio_device *vdev, unsigned int offset, unsigned int size,
			     uint64_t value);
	/* Under dev->lock: is this set of features one the device can run with?  May be NULL. */
	bool (*features_ok)(struct virtio_device *vdev, uint64_t features);
};

/* What device_save() carries; filled by saving, checked by loaded. */
struct virtio_saved {
	uint64_t desc[VIRTIO_QUEUES_MAX];
	uint64_t avail[VIRTIO_QUEUES_MAX];
	uint64_t used[VIRTIO_QUEUES_MAX];
	uint16_t size[VIRTIO_QUEUES_MAX];
	uint16_t vector[VIRTIO_QUEUES_MAX];
	uint16_t last_avail[VIRTIO_QUEUES_MAX];
	uint16_t used_idx[VIRTIO_QUEUES_MAX];
	uint8_t enabled[VIRTIO_QUEUES_MAX];
};

/* Where the doorbells of a BAR are bound now. */
struct virtio_doorbells {
	uint64_t addr;			/* PCI_UNMAPPED: not bound */
	uint32_t bound;			/* bit a queue */
};

struct virtio_device {
	struct pci_device pci;
	const struct virtio_ops *ops;
	struct iothread *io;
	unsigned int nr_queues;
	struct virtio_queue queue[VIRTIO_QUEUES_MAX];

	/* Guarded by dev->lock */
	uint64_t offered;
	uint64_t accepted;
	uint32_t offered_select, accepted_select;
	uint16_t queue_select;
	uint16_t config_vector;
	uint8_t status;
	uint8_t isr;
	uint8_t generation;
	uint8_t config[VIRTIO_CONFIG_MAX];
	unsigned int config_len;
	unsigned int pause_count;
	bool resetting;			/* the driver waits for status 0 */
	bool running;			/* written by the I/O thread, with the lock */
	pthread_cond_t changed;		/* running or resetting went */
	struct virtio_doorbells doorbells[2];	/* I/O BAR, memory BAR */
	unsigned int pci_cfg_cap;
	struct virtio_saved saved;

	/* The I/O thread's */
	bool stopping;
	unsigned int in_flight;
	struct loop_call sync_call;
};

/* Features every device here offers; section 6. */
extern const uint64_t virtio_common_features;

/*
 * In create(), after the class has filled in offered features (added to the
 * common ones), config and config_len.  @sizes: largest size of each queue.
 * Prints its errors.
 */
int virtio_device_init(struct virtio_device *vdev, const struct virtio_ops *ops,
		       const uint16_t *sizes, unsigned int nr_queues, const void *args);
/* Nothing is in flight and the I/O thread is gone when it returns. */
void virtio_device_destroy(struct virtio_device *vdev);

/* Hooks of struct device_type. */
void virtio_device_reset(struct device *dev);
void virtio_device_pause(struct device *dev);
void virtio_device_resume(struct device *dev);
void virtio_device_saving(struct device *dev);
int virtio_device_loaded(struct device *dev);

/* Facts for `vmm info`. */
struct json_object;
void virtio_device_info(struct virtio_device *vdev, struct json_object *out);

#define VIRTIO_DEVICE_FIELDS(type_, vdev_)					\
	DEVICE_FIELD(0xfe00, 1, type_, vdev_.accepted),				\
	DEVICE_FIELD(0xfe01, 1, type_, vdev_.offered_select),			\
	DEVICE_FIELD(0xfe02, 1, type_, vdev_.accepted_select),			\
	DEVICE_FIELD(0xfe03, 1, type_, vdev_.queue_select),			\
	DEVICE_FIELD(0xfe04, 1, type_, vdev_.config_vector),			\
	DEVICE_FIELD(0xfe05, 1, type_, vdev_.status),				\
	DEVICE_FIELD(0xfe06, 1, type_, vdev_.isr),				\
	DEVICE_FIELD(0xfe07, 1, type_, vdev_.generation),			\
	DEVICE_FIELD_ARRAY(0xfe08, 1, type_, vdev_.saved.desc),			\
	DEVICE_FIELD_ARRAY(0xfe09, 1, type_, vdev_.saved.avail),		\
	DEVICE_FIELD_ARRAY(0xfe0a, 1, type_, vdev_.saved.used),			\
	DEVICE_FIELD_ARRAY(0xfe0b, 1, type_, vdev_.saved.size),			\
	DEVICE_FIELD_ARRAY(0xfe0c, 1, type_, vdev_.saved.vector),		\
	DEVICE_FIELD_ARRAY(0xfe0d, 1, type_, vdev_.saved.last_avail),		\
	DEVICE_FIELD_ARRAY(0xfe0e, 1, type_, vdev_.saved.used_idx),		\
	DEVICE_FIELD_ARRAY(0xfe0f, 1, type_, vdev_.saved.enabled),		\
	PCI_DEVICE_FIELDS(type_, vdev_.pci)

static inline struct device *virtio_dev(struct virtio_device *vdev)
{
	return &vdev->pci.dev;
}

static inline bool virtio_has(const struct virtio_device *vdev, unsigned int feature)
{
	return vdev->accepted >> feature & 1;
}

/* May work be taken from the rings?  On the I/O thread. */
static inline bool virtio_active(const struct virtio_device *vdev)
{
	return vdev->running && !vdev->stopping;
}

/* Something taken from a ring goes on after the hook returns / is given back. */
static inline void virtio_get(struct virtio_device *vdev)
{
	vdev->in_flight++;
}
void virtio_put(struct virtio_device *vdev);

/* Publishes what was pushed and interrupts the driver if it wants that.  I/O thread. */
void virtio_queue_done(struct virtio_queue *q);

/*
 * The device gives up until the driver resets it: NEEDS_RESET (2.1.2), one line,
 * a configuration interrupt.  I/O thread, not under the lock.
 */
void virtio_fail(struct virtio_device *vdev, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The class changed vdev->config: the driver is told.  Under dev->lock. */
void virtio_config_changed(struct virtio_device *vdev);

/* ------------------------------------------------------------------ */
/* Between device.c and pci.c.  All under dev->lock.                    */
/* ------------------------------------------------------------------ */
void virtio_status_write(struct virtio_device *vdev, uint8_t value);
uint8_t virtio_isr_read(struct virtio_device *vdev);
void virtio_sync_request(struct virtio_device *vdev);
void virtio_queue_kick(struct virtio_device *vdev, unsigned int index);
int virtio_pci_init(struct virtio_device *vdev, const void *args);
int virtio_pci_rebind(struct device *dev);	/* device_type.rebind */
void virtio_pci_destroy(struct virtio_device *vdev);

#endif
