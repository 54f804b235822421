// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interprocessor interrupts: every shorthand, destination mode and delivery mode, from the xAPIC
 * page and the x2APIC MSRs; starting and stopping processors; NMIs and their count.
 */
#include <string.h>
#include <unistd.h>
#include "ktap.h"
#include "lib/apicvm.h"

#define N	20			/* more than one x2APIC cluster */
#define V	0x60
#define ICR	0x300
#define ICR2	0x310

static struct avm a;

static void send(uint32_t from, uint32_t dest, uint32_t icr)
{
	avm_write(&a, from, ICR2, dest << 24);
	avm_write(&a, from, ICR, icr);
}

static void x2_send(uint32_t from, uint32_t dest, uint32_t icr)
{
	avm_wrmsr(&a, from, 0x830, (uint64_t)dest << 32 | icr);
}

/* Which vCPUs have @V pending, as a mask; takes it from all of them. */
static uint32_t got(void)
{
	uint32_t mask = 0, i;

	avm_forget(&a);
	for (i = 0; i < N; i++) {
		avm_op(&a, i, AVM_OPEN, 0, 0, 0);
		if (avm_taken(&a, i, V) == 1)
			mask |= 1u << i;
		else if (avm_taken(&a, i, V))
			ktap_note("vCPU %u took it %llu times", i,
				  (unsigned long long)avm_taken(&a, i, V));
	}
	return mask;
}

static void is(uint32_t want, const char *what)
{
	uint32_t g = got();

	ktap_check(g == want, "%s: %#x, expected %#x", what, g, want);
}

static void xapic(void)
{
	const uint32_t all = (1u << N) - 1;
	uint32_t i, g, seen = 0, bad = 0;

	avm_eoi(&a, AVM_EOI_XAPIC);
	send(0, 0, 0x40000 | V);
	is(1, "self");
	send(3, 0, 0x80000 | V);
	is(all, "all");
	send(3, 0, 0xc0000 | V);
	is(all & ~(1u << 3), "all but self");
	send(0, 5, V);
	is(1u << 5, "physical");
	send(0, 0, V);
	is(1, "physical, itself");
	send(0, 0xff, V);
	is(all, "physical broadcast");
	send(0, 60, V);
	is(0, "physical, nobody there");

	for (i = 0; i < N; i++)
		avm_write(&a, i, 0xd0, i < 8 ? 1u << (24 + i) : 0);
	send(0, 0x81, 0x800 | V);
	is(0x81, "flat logical, two bits");
	send(0, 0xff, 0x800 | V);
	is(all, "flat logical broadcast");
	avm_write(&a, 7, 0xd0, 1u << 24);
	send(0, 1, 0x800 | V);
	is(0x81, "a logical id that two share");

	for (i = 0; i < N; i++) {
		avm_write(&a, i, 0xe0, 0);
		avm_write(&a, i, 0xd0, (i / 4) << 28 | 1u << (24 + i % 4));
	}
	send(0, 0x2a, 0x800 | V);
	is(1u << 9 | 1u << 11, "cluster 2, two bits");
	send(0, 0xff, 0x800 | V);
	is(all, "cluster broadcast");
	send(0, 0xf1, 0x800 | V);
	is(0, "cluster 15 is nobody");

	for (i = 0; i < 16; i++) {
		send(0, 0x2f, 0x900 | V);
		g = got();
		if (!g || (g & (g - 1)) || (g & ~0xf00u))
			bad++;
		seen |= g;
	}
	ktap_check(!bad && seen == 0xf00, "lowest priority: one of the four at a time, and each in turn: %#x",
		   seen);
	for (i = 8; i < 12; i++)
		avm_write(&a, i, 0x80, i == 10 ? 0x20 : 0x40);
	for (i = bad = 0; i < 4; i++) {
		send(0, 0x2f, 0x900 | V);
		bad += got() != 1u << 10;
	}
	ktap_check(!bad, "the one with the lowest TPR");
	for (i = 8; i < 12; i++)
		avm_write(&a, i, 0x80, 0);
	avm_write(&a, 4, 0xf0, 0xff);
	send(0, 4, V);
	is(0, "a software-disabled one takes none");
	avm_write(&a, 4, 0xf0, 0x1ff);
	avm_wrmsr(&a, 4, 0x1b, AVM_APIC);
	send(0, 0, 0x80000 | V);
	is(all & ~(1u << 4), "nor one that is switched off");
	avm_wrmsr(&a, 4, 0x1b, AVM_APIC | 0x800);
	avm_write(&a, 4, 0xf0, 0x1ff);
	send(0, 0, 0xc8000 | V);
	is(all & ~1u, "the trigger mode of an IPI means nothing");
	ktap_check(a.eois[V] == 0 && (avm_read(&a, 1, 0x1b0) & 1) == 0, "no EOI exit for it");
	send(0, 5, 0x200 | V);
	send(0, 5, 0x300 | V);
	send(0, 5, 0x700 | V);
	is(0, "SMI, the reserved mode and ExtINT go nowhere");
	ktap_check(avm_read(&a, 0, ICR) == (0x700 | V) && avm_read(&a, 0, ICR2) == 5u << 24,
		   "ICR reads back, delivery status idle");
}

static void x2_mode(bool on)
{
	uint32_t i;

	avm_eoi(&a, on ? AVM_EOI_X2APIC : AVM_EOI_XAPIC);
	for (i = 0; i < N; i++) {
		if (on) {
			avm_wrmsr(&a, i, 0x1b, AVM_APIC | 0xc00 | (i ? 0 : 0x100));
			avm_wrmsr(&a, i, 0x80f, 0x1ff);
			continue;
		}
		avm_wrmsr(&a, i, 0x1b, AVM_APIC);
		avm_wrmsr(&a, i, 0x1b, AVM_APIC | 0x800);
		avm_write(&a, i, 0xf0, 0x1ff);
	}
}

/* Each is in HLT, or in the guest, when its IPI comes, and must not lose one. */
static void storm(bool x2)
{
	uint64_t want[4] = { 0 };
	int i, j, lost = 0;

	avm_forget(&a);
	for (i = 1; i < 4; i++) {
		avm_set(&a, i, i == 3 ? AVM_SPIN : AVM_IDLE, 0, 0, 0);
		avm_start(&a, i);
	}
	for (j = 0; j < 300 && !lost; j++) {
		i = 1 + j % 3;
		if (x2)
			x2_send(0, i, V);
		else
			send(0, i, V);
		want[i]++;
		if (!AVM_SOON(avm_taken(&a, i, V) == want[i]))
			lost++;
	}
	for (i = 1; i < 4; i++)
		avm_stop(&a, i);
	ktap_check(!lost, "300 IPIs to processors in HLT and at work, none lost");
}

static void x2apic(void)
{
	const uint32_t all = (1u << N) - 1;

	x2_mode(true);
	x2_send(0, 0, 0x40000 | V);
	is(1, "x2APIC: self");
	x2_send(2, 0, 0x80000 | V);
	is(all, "all");
	x2_send(2, 0, 0xc0000 | V);
	is(all & ~4u, "all but self");
	x2_send(0, 18, V);
	is(1u << 18, "physical");
	x2_send(0, 0xffffffff, V);
	is(all, "physical broadcast");
	x2_send(0, 0xff, V);
	is(0, "0xff is an id like others");
	x2_send(0, 0x105, V);
	is(0, "so is 0x105");
	x2_send(0, 0x8005, 0x800 | V);
	is(1u << 0 | 1u << 2 | 1u << 15, "cluster 0");
	x2_send(0, 0x10009, 0x800 | V);
	is(1u << 16 | 1u << 19, "cluster 1");
	x2_send(0, 0x50001, 0x800 | V);
	is(0, "cluster 5 is nobody");
	x2_send(0, 0xffffffff, 0x800 | V);
	is(all, "logical broadcast");
	ktap_check(hv_send_msi(a.t.vm, 0xfee00000 | 7 << 12, V) == 1, "an MSI reaches x2APIC ids");
	is(1u << 7, "as well");
	hv_send_msi(a.t.vm, 0xfee00000 | 0xff << 12, V);
	is(all, "and an MSI to 0xff all");
	storm(true);
	x2_mode(false);
}

static void set_mp(uint32_t vcpu, uint32_t state)
{
	struct hv_mp *mp = hv_vcpu_group(a.t.vcpu[vcpu], HV_GROUP_MP);

	memset(mp, 0, sizeof(*mp));
	mp->state = state;
	if (hv_vcpu_set_state(a.t.vcpu[vcpu], HV_GROUP(HV_GROUP_MP)))
		ktap_bail("cannot set the MP state");
}

static uint32_t mp_state(uint32_t vcpu)
{
	struct hv_mp *mp = hv_vcpu_group(a.t.vcpu[vcpu], HV_GROUP_MP);

	if (hv_vcpu_get_state(a.t.vcpu[vcpu], HV_GROUP(HV_GROUP_MP)))
		ktap_bail("cannot get the MP state");
	return mp->state;
}

/* Real mode at 0x29000: count at 0x29100, which all share, then halt for ever with interrupts off. */
GUEST_CODE(ap_code, ".code16\n cli\n mov %cs, %ax\n mov %ax, %ds\n lock incw 0x100\n 1: hlt\n jmp 1b\n");

static uint16_t starts(void)
{
	return *(volatile uint16_t *)(a.t.mem + 0x29100);
}

static void start_up(void)
{
	struct hv_mp *mp = hv_vcpu_group(a.t.vcpu[1], HV_GROUP_MP);
	struct hv_control *c = hv_vcpu_control(a.t.vcpu[1]);
	struct hv_regs *r = hv_vcpu_regs(a.t.vcpu[1]);
	uint64_t groups = HV_GROUP(HV_GROUP_REGS) | HV_GROUP(HV_GROUP_CONTROL) | HV_GROUP(HV_GROUP_MP);
	uint16_t before;

	testvm_code(&a.t, 0x29000, ap_code, ap_code_end);
	avm_set(&a, 1, AVM_IDLE, 0, 0, 0);
	avm_start(&a, 1);
	usleep(20000);
	send(0, 1, 0x629);
	usleep(50000);
	ktap_check(starts() == 0, "a start-up that nobody waits for is dropped");
	avm_stop(&a, 1);
	avm_set(&a, 1, AVM_SPIN, 0, 0, 0);
	avm_start(&a, 1);
	send(0, 1, 0x4500);
	usleep(50000);
	avm_stop(&a, 1);
	hv_vcpu_get_state(a.t.vcpu[1], groups);
	ktap_check(mp->state == HV_MP_WAIT_SIPI && r->rip == 0xfff0 && !(c->cr0 & 0x80000001),
		   "INIT resets a running processor, which then waits");
	ktap_check((avm_read(&a, 0, 0xf0) & 0x100) && c->apic_base == (AVM_APIC | 0x800),
		   "its APIC stays where it is");
	avm_start(&a, 1);
	send(0, 1, 0x8500);			/* INIT de-assert */
	send(0, 1, 0x629);
	ktap_check(AVM_SOON(starts() == 1), "start-up starts it");
	send(0, 1, 0x629);
	usleep(50000);
	ktap_check(starts() == 1, "a second one does not");
	send(0, 1, 0x4500);
	send(0, 1, 0x629);
	ktap_check(AVM_SOON(starts() == 2), "INIT ends HLT with interrupts off, and it can be started again");
	avm_stop(&a, 1);

	/* Latched while nobody runs it; and as state. */
	send(0, 1, 0x629);
	send(0, 1, 0x4500);
	hv_vcpu_get_state(a.t.vcpu[1], groups);
	ktap_check(mp->init_latched && !mp->sipi_latched, "INIT voids a start-up before it");
	send(0, 1, 0x629);
	hv_vcpu_get_state(a.t.vcpu[1], groups);
	ktap_check(mp->init_latched && mp->sipi_latched && mp->sipi_vector == 0x29,
		   "INIT and start-up are latched, in this order");
	avm_start(&a, 1);
	ktap_check(AVM_SOON(starts() == 3), "and take effect when it runs, after being read");
	avm_stop(&a, 1);
	hv_vcpu_get_state(a.t.vcpu[1], groups);
	mp->init_latched = 1;
	mp->sipi_latched = 1;
	mp->sipi_vector = 0x29;
	hv_vcpu_set_state(a.t.vcpu[1], HV_GROUP(HV_GROUP_MP));
	avm_start(&a, 1);
	ktap_check(AVM_SOON(starts() == 4), "so do those that are set");
	avm_stop(&a, 1);

	/* To all but self, as firmware does it. */
	set_mp(1, HV_MP_RUNNABLE);
	avm_start(&a, 1);
	avm_start(&a, 2);
	avm_start(&a, 3);
	before = starts();
	send(0, 0, 0xc4500);
	usleep(20000);
	send(0, 0, 0xc4629);
	ktap_check(AVM_SOON(starts() == before + 3), "INIT and start-up to all but self");
	avm_stop(&a, 1);
	avm_stop(&a, 2);
	avm_stop(&a, 3);
	ktap_check(mp_state(4) == HV_MP_RUNNABLE || mp_state(4) == HV_MP_WAIT_SIPI, "the rest were not run");
	/* INIT of the bootstrap processor starts it at the reset vector. */
	avm_set(&a, 0, AVM_SPIN, 0, 0, 0);
	avm_write(&a, 0, ICR2, 0);
	r = hv_vcpu_regs(a.t.vcpu[0]);
	avm_set(&a, 0, AVM_WRITE32, AVM_APIC + ICR, 0, 0x4500);
	ktap_check(testvm_run(&a.t, 0) != HV_EXIT_IO && (r->rip & ~0xfULL) == 0xfff0 &&
		   mp_state(0) == HV_MP_RUNNABLE, "INIT of the bootstrap processor starts it over");
}

static void nmi(void)
{
	struct hv_events *ev = hv_vcpu_group(a.t.vcpu[1], HV_GROUP_EVENTS);
	uint64_t n;
	int i;

	avm_forget(&a);
	avm_set(&a, 1, AVM_IDLE, 0, 0, 0);
	avm_start(&a, 1);
	for (i = 1; i <= 20; i++) {
		send(0, 1, 0x400);
		if (!AVM_SOON(avm_taken(&a, 1, 2) == (uint64_t)i))
			break;
	}
	ktap_check(i == 21, "20 NMIs, one by one, to a processor in HLT");
	ktap_check(hv_send_msi(a.t.vm, 0xfee00000 | 1 << 12, 0x400) == 1 &&
		   AVM_SOON(avm_taken(&a, 1, 2) == 21), "an MSI can be one");
	avm_stop(&a, 1);
	for (i = 0; i < 50; i++)
		send(0, 1, 0x400);
	hv_vcpu_get_state(a.t.vcpu[1], HV_GROUP(HV_GROUP_EVENTS));
	ktap_check(ev->nmi_pending == 2, "50 at once are two: %u", ev->nmi_pending);
	n = avm_taken(&a, 1, 2);
	avm_op(&a, 1, AVM_OPEN, 0, 0, 0);
	avm_op(&a, 1, AVM_OPEN, 0, 0, 0);
	ktap_check(avm_taken(&a, 1, 2) == n + 2, "and both are taken: %llu",
		   (unsigned long long)(avm_taken(&a, 1, 2) - n));
}

int main(void)
{
	uint32_t i;

	avm_create(&a, N);
	ktap_plan(54);
	for (i = 0; i < N; i++)
		avm_write(&a, i, 0xf0, 0x1ff);
	xapic();
	x2apic();
	nmi();
	storm(false);
	start_up();
	avm_destroy(&a);
	return ktap_finish();
}
