// SPDX-License-Identifier: GPL-2.0-only
/*
 * clock.c - run in a guest: clock SECONDS.  One thread on each CPU reads CLOCK_MONOTONIC and takes
 * turns with the others, so that a step backwards between any two CPUs is seen.  Prints the
 * number of steps, and at both ends lines of real time for the host to compare with its own.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static atomic_ulong last, back, reads;
static atomic_int stop;

static uint64_t now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void *reader(void *arg)
{
	cpu_set_t set;
	uint64_t seen, t;

	CPU_ZERO(&set);
	CPU_SET((long)arg, &set);
	sched_setaffinity(0, sizeof(set), &set);
	while (!stop) {
		/* What another CPU has published before we read must not be later. */
		seen = atomic_load(&last);
		t = now(CLOCK_MONOTONIC);
		if (t < seen)
			back++;
		else
			atomic_compare_exchange_strong(&last, &seen, t);
		if (!(++reads & 0xfff))
			usleep(1000);
	}
	return NULL;
}

static void stamps(const char *end)
{
	int i;

	for (i = 0; i < 20; i++) {
		printf("guest: clock %s %llu\n", end, (unsigned long long)now(CLOCK_REALTIME));
		fflush(stdout);
		usleep(100000);
	}
}

int main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), i;
	pthread_t th[64];

	stamps("begin");
	for (i = 0; i < cpus; i++)
		pthread_create(&th[i], NULL, reader, (void *)i);
	sleep(argc > 1 ? atoi(argv[1]) : 120);
	stop = 1;
	for (i = 0; i < cpus; i++)
		pthread_join(th[i], NULL);
	stamps("end");
	printf("guest: %lu reads on %ld CPUs, %lu steps back\n", reads, cpus, back);
	return 0;
}
