// SPDX-License-Identifier: GPL-2.0-only
/*
 * rtc.c - MC146818A real-time clock and CMOS RAM at ports 0x70 and 0x71.
 *
 * Motorola MC146818A data sheet (time, alarm, registers A to D); ICH9 data sheet
 * section 13.6.  CMOS bytes that PC firmware and loaders read: 0x0F shutdown code,
 * 0x15-0x18 and 0x30-0x35 memory below 4 GiB, 0x5B-0x5D above, 0x5F CPUs, 0x32 century.
 *
 * The time of day is the host's CLOCK_REALTIME in UTC plus an offset, which is what
 * the guest changes by setting the clock; so it goes on while the guest is paused.
 * The periodic interrupt follows the guest clock.  Like its battery, the offset and
 * the RAM survive a reset.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "vmm/platform/aml.h"
#include "vmm/platform/chipset.h"

#define NS		1000000000LL

enum {
	REG_SECONDS, REG_SECONDS_ALARM, REG_MINUTES, REG_MINUTES_ALARM, REG_HOURS,
	REG_HOURS_ALARM, REG_WEEKDAY, REG_DAY, REG_MONTH, REG_YEAR,
	REG_A, REG_B, REG_C, REG_D,
};

#define A_UIP		0x80
#define A_DIVIDER	0x70
#define A_RATE		0x0f
#define B_SET		0x80
#define B_PIE		0x40
#define B_AIE		0x20
#define B_UIE		0x10
#define B_BINARY	0x04
#define B_24H		0x02
#define B_ENABLES	(B_PIE | B_AIE | B_UIE)
#define C_IRQ		0x80
#define D_VALID		0x80

#define UIP_NS		244000LL	/* before and ... */
#define UPDATE_NS	1984000LL	/* ... while the registers change */
#define ALARM_ANY	0xc0
#define OSCILLATOR	32768ULL
/* More seconds than this are not looked through for alarms that were missed. */
#define CATCH_UP	(24 * 3600)
#define DATE_MAX	1000000000000LL

struct rtc {
	struct device dev;
	uint8_t index;
	uint8_t cmos[128];	/* alarm bytes, A, B, C and RAM; time while it is frozen */
	int64_t offset_s;	/* guest's time less CLOCK_REALTIME: seconds, and ... */
	int64_t offset_ns;	/* ... 0 to 999999999 nanoseconds */
	int64_t updated;	/* guest's second up to which updates and alarms are seen */
	uint64_t periodic;	/* periods of the guest clock that are seen */
	struct irq_line line;
	struct device_timer timer;
	struct bus_region region;
};

static const struct device_field rtc_fields[] = {
	DEVICE_FIELD(1, 1, struct rtc, index),
	DEVICE_FIELD_ARRAY(2, 1, struct rtc, cmos),
	DEVICE_FIELD(3, 1, struct rtc, offset_s),
	DEVICE_FIELD(4, 1, struct rtc, offset_ns),
	DEVICE_FIELD(5, 1, struct rtc, updated),
	DEVICE_FIELD(6, 1, struct rtc, periodic),
};

/* ------------------------------------------------------------------ */
/* Time                                                                 */
/* ------------------------------------------------------------------ */
/* Seconds since 1970 and the @fraction in nanoseconds.  Apart, because a guest may set
 * any year of four digits. */
static int64_t guest_time(const struct rtc *rtc, int64_t *fraction)
{
	struct timespec ts;
	int64_t ns;

	clock_gettime(CLOCK_REALTIME, &ts);
	ns = ts.tv_nsec + rtc->offset_ns;
	*fraction = ns % NS;
	return ts.tv_sec + rtc->offset_s + ns / NS;
}

/* Time stands while it is being set, or the divider is held in reset. */
static bool frozen(const struct rtc *rtc)
{
	return (rtc->cmos[REG_B] & B_SET) || (rtc->cmos[REG_A] & 0x60) == 0x60;
}

static uint8_t encode(const struct rtc *rtc, unsigned int n)
{
	return rtc->cmos[REG_B] & B_BINARY ? n : (n / 10 % 10) << 4 | n % 10;
}

static unsigned int decode(const struct rtc *rtc, uint8_t value)
{
	return rtc->cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned int hour)
{
	if (rtc->cmos[REG_B] & B_24H)
		return encode(rtc, hour);
	return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static unsigned int decode_hour(const struct rtc *rtc, uint8_t value)
{
	unsigned int hour;

	if (rtc->cmos[REG_B] & B_24H)
		return decode(rtc, value);
	hour = decode(rtc, value & 0x7f) % 12;
	return value & 0x80 ? hour + 12 : hour;
}

/* The century byte is BCD whatever register B says: firmware's convention. */
static void time_to_regs(struct rtc *rtc, int64_t seconds)
{
	time_t t = seconds;
	unsigned int year;
	struct tm tm;

	if (!gmtime_r(&t, &tm))
		return;
	year = tm.tm_year + 1900;
	rtc->cmos[REG_SECONDS] = encode(rtc, tm.tm_sec);
	rtc->cmos[REG_MINUTES] = encode(rtc, tm.tm_min);
	rtc->cmos[REG_HOURS] = encode_hour(rtc, tm.tm_hour);
	rtc->cmos[REG_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	rtc->cmos[REG_DAY] = encode(rtc, tm.tm_mday);
	rtc->cmos[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
	rtc->cmos[REG_YEAR] = encode(rtc, year % 100);
	rtc->cmos[CHIPSET_CENTURY] = (year / 1000 % 10) << 4 | year / 100 % 10;
}

static int64_t regs_to_time(const struct rtc *rtc)
{
	uint8_t century = rtc->cmos[CHIPSET_CENTURY];
	struct tm tm = {
		.tm_sec = decode(rtc, rtc->cmos[REG_SECONDS]),
		.tm_min = decode(rtc, rtc->cmos[REG_MINUTES]),
		.tm_hour = decode_hour(rtc, rtc->cmos[REG_HOURS]),
		.tm_mday = decode(rtc, rtc->cmos[REG_DAY]),
		.tm_mon = (int)decode(rtc, rtc->cmos[REG_MONTH]) - 1,
		.tm_year = ((century >> 4) * 10 + (century & 15)) * 100 +
			   (int)decode(rtc, rtc->cmos[REG_YEAR]) - 1900,
	};

	/* Normalises what is out of range, as nothing else about it is defined. */
	return timegm(&tm);
}

/* The frozen time in the registers becomes the time that runs on. */
static void time_set(struct rtc *rtc, int64_t fraction)
{
	int64_t seconds = regs_to_time(rtc);
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	rtc->offset_s = seconds - ts.tv_sec;
	rtc->offset_ns = fraction - ts.tv_nsec;
	if (rtc->offset_ns < 0) {
		rtc->offset_ns += NS;
		rtc->offset_s--;
	}
	rtc->updated = seconds;
}

/* ------------------------------------------------------------------ */
/* Update, alarm and periodic flags                                     */
/* ------------------------------------------------------------------ */
static bool alarm_matches(const struct rtc *rtc, int64_t second)
{
	unsigned int of_day = (second % 86400 + 86400) % 86400;
	const uint8_t *cmos = rtc->cmos;

	return (cmos[REG_SECONDS_ALARM] >= ALARM_ANY ||
		decode(rtc, cmos[REG_SECONDS_ALARM]) == of_day % 60) &&
	       (cmos[REG_MINUTES_ALARM] >= ALARM_ANY ||
		decode(rtc, cmos[REG_MINUTES_ALARM]) == of_day / 60 % 60) &&
	       (cmos[REG_HOURS_ALARM] >= ALARM_ANY ||
		decode_hour(rtc, cmos[REG_HOURS_ALARM]) == of_day / 3600);
}

static uint64_t period_ns(const struct rtc *rtc)
{
	unsigned int rate = rtc->cmos[REG_A] & A_RATE;

	if (!rate || (rtc->cmos[REG_A] & A_DIVIDER) != 0x20)
		return 0;
	if (rate < 3)
		rate += 7;	/* 1 and 2 mean 256 and 128 Hz */
	return (NS << (rate - 1)) / OSCILLATOR;
}

/* Sets the flags of everything that came about since it was last called. */
static void catch_up(struct rtc *rtc)
{
	int64_t fraction, second = guest_time(rtc, &fraction), s;
	uint64_t period = period_ns(rtc), periods;

	if (period) {
		periods = vm_clock_ns(rtc->dev.vm) / period;
		if (periods != rtc->periodic)
			rtc->cmos[REG_C] |= B_PIE;
		rtc->periodic = periods;
	}
	if (frozen(rtc))
		return;
	if (second > rtc->updated) {
		rtc->cmos[REG_C] |= B_UIE;
		s = second - rtc->updated > CATCH_UP ? second - CATCH_UP : rtc->updated;
		while (s++ < second && !(rtc->cmos[REG_C] & B_AIE))
			if (alarm_matches(rtc, s))
				rtc->cmos[REG_C] |= B_AIE;
	}
	/* The host's clock may have been set back. */
	rtc->updated = second;
}

static void irq_update(struct rtc *rtc)
{
	bool irq = rtc->cmos[REG_C] & rtc->cmos[REG_B] & B_ENABLES;

	rtc->cmos[REG_C] = (rtc->cmos[REG_C] & B_ENABLES) | (irq ? C_IRQ : 0);
	irq_line_set(&rtc->line, irq);
}

/* Only what the guest wants an interrupt for needs a timer. */
static void timer_update(struct rtc *rtc)
{
	uint64_t now = vm_clock_ns(rtc->dev.vm), when = UINT64_MAX, period = period_ns(rtc);
	uint8_t wanted = rtc->cmos[REG_B] & ~rtc->cmos[REG_C] & B_ENABLES;

	if ((wanted & B_PIE) && period)
		when = (rtc->periodic + 1) * period;
	if ((wanted & (B_AIE | B_UIE)) && !frozen(rtc)) {
		int64_t fraction;

		guest_time(rtc, &fraction);
		if (now + NS - fraction < when)
			when = now + NS - fraction;
	}
	if (when == UINT64_MAX)
		device_timer_cancel(&rtc->timer);
	else
		device_timer_arm(&rtc->timer, when > now ? when : now);
}

static void refresh(struct rtc *rtc)
{
	catch_up(rtc);
	irq_update(rtc);
	timer_update(rtc);
}

static void rtc_timer(struct device *dev, struct device_timer *timer)
{
	refresh((struct rtc *)dev);
}

/* ------------------------------------------------------------------ */
/* Registers                                                            */
/* ------------------------------------------------------------------ */
static bool is_time(unsigned int reg)
{
	return reg == REG_SECONDS || reg == REG_MINUTES || reg == REG_HOURS ||
	       (reg >= REG_WEEKDAY && reg <= REG_YEAR) || reg == CHIPSET_CENTURY;
}

static uint8_t reg_read(struct rtc *rtc, unsigned int reg)
{
	int64_t fraction, now = guest_time(rtc, &fraction);
	uint8_t value;

	if (is_time(reg)) {
		if (!frozen(rtc))
			time_to_regs(rtc, now);
		return rtc->cmos[reg];
	}
	switch (reg) {
	case REG_A:
		value = rtc->cmos[REG_A] & ~A_UIP;
		if (!frozen(rtc) && fraction >= NS - UIP_NS)
			value |= A_UIP;
		return value;
	case REG_C:
		catch_up(rtc);
		irq_update(rtc);
		value = rtc->cmos[REG_C];
		rtc->cmos[REG_C] = 0;
		irq_update(rtc);
		timer_update(rtc);
		return value;
	case REG_D:
		return D_VALID;
	default:
		return rtc->cmos[reg];
	}
}

static void reg_write(struct rtc *rtc, unsigned int reg, uint8_t value)
{
	int64_t fraction, now = guest_time(rtc, &fraction);
	bool was_frozen = frozen(rtc);

	catch_up(rtc);
	if (is_time(reg)) {
		if (!was_frozen)
			time_to_regs(rtc, now);
		rtc->cmos[reg] = value;
		if (!was_frozen)
			time_set(rtc, fraction);
	} else if (reg == REG_A || reg == REG_B) {
		/* The registers hold the time from here on, in the format of before. */
		if (!was_frozen)
			time_to_regs(rtc, now);
		if (reg == REG_A) {
			rtc->cmos[REG_A] = value & ~A_UIP;
			if (period_ns(rtc))
				rtc->periodic = vm_clock_ns(rtc->dev.vm) / period_ns(rtc);
		} else {
			/* Setting the clock switches the update interrupt off. */
			rtc->cmos[REG_B] = value & B_SET ? value & ~B_UIE : value;
		}
		/* The first update comes half a second after the divider is let go. */
		if (was_frozen && !frozen(rtc))
			time_set(rtc, reg == REG_A ? NS / 2 : fraction);
	} else if (reg != REG_C && reg != REG_D) {
		rtc->cmos[reg] = value;
	}
	refresh(rtc);
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct rtc *rtc = opaque;
	uint64_t value = 0xffffffffffffffffULL << 8;

	/* The index cannot be read back, as on the chip. */
	if (offset == 1)
		return value | reg_read(rtc, rtc->index);
	if (size > 1)
		return value << 8 | reg_read(rtc, rtc->index) << 8 | 0xff;
	return ~0ULL;
}

static void rtc_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct rtc *rtc = opaque;

	if (offset == 0) {
		rtc->index = value & 0x7f;	/* bit 7 masks the NMI, which nothing here makes */
		if (size > 1)
			reg_write(rtc, rtc->index, value >> 8);
	} else {
		reg_write(rtc, rtc->index, value);
	}
}

static const struct bus_ops rtc_ops = { .read = rtc_read, .write = rtc_write };

/* ------------------------------------------------------------------ */
/* The device                                                           */
/* ------------------------------------------------------------------ */
static void cmos_set_word(struct rtc *rtc, unsigned int reg, uint64_t value)
{
	if (value > 0xffff)
		value = 0xffff;
	rtc->cmos[reg] = value;
	rtc->cmos[reg + 1] = value >> 8;
}

static void cmos_init(struct rtc *rtc)
{
	struct vm *vm = rtc->dev.vm;
	uint64_t low = vm->memory.size < MEMORY_LOW_MAX ? vm->memory.size : MEMORY_LOW_MAX;
	uint64_t high = vm->memory.size - low;
	uint64_t above_1m = low > (1 << 20) ? (low >> 10) - 1024 : 0;

	rtc->cmos[REG_A] = 0x26;
	rtc->cmos[REG_B] = B_24H;
	rtc->cmos[0x14] = 0x02;			/* equipment: FPU */
	cmos_set_word(rtc, 0x15, 640);		/* KiB of base memory */
	cmos_set_word(rtc, 0x17, above_1m);	/* KiB above 1 MiB */
	cmos_set_word(rtc, 0x30, above_1m);
	if (low > 16 << 20)			/* 64 KiB units above 16 MiB */
		cmos_set_word(rtc, 0x34, (low - (16 << 20)) >> 16);
	rtc->cmos[0x5b] = high >> 16;		/* 64 KiB units above 4 GiB */
	rtc->cmos[0x5c] = high >> 24;
	rtc->cmos[0x5d] = high >> 32;
	rtc->cmos[0x5f] = vm->nr_vcpus ? vm->nr_vcpus - 1 : 0;
}

static int rtc_create(struct device *dev, const char *path, const void *args)
{
	struct rtc *rtc = (struct rtc *)dev;
	int64_t fraction;
	int err = irq_line_init(&rtc->line, dev->vm, CHIPSET_RTC_IRQ);

	device_timer_init(&rtc->timer, dev, rtc_timer);
	if (!err)
		err = chipset_region_add(dev, &dev->vm->pio, &rtc->region, CHIPSET_RTC_PORT, 2,
					 &rtc_ops);
	if (err) {
		log_error(dev->vm, "real-time clock: %s", strerror(-err));
		return err;
	}
	cmos_init(rtc);
	rtc->updated = guest_time(rtc, &fraction);
	return 0;
}

static void rtc_destroy(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	device_timer_cancel(&rtc->timer);
	bus_region_remove(&dev->vm->pio, &rtc->region);
	irq_line_set(&rtc->line, false);
}

static void rtc_reset(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	rtc->index = 0;
	rtc->cmos[REG_B] &= ~B_ENABLES;
	rtc->cmos[REG_C] = 0;
	device_timer_cancel(&rtc->timer);
	irq_update(rtc);
}

static int rtc_loaded(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	rtc->index &= 0x7f;
	rtc->cmos[REG_A] &= ~A_UIP;
	/* No date that fits the registers is further from 1970. */
	if (rtc->updated > DATE_MAX || rtc->updated < -DATE_MAX || rtc->offset_s > DATE_MAX ||
	    rtc->offset_s < -DATE_MAX || rtc->offset_ns < 0 || rtc->offset_ns >= NS)
		return -EINVAL;
	refresh(rtc);
	return 0;
}

static void rtc_acpi(struct device *dev, struct aml *aml)
{
	aml_device(aml, "RTC");
	aml_name_eisaid(aml, "_HID", "PNP0B00");
	aml_resources(aml, "_CRS");
	aml_resource_io(aml, CHIPSET_RTC_PORT, CHIPSET_RTC_PORT, 1, 2);
	aml_resource_irq(aml, CHIPSET_RTC_IRQ);
	aml_resources_end(aml);
	aml_end(aml);
}

const struct device_type rtc_type = {
	.name = "rtc",
	.help = "MC146818 real-time clock and CMOS RAM",
	.size = sizeof(struct rtc),
	.version = 1,
	CHIPSET_FIELDS(rtc_fields),
	.create = rtc_create,
	.destroy = rtc_destroy,
	.reset = rtc_reset,
	.loaded = rtc_loaded,
	.acpi = rtc_acpi,
};
