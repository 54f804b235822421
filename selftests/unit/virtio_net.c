// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio_net.c - the virtio network device (vmm/virtio/net.c) between a small driver and a socket
 * that plays passt.
 */
#include <arpa/inet.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sched.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio_driver.h"
#include "vmm/virtio/net.h"

#define HDR	VD_DATA
#define ACK	(VD_DATA + 0x100)
#define CMD	(VD_DATA + 0x200)
#define TX	(VD_DATA + 0x1000)
#define RX	0x300000ULL

#define BIT(n)	(1ULL << (n))
#define BASE	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_NET_F_MAC) | \
		 BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | \
		 BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE))
#define MERGED	(BASE | BIT(VIRTIO_NET_F_MRG_RXBUF))

static struct vm *vm;
static struct vd d;
static struct virtio_net *net;
static int peer;
static uint8_t frame[NET_FRAME_MAX];

static bool started(struct vd *dd, uint64_t unused)
{
	return virtio_active(dd->vdev);
}

static void start(uint64_t features, uint16_t size)
{
	vd_start(&d, features, size);
	vd_wait_until(started, &d, 0);
}

static void say(size_t len)
{
	uint32_t length = htonl(len);

	if (write(peer, &length, 4) != 4 || write(peer, frame, len) != (ssize_t)len)
		ktap_note("the peer cannot write");
}

static ssize_t hear(uint8_t *buf, size_t room)
{
	struct pollfd p = { peer, POLLIN, 0 };
	uint32_t length;

	if (poll(&p, 1, 2000) <= 0 || recv(peer, &length, 4, MSG_WAITALL) != 4 ||
	    ntohl(length) > room)
		return -1;
	return recv(peer, buf, ntohl(length), MSG_WAITALL);
}

static bool waiting(void)
{
	struct pollfd p = { peer, POLLIN, 0 };

	return poll(&p, 1, 0) > 0;
}

static void rx_add(unsigned int n, uint32_t len)
{
	while (n--) {
		struct vd_buf buf = { RX + 0x1000ULL * (d.q[NET_RX].next_avail % 64), len, true };

		vd_add(&d, NET_RX, &buf, 1);
	}
	vd_publish(&d, NET_RX);
	vd_kick(&d, NET_RX);
}

/* The frame of @len bytes from buffers of @size; the number of them it took, or -1. */
static int rx_get(size_t len, uint32_t size)
{
	struct virtio_net_hdr_v1 hdr;
	uint8_t got[NET_BUF_LEN];
	struct vd_used used;
	size_t have = 0;
	int n = 0;

	do {
		uint16_t at = d.q[NET_RX].seen_used % 64;

		if (!vd_used(&d, NET_RX, &used) || used.len > size)
			return -1;
		guest_read(vm, RX + 0x1000ULL * at, got + have, used.len);
		have += used.len;
		if (!n)
			memcpy(&hdr, got, sizeof(hdr));
	} while (++n < hdr.num_buffers);
	return have == len + NET_HDR_LEN && !memcmp(got + NET_HDR_LEN, frame, len) ? n : -1;
}

static bool idle(unsigned int n)
{
	nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
	return !vd_used_ready(&d, n);
}

static void test_config(void)
{
	uint64_t offered = vd_offered(&d);
	uint64_t mac = pv_read(vm, d.device, 8);

	ktap_check((offered & MERGED) == MERGED && !(offered & BIT(VIRTIO_NET_F_CSUM)),
		   "features: what every back end has, no offloads on a stream");
	ktap_check((mac & 3) == 2 && (mac >> 48) == VIRTIO_NET_S_LINK_UP,
		   "a local MAC address and a link");
	ktap_check(!vd_negotiate(&d, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_CTRL_RX)),
		   "CTRL_RX needs CTRL_VQ");
}

static void test_tx(void)
{
	struct vd_buf buf[3] = { { HDR, NET_HDR_LEN, false }, { TX, 1000, false },
				 { TX + 1000, 514, false } };
	struct vd_used used;
	uint8_t got[2000];
	unsigned int i;
	bool good = true;

	start(BASE, 64);
	guest_zero(vm, HDR, NET_HDR_LEN);
	vd_put(&d, TX, frame, 1514);
	ktap_check(vd_do(&d, NET_TX, buf, 3, &used) && hear(got, sizeof(got)) == 1514 &&
		   !memcmp(got, frame, 1514), "a frame goes out without its header");
	buf[0] = (struct vd_buf){ TX, NET_HDR_LEN + 60, false };
	ktap_check(vd_do(&d, NET_TX, buf, 1, &used) && hear(got, sizeof(got)) == 60 &&
		   !memcmp(got, frame + NET_HDR_LEN, 60), "one whose header is in the same buffer");
	buf[0].len = 5;
	ktap_check(vd_do(&d, NET_TX, buf, 1, &used) && net->stats.tx_dropped == 1,
		   "less than a header is dropped");
	/* More than the socket takes: the ring waits, nothing is lost. */
	buf[0] = (struct vd_buf){ HDR, NET_HDR_LEN, false };
	buf[1] = (struct vd_buf){ TX, 1514, false };
	for (i = 0; i < 2000; i++) {
		vd_add(&d, NET_TX, buf, 2);
		if (i % 20 == 19) {
			vd_publish(&d, NET_TX);
			vd_kick(&d, NET_TX);
			if (i >= 1000) {
				unsigned int n = 20;

				while (n--)
					good &= hear(got, sizeof(got)) == 1514;
			}
			/* As a driver does: not more than the ring has. */
			while (d.q[NET_TX].next_avail - d.q[NET_TX].seen_used > 24 && i < 1000)
				if (vd_used_ready(&d, NET_TX))
					vd_used(&d, NET_TX, &used);
				else if (waiting())
					good &= hear(got, sizeof(got)) == 1514;
				else
					sched_yield();
			while (vd_used_ready(&d, NET_TX))
				vd_used(&d, NET_TX, &used);
		}
	}
	while (good && net->stats.tx_packets < 2002)
		if (hear(got, sizeof(got)) < 0)
			break;
	ktap_check(net->stats.tx_packets == 2002 && net->stats.tx_dropped == 1,
		   "2000 frames through a slow peer, none lost (%llu)",
		   (unsigned long long)net->stats.tx_packets);
	while (recv(peer, got, sizeof(got), MSG_DONTWAIT) > 0)
		;
}

static void test_rx(void)
{
	unsigned int i;
	bool good = true;

	start(BASE, 64);
	say(60);
	ktap_check(idle(NET_RX), "without a buffer a frame waits");
	rx_add(1, 2048);
	ktap_check(rx_get(60, 2048) == 1, "and comes with one");
	rx_add(8, 2048);
	say(1514);
	say(61);
	ktap_check(rx_get(1514, 2048) == 1 && rx_get(61, 2048) == 1, "frames come as they are");
	say(4000);
	say(62);
	ktap_check(rx_get(62, 2048) == 1 && net->stats.rx_dropped == 1,
		   "one that does not fit its buffer is dropped, the next is not");

	start(MERGED, 64);
	rx_add(16, 1000);
	say(9000);
	ktap_check(rx_get(9000, 1000) == 10, "9000 bytes in ten merged buffers");
	say(9001);
	ktap_check(idle(NET_RX), "six are not enough");
	rx_add(4, 1000);
	ktap_check(rx_get(9001, 1000) == 10, "with four more they are");
	rx_add(4, 1000);
	say(65535);
	ktap_check(idle(NET_RX), "64 KiB wait for sixty-six");
	rx_add(60, 1000);
	say(63);
	nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
	ktap_check(rx_get(63, 1000) == 1 && net->stats.rx_dropped == 2,
		   "which the ring can never have: dropped");
	start(MERGED, 64);
	rx_add(32, 0x1000);
	for (i = 0; i < 1000 && good; i++) {
		size_t len = 14 + pv_random() % 9000;
		int n;

		say(len);
		n = rx_get(len, 0x1000);
		good &= n > 0;
		if (n > 0)
			rx_add(n, 0x1000);
	}
	ktap_check(good, "1000 frames round the ring");
}

static int control(uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	struct virtio_net_ctrl_hdr hdr = { class, cmd };
	struct vd_buf buf[3] = { { HDR, 2, false }, { CMD, len, false }, { ACK, 1, true } };
	struct vd_used used;
	uint8_t ack = 0xff;

	vd_put(&d, HDR, &hdr, 2);
	vd_put(&d, CMD, data, len);
	vd_put(&d, ACK, &ack, 1);
	if (!vd_do(&d, NET_CTRL, buf, 3, &used))
		return -1;
	guest_read(vm, ACK, &ack, 1);
	return ack;
}

static void test_ctrl(void)
{
	uint8_t one = 1, mac[6] = { 2, 1, 2, 3, 4, 5 };
	uint8_t table[20] = { 1, 0, 0, 0, 2, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1 };

	start(BASE, 64);
	ktap_check(control(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &one, 1) == VIRTIO_NET_OK &&
		   control(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, table, 2) == VIRTIO_NET_ERR,
		   "receive mode");
	ktap_check(control(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6) == VIRTIO_NET_OK &&
		   (pv_read(vm, d.device, 4) & 0xffffffff) == 0x03020102, "MAC address");
	ktap_check(control(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, 20) ==
		   VIRTIO_NET_OK, "MAC table");
	table[0] = 200;
	ktap_check(control(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, 20) ==
		   VIRTIO_NET_ERR, "a table longer than the command");
	memset(table, 0xff, 4);
	ktap_check(control(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, 20) ==
		   VIRTIO_NET_ERR, "a table of 4 billion");
	ktap_check(control(VIRTIO_NET_CTRL_MQ, 0, table, 2) == VIRTIO_NET_ERR, "an unknown command");
	virtio_net_announce(net);
	ktap_check((pv_read(vm, d.device + 6, 2) & 3) == 3 && pv_read(vm, d.isr, 1) & 2,
		   "the guest is asked to announce itself");
	ktap_check(control(VIRTIO_NET_CTRL_ANNOUNCE, 0, &one, 1) == VIRTIO_NET_OK &&
		   (pv_read(vm, d.device + 6, 2) & 3) == 1, "and has");
	ktap_check(pv_survives_save(&d.pci->dev), "state survives a save");
}

static bool link_down(struct vd *dd, uint64_t unused)
{
	return !(pv_read(dd->vm, dd->device + 6, 2) & VIRTIO_NET_S_LINK_UP);
}

static void test_noise(void)
{
	struct vd_buf buf[2] = { { HDR, NET_HDR_LEN, false }, { TX, 60, false } };
	struct vd_used used;
	uint8_t rest[4096];
	unsigned int i;

	for (i = 0; i < 10; i++) {
		say(14 + pv_random() % 3000);
		vd_noise(&d, vd_offered(&d), 30);
		while (recv(peer, rest, sizeof(rest), MSG_DONTWAIT) > 0)
			;
	}
	start(BASE, 64);
	vd_add(&d, NET_TX, buf, 2);
	vd_publish(&d, NET_TX);
	vd_kick(&d, NET_TX);
	/* Behind what the noise left half sent. */
	for (i = 0; i < 5000 && !vd_used_ready(&d, NET_TX); i++) {
		while (recv(peer, rest, sizeof(rest), MSG_DONTWAIT) > 0)
			;
		usleep(1000);
	}
	ktap_check(vd_used(&d, NET_TX, &used), "after 300 rounds of noise it works");
}

static void test_end(void)
{
	struct vd_buf buf[2] = { { HDR, NET_HDR_LEN, false }, { TX, 60, false } };
	struct vd_used used;

	start(BASE, 64);
	close(peer);
	ktap_check(vd_wait_until(link_down, &d, 0) && pv_read(vm, d.isr, 1) & 2,
		   "the peer ends: link down, and the guest is told");
	ktap_check(vd_do(&d, NET_TX, buf, 2, &used), "frames are swallowed from then on");
	ktap_check(vd_reset(&d), "and the device resets as ever");
}

int main(void)
{
	const char *settings[] = { "memory", "64M", NULL };
	int fds[2], size = 8192, i;

	ktap_plan(30);
	for (i = 0; i < NET_FRAME_MAX; i++)
		frame[i] = pv_random();
	vm = vd_vm_create(settings);
	vd_create(&d, vm, "virtio-net", "net.0");
	net = (struct virtio_net *)d.vdev;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		ktap_bail("no socket");
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	peer = fds[1];
	virtio_net_attach(net, net_stream_create(fds[0]));
	test_config();
	test_tx();
	test_rx();
	test_ctrl();
	test_noise();
	test_end();
	pv_destroy(vm);
	return ktap_finish();
}
