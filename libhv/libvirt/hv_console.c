// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_console.c - who has a guest's console (hv_console.h).
 *
 * libvirt calls console_closed() with the stream's lock held, so our lock is a
 * leaf: nothing of the stream is called under it.
 */
#include <config.h>

#include "hv_console.h"

#include "hv_conf.h"
#include "virerror.h"
#include "virfdstream.h"
#include "virfile.h"
#include "virthread.h"

#define VIR_FROM_THIS HV_FROM

struct hv_console {
	int refs;			/* atomic: the domain's and each stream's */
	virMutex lock;			/* guards stream */
	virStreamPtr stream;		/* no reference: it tells before it goes */
};

struct hv_console *hv_console_new(void)
{
	struct hv_console *console = g_new0(struct hv_console, 1);

	console->refs = 1;
	if (virMutexInit(&console->lock) < 0) {
		virReportSystemError(errno, "%s", _("cannot make a lock"));
		g_clear_pointer(&console, g_free);
	}
	return console;
}

void hv_console_free(struct hv_console *console)
{
	if (!console || !g_atomic_int_dec_and_test(&console->refs))
		return;
	virMutexDestroy(&console->lock);
	g_free(console);
}

static void console_release(void *opaque)
{
	hv_console_free(opaque);
}

static void console_closed(virStreamPtr stream, void *opaque)
{
	struct hv_console *console = opaque;

	VIR_WITH_MUTEX_LOCK_GUARD(&console->lock) {
		if (console->stream == stream)
			console->stream = NULL;
	}
}

int hv_console_attach(struct hv_console *console, virStreamPtr stream, int fd, bool force)
{
	virStreamPtr old = NULL;
	bool taken = false;

	VIR_WITH_MUTEX_LOCK_GUARD(&console->lock) {
		if (console->stream && !force) {
			taken = true;
		} else {
			old = virObjectRef(console->stream);
			console->stream = stream;
		}
	}
	if (taken) {
		VIR_FORCE_CLOSE(fd);
		virReportError(VIR_ERR_OPERATION_FAILED, "%s",
			       _("the console is in use; --force takes it"));
		return -1;
	}
	if (old) {
		virStreamAbort(old);
		virObjectUnref(old);
	}
	if (virFDStreamOpen(stream, fd) < 0) {
		VIR_FORCE_CLOSE(fd);
		console_closed(stream, console);
		return -1;
	}
	g_atomic_int_inc(&console->refs);
	virFDStreamSetInternalCloseCb(stream, console_closed, console, console_release);
	return 0;
}

void hv_console_forget(struct hv_console *console)
{
	VIR_WITH_MUTEX_LOCK_GUARD(&console->lock) {
		console->stream = NULL;
	}
}
