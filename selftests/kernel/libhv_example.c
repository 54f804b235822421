// SPDX-License-Identifier: GPL-2.0-only
/*
 * The example program of the library does what its text says.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define main example_main
#include "libhv/example/example.c"
#undef main

#include "ktap.h"

int main(void)
{
	static const char expected[] = "hello\nthe guest wrote 42 to the device and ended with "
				       "status 7\n";
	char buf[256] = { 0 };
	FILE *out = stdout;
	int fd = memfd_create("out", 0), ret;
	FILE *file = fdopen(fd, "w");

	ktap_plan(2);
	stdout = file;
	ret = example_main();
	fflush(file);
	stdout = out;
	ktap_check(!ret, "exit status 0");
	ret = pread(fd, buf, sizeof(buf) - 1, 0);
	ktap_check(ret > 0 && !strcmp(buf, expected),
		   "it printed: %.*s", (int)strcspn(buf, "\n"), buf);
	return ktap_finish();
}
