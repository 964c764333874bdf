/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_EPT_H
#define CORE_EPT_H

#include "core/base.h"
#include "core/mtrr.h"

/* Entry bits (SDM: "The Extended Page Table Mechanism"). */
#define EPT_R 0x1ull
#define EPT_W 0x2ull
#define EPT_X 0x4ull
#define EPT_RWX 0x7ull
#define EPT_TYPE(t) ((u64)(t) << 3)
#define EPT_IGNORE_PAT 0x40ull
#define EPT_LARGE 0x80ull
#define EPT_A 0x100ull /* if EPTP_AD */
#define EPT_D 0x200ull
#define EPT_USER_X 0x400ull       /* with mode-based execute control */
#define EPT_SUB_PAGE (1ull << 61) /* with sub-page write permissions */
#define EPT_SUPPRESS_VE (1ull << 63)
#define EPT_ADDR 0x000ffffffffff000ull

/* EPTP */
#define EPTP_WALK4 (3ull << 3)
#define EPTP_AD 0x40ull

/* Where tables come from; injected, so that this runs on the host too. */
struct ept_mem {
	u64 (*alloc)(void *ctx);           /* a zeroed page's physical address, or 0: none left */
	u64 *(*map)(void *ctx, u64 table); /* physical address of a table to pointer */
	void *ctx;
};

struct ept_walk {
	int level;    /* 1: 4K, 2: 2M, 3: 1G leaf; or the level at which the walk stopped */
	bool present; /* a leaf was reached */
	u64 entry;    /* leaf entry, or the not-present one */
	u64 rights;   /* AND of RWX over all levels */
	u64 pa;       /* if present */
};

/*
 * Sets the leaf entry for gpa at level 1, 2 or 3 to entry (0 unmaps), making tables on the way (RWX).
 * A large leaf in the way is split into 512 equal ones; a table in the way of a larger leaf is replaced by it.
 * entry's address must be aligned to the level. Returns false if no table page was left, or on misalignment.
 * The caller invalidates with INVEPT.
 */
bool ept_set(const struct ept_mem *m, u64 root, u64 gpa, int level, u64 entry);
/* Walks as the CPU does, without setting A/D. */
struct ept_walk ept_lookup(const struct ept_mem *m, u64 root, u64 gpa);
/*
 * Identity-maps [start, end) (4K-aligned) with RWX and the MTRRs' types, with leaves up to max_level (1..3)
 * where range, alignment and a uniform type allow. Returns false if no table page was left.
 */
bool ept_identity(const struct ept_mem *m, u64 root, u64 start, u64 end, int max_level, const struct mtrr_state *mtrr);
/* Entry for a leaf or table. */
static inline u64 ept_leaf(u64 pa, int level, u64 rights, enum memtype t)
{
	return pa | rights | EPT_TYPE(t) | (level > 1 ? EPT_LARGE : 0);
}

#endif
