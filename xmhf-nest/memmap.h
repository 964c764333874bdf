/* SPDX-License-Identifier: BSD-2-Clause */
/* The boot loader's memory map: what of it is L1's. Pure. */
#ifndef NEST_MEMMAP_H
#define NEST_MEMMAP_H

#include "core/base.h"
#include "x86/multiboot.h"

#define MEMMAP_MAX 64u

struct range {
	u64 start, end; /* bytes; end is behind */
};

struct memmap {
	struct multiboot_mmap entry[MEMMAP_MAX];
	u32 count;
	struct range l0;     /* L0's own */
	struct range unseen; /* what L0 has something else at, in its address space */
};

/* Is each byte of [gpa, gpa+bytes) RAM, not L0's, and at its own address in L0's address space? bytes > 0 */
bool memmap_is_l1(const struct memmap *m, u64 gpa, u32 bytes);
/* The addresses in the RAM below L0 from which on there is a whole page. Empty ones are { 0, 0 }. */
struct range memmap_plain(const struct memmap *m);
/* The map for L1: L0's range is reserved. Writes at most max entries, returns their number. */
u32 memmap_for_l1(const struct memmap *m, struct multiboot_mmap *to, u32 max);

#endif
