// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_conf.c - the driver's one object: its directories, its vmm (hv_conf.h).
 *
 * The directories are laid out as those of libvirt's other drivers.
 */
#include <config.h>

#include "hv_conf.h"

#include <fcntl.h>
#include <unistd.h>

#include "configmake.h"
#include "viralloc.h"
#include "vircommand.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virpidfile.h"
#include "virutil.h"

#define VIR_FROM_THIS HV_FROM

VIR_LOG_INIT("hv.hv_conf");

struct hv_driver *hv_driver;

static int dirs_make(struct hv_driver *driver)
{
	const char *const dirs[] = {
		driver->config_dir, driver->autostart_dir, driver->state_dir, driver->log_dir,
	};
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(dirs); i++) {
		if (g_mkdir_with_parents(dirs[i], 0700) < 0) {
			virReportSystemError(errno, _("cannot create directory %s"), dirs[i]);
			return -1;
		}
	}
	return 0;
}

static void dirs_choose(struct hv_driver *driver)
{
	g_autofree char *config = NULL, *cache = NULL, *run = NULL;

	if (driver->root) {
		driver->config_dir = g_strdup_printf("%s/etc/hv", driver->root);
		driver->log_dir = g_strdup_printf("%s/log/hv", driver->root);
		driver->state_dir = g_strdup_printf("%s/run/hv", driver->root);
	} else if (driver->privileged) {
		driver->config_dir = g_strdup(SYSCONFDIR "/libvirt/hv");
		driver->log_dir = g_strdup(LOCALSTATEDIR "/log/libvirt/hv");
		driver->state_dir = g_strdup(RUNSTATEDIR "/libvirt/hv");
	} else {
		config = virGetUserConfigDirectory();
		cache = virGetUserCacheDirectory();
		run = virGetUserRuntimeDirectory();
		driver->config_dir = g_strdup_printf("%s/hv", config);
		driver->log_dir = g_strdup_printf("%s/hv/log", cache);
		driver->state_dir = g_strdup_printf("%s/hv/run", run);
	}
	driver->autostart_dir = g_strdup_printf("%s/autostart", driver->config_dir);
}

struct hv_driver *hv_conf_new(bool privileged, const char *root)
{
	struct hv_driver *driver = g_new0(struct hv_driver, 1);

	driver->lock_fd = -1;
	driver->privileged = privileged;
	driver->root = g_strdup(root);
	dirs_choose(driver);
	driver->vmm = g_find_program_in_path("vmm");
	if (!driver->vmm)
		driver->vmm = g_strdup(HV_PREFIX "/bin/vmm");
	if (dirs_make(driver) < 0)
		goto error;
	/* Two daemons on one set of domains would each think it the other's. */
#if LIBVIR_VERSION_NUMBER >= 10000000
	driver->lock_fd = virPidFileAcquire(driver->state_dir, "driver", getpid());
#else
	driver->lock_fd = virPidFileAcquire(driver->state_dir, "driver", false, getpid());
#endif
	if (driver->lock_fd < 0)
		goto error;
	driver->domains = virDomainObjListNew();
	driver->events = virObjectEventStateNew();
	if (!driver->domains || !driver->events)
		goto error;
	return driver;
error:
	hv_conf_free(driver);
	return NULL;
}

void hv_conf_free(struct hv_driver *driver)
{
	if (!driver)
		return;
	virObjectUnref(driver->domains);
	virObjectUnref(driver->events);
	virObjectUnref(driver->xmlopt);
	virObjectUnref(driver->caps);
	if (driver->lock_fd >= 0)
		virPidFileRelease(driver->state_dir, "driver", driver->lock_fd);
	g_free(driver->root);
	g_free(driver->config_dir);
	g_free(driver->autostart_dir);
	g_free(driver->state_dir);
	g_free(driver->log_dir);
	g_free(driver->vmm);
	g_free(driver);
}

int hv_conf_vmm_version(struct hv_driver *driver, unsigned long *version)
{
	g_autoptr(virCommand) cmd = virCommandNewArgList(driver->vmm, "--version", NULL);
	g_autofree char *text = NULL;
	unsigned int major, minor, micro = 0;
	const char *number;

	virCommandSetOutputBuffer(cmd, &text);
	if (virCommandRun(cmd, NULL) < 0)
		return -1;
	/* "vmm (hv) 0.1" */
	number = strrchr(text, ' ');
	if (!number || sscanf(number, "%u.%u.%u", &major, &minor, &micro) < 2) {
		virReportError(VIR_ERR_INTERNAL_ERROR, _("%s says no version: %s"), driver->vmm,
			       text);
		return -1;
	}
	*version = major * 1000000UL + minor * 1000 + micro;
	return 0;
}

char *hv_conf_state_path(struct hv_driver *driver, const char *name, const char *suffix)
{
	return g_strdup_printf("%s/%s.%s", driver->state_dir, name, suffix);
}

void hv_conf_active_inc(struct hv_driver *driver)
{
	if (g_atomic_int_add(&driver->active, 1) == 0 && driver->inhibit)
		driver->inhibit(true, driver->inhibit_opaque);
}

void hv_conf_active_dec(struct hv_driver *driver)
{
	if (g_atomic_int_dec_and_test(&driver->active) && driver->inhibit)
		driver->inhibit(false, driver->inhibit_opaque);
}
