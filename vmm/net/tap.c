// SPDX-License-Identifier: GPL-2.0-only
/*
 * tap.c - network back end on a tap interface, with the kernel's offloads.
 *
 * Linux Documentation/networking/tuntap.rst.  The kernel's header before each
 * frame (IFF_VNET_HDR) is virtio's own, so offloads pass through unchanged; the
 * kernel checks what the guest wrote there.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/net/net.h"
#include "vmm/vm.h"

#define TUN_PATH	"/dev/net/tun"

static ssize_t tap_receive(struct net_backend *be, uint8_t *buf)
{
	ssize_t n;

	do {
		n = read(be->fd, buf, NET_BUF_LEN);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EIO ? 0 : -EPIPE;
	return n;
}

static int tap_send(struct net_backend *be, const void *hdr, struct iovec *iov, unsigned int nr,
		    size_t len)
{
	ssize_t n;

	(void)len;
	iov[0] = (struct iovec){ (void *)hdr, NET_HDR_LEN };
	do {
		n = writev(be->fd, iov, nr);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	/* EBADFD: the interface was removed.  EIO: it is down; frames are lost. */
	return errno == EAGAIN ? -EAGAIN : errno == EBADFD ? -EPIPE : -EIO;
}

static void tap_guest_offloads(struct net_backend *be, uint64_t features)
{
	unsigned long flags = 0;

	if (features & 1ULL << VIRTIO_NET_F_GUEST_CSUM)
		flags |= TUN_F_CSUM;
	if (features & 1ULL << VIRTIO_NET_F_GUEST_TSO4)
		flags |= TUN_F_TSO4;
	if (features & 1ULL << VIRTIO_NET_F_GUEST_TSO6)
		flags |= TUN_F_TSO6;
	if (features & 1ULL << VIRTIO_NET_F_GUEST_ECN)
		flags |= TUN_F_TSO_ECN;
	if (features & 1ULL << VIRTIO_NET_F_GUEST_UFO)
		flags |= TUN_F_UFO;
	ioctl(be->fd, TUNSETOFFLOAD, flags);
}

static void tap_close(struct net_backend *be)
{
	close(be->fd);
	free(be);
}

static const struct net_backend_ops tap_ops = {
	.receive = tap_receive,
	.send = tap_send,
	.guest_offloads = tap_guest_offloads,
	.close = tap_close,
};

static uint64_t tap_features(int fd)
{
	uint64_t features = 0;

	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM))
		return 0;
	features |= 1ULL << VIRTIO_NET_F_CSUM | 1ULL << VIRTIO_NET_F_GUEST_CSUM;
	if (!ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN))
		features |= 1ULL << VIRTIO_NET_F_HOST_TSO4 | 1ULL << VIRTIO_NET_F_HOST_TSO6 |
			    1ULL << VIRTIO_NET_F_HOST_ECN | 1ULL << VIRTIO_NET_F_GUEST_TSO4 |
			    1ULL << VIRTIO_NET_F_GUEST_TSO6 | 1ULL << VIRTIO_NET_F_GUEST_ECN;
	if (!ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_UFO))
		features |= 1ULL << VIRTIO_NET_F_HOST_UFO | 1ULL << VIRTIO_NET_F_GUEST_UFO;
	ioctl(fd, TUNSETOFFLOAD, 0);
	return features;
}

/* An interface that was just made is down; one the user made is the user's business,
 * but down it is of no use.  Without the permission it stays as it is. */
static void tap_up(struct vm *vm, const char *name)
{
	struct ifreq ifr = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (s < 0)
		return;
	if (!ioctl(s, SIOCGIFFLAGS, &ifr) && !(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(s, SIOCSIFFLAGS, &ifr))
			log_info(vm, "tap interface %s is down; `ip link set %s up` lets frames "
				 "through", name, name);
	}
	close(s);
}

static int tap_fail(struct vm *vm, const char *name)
{
	int err = errno;

	switch (err) {
	case EBUSY:
		log_error(vm, "tap interface %s is in use by another process", name);
		break;
	case EPERM:
	case EACCES:
		log_error(vm, "no permission for tap interface %s; root can make one for you: "
			  "`ip tuntap add dev %s mode tap user NAME`", name, name);
		break;
	case EINVAL:
		log_error(vm, "interface %s exists and is no tap interface", name);
		break;
	default:
		log_error(vm, "cannot open tap interface %s: %s", name, strerror(err));
	}
	return -err;
}

int net_tap_check(struct vm *vm, const char *path)
{
	const char *name = config_string(vm->config, "%s.interface", path);

	if (!name[0] || strlen(name) >= IFNAMSIZ || strpbrk(name, "/% ")) {
		log_error(vm, "%s.interface: '%s' is no interface name (1 to %d letters)", path,
			  name, IFNAMSIZ - 1);
		return -EINVAL;
	}
	return 0;
}

int net_tap_open(struct vm *vm, const char *path, struct net_backend **out)
{
	const char *name = config_string(vm->config, "%s.interface", path);
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int hdr = NET_HDR_LEN, little = 1, err;
	struct net_backend *be;
	bool made;

	err = net_tap_check(vm, path);
	if (err)
		return err;
	be = calloc(1, sizeof(*be));
	if (!be)
		return -ENOMEM;
	be->ops = &tap_ops;
	be->kind = "tap";
	be->fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (be->fd < 0) {
		err = -errno;
		log_error(vm, "cannot open %s: %s%s", TUN_PATH, strerror(-err),
			  err == -ENOENT || err == -ENODEV ? "; load it with `modprobe tun`" : "");
		free(be);
		return err;
	}
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	made = !if_nametoindex(name);
	err = ioctl(be->fd, TUNSETIFF, &ifr);
	if (err && errno == EINVAL) {
		/* A persistent one may have been made with several queues. */
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
		err = ioctl(be->fd, TUNSETIFF, &ifr);
	}
	if (!err)
		err = ioctl(be->fd, TUNSETVNETHDRSZ, &hdr);
	if (err) {
		err = tap_fail(vm, name);
		tap_close(be);
		return err;
	}
	ioctl(be->fd, TUNSETVNETLE, &little);
	snprintf(be->detail, sizeof(be->detail), "%s", name);
	be->features = tap_features(be->fd);
	if (made)
		log_info(vm, "there was no interface %s: it is made for this run, and on no bridge "
			 "yet", name);
	tap_up(vm, name);
	*out = be;
	return 0;
}
