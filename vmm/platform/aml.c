// SPDX-License-Identifier: GPL-2.0-only
/*
 * aml.c - AML writer (aml.h).
 *
 * ACPI 6.4 section 20.2 (grammar: names, integers, package lengths), 6.4 (resource
 * descriptors), 6.1.5 (_HID: compressed EISA id).
 *
 * A package length comes before what it measures and has one to four bytes, so
 * aml_end() inserts it; offsets into the part behind are not kept by anybody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/platform/aml.h"

#define OP_NAME		0x08
#define OP_BYTE		0x0a
#define OP_WORD		0x0b
#define OP_DWORD	0x0c
#define OP_STRING	0x0d
#define OP_QWORD	0x0e
#define OP_SCOPE	0x10
#define OP_BUFFER	0x11
#define OP_PACKAGE	0x12
#define OP_METHOD	0x14
#define OP_DUAL_NAME	0x2e
#define OP_MULTI_NAME	0x2f
#define OP_EXT		0x5b
#define OP_EXT_DEVICE	0x82
#define OP_ARG0		0x68
#define OP_STORE	0x70
#define OP_IF		0xa0
#define OP_ELSE		0xa1
#define OP_RETURN	0xa4

static void put(struct aml *aml, const void *data, size_t len)
{
	if (aml->err)
		return;
	if (len > aml->room - aml->len) {
		size_t room = (aml->room + len) * 2 + 1024;
		uint8_t *buf = realloc(aml->buf, room);

		if (!buf) {
			aml->err = -ENOMEM;
			return;
		}
		aml->buf = buf;
		aml->room = room;
	}
	memcpy(aml->buf + aml->len, data, len);
	aml->len += len;
}

static void put_byte(struct aml *aml, uint8_t value)
{
	put(aml, &value, 1);
}

static void put_little(struct aml *aml, uint64_t value, unsigned int bytes)
{
	while (bytes--) {
		put_byte(aml, value);
		value >>= 8;
	}
}

/* One name segment: up to a dot or the end, padded to four characters. */
static const char *put_segment(struct aml *aml, const char *name)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		put_byte(aml, *name && *name != '.' ? *name++ : '_');
	return *name == '.' ? name + 1 : name;
}

void aml_path(struct aml *aml, const char *path)
{
	unsigned int segments = 1;
	const char *p;

	while (*path == '\\' || *path == '^')
		put_byte(aml, *path++);
	if (!*path) {
		put_byte(aml, 0);
		return;
	}
	for (p = path; *p; p++)
		segments += *p == '.';
	if (segments == 2) {
		put_byte(aml, OP_DUAL_NAME);
	} else if (segments > 2) {
		put_byte(aml, OP_MULTI_NAME);
		put_byte(aml, segments);
	}
	while (*path)
		path = put_segment(aml, path);
}

static void open_package(struct aml *aml)
{
	if (aml->depth == AML_DEPTH) {
		aml->err = -EINVAL;
		return;
	}
	aml->open[aml->depth++] = aml->len;
}

void aml_end(struct aml *aml)
{
	uint8_t code[4];
	size_t start, len;
	unsigned int bytes, i;

	if (!aml->depth)
		aml->err = -EINVAL;
	if (aml->err)
		return;
	start = aml->open[--aml->depth];
	len = aml->len - start;
	/* The length counts its own bytes. */
	for (bytes = 1; bytes < 4; bytes++)
		if (len + bytes < (bytes == 1 ? 64U : 1U << (4 + 8 * (bytes - 1))))
			break;
	len += bytes;
	if (bytes == 1) {
		code[0] = len;
	} else {
		code[0] = (bytes - 1) << 6 | (len & 15);
		for (i = 1; i < bytes; i++)
			code[i] = len >> (4 + 8 * (i - 1));
	}
	put(aml, code, bytes);		/* makes the room */
	if (aml->err)
		return;
	memmove(aml->buf + start + bytes, aml->buf + start, aml->len - bytes - start);
	memcpy(aml->buf + start, code, bytes);
}

void aml_scope(struct aml *aml, const char *path)
{
	put_byte(aml, OP_SCOPE);
	open_package(aml);
	aml_path(aml, path);
}

void aml_device(struct aml *aml, const char *name)
{
	put_byte(aml, OP_EXT);
	put_byte(aml, OP_EXT_DEVICE);
	open_package(aml);
	aml_path(aml, name);
}

void aml_method(struct aml *aml, const char *name, unsigned int args)
{
	put_byte(aml, OP_METHOD);
	open_package(aml);
	aml_path(aml, name);
	put_byte(aml, args & 7);
}

void aml_package(struct aml *aml, unsigned int count)
{
	put_byte(aml, OP_PACKAGE);
	open_package(aml);
	put_byte(aml, count);
}

void aml_if_name(struct aml *aml, const char *name)
{
	put_byte(aml, OP_IF);
	open_package(aml);
	aml_path(aml, name);
}

void aml_else(struct aml *aml)
{
	put_byte(aml, OP_ELSE);
	open_package(aml);
}

void aml_integer(struct aml *aml, uint64_t value)
{
	if (value <= 1) {
		put_byte(aml, value);	/* ZeroOp, OneOp */
	} else if (value <= 0xff) {
		put_byte(aml, OP_BYTE);
		put_little(aml, value, 1);
	} else if (value <= 0xffff) {
		put_byte(aml, OP_WORD);
		put_little(aml, value, 2);
	} else if (value <= 0xffffffff) {
		put_byte(aml, OP_DWORD);
		put_little(aml, value, 4);
	} else {
		put_byte(aml, OP_QWORD);
		put_little(aml, value, 8);
	}
}

void aml_string(struct aml *aml, const char *text)
{
	put_byte(aml, OP_STRING);
	put(aml, text, strlen(text) + 1);
}

void aml_arg(struct aml *aml, unsigned int n)
{
	put_byte(aml, OP_ARG0 + n);
}

void aml_return(struct aml *aml)
{
	put_byte(aml, OP_RETURN);
}

void aml_store(struct aml *aml)
{
	put_byte(aml, OP_STORE);
}

void aml_name(struct aml *aml, const char *name)
{
	put_byte(aml, OP_NAME);
	aml_path(aml, name);
}

void aml_name_integer(struct aml *aml, const char *name, uint64_t value)
{
	aml_name(aml, name);
	aml_integer(aml, value);
}

void aml_name_string(struct aml *aml, const char *name, const char *text)
{
	aml_name(aml, name);
	aml_string(aml, text);
}

static unsigned int hex_digit(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

void aml_name_eisaid(struct aml *aml, const char *name, const char *id)
{
	uint32_t value = (id[0] - 0x40) << 26 | (id[1] - 0x40) << 21 | (id[2] - 0x40) << 16 |
			 hex_digit(id[3]) << 12 | hex_digit(id[4]) << 8 |
			 hex_digit(id[5]) << 4 | hex_digit(id[6]);

	aml_name(aml, name);
	put_byte(aml, OP_DWORD);	/* stored with its bytes swapped */
	put_little(aml, __builtin_bswap32(value), 4);
}

/* ------------------------------------------------------------------ */
/* Resource templates                                                   */
/* ------------------------------------------------------------------ */
void aml_resources(struct aml *aml, const char *name)
{
	aml_name(aml, name);
	put_byte(aml, OP_BUFFER);
	open_package(aml);
	put_byte(aml, OP_WORD);
	aml->buffer_size = aml->len;
	put_little(aml, 0, 2);
	aml->buffer_start = aml->len;
}

void aml_resources_end(struct aml *aml)
{
	size_t len;

	put_byte(aml, 0x79);		/* end tag; checksum 0: not checked */
	put_byte(aml, 0);
	if (!aml->err) {
		len = aml->len - aml->buffer_start;
		aml->buf[aml->buffer_size] = len;
		aml->buf[aml->buffer_size + 1] = len >> 8;
	}
	aml_end(aml);
}

void aml_resource_io(struct aml *aml, uint16_t min, uint16_t max, uint8_t align, uint8_t len)
{
	put_byte(aml, 0x47);
	put_byte(aml, 1);		/* decodes 16 bits */
	put_little(aml, min, 2);
	put_little(aml, max, 2);
	put_byte(aml, align);
	put_byte(aml, len);
}

void aml_resource_irq(struct aml *aml, unsigned int irq)
{
	put_byte(aml, 0x22);		/* edge, active high, exclusive */
	put_little(aml, 1U << irq, 2);
}

void aml_resource_memory32(struct aml *aml, uint32_t base, uint32_t len, bool writable)
{
	put_byte(aml, 0x86);
	put_little(aml, 9, 2);
	put_byte(aml, writable);
	put_little(aml, base, 4);
	put_little(aml, len, 4);
}

/* Address space descriptors: producer, positive decode, minimum and maximum fixed. */
#define WINDOW_FLAGS	0x0c
#define WINDOW_MEMORY	0
#define WINDOW_IO	1
#define WINDOW_BUS	2

static void put_window(struct aml *aml, uint8_t type, uint8_t type_flags, uint64_t first,
		       uint64_t last, unsigned int bytes)
{
	put_byte(aml, bytes == 2 ? 0x88 : bytes == 4 ? 0x87 : 0x8a);
	put_little(aml, 3 + 5 * bytes, 2);
	put_byte(aml, type);
	put_byte(aml, WINDOW_FLAGS);
	put_byte(aml, type_flags);
	put_little(aml, 0, bytes);		/* granularity */
	put_little(aml, first, bytes);
	put_little(aml, last, bytes);
	put_little(aml, 0, bytes);		/* translation */
	put_little(aml, last - first + 1, bytes);
}

void aml_resource_bus_window(struct aml *aml, uint16_t first, uint16_t last)
{
	put_window(aml, WINDOW_BUS, 0, first, last, 2);
}

void aml_resource_io_window(struct aml *aml, uint16_t first, uint16_t last)
{
	put_window(aml, WINDOW_IO, 3, first, last, 2);	/* all of its ports */
}

void aml_resource_memory_window(struct aml *aml, uint64_t first, uint64_t last)
{
	/* Read-write, not cacheable. */
	put_window(aml, WINDOW_MEMORY, 1, first, last, last >> 32 ? 8 : 4);
}

/* ------------------------------------------------------------------ */
void aml_init(struct aml *aml)
{
	memset(aml, 0, sizeof(*aml));
}

int aml_finish(struct aml *aml, uint8_t **buf, size_t *len)
{
	int err = aml->err;

	if (!err && aml->depth)
		err = -EINVAL;
	if (err) {
		free(aml->buf);
		return err;
	}
	*buf = aml->buf;
	*len = aml->len;
	return 0;
}
