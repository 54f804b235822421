// SPDX-License-Identifier: GPL-2.0-only
/*
 * device.c - device instances: creation, hooks, timers, state (device.h).
 *
 * State of a device as bytes, little-endian:
 *	u32 version of the type, u32 number of fields, then for each field
 *	u16 id, u16 zero, u32 bytes of an element, u32 elements, the bytes.
 * Whoever loads it treats it as hostile.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "device.h"
#include "vm.h"

#define DEVICE_TYPE(x)	extern const struct device_type x##_type;
#include "device_types.h"
#undef DEVICE_TYPE

static const struct device_type *const device_types[] = {
#define DEVICE_TYPE(x)	&x##_type,
#include "device_types.h"
#undef DEVICE_TYPE
	NULL,
};

const struct device_type *device_type_find(const char *name)
{
	unsigned int i;

	for (i = 0; device_types[i]; i++)
		if (!strcmp(device_types[i]->name, name))
			return device_types[i];
	return NULL;
}

void device_type_each(void (*fn)(const struct device_type *type, void *opaque), void *opaque)
{
	unsigned int i;

	for (i = 0; device_types[i]; i++)
		fn(device_types[i], opaque);
}

struct device *device_find(struct vm *vm, const char *id)
{
	struct device *dev;

	for (dev = vm->devices; dev; dev = dev->next)
		if (!strcmp(dev->id, id))
			return dev;
	return NULL;
}

int device_create(struct vm *vm, const char *name, const char *id, const char *path,
		  const void *args, struct device **out)
{
	const struct device_type *type = device_type_find(name);
	struct device *dev, **p;
	unsigned int n;
	int ret;

	if (!type) {
		log_error(vm, "no device type '%s' in this vmm", name);
		return -ENOENT;
	}
	dev = calloc(1, type->size);
	if (!dev) {
		log_error(vm, "no memory for device %s", name);
		return -ENOMEM;
	}
	dev->type = type;
	dev->vm = vm;
	if (id) {
		snprintf(dev->id, sizeof(dev->id), "%s", id);
	} else {
		for (n = 0; n < 1000; n++) {
			snprintf(dev->id, sizeof(dev->id), "%.19s%u", name, n);
			if (!device_find(vm, dev->id))
				break;
		}
	}
	if (device_find(vm, dev->id)) {
		log_error(vm, "two devices want the name '%s'", dev->id);
		free(dev);
		return -EEXIST;
	}
	pthread_mutex_init(&dev->lock, NULL);
	ret = type->create(dev, path ? path : "", args);
	if (ret) {
		pthread_mutex_destroy(&dev->lock);
		free(dev);
		return ret;
	}
	/* At the end: a device created by another's create comes before it. */
	for (p = &vm->devices; *p; p = &(*p)->next)
		;
	*p = dev;
	if (out)
		*out = dev;
	return 0;
}

void device_destroy_all(struct vm *vm)
{
	struct device *dev, **p;

	while (vm->devices) {
		for (p = &vm->devices; (*p)->next; p = &(*p)->next)
			;
		dev = *p;
		*p = NULL;
		if (dev->type->destroy)
			dev->type->destroy(dev);
		pthread_mutex_destroy(&dev->lock);
		free(dev);
	}
}

void device_reset_all(struct vm *vm)
{
	struct device *dev;

	for (dev = vm->devices; dev; dev = dev->next) {
		if (!dev->type->reset)
			continue;
		device_lock(dev);
		dev->type->reset(dev);
		device_unlock(dev);
	}
}

int device_rebind_all(struct vm *vm)
{
	struct device *dev;
	int ret = 0;

	for (dev = vm->devices; dev && !ret; dev = dev->next)
		if (dev->type->rebind)
			ret = dev->type->rebind(dev);
	return ret;
}

void device_pause_all(struct vm *vm)
{
	struct device *dev;

	for (dev = vm->devices; dev; dev = dev->next)
		if (dev->type->pause)
			dev->type->pause(dev);
}

void device_resume_all(struct vm *vm)
{
	struct device *dev;

	for (dev = vm->devices; dev; dev = dev->next)
		if (dev->type->resume)
			dev->type->resume(dev);
}

void device_warn(struct device *dev, const char *fmt, ...)
{
	char prefix[48];
	va_list ap;

	snprintf(prefix, sizeof(prefix), "guest: %s: ", dev->id);
	va_start(ap, fmt);
	log_limited(dev->vm, &dev->warn, prefix, fmt, ap);
	va_end(ap);
}

void device_error(struct device *dev, const char *fmt, ...)
{
	struct json_object *data;
	uint32_t missed;
	char text[256];
	va_list ap;

	if (!log_limit_pass(&dev->warn, &missed))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (missed)
		log_error(dev->vm, "%s: %s (%u similar messages not shown)", dev->id, text, missed);
	else
		log_error(dev->vm, "%s: %s", dev->id, text);
	data = json_object_new_object();
	if (data) {
		json_object_object_add(data, "device", json_object_new_string(dev->id));
		json_object_object_add(data, "message", json_object_new_string(text));
	}
	vm_event(dev->vm, "device-error", data);
}

/* ------------------------------------------------------------------ */

static void device_timer_run(void *opaque)
{
	struct device_timer *timer = opaque;
	struct device *dev = timer->dev;

	device_lock(dev);
	/* Cancelled or moved between expiry and lock: then it is not this one. */
	if (timer->wanted && vm_clock_ns(dev->vm) >= timer->when_ns) {
		timer->wanted = false;
		timer->fn(dev, timer);
	}
	device_unlock(dev);
}

void device_timer_init(struct device_timer *timer, struct device *dev,
		       void (*fn)(struct device *dev, struct device_timer *timer))
{
	*timer = (struct device_timer){
		.timer = { .fn = device_timer_run, .opaque = timer, .clock = LOOP_CLOCK_GUEST },
		.dev = dev,
		.fn = fn,
	};
}

void device_timer_arm(struct device_timer *timer, uint64_t when_ns)
{
	timer->wanted = true;
	timer->when_ns = when_ns;
	loop_timer_arm(&timer->dev->vm->loop, &timer->timer, when_ns);
}

void device_timer_cancel(struct device_timer *timer)
{
	timer->wanted = false;
	loop_timer_cancel(&timer->dev->vm->loop, &timer->timer);
}

/* ------------------------------------------------------------------ */

struct field_head {
	uint16_t id;
	uint16_t zero;
	uint32_t size;
	uint32_t count;
} __attribute__((packed));

int device_save(struct device *dev, uint8_t **buf, size_t *len)
{
	const struct device_type *type = dev->type;
	uint32_t head[2] = { type->version, type->nr_fields };
	size_t total = sizeof(head);
	unsigned int i;
	uint8_t *p;

	for (i = 0; i < type->nr_fields; i++)
		total += sizeof(struct field_head) +
			 (size_t)type->fields[i].size * type->fields[i].count;
	p = malloc(total);
	if (!p)
		return -ENOMEM;
	*buf = p;
	*len = total;
	device_lock(dev);
	if (type->saving)
		type->saving(dev);
	memcpy(p, head, sizeof(head));
	p += sizeof(head);
	for (i = 0; i < type->nr_fields; i++) {
		const struct device_field *f = &type->fields[i];
		struct field_head fh = { .id = f->id, .size = f->size, .count = f->count };

		memcpy(p, &fh, sizeof(fh));
		p += sizeof(fh);
		memcpy(p, (uint8_t *)dev + f->offset, (size_t)f->size * f->count);
		p += (size_t)f->size * f->count;
	}
	device_unlock(dev);
	return 0;
}

static const struct device_field *field_find(const struct device_type *type, uint16_t id)
{
	unsigned int i;

	for (i = 0; i < type->nr_fields; i++)
		if (type->fields[i].id == id)
			return &type->fields[i];
	return NULL;
}

/*
 * Checks the whole stream (@apply false) or takes it over.  Each field of our
 * type that the stream's version knows must come exactly once.
 */
static int device_parse(struct device *dev, const uint8_t *buf, size_t len, bool apply)
{
	const struct device_type *type = dev->type;
	const struct device_field *f;
	struct field_head fh;
	unsigned int i, due = 0;
	uint32_t head[2];
	int last = -1;
	size_t bytes;

	if (len < sizeof(head))
		return -EINVAL;
	memcpy(head, buf, sizeof(head));
	buf += sizeof(head);
	len -= sizeof(head);
	if (!head[0] || head[0] > type->version)
		return -EINVAL;
	for (i = 0; i < type->nr_fields; i++)
		due += type->fields[i].since <= head[0];
	if (head[1] != due)
		return -EINVAL;
	for (i = 0; i < due; i++) {
		if (len < sizeof(fh))
			return -EINVAL;
		memcpy(&fh, buf, sizeof(fh));
		buf += sizeof(fh);
		len -= sizeof(fh);
		f = field_find(type, fh.id);
		/* In the order of ids, so that none comes twice. */
		if (!f || f->since > head[0] || (int)fh.id <= last || fh.zero ||
		    fh.size != f->size || fh.count != f->count)
			return -EINVAL;
		last = fh.id;
		bytes = (size_t)fh.size * fh.count;
		if (len < bytes)
			return -EINVAL;
		if (apply)
			memcpy((uint8_t *)dev + f->offset, buf, bytes);
		buf += bytes;
		len -= bytes;
	}
	return len ? -EINVAL : 0;
}

int device_load(struct device *dev, const uint8_t *buf, size_t len)
{
	int ret;

	device_lock(dev);
	ret = device_parse(dev, buf, len, false);
	if (!ret)
		ret = device_parse(dev, buf, len, true);
	if (!ret && dev->type->loaded)
		ret = dev->type->loaded(dev);
	device_unlock(dev);
	return ret;
}
