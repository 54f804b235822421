#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""python3-libvirt with an event loop: a guest's whole life as a client sees it; prints KTAP.

events.py XML CASE_OFFSET - the domain is named "tr".
"""
import os
import queue
import sys
import threading

import libvirt

LIMIT = 60 * int(os.environ.get('HV_SLOW', 1))
case = bad = 0
seen = queue.Queue()


def check(what, ok, why=''):
    global case, bad
    case += 1
    bad += not ok
    if not ok:
        print(f'# {why}')
    print(f'{"ok" if ok else "not ok"} {case} {what}', flush=True)


def loop():
    while True:
        libvirt.virEventRunDefaultImpl()


def lifecycle(_conn, dom, event, detail, _opaque):
    seen.put((dom.name(), event, detail))


def reboot(_conn, dom, _opaque):
    seen.put((dom.name(), 'reboot', 0))


def expect(what, *wanted):
    """The next events, in this order."""
    got = []
    try:
        for _ in wanted:
            got.append(seen.get(timeout=LIMIT)[1:])
    except queue.Empty:
        pass
    check(what, got == list(wanted), f'expected {wanted}, have {got}')


print('TAP version 13\n1..14', flush=True)
libvirt.registerErrorHandler(lambda *_: None, None)
libvirt.virEventRegisterDefaultImpl()
threading.Thread(target=loop, daemon=True).start()
conn = libvirt.open('hv:///system')
conn.setKeepAlive(5, 3)
conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None)
conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, reboot, None)
with open(sys.argv[1]) as f:
    xml = f.read()
L = libvirt
dom = conn.defineXML(xml)
expect('defined', (L.VIR_DOMAIN_EVENT_DEFINED, L.VIR_DOMAIN_EVENT_DEFINED_ADDED))
dom.create()
expect('started', (L.VIR_DOMAIN_EVENT_STARTED, L.VIR_DOMAIN_EVENT_STARTED_BOOTED))
check('it is active', dom.isActive() == 1 and dom.ID() > 0)
dom.suspend()
expect('suspended', (L.VIR_DOMAIN_EVENT_SUSPENDED, L.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED))
check('its state is paused at once', dom.state() == [L.VIR_DOMAIN_PAUSED, L.VIR_DOMAIN_PAUSED_USER])
dom.resume()
expect('resumed', (L.VIR_DOMAIN_EVENT_RESUMED, L.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED))
dom.reset()
expect('reset', ('reboot', 0))
dom.reboot()
expect('reboot by the power button', ('reboot', 0))
stats = conn.getAllDomainStats()
check('statistics of all domains', len(stats) == 1 and stats[0][1]['vcpu.current'] == 2 and
      'block.0.rd.bytes' in stats[0][1], stats)
info = dom.info()
check('info counts CPU time', info[0] == L.VIR_DOMAIN_RUNNING and info[3] == 2 and info[4] > 0, info)
dom.shutdown()
expect('shut down', (L.VIR_DOMAIN_EVENT_SHUTDOWN, L.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST),
       (L.VIR_DOMAIN_EVENT_STOPPED, L.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN))
dom.create()
dom.destroy()
expect('started and destroyed', (L.VIR_DOMAIN_EVENT_STARTED, L.VIR_DOMAIN_EVENT_STARTED_BOOTED),
       (L.VIR_DOMAIN_EVENT_STOPPED, L.VIR_DOMAIN_EVENT_STOPPED_DESTROYED))
dom.undefine()
expect('undefined', (L.VIR_DOMAIN_EVENT_UNDEFINED, L.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED))
# A client that goes takes its guest along, if it said so.
other = libvirt.open('hv:///system')
other.createXML(xml, L.VIR_DOMAIN_START_AUTODESTROY)
other.close()
expect('autodestroy', (L.VIR_DOMAIN_EVENT_STARTED, L.VIR_DOMAIN_EVENT_STARTED_BOOTED),
       (L.VIR_DOMAIN_EVENT_STOPPED, L.VIR_DOMAIN_EVENT_STOPPED_DESTROYED))
sys.stdout.flush()
os._exit(1 if bad else 0)
