// SPDX-License-Identifier: BSD-2-Clause
#include "devices.h"

#include <string.h>

#define SECTOR 512u

/* --- UART, 8250 family: as far as a transmitter needs --- */

#define LCR_DLAB 0x80
#define IER_THRE 0x02
#define MCR_LOOP 0x10
#define MCR_OUT2 0x08
#define LSR_IDLE 0x60 /* THRE and TEMT: a byte is gone at once */
#define IIR_NONE 0x01
#define IIR_THRE 0x02
#define IIR_FIFO 0xc0

static void uart_update(struct uart *u)
{
	device_irq(IRQ_COM1, u->thre_pending && (u->ier & IER_THRE) && (u->mcr & MCR_OUT2));
}

static void uart_out(struct uart *u, unsigned reg, uint8_t value)
{
	switch (reg) {
	case 0:
		if (u->lcr & LCR_DLAB) {
			u->dll = value;
			return;
		}
		if (!(u->mcr & MCR_LOOP))
			device_serial(value);
		u->thre_pending = 1;
		break;
	case 1:
		if (u->lcr & LCR_DLAB) {
			u->dlm = value;
			return;
		}
		if (value & ~u->ier & IER_THRE)
			u->thre_pending = 1;
		u->ier = value & 0x0f;
		break;
	case 2:
		u->fcr = value;
		return;
	case 3:
		u->lcr = value;
		return;
	case 4:
		u->mcr = value & 0x1f;
		break;
	case 7:
		u->scratch = value;
		return;
	default:
		return;
	}
	if (u->ier)
		uart_update(u);
}

static uint8_t uart_in(struct uart *u, unsigned reg)
{
	uint8_t fifo = u->fcr & 1 ? IIR_FIFO : 0;

	switch (reg) {
	case 0:
		return u->lcr & LCR_DLAB ? u->dll : 0;
	case 1:
		return u->lcr & LCR_DLAB ? u->dlm : u->ier;
	case 2:
		if (!u->thre_pending || !(u->ier & IER_THRE))
			return IIR_NONE | fifo;
		u->thre_pending = 0;
		uart_update(u);
		return IIR_THRE | fifo;
	case 3:
		return u->lcr;
	case 4:
		return u->mcr;
	case 5:
		return LSR_IDLE;
	case 6:
		return 0xb0; /* CTS, DSR, DCD */
	default:
		return u->scratch;
	}
}

/* --- keyboard controller: what software can make it say by itself --- */

#define STATUS_FULL 0x01
#define STATUS_SYSTEM 0x04
#define STATUS_COMMAND 0x08
#define STATUS_MOUSE 0x20
#define CONFIG_IRQ_KEYBOARD 0x01
#define CONFIG_IRQ_MOUSE 0x02
#define CMD_READ_CONFIG 0x20
#define CMD_WRITE_CONFIG 0x60
#define CMD_SELF_TEST 0xaa
#define CMD_TEST_KEYBOARD 0xab
#define CMD_TEST_MOUSE 0xa9
#define CMD_READ_OUTPUT 0xd0
#define CMD_WRITE_OUTPUT 0xd1
#define CMD_AS_KEYBOARD 0xd2
#define CMD_AS_MOUSE 0xd3
#define CMD_TO_MOUSE 0xd4

static void i8042_give(struct i8042 *k, uint8_t byte, int mouse)
{
	k->output = byte;
	k->status = (uint8_t)((k->status & ~STATUS_MOUSE) | STATUS_FULL | (mouse ? STATUS_MOUSE : 0));
	if (k->config & (mouse ? CONFIG_IRQ_MOUSE : CONFIG_IRQ_KEYBOARD))
		device_irq(mouse ? IRQ_MOUSE : IRQ_KEYBOARD, 1);
}

static uint8_t i8042_take(struct i8042 *k)
{
	device_irq(k->status & STATUS_MOUSE ? IRQ_MOUSE : IRQ_KEYBOARD, 0);
	k->status &= (uint8_t) ~(STATUS_FULL | STATUS_MOUSE);
	return k->output;
}

static void i8042_command(struct i8042 *k, uint8_t value)
{
	k->command = 0;
	k->status |= STATUS_COMMAND;
	switch (value) {
	case CMD_READ_CONFIG:
		i8042_give(k, k->config, 0);
		return;
	case CMD_SELF_TEST:
		i8042_give(k, 0x55, 0);
		return;
	case CMD_TEST_KEYBOARD:
	case CMD_TEST_MOUSE:
		i8042_give(k, 0x00, 0);
		return;
	case CMD_READ_OUTPUT:
		i8042_give(k, 0x03, 0); /* A20 on, no reset */
		return;
	case CMD_WRITE_CONFIG:
	case CMD_WRITE_OUTPUT:
	case CMD_AS_KEYBOARD:
	case CMD_AS_MOUSE:
	case CMD_TO_MOUSE:
		k->command = value;
		return;
	default:
		return;
	}
}

/* A byte that isn't part of a command goes to a keyboard that isn't there. */
static void i8042_data(struct i8042 *k, uint8_t value)
{
	uint8_t command = k->command;

	k->command = 0;
	k->status &= (uint8_t)~STATUS_COMMAND;
	if (command == CMD_WRITE_CONFIG)
		k->config = value;
	else if (command == CMD_AS_KEYBOARD)
		i8042_give(k, value, 0);
	else if (command == CMD_AS_MOUSE)
		i8042_give(k, value, 1);
}

/* --- ATA disk: IDENTIFY and READ SECTORS by PIO --- */

#define ATA 0x1f0
#define ATA_CONTROL 0x3f6
#define ATA_READY 0x50 /* DRDY, DSC */
#define ATA_DATA 0x08
#define ATA_ERROR 0x01
#define ERROR_ABORT 0x04
#define ERROR_NO_ID 0x10
#define CONTROL_NO_INTERRUPT 0x02
#define CONTROL_RESET 0x04
#define DEVICE_SLAVE 0x10
#define DEVICE_LBA 0x40
#define CMD_READ 0x20
#define CMD_READ_NO_RETRY 0x21

static int disk_here(const struct disk *d)
{
	return d->sectors && !(d->device & DEVICE_SLAVE);
}

static void disk_interrupt(struct disk *d)
{
	if (!(d->control & CONTROL_NO_INTERRUPT))
		device_irq(IRQ_DISK, 1);
}

static void disk_fail(struct disk *d, uint8_t error)
{
	d->status = ATA_READY | ATA_ERROR;
	d->error = error;
	d->left = 0;
	disk_interrupt(d);
}

static void disk_command(struct disk *d, uint8_t command)
{
	uint32_t lba =
		d->lba[0] | (uint32_t)d->lba[1] << 8 | (uint32_t)d->lba[2] << 16 | (uint32_t)(d->device & 15) << 24;
	uint32_t count = d->count ? d->count : 256;

	d->error = 0;
	if ((command != CMD_READ && command != CMD_READ_NO_RETRY) || !(d->device & DEVICE_LBA)) {
		disk_fail(d, ERROR_ABORT);
		return;
	}
	if (lba >= d->sectors || count > d->sectors - lba) {
		disk_fail(d, ERROR_NO_ID);
		return;
	}
	d->at = lba * SECTOR;
	d->left = count * SECTOR;
	d->status = ATA_READY | ATA_DATA;
	disk_interrupt(d);
}

static void disk_out(struct disk *d, uint16_t port, uint8_t value)
{
	switch (port) {
	case ATA + 2:
		d->count = value;
		break;
	case ATA + 3:
	case ATA + 4:
	case ATA + 5:
		d->lba[port - ATA - 3] = value;
		break;
	case ATA + 6:
		d->device = value;
		break;
	case ATA + 7:
		if (disk_here(d))
			disk_command(d, value);
		break;
	case ATA_CONTROL:
		d->control = value;
		if (value & CONTROL_RESET) {
			d->left = 0;
			d->status = ATA_READY;
			d->error = 1;
		}
		break;
	default:
		break;
	}
}

static uint32_t disk_data(struct disk *d, unsigned size)
{
	uint32_t value = 0;

	if (d->left < size)
		return 0;
	memcpy(&value, d->bytes + d->at, size);
	d->at += size;
	d->left -= size;
	if (!d->left)
		d->status = ATA_READY;
	else if (d->left % SECTOR == 0)
		disk_interrupt(d);
	return value;
}

static uint32_t disk_in(struct disk *d, uint16_t port, unsigned size)
{
	if (!d->sectors)
		return ~0u;
	switch (port) {
	case ATA:
		return disk_here(d) ? disk_data(d, size) : 0;
	case ATA + 1:
		return d->error;
	case ATA + 2:
		return d->count;
	case ATA + 3:
	case ATA + 4:
	case ATA + 5:
		return d->lba[port - ATA - 3];
	case ATA + 6:
		return d->device;
	case ATA + 7:
		device_irq(IRQ_DISK, 0);
		return disk_here(d) ? d->status : 0;
	default:
		return disk_here(d) ? d->status : 0; /* alternate status */
	}
}

/* --- ports --- */

static int is_disk(uint16_t port)
{
	return (port >= ATA && port < ATA + 8) || port == ATA_CONTROL;
}

void devices_init(struct devices *d, const uint8_t *disk, size_t disk_bytes)
{
	memset(d, 0, sizeof(*d));
	d->i8042.status = STATUS_SYSTEM;
	d->i8042.config = CONFIG_IRQ_KEYBOARD | CONFIG_IRQ_MOUSE;
	d->disk.bytes = disk;
	d->disk.sectors = (uint32_t)(disk_bytes / SECTOR);
	d->disk.status = ATA_READY;
}

void devices_out(struct devices *d, uint16_t port, uint32_t value, unsigned size)
{
	if (port >= COM1 && port < COM1 + 8)
		uart_out(&d->uart, port - COM1, (uint8_t)value);
	else if (port == 0x60)
		i8042_data(&d->i8042, (uint8_t)value);
	else if (port == 0x64)
		i8042_command(&d->i8042, (uint8_t)value);
	else if (is_disk(port) && size == 1)
		disk_out(&d->disk, port, (uint8_t)value);
}

uint32_t devices_in(struct devices *d, uint16_t port, unsigned size)
{
	if (port >= COM1 && port < COM1 + 8)
		return uart_in(&d->uart, port - COM1);
	if (port == 0x60)
		return i8042_take(&d->i8042);
	if (port == 0x64)
		return d->i8042.status;
	if (is_disk(port))
		return disk_in(&d->disk, port, size);
	return ~0u;
}
