// SPDX-License-Identifier: GPL-2.0-only
/*
 * platform_uart.c - the 16550A of vmm/platform/uart.c, as Linux's 8250 driver probes and runs it,
 * as a polling test guest uses it, and with a console that does not take its output.
 */
#include "platform_vm.h"
#include "vmm/platform/chipset.h"

#define COM1	0x3f8
#define THR	(COM1 + 0)
#define IER	(COM1 + 1)
#define IIR	(COM1 + 2)
#define LCR	(COM1 + 3)
#define MCR	(COM1 + 4)
#define LSR	(COM1 + 5)
#define MSR	(COM1 + 6)
#define SCR	(COM1 + 7)

static struct vm *vm;
static struct device *uart;
static bool irq;

static void sink(void *opaque, unsigned int pin, bool level)
{
	irq = level;
}

static uint8_t in(uint16_t port)
{
	return pv_in(vm, port, 1);
}

static void out(uint16_t port, uint8_t value)
{
	pv_out(vm, port, 1, value);
}

static void reset(void)
{
	device_lock(uart);
	uart->type->reset(uart);
	device_unlock(uart);
	pv_console.len = 0;
	pv_console.room = sizeof(pv_console.out);
}

static size_t type(const char *text)
{
	size_t n;

	device_lock(uart);
	n = pv_console.ops->rx(uart, (const uint8_t *)text, strlen(text));
	device_unlock(uart);
	return n;
}

static void tx_ready(size_t room)
{
	pv_console.room = room;
	device_lock(uart);
	pv_console.ops->tx_ready(uart);
	device_unlock(uart);
}

static bool printed(const char *text)
{
	bool same = pv_console.len == strlen(text) && !memcmp(pv_console.out, text, pv_console.len);

	pv_console.len = 0;
	return same;
}

/* The steps of autoconfig() in drivers/tty/serial/8250/8250_port.c. */
static void check_probe(void)
{
	uint8_t scratch, scratch2, status, iir;

	reset();
	out(IER, 0);
	scratch = in(IER) & 0x0f;
	out(IER, 0x0f);
	scratch2 = in(IER) & 0x0f;
	out(IER, 0);
	ktap_check(scratch == 0 && scratch2 == 0x0f, "probe: interrupt enable register holds its bits");
	out(MCR, 0x10 | 0x0a);
	status = in(MSR) & 0xf0;
	out(MCR, 0);
	ktap_check(status == 0x90, "probe: loopback shows RTS and OUT2 as CTS and DCD");
	out(LCR, 0xbf);
	out(IIR, 0);
	out(LCR, 0);
	out(IIR, 1);
	iir = in(IIR) >> 6;
	ktap_check(iir == 3, "probe: FIFOs of a 16550A");
	out(SCR, 0xa5);
	ktap_check(in(SCR) == 0xa5 && in(IIR) == 0xc1, "scratch register holds, nothing pends");
	out(LCR, 0x80);
	out(THR, 0x34);
	out(IER, 0x12);
	ktap_check(in(THR) == 0x34 && in(IER) == 0x12, "divisor latch");
	out(LCR, 3);
	ktap_check(in(IER) == 0 && printed(""), "the latch is not the data register");
}

static void check_polled(void)
{
	const char *p;

	reset();
	ktap_check((in(LSR) & 0x60) == 0x60, "transmitter is empty after reset");
	for (p = "hello"; *p; p++) {
		while (!(in(LSR) & 0x20))
			;
		out(THR, *p);
	}
	ktap_check(printed("hello"), "polled output arrives");
	type("x");
	ktap_check((in(LSR) & 1) && in(THR) == 'x' && !(in(LSR) & 1), "polled input");
	pv_out(vm, COM1, 2, 0x0141);
	ktap_check(printed("A") && in(IER) == 1, "a word write is two byte writes");
}

static void check_tx_interrupts(void)
{
	reset();
	irq = false;
	out(IIR, 1);
	out(IER, 2);
	ktap_check(irq && in(IIR) == 0xc2, "enabling THRE with an empty transmitter interrupts");
	ktap_check(!irq && in(IIR) == 0xc1, "reading IIR took it");
	out(THR, 'a');
	ktap_check(irq && in(IIR) == 0xc2 && !irq, "again after each byte sent");
	out(IER, 0);
	out(THR, 'b');
	ktap_check(!irq, "not while disabled");
	out(IER, 2);
	ktap_check(irq, "but at once when enabled");
	out(IER, 0);
}

static void check_rx_interrupts(void)
{
	reset();
	irq = false;
	out(IIR, 0x81);		/* FIFO, trigger at 8 */
	out(IER, 5);
	ktap_check(type("abc") == 3 && irq && in(IIR) == 0xcc,
		   "below the trigger level: character time-out");
	ktap_check(type("defghij") == 7 && in(IIR) == 0xc4, "at the trigger level: data");
	ktap_check(type("0123456789") == 6, "what does not fit stays with the console");
	pv_console.rx_ready = 0;
	for (int i = 0; i < 16; i++)
		in(THR);
	ktap_check(!irq && !(in(LSR) & 1) && pv_console.rx_ready, "reading all of it ends it, and asks for more");
	type("zz");
	out(IIR, 0x83);
	ktap_check(!(in(LSR) & 1) && !irq, "FIFO control clears what was received");
	out(IIR, 0);
	ktap_check(type("ab") == 1, "without FIFO there is room for one");
	ktap_check(in(IIR) == 4 && in(THR) == 'a', "and it is no time-out");
}

static void check_loopback(void)
{
	int i;

	reset();
	out(IIR, 1);
	out(MCR, 0x10);
	in(MSR);
	out(IER, 4);
	for (i = 0; i < 17; i++)
		out(THR, 'a' + i);
	ktap_check(printed("") && irq && in(IIR) == 0xc6, "loopback: 17 bytes overrun");
	ktap_check((in(LSR) & 3) == 3 && !(in(LSR) & 2) && !irq, "reading LSR clears the error");
	for (i = 0; i < 16 && in(THR) == 'a' + i; i++)
		;
	ktap_check(i == 16, "the first 16 are there");
	ktap_check(!type("q"), "the console is not heard meanwhile");
	out(IER, 8);
	out(MCR, 0x12);
	ktap_check(irq && in(IIR) == 0xc0 && (in(MSR) & 0x11) == 0x11 && !irq && !(in(MSR) & 1),
		   "a modem line's change interrupts until it is read");
	out(MCR, 0);
}

static void check_slow_console(void)
{
	int i;

	reset();
	out(IIR, 1);
	out(IER, 2);
	in(IIR);
	pv_console.room = 0;
	out(THR, 'x');
	ktap_check(!(in(LSR) & 0x60) && !irq, "a console that is full holds the transmitter busy");
	for (i = 0; i < 40; i++)
		out(THR, 'y');
	ktap_check(printed(""), "a guest that does not care loses bytes, not time");
	ktap_check(pv_survives_save(uart) && !(in(LSR) & 0x20), "what waits is saved");
	tx_ready(4);
	ktap_check(!(in(LSR) & 0x20) && !irq, "part of it goes");
	tx_ready(100);
	ktap_check((in(LSR) & 0x60) == 0x60 && irq && printed("xyyyyyyyyyyyyyyy"),
		   "all of it goes, in order, and the guest hears of it");
}

int main(void)
{
	static const struct uart_args args = { .port = COM1, .irq = 4, .console = true };
	uint8_t *state;
	size_t len;

	ktap_plan(33);
	vm = pv_create(NULL);
	vm->console = (struct console *)&pv_console;
	irq_sink_add(vm, 4, sink, NULL);
	if (device_create(vm, "uart", NULL, "", &args, &uart))
		ktap_bail("no uart");
	check_probe();
	check_polled();
	check_tx_interrupts();
	check_rx_interrupts();
	check_loopback();
	check_slow_console();

	if (device_save(uart, &state, &len))
		ktap_bail("no memory");
	/* The last element of the last field is tx.count: more than the FIFO holds. */
	state[len - 1] = 200;
	ktap_check(device_load(uart, state, len) == -22, "a stream with an impossible FIFO is refused");
	free(state);
	pv_destroy(vm);
	return ktap_finish();
}
