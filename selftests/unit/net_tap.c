// SPDX-License-Identifier: GPL-2.0-only
/*
 * net_tap.c - the tap back end (vmm/net/tap.c) in a network namespace of its own.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "platform_vm.h"
#include "vmm/net/net.h"

static struct vm *vm;
static struct net_backend *be;
static uint8_t buf[NET_BUF_LEN];

static uint8_t arp[] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
	2, 0, 0, 0, 0, 1, 10, 7, 7, 2, 0, 0, 0, 0, 0, 0, 10, 7, 7, 1,
};

static int say(const struct virtio_net_hdr_v1 *hdr, void *frame, size_t len)
{
	struct iovec iov[3] = { { 0 }, { frame, 10 }, { (uint8_t *)frame + 10, len - 10 } };

	return be->ops->send(be, hdr, iov, 3, len);
}

/* The next frame of this Ethernet type; others (IPv6's chatter) are left out. */
static ssize_t hear(uint16_t type)
{
	struct pollfd p = { be->fd, POLLIN, 0 };
	ssize_t n;

	while (poll(&p, 1, 2000) > 0) {
		n = be->ops->receive(be, buf);
		if (n <= 0 || (buf[NET_HDR_LEN + 12] << 8 | buf[NET_HDR_LEN + 13]) == type)
			return n;
	}
	return 0;
}

int main(void)
{
	static const char *const none[] = { "memory", "2M", "net.0.type", "tap", "net.0.interface", "lo",
					    NULL };
	static const char *const settings[] = { "memory", "2M", "net.0.type", "tap",
						"net.0.interface", "hvtest0", NULL };
	struct virtio_net_hdr_v1 hdr = { 0 };
	struct net_backend *other;
	uint64_t want = 1ULL << VIRTIO_NET_F_CSUM | 1ULL << VIRTIO_NET_F_GUEST_CSUM |
			1ULL << VIRTIO_NET_F_HOST_TSO4 | 1ULL << VIRTIO_NET_F_GUEST_TSO6;
	int i, bad = 0;

	if (unshare(CLONE_NEWNET) || access("/dev/net/tun", R_OK | W_OK))
		ktap_skip_all("needs root and /dev/net/tun");
	vm = pv_create(none);
	ktap_plan(10);
	ktap_check(net_tap_open(vm, "net.0", &be) == -EINVAL, "an interface that is no tap");
	pv_destroy(vm);
	vm = pv_create(settings);
	if (!ktap_check(!net_tap_open(vm, "net.0", &be), "a tap interface that is made"))
		return ktap_finish();
	ktap_check((be->features & want) == want && !strcmp(be->detail, "hvtest0"),
		   "the kernel's offloads are found");
	ktap_check(net_tap_open(vm, "net.0", &other) == -EBUSY, "a second user of it");
	ktap_check(!system("ip link show hvtest0 | grep -q '[<,]UP[,>]'"), "it is up");
	if (system("ip addr add 10.7.7.1/24 dev hvtest0"))
		ktap_note("no address");
	ktap_check(!say(&hdr, arp, sizeof(arp)) && hear(0x0806) >= NET_HDR_LEN + 42 &&
		   buf[NET_HDR_LEN + 21] == 2, "the host answers");
	be->ops->guest_offloads(be, want);
	be->ops->guest_offloads(be, 0);
	ktap_check(!say(&hdr, arp, sizeof(arp)) && hear(0x0806) >= NET_HDR_LEN + 42,
		   "with offloads on and off again");
	for (i = 0; i < 2000; i++) {
		uint64_t noise[2] = { pv_random(), pv_random() };
		int ret;

		memcpy(&hdr, noise, sizeof(hdr));
		ret = say(&hdr, arp, sizeof(arp));
		bad += ret && ret != -EIO;
	}
	ktap_check(!bad, "2000 senseless headers are sent or lost, nothing else");
	memset(&hdr, 0, sizeof(hdr));
	while (be->ops->receive(be, buf) > 0)
		;
	ktap_check(!say(&hdr, arp, sizeof(arp)) && hear(0x0806) > 0, "and it goes on");
	if (system("ip link del hvtest0"))
		ktap_note("the interface stays");
	ktap_check(be->ops->receive(be, buf) == -EPIPE && say(&hdr, arp, sizeof(arp)) == -EPIPE,
		   "an interface that is removed is gone");
	be->ops->close(be);
	pv_destroy(vm);
	return ktap_finish();
}
