/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * net.h - the virtio network device, between net.c and net_ctrl.c.
 */
#ifndef VMM_VIRTIO_NET_H
#define VMM_VIRTIO_NET_H

#include "vmm/net/net.h"
#include "vmm/virtio/virtio.h"

enum { NET_RX, NET_TX, NET_CTRL, NET_QUEUES };

#define NET_PIECES	256	/* descriptors of one frame */
#define NET_RX_MODES	6	/* VIRTIO_NET_CTRL_RX_* */

struct net_stats {
	uint64_t rx_packets, rx_bytes, rx_dropped;
	uint64_t tx_packets, tx_bytes, tx_dropped;
};

struct virtio_net {
	struct virtio_device vdev;
	struct net_backend *backend;	/* NULL: none */
	uint8_t mac_initial[6];

	/* Guarded by dev->lock */
	uint8_t mac[6];
	bool link;
	bool announce;		/* the guest is to announce itself (5.1.6.5.4) */

	/* The I/O thread's */
	bool lost;		/* the back end has gone */
	bool fresh;		/* not started since the last reset */
	uint64_t guest_offloads;
	uint8_t rx_mode[NET_RX_MODES];	/* as the driver set it; nothing is filtered */
	struct loop_fd watch;
	bool rx_wanted;		/* the back end is watched for frames */
	bool tx_blocked;	/* a frame waits in its ring for the back end */
	uint8_t *frame;		/* header and frame on its way to the guest */
	uint32_t frame_len;	/* 0: none */
	struct net_stats stats;	/* read by any thread */
	struct guest_pin piece[2 * NET_PIECES];
	struct iovec iov[NET_PIECES + 1];
};

/* Asks the guest to announce its addresses: after it has moved to another host. */
void virtio_net_announce(struct virtio_net *net);

/* Gives the device its back end, which it owns from now on; before a driver starts it. */
void virtio_net_attach(struct virtio_net *net, struct net_backend *backend);

void virtio_net_config_update(struct virtio_net *net);
void virtio_net_offloads_set(struct virtio_net *net, uint64_t offloads);
void virtio_net_ctrl_process(struct virtio_net *net, struct virtio_queue *q);

#endif
