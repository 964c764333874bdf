/* SPDX-License-Identifier: BSD-2-Clause */
/* EPT tables of L2: an identity map shared by all CPUs, and copies of its upper levels to put windows in. */
#ifndef LHV_EPT_SETUP_H
#define LHV_EPT_SETUP_H

#include "core/base.h"
#include "core/ept.h"

#define IDENTITY_END 0x1800000u /* of memory; the APIC pages are mapped too */

/* Guest-physical addresses of windows: nothing of the identity map is in their 2 MiB. */
#define GPA_UNMAPPED 0x12340000u
#define GPA_ALIAS 0x12341000u
#define GPA_SWITCH 0x12342000u
#define GPA_LARGE_A 0x14000000u
#define GPA_LARGE_B 0x14200000u
#define GPA_GIANT 0x40000000u

/* Reads the MTRRs. CPU 0, once. */
void ept_setup_init(void);
/*
 * Builds the identity maps that this kind of item needs (kept for ever). CPU 0, before others use it.
 * large: with 2 MiB and, where offered, 1 GiB pages.
 */
void ept_prepare_identity(bool large);
/* A new root with the identity map, whose tables outside of the identity map's own may be changed. */
u64 ept_new_root(bool large);
/* Tells whether a shared page table of the identity maps has changed, but for accessed and dirty flags; 0: there is none. */
u64 ept_identity_sum(void);
/* The next items get new ones. */
void ept_forget_identity(void);
/* EPTP for a root: write-back, 4 levels, no accessed and dirty flags. */
u64 eptp_for(u64 root);
/* The MTRRs' type of a page. */
enum memtype memory_type(u64 pa);
/* Maps one 4 KiB page (0 rights: unmaps it) with the MTRRs' type; panics if there is no memory. */
void ept_map_page(u64 root, u64 gpa, u64 pa, u64 rights);

#endif
