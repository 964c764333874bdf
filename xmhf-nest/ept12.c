// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/ept12.h"

#include "x86/msr.h"

static bool type_ok(u64 entry)
{
	u32 type = entry >> 3 & 7;

	return type == MEMTYPE_UC || type == MEMTYPE_WC || type == MEMTYPE_WT || type == MEMTYPE_WP ||
	       type == MEMTYPE_WB;
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

struct ept12_walk ept12_walk(const struct ept12_rules *r, ept12_map *map, u64 eptp, u64 gpa)
{
	struct ept12_walk w = { .end = EPT12_ABSENT, .rights = EPT_RWX };
	u64 table = eptp & EPT_ADDR;

	for (int level = 4;; level--) {
		const u64 *t = map(table);
		u32 shift = PAGE_SHIFT + 9 * ((u32)level - 1);
		/* One read: L1 may be changing it. */
		u64 e = t ? *(const volatile u64 *)&t[gpa >> shift & 511] : ~0ull;

		w.level = (u8)level;
		w.table[level] = t;
		w.entry[level] = e;
		w.rights &= (u8)(e & EPT_RWX);
		if (!(e & EPT_RWX))
			return w;
		if (ept12_wrong(r, e, level)) {
			w.end = EPT12_WRONG;
			return w;
		}
		if (level == 1 || (level < 4 && e & EPT_LARGE)) {
			u64 offset = (1ull << shift) - 1;

			w.end = EPT12_LEAF;
			w.gpa = (e & EPT_ADDR & ~offset) | (gpa & offset);
			return w;
		}
		table = e & EPT_ADDR;
	}
}
