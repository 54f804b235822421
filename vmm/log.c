// SPDX-License-Identifier: GPL-2.0-only
/*
 * log.c - one-line messages (log.h).
 *
 * Each line is one write(2), so that lines of several threads do not mix.  Must
 * not allocate: it also reports that memory is short.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vm.h"

static void log_line(struct vm *vm, const char *prefix, const char *fmt, va_list ap)
{
	char line[1024];
	size_t len;
	char *p;
	int n;

	n = vm && vm->name[0] ? snprintf(line, sizeof(line), "vmm: %s: %s", vm->name, prefix)
			      : snprintf(line, sizeof(line), "vmm: %s", prefix);
	len = (size_t)n;
	n = vsnprintf(line + len, sizeof(line) - len - 2, fmt, ap);
	if (n > 0)
		len += (size_t)n < sizeof(line) - len - 2 ? (size_t)n : sizeof(line) - len - 3;
	/* Names from images and guests must not play with the terminal. */
	for (p = line; p < line + len; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	if (vm && vm->raw_terminal)
		line[len++] = '\r';
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
}

void log_error(struct vm *vm, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(vm, "", fmt, ap);
	va_end(ap);
}

void log_info(struct vm *vm, const char *fmt, ...)
{
	va_list ap;

	if (vm && vm->quiet)
		return;
	va_start(ap, fmt);
	log_line(vm, "", fmt, ap);
	va_end(ap);
}

/*
 * The bucket is a time: it may run at most LOG_BURST seconds ahead of now.
 * Several threads may race for the last places, so it is advanced by compare
 * and exchange.
 */
bool log_limit_pass(struct log_limit *limit, uint32_t *missed)
{
	const uint64_t second = 1000000000ULL;
	uint64_t now, old, next;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * second + (uint64_t)ts.tv_nsec;
	old = __atomic_load_n(&limit->next_ns, __ATOMIC_RELAXED);
	do {
		next = (old > now ? old : now) + second;
		if (next > now + LOG_BURST * second) {
			__atomic_fetch_add(&limit->missed, 1, __ATOMIC_RELAXED);
			return false;
		}
	} while (!__atomic_compare_exchange_n(&limit->next_ns, &old, next, false,
					      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	*missed = __atomic_exchange_n(&limit->missed, 0, __ATOMIC_RELAXED);
	return true;
}

void log_limited(struct vm *vm, struct log_limit *limit, const char *prefix, const char *fmt,
		 va_list ap)
{
	uint32_t missed;

	if (!log_limit_pass(limit, &missed))
		return;
	if (missed)
		log_error(vm, "%s(%u similar messages not shown)", prefix, missed);
	log_line(vm, prefix, fmt, ap);
}

void log_guest(struct vm *vm, struct log_limit *limit, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_limited(vm, limit, "guest: ", fmt, ap);
	va_end(ap);
}
