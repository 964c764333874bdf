/* SPDX-License-Identifier: BSD-2-Clause */
/* COM1, 115200 8N1, polled. */
#ifndef LHV_SERIAL_H
#define LHV_SERIAL_H

#include "core/base.h"

/* Finds out whether there is a UART; without one the others do nothing. */
void serial_init(void);
void serial_write(const char *text, size_t n);
/* Waits until the last bit is on the wire (an emulator may lose what is still in the UART). */
void serial_drain(void);

#endif
