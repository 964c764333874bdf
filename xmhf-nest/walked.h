/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a walk of L1's page tables led to, and all that it read on the way: good as long as everything still reads the
 * same. Walks are long and L1's operands lie in few pages.
 */
#ifndef NEST_WALKED_H
#define NEST_WALKED_H

#include "core/base.h"

#define WALKED_LINES 16u
#define WALKED_READS 4u

struct walked {
	u64 page, cr3, gpa; /* page: linear; bit 0: for writing; 0 in an empty line, which is no loss */
	u64 state;          /* of the registers that the walk depends on */
	u32 reads;
	struct {
		const void *at;
		u64 value;
		u32 bytes; /* 4 or 8 */
	} read[WALKED_READS];
};

#endif
