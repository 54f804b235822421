// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * client.c - client of a guest's control socket (<hv/control.h>,
 * Documentation/control.rst): JSON objects, one a line.
 *
 * What the other side sends is checked, not trusted: lines are bounded, answers
 * must carry our id.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>

#include "hv/control.h"

#define LINE_MAX_BYTES	(4 << 20)
#define EVENTS_MAX	256
#define GREETING_MS	10000
#define CALL_MS		60000
#define SUFFIX		".sock"

struct hv_client {
	int fd;
	int64_t id;			/* of the last request */
	int passed_fd;			/* that came with the line being read */
	char *buf;
	size_t len, room;
	size_t scanned;			/* bytes of buf known to hold no newline */
	struct json_object *greeting;
	struct json_object *events[EVENTS_MAX];
	unsigned int nr_events;
	char error[320];
};

int hv_control_name_valid(const char *name)
{
	size_t i;

	if (!isalnum((unsigned char)name[0]))
		return 0;
	for (i = 0; name[i]; i++)
		if (i >= 60 || !(isalnum((unsigned char)name[i]) || strchr("._-", name[i])))
			return 0;
	return 1;
}

int hv_control_dir(char *buf, size_t len)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (!geteuid()) {
		n = snprintf(buf, len, "/run/hv");
	} else if (xdg && xdg[0] == '/') {
		n = snprintf(buf, len, "%s/hv", xdg);
	} else {
		n = snprintf(buf, len, "/run/user/%u", (unsigned int)geteuid());
		if (n > 0 && (size_t)n < len && access(buf, X_OK))
			return -ENOENT;
		n = snprintf(buf, len, "/run/user/%u/hv", (unsigned int)geteuid());
	}
	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

int hv_control_path(const char *name, char *buf, size_t len)
{
	size_t n;
	int ret;

	if (!hv_control_name_valid(name))
		return -EINVAL;
	ret = hv_control_dir(buf, len);
	if (ret)
		return ret;
	n = strlen(buf);
	if ((size_t)snprintf(buf + n, len - n, "/%s" SUFFIX, name) >= len - n)
		return -ENAMETOOLONG;
	return 0;
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int hv_control_each(int (*fn)(const char *name, void *opaque), void *opaque)
{
	char path[256], **names = NULL, **more;
	size_t n = 0, i, len;
	struct dirent *d;
	int ret;
	DIR *dir;

	ret = hv_control_dir(path, sizeof(path));
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (!ret && (d = readdir(dir))) {
		len = strlen(d->d_name);
		if (len <= strlen(SUFFIX) || strcmp(d->d_name + len - strlen(SUFFIX), SUFFIX))
			continue;
		more = realloc(names, (n + 1) * sizeof(*names));
		if (!more) {
			ret = -ENOMEM;
			break;
		}
		names = more;
		names[n] = strndup(d->d_name, len - strlen(SUFFIX));
		if (names[n])
			n++;
		else
			ret = -ENOMEM;
	}
	closedir(dir);
	if (n)
		qsort(names, n, sizeof(*names), name_compare);
	for (i = 0; i < n; i++) {
		if (!ret && hv_control_name_valid(names[i]))
			ret = fn(names[i], opaque);
		free(names[i]);
	}
	free(names);
	return ret;
}

/* ---- lines ---- */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Reads what is there, and a descriptor that comes with it. */
static int client_receive(struct hv_client *c)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	ssize_t n;
	char *more;

	if (c->room - c->len < 4096) {
		if (c->room >= LINE_MAX_BYTES)
			return -EPROTO;
		more = realloc(c->buf, c->room ? c->room * 2 : 8192);
		if (!more)
			return -ENOMEM;
		c->buf = more;
		c->room = c->room ? c->room * 2 : 8192;
	}
	iov.iov_base = c->buf + c->len;
	iov.iov_len = c->room - c->len;
	do {
		n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		if (c->passed_fd >= 0)
			close(c->passed_fd);
		memcpy(&c->passed_fd, CMSG_DATA(cmsg), sizeof(int));
	}
	if (!n)
		return -EPIPE;
	c->len += (size_t)n;
	return 0;
}

/* The next line as an object, until @deadline (ms; -1: for ever). */
static int client_line(struct hv_client *c, int64_t deadline, struct json_object **out)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };
	int64_t left;
	char *nl;
	int ret;

	for (;;) {
		nl = c->len > c->scanned ?
		     memchr(c->buf + c->scanned, '\n', c->len - c->scanned) : NULL;
		if (nl) {
			*nl = 0;
			*out = json_tokener_parse(c->buf);
			c->len -= (size_t)(nl + 1 - c->buf);
			memmove(c->buf, nl + 1, c->len);
			c->scanned = 0;
			if (json_object_is_type(*out, json_type_object))
				return 0;
			json_object_put(*out);
			return -EPROTO;
		}
		c->scanned = c->len;
		ret = client_receive(c);
		if (!ret)
			continue;
		if (ret != -EAGAIN)
			return ret;
		left = -1;
		if (deadline >= 0) {
			left = deadline - now_ms();
			if (left < 0)
				left = 0;
		}
		ret = poll(&pfd, 1, left > 1 << 30 ? 1 << 30 : (int)left);
		if (ret < 0 && errno != EINTR)
			return -errno;
		if (!ret)
			return -ETIMEDOUT;
	}
}

static void event_keep(struct hv_client *c, struct json_object *event)
{
	if (c->nr_events == EVENTS_MAX) {	/* nobody fetches them: the oldest goes */
		json_object_put(c->events[0]);
		memmove(c->events, c->events + 1, sizeof(c->events[0]) * --c->nr_events);
	}
	c->events[c->nr_events++] = event;
}

static int client_send(struct hv_client *c, const char *line, size_t len)
{
	ssize_t n;

	while (len) {
		n = send(c->fd, line, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET ? -EPIPE : -errno;
		line += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- calls ---- */

int hv_client_call(struct hv_client *c, const char *command, struct json_object *args,
		   struct json_object **result, int *fd)
{
	struct json_object *req = json_object_new_object(), *line, *v, *code, *text;
	const char *s;
	char *copy;
	int64_t deadline = now_ms() + CALL_MS;
	size_t len;
	int ret;

	if (result)
		*result = NULL;
	if (fd)
		*fd = -1;
	c->error[0] = 0;
	if (!req)
		return -ENOMEM;
	json_object_object_add(req, "id", json_object_new_int64(++c->id));
	json_object_object_add(req, "command", json_object_new_string(command));
	if (args)
		json_object_object_add(req, "arguments", json_object_get(args));
	s = json_object_to_json_string_ext(req, JSON_C_TO_STRING_PLAIN);
	len = strlen(s);
	copy = malloc(len + 1);
	if (!copy) {
		json_object_put(req);
		return -ENOMEM;
	}
	memcpy(copy, s, len);
	copy[len] = '\n';
	json_object_put(req);
	ret = client_send(c, copy, len + 1);
	free(copy);
	if (ret)
		return ret;

	for (;;) {
		ret = client_line(c, deadline, &line);
		if (ret)
			return ret;
		if (json_object_object_get_ex(line, "event", NULL)) {
			event_keep(c, line);
			continue;
		}
		if (json_object_object_get_ex(line, "id", &v) &&
		    json_object_get_int64(v) == c->id)
			break;
		json_object_put(line);	/* the late answer of a call that timed out */
		if (c->passed_fd >= 0)
			close(c->passed_fd);
		c->passed_fd = -1;
	}
	if (json_object_object_get_ex(line, "error", &v)) {
		code = json_object_object_get(v, "code");
		text = json_object_object_get(v, "message");
		snprintf(c->error, sizeof(c->error), "%s: %s",
			 code ? json_object_get_string(code) : "error",
			 text ? json_object_get_string(text) : "no message");
		ret = -EREMOTEIO;
	} else if (result && json_object_object_get_ex(line, "result", &v)) {
		*result = json_object_get(v);
	}
	json_object_put(line);
	if (fd)
		*fd = c->passed_fd;
	else if (c->passed_fd >= 0)
		close(c->passed_fd);
	c->passed_fd = -1;
	return ret;
}

const char *hv_client_error(const struct hv_client *c)
{
	return c->error;
}

int hv_client_event(struct hv_client *c, int timeout_ms, struct json_object **event)
{
	int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	int ret;

	if (c->nr_events) {
		*event = c->events[0];
		memmove(c->events, c->events + 1, sizeof(c->events[0]) * --c->nr_events);
		return 0;
	}
	for (;;) {
		ret = client_line(c, deadline, event);
		if (ret)
			return ret == -ETIMEDOUT ? -EAGAIN : ret;
		if (json_object_object_get_ex(*event, "event", NULL))
			return 0;
		json_object_put(*event);
	}
}

int hv_client_fd(const struct hv_client *c)
{
	return c->fd;
}

struct json_object *hv_client_greeting(const struct hv_client *c)
{
	return c->greeting;
}

int hv_client_open_path(const char *path, struct hv_client **client)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct json_object *hv, *v;
	struct hv_client *c;
	int ret;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->passed_fd = -1;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof(addr))) {
		ret = -errno;
		goto fail;
	}
	ret = client_line(c, now_ms() + GREETING_MS, &c->greeting);
	if (ret)
		goto fail;
	if (!json_object_object_get_ex(c->greeting, "hv", &hv) ||
	    !json_object_object_get_ex(hv, "protocol", &v) ||
	    json_object_get_int(v) != HV_CONTROL_PROTOCOL) {
		ret = -EPROTO;
		goto fail;
	}
	*client = c;
	return 0;
fail:
	hv_client_close(c);
	return ret;
}

int hv_client_open(const char *name, struct hv_client **client)
{
	char path[256];
	int ret = hv_control_path(name, path, sizeof(path));

	return ret ? ret : hv_client_open_path(path, client);
}

void hv_client_close(struct hv_client *c)
{
	unsigned int i;

	if (!c)
		return;
	for (i = 0; i < c->nr_events; i++)
		json_object_put(c->events[i]);
	json_object_put(c->greeting);
	if (c->passed_fd >= 0)
		close(c->passed_fd);
	if (c->fd >= 0)
		close(c->fd);
	free(c->buf);
	free(c);
}
