// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts that find the guest with IF clear wait for it, and are not the end of the timer: a
 * guest that polls a port with interrupts off most of the time, as a console driver does, goes on
 * getting its ticks.  The host must go on getting its own as well (kmod/svm/svm.c,
 * svm_tcg_recall_irqs()).
 */
#include <string.h>
#include "ktap.h"
#include "lib/testvm.h"

#define TICKS	3000
#define PATIENCE 500		/* turns, each with its window, in which at least one tick must come */

/* [0x20000] ticks, [0x20008] turns done */
GUEST_CODE(job,
	"mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n"		/* x2APIC */
	"mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"	/* SVR */
	"mov $0x83e, %ecx\n mov $0xb, %eax\n wrmsr\n"			/* divide by 1 */
	"mov $0x832, %ecx\n mov $0x20040, %eax\n wrmsr\n"		/* periodic, vector 0x40 */
	"mov $0x838, %ecx\n mov $250000, %eax\n wrmsr\n"
	"1: cli\n mov $20, %r12d\n"
	"2: mov $0x3fd, %edx\n in (%dx), %al\n"
	"mov $60, %ecx\n 3: pause\n dec %ecx\n jnz 3b\n"
	"dec %r12d\n jnz 2b\n"
	"sti\n nop\n nop\n"
	"incq 0x20008\n"
	"jmp 1b\n");

GUEST_CODE(tick,
	"push %rax\n push %rcx\n push %rdx\n"
	"incq 0x20000\n"
	"mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"	/* EOI */
	"pop %rdx\n pop %rcx\n pop %rax\n iretq\n");

int main(void)
{
	static struct testvm t;
	uint64_t seen = 0, since = 0, ticks, turns;
	volatile uint64_t *w;

	testvm_open(&t);
	ktap_plan(1);
	testvm_create(&t, 4 << 20, 1);
	testvm_code(&t, TVM_CODE, job, job_end);
	testvm_code(&t, TVM_CODE + 0x1000, tick, tick_end);
	testvm_long(&t, 0, TVM_CODE);
	testvm_gate(&t, 0x40, TVM_CODE + 0x1000, 0);
	w = (volatile uint64_t *)(t.mem + 0x20000);
	do {
		testvm_expect(&t, 0, HV_EXIT_IO);
		testvm_done(&t, 0, 0x60);
		ticks = w[0];
		turns = w[1];
		if (ticks != seen) {
			seen = ticks;
			since = turns;
		}
	} while (ticks < TICKS && turns < since + PATIENCE);
	ktap_check(ticks >= TICKS, "%llu ticks in %llu turns, the last in turn %llu",
		   (unsigned long long)ticks, (unsigned long long)turns,
		   (unsigned long long)since);
	testvm_destroy(&t);
	return ktap_finish();
}
