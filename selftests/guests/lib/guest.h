/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * guest.h - what a bare-metal test guest has: ports, MSRs, a serial line, interrupt gates, PCI.
 */
#ifndef HV_GUEST_H
#define HV_GUEST_H

#include <stdbool.h>
#include <stdint.h>

static inline void outb(uint16_t port, uint8_t v) { asm volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outw(uint16_t port, uint16_t v) { asm volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t v) { asm volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	asm volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

static inline uint32_t mmio_read(uint64_t at) { return *(volatile uint32_t *)at; }
static inline void mmio_write(uint64_t at, uint32_t v) { *(volatile uint32_t *)at = v; }

/* Serial line 0x3f8; "%s" and "%u" (uint64_t) only. */
void print(const char *format, ...);
/* Ends by port 0xf4 (status 2 * code + 1), else by halting. */
void guest_exit(int code) __attribute__((noreturn));

/* 64-bit interrupt gate; handlers are __attribute__((interrupt)). */
void guest_gate(uint8_t vector, void *handler);

/* Bus 0 configuration space by 0xcf8; returns ~0 where nothing is. */
uint32_t pci_read(uint8_t devfn, uint8_t offset);
void pci_write(uint8_t devfn, uint8_t offset, uint32_t v);

#endif
