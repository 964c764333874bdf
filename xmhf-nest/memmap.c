// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/memmap.h"

#define RESERVED 2u
#define ENTRY_BYTES 20u /* that its size field counts */

static bool overlap(const struct range *r, u64 start, u64 end)
{
	return start < r->end && end > r->start;
}

/* How many bytes from there on are of the same piece of RAM. */
static u64 ram_from(const struct memmap *m, u64 pa)
{
	for (u32 i = 0; i < m->count; i++)
		if (m->entry[i].type == MULTIBOOT_MMAP_RAM && pa - m->entry[i].base < m->entry[i].length)
			return m->entry[i].length - (pa - m->entry[i].base);
	return 0;
}

bool memmap_is_l1(const struct memmap *m, u64 gpa, u32 bytes)
{
	u64 end = gpa + bytes;

	if (end < gpa || (sizeof(ulong) == 4 && end > 1ull << 32))
		return false;
	if (overlap(&m->l0, gpa, end) || overlap(&m->unseen, gpa, end))
		return false;
	while (gpa < end) {
		u64 there = ram_from(m, gpa);

		if (!there)
			return false;
		gpa += there < end - gpa ? there : end - gpa;
	}
	return true;
}

struct range memmap_plain(const struct memmap *m)
{
	for (u32 i = 0; i < m->count; i++) {
		u64 base = m->entry[i].base, end = base + m->entry[i].length;

		/* L0 took the end of an entry. */
		if (m->entry[i].type == MULTIBOOT_MMAP_RAM && base < m->l0.start && end >= m->l0.end &&
		    m->l0.start - base >= PAGE_SIZE && !overlap(&m->unseen, base, m->l0.start))
			return (struct range){ base, m->l0.start - PAGE_SIZE + 1 };
	}
	return (struct range){ 0, 0 };
}

u32 memmap_for_l1(const struct memmap *m, struct multiboot_mmap *to, u32 max)
{
	u32 n = 0;

	for (u32 i = 0; i < m->count; i++) {
		const struct multiboot_mmap *e = &m->entry[i];
		u64 start = e->base, end = start + e->length;

		if (e->type != MULTIBOOT_MMAP_RAM || end <= m->l0.start || start >= m->l0.end) {
			if (n < max)
				to[n++] = *e;
			continue;
		}
		if (start < m->l0.start && n < max)
			to[n++] = (struct multiboot_mmap){ ENTRY_BYTES, start, m->l0.start - start, e->type };
		if (n < max)
			to[n++] =
				(struct multiboot_mmap){ ENTRY_BYTES, m->l0.start, m->l0.end - m->l0.start, RESERVED };
		if (end > m->l0.end && n < max)
			to[n++] = (struct multiboot_mmap){ ENTRY_BYTES, m->l0.end, end - m->l0.end, e->type };
	}
	return n;
}
