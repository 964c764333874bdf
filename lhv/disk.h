/* SPDX-License-Identifier: BSD-2-Clause */
/* The first ATA disk, by PIO: a device that answers REP INS. */
#ifndef LHV_DISK_H
#define LHV_DISK_H

#include "core/base.h"

#define DISK_DATA_PORT 0x1f0
#define SECTOR_BYTES 512

/* Looks for an ATA disk at 0x1f0. CPU 0. */
void disk_init(void);
bool disk_present(void);
/* Asks for a sector; its 256 words can be read from DISK_DATA_PORT when this returns true. */
bool disk_request(u32 lba);

#endif
