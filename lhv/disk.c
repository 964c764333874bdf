// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/disk.h"

#include "arch/cpu.h"

#define SECTOR_COUNT 0x1f2
#define LBA_LOW 0x1f3
#define LBA_MID 0x1f4
#define LBA_HIGH 0x1f5
#define DEVICE 0x1f6
#define STATUS 0x1f7
#define COMMAND 0x1f7
#define CONTROL 0x3f6

#define STATUS_BUSY 0x80
#define STATUS_READY 0x40
#define STATUS_FAULT 0x20
#define STATUS_DATA 0x08
#define STATUS_ERROR 0x01
#define COMMAND_READ 0x20
#define CONTROL_NO_INTERRUPT 0x02
#define WAIT_MAX 1000000u

static bool present;

bool disk_present(void)
{
	return present;
}

static bool wait_status(u8 clear, u8 set)
{
	for (u32 i = 0; i < WAIT_MAX; i++) {
		u8 s = in8(STATUS);

		if (!(s & clear) && (s & set) == set)
			return true;
		cpu_pause();
	}
	return false;
}

bool disk_request(u32 lba)
{
	out8(DEVICE, 0xe0 | (lba >> 24 & 0x0f));
	if (!wait_status(STATUS_BUSY, STATUS_READY))
		return false;
	out8(SECTOR_COUNT, 1);
	out8(LBA_LOW, (u8)lba);
	out8(LBA_MID, (u8)(lba >> 8));
	out8(LBA_HIGH, (u8)(lba >> 16));
	out8(COMMAND, COMMAND_READ);
	return wait_status(STATUS_BUSY | STATUS_ERROR | STATUS_FAULT, STATUS_DATA);
}

void disk_init(void)
{
	u8 s;

	out8(DEVICE, 0xe0);
	s = in8(STATUS);
	/* A floating bus reads as ones, a controller without this disk as zero; a CD-ROM drive isn't ready for READ. */
	if (s == 0xff || s == 0)
		return;
	out8(CONTROL, CONTROL_NO_INTERRUPT);
	if (!disk_request(0))
		return;
	for (u32 i = 0; i < SECTOR_BYTES / 2; i++)
		(void)in16(DISK_DATA_PORT);
	present = true;
}
