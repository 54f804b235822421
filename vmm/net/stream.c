// SPDX-License-Identifier: GPL-2.0-only
/*
 * stream.c - network back end on a stream socket, as passt (and QEMU) frame it:
 * the frame's length in 4 bytes, big-endian, then the frame.
 *
 * Reads and writes are of any length.  A length that cannot be a frame's means
 * that the two sides have lost each other: the stream is given up.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/net/net.h"

#define LENGTH_LEN	4
#define FRAME_MIN	14		/* an Ethernet header */
#define IN_LEN		(2 * (LENGTH_LEN + NET_FRAME_MAX))

struct stream {
	struct net_backend be;
	bool dead;
	size_t in_start, in_end;	/* unread bytes of in[] */
	size_t out_start, out_end;	/* unsent bytes of out[] */
	uint8_t in[IN_LEN];
	uint8_t out[LENGTH_LEN + NET_FRAME_MAX];
};

static int stream_fill(struct stream *s)
{
	ssize_t n;

	if (s->in_start) {
		memmove(s->in, s->in + s->in_start, s->in_end - s->in_start);
		s->in_end -= s->in_start;
		s->in_start = 0;
	}
	do {
		n = recv(s->be.fd, s->in + s->in_end, sizeof(s->in) - s->in_end, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -EPIPE;
	if (!n)
		return -EPIPE;
	s->in_end += (size_t)n;
	return 1;
}

static ssize_t stream_receive(struct net_backend *be, uint8_t *buf)
{
	struct stream *s = (struct stream *)be;
	uint32_t len;
	int ret;

	while (!s->dead) {
		size_t have = s->in_end - s->in_start;

		if (have >= LENGTH_LEN) {
			memcpy(&len, s->in + s->in_start, LENGTH_LEN);
			len = ntohl(len);
			if (len > NET_FRAME_MAX)
				break;
			if (have - LENGTH_LEN >= len) {
				memset(buf, 0, NET_HDR_LEN);
				memcpy(buf + NET_HDR_LEN, s->in + s->in_start + LENGTH_LEN, len);
				s->in_start += LENGTH_LEN + len;
				if (len < FRAME_MIN)
					continue;
				return NET_HDR_LEN + len;
			}
		}
		/* A whole frame fits behind what is there: see IN_LEN. */
		ret = stream_fill(s);
		if (!ret)
			return 0;
		if (ret < 0)
			break;
	}
	s->dead = true;
	return -EPIPE;
}

static bool stream_backlog(struct net_backend *be)
{
	struct stream *s = (struct stream *)be;

	return s->out_start < s->out_end;
}

static int stream_flush(struct net_backend *be)
{
	struct stream *s = (struct stream *)be;
	ssize_t n;

	while (s->out_start < s->out_end) {
		n = send(be->fd, s->out + s->out_start, s->out_end - s->out_start,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0) {
			s->dead = true;
			return -EPIPE;
		}
		s->out_start += (size_t)n;
	}
	s->out_start = s->out_end = 0;
	return 0;
}

static int stream_send(struct net_backend *be, const void *hdr, struct iovec *iov,
		       unsigned int nr, size_t len)
{
	struct stream *s = (struct stream *)be;
	uint32_t length = htonl((uint32_t)len);
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = nr };
	unsigned int i;
	ssize_t n;

	(void)hdr;
	if (s->dead)
		return -EPIPE;
	/* A frame that has begun must end before the next. */
	if (stream_backlog(be))
		return -EAGAIN;
	iov[0] = (struct iovec){ &length, LENGTH_LEN };
	do {
		n = sendmsg(be->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n < 0) {
		s->dead = true;
		return -EPIPE;
	}
	/* The rest is kept: the guest has its buffer back when this returns. */
	for (i = 0; i < nr; i++) {
		size_t sent = (size_t)n < iov[i].iov_len ? (size_t)n : iov[i].iov_len;
		size_t rest = iov[i].iov_len - sent;

		n -= (ssize_t)sent;
		memcpy(s->out + s->out_end, (uint8_t *)iov[i].iov_base + sent, rest);
		s->out_end += rest;
	}
	return 0;
}

static void stream_close(struct net_backend *be)
{
	close(be->fd);
	free(be);
}

static const struct net_backend_ops stream_ops = {
	.receive = stream_receive,
	.send = stream_send,
	.backlog = stream_backlog,
	.flush = stream_flush,
	.close = stream_close,
};

struct net_backend *net_stream_create(int fd)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->be.ops = &stream_ops;
	s->be.kind = "user";
	s->be.fd = fd;
	return &s->be;
}
