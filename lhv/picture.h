/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A picture of the machine's state, taken before a test and held against it afterwards, so that no test spoils the next:
 * control and debug registers, segment and table registers, MSRs, local APIC, L1's page tables, the shared EPT.
 * What differs is put back.
 *
 * Not in it, since each test has it anew: VMCSs (in VMX operation by each test's own VMXON), pages of the heap.
 */
#ifndef LHV_PICTURE_H
#define LHV_PICTURE_H

#include "lhv/cpu.h"

/* Before the first picture. CPU 0: takes memory, for good. */
void picture_init(void);
/* On the CPU itself, interrupts off, in VMX root operation or outside. */
void picture_take(struct cpu *c);
/*
 * Puts back what differs, and sees that it is then as it was. Tells up to a line of what differed in text ("CR4 0x2030 for
 * 0x2020"); it is empty if nothing did. On the CPU itself, interrupts off.
 */
enum picture_result {
	PICTURE_SAME,
	PICTURE_RESTORED,
	PICTURE_SPOILT /* something can't be put back */
} picture_restore(struct cpu *c, char *text, size_t size);

#endif
