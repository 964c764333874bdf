/* SPDX-License-Identifier: BSD-2-Clause */
/* The second disk of the machine that we run on, read by PIO: the kernel needs no driver for it. Needs iopl. */
#ifndef KVM_DRIVE_H
#define KVM_DRIVE_H

#include <stddef.h>
#include <stdint.h>

/* bytes is rounded up to whole sectors: the buffer must have room. False if the disk doesn't answer. */
int drive_read(uint32_t lba, void *to, size_t bytes);

#endif
