// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmm_control.c - a guest that does what it is told on its serial line, for the
 * tests of the vmm's control: one letter each.
 *
 *	p power off    r reset by 0xcf9    k reset by the keyboard controller
 *	t triple fault x exit port, 5      c print the counter
 *	P say "panic" to pvpanic           m read memory nobody has
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
		case 'P':
			outb(PVPANIC, 1);
			break;
		case 'm':
			print("mmio %u\n", (uint64_t)mmio_read(0xfd000000));
			break;
		}
	}
}
