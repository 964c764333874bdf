/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_MTRR_H
#define CORE_MTRR_H

#include "core/base.h"

enum memtype { MEMTYPE_UC = 0, MEMTYPE_WC = 1, MEMTYPE_WT = 4, MEMTYPE_WP = 5, MEMTYPE_WB = 6 };

#define MTRR_VARIABLE_MAX 16

/* The MTRRs as read from the MSRs (SDM: "Memory Type Range Registers (MTRRs)"). */
struct mtrr_state {
	u64 cap;       /* IA32_MTRRCAP */
	u64 def_type;  /* IA32_MTRR_DEF_TYPE */
	u64 fixed[11]; /* 64K_00000, 16K_80000, 16K_A0000, 4K_C0000 ... 4K_F8000 */
	u64 base[MTRR_VARIABLE_MAX];
	u64 mask[MTRR_VARIABLE_MAX];
	u32 variable_count; /* at most MTRR_VARIABLE_MAX */
	u32 maxphyaddr;     /* bits */
};

/*
 * Memory type of the byte at pa (SDM: "MTRR Precedences"; overlaps that the SDM leaves undefined give UC).
 * MTRRs disabled: UC. Fixed ranges count only below 1 MiB and when both enabled and supported.
 */
enum memtype mtrr_type(const struct mtrr_state *m, u64 pa);
/* Is [pa, pa+size) of one type? Size is a power of two, pa aligned to it. Then *type is that type. Exact, and not byte by byte. */
bool mtrr_uniform(const struct mtrr_state *m, u64 pa, u64 size, enum memtype *type);

#endif
