/* SPDX-License-Identifier: BSD-2-Clause */
/* A window in L1's own page tables: two pages of 2 MiB, the first is memory, the second is absent. L1, CPU 0. */
#ifndef TESTCASES_L1_WINDOW_H
#define TESTCASES_L1_WINDOW_H

#include "core/base.h"

/* A linear address whose entry L1 may change: nothing that lhv uses is in it, nor in the one behind it. */
#define FAULT_WINDOW 0x30000000u
#define WINDOW_BYTES 0x200000u

struct window {
	u64 saved[2];
};

/* FRAME_A is there and can be written to. */
void window_open(struct window *w);
void window_close(const struct window *w);
/* Another entry for the first page. */
void window_set(u64 first);
/* Both entries. */
u64 *window_entries(void);

#endif
