// SPDX-License-Identifier: GPL-2.0-only
/*
 * pci.c - a virtio device as a PCI function (virtio.h).
 *
 * virtio 1.2 section 4.1: identity (4.1.2), capabilities (4.1.4), common
 * configuration (4.1.4.3), notification (4.1.4.4), ISR (4.1.4.5), device
 * configuration (4.1.4.6), access through configuration space (4.1.4.9).
 *
 * Notification comes in two places, and the list names the I/O BAR first, so a
 * guest that can use ports does: the exit of a port write carries its length on
 * every CPU, a memory write has to be decoded.  Both are doorbells in the module;
 * without one the write arrives here and does the same.
 */
#include <errno.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "hv/hv.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vm.h"

#define VIRTIO_VENDOR		0x1af4
#define VIRTIO_DEVICE_BASE	0x1040
#define VIRTIO_SUBSYSTEM	0x1100	/* not below 0x40: there is no legacy interface */

#define BAR_NOTIFY_IO		0
#define BAR_MSIX		1
#define BAR_MEMORY		2

/* The memory BAR, a page each. */
#define MEM_COMMON		0x0000
#define MEM_ISR			0x1000
#define MEM_DEVICE		0x2000
#define MEM_NOTIFY		0x3000
#define MEM_SIZE		0x4000
#define MEM_PAGE		0x1000

#define NOTIFY_STRIDE		4
#define NOTIFY_LEN		(NOTIFY_STRIDE * VIRTIO_QUEUES_MAX)

#define CAP_LEN			16
#define CAP_NOTIFY_LEN		20
#define CAP_PCI_CFG_LEN		20
#define CAP_PCI_CFG_DATA	16
#define COMMON_LEN		56	/* without queue_notify_data and queue_reset */

/* ------------------------------------------------------------------ */
/* Common configuration                                                 */
/* ------------------------------------------------------------------ */

static struct virtio_queue *selected(struct virtio_device *vdev)
{
	return vdev->queue_select < vdev->nr_queues ? &vdev->queue[vdev->queue_select] : NULL;
}

static uint64_t common_read(struct virtio_device *vdev, uint64_t offset, unsigned int size)
{
	const struct virtio_queue *q = selected(vdev);
	struct virtio_pci_common_cfg c = {
		.device_feature_select = vdev->offered_select,
		.guest_feature_select = vdev->accepted_select,
		.msix_config = vdev->config_vector,
		.num_queues = vdev->nr_queues,
		.device_status = vdev->status,
		.config_generation = vdev->generation,
		.queue_select = vdev->queue_select,
		.queue_msix_vector = VIRTIO_MSI_NO_VECTOR,
	};
	uint64_t value = 0;

	if (vdev->offered_select < 2)
		c.device_feature = vdev->offered >> (32 * vdev->offered_select);
	if (vdev->accepted_select < 2)
		c.guest_feature = vdev->accepted >> (32 * vdev->accepted_select);
	if (q) {
		c.queue_size = q->config.size;
		c.queue_msix_vector = q->vector;
		c.queue_enable = q->enabled;
		c.queue_notify_off = q->index;
		c.queue_desc_lo = q->config.desc;
		c.queue_desc_hi = q->config.desc >> 32;
		c.queue_avail_lo = q->config.avail;
		c.queue_avail_hi = q->config.avail >> 32;
		c.queue_used_lo = q->config.used;
		c.queue_used_hi = q->config.used >> 32;
	}
	if (offset < COMMON_LEN)
		memcpy(&value, (uint8_t *)&c + offset,
		       size < COMMON_LEN - offset ? size : COMMON_LEN - offset);
	return value;
}

static void half_set(uint64_t *address, bool high, uint32_t value)
{
	if (high)
		*address = (*address & 0xffffffffULL) | (uint64_t)value << 32;
	else
		*address = (*address & ~0xffffffffULL) | value;
}

/* A vector that does not exist reads back as NO_VECTOR: that is how the driver
 * learns it (4.1.5.1.2). */
static uint16_t vector_take(struct virtio_device *vdev, uint16_t value)
{
	if (value >= vdev->pci.msix.count)
		return VIRTIO_MSI_NO_VECTOR;
	/* Binds the irqfd; without one raising it is a call, which works as well. */
	pci_msix_fd(&vdev->pci, value);
	return value;
}

static void features_write(struct virtio_device *vdev, uint32_t value)
{
	if (vdev->accepted_select < 2 && !(vdev->status & VIRTIO_CONFIG_S_FEATURES_OK))
		half_set(&vdev->accepted, vdev->accepted_select, value);
}

static void queue_write(struct virtio_device *vdev, unsigned int offset, uint32_t value)
{
	struct virtio_queue *q = selected(vdev);

	if (!q)
		return;
	if (offset == VIRTIO_PCI_COMMON_Q_MSIX) {
		__atomic_store_n(&q->vector, vector_take(vdev, value), __ATOMIC_RELAXED);
		return;
	}
	if (q->enabled) {
		/* Rewriting the same is what some firmware does. */
		if (offset != VIRTIO_PCI_COMMON_Q_ENABLE)
			device_warn(virtio_dev(vdev), "driver changes queue %u while it is enabled",
				    q->index);
		return;
	}
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		/* Kept as it is; a wrong one is found when the queue starts. */
		q->config.size = value;
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value != 1)
			break;
		q->enabled = true;
		if (vdev->status & VIRTIO_CONFIG_S_DRIVER_OK)
			virtio_sync_request(vdev);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		half_set(&q->config.desc, offset == VIRTIO_PCI_COMMON_Q_DESCHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		half_set(&q->config.avail, offset == VIRTIO_PCI_COMMON_Q_AVAILHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		half_set(&q->config.used, offset == VIRTIO_PCI_COMMON_Q_USEDHI, value);
		break;
	}
}

/* Width of the register at @offset; 0: there is none that can be written. */
static unsigned int common_width(uint64_t offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_STATUS:
		return 1;
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_Q_SELECT:
	case VIRTIO_PCI_COMMON_Q_SIZE:
	case VIRTIO_PCI_COMMON_Q_MSIX:
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return 2;
	case VIRTIO_PCI_COMMON_DFSELECT:
	case VIRTIO_PCI_COMMON_GFSELECT:
	case VIRTIO_PCI_COMMON_GF:
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		return 4;
	}
	return 0;
}

static void common_write(struct virtio_device *vdev, uint64_t offset, unsigned int size,
			 uint64_t value)
{
	/* 64-bit fields may be written as one (4.1.3.1). */
	if (size == 8 && common_width(offset) == 4) {
		common_write(vdev, offset, 4, (uint32_t)value);
		common_write(vdev, offset + 4, 4, value >> 32);
		return;
	}
	if (size != common_width(offset)) {
		device_warn(virtio_dev(vdev), "%u-byte write to offset %#llx of the configuration",
			    size, (unsigned long long)offset);
		return;
	}
	if (offset == VIRTIO_PCI_COMMON_STATUS) {
		virtio_status_write(vdev, value);
		return;
	}
	/* Until the reset is over the device answers with its status alone. */
	if (vdev->resetting)
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		vdev->offered_select = value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		vdev->accepted_select = value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		features_write(vdev, value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		vdev->config_vector = vector_take(vdev, value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		vdev->queue_select = value;
		break;
	default:
		queue_write(vdev, offset, value);
		break;
	}
}

/* ------------------------------------------------------------------ */
/* BARs                                                                 */
/* ------------------------------------------------------------------ */

static uint64_t memory_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct virtio_device *vdev = opaque;
	uint64_t at = offset % MEM_PAGE, value = 0;

	switch (offset - at) {
	case MEM_COMMON:
		return common_read(vdev, at, size);
	case MEM_ISR:
		return at ? 0 : virtio_isr_read(vdev);
	case MEM_DEVICE:
		if (at < vdev->config_len)
			memcpy(&value, &vdev->config[at],
			       size < vdev->config_len - at ? size : vdev->config_len - at);
		return value;
	}
	return 0;
}

static void memory_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct virtio_device *vdev = opaque;
	uint64_t at = offset % MEM_PAGE;

	switch (offset - at) {
	case MEM_COMMON:
		common_write(vdev, at, size, value);
		break;
	case MEM_DEVICE:
		if (at + size <= vdev->config_len && vdev->ops->config_write && !vdev->resetting)
			vdev->ops->config_write(vdev, at, size, value);
		break;
	case MEM_NOTIFY:
		virtio_queue_kick(vdev, at / NOTIFY_STRIDE);
		break;
	}
}

static const struct bus_ops memory_ops = { .read = memory_read, .write = memory_write };

static uint64_t notify_read(void *opaque, uint64_t offset, unsigned int size)
{
	(void)opaque;
	(void)offset;
	(void)size;
	return 0;
}

static void notify_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	(void)size;
	(void)value;
	virtio_queue_kick(opaque, offset / NOTIFY_STRIDE);
}

static const struct bus_ops notify_ops = { .read = notify_read, .write = notify_write };

/* The doorbells follow their BAR.  What cannot be bound is served by the bus. */
static void doorbells_bind(struct virtio_device *vdev, struct virtio_doorbells *db,
			   uint32_t flags, uint64_t addr)
{
	struct hv_vm *hv = virtio_dev(vdev)->vm->hv;
	unsigned int i;

	if (!hv || addr == db->addr)
		return;
	for (i = 0; i < vdev->nr_queues; i++)
		if (db->bound & 1U << i)
			hv_doorbell_remove(hv, flags, db->addr + NOTIFY_STRIDE * i, 0, 0,
					   vdev->queue[i].event);
	db->bound = 0;
	db->addr = addr;
	if (addr == PCI_UNMAPPED)
		return;
	for (i = 0; i < vdev->nr_queues; i++)
		if (hv_doorbell_add(hv, flags, addr + NOTIFY_STRIDE * i, 0, 0,
				    vdev->queue[i].event) >= 0)
			db->bound |= 1U << i;
}

/* A new VM object has no doorbell of ours yet. */
int virtio_pci_rebind(struct device *dev)
{
	struct virtio_device *vdev = (struct virtio_device *)dev;
	static const uint32_t flags[] = { HV_DOORBELL_PORT, 0 };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct virtio_doorbells *db = &vdev->doorbells[i];
		uint64_t addr = db->addr;

		db->bound = 0;
		db->addr = PCI_UNMAPPED;
		doorbells_bind(vdev, db, flags[i], addr);
	}
	return 0;
}

static void bar_changed(struct pci_device *pci, unsigned int bar)
{
	struct virtio_device *vdev = (struct virtio_device *)pci;
	uint64_t addr = pci->bar[bar].addr;

	if (bar == BAR_NOTIFY_IO)
		doorbells_bind(vdev, &vdev->doorbells[0], HV_DOORBELL_PORT, addr);
	else if (bar == BAR_MEMORY)
		doorbells_bind(vdev, &vdev->doorbells[1], 0,
			       addr == PCI_UNMAPPED ? addr : addr + MEM_NOTIFY);
}

/* ------------------------------------------------------------------ */
/* Configuration space                                                  */
/* ------------------------------------------------------------------ */

struct cfg_window {
	uint8_t bar;
	uint32_t offset;
	uint32_t len;
};

/* What the guest's PCI configuration access capability points to now; false: nothing. */
static bool cfg_window_get(const struct virtio_device *vdev, struct cfg_window *w)
{
	const struct pci_device *pci = &vdev->pci;
	unsigned int cap = vdev->pci_cfg_cap;
	uint32_t size;

	w->bar = pci->config[cap + VIRTIO_PCI_CAP_BAR];
	w->offset = pci_config_long(pci, cap + VIRTIO_PCI_CAP_OFFSET);
	w->len = pci_config_long(pci, cap + VIRTIO_PCI_CAP_LENGTH);
	if (w->len != 1 && w->len != 2 && w->len != 4)
		return false;
	if (w->bar != BAR_NOTIFY_IO && w->bar != BAR_MEMORY)
		return false;
	size = w->bar == BAR_MEMORY ? MEM_SIZE : NOTIFY_LEN;
	return w->offset % w->len == 0 && w->offset <= size - w->len;
}

static bool touches_data(const struct virtio_device *vdev, unsigned int offset, unsigned int size)
{
	unsigned int data = vdev->pci_cfg_cap + CAP_PCI_CFG_DATA;

	return offset < data + 4 && offset + size > data;
}

static void config_reading(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	struct virtio_device *vdev = (struct virtio_device *)pci;
	struct cfg_window w;

	if (touches_data(vdev, offset, size) && cfg_window_get(vdev, &w))
		pci_config_set_long(pci, vdev->pci_cfg_cap + CAP_PCI_CFG_DATA,
				    w.bar == BAR_MEMORY ? memory_read(vdev, w.offset, w.len) : 0);
}

static void config_written(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	struct virtio_device *vdev = (struct virtio_device *)pci;
	struct cfg_window w;
	uint32_t data;

	if (touches_data(vdev, offset, size) && cfg_window_get(vdev, &w)) {
		data = pci_config_long(pci, vdev->pci_cfg_cap + CAP_PCI_CFG_DATA);
		if (w.len < 4)
			data &= (1U << (8 * w.len)) - 1;
		if (w.bar == BAR_MEMORY)
			memory_write(vdev, w.offset, w.len, data);
		else
			notify_write(vdev, w.offset, w.len, data);
	}
	/* The bus master bit lets the device run and stops it. */
	if (offset < PCI_COMMAND + 2 && offset + size > PCI_COMMAND &&
	    (vdev->status & VIRTIO_CONFIG_S_DRIVER_OK))
		virtio_sync_request(vdev);
}

static const struct pci_ops virtio_pci_ops = {
	.config_reading = config_reading,
	.config_written = config_written,
	.bar_changed = bar_changed,
};

static int cap_add(struct virtio_device *vdev, uint8_t type, unsigned int len, uint8_t bar,
		   uint32_t offset, uint32_t length)
{
	struct pci_device *pci = &vdev->pci;
	int cap = pci_capability_add(pci, PCI_CAP_VENDOR, len);

	if (cap < 0)
		return cap;
	pci->config[cap + VIRTIO_PCI_CAP_LEN] = len;
	pci->config[cap + VIRTIO_PCI_CAP_CFG_TYPE] = type;
	pci->config[cap + VIRTIO_PCI_CAP_BAR] = bar;
	pci_config_set_long(pci, cap + VIRTIO_PCI_CAP_OFFSET, offset);
	pci_config_set_long(pci, cap + VIRTIO_PCI_CAP_LENGTH, length);
	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
		pci_config_set_long(pci, cap + VIRTIO_PCI_NOTIFY_CAP_MULT, NOTIFY_STRIDE);
	return cap;
}

static int caps_add(struct virtio_device *vdev)
{
	struct pci_device *pci = &vdev->pci;
	int cap;

	/* Of one type, the driver takes the first it can use (4.1.4). */
	cap = cap_add(vdev, VIRTIO_PCI_CAP_COMMON_CFG, CAP_LEN, BAR_MEMORY, MEM_COMMON,
		      COMMON_LEN);
	if (cap >= 0)
		cap = cap_add(vdev, VIRTIO_PCI_CAP_NOTIFY_CFG, CAP_NOTIFY_LEN, BAR_NOTIFY_IO, 0,
			      NOTIFY_LEN);
	if (cap >= 0)
		cap = cap_add(vdev, VIRTIO_PCI_CAP_NOTIFY_CFG, CAP_NOTIFY_LEN, BAR_MEMORY,
			      MEM_NOTIFY, NOTIFY_LEN);
	if (cap >= 0)
		cap = cap_add(vdev, VIRTIO_PCI_CAP_ISR_CFG, CAP_LEN, BAR_MEMORY, MEM_ISR, 1);
	if (cap >= 0 && vdev->config_len)
		cap = cap_add(vdev, VIRTIO_PCI_CAP_DEVICE_CFG, CAP_LEN, BAR_MEMORY, MEM_DEVICE,
			      vdev->config_len);
	if (cap >= 0)
		cap = cap_add(vdev, VIRTIO_PCI_CAP_PCI_CFG, CAP_PCI_CFG_LEN, 0, 0, 0);
	if (cap < 0)
		return cap;
	vdev->pci_cfg_cap = cap;
	pci->writable[cap + VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(&pci->writable[cap + VIRTIO_PCI_CAP_OFFSET], 0xff, 12);	/* length and data too */
	return 0;
}

int virtio_pci_init(struct virtio_device *vdev, const void *args)
{
	const struct pci_create_args *where = args;
	const struct pci_ident ident = {
		.vendor = VIRTIO_VENDOR,
		.device = VIRTIO_DEVICE_BASE + vdev->ops->id,
		.subsystem_vendor = VIRTIO_VENDOR,
		.subsystem = VIRTIO_SUBSYSTEM,
		.class_code = vdev->ops->class_code,
		.revision = 1,
		.intx = true,
		.express = true,
	};
	struct pci_device *pci = &vdev->pci;
	int err;

	vdev->doorbells[0].addr = vdev->doorbells[1].addr = PCI_UNMAPPED;
	err = pci_device_init(pci, &ident, &virtio_pci_ops, where ? where->slot : PCI_SLOT_ANY);
	if (err)
		return err;
	err = pci_bar_add(pci, BAR_NOTIFY_IO, PCI_BAR_IO, NOTIFY_LEN, &notify_ops, vdev);
	if (!err)
		err = pci_bar_add(pci, BAR_MEMORY, PCI_BAR_MEM32, MEM_SIZE, &memory_ops, vdev);
	if (!err)
		err = pci_msix_init(pci, BAR_MSIX, vdev->nr_queues + 1);
	if (!err)
		err = caps_add(vdev);
	if (err)
		pci_device_destroy(pci);
	return err;
}

void virtio_pci_destroy(struct virtio_device *vdev)
{
	doorbells_bind(vdev, &vdev->doorbells[0], HV_DOORBELL_PORT, PCI_UNMAPPED);
	doorbells_bind(vdev, &vdev->doorbells[1], 0, PCI_UNMAPPED);
	pci_device_destroy(&vdev->pci);
}
