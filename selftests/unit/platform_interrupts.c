// SPDX-License-Identifier: GPL-2.0-only
/*
 * platform_interrupts.c - the 8259 pair and the I/O APIC (vmm/platform/pic.c, ioapic.c): set up as
 * Linux and DOS-age code do it, every priority and EOI rule once, level and edge, save and load.
 */
#include "platform_vm.h"
#include "vmm/platform/chipset.h"

static struct vm *vm;
static struct device *pic, *ioapic;
static bool intr;
static struct {
	uint64_t address;
	uint32_t data;
	unsigned int count;
	int answer;
} msi = { .answer = 1 };

static void set_intr(struct vm *v, bool level)
{
	intr = level;
}

static int send(struct vm *v, uint64_t address, uint32_t data)
{
	msi.address = address;
	msi.data = data;
	msi.count++;
	return msi.answer;
}

static void out(uint16_t port, uint8_t value)
{
	pv_out(vm, port, 1, value);
}

static uint8_t in(uint16_t port)
{
	return pv_in(vm, port, 1);
}

static void pulse(unsigned int irq)
{
	pic_input(pic, irq, true);
	pic_input(pic, irq, false);
}

static uint8_t isr(uint16_t port)
{
	out(port, 0x0b);
	return in(port);
}

static uint8_t irr(uint16_t port)
{
	out(port, 0x0a);
	return in(port);
}

/* As init_8259A() in Linux: vectors from 0x30, @icw4 for the master; all inputs open. */
static void init(uint8_t icw4)
{
	device_lock(pic);
	pic->type->reset(pic);
	device_unlock(pic);
	out(0x20, 0x11);
	out(0x21, 0x30);
	out(0x21, 0x04);
	out(0x21, icw4);
	out(0xa0, 0x11);
	out(0xa1, 0x38);
	out(0xa1, 0x02);
	out(0xa1, 0x01);
	out(0x21, 0);
	out(0xa1, 0);
	pv_out(vm, 0x4d0, 2, 0);
}

static void check_pic_basics(void)
{
	device_lock(pic);
	pic->type->reset(pic);
	device_unlock(pic);
	pulse(0);
	ktap_check(!intr && pic_acknowledge(pic) == -1, "after reset all is masked");
	init(1);
	/* The probe of probe_8259A(): a mask reads back. */
	out(0xa1, 0xff);
	out(0x21, 0xfb);
	ktap_check(in(0x21) == 0xfb && in(0xa1) == 0xff, "the mask reads back");
	out(0x21, 0);
	out(0xa1, 0);
	pulse(1);
	ktap_check(intr && irr(0x20) == 2 && pic_acknowledge(pic) == 0x31 && !intr &&
		   isr(0x20) == 2 && !irr(0x20), "an edge is latched, acknowledged and in service");
	pulse(3);
	ktap_check(!intr, "a lower one waits");
	pulse(0);
	ktap_check(intr && pic_acknowledge(pic) == 0x30, "a higher one interrupts it");
	out(0x20, 0x20);
	ktap_check(isr(0x20) == 2, "non-specific EOI ends the highest");
	out(0x20, 0x20);
	ktap_check(intr && pic_acknowledge(pic) == 0x33 && (out(0x20, 0x63), !isr(0x20)),
		   "then the one that waited; specific EOI ends it");
	pulse(9);
	ktap_check(intr && pic_acknowledge(pic) == 0x39 && isr(0x20) == 4 && isr(0xa0) == 2,
		   "the slave's vector; both chips serve it");
	pulse(8);
	ktap_check(!intr, "without special fully nested mode the slave waits for the master");
	out(0xa0, 0x20);
	out(0x20, 0x20);
	ktap_check(pic_acknowledge(pic) == 0x38, "and comes when it is done");
	out(0xa0, 0x20);
	out(0x20, 0x20);
	ktap_check(pic_acknowledge(pic) == -1 && !isr(0x20) && !isr(0xa0),
		   "nothing more: no vector, nothing in service");
}

static void check_pic_modes(void)
{
	init(0x11);
	pulse(9);
	pic_acknowledge(pic);
	pulse(8);
	ktap_check(intr && pic_acknowledge(pic) == 0x38, "special fully nested: the slave nests");
	init(0x03);
	pulse(4);
	ktap_check(pic_acknowledge(pic) == 0x34 && !isr(0x20), "automatic EOI");
	out(0x20, 0x80);
	pulse(4);
	pic_acknowledge(pic);
	pulse(4);
	pulse(5);
	ktap_check(pic_acknowledge(pic) == 0x35, "rotation in automatic EOI: 4 is lowest now");
	init(1);
	out(0x20, 0xc3);
	pulse(3);
	pulse(4);
	ktap_check(pic_acknowledge(pic) == 0x34, "set priority: after 3 comes 4");
	out(0x20, 0xa0);
	pulse(5);
	ktap_check(pic_acknowledge(pic) == 0x35, "rotate on EOI: 4 is lowest, 5 highest");
	init(1);
	pulse(1);
	pic_acknowledge(pic);
	out(0x21, 0x02);
	out(0x20, 0x68);
	pulse(6);
	ktap_check(intr && pic_acknowledge(pic) == 0x36, "special mask mode: what is masked does not block");
	out(0x20, 0x20);
	ktap_check(isr(0x20) == 2, "nor does a non-specific EOI see it");
	init(1);
	pulse(5);
	out(0x20, 0x0c);
	ktap_check(in(0x20) == 0x85 && isr(0x20) == 0x20 && !intr, "poll acknowledges");
	out(0x20, 0x0c);
	ktap_check(in(0x20) == 0, "poll without request");
	init(1);
	out(0x20, 0x13);	/* single, then ICW2 and ICW4 only */
	out(0x21, 0x50);
	out(0x21, 0x01);
	out(0x21, 0xfe);
	pulse(0);
	ktap_check(pic_acknowledge(pic) == 0x50, "single mode has no ICW3");
	out(0x20, 0x11);
	pulse(0);
	ktap_check(!intr, "half initialised it asks for nothing");
}

static void check_pic_level(void)
{
	init(1);
	pv_out(vm, 0x4d0, 2, 0xffff);
	ktap_check(pv_in(vm, 0x4d0, 2) == 0xdef8, "timer, keyboard, cascade, RTC and FPU stay edges");
	pv_out(vm, 0x4d0, 2, 0x0c00);
	pic_input(pic, 10, true);
	pic_acknowledge(pic);
	out(0xa0, 0x20);
	out(0x20, 0x20);
	ktap_check(intr, "a level asks again after the EOI");
	pic_input(pic, 10, false);
	ktap_check(!intr && pic_acknowledge(pic) == -1, "and stops with the line");
	pic_input_pirq(pic, 1 << 11);
	ktap_check(intr && pic_acknowledge(pic) == 0x3b, "a routed PCI interrupt");
	out(0xa0, 0x20);
	out(0x20, 0x20);
	pic_input(pic, 11, true);
	pic_input_pirq(pic, 0);
	ktap_check(intr, "shared with an ISA line that is still up");
	pic_input(pic, 11, false);
	pic_input(pic, 10, true);
	ktap_check(pv_survives_save(pic) && intr, "save and load keep it, INTR included");
	pic_input(pic, 10, false);
}

/* ------------------------------------------------------------------ */

static uint32_t reg(uint8_t n)
{
	pv_write(vm, 0xfec00000, 4, n);
	return pv_read(vm, 0xfec00010, 4);
}

static void set(uint8_t n, uint32_t value)
{
	pv_write(vm, 0xfec00000, 4, n);
	pv_write(vm, 0xfec00010, 4, value);
}

static void route(unsigned int pin, uint32_t low, uint8_t dest)
{
	set(0x11 + 2 * pin, (uint32_t)dest << 24);
	set(0x10 + 2 * pin, low);
	msi.count = 0;
}

static void check_ioapic_registers(void)
{
	device_lock(ioapic);
	ioapic->type->reset(ioapic);
	device_unlock(ioapic);
	ktap_check(reg(1) == 0x170020 && reg(0x10) == 0x10000 && reg(0x3e) == 0x10000,
		   "24 entries, version 0x20, all masked");
	set(0, 0x0f000000);
	ktap_check(reg(0) == 0x0f000000 && reg(2) == 0x0f000000, "its id");
	set(0, 0);
	set(0x10 + 2 * 5, 0xffffffff);
	set(0x11 + 2 * 5, 0xffffffff);
	ktap_check(reg(0x10 + 2 * 5) == 0x1afff && reg(0x11 + 2 * 5) == 0xff000000,
		   "status bits and reserved ones cannot be written");
	ktap_check(reg(0x40) == 0 && reg(0xff) == 0, "registers that are not there read zero");
	route(5, 0x10000, 0);
}

static void check_ioapic_edge(void)
{
	msi.count = 0;
	route(4, 0x41, 3);
	ioapic_input(ioapic, 4, true);
	ktap_check(msi.count == 1 && msi.address == 0xfee03000 && msi.data == 0x41,
		   "an edge: destination and vector");
	ioapic_input(ioapic, 4, true);
	ioapic_input(ioapic, 4, false);
	ktap_check(msi.count == 1, "the same level again is no edge, nor is its fall");
	route(4, 0x10041, 3);
	ioapic_input(ioapic, 4, true);
	ioapic_input(ioapic, 4, false);
	ktap_check(msi.count == 0, "masked: nothing");
	set(0x10 + 8, 0x41);
	ktap_check(msi.count == 1, "it was latched, and comes with the unmasking");
	set(0x10 + 8, 0x41);
	ktap_check(msi.count == 1, "once");
	route(4, 0x941, 0x80);
	ioapic_input(ioapic, 4, true);
	ktap_check(msi.address == 0xfee80004 && msi.data == 0x141, "logical, lowest priority");
	ioapic_input(ioapic, 4, false);
	route(4, 0x400, 1);
	ioapic_input(ioapic, 4, true);
	ktap_check(msi.data == 0x400 && msi.address == 0xfee01000, "NMI");
	ioapic_input(ioapic, 4, false);
	route(4, 0x10000, 0);
}

static void check_ioapic_level(void)
{
	route(16, 0xa051, 0);
	ioapic_input(ioapic, 16, true);
	ktap_check(msi.count == 1 && msi.data == 0xc051 && (reg(0x30) & 0x4000),
		   "a level: trigger mode in the message, remote IRR");
	ioapic_input(ioapic, 16, false);
	ioapic_input(ioapic, 16, true);
	ktap_check(msi.count == 1, "remote IRR holds it back");
	ioapic_eoi(ioapic, 0x50);
	ktap_check(msi.count == 1, "another vector's EOI is not its own");
	ioapic_eoi(ioapic, 0x51);
	ktap_check(msi.count == 2, "its EOI with the line still up: again");
	ioapic_input(ioapic, 16, false);
	ioapic_eoi(ioapic, 0x51);
	ktap_check(msi.count == 2 && !(reg(0x30) & 0x4000), "EOI after the line fell: quiet");
	set(0x30, 0x1a051);
	ioapic_input(ioapic, 16, true);
	set(0x30, 0xa051);
	ktap_check(msi.count == 3, "unmasked with the line up");
	ioapic_input(ioapic, 16, false);
	pv_write(vm, 0xfec00040, 4, 0x51);
	ktap_check(!(reg(0x30) & 0x4000), "the EOI register ends it too");
	ioapic_input(ioapic, 16, true);
	/* What Linux does to an I/O APIC without EOI register: to edge and back. */
	set(0x30, 0x12051);
	ktap_check(!(reg(0x30) & 0x4000), "edge mode clears remote IRR");
	set(0x30, 0xa051);
	ktap_check(reg(0x30) & 0x4000, "back to level it is sent anew");
	ioapic_input(ioapic, 16, false);
	ioapic_eoi(ioapic, 0x51);
	msi.answer = 0;
	ioapic_input(ioapic, 16, true);
	ktap_check(!(reg(0x30) & 0x4000), "nobody took it: no remote IRR, or it would wait for ever");
	msi.answer = 1;
	set(0x30, 0xa051);
	ktap_check(reg(0x30) & 0x4000, "the next chance delivers");
	msi.count = 0;
	ktap_check(pv_survives_save(ioapic) && msi.count == 0, "save and load, and nothing is sent by it");
	ioapic_input(ioapic, 16, false);
}

int main(void)
{
	static const struct pic_args pic_args = { .intr = set_intr };
	static const struct ioapic_args ioapic_args = { .send = send };

	ktap_plan(51);
	vm = pv_create(NULL);
	if (device_create(vm, "pic", NULL, "", &pic_args, &pic) ||
	    device_create(vm, "ioapic", NULL, "", &ioapic_args, &ioapic))
		ktap_bail("no devices");
	check_pic_basics();
	check_pic_modes();
	check_pic_level();
	check_ioapic_registers();
	check_ioapic_edge();
	check_ioapic_level();
	pv_destroy(vm);
	return ktap_finish();
}
