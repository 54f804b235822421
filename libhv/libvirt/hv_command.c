// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_command.c - a domain as the vmm's configuration, and back (hv_command.h).
 *
 * Pure translation: hv_domain.c has refused what cannot be said here.
 */
#include <config.h>

#include "hv_command.h"

#include <json-c/json.h>

#include "hv_conf.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virmacaddr.h"
#include "virutil.h"

#define VIR_FROM_THIS HV_FROM

static void add_text(struct json_object *obj, const char *key, const char *text)
{
	json_object_object_add(obj, key, json_object_new_string(text));
}

static void add_bool(struct json_object *obj, const char *key, bool value)
{
	json_object_object_add(obj, key, json_object_new_boolean(value));
}

static struct json_object *disks_config(const virDomainDef *def)
{
	struct json_object *list = json_object_new_array(), *disk;
	size_t i;

	for (i = 0; i < def->ndisks; i++) {
		disk = json_object_new_object();
		add_text(disk, "path", def->disks[i]->src->path);
		add_bool(disk, "readonly", def->disks[i]->src->readonly);
		add_bool(disk, "direct",
			 def->disks[i]->cachemode != VIR_DOMAIN_DISK_CACHE_WRITEBACK);
		json_object_array_add(list, disk);
	}
	return list;
}

static struct json_object *nets_config(const virDomainDef *def)
{
	struct json_object *list = json_object_new_array(), *obj;
	char mac[VIR_MAC_STRING_BUFLEN];
	size_t i;

	for (i = 0; i < def->nnets; i++) {
		const virDomainNetDef *net = def->nets[i];

		obj = json_object_new_object();
		if (net->type == VIR_DOMAIN_NET_TYPE_USER) {
			add_text(obj, "type", "user");
		} else {
			add_text(obj, "type", "tap");
			/* The driver makes it when the guest starts, then it has a name. */
			if (net->ifname)
				add_text(obj, "interface", net->ifname);
		}
		add_text(obj, "mac", virMacAddrFormat(&net->mac, mac));
		json_object_array_add(list, obj);
	}
	return list;
}

static void console_config(struct json_object *obj, const virDomainDef *def)
{
	const virDomainChrSourceDef *source = def->nserials ? def->serials[0]->source : NULL;
	size_t i;

	if (source && source->type == VIR_DOMAIN_CHR_TYPE_UNIX && source->data.nix.path) {
		g_autofree char *text = g_strdup_printf("socket=%s", source->data.nix.path);

		add_text(obj, "console", text);
	} else {
		/* virDomainOpenConsole() reaches it all the same. */
		add_text(obj, "console", "none");
	}
	for (i = 0; i < def->nconsoles; i++)
		if (def->consoles[i]->targetType == VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_VIRTIO)
			add_bool(obj, "virtio_console", true);
}

struct json_object *hv_command_config(const virDomainDef *def)
{
	g_autofree char *memory = g_strdup_printf("%lluK", virDomainDefGetMemoryTotal(def));
	struct json_object *obj = json_object_new_object();

	add_text(obj, "name", def->name);
	json_object_object_add(obj, "cpus", json_object_new_int(virDomainDefGetVcpus(def)));
	add_text(obj, "memory", memory);
	if (def->mem.source == VIR_DOMAIN_MEMORY_SOURCE_ANONYMOUS)
		add_text(obj, "memory_backend", "anonymous");
	add_text(obj, "kernel", def->os.kernel);
	if (def->os.initrd)
		add_text(obj, "initrd", def->os.initrd);
	add_text(obj, "cmdline", def->os.cmdline ? def->os.cmdline : "");
	add_bool(obj, "cmdline_exact", true);
	console_config(obj, def);
	if (def->ndisks)
		json_object_object_add(obj, "disk", disks_config(def));
	if (def->nnets)
		json_object_object_add(obj, "net", nets_config(def));
	add_bool(obj, "rng", def->nrngs > 0);
	add_text(obj, "reboot", def->onReboot == VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY ? "exit" :
		 "restart");
	return obj;
}

char *hv_command_text(const virDomainDef *def)
{
	struct json_object *obj = hv_command_config(def);
	char *text;

	text = g_strdup_printf("%s\n", json_object_to_json_string_ext(obj,
				JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
				JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(obj);
	return text;
}

/* ---- and back ---- */

static const char *text_of(struct json_object *obj, const char *key)
{
	struct json_object *v = json_object_object_get(obj, key);

	return v ? json_object_get_string(v) : NULL;
}

static bool true_of(struct json_object *obj, const char *key)
{
	return json_object_get_boolean(json_object_object_get(obj, key));
}

struct key {
	const char *name;
	enum json_type type;
};

/*
 * Keys that have no place in the XML are refused, like elements the other way.
 * @where: "" or "KEY.NUMBER.".
 */
static int keys_known(struct json_object *obj, const char *where, const struct key *keys,
		      size_t nr_keys)
{
	size_t i;

	if (!json_object_is_type(obj, json_type_object)) {
		virReportError(VIR_ERR_INVALID_ARG, _("'%.*s' is no JSON object"),
			       (int)strlen(where) - 1, where);
		return -1;
	}
	json_object_object_foreach(obj, key, value) {
		for (i = 0; i < nr_keys && STRNEQ(keys[i].name, key); i++)
			;
		if (i == nr_keys) {
			virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
				       _("key '%s%s' has no place in domain XML"), where, key);
			return -1;
		}
		if (!json_object_is_type(value, keys[i].type)) {
			virReportError(VIR_ERR_INVALID_ARG, _("key '%s%s' is no JSON %s"), where, key,
				       json_type_to_name(keys[i].type));
			return -1;
		}
	}
	return 0;
}

static int memory_xml(virBuffer *buf, const char *text)
{
	static const char *const units[] = { "b", "KiB", "MiB", "GiB", "TiB" };
	const size_t digits = strspn(text, "0123456789");
	const char *const letters = "KMGT";
	const char unit = g_ascii_toupper(text[digits]);

	if (!digits || (unit && (!strchr(letters, unit) || text[digits + 1]))) {
		virReportError(VIR_ERR_INVALID_ARG, _("memory '%s' is no size"), text);
		return -1;
	}
	virBufferAsprintf(buf, "<memory unit='%s'>%.*s</memory>\n",
			  units[unit ? strchr(letters, unit) - letters + 1 : 0], (int)digits, text);
	return 0;
}

static int disks_xml(virBuffer *buf, struct json_object *list)
{
	static const struct key keys[] = {
		{ "path", json_type_string }, { "readonly", json_type_boolean },
		{ "direct", json_type_boolean },
	};
	size_t i;

	for (i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *disk = json_object_array_get_idx(list, i);
		g_autofree char *dst = virIndexToDiskName(i, "vd");
		g_autofree char *where = g_strdup_printf("disk.%zu.", i);
		const char *path;
		bool block;

		if (keys_known(disk, where, keys, G_N_ELEMENTS(keys)) < 0)
			return -1;
		path = text_of(disk, "path");
		block = path && STRPREFIX(path, "/dev/");
		virBufferAsprintf(buf, "<disk type='%s'>\n", block ? "block" : "file");
		if (json_object_object_get(disk, "direct") && !true_of(disk, "direct"))
			virBufferAddLit(buf, "<driver type='raw' cache='writeback'/>\n");
		virBufferEscapeString(buf, block ? "<source dev='%s'/>\n" : "<source file='%s'/>\n",
				      path);
		virBufferAsprintf(buf, "<target dev='%s' bus='virtio'/>\n", dst);
		if (true_of(disk, "readonly"))
			virBufferAddLit(buf, "<readonly/>\n");
		virBufferAddLit(buf, "</disk>\n");
	}
	return 0;
}

static int nets_xml(virBuffer *buf, struct json_object *list)
{
	static const struct key keys[] = {
		{ "type", json_type_string }, { "interface", json_type_string },
		{ "mac", json_type_string },
	};
	size_t i;

	for (i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *net = json_object_array_get_idx(list, i);
		g_autofree char *where = g_strdup_printf("net.%zu.", i);
		const char *type;

		if (keys_known(net, where, keys, G_N_ELEMENTS(keys)) < 0)
			return -1;
		type = text_of(net, "type");
		if (STRNEQ_NULLABLE(type, "tap") && STRNEQ_NULLABLE(type, "user")) {
			virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
				       _("net.%zu.type '%s' has no place in domain XML"), i,
				       NULLSTR(type));
			return -1;
		}
		virBufferAsprintf(buf, "<interface type='%s'>\n",
				  STREQ(type, "tap") ? "ethernet" : "user");
		virBufferEscapeString(buf, "<mac address='%s'/>\n", text_of(net, "mac"));
		if (STREQ(type, "tap"))
			virBufferEscapeString(buf, "<target dev='%s' managed='no'/>\n",
					      text_of(net, "interface"));
		virBufferAddLit(buf, "<model type='virtio'/>\n");
		virBufferAddLit(buf, "</interface>\n");
	}
	return 0;
}

static int config_xml(virBuffer *buf, struct json_object *obj)
{
	static const struct key keys[] = {
		{ "name", json_type_string }, { "cpus", json_type_int },
		{ "memory", json_type_string }, { "memory_backend", json_type_string },
		{ "kernel", json_type_string }, { "initrd", json_type_string },
		{ "cmdline", json_type_string }, { "cmdline_exact", json_type_boolean },
		{ "console", json_type_string }, { "disk", json_type_array },
		{ "net", json_type_array }, { "rng", json_type_boolean },
		{ "virtio_console", json_type_boolean }, { "reboot", json_type_string },
	};
	const char *console, *memory, *path;

	if (keys_known(obj, "", keys, G_N_ELEMENTS(keys)) < 0)
		return -1;
	console = text_of(obj, "console");
	memory = text_of(obj, "memory");
	path = console && STRPREFIX(console, "socket=") ? console + 7 : NULL;
	virBufferAddLit(buf, "<domain type='kvm'>\n");
	virBufferEscapeString(buf, "<name>%s</name>\n", text_of(obj, "name"));
	if (memory_xml(buf, memory ? memory : "512M") < 0)
		return -1;
	if (text_of(obj, "memory_backend"))
		virBufferEscapeString(buf, "<memoryBacking><source type='%s'/></memoryBacking>\n",
				      text_of(obj, "memory_backend"));
	virBufferAsprintf(buf, "<vcpu>%d</vcpu>\n", json_object_object_get(obj, "cpus") ?
			  json_object_get_int(json_object_object_get(obj, "cpus")) : 1);
	virBufferAddLit(buf, "<os>\n<type arch='x86_64' machine='" HV_MACHINE "'>hvm</type>\n");
	virBufferEscapeString(buf, "<kernel>%s</kernel>\n", text_of(obj, "kernel"));
	virBufferEscapeString(buf, "<initrd>%s</initrd>\n", text_of(obj, "initrd"));
	virBufferEscapeString(buf, "<cmdline>%s</cmdline>\n", text_of(obj, "cmdline"));
	virBufferAddLit(buf, "</os>\n");
	if (STREQ_NULLABLE(text_of(obj, "reboot"), "exit"))
		virBufferAddLit(buf, "<on_reboot>destroy</on_reboot>\n");
	virBufferAddLit(buf, "<devices>\n");
	if (disks_xml(buf, json_object_object_get(obj, "disk")) < 0 ||
	    nets_xml(buf, json_object_object_get(obj, "net")) < 0)
		return -1;
	if (path)
		virBufferEscapeString(buf, "<serial type='unix'><source mode='bind' path='%s'/>"
				      "</serial>\n", path);
	else
		virBufferAddLit(buf, "<serial type='pty'/>\n");
	virBufferAddLit(buf, "<console><target type='serial'/></console>\n");
	if (true_of(obj, "virtio_console"))
		virBufferAddLit(buf,
				"<console type='pty'><target type='virtio' port='1'/></console>\n");
	if (!json_object_object_get(obj, "rng") || true_of(obj, "rng"))
		virBufferAddLit(buf, "<rng model='virtio'><backend model='random'>/dev/urandom"
				"</backend></rng>\n");
	virBufferAddLit(buf, "</devices>\n</domain>\n");
	return 0;
}

char *hv_command_xml(const char *config)
{
	g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
	struct json_object *obj = json_tokener_parse(config);
	int ret = -1;

	if (!json_object_is_type(obj, json_type_object))
		virReportError(VIR_ERR_INVALID_ARG, "%s",
			       _("this is no configuration of the vmm, a JSON object"));
	else
		ret = config_xml(&buf, obj);
	json_object_put(obj);
	return ret < 0 ? NULL : virBufferContentAndReset(&buf);
}
