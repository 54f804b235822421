// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest.c - see guest.h.
 */
#include <stdarg.h>
#include "guest.h"

#define COM1 0x3f8

static void put(char c)
{
	while (!(inb(COM1 + 5) & 0x20))
		;
	outb(COM1, c);
}

static void put_number(uint64_t n)
{
	char digits[20];
	int i = 0;

	do {
		digits[i++] = '0' + n % 10;
		n /= 10;
	} while (n);
	while (i)
		put(digits[--i]);
}

void print(const char *format, ...)
{
	const char *s;
	va_list ap;

	va_start(ap, format);
	for (; *format; format++) {
		if (*format != '%') {
			if (*format == '\n')
				put('\r');
			put(*format);
			continue;
		}
		format++;
		if (*format == 'u')
			put_number(va_arg(ap, uint64_t));
		else if (*format == 's')
			for (s = va_arg(ap, const char *); *s; s++)
				put(*s);
	}
	va_end(ap);
}

void guest_exit(int code)
{
	/* The last character has left the port when it is idle. */
	while (!(inb(COM1 + 5) & 0x40))
		;
	outl(0xf4, code);
	for (;;)
		asm volatile("cli; hlt");
}

struct gate {
	uint16_t low, selector, type, middle;
	uint32_t high, zero;
};

static struct gate idt[256] __attribute__((aligned(16)));

void guest_gate(uint8_t vector, void *handler)
{
	uint64_t at = (uint64_t)handler;
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = { sizeof(idt) - 1, (uint64_t)idt };

	idt[vector] = (struct gate){ at, 8, 0x8e00, at >> 16, at >> 32, 0 };
	asm volatile("lidt %0" : : "m"(idtr));
}

static uint32_t pci_address(uint8_t devfn, uint8_t offset)
{
	return 0x80000000u | (uint32_t)devfn << 8 | (offset & 0xfc);
}

uint32_t pci_read(uint8_t devfn, uint8_t offset)
{
	outl(0xcf8, pci_address(devfn, offset));
	return inl(0xcfc);
}

void pci_write(uint8_t devfn, uint8_t offset, uint32_t v)
{
	outl(0xcf8, pci_address(devfn, offset));
	outl(0xcfc, v);
}
