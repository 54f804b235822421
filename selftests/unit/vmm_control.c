// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmm_control.c - tests of the control socket (vmm/control/server.c) with libhv's
 * client and with raw connections: greeting, requests, hostile lines, events, a
 * client that reads nothing.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <json-c/json.h>

#include "hv/control.h"
#include "ktap.h"
#include "vmm/control/control.h"
#include "vmm/vm.h"

static struct vm vm;
static char path[64];

static void *loop_thread(void *arg)
{
	loop_run(&vm.loop);
	return NULL;
}

static int raw_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		ktap_bail("cannot connect");
	return fd;
}

/* Reads one line; its length, 0 at the end or after two seconds of nothing. */
static size_t raw_line(int fd, char *buf, size_t room)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	size_t n = 0;

	while (n < room - 1 && poll(&pfd, 1, 2000) > 0 && read(fd, buf + n, 1) == 1)
		if (buf[n++] == '\n')
			break;
	buf[n] = 0;
	return n;
}

static int raw_ask(int fd, const char *line, size_t len, char *buf, size_t room)
{
	if (send(fd, line, len, MSG_NOSIGNAL) != (ssize_t)len)
		return -1;
	return raw_line(fd, buf, room) > 0;
}

#define ASK(text) raw_ask(fd, text, sizeof(text) - 1, buf, sizeof(buf))

static void lines(void)
{
	char buf[4096];
	int fd = raw_connect();

	raw_line(fd, buf, sizeof(buf));
	ktap_check(strstr(buf, "\"protocol\":1") && strstr(buf, "\"name\":\"unit\""), "the greeting");
	ktap_check(ASK("{\"id\":7,\"command\":\"help\"}\n") && strstr(buf, "\"id\":7") &&
		   strstr(buf, "\"result\":{\"status\""), "a request and its answer");
	ktap_check(ASK("{\"id\":\"x\",\"command\":\"nonsense\"}\n") && strstr(buf, "\"id\":\"x\"") &&
		   strstr(buf, "unknown-command"), "an unknown command");
	ktap_check(ASK("nonsense\n") && strstr(buf, "bad-request") && ASK("[]\n") &&
		   strstr(buf, "bad-request") && ASK("{\"command\":7}\n") &&
		   strstr(buf, "bad-request") && ASK("{\"command\":\"help\",\"arguments\":3}\n") &&
		   strstr(buf, "bad-request") && ASK("\0\n") && strstr(buf, "bad-request") &&
		   ASK("{\"command\":\"help\"\n") && strstr(buf, "bad-request"),
		   "what is no request is refused, and the connection goes on");
	ktap_check(ASK("\n\r\n{\"id\":1,\"command\":\"jobs\"}\n") && strstr(buf, "\"result\":[]"),
		   "empty lines are passed over");
	if (write(fd, "{\"id\":2,\"comm", 13) != 13)
		ktap_bail("cannot write");
	usleep(10000);
	ktap_check(ASK("and\":\"help\"}\n") && strstr(buf, "\"id\":2"), "a request in two pieces");
	ktap_check(ASK("{\"id\":3,\"command\":\"help\"}\n{\"id\":4,\"command\":\"help\"}\n") &&
		   strstr(buf, "\"id\":3") && raw_line(fd, buf, sizeof(buf)) &&
		   strstr(buf, "\"id\":4"), "two requests in one piece");
	close(fd);
}

static void long_line(void)
{
	static char big[400 * 1024];
	char buf[4096];
	int fd = raw_connect();
	size_t sent = 0;
	ssize_t n;

	raw_line(fd, buf, sizeof(buf));
	memset(big, 'x', sizeof(big));
	while (sent < sizeof(big) && (n = send(fd, big, sizeof(big) - sent, MSG_NOSIGNAL)) > 0)
		sent += (size_t)n;
	ktap_check(raw_line(fd, buf, sizeof(buf)) == 0 || strstr(buf, "too-long"),
		   "a line without end ends the connection");
	close(fd);
}

static void client(void)
{
	struct json_object *result, *event;
	struct hv_client *c;
	unsigned int i, n = 0;
	int fd;

	if (hv_client_open_path(path, &c))
		ktap_bail("hv_client_open_path");
	ktap_check(!hv_client_call(c, "config", NULL, &result, &fd) && fd == -1 &&
		   json_object_get_int(json_object_object_get(result, "cpus")) == 3,
		   "libhv's client: the configuration");
	json_object_put(result);
	ktap_check(hv_client_call(c, "nonsense", NULL, &result, NULL) == -EREMOTEIO && !result &&
		   strstr(hv_client_error(c), "unknown-command"), "libhv's client: a refusal");
	for (i = 0; i < 5; i++)
		vm_event(&vm, "test", NULL);
	ktap_check(!hv_client_call(c, "help", NULL, NULL, NULL), "a call between events");
	while (!hv_client_event(c, 300, &event)) {
		n += !strcmp(json_object_get_string(json_object_object_get(event, "event")), "test");
		json_object_put(event);
	}
	ktap_check(n == 5, "all events come, each once");
	result = json_object_new_object();
	json_object_object_add(result, "enabled", json_object_new_boolean(0));
	hv_client_call(c, "events", result, NULL, NULL);
	json_object_put(result);
	vm_event(&vm, "test", NULL);
	ktap_check(hv_client_event(c, 200, &event) == -EAGAIN, "events can be switched off");
	hv_client_close(c);
}

/* A client that reads nothing is neither waited for nor kept in memory without end. */
static void slow(void)
{
	struct hv_client *c;
	struct json_object *data, *event;
	int fd = raw_connect();
	unsigned int i, got = 0;
	uint64_t dropped = 0;
	char pad[2048];

	memset(pad, 'p', sizeof(pad));
	pad[sizeof(pad) - 1] = 0;
	for (i = 0; i < 2000; i++) {
		data = json_object_new_object();
		json_object_object_add(data, "pad", json_object_new_string(pad));
		vm_event(&vm, "flood", data);
		if (i % 64 == 63)
			usleep(2000);
	}
	if (hv_client_open_path(path, &c))
		ktap_bail("the server is stuck");
	ktap_check(!hv_client_call(c, "help", NULL, NULL, NULL), "others are served meanwhile");
	hv_client_close(c);
	/* It reads at last: some events, a count of the others. */
	for (;;) {
		static char line[8192];

		if (!raw_line(fd, line, sizeof(line)))
			break;
		event = json_tokener_parse(line);
		data = json_object_object_get(event, "event");
		if (data && !strcmp(json_object_get_string(data), "flood"))
			got++;
		if (data && !strcmp(json_object_get_string(data), "dropped"))
			dropped += json_object_get_uint64(json_object_object_get(
				json_object_object_get(event, "data"), "count"));
		json_object_put(event);
	}
	ktap_check(got > 0 && dropped > 0 && got + dropped == 2000,
		   "a slow client gets %u events and a note of %llu dropped", got,
		   (unsigned long long)dropped);
	close(fd);
}

static void many(void)
{
	int fd[20], i, refused = 0;
	char buf[256];

	for (i = 0; i < 20; i++)
		fd[i] = raw_connect();
	for (i = 0; i < 20; i++)
		refused += !raw_line(fd[i], buf, sizeof(buf));
	ktap_check(refused == 4, "at most 16 clients");
	for (i = 0; i < 20; i++)
		close(fd[i]);
	usleep(50000);
}

int main(void)
{
	char err[100], dir[] = "/tmp/vmm_control.XXXXXX";
	pthread_t thread;

	if (!mkdtemp(dir))
		ktap_bail("no directory");
	snprintf(path, sizeof(path), "%s/s", dir);
	strcpy(vm.name, "unit");
	vm.config = config_create();
	config_set(vm.config, "cpus", "3", err, sizeof(err));
	pthread_mutex_init(&vm.lock, NULL);
	if (loop_init(&vm.loop) || control_create(&vm, path))
		ktap_bail("no control socket");
	pthread_create(&thread, NULL, loop_thread, NULL);
	ktap_plan(17);
	lines();
	long_line();
	client();
	slow();
	many();
	ktap_check(!hv_control_name_valid("") && !hv_control_name_valid("../x") &&
		   !hv_control_name_valid(".x") && !hv_control_name_valid("a b") &&
		   hv_control_name_valid("a-b.c_1"), "names");
	loop_stop(&vm.loop);
	pthread_join(thread, NULL);
	control_destroy(&vm);
	loop_destroy(&vm.loop);
	config_destroy(vm.config);
	rmdir(dir);
	return ktap_finish();
}
