// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmm_config.c - tests of vmm/config.c: keys, types, ranges, JSON, hostile input.
 */
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "ktap.h"
#include "vmm/config.h"

static char err[320];

static int set(struct config *c, const char *key, const char *value)
{
	err[0] = 0;
	return config_set(c, key, value, err, sizeof(err));
}

static int merge(struct config *c, const char *text)
{
	struct json_object *tree = json_tokener_parse(text);
	int ret = tree ? config_merge(c, tree, err, sizeof(err)) : -1;

	json_object_put(tree);
	return ret;
}

static void sizes(void)
{
	static const struct {
		const char *text;
		int ok;
		uint64_t bytes;
	} t[] = {
		{ "0", 1, 0 }, { "4096", 1, 4096 }, { "1K", 1, 1024 }, { "512M", 1, 512ULL << 20 },
		{ "3g", 1, 3ULL << 30 }, { "2GiB", 1, 2ULL << 30 }, { "1T", 1, 1ULL << 40 },
		{ "0x10M", 1, 16ULL << 20 },
		{ "", 0, 0 }, { "M", 0, 0 }, { "-1", 0, 0 }, { "+1", 0, 0 }, { "1X", 0, 0 },
		{ "1MM", 0, 0 }, { " 1", 0, 0 }, { "1 ", 0, 0 }, { "16777216T", 0, 0 },
		{ "99999999999999999999", 0, 0 }, { "1.5G", 0, 0 },
	};
	unsigned int i, bad = 0;
	uint64_t n;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int ok = !config_parse_size(t[i].text, &n);

		if (ok != t[i].ok || (ok && n != t[i].bytes)) {
			ktap_note("'%s'", t[i].text);
			bad++;
		}
	}
	ktap_check(!bad, "sizes are parsed");
}

static void types(void)
{
	struct config *c = config_create();

	ktap_check(config_uint(c, "cpus") == 1 && config_uint(c, "memory") == 512ULL << 20 &&
		   !strcmp(config_string(c, "kernel"), "") && !config_has(c, "cpus"),
		   "defaults without anything set");
	ktap_check(!set(c, "cpus", "4") && config_uint(c, "cpus") == 4 && config_has(c, "cpus"),
		   "a whole number");
	ktap_check(set(c, "cpus", "0") && strstr(err, "out of range") && set(c, "cpus", "65") &&
		   set(c, "cpus", "two") && set(c, "cpus", "4x") && set(c, "cpus", "-1") &&
		   set(c, "cpus", "") && config_uint(c, "cpus") == 4,
		   "numbers out of range or none leave the old one");
	ktap_check(!set(c, "memory", "3G") && config_uint(c, "memory") == 3ULL << 30 &&
		   !strcmp(config_string(c, "memory"), "3G"), "a size");
	ktap_check(set(c, "memory", "512") && strstr(err, "1M") && set(c, "memory", "lots") &&
		   strstr(err, "512M"), "an impossible size names what is possible");
	ktap_check(!set(c, "rng", "off") && !config_bool(c, "rng") && !set(c, "rng", "Yes") &&
		   config_bool(c, "rng") && set(c, "rng", "maybe"), "a boolean");
	ktap_check(!set(c, "net.0.type", "tap") && set(c, "net.0.type", "ta") &&
		   set(c, "net.0.type", "none tap") && strstr(err, "none tap user"),
		   "a word of a list");
	ktap_check(set(c, "kernel", "a\nb"), "control characters are refused");
	config_destroy(c);
}

static void keys(void)
{
	struct config *c = config_create();
	char deep[400];

	ktap_check(set(c, "cpu", "1") && strstr(err, "'cpus'"), "an unknown key names the nearest");
	ktap_check(set(c, "", "1") && set(c, ".", "1") && set(c, "cpus.", "1") &&
		   set(c, ".cpus", "1") && set(c, "disk..path", "x") && set(c, "disk", "x") &&
		   set(c, "disk.path", "x") && set(c, "disk.-1.path", "x") &&
		   set(c, "disk.00.path", "x") && set(c, "disk.64.path", "x") &&
		   set(c, "disk.99999999999999.path", "x") && set(c, "disk.0.path.x", "x"),
		   "malformed keys are refused");
	memset(deep, 'a', sizeof(deep));
	deep[sizeof(deep) - 1] = 0;
	ktap_check(set(c, deep, "1"), "an overlong key is refused");
	ktap_check(!set(c, "disk.0.path", "a") && !set(c, "disk.1.path", "b") &&
		   config_count(c, "disk") == 2 &&
		   !strcmp(config_string(c, "disk.%u.path", 1), "b") &&
		   !config_bool(c, "disk.%u.readonly", 1) && config_bool(c, "disk.%u.direct", 1),
		   "lists");
	ktap_check(!set(c, "net.0.hostfwd.0", "tcp:1:2") && !set(c, "net.0.hostfwd.1", "tcp:3:4") &&
		   config_count(c, "net.%u.hostfwd", 0) == 2, "a list in a list");
	ktap_check(!config_check(c, err, sizeof(err)), "a whole tree is accepted");
	ktap_check(!set(c, "disk.3.path", "d") && config_check(c, err, sizeof(err)) &&
		   strstr(err, "disk.2"), "a gap in a list is named");
	config_destroy(c);
}

static void json(void)
{
	struct config *a = config_create(), *b = config_create();
	struct json_object *tree;
	char *one, *two = NULL;

	ktap_check(!merge(a, "{\"cpus\":2,\"memory\":\"1G\",\"rng\":false,"
			  "\"disk\":[{\"path\":\"/x/y\",\"readonly\":true}],"
			  "\"debug\":{\"exit\":true}}") &&
		   config_uint(a, "cpus") == 2 && config_bool(a, "disk.0.readonly") &&
		   config_bool(a, "debug.exit") && !config_bool(a, "rng"), "a tree from JSON");
	one = config_dump(a);
	tree = json_tokener_parse(one);
	ktap_check(tree && !config_merge(b, tree, err, sizeof(err)) && (two = config_dump(b)) &&
		   !strcmp(one, two), "what is printed can be read back");
	json_object_put(tree);
	ktap_check(strstr(one, "/x/y") != NULL, "paths are printed as they are");
	free(one);
	free(two);
	ktap_check(merge(a, "[]") && merge(a, "7") && merge(a, "{\"cpus\":null}") &&
		   merge(a, "{\"cpus\":1.5}") && merge(a, "{\"cpus\":{\"a\":1}}") &&
		   merge(a, "{\"cpus\":[1]}") && merge(a, "{\"disk\":{\"path\":\"x\"}}") &&
		   merge(a, "{\"disk.0.path\":\"x\"}") && merge(a, "{\"disk\":[7]}") &&
		   merge(a, "{\"nme\":\"x\"}") && merge(a, "{\"kernel\":\"a\\u0000b\"}"),
		   "wrong shapes of JSON are refused");
	ktap_check(config_uint(a, "cpus") == 2, "and leave what was there");
	config_destroy(a);
	config_destroy(b);
}

static int load(const char *text, size_t len)
{
	char path[] = "/tmp/vmm_config.XXXXXX";
	struct config *c = config_create();
	int fd = mkstemp(path), ret;

	if (write(fd, text, len) != (ssize_t)len)
		ktap_bail("cannot write %s", path);
	close(fd);
	ret = config_load(c, path, err, sizeof(err));
	unlink(path);
	config_destroy(c);
	return ret;
}

static void files(void)
{
	struct config *c = config_create();
	char deep[4096];

	ktap_check(!load("{ \"cpus\": 3 }\n", 14), "a file");
	ktap_check(load("{ \"cpus\": 3,\n\n }\n", 17) && strstr(err, ":3:"),
		   "a syntax error is given with its line");
	ktap_check(load("", 0) && load("{", 1) && load("{}x", 3) && load("\0{}", 3) &&
		   load("{\"cpus\":\"\xff\"}", 12), "broken files are refused");
	memset(deep, '[', sizeof(deep));
	ktap_check(load(deep, sizeof(deep)), "deep nesting is refused");
	ktap_check(config_load(c, "/nonexistent/file", err, sizeof(err)) &&
		   strstr(err, "/nonexistent/file") && config_load(c, "/tmp", err, sizeof(err)) &&
		   config_load(c, "/dev/zero", err, sizeof(err)), "what is no file is named");
	config_destroy(c);
}

int main(void)
{
	ktap_plan(26);
	sizes();
	types();
	keys();
	json();
	files();
	return ktap_finish();
}
