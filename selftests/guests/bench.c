// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench.c - what one exit of each kind costs, in TSC ticks.
 *
 * The same image runs under hv and under KVM with QEMU.  Each line is the median of ROUNDS rounds
 * of TURNS turns, with the cost of the empty loop taken off.
 *
 *	cpuid		CPUID, leaf 0
 *	port-user	IN of 4 bytes at 0xe0, the latch of pc-testdev: userspace, a copy as body
 *	mmio-user	load of 4 bytes at 0xff000000, the memory of pc-testdev: the same
 *	doorbell	virtio notify of an idle entropy device, an eventfd on both sides
 *	self-ipi	ICR write to handler and EOI, x2APIC where there is one
 *	tsc-deadline	arming a deadline of now to handler and EOI
 */
#include "lib/guest.h"

#define ROUNDS	9
#define TURNS	200

#define APIC_BASE	0x1b
#define TSC_DEADLINE	0x6e0
#define VECTOR		0x50

static bool x2apic;
static volatile uint32_t fired;
static uint64_t notify_at;
static bool notify_is_port;

static uint32_t apic_read(uint32_t reg)
{
	return x2apic ? rdmsr(0x800 + (reg >> 4)) : mmio_read(0xfee00000 + reg);
}

static void apic_write(uint32_t reg, uint32_t v)
{
	if (x2apic)
		wrmsr(0x800 + (reg >> 4), v);
	else
		mmio_write(0xfee00000 + reg, v);
}

__attribute__((interrupt)) static void handler(void *frame)
{
	(void)frame;
	fired++;
	apic_write(0xb0, 0);
}

/* ---- the loops ---- */

static void turn_empty(void)
{
	asm volatile("" : : : "memory");
}

static void turn_cpuid(void)
{
	uint32_t r[4];

	cpuid(0, 0, r);
}

static void turn_port(void)
{
	inl(0xe0);
}

static void turn_mmio(void)
{
	mmio_read(0xff000000);
}

static void turn_doorbell(void)
{
	if (notify_is_port)
		outw(notify_at, 0);
	else
		*(volatile uint16_t *)notify_at = 0;
}

static void wait_for(uint32_t n)
{
	while (fired != n)
		asm volatile("" : : : "memory");
}

static void turn_ipi(void)
{
	uint32_t n = fired + 1;

	apic_write(0x300, 0x40000 | VECTOR);	/* fixed, self */
	wait_for(n);
}

static void turn_deadline(void)
{
	uint32_t n = fired + 1;

	wrmsr(TSC_DEADLINE, rdtsc());
	wait_for(n);
}

static uint64_t median(uint64_t *v)
{
	uint64_t t;
	int i, j;

	for (i = 0; i < ROUNDS; i++)
		for (j = i + 1; j < ROUNDS; j++)
			if (v[j] < v[i]) {
				t = v[i];
				v[i] = v[j];
				v[j] = t;
			}
	return v[ROUNDS / 2];
}

static uint64_t measure(void (*turn)(void))
{
	uint64_t v[ROUNDS], start;
	int round, i;

	turn();
	for (round = 0; round < ROUNDS; round++) {
		start = rdtsc();
		for (i = 0; i < TURNS; i++)
			turn();
		v[round] = rdtsc() - start;
	}
	return median(v) / TURNS;
}

/* ---- virtio: just enough for a queue that can be notified (virtio 1.2, 4.1.4, 3.1) ---- */

static uint8_t rings[3][4096] __attribute__((aligned(4096)));

static uint64_t bar_address(uint8_t devfn, int bar, bool *port)
{
	uint32_t v = pci_read(devfn, 0x10 + 4 * bar);

	*port = v & 1;
	if (v & 1)
		return v & ~3u;
	return (v & ~0xfu) | ((v & 6) == 4 ? (uint64_t)pci_read(devfn, 0x14 + 4 * bar) << 32 : 0);
}

/* Finds an entropy device, gives it one empty queue, and keeps where its notify is. */
static bool virtio_start(void)
{
	uint64_t common = 0, multiplier, at;
	bool port, found = false;
	uint8_t devfn, cap;
	uint32_t v, off;
	int dev;

	for (dev = 0; dev < 32; dev++)
		if (pci_read(dev << 3, 0) == 0x10441af4)
			break;
	if (dev == 32)
		return false;
	devfn = dev << 3;
	pci_write(devfn, 4, pci_read(devfn, 4) | 7);
	for (cap = pci_read(devfn, 0x34) & 0xfc; cap; cap = (v >> 8) & 0xfc) {
		v = pci_read(devfn, cap);
		if ((v & 0xff) != 9)
			continue;
		at = bar_address(devfn, pci_read(devfn, cap + 4) & 0xff, &port);
		off = pci_read(devfn, cap + 8);
		if (v >> 24 == 1 && !port)
			common = at + off;
		/* Both sides put the cheapest way first; a port beats memory. */
		if (v >> 24 == 2 && (!found || (port && !notify_is_port))) {
			multiplier = pci_read(devfn, cap + 16);
			(void)multiplier;	/* queue 0: offset 0 */
			notify_at = at + off;
			notify_is_port = port;
			found = true;
		}
	}
	if (!common || !found)
		return false;
	*(volatile uint8_t *)(common + 0x14) = 0;
	*(volatile uint8_t *)(common + 0x14) = 3;
	mmio_write(common + 0x08, 1);			/* driver features 63:32 */
	mmio_write(common + 0x0c, 1);			/* VERSION_1 */
	*(volatile uint8_t *)(common + 0x14) = 11;
	*(volatile uint16_t *)(common + 0x16) = 0;	/* queue 0 */
	*(volatile uint16_t *)(common + 0x18) = 8;
	mmio_write(common + 0x20, (uint64_t)rings[0]);
	mmio_write(common + 0x24, 0);
	mmio_write(common + 0x28, (uint64_t)rings[1]);
	mmio_write(common + 0x2c, 0);
	mmio_write(common + 0x30, (uint64_t)rings[2]);
	mmio_write(common + 0x34, 0);
	*(volatile uint16_t *)(common + 0x1c) = 1;
	*(volatile uint8_t *)(common + 0x14) = 15;
	return *(volatile uint8_t *)(common + 0x14) == 15;
}

int main(void)
{
	uint32_t r[4];
	uint64_t empty;

	cpuid(1, 0, r);
	x2apic = r[2] >> 21 & 1;
	if (x2apic)
		wrmsr(APIC_BASE, rdmsr(APIC_BASE) | 0xc00);
	apic_write(0xf0, 0x1ff);
	guest_gate(VECTOR, handler);
	guest_gate(0xff, handler);
	print("bench: start, %s\n", x2apic ? "x2APIC" : "xAPIC");

	empty = measure(turn_empty);
	print("bench: cpuid %u\n", measure(turn_cpuid) - empty);
	print("bench: port-user %u\n", measure(turn_port) - empty);
	print("bench: mmio-user %u\n", measure(turn_mmio) - empty);
	if (virtio_start())
		print("bench: doorbell %u\n", measure(turn_doorbell) - empty);
	outb(0x21, 0xff);	/* whatever firmware left of the 8259 */
	outb(0xa1, 0xff);
	asm volatile("sti");
	print("bench: self-ipi %u\n", measure(turn_ipi) - empty);
	if (r[2] >> 24 & 1) {
		apic_write(0x320, 0x40000 | VECTOR);	/* LVT timer: TSC deadline */
		asm volatile("mfence" : : : "memory");
		print("bench: tsc-deadline %u\n", measure(turn_deadline) - empty);
	}
	asm volatile("cli");
	print("bench: end, ISR %u\n", (uint64_t)apic_read(0x120));
	return 0;
}
