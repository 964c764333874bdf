/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_RNG_H
#define CORE_RNG_H

#include "core/base.h"

/* xorshift64*: repeatable choices, nothing more. */
struct rng {
	u64 state;
};
void rng_seed(struct rng *r, u64 seed); /* any seed, 0 too */
u64 rng_next(struct rng *r);
u32 rng_below(struct rng *r, u32 n); /* 0..n-1; n > 0 */

#endif
