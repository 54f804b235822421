// SPDX-License-Identifier: GPL-2.0-only
/*
 * terminal.c - raw mode of the user's terminal (termios(3)).
 *
 * The one piece of file-scope state in the vmm: a handler of a fatal signal has
 * no other way to find what it must restore.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "terminal.h"

static struct termios saved;
static volatile sig_atomic_t saved_fd = -1;

bool terminal_raw(int fd)
{
	struct termios t;

	/* In the background the terminal is somebody else's. */
	if (!isatty(fd) || tcgetpgrp(fd) != getpgrp() || tcgetattr(fd, &saved))
		return false;
	t = saved;
	cfmakeraw(&t);
	if (tcsetattr(fd, TCSADRAIN, &t))
		return false;
	saved_fd = fd;
	atexit(terminal_restore);
	return true;
}

void terminal_restore(void)
{
	int fd = saved_fd;

	if (fd < 0)
		return;
	saved_fd = -1;
	tcsetattr(fd, TCSADRAIN, &saved);
}

static void fatal(int sig)
{
	static const char text[] = "vmm: crashed; please report it with the output of "
				   "`vmm info --host`\n";
	static const char bus[] = "vmm: the host took away memory under the guest (SIGBUS)\n";

	if (saved_fd >= 0)
		tcsetattr(saved_fd, TCSANOW, &saved);
	if (sig == SIGINT || sig == SIGTERM || sig == SIGHUP || sig == SIGQUIT)
		raise(sig);
	else if (sig == SIGBUS)
		(void)!write(STDERR_FILENO, bus, sizeof(bus) - 1);
	else
		(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	raise(sig);		/* the default action now: SA_RESETHAND */
}

void terminal_fatal_signals(bool term)
{
	static const int sigs[] = {
		SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS,
		SIGINT, SIGTERM, SIGHUP, SIGQUIT,
	};
	const unsigned int n = sizeof(sigs) / sizeof(sigs[0]) - (term ? 0 : 4);
	struct sigaction sa = { .sa_handler = fatal, .sa_flags = SA_RESETHAND | SA_NODEFER };
	unsigned int i;

	sigemptyset(&sa.sa_mask);
	for (i = 0; i < n; i++)
		sigaction(sigs[i], &sa, NULL);
}
