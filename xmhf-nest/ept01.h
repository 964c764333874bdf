/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EPT01: L1's memory. Identity with the MTRRs' types, shared by all CPUs. In place of L0's range there is one
 * scratch page; the local APIC's page is read-only while L0 has to see what L1 writes to it.
 */
#ifndef NEST_EPT01_H
#define NEST_EPT01_H

#include "core/ept.h"

extern u64 ept01_pointer; /* EPTP */

/* Boot, first CPU. max_level: of pages, 2 or 3. */
void ept01_init(int max_level);
struct ept_walk ept01_lookup(u64 gpa);
/* Maps the page at gpa if nothing was yet: memory-mapped I/O above RAM. False if it's not to be had (private, no table left). */
bool ept01_fill(u64 gpa);
/* Where the local APIC's registers are for L1; writes there exit. 0: nowhere (x2APIC mode or off). */
extern u64 ept01_apic;
void ept01_set_apic(u64 gpa);
/*
 * Takes [start, end) out, or gives it back. The caller makes all CPUs drop EPT02 and execute INVEPT.
 * False if no table page was left; nothing changed then.
 */
bool ept01_hide(u64 start, u64 end);
void ept01_show(u64 start, u64 end);

#endif
