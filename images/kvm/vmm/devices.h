/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L1's devices that KVM doesn't emulate itself: a UART at COM1, a keyboard controller without keyboard, an ATA disk that
 * can be read. Pure but for the two functions at the end, which the machine brings. The caller holds a lock.
 */
#ifndef KVM_DEVICES_H
#define KVM_DEVICES_H

#include <stddef.h>
#include <stdint.h>

#define COM1 0x3f8
/* A write ends the machine: QEMU's isa-debug-exit; and Bochs' port, where the first byte of "Shutdown" will do. */
#define EXIT_PORT 0xf4
#define SHUTDOWN_PORT 0x8900
#define IRQ_KEYBOARD 1
#define IRQ_COM1 4
#define IRQ_MOUSE 12
#define IRQ_DISK 14

struct uart {
	uint8_t ier, lcr, mcr, scratch, dll, dlm, fcr;
	int thre_pending;
};

struct i8042 {
	uint8_t config, command, output, status;
};

struct disk {
	const uint8_t *bytes;
	uint32_t sectors;
	uint8_t count, lba[3], device, status, error, control;
	uint32_t at, left; /* the transfer: byte in the image, bytes to come */
};

struct devices {
	struct uart uart;
	struct i8042 i8042;
	struct disk disk;
};

void devices_init(struct devices *d, const uint8_t *disk, size_t disk_bytes);
/* A write of size 1, 2 or 4. */
void devices_out(struct devices *d, uint16_t port, uint32_t value, unsigned size);
/* Ports where nothing is read as ones. */
uint32_t devices_in(struct devices *d, uint16_t port, unsigned size);

/* The machine's. */
void device_irq(unsigned irq, int level);
void device_serial(uint8_t byte);

#endif
