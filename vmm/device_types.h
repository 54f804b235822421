/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * device_types.h - the static table of device types: one line each.
 *
 * DEVICE_TYPE(x) stands for `extern const struct device_type x_type`.  Included
 * by device.c only.  Order does not matter.
 */
DEVICE_TYPE(pci_host)
