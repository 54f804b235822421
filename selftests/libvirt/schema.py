#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Nothing of a domain's XML is silently ignored: libvirt's schema, tried in hv:///embed.

From the golden files and from the schema come some thousand domains, each a golden one with one
thing altered: an element more, an element twice, an attribute more or with each value the schema
knows for it, a text. Each is either refused, or all of it is in what dumpxml gives. What neither
the driver's list (hv_elements.c) nor the schema of this version names is refused as well.
"""
import collections
import copy
import glob
import os
import re
import sys
import tempfile
import xml.etree.ElementTree as ET

import eventloop
import libvirt

here = os.path.dirname(os.path.realpath(__file__))
RNG = '{http://relaxng.org/ns/structure/1.0}'
SCHEMAS = '/usr/share/libvirt/schemas/'
KEPT = 'metadata'                       # what is in it is nobody's business
# Of what is taken, all that has no effect: libvirt writes it, and takes it back. "." is <domain>;
# clusters are of later versions, and can be one only.
WITHOUT_EFFECT = {('.', 'id'), ('devices/disk/source', 'index'),
                  ('devices/interface/source', 'portid'),
                  ('devices/interface/source', 'bridge of a network'), ('cpu/topology', 'clusters')}
UNITS = {'': 1024, 'b': 1, 'bytes': 1, 'KB': 1000, 'k': 1024, 'KiB': 1024, 'MB': 10**6,
         'M': 1 << 20, 'MiB': 1 << 20,
         'GB': 10**9, 'G': 1 << 30, 'GiB': 1 << 30, 'TB': 10**12, 'T': 1 << 40, 'TiB': 1 << 40}
# What an attribute without a list of values in the schema is tried with.
VALUES = ['x9', '7', '0', '/nonexistent', 'yes', 'no', '52:54:00:00:00:01', '']
case = bad = 0


def check(what, wrong):
    """A case; it has failed for each of a list of lines."""
    global case, bad
    case += 1
    bad += bool(wrong)
    for line in wrong[:200]:
        print('# ' + line.replace('\n', ' '))
    print(f'{"not ok" if wrong else "ok"} {case} {what}', flush=True)


# -- the schema -----------------------------------------------------------------------------

def defines(path, into):
    """All definitions of a file of the schema; those of the including file win."""
    root = ET.parse(path).getroot()
    for include in root.findall(RNG + 'include'):
        defines(SCHEMAS + include.get('href'), into)
        into.update((d.get('name'), d) for d in include.findall(RNG + 'define'))
    into.update((d.get('name'), d) for d in root.findall(RNG + 'define'))
    return into


def parts(nodes, schema, want, seen=None):
    """The elements, attributes or values (want) right below these nodes of the schema."""
    seen = set() if seen is None else seen
    for node in nodes:
        for child in node:
            tag = child.tag[len(RNG):] if isinstance(child.tag, str) else ''
            if tag == want:
                yield child
            elif tag == 'ref':
                if child.get('name') not in seen:
                    seen.add(child.get('name'))
                    yield from parts([schema[child.get('name')]], schema, want, seen)
            elif tag not in ('element', 'attribute'):
                yield from parts([child], schema, want, seen)


def named(nodes):
    """By name; those of other namespaces and any name are left out, the driver takes none."""
    found = collections.defaultdict(list)
    for node in nodes:
        if node.get('name'):
            found[node.get('name')].append(node)
    return found


# -- the driver's list ----------------------------------------------------------------------

def listed():
    """Path: {attribute: words or None}"""
    with open(os.path.join(here, '../../libhv/libvirt/hv_elements.c')) as f:
        table = re.search(r'elements\[\] = \{\n(.*?)^\};', f.read(), re.S | re.M).group(1)
    found = collections.defaultdict(dict)
    for path, attributes in re.findall(r'^\t\{ "([^"]*)"(?:, (?:NULL|"([^"]*)"))?', table, re.M):
        found[path or '.']
        for a in attributes.split():
            name, _, words = a.partition('=')
            found[path or '.'][name] = words.split('|') if words else None
    return found


def documented():
    """Path: works, later or refused"""
    with open(os.path.join(here, '../../Documentation/libvirt.rst')) as f:
        text = f.read().partition('Every element')[2].partition('\nMethods\n')[0]
    return {'.' if path == 'domain' else path: state for path, state in re.findall(
        r'^(\S+) +(works|later|refused) +[x-] +[x-] +[x-]$', text, re.M)}


def elements(nodes, schema, table, path='.'):
    """All elements of the schema, down to those that the driver does not take."""
    yield path
    if path in table and path != KEPT:
        for name, below in named(parts(nodes, schema, 'element')).items():
            yield from elements(below, schema, table, name if path == '.' else f'{path}/{name}')


# -- documents ------------------------------------------------------------------------------

def walk(node, path='.'):
    yield node, path
    if path != KEPT:
        for child in node:
            if isinstance(child.tag, str):
                yield from walk(child, child.tag if path == '.' else f'{path}/{child.tag}')


def cpus(text):
    out = set()
    for part in text.split(','):
        first, _, last = part.partition('-')
        out |= set(range(int(first), int(last or first) + 1))
    return sorted(out)


def contents(root):
    """All that is said, in one form for what can be said in several."""
    said = collections.Counter()
    for node, path in walk(root):
        text = (node.text or '').strip()
        # An empty one says nothing, but for what is there or not.
        if text or len(node) or node.attrib or path.startswith(('devices/', 'features/')):
            said[path, ''] += 1
        if text and (path.startswith('memtune/') or path in ('memory', 'currentMemory')):
            text = str(int(text) * UNITS.get(node.get('unit', 'KiB'), 0))
        if text and path != KEPT:
            said[path, f'={text}'] += 1
        for name, value in node.attrib.items():
            if (path, name) == ('devices/interface/source', 'bridge') and 'network' in node.attrib:
                name = 'bridge of a network'
            if (path, name, value) in [('devices/disk/driver', 'cache', 'default'),
                                       ('vcpu', 'current', text)]:
                continue                # as if it were not there
            if (path, name) in WITHOUT_EFFECT or path.endswith('/alias') or name == 'unit':
                continue
            if (path, name, value) == ('.', 'type', 'hv'):
                value = 'kvm'
            if name == 'cpuset' and re.fullmatch('[0-9,-]+', value):
                value = str(cpus(value))
            said[path, f'{name}={value}'] += 1
    for path in [p for p, what in said if p.endswith('/alias')]:
        del said[path, '']
    return said


def mutations(docs, schema, start, table):
    """(what was done, path, the new thing's name or None, document)"""
    nodes = {'.': start}
    samples = {}
    for doc in docs:
        for node, path in walk(doc):
            samples.setdefault(path, node)
    for path in sorted(table, key=lambda p: p.count('/') + (p != '.')):
        if path != '.':
            up, _, name = path.rpartition('/')
            nodes[path] = named(parts(nodes[up or '.'], schema, 'element'))[name]
    for doc in docs:
        for n, (node, path) in enumerate(walk(doc)):
            if path == KEPT:
                continue

            def altered(change):
                new = copy.deepcopy(doc)
                change(next(x for i, (x, _) in enumerate(walk(new)) if i == n))
                return new
            inside = set(named(parts(nodes[path], schema, 'element')))
            below = {p.rpartition('/')[2] for p in table
                     if p != '.' and (p.rpartition('/')[0] or '.') == path}
            for name in sorted(inside | below | {'bogus'}):
                there = name if path == '.' else f'{path}/{name}'
                new = samples[there] if name in below else ET.Element(name)
                if name in below:
                    again = altered(lambda x: x.append(copy.deepcopy(new)))
                    yield f'{there} once more', path, None, again
                    bare = ET.Element(name)
                    yield f'{there} without anything', path, None, altered(lambda x: x.append(bare))
                else:
                    yield f'{there}', path, name, altered(lambda x: x.append(copy.deepcopy(new)))
            values = {a: [v.text for v in parts(list(defs), schema, 'value')]
                      for a, defs in named(parts(nodes[path], schema, 'attribute')).items()}
            for name in sorted(set(values) | set(table[path]) | {'bogus'}):
                known = name in table[path]
                words = set(values.get(name, []) + (table[path].get(name) or []))
                for value in sorted(words) or VALUES:
                    if known or value == (values.get(name) or VALUES)[0]:
                        yield (f"{path} {name}='{value}'", path, None if known else name,
                               altered(lambda x: x.set(name, value)))
            yield (f'{path} turned round', path, None,
                   altered(lambda x: x.__setitem__(slice(None), x[::-1])))
            for text in ['junk', '7'] + [v.text for v in parts(nodes[path], schema, 'value')]:
                yield (f'{path} with text {text}', path, None,
                       altered(lambda x: setattr(x, 'text', text)))


def main():
    eventloop.start()
    schema = defines(SCHEMAS + 'domain.rng', {})
    start = [e for e in schema['domain'] if e.tag == RNG + 'element']
    table = listed()
    docs = [ET.parse(p).getroot() for p in sorted(glob.glob(os.path.join(here, 'xml/*.xml')))
            if '.out.' not in p]
    print('TAP version 13\n1..6')
    said = documented()
    all_elements = set(elements(start, schema, table))
    check('the documentation has every element, as it is', sorted(
        f'{p}: {said.get(p)}' for p in all_elements | set(said)
        if p not in all_elements or p not in said or (said[p] == 'works') != (p in table)))
    met = {path for doc in docs for _, path in walk(doc)}
    check('each element of the list is in a golden file', sorted(set(table) - met))
    met = {(path, a) for doc in docs for node, path in walk(doc) for a in node.attrib}
    check('and each attribute', sorted(f'{p} {a}' for p in table for a in table[p]
                                     if (p, a) not in met | WITHOUT_EFFECT))
    ignored, unnamed, taken, refused = [], [], 0, 0
    with tempfile.TemporaryDirectory() as root:
        conn = libvirt.open(f'hv:///embed?root={root}')
        for what, path, name, doc in mutations(docs, schema, start, table):
            try:
                dom = conn.defineXML(ET.tostring(doc, encoding='unicode'))
            except libvirt.libvirtError as e:
                refused += 1
                if name and name not in e.get_error_message():
                    unnamed.append(f'{what}: {e.get_error_message()}')
                continue
            taken += 1
            out = ET.fromstring(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            dom.undefine()
            lost = contents(doc) - contents(out)
            if name or lost:
                ignored.append(f'{doc.findtext("name")}: {what}: is lost: {dict(lost)}')
        conn.close()
    print(f'# {refused} refused, {taken} taken')
    check('enough was tried', [] if refused > 3000 and taken > 100 else ['too little'])
    check('nothing is silently ignored', ignored)
    check('what is not in the list is refused by name', unnamed)
    sys.stdout.flush()
    os._exit(1 if bad else 0)       # the event thread waits for ever


main()
