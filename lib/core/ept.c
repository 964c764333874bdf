// SPDX-License-Identifier: BSD-2-Clause
#include "core/ept.h"

static u32 shift_of(int level)
{
	return PAGE_SHIFT + 9 * ((u32)level - 1);
}

static u64 size_of(int level)
{
	return 1ull << shift_of(level);
}

static u64 *entry_at(u64 *table, u64 gpa, int level)
{
	return &table[gpa >> shift_of(level) & 511];
}

static bool is_leaf(u64 entry, int level)
{
	return level == 1 || entry & EPT_LARGE;
}

/* The table that the entry of this level points to; makes it, or splits a leaf into it, if needed. 0: no page left. */
static u64 table_below(const struct ept_mem *m, u64 *entry, int level)
{
	u64 table, old = *entry;
	u64 *t;

	if (old & EPT_RWX && !is_leaf(old, level))
		return old & EPT_ADDR;
	table = m->alloc(m->ctx);
	if (!table)
		return 0;
	if (old & EPT_RWX) {
		t = m->map(m->ctx, table);
		/* Bit 7 is ignored in a 4K entry, but must not make the smaller pages differ from those mapped as such. */
		if (level - 1 == 1)
			old &= ~EPT_LARGE;
		for (u64 i = 0; i < 512; i++)
			t[i] = old + (i << shift_of(level - 1));
	}
	*entry = table | EPT_RWX;
	return table;
}

bool ept_set(const struct ept_mem *m, u64 root, u64 gpa, int level, u64 entry)
{
	u64 table = root;

	if (gpa & (size_of(level) - 1) || (entry & EPT_RWX && entry & EPT_ADDR & (size_of(level) - 1)))
		return false;
	for (int at = 4; at > level; at--) {
		table = table_below(m, entry_at(m->map(m->ctx, table), gpa, at), at);
		if (!table)
			return false;
	}
	*entry_at(m->map(m->ctx, table), gpa, level) = entry;
	return true;
}

struct ept_walk ept_lookup(const struct ept_mem *m, u64 root, u64 gpa)
{
	struct ept_walk w = { .level = 4, .rights = EPT_RWX };
	u64 table = root;

	for (;; w.level--) {
		w.entry = *entry_at(m->map(m->ctx, table), gpa, w.level);
		w.rights &= w.entry;
		if (!(w.entry & EPT_RWX))
			return w;
		if (w.level < 4 && is_leaf(w.entry, w.level))
			break;
		table = w.entry & EPT_ADDR;
	}
	w.present = true;
	w.pa = (w.entry & EPT_ADDR & ~(size_of(w.level) - 1)) | (gpa & (size_of(w.level) - 1));
	return w;
}

/* The largest level up to max whose page starts at pa, ends by end and is of one type. */
static int largest(const struct mtrr_state *mtrr, u64 pa, u64 end, int max, enum memtype *type)
{
	int level = max;

	for (; level > 1; level--)
		if (!(pa & (size_of(level) - 1)) && end - pa >= size_of(level) &&
		    mtrr_uniform(mtrr, pa, size_of(level), type))
			return level;
	*type = mtrr_type(mtrr, pa);
	return 1;
}

bool ept_identity(const struct ept_mem *m, u64 root, u64 start, u64 end, int max_level, const struct mtrr_state *mtrr)
{
	for (u64 pa = start; pa < end;) {
		enum memtype type;
		int level = largest(mtrr, pa, end, max_level, &type);

		if (!ept_set(m, root, pa, level, ept_leaf(pa, level, EPT_RWX, type)))
			return false;
		pa += size_of(level);
	}
	return true;
}
