// SPDX-License-Identifier: GPL-2.0-only
/*
 * console.c - the guest's console and its users (console.h).
 *
 * Users: the process's own stdin and stdout, or clients of a socket, and
 * whoever `vmm console` attached.  All see all output; all may type.
 *
 * Lock order: dev->lock -> console->lock.  A write never blocks the guest, and
 * stdout is only written to after poll(2) says it has room: it is not ours to
 * make non-blocking, other processes share it.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console.h"
#include "device.h"
#include "platform.h"
#include "terminal.h"
#include "vm.h"

#define OUT_BYTES	(16 * 1024)	/* per user; a power of two */
#define HISTORY_BYTES	4096		/* shown to a user who attaches */
#define IN_BYTES	256
#define CHUNK		512		/* a pipe that polls writable has room for it */
#define USERS_MAX	8
#define ESCAPE		0x1d		/* Ctrl-] */

struct user {
	struct console *console;
	struct user *next;
	int in, out;			/* the same for sockets */
	bool lossless;			/* stdio: the guest's device waits instead */
	bool deaf;			/* its output failed; it may still type */
	bool in_open;
	bool gone;			/* to be freed by the main loop */
	bool escape, escaped;		/* look for the escape key; it was just seen */
	bool want_out;			/* output waits for room */
	struct loop_fd in_fd, out_fd;
	struct loop_call in_call;	/* a file, which epoll does not take */
	uint8_t in_buf[IN_BYTES];
	size_t in_len;
	uint32_t head, tail;		/* free-running; guarded by console->lock */
	uint64_t dropped;
	uint8_t buf[OUT_BYTES];
};

struct console {
	struct vm *vm;
	pthread_mutex_t lock;		/* guards users' output, history, blocked */
	struct device *dev;		/* set before vCPUs run */
	const struct console_ops *ops;
	bool blocked;			/* a write was cut short; tx_ready is due */
	struct user *users;		/* main loop; output fields by lock */
	struct loop_call flush_call;
	struct loop_call rx_call;
	struct loop_fd listen_fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	bool stdio;
	uint64_t written;		/* bytes, ever */
	uint8_t history[HISTORY_BYTES];
};

/* ---- output ---- */

static uint32_t user_room(const struct user *u)
{
	return OUT_BYTES - (u->head - u->tail);
}

static void user_put(struct user *u, const uint8_t *buf, size_t len)
{
	size_t room = user_room(u), n;

	if (len > OUT_BYTES) {
		u->dropped += len - OUT_BYTES;
		buf += len - OUT_BYTES;
		len = OUT_BYTES;
	}
	if (len > room) {		/* its own oldest output goes */
		u->dropped += len - room;
		u->tail += (uint32_t)(len - room);
	}
	while (len) {
		uint32_t at = u->head % OUT_BYTES;

		n = len < OUT_BYTES - at ? len : OUT_BYTES - at;
		memcpy(u->buf + at, buf, n);
		u->head += (uint32_t)n;
		buf += n;
		len -= n;
	}
}

size_t console_write(struct console *c, const uint8_t *buf, size_t len)
{
	struct user *u;
	bool idle = false;
	size_t n = len, i;

	pthread_mutex_lock(&c->lock);
	for (u = c->users; u; u = u->next)
		if (u->lossless && user_room(u) < n)
			n = user_room(u);
	for (u = c->users; u; u = u->next) {
		if (u->deaf)
			continue;
		idle |= u->head == u->tail;
		user_put(u, buf, n);
	}
	for (i = 0; i < n; i++)
		c->history[(c->written + i) % HISTORY_BYTES] = buf[i];
	c->written += n;
	if (n < len)
		c->blocked = true;
	pthread_mutex_unlock(&c->lock);
	/* Of users with output waiting the main loop has been told before. */
	if (idle && n)
		loop_defer(&c->vm->loop, &c->flush_call);
	return n;
}

/*
 * Tells epoll what is waited for.  A socket is one descriptor both ways, and
 * epoll takes it only once: in_fd then stands for output too.
 */
static void user_poll(struct user *u)
{
	struct loop *loop = &u->console->vm->loop;
	const uint32_t out = u->want_out ? EPOLLOUT : 0;

	if (u->gone)
		return;
	if (u->in_fd.added)
		loop_fd_events(loop, &u->in_fd, (u->in_len ? 0 : EPOLLIN) |
			       (u->in == u->out ? out : 0));
	if (u->in == u->out)
		return;
	if (!out) {
		loop_fd_remove(loop, &u->out_fd);
	} else if (!u->out_fd.added) {
		u->out_fd.events = EPOLLOUT;
		loop_fd_add(loop, &u->out_fd);
	}
}

static void user_close(struct user *u)
{
	struct loop *loop = &u->console->vm->loop;

	if (u->gone)
		return;
	u->gone = true;
	loop_fd_remove(loop, &u->in_fd);
	loop_fd_remove(loop, &u->out_fd);
	loop_defer(loop, &u->console->flush_call);	/* which frees it */
}

/* A socket's user has left.  Of stdio only stdout has: the guest goes on, and can be typed to. */
static void user_lose_output(struct user *u, int error)
{
	struct console *c = u->console;

	if (u->in == u->out) {
		user_close(u);
		return;
	}
	pthread_mutex_lock(&c->lock);
	u->deaf = true;
	u->lossless = false;
	u->tail = u->head;
	pthread_mutex_unlock(&c->lock);
	log_error(c->vm, "standard output: %s; console output is lost from here on", strerror(error));
}

/* Writes what the user takes now; true: nothing is left. */
static bool user_flush(struct user *u)
{
	struct console *c = u->console;
	uint8_t chunk[CHUNK];
	uint32_t at, n;
	uint64_t dropped;
	ssize_t ret;

	for (;;) {
		struct pollfd pfd = { .fd = u->out, .events = POLLOUT };

		pthread_mutex_lock(&c->lock);
		dropped = u->dropped;
		u->dropped = 0;
		if (dropped) {
			n = (uint32_t)snprintf((char *)chunk, sizeof(chunk),
					       "\r\n[vmm: %llu bytes of console output dropped]\r\n",
					       (unsigned long long)dropped);
		} else {
			at = u->tail % OUT_BYTES;
			n = u->head - u->tail;
			if (n > OUT_BYTES - at)
				n = OUT_BYTES - at;
			if (n > CHUNK)
				n = CHUNK;
			memcpy(chunk, u->buf + at, n);
			at = u->tail;
		}
		pthread_mutex_unlock(&c->lock);
		if (!n)
			return true;
		if (poll(&pfd, 1, 0) <= 0 || !(pfd.revents & (POLLOUT | POLLERR | POLLHUP)))
			goto later;
		ret = write(u->out, chunk, n);
		if (ret < 0 && errno == EINTR)
			ret = 0;
		if (ret < 0 && errno == EAGAIN)
			goto later;
		if (ret < 0) {
			user_lose_output(u, errno);
			return true;
		}
		if (dropped)
			continue;
		pthread_mutex_lock(&c->lock);
		/* A slow user's oldest bytes may have been dropped meanwhile. */
		if (u->tail - at < (uint32_t)ret)
			u->tail = at + (uint32_t)ret;
		pthread_mutex_unlock(&c->lock);
	}
later:
	if (dropped) {
		pthread_mutex_lock(&c->lock);
		u->dropped += dropped;
		pthread_mutex_unlock(&c->lock);
	}
	return false;
}

static void console_flush_run(void *opaque)
{
	struct console *c = opaque;
	struct user **p, *u;
	bool ready = false;

	for (u = c->users; u; u = u->next) {
		if (u->gone)
			continue;
		u->want_out = !user_flush(u);
		user_poll(u);
	}
	pthread_mutex_lock(&c->lock);
	for (p = &c->users; (u = *p);) {
		if (u->gone) {
			*p = u->next;
			if (u->in > STDERR_FILENO)
				close(u->in);
			free(u);
			continue;
		}
		p = &u->next;
	}
	if (c->blocked) {
		ready = true;
		for (u = c->users; u; u = u->next)
			if (u->lossless && user_room(u) < OUT_BYTES / 2)
				ready = false;
		if (ready)
			c->blocked = false;
	}
	pthread_mutex_unlock(&c->lock);
	if (ready && c->dev && c->ops->tx_ready) {
		device_lock(c->dev);
		c->ops->tx_ready(c->dev);
		device_unlock(c->dev);
	}
}

static void user_out_event(void *opaque, uint32_t events)
{
	struct user *u = opaque;

	(void)events;
	console_flush_run(u->console);
}

/* ---- input ---- */

static void escape_help(struct vm *vm)
{
	log_info(vm, "escape key Ctrl-], then: x end the guest at once, p press its power "
		 "button, r reset it, Ctrl-] send Ctrl-], anything else: this help");
}

/* Returns what remains to be given to the guest after the escape key was looked for. */
static size_t escape_filter(struct user *u, uint8_t *buf, size_t len)
{
	struct vm *vm = u->console->vm;
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		if (!u->escaped) {
			if (buf[i] == ESCAPE)
				u->escaped = true;
			else
				buf[n++] = buf[i];
			continue;
		}
		u->escaped = false;
		switch (buf[i]) {
		case ESCAPE:
			buf[n++] = ESCAPE;
			break;
		case 'x': case 'X':
			vm_request_stop(vm, VM_CAUSE_STOPPED, 0, "console escape key");
			break;
		case 'p': case 'P':
			platform_power_button(vm);
			break;
		case 'r': case 'R':
			vm_request_reset(vm, "console escape key");
			break;
		default:
			escape_help(vm);
			break;
		}
	}
	return n;
}

static void user_input_stop(struct user *u)
{
	u->in_open = false;
	loop_fd_remove(&u->console->vm->loop, &u->in_fd);
}

/* Gives the device what is there; reading goes on when it has taken all. */
static void user_deliver(struct user *u)
{
	struct console *c = u->console;
	size_t n = u->in_len;

	if (n && c->dev) {
		device_lock(c->dev);
		n = c->ops->rx(c->dev, u->in_buf, u->in_len);
		device_unlock(c->dev);
	}
	if (n > u->in_len)
		n = u->in_len;
	u->in_len -= n;
	memmove(u->in_buf, u->in_buf + n, u->in_len);
	user_poll(u);
}

static void user_read(struct user *u)
{
	ssize_t n;

	if (!u->in_open || u->in_len || u->gone)
		return;
	n = read(u->in, u->in_buf, sizeof(u->in_buf));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		/* End of input: a socket's user has left, stdin is only closed. */
		if (u->in == u->out)
			user_close(u);
		else
			user_input_stop(u);
		return;
	}
	u->in_len = u->escape ? escape_filter(u, u->in_buf, (size_t)n) : (size_t)n;
	user_deliver(u);
}

static void user_in_event(void *opaque, uint32_t events)
{
	struct user *u = opaque;

	if (u->in_len && (events & (EPOLLHUP | EPOLLERR))) {
		/* Reported although not asked for: it would spin.  What was typed is lost. */
		u->in_len = 0;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		user_read(u);
	if ((events & EPOLLOUT) && !u->gone)
		console_flush_run(u->console);
}

/* A regular file as stdin: epoll refuses it, and it can always be read. */
static void user_in_file(void *opaque)
{
	struct user *u = opaque;

	user_read(u);
	if (u->in_open && !u->in_len && !u->gone)
		loop_defer(&u->console->vm->loop, &u->in_call);
}

static void console_rx_run(void *opaque)
{
	struct console *c = opaque;
	struct user *u;

	for (u = c->users; u; u = u->next) {
		if (u->gone || !u->in_len)
			continue;
		user_deliver(u);
		if (!u->in_len && u->in_open && !u->in_fd.added)
			loop_defer(&c->vm->loop, &u->in_call);
	}
}

void console_rx_ready(struct console *c)
{
	loop_defer(&c->vm->loop, &c->rx_call);
}

/* ---- users ---- */

static struct user *user_create(struct console *c, int in, int out)
{
	struct user *u = calloc(1, sizeof(*u)), **p;
	unsigned int n = 0;

	if (!u)
		return NULL;
	u->console = c;
	u->in = in;
	u->out = out;
	u->in_fd = (struct loop_fd){ .fd = in, .events = EPOLLIN, .fn = user_in_event,
				     .opaque = u };
	u->out_fd = (struct loop_fd){ .fd = out, .fn = user_out_event, .opaque = u };
	u->in_call = (struct loop_call){ .fn = user_in_file, .opaque = u };
	pthread_mutex_lock(&c->lock);
	for (p = &c->users; *p; p = &(*p)->next)
		n++;
	if (n < USERS_MAX)
		*p = u;
	pthread_mutex_unlock(&c->lock);
	if (n >= USERS_MAX) {
		free(u);
		return NULL;
	}
	return u;
}

static void user_start(struct user *u)
{
	int ret = loop_fd_add(&u->console->vm->loop, &u->in_fd);

	u->in_open = !ret || ret == -EPERM;
	if (ret == -EPERM)
		loop_defer(&u->console->vm->loop, &u->in_call);
}

int console_add(struct vm *vm, int fd)
{
	struct console *c = vm->console;
	uint64_t n;
	struct user *u;
	uint64_t i;

	u = user_create(c, fd, fd);
	if (!u) {
		close(fd);
		return -EUSERS;
	}
	pthread_mutex_lock(&c->lock);
	n = c->written < HISTORY_BYTES ? c->written : HISTORY_BYTES;
	for (i = c->written - n; i < c->written; i++)
		user_put(u, &c->history[i % HISTORY_BYTES], 1);
	pthread_mutex_unlock(&c->lock);
	user_start(u);
	loop_defer(&vm->loop, &c->flush_call);
	return 0;
}

static void listen_event(void *opaque, uint32_t events)
{
	struct console *c = opaque;
	int fd = accept4(c->listen_fd.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0)
		console_add(c->vm, fd);
}

int console_attach(struct console *c, struct device *dev, const struct console_ops *ops)
{
	if (c->dev)
		return -EBUSY;
	c->dev = dev;
	c->ops = ops;
	return 0;
}

void console_detach(struct console *c, struct device *dev)
{
	if (c->dev == dev)
		c->dev = NULL;
}

/* ---- set-up and end ---- */

int unix_listen(struct vm *vm, const char *what, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, ret;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		log_error(vm, "%s socket: path has more than %zu characters: %s", what,
			  sizeof(addr.sun_path) - 1, path);
		return -ENAMETOOLONG;
	}
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		ret = -errno;
		goto fail;
	}
	/* A socket nobody answers on was left by a process that was killed. */
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)) || errno == EAGAIN) {
		log_error(vm, "%s socket %s is in use by another process; choose another path",
			  what, path);
		close(fd);
		return -EADDRINUSE;
	}
	if (errno == ECONNREFUSED) {
		struct stat st;

		if (!lstat(path, &st) && S_ISSOCK(st.st_mode))
			unlink(path);
	}
	close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Before bind, so that nobody else can connect even for a moment. */
	if (fd < 0 || fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		ret = -errno;
		goto fail;
	}
	if (listen(fd, 8)) {
		ret = -errno;
		unlink(path);
		goto fail;
	}
	return fd;
fail:
	log_error(vm, "cannot make the %s socket %s: %s", what, path,
		  ret == -EADDRINUSE ? "a file of that name is there" :
		  ret == -ENOENT ? "its directory is not there" : strerror(-ret));
	if (fd >= 0)
		close(fd);
	return ret;
}

int console_check(struct vm *vm, bool thorough)
{
	const char *how = config_string(vm->config, "console"), *path = how + 7, *slash;
	struct stat st;
	char dir[256];

	if (!strcmp(how, "stdio") || !strcmp(how, "none"))
		return 0;
	if (strncmp(how, "socket=", 7) || !*path) {
		log_error(NULL, "console: '%s' is not stdio, none or socket=PATH", how);
		return -EINVAL;
	}
	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		log_error(NULL, "console: a socket's path has at most %zu characters: %s",
			  sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1, path);
		return -EINVAL;
	}
	if (!thorough)
		return 0;
	slash = strrchr(path, '/');
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
	if (access(dir, W_OK | X_OK)) {
		log_error(NULL, "console: no socket can be made in %s: %s", dir, strerror(errno));
		return -ENOENT;
	}
	if (!lstat(path, &st) && !S_ISSOCK(st.st_mode)) {
		log_error(NULL, "console: %s is there and no socket; choose another path", path);
		return -EEXIST;
	}
	return 0;
}

int console_create(struct vm *vm)
{
	const char *how = config_string(vm->config, "console");
	struct console *c;
	int fd;

	c = calloc(1, sizeof(*c));
	if (!c) {
		log_error(vm, "out of memory");
		return -ENOMEM;
	}
	c->vm = vm;
	pthread_mutex_init(&c->lock, NULL);
	c->flush_call = (struct loop_call){ .fn = console_flush_run, .opaque = c };
	c->rx_call = (struct loop_call){ .fn = console_rx_run, .opaque = c };
	c->listen_fd.fd = -1;
	vm->console = c;
	if (!strncmp(how, "socket=", 7)) {
		fd = unix_listen(vm, "console", how + 7);
		if (fd < 0)
			return fd;
		snprintf(c->path, sizeof(c->path), "%s", how + 7);
		c->listen_fd = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = listen_event,
						 .opaque = c };
		return loop_fd_add(&vm->loop, &c->listen_fd);
	}
	c->stdio = !strcmp(how, "stdio");
	return 0;
}

int console_start(struct vm *vm)
{
	struct console *c = vm->console;
	struct user *u;

	if (!c->stdio)
		return 0;
	u = user_create(c, STDIN_FILENO, STDOUT_FILENO);
	if (!u) {
		log_error(vm, "out of memory");
		return -ENOMEM;
	}
	u->lossless = true;
	if (isatty(STDIN_FILENO)) {
		escape_help(vm);
		u->escape = terminal_raw(STDIN_FILENO);
		vm->raw_terminal = u->escape && isatty(STDERR_FILENO);
	}
	user_start(u);
	return 0;
}

void console_flush(struct vm *vm)
{
	struct console *c = vm->console;
	struct user *u;
	int tries;

	if (!c)
		return;
	/* Up to a second for a reader that is merely slow. */
	for (u = c->users; u; u = u->next)
		for (tries = 0; tries < 100 && !u->gone && !user_flush(u); tries++)
			poll(&(struct pollfd){ .fd = u->out, .events = POLLOUT }, 1, 10);
}

void console_destroy(struct vm *vm)
{
	struct console *c = vm->console;
	struct user *u;

	if (!c)
		return;
	while ((u = c->users)) {
		c->users = u->next;
		loop_fd_remove(&vm->loop, &u->in_fd);
		loop_fd_remove(&vm->loop, &u->out_fd);
		if (u->in > STDERR_FILENO)
			close(u->in);
		free(u);
	}
	terminal_restore();
	vm->raw_terminal = false;
	if (c->listen_fd.fd >= 0) {
		loop_fd_remove(&vm->loop, &c->listen_fd);
		close(c->listen_fd.fd);
		unlink(c->path);
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
	vm->console = NULL;
}
