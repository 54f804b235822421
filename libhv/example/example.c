// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * example.c - the smallest use of libhv: a VM of one page, a few instructions of a guest, and the
 * exits they cause.  Explained in Documentation/libhv.rst.
 *
 *	cc -o example example.c $(pkg-config --cflags --libs libhv)
 *
 * The guest starts as a CPU does after reset, in real mode at F000:FFF0, prints a word to a port,
 * writes a byte to device memory, and leaves by another port.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <hv/hv.h>

#define PAGE		4096
#define ROM		0xfffff000ULL	/* the page that ends at 4 GiB: reset vector at ...ff0 */
#define SERIAL		0x3f8
#define DONE		0xf4
#define DEVICE		0x8000

static const unsigned char guest_code[] = {
	0xbe, 0x1b, 0xf0,		/*	mov	$0xf000 + text, %si */
	0xba, 0xf8, 0x03,		/*	mov	$SERIAL, %dx */
	0xb9, 0x06, 0x00,		/*	mov	$6, %cx */
	0x2e, 0xf3, 0x6e,		/*	rep outsb %cs:(%si), (%dx): a string instruction */
	0xc6, 0x06, 0x00, 0x80, 0x2a,	/*	movb	$42, DEVICE: no memory there, so a device */
	0xba, 0xf4, 0x00,		/*	mov	$DONE, %dx */
	0xb0, 0x07,			/*	mov	$7, %al */
	0xee,				/*	out	%al, (%dx) */
	0xf4, 0xeb, 0xfd,		/* 1:	hlt; jmp 1b */
	0x90,
	'h', 'e', 'l', 'l', 'o', '\n',	/* text */
};

struct machine {
	unsigned char *page;
	int device_byte, status;
};

static int port_access(void *opaque, uint32_t vcpu, uint16_t port, bool in, uint32_t size,
		       void *data)
{
	struct machine *m = opaque;

	(void)vcpu;
	if (in)
		memset(data, 0xff, size);
	else if (port == SERIAL)
		fwrite(data, 1, size, stdout);
	else if (port == DONE)
		m->status = *(unsigned char *)data;
	return 0;
}

static int mem_access(void *opaque, uint32_t vcpu, uint64_t gpa, bool write, uint32_t size,
		      void *data)
{
	struct machine *m = opaque;

	(void)vcpu;
	if (!write)
		memset(data, 0xff, size);
	else if (gpa == DEVICE)
		m->device_byte = *(unsigned char *)data;
	return 0;
}

/* Guest memory for the library: our one page. */
static unsigned char *ram(struct machine *m, uint64_t gpa, size_t len)
{
	if (gpa < ROM || gpa >= ROM + PAGE || len > ROM + PAGE - gpa)
		return NULL;
	return m->page + (gpa - ROM);
}

static int ram_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	unsigned char *p = ram(opaque, gpa, len);

	if (!p)
		return -1;
	memcpy(buf, p, len);
	return 0;
}

static int ram_write(void *opaque, uint64_t gpa, const void *buf, size_t len)
{
	unsigned char *p = ram(opaque, gpa, len);

	if (!p)
		return -1;
	memcpy(p, buf, len);
	return 0;
}

/* The guest's CPUID is the host's, as far as hv can keep what it says. */
static int copy_cpuid(struct hv_dev *dev, struct hv_vm *vm)
{
	struct hv_cpuid_entry entries[256];
	uint32_t count = 256;
	int ret = hv_get_cpuid(dev, entries, &count);

	return ret ? ret : hv_vm_set_cpuid(vm, entries, count);
}

static int run(struct hv_vcpu *vcpu, struct machine *m)
{
	int ret;

	while (m->status < 0) {
		ret = hv_vcpu_run(vcpu);
		if (ret)
			return ret;
		switch (vcpu->run->exit_reason) {
		case HV_EXIT_NONE:	/* the host had something to do: on it goes */
			break;
		case HV_EXIT_IO:
			ret = hv_assist_io(vcpu);
			break;
		case HV_EXIT_MMIO:
			ret = hv_assist_mem(vcpu);
			break;
		default:
			fprintf(stderr, "unexpected exit: %s\n",
				hv_exit_name(vcpu->run->exit_reason));
			return -1;
		}
		if (ret) {
			fprintf(stderr, "%s\n", hv_vcpu_error(vcpu));
			return ret;
		}
	}
	return 0;
}

int main(void)
{
	struct machine m = { .device_byte = -1, .status = -1 };
	const struct hv_callbacks cb = {
		.opaque = &m,
		.io = port_access,
		.mem = mem_access,
		.guest_read = ram_read,
		.guest_write = ram_write,
	};
	struct hv_vcpu *vcpu = NULL;
	struct hv_dev *dev = NULL;
	struct hv_vm *vm = NULL;
	struct hv_slot slot;
	char line[256];
	int ret;

	m.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m.page == MAP_FAILED)
		return 1;
	/* A jump at the reset vector to the code at the start of the page. */
	memcpy(m.page, guest_code, sizeof(guest_code));
	memcpy(m.page + 0xff0, "\xe9\x0d\xf0", 3);	/* jmp F000:F000 */
	slot = (struct hv_slot){ .gpa = ROM, .size = PAGE, .hva = (uintptr_t)m.page };

	ret = hv_open(NULL, &dev);
	if (!ret)
		ret = hv_vm_create(dev, &cb, 0, &vm);
	if (!ret)
		ret = copy_cpuid(dev, vm);
	if (!ret)
		ret = hv_set_slots(vm, &slot, 1);
	if (!ret)
		ret = hv_vcpu_create(vm, 0, &vcpu);
	if (ret) {
		fprintf(stderr, "example: %s\n", hv_refusal(dev, ret, line, sizeof(line)));
	} else {
		ret = run(vcpu, &m);
		if (!ret)
			printf("the guest wrote %d to the device and ended with status %d\n",
			       m.device_byte, m.status);
	}

	hv_vcpu_destroy(vcpu);
	hv_vm_destroy(vm);
	hv_close(dev);
	return ret ? 1 : 0;
}
