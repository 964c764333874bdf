// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/ept01.h"

#include "core/mem.h"
#include "dev/mtrr.h"
#include "xmhf-nest/lock.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/private.h"

#define GIB 0x40000000ull

u64 ept01_pointer, ept01_apic;

static u64 root, scratch;
static struct mtrr_state mtrr;
static u32 lock;

static u64 table_alloc(void *ctx)
{
	(void)ctx;
	return (ulong)pages_try(1, 4096);
}

static u64 *table_map(void *ctx, u64 table)
{
	(void)ctx;
	return (u64 *)(ulong)table;
}

static const struct ept_mem ept01_mem = { table_alloc, table_map, NULL };

static bool in_l0(u64 gpa)
{
	return gpa >= mem_l0.start && gpa < mem_l0.end;
}

static u64 leaf_for(u64 page)
{
	if (in_l0(page))
		return ept_leaf(scratch, 1, EPT_RWX, MEMTYPE_WB);
	return ept_leaf(page, 1, page == ept01_apic ? EPT_R | EPT_X : EPT_RWX, mtrr_type(&mtrr, page));
}

static bool set_page(u64 page, u64 entry)
{
	return ept_set(&ept01_mem, root, page, 1, entry);
}

void ept01_init(int max_level)
{
	u64 end = mem_top > 4 * GIB ? (mem_top + GIB - 1) & ~(GIB - 1) : 4 * GIB;

	mtrr_read(&mtrr);
	root = (ulong)pages_alloc(1, 4096);
	scratch = (ulong)pages_alloc(1, 4096);
	/* An i386 L0 can't see above 4 GiB, but L1 can: it's no concern of L0's what is there. */
	if (max_level == 3 && mtrr.maxphyaddr < 48)
		end = mtrr.maxphyaddr > 39 ? 512 * GIB : 1ull << mtrr.maxphyaddr;
	if (!ept_identity(&ept01_mem, root, 0, end, max_level, &mtrr))
		panic("no memory for EPT01");
	for (u64 page = mem_l0.start; page < mem_l0.end; page += PAGE_SIZE)
		if (!set_page(page, leaf_for(page)))
			panic("no memory for EPT01");
	ept01_pointer = root | EPTP_WALK4 | MEMTYPE_WB;
}

/* As ept_lookup, without going through functions for each table: this is on the way of every fill of EPT02. */
struct ept_walk ept01_lookup(u64 gpa)
{
	struct ept_walk w = { .level = 4, .rights = EPT_RWX };
	const u64 *table = (const u64 *)(ulong)root;

	for (u32 shift = 39;; shift -= 9, w.level--) {
		w.entry = table[gpa >> shift & 511];
		w.rights &= w.entry;
		if (!(w.entry & EPT_RWX))
			return w;
		if (w.level == 1 || w.entry & EPT_LARGE) {
			u64 offset = (1ull << shift) - 1;

			w.present = true;
			w.pa = (w.entry & EPT_ADDR & ~offset) | (gpa & offset);
			return w;
		}
		table = (const u64 *)(ulong)(w.entry & EPT_ADDR);
	}
}

bool ept01_fill(u64 gpa)
{
	u64 page = gpa & ~(u64)(PAGE_SIZE - 1);
	bool ok;

	if (private_overlaps(page, page + PAGE_SIZE) || page >> 48)
		return false;
	lock_take(&lock);
	ok = ept01_lookup(page).present || set_page(page, leaf_for(page));
	lock_release(&lock);
	return ok;
}

void ept01_set_apic(u64 gpa)
{
	u64 old = ept01_apic;

	lock_take(&lock);
	ept01_apic = gpa;
	if (old && old != gpa)
		set_page(old, leaf_for(old));
	if (gpa)
		set_page(gpa, leaf_for(gpa));
	lock_release(&lock);
}

bool ept01_hide(u64 start, u64 end)
{
	bool ok = true;

	lock_take(&lock);
	/* Tables first, so that running out of them changes nothing. */
	for (u64 page = start; ok && page < end; page += PAGE_SIZE)
		ok = set_page(page, leaf_for(page));
	for (u64 page = start; ok && page < end; page += PAGE_SIZE)
		set_page(page, 0);
	lock_release(&lock);
	return ok;
}

void ept01_show(u64 start, u64 end)
{
	lock_take(&lock);
	for (u64 page = start; page < end; page += PAGE_SIZE)
		set_page(page, leaf_for(page));
	lock_release(&lock);
}
