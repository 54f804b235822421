/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * device.h - device types and instances.
 *
 * A type is one const struct, listed in vmm/device_types.h (no constructors, no
 * linker sets).  An instance is a struct device in front of the type's own
 * state: embed it as the first member.
 *
 *	struct uart {
 *		struct device dev;
 *		...
 *	};
 *	const struct device_type uart_type = {
 *		.name = "uart", .size = sizeof(struct uart), ...
 *	};
 *
 * Lock: dev->lock is taken by the bus dispatcher around every access, by
 * device_timer callbacks and by device_lock()/device_unlock() where another
 * thread (I/O thread, main loop fd handler) enters the device.  Hooks below
 * are called with it held unless they say otherwise.  Lock order: device ->
 * interrupt object -> memory map.  No device knows another device; no device
 * lock is taken while another is held, except the PCI host's around the
 * configuration space of the functions behind it.
 *
 * State: `fields` describes everything that a save must carry, so save and
 * load need no code of their own.  A field is a piece of fixed-size memory
 * inside the instance; count > 1 makes it an array.  Ids ascend, are never reused or
 * renumbered; `since` is the version of the type that added it, and an older
 * stream leaves it at its value after reset.
 */
#ifndef VMM_DEVICE_H
#define VMM_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"
#include "loop.h"

struct aml;			/* platform: ACPI writer */
struct device;
struct json_object;
struct vm;

struct device_field {
	uint16_t id;
	uint16_t since;		/* version of the type, from 1 */
	uint32_t offset;	/* in the instance */
	uint32_t size;		/* bytes of one element: 1, 2, 4, 8, or a byte block */
	uint32_t count;		/* elements */
};

/* An integer or bool, or an array of them (stored little-endian, element-wise). */
#define DEVICE_FIELD(id_, since_, type_, member_) {				\
	.id = (id_), .since = (since_), .offset = offsetof(type_, member_),	\
	.size = sizeof(((type_ *)0)->member_), .count = 1 }
#define DEVICE_FIELD_ARRAY(id_, since_, type_, member_) {			\
	.id = (id_), .since = (since_), .offset = offsetof(type_, member_),	\
	.size = sizeof(((type_ *)0)->member_[0]),				\
	.count = sizeof(((type_ *)0)->member_) / sizeof(((type_ *)0)->member_[0]) }

struct device_type {
	const char *name;	/* "uart", "virtio-blk" */
	const char *help;	/* one line */
	size_t size;		/* of the instance, struct device included */
	uint16_t version;	/* of fields, from 1 */
	const struct device_field *fields;
	unsigned int nr_fields;

	/*
	 * create: @args is the creator's (PCI slot, port base, ...), @path the
	 * device's node in the configuration tree ("disk.0") or "".  The memory
	 * is zeroed.  On error it has undone what it did and printed one line
	 * (log_error); destroy is not called then.  Not under the lock.
	 */
	int (*create)(struct device *dev, const char *path, const void *args);
	/* No vCPU or I/O thread runs.  Not under the lock. */
	void (*destroy)(struct device *dev);
	/* To power-on state; vCPUs are parked and pause was called. */
	void (*reset)(struct device *dev);
	/* The module's VM object is a new one (vm_rebuild()): bind to it what was bound to
	 * the old.  Everything is paused.  0 or -errno.  May be NULL. */
	int (*rebind)(struct device *dev);
	/*
	 * pause: take no new work; return when no request is in flight and none
	 * can begin (vCPUs are parked, I/O threads still run so that they can
	 * complete what is under way; park yourself where you own a thread).
	 * resume undoes it.  Neither is under the lock.  May be NULL.
	 */
	void (*pause)(struct device *dev);
	void (*resume)(struct device *dev);
	/* Before fields are read / after they were written by a load.  loaded
	 * treats every value as hostile: -EINVAL refuses the stream.  May be NULL. */
	void (*saving)(struct device *dev);
	int (*loaded)(struct device *dev);
	/* Adds the device to the DSDT.  May be NULL. */
	void (*acpi)(struct device *dev, struct aml *aml);
	/* Statistics and facts for `vmm info` (json-c object to add to).  May be NULL. */
	void (*info)(struct device *dev, struct json_object *out);
};

struct device {
	const struct device_type *type;
	struct vm *vm;
	char id[24];		/* unique: "uart0", "disk0" */
	pthread_mutex_t lock;	/* guards the instance */
	struct log_limit warn;
	struct device *next;	/* vm->devices, in order of creation */
};

/*
 * Creates an instance of type @name and adds it to vm->devices.  @id may be NULL:
 * the type's name and a number.  Before vCPUs run.  -ENOENT: no such type.
 */
int device_create(struct vm *vm, const char *name, const char *id, const char *path,
		  const void *args, struct device **out);
void device_destroy_all(struct vm *vm);	/* in reverse order of creation */
struct device *device_find(struct vm *vm, const char *id);
const struct device_type *device_type_find(const char *name);
/* Calls fn for every known type; for --help. */
void device_type_each(void (*fn)(const struct device_type *type, void *opaque), void *opaque);

void device_reset_all(struct vm *vm);
int device_rebind_all(struct vm *vm);
void device_pause_all(struct vm *vm);
void device_resume_all(struct vm *vm);

static inline void device_lock(struct device *dev)
{
	pthread_mutex_lock(&dev->lock);
}

static inline void device_unlock(struct device *dev)
{
	pthread_mutex_unlock(&dev->lock);
}

/* A line about something the guest did wrong; rate-limited per device. */
void device_warn(struct device *dev, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A failure of the device itself (host I/O error...): a line and a "device-error"
 * event, rate-limited as well because a guest can repeat the request. */
void device_error(struct device *dev, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * A timer of a device on the guest's clock (vm_clock_ns(): stands still while
 * the guest is paused).  fn runs on the main loop with dev->lock held.
 */
struct device_timer {
	struct loop_timer timer;
	struct device *dev;
	void (*fn)(struct device *dev, struct device_timer *timer);
	bool wanted;		/* guarded by dev->lock, like when_ns: what was asked for last */
	uint64_t when_ns;
};

void device_timer_init(struct device_timer *timer, struct device *dev,
		       void (*fn)(struct device *dev, struct device_timer *timer));
/* Absolute, in vm_clock_ns() nanoseconds; re-arming moves it.  Any thread,
 * with dev->lock held (so that a late callback can be told apart). */
void device_timer_arm(struct device_timer *timer, uint64_t when_ns);
void device_timer_cancel(struct device_timer *timer);

/* Serialised state of one device: a JSON-free little-endian TLV of its fields.
 * device_save returns a malloc'ed buffer; device_load treats it as hostile. */
int device_save(struct device *dev, uint8_t **buf, size_t *len);
int device_load(struct device *dev, const uint8_t *buf, size_t len);

#endif
