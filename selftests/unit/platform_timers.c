// SPDX-License-Identifier: GPL-2.0-only
/*
 * platform_timers.c - 8254, RTC and ACPI PM timer (vmm/platform/pit.c, rtc.c, lpc.c) on a guest
 * clock that moves by the test's hand, so that every count and edge is exact.
 */
#include <time.h>

#include "platform_vm.h"
#include "vmm/pci/pci.h"
#include "vmm/platform/chipset.h"

#define HZ	1193182ULL

static struct vm *vm;
static unsigned int rises[IRQ_PINS];
static bool level[IRQ_PINS];

static void sink(void *opaque, unsigned int pin, bool up)
{
	rises[pin] += up;
	level[pin] = up;
}

static uint8_t in(uint16_t port)
{
	return pv_in(vm, port, 1);
}

static void out(uint16_t port, uint8_t value)
{
	pv_out(vm, port, 1, value);
}

/* Just past @ticks ticks of the PIT after now. */
static void ticks(uint64_t n)
{
	pv_advance(vm, (n * 1000000000ULL + HZ - 1) / HZ);
}

static void load(unsigned int channel, unsigned int mode, uint16_t count)
{
	out(0x43, channel << 6 | 0x30 | mode << 1);
	out(0x40 + channel, count);
	out(0x40 + channel, count >> 8);
}

static uint16_t counter(unsigned int channel)
{
	uint8_t low;

	out(0x43, channel << 6);
	low = in(0x40 + channel);
	return low | in(0x40 + channel) << 8;
}

static uint8_t status(unsigned int channel)
{
	out(0x43, 0xe0 | 2 << channel);
	return in(0x40 + channel);
}

static void check_pit_channel0(void)
{
	rises[0] = 0;
	load(0, 2, 1000);
	ticks(999);
	ktap_check(level[0] && rises[0] < 2, "rate generator: output is high from the start");
	rises[0] = 0;
	ticks(10000);
	ktap_check(rises[0] == 10, "rate generator: an interrupt each period (%u in 10)", rises[0]);
	load(0, 0, 5000);
	ktap_check(!level[0], "mode 0: the output falls with the control word");
	rises[0] = 0;
	ticks(4990);
	ktap_check(!rises[0] && !(status(0) & 0x80), "mode 0: not before its time");
	ticks(10);
	ktap_check(rises[0] == 1 && (status(0) & 0x80), "mode 0: at its time");
	ticks(200000);
	ktap_check(rises[0] == 1, "mode 0: once");
	load(0, 3, 0);
	rises[0] = 0;
	ticks(65536 * 3);
	ktap_check(rises[0] == 3, "square wave of 65536: %u", rises[0]);
	load(0, 2, 1);
	rises[0] = 0;
	ticks(HZ / 100);
	ktap_check(rises[0] > 10 && rises[0] < 210, "a period of one is served with a floor (%u in 10 ms)",
		   rises[0]);
	load(0, 4, 100);
	rises[0] = 0;
	ticks(1000);
	ktap_check(rises[0] == 1, "software strobe: one edge");
}

static void check_pit_counting(void)
{
	uint16_t first;

	load(1, 2, 5000);
	ticks(100);
	ktap_check(counter(1) == 4900, "rate generator counts down by one: %u", counter(1));
	load(1, 3, 5000);
	ticks(100);
	ktap_check(counter(1) == 4800, "square wave counts down by two: %u", counter(1));
	load(1, 0, 100);
	ticks(110);
	ktap_check(counter(1) == 65526, "mode 0 wraps: %u", counter(1));
	out(0x43, 0x71);	/* channel 1, both bytes, mode 0, BCD */
	out(0x41, 0x00);
	out(0x41, 0x10);
	ticks(1);
	ktap_check(counter(1) == 0x0999, "BCD: %#x", counter(1));
	load(1, 2, 5000);
	ticks(10);
	out(0x43, 0x40);
	ticks(100);
	out(0x43, 0x40);
	first = in(0x41);
	first |= in(0x41) << 8;
	ktap_check(first == 4990, "a latched count stands, a second latch is ignored: %u", first);
	ticks(0);
	out(0x43, 0xc4);	/* count and status of channel 1 */
	first = in(0x41);
	ktap_check((first & 0x3f) == 0x34, "read-back: status first: %#x", first);
	first = in(0x41);
	first |= in(0x41) << 8;
	ktap_check(first == 4890, "then the count: %u", first);
	out(0x43, 0x54);	/* low byte only */
	out(0x41, 200);
	ticks(50);
	ktap_check(in(0x41) == 150 && in(0x41) == 150, "one-byte access");
	load(1, 2, 1000);
	ticks(100);
	out(0x41, 2000 & 0xff);
	out(0x41, 2000 >> 8);
	ktap_check(counter(1) == 900 && (status(1) & 0x40), "a new count waits for the end of the period");
	ticks(1000);
	ktap_check(counter(1) == 1900 && !(status(1) & 0x40), "then it counts: %u", counter(1));
}

static void check_pit_speaker(void)
{
	bool refresh;
	int i;

	/* As Linux calibrates the TSC: gate on, speaker off, mode 0, poll OUT2. */
	out(0x61, (in(0x61) & ~2) | 1);
	load(2, 0, 11932);
	ktap_check(!(in(0x61) & 0x20), "OUT2 is low while it counts");
	ticks(11930);
	ktap_check(!(in(0x61) & 0x20), "still");
	ticks(3);
	ktap_check(in(0x61) & 0x20, "and high at the end");
	load(2, 0, 1000);
	ticks(300);
	out(0x61, 0);
	ticks(5000);
	ktap_check(counter(2) == 700, "the gate stops it: %u", counter(2));
	out(0x61, 1);
	ticks(100);
	ktap_check(counter(2) == 600 || counter(2) == 599, "and lets it go on: %u", counter(2));
	out(0x61, 0);
	load(2, 1, 500);
	ktap_check(in(0x61) & 0x20, "one-shot waits for the gate");
	out(0x61, 1);
	ticks(400);
	ktap_check(!(in(0x61) & 0x20), "one-shot runs");
	ticks(101);
	ktap_check(in(0x61) & 0x20, "one-shot is over");
	refresh = in(0x61) & 0x10;
	for (i = 0; i < 4 && (bool)(in(0x61) & 0x10) == refresh; i++)
		pv_advance(vm, 15000);
	ktap_check(i > 0 && i < 4, "the refresh bit toggles");
}

/* ------------------------------------------------------------------ */

static uint8_t cmos(uint8_t reg)
{
	out(0x70, reg);
	return in(0x71);
}

static void set_cmos(uint8_t reg, uint8_t value)
{
	out(0x70, reg);
	out(0x71, value);
}

static unsigned int bcd(uint8_t v)
{
	return (v >> 4) * 10 + (v & 15);
}

static time_t rtc_time(void)
{
	struct tm tm = {
		.tm_sec = bcd(cmos(0)), .tm_min = bcd(cmos(2)), .tm_hour = bcd(cmos(4)),
		.tm_mday = bcd(cmos(7)), .tm_mon = bcd(cmos(8)) - 1,
		.tm_year = bcd(cmos(0x32)) * 100 + bcd(cmos(9)) - 1900,
	};

	return timegm(&tm);
}

/* The wall clock cannot be moved by hand: wait for the middle of a second. */
static void mid_second(void)
{
	struct timespec ts, part = { 0 };

	clock_gettime(CLOCK_REALTIME, &ts);
	part.tv_nsec = (1500000000L - ts.tv_nsec) % 1000000000L;
	nanosleep(&part, NULL);
}

static void check_rtc(void)
{
	time_t now, t;

	mid_second();
	now = time(NULL);
	t = rtc_time();
	ktap_check(t >= now && t <= time(NULL), "the time is the host's, in UTC, BCD, 24 hours (%ld off)", (long)(t - now));
	ktap_check(cmos(0xd) == 0x80 && !(cmos(0xa) & 0x80) && (cmos(0xb) & 0x06) == 2,
		   "battery good, no update in mid-second");
	set_cmos(0xb, 0x06);
	ktap_check(cmos(9) == bcd(0) + (unsigned int)gmtime(&now)->tm_year % 100, "binary format");
	set_cmos(0xb, 0x02);
	/* As Linux sets it: SET, divider reset, registers, and back. */
	set_cmos(0xb, 0x82);
	set_cmos(0xa, 0x70);
	set_cmos(9, 0x31);
	set_cmos(8, 0x12);
	set_cmos(7, 0x31);
	set_cmos(4, 0x23);
	set_cmos(2, 0x50);
	set_cmos(0, 0x58);
	set_cmos(0x32, 0x20);
	ktap_check(cmos(0) == 0x58, "a clock that is set stands");
	set_cmos(0xb, 0x02);
	set_cmos(0xa, 0x26);
	t = rtc_time();
	ktap_check(t >= 1956527458 && t < 1956527478, "then it runs from there: %ld", (long)t);
	set_cmos(0xb, 0x00);
	ktap_check(cmos(4) == 0x91, "12 hours: 11 PM is %#x", cmos(4));
	set_cmos(0xb, 0x02);
	set_cmos(4, 0x12);
	ktap_check(bcd(cmos(4)) == 12 && bcd(cmos(2)) >= 50, "a single register can be set too");

	set_cmos(0x32, 0x99);
	ktap_check(cmos(0x32) == 0x99 && cmos(9) == 0x31 && bcd(cmos(4)) == 12, "the year 9931 is legal");
	set_cmos(0x32, 0x20);

	/* Periodic interrupt at 1024 Hz, on the guest clock. */
	cmos(0xc);
	rises[8] = 0;
	set_cmos(0xb, 0x42);
	pv_advance(vm, 5000000);
	ktap_check(level[8] && rises[8] == 1, "periodic interrupt stays up until it is read");
	ktap_check((cmos(0xc) & 0xc0) == 0xc0 && !level[8] && cmos(0xc) == 0, "reading C takes it");
	for (int i = 0; i < 100; i++) {
		pv_advance(vm, 1000000);
		cmos(0xc);
	}
	ktap_check(rises[8] > 95 && rises[8] < 105, "about 1024 a second: %u in 100 ms", rises[8]);
	set_cmos(0xb, 0x02);
	cmos(0xc);
	ktap_check(!level[8], "disabled");
	set_cmos(0x0f, 0x5a);
	set_cmos(0x50, 0xa5);
	device_reset_all(vm);
	ktap_check(cmos(0x0f) == 0x5a && cmos(0x50) == 0xa5 && bcd(cmos(4)) == 12,
		   "reset keeps time, shutdown code and RAM");
	ktap_check(cmos(0x34) == 0x00 && cmos(0x35) == 0x7f && cmos(0x5c) == 0x40 && cmos(0x5d) == 0,
		   "memory sizes for 3 GiB: %#x %#x %#x", cmos(0x35), cmos(0x34), cmos(0x5c));
}

static void check_rtc_update(void)
{
	struct timespec wait = { .tv_nsec = 700000000 };

	mid_second();
	cmos(0xc);
	ktap_check(!(cmos(0xc) & 0x10), "no update within a second");
	set_cmos(0xb, 0x32);
	set_cmos(1, 0xff);
	set_cmos(3, 0xff);
	set_cmos(5, 0xff);
	rises[8] = 0;
	nanosleep(&wait, NULL);
	pv_advance(vm, 700000000);
	ktap_check(rises[8] == 1 && (cmos(0xc) & 0xb0) == 0xb0,
		   "update and wildcard alarm interrupt when the second ends");
	set_cmos(0xb, 0x02);
}

static void check_pm_timer(void)
{
	uint32_t a, b;

	pv_out(vm, 0xcf8, 4, 0x8000f840);
	pv_out(vm, 0xcfc, 4, 0x601);
	pv_out(vm, 0xcf8, 4, 0x8000f844);
	pv_out(vm, 0xcfc, 1, 0x80);
	a = pv_in(vm, 0x608, 4);
	pv_advance(vm, 1000000000);
	b = pv_in(vm, 0x608, 4);
	ktap_check(((b - a) & 0xffffff) == 3579545 || ((b - a) & 0xffffff) == 3579546,
		   "PM timer: %u ticks a second", (b - a) & 0xffffff);
	ktap_check(a < 0x1000000 && b < 0x1000000, "of 24 bits");
	pv_out(vm, 0x600, 2, 1);
	ktap_check(!(pv_in(vm, 0x600, 2) & 1), "overflow status clears");
	pv_out(vm, 0x602, 2, 0x121);
	ktap_check(!level[9], "no SCI yet");
	pv_advance(vm, 2400000000);
	ktap_check(level[9] && (pv_in(vm, 0x600, 2) & 1), "the top bit changes within 2.35 s: SCI");
	pv_out(vm, 0x600, 2, 1);
	ktap_check(!level[9], "a level that falls with the status");
	platform_power_button(vm);
	ktap_check(level[9] && pv_in(vm, 0x600, 2) == 0x100, "power button: SCI");
	ktap_check(pv_survives_save(device_find(vm, "lpc")) && level[9], "survives save and load");
	pv_out(vm, 0x600, 2, 0x100);
	ktap_check(!level[9] && (pv_in(vm, 0x604, 2) & 1), "taken; ACPI mode is always on");
	pv_out(vm, 0x604, 2, 0x2000 | 3 << 10);
	ktap_check(!vm->want_stop, "S3 is not offered");
	pv_out(vm, 0x604, 2, 0x2000);
	ktap_check(vm->want_stop && vm->cause == VM_CAUSE_POWER_OFF, "S5 is power-off");
}

int main(void)
{
	static const char *const settings[] = { "memory", "3G", NULL };

	ktap_plan(57);
	vm = pv_create(settings);
	/* Before platform_create(): a pin has room for two sinks. */
	if (platform_create(vm))
		ktap_bail("platform_create failed");
	vm->irq.pin[0].sink[1].fn = sink;
	vm->irq.pin[8].sink[1].fn = sink;
	vm->irq.pin[9].sink[1].fn = sink;
	device_reset_all(vm);
	check_pit_channel0();
	check_pit_counting();
	check_pit_speaker();
	ktap_check(pv_survives_save(device_find(vm, "pit")), "the 8254 survives save and load");
	check_rtc();
	check_rtc_update();
	ktap_check(pv_survives_save(device_find(vm, "rtc")), "the RTC survives save and load");
	check_pm_timer();
	pv_destroy(vm);
	return ktap_finish();
}
