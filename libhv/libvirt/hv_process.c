// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_process.c - a guest's life (hv_process.h).
 *
 * virthvd may be killed at any moment, so what it does is written to the status
 * XML before it is done: the vmm's process exists, held before exec(2), when its
 * number is saved.  If virthvd ends before it lets go, that process ends as well.
 */
#include <config.h>

#include "hv_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include "datatypes.h"
#include "domain_event.h"
#include "hv_command.h"
#include "hv_console.h"
#include "hv_events.h"
#include "hv_interface.h"
#include "hv_monitor.h"
#include "hv_tune.h"
#include "virclosecallbacks.h"
#include "vircommand.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virpidfile.h"
#include "virprocess.h"
#include "virstring.h"
#include "virthread.h"
#include "virtime.h"
#include "virutil.h"

#define VIR_FROM_THIS HV_FROM

#define START_MS	120000	/* for the vmm to load its images and listen */
#define STOP_MS		15000	/* for it to end when told to */
#define STATE_MS	60000	/* for an event after the answer it goes with */

VIR_LOG_INIT("hv.hv_process");

static void process_ended(virDomainObj *vm);

static const struct hv_monitor_callbacks monitor_callbacks = {
	.event = hv_events_handle,
	.ended = process_ended,
};

/* ---- the end ---- */

static void autodestroy(virDomainObj *vm, virConnectPtr conn);

void hv_process_autodestroy_remove(virDomainObj *vm)
{
	if (!hv_domain(vm)->autodestroy)
		return;
	virCloseCallbacksDomainRemove(vm, NULL, autodestroy);
	hv_domain(vm)->autodestroy = false;
}

static void state_files_remove(virDomainObj *vm)
{
	static const char *const suffixes[] = { "xml", "json", "pid" };
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(suffixes); i++) {
		g_autofree char *path = hv_conf_state_path(hv_domain(vm)->driver, vm->def->name,
							   suffixes[i]);

		unlink(path);
	}
}

static int stopped_detail(int reason)
{
	switch (reason) {
	case VIR_DOMAIN_SHUTOFF_SHUTDOWN:
		return VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN;
	case VIR_DOMAIN_SHUTOFF_DESTROYED:
		return VIR_DOMAIN_EVENT_STOPPED_DESTROYED;
	case VIR_DOMAIN_SHUTOFF_CRASHED:
		return VIR_DOMAIN_EVENT_STOPPED_CRASHED;
	default:
		return VIR_DOMAIN_EVENT_STOPPED_FAILED;
	}
}

static int log_open(virDomainObj *vm)
{
	g_autofree char *path = g_strdup_printf("%s/%s.log", hv_domain(vm)->driver->log_dir,
						vm->def->name);
	int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		virReportSystemError(errno, _("cannot open %s"), path);
	return fd;
}

static void log_line(int fd, const char *what, const char *why)
{
	g_autofree char *now = virTimeStringNow();
	g_autofree char *line = g_strdup_printf("%s: %s%s\n", now, what, why);

	if (safewrite(fd, line, strlen(line)) < 0)
		VIR_WARN("cannot write to a guest's log: %s", g_strerror(errno));
}

static void log_end(virDomainObj *vm, int reason)
{
	VIR_AUTOCLOSE fd = log_open(vm);

	if (fd >= 0)
		log_line(fd, "ended: ", virDomainShutoffReasonTypeToString(reason));
}

/*
 * The process is gone: nothing of the running domain stays.  @keep: a transient
 * domain stays in the list, it will be started again.
 */
static void process_finish(virDomainObj *vm, int reason, bool keep)
{
	struct hv_domain *domain = hv_domain(vm);
	const bool was_running = virDomainObjGetState(vm, NULL) != VIR_DOMAIN_SHUTOFF;

	if (!virDomainObjIsActive(vm))
		return;
	hv_monitor_close(vm);
	hv_tune_stop(vm);
	hv_interface_stop(vm);
	state_files_remove(vm);
	hv_console_forget(domain->console);
	hv_process_autodestroy_remove(vm);
	g_clear_pointer(&domain->vcpu_tid, g_free);
	domain->nr_vcpu_tid = 0;
	domain->end_reason = -1;
	domain->restart = false;
	vm->pid = 0;
	virDomainObjSetState(vm, VIR_DOMAIN_SHUTOFF, reason);
	log_end(vm, reason);
	if (was_running)
		hv_domain_event_lifecycle(vm, VIR_DOMAIN_EVENT_STOPPED, stopped_detail(reason));
	vm->def->id = -1;
	virDomainObjRemoveTransientDef(vm);
	hv_conf_active_dec(domain->driver);
	virDomainObjBroadcast(vm);
	if (!vm->persistent && !keep)
		virDomainObjListRemove(domain->driver->domains, vm);
}

/* On the event thread. */
static void process_ended(virDomainObj *vm)
{
	struct hv_domain *domain = hv_domain(vm);
	const bool restart = domain->restart && domain->end_reason != VIR_DOMAIN_SHUTOFF_DESTROYED;
	const int reason = domain->end_reason >= 0 ? domain->end_reason :
			   VIR_DOMAIN_SHUTOFF_CRASHED;

	process_finish(vm, reason, restart);
	if (!restart)
		return;
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
		return;
	if (!virDomainObjIsActive(vm) && hv_process_start(vm, NULL) < 0) {
		VIR_WARN("%s could not be started again: %s", vm->def->name,
			 virGetLastErrorMessage());
		if (!vm->persistent)
			virDomainObjListRemove(domain->driver->domains, vm);
	}
	virDomainObjEndJob(vm);
}

static int wait_inactive(virDomainObj *vm, int id, int timeout_ms)
{
	unsigned long long now;

	if (virTimeMillisNow(&now) < 0)
		return -1;
	while (vm->def->id == id) {
		/* It fails when the domain has ended, which is what we wait for. */
		if (virDomainObjWaitUntil(vm, now + timeout_ms) != 0) {
			virResetLastError();
			break;
		}
	}
	return vm->def->id == id ? -1 : 0;
}

int hv_process_destroy(virDomainObj *vm, bool graceful)
{
	const int id = vm->def->id;

	hv_domain(vm)->end_reason = VIR_DOMAIN_SHUTOFF_DESTROYED;
	hv_domain(vm)->restart = false;
	if (hv_monitor_kill(vm, SIGINT) < 0)
		return -1;
	if (wait_inactive(vm, id, STOP_MS) == 0)
		return 0;
	if (graceful) {
		virReportError(VIR_ERR_OPERATION_FAILED, "%s",
			       _("the vmm has not ended in time; without 'graceful' it is killed"));
		return -1;
	}
	if (hv_monitor_kill(vm, SIGKILL) < 0)
		return -1;
	if (wait_inactive(vm, id, STOP_MS) == 0)
		return 0;
	virReportError(VIR_ERR_OPERATION_FAILED, "%s", _("the vmm cannot be killed"));
	return -1;
}

static void autodestroy(virDomainObj *vm, virConnectPtr conn)
{
	(void)conn;
	hv_domain(vm)->autodestroy = false;
	if (virDomainObjBeginJob(vm, VIR_JOB_DESTROY) < 0)
		return;
	if (virDomainObjIsActive(vm) && hv_process_destroy(vm, false) < 0)
		VIR_WARN("cannot end %s: %s", vm->def->name, virGetLastErrorMessage());
	virDomainObjEndJob(vm);
}

int hv_process_wait_state(virDomainObj *vm, virDomainState state)
{
	unsigned long long now;
	int ret;

	if (virTimeMillisNow(&now) < 0)
		return -1;
	while (virDomainObjGetState(vm, NULL) != state) {
		ret = virDomainObjWaitUntil(vm, now + STATE_MS);
		if (ret < 0)
			return -1;
		if (ret > 0) {
			virReportError(VIR_ERR_OPERATION_TIMEOUT, "%s",
				       _("the vmm does not tell of the guest's new state"));
			return -1;
		}
	}
	return 0;
}

int hv_process_forget(virDomainObj *vm, void *opaque)
{
	(void)opaque;
	virObjectLock(vm);
	hv_monitor_close(vm);
	virObjectUnlock(vm);
	return 0;
}

/* ---- the start ---- */

static int config_write(virDomainObj *vm, const char *path)
{
	g_autofree char *text = hv_command_text(vm->def);

	if (virFileWriteStr(path, text, 0600) < 0) {
		virReportSystemError(errno, _("cannot write %s"), path);
		return -1;
	}
	return 0;
}

/* What the vmm has said since its start, its last line first of all. */
static void log_error_report(virDomainObj *vm, int fd, off_t from)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof(text) - 1, from);
	char *line;

	text[n > 0 ? n : 0] = '\0';
	g_strchomp(text);
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	virReportError(VIR_ERR_OPERATION_FAILED, _("'%s' did not start: %s"), vm->def->name,
		       *line ? line :
		       virMemoryLimitIsSet(vm->def->mem.hard_limit) ?
		       _("its vmm ended without a word; is the <hard_limit> of <memtune> too small "
			 "for it?") :
		       _("its vmm ended without a word; is <emulator> one?"));
}

/*
 * The vmm's process, held before it becomes the vmm: its number is in vm->pid.
 * virCommandHandshakeNotify() lets it go, closing @cmd ends it.
 */
static int process_fork(virDomainObj *vm, virCommand *cmd, const char *pid_file)
{
	virCommandAddEnvPassCommon(cmd);
	virCommandAddEnvPass(cmd, "XDG_RUNTIME_DIR");
	virCommandSetPidFile(cmd, pid_file);
	virCommandRequireHandshake(cmd);
	virCommandDaemonize(cmd);
	if (virCommandRun(cmd, NULL) < 0 || virCommandHandshakeWait(cmd) < 0)
		return -1;
	if (virPidFileReadPath(pid_file, &vm->pid) < 0) {
		virReportError(VIR_ERR_INTERNAL_ERROR, "%s", _("the vmm's process has no number"));
		return -1;
	}
	if (virProcessGetStartTime(vm->pid, &hv_domain(vm)->start_time) < 0)
		return -1;
	return 0;
}

/* Thread ids of the vCPUs. */
static int threads_learn(virDomainObj *vm)
{
	struct hv_domain *domain = hv_domain(vm);
	struct json_object *info, *threads, *vcpu;
	const size_t nr = virDomainDefGetVcpusMax(vm->def);
	size_t i, n;

	if (hv_monitor_call(vm, "info", NULL, &info, NULL) < 0)
		return -1;
	g_free(domain->vcpu_tid);
	domain->vcpu_tid = g_new0(pid_t, nr);
	domain->nr_vcpu_tid = nr;
	threads = json_object_object_get(info, "threads");
	n = json_object_is_type(threads, json_type_array) ? json_object_array_length(threads) : 0;
	for (i = 0; i < n; i++) {
		struct json_object *t = json_object_array_get_idx(threads, i);

		vcpu = json_object_object_get(t, "vcpu");
		if (vcpu && json_object_get_uint64(vcpu) < nr)
			domain->vcpu_tid[json_object_get_uint64(vcpu)] =
				json_object_get_int(json_object_object_get(t, "tid"));
	}
	json_object_put(info);
	for (i = 0; i < nr; i++) {
		if (domain->vcpu_tid[i] <= 0) {
			virReportError(VIR_ERR_INTERNAL_ERROR,
				       _("the vmm names no thread of vCPU %zu"), i);
			return -1;
		}
	}
	return 0;
}

/* From the process that is held to the guest that runs. */
static int process_launch(virDomainObj *vm, virCommand *cmd, int log_fd, off_t log_from)
{
	int ret;

	if (hv_tune_start(vm) < 0 || hv_domain_save_status(vm) < 0)
		return -1;
	if (virCommandHandshakeNotify(cmd) < 0)
		return -1;
	ret = hv_monitor_open(vm, &monitor_callbacks, START_MS);
	if (ret == -2)
		log_error_report(vm, log_fd, log_from);
	if (ret < 0)
		return -1;
	if (threads_learn(vm) < 0) {
		/* It has ended in the midst of its first moments. */
		if (!virDomainObjIsActive(vm))
			log_error_report(vm, log_fd, log_from);
		return -1;
	}
	return hv_tune_vcpus(vm);
}

/* Ends a vmm that may be at any point of its start. */
static void process_abort(virDomainObj *vm)
{
	virErrorPtr error;
	int i;

	virErrorPreserveLast(&error);
	if (vm->pid > 0 && virDomainObjIsActive(vm)) {
		kill(vm->pid, SIGINT);
		for (i = 0; i < 100 && kill(vm->pid, 0) == 0; i++) {
			if (i == 50)
				kill(vm->pid, SIGKILL);
			g_usleep(20000);
		}
	}
	process_finish(vm, VIR_DOMAIN_SHUTOFF_FAILED, true);
	virErrorRestore(&error);
}

int hv_process_start(virDomainObj *vm, virConnectPtr conn)
{
	struct hv_domain *domain = hv_domain(vm);
	struct hv_driver *driver = domain->driver;
	g_autofree char *config = hv_conf_state_path(driver, vm->def->name, "json");
	g_autofree char *pid_file = hv_conf_state_path(driver, vm->def->name, "pid");
	g_autoptr(virCommand) cmd = NULL;
	off_t log_from = 0;
	int log_fd;

	if (virDomainObjSetDefTransient(driver->xmlopt, vm, NULL) < 0)
		return -1;
	log_fd = log_open(vm);
	if (log_fd < 0) {
		virDomainObjRemoveTransientDef(vm);
		return -1;
	}
	log_line(log_fd, "starting", "");
	log_from = lseek(log_fd, 0, SEEK_END);
	vm->def->id = g_atomic_int_add(&driver->next_id, 1) + 1;
	vm->pid = 0;
	domain->end_reason = -1;
	hv_conf_active_inc(driver);
	if (hv_domain_save_status(vm) < 0 || hv_interface_start(vm) < 0 ||
	    config_write(vm, config) < 0)
		goto error;
	cmd = virCommandNewArgList(vm->def->emulator, "run", "--config", config, NULL);
	virCommandSetOutputFD(cmd, &log_fd);
	virCommandSetErrorFD(cmd, &log_fd);
	if (process_fork(vm, cmd, pid_file) < 0 ||
	    process_launch(vm, cmd, log_fd, log_from) < 0)
		goto error;
	unlink(pid_file);
	if (conn) {
		virCloseCallbacksDomainAdd(vm, conn, autodestroy);
		domain->autodestroy = true;
	}
	virDomainObjSetState(vm, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED);
	if (hv_domain_save_status(vm) < 0)
		goto error;
	hv_domain_event_lifecycle(vm, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
	VIR_FORCE_CLOSE(log_fd);
	return 0;
error:
	process_abort(vm);
	VIR_FORCE_CLOSE(log_fd);
	return -1;
}

/* ---- a new virthvd ---- */

/* Is the process that the status XML names still the one that was started? */
static bool process_same(virDomainObj *vm)
{
	unsigned long long start_time;

	if (vm->pid <= 0)
		return false;
	if (virProcessGetStartTime(vm->pid, &start_time) < 0) {
		virResetLastError();
		return false;
	}
	return start_time && start_time == hv_domain(vm)->start_time;
}

static void reconnect_main(void *opaque)
{
	virDomainObj *vm = opaque;
	struct json_object *status = NULL;
	int state, reason, ret = -2;

	virObjectLock(vm);
	/* In the midst of a start it was off; it counts as started if the guest runs. */
	state = virDomainObjGetState(vm, &reason);
	if (process_same(vm)) {
		if (hv_tune_reconnect(vm) < 0)
			VIR_WARN("cannot find the cgroup of %s", vm->def->name);
		ret = hv_monitor_open(vm, &monitor_callbacks, START_MS);
	}
	if (ret == 0)
		ret = hv_monitor_call(vm, "status", NULL, &status, NULL);
	if (ret == 0)
		ret = threads_learn(vm);
	if (ret == 0) {
		hv_interface_reconnect(vm);
		if (state == VIR_DOMAIN_SHUTOFF && hv_tune_vcpus(vm) < 0)
			VIR_WARN("cannot apply the limits of %s: %s", vm->def->name,
				 virGetLastErrorMessage());
		hv_events_state(vm, status, true);
		if (hv_domain_save_status(vm) < 0)
			VIR_WARN("cannot save the status of %s", vm->def->name);
	} else if (ret == -2) {
		process_finish(vm, state == VIR_DOMAIN_SHUTOFF ? VIR_DOMAIN_SHUTOFF_FAILED :
			       VIR_DOMAIN_SHUTOFF_UNKNOWN, false);
	} else {
		VIR_WARN("cannot reach the vmm of %s: %s", vm->def->name, virGetLastErrorMessage());
	}
	json_object_put(status);
	virDomainObjEndJob(vm);
	virDomainObjEndAPI(&vm);
}

int hv_process_reconnect(virDomainObj *vm, void *opaque)
{
	struct hv_driver *driver = opaque;
	virThread thread;

	virObjectLock(vm);
	if (!virDomainObjIsActive(vm)) {
		virObjectUnlock(vm);
		return 0;
	}
	if (vm->def->id > driver->next_id)
		driver->next_id = vm->def->id;
	hv_conf_active_inc(driver);
	/* No client is served yet, so the job is free; the thread ends it. */
	if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0) {
		virObjectUnlock(vm);
		return -1;
	}
	virObjectRef(vm);
	if (virThreadCreateFull(&thread, false, reconnect_main, "hv-reconnect", false, vm) < 0) {
		virReportSystemError(errno, "%s", _("cannot start a thread"));
		virDomainObjEndJob(vm);
		virDomainObjEndAPI(&vm);
		return -1;
	}
	virObjectUnlock(vm);
	return 0;
}
