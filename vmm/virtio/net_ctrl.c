// SPDX-License-Identifier: GPL-2.0-only
/*
 * net_ctrl.c - control queue of the virtio network device.
 *
 * virtio 1.2 section 5.1.6.5: receive mode, MAC table and address, VLANs,
 * announcement, guest offloads.  Filters are accepted and not applied, as
 * 5.1.6.5.1 and 5.1.6.5.2 allow: the host delivers what reaches the interface.
 */
#include <linux/virtio_net.h>
#include <string.h>

#include "vmm/virtio/net.h"
#include "vmm/vm.h"

#define HDR_LEN		sizeof(struct virtio_net_ctrl_hdr)

static bool rx_mode_set(struct virtio_net *net, uint8_t cmd, const struct virtq_chain *chain)
{
	uint8_t on;

	if (cmd >= NET_RX_MODES || chain->read_len != HDR_LEN + 1)
		return false;
	virtq_chain_read(chain, HDR_LEN, &on, 1);
	net->rx_mode[cmd] = !!on;
	return true;
}

/* Two tables follow each other, each a count and that many addresses. */
static bool mac_table_ok(const struct virtq_chain *chain)
{
	uint64_t at = HDR_LEN;
	uint32_t entries;
	int i;

	for (i = 0; i < 2; i++) {
		if (virtq_chain_read(chain, at, &entries, sizeof(entries)) != sizeof(entries))
			return false;
		at += sizeof(entries) + 6ULL * entries;
		if (at > chain->read_len)
			return false;
	}
	return at == chain->read_len;
}

static bool mac_set(struct virtio_net *net, uint8_t cmd, const struct virtq_chain *chain)
{
	struct device *dev = virtio_dev(&net->vdev);
	uint8_t mac[6];

	if (cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return mac_table_ok(chain);
	if (cmd != VIRTIO_NET_CTRL_MAC_ADDR_SET || chain->read_len != HDR_LEN + sizeof(mac))
		return false;
	virtq_chain_read(chain, HDR_LEN, mac, sizeof(mac));
	device_lock(dev);
	memcpy(net->mac, mac, sizeof(mac));
	virtio_net_config_update(net);
	device_unlock(dev);
	return true;
}

static bool announce_done(struct virtio_net *net, uint8_t cmd)
{
	struct device *dev = virtio_dev(&net->vdev);

	if (cmd != VIRTIO_NET_CTRL_ANNOUNCE_ACK)
		return false;
	device_lock(dev);
	net->announce = false;
	virtio_net_config_update(net);
	device_unlock(dev);
	return true;
}

static bool offloads_set(struct virtio_net *net, uint8_t cmd, const struct virtq_chain *chain)
{
	uint64_t offloads;

	if (cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    !virtio_has(&net->vdev, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    chain->read_len != HDR_LEN + sizeof(offloads))
		return false;
	virtq_chain_read(chain, HDR_LEN, &offloads, sizeof(offloads));
	if (offloads & ~net->vdev.accepted)
		return false;
	net->guest_offloads = offloads;
	virtio_net_offloads_set(net, offloads);
	return true;
}

static bool command(struct virtio_net *net, const struct virtq_chain *chain)
{
	struct virtio_net_ctrl_hdr hdr;

	virtq_chain_read(chain, 0, &hdr, sizeof(hdr));
	switch (hdr.class) {
	case VIRTIO_NET_CTRL_RX:
		return rx_mode_set(net, hdr.cmd, chain);
	case VIRTIO_NET_CTRL_MAC:
		return mac_set(net, hdr.cmd, chain);
	case VIRTIO_NET_CTRL_VLAN:
		return hdr.cmd <= VIRTIO_NET_CTRL_VLAN_DEL && chain->read_len == HDR_LEN + 2;
	case VIRTIO_NET_CTRL_ANNOUNCE:
		return announce_done(net, hdr.cmd);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return offloads_set(net, hdr.cmd, chain);
	}
	return false;
}

void virtio_net_ctrl_process(struct virtio_net *net, struct virtio_queue *q)
{
	struct virtq_chain chain = { .piece = net->piece, .room = NET_PIECES };
	unsigned int left = q->ring.size;
	uint8_t ack;
	int ret;

	do {
		while ((ret = virtq_pop(&q->ring, &chain)) > 0) {
			if (chain.read_len < HDR_LEN || !chain.write_len) {
				virtq_push(&q->ring, &chain, 0);
				virtio_fail(&net->vdev,
					    "queue %u: command without header or status", q->index);
				return;
			}
			ack = command(net, &chain) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
			virtq_chain_write(&chain, 0, &ack, 1);
			virtq_push(&q->ring, &chain, 1);
			if (!--left) {
				virtio_queue_kick(&net->vdev, q->index);
				ret = -1;
				break;
			}
		}
	} while (!ret && virtq_notify_on(&q->ring));
	virtio_queue_done(q);
}
