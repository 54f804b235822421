// SPDX-License-Identifier: GPL-2.0-only
/*
 * config.c - the configuration tree (config.h): JSON inside, every key checked
 * against config_keys.h when it is set.
 *
 * Must not trust the input: file and keys come from the user or a manager.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <json-c/json.h>

#include "config.h"

#define KEY_MAX		128
#define LIST_MAX	64
#define FILE_MAX_BYTES	(1 << 20)

struct config {
	struct json_object *root;
};

static const struct config_key keys[] = {
#include "config_keys.h"
};
#define NR_KEYS	(sizeof(keys) / sizeof(keys[0]))

static int fail(char *err, size_t len, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int fail(char *err, size_t len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Takes one segment off @p into @seg: "disk.0.path" -> "disk".  False at the end. */
static bool segment_next(const char **p, char *seg, size_t room)
{
	size_t n = strcspn(*p, ".");

	if (!**p || !n || n >= room)
		return false;
	memcpy(seg, *p, n);
	seg[n] = 0;
	*p += n;
	if (**p == '.')
		(*p)++;
	return true;
}

/* An index "0" ... "63", or -1. */
static int segment_index(const char *seg)
{
	int n = 0;
	const char *p;

	if (!*seg || (seg[0] == '0' && seg[1]))
		return -1;
	for (p = seg; *p; p++) {
		if (!isdigit((unsigned char)*p))
			return -1;
		n = n * 10 + (*p - '0');
		if (n >= LIST_MAX)
			return -1;
	}
	return n;
}

static bool key_match(const char *pattern, const char *key)
{
	char a[KEY_MAX], b[KEY_MAX];

	if (!*key || key[strlen(key) - 1] == '.')
		return false;
	while (*pattern && *key) {
		if (!segment_next(&pattern, a, sizeof(a)) || !segment_next(&key, b, sizeof(b)))
			return false;
		if (!strcmp(a, "#") ? segment_index(b) < 0 : strcmp(a, b) != 0)
			return false;
	}
	return !*pattern && !*key;
}

static const struct config_key *key_find(const char *key)
{
	size_t i;

	for (i = 0; i < NR_KEYS; i++)
		if (key_match(keys[i].key, key))
			return &keys[i];
	return NULL;
}

static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int row[KEY_MAX + 1], i, j, diag, tmp;
	size_t n = strlen(b);

	if (n > KEY_MAX)
		return KEY_MAX;
	for (j = 0; j <= n; j++)
		row[j] = j;
	for (i = 1; *a; a++, i++) {
		diag = row[0];
		row[0] = i;
		for (j = 1; j <= n; j++) {
			tmp = row[j];
			row[j] = diag + (*a != b[j - 1]);
			if (tmp + 1 < row[j])
				row[j] = tmp + 1;
			if (row[j - 1] + 1 < row[j])
				row[j] = row[j - 1] + 1;
			diag = tmp;
		}
	}
	return row[n];
}

/* What @key was probably meant to be: of its own family, or a few letters away; or NULL. */
static const char *key_nearest(const char *key)
{
	unsigned int best = KEY_MAX, d;
	size_t family = strcspn(key, "."), i;
	const char *name = NULL;
	bool related = false, r;

	for (i = 0; i < NR_KEYS; i++) {
		d = edit_distance(keys[i].key, key);
		r = !strncmp(keys[i].key, key, family) &&
		    (keys[i].key[family] == '.' || !keys[i].key[family]);
		if (r > related || (r == related && d < best)) {
			best = d;
			name = keys[i].key;
			related = r;
		}
	}
	return related || best <= 2 ? name : NULL;
}

/* Decimal or, with 0x, hexadecimal: a leading zero means nothing to people. */
static int number_base(const char *text)
{
	return text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10;
}

int config_parse_size(const char *text, uint64_t *bytes)
{
	unsigned int shift = 0;
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, number_base(text));
	if (errno)
		return -ERANGE;
	switch (*end) {
	case 'T': case 't': shift += 10; /* fall through */
	case 'G': case 'g': shift += 10; /* fall through */
	case 'M': case 'm': shift += 10; /* fall through */
	case 'K': case 'k': shift += 10;
		end++;
		if (*end == 'i')
			end++;
		if (*end == 'B')
			end++;
		break;
	}
	if (*end)
		return -EINVAL;
	if (n > (UINT64_MAX >> shift))
		return -ERANGE;
	*bytes = n << shift;
	return 0;
}

/* "512M": the largest suffix that loses nothing. */
static void size_text(uint64_t bytes, char *text, size_t len)
{
	static const char suffix[] = "\0KMGT";
	unsigned int i = 0;

	while (bytes && !(bytes & 1023) && i < 4) {
		bytes >>= 10;
		i++;
	}
	snprintf(text, len, i ? "%llu%c" : "%llu", (unsigned long long)bytes, suffix[i]);
}

static int parse_bool(const char *text)
{
	static const char *const words[2][4] = {
		{ "false", "off", "no", "0" }, { "true", "on", "yes", "1" },
	};
	int b, i;

	for (b = 0; b < 2; b++)
		for (i = 0; i < 4; i++)
			if (!strcasecmp(text, words[b][i]))
				return b;
	return -EINVAL;
}

static bool choice_has(const char *choices, const char *word)
{
	size_t len = strlen(word), n;

	for (; *choices; choices += n + (choices[n] == ' ')) {
		n = strcspn(choices, " ");
		if (n == len && !memcmp(choices, word, n))
			return true;
	}
	return false;
}

static int check_range(const struct config_key *k, const char *key, const char *value,
		       uint64_t n, char *err, size_t len)
{
	char min[24], max[24];

	if (n >= k->min && (!k->max || n <= k->max))
		return 0;
	if (k->type == CONFIG_SIZE) {
		size_text(k->min, min, sizeof(min));
		size_text(k->max, max, sizeof(max));
	} else {
		snprintf(min, sizeof(min), "%llu", (unsigned long long)k->min);
		snprintf(max, sizeof(max), "%llu", (unsigned long long)k->max);
	}
	if (!k->max)
		return fail(err, len, "%s: '%s' is too small; at least %s", key, value, min);
	return fail(err, len, "%s: '%s' is out of range; give %s to %s", key, value, min, max);
}

/* The JSON value of @text for key @k, or NULL with @err set. */
static struct json_object *value_make(const struct config_key *k, const char *key,
				      const char *text, char *err, size_t len)
{
	struct json_object *obj = NULL;
	unsigned long long n;
	uint64_t bytes;
	char buf[32], *end;
	const char *p;
	int b;

	switch (k->type) {
	case CONFIG_STRING:
		for (p = text; *p; p++)
			if ((unsigned char)*p < ' ' && *p != '\t') {
				fail(err, len, "%s: control characters are not allowed", key);
				return NULL;
			}
		obj = json_object_new_string(text);
		break;
	case CONFIG_ENUM:
		if (!choice_has(k->choices, text)) {
			fail(err, len, "%s: '%.60s' is not one of: %s", key, text, k->choices);
			return NULL;
		}
		obj = json_object_new_string(text);
		break;
	case CONFIG_INT:
		errno = 0;
		n = strtoull(text, &end, number_base(text));
		if (!isdigit((unsigned char)*text) || *end || errno || n > INT64_MAX) {
			fail(err, len, "%s: '%.60s' is not a whole number from %llu to %llu", key,
			     text, (unsigned long long)k->min,
			     (unsigned long long)(k->max ? k->max : INT64_MAX));
			return NULL;
		}
		if (check_range(k, key, text, n, err, len))
			return NULL;
		obj = json_object_new_int64((int64_t)n);
		break;
	case CONFIG_SIZE:
		b = config_parse_size(text, &bytes);
		if (b && b != -ERANGE) {
			fail(err, len, "%s: '%.60s' is not a size; write e.g. 512M or 2G", key,
			     text);
			return NULL;
		}
		if (b)
			bytes = UINT64_MAX;
		if (check_range(k, key, text, bytes, err, len))
			return NULL;
		size_text(bytes, buf, sizeof(buf));
		obj = json_object_new_string(buf);
		break;
	case CONFIG_BOOL:
		b = parse_bool(text);
		if (b < 0) {
			fail(err, len, "%s: '%.60s' is neither true nor false", key, text);
			return NULL;
		}
		obj = json_object_new_boolean(b);
		break;
	}
	if (!obj)
		fail(err, len, "%s: out of memory", key);
	return obj;
}

/* The node at @key, or NULL. */
static struct json_object *node_find(struct json_object *node, const char *key)
{
	char seg[KEY_MAX];
	int i;

	while (node && *key) {
		if (!segment_next(&key, seg, sizeof(seg)))
			return NULL;
		if (json_object_is_type(node, json_type_array)) {
			i = segment_index(seg);
			node = i < 0 ? NULL : json_object_array_get_idx(node, (size_t)i);
		} else if (json_object_is_type(node, json_type_object)) {
			node = json_object_object_get(node, seg);
		} else {
			return NULL;
		}
	}
	return node;
}

static struct json_object *child_get(struct json_object *node, const char *seg)
{
	int i = segment_index(seg);

	if (json_object_is_type(node, json_type_array))
		return i < 0 ? NULL : json_object_array_get_idx(node, (size_t)i);
	return json_object_object_get(node, seg);
}

static int child_put(struct json_object *node, const char *seg, struct json_object *child)
{
	int i = segment_index(seg);

	if (json_object_is_type(node, json_type_array))
		return i < 0 ? -EINVAL : json_object_array_put_idx(node, (size_t)i, child);
	return json_object_object_add(node, seg, child);
}

int config_set(struct config *config, const char *key, const char *text, char *err, size_t len)
{
	const struct config_key *k = strlen(key) < KEY_MAX ? key_find(key) : NULL;
	struct json_object *node = config->root, *value, *child;
	char seg[KEY_MAX], next[KEY_MAX];
	const char *p = key;

	if (!k) {
		const char *near = key_nearest(strlen(key) < KEY_MAX ? key : "");

		return fail(err, len, "unknown key '%.60s'%s%s%s (vmm run --help-keys lists all)",
			    key, near ? "; nearest is '" : "", near ? near : "", near ? "'" : "");
	}
	value = value_make(k, key, text, err, len);
	if (!value)
		return -EINVAL;
	/* Make the containers on the way: a list where the next segment is an index. */
	segment_next(&p, seg, sizeof(seg));
	while (segment_next(&p, next, sizeof(next))) {
		bool list = segment_index(next) >= 0;

		child = child_get(node, seg);
		if (!child) {
			child = list ? json_object_new_array() : json_object_new_object();
			if (!child || child_put(node, seg, child)) {
				json_object_put(child);
				goto nomem;
			}
		}
		node = child;
		strcpy(seg, next);
	}
	if (!child_put(node, seg, value))
		return 0;
nomem:
	json_object_put(value);
	return fail(err, len, "%s: out of memory", key);
}

static int merge_node(struct config *config, const char *path, struct json_object *node,
		      char *err, size_t len)
{
	char key[KEY_MAX];
	size_t i, n;
	int ret;

	if (strlen(path) > KEY_MAX - 24)
		return fail(err, len, "%.60s...: key is too long", path);
	switch (json_object_get_type(node)) {
	case json_type_object: {
		json_object_object_foreach(node, name, child) {
			if (strlen(name) > 40 || strchr(name, '.'))
				return fail(err, len, "unknown key '%.60s'", name);
			snprintf(key, sizeof(key), "%s%s%s", path, *path ? "." : "", name);
			ret = merge_node(config, key, child, err, len);
			if (ret)
				return ret;
		}
		return 0;
	}
	case json_type_array:
		n = json_object_array_length(node);
		if (n > LIST_MAX)
			return fail(err, len, "%s: at most %d entries", path, LIST_MAX);
		for (i = 0; i < n; i++) {
			snprintf(key, sizeof(key), "%s.%zu", path, i);
			ret = merge_node(config, key, json_object_array_get_idx(node, i), err, len);
			if (ret)
				return ret;
		}
		return 0;
	case json_type_string:
		if (strlen(json_object_get_string(node)) !=
		    (size_t)json_object_get_string_len(node))
			return fail(err, len, "%s: control characters are not allowed", path);
		/* fall through */
	case json_type_int:
	case json_type_boolean:
		return config_set(config, path, json_object_get_string(node), err, len);
	default:
		return fail(err, len, "%s: neither text, whole number, true nor false", path);
	}
}

int config_merge(struct config *config, struct json_object *tree, char *err, size_t len)
{
	if (!json_object_is_type(tree, json_type_object))
		return fail(err, len, "a configuration is a JSON object: { \"cpus\": 2 }");
	return merge_node(config, "", tree, err, len);
}

int config_load(struct config *config, const char *path, char *err, size_t len)
{
	struct json_tokener *tok = NULL;
	struct json_object *tree = NULL;
	char *text = NULL, why[256];
	size_t n = 0;
	ssize_t got;
	int fd, ret;

	/* Without waiting for a writer: a pipe that has none is at its end. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		ret = -errno;
		fail(err, len, "cannot open %s: %s", *path ? path : "''", strerror(-ret));
		return ret;
	}
	fcntl(fd, F_SETFL, O_RDONLY);
	text = malloc(FILE_MAX_BYTES + 1);
	tok = json_tokener_new_ex(8);
	if (!text || !tok) {
		ret = fail(err, len, "%s: out of memory", path);
		goto out;
	}
	do {
		got = read(fd, text + n, FILE_MAX_BYTES + 1 - n);
		n += got > 0 ? (size_t)got : 0;
	} while ((got > 0 && n <= FILE_MAX_BYTES) || (got < 0 && errno == EINTR));
	if (got < 0) {
		ret = -errno;
		fail(err, len, "cannot read %s: %s", path, strerror(-ret));
		goto out;
	}
	if (n > FILE_MAX_BYTES) {
		ret = fail(err, len, "%s: more than %d bytes", path, FILE_MAX_BYTES);
		goto out;
	}
	text[n] = 0;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	tree = json_tokener_parse_ex(tok, text, (int)n + 1);
	if (!tree) {
		size_t at = json_tokener_get_parse_end(tok), line = 1, i;

		for (i = 0; i < at && i < n; i++)
			line += text[i] == '\n';
		ret = fail(err, len, "%s:%zu: not JSON: %s", path, line,
			   json_tokener_error_desc(json_tokener_get_error(tok)));
		goto out;
	}
	ret = config_merge(config, tree, why, sizeof(why));
	if (ret)
		fail(err, len, "%s: %s", path, why);
out:
	json_object_put(tree);
	if (tok)
		json_tokener_free(tok);
	free(text);
	close(fd);
	return ret;
}

/* A list has no holes: disk.0, disk.1, ... */
static int check_node(const char *path, struct json_object *node, char *err, size_t len)
{
	char key[KEY_MAX + 24];
	size_t i;
	int ret;

	if (json_object_is_type(node, json_type_object)) {
		json_object_object_foreach(node, name, child) {
			snprintf(key, sizeof(key), "%.64s%s%.40s", path, *path ? "." : "", name);
			ret = check_node(key, child, err, len);
			if (ret)
				return ret;
		}
	} else if (json_object_is_type(node, json_type_array)) {
		for (i = 0; i < json_object_array_length(node); i++) {
			struct json_object *child = json_object_array_get_idx(node, i);

			snprintf(key, sizeof(key), "%.64s.%zu", path, i);
			if (!child)
				return fail(err, len, "%s is missing: number from 0 without gaps",
					    key);
			ret = check_node(key, child, err, len);
			if (ret)
				return ret;
		}
	} else {
		json_object_get_string(node);	/* see config_string() */
	}
	return 0;
}

int config_check(const struct config *config, char *err, size_t len)
{
	return check_node("", config->root, err, len);
}

/* ------------------------------------------------------------------ */

/* The value as text; NULL when neither set nor defaulted. */
static const char *value_text(const struct config *config, const char *fmt, va_list ap)
{
	struct json_object *node;
	const struct config_key *k;
	char key[KEY_MAX];
	int n;

	n = vsnprintf(key, sizeof(key), fmt, ap);
	if (n < 0 || n >= KEY_MAX)
		return NULL;
	node = node_find(config->root, key);
	if (node)
		return json_object_get_string(node);
	k = key_find(key);
	return k ? k->dflt : NULL;
}

/*
 * json-c makes the text of a number or bool when it is first asked for, so this
 * is safe from several threads only after config_check(), which asks for all.
 */
const char *config_string(const struct config *config, const char *key, ...)
{
	const char *text;
	va_list ap;

	va_start(ap, key);
	text = value_text(config, key, ap);
	va_end(ap);
	return text ? text : "";
}

uint64_t config_uint(const struct config *config, const char *key, ...)
{
	const char *text;
	uint64_t n = 0;
	va_list ap;

	va_start(ap, key);
	text = value_text(config, key, ap);
	va_end(ap);
	if (text)
		config_parse_size(text, &n);
	return n;
}

bool config_bool(const struct config *config, const char *key, ...)
{
	const char *text;
	va_list ap;

	va_start(ap, key);
	text = value_text(config, key, ap);
	va_end(ap);
	return text && parse_bool(text) == 1;
}

bool config_has(const struct config *config, const char *key, ...)
{
	char buf[KEY_MAX];
	va_list ap;

	va_start(ap, key);
	vsnprintf(buf, sizeof(buf), key, ap);
	va_end(ap);
	return node_find(config->root, buf) != NULL;
}

unsigned int config_count(const struct config *config, const char *list, ...)
{
	struct json_object *node;
	char buf[KEY_MAX];
	va_list ap;

	va_start(ap, list);
	vsnprintf(buf, sizeof(buf), list, ap);
	va_end(ap);
	node = node_find(config->root, buf);
	if (!json_object_is_type(node, json_type_array))
		return 0;
	return (unsigned int)json_object_array_length(node);
}

char *config_dump(const struct config *config)
{
	return strdup(json_object_to_json_string_ext(config->root, JSON_C_TO_STRING_PRETTY |
						     JSON_C_TO_STRING_SPACED |
						     JSON_C_TO_STRING_NOSLASHESCAPE));
}

struct json_object *config_tree(const struct config *config)
{
	struct json_object *copy = NULL;

	/* A copy: json-c's counters and text buffers are not for several threads. */
	if (json_object_deep_copy(config->root, &copy, NULL))
		return NULL;
	return copy;
}

void config_key_each(void (*fn)(const struct config_key *key, void *opaque), void *opaque)
{
	size_t i;

	for (i = 0; i < NR_KEYS; i++)
		fn(&keys[i], opaque);
}

struct config *config_create(void)
{
	struct config *config = calloc(1, sizeof(*config));

	if (!config)
		return NULL;
	config->root = json_object_new_object();
	if (!config->root) {
		free(config);
		return NULL;
	}
	return config;
}

void config_destroy(struct config *config)
{
	if (!config)
		return;
	json_object_put(config->root);
	free(config);
}
