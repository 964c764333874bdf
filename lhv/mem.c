// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/mem.h"

#include "core/mem.h"
#include "lhv/report.h"

extern u8 image_end[];
static u32 heap_next;

void mem_init(void)
{
	heap_next = (u32)(ulong)image_end;
}

void *pages_alloc_aligned(u32 pages, u32 align)
{
	u32 bytes = pages * PAGE_SIZE;
	u32 start, next;

	/* Several CPUs may build tables at the same time. */
	do {
		u32 old = __atomic_load_n(&heap_next, __ATOMIC_RELAXED);

		start = (old + align - 1) & ~(align - 1);
		next = start + bytes;
		if (next > HEAP_END)
			panic("out of memory");
		if (__atomic_compare_exchange_n(&heap_next, &old, next, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			break;
	} while (true);
	memset((void *)(ulong)start, 0, bytes);
	return (void *)(ulong)start;
}

void *page_alloc(void)
{
	return pages_alloc_aligned(1, PAGE_SIZE);
}

u32 mem_mark(void)
{
	return heap_next;
}

void mem_release(u32 mark)
{
	heap_next = mark;
}

static u64 ept_page(void *ctx)
{
	(void)ctx;
	return (ulong)page_alloc();
}

static u64 *ept_pointer(void *ctx, u64 table)
{
	(void)ctx;
	return (u64 *)(ulong)table;
}

const struct ept_mem heap_ept_mem = { ept_page, ept_pointer, NULL };
