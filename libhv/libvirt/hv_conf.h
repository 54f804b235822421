/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_conf.h - the driver's one object: its directories, its vmm, its domains.
 *
 * Everything in struct hv_driver but the domain list, the event state and the
 * counters is fixed once the driver is initialized; those have their own locks.
 */
#ifndef HV_CONF_H
#define HV_CONF_H

#include <stdbool.h>

#include "capabilities.h"
#include "domain_conf.h"
#include "driver.h"
#include "object_event.h"
#include "virdomainobjlist.h"

/* The types of libvirt that know us by name only once this is part of it. */
#ifdef VIR_FROM_HV
# define HV_FROM	VIR_FROM_HV
#else
# define HV_FROM	VIR_FROM_NONE
#endif

#define HV_DRIVER_NAME	"hv"		/* URI scheme, cgroup and machine prefix */
#define HV_MACHINE	"hv"		/* <os><type machine=...> */
#define HV_VCPUS_MAX	64		/* the vmm's limit, vmm run --help-keys */

struct hv_driver {
	bool privileged;
	char *root;			/* of hv:///embed, else NULL */
	char *config_dir;		/* one XML file for each persistent domain */
	char *autostart_dir;		/* symlinks to those to start with the host */
	char *state_dir;		/* status XML and configuration of running ones */
	char *log_dir;			/* what their vmm says */
	char *vmm;			/* program, the default <emulator> */
	int lock_fd;			/* of the one daemon that uses state_dir */

	virCaps *caps;
	virDomainXMLOption *xmlopt;
	virDomainObjList *domains;
	virObjectEventState *events;

	int next_id;			/* atomic: of running domains */
	int active;			/* atomic: their number */
	virStateInhibitCallback inhibit;	/* keeps a daemon with a timeout alive */
	void *inhibit_opaque;
};

/* The driver of this process; NULL until it is initialized. */
extern struct hv_driver *hv_driver;

/**
 * hv_conf_new() - a driver with its directories chosen and made.
 * @root: directory of hv:///embed, or NULL.
 * NULL with a libvirt error set.  hv_conf_free() takes NULL as well.
 */
struct hv_driver *hv_conf_new(bool privileged, const char *root);
void hv_conf_free(struct hv_driver *driver);

/**
 * hv_conf_vmm_version() - version of the vmm, in libvirt's form (0.1 is 1000).
 * The program is asked each time: it may have been replaced.
 */
int hv_conf_vmm_version(struct hv_driver *driver, unsigned long *version);

/** hv_conf_status_path() - "STATE_DIR/NAME.SUFFIX", the caller's. */
char *hv_conf_state_path(struct hv_driver *driver, const char *name, const char *suffix);

/** hv_conf_active_inc(), hv_conf_active_dec() - a domain has started, has ended. */
void hv_conf_active_inc(struct hv_driver *driver);
void hv_conf_active_dec(struct hv_driver *driver);

#endif /* HV_CONF_H */
