/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_driver.h - the methods of the driver, for the table in hv_driver.c.
 *
 * A method checks the caller's right, takes the domain's job where it changes or
 * asks the running guest, and calls the core: hv_domain, hv_process, hv_tune,
 * hv_stats.  Names are libvirt's, with hv before them, as its own check of drivers
 * wants them (make -f libhv/libvirt/Makefile lint).
 */
#ifndef HV_DRIVER_H
#define HV_DRIVER_H

#include "driver.h"

/* libvirt calls it when it has loaded the driver. */
int hvRegister(void);

/* A function of the type that the table's slot has. */
#define HV_METHOD(name)	__typeof__(*(virDrv##name)NULL) hv##name

/* hv_driver_host.c: the host */
HV_METHOD(NodeGetInfo);
HV_METHOD(NodeGetCPUMap);
HV_METHOD(NodeGetCPUStats);
HV_METHOD(NodeGetMemoryStats);
HV_METHOD(NodeGetFreeMemory);
HV_METHOD(NodeGetCellsFreeMemory);
HV_METHOD(NodeGetMemoryParameters);
HV_METHOD(NodeSetMemoryParameters);
HV_METHOD(NodeGetFreePages);
HV_METHOD(NodeAllocPages);
HV_METHOD(NodeGetSecurityModel);
HV_METHOD(ConnectGetSysinfo);
HV_METHOD(DomainGetSecurityLabel);
HV_METHOD(DomainGetSecurityLabelList);

/* hv_driver_define.c: what domains there are */
HV_METHOD(DomainLookupByID);
HV_METHOD(DomainLookupByUUID);
HV_METHOD(DomainLookupByName);
HV_METHOD(DomainDefineXML);
HV_METHOD(DomainDefineXMLFlags);
HV_METHOD(DomainRename);
HV_METHOD(DomainUndefine);
HV_METHOD(DomainUndefineFlags);
HV_METHOD(DomainGetXMLDesc);
HV_METHOD(DomainGetOSType);
HV_METHOD(DomainGetInfo);
HV_METHOD(DomainGetState);
HV_METHOD(DomainGetControlInfo);
HV_METHOD(DomainGetMaxMemory);
HV_METHOD(DomainIsActive);
HV_METHOD(DomainIsPersistent);
HV_METHOD(DomainIsUpdated);
HV_METHOD(DomainHasManagedSaveImage);
HV_METHOD(DomainGetMessages);
HV_METHOD(DomainGetAutostart);
HV_METHOD(DomainSetAutostart);
HV_METHOD(DomainGetMetadata);
HV_METHOD(DomainSetMetadata);
HV_METHOD(ConnectDomainXMLToNative);
HV_METHOD(ConnectDomainXMLFromNative);

/* hv_driver_life.c: start, stop, console */
HV_METHOD(DomainCreateXML);
HV_METHOD(DomainCreate);
HV_METHOD(DomainCreateWithFlags);
HV_METHOD(DomainSuspend);
HV_METHOD(DomainResume);
HV_METHOD(DomainShutdown);
HV_METHOD(DomainShutdownFlags);
HV_METHOD(DomainReboot);
HV_METHOD(DomainReset);
HV_METHOD(DomainDestroy);
HV_METHOD(DomainDestroyFlags);
HV_METHOD(DomainOpenConsole);

/* hv_driver_tune.c: CPUs and limits */
HV_METHOD(DomainGetVcpus);
HV_METHOD(DomainGetVcpusFlags);
HV_METHOD(DomainGetMaxVcpus);
HV_METHOD(DomainPinVcpu);
HV_METHOD(DomainPinVcpuFlags);
HV_METHOD(DomainGetVcpuPinInfo);
HV_METHOD(DomainPinEmulator);
HV_METHOD(DomainGetEmulatorPinInfo);
HV_METHOD(DomainGetSchedulerType);
HV_METHOD(DomainGetSchedulerParameters);
HV_METHOD(DomainGetSchedulerParametersFlags);
HV_METHOD(DomainSetSchedulerParameters);
HV_METHOD(DomainSetSchedulerParametersFlags);
HV_METHOD(DomainGetMemoryParameters);
HV_METHOD(DomainSetMemoryParameters);

/* hv_driver_stats.c: figures of one domain */
HV_METHOD(DomainBlockStats);
HV_METHOD(DomainBlockStatsFlags);
HV_METHOD(DomainInterfaceStats);
HV_METHOD(DomainMemoryStats);
HV_METHOD(DomainGetBlockInfo);
HV_METHOD(DomainGetCPUStats);
HV_METHOD(DomainInterfaceAddresses);
HV_METHOD(DomainGetHostname);

#endif /* HV_DRIVER_H */
