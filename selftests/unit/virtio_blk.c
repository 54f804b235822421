// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio_blk.c - the virtio block device (vmm/virtio/blk.c) on a file, seen by its driver.
 */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <unistd.h>

#include "virtio_driver.h"

#define HDR	VD_DATA
#define STATUS	(VD_DATA + 0x100)
#define BUF	(VD_DATA + 0x1000)
#define SECTORS	16384U

#define MODERN	(1ULL << VIRTIO_F_VERSION_1)
#define BASE	(MODERN | 1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC | \
		 1ULL << VIRTIO_BLK_F_FLUSH)

static struct vm *vm;
static struct vd d;
static char disk[128];

/* A request of one data buffer; its status, or -1. */
static int request_on(unsigned int q, uint32_t type, uint64_t sector, uint64_t gpa, uint32_t len,
		      bool write)
{
	struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };
	struct vd_buf buf[3] = { { HDR, sizeof(hdr), false }, { gpa, len, !write }, { STATUS, 1, true } };
	struct vd_used used;
	uint8_t status = 0xff;

	vd_put(&d, HDR, &hdr, sizeof(hdr));
	vd_put(&d, STATUS, &status, 1);
	if (!len)
		buf[1] = buf[2];
	if (!vd_do(&d, q, buf, len ? 3 : 2, &used))
		return -1;
	guest_read(vm, STATUS, &status, 1);
	return status;
}

static int request(uint32_t type, uint64_t sector, uint32_t len, bool write)
{
	return request_on(0, type, sector, BUF, len, write);
}

static bool file_is(off_t offset, const void *want, size_t len)
{
	uint8_t got[65536];
	int fd = open(disk, O_RDONLY | O_CLOEXEC);
	bool same = pread(fd, got, len, offset) == (ssize_t)len && !memcmp(got, want, len);

	close(fd);
	return same;
}

static void test_config(void)
{
	uint64_t offered = vd_offered(&d);

	ktap_check(pv_read(vm, d.device, 8) == SECTORS, "capacity in sectors");
	ktap_check(offered & 1ULL << VIRTIO_BLK_F_FLUSH && offered & 1ULL << VIRTIO_BLK_F_CONFIG_WCE &&
		   !(offered & 1ULL << VIRTIO_BLK_F_RO), "FLUSH and CONFIG_WCE are offered, RO is not");
	ktap_check((uint32_t)pv_read(vm, d.device + 12, 4) == 126 &&
		   (uint32_t)pv_read(vm, d.device + 20, 4) == 512, "seg_max and blk_size");
	ktap_check((uint16_t)pv_read(vm, d.device + 34, 2) == 2 &&
		   vd_get(&d, VIRTIO_PCI_COMMON_NUMQ, 2) == 2, "a queue for each of two vCPUs");
	ktap_check((uint8_t)pv_read(vm, d.device + 32, 1) == 1, "the cache starts in write-back mode");
}

static void test_requests(void)
{
	uint8_t data[65536], back[65536], id[20];
	unsigned int i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = pv_random();
	vd_start(&d, BASE | 1ULL << VIRTIO_BLK_F_MQ, 64);
	vd_put(&d, BUF, data, sizeof(data));
	ktap_check(!request(VIRTIO_BLK_T_OUT, 100, sizeof(data), true), "a write");
	ktap_check(!request(VIRTIO_BLK_T_FLUSH, 0, 0, false), "a flush");
	ktap_check(file_is(51200, data, sizeof(data)), "the file has it");
	guest_zero(vm, BUF, sizeof(data));
	ktap_check(!request(VIRTIO_BLK_T_IN, 100, sizeof(data), false) &&
		   !guest_read(vm, BUF, back, sizeof(back)) && !memcmp(back, data, sizeof(data)),
		   "a read gives it back");
	ktap_check(!request_on(1, VIRTIO_BLK_T_IN, 101, BUF + 3, 1024, false) &&
		   !guest_read(vm, BUF + 3, back, 1024) && !memcmp(back, data + 512, 1024),
		   "the other queue, to an odd address");
	ktap_check(!request(VIRTIO_BLK_T_GET_ID, 0, 20, false) && !guest_read(vm, BUF, id, 20) &&
		   !strcmp((char *)id, "virtio-blk0"), "its id");
	ktap_check(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16, true) == VIRTIO_BLK_S_UNSUPP,
		   "an unknown request is unsupported");
}

static void test_refused(void)
{
	struct vd_buf buf[2] = { { HDR, 8, false }, { STATUS, 1, true } };

	ktap_check(request(VIRTIO_BLK_T_IN, SECTORS, 512, false) == VIRTIO_BLK_S_IOERR,
		   "a sector behind the end");
	ktap_check(request(VIRTIO_BLK_T_IN, SECTORS - 1, 1024, false) == VIRTIO_BLK_S_IOERR,
		   "a read across the end");
	ktap_check(request(VIRTIO_BLK_T_OUT, ~0ULL, 512, true) == VIRTIO_BLK_S_IOERR &&
		   request(VIRTIO_BLK_T_OUT, 0x7fffffffffffffULL, 512, true) == VIRTIO_BLK_S_IOERR,
		   "sector numbers that wrap");
	ktap_check(request(VIRTIO_BLK_T_IN, 0, 100, false) == VIRTIO_BLK_S_IOERR,
		   "a part of a sector");
	ktap_check(!request(VIRTIO_BLK_T_IN, 0, 512, false), "the device is well");
	vd_add(&d, 0, buf, 2);
	vd_publish(&d, 0);
	vd_kick(&d, 0);
	ktap_check(vd_wait_needs_reset(&d), "half a header: NEEDS_RESET");
	vd_start(&d, BASE, 64);
	buf[0].len = 16;
	vd_add(&d, 0, buf, 1);
	vd_publish(&d, 0);
	vd_kick(&d, 0);
	ktap_check(vd_wait_needs_reset(&d), "no room for a status: NEEDS_RESET");
	ktap_check(vd_start(&d, BASE, 64) && !request(VIRTIO_BLK_T_IN, 0, 512, false),
		   "and well again after a reset");
}

static void test_ranges(void)
{
	struct virtio_blk_discard_write_zeroes r = { .sector = 100, .num_sectors = 8 };
	uint64_t features = 1ULL << VIRTIO_BLK_F_DISCARD | 1ULL << VIRTIO_BLK_F_WRITE_ZEROES;
	static const uint8_t zero[8192];

	if ((vd_offered(&d) & features) != features) {
		ktap_skip("discard", "the file system has no holes");
		ktap_skip("write zeroes", "the file system has no holes");
		ktap_skip("what is wrong with a range", "the file system has no holes");
		ktap_skip("not negotiated", "the file system has no holes");
		return;
	}
	vd_start(&d, BASE | features, 64);
	vd_put(&d, BUF, &r, sizeof(r));
	ktap_check(!request(VIRTIO_BLK_T_DISCARD, 0, sizeof(r), true) && file_is(51200, zero, 4096),
		   "discard");
	r = (struct virtio_blk_discard_write_zeroes){ 108, 8, 1 };
	vd_put(&d, BUF, &r, sizeof(r));
	ktap_check(!request(VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(r), true) &&
		   file_is(51200, zero, 8192) && !file_is(51200 + 8192, zero, 512), "write zeroes");
	r.flags = 2;
	vd_put(&d, BUF, &r, sizeof(r));
	ktap_check(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(r), true) == VIRTIO_BLK_S_UNSUPP &&
		   request(VIRTIO_BLK_T_DISCARD, 0, 8, true) == VIRTIO_BLK_S_IOERR &&
		   request(VIRTIO_BLK_T_DISCARD, 0, 32, true) == VIRTIO_BLK_S_IOERR,
		   "an unknown flag, half a range, two ranges");
	r = (struct virtio_blk_discard_write_zeroes){ SECTORS - 4, 8, 0 };
	vd_put(&d, BUF, &r, sizeof(r));
	ktap_check(request(VIRTIO_BLK_T_DISCARD, 0, sizeof(r), true) == VIRTIO_BLK_S_IOERR,
		   "a range across the end");
}

/* Many requests in flight when the driver resets: none may touch memory after that. */
static void test_reset(void)
{
	struct virtio_blk_outhdr hdr = { .type = VIRTIO_BLK_T_IN };
	unsigned int i, round, n = 20;
	struct vd_queue *q = &d.q[0];
	uint8_t byte, zero[16384];
	bool good = true;

	vd_put(&d, HDR, &hdr, sizeof(hdr));
	for (round = 0; round < 30; round++) {
		vd_start(&d, BASE, 64);
		for (i = 0; i < n; i++) {
			struct vd_buf buf[3] = { { HDR, 16, false },
						 { BUF + 16384 * i, 16384, true },
						 { STATUS + i, 1, true } };

			vd_add(&d, 0, buf, 3);
		}
		vd_publish(&d, 0);
		vd_kick(&d, 0);
		if (round & 1)
			nanosleep(&(struct timespec){ .tv_nsec = 20000 * round }, NULL);
		good &= vd_reset(&d);
		guest_zero(vm, BUF, 16384 * n);
		guest_zero(vm, q->used, 0x1000);
		for (i = 0; i < 16384 * n; i += 16384) {
			guest_read(vm, BUF + i, zero, sizeof(zero));
			good &= !zero[0] && !memcmp(zero, zero + 1, sizeof(zero) - 1);
		}
		guest_read(vm, q->used + 2, &byte, 1);
		good &= !byte;
	}
	ktap_check(good, "30 resets with requests in flight: memory is the driver's afterwards");
	ktap_check(vd_start(&d, BASE, 64) && !request(VIRTIO_BLK_T_IN, 0, 512, false),
		   "and the device works");
}

static void test_pause(void)
{
	struct device *dev = &d.pci->dev;
	struct vd_used used;
	unsigned int i, done = 0;
	struct vd_buf buf[3] = { { HDR, 16, false }, { BUF, 65536, true }, { STATUS, 1, true } };

	vd_start(&d, BASE, 64);
	for (i = 0; i < 20; i++)
		vd_add(&d, 0, buf, 3);
	vd_publish(&d, 0);
	vd_kick(&d, 0);
	dev->type->pause(dev);
	ktap_check(!d.vdev->in_flight && !d.vdev->queue[0].ring.live, "a pause leaves nothing in flight");
	dev->type->resume(dev);
	while (done < 20 && vd_used(&d, 0, &used))
		done++;
	ktap_check(done == 20, "and loses nothing");
	vd_reset(&d);
	pv_write(vm, d.device + 32, 1, 0);
	ktap_check((uint8_t)pv_read(vm, d.device + 32, 1) == 1, "wce needs CONFIG_WCE");
	vd_start(&d, BASE | 1ULL << VIRTIO_BLK_F_CONFIG_WCE, 64);
	pv_write(vm, d.device + 32, 1, 0);
	ktap_check((uint8_t)pv_read(vm, d.device + 32, 1) == 0 && pv_survives_save(dev) &&
		   (uint8_t)d.vdev->config[32] == 0, "write-through is set, and survives a save");
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	const char *settings[] = { "memory", "64M", "cpus", "2", "disk.0.path", disk, NULL };
	int fd;

	snprintf(disk, sizeof(disk), "%.64s/virtio_blk-XXXXXX", tmp ? tmp : "/var/tmp");
	fd = mkstemp(disk);
	if (fd < 0 || ftruncate(fd, SECTORS * 512))
		ktap_bail("no file");
	close(fd);
	ktap_plan(31);
	vm = vd_vm_create(settings);
	vd_create(&d, vm, "virtio-blk", "disk.0");
	test_config();
	test_requests();
	test_refused();
	test_ranges();
	test_reset();
	test_pause();
	vd_noise(&d, vd_offered(&d), 300);
	ktap_check(vd_start(&d, BASE, 64) && !request(VIRTIO_BLK_T_IN, 0, 512, false),
		   "after 300 rounds of noise it works");
	pv_destroy(vm);
	unlink(disk);
	return ktap_finish();
}
