/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For hosts that never get rid of an INIT once it's pending (kick=timer): instead of kicking each other, CPUs come to L0
 * by themselves every few thousand ticks, by the VMX-preemption timer. L1's own timer counts on behind it.
 */
#ifndef NEST_POLL_H
#define NEST_POLL_H

#include "xmhf-nest/cpu.h"

/* Time between two looks, in units of the timer; 0: CPUs are kicked. */
extern u32 poll_ticks;

/* First CPU, after caps_init; panics if the CPU has no such timer. */
void poll_init(void);
/* VMCS02 is current and about to be entered: arms the timer for L0 or L1, whose turn comes first. */
void poll_arm(struct cpu *c);
/* The timer expired while L2 ran. True: it was L0's, L2 goes on. False: it's L1's exit. */
bool poll_expired(struct cpu *c);
/* Exit to L1: brings L1's timer up to date in VMCS12 if L1 wants it saved. */
void poll_save(struct cpu *c);

#endif
