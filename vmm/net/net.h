/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * net.h - back ends of a network device: where its frames go.
 *
 * A back end is opened before the guest runs and then used by one thread.  It
 * owns one descriptor that its user watches: readable means receive() may have a
 * frame, writable that send() may take one again, and a hang-up or a -EPIPE of
 * either that it is gone for good.
 *
 * Every frame is preceded by struct virtio_net_hdr_v1 (virtio 1.2 section 5.1.6),
 * all zero where the back end knows no offloads.
 */
#ifndef VMM_NET_NET_H
#define VMM_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct vm;
struct net_backend;

#define NET_HDR_LEN	12
#define NET_FRAME_MAX	(65535 + 18)	/* a packet of 64 KiB, Ethernet and VLAN headers */
#define NET_BUF_LEN	(NET_HDR_LEN + NET_FRAME_MAX)

struct net_backend_ops {
	/*
	 * Header and frame to @buf of NET_BUF_LEN bytes.  Returns their length, 0
	 * if there is none now, -EPIPE if there never will be.
	 */
	ssize_t (*receive)(struct net_backend *be, uint8_t *buf);
	/*
	 * Sends the frame in iov[1] and following, @len bytes of @nr entries in all.
	 * iov[0] is the back end's to fill in: header or framing.  0: taken.  -EAGAIN: not
	 * now, when writable.  -EPIPE: gone.  Else the frame is lost.
	 */
	int (*send)(struct net_backend *be, const void *hdr, struct iovec *iov, unsigned int nr,
		    size_t len);
	/* Are there bytes that wait for the descriptor to become writable?  May be NULL. */
	bool (*backlog)(struct net_backend *be);
	/* Sends of them what goes.  -EPIPE.  May be NULL. */
	int (*flush)(struct net_backend *be);
	/* The guest takes these VIRTIO_NET_F_GUEST_* (bits).  May be NULL. */
	void (*guest_offloads)(struct net_backend *be, uint64_t features);
	void (*close)(struct net_backend *be);
};

struct net_backend {
	const struct net_backend_ops *ops;
	const char *kind;	/* "tap", "user" */
	char detail[32];	/* interface name... */
	int fd;
	uint64_t features;	/* VIRTIO_NET_F_* bits of the offloads it can do */
};

/* @path is the device's node in the configuration: "net.0".  Print their errors. */
int net_tap_open(struct vm *vm, const char *path, struct net_backend **out);
/* Does the node make sense?  Opens nothing.  0 or -EINVAL, -E2BIG. */
int net_tap_check(struct vm *vm, const char *path);
int net_passt_check(struct vm *vm, const char *path);
int net_passt_open(struct vm *vm, const char *path, struct net_backend **out);
/* False: not six bytes in hexadecimal with colons, or no address of a host. */
bool net_mac_parse(const char *text, uint8_t mac[6]);
/* The MAC of the interface at @path of guest @name: the same whenever and wherever it runs.  FNV-1a
 * over both; locally administered. */
void net_mac_derive(const char *name, const char *path, uint8_t mac[6]);
/* A stream socket that frames as passt does; takes @fd. */
struct net_backend *net_stream_create(int fd);

#endif
