/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine around the CPUs: time, interrupt controllers, keyboard controller, disk, power. */
#ifndef LHV_PLATFORM_H
#define LHV_PLATFORM_H

#include "core/base.h"
#include "core/cmdline.h"
#include "core/verdict.h"

/* Shows the verdict on the screen and ends the machine as exit= says, or stays for ever. */
void platform_end(enum verdict v) __attribute__((noreturn));
void platform_set_exit(enum exit_how how);

/* TSC ticks per millisecond, measured against the PIT; at least 1. */
extern u64 tsc_per_ms;
/* Measures tsc_per_ms and the local APIC timer's rate. CPU 0, interrupts off. */
void time_calibrate(void);
/* Has the TSC reached `deadline`? */
bool time_is_up(u64 deadline);
u64 time_after_ms(u32 ms);

#endif
