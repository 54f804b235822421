/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * device_types.h - the static table of device types: one line each.
 *
 * DEVICE_TYPE(x) stands for `extern const struct device_type x_type`.  Included
 * by device.c only.  Order does not matter.
 */
DEVICE_TYPE(pci_host)
DEVICE_TYPE(platform)
DEVICE_TYPE(pic)
DEVICE_TYPE(ioapic)
DEVICE_TYPE(lpc)
DEVICE_TYPE(pit)
DEVICE_TYPE(rtc)
DEVICE_TYPE(kbd)
DEVICE_TYPE(uart)
DEVICE_TYPE(pvpanic)
DEVICE_TYPE(fwcfg)
DEVICE_TYPE(debugcon)
DEVICE_TYPE(debugexit)
DEVICE_TYPE(testdev)
DEVICE_TYPE(virtio_blk)
DEVICE_TYPE(virtio_net)
DEVICE_TYPE(virtio_rng)
DEVICE_TYPE(virtio_con)
