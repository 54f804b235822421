// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_domain.c - a domain as the driver sees it: defaults, checks, private data
 * (hv_domain.h).
 *
 * hv_elements.c has let through what it may contain; here what it says is
 * checked.  Nothing here touches the host: a domain may be defined before its
 * files exist.
 */
#include <config.h>

#include "hv_domain.h"

#include <limits.h>
#include <net/if.h>
#include <sys/un.h>

#include "datatypes.h"
#include "domain_event.h"
#include "hv/control.h"
#include "hv_console.h"
#include "hv_elements.h"
#include "hv_monitor.h"
#include "virclosecallbacks.h"
#include "virerror.h"
#include "virlog.h"
#include "virutil.h"
#include "virxml.h"

#define VIR_FROM_THIS HV_FROM

VIR_LOG_INIT("hv.hv_domain");

#define unsupported(...)	virReportError(VIR_ERR_CONFIG_UNSUPPORTED, __VA_ARGS__)

/* ---- private data ---- */

static void *domain_private_new(void *opaque)
{
	struct hv_domain *domain = g_new0(struct hv_domain, 1);

	domain->driver = opaque;
	domain->console = hv_console_new();
	if (!domain->console) {
		g_free(domain);
		return NULL;
	}
	domain->end_reason = -1;
	return domain;
}

static void domain_private_free(void *opaque)
{
	struct hv_domain *domain = opaque;

	hv_console_free(domain->console);
	virCgroupFree(domain->cgroup);
	g_free(domain->machine_name);
	g_free(domain->vcpu_tid);
	g_free(domain);
}

static int domain_private_format(virBuffer *buf, virDomainObj *vm)
{
	virBufferAsprintf(buf, "<vmm starttime='%llu'/>\n", hv_domain(vm)->start_time);
	return 0;
}

static int domain_private_parse(xmlXPathContextPtr ctxt, virDomainObj *vm,
				virDomainDefParserConfig *config)
{
	g_autofree char *text = virXPathString("string(./vmm/@starttime)", ctxt);

	(void)config;
	hv_domain(vm)->start_time = text ? g_ascii_strtoull(text, NULL, 10) : 0;
	return 0;
}

static virDomainXMLPrivateDataCallbacks private_callbacks = {
	.alloc = domain_private_new,
	.free = domain_private_free,
	.format = domain_private_format,
	.parse = domain_private_parse,
};

/* ---- defaults ---- */

static int domain_basics(virDomainDef *def, void *opaque)
{
	struct hv_driver *driver = opaque;

	if (!def->emulator)
		def->emulator = g_strdup(driver->vmm);
	return 0;
}

/* Writes down what every guest has, so that dumpxml says it. */
static int domain_defaults(virDomainDef *def, unsigned int flags, void *opaque, void *parse_opaque)
{
	(void)flags;
	(void)opaque;
	(void)parse_opaque;
	if (!def->os.machine)
		def->os.machine = g_strdup(HV_MACHINE);
	def->features[VIR_DOMAIN_FEATURE_ACPI] = VIR_TRISTATE_SWITCH_ON;
	def->features[VIR_DOMAIN_FEATURE_APIC] = VIR_TRISTATE_SWITCH_ON;
	if (!def->cpu) {
		def->cpu = virCPUDefNew();
		def->cpu->type = VIR_CPU_TYPE_GUEST;
		def->cpu->mode = VIR_CPU_MODE_HOST_PASSTHROUGH;
	}
	def->cpu->check = VIR_CPU_CHECK_NONE;
	def->cpu->migratable = VIR_TRISTATE_SWITCH_OFF;
	if (!def->memballoon) {
		def->memballoon = g_new0(virDomainMemballoonDef, 1);
		def->memballoon->model = VIR_DOMAIN_MEMBALLOON_MODEL_NONE;
	}
	return 0;
}

static int device_defaults(virDomainDeviceDef *dev, const virDomainDef *def, unsigned int flags,
			   void *opaque, void *parse_opaque)
{
	(void)def;
	(void)flags;
	(void)opaque;
	(void)parse_opaque;
	switch (dev->type) {
	case VIR_DOMAIN_DEVICE_NET:
		if (dev->data.net->model == VIR_DOMAIN_NET_MODEL_UNKNOWN &&
		    !dev->data.net->modelstr)
			dev->data.net->model = VIR_DOMAIN_NET_MODEL_VIRTIO;
		break;
	case VIR_DOMAIN_DEVICE_DISK:
		/* addresses_assign() wants names, and comes before the checks. */
		if (!dev->data.disk->dst) {
			unsupported("%s", _("a <disk> without <target dev=...>; name it vda, vdb, "
					    "..."));
			return -1;
		}
		if (dev->data.disk->src->format <= VIR_STORAGE_FILE_NONE)
			dev->data.disk->src->format = VIR_STORAGE_FILE_RAW;
		break;
	case VIR_DOMAIN_DEVICE_PANIC:
		if (dev->data.panic->model == VIR_DOMAIN_PANIC_MODEL_DEFAULT)
			dev->data.panic->model = VIR_DOMAIN_PANIC_MODEL_ISA;
		break;
	case VIR_DOMAIN_DEVICE_CHR:
		if (dev->data.chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_SERIAL) {
			if (!dev->data.chr->targetType)
				dev->data.chr->targetType = VIR_DOMAIN_CHR_SERIAL_TARGET_TYPE_ISA;
			if (!dev->data.chr->targetModel)
				dev->data.chr->targetModel =
					VIR_DOMAIN_CHR_SERIAL_TARGET_MODEL_ISA_SERIAL;
		}
		break;
	default:
		break;
	}
	return 0;
}

static int disk_compare(const void *a, const void *b)
{
	const virDomainDiskDef *const *x = a, *const *y = b;

	return virDiskNameToIndex((*x)->dst) - virDiskNameToIndex((*y)->dst);
}

/*
 * The vmm chooses PCI addresses, in the order of its configuration.  So that is the
 * order of the names: the guest's vda is the one that is called so here.
 */
static int addresses_assign(virDomainDef *def, unsigned int flags, void *opaque,
			    void *parse_opaque)
{
	(void)flags;
	(void)opaque;
	(void)parse_opaque;
	if (def->ndisks)
		qsort(def->disks, def->ndisks, sizeof(*def->disks), disk_compare);
	return 0;
}

/* ---- checks ---- */

static int path_validate(const char *element, const char *path, size_t max)
{
	if (*path != '/') {
		unsupported(_("<%s> '%s': a path begins with '/'"), element, path);
		return -1;
	}
	if (strlen(path) > max) {
		unsupported(_("<%s> '%s': at most %zu characters"), element, path, max);
		return -1;
	}
	return 0;
}

static int ifname_validate(const char *element, const char *name)
{
	if (!name || strlen(name) < IFNAMSIZ)
		return 0;
	unsupported(_("<%s> '%s': Linux knows names of at most %d characters"), element, name,
		    IFNAMSIZ - 1);
	return -1;
}

static int disk_validate(const virDomainDiskDef *disk)
{
	if (disk->bus != VIR_DOMAIN_DISK_BUS_VIRTIO) {
		unsupported(_("disk <target dev='%s'> on bus '%s' is not supported by hv; name it "
			      "vda, vdb, ... with bus='virtio'"), disk->dst,
			    virDomainDiskBusTypeToString(disk->bus));
		return -1;
	}
	if (!disk->src->path || !*disk->src->path) {
		unsupported(_("disk '%s' has no <source>"), disk->dst);
		return -1;
	}
	return path_validate("disk/source", disk->src->path, PATH_MAX - 1);
}

/* The vmm would refuse the second one, which is in use by the first. */
static int disks_validate(const virDomainDef *def)
{
	size_t i, j;

	for (i = 0; i < def->ndisks; i++) {
		for (j = 0; j < i; j++) {
			const virDomainDiskDef *a = def->disks[j], *b = def->disks[i];

			if (!a->src->path || STRNEQ_NULLABLE(a->src->path, b->src->path) ||
			    (a->src->readonly && b->src->readonly))
				continue;
			unsupported(_("disks '%s' and '%s' are the same file, and one can write "
				      "to it"), a->dst, b->dst);
			return -1;
		}
	}
	return 0;
}

static int net_validate(const virDomainNetDef *net)
{
	if (net->model != VIR_DOMAIN_NET_MODEL_VIRTIO) {
		unsupported(_("interface <model type='%s'> is not supported by hv; give "
			      "<model type='virtio'/>"), virDomainNetGetModelString(net));
		return -1;
	}
	if (net->type == VIR_DOMAIN_NET_TYPE_USER && net->ifname) {
		unsupported("%s",
			    _("<target dev=...> of an interface of type 'user' is not supported "
			      "by hv"));
		return -1;
	}
	if (net->managed_tap == VIR_TRISTATE_BOOL_NO &&
	    (net->type != VIR_DOMAIN_NET_TYPE_ETHERNET || !net->ifname)) {
		unsupported("%s", _("<target managed='no'> is for an interface of type 'ethernet' "
				    "with the name of a tap device"));
		return -1;
	}
	if (net->type == VIR_DOMAIN_NET_TYPE_BRIDGE &&
	    ifname_validate("interface/source", net->data.bridge.brname) < 0)
		return -1;
	return ifname_validate("interface/target", net->ifname);
}

static int controller_validate(const virDomainControllerDef *c)
{
	if (c->type == VIR_DOMAIN_CONTROLLER_TYPE_VIRTIO_SERIAL ||
	    (c->type == VIR_DOMAIN_CONTROLLER_TYPE_PCI &&
	     c->model == VIR_DOMAIN_CONTROLLER_MODEL_PCIE_ROOT) ||
	    (c->type == VIR_DOMAIN_CONTROLLER_TYPE_USB &&
	     c->model == VIR_DOMAIN_CONTROLLER_MODEL_USB_NONE))
		return 0;
	unsupported(_("<controller type='%s'> of this model is not supported by hv; it has pci "
		      "'pcie-root' and usb 'none'"), virDomainControllerTypeToString(c->type));
	return -1;
}

static int device_validate(const virDomainDeviceDef *dev, const virDomainDef *def, void *opaque,
			   void *parse_opaque)
{
	(void)def;
	(void)opaque;
	(void)parse_opaque;
	switch (dev->type) {
	case VIR_DOMAIN_DEVICE_DISK:
		return disk_validate(dev->data.disk);
	case VIR_DOMAIN_DEVICE_NET:
		return net_validate(dev->data.net);
	case VIR_DOMAIN_DEVICE_CONTROLLER:
		return controller_validate(dev->data.controller);
	case VIR_DOMAIN_DEVICE_CHR:
	case VIR_DOMAIN_DEVICE_RNG:
	case VIR_DOMAIN_DEVICE_PANIC:
	case VIR_DOMAIN_DEVICE_MEMBALLOON:
	case VIR_DOMAIN_DEVICE_VIDEO:
		return 0;
	default:
		unsupported(_("device '%s' is not supported by hv"),
			    virDomainDeviceTypeToString(dev->type));
		return -1;
	}
}

/* The timers a PC has are there, and those it has not are not: no way to choose. */
static int clock_validate(const virDomainClockDef *clock)
{
	size_t i;

	for (i = 0; i < clock->ntimers; i++) {
		const virDomainTimerDef *t = clock->timers[i];
		const bool has = t->name != VIR_DOMAIN_TIMER_NAME_HPET;

		if (t->present == virTristateBoolFromBool(!has)) {
			unsupported(_("<timer name='%s' present='%s'> is not supported by hv"),
				    virDomainTimerNameTypeToString(t->name),
				    virTristateBoolTypeToString(t->present));
			return -1;
		}
	}
	return 0;
}

static int cpu_validate(const virDomainDef *def)
{
	const unsigned int vcpus = virDomainDefGetVcpusMax(def);

	if (vcpus > HV_VCPUS_MAX) {
		unsupported(_("<vcpu>: hv has at most %u"), HV_VCPUS_MAX);
		return -1;
	}
	if (virDomainDefGetVcpus(def) != vcpus) {
		unsupported("%s",
			    _("<vcpu current=...>: hv cannot add vCPUs to a running guest; it "
			      "must be their number"));
		return -1;
	}
	if (def->cpu && def->cpu->cores && def->cpu->cores != vcpus) {
		unsupported(_("<cpu><topology cores='%u'>: with hv each of the %u vCPUs is a core"),
			    def->cpu->cores, vcpus);
		return -1;
	}
	return 0;
}

/* One serial line, and at most one console of each kind. */
static int consoles_validate(const virDomainDef *def)
{
	size_t i, serial = 0, virtio = 0;

	if (def->nserials > 1) {
		unsupported("%s", _("<serial>: hv connects one serial line, port 0"));
		return -1;
	}
	if (def->nserials && def->serials[0]->source->type == VIR_DOMAIN_CHR_TYPE_UNIX &&
	    (!def->serials[0]->source->data.nix.listen ||
	     !def->serials[0]->source->data.nix.path)) {
		unsupported("%s", _("<serial type='unix'>: hv listens, so <source mode='bind' "
				    "path=.../> is needed"));
		return -1;
	}
	if (def->nserials && def->serials[0]->source->type == VIR_DOMAIN_CHR_TYPE_UNIX &&
	    path_validate("serial/source", def->serials[0]->source->data.nix.path,
			  sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1) < 0)
		return -1;
	for (i = 0; i < def->nconsoles; i++) {
		if (def->consoles[i]->targetType == VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_VIRTIO)
			virtio++;
		else
			serial++;
		if (def->consoles[i]->source->type == VIR_DOMAIN_CHR_TYPE_UNIX &&
		    def->consoles[i]->targetType == VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_VIRTIO) {
			unsupported("%s", _("<console type='unix'> is for the serial console"));
			return -1;
		}
	}
	if (serial > 1 || virtio > 1) {
		unsupported("%s", _("<console>: hv has one console on the serial line and one on "
				    "virtio"));
		return -1;
	}
	return 0;
}

static int memory_validate(const virDomainDef *def)
{
	const unsigned long long total = virDomainDefGetMemoryTotal(def);

	if (total < 1024 || total > 1024ULL << 20) {
		unsupported("%s", _("<memory>: a guest of hv has from 1 MiB to 1 TiB"));
		return -1;
	}
	if (def->mem.cur_balloon != total) {
		unsupported("%s",
			    _("<currentMemory>: hv has no balloon yet; it must be the same as "
			      "<memory>"));
		return -1;
	}
	if (def->mem.source == VIR_DOMAIN_MEMORY_SOURCE_FILE) {
		unsupported("%s", _("<memoryBacking><source type='file'> is not supported by hv"));
		return -1;
	}
	if (virMemoryLimitIsSet(def->mem.swap_hard_limit) &&
	    def->mem.hard_limit > def->mem.swap_hard_limit) {
		unsupported("%s", _("<memtune>: <swap_hard_limit> counts memory too, so it is not "
				    "below <hard_limit>"));
		return -1;
	}
	return 0;
}

int hv_domain_name_check(const char *name)
{
	if (hv_control_name_valid(name))
		return 0;
	unsupported(_("<name> '%s': hv takes letters, digits, '.', '_' and '-', at most 60, "
		      "beginning with a letter or digit"), name);
	return -1;
}

static int domain_validate(const virDomainDef *def, void *opaque, void *parse_opaque)
{
	(void)opaque;
	(void)parse_opaque;
	if (hv_domain_name_check(def->name) < 0)
		return -1;
	if (!def->os.kernel) {
		unsupported("%s", _("<os>: hv has no firmware yet, so <kernel> is needed; "
				    "virt-install --boot kernel=FILE,initrd=FILE,kernel_args=..."));
		return -1;
	}
	if (path_validate("os/kernel", def->os.kernel, PATH_MAX - 1) < 0 ||
	    (def->os.initrd && path_validate("os/initrd", def->os.initrd, PATH_MAX - 1) < 0))
		return -1;
	if (def->resource && def->resource->partition &&
	    path_validate("resource/partition", def->resource->partition, PATH_MAX - 1) < 0)
		return -1;
	if (def->nrngs > 1 || def->npanics > 1) {
		unsupported("%s", _("<rng>, <panic>: hv has at most one of each"));
		return -1;
	}
	if (memory_validate(def) < 0 || disks_validate(def) < 0 || cpu_validate(def) < 0 ||
	    clock_validate(&def->clock) < 0)
		return -1;
	return consoles_validate(def);
}

static virDomainDefParserConfig parser_config = {
	.domainPostParseBasicCallback = domain_basics,
	.domainPostParseCallback = domain_defaults,
	.devicesPostParseCallback = device_defaults,
	.assignAddressesCallback = addresses_assign,
	.domainValidateCallback = domain_validate,
	.deviceValidateCallback = device_validate,
	.features = VIR_DOMAIN_DEF_FEATURE_FW_AUTOSELECT,
	.macPrefix = { 0x52, 0x54, 0x00 },
	.defArch = VIR_ARCH_X86_64,
};

virDomainXMLOption *hv_domain_xmlopt_new(struct hv_driver *driver)
{
	virDomainXMLOption *xmlopt;

	parser_config.priv = driver;
	xmlopt = virDomainXMLOptionNew(&parser_config, &private_callbacks, NULL, NULL, NULL, NULL);
	if (xmlopt)
		virDomainXMLOptionSetCloseCallbackAlloc(xmlopt, virCloseCallbacksDomainAlloc);
	return xmlopt;
}

virDomainDef *hv_domain_parse(struct hv_driver *driver, const char *xml, unsigned int flags)
{
	g_autofree char *plain = NULL;
	g_autoptr(virDomainDef) def = NULL;
	const int ret = hv_elements_check(xml, &plain);

	if (ret < 0)
		return NULL;
	def = virDomainDefParseString(plain ? plain : xml, driver->xmlopt, NULL, flags);
	if (def && ret > 0) {
		virReportError(VIR_ERR_XML_ERROR, "%s", _("the XML is not well formed"));
		return NULL;
	}
	return g_steal_pointer(&def);
}

/* ---- helpers of the methods ---- */

virDomainObj *hv_domain_get(virDomainPtr dom)
{
	struct hv_driver *driver = dom->conn->privateData;
	virDomainObj *vm = virDomainObjListFindByUUID(driver->domains, dom->uuid);
	char uuid[VIR_UUID_STRING_BUFLEN];

	if (!vm) {
		virUUIDFormat(dom->uuid, uuid);
		virReportError(VIR_ERR_NO_DOMAIN, _("no domain with uuid %s (%s)"), uuid,
			       dom->name);
	}
	return vm;
}

int hv_domain_save_status(virDomainObj *vm)
{
	struct hv_driver *driver = hv_domain(vm)->driver;

	return virDomainObjSave(vm, driver->xmlopt, driver->state_dir);
}

int hv_domain_save_config(virDomainObj *vm)
{
	struct hv_driver *driver = hv_domain(vm)->driver;

	return virDomainDefSave(vm->newDef ? vm->newDef : vm->def, driver->xmlopt,
				driver->config_dir);
}

void hv_domain_event(struct hv_driver *driver, virObjectEvent *event)
{
	virObjectEventStateQueue(driver->events, event);
}

void hv_domain_event_lifecycle(virDomainObj *vm, int type, int detail)
{
	hv_domain_event(hv_domain(vm)->driver, virDomainEventLifecycleNewFromObj(vm, type, detail));
}
