// SPDX-License-Identifier: GPL-2.0-only
/*
 * check.c - what is wrong with a configuration, before anything is made (check.h): what its parts
 * mean together, and for --dry-run what the devices would say.
 *
 * Must not change anything.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/block.h"
#include "check.h"
#include "config.h"
#include "console.h"
#include "net/net.h"
#include "vm.h"

#define DISKS	64

static bool same_file(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* All at once, so that two that cannot be had together are found. */
static int disks_open(struct vm *vm, unsigned int n)
{
	struct block *block[DISKS];
	char text[512];
	unsigned int i;
	int ret = 0;

	for (i = 0; i < n && !ret; i++) {
		const struct block_options options = {
			.path = config_string(vm->config, "disk.%u.path", i),
			.readonly = config_bool(vm->config, "disk.%u.readonly", i),
			.direct = config_bool(vm->config, "disk.%u.direct", i),
			.no_uring = true,
		};

		ret = block_open(vm, &options, &block[i], text, sizeof(text));
	}
	if (ret) {
		log_error(NULL, "%s", text);
		i--;
	}
	while (i--)
		block_close(block[i]);
	return ret;
}

static int check_disks(struct vm *vm, bool thorough)
{
	unsigned int i, j, n = config_count(vm->config, "disk");
	struct stat st[DISKS];
	bool ro[DISKS];
	const char *path;

	if (n > DISKS) {
		log_error(NULL, "%u disks are too many; at most %d", n, DISKS);
		return -EINVAL;
	}
	for (i = 0; i < n; i++) {
		path = config_string(vm->config, "disk.%u.path", i);
		ro[i] = config_bool(vm->config, "disk.%u.readonly", i);
		if (!*path) {
			log_error(NULL, "disk.%u has no path; set disk.%u.path", i, i);
			return -EINVAL;
		}
		if (access(path, ro[i] ? R_OK : R_OK | W_OK) || stat(path, &st[i])) {
			log_error(NULL, "cannot open disk %s: %s%s", path, strerror(errno),
				  errno == EROFS || errno == EACCES ? "; add ,ro to only read it" :
				  "");
			return -ENOENT;
		}
		for (j = 0; j < i; j++) {
			if (!same_file(&st[i], &st[j]) || (ro[i] && ro[j]))
				continue;
			log_error(NULL, "disk %s is given twice, as disk.%u and disk.%u; that "
				  "works only if both are read-only", path, j, i);
			return -EINVAL;
		}
	}
	/* Usage is right; it is the files that are not. */
	return thorough && disks_open(vm, n) ? -EIO : 0;
}

static int check_net(struct vm *vm, unsigned int i, bool thorough)
{
	const char *type = config_string(vm->config, "net.%u.type", i);
	const char *mac = config_string(vm->config, "net.%u.mac", i);
	const char *name = config_string(vm->config, "net.%u.interface", i);
	uint8_t bytes[6];
	char path[24];
	unsigned int j;
	int ret = 0;

	snprintf(path, sizeof(path), "net.%u", i);
	if (*mac && !net_mac_parse(mac, bytes)) {
		log_error(NULL, "%s.mac: '%s' is no MAC address of a host; write e.g. "
			  "52:54:00:12:34:56", path, mac);
		return -EINVAL;
	}
	for (j = 0; *mac && j < i; j++) {
		if (strcasecmp(mac, config_string(vm->config, "net.%u.mac", j)))
			continue;
		log_error(NULL, "%s.mac: %s is also that of net.%u", path, mac, j);
		return -EINVAL;
	}
	if (strcmp(type, "user") && config_count(vm->config, "%s.hostfwd", path)) {
		log_error(NULL, "%s.hostfwd: only networking of type user forwards ports", path);
		return -EINVAL;
	}
	if (strcmp(type, "tap") && *name) {
		log_error(NULL, "%s.interface: only networking of type tap has one", path);
		return -EINVAL;
	}
	if (!strcmp(type, "user"))
		ret = net_passt_check(vm, path);
	if (!strcmp(type, "tap"))
		ret = net_tap_check(vm, path);
	/* Root's vmm makes it; everybody else needs one that is there. */
	if (!ret && thorough && !strcmp(type, "tap") && geteuid() && !if_nametoindex(name)) {
		log_error(NULL, "%s.interface: there is no interface %s; root can make one for you: "
			  "`ip tuntap add dev %s mode tap user NAME`", path, name, name);
		ret = -ENODEV;
	}
	return ret;
}

int check_config(struct vm *vm, bool thorough)
{
	unsigned int i, n = config_count(vm->config, "net");
	int ret;

	ret = console_check(vm, thorough);
	for (i = 0; i < n && !ret; i++)
		ret = check_net(vm, i, thorough);
	if (!ret)
		ret = check_disks(vm, thorough);
	return ret;
}
