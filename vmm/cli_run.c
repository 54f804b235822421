// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_run.c - `vmm run`: flags to configuration tree, defaults, detaching, the
 * guest's life from here to its exit status (vmm(1)).
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boot/boot.h"
#include "check.h"
#include "cli.h"
#include "config.h"
#include "control/control.h"
#include "device.h"
#include "hv/control.h"
#include "net/net.h"
#include "privileges.h"
#include "rundir.h"
#include "terminal.h"
#include "vm.h"

static const char help[] =
	"Usage: vmm run [OPTION]...\n"
	"\n"
	"  --name N          name of the guest [from the disk or kernel]\n"
	"  --cpus N          virtual CPUs, 1 to 64 [1]\n"
	"  --memory SIZE     guest memory, 1M to 1T: e.g. 512M, 4G [512M]\n"
	"  --kernel FILE     bzImage, ELF with a PVH note, or multiboot 1 image\n"
	"  --initrd FILE     initial RAM disk (multiboot: first module)\n"
	"  --cmdline S       kernel command line; root= and console= are added to one without\n"
	"  --disk FILE[,ro]  raw image or block device; may be repeated\n"
	"  --net tap=IF|user|none[,mac=M][,hostfwd=tcp:HOST:GUEST]...\n"
	"                    network device; may be repeated\n"
	"  --console stdio|socket=PATH|none\n"
	"                    where the guest's first serial port goes [stdio]\n"
	"  --config FILE     configuration as JSON; flags that follow change it\n"
	"  --set KEY=VALUE   any key of the configuration (--help-keys lists them)\n"
	"  --detach          return when the guest has started; console by `vmm console`\n"
	"  --dry-run         check, print the configuration, start nothing\n"
	"  --quiet           errors only\n"
	"  --help-keys       all configuration keys\n"
	"\n"
	"On a terminal Ctrl-] is the escape key: Ctrl-] x ends the guest, Ctrl-] ? helps.\n"
	"Exit status: 0 the guest powered off, 1 failure, 2 usage; more in `man vmm`.\n";

struct run {
	struct vm vm;
	struct rundir rundir;
	bool detach, dry_run;
	bool console;			/* somebody may look at the serial line */
	bool stdio;			/* --console stdio was given */
	int ready_fd;			/* tells the waiting parent; -1: none */
	unsigned int disks, nets;	/* given so far, --config's included */
};

/* ---- flags ---- */

static int set(struct run *run, const char *option, const char *key, const char *value)
{
	char err[320];

	if (!config_set(run->vm.config, key, value, err, sizeof(err)))
		return 0;
	/* A flag stands for its key; --set does not say which. */
	if (!strncmp(err, key, strlen(key)) && strcmp(option, "--set"))
		log_error(NULL, "%s%s", option, err + strlen(key));
	else
		log_error(NULL, "%s: %s", option, err);
	return -EINVAL;
}

static int set_indexed(struct run *run, const char *option, const char *list, unsigned int i,
		       const char *key, const char *value)
{
	char path[64];

	snprintf(path, sizeof(path), "%s.%u.%s", list, i, key);
	return set(run, option, path, value);
}

/* FILE[,ro] */
static int disk_option(struct run *run, const char *text)
{
	const unsigned int i = config_count(run->vm.config, "disk");
	const char *comma = strrchr(text, ',');
	char path[4096];
	size_t len = strlen(text);
	bool ro = false;
	int ret;

	if (comma && !strcmp(comma, ",ro")) {
		ro = true;
		len = (size_t)(comma - text);
	} else if (comma && access(text, F_OK)) {
		log_error(NULL, "--disk %s: unknown option '%s'; only ro can follow the file (one "
			  "with a comma in its name: --set disk.%u.path=FILE)", text, comma + 1, i);
		return -EINVAL;
	}
	if (!len || len >= sizeof(path)) {
		log_error(NULL, "--disk '%s': give a file or block device", text);
		return -EINVAL;
	}
	memcpy(path, text, len);
	path[len] = 0;
	ret = set_indexed(run, "--disk", "disk", i, "path", path);
	if (!ret && ro)
		ret = set_indexed(run, "--disk", "disk", i, "readonly", "true");
	return ret;
}

/* tap=IF|user|none[,mac=..][,hostfwd=..]... */
static int net_option(struct run *run, const char *text)
{
	const unsigned int i = config_count(run->vm.config, "net");
	char buf[1024], key[24], *word, *save = NULL;
	unsigned int fwd = 0;
	int ret = 0;

	if (strlen(text) >= sizeof(buf)) {
		log_error(NULL, "--net: too long");
		return -EINVAL;
	}
	strcpy(buf, text);
	word = strtok_r(buf, ",", &save);
	if (!word)
		word = buf;
	if (!strncmp(word, "tap=", 4) && word[4]) {
		ret = set_indexed(run, "--net", "net", i, "type", "tap");
		if (!ret)
			ret = set_indexed(run, "--net", "net", i, "interface", word + 4);
	} else if (!strcmp(word, "user") || !strcmp(word, "none")) {
		ret = set_indexed(run, "--net", "net", i, "type", word);
	} else {
		log_error(NULL, "--net '%s': begin with tap=INTERFACE, user or none", text);
		return -EINVAL;
	}
	while (!ret && (word = strtok_r(NULL, ",", &save))) {
		if (!strncmp(word, "mac=", 4)) {
			ret = set_indexed(run, "--net", "net", i, "mac", word + 4);
		} else if (!strncmp(word, "hostfwd=", 8)) {
			snprintf(key, sizeof(key), "hostfwd.%u", fwd++);
			ret = set_indexed(run, "--net", "net", i, key, word + 8);
		} else {
			log_error(NULL, "--net %s: unknown option '%s'; mac= and hostfwd= can "
				  "follow", text, word);
			ret = -EINVAL;
		}
	}
	return ret;
}

static int set_option(struct run *run, const char *text)
{
	const char *eq = strchr(text, '=');
	char key[128];

	if (!eq || eq == text || (size_t)(eq - text) >= sizeof(key)) {
		log_error(NULL, "--set '%s': write KEY=VALUE", text);
		return -EINVAL;
	}
	memcpy(key, text, (size_t)(eq - text));
	key[eq - text] = 0;
	return set(run, "--set", key, eq + 1);
}

static void print_key(const struct config_key *key, void *opaque)
{
	(void)opaque;
	printf("  %-20s %s", key->key, key->help);
	if (key->choices)
		printf(" (%s)", key->choices);
	if (key->dflt)
		printf(" [%s]", key->dflt);
	putchar('\n');
}

static void print_type(const struct device_type *type, void *opaque)
{
	(void)opaque;
	printf("  %-20s %s\n", type->name, type->help);
}

enum { OPT_CONFIG = 256, OPT_SET, OPT_DISK, OPT_NET, OPT_DETACH, OPT_DRY_RUN, OPT_QUIET, OPT_HELP,
       OPT_KEYS, OPT_KEY };

static const struct option options[] = {
	{ "name", required_argument, NULL, OPT_KEY },
	{ "cpus", required_argument, NULL, OPT_KEY },
	{ "memory", required_argument, NULL, OPT_KEY },
	{ "kernel", required_argument, NULL, OPT_KEY },
	{ "initrd", required_argument, NULL, OPT_KEY },
	{ "cmdline", required_argument, NULL, OPT_KEY },
	{ "console", required_argument, NULL, OPT_KEY },
	{ "disk", required_argument, NULL, OPT_DISK },
	{ "net", required_argument, NULL, OPT_NET },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "set", required_argument, NULL, OPT_SET },
	{ "detach", no_argument, NULL, OPT_DETACH },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "help-keys", no_argument, NULL, OPT_KEYS },
	{ 0 },
};

/* Is the value that was just taken another option, because its own was forgotten? */
static bool option_swallowed(char **argv)
{
	const struct option *o;

	if (!optarg || optarg != argv[optind - 1] || strncmp(optarg, "--", 2))
		return false;
	for (o = options; o->name; o++)
		if (!strcmp(optarg + 2, o->name))
			return true;
	return false;
}

/* -1: go on; else the exit status. */
static int parse(struct run *run, int argc, char **argv)
{
	char err[320], option[40];
	int c, index = 0, ret = 0;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, &index)) != -1) {
		if (c != 'h' && option_swallowed(argv)) {
			log_error(NULL, "option '%s' needs a value; see vmm run --help",
				  argv[optind - 2]);
			return EXIT_USAGE;
		}
		switch (c) {
		case OPT_KEY:
			snprintf(option, sizeof(option), "--%s", options[index].name);
			ret = set(run, option, options[index].name, optarg);
			if (!strcmp(option, "--console"))
				run->stdio = !strcmp(optarg, "stdio");
			if (!strcmp(option, "--name") && !*optarg) {
				log_error(NULL, "--name: it is empty");
				ret = -EINVAL;
			}
			break;
		case OPT_DISK:
			ret = disk_option(run, optarg);
			break;
		case OPT_NET:
			ret = net_option(run, optarg);
			break;
		case OPT_CONFIG:
			ret = config_load(run->vm.config, optarg, err, sizeof(err));
			if (ret) {
				log_error(NULL, "--config: %s", err);
				return ret == -EINVAL ? EXIT_USAGE : EXIT_FAIL;
			}
			break;
		case OPT_SET:
			ret = set_option(run, optarg);
			break;
		case OPT_DETACH:
			run->detach = true;
			break;
		case OPT_DRY_RUN:
			run->dry_run = true;
			break;
		case OPT_QUIET:
			run->vm.quiet = true;
			break;
		case 'h':
		case OPT_HELP:
			fputs(help, stdout);
			return 0;
		case OPT_KEYS:
			puts("Configuration keys (# is a number from 0):");
			config_key_each(print_key, NULL);
			puts("\nDevice types:");
			device_type_each(print_type, NULL);
			return 0;
		default:
			return cli_bad_option(argc, argv, c, "vmm run --help");
		}
		if (ret)
			return EXIT_USAGE;
	}
	if (optind < argc) {
		log_error(NULL, "run: '%s' is no option; see vmm run --help", argv[optind]);
		return EXIT_USAGE;
	}
	if (run->detach && run->stdio) {
		log_error(NULL, "--detach leaves no terminal for --console stdio; without that, "
			  "`vmm console` reaches the guest");
		return EXIT_USAGE;
	}
	if (config_check(run->vm.config, err, sizeof(err))) {
		log_error(NULL, "%s", err);
		return EXIT_USAGE;
	}
	return -1;
}

/* ---- defaults ---- */

/* A name from a path: "/img/debian 12.raw" -> "debian-12", "vmlinuz-6.1" as it is. */
static void name_from(const char *path, char *name, size_t len)
{
	const char *base = strrchr(path, '/'), *dot;
	size_t i, n;

	base = base ? base + 1 : path;
	n = strlen(base);
	dot = strrchr(base, '.');
	/* An extension begins with a letter; a version's last part does not. */
	if (dot && dot > base && isalpha((unsigned char)dot[1]))
		n = (size_t)(dot - base);
	if (n > len - 1)
		n = len - 1;
	for (i = 0; i < n; i++)
		name[i] = isalnum((unsigned char)base[i]) || strchr("_-.", base[i]) ? base[i] : '-';
	name[n] = 0;
	if (!hv_control_name_valid(name))
		snprintf(name, len, "guest");
}

static bool name_taken(const char *name)
{
	struct hv_client *client;

	if (hv_client_open(name, &client))
		return false;
	hv_client_close(client);
	return true;
}

static int default_name(struct run *run)
{
	const char *given = config_string(run->vm.config, "name");
	const char *path = config_string(run->vm.config, "disk.0.path");
	char base[48], name[64];
	unsigned int i;

	if (*given) {
		if (!hv_control_name_valid(given)) {
			log_error(NULL, "name '%s': give letters, digits, '.', '_' and '-', at "
				  "most 60, beginning with a letter or digit", given);
			return -EINVAL;
		}
		snprintf(run->vm.name, sizeof(run->vm.name), "%s", given);
		return 0;
	}
	if (!*path)
		path = config_string(run->vm.config, "kernel");
	name_from(*path ? path : "guest", base, sizeof(base));
	snprintf(name, sizeof(name), "%s", base);
	for (i = 2; i < 1000 && name_taken(name); i++)
		snprintf(name, sizeof(name), "%s-%u", base, i);
	snprintf(run->vm.name, sizeof(run->vm.name), "%s", name);
	return set(run, "--name", "name", name);
}

static int default_macs(struct run *run)
{
	unsigned int i, n = config_count(run->vm.config, "net");
	uint8_t mac[6];
	char text[24], path[24];
	int ret;

	for (i = 0; i < n; i++) {
		if (*config_string(run->vm.config, "net.%u.mac", i))
			continue;
		snprintf(path, sizeof(path), "net.%u", i);
		net_mac_derive(run->vm.name, path, mac);
		snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
			 mac[2], mac[3], mac[4], mac[5]);
		ret = set_indexed(run, "--net", "net", i, "mac", text);
		if (ret)
			return ret;
	}
	return 0;
}

/* Has the command line a word that begins with @prefix? */
static bool cmdline_has(const char *cmdline, const char *prefix)
{
	const char *p = cmdline;

	while ((p = strstr(p, prefix))) {
		if (p == cmdline || p[-1] == ' ')
			return true;
		p++;
	}
	return false;
}

static bool cmdline_has_word(const char *cmdline, const char *word)
{
	const size_t len = strlen(word);
	const char *p = cmdline;

	while ((p = strstr(p, word))) {
		if ((p == cmdline || p[-1] == ' ') && (!p[len] || p[len] == ' '))
			return true;
		p++;
	}
	return false;
}

/* Does the disk have a partition table (MBR signature with an entry, GPT's too)? */
static bool disk_partitioned(const char *path)
{
	unsigned char sector[512];
	bool table = false;
	int fd, i;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	if (pread(fd, sector, sizeof(sector), 0) == sizeof(sector) && sector[510] == 0x55 &&
	    sector[511] == 0xaa) {
		for (i = 0; i < 4; i++) {
			const unsigned char *e = sector + 446 + i * 16;

			/* A real entry: boot flag 0 or 80h, a type, a length. */
			if (!(e[0] & 0x7f) && e[4] && (e[12] | e[13] | e[14] | e[15]))
				table = true;
		}
	}
	close(fd);
	return table;
}

/* root= and console= for a Linux-like kernel whose command line has none. */
static int default_cmdline(struct run *run)
{
	const struct config *c = run->vm.config;
	const char *cmdline = config_string(c, "cmdline");
	const char *disk = config_string(c, "disk.0.path");
	char text[8192];
	int n;

	if (!run->vm.boot->loader->linux_cmdline || config_bool(c, "cmdline_exact"))
		return 0;
	n = snprintf(text, sizeof(text), "%s", cmdline);
	if (!cmdline_has(cmdline, "console=") && run->console)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%sconsole=ttyS0",
			      n ? " " : "");
	if (*disk && !cmdline_has(cmdline, "root="))
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%sroot=/dev/vda%s%s",
			      n ? " " : "", disk_partitioned(disk) ? "1" : "",
			      cmdline_has_word(cmdline, "ro") ||
			      cmdline_has_word(cmdline, "rw") ? "" :
			      config_bool(c, "disk.0.readonly") ? " ro" : " rw");
	if (n >= (int)sizeof(text) - 64) {
		log_error(NULL, "--cmdline is too long; at most 4096 characters");
		return -EINVAL;
	}
	return set(run, "--cmdline", "cmdline", text);
}

/* ---- detaching ---- */

/*
 * The parent stays until the child's guest runs, and leaves with the child's
 * status if it never does.  Returns only in the child.
 */
static int detach(struct run *run)
{
	int pipefd[2], status;
	pid_t pid;
	char byte;
	ssize_t n;

	if (pipe2(pipefd, O_CLOEXEC)) {
		log_error(NULL, "cannot detach: %s", strerror(errno));
		return -errno;
	}
	pid = fork();
	if (pid < 0) {
		log_error(NULL, "cannot detach: %s", strerror(errno));
		return -errno;
	}
	if (!pid) {
		close(pipefd[0]);
		run->ready_fd = pipefd[1];
		setsid();
		return 0;
	}
	close(pipefd[1]);
	do {
		n = read(pipefd[0], &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1) {
		if (!run->vm.quiet)
			printf("%s runs, pid %d\n", run->vm.name, (int)pid);
		exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAIL);
}

/* The guest runs: let go of the terminal, tell the parent. */
static void detach_done(struct run *run)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = open(run->rundir.log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC |
		       O_NOFOLLOW, 0600);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	if (log >= 0 || null >= 0)
		dup2(log >= 0 ? log : null, STDERR_FILENO);
	close(log);
	close(null);
	(void)!chdir("/");
	(void)!write(run->ready_fd, "", 1);
	close(run->ready_fd);
	run->ready_fd = -1;
}

/* ---- the run ---- */

/* Fills in what the user left out.  -1: go on; else the exit status. */
static int defaults(struct run *run)
{
	struct vm *vm = &run->vm;
	char err[320];
	int ret;

	if (default_name(run) || default_macs(run))
		return EXIT_USAGE;
	run->console = strcmp(config_string(vm->config, "console"), "none");
	if (run->detach && !strcmp(config_string(vm->config, "console"), "stdio")) {
		/* `vmm console` reaches it; there is no terminal to keep. */
		if (set(run, "--console", "console", "none"))
			return EXIT_FAIL;
	}
	/* What the command line lacks depends on the kernel.  vm_create() goes on with these images. */
	if (boot_open(vm))
		return *config_string(vm->config, "kernel") ? EXIT_FAIL : EXIT_USAGE;
	if (default_cmdline(run))
		return EXIT_USAGE;
	ret = check_config(vm, run->dry_run);
	if (ret)
		return ret == -EINVAL ? EXIT_USAGE : EXIT_FAIL;
	if (config_check(vm->config, err, sizeof(err)))
		return EXIT_USAGE;
	return -1;
}

static void say_end(struct vm *vm, int status)
{
	if (vm->cause == VM_CAUSE_POWER_OFF)
		log_info(vm, "the guest has powered off");
	else
		log_info(vm, "the guest ended: %s (%s), exit status %d",
			 vm_cause_name(vm->cause), vm->cause_text, status);
}

static int run_guest(struct run *run)
{
	struct vm *vm = &run->vm;
	int ret, status = EXIT_FAIL;

	if (rundir_take(&run->rundir, vm->name))
		return EXIT_FAIL;
	ret = vm_create(vm);
	if (!ret)
		ret = control_create(vm, run->rundir.socket);
	if (!ret) {
		ret = privileges_drop();
		if (ret)
			log_error(vm, "cannot drop privileges: %s", strerror(-ret));
	}
	if (!ret)
		ret = vm_start(vm);
	if (!ret) {
		if (run->ready_fd >= 0)
			detach_done(run);
		status = vm_run(vm);
	}
	vm_destroy(vm);
	if (!ret)
		say_end(vm, status);
	rundir_release(&run->rundir);
	/* A clean end leaves nothing; messages of another one stay to be read. */
	if (run->detach && !ret && !status)
		unlink(run->rundir.log);
	return status;
}

int cli_run(int argc, char **argv)
{
	struct run *run = calloc(1, sizeof(*run));
	char *text;
	int ret;

	/* Threads share one heap: few allocations, and memory is what guests are for. */
	mallopt(M_ARENA_MAX, 1);
	if (!run || !(run->vm.config = config_create())) {
		log_error(NULL, "out of memory");
		return EXIT_FAIL;
	}
	run->ready_fd = -1;
	run->rundir.fd = -1;
	ret = parse(run, argc, argv);
	if (ret < 0)
		ret = defaults(run);
	if (ret < 0 && run->dry_run) {
		text = config_dump(run->vm.config);
		puts(text ? text : "");
		free(text);
		ret = 0;
	}
	if (ret < 0 && run->detach && detach(run))
		ret = EXIT_FAIL;
	if (ret < 0) {
		terminal_fatal_signals(false);
		ret = run_guest(run);
	}
	boot_close(&run->vm);
	config_destroy(run->vm.config);
	free(run);
	return ret;
}
