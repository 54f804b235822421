/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ktap.h - KTAP for tests written in C: the few lines of the kernel's kselftest.h that we need
 * (it is in no headers package). One file a program includes it.
 *
 *	ktap_plan(2);
 *	ktap_check(x == 1, "x is %d", x);
 *	if (!swap)
 *		ktap_skip("swap", "the host has none");
 *	return ktap_finish();
 *
 * A test that cannot run at all says ktap_skip_all("why") instead of a plan. What goes to
 * standard output beside this must begin with '#': ktap_note() does.
 */
#ifndef HV_SELFTESTS_KTAP_H
#define HV_SELFTESTS_KTAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define KTAP_SKIPPED	4	/* exit status, as in kselftest.h */

static int ktap_planned, ktap_cases, ktap_failures;

static inline void ktap_plan(int cases)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..%d\n", cases);
	ktap_planned = cases;
}

static inline void __attribute__((noreturn)) ktap_skip_all(const char *why)
{
	printf("TAP version 13\n1..0 # SKIP %s\n", why);
	exit(KTAP_SKIPPED);
}

/* Returns `good`, so that what depends on it can be left out. */
static inline int __attribute__((format(printf, 2, 3)))
ktap_check(int good, const char *what, ...)
{
	va_list ap;

	printf("%sok %d ", good ? "" : "not ", ++ktap_cases);
	va_start(ap, what);
	vprintf(what, ap);
	va_end(ap);
	putchar('\n');
	ktap_failures += !good;
	return good;
}

static inline void ktap_skip(const char *what, const char *why)
{
	printf("ok %d %s # SKIP %s\n", ++ktap_cases, what, why);
}

static inline void __attribute__((format(printf, 1, 2))) ktap_note(const char *text, ...)
{
	va_list ap;

	fputs("# ", stdout);
	va_start(ap, text);
	vprintf(text, ap);
	va_end(ap);
	putchar('\n');
}

/* The end of a test that cannot go on; the cases left count as failed by the plan. */
static inline void __attribute__((noreturn, format(printf, 1, 2))) ktap_bail(const char *why, ...)
{
	va_list ap;

	fputs("Bail out! ", stdout);
	va_start(ap, why);
	vprintf(why, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
}

/* Exit status of the program. */
static inline int ktap_finish(void)
{
	fflush(stdout);
	return ktap_failures || ktap_cases != ktap_planned;
}

#endif
