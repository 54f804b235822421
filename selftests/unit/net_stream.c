// SPDX-License-Identifier: GPL-2.0-only
/*
 * net_stream.c - frames over a stream socket (vmm/net/stream.c), with a peer that sends in small
 * pieces, reads slowly, lies about lengths and leaves; and passt itself, where it is installed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "platform_vm.h"
#include "vmm/net/net.h"

static struct net_backend *be;
static int peer;
static uint8_t buf[NET_BUF_LEN], frame[NET_FRAME_MAX + 1];

static void open_pair(void)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		ktap_bail("no socket");
	be = net_stream_create(fds[0]);
	peer = fds[1];
}

static void close_pair(void)
{
	be->ops->close(be);
	close(peer);
}

static void say(const void *data, size_t len)
{
	if (write(peer, data, len) != (ssize_t)len)
		ktap_note("the peer cannot write");
}

static void say_frame(size_t len)
{
	uint32_t length = htonl(len);

	say(&length, 4);
	say(frame, len);
}

static bool got_frame(size_t len)
{
	uint8_t zero[NET_HDR_LEN] = { 0 };

	return be->ops->receive(be, buf) == (ssize_t)(NET_HDR_LEN + len) &&
	       !memcmp(buf, zero, NET_HDR_LEN) && !memcmp(buf + NET_HDR_LEN, frame, len);
}

static void test_receive(void)
{
	uint32_t length;
	unsigned int i;
	bool good = true;

	open_pair();
	ktap_check(be->ops->receive(be, buf) == 0, "nothing yet");
	say_frame(60);
	say_frame(1514);
	ktap_check(got_frame(60) && got_frame(1514) && !be->ops->receive(be, buf), "two frames at once");
	length = htonl(100);
	for (i = 0; i < 4; i++) {
		say((uint8_t *)&length + i, 1);
		good &= be->ops->receive(be, buf) == 0;
	}
	for (i = 0; i < 99; i++) {
		say(frame + i, 1);
		good &= be->ops->receive(be, buf) == 0;
	}
	say(frame + 99, 1);
	ktap_check(good && got_frame(100), "a frame byte by byte");
	length = 0;
	say(&length, 4);
	say_frame(5);
	say_frame(60);
	ktap_check(got_frame(60), "frames shorter than a header are left out");
	fcntl(peer, F_SETFL, O_NONBLOCK);
	for (i = 0; i < 5000; i++) {
		size_t n = 14 + pv_random() % 3000;

		say_frame(n);
		good &= got_frame(n);
	}
	ktap_check(good, "5000 frames round the buffer");
	fcntl(peer, F_SETFL, 0);
	close_pair();

	open_pair();
	length = htonl(NET_FRAME_MAX + 1);
	say(&length, 4);
	ktap_check(be->ops->receive(be, buf) == -EPIPE && be->ops->receive(be, buf) == -EPIPE,
		   "a length no frame has: the stream is given up");
	close_pair();
	open_pair();
	length = ~0U;
	say(&length, 4);
	ktap_check(be->ops->receive(be, buf) == -EPIPE, "nor 4 GiB");
	close_pair();
	open_pair();
	say_frame(60);
	shutdown(peer, SHUT_WR);
	ktap_check(got_frame(60) && be->ops->receive(be, buf) == -EPIPE,
		   "what was sent before the end arrives, then it is the end");
	close_pair();
}

static int send_frame(size_t len)
{
	struct iovec iov[4] = { { 0 }, { frame, 14 }, { frame + 14, len / 2 - 14 },
				{ frame + len / 2, len - len / 2 } };

	return be->ops->send(be, buf, iov, 4, len);
}

static bool peer_gets(size_t len)
{
	static uint8_t in[NET_FRAME_MAX + 4];
	size_t have = 0;

	while (have < len + 4) {
		struct pollfd p = { peer, POLLIN, 0 };
		ssize_t n;

		if (poll(&p, 1, 0) <= 0) {
			/* The rest is in the back end. */
			if (be->ops->flush(be) || poll(&p, 1, 0) <= 0)
				return false;
		}
		n = read(peer, in + have, len + 4 - have);
		if (n <= 0)
			return false;
		have += n;
	}
	return ntohl(*(uint32_t *)in) == len && !memcmp(in + 4, frame, len);
}

static void test_send(void)
{
	int size = 4096, ret;
	unsigned int sent = 0, got = 0;

	open_pair();
	ktap_check(!send_frame(1000) && peer_gets(1000), "a frame in three pieces");
	setsockopt(be->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	while (!(ret = send_frame(60000)) && sent < 100)
		sent++;
	ktap_check(ret == -EAGAIN && sent >= 1, "a peer that does not read: not now");
	ktap_check(be->ops->backlog(be), "and a part waits");
	while (got < sent && peer_gets(60000))
		got++;
	ktap_check(got == sent && !be->ops->backlog(be), "every frame arrives whole");
	ktap_check(!send_frame(60) && peer_gets(60), "and more go");
	close(peer);
	ktap_check(send_frame(60) == -EPIPE && send_frame(60) == -EPIPE, "a peer that has left");
	peer = dup(0);
	close_pair();
}

/* Asks passt who has the gateway's address, and what ours is to be. */
static void test_passt(void)
{
	static const uint8_t arp[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
		2, 0, 0, 0, 0, 1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
	};
	struct vm *vm = pv_create((const char *const[]){ "memory", "2M", "net.0.type", "user",
		"net.0.hostfwd.0", "tcp:45678:22", NULL });
	struct pollfd p = { .events = POLLIN };
	struct iovec iov[2];
	ssize_t n = 0;
	int i;

	if (system("command -v passt >/dev/null && ip route show default | grep -q default") ||
	    net_passt_open(vm, "net.0", &be)) {
		ktap_skip("passt answers", "passt or a default route is missing");
		ktap_skip("passt's end is seen", "passt or a default route is missing");
		pv_destroy(vm);
		return;
	}
	iov[1] = (struct iovec){ (void *)arp, sizeof(arp) };
	be->ops->send(be, buf, iov, 2, sizeof(arp));
	p.fd = be->fd;
	for (i = 0; i < 50 && n < 42; i++) {
		poll(&p, 1, 200);
		n = be->ops->receive(be, buf);
	}
	ktap_check(n >= NET_HDR_LEN + 42 && buf[NET_HDR_LEN + 21] == 2, "passt answers");
	shutdown(be->fd, SHUT_WR);
	for (i = 0; i < 50 && n >= 0; i++) {
		poll(&p, 1, 200);
		n = be->ops->receive(be, buf);
	}
	ktap_check(n == -EPIPE, "passt's end is seen");
	be->ops->close(be);
	pv_destroy(vm);
}

static void test_config(void)
{
	static const char *const bad[] = { "tcp:22", "sctp:1:2", "tcp:0:22", "tcp:70000:22", "tcp:1:2x",
					   "udp:-1:5", "" };
	char path[4096];
	struct vm *vm;
	unsigned int i;
	bool good = true;

	for (i = 0; i < 7; i++) {
		vm = pv_create((const char *const[]){ "memory", "2M", "net.0.type", "user",
			"net.0.hostfwd.0", bad[i], NULL });
		good &= net_passt_open(vm, "net.0", &be) == -EINVAL;
		pv_destroy(vm);
	}
	ktap_check(good, "a forward that is none is refused");
	vm = pv_create((const char *const[]){ "memory", "2M", "net.0.type", "user", NULL });
	snprintf(path, sizeof(path), "%s", getenv("PATH") ? getenv("PATH") : "/usr/bin");
	setenv("PATH", "/nonexistent", 1);
	ktap_check(net_passt_open(vm, "net.0", &be) == -ENOENT, "no passt: its package is named");
	setenv("PATH", path, 1);
	pv_destroy(vm);
	vm = pv_create((const char *const[]){ "memory", "2M", "net.0.type", "tap", "net.0.interface",
		"a-name-that-is-too-long", NULL });
	ktap_check(net_tap_open(vm, "net.0", &be) == -EINVAL, "a tap name that cannot be");
	pv_destroy(vm);
}

int main(void)
{
	unsigned int i;

	ktap_plan(19);
	for (i = 0; i < sizeof(frame); i++)
		frame[i] = pv_random();
	test_receive();
	test_send();
	test_config();
	test_passt();
	return ktap_finish();
}
