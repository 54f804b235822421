// SPDX-License-Identifier: GPL-2.0-only
/*
 * uart.c - 16550A serial port.
 *
 * National PC16550D data sheet: section 8 (registers, FIFOs, interrupts, loopback).
 * The line is as fast as the console takes bytes: divisor and frame format are
 * stored and change nothing.  The modem lines say "connected and ready".
 *
 * Must not wait for the console: what it does not take stays in the transmit
 * FIFO with THRE low, and what the guest writes beyond that is lost, as on a chip.
 */
#include <errno.h>
#include <string.h>

#include "vmm/console.h"
#include "vmm/platform/aml.h"
#include "vmm/platform/chipset.h"

#define FIFO_SIZE	16

enum { REG_DATA, REG_IER, REG_IIR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RX		0x01
#define IER_TX		0x02
#define IER_LINE	0x04
#define IER_MODEM	0x08
#define IER_MASK	0x0f

#define IIR_NONE	0x01
#define IIR_MODEM	0x00
#define IIR_TX		0x02
#define IIR_RX		0x04
#define IIR_LINE	0x06
#define IIR_TIMEOUT	0x0c
#define IIR_FIFO	0xc0

#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define FCR_CLEAR_TX	0x04
#define FCR_KEPT	0xc9	/* enable, DMA mode, trigger level */

#define LCR_DLAB	0x80

#define MCR_DTR		0x01
#define MCR_RTS		0x02
#define MCR_OUT1	0x04
#define MCR_OUT2	0x08
#define MCR_LOOP	0x10
#define MCR_MASK	0x1f

#define LSR_DATA	0x01
#define LSR_OVERRUN	0x02
#define LSR_ERRORS	0x1e
#define LSR_THRE	0x20
#define LSR_TEMT	0x40

#define MSR_DELTA_CTS	0x01
#define MSR_DELTA_DSR	0x02
#define MSR_TRAIL_RI	0x04
#define MSR_DELTA_DCD	0x08
#define MSR_CTS		0x10
#define MSR_DSR		0x20
#define MSR_RI		0x40
#define MSR_DCD		0x80

struct uart_fifo {
	uint8_t data[FIFO_SIZE];
	uint8_t head;
	uint8_t count;
};

struct uart {
	struct device dev;
	struct bus_region region;
	struct irq_line line;
	uint16_t port;
	unsigned int irq;
	bool console;
	uint8_t ier, fcr, lcr, mcr, msr, scr;
	uint8_t errors;		/* LSR bits that reading clears */
	uint8_t divisor[2];
	bool tx_event;		/* THRE interrupt not yet taken notice of */
	struct uart_fifo rx;
	struct uart_fifo tx;
};

static const struct device_field uart_fields[] = {
	DEVICE_FIELD(1, 1, struct uart, ier),
	DEVICE_FIELD(2, 1, struct uart, fcr),
	DEVICE_FIELD(3, 1, struct uart, lcr),
	DEVICE_FIELD(4, 1, struct uart, mcr),
	DEVICE_FIELD(5, 1, struct uart, msr),
	DEVICE_FIELD(6, 1, struct uart, scr),
	DEVICE_FIELD(7, 1, struct uart, errors),
	DEVICE_FIELD_ARRAY(8, 1, struct uart, divisor),
	DEVICE_FIELD(9, 1, struct uart, tx_event),
	DEVICE_FIELD_ARRAY(10, 1, struct uart, rx.data),
	DEVICE_FIELD(11, 1, struct uart, rx.head),
	DEVICE_FIELD(12, 1, struct uart, rx.count),
	DEVICE_FIELD_ARRAY(13, 1, struct uart, tx.data),
	DEVICE_FIELD(14, 1, struct uart, tx.head),
	DEVICE_FIELD(15, 1, struct uart, tx.count),
};

static void fifo_put(struct uart_fifo *fifo, uint8_t byte)
{
	fifo->data[(fifo->head + fifo->count++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_get(struct uart_fifo *fifo)
{
	uint8_t byte = fifo->data[fifo->head];

	fifo->head = (fifo->head + 1) % FIFO_SIZE;
	fifo->count--;
	return byte;
}

static unsigned int rx_room(const struct uart *uart)
{
	unsigned int size = uart->fcr & FCR_ENABLE ? FIFO_SIZE : 1;

	return uart->rx.count < size ? size - uart->rx.count : 0;
}

static uint8_t line_status(const struct uart *uart)
{
	uint8_t lsr = uart->errors;

	if (uart->rx.count)
		lsr |= LSR_DATA;
	if (!uart->tx.count)
		lsr |= LSR_THRE | LSR_TEMT;
	return lsr;
}

/* The pending source of highest priority, as IIR shows it (table II of the data sheet). */
static uint8_t interrupt_source(const struct uart *uart)
{
	static const uint8_t trigger[4] = { 1, 4, 8, 14 };

	if ((uart->ier & IER_LINE) && (uart->errors & LSR_ERRORS))
		return IIR_LINE;
	if ((uart->ier & IER_RX) && uart->rx.count) {
		/* Below the trigger level the time-out of four characters is over at
		 * once: nothing more is on its way. */
		if ((uart->fcr & FCR_ENABLE) && uart->rx.count < trigger[uart->fcr >> 6])
			return IIR_TIMEOUT;
		return IIR_RX;
	}
	if ((uart->ier & IER_TX) && uart->tx_event)
		return IIR_TX;
	if ((uart->ier & IER_MODEM) && (uart->msr & 0x0f))
		return IIR_MODEM;
	return IIR_NONE;
}

static void irq_update(struct uart *uart)
{
	irq_line_set(&uart->line, interrupt_source(uart) != IIR_NONE);
}

static void receive(struct uart *uart, uint8_t byte)
{
	if (rx_room(uart))
		fifo_put(&uart->rx, byte);
	else
		uart->errors |= LSR_OVERRUN;
}

/* Hands the transmit FIFO to the console; THRE comes back when it is empty. */
static void transmit_pending(struct uart *uart)
{
	while (uart->tx.count) {
		uint8_t byte = uart->tx.data[uart->tx.head];

		if (uart->console && !console_write(uart->dev.vm->console, &byte, 1))
			return;
		fifo_get(&uart->tx);
	}
	uart->tx_event = true;
}

static void transmit(struct uart *uart, uint8_t byte)
{
	if (uart->mcr & MCR_LOOP) {
		receive(uart, byte);
		uart->tx_event = true;
		return;
	}
	uart->tx_event = false;
	if (uart->tx.count < FIFO_SIZE)
		fifo_put(&uart->tx, byte);
	transmit_pending(uart);
}

/* In loopback the modem inputs are the modem control outputs. */
static void modem_update(struct uart *uart)
{
	uint8_t lines = MSR_DCD | MSR_DSR | MSR_CTS, changed;

	if (uart->mcr & MCR_LOOP) {
		lines = 0;
		if (uart->mcr & MCR_RTS)
			lines |= MSR_CTS;
		if (uart->mcr & MCR_DTR)
			lines |= MSR_DSR;
		if (uart->mcr & MCR_OUT1)
			lines |= MSR_RI;
		if (uart->mcr & MCR_OUT2)
			lines |= MSR_DCD;
	}
	changed = (uart->msr ^ lines) & 0xf0;
	if (changed & MSR_CTS)
		uart->msr |= MSR_DELTA_CTS;
	if (changed & MSR_DSR)
		uart->msr |= MSR_DELTA_DSR;
	if (changed & MSR_DCD)
		uart->msr |= MSR_DELTA_DCD;
	if ((changed & MSR_RI) && !(lines & MSR_RI))
		uart->msr |= MSR_TRAIL_RI;
	uart->msr = (uart->msr & 0x0f) | lines;
}

static void room_changed(struct uart *uart)
{
	if (uart->console && rx_room(uart))
		console_rx_ready(uart->dev.vm->console);
}

static uint8_t uart_reg_read(struct uart *uart, unsigned int reg)
{
	uint8_t value;

	switch (reg) {
	case REG_DATA:
		if (uart->lcr & LCR_DLAB)
			return uart->divisor[0];
		if (!uart->rx.count)
			return 0;
		value = fifo_get(&uart->rx);
		irq_update(uart);
		room_changed(uart);
		return value;
	case REG_IER:
		return uart->lcr & LCR_DLAB ? uart->divisor[1] : uart->ier;
	case REG_IIR:
		value = interrupt_source(uart);
		if (value == IIR_TX) {
			uart->tx_event = false;
			irq_update(uart);
		}
		return value | (uart->fcr & FCR_ENABLE ? IIR_FIFO : 0);
	case REG_LCR:
		return uart->lcr;
	case REG_MCR:
		return uart->mcr;
	case REG_LSR:
		value = line_status(uart);
		uart->errors = 0;
		irq_update(uart);
		return value;
	case REG_MSR:
		value = uart->msr;
		uart->msr &= 0xf0;
		irq_update(uart);
		return value;
	default:
		return uart->scr;
	}
}

static void uart_reg_write(struct uart *uart, unsigned int reg, uint8_t value)
{
	switch (reg) {
	case REG_DATA:
		if (uart->lcr & LCR_DLAB)
			uart->divisor[0] = value;
		else
			transmit(uart, value);
		break;
	case REG_IER:
		if (uart->lcr & LCR_DLAB) {
			uart->divisor[1] = value;
			break;
		}
		/* Enabling the interrupt of an empty transmitter raises it. */
		if ((value & IER_TX) && !(uart->ier & IER_TX) && !uart->tx.count)
			uart->tx_event = true;
		uart->ier = value & IER_MASK;
		break;
	case REG_IIR:	/* FCR */
		if ((value ^ uart->fcr) & FCR_ENABLE)
			value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
		if (value & FCR_CLEAR_RX)
			uart->rx.count = 0;
		if ((value & FCR_CLEAR_TX) && uart->tx.count) {
			uart->tx.count = 0;
			uart->tx_event = true;
		}
		uart->fcr = value & FCR_KEPT;
		if (!(uart->fcr & FCR_ENABLE))
			uart->fcr = 0;
		room_changed(uart);
		break;
	case REG_LCR:
		uart->lcr = value;
		break;
	case REG_MCR:
		uart->mcr = value & MCR_MASK;
		modem_update(uart);
		break;
	case REG_SCR:
		uart->scr = value;
		break;
	default:	/* LSR and MSR are for the factory's tests */
		break;
	}
	irq_update(uart);
}

/* Wider accesses are byte accesses to neighbours, as on an 8-bit bus. */
static uint64_t uart_read(void *opaque, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;
	unsigned int i;

	for (i = 0; i < size; i++)
		value |= (uint64_t)uart_reg_read(opaque, (offset + i) & 7) << (8 * i);
	return value;
}

static void uart_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	unsigned int i;

	for (i = 0; i < size; i++)
		uart_reg_write(opaque, (offset + i) & 7, value >> (8 * i));
}

static const struct bus_ops uart_ops = { .read = uart_read, .write = uart_write };

static size_t uart_console_rx(struct device *dev, const uint8_t *buf, size_t len)
{
	struct uart *uart = (struct uart *)dev;
	size_t i, room = rx_room(uart);

	/* In loopback the wire is cut. */
	if (uart->mcr & MCR_LOOP)
		return 0;
	for (i = 0; i < len && i < room; i++)
		fifo_put(&uart->rx, buf[i]);
	irq_update(uart);
	return i;
}

static void uart_console_tx_ready(struct device *dev)
{
	struct uart *uart = (struct uart *)dev;

	if (!uart->tx.count)
		return;
	transmit_pending(uart);
	irq_update(uart);
}

static const struct console_ops uart_console_ops = {
	.rx = uart_console_rx,
	.tx_ready = uart_console_tx_ready,
};

static int uart_create(struct device *dev, const char *path, const void *opaque)
{
	struct uart *uart = (struct uart *)dev;
	const struct uart_args *args = opaque;
	int err;

	uart->port = args->port;
	uart->irq = args->irq;
	err = irq_line_init(&uart->line, dev->vm, args->irq);
	if (err)
		goto fail;
	if (args->console && dev->vm->console) {
		err = console_attach(dev->vm->console, dev, &uart_console_ops);
		if (err && err != -EBUSY)
			goto fail;
		uart->console = !err;
	}
	err = chipset_region_add(dev, &dev->vm->pio, &uart->region, args->port, 8, &uart_ops);
	if (!err)
		return 0;
	if (uart->console)
		console_detach(dev->vm->console, dev);
fail:
	log_error(dev->vm, "serial port %s: %s", dev->id, strerror(-err));
	return err;
}

static void uart_destroy(struct device *dev)
{
	struct uart *uart = (struct uart *)dev;

	bus_region_remove(&dev->vm->pio, &uart->region);
	if (uart->console)
		console_detach(dev->vm->console, dev);
	irq_line_set(&uart->line, false);
}

static void uart_reset(struct device *dev)
{
	struct uart *uart = (struct uart *)dev;

	uart->ier = uart->fcr = uart->lcr = uart->mcr = uart->scr = 0;
	uart->msr = MSR_DCD | MSR_DSR | MSR_CTS;
	uart->errors = 0;
	uart->tx_event = false;
	uart->divisor[0] = 12;		/* 9600 */
	uart->divisor[1] = 0;
	memset(&uart->rx, 0, sizeof(uart->rx));
	/* What the guest sent before it went down still goes out. */
	transmit_pending(uart);
	uart->tx_event = false;
	irq_update(uart);
	room_changed(uart);
}

static int uart_loaded(struct device *dev)
{
	struct uart *uart = (struct uart *)dev;

	if (uart->rx.head >= FIFO_SIZE || uart->rx.count > FIFO_SIZE ||
	    uart->tx.head >= FIFO_SIZE || uart->tx.count > FIFO_SIZE) {
		uart->rx = uart->tx = (struct uart_fifo){ 0 };
		return -EINVAL;
	}
	chipset_fix_bool(&uart->tx_event);
	uart->ier &= IER_MASK;
	uart->fcr &= FCR_KEPT;
	uart->mcr &= MCR_MASK;
	uart->errors &= LSR_ERRORS;
	if (uart->tx.count)
		transmit_pending(uart);
	irq_update(uart);
	room_changed(uart);
	return 0;
}

static void uart_acpi(struct device *dev, struct aml *aml)
{
	struct uart *uart = (struct uart *)dev;
	unsigned int n = uart->port == 0x3f8 ? 1 : uart->port == 0x2f8 ? 2 :
			 uart->port == 0x3e8 ? 3 : 4;
	char name[5] = { 'C', 'O', 'M', '0' + n, 0 };

	aml_device(aml, name);
	aml_name_eisaid(aml, "_HID", "PNP0501");
	aml_name_integer(aml, "_UID", n);
	aml_name_integer(aml, "_STA", 0x0f);
	aml_resources(aml, "_CRS");
	aml_resource_io(aml, uart->port, uart->port, 1, 8);
	aml_resource_irq(aml, uart->irq);
	aml_resources_end(aml);
	aml_end(aml);
}

const struct device_type uart_type = {
	.name = "uart",
	.help = "16550A serial port",
	.size = sizeof(struct uart),
	.version = 1,
	CHIPSET_FIELDS(uart_fields),
	.create = uart_create,
	.destroy = uart_destroy,
	.reset = uart_reset,
	.loaded = uart_loaded,
	.acpi = uart_acpi,
};
