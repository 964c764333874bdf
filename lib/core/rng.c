// SPDX-License-Identifier: BSD-2-Clause
#include "core/rng.h"

void rng_seed(struct rng *r, u64 seed)
{
	/* Spreads small seeds; the state must not be 0. */
	r->state = (seed ^ 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull;
	if (!r->state)
		r->state = 1;
}

u64 rng_next(struct rng *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * 0x2545f4914f6cdd1dull;
}

u32 rng_below(struct rng *r, u32 n)
{
	/* The high half of a product: no division, and the bias of 2^-32 doesn't matter here. */
	return (u32)((rng_next(r) >> 32) * n >> 32);
}
