/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory. L0 sees physical memory at its own address (identity), except that its image is in a window of 2 MiB
 * (nest_base, build.mk). An i386 L0 sees the first 4 GiB, and not what lies under the window.
 *
 *   L0's range, at the top of RAM below 4 GiB:   image | pool of pages
 */
#ifndef NEST_MEM_H
#define NEST_MEM_H

#include "core/base.h"
#include "xmhf-nest/memmap.h"

/*
 * Takes a range for L0 at the top of RAM, moves the image there and sets up the final page tables. Afterwards the
 * memory that the loader put the image in is free. Panics if there is no room.
 */
void mem_init(const struct multiboot_info *info, u32 cpus);
extern struct range mem_l0;
extern u64 mem_top; /* end of RAM, also above 4 GiB */
extern u32 mem_cr3; /* L0's page tables; below 4 GiB */

/* Zeroed pages of L0's pool, physical = virtual; panics when none is left. Boot only. */
void *pages_alloc(u32 count, u32 alignment);
/* The same, but 0 when none is left. */
void *pages_try(u32 count, u32 alignment);
void *low_memory(u32 pa); /* for constant addresses that compilers take for NULL plus something */
u64 pool_used(void);
u64 phys_of(const void *p); /* also of what is in the image */

/*
 * L1's RAM, as L0 may read and write it on L1's behalf: a pointer, or NULL if any byte of [gpa, gpa+bytes) is L0's,
 * private, or not RAM. 0 < bytes <= 4096
 */
void *gpa_ptr_slow(u64 gpa, u32 bytes);
/* Addresses from which on that's true of a whole page, without a look: RAM below L0, as long as nothing is private. */
extern struct range gpa_plain;

static inline void *gpa_ptr(u64 gpa, u32 bytes)
{
	/* Not by gpa + bytes, which may be 0 and more again. */
	if (gpa >= gpa_plain.start && gpa < gpa_plain.end)
		return (void *)(ulong)gpa;
	return gpa_ptr_slow(gpa, bytes);
}

/* Copies under the conditions of gpa_ptr; false, and nothing is copied, if some of it isn't L1's RAM. */
bool gpa_read(u64 gpa, void *to, u32 bytes);
bool gpa_write(u64 gpa, const void *from, u32 bytes);

/* L1's memory map: RAM without L0's range. Writes at most max entries, returns their number. */
u32 mem_l1_map(struct multiboot_mmap *map, u32 max);

#endif
