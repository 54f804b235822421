/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio_driver.h - a small virtio driver for tests of devices, on platform_vm.h.
 *
 * It does what virtio 1.2 section 3.1 and 4.1.5 ask of a driver, and nothing stops a test from
 * writing anything else into the rings: vd_desc(), vd_avail() and vd_publish() are the raw parts.
 * One file a program includes this.
 */
#ifndef HV_UNIT_VIRTIO_DRIVER_H
#define HV_UNIT_VIRTIO_DRIVER_H

#include <errno.h>
#include <time.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "platform_vm.h"
#include "vmm/virtio/virtio.h"

#define VD_QUEUE(n)	(0x100000ULL + 0x10000ULL * (n))
#define VD_DATA		0x200000ULL
#define VD_WAIT_MS	5000

struct vd_queue {
	uint16_t size;
	uint64_t desc, avail, used;
	uint16_t next_avail;		/* index to publish */
	uint16_t seen_used;
	uint16_t next_desc;
};

struct vd {
	struct vm *vm;
	struct pci_device *pci;
	struct virtio_device *vdev;
	uint64_t common, isr, device, notify;	/* addresses in memory */
	uint16_t notify_port;
	uint64_t features;
	struct vd_queue q[VIRTIO_QUEUES_MAX];
};

/* The VM that devices go to; 64 MiB of RAM unless @settings say otherwise. */
static inline struct vm *vd_vm_create(const char *const *settings)
{
	struct vm *vm = pv_create(settings);

	if (device_create(vm, "pci-host", NULL, NULL, NULL, &vm->pci_host))
		ktap_bail("no PCI host");
	return vm;
}

static inline uint64_t vd_cap_addr(struct vd *d, unsigned int cap)
{
	unsigned int bar = d->pci->config[cap + VIRTIO_PCI_CAP_BAR];

	return d->pci->bar[bar].addr + pci_config_long(d->pci, cap + VIRTIO_PCI_CAP_OFFSET);
}

/* Creates a device, gives it addresses and finds its structures by the capability list. */
static inline void vd_create(struct vd *d, struct vm *vm, const char *type, const char *path)
{
	struct device *dev;
	unsigned int cap;

	memset(d, 0, sizeof(*d));
	d->vm = vm;
	if (device_create(vm, type, NULL, path, NULL, &dev))
		ktap_bail("cannot create %s", type);
	d->pci = (struct pci_device *)dev;
	d->vdev = (struct virtio_device *)dev;
	device_reset_all(vm);
	if (pci_assign(vm))
		ktap_bail("no addresses");
	pci_config_write(d->pci, PCI_COMMAND, 2,
			 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (cap = d->pci->config[PCI_CAP_POINTER]; cap; cap = d->pci->config[cap + 1]) {
		if (d->pci->config[cap] != PCI_CAP_VENDOR)
			continue;
		switch (d->pci->config[cap + VIRTIO_PCI_CAP_CFG_TYPE]) {
		case VIRTIO_PCI_CAP_COMMON_CFG:
			d->common = vd_cap_addr(d, cap);
			break;
		case VIRTIO_PCI_CAP_ISR_CFG:
			d->isr = vd_cap_addr(d, cap);
			break;
		case VIRTIO_PCI_CAP_DEVICE_CFG:
			d->device = vd_cap_addr(d, cap);
			break;
		case VIRTIO_PCI_CAP_NOTIFY_CFG:
			if (d->pci->config[cap + VIRTIO_PCI_CAP_BAR] == 0)
				d->notify_port = vd_cap_addr(d, cap);
			else
				d->notify = vd_cap_addr(d, cap);
			break;
		}
	}
}

static inline uint64_t vd_get(struct vd *d, unsigned int offset, unsigned int size)
{
	return pv_read(d->vm, d->common + offset, size) & (size == 8 ? ~0ULL : (1ULL << 8 * size) - 1);
}

static inline void vd_set(struct vd *d, unsigned int offset, unsigned int size, uint64_t value)
{
	pv_write(d->vm, d->common + offset, size, value);
}

static inline uint8_t vd_status(struct vd *d)
{
	return vd_get(d, VIRTIO_PCI_COMMON_STATUS, 1);
}

static inline bool vd_wait_until(bool (*done)(struct vd *d, uint64_t arg), struct vd *d, uint64_t arg)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	int i;

	for (i = 0; i < VD_WAIT_MS; i++) {
		if (done(d, arg))
			return true;
		nanosleep(&ms, NULL);
	}
	return false;
}

static inline bool vd_status_has(struct vd *d, uint64_t bits)
{
	return vd_status(d) & bits;
}

static inline bool vd_status_clear(struct vd *d, uint64_t unused)
{
	(void)unused;
	return !vd_status(d);
}

static inline bool vd_wait_needs_reset(struct vd *d)
{
	return vd_wait_until(vd_status_has, d, VIRTIO_CONFIG_S_NEEDS_RESET);
}

static inline bool vd_reset(struct vd *d)
{
	vd_set(d, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	return vd_wait_until(vd_status_clear, d, 0);
}

static inline uint64_t vd_offered(struct vd *d)
{
	uint64_t features;

	vd_set(d, VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	features = vd_get(d, VIRTIO_PCI_COMMON_DF, 4);
	vd_set(d, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	return features | vd_get(d, VIRTIO_PCI_COMMON_DF, 4) << 32;
}

/* Reset to FEATURES_OK; true if the device agreed. */
static inline bool vd_negotiate(struct vd *d, uint64_t features)
{
	unsigned int i;

	vd_reset(d);
	vd_set(d, VIRTIO_PCI_COMMON_STATUS, 1, 1);
	vd_set(d, VIRTIO_PCI_COMMON_STATUS, 1, 3);
	for (i = 0; i < 2; i++) {
		vd_set(d, VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		vd_set(d, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * i));
	}
	vd_set(d, VIRTIO_PCI_COMMON_STATUS, 1, 11);
	d->features = features;
	return vd_status(d) & VIRTIO_CONFIG_S_FEATURES_OK;
}

static inline void vd_queue_set(struct vd *d, unsigned int n, uint16_t size)
{
	struct vd_queue *q = &d->q[n];

	*q = (struct vd_queue){
		.size = size, .desc = VD_QUEUE(n), .avail = VD_QUEUE(n) + 0x4000,
		.used = VD_QUEUE(n) + 0x8000,
	};
	guest_zero(d->vm, VD_QUEUE(n), 0x10000);
	vd_set(d, VIRTIO_PCI_COMMON_Q_SELECT, 2, n);
	vd_set(d, VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
	vd_set(d, VIRTIO_PCI_COMMON_Q_DESCLO, 8, q->desc);
	vd_set(d, VIRTIO_PCI_COMMON_Q_AVAILLO, 8, q->avail);
	vd_set(d, VIRTIO_PCI_COMMON_Q_USEDLO, 8, q->used);
	vd_set(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

static inline void vd_go(struct vd *d)
{
	vd_set(d, VIRTIO_PCI_COMMON_STATUS, 1, 15);
}

/* All of it, with every queue of @size. */
static inline bool vd_start(struct vd *d, uint64_t features, uint16_t size)
{
	unsigned int i, n;

	if (!vd_negotiate(d, features))
		return false;
	n = vd_get(d, VIRTIO_PCI_COMMON_NUMQ, 2);
	for (i = 0; i < n; i++)
		vd_queue_set(d, i, size);
	vd_go(d);
	return true;
}

/* -- the raw parts -- */

static inline void vd_put(struct vd *d, uint64_t gpa, const void *value, size_t len)
{
	if (guest_write(d->vm, gpa, value, len))
		ktap_bail("test writes outside of memory");
}

static inline uint16_t vd_get16(struct vd *d, uint64_t gpa)
{
	uint16_t value = 0;

	guest_read(d->vm, gpa, &value, 2);
	return value;
}

static inline void vd_desc_at(struct vd *d, uint64_t table, unsigned int i, uint64_t addr,
			      uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc desc = { .addr = addr, .len = len, .flags = flags, .next = next };

	vd_put(d, table + 16 * i, &desc, sizeof(desc));
}

static inline void vd_desc(struct vd *d, unsigned int n, unsigned int i, uint64_t addr,
			   uint32_t len, uint16_t flags, uint16_t next)
{
	vd_desc_at(d, d->q[n].desc, i, addr, len, flags, next);
}

static inline void vd_avail(struct vd *d, unsigned int n, uint16_t head)
{
	struct vd_queue *q = &d->q[n];

	vd_put(d, q->avail + 4 + 2 * (q->next_avail % q->size), &head, 2);
	q->next_avail++;
}

static inline void vd_publish(struct vd *d, unsigned int n)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	vd_put(d, d->q[n].avail + 2, &d->q[n].next_avail, 2);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void vd_kick(struct vd *d, unsigned int n)
{
	pv_out(d->vm, d->notify_port + 4 * n, 2, n);
}

struct vd_buf {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

/* A chain of @count buffers; returns its head. */
static inline uint16_t vd_add(struct vd *d, unsigned int n, const struct vd_buf *buf,
			      unsigned int count)
{
	struct vd_queue *q = &d->q[n];
	uint16_t head = q->next_desc % q->size;
	unsigned int i;

	for (i = 0; i < count; i++) {
		uint16_t at = q->next_desc++ % q->size;

		vd_desc(d, n, at, buf[i].gpa, buf[i].len,
			(buf[i].write ? VRING_DESC_F_WRITE : 0) |
			(i + 1 < count ? VRING_DESC_F_NEXT : 0), (at + 1) % q->size);
	}
	vd_avail(d, n, head);
	return head;
}

struct vd_used {
	uint32_t id;
	uint32_t len;
};

static inline bool vd_used_ready(struct vd *d, uint64_t n)
{
	return vd_get16(d, d->q[n].used + 2) != d->q[n].seen_used;
}

/* The next used element; false: none came in time. */
static inline bool vd_used(struct vd *d, unsigned int n, struct vd_used *out)
{
	struct vd_queue *q = &d->q[n];

	if (!vd_wait_until(vd_used_ready, d, n))
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	guest_read(d->vm, q->used + 4 + 8 * (q->seen_used % q->size), out, sizeof(*out));
	q->seen_used++;
	return true;
}

/* One chain, from here to the used ring. */
static inline bool vd_do(struct vd *d, unsigned int n, const struct vd_buf *buf, unsigned int count,
			 struct vd_used *used)
{
	uint16_t head = vd_add(d, n, buf, count);

	vd_publish(d, n);
	vd_kick(d, n);
	return vd_used(d, n, used) && used->id == head;
}

/*
 * Registers and rings full of noise, @rounds times; the device is reset and can be started after
 * it.  Chains look right now and then, so that a device gets to see what is in them.
 */
static inline void vd_noise(struct vd *d, uint64_t features, unsigned int rounds)
{
	static const unsigned int at[] = { 0, 4, 8, 12, 16, 20, 22, 24, 26, 28, 32, 36, 40, 48, 60 };
	static const unsigned int sizes[] = { 1, 2, 4, 8 };
	unsigned int i, j, n, queues = d->vdev->nr_queues;
	uint64_t word;

	pci_assign(d->vm);
	for (i = 0; i < rounds; i++) {
		pci_config_write(d->pci, PCI_COMMAND, 2, 7);
		vd_start(d, features, 8);
		/* Headers of requests, with small numbers more often than not. */
		for (j = 0; j < 0x2000; j += 8) {
			word = pv_random() & (pv_random() % 2 ? 0xf0000000fULL : ~0ULL);
			guest_write(d->vm, VD_DATA + j, &word, 8);
		}
		for (n = 0; n < queues; n++) {
			for (j = 0; j < 0x9000 && i % 4 == 3; j += 8) {
				word = pv_random() & (j % 64 ? ~0ULL : 0x3fffffULL);
				guest_write(d->vm, VD_QUEUE(n) + j, &word, 8);
			}
			for (j = 0; j < 8; j++) {
				bool right = pv_random() % 8 < 7;

				vd_desc(d, n, j, VD_DATA + pv_random() % (right ? 0x1000 : 0x5000000),
					pv_random() % (right ? 0x400 : 0x20000),
					right ? (j % 4 < 3) | (j % 4 > 1) << 1 : pv_random() % 8,
					right ? j + 1 : pv_random() % 9);
				if (j % 4 == 0 || !right)
					vd_avail(d, n, right ? j : pv_random() % 9);
			}
			vd_publish(d, n);
			vd_kick(d, n);
		}
		if (i % 4 == 1)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		for (j = 0; j < 20; j++)
			vd_set(d, at[pv_random() % 15], sizes[pv_random() % 4], pv_random());
		for (j = 0; j < 4 && d->device; j++)
			pv_write(d->vm, d->device + pv_random() % 64, sizes[pv_random() % 4],
				 pv_random());
	}
	pci_config_write(d->pci, PCI_COMMAND, 2, 7);
	vd_reset(d);
}

#endif
