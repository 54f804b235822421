#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Several clients at once, each with calls of all kinds on its own and on everybody's domains.

stress.py XML CLIENTS CALLS [SEED] - CALLS is the sum. Fails if the daemon goes away, if an error comes
that these calls cannot give, or if afterwards a domain cannot be used any more.
"""
import multiprocessing
import random
import re
import sys

import libvirt

# What may happen when others start, stop and undefine the same domains.
EXPECTED = {libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_DOM_EXIST,
            libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_INVALID_ARG,
            libvirt.VIR_ERR_OPERATION_TIMEOUT, libvirt.VIR_ERR_NO_NAME}


def calls(conn, names, xml):
    def on(f):
        return lambda r: f(conn.lookupByName(r.choice(names)))

    def define(r):
        name = r.choice(names)
        conn.defineXML(re.sub(r'<name>.*?</name>', f'<name>{name}</name>', re.sub(
            r'<uuid>.*?</uuid>', '<uuid>8f0c1c70-0000-4000-8000-%012d</uuid>' % names.index(name),
            xml)))
    return [define, define, on(lambda d: d.create()), on(lambda d: d.create()),
            on(lambda d: d.destroy()), on(lambda d: d.undefine()), on(lambda d: d.suspend()),
            on(lambda d: d.resume()), on(lambda d: d.reset()), on(lambda d: d.shutdown()),
            on(lambda d: d.XMLDesc(0)), on(lambda d: d.info()), on(lambda d: d.state()),
            on(lambda d: d.blockStats('vda')), on(lambda d: d.vcpus()), on(lambda d: d.memoryStats()),
            on(lambda d: d.pinVcpuFlags(0, (True,), 2)), on(lambda d: d.setAutostart(1)),
            lambda r: conn.getAllDomainStats(), lambda r: conn.getAllDomainStats(
                0, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT),
            lambda r: conn.listAllDomains(), lambda r: conn.getCapabilities(),
            lambda r: conn.defineXML('<domain/>')]


def client(seed, count, xml, names, problems):
    libvirt.registerErrorHandler(lambda *_: None, None)
    r = random.Random(seed)
    try:
        conn = libvirt.open('hv:///system')
        table = calls(conn, names, xml)
        for _ in range(count):
            try:
                r.choice(table)(r)
            except libvirt.libvirtError as e:
                # Its process may end while its threads are looked at.
                if e.get_error_code() not in EXPECTED and 'No such process' not in str(e):
                    problems.put(f'client {seed}: {e.get_error_code()} {e}')
        conn.close()
    except Exception as e:
        problems.put(f'client {seed}: {e!r}')


def main():
    path, clients, total = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 30)
    print(f'# seed {seed}')
    with open(path) as f:
        xml = f.read()
    names = [f's{i}' for i in range(clients + 1)]
    problems = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=client, args=(seed + i, total // clients, xml, names,
                                                            problems)) for i in range(clients)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    libvirt.registerErrorHandler(lambda *_: None, None)
    conn = libvirt.open('hv:///system')
    for dom in conn.listAllDomains():
        persistent = dom.isPersistent()
        if dom.isActive():
            dom.destroy()
        if persistent:
            dom.create()            # nothing is stuck
            dom.destroy()
            dom.undefine()
    left = conn.listAllDomains()
    bad = len(left)
    while not problems.empty():
        print('# ' + problems.get())
        bad += 1
    print(f'# {total} calls by {clients} clients, {bad} problems')
    sys.exit(1 if bad else 0)


main()
