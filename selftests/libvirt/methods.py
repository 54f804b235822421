#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Every method of the table in Documentation/libvirt.rst, called on hv:///system; prints KTAP.

methods.py XML - a domain with two vCPUs, disk vda and one interface, whose guest powers off by its
button; libvirtd answers for host devices. What "works" there must work here; everything else must
be refused as not supported, by the name of the call.
"""
import os
import re
import socket
import sys
import threading

import eventloop
import libvirt
import libvirt_lxc
import libvirt_qemu

here = os.path.dirname(os.path.realpath(__file__))
LIMIT = 60 * int(os.environ.get('HV_SLOW', 1))
L = libvirt
BOTH = L.VIR_DOMAIN_AFFECT_LIVE | L.VIR_DOMAIN_AFFECT_CONFIG
case = bad = 0

# No call of a client's reaches them: steps of a migration, in the libvirtd of either side.
MIGRATION_STEPS = {f'domainMigrate{step}' for step in (
    'Perform', 'Perform3', 'Perform3Params', 'Prepare', 'Prepare2', 'Prepare3', 'Prepare3Params',
    'PrepareTunnel', 'PrepareTunnel3', 'PrepareTunnel3Params', 'Begin3', 'Begin3Params', 'Finish',
    'Finish2', 'Finish3', 'Finish3Params', 'Confirm3', 'Confirm3Params')}
# Libvirt answers these itself, for every driver.
ELSEWHERE = {'connectSetIdentity', 'connectGetLibVersion', 'connectSetKeepAlive',
             'connectRegisterCloseCallback', 'connectUnregisterCloseCallback',
             'connectDomainQemuMonitorEventDeregister'}
# Not in python3-libvirt, or only for what cannot be made: no snapshot, no checkpoint.
NOT_CALLABLE = {'connectURIProbe', 'connectDomainEventDeregister',
                'domainQemuMonitorCommandWithFiles', 'domainSnapshotGetXMLDesc',
                'domainSnapshotNumChildren', 'domainSnapshotListChildrenNames',
                'domainSnapshotListAllChildren', 'domainSnapshotGetParent',
                'domainSnapshotIsCurrent',
                'domainSnapshotHasMetadata', 'domainRevertToSnapshot', 'domainSnapshotDelete',
                'domainCheckpointGetXMLDesc', 'domainCheckpointListAllChildren',
                'domainCheckpointGetParent', 'domainCheckpointDelete', 'domainSendProcessSignal'}


def check(what, ok, why=''):
    global case, bad
    case += 1
    bad += not ok
    if not ok:
        print(f'# {what}: {why}')
    print(f'{"ok" if ok else "not ok"} {case} {what}', flush=True)


def table():
    """Method: works, later or refused"""
    with open(os.path.join(here, '../../Documentation/libvirt.rst')) as f:
        return dict(re.findall(r'^((?:connect|node|domain)\w+) +(works|later|refused) +[x-] ',
                               f.read(), re.M))


class Off:
    """The end of a guest, from libvirt's events."""

    def __init__(self, conn):
        self.changed = threading.Condition()
        conn.domainEventRegisterAny(None, L.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self.event, None)

    def event(self, *_):
        with self.changed:
            self.changed.notify_all()

    def wait(self, dom):
        with self.changed:
            if not self.changed.wait_for(lambda: not dom.isActive(), LIMIT):
                raise AssertionError('the guest does not power off')


def console(conn, dom):
    st = conn.newStream(0)
    dom.openConsole(None, st, 0)
    st.abort()


def working(conn, xml):
    """(method, call) in an order in which they make sense."""
    off = Off(conn)
    dom = conn.defineXML(xml)
    name, uuid = dom.name(), dom.UUID()
    cb = []

    def start_and(end):
        def call():
            dom.create()
            end()
            off.wait(dom)
        return call
    return [
        ('connectOpen', lambda: L.open('hv:///system').close()),
        ('connectClose', lambda: L.openReadOnly('hv:///system').close()),
        ('connectSupportsFeature', lambda: L.open('hv:///system').setKeepAlive(5, 3)),
        ('connectGetType', conn.getType), ('connectGetVersion', conn.getVersion),
        ('connectGetHostname', conn.getHostname),
        ('connectGetMaxVcpus', lambda: conn.getMaxVcpus('hv')),
        ('nodeGetInfo', conn.getInfo), ('connectGetCapabilities', conn.getCapabilities),
        ('connectGetDomainCapabilities', conn.getDomainCapabilities),
        ('nodeGetSecurityModel', conn.getSecurityModel),
        ('nodeGetCPUStats', lambda: conn.getCPUStats(-1)), ('nodeGetCPUMap', conn.getCPUMap),
        ('nodeGetMemoryStats', lambda: conn.getMemoryStats(-1)),
        ('nodeGetCellsFreeMemory', lambda: conn.getCellsFreeMemory(0, 1)),
        ('nodeGetFreeMemory', conn.getFreeMemory),
        ('nodeGetMemoryParameters', conn.getMemoryParameters),
        ('nodeSetMemoryParameters', lambda: conn.setMemoryParameters(
            {k: v for k, v in conn.getMemoryParameters().items() if k == 'shm_sleep_millisecs'})),
        ('nodeGetFreePages', lambda: conn.getFreePages([4], 0, 1)),
        ('nodeAllocPages', lambda: conn.allocPages({2048: 0}, 0, 1)),
        ('connectGetSysinfo', conn.getSysinfo),
        ('connectIsEncrypted', conn.isEncrypted), ('connectIsSecure', conn.isSecure),
        ('connectIsAlive', conn.isAlive),
        ('connectDomainEventRegister', lambda: conn.domainEventRegister(lambda *_: None, None)),
        ('connectDomainEventRegisterAny', lambda: cb.append(conn.domainEventRegisterAny(
            dom, L.VIR_DOMAIN_EVENT_ID_REBOOT, lambda *_: None, None))),
        ('connectDomainEventDeregisterAny', lambda: conn.domainEventDeregisterAny(cb[0])),
        ('connectDomainXMLToNative', lambda: conn.domainXMLToNative('vmm-json', xml)),
        ('connectDomainXMLFromNative', lambda: conn.domainXMLFromNative(
            'vmm-json', conn.domainXMLToNative('vmm-json', re.sub(
                '<interface.*?</interface>', '', xml, flags=re.S)))),
        ('connectListDefinedDomains', lambda: conn.listDefinedDomains().index(name)),
        ('connectNumOfDefinedDomains', conn.numOfDefinedDomains),
        ('domainDefineXML', lambda: conn.defineXML(xml)),
        ('domainDefineXMLFlags', lambda: conn.defineXMLFlags(xml, L.VIR_DOMAIN_DEFINE_VALIDATE)),
        ('domainRename', lambda: (dom.rename('other-name'), conn.lookupByName('other-name').rename(
            name), conn.lookupByName(name))),
        ('domainUndefine', dom.undefine),
        ('domainUndefineFlags', lambda: conn.defineXML(xml).undefineFlags(
            L.VIR_DOMAIN_UNDEFINE_NVRAM)),
        ('domainCreateXML', lambda: conn.createXML(xml)),
        ('domainIsPersistent', lambda: dom.isPersistent() == 0 or 1 / 0),
        ('domainDestroyFlags', lambda: dom.destroyFlags(L.VIR_DOMAIN_DESTROY_GRACEFUL)),
        ('domainLookupByName', lambda: conn.defineXML(xml) and conn.lookupByName(name)),
        ('domainLookupByUUID', lambda: conn.lookupByUUID(uuid)),
        ('domainGetAutostart', dom.autostart), ('domainSetAutostart', lambda: dom.setAutostart(0)),
        ('domainShutdown', start_and(lambda: dom.shutdown())),
        ('domainShutdownFlags', start_and(lambda: dom.shutdownFlags(
            L.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN))),
        ('domainCreate', dom.create), ('domainDestroy', dom.destroy),
        ('domainCreateWithFlags', lambda: dom.createWithFlags(0)),
        ('domainLookupByID', lambda: conn.lookupByID(dom.ID())),
        ('connectListDomains', lambda: conn.listDomainsID().index(dom.ID())),
        ('connectNumOfDomains', conn.numOfDomains), ('connectListAllDomains', conn.listAllDomains),
        ('domainGetOSType', dom.OSType), ('domainGetMaxMemory', dom.maxMemory),
        ('domainGetInfo', dom.info), ('domainGetState', dom.state),
        ('domainGetControlInfo', dom.controlInfo),
        ('domainGetXMLDesc', dom.XMLDesc), ('domainIsActive', dom.isActive),
        ('domainIsUpdated', dom.isUpdated),
        ('domainHasManagedSaveImage', dom.hasManagedSaveImage),
        ('domainSetMetadata', lambda: dom.setMetadata(
            L.VIR_DOMAIN_METADATA_TITLE, 'T', None, None, BOTH)),
        ('domainGetMetadata', lambda: dom.metadata(L.VIR_DOMAIN_METADATA_TITLE, None)),
        ('domainGetMessages', dom.messages),
        ('domainSuspend', dom.suspend), ('domainResume', dom.resume),
        ('domainReset', dom.reset), ('domainOpenConsole', lambda: console(conn, dom)),
        ('domainGetVcpusFlags', lambda: dom.vcpusFlags(L.VIR_DOMAIN_VCPU_MAXIMUM)),
        ('domainGetMaxVcpus', dom.maxVcpus), ('domainGetVcpus', dom.vcpus),
        ('domainPinVcpu', lambda: dom.pinVcpu(0, (True,))),
        ('domainPinVcpuFlags', lambda: dom.pinVcpuFlags(1, (True,), BOTH)),
        ('domainGetVcpuPinInfo', dom.vcpuPinInfo),
        ('domainPinEmulator', lambda: dom.pinEmulator((True,), BOTH)),
        ('domainGetEmulatorPinInfo', dom.emulatorPinInfo),
        ('domainGetSchedulerType', dom.schedulerType),
        ('domainGetSchedulerParameters', dom.schedulerParameters),
        ('domainGetSchedulerParametersFlags', lambda: dom.schedulerParametersFlags(
            L.VIR_DOMAIN_AFFECT_CONFIG)),
        ('domainSetSchedulerParametersFlags', lambda: dom.setSchedulerParametersFlags(
            {'cpu_shares': 900}, L.VIR_DOMAIN_AFFECT_CONFIG)),
        ('domainGetMemoryParameters', dom.memoryParameters),
        ('domainSetMemoryParameters', lambda: dom.setMemoryParameters(
            {'soft_limit': 500000}, L.VIR_DOMAIN_AFFECT_CONFIG)),
        ('domainBlockStats', lambda: dom.blockStats('vda')),
        ('domainBlockStatsFlags', lambda: dom.blockStatsFlags('vda')),
        ('domainInterfaceStats', lambda: dom.interfaceStats(
            re.search("<target dev='(vnet[0-9]+)'", dom.XMLDesc()).group(1))),
        ('domainMemoryStats', dom.memoryStats),
        ('domainGetBlockInfo', lambda: dom.blockInfo('vda')),
        ('domainGetCPUStats', lambda: dom.getCPUStats(True)),
        ('domainInterfaceAddresses', lambda: dom.interfaceAddresses(
            L.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE)),
        ('domainGetHostname', lambda: dom.hostname(L.VIR_DOMAIN_GET_HOSTNAME_LEASE)),
        ('connectGetAllDomainStats', conn.getAllDomainStats),
        ('domainGetSecurityLabel', dom.securityLabel),
        ('domainGetSecurityLabelList', dom.securityLabelList),
        ('domainReboot', lambda: (dom.reboot(), dom.destroy())),
        ('domainSetSchedulerParameters', lambda: dom.setSchedulerParameters({'cpu_shares': 800})),
    ]


def unsupported(conn, dom, xml):
    st = conn.newStream(0)
    sock = socket.socketpair()[0]
    zero = os.open('/dev/zero', os.O_RDWR)
    dev = next(iter(conn.listAllDevices(0)))
    snapshot = '<domainsnapshot/>'
    return [
        ('nodeDeviceDettach', dev.dettach),
        ('nodeDeviceDetachFlags', lambda: dev.detachFlags(None)),
        ('nodeDeviceReAttach', dev.reAttach), ('nodeDeviceReset', dev.reset),
        ('connectCompareCPU', lambda: conn.compareCPU('<cpu/>')),
        ('connectBaselineCPU', lambda: conn.baselineCPU(['<cpu/>'])),
        ('nodeSuspendForDuration', lambda: conn.suspendForDuration(0, 60)),
        ('connectGetCPUModelNames', lambda: conn.getCPUModelNames('x86_64')),
        ('connectCompareHypervisorCPU', lambda: conn.compareHypervisorCPU(
            None, 'x86_64', None, 'kvm', '<cpu/>')),
        ('connectBaselineHypervisorCPU', lambda: conn.baselineHypervisorCPU(
            None, 'x86_64', None, 'kvm', ['<cpu/>'])),
        ('nodeGetSEVInfo', conn.getSEVInfo),
        ('connectDomainQemuMonitorEventRegister', lambda: libvirt_qemu.qemuMonitorEventRegister(
            conn, None, None, lambda *_: None, None)),
        ('domainGetTime', dom.getTime),
        ('domainSetTime', lambda: dom.setTime({'seconds': 1, 'nseconds': 0})),
        ('domainCreateXMLWithFiles', lambda: conn.createXMLWithFiles(xml, [zero])),
        ('domainCreateWithFiles', lambda: dom.createWithFiles([zero])),
        ('domainPMSuspendForDuration', lambda: dom.pMSuspendForDuration(0, 0)),
        ('domainPMWakeup', dom.pMWakeup), ('domainScreenshot', lambda: dom.screenshot(st, 0)),
        ('domainOpenChannel', lambda: dom.openChannel(None, st)),
        ('domainInjectNMI', dom.injectNMI),
        ('domainSendKey', lambda: dom.sendKey(0, 0, [1], 1)),
        ('domainSetLifecycleAction', lambda: dom.setLifecycleAction(0, 0)),
        ('domainFDAssociate', lambda: dom.FDAssociate('a', [zero])),
        ('domainOpenGraphics', lambda: dom.openGraphics(0, sock.fileno())),
        ('domainOpenGraphicsFD', lambda: dom.openGraphicsFD(0)),
        ('domainSetMaxMemory', lambda: dom.setMaxMemory(65536)),
        ('domainSetMemory', lambda: dom.setMemory(65536)),
        ('domainSetMemoryFlags', lambda: dom.setMemoryFlags(65536)),
        ('domainSetMemoryStatsPeriod', lambda: dom.setMemoryStatsPeriod(1)),
        ('domainSetNumaParameters', lambda: dom.setNumaParameters({'numa_nodeset': '0'})),
        ('domainGetNumaParameters', dom.numaParameters),
        ('domainSetBlkioParameters', lambda: dom.setBlkioParameters({'weight': 100})),
        ('domainGetBlkioParameters', dom.blkioParameters),
        ('domainSetVcpus', lambda: dom.setVcpus(1)),
        ('domainSetVcpusFlags', lambda: dom.setVcpusFlags(1)),
        ('domainGetIOThreadInfo', dom.ioThreadInfo),
        ('domainPinIOThread', lambda: dom.pinIOThread(1, (True,))),
        ('domainAddIOThread', lambda: dom.addIOThread(1)),
        ('domainDelIOThread', lambda: dom.delIOThread(1)),
        ('domainSetIOThreadParams', lambda: dom.setIOThreadParams(1, {'poll_max_ns': 1})),
        ('domainSetInterfaceParameters', lambda: dom.setInterfaceParameters(
            'vnet0', {'inbound.average': 1})),
        ('domainGetInterfaceParameters', lambda: dom.interfaceParameters('vnet0')),
        ('domainSetBlockIoTune', lambda: dom.setBlockIoTune('vda', {'total_iops_sec': 1})),
        ('domainGetBlockIoTune', lambda: dom.blockIoTune('vda')),
        ('domainGetGuestVcpus', dom.guestVcpus),
        ('domainSetGuestVcpus', lambda: dom.setGuestVcpus('0', 1)),
        ('domainSetVcpu', lambda: dom.setVcpu('0', 1)),
        ('domainGetPerfEvents', dom.perfEvents),
        ('domainSetPerfEvents', lambda: dom.setPerfEvents({'cmt': True})),
        ('domainBlockPeek', lambda: dom.blockPeek('vda', 0, 1)),
        ('domainMemoryPeek', lambda: dom.memoryPeek(0, 1, 1)),
        ('domainGetDiskErrors', dom.diskErrors),
        ('domainSetBlockThreshold', lambda: dom.setBlockThreshold('vda', 1)),
        ('domainStartDirtyRateCalc', lambda: dom.startDirtyRateCalc(1)),
        ('domainAttachDevice', lambda: dom.attachDevice('<x/>')),
        ('domainAttachDeviceFlags', lambda: dom.attachDeviceFlags('<x/>')),
        ('domainDetachDevice', lambda: dom.detachDevice('<x/>')),
        ('domainDetachDeviceFlags', lambda: dom.detachDeviceFlags('<x/>')),
        ('domainUpdateDeviceFlags', lambda: dom.updateDeviceFlags('<x/>')),
        ('domainDetachDeviceAlias', lambda: dom.detachDeviceAlias('ua-x')),
        ('domainBlockResize', lambda: dom.blockResize('vda', 1)),
        ('domainBlockJobAbort', lambda: dom.blockJobAbort('vda')),
        ('domainGetBlockJobInfo', lambda: dom.blockJobInfo('vda')),
        ('domainBlockJobSetSpeed', lambda: dom.blockJobSetSpeed('vda', 1)),
        ('domainBlockPull', lambda: dom.blockPull('vda')),
        ('domainBlockRebase', lambda: dom.blockRebase('vda', None)),
        ('domainBlockCopy', lambda: dom.blockCopy('vda', '<disk/>')),
        ('domainBlockCommit', lambda: dom.blockCommit('vda', None, None)),
        ('domainGetFSInfo', dom.fsInfo), ('domainSave', lambda: dom.save('/nonexistent/x')),
        ('domainSaveFlags', lambda: dom.saveFlags('/nonexistent/x')),
        ('domainSaveParams', lambda: dom.saveParams({'file': '/nonexistent/x'})),
        ('domainRestore', lambda: conn.restore('/nonexistent/x')),
        ('domainRestoreFlags', lambda: conn.restoreFlags('/nonexistent/x')),
        ('domainRestoreParams', lambda: conn.restoreParams({'file': '/nonexistent/x'})),
        ('domainSaveImageGetXMLDesc', lambda: conn.saveImageGetXMLDesc('/nonexistent/x')),
        ('domainSaveImageDefineXML', lambda: conn.saveImageDefineXML('/nonexistent/x', '<x/>')),
        ('domainCoreDump', lambda: dom.coreDump('/nonexistent/x')),
        ('domainCoreDumpWithFormat', lambda: dom.coreDumpWithFormat('/nonexistent/x', 0)),
        ('domainGetJobInfo', dom.jobInfo), ('domainGetJobStats', dom.jobStats),
        ('domainAbortJob', dom.abortJob),
        ('domainAbortJobFlags', lambda: dom.abortJobFlags(1)),
        ('domainMigrateGetMaxDowntime', dom.migrateGetMaxDowntime),
        ('domainMigrateSetMaxDowntime', lambda: dom.migrateSetMaxDowntime(1)),
        ('domainMigrateGetMaxSpeed', dom.migrateGetMaxSpeed),
        ('domainMigrateSetMaxSpeed', lambda: dom.migrateSetMaxSpeed(1)),
        ('domainMigrateGetCompressionCache', dom.migrateGetCompressionCache),
        ('domainMigrateSetCompressionCache', lambda: dom.migrateSetCompressionCache(1)),
        ('domainMigrateStartPostCopy', dom.migrateStartPostCopy),
        ('domainManagedSave', dom.managedSave), ('domainManagedSaveRemove', dom.managedSaveRemove),
        ('domainManagedSaveGetXMLDesc', dom.managedSaveGetXMLDesc),
        ('domainManagedSaveDefineXML', lambda: dom.managedSaveDefineXML('<x/>')),
        ('domainSnapshotCreateXML', lambda: dom.snapshotCreateXML(snapshot)),
        ('domainSnapshotNum', dom.snapshotNum), ('domainSnapshotListNames', dom.snapshotListNames),
        ('domainListAllSnapshots', dom.listAllSnapshots),
        ('domainSnapshotLookupByName', lambda: dom.snapshotLookupByName('x')),
        ('domainHasCurrentSnapshot', dom.hasCurrentSnapshot),
        ('domainSnapshotCurrent', dom.snapshotCurrent),
        ('domainCheckpointCreateXML', lambda: dom.checkpointCreateXML('<x/>')),
        ('domainListAllCheckpoints', dom.listAllCheckpoints),
        ('domainCheckpointLookupByName', lambda: dom.checkpointLookupByName('x')),
        ('domainBackupBegin', lambda: dom.backupBegin('<x/>', None)),
        ('domainBackupGetXMLDesc', dom.backupGetXMLDesc),
        ('domainFSTrim', lambda: dom.fSTrim(None, 0)), ('domainFSFreeze', dom.fsFreeze),
        ('domainFSThaw', dom.fsThaw),
        ('domainSetUserPassword', lambda: dom.setUserPassword('x', 'x')),
        ('domainGetGuestInfo', dom.guestInfo),
        ('domainAgentSetResponseTimeout', lambda: dom.agentSetResponseTimeout(1)),
        ('domainAuthorizedSSHKeysGet', lambda: dom.authorizedSSHKeysGet('x')),
        ('domainAuthorizedSSHKeysSet', lambda: dom.authorizedSSHKeysSet('x', ['k'])),
        ('domainQemuMonitorCommand', lambda: libvirt_qemu.qemuMonitorCommand(dom, 'info', 0)),
        ('domainQemuAttach', lambda: libvirt_qemu.qemuAttach(conn, 1, 0)),
        ('domainQemuAgentCommand', lambda: libvirt_qemu.qemuAgentCommand(dom, '{}', 1, 0)),
        ('domainLxcOpenNamespace', lambda: libvirt_lxc.lxcOpenNamespace(dom, 0)),
        ('domainGetLaunchSecurityInfo', dom.launchSecurityInfo),
        ('domainSetLaunchSecurityState', lambda: dom.setLaunchSecurityState({'sev-secret': 'x'})),
    ]


def changing(conn, dom, xml):
    """All that changes something, for somebody who may not."""
    return [
        lambda: conn.defineXML(xml), lambda: conn.defineXMLFlags(xml), lambda: conn.createXML(xml),
        lambda: conn.domainXMLToNative('vmm-json', xml),
        lambda: conn.domainXMLFromNative('vmm-json', '{}'),
        lambda: conn.setMemoryParameters({'shm_sleep_millisecs': 20}),
        lambda: conn.allocPages({2048: 0}, 0, 1), dom.create, lambda: dom.createWithFlags(0),
        dom.undefine, dom.undefineFlags, lambda: dom.rename('other-name'), dom.shutdown,
        dom.shutdownFlags, dom.reboot, dom.reset, dom.destroy, dom.destroyFlags, dom.suspend,
        dom.resume,
        lambda: dom.setAutostart(1), lambda: dom.XMLDesc(L.VIR_DOMAIN_XML_SECURE),
        lambda: dom.setMetadata(L.VIR_DOMAIN_METADATA_TITLE, 'U', None, None, BOTH),
        lambda: dom.openConsole(None, conn.newStream(0)), lambda: dom.pinVcpu(0, (True,)),
        lambda: dom.pinVcpuFlags(0, (True,)), lambda: dom.pinEmulator((True,)),
        lambda: dom.setSchedulerParameters({'cpu_shares': 7}),
        lambda: dom.setSchedulerParametersFlags({'cpu_shares': 7}, 2),
        lambda: dom.setMemoryParameters({'soft_limit': 400000}, 2), lambda: dom.hostname(1)]


def everything(conn):
    return [(d.name(), d.state(), d.autostart(), d.isPersistent(), d.XMLDesc(),
             d.XMLDesc(L.VIR_DOMAIN_XML_INACTIVE)) for d in conn.listAllDomains()]


# What a host or a guest may not have, said in these words, while the method works.
ABSENT = {'connectGetSysinfo': 'no SMBIOS information', 'domainGetHostname': 'has a lease'}


def main():
    eventloop.start()
    said = table()
    conn = libvirt.open('hv:///system')
    with open(sys.argv[1]) as f:
        xml = f.read()
    print('TAP version 13\n1..5', flush=True)
    failed, works = [], working(conn, xml)
    for method, call in works:
        try:
            call()
        except Exception as e:
            if ABSENT.get(method, '\0') not in str(e):
                failed.append(f'{method}: {e!r}')
    check('what works, works', not failed, failed)
    dom = conn.lookupByName(re.search('<name>(.*?)</name>', xml).group(1))
    dom.create()
    failed, refused = [], unsupported(conn, dom, xml)
    for method, call in refused:
        libvirt.virResetLastError()
        try:
            call()
        except Exception as e:
            if not isinstance(e, libvirt.libvirtError):
                failed.append(f'{method}: {e!r}')
                continue
        # Some calls of python3-libvirt raise nothing.
        code, message = (libvirt.virGetLastError() or [0, 0, 'no error'])[0:3:2]
        # Before typed parameters are set, or names listed, python3-libvirt asks for their number.
        named = re.sub('.*driver: vir', '', message).lower()
        if code != L.VIR_ERR_NO_SUPPORT or named not in (
                method.lower(), method.lower().replace('domainset', 'domainget'),
                method.lower().replace('listnames', 'num')):
            failed.append(f'{method}: {code} {message}')
    check('what is later or refused says so, by its name', not failed, failed)
    check('the guest is as it was', dom.isActive() == 1 and dom.state()[0] == L.VIR_DOMAIN_RUNNING)
    looker = libvirt.openReadOnly('hv:///system')
    before, failed = everything(conn), []
    for n, call in enumerate(changing(looker, looker.lookupByName(dom.name()), xml)):
        try:
            call()
            failed.append(f'call {n}: no error')
        except libvirt.libvirtError as e:
            if e.get_error_code() != L.VIR_ERR_OPERATION_DENIED:
                failed.append(f'call {n}: {e}')
    check('a read-only connection can change nothing',
          not failed and everything(conn) == before, failed)
    dom.destroy()
    dom.undefine()
    called = {'works': {m for m, _ in works}, 'other': {m for m, _ in refused}}
    wrong = [f'{m}: {said.get(m)}' for m in called['works'] if said.get(m) != 'works']
    wrong += [f'{m}: {said.get(m)}' for m in called['other']
              if said.get(m) not in ('later', 'refused')]
    wrong += [f'{m} is not called' for m in set(said) - called['works'] - called['other'] -
              MIGRATION_STEPS - ELSEWHERE - NOT_CALLABLE]
    check('and so has the documentation, with no method left out', not wrong, wrong)
    os._exit(1 if bad else 0)       # the event thread waits for ever


main()
