// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of an emulated host: make a root like the build machine's, run one command in it, carry
 * its streams to hvhost.
 *
 * The link is one virtio-serial port under QEMU, the second serial port under Bochs, where the
 * build machine's files are in the initramfs instead of behind 9p. A frame is a type byte, a 4-byte little-endian length and
 * that many bytes. What hvhost sends before the command starts:
 *	M tag\0path		mount that 9p share read-write at path
 *	B path			show the build machine's path there, read-only
 *	K path			the same, at /lib/modules
 *	D path			working directory of the command
 *	E NAME=VALUE, A ARG	environment and argument vector, one entry a frame
 *	C seconds.nanoseconds	the time
 *	T rows cols		give the command a terminal of that size (two 16-bit words)
 *	G			go
 * and while it runs:
 *	i DATA, c		standard input, and its end
 *	w rows cols		the terminal changed its size
 *	p o, p e		nobody reads that output any more
 *	t			write what hangs to the kernel log
 * What this sends: h (listening), o/e DATA (standard output, error), a N (N bytes of input were
 * consumed), x STATUS (as a shell's $?), f TEXT (the host is not usable).
 *
 * hvhost keeps at most CREDIT bytes of input unacknowledged, so a command that does not read its
 * input never blocks the frames behind it. When the link closes, hvhost is gone: power off.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>

#define CREDIT		65536
#define FRAME_MAX	(1 << 20)
#define LOWER		"/lower"	/* the build machine's root, in the initramfs */
#define ROOT		"/newroot"		/* the root to be */
#define P9_OPTIONS	"trans=virtio,version=9p2000.L,msize=512000,"

static int link_fd = -1;
static int packed;		/* the files came in the initramfs */

struct job {
	char **argv, **env;
	int argc, envc;
	char *cwd;
	int tty;			/* a terminal was asked for */
	struct winsize size;
	pid_t pid;
	int in, out, err;		/* our ends; -1 once closed */
	uint8_t pending[CREDIT];	/* input that the command has not taken */
	size_t head, tail;
	int input_ended;
};

static void write_all(int fd, const void *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			reboot(RB_POWER_OFF);
		buf = (const char *)buf + n;
		len -= n;
	}
}

static void send_frame(char type, const void *data, uint32_t len)
{
	uint8_t head[5] = { type, len, len >> 8, len >> 16, len >> 24 };

	write_all(link_fd, head, sizeof(head));
	write_all(link_fd, data, len);
}

/* The host cannot be used: say why on the link if there is one, else on the console. */
static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(text))
		n = sizeof(text) - 1;
	if (link_fd >= 0) {
		send_frame('f', text, n);
		sleep(10);
	}
	dprintf(1, "init: %s\n", text);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void read_all(int fd, void *buf, size_t len)
{
	while (len) {
		ssize_t n = read(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			reboot(RB_POWER_OFF);
		buf = (char *)buf + n;
		len -= n;
	}
}

/* Returns the type; *data is malloc'ed and has a zero byte after it. */
static char read_frame(char **data, uint32_t *len)
{
	uint8_t head[5];

	read_all(link_fd, head, sizeof(head));
	*len = head[1] | head[2] << 8 | head[3] << 16 | (uint32_t)head[4] << 24;
	if (*len > FRAME_MAX)
		fail("frame %c of %u bytes", head[0], *len);
	*data = calloc(1, *len + 1);
	read_all(link_fd, *data, *len);
	return head[0];
}

static void make_dirs(const char *path)
{
	char part[4096];

	snprintf(part, sizeof(part), "%s/", path);
	for (char *p = part + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		mkdir(part, 0755);
		*p = '/';
	}
}

static void mount_at(const char *source, const char *where, const char *type,
		     unsigned long flags, const char *options)
{
	make_dirs(where);
	if (mount(source, where, type, flags, options))
		fail("mount %s on %s: %s", type ? type : source, where, strerror(errno));
}

/* File systems that a kernel may lack; tests that want one see for themselves. */
static void try_mount(const char *type, const char *where, const char *options)
{
	mkdir(where, 0755);
	mount(type, where, type, MS_NOSUID | MS_NOEXEC, options);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, text, strlen(text)) < 0)
			dprintf(1, "init: %s: %s\n", path, strerror(errno));
		close(fd);
	}
}

/* /modules holds the modules in the order of their dependencies, named 00-NAME.ko and up. */
static void load_modules(void)
{
	struct dirent **list;
	int n = scandir("/modules", &list, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		char path[300];
		int fd;

		if (list[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/modules/%s", list[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
			fail("%s: %s", path, strerror(errno));
		close(fd);
		unlink(path);
	}
}

/* Eight bits, no line discipline. */
static int open_serial_link(void)
{
	int fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios t;

	if (fd < 0 || tcgetattr(fd, &t))
		fail("/dev/ttyS1: %s", strerror(errno));
	cfmakeraw(&t);
	t.c_cflag = CS8 | CREAD | CLOCAL;
	cfsetspeed(&t, B115200);
	tcsetattr(fd, TCSANOW, &t);
	return fd;
}

/* The port is found by its name, because the numbering depends on the machine. */
static int open_link(void)
{
	if (packed)
		return open_serial_link();
	for (int tries = 0; tries < 1000; tries++) {
		DIR *dir = opendir("/sys/class/virtio-ports");
		struct dirent *d;

		while (dir && (d = readdir(dir))) {
			char path[300], name[32] = "";
			int fd;

			snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", d->d_name);
			fd = open(path, O_RDONLY | O_CLOEXEC);
			if (fd < 0)
				continue;
			if (read(fd, name, sizeof(name) - 1) > 0 && !strncmp(name, "hvhost", 6)) {
				close(fd);
				snprintf(path, sizeof(path), "/dev/%s", d->d_name);
				fd = open(path, O_RDWR | O_CLOEXEC);
				if (fd >= 0)
					return fd;
			} else {
				close(fd);
			}
		}
		if (dir)
			closedir(dir);
		usleep(10000);
	}
	fail("no virtio-serial port named hvhost");
}

static void mount_root(void)
{
	if (!packed)
		mount_at("root", LOWER, "9p", MS_RDONLY, P9_OPTIONS "cache=loose");
	mount_at("tmpfs", "/upper", "tmpfs", 0, "mode=755");
	mkdir("/upper/data", 0755);
	mkdir("/upper/work", 0755);
	mount_at("overlay", ROOT, "overlay", 0,
		 "lowerdir=" LOWER ",upperdir=/upper/data,workdir=/upper/work");
	mount_at("proc", ROOT "/proc", "proc", 0, NULL);
	mount_at("sysfs", ROOT "/sys", "sysfs", 0, NULL);
	mount_at("dev", ROOT "/dev", "devtmpfs", 0, "mode=755");
	mount_at("tmpfs", ROOT "/tmp", "tmpfs", 0, "mode=1777");
	mount_at("tmpfs", ROOT "/run", "tmpfs", 0, "mode=755");
	mkdir(ROOT "/run/lock", 01777);

	mount_at("devpts", ROOT "/dev/pts", "devpts", 0, "gid=5,mode=620,ptmxmode=666");
	mount_at("tmpfs", ROOT "/dev/shm", "tmpfs", 0, "mode=1777");
	try_mount("mqueue", ROOT "/dev/mqueue", NULL);
	try_mount("hugetlbfs", ROOT "/dev/hugepages", NULL);
	if (symlink("/proc/self/fd", ROOT "/dev/fd") ||
	    symlink("/proc/self/fd/0", ROOT "/dev/stdin") ||
	    symlink("/proc/self/fd/1", ROOT "/dev/stdout") ||
	    symlink("/proc/self/fd/2", ROOT "/dev/stderr"))
		fail("links in /dev: %s", strerror(errno));

	try_mount("cgroup2", ROOT "/sys/fs/cgroup", NULL);
	try_mount("debugfs", ROOT "/sys/kernel/debug", NULL);
	try_mount("tracefs", ROOT "/sys/kernel/tracing", NULL);
	try_mount("configfs", ROOT "/sys/kernel/config", NULL);
	write_file(ROOT "/sys/fs/cgroup/cgroup.subtree_control", "+cpu");
	write_file(ROOT "/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	write_file(ROOT "/sys/fs/cgroup/cgroup.subtree_control", "+pids");
	write_file(ROOT "/sys/fs/cgroup/cgroup.subtree_control", "+io");
	write_file(ROOT "/sys/fs/cgroup/cgroup.subtree_control", "+cpuset");
}

/* Show the build machine's directory `path` at `where` in the new root. */
static void bind_lower(const char *path, const char *where)
{
	char from[4096], to[4096];
	struct stat st;

	snprintf(from, sizeof(from), LOWER "%s", path);
	snprintf(to, sizeof(to), ROOT "%s", where);
	if (stat(from, &st))
		fail("%s: %s", path, strerror(errno));
	mount_at(from, to, NULL, MS_BIND, NULL);
}

static void mount_share(const char *tag, const char *path)
{
	char to[4096];

	snprintf(to, sizeof(to), ROOT "%s", path);
	mount_at(tag, to, "9p", 0, P9_OPTIONS "cache=mmap");
}

/*
 * QEMU can run code of before a patch on a CPU that did not do the patch (testing.rst), and kernels
 * patch most while they boot and load modules: the other CPUs come when that is done.
 */
static void start_other_cpus(void)
{
	for (int n = 1; ; n++) {
		char path[64];

		snprintf(path, sizeof(path), ROOT "/sys/devices/system/cpu/cpu%d/online", n);
		if (access(path, W_OK))
			return;
		write_file(path, "1");
	}
}

/* Not chroot alone: a process whose root is no mount's root may not make user namespaces. */
static void switch_root(void)
{
	umount2("/dev", MNT_DETACH);
	umount2("/proc", MNT_DETACH);
	umount2("/sys", MNT_DETACH);
	if (chdir(ROOT) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		fail("switch_root: %s", strerror(errno));
}

static void set_up_system(void)
{
	struct rlimit files = { 1024, 524288 }, locked = { RLIM_INFINITY, RLIM_INFINITY };
	struct ifreq ifr = { .ifr_name = "lo" };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s >= 0) {
		ioctl(s, SIOCGIFFLAGS, &ifr);
		ifr.ifr_flags |= IFF_UP;
		ioctl(s, SIOCSIFFLAGS, &ifr);
		close(s);
	}
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_MEMLOCK, &locked);
	if (sethostname("hvhost", 6))
		fail("sethostname: %s", strerror(errno));
	/* The boot was quiet for speed; from here the console log is for whoever debugs. */
	klogctl(8, NULL, 8);
}

static char **append(char **list, int *n, char *item)
{
	list = realloc(list, (*n + 2) * sizeof(*list));
	list[(*n)++] = item;
	list[*n] = NULL;
	return list;
}

static void read_job(struct job *job)
{
	for (;;) {
		char *data;
		uint32_t len;
		struct timespec now;

		switch (read_frame(&data, &len)) {
		case 'M':
			mount_share(data, data + strlen(data) + 1);
			break;
		case 'B':
			bind_lower(data, data);
			break;
		case 'K':
			bind_lower(data, "/usr/lib/modules");
			break;
		case 'D':
			job->cwd = data;
			continue;
		case 'E':
			job->env = append(job->env, &job->envc, data);
			continue;
		case 'A':
			job->argv = append(job->argv, &job->argc, data);
			continue;
		case 'C':
			if (sscanf(data, "%ld.%ld", &now.tv_sec, &now.tv_nsec) == 2)
				clock_settime(CLOCK_REALTIME, &now);
			break;
		case 'O':
			start_other_cpus();
			break;
		case 'T':
			job->tty = 1;
			memcpy(&job->size, data, 4);
			break;
		case 'G':
			if (!job->argc || !job->cwd)
				fail("nothing to run");
			free(data);
			return;
		default:
			fail("frame of unknown type");
		}
		free(data);
	}
}

static void __attribute__((noreturn)) exec_command(struct job *job)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (chdir(job->cwd)) {
		dprintf(2, "hvhost: %s: %s inside the host; a directory under /tmp or /run needs --share\n",
			job->cwd, strerror(errno));
		_exit(126);
	}
	environ = job->env;
	execvp(job->argv[0], job->argv);
	dprintf(2, "hvhost: %s: %s\n", job->argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static void start_command(struct job *job)
{
	int in[2], out[2], err[2], master, slave;

	job->err = -1;
	if (job->tty) {
		if (openpty(&master, &slave, NULL, NULL, &job->size))
			fail("openpty: %s", strerror(errno));
		job->pid = fork();
		if (!job->pid) {
			close(master);
			login_tty(slave);
			exec_command(job);
		}
		close(slave);
		job->out = master;
		job->in = fcntl(master, F_DUPFD_CLOEXEC, 0);
		fcntl(master, F_SETFD, FD_CLOEXEC);
	} else {
		if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
			fail("pipe: %s", strerror(errno));
		job->pid = fork();
		if (!job->pid) {
			setsid();
			dup2(in[0], 0);
			dup2(out[1], 1);
			dup2(err[1], 2);
			exec_command(job);
		}
		close(in[0]);
		close(out[1]);
		close(err[1]);
		job->in = in[1];
		job->out = out[0];
		job->err = err[0];
		fcntl(job->err, F_SETFL, O_NONBLOCK);
	}
	if (job->pid < 0)
		fail("fork: %s", strerror(errno));
	fcntl(job->in, F_SETFL, O_NONBLOCK);
	fcntl(job->out, F_SETFL, O_NONBLOCK);
}

static void close_output(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Returns 0 when nothing is to be had now. Closes at the end of the stream. */
static int forward_output(int *fd, char type)
{
	static char buf[32768];
	ssize_t n;

	if (*fd < 0)
		return 0;
	n = read(*fd, buf, sizeof(buf));
	if (n > 0) {
		send_frame(type, buf, n);
		return 1;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	close_output(fd);
	return 0;
}

static void consumed(uint32_t n)
{
	uint8_t word[4] = { n, n >> 8, n >> 16, n >> 24 };

	if (n)
		send_frame('a', word, sizeof(word));
}

static void close_input(struct job *job)
{
	if (job->in >= 0 && job->tty)
		write_all(job->in, "\004", 1);
	if (job->in >= 0)
		close(job->in);
	job->in = -1;
}

static void forward_input(struct job *job)
{
	ssize_t n = 0;

	if (job->in >= 0 && job->head < job->tail) {
		n = write(job->in, job->pending + job->head, job->tail - job->head);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			close(job->in);
			job->in = -1;
		}
	}
	if (job->in < 0)
		n = job->tail - job->head;
	job->head += n;
	consumed(n);
	if (job->head == job->tail) {
		job->head = job->tail = 0;
		if (job->input_ended)
			close_input(job);
	}
}

static void link_frame(struct job *job)
{
	char *data;
	uint32_t len;
	struct winsize size = { 0 };

	switch (read_frame(&data, &len)) {
	case 'i':
		if (job->head) {
			memmove(job->pending, job->pending + job->head, job->tail - job->head);
			job->tail -= job->head;
			job->head = 0;
		}
		if (len > sizeof(job->pending) - job->tail)
			fail("more input than was asked for");
		memcpy(job->pending + job->tail, data, len);
		job->tail += len;
		forward_input(job);
		break;
	case 'c':
		job->input_ended = 1;
		forward_input(job);
		break;
	case 'w':
		memcpy(&size, data, len < 4 ? len : 4);
		if (job->tty && job->out >= 0)
			ioctl(job->out, TIOCSWINSZ, &size);
		break;
	case 'p':
		if (*data == 'o' && !job->tty)
			close_output(&job->out);
		if (*data == 'e')
			close_output(&job->err);
		break;
	case 't':
		write_file("/proc/sysrq-trigger", "l");
		write_file("/proc/sysrq-trigger", "w");
		break;
	}
	free(data);
}

/* Returns 1 with the command's status, as a shell would give it, once it has ended. */
static int reap(struct job *job, int *status)
{
	int st, done = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
		if (pid != job->pid)
			continue;
		*status = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
		done = 1;
	}
	return done;
}

/* From 6.4 a 9p share is written back late; bounded, because a test may have hung a disk. */
static void write_back(void)
{
	pid_t pid = fork();

	if (!pid) {
		sync();
		_exit(0);
	}
	for (int i = 0; i < 2000 && waitpid(pid, NULL, WNOHANG) == 0; i++)
		usleep(5000);
}

static int serve(struct job *job)
{
	int status = 0, signals;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	start_command(job);
	for (;;) {
		struct pollfd p[5] = {
			{ link_fd, POLLIN, 0 },
			{ signals, POLLIN, 0 },
			{ job->out, POLLIN, 0 },
			{ job->err, POLLIN, 0 },
			{ job->head < job->tail ? job->in : -1, POLLOUT, 0 },
		};
		struct signalfd_siginfo si;

		if (poll(p, 5, -1) < 0)
			continue;
		if (p[2].revents)
			forward_output(&job->out, 'o');
		if (p[3].revents)
			forward_output(&job->err, 'e');
		if (p[4].revents)
			forward_input(job);
		if (p[1].revents && read(signals, &si, sizeof(si)) > 0 && reap(job, &status))
			break;
		if (p[0].revents & POLLIN)
			link_frame(job);
		else if (p[0].revents)
			reboot(RB_POWER_OFF);
	}
	/* What it wrote before it ended is in the pipes; who still holds them is not waited for. */
	while (forward_output(&job->out, 'o') || forward_output(&job->err, 'e'))
		;
	return status;
}

int main(void)
{
	static struct job job;
	uint8_t code;

	mount_at("dev", "/dev", "devtmpfs", 0, NULL);
	mount_at("proc", "/proc", "proc", 0, NULL);
	mount_at("sysfs", "/sys", "sysfs", 0, NULL);
	signal(SIGPIPE, SIG_IGN);
	packed = !access(LOWER, F_OK);
	load_modules();
	link_fd = open_link();
	send_frame('h', "", 0);
	mount_root();
	read_job(&job);
	switch_root();
	set_up_system();
	code = serve(&job);
	write_back();
	send_frame('x', &code, 1);
	for (;;)
		pause();
}
