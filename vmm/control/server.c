// SPDX-License-Identifier: GPL-2.0-only
/*
 * server.c - the control socket: connections, lines, answers, events
 * (Documentation/control.rst).
 *
 * Runs on the main loop; only control_event() may come from elsewhere.  What a
 * client does not read is bounded: events are dropped and counted, requests are
 * not read any more until it reads its answers.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>

#include "hv/control.h"
#include "vmm/control/control.h"
#include "vmm/vm.h"

#define CLIENTS_MAX	16
#define LINE_MAX_BYTES	(256 * 1024)	/* a request */
#define OUT_MAX_BYTES	(256 * 1024)	/* unread by a client, before it is held back */
#define EVENTS_MAX	256		/* posted and not yet taken by the main loop */

struct message {
	struct message *next;
	size_t len, done;
	int fd;				/* goes along with the first byte; -1: none */
	char text[];
};

struct client {
	struct control *control;
	struct client *next;
	struct loop_fd lfd;
	char *in;
	size_t in_len, in_room;
	struct message *out, **out_tail;
	size_t out_bytes;
	unsigned int dropped;		/* events */
	bool events;
	bool closing;			/* after its output */
	bool gone;
};

struct control {
	struct vm *vm;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct loop_fd listen;
	struct client *clients;
	pthread_mutex_t lock;		/* guards what follows; leaf lock */
	struct message *posted, **posted_tail;
	unsigned int nr_posted;
	unsigned int lost;
	struct loop_call call;
};

static struct message *message_create(struct json_object *obj, int fd)
{
	const char *s = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN |
						       JSON_C_TO_STRING_NOSLASHESCAPE);
	size_t len = s ? strlen(s) : 0;
	struct message *m = s ? malloc(sizeof(*m) + len + 1) : NULL;

	if (!m)
		return NULL;
	*m = (struct message){ .len = len + 1, .fd = fd };
	memcpy(m->text, s, len);
	m->text[len] = '\n';
	return m;
}

static void message_free(struct message *m)
{
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

/* ---- output ---- */

static void client_update(struct client *c)
{
	uint32_t events = 0;

	if (c->out)
		events |= EPOLLOUT;
	if (!c->closing && c->out_bytes < OUT_MAX_BYTES)
		events |= EPOLLIN;
	loop_fd_events(&c->control->vm->loop, &c->lfd, events);
}

static void client_close(struct client *c)
{
	if (c->gone)
		return;
	c->gone = true;
	loop_fd_remove(&c->control->vm->loop, &c->lfd);
	loop_defer(&c->control->vm->loop, &c->control->call);	/* which frees it */
}

static ssize_t message_send(int fd, struct message *m)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = m->text + m->done, .iov_len = m->len - m->done };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	if (m->fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.buf);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &m->fd, sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void client_put(struct client *c, struct message *m)
{
	m->next = NULL;
	*c->out_tail = m;
	c->out_tail = &m->next;
	c->out_bytes += m->len;
}

static void client_note_dropped(struct client *c)
{
	struct json_object *obj = json_object_new_object(), *data = json_object_new_object();
	struct message *m;

	json_object_object_add(data, "count", json_object_new_int((int)c->dropped));
	json_object_object_add(obj, "event", json_object_new_string("dropped"));
	json_object_object_add(obj, "data", data);
	m = message_create(obj, -1);
	json_object_put(obj);
	if (!m)
		return;
	c->dropped = 0;
	client_put(c, m);
}

static void client_flush(struct client *c)
{
	struct message *m;
	ssize_t n;

	while (!c->gone && (m = c->out)) {
		n = message_send(c->lfd.fd, m);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			client_close(c);
			return;
		}
		if (m->fd >= 0) {
			close(m->fd);
			m->fd = -1;
		}
		m->done += (size_t)n;
		if (m->done < m->len)
			continue;
		c->out = m->next;
		if (!c->out)
			c->out_tail = &c->out;
		c->out_bytes -= m->len;
		message_free(m);
		if (c->dropped && c->out_bytes < OUT_MAX_BYTES / 2)
			client_note_dropped(c);
	}
	if (!c->out && c->closing)
		client_close(c);
	else if (!c->gone)
		client_update(c);
}

static void client_send(struct client *c, struct json_object *obj, int fd)
{
	struct message *m = message_create(obj, fd);

	if (!m) {
		if (fd >= 0)
			close(fd);
		client_close(c);
		return;
	}
	client_put(c, m);
}

/* ---- requests ---- */

static struct json_object *error_make(const char *code, const char *text)
{
	struct json_object *err = json_object_new_object();

	json_object_object_add(err, "code", json_object_new_string(code));
	json_object_object_add(err, "message", json_object_new_string(text));
	return err;
}

/* The one command that is about the connection itself. */
static struct json_object *client_events(struct client *c, struct json_object *args)
{
	struct json_object *v = json_object_object_get(args, "enabled");

	c->events = !v || json_object_get_boolean(v);
	return json_object_new_object();
}

static void client_request(struct client *c, const char *line, size_t len)
{
	struct json_object *req = NULL, *id = NULL, *cmd = NULL, *args = NULL, *result = NULL;
	struct json_object *reply = json_object_new_object();
	struct json_tokener *tok = json_tokener_new_ex(16);
	const char *code = "failed";
	char error[320] = "out of memory";
	int fd = -1;

	if (tok)
		req = json_tokener_parse_ex(tok, line, (int)len + 1);
	if (tok && (!json_object_is_type(req, json_type_object) ||
		    !json_object_object_get_ex(req, "command", &cmd) ||
		    !json_object_is_type(cmd, json_type_string))) {
		code = "bad-request";
		snprintf(error, sizeof(error), "a request is a JSON object on one line: "
			 "{ \"id\": 1, \"command\": \"status\" }");
	} else if (tok) {
		json_object_object_get_ex(req, "arguments", &args);
		if (args && !json_object_is_type(args, json_type_object)) {
			code = "bad-request";
			snprintf(error, sizeof(error), "arguments must be an object");
		} else if (!strcmp(json_object_get_string(cmd), "events")) {
			result = client_events(c, args);
		} else {
			result = control_command(c->control->vm, json_object_get_string(cmd), args,
						 &fd, &code, error, sizeof(error));
		}
	}
	if (json_object_is_type(req, json_type_object) &&
	    json_object_object_get_ex(req, "id", &id))
		json_object_object_add(reply, "id", json_object_get(id));
	else
		json_object_object_add(reply, "id", NULL);
	if (result)
		json_object_object_add(reply, "result", result);
	else
		json_object_object_add(reply, "error", error_make(code, error));
	client_send(c, reply, fd);
	json_object_put(reply);
	json_object_put(req);
	if (tok)
		json_tokener_free(tok);
}

static void client_lines(struct client *c)
{
	char *nl, *at = c->in;

	while (!c->gone && !c->closing && c->out_bytes < OUT_MAX_BYTES &&
	       (nl = memchr(at, '\n', c->in_len - (size_t)(at - c->in)))) {
		*nl = 0;
		if (nl > at && !(nl == at + 1 && *at == '\r'))
			client_request(c, at, (size_t)(nl - at));
		at = nl + 1;
	}
	c->in_len -= (size_t)(at - c->in);
	memmove(c->in, at, c->in_len);
	/* An idle connection keeps nothing. */
	if (!c->in_len) {
		free(c->in);
		c->in = NULL;
		c->in_room = 0;
	}
}

static void client_read(struct client *c)
{
	struct json_object *reply;
	ssize_t n;
	char *more;

	if (c->in_room - c->in_len < 2048) {
		if (c->in_room >= LINE_MAX_BYTES) {
			reply = json_object_new_object();
			json_object_object_add(reply, "id", NULL);
			json_object_object_add(reply, "error",
					       error_make("too-long", "line is too long"));
			client_send(c, reply, -1);
			json_object_put(reply);
			c->closing = true;
			return;
		}
		more = realloc(c->in, c->in_room ? c->in_room * 2 : 4096);
		if (!more) {
			client_close(c);
			return;
		}
		c->in = more;
		c->in_room = c->in_room ? c->in_room * 2 : 4096;
	}
	n = recv(c->lfd.fd, c->in + c->in_len, c->in_room - c->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		client_close(c);
		return;
	}
	c->in_len += (size_t)n;
	client_lines(c);
}

static void client_event(void *opaque, uint32_t events)
{
	struct client *c = opaque;

	if (events & (EPOLLERR | EPOLLHUP)) {
		client_close(c);
		return;
	}
	if (events & EPOLLIN)
		client_read(c);
	if (c->gone)
		return;
	client_flush(c);
	/* Lines kept back while it did not read. */
	if (!c->gone && c->in_len && c->out_bytes < OUT_MAX_BYTES) {
		client_lines(c);
		client_flush(c);
	}
}

/* ---- events ---- */

void control_event(struct vm *vm, const char *event, struct json_object *data)
{
	struct json_object *obj = json_object_new_object();
	struct control *ctl = vm->control;
	struct message *m = NULL;
	struct timespec ts;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &ts);
	snprintf(text, sizeof(text), "%lld.%06ld", (long long)ts.tv_sec, ts.tv_nsec / 1000);
	json_object_object_add(obj, "event", json_object_new_string(event));
	json_object_object_add(obj, "time",
			       json_object_new_double_s((double)ts.tv_sec + (double)ts.tv_nsec / 1e9,
							text));
	json_object_object_add(obj, "data", data ? data : json_object_new_object());
	m = message_create(obj, -1);
	json_object_put(obj);
	pthread_mutex_lock(&ctl->lock);
	if (m && ctl->nr_posted < EVENTS_MAX) {
		*ctl->posted_tail = m;
		ctl->posted_tail = &m->next;
		ctl->nr_posted++;
		m = NULL;
	} else {
		ctl->lost++;
	}
	pthread_mutex_unlock(&ctl->lock);
	free(m);
	loop_defer(&vm->loop, &ctl->call);
}

static void client_free(struct client *c)
{
	struct message *m;

	while ((m = c->out)) {
		c->out = m->next;
		message_free(m);
	}
	close(c->lfd.fd);
	free(c->in);
	free(c);
}

/* Main loop: hands posted events to the clients, frees those that are gone. */
static void control_run(void *opaque)
{
	struct control *ctl = opaque;
	struct message *list, *m, *copy;
	struct client **p, *c;
	unsigned int lost;

	pthread_mutex_lock(&ctl->lock);
	list = ctl->posted;
	ctl->posted = NULL;
	ctl->posted_tail = &ctl->posted;
	ctl->nr_posted = 0;
	lost = ctl->lost;
	ctl->lost = 0;
	pthread_mutex_unlock(&ctl->lock);

	while ((m = list)) {
		list = m->next;
		for (c = ctl->clients; c; c = c->next) {
			if (c->gone || !c->events)
				continue;
			copy = c->out_bytes < OUT_MAX_BYTES ? malloc(sizeof(*m) + m->len) : NULL;
			if (!copy) {
				c->dropped++;
				continue;
			}
			memcpy(copy, m, sizeof(*m) + m->len);
			client_put(c, copy);
		}
		message_free(m);
	}
	for (c = ctl->clients; c; c = c->next) {
		if (c->gone)
			continue;
		c->dropped += c->events ? lost : 0;
		if (c->dropped && c->out_bytes < OUT_MAX_BYTES)
			client_note_dropped(c);
		client_flush(c);
	}
	for (p = &ctl->clients; (c = *p);) {
		if (!c->gone) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		client_free(c);
	}
}

/* ---- connections ---- */

static void client_greet(struct client *c)
{
	struct json_object *obj = json_object_new_object(), *hv = json_object_new_object();

	json_object_object_add(hv, "protocol", json_object_new_int(HV_CONTROL_PROTOCOL));
	json_object_object_add(hv, "version", json_object_new_string(HV_VERSION));
	json_object_object_add(hv, "name", json_object_new_string(c->control->vm->name));
	json_object_object_add(hv, "pid", json_object_new_int(getpid()));
	json_object_object_add(obj, "hv", hv);
	client_send(c, obj, -1);
	json_object_put(obj);
}

static void listen_event(void *opaque, uint32_t events)
{
	struct control *ctl = opaque;
	struct client *c, **p = &ctl->clients;
	unsigned int n = 0;
	int fd;

	(void)events;
	fd = accept4(ctl->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	for (; *p; p = &(*p)->next)
		n += !(*p)->gone;
	c = n < CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->control = ctl;
	c->events = true;
	c->out_tail = &c->out;
	c->lfd = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = client_event, .opaque = c };
	if (loop_fd_add(&ctl->vm->loop, &c->lfd)) {
		close(fd);
		free(c);
		return;
	}
	*p = c;
	client_greet(c);
	client_flush(c);
}

void control_flush(struct vm *vm)
{
	struct control *ctl = vm->control;
	struct client *c;
	int tries;

	control_run(ctl);
	for (c = ctl->clients; c; c = c->next)
		for (tries = 0; tries < 20 && !c->gone && c->out; tries++) {
			poll(&(struct pollfd){ .fd = c->lfd.fd, .events = POLLOUT }, 1, 10);
			client_flush(c);
		}
}

int control_create(struct vm *vm, const char *path)
{
	struct control *ctl;
	int fd;

	fd = unix_listen(vm, "control", path);
	if (fd < 0)
		return fd;
	ctl = calloc(1, sizeof(*ctl));
	if (!ctl) {
		log_error(vm, "out of memory");
		close(fd);
		unlink(path);
		return -ENOMEM;
	}
	ctl->vm = vm;
	snprintf(ctl->path, sizeof(ctl->path), "%s", path);
	pthread_mutex_init(&ctl->lock, NULL);
	ctl->posted_tail = &ctl->posted;
	ctl->call = (struct loop_call){ .fn = control_run, .opaque = ctl };
	ctl->listen = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = listen_event,
					.opaque = ctl };
	vm->control = ctl;
	return loop_fd_add(&vm->loop, &ctl->listen);
}

void control_destroy(struct vm *vm)
{
	struct control *ctl = vm->control;
	struct message *m;
	struct client *c;

	if (!ctl)
		return;
	vm->control = NULL;
	while ((c = ctl->clients)) {
		ctl->clients = c->next;
		loop_fd_remove(&vm->loop, &c->lfd);
		client_free(c);
	}
	while ((m = ctl->posted)) {
		ctl->posted = m->next;
		message_free(m);
	}
	loop_fd_remove(&vm->loop, &ctl->listen);
	close(ctl->listen.fd);
	unlink(ctl->path);
	pthread_mutex_destroy(&ctl->lock);
	free(ctl);
}
