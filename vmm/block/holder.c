// SPDX-License-Identifier: GPL-2.0-only
/*
 * holder.c - who has a disk: for the line that refuses it.
 *
 * The kernel names no process for an open-file-description lock, so /proc is
 * searched for a descriptor of the same file that holds one.  What the user may
 * not see there stays "another process".
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vmm/block/internal.h"

static bool same_file(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool fd_has_lock(const char *pid, const char *fd)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "lock:", 5);
	fclose(f);
	return found;
}

/* Does @pid have @file open?  With @lock: by a descriptor that holds a lock. */
static bool process_has(const char *pid, const struct stat *file, bool lock)
{
	char path[64];
	struct dirent *entry;
	bool found = false;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' &&
			!fstatat(dirfd(dir), entry->d_name, &st, 0) && same_file(&st, file) &&
			(!lock || fd_has_lock(pid, entry->d_name));
	closedir(dir);
	return found;
}

/* A vmm holds its guest's name as the file hv/NAME.lock (vmm/rundir.h). */
static bool guest_name(const char *pid, char *name, size_t len)
{
	char path[64], target[512], *base, *dot;
	struct dirent *entry;
	bool found = false;
	ssize_t n;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		base = strrchr(target, '/');
		dot = strrchr(target, '.');
		found = base && base >= target + 3 && !strncmp(base - 3, "/hv", 3) &&
			dot > base + 1 && !strcmp(dot, ".lock");
		if (found)
			snprintf(name, len, "%.*s", (int)(dot - base - 1), base + 1);
	}
	closedir(dir);
	return found;
}

static void process_name(const char *pid, char *buf, size_t len)
{
	char path[64], name[65];
	FILE *f;

	if (guest_name(pid, name, sizeof(name))) {
		snprintf(buf, len, "guest %s (pid %.16s)", name, pid);
		return;
	}
	snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%64s", name) != 1)
		snprintf(name, sizeof(name), "process");
	if (f)
		fclose(f);
	snprintf(buf, len, "%s (pid %.16s)", name, pid);
}

/* "a mount on /srv" if @file is a mounted block device. */
static bool mount_name(const struct stat *file, char *buf, size_t len)
{
	char line[1024], point[256];
	unsigned int major_nr, minor_nr;
	bool found = false;
	FILE *f;

	if (!S_ISBLK(file->st_mode))
		return false;
	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*d %*d %u:%u %*s %255s", &major_nr, &minor_nr, point) != 3)
			continue;
		found = makedev(major_nr, minor_nr) == file->st_rdev;
	}
	fclose(f);
	if (found)
		snprintf(buf, len, "a mount on %s", point);
	return found;
}

void block_holder(int fd, const char *path, char *buf, size_t len)
{
	struct dirent *entry;
	struct stat file;
	DIR *proc;

	snprintf(buf, len, "another process");
	if (fd >= 0 ? fstat(fd, &file) : stat(path, &file))
		return;
	if (mount_name(&file, buf, len))
		return;
	proc = opendir("/proc");
	if (!proc)
		return;
	while ((entry = readdir(proc))) {
		char *end;
		long pid = strtol(entry->d_name, &end, 10);

		/* Our own descriptor has no lock: that is why we are here. */
		if (*end || pid <= 0 || !process_has(entry->d_name, &file, fd >= 0))
			continue;
		process_name(entry->d_name, buf, len);
		break;
	}
	closedir(proc);
}
