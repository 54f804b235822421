// SPDX-License-Identifier: GPL-2.0-only
/*
 * passt.c - user networking by passt(1): no privilege needed, and no TCP/IP here.
 *
 * passt gets one end of a socket pair, so there is no path that could be stale or
 * taken.  It is started without -f: it goes to the background when it is ready,
 * and its exit status then tells whether it is.  With -1 it ends when our end of the
 * socket closes, however this process ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/net/net.h"
#include "vmm/vm.h"

#define PASST		"passt"
#define CHILD_SOCKET	3	/* where passt finds it */
#define PORTS_LEN	1024
#define START_MS	15000
#define SOCKET_BUFFER	(4 << 20)

extern char **environ;

/* Appends HOST:GUEST of "tcp:HOST:GUEST" to the list of its protocol. */
static int forward_add(struct vm *vm, const char *key, const char *text, char *tcp, char *udp)
{
	unsigned int host, guest;
	char *list = NULL, again[16], tail;
	size_t len;

	if (!strncmp(text, "tcp:", 4))
		list = tcp;
	else if (!strncmp(text, "udp:", 4))
		list = udp;
	if (!list || sscanf(text + 4, "%5u:%5u%c", &host, &guest, &tail) != 2 || !host ||
	    host > 65535 || !guest || guest > 65535) {
		log_error(vm, "%s: '%s' is not tcp:HOSTPORT:GUESTPORT or udp:HOSTPORT:GUESTPORT",
			  key, text);
		return -EINVAL;
	}
	snprintf(again, sizeof(again), ",%u:", host);
	len = strlen(list);
	if (!strncmp(list, again + 1, strlen(again + 1)) || strstr(list, again)) {
		log_error(vm, "%s: port %u is forwarded already", key, host);
		return -EINVAL;
	}
	if (len + 16 > PORTS_LEN) {
		log_error(vm, "%s: too many ports to forward", key);
		return -E2BIG;
	}
	snprintf(list + len, PORTS_LEN - len, "%s%u:%u", len ? "," : "", host, guest);
	return 0;
}

static int forwards_get(struct vm *vm, const char *path, char *tcp, char *udp)
{
	char list[64], key[80];
	unsigned int i, count;
	int err;

	snprintf(list, sizeof(list), "%s.hostfwd", path);
	count = config_count(vm->config, "%s", list);
	for (i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "%s.%u", list, i);
		err = forward_add(vm, key, config_string(vm->config, "%s", key), tcp, udp);
		if (err)
			return err;
	}
	return 0;
}

/* The last line of what passt said, without its noise about syslog and root. */
static void complaint_get(int fd, char *buf, size_t len)
{
	char text[4096], *line, *save;
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	snprintf(buf, len, "no reason given");
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (!strstr(line, "to syslog") && !strstr(line, "Changing to nobody"))
			snprintf(buf, len, "%s", line);
}

static int passt_spawn(char *const argv[], int sock, int err_pipe, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int err;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	/* In this order: the descriptors are above those they are copied to, or equal. */
	posix_spawn_file_actions_adddup2(&actions, err_pipe, STDERR_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, sock, CHILD_SOCKET);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	/* Of its own group: Ctrl-C at the terminal is the guest's. */
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
				 POSIX_SPAWN_SETPGROUP);
	err = posix_spawnp(pid, PASST, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

/* Until it is in the background.  Its exit status, or -1. */
static int passt_wait(pid_t pid)
{
	struct timespec step = { .tv_nsec = 5000000 };
	int status = 0, waited;
	pid_t ret;

	for (waited = 0; waited < START_MS; waited += 5) {
		ret = waitpid(pid, &status, WNOHANG);
		if (ret == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		if (ret < 0 && errno != EINTR)
			return -1;
		nanosleep(&step, NULL);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

/*
 * What does not fit the socket passt drops and sends again much later, so its
 * room decides how fast TCP is.  Beyond the host's limit only for the privileged.
 */
static void buffer_grow(int sock)
{
	int size = SOCKET_BUFFER;

	if (setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* A descriptor above those that the child's are copied to. */
static int fd_raise(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_SOCKET + 1);

	close(fd);
	return high;
}

static int passt_start(struct vm *vm, const char *path, const char *tcp, const char *udp, int sock)
{
	char number[12], why[200];
	const char *argv[12];
	unsigned int n = 0;
	int pipe_fds[2], err;
	pid_t pid;

	snprintf(number, sizeof(number), "%d", CHILD_SOCKET);
	argv[n++] = PASST;
	argv[n++] = "-1";
	argv[n++] = "-q";
	argv[n++] = "-F";
	argv[n++] = number;
	if (tcp[0]) {
		argv[n++] = "-t";
		argv[n++] = tcp;
	}
	if (udp[0]) {
		argv[n++] = "-u";
		argv[n++] = udp;
	}
	argv[n] = NULL;
	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	pipe_fds[1] = fd_raise(pipe_fds[1]);
	err = passt_spawn((char *const *)argv, sock, pipe_fds[1], &pid);
	close(pipe_fds[1]);
	if (err) {
		log_error(vm, "%s: cannot start passt: %s%s", path, strerror(-err),
			  err == -ENOENT ? "; install the package passt, or use tap=IF" : "");
	} else if (passt_wait(pid)) {
		complaint_get(pipe_fds[0], why, sizeof(why));
		log_error(vm, "%s: passt does not start: %s%s", path, why,
			  strstr(why, "interface not usable") ?
			  "; it takes a host with a default route" : "");
		err = -EIO;
	}
	close(pipe_fds[0]);
	return err;
}

int net_passt_check(struct vm *vm, const char *path)
{
	char tcp[PORTS_LEN] = "", udp[PORTS_LEN] = "";

	return forwards_get(vm, path, tcp, udp);
}

int net_passt_open(struct vm *vm, const char *path, struct net_backend **out)
{
	char tcp[PORTS_LEN] = "", udp[PORTS_LEN] = "";
	struct net_backend *be;
	int pair[2], err;

	err = forwards_get(vm, path, tcp, udp);
	if (err)
		return err;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		err = -errno;
		log_error(vm, "%s: cannot create a socket: %s", path, strerror(-err));
		return err;
	}
	buffer_grow(pair[0]);
	buffer_grow(pair[1]);
	pair[1] = fd_raise(pair[1]);
	err = passt_start(vm, path, tcp, udp, pair[1]);
	close(pair[1]);
	be = err ? NULL : net_stream_create(pair[0]);
	if (!be) {
		close(pair[0]);
		return err ? err : -ENOMEM;
	}
	snprintf(be->detail, sizeof(be->detail), "passt");
	*out = be;
	return 0;
}
