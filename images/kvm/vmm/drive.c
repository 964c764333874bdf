// SPDX-License-Identifier: BSD-2-Clause
#include "drive.h"

#include <sys/io.h>

#define ATA 0x1f0
#define CONTROL 0x3f6
#define NO_INTERRUPT 0x02
#define LBA_SLAVE 0xf0
#define STATUS_BUSY 0x80
#define STATUS_DATA 0x08
#define STATUS_ERROR 0x01
#define COMMAND_READ 0x20
#define POLLS 10000000u
#define SECTOR 512u
#define CHUNK 128u

static int wait_data(void)
{
	for (unsigned i = 0; i < POLLS; i++) {
		uint8_t status = inb(ATA + 7);

		if (status & STATUS_BUSY)
			continue;
		if (status & STATUS_ERROR)
			return 0;
		if (status & STATUS_DATA)
			return 1;
	}
	return 0;
}

static int read_chunk(uint32_t lba, uint8_t *to, unsigned sectors)
{
	outb(LBA_SLAVE | (lba >> 24 & 15), ATA + 6);
	outb((uint8_t)sectors, ATA + 2);
	outb((uint8_t)lba, ATA + 3);
	outb((uint8_t)(lba >> 8), ATA + 4);
	outb((uint8_t)(lba >> 16), ATA + 5);
	outb(COMMAND_READ, ATA + 7);
	for (unsigned i = 0; i < sectors; i++, to += SECTOR) {
		if (!wait_data())
			return 0;
		insw(ATA, to, SECTOR / 2);
	}
	return 1;
}

int drive_read(uint32_t lba, void *to, size_t bytes)
{
	size_t sectors = (bytes + SECTOR - 1) / SECTOR;
	uint8_t *at = to;

	if (inb(ATA + 7) == 0xff)
		return 0;
	outb(NO_INTERRUPT, CONTROL);
	while (sectors) {
		unsigned n = sectors < CHUNK ? (unsigned)sectors : CHUNK;

		if (!read_chunk(lba, at, n))
			return 0;
		lba += n;
		at += n * SECTOR;
		sectors -= n;
	}
	return 1;
}
