// SPDX-License-Identifier: GPL-2.0-only
/*
 * block_engine.c - vmm/block on temporary files: both engines, direct and buffered, aligned and
 * not; locks and who holds them; files that are no disks; a file cut short, a full file system.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform_vm.h"
#include "vmm/block/block.h"
#include "vmm/loop.h"

#define SIZE	(8U << 20)

static char dir[64], disk[96];
static struct vm *vm;
static char err[512];

static void file_make(const char *path, off_t size)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, size))
		ktap_bail("cannot make %s", path);
	close(fd);
}

static int open_path(const char *path, bool readonly, bool direct, bool no_uring, struct block **b)
{
	struct block_options o = { path, readonly, direct, no_uring };
	int ret;

	err[0] = '\0';
	ret = block_open(vm, &o, b, err, sizeof(err));
	if (ret && (!err[0] || strchr(err, '\n')))
		ktap_note("not one line: %s", err);
	return ret;
}

/* -- requests, one at a time or several, on a loop of this thread -- */

struct wait {
	struct block_request req;
	struct loop *loop;
	int *left;
	int result;
};

static void done(struct block_request *req, int result)
{
	struct wait *w = (struct wait *)req;

	w->result = result;
	if (!--*w->left)
		loop_stop(w->loop);
}

struct rig {
	struct block *block;
	struct loop loop;
	unsigned int batches;
};

static void batch(void *opaque)
{
	((struct rig *)opaque)->batches++;
}

static int rig_open(struct rig *r, const char *path, bool readonly, bool direct, bool no_uring)
{
	int ret = open_path(path, readonly, direct, no_uring, &r->block);

	if (ret)
		return ret;
	if (loop_init(&r->loop) || block_attach(r->block, &r->loop, batch, r))
		ktap_bail("no loop");
	r->batches = 0;
	return 0;
}

static void rig_close(struct rig *r)
{
	block_close(r->block);
	loop_destroy(&r->loop);
}

static int run(struct rig *r, struct wait *w, unsigned int n)
{
	int left = n;
	unsigned int i;

	for (i = 0; i < n; i++) {
		w[i].left = &left;
		w[i].loop = &r->loop;
		w[i].req.done = done;
		block_submit(r->block, &w[i].req);
	}
	block_kick(r->block);
	r->loop.stop = false;
	loop_run(&r->loop);
	return w[0].result;
}

static int rw(struct rig *r, bool write, uint64_t offset, struct iovec *iov, unsigned int n)
{
	struct iovec copy[8];
	struct wait w = { .req = {
		.op = write ? BLOCK_WRITE : BLOCK_READ, .offset = offset, .iov = copy, .nr_iov = n,
	} };
	unsigned int i;

	memcpy(copy, iov, n * sizeof(*iov));
	for (i = 0; i < n; i++)
		w.req.len += iov[i].iov_len;
	return run(r, &w, 1);
}

static int simple(struct rig *r, enum block_op op, uint64_t offset, uint64_t len, bool unmap)
{
	struct wait w = { .req = { .op = op, .offset = offset, .len = len, .unmap = unmap } };

	return run(r, &w, 1);
}

static void noise(uint8_t *buf, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = pv_random();
}

/* What the file has, by another way. */
static bool file_has(uint64_t offset, const void *want, size_t len)
{
	uint8_t *got = malloc(len);
	int fd = open(disk, O_RDONLY | O_CLOEXEC);
	bool same = pread(fd, got, len, offset) == (ssize_t)len && !memcmp(got, want, len);

	close(fd);
	free(got);
	return same;
}

static void test_rw(bool direct, bool no_uring)
{
	static uint8_t zero[65536];
	const char *how = direct ? "direct" : "buffered";
	const char *by;
	uint8_t *a, *b;
	struct iovec iov[4];
	struct block_stats stats;
	struct wait w[64];
	struct iovec part[64];
	unsigned int i;
	bool good = true;
	struct rig r;

	if (posix_memalign((void **)&a, 4096, 1 << 20) || posix_memalign((void **)&b, 4096, 1 << 20))
		ktap_bail("no memory");
	file_make(disk, SIZE);
	if (rig_open(&r, disk, false, direct, no_uring))
		ktap_bail("%s", err);
	by = block_engine(r.block);
	noise(a, 1 << 20);
	iov[0] = (struct iovec){ a, 1 << 20 };
	ktap_check(!rw(&r, true, 4096, iov, 1) && !simple(&r, BLOCK_FLUSH, 0, 0, false) &&
		   file_has(4096, a, 1 << 20), "%s, %s: 1 MiB written and flushed", how, by);
	iov[0] = (struct iovec){ b, 512 };
	iov[1] = (struct iovec){ b + 4096, (1 << 19) - 512 };
	ktap_check(!rw(&r, false, 4096, iov, 2) && !memcmp(a, b, 512) &&
		   !memcmp(a + 512, b + 4096, (1 << 19) - 512), "%s, %s: read in two pieces", how, by);
	memset(b, 0, 1 << 20);
	iov[0] = (struct iovec){ b + 3, 100 };
	iov[1] = (struct iovec){ b + 5001, 700 };
	iov[2] = (struct iovec){ b + 8195, 300001 };
	iov[3] = (struct iovec){ b + 400001, 307200 - 300801 };
	ktap_check(!rw(&r, false, 4096 + 512, iov, 4) && !memcmp(a + 512, b + 3, 100) &&
		   !memcmp(a + 612, b + 5001, 700) && !memcmp(a + 1312, b + 8195, 300001) &&
		   !memcmp(a + 512 + 300801, b + 400001, 307200 - 300801),
		   "%s, %s: an unaligned read", how, by);
	ktap_check(!rw(&r, true, 2 << 20, iov, 4) && file_has(2 << 20, a + 512, 307200),
		   "%s, %s: an unaligned write", how, by);
	block_get_stats(r.block, &stats);
	ktap_check(stats.bounced == (block_facts(r.block)->direct ? 2 : 0) &&
		   stats.ops[BLOCK_WRITE] == 2 && stats.bytes[BLOCK_READ] == (1 << 19) + 307200,
		   "%s, %s: statistics say so", how, by);

	for (i = 0; i < 64; i++) {
		part[i] = (struct iovec){ a + 16384 * i, 16384 };
		w[i] = (struct wait){ .req = { .op = BLOCK_WRITE, .offset = (4U << 20) + 16384 * i,
			.len = 16384, .iov = &part[i], .nr_iov = 1, .durable = i & 1 } };
	}
	r.batches = 0;
	run(&r, w, 64);
	for (i = 0; i < 64; i++)
		good &= !w[i].result;
	ktap_check(good && file_has(4 << 20, a, 1 << 20) && r.batches > 0 && r.batches <= 64,
		   "%s, %s: 64 writes at once, half of them durable", how, by);

	if (block_facts(r.block)->can_discard) {
		ktap_check(!simple(&r, BLOCK_DISCARD, 4096, 65536, false) &&
			   file_has(4096, zero, 65536) && file_has(4096 + 65536, a + 65536, 4096),
			   "%s, %s: what is discarded reads as zeroes", how, by);
	} else {
		ktap_skip("discard", "the file system has no holes");
	}
	ktap_check(!simple(&r, BLOCK_ZERO, (4 << 20) + 512, 65536, false) &&
		   file_has((4 << 20) + 512, zero, 65536) && file_has(4 << 20, a, 512) &&
		   file_has((4 << 20) + 512 + 65536, a + 512 + 65536, 512),
		   "%s, %s: zeroes where they belong", how, by);
	ktap_check(!simple(&r, BLOCK_ZERO, (4 << 20) + (1 << 19), 65536, true) &&
		   file_has((4 << 20) + (1 << 19), zero, 65536),
		   "%s, %s: zeroes that may unmap", how, by);
	rig_close(&r);
	free(a);
	free(b);
}

static void test_refusals(void)
{
	char path[128];
	struct block *b;
	int fd;

	snprintf(path, sizeof(path), "%s/none", dir);
	ktap_check(open_path(path, false, true, false, &b) == -ENOENT && strstr(err, path) &&
		   strstr(err, "truncate"), "a missing file: %s", err);
	ktap_check(open_path(dir, false, true, false, &b) == -EISDIR, "a directory: %s", err);
	ktap_check(open_path("/dev/null", false, true, false, &b) == -EINVAL, "a device: %s", err);
	snprintf(path, sizeof(path), "%s/fifo", dir);
	if (!mkfifo(path, 0600))
		ktap_check(open_path(path, false, true, false, &b) == -EINVAL, "a FIFO: %s", err);
	else
		ktap_skip("a FIFO", "the file system has none");
	snprintf(path, sizeof(path), "%s/empty", dir);
	file_make(path, 0);
	ktap_check(open_path(path, false, true, false, &b) == -EINVAL, "an empty file: %s", err);
	file_make(path, 1000);
	ktap_check(open_path(path, false, true, false, &b) == -EINVAL && strstr(err, "512"),
		   "1000 bytes: %s", err);
	file_make(path, 512);
	ktap_check(!open_path(path, false, true, false, &b) && block_facts(b)->size == 512,
		   "one sector is a disk");
	block_close(b);
	chmod(path, 0400);
	if (geteuid()) {
		ktap_check(open_path(path, false, true, false, &b) == -EACCES, "no permission: %s", err);
	} else {
		/* Root may write: as nobody, in a child. */
		pid_t pid = fork();
		int status;

		if (!pid) {
			chmod(dir, 0755);
			if (setuid(65534))
				_exit(2);
			_exit(open_path(path, false, true, false, &b) == -EACCES ? 0 : 1);
		}
		waitpid(pid, &status, 0);
		ktap_check(WIFEXITED(status) && !WEXITSTATUS(status), "no permission");
	}
	chmod(path, 0600);
	fd = open(path, O_RDONLY);
	close(fd);
}

static void test_locks(void)
{
	struct block *a, *b = NULL, *c;
	char child[64], name[96];
	int fds[2], status;
	pid_t pid;
	char c1;

	file_make(disk, SIZE);
	ktap_check(!open_path(disk, false, true, false, &a) && block_facts(a)->locked, "a locked disk");
	ktap_check(open_path(disk, false, true, false, &b) == -EBUSY, "a second writer: %s", err);
	ktap_check(open_path(disk, true, true, false, &b) == -EBUSY, "a reader beside it");
	block_close(a);
	ktap_check(!open_path(disk, true, true, false, &a) && !open_path(disk, true, true, false, &b),
		   "two readers");
	ktap_check(open_path(disk, false, true, false, &c) == -EBUSY, "a writer beside them");
	block_close(a);
	block_close(b);
	ktap_check(!open_path(disk, false, true, false, &a), "free again when they are gone");
	block_close(a);

	/* Another process, which holds a guest's name as a vmm does. */
	if (pipe(fds))
		ktap_bail("no pipe");
	snprintf(name, sizeof(name), "%s/hv", dir);
	mkdir(name, 0700);
	snprintf(name, sizeof(name), "%s/hv/alice.lock", dir);
	pid = fork();
	if (!pid) {
		char *const argv[] = { "vmm", "run", NULL };
		int fd;

		if (open(name, O_CREAT | O_RDWR, 0600) < 0 || open_path(disk, false, true, false, &a))
			_exit(1);
		/* The lock goes on with the open file description. */
		for (fd = 3; fd < 64; fd++)
			fcntl(fd, F_SETFD, 0);
		dup2(fds[1], 1);
		execv("/proc/self/exe", argv);
		_exit(1);
	}
	close(fds[1]);
	if (read(fds[0], &c1, 1) != 1)
		ktap_note("the child did not start");
	snprintf(child, sizeof(child), "guest alice (pid %d)", pid);
	ktap_check(open_path(disk, false, true, false, &b) == -EBUSY && strstr(err, child),
		   "the holder is named: %s", err);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(fds[0]);
	ktap_check(!open_path(disk, false, true, false, &a), "its lock goes with it");
	block_close(a);
}

static void test_failures(bool no_uring)
{
	struct rlimit limit = { 1 << 20, RLIM_INFINITY }, old;
	struct iovec iov[2];
	const char *by;
	uint8_t *buf;
	struct rig r;
	int ret;

	if (posix_memalign((void **)&buf, 4096, 1 << 20))
		ktap_bail("no memory");
	memset(buf, 1, 1 << 20);
	file_make(disk, SIZE);
	rig_open(&r, disk, false, true, no_uring);
	by = block_engine(r.block);
	if (truncate(disk, 4096 + 512))
		ktap_bail("truncate");
	iov[0] = (struct iovec){ buf, 1 << 20 };
	ktap_check(rw(&r, false, 0, iov, 1) == -ENODATA, "%s: a read past the end of a cut file", by);
	iov[0] = (struct iovec){ buf + 1, 8192 };
	ktap_check(rw(&r, false, 0, iov, 1) == -ENODATA, "%s: an unaligned one", by);
	rig_close(&r);

	file_make(disk, SIZE);
	rig_open(&r, disk, false, true, no_uring);
	getrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	iov[0] = (struct iovec){ buf, 4096 };
	ret = rw(&r, true, 2 << 20, iov, 1);
	limit = old;
	setrlimit(RLIMIT_FSIZE, &limit);
	ktap_check(ret == -EFBIG, "%s: a file size limit", by);
	ktap_check(!rw(&r, true, 2 << 20, iov, 1), "%s: and without it again", by);
	rig_close(&r);

	rig_open(&r, disk, true, true, no_uring);
	ktap_check(rw(&r, true, 0, iov, 1) == -EBADF, "%s: a write to a read-only disk", by);
	rig_close(&r);
	free(buf);
}

static void test_full(void)
{
	char path[128], mnt[96];
	struct iovec iov;
	uint8_t *buf;
	struct rig r;

	snprintf(mnt, sizeof(mnt), "%s/small", dir);
	mkdir(mnt, 0700);
	if (mount("none", mnt, "tmpfs", 0, "size=256k")) {
		ktap_skip("a full file system", "needs root");
		ktap_skip("tmpfs takes discard", "needs root");
		rmdir(mnt);
		return;
	}
	snprintf(path, sizeof(path), "%s/disk", mnt);
	file_make(path, 1 << 20);
	if (posix_memalign((void **)&buf, 4096, 1 << 20))
		ktap_bail("no memory");
	memset(buf, 1, 1 << 20);
	rig_open(&r, path, false, true, false);
	iov = (struct iovec){ buf, 1 << 20 };
	ktap_check(rw(&r, true, 0, &iov, 1) == -ENOSPC, "a full file system");
	ktap_check(block_facts(r.block)->can_discard &&
		   !simple(&r, BLOCK_DISCARD, 0, 1 << 20, false), "tmpfs takes discard");
	rig_close(&r);
	free(buf);
	umount(mnt);
	rmdir(mnt);
}

/* A loop device on the file: its sectors, and others that have it. */
static void test_device(void)
{
	char dev[64] = "", command[512];
	struct block *a, *b;
	struct iovec iov;
	uint8_t *buf;
	struct rig r;
	FILE *p;

	file_make(disk, SIZE);
	snprintf(command, sizeof(command), "losetup -f --show -b 4096 '%s' 2>/dev/null", disk);
	p = popen(command, "r");
	if (!p || fscanf(p, "%63s", dev) != 1 || strncmp(dev, "/dev/loop", 9)) {
		ktap_skip("a block device", "no loop devices here");
		ktap_skip("a second user of it", "no loop devices here");
		ktap_skip("a mounted one", "no loop devices here");
		ktap_skip("readers of it", "no loop devices here");
		pclose(p);
		return;
	}
	pclose(p);
	if (posix_memalign((void **)&buf, 4096, 65536))
		ktap_bail("no memory");
	memset(buf, 7, 65536);
	iov = (struct iovec){ buf, 65536 };
	if (rig_open(&r, dev, false, true, false))
		ktap_bail("%s", err);
	ktap_check(block_facts(r.block)->device && block_facts(r.block)->logical == 4096 &&
		   block_facts(r.block)->direct && block_facts(r.block)->size == SIZE &&
		   !rw(&r, true, 8192, &iov, 1) && !simple(&r, BLOCK_FLUSH, 0, 0, false) &&
		   !simple(&r, BLOCK_ZERO, 8192, 4096, false) && file_has(8192 + 4096, buf, 61440) &&
		   !file_has(8192, buf, 4096), "a block device of 4 KiB sectors");
	ktap_check(open_path(dev, false, true, false, &b) == -EBUSY, "a second user of it: %s", err);
	rig_close(&r);
	snprintf(command, sizeof(command), "mkfs.ext4 -q %s 2>/dev/null && mkdir -p %s/m && "
		 "mount %s %s/m", dev, dir, dev, dir);
	if (!system(command)) {
		ktap_check(open_path(dev, false, true, false, &b) == -EBUSY && strstr(err, "mount"),
			   "a mounted one: %s", err);
		snprintf(command, sizeof(command), "umount %s/m", dir);
		if (system(command))
			ktap_note("cannot unmount");
	} else {
		ktap_skip("a mounted one", "no ext4");
	}
	ktap_check(!open_path(dev, true, true, false, &a) && !open_path(dev, true, true, false, &b) &&
		   open_path(dev, false, true, false, &r.block) == -EBUSY, "readers of it, no writer");
	block_close(a);
	block_close(b);
	free(buf);
	snprintf(command, sizeof(command), "losetup -d %s", dev);
	if (system(command))
		ktap_note("%s stays", dev);
}

int main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR");
	char command[256];

	/* As the other process of test_locks(). */
	if (argc > 1 && !strcmp(argv[1], "run")) {
		if (write(1, "x", 1) == 1)
			sleep(60);
		return 0;
	}
	ktap_plan(68);
	vm = pv_create((const char *const[]){ "memory", "2M", NULL });
	snprintf(dir, sizeof(dir), "%.40s/blockXXXXXX", tmp ? tmp : "/var/tmp");
	if (!mkdtemp(dir))
		ktap_bail("no directory");
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	test_rw(true, false);
	test_rw(true, true);
	test_rw(false, false);
	test_rw(false, true);
	test_refusals();
	test_locks();
	test_failures(false);
	test_failures(true);
	test_full();
	test_device();
	pv_destroy(vm);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command))
		ktap_note("%s stays", dir);
	return ktap_finish();
}
