// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio_ring.c - the checked iterator of vmm/virtio/ring.c, against drivers that lie.
 */
#include <errno.h>
#include <sys/uio.h>

#include "platform_vm.h"
#include <linux/virtio_ring.h>
#include "vmm/virtio/ring.h"

#define DESC	0x100000ULL
#define AVAIL	0x110000ULL
#define USED	0x120000ULL
#define TABLE	0x130000ULL
#define DATA	0x200000ULL
#define RAM	0x4000000ULL
#define ROOM	16

static struct vm *vm;
static struct virtq q;
static struct guest_pin pieces[ROOM];
static struct virtq_chain chain = { .piece = pieces, .room = ROOM };
static const char *complaint;
static uint16_t avail_next;

static void broken(struct virtq *ring, const char *why)
{
	complaint = why;
}

static void put16(uint64_t gpa, uint16_t value)
{
	guest_write(vm, gpa, &value, 2);
}

static uint16_t get16(uint64_t gpa)
{
	uint16_t value = 0;

	guest_read(vm, gpa, &value, 2);
	return value;
}

static void desc(uint64_t table, unsigned int i, uint64_t addr, uint32_t len, uint16_t flags,
		 uint16_t next)
{
	struct vring_desc d = { .addr = addr, .len = len, .flags = flags, .next = next };

	guest_write(vm, table + 16 * i, &d, sizeof(d));
}

static void avail(uint16_t head)
{
	put16(AVAIL + 4 + 2 * (avail_next % q.size), head);
	put16(AVAIL + 2, ++avail_next);
}

static int start_at(uint16_t size, bool event_idx, bool indirect, uint16_t index)
{
	struct virtq_config config = { size, DESC, AVAIL, USED };
	const char *why;

	virtq_stop(&q);
	guest_zero(vm, DESC, 0x40000);
	complaint = NULL;
	q = (struct virtq){ .vm = vm, .broken = broken };
	avail_next = index;
	put16(AVAIL + 2, index);
	return virtq_start(&q, &config, event_idx, indirect, index, index, &why);
}

static void start(bool event_idx, bool indirect)
{
	start_at(8, event_idx, indirect, 0);
}

/* What the iterator says to the one chain that was set up. */
static bool refused(const char *what)
{
	int ret = virtq_pop(&q, &chain);
	bool good = ret == -EINVAL && complaint && strstr(complaint, what) &&
		    virtq_pop(&q, &chain) == -EINVAL;

	if (!good)
		ktap_note("got %d, \"%s\"", ret, complaint ? complaint : "");
	return good;
}

static void test_start(void)
{
	static const uint16_t bad[] = { 0, 3, 7, 257, 512, 0xffff };
	struct virtq_config c = { 8, DESC, AVAIL, USED };
	const char *why;
	unsigned int i;
	bool good = true;

	for (i = 0; i < 6; i++)
		good &= start_at(bad[i], false, false, 0) == -EINVAL;
	ktap_check(good, "a size of 0, not a power of two or above the limit is refused");
	good = !start_at(1, false, false, 0) && !start_at(256, false, false, 0);
	ktap_check(good, "sizes 1 and 256 are taken");
	good = true;
	c.desc = DESC + 8;
	good &= virtq_start(&q, &c, 0, 0, 0, 0, &why) == -EINVAL;
	c.desc = DESC;
	c.used = USED + 2;
	good &= virtq_start(&q, &c, 0, 0, 0, 0, &why) == -EINVAL;
	c.used = USED;
	c.avail = AVAIL + 1;
	good &= virtq_start(&q, &c, 0, 0, 0, 0, &why) == -EINVAL;
	ktap_check(good, "a misaligned part is refused");
	c = (struct virtq_config){ 8, RAM - 64, AVAIL, USED };
	good = virtq_start(&q, &c, 0, 0, 0, 0, &why) == -EINVAL;
	c = (struct virtq_config){ 8, DESC, ~1ULL, USED };
	good &= virtq_start(&q, &c, 0, 0, 0, 0, &why) == -EINVAL;
	c = (struct virtq_config){ 8, DESC, AVAIL, 0xfffffffffffffffcULL };
	good &= virtq_start(&q, &c, 0, 0, 0, 0, &why) == -EINVAL;
	ktap_check(good, "parts outside of memory, also around its end, are refused");
}

static void test_plain(void)
{
	char in[32] = "0123456789abcdef", out[32] = "";
	struct iovec iov[4];
	struct vring_used_elem elem;

	start(false, false);
	ktap_check(virtq_pop(&q, &chain) == 0, "an empty ring has nothing");
	guest_write(vm, DATA, in, 16);
	desc(DESC, 0, DATA, 10, VRING_DESC_F_NEXT, 3);
	desc(DESC, 3, DATA + 10, 6, VRING_DESC_F_NEXT, 5);
	desc(DESC, 5, DATA + 100, 0, VRING_DESC_F_NEXT, 6);
	desc(DESC, 6, DATA + 4094, 8, VRING_DESC_F_WRITE, 0);
	avail(0);
	ktap_check(virtq_pop(&q, &chain) == 1 && chain.nr_read == 2 && chain.nr_write == 1 &&
		   chain.read_len == 16 && chain.write_len == 8,
		   "a chain of two readable, an empty and a writable descriptor");
	ktap_check(virtq_chain_read(&chain, 8, out, sizeof(out)) == 8 && !memcmp(out, "89abcdef", 8),
		   "a read across pieces ends with them");
	ktap_check(virtq_chain_iov(&chain, false, 9, 3, iov, 4) == 2 && iov[0].iov_len == 1 &&
		   iov[1].iov_len == 2 && virtq_chain_iov(&chain, false, 9, 3, iov, 1) == -ENOSPC,
		   "addresses of a part of it, and room for them");
	ktap_check(virtq_chain_write(&chain, 0, in, 16) == 8, "a write ends with the chain");
	virtq_push(&q, &chain, 8);
	guest_read(vm, DATA + 4094, out, 8);
	ktap_check(!memcmp(out, in, 8), "the written bytes are in memory");
	ktap_check(get16(USED + 2) == 0, "nothing is seen before it is published");
	ktap_check(virtq_publish(&q), "an interrupt is wanted");
	guest_read(vm, USED + 4, &elem, sizeof(elem));
	ktap_check(get16(USED + 2) == 1 && elem.id == 0 && elem.len == 8,
		   "then the used ring has it");
	avail(0);
	virtq_pop(&q, &chain);
	virtq_unpop(&q, &chain);
	ktap_check(virtq_pop(&q, &chain) == 1, "what was put back comes again");
	virtq_push(&q, &chain, 0);
	put16(AVAIL, VRING_AVAIL_F_NO_INTERRUPT);
	ktap_check(!virtq_publish(&q), "no interrupt where the driver wants none");
}

static void test_hostile(void)
{
	unsigned int i;

	start(false, true);
	avail(8);
	ktap_check(refused("out of range"), "a head beyond the table");
	start(false, true);
	desc(DESC, 0, DATA, 1, VRING_DESC_F_NEXT, 8);
	avail(0);
	ktap_check(refused("out of range"), "a next beyond the table");
	start(false, true);
	desc(DESC, 0, DATA, 1, VRING_DESC_F_NEXT, 0);
	avail(0);
	ktap_check(refused("loop"), "a descriptor that names itself");
	start(false, true);
	for (i = 0; i < 8; i++)
		desc(DESC, i, DATA, 0, VRING_DESC_F_NEXT, (i + 1) % 8);
	avail(0);
	ktap_check(refused("loop"), "a loop of empty descriptors");
	start(false, true);
	desc(DESC, 0, RAM - 4, 8, 0, 0);
	avail(0);
	ktap_check(refused("outside"), "a buffer across the end of memory");
	start(false, true);
	desc(DESC, 0, ~0ULL - 3, 8, 0, 0);
	avail(0);
	ktap_check(refused("outside"), "a buffer around the end of the address space");
	start(false, true);
	desc(DESC, 0, MEMORY_ECAM_BASE, 8, VRING_DESC_F_WRITE, 0);
	avail(0);
	ktap_check(refused("outside"), "a buffer in device memory");
	start(false, true);
	desc(DESC, 0, DATA, 8, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	desc(DESC, 1, DATA, 8, 0, 0);
	avail(0);
	ktap_check(refused("follows"), "a readable descriptor after a writable one");
	start(false, true);
	put16(AVAIL + 2, 9);
	ktap_check(refused("more chains"), "an index ahead of the ring");
	start(false, true);
	desc(DESC, 0, DATA, 8, 0, 0);
	for (i = 0; i < 8; i++)
		avail(0);
	for (i = 0; i < 8; i++)
		virtq_pop(&q, &chain);
	avail(0);
	ktap_check(refused("more chains"), "a ninth chain in flight in a ring of eight");
}

static void test_total(void)
{
	unsigned int i;

	start_at(256, false, true, 0);
	for (i = 0; i < ROOM; i++)
		desc(DESC, i, 0, RAM, VRING_DESC_F_NEXT, i + 1);
	desc(DESC, ROOM, 0, 1, 0, 0);
	avail(0);
	ktap_check(refused("too long"), "more pieces than there is room for");
	start_at(256, false, true, 0);
	chain.room = 200;
	chain.piece = calloc(200, sizeof(*chain.piece));
	for (i = 0; i < 70; i++)
		desc(DESC, i, 0, RAM, VRING_DESC_F_NEXT, i + 1);
	avail(0);
	ktap_check(refused("4 GiB"), "more bytes than a length can tell");
	free(chain.piece);
	chain.room = ROOM;
	chain.piece = pieces;
}

static void test_indirect(void)
{
	unsigned int i;

	start(false, true);
	for (i = 0; i < 12; i++)
		desc(TABLE + 4, i, DATA + 16 * i, 16, i < 11 ? VRING_DESC_F_NEXT : VRING_DESC_F_WRITE,
		     i + 1);
	desc(DESC, 2, TABLE + 4, 12 * 16, VRING_DESC_F_INDIRECT, 0);
	avail(2);
	ktap_check(virtq_pop(&q, &chain) == 1 && chain.head == 2 && chain.nr_read == 11 &&
		   chain.nr_write == 1, "an indirect table longer than the ring, unaligned");
	start(false, true);
	desc(DESC, 0, DATA, 4, VRING_DESC_F_NEXT, 1);
	desc(DESC, 1, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
	desc(TABLE, 0, DATA, 4, VRING_DESC_F_WRITE, 0);
	avail(0);
	ktap_check(virtq_pop(&q, &chain) == 1 && chain.nr_read == 1 && chain.nr_write == 1,
		   "an indirect table at the end of a chain");
	start(false, false);
	desc(DESC, 0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
	avail(0);
	ktap_check(refused("indirect"), "one that was not negotiated");
	start(false, true);
	desc(DESC, 0, TABLE, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
	avail(0);
	ktap_check(refused("indirect"), "one that goes on");
	start(false, true);
	desc(DESC, 0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
	desc(TABLE, 0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
	avail(0);
	ktap_check(refused("indirect"), "one inside another");
	start(false, true);
	desc(DESC, 0, TABLE, 0, VRING_DESC_F_INDIRECT, 0);
	avail(0);
	ktap_check(refused("impossible"), "an empty one");
	start(false, true);
	desc(DESC, 0, TABLE, 24, VRING_DESC_F_INDIRECT, 0);
	avail(0);
	ktap_check(refused("impossible"), "one and a half entries");
	start(false, true);
	desc(DESC, 0, RAM - 16, 32, VRING_DESC_F_INDIRECT, 0);
	avail(0);
	ktap_check(refused("outside"), "one across the end of memory");
	start(false, true);
	desc(DESC, 0, TABLE, 32, VRING_DESC_F_INDIRECT, 0);
	desc(TABLE, 0, DATA, 4, VRING_DESC_F_NEXT, 1);
	desc(TABLE, 1, DATA, 0, VRING_DESC_F_NEXT, 0);
	avail(0);
	ktap_check(refused("loop"), "a loop in one");
	start(false, true);
	desc(DESC, 0, TABLE, 32, VRING_DESC_F_INDIRECT, 0);
	desc(TABLE, 0, DATA, 4, VRING_DESC_F_NEXT, 2);
	avail(0);
	ktap_check(refused("out of range"), "a next beyond one");
}

/* Every index wraps; interrupts and notifications exactly where the driver wants them. */
static void test_event_idx(void)
{
	unsigned int i, interrupts = 0;
	bool good = true;

	start_at(8, true, false, 0xfff8);
	for (i = 0; i < 8; i++)
		desc(DESC, i, DATA, 8, 0, 0);
	/* The driver wants one at the fifth from now, which is past the wrap. */
	put16(AVAIL + 4 + 2 * 8, (uint16_t)(0xfff8 + 12));
	for (i = 0; i < 24; i++) {
		avail(i % 8);
		good &= virtq_pop(&q, &chain) == 1;
		virtq_push(&q, &chain, 0);
		if (virtq_publish(&q)) {
			interrupts++;
			/* The first is always signalled: nothing is known of before. */
			good &= i == 0 || i == 12;
		}
	}
	ktap_check(good && interrupts == 2, "interrupts where the event index says, across the wrap");
	ktap_check(get16(USED + 2) == (uint16_t)(0xfff8 + 24), "the used index wrapped");

	ktap_check(!virtq_notify_on(&q) && get16(USED + 4 + 8 * 8) == q.last_avail,
		   "a notification is asked for the next chain");
	avail(0);
	ktap_check(virtq_notify_on(&q), "one that came meanwhile is noticed");
	ktap_check(!virtq_notify_more(&q, 1) &&
		   get16(USED + 4 + 8 * 8) == (uint16_t)(q.last_avail + 1),
		   "or for one more than those that wait");
	start(false, false);
	virtq_notify_off(&q);
	good = get16(USED) == VRING_USED_F_NO_NOTIFY;
	virtq_notify_on(&q);
	ktap_check(good && !get16(USED), "without the event index the flag does it");
}

static void test_together(void)
{
	struct vring_used_elem elem[3];
	unsigned int i;

	start(false, false);
	for (i = 0; i < 8; i++) {
		desc(DESC, i, DATA + 64 * i, 8, VRING_DESC_F_WRITE, 0);
		avail(i);
	}
	virtq_pop(&q, &chain);
	virtq_fill(&q, &chain, 5, 1);
	virtq_pop(&q, &chain);
	virtq_fill(&q, &chain, 6, 0);
	virtq_publish(&q);
	ktap_check(get16(USED + 2) == 0, "filled places are not published");
	virtq_advance(&q, 2);
	virtq_publish(&q);
	guest_read(vm, USED + 4, elem, sizeof(elem));
	ktap_check(get16(USED + 2) == 2 && elem[0].id == 1 && elem[0].len == 6 && elem[1].id == 0 &&
		   elem[1].len == 5, "then both appear at once, each in its place");
	for (i = 0; i < 3; i++) {
		virtq_pop(&q, &chain);
		virtq_fill(&q, &chain, 0, i);
	}
	virtq_rewind(&q, 3);
	ktap_check(virtq_pop(&q, &chain) == 1 && chain.head == 2 && q.in_flight == 1 &&
		   virtq_waiting(&q) == 5, "or all go back");
}

int main(void)
{
	static const char *const settings[] = { "memory", "64M", NULL };

	ktap_plan(46);
	vm = pv_create(settings);
	test_start();
	test_plain();
	test_hostile();
	test_total();
	test_indirect();
	test_event_idx();
	test_together();
	virtq_stop(&q);
	pv_destroy(vm);
	return ktap_finish();
}
