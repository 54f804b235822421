// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - vmm(1): finds the command.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "log.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "run", cli_run },
	{ "list", cli_list },
	{ "info", cli_info },
	{ "stop", cli_stop },
	{ "reset", cli_simple },
	{ "pause", cli_simple },
	{ "resume", cli_simple },
	{ "console", cli_console },
};

static const char help[] =
	"Usage: vmm COMMAND [OPTION]...\n"
	"\n"
	"  run              start a guest (vmm run --help)\n"
	"  list [--json]    running guests\n"
	"  info NAME [--config|--stats] [--json]\n"
	"                   what a guest is and does; its configuration; its counters\n"
	"  info --host      this host and what hv can do on it (for bug reports)\n"
	"  stop NAME [--force] [--timeout S]\n"
	"                   press the guest's power button and wait; end it at once\n"
	"  reset NAME       reset a guest\n"
	"  pause NAME       stop a guest where it is\n"
	"  resume NAME      let it go on\n"
	"  console NAME     connect to its console\n"
	"  --version        version of this program\n"
	"  --help           this text\n"
	"\n"
	"Example: vmm run --memory 1G --kernel vmlinuz --initrd initrd.img --disk debian.img\n"
	"Exit status: 0, 1 failure, 2 usage; `man vmm` has those of a guest's end.\n";

static int command(int argc, char **argv)
{
	unsigned int i;

	if (argc < 2) {
		log_error(NULL, "no command; see vmm --help");
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		fputs(help, stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("vmm (hv) " HV_VERSION);
		return 0;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	log_error(NULL, "unknown command '%s'; see vmm --help", argv[1]);
	return EXIT_USAGE;
}

/*
 * Whoever starts us may have closed them; a file of ours must not take their place.  Opened the
 * other way round, so that their use fails as it would have.
 */
static void fill_standard_streams(void)
{
	int fd;

	do {
		fd = open("/dev/null", fcntl(STDIN_FILENO, F_GETFD) < 0 ? O_WRONLY : O_RDONLY);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	close(fd);
}

int main(int argc, char **argv)
{
	int ret;

	fill_standard_streams();
	ret = command(argc, argv);
	/* An answer that was not written is none. */
	if ((fflush(stdout) || ferror(stdout)) && !ret) {
		log_error(NULL, "standard output: %s", strerror(errno));
		ret = EXIT_FAIL;
	}
	return ret;
}
