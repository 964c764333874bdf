// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/l1_window.h"
#include "arch/cpu.h"
#include "lhv/mem.h"
#include "x86/cr.h"

/* The page-directory entry of L1's own page tables. */
static u64 *directory_entry(ulong linear)
{
	u64 *table = (u64 *)(ulong)(read_cr3() & PTE_ADDR);

#ifdef __x86_64__
	table = (u64 *)(ulong)(table[linear >> 39 & 511] & PTE_ADDR);
#endif
	table = (u64 *)(ulong)(table[linear >> 30 & (sizeof(ulong) == 8 ? 511 : 3)] & PTE_ADDR);
	return &table[linear >> 21 & 511];
}

void window_set(u64 first)
{
	u64 *entry = directory_entry(FAULT_WINDOW);

	entry[0] = first;
	entry[1] = 0;
	invlpg(FAULT_WINDOW);
	invlpg(FAULT_WINDOW + WINDOW_BYTES);
}

void window_open(struct window *w)
{
	u64 *entry = directory_entry(FAULT_WINDOW);

	w->saved[0] = entry[0];
	w->saved[1] = entry[1];
	window_set(FRAME_A | PTE_P | PTE_W | PTE_PS);
}

void window_close(const struct window *w)
{
	u64 *entry = directory_entry(FAULT_WINDOW);

	entry[0] = w->saved[0];
	entry[1] = w->saved[1];
	invlpg(FAULT_WINDOW);
	invlpg(FAULT_WINDOW + WINDOW_BYTES);
}

u64 *window_entries(void)
{
	return directory_entry(FAULT_WINDOW);
}
