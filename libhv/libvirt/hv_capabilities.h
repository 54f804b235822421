/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_capabilities.h - what this host and the driver can do, as libvirt says it:
 * capabilities and domain capabilities.
 */
#ifndef HV_CAPABILITIES_H
#define HV_CAPABILITIES_H

#include "hv_conf.h"

/** hv_capabilities_new() - the host's and the driver's; NULL with an error set. */
virCaps *hv_capabilities_new(struct hv_driver *driver);

/**
 * hv_capabilities_domain() - XML of the domain capabilities, the caller's.
 * Arguments that are NULL get their one possible value; others are refused.
 */
char *hv_capabilities_domain(struct hv_driver *driver, const char *emulator, const char *arch,
			     const char *machine, const char *virttype);

#endif /* HV_CAPABILITIES_H */
