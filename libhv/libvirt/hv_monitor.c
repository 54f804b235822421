// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_monitor.c - the connection to a running guest's vmm (hv_monitor.h;
 * Documentation/control.rst).
 *
 * Two connections: answers to commands never wait behind events nobody reads.
 */
#include <config.h>

#include "hv_monitor.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <json-c/json.h>

#include "hv/control.h"
#include "hv_domain.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virthread.h"

#define VIR_FROM_THIS HV_FROM

#define RETRY_MS	200	/* between attempts to connect again */

VIR_LOG_INIT("hv.hv_monitor");

struct hv_monitor {
	int refs;			/* atomic */
	const struct hv_monitor_callbacks *callbacks;
	virDomainObj *vm;		/* the event thread's reference */
	int pidfd;
	virMutex lock;			/* guards client */
	struct hv_client *client;	/* commands */
	virMutex events_lock;		/* guards the pointer events; leaf lock */
	struct hv_client *events;	/* the event thread reads it */
};

static virMutex threads_lock = VIR_MUTEX_INITIALIZER;	/* guards threads */
static virCond threads_cond;
static unsigned int threads;

static int threadsOnceInit(void)
{
	return virCondInit(&threads_cond);
}
VIR_ONCE_GLOBAL_INIT(threads);

static void threads_add(int n)
{
	VIR_WITH_MUTEX_LOCK_GUARD(&threads_lock) {
		threads += n;
		virCondBroadcast(&threads_cond);
	}
}

void hv_monitor_drain(void)
{
	if (threadsInitialize() < 0)
		return;
	VIR_WITH_MUTEX_LOCK_GUARD(&threads_lock) {
		while (threads)
			if (virCondWait(&threads_cond, &threads_lock) < 0)
				break;
	}
}

static void monitor_put(struct hv_monitor *mon)
{
	if (!g_atomic_int_dec_and_test(&mon->refs))
		return;
	hv_client_close(mon->client);
	hv_client_close(mon->events);
	VIR_FORCE_CLOSE(mon->pidfd);
	virMutexDestroy(&mon->events_lock);
	virMutexDestroy(&mon->lock);
	g_free(mon);
}

/* ---- events ---- */

static bool process_wait(struct hv_monitor *mon, int timeout_ms)
{
	struct pollfd pfd = { .fd = mon->pidfd, .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) == 1;
}

/* Is it still the domain's connection? */
static bool monitor_current(struct hv_monitor *mon)
{
	bool current;

	virObjectLock(mon->vm);
	current = hv_domain(mon->vm)->mon == mon;
	virObjectUnlock(mon->vm);
	return current;
}

static void event_deliver(struct hv_monitor *mon, struct json_object *event)
{
	virDomainObj *vm = mon->vm;
	struct json_object *name = json_object_object_get(event, "event");

	virObjectLock(vm);
	if (hv_domain(vm)->mon == mon)
		mon->callbacks->event(vm, json_object_get_string(name),
				      json_object_object_get(event, "data"));
	virObjectUnlock(vm);
}

static int connection_open(const char *name, pid_t pid, struct hv_client **client);

/*
 * The connection has ended.  As a rule the vmm will have too, in a moment: it closes its
 * socket shortly before, and its files are free only when the process is gone.  But
 * a guest is not given up while its vmm lives.  True: there are events again.
 */
static bool events_reopen(struct hv_monitor *mon)
{
	struct hv_client *client, *old;
	struct json_object *status;
	g_autofree char *name = NULL;
	pid_t pid;

	virObjectLock(mon->vm);
	name = g_strdup(mon->vm->def->name);
	pid = mon->vm->pid;
	virObjectUnlock(mon->vm);
	while (!process_wait(mon, RETRY_MS)) {
		if (!monitor_current(mon))
			return false;
		if (connection_open(name, pid, &client))
			continue;
		virMutexLock(&mon->events_lock);
		old = mon->events;
		mon->events = client;
		virMutexUnlock(&mon->events_lock);
		hv_client_close(old);
		VIR_WARN("connected again to the vmm of %s", name);
		/* What was missed meanwhile. */
		if (hv_client_call(client, "status", NULL, &status, NULL))
			continue;
		virObjectLock(mon->vm);
		if (hv_domain(mon->vm)->mon == mon)
			mon->callbacks->event(mon->vm, "state", status);
		virObjectUnlock(mon->vm);
		json_object_put(status);
		return true;
	}
	return false;
}

static void events_main(void *opaque)
{
	struct hv_monitor *mon = opaque;
	struct json_object *event;
	virDomainObj *vm = mon->vm;

	do {
		while (!hv_client_event(mon->events, -1, &event)) {
			event_deliver(mon, event);
			json_object_put(event);
		}
	} while (monitor_current(mon) && events_reopen(mon));
	virObjectLock(vm);
	if (hv_domain(vm)->mon == mon)
		mon->callbacks->ended(vm);
	virObjectUnlock(vm);
	virObjectUnref(vm);
	monitor_put(mon);
	threads_add(-1);
}

/* ---- connecting ---- */

static int client_pid(struct hv_client *client)
{
	struct json_object *hv = json_object_object_get(hv_client_greeting(client), "hv");

	return json_object_get_int(json_object_object_get(hv, "pid"));
}

/* To the process that we mean, not to another of this name. */
static int connection_open(const char *name, pid_t pid, struct hv_client **client)
{
	int ret = hv_client_open(name, client);

	if (!ret && client_pid(*client) != pid) {
		hv_client_close(*client);
		*client = NULL;
		ret = -ESRCH;
	}
	return ret;
}

/* That of the commands, which gets no events. */
static int commands_open(const char *name, pid_t pid, struct hv_client **client)
{
	struct json_object *args;
	int ret = connection_open(name, pid, client);

	if (ret)
		return ret;
	args = json_object_new_object();
	json_object_object_add(args, "enabled", json_object_new_boolean(false));
	ret = hv_client_call(*client, "events", args, NULL, NULL);
	json_object_put(args);
	if (ret)
		g_clear_pointer(client, hv_client_close);
	return ret;
}

static int clients_open(struct hv_monitor *mon, const char *name, pid_t pid)
{
	int ret = commands_open(name, pid, &mon->client);

	return ret ? ret : connection_open(name, pid, &mon->events);
}

/* Until it listens, it has ended, or the time is over. */
static int clients_wait(struct hv_monitor *mon, const char *name, pid_t pid, int timeout_ms)
{
	const gint64 deadline = g_get_monotonic_time() + timeout_ms * 1000LL;
	int ret;

	for (;;) {
		ret = clients_open(mon, name, pid);
		if (ret != -ENOENT && ret != -ECONNREFUSED && ret != -ESRCH)
			return ret;
		g_clear_pointer(&mon->client, hv_client_close);
		g_clear_pointer(&mon->events, hv_client_close);
		if (process_wait(mon, 20))
			return -ESRCH;
		if (g_get_monotonic_time() > deadline)
			return -ETIMEDOUT;
	}
}

int hv_monitor_open(virDomainObj *vm, const struct hv_monitor_callbacks *callbacks,
		    int timeout_ms)
{
	g_autofree char *name = g_strdup(vm->def->name);
	struct hv_monitor *mon;
	pid_t pid = vm->pid;
	virThread thread;
	int ret;

	if (threadsInitialize() < 0)
		return -1;
	mon = g_new0(struct hv_monitor, 1);
	mon->refs = 1;
	mon->callbacks = callbacks;
	mon->vm = vm;
	if (virMutexInit(&mon->lock) < 0 || virMutexInit(&mon->events_lock) < 0) {
		virReportSystemError(errno, "%s", _("cannot make a lock"));
		g_free(mon);
		return -1;
	}
	mon->pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (mon->pidfd < 0) {
		ret = -ESRCH;
	} else {
		virObjectUnlock(vm);
		ret = clients_wait(mon, name, pid, timeout_ms);
		virObjectLock(vm);
	}
	if (ret) {
		monitor_put(mon);
		if (ret == -ESRCH || ret == -EPIPE)
			return -2;
		virReportError(VIR_ERR_OPERATION_FAILED, _("cannot reach the vmm of '%s': %s"),
			       name, g_strerror(-ret));
		return -1;
	}
	mon->refs++;
	virObjectRef(vm);
	hv_domain(vm)->mon = mon;
	threads_add(1);
	if (virThreadCreateFull(&thread, false, events_main, "hv-events", false, mon) < 0) {
		virReportSystemError(errno, "%s", _("cannot start a thread for events"));
		threads_add(-1);
		hv_domain(vm)->mon = NULL;
		virObjectUnref(vm);
		mon->refs--;
		monitor_put(mon);
		return -1;
	}
	return 0;
}

void hv_monitor_close(virDomainObj *vm)
{
	struct hv_monitor *mon = g_steal_pointer(&hv_domain(vm)->mon);

	if (!mon)
		return;
	/* Wakes the event thread; the descriptor stays open as long as it may read it. */
	virMutexLock(&mon->events_lock);
	shutdown(hv_client_fd(mon->events), SHUT_RDWR);
	virMutexUnlock(&mon->events_lock);
	monitor_put(mon);
}

/* ---- commands ---- */

static void call_error(const char *command, const char *refusal, int err)
{
	switch (err) {
	case -EREMOTEIO:
		/* "code: line for people" */
		if (STRPREFIX(refusal, "paused: ") || STRPREFIX(refusal, "running: "))
			virReportError(VIR_ERR_OPERATION_INVALID, "%s", strstr(refusal, ": ") + 2);
		else
			virReportError(VIR_ERR_OPERATION_FAILED, "%s", refusal);
		break;
	case -EPIPE:
	case -ECONNREFUSED:
	case -ENOENT:
	case -ESRCH:
		virReportError(VIR_ERR_OPERATION_INVALID, "%s",
			       _("the connection to the vmm has ended"));
		break;
	case -ETIMEDOUT:
		virReportError(VIR_ERR_OPERATION_TIMEOUT, _("the vmm does not answer '%s'"),
			       command);
		break;
	default:
		virReportSystemError(-err, _("cannot ask the vmm for '%s'"), command);
	}
}

int hv_monitor_call(virDomainObj *vm, const char *command, struct json_object *args,
		    struct json_object **result, int *fd)
{
	struct hv_monitor *mon = hv_domain(vm)->mon;
	g_autofree char *name = g_strdup(vm->def->name);
	g_autofree char *refusal = NULL;
	const pid_t pid = vm->pid;
	int ret = 0;

	if (result)
		*result = NULL;
	if (fd)
		*fd = -1;
	if (!mon) {
		json_object_put(args);
		virReportError(VIR_ERR_OPERATION_INVALID, "%s",
			       virDomainObjIsActive(vm) ? _("the vmm is not connected yet") :
			       _("domain is not running"));
		return -1;
	}
	g_atomic_int_inc(&mon->refs);
	virObjectUnlock(vm);
	virMutexLock(&mon->lock);
	if (!mon->client)
		ret = commands_open(name, pid, &mon->client);
	if (!ret)
		ret = hv_client_call(mon->client, command, args, result, fd);
	if (ret == -EREMOTEIO)
		refusal = g_strdup(hv_client_error(mon->client));
	/* A connection that has broken is of no use; the next command opens another. */
	if (ret == -EPIPE || ret == -EPROTO)
		g_clear_pointer(&mon->client, hv_client_close);
	virMutexUnlock(&mon->lock);
	json_object_put(args);
	monitor_put(mon);
	virObjectLock(vm);
	if (!ret)
		return 0;
	call_error(command, refusal, ret);
	return -1;
}

int hv_monitor_kill(virDomainObj *vm, int signal)
{
	struct hv_monitor *mon = hv_domain(vm)->mon;

	if (!mon) {
		virReportError(VIR_ERR_OPERATION_INVALID, "%s", _("the vmm is not connected"));
		return -1;
	}
	if (syscall(SYS_pidfd_send_signal, mon->pidfd, signal, NULL, 0) < 0 && errno != ESRCH) {
		virReportSystemError(errno, "%s", _("cannot signal the vmm"));
		return -1;
	}
	return 0;
}
