// SPDX-License-Identifier: GPL-2.0-only
/*
 * net.c - virtio network device, one queue pair and the control queue.
 *
 * virtio 1.2 section 5.1: features (5.1.3), configuration (5.1.4), transmission
 * and reception (5.1.6.2, 5.1.6.4), control queue (5.1.6.5; net_ctrl.c).  Where
 * frames go is vmm/net.
 *
 * Reception: a frame is taken from the back end only when the guest has a buffer;
 * without one the back end is not watched until the guest notifies us.  A frame
 * is lost only if it could never fit.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <json-c/json.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "vmm/virtio/net.h"
#include "vmm/vm.h"

#define NET_CLASS	0x020000	/* Ethernet */
#define NET_QUEUE_SIZE	256
#define NET_CTRL_SIZE	64
#define NET_BUDGET	256		/* frames before others on the thread get their turn */

#define BIT(n)		(1ULL << (n))
#define NET_GUEST_OFFLOADS							\
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |		\
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) |		\
	 BIT(VIRTIO_NET_F_GUEST_UFO))

static const struct device_field net_fields[] = {
	DEVICE_FIELD_ARRAY(1, 1, struct virtio_net, mac),
	DEVICE_FIELD(2, 1, struct virtio_net, announce),
	DEVICE_FIELD(3, 1, struct virtio_net, guest_offloads),
	DEVICE_FIELD_ARRAY(4, 1, struct virtio_net, rx_mode),
	VIRTIO_DEVICE_FIELDS(struct virtio_net, vdev),
};

static void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------ */
/* Configuration                                                        */
/* ------------------------------------------------------------------ */

/* Lock held.  Brings MAC and status in the configuration up to date. */
void virtio_net_config_update(struct virtio_net *net)
{
	struct virtio_net_config *config = (struct virtio_net_config *)net->vdev.config;

	memcpy(config->mac, net->mac, sizeof(config->mac));
	config->status = (net->link ? VIRTIO_NET_S_LINK_UP : 0) |
			 (net->announce ? VIRTIO_NET_S_ANNOUNCE : 0);
}

void virtio_net_offloads_set(struct virtio_net *net, uint64_t offloads)
{
	if (net->backend && net->backend->ops->guest_offloads)
		net->backend->ops->guest_offloads(net->backend, offloads & NET_GUEST_OFFLOADS);
}

/* The back end has gone, for good: the guest sees the cable pulled. */
static void backend_lost(struct virtio_net *net)
{
	struct device *dev = virtio_dev(&net->vdev);

	loop_fd_remove(&net->vdev.io->loop, &net->watch);
	device_error(dev, "its network back end (%s %s) has ended: the link is down",
		     net->backend->kind, net->backend->detail);
	net->lost = true;
	device_lock(dev);
	net->link = false;
	virtio_net_config_update(net);
	virtio_config_changed(&net->vdev);
	device_unlock(dev);
}

static void watch_update(struct virtio_net *net)
{
	uint32_t events = 0;

	if (net->lost || !net->backend)
		return;
	if (net->rx_wanted)
		events |= EPOLLIN;
	if (net->tx_blocked || (net->backend->ops->backlog &&
				net->backend->ops->backlog(net->backend)))
		events |= EPOLLOUT;
	loop_fd_events(&net->vdev.io->loop, &net->watch, events);
}

/* ------------------------------------------------------------------ */
/* Reception                                                            */
/* ------------------------------------------------------------------ */

enum rx_result { RX_DONE, RX_DROPPED, RX_NO_ROOM, RX_BROKEN };

/* One buffer takes the frame, or it is lost (5.1.6.3: buffers are large enough). */
static enum rx_result rx_single(struct virtio_net *net, struct virtio_queue *q)
{
	struct virtq_chain chain = { .piece = net->piece, .room = NET_PIECES };
	int ret = virtq_pop(&q->ring, &chain);

	if (ret <= 0)
		return ret ? RX_BROKEN : RX_NO_ROOM;
	if (chain.write_len < net->frame_len) {
		virtq_unpop(&q->ring, &chain);
		return RX_DROPPED;
	}
	virtq_chain_write(&chain, 0, net->frame, net->frame_len);
	virtq_push(&q->ring, &chain, net->frame_len);
	return RX_DONE;
}

/* As many buffers as it takes; the first one's header says how many (5.1.6.4). */
static enum rx_result rx_merged(struct virtio_net *net, struct virtio_queue *q)
{
	struct virtq_chain first = { .piece = net->piece, .room = NET_PIECES };
	struct virtq_chain chain = { .piece = net->piece + NET_PIECES, .room = NET_PIECES };
	uint32_t done = 0, part, first_part;
	uint16_t buffers = 1;
	int ret = virtq_pop(&q->ring, &first);

	if (ret <= 0)
		return ret ? RX_BROKEN : RX_NO_ROOM;
	if (first.write_len < NET_HDR_LEN) {
		virtq_push(&q->ring, &first, 0);
		virtio_fail(&net->vdev, "queue %u: receive buffer without room for a header",
			    q->index);
		return RX_BROKEN;
	}
	done = first_part = virtq_chain_write(&first, 0, net->frame, net->frame_len);
	while (done < net->frame_len) {
		ret = virtq_pop(&q->ring, &chain);
		if (ret <= 0)
			break;
		part = virtq_chain_write(&chain, 0, net->frame + done, net->frame_len - done);
		virtq_fill(&q->ring, &chain, part, buffers++);
		done += part;
	}
	if (done < net->frame_len) {
		virtq_rewind(&q->ring, buffers - 1);
		virtq_unpop(&q->ring, &first);
		if (ret < 0)
			return RX_BROKEN;
		/* The whole ring is not enough: it never will be. */
		return buffers == q->ring.size ? RX_DROPPED : RX_NO_ROOM;
	}
	virtq_chain_write(&first, offsetof(struct virtio_net_hdr_v1, num_buffers), &buffers,
			  sizeof(buffers));
	virtq_fill(&q->ring, &first, first_part, 0);
	virtq_advance(&q->ring, buffers);
	return RX_DONE;
}

/* The header as the back end gave it, with what the guest did not ask for taken out. */
static void rx_header(struct virtio_net *net)
{
	struct virtio_net_hdr_v1 *hdr = (struct virtio_net_hdr_v1 *)net->frame;

	hdr->num_buffers = 1;
	if (!virtio_has(&net->vdev, VIRTIO_NET_F_GUEST_CSUM)) {
		hdr->flags = 0;
		hdr->gso_type = VIRTIO_NET_HDR_GSO_NONE;
	}
}

static void rx_process(struct virtio_net *net)
{
	struct virtio_queue *q = &net->vdev.queue[NET_RX];
	unsigned int budget = NET_BUDGET;
	enum rx_result result;
	uint16_t waiting;
	ssize_t n;

	if (!q->ring.live || !net->backend || net->lost)
		return;
	while (virtio_active(&net->vdev)) {
		if (!budget--) {
			virtio_queue_kick(&net->vdev, NET_RX);
			break;
		}
		waiting = virtq_waiting(&q->ring);
		if (!waiting) {
			net->rx_wanted = false;
			if (!virtq_notify_on(&q->ring))
				break;
			continue;
		}
		if (!net->frame_len) {
			n = net->backend->ops->receive(net->backend, net->frame);
			net->rx_wanted = true;
			if (n < 0) {
				backend_lost(net);
				break;
			}
			if (!n)
				break;
			if (n < NET_HDR_LEN)
				continue;
			net->frame_len = n;
			rx_header(net);
		}
		virtq_notify_off(&q->ring);
		result = virtio_has(&net->vdev, VIRTIO_NET_F_MRG_RXBUF) ? rx_merged(net, q) :
									   rx_single(net, q);
		if (result == RX_DONE) {
			count(&net->stats.rx_packets, 1);
			count(&net->stats.rx_bytes, net->frame_len - NET_HDR_LEN);
			net->frame_len = 0;
		} else if (result == RX_DROPPED) {
			count(&net->stats.rx_dropped, 1);
			net->frame_len = 0;
		} else if (result == RX_NO_ROOM) {
			/* Held until the guest adds a buffer, then tried from the start. */
			net->rx_wanted = false;
			if (!virtq_notify_more(&q->ring, waiting))
				break;
		} else {
			break;
		}
	}
	virtio_queue_done(q);
	watch_update(net);
}

/* ------------------------------------------------------------------ */
/* Transmission                                                         */
/* ------------------------------------------------------------------ */

/* -EAGAIN: the chain goes back into the ring; else it is done with. */
static int tx_frame(struct virtio_net *net, struct virtq_chain *chain)
{
	struct virtio_net_hdr_v1 hdr;
	uint64_t len = chain->read_len - NET_HDR_LEN;
	int n, ret;

	if (!net->backend || net->lost || chain->read_len < NET_HDR_LEN + 14 ||
	    len > NET_FRAME_MAX)
		goto drop;
	virtq_chain_read(chain, 0, &hdr, sizeof(hdr));
	hdr.num_buffers = 0;
	/* Without the features these fields have no meaning (5.1.6.2.1). */
	if (!virtio_has(&net->vdev, VIRTIO_NET_F_CSUM))
		memset(&hdr, 0, sizeof(hdr));
	hdr.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	n = virtq_chain_iov(chain, false, NET_HDR_LEN, len, net->iov + 1, NET_PIECES);
	if (n <= 0)
		goto drop;
	ret = net->backend->ops->send(net->backend, &hdr, net->iov, n + 1, len);
	if (ret == -EAGAIN)
		return ret;
	if (ret == -EPIPE)
		backend_lost(net);
	if (ret)
		goto drop;
	count(&net->stats.tx_packets, 1);
	count(&net->stats.tx_bytes, len);
	return 0;
drop:
	count(&net->stats.tx_dropped, 1);
	return 0;
}

static void tx_process(struct virtio_net *net)
{
	struct virtio_queue *q = &net->vdev.queue[NET_TX];
	struct virtq_chain chain = { .piece = net->piece, .room = NET_PIECES };
	unsigned int budget = NET_BUDGET;
	int ret = 0;

	if (!q->ring.live || net->tx_blocked)
		return;
	do {
		virtq_notify_off(&q->ring);
		while (virtio_active(&net->vdev)) {
			if (!budget--) {
				virtio_queue_kick(&net->vdev, NET_TX);
				goto out;
			}
			ret = virtq_pop(&q->ring, &chain);
			if (ret <= 0)
				break;
			if (tx_frame(net, &chain)) {
				virtq_unpop(&q->ring, &chain);
				net->tx_blocked = true;
				goto out;
			}
			virtq_push(&q->ring, &chain, 0);
		}
	} while (!ret && virtio_active(&net->vdev) && virtq_notify_on(&q->ring));
out:
	virtio_queue_done(q);
	watch_update(net);
}

static void backend_event(void *opaque, uint32_t events)
{
	struct virtio_net *net = opaque;

	if ((events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLIN)) {
		backend_lost(net);
		return;
	}
	if (events & EPOLLOUT) {
		if (net->backend->ops->flush && net->backend->ops->flush(net->backend) < 0) {
			backend_lost(net);
			return;
		}
		if (net->tx_blocked && !(net->backend->ops->backlog &&
					 net->backend->ops->backlog(net->backend))) {
			net->tx_blocked = false;
			tx_process(net);
		}
		watch_update(net);
	}
	if ((events & EPOLLIN) && !net->lost)
		rx_process(net);
}

/* ------------------------------------------------------------------ */
/* Life                                                                 */
/* ------------------------------------------------------------------ */

static void net_queue(struct virtio_device *vdev, struct virtio_queue *q)
{
	struct virtio_net *net = (struct virtio_net *)vdev;

	if (q->index == NET_RX)
		rx_process(net);
	else if (q->index == NET_TX)
		tx_process(net);
	else
		virtio_net_ctrl_process(net, q);
}

static void net_start(struct virtio_device *vdev)
{
	struct virtio_net *net = (struct virtio_net *)vdev;

	if (net->fresh) {
		/* A driver that has just taken over gets what it agreed to. */
		net->fresh = false;
		net->guest_offloads = vdev->accepted & NET_GUEST_OFFLOADS;
		net->frame_len = 0;
	}
	virtio_net_offloads_set(net, net->guest_offloads);
	net->tx_blocked = false;
	net->rx_wanted = true;
	if (!net->backend || net->lost)
		return;
	net->watch.events = EPOLLIN;
	if (loop_fd_add(&vdev->io->loop, &net->watch))
		backend_lost(net);
}

static void net_stop(struct virtio_device *vdev)
{
	struct virtio_net *net = (struct virtio_net *)vdev;

	loop_fd_remove(&vdev->io->loop, &net->watch);
}

/* Lock held, no ring is live. */
static void net_class_reset(struct virtio_device *vdev)
{
	struct virtio_net *net = (struct virtio_net *)vdev;

	memcpy(net->mac, net->mac_initial, sizeof(net->mac));
	memset(net->rx_mode, 0, sizeof(net->rx_mode));
	net->announce = false;
	net->fresh = true;
	virtio_net_config_update(net);
}

void virtio_net_announce(struct virtio_net *net)
{
	struct device *dev = virtio_dev(&net->vdev);

	device_lock(dev);
	if (virtio_has(&net->vdev, VIRTIO_NET_F_GUEST_ANNOUNCE) && net->link) {
		net->announce = true;
		virtio_net_config_update(net);
		virtio_config_changed(&net->vdev);
	}
	device_unlock(dev);
}

/* Offloads build upon each other (5.1.3.1). */
static bool net_features_ok(struct virtio_device *vdev, uint64_t features)
{
	const uint64_t tx = BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |
			    BIT(VIRTIO_NET_F_HOST_UFO);
	const uint64_t rx = NET_GUEST_OFFLOADS & ~BIT(VIRTIO_NET_F_GUEST_CSUM);
	const uint64_t ctrl = BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_VLAN) |
			      BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
			      BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);

	(void)vdev;
	return !((features & tx) && !(features & BIT(VIRTIO_NET_F_CSUM))) &&
	       !((features & rx) && !(features & BIT(VIRTIO_NET_F_GUEST_CSUM))) &&
	       !((features & ctrl) && !(features & BIT(VIRTIO_NET_F_CTRL_VQ)));
}

static const struct virtio_ops net_ops = {
	.id = VIRTIO_ID_NET,
	.class_code = NET_CLASS,
	.start = net_start,
	.queue = net_queue,
	.stop = net_stop,
	.reset = net_class_reset,
	.features_ok = net_features_ok,
};

static int backend_open(struct vm *vm, const char *path, struct net_backend **out)
{
	const char *type = config_string(vm->config, "%s.type", path);

	if (!strcmp(type, "tap"))
		return net_tap_open(vm, path, out);
	if (!strcmp(type, "user"))
		return net_passt_open(vm, path, out);
	return 0;
}

void virtio_net_attach(struct virtio_net *net, struct net_backend *backend)
{
	net->backend = backend;
	net->link = true;
	net->vdev.offered |= backend->features;
	if (backend->features & NET_GUEST_OFFLOADS)
		net->vdev.offered |= BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	net->watch = (struct loop_fd){
		.fd = backend->fd, .fn = backend_event, .opaque = net,
	};
	virtio_net_config_update(net);
}

static int net_create(struct device *dev, const char *path, const void *args)
{
	static const uint16_t sizes[] = { NET_QUEUE_SIZE, NET_QUEUE_SIZE, NET_CTRL_SIZE };
	struct virtio_net *net = (struct virtio_net *)dev;
	struct virtio_device *vdev = &net->vdev;
	struct vm *vm = dev->vm;
	const char *mac = config_string(vm->config, "%s.mac", path);
	int err;

	/* check_config() has seen it; the command line has filled it in. */
	if (!net_mac_parse(mac, net->mac_initial))
		net_mac_derive(vm->name, path, net->mac_initial);
	err = backend_open(vm, path, &net->backend);
	if (err)
		return err;
	net->frame = malloc(NET_BUF_LEN);
	if (!net->frame) {
		err = -ENOMEM;
		goto fail;
	}
	vdev->offered = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) |
			BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_CTRL_VQ) |
			BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |
			BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
			BIT(VIRTIO_NET_F_GUEST_ANNOUNCE);
	if (net->backend)
		virtio_net_attach(net, net->backend);
	vdev->config_len = offsetof(struct virtio_net_config, max_virtqueue_pairs);
	err = virtio_device_init(vdev, &net_ops, sizes, NET_QUEUES, args);
	if (!err)
		return 0;
fail:
	free(net->frame);
	if (net->backend)
		net->backend->ops->close(net->backend);
	return err;
}

static void net_destroy(struct device *dev)
{
	struct virtio_net *net = (struct virtio_net *)dev;

	virtio_device_destroy(&net->vdev);
	if (net->backend)
		net->backend->ops->close(net->backend);
	free(net->frame);
}

static int net_loaded(struct device *dev)
{
	struct virtio_net *net = (struct virtio_net *)dev;

	net->guest_offloads &= NET_GUEST_OFFLOADS & net->vdev.offered;
	net->fresh = false;
	virtio_net_config_update(net);
	return virtio_device_loaded(dev);
}

static void net_info(struct device *dev, struct json_object *out)
{
	static const char *const names[] = { "rx_packets", "rx_bytes", "rx_dropped", "tx_packets",
					     "tx_bytes", "tx_dropped" };
	struct virtio_net *net = (struct virtio_net *)dev;
	struct json_object *stats = json_object_new_object();
	const uint64_t *value = (const uint64_t *)&net->stats;
	char mac[18];
	unsigned int i;

	virtio_device_info(&net->vdev, out);
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", net->mac[0], net->mac[1],
		 net->mac[2], net->mac[3], net->mac[4], net->mac[5]);
	json_object_object_add(out, "mac", json_object_new_string(mac));
	json_object_object_add(out, "link", json_object_new_boolean(net->link));
	json_object_object_add(out, "type", json_object_new_string(net->backend ?
								   net->backend->kind : "none"));
	if (net->backend)
		json_object_object_add(out, "backend",
				       json_object_new_string(net->backend->detail));
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		json_object_object_add(stats, names[i], json_object_new_int64(
			__atomic_load_n(&value[i], __ATOMIC_RELAXED)));
	json_object_object_add(out, "statistics", stats);
}

const struct device_type virtio_net_type = {
	.name = "virtio-net",
	.help = "virtio network device (PCI)",
	.size = sizeof(struct virtio_net),
	.version = 1,
	.fields = net_fields,
	.nr_fields = sizeof(net_fields) / sizeof(net_fields[0]),
	.create = net_create,
	.destroy = net_destroy,
	.reset = virtio_device_reset,
	.rebind = virtio_pci_rebind,
	.pause = virtio_device_pause,
	.resume = virtio_device_resume,
	.saving = virtio_device_saving,
	.loaded = net_loaded,
	.info = net_info,
};
