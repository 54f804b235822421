// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio_device.c - life cycle and PCI side of virtio devices (vmm/virtio/device.c, pci.c), with the
 * entropy device for a subject.
 */
#include "virtio_driver.h"

#define MODERN	(1ULL << VIRTIO_F_VERSION_1)
#define RING	(MODERN | 1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC)

static struct vm *vm;
static struct vd d;

static const struct vd_buf buffer = { VD_DATA, 64, true };

static bool works(void)
{
	struct vd_used used;
	uint8_t bytes[64] = { 0 }, zero[64] = { 0 };

	guest_zero(vm, VD_DATA, 64);
	if (!vd_do(&d, 0, &buffer, 1, &used) || used.len != 64)
		return false;
	guest_read(vm, VD_DATA, bytes, 64);
	return memcmp(bytes, zero, 64);
}

static void test_identity(void)
{
	ktap_check(pci_config_word(d.pci, PCI_VENDOR) == 0x1af4 &&
		   pci_config_word(d.pci, PCI_DEVICE) == 0x1044, "modern device id of an entropy source");
	ktap_check(d.common && d.isr && d.notify && d.notify_port && !d.device,
		   "capabilities: common, ISR, notification twice, no device configuration");
	ktap_check(d.pci->config[PCI_REVISION] >= 1 && pci_config_word(d.pci, PCI_SUBSYSTEM) >= 0x40,
		   "revision and subsystem of a non-transitional device");
	ktap_check(vd_get(&d, VIRTIO_PCI_COMMON_NUMQ, 2) == 1, "one queue");
	vd_set(&d, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	ktap_check(!vd_get(&d, VIRTIO_PCI_COMMON_Q_SIZE, 2), "a queue that does not exist has size 0");
	ktap_check((vd_offered(&d) & RING) == RING, "VERSION_1, event index and indirect are offered");
	vd_set(&d, VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	ktap_check(!vd_get(&d, VIRTIO_PCI_COMMON_DF, 4), "no features beyond 64");
}

static void test_negotiation(void)
{
	ktap_check(!vd_negotiate(&d, 0), "FEATURES_OK is refused without VERSION_1");
	ktap_check(!vd_negotiate(&d, MODERN | 1ULL << VIRTIO_F_RING_PACKED),
		   "and with a feature that was not offered");
	vd_set(&d, VIRTIO_PCI_COMMON_STATUS, 1, 15);
	ktap_check(!(vd_status(&d) & VIRTIO_CONFIG_S_DRIVER_OK), "DRIVER_OK does not go without");
	ktap_check(vd_negotiate(&d, MODERN), "VERSION_1 alone is enough");
	vd_set(&d, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	vd_set(&d, VIRTIO_PCI_COMMON_GF, 4, 1U << VIRTIO_RING_F_EVENT_IDX);
	ktap_check(!vd_get(&d, VIRTIO_PCI_COMMON_GF, 4), "features are fixed after FEATURES_OK");
	vd_set(&d, VIRTIO_PCI_COMMON_STATUS, 1, 1);
	ktap_check(vd_status(&d) == 11, "status bits are not cleared by writing less");
	vd_set(&d, VIRTIO_PCI_COMMON_STATUS, 4, 0);
	ktap_check(vd_status(&d) == 11, "a write of the wrong width does nothing");
	ktap_check(vd_reset(&d) && !vd_status(&d), "a reset clears the status");
}

static void test_work(void)
{
	struct vd_used used;
	unsigned int i;
	bool good = true;

	ktap_check(vd_start(&d, MODERN, 4) && works(), "random bytes come, with plain rings");
	ktap_check(vd_start(&d, RING, 64) && works(), "and with event index and indirect");
	for (i = 0; i < 300; i++)
		good &= works();
	ktap_check(good, "300 times round the ring");
	vd_add(&d, 0, &buffer, 1);
	vd_publish(&d, 0);
	pv_write(vm, d.notify, 2, 0);
	ktap_check(vd_used(&d, 0, &used), "notification in memory works too");
	ktap_check(vd_start(&d, RING, 1) && works() && works(), "a ring of one");
}

static void test_broken(void)
{
	static const uint16_t sizes[] = { 0, 5, 128 };
	struct vd_used used;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		vd_negotiate(&d, RING);
		vd_queue_set(&d, 0, sizes[i]);
		vd_go(&d);
		ktap_check(vd_wait_needs_reset(&d), "a ring of %u entries: NEEDS_RESET", sizes[i]);
	}
	vd_start(&d, RING, 8);
	vd_desc(&d, 0, 0, VD_DATA, 4, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 0);
	vd_avail(&d, 0, 0);
	vd_publish(&d, 0);
	vd_kick(&d, 0);
	ktap_check(vd_wait_needs_reset(&d), "a looping chain: NEEDS_RESET");
	ktap_check(pv_read(vm, d.isr, 1) & 2, "and a configuration interrupt");
	vd_add(&d, 0, &buffer, 1);
	vd_publish(&d, 0);
	vd_kick(&d, 0);
	ktap_check(vd_reset(&d) && !vd_status(&d), "it resets");
	ktap_check(vd_start(&d, RING, 8) && works(), "and works again");
	vd_start(&d, RING, 8);
	pci_config_write(d.pci, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	vd_add(&d, 0, &buffer, 1);
	vd_publish(&d, 0);
	vd_kick(&d, 0);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	ktap_check(!vd_used_ready(&d, 0), "nothing happens without bus mastering");
	pci_config_write(d.pci, PCI_COMMAND, 2,
			 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ktap_check(vd_used(&d, 0, &used), "and goes on with it");
}

static bool intx_high(struct vd *dd, uint64_t unused)
{
	return dd->pci->intx;
}

static void test_interrupts(void)
{
	unsigned int cap = d.pci->msix.cap;
	uint64_t table = d.pci->bar[d.pci->msix.bar].addr;
	struct vd_used used;

	vd_start(&d, MODERN, 8);
	vd_do(&d, 0, &buffer, 1, &used);
	ktap_check(vd_wait_until(intx_high, &d, 0), "INTx is raised without MSI-X");
	ktap_check(pv_read(vm, d.isr, 1) == 1 && !d.pci->intx && !pv_read(vm, d.isr, 1),
		   "reading the ISR tells why, clears it and lowers the line");

	vd_reset(&d);
	pci_config_write(d.pci, cap + 2, 2, 0x8000);
	pv_write(vm, table + 16, 8, 0xfee00000);
	pv_write(vm, table + 24, 8, 0x41);	/* unmasked */
	vd_negotiate(&d, MODERN);
	vd_set(&d, VIRTIO_PCI_COMMON_MSIX, 2, 2);
	ktap_check(vd_get(&d, VIRTIO_PCI_COMMON_MSIX, 2) == VIRTIO_MSI_NO_VECTOR,
		   "a vector that does not exist is not taken");
	vd_queue_set(&d, 0, 8);
	vd_set(&d, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	ktap_check(vd_get(&d, VIRTIO_PCI_COMMON_Q_MSIX, 2) == 1, "one that does is");
	vd_go(&d);
	pv_write(vm, table + 28, 4, 1);		/* masked: it shows as pending */
	vd_do(&d, 0, &buffer, 1, &used);
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	ktap_check(pv_read(vm, table + 0x800, 8) == 2 && !d.pci->intx,
		   "a masked vector is pending, and INTx stays low");
	pci_config_write(d.pci, cap + 2, 2, 0);
	vd_reset(&d);
}

static void test_pci_cfg(void)
{
	unsigned int cap = d.vdev->pci_cfg_cap;

	vd_reset(&d);
	pci_config_write(d.pci, cap + VIRTIO_PCI_CAP_BAR, 1, 2);
	pci_config_write(d.pci, cap + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_STATUS);
	pci_config_write(d.pci, cap + VIRTIO_PCI_CAP_LENGTH, 4, 1);
	pci_config_write(d.pci, cap + 16, 1, 1);
	ktap_check(vd_status(&d) == 1, "a register is written through configuration space");
	ktap_check((pci_config_read(d.pci, cap + 16, 1) & 0xff) == 1, "and read");
	pci_config_write(d.pci, cap + VIRTIO_PCI_CAP_OFFSET, 4, 0xfffffffc);
	pci_config_write(d.pci, cap + VIRTIO_PCI_CAP_LENGTH, 4, 4);
	pci_config_write(d.pci, cap + 16, 4, 0);
	pci_config_read(d.pci, cap + 16, 4);
	pci_config_write(d.pci, cap + VIRTIO_PCI_CAP_BAR, 1, 7);
	pci_config_read(d.pci, cap + 16, 4);
	ktap_check(vd_status(&d) == 1, "an offset or BAR beyond the device reaches nothing");
}

static void test_state(void)
{
	struct device *dev = &d.pci->dev;
	struct vd_used used;
	uint8_t *state;
	size_t len;
	bool good;

	vd_start(&d, RING, 16);
	works();
	works();
	dev->type->pause(dev);
	ktap_check(!d.vdev->running && !d.vdev->queue[0].ring.live, "a paused device holds no ring");
	vd_add(&d, 0, &buffer, 1);
	vd_publish(&d, 0);
	vd_kick(&d, 0);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	ktap_check(!vd_used_ready(&d, 0), "and takes nothing from it");
	good = !device_save(dev, &state, &len);
	device_reset_all(vm);
	good = good && !d.vdev->status && d.pci->bar[0].addr == PCI_UNMAPPED;
	good = good && !device_load(dev, state, len);
	ktap_check(good, "it is saved, reset and loaded");
	dev->type->resume(dev);
	ktap_check(vd_used(&d, 0, &used) && works(), "and goes on where it was");
	dev->type->pause(dev);
	/* The accepted features are the first field of virtio: ask for all. */
	d.vdev->accepted = ~0ULL;
	free(state);
	device_save(dev, &state, &len);
	ktap_check(device_load(dev, state, len) == -EINVAL, "features nobody offered are not loaded");
	free(state);
	device_lock(dev);
	virtio_device_reset(dev);
	device_unlock(dev);
	dev->type->resume(dev);
}

/* Nothing to see but that it is still there. */
static void test_noise(void)
{
	vd_noise(&d, RING, 200);
	ktap_check(vd_start(&d, RING, 8) && works(), "after 200 rounds of noise it works");
}

int main(void)
{
	static const char *const settings[] = { "memory", "64M", NULL };

	ktap_plan(43);
	vm = vd_vm_create(settings);
	vd_create(&d, vm, "virtio-rng", "rng");
	test_identity();
	test_negotiation();
	test_work();
	test_broken();
	test_interrupts();
	test_pci_cfg();
	test_state();
	test_noise();
	pv_destroy(vm);
	return ktap_finish();
}
