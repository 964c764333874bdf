/* SPDX-License-Identifier: BSD-2-Clause */
/* The other CPUs: starting them, and meeting them. */
#ifndef LHV_SMP_H
#define LHV_SMP_H

#include "core/base.h"

/*
 * Starts up to wanted CPUs (0: all that answer) and sets cpu_count. Returns how many there are.
 * body runs on each of the others, on its own stack with its tables loaded, interrupts off.
 */
u32 smp_start(u32 wanted, void (*body)(void));

/*
 * All CPUs wait here for each other. Interrupts as they are. Works between LEVEL_L1 code only.
 */
void barrier(void);

#endif
