/* SPDX-License-Identifier: BSD-2-Clause */
/* EPT violations that are L0's own: I/O memory seen for the first time, private pages, the guarded APIC page. */
#ifndef NEST_MMIO_H
#define NEST_MMIO_H

#include "xmhf-nest/cpu.h"

/* The current guest, L1 or L2, touched gpa1 (an address of L1's) and EPT01 was in the way. access: EPT_R, EPT_W, EPT_X. */
void mmio_violation(struct cpu *c, u64 gpa1, u32 access);
/* An exit that L0 handled interrupted an event's delivery, or an IRET that had unblocked NMIs: as if it hadn't happened. */
void resume_interrupted(u64 qualification);

#endif
