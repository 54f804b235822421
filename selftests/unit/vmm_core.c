// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmm_core.c - tests of the vmm's own parts: bus dispatch, memory slots and
 * copies, interrupt lines and MSIs, event loop and its guest clock, I/O threads,
 * state of devices.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "vmm/device.h"
#include "vmm/vm.h"

/* ---- bus ---- */

static uint64_t last_offset;
static unsigned int last_size, reads;

static uint64_t echo_read(void *opaque, uint64_t offset, unsigned int size)
{
	last_offset = offset;
	last_size = size;
	reads++;
	return (uintptr_t)opaque * 0x0101010101010101ULL;
}

static void echo_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	last_offset = offset;
	last_size = size;
	*(uint64_t *)opaque = value;
}

static const struct bus_ops echo = { .read = echo_read, .write = echo_write };

static struct bus_region region(uint64_t base, uint64_t len, uintptr_t id, int prio)
{
	return (struct bus_region){ .name = "test", .base = base, .len = len, .ops = &echo,
				    .opaque = (void *)id, .prio = prio };
}

static uint64_t rd(struct bus *bus, struct bus_cache *cache, uint64_t addr, unsigned int size)
{
	uint64_t v = 0;

	bus_read(bus, cache, addr, size, &v);
	return v;
}

static void buses(void)
{
	struct bus_region a = region(0x100, 0x100, 1, 0), b = region(0x180, 0x10, 2, 1);
	struct bus_region c = region(0, 0x10000, 3, -1), end = region(0xfffe, 2, 4, 1);
	struct bus_cache cache = { 0 };
	struct bus bus;
	uint64_t v;

	bus_init(&bus, 0xffff);
	ktap_check(rd(&bus, &cache, 0x100, 4) == 0xffffffff && !bus_read(&bus, NULL, 0, 1, &v),
		   "nobody's address reads all-ones");
	bus_region_add(&bus, &a);
	ktap_check(rd(&bus, &cache, 0x104, 2) == 0x0101 && last_offset == 4 && last_size == 2 &&
		   rd(&bus, &cache, 0xff, 1) == 0xff, "a region answers, at its offset");
	ktap_check(bus_region_add(&bus, &a) && !bus_region_add(&bus, &b), "added only once");
	ktap_check(rd(&bus, &cache, 0x17f, 1) == 1 && rd(&bus, &cache, 0x180, 1) == 2 &&
		   last_offset == 0 && rd(&bus, &cache, 0x18f, 1) == 2 &&
		   rd(&bus, &cache, 0x190, 1) == 1 && last_offset == 0x90,
		   "the higher priority wins, and the lower goes on behind it");
	ktap_check(rd(&bus, &cache, 0x17e, 4) == 0x02020101 && rd(&bus, &cache, 0xfe, 4) == 0x0101ffff,
		   "an access over an edge is made of bytes");
	bus_region_add(&bus, &c);
	ktap_check(rd(&bus, &cache, 0xfe, 4) == 0x01010303, "a background region fills gaps");
	bus_region_move(&bus, &a, 0x4000);
	ktap_check(rd(&bus, &cache, 0x100, 1) == 3 && rd(&bus, &cache, 0x40ff, 1) == 1 &&
		   last_offset == 0xff && rd(&bus, &cache, 0x180, 1) == 2, "a moved region");
	ktap_check(bus_region_move(&bus, &a, 0xff80) && rd(&bus, &cache, 0x4000, 1) == 1,
		   "not beyond the end");
	bus_region_remove(&bus, &b);
	bus_region_remove(&bus, &b);
	ktap_check(rd(&bus, &cache, 0x180, 1) == 3, "a removed region");
	bus_region_add(&bus, &end);
	ktap_check(rd(&bus, &cache, 0xfffe, 4) == 0xffff0404 && rd(&bus, &cache, 0x10000, 4) ==
		   0xffffffff, "beyond the last address nothing answers");
	v = 0;
	c.opaque = &v;
	ktap_check(bus_write(&bus, &cache, 0x10, 4, 0x1122334455667788ULL) && v == 0x55667788,
		   "a write carries its size only");
	bus_destroy(&bus);
}

/* Random regions against a byte-wise model of who must answer. */
static void bus_model(void)
{
	enum { N = 12, SPACE = 256 };
	struct bus_region r[N];
	struct bus_cache cache = { 0 };
	unsigned int i, turn, addr, bad = 0, seed = 1;
	struct bus bus;

	bus_init(&bus, SPACE - 1);
	memset(r, 0, sizeof(r));
	for (turn = 0; turn < 400; turn++) {
		seed = seed * 1103515245 + 12345;
		i = (seed >> 16) % N;
		if (r[i].added && (seed & 0x100)) {
			bus_region_remove(&bus, &r[i]);
		} else if (r[i].added) {
			bus_region_move(&bus, &r[i], (seed >> 8) % (SPACE - 64));
		} else {
			r[i] = region((seed >> 20) % (SPACE - 64), 1 + (seed >> 9) % 64, i + 1,
				      (int)(i % 3) - 1);
			bus_region_add(&bus, &r[i]);
		}
		for (addr = 0; addr < SPACE; addr++) {
			uint64_t v = rd(&bus, &cache, addr, 1);
			int best = -2;
			unsigned int k;

			for (k = 0; k < N; k++)
				if (r[k].added && addr - r[k].base < r[k].len && r[k].prio > best)
					best = r[k].prio;
			if (best == -2)
				bad += v != 0xff;
			else
				bad += v == 0xff || r[v - 1].prio != best ||
				       addr - r[v - 1].base >= r[v - 1].len ||
				       last_offset != addr - r[v - 1].base;
		}
	}
	ktap_check(!bad, "random maps: the right region answers at every address");
	bus_destroy(&bus);
}

/* ---- memory ---- */

static void memory(void)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	struct memory_range map[8];
	struct guest_pin pin;
	uint8_t *rom = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct memory_slot a = { .name = "rom", .size = 4096, .hva = rom, .readonly = true };
	struct memory_slot b = { .name = "fb", .size = 4096, .hva = rom + 4096 };
	char err[200], buf[16] = "";
	unsigned int n;

	vm->config = config_create();
	config_set(vm->config, "memory", "3G", err, sizeof(err));
	ktap_check(!memory_create(vm) && vm->memory.nr_ram == 2 &&
		   vm->memory.ram[1].gpa == MEMORY_HIGH_BASE &&
		   vm->memory.high_end == MEMORY_HIGH_BASE + (1ULL << 30) &&
		   vm->memory.pci64_base >= vm->memory.high_end, "3 GiB lie on both sides of the hole");
	ktap_check(!guest_write(vm, 0x1ff0, "hello", 6) && !guest_read(vm, 0x1ff0, buf, 6) &&
		   !strcmp(buf, "hello"), "copies");
	ktap_check(guest_write(vm, MEMORY_LOW_MAX - 2, "hello", 6) &&
		   guest_read(vm, MEMORY_LOW_MAX, buf, 1) && guest_read(vm, ~0ULL - 2, buf, 6) &&
		   guest_read(vm, vm->memory.high_end, buf, 1), "outside memory is refused");
	ktap_check(!guest_pin(vm, MEMORY_HIGH_BASE, 4096, GUEST_WRITE, &pin) &&
		   guest_pin(vm, MEMORY_LOW_MAX - 8, 16, GUEST_READ, &pin) &&
		   guest_pin(vm, 0, ~0ULL, GUEST_READ, &pin) &&
		   guest_pin(vm, ~0ULL, 1, GUEST_READ, &pin), "pins within RAM only");
	vm->memory.ram[0].dirty = calloc(1, (MEMORY_LOW_MAX / 4096) / 8);
	guest_write(vm, 0x3fff, "ab", 2);
	guest_pin(vm, 0x8000, 0x4000, GUEST_WRITE, &pin);
	guest_unpin(vm, &pin, 0x1001);
	guest_read(vm, 0xf000, buf, 1);
	ktap_check(vm->memory.ram[0].dirty[0] == (1 << 3 | 1 << 4 | 1 << 8 | 1 << 9),
		   "the dirty log has what was written, and no more");
	ktap_check(!memory_update(vm, (struct memory_change[]){ { &a, true, 0xff000000 },
								{ &b, true, 0xff001000 } }, 2) &&
		   !guest_write(vm, 0xff001000, "x", 1) && guest_write(vm, 0xff000000, "x", 1) &&
		   rom[4096] == 'x' && guest_pin(vm, 0xff001000, 1, GUEST_READ, &pin),
		   "other slots: read-only ones refuse writes, none can be pinned");
	ktap_check(memory_update(vm, (struct memory_change[]){ { &a, true, 0xff001000 } }, 1) &&
		   memory_update(vm, (struct memory_change[]){ { &a, true, 0x1000 } }, 1) &&
		   memory_update(vm, (struct memory_change[]){ { &a, true, 0xff000800 } }, 1) &&
		   !guest_read(vm, 0xff000000, buf, 1), "overlaps and odd addresses change nothing");
	ktap_check(!memory_update(vm, (struct memory_change[]){ { &a, true, 0xff001000 },
								{ &b, true, 0xff000000 } }, 2) &&
		   !guest_read(vm, 0xff000000, buf, 1) && buf[0] == 'x',
		   "two slots change places in one step");
	ktap_check(!memory_update(vm, (struct memory_change[]){ { &a, false, 0 } }, 1) &&
		   guest_read(vm, 0xff001000, buf, 1) && !guest_is_ram(vm, 0xff000000, 1),
		   "an unmapped slot is gone");
	*(uint64_t *)vm->memory.ram[0].hva = 7;
	ktap_check(guest_cmpxchg(vm, 0, 6, 9, 8) == -EAGAIN && !guest_cmpxchg(vm, 0, 7, 9, 8) &&
		   *(uint64_t *)vm->memory.ram[0].hva == 9 && guest_cmpxchg(vm, 4, 0, 1, 8) ==
		   -EFAULT && !guest_cmpxchg(vm, 4, 0, 1, 4), "compare and exchange");
	n = memory_map_get(vm, map, 8);
	ktap_check(n == 5 && map[0].base == 0 && map[2].size == MEMORY_LOW_MAX - 0x100000 &&
		   map[4].base == MEMORY_HIGH_BASE, "the memory map");
	memory_destroy(vm);
	config_destroy(vm->config);
	munmap(rom, 8192);
	free(vm);
}

/* ---- interrupts ---- */

static char trace[64];

static void sink(void *opaque, unsigned int pin, bool level)
{
	size_t n = strlen(trace);

	snprintf(trace + n, sizeof(trace) - n, "%s%u%c", (const char *)opaque, pin,
		 level ? '+' : '-');
}

static void interrupts(void)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	struct irq_line a, b;
	struct irq_msi msi;

	irq_init(vm);
	irq_sink_add(vm, 5, sink, "x");
	irq_sink_add(vm, 5, sink, "y");
	ktap_check(irq_sink_add(vm, 5, sink, "z") && irq_line_init(&a, vm, IRQ_PINS),
		   "no third sink, no pin beyond the last");
	irq_line_init(&a, vm, 5);
	irq_line_init(&b, vm, 5);
	irq_line_set(&a, true);
	irq_line_set(&a, true);
	irq_line_set(&b, true);
	irq_line_set(&a, false);
	irq_line_set(&a, false);
	irq_line_set(&b, false);
	ktap_check(!strcmp(trace, "x5+y5+x5-y5-"), "a shared pin is high while any line is");
	irq_msi_init(&msi, vm);
	irq_msi_raise(&msi);
	ktap_check(irq_msi_pending(&msi), "a masked MSI is latched");
	irq_msi_set(&msi, 0xfee00000, 0x41, false);
	ktap_check(!irq_msi_pending(&msi), "and delivered when unmasked");
	irq_msi_set(&msi, 0xfee00000, 0x41, true);
	irq_msi_latch(&msi);
	irq_msi_reset(&msi);
	ktap_check(!irq_msi_pending(&msi) && msi.masked, "reset forgets it");
	irq_msi_destroy(&msi);
	irq_destroy(vm);
	free(vm);
}

/* ---- loop ---- */

static struct loop loop;
static char order[32];

static void note(char c)
{
	size_t n = strlen(order);

	order[n] = c;
}

static void on_a(void *opaque)
{
	note('a');
}

static void on_b(void *opaque)
{
	note('b');
}

static void on_stop(void *opaque)
{
	note('s');
	loop_stop(&loop);
}

static void on_fd(void *opaque, uint32_t events)
{
	struct loop_fd *other = opaque;

	note('f');
	loop_fd_remove(&loop, other);
}

static void loops(void)
{
	struct loop_timer a = { .fn = on_a }, b = { .fn = on_b, .clock = LOOP_CLOCK_GUEST };
	struct loop_timer stop = { .fn = on_stop };
	struct loop_call call = { .fn = on_a };
	struct loop_fd f1, f2;
	uint64_t now, t;
	int p[2], q[2];

	loop_init(&loop);
	ktap_check(loop_now(&loop, LOOP_CLOCK_GUEST) == 0, "the guest clock begins at zero and stands");
	now = loop_now(&loop, LOOP_CLOCK_HOST);
	loop_timer_arm(&loop, &a, now + 3000000);
	loop_timer_arm(&loop, &b, 1);
	loop_timer_arm(&loop, &stop, now + 30000000);
	loop_defer(&loop, &call);
	loop_defer(&loop, &call);
	loop_run(&loop);
	ktap_check(!strcmp(order, "aas") && b.armed, "calls once, host timers in order, none of the guest's");
	memset(order, 0, sizeof(order));
	loop.stop = false;
	loop_clock_start(&loop);
	loop_timer_arm(&loop, &stop, loop_now(&loop, LOOP_CLOCK_HOST) + 20000000);
	loop_run(&loop);
	loop_clock_stop(&loop);
	t = loop_now(&loop, LOOP_CLOCK_GUEST);
	usleep(2000);
	ktap_check(!strcmp(order, "bs") && t >= 19000000 && t == loop_now(&loop, LOOP_CLOCK_GUEST),
		   "the guest's timer fires when its clock runs, and the clock stops again");
	memset(order, 0, sizeof(order));
	if (pipe(p) || pipe(q) || write(p[1], "x", 1) != 1 || write(q[1], "x", 1) != 1)
		ktap_bail("no pipes");
	f1 = (struct loop_fd){ .fd = p[0], .events = EPOLLIN, .fn = on_fd, .opaque = &f2 };
	f2 = (struct loop_fd){ .fd = q[0], .events = EPOLLIN, .fn = on_fd, .opaque = &f1 };
	loop_fd_add(&loop, &f1);
	loop_fd_add(&loop, &f2);
	loop.stop = false;
	loop_timer_arm(&loop, &stop, loop_now(&loop, LOOP_CLOCK_HOST) + 1);
	loop_run(&loop);
	ktap_check(strchr(order, 'f') == strrchr(order, 'f') || f1.added != f2.added,
		   "a descriptor removed by another's handler is not called any more");
	loop_timer_arm(&loop, &a, 1);
	loop_timer_cancel(&loop, &a);
	ktap_check(!a.armed, "a timer is cancelled");
	loop_destroy(&loop);
}

static int io_runs;

static void io_fn(void *opaque)
{
	__atomic_fetch_add(&io_runs, 1, __ATOMIC_RELAXED);
}

static void iothreads(void)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	struct loop_call call = { .fn = io_fn };
	struct iothread *t;

	if (iothread_create(vm, "io-test", &t))
		ktap_bail("no I/O thread");
	iothread_call(t, io_fn, NULL);
	ktap_check(io_runs == 1 && t->tid > 0, "a call to an I/O thread is waited for");
	iothread_park_all(vm);
	loop_defer(&t->loop, &call);
	usleep(20000);
	ktap_check(io_runs == 1, "a parked I/O thread runs nothing");
	iothread_call(t, io_fn, NULL);
	ktap_check(io_runs == 2, "what is called meanwhile runs here");
	iothread_unpark_all(vm);
	iothread_call(t, io_fn, NULL);
	ktap_check(io_runs == 4, "and it goes on where it stood");
	iothread_destroy(t);
	ktap_check(!vm->iothreads, "it ends");
	free(vm);
}

/* ---- device state ---- */

struct thing {
	struct device dev;
	uint8_t a;
	uint32_t b[3];
	uint64_t late;
};

static const struct device_field thing_fields[] = {
	DEVICE_FIELD(1, 1, struct thing, a),
	DEVICE_FIELD_ARRAY(2, 1, struct thing, b),
	DEVICE_FIELD(3, 2, struct thing, late),
};

static int thing_loaded(struct device *dev)
{
	return ((struct thing *)dev)->a > 9 ? -EINVAL : 0;
}

static const struct device_type thing_type = {
	.name = "thing", .size = sizeof(struct thing), .version = 2,
	.fields = thing_fields, .nr_fields = 3, .loaded = thing_loaded,
};

static void states(void)
{
	struct thing x = { .dev.type = &thing_type, .a = 7, .b = { 1, 2, 3 }, .late = 5 };
	struct thing y = { .dev.type = &thing_type, .late = 99 };
	unsigned int i, bad = 0;
	uint8_t *buf, *copy;
	size_t len;

	pthread_mutex_init(&x.dev.lock, NULL);
	pthread_mutex_init(&y.dev.lock, NULL);
	device_save(&x.dev, &buf, &len);
	ktap_check(!device_load(&y.dev, buf, len) && y.a == 7 && y.b[2] == 3 && y.late == 5,
		   "state is saved and loaded");
	for (i = 0; i < len; i++)
		bad += !device_load(&y.dev, buf, i);
	ktap_check(!bad, "no cut stream is accepted");
	copy = malloc(len + 1);
	memcpy(copy, buf, len);
	ktap_check(device_load(&y.dev, copy, len + 1), "nor one with something behind it");
	copy[8] = 2;
	ktap_check(device_load(&y.dev, copy, len), "nor one with a field twice");
	memcpy(copy, buf, len);
	copy[0] = 3;
	ktap_check(device_load(&y.dev, copy, len), "nor one of a later version");
	memcpy(copy, buf, len);
	copy[0] = 1;
	copy[4] = 2;
	y.late = 99;
	ktap_check(!device_load(&y.dev, copy, len - 8 - 12) && y.late == 99,
		   "an older one leaves newer fields alone");
	x.a = 10;
	free(buf);
	device_save(&x.dev, &buf, &len);
	ktap_check(device_load(&y.dev, buf, len) == -EINVAL, "the device has the last word");
	free(buf);
	free(copy);
}

int main(void)
{
	ktap_plan(45);
	buses();
	bus_model();
	memory();
	interrupts();
	loops();
	iothreads();
	states();
	return ktap_finish();
}
