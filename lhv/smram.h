/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * System-management RAM behind the VGA window, of an i440FX host bridge whose firmware has moved SMBASE there and hasn't
 * locked it: lhv can put a handler of its own there for a while. CPU 0, interrupts off.
 */
#ifndef LHV_SMRAM_H
#define LHV_SMRAM_H

#include "core/base.h"

/* Is it there, and open to us? */
bool smram_present(void);
/* The first bytes of the handler of CPU 0: puts these there, and what was there into the array; the next call puts it back. */
#define SMRAM_HANDLER_BYTES 24u
void smram_exchange(u8 code[SMRAM_HANDLER_BYTES]);

#endif
