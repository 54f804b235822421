/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * log.h - one-line messages of the vmm.
 *
 * A message is one line on stderr, "vmm: text" or "vmm: NAME: text", and for a
 * running guest also an event on its control socket.  Nothing here ends the
 * process, and nothing a guest can trigger may be unlimited: guest-triggered
 * messages go through device_warn() (device.h) or log_guest().
 */
#ifndef VMM_LOG_H
#define VMM_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;

/* A token bucket: at most LOG_BURST lines at once, then one every second.  Zero
 * is a valid initial state.  Safe from every thread. */
#define LOG_BURST	8

struct log_limit {
	uint64_t next_ns;	/* when the bucket has room again */
	uint32_t missed;	/* lines kept back since the last one printed */
};

/* Errors and remarks of the vmm itself; @vm may be NULL (command line work). */
void log_error(struct vm *vm, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_info(struct vm *vm, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A line the guest caused.  Rate-limited by @limit. */
void log_guest(struct vm *vm, struct log_limit *limit, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* For wrappers: may a line be printed now, and how many were kept back before. */
bool log_limit_pass(struct log_limit *limit, uint32_t *missed);
void log_limited(struct vm *vm, struct log_limit *limit, const char *prefix, const char *fmt,
		 va_list ap);

#endif
