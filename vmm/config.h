/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config.h - the one configuration tree.
 *
 * `vmm run` flags, --config FILE.json, --set KEY=VALUE, the control socket and
 * `vmm info --config` all name the same keys.  A key is a dotted path; a number
 * is an index into a list: "cpus", "memory", "disk.0.path", "net.0.mac".
 * config_keys.h lists every key that exists, with type, default and one line of
 * help; a key not listed is refused with the nearest one named.
 *
 * Values are checked against the list when they are set, so a getter never
 * fails: it returns the value, or the default given in the list.
 *
 * The tree is fixed once the guest runs; getters are then safe from any thread.
 */
#ifndef VMM_CONFIG_H
#define VMM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct json_object;

enum config_type {
	CONFIG_STRING,
	CONFIG_INT,		/* unsigned; decimal or 0x */
	CONFIG_SIZE,		/* bytes; suffix K, M, G, T (powers of 1024) */
	CONFIG_BOOL,		/* true/false, on/off, yes/no, 1/0 */
	CONFIG_ENUM,		/* one of the words in `choices`, space-separated */
};

struct config_key {
	const char *key;	/* '#' stands for an index */
	enum config_type type;
	const char *dflt;	/* as text; NULL: none ("" or 0) */
	const char *choices;	/* CONFIG_ENUM */
	uint64_t min, max;	/* CONFIG_INT, CONFIG_SIZE; max 0: none */
	const char *help;
};

struct config *config_create(void);
void config_destroy(struct config *config);

/*
 * Set one key from text, or a whole tree from JSON.  On error 0 is not returned
 * and @err (of @err_len bytes) holds one line: what is wrong and what to do.
 */
int config_set(struct config *config, const char *key, const char *value, char *err,
	       size_t err_len);
int config_load(struct config *config, const char *path, char *err, size_t err_len);
int config_merge(struct config *config, struct json_object *tree, char *err, size_t err_len);
/* The whole: lists without gaps.  After it the getters are safe from any thread. */
int config_check(const struct config *config, char *err, size_t err_len);
/* "10M" -> bytes.  -EINVAL, -ERANGE. */
int config_parse_size(const char *text, uint64_t *bytes);

/* Getters; the key is a printf format: config_string(c, "disk.%u.path", i).
 * Strings live as long as the tree; "" when absent and without default. */
const char *config_string(const struct config *config, const char *key, ...)
	__attribute__((format(printf, 2, 3)));
uint64_t config_uint(const struct config *config, const char *key, ...)	/* INT and SIZE */
	__attribute__((format(printf, 2, 3)));
bool config_bool(const struct config *config, const char *key, ...)
	__attribute__((format(printf, 2, 3)));
/* Was it set by the user (rather than defaulted)? */
bool config_has(const struct config *config, const char *key, ...)
	__attribute__((format(printf, 2, 3)));
/* Length of a list: config_count(c, "disk"). */
unsigned int config_count(const struct config *config, const char *list, ...)
	__attribute__((format(printf, 2, 3)));

/* The tree as JSON text, pretty-printed; malloc'ed. */
char *config_dump(const struct config *config);
/* A copy of the tree, the caller's. */
struct json_object *config_tree(const struct config *config);
void config_key_each(void (*fn)(const struct config_key *key, void *opaque), void *opaque);

#endif
