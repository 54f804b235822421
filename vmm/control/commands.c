// SPDX-License-Identifier: GPL-2.0-only
/*
 * commands.c - the commands of the control socket (Documentation/control.rst,
 * "Commands").
 *
 * Each runs on the main loop and must not wait for the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <json-c/json.h>

#include "hv/hv.h"
#include "vmm/boot/boot.h"
#include "vmm/console.h"
#include "vmm/control/control.h"
#include "vmm/device.h"
#include "vmm/platform.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

struct request {
	struct vm *vm;
	struct json_object *args;	/* may be NULL */
	int *fd;
	const char **code;
	char *error;
	size_t error_len;
};

struct command {
	const char *name;
	const char *help;
	struct json_object *(*run)(struct request *req);
};

static struct json_object *refuse(struct request *req, const char *code, const char *text)
{
	*req->code = code;
	snprintf(req->error, req->error_len, "%s", text);
	return NULL;
}

static void add_text(struct json_object *obj, const char *key, const char *text)
{
	json_object_object_add(obj, key, json_object_new_string(text));
}

static void add_uint(struct json_object *obj, const char *key, uint64_t n)
{
	json_object_object_add(obj, key, json_object_new_uint64(n));
}

struct json_object *control_status(struct vm *vm)
{
	struct json_object *obj = json_object_new_object();
	char text[32];
	uint64_t ns;

	add_text(obj, "name", vm->name);
	add_uint(obj, "pid", (uint64_t)getpid());
	pthread_mutex_lock(&vm->lock);
	add_text(obj, "state", vm_state_name(vm->state));
	add_text(obj, "reason", vm->reason);
	pthread_mutex_unlock(&vm->lock);
	add_uint(obj, "cpus", vm->nr_vcpus);
	add_uint(obj, "memory", vm->memory.size);
	ns = vm_clock_ns(vm);
	snprintf(text, sizeof(text), "%llu.%03llu", (unsigned long long)(ns / 1000000000),
		 (unsigned long long)(ns / 1000000 % 1000));
	json_object_object_add(obj, "uptime", json_object_new_double_s((double)ns / 1e9, text));
	return obj;
}

static struct json_object *cmd_status(struct request *req)
{
	return control_status(req->vm);
}

static struct json_object *threads_info(struct vm *vm)
{
	struct json_object *list = json_object_new_array(), *t;
	struct iothread *io;
	unsigned int i;
	char name[16];

	t = json_object_new_object();
	add_text(t, "name", "main");
	add_uint(t, "tid", (uint64_t)getpid());
	json_object_array_add(list, t);
	for (i = 0; i < vm->nr_vcpus; i++) {
		t = json_object_new_object();
		snprintf(name, sizeof(name), "vcpu%u", i);
		add_text(t, "name", name);
		add_uint(t, "vcpu", i);
		add_uint(t, "tid", (uint64_t)vm->vcpus[i].tid);
		json_object_array_add(list, t);
	}
	for (io = vm->iothreads; io; io = io->next) {
		t = json_object_new_object();
		add_text(t, "name", io->name);
		add_uint(t, "tid", (uint64_t)io->tid);
		json_object_array_add(list, t);
	}
	return list;
}

static struct json_object *devices_info(struct vm *vm)
{
	struct json_object *list = json_object_new_array(), *obj;
	struct device *dev;

	for (dev = vm->devices; dev; dev = dev->next) {
		obj = json_object_new_object();
		add_text(obj, "id", dev->id);
		add_text(obj, "type", dev->type->name);
		if (dev->type->info) {
			device_lock(dev);
			dev->type->info(dev, obj);
			device_unlock(dev);
		}
		json_object_array_add(list, obj);
	}
	return list;
}

static struct json_object *cmd_info(struct request *req)
{
	struct json_object *obj = control_status(req->vm), *boot = json_object_new_object();
	const struct boot *b = req->vm->boot;

	add_text(obj, "version", HV_VERSION);
	if (b) {
		add_text(boot, "kernel", b->kernel.path);
		add_text(boot, "loader", b->loader->name);
		add_text(boot, "cmdline", b->cmdline ? b->cmdline : "");
		if (b->nr_modules)
			add_text(boot, "initrd", b->module[0].image.path);
	}
	json_object_object_add(obj, "boot", boot);
	json_object_object_add(obj, "threads", threads_info(req->vm));
	json_object_object_add(obj, "devices", devices_info(req->vm));
	return obj;
}

static struct json_object *cmd_config(struct request *req)
{
	struct json_object *tree = config_tree(req->vm->config);

	return tree ? tree : refuse(req, "failed", "out of memory");
}

static struct json_object *stats_of(struct vm *vm, uint32_t vcpu)
{
	struct hv_stats stats;
	struct json_object *obj;
	const char *name;
	uint32_t i;

	if (hv_get_stats(vm->hv, vcpu, &stats))
		return NULL;
	obj = json_object_new_object();
	for (i = 0; i < HV_STAT_COUNT; i++) {
		name = hv_stat_name(i);
		if (name && stats.valid & (1ULL << i))
			add_uint(obj, name, stats.counter[i]);
	}
	return obj;
}

static struct json_object *cmd_stats(struct request *req)
{
	struct json_object *obj = json_object_new_object(), *list = json_object_new_array(), *v;
	struct vm *vm = req->vm;
	unsigned int i;

	v = stats_of(vm, HV_STATS_VM);
	if (v)
		json_object_object_add(obj, "vm", v);
	for (i = 0; i < vm->nr_vcpus; i++) {
		v = stats_of(vm, i);
		if (!v)
			continue;
		add_uint(v, "vcpu", i);
		add_uint(v, "tid", (uint64_t)vm->vcpus[i].tid);
		json_object_array_add(list, v);
	}
	json_object_object_add(obj, "vcpus", list);
	json_object_object_add(obj, "devices", devices_info(vm));
	return obj;
}

static struct json_object *cmd_stop(struct request *req)
{
	struct json_object *v = json_object_object_get(req->args, "force");

	if (v && json_object_get_boolean(v)) {
		vm_request_stop(req->vm, VM_CAUSE_STOPPED, 0, "vmm stop --force");
		return json_object_new_object();
	}
	if (req->vm->pause_count)
		return refuse(req, "paused", "a paused guest cannot hear its power button: resume "
			      "it, or use vmm stop --force");
	v = json_object_object_get(req->args, "restart");
	vm_set_restart(req->vm, v && json_object_get_boolean(v));
	platform_power_button(req->vm);
	return json_object_new_object();
}

static struct json_object *cmd_reset(struct request *req)
{
	if (vm_reset(req->vm, "user"))
		return refuse(req, "failed", "the guest's images cannot be loaded again");
	return json_object_new_object();
}

/* A user's pauses do not nest: a second one is refused, so that nobody is surprised. */
static struct json_object *cmd_pause(struct request *req)
{
	if (req->vm->pause_count)
		return refuse(req, "paused", "it cannot be paused twice");
	vm_pause(req->vm, "user");
	return control_status(req->vm);
}

static struct json_object *cmd_resume(struct request *req)
{
	if (!req->vm->pause_count)
		return refuse(req, "running", "the guest is not paused");
	vm_resume(req->vm);
	return control_status(req->vm);
}

static struct json_object *cmd_rebuild(struct request *req)
{
	int ret = vm_rebuild(req->vm);

	return ret ? refuse(req, "failed", strerror(-ret)) : json_object_new_object();
}

static struct json_object *cmd_console(struct request *req)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return refuse(req, "failed", strerror(errno));
	fcntl(pair[0], F_SETFL, O_NONBLOCK);	/* ours alone */
	if (console_add(req->vm, pair[0])) {
		close(pair[1]);
		return refuse(req, "busy", "too many users of the console");
	}
	*req->fd = pair[1];
	return json_object_new_object();
}

/* Long work is a job (control.rst, "Jobs"); no command of this version makes one. */
static struct json_object *cmd_jobs(struct request *req)
{
	(void)req;
	return json_object_new_array();
}

static struct json_object *cmd_help(struct request *req);

static const struct command commands[] = {
	{ "status", "name, state and reason, size, uptime", cmd_status },
	{ "info", "status, boot images, threads, devices", cmd_info },
	{ "config", "the configuration tree the guest runs from", cmd_config },
	{ "stats", "counters of the VM, its vCPUs and devices", cmd_stats },
	{ "stop", "press the power button; force: end at once; restart: and reset", cmd_stop },
	{ "reset", "reset the guest", cmd_reset },
	{ "pause", "stop the guest where it is", cmd_pause },
	{ "resume", "let a paused guest go on", cmd_resume },
	{ "rebuild", "move the guest into a new VM of the module", cmd_rebuild },
	{ "console", "a descriptor of the guest's console", cmd_console },
	{ "jobs", "long work under way", cmd_jobs },
	{ "events", "enabled: whether this connection gets events", NULL },
	{ "help", "this list", cmd_help },
};

static struct json_object *cmd_help(struct request *req)
{
	struct json_object *obj = json_object_new_object();
	size_t i;

	(void)req;
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		add_text(obj, commands[i].name, commands[i].help);
	return obj;
}

struct json_object *control_command(struct vm *vm, const char *command, struct json_object *args,
				    int *fd, const char **code, char *error, size_t len)
{
	struct request req = {
		.vm = vm, .args = args, .fd = fd, .code = code, .error = error, .error_len = len,
	};
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (commands[i].run && !strcmp(commands[i].name, command))
			return commands[i].run(&req);
	return refuse(&req, "unknown-command", "no such command; 'help' lists them");
}
