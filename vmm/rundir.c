// SPDX-License-Identifier: GPL-2.0-only
/*
 * rundir.c - names, locks and sockets of running guests (rundir.h).
 *
 * Must not remove a file whose lock it does not hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hv/control.h"
#include "log.h"
#include "rundir.h"

int rundir_paths(struct rundir *run, const char *name)
{
	int ret = hv_control_dir(run->dir, sizeof(run->dir));

	run->fd = -1;
	if (ret == -ENOENT) {
		log_error(NULL, "no place for the guest's socket: set XDG_RUNTIME_DIR to a "
			  "directory of your own");
		return ret;
	}
	if (ret) {
		log_error(NULL, "XDG_RUNTIME_DIR is too long");
		return ret;
	}
	snprintf(run->socket, sizeof(run->socket), "%s/%s.sock", run->dir, name);
	snprintf(run->lock, sizeof(run->lock), "%s/%s.lock", run->dir, name);
	snprintf(run->log, sizeof(run->log), "%s/%s.log", run->dir, name);
	if (strlen(run->socket) > 100) {
		log_error(NULL, "socket path is too long for a unix socket: %s; choose a shorter "
			  "name", run->socket);
		return -ENAMETOOLONG;
	}
	return 0;
}

/* 1: held now; 0: somebody else holds it; -errno. */
static int lock_take(const char *path, bool create, int *out)
{
	struct stat a, b;
	int fd;

	for (;;) {
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			int err = errno;

			*out = fd;
			if (err == EWOULDBLOCK)
				return 0;
			close(fd);
			return -err;
		}
		/* Its holder may have removed it between our open and flock. */
		if (!fstat(fd, &a) && !stat(path, &b) && a.st_ino == b.st_ino &&
		    a.st_dev == b.st_dev) {
			*out = fd;
			return 1;
		}
		close(fd);
	}
}

int rundir_take(struct rundir *run, const char *name)
{
	char pid[24] = "";
	ssize_t n;
	int ret, fd = -1;

	ret = rundir_paths(run, name);
	if (ret)
		return ret;
	if (mkdir(run->dir, geteuid() ? 0700 : 0755) && errno != EEXIST) {
		ret = -errno;
		log_error(NULL, "cannot make %s: %s", run->dir, strerror(-ret));
		return ret;
	}
	ret = lock_take(run->lock, true, &fd);
	if (ret < 0) {
		log_error(NULL, "cannot lock %s: %s", run->lock, strerror(-ret));
		return ret;
	}
	if (!ret) {
		n = pread(fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? n : 0] = 0;
		pid[strcspn(pid, "\n")] = 0;
		close(fd);
		log_error(NULL, "a guest named '%s' is running (pid %s); choose another --name, or "
			  "end that one: vmm stop %s", name, *pid ? pid : "unknown", name);
		return -EBUSY;
	}
	run->fd = fd;
	snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(fd, 0) || pwrite(fd, pid, strlen(pid), 0) != (ssize_t)strlen(pid)) {
		ret = errno ? -errno : -EIO;
		log_error(NULL, "cannot write %s: %s", run->lock, strerror(-ret));
		rundir_release(run);
		return ret;
	}
	return 0;
}

void rundir_release(struct rundir *run)
{
	if (run->fd < 0)
		return;
	unlink(run->socket);
	unlink(run->lock);
	close(run->fd);
	run->fd = -1;
}

int rundir_clean(const char *name)
{
	struct rundir run;
	int ret, fd = -1;

	ret = rundir_paths(&run, name);
	if (ret)
		return ret;
	ret = lock_take(run.lock, false, &fd);
	if (ret == 0)
		close(fd);
	if (ret == -ENOENT) {
		/* A socket without a lock file: nobody owns it. */
		unlink(run.socket);
		return 1;
	}
	if (ret <= 0)
		return ret;
	run.fd = fd;
	rundir_release(&run);
	return 1;
}
