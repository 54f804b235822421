// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_elements.c - which elements of libvirt's domain XML the driver takes
 * (hv_elements.h; Documentation/libvirt.rst has the same list in words).
 *
 * libvirt parses far more than any hypervisor does and drops what it does not
 * know.  Here everything that is not listed is refused, so that nobody gets less
 * than he wrote.  What a listed element says is checked here as far as a list of
 * words can do it, the rest in hv_domain.c.
 */
#include <config.h>

#include "hv_elements.h"

#include <libxml/parser.h>

#include "hv_conf.h"
#include "virbuffer.h"
#include "virerror.h"

#define VIR_FROM_THIS HV_FROM

#define PATH_LEN	256

/* What an element may contain besides elements. */
#define TEXT	"*"

struct element {
	const char *path;		/* below <domain> */
	const char *attributes;		/* "name name=word|word": all that may be there */
	const char *text;		/* "word|word", or TEXT: anything; NULL: none */
	const char *hint;		/* what to write instead */
	const char *of;			/* "word|word": types of the parent it is for; NULL: all */
	bool many;			/* may be there more than once */
};

static const struct element elements[] = {
	{ "", "type=kvm|hv id" },
	{ "name", NULL, TEXT },
	{ "uuid", NULL, TEXT },
	{ "title", NULL, TEXT },
	{ "description", NULL, TEXT },
	{ "metadata" },		/* its elements are nobody's business but libvirt's */
	{ "memory", "unit", TEXT },
	{ "currentMemory", "unit", TEXT },
	{ "memoryBacking" },
	{ "memoryBacking/source", "type=memfd|anonymous" },
	{ "vcpu", "placement=static cpuset current", TEXT },
	{ "cputune" },
	{ "cputune/shares", NULL, TEXT },
	{ "cputune/period", NULL, TEXT },
	{ "cputune/quota", NULL, TEXT },
	{ "cputune/global_period", NULL, TEXT },
	{ "cputune/global_quota", NULL, TEXT },
	{ "cputune/emulator_period", NULL, TEXT },
	{ "cputune/emulator_quota", NULL, TEXT },
	{ "cputune/vcpupin", "vcpu cpuset", .many = true },
	{ "cputune/emulatorpin", "cpuset" },
	{ "memtune" },
	{ "memtune/hard_limit", "unit", TEXT },
	{ "memtune/soft_limit", "unit", TEXT },
	{ "memtune/swap_hard_limit", "unit", TEXT },
	{ "resource" },
	{ "resource/partition", NULL, TEXT },
	{ "os" },
	{ "os/type", "arch=x86_64 machine=" HV_MACHINE, "hvm" },
	{ "os/kernel", NULL, TEXT },
	{ "os/initrd", NULL, TEXT },
	{ "os/cmdline", NULL, TEXT },
	{ "os/boot", "dev=hd", NULL, "hv boots the kernel that <kernel> names" },
	{ "features" },
	{ "features/acpi" },
	{ "features/apic" },
	{ "cpu", "mode=host-passthrough|maximum check=none migratable=off", NULL,
	  "a guest has the host's CPU: virt-install --cpu host-passthrough,migratable=off" },
	{ "cpu/topology", "sockets=1 dies=1 clusters=1 cores threads=1" },
	{ "clock", "offset=utc" },
	{ "clock/timer", "name=kvmclock|hpet|pit|rtc present", .many = true },
	{ "on_poweroff", NULL, "destroy|restart" },
	{ "on_reboot", NULL, "destroy|restart" },
	{ "on_crash", NULL, "destroy|restart" },
	{ "pm" },
	{ "pm/suspend-to-mem", "enabled=no" },
	{ "pm/suspend-to-disk", "enabled=no" },
	{ "devices" },
	{ "devices/emulator", NULL, TEXT },

	{ "devices/disk", "type=file|block device=disk", NULL,
	  "a file or block device: virt-install --disk path=FILE,bus=virtio,format=raw",
	  .many = true },
	{ "devices/disk/driver", "name=hv type=raw cache=default|none|writeback discard=unmap",
	  NULL, "raw images and devices: virt-install --disk ...,format=raw,driver.name=hv" },
	{ "devices/disk/source", "file index", .of = "file" },
	{ "devices/disk/source", "dev index", .of = "block" },
	{ "devices/disk/target", "dev bus=virtio", NULL, "virt-install --disk ...,bus=virtio" },
	{ "devices/disk/readonly" },
	{ "devices/disk/alias", "name" },

	{ "devices/interface", "type=bridge|ethernet|network|user", .many = true },
	{ "devices/interface/mac", "address" },
	{ "devices/interface/source", "bridge", NULL,
	  "of a running guest on a network the XML is: virsh dumpxml --inactive", "bridge" },
	{ "devices/interface/source", "network portid bridge", .of = "network" },
	{ "devices/interface/target", "dev managed", .of = "bridge|ethernet|network" },
	{ "devices/interface/model", "type=virtio", NULL,
	  "virt-install --network ...,model=virtio" },
	{ "devices/interface/alias", "name" },

	{ "devices/serial", "type=pty|unix" },
	{ "devices/serial/source", "mode=bind path", .of = "unix" },
	{ "devices/serial/target", "type=isa-serial port=0" },
	{ "devices/serial/target/model", "name=isa-serial" },
	{ "devices/serial/alias", "name" },
	{ "devices/console", "type=pty|unix", .many = true },
	{ "devices/console/source", "mode=bind path", .of = "unix" },
	{ "devices/console/target", "type=serial|virtio port" },
	{ "devices/console/alias", "name" },

	{ "devices/rng", "model=virtio" },
	{ "devices/rng/backend", "model=random", "/dev/urandom" },
	{ "devices/rng/alias", "name" },
	{ "devices/panic", "model=isa" },
	{ "devices/panic/alias", "name" },
	{ "devices/memballoon", "model=none", NULL, "virt-install --memballoon none" },
	{ "devices/video" },
	{ "devices/video/model", "type=none", NULL, "virt-install --graphics none" },
	{ "devices/controller", "type=pci|usb|virtio-serial index=0 model=pcie-root|none", NULL,
	  "disks are on virtio, and there is no USB: virt-install --controller usb,model=none",
	  .many = true },
	{ "devices/controller/alias", "name" },
};

/* For elements that are not in the list: why, or what to do. */
static const struct {
	const char *path, *hint;
} refusals[] = {
	{ "os/loader", "hv has no firmware yet: give <kernel>" },
	{ "os/nvram", "hv has no firmware yet: give <kernel>" },
	{ "maxMemory", "memory cannot be added to a running guest" },
	{ "vcpus", "vCPUs cannot be added to a running guest" },
	{ "devices/graphics", "hv has no screen yet: virt-install --graphics none" },
	{ "devices/input", "hv has no screen yet: virt-install --graphics none" },
	{ "devices/sound", "hv has no sound: virt-install --sound none" },
	{ "devices/hostdev", "host devices cannot be given to a guest yet" },
	{ "devices/channel", "there is no guest agent: virt-install --channel none" },
	{ "devices/tpm", "virt-install --tpm none" },
	{ "devices/watchdog", "virt-install --watchdog none" },
	{ "devices/disk/shareable", "two guests never share a writable disk" },
	{ "devices/disk/serial", "a disk has no serial number yet" },
	{ "devices/serial/source", "a path is for type='unix'" },
	{ "devices/vsock", "there is no vsock yet" },
	{ "iothreads", "the vmm chooses its threads itself" },
	{ "numatune", "<cputune> binds CPUs; memory follows the host's policy" },
	{ "devices/disk/address", "the vmm chooses PCI addresses, always the same ones" },
	{ "devices/interface/backend", "an interface of type 'user' always uses passt" },
	{ "devices/interface/portForward",
	  "no ports are forwarded yet; a bridge makes a guest seen" },
	{ "devices/interface/address", "the vmm chooses PCI addresses, always the same ones" },
};

/* Is @word one of "a|b|c"? */
static bool words_have(const char *words, size_t len, const char *word)
{
	const size_t n = strlen(word);
	const char *end = words + len;
	size_t m;

	for (; words < end; words += m + 1) {
		for (m = 0; words + m < end && words[m] != '|'; m++)
			;
		if (m == n && !memcmp(words, word, n))
			return true;
	}
	return false;
}

static int refuse(const char *path, const char *what, const char *allowed, size_t allowed_len,
		  const char *hint)
{
	g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

	virBufferAsprintf(&buf, "<%s>", *path ? path : "domain");
	virBufferAsprintf(&buf, "%s%s is not supported by hv", *what ? " " : "", what);
	if (allowed)
		virBufferAsprintf(&buf, ", only '%.*s'", (int)allowed_len, allowed);
	if (hint)
		virBufferAsprintf(&buf, "; %s", hint);
	virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s", virBufferCurrentContent(&buf));
	return -1;
}

static int attribute_check(const struct element *e, const char *name, const char *value)
{
	const char *p = e->attributes ? e->attributes : "";
	g_autofree char *what = g_strdup_printf("attribute %s='%s'", name, value);
	const size_t n = strlen(name);
	size_t len;

	for (; *p; p += len + (p[len] == ' ')) {
		len = strcspn(p, " ");
		if (len < n || memcmp(p, name, n) || (len > n && p[n] != '='))
			continue;
		if (len == n || words_have(p + n + 1, len - n - 1, value))
			return 0;
		return refuse(e->path, what, p + n + 1, len - n - 1, e->hint);
	}
	return refuse(e->path, what, NULL, 0, e->hint);
}

/* The line of @path that holds below a @parent; NULL with the reason why there is none. */
static const struct element *element_find(const char *path, xmlNodePtr parent, const char **why)
{
	g_autofree xmlChar *type = parent ? xmlGetNoNsProp(parent, BAD_CAST "type") : NULL;
	const char *t = (const char *)type;
	size_t i;

	*why = NULL;
	/* The types that libvirt takes where none is written. */
	if (!t && parent && xmlStrEqual(parent->name, BAD_CAST "disk"))
		t = "file";
	else if (!t)
		t = "pty";
	for (i = 0; i < G_N_ELEMENTS(elements); i++) {
		if (STRNEQ(elements[i].path, path))
			continue;
		if (!elements[i].of || words_have(elements[i].of, strlen(elements[i].of), t))
			return &elements[i];
		*why = "with this type";
	}
	return NULL;
}

static bool blank(xmlNodePtr node)
{
	return xmlIsBlankNode(node) || node->type == XML_COMMENT_NODE || node->type == XML_PI_NODE;
}

static int text_check(const struct element *e, xmlNodePtr node)
{
	g_autofree xmlChar *content = NULL;
	g_autofree char *text = NULL, *what = NULL;
	xmlNodePtr child;

	if (STREQ_NULLABLE(e->text, TEXT))
		return 0;
	if (!e->text) {
		for (child = node->children; child; child = child->next)
			if (child->type != XML_ELEMENT_NODE && !blank(child))
				return refuse(e->path, "with text in it", NULL, 0, e->hint);
		return 0;
	}
	content = xmlNodeGetContent(node);
	text = g_strstrip(g_strdup((const char *)content));
	if (words_have(e->text, strlen(e->text), text))
		return 0;
	what = g_strdup_printf("'%s'", text);
	return refuse(e->path, what, e->text, strlen(e->text), e->hint);
}

/* libvirt takes the first one of what it expects once. */
static bool seen_before(xmlNodePtr node)
{
	xmlNodePtr n;

	for (n = node->prev; n; n = n->prev)
		if (n->type == XML_ELEMENT_NODE && xmlStrEqual(n->name, node->name))
			return true;
	return false;
}

static const char *refusal_hint(const char *path)
{
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(refusals); i++)
		if (STREQ(refusals[i].path, path))
			return refusals[i].hint;
	return NULL;
}

static int namespace_refuse(const char *path, const xmlNs *ns)
{
	g_autofree char *what = g_strdup_printf("of namespace %s", (const char *)ns->href);

	return refuse(path, what, NULL, 0, "put it into <metadata>");
}

/* libvirt keeps one element of each namespace. */
static int metadata_check(xmlNodePtr metadata)
{
	xmlNodePtr child, n;

	for (child = metadata->children; child; child = child->next) {
		if (child->type != XML_ELEMENT_NODE)
			continue;
		if (!child->ns || !child->ns->href || !*child->ns->href)
			return refuse("metadata", "with an element of no namespace", NULL, 0,
				      "<x:NAME xmlns:x='URI'>");
		for (n = child->prev; n; n = n->prev)
			if (n->type == XML_ELEMENT_NODE &&
			    xmlStrEqual(n->ns->href, child->ns->href))
				return refuse("metadata", "with two elements of one namespace",
					      NULL, 0, NULL);
	}
	return 0;
}

static int element_check(xmlNodePtr node, const char *path)
{
	const char *why;
	const struct element *e = element_find(path, *path ? node->parent : NULL, &why);
	char below[PATH_LEN];
	xmlNodePtr child;
	xmlAttrPtr attr;

	if (node->ns)
		return namespace_refuse(path, node->ns);
	if (!e)
		return refuse(path, why ? why : "", NULL, 0, refusal_hint(path));
	if (!e->many && *path && seen_before(node))
		return refuse(path, "more than once", NULL, 0, NULL);
	for (attr = node->properties; attr; attr = attr->next) {
		g_autofree xmlChar *value = xmlNodeListGetString(node->doc, attr->children, 1);

		if (attr->ns)
			return namespace_refuse(path, attr->ns);
		if (attribute_check(e, (const char *)attr->name, value ? (char *)value : "") < 0)
			return -1;
	}
	if (text_check(e, node) < 0)
		return -1;
	if (STREQ(path, "metadata"))
		return metadata_check(node);
	for (child = node->children; child; child = child->next) {
		if (child->type != XML_ELEMENT_NODE)
			continue;
		if ((size_t)g_snprintf(below, sizeof(below), "%s%s%s", path, *path ? "/" : "",
				       (const char *)child->name) >= sizeof(below))
			return refuse(path, "with what is in it", NULL, 0, NULL);
		if (element_check(child, below) < 0)
			return -1;
	}
	return 0;
}

/* ---- what one element says of another, where libvirt would take the other's word ---- */

/* The next element of that name: below @parent if @after is NULL. */
static xmlNodePtr element_next(xmlNodePtr parent, xmlNodePtr after, const char *name)
{
	xmlNodePtr n;

	for (n = after ? after->next : parent ? parent->children : NULL; n; n = n->next)
		if (n->type == XML_ELEMENT_NODE && xmlStrEqual(n->name, BAD_CAST name))
			return n;
	return NULL;
}

static char *attribute_get(xmlNodePtr node, const char *name, const char *none)
{
	g_autofree xmlChar *value = node ? xmlGetNoNsProp(node, BAD_CAST name) : NULL;

	return g_strdup(value ? (const char *)value : none);
}

static int attribute_refuse(const char *path, const char *name, const char *value, const char *hint)
{
	g_autofree char *what = g_strdup_printf("attribute %s='%s'", name, value);

	return refuse(path, what, NULL, 0, hint);
}

/* A console of the serial line is that line, whatever it says itself. */
static int console_check(xmlNodePtr console, xmlNodePtr serial)
{
	g_autofree char *serial_type = attribute_get(serial, "type", "pty");
	g_autofree char *type = attribute_get(console, "type", serial_type);
	xmlNodePtr source = element_next(console, NULL, "source");
	g_autofree char *path = attribute_get(source, "path", NULL);
	g_autofree char *serial_path = attribute_get(element_next(serial, NULL, "source"), "path",
						     NULL);

	if (STRNEQ(type, serial_type))
		return attribute_refuse("devices/console", "type", type,
					"<serial> has another one");
	if (path && STRNEQ_NULLABLE(path, serial_path))
		return attribute_refuse("devices/console/source", "path", path,
					"<serial> has another one");
	return 0;
}

static int consoles_check(xmlNodePtr devices)
{
	xmlNodePtr serial = element_next(devices, NULL, "serial"), console = NULL, target;
	size_t i;

	for (i = 0; (console = element_next(devices, console, "console")); i++) {
		g_autofree char *number = g_strdup_printf("%zu", i);
		g_autofree char *port = NULL, *type = NULL;

		target = element_next(console, NULL, "target");
		port = attribute_get(target, "port", number);
		type = attribute_get(target, "type", "serial");
		if (STRNEQ(port, number))
			return attribute_refuse("devices/console/target", "port", port,
						"consoles are numbered as they come, from 0");
		if (i && STREQ(type, "serial"))
			return attribute_refuse("devices/console/target", "type", type,
						"the console of the serial line comes first");
		if (serial && STREQ(type, "serial") && console_check(console, serial) < 0)
			return -1;
	}
	return 0;
}

static int vcpus_check(xmlNodePtr root)
{
	xmlNodePtr vcpu = element_next(root, NULL, "vcpu"), pin = NULL;
	xmlNodePtr cputune = element_next(root, NULL, "cputune");
	g_autofree xmlChar *text = vcpu ? xmlNodeGetContent(vcpu) : NULL;
	const guint64 vcpus = text ? g_ascii_strtoull((const char *)text, NULL, 10) : 1;

	if (!vcpus)
		return refuse("vcpu", "with 0 in it", NULL, 0, "a guest has at least one");
	while ((pin = element_next(cputune, pin, "vcpupin"))) {
		g_autofree char *number = attribute_get(pin, "vcpu", "0");

		if (g_ascii_strtoull(number, NULL, 10) >= vcpus)
			return attribute_refuse("cputune/vcpupin", "vcpu", number,
						"the guest has no such vCPU");
	}
	return 0;
}

static int domain_check(xmlNodePtr root)
{
	if (element_check(root, "") < 0 || vcpus_check(root) < 0)
		return -1;
	return consoles_check(element_next(root, NULL, "devices"));
}

int hv_elements_check(const char *xml, char **plain)
{
	g_autofree xmlChar *type = NULL;
	xmlChar *text = NULL;
	xmlNodePtr root;
	xmlDocPtr doc;
	int len, ret = 0;

	*plain = NULL;
	doc = xmlReadMemory(xml, (int)strlen(xml), "domain.xml", NULL,
			    XML_PARSE_NONET | XML_PARSE_NOWARNING | XML_PARSE_NOERROR);
	if (!doc)
		return 1;
	root = xmlDocGetRootElement(doc);
	/* What an entity stands for, libvirt does not read. */
	if (doc->intSubset)
		ret = refuse("", "with a document type declaration", NULL, 0, NULL);
	else if (root && xmlStrEqual(root->name, BAD_CAST "domain")) {
		ret = domain_check(root);
		type = xmlGetProp(root, BAD_CAST "type");
		if (ret == 0 && xmlStrEqual(type, BAD_CAST "hv")) {
			xmlSetProp(root, BAD_CAST "type", BAD_CAST "kvm");
			xmlDocDumpMemory(doc, &text, &len);
			*plain = g_strdup((const char *)text);
			xmlFree(text);
		}
	}
	xmlFreeDoc(doc);
	return ret;
}
