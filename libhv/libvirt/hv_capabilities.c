// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_capabilities.c - what this host and the driver can do (hv_capabilities.h).
 *
 * Must not promise what hv_domain.c refuses.
 */
#include <config.h>

#include "hv_capabilities.h"

#include "cpu/cpu.h"
#include "domain_capabilities.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS HV_FROM

VIR_LOG_INIT("hv.hv_capabilities");

virCaps *hv_capabilities_new(struct hv_driver *driver)
{
	g_autoptr(virCaps) caps = virCapabilitiesNew(VIR_ARCH_X86_64, false, false);
	virCapsGuestMachine **machines;
	virCapsGuest *guest;

	if (!caps)
		return NULL;
	caps->host.numa = virCapabilitiesHostNUMANewHost();
	if (!caps->host.numa || virCapabilitiesInitCaches(caps) < 0)
		return NULL;
	/* A CPU that libvirt's table does not know is no reason not to start. */
	caps->host.cpu = virCPUProbeHost(VIR_ARCH_X86_64);
	if (!caps->host.cpu)
		virResetLastError();
	if (virCapabilitiesGetNodeInfo(&(virNodeInfo){ 0 }) < 0)
		return NULL;

	machines = g_new0(virCapsGuestMachine *, 1);
	machines[0] = g_new0(virCapsGuestMachine, 1);
	machines[0]->name = g_strdup(HV_MACHINE);
	machines[0]->maxCpus = HV_VCPUS_MAX;
	guest = virCapabilitiesAddGuest(caps, VIR_DOMAIN_OSTYPE_HVM, VIR_ARCH_X86_64, driver->vmm,
					NULL, 1, machines);
	virCapabilitiesAddGuestFeatureWithToggle(guest, VIR_CAPS_GUEST_FEATURE_TYPE_ACPI, true,
						 false);
	virCapabilitiesAddGuestFeatureWithToggle(guest, VIR_CAPS_GUEST_FEATURE_TYPE_APIC, true,
						 false);
	/* No stock schema or client knows a type of ours; upstream's ch driver does the same. */
	virCapabilitiesAddGuestDomain(guest, VIR_DOMAIN_VIRT_KVM, NULL, NULL, 0, NULL);
	return g_steal_pointer(&caps);
}

static void domain_caps_fill(virDomainCaps *caps)
{
	caps->maxvcpus = HV_VCPUS_MAX;
	caps->os.supported = VIR_TRISTATE_BOOL_YES;
	caps->os.loader.supported = VIR_TRISTATE_BOOL_NO;

	caps->cpu.hostPassthrough = true;
	caps->cpu.hostPassthroughMigratable.report = true;
	VIR_DOMAIN_CAPS_ENUM_SET(caps->cpu.hostPassthroughMigratable, VIR_TRISTATE_SWITCH_OFF);
	caps->cpu.maximum = true;
	caps->cpu.maximumMigratable.report = true;
	VIR_DOMAIN_CAPS_ENUM_SET(caps->cpu.maximumMigratable, VIR_TRISTATE_SWITCH_OFF);

	caps->memoryBacking.supported = VIR_TRISTATE_BOOL_YES;
	caps->memoryBacking.sourceType.report = true;
	VIR_DOMAIN_CAPS_ENUM_SET(caps->memoryBacking.sourceType, VIR_DOMAIN_MEMORY_SOURCE_MEMFD,
				 VIR_DOMAIN_MEMORY_SOURCE_ANONYMOUS);

	caps->disk.supported = VIR_TRISTATE_BOOL_YES;
	caps->disk.diskDevice.report = true;
	VIR_DOMAIN_CAPS_ENUM_SET(caps->disk.diskDevice, VIR_DOMAIN_DISK_DEVICE_DISK);
	caps->disk.bus.report = true;
	VIR_DOMAIN_CAPS_ENUM_SET(caps->disk.bus, VIR_DOMAIN_DISK_BUS_VIRTIO);
	caps->disk.model.report = true;
	VIR_DOMAIN_CAPS_ENUM_SET(caps->disk.model, VIR_DOMAIN_DISK_MODEL_VIRTIO);

	caps->rng.supported = VIR_TRISTATE_BOOL_YES;
	caps->rng.model.report = true;
	VIR_DOMAIN_CAPS_ENUM_SET(caps->rng.model, VIR_DOMAIN_RNG_MODEL_VIRTIO);
	caps->rng.backendModel.report = true;
	VIR_DOMAIN_CAPS_ENUM_SET(caps->rng.backendModel, VIR_DOMAIN_RNG_BACKEND_RANDOM);

	caps->graphics.supported = VIR_TRISTATE_BOOL_NO;
	caps->video.supported = VIR_TRISTATE_BOOL_NO;
	caps->hostdev.supported = VIR_TRISTATE_BOOL_NO;
	caps->filesystem.supported = VIR_TRISTATE_BOOL_NO;
	caps->tpm.supported = VIR_TRISTATE_BOOL_NO;
	caps->gic.supported = VIR_TRISTATE_BOOL_NO;
	caps->features[VIR_DOMAIN_CAPS_FEATURE_IOTHREADS] = VIR_TRISTATE_BOOL_NO;
	caps->features[VIR_DOMAIN_CAPS_FEATURE_VMCOREINFO] = VIR_TRISTATE_BOOL_NO;
	caps->features[VIR_DOMAIN_CAPS_FEATURE_GENID] = VIR_TRISTATE_BOOL_NO;
}

static bool known(const char *what, const char *value, const char *ours)
{
	if (!value || STREQ(value, ours))
		return true;
	virReportError(VIR_ERR_INVALID_ARG, _("%s '%s' is not supported; it is '%s'"), what, value,
		       ours);
	return false;
}

char *hv_capabilities_domain(struct hv_driver *driver, const char *emulator, const char *arch,
			     const char *machine, const char *virttype)
{
	g_autoptr(virDomainCaps) caps = NULL;

	if (!known("arch", arch, "x86_64") || !known("machine", machine, HV_MACHINE))
		return NULL;
	if (virttype && STRNEQ(virttype, "hv") && !known("virttype", virttype, "kvm"))
		return NULL;
	caps = virDomainCapsNew(emulator ? emulator : driver->vmm, HV_MACHINE, VIR_ARCH_X86_64,
				VIR_DOMAIN_VIRT_KVM);
	if (!caps)
		return NULL;
	domain_caps_fill(caps);
	return virDomainCapsFormat(caps);
}
