/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * terminal.h - the user's terminal in raw mode, restored whatever happens.
 */
#ifndef VMM_TERMINAL_H
#define VMM_TERMINAL_H

#include <stdbool.h>

/* Makes @fd raw if it is a terminal and ours (foreground); true if it did. */
bool terminal_raw(int fd);
/* Harmless when nothing is raw. */
void terminal_restore(void);
/* SIGSEGV, SIGBUS, SIGABRT...: restore the terminal, say one line, die of it.
 * @term: INT, TERM, HUP and QUIT too, without a line. */
void terminal_fatal_signals(bool term);

#endif
