// SPDX-License-Identifier: GPL-2.0-only
/*
 * platform_ports.c - the small devices of vmm/platform: keyboard controller, port 0x92, reset
 * control, panic, debug and exit ports, firmware configuration, test device; the wiring of
 * platform.c; and a guest that writes anything to every port.
 */
#include "platform_vm.h"
#include "vmm/pci/pci.h"
#include "vmm/platform/chipset.h"

static struct vm *vm;

static uint8_t in(uint16_t port)
{
	return pv_in(vm, port, 1);
}

static void out(uint16_t port, uint8_t value)
{
	pv_out(vm, port, 1, value);
}

static void reset(struct device *dev)
{
	if (!dev->type->reset)
		return;
	device_lock(dev);
	dev->type->reset(dev);
	device_unlock(dev);
}

static bool was_reset(void)
{
	bool was = vm->want_reset;

	vm->want_reset = false;
	return was;
}

static void check_resets(void)
{
	ktap_check((in(0x64) & 0x05) == 0x04, "keyboard controller: idle");
	out(0x64, 0xaa);
	ktap_check((in(0x64) & 1) && in(0x60) == 0x55 && !(in(0x64) & 1), "its self test");
	out(0x64, 0x60);
	out(0x60, 0x47);
	out(0x64, 0x20);
	ktap_check(in(0x60) == 0x47, "its configuration byte");
	out(0x60, 0xff);
	ktap_check(!(in(0x64) & 1), "no keyboard answers");
	out(0x64, 0xd0);
	ktap_check(in(0x60) == 0x03 && !was_reset(), "its output port: A20 on, no reset");
	out(0x64, 0xfe);
	ktap_check(was_reset(), "0xfe resets");
	out(0x64, 0xff);
	ktap_check(!was_reset(), "a pulse of no line does not");
	out(0x64, 0xd1);
	out(0x60, 0x02);
	ktap_check(was_reset(), "bit 0 of the output port low resets");
	out(0x92, 0x02);
	ktap_check(in(0x92) == 0x02 && !was_reset(), "port 0x92: A20");
	out(0x92, 0x03);
	ktap_check(was_reset(), "port 0x92: reset");
	out(0xcf9, 0x02);
	ktap_check(!was_reset() && in(0xcf9) == 0x02, "0xcf9: kind of reset");
	out(0xcf9, 0x06);
	ktap_check(was_reset(), "0xcf9: reset");
	pv_out(vm, 0xcf8, 4, 0x80000610);
	ktap_check(pv_in(vm, 0xcf8, 4) == 0x80000610 && !was_reset(), "a PCI address does not");
	device_reset_all(vm);
}

static void check_debug_ports(void)
{
	const char *p;

	ktap_check(in(0x402) == 0xe9 && in(0x505) == 3, "debug and panic ports are there");
	for (p = "unit test says hello\n"; *p; p++)
		out(0x402, *p);
	out(0x505, 2);
	ktap_check(!vm->want_stop, "a panic that the guest handles goes on");
	out(0x505, 1);
	ktap_check(vm->want_stop && vm->cause == VM_CAUSE_PANIC, "a panic ends");
	vm->want_stop = false;
	pv_out(vm, 0xf4, 4, 0);
	ktap_check(vm->cause == VM_CAUSE_DEBUG_EXIT && vm->exit_status == 1, "exit port: 0 gives 1");
	pv_out(vm, 0xf4, 1, 0x10);
	ktap_check(vm->exit_status == 0x21, "exit port: 0x10 gives 0x21");
	vm->want_stop = false;
}

static uint64_t fw_read(uint16_t key, unsigned int len)
{
	uint64_t value = 0;
	unsigned int i;

	pv_out(vm, 0x510, 2, key);
	for (i = 0; i < len; i++)
		value |= (uint64_t)in(0x511) << (8 * i);
	return value;
}

static void check_fw_cfg(void)
{
	char name[57] = "";
	uint32_t files;
	unsigned int i, size;
	uint16_t key;

	ktap_check(fw_read(0, 4) == 0x554d4551 && fw_read(1, 4) == 1, "signature and id");
	ktap_check(fw_read(5, 2) == 3 && fw_read(0x0f, 2) == 3 && fw_read(3, 8) == 64 << 20,
		   "CPUs and memory");
	ktap_check(fw_read(0x7777, 4) == 0 && fw_read(5, 8) == 3, "missing keys and ends read zero");
	files = __builtin_bswap32(fw_read(0x19, 4));
	size = __builtin_bswap32(in(0x511) | in(0x511) << 8 | in(0x511) << 16 |
				 (uint32_t)in(0x511) << 24);
	key = in(0x511) << 8;
	key |= in(0x511);
	in(0x511);
	in(0x511);
	for (i = 0; i < 56; i++)
		name[i] = in(0x511);
	ktap_check(files == 1 && !strcmp(name, "etc/e820") && size % 20 == 0 &&
		   fw_read(key, 8) == 0 && key == 0x20, "directory: %s, %u bytes", name, size);
}

static void check_testdev(void)
{
	struct guest_pin pin;

	pv_out(vm, 0xe0, 4, 0x12345678);
	ktap_check(pv_in(vm, 0xe0, 4) == 0x12345678 && pv_in(vm, 0xea, 1) == 0x34 &&
		   pv_in(vm, 0xe8, 2) == 0x5678, "latch");
	out(0xe9, 0xab);
	ktap_check(pv_in(vm, 0xe0, 4) == 0x1234ab78, "latch by bytes");
	pv_write(vm, 0xff000ff8, 8, 0x1122334455667788);
	ktap_check(pv_read(vm, 0xff000ffc, 4) == 0x11223344 && pv_read(vm, 0xff00fff8, 8) == 0,
		   "its memory");
	guest_write(vm, 0x5000, "keep", 4);
	pv_out(vm, 0xe4, 4, 0x5123);
	ktap_check(!guest_pin(vm, 0x5000, 4, GUEST_READ, &pin) && !memcmp(pin.hva, "keep", 4),
		   "a page that was taken away comes back as it was");
	guest_unpin(vm, &pin, 0);
	pv_out(vm, 0xe4, 4, 0xfff00000);
	ktap_check(true, "a page that is no RAM is refused");
}

static void check_wiring(void)
{
	/* The 8259 as the witness: IRR of both, edges only. */
	out(0x20, 0x11);
	out(0x21, 0x20);
	out(0x21, 4);
	out(0x21, 1);
	out(0xa0, 0x11);
	out(0xa1, 0x28);
	out(0xa1, 2);
	out(0xa1, 1);
	out(0xa1, 0xff);
	out(0x2005, 1);
	out(0x200e, 1);
	out(0x2002, 1);
	out(0x20, 0x0a);
	out(0xa0, 0x0a);
	ktap_check(in(0x20) == 0x20 && in(0xa0) == 0x40, "test lines 5 and 14 reach the 8259s, 2 does not");
	out(0x2005, 0);
	out(0x200e, 0);
	out(0x2002, 0);
	pv_out(vm, 0xcf8, 4, 0x8000f860);
	pv_out(vm, 0xcfc, 1, 0x0a);
	out(0x2010, 1);
	ktap_check(in(0xa0) & 4, "GSI 16 comes by its PIRQ route to IRQ 10");
	pv_out(vm, 0xcfc, 1, 0x8a);
	pv_out(vm, 0x4d0, 2, 0x0400);
	ktap_check(!(in(0xa0) & 4), "not when the route is off");
	out(0x2010, 0);
	/* Routed by firmware, used through the 8259s only. */
	out(0x21, 0);
	ktap_check(platform_inta(vm) == 0x25, "INTA gives the vector of what is latched");
	platform_eoi(vm, 0x55);
	ktap_check(true, "an EOI that nobody waits for is harmless");
}

static void check_hostile(void)
{
	struct device *dev;
	bool survive = true;
	unsigned int i;

	for (i = 0; i < 400000; i++) {
		uint64_t r = pv_random();
		unsigned int size = 1 << (r >> 16) % 3;
		uint16_t port = r;

		/* Ports where something is, mostly. */
		if (r >> 20 & 7)
			port = r & 0x400 ? r & 0x3ff : 0x500 | (r & 0x1ff);
		/* The page a test guest takes away may be one a vCPU runs on: not here. */
		if (port >= 0xe1 && port < 0xe8)
			continue;
		if (r >> 24 & 1)
			pv_out(vm, port, size, r >> 32);
		else
			pv_in(vm, port, size);
		if (!(i & 63))
			pv_write(vm, 0xfec00000 + (r >> 40 & 0x50), 1 << (r >> 50 & 3), pv_random());
		if (!(i & 255))
			pv_advance(vm, r >> 40 & 0xfffff);
		if (!(i & 4095)) {
			platform_inta(vm);
			platform_eoi(vm, r >> 8);
			platform_power_button(vm);
		}
	}
	ktap_check(true, "400000 random port accesses");
	for (dev = vm->devices; dev; dev = dev->next)
		if (!pv_survives_save(dev) && strcmp(dev->id, "rtc")) {
			ktap_note("%s does not survive save and load", dev->id);
			survive = false;
		}
	ktap_check(survive, "whatever state they are in survives save and load");
	for (dev = vm->devices; dev; dev = dev->next) {
		uint8_t *state;
		size_t len;

		for (i = 0; i < 300; i++) {
			unsigned int n = 1 + pv_random() % 4;

			if (device_save(dev, &state, &len))
				ktap_bail("no memory");
			while (n-- && len > 8)
				state[8 + pv_random() % (len - 8)] = pv_random();
			/* After a refusal a VM ends; a device that was refused is not run. */
			if (device_load(dev, state, pv_random() & 7 ? len : pv_random() % len))
				reset(dev);
			free(state);
			pv_in(vm, pv_random() & 0x3ff, 1);
			pv_advance(vm, 100000);
		}
	}
	ktap_check(true, "damaged streams are refused or harmless");
	device_reset_all(vm);
	ktap_check((in(0x3fd) & 0x60) == 0x60 && in(0x64) == 0x14 && pv_in(vm, 0xcf8, 4) == 0 &&
		   !platform_boot_prepare(vm, &(uint64_t){ 0 }), "a reset makes all well");
}

int main(void)
{
	static const char *const settings[] = {
		"memory", "64M", "cpus", "3", "debug.port402", "true", "debug.exit", "true",
		"debug.testdev", "true", NULL,
	};

	ktap_plan(36);
	vm = pv_create(settings);
	if (platform_create(vm))
		ktap_bail("platform_create failed");
	device_reset_all(vm);
	check_resets();
	check_debug_ports();
	check_fw_cfg();
	check_testdev();
	check_wiring();
	check_hostile();
	pv_destroy(vm);
	return ktap_finish();
}
