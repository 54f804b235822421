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

struct element {
	const char *path;		/* below <domain> */
	const char *attributes;		/* "name name=word|word": all that may be there */
	const char *text;		/* "word|word", all it may contain; NULL: anything */
	const char *hint;		/* what to write instead */
};

static const struct element elements[] = {
	{ "", "type=kvm|hv id" },
	{ "name" },
	{ "uuid" },
	{ "title" },
	{ "description" },
	{ "metadata" }, /* what is in it is nobody's business */
	{ "memory", "unit" },
	{ "currentMemory", "unit" },
	{ "memoryBacking" },
	{ "memoryBacking/source", "type=memfd|anonymous" },
	{ "vcpu", "placement=static cpuset current" },
	{ "cputune" },
	{ "cputune/shares" },
	{ "cputune/period" },
	{ "cputune/quota" },
	{ "cputune/global_period" },
	{ "cputune/global_quota" },
	{ "cputune/emulator_period" },
	{ "cputune/emulator_quota" },
	{ "cputune/vcpupin", "vcpu cpuset" },
	{ "cputune/emulatorpin", "cpuset" },
	{ "memtune" },
	{ "memtune/hard_limit", "unit" },
	{ "memtune/soft_limit", "unit" },
	{ "memtune/swap_hard_limit", "unit" },
	{ "resource" },
	{ "resource/partition" },
	{ "os" },
	{ "os/type", "arch=x86_64 machine=" HV_MACHINE, "hvm" },
	{ "os/kernel" },
	{ "os/initrd" },
	{ "os/cmdline" },
	{ "os/boot", "dev=hd", NULL, "hv boots the kernel that <kernel> names" },
	{ "features" },
	{ "features/acpi" },
	{ "features/apic" },
	{ "cpu", "mode=host-passthrough|maximum check=none migratable=off", NULL,
	  "a guest has the host's CPU: virt-install --cpu host-passthrough,migratable=off" },
	{ "cpu/topology", "sockets=1 dies=1 cores threads=1" },
	{ "clock", "offset=utc" },
	{ "clock/timer", "name=kvmclock|hpet|pit|rtc present" },
	{ "on_poweroff", NULL, "destroy|restart" },
	{ "on_reboot", NULL, "destroy|restart" },
	{ "on_crash", NULL, "destroy|restart" },
	{ "pm" },
	{ "pm/suspend-to-mem", "enabled=no" },
	{ "pm/suspend-to-disk", "enabled=no" },
	{ "devices" },
	{ "devices/emulator" },

	{ "devices/disk", "type=file|block device=disk", NULL,
	  "a file or block device: virt-install --disk path=FILE,bus=virtio,format=raw" },
	{ "devices/disk/driver", "name=hv type=raw cache=default|none|writeback discard=unmap",
	  NULL, "virt-install --disk ...,format=raw,driver.name=hv" },
	{ "devices/disk/source", "file dev index" },
	{ "devices/disk/target", "dev bus=virtio", NULL, "virt-install --disk ...,bus=virtio" },
	{ "devices/disk/readonly" },
	{ "devices/disk/alias", "name" },

	{ "devices/interface", "type=bridge|ethernet|network|user" },
	{ "devices/interface/mac", "address" },
	{ "devices/interface/source", "bridge network portid" },
	{ "devices/interface/target", "dev managed" },
	{ "devices/interface/model", "type=virtio", NULL,
	  "virt-install --network ...,model=virtio" },
	{ "devices/interface/alias", "name" },

	{ "devices/serial", "type=pty|unix" },
	{ "devices/serial/source", "mode=bind path" },
	{ "devices/serial/target", "type=isa-serial port=0" },
	{ "devices/serial/target/model", "name=isa-serial" },
	{ "devices/serial/alias", "name" },
	{ "devices/console", "type=pty|unix" },
	{ "devices/console/source", "mode=bind path" },
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
	  "virt-install --controller usb,model=none" },
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
	virBufferAsprintf(&buf, " %s is not supported by hv", what);
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

static int element_check(xmlNodePtr node, const char *path)
{
	const struct element *e = NULL;
	const char *hint = NULL;
	char below[PATH_LEN];
	xmlNodePtr child;
	xmlAttrPtr attr;
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(elements) && !e; i++)
		if (STREQ(elements[i].path, path))
			e = &elements[i];
	for (i = 0; i < G_N_ELEMENTS(refusals); i++)
		if (STREQ(refusals[i].path, path))
			hint = refusals[i].hint;
	if (!e)
		return refuse(path, "", NULL, 0, hint);
	for (attr = node->properties; attr; attr = attr->next) {
		g_autofree xmlChar *value = xmlNodeListGetString(node->doc, attr->children, 1);

		if (attribute_check(e, (const char *)attr->name, value ? (char *)value : "") < 0)
			return -1;
	}
	if (e->text) {
		g_autofree xmlChar *content = xmlNodeGetContent(node);
		g_autofree char *text = g_strstrip(g_strdup((const char *)content));
		g_autofree char *what = g_strdup_printf("'%s'", text);

		if (!words_have(e->text, strlen(e->text), text))
			return refuse(path, what, e->text, strlen(e->text), e->hint);
	}
	if (STREQ(path, "metadata"))
		return 0;
	for (child = node->children; child; child = child->next) {
		if (child->type != XML_ELEMENT_NODE)
			continue;
		if ((size_t)g_snprintf(below, sizeof(below), "%s%s%s", path, *path ? "/" : "",
				       (const char *)child->name) >= sizeof(below))
			return refuse(path, "with what is in it", NULL, 0, NULL);
		if (child->ns) {
			g_autofree char *what = g_strdup_printf("of namespace %s",
								(const char *)child->ns->href);

			return refuse(below, what, NULL, 0, "put it into <metadata>");
		}
		if (element_check(child, below) < 0)
			return -1;
	}
	return 0;
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
		return 0;
	root = xmlDocGetRootElement(doc);
	if (root && xmlStrEqual(root->name, BAD_CAST "domain")) {
		ret = element_check(root, "");
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
