// SPDX-License-Identifier: GPL-2.0-only
/*
 * file.c - opening a disk: what the file is, who else has it, what it can do.
 *
 * Locks: an open-file-description lock over the whole file, shared for a
 * read-only disk and exclusive for a writable one; a writable block device is
 * also opened O_EXCL, which keeps mounts and RAID away.  The lock goes with the
 * last descriptor, so a vmm that crashed leaves none behind.
 *
 * Must not change a byte of the file, nor its size.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vmm/block/internal.h"

#define PAGE		4096U
#define PHYSICAL	4096U	/* what most file systems write without reading first */
#define PROBE_GAP	(1ULL << 20)

struct error {
	char *buf;
	size_t len;
};

static int fail(const struct error *e, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(const struct error *e, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->buf, e->len, fmt, ap);
	va_end(ap);
	return err;
}

static int fail_open(const struct block *block, const struct error *e, bool readonly)
{
	char who[128];
	int err = errno;

	switch (err) {
	case ENOENT:
		return fail(e, -err, "disk %s does not exist; create it with "
			    "`truncate -s SIZE %s`", block->path, block->path);
	case EACCES:
	case EPERM:
		return fail(e, -err, "disk %s: no permission to %s it; check its owner and mode",
			    block->path, readonly ? "read" : "write");
	case EROFS:
		return fail(e, -err, "disk %s is on a read-only file system; add ,ro",
			    block->path);
	case EBUSY:
		block_holder(-1, block->path, who, sizeof(who));
		return fail(e, -err, "disk %s is in use by %s", block->path, who);
	}
	return fail(e, -err, "cannot open disk %s: %s", block->path, strerror(err));
}

static int file_lock(struct block *block, const struct error *e)
{
	struct flock lock = {
		.l_type = block->facts.readonly ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};
	char who[128];
	int err;

	while (fcntl(block->fd, F_OFD_SETLK, &lock)) {
		err = errno;
		if (err == EINTR)
			continue;
		if (err == EAGAIN || err == EACCES) {
			block_holder(block->fd, block->path, who, sizeof(who));
			return fail(e, -EBUSY, "disk %s is in use by %s; two guests can share a "
				    "disk only if both have it read-only", block->path, who);
		}
		/* Some network file systems have no locks.  The user is told by `vmm info`. */
		if (err == ENOLCK || err == EOPNOTSUPP || err == ENOSYS || err == EINVAL)
			return 0;
		return fail(e, -err, "cannot lock disk %s: %s", block->path, strerror(err));
	}
	block->facts.locked = true;
	return 0;
}

/* ------------------------------------------------------------------ */

/* A number in /sys about the queue of block device @rdev, also of a partition's disk. */
static uint64_t queue_limit(dev_t rdev, const char *name)
{
	static const char *const where[] = { "", "../" };
	unsigned long long value = 0;
	char path[128];
	unsigned int i;
	FILE *f;

	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(rdev),
			 minor(rdev), where[i], name);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fscanf(f, "%llu", &value) != 1)
			value = 0;
		fclose(f);
		break;
	}
	return value;
}

static int device_probe(struct block *block, const struct stat *st, const struct error *e)
{
	struct block_facts *facts = &block->facts;
	unsigned int physical = 0, optimal = 0;
	int logical = 0, readonly = 0;

	if (ioctl(block->fd, BLKGETSIZE64, &facts->size) || ioctl(block->fd, BLKSSZGET, &logical))
		return fail(e, -errno, "cannot get the size of disk %s: %s", block->path,
			    strerror(errno));
	if (!facts->readonly && !ioctl(block->fd, BLKROGET, &readonly) && readonly)
		return fail(e, -EROFS, "disk %s is a read-only device; add ,ro", block->path);
	ioctl(block->fd, BLKPBSZGET, &physical);
	ioctl(block->fd, BLKIOOPT, &optimal);
	facts->logical = logical;
	facts->physical = physical > facts->logical ? physical : facts->logical;
	facts->optimal = optimal;
	facts->can_discard = !facts->readonly && queue_limit(st->st_rdev, "discard_max_bytes");
	facts->can_zero = !facts->readonly && queue_limit(st->st_rdev, "write_zeroes_max_bytes");
	facts->discard_unit = queue_limit(st->st_rdev, "discard_granularity");
	return 0;
}

/*
 * Can the file system punch holes?  Asked well behind the end of the file, where
 * there is nothing to lose; those that cannot say so before they look.
 */
static bool can_punch(const struct block *block)
{
	off_t behind = (off_t)((block->facts.size + 2 * PROBE_GAP) & ~(PROBE_GAP - 1));

	return !fallocate(block->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, behind, PAGE);
}

static void file_probe(struct block *block, const struct stat *st)
{
	struct block_facts *facts = &block->facts;

	facts->size = st->st_size;
	facts->logical = BLOCK_SECTOR;
	facts->physical = PHYSICAL;
	facts->discard_unit = st->st_blksize >= BLOCK_SECTOR && st->st_blksize <= (1 << 20) ?
				      st->st_blksize : PAGE;
	facts->can_discard = !facts->readonly && can_punch(block);
	/* A hole reads as zeroes; without UNMAP a range is made zero in place. */
	facts->can_zero = facts->can_discard;
}

/* Does the kernel take a direct read of @len bytes to a buffer so aligned? */
static bool direct_read_works(const struct block *block, uint8_t *page, size_t align, size_t len)
{
	return pread(block->fd, page + align, len, 0) >= 0 || errno != EINVAL;
}

/*
 * Finds the smallest alignment direct I/O takes.  A guest addresses sectors of
 * facts.logical bytes; where the file wants larger ones it is used buffered,
 * because a read-modify-write here would race with the guest's other requests.
 */
static void direct_probe(struct block *block)
{
	struct block_facts *facts = &block->facts;
	void *page;

	if (!facts->direct)
		return;
	if (posix_memalign(&page, 2 * PAGE, 2 * PAGE)) {
		facts->direct_why = "no memory to try it";
	} else {
		if (!direct_read_works(block, page, 0, facts->logical))
			facts->direct_why = "it takes larger sectors than the guest's";
		else if (direct_read_works(block, page, BLOCK_SECTOR, facts->logical))
			facts->align = BLOCK_SECTOR;
		else
			facts->align = PAGE;
		free(page);
	}
	if (facts->direct_why) {
		facts->direct = false;
		fcntl(block->fd, F_SETFL, fcntl(block->fd, F_GETFL) & ~O_DIRECT);
	}
}

int block_file_open(struct block *block, const struct block_options *options, char *err,
		    size_t err_len)
{
	struct block_facts *facts = &block->facts;
	const struct error e = { err, err_len };
	int flags = O_CLOEXEC | O_NOCTTY, ret;
	struct stat st;

	facts->readonly = options->readonly;
	facts->align = 1;
	flags |= options->readonly ? O_RDONLY : O_RDWR;
	/* Before it is opened: opening a FIFO or a tape does something. */
	if (stat(block->path, &st))
		return fail_open(block, &e, options->readonly);
	if (S_ISDIR(st.st_mode))
		return fail(&e, -EISDIR, "disk %s is a directory", block->path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return fail(&e, -EINVAL, "disk %s is neither a file nor a block device",
			    block->path);
	if (S_ISBLK(st.st_mode) && !options->readonly)
		flags |= O_EXCL;
	if (options->direct) {
		block->fd = open(block->path, flags | O_DIRECT);
		facts->direct = block->fd >= 0;
		facts->direct_why = facts->direct ? NULL : "the file system has no direct I/O";
	}
	if (block->fd < 0 && (!options->direct || errno == EINVAL))
		block->fd = open(block->path, flags);
	if (block->fd < 0)
		return fail_open(block, &e, options->readonly);
	if (fstat(block->fd, &st))
		return fail_open(block, &e, options->readonly);
	facts->device = S_ISBLK(st.st_mode);

	ret = file_lock(block, &e);
	if (ret)
		return ret;
	if (facts->device) {
		ret = device_probe(block, &st, &e);
		if (ret)
			return ret;
	} else {
		file_probe(block, &st);
	}
	if (!facts->size)
		return fail(&e, -EINVAL, "disk %s is empty; give it a size with "
			    "`truncate -s SIZE %s`", block->path, block->path);
	if (facts->size % facts->logical)
		return fail(&e, -EINVAL, "disk %s has %llu bytes, which is not a multiple of %u; "
			    "`truncate -s %%%u %s` fills it up (a raw image is wanted)",
			    block->path, (unsigned long long)facts->size, facts->logical,
			    facts->logical, block->path);
	direct_probe(block);
	return 0;
}
