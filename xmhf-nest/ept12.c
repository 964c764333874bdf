// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/ept12.h"

#include "x86/msr.h"

/* Bit per memory type that there is. */
#define TYPES (1u << MEMTYPE_UC | 1u << MEMTYPE_WC | 1u << MEMTYPE_WT | 1u << MEMTYPE_WP | 1u << MEMTYPE_WB)

static bool type_ok(u64 entry)
{
	return TYPES >> (entry >> 3 & 7) & 1;
}

bool ept12_wrong(const struct ept12_rules *r, u64 entry, int level)
{
	u64 reserved = EPT_ADDR & (~0ull << r->maxphyaddr);
	bool leaf = level == 1 || (level < 4 && entry & EPT_LARGE);

	if ((entry & (EPT_R | EPT_W)) == EPT_W || ((entry & EPT_RWX) == EPT_X && !r->execute_only))
		return true;
	if (entry & reserved)
		return true;
	if (!leaf)
		return entry & (level == 4 ? 0xf8 : 0x78);
	if (level == 3 && (!r->large_1g || entry & 0x3ffff000))
		return true;
	if (level == 2 && (!r->large_2m || entry & 0x1ff000))
		return true;
	return !type_ok(entry);
}

bool ept12_pointer_wrong(const struct vmx_caps *caps, u32 maxphyaddr, u64 eptp)
{
	u32 type = eptp & 7;

	if (type == MEMTYPE_UC ? !(caps->ept_vpid & EPT_CAP_UC) : type != MEMTYPE_WB || !(caps->ept_vpid & EPT_CAP_WB))
		return true;
	if ((eptp & 0x38) != EPTP_WALK4 || (eptp & EPTP_AD && !(caps->ept_vpid & EPT_CAP_AD)))
		return true;
	return eptp & 0xf80 || eptp >> maxphyaddr;
}

void ept12_walk(struct ept12_walk *w, const struct ept12_rules *r, ept12_map *map, u64 eptp, u64 gpa)
{
	u64 table = eptp & EPT_ADDR;
	u32 shift = 39;

	w->end = EPT12_ABSENT;
	w->rights = EPT_RWX;
	w->gpa = 0;
	for (int level = 4;; level--, shift -= 9) {
		const u64 *t = map(table);
		/* One read: L1 may be changing it. */
		u64 e = t ? *(const volatile u64 *)&t[gpa >> shift & 511] : ~0ull;

		w->level = (u8)level;
		w->table[level] = t;
		w->entry[level] = e;
		w->rights &= (u8)(e & EPT_RWX);
		if (!(e & EPT_RWX))
			return;
		if (ept12_wrong(r, e, level)) {
			w->end = EPT12_WRONG;
			return;
		}
		if (level == 1 || (level < 4 && e & EPT_LARGE)) {
			u64 offset = (1ull << shift) - 1;

			w->end = EPT12_LEAF;
			w->gpa = (e & EPT_ADDR & ~offset) | (gpa & offset);
			return;
		}
		table = e & EPT_ADDR;
	}
}
