# SPDX-License-Identifier: GPL-2.0-only
"""The emulated Intel host of hvhost: Bochs, which emulates VMX (QEMU does not).

Bochs boots from disk images only and shares no files with its host. So kernel and initramfs are
on a GRUB ISO made for the run, and everything the command needs is packed into the initramfs:
the work tree, python, a set of ordinary commands, and whatever file the command line names, each
with the libraries and interpreters it needs. There init.c finds it as it finds the build
machine's root under QEMU. The link is the second serial port, which Bochs ties to a
pseudo-terminal; a thread carries the bytes between that and the socket that hvhost reads.
"""

import fcntl
import glob
import os
import re
import select
import shutil
import socket
import stat
import subprocess
import sys
import termios
import threading
import tty

CPU = {
    'vmx': 'corei7_skylake_x',  # EPT, VPID, unrestricted guest, PML, APIC-register virtualization
    'svm-strict': 'ryzen',      # NPT, next RIP, flush by ASID; checks the VMCB as a CPU does
}
# Bits that Linux is not to believe: XSAVEC and XSAVES, for Bochs gives the wrong size of a compacted
# area; MWAITX, whose timer it has not, so that a delay never ends.
CLEAR = {'vmx': '321,323', 'svm-strict': '321,323,221'}
IPS = 100000000                 # instructions to one second of the host's time
BIOS = '/usr/share/bochs/BIOS-bochs-latest'
VGABIOS = '/usr/share/bochs/VGABIOS-lgpl-latest'
LOWER = 'lower'                 # init.c's name of the build machine's root

COMMANDS = '''
awk basename bash busybox cat chmod cmp cp cpio cut date dd dirname dmesg echo env expr false find
flock grep gzip head hostname id insmod kill ln ls lsmod mkdir mkfifo mknod mkswap mktemp modprobe mount mv nproc
od pgrep printf ps python3 readlink realpath rm rmdir rmmod sed seq setsid sh sleep sort stat
stty swapoff swapon sync sysctl tail taskset tee test timeout touch tr true truncate umount uname
uniq unshare wc xargs
'''.split()
# Parts of python's library that no program here imports.
NO_PYTHON = {'test', 'idlelib', 'lib2to3', 'ensurepip', 'distutils', 'tkinter', 'unittest',
             'pydoc_data', 'turtledemo', 'dist-packages', 'site-packages', 'asyncio', 'xml',
             'sqlite3', 'wsgiref', 'xmlrpc', 'venv', 'dbm', 'curses'}
# Leftovers of building, in the work tree.
NO_TREE = re.compile(r'.*\.(o|a|d|cmd|mod|64|mod\.c|mod\.o)$|\.git$|\.ci$')
MODULES = ['kvm_intel', 'msr', 'overlay', 'loop', 'ext4', 'zram', 'userfaultfd']


class Unavailable(Exception):
    pass


# -- what goes into the initramfs -------------------------------------------------------------

class Pack:
    """Puts files of this machine into the archive, at their own paths below LOWER."""

    def __init__(self, cpio):
        self.cpio, self.have, self.elf = cpio, set(), []
        self.small = None       # a directory to strip programs in

    def path(self, path):
        """One file, directory or link, with every directory and link on the way to it."""
        done, parts = '', [p for p in path.split('/') if p]
        for i, part in enumerate(parts):
            here = f'{done}/{part}'
            st = os.lstat(here)
            if stat.S_ISLNK(st.st_mode):
                target = os.readlink(here)
                self.entry(here, st, os.fsencode(target))
                return self.path(os.path.normpath('/'.join([done or '/', target, *parts[i + 1:]])
                                                  if not target.startswith('/') else
                                                  '/'.join([target, *parts[i + 1:]])))
            if stat.S_ISREG(st.st_mode) and here not in self.have:
                with open(here, 'rb') as f:
                    data = f.read()
                self.entry(here, st, data)
                self.needs(here, data)
            elif stat.S_ISDIR(st.st_mode):
                self.entry(here, st)
            done = here
        return None

    def entry(self, path, st, data=b''):
        if path not in self.have:
            self.have.add(path)
            # Symbols only make the boot longer.
            if self.small and len(data) > 65536 and data.startswith(b'\x7fELF'):
                copy = os.path.join(self.small, 'stripped')
                if not subprocess.run(['strip', '-g', '-o', copy, path]).returncode:
                    with open(copy, 'rb') as f:
                        data = f.read()
            self.cpio.add(LOWER + path, st.st_mode, data, mtime=int(st.st_mtime))

    def needs(self, path, data):
        """What a program of this machine cannot run without."""
        if data.startswith(b'\x7fELF') and os.access(path, os.X_OK) or '.so' in path:
            self.elf.append(path)
        elif data.startswith(b'#!'):
            for word in data[2:data.index(b'\n')].decode(errors='replace').split()[:2]:
                self.command(os.path.basename(word))

    def command(self, name):
        path = shutil.which(name, path='/usr/sbin:/usr/bin:/sbin:/bin')
        if path:
            self.path(path)

    def tree(self, top, leave_out=lambda path, name: False):
        for where, dirs, files in os.walk(top):
            dirs[:] = [d for d in sorted(dirs) if not leave_out(where, d)]
            for name in [*files, *dirs]:
                if not leave_out(where, name) and os.path.exists(os.path.join(where, name)):
                    self.path(os.path.join(where, name))

    def libraries(self):
        """For every program so far; of Python's own only what this machine has."""
        programs = [p for p in self.elf if '/lib-dynload/' not in p]
        r = subprocess.run(['ldd', *programs], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                           text=True)
        for library in sorted(set(re.findall(r'(/\S+) \(0x', r.stdout))):
            self.path(library)


def named_files(words):
    """Existing absolute paths in the words of a command, also inside `sh -c` scripts."""
    for word in words:
        for path in re.findall(r'/[^\s\'"`;&|()<>=,:]+', word):
            if os.path.lexists(path) and path.count('/') > 1:
                yield path


def add_files(cpio, args, paths, tree, cache, tmp):
    p = Pack(cpio)
    cpio.add(LOWER, 0o040755)
    for d in ('/tmp', '/run', '/proc', '/sys', '/dev', '/var', '/etc', '/root', '/mnt'):
        cpio.add(LOWER + d, 0o041777 if d == '/tmp' else 0o040755)
        p.have.add(d)
    for f in ('/etc/passwd', '/etc/group', '/etc/nsswitch.conf', '/etc/ld.so.cache', '/bin',
              '/sbin', '/lib', '/lib64'):
        p.path(f)
    for name in COMMANDS:
        p.command(name)
    python = subprocess.run(['/usr/bin/python3', '-c', 'import os; print(os.__file__)'],
                            stdout=subprocess.PIPE, text=True).stdout
    p.tree(os.path.dirname(python.strip()),
           lambda where, name: name in NO_PYTHON or name.startswith('config-'))

    def leftover(where, name):
        return (NO_TREE.match(name) or name in ('check', 'guest', 'unit') and 'build' in where)

    p.small = tmp
    p.path(os.getcwd())
    p.tree(tree, leftover)
    for d in args.share:
        p.path(d)
        p.tree(d, leftover)
    for f in named_files(args.command):
        p.path(f)
        # A directory of the cache or the machine is not meant as a whole.
        if os.path.isdir(f) and not f.startswith((tree, cache)) and f.startswith('/tmp/'):
            p.tree(f)
    # The kernel itself, for guests, and what selftests/testbed/kernels reads.
    for f in (paths['image'], os.path.join(cache, 'kernels', args.kernel, 'paths')):
        p.path(f)
    exe = shutil.which(args.command[0])
    if exe:
        p.path(os.path.abspath(exe))
    p.libraries()
    add_modules(cpio, p, paths)


def add_modules(cpio, p, paths):
    """The modules that tests load, at /lib/modules."""
    p.small = None
    root = os.path.dirname(os.path.dirname(paths['modules']))
    version = paths['version']
    top = os.path.join(paths['modules'], version)
    inside = f'/usr/lib/modules/{version}'

    def put(path):
        names = os.path.relpath(path, top).split('/')
        for i in range(len(names)):
            d = '/'.join([inside, *names[:i]])
            p.entry(d, os.stat('/usr'))
        with open(path, 'rb') as f:
            p.entry('/'.join([inside, *names]), os.stat(path), f.read())

    p.entry('/usr/lib/modules', os.stat('/usr'))
    for name in glob.glob(os.path.join(top, 'modules.*')):
        put(name)
    for name in MODULES:
        r = subprocess.run(['modprobe', '-d', root, '-S', version, '--show-depends', name],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in r.stdout.splitlines():
            word = line.split()
            if word[0] == 'insmod':
                put(word[1])


# -- the machine ------------------------------------------------------------------------------

def bochsrc(args, iso, log, bochs_log, link):
    return '\n'.join([
        f'megs: {args.memory}',
        f'cpu: model={args.bochs_cpu or CPU[args.cpu]}, count=1, ips={IPS}, reset_on_triple_fault=0',
        f'romimage: file={BIOS}',
        f'vgaromimage: file={VGABIOS}',
        'display_library: sdl2',
        'clock: sync=none, time0=local',
        'pci: enabled=1, chipset=i440fx',
        'mouse: enabled=0',
        'boot: cdrom',
        'ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14',
        f'ata0-master: type=cdrom, path={iso}, status=inserted',
        f'com1: enabled=1, mode=file, dev={log}',
        f'com2: enabled=1, mode=term, dev={link}',
        f'log: {bochs_log}',
        # A guest's triple fault on AMD: said to be one of the machine before it is the guest's exit.
        'panic: action=fatal' + (', cpu0=report' if args.cpu == 'svm-strict' else ''),
        'error: action=ignore',
        'info: action=ignore',
        'debug: action=ignore\n',
    ])


def make_iso(tmp, kernel, cpio, cmdline):
    root = os.path.join(tmp, 'iso')
    os.makedirs(os.path.join(root, 'boot', 'grub'))
    shutil.copyfile(kernel, os.path.join(root, 'boot', 'vmlinuz'))
    with open(os.path.join(root, 'boot', 'initrd'), 'wb') as f:
        f.write(cpio.out)
    with open(os.path.join(root, 'boot', 'grub', 'grub.cfg'), 'w') as f:
        f.write(f'terminal_input console\nterminal_output console\n'
                f'linux /boot/vmlinuz {cmdline}\ninitrd /boot/initrd\nboot\n')
    iso = os.path.join(tmp, 'host.iso')
    r = subprocess.run(['grub-mkrescue', '-o', iso, root],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       stdin=subprocess.DEVNULL)
    if r.returncode:
        raise Unavailable(f'grub-mkrescue: {r.stdout.strip()}')
    shutil.rmtree(root)
    return iso


class Relay(threading.Thread):
    """Bytes between the serial port and hvhost, until the machine is gone or has given up."""

    def __init__(self, process, master, sock, log, end):
        super().__init__(daemon=True)
        self.process, self.master, self.sock, self.log = process, master, sock, log
        self.end = end          # what the kernel says when the machine goes
        self.seen, self.over = 0, 0

    def ended(self):
        """Did the host reset, power off or panic? A panic gets time for its last words."""
        try:
            with open(self.log, 'rb') as f:
                f.seek(max(self.seen - 64, 0))
                data = f.read()
                self.seen = max(self.seen, f.tell())
        except OSError:
            return False
        if re.search(self.end, data):
            self.over += 1
        return self.over > 0

    def run(self):
        to_host, to_hvhost = bytearray(), bytearray()
        try:
            while self.process.poll() is None:
                if self.ended():
                    self.over += 1
                    if self.over > 8:
                        break
                read = [self.sock] if len(to_host) < 65536 else []
                read += [self.master] if len(to_hvhost) < 65536 else []
                write = ([self.master] if to_host else []) + ([self.sock] if to_hvhost else [])
                ready, can, _ = select.select(read, write, [], 0.5)
                if self.sock in ready:
                    data = self.sock.recv(65536)
                    if not data:
                        break
                    to_host += data
                if self.master in ready:
                    to_hvhost += os.read(self.master, 65536)
                if self.master in can:
                    n = os.write(self.master, to_host[:256])
                    del to_host[:n]
                if self.sock in can:
                    n = self.sock.send(to_hvhost)
                    del to_hvhost[:n]
            if to_hvhost:
                self.sock.sendall(to_hvhost)
        except OSError:
            pass
        self.sock.close()


def start(args, tmp, paths, cpio, log, cmdline, tree, cache):
    """Returns the process and the socket of the link."""
    for program in ('bochs', 'grub-mkrescue', 'xorriso', 'mformat'):
        if not shutil.which(program):
            raise Unavailable(f'no {program}; selftests/setup installs what is missing')
    add_files(cpio, args, paths, tree, cache, tmp)
    cpio.add('TRAILER!!!', 0)
    iso = make_iso(tmp, paths['image'], cpio, cmdline)
    master, slave = os.openpty()    # the slave stays open here, or the master would see its end
    tty.setraw(slave, termios.TCSANOW)
    fcntl.fcntl(master, fcntl.F_SETFL, os.O_NONBLOCK)
    rc, script = os.path.join(tmp, 'bochsrc'), os.path.join(tmp, 'debugger')
    with open(rc, 'w') as f:
        f.write(bochsrc(args, iso, log, os.path.join(tmp, 'bochs.log'), os.ttyname(slave)))
    with open(script, 'w') as f:
        # Debian's Bochs has its debugger built in, and waits there: at the start, and at each triple
        # fault of a guest on AMD.
        f.write('c\n' * 10000)
    env = dict(os.environ, SDL_VIDEODRIVER='dummy', SDL_AUDIODRIVER='dummy')
    errors = open(os.path.join(tmp, 'qemu.err'), 'wb')
    out = open(os.path.join(tmp, 'bochs.out'), 'wb')
    process = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', 'bochs', '-q', '-f', rc,
                                '-rc', script], stdin=subprocess.DEVNULL, stdout=out,
                               stderr=errors, start_new_session=True, env=env)
    ours, theirs = socket.socketpair()
    end = rb'reboot: |sysrq: Resetting|Rebooting in '
    if 'crashkernel=' not in cmdline:
        end += rb'|Kernel panic - not syncing'
    Relay(process, master, theirs, log, end).start()
    return process, ours
