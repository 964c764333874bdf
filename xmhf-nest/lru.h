/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of a few lines of a cache holds which key, and which one goes next: least recently used. Pure. */
#ifndef NEST_LRU_H
#define NEST_LRU_H

#include "core/base.h"

#define LRU_MAX 16u /* lines */

struct lru {
	u64 key[LRU_MAX];  /* by line */
	u8 order[LRU_MAX]; /* lines in use, most recently used first */
	u8 used;           /* how many these are */
	u8 lines;          /* 1 to LRU_MAX */
	u16 taken;         /* bit per line in use */
};

void lru_init(struct lru *l, u32 lines); /* 1 to LRU_MAX; all lines empty */
void lru_clear(struct lru *l);

/* The key's line, which becomes the most recently used one; -1 if it has none. */
int lru_find(struct lru *l, u64 key);
/*
 * A line for a key that has none (else its own): the lowest empty one, or that of the least recently used key.
 * Then *evicted is true and *old the key that fell out. The line becomes the most recently used one.
 */
u32 lru_insert(struct lru *l, u64 key, bool *evicted, u64 *old);
/* Returns the line that becomes empty, or -1 if the key had none. */
int lru_remove(struct lru *l, u64 key);

#endif
