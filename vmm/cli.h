/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cli.h - the commands of vmm(1).
 *
 * Each takes its own argv (argv[0] is the command) and returns the exit status:
 * 0, 1 failure, 2 usage, and for run those of the guest.
 */
#ifndef VMM_CLI_H
#define VMM_CLI_H

#define EXIT_FAIL	1
#define EXIT_USAGE	2

int cli_run(int argc, char **argv);
int cli_list(int argc, char **argv);
int cli_info(int argc, char **argv);
int cli_stop(int argc, char **argv);
int cli_simple(int argc, char **argv);	/* reset, pause, resume */
int cli_console(int argc, char **argv);

/* vmm info --host */
int host_info(void);

/* The word of the command line that getopt_long(3) rejected, as a line on stderr;
 * returns EXIT_USAGE. */
int cli_bad_option(int argc, char **argv, int opt, const char *help);

#endif
