// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmm_control.c - a guest that does what it is told on its serial line, for the
 * tests of the vmm's control: one letter each.
 *
 *	p power off    r reset by 0xcf9    k reset by the keyboard controller
 *	t triple fault x exit port, 5      c print the counter
 *	P say "panic" to pvpanic           m read memory nobody has
 *	T print the TSC (in 2^20) and kvmclock (in ms)
 *
 * It counts all the time, prints "ready N" when it starts (N: starts since its
 * memory was new), and powers off when its power button is pressed.
 */
#include "lib/guest.h"

#define COM1		0x3f8
#define PM1_STATUS	0x600
#define PM1_CONTROL	0x604
#define PM1_POWER	0x100
#define PVPANIC		0x505

/* Not in .bss, which the loader clears. */
static volatile uint64_t *const starts = (volatile uint64_t *)0x3000000;

static uint16_t inw(uint16_t port)
{
	uint16_t v;

	asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static void power_off(void)
{
	while (!(inb(COM1 + 5) & 0x40))
		;
	outw(PM1_CONTROL, 1 << 13);
}

/* Documentation/virt/kvm/x86/msr.rst of Linux, MSR_KVM_SYSTEM_TIME_NEW. */
static struct {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
} volatile kvmclock __attribute__((aligned(64)));

static uint64_t kvmclock_ms(void)
{
	uint32_t version;
	uint64_t delta, ns;

	wrmsr(0x4b564d01, (uint64_t)&kvmclock | 1);
	do {
		version = kvmclock.version;
		delta = rdtsc() - kvmclock.tsc;
		delta = kvmclock.shift < 0 ? delta >> -kvmclock.shift : delta << kvmclock.shift;
		ns = kvmclock.ns + (uint64_t)((unsigned __int128)delta * kvmclock.mul >> 32);
	} while ((version & 1) || version != kvmclock.version);
	return ns / 1000000;
}

int main(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) no_idt;
	uint64_t count = 0;

	++*starts;
	print("ready %u\n", *starts);
	for (;; count++) {
		if (inw(PM1_STATUS) & PM1_POWER) {
			outw(PM1_STATUS, PM1_POWER);
			print("button\n");
			power_off();
		}
		if (!(inb(COM1 + 5) & 1))
			continue;
		switch (inb(COM1)) {
		case 'p':
			power_off();
			break;
		case 'r':
			outb(0xcf9, 0x06);
			break;
		case 'k':
			outb(0x64, 0xfe);
			break;
		case 't':
			asm volatile("lidt %0; int3" : : "m"(no_idt));
			break;
		case 'x':
			guest_exit(5);
		case 'c':
			print("count %u\n", count);
			break;
		case 'T':
			print("tsc %u clock %u\n", rdtsc() >> 20, kvmclock_ms());
			break;
		case 'P':
			outb(PVPANIC, 1);
			break;
		case 'm':
			print("mmio %u\n", (uint64_t)mmio_read(0xfd000000));
			break;
		}
	}
}
