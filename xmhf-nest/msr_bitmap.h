/* SPDX-License-Identifier: BSD-2-Clause */
/* The MSR bitmap that L2 runs with. Pure; inline, since it's on the way of every entry to L2. */
#ifndef NEST_MSR_BITMAP_H
#define NEST_MSR_BITMAP_H

#include "xmhf-nest/cpu.h"

/* Numbers of L0's bitmap's words (ulong) with bits in them. */
#define MSR_BITMAP_WORDS 8u
struct msr_bitmap_words {
	u32 count;
	u16 word[MSR_BITMAP_WORDS];
};

/* A page: L1's bitmap (NULL: where no memory is, ones) and L0's bits. A copy, since L0's bits mustn't be L1's to change. */
static inline void msr_bitmap_merge(ulong *to, const void *bitmap12, const ulong *l0, const struct msr_bitmap_words *w)
{
	if (!bitmap12) {
		for (u32 i = 0; i < PAGE_SIZE / sizeof(ulong); i++)
			to[i] = ~(ulong)0;
		return;
	}
	copy_words(to, bitmap12, PAGE_SIZE / sizeof(ulong));
	for (u32 i = 0; i < w->count; i++)
		to[w->word[i]] |= l0[w->word[i]];
}

#endif
