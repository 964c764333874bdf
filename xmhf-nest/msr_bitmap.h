/* SPDX-License-Identifier: BSD-2-Clause */
/* The MSR bitmap that L2 runs with. Pure; inline, since it's on the way of every entry to L2. */
#ifndef NEST_MSR_BITMAP_H
#define NEST_MSR_BITMAP_H

#include "core/mem.h"
#include "xmhf-nest/cpu.h"

/*
 * A page: L1's bitmap (NULL: where no memory is, ones) and L0's bits, which are all in these words (ulong). A copy, since
 * L0's bits mustn't be L1's to change.
 */
static inline void msr_bitmap_merge(ulong *to, const void *bitmap12, const ulong *l0, const u16 *word, u32 words)
{
	if (!bitmap12) {
		memset(to, 0xff, PAGE_SIZE);
		return;
	}
	copy_words(to, bitmap12, PAGE_SIZE / sizeof(ulong));
	for (u32 i = 0; i < words; i++)
		to[word[i]] |= l0[word[i]];
}

#endif
