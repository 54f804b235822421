// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_control.c - the commands of vmm(1) that talk to a running guest, through
 * libhv's control client only.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>

#include "cli.h"
#include "config.h"
#include "hv/control.h"
#include "log.h"
#include "rundir.h"
#include "terminal.h"

#define ESCAPE		0x1d	/* Ctrl-] */
#define STOP_SECONDS	90

int cli_bad_option(int argc, char **argv, int opt, const char *help)
{
	const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";

	if (opt == ':')
		log_error(NULL, "option '%s' needs a value; see %s", word, help);
	else
		log_error(NULL, "unknown option '%s'; see %s", word, help);
	return EXIT_USAGE;
}

/* The one operand of a command: a guest's name. */
static const char *name_operand(int argc, char **argv, const char *command)
{
	if (optind >= argc) {
		log_error(NULL, "%s: which guest? `vmm list` names those that run", command);
		return NULL;
	}
	if (optind + 1 < argc) {
		log_error(NULL, "%s: too many words: '%s'", command, argv[optind + 1]);
		return NULL;
	}
	if (!hv_control_name_valid(argv[optind])) {
		log_error(NULL, "%s: '%s' cannot be a guest's name", command, argv[optind]);
		return NULL;
	}
	return argv[optind];
}

static struct hv_client *guest_open(const char *name)
{
	struct hv_client *client;
	int ret = hv_client_open(name, &client);

	if (!ret)
		return client;
	if (ret == -ECONNREFUSED)
		rundir_clean(name);
	if (ret == -ECONNREFUSED || ret == -ENOENT)
		log_error(NULL, "no guest named '%s' is running; `vmm list` names those that do",
			  name);
	else if (ret == -EACCES)
		log_error(NULL, "guest '%s' belongs to another user; run this as that user or "
			  "as root", name);
	else
		log_error(NULL, "cannot reach guest '%s': %s", name, strerror(-ret));
	return NULL;
}

static int guest_call(struct hv_client *client, const char *name, const char *command,
		      struct json_object *args, struct json_object **result, int *fd)
{
	int ret = hv_client_call(client, command, args, result, fd);

	if (ret == -EREMOTEIO)
		log_error(NULL, "%s: %s", name, hv_client_error(client));
	else if (ret)
		log_error(NULL, "%s: %s: %s", name, command,
			  ret == -EPIPE ? "the guest has ended" : strerror(-ret));
	return ret;
}

static void print_json(struct json_object *obj)
{
	puts(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_SPACED |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
}

static const char *text_of(struct json_object *obj, const char *key)
{
	struct json_object *v = json_object_object_get(obj, key);

	return v ? json_object_get_string(v) : "";
}

/* ---- list ---- */

static int list_add(const char *name, void *opaque)
{
	struct json_object *list = opaque, *status;
	struct hv_client *client;
	int ret;

	ret = hv_client_open(name, &client);
	if (ret == -ECONNREFUSED) {
		rundir_clean(name);
		return 0;
	}
	if (ret == -ENOENT)
		return 0;
	if (ret) {
		log_error(NULL, "%s: %s", name, strerror(-ret));
		return 0;
	}
	/* One that ends this moment does not run. */
	if (!hv_client_call(client, "status", NULL, &status, NULL))
		json_object_array_add(list, status);
	hv_client_close(client);
	return 0;
}

int cli_list(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct json_object *list, *g;
	bool json = false;
	size_t i;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'h') {
			puts("Usage: vmm list [--json]");
			return 0;
		}
		if (c != 'j')
			return cli_bad_option(argc, argv, c, "vmm --help");
		json = true;
	}
	if (optind < argc) {
		log_error(NULL, "list: too many words: '%s'", argv[optind]);
		return EXIT_USAGE;
	}
	list = json_object_new_array();
	ret = hv_control_each(list_add, list);
	if (ret) {
		char dir[PATH_MAX] = "its directory";

		hv_control_dir(dir, sizeof(dir));
		log_error(NULL, "cannot list the guests in %s: %s", dir, strerror(-ret));
		json_object_put(list);
		return EXIT_FAIL;
	}
	if (json) {
		print_json(list);
	} else {
		printf("%-20s %8s %-9s %4s %8s %10s\n", "NAME", "PID", "STATE", "CPUS", "MEMORY",
		       "UPTIME");
		for (i = 0; i < json_object_array_length(list); i++) {
			g = json_object_array_get_idx(list, i);
			printf("%-20s %8s %-9s %4s %7lluM %9llus\n", text_of(g, "name"),
			       text_of(g, "pid"), text_of(g, "state"), text_of(g, "cpus"),
			       (unsigned long long)
			       json_object_get_uint64(json_object_object_get(g, "memory")) >> 20,
			       (unsigned long long)
			       json_object_get_double(json_object_object_get(g, "uptime")));
		}
	}
	json_object_put(list);
	return 0;
}

/* ---- info ---- */

static void print_tree(struct json_object *obj, int indent)
{
	size_t i;

	if (json_object_is_type(obj, json_type_array)) {
		for (i = 0; i < json_object_array_length(obj); i++) {
			struct json_object *v = json_object_array_get_idx(obj, i);

			if (json_object_is_type(v, json_type_object)) {
				printf("%*s-\n", indent, "");
				print_tree(v, indent + 2);
			} else {
				printf("%*s- %s\n", indent, "", json_object_get_string(v));
			}
		}
		return;
	}
	json_object_object_foreach(obj, key, v) {
		if (json_object_is_type(v, json_type_object) ||
		    json_object_is_type(v, json_type_array)) {
			printf("%*s%s:\n", indent, "", key);
			print_tree(v, indent + 2);
		} else {
			printf("%*s%s: %s\n", indent, "", key,
			       v ? json_object_get_string(v) : "-");
		}
	}
}

int cli_info(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", no_argument, NULL, 'c' },
		{ "stats", no_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "host", no_argument, NULL, 'H' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct json_object *result;
	struct hv_client *client;
	const char *name, *command = "info";
	bool json = false, host = false, config = false, stats = false;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			command = "config";
			config = true;
			break;
		case 's':
			command = "stats";
			stats = true;
			break;
		case 'j':
			json = true;
			break;
		case 'H':
			host = true;
			break;
		case 'h':
			puts("Usage: vmm info NAME [--config|--stats] [--json]\n"
			     "       vmm info --host");
			return 0;
		default:
			return cli_bad_option(argc, argv, c, "vmm info --help");
		}
	}
	if (config + stats + host > 1 || (host && json)) {
		log_error(NULL, "info: %s", host && json ? "--host has no --json" :
			  "one of --config, --stats and --host at a time");
		return EXIT_USAGE;
	}
	if (host) {
		if (optind < argc) {
			log_error(NULL, "info --host is about the host; it takes no guest");
			return EXIT_USAGE;
		}
		return host_info();
	}
	name = name_operand(argc, argv, "info");
	if (!name)
		return EXIT_USAGE;
	client = guest_open(name);
	if (!client)
		return EXIT_FAIL;
	ret = guest_call(client, name, command, NULL, &result, NULL);
	hv_client_close(client);
	if (ret)
		return EXIT_FAIL;
	/* A configuration is for --config of the next start. */
	if (json || config)
		print_json(result);
	else
		print_tree(result, 0);
	json_object_put(result);
	return 0;
}

/* ---- stop, reset, pause, resume ---- */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Until the guest's process closes its socket.  0, or -ETIMEDOUT. */
static int wait_end(struct hv_client *client, int64_t timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms, left;
	struct json_object *event;
	int ret;

	for (;;) {
		left = deadline - now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		ret = hv_client_event(client, left > 1000 ? 1000 : (int)left, &event);
		if (!ret)
			json_object_put(event);
		else if (ret != -EAGAIN)
			return 0;
	}
}

int cli_stop(int argc, char **argv)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "timeout", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct json_object *args;
	struct hv_client *client;
	long seconds = STOP_SECONDS;
	const char *name;
	bool force = false;
	char *end;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (c) {
		case 'f':
			force = true;
			break;
		case 't':
			seconds = strtol(optarg, &end, 10);
			if (*end || end == optarg || seconds < 0 || seconds > 86400) {
				log_error(NULL, "stop: --timeout '%s': give seconds, 0 to 86400",
					  optarg);
				return EXIT_USAGE;
			}
			break;
		case 'h':
			puts("Usage: vmm stop NAME [--force] [--timeout SECONDS]");
			return 0;
		default:
			return cli_bad_option(argc, argv, c, "vmm stop --help");
		}
	}
	name = name_operand(argc, argv, "stop");
	if (!name)
		return EXIT_USAGE;
	client = guest_open(name);
	if (!client)
		return EXIT_FAIL;
	args = json_object_new_object();
	json_object_object_add(args, "force", json_object_new_boolean(force));
	ret = guest_call(client, name, "stop", args, NULL, NULL);
	json_object_put(args);
	if (!ret)
		ret = wait_end(client, seconds * 1000);
	hv_client_close(client);
	if (ret == -ETIMEDOUT)
		log_error(NULL, "%s has not powered off within %ld seconds; end it with vmm stop "
			  "--force %s", name, seconds, name);
	return ret ? EXIT_FAIL : 0;
}

int cli_simple(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct hv_client *client;
	const char *name;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'h') {
			printf("Usage: vmm %s NAME\n", argv[0]);
			return 0;
		}
		return cli_bad_option(argc, argv, c, "vmm --help");
	}
	name = name_operand(argc, argv, argv[0]);
	if (!name)
		return EXIT_USAGE;
	client = guest_open(name);
	if (!client)
		return EXIT_FAIL;
	ret = guest_call(client, name, argv[0], NULL, NULL, NULL);
	hv_client_close(client);
	return ret ? EXIT_FAIL : 0;
}

/* ---- console ---- */

static bool write_all(int fd, const char *buf, size_t len)
{
	ssize_t n;

	while (len) {
		n = write(fd, buf, len);
		if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 1000);
			continue;
		}
		if (n < 0)
			return false;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}

/* False: the user has asked to leave.  What was typed before that is the guest's. */
static bool console_type(int fd, char *buf, size_t len, bool escape, bool *escaped)
{
	static const char help[] = "\r\nCtrl-] q leaves, Ctrl-] Ctrl-] is a Ctrl-] for the guest\r\n";
	bool leave = false;
	size_t i, n = 0;

	for (i = 0; i < len && !leave; i++) {
		if (escape && *escaped) {
			*escaped = false;
			if (buf[i] == ESCAPE)
				buf[n++] = ESCAPE;
			else if (buf[i] == 'q' || buf[i] == 'Q')
				leave = true;
			else
				write_all(STDOUT_FILENO, help, sizeof(help) - 1);
		} else if (escape && buf[i] == ESCAPE) {
			*escaped = true;
		} else {
			buf[n++] = buf[i];
		}
	}
	write_all(fd, buf, n);
	return !leave;
}

/* True: the guest's end of it is gone. */
static bool console_loop(int fd, bool escape)
{
	struct pollfd pfd[2] = {
		{ .fd = STDIN_FILENO, .events = POLLIN }, { .fd = fd, .events = POLLIN },
	};
	bool escaped = false;
	char buf[1024];
	ssize_t n;

	for (;;) {
		if (poll(pfd, 2, -1) < 0 && errno != EINTR)
			return false;
		if (pfd[0].revents) {
			n = read(STDIN_FILENO, buf, sizeof(buf));
			if (n > 0 && !console_type(fd, buf, (size_t)n, escape, &escaped))
				return false;
			if (n <= 0)
				pfd[0].fd = -1;
		}
		if (pfd[1].revents) {
			n = read(fd, buf, sizeof(buf));
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				continue;
			if (n <= 0)
				return true;
			if (!write_all(STDOUT_FILENO, buf, (size_t)n))
				return false;
		}
	}
}

int cli_console(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct hv_client *client;
	const char *name;
	bool tty, gone;
	int c, fd, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'h') {
			puts("Usage: vmm console NAME      (leave it with Ctrl-] q)");
			return 0;
		}
		return cli_bad_option(argc, argv, c, "vmm --help");
	}
	name = name_operand(argc, argv, "console");
	if (!name)
		return EXIT_USAGE;
	client = guest_open(name);
	if (!client)
		return EXIT_FAIL;
	ret = guest_call(client, name, "console", NULL, NULL, &fd);
	hv_client_close(client);
	if (ret)
		return EXIT_FAIL;
	if (fd < 0) {
		log_error(NULL, "%s: it has given no console", name);
		return EXIT_FAIL;
	}
	terminal_fatal_signals(true);
	tty = isatty(STDIN_FILENO);
	if (tty)
		log_error(NULL, "connected to %s; leave with Ctrl-] q", name);
	tty = tty && terminal_raw(STDIN_FILENO);
	gone = console_loop(fd, tty);
	terminal_restore();
	if (gone && tty)
		log_error(NULL, "%s has ended, or takes no more of its console", name);
	close(fd);
	return 0;
}
