#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The table of methods in Documentation/libvirt.rst against the sources: drivers.py LIBVIRT_SOURCE

Every method that libvirt's table of a driver has is in it, once, with the drivers that come with
libvirt as their sources are, and with ours as it is.
"""
import re
import sys


def slots(path, prefix=''):
    with open(path) as f:
        return set(re.findall(r'^\s*\.(\w+) = %s\w+,' % prefix, f.read(), re.M))


src = sys.argv[1] + '/src'
with open(src + '/driver-hypervisor.h') as f:
    table = re.search(r'struct _virHypervisorDriver \{(.*?)^\};', f.read(), re.S | re.M).group(1)
methods = re.findall(r'^\s*virDrv\w+ (\w+);', table, re.M)
drivers = [slots('libhv/libvirt/hv_driver.c', 'hv'), slots(src + '/ch/ch_driver.c'),
           slots(src + '/bhyve/bhyve_driver.c'), slots(src + '/qemu/qemu_driver.c')]
with open('Documentation/libvirt.rst') as f:
    rows = re.findall(r'^(\w+) +(works|later|refused) +([x-]) +([x-]) +([x-])$',
                      f.read().partition('\nMethods\n')[2], re.M)
said = {row[0]: row[1:] for row in rows}
wrong = 0
for m in sorted(set(methods) | {row[0] for row in rows}):
    if m not in methods or sum(row[0] == m for row in rows) != 1:
        wrong += 1
        print(f'{m}: a line for it is missing, is there twice, or there is no such method')
        continue
    has = [m in d for d in drivers]
    if [said[m][0] == 'works'] + [x == 'x' for x in said[m][1:]] != has:
        wrong += 1
        print(f'{m}: {" ".join(said[m])}, but hv, ch, bhyve and qemu have it: {has}')
sys.exit(1 if wrong or not rows else 0)
