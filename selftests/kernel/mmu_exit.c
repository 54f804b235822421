// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/hv_mmu.c: the process that made a VM goes while another still holds its descriptors.
 * Whoever holds them gets -EIO, and with the last one everything is released.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/testvm.h"

#define MIB	(1UL << 20)

GUEST_CODE(count,
	   "1: mov $0x100000, %esi\n 2: incq (%rsi)\n add $4096, %esi\n cmp $0x400000, %esi\n jb 2b\n"
	   "incq 0x20000\n jmp 1b\n");

static void send_fds(int sock, int a, int b)
{
	char c = 0, buf[CMSG_SPACE(2 * sizeof(int))];
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf,
			    .msg_controllen = sizeof(buf) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	int fds[2] = { a, b };

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(h), fds, sizeof(fds));
	if (sendmsg(sock, &m, 0) != 1)
		_exit(9);
}

static bool recv_fds(int sock, int *fds)
{
	char c, buf[CMSG_SPACE(2 * sizeof(int))];
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf,
			    .msg_controllen = sizeof(buf) };

	if (recvmsg(sock, &m, 0) != 1 || !CMSG_FIRSTHDR(&m))
		return false;
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), 2 * sizeof(int));
	return true;
}

/* A VM whose vCPU runs for ever, or until the alarm when it is to @leave. */
static void owner(int sock, volatile uint64_t *running, bool leave)
{
	/* Again and again: one that comes between two runs ends neither. */
	static const struct itimerval every = { { .tv_sec = 2 }, { .tv_sec = 2 } };
	static struct testvm t;
	int err;

	testvm_create(&t, 4 * MIB, 1);
	testvm_code(&t, TVM_CODE, count, count_end);
	testvm_long(&t, 0, TVM_CODE);
	send_fds(sock, hv_vm_fd(t.vm), t.vcpu[0]->fd);
	*running = 1;
	if (leave)
		setitimer(ITIMER_REAL, &every, NULL);
	do {
		err = hv_vcpu_run(t.vcpu[0]);
	} while (err != -EINTR);
	_exit(*(volatile uint64_t *)(t.mem + 0x100000) ? 0 : 1);
}

static void on_alarm(int sig)
{
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct hv_stats st = { .size = sizeof(st), .vcpu = HV_STATS_VM };
	struct hv_dev *dev;
	struct hv_info info;
	struct testvm t = { 0 };
	volatile uint64_t *running;
	int sock[2], fds[2], round, status;
	pid_t pid;

	testvm_open(&t);
	dev = t.dev;
	sigaction(SIGALRM, &sa, NULL);
	running = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ktap_plan(8);
	for (round = 0; round < 2; round++) {
		const char *how = round ? "exited" : "killed";

		socketpair(AF_UNIX, SOCK_STREAM, 0, sock);
		*running = 0;
		pid = fork();
		if (!pid) {
			close(sock[0]);
			owner(sock[1], running, round);
		}
		close(sock[1]);
		if (!recv_fds(sock[0], fds))
			ktap_bail("no descriptors came");
		while (!*running)
			usleep(1000);
		usleep(200000);
		ktap_check(ioctl(fds[0], HV_GET_STATS, &st) < 0 && errno == EIO &&
			   ioctl(fds[1], HV_RUN, 0) < 0 && errno == EIO,
			   "another process gets -EIO");
		if (!round)
			kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		hv_get_info(dev, &info);
		ktap_check((round ? !status : WIFSIGNALED(status)) && info.vms == 1 && info.vcpus == 1, "%s: the VM outlives its owner", how);
		ktap_check(ioctl(fds[0], HV_GET_STATS, &st) < 0 && errno == EIO &&
			   ioctl(fds[1], HV_RUN, 0) < 0 && errno == EIO, "%s: still -EIO", how);
		close(fds[0]);
		close(fds[1]);
		close(sock[0]);
		hv_get_info(dev, &info);
		ktap_check(info.vms == 0 && info.vcpus == 0, "%s: all gone with the last descriptor",
			   how);
	}
	return ktap_finish();
}
