#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The driver in this process (hv:///embed): XML to the vmm's configuration and back, refusals.

golden.py [--update] - with --update the expected files are written instead of compared.
"""
import glob
import os
import sys
import tempfile
import xml.etree.ElementTree as ET

import eventloop
import libvirt

here = os.path.dirname(os.path.realpath(__file__))
update = sys.argv[1:] == ['--update']
case = bad = 0


def check(what, ok, why=''):
    global case, bad
    case += 1
    bad += not ok
    for line in str(why).splitlines() if not ok else []:
        print('# ' + line)
    print(f'{"ok" if ok else "not ok"} {case} {what}')


def golden(what, path, text):
    """Compare with the expected file."""
    text = text.replace(" clusters='1'", '')        # later versions of libvirt write it
    if update:
        with open(path, 'w') as f:
            f.write(text)
    try:
        with open(path) as f:
            expected = f.read()
    except OSError as e:
        expected = str(e)
    check(what, text == expected, f'expected ({path}):\n{expected}\nbut have:\n{text}')


def refused(call, *args):
    try:
        call(*args)
        return ''
    except libvirt.libvirtError as e:
        return e.get_error_message()


def cases():
    with open(os.path.join(here, 'refused')) as f:
        for line in f:
            if line.strip() and not line.startswith('#'):
                yield [part.strip() for part in line.split(' | ')]


def altered(where, what):
    """The small domain with one thing more."""
    root = ET.parse(os.path.join(here, 'xml/small.xml')).getroot()
    node = root if where == '/domain' else root.find('.' + where[len('/domain'):])
    if what.startswith('@'):
        name, _, value = what[1:].rpartition('=')
        node.set(name, value)
    elif what.startswith('='):
        node.text = what[1:]
    else:
        fresh = set()           # what is given twice is there twice
        for new in ET.fromstring(f'<x>{what}</x>'):
            if where == '/domain' and new.tag not in fresh and root.find(new.tag) is not None:
                root.remove(root.find(new.tag))
            fresh.add(new.tag)
            node.append(new)
    return ET.tostring(root, encoding='unicode')


def main():
    eventloop.start()
    xmls = sorted(p for p in glob.glob(os.path.join(here, 'xml/*.xml')) if '.out.' not in p)
    refusals = list(cases())
    print('TAP version 13')
    print(f'1..{3 * len(xmls) + len(refusals) + 13}')
    with tempfile.TemporaryDirectory() as root:
        conn = libvirt.open(f'hv:///embed?root={root}')
        for path in xmls:
            name = os.path.basename(path)[:-4]
            with open(path) as f:
                xml = f.read()
            dom = conn.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
            out = dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            golden(f'{name}: dumpxml', path[:-4] + '.out.xml', out)
            config = conn.domainXMLToNative('vmm-json', xml)
            golden(f'{name}: configuration', path[:-4] + '.json', config)
            again = conn.defineXML(out).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            check(f'{name}: what dumpxml gives can be defined, and is the same', again == out, again)
            dom.undefine()
        # From a configuration and back: nothing of it is lost.
        for name in ('minimal', 'user'):
            with open(os.path.join(here, f'xml/{name}.json')) as f:
                config = f.read()
            back = conn.domainXMLFromNative('vmm-json', config)
            again = conn.domainXMLToNative('vmm-json', back)
            check(f'{name}: configuration to XML and back', again == config, f'{back}\n{again}')
        why = refused(conn.domainXMLFromNative, 'vmm-json', '{"debug": {"exit": true}}')
        check('a key without a place in XML is refused by name', "'debug'" in why, why)
        why = refused(conn.domainXMLFromNative, 'vmm-json', '{"memory": "5X"}')
        check('a size that is none is refused', "'5X'" in why, why)
        why = refused(conn.domainXMLFromNative, 'vmm-json', '{"initrd": ["/a", "/b"]}')
        check('a key of another type is refused', "'initrd' is no JSON string" in why, why)
        why = refused(conn.domainXMLFromNative, 'vmm-json', '{"net": ["user"]}')
        check('so is one in a list', "'net.0' is no JSON object" in why, why)
        why = refused(conn.domainXMLFromNative, 'vmm-json', '[1]')
        check('what is no configuration is refused', 'no configuration' in why, why)
        check('the format is named', "'vmm-json'" in refused(conn.domainXMLToNative, 'qemu', '<x/>'))
        before = sorted(os.listdir(f'{root}/etc/hv'))
        for where, what, name in refusals:
            why = refused(conn.defineXML, altered(where, what))
            check(f'refused: {where} {what}', name in why, f'names not {name}: {why}')
        check('refusals leave nothing', sorted(os.listdir(f'{root}/etc/hv')) == before and
              not conn.listAllDomains(), os.listdir(f'{root}/etc/hv'))
        why = refused(conn.defineXML, '<domain type="hv"><name>x')
        check('XML that ends early is an error', 'XML' in why.upper() or 'domain' in why, why)
        with open(os.path.join(here, 'xml/small.xml')) as f:
            small = f.read()
        why = refused(conn.defineXML, '<!DOCTYPE domain [<!ENTITY e "<sound/>">]>' +
                      small.replace('<devices>', '<devices>&e;'))
        check('what hides in an entity is refused', 'document type' in why, why)
        why = refused(conn.defineXML, small.replace('<domain', '<x:domain xmlns:x="urn:x"')
                      .replace('</domain', '</x:domain'))
        check('a domain of another namespace is refused', 'urn:x' in why, why)
        why = refused(libvirt.open, 'hv:///embed?root=/nonexistent/x')
        check('another root in the same process is refused', 'root' in why, why)
        conn.close()
    sys.stdout.flush()
    os._exit(1 if bad else 0)       # the event thread waits for ever


main()
