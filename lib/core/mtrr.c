// SPDX-License-Identifier: BSD-2-Clause
#include "core/mtrr.h"

#define DEF_ENABLE (1ull << 11)
#define DEF_FIXED_ENABLE (1ull << 10)
#define CAP_FIXED (1ull << 8)
#define MASK_VALID (1ull << 11)
#define MIB 0x100000ull

/* Fixed ranges: 8 of 64 KiB, then 16 of 16 KiB, then 64 of 4 KiB; 8 bits each, 8 in a register. */
static enum memtype fixed_type(const struct mtrr_state *m, u32 pa)
{
	u32 index = pa < 0x80000 ? pa >> 16 : pa < 0xc0000 ? 8 + ((pa - 0x80000) >> 14) : 24 + ((pa - 0xc0000) >> 12);

	return (enum memtype)(m->fixed[index / 8] >> index % 8 * 8 & 0xff);
}

/* Size of the fixed range that pa is in. */
static u32 fixed_size(u32 pa)
{
	return pa < 0x80000 ? 0x10000 : pa < 0xc0000 ? 0x4000 : 0x1000;
}

static bool fixed_applies(const struct mtrr_state *m, u64 pa)
{
	return pa < MIB && m->cap & CAP_FIXED && m->def_type & DEF_FIXED_ENABLE;
}

/* SDM: "MTRR Precedences": UC wins, WT wins over WB, everything else that overlaps is undefined: UC here. */
static enum memtype combine(enum memtype a, enum memtype b)
{
	if (a == b)
		return a;
	if ((a == MEMTYPE_WT && b == MEMTYPE_WB) || (a == MEMTYPE_WB && b == MEMTYPE_WT))
		return MEMTYPE_WT;
	return MEMTYPE_UC;
}

/* The address bits that a variable range's mask compares; above maxphyaddr there are none. */
static u64 mask_bits(const struct mtrr_state *m, u32 i)
{
	u64 physical = m->maxphyaddr < 52 ? (1ull << m->maxphyaddr) - 1 : (1ull << 52) - 1;

	return m->mask[i] & physical & ~0xfffull;
}

static enum memtype variable_type(const struct mtrr_state *m, u64 pa)
{
	enum memtype type = MEMTYPE_UC;
	bool found = false;

	for (u32 i = 0; i < m->variable_count; i++) {
		enum memtype this = (enum memtype)(m->base[i] & 0xff);
		u64 mask = mask_bits(m, i);

		if (!(m->mask[i] & MASK_VALID) || (pa & mask) != (m->base[i] & mask))
			continue;
		type = found ? combine(type, this) : this;
		found = true;
	}
	return found ? type : (enum memtype)(m->def_type & 0xff);
}

enum memtype mtrr_type(const struct mtrr_state *m, u64 pa)
{
	if (!(m->def_type & DEF_ENABLE))
		return MEMTYPE_UC;
	if (fixed_applies(m, pa))
		return fixed_type(m, (u32)pa);
	return variable_type(m, pa);
}

/*
 * Can two bytes of [pa, pa + size) be on different sides of variable range i? Only if its mask has a bit below
 * size and the bits above match; size is a power of two, so those are all bits below it.
 */
static bool variable_splits(const struct mtrr_state *m, u32 i, u64 pa, u64 size)
{
	u64 mask = mask_bits(m, i), above = mask & ~(size - 1);

	return m->mask[i] & MASK_VALID && mask & (size - 1) && (pa & above) == (m->base[i] & above);
}

bool mtrr_uniform(const struct mtrr_state *m, u64 pa, u64 size, enum memtype *type)
{
	bool splits = false;

	*type = mtrr_type(m, pa);
	if (!(m->def_type & DEF_ENABLE))
		return true;
	if (fixed_applies(m, pa)) {
		u64 end = pa + size < MIB ? pa + size : MIB;

		for (u64 at = pa; at < end; at += fixed_size((u32)at))
			if (fixed_type(m, (u32)at) != *type)
				return false;
		if (pa + size <= MIB)
			return true;
		/* The rest is above: as halves, each a power of two and aligned to itself. */
		for (u64 half = size / 2; half >= MIB; half /= 2) {
			enum memtype upper;

			if (!mtrr_uniform(m, pa + half, half, &upper) || upper != *type)
				return false;
		}
		return true;
	}
	for (u32 i = 0; i < m->variable_count; i++)
		splits = splits || variable_splits(m, i, pa, size);
	if (!splits)
		return true;
	/* Split by a range, but perhaps another one makes both parts equal. */
	if (size <= 4096)
		return true;
	for (u32 k = 0; k < 2; k++) {
		enum memtype half;

		if (!mtrr_uniform(m, pa + k * (size / 2), size / 2, &half) || half != *type)
			return false;
	}
	return true;
}
