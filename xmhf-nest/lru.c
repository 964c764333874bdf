// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/lru.h"

void lru_init(struct lru *l, u32 lines)
{
	l->lines = (u8)lines;
	lru_clear(l);
}

void lru_clear(struct lru *l)
{
	l->used = 0;
	l->taken = 0;
}

/* Position in the order, or -1. Only lines in use are looked at: a removed key can't be found. */
static int position(const struct lru *l, u64 key)
{
	for (u32 i = 0; i < l->used; i++)
		if (l->key[l->order[i]] == key)
			return (int)i;
	return -1;
}

/* The line at that position, or a new one to stand at position used - 1, comes first. */
static u8 to_front(struct lru *l, u32 at, u8 line)
{
	for (; at > 0; at--)
		l->order[at] = l->order[at - 1];
	l->order[0] = line;
	return line;
}

int lru_find(struct lru *l, u64 key)
{
	int at = position(l, key);

	return at < 0 ? -1 : to_front(l, (u32)at, l->order[at]);
}

u32 lru_insert(struct lru *l, u64 key, bool *evicted, u64 *old)
{
	int at = position(l, key);
	u8 line = 0;

	*evicted = false;
	if (at >= 0)
		return to_front(l, (u32)at, l->order[at]);
	if (l->used == l->lines) {
		line = l->order[l->used - 1];
		*evicted = true;
		*old = l->key[line];
	} else {
		while (l->taken >> line & 1)
			line++;
		l->taken |= (u16)(1u << line);
		l->used++;
	}
	l->key[line] = key;
	return to_front(l, l->used - 1u, line);
}

int lru_remove(struct lru *l, u64 key)
{
	int at = position(l, key);
	u8 line;

	if (at < 0)
		return -1;
	line = l->order[at];
	l->used--;
	l->taken &= (u16) ~(1u << line);
	for (u32 i = (u32)at; i < l->used; i++)
		l->order[i] = l->order[i + 1];
	return line;
}
