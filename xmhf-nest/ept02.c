// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/ept02.h"

#include "core/mem.h"
#include "xmhf-nest/ept01.h"
#include "xmhf-nest/ept12.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/private.h"
#include "xmhf-nest/vmx.h"

#define NO_TABLE ((struct ept02_table *)0)
#define KEY (EPT_ADDR | EPT02_OPEN | EPT02_WITHOUT)

static struct ept12_rules rules;

static const u64 *l1_page(u64 pa)
{
	return gpa_ptr(pa, PAGE_SIZE);
}

void ept02_init(struct ept02 *e)
{
	u64 *pages = pages_alloc(2 * EPT02_TABLES, 4096);

	for (u32 i = 0; i < EPT02_TABLES; i++) {
		e->table[i].entry = pages + i * 1024;
		e->table[i].made_from = e->table[i].entry + 512;
	}
	lru_init(&e->lru, EPT02_ROOTS);
}

static u32 shift_of(int level)
{
	return PAGE_SHIFT + 9 * ((u32)level - 1);
}

static struct ept02_table *table_of(struct ept02 *e, u64 entry)
{
	/* Tables lie one behind the other, two pages each. */
	return &e->table[((entry & EPT_ADDR) - (ulong)e->table[0].entry) >> (PAGE_SHIFT + 1)];
}

static struct ept02_table *table_take(struct ept02 *e, const u64 *source, int level)
{
	for (u32 n = 0; n < EPT02_TABLES; n++) {
		u32 i = e->free_hint + n < EPT02_TABLES ? e->free_hint + n : e->free_hint + n - EPT02_TABLES;
		struct ept02_table *t = &e->table[i];

		if (t->taken)
			continue;
		e->free_hint = i + 1 < EPT02_TABLES ? i + 1 : 0;
		t->taken = true;
		t->source = source;
		t->level = (u8)level;
		return t;
	}
	return NO_TABLE;
}

static bool is_leaf(u64 entry, int level)
{
	return level == 1 || entry & EPT_LARGE;
}

static void table_free(struct ept02 *e, struct ept02_table *t);

static void entry_drop(struct ept02 *e, struct ept02_table *t, u32 i)
{
	u64 entry = t->entry[i];

	t->entry[i] = 0;
	t->used[i / 32] &= ~(1u << i % 32);
	if (!is_leaf(entry, t->level))
		table_free(e, table_of(e, entry));
}

/* Free tables are empty: only what was used is cleared. The CPU may have cached the way through this one. */
static void table_free(struct ept02 *e, struct ept02_table *t)
{
	for (u32 w = 0; w < ARRAY_SIZE(t->used); w++)
		while (t->used[w])
			entry_drop(e, t, w * 32 + (u32)__builtin_ctz(t->used[w]));
	t->taken = false;
	e->freed = true;
}

static void entry_set(struct ept02 *e, struct ept02_table *t, u32 i, u64 entry, u64 from)
{
	if (t->used[i / 32] >> i % 32 & 1) {
		/*
		 * The CPU drops what it knows of the page that was accessed, by the address that was used: not more. Mere rights
		 * that are missing there only cost another violation.
		 */
		e->freed |= (t->entry[i] & ~(entry & EPT_RWX)) != (entry & ~EPT_RWX);
		entry_drop(e, t, i);
	}
	t->entry[i] = entry;
	t->made_from[i] = from;
	t->used[i / 32] |= 1u << i % 32;
}

static void root_drop(struct ept02 *e, u32 line)
{
	if (e->root[line])
		table_free(e, e->root[line]);
	e->root[line] = NO_TABLE;
	e->stale[line] = false;
}

/* True if anything was dropped. A page of L1's memory that became private has gone through ept02_drop_all. */
static bool compare(struct ept02 *e, struct ept02_table *t)
{
	bool dropped = false;

	if (!t->source)
		return false;
	for (u32 w = 0; w < ARRAY_SIZE(t->used); w++)
		for (u32 bits = t->used[w]; bits; bits &= bits - 1) {
			u32 i = w * 32 + (u32)__builtin_ctz(bits);

			if (t->source[i] != t->made_from[i]) {
				entry_drop(e, t, i);
				dropped = true;
			} else if (!is_leaf(t->entry[i], t->level)) {
				dropped |= compare(e, table_of(e, t->entry[i]));
			}
		}
	return dropped;
}

/* Before L2 runs again. All roots: it's rare, and a table may have been part of any. */
static void forget_freed(struct ept02 *e)
{
	if (e->freed)
		invept_all();
	e->freed = false;
}

static u64 pointer_to(const struct ept02_table *t)
{
	return (ulong)t->entry | EPTP_WALK4 | MEMTYPE_WB;
}

static int line_for(struct ept02 *e, u64 eptp12)
{
	bool evicted;
	u64 old;

	return (int)lru_insert(&e->lru, eptp12 & KEY, &evicted, &old);
}

u64 ept02_use(struct ept02 *e, u64 eptp12)
{
	int line = lru_find(&e->lru, eptp12 & KEY);
	const u64 *source = eptp12 & EPT02_WITHOUT ? NULL : l1_page(eptp12 & EPT_ADDR);

	if (line < 0) {
		line = line_for(e, eptp12);
		root_drop(e, (u32)line);
		e->opened |= eptp12 & EPT02_OPEN;
	}
	if (e->root[line] && e->stale[line]) {
		e->stale[line] = false;
		/* The table of EPT12 may have been private when the root was made: then nothing could be compared. */
		if (e->root[line]->source == source)
			e->freed |= compare(e, e->root[line]);
		else
			root_drop(e, (u32)line);
	}
	if (!e->root[line]) {
		e->root[line] = table_take(e, source, 4);
		if (!e->root[line]) {
			ept02_drop_all(e);
			line = line_for(e, eptp12);
			e->root[line] = table_take(e, source, 4);
		}
	}
	forget_freed(e);
	e->dropped = false;
	return pointer_to(e->root[line]);
}

void ept02_invept_single(struct ept02 *e, u64 eptp12)
{
	for (u64 flag = 0; flag <= (e->opened ? EPT02_OPEN : 0); flag += EPT02_OPEN) {
		int line = lru_find(&e->lru, (eptp12 & EPT_ADDR) | flag);

		if (line >= 0)
			e->stale[line] = true;
	}
}

void ept02_invept_all(struct ept02 *e)
{
	for (u32 i = 0; i < EPT02_ROOTS; i++)
		e->stale[i] = true;
}

void ept02_drop_all(struct ept02 *e)
{
	for (u32 i = 0; i < EPT02_ROOTS; i++)
		root_drop(e, i);
	lru_clear(&e->lru);
	e->dropped = true;
}

/*
 * SDM: "Memory Type Used for Translated Guest-Physical Addresses". EPT12's type, but never more cacheable than EPT01's;
 * UC is that nowhere.
 */
static u64 type_of(u64 leaf12, u64 leaf01)
{
	u64 type12 = leaf12 & EPT_TYPE(7), type01 = leaf01 & EPT_TYPE(7);

	return (type01 == EPT_TYPE(MEMTYPE_WB) || type12 == EPT_TYPE(MEMTYPE_UC) ? type12 : type01) |
	       (leaf12 & EPT_IGNORE_PAT);
}

/* Makes the table below entry i, for what EPT12 has there (from, source). NO_TABLE: none left. */
static struct ept02_table *descend(struct ept02 *e, struct ept02_table *t, u32 i, u64 from, const u64 *source)
{
	struct ept02_table *below;

	if (t->used[i / 32] >> i % 32 & 1 && t->made_from[i] == from && !is_leaf(t->entry[i], t->level))
		return table_of(e, t->entry[i]);
	below = table_take(e, source, t->level - 1);
	if (below)
		entry_set(e, t, i, (ulong)below->entry | (source ? from & EPT_RWX : EPT_RWX), from);
	return below;
}

/* Puts the leaf of EPT12 that w ended at, as far as EPT01 has it in one piece around gpa, into EPT02. */
static bool fill(struct ept02 *e, struct ept02_table *t, const struct ept12_walk *w, u64 gpa,
		 const struct ept_walk *leaf01)
{
	u64 leaf12 = w->entry[w->level], offset, entry;
	int level = w->level < leaf01->level ? w->level : leaf01->level;

	while (t->level > level) {
		int at = t->level;
		bool mirror = at > w->level;

		t = descend(e, t, gpa >> shift_of(at) & 511, mirror ? w->entry[at] : leaf12,
			    mirror ? w->table[at - 1] : NULL);
		if (!t)
			return false;
	}
	offset = (1ull << shift_of(level)) - 1;
	entry = (leaf01->pa & ~offset) | (leaf12 & leaf01->rights & EPT_RWX) | type_of(leaf12, leaf01->entry) |
		(level > 1 ? EPT_LARGE : 0);
	entry_set(e, t, gpa >> shift_of(level) & 511, entry, leaf12);
	return true;
}

static void rules_init(void)
{
	rules = (struct ept12_rules){
		.maxphyaddr = cpu_maxphyaddr,
		.execute_only = caps_l1.ept_vpid & 1,
		.large_2m = caps_l1.ept_vpid >> 16 & 1,
		.large_1g = caps_l1.ept_vpid >> 17 & 1,
	};
}

/* As if EPT12 were one page with all of the address space. */
static void walk_without(struct ept12_walk *w, u64 gpa)
{
	*w = (struct ept12_walk){ .end = EPT12_LEAF, .level = 4, .rights = EPT_RWX, .gpa = gpa };
	w->entry[4] = EPT_RWX | EPT_TYPE(MEMTYPE_WB);
}

struct ept02_result ept02_violation(struct ept02 *e, u64 eptp12, u64 gpa, u32 access)
{
	struct ept02_result r = { .verdict = EPT02_FILLED };
	struct ept12_walk w;
	struct ept_walk leaf01;
	int line;

	if (!rules.maxphyaddr)
		rules_init();
	if (eptp12 & EPT02_WITHOUT)
		walk_without(&w, gpa);
	else
		ept12_walk(&w, &rules, l1_page, eptp12, gpa);
	r.rights = w.rights;
	r.gpa1 = w.gpa;
	if (w.end == EPT12_WRONG) {
		r.verdict = EPT02_MISCONFIGURATION;
		return r;
	}
	if (w.end == EPT12_ABSENT || access & ~(u32)w.rights) {
		r.verdict = EPT02_VIOLATION;
		return r;
	}
	leaf01 = ept01_lookup(w.gpa);
	if (!leaf01.present) {
		if (!ept01_fill(w.gpa)) {
			r.verdict = EPT02_NOWHERE;
			return r;
		}
		leaf01 = ept01_lookup(w.gpa);
	}
	if (eptp12 & EPT02_OPEN && leaf01.level == 1 && w.gpa >> PAGE_SHIFT == ept01_apic >> PAGE_SHIFT)
		leaf01.rights = EPT_RWX;
	if (access & ~leaf01.rights) {
		r.verdict = EPT02_APIC;
		return r;
	}
	line = lru_find(&e->lru, eptp12 & KEY);
	if (line < 0 || !e->root[line] || !fill(e, e->root[line], &w, gpa, &leaf01)) {
		/* No table left, or dropped in between: all over again, at the next violation. */
		ept02_drop_all(e);
	}
	forget_freed(e);
	return r;
}

bool ept12_translate(u64 eptp12, u64 gpa, u64 *gpa1)
{
	struct ept12_walk w;

	if (!rules.maxphyaddr)
		rules_init();
	ept12_walk(&w, &rules, l1_page, eptp12, gpa);
	*gpa1 = w.gpa;
	return w.end == EPT12_LEAF && w.rights & EPT_R;
}
