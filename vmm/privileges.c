// SPDX-License-Identifier: GPL-2.0-only
/*
 * privileges.c - capabilities(7) and no_new_privs.
 *
 * The raw calls and libcap-ng both act on the calling thread only; libcap-ng's
 * state is process-wide, so it is used by one thread at a time (set-up).
 */
#include <cap-ng.h>
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "privileges.h"

/* For threads other than the main one: libcap-ng is not thread-safe. */
int privileges_drop_thread(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	if (syscall(SYS_capset, &head, data))
		return -errno;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

int privileges_drop(void)
{
	capng_select_t set = CAPNG_SELECT_CAPS;

	if (capng_get_caps_process())
		return -EPERM;
	/* The bounding set too, where we may. */
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		set = CAPNG_SELECT_ALL;
	capng_clear(set);
	if (capng_apply(set))
		return -EPERM;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}
