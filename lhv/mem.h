/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory: identity-mapped, handed out page by page, given back all at once after an item. */
#ifndef LHV_MEM_H
#define LHV_MEM_H

#include "core/base.h"
#include "core/ept.h"

/*
 * Fixed places (physical = linear):
 *   0x00008000  trampoline of the other CPUs (below 1 MiB because of SIPI)
 *   0x00009000  code that restarted CPUs begin with (testcases/smp.c)
 *   0x0000a000  two pages of snippets in virtual-8086 and real-address mode (testcases/snippet.c)
 *   0x00010000  LOW_BYTES per CPU for real-mode guests
 *   0x00100000  the image, then pages handed out up to HEAP_END
 *   0x01000000  two 2 MiB frames for large EPT pages
 */
#define AP_TRAMPOLINE 0x8000u
#define SIPI_PAGE 0x9000u
#define SNIP_LOW 0xa000u
#define LOW_BASE 0x10000u
#define LOW_BYTES 0x4000u
#define HEAP_END 0x1000000u
#define FRAME_A 0x1000000u
#define FRAME_B 0x1200000u
#define LARGE_BYTES 0x200000u
#define MEM_NEEDED 0x1400000u /* physical memory must reach to here */

/* Starts the heap behind the image. */
void mem_init(void);
/* Zeroed pages; panics if the heap is used up. Lock-free, any CPU. */
void *page_alloc(void);
void *pages_alloc_aligned(u32 pages, u32 align);
/* All pages handed out since mem_mark are free again. CPU 0, between items. */
u32 mem_mark(void);
void mem_release(u32 mark);
/* Heap pages for lib/core/ept.c. */
extern const struct ept_mem heap_ept_mem;

#endif
