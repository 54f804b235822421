// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio_console.c - the virtio console (vmm/virtio/console.c), with a console that takes as much
 * as the test lets it (platform_vm.h).
 */
#include "virtio_driver.h"

#define MODERN	(1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_EVENT_IDX)
#define RX	0
#define TX	1

static struct vm *vm;
static struct vd d;

static void let(size_t room)
{
	device_lock(&d.pci->dev);
	pv_console.room = room;
	pv_console.len = 0;
	device_unlock(&d.pci->dev);
}

static bool wrote(struct vd *dd, uint64_t n)
{
	bool good;

	device_lock(&dd->pci->dev);
	good = pv_console.len >= n;
	device_unlock(&dd->pci->dev);
	return good;
}

static size_t type(const char *text, size_t len)
{
	size_t n;

	device_lock(&d.pci->dev);
	n = pv_console.ops->rx(&d.pci->dev, (const uint8_t *)text, len);
	device_unlock(&d.pci->dev);
	return n;
}

static void test_tx(void)
{
	struct vd_buf buf[2] = { { VD_DATA, 10, false }, { VD_DATA + 100, 1990, false } };
	struct vd_used used;
	char text[2000];
	size_t i;

	for (i = 0; i < sizeof(text); i++)
		text[i] = 'a' + i % 26;
	vd_put(&d, VD_DATA, text, 10);
	vd_put(&d, VD_DATA + 100, text + 10, 1990);
	vd_start(&d, MODERN, 16);
	let(4096);
	ktap_check(vd_do(&d, TX, buf, 2, &used) && pv_console.len == 2000 &&
		   !memcmp(pv_console.out, text, 2000), "a line of two pieces");
	let(700);
	vd_add(&d, TX, buf, 2);
	vd_add(&d, TX, buf, 1);
	vd_publish(&d, TX);
	vd_kick(&d, TX);
	ktap_check(vd_wait_until(wrote, &d, 700) && !vd_used_ready(&d, TX),
		   "a console without room: the rest waits in the ring");
	ktap_check(!memcmp(pv_console.out, text, 700), "what went was the beginning");
	let(4096);
	device_lock(&d.pci->dev);
	pv_console.ops->tx_ready(&d.pci->dev);
	device_unlock(&d.pci->dev);
	ktap_check(vd_used(&d, TX, &used) && vd_used(&d, TX, &used) && pv_console.len == 1310 &&
		   !memcmp(pv_console.out, text + 700, 1300) && !memcmp(pv_console.out + 1300, text, 10),
		   "and goes on where it stopped, once there is room");
	let(700);
	vd_add(&d, TX, buf, 2);
	vd_publish(&d, TX);
	vd_kick(&d, TX);
	vd_wait_until(wrote, &d, 700);
	d.pci->dev.type->pause(&d.pci->dev);
	ktap_check(pv_survives_save(&d.pci->dev), "half a line survives a save");
	let(4096);
	d.pci->dev.type->resume(&d.pci->dev);
	ktap_check(vd_used(&d, TX, &used) && pv_console.len == 1300 &&
		   !memcmp(pv_console.out, text + 700, 1300), "and its other half comes after");
}

static void test_rx(void)
{
	struct vd_buf buf = { VD_DATA, 100, true };
	char text[600], got[100];
	struct vd_used used;
	size_t i, took;

	for (i = 0; i < sizeof(text); i++)
		text[i] = 'A' + i % 26;
	vd_start(&d, MODERN, 16);
	ktap_check(type(text, 5) == 5 && !vd_used_ready(&d, RX), "input without a buffer is kept");
	ktap_check(vd_do(&d, RX, &buf, 1, &used) && used.len == 5 && !guest_read(vm, VD_DATA, got, 5) &&
		   !memcmp(got, text, 5), "and comes with one");
	took = type(text, sizeof(text));
	ktap_check(took && took < sizeof(text), "more than there is room for is left to the user");
	pv_console.rx_ready = 0;
	for (i = 0; i < took; i += used.len)
		if (!vd_do(&d, RX, &buf, 1, &used) || guest_read(vm, VD_DATA, got, used.len) ||
		    memcmp(got, text + i, used.len))
			break;
	ktap_check(i == took && pv_console.rx_ready, "and asked for when there is room again");
	buf = (struct vd_buf){ VD_DATA, 100, false };
	vd_add(&d, RX, &buf, 1);
	vd_publish(&d, RX);
	type(text, 1);
	buf.write = true;
	ktap_check(vd_used(&d, RX, &used) && !used.len && vd_do(&d, RX, &buf, 1, &used) && used.len == 1,
		   "a buffer that cannot be written takes nothing");
}

int main(void)
{
	ktap_plan(19);
	vm = vd_vm_create((const char *const[]){ "memory", "64M", NULL });
	vm->console = (struct console *)&pv_console;
	vd_create(&d, vm, "virtio-console", "virtio_console");
	ktap_check(pv_console.dev == &d.pci->dev, "it is the console's device");
	test_tx();
	test_rx();
	vd_reset(&d);
	let(100);
	pv_write(vm, d.device + 8, 4, '!');
	ktap_check(pv_console.len == 1 && pv_console.out[0] == '!', "a character without a driver");
	let(0);
	vd_noise(&d, MODERN, 100);
	test_tx();
	vm->console = NULL;
	pv_destroy(vm);
	return ktap_finish();
}
